/* SPDX-License-Identifier: MIT
 * create.c: functions that make arrays: array, asarray, zeros and its like, arange.
 */
#include "chxpy.h"
#include <math.h>

static PyObject *from_object(PyObject *args, PyObject *kwargs, const char *format, int copy, bool copy_given)
{
  static char *with[] = {"object", "dtype", "copy", "device", NULL}, *without[] = {"object", "dtype", "device", NULL};
  PyObject *o, *dtype_object = NULL, *fresh = NULL, *device = NULL, *r = NULL;
  py_device_use use;
  int dtype;
  chx_scope *s = py_scope();
  if (!s ||
      !(copy_given ? PyArg_ParseTupleAndKeywords(args, kwargs, format, with, &o, &dtype_object, &fresh, &device)
                   : PyArg_ParseTupleAndKeywords(args, kwargs, format, without, &o, &dtype_object, &device)) ||
      !py_dtype_from(dtype_object, &dtype))
    return NULL;
  if (fresh) copy = fresh == Py_None ? -1 : PyObject_IsTrue(fresh);
  if (PyErr_Occurred()) return NULL;
  /* An array stays on its device unless another is named. */
  PyObject *home = py_is_array(o) && (!device || device == Py_None) ? PyUnicode_FromString(chx_device(py_a(o))) : NULL;
  if (py_device_enter(s, home ? home : device, &use)) {
    chx_array *a = py_array_from(s, o, dtype, copy);
    r = !a ? NULL : py_is_array(o) ? py_same_or_wrap(o, a) : py_wrap(a);
    py_device_leave(s, &use);
  }
  Py_XDECREF(home);
  return r;
}

static PyObject *array(PyObject *m, PyObject *args, PyObject *kwargs)
{
  (void)m;
  return from_object(args, kwargs, "O|OO$O:array", 1, true);
}

static PyObject *asarray(PyObject *m, PyObject *args, PyObject *kwargs)
{
  (void)m;
  return from_object(args, kwargs, "O|O$O:asarray", -1, false);
}

/* ---- of a shape ---------------------------------------------------------------------------------------------------------------- */

typedef chx_array *(*maker)(chx_scope *, int, int, const int64_t *);

static PyObject *of_shape(PyObject *args, PyObject *kwargs, const char *format, maker make)
{
  static char *keywords[] = {"shape", "dtype", "device", NULL};
  PyObject *shape, *dtype_object = NULL, *device = NULL, *r = NULL;
  py_device_use use;
  chx_ints n;
  int dtype;
  chx_scope *s = py_scope();
  if (!s || !PyArg_ParseTupleAndKeywords(args, kwargs, format, keywords, &shape, &dtype_object, &device) ||
      !py_ints_from(shape, "shape", &n) || !py_dtype_from(dtype_object, &dtype) || !py_device_enter(s, device, &use))
    return NULL;
  r = py_wrap(make(s, dtype ? dtype : CHX_F64, (int)n.n, n.v));
  py_device_leave(s, &use);
  return r;
}

#define OF_SHAPE(name) \
  static PyObject *name(PyObject *m, PyObject *args, PyObject *kwargs) \
  { \
    (void)m; \
    return of_shape(args, kwargs, "O|O$O:" #name, chx_##name); \
  }
OF_SHAPE(empty)
OF_SHAPE(zeros)
OF_SHAPE(ones)

/* An array of a shape whose elements are one Python number or 0-d array. dtype 0: the value's own. */
static PyObject *filled(chx_scope *s, int dtype, int ndim, const int64_t *shape, PyObject *value)
{
  chx_array *v = py_array_from(s, value, dtype, -1), *a = v ? chx_empty(s, chx_dtype(v), ndim, shape) : NULL;
  if (a && chx_copy_into(s, a, v)) chx_release(a), a = NULL;
  chx_release(v);
  return py_wrap(a);
}

static PyObject *full(PyObject *m, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"shape", "fill_value", "dtype", "device", NULL};
  PyObject *shape, *value, *dtype_object = NULL, *device = NULL;
  py_device_use use;
  chx_ints n;
  int dtype;
  chx_scope *s = py_scope();
  (void)m;
  if (!s ||
      !PyArg_ParseTupleAndKeywords(args, kwargs, "OO|O$O:full", keywords, &shape, &value, &dtype_object, &device) ||
      !py_ints_from(shape, "shape", &n) || !py_dtype_from(dtype_object, &dtype) || !py_device_enter(s, device, &use))
    return NULL;
  PyObject *r = filled(s, dtype, (int)n.n, n.v, value);
  py_device_leave(s, &use);
  return r;
}

/* ---- like another ------------------------------------------------------------------------------------------------------------- */

static PyObject *like(PyObject *args, PyObject *kwargs, const char *format, maker make)
{
  static char *keywords[] = {"a", "dtype", "device", NULL};
  PyObject *o, *dtype_object = NULL, *device = NULL;
  py_device_use use;
  int dtype;
  chx_scope *s = py_scope();
  if (!s || !PyArg_ParseTupleAndKeywords(args, kwargs, format, keywords, &py_array_type, &o, &dtype_object, &device) ||
      !py_dtype_from(dtype_object, &dtype))
    return NULL;
  const chx_array *a = py_a(o);
  PyObject *home = !device || device == Py_None ? PyUnicode_FromString(chx_device(a)) : Py_NewRef(device), *r = NULL;
  if (home && py_device_enter(s, home, &use)) {
    r = py_wrap(make(s, dtype ? dtype : chx_dtype(a), chx_ndim(a), chx_shape(a)));
    py_device_leave(s, &use);
  }
  Py_XDECREF(home);
  return r;
}

