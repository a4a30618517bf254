# SPDX-License-Identifier: MIT
"""Cases of scans, sort, argsort and topk for make_ops.py, with a generator of their own."""
import numpy as np


def line_cases(b, DT, floats, info, up):
    """Into book b; floats, info and up are make_ops.py's."""
    rng = np.random.default_rng(20261121)
    scans(b, rng, DT, floats, info, up)
    orders(b, rng, DT, floats, info)


def samples(rng, d, dtype, shape, floats, info):
    """Small values with ties, and where there is room the dtype's bounds."""
    if d in floats:
        return rng.uniform(-2, 2, shape).astype(dtype)
    if d == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    x = rng.integers(max(info(d).min, -9), 10, shape).astype(dtype)
    x.flat[:3] = info(d).min, info(d).max, info(d).max
    return x


# ---- cumsum, cumprod, cummax, cummin -------------------------------------------------------------------------------------

STEP = {"cumsum": np.add, "cumprod": np.multiply, "cummax": np.maximum, "cummin": np.minimum}
KIND = {"cumsum": 1, "cumprod": 2, "cummax": 3, "cummin": 4}


def scanned(op, x, axis, reverse=0, exclusive=0):
    if axis is None:
        x, axis = x.reshape(-1), 0
    if reverse:
        x = np.flip(x, axis)
    v = STEP[op].accumulate(x, axis=axis, dtype=x.dtype)
    if exclusive:
        first = np.full_like(np.take(v, [0], axis), op == "cumprod")
        v = np.concatenate([first, np.delete(v, -1, axis)], axis)
    return np.flip(v, axis) if reverse else v


def scans(b, rng, DT, floats, info, up):
    for d in DT:
        x = samples(rng, d, DT[d], (3, 4, 5), floats, info)
        for op in STEP:
            adds = op in ("cumsum", "cumprod")
            to = d if d in floats or not adds else "u64" if d[0] == "u" else "i64"
            w = up(x) if d in floats else x.astype(DT[to])
            tol, unit = 0, 0
            if d in floats and op == "cumsum":
                tol, unit = 4, float(np.abs(w).sum(axis=1).max())
            elif d in floats and op == "cumprod":
                tol, unit = 64, float(info(d).smallest_normal)
            for axis in (None, 0, 1, -1):
                axes = () if axis is None else (axis,)
                b.add(op, [x], (to, scanned(op, w, axis)), f"{d} {axes}", 4 * tol, unit, axes=axes)
            b.add(op, [x], (to, scanned(op, w, 1, 1)), f"{d} reverse", tol, unit, axes=(1,), reverse=1)
            if adds:
                b.add(op, [x], (to, scanned(op, w, 2, 0, 1)), f"{d} exclusive", tol, unit, axes=(2,), exclusive=1)
                b.add(op, [x], (to, scanned(op, w, 0, 1, 1)), f"{d} reverse, exclusive", tol, unit, axes=(0,), reverse=1, exclusive=1)
    x = rng.uniform(-2, 2, (2, 3)).astype(np.float32)
    nan = np.float32([[1, np.nan, 3, 2], [np.inf, -np.inf, 0, 7], [2, np.inf, 1, -np.inf], [-1, -2, -3, -1]])
    many = rng.integers(-9, 10, (1, 5000)).astype(np.float32)  # sums that are exact in any order
    for op in STEP:
        exact = x.astype(float)
        b.add("scan", [x], ("f32", scanned(op, exact, 1)), op, 4, 8, axes=(1,), kind=KIND[op])
        b.add(op, [np.array(3, np.float32)], ("f32", np.array([3.0])), "0-d")
        b.add(op, [np.zeros((2, 0), np.float32)], ("f32", np.zeros((2, 0))), "empty axis", axes=(1,))
        b.add(op, [np.zeros((0, 2), np.float32)], ("f32", np.zeros((0, 2))), "no line", axes=(1,))
        b.add(op, [x[:, :1]], ("f32", exact[:, :1]), "one element", axes=(1,))
        b.add(op, [nan], ("f32", scanned(op, nan.astype(float), 1)), "NaN and infinities", axes=(1,))
        b.add(op, [nan], ("f32", scanned(op, nan.astype(float), 0, 1)), "NaN and infinities, reverse", axes=(0,), reverse=1)
    b.add("cumsum", [many], ("f32", scanned("cumsum", many.astype(float), 1, 1, 1)), "5000, reverse, exclusive", axes=(1,), reverse=1, exclusive=1)
    b.add("cummax", [many[:, :700].T], ("f32", scanned("cummax", many[:, :700].T.astype(float), 0)), "700 rows", axes=(0,))
    b.add("cumsum", [np.float16([300, 400, 500])], ("f32", np.array([300.0, 700, 1200])), "dtype", dtype="f32")
    b.add("cumsum", [np.uint8([200, 100])], ("u8", np.uint8([200, 44])), "dtype, which wraps", dtype="u8")
    b.add("cumsum", [np.float16([60000, 60000, -60000])], ("f16", np.array([60000.0, np.inf, 60000])), "f16 accumulates in f32")
    b.add("cumprod", [np.float16([60000, 2, 0.5])], ("f16", np.array([60000.0, np.inf, 60000])), "f16 accumulates in f32")
    b.add("cummax", [np.int32([3, 1, 4])], ("f64", np.array([3.0, 3, 4])), "dtype", dtype="f64")


