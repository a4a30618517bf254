#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""stubs.py [--check]: writes the type stubs of the package, python/chx/*.pyi, from the module that is imported; --check: says whether
those that are there are the same, and fails if not.

What has types that introspection does not tell is in template.pyi. All else that the module has is added: operators with the types that
their documentation, which comes from the table, gives; other functions, classes and methods by their signatures, with their annotations
where they have some, and else by the names of their parameters. A public submodule gets a stub of its own. Of CPython 3.11 or later, which
tell the signatures of all classes of C.
"""
import ast
import importlib
import inspect
import os
import pkgutil
import re
import sys
import types

import chx
from chx import _forms

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = os.path.join(HERE, os.pardir, "chx")
HEAD = "# Written by python/tools/stubs.py.\n"
OPERATOR = type(chx.add)
KINDS = {"array": "_ArrayLike", "sequence of arrays": "Sequence[_ArrayLike]", "int": "_int", "float": "_float", "bool": "_bool",
         "dtype": "_DTypeLike", "int or tuple of ints": "_Ints"}
# Of parameters without an annotation, by their names: of the functions of chx alone.
NAMES = {name: kind for kind, names in {
    "_ArrayLike": "x y a b arr array ary condition indices x1 x2 m v c p q fill_value values element test_elements left right",
    "Sequence[_ArrayLike]": "arrays tup", "_DTypeLike": "dtype", "_str": "device", "_Ints": "shape newshape", "Optional[_Ints]": "axis axes",
    "_bool": "keepdims endpoint equal_nan", "ndarray": "out", "_int": "n k ddof", "_float": "rtol atol start stop step"}.items()
    for name in names.split()}
# What functions without an annotation return, where that is one thing.
RETURNS = {name: kind for kind, names in {
    "ndarray": """append argwhere around asanyarray ascontiguousarray asfortranarray bincount column_stack compress conj conjugate
        cross cumulative_prod cumulative_sum deg2rad degrees diag diagflat diagonal diff digitize dot dstack expand_dims extract eye
        flatnonzero fliplr flipud float_power heaviside hstack identity imag inner isclose isin isneginf isposinf kron ldexp logaddexp2
        logspace matrix_transpose matvec median moveaxis nan_to_num outer positive ptp rad2deg radians ravel real repeat roll rollaxis rot90 round
        searchsorted signbit std swapaxes tensordot tile trace tri tril triu var vdot vecdot vecmat vstack""",
    "_bool": "allclose array_equal array_equiv can_cast iscomplexobj isdtype isrealobj may_share_memory shares_memory",
    "_int": "ndim size", "Tuple[_int, ...]": "broadcast_shapes shape", "Tuple[ndarray, ndarray]": "divmod modf",
    "None": "copyto put putmask sort", "_DType": "result_type"}.items()
    for name in names.split()}
BINARY = "add sub mul truediv floordiv mod matmul and or xor lshift rshift".split()
DUNDERS = {"__%s%s__" % (prefix, name): ("value: _Operand, /", "ndarray") for name in BINARY for prefix in ("", "r", "i")}
DUNDERS.update({"__%s__" % name: ("value: _Operand, /", "ndarray") for name in "lt le gt ge".split()})
# Of other classes: what the special methods of C classes, which have no signatures, return.
SPECIAL = {"__len__": "_int", "__bool__": "_bool", "__int__": "_int", "__contains__": "_bool", "__hash__": "_int", "__setitem__": "None", "__delitem__": "None"}
IMPLIED = {"__doc__", "__module__", "__dict__", "__weakref__", "__repr__", "__str__", "__reduce__", "__reduce_ex__", "__getstate__", "__slots__",
           "__annotations__", "__qualname__", "__firstlineno__", "__static_attributes__",
           "__buffer__", "__release_buffer__", "__getattribute__", "__setattr__", "__delattr__", "__getattr__", "__new__", "__init__", "__eq__", "__ne__"}


def optional(kind, default):
    return "Optional[%s]" % kind if default is None and kind != "Any" else kind


def annotation(given):
    """An annotation as it may stand in the stub; classes of the package by their names, everything else that is not plain as Any."""
    if given is inspect.Parameter.empty:
        return None
    if given is None:
        return "None"
    if isinstance(given, type):
        if given.__module__ == "builtins":
            return "_" + given.__name__ if given in (bool, int, float, complex, str) else given.__name__
        return given.__name__ if given is chx.ndarray else "Any"
    return "Any"


def parameter(p, kind):
    text = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "") + p.name
    if kind:
        text += ": " + kind
    if p.default is p.empty:
        return text
    plain = p.default is None or isinstance(p.default, (bool, int, float, str))
    if isinstance(p.default, float) and (p.default != p.default or p.default in (float("inf"), -float("inf"))):
        plain = False
    return "%s = %s" % (text, repr(p.default) if plain else "...")


def signature(f, kinds, first=None):
    """The parameters in brackets; kinds(parameter) gives the type of one; `first` is the name of the first, which then has no type; "": it is
    the one that it has."""
    texts, star, slash = [], False, False
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        return "(*args: Any, **kwargs: Any)" if first is None else "(%s, *args: Any, **kwargs: Any)" % (first or "self")
    for i, p in enumerate(parameters):
        if slash and p.kind != p.POSITIONAL_ONLY:
            texts.append("/")
        slash = p.kind == p.POSITIONAL_ONLY
        if p.kind == p.KEYWORD_ONLY and not star:
            texts.append("*")
        star |= p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        texts.append(first or p.name if i == 0 and first is not None else parameter(p, kinds(p)))
    return "(%s)" % ", ".join(texts + ["/"] * slash)


def by_name(p):
    kind = annotation(p.annotation) or NAMES.get(p.name, "Any")
    return optional(kind, p.default) if p.default is not p.empty else kind


def operator(name, f, first=None):
    """The definition of an operator: its documentation names the types of its parameters and its outputs."""
    types_of = dict(re.findall(r"^  (\w+): ([a-z ]+?)(?:, optional)?(?:;.*)?$", f.__doc__, re.M))
    outputs = re.search(r"^Returns\n  (.*)$", f.__doc__, re.M).group(1).split(", ")

    def kind(p):
        word = types_of[p.name]
        return optional("ndarray" if p.name == "out" else KINDS[word], p.default) if p.default is not p.empty else KINDS[word]

    result = "ndarray" if len(outputs) == 1 else "Tuple[%s]" % ", ".join(["ndarray"] * len(outputs))
    return "def %s%s -> %s: ..." % (name, signature(f, kind, first), result)


def untyped(p):
    return annotation(p.annotation) or "Any"


def function(name, f, first=None, plain=False):
    """The definition of a function; plain: of a submodule, whose names do not tell types."""
    if type(f) is OPERATOR:
        return operator(name, f, first)
    result = annotation(getattr(f, "__annotations__", {}).get("return", inspect.Parameter.empty))
    result = result or ("Any" if plain else RETURNS.get(name, "Any"))
    return "def %s%s -> %s: ..." % (name, signature(f, untyped if plain else by_name, first), result)


def overloads(name, f, first=None):
    """An operator's definition and, where it has one, that of NumPy's form of it."""
    lines = [operator(name, f, first)]
    form = _forms.FORMS.get(f.__name__)
    if form:
        result = "Any" if f.__name__ == "where" else "ndarray"
        own = next(iter(inspect.signature(form).parameters)) if first else None
        lines.append("def %s%s -> %s: ..." % (name, signature(form, by_name, own), result))
    return lines if len(lines) == 1 else [line for text in lines for line in ("@overload", text)]


def methods(cls, known=(), plain=False):
    """The members of a class that are not in `known`, as lines."""
    lines = []
    for name in sorted(vars(cls)):
        getattr(cls, name, None)  # some are put into the class at their first use
    for name, x in sorted(vars(cls).items()):
        if name in known or name in IMPLIED or (name.startswith("_") and not name.endswith("__")):
            continue
        if name in DUNDERS and not plain and isinstance(x, types.WrapperDescriptorType):
            lines.append("def %s(self, %s) -> %s: ..." % ((name,) + DUNDERS[name]))
        elif isinstance(x, types.WrapperDescriptorType):
            lines.append("def %s%s -> %s: ..." % (name, signature(x, untyped, "self"), SPECIAL.get(name, "Any")))
        elif name.endswith("__") and isinstance(x, types.MethodDescriptorType) and not x.__doc__:  # not every Python tells its signature
            lines.append("def %s(self, *args: Any, **kwargs: Any) -> Any: ..." % name)
        elif isinstance(x, (property, types.GetSetDescriptorType, types.MemberDescriptorType)):
            lines += ["@property", "def %s(self) -> Any: ..." % name]
            if not isinstance(x, property) or x.fset:
                lines += ["@%s.setter" % name, "def %s(self, value: Any) -> None: ..." % name]
        elif isinstance(x, (staticmethod, classmethod)):
            kind = type(x).__name__
            lines += ["@" + kind, function(name, x.__func__, "cls" if kind == "classmethod" else None, plain)]
        elif name == "__hash__" and x is None:
            lines.append("__hash__ = None  # type: ignore[assignment]")
        elif type(x) is OPERATOR:
            lines += overloads(name, x, next(iter(inspect.signature(x).parameters)))
        elif callable(x):
            lines.append(function(name, x, "", plain))
        else:
            lines.append("%s: Any" % name if x is not None else "%s: None" % name)
    return lines


def class_lines(name, cls):
    """A class of Python or C. Private bases of the package are not named: their members are the class's own."""
    bases = [b for b in cls.__bases__ if b is not object and not b.__name__.startswith("_")]
    hidden = [b for b in cls.__mro__[1:] if b.__name__.startswith("_") and b.__module__.split(".")[0] == "chx"]
    open_ended = bool(cls.__flags__ & 1 << 9) or "__dict__" in vars(cls)  # what __init__ or __setattr__ sets is not seen from here
    body, known = [], set()
    own = next((c for c in cls.__mro__ if "__init__" in vars(c) or "__new__" in vars(c)), object)
    if own is not object and (own is cls or own in hidden):
        made = "__init__" if "__init__" in vars(own) else "__new__"
        first, result = ("self", "None") if made == "__init__" else ("cls", "Self")
        body.append("def %s%s -> %s: ..." % (made, ("(%s, " % first + signature(cls, untyped)[1:]).replace(", )", ")"), result))
    for c in [cls] + hidden:
        body += methods(c, known, True)
        known |= set(vars(c))
    if open_ended:
        body += ["def __getattr__(self, name: _str, /) -> Any: ...", "def __setattr__(self, name: _str, value: Any, /) -> None: ..."]
    head = "class %s%s:" % (name, "(%s)" % ", ".join(b.__name__ for b in bases) if bases else "")
    final = [] if cls.__flags__ & 1 << 10 else ["@final"]
    return final + ([head] + ["    " + line for line in body] if body else [head + " ..."])


