# Calls that meet each other, and what those leave that were killed.
# shellcheck shell=sh disable=SC2016,SC2034,SC2154 # what stands in single quotes is for others; variables are the driver's

test_race() {
    stub mode=hang
    : >"$BOX/etc/slow" # so that all of them are on their way before the first has made its task
    for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        case $((n % 2)) in
        0) wrapper --clone -s "$SRC" -t "$DST" >"$BOX/var/race.$n" & ;;
        1) wrapper --clone -s "$SRC" -t "$DST" -i "$(printf 'cafe%04d' $n)" >"$BOX/var/race.$n" & ;;
        esac
    done
    wait
    fresh=0 ids=''
    for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        OUT=$(cat "$BOX/var/race.$n")
        CODE=0
        understand
        ids="$ids $(value m.taskId)"
        ! is 'm.existing == nil' || fresh=$((fresh + 1))
    done
    # shellcheck disable=SC2086
    holds 'of 20 starts at once, all tell the same task' [ "$(printf '%s\n' $ids | sort -u | wc -l)" -eq 1 ]
    holds 'one says that it started it' [ $fresh -eq 1 ]
    holds 'and one writes' starts 1
    ID=${ids##* }
    ask --task-kill -i "$ID"
    holds 'no lock is left' [ -z "$(find "$BOX/tmp" -name '*lock*')" ]
}

# A start that has the lock, and makes its task once it is let go.
begin() { # arguments
    : >"$BOX/etc/hold"
    wrapper --clone -s "$SRC" -t "$DST" "$@" >"$BOX/var/race.1" &
    await [ -e "$BOX/etc/held" ]
}

finish() {
    rm "$BOX/etc/held"
    wait
    OUT=$(cat "$BOX/var/race.1") CODE=0
    understand
}

locked() { [ -L "$BOX/tmp/vmkfstools-wrapper.lock-$BOOT-naa.600a1" ]; }

lock_of() { # pid: its lock, as that of a wrapper that was killed
    ask --task-list
    BOOT=$(readlink "$BOX/var/run/vmkfstools-wrapper.boot")
    LOCK=$BOX/tmp/vmkfstools-wrapper.lock-$BOOT-naa.600a1
    [ -z "$1" ] || ln -s "$1" "$LOCK"
}

test_stale_lock() {
    lock_of ''
    begin
    kill -KILL "$(readlink "$LOCK")"
    finish
    holds 'a wrapper that is killed in the middle of a start leaves its lock' locked
    holds 'and has started nothing' starts 0
    start
    answers 'a lock whose holder died is taken over' 'status == "0" and m.existing == nil'
    settle
    holds 'and given back' absent "$LOCK"
    rm "$BOX/var/starts" "$BOX"/vmfs/volumes/ds1/vm/*rdm*
    ask --task-clean -i "$ID"
    : >"$BOX/var/starts"

    lock_of $$
    touch -h -d '5 minutes ago' "$LOCK"
    start
    answers 'so is one so old that its pid must be somebody else by now' 'status == "0" and m.existing == nil'
    settle
    holds 'and that is given back, too' absent "$LOCK"
}

test_stale_lock_race() {
    stub mode=hang
    lock_of 99999999
    for n in 1 2 3 4 5 6; do wrapper --clone -s "$SRC" -t "$DST" >"$BOX/var/race.$n" & done
    wait
    holds 'of many starts at a stale lock, one writes' starts 1
    OUT=$(cat "$BOX/var/race.1")
    CODE=0
    understand
    ask --task-kill -i "$(value m.taskId)"
    holds 'and no lock is left' absent "$LOCK"
}

test_lost_lock() {
    stub mode=hang
    lock_of ''
    begin -i aaaaaaaa
    rm "$LOCK"
    finish
    answers 'a start that lost its lock takes it again' 'status == "0" and m.existing == nil and m.taskId == "aaaaaaaa"'
    ask --task-kill -i aaaaaaaa
    ask --task-clean -i aaaaaaaa
    : >"$BOX/var/starts"

    begin -i aaaaaaaa
    rm "$LOCK"
    start -i bbbbbbbb
    answers 'one that took its place starts' 'status == "0" and m.existing == nil and m.taskId == "bbbbbbbb"'
    finish
    answers 'and the first tells of it' 'status == "0" and m.existing == true and m.taskId == "bbbbbbbb"'
    holds 'one writes' starts 1
    holds 'and nothing is left of the first' absent "$BOX/tmp/vmkfstools-wrapper-aaaaaaaa"
    ask --task-kill -i bbbbbbbb
}

test_start_killed() {
    # Killed once the folder was there, before a runner was: such a folder says nothing of itself for a while.
    mkdir "$BOX/tmp/vmkfstools-wrapper-dead0000"
    ID=dead0000
    ask --task-get -i $ID
    answers 'a task without a pid is being started' 'm.state == "running" and m.pid == 0'
    ask --task-kill -i $ID
    answers 'killed, it is so at once' 'status == "0" and m.state == "killed" and m.writerAlive == false'
    runner=$(sed -n "/^RUNNER='/,/^'/p" "$script" | sed "1d;\$d")
    PATH=$BOX/bin:$PATH on_host -c "$runner" runner "$HOST/tmp/vmkfstools-wrapper-dead0000" "$HOST$SRC" "$HOST$DST" "$HOST/x"
    holds 'a runner that comes later starts nothing' starts 0
    ask --task-get -i $ID
    answers 'and it stays killed' 'm.state == "killed" and m.exitCode == "143" and m.pid > 1'
}

test_boot_race() {
    for n in 1 2 3 4 5 6 7 8; do wrapper --clone -s "$SRC" -t "$DST" >"$BOX/var/race.$n" & done
    wait
    holds 'callers that meet at the first call agree on the boot' [ "$(cat "$BOX"/tmp/*/bootId | sort -u | wc -l)" -eq 1 ]
    holds 'and none of them fails' [ "$(cat "$BOX"/var/race.* | grep -c '"status"><string>0<')" -eq 8 ]
}

