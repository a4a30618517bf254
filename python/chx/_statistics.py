# SPDX-License-Identifier: MIT
"""Statistics over the operators; differentiable where those are."""
import chx
from chx._creation import into, same_place, to_array
from chx._shapes import axes_of, axis_of

__all__ = ["average", "bincount", "cumulative_prod", "cumulative_sum", "diff", "median", "ptp", "std", "var"]


def _var(a, axis, dtype, ddof, keepdims, name):
    a = to_array(a)
    axes = None if axis is None else tuple(axes_of(axis, a.ndim, name))
    wanted = chx.dtype(dtype) if dtype is not None else a.dtype if a.dtype.kind == "f" else chx.float64
    if wanted.kind != "f":
        raise TypeError("%s: dtype is %s, want a floating one" % (name, wanted))
    work = chx.float32 if wanted.itemsize == 2 else wanted
    a = a.astype(work, copy=False)
    n = a.size if axes is None else 1
    for i in axes or ():
        n *= a.shape[i]
    if axes == ():
        return (a - a).astype(wanted, copy=False) / max(1 - ddof, 0)
    d = a - chx.mean(a, axis=axes, keepdims=True)
    y = chx.sum(d * d, axis=axes, keepdims=keepdims) / max(n - ddof, 0)
    return y.astype(wanted, copy=False)


def var(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, correction=None):
    """The mean square of the distances from the mean, over n - ddof (correction is another name of ddof); integers in float64.

    >>> chx.var([1.0, 3.0])
    array(1.)
    """
    return into(out, _var(a, axis, dtype, ddof if correction is None else correction, keepdims, "var"))


def std(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, correction=None):
    """The square root of var.

    >>> chx.std([1.0, 3.0], ddof=1)
    array(1.41421356)
    """
    return into(out, chx.sqrt(_var(a, axis, dtype, ddof if correction is None else correction, keepdims, "std")))


def ptp(a, axis=None, out=None, keepdims=False):
    """The largest less the smallest.

    >>> chx.ptp([1, 5, 2])
    array(4)
    """
    a = to_array(a)
    return into(out, chx.amax(a, axis=axis, keepdims=keepdims) - chx.amin(a, axis=axis, keepdims=keepdims))


def average(a, axis=None, weights=None, returned=False, *, keepdims=False):
    """The mean, or with weights the sum of a * weights over theirs; returned: (it, the sum of the weights).

    >>> chx.average([1.0, 4.0], weights=[2, 1])
    array(2.)
    """
    if weights is None:
        a = to_array(a)
        y = chx.mean(a, axis=axis, keepdims=keepdims)
        total = chx.full(y.shape, a.size / max(y.size, 1), y.dtype, device=y.device)
        return (y, total) if returned else y
    a, w = same_place(a, weights)
    if w.shape != a.shape:
        if axis is None:
            raise TypeError("average: the weights have shape %s, want %s, or an axis" % (w.shape, a.shape))
        at = axis_of(axis, a.ndim, "average")
        if w.shape != (a.shape[at],):
            raise ValueError("average: the weights have shape %s, want %s" % (w.shape, (a.shape[at],)))
        w = chx.broadcast_to(w.reshape((-1 if w.size else 0,) + (1,) * (a.ndim - 1 - at)), a.shape)
    total = chx.sum(w, axis=axis, keepdims=keepdims)
    if not chx.all(total != 0):
        raise ZeroDivisionError("average: the weights sum to 0")
    y = chx.sum(a * w, axis=axis, keepdims=keepdims) / total
    return (y, total.astype(y.dtype)) if returned else y


