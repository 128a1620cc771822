# How a call is understood: options, paths, SSH and esxcli.
# shellcheck shell=sh disable=SC2016,SC2034,SC2154 # what stands in single quotes is for others; variables are the driver's

test_version() {
    ask --version
    answers 'version names its features' 'status == "0" and code == 0 and m.version == "1.0.0" and #m.features == 6'
    holds 'the document has a declaration and the namespace of esxcli' \
        sh -c 'printf %s "$1" | grep -q "^<?xml version=" && printf %s "$1" | grep -q "xmlns=.http://www.vmware.com/Products/ESX/5.0/esxcli/"' - "$OUT"
    long=$OUT
    ask -v
    holds '-v equals --version' [ "$OUT" = "$long" ]
    ask --version --output xml
    holds 'xml is the default output' [ "$OUT" = "$long" ]
    OUT=$(wrapper --version --output simple)
    holds '--output simple prints the bare number' [ "$OUT" = 1.0.0 ]
}

test_usage() {
    for args in '' --bogus --clone '--clone -s' '--clone -s /vmfs/volumes/ds1/vm/disk.vmdk' --task-get --task-kill --task-clean --digest \
        '--preflight -s' '--clone --version' '--task-get -i' '--version --output yaml'; do
        # shellcheck disable=SC2086 # several arguments
        ask $args
        answers "a wrong call is told so: '$args'" 'status == "1" and code == 1 and #m.stdErr > 0'
    done
    ask --task-id 00000000-dead --task-get
    answers 'options have long names too' 'm.stdErr:find "not found" and m.taskId == "00000000-dead"'
    ask --task-get
    answers 'a missing task id is named as required' 'm.stdErr:find("task-id", 1, true) and m.stdErr:find "required"'
    for id in ../../etc ABCDEFGH 1234567 'a b c d e f' "$(printf '%065d' 0)" '12345678/..' "1234567'" \
        '12345678$(touch pwned)' '`touch pwned`' '<12345678>' '12345678&' '12345678"' "$(printf '12345678\nabcdef')" '????????*'; do
        ask --task-get -i "$id"
        answers "an id out of the pattern is refused: $(printf %s "$id" | tr '\n' ' ')" 'status == "1" and #m.stdErr > 0'
    done
    holds 'and none of them runs' absent "$BOX/pwned"
    ask --task-get -i 00000000-dead
    answers 'an unknown id is not found, and echoed' 'status == "1" and m.stdErr:find "not found" and m.taskId == "00000000-dead"'
}

test_paths() {
    for path in /vmfs/volumes/ds1/../../../etc/passwd.vmdk /vmfs/volumes/ds1/vm/.. /vmfs/volumes/../ds1/a.vmdk /etc/passwd /tmp/a.vmdk \
        /vmfs/devices/disks/naa.600a1 /vmfs/volumes/ds1/vm/disk.vmx /vmfs/volumes/disk.vmdk vmfs/volumes/ds1/vm/disk.vmdk ''; do
        ask --clone -s "$path" -t "$DST"
        answers "source refused: $path" 'status == "1" and #m.stdErr > 0'
    done
    for path in /vmfs/devices/disks/ /vmfs/devices/disks/.. /vmfs/devices/disks/a/b /vmfs/volumes/ds1/vm/disk.vmdk /dev/sda /tmp/x; do
        ask --clone -s "$SRC" -t "$path"
        answers "target refused: $path" 'status == "1" and #m.stdErr > 0'
    done
    newline=$(printf 'a\nb')
    for name in "$newline" "$(printf 'a\tb')" "$(printf 'a\033b')" "$(printf 'a\177b')"; do
        ask --clone -s "/vmfs/volumes/ds1/vm/$name.vmdk" -t "$DST"
        answers 'a control byte is refused' 'status == "1" and m.stdErr:find "control"'
        ask --clone -s "$(pct "/vmfs/volumes/ds1/vm/$name.vmdk")" -t "$DST"
        answers 'an encoded control byte is refused' 'status == "1" and m.stdErr:find "control"'
    done
    for text in pct:%4 pct:%zz pct:/a%00b "pct:/a'b" pct:é; do
        ask --clone -s "$text" -t "$DST"
        answers "a malformed encoding is refused: $text" 'status == "1" and m.stdErr:find "percent"'
    done
    holds 'nothing was started' starts 0
    disk 'ds1/vm..old/disk' 1
    ask --clone -s '/vmfs//volumes/ds1/./vm..old//disk.vmdk' -t "/vmfs/devices//disks/naa.600a1/"
    answers 'slashes and dots are normalised, and vm..old is a name' 'status == "0"'
    ID=$(value m.taskId)
    settle
    ask --task-list
    answers 'paths are reported without the root, normalised' \
        'm.tasks[1].source == "/vmfs/volumes/ds1/vm..old/disk.vmdk" and m.tasks[1].target == "/vmfs/devices/disks/naa.600a1"'
}

