# How a task ends: killed, failed, or with the host.
# shellcheck shell=sh disable=SC2016,SC2034,SC2154 # what stands in single quotes is for others; variables are the driver's

test_kill() {
    stub mode=hang
    start
    pid=$(value m.pid)
    until_percent
    ask --task-clean -i "$ID"
    answers 'clean refuses a running task' 'status == "1" and m.stdErr:find "running" and m.taskId'
    holds 'and leaves it as it is' [ -e "$BOX/tmp/vmkfstools-wrapper-$ID/pid" ]
    ask --task-kill -i "$ID"
    answers 'kill proves the writer gone' 'status == "0" and m.state == "killed" and m.writerAlive == false and m.taskId'
    holds 'it is' group_gone "$pid"
    ask --task-get -i "$ID"
    answers 'a killed task has exit code 143' 'm.state == "killed" and m.exitCode == "143" and m.percent == 25'
    ask --task-kill -i "$ID"
    answers 'killing again changes nothing' 'status == "0" and m.state == "killed" and m.writerAlive == false'
    ask --task-clean -i "$ID"
    answers 'and it can be cleaned' 'status == "0"'
    holds 'with its RDM files' clean_datastore
    ask --task-kill -i "$ID"
    answers 'killing an unknown task fails' 'status == "1" and m.taskId and m.stdErr:find "not found"'
    stub mode=copy
    start
    settle
    ask --task-kill -i "$ID"
    answers 'a task that had ended keeps its state' 'status == "0" and m.state == "done" and m.writerAlive == false'
    ask --task-get -i "$ID"
    answers 'and its exit code' 'm.state == "done" and m.exitCode == "0"'
}

test_kill_early() {
    stub mode=hang
    for _ in 1 2 3 4 5; do
        start
        pid=$(value m.pid)
        ask --task-kill -i "$ID"
        if ! { is 'm.state == "killed" and m.writerAlive == false' && group_gone "$pid"; }; then break; fi
        ask --task-get -i "$ID"
        is 'm.exitCode == "143"' || break
        ask --task-clean -i "$ID"
    done
    answers 'a kill at once after the start takes effect, five times' 'status == "0" and message == ""'
}

test_deaf() {
    stub mode=deaf
    altered 's/^TERM_S=6 /TERM_S=1 /'
    start
    pid=$(value m.pid)
    until_percent
    ask --task-kill -i "$ID"
    answers 'a writer that does not hear TERM gets KILL' 'status == "0" and m.state == "killed" and m.writerAlive == false'
    holds 'and is gone' group_gone "$pid"
    ask --task-get -i "$ID"
    answers 'with exit code 143 all the same' 'm.state == "killed" and m.exitCode == "143"'
}

test_undying() {
    # A process that sleeps in a device driver outlives every signal. Here it does because none is sent.
    stub mode=hang
    start
    pid=$(value m.pid)
    until_percent
    altered 's/signal \$how/signal 0/; s/^KILL_S=10 /KILL_S=2 /'
    ask --task-kill -i "$ID"
    answers 'a writer that will not die is told' 'status == "1" and code == 1 and m.writerAlive == true and m.state == "running" and m.taskId'
    restored
    ask --task-get -i "$ID"
    answers 'and still counts as running' 'm.state == "running" and m.exitCode == ""'
    ask --task-clean -i "$ID"
    answers 'so that it is not cleaned' 'status == "1"'
    ask --task-kill -i "$ID"
    answers 'until a later kill succeeds' 'status == "0" and m.state == "killed"'
}

