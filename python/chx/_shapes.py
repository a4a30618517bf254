# SPDX-License-Identifier: MIT
"""Shapes and joins: NumPy's functions that move elements, over the operators; views where those give views, and differentiable."""
from operator import index

import chx
from chx._creation import into, same_kind, same_place, to_array

__all__ = ["append", "array_split", "atleast_1d", "atleast_2d", "atleast_3d", "broadcast", "broadcast_arrays", "broadcast_shapes",
           "column_stack", "copyto", "dsplit", "dstack", "expand_dims", "fliplr", "flipud", "hsplit", "hstack", "matrix_transpose",
           "moveaxis", "ndim", "ravel", "repeat", "roll", "rollaxis", "rot90", "shape", "size", "split", "swapaxes", "tile", "unstack",
           "vsplit", "vstack"]


def axis_of(axis, rank, what):
    """axis as 0 .. rank - 1."""
    i = index(axis)
    if not -rank <= i < rank:
        raise ValueError("%s: axis %d is out of bounds for an array of rank %d" % (what, i, rank))
    return i % rank if rank else 0


def axes_of(axes, rank, what):
    """One axis or several as a list of different ones."""
    axes = [axis_of(a, rank, what) for a in (axes if isinstance(axes, (tuple, list)) else (axes,))]
    if len(set(axes)) != len(axes):
        raise ValueError("%s: an axis is named twice in %s" % (what, tuple(axes)))
    return axes


def ndim(a):
    """The rank of a.

    >>> chx.ndim([[1, 2]])
    2
    """
    return to_array(a).ndim


def shape(a):
    """The shape of a.

    >>> chx.shape([[1, 2]])
    (1, 2)
    """
    return to_array(a).shape


def size(a, axis=None):
    """How many elements a has, or its length along an axis.

    >>> chx.size([[1, 2]], 1)
    2
    """
    a = to_array(a)
    if axis is None:
        return a.size
    if not -a.ndim <= axis < a.ndim:
        raise IndexError("size: axis %d is out of bounds for an array of rank %d" % (axis, a.ndim))
    return a.shape[axis]


# ---- axes ---------------------------------------------------------------------------------------------------------------------


def ravel(a, order="C"):
    """a with one axis, a view where it can be.

    >>> chx.ravel([[1, 2], [3, 4]], 'F')
    array([1, 3, 2, 4])
    """
    return to_array(a).ravel(order)


def expand_dims(a, axis):
    """a with axes of length 1 put in, where the result has them.

    >>> chx.expand_dims(chx.ones(3), 0).shape
    (1, 3)
    """
    a = to_array(a)
    rank = a.ndim + (len(axis) if isinstance(axis, (tuple, list)) else 1)
    new = axes_of(axis, rank, "expand_dims")
    return a[tuple(None if i in new else slice(None) for i in range(rank))]


def swapaxes(a, axis1, axis2):
    """The view with two axes exchanged.

    >>> chx.swapaxes(chx.ones((1, 2, 3)), 0, 2).shape
    (3, 2, 1)
    """
    return to_array(a).swapaxes(axis1, axis2)


def matrix_transpose(x):
    """The view with the last two axes exchanged.

    >>> chx.matrix_transpose([[1, 2], [3, 4]])
    array([[1, 3],
           [2, 4]])
    """
    x = to_array(x)
    if x.ndim < 2:
        raise ValueError("matrix_transpose: the rank is %d, want at least 2" % x.ndim)
    return x.mT


def moveaxis(a, source, destination):
    """The view with axes moved to other places, the rest in their order.

    >>> chx.moveaxis(chx.ones((1, 2, 3)), 0, -1).shape
    (2, 3, 1)
    """
    a = to_array(a)
    source, destination = axes_of(source, a.ndim, "moveaxis"), axes_of(destination, a.ndim, "moveaxis")
    if len(source) != len(destination):
        raise ValueError("moveaxis: %d axes go to %d places, want as many" % (len(source), len(destination)))
    order = [i for i in range(a.ndim) if i not in source]
    for d, s in sorted(zip(destination, source)):
        order.insert(d, s)
    return a.transpose(order)


def rollaxis(a, axis, start=0):
    """The view with an axis moved back until it stands before `start`.

    >>> chx.rollaxis(chx.ones((1, 2, 3)), 2).shape
    (3, 1, 2)
    """
    a = to_array(a)
    axis = axis_of(axis, a.ndim, "rollaxis")
    start = start + a.ndim if start < 0 else start
    if not 0 <= start <= a.ndim:
        raise ValueError("rollaxis: start is out of bounds for an array of rank %d" % a.ndim)
    return moveaxis(a, axis, start - 1 if axis < start else start)


