# SPDX-License-Identifier: MIT
"""NumPy's forms of the table's operators: where a call does not fit an operator's own parameters, and one of these has NumPy's."""
from operator import index

import chx
from chx import _core
from chx._creation import into, same_place, to_array

MAX_OPERANDS = 16


def find(name, n, keywords):
    """The form of an operator that takes n positional arguments and these keywords, or None."""
    f = FORMS.get(name)
    if f is None:
        return None
    code = f.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    needed = names[n : code.co_argcount - len(f.__defaults__ or ())]
    return f if n <= code.co_argcount and all(k in names[n:] for k in keywords) and all(k in keywords for k in needed) else None


def _reduction(name):
    op = getattr(_core, name)

    def form(a, axis=None, dtype=None, out=None, keepdims=False):
        a = to_array(a)
        more = {} if dtype is None else {"dtype": dtype}
        if axis == ():  # of nothing: each element's own
            return into(out, op(a.reshape(a.shape + (1,)), axis=a.ndim, keepdims=False, **more))
        return op(a, axis=axis, keepdims=bool(keepdims), out=out, **more)

    return form


def _arg_reduction(name):
    op = getattr(_core, name)

    def form(a, axis=None, out=None, *, keepdims=False):
        return op(to_array(a), axis=axis, keepdims=bool(keepdims), out=out)

    return form


def _scan(name):
    op = getattr(_core, name)

    def form(a, axis=None, dtype=None, out=None):
        return op(to_array(a), axis=axis, dtype=dtype, out=out)

    return form


def _sorting(name):
    op = getattr(_core, name)

    def form(a, axis=-1, kind=None, order=None, *, stable=None, descending=False):
        if kind not in (None, "quicksort", "mergesort", "heapsort", "stable"):  # each is the one that there is, which is stable
            raise ValueError("%s: kind is %r, want 'quicksort', 'mergesort', 'heapsort' or 'stable'" % (name, kind))
        if order is not None:
            raise ValueError("%s: order is given, which only arrays with fields have" % name)
        a = to_array(a)
        if axis is None:
            a, axis = a.ravel(), -1
        return op(a, index(axis), bool(descending))

    return form


def take(a, indices, axis=None, out=None, mode="raise"):
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError("take: mode is %r, want 'raise', 'wrap' or 'clip'" % (mode,))
    a, at = same_place(a, indices)
    if not at.size and not isinstance(indices, chx.ndarray):
        at = at.astype("int64")
    if axis is None:
        a, axis = a.ravel(), 0
    n = a.shape[axis] if -a.ndim <= axis < a.ndim else 0
    if mode != "raise" and n:
        at = at % n if mode == "wrap" else chx.clip(at, 0, n - 1)
    return into(out, _core.take(a, at, index(axis)))


def take_along_axis(arr, indices, axis=-1):
    arr, at = same_place(arr, indices)
    if axis is None and at.ndim != 1:
        raise ValueError("take_along_axis: the rank of the indices is %d, want 1 where there is no axis" % at.ndim)
    return _core.take_along_axis(arr.ravel(), at.ravel(), 0) if axis is None else _core.take_along_axis(arr, at, index(axis))


def clip(a, a_min=None, a_max=None, out=None, *, min=None, max=None):
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    a = to_array(a)
    y = a if low is None else chx.maximum(a, low)
    y = y if high is None else chx.minimum(y, high)
    return into(out, y.copy() if y is a else y)


def concatenate(arrays, axis=0, out=None, dtype=None, casting="same_kind"):
    arrays = same_place(*arrays)
    if not arrays:
        raise ValueError("concatenate: no array is given, want at least one")
    if axis is None:
        arrays, axis = [a.ravel() for a in arrays], 0
    while len(arrays) > MAX_OPERANDS:
        arrays = [_core.concatenate(arrays[i : i + MAX_OPERANDS], axis) for i in range(0, len(arrays), MAX_OPERANDS)]
    y = _core.concatenate(arrays, axis)
    return into(out, y if dtype is None else y.astype(dtype, copy=False))


def stack(arrays, axis=0, out=None, *, dtype=None, casting="same_kind"):
    arrays = same_place(*arrays)
    if not arrays:
        raise ValueError("stack: no array is given, want at least one")
    if any(a.shape != arrays[0].shape for a in arrays):
        raise ValueError("stack: the arrays have shapes %s, want one" % ", ".join(str(a.shape) for a in arrays))
    return concatenate([chx.expand_dims(a, axis) for a in arrays], axis, out, dtype)


def reshape(a, shape, order="C", *, copy=None):
    a = to_array(a)
    if order not in ("C", "F"):
        raise ValueError("reshape: order is %r, want 'C' or 'F'" % (order,))
    if order == "F":
        shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        y = _core.reshape(a.T, shape[::-1]).T
    else:
        y = _core.reshape(a, shape)
    if copy is False and a.size and not chx.shares_memory(a, y):
        raise ValueError("reshape: the elements cannot have this shape without a copy")
    return y.copy() if copy and chx.shares_memory(a, y) else y


def where(condition, x=None, y=None):
    if x is None and y is None:
        return chx.nonzero(condition)
    raise ValueError("where: x and y are either both given or neither")


def pad(array, pad_width, mode="constant", *, constant_values=0, out=None):
    array = to_array(array)
    if mode != "constant":
        raise NotImplementedError("pad: mode is %r, want 'constant'" % (mode,))
    widths = pad_width.tolist() if hasattr(pad_width, "tolist") else pad_width
    if not isinstance(widths, (tuple, list)):
        widths = [widths]
    pairs = [tuple(w) * 2 if len(w) == 1 else tuple(w) for w in widths if isinstance(w, (tuple, list))]
    pairs = pairs or [(widths[0], widths[0]) if len(widths) == 1 else tuple(widths)]
    pairs = pairs * array.ndim if len(pairs) == 1 else pairs
    if len(pairs) != array.ndim or any(len(p) != 2 for p in pairs):
        raise ValueError("pad: pad_width is %r, want a pair for each of %d axes" % (pad_width, array.ndim))
    if any(v < 0 for p in pairs for v in p):
        raise ValueError("pad: pad_width is %r, want numbers of at least 0" % (pad_width,))
    return _core.pad(array, [p[0] for p in pairs], [p[1] for p in pairs], float(constant_values), out=out)


FORMS = {name: _reduction(name) for name in ("sum", "prod", "mean", "amax", "amin", "all", "any", "logsumexp")}
FORMS.update({name: _arg_reduction(name) for name in ("argmax", "argmin")})
FORMS.update({name: _scan(name) for name in ("cumsum", "cumprod", "cummax", "cummin")})
FORMS.update({name: _sorting(name) for name in ("sort", "argsort")})
FORMS.update({f.__name__: f for f in (take, take_along_axis, clip, concatenate, stack, reshape, where, pad)})
