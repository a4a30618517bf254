# SPDX-License-Identifier: MIT
"""The cases of make_ops.py for linear algebra, networks and random numbers. Everything here is the plainest loop or NumPy
expression that follows chx.h's description, in f64 or wider."""
import itertools

import numpy as np
from scipy import special


# ---- convolution: one loop over the taps of the kernel --------------------------------------------------------------------

def out_length(n, k, stride, pad, dilation):
    return (n + 2 * pad - dilation * (k - 1) - 1) // stride + 1


def taps(x, ksize, out, stride, pad, dilation):
    """For each tap, x (channels first, padded) as each output position sees it."""
    x = np.pad(x, [(0, 0), (0, 0)] + [(p, p + s) for p, s in zip(pad, stride)])
    for tap in itertools.product(*map(range, ksize)):
        at = tuple(slice(t * d, t * d + (o - 1) * s + 1, s) for t, d, o, s in zip(tap, dilation, out, stride))
        yield tap, at, x[(slice(None), slice(None)) + at]


def conv(x, w, b, stride, pad, dilation, groups):
    out = [out_length(*v) for v in zip(x.shape[2:], w.shape[2:], stride, pad, dilation)]
    y = np.zeros((x.shape[0], w.shape[0], *out), x.dtype)
    cg, kg = w.shape[1], w.shape[0] // groups
    for tap, _, v in taps(x, w.shape[2:], out, stride, pad, dilation):
        for g in range(groups):
            y[:, g * kg:(g + 1) * kg] += np.einsum("nc...,kc->nk...", v[:, g * cg:(g + 1) * cg], w[(slice(g * kg, (g + 1) * kg), slice(None)) + tap])
    return y if b is None else y + b.reshape(1, -1, *([1] * len(out)))


def conv_gradients(x, w, gy, stride, pad, dilation, groups):
    gw, gp = np.zeros_like(w), np.zeros_like(np.pad(x, [(0, 0), (0, 0)] + [(p, p + s) for p, s in zip(pad, stride)]))
    cg, kg = w.shape[1], w.shape[0] // groups
    for tap, at, v in taps(x, w.shape[2:], gy.shape[2:], stride, pad, dilation):
        for g in range(groups):
            k, c = slice(g * kg, (g + 1) * kg), slice(g * cg, (g + 1) * cg)
            n, s = x.shape[0], int(np.prod(gy.shape[2:]))
            gw[(k, slice(None)) + tap] = np.einsum("ncs,nks->kc", v[:, c].reshape(n, cg, s), gy[:, k].reshape(n, kg, s))
            gp[(slice(None), c) + at] += np.einsum("nk...,kc->nc...", gy[:, k], w[(k, slice(None)) + tap])
    return gp[(slice(None), slice(None)) + tuple(slice(p, p + n) for p, n in zip(pad, x.shape[2:]))], gw


def last(a):
    return np.moveaxis(a, 1, -1)


