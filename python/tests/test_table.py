# SPDX-License-Identifier: MIT
"""The rows of table.py against NumPy 2: dtypes, promotion, weak numbers, layouts, aliasing, zero sizes, out=, errors; and that no
operator, function, method or attribute of chx is without a row."""
import doctest
import functools
import inspect
import zlib

import numpy as np
import pytest
from conftest import check
from table import ATTRIBUTES, BFLOAT16, BINARY, CALLS, DIFFERENTIABLE, OF_CHX, REAL, REDUCTIONS, SINCE, UNARY, computed, weak

import chx
from chx import _functions

OPERATOR = type(chx.add)
NUMPY = tuple(int(n) for n in np.__version__.split(".")[:2])
NUMPY_2 = NUMPY >= (2, 0)
pytestmark = pytest.mark.filterwarnings("ignore")


def values(dtype, shape, seed, low=-2, high=4):
    """The same numbers for each dtype, as far as it has them."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if kind in "iu":
        return np.asarray(rng.integers(int(max(low, 0) if kind == "u" else np.ceil(low)), int(high) + 1, shape)).astype(dtype)
    v = rng.uniform(low, high, shape)
    return np.asarray(v + 1j * v if kind == "c" else v).astype(dtype)


# ---- layouts: the same values in memory of several kinds --------------------------------------------------------------


def turned(x):
    return x.T.copy().T


def reversed_(x):
    return x[(slice(None, None, -1),) * x.ndim].copy()[(slice(None, None, -1),) * x.ndim]


def stepped(x):
    wide = np.zeros([2 * d + 1 for d in x.shape], x.dtype)
    wide[(slice(1, None, 2),) * x.ndim] = x
    return wide[(slice(1, None, 2),) * x.ndim]


LAYOUTS = {"dense": lambda x: x, "turned": turned, "reversed": reversed_, "stepped": stepped}


def of_chx(x):
    """x with x's layout."""
    strides = [s // x.itemsize for s in x.strides]
    a = chx.array(np.ascontiguousarray(x).reshape(x.shape))
    if x.size < 2 or x.flags.c_contiguous:
        return a
    if any(s < 0 for s in strides):
        back = (slice(None, None, -1),) * x.ndim
        return chx.array(x[back].copy())[back]
    if x.flags.f_contiguous:
        return chx.array(np.ascontiguousarray(x.T)).T
    wide = np.zeros([2 * d + 1 for d in x.shape], x.dtype)
    inner = (slice(1, None, 2),) * x.ndim
    wide[inner] = x
    return chx.array(wide)[inner]


class Maker:
    """a(2, 3): an array of a library, of the dtype and layout that are tried; remembers what it made."""

    def __init__(self, library, dtype, layout, shrink=None, device="native:0"):
        self.library, self.dtype, self.layout, self.shrink, self.device, self.made = library, dtype, LAYOUTS[layout], shrink, device, []

    def __call__(self, *shape):
        dtype, shape = (shape[0], shape[1:]) if shape and isinstance(shape[0], str) else (self.dtype, shape)
        shape = {None: lambda s: s, "zero": lambda s: (0,) + s[1:], "0-d": lambda s: ()}[self.shrink](shape)
        low, high, dtype = (0, 2, "int64") if dtype == "index" else (-2, 4, dtype)
        x = values(dtype, shape, len(self.made) + 1, low, high)
        x = self.layout(x) if x.ndim else x
        self.made.append(x if self.library is np else of_chx(x).to(self.device))
        return self.made[-1]


# Where NumPy's zero sizes or 0-d arrays come out by accident, and differ among its versions.
UNALIKE = ("average", "bincount", "may_share_memory", "tensordot", "unique")


# ---- comparison -------------------------------------------------------------------------------------------------------


def same(got, want, ulps=64, dtype=True):
    if isinstance(want, (tuple, list)):
        assert type(got) is type(want) or isinstance(want, tuple) and isinstance(got, tuple), (type(got), type(want))
        assert len(got) == len(want)
        for g, w in zip(got, want):
            same(g, w, ulps, dtype)
    elif isinstance(got, (chx.ndarray, np.ndarray)):
        want = np.asarray(want)
        assert got.shape == want.shape
        if dtype:
            assert got.dtype == want.dtype, (got.dtype, want.dtype)
        w, g = want.astype("complex128"), chx_values(got)
        np.testing.assert_allclose(g, w, rtol=eps(want.dtype) * ulps, atol=eps(want.dtype) * ulps)
    else:
        assert got == want or (got != got and want != want), (got, want)


def chx_values(a):
    return np.array(a.tolist(), "complex128").reshape(a.shape)


def eps(dtype):
    return float(np.finfo(dtype).eps) if dtype.kind in "fc" else 0.0


def outcome(call, *args, **kwargs):
    """What a function gives, or the text of an expression with these names; or the exception."""
    try:
        return eval(call, {"np": np, **kwargs}) if isinstance(call, str) else call(*args, **kwargs)
    except Exception as e:
        return e


def alike(got, want, names=()):
    """Both results, or both failures of one kind, ours naming one of the names."""
    assert not isinstance(want, (NameError, SyntaxError)) and "has no attribute" not in str(want), "the row is wrong: %r" % want
    if not isinstance(want, Exception) and not isinstance(got, Exception):
        return same(got, want)
    assert isinstance(got, Exception), "NumPy refuses it: %r" % want
    if not isinstance(want, Exception):
        raise got
    assert isinstance(want, type(got)), (got, want)
    assert not names or any(n in str(got) for n in names) or str(got).split(":")[0] in functions(), str(got)


def aliases(got, want, ours, theirs):
    """Where NumPy's result is a view of what it was given, so is ours: what is written into it is seen."""
    for a, x in zip(ours, theirs):
        if isinstance(got, chx.ndarray) and isinstance(want, np.ndarray) and want.size and want.flags.writeable and want is not x:
            assert chx.shares_memory(got, a) or not np.shares_memory(want, x)
            if np.shares_memory(want, x) and not a.is_grad_required():
                got[...] = 1
                want[...] = 1
                np.testing.assert_array_equal(chx_values(a), x)


# ---- every name has a row ---------------------------------------------------------------------------------------------


def functions():
    """What is looked at: name to function, of all operators, of what is made of them, and of the extension's that make arrays."""
    made = "array asarray zeros ones empty full zeros_like ones_like empty_like full_like arange to_numpy".split()
    found = {n: f for n, f in vars(chx._core).items() if type(f) is OPERATOR}
    return {**found, **_functions.TABLE, **{n: getattr(chx, n) for n in made}}


def row_of(name):
    return next((t for t in (UNARY, BINARY, REDUCTIONS, CALLS) if functions()[name].__name__ in t), None)


def test_every_function_has_a_row():
    assert [n for n in functions() if row_of(n) is None] == []
    assert [n for t in (UNARY, BINARY, REDUCTIONS, CALLS) for n in t if n not in functions()] == []
    for name, f in functions().items():  # another name is another name for the same
        assert getattr(chx, name) is f and (name == f.__name__ or getattr(chx, f.__name__) is f)
        assert f.__doc__ and inspect.signature(f)


def test_every_attribute_has_a_row():
    tested_elsewhere = ("__array", "__dlpack", "__buffer", "__release")
    names = [n for n in dir(chx.ndarray) if not n.startswith(tested_elsewhere) and (n not in dir(object) or n in ATTRIBUTES)]
    private = [n for n in names if n.startswith("_") and not n.startswith("__")]
    assert [n for n in names if n not in ATTRIBUTES and n not in OF_CHX and n not in private] == []
    for n in names:
        assert n.startswith("_") or getattr(chx.ndarray, n).__doc__, n


@pytest.mark.parametrize("name", _functions.TABLE)
def test_function_has_an_example(name):
    f = _functions.TABLE[name]
    example = doctest.DocTestParser().get_doctest(f.__doc__, {"chx": chx}, name, None, 0)
    said = []
    assert example.examples and not doctest.DocTestRunner(verbose=False).run(example, out=said.append).failed, "".join(said)


@pytest.mark.parametrize("module,name", [(chx, "fft"), (chx, "einsum"), (chx.ones(2), "argpartition"), (chx.ones(2), "base")])
def test_what_is_not_there_is_named(module, name):
    with pytest.raises(AttributeError, match="'%s'" % name):
        getattr(module, name)
    assert not hasattr(module, name)


# ---- elementwise ------------------------------------------------------------------------------------------------------


def seed_of(name):
    return zlib.crc32(name.encode()) % 1000


def elementwise(name, operands, arrays):
    """chx's result for `arrays` against the row's formula of the operands as they are computed with."""
    letter, result, f, _, _, ulps = {**UNARY, **BINARY}[name]
    dtype = computed(letter, *[x.dtype for x in operands])
    got = outcome(getattr(chx, name), *arrays)
    if dtype is None:
        assert type(got) is TypeError and name in str(got), got
        return None
    if isinstance(got, Exception):
        raise got
    want = np.asarray(f(*[x.astype(dtype) for x in operands])).astype("bool" if result == "B" else dtype)
    if name in ("logical_and", "logical_or", "logical_xor", "logical_not"):
        want = f(*operands)
    check(got, want, max(ulps, 4))
    return got


@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    low, high = UNARY[name][3:5]
    for dtype in REAL:
        x = values(dtype, (3, 4), seed_of(name), low, high)
        for layout in LAYOUTS if dtype in ("float32", "int64", "bool") else ["dense"]:
            y = LAYOUTS[layout](x)
            a = of_chx(y)
            got = elementwise(name, [y], [a])
            if got is not None:
                out = chx.empty(got.shape, got.dtype)
                assert getattr(chx, name)(a, out=out) is out and chx.array_equal(out, got, equal_nan=True)
                assert not chx.shares_memory(got, a)
        for shape in [(), (0, 3), (2, 0)]:
            x = values(dtype, shape, 1, low, high)
            elementwise(name, [x], [chx.array(x)])
    errors_of(name, 1)


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    low, high = BINARY[name][3:5]
    for i, d in enumerate(REAL):
        for e in REAL:
            x, y = values(d, (2, 3), 1, low, high), values(e, (3,) if i % 2 else (2, 1), 2, low, high)
            elementwise(name, [x, y], [chx.array(x), chx.array(y)])
    for a, b in [((2, 1, 3), (4, 1)), ((), (2, 3)), ((0, 3), (1, 3)), ((0,), ()), ((), ())]:
        for layout in LAYOUTS:
            x, y = (LAYOUTS[layout](values("int32", s, i, low, high)) for i, s in enumerate((a, b)))
            elementwise(name, [x, y], [of_chx(x), of_chx(y)])
    errors_of(name, 2)


@pytest.mark.parametrize("name", BINARY)
def test_weak_and_strong_numbers(name):
    letter, result, f, low, high, ulps = BINARY[name]
    for dtype in REAL:
        x = values(dtype, (3,), 1, low, high)
        a = chx.array(x)
        for number in (True, 2, 2.5):
            kind = weak(dtype, number)
            elementwise_as(name, kind, x, number, getattr(chx, name), (a, number))
            elementwise_as(name, kind, x, number, lambda u, v: getattr(chx, name)(v, u), (a, number), swap=True)
        strong = np.float64(2) if dtype != "float64" else np.int8(2)
        elementwise(name, [x, np.asarray(strong)], [a, strong])


def elementwise_as(name, kind, x, number, call, args, swap=False):
    letter, result, f, _, _, ulps = BINARY[name]
    dtype = computed(letter, kind)
    got = outcome(call, *args)
    if dtype is None:
        assert type(got) is TypeError, got
        return
    if isinstance(got, Exception):
        raise got
    pair = [x.astype(dtype), np.asarray(number).astype(dtype)]
    if letter == "B":
        pair = [x, np.asarray(number)]
    want = f(*(pair[::-1] if swap else pair))
    check(got, np.asarray(want).astype("bool" if result == "B" else dtype), max(ulps, 4))


@pytest.mark.parametrize("name", ["add", "maximum", "less", "pow"])
def test_bfloat16(name):
    f, x = getattr(chx, name), chx.array([1.5, 3.0], "bfloat16")
    for dtype, kind in BFLOAT16.items():
        y = chx.array([1, 0], dtype)
        for got in (f(x, y), f(y, x)):
            assert got.dtype == ("bool" if name == "less" else kind)
        same(f(x, y), BINARY[name][2](np.array([1.5, 3.0]), np.array([1.0, 0.0])), dtype=False)
    for number in (True, 2, 2.5):
        assert f(x, number).dtype == f(number, x).dtype == ("bool" if name == "less" else "bfloat16")


def errors_of(name, n):
    f = getattr(chx, name)
    x = chx.ones((2, 3), "int32" if name in ("invert", "left_shift", "right_shift") or name.startswith("bitwise") else "float64")
    calls = [(lambda: f(*[x] * n, out=chx.empty((2, 2), f(*[x] * n).dtype)), ValueError, name),
             (lambda: f(*[x] * n, out=chx.array([[1j, 1j, 1j]] * 2, "complex64")), TypeError, name),
             (lambda: f(*[chx.array([1j, 2])] * n), TypeError, name),
             (lambda: f(*["a"] * n), TypeError, name), (lambda: f(), TypeError, name),
             (lambda: f(*[x] * n, where=True), TypeError, "where")]
    calls += [(lambda: f(x, x[:, :2]), ValueError, name), (lambda: f(x), TypeError, "lacks")] if n == 2 else []
    for call, kind, word in calls:
        with pytest.raises(kind, match=word):
            call()


# ---- reductions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduction(name):
    f, dtypes, of_nothing, ulps = REDUCTIONS[name]
    ours = getattr(chx, name)
    for dtype in dtypes:
        for layout in LAYOUTS if dtype in ("float64", "int32", "bool") else ["dense"]:
            x = LAYOUTS[layout](values(dtype, (2, 3, 4), 3, 1, 2))
            for axis in [None, 0, -1, (0, 2), (0, 1, 2)]:
                for keepdims in (False, True):
                    same(ours(of_chx(x), axis=axis, keepdims=keepdims), f(x, axis=axis, keepdims=keepdims), ulps)
    x = values("float64", (2, 3), 1)
    a = chx.array(x)
    out = chx.empty(3, ours(a, axis=0).dtype)
    assert ours(a, axis=0, out=out) is out
    same(out, np.asarray(f(x, axis=0)), ulps)
    same(ours(chx.array(x[0, 0]), axis=None), f(x[0, 0][None]), ulps)
    for empty, axis in [((0, 3), 0), ((0, 3), 1), ((0,), None)]:
        x = np.zeros(empty)
        alike(outcome(ours, chx.array(x), axis=axis), outcome(f, x, axis=axis), (name, "amax")) if of_nothing or axis != 1 else None
    for axis, kind in [(2, ValueError), ((0, 0), ValueError), ("x", TypeError), ((0, 5), ValueError)]:
        with pytest.raises(kind, match="ax|integer"):
            ours(a, axis=axis)
    with pytest.raises((ValueError, TypeError)):
        ours(a, axis=0, out=chx.empty(2))


# ---- all other functions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
def test_function(name):
    theirs, good, bad, *dtypes = CALLS[name]
    ours = getattr(chx, name)
    for dtype in dtypes[0] if dtypes else ["float64", "int32", "bool"]:
        for layout in LAYOUTS:
            for call in good:
                a, x = Maker(chx, dtype, layout), Maker(np, dtype, layout)
                got, want = outcome(call, f=ours, a=a), outcome(call, f=theirs, a=x)
                assert dtype == "bool" or not isinstance(want, Exception), (call, want)
                try:
                    alike(got, want)
                    if callable(getattr(np, name, None)) and name not in ("asfortranarray", "to_numpy", "ascontiguousarray", "real",
                        "imag"):
                        aliases(got, want, a.made, x.made)
                except AssertionError as e:
                    raise AssertionError("%s: %s, %s, %s: %s" % (name, call, dtype, layout, e)) from e
        for shrink in ("zero", "0-d") if NUMPY >= SINCE.get(name, (2, 0)) and name not in UNALIKE and theirs is getattr(np, name, None) else ():
            for call in good:
                got, want = (outcome(call, f=f, a=Maker(m, dtype, "dense", shrink)) for f, m in ((ours, chx), (theirs, np)))
                try:
                    if not (isinstance(got, Exception) and "rank 0" in str(got)):  # chx has no axis of a 0-d array
                        alike(got, want)
                except AssertionError as e:
                    raise AssertionError("%s: %s, %s, %s: %s" % (name, call, dtype, shrink, e)) from e
        for call in bad if NUMPY >= SINCE.get(name, NUMPY) else []:
            got, want = (outcome(call, f=f, a=Maker(m, dtype, "dense")) for f, m in ((ours, chx), (theirs, np)))
            assert isinstance(want, Exception), (call, want)
            alike(got, want, (name, ours.__name__, "axis", "index", "int8", "axes", "integer"))
    if good and "out" in inspect.signature(ours).parameters:
        dtype = dtypes[0][0] if dtypes else "float64"
        want = outcome(good[0], f=ours, a=Maker(chx, dtype, "dense"))
        if isinstance(want, chx.ndarray):
            out = chx.empty(want.shape, want.dtype)
            assert outcome(good[0], f=functools.partial(ours, out=out), a=Maker(chx, dtype, "dense")) is out
            same(out, chx.to_numpy(want))


def leaves(result):
    """The arrays of a result."""
    if isinstance(result, (tuple, list)):
        return [a for r in result for a in leaves(r)]
    return [result] if isinstance(result, chx.ndarray) else []


@pytest.mark.parametrize("name", sorted(set(_functions.TABLE) & set(CALLS)))
def test_function_on_another_device(name):
    for call in CALLS[name][1]:
        a, b = Maker(chx, "float64", "dense", device="sim:0"), Maker(chx, "float64", "dense")
        got, want = leaves(outcome(call, f=getattr(chx, name), a=a)), leaves(outcome(call, f=getattr(chx, name), a=b))
        assert len(got) == len(want)
        assert not a.made or not got or got[0].device == "sim:0", call
        for g, w in zip(got, want):
            same(g, chx.to_numpy(w))


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_function_is_differentiable(name):
    f, given = getattr(chx, name), CALLS.get(name, (None, ["f(a(2, 3))", "f(a(2, 3), axis=1)"]))[1]
    for call in given:
        a = Maker(chx, "float64", "dense")
        outcome(call, f=f, a=a)
        if not a.made or "float32" in call or any(x.dtype != "float64" for x in a.made):
            continue
        chx.check_grad(lambda *xs: leaves(eval(call, {"f": f, "a": lambda *shape, queue=list(xs): queue.pop(0), "np": np})), a.made)


# ---- methods and attributes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(n for n in ATTRIBUTES if not isinstance(ATTRIBUTES[n], str) and NUMPY >= SINCE.get(n, NUMPY)))
def test_attribute(name):
    assert not any(isinstance(v, str) and v not in ATTRIBUTES for v in ATTRIBUTES.values())
    for expression in ATTRIBUTES[name]:
        for dtype in ["float64", "int32", "bool"]:
            for layout in LAYOUTS:
                x = LAYOUTS[layout](values(dtype, (2, 3), 1))
                a = of_chx(x)
                got, want = outcome(expression, x=a, m=chx), outcome(expression, x=x, m=np)
                try:
                    alike(got, want)
                    aliases(got, want, [a], [x])
                except AssertionError as e:
                    raise AssertionError("%s: %s, %s, %s: %s" % (name, expression, dtype, layout, e)) from e


@pytest.mark.parametrize("name", OF_CHX)
def test_attribute_of_chx(name):
    assert OF_CHX[name](chx.array(values("float64", (2, 3), 1)))
