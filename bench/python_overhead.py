#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""python_overhead.py: what a call costs from Python where there is next to nothing to compute, beside NumPy, PyTorch and JAX.

    python3 bench/python_overhead.py [--runs 5] [--quick]

Those of NumPy, PyTorch and JAX that can be imported are measured in the same process, interleaved: in each run every case of every
library is timed in turn (the median of 15 samples of about a millisecond), and the table has the median of the runs. One thread.
Prints a table in Markdown and, last, the goals; exits 1 where one is missed.
"""
import argparse
import os
import platform
import statistics
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "CHX_NUM_THREADS"):
    os.environ[name] = "1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import chx  # noqa: E402


def optional(name):
    try:
        return __import__(name)
    except ImportError:
        return None


np, torch, jax = optional("numpy"), optional("torch"), optional("jax")
CHAIN, BATCH = 50, 32
CALLS = ["add", "mul", "tanh", "relu", "matmul 4x4", "sum", "reshape", "slice"]


def calls(x, y, m, tanh, relu):
    """The cases that all libraries write alike."""
    return {"add": lambda: x + y, "mul": lambda: x * y, "tanh": lambda: tanh(x), "relu": lambda: relu(x), "matmul 4x4": lambda: m @ m,
            "sum": lambda: x.sum(), "reshape": lambda: x.reshape(2, 2), "slice": lambda: x[1:3]}


def numbers(n, *shape):
    """Some numbers, without a library: lists of the shape."""
    state = [n]

    def fill(dims):
        if not dims:
            state[0] = (state[0] * 1103515245 + 12345) % 2147483648
            return state[0] / 1073741824 - 1
        return [fill(dims[1:]) for _ in range(dims[0])]

    return fill(shape)


def of_numpy():
    x, y, m = (np.array(numbers(i, *s), "float32") for i, s in enumerate([(4,), (4,), (4, 4)]))
    zero = np.float32(0)
    return calls(x, y, m, np.tanh, lambda x: np.maximum(x, zero))


def of_chx():
    new = lambda n, *s: chx.array(numbers(n, *s), "float32")
    x, y, m = new(0, 4), new(1, 4), new(2, 4, 4)
    cases = calls(x, y, m, chx.tanh, chx.relu)
    leaf, square = new(0, 4).require_grad(), new(2, 4, 4).require_grad()
    cases.update({name + ", recorded": f for name, f in calls(leaf, y, square, chx.tanh, chx.relu).items()})

    def chain():
        h = leaf
        for _ in range(CHAIN):
            h = h + y
        leaf.grad = None
        h.backward()

    params = [(new(3, 32, 64) * 0.1).require_grad(), (new(4, 32) * 0.1).require_grad(), (new(5, 10, 32) * 0.1).require_grad(),
              (new(6, 10) * 0.1).require_grad()]
    data, labels = new(7, BATCH, 64), chx.array([i % 10 for i in range(BATCH)])

    def step():
        h = chx.relu(chx.linear(data, params[0], params[1]))
        chx.softmax_cross_entropy(chx.linear(h, params[2], params[3]), labels).backward()
        with chx.no_backprop():
            for p in params:
                p -= 0.1 * p.grad
                p.grad = None

    return {**cases, "50 adds and backward": chain, "MLP step": step}


def of_torch():
    torch.set_num_threads(1)
    f = torch.nn.functional
    new = lambda n, *s: torch.tensor(numbers(n, *s), dtype=torch.float32)
    x, y, m = new(0, 4), new(1, 4), new(2, 4, 4)
    cases = calls(x, y, m, torch.tanh, torch.relu)
    leaf, square = new(0, 4).requires_grad_(), new(2, 4, 4).requires_grad_()
    cases.update({name + ", recorded": g for name, g in calls(leaf, y, square, torch.tanh, torch.relu).items()})
    ones = torch.ones(4)

    def chain():
        h = leaf
        for _ in range(CHAIN):
            h = h + y
        leaf.grad = None
        h.backward(ones)

    params = [(new(3, 32, 64) * 0.1).requires_grad_(), (new(4, 32) * 0.1).requires_grad_(), (new(5, 10, 32) * 0.1).requires_grad_(),
              (new(6, 10) * 0.1).requires_grad_()]
    data, labels = new(7, BATCH, 64), torch.tensor([i % 10 for i in range(BATCH)])

    def step():
        h = torch.relu(f.linear(data, params[0], params[1]))
        f.cross_entropy(f.linear(h, params[2], params[3]), labels).backward()
        with torch.no_grad():
            for p in params:
                p.sub_(p.grad, alpha=0.1)
                p.grad = None

    return {**cases, "50 adds and backward": chain, "MLP step": step}


def of_jax():
    jnp = jax.numpy
    new = lambda n, *s: jnp.array(numbers(n, *s), "float32")
    x, y, m = new(0, 4), new(1, 4), new(2, 4, 4)
    cases = calls(x, y, m, jnp.tanh, jax.nn.relu)
    data, labels = new(7, BATCH, 64), jnp.array([i % 10 for i in range(BATCH)])
    state = [[new(3, 32, 64) * 0.1, new(4, 32) * 0.1, new(5, 10, 32) * 0.1, new(6, 10) * 0.1]]

    def loss(params):
        h = jax.nn.relu(data @ params[0].T + params[1])
        scores = jax.nn.log_softmax(h @ params[2].T + params[3])
        return -jnp.take_along_axis(scores, labels[:, None], 1).mean()

    jitted = jax.jit(lambda params: [p - 0.1 * g for p, g in zip(params, jax.grad(loss)(params))])

    def step():
        state[0] = jitted(state[0])
        state[0][0].block_until_ready()

    return {**cases, "MLP step": step}


def sample(f, n):
    """The time of one of n calls, after as many that brought what they need into the caches."""
    for _ in range(n):
        f()
    t = time.perf_counter()
    for _ in range(n):
        f()
    return (time.perf_counter() - t) / n


def turns(f):
    """How many calls take about a millisecond, when nothing else disturbs them; at least 8."""
    n = 8
    while n < 1 << 16 and min(sample(f, n) for _ in range(5)) * n < 1e-3:
        n *= 2
    return n


def measure(libraries, runs, samples):
    todo = [(lib, case, f, turns(f)) for lib, cases in libraries.items() for case, f in cases.items()]
    medians = {}
    for _ in range(runs):
        taken = {}
        for _ in range(samples):
            for lib, case, f, n in todo:
                taken.setdefault((lib, case), []).append(sample(f, n))
        for key, values in taken.items():
            medians.setdefault(key, []).append(statistics.median(values))
    return {key: statistics.median(values) for key, values in medians.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="fewer samples, for a look")
    options = parser.parse_args()
    libraries = {"chx": of_chx()}
    for name, module, make in (("NumPy", np, of_numpy), ("PyTorch", torch, of_torch), ("JAX", jax, of_jax)):
        if module:
            libraries[name] = make()
    times = measure(libraries, options.runs, 3 if options.quick else 15)
    versions = ["chx " + chx.__version__] + [m.__name__ + " " + m.__version__ for m in (np, torch, jax) if m]
    print("Python %s, %s; load %.1f\n" % (platform.python_version(), ", ".join(versions), os.getloadavg()[0]))
    print("| us | %s | chx / PyTorch |\n|%s---|" % (" | ".join(libraries), "---|" * (len(libraries) + 1)))
    at = lambda lib, case: times.get((lib, case))
    for case in libraries["chx"]:
        cells = ["%.3f" % (at(lib, case) * 1e6) if at(lib, case) else "" for lib in libraries]
        ratio = "%.2f" % (at("chx", case) / at("PyTorch", case)) if at("PyTorch", case) else ""
        print("| %s | %s | %s |" % (case, " | ".join(cells), ratio))
    goals = [("PyTorch", c, 0.3) for c in CALLS] + [("PyTorch", c + ", recorded", 0.3) for c in CALLS]
    goals += [("NumPy", "add", 1.1), ("PyTorch", "50 adds and backward", 0.25), ("PyTorch", "MLP step", 0.4)]
    missed = ["%s %.2f of %s's, want %.2f" % (c, at("chx", c) / at(lib, c), lib, most)
              for lib, c, most in goals if at(lib, c) and at("chx", c) > most * at(lib, c)]
    judged = sum(1 for lib, c, _ in goals if at(lib, c))
    print("\n%d of %d goals met%s" % (judged - len(missed), judged, "; missed: " + "; ".join(missed) if missed else ""))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