def conv_cases(b, rng, DT, up):
    settings = [  # x, w, stride, pad, dilation, groups
        ((2, 3, 7), (4, 3, 3), (1,), (0,), (1,), 1), ((1, 4, 9), (6, 2, 3), (2,), (2,), (2,), 2),
        ((2, 3, 6, 5), (4, 3, 3, 2), (1, 1), (0, 0), (1, 1), 1), ((2, 4, 7, 6), (4, 2, 3, 3), (2, 1), (1, 2), (1, 2), 2),
        ((1, 3, 5, 5), (3, 1, 3, 3), (1, 1), (1, 1), (1, 1), 3), ((3, 2, 4, 4), (5, 2, 1, 1), (1, 1), (0, 0), (1, 1), 1),
        ((2, 2, 8, 9), (2, 2, 2, 3), (3, 4), (0, 1), (1, 1), 1), ((1, 2, 4, 5, 4), (3, 2, 2, 3, 2), (1, 2, 1), (1, 0, 1), (1, 1, 2), 1),
        ((0, 3, 6, 5), (4, 3, 3, 2), (1, 1), (0, 0), (1, 1), 1)]
    for n, (xs, ws, stride, pad, dilation, groups) in enumerate(settings):
        for d in ("f32",) + (("f64", "f16", "bf16") if n == 3 else ("f64",) if n % 2 else ()):
            x, w, bias = (rng.uniform(-1, 1, s).astype(DT[d]) for s in (xs, ws, ws[:1]))
            ux, uw, ub = up(x), up(w), up(bias)
            y = conv(ux, uw, None, stride, pad, dilation, groups)
            unit = float(np.prod(ws[1:]))
            gy = rng.uniform(-1, 1, y.shape).astype(DT[d])
            gx, gw = conv_gradients(ux, uw, up(gy), stride, pad, dilation, groups)
            p = dict(stride=stride, pad=pad, dilation=dilation, groups=groups)
            label = f"{d} {len(stride)}-D"
            b.add("conv", [x, w, bias], (d, y + ub.reshape(1, -1, *([1] * len(stride)))), label, 4, unit, **p)
            b.add("conv_grad_input", [gy, w], (d, gx), label, 4, float(ws[0] * np.prod(ws[2:])), shape=xs, **p)
            b.add("conv_grad_weight", [x, gy], (d, gw), label, 4, max(1.0, float(np.prod(gy.shape) / gy.shape[1] if gy.size else 1)), shape=ws, **p)
            if d == "f32":
                p["layout"] = 1
                b.add("conv", [last(x), last(w)], (d, last(y)), label + " channels last", 4, unit, **p)
                b.add("conv_grad_input", [last(gy), last(w)], (d, last(gx)), label + " channels last", 4, float(ws[0] * np.prod(ws[2:])),
                      shape=last(x).shape, **p)
                b.add("conv_grad_weight", [last(x), last(gy)], (d, last(gw)), label + " channels last", 4,
                      max(1.0, float(np.prod(gy.shape) / gy.shape[1] if gy.size else 1)), shape=last(w).shape, **p)


# ---- pooling --------------------------------------------------------------------------------------------------------------

def pool_length(n, k, s, p, cover):
    return (n + 2 * p - k + (s - 1 if cover else 0)) // s + 1


def windows(shape, ksize, stride, pad, cover):
    out = [pool_length(*v, cover) for v in zip(shape, ksize, stride, pad)]
    for o in itertools.product(*map(range, out)):
        lo = [i * s - p for i, s, p in zip(o, stride, pad)]
        yield o, tuple(slice(max(v, 0), min(v + k, n)) for v, k, n in zip(lo, ksize, shape)), out


