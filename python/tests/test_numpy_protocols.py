# SPDX-License-Identifier: MIT
"""NumPy's ufuncs and functions called with arrays of chx: chx's of that meaning, or a TypeError that names what is missing."""
import sys

import numpy as np
import pytest
from conftest import check, sample

import chx

X, Y = sample("float64", (3, 4), 1, 0.1, 0.9), sample("float64", (3, 4), 2, 0.1, 0.9)
UFUNCS = sorted({getattr(np, n).__name__ for n in dir(np) if isinstance(getattr(np, n), np.ufunc)})
INTS = {"bitwise_and", "bitwise_or", "bitwise_xor", "invert", "left_shift", "right_shift", "gcd", "lcm", "bitwise_count"}
OTHER = {"isnat", "ldexp", "matmul", "vecdot", "matvec", "vecmat"}  # other operands


@pytest.mark.parametrize("name", sorted(set(UFUNCS) - OTHER))
def test_each_ufunc(name):
    ufunc = getattr(np, name)
    operands = [sample("int32", (3, 4), k, 1, 5) for k in range(ufunc.nin)] if name in INTS else [X, Y][: ufunc.nin]
    if name == "arccosh":
        operands = [X + 1]
    arrays = [chx.array(x) for x in operands]
    if name != "divmod" and name != "positive" and not hasattr(chx, name):
        with pytest.raises(TypeError, match="numpy.%s: chx has no operator '%s'" % (name, name)):
            ufunc(*arrays)
        return
    want, got = ufunc(*operands), ufunc(*arrays)
    for g, w in zip(got, want) if ufunc.nout > 1 else [(got, want)]:
        check(g, w, 64)
    for mixed in ([arrays[0]] + operands[1:], operands[:-1] + arrays[-1:]):
        if ufunc.nout == 1:
            check(ufunc(*mixed), want, 64)


def test_the_ufuncs_that_matter_are_there():
    for name in "add subtract multiply divide power exp log tanh sqrt maximum matmul equal logical_and isfinite arctan2 floor".split():
        assert isinstance(getattr(np, name)(*[chx.array(X[:, :3])] * getattr(np, name).nin), chx.ndarray), name


REDUCTIONS = ["add", "multiply", "maximum", "minimum", "logical_and", "logical_or", "logaddexp"]


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduce(name):
    ufunc, a = getattr(np, name), chx.array(X)
    for options in ({}, {"axis": 1}, {"axis": None}, {"axis": (0, 1), "keepdims": True}):
        if name != "logaddexp" or not isinstance(options.get("axis"), (tuple, type(None))):  # NumPy has one axis there
            check(ufunc.reduce(a, **options), ufunc.reduce(X, **options), 64)
    check(np.add.reduce(a, 1, "float32"), np.add.reduce(X, 1, "float32"), 64)
    with pytest.raises(TypeError, match="initial= is not taken"):
        np.add.reduce(a, initial=3)


@pytest.mark.parametrize("name", ["add", "multiply", "maximum", "minimum"])
def test_accumulate(name):
    ufunc = getattr(np, name)
    check(ufunc.accumulate(chx.array(X)), ufunc.accumulate(X), 64)
    check(ufunc.accumulate(chx.array(X), axis=1), ufunc.accumulate(X, axis=1), 64)


def test_outer_and_out():
    a = chx.array(X)
    check(np.subtract.outer(a, Y[0]), np.subtract.outer(X, Y[0]))
    y = chx.empty((3, 4))
    assert np.add(a, 1, out=y) is y
    check(y, X + 1)
    total = chx.empty((4,))
    assert np.add.reduce(a, out=total) is total
    check(total, X.sum(axis=0), 16)


def test_what_a_ufunc_refuses():
    a = chx.array(X)
    for call, text in [
        (lambda: np.add(a, a, where=X > 0), "where= is not taken"),
        (lambda: np.add(a, a, dtype="float32"), "dtype= is not taken"),
        (lambda: np.add(a, a, casting="unsafe"), "casting= is not taken"),
        (lambda: np.add.at(a, [0], 1), "numpy.add.at: chx has no method 'at' of the operator 'add'"),
        (lambda: np.add.reduceat(a, [0]), "'reduceat'"),
        (lambda: np.hypot.reduce(a), "numpy.hypot.reduce"),
        (lambda: np.add(X, a, out=np.empty((3, 4))), "out is of type ndarray"),
        (lambda: np.frompyfunc(lambda v: v, 1, 1)(a), "chx has no operator"),
    ]:
        with pytest.raises(TypeError, match=text):
            call()

    def tanh(v):
        return v

    with pytest.raises(TypeError, match="chx has no operator"):  # it is not NumPy's
        np.frompyfunc(tanh, 1, 1)(a)


def test_expressions_with_numpy_first():
    a = chx.array(X)
    check(Y + a, Y + X)
    check(Y @ a.T, Y @ X.T, 16)
    check(Y > a, Y > X)
    check(2 ** a, 2 ** X)
    for scalar in (np.float32(2), np.float64(2), np.int64(2)):
        check(scalar * a, scalar * X)
        check(a - scalar, X - scalar)
    check(divmod(Y, a)[0], divmod(Y, X)[0])
    n = Y.copy()
    with pytest.raises(TypeError, match="out is of type ndarray"):
        n += a
    np.testing.assert_array_equal(n, Y)
    a += Y
    check(a, X + Y)
    n[...] = a
    np.testing.assert_array_equal(n, X + Y)


