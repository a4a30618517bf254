#!/bin/sh
# SPDX-License-Identifier: MIT
# test_conform.t: chx conform from outside: the command line, plugins that keep the contract, and some that do not.
# $CHX is the command, ./chx if unset; $srcdir the source tree. The faulty plugins are the sample with a fault each.

CHX=${CHX:-./chx}
src=${srcdir:-$(dirname "$0")/..}
[ -d "$src/docs/man" ] || src=$(dirname "$0")/..
case $CHX in */*) CHX=$(cd "$(dirname "$CHX")" && pwd)/$(basename "$CHX") ;; esac
src=$(cd "$src" && pwd)
dir=$(mktemp -d "${TMPDIR:-/tmp}/chx-conform.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
unset CHX_DEVICE CHX_FALLBACK CHX_ROUTE
raw=C0,C1,C2,C3,C4,C7 # the groups that load the plugin by themselves
n=0

ok() # ok CONDITION-EXIT-CODE NAME
{
  n=$((n + 1))
  if [ "$1" -eq 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; grep -hv '^ok' out err 2>/dev/null | sed 's/^/# /' | head -20; fi
}
skip() { n=$((n + 1)); echo "ok $n # SKIP $1"; }
run() { "$CHX" conform "$@" >out 2>err; code=$?; }
# gives CODE STDERR-PATTERN ARGUMENT...: the exit code, that text on stderr and nothing on stdout
gives()
{
  want=$1 text=$2
  shift 2
  run "$@"
  [ $code -eq "$want" ] && grep -q -e "$text" err && [ ! -s out ]
  ok $? "chx conform $* : exit $code, want $want, and '$text'"
}
tap() # stdout is TAP whose plan is the number of its results, numbered from 1
{
  awk '/^(not )?ok /{k++; i = $1 == "not" ? $3 : $2; if (i != k) bad = 1} /^1\.\./{plan = substr($1, 4); plans++}
       END {exit !(plans == 1 && plan == k && !bad && k)}' out
}

# ---- help
run --help
[ $code -eq 0 ] && grep -q '^Usage: chx conform DEVICE|FILE.so' out && grep -q '^Examples:' out; ok $? "--help has examples"
sed -n 's/^  --\([a-z-]*\).*/\1/p' out | grep -vx help | sort >options
sed 's/\\-/-/g' "$src/docs/man/chx-conform.1" | sed -n '/^\.SH OPTIONS/,/^\.SH [^O]/s/^\.\(B\|BI\|BR\) --\([a-z-]*\).*/\2/p' | sort -u >manual
cmp -s options manual; ok $? "options of --help and of chx-conform.1 are the same"
grep -q "chx-conform (1)" "$src/docs/man/chx.1"; ok $? "chx.1 names it"

# ---- mistakes
echo 'not a library' >text.so
echo 'int x;' >plain.c && $CC -shared -fPIC plain.c -o chx_plain.so || exit 1
gives 2 "DEVICE|FILE.so is missing"
gives 2 "one argument too many" native:0 extra
gives 2 "did you mean --isolate" native:0 --isolat
gives 2 "there is no 'C9', want some of C0 to C8" native:0 --group C3,C9
gives 2 "there is no '', want some" native:0 --group C3,
gives 2 "want loads, runs, computes, trains, fuses or compiles" native:0 --level best
gives 2 "want test, grad, perf or support" native:0 --mode fast
gives 2 "is '0', want a whole number from 1" native:0 --time-limit 0
gives 2 "is '-1', want a whole number" native:0 --seed -1
gives 2 "two ways to choose" native:0 --group C3 --level loads
gives 2 "for --mode test alone" native:0 --mode perf --group C3
gives 2 "for --mode test and support alone" native:0 --mode perf --json x
gives 2 "for --mode test alone" native:0 --mode support --junit x
gives 2 "for --mode support alone" native:0 --markdown x
gives 2 "wants all cases" native:0 --level loads --case 'C1*'
gives 1 "no-such.so: No such file" no-such.so
gives 1 "text.so is no ELF file, want a plugin" ./text.so
gives 1 "is no plain file" ./
gives 1 "is no device and no file" native:x
gives 1 "is no device and no file" :0
gives 1 "nosuch:0.*not there" nosuch:0
gives 1 "there is no native:99, native has 1 device" native:99
run native:0 --case 'no such case'
[ $code -eq 1 ] && grep -q '^1\.\.0' out && grep -q 'nothing was run' out; ok $? "nothing to run is a failure"

