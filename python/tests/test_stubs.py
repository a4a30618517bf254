# SPDX-License-Identifier: MIT
"""The type stubs: they are what the module that is tested would have written, and mypy agrees with them (where it is installed)."""
import os
import re
import subprocess
import sys

import pytest

import chx

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = os.path.dirname(chx.__file__)


def run(*arguments):
    path = os.path.dirname(PACKAGE)
    env = dict(os.environ, PYTHONPATH=path, MYPYPATH=path, MYPY_CACHE_DIR=os.devnull)
    done = subprocess.run([sys.executable, *arguments], env=env, cwd=os.path.join(HERE, "typed"), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True)
    return done.returncode, done.stdout


def mypy(*arguments):
    pytest.importorskip("mypy")
    return run("-m", "mypy", "--strict", *arguments)


def test_current():
    """python/tools/stubs.py writes them again."""
    status, said = run(os.path.join(HERE, os.pardir, "tools", "stubs.py"), "--check")
    assert status == 0, said


def test_bundled():
    assert os.path.exists(os.path.join(PACKAGE, "py.typed"))
    with open(os.path.join(PACKAGE, "__init__.pyi"), encoding="utf-8") as f:
        text = f.read()
    for name in vars(chx):
        if not name.startswith("_"):
            assert re.search(r"\b%s\b" % name, text), name


def test_strict():
    status, said = mypy(os.path.join(PACKAGE, "__init__.pyi"))
    assert status == 0, said


def test_the_module_is_as_the_stubs_say():
    pytest.importorskip("mypy")
    status, said = run("-m", "mypy.stubtest", "chx")
    assert status == 0, said


def test_program():
    status, said = mypy("good.py")
    assert status == 0, said
    status, said = run("good.py")
    assert status == 0 and said.startswith("[2.0, "), said


def test_errors():
    status, said = mypy("bad.py")
    found = {(int(line), code) for line, code in re.findall(r"^bad\.py:(\d+): error: .*\[([a-z-]+)\]$", said, re.M)}
    with open(os.path.join(HERE, "typed", "bad.py"), encoding="utf-8") as f:
        want = {(i, m.group(1)) for i, line in enumerate(f, 1) for m in [re.search(r"# error: ([a-z-]+)$", line)] if m}
    assert status == 1 and found == want, said