def module_lines(module, known):
    """What a module has beyond the names known, in the order of the names, bases before the classes that have them; then other names
    for the same."""
    lines, other, named = [], [], {}
    members = {name: getattr(module, name) for name in dir(module) if not name.startswith("_") and name not in known}
    classes = sorted((n for n, x in members.items() if inspect.isclass(x)), key=lambda n: len(members[n].__mro__))
    for name in classes + sorted(set(members) - set(classes)):
        x = members[name]
        home = getattr(x, "__module__", None) or "chx"
        if inspect.ismodule(x):
            if x.__name__ == module.__name__ + "." + name:
                lines.append("from . import %s as %s" % (name, name))
        elif home.split(".")[0] != "chx":
            continue  # imported from elsewhere
        elif module is not chx and callable(x) and getattr(chx, name, None) is x:
            lines.append("from chx import %s as %s" % (name, name))
        elif type(x) is OPERATOR and x.__name__ != name and x.__name__ in dir(module):
            other.append("%s = %s" % (name, x.__name__))
        elif id(x) in named and callable(x) and type(x) is not OPERATOR:
            other.append("%s = %s" % (name, named[id(x)]))
        elif inspect.isclass(x):
            lines += class_lines(name, x)
        elif type(x) is OPERATOR:
            lines += overloads(name, x)
        elif callable(x):
            lines.append(function(name, x, None, module is not chx))
        else:
            kind = "dtype" if type(x) is chx.dtype else "_" + type(x).__name__ if type(x) in (bool, int, float, str) else "Any"
            lines.append("%s: %s" % (name, kind))
        named.setdefault(id(x), name)
    return lines + other


