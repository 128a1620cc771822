# Digests and preflight.
# shellcheck shell=sh disable=SC2016,SC2034,SC2154 # what stands in single quotes is for others; variables are the driver's

test_digest() {
    disk ds1/vm/disk 3
    device naa.600a1 4
    start
    settle
    ask --digest -s "$SRC" -t "$DST" -e 0:3145728,0:512,4096:65536,1048576:1048576,512:1024
    answers 'digests of a copy are equal' 'm.algorithm == "sha256" and #m.source == 5 and table.concat(m.source) == table.concat(m.target)'
    whole=$(sha256sum <"$BOX/vmfs/volumes/ds1/vm/disk-flat.vmdk")
    holds 'and right' [ "$(value 'm.source[1]')" = "${whole%% *}" ]
    part=$(dd if="$BOX$DST" bs=512 skip=1 count=2 2>/dev/null | sha256sum)
    holds 'for parts too' [ "$(value 'm.target[5]')" = "${part%% *}" ]
    printf x | dd of="$BOX$DST" bs=1 seek=2097152 conv=notrunc 2>/dev/null
    ask --digest -s "$SRC" -t "$DST" -e 0:2097152,2097152:512
    answers 'one changed byte shows, in its extent alone' 'm.source[1] == m.target[1] and m.source[2] ~= m.target[2]'
    many=0:512
    for n in $(seq 63); do many=$many,$((n * 512)):512; done
    ask --digest -s "$SRC" -t "$DST" -e "$many"
    answers '64 extents are taken' '#m.source == 64'
    for extents in 3145728:512 3145216:1024 0:999999999999999999999 0 1:2 0:0 '0:512,' ',' 0:512:1 -512:512 00:512 0:0512 0x0:512 "$many,0:512"; do
        ask --digest -s "$SRC" -t "$DST" -e "$extents"
        answers "extents refused: $extents" 'status == "1" and #m.stdErr > 0'
    done
    device naa.600a1 2
    ask --digest -s "$SRC" -t "$DST" -e 2097152:512
    answers 'the shorter side is the limit' 'status == "1" and m.stdErr:find "beyond"'
    for side in vmfs/volumes/ds1/vm/disk-flat.vmdk vmfs/devices/disks/naa.600a1; do truncate -s 300M "$BOX/$side"; done
    ask --digest -s "$SRC" -t "$DST" -e 0:134217728,0:134217728,0:512
    answers '256 MiB are the limit, of all extents together' 'status == "1" and m.stdErr:find "268435456"'
    altered 's/^DIGEST_LIMIT=268435456 /DIGEST_LIMIT=8388608 /'
    ask --digest -s "$SRC" -t "$DST" -e 0:4194304,0:4194304
    answers 'which itself is taken' '#m.source == 2 and m.source[1] ~= m.target[1]'
    restored
    : >"$BOX/vmfs/volumes/ds1/vm/disk-flat.vmdk.lck"
    ask --digest -s "$SRC" -t "$DST" -e 0:512
    answers 'the disk of a running VM is refused' 'status == "1" and m.stdErr:find "in use"'
    rm "$BOX/vmfs/volumes/ds1/vm/disk-flat.vmdk" "$BOX/vmfs/volumes/ds1/vm/disk-flat.vmdk.lck"
    ask --digest -s "$SRC" -t "$DST" -e 0:512
    answers 'an extent that cannot be read is told' 'status == "1" and m.stdErr:find "flat.vmdk"'
    disk 'ds1/vm/a "b" c"' 1
    device naa.600a1 1
    ask --digest -s '/vmfs/volumes/ds1/vm/a "b" c".vmdk' -t "$DST" -e 0:512
    answers 'a name with quotes is no obstacle' '#m.source == 1 and m.source[1] ~= m.target[1]'
    printf 'parentFileNameHint="base.vmdk"\n' >>"$BOX$SRC"
    ask --digest -s "$SRC" -t "$DST" -e 0:512
    answers 'a snapshot is refused' 'status == "1" and m.stdErr:find "snapshot"'
}

test_preflight() {
    ask --preflight -s "$SRC" -t "$DST"
    answers 'preflight tells both ends' 'status == "0" and m.sourceExists == true and m.sourceBytes == 1048576 and m.deviceExists == true and
        m.deviceBytes == 1048576 and m.deviceStatus == "on" and m.vaaiClone == true and m.vmkfstools == true'
    answers 'and the space' 'm.freeTmpBytes == 200000 * 1024 and m.freeDatastoreBytes > 0'
    answers 'and what the device has counted since it is there' 'm.cloneWriteOps == 42336 and m.failedCloneOps == 3'
    ask --preflight -s "$SRC"
    answers 'what was not asked for is null' 'm.sourceExists and m.deviceExists == null and m.deviceBytes == null and m.deviceStatus == null and
        m.failedCloneOps == null and m.memoryLimitMib == null'
    ask --preflight
    answers 'without a source it tells of the host' 'm.sourceExists == null and m.sourceBytes == null and m.descriptorFolder == null and
        m.vmkfstools and m.freeTmpBytes == 200000 * 1024 and m.memoryLimitMib == 500'
    # shellcheck disable=SC2016 # what esxcli may leave there
    ask --preflight -s "$SRC" -t '$val{target-lun}'
    answers 'as with the placeholder of esxcli' 'm.sourceExists and m.deviceExists == null'
    ask --preflight -s /vmfs/volumes/none/x.vmdk -t /vmfs/devices/disks/naa.none
    answers 'what is not there is false or null' 'm.sourceExists == false and m.sourceBytes == null and m.deviceExists == false and
        m.deviceStatus == null and m.vaaiClone == null and m.freeDatastoreBytes == null'
}
