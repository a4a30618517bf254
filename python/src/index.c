/* SPDX-License-Identifier: MIT
 * index.c: x[key] and x[key] = value, with NumPy's rules: integers, slices, ... , None, and one array of integers to read by.
 *
 * A key without arrays is one slice of the core, a view, and where it has None a reshape after it.
 */
#include "chxpy.h"
#include <string.h>

static const chx_op *op_slice;

bool py_index_init(void)
{
  op_slice = chx_op_find("slice");
  return op_slice || (PyErr_SetString(PyExc_ImportError, "libchx has no operator 'slice'"), false);
}

typedef struct py_key {
  chx_slice_attr slice;
  int axis;          /* of x: the next to be indexed */
  int n_out;         /* axes after slicing and None */
  uint32_t inserted; /* bit set of those that None made */
  PyObject *array;   /* the array of integers, and the axis it is for */
  int array_axis;
  int last_advanced;    /* position in the key of the last integer or array, -1: none; */
  bool apart, integers; /* whether they stand apart; whether there are integers */
} py_key;

static bool bad_index(long long i, int axis, int64_t length)
{
  PyErr_Format(PyExc_IndexError, "index %lld is out of bounds for axis %d with size %lld", i, axis, (long long)length);
  return false;
}

static inline bool take_integer(py_key *k, int64_t length, int64_t i)
{
  const int64_t at = i < 0 ? i + length : i;
  if (unlikely(at < 0 || at >= length)) return bad_index(i, k->axis, length);
  k->slice.start.v[k->axis] = at;
  k->slice.stop.v[k->axis] = at + 1;
  k->slice.step.v[k->axis] = 1;
  k->slice.drop |= INT64_C(1) << k->axis++;
  return true;
}

static void take_all(py_key *k)
{
  k->slice.start.v[k->axis] = k->slice.stop.v[k->axis] = CHX_SLICE_NONE;
  k->slice.step.v[k->axis++] = 1;
  k->n_out++;
}

static inline bool take_slice(py_key *k, int64_t length, PyObject *o)
{
  Py_ssize_t start, stop, step;
  if (PySlice_Unpack(o, &start, &stop, &step) < 0) return false;
  const Py_ssize_t n = PySlice_AdjustIndices((Py_ssize_t)length, &start, &stop, step);
  k->slice.start.v[k->axis] = n ? start : 0;
  k->slice.stop.v[k->axis] = !n ? 0 : stop < 0 ? CHX_SLICE_NONE : stop;
  k->slice.step.v[k->axis++] = n ? step : 1;
  k->n_out++;
  return true;
}

/* Integers and arrays are what NumPy calls advanced where there is an array: whether they are neighbours decides the axes' order. */
static void advance(py_key *k, int position)
{
  k->apart |= k->last_advanced >= 0 && k->last_advanced != position - 1;
  k->last_advanced = position;
}

/* Whether o has axes: NumPy's arrays have the slot of an index, too. */
static bool has_axes(PyObject *o)
{
  Py_buffer b;
  if (py_is_array(o)) return chx_ndim(py_a(o)) > 0;
  if (!PyObject_CheckBuffer(o)) return false;
  if (PyObject_GetBuffer(o, &b, PyBUF_STRIDED_RO) < 0) return PyErr_Clear(), true;
  const bool axes = b.ndim > 0;
  PyBuffer_Release(&b);
  return axes;
}

static bool is_integer(PyObject *o)
{
  return PyLong_CheckExact(o) || (PyIndex_Check(o) && !PyBool_Check(o) && !has_axes(o));
}

static bool take_array(py_key *k, PyObject *o, int position)
{
  if (PyBool_Check(o)) PyErr_SetString(PyExc_NotImplementedError, "indexing by bool is not there yet");
  else if (!py_is_array(o) && !PyList_Check(o) && (PyBytes_Check(o) || !PyObject_CheckBuffer(o)))
    PyErr_Format(PyExc_IndexError, "an index is of type %s, want integers, slices, '...', None or an array of integers",
                 Py_TYPE(o)->tp_name);
  else if (k->array) PyErr_SetString(PyExc_NotImplementedError, "indexing by more than one array is not there yet");
  if (PyErr_Occurred()) return false;
  advance(k, position);
  k->array = o;
  k->array_axis = k->n_out;
  take_all(k);
  return true;
}

