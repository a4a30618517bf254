# SPDX-License-Identifier: MIT
"""chx.optim: update rules against formulas in NumPy, hooks, states, files."""
import gc
import weakref

import numpy as np
import pytest
from conftest import sample

import chx
from chx import nn, optim


class Vector(nn.Link):
    def __init__(self, x):
        self.x = nn.Parameter(np.asarray(x, "float64"), dtype="float64")

    def loss(self, t):
        return ((self.x - t) ** 2).sum() / 2


def sgd(x, g, state, t, lr=0.01):
    return x - lr * g


def momentum(x, g, state, t, lr=0.01, momentum=0.9):
    v = state["v"] = momentum * state.get("v", 0) - lr * g
    return x + v


def adam(x, g, state, t, alpha=0.001, beta1=0.9, beta2=0.999, eps=1e-8, rate=0):
    m = state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * g * g
    return x - alpha * np.sqrt(1 - beta2**t) / (1 - beta1**t) * m / (np.sqrt(v) + eps) - rate * x


def adamw(x, g, state, t, weight_decay_rate=1e-5, **numbers):
    return adam(x, g, state, t, rate=weight_decay_rate, **numbers)


RULES = [(optim.SGD, sgd, {"lr": 0.3}), (optim.MomentumSGD, momentum, {"lr": 0.2, "momentum": 0.5}),
         (optim.Adam, adam, {"alpha": 0.1, "beta1": 0.8, "beta2": 0.9, "eps": 1e-3}), (optim.AdamW, adamw, {"alpha": 0.1, "weight_decay_rate": 0.02})]


@pytest.mark.parametrize("rule, formula, numbers", RULES + [(r, f, {}) for r, f, _ in RULES])
def test_rules(rule, formula, numbers):
    x, target, state = sample("float64", (5,)), sample("float64", (5,), seed=1), {}
    net = Vector(x)
    o = rule(**numbers)
    assert o.setup(net) is o and o.target is net and o.t == o.epoch == 0
    kept = net.x
    for t in range(1, 5):
        want = ((x - target) ** 2).sum() / 2
        if t % 2:
            loss = o.update(net.loss, chx.array(target))
            assert isinstance(loss, chx.ndarray) and not loss.is_backprop_required()
            np.testing.assert_allclose(float(loss), want, rtol=1e-12)
        else:
            net.cleargrads()
            net.loss(chx.array(target)).backward()
            assert o.update() is None
        x = formula(x, x - target, state, t, **numbers)
        np.testing.assert_allclose(np.asarray(net.x), x, rtol=1e-12)
        got = o.state(net["x"])
        assert sorted(got) == sorted(state) and net.x is kept and o.t == t
        for k in got:
            np.testing.assert_allclose(np.asarray(got[k]), state[k], rtol=1e-12)
            assert o.state(net["x"], k).tolist() == got[k].tolist()
    o.new_epoch()
    assert o.epoch == 1 and o.setup(net).t == o.epoch == 0 and o.state(net["x"]) == {}


def test_numbers():
    o = optim.Adam(0.5, beta2=0.9)
    assert (o.alpha, o.lr, o.beta1, o.beta2, o.eps) == (0.5, 0.5, 0.9, 0.9, 1e-8)
    o.lr = 0.25
    o.beta1 = 0.5
    assert repr(o) == "chx.optim.Adam(alpha=0.25, beta1=0.5, beta2=0.9, eps=1e-08)" and o.name == "Adam"
    assert optim.SGD(lr=0).lr == 0 and optim.MomentumSGD().momentum == 0.9 and isinstance(o, optim.Optimizer)


def test_frozen_parameters_and_devices():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net["0/W"].update = False
    before = net[0].W.tolist(), net[1].W.tolist()
    o = optim.MomentumSGD(0.1).setup(net)
    x = chx.ones((3, 2), dtype="float32")
    o.update(lambda: net(x).sum())
    assert net[0].W.tolist() == before[0] and net[1].W.tolist() != before[1] and o.state(net["0/W"]) == {}
    net.to("sim:0")
    with chx.using_device("sim:0"):
        o.update(lambda: net(x.to("sim:0")).sum())
        assert o.update(lambda: net(x.to("sim:0")).sum()).device == "sim:0"
    assert o.state(net["1/W"], "v").device == "sim:0" and o.t == 3


