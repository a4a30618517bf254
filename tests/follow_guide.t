#!/bin/sh
# SPDX-License-Identifier: MIT
# follow_guide.t: docs/writing-a-backend.md, followed literally. Its blocks of C, one after the other, are the sample plugin's source, and
# its makefile the sample's. Where CHX_PREFIX names an installed chx (`.ci/run guide` installs one), the page's files are written
# into an empty folder and its commands run there, in order, each of which must succeed.
set -eu
export LC_ALL=C
src=${CHX_SRCDIR:?run by tests/env.sh}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0
try() { # try WHAT COMMAND...: passes if it succeeds; its output is shown if not
  what=$1
  shift
  n=$((n + 1))
  if "$@" >"$work/try.log" 2>&1 </dev/null; then echo "ok $n - $what"; else echo "not ok $n - $what"; tail -n 30 "$work/try.log" | sed 's/^/#   /'; fi
}
# Fenced blocks, each into work/blocks/NUMBER.LANGUAGE.
mkdir "$work/blocks" "$work/mine"
awk -v to="$work/blocks" '
  /^```./ && !open { open = 1; file = sprintf("%s/%02d.%s", to, ++n, substr($0, 4)); printf "" >file; next }
  /^```$/ { open = 0; close(file); next }
  open { print >file }' "$src/docs/writing-a-backend.md"
for block in "$work"/blocks/*.c; do # a blank line between two
  [ ! -e "$work/mine/sample.c" ] || echo >>"$work/mine/sample.c"
  cat "$block" >>"$work/mine/sample.c"
done
cat "$work"/blocks/*.make >"$work/mine/Makefile"
try "the page's C is examples/plugin/sample.c" diff -u "$src/examples/plugin/sample.c" "$work/mine/sample.c"
try "the page's makefile is examples/plugin/Makefile" diff -u "$src/examples/plugin/Makefile" "$work/mine/Makefile"

if [ -z "${CHX_PREFIX-}" ]; then
  n=$((n + 1))
  echo "ok $n # SKIP following it: CHX_PREFIX is not set"
else
  # nothing of the build tree
  unset CHX_PLUGIN_PATH CHX_BUILDDIR srcdir
  export CHX="$src" PATH="$CHX_PREFIX/bin:/usr/local/bin:/usr/bin:/bin" LD_LIBRARY_PATH="$CHX_PREFIX/lib" PKG_CONFIG_PATH="$CHX_PREFIX/lib/pkgconfig"
  cd "$work/mine"
  cat "$work"/blocks/*.sh >"$work/commands"
  while IFS= read -r line; do
    case $line in
    'export '*) eval "$line" ;;
    *) try "$line" sh -ec "$line" ;;
    esac
  done <"$work/commands"
  try "conform was run for loads, runs and trains" sh -c "grep -c '^chx conform .*--level \(loads\|runs\|trains\)$' '$work/commands' | grep -qx 3"
  try "the plugin that was tested is the one built here" test -s "$work/mine/chx_sample.so"
fi
echo "1..$n"
