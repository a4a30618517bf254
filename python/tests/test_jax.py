# SPDX-License-Identifier: MIT
"""DLPack with JAX, whose arrays are never written into: shared memory, dtypes, ownership in each order of deletion, refusals.
Skipped without JAX."""
import gc
import itertools
import os
import time

import numpy as np
import pytest
from conftest import check, rss

import chx

os.environ.setdefault("JAX_PLATFORMS", "cpu")
jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")

DTYPES = ["bool", "int8", "int16", "int32", "uint8", "uint16", "uint32", "float16", "bfloat16", "float32", "complex64"]


def address(x):
    return x.unsafe_buffer_pointer() if isinstance(x, jax.Array) else np.asarray(x).__array_interface__["data"][0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_both_ways(dtype):
    for shape in [(3, 4), (), (0, 2), (2, 1, 3)]:
        n = np.arange(int(np.prod(shape))).reshape(shape) % 2
        a = chx.array(n.astype(dtype)) if dtype != "bfloat16" else chx.array(n).astype(dtype)
        j = jax.dlpack.from_dlpack(a)
        assert str(j.dtype) == dtype and j.shape == shape and j.tolist() == a.tolist()
        b = chx.from_dlpack(j)
        assert b.dtype == dtype and b.shape == shape and b.tolist() == a.tolist() and b.device == "native:0"


def test_memory_is_shared():
    a = chx.ones((64, 64), dtype="float32")  # memory that is aligned as JAX wants it
    j = jax.dlpack.from_dlpack(a)
    assert address(j) == address(a)
    a[0, 0] = 5
    assert j[0, 0] == 5
    k = jnp.arange(6.0).reshape(2, 3)
    b = chx.from_dlpack(k)
    assert address(b) == address(k)
    check(b, np.arange(6, dtype="float32").reshape(2, 3))
    c = chx.from_dlpack(k, copy=True)
    c[0, 0] = 9
    assert k[0, 0] == 0


@pytest.mark.parametrize("kinds", ["cj", "jc", "cjc", "jcj"])
def test_ownership_in_each_order_of_deletion(kinds, used):
    before = used()
    for order in itertools.permutations(range(len(kinds))):
        views = [jnp.arange(100.0) if kinds[0] == "j" else chx.arange(100, dtype="float32")]
        for kind in kinds[1:]:
            views.append(jax.dlpack.from_dlpack(views[-1]) if kind == "j" else chx.from_dlpack(views[-1]))
        for k in order:
            assert all(float(v[7]) == 7 for v in views if v is not None)
            views[k] = None
        end = time.monotonic() + 30
        while chx.memory_stats("native:0")["used"] != before:  # JAX's threads let go a little later, at a collection
            assert time.monotonic() < end
            gc.collect(0)


def test_many_round_trips_leave_nothing(used):
    a, j = chx.ones(1000, dtype="float32"), jnp.ones(1000)

    def trips(n):
        for _ in range(n):
            chx.from_dlpack(jax.dlpack.from_dlpack(a))
            jax.dlpack.from_dlpack(chx.from_dlpack(j))

    trips(500)
    before, bytes_before, objects = used(), rss(), len(gc.get_objects())
    trips(10000)
    time.sleep(0.1)
    assert used() == before and len(gc.get_objects()) <= objects + 10
    assert rss() - bytes_before < 8 << 20


def test_gradients():
    a = chx.ones(3, dtype="float32").require_grad()
    with pytest.raises(BufferError, match="detach"):
        jax.dlpack.from_dlpack(a)
    assert jax.dlpack.from_dlpack(a.detach()).tolist() == [1, 1, 1]


@pytest.mark.parametrize("device", ["sim:0", "opencl:0"])
def test_other_devices_are_refused(device):
    try:
        a = chx.array([1.0, 2], dtype="float32", device=device)
    except chx.DeviceError as e:
        pytest.skip(str(e))
    with pytest.raises(BufferError, match=device + " has no number in DLPack"):
        jax.dlpack.from_dlpack(a)
    assert jax.dlpack.from_dlpack(a.to("native:0")).tolist() == [1, 2]
