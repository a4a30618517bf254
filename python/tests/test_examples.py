# SPDX-License-Identifier: MIT
"""The programs of examples/python, run with small settings."""
import os
import re
import subprocess
import sys

import pytest

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", "python")


def run(name, *args):
    r = subprocess.run([sys.executable, os.path.join(EXAMPLES, name)] + [str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       universal_newlines=True, timeout=120)
    assert r.returncode == 0, r.stderr
    return r.stdout, r.stderr


@pytest.mark.parametrize("device", ["native:0", "sim:0"])
def test_mlp(device, tmp_path):
    out, _ = run("mlp.py", "--epochs", 3, "--device", device, "--out", tmp_path / "m.npz")
    accuracy = [float(v) for v in re.findall("test accuracy (.*)", out)]
    assert len(accuracy) == 3 and accuracy[-1] > 0.9 and (tmp_path / "m.npz").exists()


def test_cnn(tmp_path):
    out, err = run("cnn.py", "--epochs", 1, "--out", tmp_path / "out")
    assert "Convolution(W [32, 16, 3, 3])" in out and "epoch 1/1" in err and float(re.search("test accuracy (.*)", out).group(1)) > 0.8
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["checkpoint.npz", "curve.svg", "log.csv", "model.npz"]
    out, err = run("cnn.py", "--epochs", 2, "--out", tmp_path / "out", "--resume", tmp_path / "out" / "checkpoint.npz")
    assert "epoch 2/2" in err and "epoch 1/" not in err


def test_devices():
    out, _ = run("devices.py", "native:0", "sim:0", "native:0", "--epochs", 1)
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["native:0", "sim:0", "native:0", "labels"]
    assert "on sim:0" in lines[1] and float(lines[2].split()[-1]) > 0.85
