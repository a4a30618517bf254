# SPDX-License-Identifier: MIT
"""examples/python/interchange.py does what it says."""
import importlib.util
import os
import subprocess
import sys

EXAMPLE = os.path.join(os.path.dirname(__file__), "..", "..", "examples", "python", "interchange.py")


def run(*arguments):
    r = subprocess.run([sys.executable, EXAMPLE] + list(arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       universal_newlines=True, timeout=300)
    assert r.returncode == 0, r.stdout
    return r.stdout.splitlines()


def test_interchange():
    lines = run()
    assert lines[:2] == ["one memory, chx's and NumPy's: True 63.0", "numpy.tanh of an array of chx is of type ndarray of chx"]
    assert lines[2].startswith("numpy.asarray: the array is on sim:0")
    assert lines[3] == "chx.to_numpy: [0.0, 1.0, 4.0, 9.0]"
    if importlib.util.find_spec("torch"):
        assert lines[4:] == ["a gradient through both is PyTorch's own: True", "what PyTorch wrote: [[3.0, 3.0], [3.0, 3.0]]"]
    else:
        assert lines[4:] == ["PyTorch is not installed"]


def test_a_device_of_the_host():
    assert run("--device", "native:0")[2] == "native:0 is the host's memory"
