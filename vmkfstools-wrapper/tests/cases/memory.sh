# The memory limit of what esxcli and SSH start.
# shellcheck shell=sh disable=SC2016,SC2034,SC2154 # what stands in single quotes is for others; variables are the driver's

memory() { PATH=$BOX/bin:$PATH on_host "$HOST/opt/lunalift/hostd-memory" "$@" 2>"$BOX/var/stderr"; }

refuses() { # name, words of the reason, arguments...
    name=$1 words=$2
    shift 2
    OUT=$(memory "$@") && not_ok "$name" 'it ended well'
    holds "$name, and says why" grep -q "^hostd-memory: .*$words" "$BOX/var/stderr"
    holds "$name, and prints nothing" [ -z "$OUT" ]
}

test_memory() {
    holds 'the limit is told in MiB' [ "$(memory)" = 500 ]
    holds 'and set' [ "$(memory 1024)" = 1024 ]
    holds 'in KiB' [ "$(cat "$BOX/etc/memory")" = 1048576 ]
    ask --preflight
    answers 'so that preflight sees it' 'm.memoryLimitMib == 1024'
    for mib in 0 -1 1.5 '1 2' x '$(touch pwned)' 255 99999999999999999999; do refuses "no limit: $mib" "'$mib'\|256" "$mib"; done
    holds 'it stays' [ "$(memory)" = 1024 ]
    echo -1 >"$BOX/etc/memory"
    holds 'no limit is -1' [ "$(memory)" = -1 ]
    : >"$BOX/etc/stubborn"
    refuses 'a host that keeps its limit is told' 'did not take it' 2048
    export GROUP_NAME=other
    refuses 'a host without the group is told' 'no resource group'
    ask --preflight
    answers 'and preflight has no limit to tell' 'm.memoryLimitMib == null'
    unset GROUP_NAME
}
