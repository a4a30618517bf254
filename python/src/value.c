/* SPDX-License-Identifier: MIT
 * value.c: single elements as Python numbers and back, item and tolist.
 */
#include "chxpy.h"
#include <math.h>
#include <string.h>

static double from_f16(uint16_t h)
{
  int exponent = h >> 10 & 31, mantissa = h & 1023;
  double v = exponent == 31 ? (mantissa ? NAN : INFINITY)
             : exponent     ? ldexp(1024 + mantissa, exponent - 25)
                            : ldexp(mantissa, -24);
  return h & 0x8000 ? -v : v;
}

static double from_bf16(uint16_t h)
{
  uint32_t bits = (uint32_t)h << 16;
  float v;
  memcpy(&v, &bits, sizeof v);
  return (double)v;
}

PyObject *py_from_element(int dtype, const void *p)
{
  switch (dtype) {
  case CHX_BOOL: return PyBool_FromLong(*(const uint8_t *)p);
  case CHX_I8: return PyLong_FromLong(*(const int8_t *)p);
  case CHX_I16: return PyLong_FromLong(*(const int16_t *)p);
  case CHX_I32: return PyLong_FromLong(*(const int32_t *)p);
  case CHX_I64: return PyLong_FromLongLong(*(const int64_t *)p);
  case CHX_U8: return PyLong_FromLong(*(const uint8_t *)p);
  case CHX_U16: return PyLong_FromLong(*(const uint16_t *)p);
  case CHX_U32: return PyLong_FromUnsignedLong(*(const uint32_t *)p);
  case CHX_U64: return PyLong_FromUnsignedLongLong(*(const uint64_t *)p);
  case CHX_F16: return PyFloat_FromDouble(from_f16(*(const uint16_t *)p));
  case CHX_BF16: return PyFloat_FromDouble(from_bf16(*(const uint16_t *)p));
  case CHX_F32: return PyFloat_FromDouble((double)*(const float *)p);
  case CHX_F64: return PyFloat_FromDouble(*(const double *)p);
  case CHX_C64: return PyComplex_FromDoubles((double)((const float *)p)[0], (double)((const float *)p)[1]);
  case CHX_C128: return PyComplex_FromDoubles(((const double *)p)[0], ((const double *)p)[1]);
  }
  PyErr_Format(PyExc_TypeError, "dtype %d has no Python number", dtype);
  return NULL;
}

/* ---- to elements ---------------------------------------------------------------------------------------------------------- */

static bool out_of_bounds(PyObject *value, int dtype)
{
  PyErr_Format(PyExc_OverflowError, "Python integer %R out of bounds for %s", value, py_dtype_name(dtype));
  return false;
}

static bool to_integer(int dtype, PyObject *value, void *p)
{
  int over = 0, bytes = chx_dtype_size(dtype);
  PyObject *n = PyFloat_Check(value) ? PyNumber_Long(value) : PyNumber_Index(value);
  if (!n) return false;
  bool fits;
  if (py_dtype_kind(dtype) == 'U') {
    uint64_t v = PyLong_AsUnsignedLongLong(n);
    fits = !(v == (uint64_t)-1 && PyErr_Occurred()) && (bytes == 8 || v >> 8 * bytes == 0);
    memcpy(p, &v, (size_t)bytes);
  } else {
    int64_t v = PyLong_AsLongLongAndOverflow(n, &over);
    fits = !over && (bytes == 8 || (v >= -(INT64_C(1) << (8 * bytes - 1)) && v < INT64_C(1) << (8 * bytes - 1)));
    memcpy(p, &v, (size_t)bytes);
  }
  if (!fits) {
    PyErr_Clear();
    out_of_bounds(n, dtype);
  }
  Py_DECREF(n);
  return fits;
}

bool py_to_element(int dtype, PyObject *value, void *p)
{
  switch (py_dtype_kind(dtype)) {
  case 'B': {
    int v = PyObject_IsTrue(value);
    if (v < 0) return false;
    *(uint8_t *)p = (uint8_t)v;
    return true;
  }
  case 'I':
  case 'U': return to_integer(dtype, value, p);
  case 'C': {
    Py_complex v = PyComplex_AsCComplex(value);
    if (PyErr_Occurred()) return false;
    if (dtype == CHX_C64) memcpy(p, (float[]){(float)v.real, (float)v.imag}, 8);
    else memcpy(p, (double[]){v.real, v.imag}, 16);
    return true;
  }
  default: {
    double v = PyFloat_AsDouble(value);
    if (v == -1 && PyErr_Occurred()) return false;
    if (dtype == CHX_F32) *(float *)p = (float)v;
    else *(double *)p = v;
    return true;
  }
  }
}

/* ---- item, tolist ------------------------------------------------------------------------------------------------------------ */

PyObject *py_item(chx_scope *s, const chx_array *a)
{
  _Alignas(16) unsigned char v[16];
  if (chx_size(a) != 1) {
    PyErr_Format(PyExc_ValueError, "the array has %lld elements, want one", (long long)chx_size(a));
    return NULL;
  }
  chx_read(s, a, v, (size_t)chx_nbytes(a));
  return py_check(s) ? py_from_element(chx_dtype(a), v) : NULL;
}

static PyObject *nested(const chx_array *a, int axis, const char **p)
{
  const int dtype = chx_dtype(a);
  if (axis == chx_ndim(a)) {
    PyObject *o = py_from_element(dtype, *p);
    *p += chx_dtype_size(dtype);
    return o;
  }
  PyObject *list = PyList_New((Py_ssize_t)chx_shape(a)[axis]);
  for (Py_ssize_t i = 0; list && i < (Py_ssize_t)chx_shape(a)[axis]; i++) {
    PyObject *o = nested(a, axis + 1, p);
    if (o) PyList_SET_ITEM(list, i, o);
    else Py_CLEAR(list);
  }
  return list;
}

PyObject *py_tolist(chx_scope *s, const chx_array *a)
{
  size_t bytes = (size_t)chx_nbytes(a);
  char *data = PyMem_RawMalloc(bytes ? bytes : 1);
  if (!data) return PyErr_NoMemory();
  chx_read(s, a, data, bytes);
  const char *p = data;
  PyObject *list = py_check(s) ? nested(a, 0, &p) : NULL;
  PyMem_RawFree(data);
  return list;
}
