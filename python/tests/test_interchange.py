# SPDX-License-Identifier: MIT
"""DLPack with NumPy and with itself: shared memory, ownership in each order of deletion, versions, refusals."""
import gc
import itertools
import os
import shutil
import subprocess
import sys
import weakref

import numpy as np
import pytest
from conftest import REAL, check, rss, sample

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


@pytest.mark.parametrize("kinds", ["nc", "cn", "ncn", "cnc", "ccc"])
def test_ownership_of_a_chain(kinds, used):
    """Views of one memory by DLPack, each of the one before, deleted in each order."""
    if NUMPY < (2, 1) and "nc" in kinds[1:]:
        pytest.skip("NumPy calls what it took read-only, and cannot give it on")
    before = used()
    for order in itertools.permutations(range(len(kinds))):
        views = [np.ones(100).view(Owner) if kinds[0] == "n" else chx.ones(100)]
        ended = weakref.ref(views[0])
        for kind in kinds[1:]:
            views.append(np.from_dlpack(views[-1]) if kind == "n" else chx.from_dlpack(views[-1]))
        for k in order:
            if kinds[k] == "c" or views[k].flags.writeable:
                views[k][1] = 3 + k
                assert [float(v[1]) for v in views if v is not None] == [3 + k] * sum(v is not None for v in views)
            views[k] = None
        assert ended() is None
        assert chx.memory_stats("native:0")["used"] == before


def leaves_nothing(used, trip, n):
    for _ in range(1000):
        trip()
    before, bytes_before, objects = used(), rss(), len(gc.get_objects())
    for _ in range(n):
        trip()
    assert used() == before and len(gc.get_objects()) <= objects + 10
    assert rss() - bytes_before < 4 << 20  # 4 bytes a trip of the longest


def test_many_round_trips_leave_nothing(used):
    a, x = chx.ones(10), np.ones(10)
    leaves_nothing(used, lambda: np.asarray(chx.asarray(x)), 10000)
    leaves_nothing(used, lambda: chx.from_dlpack(np.from_dlpack(a) if NUMPY >= (2, 1) else a), 10000)
    leaves_nothing(used, lambda: memoryview(a), 10000)
    leaves_nothing(used, lambda: a.__dlpack__(), 10000)  # capsules that nobody takes


def test_a_million_round_trips_leave_nothing(used):
    a, x = chx.ones(10), np.ones(10)
    leaves_nothing(used, lambda: np.from_dlpack(chx.from_dlpack(x)), 1000000)
    leaves_nothing(used, lambda: chx.from_dlpack(a.__dlpack__(max_version=(1, 0))), 1000000)


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


def test_layouts():
    a = chx.arange(24).reshape(2, 3, 4)
    for v in (a.T, a[:, ::-1], a[1, :, 2], a[..., None], a[:0], chx.broadcast_to(a, (2, 2, 3, 4))):
        n = np.from_dlpack(v)
        assert n.tolist() == v.tolist() and (not v.size or n.strides == v.strides)
        b = chx.from_dlpack(v)
        assert b.tolist() == v.tolist() and b.strides == v.strides
        if NUMPY >= (2, 1):
            assert chx.from_dlpack(n).tolist() == v.tolist()


@pytest.mark.parametrize("dtype", ["bool", "bfloat16", "float16", "complex64"])
def test_dtypes_that_not_all_know(dtype):
    a = chx.array([[0, 1], [1, 0]]).astype(dtype) if dtype[0] != "c" else chx.array([[0, 1j], [1, 0]], dtype=dtype)
    for b in (chx.from_dlpack(a), chx.from_dlpack(a.__dlpack__()), chx.from_dlpack(a.__dlpack__(max_version=(1, 0)))):
        assert b.dtype == dtype and b.tolist() == a.tolist()
    if dtype == "bfloat16":
        with pytest.raises((BufferError, RuntimeError)):
            np.from_dlpack(a)


def test_graphs():
    a = chx.ones(3).require_grad()
    for x in (a, a * 2):
        for call in (np.from_dlpack, chx.from_dlpack, lambda v: v.__dlpack__(copy=True)):
            with pytest.raises(BufferError, match="x.detach"):
                call(x)
    n = np.from_dlpack(a.detach())
    assert n.tolist() == [1, 1, 1] and a.__dlpack_device__() == (1, 0)
    with chx.no_backprop():
        np.from_dlpack(a * 2)


