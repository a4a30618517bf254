#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write the .npy and .npz files that test_npy reads, by NumPy and Python's zipfile.

    pip install numpy==2.4.6 ml_dtypes==0.6.0 && python make_npy.py

Arrays are named DTYPE-ORDER-SHAPE, such as "f32-F-2x3"; ORDER is C or F, with "be" behind it for big-endian elements.
Element k, counted in C order, is k - 3; of unsigned dtypes k, of bool k odd, of complex ones k - 3 + k i.
"""
import io
import os
import struct
import zipfile

import ml_dtypes
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
DTYPES = {"bool": "b1", "i8": "i1", "i16": "i2", "i32": "i4", "i64": "i8", "u8": "u1", "u16": "u2", "u32": "u4",
          "u64": "u8", "f16": "f2", "f32": "f4", "f64": "f8", "c64": "c8", "c128": "c16"}


def array(dtype, order, shape):
    n = int(np.prod(shape, dtype=int))
    k = np.arange(n)
    v = k % 2 if dtype == "bool" else k if dtype[0] == "u" else k - 3
    if dtype[0] == "c":
        v = v + 1j * k
    t = ml_dtypes.bfloat16 if dtype == "bf16" else np.dtype((">" if order.endswith("be") else "<") + DTYPES[dtype])
    return np.asarray(v.astype(t).reshape(shape), order=order[0])


def named(dtype, order, shape):
    return f"{dtype}-{order}-{'x'.join(map(str, shape))}", array(dtype, order, shape)


def all_arrays():
    shapes = [(7,), (2, 3), (3, 1, 4), ()]
    out = [named("bf16", "C", (5,)), named("f32", "C", (0, 4)), named("i16", "F", (3, 0)), named("f64", "C", (1,) * 16)]
    for i, d in enumerate(DTYPES):
        for j, order in enumerate(("C", "F", "Cbe", "Fbe")):
            out.append(named(d, order, shapes[(i + j) % 4]))
    return dict(out)


def npy(a, version=None):
    f = io.BytesIO()
    np.lib.format.write_array(f, a, version=version)
    return f.getvalue()


class Stream(io.RawIOBase):
    """Not seekable, so that zipfile writes data descriptors."""
    def __init__(self):
        self.data = b""

    def writable(self):
        return True

    def write(self, b):
        self.data += bytes(b)
        return len(b)


def zip64(entries):
    """Every size and offset in zip64's fields, stored."""
    out, central = b"", b""
    for name, data in entries:
        crc, at, n = zipfile.crc32(data), len(out), len(data)
        common = struct.pack("<HHHHHIII", 45, 0, 0, 0, 0x21, crc, 0xffffffff, 0xffffffff)
        out += b"PK\3\4" + common + struct.pack("<HH", len(name), 20) + name + struct.pack("<HHQQ", 1, 16, n, n) + data
        extra = struct.pack("<HHB", 0x4141, 1, 7) + struct.pack("<HHQQQ", 1, 24, n, n, at)
        central += (b"PK\1\2" + struct.pack("<H", 45) + common + struct.pack("<HHHHHII", len(name), len(extra), 0, 0, 0, 0, 0xffffffff)
                    + name + extra)
    end = len(out) + len(central)
    out += central + b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, len(entries), len(entries), len(central), len(out))
    out += b"PK\6\7" + struct.pack("<IQI", 0, end, 1)
    return out + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 0xffff, 0xffff, 0xffffffff, 0xffffffff, 0)


def put(name, data):
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(data)


def main():
    arrays = all_arrays()
    np.savez(os.path.join(HERE, "npz_stored.npz"), **arrays)
    np.savez_compressed(os.path.join(HERE, "npz_deflated.npz"), **arrays)
    s = Stream()
    with zipfile.ZipFile(s, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("readme.txt", "passed over")
        for name in ("f32-C-2x3", "i64-F-2x3"):
            d, order, _ = name.split("-")
            z.writestr(name + ".npy", npy(array(d, order, (2, 3))))
    put("npz_stream.npz", s.data + b"")
    put("npz_zip64.npz", zip64([(n.encode() + b".npy", npy(array(n.split("-")[0], "C", (2, 3)))) for n in ("f32-C-2x3", "i64-C-2x3")]))
    for v in (1, 2, 3):
        put(f"npy_v{v}.npy", npy(array("f32", "C", (3, 1, 4)), (v, 0)))
    put("npy_fortran_be.npy", npy(array("f64", "Fbe", (2, 3))))
    put("npy_bf16.npy", npy(array("bf16", "C", (5,))))
    put("npy_structured.npy", npy(np.zeros(2, dtype=[("a", "<f4"), ("b", "<i4")])))
    put("npy_text.npy", npy(np.array(["one", "two"])))
    put("npy_opaque.npy", npy(np.zeros(2, dtype="V2")))
    put("npy_dates.npy", npy(np.zeros(2, dtype="M8[s]")))
    f = io.BytesIO()
    np.save(f, np.array([1, "a"], dtype=object), allow_pickle=True)
    put("npy_objects.npy", f.getvalue())


main()