def _atleast(arrays, grow):
    grown = tuple(grow(to_array(a)) for a in arrays)
    return grown[0] if len(grown) == 1 else grown


def atleast_1d(*arys):
    """Each with at least one axis; a tuple of several.

    >>> chx.atleast_1d(1.0)
    array([1.])
    """
    return _atleast(arys, lambda a: a if a.ndim else a.reshape(1))


def atleast_2d(*arys):
    """Each with at least two axes, new ones in front; a tuple of several.

    >>> chx.atleast_2d([1, 2])
    array([[1, 2]])
    """
    return _atleast(arys, lambda a: a if a.ndim > 1 else a.reshape((1,) * (2 - a.ndim) + a.shape))


def atleast_3d(*arys):
    """Each with at least three axes, shape (N,) to (1, N, 1), (M, N) to (M, N, 1); a tuple of several.

    >>> chx.atleast_3d([1, 2]).shape
    (1, 2, 1)
    """
    return _atleast(arys, lambda a: a[..., None] if a.ndim == 2 else a if a.ndim > 2 else a.reshape((1, -1 if a.size else 0, 1)))


def broadcast_shapes(*shapes):
    """The shape that these broadcast to.

    >>> chx.broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    shapes = [s if isinstance(s, (tuple, list)) else (s,) for s in shapes]
    out = [1] * max([len(s) for s in shapes], default=0)
    for s in shapes:
        for i, d in enumerate(s, len(out) - len(s)):
            if d != 1 and out[i] not in (1, d):
                raise ValueError("broadcast_shapes: shape mismatch: shapes %s do not broadcast" % ", ".join(map(str, map(tuple, shapes))))
            out[i] = d if out[i] == 1 else out[i]
    return tuple(out)


class broadcast:
    """What arrays broadcast to: shape, nd and size of it, and `values`, the arrays as views of that shape.

    >>> chx.broadcast([[1], [2]], [1, 2, 3]).shape
    (2, 3)
    """

    def __init__(self, *arrays):
        arrays = same_place(*arrays)
        self.shape = broadcast_shapes(*(a.shape for a in arrays))
        self.values = tuple(chx.broadcast_to(a, self.shape) for a in arrays)
        self.nd = self.ndim = len(self.shape)
        self.size = 1
        for d in self.shape:
            self.size *= d


def broadcast_arrays(*args):
    """Views of one shape.

    >>> chx.broadcast_arrays([1, 2], 3)
    (array([1, 2]), array([3, 3]))
    """
    args = same_place(*args)
    to = broadcast_shapes(*(a.shape for a in args))
    return tuple(a if a.shape == to else chx.broadcast_to(a, to) for a in args)


# ---- turns ----------------------------------------------------------------------------------------------------------------------


def flipud(m):
    """The view with axis 0 reversed.

    >>> chx.flipud([1, 2])
    array([2, 1])
    """
    return chx.flip(to_array(m), 0)


def fliplr(m):
    """The view with axis 1 reversed.

    >>> chx.fliplr([[1, 2]])
    array([[2, 1]])
    """
    return chx.flip(to_array(m), 1)


def rot90(m, k=1, axes=(0, 1)):
    """The view turned k times by 90 degrees from the first of two axes to the second.

    >>> chx.rot90([[1, 2], [3, 4]])
    array([[2, 4],
           [1, 3]])
    """
    m = to_array(m)
    a, b = axes_of(tuple(axes), m.ndim, "rot90")
    k %= 4
    if k == 0:
        return m
    if k == 2:
        return chx.flip(m, (a, b))
    return m.swapaxes(a, b) if not k else chx.flip(m, b).swapaxes(a, b) if k == 1 else chx.flip(m.swapaxes(a, b), b)


def roll(a, shift, axis=None):
    """The elements moved along axes, those past the end to the start; axis None: of the flattened array.

    >>> chx.roll([1, 2, 3], 1)
    array([3, 1, 2])
    """
    a = to_array(a)
    if axis is None:
        return roll(a.ravel(), sum(shift) if isinstance(shift, (tuple, list)) else shift, 0).reshape(a.shape)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    shifts = shift if isinstance(shift, (tuple, list)) else (shift,) * len(axes)
    axes = axes * len(shifts) if len(axes) == 1 else axes
    if len(axes) != len(shifts):
        raise ValueError("roll: %d shifts are given for %d axes" % (len(shifts), len(axes)))
    for s, at in zip(shifts, axes):
        at = axis_of(at, a.ndim, "roll")
        s = s % a.shape[at] if a.shape[at] else 0
        whole = (slice(None),) * at
        if s:
            a = chx.concatenate([a[whole + (slice(-s, None),)], a[whole + (slice(None, -s),)]], at)
    return a.copy()


# ---- joins and parts ------------------------------------------------------------------------------------------------------------


def _joined(arrays, prepare, axis, dtype):
    arrays = [prepare(a) for a in same_place(*arrays)]
    if not arrays:
        raise ValueError("concatenate: no array is given, want at least one")
    y = chx.concatenate(arrays, axis(arrays) if callable(axis) else axis)
    return y if dtype is None else y.astype(dtype, copy=False)


def hstack(tup, *, dtype=None):
    """Joined along axis 1, of vectors along axis 0.

    >>> chx.hstack([[1, 2], [3]])
    array([1, 2, 3])
    """
    return _joined(tup, atleast_1d, lambda arrays: int(arrays[0].ndim > 1), dtype)


def vstack(tup, *, dtype=None):
    """Joined along axis 0; vectors are rows.

    >>> chx.vstack([[1, 2], [3, 4]])
    array([[1, 2],
           [3, 4]])
    """
    return _joined(tup, atleast_2d, 0, dtype)


def dstack(tup):
    """Joined along axis 2.

    >>> chx.dstack([[1, 2], [3, 4]])
    array([[[1, 3],
            [2, 4]]])
    """
    return _joined(tup, atleast_3d, 2, None)


def column_stack(tup):
    """Joined along axis 1; vectors are columns.

    >>> chx.column_stack([[1, 2], [3, 4]])
    array([[1, 3],
           [2, 4]])
    """
    return _joined(tup, lambda a: a if a.ndim > 1 else a.reshape((-1 if a.size else 0, 1)), 1, None)


def append(arr, values, axis=None):
    """arr with values after it along an axis; axis None: both flattened.

    >>> chx.append([1, 2], 3)
    array([1, 2, 3])
    """
    arr, values = same_place(arr, values)
    return chx.concatenate([arr.ravel(), values.ravel()] if axis is None else [arr, values], axis or 0)


def array_split(ary, indices_or_sections, axis=0):
    """Views of the parts between indices, or of so many parts, which need not be equal.

    >>> chx.array_split(chx.arange(3), 2)
    [array([0, 1]), array([2])]
    """
    a = to_array(ary)
    axis = axis_of(axis, a.ndim, "array_split")
    n = a.shape[axis]
    if hasattr(indices_or_sections, "__index__") and not isinstance(indices_or_sections, (tuple, list)):
        parts = index(indices_or_sections)
        if parts <= 0:
            raise ValueError("array_split: %d sections are wanted, want at least 1" % parts)
        cuts = [i * (n // parts) + min(i, n % parts) for i in range(parts + 1)]
    else:
        cuts = [0] + [index(i) for i in indices_or_sections] + [n]
    whole = (slice(None),) * axis
    return [a[whole + (slice(i, j),)] for i, j in zip(cuts, cuts[1:])]


def split(ary, indices_or_sections, axis=0):
    """As array_split; a number of sections must divide the length.

    >>> chx.split(chx.arange(4), 2)
    [array([0, 1]), array([2, 3])]
    """
    a = to_array(ary)
    if hasattr(indices_or_sections, "__index__") and not isinstance(indices_or_sections, (tuple, list)):
        n, parts = a.shape[axis_of(axis, a.ndim, "split")], index(indices_or_sections)
        if parts > 0 and n % parts:
            raise ValueError("split: a length of %d is no %d equal sections" % (n, parts))
    return array_split(a, indices_or_sections, axis)


def _split_of(ary, indices_or_sections, axis, rank, name):
    a = to_array(ary)
    if a.ndim < rank:
        raise ValueError("%s: the rank is %d, want at least %d" % (name, a.ndim, rank))
    return split(a, indices_or_sections, axis if a.ndim > 1 else 0)


def hsplit(ary, indices_or_sections):
    """split along axis 1, of a vector along axis 0.

    >>> chx.hsplit(chx.arange(4), [1])
    [array([0]), array([1, 2, 3])]
    """
    return _split_of(ary, indices_or_sections, 1, 1, "hsplit")


def vsplit(ary, indices_or_sections):
    """split along axis 0.

    >>> chx.vsplit(chx.eye(2), 2)
    [array([[1., 0.]]), array([[0., 1.]])]
    """
    return _split_of(ary, indices_or_sections, 0, 2, "vsplit")


def dsplit(ary, indices_or_sections):
    """split along axis 2.

    >>> [x.shape for x in chx.dsplit(chx.ones((1, 1, 4)), 2)]
    [(1, 1, 2), (1, 1, 2)]
    """
    return _split_of(ary, indices_or_sections, 2, 3, "dsplit")


def unstack(x, /, *, axis=0):
    """The parts of x along an axis, without it.

    >>> chx.unstack(chx.eye(2))
    (array([1., 0.]), array([0., 1.]))
    """
    x = to_array(x)
    if not x.ndim:
        raise ValueError("unstack: the array has no axes, want at least one")
    return tuple(moveaxis(x, axis, 0))


# ---- copies -----------------------------------------------------------------------------------------------------------------------


def repeat(a, repeats, axis=None):
    """Each element so many times, or as often as its place in `repeats` says.

    >>> chx.repeat([1, 2], [2, 1])
    array([1, 1, 2])
    """
    a = to_array(a)
    if axis is None:
        a, axis = a.ravel(), 0
    axis = axis_of(axis, a.ndim, "repeat")
    counts = repeats.tolist() if hasattr(repeats, "tolist") else repeats
    counts = [index(c) for c in (counts if isinstance(counts, (tuple, list)) else [counts])]
    n = a.shape[axis]
    if min(counts, default=0) < 0:
        raise ValueError("repeat: a count is %d, want at least 0" % min(counts))
    if len(counts) == 1:
        wide = chx.broadcast_to(expand_dims(a, axis + 1), a.shape[: axis + 1] + (counts[0],) + a.shape[axis + 1 :])
        return wide.reshape(a.shape[:axis] + (n * counts[0],) + a.shape[axis + 1 :])
    if len(counts) != n:
        raise ValueError("repeat: %d counts are given, want 1 or %d" % (len(counts), n))
    places = [i for i, c in enumerate(counts) for _ in range(c)]
    return chx.take(a, chx.array(places, "int64", device=a.device), axis)


def tile(A, reps):
    """A, repeated along each axis as a whole.

    >>> chx.tile([1, 2], 2)
    array([1, 2, 1, 2])
    """
    a = to_array(A)
    reps = tuple(reps) if isinstance(reps, (tuple, list)) else (reps,)
    reps = (1,) * (a.ndim - len(reps)) + tuple(index(r) for r in reps)
    a = a.reshape((1,) * (len(reps) - a.ndim) + a.shape)
    for axis, r in enumerate(reps):
        if r != 1:
            wide = chx.broadcast_to(expand_dims(a, axis), a.shape[:axis] + (r,) + a.shape[axis:])
            a = wide.reshape(a.shape[:axis] + (r * a.shape[axis],) + a.shape[axis + 1 :])
    return a.copy()


def copyto(dst, src, casting="same_kind", where=True):
    """Sets dst's elements, those where `where` is true, to src's, which broadcast.

    >>> x = chx.zeros(2)
    >>> chx.copyto(x, 1, where=[True, False])
    >>> x
    array([1., 0.])
    """
    if not isinstance(dst, chx.ndarray):
        raise TypeError("copyto: dst is of type %s, want an array" % type(dst).__name__)
    number = type(src) in (bool, int, float, complex)  # weak: an int goes into unsigned ones, too
    src = to_array(src, dst)
    if casting != "unsafe" and not (number and src.dtype.kind == "i" and dst.dtype.kind == "u") and not same_kind(src.dtype, dst.dtype):
        raise TypeError("copyto: %s cannot be cast to %s by the rule %r" % (src.dtype, dst.dtype, casting))
    if broadcast_shapes(src.shape, dst.shape) != dst.shape:
        raise ValueError("copyto: the shape of src is %s, want one that broadcasts to %s" % (src.shape, dst.shape))
    if where is True:
        dst[...] = src
    else:
        mask = to_array(where, dst)
        if mask.dtype != "bool":
            raise TypeError("copyto: where is of %s, want bool" % mask.dtype)
        into(dst, chx.where(mask, src.astype(dst.dtype), dst))
