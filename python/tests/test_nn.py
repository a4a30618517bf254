# SPDX-License-Identifier: MIT
"""chx.nn: links against formulas in NumPy, links written in Python, ownership, modes, errors."""
import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
from conftest import check, sample

import chx
from chx import nn

DEVICES = ["native:0", "sim:0"]


def same(got, want, tol=2e-6):
    assert got.shape == want.shape and got.dtype == want.dtype
    np.testing.assert_allclose(chx.to_numpy(got), want, rtol=tol, atol=tol)


class Affine(nn.Link):
    """y = x w + b with w's length from the first input."""

    def __init__(self, b=0.5):
        self.w = nn.Parameter((None,), 2)
        self.b = nn.Parameter((), b)

    def init(self, x):
        self.init_param("w", x.shape[-1:])

    def forward(self, x):
        return x * self.w + self.b


# ---- kinds ---------------------------------------------------------------------------------------------------------------


def test_linear():
    x = sample("float32", (3, 2, 4))
    for link in (nn.Linear(8, 5), nn.Linear(None, 5), nn.Linear(5)):
        y = link(x)
        W, b = np.asarray(link.W), np.asarray(link.b)
        assert W.shape == (5, 8) and (b == 0).all()
        same(y, x.reshape(3, 8) @ W.T + b)
    link = nn.Linear(4, 2, nobias=True, initialW=np.arange(8.0).reshape(2, 4), n_batch_axes=2, dtype="float64")
    same(link(x.astype("float64")), x.astype("float64") @ np.arange(8.0).reshape(2, 4).T)
    assert [p.name for p in link.params()] == ["W"]
    same(nn.Linear(8, 2, initialW=1, initial_bias=3)(x), np.repeat(x.reshape(3, 8).sum(1, keepdims=True) + np.float32(3), 2, 1), 1e-5)


def conv2d(x, w, b, stride, pad):
    x = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    r = w.shape[2]
    n = (x.shape[2] - r) // stride + 1
    y = np.zeros((x.shape[0], w.shape[0], n, n))
    for i in range(n):
        for j in range(n):
            patch = x[:, :, i * stride:i * stride + r, j * stride:j * stride + r]
            y[:, :, i, j] = np.tensordot(patch, w, [[1, 2, 3], [1, 2, 3]]) + b
    return y


def test_convolution():
    x = sample("float32", (2, 3, 6, 6))
    assert nn.Conv is nn.Convolution
    for args in ((3, 4, 3), (None, 4, (3, 3))):
        link = nn.Convolution(*args, stride=2, pad=1, initial_bias=0.25)
        same(link(x), conv2d(x, np.asarray(link.W), 0.25, 2, 1).astype("float32"), 1e-5)
    chx.seed(3)
    first = nn.Convolution(3, 4, 3)
    chx.seed(3)
    last = nn.Convolution(None, 4, 3, channels_last=True)
    last(np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    np.testing.assert_array_equal(np.asarray(first.W).transpose(0, 2, 3, 1), np.asarray(last.W))
    assert nn.Convolution(4, 8, 3, groups=2, ndim=1).W.shape == (8, 2, 3)
    assert nn.Convolution(1, 2, (1, 2, 3)).W.shape == (2, 1, 1, 2, 3)


def test_pools_and_shapes():
    x = sample("float32", (2, 3, 4, 4))
    windows = x.reshape(2, 3, 2, 2, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(2, 3, 2, 2, 4)
    same(nn.MaxPool(2)(x), windows.max(-1))
    same(nn.AveragePool(2)(x), windows.mean(-1))
    assert nn.MaxPool(3, stride=2, cover_all=True)(x).shape == (2, 3, 2, 2)
    assert nn.MaxPool((2,), ndim=1)(x[0]).shape == (3, 4, 2)
    same(nn.Flatten()(x), x.reshape(2, 48))
    same(nn.Reshape((6, 8))(nn.Flatten()(x)), x.reshape(2, 6, 8))
    same(nn.Function("relu")(x), np.maximum(x, 0))
    same(nn.Function(lambda v: v * 2, name="twice")(x), x * 2)
    inp = nn.Input()
    inp.fit_input(x)
    same(inp(x), (x - x.mean()) / x.std(), 1e-5)


def test_batch_normalization():
    x = sample("float32", (8, 3, 2, 2))
    bn = nn.BatchNormalization(decay=0.5, eps=1e-3)
    assert bn.gamma is None and bn.avg_mean is None and not bn.is_initialized
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))

    def normal(m, v):
        return (x - m[:, None, None]) / np.sqrt(v[:, None, None] + np.float32(1e-3))

    same(bn(x), normal(mean, var), 1e-5)
    unbiased = var * 32 / 31
    same(bn.avg_mean, 0.5 * mean, 1e-5)
    same(bn.avg_var, np.float32(0.5) + np.float32(0.5) * unbiased, 1e-5)
    with nn.using_test(bn):
        assert not bn.training
        same(bn(x), normal(0.5 * mean, 0.5 + 0.5 * unbiased), 1e-5)
    assert bn.training
    bn.start_finetuning()
    bn(x)
    assert int(bn.N) == 1
    same(bn.avg_mean, mean, 1e-5)
    assert [p.name for p in bn.persistents()] == ["avg_mean", "avg_var", "N"]


