# SPDX-License-Identifier: MIT
"""Elementwise functions made of the table's: NumPy's functions that need no kernel of their own; differentiable."""
import chx
from chx._creation import into, same_place, to_array

__all__ = ["around", "conj", "conjugate", "deg2rad", "degrees", "divmod", "fabs", "float_power", "heaviside", "imag", "iscomplexobj",
           "isneginf", "isposinf", "isrealobj", "ldexp", "logaddexp2", "modf", "nan_to_num", "positive", "rad2deg", "radians", "real",
           "round", "signbit"]

LN2 = 0.6931471805599453


def _number(x, name):
    x = to_array(x)
    if x.dtype == "bool":
        raise TypeError("%s: x is of bool, want a number" % name)
    return x


def positive(x, /, out=None):
    """A copy of x, a number.

    >>> chx.positive([1, -2])
    array([ 1, -2])
    """
    return into(out, _number(x, "positive").copy())


def round(a, decimals=0, out=None):
    """a with so many decimals; halves go to the even neighbour.

    >>> chx.round([0.5, 1.5, 2.25], 1)
    array([0.5, 1.5, 2.2])
    """
    a = to_array(a)
    if decimals == 0 and a.dtype.kind == "f":
        y = chx.rint(a)
    elif a.dtype == "bool":
        if decimals:
            raise TypeError("round: x is of bool, want a number")
        y = chx.rint(a.astype("float16"))
    elif a.dtype.kind in "iu":
        y = a.copy() if decimals >= 0 else (chx.rint(a / 10**-decimals) * 10**-decimals).astype(a.dtype)
    else:
        scale = 10.0 ** abs(decimals)
        y = chx.rint(a * scale) / scale if decimals > 0 else chx.rint(a / scale) * scale
    return into(out, y)


around = round


def deg2rad(x, /, out=None):
    """Degrees as radians.

    >>> chx.deg2rad(180.0)
    array(3.14159265)
    """
    return into(out, _floating(x) * (chx.pi / 180))


def rad2deg(x, /, out=None):
    """Radians as degrees.

    >>> chx.rad2deg(chx.pi)
    array(180.)
    """
    return into(out, _floating(x) * (180 / chx.pi))


radians, degrees = deg2rad, rad2deg


def _floating(x):
    """x in the floating dtype that elementwise functions take integers in."""
    x = to_array(x)
    if x.dtype.kind == "f":
        return x
    return x.astype({1: "float16", 2: "float32"}.get(x.dtype.itemsize, "float64"))


def divmod(x1, x2, /):
    """(floor_divide(x1, x2), remainder(x1, x2)).

    >>> chx.divmod([7, -7], 3)
    (array([ 2, -3]), array([1, 2]))
    """
    return chx.floor_divide(x1, x2), chx.remainder(x1, x2)


def fabs(x, /, out=None):
    """|x|, floating.

    >>> chx.fabs([-1.5, 2])
    array([1.5, 2. ])
    """
    return into(out, chx.abs(_floating(x)))


def float_power(x1, x2, /):
    """x1 to the power of x2, in float64.

    >>> chx.float_power([2, 4], -1)
    array([0.5 , 0.25])
    """
    x1, x2 = same_place(x1, x2)
    return chx.pow(x1.astype("float64"), x2.astype("float64"))


def logaddexp2(x1, x2, /):
    """log2(2^x1 + 2^x2).

    >>> chx.logaddexp2(1.0, 1.0)
    array(2.)
    """
    x1, x2 = same_place(x1, x2)
    return chx.logaddexp(x1 * LN2, x2 * LN2) / LN2


def ldexp(x1, x2, /):
    """x1 2^x2.

    >>> chx.ldexp([1.0, 3.0], [2, -1])
    array([4. , 1.5])
    """
    x1, x2 = same_place(x1, x2)
    if x2.dtype.kind not in "biu":
        raise TypeError("ldexp: the exponents are of %s, want integers" % x2.dtype)
    x1 = _floating(x1)
    half = x2 // 2  # two steps: 2^x2 alone may be no finite number
    return x1 * chx.exp2(half.astype(x1.dtype)) * chx.exp2((x2 - half).astype(x1.dtype))