def pool_cases(b, rng, DT, up):
    settings = [((2, 2, 7), (3,), (2,), (1,)), ((2, 3, 6, 5), (2, 2), (2, 2), (0, 0)), ((1, 2, 7, 6), (3, 2), (2, 1), (1, 1)),
                ((1, 1, 5, 5), (3, 3), (1, 1), (1, 1)), ((1, 2, 4, 5, 6), (2, 2, 3), (2, 2, 2), (0, 1, 1)), ((0, 2, 4, 4), (2, 2), (2, 2), (0, 0))]
    for xs, ksize, stride, pad in settings:
        for cover in (0, 1):
            # with cover_all, a window may begin behind the last element; such shapes have no maximum, and are left out
            rows = list(windows(xs[2:], ksize, stride, pad, cover))
            if any(s.stop <= s.start for _, at, _ in rows for s in at):
                continue
            out = rows[0][2]
            for d in ("f32", "f64") + (("f16", "bf16", "i32", "u8") if len(xs) == 4 else ()):
                x = (rng.uniform(-9, 9, xs) if d[0] in "fb" else rng.integers(0, 99, xs)).astype(DT[d])
                y, at_flat = np.zeros((*xs[:2], *out), x.dtype), np.zeros((*xs[:2], *out), np.int64)
                flat = np.arange(int(np.prod(xs[2:]))).reshape(xs[2:])
                for o, at, _ in rows:
                    part = x[(slice(None), slice(None)) + at].reshape(*xs[:2], int(np.prod([v.stop - v.start for v in at])))
                    if part.size:
                        k = np.argmax(part.astype(float), -1)
                        y[(slice(None), slice(None)) + o] = np.take_along_axis(part, k[..., None], -1)[..., 0]
                        at_flat[(slice(None), slice(None)) + o] = flat[at].reshape(-1)[k]
                p = dict(ksize=ksize, stride=stride, pad=pad, cover_all=cover)
                label = f"{d} {len(ksize)}-D cover {cover}"
                b.add("max_pool", [x], [(d, y), ("i64", at_flat)], label, **p)
                if d == "f32":
                    b.add("max_pool", [last(x)], [(d, last(y)), ("i64", last(at_flat))], label + " channels last", layout=1, **p)
                if d[0] not in "fb":
                    continue
                for exclude in (0, 1):
                    ux, v = up(x), np.zeros((*xs[:2], *out), up(x).dtype)
                    gy = rng.uniform(-1, 1, v.shape).astype(DT[d])
                    ugy, gx = up(gy), np.zeros(xs, up(x).dtype)
                    for o, at, _ in rows:
                        inside = np.prod([s.stop - s.start for s in at])
                        n = inside if exclude else np.prod(ksize)
                        v[(slice(None), slice(None)) + o] = ux[(slice(None), slice(None)) + at].sum(axis=tuple(range(2, len(xs)))) / n
                        gx[(slice(None), slice(None)) + at] += (ugy[(slice(None), slice(None)) + o] / n).reshape(*xs[:2], *([1] * len(ksize)))
                    q = dict(p, exclude_pad=exclude)
                    b.add("avg_pool", [x], (d, v), label, 4, 9, **q)
                    b.add("avg_pool_grad", [gy], (d, gx), label, 4, 2, shape=xs, **q)
                    if d == "f32":
                        b.add("avg_pool", [last(x)], (d, last(v)), label + " channels last", 4, 9, layout=1, **q)
                        b.add("avg_pool_grad", [last(gy)], (d, last(gx)), label + " channels last", 4, 2, layout=1, shape=last(x).shape, **q)
    n = np.float32([[[1, np.nan, 3, 0, -np.inf, -np.inf]]])
    b.add("max_pool", [n], [("f32", np.array([[[np.nan, 3, -np.inf]]])), ("i64", np.array([[[1, 2, 4]]]))], "NaN wins, -inf is found", ksize=(2,))
    t = np.float32([[[2, 2, 2, 2]]])
    b.add("max_pool", [t], [("f32", t[..., :2]), ("i64", np.array([[[0, 2]]]))], "the first of ties", ksize=(2,))


# ---- matrices ----------------------------------------------------------------------------------------------------------------