# ---- plugins that keep the contract
sample=$(echo "$CHX_PLUGIN_PATH" | tr : '\n' | while read -r d; do [ -f "$d/chx_sample.so" ] && echo "$d/chx_sample.so" && break; done)
for d in "$sample" native:0 ref:0 sim:0 dnnl:0 opencl:0; do
  case $d in
  *:0)
    "$CHX" devices --json 2>/dev/null | grep -q "\"$d\"" || { skip "$d: not built"; skip "$d: not built"; continue; } ;;
  esac
  run "$d" --group $raw
  [ $code -eq 0 ] && ! grep -q '^not ok' out && tap; ok $? "$d passes groups $raw"
  run "$d" --level loads
  [ $code -eq 0 ] && grep -q '^# levels: loads$' out && ! grep -q '^ok .* C3' out; ok $? "$d reaches the level loads"
done
# What only some devices have is not skipped everywhere.
not_skipped() # DEVICE GROUPS PATTERN
{
  "$CHX" devices --json 2>/dev/null | grep -q "\"$1\"" || { skip "$1: not built"; return; }
  run "$1" --group "$2"
  [ $code -eq 0 ] && grep -q "^ok .*$3" out && ! grep "^ok .*$3" out | grep -q SKIP; ok $? "$1 has what these are about: $3"
}
not_skipped sim:0 C3,C4 'import of\|peer:\|native queues\|adopted queue\|host step\|late error'
not_skipped opencl:0 C3,C4 'import of\|native queues\|adopted queue\|late error'
not_skipped opencl:0 C7 'rtc:'
# The host code of cuda and hip on the stand-in for their drivers: what needs no kernel to run.
for d in cuda hip; do
  fake=${CHX_BUILDDIR:-..}/tests/.libs/fake$d.so
  for cases in '*import of*' '*peer:*' '*native queues' '*adopted queue*' '*behind work*' '*copy of*'; do
    [ -e "$fake" ] || { skip "$d: its stand-in is not built"; continue; }
    CHX_CUDA_LIBRARY=$fake CHX_HIP_LIBRARY=$fake run $d:0 --group C3,C4 --case "$cases"
    [ $code -eq 0 ] && grep -q '^ok' out && ! grep -q SKIP out; ok $? "$d passes $cases on the stand-in for its driver"
  done
done
run "$sample" --group C3,C4 --json r.json --junit r.xml
[ $code -eq 0 ] && grep -q '# SKIP a synchronous device' out; ok $? "a synchronous device skips what is about queues"
if command -v python3 >/dev/null; then
  python3 - <<'END' 2>>err
import json, xml.etree.ElementTree as x
j, s = json.load(open("r.json")), x.parse("r.xml").getroot()
assert j["device"] == "sample:0" and j["counts"]["fail"] == 0 and j["counts"]["pass"] > 5 and j["levels"] == []
assert len(j["cases"]) == sum(j["counts"].values()) == len(s) == int(s.get("tests"))
assert {c["status"] for c in j["cases"]} == {"pass", "skip"} and {c["group"] for c in j["cases"]} == {"C3", "C4"}
END
  ok $? "--json and --junit"
else
  skip "no python3 to read JSON with"
fi
gives_names() { sed -n 's/^\(not \)*ok [0-9]* - \([^#]*\).*/\2/p' out; }
run "$sample" --group C2 && gives_names >together
run "$sample" --group C2 --isolate && gives_names >apart
[ -s together ] && cmp -s together apart; ok $? "--isolate runs the same cases"
run "$sample" --case 'copy of odd*'
[ $code -eq 0 ] && [ "$(grep -c '^ok' out)" -ge 1 ] && ! gives_names | grep -qv 'copy of odd'; ok $? "--case chooses"

