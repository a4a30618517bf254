# SPDX-License-Identifier: MIT
"""A typed program that uses the package: mypy --strict finds nothing in it, and it runs."""
from typing import Any, List, Optional, Tuple

import chx
from chx import nn, optim, random


def loss_of(x: chx.ndarray, w: chx.ndarray, b: Optional[chx.ndarray], t: chx.ndarray) -> chx.ndarray:
    return chx.softmax_cross_entropy(chx.linear(chx.relu(x), w, b), t, ignore_label=-1)


def largest(x: chx.ndarray, k: int) -> Tuple[chx.ndarray, chx.ndarray]:
    values, indices = chx.topk(x, k, axis=-1)
    return values, indices


def hook(gradient: chx.ndarray) -> Optional[chx.ndarray]:
    return gradient * 2


class Scale(nn.Link):
    def __init__(self) -> None:
        self.w: Any = nn.Parameter((None,), initializer=1)  # an array, where it is read

    def init(self, x: chx.ndarray) -> None:
        self.init_param("w", x.shape[1:])

    def forward(self, x: chx.ndarray) -> chx.ndarray:
        y: chx.ndarray = x * self.w
        return y


class Square(chx.Function):
    def forward(self, x: chx.ndarray) -> chx.ndarray:
        self.retain(x)
        return x * x

    def backward(self, gy: chx.ndarray) -> chx.ndarray:
        (x,) = self.retained
        return chx.multiply(2 * x, gy)


def network() -> chx.ndarray:
    model = nn.Sequential(nn.Linear(3), nn.Function("relu"), Scale())
    optimizer = optim.Adam(alpha=1e-3).setup(model)
    x = random.normal(size=(2, 4), dtype="float32")
    loss = optimizer.update(lambda v: chx.sum(model(v)), x)
    assert loss is not None
    return chx.abs(Square().apply(x))


def main() -> List[float]:
    x = chx.array([[1.0, 2.0], [3.0, 4.0]], dtype="float32")
    w = chx.ones((3, 2), dtype=chx.float32).require_grad()
    handle: int = w.add_hook(hook)
    loss = loss_of(x, w, None, chx.array([0, 2]))
    loss.backward()
    w.remove_hook(handle)
    gradient = w.grad
    assert gradient is not None
    with chx.no_backprop(), chx.using_device("native:0"):
        w -= 0.1 * gradient
        scaled: chx.ndarray = 2 ** x / 3 - chx.asarray([1, 2])
    values, indices = largest(scaled, 1)
    rows: Tuple[int, ...] = values.shape
    inside: chx.ndarray = (x > 1) & (x <= 3.5)
    total = x.sum(axis=(0, 1), keepdims=True).max(axis=0) + x.T @ x
    pooled: Tuple[chx.ndarray, chx.ndarray] = chx.max_pool(chx.zeros((1, 1, 4, 4)), (2, 2), stride=2)
    seconds = chx.grad([loss_of(x, w, None, chx.array([0, 2]))], [w], create_graph=True)
    names: List[str] = [d["device"] for d in chx.devices()]
    numbers = [len(rows), int(indices[0]), float(total[0, 0]), len(seconds), len(names), pooled[0].size, inside.itemsize, network().ndim]
    return [float(n) for n in numbers] + [chx.subtract(x, 1.5).reshape(-1).astype(float).item() if x.size == 1 else chx.inf]


if __name__ == "__main__":
    print(main())