def test_dropout_and_modes():
    chx.seed(0)
    x = np.ones(1000, "float32")
    seq = nn.Sequential(nn.Dropout(0.25), nn.Sequential(nn.Dropout(0.5)))
    y = np.asarray(seq[0](x))
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)} and 650 < (y > 0).sum() < 850
    seq[1].test()
    with nn.using_test(seq):
        assert not any(link.training for link in seq.links())
        same(seq(x), x)
    assert [link.training for link in seq.links()] == [True, True, False, False]
    assert seq.train() is seq and seq[1][0].training and not seq.train(False).training and seq.train(True).training


def test_models():
    chx.seed(0)
    model = nn.mlp((20, 10))
    assert [type(link).__name__ for link in model] == ["Input", "Linear", "Function", "Linear"]
    assert model(np.ones((2, 8), "float32")).shape == (2, 10) and model.l1.W.shape == (20, 8)
    assert model.count_params() == 20 * 8 + 20 + 200 + 10
    cnn = nn.cnn((1, 8, 8), 10)
    assert cnn(np.ones((2, 64), "float32")).shape == (2, 10)
    assert nn.model("mlp", (1, 8, 8), 10)(np.ones((1, 64), "float32")).shape == (1, 10)
    assert repr(nn.Sequential(nn.Linear(2, 3), chx.relu)) == "Sequential\n  0: Linear(W [3, 2], b [3])\n  1: Function relu"


# ---- initializers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make, std", [
    (nn.Normal(0.3), 0.3), (nn.Uniform(0.6), 0.6 / 3**0.5), (nn.LeCunNormal(), (1 / 100) ** 0.5), (nn.HeNormal(2), 2 * (2 / 100) ** 0.5),
    (nn.GlorotUniform(), (2 / 300) ** 0.5)])
def test_initializers(make, std):
    chx.seed(1)
    v = np.asarray(nn.Linear(100, 200, initialW=make).W)
    assert abs(v.mean()) < std / 30 and abs(v.std() / std - 1) < 0.03
    assert make((3, 2), "float64").dtype == "float64" and repr(make).startswith("chx.nn.")


def test_initializers_of_ones_own():
    calls = []

    def mine(shape, dtype):
        calls.append((shape, dtype))
        return np.arange(6).reshape(shape)

    link = nn.Linear(None, 2, initialW=mine, initial_bias=nn.Constant(7))
    assert not calls
    link(np.ones((1, 3), "float32"))
    assert calls == [((2, 3), chx.float32)]
    check(link.W, np.arange(6, dtype="float32").reshape(2, 3))
    check(link.b, np.full(2, 7, "float32"))
    with pytest.raises(ZeroDivisionError):
        nn.Linear(2, 2, initialW=lambda shape, dtype: 1 / 0)
    with pytest.raises(ValueError, match="want f32"):
        nn.Linear(2, 2, initialW=np.ones(3))
    with pytest.raises(TypeError, match="initializer is of type str"):
        nn.Linear(2, 2, initialW="ones")


