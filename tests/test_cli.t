#!/bin/sh
# SPDX-License-Identifier: MIT
# test_cli.t: the command chx, from outside: help, exit codes, errors, JSON, man pages, training and Ctrl-C.
# $CHX is the command, ./chx if unset; $srcdir the source tree.

CHX=${CHX:-./chx}
src=${srcdir:-$(dirname "$0")/..}
[ -d "$src/docs/man" ] || src=$(dirname "$0")/..
case $CHX in */*) CHX=$(cd "$(dirname "$CHX")" && pwd)/$(basename "$CHX") ;; esac
src=$(cd "$src" && pwd)
dir=$(mktemp -d "${TMPDIR:-/tmp}/chx-cli.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
unset CHX_DEVICE CHX_FALLBACK CHX_ROUTE
n=0

ok() # ok CONDITION-EXIT-CODE NAME
{
  n=$((n + 1))
  if [ "$1" -eq 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; sed 's/^/# /' out err 2>/dev/null | head -20; fi
}
skip() { n=$((n + 1)); echo "ok $n # SKIP $1"; }
run() { "$CHX" "$@" >out 2>err; code=$?; }
# gives CODE STDERR-PATTERN ARGUMENT...: the exit code, that text on stderr and nothing on stdout
gives()
{
  want=$1 text=$2
  shift 2
  run "$@"
  [ $code -eq "$want" ] && grep -q -e "$text" err && [ ! -s out ]
  ok $? "chx $* : exit $code, want $want, and '$text'"
}
# stdout is one JSON object of which the Python expression is true, j being the object
json()
{
  if command -v python3 >/dev/null; then
    python3 -c 'import json, sys; j = json.load(open("out"), parse_constant=lambda c: sys.exit(c)); assert eval(sys.argv[1])' "$1" 2>>err
    ok $? "JSON: $1"
  else
    skip "no python3 to read JSON with"
  fi
}
# examples ROWS COLUMNS: three classes, told apart by where the large numbers are
examples()
{
  awk -v rows="$1" -v cols="$2" 'BEGIN {
    srand(7)
    for (i = 0; i < rows; i++) {
      for (k = 0; k < cols; k++) printf "%.3f,", (k % 3 == i % 3 ? 2 : 0) + rand()
      print i % 3
    }
  }'
}

# ---- help and version
run --version
[ $code -eq 0 ] && grep -Eq '^chx [0-9]+\.[0-9]+\.[0-9]+$' out; ok $? "--version"
run --help
[ $code -eq 0 ] && grep -q Examples out && [ ! -s err ]; ok $? "--help has examples"
for c in devices ops train predict bench diff; do
  run "$c" --help
  [ $code -eq 0 ] && grep -q '^Usage: chx' out && grep -q '^Examples:' out && [ ! -s err ]; ok $? "$c --help has examples"
  cp out help
  run help "$c"
  cmp -s out help; ok $? "help $c is the same"
  # each option is in the man page, and each of the page's in help
  sed -n 's/^  --\([a-z]*\).*/\1/p' help | grep -vx help | sort >options
  sed 's/\\-/-/g' "$src/docs/man/chx-$c.1" | sed -n '/^\.SH OPTIONS/,/^\.SH [^O]/s/^\.\(B\|BI\|BR\) --\([a-z]*\).*/\2/p' | sort -u >manual
  cmp -s options manual; ok $? "$c: options of --help and of chx-$c.1 are the same"
done
for c in devices ops train predict bench diff; do grep -q "chx-$c (1)" "$src/docs/man/chx.1" || break; done
ok $? "chx.1 names all commands"

