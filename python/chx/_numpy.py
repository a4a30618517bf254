# SPDX-License-Identifier: MIT
"""NumPy's ufuncs and functions called with arrays of chx: the operator or function of that meaning, else TypeError; never NumPy's own.

A ufunc is found by its name, which chx has too; a function by its module and name. Arguments beyond those that both require go by
keyword under NumPy's name, and those that are NumPy's defaults are left out, so that nothing is taken for something else.
"""
import inspect
import operator
import sys

import numpy

import chx

_REDUCE = {
    "add": "sum", "multiply": "prod", "maximum": "amax", "minimum": "amin", "logical_and": "all", "logical_or": "any",
    "logaddexp": "logsumexp",
}
_ACCUMULATE = {"add": "cumsum", "multiply": "cumprod", "maximum": "cummax", "minimum": "cummin"}
_COMPOSED = {"divmod": lambda x, y: (chx.floor_divide(x, y), chx.remainder(x, y)), "positive": operator.pos}
_SPECIAL = {"erf": "erf", "expit": "sigmoid"}  # scipy.special's ufuncs, which dispatch as NumPy's do
_NEUTRAL = {"casting": "same_kind", "order": "K", "subok": True, "where": True, "signature": None, "sig": None, "dtype": None}


def _missing(function, name):
    return TypeError("%s: chx has no %s, and its arrays go through NumPy only when asked to: chx.to_numpy(x)" % (function, name))


def _use_device(x):
    return chx.using_device(x.device)


# ---- ufuncs -----------------------------------------------------------------------------------------------------------------


def _operator(ufunc):
    """chx's function of a ufunc's meaning, by its name if it is the one that NumPy has under that name."""
    name = ufunc.__name__
    if getattr(numpy, name, None) is ufunc:
        return _COMPOSED.get(name) or getattr(chx, name, None)
    special = sys.modules.get("scipy.special")
    return getattr(chx, _SPECIAL[name]) if name in _SPECIAL and getattr(special, name, None) is ufunc else None


def _options(what, kwargs, taken):
    """kwargs without what is NumPy's default; out as one array. An option that is not taken is refused by its name."""
    left = {}
    for name, value in kwargs.items():
        if name == "out":
            value = value[0] if isinstance(value, tuple) and len(value) == 1 else value
            if value is None or (isinstance(value, tuple) and all(v is None for v in value)):
                continue
            if not isinstance(value, chx.ndarray):
                raise TypeError("%s: out is of type %s, want an array of chx: NumPy's arrays are written by y[...] = chx.to_numpy(x)"
                                % (what, type(value).__name__))
            left["out"] = value
        elif name in taken:
            left[name] = value
        elif name not in _NEUTRAL or value is not _NEUTRAL[name] and not (isinstance(value, str) and value == _NEUTRAL[name]):
            raise TypeError("%s: %s= is not taken for arrays of chx" % (what, name))
    return left


def _outer(f, x, y, **kwargs):
    x, y = chx.asarray(x), chx.asarray(y)
    return f(x.reshape(x.shape + (1,) * y.ndim), y, **kwargs)


def _call_ufunc(ufunc, method, inputs, kwargs):
    f, what = _operator(ufunc), "numpy." + ufunc.__name__
    if method != "__call__":
        what += "." + method
    if f is None:
        raise _missing(what, "operator '%s'" % ufunc.__name__)
    if method == "__call__":
        return f(*inputs, **_options(what, kwargs, ()))
    if method == "outer" and ufunc.nin == 2 and ufunc.nout == 1:
        return _outer(f, *inputs, **_options(what, kwargs, ()))
    name = {"reduce": _REDUCE, "accumulate": _ACCUMULATE}.get(method, {}).get(ufunc.__name__)
    if name is None:
        raise _missing(what, "method '%s' of the operator '%s'" % (method, ufunc.__name__))
    options = _options(what, kwargs, ("axis", "keepdims", "dtype") if method == "reduce" else ("axis", "dtype"))
    options.setdefault("axis", 0)
    if options.get("dtype", 0) is None:
        del options["dtype"]
    return getattr(chx, name)(*inputs, **options)


def array_ufunc(self, ufunc, method, *inputs, **kwargs):
    """ndarray.__array_ufunc__"""
    others = [x for x in inputs if not isinstance(x, (chx.ndarray, numpy.ndarray, numpy.generic))]
    if any(getattr(type(x), "__array_ufunc__", None) is not None for x in others):
        return NotImplemented
    with _use_device(self):  # of lists beside it
        return _call_ufunc(ufunc, method, inputs, kwargs)


# ---- functions --------------------------------------------------------------------------------------------------------------


def _pad(array, pad_width, mode="constant", constant_values=0):
    if mode != "constant":
        raise TypeError("numpy.pad: mode is %r, want 'constant' for arrays of chx" % (mode,))
    return chx.pad(array, pad_width, constant_values=constant_values)


# Where chx's function of that name has other defaults or arguments than NumPy's, and what is an attribute in chx.
_ADAPTED = {
    "pad": _pad,
    "shape": lambda a: a.shape,
    "ndim": lambda a: a.ndim,
    "size": lambda a, axis=None: a.size if axis is None else a.shape[axis],
}


def _required(f):
    """How many of its arguments a function demands: those before the first with a default, or before what goes by keyword alone."""
    text = getattr(f, "__text_signature__", None) or str(inspect.signature(f))
    n = 0
    for name in text.strip("()").split(", "):
        if "=" in name or name.startswith("*"):
            break
        n += name not in ("/", "") and not name.startswith("$")
    return n


_plans = {}  # of each function of NumPy that was called: chx's, NumPy's parameters, how many go by position


def _plan(func):
    module = func.__module__.split(".")
    if module[0] != "numpy":
        return None
    name = ".".join(module[1:] + [func.__name__])
    f = _ADAPTED.get(name)
    if f is None:
        f = chx
        for part in name.split("."):
            f = getattr(f, part, None)
    if not callable(f):
        raise _missing("numpy." + name, "function '%s'" % name)
    try:
        parameters = inspect.signature(func).parameters
    except ValueError:  # of one in C, in NumPy 1
        return f, None, 0
    demanded = [p for p in parameters.values() if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return f, parameters, max(len(demanded), _required(f))


def _arguments(parameters, by_position, args, kwargs):
    """NumPy's arguments as chx takes them."""
    names = [p.name for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    given = dict(zip(names, args))
    given.update(kwargs)
    place = []
    for name in names[:by_position]:
        if name not in given or given[name] is parameters[name].default:
            break
        place.append(given.pop(name))
    extra = list(args[len(names):])  # of *args
    options = {}
    for name, value in given.items():
        default = parameters[name].default if name in parameters else inspect.Parameter.empty
        if value is not default and not (isinstance(value, (str, bool, int)) and type(value) is type(default) and value == default):
            options[name] = value
    return place + extra, options


def array_function(self, func, types, args, kwargs):
    """ndarray.__array_function__"""
    if not all(issubclass(t, (chx.ndarray, numpy.ndarray)) for t in types):
        return NotImplemented
    plan = _plans.get(func)
    if plan is None:
        plan = _plan(func)
        if plan is None:
            return NotImplemented
        _plans[func] = plan
    f, parameters, by_position = plan
    if parameters is not None:
        args, kwargs = _arguments(parameters, by_position, args, kwargs)
    with _use_device(self):  # of what is made anew, and of lists beside it
        return f(*args, **kwargs)
