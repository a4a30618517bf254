# SPDX-License-Identifier: MIT
"""Gradients of gradients: Newton's method with the second derivative, and a penalty on the gradient's length as critics are trained
with (Gulrajani et al. 2017).

    python3 double_backward.py [device]
"""
import sys

import chx


def newton(f, x, steps=6):
    """A minimum of f near x, element by element."""
    for _ in range(steps):
        x = x.detach().require_grad()
        (g,) = chx.grad(f(x), x, create_graph=True)
        (h,) = chx.grad(g, x)
        x = x - g / h
    return x.detach()


def critic(x, w1, w2):
    return chx.tanh(x @ w1) @ w2


def penalty(x, w1, w2):
    """(|d critic / d x| - 1)^2, the mean over the rows of x; differentiable by the weights."""
    x = x.detach().require_grad()
    (g,) = chx.grad(critic(x, w1, w2), x, create_graph=True)
    return chx.mean((chx.sqrt(chx.sum(g * g, axis=1) + 1e-12) - 1) ** 2)


def train(device="native:0", steps=200, rate=0.1):
    with chx.using_device(device):
        g = chx.random.RandomState(1)
        x = g.normal(size=(32, 4))
        w1, w2 = g.normal(0, 0.5, (4, 16)).require_grad(), g.normal(0, 0.5, (16, 1)).require_grad()
        losses = []
        for _ in range(steps):
            loss = penalty(x, w1, w2)
            gradients = chx.grad(loss, [w1, w2])  # touches no .grad, so that no circle is made
            with chx.no_backprop():
                for w, gw in zip((w1, w2), gradients):
                    w -= rate * gw
            losses.append(loss.item())
        return losses


def main(device="native:0"):
    with chx.using_device(device):
        x = newton(lambda x: chx.exp(x) - 2 * x, chx.array([0.0, 1.0]))  # the minimum is at log 2
    print("newton", x)
    losses = train(device)
    print("penalty %.4f -> %.4f" % (losses[0], losses[-1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