def top():
    """chx/__init__.pyi: the template, to whose ndarray and end the rest is added."""
    with open(os.path.join(HERE, "template.pyi"), encoding="utf-8") as f:
        text = f.read()
    tree = ast.parse(text)
    known, array = set(), None
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            known.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            known.add(node.target.id)
        if isinstance(node, ast.ClassDef) and node.name == "ndarray":
            array = node
    for node in tree.body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)) or node.name.startswith("_"):
            continue
        if not hasattr(chx, node.name):
            raise SystemExit("stubs: template.pyi has %s, which chx has not" % node.name)
    lines = text.split("\n")
    last = next(i for i, line in enumerate(lines) if line.startswith("class ndarray"))
    while last + 1 < len(lines) and (lines[last + 1].startswith("    ") or not lines[last + 1]):
        last += 1
    while not lines[last]:
        last -= 1
    members = {n.name for n in array.body if isinstance(n, ast.FunctionDef)}
    added = ["    " + line for line in methods(chx.ndarray, members)]
    start = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return HEAD + "\n".join(lines[start:last + 1] + added + lines[last + 1:]) + "\n" + "\n".join(module_lines(chx, known)) + "\n"


SUBMODULE = """import builtins as _builtins
from typing import Any, Optional, Sequence, Tuple, Union, final, overload
from typing_extensions import Self
from chx import %s

"""


