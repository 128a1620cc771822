# What lies in a task's folder, and what is deleted when.
# shellcheck shell=sh disable=SC2016,SC2034,SC2154 # what stands in single quotes is for others; variables are the driver's

test_files() { # a task's files one by one
    DIR=$BOX/tmp/vmkfstools-wrapper-beef0000
    ID=beef0000
    mkdir "$DIR"
    touch -d '1 hour ago' "$DIR"
    ask --task-get -i $ID
    answers 'a folder without a pid is an error' 'status == "1" and m.stdErr == "Failed to read PID" and m.taskId == "beef0000"'
    sh -c 'echo $$' >"$DIR/pid"
    ask --task-get -i $ID
    answers 'a pid alone is a lost task' 'm.state == "lost" and m.exitCode == "1" and m.lastLine == "" and m.percent == null and m.xcopyUsed == null'
    printf 0 >"$DIR/exitcode"
    ask --task-get -i $ID
    answers 'an exit code makes it done' 'm.state == "done" and m.exitCode == "0" and m.pid > 1'
    check_log 'an empty log' '' '""' null
    check_log 'a line without an end' 'one' '"one"' null
    check_log 'several lines' 'one\ntwo\n' '"two"' null
    check_log 'CR progress' 'Cloning\n\rClone: 1%% done.\rClone: 42%% done.' '"Clone: 42% done."' 42
    check_log 'progress that ends in CR' 'Clone: 7%% done.\r' '"Clone: 7% done."' 7
    check_log 'CRLF' 'one\r\ntwo\r\n' '"two"' null
    check_log 'blanks only' '   \n \t \n' '""' null
    check_log 'a percentage elsewhere' 'Cloning disk %%27/Clone: 9%% done/90%%.vmdk...\n' '"Cloning disk %27/Clone: 9% done/90%.vmdk..."' null
    check_log 'an absurd percentage' '\rClone: 4711%% done.' '"Clone: 4711% done."' 100
    check_log 'an absent log' '' '""' null
    check_log 'more than 4 KiB' "$(printf '%05000d')" "('0'):rep(4096)" null
    check_log 'quotes at both ends' '"""a"""' '[["""a"""]]' null
    check_log 'a Windows path' 'C:\\new\\table' '[[C:\new\table]]' null
    check_log 'backslashes before a quote' '\\\\"' '[[\\"]]' null
    check_log 'an injection' '", "injected": "value' '[[", "injected": "value]]' null
    check_log 'braces and brackets' '{[}]' '"{[}]"' null
    check_log 'control bytes' 'a\033[1m\001b\n' '"a\27[1m\1b"' null
    check_log 'bytes that are no UTF-8' 'a\377b\303\n' '"a\u{fffd}b\u{fffd}"' null
    check_log 'text beyond the first plane' '\360\237\230\200 \342\234\223 \303\274\n' '"\u{1f600} \u{2713} ü"' null
    check_log 'surrogates and overlong forms' '\355\240\200\300\257\n' '("\u{fffd}"):rep(5)' null
    { head -c 9000 /dev/zero | tr '\0' x && printf '\n\rClone: 55%% done.'; } >"$DIR/out"
    ask --task-get -i $ID
    answers 'only the end of a long log is read' 'm.lastLine == "Clone: 55% done." and m.percent == 55'
    printf '", "injected": "value\n{[\\\\\\"]}\b\f\t%s' "$(printf '%01000d' 7)" >"$DIR/err"
    ask --task-get -i $ID
    answers 'nothing in stderr leaves its string' \
        'm.injected == nil and m.stdErr == "\", \"injected\": \"value\n{[\\\\\\\"]}\b\f\t" .. ("0"):rep(999) .. "7"'
    # shellcheck disable=SC2016 # a shell would run it
    printf '</string><x>&amp;]]>%s' '$(reboot)`reboot`' >"$DIR/err"
    ask --task-get -i $ID
    answers 'nor its XML element' 'm.stdErr == "</string><x>&amp;]]>$(reboot)`reboot`"'
    : >"$BOX/etc/precious"
    ln -s "$BOX/etc/precious" "$DIR/link"
    ask --task-clean -i $ID
    holds 'cleaning does not follow links' [ -e "$BOX/etc/precious" ]
    answers 'and tolerates missing RDM files' 'status == "0"'
}

