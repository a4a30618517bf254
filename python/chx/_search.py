# SPDX-License-Identifier: MIT
"""Searching, comparing and places. What has as many elements as a condition holds reads the condition to the host."""
import chx
from chx._creation import same_place, to_array
from chx._shapes import axis_of

__all__ = ["allclose", "argwhere", "array_equal", "array_equiv", "compress", "count_nonzero", "digitize", "extract", "fill_diagonal",
           "flatnonzero", "intersect1d", "isclose", "isin", "ix_", "may_share_memory", "nonzero", "put", "putmask", "ravel_multi_index",
           "searchsorted", "setdiff1d", "union1d", "unique", "unravel_index"]


# ---- what is not 0 --------------------------------------------------------------------------------------------------------------


def _truth(a):
    return a if a.dtype == "bool" else a != 0


def flatnonzero(a):
    """The positions in the flattened array of what is not 0.

    >>> chx.flatnonzero([0, 3, 0, 1])
    array([1, 3])
    """
    a = to_array(a).ravel()
    return chx.arange(a.size, device=a.device)[_truth(a)]


def nonzero(a):
    """For each axis the indices of what is not 0.

    >>> chx.nonzero([[0, 3], [1, 0]])
    (array([0, 1]), array([1, 0]))
    """
    a = to_array(a)
    if not a.ndim:
        raise ValueError("nonzero: the array has no axes, want at least one")
    return unravel_index(flatnonzero(a), a.shape)


def argwhere(a):
    """The indices of what is not 0, a row for each.

    >>> chx.argwhere([[0, 3], [1, 0]])
    array([[0, 1],
           [1, 0]])
    """
    a = to_array(a)
    at = flatnonzero(a)
    return chx.stack(unravel_index(at, a.shape), 1) if a.ndim else at.reshape((at.size, 1))[:, :0]


def count_nonzero(a, axis=None, *, keepdims=False):
    """How many are not 0: an int, or an array of int64 where an axis is given.

    >>> chx.count_nonzero([0, 3, 1])
    2
    """
    n = chx.sum(_truth(to_array(a)), axis=axis, keepdims=keepdims)
    return n if axis is not None or keepdims else n.item()


# ---- equality -------------------------------------------------------------------------------------------------------------------


def isclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False):
    """|a - b| <= atol + rtol |b|, of each pair; infinities are close to themselves.

    >>> chx.isclose([1.0, 2.0], [1.0, 2.1])
    array([ True, False])
    """
    a, b = same_place(a, b)
    if b.dtype.kind != "f":
        b = b.astype("float64")
    close = (chx.less_equal(abs(a - b), atol + rtol * abs(b)) & chx.isfinite(b)) | (a == b)
    if not equal_nan:
        return close
    return close | ((a != a) & (b != b))


def allclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Whether isclose holds of all pairs, a bool.

    >>> chx.allclose([1.0], [1.0 + 1e-9])
    True
    """
    return bool(chx.all(isclose(a, b, rtol, atol, equal_nan)))


def _equal(a, b):
    return bool(chx.all(a == b))


def array_equal(a1, a2, equal_nan=False):
    """Whether the shapes and all elements are equal, a bool.

    >>> chx.array_equal([1, 2], [1, 2])
    True
    """
    a, b = same_place(a1, a2)
    if a.shape != b.shape:
        return False
    return bool(chx.all((a == b) | ((a != a) & (b != b)))) if equal_nan else _equal(a, b)


def array_equiv(a1, a2):
    """Whether the shapes broadcast and all elements are equal then, a bool.

    >>> chx.array_equiv([[1, 2], [1, 2]], [1, 2])
    True
    """
    a, b = same_place(a1, a2)
    try:
        chx.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return False
    return _equal(a, b)


def may_share_memory(a, b):
    """Whether both are views of one buffer, as shares_memory.

    >>> x = chx.ones(3); chx.may_share_memory(x, x.T)
    True
    """
    return chx.shares_memory(a, b)


# ---- places ---------------------------------------------------------------------------------------------------------------------


def unravel_index(indices, shape):
    """For each axis the indices of positions in the flattened array.

    >>> chx.unravel_index([1, 5], (2, 3))
    (array([0, 1]), array([1, 2]))
    """
    at = to_array(indices)
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    n = 1
    for d in shape:
        n *= d
    if at.dtype.kind not in "iu":
        raise TypeError("unravel_index: the indices are of %s, want integers" % at.dtype)
    if at.size and not (chx.amin(at).item() >= 0 and chx.amax(at).item() < n):
        bad = chx.amax(at).item() if chx.amin(at).item() >= 0 else chx.amin(at).item()
        raise ValueError("unravel_index: index %d is out of bounds for an array of size %d" % (bad, n))
    places = []
    for d in reversed(shape):
        places.append(at % d if d else at)
        at = at // d if d else at
    return tuple(reversed(places))


def ravel_multi_index(multi_index, dims, mode="raise", order="C"):
    """The positions in the flattened array of indices per axis.

    >>> chx.ravel_multi_index(([0, 1], [1, 2]), (2, 3))
    array([1, 5])
    """
    if mode != "raise" or order != "C":
        raise NotImplementedError("ravel_multi_index: mode is %r and order %r, want 'raise' and 'C'" % (mode, order))
    at = same_place(*multi_index)
    if len(at) != len(dims):
        raise ValueError("ravel_multi_index: %d indices are given for %d axes" % (len(at), len(dims)))
    y = chx.zeros((), "int64", device=at[0].device) if at else chx.array(0)
    for axis, (i, d) in enumerate(zip(at, dims)):
        if i.size and not (chx.amin(i).item() >= 0 and chx.amax(i).item() < d):
            raise ValueError("ravel_multi_index: an index is out of bounds for axis %d of length %d" % (axis, d))
        y = y * d + i
    return y


def ix_(*args):
    """Vectors shaped so that they index a grid together; of bools their positions.

    >>> chx.arange(9).reshape(3, 3)[chx.ix_([0, 2], [1])]
    array([[1],
           [7]])
    """
    lines = []
    for i, v in enumerate(args):
        v = to_array(v)
        if v.ndim != 1:
            raise ValueError("ix_: the rank is %d, want 1" % v.ndim)
        v = flatnonzero(v) if v.dtype == "bool" else v.astype("int64") if not v.size else v
        lines.append(v[(None,) * i + (slice(None),) + (None,) * (len(args) - 1 - i)])
    return tuple(lines)


def compress(condition, a, axis=None, out=None):
    """The elements along an axis where the condition is true; axis None: of the flattened array.

    >>> chx.compress([True, False, True], [1, 2, 3])
    array([1, 3])
    """
    a = to_array(a)
    condition = to_array(condition, a)
    if condition.ndim != 1:
        raise ValueError("compress: the condition's rank is %d, want 1" % condition.ndim)
    return chx.take(a.ravel() if axis is None else a, flatnonzero(condition), 0 if axis is None else axis, out=out)


def extract(condition, arr):
    """The elements of the flattened array where the condition is true.

    >>> chx.extract([0, 1, 1], [1, 2, 3])
    array([2, 3])
    """
    arr = to_array(arr)
    return arr.ravel()[_truth(to_array(condition, arr)).ravel()]


def put(a, ind, v, mode="raise"):
    """Sets a's elements at positions in the flattened array, to v over and over.

    >>> x = chx.zeros(3)
    >>> chx.put(x, [0, -1], 1)
    >>> x
    array([1., 0., 1.])
    """
    if mode != "raise":
        raise NotImplementedError("put: mode is %r, want 'raise'" % mode)
    ind, v = to_array(ind, a).ravel(), to_array(v, a).ravel()
    if not ind.size:
        return
    low, high = chx.amin(ind).item(), chx.amax(ind).item()
    if low < -a.size or high >= a.size:
        raise IndexError("put: index %d is out of bounds for an array of size %d" % (high if high >= a.size else low, a.size))
    if not v.size:
        return
    places = chx.arange(ind.size, device=a.device) % v.size
    a[unravel_index(chx.where(ind < 0, ind + a.size, ind), a.shape) if a.ndim else ...] = v[places] if a.ndim else v[places[-1]]


def putmask(a, mask, values):
    """Sets a's elements where the mask is true, to those of `values` at their positions, over and over.

    >>> x = chx.zeros(3)
    >>> chx.putmask(x, [True, False, True], [1, 2, 3])
    >>> x
    array([1., 0., 3.])
    """
    mask, values = to_array(mask, a), to_array(values, a)
    if mask.shape != a.shape:
        raise ValueError("putmask: the mask has shape %s, want %s" % (mask.shape, a.shape))
    if values.shape != a.shape and values.size:
        values = values.ravel()[chx.arange(a.size, device=a.device) % values.size].reshape(a.shape)
    chx.copyto(a, values, "unsafe", where=_truth(mask))


def fill_diagonal(a, val, wrap=False):
    """Sets the elements whose indices are equal; the axes have one length, of a matrix they need not; wrap: tall ones over and over.

    >>> x = chx.zeros((2, 3)); chx.fill_diagonal(x, 1); x
    array([[1., 0., 0.],
           [0., 1., 0.]])
    """
    if a.ndim < 2:
        raise ValueError("fill_diagonal: the rank is %d, want at least 2" % a.ndim)
    if a.ndim > 2 and len(set(a.shape)) > 1:
        raise ValueError("fill_diagonal: the shape is %s, want one length for all axes" % (a.shape,))
    rows, columns = a.shape[0], a.shape[-1]
    if wrap and a.ndim == 2 and rows > columns:
        at = chx.arange(0, rows * columns, columns + 1, device=a.device)
        put(a, at, val)
    else:
        n = chx.arange(min(a.shape), device=a.device)
        val = to_array(val, a).ravel()
        a[(n,) * a.ndim] = val[n % val.size] if val.size > 1 else val


# ---- order ----------------------------------------------------------------------------------------------------------------------


def searchsorted(a, v, side="left", sorter=None):
    """Where each of v goes into the sorted vector a, before ('left') or after ('right') its equals.

    >>> chx.searchsorted([1, 2, 4], [2, 3], side='right')
    array([2, 2])
    """
    if side not in ("left", "right"):
        raise ValueError("searchsorted: side is %r, want 'left' or 'right'" % (side,))
    a, v = same_place(a, v)
    if a.ndim != 1:
        raise ValueError("searchsorted: the rank of a is %d, want 1" % a.ndim)
    if sorter is not None:
        a = chx.take(a, to_array(sorter, a), 0)
    nan = a.dtype.kind == "f" or v.dtype.kind == "f"
    low = chx.zeros(v.shape, "int64", device=v.device)
    high = chx.full(v.shape, a.size, "int64", device=v.device)
    for _ in range(a.size.bit_length()):  # halves [low, high) until it is empty
        middle = (low + high) // 2
        x = chx.take(a, chx.minimum(middle, a.size - 1), 0)
        after = x < v if side == "left" else x <= v
        if nan:  # the greatest
            after = after | ((v != v) & (x == x) if side == "left" else v != v)
        after = after & (low < high)
        low, high = chx.where(after, middle + 1, low), chx.where(after, high, middle)
    return low


def digitize(x, bins, right=False):
    """The bin of each element, among bins whose edges rise.

    >>> chx.digitize([0.5, 2.5], [0, 1, 2])
    array([1, 3])
    """
    return searchsorted(bins, x, side="left" if right else "right")


def isin(element, test_elements, assume_unique=False, invert=False, *, kind=None):
    """Whether each element is one of the others.

    >>> chx.isin([1, 2, 3], [3, 1])
    array([ True, False,  True])
    """
    element, others = same_place(element, test_elements)
    others = others.ravel()
    if others.size:
        others = chx.sort(others)
        found = chx.take(others, chx.minimum(searchsorted(others, element), others.size - 1), 0) == element
    else:
        found = chx.zeros(element.shape, "bool", device=element.device)
    return ~found if invert else found


def unique(ar, return_index=False, return_inverse=False, return_counts=False, axis=None, *, equal_nan=True):
    """The different values in order; on request where each is first, which of them each element is, and how often.

    >>> chx.unique([3, 1, 3], return_counts=True)
    (array([1, 3]), array([1, 2]))
    """
    if axis is not None:
        raise NotImplementedError("unique: axis is %r, want None" % (axis_of(axis, to_array(ar).ndim, "unique"),))
    a = to_array(ar)
    flat = a.ravel()
    order = chx.argsort(flat)
    x = chx.take(flat, order, 0)
    new = x[1:] != x[:-1]
    if equal_nan and x.dtype.kind == "f":
        new = new & ((x[1:] == x[1:]) | (x[:-1] == x[:-1]))
    new = chx.concatenate([chx.ones(min(x.size, 1), "bool", device=x.device), new])
    results = [x[new]]
    first = flatnonzero(new)
    if return_index:
        results.append(chx.take(order, first, 0))
    if return_inverse:
        inverse = chx.empty(flat.shape, "int64", device=x.device)
        inverse[order] = chx.cumsum(new) - 1
        results.append(inverse.reshape(a.shape))
    if return_counts:
        results.append(chx.diff(chx.concatenate([first, chx.array([x.size], device=x.device)])))
    return tuple(results) if len(results) > 1 else results[0]


def union1d(ar1, ar2):
    """The values of either, different and in order.

    >>> chx.union1d([3, 1], [1, 2])
    array([1, 2, 3])
    """
    a, b = same_place(ar1, ar2)
    return unique(chx.concatenate([a.ravel(), b.ravel()]))


def intersect1d(ar1, ar2, assume_unique=False):
    """The values of both, different and in order.

    >>> chx.intersect1d([3, 1, 1], [1, 2])
    array([1])
    """
    a, b = same_place(ar1, ar2)
    kind = chx.result_type(a, b)
    a = chx.sort(a.ravel()) if assume_unique else unique(a)
    return a[isin(a, b)].astype(kind)


def setdiff1d(ar1, ar2, assume_unique=False):
    """The values of the first that the second has not, different and in order.

    >>> chx.setdiff1d([3, 1, 1], [1, 2])
    array([3])
    """
    a, b = same_place(ar1, ar2)
    a = a.ravel() if assume_unique else unique(a)
    return a[isin(a, b, invert=True)]
