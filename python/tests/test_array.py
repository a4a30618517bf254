# SPDX-License-Identifier: MIT
"""chx.ndarray against NumPy's: making, attributes, indexing, views, conversion, repr, pickle."""
import copy
import pickle

import numpy as np
import pytest
from conftest import REAL, check, sample

import chx

SHAPES = [(), (1,), (3,), (2, 3), (0,), (2, 0, 3), (2, 3, 4)]


@pytest.mark.parametrize("dtype", REAL + ["complex64", "complex128"])
def test_from_numpy_and_back(dtype):
    for shape in SHAPES:
        x = sample(dtype, shape, 1)
        a = chx.array(x)
        assert a.dtype == dtype and a.shape == shape and a.ndim == x.ndim and a.size == x.size
        assert a.nbytes == x.nbytes and a.itemsize == x.itemsize and a.device == "native:0" and a.is_contiguous
        assert a.tolist() == x.tolist()
        check(chx.array(x.T), x.T)
        check(chx.array(x.tolist(), dtype), x) if x.size else None


def test_lists():
    for values in [1, True, 2.5, [1, 2], [True, False], [1, 2.5], [[1, 2], [3, 4]], [], [[], []], (1, (2)), range(3), [1 << 63]]:
        check(chx.array(values), np.array(values))
    check(chx.array([np.arange(3), [4, 5, 6]]), np.array([[0, 1, 2], [4, 5, 6]]))
    check(chx.array([chx.arange(3), chx.arange(3)]), np.array([[0, 1, 2]] * 2))
    assert chx.array([1, 2j]).dtype == "complex128"
    check(chx.array([1.5, 2], dtype="float16"), np.array([1.5, 2], "float16"))
    assert chx.array([1.00390625, 3], dtype=chx.bfloat16).tolist() == [1.0, 3.0]


def test_making():
    for name in ("zeros", "ones"):
        for dtype in REAL:
            check(getattr(chx, name)((2, 3), dtype), getattr(np, name)((2, 3), dtype))
        check(getattr(chx, name)(3), getattr(np, name)(3))
        check(getattr(chx, name + "_like")(chx.ones((2, 1), "int16")), getattr(np, name)((2, 1), "int16"))
    check(chx.full((2, 2), 7), np.full((2, 2), 7))
    check(chx.full((2, 2), 7, dtype="float32"), np.full((2, 2), 7, dtype="float32"))
    check(chx.full_like(chx.ones(3, "int8"), 5), np.full(3, 5, "int8"))
    assert chx.empty((2, 3), "int32").shape == (2, 3) and chx.empty_like(chx.ones(4)).dtype == "float64"
    for args in [(5,), (2, 7), (2, 9, 3), (5, 0, -2), (0,), (3, 1), (0.5, 3), (0, 1, 0.25)]:
        check(chx.arange(*args), np.arange(*args))
    check(chx.arange(4, dtype="float32"), np.arange(4, dtype="float32"))


def test_attributes():
    x = sample("float32", (2, 3, 4), 1)
    a = chx.array(x)
    for i in [slice(None), (slice(None), 1), (Ellipsis, slice(None, None, -2))]:
        assert a[i].strides == x[i].strides
        check(a[i].T, x[i].T)
    assert a.T.T.strides == a.strides and not a.T.is_contiguous and len(a) == 2
    with pytest.raises(AttributeError):
        a.nosuch = 1
    assert hash(a) == hash(a) and a in {a: 1} and hash(a) != hash(chx.array(x))


KEYS = [0, 1, -1, -2, np.int64(1), slice(None), slice(1, None), slice(None, None, -1), slice(5, 0, -2), slice(3, 1), Ellipsis, None,
        (0, 1), (0, 1, 2), (slice(None), 1), (Ellipsis, 1), (1, Ellipsis), (0, Ellipsis, slice(None, 2)), (None, 0), (0, None, 1),
        (slice(None), None, slice(None, None, 2)), (Ellipsis, None), (), (slice(-2, None), slice(None, -1)), (0, slice(None), -1)]