# ---- the tree ------------------------------------------------------------------------------------------------------------


def test_attributes():
    class Net(nn.Link):
        def __init__(self):
            self.note = "a"
            self.l1 = nn.Linear(4, 3)
            self.block = nn.Sequential(nn.Linear(3, 3), chx.tanh)
            self.w = nn.Parameter(np.arange(3.0), dtype="float32")
            self.add_persistent("seen", 0.0)

        def forward(self, x):
            return self.block(self.l1(x)) * self.w

    net = Net()
    assert net.note == "a" and net.l1 is net.l1 and net.l1.name == "l1" and net.l1.path == "/l1" and net.path == "/"
    assert net.w is net.w and net.find("w").array is net.w and net["block/0"] is net.block[0] and net["/block/0/W"].array is net.block[0].W
    assert [n for n, _ in net.namedparams()] == ["/w", "/l1/W", "/l1/b", "/block/0/W", "/block/0/b"]
    assert [n for n, _ in net.namedlinks()] == ["/", "/l1", "/block", "/block/0", "/block/1"] and net.links(skipself=True)[0] is net.l1
    assert [n for n, _ in net.namedpersistents()] == ["/seen"] and net.children() == [net.l1, net.block] == list(net)
    assert bool(nn.Flatten()) and len(net) == 2 and net.kind == "Net" and net[-1] is net.block
    p = net["w"]
    assert (p.name, p.path, p.link, p.shape, p.dtype, p.update, p.is_persistent) == ("w", "/w", net, (3,), "float32", True, False)
    assert p == net["w"] and len({p, net["w"]}) == 1 and p != net["l1/W"] and "/w" in repr(p)
    before = net.w
    net.w = [1, 2, 3]
    assert net.w is before and before.tolist() == [1, 2, 3]
    p.array = 5
    net.seen = 2
    assert before.tolist() == [5, 5, 5] and float(net.seen) == 2
    p.update = False
    assert not net["w"].update
    net(np.ones((2, 4), "float32")).sum().backward()
    assert p.grad.shape == (3,) and net["l1/W"].grad is not None and net.w.grad is not None
    p.grad = None
    assert net.w.grad is None
    net["l1/W"].cleargrad()
    assert net.l1.W.grad is None
    net.note = "b"
    del net.note
    assert not hasattr(net, "note") and {"l1", "w", "seen", "forward", "params"} <= set(dir(net))


def test_lazy_parameters():
    x = sample("float32", (2, 5))
    for net in (Affine(), nn.Sequential(Affine())):
        link = net if isinstance(net, Affine) else net[0]
        assert link.w is None and link["w"].shape is None and not net.is_initialized and net.count_params() == 1
        same(net(x) if net is link else net(chx.array(x)), x * 2 + np.float32(0.5))
        assert net.is_initialized and link.w.shape == (5,)
    class Never(Affine):
        def init(self, x):
            pass

    with pytest.raises(ValueError, match="parameter w has no shape, want one from"):
        Never()(x)
    with pytest.raises(ValueError, match="link /0 .Never.: parameter w has no shape"):
        nn.Sequential(Never())(x)
    with pytest.raises(ValueError, match="parameter w: shape is"):
        Affine().init_param("w", (2, 3))
    with pytest.raises(ValueError, match="no shape yet"):
        Affine().w = 3


def test_children_made_in_forward():
    class Late(nn.Link):
        def forward(self, x):
            if not hasattr(self, "l0"):
                for i in range(20):
                    self.add_link("l%d" % i, nn.Linear(x.shape[1], x.shape[1]))
            for link in self:
                x = link(x)
            return x

    x = sample("float32", (4, 3))
    net = nn.Sequential(Late(), nn.Dropout(0.5))
    net[1].test()
    with chx.no_backprop():
        assert nn.predict(net, x).shape == (4,)
    assert len(net[0]) == 20 and net[0].training and net[0].l19.training and not net[1].training
    o = nn.Linear(2, 2, initialW=lambda shape, dtype: chx.ones(shape, dtype))
    with pytest.raises(ValueError, match="declared a value of the same link"):
        o.v = nn.Parameter((2,), lambda shape, dtype: (setattr(o, "u", nn.Parameter((2,), 1)), chx.ones(shape, dtype))[1])
    assert o.u.tolist() == [1, 1] and not hasattr(o, "v")