test_failures() {
    stub mode=fail 'text="Failed: \"quotes\" back\\slash <tag> & umlaut ü, a $(date)"'
    start
    settle
    answers 'a failure is told in its own words' \
        'm.state == "failed" and m.exitCode == "7" and m.stdErr == [[Failed: "quotes" back\slash <tag> & umlaut ü, a ]] .. m.stdErr:match " a (.*)"'
    stub mode=crash
    DST=/vmfs/devices/disks/naa.600a2
    device naa.600a2 1
    start
    settle
    answers 'a task that went without an exit code is lost' 'm.state == "lost" and m.exitCode == "1" and #m.stdErr > 0'
    answers 'a device without counters has none' 'm.cloneWriteOps == null and m.xcopyUsed == null'
    ask --task-kill -i "$ID"
    answers 'lost it stays' 'status == "0" and m.state == "lost"'
    ask --task-clean -i "$ID"
    answers 'until cleaned' 'status == "0"'
    stub mode=killed
    start
    settle
    answers 'a vmkfstools that was killed has failed' 'm.state == "failed" and m.exitCode == "137" and m.percent == 25'
    ask --task-clean -i "$ID"
    stub mode=quiet
    start
    settle
    answers 'exit code 0 is success, and percent stays honest' 'm.state == "done" and m.exitCode == "0" and m.percent == null'
    answers 'the last line is the last that has text' 'm.lastLine == "Cloning disk '"'$SRC'"'..."'
}

test_missing() {
    rm "$BOX/bin/vmkfstools"
    ask --preflight -s "$SRC"
    answers 'preflight tells that vmkfstools is missing' 'm.vmkfstools == false'
    start
    settle
    answers 'without it a clone fails, and says why' 'm.state == "failed" and m.exitCode == "127" and m.stdErr:find "vmkfstools"'
}

test_escaped() {
    # Signals go to a group; what has left it still names its descriptor.
    stub mode=escape pause=0.2
    start
    until_percent
    ask --task-kill -i "$ID"
    answers 'a writer that ps knows, though its group is gone, is told' 'status == "1" and m.writerAlive == true'
    ask --task-kill -i "$ID"
    answers 'again, though the task counts as killed' 'status == "1" and m.state == "killed" and m.writerAlive == true'
    ask --task-clean -i "$ID"
    answers 'and is not cleaned under its feet' 'status == "1" and m.stdErr:find "running"'
    rm "$BOX/var/escaped"
    ask --task-kill -i "$ID"
    answers 'until it has ended' 'status == "0" and m.writerAlive == false'
    ask --task-clean -i "$ID"
    answers 'and can be cleaned' 'status == "0"'
}

test_upgrade() {
    stub mode=hang
    altered 's/^VERSION=.*/VERSION=0.9.9/'
    start -i 0a0a0a0a
    until_percent
    restored
    ask --task-get -i 0a0a0a0a
    answers 'a newer wrapper goes on with the task of an older one' 'm.state == "running" and m.percent == 25'
    start -i 0b0b0b0b
    answers 'knows its device' 'm.existing == true and m.taskId == "0a0a0a0a"'
    ask --task-kill -i 0a0a0a0a
    answers 'and kills it' 'm.state == "killed" and m.writerAlive == false'
    ask --task-clean -i 0a0a0a0a
    begin
    for _ in 1 2 3 4 5 6 7 8 9; do echo 'touch /tmp/pwned; exit 1' && cat "$script"; done >"$INSTALLED"
    finish
    answers 'a call is not disturbed when its file is written over' 'status == "0" and m.taskId'
    holds 'nor does it run what is new' absent "$BOX/tmp/pwned"
    restored
    ask --task-kill -i "$(value m.taskId)"
}

test_reboot() {
    stub mode=hang
    start
    pid=$(value m.pid)
    until_percent
    old=$(value m.hostBootId)
    rm "$BOX/var/run/vmkfstools-wrapper.boot" # it is in memory
    ask --task-get -i "$ID"
    answers 'after a reboot a task is lost, whoever bears its pid' 'm.state == "lost" and m.exitCode == "1" and m.hostBootId ~= "'"$old"'"'
    ask --task-kill -i "$ID"
    answers 'and that pid is not signalled' 'status == "0" and m.state == "lost"'
    holds 'it lives' kill -0 "$pid"
    kill -KILL "-$pid"
}
