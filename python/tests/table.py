# SPDX-License-Identifier: MIT
"""What test_table.py goes through: a row for each operator and function of chx, and for each method and attribute of its arrays.

A row has what NumPy calls it, or a formula in NumPy, and the calls to compare. `a` makes the same values for both libraries: a(2, 3)
of the dtype that is tried, a("int64", 2, 3) of this one. Expected dtypes are NumPy 2's, by the rules here where NumPy 1 has others.
"""
import math

import numpy as np

REAL = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
FLOATING = {"bool": "float16", "int8": "float16", "uint8": "float16", "int16": "float32", "uint16": "float32"}


def accepted(letter, dtype):
    """The dtype in which an elementwise operator of a class (see elementwise.def; M is N without bool) computes operands of this one;
    None: TypeError."""
    dtype = np.dtype(dtype)
    if letter in "FD":
        return dtype if dtype.kind == "f" else np.dtype(FLOATING.get(dtype.name, "float64") if letter == "F" else "float64")
    if dtype.kind not in {"N": "biuf", "M": "iuf", "A": "biuf", "I": "biu", "Z": "biu", "B": "biuf"}[letter]:
        return None
    return np.dtype("bool") if letter == "B" else np.dtype("int8") if letter in "NZ" and dtype == "bool" else dtype


def computed(letter, *dtypes):
    """The dtype in which operands of these are computed."""
    if letter == "F":
        return np.result_type(*[accepted(letter, d) for d in dtypes])
    return accepted(letter, np.result_type(*dtypes))


def weak(dtype, number):
    """The dtype that an array's and a Python number's promote to."""
    kind = np.dtype(dtype).kind
    if isinstance(number, float) and kind != "f":
        return np.dtype("float64")
    return np.dtype("int64" if kind == "b" and isinstance(number, int) and not isinstance(number, bool) else dtype)


# ---- elementwise: class, result ("S" the operands' dtype, "B" bool), formula, range, units of the last place ----------------------------

_wide = lambda f: lambda x: f(x.astype("float64"))
_kept = lambda f: lambda x: f(x).astype(x.dtype)
UNARY = {
    "neg": ("M", "S", np.negative, -4, 4, 0), "abs": ("A", "S", np.abs, -4, 4, 0), "sign": ("M", "S", np.sign, -4, 4, 0),
    "square": ("N", "S", np.square, -4, 4, 1), "sqrt": ("F", "S", np.sqrt, 0, 4, 1),
    "rsqrt": ("F", "S", _wide(lambda x: 1 / np.sqrt(x)), 1, 4, 2), "reciprocal": ("F", "S", np.reciprocal, 1, 4, 2),
    "exp": ("F", "S", np.exp, -4, 4, 4), "exp2": ("F", "S", np.exp2, -4, 4, 4), "expm1": ("F", "S", np.expm1, -4, 4, 4),
    "log": ("F", "S", np.log, 1, 4, 4), "log2": ("F", "S", np.log2, 1, 4, 4), "log10": ("F", "S", np.log10, 1, 4, 4),
    "log1p": ("F", "S", np.log1p, 0, 4, 4), "sin": ("F", "S", np.sin, -4, 4, 4), "cos": ("F", "S", np.cos, -4, 4, 4),
    "tan": ("F", "S", np.tan, -1, 1, 8), "asin": ("F", "S", np.arcsin, -1, 1, 8), "acos": ("F", "S", np.arccos, -1, 1, 8),
    "atan": ("F", "S", np.arctan, -4, 4, 4), "sinh": ("F", "S", np.sinh, -3, 3, 8), "cosh": ("F", "S", np.cosh, -3, 3, 8),
    "tanh": ("F", "S", np.tanh, -4, 4, 4), "asinh": ("F", "S", np.arcsinh, -4, 4, 8), "acosh": ("F", "S", np.arccosh, 1, 5, 16),
    "atanh": ("F", "S", np.arctanh, -0.5, 0.5, 8), "erf": ("F", "S", np.vectorize(math.erf, otypes=["float64"]), -2, 2, 8),
    "floor": ("N", "S", _kept(np.floor), -4, 4, 0), "ceil": ("N", "S", _kept(np.ceil), -4, 4, 0),
    "trunc": ("N", "S", _kept(np.trunc), -4, 4, 0), "rint": ("N", "S", _kept(np.rint), -4, 4, 0),
    "sigmoid": ("F", "S", _wide(lambda x: 1 / (1 + np.exp(-x))), -4, 4, 4), "softplus": ("F", "S", _wide(lambda x: np.log1p(np.exp(x))), -4, 4, 4),
    "relu": ("N", "S", lambda x: np.maximum(x, x.dtype.type(0)), -4, 4, 0), "isnan": ("N", "B", np.isnan, -4, 4, 0),
    "isinf": ("N", "B", np.isinf, -4, 4, 0), "isfinite": ("N", "B", np.isfinite, -4, 4, 0),
    "logical_not": ("B", "B", np.logical_not, -2, 2, 0), "invert": ("I", "S", np.invert, -4, 4, 0),
}
BINARY = {
    "add": ("A", "S", np.add, -4, 4, 1), "sub": ("M", "S", np.subtract, -4, 4, 1), "mul": ("A", "S", np.multiply, -4, 4, 1),
    "div": ("D", "S", np.true_divide, 1, 4, 2), "floor_divide": ("N", "S", np.floor_divide, 1, 7, 0),
    "remainder": ("N", "S", np.remainder, 1, 7, 4), "fmod": ("N", "S", np.fmod, 1, 7, 4), "pow": ("N", "S", np.power, 1, 3, 8),
    "maximum": ("A", "S", np.maximum, -4, 4, 0), "minimum": ("A", "S", np.minimum, -4, 4, 0), "fmax": ("A", "S", np.fmax, -4, 4, 0),
    "fmin": ("A", "S", np.fmin, -4, 4, 0), "atan2": ("F", "S", np.arctan2, -4, 4, 4), "hypot": ("F", "S", np.hypot, -4, 4, 2),
    "logaddexp": ("F", "S", np.logaddexp, -4, 4, 4), "copysign": ("F", "S", np.copysign, -4, 4, 0),
    "equal": ("A", "B", np.equal, -2, 2, 0), "not_equal": ("A", "B", np.not_equal, -2, 2, 0), "less": ("A", "B", np.less, -2, 2, 0),
    "less_equal": ("A", "B", np.less_equal, -2, 2, 0), "greater": ("A", "B", np.greater, -2, 2, 0),
    "greater_equal": ("A", "B", np.greater_equal, -2, 2, 0), "logical_and": ("B", "B", np.logical_and, -2, 2, 0),
    "logical_or": ("B", "B", np.logical_or, -2, 2, 0), "logical_xor": ("B", "B", np.logical_xor, -2, 2, 0),
    "bitwise_and": ("I", "S", np.bitwise_and, -4, 4, 0), "bitwise_or": ("I", "S", np.bitwise_or, -4, 4, 0),
    "bitwise_xor": ("I", "S", np.bitwise_xor, -4, 4, 0), "left_shift": ("Z", "S", np.left_shift, 0, 5, 0),
    "right_shift": ("Z", "S", np.right_shift, 0, 5, 0),
    "relu_grad": ("N", "S", lambda x, gy: np.where(x > 0, gy, gy.dtype.type(0)), -4, 4, 0),
}

# ---- reductions: formula, dtypes, the result's dtype (None: NumPy's), whether it is of nothing, units of the last place -------------------

