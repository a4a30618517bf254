/* SPDX-License-Identifier: MIT
 * convert.c: arrays and operands of what Python has: numbers, lists, buffers (NumPy's arrays are such), DLPack.
 *
 * A buffer of the host's memory becomes an array on native:0 without a copy where its layout allows that; the array then holds
 * the buffer. The deleter may come from any thread, with or without the GIL.
 */
#include "chxpy.h"
#include <string.h>

/* ---- buffers ---------------------------------------------------------------------------------------------------------------- */

static void end_buffer(void *ctx)
{
  if (!Py_IsInitialized()) return; /* at the end of the process nobody is left to give it back to */
  PyGILState_STATE gil = PyGILState_Ensure();
  chx_scope *s = py_scope_hide(); /* what ends with the buffer may be anything */
  PyBuffer_Release(ctx);
  PyMem_Free(ctx);
  py_scope_show(s);
  PyGILState_Release(gil);
}

/* Whether the buffer's layout can be an array's, and its strides in elements. */
static bool layout(const Py_buffer *b, int dtype, int64_t *shape, int64_t *strides)
{
  int size = chx_dtype_size(dtype);
  bool fits = b->suboffsets == NULL && (uintptr_t)b->buf % (unsigned)(size > 8 ? 8 : size) == 0;
  int64_t dense = 1;
  for (int i = b->ndim - 1; i >= 0; i--) {
    shape[i] = b->shape[i];
    fits &= !b->strides || b->strides[i] % size == 0;
    strides[i] = b->strides ? b->strides[i] / size : dense;
    dense *= shape[i];
  }
  return fits;
}

static chx_array *copy_buffer(chx_scope *s, const Py_buffer *b, int dtype, const int64_t *shape)
{
  if (PyBuffer_IsContiguous(b, 'C')) return chx_from_host(s, dtype, b->ndim, shape, b->buf);
  char *data = PyMem_RawMalloc(b->len ? (size_t)b->len : 1);
  if (!data) return PyErr_NoMemory(), NULL;
  chx_array *a = NULL;
  if (PyBuffer_ToContiguous(data, (Py_buffer *)b, b->len, 'C') == 0) a = chx_from_host(s, dtype, b->ndim, shape, data);
  PyMem_RawFree(data);
  return a;
}

/* copy as py_array_from's. A copy is on the scope's device, what is not copied on native:0. */
static chx_array *from_buffer(chx_scope *s, PyObject *o, int copy)
{
  int64_t shape[CHX_MAX_RANK], strides[CHX_MAX_RANK];
  Py_buffer *b = PyMem_Malloc(sizeof *b);
  if (!b) return PyErr_NoMemory(), NULL;
  if (PyObject_GetBuffer(o, b, PyBUF_FULL_RO) < 0) return PyMem_Free(b), NULL;
  chx_array *a = NULL;
  int dtype = b->ndim <= CHX_MAX_RANK ? py_dtype_of_format(b->format, b->itemsize) : CHX_DTYPE_NONE;
  if (b->ndim > CHX_MAX_RANK) PyErr_Format(PyExc_ValueError, "the rank is %d, want 0 to %d", b->ndim, CHX_MAX_RANK);
  else if (!dtype)
    PyErr_Format(PyExc_TypeError, "elements of format '%s' (%zd bytes) have no dtype of chx",
                 b->format ? b->format : "B", b->itemsize);
  if (PyErr_Occurred()) goto done;
  bool fits = layout(b, dtype, shape, strides) && !b->readonly;
  if (copy <= 0 && fits) return chx_wrap(s, dtype, b->ndim, shape, strides, b->buf, end_buffer, b);
  if (copy) a = copy_buffer(s, b, dtype, shape);
  else
    PyErr_SetString(PyExc_ValueError,
                    "the buffer is read-only or its layout is not an array's: it cannot be had without a copy");
done:
  PyBuffer_Release(b);
  PyMem_Free(b);
  return a;
}

/* ---- numbers ---------------------------------------------------------------------------------------------------------------- */

/* A weak scalar of a Python number: 1, 0, -1 as py_operand_from. */
static int from_number(chx_scope *s, PyObject *o, chx_array **out)
{
  if (PyFloat_CheckExact(o)) *out = chx_real(s, PyFloat_AS_DOUBLE(o));
  else if (PyBool_Check(o)) *out = chx_bool(s, o == Py_True);
  else if (PyLong_CheckExact(o)) {
    long long v = PyLong_AsLongLong(o);
    if (v == -1 && PyErr_Occurred()) return -1;
    *out = chx_int(s, v);
  } else return 0;
  return *out ? 1 : (py_fail(s), -1);
}

