# SPDX-License-Identifier: MIT
"""The buffer protocol both ways, and what pickles and copies an array: values, graphs, other processes."""
import array
import copy
import ctypes
import hashlib
import multiprocessing
import pickle
import subprocess
import sys

import numpy as np
import pytest
from conftest import REAL, check, sample

import chx

# ---- from buffers --------------------------------------------------------------------------------------------------------------


def test_read_only_buffers_are_copied():
    fixed = np.arange(3.0)
    fixed.flags.writeable = False
    a = chx.asarray(fixed)
    a[0] = 9
    assert fixed[0] == 0
    check(fixed + a, np.array([9.0, 2, 4]))
    with pytest.raises(ValueError, match="read-only"):
        chx.array(fixed, copy=False)


@pytest.mark.parametrize("dtype", [">f8", ">i4", ">u2", ">c16"])
def test_other_byte_orders_are_refused_by_name(dtype):
    x = np.ones(3, dtype)
    with pytest.raises(TypeError, match=">"):
        chx.asarray(x)
    with pytest.raises(TypeError, match=">"):
        chx.ones(3) + x
    with pytest.raises(TypeError, match="dtype"):
        chx.ones(3, dtype=np.dtype(dtype))
    check(chx.asarray(x.astype(np.dtype(dtype).newbyteorder("="))), np.ones(3, dtype[1:]))


@pytest.mark.parametrize("dtype, text", [([("a", "f4"), ("b", "i4")], "T{"), ("S3", "3s"), ("U2", "2w"), ("O", "O"), ("f4,f4", "T{")])
def test_structured_and_other_dtypes_are_refused_by_name(dtype, text):
    with pytest.raises(TypeError, match="format '.*%s.* have no dtype of chx" % text.replace("{", "[{]")):
        chx.asarray(np.zeros(2, dtype))


def test_dates_are_refused():
    with pytest.raises((TypeError, ValueError, BufferError)):
        chx.asarray(np.zeros(2, "M8[s]"))


def test_what_is_no_numpy_array():
    x = array.array("d", [1, 2, 3])
    a = chx.asarray(x)
    a[0] = 5
    assert x[0] == 5
    check(chx.asarray(memoryview(x).cast("B").cast("d")), np.array([5.0, 2, 3]))
    with pytest.raises(BufferError):  # the array holds its memory
        x.append(4)
    c = (ctypes.c_float * 2)(1, 2)
    check(chx.asarray(c), np.array([1, 2], "float32"))
    check(chx.asarray(memoryview(bytearray(b"\1\2"))), np.array([1, 2], "uint8"))
    with pytest.raises(TypeError):
        chx.asarray(b"12")
    with pytest.raises(ValueError, match="rank is 17"):
        chx.asarray(np.zeros((1,) * 17))


def test_layouts_that_are_no_array_s():
    raw = np.zeros(25, "uint8")
    odd = raw[1:].view("f8")  # not aligned
    odd[:] = 2
    a = chx.asarray(odd)
    check(a, np.full(3, 2.0))
    a[0] = 1
    assert odd[0] == 2
    with pytest.raises(ValueError, match="layout"):
        chx.array(odd, copy=False)
    fields = np.zeros(3, [("a", "i2"), ("b", "f8")])["b"]  # strides that are no multiples of 8
    check(chx.asarray(fields), np.zeros(3))


# ---- to buffers ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", REAL + ["complex64", "complex128"])
def test_memoryview(dtype):
    x = sample(dtype, (2, 3), 1)
    a = chx.array(x)
    for v in (a, a.T, a[:, ::-1], a[1], a[0, 0], a[:0]):
        m = memoryview(v)
        assert (m.shape, m.itemsize, m.ndim, m.nbytes) == (v.shape, v.itemsize, v.ndim, v.nbytes) and not m.readonly
        assert v.size == 0 or m.strides == v.strides
        assert np.asarray(m).tolist() == v.tolist() and np.asarray(m).dtype == v.dtype


def test_a_write_through_a_view_is_seen():
    a = chx.zeros((2, 3))
    m = memoryview(a)
    m[1, 2] = 7
    a[0, 0] = 5
    assert a.tolist() == [[5, 0, 0], [0, 0, 7]] and m[0, 0] == 5
    del a
    assert m[1, 2] == 7  # it holds the array


