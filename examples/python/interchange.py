#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Arrays shared with NumPy and PyTorch: one memory under several names, and a gradient that crosses from one library to the other.

    python3 examples/python/interchange.py [--device sim:0]

PyTorch's part is left out where it is not installed.
"""
import argparse

import numpy as np

import chx

try:
    import torch
except ImportError:
    torch = None


def with_numpy():
    """NumPy's arrays are taken as they are, and give their memory; numpy.asarray takes chx's."""
    n = np.zeros((2, 3), dtype="float32")
    x = chx.asarray(n)
    n[0, 0] = 1
    x[1, 2] = 2
    view = np.asarray(x)
    view += 10
    print("one memory, chx's and NumPy's:", x.tolist() == n.tolist() == view.tolist(), float(x.sum()))

    y = np.tanh(x) + n  # NumPy's ufunc is chx's operator here, and an expression is chx's
    print("numpy.tanh of an array of chx is of type", type(y).__name__, "of", type(y).__module__)


def with_a_device(device):
    """An array on another device has no address that NumPy could read: its values are copied when asked for."""
    x = chx.arange(4, dtype="float32").to(device)
    try:
        np.asarray(x)
        print(device, "is the host's memory")
    except TypeError as e:
        print("numpy.asarray:", e)
    print("chx.to_numpy:", chx.to_numpy(x * x).tolist())


def with_pytorch():
    """DLPack: memory goes both ways, gradients by hand."""
    t = torch.linspace(0, 1, 5, requires_grad=True)
    hidden = t * t
    x = chx.from_dlpack(hidden.detach()).copy().require_grad()  # PyTorch has the graph so far, chx from here on
    loss = chx.exp(-x).sum()
    loss.backward()
    hidden.backward(torch.from_dlpack(x.grad))
    alone = torch.linspace(0, 1, 5, requires_grad=True)
    torch.exp(-alone * alone).sum().backward()
    print("a gradient through both is PyTorch's own:", torch.allclose(t.grad, alone.grad))

    w = chx.ones((2, 2))
    torch.from_dlpack(w).mul_(3)  # in place, in chx's memory
    print("what PyTorch wrote:", w.tolist())


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--device", default="sim:0", help="a device beside the host (default: %(default)s)")
    arguments = p.parse_args()
    with_numpy()
    with_a_device(arguments.device)
    if torch:
        with_pytorch()
    else:
        print("PyTorch is not installed")


if __name__ == "__main__":
    main()