def test_links_in_python_and_in_c_nest():
    class Two(nn.Link):
        def __init__(self):
            self.inner = nn.Sequential(Affine(), chx.tanh)

        def forward(self, x):
            return self.inner(x) + x

    x = sample("float32", (3, 4))
    want = np.tanh(x * 2 + np.float32(0.5)) + x
    for net in (Two(), nn.Sequential(Two()), nn.Sequential(nn.Sequential(Two()), nn.Function(lambda v: v))):
        same(net(chx.array(x)), want)

    class Pair(nn.Link):
        def __init__(self):
            self.a = nn.Linear(4, 4)

        def forward(self, x, t, *, scale=1):
            return self.a(x) * scale, t

    y, t = Pair()(chx.array(x), "t", scale=2)
    assert y.shape == (3, 4) and t == "t"


def test_same_array_through_a_function():
    x = chx.array([1.0, 2])
    assert nn.Sequential(nn.Function(lambda v: v))(x).tolist() == [1, 2]
    held = chx.array([3.0])
    assert nn.Function(lambda v: held)(x).tolist() == [3] and held.tolist() == [3]


@pytest.mark.parametrize("device", DEVICES)
def test_devices(device):
    x = sample("float32", (2, 3))
    with chx.using_device(device):
        net = nn.Sequential(nn.Linear(3, 3, initialW=np.eye(3), initial_bias=1), Affine())
        y = net(chx.array(x))
        assert y.device == net[0].W.device == net[1].w.device == device
        same(y, (x + 1) * 2 + np.float32(0.5))
    y.sum().backward()
    other = DEVICES[1 - DEVICES.index(device)]
    old = net[0].W
    assert net.to(other) is net and net[0].W is not old and net[0].W.device == other and old.device == device
    assert net[0].W.grad.device == other
    with chx.using_device(other):
        same(net(chx.array(x)), (x + 1) * 2 + np.float32(0.5))
    with pytest.raises(chx.DeviceError, match="nosuch"):
        net.to("nosuch:0")
    assert net[0].W.device == other


def test_modes_hold_on_both_sides():
    seen = []

    class See(nn.Link):
        def forward(self, x):
            y = x * 2
            seen.append((y.is_backprop_required(), chx.get_default_device()))
            with chx.no_backprop():
                seen.append(nn.Linear(2, 2)(y).is_backprop_required())
            return y

    net = nn.Sequential(See())
    x = chx.array([[1.0, 2]], dtype="float32").require_grad()
    assert net(x).is_backprop_required() and seen == [(True, "native:0"), False]
    with chx.no_backprop():
        assert not net(x).is_backprop_required() and not nn.Linear(2, 2)(x).is_backprop_required()
    assert nn.Linear(2, 2)(x).is_backprop_required()
    del seen[:]
    nn.predict(net, x)
    assert seen[0][0] is False and net(x).is_backprop_required()  # predict records nothing, in Python, too
    with chx.using_device("sim:0"):
        net(x.to("sim:0"))
        assert seen[-2][1] == "sim:0" and nn.Linear(2, 2).W.device == "sim:0"
    chx.seed(5)
    a = nn.Linear(3, 3).W
    chx.seed(5)
    b = nn.LeCunNormal()((3, 3))
    assert a.tolist() == b.tolist() and nn.Linear(3, 3).W.tolist() != a.tolist()


def test_fallback_policy_holds():
    code = """
import chx
from chx import nn
with chx.using_device("sim:0"):
    link, x = nn.Linear(2, 2), chx.ones((1, 2), dtype="float32")
    print(link(x).shape)
    with chx.fallback("deny"):
        try:
            link(x)
        except NotImplementedError as e:
            print("link / (Linear)" in str(e) and "sim:0" in str(e))
    print(link(x).shape)
"""
    env = dict(os.environ, CHX_ROUTE="linear=staged")
    assert subprocess.check_output([sys.executable, "-c", code], env=env, universal_newlines=True).split("\n") == ["(1, 2)", "True", "(1, 2)", ""]