def test_consumers_that_want_dense_memory():
    a = chx.arange(6).reshape(2, 3)
    assert bytes(a) == np.arange(6).tobytes() and bytes(a.T) == np.asarray(a).T.tobytes()
    ctypes.c_int64.from_buffer(a).value = 9
    assert a[0, 0].item() == 9
    with pytest.raises(BufferError, match="not contiguous"):
        hashlib.md5(a[0, ::2])
    assert hashlib.md5(a[0]).digest() == hashlib.md5(bytes(a[0])).digest()
    with pytest.raises(BufferError, match="bfloat16"):
        memoryview(a.astype("bfloat16"))
    with pytest.raises(BufferError, match="is on sim:0"):
        memoryview(a.to("sim:0"))


# ---- pickle and copy -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(protocol):
    half = chx.array([1, 0.5], dtype="bfloat16")
    for a in (chx.arange(6).reshape(2, 3).T, chx.array(2.5), chx.zeros((0, 3)), half, chx.ones(2, device="sim:0")):
        b = pickle.loads(pickle.dumps(a, protocol))
        assert b.tolist() == a.tolist() and (b.dtype, b.shape, b.device) == (a.dtype, a.shape, a.device)
        assert not b.is_grad_required() and not chx.shares_memory(a, b)
    assert pickle.loads(pickle.dumps(chx.float32, protocol)) is chx.float32 and pickle.loads(pickle.dumps(chx.tanh, protocol)) is chx.tanh


def test_pickle_of_what_is_in_a_graph():
    leaf = chx.ones(2).require_grad()
    y = leaf * 2
    b, c = pickle.loads(pickle.dumps((leaf, y)))
    assert b.is_grad_required() and b.grad is None
    (b * 3).sum().backward()
    assert b.grad.tolist() == [3, 3] and leaf.grad is None
    assert c.tolist() == [2, 2] and c.is_grad_required() == y.is_grad_required()  # a leaf of its own: its past is not taken along
    c.sum().backward()
    assert leaf.grad is None


def test_pickle_of_a_device_that_is_not_there():
    state = pickle.dumps(chx.ones(2, device="sim:0")).replace(b"sim:0", b"sim:9")
    with pytest.raises(chx.DeviceError, match="sim:9"):
        pickle.loads(state)
    make = chx.ones(2).__reduce__()[0]
    for wrong in (("float32", (3,), b"1234", "native:0", 0), ("float99", (1,), b"1234", "native:0", 0)):
        with pytest.raises((ValueError, TypeError)):
            make(*wrong)


def test_pickle_to_another_process():
    code = """
import pickle, sys, chx
a = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps((a * 2, "numpy" in sys.modules)))
"""
    r = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(chx.arange(4.0)), stdout=subprocess.PIPE, timeout=120)
    b, numpy = pickle.loads(r.stdout)
    assert b.tolist() == [0, 2, 4, 6] and not numpy


def twice(a):
    return a * 2


def test_arrays_of_a_pool_of_processes():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert [b.tolist() for b in pool.map(twice, [chx.ones(2), chx.arange(3)])] == [[2, 2], [0, 2, 4]]


def test_copy():
    a = chx.arange(6.0).reshape(2, 3).require_grad()
    b = copy.copy(a.T)
    (b * b).sum().backward()  # copy.copy is an operator, as x.copy()
    check(a.grad, 2 * np.arange(6.0).reshape(2, 3))
    assert not chx.shares_memory(a, b) and b.is_contiguous


def test_deepcopy():
    leaf = chx.ones(3).require_grad()
    y = leaf * 2
    model = {"w": leaf, "again": leaf, "y": y, "deep": [y, chx.ones(2, device="sim:0")]}
    twin = copy.deepcopy(model)
    assert twin["w"] is twin["again"] and twin["w"] is not leaf and twin["y"] is twin["deep"][0]
    assert twin["w"].is_grad_required() and twin["deep"][1].device == "sim:0"
    (twin["w"] * 3).sum().backward()
    assert twin["w"].grad.tolist() == [3, 3, 3] and leaf.grad is None
    twin["y"].sum().backward()
    assert leaf.grad is None  # the copy has no past
    twin["w"].detach()[0] = 9
    assert leaf.tolist() == [1, 1, 1]
