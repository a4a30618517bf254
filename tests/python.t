#!/bin/sh
# SPDX-License-Identifier: MIT
# python.t: makes the Python package from this build and runs its tests, python/tests, by pytest, as TAP. For Debian's, or each of
#
#   CHX_TEST_PYTHONS="python3.8 python3.13"     those that lack Python.h, setuptools, pytest or NumPy are skipped, and named
set -eu
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1
cd "${CHX_BUILDDIR:?run by tests/env.sh}"
n=0
if grep -q -- '-fsanitize' Makefile; then
  echo "1..0 # SKIP a sanitizer's library would have to be in the interpreter"
  exit 0
fi

for backend in ref sim; do
  [ -e ".libs/chx_$backend.so" ] || { echo "1..0 # SKIP $backend, which the tests use, is not built"; exit 0; }
done

lacks() { # what a Python needs and has not
  "$1" - <<'END'
import importlib.util, os, sysconfig
lacking = [m for m in ("setuptools", "pytest", "numpy") if not importlib.util.find_spec(m)]
if not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")):
    lacking.insert(0, "Python.h")
print(", ".join(lacking))
END
}

as_tap() { # as_tap PYTHON XML TAG FIRST: the results that pytest wrote
  "$1" - "$2" "$3" "$4" <<'END'
import sys, xml.etree.ElementTree as tree
at = int(sys.argv[3])
for case in tree.parse(sys.argv[1]).getroot().iter("testcase"):
    at += 1
    name = "%s %s: %s" % (sys.argv[2], case.get("classname"), case.get("name"))
    name = "".join(c if 32 <= ord(c) < 127 and c not in "#\\" else "?" for c in name)
    bad = [e for e in case if e.tag in ("failure", "error")]
    print("%sok %d - %s%s" % ("not " if bad else "", at, name, " # SKIP" if case.find("skipped") is not None else ""))
    for e in bad:
        print("".join("#   %s\n" % line for line in (e.text or e.get("message")).splitlines()[-30:]), end="")
END
}

for python in ${CHX_TEST_PYTHONS:-/usr/bin/python3}; do
  lacking=$(command -v "$python" >/dev/null && lacks "$python") || lacking=it
  if [ -n "$lacking" ]; then
    n=$((n + 1))
    echo "ok $n - $python # SKIP $lacking is not there"
    continue
  fi
  tag=$("$python" -c 'import sys, numpy; print(sys.implementation.cache_tag + sys.abiflags + "-numpy-" + numpy.__version__)')
  lib=$PWD/python-test/$tag xml=$PWD/python-test/$tag.xml log=$PWD/python-test/$tag.log
  mkdir -p python-test
  rm -rf "$xml" "$lib"
  if ! (cd "$CHX_SRCDIR" && CHX_BUILD=$CHX_BUILDDIR "$python" -W ignore setup.py build --build-base "$lib/make" --build-lib "$lib") >"$log" 2>&1; then
    n=$((n + 1))
    echo "not ok $n - $tag: the package is built"
    tail -n 20 "$log" | sed 's/^/#   /'
    continue
  fi
  (cd "$CHX_SRCDIR" && unset CHX_PLUGIN_PATH &&
    PYTHONPATH=$lib "$python" -m pytest -q -p no:cacheprovider --junitxml "$xml" python/tests) >"$log" 2>&1 || status=$?
  n=$((n + 1))
  echo "ok $n - $tag: the package is built"
  if [ -s "$xml" ]; then
    as_tap "$python" "$xml" "$tag" $n
    n=$((n + $("$python" -c 'import sys, xml.etree.ElementTree as t; print(len(list(t.parse(sys.argv[1]).getroot().iter("testcase"))))' "$xml")))
  else
    n=$((n + 1))
    echo "not ok $n - $tag: pytest ends by itself (${status-0})"
    tail -n 20 "$log" | sed 's/^/#   /'
  fi
done
echo "1..$n"