def matrix_cases(b, rng, DT, up):
    shapes = [((3, 4), (4, 5)), ((4,), (4,)), ((4,), (4, 5)), ((3, 4), (4,)), ((2, 1, 3, 4), (5, 4, 2)), ((2, 3, 4), (4,)), ((4,), (2, 4, 3)),
              ((1, 1), (1, 1)), ((3, 0), (0, 2)), ((0, 3), (3, 2)), ((2, 0, 3, 2), (2, 4))]
    for n, (s, t) in enumerate(shapes):
        for d in DT if n in (0, 4) else ("f32", "f64", "i32"):
            if d == "bool":
                x, y = rng.integers(0, 2, s).astype(bool), rng.integers(0, 2, t).astype(bool)
            elif d[0] in "iu":
                i = np.iinfo(DT[d])
                x, y = rng.integers(i.min, i.max, s, DT[d], endpoint=True), rng.integers(i.min, i.max, t, DT[d], endpoint=True)
            else:
                x, y = rng.uniform(-1, 1, s).astype(DT[d]), rng.uniform(-1, 1, t).astype(DT[d])
            v = np.matmul(up(x), up(y)) if d[0] in "fb" and d != "bool" else np.matmul(x, y)
            b.add("matmul", [x, y], (d, np.asarray(v)), d, 4, float(max(1, s[-1])))
    for m, k, n in ((33, 65, 9), (1, 200, 9), (70, 3, 1), (8, 257, 3)):
        for d in ("f32", "f64"):
            x, y = rng.integers(-8, 9, (m, k)).astype(DT[d]), rng.integers(-8, 9, (k, n)).astype(DT[d])
            b.add("matmul", [x, y], (d, x.astype(float) @ y.astype(float)), f"{d} {m}x{k}x{n}: integers, exact")
    x, y = np.int8([[1, 2]]), np.float32([[0.5], [1]])
    b.add("matmul", [x, y], ("f32", np.array([[2.5]])), "promoted")
    for d in ("f16", "bf16", "f32", "f64"):
        for s in ((5, 3), (3,), (2, 2, 3)):
            x, w, c = (rng.uniform(-1, 1, t).astype(DT[d]) for t in (s, (4, 3), (4,)))
            y = up(x) @ up(w).T
            b.add("linear", [x, w, c], (d, y + up(c)), d, 4, 4)
            b.add("linear", [x, w], (d, y), d + " without b", 4, 4)
    b.add("linear", [np.zeros((0, 3), np.float32), np.ones((4, 3), np.float32)], ("f32", np.zeros((0, 4))), "empty")


# ---- activations, norms, losses --------------------------------------------------------------------------------------------

