/* SPDX-License-Identifier: MIT
 * shape.c: methods of ndarray that give the same elements in another shape or as another dtype, and the setter of its shape.
 */
#include "chxpy.h"
#include <string.h>

/* In place: the same elements in another shape. */
int py_set_shape(PyObject *o, PyObject *value, void *u)
{
  chx_scope *s = py_scope();
  chx_ints shape;
  (void)u;
  if (!value) return PyErr_SetString(PyExc_AttributeError, "shape cannot be deleted"), -1;
  if (!s || !py_ints_from(value, "shape", &shape)) return -1;
  if (chx_is_grad_required(py_a(o), 0) || chx_is_backprop_required(s, py_a(o)))
    return PyErr_SetString(PyExc_ValueError, "shape cannot be set of an array that takes part in a graph; reshape it"),
           -1;
  chx_array *a = chx_reshape(s, py_a(o), (int)shape.n, shape.v);
  if (!a) return py_fail(s), -1;
  if (chx_size(a) && !chx_shares_memory(a, py_a(o))) {
    chx_release(a);
    return PyErr_SetString(PyExc_AttributeError, "the elements cannot have this shape without a copy; reshape copies"),
           -1;
  }
  chx_release(py_a(o));
  ((py_array *)o)->a = a;
  return 0;
}

/* The axes in the order that order='C' or 'F' reads them. */
static PyObject *in_order(PyObject *self, PyObject *args, PyObject *kwargs, const char *format)
{
  static char *keywords[] = {"order", NULL};
  const char *order = "C";
  if (!py_scope() || !PyArg_ParseTupleAndKeywords(args, kwargs, format, keywords, &order)) return NULL;
  if (!strcmp(order, "C")) return Py_NewRef(self);
  if (!strcmp(order, "F")) return PyObject_GetAttrString(self, "T");
  return PyErr_Format(PyExc_ValueError, "order is '%s', want 'C' or 'F'", order), NULL;
}

static chx_array *flat(const chx_array *a)
{
  return a ? chx_reshape(py_scope(), a, 1, (int64_t[]){chx_size(a)}) : NULL;
}

static PyObject *ravel(PyObject *self, PyObject *args, PyObject *kwargs)
{
  PyObject *o = in_order(self, args, kwargs, "|s:ravel"), *r = o ? py_wrap(flat(py_a(o))) : NULL;
  Py_XDECREF(o);
  return r;
}

static PyObject *flatten(PyObject *self, PyObject *args, PyObject *kwargs)
{
  PyObject *o = in_order(self, args, kwargs, "|s:flatten");
  if (!o) return NULL;
  chx_array *c = chx_copy(py_scope(), py_a(o));
  PyObject *r = py_wrap(flat(c));
  chx_release(c);
  Py_DECREF(o);
  return r;
}

/* In a graph it is made of operators, whose reshape copies what is not dense; else strides say it. */
static chx_array *diagonal_recorded(chx_scope *s, const chx_array *a, int64_t offset, int axis1, int axis2)
{
  chx_array *probe = chx_diagonal(s, a, offset, axis1, axis2);
  if (!probe) return NULL;
  const int n = chx_ndim(a), at = n - 2;
  const int64_t count = chx_shape(probe)[at];
  int order[CHX_MAX_RANK], m = 0;
  int64_t shape[CHX_MAX_RANK];
  chx_release(probe);
  axis1 += axis1 < 0 ? n : 0;
  axis2 += axis2 < 0 ? n : 0;
  for (int i = 0; i < n; i++)
    if (i != axis1 && i != axis2) shape[m] = chx_shape(a)[i], order[m++] = i;
  order[m] = axis1;
  order[m + 1] = axis2;
  const int64_t columns = chx_shape(a)[axis2], start = offset < 0 ? -offset * columns : offset;
  shape[m] = chx_shape(a)[axis1] * columns;
  chx_array *last = chx_transpose(s, a, n, order), *line = last ? chx_reshape(s, last, n - 1, shape) : NULL;
  chx_array *y = line ? chx_slice_axis(s, line, at, count ? start : 0,
                                       count ? start + (count - 1) * (columns + 1) + 1 : 0, columns + 1)
                      : NULL;
  chx_release(line);
  chx_release(last);
  return y;
}

static PyObject *diagonal(PyObject *self, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"offset", "axis1", "axis2", NULL};
  chx_scope *s = py_scope();
  long long offset = 0;
  int axis1 = 0, axis2 = 1;
  if (!s || !PyArg_ParseTupleAndKeywords(args, kwargs, "|Lii:diagonal", keywords, &offset, &axis1, &axis2)) return NULL;
  return py_wrap(chx_is_backprop_required(s, py_a(self)) ? diagonal_recorded(s, py_a(self), offset, axis1, axis2)
                                                         : chx_diagonal(s, py_a(self), offset, axis1, axis2));
}

static PyObject *view(PyObject *self, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"dtype", NULL};
  chx_scope *s = py_scope();
  PyObject *o = NULL;
  int dtype;
  if (!s || !PyArg_ParseTupleAndKeywords(args, kwargs, "|O:view", keywords, &o) || !py_dtype_from(o, &dtype))
    return NULL;
  if (dtype && dtype != chx_dtype(py_a(self))) return py_wrap(chx_view(s, py_a(self), dtype));
  return py_wrap(chx_reshape(s, py_a(self), chx_ndim(py_a(self)), chx_shape(py_a(self))));
}

PyMethodDef py_array_shape_methods[] = {
    {"ravel", py_function(ravel), METH_VARARGS | METH_KEYWORDS,
     "ravel($self, order='C')\n--\n\nThe array with one axis; a view where strides can say it."},
    {"flatten", py_function(flatten), METH_VARARGS | METH_KEYWORDS,
     "flatten($self, order='C')\n--\n\nA copy with one axis."},
    {"diagonal", py_function(diagonal), METH_VARARGS | METH_KEYWORDS,
     "diagonal($self, offset=0, axis1=0, axis2=1)\n--\n\nThe elements whose indices on two axes differ by offset, in a "
     "last "
     "axis; a view, in a graph where strides can say it."},
    {"view", py_function(view), METH_VARARGS | METH_KEYWORDS,
     "view($self, dtype=None)\n--\n\nThe same memory read as another dtype, which takes part in no graph; without one "
     "a view "
     "of the array."},
    {0}};
