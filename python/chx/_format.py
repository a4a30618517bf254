# SPDX-License-Identifier: MIT
"""repr and str of arrays, in NumPy 2's style; imported at the first of them."""
import struct
from decimal import Decimal

THRESHOLD, EDGE, WIDTH, PRECISION = 1000, 3, 75, 8
# from where on exponents are written, by the digits that a dtype has; the small one is 0.0001 as the dtype rounds it
LARGE = {"float64": 1e8, "float32": 1e6, "float16": 1e3, "bfloat16": 1e2}
SMALL = {"float64": 1e-4, "float32": 9.9999997e-05, "float16": 1.00016e-04, "bfloat16": 9.9659e-05}


# ---- shortest digits ------------------------------------------------------------------------------------------------------


def _bf16(v):
    bits = struct.unpack("<I", struct.pack("<f", v))[0]
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def _same(kind, text, v):
    try:
        if kind == "bfloat16":
            return _bf16(float(text)) == _bf16(v)
        letter = {"float16": "<e", "float32": "<f"}[kind]
        return struct.pack(letter, float(text)) == struct.pack(letter, v)
    except OverflowError:
        return False


def _shortest(kind, v):
    """The fewest digits that read as v again in its dtype, as a Decimal."""
    if kind == "float64":
        return Decimal(repr(v))
    for digits in range(1, 10):
        text = "%.*e" % (digits - 1, v)
        if _same(kind, text, v):
            break
    return Decimal(text)


def _positional(kind, v):
    d = _shortest(kind, abs(v))
    text = format(d, "f")
    if "." not in text:
        text += "."
    whole, _, fraction = text.partition(".")
    if len(fraction) > PRECISION:
        whole, _, fraction = ("%.*f" % (PRECISION, abs(v))).partition(".")
    return ("-" if _negative(v) else "") + whole, fraction.rstrip("0")


def _scientific(kind, v):
    d = _shortest(kind, abs(v))
    digits, exponent = d.as_tuple().digits, d.adjusted() if d else 0
    if len(digits) > PRECISION + 1:
        mantissa, _, e = ("%.*e" % (PRECISION, abs(v))).partition("e")
        digits, exponent = [int(c) for c in mantissa if c != "."], int(e)
    fraction = "".join(map(str, digits[1:])).rstrip("0")
    return ("-" if _negative(v) else "") + str(digits[0]), fraction, "%s%02d" % ("-" if exponent < 0 else "+", abs(exponent))


def _negative(v):
    return struct.pack(">d", v)[0] >= 128


# ---- words of one width ---------------------------------------------------------------------------------------------------


def _float_words(kind, values, plus=False):
    finite = [v for v in values if v - v == 0]
    nonzero = [abs(v) for v in finite if v != 0]
    exponents = bool(nonzero) and (max(nonzero) >= LARGE[kind] or min(nonzero) < SMALL[kind] or max(nonzero) / min(nonzero) > 1000)
    write = _scientific if exponents else _positional
    parts = {v: write(kind, v) for v in finite if v != 0}
    parts.update({_key(v): write(kind, v) for v in finite if v == 0})
    sign = lambda v, whole: "+" + whole if plus and whole[0] != "-" else whole
    left = max([len(sign(v, p[0])) for v, p in parts.items()], default=0)
    right = max([len(p[1]) for p in parts.values()], default=0)
    tail = max([len(p[2]) for p in parts.values()], default=-1) + 1 if exponents else 0
    others = [sign(v, _odd(v)) for v in values if v - v != 0]
    left = max([left] + [len(w) - right - tail - 1 for w in others])
    words = []
    for v in values:
        if v - v != 0:
            words.append(sign(v, _odd(v)).rjust(left + right + tail + 1))
            continue
        p = parts[_key(v) if v == 0 else v]
        fraction = _digits(v, p[1], right) + "e" + p[2][0] + p[2][1:].rjust(tail - 2, "0") if exponents else p[1].ljust(right)
        words.append(sign(v, p[0]).rjust(left) + "." + fraction)
    return words


def _digits(v, fraction, n):
    """The mantissa's fraction with n digits: more of the exact ones where the shortest are fewer."""
    return fraction if len(fraction) == n or v == 0 else ("%.*e" % (n, abs(v))).partition("e")[0].partition(".")[2]


def _odd(v):
    return "nan" if v != v else "inf" if v > 0 else "-inf"


