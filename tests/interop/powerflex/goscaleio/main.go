// What goscaleio, the client inside Dell's CSI driver, does with a gateway: one call after the other, answers as lines of JSON.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/dell/goscaleio"
	types "github.com/dell/goscaleio/types/v1"
)

func say(value any, err error) {
	if err != nil {
		value = map[string]string{"error": err.Error()}
	}
	text, _ := json.Marshal(value)
	fmt.Printf("answer %s\n", text)
}

func volume(client *goscaleio.Client, id string) (*goscaleio.Volume, error) {
	found, err := client.GetVolume("", id, "", "", false)
	if err != nil {
		return nil, err
	}
	one := goscaleio.NewVolume(client)
	one.Volume = found[0]
	return one, nil
}

func system(client *goscaleio.Client, id string) *goscaleio.System {
	found, err := client.FindSystem(id, "", "")
	if err != nil {
		say(nil, err)
		os.Exit(1)
	}
	return found
}

func call(client *goscaleio.Client, word string, args []string) {
	switch word {
	case "version":
		say(client.GetVersion())
	case "system":
		say(system(client, args[0]).System, nil)
	case "sdcs":
		say(system(client, args[0]).GetSdc())
	case "mapped":
		sdc, err := system(client, args[0]).FindSdc("ID", args[1])
		if err == nil {
			say(sdc.GetVolume())
		} else {
			say(nil, err)
		}
	case "id":
		say(client.FindVolumeID(args[0]))
	case "volume":
		say(client.GetVolume("", args[0], "", "", false))
	case "map", "unmap":
		one, err := volume(client, args[0])
		if err == nil && word == "map" {
			err = one.MapVolumeSdc(&types.MapVolumeSdcParam{SdcID: args[1], AllowMultipleMappings: "true"})
		} else if err == nil {
			err = one.UnmapVolumeSdc(&types.UnmapVolumeSdcParam{SdcID: args[1]})
		}
		say("done", err)
	}
}

// Calls come in, a JSON list of words each.
func main() {
	client, err := goscaleio.NewClientWithArgs(os.Args[1], "", 60, false, true)
	if err == nil {
		_, err = client.Authenticate(&goscaleio.ConfigConnect{Username: os.Args[2], Password: os.Args[3]})
	}
	say("logged in", err)
	for lines := bufio.NewScanner(os.Stdin); err == nil && lines.Scan(); {
		var words []string
		if json.Unmarshal(lines.Bytes(), &words) == nil {
			call(client, words[0], words[1:])
		}
	}
}
