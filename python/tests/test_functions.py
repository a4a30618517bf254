# SPDX-License-Identifier: MIT
"""chx.Function: values, gradients of first and second order, what is retained, errors, and that nothing stays behind; the
gradient checkers."""
import gc
import sys
import threading
import traceback
import weakref

import numpy as np
import pytest

import chx


class Square(chx.Function):
    def forward(self, x):
        self.retain(x)
        return x * x

    def backward(self, gy):
        (x,) = self.retained
        return 2 * x * gy


class Exp(chx.Function):
    def forward(self, x):
        y = chx.exp(x)
        self.retain(y)
        return y

    def backward(self, gy):
        return gy * self.retained[0]


class SumAndProduct(chx.Function):
    def __init__(self, scale):
        self.scale = scale
        self.seen = []

    def forward(self, a, b):
        assert not (a + b).is_grad_required()  # nothing is recorded
        self.retain(a, b)
        return a + b, a * b * self.scale

    def backward(self, gs, gp):
        a, b = self.retained
        self.seen.append((gs is not None, gp is not None, self.needs))
        gs = 0 if gs is None else gs
        gp = chx.zeros_like(a) if gp is None else gp
        return gp * b * self.scale + gs, gp * a * self.scale + gs if self.needs[1] else None


class Middle(chx.Function):
    """tanh(3 x): what is retained is neither input nor output."""

    def forward(self, x):
        self.x = x
        t = chx.tanh(3 * x)
        self.retain(t)
        return t.astype("float64")

    def backward(self, gy):
        (t,) = self.retained
        return gy * (3 - 3 * t * t)


def leaf(values=(1.0, 2.0, 3.0), device=None):
    return chx.array(list(values), device=device).require_grad()


def test_values_and_gradients():
    x = leaf()
    y = Square().apply(x)
    assert isinstance(y, chx.ndarray) and y.tolist() == [1, 4, 9] and y.is_grad_required()
    (y * y).sum().backward()
    assert x.grad.tolist() == [4, 32, 108]
    a, b = leaf(), chx.array([5.0, 6, 7])
    f = SumAndProduct(2)
    s, p = f.apply(a, b)
    (s * p).backward()
    want = 2 * b.tolist()[0] * (2 * 1 + 5)  # d (a+b) 2ab / da = 2b (2a + b)
    assert a.grad.tolist()[0] == want and f.seen == [(True, True, (True, False))]
    f = SumAndProduct(1)
    f.apply(a, b)[1].backward()
    assert f.seen == [(False, True, (True, False))]
    with pytest.raises(AttributeError):
        f.nosuch


@pytest.mark.parametrize("make,n", [(Square, 1), (Exp, 1), (lambda: SumAndProduct(0.5), 2), (Middle, 1)])
def test_checked_against_differences(make, n):
    xs = [chx.array(np.random.default_rng(i).uniform(0.2, 0.9, (2, 3))) for i in range(n)]
    chx.check_grad(lambda *xs: make().apply(*xs), xs)
    if make is not Middle:  # an array in between is no part of the graph
        chx.check_double_grad(lambda *xs: make().apply(*xs), xs)


def test_what_is_in_between_is_a_constant_to_second_order():
    with pytest.raises(AssertionError, match="check_grad_twice"):
        chx.check_double_grad(lambda x: Middle().apply(x), chx.array([0.5, 0.7]))


def test_in_hooks():
    x = leaf()
    x.add_hook(lambda g: Square().apply(g))
    (x * 3).backward()
    assert x.grad.tolist() == [9, 9, 9]
    x.cleargrad()
    y = x * x
    (g,) = chx.grad(y, x, create_graph=True)  # (2 x)^2 by the hook
    assert g.tolist() == [4, 16, 36] and chx.grad(g.sum() * 1, y, allow_unused=True) == [None]
    assert g.is_grad_required()


def test_differentiable_again():
    x = chx.array(2.0).require_grad()
    (g,) = chx.grad(Exp().apply(Square().apply(x)), x, create_graph=True)
    (gg,) = chx.grad(g, x, create_graph=True)
    (ggg,) = chx.grad(gg, x)
    e = np.exp(4.0)  # exp(x^2) and its derivatives
    assert np.allclose([g.item(), gg.item(), ggg.item()], [4 * e, 18 * e, 88 * e])
    assert x.grad is None


def test_composition_needs_nothing():
    def swish(x):
        return x / (1 + chx.exp(-x))

    chx.check_double_grad(swish, chx.array([0.5, -1.0]))


