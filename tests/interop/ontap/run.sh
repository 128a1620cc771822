#!/bin/sh
# Drives the lab's ONTAP with NetApp's own Python client, so that the simulator speaks ONTAP and not what our client happens to send.
#
#   run.sh [path of lunalift]
#
# Without the client (no python3, no package index): one loud skip, or a failure if LUNALIFT_REQUIRE_PEERS=1.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
lunalift=${1:-${LUNALIFT:-$here/../../../build/lunalift}}
venv=${LUNALIFT_CACHE:-$HOME/.cache/lunalift}/venv-netapp
packages="netapp-ontap==9.19.1.0 requests==2.34.2 marshmallow==3.26.2"

missing() {
    if [ "${LUNALIFT_REQUIRE_PEERS:-0}" = 1 ]; then
        echo "not ok - $1"
        echo "0 passed, 1 failed, 0 skipped"
        exit 1
    fi
    echo "skip - $1"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
}

install_client() {
    # The stamp names what is installed: an interrupted or older install is done again.
    [ "$(cat "$venv/installed" 2>/dev/null)" = "$packages" ] && return 0
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    # shellcheck disable=SC2086 # one word each
    python3 -m venv "$venv" && "$venv/bin/pip" install --quiet $packages && echo "$packages" >"$venv/installed"
}

command -v python3 >/dev/null || missing "python3 is not installed"
install_client >&2 || missing "netapp-ontap could not be installed"

scratch=$(mktemp -d)
lab=
cleanup() {
    [ -z "$lab" ] || kill "$lab" 2>/dev/null || true
    [ -z "$lab" ] || wait "$lab" 2>/dev/null || true
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

"$lunalift" lab --dir "$scratch/site" >"$scratch/log" 2>&1 &
lab=$!
tries=0
until [ -s "$scratch/site/site.json" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ] || ! kill -0 "$lab" 2>/dev/null; then
        cat "$scratch/log" >&2
        echo "not ok - the lab starts"
        echo "0 passed, 1 failed, 0 skipped"
        exit 1
    fi
    sleep 0.1
done
"$venv/bin/python" "$here/drive.py" "$scratch/site/site.json"