def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def network_cases(b, rng, DT, cast, up):
    for d in ("f16", "bf16", "f32", "f64"):
        x = rng.uniform(-5, 5, (3, 4, 5)).astype(DT[d])
        w = up(x)
        for axis in (0, 1, -1):
            b.add("softmax", [x], (d, softmax(w, axis)), f"{d} {axis}", 8, 1e-3, axis=axis)
            b.add("log_softmax", [x], (d, np.log(softmax(w, axis))), f"{d} {axis}", 4, 5, axis=axis)
        v = cast(np.linspace(-6, 6, 41), d)
        w = up(v)
        b.add("leaky_relu", [v], (d, np.where(w > 0, w, 0.2 * w)), d, 2)
        b.add("leaky_relu", [v], (d, np.where(w > 0, w, -1.5 * w)), d, 2, slope=-1.5)
        b.add("gelu", [v], (d, w / 2 * (1 + special.erf((w / np.sqrt(2)).astype(float)))), d, 4, 1)
        b.add("gelu", [v], (d, w / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (w + 0.044715 * w**3)))), d + " tanh", 4, 1, approximate=1)
    b.add("softmax", [np.int32([[1, 2, 3]])], ("f64", softmax(np.float64([[1, 2, 3]]), 1)), "integers", 4)
    b.add("softmax", [np.float32([[1000, 1000], [-1000, 0]])], ("f32", np.array([[0.5, 0.5], [0, 1]])), "large", 4)
    b.add("log_softmax", [np.float32([[1000, 1000], [-1000, 0]])], ("f32", np.array([[-np.log(2)] * 2, [-1000, 0]])), "large", 4)
    b.add("softmax", [np.zeros((0, 3), np.float32)], ("f32", np.zeros((0, 3))), "empty")
    for d in ("f32", "f64"):
        for shape in ((4, 3), (2, 3, 5), (2, 3, 4, 2)):
            x, gamma, beta = (rng.uniform(-2, 2, s).astype(DT[d]) for s in (shape, (3,), (3,)))
            axes, side = (0, *range(2, len(shape))), (1, 3) + (1,) * (len(shape) - 2)
            w, g, c = up(x), up(gamma).reshape(side), up(beta).reshape(side)
            mean, var = w.mean(axis=axes), w.var(axis=axes)
            y = g * (w - mean.reshape(side)) / np.sqrt(var.reshape(side) + 2e-5) + c
            b.add("batch_norm", [x, gamma, beta], [(d, y), (d, mean), (d, var)], f"{d} rank {len(shape)}", 16, 2)
            y = g * (w - 0.5) / np.sqrt(np.float64(2) + 1e-3) + c
            given = [np.full(3, 0.5, DT[d]), np.full(3, 2, DT[d])]
            b.add("fixed_batch_norm", [x, gamma, beta, *given], (d, y), f"{d} rank {len(shape)}", 8, 2, eps=1e-3)
            if len(shape) > 2:
                b.add("batch_norm", [last(x), gamma, beta], [(d, last(g * (w - mean.reshape(side)) / np.sqrt(var.reshape(side) + 2e-5) + c)), (d, mean), (d, var)],
                      f"{d} channels last", 16, 2, layout=1)
        x = rng.uniform(-2, 2, (2, 3, 4)).astype(DT[d])
        for tail in ((4,), (3, 4)):
            gamma, beta = (rng.uniform(-2, 2, tail).astype(DT[d]) for _ in range(2))
            w, axes = up(x), tuple(range(-len(tail), 0))
            y = up(gamma) * (w - w.mean(axis=axes, keepdims=True)) / np.sqrt(w.var(axis=axes, keepdims=True) + 1e-5) + up(beta)
            b.add("layer_norm", [x, gamma, beta], (d, y), f"{d} {tail}", 16, 2)
        x, t = rng.uniform(-4, 4, (5, 3)).astype(DT[d]), np.array([0, 2, 1, 1, 2])
        losses = -np.log(softmax(up(x), 1))[np.arange(5), t]
        b.add("softmax_cross_entropy", [x, t], (d, losses.mean()), d, 8, 1)
        b.add("softmax_cross_entropy", [x, np.array([0, 9, 1, 9, 2], np.int32)], (d, losses[[0, 2, 4]].mean()), d + " ignored", 8, 1, ignore_label=9)
        b.add("softmax_cross_entropy", [x, np.array([0, 9, 1, 9, 2])], (d, losses[[0, 2, 4]].sum() / 5), d + " by the batch", 8, 1, ignore_label=9, normalize=0)
        x, t = rng.uniform(-4, 4, (2, 3, 2, 2)).astype(DT[d]), rng.integers(0, 3, (2, 2, 2))
        v = np.take_along_axis(-np.log(softmax(up(x), 1)), t[:, None], 1)
        b.add("softmax_cross_entropy", [x, t], (d, v.mean()), d + " pixels", 8, 1)
        x, y = rng.uniform(-2, 2, (2, 3, 4)).astype(DT[d])
        b.add("mean_squared_error", [x, y], (d, ((up(x) - up(y))**2).mean()), d, 8, 1)


def heavy_cases(b, rng, DT, cast, up):
    matrix_cases(b, rng, DT, up)
    conv_cases(b, rng, DT, up)
    pool_cases(b, rng, DT, up)
    network_cases(b, rng, DT, cast, up)


# ---- random -----------------------------------------------------------------------------------------------------------------

def philox(counter, seed):
    """Philox 4x32-10 after Salmon et al. (SC'11)."""
    c, k = [counter & 0xffffffff, counter >> 32 & 0xffffffff, 0, 0], [seed & 0xffffffff, seed >> 32]
    for _ in range(10):
        p, q = c[0] * 0xd2511f53, c[2] * 0xcd9e8d57
        c = [(q >> 32) ^ c[1] ^ k[0], q & 0xffffffff, (p >> 32) ^ c[3] ^ k[1], p & 0xffffffff]
        k = [(k[0] + 0x9e3779b9) & 0xffffffff, (k[1] + 0xbb67ae85) & 0xffffffff]
    return c


