#!/bin/sh
# SPDX-License-Identifier: MIT
# abi.t: what the built libraries show of themselves. Their exported names, the libraries they need, libchx's size.
set -eu
export LC_ALL=C
cd "${CHX_BUILDDIR:?run by tests/env.sh}"
: "${NM:=nm}"
n=0
ok() { # ok WHAT CULPRITS: passes if there are no culprits
  n=$((n + 1))
  if [ -z "$2" ]; then echo "ok $n - $1"; else echo "not ok $n - $1"; printf '%s\n' "$2" | sed 's/^/#   /'; fi
}
skip() { n=$((n + 1)); echo "ok $n # SKIP $1"; }
defined() { $NM -D --defined-only "$1" | awk '$2 != "A" { sub("@.*", "", $3); print $3 }'; } # A: the version's own name
needed() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
soname() { readelf -d "$1" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p'; }
sanitized() { needed "$1" | grep -qE 'lib(a|t|ub)san|gcov' || $NM "$1" | grep -qE '__(asan|tsan|ubsan)_|__gcov_'; }

# the elementwise functions' declarations are made by macros
printf '#include <chx/%s>\n' chx.h op.h nn.h | ${CC:-cc} -E -P -I"$CHX_SRCDIR/include" -x c - >abi.headers
trap 'rm -f abi.headers abi.stripped' EXIT

for lib in libchx libchx-nn; do
  file=.libs/$lib.so
  names=$(defined $file)
  ok "$lib exports something" "$([ -n "$names" ] || echo "no name")"
  ok "$lib exports chx_* only" "$(printf '%s\n' "$names" | grep -v '^chx_' || :)"
  ok "$lib exports what a public header declares" "$(for name in $names; do
    grep -qw "$name" abi.headers || echo "$name"; done)"
  ok "$lib has a soname" "$(soname $file | grep -qx "$lib\.so\.[0-9]*" || soname $file)"
  if sanitized $file; then
    skip "$lib: a sanitizer adds libraries and size"
    skip "$lib: a sanitizer adds libraries and size"
    continue
  fi
  ok "$lib needs libc, libm, libdl, threads, zlib and libchx only" \
    "$(needed $file | grep -vE '^(lib(c|m|dl|pthread|z|chx)\.so\.[0-9]+|ld-linux.*)$' || :)"
  strip -o abi.stripped $file
  size=$(wc -c <abi.stripped)
  ok "$lib stripped: $size < 1000000 bytes" "$([ "$size" -lt 1000000 ] || echo "$size bytes")"
done
# tests/abi/symbols.txt: what has been exported stays; a new name is added to it.
ok "every name that was exported still is" "$({ defined .libs/libchx.so; defined .libs/libchx-nn.so; } | sort -u |
  comm -13 - "$CHX_SRCDIR/tests/abi/symbols.txt")"
ok "every exported name is listed" "$({ defined .libs/libchx.so; defined .libs/libchx-nn.so; } | sort -u |
  comm -23 - "$CHX_SRCDIR/tests/abi/symbols.txt")"
ok "libchx does not need libchx-nn" "$(needed .libs/libchx.so | grep chx || :)"

for file in .libs/chx_*.so examples/plugin/.libs/chx_*.so; do
  name=${file##*/}
  ok "$name exports chx_plugin_v1 alone" "$(defined "$file" | grep -vx chx_plugin_v1 || :)"
  ok "$name exports chx_plugin_v1" "$(defined "$file" | grep -qx chx_plugin_v1 || echo "not there")"
  ok "$name takes no chx_* from outside" "$($NM -D --undefined-only "$file" | grep -E ' chxi?_' || :)"
  ok "$name does not need libchx" "$(needed "$file" | grep chx || :)"
done
echo "1..$n"
