# SPDX-License-Identifier: MIT
"""DLPack's streams: a consumer's is passed on to the core, a producer is told ours; on sim, opencl, and cuda over its stand-in."""
import os
import subprocess
import sys

import pytest

import chx

FAKE = os.path.join(os.environ.get("CHX_BUILDDIR", ""), "tests", ".libs", "fake%s.so")

COMMON = """
import ctypes, os
fake = %r
for name in %r:
    os.environ["CHX_%%s_LIBRARY" %% name] = fake
os.environ["CHX_CACHE_DIR"] = ""
import chx

device = %r
driver = ctypes.CDLL(fake)  # a stream there does its work when somebody waits for it
prefix = "cu" if device == "cuda:0" else "hip"


def stream():
    s = ctypes.c_void_p()
    call = driver.cuStreamCreate if prefix == "cu" else driver.hipStreamCreateWithFlags
    assert call(ctypes.byref(s), 0) == 0
    return s.value


def wait(s):
    assert driver[prefix + "StreamSynchronize"](ctypes.c_void_p(s)) == 0


class Tensor(ctypes.Structure):  # DLTensor: what its data is
    _fields_ = [("data", ctypes.c_void_p), ("type", ctypes.c_int32), ("id", ctypes.c_int32), ("ndim", ctypes.c_int32),
                ("dtype", ctypes.c_int32), ("shape", ctypes.c_void_p), ("strides", ctypes.c_void_p), ("offset", ctypes.c_uint64)]


def tensor(capsule):
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return Tensor.from_address(get(capsule, b"dltensor"))


def numbers(t):
    return list((ctypes.c_double * 3).from_address(t.data + t.offset))


count = 0


def late():
    global count, want
    count += 1
    want = [count, count + 0.5, -count]  # memory that is used again has other numbers
    return chx.array(want, device=device)  # which its queue copies there


def refused(stream):
    try:
        late().__dlpack__(stream=stream)
    except (ValueError, TypeError) as e:
        return str(e)
"""

PRODUCER = """
t = late().__dlpack__()
assert numbers(tensor(t)) == want, "without a stream the host waits"
for handle in [stream()] + default_streams:
    a = late()
    t = a.__dlpack__(stream=handle)
    assert numbers(tensor(t)) != want, "the host does not wait"
    wait(handle)
    assert numbers(tensor(t)) == want, "the stream does"
    del t
a = late()
other = stream()
t = a.__dlpack__(stream=-1)
wait(other)
assert numbers(tensor(t)) != want, "nobody waits"
chx.synchronize(device)
assert (tensor(t).type, tensor(t).id) == a.__dlpack_device__() == (type, 0)
"""

CONSUMER = """
asked = []


class Other:
    def __init__(self, a):
        self.a = a

    def __dlpack_device__(self):
        return self.a.__dlpack_device__()

    def __dlpack__(self, **options):
        asked.append(options)
        return self.a.__dlpack__(**options)


a = late()
b = chx.from_dlpack(Other(a))
assert b.device == device and asked[0]["stream"] > 2 and asked[0]["max_version"][0] == 1, asked
assert b.tolist() == want
chx.from_dlpack(Other(a))
assert asked[1]["stream"] == asked[0]["stream"], "one queue a thread and device"
"""


def run(code):
    r = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=120)
    assert r.returncode == 0, r.stdout
    return r.stdout


def stand_in(name, libraries, device):
    if not os.path.exists(FAKE % name):
        pytest.skip("%s is not built" % (FAKE % name))
    return COMMON % (FAKE % name, libraries, device)


def test_cuda():
    code = stand_in("cuda", ["CUDA", "NVRTC", "CUBLAS", "CUDNN", "CURAND"], "cuda:0")
    run(code + "type, default_streams = 2, [1, 2]\n" + PRODUCER + CONSUMER)
    out = run(code + "print(refused(0))\nprint(refused(-2))\nprint(refused('1'))")
    assert out.splitlines() == [
        "__dlpack__: stream is %d, want None, -1, 1 (the default stream), 2 (the thread's) or a stream's handle" % v for v in (0, -2)
    ] + ["__dlpack__: stream is of type str, want None or an int"]


def test_hip():
    code = stand_in("hip", ["HIP", "HIPRTC", "ROCBLAS", "MIOPEN"], "hip:0")
    run(code + "type, default_streams = 10, []\n" + PRODUCER + CONSUMER)
    out = run(code + "print(refused(1))\nprint(refused(2))\na = late()\nt = a.__dlpack__(stream=0)\nprint(numbers(tensor(t)) == want)")
    assert out.splitlines() == [
        "__dlpack__: stream is %d, want None, -1, 0 (the default stream) or a stream's handle" % v for v in (1, 2)
    ] + ["True"]


def test_the_host_has_no_streams():
    a = chx.ones(2)
    for stream in (None, -1):
        assert chx.from_dlpack(a.__dlpack__(stream=stream)).tolist() == [1, 1]
    for stream in (0, 1, 2, 1 << 40):
        with pytest.raises(ValueError, match="native:0 has no streams, want None"):
            a.__dlpack__(stream=stream)
    with pytest.raises(OverflowError):
        a.__dlpack__(stream=1 << 80)
    with pytest.raises(TypeError, match="stream is of type float"):
        a.__dlpack__(stream=1.0)


def test_sim():
    a = chx.array([1.0, 2], device="sim:0")
    with pytest.raises(ValueError, match="stream is 0, want None, -1 or a queue's handle"):
        a.__dlpack__(stream=0)
    for stream in (None, -1):
        b = chx.from_dlpack(a.__dlpack__(stream=stream))
        b += 1
        a += 1
    chx.synchronize("sim:0")
    assert a.tolist() == [5, 6]


def test_memory_of_no_device_here():
    class Metal:
        def __dlpack_device__(self):
            return (8, 0)

        def __dlpack__(self, **unused):
            raise AssertionError("nobody is asked for what cannot be taken")

    with pytest.raises(chx.DeviceError, match="Metal"):
        chx.from_dlpack(Metal())

    class Wrong(Metal):
        def __dlpack_device__(self):
            return "ab"

    with pytest.raises(TypeError):
        chx.from_dlpack(Wrong())