check_log() { # name log last percent
    # shellcheck disable=SC2059 # the log is a format
    printf "$2" >"$DIR/out"
    ask --task-get -i "$ID"
    answers "last line and percent of $1" "m.lastLine == $3 and m.percent == $4"
}

test_rdm_files() {
    DIR=$BOX/tmp/vmkfstools-wrapper-beef0000
    vm=$BOX/vmfs/volumes/ds1/vm
    mkdir "$DIR"
    printf 0 >"$DIR/exitcode"
    for rdm in /vmfs/volumes/ds1/vm/disk.vmdk /vmfs/volumes/ds1/vm/../vm/x-rdmdisk-1 /etc/x-rdmdisk-1; do
        echo "$rdm" >"$DIR/rdmfile"
        mkdir -p "$BOX/etc"
        : >"$BOX/etc/x-rdmdisk-1"
        : >"$vm/x-rdmdisk-1"
        ask --task-clean -i beef0000
        mkdir -p "$DIR"
        printf 0 >"$DIR/exitcode"
    done
    holds 'a descriptor that is not ours stays' [ -e "$vm/disk.vmdk" ]
    holds 'nor does .. or a path elsewhere lead to a deletion' same "$vm/x-rdmdisk-1" "$BOX/etc/x-rdmdisk-1"
    echo /vmfs/volumes/ds1/vm/x-rdmdisk-1 >"$DIR/rdmfile"
    printf 'createType="vmfsRawDeviceMap"\nRW 2048 VMFSRDM "../vm/disk-flat.vmdk"\n' >"$vm/x-rdmdisk-1"
    ask --task-clean -i beef0000
    holds 'a mapping file elsewhere stays' [ -e "$vm/disk-flat.vmdk" ]
    holds 'while its descriptor goes' absent "$vm/x-rdmdisk-1"
    mkdir -p "$DIR"
    printf 0 >"$DIR/exitcode"
    echo /vmfs/volumes/ds1/vm/x-rdmdisk-1 >"$DIR/rdmfile"
    printf 'createType="vmfsRawDeviceMap"\nRW 2048 VMFSRDM "x y-rdm.vmdk"\n' >"$vm/x-rdmdisk-1"
    : >"$vm/x y-rdm.vmdk"
    ask --task-clean -i beef0000
    holds 'the files of a task that upstream started go too' absent "$vm/x y-rdm.vmdk"
    mkdir -p "$DIR"
    printf 0 >"$DIR/exitcode"
    echo /vmfs/volumes/ds1/vm/x-rdmdisk-1 >"$DIR/rdmfile"
    : >"$vm/x-rdmdisk-1"
    ask --task-clean -i beef0000
    holds 'and a descriptor that is empty' absent "$vm/x-rdmdisk-1"
}

