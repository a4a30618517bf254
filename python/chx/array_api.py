# SPDX-License-Identifier: MIT
"""chx.array_api: chx under the names and signatures of the array API standard 2023.12, as far as it has the functions.

    >>> import chx
    >>> xp = chx.ones(3).__array_namespace__()
    >>> xp.sum(xp.asarray([1.0, 2.0]))
    array(3.)

A name of the standard that chx has, too, is chx's own; here stand those whose arguments differ. dir() tells what there is.
"""
import chx
from chx import _core, can_cast, finfo, iinfo, isdtype, result_type  # noqa: F401

__array_api_version__ = "2023.12"

bool = chx.bool_
e, inf, nan, newaxis, pi = chx.e, chx.inf, chx.nan, chx.newaxis, chx.pi

# The standard's names that are chx's where chx has them.
_NAMES = set("""
    int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128
    arange empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like tril triu zeros zeros_like
    abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_invert bitwise_or bitwise_right_shift
    bitwise_xor ceil conj copysign cos cosh divide equal exp expm1 floor floor_divide greater greater_equal hypot imag isfinite isinf
    isnan less less_equal log log1p log2 log10 logaddexp logical_and logical_not logical_or logical_xor maximum minimum multiply
    negative not_equal pow real remainder round sign signbit sin sinh sqrt square subtract tan tanh trunc
    matmul tensordot vecdot
    broadcast_arrays broadcast_to flip moveaxis permute_dims repeat roll squeeze stack tile
    searchsorted argmax argmin nonzero where unique_all unique_counts unique_inverse unique_values
    all any max mean min prod sum
""".split())


def __getattr__(name):
    if name in _NAMES and hasattr(chx, name):
        return getattr(chx, name)
    raise AttributeError("chx.array_api has no '%s'%s" % (name, ", which chx lacks" if name in _NAMES else ""))


def __dir__():
    return sorted([n for n in globals() if not n.startswith("_")] + [n for n in _NAMES if hasattr(chx, n)] + ["__array_namespace_info__"])


def _namespace_of(x, *, api_version=None):
    """ndarray.__array_namespace__"""
    if api_version not in (None, "2021.12", "2022.12", "2023.12"):
        raise ValueError("__array_namespace__: api_version is %r, want '2023.12' or an earlier one" % (api_version,))
    import chx.array_api

    return chx.array_api


# ---- functions whose arguments are others than chx's ------------------------------------------------------------------------------


def asarray(obj, /, *, dtype=None, device=None, copy=None):
    """An array of an array, numbers, lists, a buffer or what has __dlpack__. copy False: without one, or ValueError."""
    return chx.array(obj, dtype=dtype, copy=copy, device=device)


def astype(x, dtype, /, *, copy=True, device=None):
    """The values in another dtype; copy False: x itself where it has that."""
    y = x.astype(dtype, copy=copy)
    return y if device is None else y.to(device)


def reshape(x, /, shape, *, copy=None):
    """The array with another shape; copy True: of its own memory, False: a view, or ValueError."""
    y = x.reshape(shape)
    if copy is False and not chx.shares_memory(x, y):
        raise ValueError("reshape: shape %s needs a copy of the array's strides, which copy=False forbids" % (shape,))
    return y.copy() if copy and chx.shares_memory(x, y) else y


def _axis(function, axis, ndim):
    """Counted from 0."""
    if not -ndim <= axis < ndim:
        raise IndexError("%s: axis is %d, want %d to %d" % (function, axis, -ndim, ndim - 1))
    return axis % ndim


def expand_dims(x, /, *, axis=0):
    """A view with an axis of length 1 at this place."""
    return x[(slice(None),) * _axis("expand_dims", axis, x.ndim + 1) + (None,)]


def matrix_transpose(x, /):
    """The view with the last two axes exchanged."""
    if x.ndim < 2:
        raise ValueError("matrix_transpose: the rank is %d, want 2 or more" % x.ndim)
    return x.swapaxes(-1, -2)


def concat(arrays, /, *, axis=0):
    """The arrays behind each other along an axis; None: of all elements."""
    return _core.concatenate([x.reshape(-1) for x in arrays] if axis is None else arrays, axis=axis or 0)


