# SPDX-License-Identifier: MIT
"""What test_table.py goes through: a row for each operator and function of chx, and for each method and attribute of its arrays.

A row has what NumPy calls it, or a formula in NumPy, and the calls to compare. `a` makes the same values for both libraries: a(2, 3)
of the dtype that is tried, a("int64", 2, 3) of this one. Expected dtypes are NumPy 2's, by the rules here where NumPy 1 has others.
"""
import math

import numpy as np
from formulas import batch_norm, conv, fixed, normal, scatter, scatter_along, slice_grad, softmax, topk, windows

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


BFLOAT16 = dict(zip(REAL + ["bfloat16"], "bfloat16 bfloat16 float32 float64 float64 bfloat16 float32 float64 float64 float32 float32 float64"
                    " bfloat16".split()))  # what bfloat16 and each promote to: as float16 does, and float32 with that

# ---- elementwise: class, result ("S" the operands' dtype, "B" bool), formula, range, units of the last place ----------

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
    "sigmoid": ("F", "S", _wide(lambda x: 1 / (1 + np.exp(-x))), -4, 4, 4),
         "softplus": ("F", "S", _wide(lambda x: np.log1p(np.exp(x))), -4, 4, 4),
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

# ---- reductions: formula, dtypes, the result's dtype (None: NumPy's), whether it is of nothing, units of the last place 

NUMBERS = REAL[1:]
_lse = lambda x, **k: (np.max(x, **k) * 0 + np.log(np.sum(np.exp(x.astype("float64")), **k))).astype(x.dtype)
REDUCTIONS = {
    "sum": (np.sum, REAL, True, 8), "prod": (np.prod, REAL, True, 16), "mean": (np.mean, REAL, True, 8), "amax": (np.max, REAL, False, 0),
    "amin": (np.min, REAL, False, 0), "all": (np.all, REAL, True, 0), "any": (np.any, REAL, True, 0),
    "logsumexp": (_lse, NUMBERS[-3:], False, 8), "var": (np.var, REAL, True, 64), "std": (np.std, REAL, True, 64),
    "ptp": (lambda x, **k: np.max(x, **k) - np.min(x, **k), NUMBERS, False, 1), "median": (np.median, NUMBERS, True, 4),
}

# ---- all other functions: NumPy's or a formula, calls that are compared, calls that must fail alike -------------------
# F: floating dtypes only. X: not of bool. Without either: float64, int32 and bool.

