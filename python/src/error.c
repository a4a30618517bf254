/* SPDX-License-Identifier: MIT
 * error.c: the core's errors as Python's exceptions.
 */
#include "chxpy.h"

PyObject *py_device_error;

static PyObject *exception_of(chx_status code)
{
  switch (code) {
  case CHX_EARG:
  case CHX_ESHAPE: return PyExc_ValueError;
  case CHX_EDTYPE: return PyExc_TypeError;
  case CHX_EDEVICE:
  case CHX_ELOST: return py_device_error;
  case CHX_ENOMEM: return PyExc_MemoryError;
  case CHX_EUNSUPPORTED: return PyExc_NotImplementedError;
  case CHX_EIO: return PyExc_OSError;
  default: return PyExc_RuntimeError;
  }
}

/* An exception that a callback left is the cause of the scope's error, and stays. */
PyObject *py_fail(chx_scope *s)
{
  if (!PyErr_Occurred()) PyErr_SetString(exception_of(chx_scope_error(s)), chx_scope_message(s));
  chx_scope_clear(s);
  return NULL;
}

PyObject *py_fail_as(chx_scope *s, PyObject *kind)
{
  if (chx_scope_error(s) == CHX_EARG && !PyErr_Occurred()) PyErr_SetString(kind, chx_scope_message(s));
  return py_fail(s);
}
