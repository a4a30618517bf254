# SPDX-License-Identifier: MIT
"""Debug mode: errors name the lines that made the arrays, and the first NaN is an error."""
import inspect
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import chx


def here(offset=0):
    """The place of the caller's line, as messages have it."""
    frame = inspect.currentframe().f_back
    return "%s:%d in %s" % (frame.f_code.co_filename, frame.f_lineno + offset, frame.f_code.co_name)


def message(kind, call):
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def test_operands_of_a_wrong_call():
    with chx.debug_mode():
        a, first = chx.ones((2, 3), "float32"), here()
        b, second = chx.array([1, 2], device="native:0"), here()
        c, third = a * 2, here()
        assert message(ValueError, lambda: a + b).endswith(
            "; x is f32[2,3] on native:0, made at %s; y is i64[2] on native:0, made at %s" % (first, second))
        for call in (lambda: chx.matmul(c, b), lambda: c @ b):
            text = message(ValueError, call)
            assert "f32[2,3] on native:0, made at " + third in text and "i64[2] on native:0, made at " + second in text
        assert message(ValueError, lambda: c.reshape(5)).endswith("; x is f32[2,3] on native:0, made at " + third)
        assert "made at " + second in message(ValueError, lambda: chx.sum(b, axis=4))
        d, fourth = b.to("sim:0"), here()
        assert "x is i64[2] on native:0, made at %s; y is i64[2] on sim:0, made at %s" % (second, fourth) in message(
            chx.DeviceError, lambda: b + d)
        n = np.ones(4)
        assert "f64[4] on native:0" in message(ValueError, lambda: a + n)
    assert "made at" not in message(ValueError, lambda: chx.ones(2) + chx.ones(3))


def test_every_way_to_make_an_array_has_its_line():
    with chx.debug_mode():
        for make in (lambda: chx.zeros(7), lambda: chx.asarray(np.ones(7)), lambda: chx.arange(7), lambda: chx.ones((7, 2))[:, 0],
                     lambda: chx.ones(7).copy(), lambda: chx.from_dlpack(np.ones(7)), lambda: chx.ones(7).detach(), lambda: -chx.ones(7),
                     lambda: list(chx.ones((2, 7)))[0], lambda: chx.ones(7).astype("float32"), lambda: chx.concatenate([chx.ones(3), chx.ones(4)])):
            text = message(ValueError, lambda: make() + chx.ones(5))
            assert text.count("made at " + __file__) == 2, text


def test_backward_names_the_call():
    with chx.debug_mode():
        x = chx.ones(3).require_grad()
        w = chx.ones(3)
        y, place = x * w, here()
        w += 1
        z = chx.exp(y).sum()
        assert message(ValueError, z.backward).endswith("; it was recorded at " + place)
        y, place = chx.exp(x), here()
        y.backward()
        assert message(ValueError, y.backward).endswith("; it was recorded at " + place)
        a, place = chx.ones(2), here()
        assert message(ValueError, a.backward).endswith("; it is f64[2] on native:0, made at " + place)
        h, place = x * 2, here()
        h.add_hook(lambda g: g[:1])
        assert message(ValueError, h.backward).endswith("; it was recorded at " + place)
        (g,) = chx.grad((x * x * x).sum(), [x], create_graph=True)
        (gg,) = chx.grad([g], [x])
        assert gg.tolist() == [6, 6, 6]


def test_nan():
    x = chx.array([-1.0, 1]).require_grad()
    with chx.debug_mode():
        assert np.isnan(chx.to_numpy(chx.log(x.detach()))[0])
    with chx.debug_mode(nan=True):
        minus, place = x.detach() * 1, here()
        text = message(RuntimeError, lambda: chx.log(minus))
        assert text.startswith("log: result 0, f64[2], has a NaN") and text.endswith("made at " + place)
        assert message(RuntimeError, lambda: minus ** 0.5).startswith("pow: ")
        zero = chx.zeros(2).require_grad()
        y, place = chx.sqrt(zero), here()
        text = message(RuntimeError, (y * 0).sum().backward)
        assert text.startswith("backward of sqrt: the gradient of operand 0") and text.endswith("; it was recorded at " + place)
        hidden = chx.where(chx.isnan(chx.array([float("nan"), 2])), 0, 5.0)
        assert hidden.tolist() == [0, 5]
        (x ** 2).sum().backward()
        with chx.using_device("sim:0"):
            assert "has a NaN" in message(RuntimeError, lambda: chx.log(chx.array([-1.0])))
    assert np.isnan(chx.log(chx.array([-1.0])).item()) and x.grad.tolist() == [-2, 2]


def test_modes():
    assert not chx.is_debug()
    with chx.debug_mode():
        assert chx.is_debug()
        with chx.debug_mode(nan=True):
            assert "NaN" in message(RuntimeError, lambda: chx.log(chx.array([-1.0])))
        assert np.isnan(chx.log(chx.array([-1.0])).item()) and chx.is_debug()
        chx.debug(False)
        assert not chx.is_debug()
    assert not chx.is_debug()
    chx.debug()
    assert "made at" in message(ValueError, lambda: chx.ones(2) + chx.ones(3))
    chx.debug(False)
    for bad in (lambda: chx.debug(1, 2, 3), lambda: chx.debug(nonsense=1), lambda: chx.debug_mode(3, 4)):
        message(TypeError, bad)
    mode = chx.debug_mode()
    with mode:
        message(RuntimeError, mode.__enter__)
    assert not chx.is_debug()


def test_other_threads_are_in_it_too():
    texts = []
    with chx.debug_mode():
        t = threading.Thread(target=lambda: texts.append(message(ValueError, lambda: chx.ones(2) + chx.ones(3))))
        t.start()
        t.join()
    assert texts[0].count("made at " + __file__) == 2


def test_environment():
    program = "import chx\ntry:\n  chx.log(chx.array([-1., 1]) + chx.ones(%d))\n  print('fine')\nexcept Exception as e:\n  print(type(e).__name__, e)"

    def run(setting, n):
        r = subprocess.run([sys.executable, "-c", program % n], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
                           env=dict(os.environ, CHX_DEBUG=setting))
        return r.stdout.strip() or r.stderr.strip().splitlines()[-1]

    assert run("", 3).endswith("want broadcastable") and run("0", 3).endswith("want broadcastable")
    assert run("1", 3).endswith("made at <string>:3 in <module>") and run("1", 2) == "fine"
    program = program.replace("ones", "zeros")
    assert run("nan", 2).startswith("RuntimeError log: result 0, f64[2], has a NaN")
    assert "CHX_DEBUG is 'yes', want 0, 1 or nan" in run("yes", 2)
