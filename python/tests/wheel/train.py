# SPDX-License-Identifier: MIT
"""train.py DIGITS.csv.gz: trains an MLP 64-32-10 by operators and gradients alone, with nothing but the standard library and chx; the
accuracy on the held-out fifth is printed, and below 0.9 it fails.
"""
import csv
import gzip
import random
import sys

import chx


def read(path):
    """Images as lists of 64 numbers 0 to 1, and labels, shuffled."""
    with gzip.open(path, "rt", newline="") as f:
        rows = [[float(v) for v in row] for row in csv.reader(f)]
    random.Random(0).shuffle(rows)
    return chx.array([[v / 16 for v in row[:-1]] for row in rows], dtype="float32"), chx.array([int(row[-1]) for row in rows])


def layer(generator, n_in, n_out):
    bound = (6 / (n_in + n_out)) ** 0.5
    w = [[generator.uniform(-bound, bound) for _ in range(n_in)] for _ in range(n_out)]
    return [chx.array(w, dtype="float32").require_grad(), chx.zeros(n_out, dtype="float32").require_grad()]


def forward(parameters, x):
    w1, b1, w2, b2 = parameters
    return chx.linear(chx.relu(chx.linear(x, w1, b1)), w2, b2)


def step(parameters, x, t, rate):
    for p in parameters:
        p.cleargrad()
    loss = chx.softmax_cross_entropy(forward(parameters, x), t)
    loss.backward()
    with chx.no_backprop():
        for p in parameters:
            p -= rate * p.grad
    return loss


def main(path):
    x, t = read(path)
    generator = random.Random(1)
    parameters = layer(generator, 64, 32) + layer(generator, 32, 10)
    n_train = x.shape[0] * 4 // 5
    order = list(range(n_train))
    for _ in range(20):
        generator.shuffle(order)
        for at in range(0, n_train, 32):
            rows = chx.array(order[at:at + 32])
            loss = step(parameters, chx.take(x, rows, 0), chx.take(t, rows, 0), 0.2)
    with chx.no_backprop():
        right = chx.equal(chx.argmax(forward(parameters, x[n_train:]), axis=1), t[n_train:])
        accuracy = chx.mean(right, dtype="float64").item()
    print("loss %.4f, accuracy %.4f" % (loss.item(), accuracy))
    assert "numpy" not in sys.modules, "NumPy was imported"
    assert accuracy >= 0.9, "the accuracy is %g, want 0.9" % accuracy


if __name__ == "__main__":
    main(sys.argv[1])
