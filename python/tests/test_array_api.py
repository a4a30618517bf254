# SPDX-License-Identifier: MIT
"""chx.array_api: the array API standard's namespace, after the ideas of its own test suite: dtypes, signatures, constants, values
against NumPy, inspection; and what else stands on it, where that is installed."""
import inspect
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import check, sample

import chx

xp = chx.ones(1).__array_namespace__()
X, Y = sample("float64", (3, 4), 1, 0.1, 0.9), sample("float64", (3, 4), 2, 0.1, 0.9)


def test_the_namespace():
    a = chx.ones(2)
    assert a.__array_namespace__() is xp and a.__array_namespace__(api_version="2023.12") is xp
    assert xp.__array_api_version__ == "2023.12"
    with pytest.raises(ValueError, match="1999.01"):
        a.__array_namespace__(api_version="1999.01")
    with pytest.raises(AttributeError, match="nosuch"):
        xp.nosuch
    names = dir(xp)
    assert "sum" in names and "unique_all" not in names and all(hasattr(xp, n) for n in names)
    with pytest.raises(AttributeError, match="'unique_all', which chx lacks"):
        xp.unique_all


def test_constants():
    assert math.isnan(xp.nan) and (xp.e, xp.pi, xp.inf, xp.newaxis) == (math.e, math.pi, math.inf, None)


# ---- dtypes --------------------------------------------------------------------------------------------------------------------

KINDS = {
    "bool": ["bool"],
    "signed integer": ["int8", "int16", "int32", "int64"],
    "unsigned integer": ["uint8", "uint16", "uint32", "uint64"],
    "real floating": ["float32", "float64"],
    "complex floating": ["complex64", "complex128"],
}
KINDS["integral"] = KINDS["signed integer"] + KINDS["unsigned integer"]
KINDS["numeric"] = KINDS["integral"] + KINDS["real floating"] + KINDS["complex floating"]
ALL = KINDS["bool"] + KINDS["numeric"]


def test_isdtype():
    for name in ALL:
        dtype = getattr(xp, name)
        for kind, members in KINDS.items():
            assert xp.isdtype(dtype, kind) == (name in members)
        assert xp.isdtype(dtype, dtype) and xp.isdtype(dtype, ("bool", "numeric"))
    assert xp.isdtype(chx.bfloat16, "real floating") and not xp.isdtype(xp.int8, xp.int16)
    with pytest.raises(ValueError, match="kind is 'integer'"):
        xp.isdtype(xp.int8, "integer")


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "complex64", "complex128"])
def test_finfo(name):
    ours, theirs = xp.finfo(getattr(chx, name)), np.finfo(name)
    for field in ("bits", "eps", "max", "min"):
        assert getattr(ours, field) == getattr(theirs, field), field
    assert ours.smallest_normal == theirs.tiny and ours.dtype == theirs.dtype and "eps" in repr(ours)
    assert xp.finfo(chx.array([1.0], dtype=name)).bits == theirs.bits


def test_bfloat16_and_integers():
    f = xp.finfo(chx.bfloat16)
    assert (f.bits, f.eps, f.smallest_normal) == (16, 2.0**-7, 2.0**-126) and chx.array(f.max, dtype="bfloat16").item() == f.max
    for name in KINDS["integral"]:
        ours, theirs = xp.iinfo(getattr(xp, name)), np.iinfo(name)
        assert (ours.bits, ours.max, ours.min, ours.dtype) == (theirs.bits, theirs.max, theirs.min, name) and name in repr(ours)
    for call in (lambda: xp.finfo(xp.int8), lambda: xp.iinfo(xp.float32)):
        with pytest.raises(ValueError, match="want"):
            call()


