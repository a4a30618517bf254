# SPDX-License-Identifier: MIT
"""A function of one's own, in two ways: a Python function of chx's operators, whose gradient comes by itself, and a chx.Function with
a backward that is written by hand, here because it is cheaper and does not overflow.

    python3 custom_function.py [device]
"""
import sys

import chx


def softplus_composed(x, beta=1.0):
    """log(1 + exp(beta x)) / beta: nothing more is needed to differentiate it."""
    return chx.log(1 + chx.exp(beta * x)) / beta


class Softplus(chx.Function):
    """The same for large x, too, from one saved value."""

    def __init__(self, beta=1.0):
        self.beta = beta

    def forward(self, x):
        self.retain(x)
        t = self.beta * x
        return (chx.maximum(t, 0) + chx.log1p(chx.exp(-chx.abs(t)))) / self.beta

    def backward(self, gy):
        (x,) = self.retained
        return gy * chx.sigmoid(self.beta * x)  # made of operators: it can be differentiated again


def softplus(x, beta=1.0):
    return Softplus(beta).apply(x)  # an object for each call


def main(device="native:0"):
    with chx.using_device(device):
        x = chx.array([-3.0, -0.5, 0.0, 2.0, 800.0]).require_grad()
    chx.sum(softplus(x, 2.0)).backward()
    print("softplus", softplus(x, 2.0))
    print("gradient", x.grad)
    print("composed", softplus_composed(x, 2.0))  # inf at 800

    small = x.detach()[:4].copy()
    chx.check_grad(lambda x: softplus(x, 2.0), small)
    chx.check_double_grad(lambda x: softplus(x, 2.0), small)
    print("largest difference %.1e" % chx.amax(chx.abs(softplus(small) - softplus_composed(small))).item())


if __name__ == "__main__":
    main(*sys.argv[1:])
