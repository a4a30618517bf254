# SPDX-License-Identifier: MIT
"""What the documentation says is there and runs: of each operator, of functions, classes and methods, and of the README."""
import doctest
import inspect
import os
import pkgutil
import importlib

import pytest

import chx
from chx import _examples

HERE = os.path.dirname(os.path.abspath(__file__))
README = os.path.join(HERE, os.pardir, "README.md")
OPERATORS = {n: f for n, f in vars(chx).items() if type(f).__name__ == "operator" and f.__name__ == n}


def modules():
    yield chx
    for found in pkgutil.walk_packages(chx.__path__, "chx."):
        if not found.name.rpartition(".")[2].startswith("_"):
            yield importlib.import_module(found.name)


def members(x):
    """The public members of a module or class; what is loaded at its first use is."""
    for name in sorted(dir(x) if inspect.ismodule(x) else vars(x)):
        if not name.startswith("_"):
            getattr(x, name)
            yield name, vars(x).get(name, getattr(x, name))


def documented():
    """Every public object of the package that has a text, by the first name it is found under."""
    seen = {}
    for module in modules():
        seen.setdefault(id(module), (module.__name__, module))
        for name, x in members(module):
            if inspect.ismodule(x) or not callable(x) or (getattr(x, "__module__", None) or "chx").split(".")[0] != "chx":
                continue
            seen.setdefault(id(x), (module.__name__ + "." + name, x))
            for inner, y in members(x) if inspect.isclass(x) else ():
                if callable(y) or hasattr(y, "__get__"):
                    seen.setdefault(id(y), ("%s.%s.%s" % (module.__name__, name, inner), y))
    return dict(seen.values())


DOCUMENTED = documented()


def run(name, text):
    test = doctest.DocTestParser().get_doctest(text, {"chx": chx, "__name__": "example"}, name, None, 0)
    said = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert not result.failed, "".join(said)
    return result.attempted


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_operator(name):
    f = OPERATORS[name]
    assert name in _examples.EXAMPLES, "an example of %s is wanted in chx/_examples.py" % name
    for heading in ("Parameters", "Returns", "Shapes", "Dtypes", "Raises", "Example"):
        assert "\n\n%s" % heading in f.__doc__, "%s of %s" % (heading, name)
    for parameter in inspect.signature(f).parameters:
        assert "  %s: " % parameter in f.__doc__
    assert run(name, f.__doc__) > 0


def test_tables_name_operators():
    assert set(_examples.EXAMPLES) == set(OPERATORS)
    assert set(_examples.SHAPES) <= set(OPERATORS)


@pytest.mark.parametrize("name", sorted(n for n in DOCUMENTED if n.rpartition(".")[2] not in OPERATORS))
def test_documented(name, monkeypatch):
    monkeypatch.chdir(os.path.join(HERE, os.pardir, os.pardir, "data"))
    x = DOCUMENTED[name]
    assert x.__doc__, "%s has no documentation" % name
    run(name, x.__doc__)


def test_functions_have_examples():
    """Each function of chx and method of ndarray; those of chx.nn, chx.optim and chx.random are shown by their modules' texts."""
    lacking = [n for n, x in DOCUMENTED.items() if callable(x) and not inspect.isclass(x) and not inspect.ismodule(x) and ">>>" not in x.__doc__
               and n.count(".") == 1 + n.startswith("chx.ndarray.")]
    assert lacking == []


def test_signatures():
    """inspect reads one of every function and method."""
    lacking = []
    for name, x in DOCUMENTED.items():
        if callable(x) and not inspect.isclass(x):
            try:
                inspect.signature(x)
            except (TypeError, ValueError):
                lacking.append(name)
    assert lacking == []


def test_readme():
    with open(README, encoding="utf-8") as f:
        assert run("README.md", f.read().replace("```", "")) > 5


def test_required_attributes_are_named():
    x = chx.ones((1, 1, 4, 4))
    for f, given, lacking in ((chx.max_pool, (), "ksize"), (chx.cast, (), "dtype"), (chx.cast, (None,), "dtype"), (chx.reshape, (), "shape"),
                              (chx.broadcast_to, (), "shape"), (chx.avg_pool_grad, (2,), "shape"), (chx.slice_grad, (), "shape"),
                              (chx.conv_grad_input, (x,), "shape"), (chx.conv_grad_weight, (x,), "shape")):
        with pytest.raises(TypeError, match=r"^%s\(\) lacks attribute '%s'" % (f.__name__, lacking)):
            f(x, *given)
    assert chx.reshape(chx.ones(1), ()).shape == ()


def test_inner_operators_are_not_offered():
    for name in ("reduce", "scan", "map", "to_device", "random_bits", "uniform"):
        assert name not in OPERATORS
    assert not {"seed", "counter"} & set(inspect.signature(chx.dropout).parameters)
