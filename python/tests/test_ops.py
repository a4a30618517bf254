# SPDX-License-Identifier: MIT
"""Calls of operators: those of the language, in place, operands of NumPy, out=, several of networks, errors. test_table.py has the rest."""
import numpy as np
import pytest
from conftest import check, sample

import chx


def test_operators_of_the_language():
    x, y = sample("float64", (2, 3), 1), sample("float64", (3,), 2) + 5
    a, b = chx.array(x), chx.array(y)
    for f in [lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / y, lambda x, y: x // y, lambda x, y: x % y,
              lambda x, y: abs(x) ** y, lambda x, y: -x, lambda x, y: +x, lambda x, y: abs(x), lambda x, y: x == y, lambda x, y: x != y,
              lambda x, y: x < y, lambda x, y: x <= y, lambda x, y: x > y, lambda x, y: x >= y, lambda x, y: x @ y,
              lambda x, y: 2 + x, lambda x, y: 2 - x, lambda x, y: 2 * x, lambda x, y: 2 / y, lambda x, y: 7 // y, lambda x, y: 7 % y,
              lambda x, y: 2.0**y, lambda x, y: divmod(x, y)[0], lambda x, y: divmod(x, y)[1], lambda x, y: divmod(9, y)[1]]:
        check(f(a, b), f(x, y), 16)
    i, j = sample("int32", (4,), 1, 0, 9), sample("int32", (4,), 2, 0, 3)
    for f in [lambda x, y: x & y, lambda x, y: x | y, lambda x, y: x ^ y, lambda x, y: ~x, lambda x, y: x << y, lambda x, y: x >> y,
              lambda x, y: 6 & x, lambda x, y: 6 | x, lambda x, y: 6 ^ x, lambda x, y: 1 << y, lambda x, y: 64 >> y]:
        check(f(chx.array(i), chx.array(j)), f(i, j))


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_in_place(dtype):
    for f in ["+=", "-=", "*=", "//=", "%=", "**="] + (["/="] if dtype == "float32" else ["&=", "|=", "^=", "<<=", ">>="]):
        for other in (3, sample(dtype, (3,), 2, 1, 3)):
            x = sample(dtype, (2, 3), 1, 1, 6)
            a = chx.array(x)
            row, names = a[0], {"x": x, "a": a, "y": other, "b": other if isinstance(other, int) else chx.array(other)}
            exec("x %s y" % f, names)
            exec("a %s b" % f, names)
            assert names["a"] is a
            check(a, x)
            check(row, x[0])  # the view sees it


def test_in_place_casts():
    a = chx.ones(3, dtype="float32")
    a += chx.full(3, 0.5)  # float64 into float32, as NumPy's same_kind
    assert a.dtype == "float32" and a.tolist() == [1.5] * 3
    i = chx.ones(3, dtype="int32")
    for bad in (lambda: i.__iadd__(chx.ones(3)), lambda: i.__itruediv__(2)):
        with pytest.raises(TypeError):
            bad()
    with pytest.raises(ValueError):
        a += chx.ones((2, 3), dtype="float32")
    m, k = sample("float64", (3, 3), 1), sample("float64", (3, 3), 2)
    c = chx.array(m)
    c @= chx.array(k)
    check(c, m @ k, 64)


def test_numpy_operands():
    x, y = sample("float32", (2, 3), 1), sample("float32", (3,), 2)
    a = chx.array(x)
    for got in (a + y, y + a):
        check(got, x + y)
    check(a * np.float32(2), x * np.float32(2))
    check(a * np.float64(2), x.astype("float64") * 2)
    check(chx.add([1, 2], [3.5, 4]), np.add([1, 2], [3.5, 4]))
    check(np.add(x, a), x + x)  # not through NumPy


def test_out():
    x, y = chx.array([1.0, 2]), chx.array([3.0, 4])
    out = chx.empty(2)
    assert chx.add(x, y, out=out) is out and out.tolist() == [4, 6]
    with pytest.raises(TypeError, match="f32"):
        chx.add(x, y, out=chx.empty(2, dtype="float32"))
    with pytest.raises(ValueError, match="shape"):
        chx.add(x, y, out=chx.empty(3))


def test_other_operators():
    x = sample("float32", (2, 5), 1)
    a = chx.array(x)
    check(chx.where(a > 0, a, 0.0), np.where(x > 0, x, np.float32(0)))
    check(chx.clip(a, -1, 1), np.clip(x, np.float32(-1), np.float32(1)))
    for axis in (0, 1, -1):
        check(chx.cumsum(a, axis=axis), np.cumsum(x, axis=axis), 8)
        check(chx.argsort(a, axis), np.argsort(x, axis=axis, kind="stable"))
        check(chx.sort(a, axis=axis), np.sort(x, axis=axis))
        check(chx.argmax(a, axis=axis), np.argmax(x, axis=axis))
        check(chx.concatenate([a, a], axis=axis), np.concatenate([x, x], axis=axis))
        check(chx.stack((a, a), axis), np.stack([x, x], axis=axis))
        check(chx.flip(a, axis), np.flip(x, axis))
        check(chx.take(a, chx.array([1, 0, 1]), axis=axis), np.take(x, [1, 0, 1], axis=axis))
    check(chx.cumsum(a), np.cumsum(x), 8)
    check(chx.argmin(a), np.argmin(x))
    check(chx.sum(a, dtype="float64"), np.sum(x, dtype="float64"))
    check(chx.matmul(a, a.T), x @ x.T, 32)
    check(chx.linear(a, chx.array(x), chx.array([1.0, 2], "float32")), x @ x.T + np.array([1, 2], "float32"), 32)
    check(chx.pad(a, before=(1, 0), after=(0, 2), value=9), np.pad(x, [(1, 0), (0, 2)], constant_values=9))
    check(chx.broadcast_to(a, (3, 2, 5)), np.broadcast_to(x, (3, 2, 5)))
    check(chx.squeeze(a[None, :, None]), x)
    values, indices = chx.topk(a, k=2)
    order = np.argsort(-x, axis=1, kind="stable")[:, :2]
    check(indices, order)
    check(values, np.take_along_axis(x, order, 1))
    e = np.exp(x - x.max(1, keepdims=True))
    check(chx.softmax(a), e / e.sum(1, keepdims=True), 16)


