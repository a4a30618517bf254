#!/bin/sh
# SPDX-License-Identifier: MIT
# test_mutants.t: the tester tested: `chx conform` passes the plugin "mutant", and fails each of its faulty variants
# (mutants/mutants.def) by the case that is named there, with a sentence that fits the fault.

CHX=${CHX:-./chx}
src=${srcdir:-$(dirname "$0")/..}
[ -d "$src/tests/mutants" ] || src=$(dirname "$0")/..
case $CHX in */*) CHX=$(cd "$(dirname "$CHX")" && pwd)/$(basename "$CHX") ;; esac
src=$(cd "$src" && pwd)
dir=$(mktemp -d "${TMPDIR:-/tmp}/chx-mutants.XXXXXX") || exit 1
beside=
trap '[ "$beside" ] && kill $beside 2>/dev/null; rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir" || exit 1
unset CHX_DEVICE CHX_FALLBACK CHX_ROUTE
if [ "${CHX_BUILDDIR-}" ] && [ ! -e "$CHX_BUILDDIR/.libs/chx_ref.so" ]; then
  echo "1..0 # SKIP ref, which the kit compares with, is not built"
  exit 0
fi
libchx=$(ls "${CHX_BUILDDIR:-..}"/.libs/libchx.so 2>/dev/null)
n=0

ok() # ok CONDITION-EXIT-CODE NAME FILE...: the files are shown if it failed
{
  n=$((n + 1)) code=$1 name=$2
  shift 2
  if [ "$code" -eq 0 ]; then echo "ok $n - $name"; else echo "not ok $n - $name"; grep -hv '^ok' "$@" 2>/dev/null | sed 's/^/# /' | head -20; fi
}
# build NAME OPTION...: NAME/chx_mutant.so
build()
{
  name=$1
  shift
  mkdir -p "$name"
  $CC -std=gnu11 -O1 -D_GNU_SOURCE -I"$src/include" -shared -fPIC -fvisibility=hidden -ffp-contract=off -w "$@" \
    "$src/tests/mutants/mutant.c" -o "$name/chx_mutant.so" -lm -pthread >"$name/cc" 2>&1
}
tap() # FILE is TAP whose plan is the number of its results
{
  awk '/^(not )?ok /{k++} /^1\.\./{plan = substr($1, 4); plans++} END {exit !(plans == 1 && plan == k && k)}' "$1"
}

# ---- the plugin without a fault
for how in "" MAPPED HOST; do
  base=BASE$how
  build $base ${how:+-D$how} && timeout 300 "$CHX" conform ./$base/chx_mutant.so >$base/out 2>$base/err && tap $base/out &&
    grep -q '^# levels: loads, runs, computes, trains, fuses, compiles$' $base/out
  ok $? "the plugin${how:+, built with -D$how,} passes, and reaches all levels" $base/cc $base/out
done
build BARE -DBARE && timeout 300 "$CHX" conform ./BARE/chx_mutant.so --level runs >BARE/out 2>&1 && tap BARE/out &&
  grep -q '^# levels: loads, runs$' BARE/out
ok $? "without a kernel it runs, by fallback alone" BARE/cc BARE/out
build REFUSES -DREFUSES && "$CHX" conform ./REFUSES/chx_mutant.so --group C5,C6 --op 'add' >REFUSES/out 2>&1 && tap REFUSES/out
ok $? "it passes if its accepts says no to calls that it would get wrong" REFUSES/cc REFUSES/out

# ---- each of its variants: name|build|case|detail|what
sed -e :join -e '/^FAULT(.*,$/{N;s/\n */ /;b join' -e '}' "$src/tests/mutants/mutants.def" |
  sed -n 's/^FAULT(\([A-Z0-9_]*\), "\(.*\)", "\(.*\)", "\(.*\)", "\(.*\)")$/\1@\2@\3@\4@\5/p' >list
[ "$(grep -c '^FAULT(' "$src/tests/mutants/mutants.def")" -eq "$(wc -l <list)" ]; ok $? "the table of faults can be read"

# judge NAME BUILD CASE DETAIL: NAME/verdict is 0 if that case fails, for that reason, and the report is whole
judge()
{
  limit=30 opts=$(echo "$2" | sed "s|%libchx%|$libchx|")
  case $4 in *'did not end'*) limit=3 ;; esac
  build "$1" $opts -DMUTANT="$1" || return
  timeout 120 "$CHX" conform "./$1/chx_mutant.so" --group "${3%% *}" --case "$3" --time-limit $limit >"$1/out" 2>"$1/err"
  code=$?
  awk -v want=" - $3" -v detail="$4" '/^(not )?ok /{in_case = /^not ok / && index($0, want)}
    in_case && $0 ~ detail {found = 1} END {exit !found}' "$1/out" && [ $code -eq 1 ] && tap "$1/out"
  echo $? >"$1/verdict"
}
half() # the mutants of every second line
{
  awk -v half="$1" 'NR % 2 == half' list | while IFS=@ read -r name build in detail what; do
    judge "$name" "$build" "$in" "$detail" </dev/null
    rm -f "$name/chx_mutant.so"
  done
}
half 0 &
beside=$!
half 1
wait
beside=
while IFS=@ read -r name build in detail what; do
  ok "$(cat "$name/verdict" 2>/dev/null || echo 1)" "$name ($what): caught by $in" "$name/cc" "$name/out"
done <list
echo "1..$n"