# ---- gradients and copies ------------------------------------------------------------------------------------------------


def test_gradients_and_copies():
    a, b = nn.Linear(3, 2), nn.Linear(3, 2)
    b.copyparams(a)
    assert b.W.tolist() == a.W.tolist() and b.W is not a.W
    x = chx.ones((4, 3), dtype="float32")
    for link in (a, b):
        link(x).sum().backward()
    g = np.asarray(a.W.grad)
    a.addgrads(b)
    same(a.W.grad, 2 * g)
    a.zerograds()
    assert a.W.grad.tolist() == [[0] * 3] * 2
    a.cleargrads()
    assert a.W.grad is None and b.W.grad is not None
    bn, cn = nn.BatchNormalization(3), nn.BatchNormalization(3)
    cn(sample("float32", (4, 3)))
    bn.copyparams(cn)
    assert bn.avg_mean.tolist() == [0, 0, 0]
    bn.copyparams(cn, persistent=True)
    assert bn.avg_mean.tolist() == cn.avg_mean.tolist() != [0, 0, 0]
    with pytest.raises(ValueError, match="not in the other link|shape"):
        a.copyparams(cn)
    with pytest.raises(TypeError, match="want a link"):
        a.addgrads(3)


def test_deepcopy(used):
    class Net(nn.Link):
        def __init__(self):
            self.lazy = Affine()
            self.l1 = nn.Linear(3, 3, initialW=lambda shape, dtype: chx.ones(shape, dtype))
            self.seq = nn.Sequential(nn.Convolution(None, 2, 1, channels_last=True), nn.BatchNormalization(channels_last=True), chx.tanh)
            self.alias = [self.l1, self, {"w": 1}]
            self.add_persistent("n", chx.array([1, 2]))

        def forward(self, x):
            return self.l1(self.lazy(x))

    before = used()
    x = sample("float32", (2, 3))
    a = Net()
    early = copy.deepcopy(a)
    y = a(x)
    assert early.lazy.w is None and early(x).tolist() == y.tolist() and early.lazy.w is not a.lazy.w
    a["l1/W"].update = False
    y.sum().backward()
    chx.seed(1)
    b = copy.deepcopy(a.test())
    drawn = nn.Normal()((2,)).tolist()
    chx.seed(1)
    assert nn.Normal()((2,)).tolist() == drawn  # copying draws nothing
    assert type(b) is Net and b.alias[0] is b.l1 and b.alias[1] is b and b.alias[2] is not a.alias[2] and not b.training
    assert [n for n, _ in b.namedparams()] == [n for n, _ in a.namedparams()] and not b["l1/W"].update and repr(b) == repr(a)
    assert b(x).tolist() == y.tolist() and b.l1.W is not a.l1.W and b.l1.W.grad is None and b.n.tolist() == [1, 2]
    a.l1.W = 0
    assert b(x).tolist() == y.tolist() != a(x).tolist()
    seq = nn.Sequential(b)
    with pytest.raises(ValueError, match="/0/l1 .Linear."):
        b.l1(chx.ones((1, 4), dtype="float32"))
    part = copy.deepcopy(a.seq)
    del a
    assert part.path == "/" and part(chx.ones((1, 2, 2, 3), dtype="float32")).shape == (1, 2, 2, 2)
    pair = copy.deepcopy((b.l1, b.alias[0]))
    assert pair[0] is pair[1]
    model = nn.cnn((1, 8, 8), 10)
    again = copy.deepcopy(model)
    assert again.test()(np.ones((1, 64), "float32")).shape == (1, 10) and repr(again).count("\n") == repr(model).count("\n")
    del b, y, early, seq, part, pair, model, again
    assert used() == before


# ---- ownership -----------------------------------------------------------------------------------------------------------


def tree():
    return nn.Sequential(nn.Sequential(nn.Linear(3, 2), Affine()), nn.Linear(2, 2))