F, X = ["float64", "float32"], ["float64", "int32"]
_vec = "f(a(3), a(3))"
_both = ["f(a(2, 3), a(3))", "f(a(2, 3), 2)", "f(a(3), a('int64', 3))"]
_stacking = ["f([a(2, 3), a(2, 3)])", "f((a(3), a('int64', 3), a(3)))"]
_splits = ["f(a(6, 4, 2), 2)", "f(a(6, 4, 2), [1, 2])", "f(a(6, 4, 2), (1, -1, 9))"]
_axis9 = "f(a(2, 3), axis=9)"
_bad_pair = "f(a(2, 3), a(2, 4))"
CALLS = {
    # the table's
    "clip": (np.clip, ["f(a(2, 3), 1, 2)", "f(a(2, 3), a(3), a(2, 1))", "f(a(5), None, 1)",
                       "f(a(5), 1, None)", "f(a(5), a_min=0, a_max=1)"], ["f(a(2), a(3), 1)"], X),
    "where": (np.where, ["f(a(2, 3) > 0, a(2, 3), a(3))", "f(a('bool', 3), a(2, 3), a('float32', 2, 1))",
                         "f(a(2, 3))"], ["f(a('bool', 2), a(3), a(3))", "f(a('bool', 2), a(2))"]),
    "copy": (np.copy, ["f(a(2, 3))"], []),
    "cast": (lambda x, d: x.astype(d), ["f(a(2, 3), 'float32')", "f(a(2, 3), 'bool')"], []),
    "argmax": (np.argmax, ["f(a(2, 3))", "f(a(2, 3), 1)", "f(a(2, 3), axis=0, keepdims=True)"], [_axis9]),
    "argmin": (np.argmin, ["f(a(2, 3))", "f(a(2, 3), 1)", "f(a(2, 3), axis=0, keepdims=True)"], [_axis9]),
    "cumsum": (np.cumsum, ["f(a(2, 3))", "f(a(2, 3), 1)", "f(a(2, 3), 0, 'float64')"], [_axis9]),
    "cumprod": (np.cumprod, ["f(a(2, 3))", "f(a(2, 3), 1)", "f(a(2, 3), axis=0, dtype='float64')"], [_axis9]),
    "cummax": (np.maximum.accumulate, ["f(a(2, 3), axis=1)"], [_axis9]),
    "cummin": (np.minimum.accumulate, ["f(a(2, 3), axis=1)"], [_axis9]),
    "sort": (np.sort, ["f(a(2, 3))", "f(a(2, 3), 0)", "f(a(2, 3), axis=None)",
                       "f(a(2, 3), kind='stable')"], [_axis9, "f(a(3), kind='odd')"]),
    "argsort": (lambda x, *p, **k: np.argsort(x, *p, **{**k, "kind": k.get("kind", "stable")}),
                ["f(a(2, 5))", "f(a(2, 3), 0)", "f(a(2, 3), axis=None)",
                 "f(a(2, 3), kind='mergesort')"], [_axis9, "f(a(3), kind='odd')"]),
    "topk": (topk, ["f(a(2, 5), 2)", "f(a(2, 5), k=1, axis=0, largest=False)"], ["f(a(2), k=9)"], X),
    "reshape": (np.reshape, ["f(a(2, 6), (3, 4))", "f(a(2, 6), -1)", "f(a(2, 6), (4, -1))",
                             "f(a(2, 6), (3, 4), order='F')"],
                ["f(a(2, 6), (5, -1))", "f(a(2, 6), (-1, -1))", "f(a(2, 6), 7)"]),
    "transpose": (np.transpose, ["f(a(2, 3, 4))", "f(a(2, 3, 4), (1, 0, 2))", "f(a(2, 3), axes=(-1, 0))"],
                  ["f(a(2, 3), (0, 0))", "f(a(2, 3), (0,))"]),
    "broadcast_to": (np.broadcast_to, ["f(a(2, 1), (3, 2, 4))", "f(a(3), (0, 3))"], ["f(a(3), (2,))"]),
    "flip": (np.flip, ["f(a(2, 3))", "f(a(2, 3), 1)", "f(a(2, 3), axis=(0, 1))"], [_axis9]),
    "squeeze": (np.squeeze, ["f(a(1, 2, 1))", "f(a(1, 2, 1), 0)", "f(a(1, 2, 1), axis=(0, -1))"],
                ["f(a(2, 1), 0)", _axis9]),
    "slice": (lambda x, start, stop, step: x[tuple(map(slice, start, stop, step))], ["f(a(4, 5), (0, 4), (3, 1), (2, -1))"], []),
    "slice_grad": (slice_grad, ["f(a(2, 3), start=(0, 4), stop=(3, 1), step=(2, -1), shape=(4, 5))"], []),
    "concatenate": (np.concatenate, ["f([a(2, 3), a(1, 3)])", "f((a(2, 3), a('int64', 2, 1)), 1)",
                                     "f([a(2, 3), a(4)], axis=None)", "f([a(1, 2)] * 40)", "f([[1, 2], a(2)])"],
                    ["f([a(2, 3), a(2, 4)])", "f([])", "f([a(2), a(2)], axis=1)"]),
    "stack": (np.stack, ["f([a(2, 3), a(2, 3)])", "f((a(3), a(3)), -1)", "f([a(2)] * 40, axis=1)"],
              ["f([a(2), a(3)])", "f([])", "f([a(2), a(2)], axis=3)"]),
    "pad": (np.pad, ["f(a(2, 3), ((1, 0), (0, 2)))", "f(a(2, 3), 1)", "f(a(3), (1, 2), constant_values=1)",
                     "f(a(2, 3), [(1, 2)])"], ["f(a(2, 3), ((1, 0), (0, 2), (1, 1)))", "f(a(2), -1)"], X),
    "take": (np.take, ["f(a(3, 4), [1, -2])", "f(a(3, 4), [[0, 1], [2, 2]], axis=1)", "f(a(3, 4), 1, 0)",
                       "f(a(3), [5, -9], mode='wrap')", "f(a(3), [5, -9], mode='clip')"],
             ["f(a(3, 4), [3], axis=0)", "f(a(3), [0], mode='odd')", "f(a(3), [0], axis=9)"]),
    "take_along_axis": (np.take_along_axis, ["f(a(3, 4), a('index', 3, 4), 1)", "f(a(3, 4), a('index', 2, 4), 0)",
                                             "f(a(3, 4), a('index', 5), None)"], ["f(a(3), a('index', 3), axis=9)"]),
    "scatter_add": (scatter, ["f(a(4, 3), a('index', 5), a(5, 3))", "f(a(4, 3), a('index', 5), a(4, 5), axis=1)"], [], X),
    "scatter_add_along_axis": (scatter_along, ["f(a(4, 3), a('index', 5, 3), a(5, 3), axis=0)"], [], X),
    "matmul": (np.matmul, ["f(a(2, 3), a(3, 4))", "f(a(3), a(3, 4))", "f(a(2, 3), a(3))", _vec,
                           "f(a(5, 1, 2, 3), a(4, 3, 2))", "f(a(2, 0), a(0, 3))", "f(a(2, 3), a('int64', 3))"],
               ["f(a(2, 3), a(2))", "f(a(2), 1)", _bad_pair]),
    "linear": (lambda x, w, b=0: x @ w.T + b, ["f(a(2, 3), a(4, 3))", "f(a(2, 3), a(4, 3), a(4))"], [_bad_pair], F),
    "conv": (conv, ["f(a(2, 3, 7), a(4, 3, 3))", "f(a(2, 3, 7), a(4, 3, 3), a(4), stride=2, pad=1)"], [_bad_pair], F),
    "conv_grad_input": (lambda gy, w, shape: sum(np.pad(np.einsum("nkp,kc->ncp", gy, w[:, :, r]), [(0, 0), (0, 0), (r, w.shape[2] - 1 - r)])
                                                 for r in range(w.shape[2])), ["f(a(2, 4, 5), a(4, 3, 3), shape=(2, 3, 7))"], [], F),
    "conv_grad_weight": (lambda x, gy, shape: np.stack([np.einsum("ncp,nkp->kc", x[:, :, r : r + gy.shape[2]],
                                                                  gy) for r in range(shape[2])], 2),
                         ["f(a(2, 3, 7), a(2, 4, 5), shape=(4, 3, 3))"], [], F),
    "max_pool": (lambda x, ksize: (windows(x, ksize).max(3), windows(x, ksize).argmax(3) + np.arange(0, x.shape[2] - ksize + 1, ksize)),
                 ["f(a(2, 3, 6), ksize=2)"], [], F),
    "avg_pool": (lambda x, ksize: windows(x, ksize).mean(3), ["f(a(2, 3, 6), ksize=2)"], [], F),
    "avg_pool_grad": (lambda gy, ksize, shape: np.repeat(gy, ksize, 2) / ksize, ["f(a(2, 3, 3), ksize=2, shape=(2, 3, 6))"], [], F),
    "softmax": (softmax, ["f(a(2, 3))", "f(a(2, 3), axis=0)"], [_axis9], F),
    "log_softmax": (lambda x, axis=1: np.log(softmax(x, axis)), ["f(a(2, 3))", "f(a(2, 3), axis=0)"], [_axis9], F),
    "leaky_relu": (lambda x, slope=0.2: np.where(x > 0, x, x * x.dtype.type(slope)), ["f(a(2, 3))", "f(a(3), 0.5)"], [], F),
    "gelu": (lambda x: (x / 2 * (1 + np.vectorize(math.erf, otypes=["float64"])(x / np.sqrt(2)))).astype(x.dtype), ["f(a(2, 3))"], [], F),
    "dropout": (lambda x, ratio: x, ["f(a(2, 3), 0.0)"], [], F),
    "softmax_cross_entropy": (lambda x, t: -np.log(softmax(x))[np.arange(len(t)), t].mean(), ["f(a(4, 3), a('index', 4))"], [], F),
    "mean_squared_error": (lambda x, y: np.square(x - y).mean(), ["f(a(2, 3), a(2, 3))"], [_bad_pair], F),
    "batch_norm": (batch_norm, ["f(a(4, 3, 2), a(3), a(3))"], [], F),
    "fixed_batch_norm": (fixed, ["f(a(4, 3, 2), a(3), a(3), a(3), abs(a(3)))"], [], F),
    "layer_norm": (lambda x, g, b: normal(x, -1, 1e-5, g, b), ["f(a(4, 3), a(3), a(3))"], [], F),
    # _creation.py
    "asanyarray": (np.asanyarray, ["f(a(2, 3))", "f([1, 2.5])", "f(a(3), 'float32')"], []),
    "ascontiguousarray": (np.ascontiguousarray, ["f(a(2, 3))", "f(2.0)"], []),
    "asfortranarray": (np.asfortranarray, ["f(a(2, 3))", "f(a(2, 3)).flags.f_contiguous"], []),
    "eye": (np.eye, ["f(3)", "f(2, 4, 1)", "f(3, k=-1, dtype='int32')", "f(0)"], []),
    "identity": (np.identity, ["f(3)", "f(2, 'float32')"], []),
    "tri": (np.tri, ["f(3)", "f(2, 4, 1, 'int64')", "f(3, k=-1)"], []),
    "tril": (np.tril, ["f(a(3, 3))", "f(a(2, 3, 4), 1)", "f(a(3, 4), k=-1)", "f(a(3))"], []),
    "triu": (np.triu, ["f(a(3, 3))", "f(a(2, 3, 4), 1)", "f(a(3, 4), k=-1)", "f(a(3))"], []),
    "diag": (np.diag, ["f(a(3))", "f(a(3), 2)", "f(a(3), k=-1)", "f(a(3, 4), 1)"],
             ["f(a(2, 2, 2))"]),
    "diag_indices": (np.diag_indices, ["f(3)", "f(2, 3)"], []), "tril_indices": (np.tril_indices, ["f(3)", "f(2, 1, 4)", "f(3, k=-1)"], []),
    "triu_indices": (np.triu_indices, ["f(3)", "f(2, 1, 4)", "f(3, k=-1)"], []),
    "diagflat": (np.diagflat, ["f(a(2, 2))", "f(a(3), 1)"], []),
    "indices": (np.indices, ["f((2, 3))", "f((2, 3), dtype='int32')", "f((2, 3), sparse=True)"], []),
    "linspace": (np.linspace, ["f(0, 1, 5)", "f(2, 3, 4, endpoint=False)", "f(0, 9, 4, dtype='int64')",
                               "f(1, 2, num=1)", "f(1, 2, 0)", "f(0, 1, 3, retstep=True)", "f(a(3), 9.0, 4)",
                               "f(a(3), a(3) + 2, 4, axis=1)"], ["f(0, 1, -1)", "f(0, 1, 2.5)"], ["float64"]),
    "logspace": (np.logspace, ["f(0, 2, 3)", "f(0, 3, 4, base=2.0, endpoint=False)"], []),
    "meshgrid": (lambda *x, **k: tuple(np.meshgrid(*x, **k)),
                 ["f(a(3), a(2))", "f(a(3), a(2), indexing='ij')", "f(a(3), a(2), sparse=True)",
                  "f(a(3), a(2), a(4))", "f(a(3))"], ["f(a(3), indexing='zz')"]),
    # _shapes.py
    "ndim": (np.ndim, ["f(a(2, 3))", "f(3)"], []),
    "shape": (np.shape, ["f(a(2, 3))", "f([[1, 2]])"], []),
    "size": (np.size, ["f(a(2, 3))", "f(a(2, 3), 1)"], []),
    "ravel": (np.ravel, ["f(a(2, 3))", "f(a(2, 3), order='F')"], []),
    "expand_dims": (np.expand_dims, ["f(a(2, 3), 0)", "f(a(2, 3), -1)", "f(a(2, 3), (0, 3))"],
                    ["f(a(2), 5)", "f(a(2), (0, 0))"]),
    "swapaxes": (np.swapaxes, ["f(a(2, 3, 4), 0, -1)"], ["f(a(2, 3), 0, 9)"]),
    "matrix_transpose": (lambda x: np.swapaxes(x, -1, -2), ["f(a(2, 3, 4))"], ["f(a(3))"]),
    "moveaxis": (np.moveaxis, ["f(a(2, 3, 4), 0, -1)", "f(a(2, 3, 4), [0, 1], [-1, 0])"],
                 ["f(a(2, 3), 5, 0)", "f(a(2, 3), [0, 1], [0])"]),
    "rollaxis": (np.rollaxis, ["f(a(2, 3, 4), 2)", "f(a(2, 3, 4), 0, 3)", "f(a(2, 3, 4), 2, 1)"],
                 ["f(a(2, 3), 5)", "f(a(2, 3), 0, 9)"]),
    "atleast_1d": (np.atleast_1d, ["f(a())", "f(a(2, 3))", "list(f(a(2), 3.0))"], []),
    "atleast_2d": (np.atleast_2d, ["f(a())", "f(a(3))", "list(f(a(2, 3, 4), a(2)))"], []),
    "atleast_3d": (np.atleast_3d, ["f(a())", "f(a(3))", "f(a(2, 3))", "list(f(a(2), a(1, 1, 1, 1)))"], []),
    "broadcast_shapes": (np.broadcast_shapes, ["f((2, 1), (3,), 1)", "f((0, 1), (1, 4))", "f()"],
                         ["f((2,), (3,))"]),
    "broadcast": (np.broadcast, ["(lambda b: (b.shape, b.nd, b.size))(f(a(2, 1), a(3)))", "f(a(2, 3), 2).ndim"], ["f(a(2), a(3))"]),
    "broadcast_arrays": (lambda *x: tuple(np.broadcast_arrays(*x)), ["f(a(2, 1), a(3))", "f(a(3), 2)"],
                         ["f(a(2), a(3))"]),
    "flipud": (np.flipud, ["f(a(2, 3))", "f(a(3))"], []),
    "fliplr": (np.fliplr, ["f(a(2, 3))"], ["f(a(3))"]),
    "rot90": (np.rot90, ["f(a(2, 3))", "f(a(2, 3), 2)", "f(a(2, 3, 4), -1, (1, 2))", "f(a(2, 3), 4)"],
              ["f(a(3))", "f(a(2, 3), axes=(0, 0))"]),
    "roll": (np.roll, ["f(a(2, 3), 1)", "f(a(2, 3), -2, 1)", "f(a(2, 3), (1, 2), (0, 1))",
                       "f(a(2, 3), 1, (0, 1))", "f(a(5), 7)"], ["f(a(2, 3), 1, 5)"]),
    "hstack": (np.hstack, _stacking, ["f([a(2, 3), a(3, 3)])", "f([])"]),
    "vstack": (np.vstack, _stacking, ["f([a(2, 3), a(2, 4)])", "f([])"]),
    "dstack": (np.dstack, _stacking, ["f([a(2, 3), a(2, 4)])"]),
    "column_stack": (np.column_stack, _stacking, ["f([a(2), a(3)])"]),
    "append": (np.append, ["f(a(2, 3), a(2))", "f(a(2, 3), a(1, 3), axis=0)", "f(a(2, 3), a(2, 1), 1)"],
               ["f(a(2, 3), a(3), axis=0)"]),
    "array_split": (np.array_split, ["f(a(7), 3)", "f(a(2, 7), 3, axis=1)"] + _splits, ["f(a(3), 0)"]),
    "split": (np.split, _splits + ["f(a(2, 6), 3, -1)"], ["f(a(7), 2)"]),
    "hsplit": (np.hsplit, _splits, ["f(a(3, 7), 2)"]),
    "vsplit": (np.vsplit, _splits, ["f(a(7, 2), 2)", "f(a(4), 2)"]),
    "dsplit": (np.dsplit, _splits, ["f(a(4, 4), 2)"]),
    "unstack": (lambda x, axis=0: tuple(np.moveaxis(x, axis, 0)), ["f(a(2, 3))", "f(a(2, 3), axis=1)"], []),
    "repeat": (np.repeat, ["f(a(2, 3), 2)", "f(a(2, 3), 2, 1)", "f(a(2, 3), [1, 2], axis=0)", "f(a(3), 0)"],
               ["f(a(3), [1, 2])", "f(a(3), -1)", "f(a(3), 2, 9)"]),
    "tile": (np.tile, ["f(a(2, 3), 2)", "f(a(2, 3), (2, 1, 2))", "f(a(2, 3, 1), (2,))", "f(a(3), 0)"], []),
    "copyto": (np.copyto, ["(lambda x: f(x, a(3)) or x)(a(2, 3))", "(lambda x: f(x, 1, where=x > 0) or x)(a(2, 3))",
                           "(lambda x: f(x, a(2, 3), where=a('bool', 3)) or x)(a(2, 3))", "(lambda x: f(x, a('int8', 3), 'unsafe') or x)(a(3))"],
               ["f(a('int32', 3), a('float64', 3))", "f(a('float64', 3), a('float64', 2))", "f(a(2), 1, where=a('int32', 2))"]),
    # _statistics.py
    "average": (np.average, ["f(a(2, 3))", "f(a(2, 3), 1)", "f(a(2, 3), 1, weights=[1, 2, 3])",
                             "f(a(2, 3), weights=a('uint8', 2, 3) + 1)", "f(a(2, 3), 0, returned=True)"],
                ["f(a(2, 3), weights=[1, 2, 3])", "f(a(2, 3), 1, weights=[1, 2])", "f(a(3), weights=[0, 0, 0])"], X),
    "bincount": (np.bincount, ["f(a('index', 9))", "f(a('index', 5), a('float64', 5))", "f(a('index', 3), minlength=7)"],
                 ["f(a('float64', 3))", "f(a('index', 2, 2))", "f(a('index', 3), [1.0])"]),
    "diff": (np.diff, ["f(a(5))", "f(a(3, 4), 2)", "f(a(3, 4), axis=0)", "f(a(3), 0)"],
             ["f(a(3), -1)", "f(a())", _axis9]),
    "cumulative_sum": (lambda x, axis=0, include_initial=False: np.insert(np.cumsum(x, axis), 0, 0,
        axis) if include_initial else np.cumsum(x, axis),
                       ["f(a(3))", "f(a(2, 3), axis=1)", "f(a(2, 3), axis=1, include_initial=True)"], []),
    "cumulative_prod": (lambda x, axis=0, include_initial=False: np.insert(np.cumprod(x, axis), 0, 1,
        axis) if include_initial else np.cumprod(x, axis),
                        ["f(a(3))", "f(a(2, 3), axis=1, include_initial=True)"], []),
    # _products.py
    "dot": (np.dot, [_vec, "f(a(2, 3), a(3, 2))", "f(a(2, 3), a(3))", "f(a(2, 3), 2)", "f(a(2, 3, 4), a(5, 4, 2))",
                     "f(a(2, 3, 4), a(4))"], ["f(a(2, 3), a(2, 3))", "f(a(2), a(3))"]),
    "vdot": (np.vdot, [_vec, "f(a(2, 3), a(3, 2))"], ["f(a(2), a(3))"]),
    "inner": (np.inner, [_vec, "f(a(2, 3), a(4, 3))", "f(a(2, 3), 2)"], [_bad_pair]),
    "outer": (np.outer, [_vec, "f(a(2, 3), a(2))"], []),
    "tensordot": (np.tensordot, ["f(a(2, 3, 4), a(3, 4, 5))", "f(a(2, 3), a(4, 2), axes=(0, 1))", "f(a(2), a(3), 0)",
                                 "f(a(2, 3, 4), a(4, 3, 2), ([1, 2], [1, 0]))"], ["f(a(2, 3), a(2, 3), 1)"]),
    "vecdot": (lambda x, y, axis=-1: (x * y).sum(axis, dtype=np.result_type(x, y)),
               ["f(a(2, 3), a(2, 3))", "f(a(3, 2), a(3, 1), axis=0)"], [], X),
    "matvec": (lambda x, y: np.matmul(x, y[..., None])[..., 0], ["f(a(5, 2, 3), a(3))"], []),
    "vecmat": (lambda x, y: np.matmul(x[..., None, :], y)[..., 0, :], ["f(a(2), a(5, 2, 3))"], []),
    "cross": (np.cross, ["f(a(2, 3), a(3))", "f(a(3, 2), a(3, 2), axis=0)"], ["f(a(4), a(4))"], X),
    "kron": (np.kron, ["f(a(2, 3), a(3, 2))", "f(a(2), a(2, 2))"], []),
    "diagonal": (np.diagonal, ["f(a(3, 4))", "f(a(3, 4), -1)", "f(a(2, 3, 4), 1, 0, 2)", "f(a(2, 3), 9)"],
                 ["f(a(3))", "f(a(2, 3), 0, 1, 1)"]),
    "trace": (np.trace, ["f(a(3, 4))", "f(a(3, 4), 1)", "f(a(2, 3, 4), 0, 1, 2)", "f(a(2, 2), dtype='float32')"],
              ["f(a(3))"]),
    # _search.py
    "fill_diagonal": (np.fill_diagonal, ["(lambda x: f(x, 1) or x)(a(2, 3))", "(lambda x: f(x, [1, 0]) or x)(a(3, 2))",
                                         "(lambda x: f(x, 1, wrap=True) or x)(a(5, 2))", "(lambda x: f(x, 0) or x)(a(2, 2, 2))"],
                      ["f(a(3), 1)", "f(a(2, 3, 4), 1)"]),
    "union1d": (np.union1d, ["f(a('index', 5), [7, 1])", "f(a(2, 3), a(3))"], []),
    "intersect1d": (np.intersect1d, ["f(a('index', 5), [7, 1])", "f(a(2, 3), a(2, 3))", "f([3, 1], [1, 3], assume_unique=True)"], []),
    "setdiff1d": (np.setdiff1d, ["f(a('index', 5), [7, 1])", "f(a(2, 3), a(2, 3)[0])"], []),
    "flatnonzero": (np.flatnonzero, ["f(a(2, 3))"], []),
    "nonzero": (np.nonzero, ["f(a(2, 3))", "f(a('int64', 4) > 0)"], []),
    "argwhere": (np.argwhere, ["f(a(2, 3))"], []),
    "count_nonzero": (np.count_nonzero, ["f(a(2, 3))", "f(a(2, 3), 1)", "f(a(2, 3), axis=0, keepdims=True)"], []),
    "isclose": (np.isclose, ["f(a(2, 3), a(3))", "f(a(3), a(3) * 1)", "f([1, np.nan, np.inf], [1, np.nan, np.inf])",
                             "f([1, np.nan], [1 + 1e-9, np.nan], equal_nan=True)", "f(a(3), 1, rtol=1)"], [_bad_pair]),
    "allclose": (np.allclose, ["f(a(2, 3), a(2, 3))", "f(a(3), a(3) * 2)"], [_bad_pair]),
    "array_equal": (np.array_equal, ["f(a(2, 3), a(2, 3))", "f(a(2), a(3))", "f([1, np.nan], [1, np.nan])",
                                     "f([1, np.nan], [1, np.nan], equal_nan=True)"], []),
    "array_equiv": (np.array_equiv, ["f(a(1, 3), a(3))", "f(a(2), a(3))"], []),
    "may_share_memory": (np.may_share_memory, ["f(a(3), a(3))", "(lambda x: f(x, x[1:]))(a(3))"], []),
    "unravel_index": (np.unravel_index, ["f(a('index', 4), (2, 3))", "f([5, 0], (2, 3))", "f(3, 4)"],
                      ["f([6], (2, 3))", "f([-1], (2, 3))", "f([0.5], (2, 3))"]),
    "ravel_multi_index": (np.ravel_multi_index, ["f(([1, 0], [2, 1]), (2, 3))", "f((1, 2), (2, 3))"], ["f(([2], [0]), (2, 3))"]),
    "ix_": (np.ix_, ["f([0, 1], [1, 2, 0])", "f(a('bool', 3), [1])"], ["f([[1]])"]),
    "compress": (np.compress, ["f([True, False, True], a(3, 2), 0)", "f([0, 1], a(3, 2))", "f([1, 0], a(3, 2), axis=1)"],
                 ["f([[True]], a(2))"]),
    "extract": (np.extract, ["f(a('bool', 2, 3), a(2, 3))", "f(a(3), a(3))"], []),
    "put": (np.put, ["(lambda x: f(x, [0, -1], [1, 0]) or x)(a(2, 3))", "(lambda x: f(x, [0, 1, 4], a(2)) or x)(a(2, 3))", "(lambda x: f(x, 2, 1) or x)(a(3))"],
            ["f(a(3), [5], 1)", "f(a(3), [1, -4], 1)"]),
    "putmask": (np.putmask, ["(lambda x: f(x, x > 0, [1, 0]) or x)(a(2, 3))", "(lambda x: f(x, a('bool', 2, 3), x[::-1].copy()) or x)(a(2, 3))"],
                ["f(a(3), a('bool', 2), 1)"]),
    "searchsorted": (np.searchsorted, ["f(a(5).copy() * 0 + 1, a(2, 3))", "f([1.0, 2, 2, 3, np.nan], [2, 0, 4, np.nan], 'right')",
                                       "f([1, 2, 2, 3], [2, 0, 4], side='left')", "f([3, 1, 2], 2, sorter=[1, 2, 0])"],
                     ["f(a(3), 1, side='odd')", "f(a(2, 2), 1)"], X),
    "digitize": (np.digitize, ["f(a(2, 3), [0, 1, 2])", "f([1, 2], [0, 1, 2], right=True)"], [], X),
    "isin": (np.isin, ["f(a(2, 3), a(4))", "f(a(2, 3), [1], invert=True)", "f(a(3), [])"], []),
    "unique": (np.unique, ["f(a('index', 9))", "f([2.0, np.nan, 1, np.nan, 2])", "f(a(2, 3))",
                           "f(a('index', 9), return_index=True, return_counts=True)", "f(a('index', 9), return_inverse=True)"], []),
    # _elementwise.py
    "positive": (np.positive, ["f(a(2, 3))"], ["f(a('bool', 2))"], X),
    "round": (np.round, ["f(a(2, 3))", "f(a(2, 3), 1)", "f(a(2, 3), decimals=2)"], [], X),
    "deg2rad": (np.deg2rad, ["f(a(2, 3))"], [], F), "rad2deg": (np.rad2deg, ["f(a(2, 3))"], [], F),
    "fabs": (np.fabs, ["f(a(2, 3))"], [], F),
    "divmod": (np.divmod, _both[1:2] + ["f(a(2, 3), abs(a(2, 3)) + 1)"], [_bad_pair], X),
    "float_power": (np.float_power, ["f(abs(a(2, 3)), a(3))", "f(a(3), 2)"], [_bad_pair], X),
    "logaddexp2": (np.logaddexp2, ["f(a(2, 3), a(3))"], [_bad_pair], F),
    "ldexp": (np.ldexp, ["f(a(2, 3), [1, -2, 3])", "f(a(3), 5)"], ["f(a(3), 0.5)"], F),
    "modf": (np.modf, ["f(a(2, 3))", "f([1.5, -2.5, np.inf, -np.inf, -0.0])"], [], F),
    "heaviside": (np.heaviside, ["f([-1.0, 0, 2, np.nan], 0.5)", "f(a(2, 3), a(3))"], [_bad_pair], F),
    "signbit": (np.signbit, ["f([-1.0, -0.0, 0, 3])", "f(a(2, 3))"], [], F),
    "isneginf": (np.isneginf, ["f([-np.inf, np.inf, 1, np.nan])"], []),
    "isposinf": (np.isposinf, ["f([-np.inf, np.inf, 1, np.nan])"], []),
    "nan_to_num": (np.nan_to_num, ["f([-np.inf, np.inf, 1, np.nan])", "f([np.nan, np.inf], nan=1, posinf=2)", "f(a(3))"], []),
    "iscomplexobj": (np.iscomplexobj, ["f(a(3))"], []), "isrealobj": (np.isrealobj, ["f(a(3))"], []),
    "real": (np.real, ["f(a(3))", "f(a('complex64', 2, 3))", "f(a('complex128', 3))"], []),
    "imag": (np.imag, ["f(a(3))", "f(a('complex64', 2, 3))"], []),
    "conj": (np.conj, ["f(a(3))"], [], X),
    # the extension's
    "array": (np.array, ["f(a(2, 3))", "f([[1, 2], [3, 4]])", "f([1, 2.5, True])", "f(3, dtype='float32')",
                         "f([])"], ["f([[1], [2, 3]])", "f([300], dtype='int8')"]),
    "asarray": (np.asarray, ["f(a(2, 3))", "f((1, 2))", "f(a(3), 'float32')"], []),
    "zeros": (np.zeros, ["f((2, 3))", "f(3, 'int32')", "f((), dtype='bool')"], ["f(-1)"]),
    "ones": (np.ones, ["f((2, 3))", "f(3, 'int32')", "f((0, 2), dtype='bool')"], ["f((2, -1))"]),
    "empty": (np.empty, ["f((2, 3)).shape", "str(f(3, 'int32').dtype)"], ["f(2.5)"]),
    "full": (np.full, ["f((2, 3), 7)", "f(3, 2.5)", "f((), True)", "f(2, 1, dtype='float32')"],
             ["f(3, 300, dtype='int8')"]),
    "zeros_like": (np.zeros_like, ["f(a(2, 3))", "f(a(2, 3), 'int8')"], []),
    "ones_like": (np.ones_like, ["f(a(2, 3))", "f(a(2, 3), dtype='int8')"], []),
    "empty_like": (np.empty_like, ["f(a(2, 3)).shape"], []),
    "full_like": (np.full_like, ["f(a(2, 3), 1)", "f(a(2, 3), 2, 'float32')"], []),
    "arange": (np.arange, ["f(5)", "f(1, 2, 0.25)", "f(5, 1, -2)", "f(3, dtype='float32')", "f(2, 2)"],
               ["f(0, 1, 0)"]),
    "to_numpy": (np.array, ["f(a(2, 3))"], []),
}

