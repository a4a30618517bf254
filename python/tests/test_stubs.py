# SPDX-License-Identifier: MIT
"""The type stubs: they are what the module that is tested would have written, and mypy agrees with them (where it is installed)."""
import os
import re
import shutil
import subprocess
import sys

import pytest

import chx
from chx import _forms

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = os.path.dirname(chx.__file__)


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    """The package as mypy is to see it: its stubs alone."""
    folder = tmp_path_factory.mktemp("stubs")
    (folder / "chx").mkdir()
    for name in os.listdir(PACKAGE):
        if name.endswith((".pyi", ".typed")):
            shutil.copy(os.path.join(PACKAGE, name), str(folder / "chx"))
    return str(folder)


def run(stubs, *arguments):
    env = dict(os.environ, PYTHONPATH=os.path.dirname(PACKAGE), MYPYPATH=stubs, MYPY_CACHE_DIR=os.path.join(stubs, "cache"))
    done = subprocess.run([sys.executable, *arguments], env=env, cwd=os.path.join(HERE, "typed"), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True)
    return done.returncode, done.stdout


def mypy(stubs, *arguments):
    pytest.importorskip("mypy")
    return run(stubs, "-m", "mypy", "--strict", *arguments)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="older Pythons do not tell the signatures of some classes of C")
def test_current(stubs):
    """python/tools/stubs.py writes them again."""
    status, said = run(stubs, os.path.join(HERE, os.pardir, "tools", "stubs.py"), "--check")
    assert status == 0, said


def test_bundled():
    assert os.path.exists(os.path.join(PACKAGE, "py.typed"))
    with open(os.path.join(PACKAGE, "__init__.pyi"), encoding="utf-8") as f:
        text = f.read()
    for name in dir(chx):
        if not name.startswith("_") and name != "array_api":  # that is loaded by others of these tests alone
            assert re.search(r"\b%s\b" % name, text), name


def test_strict(stubs):
    status, said = mypy(stubs, os.path.join(stubs, "chx"))
    assert status == 0, said


# What mypy's stubtest finds and is so: attributes of objects that any may have; classes of C that have another layout than object.
ALLOWED = [r".*\.__(get|set)attr__", r"chx\.(nn|optim)\.\w+", r"chx\.(\w+\.)?__(main|dir|all|array_namespace_info)__"]


def test_the_module_is_as_the_stubs_say(stubs, tmp_path):
    pytest.importorskip("mypy")
    # operators tell inspect of their own parameters, not of NumPy's form of them
    formed = [n for n in dir(chx) if type(getattr(chx, n)) is type(chx.add) and getattr(chx, n).__name__ in _forms.FORMS]
    (tmp_path / "allowed").write_text("\n".join(ALLOWED + [r"chx\.(\w+\.)?" + n for n in formed]))
    status, said = run(stubs, "-m", "mypy.stubtest", "chx", "--ignore-unused-allowlist", "--allowlist", str(tmp_path / "allowed"))
    assert status == 0, said


def test_program(stubs):
    status, said = mypy(stubs, "good.py")
    assert status == 0, said
    status, said = run(stubs, "good.py")
    assert status == 0 and said.startswith("[2.0, "), said


def test_errors(stubs):
    status, said = mypy(stubs, "bad.py")
    found = {(int(line), code) for line, code in re.findall(r"^bad\.py:(\d+): error: .*\[([a-z-]+)\]$", said, re.M)}
    with open(os.path.join(HERE, "typed", "bad.py"), encoding="utf-8") as f:
        want = {(i, m.group(1)) for i, line in enumerate(f, 1) for m in [re.search(r"# error: ([a-z-]+)$", line)] if m}
    assert status == 1 and found == want, said