def test_result_type_and_can_cast():
    for a in ALL:
        for b in ALL:
            want = np.promote_types(a, b)
            assert xp.result_type(getattr(xp, a), getattr(xp, b)) == want == chx.promote_types(a, b), (a, b)
            assert xp.can_cast(getattr(xp, a), getattr(xp, b)) == (want == np.dtype(b)), (a, b)
            assert xp.result_type(chx.array([0, 0], dtype=a), chx.dtype(b)) == want
    assert xp.result_type(chx.bfloat16, chx.float16) == "float32" and xp.result_type(xp.int8, xp.uint8, xp.float32) == "float32"
    for scalar in (True, 2, 2.0):  # as an expression has it
        for a in ALL[:11]:
            if a != "bool" or scalar is not True:
                assert xp.result_type(chx.ones(2, dtype=a), scalar) == (chx.ones(2, dtype=a) * scalar).dtype, (a, scalar)
    assert xp.result_type(xp.float32, 1j) == "complex64" and xp.result_type(xp.int8, 1j) == "complex128"
    assert xp.result_type(1, 2.0) == "float64" and xp.result_type(np.ones(1, "int8"), np.float32) == "float32"
    for wrong in ((), ("float99",), (None,)):
        with pytest.raises((TypeError, ValueError)):
            xp.result_type(*wrong)
    with pytest.raises(TypeError):
        chx.promote_types(None, "int8")


# ---- functions -------------------------------------------------------------------------------------------------------------------

ELEMENTWISE = """abs acos acosh asin asinh atan atanh ceil cos cosh exp expm1 floor isfinite isinf isnan log log1p log2 log10 negative
    positive sign sin sinh sqrt square tan tanh trunc""".split()
BINARY = """add atan2 copysign divide equal floor_divide greater greater_equal hypot less less_equal logaddexp maximum minimum multiply
    not_equal pow remainder subtract""".split()
NUMPY = {"acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan", "atanh": "arctanh",
         "atan2": "arctan2", "pow": "power", "bitwise_left_shift": "left_shift", "bitwise_right_shift": "right_shift",
         "bitwise_invert": "invert"}


@pytest.mark.parametrize("name", ELEMENTWISE + BINARY)
def test_elementwise(name):
    x = X + 1 if name == "acosh" else X
    operands = [x, Y] if name in BINARY else [x]
    check(getattr(xp, name)(*map(chx.array, operands)), getattr(np, NUMPY.get(name, name))(*operands), 64)


@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift"])
def test_bitwise(name):
    a, b = sample("int32", (5,), 1, 0, 9), sample("int32", (5,), 2, 0, 9)
    check(getattr(xp, name)(chx.array(a), chx.array(b)), getattr(np, NUMPY.get(name, name))(a, b))
    check(xp.bitwise_invert(chx.array(a)), ~a)


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_statistics(axis, keepdims):
    a = chx.array(X)
    for name in ("sum", "prod", "max", "min", "mean", "all", "any"):
        check(getattr(xp, name)(a, axis=axis, keepdims=keepdims), getattr(np, name)(X, axis=axis, keepdims=keepdims), 64)
    for name in ("var", "std"):
        for correction in (0.0, 1.0):
            want = getattr(np, name)(X, axis=axis, keepdims=keepdims, ddof=correction)
            check(getattr(xp, name)(a, axis=axis, keepdims=keepdims, correction=correction), want, 64)


def test_cumulative():
    a = chx.array(X)
    for name, numpy, start in (("cumulative_sum", np.cumsum, 0), ("cumulative_prod", np.cumprod, 1)):
        f = getattr(xp, name)
        check(f(a, axis=1), numpy(X, axis=1), 16)
        check(f(a[0]), numpy(X[0]), 16)
        check(f(a, axis=-2, include_initial=True), np.concatenate([np.full((1, 4), float(start)), numpy(X, axis=0)]), 16)
        with pytest.raises(ValueError, match="rank is 2, want an axis"):
            f(a)
        with pytest.raises(IndexError, match="axis is 2"):
            f(a, axis=2)


def test_creation():
    assert xp.asarray([1, 2]).dtype == xp.int64 and xp.asarray(1.0).dtype == xp.float64 and xp.asarray(True).dtype == xp.bool
    a = chx.ones(3)
    assert xp.asarray(a) is a and xp.asarray(a, copy=False) is a and not chx.shares_memory(a, xp.asarray(a, copy=True))
    assert xp.asarray(a, dtype=xp.float32).dtype == "float32" and xp.asarray(a, device="sim:0").device == "sim:0"
    with pytest.raises(ValueError, match="copy"):
        xp.asarray(a, dtype=xp.float32, copy=False)
    with pytest.raises(ValueError, match="copy"):
        xp.asarray([1, 2], copy=False)
    check(xp.full((2, 2), 3), np.full((2, 2), 3))
    check(xp.arange(1, 5, 2), np.arange(1, 5, 2))
    for name in ("zeros", "ones", "empty"):
        assert getattr(xp, name)((2, 3), dtype=xp.int8, device="sim:0").shape == (2, 3)
        assert getattr(xp, name + "_like")(a).dtype == a.dtype


