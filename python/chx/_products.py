# SPDX-License-Identifier: MIT
"""Products of vectors and matrices over matmul; differentiable."""
import chx
from chx._creation import into, same_place, to_array
from chx._shapes import axes_of, axis_of

__all__ = ["cross", "diagonal", "dot", "inner", "kron", "matvec", "outer", "tensordot", "trace", "vdot", "vecdot", "vecmat"]


def dot(a, b, out=None):
    """The sum over the last axis of a and the last but one of b (its only one); with a 0-d array the product.

    >>> chx.dot([1, 2], [3, 4])
    array(11)
    """
    a, b = same_place(a, b)
    if not a.ndim or not b.ndim:
        return into(out, a * b)
    if a.ndim <= 2 and b.ndim <= 2:
        return into(out, chx.matmul(a, b))
    return into(out, tensordot(a, b, (-1, -2 if b.ndim > 1 else -1)))


def vdot(a, b, /):
    """The product of both flattened, a 0-d array.

    >>> chx.vdot([[1, 2]], [[3], [4]])
    array(11)
    """
    a, b = same_place(a, b)
    return chx.matmul(a.ravel(), b.ravel())


def inner(a, b, /):
    """The sum over the last axes; with a 0-d array the product.

    >>> chx.inner([[1, 2], [3, 4]], [1, 1])
    array([3, 7])
    """
    a, b = same_place(a, b)
    return tensordot(a, b, (-1, -1)) if a.ndim and b.ndim else a * b


def outer(a, b, out=None):
    """Each element of a, flattened, times each of b.

    >>> chx.outer([1, 2], [3, 4])
    array([[3, 4],
           [6, 8]])
    """
    a, b = same_place(a, b)
    return into(out, a.ravel()[:, None] * b.ravel())


def tensordot(a, b, axes=2):
    """The sum over pairs of axes: so many last ones of a and first ones of b, or (those of a, those of b).

    >>> chx.tensordot(chx.ones((2, 3, 4)), chx.ones((4, 3)), ([1, 2], [1, 0]))
    array([12., 12.])
    """
    a, b = same_place(a, b)
    if hasattr(axes, "__index__"):
        n = int(axes)
        if n < 0 or n > min(a.ndim, b.ndim):
            raise ValueError("tensordot: %d axes are summed, want 0 to the ranks, %d and %d" % (n, a.ndim, b.ndim))
        axes = (range(a.ndim - n, a.ndim), range(n))
    of_a, of_b = ([axis_of(i, x.ndim, "tensordot") for i in (list(v) if hasattr(v, "__iter__") else [v])] for x, v in zip((a, b), axes))
    if [a.shape[i] for i in of_a] != [b.shape[i] for i in of_b]:
        raise ValueError("tensordot: shape-mismatch for sum: axes %s of %s and %s of %s" % (of_a, a.shape, of_b, b.shape))
    rest_a, rest_b = [i for i in range(a.ndim) if i not in of_a], [i for i in range(b.ndim) if i not in of_b]
    shape = tuple(a.shape[i] for i in rest_a) + tuple(b.shape[i] for i in rest_b)
    n, m = _length(a, rest_a), _length(a, of_a)
    left = a.transpose(rest_a + of_a) if a.ndim else a
    right = b.transpose(of_b + rest_b) if b.ndim else b
    return chx.matmul(left.reshape((n, m)), right.reshape((m, _length(b, rest_b)))).reshape(shape)


def _length(a, axes):
    n = 1
    for i in axes:
        n *= a.shape[i]
    return n


def _vector(x, axis, name):
    if not x.ndim:
        raise ValueError("%s: an operand has no axes, want at least one" % name)
    return chx.moveaxis(x, axis_of(axis, x.ndim, name), -1)


def vecdot(x1, x2, /, *, axis=-1):
    """The product of vectors along an axis; the rest broadcasts.

    >>> chx.vecdot([[1, 2], [3, 4]], [1, 1])
    array([3, 7])
    """
    x1, x2 = (_vector(x, axis, "vecdot") for x in same_place(x1, x2))
    if x1.shape[-1] != x2.shape[-1]:
        raise ValueError("vecdot: the vectors have %d and %d elements" % (x1.shape[-1], x2.shape[-1]))
    return chx.matmul(x1[..., None, :], x2[..., :, None])[..., 0, 0]


def matvec(x1, x2, /):
    """Matrices x1 times vectors x2, both in their last axes.

    >>> chx.matvec([[1, 2], [3, 4]], [1, 1])
    array([3, 7])
    """
    x1, x2 = same_place(x1, x2)
    return chx.matmul(x1, _vector(x2, -1, "matvec")[..., None])[..., 0]


def vecmat(x1, x2, /):
    """Vectors x1 times matrices x2, both in their last axes.

    >>> chx.vecmat([1, 1], [[1, 2], [3, 4]])
    array([4, 6])
    """
    x1, x2 = same_place(x1, x2)
    return chx.matmul(_vector(x1, -1, "vecmat")[..., None, :], x2)[..., 0, :]


def cross(a, b, axis=-1):
    """The vector product of 3-vectors along an axis.

    >>> chx.cross([1, 0, 0], [0, 1, 0])
    array([0, 0, 1])
    """
    a, b = (_vector(x, axis, "cross") for x in same_place(a, b))
    if a.shape[-1] != 3 or b.shape[-1] != 3:
        raise ValueError("cross: the vectors have %d and %d elements, want 3" % (a.shape[-1], b.shape[-1]))
    u, v = ([x[..., i] for i in range(3)] for x in (a, b))
    y = chx.stack([u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]], -1)
    return chx.moveaxis(y, -1, axis)


def kron(a, b):
    """Blocks of b, scaled by the elements of a.

    >>> chx.kron([1, 10], [1, 2])
    array([ 1,  2, 10, 20])
    """
    a, b = same_place(a, b)
    rank = max(a.ndim, b.ndim)
    a, b = (x.reshape((1,) * (rank - x.ndim) + x.shape) for x in (a, b))
    every = (slice(None), None) * rank
    y = a[every] * b[(None, slice(None)) * rank]
    return y.reshape(tuple(i * j for i, j in zip(a.shape, b.shape)))


def diagonal(a, offset=0, axis1=0, axis2=1):
    """The elements whose indices on two axes differ by offset, in a last axis; a view where strides can say it.

    >>> chx.diagonal([[1, 2], [3, 4]], 1)
    array([2])
    """
    return to_array(a).diagonal(offset, axis1, axis2)


def trace(a, offset=0, axis1=0, axis2=1, dtype=None, out=None):
    """The sum of a diagonal.

    >>> chx.trace([[1, 2], [3, 4]])
    array(5)
    """
    a = to_array(a)
    if a.ndim < 2:
        raise ValueError("trace: the rank is %d, want at least 2" % a.ndim)
    axes_of((axis1, axis2), a.ndim, "trace")
    return into(out, chx.sum(a.diagonal(offset, axis1, axis2), axis=-1, dtype=dtype))