def test_any_order_of_deletion():
    for order in [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2), (2, 0, 3, 1)]:
        root = tree()
        held = [root, root[0], root[0][0], root[0][1]]
        held += [root["0/0/W"]]
        del root
        for i in order:
            held[i] = None
            assert held[4].array.shape == (2, 3)
    left = tree()[0][0]  # its parents are gone
    assert left.path == "/" and left(chx.ones((1, 3), dtype="float32")).shape == (1, 2)
    root = tree()
    root.append(left)
    assert left.path == "/2"


def test_ends_with_its_last_reference(used):
    gc.collect()
    gc.disable()
    try:
        before = used_now()
        net = nn.Sequential(nn.Linear(100, 100), Affine())
        net(chx.ones((1, 100), dtype="float32"))
        ref = weakref.ref(net[1])
        assert used_now() > before
        del net
        assert ref() is None and used_now() == before
    finally:
        gc.enable()


def used_now():
    return chx.memory_stats("native:0")["used"]


def test_circles_are_collected(used):
    class Circle(nn.Link):
        def __init__(self):
            self.w = nn.Parameter((50, 50), lambda shape, dtype: (self, chx.ones(shape, dtype))[1])
            self.me = [self]
            self.f = nn.Function(lambda x: x + self.w)
            self.w.add_hook(lambda g: g * len(self.me))

        def forward(self, x):
            return self.f(x)

    before = used()
    refs = []
    for _ in range(3):
        net = nn.Sequential(Circle())
        net(chx.ones((50, 50), dtype="float32")).sum().backward()
        assert float(net[0].w.grad.sum()) == 2500
        refs.append(weakref.ref(net[0]))
    del net
    assert used() == before and all(r() is None for r in refs)


def test_children_are_taken_away_and_replaced():
    class Net(nn.Link):
        def __init__(self):
            self.body = nn.Linear(3, 4)
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.body(x))

    net = Net()
    old = net.head
    net.head = nn.Linear(4, 7)
    assert net(chx.ones((1, 3), dtype="float32")).shape == (1, 7) and old.path == "/" and net.head.path == "/head"
    net.head = net.head
    del net.head
    assert not hasattr(net, "head") and [c.name for c in net] == ["body"]
    net.head = old
    assert net.head is old
    with pytest.raises(ValueError, match="already /head of another"):
        net.body = old
    assert net.body.path == "/body"
    with pytest.raises(ValueError, match="inside itself"):
        nn.Sequential(net)[0].body = net
    root = nn.Sequential()
    with pytest.raises(ValueError, match="inside itself"):
        root.append(root)
    assert net.add_link("more", nn.Flatten()) is net.more


def test_objects_stay_constant():
    net = nn.Sequential(nn.Linear(4, 4), Affine(), chx.tanh)
    x = chx.ones((2, 4), dtype="float32")

    def step():
        net(x).sum().backward()
        net.cleargrads()
        [p.array for p in net.params()]
        nn.predict(net, x)
        with pytest.raises(ValueError):
            net(chx.ones((2, 3), dtype="float32"))

    def count():
        gc.collect()
        return len(gc.get_objects()), used_now()

    for _ in range(10):
        step()
    before = count()
    for _ in range(50):
        step()
    after = count()
    assert abs(after[0] - before[0]) <= 5 and after[1] == before[1]


def test_threads():
    net = nn.Sequential(nn.Linear(8, 8), chx.tanh, nn.Linear(8, 3)).test()
    x = sample("float32", (5, 8))
    want, got, errors = net(x).tolist(), [], []

    def work(device):
        try:
            with chx.using_device(device):
                own = nn.Linear(2, 2)
                assert own.W.device == device
            for _ in range(20):
                got.append(net(x).tolist())
        except BaseException as e:  # a thread's failure is the test's
            errors.append(e)

    threads = [threading.Thread(target=work, args=(d,)) for d in DEVICES * 2]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors and len(got) == 80 and all(g == want for g in got)


# ---- errors --------------------------------------------------------------------------------------------------------------


