#!/bin/sh
# SPDX-License-Identifier: MIT
# abi_pairs.t: cores and plugins of different ages. Plugins are built here: from each frozen header package of tests/abi,
# from one that is older yet (attributes without their last fields), and from one newer than today's (every growable struct
# with a further field, in which the plugin writes junk). Each is loaded into today's libchx by tests/abi/pair.c.
#
# CHX_OLD_CORE names a libchx of an earlier version, its build folder or its prefix; today's plugins, and those of every frozen version,
# are then loaded into that as well. `.ci/run pairs` builds it from the commit in tests/abi/v1.0/COMMIT.
set -eu
export LC_ALL=C
cd "${CHX_BUILDDIR:?run by tests/env.sh}"
work=$PWD/abi-pairs.dir
rm -rf "$work"
mkdir "$work"
trap 'rm -rf "$work"' EXIT
frozen=$CHX_SRCDIR/tests/abi
flags="-std=gnu11 -g -O1 -Wall -Wextra -Werror $(sed -n 's/^CHX_LDFLAGS = *//p' Makefile)" # the sanitizers
n=0
report() { # report PREFIX: numbers the lines on stdin
  sed "s/ok - /&$1: /" >"$work/report"
  while IFS= read -r line; do
    case $line in
    'ok - '*) n=$((n + 1)); echo "ok $n ${line#ok }" ;;
    'not ok - '*) n=$((n + 1)); echo "not ok $n ${line#not ok }" ;;
    *) echo "# $line" ;;
    esac
  done <"$work/report"
}
try() { # try WHAT COMMAND...: passes if it succeeds; its output is shown if not
  what=$1
  shift
  n=$((n + 1))
  if "$@" >"$work/try.log" 2>&1; then echo "ok $n - $what"; else echo "not ok $n - $what"; sed 's/^/#   /' "$work/try.log"; fi
}
plugin() { # plugin NAME SOURCE HEADERS ARGUMENTS...: a plugin from these headers alone
  name=$1 source=$2 headers=$3
  shift 3
  try "chx_$name.so is built from ${source#"$CHX_SRCDIR/"}" $CC -shared -fPIC -fvisibility=hidden $flags "$@" -DNAME="\"$name\"" -I"$headers" \
    -o "$work/chx_$name.so" "$source" -lm
}
pair() { # pair CORE PLUGIN.so KIND: the driver of that core with the plugin
  if "$work/pair-$1" "$2" "$3" >"$work/pair.log" 2>&1; then done=; else done="exit code $?"; fi
  if [ -n "$done" ] && ! grep -q '^not ok' "$work/pair.log"; then echo "not ok - $done" >>"$work/pair.log"; fi
  report "$1 core, ${2##*/}" <"$work/pair.log"
}

# ---- headers older and newer than those there are ----------------------------------------------------------------------

# The last fields of conv's attribute had not been appended.
mkdir -p "$work/before/chx" "$work/newer/chx"
cp "$frozen"/v1.0/include/chx/* "$work/before/chx" # of a read-only tree, perhaps
chmod -R u+w "$work"
awk '/^#define CHX_ATTRS_/ { in_it = /_conv\(/ }
  in_it && /F\((I64, layout|INTS, shape),/ { sub(/ *\\$/, "", held); next }
  NR > 1 { print held }
  { held = $0 }
  END { print held }' "$frozen/v1.0/include/chx/attr.h" >"$work/before/chx/attr.h"
try "an older attr.h lacks two fields" sh -c "
  now=\$(grep -c '  F(' '$frozen/v1.0/include/chx/attr.h') then=\$(grep -c '  F(' '$work/before/chx/attr.h')
  echo \$then fields, now \$now; test \$((now - then)) = 2"

# A field more at the end of every struct that starts with `size`, attributes included.
cp "$CHX_SRCDIR"/include/chx/*.h "$CHX_SRCDIR"/include/chx/*.def "$work/newer/chx"
chmod -R u+w "$work"
awk '/^(typedef )?struct chx_[a-z_]* \{/ { open = 1; grows = 0 }
  open && /uint32_t size/ { grows = 1 }
  open && /}/ { if (grows) { sub(/}/, "uint64_t future; }"); n++ } open = 0 }
  { print }
  END { exit n < 9 }' "$CHX_SRCDIR/include/chx/plugin.h" >"$work/newer/chx/plugin.h" || echo "# few structs grow"
sed 's/CHX_ATTRS_##A(CHX_ATTR_FIELD) }/CHX_ATTRS_##A(CHX_ATTR_FIELD) uint64_t future; }/' "$CHX_SRCDIR/include/chx/attr.h" >"$work/newer/chx/attr.h"
try "a newer plugin.h has a field more in every growable struct" sh -c "
  grown=\$(grep -c 'uint64_t future; }' '$work/newer/chx/plugin.h')
  sized=\$(grep -c 'uint32_t size,' '$work/newer/chx/plugin.h')
  echo \$grown structs of \$sized have grown; test \$grown = \$sized"
try "a newer attr.h has a field more in every struct" grep -q 'uint64_t future; } chx_##A##_attr' "$work/newer/chx/attr.h"

plugin before "$frozen/v1.0/plugin.c" "$work/before" -DBEFORE
plugin newer "$frozen/v1.0/plugin.c" "$work/newer" -DNEWER

# ---- today's core ---------------------------------------------------------------------------------------------------------

core() { # core NAME HEADERS LIBRARIES
  try "the driver of the $1 core is built" $CC $flags -I"$2" -o "$work/pair-$1" "$frozen/pair.c" -L"$3" -Wl,-rpath,"$3" -lchx -lm -ldl
}
core new "$CHX_SRCDIR/include" "$PWD/.libs"
for dir in "$frozen"/v*; do
  version=$(basename "$dir")
  name=old$(echo "$version" | tr -dc 0-9)
  plugin "$name" "$dir/plugin.c" "$dir/include"
  pair new "$work/chx_$name.so" plugin
done
pair new "$work/chx_before.so" before
CHX_ABI_UNGUARDED=1 pair new "$work/chx_newer.so" plugin
pair new "$PWD/examples/plugin/.libs/chx_sample.so" other

# ---- an older core ----------------------------------------------------------------------------------------------------------

old=${CHX_OLD_CORE-}
if [ -z "$old" ]; then
  n=$((n + 1))
  echo "ok $n # SKIP an older core: CHX_OLD_CORE is not set"
else
  if [ -e "$old/.libs/libchx.so" ]; then
    core old "$(sed -n 's/^abs_top_srcdir = //p' "$old/Makefile")/include" "$old/.libs"
    export CHX_PLUGIN_PATH="$old/.libs"
  else
    core old "$old/include" "$old/lib"
    export CHX_PLUGIN_PATH="$old/lib/chx/plugins"
  fi
  for file in "$work"/chx_old*.so; do pair old "$file" plugin; done
  pair old "$work/chx_before.so" before
  pair old "$work/chx_newer.so" plugin
  pair old "$PWD/examples/plugin/.libs/chx_sample.so" other
fi
echo "1..$n"
