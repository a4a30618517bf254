# SPDX-License-Identifier: MIT
"""chx.optim: the update rules of libchx-nn, and hooks on their gradients.

    >>> o = optim.Adam(alpha=1e-3).setup(model)
    >>> o.add_hook(optim.WeightDecay(1e-4))
    >>> loss = o.update(lambda x, t: chx.softmax_cross_entropy(model(x), t), x, t)
    >>> o.lr = 1e-4
"""
import sys as _sys

from chx import _core

_core._fill_optim(_sys.modules[__name__])


class WeightDecay:
    """A hook: g += rate p. Its name is "WeightDecay"."""

    def __init__(self, rate):
        self.rate = rate

    def add_to(self, optimizer):
        optimizer._add_weight_decay(self.rate)


class GradientClipping:
    """A hook: g *= min(1, threshold / norm), norm the L2 norm of all gradients together. Its name is "GradientClipping"."""

    def __init__(self, threshold):
        self.threshold = threshold

    def add_to(self, optimizer):
        optimizer._add_gradient_clipping(self.threshold)
