# SPDX-License-Identifier: MIT
"""chx.random: ranges, moments, the same numbers everywhere, generators of their own, and errors."""
import copy
import pickle
import threading

import numpy as np
import pytest
from conftest import FLOATS, INTS

import chx
from chx import random

DEVICES = ["native:0", "ref:0", "sim:0"]
DRAWS = {
    "uniform": lambda g, **k: g.uniform(-2, 3, (5, 7), **k),
    "random_sample": lambda g, **k: g.random_sample(11, **k),
    "rand": lambda g, **k: g.rand(3, 4, **k),
    "normal": lambda g, **k: g.normal(1, 2, (33,), **k),
    "standard_normal": lambda g, **k: g.standard_normal((2, 3), **k),
    "randn": lambda g, **k: g.randn(5, **k),
    "lognormal": lambda g, **k: g.lognormal(0, 0.5, 9, **k),
    "integers": lambda g, **k: g.integers(-5, 90, (4, 4), **k),
    "random_integers": lambda g, **k: g.random_integers(6, size=20, **k),
    "bernoulli": lambda g, **k: g.bernoulli(0.3, 40, **k),
    "binomial": lambda g, **k: g.binomial(8, 0.3, (3, 2), **k),
    "permutation": lambda g, **k: g.permutation(30, **k),
    "choice": lambda g, **k: g.choice(9, (2, 5), **k),
    "choice without replacement": lambda g, **k: g.choice(9, 6, replace=False, **k),
    "choice by p": lambda g, **k: g.choice(4, 12, p=[0.1, 0.2, 0.3, 0.4], **k),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_on_every_device(name):
    results = []
    for device in DEVICES:
        chx.seed(7)
        a = DRAWS[name](random, device=device)
        b = DRAWS[name](random, device=device)
        assert a.device == device and isinstance(a, chx.ndarray)
        results.append((a.to("native:0"), b.to("native:0"), random.get_state()))
        with chx.using_device(device):
            assert DRAWS[name](random).device == device
    first = results[0]
    assert first[0].tolist() != first[1].tolist() or name == "bernoulli"
    for other in results[1:]:
        assert np.asarray(first[0]).shape == np.asarray(other[0]).shape and first[2] == other[2]
        for i in range(2):
            if name in ("normal", "standard_normal", "randn", "lognormal"):  # bits are the same; log, cos and exp are the device's
                np.testing.assert_allclose(np.asarray(first[i]), np.asarray(other[i]), rtol=1e-13, atol=1e-14)
            else:
                np.testing.assert_array_equal(np.asarray(first[i]), np.asarray(other[i]))


@pytest.mark.parametrize("name", DRAWS)
def test_a_generator_of_its_own(name):
    chx.seed(3)
    want = DRAWS[name](random).tolist()
    state = random.get_state()
    g = random.RandomState(3)
    assert DRAWS[name](g).tolist() == want and g.get_state() == state and random.get_state() == state
    again = pickle.loads(pickle.dumps(g))
    twin = copy.copy(g)
    after = DRAWS[name](g).tolist()
    assert DRAWS[name](again).tolist() == after and DRAWS[name](twin).tolist() == after
    g.set_state((3, 0))
    assert DRAWS[name](g).tolist() == want
    g.seed(3)
    assert DRAWS[name](g).tolist() == want
    assert random.get_state() == state


def test_state_and_seed():
    chx.seed(5)
    assert chx.get_random_state() == random.get_state() == (5, 0)
    x = random.uniform(size=3)
    state = chx.get_random_state()
    y = random.uniform(size=3)
    chx.set_random_state(state)
    assert random.uniform(size=3).tolist() == y.tolist() != x.tolist()
    random.seed(5)
    assert random.uniform(size=3).tolist() == x.tolist()
    random.seed()
    a = random.get_state()
    random.seed()
    assert a != random.get_state()
    assert random.default_rng(5).uniform(size=3).tolist() == x.tolist()
    assert random.RandomState().get_state() != random.RandomState().get_state()
    random.seed(2**64 - 1)
    assert random.get_state() == (2**64 - 1, 0)


@pytest.mark.parametrize("dtype", FLOATS + ["bfloat16"])
def test_ranges_of_floats(dtype):
    g = random.RandomState(1)
    x = g.uniform(-1, 2, 20000, dtype)
    assert x.dtype == dtype
    v = np.asarray(x.astype("float64"))
    assert v.min() >= -1 and v.max() < 2 and abs(v.mean() - 0.5) < 0.03 and abs(v.var() - 0.75) < 0.03
    v = np.asarray(g.normal(3, 0.5, 20000, dtype).astype("float64"))
    assert abs(v.mean() - 3) < 0.02 and abs(v.std() - 0.5) < 0.02 and abs(((v - 3) ** 3).mean()) < 0.02
    assert g.rand(2, dtype=dtype).dtype == g.randn(2, dtype=dtype).dtype == g.lognormal(size=2, dtype=dtype).dtype == dtype


@pytest.mark.parametrize("dtype", INTS)
def test_ranges_of_integers(dtype):
    g = random.RandomState(1)
    low = 0 if dtype.startswith("u") else -3
    x = g.integers(low, 5, 4000, dtype)
    assert x.dtype == dtype
    counts = np.bincount(np.asarray(x).astype("int64") - low, minlength=5 - low)
    assert len(counts) == 5 - low and (abs(counts - 4000 / len(counts)) < 120).all()


def test_moments():
    g = random.RandomState(4)
    v = np.asarray(g.bernoulli(0.2, 20000))
    assert v.dtype == "int64" and set(v) == {0, 1} and abs(v.mean() - 0.2) < 0.01
    assert g.bernoulli(0.5, 4, "bool").dtype == "bool" and g.bernoulli(0.5, 4, "float32").dtype == "float32"
    v = np.asarray(g.binomial(10, 0.3, 20000))
    assert v.dtype == "int64" and abs(v.mean() - 3) < 0.05 and abs(v.var() - 2.1) < 0.1 and v.max() <= 10
    assert g.binomial(0, 0.3, 3).tolist() == [0, 0, 0]
    v = np.asarray(g.lognormal(0.5, 0.25, 20000))
    assert abs(np.log(v).mean() - 0.5) < 0.01
    v = np.asarray(g.random_integers(6, size=20000))
    assert v.min() == 1 and v.max() == 6 and abs(v.mean() - 3.5) < 0.05
    assert set(g.random_integers(-1, 1, 100).tolist()) == {-1, 0, 1}
    v = np.asarray(g.choice(4, 20000, p=[0.5, 0, 0.25, 0.25]))
    assert (abs(np.bincount(v, minlength=4) / 20000 - [0.5, 0, 0.25, 0.25]) < 0.02).all()


def test_sizes():
    for draw in (random.uniform, random.normal, random.standard_normal, random.random, random.lognormal, random.bernoulli):
        assert draw().shape == () and draw(size=4).shape == (4,) and draw(size=(2, 0)).shape == (2, 0) and draw(size=[2, 3]).shape == (2, 3)
    assert random.rand().shape == () and random.randn(2, 3).shape == (2, 3)
    assert random.randint(5).shape == () and 0 <= random.randint(5).item() < 5 and random.randint(5, size=3).dtype == "int64"
    assert random.choice(5).shape == () and random.choice(5, (2, 3)).shape == (2, 3) and random.binomial(3, 0.5).shape == ()
    assert random.uniform(1, 1, 2).tolist() == [1, 1] and random.uniform().dtype == "float64"


def test_order():
    g = random.RandomState(2)
    p = g.permutation(100)
    assert p.dtype == "int64" and sorted(p.tolist()) == list(range(100)) != p.tolist()
    assert g.permutation(0).shape == (0,)
    x = chx.arange(24).reshape(12, 2)
    y = g.permutation(x)
    assert x.tolist() == [[2 * i, 2 * i + 1] for i in range(12)] and sorted(y.tolist()) == x.tolist() != y.tolist()
    for device in DEVICES:
        x = chx.arange(12, dtype="float32", device=device)
        view = x[::-2]
        assert g.shuffle(view) is None
        assert x[::2].tolist() == list(range(0, 12, 2)) and sorted(view.tolist()) == list(range(1, 12, 2))
    assert sorted(g.permutation(chx.array([3, 1, 2], device="sim:0")).tolist()) == [1, 2, 3]


def test_choice():
    g = random.RandomState(2)
    a = chx.array([10.0, 20, 30])
    assert set(g.choice(a, 50).tolist()) == {10, 20, 30}
    assert sorted(g.choice(a, 3, replace=False).tolist()) == [10, 20, 30]
    assert sorted(g.choice(5, (2, 2), replace=False, p=[0.25, 0.25, 0, 0.25, 0.25]).reshape(4).tolist()) == [0, 1, 3, 4]
    v = [g.choice(3, 1, replace=False, p=chx.array([0.7, 0.2, 0.1])).item() for _ in range(400)]
    assert abs(v.count(0) / 400 - 0.7) < 0.1
    assert g.choice(a.to("sim:0"), 2).device == "sim:0" and g.choice(3, 2, p=[1, 0, 0]).tolist() == [0, 0]


@pytest.mark.parametrize("call,kind,words", [
    (lambda: random.uniform(0, float("inf")), ValueError, "finite"),
    (lambda: random.uniform("a"), TypeError, "real number"),
    (lambda: random.uniform(size=-1), ValueError, "lengths"),
    (lambda: random.uniform(size=2.5), TypeError, "size"),
    (lambda: random.uniform(dtype="int32"), TypeError, "i32"),
    (lambda: random.uniform(dtype="nosuch"), TypeError, "nosuch"),
    (lambda: random.uniform(device="nosuch:0"), chx.DeviceError, "nosuch"),
    (lambda: random.normal(0, -1), ValueError, "scale"),
    (lambda: random.lognormal(0, -1), ValueError, "scale"),
    (lambda: random.integers(3, 3), ValueError, "low < high"),
    (lambda: random.integers(0), ValueError, "low < high"),
    (lambda: random.integers(0, 2**60), ValueError, "at most 2.53"),
    (lambda: random.integers(0, 2**70), OverflowError, "too large|too big"),
    (lambda: random.integers(0.5, 3), TypeError, "float|integer"),
    (lambda: random.integers(3, dtype="float32"), TypeError, "f32"),
    (lambda: random.bernoulli(1.5), ValueError, "probability"),
    (lambda: random.binomial(-1, 0.5), ValueError, "want 0 or more"),
    (lambda: random.permutation(-1), ValueError, "permutation"),
    (lambda: random.permutation(2.5), TypeError, "float"),
    (lambda: random.permutation(chx.array(1.0)), ValueError, "0-d"),
    (lambda: random.shuffle([1, 2]), TypeError, "type list"),
    (lambda: random.shuffle(chx.ones(3).require_grad()), ValueError, "active graph"),
    (lambda: random.choice(0, 2), ValueError, "at least one"),
    (lambda: random.choice(chx.ones((2, 2))), ValueError, "2 axes"),
    (lambda: random.choice(3, 4, replace=False), ValueError, "at most 3"),
    (lambda: random.choice(3, 2, replace=False, p=[1, 0, 0]), ValueError, "at most 1"),
    (lambda: random.choice(3, p=[0.5, 0.5]), ValueError, "shape"),
    (lambda: random.choice(2, p=[0.5, 0.6]), ValueError, "add up"),
    (lambda: random.choice(2, p=[1.5, -0.5]), ValueError, "probabilities"),
    (lambda: random.seed(-1), ValueError, "seed is -1"),
    (lambda: random.seed(2**64), ValueError, "want an integer"),
    (lambda: random.seed("a"), TypeError, "str"),
    (lambda: random.set_state(3), TypeError, "get_state"),
    (lambda: random.set_state((1, 2, 3)), TypeError, "get_state"),
    (lambda: random.set_state((1, -1)), ValueError, "counter is -1"),
])
def test_errors(call, kind, words):
    state = random.get_state()
    with pytest.raises(kind, match=words):
        call()
    random.set_state(state)
    assert (chx.ones(2) + 1).tolist() == [2, 2] and chx.get_default_device() == "native:0"


def test_an_error_leaves_a_generator_in_order():
    g = random.RandomState(1)
    with pytest.raises(chx.DeviceError):
        g.uniform(device="nosuch:0")
    with pytest.raises(ValueError):
        g.uniform(0, float("nan"))
    assert 0 <= g.uniform().item() < 1 and chx.get_default_device() == "native:0"


def test_fallback_policy_holds_for_generators():
    g = random.RandomState(1)
    chx.ledger_reset()
    with chx.fallback("deny"):
        g.uniform(size=4)
        try:
            g.uniform(size=4, device="sim:0")
            denied = False
        except NotImplementedError:
            denied = True
    assert denied or not [r for r in chx.ledger() if r["device"] == "sim:0" and r["route"] in ("staged", "mapped")]


def test_threads_have_generators_of_their_own():
    want = random.RandomState(9).normal(size=(100, 10)).tolist()
    results = []

    def work():
        g = random.RandomState(9)
        results.append(g.normal(size=(100, 10)).tolist())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [want] * 4


def test_subclasses_and_no_growth(used):
    class Coin(random.RandomState):
        def toss(self):
            return self.bernoulli(0.5, dtype="bool").item()

    coin = Coin(1)
    coin.name = "mine"
    twin = copy.deepcopy(coin)
    assert type(twin) is Coin and twin.name == "mine" and [twin.toss() for _ in range(30)] == [coin.toss() for _ in range(30)]
    tosses = [coin.toss() for _ in range(200)]
    assert 60 < sum(tosses) < 140
    before = used()
    for _ in range(200):
        coin.normal(size=100)
    assert used() == before