# ---- plugins with a fault each: the sample, wrapped
cat >fault.c <<'END'
#include <chx/plugin.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#undef CHX_EXPORT
#define CHX_EXPORT static
#define chx_plugin_v1 sample_entry
#include "sample.c"
#undef chx_plugin_v1
#define IS(fault) (FAULT == fault)
enum { NONE, CRASH, HANG, LEAVE, ODD, INFO, OPENS_FILE, MUTE, NO_DEVICE, OVERFLOWS, READS_HOST, EXPORTS, NEEDS, LATE,
       BAD_LIST, MANY_FILES, EXTENDED, ENTRY_CRASH, SMALL_LIST };

static chx_status copy(chx_dev *d, chx_queue *q, void *dst, uint64_t dst_off, const void *src, uint64_t src_off,
                       uint64_t bytes, uint32_t dir)
{
  if (IS(CRASH) && dst_off % 2) *(volatile int *)8 = 1;
  if (IS(HANG) && dst_off % 2) for (;;) pause();
  if (IS(LEAVE) && dst_off % 2) exit(3);
  if (IS(ODD) && dir == 2) dst_off &= ~(uint64_t)3;
  return sample_copy(d, q, dst, dst_off, src, src_off, bytes, dir);
}

static chx_status info(chx_dev *d, chx_device_info *i)
{
  chx_status st = sample_info(d, i);
  if (IS(INFO)) i->alignment = 4096;
  return st;
}

static chx_status alloc(chx_dev *d, chx_queue *q, uint64_t bytes, uint32_t kind, chx_buffer *out)
{
  if (IS(OVERFLOWS)) bytes = (bytes + 4095) / 4096 * 4096;
  return sample_alloc(d, q, bytes, kind, out);
}

static const chx_kernel *kernel(chx_dev *d, uint32_t i)
{
  static const chx_kernel bad[] = {
    {.size = sizeof *bad, .op = "no_such_operator", .dtypes_in = 2, .dtypes_out = 2, .run = run_add},
    {.size = sizeof *bad, .op = "com.example.own", .dtypes_in = 2, .dtypes_out = 2, .run = run_add},
    {.size = 24, .op = "add", .dtypes_in = 2, .dtypes_out = 2, .run = run_add}};
  if (IS(BAD_LIST)) return i < 1 ? &bad[0] : NULL;
  if (IS(SMALL_LIST)) return i < 3 ? &bad[i ? i : 1] : NULL;
  return sample_kernel(d, i);
}

/* A region of one add, and a language of which only one program is known. */
static chx_status claim(chx_dev *d, const chx_region_node *n, uint32_t count, const chx_tensor *v, uint32_t *group)
{
  (void)d, (void)v;
  for (uint32_t i = 0; i < count; i++) group[i] = i == 0 && !strcmp(n[i].op, "add");
  return CHX_OK;
}
static chx_status build(chx_dev *d, const chx_region_node *n, uint32_t count, const chx_tensor *v, void **exe)
{
  (void)d, (void)n, (void)v;
  *exe = malloc(1);
  return count == 1 ? CHX_OK : fail(CHX_EUNSUPPORTED, "one node alone");
}
static chx_status run_region(chx_dev *d, void *exe, const chx_call *call) { (void)d, (void)exe; return run_add(NULL, call); }
static void drop(chx_dev *d, void *exe) { (void)d; free(exe); }
static const char *languages(chx_dev *d) { (void)d; return "opencl-c"; }
static chx_status compile(chx_dev *d, const char *lang, const void *src, uint64_t n, const char *opts, void **mod,
                          void (*diag)(void *, const char *), void *ctx)
{
  (void)d, (void)opts;
  if (strcmp(lang, "opencl-c")) return fail(CHX_EUNSUPPORTED, "opencl-c alone");
  if (!n || !memmem(src, n, "conform_inc", 11)) return diag(ctx, "1:1: not that program"), CHX_EFAILED;
  return *mod = malloc(1), CHX_OK;
}
static chx_status launch(chx_dev *d, chx_queue *q, void *mod, const char *fn, const uint64_t grid[3], const uint64_t group[3],
                         uint64_t local, const chx_arg *a, uint32_t n)
{
  (void)d, (void)q, (void)mod, (void)local, (void)group;
  if (strcmp(fn, "conform_inc") || n != 1) return fail(CHX_EARG, "no such function");
  for (uint64_t i = 0; i < grid[0]; i++) ((float *)data(a->tensor))[i] += 1;
  return CHX_OK;
}
static chx_status binary(chx_dev *d, void *mod, void *out, uint64_t *n)
{
  (void)d, (void)mod;
  if (out) memcpy(out, "program", *n);
  return *n = 7, CHX_OK;
}
static const void *extension(chx_dev *d, const char *name)
{
  static const chx_region_ops region = {sizeof region, 0, claim, build, run_region, drop};
  static const chx_rtc_ops rtc = {sizeof rtc, 0, languages, NULL, compile, launch, binary, drop};
  (void)d;
  return !strcmp(name, "chx.region/1") ? (const void *)&region : !strcmp(name, "chx.rtc/1") ? (const void *)&rtc : NULL;
}

