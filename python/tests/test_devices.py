# SPDX-License-Identifier: MIT
"""Devices, modes, the ledger, memory and seeds from Python."""
import subprocess
import sys

import numpy as np
import pytest
from conftest import check, sample

import chx


def run(code):
    """Runs a program in a process of its own; what it printed."""
    r = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=120)
    assert r.returncode == 0, r.stderr
    return r.stdout.strip()


def test_import_loads_little():
    loaded = run("import sys, chx; print([m for m in ('numpy', 'torch', 'chx._format') if m in sys.modules])")
    assert loaded == "[]"
    maps = "import chx; chx.ones(2) + 1; print([l for l in open('/proc/self/maps') if any(v in l for v in ('cuda', 'OpenCL', 'amdhip', 'dnnl'))])"
    assert run(maps) == "[]"
    assert run("import chx; a = chx.ones(2); print(a.tolist(), repr(a)); import sys; print('numpy' in sys.modules)").endswith("False")


def test_import_is_quick():
    best = 1e9
    for _ in range(30):  # until one was not disturbed by what else the machine does
        r = subprocess.run([sys.executable, "-X", "importtime", "-c", "import chx"], stderr=subprocess.PIPE, universal_newlines=True)
        line = [l for l in r.stderr.splitlines() if l.split("|")[-1].strip() == "chx"][0]
        best = min(best, int(line.split("|")[1]))
        if best < 30000:
            break
    assert best < 30000


def test_using_device():
    assert chx.get_default_device() == "native:0"
    with chx.using_device("sim:0"):
        a = chx.ones(3)
        assert a.device == "sim:0" and chx.array([1, 2]).device == "sim:0" and chx.asarray(np.ones(2)).device == "sim:0"
        with chx.using_device("native"):
            assert chx.zeros(2).device == "native:0"
        assert chx.arange(3).device == "sim:0"
    assert chx.get_default_device() == "native:0" and (a + 1).device == "sim:0"
    with pytest.raises(chx.DeviceError, match="nosuch"):
        with chx.using_device("nosuch:0"):
            pass
    with pytest.raises(TypeError):
        chx.using_device(3)
    assert chx.get_default_device() == "native:0"


def test_moving_between_devices():
    x = chx.array([1.0, 2, 3]).require_grad()
    y = x.to("sim:0")
    (y * y).sum().backward()
    assert y.device == "sim:0" and x.grad.tolist() == [2, 4, 6] and x.grad.device == "native:0"
    with pytest.raises(chx.DeviceError, match="native:0 and sim:0"):
        x + y
    assert y.tolist() == [1, 2, 3] and y[1].item() == 2 and float(y.sum()) == 6
    y = y.detach()
    y[0] = 5
    y += 1
    assert y.tolist() == [6, 3, 4]


def test_operators_on_another_device():
    x, w = sample("float32", (8, 5), 1), sample("float32", (5, 4), 2)
    with chx.using_device("sim:0"):
        a, b = chx.array(x), chx.array(w)
        check((chx.tanh(a @ b).sum(axis=0)[::-1]).to("native:0"), np.tanh(x @ w).sum(axis=0)[::-1], 64)


def test_devices_and_backends():
    devices = {d["device"]: d for d in chx.devices()}
    assert devices["native:0"]["is_host"] is True and "float32" in devices["native:0"]["dtypes"]
    assert devices["sim:0"]["is_host"] is False
    backends = {b["name"]: b for b in chx.backends()}
    assert backends["native"]["error"] == "" and backends["native"]["devices"] >= 1
    with pytest.raises((chx.DeviceError, OSError)):
        chx.load_plugin("/nonexistent/chx_no.so")


def test_fallback_policy():
    denied = run("""
import chx
chx.fallback("deny")
print(chx.array([3., 1]).sum().item())
with chx.fallback("allow"):
    pass
try:
    chx.fallback("never")
except ValueError as e:
    print(e)
""")
    assert denied.splitlines() == ["4.0", "fallback: the policy is 'never', want 'allow', 'warn' or 'deny'"]


def test_ledger_and_denial():
    out = run("""
import os
os.environ["CHX_ROUTE"] = "sort=staged"
import chx
x = chx.array([2., 1], device="sim:0")
print(chx.sort(x).tolist())
row = [r for r in chx.ledger() if r["op"] == "sort"][0]
print(row["device"], row["route"], row["calls"], row["bytes"] > 0, row["seconds"] > 0, row["kernel_seconds"] > 0, bool(row["reason"]))
with chx.fallback("deny"):
    try:
        chx.sort(x)
    except NotImplementedError as e:
        print("sort" in str(e) and "sim:0" in str(e))
print(chx.sort(x).tolist())
chx.ledger_reset()
print(chx.ledger())
""")
    assert out.splitlines() == ["[1.0, 2.0]", "sim:0 staged 1 True True True True", "True", "[1.0, 2.0]", "[]"]


def test_memory_stats():
    before = chx.memory_stats()
    a = chx.zeros(100000)
    after = chx.memory_stats("native:0")
    assert after["used"] >= before["used"] + a.nbytes and after["allocations"] > before["allocations"]
    del a
    assert chx.memory_stats()["used"] == before["used"]
    chx.memory_trim()
    with pytest.raises(chx.DeviceError):
        chx.memory_stats("nosuch:0")


def test_seed_and_threads():
    chx.seed(1 << 63)
    for bad in (-1, 1 << 64, "x"):
        with pytest.raises((OverflowError, TypeError)):
            chx.seed(bad)
    n = chx.get_num_threads()
    chx.set_num_threads(1)
    assert chx.get_num_threads() == 1
    chx.set_num_threads(n)
    with pytest.raises(ValueError):
        chx.set_num_threads(-1)
    chx.synchronize()
    chx.synchronize("sim:0")


def test_a_bad_default_device_is_an_error_that_can_be_mended():
    out = run("""
import os
os.environ["CHX_DEVICE"] = "nosuch:0"
import chx
try:
    chx.ones(2)
except chx.DeviceError as e:
    print("nosuch" in str(e))
os.environ["CHX_DEVICE"] = "native:0"
print(chx.ones(2).tolist())
""")
    assert out.splitlines() == ["True", "[1.0, 1.0]"]


def test_fork():
    out = run("""
import os, chx
a = chx.ones((50, 50))
chx.matmul(a, a)
pid = os.fork()
if pid == 0:
    os._exit(0 if chx.matmul(a, a).sum().item() == 125000 else 1)
print(os.waitpid(pid, 0)[1])
""")
    assert out == "0"