test_missing_ends() {
    ask --clone -s /vmfs/volumes/ds1/vm/none.vmdk -t "$DST"
    answers 'a source that is not there is told' 'status == "1" and m.stdErr:find "Source VMDK not found"'
    ask --clone -s "$SRC" -t /vmfs/devices/disks/naa.none
    answers 'a target that is not there is told' 'status == "1" and m.stdErr:find "Target device not found"'
    holds 'and nothing was started' starts 0
}

test_names() {
    disk "$hostile/$hostile/d" 1
    SRC="/vmfs/volumes/$hostile/$hostile/d.vmdk"
    start
    answers 'a hostile name is copied as it is' 'status == "0"'
    settle
    answers 'it ends well' 'm.state == "done"'
    holds 'vmkfstools got it in one piece' [ "$(sed -n 2p "$BOX/var/arguments")" = "$HOST$SRC" ]
    lines=$(wc -l <"$BOX/var/arguments")
    holds 'among five arguments' [ "$lines" -eq 5 ]
    holds 'the bytes are there' same "${BOX}${SRC%.vmdk}-flat.vmdk" "$BOX$DST"
    ask --task-list
    given=$SRC
    holds 'the list tells the name' [ "$(value 'm.tasks[1].source')" = "$given" ]
    ask --task-clean -i "$ID"
    holds 'clean finds the RDM files' clean_datastore
    ask --clone -s "$(pct "$SRC")" -t "$(pct "$DST")"
    ID=$(value m.taskId)
    settle
    answers 'the same encoded' 'm.state == "done"'
    holds 'is the same' [ "$(sed -n 2p "$BOX/var/arguments")" = "$HOST$SRC" ]
    ask_ssh "DS=ds 1;CMD=--clone -s $(pct "$SRC") -t $DST"
    ID=$(value m.taskId)
    settle
    answers 'and over SSH' 'm.state == "done"'
    ask --preflight -s "$(pct "$SRC")"
    answers 'preflight sees it' 'm.sourceExists and m.sourceBytes == 1048576'
    ask --digest -s "$SRC" -t "$DST" -e 0:4096
    answers 'digest reads it' 'm.source[1] == m.target[1] and #m.source[1] == 64'
    device "$hostile" 1
    DST=/vmfs/devices/disks/$hostile
    ask --clone --source-vmdk "$SRC" --target-lun "$DST"
    ID=$(value m.taskId)
    settle
    answers 'so is a device of such a name' 'm.state == "done" and m.cloneWriteOps == null'
    holds 'with the bytes' same "${BOX}${SRC%.vmdk}-flat.vmdk" "$BOX$DST"
    ask --task-list
    holds 'the list tells it' is '(m.tasks[1].target .. m.tasks[2].target .. m.tasks[3].target):find("$(touch pwned)", 1, true)'
    holds 'no shell ran any of it' absent "$BOX/pwned"
    ask --clone -s "/vmfs/volumes/ds1/vm/x';touch pwned;'.vmdk" -t "/vmfs/devices/disks/x';touch pwned;'"
    holds 'nor the quotes that ran as root upstream' absent "$BOX/pwned"
}

