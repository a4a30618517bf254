#!/bin/sh
# SPDX-License-Identifier: MIT
# test_diff.t: chx diff from outside: the command line, runs on two good devices, devices that are wrong on purpose
# (tests/wrong.c, and the sample with a fault), and the programs it writes.
# $CHX is the command, ./chx if unset; $srcdir the source tree; $CHX_BUILDDIR where it was built.

CHX=${CHX:-./chx}
src=${srcdir:-$(dirname "$0")/..}
[ -d "$src/docs/man" ] || src=$(dirname "$0")/..
case $CHX in */*) CHX=$(cd "$(dirname "$CHX")" && pwd)/$(basename "$CHX") ;; esac
src=$(cd "$src" && pwd)
dir=$(mktemp -d "${TMPDIR:-/tmp}/chx-diff.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
unset CHX_DEVICE CHX_FALLBACK CHX_ROUTE
n=0

ok() # ok CONDITION-EXIT-CODE NAME
{
  n=$((n + 1))
  if [ "$1" -eq 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; cat out err 2>/dev/null | sed 's/^/# /' | head -20; fi
}
run() { "$CHX" diff "$@" >out 2>err; code=$?; }
gives() # gives CODE STDERR-PATTERN ARGUMENT...: the exit code, that text on stderr and nothing on stdout
{
  want=$1 text=$2
  shift 2
  run "$@"
  [ $code -eq "$want" ] && grep -q -e "$text" err && [ ! -s out ]
  ok $? "chx diff $* : exit $code, want $want, and '$text'"
}
if ! "$CHX" devices --json 2>/dev/null | grep -q '"ref:0"'; then
  echo "1..0 # SKIP ref, which compares, is not built"
  exit 0
fi
awk 'BEGIN { srand(7); for (i = 0; i < 120; i++) {
       for (k = 0; k < 16; k++) printf "%.3f,", (k % 3 == i % 3 ? 2 : 0) + rand()
       print i % 3 } }' >small.csv

# ---- the command line
gives 2 "A B -- RUN is missing" native:0
gives 2 "the run is missing" native:0 ref:0
gives 2 "the run is missing" native:0 ref:0 --
gives 2 "the run is 'bench', want train or predict" native:0 ref:0 -- bench overhead
gives 2 "is '0', want" native:0 ref:0 --ops 0 -- train mlp --data small.csv
gives 2 "is '0.5', want" native:0 ref:0 --slack 0.5 -- train mlp --data small.csv
gives 2 "did you mean --epochs" native:0 ref:0 -- train mlp --data small.csv --epocs 3
gives 1 "nosuch" native:0 nosuch:0 -- train mlp --data small.csv
gives 1 "no.csv cannot be read" native:0 ref:0 -- train mlp --data no.csv
gives 1 "cannot be made" native:0 ref:0 --out small.csv/x -- train mlp --data small.csv
gives 1 "nothing was recorded: the run called" native:0 ref:0 --skip 1000000 -- train mlp --data small.csv --epochs 1

# ---- two devices that agree
run native:0 ref:0 -- train mlp --data small.csv --epochs 2
[ $code -eq 0 ] && grep -Eq '^[0-9]{3} calls, no difference between native:0 and ref:0' out && [ ! -s err ]
ok $? "an MLP on native and ref: no difference"
run ref native --ops 50 -- train mlp --data small.csv --epochs 1000000
[ $code -eq 0 ] && grep -q '^50 calls, no difference between ref:0 and native:0' out
ok $? "--ops ends the run"
run native:0 ref:0 --ops 150 --skip 20 -- train cnn --shape 4x4 --data small.csv --epochs 1
[ $code -eq 0 ] && grep -q '^150 calls, no' out; ok $? "a CNN on native and ref"
run native:0 ref:0 -- predict --model chx-diff/run/model.npz --data small.csv
[ $code -eq 0 ] && grep -q 'calls, no difference' out; ok $? "predict on native and ref"

# ---- a device that is wrong
libs=${CHX_BUILDDIR:-$(dirname "$CHX")}
sanitizers=$(sed -n 's/^CHX_LDFLAGS = *//p' "$libs/Makefile")
compile() # compile FILE.c PROGRAM
{
  ${CC:-cc} $sanitizers -std=c11 -Wall -Wextra -Werror -O1 "$1" -o "$2" -I"$src/include" -L"$libs/.libs" -lchx -lm >err 2>&1 &&
    LD_LIBRARY_PATH=$libs/.libs:$LD_LIBRARY_PATH && export LD_LIBRARY_PATH
}
plugins=$CHX_PLUGIN_PATH
# wrong OP ELEMENTS RUN...: wrong:0's kernel for OP gives zeros; it is named, and the reproducer shows the difference in
# that many elements; between native and native there is none.
wrong()
{
  op=$1 elements=$2
  shift 2
  CHX_WRONG_OP=$op CHX_PLUGIN_PATH=$libs/tests/.libs/chx_wrong.so:$plugins
  export CHX_WRONG_OP CHX_PLUGIN_PATH
  run native:0 wrong:0 --out "wrong-$op" -- "$@"
  [ $code -eq 1 ] && grep -q "^$op differs between native:0 and wrong:0" out && [ ! -s err ]; ok $? "$op is wrong, and named"
  compile "wrong-$op/$op.c" repro && ./repro "wrong-$op/$op.npz" >out 2>err
  [ $? -eq 1 ] && grep -q "[0-9] of $elements elements differ; element .* and 0 on wrong:0" out; ok $? "the program shows it: $(cat out)"
  sed 's/"wrong:0"/"native:0"/' "wrong-$op/$op.c" >same.c
  compile same.c repro && ./repro "wrong-$op/$op.npz" >out 2>err
  [ $? -eq 0 ] && grep -q " 0 of $elements elements differ" out; ok $? "without that device nothing differs: $(cat out)"
}
wrong linear 3200 train mlp --data small.csv                # operands alone
wrong argmax 32 train mlp --data small.csv                   # an attribute that is a list
wrong map 512 train mlp --data small.csv --optimizer sgd   # a program of several steps
wrong normal 1600 train mlp --data small.csv                # no operands; numbers, a shape
wrong conv_grad_weight "[0-9]*" train cnn --shape 4x4 --data small.csv
CHX_WRONG_HOW=fail
export CHX_WRONG_HOW
run native:0 wrong:0 --out fails -- train cnn --shape 4x4 --data small.csv
[ $code -eq 1 ] && grep -q "wrong:0 fails: .*this kernel fails" out && [ -s fails/conv_grad_weight.c ]; ok $? "a kernel that fails is named, too"
unset CHX_WRONG_HOW CHX_WRONG_OP