# of those that are made of operators, those with a gradient
DIFFERENTIABLE = """ascontiguousarray append array_split atleast_1d atleast_2d atleast_3d average broadcast_arrays column_stack cross
    cumulative_prod cumulative_sum deg2rad diag diagflat diagonal diff divmod dot dsplit dstack expand_dims fliplr flipud hsplit hstack inner
    kron linspace logaddexp2 matrix_transpose matvec median meshgrid modf moveaxis nan_to_num outer positive ptp rad2deg ravel repeat roll
    rollaxis rot90 split std swapaxes tensordot tile trace tril triu unstack var vdot vecdot vecmat vsplit vstack
    clip concatenate pad reshape stack take take_along_axis where""".split()

# ---- of ndarray: expressions of x, and of m, the library --------------------------------------------------------------


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
    "T": ["x.T"], "mT": ["x.mT if m is not np else np.swapaxes(x, -1, -2)"], "shape": ["x.shape", _set_shape((3, 2)), _set_shape(-1)],
    "dtype": ["x.dtype.name", "(x.dtype.kind, x.dtype.itemsize)"], "ndim": ["x.ndim"], "size": ["x.size"],
    "itemsize": ["x.itemsize"], "nbytes": ["x.nbytes"], "strides": ["x.copy().strides", "x[:, 1:].strides"],
    "real": ["x.real"], "imag": ["x.imag"],
    "flags": ["(x.flags.c_contiguous, x.flags['F_CONTIGUOUS'], x.flags['C'], x.flags.writeable, x.flags.forc, x.T.flags.c_contiguous)"],
    "all": ["x.all()", "x.all(1)", "x.all(axis=0, keepdims=True)"], "any": ["x.any()", "x.any(axis=-1)"],
    "sum": ["x.sum()", "x.sum(0)", "x.sum(0, 'float32')", "x.sum(axis=(0, 1), keepdims=True)", "x.sum(axis=())"],
    "prod": ["x.prod()", "x.prod(axis=1, dtype='float64')"], "mean": ["x.mean()", "x.mean(1)", "x.mean((0, 1))"],
    "max": ["x.max()", "x.max(1)", "x.max(axis=0, keepdims=True)"], "min": ["x.min()", "x.min(axis=-1)"],
    "argmax": ["x.argmax()", "x.argmax(1)"], "argmin": ["x.argmin()", "x.argmin(axis=0)"],
    "cumsum": ["x.cumsum()", "x.cumsum(1)"], "cumprod": ["x.cumprod()", "x.cumprod(axis=0)"],
    "var": ["x.var()", "x.var(0, ddof=1)", "x.var(axis=(0, 1), keepdims=True)"], "std": ["x.std()", "x.std(1)"],
    "ptp": ["m.ptp(x, 1) if m is np else x.ptp(1)"], "clip": ["x.clip(0, 1)", "x.clip(max=1)", "x.clip(1)"],
    "round": ["x.round()", "x.round(1)"], "conj": ["x.conj()"], "conjugate": ["x.conjugate()"],
    "dot": ["x.dot(x.T)", "x.dot(2)"], "trace": ["x.trace()", "x.trace(1)"],
    "diagonal": ["x.diagonal()", "x.diagonal(1)", "x.diagonal(-1, axis1=1, axis2=0)"],
    "take": ["x.take([0, -1])", "x.take([[1, 0]], axis=1)", "x.take(7, mode='wrap')"],
    "compress": ["x.compress([0, 1])", "x.compress([True, False, True], axis=1)"],
    "repeat": ["x.repeat(2)", "x.repeat([1, 0, 2], axis=1)"], "nonzero": ["x.nonzero()"],
    "searchsorted": ["m.sort(x.ravel()).searchsorted(x)", "m.sort(x[0]).searchsorted([1, 2], side='right')"],
    "sort": [_changed("x.sort()"), _changed("x.sort(0)"), _changed("x.sort(axis=1, kind='stable')")],
    "argsort": ["x.argsort(kind='stable')", "x.argsort(0, 'stable')"],
    "put": [_changed("x.put([0, -1], [1, 0])"), _changed("x.put(2, 1)"), _changed("x.put([0, 1, 2], [1, 0])")],
    "fill": [_changed("x.fill(1)")], "item": ["x.item(3)", "x.item(1, -1)", "x.item((0, 1))", "x[0, 0].item()"],
    "tolist": ["x.tolist()", "x[1, 1].tolist()"], "tobytes": ["x.tobytes()", "x.tobytes('F')", "x.T.tobytes()"],
    "tofile": [_written], "dumps": [_unpickled], "dump": [_dumped], "copy": ["x.copy()", "x.T.copy()"],
    "astype": ["x.astype('float32')", "x.astype(bool)", "x.astype(x.dtype, copy=False)"],
    "view": ["x.view()", "x.copy().view('uint8')", "x.copy().view('uint8')[:, : 2 * x.itemsize].view(x.dtype)"],
    "reshape": ["x.reshape(3, 2)", "x.reshape((6,))", "x.reshape(-1)", "x.T.reshape(2, 3)"],
    "transpose": ["x.transpose()", "x.transpose(1, 0)", "x.transpose((0, 1))", "x.transpose(None)"],
    "swapaxes": ["x.swapaxes(0, -1)"], "squeeze": ["x[None].squeeze()", "x[:, None].squeeze(1)"],
    "ravel": ["x.ravel()", "x.ravel('F')", "x.T.ravel()"], "flatten": ["x.flatten()", "x.flatten(order='F')"],
    "__add__": ["x + x", "x + 1", "1 + x"], "__mul__": ["x * x", "x * True", "2 * x"],
    "__sub__": ["x - x.T.T", "x - 1", "1 - x"], "__truediv__": ["x / 2", "1 / (x + 9)"],
    "__floordiv__": ["x // 2", "9 // (x + 9)"], "__mod__": ["x % 3", "7 % (x + 9)"],
    "__divmod__": ["divmod(x, 2)", "divmod(9, x + 9)"],
    "__pow__": ["x**3", "2 ** abs(x)", "x**x.dtype.type(2) if m is np else x**m.array(2, x.dtype)"],
    "__matmul__": ["x @ x.T", "x @ x[0]"], "__neg__": ["-x"], "__pos__": ["+x"], "__abs__": ["abs(x)"],
    "__invert__": ["~(x > 0)", "~x"], "__and__": ["x & x.T.T", "1 & x"], "__or__": ["x | 1", "2 | x"],
    "__xor__": ["x ^ 1", "3 ^ x"], "__lshift__": ["x << 1", "1 << abs(x)"], "__rshift__": ["x >> 1", "64 >> abs(x)"],
    "__eq__": ["x == x[0]", "x == 1"], "__ne__": ["x != 1"], "__lt__": ["x < 1", "1 < x"],
    "__le__": ["x <= 1"], "__gt__": ["x > x[1]"], "__ge__": ["x >= 0.5"],
    "__bool__": ["bool(x[0, 0])", "bool(x)"], "__int__": ["int(x[1, 1])", "int(x)"],
    "__float__": ["float(x[1, 1])", "float(x)"], "__index__": ["[5, 6, 7, 8, 9][x[0, 0]]", "[5, 6][x]"],
    "__len__": ["len(x)", "len(x[0, 0])"], "__iter__": ["[r for r in x]", "list(x[0, 0])"],
    "__contains__": ["x[0, 1] in x", "99 in x"], "__copy__": ["__import__('copy').copy(x)"],
    "__deepcopy__": ["__import__('copy').deepcopy([x])[0]"], "__reduce__": ["__import__('pickle').loads(__import__('pickle').dumps(x))"],
    "__repr__": ["repr(x[0])", "repr(x)"], "__str__": ["str(x)"], "__hash__": ["m is np or hash(x) == hash(x)"],
    "__getitem__": ["x[1]", "x[:, ::-1]", "x[x > 0]", "x[[0, 1], [2, -1]]", "x[..., None, 0]", "x[True]", "x[5]",
                    "x[:, 5]", "x[[0, 2]]", "x[0, 0, 0]", "x['a']", "x[0.5]", "x[..., ...]",
                    "x[np.bool_(False)]", "x[np.int8(1)]", "x[m.asarray(1)].copy()", "x[(slice(None), [True, False, True])]"],
    "__setitem__": [_changed("x[1] = 1"), _changed("x[:, ::2] = [[1, 0]]"), _changed("x[x > 0] = 0"),
                    _changed("x[x > 0] = x[x > 0][::-1].copy()"), _changed("x[[0, 1], [2, -1]] = [1, 0]"),
                    _changed("x[1:] = x[:-1]"), _changed("x[:, :-1] = x[:, 1:]"), _changed("x[[0, 0]] = [[1, 1, 1], [0, 1, 0]]"),
                    _changed("x[x[0] > 0] = 1"), _changed("x[:, [0, 2]] = x[:, [2, 0]]"),
                    _changed("x[[0, 1]] = x[::-1].copy()"), _changed("x[0] = [1, 2]"), _changed("x[9] = 1"), _changed("x[[7]] = 1"),
                    _changed("x[x > 0] = x[0, 0]"), _changed("x[:, 1] = True"),
                    _changed("x[..., 0] = np.float64(1)"), _changed("x[[[1], [0]], [0, 1]] = m.asarray([[1, 0], [0, 1]])"),
                    _changed("x[[]] = 1")],
    "__delitem__": [_changed("del x[0]")],
    **{"__i%s__" % name: [_changed("x %s= 2" % s), _changed("x %s= x[0].copy()" % s), _changed("y = x[:, 1:]; y %s= 1" % s)]
       for name, s in [("add", "+"), ("sub", "-"), ("mul", "*"), ("floordiv", "//"), ("mod", "%"), ("pow", "**"), ("and", "&"), ("or", "|"),
                       ("xor", "^"), ("lshift", "<<"), ("rshift", ">>"), ("truediv", "/")]},
    "__imatmul__": [_changed("y = x[:, :2]; y @= m.ones((2, 2), x.dtype)"), _changed("x @= x[:1]")],
    **{"__r%s__" % name: "__%s__" % name for name in "add and divmod floordiv lshift matmul mod mul or pow rshift sub truediv xor".split()},
    "__complex__": ["complex(x[0, 0])"],
}
# what older NumPys have otherwise, and the first that has it as here
SINCE = {"array": (2, 0), "full": (2, 1), "nonzero": (2, 1), "where": (2, 1), "__imatmul__": (2, 0), "__index__": (2, 4), "__pos__": (2, 0)}
# what only chx has: an expression that is true of a float64 array
OF_CHX = {
    "device": lambda x: x.device == "native:0", "is_contiguous": lambda x: x.is_contiguous and not x.T.is_contiguous,
    "contiguous": lambda x: x.contiguous() is x and x.T.contiguous().is_contiguous, "to": lambda x: x.to("native:0") is x,
    "grad": lambda x: x.grad is None, "require_grad": lambda x: x.require_grad() is x and x.is_grad_required(),
    "is_grad_required": lambda x: not x.is_grad_required(), "is_backprop_required": lambda x: not x.is_backprop_required(),
    "backward": lambda x: (x.require_grad() * 3).sum().backward() is None and (x.grad == 3).all(),
    "cleargrad": lambda x: (x.require_grad().sum().backward(), x.cleargrad()) and x.grad is None,
    "detach": lambda x: not x.require_grad().detach().is_grad_required(), "unchain": lambda x: (x.require_grad() * 2).unchain() is None,
    "get_grad": lambda x: x.require_grad().get_grad() is None,
    "set_grad": lambda x: x.require_grad().set_grad(x.detach()) is None and (x.grad == x.detach()).all(),
    "to_device": lambda x: x.to_device("native:0") is x,
    "add_hook": lambda x: x.require_grad().add_hook(lambda g: None) is not None,
    "remove_hook": lambda x: x.remove_hook(x.require_grad().add_hook(lambda g: None)) is None,
}