NUMBERS = REAL[1:]
_lse = lambda x, **k: (np.max(x, **k) * 0 + np.log(np.sum(np.exp(x.astype("float64")), **k))).astype(x.dtype)
REDUCTIONS = {
    "sum": (np.sum, REAL, True, 8), "prod": (np.prod, REAL, True, 16), "mean": (np.mean, REAL, True, 8), "amax": (np.max, REAL, False, 0),
    "amin": (np.min, REAL, False, 0), "all": (np.all, REAL, True, 0), "any": (np.any, REAL, True, 0),
    "logsumexp": (_lse, NUMBERS[-3:], False, 8), "var": (np.var, REAL, True, 64), "std": (np.std, REAL, True, 64),
    "ptp": (lambda x, **k: np.max(x, **k) - np.min(x, **k), NUMBERS, False, 1), "median": (np.median, NUMBERS, True, 4),
}

# ---- networks, in NumPy ------------------------------------------------------------------------------------------------------------------


def _conv(x, w, b=None, stride=1, pad=0):
    x = np.pad(x, [(0, 0), (0, 0), (pad, pad)])
    n = (x.shape[2] - w.shape[2]) // stride + 1
    y = np.stack([np.tensordot(x[:, :, i * stride : i * stride + w.shape[2]], w, ([1, 2], [1, 2])) for i in range(n)], 2)
    return y if b is None else y + b[:, None]


def _windows(x, k):
    return np.stack([x[:, :, i : i + k] for i in range(0, x.shape[2] - k + 1, k)], 2)


