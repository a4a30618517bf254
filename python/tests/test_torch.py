# SPDX-License-Identifier: MIT
"""DLPack with PyTorch: shared memory, dtypes, ownership in each order of deletion, gradients, refusals. Skipped without PyTorch."""
import gc
import itertools
import weakref

import numpy as np
import pytest
from conftest import check, rss

import chx

torch = pytest.importorskip("torch")

DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "float16", "bfloat16", "float32", "float64", "complex64", "complex128"]


def values(dtype, shape):
    n = np.arange(int(np.prod(shape))).reshape(shape) % 2
    return chx.array(n.astype(dtype)) if dtype != "bfloat16" else chx.array(n).astype(dtype)


def numbers(t):
    return t.to(torch.float64).tolist() if t.dtype == torch.bfloat16 else t.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_both_ways(dtype):
    for shape in [(3, 4), (), (0, 2), (2, 1, 3)]:
        a = values(dtype, shape)
        t = torch.from_dlpack(a)
        assert t.dtype == getattr(torch, dtype) and tuple(t.shape) == shape and numbers(t) == a.tolist()
        b = chx.from_dlpack(t)
        assert b.dtype == dtype and b.shape == shape and b.tolist() == a.tolist() and b.device == "native:0"
        if a.size:
            assert t.data_ptr() == torch.from_dlpack(b).data_ptr()


def test_a_write_is_seen_on_the_other_side():
    a = chx.zeros((2, 3), dtype="float32")
    t = torch.from_dlpack(a)
    b = chx.from_dlpack(t)
    t[0, 1] = 5
    a[1, 0] = 6
    b += 1
    assert a.tolist() == t.tolist() == b.tolist() == [[1, 6, 1], [7, 1, 1]]


def test_strides():
    a = chx.arange(24, dtype="float32").reshape(2, 3, 4)
    for v in (a.T, a[:, ::2], a[1], a[..., 1:3], a[:, None]):
        t = torch.from_dlpack(v)
        assert t.tolist() == v.tolist() and tuple(s * 4 for s in t.stride()) == v.strides
        t.add_(1)
        assert t.tolist() == v.tolist()
    t = torch.arange(24.0).reshape(2, 3, 4)
    for u in (t.transpose(0, 2), t[:, 1:], t[0, :, ::3], t.expand(2, 2, 3, 4)):
        assert chx.from_dlpack(u).tolist() == u.tolist()
    with pytest.raises(BufferError, match="copied to the host alone"):
        a.__dlpack__(dl_device=(2, 0))
    with pytest.raises(Exception, match="(?i)stride"):  # PyTorch has none below 0
        torch.from_dlpack(a[:, ::-1])


def hold(kinds):
    """Views of one memory, each made of the one before, and a weak reference to what owns it."""
    first = torch.ones(100) if kinds[0] == "t" else chx.ones(100, dtype="float32")
    views = [first]
    for kind in kinds[1:]:
        views.append(torch.from_dlpack(views[-1]) if kind == "t" else chx.from_dlpack(views[-1]))
    return views


@pytest.mark.parametrize("kinds", ["ct", "tc", "ctc", "tct"])
def test_ownership_in_each_order_of_deletion(kinds, used):
    before = used()
    for order in itertools.permutations(range(len(kinds))):
        views = hold(kinds)
        ended = weakref.ref(views[0])
        for k in order:
            views[k][1] = 3.0 + k
            assert [float(v[1]) for v in views if v is not None] == [3.0 + k] * sum(v is not None for v in views)
            views[k] = None
        assert ended() is None
        assert chx.memory_stats("native:0")["used"] == before  # by counts alone, without the collector


def test_many_round_trips_leave_nothing(used):
    a, t = chx.ones(1000, dtype="float32"), torch.ones(1000)

    def trips(n):
        for _ in range(n):
            chx.from_dlpack(torch.from_dlpack(a))
            torch.from_dlpack(chx.from_dlpack(t))

    trips(1000)
    before, bytes_before, objects = used(), rss(), len(gc.get_objects())
    trips(10000)
    assert used() == before and len(gc.get_objects()) <= objects + 10
    assert rss() - bytes_before < 8 << 20  # a block of 4000 bytes a trip would be 40 MB


def test_gradients():
    a = chx.ones(3, dtype="float32").require_grad()
    for x in (a, a * 2):
        with pytest.raises(BufferError, match="detach"):
            torch.from_dlpack(x)
    t = torch.from_dlpack(a.detach())
    t[0] = 4
    assert a.tolist() == [4, 1, 1] and not t.requires_grad
    u = torch.ones(3, requires_grad=True)
    with pytest.raises(BufferError, match="detach"):
        chx.from_dlpack(u)
    assert chx.from_dlpack(u.detach()).tolist() == [1, 1, 1]


def test_a_step_over_both():
    """A value computed by PyTorch goes on in a graph of chx, and its gradient back to PyTorch's."""
    t = torch.tensor([1.0, 2, 3], requires_grad=True)
    y = t * t
    x = chx.from_dlpack(y.detach()).copy().require_grad()
    chx.exp(-x).sum().backward()
    y.backward(torch.from_dlpack(x.grad))
    want = -np.exp(-np.array([1.0, 4, 9])) * np.array([2.0, 4, 6])
    np.testing.assert_allclose(t.grad.numpy(), want, rtol=1e-5)


def test_copies():
    a = chx.ones(3)
    for x in (torch.from_dlpack(a.__dlpack__(copy=True)), chx.from_dlpack(torch.from_dlpack(a), copy=True)):
        x[0] = 9
    assert a.tolist() == [1, 1, 1]
    s = chx.from_dlpack(torch.ones(3), device="sim:0")
    assert s.device == "sim:0" and s.tolist() == [1, 1, 1]
    check(chx.asarray(torch.arange(3)), np.arange(3))


@pytest.mark.parametrize("device", ["sim:0", "opencl:0"])
def test_other_devices_are_refused(device):
    try:
        a = chx.array([1.0, 2], device=device)
    except chx.DeviceError as e:
        pytest.skip(str(e))
    for _ in range(3):  # and nothing is ended twice
        with pytest.raises(BufferError, match=device + " has no number in DLPack"):
            torch.from_dlpack(a)
    assert torch.from_dlpack(a.__dlpack__(dl_device=(1, 0))).tolist() == [1, 2]  # a copy, which is asked for
    assert torch.from_dlpack(a.to("native:0")).tolist() == [1, 2]


def test_what_pytorch_alone_has():
    with pytest.raises(Exception, match="(?i)sparse|layout|dlpack"):
        chx.from_dlpack(torch.ones(2, 2).to_sparse())
    with pytest.raises(BufferError):
        chx.from_dlpack(torch.ones(2, dtype=torch.complex64).conj())


def test_optional_keywords():
    a = chx.ones(3)
    try:
        torch.from_dlpack(torch.ones(1), copy=True)
    except TypeError as e:
        pytest.skip(str(e))
    t = torch.from_dlpack(a, copy=True)
    t[0] = 9
    assert a.tolist() == [1, 1, 1] and torch.from_dlpack(a, device="cpu").data_ptr() == torch.from_dlpack(a).data_ptr()