def test_gradients_go_through():
    x = chx.array(X).require_grad()
    np.sum(np.multiply(np.exp(x), Y)).backward()
    check(x.grad, np.exp(X) * Y, 16)


def test_other_devices():
    s = chx.array(X, device="sim:0")
    for y in (np.tanh(s), np.add(s, [1.0, 2, 3, 4]), np.sum(s, axis=0), np.zeros_like(s), np.concatenate([s, s])):
        assert y.device == "sim:0"
    with pytest.raises(chx.DeviceError, match="sim:0"):
        np.add(s, Y)
    assert chx.get_default_device() == "native:0"


FUNCTIONS = [
    lambda x: np.sum(x),
    lambda x: np.sum(x, 0),
    lambda x: np.sum(a=x, axis=1, keepdims=True),
    lambda x: np.sum(x, axis=0, dtype="float32"),
    lambda x: np.mean(x, 0, None, None, True),
    lambda x: np.prod(x, axis=(0, 1)),
    lambda x: np.max(x, axis=1),
    lambda x: np.amin(x),
    lambda x: np.all(x),
    lambda x: np.any(x, 1),
    lambda x: np.argmax(x, 1),
    lambda x: np.argmin(x),
    lambda x: np.cumsum(x),
    lambda x: np.cumsum(x, 1),
    lambda x: np.cumprod(x, axis=0),
    lambda x: np.sort(x),
    lambda x: np.sort(x, 0),
    lambda x: np.argsort(x, axis=0),
    lambda x: np.reshape(x, (2, 6)),
    lambda x: np.reshape(x, -1, order="C"),
    lambda x: np.transpose(x),
    lambda x: np.transpose(x, (1, 0)),
    lambda x: np.squeeze(np.reshape(x, (3, 1, 4))),
    lambda x: np.concatenate([x, Y]),
    lambda x: np.concatenate((Y, x), 1),
    lambda x: np.stack([x, x], axis=1),
    lambda x: np.where(Y > 0.5, x, 0),
    lambda x: np.clip(x, 0.3, 0.6),
    lambda x: np.clip(x, a_min=0.3, a_max=Y),
    lambda x: np.take(x, [0, 5]),
    lambda x: np.take(x, [2, 0], axis=1),
    lambda x: np.take_along_axis(x, np.argsort(X, 0), 0),
    lambda x: np.pad(x, 1),
    lambda x: np.pad(x, ((0, 1), (2, 0)), constant_values=3),
    lambda x: np.flip(x),
    lambda x: np.flip(x, 1),
    lambda x: np.broadcast_to(x, (2, 3, 4)),
    lambda x: np.copy(x),
    lambda x: np.zeros_like(x),
    lambda x: np.ones_like(x, dtype="int32"),
    lambda x: np.full_like(x, 7),
    lambda x: np.reshape(x, 12, order="F"),
    lambda x: np.var(x, axis=1),
    lambda x: np.roll(x, 1, axis=0),
]


@pytest.mark.parametrize("k", range(len(FUNCTIONS)))
def test_functions(k):
    check(FUNCTIONS[k](chx.array(X)), FUNCTIONS[k](X), 64)


def test_functions_that_give_no_array():
    a = chx.array(X)
    assert np.shape(a) == (3, 4) and np.ndim(a) == 2 and np.size(a) == 12 and np.size(a, 1) == 4
    assert np.result_type(a, np.float32) == "float64"
    if np.lib.NumpyVersion(np.__version__) >= "1.20.0":
        b = np.full((2,), 3, like=a)
        assert isinstance(b, chx.ndarray) and b.tolist() == [3, 3]


def test_what_functions_refuse():
    a = chx.array(X)
    for call, text in [
        (lambda: np.polyfit(a, a, 1), "numpy.polyfit: chx has no function 'polyfit'"),
        (lambda: np.fft.fft(a), "numpy.fft.fft: chx has no function 'fft.fft'"),
        (lambda: np.linalg.svd(a), "linalg.svd"),
        (lambda: np.sum(a, where=X > 0), "where"),
        (lambda: np.pad(a, 1, "edge"), "mode is 'edge'"),
    ]:
        with pytest.raises(TypeError, match=text):
            call()


def test_another_types_override_goes_first():
    class Other:
        __array_ufunc__ = None

        def __radd__(self, x):
            return "other's"

        def __array_function__(self, func, types, args, kwargs):
            return "other's"

    a = chx.array(X)
    assert a + Other() == "other's" and np.concatenate([a, Other()]) == "other's"


def test_scipy_special():
    special = pytest.importorskip("scipy.special")
    check(special.erf(chx.array(X)), special.erf(X), 16)
    check(special.expit(chx.array(X)), special.expit(X), 16)
    with pytest.raises(TypeError, match="gammaln"):
        special.gammaln(chx.array(X))


def test_nothing_is_kept():
    a = chx.array(X)
    np.add(a, a), np.sum(a)
    before = sys.getrefcount(a)
    for _ in range(100):
        np.add(a, a), np.sum(a, axis=0), np.add.reduce(a)
    assert sys.getrefcount(a) == before
