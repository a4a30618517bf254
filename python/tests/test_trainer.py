# SPDX-License-Identifier: MIT
"""chx.nn's data sets, evaluate, predict and Trainer; files exchanged with the command chx."""
import gc
import gzip
import math
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from conftest import sample

import chx
from chx import nn, optim

DIGITS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "data", "digits.csv.gz")
BUILD = os.environ.get("CHX_BUILDDIR") or os.environ.get("CHX_BUILD")


class Net(nn.Link):
    def __init__(self, hidden=32):
        self.l1 = nn.Linear(hidden)
        self.l2 = nn.Linear(10)
        self.scale = nn.Parameter((), 1 / 16)

    def forward(self, x):
        return self.l2(chx.relu(self.l1(x * self.scale)))


def parts(n=400):
    return nn.load_data(DIGITS).take(np.arange(n)).split(0.25, seed=1)


def trainer(net=None, epochs=2, **options):
    train, test = parts()
    chx.seed(2)
    net = net or Net()
    return nn.Trainer(net, optim.Adam(3e-3).setup(net), train, test, epochs=epochs, **options), net


# ---- data ----------------------------------------------------------------------------------------------------------------


def test_datasets(tmp_path):
    x, t = sample("float64", (6, 4)), np.array([0, 1, 2, 0, 1, 2], "int32")
    d = nn.Dataset(x, t)
    assert len(d) == 6 and d.classes == 3 and d.x.dtype == "float32" and d.t.dtype == "int64" and d.x.device == "native:0"
    assert d.x.tolist() == x.astype("float32").tolist() and "3 classes" in repr(d)
    assert d.take([3, 1]).x.tolist() == d.x.tolist()[3:4] + d.x.tolist()[1:2] and d.take(np.array([0])).t.tolist() == [0]
    assert d.reshape((2, 2)) is d and d.x.shape == (6, 2, 2) and d.image_shape == (1, 2, 2)
    train, test = d.split(1 / 3, seed=4)
    assert len(train) == 4 and len(test) == 2 and d.split(0)[1] is None
    assert sorted(train.x.tolist() + test.x.tolist()) == sorted(d.x.tolist()) and d.split(1 / 3, 4)[1].x.tolist() == test.x.tolist()
    values = nn.Dataset(x, sample("float32", (6, 2)))
    assert values.classes == 0 and values.t.shape == (6, 2)
    with gzip.open(str(tmp_path / "d.csv.gz"), "wt") as f:
        f.write("a,b,label\n1,2,0\n3,4.5,1\n")
    np.savez(tmp_path / "d.npz", x=x, t=t)
    for load in (nn.load_csv, nn.load_data):
        c = load(tmp_path / "d.csv.gz")
        assert c.x.tolist() == [[1, 2], [3, 4.5]] and c.t.tolist() == [0, 1]
    with chx.using_device("sim:0"):
        assert nn.load_data(str(tmp_path / "d.npz")).x.device == "native:0" and nn.Dataset(chx.ones((2, 2)), [0, 1]).x.device == "native:0"


def test_batches():
    d = nn.Dataset(np.arange(10.0)[:, None], np.arange(10))
    plain = [(x.tolist(), t.tolist()) for x, t in d.batches(4, shuffle=False)]
    assert [t for _, t in plain] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] and plain[2][0] == [[8], [9]]
    it = d.batches(4, seed=3, epochs=2)
    order = [t.tolist() for _, t in it]
    assert [len(t) for t in order] == [4, 4, 2] * 2 and sorted(sum(order[:3], [])) == list(range(10)) and order[:3] != order[3:]
    assert it.epoch == 2 and it.is_new_epoch and list(it) == []
    it.reset()
    assert [t.tolist() for _, t in it] == order
    it = d.batches(10, epochs=None)
    for _ in range(5):
        next(it)
    assert it.epoch == 5 and it.position in (0, 10)
    with chx.using_device("sim:0"):
        x, t = next(d.batches(3))
        assert x.device == t.device == "sim:0"
    it = nn.Dataset(np.ones((3, 2)), [0, 1, 2]).batches(2)  # the data set lives as long as it
    gc.collect()
    assert next(it)[0].shape == (2, 2)