def modf(x, /):
    """(the fraction, the whole part), both with x's sign.

    >>> chx.modf([1.5, -2.25])
    (array([ 0.5 , -0.25]), array([ 1., -2.]))
    """
    x = _floating(x)
    whole = chx.trunc(x)
    fraction = chx.where(chx.isinf(x), chx.zeros((), x.dtype, device=x.device), x - whole)
    return chx.copysign(fraction, x), chx.copysign(whole, x)


def heaviside(x1, x2, /):
    """0 below 0, 1 above, x2 at 0.

    >>> chx.heaviside([-1.0, 0.0, 2.0], 0.5)
    array([0. , 0.5, 1. ])
    """
    x1, x2 = same_place(x1, x2)
    kind = (_floating(x1)[:0] if x1.ndim else _floating(x1)).dtype
    step = chx.where(x1 < 0, chx.zeros((), kind, device=x1.device), chx.where(x1 == 0, x2, chx.ones((), kind, device=x1.device)))
    return chx.where(x1 != x1, x1, step)


def signbit(x, /, out=None):
    """Whether the sign is minus, also of -0.0.

    >>> chx.signbit([-0.0, 1.0])
    array([ True, False])
    """
    x = to_array(x)
    y = chx.copysign(chx.ones((), x.dtype, device=x.device), x) < 0 if x.dtype.kind == "f" else x < 0
    return into(out, y)


def isneginf(x, out=None):
    """Whether it is minus infinity.

    >>> chx.isneginf([-chx.inf, 1.0])
    array([ True, False])
    """
    return into(out, to_array(x) == -chx.inf)


def isposinf(x, out=None):
    """Whether it is plus infinity.

    >>> chx.isposinf([chx.inf, 1.0])
    array([ True, False])
    """
    return into(out, to_array(x) == chx.inf)


LARGEST = {"float16": 65504.0, "bfloat16": 3.3895313892515355e38, "float32": 3.4028234663852886e38, "float64": 1.7976931348623157e308}


def nan_to_num(x, copy=True, nan=0.0, posinf=None, neginf=None):
    """x with NaN and the infinities as numbers, the infinities as the largest of the dtype unless given.

    >>> chx.nan_to_num([chx.nan, 1.0])
    array([0., 1.])
    """
    x = to_array(x)
    if x.dtype.kind != "f":
        return x.copy() if copy else x
    top = LARGEST[x.dtype.name]
    y = chx.where(chx.isnan(x), float(nan), x)
    y = chx.where(x == chx.inf, top if posinf is None else float(posinf), y)
    y = chx.where(x == -chx.inf, -top if neginf is None else float(neginf), y)
    return y if copy else into(x, y)


# ---- complex ----------------------------------------------------------------------------------------------------------------------


def iscomplexobj(x):
    """Whether the dtype is complex.

    >>> chx.iscomplexobj([1j])
    True
    """
    return to_array(x).dtype.kind == "c"


def isrealobj(x):
    """Whether the dtype is not complex.

    >>> chx.isrealobj([1j])
    False
    """
    return not iscomplexobj(x)


def real(val):
    """The real parts, a view; of a real array itself.

    >>> chx.real([1 + 2j])
    array([1.])
    """
    return to_array(val).real


def imag(val):
    """The imaginary parts, a view; of a real array zeros.

    >>> chx.imag([1 + 2j])
    array([2.])
    """
    return to_array(val).imag


def conj(x, /):
    """A copy of x, which must be real: complex arrays are stored and read, not computed with.

    >>> chx.conj([1.0])
    array([1.])
    """
    x = to_array(x)
    if x.dtype.kind == "c":
        raise TypeError("conj: x is of %s, want a real dtype" % x.dtype)
    return x.copy()


conjugate = conj