def test_read_only_memory():
    class Fixed:
        """As of version 1: its tensor says that it must not be written into."""

        def __init__(self, x):
            self.x = x

        def __dlpack_device__(self):
            return (1, 0)

        def __dlpack__(self, max_version=None, **unused):
            return self.x.__dlpack__(max_version=max_version)

    x = np.ones(3)
    x.flags.writeable = False
    if NUMPY < (2, 1):
        with pytest.raises(BufferError):
            chx.from_dlpack(x)
        return
    b = chx.from_dlpack(Fixed(x))
    b[0] = 3
    assert x[0] == 1
    with pytest.raises(BufferError, match="read-only: it cannot be had without a copy"):
        chx.from_dlpack(Fixed(x), copy=False)
    assert chx.from_dlpack(np.ones(3), copy=False).tolist() == [1, 1, 1]


def test_where_it_is_to_be():
    a = chx.array([1.0, 2], device="sim:0")
    b = chx.from_dlpack(a.__dlpack__(dl_device=(1, 0)))
    assert b.device == "native:0" and b.tolist() == [1, 2]
    for options in ({"dl_device": (1, 0), "copy": False}, {"dl_device": (2, 0)}):
        with pytest.raises(BufferError, match="is on sim:0, and is copied to the host alone"):
            a.__dlpack__(**options)
    n = chx.ones(2)
    c = chx.from_dlpack(n.__dlpack__(dl_device=(1, 0)))
    assert chx.shares_memory(n, n[1:]) and not chx.shares_memory(n, chx.ones(2))
    c[0] = 5
    assert n[0].item() == 5
    for wrong in ({"dl_device": 1}, {"max_version": "1.0"}, {"dl_device": (1, "a")}):
        with pytest.raises(TypeError):
            n.__dlpack__(**wrong)
    with pytest.raises(TypeError):
        chx.from_dlpack(n, device=3)


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


def test_opencl():
    try:
        a = chx.array([1.0, 2], device="opencl:0")
    except chx.DeviceError as e:
        pytest.skip(str(e))
    with pytest.raises(TypeError, match="opencl:0"):
        np.asarray(a)
    with pytest.raises(BufferError, match="opencl:0 has no number"):
        a.__dlpack_device__()
    with pytest.raises(Exception, match="(?i)device"):
        np.from_dlpack(a)
    b = chx.from_dlpack(a)  # chx has its memory
    b += 1
    assert b.device == "opencl:0" and a.tolist() == [2, 3] and chx.to_numpy(a).tolist() == [2, 3]
    c = chx.from_dlpack(a.__dlpack__(dl_device=(1, 0)))
    assert c.device == "native:0" and c.tolist() == [2, 3]


def test_a_third_partys_device(tmp_path):
    """The sample plugin's, which is found by CHX_PLUGIN_PATH and has no number in DLPack."""
    cc, top = shutil.which(os.environ.get("CC", "cc").split()[-1]), os.path.join(os.path.dirname(__file__), "..", "..")
    if not cc:
        pytest.skip("there is no C compiler")
    subprocess.check_call([cc, "-shared", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-I", os.path.join(top, "include"), "-o",
                           str(tmp_path / "chx_sample.so"), os.path.join(top, "examples", "plugin", "sample.c"), "-lm"])
    code = """
import chx, numpy as np
a = chx.array([1.0, 2], device="sample:0")
for call in (np.from_dlpack, np.asarray, memoryview, chx.from_dlpack, lambda x: x.__dlpack_device__(), lambda x: x.__dlpack__()):
    try:
        call(a)
    except (BufferError, TypeError) as e:
        assert "sample:0" in str(e) and "native:0" in str(e), e
    else:
        raise AssertionError(call)
b = chx.from_dlpack(a.__dlpack__(dl_device=(1, 0)))
print(b.device, b.tolist(), chx.to_numpy(a).tolist(), (np.exp(a) > 2).device)
"""
    env = dict(os.environ, CHX_PLUGIN_PATH=str(tmp_path))
    r = subprocess.run([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
                       timeout=120)
    assert r.stdout.strip() == "native:0 [1.0, 2.0] [1.0, 2.0] sample:0", r.stdout


def test_refusals():
    with pytest.raises(AttributeError):
        chx.from_dlpack(3)

    class Elsewhere:
        def __dlpack__(self, **unused):
            return 3

    with pytest.raises(BufferError, match="capsule"):
        chx.from_dlpack(Elsewhere())