def unstack(x, /, *, axis=0):
    """The parts of an array at each index of an axis, a tuple."""
    axis = _axis("unstack", axis, x.ndim)
    return tuple([x[(slice(None),) * axis + (i,)] for i in range(x.shape[axis])])


def take(x, indices, /, *, axis=None):
    """The elements, or parts along an axis, at these indices."""
    if axis is None and x.ndim != 1:
        raise ValueError("take: the rank is %d, want an axis, which may be left out of rank 1 alone" % x.ndim)
    return _core.take(x, indices, axis=axis or 0)


def sort(x, /, *, axis=-1, descending=False, stable=True):
    """The values in order along an axis; always stable."""
    return _core.sort(x, axis=axis, descending=descending)


def argsort(x, /, *, axis=-1, descending=False, stable=True):
    """The indices that sort does it by; always stable."""
    return _core.argsort(x, axis=axis, descending=descending)


def clip(x, /, min=None, max=None):
    """The values, none below min and none above max; of x's dtype."""
    y = x if min is None else chx.maximum(x, min)
    y = y if max is None else chx.minimum(y, max)
    return y.copy() if y is x else y.astype(x.dtype, copy=False)


def positive(x, /):
    """The values, in memory of their own."""
    return +x


def var(x, /, *, axis=None, correction=0.0, keepdims=False):
    """The mean of the squared distance from the mean, over the count of values less `correction`."""
    far = x - chx.mean(x, axis=axis, keepdims=True)
    s = chx.sum(far * far, axis=axis, keepdims=keepdims)
    return s / (x.size / s.size - correction) if s.size else s


def std(x, /, *, axis=None, correction=0.0, keepdims=False):
    """The root of var."""
    return chx.sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


def _cumulative(name, operator, x, start, axis, dtype, include_initial):
    if axis is None and x.ndim != 1:
        raise ValueError("%s: the rank is %d, want an axis, which may be left out of rank 1 alone" % (name, x.ndim))
    axis = _axis(name, axis or 0, x.ndim)
    y = operator(x, axis=axis, dtype=dtype)
    if not include_initial:
        return y
    first = chx.full(x.shape[:axis] + (1,) + x.shape[axis + 1:], start, dtype=y.dtype, device=y.device)
    return _core.concatenate([first, y], axis=axis)


def cumulative_sum(x, /, *, axis=None, dtype=None, include_initial=False):
    """The sums of the values up to each, along an axis."""
    return _cumulative("cumulative_sum", _core.cumsum, x, 0, axis, dtype, include_initial)


def cumulative_prod(x, /, *, axis=None, dtype=None, include_initial=False):
    """The products of the values up to each, along an axis."""
    return _cumulative("cumulative_prod", _core.cumprod, x, 1, axis, dtype, include_initial)


# ---- inspection ----------------------------------------------------------------------------------------------------------------------

# Of complex numbers chx has arrays, but no arithmetic.
_DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64".split()


def _has_boolean_indexing():
    try:
        return chx.array([1, 2])[chx.array([True, False])].shape == (1,)
    except NotImplementedError:
        return False


class _Info:
    """What __array_namespace_info__ gives."""

    def capabilities(self):
        """What the standard lets a library leave out."""
        return {
            "boolean indexing": _has_boolean_indexing(),
            "data-dependent shapes": hasattr(chx, "nonzero"),
            "max dimensions": 16,
        }

    def default_device(self):
        """The device of new arrays of this thread."""
        return chx.get_default_device()

    def default_dtypes(self, *, device=None):
        """What numbers become where no dtype is given."""
        return {
            "real floating": chx.float64,
            "complex floating": chx.complex128,
            "integral": chx.int64,
            "indexing": chx.int64,
        }

    def dtypes(self, *, device=None, kind=None):
        """The standard's dtypes by their names that can be computed with, on every device; kind as isdtype's."""
        with chx.using_device(device or chx.get_default_device()):  # an error where there is none
            return {n: chx.dtype(n) for n in _DTYPES if kind is None or isdtype(chx.dtype(n), kind)}

    def devices(self):
        """Every device of every plugin that can be found."""
        return [d["device"] for d in chx.devices()]


def __array_namespace_info__():
    """The standard's inspection object."""
    return _Info()