# The published vector: Random123's kat_vectors for a counter and key of zeros.
assert philox(0, 0) == [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]


def bits32(n, seed, counter):
    return np.array([philox((counter + i // 4) % 2**64, seed)[i % 4] for i in range(n)], np.uint32)


def bits64(n, seed, counter):
    words = bits32(2 * ((n + 1) // 2 * 2), seed, counter).astype(np.uint64)
    return (words[0::2] | words[1::2] << np.uint64(32))[:n]


def unit(n, seed, counter, wide):
    return (bits64(n, seed, counter) >> np.uint64(11)) * 2.0**-53 if wide else (bits32(n, seed, counter) >> np.uint32(8)) * 2.0**-24


def random_cases(b, DT, Shape):
    for seed, counter in ((0, 0), (1, 7), (0x123456789abcdef, 0xfffffffe), (-1 % 2**64, 2**64 - 2)):
        at = dict(seed=seed - 2**64 if seed >> 63 else seed, counter=counter - 2**64 if counter >> 63 else counter)
        b.add("random_bits", [], ("u32", bits32(35, seed, counter).reshape(5, 7)), f"{seed:x}", shape=(5, 7), dtype="u32", **at)
        b.add("random_bits", [], ("u64", bits64(11, seed, counter)), f"{seed:x}", shape=(11,), dtype="u64", **at)
    at = dict(seed=42, counter=3)
    n = 21
    for d in ("f16", "bf16", "f32", "f64"):
        wide = d == "f64"
        blocks = (n + 1) // 2 if wide else (n + 3) // 4
        u, v = unit(n, 42, 3, wide), unit(n, 42, 3 + blocks, wide)
        b.add("uniform", [], (d, u), d, 2 if d in ("f16", "bf16") else 0, shape=(n,), dtype=d, **at)
        b.add("uniform", [], (d, -2 + u * 5), d + " [-2, 3)", 4, 5, shape=(n,), dtype=d, low=-2.0, high=3.0, **at)
        u = u + (2.0**-53 if wide else 2.0**-24)
        # 2 pi v in f32 is wrong by 4e-7 for v near 1, and so is the cosine
        b.add("normal", [], (d, np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v)), d, 16, 2, shape=(n,), dtype=d, **at)
    for d in ("bool", "i32", "f32"):
        b.add("bernoulli", [], (d, (bits32(n, 42, 3) < int(0.3 * 2**32)).astype(DT[d])), d, shape=(n,), dtype=d, low=0.3, **at)
    b.add("bernoulli", [], ("bool", np.ones(5, bool)), "1", shape=(5,), dtype="bool", low=1.0, **at)
    b.add("bernoulli", [], ("bool", np.zeros(5, bool)), "0", shape=(5,), dtype="bool", low=0.0, **at)
    for d in ("i8", "u8", "i64", "u64"):
        low, high = (0, 100) if d[0] == "u" else (-50, 50)
        v = bits64(n, 42, 3) % np.uint64(100)
        b.add("integers", [], (d, (v.astype(np.int64) + low).astype(DT[d])), d, shape=(n,), dtype=d, low=float(low), high=float(high), **at)
    for op in ("uniform", "normal", "random_bits"):
        d = "u32" if op == "random_bits" else "f32"
        b.add(op, [], (d, np.zeros((0, 3), DT[d])), "empty", shape=(0, 3), dtype=d, **at)
    for d in ("f32", "f64", "f16"):
        x = np.arange(1, n + 1).astype(DT[d]).reshape(3, 7)
        keep = (bits32(n, 42, 3) >= int(0.25 * 2**32)).reshape(3, 7)
        b.add("dropout", [x], (d, np.where(keep, x.astype(float) / 0.75, 0)), d, 2, ratio=0.25, **at)
        b.add("dropout", [x], (d, x.astype(float)), d + " 0", 0, ratio=0.0, **at)
