#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write promote.txt, the table that test_dtype compares chx_promote with, from NumPy's own rules.

    pip install numpy==2.4.6 && python make_promote.py > promote.txt

A line is "a b result", where b is a dtype, or weak-int and the like for a weak scalar (in NumPy: a Python number).
NumPy has no bfloat16. Its rows are those of float16 with one name for the other, but for the two together.
"""
import numpy as np

NAMES = {"bool": "bool", "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64", "u8": "uint8", "u16": "uint16",
         "u32": "uint32", "u64": "uint64", "f16": "float16", "bf16": None, "f32": "float32", "f64": "float64",
         "c64": "complex64", "c128": "complex128"}
OURS = {numpy: ours for ours, numpy in NAMES.items()}


def promote(a, b):
    if {a, b} == {"bf16", "f16"}:
        return "f32"
    brain = "bf16" in (a, b)
    r = OURS[np.result_type(*(np.dtype(NAMES[n] or "float16") for n in (a, b))).name]
    return "bf16" if brain and r == "f16" else r


def promote_weak(a, value):
    r = OURS[np.result_type(np.dtype(NAMES[a] or "float16"), value).name]
    return "bf16" if a == "bf16" and r == "f16" else r


print(f"# made by make_promote.py with NumPy {np.__version__}")
for a in NAMES:
    for b in NAMES:
        print(a, b, promote(a, b))
    for kind, value in (("bool", True), ("int", 2), ("float", 2.0)):
        print(a, f"weak-{kind}", promote_weak(a, value))