#define LIKE(name) \
  static PyObject *name##_like(PyObject *m, PyObject *args, PyObject *kwargs) \
  { \
    (void)m; \
    return like(args, kwargs, "O!|O$O:" #name "_like", chx_##name); \
  }
LIKE(empty)
LIKE(zeros)
LIKE(ones)

static PyObject *full_like(PyObject *m, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"a", "fill_value", "dtype", NULL};
  PyObject *o, *value, *dtype_object = NULL;
  py_device_use use;
  int dtype;
  chx_scope *s = py_scope();
  (void)m;
  if (!s ||
      !PyArg_ParseTupleAndKeywords(args, kwargs, "O!O|O:full_like", keywords, &py_array_type, &o, &value,
                                   &dtype_object) ||
      !py_dtype_from(dtype_object, &dtype))
    return NULL;
  const chx_array *a = py_a(o);
  PyObject *home = PyUnicode_FromString(chx_device(a)), *r = NULL;
  if (home && py_device_enter(s, home, &use)) {
    r = filled(s, dtype ? dtype : chx_dtype(a), chx_ndim(a), chx_shape(a), value);
    py_device_leave(s, &use);
  }
  Py_XDECREF(home);
  return r;
}

/* ---- arange ---------------------------------------------------------------------------------------------------------------------- */

static PyObject *arange(PyObject *m, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"start", "stop", "step", "dtype", "device", NULL};
  PyObject *value[3] = {NULL}, *dtype_object = NULL, *device = NULL;
  double v[3] = {0, 0, 1};
  py_device_use use;
  int dtype;
  chx_scope *s = py_scope();
  (void)m;
  if (!s ||
      !PyArg_ParseTupleAndKeywords(args, kwargs, "O|OOO$O:arange", keywords, &value[0], &value[1], &value[2],
                                   &dtype_object, &device) ||
      !py_dtype_from(dtype_object, &dtype))
    return NULL;
  if (!value[1] || value[1] == Py_None) value[1] = value[0], value[0] = NULL;
  bool real = false;
  for (int i = 0; i < 3; i++)
    if (value[i] && value[i] != Py_None) {
      v[i] = PyFloat_AsDouble(value[i]);
      real |= !PyIndex_Check(value[i]);
    }
  if (PyErr_Occurred()) return NULL;
  if (v[2] == 0) return PyErr_SetString(PyExc_ZeroDivisionError, "arange: step is 0, want another"), NULL;
  double n = ceil((v[1] - v[0]) / v[2]);
  if (isnan(n) || n > 0x1p53)
    return PyErr_SetString(PyExc_ValueError, "arange: the length is not finite, want it to be"), NULL;
  if (!py_device_enter(s, device, &use)) return NULL;
  PyObject *r = py_wrap(chx_arange(s, dtype ? dtype : real ? CHX_F64 : CHX_I64, v[0], v[2], n > 0 ? (int64_t)n : 0));
  py_device_leave(s, &use);
  return r;
}

/* The values on the host, wherever they are: what asking for a copy in so many words is for. */
static PyObject *to_numpy(PyObject *m, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"array", "copy", NULL};
  PyObject *o, *numpy = NULL, *r = NULL;
  int fresh = 1;
  chx_scope *s = py_scope();
  (void)m;
  if (!s || !PyArg_ParseTupleAndKeywords(args, kwargs, "O!|p:to_numpy", keywords, &py_array_type, &o, &fresh))
    return NULL;
  PyObject *host = py_same_or_wrap(o, chx_to(s, py_a(o), "native:0"));
  if (host && (numpy = PyImport_ImportModule("numpy")))
    r = PyObject_CallMethod(numpy, fresh && host == o ? "array" : "asarray", "O", host);
  Py_XDECREF(numpy);
  Py_XDECREF(host);
  return r;
}

#define MAKES(name, signature, doc) \
  { \
#name, py_function(name), METH_VARARGS | METH_KEYWORDS, #name signature "\n--\n\n" doc \
  }
PyMethodDef py_create_functions[] = {
    MAKES(array, "(object, dtype=None, copy=True, *, device=None)",
          "An array of numbers, lists, an array, a buffer (NumPy's) or what has __dlpack__. copy=None: only if needed; "
          "False: never."),
    MAKES(asarray, "(object, dtype=None, *, device=None)",
          "As array with copy=None: memory of the host is shared where its layout allows it."),
    MAKES(empty, "(shape, dtype=None, *, device=None)",
          "An array whose elements are not set; float64 unless a dtype is named."),
    MAKES(zeros, "(shape, dtype=None, *, device=None)", "An array of zeros; float64 unless a dtype is named."),
    MAKES(ones, "(shape, dtype=None, *, device=None)", "An array of ones; float64 unless a dtype is named."),
    MAKES(full, "(shape, fill_value, dtype=None, *, device=None)",
          "An array of one value, of the value's dtype unless one is named."),
    MAKES(empty_like, "(a, dtype=None, *, device=None)",
          "An array of a's shape, dtype and device whose elements are not set."),
    MAKES(zeros_like, "(a, dtype=None, *, device=None)", "Zeros of a's shape, dtype and device."),
    MAKES(ones_like, "(a, dtype=None, *, device=None)", "Ones of a's shape, dtype and device."),
    MAKES(full_like, "(a, fill_value, dtype=None)", "One value, of a's shape, dtype and device."),
    MAKES(arange, "(start, stop=None, step=1, dtype=None, *, device=None)",
          "start, start + step, ... before stop; of integers int64, else float64."),
    MAKES(
        to_numpy, "(array, copy=True)",
        "NumPy's array of the values, copied from any device; copy=False: of the same memory where it is the host's."),
    {0}};
