# SPDX-License-Identifier: MIT
"""DLPack with NumPy and with itself: shared memory, ownership in each order of deletion, versions, refusals."""
import gc
import weakref

import numpy as np
import pytest
from conftest import REAL, check, sample

import chx


NUMPY = tuple(map(int, np.__version__.split(".")[:2]))
NUMPY1 = NUMPY < (2, 0)  # knows no bools in DLPack


@pytest.mark.parametrize("dtype", [d for d in REAL + ["complex64", "complex128"] if not (NUMPY1 and d == "bool")])
def test_both_ways(dtype):
    for shape in [(3, 4), (), (0, 2), (2, 3, 4)]:
        x = sample(dtype, shape, 1)
        a = chx.from_dlpack(x)
        check(a, x)
        check(chx.array(np.from_dlpack(a)), x)
        if a.ndim == 2:
            check(chx.from_dlpack(x[::-1, 1:]), x[::-1, 1:])
            np.testing.assert_array_equal(np.from_dlpack(a[::-1, ::2]), x[::-1, ::2])


def test_memory_is_shared():
    a = chx.zeros((2, 3))
    n = np.from_dlpack(a)
    b = chx.from_dlpack(a if NUMPY < (2, 1) else n)  # older ones call what they took read-only, which they cannot say
    c = chx.from_dlpack(a)
    a[0, 0] = 1
    assert n[0, 0] == 1 and b[0, 0].item() == 1 and c[0, 0].item() == 1
    x = np.zeros(3)
    d = chx.from_dlpack(x)
    x[1] = 5
    d[2] = 7
    assert d.tolist() == [0, 5, 7] and x.tolist() == [0, 5, 7]


class Owner(np.ndarray):
    """An array whose end can be seen."""


@pytest.mark.parametrize("order", [0, 1])
def test_ownership(order, used):
    gc.collect()
    before = used()
    x = np.zeros(100).view(Owner)
    ended = weakref.ref(x)
    a = chx.asarray(x)
    both = [x, a]
    del x, a
    del both[order]
    gc.collect()
    assert ended() is not None
    assert both[0].sum() == 0
    del both
    gc.collect()
    assert ended() is None
    a = chx.ones(1000)
    n = np.from_dlpack(a)
    view = np.asarray(a)
    both = [a, n, view]
    del a, n, view
    del both[0 if order else 1]
    assert both[0].sum() == 1000 and both[1].sum() == 1000
    del both
    assert used() == before


def test_many_round_trips_leave_nothing(used):
    a, x = chx.ones(10), np.ones(10)
    before = used()
    for _ in range(5000):
        chx.from_dlpack(a)
        np.from_dlpack(a)
        chx.from_dlpack(x)
        np.asarray(chx.asarray(x))
    assert used() == before


class Old:
    """What knows of DLPack no more than before its version 1."""

    def __init__(self, a):
        self.a = a

    def __dlpack__(self, stream=None):
        return self.a.__dlpack__(stream=stream)

    def __dlpack_device__(self):
        return self.a.__dlpack_device__()


def test_versions():
    a = chx.ones(3)
    assert "dltensor_versioned" in repr(a.__dlpack__(max_version=(1, 0))) and '"dltensor"' in repr(a.__dlpack__())
    b = chx.from_dlpack(Old(a))
    b[0] = 5
    assert a[0].item() == 5 and a.__dlpack_device__() == (1, 0)
    del a
    assert b.tolist() == [5, 1, 1]
    unused = b.__dlpack__(max_version=(1, 1))
    c = chx.from_dlpack(unused)
    c[1] = 6
    assert b[1].item() == 6
    with pytest.raises(BufferError, match="used"):
        chx.from_dlpack(unused)
    check(chx.asarray(Old(b)), np.asarray(b))


def test_copies():
    a = chx.ones(3)
    for b in (chx.from_dlpack(a, copy=True), chx.from_dlpack(a.__dlpack__(copy=True)), chx.from_dlpack(a, device="ref:0")):
        b[0] = 9
    assert a.tolist() == [1, 1, 1]
    fixed = np.ones(3)
    fixed.flags.writeable = False
    try:
        b = chx.from_dlpack(fixed)
    except BufferError:  # NumPy 1 has no flag for it
        return
    b[0] = 3
    assert fixed[0] == 1


def test_other_devices():
    s = chx.array([1.0, 2], device="sim:0")
    with pytest.raises(BufferError, match="native:0"):
        memoryview(s)
    with pytest.raises(Exception, match="(?i)device"):
        np.from_dlpack(s)
    with pytest.raises(BufferError, match="sim:0 has no number"):
        s.__dlpack_device__()
    t = chx.from_dlpack(s)
    assert t.device == "sim:0"
    s[0] = 5
    check(t.to("native:0"), np.array([5.0, 2]))
    check(chx.asarray(np.ones(2), device="sim:0").to("native:0"), np.ones(2))
    with pytest.raises(BufferError, match="copy"):
        chx.from_dlpack(np.ones(2), device="sim:0", copy=False)


def test_refusals():
    with pytest.raises(AttributeError):
        chx.from_dlpack(3)

    class Elsewhere:
        def __dlpack__(self, **unused):
            return 3

    with pytest.raises(BufferError, match="capsule"):
        chx.from_dlpack(Elsewhere())
