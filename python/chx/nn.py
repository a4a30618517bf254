# SPDX-License-Identifier: MIT
"""chx.nn: networks over libchx-nn: links, initializers, files, data sets and a training loop.

    >>> import chx
    >>> from chx import nn, optim
    >>> model = nn.Sequential(nn.Linear(100), nn.Function("relu"), nn.Linear(10))
    >>> data = nn.load_data("digits.csv.gz")
    >>> train, test = data.split(0.2)
    >>> log = nn.Trainer(model, optim.Adam().setup(model), train, test, epochs=20, seed=0).run()
    >>> log[-1]["test_accuracy"] > 0.9
    True

A class of one's own derives from Link:

    >>> class Scale(nn.Link):
    ...     def __init__(self):
    ...         self.w = nn.Parameter((None,), initializer=1)   # its length is known from the first input
    ...
    ...     def init(self, x):
    ...         self.init_param("w", x.shape[1:])
    ...
    ...     def forward(self, x):
    ...         return x * self.w
    >>> Scale()(chx.array([[1., 2.]], dtype="float32"))
    array([[1., 2.]], dtype=float32)
"""
import sys as _sys

from chx import _core

_core._fill_nn(_sys.modules[__name__])
Conv = Convolution  # noqa: F821


class using_test:
    """Inside of a `with` the tree is in test mode; then each of its links is in its own mode again."""

    def __init__(self, link):
        self._link = link

    def __enter__(self):
        self._modes = [(link, link.training) for link in self._link.links()]
        return self._link.test()

    def __exit__(self, *error):
        for link, mode in self._modes:  # the root first, so that each has the last word on itself
            link.train(mode)


def _line(link, name):
    kind = type(link).__name__
    if link.kind != kind and kind == "Function":
        kind = "Function %s" % link.kind
    own = [p for p in link.params() + link.persistents() if p.link is link]
    values = ", ".join("%s %s" % (p.name, "?" if p.shape is None else list(p.shape)) for p in own)
    return "%s%s%s" % (name and name + ": ", kind, values and "(%s)" % values)


def _tree(link, name="", indent=""):
    """The repr of a link: a line for each link of the tree."""
    lines = [indent + _line(link, name)]
    lines += [_tree(child, child.name, indent + "  ") for child in link.children()]
    return "\n".join(lines)