def submodule(module):
    lines = module_lines(module, ())
    used = "\n".join(lines)
    names = ["ndarray", "dtype"] + sorted(n for n in ("_ArrayLike", "_DTypeLike", "_DType", "_Ints", "_bool", "_int", "_float", "_complex", "_str")
                                          if re.search(r"\b%s\b" % n, used))
    return HEAD + SUBMODULE % ", ".join(n + " as " + n if not n.startswith("_") else n for n in names) + used + "\n"


def stubs():
    """The stubs: a path below python/chx, and a text."""
    yield "__init__.pyi", top()
    for found in pkgutil.walk_packages(chx.__path__, "chx."):
        path = found.name.split(".")[1:]
        if any(part.startswith("_") for part in path):
            continue
        yield os.path.join(*path) + (os.sep + "__init__.pyi" if found.ispkg else ".pyi"), submodule(importlib.import_module(found.name))


def main(arguments):
    if arguments not in ([], ["--check"]):
        sys.exit("usage: stubs.py [--check]")
    stale = []
    for path, text in stubs():
        path = os.path.join(PACKAGE, path)
        old = None
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                old = f.read()
        if old != text and not arguments:
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        elif old != text:
            stale.append(os.path.relpath(path, os.path.join(HERE, os.pardir, os.pardir)))
    if stale:
        sys.exit("%s: not what python/tools/stubs.py writes today" % ", ".join(stale))


if __name__ == "__main__":
    main(sys.argv[1:])
