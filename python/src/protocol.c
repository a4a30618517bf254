/* SPDX-License-Identifier: MIT
 * protocol.c: what other libraries ask of an array: NumPy's __array_ufunc__ and __array_function__, and the array API
 * standard's __array_namespace__, to_device and __complex__. The first three are in Python and loaded when asked for.
 */
#include "chxpy.h"

/* function(self, *args, **kwargs) of a module of the package. */
static PyObject *forward(const char *module, const char *function, PyObject *self, PyObject *args, PyObject *kwargs)
{
  const Py_ssize_t n = PyTuple_GET_SIZE(args);
  PyObject *m = PyImport_ImportModule(module), *f = m ? PyObject_GetAttrString(m, function) : NULL, *r = NULL;
  PyObject *all = f ? PyTuple_New(n + 1) : NULL;
  if (all) {
    PyTuple_SET_ITEM(all, 0, Py_NewRef(self));
    for (Py_ssize_t i = 0; i < n; i++) PyTuple_SET_ITEM(all, i + 1, Py_NewRef(PyTuple_GET_ITEM(args, i)));
    r = PyObject_Call(f, all, kwargs);
    Py_DECREF(all);
  }
  Py_XDECREF(f);
  Py_XDECREF(m);
  return r;
}

static PyObject *array_ufunc(PyObject *self, PyObject *args, PyObject *kwargs)
{
  return forward("chx._numpy", "array_ufunc", self, args, kwargs);
}

static PyObject *array_function(PyObject *self, PyObject *args, PyObject *kwargs)
{
  return forward("chx._numpy", "array_function", self, args, kwargs);
}

static PyObject *array_namespace(PyObject *self, PyObject *args, PyObject *kwargs)
{
  return forward("chx.array_api", "_namespace_of", self, args, kwargs);
}

/* The standard's stream is a queue to be waited for; our own work is in order already. */
static PyObject *to_device(PyObject *self, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"device", "stream", NULL};
  const char *device;
  PyObject *stream = Py_None;
  chx_scope *s = py_scope();
  if (!s || !PyArg_ParseTupleAndKeywords(args, kwargs, "s|$O:to_device", keywords, &device, &stream)) return NULL;
  if (stream != Py_None)
    return PyErr_Format(PyExc_ValueError, "to_device: stream is %R, want None: arrays keep their order", stream), NULL;
  return py_same_or_wrap(self, chx_to(s, py_a(self), device));
}

static PyObject *to_complex(PyObject *self, PyObject *unused)
{
  chx_scope *s = py_scope();
  (void)unused;
  if (!s) return NULL;
  if (chx_size(py_a(self)) != 1)
    return PyErr_Format(PyExc_TypeError, "an array of %lld elements is not one number",
                        (long long)chx_size(py_a(self))),
           NULL;
  PyObject *v = py_item(s, py_a(self));
  const Py_complex c = v ? PyComplex_AsCComplex(v) : (Py_complex){0, 0};
  Py_XDECREF(v);
  return PyErr_Occurred() ? NULL : PyComplex_FromCComplex(c);
}

PyMethodDef py_array_protocol_methods[] = {
    {"__array_ufunc__", py_function(array_ufunc), METH_VARARGS | METH_KEYWORDS,
     "__array_ufunc__($self, ufunc, method, *inputs, **kwargs)\n--\n\nNumPy's ufuncs on arrays of chx: its operator of "
     "that meaning, or TypeError."},
    {"__array_function__", py_function(array_function), METH_VARARGS | METH_KEYWORDS,
     "__array_function__($self, func, types, args, kwargs)\n--\n\nNumPy's functions on arrays of chx: its function of "
     "the same name, or TypeError."},
    {"__array_namespace__", py_function(array_namespace), METH_VARARGS | METH_KEYWORDS,
     "__array_namespace__($self, *, api_version=None)\n--\n\nchx.array_api, the functions under the array API standard's "
     "names."},
    {"to_device", py_function(to_device), METH_VARARGS | METH_KEYWORDS,
     "to_device($self, device, *, stream=None)\n--\n\nThe array on a device, as to()."},
    {"__complex__", to_complex, METH_NOARGS, NULL},
    {0}};
