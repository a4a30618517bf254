# SPDX-License-Identifier: MIT
"""Arrays made of nothing or of others: NumPy's functions that the extension has not, over those that it has."""
from operator import index

import chx

__all__ = ["asanyarray", "ascontiguousarray", "asfortranarray", "diag", "diag_indices", "diagflat", "eye", "identity", "indices",
           "linspace", "logspace", "meshgrid", "tri", "tril", "tril_indices", "triu", "triu_indices"]


def to_array(x, like=None):
    """x itself if it is an array, else an array of it, on the device of `like` where that is given."""
    return x if isinstance(x, chx.ndarray) else chx.asarray(x, device=like.device if like is not None else None)


def same_place(*xs):
    """All as arrays, on the device of the first that is one."""
    like = next((x for x in xs if isinstance(x, chx.ndarray)), None)
    return [to_array(x, like) for x in xs]


def zero_of(a):
    """A 0-d zero of a's dtype and device."""
    return chx.zeros((), a.dtype, device=a.device)


def into(out, y):
    """y, or out with y's values in it where it is given."""
    if out is None:
        return y
    if not isinstance(out, chx.ndarray):
        raise TypeError("out is of type %s, want an array" % type(out).__name__)
    if out.shape != y.shape:
        raise ValueError("out has shape %s, want the result's, %s" % (out.shape, y.shape))
    if not same_kind(y.dtype, out.dtype):
        raise TypeError("out is of %s, which the result's %s cannot be cast to" % (out.dtype, y.dtype))
    out[...] = y
    return out


def same_kind(source, target):
    """Whether NumPy casts so by 'same_kind'."""
    return "buifc".index(source.kind) <= "buifc".index(target.kind)


def asanyarray(a, dtype=None, *, device=None):
    """As asarray.

    >>> chx.asanyarray([1, 2.5])
    array([1. , 2.5])
    """
    return chx.asarray(a, dtype, device=device)


def ascontiguousarray(a, dtype=None):
    """a as an array that is dense in C order, of at least one axis; itself if it is so.

    >>> chx.ascontiguousarray(chx.ones((2, 3)).T).is_contiguous
    True
    """
    a = chx.asarray(a, dtype).contiguous()
    return a if a.ndim else a.reshape(1)


def asfortranarray(a, dtype=None):
    """a as an array whose first axis is the densest; of at least one axis; itself if it is so.

    >>> chx.asfortranarray(chx.ones((2, 3))).strides
    (8, 16)
    """
    a = chx.asarray(a, dtype)
    a = a if a.ndim else a.reshape(1)
    return a if a.T.is_contiguous else a.T.copy().T


def eye(N, M=None, k=0, dtype=None, *, device=None):
    """Ones on the k-th diagonal of an N by M array (M None: N), zeros elsewhere; float64 unless a dtype is named.

    >>> chx.eye(2, 3, 1)
    array([[0., 1., 0.],
           [0., 0., 1.]])
    """
    M = N if M is None else M
    rows, columns = chx.arange(N, device=device), chx.arange(M, device=device)
    return (rows[:, None] + k == columns).astype(dtype or "float64")


def identity(n, dtype=None, *, device=None):
    """The n by n identity matrix.

    >>> chx.identity(2, 'int64')
    array([[1, 0],
           [0, 1]])
    """
    return eye(n, dtype=dtype, device=device)


def tri(N, M=None, k=0, dtype=None, *, device=None):
    """Ones at and below the k-th diagonal, zeros above.

    >>> chx.tri(2, 3, dtype='int64')
    array([[1, 0, 0],
           [1, 1, 0]])
    """
    M = N if M is None else M
    return (chx.arange(N, device=device)[:, None] + k >= chx.arange(M, device=device)).astype(dtype or "float64")


def tril(m, k=0):
    """m with zeros above the k-th diagonal of its last two axes; differentiable.

    >>> chx.tril([[1, 2], [3, 4]])
    array([[1, 0],
           [3, 4]])
    """
    m = _matrix(m, "tril")
    return chx.where(tri(m.shape[-2], m.shape[-1], k, "bool", device=m.device), m, zero_of(m))


def triu(m, k=0):
    """m with zeros below the k-th diagonal of its last two axes; differentiable.

    >>> chx.triu([[1, 2], [3, 4]])
    array([[1, 2],
           [0, 4]])
    """
    m = _matrix(m, "triu")
    return chx.where(tri(m.shape[-2], m.shape[-1], k - 1, "bool", device=m.device), zero_of(m), m)


def _matrix(m, name):
    m = to_array(m)
    if not m.ndim:
        raise TypeError("%s: the array has no axes, want at least one" % name)
    return m if m.ndim > 1 else chx.broadcast_to(m, (m.size, m.size))