def test_exceptions_come_out_as_themselves():
    class Mine(Exception):
        pass

    class Bad(nn.Link):
        def __init__(self, what):
            self.what = what

        def forward(self, x):
            return self.what(x)

    def raises(x):
        raise Mine("here")

    x = chx.ones((1, 2), dtype="float32")
    for wrap in (lambda link: link, nn.Sequential, lambda link: nn.Sequential(nn.Sequential(link))):
        with pytest.raises(Mine, match="^here$") as e:
            wrap(Bad(raises))(x)
        assert e.traceback[-1].name == "raises"
        with pytest.raises(ValueError, match="matmul"):
            wrap(Bad(lambda v: v @ chx.ones((3, 3), dtype="float32")))(x)
        assert wrap(nn.Linear(2, 2))(x).shape == (1, 2)  # and all goes on
    with pytest.raises(TypeError, match="forward gave an object of type str, want an array"):
        nn.Sequential(Bad(lambda v: "text"))(x)
    with pytest.raises(Mine):
        nn.predict(Bad(raises), x)
    with pytest.raises(ValueError, match=r"link /1/0 \(Linear\): linear: shapes of x and w are"):
        nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(3, 2)))(x)
    with pytest.raises(RecursionError):
        loop = Bad(lambda v: nn.Function(loop)(v))
        loop(x)


