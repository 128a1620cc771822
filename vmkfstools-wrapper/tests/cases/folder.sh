# Where the RDM descriptor lies.
# shellcheck shell=sh disable=SC2016,SC2034,SC2154 # what stands in single quotes is for others; variables are the driver's

volume() { # name settings of its file system...
    mkdir -p "$BOX/vmfs/volumes/$1"
    file=$BOX/vmfs/volumes/$1/.file-system
    shift
    printf '%s\n' "$@" >"$file"
}

vmfs() { printf '66aa0f%02x-5d2c3b1e-8a17-005056a10015' "$1"; }

folder_is() { # path, or none; name
    ask --preflight -s "$SRC"
    answers "$2" "(m.descriptorFolder == null and 'none' or m.descriptorFolder) == '$1'"
}

filer() { # the source's volume is no VMFS
    disk 'filer & co/vm/disk' 1
    volume 'filer & co' type=NFS-1.00
    SRC='/vmfs/volumes/filer & co/vm/disk.vmdk'
}

test_folder() {
    filer
    volume "$(vmfs 1)"
    top=$BOX/vmfs/volumes/$(vmfs 1)
    start
    settle
    answers 'a disk on NFS is copied' 'm.state == "done"'
    holds 'with its descriptor at the top of a VMFS volume' [ -e "$top/lunalift-rdmdisk-$ID.vmdk" ]
    holds 'and with none beside it' [ -z "$(find "$BOX/vmfs/volumes/filer & co" -name '*rdm*')" ]
    ask --task-clean -i "$ID"
    answers 'it is cleaned' 'status == "0"'
    holds 'without a trace' clean_datastore
    stub mode=hang
    start
    until_percent
    ask --task-kill -i "$ID"
    answers 'or killed' 'm.state == "killed" and m.writerAlive == false'
    touch -d '6 days ago' "$BOX/tmp/vmkfstools-wrapper-$ID"/* "$BOX/tmp/vmkfstools-wrapper-$ID"
    holds 'which leaves the descriptor' leftovers
    stub mode=copy
    SRC=/vmfs/volumes/ds1/vm/disk.vmdk
    start
    settle
    holds 'until a later start reaps the task' [ -z "$(find "$top" -name '*rdm*')" ]
}

test_folder_choice() {
    folder_is /vmfs/volumes/ds1/vm 'on VMFS it is the folder of the source'
    filer
    volume "$(vmfs 1)" type=vfat-0.04 access=private
    volume "$(vmfs 2)" type=VMFSOS-1.00
    volume "$(vmfs 3)" "label=OSDATA-$(vmfs 3)"
    volume "$(vmfs 4)" label=snap-1a2b3c4d-ds1
    volume "$(vmfs 5)" access=private
    volume "$(vmfs 6)" free=4194303
    volume "$(vmfs 7)" type=vsan-1.00
    folder_is none 'what ESXi keeps for itself, a snapshot, and a full volume are no place'
    ask --clone -s "$SRC" -t "$DST"
    answers 'without any the clone is refused' 'status == "1" and m.stdErr:find("no VMFS datastore on this host for the RDM descriptor", 1, true)'
    holds 'before anything is started' starts 0
    holds 'or left' [ -z "$(ls "$BOX/tmp")" ]
    volume ds1 free=4194303
    SRC=/vmfs/volumes/ds1/vm/disk.vmdk
    folder_is none 'nor is that of the source when it is full'
    SRC='/vmfs/volumes/filer & co/vm/disk.vmdk'
    volume 'filer & co' type=
    folder_is '/vmfs/volumes/filer & co/vm' 'where nobody tells the file system it is the folder of the source'
    volume "$(vmfs 8)" free=4194304
    folder_is "/vmfs/volumes/$(vmfs 8)" 'unless a VMFS is there for certain'
    answers 'whose free space is told' 'm.freeDatastoreBytes > 0'
    volume 'filer & co' label=snap-1a2b3c4d-filer
    folder_is '/vmfs/volumes/filer & co/vm' 'and a snapshot that is the source itself holds its own'
}

test_own_datastore() {
    volume ds1 below=naa.600a1
    ask --clone -s "$SRC" -t "$DST"
    answers 'a device that the datastore itself lies on is no target' 'status == "1" and m.stdErr:find("holds the datastore", 1, true)'
    holds 'and nothing is started' starts 0
    volume ds1 below=naa.600a10
    start
    settle
    answers 'one whose name begins alike is' 'm.state == "done"'
}