ARRAYS = [[0, 1], [1, 1, 0], [-1], [[0, 1], [1, 0]], [], np.array([1, 0]), (slice(None), [2, 0]), (Ellipsis, [3, 3, 1]), ([1, 0], Ellipsis),
          (None, [1, 0]), (0, [1, 2]), (0, slice(None), [1, 2]), ([0, 1], slice(None), 2), (slice(None), [0, 2], None), np.array(1),
          (slice(None, None, -1), [[0], [1]])]


@pytest.mark.parametrize("key", KEYS + ARRAYS, ids=str)
def test_indexing(key):
    x = sample("int32", (2, 3, 4), 1, -99, 99)
    a = chx.array(x)
    check(a[key], x[key])
    if not any(isinstance(k, (list, np.ndarray)) for k in (key if isinstance(key, tuple) else (key,))):
        view = a[key]
        view[...] = 7  # a view: the array sees it
        x[key] = 7
        check(a, x)
        a[key] = np.full(x[key].shape, 3)
        x[key] = 3
        check(a, x)


def test_index_by_array_of_chx():
    x = sample("float32", (5, 2), 1)
    i = np.array([[4, 0], [-1, 2]], "int32")
    check(chx.array(x)[chx.array(i)], x[i])


@pytest.mark.parametrize("call,kind,words", [
    (lambda a: a.T.view("float64"), ValueError, "dense last axis"), (lambda a: a.view("float64"), ValueError, "f32 of shape"),
    (lambda a: a[0, 0].view("int8"), ValueError, "view"), (lambda a: a.flags["X"], KeyError, "'X'"),
    (lambda a: a.flags.owndata, AttributeError, "owndata"), (lambda a: setattr(a.flags, "writeable", False), AttributeError, "writeable"),
    (lambda a: setattr(a.require_grad(), "shape", (3, 2)), ValueError, "graph"),
    (lambda a: setattr(a, "shape", (4, 2)), ValueError, "reshape"),
    (lambda a: setattr(a.T, "shape", (6,)), AttributeError, "copy"), (lambda a: a.item(9), IndexError, "index 9"),
    (lambda a: a.item(0, 0, 0), IndexError, "too many"), (lambda a: a.ravel("K"), ValueError, "'K'"),
    (lambda a: a.view("nosuch"), TypeError, "nosuch"),
    (lambda a: chx.array([1j]) + 1, TypeError, "add"), (lambda a: chx.array([1j]).conj(), TypeError, "complex128"),
    (lambda a: a[0].mT, ValueError, "mT"),
])
def test_layout_errors(call, kind, words):
    with pytest.raises(kind, match=words):
        call(chx.ones((2, 3), "float32"))


def test_parts_of_complex_numbers_are_views():
    a = chx.array([[1 + 2j, 3], [4, 5j]], "complex64")
    a.real[...] = 7
    a.T.imag[0] = 1
    assert a.tolist() == [[7 + 1j, 7], [7 + 1j, 7 + 5j]] and a.real.dtype == "float32"


def test_what_is_written_is_read_first():
    x = np.arange(24.0).reshape(4, 6)
    for key, value in [(slice(1, None), slice(None, -1)), (slice(None), slice(None, None, -1)), ([3, 1, 0], slice(0, 3)),
                       (x[:, 0] > 6, slice(0, 2)), ((slice(None), [0, 1]), (slice(None), slice(1, 3))), ((0, 0), (3, 3))]:
        a, y = chx.array(x), x.copy()
        y[key] = x[value]
        a[key] = a[value]
        check(a, y)


def test_few_places_of_many():
    x = sample("float32", (200, 3), 1)
    for key in ([5, 199, -3], (slice(None, None, -1), [1]), ([3, 3, 7], slice(1, None)), ([[0], [9]], [0, 2]), np.arange(200) == 77):
        for value in (2, np.asarray(x[key]) * 3, sample("float32", x[key].shape[-1:], 5)):
            a, y = chx.array(x), x.copy()
            y[key] = value
            a[key] = value
            check(a, y)


@pytest.mark.parametrize("dtype", REAL + ["bfloat16"])
def test_writing_by_arrays_casts(dtype):
    a = chx.zeros((3, 4), dtype)
    a[a == 0] = 1
    a[[0, 2], [1, 3]] = [0, 0]
    assert a.dtype == dtype and a.astype("float64").sum().item() == 10