def median(a, axis=None, out=None, overwrite_input=False, keepdims=False):
    """The middle of the values in order, of an even number the mean of both; NaN where there is one.

    >>> chx.median([3, 1, 2, 9])
    array(2.5)
    """
    a = to_array(a)
    axes = list(range(a.ndim)) if axis is None else axes_of(axis, a.ndim, "median")
    kept = [i for i in range(a.ndim) if i not in axes]
    line = a.transpose(kept + axes) if a.ndim else a
    n = 1
    for i in axes:
        n *= a.shape[i]
    line = line.reshape(tuple(a.shape[i] for i in kept) + (n,))
    if not n:
        return into(out, chx.mean(a, axis=axis, keepdims=keepdims))
    line = chx.sort(line, axis=-1)
    y = chx.mean(line[..., (n - 1) // 2 : n // 2 + 1], axis=-1)
    if line.dtype.kind == "f":
        y = chx.where(chx.isnan(line[..., -1]), line[..., -1], y)
    return into(out, y.reshape(tuple(1 if i in axes else d for i, d in enumerate(a.shape))) if keepdims else y)


def bincount(x, weights=None, minlength=0):
    """How often each of 0 .. max(x) is in x, or the sum of its weights; at least minlength long. Reads max(x) to the host.

    >>> chx.bincount([0, 2, 2])
    array([1, 0, 2])
    """
    x = to_array(x)
    if x.ndim != 1:
        raise ValueError("bincount: the rank is %d, want 1" % x.ndim)
    if x.dtype.kind not in "iub":
        raise TypeError("bincount: %s is no integer" % x.dtype)
    if minlength < 0:
        raise ValueError("bincount: minlength is %d, want at least 0" % minlength)
    if x.size and chx.amin(x).item() < 0:
        raise ValueError("bincount: an element is negative, want at least 0")
    n = max(int(chx.amax(x).item()) + 1 if x.size else 0, minlength)
    if weights is None:
        weights = chx.ones(x.shape, "int64", device=x.device)
    else:
        weights = to_array(weights, x).astype("float64", copy=False)
        if weights.shape != x.shape:
            raise ValueError("bincount: the weights have shape %s, want %s" % (weights.shape, x.shape))
    return chx.scatter_add(chx.zeros(n, weights.dtype, device=x.device), x.astype("int64"), weights)


def diff(a, n=1, axis=-1):
    """The differences of neighbours along an axis, n times.

    >>> chx.diff([1, 4, 9])
    array([3, 5])
    """
    a = to_array(a)
    if n < 0:
        raise ValueError("diff: n is %d, want at least 0" % n)
    if not n:
        return a
    if not a.ndim:
        raise ValueError("diff: the array has no axes, want at least one")
    whole = (slice(None),) * axis_of(axis, a.ndim, "diff")
    for _ in range(n):
        after, before = a[whole + (slice(1, None),)], a[whole + (slice(None, -1),)]
        a = after != before if a.dtype.kind == "b" else after - before
    return a


def _cumulative(f, first, x, axis, dtype, include_initial):
    x = to_array(x)
    if axis is None:
        if x.ndim != 1:
            raise ValueError("axis is missing, which an array of rank %d needs" % x.ndim)
        axis = 0
    at = axis_of(axis, x.ndim, f.__name__)
    y = f(x, axis=at, dtype=dtype)
    if include_initial:
        start = chx.full(y.shape[:at] + (1,) + y.shape[at + 1 :], first, y.dtype, device=y.device)
        y = chx.concatenate([start, y], at)
    return y


def cumulative_sum(x, /, *, axis=None, dtype=None, out=None, include_initial=False):
    """The sum up to each element, with a 0 in front if include_initial.

    >>> chx.cumulative_sum([1, 2], include_initial=True)
    array([0, 1, 3])
    """
    return into(out, _cumulative(chx.cumsum, 0, x, axis, dtype, include_initial))


def cumulative_prod(x, /, *, axis=None, dtype=None, out=None, include_initial=False):
    """The product up to each element, with a 1 in front if include_initial.

    >>> chx.cumulative_prod([2, 3], include_initial=True)
    array([1, 2, 6])
    """
    return into(out, _cumulative(chx.cumprod, 1, x, axis, dtype, include_initial))
