#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""gpu_torch.py: bench/gpu's cases with PyTorch, beside bench/gpu's figures.

    bench/gpu cuda:0 >chx.tsv
    build/bench/venv/bin/python bench/gpu_torch.py chx.tsv [--device cuda:0] [--rounds 15]

Each row of the file is done again with torch: the same lengths and dtype, operands already on the device, samples that are
loops of 5 ms and end with a wait. Printed is a table in Markdown: both medians with their spreads (the middle half of the samples,
in percent of the median), torch's time over chx's (above 1: chx is faster), and what chx reaches. f32 products
are IEEE f32 on both sides unless --tf32 is given, which chx is then to be run with as well. The networks are torch.nn's own, trained
by SGD in its fused form; neither side captures a graph.
"""
import argparse
import statistics
import sys
import time

import torch
import torch.nn.functional as F

DTYPES = {"f32": torch.float32, "f16": torch.float16}


class Case:
    """Operands of one row, and the call that is timed."""

    def __init__(self, name, dtype, shape, device):
        self.name, self.shape, self.device = name, shape, device
        self.dtype = DTYPES[dtype]
        self.x = None if name.endswith("_step") else self.numbers(*shape)
        self.call = getattr(self, name)()

    def numbers(self, *shape):
        return torch.rand(*shape, device=self.device).mul_(0.5).add_(0.5).to(self.dtype)

    def indices(self):
        return torch.randint(0, self.shape[0], (self.shape[0],), device=self.device)

    def pair(self, fn):
        y = self.numbers(*self.shape)
        return lambda: fn(self.x, y)

    def launch(self):
        return self.pair(torch.add)

    round_trip = add = launch

    def add_row(self):
        y = self.numbers(self.shape[1])
        return lambda: self.x + y

    def exp(self):
        return lambda: torch.exp(self.x)

    def transpose(self):
        return lambda: self.x.t().contiguous()

    def cast(self):
        to = torch.float16 if self.dtype == torch.float32 else torch.float32
        return lambda: self.x.to(to)

    def sum(self):
        return lambda: torch.sum(self.x)

    def sum_rows(self):
        return lambda: torch.sum(self.x, 1)

    def sum_columns(self):
        return lambda: torch.sum(self.x, 0)

    def softmax(self):
        return lambda: torch.softmax(self.x, 1)

    def cumsum(self):
        return lambda: torch.cumsum(self.x, 1)

    def sort(self):
        return lambda: torch.sort(self.x, 1, stable=True)

    def take(self):
        i = self.indices()
        return lambda: torch.index_select(self.x, 0, i)

    def scatter_add(self):
        i = self.indices()
        return lambda: torch.index_add(self.x, 0, i, self.x)

    def uniform(self):
        return lambda: torch.rand(*self.shape, device=self.device, dtype=self.dtype)

    def max_pool(self):
        return lambda: F.max_pool2d(self.x, 2)

    def conv(self):
        w = self.numbers(16, 8, 3, 3)
        return lambda: F.conv2d(self.x, w, padding=1)

    def matmul(self):
        return self.pair(torch.matmul)

    def step(self, model):
        batch, rest = self.shape[0], self.shape[1:]
        x = torch.rand(batch, *rest, device=self.device)
        t = torch.randint(0, 10, (batch,), device=self.device)
        model = model.to(self.device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, fused=self.device.startswith("cuda"))

        def one():
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(model(x), t).backward()
            optimizer.step()

        return one

    def mlp_step(self):
        n = self.shape[1] * self.shape[2] * self.shape[3]
        linear, relu = torch.nn.Linear, torch.nn.ReLU
        return self.step(torch.nn.Sequential(torch.nn.Flatten(), linear(n, 100), relu(), linear(100, 100), relu(), linear(100, 10)))

    def cnn_step(self):
        _, c, h, w = self.shape
        nn = torch.nn

        def conv(a, b):
            return nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()

        return self.step(
            nn.Sequential(
                *conv(c, 16), *conv(16, 32), nn.MaxPool2d(2), *conv(32, 32), nn.Flatten(),
                nn.Linear(32 * (h // 2) * (w // 2), 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 10),
            )
        )


def wait(device):
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def sample(case, calls, each):
    t0 = time.perf_counter()
    for _ in range(calls):
        case.call()
        if each:
            wait(case.device)
    wait(case.device)
    return (time.perf_counter() - t0) / calls * 1e6


def measure(case, rounds):
    each = case.name == "round_trip"
    sample(case, 1, each)
    once = sample(case, 2, each)
    calls = 1 if once > 5000 else int(5000 / once) + 1
    sample(case, calls, each)
    us = sorted(sample(case, calls, each) for _ in range(rounds))
    median = us[rounds // 2]
    return median, 100 * (us[rounds * 3 // 4] - us[rounds // 4]) / median


def reached(us, moved, flops):
    """What chx reaches, of what the case is bound by."""
    if flops:
        return f"{flops / us * 1e-3:.1f} GFLOP/s"
    return f"{moved / us * 1e-3:.2f} GB/s" if moved else ""


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("file", help="what bench/gpu wrote")
    p.add_argument("--device", default="cuda:0")
    p.add_argument("--rounds", type=int, default=15)
    p.add_argument("--tf32", action="store_true", help="products of f32 by TF32, as chx with its switch")
    a = p.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = a.tf32
    torch.backends.cudnn.benchmark = True
    ratios = []
    with open(a.file) as f:
        lines = f.read().splitlines()
    there = torch.cuda.get_device_name(a.device) if a.device.startswith("cuda") else "the CPU"
    print(f"chx on {lines[0][2:]}; torch {torch.__version__} on {a.device}, {there}\n")
    print("| case | dtype | lengths | chx us | spread % | torch us | spread % | torch / chx | chx reaches |")
    print("|---|---|---|---|---|---|---|---|---|")
    for line in lines[1:]:
        name, dtype, lengths, us, spread, moved, flops = line.split("\t")
        case = Case(name, dtype, [int(n) for n in lengths.split("x")], a.device)
        with torch.enable_grad() if name.endswith("_step") else torch.no_grad():
            other, other_spread = measure(case, a.rounds)
        us = float(us)
        ratios.append(other / us)
        print(f"| {name} | {dtype} | {lengths} | {us:.1f} | {spread} | {other:.1f} | {other_spread:.0f} | {other / us:.2f} | "
              f"{reached(us, float(moved), float(flops))} |", flush=True)
    print(f"\nmedian of torch / chx over {len(ratios)} rows: {statistics.median(ratios):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