test_kill_race() {
    stub mode=hang
    for _ in 1 2 3; do
        start
        pid=$(value m.pid)
        for n in 1 2 3 4; do wrapper --task-kill -i "$ID" >"$BOX/var/race.$n" & done
        wait
        for n in 1 2 3 4; do
            OUT=$(cat "$BOX/var/race.$n")
            CODE=0
            understand
            is 'm.state == "killed" and m.writerAlive == false' || break 2
        done
        group_gone "$pid" || break
        ask --task-get -i "$ID"
        is 'm.state == "killed" and m.exitCode == "143"' || break
        for n in 1 2 3 4; do wrapper --task-clean -i "$ID" >"$BOX/var/race.$n" & done
        wait
        ask --task-clean -i "$ID"
    done
    answers 'of four who kill at once, then clean at once, each says the same, three times' 'status == "0" and message == ""'
    holds 'and nothing is left of the tasks' [ -z "$(ls "$BOX/tmp")" ]
    holds 'nor beside the source' clean_datastore
}

churn() { # number: one of many that use the host at the same time
    for _ in 1 2 3 4; do
        wrapper --clone -s "$SRC" -t "$DST" -i "cafe000$1"
        wrapper --task-list
        wrapper --task-kill -i "cafe000$1"
        wrapper --task-get -i "cafe000$1"
        wrapper --task-clean -i "cafe000$1"
    done >"$BOX/var/churn.$1"
}

test_churn() {
    stub mode=hang
    for n in 1 2 3 4; do churn $n & done
    wait
    holds 'under much use at the same time, each of 80 calls answers' [ "$(cat "$BOX"/var/churn.* | grep -c '^</output>')" -eq 80 ]
    sed '/^<?xml/d; s/<output xmlns=[^>]*>/<output>/' "$BOX"/var/churn.* | { echo '<all>' && cat && echo '</all>'; } >"$BOX/var/all"
    holds 'with a sound document' xmllint --noout "$BOX/var/all"
    ask --task-list
    ids=$(value 'require("cjson").encode(m.tasks)')
    holds 'and nothing is left' [ "$ids" = '{}' ]
    alive=
    while read -r pid; do ! kill -0 "$pid" 2>/dev/null || alive="$alive $pid"; done <"$BOX/var/starts"
    holds 'not even a writer' [ -z "$alive" ]
    holds 'or a lock' [ -z "$(ls "$BOX/tmp")" ]
}
