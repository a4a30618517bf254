# Written by python/tools/stubs.py.
import builtins as _builtins
from typing import Any, Optional, Sequence, Tuple, Union, final, overload
from typing_extensions import Self
from chx import ndarray as ndarray, dtype as dtype, _float

from chx import finfo as finfo
from chx import iinfo as iinfo
from chx import abs as abs
from chx import acos as acos
from chx import acosh as acosh
from chx import add as add
from chx import all as all
from chx import any as any
from chx import arange as arange
from chx import argmax as argmax
from chx import argmin as argmin
def argsort(x: Any, /, *, axis: Any = -1, descending: Any = False, stable: Any = True) -> Any: ...
def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: Any = None) -> Any: ...
from chx import asin as asin
from chx import asinh as asinh
def astype(x: Any, dtype: Any, /, *, copy: Any = True, device: Any = None) -> Any: ...
from chx import atan as atan
from chx import atan2 as atan2
from chx import atanh as atanh
from chx import bitwise_and as bitwise_and
from chx import bitwise_invert as bitwise_invert
from chx import bitwise_left_shift as bitwise_left_shift
from chx import bitwise_or as bitwise_or
from chx import bitwise_right_shift as bitwise_right_shift
from chx import bitwise_xor as bitwise_xor
bool: dtype
from chx import broadcast_arrays as broadcast_arrays
from chx import broadcast_to as broadcast_to
from chx import can_cast as can_cast
from chx import ceil as ceil
def clip(x: Any, /, min: Any = None, max: Any = None) -> Any: ...
complex128: dtype
complex64: dtype
def concat(arrays: Any, /, *, axis: Any = 0) -> Any: ...
from chx import conj as conj
from chx import copysign as copysign
from chx import cos as cos
from chx import cosh as cosh
def cumulative_prod(x: Any, /, *, axis: Any = None, dtype: Any = None, include_initial: Any = False) -> Any: ...
def cumulative_sum(x: Any, /, *, axis: Any = None, dtype: Any = None, include_initial: Any = False) -> Any: ...
from chx import divide as divide
e: _float
from chx import empty as empty
from chx import empty_like as empty_like
from chx import equal as equal
from chx import exp as exp
def expand_dims(x: Any, /, *, axis: Any = 0) -> Any: ...
from chx import expm1 as expm1
from chx import eye as eye
from chx import flip as flip
float32: dtype
float64: dtype
from chx import floor as floor
from chx import floor_divide as floor_divide
from chx import from_dlpack as from_dlpack
from chx import full as full
from chx import full_like as full_like
from chx import greater as greater
from chx import greater_equal as greater_equal
from chx import hypot as hypot
from chx import imag as imag
inf: _float
int16: dtype
int32: dtype
int64: dtype
int8: dtype
from chx import isdtype as isdtype
from chx import isfinite as isfinite
from chx import isinf as isinf
from chx import isnan as isnan
from chx import less as less
from chx import less_equal as less_equal
from chx import linspace as linspace
from chx import log as log
from chx import log10 as log10
from chx import log1p as log1p
from chx import log2 as log2
from chx import logaddexp as logaddexp
from chx import logical_and as logical_and
from chx import logical_not as logical_not
from chx import logical_or as logical_or
from chx import logical_xor as logical_xor
from chx import matmul as matmul
def matrix_transpose(x: Any, /) -> Any: ...
from chx import max as max
from chx import maximum as maximum
from chx import mean as mean
from chx import meshgrid as meshgrid
from chx import min as min
from chx import minimum as minimum
from chx import moveaxis as moveaxis
from chx import multiply as multiply
nan: _float
from chx import negative as negative
newaxis: Any
from chx import nonzero as nonzero
from chx import not_equal as not_equal
from chx import ones as ones
from chx import ones_like as ones_like
from chx import permute_dims as permute_dims
pi: _float
def positive(x: Any, /) -> Any: ...
from chx import pow as pow
from chx import prod as prod
from chx import real as real
from chx import remainder as remainder
from chx import repeat as repeat
def reshape(x: Any, /, shape: Any, *, copy: Any = None) -> Any: ...
from chx import result_type as result_type
from chx import roll as roll
from chx import round as round
from chx import searchsorted as searchsorted
from chx import sign as sign
from chx import signbit as signbit
from chx import sin as sin
from chx import sinh as sinh
def sort(x: Any, /, *, axis: Any = -1, descending: Any = False, stable: Any = True) -> Any: ...
from chx import sqrt as sqrt
from chx import square as square
from chx import squeeze as squeeze
from chx import stack as stack
def std(x: Any, /, *, axis: Any = None, correction: Any = 0.0, keepdims: Any = False) -> Any: ...
from chx import subtract as subtract
from chx import sum as sum
def take(x: Any, indices: Any, /, *, axis: Any = None) -> Any: ...
from chx import tan as tan
from chx import tanh as tanh
from chx import tensordot as tensordot
from chx import tile as tile
from chx import tril as tril
from chx import triu as triu
from chx import trunc as trunc
uint16: dtype
uint32: dtype
uint64: dtype
uint8: dtype
def unstack(x: Any, /, *, axis: Any = 0) -> Any: ...
def var(x: Any, /, *, axis: Any = None, correction: Any = 0.0, keepdims: Any = False) -> Any: ...
from chx import vecdot as vecdot
from chx import where as where
from chx import zeros as zeros
from chx import zeros_like as zeros_like
