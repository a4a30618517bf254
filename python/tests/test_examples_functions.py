# SPDX-License-Identifier: MIT
"""The examples of functions and of gradients of gradients, as programs and by their parts."""
import importlib.util
import math
import os
import subprocess
import sys

import numpy as np
import pytest

import chx

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", "python")


def load(name):
    spec = importlib.util.spec_from_file_location(name, os.path.join(EXAMPLES, name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name, *arguments):
    done = subprocess.run([sys.executable, os.path.join(EXAMPLES, name + ".py"), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("device", ["native:0", "sim:0"])
def test_custom_function(device):
    text = run("custom_function", device)
    assert "gradient [" in text and float(text.split("difference ")[1]) < 1e-12


def test_softplus():
    m = load("custom_function")
    x = chx.array([-3.0, 0.0, 2.0, 800.0]).require_grad()
    y = m.softplus(x, 2.0)
    assert np.allclose(np.asarray(y.detach()), [math.log1p(math.exp(-6)) / 2, math.log(2) / 2, math.log1p(math.exp(4)) / 2, 800])
    y.backward()
    assert np.allclose(np.asarray(x.grad), [1 / (1 + math.exp(6)), 0.5, 1 / (1 + math.exp(-4)), 1])


def test_double_backward():
    text = run("double_backward")
    assert text.startswith("newton [0.69314718 0.69314718]") and "penalty" in text


def test_penalty_on_another_device(used):
    m = load("double_backward")
    losses = m.train("sim:0", steps=40)
    assert losses[-1] < losses[0] / 2
    np.testing.assert_allclose(m.train("native:0", steps=40), losses, rtol=1e-9)
    before = used()
    m.train(steps=10)
    assert used() == before  # nothing is held by circles
