#!/bin/sh
# SPDX-License-Identifier: MIT
# wheel.t: as TAP: a source distribution, the wheel built from it for native and ref, and the wheel in an empty virtual environment,
# where it trains the digits: without the source tree, NumPy or anything else installed. CHX_PYTHON: the Python, else Debian's.
set -u
src=$(cd "$(dirname "$0")/../../.." && pwd)
python=${CHX_PYTHON:-/usr/bin/python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/empty"
n=0
ok() { # ok STATUS WHAT: one result; what the step printed is in $work/log
  n=$((n + 1))
  if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; tail -n 30 "$work/log" | sed 's/^/#   /'; fi
  : >"$work/log"
}
end() { echo "1..$n"; exit; }
# The wheel's Python, in a folder with nothing in it and with no more of the environment than PATH.
bare() { (cd "$work/empty" && exec env -i PATH=/usr/bin:/bin HOME="$work/empty" "$@"); }
say() { bare "$work/venv/bin/python" -I -c "$1" 2>>"$work/log"; }

{ "$python" -m venv "$work/build" && "$work/build/bin/pip" install -q --disable-pip-version-check setuptools wheel; } >"$work/log" 2>&1
ok $? "an environment to build in: $("$python" --version)"

(cd "$src" && "$work/build/bin/python" -W ignore setup.py -q egg_info -e "$work" sdist -d "$work/sdist") >"$work/log" 2>&1
ok $? "a source distribution"

# pip builds it in a folder of its own.
(cd "$work/empty" && env -u CHX_BUILD CHX_WITH=native,ref "$work/build/bin/pip" wheel -q --disable-pip-version-check --no-deps --no-build-isolation \
  -w "$work/wheel" "$work"/sdist/*.tar.gz) >"$work/log" 2>&1
ok $? "a wheel, built from it"
wheel=$(ls "$work"/wheel/*.whl 2>/dev/null) || end

case $wheel in *-linux_"$(uname -m)".whl) ;; *) false ;; esac
ok $? "its tag says whose machine it is for: ${wheel##*/}"

{ "$python" -m venv "$work/venv" && "$work/venv/bin/pip" install -q --disable-pip-version-check --no-index "$wheel"; } >"$work/log" 2>&1
ok $? "it is installed in an empty environment"
home=$(say 'import chx, os; print(os.path.dirname(chx.__file__))')

[ "$(cd "$home/lib/chx/plugins" && echo *)" = "chx_native.so chx_ref.so" ]
ok $? "it has the plugins that were asked for"

! grep -rlF -e "$work/wheel" -e build-python "$home" >>"$work/log"
ok $? "nothing in it names the folder that it was built in"

cp "$src/data/digits.csv.gz" "$src/python/tests/wheel/train.py" "$work/empty/"
bare "$work/venv/bin/python" -I train.py digits.csv.gz >"$work/log" 2>&1
ok $? "a Python program trains the digits: $(tail -n 1 "$work/log")"

bare "$work/venv/bin/python" -m chx train mlp --data digits.csv.gz --holdout 0.2 --epochs 5 --seed 1 --json --quiet >"$work/log" 2>&1 &&
  say "import json; assert json.loads(open('$work/log').read())['test_accuracy'] >= 0.9"
ok $? "python -m chx train mlp trains the digits"

[ "$(bare "$work/venv/bin/chx" --version)" = "chx $(say 'import chx; print(chx.__version__)')" ]
ok $? "the script chx is the same command"

bare "$work/venv/bin/python" -m chx nonsense 2>>"$work/log"
[ $? = 2 ]
ok $? "its exit status is the caller's"

say '
import os, subprocess, sys, time
p = subprocess.Popen([sys.executable, "-m", "chx", "train", "mlp", "--data", "digits.csv.gz", "--epochs", "100000", "--quiet"])
until = time.time() + 20
while not os.readlink("/proc/%d/exe" % p.pid).endswith("bin/chx") and time.time() < until:
    time.sleep(0.01)
status = dict(line.split(":", 1) for line in open("/proc/%d/status" % p.pid))
p.terminate()
assert p.wait() == -15, p.returncode
assert int(status["SigIgn"], 16) == 0, "it ignores the signals that Python does"'
ok $? "signals reach it, and a closed pipe ends it"

times=$(for i in 1 2 3 4 5; do bare "$work/venv/bin/python" -I -X importtime -c 'import chx' 2>&1 | awk -F'|' '/\| chx$/ { print $2 + 0 }'; done | sort -n)
median=$(echo $times | cut -d ' ' -f 3)
echo "import chx:" $times >"$work/log"
[ -n "$median" ] && [ "$median" -lt 30000 ]
ok $? "import chx takes $median us, less than 30 ms"

say '
import sys, chx
(chx.ones(3) + 1).sum().item()
assert "numpy" not in sys.modules, "NumPy was imported"
maps = open("/proc/self/maps").read()
named = [v for v in ("libcuda", "libcudart", "libnvrtc", "libOpenCL", "libamdhip64", "libdnnl", "chx_ref") if v in maps]
assert not named, named
chx.ones(3, device="ref:0")
assert "chx_ref" in open("/proc/self/maps").read()'
ok $? "neither NumPy nor a plugin is loaded before it is named"
end