static const chx_device_ops *ops(void *state)
{
  static chx_device_ops o;
  o = *sample_device_ops(state);
  o.copy = copy;
  o.info = info;
  o.alloc = alloc;
  o.kernel = kernel;
  if (IS(EXTENDED)) o.extension = extension;
  return &o;
}

static chx_status device_count(void *state, uint32_t *n)
{
  if (IS(NO_DEVICE)) return *n = 0, fail(CHX_OK, "sample: no card was found"), CHX_OK;
  return sample_device_count(state, n);
}

static chx_status device_open(void *state, uint32_t i, chx_dev **dev)
{
  if (IS(MUTE) && i) return CHX_EDEVICE;
  if (IS(NO_DEVICE)) return fail(CHX_EDEVICE, "sample: there is none");
  return sample_device_open(state, i, dev);
}

static chx_status open_plugin(const chx_host *host, void **state)
{
  if (IS(READS_HOST) && *(void *const volatile *)((const char *)host + 64)) the_device.host = NULL;
  if (IS(MANY_FILES) && open("/dev/null", O_RDONLY) < 0) return CHX_EIO;
  return sample_open(host, state);
}

#if FAULT == 12
chx_status chx_scope_error(const void *s);
#endif
#if FAULT == 11
__attribute__((visibility("default"))) int chx_helper(void) { return 1; }
#endif

__attribute__((visibility("default"))) const chx_plugin *chx_plugin_v1(void)
{
  static chx_plugin p;
  if (IS(OPENS_FILE) && open("/dev/null", O_RDONLY) < 0) return NULL;
  if (IS(ENTRY_CRASH)) abort();
#if FAULT == 12
  chx_scope_error(NULL);
#endif
  p = *sample_entry();
  p.open = open_plugin;
  p.device_count = device_count;
  p.device_open = device_open;
  p.device_ops = ops;
  return &p;
}
#if FAULT == 13
__attribute__((destructor)) static void at_end(void) { abort(); }
#endif
END
# fault NUMBER [LINKER-OPTIONS]: plugin is its file
fault()
{
  mkdir -p "f$1"
  plugin=$dir/f$1/chx_sample.so
  number=$1
  shift
  $CC -std=gnu11 -O1 -D_GNU_SOURCE -DFAULT="$number" -I"$src/include" -I"$src/examples/plugin" -shared -fPIC -fvisibility=hidden -w \
    "$dir/fault.c" -o "$plugin" -lm "$@" || { echo "Bail out! the faulty plugin $number cannot be built"; exit 1; }
}
# caught CASE DETAIL OPTIONS...: that case fails with that detail, and no more than `most` others
caught()
{
  want=$1 text=$2
  shift 2
  run "$plugin" "$@"
  [ $code -eq 1 ] && grep -q "^not ok [0-9]* - $want" out && grep -q "^#   .*$text" out && tap &&
    [ "$(grep -c '^not ok' out)" -le "${most:-1}" ]
  ok $? "caught: $want: $text"
}

