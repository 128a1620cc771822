"""What Dell's clients do with the lab's PowerFlex, once as a gateway of 3.6 and once as one of 4.5: each step prints ok or not ok.

They check what they send and what they read: logins, headers, records, refusals. What neither looks at, and so nobody here vouches for:
the error codes (they show the text), the pages for people beyond their status, when a session ends, and devices of hosts.
"""

import json
import subprocess
import sys
import urllib.request
from logging import CRITICAL

from PyPowerFlex import PowerFlexClient
from PyPowerFlex.exceptions import PowerFlexClientException

from steps import main, step

NOBODY = "ffffffffffffffff"


class Goscaleio:
    """The Go client in a process of its own, logged in once."""

    def __init__(self, array, ca_file, password):
        self.process = subprocess.Popen(
            [sys.argv[1], f"https://{array['host']}", array["username"], password],
            env={"SSL_CERT_FILE": ca_file}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.login = self.answer()

    def answer(self):
        for line in self.process.stdout:
            if line.startswith("answer "):  # the client prints things of its own
                return json.loads(line.removeprefix("answer "))
        raise AssertionError("goscaleio ended")

    def __call__(self, *words):
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)


class Gateway:
    def __init__(self, path):
        self.site = json.load(open(path, encoding="utf-8"))
        self.array = self.site["arrays"][0]
        self.system = self.array["env"]["POWERFLEX_SYSTEM_ID"]
        self.version = "4.5" if "4.5.0" in path else "3.6"
        self.naa = self.site["pvcs"][0]["naa"]
        self.volume = self.naa.removeprefix("eui." + self.system)
        self.go = self.goscaleio(self.array["password"])
        self.python = self.pypowerflex(self.array["password"])

    def goscaleio(self, password):
        return Goscaleio(self.array, self.site["ca_file"], password)

    def pypowerflex(self, password):
        address, port = self.array["host"].rsplit(":", 1)
        return PowerFlexClient(
            address, int(port), self.array["username"], password, certificate_path=self.site["ca_file"], log_level=CRITICAL)

    def control(self, path, method="GET"):
        request = urllib.request.Request(self.site["control"]["url"] + path, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()

    def mapped(self):
        """Ids of the SDCs that see the volume, and their limits, as the lab has it."""
        volumes = json.loads(self.control("/state"))["powerflex"]["volumes"]
        return {found["sdc"]: found["iops"] for volume in volumes if volume["naa"] == self.naa for found in volume["maps"]}


GATEWAYS = [Gateway(path) for path in sys.argv[2:]]


def refusal(call):
    """What PyPowerFlex says of what must be refused."""
    try:
        call()
    except PowerFlexClientException as why:
        return str(why)
    raise AssertionError("was not refused")


@step
def lets_both_in():
    for gateway in GATEWAYS:
        assert gateway.go.login == "logged in", gateway.go.login
        assert gateway.go("version") == gateway.version
        gateway.python.initialize()
        assert gateway.python.system.api_version() == gateway.version + ".0"
        assert gateway.python.system.component_version().startswith(gateway.version)


@step
def refuses_a_wrong_password():
    for gateway in GATEWAYS:
        go = gateway.goscaleio("wrong")
        assert "Unauthorized" in go.login["error"], go.login
        go.close()
        try:
            gateway.pypowerflex("wrong").initialize()
            raise AssertionError("was let in")
        except Exception as why:
            assert "401" in str(why) or "Unauthorized" in str(why), why


@step
def tells_the_system():
    for gateway in GATEWAYS:
        found = gateway.go("system", gateway.system)
        assert found["id"] == gateway.system and gateway.version.replace(".", "_") in found["systemVersionName"], found
        assert [system["id"] for system in gateway.python.system.get()] == [gateway.system]


@step
def lists_sdcs():
    for gateway in GATEWAYS:
        seen = gateway.go("sdcs", gateway.system)
        assert {sdc["osType"] for sdc in seen} == {"Linux"} and all(len(sdc["sdcGuid"]) == 36 for sdc in seen), seen
        assert [sdc["id"] for sdc in seen] == [sdc["id"] for sdc in gateway.python.sdc.get()]
        assert seen[0]["mdmConnectionState"] == "Connected" and seen[0]["SdcIps"], seen


@step
def finds_volumes_by_id_and_by_name():
    for gateway in GATEWAYS:
        found = gateway.go("volume", gateway.volume)[0]
        assert found["id"] == gateway.volume and found["sizeInKb"] * 1024 == gateway.site["pvcs"][0]["size_bytes"]
        assert gateway.go("id", found["name"]) == gateway.volume
        assert gateway.python.volume.get(entity_id=gateway.volume)["name"] == found["name"]
        every = gateway.python.volume.get()
        assert gateway.volume in [volume["id"] for volume in every] and len(every) > 1


@step
def refuses_what_is_not_there():
    for gateway in GATEWAYS:
        for words in (("volume", NOBODY), ("id", "nope")):
            assert gateway.go(*words) == {"error": "Could not find the volume"}, words
        assert "Could not find" in refusal(lambda: gateway.python.volume.get(entity_id=NOBODY))


@step
def unmaps_and_maps_a_workers_sdc():
    for gateway in GATEWAYS:
        worker = gateway.python.sdc.get()[0]["id"]
        assert list(gateway.mapped()) == [worker]
        assert [volume["id"] for volume in gateway.go("mapped", gateway.system, worker)].count(gateway.volume) == 1
        assert gateway.volume in [volume["id"] for volume in gateway.python.sdc.get_mapped_volumes(worker)]
        assert gateway.go("unmap", gateway.volume, worker) == "done" and gateway.mapped() == {}
        assert "not mapped" in gateway.go("unmap", gateway.volume, worker)["error"]
        assert gateway.python.volume.add_mapped_sdc(gateway.volume, sdc_id=worker)["mappedSdcInfo"][0]["sdcId"] == worker
        assert "already mapped" in refusal(lambda: gateway.python.volume.add_mapped_sdc(
            gateway.volume, sdc_id=worker, allow_multiple_mappings=True))
        assert "already mapped" in gateway.go("map", gateway.volume, worker)["error"]
        left = gateway.python.volume.remove_mapped_sdc(gateway.volume, sdc_id=worker)
        assert not left.get("mappedSdcInfo") and gateway.mapped() == {}
        assert gateway.go("map", gateway.volume, worker) == "done"
        gateway.python.volume.remove_mapped_sdc(gateway.volume, all_sdcs=True)
        guid = gateway.python.sdc.get()[0]["sdcGuid"]
        gateway.python.volume.add_mapped_sdc(gateway.volume, sdc_guid=guid, access_mode="ReadOnly")
        assert gateway.go("volume", gateway.volume)[0]["mappedSdcInfo"][0]["accessMode"] == "ReadOnly"


@step
def refuses_an_unknown_sdc():
    for gateway in GATEWAYS:
        assert "Could not find the SDC" in gateway.go("map", gateway.volume, NOBODY)["error"]
        assert "Could not find the SDC" in refusal(lambda: gateway.python.volume.remove_mapped_sdc(gateway.volume, NOBODY))


@step
def logs_goscaleio_in_again_when_its_session_is_lost():
    for gateway in GATEWAYS:
        gateway.control("/array/expire", "POST")
        assert gateway.go("volume", gateway.volume)[0]["id"] == gateway.volume
        requests = json.loads(gateway.control("/requests?service=powerflex"))
        assert [entry["status"] for entry in requests][-3:] == [401, 200, 200], requests[-3:]
        gateway.go.close()


main()