@pytest.mark.parametrize("device", ["native:0", "ref:0", "sim:0"])
def test_devices(device):
    x = leaf(device=device)
    y = Square().apply(x)
    y.backward()
    assert y.device == device and x.grad.device == device and x.grad.tolist() == [2, 4, 6]


def test_from_one_device_to_another():
    class Move(chx.Function):
        def forward(self, x):
            self.home = x.device
            return x.to("sim:0")

        def backward(self, gy):
            assert gy.device == "sim:0" and chx.zeros(1).device == "sim:0"
            return gy.to(self.home)

    x = leaf()
    Move().apply(x).backward()
    assert x.grad.tolist() == [1, 1, 1]


def test_none_stops():
    class Stop(chx.Function):
        def forward(self, x):
            return x

    x = leaf()
    y = Stop().apply(x)
    assert y is not x
    (y + x).backward()
    assert x.grad.tolist() == [1, 1, 1]
    assert chx.grad(Stop().apply(x), x, allow_unused=True) == [None]


def test_without_a_graph():
    x = chx.ones(3)
    f = Square()
    y = f.apply(x)
    ref = weakref.ref(f)
    del f
    assert not y.is_grad_required() and ref() is None
    with chx.no_backprop():
        assert not Square().apply(leaf()).is_grad_required()


def test_optional_and_integer_arrays():
    class Pick(chx.Function):
        def forward(self, x, i, bias):
            self.n, self.none = len(x), bias is None
            self.retain(i)
            return chx.take(x, i, axis=0), i

        def backward(self, gy, gi):
            assert gi is None and self.none and self.needs == (True, False, False)
            return chx.scatter_add(chx.zeros(self.n), self.retained[0], gy, axis=0), None, None

    x = leaf()
    y, i = Pick().apply(x, chx.array([2, 2, 0]), None)
    assert i.tolist() == [2, 2, 0] and not i.is_grad_required()
    y.sum().backward()
    assert x.grad.tolist() == [1, 0, 2]


def test_hooks_retain_and_unchain():
    x = leaf()
    y = Square().apply(x)
    y.add_hook(lambda g: g * 10)
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [40, 80, 120]
    with pytest.raises(ValueError, match="Square.*CHX_RETAIN_GRAPH"):
        y.backward()
    x.cleargrad()
    f = Square()
    ref = weakref.ref(f)
    y = f.apply(x * 1)
    del f
    z = y * x
    y.unchain()
    del y
    assert ref() is None
    z.backward()
    assert x.grad.tolist() == [1, 4, 9]


def test_a_gradient_inside_of_backward():
    class Cubed(chx.Function):
        def forward(self, x):
            self.retain(x)
            return x * x * x

        def backward(self, gy):
            x = self.retained[0].detach().require_grad()
            with chx.force_backprop():
                y = x * x * x
            return chx.grad(y, x)[0] * gy

    x = leaf()
    Cubed().apply(x).backward()
    assert x.grad.tolist() == [3, 12, 27]


# ---- errors --------------------------------------------------------------------------------------------------------------------------


def returning(value, inputs=1):
    class Broken(chx.Function):
        def forward(self, *xs):
            return xs[0] * 1

        def backward(self, gy):
            return value(gy)

    return lambda: Broken().apply(*[leaf() for _ in range(inputs)]).backward()


def giving(value):
    class Broken(chx.Function):
        def forward(self, x):
            return value(x)

    return lambda: Broken().apply(leaf())