static bool too_many(int n, int ndim)
{
  PyErr_Format(PyExc_IndexError, "too many indices: the array has %d axes, %d were indexed", ndim, n);
  return false;
}

static bool read_tuple(py_key *k, const chx_array *a, PyObject *key)
{
  const Py_ssize_t n = PyTuple_GET_SIZE(key);
  const int ndim = chx_ndim(a);
  int used = 0, dots = 0;
  for (Py_ssize_t i = 0; i < n; i++) {
    PyObject *o = PyTuple_GET_ITEM(key, i);
    used += o != Py_None && o != Py_Ellipsis;
    dots += o == Py_Ellipsis;
  }
  if (dots > 1) return PyErr_SetString(PyExc_IndexError, "an index can only have a single ellipsis ('...')"), false;
  if (used > ndim) return too_many(used, ndim);
  for (Py_ssize_t i = 0; i < n; i++) {
    PyObject *o = PyTuple_GET_ITEM(key, i);
    if (PySlice_Check(o)) {
      if (!take_slice(k, chx_shape(a)[k->axis], o)) return false;
    } else if (o == Py_Ellipsis) {
      for (int free = ndim - used; free > 0; free--) take_all(k);
    } else if (o == Py_None) {
      if (k->n_out >= CHX_MAX_RANK) return too_many(k->n_out + 1, CHX_MAX_RANK);
      k->inserted |= 1u << k->n_out++;
    } else if (is_integer(o)) {
      Py_ssize_t v = PyNumber_AsSsize_t(o, PyExc_IndexError);
      if ((v == -1 && PyErr_Occurred()) || !take_integer(k, chx_shape(a)[k->axis], v)) return false;
      advance(k, (int)i);
      k->integers = true;
    } else if (!take_array(k, o, (int)i)) return false;
  }
  return true;
}

static bool read_key(py_key *k, const chx_array *a, PyObject *key)
{
  k->slice.size = sizeof k->slice;
  k->slice.kind = 0;
  k->slice.drop = 0;
  k->slice.shape.n = 0;
  k->axis = k->n_out = 0;
  k->inserted = 0;
  k->array = NULL;
  k->last_advanced = -1;
  k->apart = k->integers = false;
  bool done;
  if (PyTuple_Check(key)) done = read_tuple(k, a, key);
  else if (PyLong_CheckExact(key) && chx_ndim(a)) {
    Py_ssize_t v = PyLong_AsSsize_t(key);
    done = !(v == -1 && PyErr_Occurred()) && take_integer(k, chx_shape(a)[0], v);
    if (!done && PyErr_ExceptionMatches(PyExc_OverflowError))
      PyErr_SetString(PyExc_IndexError, "the index does not fit an index");
  } else if (PySlice_Check(key) && chx_ndim(a)) done = take_slice(k, chx_shape(a)[0], key);
  else {
    PyObject *one = PyTuple_Pack(1, key);
    done = one && read_tuple(k, a, one);
    Py_XDECREF(one);
  }
  k->slice.start.n = k->slice.stop.n = k->slice.step.n = k->axis;
  return done;
}

/* ---- reading ------------------------------------------------------------------------------------------------------------------- */

/* The view that a key without its array says. */
static chx_array *view(chx_scope *s, const chx_array *a, const py_key *k)
{
  chx_array *y = NULL;
  chx_apply(s, op_slice, &a, 1, &k->slice, &y, 1);
  if (likely(!k->inserted) || !y) return y;
  int64_t shape[2 * CHX_MAX_RANK];
  int n = 0, ndim = chx_ndim(y) + __builtin_popcount(k->inserted);
  for (int i = 0; i < ndim; i++) shape[i] = k->inserted >> i & 1 ? 1 : chx_shape(y)[n++];
  chx_array *z = chx_reshape(s, y, ndim, shape);
  chx_release(y);
  return z;
}