def _key(v):  # tells 0.0 from -0.0
    return ("zero", _negative(v))


def _complex_words(kind, values):
    part = {"complex64": "float32", "complex128": "float64"}[kind]
    imaginary = _float_words(part, [v.imag for v in values], plus=True)
    joined = []
    for re, im in zip(_float_words(part, [v.real for v in values]), imaginary):
        end = len(im.rstrip())
        joined.append(re + im[:end] + "j" + im[end:])
    return joined


def _words(dtype, values):
    if not values:
        return []
    if dtype.kind == "f":
        return _float_words(dtype.name, values)
    if dtype.kind == "c":
        return _complex_words(dtype.name, values)
    width = max([len(str(v)) for v in values] + [5 if dtype.kind == "b" else 0])
    return [str(v).rjust(width) for v in values]


# ---- lines ------------------------------------------------------------------------------------------------------------------


def _values(a, summary):
    """Nested lists of the values, of a summarised axis its ends alone."""
    if not summary or a.ndim == 0:
        return a.tolist()
    n = a.shape[0]
    cut = n > 2 * EDGE
    if a.ndim == 1:
        return a[:EDGE].tolist() + a[n - EDGE :].tolist() if cut else a.tolist()
    at = [*range(EDGE), *range(n - EDGE, n)] if cut else range(n)
    return [_values(a[i], summary) for i in at]


def _flat(values, depth):
    return [values] if depth == 0 else [v for row in values for v in _flat(row, depth - 1)]


def _extend(text, line, word, width, indent):
    if len(line) + len(word) > width and len(line) > len(indent):
        text, line = text + line.rstrip() + "\n", indent
    return text, line + word


def _layout(values, words, shape, summary, separator, indent, width):
    if not shape:
        return next(words)
    cut = summary and shape[0] > 2 * EDGE
    count = len(values)
    text, line = "", indent
    if len(shape) == 1:
        inner = width - max(len(separator.rstrip()), 1)
        for i in range(count):
            if cut and i == EDGE:
                text, line = _extend(text, line, "...", inner, indent)
                line += separator
            text, line = _extend(text, line, next(words), inner, indent)
            if i + 1 < count:
                line += separator
        text += line
    else:
        between = separator.rstrip() + "\n" * (len(shape) - 1)
        for i in range(count):
            if cut and i == EDGE:
                text += indent + "..." + between
            text += indent + _layout(values[i], words, shape[1:], summary, separator, indent + " ", width - 1)
            if i + 1 < count:
                text += between
    return "[" + text[len(indent) :] + "]"


def _body(a, separator, prefix, suffix):
    summary = a.size > THRESHOLD
    values = _values(a, summary)
    words = _words(a.dtype, _flat(values, a.ndim))
    words = iter(words if a.ndim else [words[0].strip()])
    return _layout(values, words, a.shape, summary, separator, " " * (len(prefix) + 1), WIDTH - len(suffix))


def _scalar(dtype, v):
    if dtype.kind == "c" and dtype.name == "complex64":
        return str(complex(_scalar_float("float32", v.real), _scalar_float("float32", v.imag)))
    return str(_scalar_float(dtype.name, v) if dtype.kind == "f" else v)


def _scalar_float(kind, v):
    return -float(_shortest(kind, -v)) if v < 0 else float(_shortest(kind, v)) if v - v == 0 else v


def array_str(a):
    if a.ndim == 0:
        return _scalar(a.dtype, a.item())
    return _body(a, " ", "", "") if a.size or a.shape == (0,) else "[]"


def array_repr(a):
    text = "array(" + (_body(a, ", ", "array(", ")") if a.size or a.shape == (0,) else "[]")
    extras = []
    if (a.size == 0 and a.shape != (0,)) or a.size > THRESHOLD:
        extras.append("shape=%s" % (a.shape,))
    if a.size == 0 or a.dtype.name not in ("bool", "int64", "float64", "complex128"):
        extras.append("dtype=" + a.dtype.name)
    if a.device not in ("native:0", ""):
        extras.append("device='%s'" % a.device)
    if not extras:
        return text + ")"
    text, extra = text + ",", ", ".join(extras) + ")"
    last = len(text) - (text.rfind("\n") + 1)
    return text + ("\n" + " " * len("array(") if last + len(extra) + 1 > WIDTH else " ") + extra