@pytest.mark.parametrize("call,kind,words", [
    (returning(lambda g: (g, g)), ValueError, "Broken gave 2 gradients, want 1"),
    (returning(lambda g: g, 2), ValueError, "Broken gave 1 gradients, want 2"),
    (returning(lambda g: None, 2), ValueError, "Broken gave 1 gradients, want 2"),
    (returning(lambda g: 3), TypeError, "Broken gave int"),
    (returning(lambda g: (3,)), TypeError, "Broken: gradient 0 is of type int"),
    (returning(lambda g: g[:1]), ValueError, r"Broken: the gradient of input 0 has shape \[1\], want the input's \[3\]"),
    (returning(lambda g: g.sum()), ValueError, "Broken"),
    (returning(lambda g: g.astype("float32")), TypeError, "Broken: the gradient of input 0 is f32, want the input's f64"),
    (returning(lambda g: g.to("ref:0")), chx.DeviceError, "Broken: the gradient of input 0 is on ref:0"),
    (returning(lambda g: g + chx.ones(5)), ValueError, "add"),
    (giving(lambda x: None), TypeError, "Broken: forward gave NoneType"),
    (giving(lambda x: ()), TypeError, "Broken: forward gave tuple"),
    (giving(lambda x: (x, 3)), TypeError, "Broken: output 1 is of type int"),
    (lambda: Square().apply(3), TypeError, "Square: input 0 is of type int"),
    (lambda: Square().apply(np.ones(3)), TypeError, "Square: input 0 is of type ndarray"),
    (lambda: chx.Function().apply(leaf()), NotImplementedError, "Function has no forward"),
    (lambda: Square().retain(3), TypeError, "Square: retain got an object of type int"),
    (lambda: Square().retained, RuntimeError, "Square: retained is there in backward alone"),
    (lambda: Square().needs, RuntimeError, "Square: needs"),
    (lambda: Exp().apply(*[leaf()] * 65), TypeError, "positional"),
    (lambda: SumOfAll().apply(*[leaf()] * 65), ValueError, "SumOfAll: 65 arrays"),
    (lambda: RetainsMuch().apply(leaf()), ValueError, "RetainsMuch: 65 arrays"),
])
def test_errors(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
    assert (chx.ones(2) + 1).tolist() == [2, 2]


class SumOfAll(chx.Function):
    def forward(self, *xs):
        return sum(xs[1:], xs[0])

    def backward(self, gy):
        return [gy] * len(self.needs)


class RetainsMuch(chx.Function):
    def forward(self, x):
        self.retain(*[x * i for i in range(64)])
        return x


def test_most_inputs():
    xs = [leaf() for _ in range(64)]
    SumOfAll().apply(*xs).backward()
    assert all(x.grad.tolist() == [1, 1, 1] for x in xs)


def test_an_object_is_for_one_call():
    f = Square()
    f.apply(leaf())
    with pytest.raises(RuntimeError, match="Square was applied already"):
        f.apply(leaf())


class Mine(Exception):
    pass


def test_exceptions_come_out_with_their_traceback():
    class Raises(chx.Function):
        def forward(self, x):
            return x * 1

        def backward(self, gy):
            raise Mine("in backward")

    x = leaf()
    y = Raises().apply(x) * 2
    with pytest.raises(Mine, match="in backward") as caught:
        y.backward()
    assert any('raise Mine("in backward")' in str(frame) for frame in traceback.format_tb(caught.value.__traceback__))
    assert x.grad is None and (x + 1).is_grad_required()

    class RaisesForward(chx.Function):
        def forward(self, x):
            raise Mine

    with pytest.raises(Mine):
        RaisesForward().apply(x)
    assert (x + 1).is_grad_required()


def test_caught_errors_are_no_errors():
    class Tries(chx.Function):
        def forward(self, x):
            return x * 1

        def backward(self, gy):
            with pytest.raises(ValueError):
                gy + chx.ones(9)
            return gy

    x = leaf()
    Tries().apply(x).backward()
    assert x.grad.tolist() == [1, 1, 1]


def test_overwritten_values_are_named():
    x, w = leaf(), chx.ones(3)
    s, p = SumAndProduct(1).apply(x, w)
    w += 1
    with pytest.raises(ValueError, match="SumAndProduct: its input 1"):
        p.backward()
    y = Exp().apply(x)
    with chx.no_backprop():
        y += 1
    with pytest.raises(ValueError, match="Exp: its output 0"):
        y.backward()


# ---- nothing stays -----------------------------------------------------------------------------------------------------------------


def test_circles_are_collected(used):
    x = leaf()
    gc.collect()
    before, refs = used(), []

    def one(f):
        refs.append(weakref.ref(f))
        return f

    f = one(Square())
    f.y = f.apply(x)  # the function holds its output
    f = one(SumAndProduct(1))
    f.ys = f.apply(x, x)  # both of them
    f = one(SumAndProduct(1))
    f.second = f.apply(x, x)[1]  # the other is gone
    f = one(Square())
    y = f.apply(x)
    y.add_hook(lambda g, y=y, f=f: None)  # a hook that refers to both
    f.y = y
    f = one(Square())
    f.self = f
    f.y = f.apply(x)
    f.y.backward(retain_graph=True)
    f = one(Middle())
    f.y = f.apply(Square().apply(x * 1))
    del f, y
    gc.collect()
    assert [r() for r in refs] == [None] * len(refs)
    x.cleargrad()
    assert used() == before


def test_what_the_graph_needs_is_not_collected():
    x = leaf()
    f = Square()
    ref = weakref.ref(f)
    y = f.y = f.apply(x)
    z = y * 1  # a further result holds the function
    del f, y
    gc.collect()
    assert ref() is not None
    z.backward()
    assert x.grad.tolist() == [2, 4, 6]
    del z
    gc.collect()
    assert ref() is None

    f = SumAndProduct(1)
    ref = weakref.ref(f)
    s, p = f.ys = f.apply(x, x)
    del f, s
    gc.collect()  # one output is held from outside
    assert ref() is not None
    x.cleargrad()
    p.backward()
    assert x.grad.tolist() == [2, 4, 6]
    del p
    gc.collect()
    assert ref() is None


def test_does_not_grow(used):
    x = leaf(np.linspace(0, 1, 1000))

    def step():
        x.cleargrad()
        h = Exp().apply(Square().apply(x) * 0.1)
        s, p = SumAndProduct(0.5).apply(h, Middle().apply(x))
        (s * p).sum().backward()

    for _ in range(200):
        step()
    bytes_before, blocks = used(), sys.getallocatedblocks()
    for _ in range(1000):
        step()
    assert used() == bytes_before and abs(sys.getallocatedblocks() - blocks) < 300  # Python's own caches grow, now and then


def test_deep_chains_that_hold_their_inputs():
    class Hold(chx.Function):
        def forward(self, x):
            self.x = x
            return x

        def backward(self, gy):
            return gy

    x = leaf()
    y = x
    for _ in range(20000):
        y = Hold().apply(y)
    y.backward()
    assert x.grad.tolist() == [1, 1, 1]
    del y


def test_threads():
    x = leaf()
    shared = SumAndProduct(1).apply(x, Exp().apply(x))[1].sum()  # one object, several threads in its backward
    want = chx.grad(shared, x, retain_graph=True)[0].tolist()
    failures = []

    def work():
        try:
            for _ in range(100):
                assert chx.grad(Square().apply(x), x)[0].tolist() == [2, 4, 6]
                assert chx.grad(shared, x, retain_graph=True)[0].tolist() == want
        except BaseException as error:
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failures


def test_backward_inside_of_its_own_backward():
    class Twice(chx.Function):
        def forward(self, x):
            self.retain(x)
            return x * x

        def backward(self, gy):
            if not inner:
                inner.append(self)
                inner.append(chx.grad(y, x, retain_graph=True)[0])
            return 2 * self.retained[0] * gy if self.needs[0] else None

    inner = []
    x = leaf()
    y = Twice().apply(x)
    y.backward(retain_graph=True)
    assert inner[1].tolist() == x.grad.tolist() == [2, 4, 6]


# ---- gradient checks ---------------------------------------------------------------------------------------------------------------


class Wrong(chx.Function):
    def forward(self, x):
        self.retain(x)
        return x * x

    def backward(self, gy):
        return self.retained[0] * gy


def test_check_grad_finds():
    x = chx.array([0.5, 1.5])
    with pytest.raises(AssertionError, match=r"check_grad: output 0, input 0, element \[\d\]"):
        chx.check_grad(lambda x: Wrong().apply(x), [x])
    with pytest.raises(AssertionError, match="check_grad_twice"):
        chx.check_double_grad(lambda x: x.detach() * x, [x])
    chx.check_grad(lambda x: Wrong().apply(x), [x], atol=10)
    chx.check_grad(lambda x, i: (chx.take(x, i, axis=0), i), [x, chx.array([1, 0])])
    chx.check_grad(lambda x: x * chx.random.uniform(size=2), x)  # the same numbers each time
    assert not x.is_grad_required()


@pytest.mark.parametrize("call,kind,words", [
    (lambda x: chx.check_grad(lambda x: 3, [x]), TypeError, "int"),
    (lambda x: chx.check_grad(lambda x: [x, 3], [x]), TypeError, "type int"),
    (lambda x: chx.check_grad(lambda x: [], [x]), ValueError, "0 outputs"),
    (lambda x: chx.check_grad(lambda x: x, [x, 3]), TypeError, "input 1 is of type int"),
    (lambda x: chx.check_grad(lambda x: x, []), ValueError, "0 inputs|positional"),
    (lambda x: chx.check_grad(lambda x: x, [x], eps=0), ValueError, "eps 0"),
    (lambda x: chx.check_grad(lambda x: x / chx.ones(5), [x]), ValueError, "div"),
    (lambda x: chx.check_grad(raises_when_recorded, [x]), Mine, "recorded"),
    (lambda x: chx.check_double_grad(lambda x: x.detach(), [x]), ValueError, "no output depends"),
])
def test_check_grad_errors(call, kind, words):
    with pytest.raises((kind, TypeError) if "positional" in words else kind, match=words):
        call(chx.array([0.5, 1.5]))
    assert (chx.ones(2) + 1).tolist() == [2, 2] and (leaf() * 1).is_grad_required()


def raises_when_recorded(x):
    if x.is_backprop_required():
        raise Mine("recorded")
    return x * 1