def test_manipulation():
    a = chx.array(X)
    check(xp.concat([a, a]), np.concatenate([X, X]))
    check(xp.concat((a, a[:, :1]), axis=-1), np.concatenate([X, X[:, :1]], axis=-1))
    check(xp.concat([a, a[0]], axis=None), np.concatenate([X, X[0]], axis=None))
    check(xp.stack([a, a], axis=-1), np.stack([X, X], axis=-1))
    check(xp.flip(a, axis=0), np.flip(X, 0))
    check(xp.permute_dims(a, (1, 0)), X.T)
    check(xp.matrix_transpose(a), X.T)
    check(xp.broadcast_to(a, (2, 3, 4)), np.broadcast_to(X, (2, 3, 4)))
    check(xp.squeeze(xp.expand_dims(a, axis=1), axis=1), X)
    for axis in (0, 1, 2, -1, -3):
        check(xp.expand_dims(a, axis=axis), np.expand_dims(X, axis))
    for axis in (0, -1):
        for got, want in zip(xp.unstack(a, axis=axis), np.moveaxis(X, axis, 0)):
            check(got, want)
    for call in (lambda: xp.expand_dims(a, axis=3), lambda: xp.unstack(a, axis=-3)):
        with pytest.raises(IndexError, match="axis is"):
            call()
    with pytest.raises(ValueError, match="rank is 1"):
        xp.matrix_transpose(a[0])


def test_reshape_and_astype():
    a = chx.array(X)
    assert chx.shares_memory(a, xp.reshape(a, (4, 3), copy=False)) and chx.shares_memory(a, xp.reshape(a, (-1,)))
    assert not chx.shares_memory(a, xp.reshape(a, (4, 3), copy=True)) and not chx.shares_memory(a, xp.reshape(a.T, (12,), copy=True))
    with pytest.raises(ValueError, match="copy=False forbids"):
        xp.reshape(a.T, (12,), copy=False)
    b = xp.astype(a, xp.float32)
    assert b.dtype == xp.float32 and xp.astype(b, xp.float32, copy=False) is b and xp.astype(b, xp.float32) is not b
    assert xp.astype(a, xp.int8, device="sim:0").device == "sim:0"


def test_searching_and_sorting():
    a = chx.array(X)
    for axis in (0, -1):
        check(xp.sort(a, axis=axis), np.sort(X, axis))
        check(xp.sort(a, axis=axis, descending=True, stable=False), -np.sort(-X, axis))
        check(xp.argsort(a, axis=axis), np.argsort(X, axis))
        check(xp.argmax(a, axis=axis, keepdims=False), np.argmax(X, axis))
    check(xp.where(a > 0.5, a, chx.array(Y)), np.where(X > 0.5, X, Y))
    check(xp.take(a, chx.array([1, 0]), axis=1), X[:, [1, 0]])
    check(xp.take(a[0], chx.array([1, 0])), X[0][[1, 0]])
    with pytest.raises(ValueError, match="want an axis"):
        xp.take(a, chx.array([0]))
    ties = chx.array([1, 0, 1, 0])
    assert xp.argsort(ties, stable=True).tolist() == [1, 3, 0, 2]


def test_clip():
    a = chx.array(X)
    check(xp.clip(a, 0.3, 0.6), np.clip(X, 0.3, 0.6))
    check(xp.clip(a, min=0.3), np.maximum(X, 0.3))
    check(xp.clip(a, max=chx.array(Y)), np.minimum(X, Y))
    b = xp.clip(a)
    check(b, X)
    assert not chx.shares_memory(a, b)
    assert xp.clip(chx.array([1, 2, 3], dtype="int8"), 2).dtype == "int8"


def test_every_function_has_a_signature_and_a_text():
    for name in dir(xp):
        f = getattr(xp, name)
        if callable(f) and not isinstance(f, chx.dtype):
            assert f.__doc__, name
            assert isinstance(f, type) or getattr(f, "__text_signature__", None) or inspect.signature(f), name


# ---- the array object ----------------------------------------------------------------------------------------------------------


