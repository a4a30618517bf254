# SPDX-License-Identifier: MIT
"""What fails on a device, by sim's faults on request: the exception that it is, what it says, and that the program goes on."""
import os
import subprocess
import sys

import pytest

STEPS = """
import chx, gc, sys

def params():
    return [chx.full((4, 4), 0.5, device="sim:0").require_grad(), chx.ones(4, device="sim:0").require_grad()]

def step(ps):
    for p in ps:
        p.grad = None
    h = chx.tanh(chx.ones((3, 4), device="sim:0") @ ps[0] + ps[1])
    h.sum().backward()
    with chx.no_backprop():
        for p in ps:
            p -= p.grad * 0.125
    return round(h.sum().item(), 6)

def attempts(n):
    good, failed, ps = [], [], None
    for _ in range(n):
        try:
            ps = ps or params()
            good.append(step(ps))
        except (chx.DeviceError, MemoryError) as e:
            failed.append(e)
            ps = None  # what a queue wrote that failed late is lost
    return good, failed, ps
"""


def run(code, faults="", **env):
    r = subprocess.run([sys.executable, "-c", STEPS + code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=120,
                       env=dict(os.environ, CHX_SIM_FAIL=faults, **env))
    assert r.returncode == 0 and not r.stderr, r.stderr
    return r.stdout.splitlines()


@pytest.mark.parametrize("fault,words", [
    ("kernel:3", "on sim:0: injected fault at kernel 3"), ("kernel:21", "on sim:0: injected fault at kernel 21"),
    ("copy:2", "sim:0: copy of"), ("kernel:9:late", "reported late, by one of the"), ("copy:2:late", "reported late"),
    ("kernel:2,kernel:17,kernel:30:late,copy:5", "injected fault"),
])
def test_faults_are_device_errors_and_pass(fault, words):
    out = run("""
good, failed, ps = attempts(24)
print(len(failed), len(good), all(type(e) is chx.DeviceError for e in failed))
print(str(failed[0]))
ps = params()
last = [step(ps) for _ in range(3)]
ps = [p.to("native:0").detach() for p in params()]
x, w, b = chx.ones((3, 4)), ps[0].require_grad(), ps[1].require_grad()
want = []
for _ in range(3):
    w.grad = b.grad = None
    h = chx.tanh(x @ w + b)
    h.sum().backward()
    with chx.no_backprop():
        w -= w.grad * 0.125
        b -= b.grad * 0.125
    want.append(round(h.sum().item(), 6))
print(last == want)
""", fault)
    n = len(fault.split(","))
    assert out[0] == "%d %d True" % (n, 24 - n)
    assert words in out[1] and out[2] == "True"


def test_a_late_error_comes_with_the_next_wait_and_names_the_operator():
    out = run("""
x = chx.ones(4, device="sim:0")
chx.synchronize("sim:0")
y = chx.exp(x)
try:
    chx.synchronize("sim:0")
except chx.DeviceError as e:
    print("reported late, by exp" in str(e))
for use in (lambda: y.tolist(), lambda: y + 1, lambda: y[0].item()):
    try:
        use()
    except chx.DeviceError as e:
        print("written by a queue that failed" in str(e))
print((x + 1).tolist())
chx.synchronize("sim:0")
""", "kernel:2:late")
    assert out == ["True"] * 4 + ["[2.0, 2.0, 2.0, 2.0]"]


def test_a_lost_device_leaves_the_others():
    out = run("""
good, failed, _ = attempts(30)
print(len(failed) > 20, all(type(e) is chx.DeviceError and "los" in str(e) for e in failed))
for call in (lambda: chx.ones(2, device="sim:0"), lambda: chx.ones(2).to("sim:0")):
    try:
        call()
        print("no error")
    except chx.DeviceError as e:
        print("sim:0" in str(e))
w = chx.ones((3, 3)).require_grad()
(w @ w).sum().backward()
print(w.grad[0, 0].item(), chx.memory_stats("sim:0")["used"] >= 0)
print((chx.ones(2, device="sim:1") + 1).tolist())  # which has its own count of actions
""", "lost:40")
    assert out == ["True True", "True", "True", "6.0 True", "[2.0, 2.0]"]


def test_out_of_memory():
    out = run("""
x = chx.ones((256, 1024), device="sim:0")
before = chx.memory_stats("sim:0")["used"]
kept = []
try:
    for _ in range(10):
        kept.append(x + 1)
except MemoryError as e:
    print("sim:0" in str(e) and "add" in str(e))
del kept
print(chx.memory_stats("sim:0")["used"] == before, (x + 1)[0, 0].item())
try:
    chx.empty(1 << 50)
except MemoryError as e:
    print("native:0" in str(e))
try:
    chx.ones((1 << 40, 1 << 40))
except ValueError as e:
    print("shape" in str(e))
print(chx.ones(2).tolist())
""", CHX_SIM_MEMORY=str(8 << 20))
    assert out == ["True", "True 2.0", "True", "True", "[1.0, 1.0]"]


def test_faults_leave_nothing_behind():
    out = run("""
def count():
    gc.collect()
    return chx.memory_stats("sim:0")["used"], chx.memory_stats("native:0")["used"], sys.getallocatedblocks()
good, failed, ps = attempts(30)
del failed, good, ps
before = count()
good, failed, ps = attempts(300)
print(len(failed))
del failed, good, ps
after = count()
print(after[:2] == before[:2], after[2] - before[2] < 100)
""", ",".join("kernel:%d" % n for n in range(900, 1700, 100)))
    assert int(out[0]) > 5 and out[1] == "True True"
