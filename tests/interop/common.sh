# shellcheck shell=sh
# What the stages share; `. "$(dirname "$0")/../common.sh"` is their first line. A stage is a peer that nobody here wrote: it judges
# the program of LUNALIFT_BIN (build/lunalift unless set) and prints TAP. A peer that cannot be had is one loud skip, or a failure
# if LUNALIFT_REQUIRE_PEERS=1.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
lunalift=${LUNALIFT_BIN:-$root/build/lunalift}
export PYTHONPATH="$root/tests/interop" PYTHONDONTWRITEBYTECODE=1
scratch=$(mktemp -d)
started=

cleanup() {
  # The last one started is the first to end.
  for pid in $started; do
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

peers() { "$root/tools/peers" "$@"; }

fail() { # what did not work
  echo "not ok - $1"
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
}

missing() { # why
  [ "${LUNALIFT_REQUIRE_PEERS:-0}" != 1 ] || fail "$1"
  echo "ok - ${here##*/} # skip $1"
  echo "0 passed, 0 failed, 1 skipped"
  exit 0
}

# Start a program, and wait until it has written a file.
start() { # file, program and its arguments
  ready=$1 log=$scratch/${2##*/}.log
  shift
  "$@" >"$log" 2>&1 &
  started="$! $started"
  tries=0
  until [ -s "$ready" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ] || ! kill -0 "${started%% *}" 2>/dev/null; then
      cat "$log" >&2
      fail "${1##*/} starts"
    fi
    sleep 0.1
  done
}

# A lab; $site says where everything is.
start_lab() { # scenario
  echo "$1" >"$scratch/scenario.json"
  site=$scratch/site/site.json
  start "$site" "$lunalift" lab --dir "$scratch/site" --scenario "$scratch/scenario.json"
}

# The program of a neighbouring folder, for a spec: LUNALIFT_<NAME>.
need() { # name
  program=$(peers build "$1" "$root/tests/interop/$1") || missing "$1 could not be built"
  export "LUNALIFT_$(echo "$1" | tr '[:lower:]' '[:upper:]')=$program"
}

run_spec() {
  lunalift=$(realpath "$lunalift")
  cd "$root" # where specs are at home
  LUNALIFT_BIN=$lunalift "$(dirname "$lunalift")/tests/lunalift-test" --output=TAP "$here/${here##*/}_spec.lua"
}