def test_replaced_children():
    net = nn.Link()
    net.head = nn.Linear(2, 3)
    o = optim.MomentumSGD(0.1).setup(net)
    x = chx.ones((1, 2), dtype="float32")
    for n in (3, 3, 4):
        net.head = nn.Linear(2, n)
        assert o.state(net["head/W"]) == {}
        o.update(lambda: net.head(x).sum())
        assert o.state(net["head/W"], "v").shape == (n, 2)


# ---- hooks ---------------------------------------------------------------------------------------------------------------


def test_hooks():
    x, t = np.array([3.0, 4]), chx.array([0.0, 0])
    seen = []

    def double(grads):
        (p, g), = grads
        seen.append((p.path, g.tolist()))
        return [g * 2]

    net = Vector(x)
    o = optim.SGD(0.1).setup(net)
    o.add_hook(optim.WeightDecay(0.5))
    o.add_hook(double)
    o.add_hook(optim.GradientClipping(1.0))
    o.add_hook(lambda grads: None, name="last")
    o.update(net.loss, t)
    assert seen == [("/x", (x * 1.5).tolist())]
    np.testing.assert_allclose(np.asarray(net.x), x - 0.1 * x / 5, rtol=1e-12)
    assert net.x.grad.tolist() == x.tolist()  # the leaf's own stays
    for name in ("WeightDecay", "double", "GradientClipping", "last"):
        o.remove_hook(name)
    x = np.asarray(net.x).copy()
    o.update(net.loss, t)
    np.testing.assert_allclose(np.asarray(net.x), x * 0.9, rtol=1e-12)
    with pytest.raises(ValueError, match="no hook 'double'"):
        o.remove_hook("double")
    o.add_hook(double)
    with pytest.raises(ValueError, match="already a hook 'double'"):
        o.add_hook(double)


@pytest.mark.parametrize("hook, kind, message", [
    (lambda g: 1 / 0, ZeroDivisionError, None), (lambda g: [], ValueError, "gave 0 gradients, want 1"), (lambda g: ["a"], TypeError, "type str"),
    (lambda g: 3, TypeError, "a list of gradients"), (lambda g: [chx.ones(7)], ValueError, "shape of parameter x")])
def test_bad_hooks(hook, kind, message):
    net = Vector([1.0])
    o = optim.SGD().setup(net)
    o.add_hook(hook)
    with pytest.raises(kind, match=message):
        o.update(net.loss, chx.array([0.0]))
    assert net.x.tolist() == [1] and o.t == 0
    o.remove_hook("<lambda>")
    o.update(net.loss, chx.array([0.0]))
    assert o.t == 1


def test_a_hook_may_take_itself_away():
    net = Vector([1.0])
    o = optim.SGD().setup(net)
    o.add_hook(lambda grads: o.remove_hook("once"), name="once")
    for _ in range(2):
        o.update(net.loss, chx.array([0.0]))
    with pytest.raises(ValueError, match="no hook"):
        o.remove_hook("once")


def test_gradient_hooks_run_in_an_update():
    net = Vector([1.0, 2])
    o = optim.SGD(1).setup(net)
    net.x.add_hook(lambda g: g * 0)
    o.update(net.loss, chx.array([0.0, 0]))
    assert net.x.tolist() == [1, 2] and o.t == 1