def test_convolution():
    x, w = sample("float64", (2, 3, 5, 5), 1), sample("float64", (4, 3, 3, 3), 2)
    y = chx.conv(chx.array(x), chx.array(w), None, stride=(2, 2), pad=1)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    want = np.array([[[[np.sum(padded[n, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] * w[k]) for j in range(3)] for i in range(3)]
                      for k in range(4)] for n in range(2)])
    check(y, want, 256)
    pooled, at = chx.max_pool(chx.array(x), ksize=2)
    check(pooled, x[:, :, :4, :4].reshape(2, 3, 2, 2, 2, 2).max((3, 5)))
    assert at.dtype == "int64"


def test_dropout_draws():
    x = chx.ones(1000)
    chx.seed(3)
    a, b = chx.dropout(x, 0.5), chx.dropout(x, ratio=0.5)
    chx.seed(3)
    c = chx.dropout(x, ratio=0.5)
    assert not (a == b).all() and (a == c).all()
    assert set(a.tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("call,kind,words", [
    (lambda: chx.add(chx.ones(2), chx.ones(3)), ValueError, r"add: shapes are \[2\] and \[3\]"),
    (lambda: chx.ones(2) @ chx.ones(3), ValueError, "matmul"),
    (lambda: chx.invert(chx.ones(2)), TypeError, "invert"),
    (lambda: chx.sum(chx.ones(2), axis=1), ValueError, "axis"),
    (lambda: chx.sum(chx.ones(2), axis="x"), TypeError, "integer"),
    (lambda: chx.sum(chx.ones(2), color=1), TypeError, "no parameter 'color'"),
    (lambda: chx.sum(chx.ones(2), 0, axis=0), TypeError, "twice"),
    (lambda: chx.sum(), TypeError, "lacks operand 'x'"),
    (lambda: chx.tanh(1, 2, 3), TypeError, "at most 1"),
    (lambda: chx.add(chx.ones(2), "x"), TypeError, "type str"),
    (lambda: chx.ones(2) + "x", TypeError, "unsupported operand"),
    (lambda: chx.ones(2) + [1, 2], TypeError, "unsupported operand"),
    (lambda: chx.ones(2, dtype="float128"), TypeError, "float128"),
    (lambda: chx.ones(-1), ValueError, "shape"),
    (lambda: chx.ones(1 << 60), (MemoryError, ValueError), "shape|memory"),
    (lambda: chx.ones(2) + (1 << 80), OverflowError, "too big|too large"),
    (lambda: chx.ones(2).reshape(3), ValueError, "reshape"),
    (lambda: chx.ones(2).to("nosuch:0"), chx.DeviceError, "nosuch"),
    (lambda: chx.ones(2, device="native:99"), chx.DeviceError, "native"),
    (lambda: bool(chx.ones(2)), ValueError, "ambiguous"),
    (lambda: float(chx.ones(2)), TypeError, "one number"),
    (lambda: chx.ones(2).item(), ValueError, "want one"),
    (lambda: len(chx.array(1)), TypeError, "0-d"),
    (lambda: iter(chx.array(1)), TypeError, "0-d"),
    (lambda: chx.array([[1, 2], [3]]), ValueError, "length"),
    (lambda: chx.array([1, [2]]), ValueError, "depth"),
    (lambda: chx.array("abc"), TypeError, "want a number"),
    (lambda: chx.array([300], dtype="int8"), OverflowError, "int8"),
    (lambda: chx.concatenate([]), ValueError, "concatenate"),
])
def test_errors(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
    assert (chx.ones(2) + 1).tolist() == [2, 2]  # the error was taken and cleared


def test_names_come_from_the_table():
    import inspect

    assert str(inspect.signature(chx.softmax)) == "(x, axis=1, *, out=None)"
    assert str(inspect.signature(chx.sum)) == "(x, axis=None, keepdims=False, dtype=None, *, out=None)"
    assert str(inspect.signature(chx.linear)) == "(x, w, b=None, *, out=None)"
    assert chx.subtract is chx.sub and chx.sub.__name__ == "sub"
    assert "Differentiable" in chx.conv.__doc__ and "stride" in chx.conv.__doc__
    assert "x - y" in chx.sub.__doc__