def test_gradients_flow_through_what_arrays_pick():
    x = sample("float64", (3, 4, 2), 1)
    for key in [x[..., 0] > 0, ([2, 0, 2], slice(None), [1, 1, 0]), (slice(None), [[0, 3], [3, 3]]), (None, x[:, 0, 0] > 0, 1), x > 1]:
        leaf = chx.array(x).require_grad()
        weights = np.arange(1.0, x[key].size + 1).reshape(x[key].shape)
        (leaf[key] * weights).sum().backward()
        want = np.zeros(x.shape)
        np.add.at(want, key, weights)
        check(leaf.grad, want)
        with pytest.raises(ValueError, match="graph"):
            leaf[key] = 1


@pytest.mark.parametrize("device", ["sim:0", "ref:0"])
def test_arrays_as_indices_on_other_devices(device):
    x = sample("float32", (4, 5), 1)
    a = chx.array(x, device=device)
    for key in (x > 0, [2, -1], ([0, 1], [3, 4]), (slice(None), np.array([True, False, True, True, False])), ([[0], [3]], [1, 2])):
        y = a[key]
        assert y.device == device
        check(y.to("native:0"), x[key])
        b, z = a.copy(), x.copy()
        b[key] = 2
        z[key] = 2
        b[key] = y * 3
        z[key] = x[key] * 3
        check(b.to("native:0"), z)
    check(a[a > 0].to("native:0"), x[x > 0])
    with pytest.raises(chx.DeviceError, match=device + ".*native:0"):
        a[chx.array([0])]


def test_index_broadcasts_and_casts():
    x = np.zeros((3, 4), "float32")
    a = chx.zeros((3, 4), "float32")
    for key, value in [(0, 1), (slice(1, 3), 2.5), ((slice(None), 0), [1, 2, 3]), (1, np.arange(4)), ((2, 3), True), (Ellipsis, np.float64(4))]:
        x[key] = value
        a[key] = value
        check(a, x)
    a[0] += 5
    x[0] += 5
    check(a, x)
    a.fill(2)
    assert a.sum().item() == 24


@pytest.mark.parametrize("call,kind,words", [
    (lambda a: a[2], IndexError, "index 2 is out of bounds for axis 0 with size 2"),
    (lambda a: a[0, -4], IndexError, "index -4 is out of bounds for axis 1 with size 3"),
    (lambda a: a[0, 0, 0], IndexError, "too many indices"),
    (lambda a: a[..., ...], IndexError, "ellipsis"),
    (lambda a: a["x"], IndexError, "type str"),
    (lambda a: a[1.5], IndexError, "type float"),
    (lambda a: a[[0, 2]], IndexError, "index"),
    (lambda a: a[[0.5]], IndexError, "integers"),
    (lambda a: a[[True]], IndexError, "axis 0"),
    (lambda a: a[:, [True, False]], IndexError, "length 2 along axis 1"),
    (lambda a: a[[0, 1], [1, 3]], IndexError, "index 3 .* axis 1"),
    (lambda a: a[[0, 1], [1, 2, 0]], IndexError, "shape mismatch"),
    (lambda a: a[[[0]], [0], [0]], IndexError, "too many"),
    (lambda a: a.__setitem__([0, 2], 1), IndexError, "index 2 .* axis 0"),
    (lambda a: a.__setitem__(a > 0, [1, 2, 3]), ValueError, "shape mismatch"),
    (lambda a: a.__setitem__([0.5], 1), IndexError, "integers or bools"),
    (lambda a: a.__setitem__(0, [1, 2]), ValueError, "broadcast"),
    (lambda a: a.__setitem__(0, "x"), TypeError, "type str"),
    (lambda a: a.__setitem__(5, 1), IndexError, "bounds"),
    (lambda a: a.__delitem__(0), ValueError, "deleted"),
    (lambda a: a.astype("int8").__setitem__(0, 300), OverflowError, "int8"),
    (lambda a: a.astype("nosuch"), TypeError, "nosuch"),
    (lambda a: a.transpose(0), ValueError, "axes"),
    (lambda a: a.reshape(), TypeError, "shape"),
    (lambda a: a.reshape(-1, -1), ValueError, "reshape"),
    (lambda a: a.to(3), TypeError, "device"),
    (lambda a: chx.array([], "float32").max(), ValueError, "amax"),
])
def test_errors(call, kind, words):
    with pytest.raises(kind, match=words):
        call(chx.array([[1, 2, 3], [4, 5, 6]]))