# ---- mistakes on the command line: 2, and the nearest that there is
gives 2 "a command is missing"
gives 2 "did you mean train" trian
gives 2 "no command 'frobnicate'" frobnicate
gives 2 "did you mean --epochs" train mlp --data x --epocs 3
gives 2 "the nearest is --" train mlp --zzzzzz
gives 2 "did you mean --json" devices --jsn
gives 2 "mlp|cnn is missing" train
gives 2 "did you mean mlp" train mpl
gives 2 "'extra' is one argument too many" train mlp extra
gives 2 "only options" predict extra
gives 2 "'extra' is one argument too many" devices native extra
gives 2 "want a backend, such as native" devices native:0
gives 2 "data F is missing" train mlp
gives 2 "data wants a value" train mlp --data
gives 2 "data wants a value" train mlp --data --epochs 3
gives 2 "is 'ten', want a whole number from 1 to" train mlp --data x --epochs ten
gives 2 "is '0', want" train mlp --data x --epochs 0
gives 2 "is '-3', want" train mlp --data x --batch -3
gives 2 "is '1e400', want" train mlp --data x --lr 1e400
gives 2 "is 'nan', want" train mlp --data x --lr=nan
gives 2 "is '3x', want" train mlp --data x --epochs=3x
gives 2 "want sgd, momentum, adam or adamw; did you mean adam" train mlp --data x --optimizer addam
gives 2 "want allow, warn or deny" train mlp --data x --fallback never
gives 2 "is '1x8xq', want lengths" train cnn --data x --shape 1x8xq
gives 2 "is '0x8', want lengths" train cnn --data x --shape 0x8
gives 2 "is '1.5', want a number from 0 to 0.9" train mlp --data x --holdout 1.5
gives 2 "two ways to test" train mlp --data x --test y --holdout 0.1
gives 2 "json takes no value" devices --json=yes
gives 2 "want one of bool i8" ops --dtype f31
gives 2 "no operator 'sofmax'; did you mean softmax" ops sofmax
gives 2 "model M is missing" predict --data x
gives 2 "overhead is missing" bench

# ---- what only the machine can tell: 1, and what to do next
examples 120 16 >small.csv
examples 30 64 >wide.csv
examples 30 15 >odd.csv
gives 1 "no.csv cannot be read: No such file" train mlp --data no.csv
gives 1 "is a folder, want a file" train mlp --data .
gives 1 "'--data F' wants CSV" train mlp --data no.csv
gives 1 "native:0" train mlp --data small.csv --device nosuch:0
gives 1 "'chx devices' shows" train mlp --data small.csv --device nosuch:0
gives 1 "nosuch" ops --device nosuch
gives 1 "nosuch" devices nosuch
gives 1 "native" bench overhead --device native:7
gives 1 "shape 1x8x9 does not match 64 columns" train cnn --data wide.csv --shape 1x8x9
gives 1 "shape 1x1x8x8 has 4 lengths" train cnn --data wide.csv --shape 1x1x8x8
gives 1 "shape 4000000000x4000000000x4000000000 does not match 64 columns" train cnn --data wide.csv --shape 4000000000x4000000000x4000000000
gives 1 "'--shape CxHxW' tells" train cnn --data odd.csv
gives 1 "cannot be made\|cannot be written" train mlp --data small.csv --out small.csv/out
gives 1 "columns, want 16" train mlp --data small.csv --test wide.csv
gives 1 "cannot be read" train mlp --data small.csv --resume no.npz
gives 1 "cannot be read" predict --model no.npz --data small.csv
gives 1 "'--model M' wants" predict --model small.csv --data small.csv
printf '1,2,0\n3,abc,1\n' >bad.csv
gives 1 "bad.csv:2.*abc" train mlp --data bad.csv
printf '1,2,0\n3,1\n' >ragged.csv
gives 1 "ragged.csv:2" train mlp --data ragged.csv
: >empty.csv
gives 1 "empty.csv" train mlp --data empty.csv
printf '0,1\n1,7000000\n' >labels.csv
gives 1 "largest label is 7000000" train mlp --data labels.csv