@pytest.mark.parametrize("call, kind, message", [
    (lambda: nn.Dataset([1.0]), TypeError, "t"),
    (lambda: nn.Dataset(np.ones((3, 2)), [0, 1]), ValueError, "3"),
    (lambda: nn.Dataset("x", [0]), TypeError, "x is of type str"),
    (lambda: nn.load_data("nothing.csv"), OSError, "nothing.csv"),
    (lambda: nn.load_csv(__file__), ValueError, "test_trainer.py:"),
    (lambda: parts()[0].take([999]), ValueError, "999"),
    (lambda: parts()[0].reshape((3, 3)), ValueError, "64"),
    (lambda: parts()[0].split(1.5), ValueError, "1.5"),
    (lambda: parts()[0].batches(0), ValueError, "batch"),
    (lambda: parts()[0].batches(epochs=0), ValueError, "0 epochs"),
    (lambda: nn.evaluate(3, parts()[0]), TypeError, "the model is of type int"),
    (lambda: nn.evaluate(Net(), 3), TypeError, "Dataset"),
    (lambda: nn.predict(Net(), np.ones((0, 64), "float32")), ValueError, "no items"),
    (lambda: nn.Trainer(Net(), optim.Adam(), parts()[0]), ValueError, "set up for this model"),
    (lambda: trainer(batch=0), ValueError, "batch"),
    (lambda: trainer(epochs=-1), ValueError, "epochs -1"),
    (lambda: trainer(progress="loud"), ValueError, "'loud'"),
    (lambda: trainer(callback=3), TypeError, "callback is of type int"),
    (lambda: trainer(loss=3), TypeError, "loss is of type int"),
    (lambda: trainer(colour=3), TypeError, "colour"),
    (lambda: trainer(log=3), TypeError, None),
    (lambda: nn.Trainer(Net(), optim.Adam(), parts()[0], 3), TypeError, "test is of type int"),
    (lambda: trainer()[0].resume("nothing.npz"), OSError, "nothing.npz"),
    (lambda: trainer(checkpoint="nosuch/c.npz")[0].run(), OSError, "nosuch"),
    (lambda: nn.load_model("nothing.npz"), OSError, "nothing.npz"),
    (lambda: nn.save_model("m.npz", Net()), ValueError, "want chx.nn.save_npz"),
])
def test_bad_arguments(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


# ---- models on data ------------------------------------------------------------------------------------------------------


def test_evaluate_and_predict():
    _, test = parts()
    net = nn.Sequential(nn.Linear(64, 10), nn.Dropout(0.5))
    x, t = np.asarray(test.x), np.asarray(test.t)
    y = x @ np.asarray(net[0].W).T
    loss, accuracy = nn.evaluate(net, test, batch=7)
    p = y - y.max(1, keepdims=True)
    np.testing.assert_allclose(loss, np.mean(np.log(np.exp(p).sum(1)) - p[np.arange(len(t)), t]), rtol=1e-4)
    assert accuracy == (y.argmax(1) == t).mean() and net.training
    labels, scores = nn.predict(net, test.x, batch=7, scores=True)
    assert labels.tolist() == y.argmax(1).tolist() == nn.predict(net, x).tolist() and labels.dtype == "int64"
    np.testing.assert_allclose(chx.to_numpy(scores), y, rtol=1e-4, atol=1e-4)
    assert nn.evaluate(net, test, loss=lambda y, t: (y * 0 + 3).mean())[0] == 3
    with pytest.raises(ZeroDivisionError):
        nn.evaluate(net, test, loss=lambda y, t: 1 / 0)
    values = nn.Dataset(x, np.zeros((len(x), 10)))
    loss, accuracy = nn.evaluate(net, values)
    np.testing.assert_allclose(loss, (y**2).mean(), rtol=1e-4)
    assert math.isnan(accuracy)


# ---- training ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["native:0", "sim:0"])
def test_digits(device):
    train, test = nn.load_data(DIGITS).split(0.2)
    with chx.using_device(device):
        chx.seed(0)
        net = Net(100) if device == "native:0" else nn.mlp((100, 10))
        if device == "sim:0":
            net.fit_input(train.x)
        history = nn.Trainer(net, optim.Adam(2e-3).setup(net), train, test, epochs=10).run()
        loss, accuracy = nn.evaluate(net, test)
        assert (nn.predict(net, test.x.to(device)).to("native:0") == test.t).mean().item() == accuracy
    assert accuracy >= 0.95 and len(history) == 10 and history[-1]["test_accuracy"] == accuracy and net.l1.W.device == device
    assert history[-1]["loss"] < history[0]["loss"] and history[4]["epoch"] == 5 and history[-1]["step"] == 10 * math.ceil(len(train) / 32)


def test_a_loop_of_ones_own_is_the_trainer():
    r, net = trainer(batch=20, seed=7)
    r.run()
    train, _ = parts()
    chx.seed(2)
    own = Net()
    o = optim.Adam(3e-3).setup(own)
    for x, t in train.batches(20, seed=7, epochs=2):
        o.update(lambda: chx.softmax_cross_entropy(own(x), t))
    for (path, p), (_, q) in zip(net.namedparams(), own.namedparams()):
        assert p.array.tolist() == q.array.tolist(), path


def test_history_files_and_progress(tmp_path, capfd):
    r, net = trainer(epochs=3, log=tmp_path / "log.csv", curve=str(tmp_path / "curve.svg"), checkpoint=tmp_path / "c.npz", progress="lines",
                     evaluate_every=2)
    history = r.run()
    assert history == r.history and [e["epoch"] for e in history] == [1, 2, 3] and not r.is_stopped
    assert history[0]["test_loss"] is None and history[1]["test_loss"] > 0 and history[2]["test_accuracy"] > 0
    assert history[0]["items"] == history[0]["items_total"] == 300 and history[0]["lr"] == 3e-3
    err = capfd.readouterr().err
    assert err.count("\n") == 3 and "epoch 3/3" in err and "test accuracy" in err
    assert (tmp_path / "log.csv").read_text().count("\n") == 4 and (tmp_path / "curve.svg").read_text().startswith("<svg")
    assert r.write_log(tmp_path / "log2.csv") is r and (tmp_path / "log2.csv").read_text() == (tmp_path / "log.csv").read_text()
    again = Net()
    nn.load_npz(tmp_path / "c.npz", again)
    assert again.l1.W.tolist() == net.l1.W.tolist()


def test_resume_gives_the_same_bits(tmp_path):
    whole, a = trainer(epochs=4)
    whole.run()

    def stop(event, report):
        return event == "step" and report["step"] == 17

    part, b = trainer(epochs=4, callback=stop, checkpoint=tmp_path / "c.npz")
    assert len(part.run()) == 1 and part.is_stopped
    rest, c = trainer(epochs=4)
    assert rest.resume(tmp_path / "c.npz") is rest and len(rest.history) == 1
    drawn = []
    for _ in range(2):  # the checkpoint's generator is the process's, which a seed sets
        chx.seed(8)
        drawn.append(nn.Normal()((2,)).tolist())
    assert drawn[0] == drawn[1]
    rest.resume(tmp_path / "c.npz")
    rest.run()
    for name in ("l1/W", "l1/b", "l2/W", "scale"):
        assert c[name].array.tolist() == a[name].array.tolist() != b[name].array.tolist()
    assert [e["loss"] for e in rest.history] == [e["loss"] for e in whole.history]
    other, _ = trainer(epochs=4, seed=9)
    with pytest.raises(ValueError, match="seed is 9, the run's was 0"):
        other.resume(tmp_path / "c.npz")
    whole.save(tmp_path / "end.npz")
    done, d = trainer(epochs=4)
    assert done.resume(str(tmp_path / "end.npz")).run() == whole.history and d.l1.W.tolist() == a.l1.W.tolist()


def test_callbacks_and_losses(tmp_path):
    events = []
    r, net = trainer(epochs=2, batch=100, callback=lambda event, report: events.append((event, report["step"])))
    r.run()
    assert events == [("step", 1), ("step", 2), ("step", 3), ("epoch", 3), ("step", 4), ("step", 5), ("step", 6), ("epoch", 6)]

    class Mine(Exception):
        pass

    def fail(event, report):
        if report["step"] == 2:
            raise Mine("here")

    r, net = trainer(callback=fail, checkpoint=tmp_path / "c.npz")
    with pytest.raises(Mine, match="here"):
        r.run()
    with np.load(tmp_path / "c.npz") as z:  # the step's end, then the checkpoint
        assert z["optimizer/t"] == 2
    r, net = trainer(loss=lambda y, t: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        r.run()
    r, net = trainer(loss=lambda y, t: y)
    with pytest.raises(ValueError, match="the loss has|want 1|backward"):
        r.run()
    r, net = trainer(loss=lambda y, t: chx.softmax_cross_entropy(y, t) * float("nan"))
    with pytest.raises(RuntimeError, match="the loss is nan"):
        r.run()

    class Bad(Net):
        def forward(self, x):
            raise Mine("forward")

    with pytest.raises(Mine, match="forward"):
        trainer(Bad())[0].run()
    r, net = trainer()
    r.run()  # and all goes on


def test_others_run_between_batches_and_ctrl_c_ends_them():
    net, x = nn.mlp([32, 8]), chx.zeros((60000, 16), dtype="float32")
    net(x[:1])
    finished, ticks = [], []

    def other():
        while not finished and len(ticks) < 3:
            ticks.append(1)
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    for work in (lambda: nn.predict(net, x, batch=2), lambda: nn.evaluate(net, nn.Dataset(x, chx.zeros(60000, dtype="int64")), batch=2)):
        del finished[:], ticks[:]
        thread = threading.Thread(target=other)
        with pytest.raises(KeyboardInterrupt):
            thread.start()
            work()
            finished.append(1)
            time.sleep(20)
        thread.join()
        assert not finished and len(ticks) == 3
    labels, scores = nn.predict(net, x[:5], batch=2, scores=True)  # and all goes on
    assert labels.shape == (5,) and scores.shape == (5, 8)


INTERRUPTED = """
import os, signal, sys
sys.path.insert(0, %r)
from test_trainer import Net, trainer
def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    sum(i for i in range(1000))  # where Python would see to it
class Killing(Net):
    calls = 0
    def forward(self, x):
        Killing.calls += 1
        if Killing.calls in %r:
            interrupt()
        return super().forward(x)
def callback(event, report):
    if event == %r and report["step"] == 3:
        interrupt()
r, net = trainer(Killing(), callback=callback, checkpoint=sys.argv[1])
try:
    r.run()
except KeyboardInterrupt:
    print("interrupted", r.is_stopped, r.history)
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def interrupted(code, path):
    return subprocess.check_output([sys.executable, "-c", code, path], universal_newlines=True, timeout=60)


@pytest.mark.parametrize("calls, event", [((3,), ""), ((), "step")])
def test_ctrl_c_ends_the_step(calls, event, tmp_path):
    path = str(tmp_path / "c.npz")
    code = INTERRUPTED % (os.path.dirname(os.path.abspath(__file__)), calls, event)
    assert interrupted(code, path) == "interrupted True []\nTrue\n"
    with np.load(path) as z:
        assert z["optimizer/t"] == 3
    whole, a = trainer()
    whole.run()
    rest, b = trainer()
    rest.resume(path).run()
    assert a.l1.W.tolist() == b.l1.W.tolist()


def test_a_second_ctrl_c_comes_at_once(tmp_path):
    path = str(tmp_path / "c.npz")
    code = INTERRUPTED % (os.path.dirname(os.path.abspath(__file__)), (3,), "")
    twice = code.replace("            interrupt()\n        return", "            interrupt(), interrupt()\n        return")
    assert twice != code and interrupted(twice, path) == "interrupted False []\nTrue\n" and not os.path.exists(path)


def test_nothing_leaks(used):
    def once():
        r, net = trainer(epochs=1, callback=lambda event, report: None)
        r.run()
        net.l1.W.add_hook(lambda g: g * 1)
        nn.evaluate(net, parts()[1])

    once()
    before = used(), len(gc.get_objects())
    for _ in range(3):
        once()
    after = used(), len(gc.get_objects())
    assert after[0] == before[0] and abs(after[1] - before[1]) <= 5

    steps = []
    r, net = trainer(epochs=3, callback=lambda event, report: steps.append(chx.memory_stats("native:0")["used"]) if event == "step" else None)
    r.run()
    assert len(steps) == 30 and steps[10:20] == steps[20:]  # within an epoch, losses that were not read back yet are held


# ---- the command ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def command():
    path = BUILD and os.path.join(BUILD, "chx")
    if not path or not os.path.exists(path):
        pytest.skip("CHX_BUILDDIR names no build of the command")

    def run(*args):
        return subprocess.check_output([path] + [str(a) for a in args], universal_newlines=True, stderr=subprocess.PIPE, timeout=120)

    return run


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_models_are_the_command_s(kind, command, tmp_path):
    out = tmp_path / "out"
    command("train", kind, "--data", DIGITS, "--epochs", 1, "--seed", 3, "--batch", 100, "--out", out, "--quiet")
    train, test = nn.load_data(DIGITS).split(0.2, seed=3)
    chx.seed(3)
    model = nn.model(kind, (1, 8, 8), 10)
    model.fit_input(train.x)
    nn.Trainer(model, optim.Adam().setup(model), train, test, epochs=1, batch=100, seed=3, checkpoint=tmp_path / "c.npz").run()
    for path in (out / "model.npz", out / "checkpoint.npz", tmp_path / "c.npz"):
        loaded = nn.load_model(path)  # the same network, to the bit
        assert not loaded.training and [n for n, _ in loaded.namedparams()] == [n for n, _ in model.namedparams()]
        for (name, p), (_, q) in zip(model.namedparams() + model.namedpersistents(), loaded.namedparams() + loaded.namedpersistents()):
            assert p.array.tolist() == q.array.tolist(), name
    want = [int(line) for line in command("predict", "--model", out / "model.npz", "--data", DIGITS).split()]
    nn.save_model(tmp_path / "m.npz", loaded)
    assert [int(line) for line in command("predict", "--model", tmp_path / "m.npz", "--data", DIGITS).split()] == want
    assert nn.predict(loaded, nn.load_data(DIGITS).x).tolist() == want
    again = nn.model(kind, (1, 8, 8), 10)
    nn.load_npz(out / "checkpoint.npz", again)
    assert nn.predict(again, test.x).tolist() == nn.predict(model, test.x).tolist()