def test_views_alias():
    a = chx.zeros((2, 3, 4))
    for f in [lambda a: a.reshape(6, 4), lambda a: a.reshape((4, -1)), lambda a: a.transpose(2, 0, 1), lambda a: a.T, lambda a: a.swapaxes(0, 2),
              lambda a: a[:, 1], lambda a: a[..., ::-2], lambda a: a.ravel(), lambda a: a[0][None], lambda a: a.detach(), chx.squeeze]:
        a.fill(0)
        f(a)[...] = 1
        assert a.max().item() == 1
    a.fill(0)
    for f in [lambda a: a.copy(), lambda a: a.flatten(), copy.copy, copy.deepcopy, lambda a: a.T.reshape(24), lambda a: a.astype("float64"),
              lambda a: a[[0, 1]], lambda a: +a, chx.array, lambda a: pickle.loads(pickle.dumps(a))]:
        f(a)[...] = 1
        assert a.max().item() == 0
    assert a.astype("float64", copy=False) is a and chx.asarray(a) is a and a.to("native:0") is a and a.contiguous() is a


def test_methods():
    x = sample("float32", (2, 3, 4), 1)
    a = chx.array(x)
    check(a.sum(), x.sum(), 16)
    check(a.mean(axis=(0, 2), keepdims=True), x.mean(axis=(0, 2), keepdims=True), 16)
    check(a.max(1), x.max(1))
    check(a.argmin(axis=0), x.argmin(axis=0))
    check(a.prod(), x.prod(), 64)
    check((a > 0).any(axis=2), (x > 0).any(axis=2))
    check((a > 0).all(), (x > 0).all())
    check(a.cumsum(axis=1), x.cumsum(axis=1), 16)
    check(a.take([1, 0], axis=2), x.take([1, 0], axis=2))
    check(a.clip(-1, 1), x.clip(np.float32(-1), np.float32(1)))
    check(a[:1].squeeze(), x[0])
    check(a.reshape([4, 6]), x.reshape(4, 6))
    check(a.transpose((1, 0, 2)), x.transpose(1, 0, 2))
    check(a.swapaxes(-1, 0), x.swapaxes(-1, 0))
    check(a.flatten(), x.flatten())
    for dtype in REAL:
        check(a.astype(dtype if dtype[0] != "u" else "int32"), x.astype(dtype if dtype[0] != "u" else "int32"))
    assert [row.tolist() for row in a] == x.tolist() and x[1, 2, 3] in a and 99 not in a


def test_conversion():
    assert float(chx.array(2.5)) == 2.5 and int(chx.array([3.7])) == 3 and bool(chx.array([[0]])) is False
    assert [10, 20, 30][chx.array(1)] == 20 and range(9)[chx.array(4, "uint8")] == 4
    with pytest.raises(TypeError):
        [1, 2][chx.array(1.0)]
    assert chx.array(1 << 63).item() == 1 << 63 and chx.array(1 + 2j).item() == 1 + 2j
    for dtype in ("float16", "float32"):
        for v in (0.1, 1e-7, 6e4, -2.5, float("inf")):
            assert chx.array(v, dtype).item() == float(np.dtype(dtype).type(v))


def test_memory_is_shared_with_numpy():
    x = np.arange(12, dtype="float32").reshape(3, 4)
    for view in (x, x.T, x[::2, ::-1], x[1]):
        a = chx.asarray(view)
        check(a, view)
        a[...] = a * 2
        check(a, view)
        back = np.asarray(a)
        assert np.shares_memory(back, x)
        back[...] = 1
        assert (a == 1).all()
    fixed = np.arange(3.0)
    fixed.flags.writeable = False
    a = chx.asarray(fixed)  # what may not be written into is copied
    a[0] = 9
    assert fixed[0] == 0
    b = np.frombuffer(bytes(9), "u1")[1:].view("f8")  # not aligned: copied, too
    check(chx.asarray(b), b)
    for bad in (np.zeros(2, "datetime64[s]"), np.zeros(2, ">f4"), np.array(["a"]), np.zeros(2, "longdouble")):
        with pytest.raises((TypeError, ValueError)):
            chx.array(bad)
    with pytest.raises(ValueError, match="copy"):
        chx.array(fixed, copy=False)


