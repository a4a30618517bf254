# SPDX-License-Identifier: MIT
"""What setup.py makes of the environment, and the package as it is installed."""
import importlib.util
import os
import re
import subprocess
import sys

import pytest

import chx

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), os.pardir, os.pardir))


@pytest.fixture(scope="module")
def setup():
    pytest.importorskip("setuptools")
    spec = importlib.util.spec_from_file_location("chx_setup", os.path.join(TOP, "setup.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cuda(tmp_path):
    for name in ("nvrtc.h", "cudnn.h"):
        (tmp_path / "include").mkdir(exist_ok=True)
        (tmp_path / "include" / name).write_text("")
    return str(tmp_path)


BACKENDS = {"ref", "sim", "dnnl", "opencl", "cuda", "hip"}


def without(*names):
    return ["--with-%s=%s" % (n, "yes" if n in names else "no") for n in sorted(BACKENDS)]


@pytest.mark.parametrize("env, want", [
    ({}, []),
    ({"CHX_WITH": ""}, []),
    ({"CHX_WITH": "native"}, without()),
    ({"CHX_WITH": "native, ref ,"}, without("ref")),
    ({"CHX_WITH": "cuda"}, without("cuda")),
    ({"CHX_BUILD_CUDA": "0"}, ["--with-cuda=no"]),
    ({"CHX_BUILD_CUDA": "1"}, ["--with-cuda=yes"]),
    ({"CHX_BUILD_CUDA": ""}, []),
    ({"CHX_WITH": "ref", "CHX_BUILD_CUDA": "1"}, without("ref", "cuda")),
    ({"CHX_WITH": "cuda", "CHX_BUILD_CUDA": "0"}, without()),
])
def test_configure_arguments(setup, env, want):
    assert setup.configure_arguments(env) == want


def test_configure_arguments_of_folders(setup, cuda):
    assert setup.configure_arguments({"CUDA_PATH": cuda}) == ["--with-cuda=" + cuda]
    assert setup.configure_arguments({"CUDA_PATH": cuda, "CUDNN_ROOT_DIR": cuda}) == ["--with-cuda=" + cuda, "--with-cudnn=" + cuda]
    assert setup.configure_arguments({"CUDA_PATH": cuda, "CHX_BUILD_CUDA": "1"}) == ["--with-cuda=" + cuda]
    assert setup.configure_arguments({"CUDA_PATH": "/nowhere", "CHX_BUILD_CUDA": "0"}) == ["--with-cuda=no"]


@pytest.mark.parametrize("env, message", [
    ({"CHX_WITH": "native,cudda"}, r"CHX_WITH names cudda, want some of native, .*cuda"),
    ({"CHX_BUILD_CUDA": "yes"}, r"CHX_BUILD_CUDA is 'yes', want 0 or 1"),
    ({"CUDA_PATH": "/nowhere"}, r"CUDA_PATH is '/nowhere', want a folder that has include/nvrtc.h"),
    ({"CUDNN_ROOT_DIR": "/nowhere"}, r"CUDNN_ROOT_DIR is '/nowhere', want a folder that has include/cudnn.h"),
])
def test_wrong_values(setup, env, message):
    with pytest.raises(SystemExit, match=message):
        setup.configure_arguments(env)


def test_build_folder(setup, tmp_path):
    with pytest.raises(SystemExit, match=r"CHX_BUILD is .* has no \.libs/libchx\.so\.0, want"):
        setup.native_build({"CHX_BUILD": str(tmp_path)})


def test_missing_tools(setup, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"wants .*make.*, which PATH has not: on Debian, apt-get install .*make"):
        setup.need_tools()
    monkeypatch.setattr(setup, "HERE", str(tmp_path))
    with pytest.raises(SystemExit, match=r"wants autoconf, automake, libtoolize, make.* apt-get install autoconf automake libtool make"):
        setup.need_tools()


def test_run_path(setup, tmp_path):
    path = tmp_path / "lib.so"
    path.write_bytes(b"x/a/build/.libs\0y")
    setup.look_beside(str(path), "/b/build/.libs")
    assert path.read_bytes() == b"x/a/build/.libs\0y"
    setup.look_beside(str(path), "/a/build/.libs")
    assert path.read_bytes() == b"x$ORIGIN" + b"\0" * 8 + b"y"


def python(*arguments, **more):
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
    return subprocess.run([sys.executable, *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, **more)


def test_command():
    assert python("-m", "chx", "--version").stdout == "chx %s\n" % chx.__version__
    assert python("-m", "chx", "nonsense").returncode == 2
    assert '"native:0"' in python("-m", "chx", "devices", "--json").stdout


def test_import_is_fast_and_loads_nothing():
    """Every plugin of the build is bundled, and none is loaded before its device is named."""
    times = []
    for _ in range(5):
        times += re.findall(r"\| +(\d+) \| chx$", python("-X", "importtime", "-c", "import chx").stdout, re.M)
    assert len(times) == 5 and min(map(int, times)) < 30000, times
    done = python("-c", """
import sys, chx
(chx.ones(3) + 1).sum().item()
named = [m for m in ("numpy", "chx._examples") if m in sys.modules]
maps = open("/proc/self/maps").read()
named += [v for v in ("libcuda.", "libcudart", "libnvrtc", "libOpenCL", "libamdhip64", "libdnnl", "chx_cuda", "chx_hip", "chx_opencl", "chx_dnnl",
                      "chx_ref", "chx_sim") if v in maps]
assert not named, named
chx.ones(3, device="ref:0")
assert "chx_ref" in open("/proc/self/maps").read()
""")
    assert done.returncode == 0, done.stdout
