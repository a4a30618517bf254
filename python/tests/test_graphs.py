# SPDX-License-Identifier: MIT
"""Backprop scopes: graphs beside the default one, gradients through several of them, modes of one graph, and misuse."""
import threading

import pytest

import chx


def test_a_graph_of_its_own():
    x = chx.array(3.0).require_grad()
    with chx.backprop_scope("inner") as inner:
        assert isinstance(inner, chx.BackpropId) and inner.name == "inner" and repr(inner) == "<chx.BackpropId 'inner'>"
        w = chx.array(2.0).require_grad(inner)
        assert w.is_grad_required(inner) and not w.is_grad_required() and not x.is_grad_required(backprop_id=inner)
        y = x * w * w
        assert y.is_grad_required() and y.is_grad_required(inner) and y.is_backprop_required(inner)
        y.backward(backprop_id=inner, retain_graph=True)
        assert w.get_grad(inner).item() == 12 and w.grad is None and x.grad is None
        y.backward()
        assert x.grad.item() == 4 and x.get_grad().item() == 4
        w.cleargrad(inner)
        assert w.get_grad(backprop_id=inner) is None
        w.set_grad(chx.array(1.0), inner)
        chx.backward([x * w], backprop_id=inner)
        assert w.get_grad(inner).item() == 4
        w.set_grad(None, backprop_id=inner)
        assert w.get_grad(inner) is None
        assert chx.grad(w * w * w, w, backprop_id=inner)[0].item() == 12
    assert repr(inner) == "<chx.BackpropId 'inner', ended>"


def test_gradients_through_the_order_of_scopes():
    """While a graph's gradients are computed, those opened before it record, and it and those after it do not."""
    x = chx.array(2.0).require_grad()
    with chx.backprop_scope("first") as first, chx.backprop_scope("second") as second:
        h = x * x
        h.require_grad(first).require_grad(second)
        (g,) = chx.grad(h * h * h, h, backprop_id=second)  # 3 h^2
        assert g.is_grad_required() and g.is_grad_required(first) and not g.is_grad_required(second)
        (gg,) = chx.grad(g, h, backprop_id=first)  # 6 h
        assert gg.item() == 24 and gg.is_grad_required() and not gg.is_grad_required(first)
        gg.backward()
        assert x.grad.item() == 24  # 6 x^2
        (g,) = chx.grad(h * h, h, backprop_id=first)
        assert not g.is_grad_required(first) and not g.is_grad_required(second) and g.is_grad_required()


def test_functions_and_hooks_record_in_outer_graphs_alone():
    seen = []

    class Square(chx.Function):
        def forward(self, x):
            self.retain(x)
            return x * x

        def backward(self, gy):
            seen.append((chx.is_backprop_required(inner), chx.is_backprop_required()))
            return 2 * self.retained[0] * gy

    x = chx.array(3.0).require_grad()
    with chx.backprop_scope("inner") as inner:
        h = x * x
        h.require_grad(inner)
        h.add_hook(lambda g: seen.append(g.is_grad_required(inner)) or g * x)
        (g,) = chx.grad(Square().apply(h), h, backprop_id=inner)  # 2 h x
        assert seen == [(False, True), False] and g.item() == 54 and not g.is_grad_required(inner)
        assert chx.grad(g, x)[0].item() == 2 * 9 + 6 * 3 * 6  # of 2 h x; what comes for h goes through its hook again


def test_modes_of_one_graph():
    x = chx.array(2.0).require_grad()
    with chx.backprop_scope("inner") as inner:
        x.require_grad(inner)

        def recorded():
            y = x * 2
            assert (y.is_grad_required(), y.is_grad_required(inner)) == (chx.is_backprop_required(None), chx.is_backprop_required(inner))
            return y.is_grad_required(), y.is_grad_required(inner)

        assert recorded() == (True, True)
        with chx.no_backprop(inner):
            assert (x * 2).is_grad_required() and not (x * 2).is_grad_required(inner) and not chx.is_backprop_required(inner)
            with chx.no_backprop_mode(None):
                assert not (x * 2).is_grad_required() and not (x * 2).is_grad_required(inner)
                with chx.force_backprop_mode([inner]):
                    assert not (x * 2).is_grad_required() and (x * 2).is_grad_required(inner)
            with chx.force_backprop(inner):
                assert recorded() == (True, True)
        with chx.no_backprop():
            assert not chx.is_backprop_required() and not x.is_backprop_required(inner)
            with chx.force_backprop(inner):
                assert not (x * 2).is_grad_required() and (x * 2).is_grad_required(inner)
                with chx.force_backprop():
                    assert recorded() == (True, True)
            assert not (x * 2).is_grad_required(inner)
        with chx.no_backprop((inner, None)):
            assert not (x * 2).is_grad_required() and not chx.is_backprop_required()
        with pytest.raises(ZeroDivisionError):
            with chx.no_backprop(inner):
                1 / 0
        assert recorded() == (True, True)


