# SPDX-License-Identifier: MIT
"""chx.optim: the update rules of libchx-nn, and hooks on their gradients.

    >>> import chx
    >>> from chx import nn, optim
    >>> model, x, t = nn.Linear(4, 2), chx.ones((2, 4), "float32"), chx.array([0, 1])
    >>> o = optim.Adam(alpha=1e-3).setup(model)
    >>> o.add_hook(optim.WeightDecay(1e-4))
    >>> loss = o.update(lambda x, t: chx.softmax_cross_entropy(model(x), t), x, t)
    >>> o.lr = 1e-4
    >>> o.lr
    0.0001
"""
import sys as _sys

from chx import _core

_core._fill_optim(_sys.modules[__name__])


class WeightDecay:
    """A hook: g += rate p. Its name is "WeightDecay"."""

    def __init__(self, rate):
        self.rate = rate

    def add_to(self, optimizer):
        """Adds it to an optimizer's hooks, as optimizer.add_hook(self) does."""
        optimizer._add_weight_decay(self.rate)


class GradientClipping:
    """A hook: g *= min(1, threshold / norm), norm the L2 norm of all gradients together. Its name is "GradientClipping"."""

    def __init__(self, threshold):
        self.threshold = threshold

    def add_to(self, optimizer):
        """Adds it to an optimizer's hooks, as optimizer.add_hook(self) does."""
        optimizer._add_gradient_clipping(self.threshold)