# ---- devices and ops
run devices
[ $code -eq 0 ] && grep -q '^native' out && grep -q '  native:0' out; ok $? "devices shows native:0"
run devices --json
[ $code -eq 0 ]; ok $? "devices --json"
json 'any(d["device"] == "native:0" and "f32" in d["dtypes"] for b in j["backends"] for d in b["devices"])'
json 'set(j["backends"][0]) == {"name", "version", "vendor", "file", "error", "devices"}'
run devices native
[ $code -eq 0 ] && grep -q '  native:0' out && [ "$(grep -c '^[a-z]' out)" -eq 1 ]; ok $? "devices native shows native alone"
run devices native --json
json '[b["name"] for b in j["backends"]] == ["native"]'
mkdir plugins && echo 'not a library' >plugins/chx_broken.so
(CHX_PLUGIN_PATH=$dir/plugins:$CHX_PLUGIN_PATH; export CHX_PLUGIN_PATH; "$CHX" devices >out 2>err)
[ $? -eq 0 ] && grep -q '^broken' out && grep -q "$dir/plugins/chx_broken.so" out; ok $? "devices tells of a file that does not load"
run ops
[ $code -eq 0 ] && grep -q '^add ' out && grep -q '^reshape .*view' out && [ "$(wc -L <out)" -le 100 ]; ok $? "ops fits 100 columns"
run ops --why
[ $code -eq 0 ] && [ "$(wc -L <out)" -le 100 ]; ok $? "ops --why fits 100 columns"
run ops conv
[ $code -eq 0 ] && grep -q 'attr stride' out && grep -q 'route' out; ok $? "ops conv shows its attributes"
run ops --json
json 'all(set(o) == {"name", "dtypes", "route"} for o in j["ops"]) and len(j["ops"]) > 50'
json '[o["route"] for o in j["ops"] if o["name"] == "add"] == ["kernel"]'
run ops --dtype i32 --json add
json '[o["name"] for o in j["ops"]] == ["add"]'

# ---- a backend's file is not opened before the backend is mentioned
if command -v strace >/dev/null && strace -o strace.log -e trace=openat true 2>/dev/null; then
  strace -f -o strace.log -e trace=openat "$CHX" devices native >out 2>err
  grep -q 'chx_native\.so' strace.log && ! grep 'chx_[a-z]*\.so' strace.log | grep -vq 'chx_native\.so'; ok $? "devices native opens chx_native.so and no other plugin"
else
  skip "no strace"
fi

# ---- training
run train mlp --data small.csv --epochs 8 --seed 1 --out run
[ $code -eq 0 ] && grep -q '^test accuracy' out && [ -s run/model.npz ] && [ -s run/curve.svg ] && [ -s run/log.csv ]
ok $? "train mlp writes model, curve and log"
[ "$(grep -c . err)" -ge 8 ] && ! grep -q "$(printf '\r')" err; ok $? "progress in a pipe is plain lines"
run train mlp --data small.csv --epochs 8 --seed 1 --out again --json --quiet
[ $code -eq 0 ] && [ ! -s err ]; ok $? "train --json --quiet says nothing else"
json 'set(j) == {"test_accuracy", "train_seconds", "loss", "device", "ledger"}'
json 'len(j["loss"]) == 8 and j["loss"][7] < j["loss"][0] and j["test_accuracy"] > 0.9 and j["device"] == "native:0"'
results() { grep '"loss"\|"test_accuracy"' "$1"; }
cp out first
gzip -kf small.csv
run train mlp --data small.csv.gz --epochs 8 --seed 1 --out gz --json --quiet
[ -n "$(results out)" ] && [ "$(results out)" = "$(results first)" ]; ok $? "the same seed and gzipped data give the same losses"
run train cnn --data small.csv --shape 4x4 --epochs 2 --out deep/er --test small.csv --optimizer momentum --batch 16
[ $code -eq 0 ] && [ -s deep/er/model.npz ]; ok $? "train cnn with --shape, --test, --optimizer"
run train cnn --data small.csv --epochs 1 --holdout 0 --json --out none --quiet
json 'j["test_accuracy"] is None'
run train mlp --data small.csv --epochs 1 --trace --quiet --out trace
[ $code -eq 0 ] && grep -q 'matmul\|linear' err; ok $? "--trace prints operators"

run predict --model run/model.npz --data small.csv
[ $code -eq 0 ] && [ "$(wc -l <out)" -eq 120 ] && grep -q '^accuracy' err; ok $? "predict prints a label a line"
run predict --model deep/er/checkpoint.npz --data small.csv.gz --json
json 'len(j["predictions"]) == 120 and set(j["predictions"]) <= {0, 1, 2} and j["accuracy"] <= 1'
gives 1 "64 columns and a label, the model wants 16" predict --model run/model.npz --data wide.csv

