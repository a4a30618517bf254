#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Trains a CNN on the digits with chx.nn's Trainer: progress, checkpoint, log, curve. Ctrl-C writes a checkpoint; --resume goes on.

    python3 examples/python/cnn.py --epochs 20 --device native:0
"""
import argparse
import os

import chx
from chx import nn, optim

DIGITS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "data", "digits.csv.gz")


def network(shape, classes):
    def block(channels):
        return nn.Sequential(nn.Convolution(None, channels, 3, pad=1, nobias=True), nn.BatchNormalization(), chx.relu)

    return nn.Sequential(nn.Input(), nn.Reshape(shape), block(16), block(32), nn.MaxPool(2), nn.Flatten(), nn.Linear(64), chx.relu,
                         nn.Dropout(0.25), nn.Linear(classes))


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--data", default=DIGITS)
    p.add_argument("--epochs", type=int, default=20)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--device", default="native:0")
    p.add_argument("--out", default="chx-out")
    p.add_argument("--resume", help="go on from this checkpoint")
    a = p.parse_args()

    chx.seed(0)
    os.makedirs(a.out, exist_ok=True)
    data = nn.load_data(a.data)
    train, test = data.split(0.2)
    with chx.using_device(a.device):
        model = network(data.image_shape, data.classes)
        model.fit_input(train.x)
        model(train.x[:1].to(a.device))  # gives every parameter its shape
        print(model)
        print("%d parameters" % model.count_params())
        trainer = nn.Trainer(model, optim.Adam().setup(model), train, test, epochs=a.epochs, batch=a.batch, progress=True,
                             checkpoint=os.path.join(a.out, "checkpoint.npz"), log=os.path.join(a.out, "log.csv"),
                             curve=os.path.join(a.out, "curve.svg"))
        if a.resume:
            trainer.resume(a.resume)
        history = trainer.run()
    if history:
        print("test accuracy %.4f" % history[-1]["test_accuracy"])
    nn.save_npz(os.path.join(a.out, "model.npz"), model)


if __name__ == "__main__":
    main()
