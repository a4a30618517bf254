#!/bin/sh
# SPDX-License-Identifier: MIT
# headers.t: each public header compiles alone, as C11 and as C++17, without a warning.
set -eu
: "${CHX_SRCDIR:?run by tests/env.sh}" "${CC:=cc}" "${CXX:=}"
flags="-fsyntax-only -Wall -Wextra -Wshadow -Wpointer-arith -Werror -I$CHX_SRCDIR/include"
n=0
try() { # try WHAT COMMAND...
  n=$((n + 1)) what=$1
  shift
  if out=$("$@" 2>&1); then echo "ok $n - $what"; else echo "not ok $n - $what"; printf '%s\n' "$out" | head -20 | sed 's/^/#   /'; fi
}
for path in "$CHX_SRCDIR"/include/chx/*.h; do
  h=${path##*/}
  try "$h as C11" sh -c "echo '#include <chx/$h>' | $CC -x c -std=c11 $flags -Wstrict-prototypes -"
  if [ -n "$CXX" ]; then
    try "$h as C++17" sh -c "echo '#include <chx/$h>' | $CXX -x c++ -std=c++17 $flags -pedantic -"
  else
    n=$((n + 1))
    echo "ok $n # SKIP $h: no C++ compiler"
  fi
done
echo "1..$n"