# linear is composed on the sample, of which the part is named that is wrong
mkdir faulty
sed 's/out\[m \* N + n\] += x/out[m * N + n] += 1.001f * x/' "$src/examples/plugin/sample.c" >faulty/sample.c
! cmp -s faulty/sample.c "$src/examples/plugin/sample.c"; ok $? "the sample's matmul is spoilt"
${CC:-cc} -O1 -shared -fPIC -I"$src/include" faulty/sample.c -o faulty/chx_sample.so -lm >err 2>&1; ok $? "it compiles"
CHX_PLUGIN_PATH=$dir/faulty:$plugins
run native:0 sample:0 --out parts -- train mlp --data small.csv
[ $code -eq 1 ] && grep -q '^matmul differs' out && grep -q '^part of  *linear, which sample:0 composes' out; ok $? "the part is named"
compile parts/matmul.c repro && ./repro parts/matmul.npz >out 2>err
[ $? -eq 1 ]; ok $? "the program shows it: $(cat out)"
run native:0 sample:0 --out parts --slack 100000 -- train mlp --data small.csv --epochs 1
[ $code -eq 0 ] && grep -q 'no difference' out; ok $? "--slack allows it"
if command -v python3 >/dev/null && python3 -c 'import numpy' 2>/dev/null; then
  python3 -c 'import numpy as np; z = np.load("parts/matmul.npz"); assert z["in0"].shape == (32, 16) and z["in0"].dtype == np.float32' 2>err
  ok $? "NumPy reads the operands"
else
  n=$((n + 1)); echo "ok $n # SKIP no NumPy"
fi
echo "1..$n"
