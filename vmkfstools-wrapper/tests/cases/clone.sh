# A clone from start to end.
# shellcheck shell=sh disable=SC2016,SC2034,SC2154 # what stands in single quotes is for others; variables are the driver's

test_clone() {
    stub pause=0.2
    start
    answers 'clone answers an id, a pid and xcopyUsed' \
        'status == "0" and m.pid % 1 == 0 and m.pid > 1 and m.xcopyUsed == false and m.existing == nil and m.taskPath == nil'
    holds 'the id has the form of a UUID' sh -c 'printf %s "$1" | grep -qxE "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"' - "$ID"
    DIR=$BOX/tmp/vmkfstools-wrapper-$ID
    holds 'the task folder has mode 750' [ "$(stat -c %a "$DIR")" = 750 ]
    until_percent
    answers 'a running task says so' 'status == "0" and m.state == "running" and m.exitCode == "" and m.percent >= 25'
    answers 'with the last of the lines that CR parts' 'm.lastLine:find "^Clone: %d+%% done%.$"'
    settle
    answers 'a task that ended well is done' 'm.state == "done" and m.exitCode == "0" and m.percent == 100 and m.lastLine == "Clone: 100% done."'
    answers 'counters are differences from the start' 'm.cloneWriteOps == 64 and m.failedCloneOps == 0 and m.xcopyUsed == true'
    answers 'and it tells times and the boot' \
        'm.startedAt > 1e9 and m.updatedAt >= m.startedAt and #m.hostBootId == 36 and m.stdErr == "" and m.taskId and m.pid > 1'
    # shellcheck disable=SC2016
    holds 'the keys of upstream come first and in its order' sh -c \
        'printf %s "$1" | grep -qE "^.\"taskId\": .*, \"pid\": .*, \"exitCode\": .*, \"lastLine\": .*, \"xcopyUsed\": .*, \"stdErr\": "' - "$MESSAGE"
    holds 'the bytes are there' same "$BOX/vmfs/volumes/ds1/vm/disk-flat.vmdk" "$BOX$DST"
    holds 'the descriptor is named after the task' [ -e "$BOX/vmfs/volumes/ds1/vm/lunalift-rdmdisk-$ID.vmdk" ]
    first=$ID
    start
    answers 'a second clone after the first gets an id of its own' 'm.existing == nil and m.taskId ~= "'"$first"'"'
    settle
    ask --task-list
    answers 'list tells both' '#m.tasks == 2 and m.tasks[1].state == "done" and m.tasks[2].pid > 1'
    ask --task-clean -i "$ID"
    answers 'clean answers an empty message' 'status == "0" and code == 0 and message == ""'
    holds 'the task folder is gone' absent "$BOX/tmp/vmkfstools-wrapper-$ID"
    ask --task-clean -i "$ID"
    answers 'cleaning again is done already' 'status == "0" and message == ""'
    ask --task-clean -i "$first"
    holds 'no RDM file is left' clean_datastore
    holds 'nor anything in /tmp' [ -z "$(ls "$BOX/tmp")" ]
}

test_counters() {
    start
    settle
    : >"$BOX/etc/no-vsish"
    ask --task-get -i "$ID"
    answers 'counters are null when the device has gone' 'm.xcopyUsed == null and m.cloneWriteOps == null and m.failedCloneOps == null'
    rm "$BOX/etc/no-vsish"
    echo 0 >"$BOX/var/counter"
    DST=/vmfs/devices/disks/naa.600a1
    printf '99999999 3\n' >"$BOX/tmp/vmkfstools-wrapper-$ID/baseline"
    ask --task-get -i "$ID"
    answers 'and null when the counter went backwards' 'm.xcopyUsed == null and m.cloneWriteOps == null and m.failedCloneOps == 0'
    printf '42336 3\n' >"$BOX/tmp/vmkfstools-wrapper-$ID/baseline"
    ask --task-get -i "$ID"
    answers 'no difference is no xcopy' 'm.xcopyUsed == false and m.cloneWriteOps == 0'
    rm "$BOX/tmp/vmkfstools-wrapper-$ID/targetLun"
    ask --task-get -i "$ID"
    answers 'no device name, no counters' 'm.xcopyUsed == null'
}

test_existing() {
    stub mode=hang
    start -i cafe0000-0001
    answers 'the caller may name the task' 'm.taskId == "cafe0000-0001" and m.existing == nil'
    pid=$(value m.pid)
    ask --clone -s "$SRC" -t "$DST" -i cafe0000-0001
    answers 'the same id again starts nothing' 'status == "0" and m.existing == true and m.taskId == "cafe0000-0001" and m.pid == '"$pid"
    ask --clone -s "$SRC" -t "$DST" -i cafe0000-0002
    answers 'nor does another id on the same device' 'm.existing == true and m.taskId == "cafe0000-0001" and m.pid == '"$pid"
    # shellcheck disable=SC2016 # what esxcli may leave there
    ask --clone -s "$SRC" -t "$DST" -i '$val{task-id}'
    answers 'a placeholder of esxcli is no id' 'm.existing == true and m.taskId == "cafe0000-0001"'
    ln -s naa.600a1 "$BOX/vmfs/devices/disks/vml.0200"
    ask --clone -s "$SRC" -t /vmfs/devices/disks/vml.0200
    answers 'another name of the device is the same device' 'm.existing == true and m.taskId == "cafe0000-0001"'
    holds 'one writer' starts 1
    ask --task-kill -i cafe0000-0001
    ask --clone -s "$SRC" -t "$DST" -i cafe0000-0001
    answers 'an id lasts until it is cleaned' 'm.existing == true'
    ask --task-clean -i cafe0000-0001
    stub mode=copy
    start -i cafe0000-0001
    answers 'and then is free again' 'm.existing == nil and status == "0"'
    settle
    holds 'two writers, one after the other' starts 2
}