test_ssh() {
    for command in 'DS=;CMD=status test-task-id' 'ls -la' 'DS=ds1' 'sh' '*'; do
        ask_ssh "$command"
        holds "a probe learns that the key works: $command" [ "$OUT" = SSH_OK ]
    done
    ask_ssh '--version'
    answers 'options come from the environment' 'm.version == "1.0.0"'
    ask_ssh 'DS=My store;CMD=--task-get   -i 00000000-dead'
    answers 'behind the datastore too, split at blanks' 'status == "1" and m.taskId == "00000000-dead"'
    : >"$BOX/--version"
    ask_ssh '--task-get -i *'
    answers 'without globbing' 'status == "1" and m.stdErr:find("*", 1, true)'
    ask_ssh '--version;touch pwned $(touch pwned)'
    answers 'and without a shell' 'status == "1" and m.stdErr:find "Unknown option"'
    ask_ssh "$(printf -- '--version\ntouch pwned\n`touch pwned`')"
    answers 'nor does a second line run' 'status == "1" and m.stdErr:find "Unknown option"'
    ask_ssh "--clone -s /vmfs/volumes/ds1/x';touch\${IFS}pwned;'.vmdk -t /vmfs/devices/disks/y"
    answers 'or what ran as root upstream' 'status == "1" and m.stdErr:find "not found"'
    holds 'that would run anything' absent "$BOX/pwned"
}

test_root() {
    ask --task-list
    answers 'no tasks is an empty list' 'message == [[{"tasks": []}]]'
    if [ "$SHELL_UNDER_TEST" = chroot ]; then
        LUNALIFT_ESXI_ROOT=/etc ask --preflight -s "$SRC"
        answers 'on a host the environment does not say where it is' 'm.sourceExists == true'
        return
    fi
    # shellcheck disable=SC2086 # the shell may be two words
    OUT=$(env -u LUNALIFT_ESXI_ROOT $SHELL_UNDER_TEST "$INSTALLED" --preflight -s "$SRC" -t "$DST")
    CODE=$?
    understand
    answers 'without a root nothing stands in for the host' 'm.sourceExists == false and m.deviceExists == false'
}

test_applets() {
    if [ "$SHELL_UNDER_TEST" != chroot ]; then return; fi
    holds 'there is no /proc' absent "$BOX/proc"
    # shellcheck disable=SC2086 # several
    missing=$(on_host -c 'for each; do command -v "$each" >/dev/null && "$each" --help 2>&1 || echo "no $each"; done' - $APPLETS |
        grep -e '^no ' -e 'applet not found')
    holds 'every program that is needed is there' [ -z "$missing" ]
    # shellcheck disable=SC2046 # several
    others=$(on_host -c 'for each; do ! command -v "$each" || "$each" --help; done' - $(busybox --list | grep -vxF -e busybox \
        -e "$(printf '%s\n' $APPLETS $BUILT_IN; ls "$here/stub")") 2>&1)
    holds 'and no other' [ -z "$others" ]
}

test_extension() {
    xml=$here/../esxcli-vmkfstools.xml
    holds 'the extension is well-formed' xmllint --noout "$xml"
    lines=$(xmllint --xpath "//*[local-name()='execute']/text()" "$xml")
    holds 'it quotes every value' sh -c '! printf "%s\n" "$1" | sed "s/'"'"'\$val{[a-z-]*}'"'"'//g" | grep -q "\$val"' - "$lines"
    for command in version clone taskGet taskKill taskList taskClean digest preflight; do
        xmllint --xpath "//*[local-name()='command'][@path='vmkfstools.$command']" "$xml" >/dev/null || break
    done
    holds 'and has all commands' [ "$command" = preflight ]
    # As hostd would do it: the texts in their places, the line run by a shell.
    line=$(printf '%s\n' "$lines" | grep -e --clone | sed "s|/opt/lunalift/vmkfstools-wrapper|wrapper|; s|\$val{source-vmdk}|$(pct "$SRC")|
        s|\$val{target-lun}|$DST|; s|\$val{task-id}||")
    OUT=$(eval "$line")
    CODE=$?
    understand
    ID=$(value m.taskId)
    settle
    answers 'its clone line clones' 'm.state == "done"'
}