def _softmax(x, axis=1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _normal(x, axes, eps, gamma, beta):
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(var + eps) * gamma + beta


def _batch_norm(x, gamma, beta):
    mean, var = x.mean((0, 2)), x.var((0, 2))
    return _fixed(x, gamma, beta, mean, var), mean, var


def _fixed(x, gamma, beta, mean, var):
    return (x - mean[:, None]) / np.sqrt(var[:, None] + 2e-5) * gamma[:, None] + beta[:, None]


def _scatter(x, i, y, axis=0):
    x = np.moveaxis(x.copy(), axis, 0)
    np.add.at(x, i, np.moveaxis(y, axis, 0))
    return np.moveaxis(x, 0, axis)


def _scatter_along(x, i, y, axis):
    x = x.copy()
    at = list(np.ogrid[tuple(map(slice, i.shape))])
    at[axis] = i
    np.add.at(x, tuple(at), y)
    return x


def _topk(x, k=1, axis=-1, largest=True):
    if k > x.shape[axis]:
        raise ValueError
    i = np.take(np.argsort(-x if largest else x, axis, kind="stable"), range(k), axis)
    return np.take_along_axis(x, i, axis), i


def _slice_grad(gy, start, stop, step, shape):
    y = np.zeros(shape, gy.dtype)
    y[tuple(map(slice, start, stop, step))] = gy
    return y


# ---- all other functions: NumPy's or a formula, calls that are compared, calls that must fail alike ---------------------------------------
# F: floating dtypes only. X: not of bool. Without either: float64, int32 and bool.

F, X = ["float64", "float32"], ["float64", "int32"]
_vec = lambda f, a: f(a(3), a(3))
_both = [lambda f, a: f(a(2, 3), a(3)), lambda f, a: f(a(2, 3), 2), lambda f, a: f(a(3), a("int64", 3))]
_stacking = [lambda f, a: f([a(2, 3), a(2, 3)]), lambda f, a: f((a(3), a("int64", 3), a(3)))]
_splits = [lambda f, a: f(a(6, 4, 2), 2), lambda f, a: f(a(6, 4, 2), [1, 2]), lambda f, a: f(a(6, 4, 2), (1, -1, 9))]
_axis9 = lambda f, a: f(a(2, 3), axis=9)
_bad_pair = lambda f, a: f(a(2, 3), a(2, 4))
CALLS = {
    # the table's
    "clip": (np.clip, [lambda f, a: f(a(2, 3), 1, 2), lambda f, a: f(a(2, 3), a(3), a(2, 1)), lambda f, a: f(a(5), None, 1),
                       lambda f, a: f(a(5), 1, None), lambda f, a: f(a(5), a_min=0, a_max=1)], [lambda f, a: f(a(2), a(3), 1)], X),
    "where": (np.where, [lambda f, a: f(a(2, 3) > 0, a(2, 3), a(3)), lambda f, a: f(a("bool", 3), a(2, 3), a("float32", 2, 1)),
                         lambda f, a: f(a(2, 3))], [lambda f, a: f(a("bool", 2), a(3), a(3)), lambda f, a: f(a("bool", 2), a(2))]),
    "copy": (np.copy, [lambda f, a: f(a(2, 3))], []),
    "cast": (lambda x, d: x.astype(d), [lambda f, a: f(a(2, 3), "float32"), lambda f, a: f(a(2, 3), "bool")], []),
    "argmax": (np.argmax, [lambda f, a: f(a(2, 3)), lambda f, a: f(a(2, 3), 1), lambda f, a: f(a(2, 3), axis=0, keepdims=True)], [_axis9]),
    "argmin": (np.argmin, [lambda f, a: f(a(2, 3)), lambda f, a: f(a(2, 3), 1), lambda f, a: f(a(2, 3), axis=0, keepdims=True)], [_axis9]),
    "cumsum": (np.cumsum, [lambda f, a: f(a(2, 3)), lambda f, a: f(a(2, 3), 1), lambda f, a: f(a(2, 3), 0, "float64")], [_axis9]),
    "cumprod": (np.cumprod, [lambda f, a: f(a(2, 3)), lambda f, a: f(a(2, 3), 1), lambda f, a: f(a(2, 3), axis=0, dtype="float64")], [_axis9]),
    "cummax": (np.maximum.accumulate, [lambda f, a: f(a(2, 3), axis=1)], [_axis9]),
    "cummin": (np.minimum.accumulate, [lambda f, a: f(a(2, 3), axis=1)], [_axis9]),
    "sort": (np.sort, [lambda f, a: f(a(2, 3)), lambda f, a: f(a(2, 3), 0), lambda f, a: f(a(2, 3), axis=None),
                       lambda f, a: f(a(2, 3), kind="stable")], [_axis9, lambda f, a: f(a(3), kind="odd")]),
    "argsort": (lambda x, *p, **k: np.argsort(x, *p, **{**k, "kind": k.get("kind", "stable")}),
                [lambda f, a: f(a(2, 5)), lambda f, a: f(a(2, 3), 0), lambda f, a: f(a(2, 3), axis=None),
                 lambda f, a: f(a(2, 3), kind="mergesort")], [_axis9, lambda f, a: f(a(3), kind="odd")]),
    "topk": (_topk, [lambda f, a: f(a(2, 5), 2), lambda f, a: f(a(2, 5), k=1, axis=0, largest=False)], [lambda f, a: f(a(2), k=9)], X),
    "reshape": (np.reshape, [lambda f, a: f(a(2, 6), (3, 4)), lambda f, a: f(a(2, 6), -1), lambda f, a: f(a(2, 6), (4, -1)),
                             lambda f, a: f(a(2, 6), (3, 4), order="F")],
                [lambda f, a: f(a(2, 6), (5, -1)), lambda f, a: f(a(2, 6), (-1, -1)), lambda f, a: f(a(2, 6), 7)]),
    "transpose": (np.transpose, [lambda f, a: f(a(2, 3, 4)), lambda f, a: f(a(2, 3, 4), (1, 0, 2)), lambda f, a: f(a(2, 3), axes=(-1, 0))],
                  [lambda f, a: f(a(2, 3), (0, 0)), lambda f, a: f(a(2, 3), (0,))]),
    "broadcast_to": (np.broadcast_to, [lambda f, a: f(a(2, 1), (3, 2, 4)), lambda f, a: f(a(3), (0, 3))], [lambda f, a: f(a(3), (2,))]),
    "flip": (np.flip, [lambda f, a: f(a(2, 3)), lambda f, a: f(a(2, 3), 1), lambda f, a: f(a(2, 3), axis=(0, 1))], [_axis9]),
    "squeeze": (np.squeeze, [lambda f, a: f(a(1, 2, 1)), lambda f, a: f(a(1, 2, 1), 0), lambda f, a: f(a(1, 2, 1), axis=(0, -1))],
                [lambda f, a: f(a(2, 1), 0), _axis9]),
    "slice": (lambda x, start, stop, step: x[tuple(map(slice, start, stop, step))], [lambda f, a: f(a(4, 5), (0, 4), (3, 1), (2, -1))], []),
    "slice_grad": (_slice_grad, [lambda f, a: f(a(2, 3), (0, 4), (3, 1), (2, -1), shape=(4, 5))], []),
    "concatenate": (np.concatenate, [lambda f, a: f([a(2, 3), a(1, 3)]), lambda f, a: f((a(2, 3), a("int64", 2, 1)), 1),
                                     lambda f, a: f([a(2, 3), a(4)], axis=None), lambda f, a: f([a(1, 2)] * 40), lambda f, a: f([[1, 2], a(2)])],
                    [lambda f, a: f([a(2, 3), a(2, 4)]), lambda f, a: f([]), lambda f, a: f([a(2), a(2)], axis=1)]),
    "stack": (np.stack, [lambda f, a: f([a(2, 3), a(2, 3)]), lambda f, a: f((a(3), a(3)), -1), lambda f, a: f([a(2)] * 40, axis=1)],
              [lambda f, a: f([a(2), a(3)]), lambda f, a: f([]), lambda f, a: f([a(2), a(2)], axis=3)]),
    "pad": (np.pad, [lambda f, a: f(a(2, 3), ((1, 0), (0, 2))), lambda f, a: f(a(2, 3), 1), lambda f, a: f(a(3), (1, 2), constant_values=1),
                     lambda f, a: f(a(2, 3), [(1, 2)])], [lambda f, a: f(a(2, 3), ((1, 0), (0, 2), (1, 1))), lambda f, a: f(a(2), -1)], X),
    "take": (np.take, [lambda f, a: f(a(3, 4), [1, -2]), lambda f, a: f(a(3, 4), [[0, 1], [2, 2]], axis=1), lambda f, a: f(a(3, 4), 1, 0),
                       lambda f, a: f(a(3), [5, -9], mode="wrap"), lambda f, a: f(a(3), [5, -9], mode="clip")],
             [lambda f, a: f(a(3, 4), [3], axis=0), lambda f, a: f(a(3), [0], mode="odd"), lambda f, a: f(a(3), [0], axis=9)]),
    "take_along_axis": (np.take_along_axis, [lambda f, a: f(a(3, 4), a("index", 3, 4), 1), lambda f, a: f(a(3, 4), a("index", 2, 4), 0),
                                             lambda f, a: f(a(3, 4), a("index", 5), None)], [lambda f, a: f(a(3), a("index", 3), axis=9)]),
    "scatter_add": (_scatter, [lambda f, a: f(a(4, 3), a("index", 5), a(5, 3)), lambda f, a: f(a(4, 3), a("index", 5), a(4, 5), axis=1)], [], X),
    "scatter_add_along_axis": (_scatter_along, [lambda f, a: f(a(4, 3), a("index", 5, 3), a(5, 3), axis=0)], [], X),
    "matmul": (np.matmul, [lambda f, a: f(a(2, 3), a(3, 4)), lambda f, a: f(a(3), a(3, 4)), lambda f, a: f(a(2, 3), a(3)), _vec,
                           lambda f, a: f(a(5, 1, 2, 3), a(4, 3, 2)), lambda f, a: f(a(2, 0), a(0, 3)), lambda f, a: f(a(2, 3), a("int64", 3))],
               [lambda f, a: f(a(2, 3), a(2)), lambda f, a: f(a(2), 1), _bad_pair]),
    "linear": (lambda x, w, b=0: x @ w.T + b, [lambda f, a: f(a(2, 3), a(4, 3)), lambda f, a: f(a(2, 3), a(4, 3), a(4))], [_bad_pair], F),
    "conv": (_conv, [lambda f, a: f(a(2, 3, 7), a(4, 3, 3)), lambda f, a: f(a(2, 3, 7), a(4, 3, 3), a(4), stride=2, pad=1)], [_bad_pair], F),
    "conv_grad_input": (lambda gy, w, shape: sum(np.pad(np.einsum("nkp,kc->ncp", gy, w[:, :, r]), [(0, 0), (0, 0), (r, w.shape[2] - 1 - r)])
                                                 for r in range(w.shape[2])), [lambda f, a: f(a(2, 4, 5), a(4, 3, 3), shape=(2, 3, 7))], [], F),
    "conv_grad_weight": (lambda x, gy, shape: np.stack([np.einsum("ncp,nkp->kc", x[:, :, r : r + gy.shape[2]], gy) for r in range(shape[2])], 2),
                         [lambda f, a: f(a(2, 3, 7), a(2, 4, 5), shape=(4, 3, 3))], [], F),
    "max_pool": (lambda x, ksize: (_windows(x, ksize).max(3), _windows(x, ksize).argmax(3) + np.arange(0, x.shape[2] - ksize + 1, ksize)),
                 [lambda f, a: f(a(2, 3, 6), ksize=2)], [], F),
    "avg_pool": (lambda x, ksize: _windows(x, ksize).mean(3), [lambda f, a: f(a(2, 3, 6), ksize=2)], [], F),
    "avg_pool_grad": (lambda gy, ksize, shape: np.repeat(gy, ksize, 2) / ksize, [lambda f, a: f(a(2, 3, 3), ksize=2, shape=(2, 3, 6))], [], F),
    "softmax": (_softmax, [lambda f, a: f(a(2, 3)), lambda f, a: f(a(2, 3), axis=0)], [_axis9], F),
    "log_softmax": (lambda x, axis=1: np.log(_softmax(x, axis)), [lambda f, a: f(a(2, 3)), lambda f, a: f(a(2, 3), axis=0)], [_axis9], F),
    "leaky_relu": (lambda x, slope=0.2: np.where(x > 0, x, x * x.dtype.type(slope)), [lambda f, a: f(a(2, 3)), lambda f, a: f(a(3), 0.5)], [], F),
    "gelu": (lambda x: (x / 2 * (1 + np.vectorize(math.erf, otypes=["float64"])(x / np.sqrt(2)))).astype(x.dtype), [lambda f, a: f(a(2, 3))], [], F),
    "dropout": (lambda x, ratio: x, [lambda f, a: f(a(2, 3), 0.0)], [], F),
    "softmax_cross_entropy": (lambda x, t: -np.log(_softmax(x))[np.arange(len(t)), t].mean(), [lambda f, a: f(a(4, 3), a("index", 4))], [], F),
    "mean_squared_error": (lambda x, y: np.square(x - y).mean(), [lambda f, a: f(a(2, 3), a(2, 3))], [_bad_pair], F),
    "batch_norm": (_batch_norm, [lambda f, a: f(a(4, 3, 2), a(3), a(3))], [], F),
    "fixed_batch_norm": (_fixed, [lambda f, a: f(a(4, 3, 2), a(3), a(3), a(3), abs(a(3)))], [], F),
    "layer_norm": (lambda x, g, b: _normal(x, -1, 1e-5, g, b), [lambda f, a: f(a(4, 3), a(3), a(3))], [], F),
    # _creation.py
    "asanyarray": (np.asanyarray, [lambda f, a: f(a(2, 3)), lambda f, a: f([1, 2.5]), lambda f, a: f(a(3), "float32")], []),
    "ascontiguousarray": (np.ascontiguousarray, [lambda f, a: f(a(2, 3)), lambda f, a: f(2.0)], []),
    "asfortranarray": (np.asfortranarray, [lambda f, a: f(a(2, 3)), lambda f, a: f(a(2, 3)).flags.f_contiguous], []),
    "eye": (np.eye, [lambda f, a: f(3), lambda f, a: f(2, 4, 1), lambda f, a: f(3, k=-1, dtype="int32"), lambda f, a: f(0)], []),
    "identity": (np.identity, [lambda f, a: f(3), lambda f, a: f(2, "float32")], []),
    "tri": (np.tri, [lambda f, a: f(3), lambda f, a: f(2, 4, 1, "int64"), lambda f, a: f(3, k=-1)], []),
    "tril": (np.tril, [lambda f, a: f(a(3, 3)), lambda f, a: f(a(2, 3, 4), 1), lambda f, a: f(a(3, 4), k=-1), lambda f, a: f(a(3))], []),
    "triu": (np.triu, [lambda f, a: f(a(3, 3)), lambda f, a: f(a(2, 3, 4), 1), lambda f, a: f(a(3, 4), k=-1), lambda f, a: f(a(3))], []),
    "diag": (np.diag, [lambda f, a: f(a(3)), lambda f, a: f(a(3), 2), lambda f, a: f(a(3), k=-1), lambda f, a: f(a(3, 4), 1)],
             [lambda f, a: f(a(2, 2, 2))]),
    "diagflat": (np.diagflat, [lambda f, a: f(a(2, 2)), lambda f, a: f(a(3), 1)], []),
    "indices": (np.indices, [lambda f, a: f((2, 3)), lambda f, a: f((2, 3), dtype="int32"), lambda f, a: f((2, 3), sparse=True)], []),
    "linspace": (np.linspace, [lambda f, a: f(0, 1, 5), lambda f, a: f(2, 3, 4, endpoint=False), lambda f, a: f(0, 9, 4, dtype="int64"),
                               lambda f, a: f(1, 2, num=1), lambda f, a: f(1, 2, 0), lambda f, a: f(0, 1, 3, retstep=True), lambda f, a: f(a(3), 9.0, 4),
                               lambda f, a: f(a(3), a(3) + 2, 4, axis=1)], [lambda f, a: f(0, 1, -1), lambda f, a: f(0, 1, 2.5)], ["float64"]),
    "logspace": (np.logspace, [lambda f, a: f(0, 2, 3), lambda f, a: f(0, 3, 4, base=2.0, endpoint=False)], []),
    "meshgrid": (lambda *x, **k: tuple(np.meshgrid(*x, **k)),
                 [lambda f, a: f(a(3), a(2)), lambda f, a: f(a(3), a(2), indexing="ij"), lambda f, a: f(a(3), a(2), sparse=True),
                  lambda f, a: f(a(3), a(2), a(4)), lambda f, a: f(a(3))], [lambda f, a: f(a(3), indexing="zz")]),
    # _shapes.py
    "ndim": (np.ndim, [lambda f, a: f(a(2, 3)), lambda f, a: f(3)], []),
    "shape": (np.shape, [lambda f, a: f(a(2, 3)), lambda f, a: f([[1, 2]])], []),
    "size": (np.size, [lambda f, a: f(a(2, 3)), lambda f, a: f(a(2, 3), 1)], []),
    "ravel": (np.ravel, [lambda f, a: f(a(2, 3)), lambda f, a: f(a(2, 3), order="F")], []),
    "expand_dims": (np.expand_dims, [lambda f, a: f(a(2, 3), 0), lambda f, a: f(a(2, 3), -1), lambda f, a: f(a(2, 3), (0, 3))],
                    [lambda f, a: f(a(2), 5), lambda f, a: f(a(2), (0, 0))]),
    "swapaxes": (np.swapaxes, [lambda f, a: f(a(2, 3, 4), 0, -1)], [lambda f, a: f(a(2, 3), 0, 9)]),
    "matrix_transpose": (lambda x: np.swapaxes(x, -1, -2), [lambda f, a: f(a(2, 3, 4))], [lambda f, a: f(a(3))]),
    "moveaxis": (np.moveaxis, [lambda f, a: f(a(2, 3, 4), 0, -1), lambda f, a: f(a(2, 3, 4), [0, 1], [-1, 0])],
                 [lambda f, a: f(a(2, 3), 5, 0), lambda f, a: f(a(2, 3), [0, 1], [0])]),
    "rollaxis": (np.rollaxis, [lambda f, a: f(a(2, 3, 4), 2), lambda f, a: f(a(2, 3, 4), 0, 3), lambda f, a: f(a(2, 3, 4), 2, 1)],
                 [lambda f, a: f(a(2, 3), 5), lambda f, a: f(a(2, 3), 0, 9)]),
    "atleast_1d": (np.atleast_1d, [lambda f, a: f(a()), lambda f, a: f(a(2, 3)), lambda f, a: list(f(a(2), 3.0))], []),
    "atleast_2d": (np.atleast_2d, [lambda f, a: f(a()), lambda f, a: f(a(3)), lambda f, a: list(f(a(2, 3, 4), a(2)))], []),
    "atleast_3d": (np.atleast_3d, [lambda f, a: f(a()), lambda f, a: f(a(3)), lambda f, a: f(a(2, 3)), lambda f, a: list(f(a(2), a(1, 1, 1, 1)))], []),
    "broadcast_shapes": (np.broadcast_shapes, [lambda f, a: f((2, 1), (3,), 1), lambda f, a: f((0, 1), (1, 4)), lambda f, a: f()],
                         [lambda f, a: f((2,), (3,))]),
    "broadcast_arrays": (lambda *x: tuple(np.broadcast_arrays(*x)), [lambda f, a: f(a(2, 1), a(3)), lambda f, a: f(a(3), 2)],
                         [lambda f, a: f(a(2), a(3))]),
    "flipud": (np.flipud, [lambda f, a: f(a(2, 3)), lambda f, a: f(a(3))], []),
    "fliplr": (np.fliplr, [lambda f, a: f(a(2, 3))], [lambda f, a: f(a(3))]),
    "rot90": (np.rot90, [lambda f, a: f(a(2, 3)), lambda f, a: f(a(2, 3), 2), lambda f, a: f(a(2, 3, 4), -1, (1, 2)), lambda f, a: f(a(2, 3), 4)],
              [lambda f, a: f(a(3)), lambda f, a: f(a(2, 3), axes=(0, 0))]),
    "roll": (np.roll, [lambda f, a: f(a(2, 3), 1), lambda f, a: f(a(2, 3), -2, 1), lambda f, a: f(a(2, 3), (1, 2), (0, 1)),
                       lambda f, a: f(a(2, 3), 1, (0, 1)), lambda f, a: f(a(5), 7)], [lambda f, a: f(a(2, 3), 1, 5)]),
    "hstack": (np.hstack, _stacking, [lambda f, a: f([a(2, 3), a(3, 3)]), lambda f, a: f([])]),
    "vstack": (np.vstack, _stacking, [lambda f, a: f([a(2, 3), a(2, 4)]), lambda f, a: f([])]),
    "dstack": (np.dstack, _stacking, [lambda f, a: f([a(2, 3), a(2, 4)])]),
    "column_stack": (np.column_stack, _stacking, [lambda f, a: f([a(2), a(3)])]),
    "append": (np.append, [lambda f, a: f(a(2, 3), a(2)), lambda f, a: f(a(2, 3), a(1, 3), axis=0), lambda f, a: f(a(2, 3), a(2, 1), 1)],
               [lambda f, a: f(a(2, 3), a(3), axis=0)]),
    "array_split": (np.array_split, [lambda f, a: f(a(7), 3), lambda f, a: f(a(2, 7), 3, axis=1)] + _splits, [lambda f, a: f(a(3), 0)]),
    "split": (np.split, _splits + [lambda f, a: f(a(2, 6), 3, -1)], [lambda f, a: f(a(7), 2)]),
    "hsplit": (np.hsplit, _splits, [lambda f, a: f(a(3, 7), 2)]),
    "vsplit": (np.vsplit, _splits, [lambda f, a: f(a(7, 2), 2), lambda f, a: f(a(4), 2)]),
    "dsplit": (np.dsplit, _splits, [lambda f, a: f(a(4, 4), 2)]),
    "unstack": (lambda x, axis=0: tuple(np.moveaxis(x, axis, 0)), [lambda f, a: f(a(2, 3)), lambda f, a: f(a(2, 3), axis=1)], []),
    "repeat": (np.repeat, [lambda f, a: f(a(2, 3), 2), lambda f, a: f(a(2, 3), 2, 1), lambda f, a: f(a(2, 3), [1, 2], axis=0), lambda f, a: f(a(3), 0)],
               [lambda f, a: f(a(3), [1, 2]), lambda f, a: f(a(3), -1), lambda f, a: f(a(3), 2, 9)]),
    "tile": (np.tile, [lambda f, a: f(a(2, 3), 2), lambda f, a: f(a(2, 3), (2, 1, 2)), lambda f, a: f(a(2, 3, 1), (2,)), lambda f, a: f(a(3), 0)], []),
    "copyto": (np.copyto, [], []),
    # _statistics.py
    "average": (np.average, [lambda f, a: f(a(2, 3)), lambda f, a: f(a(2, 3), 1), lambda f, a: f(a(2, 3), 1, weights=[1, 2, 3]),
                             lambda f, a: f(a(2, 3), weights=a("uint8", 2, 3) + 1), lambda f, a: f(a(2, 3), 0, returned=True)],
                [lambda f, a: f(a(2, 3), weights=[1, 2, 3]), lambda f, a: f(a(2, 3), 1, weights=[1, 2]), lambda f, a: f(a(3), weights=[0, 0, 0])], X),
    "bincount": (np.bincount, [lambda f, a: f(a("index", 9)), lambda f, a: f(a("index", 5), a("float64", 5)), lambda f, a: f(a("index", 3), minlength=7)],
                 [lambda f, a: f(a("float64", 3)), lambda f, a: f(a("index", 2, 2)), lambda f, a: f(a("index", 3), [1.0])]),
    "diff": (np.diff, [lambda f, a: f(a(5)), lambda f, a: f(a(3, 4), 2), lambda f, a: f(a(3, 4), axis=0), lambda f, a: f(a(3), 0)],
             [lambda f, a: f(a(3), -1), lambda f, a: f(a()), _axis9]),
    "cumulative_sum": (lambda x, axis=0, include_initial=False: np.insert(np.cumsum(x, axis), 0, 0, axis) if include_initial else np.cumsum(x, axis),
                       [lambda f, a: f(a(3)), lambda f, a: f(a(2, 3), axis=1), lambda f, a: f(a(2, 3), axis=1, include_initial=True)], []),
    "cumulative_prod": (lambda x, axis=0, include_initial=False: np.insert(np.cumprod(x, axis), 0, 1, axis) if include_initial else np.cumprod(x, axis),
                        [lambda f, a: f(a(3)), lambda f, a: f(a(2, 3), axis=1, include_initial=True)], []),
    # _products.py
    "dot": (np.dot, [_vec, lambda f, a: f(a(2, 3), a(3, 2)), lambda f, a: f(a(2, 3), a(3)), lambda f, a: f(a(2, 3), 2), lambda f, a: f(a(2, 3, 4), a(5, 4, 2)),
                     lambda f, a: f(a(2, 3, 4), a(4))], [lambda f, a: f(a(2, 3), a(2, 3)), lambda f, a: f(a(2), a(3))]),
    "vdot": (np.vdot, [_vec, lambda f, a: f(a(2, 3), a(3, 2))], [lambda f, a: f(a(2), a(3))]),
    "inner": (np.inner, [_vec, lambda f, a: f(a(2, 3), a(4, 3)), lambda f, a: f(a(2, 3), 2)], [_bad_pair]),
    "outer": (np.outer, [_vec, lambda f, a: f(a(2, 3), a(2))], []),
    "tensordot": (np.tensordot, [lambda f, a: f(a(2, 3, 4), a(3, 4, 5)), lambda f, a: f(a(2, 3), a(4, 2), axes=(0, 1)), lambda f, a: f(a(2), a(3), 0),
                                 lambda f, a: f(a(2, 3, 4), a(4, 3, 2), ([1, 2], [1, 0]))], [lambda f, a: f(a(2, 3), a(2, 3), 1)]),
    "vecdot": (lambda x, y, axis=-1: (x * y).sum(axis, dtype=np.result_type(x, y)),
               [lambda f, a: f(a(2, 3), a(2, 3)), lambda f, a: f(a(3, 2), a(3, 1), axis=0)], [], X),
    "matvec": (lambda x, y: np.matmul(x, y[..., None])[..., 0], [lambda f, a: f(a(5, 2, 3), a(3))], []),
    "vecmat": (lambda x, y: np.matmul(x[..., None, :], y)[..., 0, :], [lambda f, a: f(a(2), a(5, 2, 3))], []),
    "cross": (np.cross, [lambda f, a: f(a(2, 3), a(3)), lambda f, a: f(a(3, 2), a(3, 2), axis=0)], [lambda f, a: f(a(4), a(4))], X),
    "kron": (np.kron, [lambda f, a: f(a(2, 3), a(3, 2)), lambda f, a: f(a(2), a(2, 2))], []),
    "diagonal": (np.diagonal, [lambda f, a: f(a(3, 4)), lambda f, a: f(a(3, 4), -1), lambda f, a: f(a(2, 3, 4), 1, 0, 2), lambda f, a: f(a(2, 3), 9)],
                 [lambda f, a: f(a(3)), lambda f, a: f(a(2, 3), 0, 1, 1)]),
    "trace": (np.trace, [lambda f, a: f(a(3, 4)), lambda f, a: f(a(3, 4), 1), lambda f, a: f(a(2, 3, 4), 0, 1, 2), lambda f, a: f(a(2, 2), dtype="float32")],
              [lambda f, a: f(a(3))]),
    # _search.py
    "flatnonzero": (np.flatnonzero, [lambda f, a: f(a(2, 3))], []),
    "nonzero": (np.nonzero, [lambda f, a: f(a(2, 3)), lambda f, a: f(a("int64", 4) > 0)], []),
    "argwhere": (np.argwhere, [lambda f, a: f(a(2, 3))], []),
    "count_nonzero": (np.count_nonzero, [lambda f, a: f(a(2, 3)), lambda f, a: f(a(2, 3), 1), lambda f, a: f(a(2, 3), axis=0, keepdims=True)], []),
    "isclose": (np.isclose, [lambda f, a: f(a(2, 3), a(3)), lambda f, a: f(a(3), a(3) * 1), lambda f, a: f([1, np.nan, np.inf], [1, np.nan, np.inf]),
                             lambda f, a: f([1, np.nan], [1 + 1e-9, np.nan], equal_nan=True), lambda f, a: f(a(3), 1, rtol=1)], [_bad_pair]),
    "allclose": (np.allclose, [lambda f, a: f(a(2, 3), a(2, 3)), lambda f, a: f(a(3), a(3) * 2)], [_bad_pair]),
    "array_equal": (np.array_equal, [lambda f, a: f(a(2, 3), a(2, 3)), lambda f, a: f(a(2), a(3)), lambda f, a: f([1, np.nan], [1, np.nan]),
                                     lambda f, a: f([1, np.nan], [1, np.nan], equal_nan=True)], []),
    "array_equiv": (np.array_equiv, [lambda f, a: f(a(1, 3), a(3)), lambda f, a: f(a(2), a(3))], []),
    "shares_memory": (np.shares_memory, [lambda f, a: f(a(3), a(3)), lambda f, a: (lambda x: f(x, x[1:]))(a(3))], []),
    "may_share_memory": (np.may_share_memory, [lambda f, a: f(a(3), a(3))], []),
    "unravel_index": (np.unravel_index, [lambda f, a: f(a("index", 4), (2, 3)), lambda f, a: f([5, 0], (2, 3)), lambda f, a: f(3, 4)],
                      [lambda f, a: f([6], (2, 3)), lambda f, a: f([-1], (2, 3)), lambda f, a: f([0.5], (2, 3))]),
    "ravel_multi_index": (np.ravel_multi_index, [lambda f, a: f(([1, 0], [2, 1]), (2, 3)), lambda f, a: f((1, 2), (2, 3))], [lambda f, a: f(([2], [0]), (2, 3))]),
    "ix_": (np.ix_, [lambda f, a: f([0, 1], [1, 2, 0]), lambda f, a: f(a("bool", 3), [1])], [lambda f, a: f([[1]])]),
    "compress": (np.compress, [lambda f, a: f([True, False, True], a(3, 2), 0), lambda f, a: f([0, 1], a(3, 2)), lambda f, a: f([1, 0], a(3, 2), axis=1)],
                 [lambda f, a: f([[True]], a(2))]),
    "extract": (np.extract, [lambda f, a: f(a("bool", 2, 3), a(2, 3)), lambda f, a: f(a(3), a(3))], []),
    "put": (np.put, [], []),
    "putmask": (np.putmask, [], []),
    "searchsorted": (np.searchsorted, [lambda f, a: f(a(5).copy() * 0 + 1, a(2, 3)), lambda f, a: f([1.0, 2, 2, 3, np.nan], [2, 0, 4, np.nan], "right"),
                                       lambda f, a: f([1, 2, 2, 3], [2, 0, 4], side="left"), lambda f, a: f([3, 1, 2], 2, sorter=[1, 2, 0])],
                     [lambda f, a: f(a(3), 1, side="odd"), lambda f, a: f(a(2, 2), 1)], X),
    "digitize": (np.digitize, [lambda f, a: f(a(2, 3), [0, 1, 2]), lambda f, a: f([1, 2], [0, 1, 2], right=True)], [], X),
    "isin": (np.isin, [lambda f, a: f(a(2, 3), a(4)), lambda f, a: f(a(2, 3), [1], invert=True), lambda f, a: f(a(3), [])], []),
    "unique": (np.unique, [lambda f, a: f(a("index", 9)), lambda f, a: f([2.0, np.nan, 1, np.nan, 2]), lambda f, a: f(a(2, 3)),
                           lambda f, a: f(a("index", 9), return_index=True, return_counts=True), lambda f, a: f(a("index", 9), return_inverse=True)], []),
    # _elementwise.py
    "positive": (np.positive, [lambda f, a: f(a(2, 3))], [lambda f, a: f(a("bool", 2))], X),
    "round": (np.round, [lambda f, a: f(a(2, 3)), lambda f, a: f(a(2, 3), 1), lambda f, a: f(a(2, 3), decimals=2)], [], X),
    "deg2rad": (np.deg2rad, [lambda f, a: f(a(2, 3))], [], F), "rad2deg": (np.rad2deg, [lambda f, a: f(a(2, 3))], [], F),
    "divmod": (np.divmod, _both[1:2] + [lambda f, a: f(a(2, 3), abs(a(2, 3)) + 1)], [_bad_pair], X),
    "float_power": (np.float_power, [lambda f, a: f(abs(a(2, 3)), a(3)), lambda f, a: f(a(3), 2)], [_bad_pair], X),
    "logaddexp2": (np.logaddexp2, [lambda f, a: f(a(2, 3), a(3))], [_bad_pair], F),
    "ldexp": (np.ldexp, [lambda f, a: f(a(2, 3), [1, -2, 3]), lambda f, a: f(a(3), 5)], [lambda f, a: f(a(3), 0.5)], F),
    "modf": (np.modf, [lambda f, a: f(a(2, 3)), lambda f, a: f([1.5, -2.5, np.inf, -np.inf, -0.0])], [], F),
    "heaviside": (np.heaviside, [lambda f, a: f([-1.0, 0, 2, np.nan], 0.5), lambda f, a: f(a(2, 3), a(3))], [_bad_pair], F),
    "signbit": (np.signbit, [lambda f, a: f([-1.0, -0.0, 0, 3]), lambda f, a: f(a(2, 3))], [], F),
    "isneginf": (np.isneginf, [lambda f, a: f([-np.inf, np.inf, 1, np.nan])], []),
    "isposinf": (np.isposinf, [lambda f, a: f([-np.inf, np.inf, 1, np.nan])], []),
    "nan_to_num": (np.nan_to_num, [lambda f, a: f([-np.inf, np.inf, 1, np.nan]), lambda f, a: f([np.nan, np.inf], nan=1, posinf=2), lambda f, a: f(a(3))], []),
    "iscomplexobj": (np.iscomplexobj, [lambda f, a: f(a(3))], []), "isrealobj": (np.isrealobj, [lambda f, a: f(a(3))], []),
    "real": (np.real, [lambda f, a: f(a(3)), lambda f, a: f(a("complex64", 2, 3)), lambda f, a: f(a("complex128", 3))], []),
    "imag": (np.imag, [lambda f, a: f(a(3)), lambda f, a: f(a("complex64", 2, 3))], []),
    "conj": (np.conj, [lambda f, a: f(a(3))], [], X),
    # the extension's
    "array": (np.array, [lambda f, a: f(a(2, 3)), lambda f, a: f([[1, 2], [3, 4]]), lambda f, a: f([1, 2.5, True]), lambda f, a: f(3, dtype="float32"),
                         lambda f, a: f([])], [lambda f, a: f([[1], [2, 3]]), lambda f, a: f([300], dtype="int8")]),
    "asarray": (np.asarray, [lambda f, a: f(a(2, 3)), lambda f, a: f((1, 2)), lambda f, a: f(a(3), "float32")], []),
    "zeros": (np.zeros, [lambda f, a: f((2, 3)), lambda f, a: f(3, "int32"), lambda f, a: f((), dtype="bool")], [lambda f, a: f(-1)]),
    "ones": (np.ones, [lambda f, a: f((2, 3)), lambda f, a: f(3, "int32"), lambda f, a: f((0, 2), dtype="bool")], [lambda f, a: f((2, -1))]),
    "empty": (np.empty, [lambda f, a: f((2, 3)).shape, lambda f, a: str(f(3, "int32").dtype)], [lambda f, a: f(2.5)]),
    "full": (np.full, [lambda f, a: f((2, 3), 7), lambda f, a: f(3, 2.5), lambda f, a: f((), True), lambda f, a: f(2, 1, dtype="float32")],
             [lambda f, a: f(3, 300, dtype="int8")]),
    "zeros_like": (np.zeros_like, [lambda f, a: f(a(2, 3)), lambda f, a: f(a(2, 3), "int8")], []),
    "ones_like": (np.ones_like, [lambda f, a: f(a(2, 3)), lambda f, a: f(a(2, 3), dtype="int8")], []),
    "empty_like": (np.empty_like, [lambda f, a: f(a(2, 3)).shape], []),
    "full_like": (np.full_like, [lambda f, a: f(a(2, 3), 1), lambda f, a: f(a(2, 3), 2, "float32")], []),
    "arange": (np.arange, [lambda f, a: f(5), lambda f, a: f(1, 2, 0.25), lambda f, a: f(5, 1, -2), lambda f, a: f(3, dtype="float32"), lambda f, a: f(2, 2)],
               [lambda f, a: f(0, 1, 0)]),
    "to_numpy": (np.array, [lambda f, a: f(a(2, 3))], []),
}

# ---- of ndarray: expressions of x, and of m, the library -------------------------------------------------------------------------------------


def _changed(*statements):
    """x after each of the statements."""

    def run(x, m):
        for s in statements:
            exec(s, {"x": x, "m": m, "np": np})
        return x

    return run


def _set_shape(shape):
    def run(x, m):
        x.shape = shape
        return x

    return run


def _written(x, m):
    import io

    f = io.BytesIO()
    x.tofile(f) if m is not np else f.write(x.tobytes())
    return f.getvalue()


def _unpickled(x, m):
    import pickle

    return pickle.loads(x.dumps())


def _dumped(x, m):
    import io
    import pickle

    f = io.BytesIO()
    x.dump(f)
    return pickle.loads(f.getvalue())


ATTRIBUTES = {
    "T": [lambda x, m: x.T], "mT": [lambda x, m: x.mT if m is not np else np.swapaxes(x, -1, -2)], "shape": [lambda x, m: x.shape, _set_shape((3, 2)), _set_shape(-1)],
    "dtype": [lambda x, m: x.dtype.name, lambda x, m: (x.dtype.kind, x.dtype.itemsize)], "ndim": [lambda x, m: x.ndim], "size": [lambda x, m: x.size],
    "itemsize": [lambda x, m: x.itemsize], "nbytes": [lambda x, m: x.nbytes], "strides": [lambda x, m: x.copy().strides, lambda x, m: x[:, 1:].strides],
    "real": [lambda x, m: x.real], "imag": [lambda x, m: x.imag],
    "flags": [lambda x, m: (x.flags.c_contiguous, x.flags["F_CONTIGUOUS"], x.flags["C"], x.flags.writeable, x.flags.forc, x.T.flags.c_contiguous)],
    "all": [lambda x, m: x.all(), lambda x, m: x.all(1), lambda x, m: x.all(axis=0, keepdims=True)], "any": [lambda x, m: x.any(), lambda x, m: x.any(axis=-1)],
    "sum": [lambda x, m: x.sum(), lambda x, m: x.sum(0), lambda x, m: x.sum(0, "float32"), lambda x, m: x.sum(axis=(0, 1), keepdims=True), lambda x, m: x.sum(axis=())],
    "prod": [lambda x, m: x.prod(), lambda x, m: x.prod(axis=1, dtype="float64")], "mean": [lambda x, m: x.mean(), lambda x, m: x.mean(1), lambda x, m: x.mean((0, 1))],
    "max": [lambda x, m: x.max(), lambda x, m: x.max(1), lambda x, m: x.max(axis=0, keepdims=True)], "min": [lambda x, m: x.min(), lambda x, m: x.min(axis=-1)],
    "argmax": [lambda x, m: x.argmax(), lambda x, m: x.argmax(1)], "argmin": [lambda x, m: x.argmin(), lambda x, m: x.argmin(axis=0)],
    "cumsum": [lambda x, m: x.cumsum(), lambda x, m: x.cumsum(1)], "cumprod": [lambda x, m: x.cumprod(), lambda x, m: x.cumprod(axis=0)],
    "var": [lambda x, m: x.var(), lambda x, m: x.var(0, ddof=1), lambda x, m: x.var(axis=(0, 1), keepdims=True)], "std": [lambda x, m: x.std(), lambda x, m: x.std(1)],
    "ptp": [lambda x, m: m.ptp(x, 1) if m is np else x.ptp(1)], "clip": [lambda x, m: x.clip(0, 1), lambda x, m: x.clip(max=1), lambda x, m: x.clip(1)],
    "round": [lambda x, m: x.round(), lambda x, m: x.round(1)], "conj": [lambda x, m: x.conj()], "conjugate": [lambda x, m: x.conjugate()],
    "dot": [lambda x, m: x.dot(x.T), lambda x, m: x.dot(2)], "trace": [lambda x, m: x.trace(), lambda x, m: x.trace(1)],
    "diagonal": [lambda x, m: x.diagonal(), lambda x, m: x.diagonal(1), lambda x, m: x.diagonal(-1, axis1=1, axis2=0)],
    "take": [lambda x, m: x.take([0, -1]), lambda x, m: x.take([[1, 0]], axis=1), lambda x, m: x.take(7, mode="wrap")],
    "compress": [lambda x, m: x.compress([0, 1]), lambda x, m: x.compress([True, False, True], axis=1)],
    "repeat": [lambda x, m: x.repeat(2), lambda x, m: x.repeat([1, 0, 2], axis=1)], "nonzero": [lambda x, m: x.nonzero()],
    "searchsorted": [lambda x, m: m.sort(x.ravel()).searchsorted(x), lambda x, m: m.sort(x[0]).searchsorted([1, 2], side="right")],
    "sort": [_changed("x.sort()"), _changed("x.sort(0)"), _changed("x.sort(axis=1, kind='stable')")],
    "argsort": [lambda x, m: x.argsort(kind="stable"), lambda x, m: x.argsort(0, "stable")],
    "put": [_changed("x.put([0, -1], [1, 0])"), _changed("x.put(2, 1)"), _changed("x.put([0, 1, 2], [1, 0])")],
    "fill": [_changed("x.fill(1)")], "item": [lambda x, m: x.item(3), lambda x, m: x.item(1, -1), lambda x, m: x.item((0, 1)), lambda x, m: x[0, 0].item()],
    "tolist": [lambda x, m: x.tolist(), lambda x, m: x[1, 1].tolist()], "tobytes": [lambda x, m: x.tobytes(), lambda x, m: x.tobytes("F"), lambda x, m: x.T.tobytes()],
    "tofile": [_written], "dumps": [_unpickled], "dump": [_dumped], "copy": [lambda x, m: x.copy(), lambda x, m: x.T.copy()],
    "astype": [lambda x, m: x.astype("float32"), lambda x, m: x.astype(bool), lambda x, m: x.astype(x.dtype, copy=False)],
    "view": [lambda x, m: x.view(), lambda x, m: x.copy().view("uint8"), lambda x, m: x.copy().view("uint8")[:, : 2 * x.itemsize].view(x.dtype)],
    "reshape": [lambda x, m: x.reshape(3, 2), lambda x, m: x.reshape((6,)), lambda x, m: x.reshape(-1), lambda x, m: x.T.reshape(2, 3)],
    "transpose": [lambda x, m: x.transpose(), lambda x, m: x.transpose(1, 0), lambda x, m: x.transpose((0, 1)), lambda x, m: x.transpose(None)],
    "swapaxes": [lambda x, m: x.swapaxes(0, -1)], "squeeze": [lambda x, m: x[None].squeeze(), lambda x, m: x[:, None].squeeze(1)],
    "ravel": [lambda x, m: x.ravel(), lambda x, m: x.ravel("F"), lambda x, m: x.T.ravel()], "flatten": [lambda x, m: x.flatten(), lambda x, m: x.flatten(order="F")],
    "__add__": [lambda x, m: x + x, lambda x, m: x + 1, lambda x, m: 1 + x], "__mul__": [lambda x, m: x * x, lambda x, m: x * True, lambda x, m: 2 * x],
    "__sub__": [lambda x, m: x - x.T.T, lambda x, m: x - 1, lambda x, m: 1 - x], "__truediv__": [lambda x, m: x / 2, lambda x, m: 1 / (x + 9)],
    "__floordiv__": [lambda x, m: x // 2, lambda x, m: 9 // (x + 9)], "__mod__": [lambda x, m: x % 3, lambda x, m: 7 % (x + 9)],
    "__divmod__": [lambda x, m: divmod(x, 2), lambda x, m: divmod(9, x + 9)], "__pow__": [lambda x, m: x**3, lambda x, m: 2 ** abs(x), lambda x, m: x**x.dtype.type(2) if m is np else x**m.array(2, x.dtype)],
    "__matmul__": [lambda x, m: x @ x.T, lambda x, m: x @ x[0]], "__neg__": [lambda x, m: -x], "__pos__": [lambda x, m: +x], "__abs__": [lambda x, m: abs(x)],
    "__invert__": [lambda x, m: ~(x > 0), lambda x, m: ~x], "__and__": [lambda x, m: x & x.T.T, lambda x, m: 1 & x], "__or__": [lambda x, m: x | 1, lambda x, m: 2 | x],
    "__xor__": [lambda x, m: x ^ 1, lambda x, m: 3 ^ x], "__lshift__": [lambda x, m: x << 1, lambda x, m: 1 << abs(x)], "__rshift__": [lambda x, m: x >> 1, lambda x, m: 64 >> abs(x)],
    "__eq__": [lambda x, m: x == x[0], lambda x, m: x == 1], "__ne__": [lambda x, m: x != 1], "__lt__": [lambda x, m: x < 1, lambda x, m: 1 < x],
    "__le__": [lambda x, m: x <= 1], "__gt__": [lambda x, m: x > x[1]], "__ge__": [lambda x, m: x >= 0.5],
    "__bool__": [lambda x, m: bool(x[0, 0]), lambda x, m: bool(x)], "__int__": [lambda x, m: int(x[1, 1]), lambda x, m: int(x)],
    "__float__": [lambda x, m: float(x[1, 1]), lambda x, m: float(x)], "__index__": [lambda x, m: [5, 6, 7, 8, 9][x[0, 0]], lambda x, m: [5, 6][x]],
    "__len__": [lambda x, m: len(x), lambda x, m: len(x[0, 0])], "__iter__": [lambda x, m: [r for r in x], lambda x, m: list(x[0, 0])],
    "__contains__": [lambda x, m: x[0, 1] in x, lambda x, m: 99 in x], "__copy__": [lambda x, m: __import__("copy").copy(x)],
    "__deepcopy__": [lambda x, m: __import__("copy").deepcopy([x])[0]], "__reduce__": [lambda x, m: __import__("pickle").loads(__import__("pickle").dumps(x))],
    "__repr__": [lambda x, m: repr(x[0]), lambda x, m: repr(x)], "__str__": [lambda x, m: str(x)], "__hash__": [lambda x, m: m is np or hash(x) == hash(x)],
    "__getitem__": [lambda x, m: x[1], lambda x, m: x[:, ::-1], lambda x, m: x[x > 0], lambda x, m: x[[0, 1], [2, -1]], lambda x, m: x[..., None, 0], lambda x, m: x[True], lambda x, m: x[5],
                    lambda x, m: x[:, 5], lambda x, m: x[[0, 2]], lambda x, m: x[0, 0, 0], lambda x, m: x["a"], lambda x, m: x[0.5], lambda x, m: x[..., ...],
                    lambda x, m: x[np.bool_(False)], lambda x, m: x[np.int8(1)], lambda x, m: x[m.asarray(1)].copy(), lambda x, m: x[(slice(None), [True, False, True])]],
    "__setitem__": [_changed("x[1] = 1"), _changed("x[:, ::2] = [[1, 0]]"), _changed("x[x > 0] = 0"), _changed("x[x > 0] = x[x > 0][::-1].copy()"), _changed("x[[0, 1], [2, -1]] = [1, 0]"),
                    _changed("x[1:] = x[:-1]"), _changed("x[:, :-1] = x[:, 1:]"), _changed("x[[0, 0]] = [[1, 1, 1], [0, 1, 0]]"), _changed("x[x[0] > 0] = 1"), _changed("x[:, [0, 2]] = x[:, [2, 0]]"),
                    _changed("x[[0, 1]] = x[::-1].copy()"), _changed("x[0] = [1, 2]"), _changed("x[9] = 1"), _changed("x[[7]] = 1"), _changed("x[x > 0] = x[0, 0]"), _changed("x[:, 1] = True"),
                    _changed("x[..., 0] = np.float64(1)"), _changed("x[[[1], [0]], [0, 1]] = m.asarray([[1, 0], [0, 1]])"), _changed("x[[]] = 1")],
    "__delitem__": [_changed("del x[0]")],
    **{"__i%s__" % name: [_changed("x %s= 2" % s), _changed("x %s= x[0].copy()" % s), _changed("y = x[:, 1:]; y %s= 1" % s)]
       for name, s in [("add", "+"), ("sub", "-"), ("mul", "*"), ("floordiv", "//"), ("mod", "%"), ("pow", "**"), ("and", "&"), ("or", "|"), ("xor", "^"), ("lshift", "<<"), ("rshift", ">>"),
                       ("truediv", "/")]},
    "__imatmul__": [_changed("y = x[:, :2]; y @= m.ones((2, 2), x.dtype)"), _changed("x @= x[:1]")],
    **{"__r%s__" % name: "__%s__" % name for name in "add and divmod floordiv lshift matmul mod mul or pow rshift sub truediv xor".split()},
    "__complex__": [lambda x, m: complex(x[0, 0])], "__round__": [], "__sizeof__": [], "__getattribute__": [], "__setattr__": [], "__delattr__": [],
}
# what NumPy 1 has otherwise
OF_NUMPY_2 = ("array", "full", "__imatmul__", "__index__", "__pos__")
# what only chx has: an expression that is true of a float64 array
OF_CHX = {
    "device": lambda x: x.device == "native:0", "is_contiguous": lambda x: x.is_contiguous and not x.T.is_contiguous,
    "contiguous": lambda x: x.contiguous() is x and x.T.contiguous().is_contiguous, "to": lambda x: x.to("native:0") is x,
    "grad": lambda x: x.grad is None, "require_grad": lambda x: x.require_grad() is x and x.is_grad_required(),
    "is_grad_required": lambda x: not x.is_grad_required(), "is_backprop_required": lambda x: not x.is_backprop_required(),
    "backward": lambda x: (x.require_grad() * 3).sum().backward() is None and (x.grad == 3).all(),
    "cleargrad": lambda x: (x.require_grad().sum().backward(), x.cleargrad()) and x.grad is None,
    "detach": lambda x: not x.require_grad().detach().is_grad_required(), "unchain": lambda x: (x.require_grad() * 2).unchain() is None,
    "add_hook": lambda x: x.require_grad().add_hook(lambda g: None) is not None, "remove_hook": lambda x: x.remove_hook(x.require_grad().add_hook(lambda g: None)) is None,
}