@pytest.mark.parametrize("make, kind, message", [
    (lambda: nn.Linear(), TypeError, "in_size"),
    (lambda: nn.Linear("3", 2), TypeError, "in_size is of type str"),
    (lambda: nn.Linear(3, -1), ValueError, "want in >= 0, out >= 1"),
    (lambda: nn.Linear(3, 2, dtype="int64"), TypeError, "floating"),
    (lambda: nn.Linear(3, 2, colour=1), TypeError, "colour"),
    (lambda: nn.Convolution(3, 4, 3, ndim=4), ValueError, "ndim is 4"),
    (lambda: nn.Convolution(3, 4, 3, stride=(1, 2, 3)), ValueError, "stride has 3 values, want 2"),
    (lambda: nn.Convolution(3, 4, 3, groups=2), ValueError, "groups"),
    (lambda: nn.BatchNormalization(-1), ValueError, "size"),
    (lambda: nn.Dropout(1.5), ValueError, "ratio"),
    (lambda: nn.MaxPool(()), ValueError, "ksize"),
    (lambda: nn.MaxPool(2, exclude_pad=True), TypeError, "averages"),
    (lambda: nn.Flatten(1), TypeError, "no arguments"),
    (lambda: nn.Reshape((-2,)), ValueError, "length"),
    (lambda: nn.Function(3), TypeError, "cannot be called"),
    (lambda: nn.Function("nosuch"), AttributeError, "nosuch"),
    (lambda: nn.Sequential(3), TypeError, "cannot be called"),
    (lambda: nn.Sequential(a=1), TypeError, "links alone"),
    (lambda: nn.mlp(()), ValueError, "chx_nn_mlp"),
    (lambda: nn.cnn((8, 8), 10), ValueError, "want .C, H, W."),
    (lambda: nn.model("rnn", (1, 8, 8), 10), ValueError, "rnn"),
    (lambda: nn.Parameter(), TypeError, "no shape"),
    (lambda: nn.Parameter((-3,)), ValueError, "-3"),
    (lambda: nn.Parameter((2,)).array, ValueError, "no link yet"),
    (lambda: nn.Normal(std="a"), TypeError, None),
    (lambda: nn.Constant(), TypeError, "value"),
    (lambda: nn.Link()(1), NotImplementedError, "forward"),
    (lambda: nn.Linear(2, 2)(1, 2), TypeError, "takes one array"),
    (lambda: nn.Linear(2, 2)("x"), TypeError, "x is of type str"),
    (lambda: nn.Linear(2, 2).find("b/c"), KeyError, "b/c"),
    (lambda: nn.Linear(2, 2)[0], IndexError, "child 0 of 0"),
    (lambda: nn.Linear(2, 2).to(3), TypeError, "device"),
    (lambda: setattr(nn.Linear(2, 2), "W", np.ones(3)), ValueError, r"shape \(3,\), want \(2, 2\)"),
    (lambda: setattr(nn.Linear(2, 2), "W", nn.Flatten()), AttributeError, "is a parameter"),
    (lambda: delattr(nn.Linear(2, 2), "W"), AttributeError, "cannot be taken away"),
    (lambda: setattr(nn.Link(), "params", nn.Flatten()), AttributeError, "attribute of class"),
    (lambda: setattr(nn.Sequential(nn.Flatten()), "0", 3), TypeError, "is a child"),
    (lambda: nn.Link().add_link("a/b", nn.Flatten()), ValueError, "has a '/'"),
    (lambda: nn.Link().add_link("a", 3), TypeError, "want a link"),
    (lambda: nn.Linear(2, 2).add_persistent("W", 1), ValueError, "already 'W'"),
    (lambda: nn.Linear.__new__(nn.Linear).params(), RuntimeError, "was not made"),
    (lambda: nn.Linear(2, 2).__init__(2, 2), RuntimeError, "before"),
    (lambda: copy.copy(Affine()), TypeError, "deepcopy"),
    (lambda: pickle.dumps(nn.Linear(2, 2)), TypeError, "save_npz"),
])
def test_bad_arguments(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_a_parameter_is_declared_once():
    net = nn.Link()
    p = nn.Parameter((2,), 1)
    net.w = p
    assert p.array is net.w and p.link is net
    with pytest.raises(ValueError, match="'w' of another link"):
        nn.Link().v = p
    with pytest.raises(ValueError, match="already a value 'w'"):
        net.w = nn.Parameter((2,))


def test_classes_derived_from_kinds():
    class Block(nn.Sequential):
        def __init__(self, n):
            super().__init__(nn.Linear(n), chx.tanh)
            self.last = nn.Linear(2)
            self.note = n

    net = nn.Sequential(Block(3))
    x = sample("float32", (2, 4))
    y = net(x)
    h = np.tanh(x @ np.asarray(net[0][0].W).T)
    same(y, h @ np.asarray(net[0].last.W).T, 1e-5)
    assert repr(net) == "Sequential\n  0: Block\n    0: Linear(W [3, 4], b [3])\n    1: Function tanh\n    last: Linear(W [2, 3], b [2])"

    class Mine(nn.Linear):
        def forward(self, x):
            return x

    with pytest.raises(TypeError, match="class Mine derives from chx.nn.Linear and has a forward, want chx.nn.Link"):
        Mine(2)
    with pytest.raises(RuntimeError, match="was not made"):
        type("Other", (nn.Linear,), {"__init__": lambda self: None})().params()


# ---- files ---------------------------------------------------------------------------------------------------------------


def test_files(tmp_path):
    a = nn.Sequential(Affine(3), nn.BatchNormalization())
    a(sample("float32", (4, 5)))
    nn.save_npz(tmp_path / "a.npz", a)
    with np.load(tmp_path / "a.npz") as z:
        assert sorted(z.files) == ["0/b", "0/w", "1/N", "1/avg_mean", "1/avg_var", "1/beta", "1/gamma"]
        assert (z["0/w"] == 2).all() and (z["1/avg_mean"] == np.asarray(a[1].avg_mean)).all()
    b = nn.Sequential(Affine(0), nn.BatchNormalization())
    kept = b[0].b
    nn.load_npz(str(tmp_path / "a.npz"), b)
    assert b[0].b is kept and float(kept) == 3 and b[0].w.shape == (5,)
    x = sample("float32", (2, 5), seed=3)
    assert b.test()(x).tolist() == a.test()(x).tolist()
    with pytest.raises(ValueError, match="0/W is missing"):
        nn.load_npz(tmp_path / "a.npz", nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(OSError, match="nothing"):
        nn.load_npz(tmp_path / "nothing.npz", b)
    with pytest.raises(ValueError, match="no shape"):
        nn.save_npz(tmp_path / "c.npz", nn.Linear(3))
    with pytest.raises(TypeError, match="want a link"):
        nn.save_npz(tmp_path / "c.npz", 3)
    assert not (tmp_path / "c.npz").exists()
