# SPDX-License-Identifier: MIT
"""Methods and attributes of ndarray that are made of others; the extension puts each into the class at its first use."""
import pickle

import chx
from chx._elementwise import round  # noqa: F401
from chx._products import dot, trace  # noqa: F401
from chx._search import nonzero, put, searchsorted  # noqa: F401
from chx._shapes import repeat  # noqa: F401
from chx._statistics import ptp, std, var  # noqa: F401


def conj(self):
    """The array itself, which must be real: complex arrays are stored and read, not computed with.

    >>> x = chx.ones(2)
    >>> x.conj() is x
    True
    """
    if self.dtype.kind == "c":
        raise TypeError("conj: the array is of %s, want a real dtype" % self.dtype)
    return self


conjugate = conj


def sort(self, axis=-1, kind=None, order=None, *, stable=None):
    """Sorts in place along an axis, NaN last.

    >>> x = chx.array([3, 1, 2])
    >>> x.sort()
    >>> x
    array([1, 2, 3])
    """
    self[...] = chx.sort(self, axis=axis, kind=kind, order=order, stable=stable)


def compress(self, condition, axis=None, out=None):
    """The elements along an axis where the condition is true.

    >>> chx.array([1, 2, 3]).compress([True, False, True])
    array([1, 3])
    """
    return chx.compress(condition, self, axis, out)


def tobytes(self, order="C"):
    """The elements' bytes in C order, or in Fortran's for order 'F'; copied from any device.

    >>> chx.array([1, 2], dtype="int8").tobytes()
    b'\\x01\\x02'
    """
    if order not in ("C", "F"):
        raise ValueError("tobytes: order is %r, want 'C' or 'F'" % (order,))
    return (self if order == "C" else self.T).__reduce__()[1][2]


def tofile(self, file):
    """Writes the elements' bytes in C order to a file, or a path.

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "x")
    >>> chx.array([1, 2], dtype="int8").tofile(path)
    >>> open(path, "rb").read()
    b'\\x01\\x02'
    """
    if hasattr(file, "write"):
        file.write(tobytes(self))
    else:
        with open(file, "wb") as f:
            f.write(tobytes(self))


def dumps(self):
    """The array as bytes of pickle.

    >>> import pickle
    >>> pickle.loads(chx.array([1, 2]).dumps())
    array([1, 2])
    """
    return pickle.dumps(self)


def dump(self, file):
    """Writes the array's pickle to a file, or a path.

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "x.pkl")
    >>> chx.ones(2).dump(path)
    >>> os.path.getsize(path) > 0
    True
    """
    if hasattr(file, "write"):
        pickle.dump(self, file)
    else:
        with open(file, "wb") as f:
            pickle.dump(self, f)


class Flags:
    """How an array's memory is laid out: attributes, also items by NumPy's names ('C_CONTIGUOUS', 'C')."""

    SHORT = {"C": "c_contiguous", "F": "f_contiguous", "A": "aligned", "W": "writeable", "B": "behaved", "CA": "carray", "FA": "farray"}
    aligned = writeable = behaved = True

    def __init__(self, array):
        self.c_contiguous = self.carray = array.is_contiguous
        self.f_contiguous = array.T.is_contiguous
        self.forc = self.c_contiguous or self.f_contiguous
        self.fnc = self.farray = self.f_contiguous and not self.c_contiguous

    @property
    def owndata(self):
        raise AttributeError("flags has no 'owndata': an array's memory is a buffer, which arrays share; see chx.shares_memory")

    def __setattr__(self, name, value):
        if name in self.__dict__ or hasattr(type(self), name):
            raise AttributeError("flags: %r cannot be set" % name)
        super().__setattr__(name, value)

    def __getitem__(self, name):
        word = self.SHORT.get(name, name.lower()) if isinstance(name, str) else ""
        if word.startswith("_") or not hasattr(self, word):
            raise KeyError("flags has no %r" % (name,))
        return getattr(self, word)

    def __repr__(self):
        names = ("c_contiguous", "f_contiguous", "writeable", "aligned")
        return "\n".join("  %s : %s" % (n.upper(), getattr(self, n)) for n in names)


@property
def flags(self):
    """Whether the elements are dense in C or in Fortran order."""
    return Flags(self)


@property
def mT(self):
    """The view with the last two axes exchanged."""
    if self.ndim < 2:
        raise ValueError("mT: the rank is %d, want at least 2" % self.ndim)
    return self.swapaxes(-2, -1)


def _part(self, i):
    half = {"complex64": "float32", "complex128": "float64"}[self.dtype.name]
    return self[..., None].view(half)[..., i]


@property
def real(self):
    """The real parts, a view; the array itself where it is real."""
    return _part(self, 0) if self.dtype.kind == "c" else self


@property
def imag(self):
    """The imaginary parts, a view; zeros where it is real."""
    return _part(self, 1) if self.dtype.kind == "c" else chx.zeros_like(self)