int py_operand_from_other(chx_scope *s, PyObject *o, int flags, py_operand *x)
{
  int r = from_number(s, o, &x->own);
  if (!r) {
    const bool list = flags & PY_LISTS && (PyList_Check(o) || PyTuple_Check(o));
    if (!list && (PyBytes_Check(o) || PyByteArray_Check(o) || !PyObject_CheckBuffer(o))) return 0;
    x->own = list ? py_array_from(s, o, CHX_DTYPE_NONE, -1) : from_buffer(s, o, -1);
    r = x->own ? 1 : -1;
    if (!x->own && !PyErr_Occurred()) py_fail(s);
  }
  x->a = x->own;
  return r;
}

/* ---- lists ------------------------------------------------------------------------------------------------------------------- */

typedef struct py_list {
  int ndim;
  int64_t shape[CHX_MAX_RANK];
  int kind;
  bool negative, wide;
} py_list;

static bool is_sequence(PyObject *o) { return PyList_Check(o) || PyTuple_Check(o) || PyRange_Check(o); }

/* What stands for an element that is an array itself: its values as lists. */
static PyObject *plain(PyObject *o)
{
  if (py_is_array(o) || (PyObject_CheckBuffer(o) && !PyBytes_Check(o) && !PyByteArray_Check(o)))
    return PyObject_CallMethod(o, "tolist", NULL);
  return is_sequence(o) ? PySequence_Fast(o, "want a sequence") : Py_NewRef(o);
}

static bool ragged(int axis, Py_ssize_t n, int64_t want)
{
  PyErr_Format(PyExc_ValueError, "the lists of axis %d have %zd and %lld elements, want one length", axis, n,
               (long long)want);
  return false;
}

/* 0 bool, 1 integer, 2 float, 3 complex, as they promote. */
static bool kind_of_number(PyObject *o, py_list *l)
{
  int kind;
  if (PyBool_Check(o)) kind = 0;
  else if (PyFloat_Check(o)) kind = 2;
  else if (PyComplex_Check(o)) kind = 3;
  else if (PyIndex_Check(o)) {
    kind = 1;
    int over = 0;
    PyObject *n = PyNumber_Index(o);
    long long v = n ? PyLong_AsLongLongAndOverflow(n, &over) : -1;
    Py_XDECREF(n);
    if (!n) return false;
    l->negative |= over < 0 || (!over && v < 0);
    l->wide |= over != 0;
  } else {
    PyErr_Format(PyExc_TypeError, "an element is of type %s, want a number", Py_TYPE(o)->tp_name);
    return false;
  }
  if (kind > l->kind) l->kind = kind;
  return true;
}

/* Sets the shape by the first elements, and checks that all others agree. */
static bool survey(PyObject *o, int axis, bool first, py_list *l)
{
  PyObject *v = plain(o);
  if (!v) return false;
  bool done;
  if (!is_sequence(v)) {
    done = (first || axis == l->ndim) && kind_of_number(v, l);
    if (first && done) l->ndim = axis;
    if (!done && !PyErr_Occurred())
      PyErr_Format(PyExc_ValueError, "a number stands where axis %d has lists, want one depth", axis);
  } else {
    Py_ssize_t n = PySequence_Fast_GET_SIZE(v);
    if (axis >= CHX_MAX_RANK)
      done = (PyErr_Format(PyExc_ValueError, "lists are more than %d deep", CHX_MAX_RANK), false);
    else if (!first && axis >= l->ndim)
      done = (PyErr_Format(PyExc_ValueError, "a list stands where axis %d has numbers, want one depth", axis), false);
    else if (!first && n != l->shape[axis]) done = ragged(axis, n, l->shape[axis]);
    else {
      done = true;
      l->shape[axis] = n;
      if (first && !n) l->ndim = axis + 1;
      for (Py_ssize_t i = 0; i < n && done; i++)
        done = survey(PySequence_Fast_GET_ITEM(v, i), axis + 1, first && !i, l);
    }
  }
  Py_DECREF(v);
  return done;
}

static bool fill(PyObject *o, int dtype, int axis, int ndim, char **p)
{
  PyObject *v = plain(o);
  bool done = v != NULL;
  if (v && axis == ndim) {
    done = py_to_element(dtype, v, *p);
    *p += chx_dtype_size(dtype);
  } else if (v)
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(v) && done; i++)
      done = fill(PySequence_Fast_GET_ITEM(v, i), dtype, axis + 1, ndim, p);
  Py_XDECREF(v);
  return done;
}

static int natural(const py_list *l)
{
  static const int dtypes[] = {CHX_BOOL, CHX_I64, CHX_F64, CHX_C128};
  if (l->kind == 1 && l->wide && !l->negative) return CHX_U64;
  return l->kind < 0 ? CHX_F64 : dtypes[l->kind];
}