gives 1 "the loss is" train mlp --data small.csv --optimizer sgd --lr 1e6 --quiet --out nan
if ! "$CHX" devices --json 2>/dev/null | grep -q '"ref:0"'; then
  for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do skip "ref: not built"; done
else
CHX_ROUTE=linear=staged
export CHX_ROUTE
gives 1 "linear: its route on ref:0 is forced" train mlp --data small.csv --epochs 1 --device ref:0 --fallback deny --quiet
gives 1 "'--fallback allow' runs it elsewhere" train mlp --data small.csv --epochs 1 --device ref:0 --fallback deny --quiet
run train mlp --data small.csv --epochs 8 --seed 1 --device ref:0 --fallback warn --quiet --json --out ref
[ $code -eq 0 ] && grep -q 'warning: .*linear' err; ok $? "--fallback warn warns"
json 'j["device"] == "ref:0" and any(r["op"] == "linear" and r["route"] in ("mapped", "staged") and r["calls"] > 0 for r in j["ledger"])'
json 'all(0 <= r["kernel_ns"] <= r["ns"] for r in j["ledger"]) and [r["ns"] for r in j["ledger"]] == sorted((r["ns"] for r in j["ledger"]), reverse=True)'
json 'any(r["op"] == "linear" and r["kernel_ns"] > 0 for r in j["ledger"])'
run train mlp --data small.csv --epochs 8 --seed 1 --device ref:0 --fallback warn --quiet --out ref
[ $code -eq 0 ] && [ "$(grep -c 'warning: .*linear' err)" -eq 1 ]; ok $? "an operator is warned of once, not at each call"
sed -n '/^Not run by one kernel/,/^$/p' out >table
grep -q '^  ref:0  *linear  *mapped .*the route is forced' table && grep -q '^  ref:0  *in all, on the host ' table
ok $? "the ledger has calls, time and reason, and a total"
sed '1,/^Kernels that would save most/d' out >savings
grep -q '^  ref:0  *linear  *[0-9.]* [mu]*s of [0-9.]* [mu]*s$' savings && grep -q '^  ref:0  *map  *at most ' savings
ok $? "which kernels would save most: linear, less what native took; map, not known"
awk '{ for (i = 1; i < NF; i++) if ($(i + 2) == "of") { v = $i * ($(i + 1) == "s" ? 1e6 : $(i + 1) == "ms" ? 1e3 : 1)
       if (NR > 1 && v > last * 1.1) exit 1; last = v; n++; break } } END { if (n < 2) exit 1 }' savings
ok $? "the largest saving is first"
unset CHX_ROUTE
run train mlp --data small.csv --epochs 1 --device ref:0 --fallback warn --quiet --out ref
[ $code -eq 0 ] && grep -q '^  ref:0  *map  *composed' out; ok $? "under warn a ledger of composition alone is shown, too"
run train mlp --data small.csv --epochs 1 --device ref:0 --quiet --out ref
[ $code -eq 0 ] && ! grep -q 'Kernels that would' out; ok $? "else not"
run train mlp --data small.csv --epochs 1 --device ref:0 --quiet --out ref
[ $code -eq 0 ]; ok $? "train on ref:0"
fi

# ---- resuming: a run in two parts has the losses of one
run train mlp --data small.csv --epochs 3 --seed 1 --out parts --quiet
run train mlp --data small.csv --epochs 8 --seed 1 --out parts --resume parts/checkpoint.npz --json --quiet
[ -n "$(results out)" ] && [ "$(results out)" = "$(results first)" ]; ok $? "3 epochs, then 5 more, give the losses of 8"
gives 1 "want the same data" train mlp --data small.csv --epochs 9 --seed 2 --holdout 0 --out parts --resume parts/checkpoint.npz
gives 1 "batch is 16" train mlp --data small.csv --epochs 9 --seed 1 --batch 16 --out parts --resume parts/checkpoint.npz
gives 1 "is of an mlp, want cnn" train cnn --data small.csv --out parts --resume parts/checkpoint.npz
gives 1 "16 columns and 3 classes" train mlp --data wide.csv --out parts --resume parts/checkpoint.npz

