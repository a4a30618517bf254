# SPDX-License-Identifier: MIT
"""chx: n-dimensional arrays on devices that are plugins, with gradients.

    >>> import chx
    >>> x = chx.array([1., 2., 3.]).require_grad()
    >>> (x * x).sum().backward()
    >>> x.grad
    array([2., 4., 6.])

The functions are the operators of libchx's table and a few more; `help(chx.conv)` has an operator's parameters. Nothing here needs
NumPy, whose arrays are taken where they are given.
"""
from chx._core import *  # noqa: F401,F403  every name is made by the extension
from chx._core import __version__  # noqa: F401
from chx._function import Function  # noqa: F401
from chx import random  # noqa: F401
from chx.random import get_random_state, set_random_state  # noqa: F401
from chx._dtypes import can_cast, finfo, iinfo, isdtype, result_type  # noqa: F401

newaxis = None
inf = float("inf")
nan = float("nan")
pi = 3.141592653589793
e = 2.718281828459045


def __getattr__(name):  # what is found at its first use: parts of the package, and functions that are made of others
    if name in ("nn", "optim"):
        import importlib

        return importlib.import_module("chx." + name)
    if not name.startswith("_"):
        from chx import _functions

        if name in _functions.TABLE:
            globals()[name] = _functions.TABLE[name]
            return _functions.TABLE[name]
    raise AttributeError("chx has no function %r" % name)


def __dir__():
    from chx import _functions

    return sorted(set(globals()) | set(_functions.TABLE) | {"nn", "optim"})
