#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write ops_*.npz, what test_ops compares every operator with: inputs, attributes and NumPy's results.

    pip install numpy==2.4.6 scipy==1.17.1 ml_dtypes==0.6.0 && python make_ops.py

A file holds "data", bytes, and "cases", a text with a line for each case:

    operator|label|tolerance|unit|attributes|inputs|outputs

    attributes  name=value;...     lists are comma-separated; dtypes by name; a program is "add 0 1 0,mul 2 2 0"
    inputs      f32[2,3]@16;...    dtype, shape, where it begins in data; F2.5, I3, B1: a weak scalar; -: absent
    outputs     f16:f64[2]@80;...  the dtype wanted, and the one in which the values stand in data; ~ in place of the
                                   values: only dtype and shape are compared
    tolerance   in eps of the output's dtype (0: exactly equal), of |want| or, where that is less, of unit

Floating results are computed one precision up (f64, or long double for f64) and stored in f64, so that the tolerance
is that of chx alone (in f32 where that costs no more than half an eps of four); where rounding in the middle decides (floor_divide, remainder), in the precision chx computes in.
"""
import os

import ml_dtypes
import numpy as np
from scipy import special

from make_ops_heavy import heavy_cases, random_cases
from make_ops_scan import line_cases

HERE = os.path.dirname(os.path.abspath(__file__))
BF16 = np.dtype(ml_dtypes.bfloat16)
DT = {"bool": "?", "i8": "i1", "i16": "i2", "i32": "i4", "i64": "i8", "u8": "u1", "u16": "u2", "u32": "u4", "u64": "u8",
      "f16": "f2", "bf16": BF16, "f32": "f4", "f64": "f8"}
DT = {k: np.dtype(v) for k, v in DT.items()}
NAME = {v: k for k, v in DT.items()}
INTS = ["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"]
FLOATS = ["f16", "bf16", "f32", "f64"]
rng = np.random.default_rng(20240607)


class Weak:
    def __init__(self, kind, value):
        self.text = f"{kind}{value}"


class Book:
    def __init__(self, name):
        self.name, self.data, self.at, self.lines = name, bytearray(), {}, []

    def put(self, a):
        raw = np.ascontiguousarray(a).tobytes()
        if raw not in self.at:
            self.data += b"\0" * (-len(self.data) % 8)
            self.at[raw] = len(self.data)
            self.data += raw
        return self.at[raw]

    def value(self, v):
        if isinstance(v, (list, tuple)):
            return ",".join(self.value(x) for x in v)
        return repr(float(v)) if isinstance(v, (float, np.floating)) else str(v)

    def operand(self, a):
        if a is None:
            return "-"
        if isinstance(a, Weak):
            return a.text
        return f"{NAME[a.dtype]}[{','.join(map(str, a.shape))}]@{self.put(a)}"

    def out(self, o, tol):
        dtype, v = o
        shape = ",".join(map(str, np.shape(v)))
        if isinstance(v, Shape):
            return f"{dtype}:~[{','.join(map(str, v.shape))}]@0"
        v = np.asarray(v)
        if dtype in FLOATS:
            v = v.astype(np.float64 if dtype == "f64" or dtype == "f32" and tol < 4 else np.float32)
        else:
            assert NAME[v.dtype] == dtype, (dtype, v.dtype)
        return f"{dtype}:{NAME[v.dtype]}[{shape}]@{self.put(v)}"

    def add(self, op, ins, outs, label="", tol=0, unit=0, **attrs):
        outs = outs if isinstance(outs, list) else [outs]
        text = ";".join(f"{k}={self.value(v)}" for k, v in attrs.items())
        self.lines.append("|".join([op, label, f"{tol:g}", f"{unit:.6g}", text, ";".join(map(self.operand, ins)),
                                    ";".join(self.out(o, tol) for o in outs)]))

    def save(self):
        text = "\n".join(self.lines) + "\n"
        path = os.path.join(HERE, self.name)
        np.savez_compressed(path, cases=np.frombuffer(text.encode(), np.uint8), data=np.frombuffer(bytes(self.data), np.uint8))
        print(self.name, len(self.lines), "cases", os.path.getsize(path), "bytes")


class Shape:
    """An output of which only the shape is known."""
    def __init__(self, *shape):
        self.shape = shape


def info(d):
    return ml_dtypes.finfo(DT[d]) if d in FLOATS else np.iinfo(DT[d])


def cast(v, d):
    """Rounded to nearest, saturating: chx's cast from f64."""
    v = np.asarray(v, np.float64)
    if d == "bool":
        return v != 0
    if d in FLOATS:
        with np.errstate(all="ignore"):
            return v.astype(np.float32).astype(BF16) if d == "bf16" and np.all(v.astype(np.float32) == v) else v.astype(DT[d])
    i = info(d)
    out = np.zeros(v.shape, DT[d])
    for k, x in np.ndenumerate(v):
        out[k] = 0 if np.isnan(x) else i.min if x <= i.min else i.max if x >= i.max else int(x)
    return out