test_reap() {
    stub mode=hang
    start -i 01d00000
    for id in 01d00001 01d00002; do
        mkdir "$BOX/tmp/vmkfstools-wrapper-$id"
        for name in pid out err exitcode; do sh -c 'echo $$' >"$BOX/tmp/vmkfstools-wrapper-$id/$name"; done
        echo "/vmfs/volumes/ds1/vm/lunalift-rdmdisk-$id.vmdk" >"$BOX/tmp/vmkfstools-wrapper-$id/rdmfile"
        printf 'RW 2048 VMFSRDM "lunalift-rdmdisk-%s-rdm.vmdk"\n' $id >"$BOX/vmfs/volumes/ds1/vm/lunalift-rdmdisk-$id.vmdk"
        : >"$BOX/vmfs/volumes/ds1/vm/lunalift-rdmdisk-$id-rdm.vmdk"
    done
    touch -d '6 days ago' "$BOX"/tmp/vmkfstools-wrapper-01d0000[01]/* "$BOX"/tmp/vmkfstools-wrapper-01d0000[01]
    touch -d '4 days ago' "$BOX"/tmp/vmkfstools-wrapper-01d00002/* "$BOX"/tmp/vmkfstools-wrapper-01d00002
    echo 1000000000 >"$BOX/tmp/vmkfstools-wrapper-01d00000/startedAt"
    device naa.600a2 1
    stub mode=copy
    ask --clone -s "$SRC" -t /vmfs/devices/disks/naa.600a2 -i 01d00003
    ID=01d00003
    settle
    ask --task-list
    ids=$(value 'm.tasks[1].taskId .. " " .. m.tasks[2].taskId .. " " .. m.tasks[3].taskId .. " " .. #m.tasks')
    holds 'a start reaps what ended long ago, but nothing that runs' [ "$ids" = '01d00000 01d00002 01d00003 3' ]
    holds 'with its RDM files' absent "$BOX/vmfs/volumes/ds1/vm/lunalift-rdmdisk-01d00001-rdm.vmdk"
    holds 'and with those of no other task' [ -e "$BOX/vmfs/volumes/ds1/vm/lunalift-rdmdisk-01d00002-rdm.vmdk" ]
    ask --task-kill -i 01d00000
}

test_space() {
    echo 100 >"$BOX/etc/tmp-kib"
    ask --clone -s "$SRC" -t "$DST"
    answers 'a full ramdisk is status 28' 'status == "28" and code == 1 and m.stdErr:find "free space is low"'
    holds 'and nothing is started' starts 0
    holds 'nor left' [ -z "$(ls "$BOX/tmp")" ]
    rm "$BOX/bin/vdf"
    if ! mount -t tmpfs -o size=64k none "$BOX/tmp" 2>/dev/null; then
        skip 'a ramdisk that fills up in fact is status 28' 'no right to mount one'
        return
    fi
    ask --clone -s "$SRC" -t "$DST"
    answers 'a small ramdisk without vdf is status 28' 'status == "28"'
    altered 's/^LOW_SPACE=.*/LOW_SPACE=0/'
    dd if=/dev/zero of="$BOX/tmp/fill" bs=4096 2>/dev/null
    ask --clone -s "$SRC" -t "$DST"
    answers 'a ramdisk that is full in fact is status 28' 'status == "28" and #m.stdErr > 0'
    holds 'and nothing is started' starts 0
    rm "$BOX/tmp/fill"
    holds 'nor left' [ -z "$(ls "$BOX/tmp")" ]
    umount "$BOX/tmp"
}

test_full_at_a_kill() {
    if ! mount -t tmpfs -o size=2m,nr_inodes=64 none "$BOX/tmp" 2>/dev/null; then
        skip 'a clone is killed though the ramdisk is full' 'no right to mount one'
        return
    fi
    stub mode=hang
    altered 's/^TERM_S=6 /TERM_S=1 /'
    start
    pid=$(value m.pid)
    until_percent
    dd if=/dev/zero of="$BOX/tmp/fill" bs=4096 2>/dev/null
    for n in $(seq 64); do mkdir "$BOX/tmp/fill.$n" 2>/dev/null || break; done
    ask --task-kill -i "$ID"
    holds 'a clone is killed though the ramdisk is full' absent "$BOX/tmp/vmkfstools-wrapper-$ID/killed"
    rm -r "$BOX/tmp"/fill*
    await group_gone "$pid"
    ask --task-kill -i "$ID"
    answers 'and tells so, at the latest once there is space' 'status == "0" and m.state ~= "running" and m.state ~= "done" and m.writerAlive == false'
    umount "$BOX/tmp"
}

test_full_at_the_end() {
    if ! mount -t tmpfs -o size=2m none "$BOX/tmp" 2>/dev/null; then
        skip 'a clone that ends while the ramdisk is full is not lost' 'no right to mount one'
        return
    fi
    stub pause=0.2
    start
    dd if=/dev/zero of="$BOX/tmp/fill" bs=4096 2>/dev/null
    await copied
    sleep 0.3
    ask --task-get -i "$ID"
    answers 'a clone that cannot tell its end, since the ramdisk is full, waits' 'm.state == "running"'
    rm "$BOX/tmp/fill"
    settle
    answers 'and tells it when there is space again' 'm.state == "done" and m.exitCode == "0" and m.stdErr == ""'
    umount "$BOX/tmp"
}

copied() { same "$BOX/vmfs/volumes/ds1/vm/disk-flat.vmdk" "$BOX$DST"; }