# ---- Ctrl-C. SIGINT is ignored in background jobs of sh; a job of its own terminates on it if Python starts it.
if command -v python3 >/dev/null; then
  cat >interrupt.py <<'END'
import os, signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
p = subprocess.Popen(sys.argv[1:], stdout=open("out", "w"), stderr=open("err", "w"))
for _ in range(600):
    if os.path.exists("stopped/checkpoint.npz") or p.poll() is not None: break
    time.sleep(0.05)
p.send_signal(signal.SIGINT)
sys.exit(p.wait())
END
  python3 interrupt.py "$CHX" train mlp --data small.csv --epochs 100000 --out stopped
  code=$?
  [ $code -eq 130 ] && [ -s stopped/checkpoint.npz ] && grep -q 'chx train mlp .*--resume stopped/checkpoint.npz' err
  ok $? "Ctrl-C: exit $code, want 130, a checkpoint, and the command that goes on"
  run predict --model stopped/checkpoint.npz --data small.csv
  ok $code "the checkpoint is a model"
else
  skip "no python3 to send SIGINT with"
  skip "no python3 to send SIGINT with"
fi

# ---- bench
run bench overhead --repeat 3 --json
[ $code -eq 0 ]; ok $? "bench overhead --json"
json 'all(set(r) == {"op", "recorded", "ns", "ns_min"} and 0 < r["ns_min"] <= r["ns"] for r in j["rows"]) and j["mlp_step_us"] > 0'
json '[(r["op"], r["recorded"]) for r in j["rows"]] == [(o, b) for o in ("add", "tanh", "matmul", "sum", "reshape") for b in (False, True)]'
run bench overhead --repeat 3
[ $code -eq 0 ] && grep -q '^matmul  *yes' out; ok $? "bench overhead prints a table"

# ---- output that cannot be written
if [ -w /dev/full ]; then
  "$CHX" ops >/dev/full 2>err
  [ $? -eq 1 ] && grep -q 'could not be written' err; ok $? "a full disk is an error"
else
  skip "no /dev/full"
fi

# ---- completion
if command -v bash >/dev/null; then
  bash -c '
    PATH=$(dirname "$1"):$PATH
    . "$2"
    try() { COMP_LINE=$1 COMP_POINT=${#1} COMPREPLY=(); _chx; echo "${COMPREPLY[*]}"; }
    [ "$(try "chx tr")" = train ] || exit 1
    [ "$(try "chx train c")" = cnn ] || exit 2
    [ "$(try "chx train cnn --optimizer mo")" = momentum ] || exit 3
    [ "$(try "chx train cnn --fallback=d")" = deny ] || exit 4
    [ "$(try "chx train cnn --data small.csv")" = "small.csv small.csv.gz" ] || exit 5
    [ "$(try "chx train cnn --device native:")" = 0 ] || exit 6
    [ "$(try "chx ops broadc")" = broadcast_to ] || exit 7
  ' - "$CHX" "$src/tools/chx.bash" >out 2>err
  code=$?
  ok $code "completion, case $code"
else
  skip "no bash"
fi

# ---- it starts in milliseconds. libtool's ./chx is a script around the program, whose time is not meant.
libs=$(dirname "$CHX")/.libs
program=$CHX
if [ -x "$libs/chx" ]; then program=$libs/chx LD_LIBRARY_PATH=$libs:$LD_LIBRARY_PATH; export LD_LIBRARY_PATH; fi
if command -v python3 >/dev/null; then
  python3 - "$program" >out 2>err <<'END'
import subprocess, sys, time
def least(*a): return min(run(a) for _ in range(15))
def run(a):
    t = time.perf_counter(); subprocess.run(a, stdout=subprocess.DEVNULL); return 1e3 * (time.perf_counter() - t)
own, true = least(sys.argv[1], "--version"), least("true")
print(f"{own:.1f} ms, of which starting any process takes {true:.1f}")
sys.exit(own - true > 20)
END
  ok $? "starts in $(cat out), want 20 more at most"
else
  skip "no python3"
fi
echo "1..$n"
