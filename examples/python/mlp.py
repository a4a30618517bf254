#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Trains an MLP, written as a class, on the digits: a loop of one's own over chx.nn and chx.optim.

    python3 examples/python/mlp.py --epochs 20 --device native:0
"""
import argparse
import os

import chx
from chx import nn, optim

DIGITS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "data", "digits.csv.gz")


class MLP(nn.Link):
    def __init__(self, units, classes):
        self.input = nn.Input()
        self.l1 = nn.Linear(units)  # the input's size is known from the first batch
        self.l2 = nn.Linear(units)
        self.l3 = nn.Linear(classes)

    def forward(self, x):
        h = chx.relu(self.l1(self.input(x)))
        h = chx.relu(self.l2(h))
        return self.l3(h)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--data", default=DIGITS)
    p.add_argument("--epochs", type=int, default=20)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--units", type=int, default=100)
    p.add_argument("--device", default="native:0")
    p.add_argument("--out", help="write the parameters to this .npz file")
    a = p.parse_args()

    chx.seed(0)
    data = nn.load_data(a.data)
    train, test = data.split(0.2)
    with chx.using_device(a.device):
        model = MLP(a.units, data.classes)
        model.fit_input(train.x)
        optimizer = optim.Adam(1e-3).setup(model)
        optimizer.add_hook(optim.WeightDecay(1e-4))
        for epoch in range(1, a.epochs + 1):
            total = chx.zeros((), "float32")
            for x, t in train.batches(a.batch, seed=epoch):
                loss = optimizer.update(lambda: chx.softmax_cross_entropy(model(x), t))
                total += loss * len(t)  # stays on the device: nothing waits
            test_loss, accuracy = nn.evaluate(model, test)
            print("epoch %d  loss %.4f  test loss %.4f  test accuracy %.4f" % (epoch, total.item() / len(train), test_loss, accuracy))
    if a.out:
        nn.save_npz(a.out, model)


if __name__ == "__main__":
    main()