def test_array_protocol():
    a = chx.array([1.0, 2])
    assert np.asarray(a).dtype == "float64" and np.asarray(a, dtype="float32").tolist() == [1, 2]
    np.array(a)[0] = 5
    assert a[0].item() == 1
    assert a.__array__(copy=True).tolist() == [1, 2]
    with pytest.raises(ValueError, match="copy"):
        a.__array__("float32", copy=False)
    m = memoryview(chx.array([[1, 2], [3, 4]], "int16"))
    assert m.tolist() == [[1, 2], [3, 4]] and m.format == "h" and not m.readonly
    with pytest.raises(BufferError, match="bfloat16"):
        memoryview(chx.ones(2, "bfloat16"))
    with pytest.raises(BufferError, match="contiguous"):
        np.ndarray(3, "f8", buffer=chx.ones((2, 3))[:, ::2])
    s = chx.array([1.0, 2], device="sim:0")
    with pytest.raises(TypeError, match="sim:0|host"):
        np.asarray(s)
    assert chx.to_numpy(s).tolist() == [1, 2]


def test_dtypes():
    f = chx.float32
    assert f == "float32" and f == np.float32 and f == np.dtype("f4") and f == "f4" and "float32" == f and f != "float64" and f != 3
    assert repr(f) == "chx.float32" and str(f) == "float32" and f.itemsize == 4 and f.kind == "f" and hash(f) == hash("float32")
    assert chx.dtype("i8") == "int64" and chx.dtype(int) == "int64" and chx.dtype(np.dtype("uint8")) == "uint8" and chx.dtype(bool) is chx.bool_
    assert np.zeros(2, chx.float16).dtype == "float16" and pickle.loads(pickle.dumps(f)) is f
    for bad in ("f32", "int7", np.dtype(">f4"), None, 3, "", "O"):
        with pytest.raises(TypeError):
            chx.dtype(bad)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int8", "uint8", "bool", "complex128", "complex64"])
def test_repr(dtype):
    numpy2 = tuple(int(n) for n in np.__version__.split(".")[:2]) >= (2, 3)
    for seed, shape in enumerate([(), (1,), (3,), (20,), (2, 3), (2, 2, 3), (0,), (0, 3), (1001,), (30, 40), (7, 7, 30)]):
        for scale in (1, 1e-3, 1e10) if dtype in ("float64", "complex128") else (1,):
            factor = scale * (1j + 2 if dtype[0] == "c" else 1)
            x = np.asarray(np.random.default_rng(seed).standard_normal(shape) * factor, order="C")
            x = np.array(x, ndmin=0).astype(dtype).reshape(shape)
            if numpy2 or (x.size <= 1000 and dtype != "float16"):
                assert repr(chx.array(x)) == repr(x)
            if shape:
                assert str(chx.array(x)) == str(x)
    for v in ([1.0, np.nan, 3], [np.inf, -np.inf, 1.5], [0.0, -0.0], [1e-5, 1], [1.123456789, 2], [1e16], [100.0, 2.5, np.nan], [1e-4]):
        if dtype[0] == "f" and (dtype == "float64" or numpy2 and dtype != "float16"):
            assert repr(chx.array(np.array(v, dtype))) == repr(np.array(v, dtype))


def test_repr_of_what_numpy_lacks():
    assert repr(chx.array([1.5, 2], "bfloat16")) == "array([1.5, 2. ], dtype=bfloat16)"
    assert repr(chx.ones(2, device="sim:0")) == "array([1., 1.], device='sim:0')"


def test_pickle():
    for a in (chx.array([[1, 2], [3, 4]], "int16").T, chx.array(1.5), chx.zeros((0, 3)), chx.ones(2, device="sim:0"), chx.ones(3, "bfloat16")):
        b = pickle.loads(pickle.dumps(a))
        assert b.dtype == a.dtype and b.shape == a.shape and b.device == a.device and b.tolist() == a.tolist()
    leaf = pickle.loads(pickle.dumps(chx.ones(2).require_grad()))
    assert leaf.is_grad_required() and copy.deepcopy(leaf).is_grad_required()