def test_conversions_to_one_number():
    assert complex(chx.array(2.5)) == 2.5 and complex(chx.array([1 + 2j])) == 1 + 2j and float(chx.array(2)) == 2.0
    assert [5, 6, 7][chx.array(1)] == 6 and bool(chx.array(0.0)) is False and int(chx.array(2.5)) == 2
    for call in (lambda: complex(chx.ones(2)), lambda: [1][chx.array(0.0)], lambda: [1, 2][chx.array([1])], lambda: float(chx.ones(2))):
        with pytest.raises(TypeError):
            call()


def test_to_device():
    a = chx.arange(3)
    assert a.to_device("native:0") is a and a.to_device(a.device, stream=None) is a
    b = a.to_device("sim:0")
    assert b.device == "sim:0" != a.device and b.tolist() == a.tolist()
    with pytest.raises(ValueError, match="stream is 1"):
        a.to_device("sim:0", stream=1)
    with pytest.raises(chx.DeviceError, match="nosuch"):
        a.to_device("nosuch:0")
    x = chx.ones(2).require_grad()
    (x.to_device("sim:0") * 3).sum().backward()
    assert x.grad.tolist() == [3, 3]


# ---- inspection ------------------------------------------------------------------------------------------------------------------


def test_inspection():
    info = xp.__array_namespace_info__()
    features = info.capabilities()
    assert features["max dimensions"] == 16 and chx.ones((1,) * 16).ndim == 16
    with pytest.raises(ValueError):
        chx.ones((1,) * 17)
    assert set(features) == {"boolean indexing", "data-dependent shapes", "max dimensions"}
    assert info.default_device() == "native:0" and {"native:0", "sim:0"} <= set(info.devices())
    assert info.dtypes() == {n: getattr(xp, n) for n in ALL if not n.startswith("complex")}
    assert sorted(info.dtypes(kind=("bool", "unsigned integer"))) == sorted(KINDS["bool"] + KINDS["unsigned integer"])
    assert info.dtypes(device="sim:0", kind="bool") == {"bool": xp.bool}
    with pytest.raises(chx.DeviceError):
        info.dtypes(device="nosuch:0")
    defaults = info.default_dtypes()
    assert xp.asarray(0.5).dtype == defaults["real floating"] and xp.argmax(chx.ones(3)).dtype == defaults["indexing"]
    assert xp.asarray(1j).dtype == defaults["complex floating"] and xp.asarray(3).dtype == defaults["integral"]
    with chx.using_device("sim:0"):
        assert info.default_device() == "sim:0"


# ---- who uses it -------------------------------------------------------------------------------------------------------------------


def test_array_api_compat():
    compat = pytest.importorskip("array_api_compat")
    a = chx.array(X)
    assert compat.array_namespace(a, a) is xp and compat.is_array_api_obj(a) and compat.device(a) == "native:0"
    assert compat.size(a) == 12 and compat.to_device(a, "sim:0").device == "sim:0"


SCIPY = """
import numpy as np, scipy.integrate, scipy.special
import chx
x = np.linspace(0.1, 0.9, 12).reshape(3, 4)
for device in ("native:0", "sim:0"):
    a = chx.array(x, device=device)
    for f in (lambda v: scipy.special.softmax(v, axis=1), lambda v: scipy.integrate.trapezoid(v, axis=0)):
        y = f(a)
        assert isinstance(y, chx.ndarray) and y.device == device
        np.testing.assert_allclose(chx.to_numpy(y), f(x), rtol=1e-14)
"""


def test_scipy():
    pytest.importorskip("scipy", "1.15")
    env = dict(os.environ, SCIPY_ARRAY_API="1")
    r = subprocess.run([sys.executable, "-c", SCIPY], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    assert r.returncode == 0, r.stdout


def softmax(x):
    """A consumer's function, that knows the standard alone."""
    ns = x.__array_namespace__()
    e = ns.exp(x - ns.max(x, axis=-1, keepdims=True))
    return e / ns.sum(e, axis=-1, keepdims=True)


@pytest.mark.parametrize("device", ["native:0", "sim:0"])
def test_a_consumer(device):
    a = chx.array(X, device=device)
    y = softmax(a)
    assert y.device == device
    e = np.exp(X - X.max(axis=-1, keepdims=True))
    check(y.to("native:0"), e / e.sum(axis=-1, keepdims=True), 64)
