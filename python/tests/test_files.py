# SPDX-License-Identifier: MIT
"""chx.save, savez and load, against NumPy's files."""
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from conftest import check, sample

import chx


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3, 4)])
def test_npy_both_ways(tmp_path, dtype, shape):
    x = sample(dtype, shape)
    chx.save(tmp_path / "a.npy", chx.array(x))
    got = np.load(tmp_path / "a.npy")
    assert got.dtype == x.dtype and got.shape == x.shape and (got == x).all()
    np.save(tmp_path / "b.npy", x)
    check(chx.load(str(tmp_path / "b.npy")), x)


def test_names_and_what_is_saved(tmp_path):
    chx.save(str(tmp_path / "a"), [[1, 2], [3, 4]])  # .npy is appended, as NumPy does
    assert np.load(tmp_path / "a.npy").tolist() == [[1, 2], [3, 4]]
    x = np.arange(12.0).reshape(3, 4)
    chx.save(bytes(tmp_path / "v.npy"), chx.array(x).T[::-1])
    assert (np.load(tmp_path / "v.npy") == x.T[::-1]).all()
    np.save(tmp_path / "f.npy", np.asfortranarray(x))
    check(chx.load(tmp_path / "f.npy"), x)


def test_npz(tmp_path):
    a, b, c = sample("float32", (3, 4)), sample("int64", (5,)), sample("float64", ())
    for save in (chx.savez, chx.savez_compressed):
        save(tmp_path / "z", chx.array(a), b, c=chx.array(c))
        with np.load(tmp_path / "z.npz") as z:
            assert sorted(z.files) == ["arr_0", "arr_1", "c"]
            assert (z["arr_0"] == a).all() and (z["arr_1"] == b).all() and z["c"] == c
        with chx.load(tmp_path / "z.npz") as z:
            assert len(z) == 3 and list(z) == z.keys() == z.files and "c" in z and "d" not in z and 3 not in z
            check(z["arr_0"], a)
            assert [(k, v.shape) for k, v in z.items()] == [("arr_0", (3, 4)), ("arr_1", (5,)), ("c", ())]
            assert [v.dtype for v in z.values()] == ["float32", "int64", "float64"]
            with pytest.raises(KeyError, match="'d'"):
                z["d"]
        check(z_first(tmp_path), a)
        with pytest.raises(ValueError, match="closed"):
            z["c"]
        assert "closed" in repr(z)
    np.savez(tmp_path / "n.npz", x=a, y=b)
    z = chx.load(str(tmp_path / "n.npz"))
    check(z["x"], a)
    check(z["y"], b)
    z.close()
    z.close()


def z_first(folder):
    """An array outlives its file."""
    with chx.load(folder / "z.npz") as z:
        return z["arr_0"]


def test_devices(tmp_path):
    x = sample("float32", (4,))
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x)
    with chx.using_device("sim:0"):
        a, b = chx.load(tmp_path / "x.npy"), chx.load(tmp_path / "x.npz")["x"]
    assert a.device == b.device == "sim:0"
    chx.save(tmp_path / "y.npy", a + b)
    assert (np.load(tmp_path / "y.npy") == x + x).all()


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.npy"):
        chx.load(tmp_path / "nothing.npy")
    (tmp_path / "bad.npy").write_bytes(b"no array")
    with pytest.raises((OSError, ValueError), match="bad.npy"):
        chx.load(tmp_path / "bad.npy")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises((OSError, ValueError), match="bad.npz"):
        chx.load(tmp_path / "bad.npz")
    with pytest.raises(TypeError):
        chx.load(3.5)
    with pytest.raises(TypeError):
        chx.save(tmp_path / "a.npy", "text")
    with pytest.raises(TypeError):
        chx.savez()
    with pytest.raises(ValueError, match="arr_0"):
        chx.savez(tmp_path / "z.npz", [1], arr_0=[2])
    with pytest.raises(OSError, match="nosuch"):
        chx.save(tmp_path / "nosuch" / "a.npy", [1])
    with pytest.raises(TypeError):
        chx.savez(tmp_path / "z.npz", object())
    assert not (tmp_path / "z.npz").exists()


def test_nothing_leaks(tmp_path, used):
    x = chx.ones((100, 100))
    before = used()
    for _ in range(20):
        chx.savez(tmp_path / "z.npz", x, y=x)
        with chx.load(tmp_path / "z.npz") as z:
            assert z["y"].shape == (100, 100)
            with pytest.raises(KeyError):
                z["no"]
    assert used() == before


def test_numpy_is_not_needed(tmp_path):
    code = "import chx, sys; chx.save('a', [1, 2]); print(chx.load('a.npy').tolist(), 'numpy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=str(pathlib.Path(tmp_path)), universal_newlines=True) == "[1, 2] False\n"