# ---- errors, ends --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call, kind, message", [
    (lambda: optim.SGD(0.1, 0.2), TypeError, "at most 1"),
    (lambda: optim.SGD(rate=1), TypeError, "no parameter 'rate'"),
    (lambda: optim.Adam(0.1, alpha=0.1), TypeError, "'alpha' twice"),
    (lambda: optim.SGD("a"), TypeError, None),
    (lambda: optim.SGD(float("nan")), ValueError, "finite"),
    (lambda: setattr(optim.SGD(), "momentum", 1), AttributeError, "no number 'momentum'"),
    (lambda: delattr(optim.SGD(), "lr"), AttributeError, "cannot be taken away"),
    (lambda: optim.SGD().momentum, AttributeError, "momentum"),
    (lambda: optim.Optimizer().update(), RuntimeError, "one of chx.optim"),
    (lambda: optim.SGD().update(), ValueError, "no target"),
    (lambda: optim.SGD().update(lambda: 1), ValueError, "no target"),
    (lambda: optim.SGD().setup(3), TypeError, "want a link"),
    (lambda: optim.SGD().setup(Vector([1.0])).update(), ValueError, "no parameter has a gradient"),
    (lambda: optim.SGD().setup(Vector([1.0])).update(3), TypeError, "want a function"),
    (lambda: optim.SGD().setup(Vector([1.0])).update(lambda: 3), TypeError, "gave an object of type int"),
    (lambda: optim.SGD().setup(Vector([1.0])).update(lambda: {}["k"]), KeyError, "k"),
    (lambda: optim.SGD().setup(Vector([1.0])).update(t=1), TypeError, "without a loss function"),
    (lambda: optim.SGD().add_hook(3), TypeError, "hook is of type int"),
    (lambda: optim.SGD().add_hook(optim.WeightDecay(-1)), ValueError, "WeightDecay"),
    (lambda: optim.SGD().state("W"), TypeError, None),
    (lambda: optim.SGD().setup(Vector([1.0])).state(Vector([1.0])["x"], "v"), KeyError, "no state 'v'"),
])
def test_bad_arguments(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_files(tmp_path):
    def trained(steps):
        chx.seed(4)
        net = nn.Sequential(nn.Linear(3, 2))
        o = optim.Adam(0.1).setup(net)
        for _ in range(steps):
            o.update(lambda: (net(chx.ones((1, 3), dtype="float32")) ** 2).sum())
        return net, o

    net, o = trained(3)
    o.new_epoch()
    nn.save_npz(tmp_path / "o.npz", o)
    nn.save_npz(tmp_path / "both.npz", net, optimizer=o)
    with np.load(tmp_path / "o.npz") as z:
        assert {"t", "epoch", "0/W/m", "0/W/v", "0/b/m", "0/b/v"} <= set(z.files) and z["t"] == 3 and z["epoch"] == 1
        assert (z["0/W/m"] == np.asarray(o.state(net["0/W"], "m"))).all()
    again, p = trained(0)
    nn.load_npz(tmp_path / "both.npz", again, optimizer=p)
    for n, q in ((net, o), (again, p)):
        q.update(lambda: (n(chx.ones((1, 3), dtype="float32")) ** 2).sum())
    assert p.t == 4 and p.epoch == 1 and again[0].W.tolist() == net[0].W.tolist()
    alone, p = trained(0)
    nn.load_npz(tmp_path / "o.npz", p)
    assert p.t == 3 and p.state(alone["0/W"], "v").shape == (2, 3)
    nn.load_npz(tmp_path / "both.npz", alone)  # the optimizer's keys are left alone
    with pytest.raises(TypeError, match="want one of chx.optim"):
        nn.save_npz(tmp_path / "x.npz", net, optimizer=3)
    with pytest.raises(ValueError, match="no target"):
        nn.save_npz(tmp_path / "x.npz", optim.SGD())


def test_nothing_stays(used):
    before = used()
    refs = []
    for _ in range(3):
        net = Vector(np.ones(1000))
        o = optim.Adam().setup(net)
        o.add_hook(lambda grads, o=o, net=net: [g for _, g in grads], name="circle")
        o.update(net.loss, chx.zeros(1000))
        refs.append(weakref.ref(net))
    del net, o
    assert used() == before and not any(r() for r in refs)

    net = Vector(np.ones(1000))
    o = optim.Adam().setup(net)
    o.add_hook(lambda grads: [g * 1 for _, g in grads])
    net.x.add_hook(lambda g: g * 1)
    t = chx.zeros(1000)

    def count(steps):
        for _ in range(steps):
            o.update(net.loss, t)
            o.state(net["x"])
        gc.collect()
        return len(gc.get_objects()), used()

    first = count(10)
    last = count(200)
    assert abs(last[0] - first[0]) <= 5 and last[1] == first[1]
    del net  # the optimizer keeps its target
    o.update(o.target.loss, t)