fault 0
run "$plugin" --group $raw
[ $code -eq 0 ] && tap; ok $? "the wrapped sample without a fault passes"
fault 1
caught "C3 copy of odd sizes" "killed by SIGSEGV (Segmentation fault)\|exit code 1$" --group C3
[ "$(grep -c ' - C3 ' out)" -eq "$("$CHX" conform "$sample" --group C3 2>/dev/null | grep -c ' - C3 ')" ]
ok $? "the cases behind a crash are run"
lines=$(grep -c ' - C3 ' out)
caught "C3 copy of odd sizes" "killed by SIGSEGV\|exit code 1$" --group C3 --isolate
[ "$(grep -c ' - C3 ' out)" -eq "$lines" ] && [ "$(grep -c '^not ok' out)" -eq 1 ]; ok $? "a crash costs one line with --isolate, too"
fault 2
caught "C3 copy of odd sizes" "did not end within 1 s" --group C3 --case '*copy*' --time-limit 1
fault 3
caught "C3 copy of odd sizes" "ended by itself, with exit code 3" --group C3
fault 4
caught "C3 copy of odd sizes" "want 0x" --group C3
fault 5
caught "C2 info of any size" "wrote byte\|SIGSEGV\|exit code 1$" --group C2
fault 6
caught "C1 loading and the entry" "open files" --group C1
fault 7
caught "C1 a device that is not there" "no sentence" --group C1
fault 9
caught "C3 more memory" "want code 7" --group C3
fault 10
most=3 caught "C2 the host table of version 1.0" "SIGSEGV\|exit code 1$" --group C2
fault 11
caught "C0 exports" "exports 'chx_helper'" --group C0
fault 12
caught "C0 no undefined symbol" "chx_scope_error" --group C0
fault 13
caught "C0 the end of the process\|C1 the end of the process" "SIGABRT" --group C1 --case 'C1 the desc*'
fault 14
caught "C2 the list of kernels" "no_such_operator" --group C2
fault 15
caught "C1 open and close" "open files" --group C1
fault 18
caught "C2 the list of kernels" "size is 24" --group C2
grep -q "com.example.own" out && bad=1 || bad=0
ok $bad "an operator of the vendor's own is no fault"
fault 0 -Wl,-z,execstack
caught "C0 no executable stack" "noexecstack" --group C0
fault 17
most=9 caught "C1 the entry returns" "SIGABRT" --group C1
plugin=$dir/chx_plain.so most=99
caught "C1 the descriptor" "does not export chx_plugin_v1"

fault 8
run "$plugin"
[ $code -eq 0 ] && grep -q '^ok .* - C3 all cases # SKIP no device: sample: no card was found' out && grep -q '^# levels: loads$' out
ok $? "no device: groups C0 to C2 are judged, the others are skipped with the reason"
run "$plugin" --level runs
[ $code -eq 1 ] && grep -q 'level runs: not reached' out; ok $? "a level that is not reached is a failure"
gives 1 "no card was found" "$plugin" --mode perf

# ---- extensions
fault 16
run "$plugin" --group C7
[ $code -eq 0 ] && ! grep SKIP out | grep -qv 'C7 capture' && [ "$(grep '^ok' out | grep -vc SKIP)" -eq 6 ]; ok $? "a plugin with regions and source passes C7"

# ---- exceptions
fault 7
list=$dir/f7/chx_sample.conform
echo 'not-yet "C1 a device that is*" it will say why' >"$list"
run "$plugin" --group C1
[ $code -eq 0 ] && grep -q '^not ok .* - C1 a device that is not there # TODO not-yet: it will say why' out; ok $? "an expected failure is none"
run "$plugin" --level loads
[ $code -eq 1 ] && ! grep -q '^# levels:.*loads' out; ok $? "and yet the level is not reached"
printf '# a comment\n\nnever C1*descriptor*complete a reason\nnever C1*not?there it will say why\n' >"$list"
run "$plugin" --group C1
[ $code -eq 1 ] && grep -q '^#   it passes, and .*chx_sample.conform says that it does not' out; ok $? "what passes and is listed fails"
printf 'never C1*not?there it will say why\nnever C9* nothing has that name\n' >"$list"
run "$plugin"
[ $code -eq 1 ] && grep -q "lists 'C9\*', and no case has that name" out; ok $? "a stale line fails a whole run"
for line in 'sometimes C1* why' 'never C1*' 'never "C1 x why'; do
  echo "$line" >"$list"
  gives 1 "chx_sample.conform:1: want 'never' or 'not-yet'" "$plugin" --group C1
done
rm "$list"
gives_nothing_written() { run "$sample" --group C0 --json no/such/folder.json; [ $code -eq 1 ] && grep -q 'cannot be written' err; }
gives_nothing_written; ok $? "a file that cannot be written is a failure"
echo "1..$n"