def up(a):
    """One precision higher."""
    return a.astype(np.longdouble) if a.dtype == np.float64 else a.astype(np.float64)


def middle(a):
    """What chx computes in: f32 for the 16-bit floats."""
    return a.astype(np.float32) if NAME[a.dtype] in ("f16", "bf16") else a


def floats_of(d):
    f = info(d)
    v = [0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 3.75, -7.25, 10, 0.001, -0.001, 0.7, -0.3, 88, -88, 100, -100, 1000,
         float(f.smallest_normal), float(f.smallest_subnormal), float(f.max), -float(f.max), np.inf, -np.inf, np.nan]
    return np.array(v + list(rng.uniform(-4, 4, 12))).astype(DT[d])


def few_floats(d):
    f = info(d)
    v = [0.0, -0.0, 1, -1, 0.5, 2.5, -3.75, 7, float(f.smallest_subnormal), float(f.max), np.inf, -np.inf, np.nan]
    return np.array(v).astype(DT[d])


def ints_of(d):
    i = info(d)
    v = [i.min, i.min + 1, i.max // 2, i.max - 1, i.max, 0, 1, 2, 3, 7, 10, 100]
    if i.min < 0:
        v += [-1, -2, -3, -7, -100]
    return np.array(v, DT[d])


def values_of(d, few=False):
    if d == "bool":
        return np.array([False, True])
    if d in FLOATS:
        return few_floats(d) if few else floats_of(d)
    return ints_of(d)


def float_for(d, klass):
    """The dtype that an integer is promoted to by a row of class F or D."""
    if d in FLOATS:
        return d
    if klass == "D":
        return "f64"
    return {"bool": "f16", "i8": "f16", "u8": "f16", "i16": "f32", "u16": "f32"}.get(d, "f64")


def promote(a, b):
    if {a, b} == {"bf16", "f16"}:
        return "f32"
    r = NAME[np.result_type(*(np.dtype("f2") if x == "bf16" else DT[x] for x in (a, b)))]
    return "bf16" if "bf16" in (a, b) and r == "f16" else r


# ---- elementwise ------------------------------------------------------------------------------------------------------

def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


# name: (function one precision up, tolerance, unit)
F1 = {"sqrt": (np.sqrt, 1, 0), "rsqrt": (lambda x: 1 / np.sqrt(x), 2, 0), "reciprocal": (lambda x: 1 / x, 1, 0),
      "exp": (np.exp, 4, 0), "exp2": (np.exp2, 4, 0), "expm1": (np.expm1, 4, 0), "log": (np.log, 4, 0),
      "log2": (np.log2, 4, 0), "log10": (np.log10, 4, 0), "log1p": (np.log1p, 4, 0), "sin": (np.sin, 4, 0),
      "cos": (np.cos, 4, 0), "tan": (np.tan, 4, 0), "asin": (np.arcsin, 4, 0), "acos": (np.arccos, 4, 0),
      "atan": (np.arctan, 4, 0), "sinh": (np.sinh, 4, 0), "cosh": (np.cosh, 4, 0), "tanh": (np.tanh, 4, 0),
      "asinh": (np.arcsinh, 4, 0), "acosh": (np.arccosh, 4, 0), "atanh": (np.arctanh, 4, 0),
      "erf": (lambda x: special.erf(x.astype(np.float64)), 4, 0),
      "sigmoid": (sigmoid, 4, 1e-30),  # e^-x overflows before the result is 0
      "softplus": (softplus, 4, 0)}
# name: (function in the dtype, also of bool)
N1 = {"neg": (np.negative, False), "abs": (np.abs, True), "sign": (np.sign, False), "square": (lambda x: x * x, False),
      "floor": (np.floor, False), "ceil": (np.ceil, False), "trunc": (np.trunc, False), "rint": (None, False),
      "relu": (lambda x: np.maximum(x, x.dtype.type(0)), False), "isnan": (np.isnan, False), "isinf": (np.isinf, False),
      "isfinite": (np.isfinite, False)}


def unary(b):
    for op, (f, tol, unit) in F1.items():
        for d in DT:
            x = values_of(d)
            y = float_for(d, "F")
            b.add(op, [x], (y, f(up(x.astype(DT[y])))), d, tol, unit)
        b.add(op, [np.zeros((0, 3), np.float32)], ("f32", np.zeros((0, 3))), "empty")
    for op, (f, of_bool) in N1.items():
        for d in (["bool"] if of_bool else []) + INTS + FLOATS:
            x = values_of(d)
            if op in ("floor", "ceil", "trunc", "rint") and d in INTS:
                v = x
            elif op == "rint":
                v = np.rint(middle(x))
            else:
                v = f(middle(x))
            y = "bool" if op.startswith("is") else d
            b.add(op, [x], (y, v if y == "bool" or d not in FLOATS else v.astype(x.dtype)), d)
        b.add(op, [np.zeros((2, 0), np.float32)], ("bool" if op.startswith("is") else "f32", np.zeros((2, 0), "?" if op.startswith("is") else "f4")), "empty")
    for d in DT:
        x = values_of(d)
        b.add("logical_not", [x], ("bool", ~(x != 0)), d)
        if d in INTS or d == "bool":
            b.add("invert", [x], (d, ~x), d)
    b.add("abs", [np.array(-3, np.int8)], ("i8", np.array(3, np.int8)), "0-d")


def pairs(d, few=True):
    v = values_of(d, few)
    return v.reshape(-1, 1), v.reshape(1, -1)


def shift_counts(d):
    n = info(d).bits
    v = [0, 1, n // 2, n - 1, n, n + 1, 100] + ([-1, info(d).min] if info(d).min < 0 else [])
    return np.array(v, DT[d]).reshape(1, -1)


def int_power(x, y):
    bits = np.iinfo(x.dtype).bits
    out = np.zeros(np.broadcast(x, y).shape, object)
    for k, (p, q) in zip(np.ndindex(out.shape), np.broadcast(x, y)):
        out[k] = pow(int(p), int(q), 1 << bits)
    return out.astype(np.uint64).astype(x.dtype)


def binary(b):
    numbers = INTS + FLOATS
    exact = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "maximum": np.maximum, "minimum": np.minimum, "fmax": np.fmax,
             "fmin": np.fmin, "floor_divide": np.floor_divide, "remainder": np.remainder, "fmod": np.fmod}
    for op, f in exact.items():
        for d in (["bool"] if op in ("add", "mul", "maximum", "minimum", "fmax", "fmin") else []) + numbers:
            x, y = pairs(d)
            v = f(middle(x), middle(y))
            b.add(op, [x, y], (d, v.astype(x.dtype)), d)
    for op, f in {"equal": np.equal, "not_equal": np.not_equal, "less": np.less, "less_equal": np.less_equal, "greater": np.greater,
                  "greater_equal": np.greater_equal}.items():
        for d in DT:
            x, y = pairs(d)
            b.add(op, [x, y], ("bool", f(middle(x), middle(y))), d)
    for op, f in {"logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor}.items():
        for d in DT:
            x, y = pairs(d)
            b.add(op, [x, y], ("bool", f(x != 0, y != 0)), d)
    for op, f in {"bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or, "bitwise_xor": np.bitwise_xor}.items():
        for d in ["bool"] + INTS:
            x, y = pairs(d)
            b.add(op, [x, y], (d, f(x, y)), d)
    for d in INTS:
        x, y = values_of(d).reshape(-1, 1), shift_counts(d)
        b.add("left_shift", [x, y], (d, np.left_shift(x, y)), d)
        b.add("right_shift", [x, y], (d, np.right_shift(x, y)), d)
        y = np.array([0, 1, 2, 3, 5, 63, 100], DT[d]).reshape(1, -1)
        b.add("pow", [x, y], (d, int_power(x, y)), d)
    x, y = np.array([[1, -1, 2, -2, 0]], np.int32), np.array([[-1], [-2]], np.int32)  # as 1 / x^-y, rounded towards 0
    b.add("pow", [x, y], ("i32", np.array([[1, -1, 0, 0, 0], [1, 1, 0, 0, 0]], np.int32)), "negative exponents")
    b.add("pow", [np.array([False, False, True, True]), np.array([0, 1, 0, 1], np.int8)], ("i8", np.array([1, 0, 1, 1], np.int8)), "bool")
    for op, f, tol, unit in (("div", np.true_divide, 1, 0), ("pow", np.power, 4, 0), ("atan2", np.arctan2, 4, 0), ("hypot", np.hypot, 4, 0),
                             ("logaddexp", np.logaddexp, 4, 1), ("copysign", np.copysign, 0, 0)):
        for d in DT:
            if op == "pow" and d not in FLOATS:
                continue
            x, y = pairs(d)
            if op == "copysign":  # a NaN has a sign, which is not to be compared
                y = y[:, ~np.isnan(y.astype(np.float64))[0]]
            to = float_for(d, "D" if op == "div" else "F")
            b.add(op, [x, y], (to, f(up(x.astype(DT[to])), up(y.astype(DT[to])))), d, tol, unit)
    for d in numbers:
        x, y = pairs(d)
        b.add("relu_grad", [x, y], (d, np.where(x > 0, y, y.dtype.type(0))), d)
    for op in ("add", "less", "floor_divide", "atan2"):
        to = "bool" if op == "less" else "f32"
        b.add(op, [np.zeros((0, 1), np.float32), np.ones((1, 3), np.float32)], (to, np.zeros((0, 3), DT[to])), "empty")


def three(b):
    c = np.array([True, False, True]).reshape(3, 1, 1)
    for d in DT:
        y, z = pairs(d)
        b.add("where", [c, y, z], (d, np.where(c, y, z)), d)
    b.add("where", [c, np.array(3, np.int8), np.array([0.5, -0.5], np.float32)], ("f32", np.where(c, np.float32(3), np.array([0.5, -0.5], np.float32))),
          "promoted")
    for d in INTS + FLOATS:
        x = values_of(d)
        lo, hi = np.array(1, DT[d]), np.array(7, DT[d])
        b.add("clip", [x, lo, hi], (d, np.minimum(np.maximum(x, lo), hi)), d)
    x = np.array([np.nan, 1, 5, 9], np.float32)
    nan = np.array(np.nan, np.float32)
    b.add("clip", [x, nan, np.float32([7])], ("f32", np.full(4, np.nan)), "a bound that is NaN")


def mixed(b):
    for d in DT:
        for e in DT:
            x, y = cast([1, 0, 3], d), cast([2, 1, 1], e)
            r = promote(d, e)
            b.add("add", [x, y], (r, x.astype(DT[r]) + y.astype(DT[r])), f"{d} and {e}")
    i8 = np.array([100, -100, 5], np.int8)
    b.add("add", [i8, Weak("I", 100)], ("i8", i8 + np.int8(100)), "a weak integer")
    b.add("mul", [i8, Weak("F", 0.5)], ("f64", i8 * 0.5), "a weak float with integers")
    b.add("mul", [np.float16([1, 2.5]), Weak("F", 0.1)], ("f16", np.float16([1, 2.5]) * np.float16(0.1)), "a weak float with f16")
    b.add("add", [np.array([True, False]), Weak("I", 2)], ("i64", np.array([3, 2])), "a weak integer with bool")
    b.add("sub", [Weak("I", 1), np.uint8([0, 1, 2])], ("u8", np.uint8([1, 0, 255])), "a weak integer first")
    b.add("maximum", [np.int16([-5, 5]), Weak("B", 1)], ("i16", np.int16([1, 5])), "a weak bool")
    b.add("add", [Weak("F", 1.5), Weak("I", 2)], ("f64", np.array(3.5)), "weak scalars alone")
    x = rng.integers(-9, 9, (2, 1, 3, 1, 2)).astype(np.int32)
    y = rng.integers(-9, 9, (4, 1, 5, 1)).astype(np.int32)
    b.add("mul", [x, y], ("i32", x * y), "rank 5 with rank 4")
    x = rng.integers(0, 9, (1, 2) * 8).astype(np.int8)
    y = rng.integers(0, 9, (2, 1) * 8).astype(np.int8)
    b.add("add", [x[..., :1, :], y[:1]], ("i8", x[..., :1, :] + y[:1]), "rank 16")
    a, c = np.float32(rng.uniform(-2, 2, (3, 4))), np.float32(rng.uniform(-2, 2, (4,)))
    b.add("map", [a, c], ("f32", np.maximum(a.astype(float) * c + a, 0)), "a * c + a, relu", 4, 4, program="mul 0 1 0,add 2 0 0,relu 3 0 0")
    b.add("map", [np.int32([[1], [2]]), np.int32([3, 4])], ("i32", np.int32([[2, 3], [1, 2]])), "one instruction", program="sub 1 0 0")


# ---- casts, copies, sources -------------------------------------------------------------------------------------------

def casts(b):
    special_values = [0.0, -0.0, 1, -1, 0.5, -0.75, 1.99, -1.99, 127, 128, 129, -128, -129, 255, 256, 32767, 32768, -32769, 65535, 65536,
                      2147483520, 2147483648, -2147483648, 4294967296, 1e10, -1e10, 2.0**63, -(2.0**63), 2.0**64, 1e30, np.inf, -np.inf, np.nan]
    for d in DT:
        x = values_of(d) if d not in FLOATS else np.concatenate([values_of(d), cast(special_values, d)])
        for e in DT:
            if d in FLOATS:
                y = cast(x.astype(np.float64), e)
            elif e == "bool":
                y = x != 0
            elif e == "bf16":  # every integer of the samples, rounded once
                y = np.array([float(int(v)) for v in x]).astype(np.float64).astype(BF16)
            else:
                y = x.astype(DT[e])
            b.add("cast", [x], (e, y), f"{d} to {e}", dtype=e)
        z = rng.integers(0, 2, (2, 3, 4)).astype(DT[d])
        b.add("copy", [z], (d, z), d)
        b.add("to_device", [z], (d, z), d)
        b.add("full", [np.array(1, DT[d])], (d, np.ones((2, 3), DT[d])), d, shape=(2, 3), dtype=d)
    halves = np.array([1 + 2**-11, 1 + 2**-11 + 2**-40, 1 + 3 * 2**-11, 65519.99, 65520, 2**-25, 1.0001 * 2**-25, 3 * 2**-25, -1e-9])
    b.add("cast", [halves], ("f16", halves.astype(np.float16)), "f64 to f16 rounds once", dtype="f16")
    b.add("cast", [np.zeros((3, 0), np.float32)], ("i8", np.zeros((3, 0), np.int8)), "empty", dtype="i8")
    b.add("full", [Weak("F", 2.5)], ("f32", np.full((3,), 2.5)), "a weak scalar", shape=(3,), dtype="f32")
    b.add("full", [Weak("I", 7)], ("i16", np.array(7, np.int16)), "0-d", shape=(), dtype="i16")
    for d in INTS + FLOATS:
        b.add("arange", [], (d, np.arange(2, 2 + 3 * 9, 3).astype(DT[d])), d, start=2.0, step=3.0, n=9, dtype=d)
    b.add("arange", [], ("f32", np.float32(np.arange(5) * -0.3 + 1)), "a negative step", 1, 1, start=1.0, step=-0.3, n=5, dtype="f32")
    b.add("arange", [], ("i64", np.arange(2**53 - 2, 2**53, 1)), "large integers", start=float(2**53 - 2), step=1.0, n=2, dtype="i64")
    b.add("arange", [], ("f64", np.zeros(0)), "empty", start=0.0, step=1.0, n=0, dtype="f64")


# ---- reductions ---------------------------------------------------------------------------------------------------------

AXES = [(), (0,), (1,), (2,), (-1, 0), (1, 2), (0, 1, 2)]


def reductions(b):
    kinds = {"sum": 1, "prod": 2, "amax": 3, "amin": 4, "all": 5, "any": 6, "mean": 7}
    for d in DT:
        if d == "bool":
            x = rng.integers(0, 2, (3, 4, 5)).astype(bool)
            x[1] = True
        elif d in FLOATS:
            x = rng.uniform(-2, 2, (3, 4, 5)).astype(DT[d])
        else:
            i = info(d)
            x = rng.integers(max(i.min, -9), 10, (3, 4, 5)).astype(DT[d])
            x[0, 0, :3] = i.min, i.max, i.max
            x[2, 1] = 0
        w = up(x) if d in FLOATS else x
        for n, axes in enumerate(AXES):
            ax, keep = axes or None, n % 2
            unit = float(np.abs(w).sum(axis=ax).max()) if d in FLOATS else 0
            to = d if d in FLOATS else "u64" if d[0] == "u" else "i64"
            b.add("sum", [x], (to, np.sum(w, axis=ax, keepdims=keep)), f"{d} {axes}", 4, unit, axes=axes, keepdims=keep)
            mean = d if d in FLOATS else "f64"
            exact = w if d in FLOATS else x.astype(np.longdouble)
            b.add("mean", [x], (mean, np.mean(exact, axis=ax, keepdims=keep)), f"{d} {axes}", 4, float(np.abs(exact).mean(axis=ax).max()), axes=axes,
                  keepdims=keep)
            if n > 3 and d not in ("f32", "i32"):
                continue
            b.add("prod", [x], (to, np.prod(w, axis=ax, keepdims=keep, dtype=None if d in FLOATS else DT[to])), f"{d} {axes}", 32, axes=axes,
                  keepdims=keep)
            for op in ("amax", "amin"):
                b.add(op, [x], (d, getattr(np, op)(x, axis=ax, keepdims=keep)), f"{d} {axes}", axes=axes, keepdims=keep)
            for op in ("all", "any"):
                b.add(op, [x], ("bool", getattr(np, op)(x != 0, axis=ax, keepdims=keep)), f"{d} {axes}", axes=axes, keepdims=keep)
            for op in ("argmax", "argmin"):
                if len(axes) < 2:
                    one = axes[0] if axes else None
                    b.add(op, [x], ("i64", np.asarray(getattr(np, op)(x, axis=one, keepdims=bool(keep)))), f"{d} {axes}", axes=axes, keepdims=keep)
    x = rng.uniform(-2, 2, (2, 3)).astype(np.float32)
    for op, kind in kinds.items():
        f = getattr(np, op)
        to = "bool" if op in ("all", "any") else "f32"
        b.add("reduce", [x], (to, f(x.astype(float), axis=1)), op, 4, 2 if to == "f32" else 0, axes=(1,), kind=kind)
        b.add(op, [np.array(3, np.float32)], (to, f(np.array(3, np.float32))), "0-d")
    for op, v in (("sum", 0.0), ("prod", 1.0), ("mean", np.nan), ("all", True), ("any", False)):
        to = "bool" if op in ("all", "any") else "f32"
        b.add(op, [np.zeros((2, 0), np.float32)], (to, np.full((2,), v)), "empty axis", axes=(1,))
        b.add(op, [np.zeros((0, 2), np.float32)], (to, np.zeros((0,), DT[to])), "empty result", axes=(1,))
    b.add("amax", [np.zeros((0, 2), np.float32)], ("f32", np.zeros((0,))), "empty result", axes=(1,))
    n = np.float32([[1, np.nan, 3], [np.inf, -np.inf, 0], [np.inf, 1, 2], [-1, -2, -3]])
    for op in ("sum", "amax", "amin", "prod", "mean"):
        b.add(op, [n], ("f32", getattr(np, op)(n, axis=1)), "NaN and infinities", 2, axes=(1,))
    for op in ("argmax", "argmin"):
        b.add(op, [n], ("i64", getattr(np, op)(n, axis=1)), "NaN and infinities", axes=(1,))
        t = np.int32([[3, 1, 3, 1], [2, 2, 2, 2]])
        b.add(op, [t], ("i64", getattr(np, op)(t, axis=1)), "ties", axes=(1,))
    b.add("all", [np.float32([[np.nan, 1], [0, 1]])], ("bool", np.array([True, False])), "NaN is true", axes=(1,))
    b.add("sum", [np.float16([300, 400, 500])], ("f32", np.array(1200.0)), "dtype", dtype="f32")
    b.add("sum", [np.uint8([200, 100])], ("i32", np.array(300, np.int32)), "dtype", dtype="i32")
    b.add("sum", [np.float16([60000, 60000, -60000])], ("f16", np.array(60000.0)), "f16 accumulates in f32")
    b.add("mean", [np.float16([60000, 60000])], ("f16", np.array(60000.0)), "f16 accumulates in f32")
    b.add("sum", [np.full(100000, 0.1, np.float32)], ("f32", np.array(100000 * float(np.float32(0.1)))), "100000 elements: a plain loop errs by thousands", 32)
    b.add("sum", [np.full((50000, 2), 0.1, np.float32)], ("f32", np.full(2, 50000 * float(np.float32(0.1)))), "50000 rows", 32, axes=(0,))
    b.add("sum", [np.ones(5000, np.float16)], ("f16", np.array(5000.0)), "5000 in f16")
    for d in ("f16", "f32", "f64", "i32"):
        x = cast([[1, 2, 3], [-5, -5, -5]], d)
        w = x.astype(np.longdouble)
        to = d if d in FLOATS else "f64"
        b.add("logsumexp", [x], (to, np.log(np.sum(np.exp(w), axis=1, keepdims=True))), d, 8, 1, axes=(1,), keepdims=1)
    x = np.float32([[1000, 1000], [-np.inf, -np.inf], [np.inf, 0], [-1000, -999], [np.nan, 0]])
    b.add("logsumexp", [x], ("f32", np.logaddexp.reduce(x.astype(float), axis=1)), "large and infinite", 8, 1, axes=(1,))
    b.add("logsumexp", [x[3:4]], ("f32", np.array(np.logaddexp.reduce(x[3].astype(float)))), "all axes", 8, 1)


# ---- movement and indexing ----------------------------------------------------------------------------------------------

def movement(b):
    for d in ("f32", "i8", "bool", "f64", "bf16"):
        x = cast(np.arange(24).reshape(2, 3, 4) % 7, d)
        b.add("reshape", [x], (d, x.reshape(4, 6)), d, shape=(4, -1))
        b.add("reshape", [x], (d, x.reshape(2, 12, 1)), d, shape=(2, 12, 1))
        b.add("transpose", [x], (d, x.T), d)
        b.add("transpose", [x], (d, x.transpose(1, 2, 0)), d, axes=(1, 2, -3))
        b.add("broadcast_to", [x[:, :1]], (d, np.broadcast_to(x[:, :1], (5, 2, 3, 4))), d, shape=(5, 2, 3, 4))
        b.add("slice", [x], (d, x[1:, ::-1, 3:0:-2]), d, start=(1, "none", 3), stop=("none", "none", 0), step=(1, -1, -2))
        b.add("slice", [x], (d, x[-1, 1:]), d, start=(-1, 1), stop=("none", "none"), drop=1)
        b.add("slice", [x], (d, x[2:, 5:9]), d + " empty", start=(2, 5), stop=(9, 9))
        b.add("flip", [x], (d, np.flip(x)), d)
        b.add("flip", [x], (d, np.flip(x, (0, 2))), d, axes=(0, -1))
        b.add("squeeze", [x[:1, :, :1]], (d, x[0, :, 0]), d)
        b.add("squeeze", [x[:1, :, :1]], (d, x[:1, :, 0]), d, axes=(-1,))
        b.add("concatenate", [x, x[:, :1], x[:, :0]], (d, np.concatenate([x, x[:, :1], x[:, :0]], 1)), d, axis=-2)
        b.add("stack", [x, x[::-1]], (d, np.stack([x, x[::-1]], 1)), d, axis=1)
        b.add("stack", [x, x], (d, np.stack([x, x], -1)), d, axis=-1)
        if d != "bool":
            b.add("pad", [x], (d, np.pad(x, ((1, 0), (0, 2), (1, 1)), constant_values=3)), d, before=(1, 0, 1), after=(0, 2, 1), value=3.0)
        gy = cast(np.arange(4).reshape(1, 2, 2) + 1, d)
        g = np.zeros_like(x)
        g[1:, ::-2, 0:2] = gy
        b.add("slice_grad", [gy], (d, g), d, start=(1, "none", 0), stop=("none", "none", 2), step=(1, -2, 1), shape=(2, 3, 4))
    b.add("concatenate", [np.int8([1, 2]), np.float32([0.5])], ("f32", np.float32([1, 2, 0.5])), "promoted", axis=0)
    b.add("reshape", [np.zeros((0, 3), np.float32)], ("f32", np.zeros((3, 0))), "empty", shape=(3, 0))
    b.add("reshape", [np.float32([5])], ("f32", np.array(5.0)), "to 0-d", shape=())
    b.add("transpose", [np.array(2, np.float32)], ("f32", np.array(2.0)), "0-d")
    b.add("pad", [np.float32([1, 2])], ("f32", np.float32([0, 0, 1, 2])), "zeros", before=(2,), after=(0,))


def indexing(b):
    for d in DT:
        x = cast(np.arange(24).reshape(2, 3, 4) % 11, d)
        i = np.array([[2, 0], [-1, -3]])
        b.add("take", [x, i], (d, np.take(x, i, 1)), d, axis=1)
        j = rng.integers(-4, 4, (2, 3, 2))
        b.add("take_along_axis", [x, j], (d, np.take_along_axis(x, j % 4, -1)), d, axis=-1)
        if d == "bool":
            continue
        y = cast(rng.integers(0, 5, (2, 2, 2, 4)), d)
        v = x.copy()
        for p in np.ndindex(2, 2):
            v[:, i[p]] += y[:, p[0], p[1]]
        b.add("scatter_add", [x, i, y], (d, v), d, axis=1)
        y = cast(rng.integers(0, 5, (2, 3, 2)), d)
        v = x.copy()
        for p in np.ndindex(2, 3, 2):
            v[p[0], p[1], j[p]] += y[p]
        b.add("scatter_add_along_axis", [x, j, y], (d, v), d, axis=2)
    x = np.float32(np.arange(6).reshape(3, 2))
    for t in ("i8", "i32", "u8", "u64"):
        b.add("take", [x, np.array([2, 0, 2], DT[t])], ("f32", x[[2, 0, 2]]), "indices " + t)
    b.add("take", [x, np.array(1)], ("f32", x[1]), "a 0-d index")
    b.add("take", [x, np.zeros((0, 2), int)], ("f32", np.zeros((0, 2, 2))), "no index")
    big = np.int32([2**30, 2**30])
    b.add("scatter_add", [np.int32([2**30]), np.array([0, 0]), big], ("i32", np.int32([-(2**30)])), "wraps")


def main():
    np.seterr(all="ignore")
    b = Book("ops_elementwise.npz")
    unary(b)
    binary(b)
    three(b)
    mixed(b)
    b.save()
    b = Book("ops_basic.npz")
    casts(b)
    reductions(b)
    movement(b)
    indexing(b)
    line_cases(b, DT, FLOATS, info, up)
    b.save()
    b = Book("ops_heavy.npz")
    heavy_cases(b, rng, DT, cast, up)
    random_cases(b, DT, Shape)
    b.save()


if __name__ == "__main__":
    main()
