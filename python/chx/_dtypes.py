# SPDX-License-Identifier: MIT
"""What is to be known about dtypes, as NumPy 2 and the array API standard ask it: finfo, iinfo, isdtype, result_type, can_cast."""
from chx import _core

_KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}
_MANTISSA = {"float16": (10, 5), "bfloat16": (7, 8), "float32": (23, 8), "float64": (52, 11)}  # bits of mantissa and exponent


def _strong(x):
    """The dtype of an array, of ours or another's, or of a dtype."""
    if isinstance(x, (_core.dtype, str, type)):
        return _core.dtype(x)
    return _core.dtype(getattr(x, "dtype", x))


class finfo:
    """finfo(dtype): limits of a floating dtype, or of a complex one's parts: bits, eps, max, min, smallest_normal, dtype."""

    def __init__(self, dtype):
        dtype = _strong(dtype)
        if dtype.kind not in "fc":
            raise ValueError("finfo: dtype is %s, want a floating or complex one" % dtype)
        if dtype.kind == "c":
            dtype = _core.dtype("float%d" % (dtype.itemsize * 4))
        mantissa, exponent = _MANTISSA[dtype.name]
        greatest = 2 ** (exponent - 1) - 1
        self.dtype = dtype
        self.bits = 8 * dtype.itemsize
        self.eps = 2.0**-mantissa
        self.max = (2.0 - self.eps) * 2.0**greatest
        self.min = -self.max
        self.smallest_normal = self.tiny = 2.0 ** (1 - greatest)

    def __repr__(self):
        return "finfo(bits=%d, eps=%r, max=%r, min=%r, smallest_normal=%r, dtype=%s)" % (
            self.bits, self.eps, self.max, self.min, self.smallest_normal, self.dtype)


class iinfo:
    """iinfo(dtype): limits of a dtype of integers: bits, max, min, dtype."""

    def __init__(self, dtype):
        dtype = _strong(dtype)
        if dtype.kind not in "iu":
            raise ValueError("iinfo: dtype is %s, want one of integers" % dtype)
        self.dtype = dtype
        self.bits = 8 * dtype.itemsize
        signed = dtype.kind == "i"
        self.max = 2 ** (self.bits - signed) - 1
        self.min = -self.max - 1 if signed else 0

    def __repr__(self):
        return "iinfo(bits=%d, max=%d, min=%d, dtype=%s)" % (self.bits, self.max, self.min, self.dtype)


def isdtype(dtype, kind):
    """Whether a dtype is of a kind: a dtype, 'bool', 'signed integer', 'unsigned integer', 'integral', 'real floating', 'complex
    floating', 'numeric', or one of a tuple of these.

    >>> chx.isdtype(chx.int8, "integral")
    True
    """
    dtype = _core.dtype(dtype)
    if isinstance(kind, tuple):
        return any([isdtype(dtype, k) for k in kind])
    if isinstance(kind, str):
        if kind not in _KINDS:
            raise ValueError("isdtype: kind is %r, want a dtype or one of %s" % (kind, ", ".join(map(repr, _KINDS))))
        return dtype.kind in _KINDS[kind]
    return dtype == _core.dtype(kind)


def _weak(dtype, scalar):
    """The dtype of an array of `dtype` together with a Python number, which takes on the array's kind or the next one's default."""
    if isinstance(scalar, bool) or (isinstance(scalar, int) and dtype.kind != "b") or (isinstance(scalar, float) and dtype.kind in "fc"):
        return dtype
    if isinstance(scalar, complex):
        return _core.dtype("complex128" if dtype.kind in "biu" or dtype.itemsize >= 8 else "complex64") if dtype.kind != "c" else dtype
    return _core.dtype(type(scalar))


def result_type(*arrays_and_dtypes):
    """The dtype of a result of these arrays, dtypes and Python numbers together; the numbers are weak, as in an expression.

    >>> chx.result_type(chx.ones(2, dtype="float32"), 1.5)
    chx.float32
    """
    weak = [x for x in arrays_and_dtypes if type(x) in (bool, int, float, complex)]
    strong = [_strong(x) for x in arrays_and_dtypes if type(x) not in (bool, int, float, complex)]
    if not arrays_and_dtypes:
        raise ValueError("result_type: nothing is given, want arrays, dtypes or numbers")
    if not strong:
        return _core.dtype(max((type(x) for x in weak), key=(bool, int, float, complex).index))
    dtype = strong[0]
    for other in strong[1:]:
        dtype = _core.promote_types(dtype, other)
    for scalar in weak:
        dtype = _weak(dtype, scalar)
    return dtype


def can_cast(from_, to):
    """Whether values of a dtype (or array) may become another without loss, as promotion has it.

    >>> chx.can_cast("int8", "int32"), chx.can_cast("float32", "int32")
    (True, False)
    """
    to = _core.dtype(to)
    return _core.promote_types(_strong(from_), to) == to