# ---- sort, argsort, topk -------------------------------------------------------------------------------------------------

def order(x, axis, descending):
    """Stable; NaN is the greatest."""
    w = x.astype(np.float32) if x.dtype.kind == "V" or x.dtype.itemsize == 2 and x.dtype.kind not in "iu" else x
    if not descending:
        return np.argsort(w, axis=axis, kind="stable")
    back = np.argsort(np.flip(w, axis), axis=axis, kind="stable")
    return np.flip(x.shape[axis] - 1 - back, axis)


def orders(b, rng, DT, floats, info):
    for d in DT:
        x = samples(rng, d, DT[d], (3, 4, 5), floats, info)
        wide = samples(rng, d, DT[d], (2, 130), floats, info)
        if d in floats:
            x[0, 0] = 0.0, -0.0, np.nan, np.inf, -np.inf
            x[1, 2] = np.nan, 1, np.nan, -1, -np.inf
            x[2] = np.round(x[2].astype(np.float32))
            wide[0, ::3] = np.round(wide[0, ::3].astype(np.float32))
            wide[1, 7::11] = np.nan
        elif d != "bool":
            wide[1] = rng.integers(info(d).min, info(d).max, 130, dtype=DT[d], endpoint=True)
        for v, label in ((x, d), (wide, d + " 130")):
            for axis in range(-1, v.ndim - 1 if label == d else 0):
                for down in (0, 1):
                    i = order(v, axis, down)
                    text = f"{label} axis {axis}{' descending' if down else ''}"
                    b.add("sort", [v], (d, np.take_along_axis(v, i, axis)), text, axis=axis, descending=down)
                    b.add("argsort", [v], ("i64", i), text, axis=axis, descending=down)
                    if label != d:
                        continue
                    k = min(2 + axis, v.shape[axis])
                    i = np.take(i, range(k), axis)
                    b.add("topk", [v], [(d, np.take_along_axis(v, i, axis)), ("i64", i)], text, k=k, axis=axis, largest=down)
    x = rng.uniform(-2, 2, (2, 3)).astype(np.float32)
    for op in ("sort", "argsort"):
        to, e = ("f32", np.float32) if op == "sort" else ("i64", np.int64)
        b.add(op, [np.zeros((2, 0), np.float32)], (to, np.zeros((2, 0), e)), "empty axis", axis=1)
        b.add(op, [np.zeros((0, 2), np.float32)], (to, np.zeros((0, 2), e)), "no line", axis=1)
        b.add(op, [x[:, :1]], (to, x[:, :1] if op == "sort" else np.zeros((2, 1), e)), "one element", axis=1)
    for k in (0, 3):
        i = order(x, 1, 1)[:, :k]
        b.add("topk", [x], [("f32", np.take_along_axis(x, i, 1)), ("i64", i)], f"{k} of 3", k=k)
    b.add("topk", [np.zeros((2, 0), np.int8)], [("i8", np.zeros((2, 0), np.int8)), ("i64", np.zeros((2, 0), np.int64))], "none of none", k=0)