def diag(v, k=0):
    """Of a vector the matrix with it on the k-th diagonal, of a matrix that diagonal, a view where it can be; differentiable.

    >>> chx.diag([1, 2])
    array([[1, 0],
           [0, 2]])
    """
    v = to_array(v)
    if v.ndim == 2:
        return v.diagonal(k)
    if v.ndim != 1:
        raise ValueError("diag: the rank is %d, want 1 or 2" % v.ndim)
    n = v.size + abs(k)
    line = chx.concatenate([v, chx.zeros(abs(k), v.dtype, device=v.device)])
    return chx.where(eye(n, k=k, dtype="bool", device=v.device), line[:, None] if k >= 0 else line, zero_of(v))


def diagflat(v, k=0):
    """The matrix with v, flattened, on its k-th diagonal.

    >>> chx.diagflat([[1], [2]])
    array([[1, 0],
           [0, 2]])
    """
    return diag(to_array(v).ravel(), k)


def diag_indices(n, ndim=2, *, device=None):
    """The indices of the diagonal of an array with ndim axes of length n.

    >>> chx.diag_indices(2)
    (array([0, 1]), array([0, 1]))
    """
    return (chx.arange(n, device=device),) * ndim


def tril_indices(n, k=0, m=None, *, device=None):
    """The indices of an n by m matrix at and below its k-th diagonal.

    >>> chx.tril_indices(2)
    (array([0, 1, 1]), array([0, 0, 1]))
    """
    return chx.nonzero(tri(n, m, k, "bool", device=device))


def triu_indices(n, k=0, m=None, *, device=None):
    """The indices of an n by m matrix at and above its k-th diagonal.

    >>> chx.triu_indices(2)
    (array([0, 0, 1]), array([0, 1, 1]))
    """
    return chx.nonzero(~tri(n, m, k - 1, "bool", device=device))


def linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0, *, device=None):
    """num values evenly from start to stop, which is the last with `endpoint`; retstep: (the values, their distance).

    >>> chx.linspace(0, 1, 5)
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    num = index(num)
    if num < 0:
        raise ValueError("linspace: num is %d, want at least 0" % num)
    weak = not isinstance(start, chx.ndarray) and not isinstance(stop, chx.ndarray)
    if weak and device is not None:
        start, stop = chx.asarray(start, "float64", device=device), chx.asarray(stop, "float64", device=device)
    start, stop = (x if x.dtype.kind == "f" else x.astype("float64") for x in same_place(start, stop))
    steps = num - 1 if endpoint else num
    step = (stop - start) / steps if steps > 0 else (stop - start) * chx.nan
    at = chx.arange(num, dtype=step.dtype, device=step.device).reshape((num,) + (1,) * step.ndim)
    y = at * step + start if steps > 0 else at * (stop - start) + start
    if endpoint and num > 1:
        y = chx.concatenate([y[:-1], chx.broadcast_to(stop, step.shape)[None].astype(y.dtype)])
    if axis:
        y = chx.moveaxis(y, 0, axis)
    kind = chx.dtype(dtype) if dtype is not None else y.dtype
    y = (chx.floor(y) if kind.kind in "iu" else y).astype(kind, copy=False)
    return (y, step) if retstep else y


def logspace(start, stop, num=50, endpoint=True, base=10.0, dtype=None, axis=0, *, device=None):
    """base to the powers that linspace gives.

    >>> chx.logspace(0, 2, 3)
    array([  1.,  10., 100.])
    """
    y = base ** linspace(start, stop, num, endpoint, axis=axis, device=device)
    return y if dtype is None else y.astype(dtype)


def indices(dimensions, dtype="int64", sparse=False, *, device=None):
    """For each axis of a grid the indices along it; sparse: a tuple of arrays that broadcast.

    >>> chx.indices((2, 2), sparse=True)
    (array([[0],
           [1]]), array([[0, 1]]))
    """
    n = len(dimensions)
    lines = [chx.arange(d, dtype=dtype, device=device).reshape((1,) * i + (d,) + (1,) * (n - 1 - i)) for i, d in enumerate(dimensions)]
    if sparse:
        return tuple(lines)
    if not n:
        return chx.zeros((0,), dtype, device=device)
    return chx.stack([chx.broadcast_to(line, tuple(dimensions)) for line in lines])


def meshgrid(*xi, copy=True, sparse=False, indexing="xy"):
    """The coordinates of a grid from those of its axes; indexing 'xy': the first varies along axis 1, 'ij': along axis 0.

    >>> chx.meshgrid([1, 2], [3, 4], sparse=True)
    (array([[1, 2]]), array([[3],
           [4]]))
    """
    if indexing not in ("xy", "ij"):
        raise ValueError("meshgrid: indexing is %r, want 'xy' or 'ij'" % (indexing,))
    n = len(xi)
    swap = indexing == "xy" and n > 1
    place = [1, 0] + list(range(2, n)) if swap else list(range(n))
    grid = [x.reshape((1,) * p + (-1 if x.size else 0,) + (1,) * (n - 1 - p)) for x, p in zip(same_place(*xi), place)]
    if not sparse:
        grid = chx.broadcast_arrays(*grid)
    return tuple(x.copy() for x in grid) if copy else tuple(grid)