def test_many_scopes_one_after_the_other(used):
    x = chx.array(2.0).require_grad()
    before = used()
    for _ in range(200):
        with chx.backprop_scope("again") as i:
            h = (x * 1).require_grad(i)
            assert chx.grad(h * h, h, backprop_id=i)[0].item() == 4
    del h
    assert used() == before


def test_too_many_at_once():
    open_scopes = []
    with pytest.raises(RuntimeError, match="64 graphs"):
        for i in range(64):
            scope = chx.backprop_scope(str(i))
            scope.__enter__()
            open_scopes.append(scope)
    assert 32 < len(open_scopes) < 64
    del open_scopes[:], scope  # a scope that is dropped ends
    with chx.backprop_scope("another") as i:
        assert chx.ones(2).require_grad(i).is_grad_required(i)


def test_a_dead_scope():
    x = chx.ones(2).require_grad()
    with chx.backprop_scope("gone") as gone:
        y = (x * 1).require_grad(gone) * 2
    with chx.backprop_scope("after") as after:  # may have the number that the other had
        calls = [lambda: x.require_grad(gone), lambda: x.is_grad_required(gone), lambda: x.is_backprop_required(gone),
                 lambda: x.get_grad(gone), lambda: x.set_grad(None, gone), lambda: x.cleargrad(gone), lambda: y.backward(backprop_id=gone),
                 lambda: chx.backward(y, backprop_id=gone), lambda: chx.grad(y, x, backprop_id=gone), lambda: chx.no_backprop(gone),
                 lambda: chx.force_backprop([gone]), lambda: chx.is_backprop_required(gone)]
        for call in calls:
            with pytest.raises(ValueError, match="the graph 'gone' has ended"):
                call()
        assert not y.is_grad_required(after)
    y.backward()
    assert x.grad.tolist() == [2, 2]


@pytest.mark.parametrize("call,kind,words", [
    (lambda x: x.require_grad(3), TypeError, "backprop_id is of type int"),
    (lambda x: x.require_grad("inner"), TypeError, "backprop_id is of type str"),
    (lambda x: x.require_grad(None, None), TypeError, "at most one"),
    (lambda x: x.require_grad(graph=None), TypeError, "backprop_id"),
    (lambda x: x.backward(backprop_id=1), TypeError, "type int"),
    (lambda x: chx.no_backprop(3), TypeError, "type int"),
    (lambda x: chx.backprop_scope(3), TypeError, "type int"),
    (lambda x: chx.backprop_scope(), TypeError, "argument"),
    (lambda x: x.set_grad(3), TypeError, "type int"),
    (lambda x: x.set_grad(), TypeError, "grad"),
])
def test_errors(call, kind, words):
    with pytest.raises(kind, match=words):
        call(chx.ones(2).require_grad())


def test_a_graph_that_an_array_is_not_in():
    x = chx.ones(2).require_grad()
    with chx.backprop_scope("other") as other:
        with pytest.raises(ValueError, match="backward"):
            (x * 2).backward(backprop_id=other)
        with pytest.raises(ValueError, match="set_grad"):
            x.set_grad(chx.ones(2), other)
        assert x.get_grad(other) is None


def test_a_scope_is_for_one_with():
    scope = chx.backprop_scope("once")
    with scope:
        with pytest.raises(RuntimeError, match="entered"):
            scope.__enter__()
    with scope as again:  # it has ended: a new graph
        chx.ones(1).require_grad(again)


def test_threads_share_a_graph():
    x = chx.array(2.0)
    found = []
    with chx.backprop_scope("shared") as shared:
        x.require_grad(shared)

        def work():
            (x * x).backward(backprop_id=shared)
            found.append(chx.is_backprop_required(shared))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert x.get_grad(shared).item() == 16 and found == [True] * 4