/* Puts the axes [at, at + n) first. */
static chx_array *to_front(chx_scope *s, chx_array *a, int at, int n)
{
  int axes[CHX_MAX_RANK], m = 0;
  if (!a) return NULL;
  for (int i = 0; i < n; i++) axes[m++] = at + i;
  for (int i = 0; i < chx_ndim(a); i++)
    if (i < at || i >= at + n) axes[m++] = i;
  chx_array *y = chx_transpose(s, a, m, axes);
  chx_release(a);
  return y;
}

static PyObject *by_array(chx_scope *s, const chx_array *a, const py_key *k)
{
  chx_array *index = py_is_array(k->array) ? chx_keep(py_a(k->array)) : py_array_from(s, k->array, CHX_DTYPE_NONE, -1),
            *y = NULL;
  if (!index) return NULL;
  if (!chx_size(index) && PyList_Check(k->array)) { /* [] reads nothing, whatever its dtype */
    chx_array *empty = chx_cast(s, index, CHX_I64);
    chx_release(index);
    index = empty;
  }
  char kind = index ? py_dtype_kind(chx_dtype(index)) : 'I';
  if (kind == 'B') PyErr_SetString(PyExc_NotImplementedError, "indexing by a mask of bools is not there yet");
  else if (kind != 'I' && kind != 'U')
    PyErr_SetString(PyExc_IndexError, "an array that is an index must be of integers");
  else {
    chx_array *v = view(s, a, k);
    y = v && index ? chx_take(s, v, index, k->array_axis) : NULL;
    chx_release(v);
    if (k->apart && y) y = to_front(s, y, k->array_axis, chx_ndim(index));
  }
  chx_release(index);
  if (PyErr_Occurred()) return NULL;
  return y ? py_wrap(y) : py_fail_as(s, PyExc_IndexError);
}

PyObject *py_subscript(PyObject *self, PyObject *key)
{
  chx_scope *s = py_scope();
  py_key k;
  if (unlikely(!s) || unlikely(!read_key(&k, py_a(self), key))) return NULL;
  return likely(!k.array) ? py_wrap(view(s, py_a(self), &k)) : by_array(s, py_a(self), &k);
}

PyObject *py_element_at(PyObject *self, Py_ssize_t i)
{
  chx_scope *s = py_scope();
  const chx_array *a = py_a(self);
  if (!s) return NULL;
  if (!chx_ndim(a)) return PyErr_SetString(PyExc_IndexError, "too many indices: the array has no axes"), NULL;
  if (i < 0 || i >= chx_shape(a)[0]) return bad_index(i, 0, chx_shape(a)[0]), NULL;
  return py_wrap(chx_at(s, a, 0, i));
}

/* ---- writing ------------------------------------------------------------------------------------------------------------------- */

/* A Python integer must fit the dtype, as in NumPy 2. */
static bool fits(const chx_array *a, PyObject *value)
{
  unsigned char v[16];
  char kind = py_dtype_kind(chx_dtype(a));
  return !PyLong_CheckExact(value) || (kind != 'I' && kind != 'U') || py_to_element(chx_dtype(a), value, v);
}

int py_ass_subscript(PyObject *self, PyObject *key, PyObject *value)
{
  chx_scope *s = py_scope();
  py_key k;
  py_operand x;
  if (!s) return -1;
  if (!value) return PyErr_SetString(PyExc_ValueError, "an array's elements cannot be deleted"), -1;
  if (!read_key(&k, py_a(self), key) || !fits(py_a(self), value)) return -1;
  if (k.array)
    return PyErr_SetString(PyExc_NotImplementedError, "setting by an array of integers is not there yet"), -1;
  int found = py_operand_from(s, value, PY_LISTS, &x);
  if (!found)
    PyErr_Format(PyExc_TypeError, "the value is of type %s, want an array, a number or a list",
                 Py_TYPE(value)->tp_name);
  if (found <= 0) return -1;
  chx_array *y = view(s, py_a(self), &k);
  if (y) chx_copy_into(s, y, x.a);
  chx_release(y);
  py_operand_end(&x);
  return py_check(s) ? 0 : -1;
}
