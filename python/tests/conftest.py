# SPDX-License-Identifier: MIT
"""Shared by the tests of the Python package."""
import gc
import signal
import os

import numpy as np
import pytest

import chx

# Who starts the tests in the background may have SIGINT ignored; tests of Ctrl-C, and the processes that they start, want it as in a terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

FLOATS = ["float16", "float32", "float64"]
SIGNED = ["int8", "int16", "int32", "int64"]
UNSIGNED = ["uint8", "uint16", "uint32", "uint64"]
INTS = SIGNED + UNSIGNED
REAL = ["bool"] + INTS + FLOATS


def check(got, want, ulps=4):
    """got, of chx, has want's shape, dtype and (nearly) its values."""
    want = np.asarray(want)
    assert isinstance(got, chx.ndarray)
    assert got.shape == want.shape
    assert got.dtype == want.dtype, (got.dtype, want.dtype)
    got = np.asarray(got)
    if want.dtype.kind == "f":
        eps = np.finfo(want.dtype).eps * ulps
        np.testing.assert_allclose(got.astype("float64"), want.astype("float64"), rtol=eps, atol=eps)
    else:
        np.testing.assert_array_equal(got, want)


def sample(dtype, shape, seed=0, low=-4, high=4):
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if kind == "u":
        return rng.integers(max(low, 0), high + 1, shape).astype(dtype)
    if kind == "i":
        return rng.integers(low, high + 1, shape).astype(dtype)
    return rng.uniform(low, high, shape).astype(dtype)


def rss():
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def used():
    """A function: bytes in use on native:0, once garbage is collected."""

    def bytes_used():
        gc.collect()
        return chx.memory_stats("native:0")["used"]

    return bytes_used
