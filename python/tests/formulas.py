# SPDX-License-Identifier: MIT
"""Formulas in NumPy of what NumPy has not, for table.py: networks, scatter and top k, in one spatial axis where there are such."""
import numpy as np


def conv(x, w, b=None, stride=1, pad=0):
    x = np.pad(x, [(0, 0), (0, 0), (pad, pad)])
    n = (x.shape[2] - w.shape[2]) // stride + 1
    y = np.stack([np.tensordot(x[:, :, i * stride : i * stride + w.shape[2]], w, ([1, 2], [1, 2])) for i in range(n)], 2)
    return y if b is None else y + b[:, None]


def windows(x, k):
    return np.stack([x[:, :, i : i + k] for i in range(0, x.shape[2] - k + 1, k)], 2)


def softmax(x, axis=1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def normal(x, axes, eps, gamma, beta):
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(var + eps) * gamma + beta


def batch_norm(x, gamma, beta):
    mean, var = x.mean((0, 2)), x.var((0, 2))
    return fixed(x, gamma, beta, mean, var), mean, var


def fixed(x, gamma, beta, mean, var):
    return (x - mean[:, None]) / np.sqrt(var[:, None] + 2e-5) * gamma[:, None] + beta[:, None]


def scatter(x, i, y, axis=0):
    x = np.moveaxis(x.copy(), axis, 0)
    np.add.at(x, i, np.moveaxis(y, axis, 0))
    return np.moveaxis(x, 0, axis)


def scatter_along(x, i, y, axis):
    x = x.copy()
    at = list(np.ogrid[tuple(map(slice, i.shape))])
    at[axis] = i
    np.add.at(x, tuple(at), y)
    return x


def topk(x, k=1, axis=-1, largest=True):
    if k > x.shape[axis]:
        raise ValueError
    i = np.take(np.argsort(-x if largest else x, axis, kind="stable"), range(k), axis)
    return np.take_along_axis(x, i, axis), i


def slice_grad(gy, start, stop, step, shape):
    y = np.zeros(shape, gy.dtype)
    y[tuple(map(slice, start, stop, step))] = gy
    return y