static chx_array *from_list(chx_scope *s, PyObject *o, int dtype)
{
  py_list l = {.kind = -1};
  if (!survey(o, 0, true, &l)) return NULL;
  if (!dtype) dtype = natural(&l);
  const int made = dtype == CHX_F16 || dtype == CHX_BF16 ? CHX_F64 : dtype;
  size_t n = 1;
  for (int i = 0; i < l.ndim; i++) n *= (size_t)l.shape[i];
  char *data = PyMem_RawMalloc(n ? n * (size_t)chx_dtype_size(made) : 1), *p = data;
  if (!data) return PyErr_NoMemory(), NULL;
  chx_array *a = fill(o, made, 0, l.ndim, &p) ? chx_from_host(s, made, l.ndim, l.shape, data) : NULL;
  PyMem_RawFree(data);
  if (!a || made == dtype) return a;
  chx_array *b = chx_cast(s, a, dtype);
  chx_release(a);
  return b;
}

/* ---- anything ------------------------------------------------------------------------------------------------------------------ */

/* a (whose reference is taken) with this dtype, on the scope's device, as another array if `fresh`. */
static chx_array *settle(chx_scope *s, chx_array *a, int dtype, bool fresh, bool may_copy)
{
  const chx_array *steps[4] = {a};
  int n = 0;
  if (a && dtype && chx_dtype(steps[n]) != dtype) n++, steps[n] = chx_cast(s, steps[n - 1], dtype);
  if (steps[n] && strcmp(chx_device(steps[n]), chx_scope_device(s)))
    n++, steps[n] = chx_to(s, steps[n - 1], chx_scope_device(s));
  if (steps[n] && fresh && !n) n++, steps[n] = chx_copy(s, steps[n - 1]);
  for (int i = 0; i < n; i++) chx_release((chx_array *)steps[i]);
  if (n && !may_copy && steps[n]) {
    chx_release((chx_array *)steps[n]);
    PyErr_SetString(PyExc_ValueError, "the array has another dtype or device: it cannot be had without a copy");
    return NULL;
  }
  return (chx_array *)steps[n];
}

static chx_array *anything(chx_scope *s, PyObject *o, int dtype, int copy)
{
  if (py_is_array(o)) return settle(s, chx_keep(py_a(o)), dtype, copy == 1, copy != 0);
  if (PyObject_CheckBuffer(o) && !PyBytes_Check(o) && !PyByteArray_Check(o)) {
    const bool host = !strncmp(chx_scope_device(s), "native:", 7);
    return settle(s, from_buffer(s, o, copy == 1 || !host ? 1 : copy), dtype, false, copy != 0);
  }
  if (!is_sequence(o) && PyObject_HasAttrString(o, "__dlpack__"))
    return settle(s, py_import_dlpack(s, o, copy), dtype, copy == 1, copy != 0);
  if (copy == 0) {
    PyErr_Format(PyExc_ValueError, "an object of type %s cannot become an array without a copy", Py_TYPE(o)->tp_name);
    return NULL;
  }
  return from_list(s, o, dtype);
}

chx_array *py_array_from(chx_scope *s, PyObject *o, int dtype, int copy)
{
  chx_array *a = anything(s, o, dtype, copy);
  if (!a && !PyErr_Occurred()) py_fail(s);
  else if (!a) chx_scope_clear(s);
  return a;
}

bool py_ints_from(PyObject *o, const char *what, chx_ints *out)
{
  PyObject *list = PyTuple_Check(o) || PyList_Check(o) ? Py_NewRef(o)
                   : PyIndex_Check(o)                  ? PyTuple_Pack(1, o)
                                                       : PySequence_Fast(o, what);
  if (!list) {
    PyErr_Clear();
    return PyErr_Format(PyExc_TypeError, "%s is of type %s, want an integer or a sequence of integers", what,
                        Py_TYPE(o)->tp_name),
           false;
  }
  Py_ssize_t n = PySequence_Fast_GET_SIZE(list);
  if (n > CHX_MAX_RANK) PyErr_Format(PyExc_ValueError, "%s: %zd values are given, want 0 to %d", what, n, CHX_MAX_RANK);
  out->n = n;
  for (Py_ssize_t i = 0; i < n && !PyErr_Occurred(); i++) {
    PyObject *v = PySequence_Fast_GET_ITEM(list, i);
    PyObject *index = v == Py_None ? NULL : PyNumber_Index(v); /* None: no bound, of a slice */
    out->v[i] = index ? PyLong_AsLongLong(index) : CHX_SLICE_NONE;
    Py_XDECREF(index);
  }
  Py_DECREF(list);
  return !PyErr_Occurred();
}
