#!/bin/sh
# SPDX-License-Identifier: MIT
# smoke.t: what every configuration must do, whichever backends it has: each plugin that was built loads, or says why it has no
# device; one that was not built is named as such; every operator has a route on every device; the digits train.
#
#   CHX_WITHOUT=NAME     the backend that this build was configured without: it must not be there
set -eu
export LC_ALL=C
cd "${CHX_BUILDDIR:?run by tests/env.sh}"
work=$PWD/smoke.dir
rm -rf "$work"
mkdir "$work"
trap 'rm -rf "$work"' EXIT
export CHX_PLUGIN_PATH="$PWD/.libs"
n=0
try() { # try WHAT COMMAND...: passes if it succeeds; its output is shown if not
  what=$1
  shift
  n=$((n + 1))
  if "$@" >"$work/try.log" 2>&1; then echo "ok $n - $what"; else echo "not ok $n - $what"; tail -n 20 "$work/try.log" | sed 's/^/#   /'; fi
}
section() { awk -v name="$1" '/^[^ ]/ { on = $1 == name || $1 == name ":" } on' "$work/devices"; } # of what chx devices says
is_not_there() { [ ! -e ".libs/chx_$1.so" ] && [ -z "$(section "$1")" ] && ! ./chx ops --device "$1" >"$work/said" 2>&1 && grep "chx_$1.so: No such file" "$work/said"; }
loads() { # its devices, or the reason that it gives itself
  section "$1"
  section "$1" | grep -qE "^  ($1:0|no device:)" && ! section "$1" | grep -E "cannot be loaded|rejected"
}
routes() { # every operator has a way on the device
  ./chx ops --device "$1" --json >"$work/ops.json" && [ "$(grep -o '"route"' "$work/ops.json" | wc -l)" -gt 100 ] && ! grep -E '"route": ?"none"' "$work/ops.json"
}
trains() { # trains DEVICE: one epoch of the digits, to where it gets on native
  ./chx train mlp --data "$CHX_DIGITS" --holdout 0.2 --epochs 1 --device "$1" --json --quiet --out "$work/$1" >"$work/$1.json" &&
    sed -n 's/.*"test_accuracy": *\([0-9.]*\).*/\1/p' "$work/$1.json" | awk '{ v = $1; print } END { exit !(v > 0.5) }'
}

try "the command says its version" ./chx --version
try "the devices are listed" sh -c "./chx devices >'$work/devices'"
if [ -n "${CHX_WITHOUT-}" ]; then try "$CHX_WITHOUT was left out, and the command says that it is not there" is_not_there "$CHX_WITHOUT"; fi
for plugin in .libs/chx_*.so; do
  name=${plugin##*/chx_}
  name=${name%.so}
  try "$name loads, or says why it has no device" loads "$name"
  section "$name" | grep -q "^  $name:0" || continue
  try "every operator has a route on $name:0" routes "$name:0"
  case $name in
  native|ref|sim) try "the digits train on $name:0" trains "$name:0" ;; # what takes no start-up of seconds
  esac
done
echo "1..$n"
