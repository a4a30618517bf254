#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Moves a model from one device to another in the middle of its training, with its optimizer's state.

    python3 examples/python/devices.py native:0 sim:0
"""
import argparse
import os

import chx
from chx import nn, optim

DIGITS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "data", "digits.csv.gz")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("devices", nargs="*", default=["native:0", "sim:0"], help="such as native:0 cuda:0; see chx.devices()")
    p.add_argument("--epochs", type=int, default=3, help="on each device")
    a = p.parse_args()

    chx.seed(0)
    train, test = nn.load_data(DIGITS).split(0.2)
    model = nn.mlp((100, 10))
    model.fit_input(train.x)
    optimizer = optim.MomentumSGD(0.05).setup(model)
    for device in a.devices:
        model.to(device)  # parameters, gradients and statistics; the optimizer's state follows at its next update
        with chx.using_device(device):
            for x, t in train.batches(32, seed=optimizer.t, epochs=a.epochs):
                loss = optimizer.update(lambda: chx.softmax_cross_entropy(model(x), t))
            _, accuracy = nn.evaluate(model, test)
        print("%-10s %4d steps, loss %.4f on %s, test accuracy %.4f" % (device, optimizer.t, loss.item(), loss.device, accuracy))
    model.to("native:0")
    print("labels", nn.predict(model, test.x[:10]).tolist(), "of", test.t[:10].tolist())


if __name__ == "__main__":
    main()
