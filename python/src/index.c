/* SPDX-License-Identifier: MIT
 * index.c: x[key] and x[key] = value, with NumPy's rules: the key is read here; pick.c does the rest where it has arrays.
 *
 * A key without arrays is one slice of the core, a view, and where it has None a reshape after it.
 */
#include "index.h"
#include <string.h>

static const chx_op *op_slice;

bool py_index_init(void)
{
  op_slice = chx_op_find("slice");
  return op_slice || (PyErr_SetString(PyExc_ImportError, "libchx has no operator 'slice'"), false);
}

bool py_bad_index(long long i, int axis, int64_t length)
{
  PyErr_Format(PyExc_IndexError, "index %lld is out of bounds for axis %d with size %lld", i, axis, (long long)length);
  return false;
}

static inline bool take_integer(py_key *k, int64_t length, int64_t i)
{
  const int64_t at = i < 0 ? i + length : i;
  if (unlikely(at < 0 || at >= length)) return py_bad_index(i, k->axis, length);
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
  if (k->last_advanced < 0) k->first_at = k->n_out;
  k->apart |= k->last_advanced >= 0 && k->last_advanced != position - 1;
  k->last_advanced = position;
}

/* Whether o is an array with axes or of bool: NumPy's have the slot of an index, too. */
static bool is_array_index(PyObject *o)
{
  Py_buffer b;
  if (py_is_array(o)) return chx_ndim(py_a(o)) > 0 || !strchr("IU", py_dtype_kind(chx_dtype(py_a(o))));
  if (!PyObject_CheckBuffer(o)) return false;
  if (PyObject_GetBuffer(o, &b, PyBUF_FULL_RO) < 0) return PyErr_Clear(), true;
  const bool array = b.ndim > 0 || (b.format && !strcmp(b.format, "?"));
  PyBuffer_Release(&b);
  return array;
}

static bool is_integer(PyObject *o)
{
  return PyLong_CheckExact(o) || (PyIndex_Check(o) && !PyBool_Check(o) && !is_array_index(o));
}

/* An index that is an array, a list or a bool becomes the key's next array; *used grows by the axes that it is for. */
static bool add_array(chx_scope *s, py_key *k, PyObject *o, const chx_array *a, int *used)
{
  const bool list = PyList_Check(o) || PyTuple_Check(o) || PyRange_Check(o);
  py_key_array *e = &k->arrays[k->n_arrays];
  if (!list && !py_is_array(o) && !PyBool_Check(o) && (PyBytes_Check(o) || !PyObject_CheckBuffer(o)))
    return PyErr_Format(PyExc_IndexError,
                        "an index is of type %s, want integers, slices, '...', None or an array of integers or bools",
                        Py_TYPE(o)->tp_name),
           false;
  if (k->n_arrays >= CHX_MAX_RANK)
    return PyErr_Format(PyExc_IndexError, "more than %d indices are arrays", CHX_MAX_RANK), false;
  if (!(e->a = py_is_array(o) ? chx_keep(py_a(o)) : py_array_from(s, o, CHX_DTYPE_NONE, -1))) return false;
  k->n_arrays++;
  char kind = py_dtype_kind(chx_dtype(e->a));
  if (list && !chx_size(e->a)) { /* [] picks nothing, whatever its dtype */
    chx_array *empty = chx_cast(s, e->a, CHX_I64);
    chx_release(e->a);
    if (!(e->a = empty)) return k->n_arrays--, py_fail(s), false;
    kind = 'I';
  }
  if (!strchr("BIU", kind))
    return PyErr_Format(PyExc_IndexError, "an array of %s is an index, want integers or bools",
                        py_dtype_name(chx_dtype(e->a))),
           false;
  if (py_is_array(o) && strcmp(chx_device(e->a), chx_device(a)))
    return chx_scope_fail(s, CHX_EDEVICE, "index: the array is on %s, its index on %s, want one device", chx_device(a),
                          chx_device(e->a)),
           py_fail(s), false;
  e->mask = kind == 'B';
  e->n = e->mask ? chx_ndim(e->a) : 1;
  *used += e->n;
  return true;
}

/* Puts the array into its place: its axes are whole in the view. */
static void take_array(py_key *k, py_key_array *e, int position)
{
  advance(k, position);
  e->at = k->n_out;
  e->axis = k->axis;
  for (int i = 0; i < e->n; i++) take_all(k);
}

static bool too_many(int n, int ndim)
{
  PyErr_Format(PyExc_IndexError, "too many indices: the array has %d axes, %d were indexed", ndim, n);
  return false;
}

static bool read_tuple(chx_scope *s, py_key *k, const chx_array *a, PyObject *key)
{
  const Py_ssize_t n = PyTuple_GET_SIZE(key);
  const int ndim = chx_ndim(a);
  int used = 0, dots = 0, next = 0;
  for (Py_ssize_t i = 0; i < n; i++) {
    PyObject *o = PyTuple_GET_ITEM(key, i);
    if (PySlice_Check(o) || is_integer(o)) used++;
    else if (o == Py_Ellipsis) dots++;
    else if (o != Py_None && !add_array(s, k, o, a, &used)) return false;
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
    } else take_array(k, &k->arrays[next++], (int)i);
  }
  return true;
}

/* py_key_end is due where the key has arrays, also where it could not be read. */
static bool read_key(chx_scope *s, py_key *k, const chx_array *a, PyObject *key)
{
  k->slice.size = sizeof k->slice;
  k->slice.kind = 0;
  k->slice.drop = 0;
  k->slice.shape.n = 0;
  k->axis = k->n_out = 0;
  k->inserted = 0;
  k->n_arrays = 0;
  k->last_advanced = -1;
  k->apart = false;
  bool done;
  if (PyTuple_Check(key)) done = read_tuple(s, k, a, key);
  else if (PyLong_CheckExact(key) && chx_ndim(a)) {
    Py_ssize_t v = PyLong_AsSsize_t(key);
    done = !(v == -1 && PyErr_Occurred()) && take_integer(k, chx_shape(a)[0], v);
    if (!done && PyErr_ExceptionMatches(PyExc_OverflowError))
      PyErr_SetString(PyExc_IndexError, "the index does not fit an index");
  } else if (PySlice_Check(key) && chx_ndim(a)) done = take_slice(k, chx_shape(a)[0], key);
  else {
    PyObject *one = PyTuple_Pack(1, key);
    done = one && read_tuple(s, k, a, one);
    Py_XDECREF(one);
  }
  k->slice.start.n = k->slice.stop.n = k->slice.step.n = k->axis;
  return done;
}

/* ---- reading ------------------------------------------------------------------------------------------------------------------- */

/* The view that a key without its array says. */
chx_array *py_key_view(chx_scope *s, const chx_array *a, const py_key *k)
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

static void end_key(py_key *k)
{
  while (k->n_arrays) chx_release(k->arrays[--k->n_arrays].a);
}

PyObject *py_subscript(PyObject *self, PyObject *key)
{
  chx_scope *s = py_scope();
  py_key k;
  if (unlikely(!s)) return NULL;
  const bool done = read_key(s, &k, py_a(self), key);
  if (likely(done && !k.n_arrays)) return py_wrap(py_key_view(s, py_a(self), &k));
  chx_array *y = done ? py_pick(s, py_a(self), &k) : NULL;
  end_key(&k);
  if (y) return py_wrap(y);
  return PyErr_Occurred() ? (chx_scope_clear(s), NULL) : py_fail_as(s, PyExc_IndexError);
}

PyObject *py_element_at(PyObject *self, Py_ssize_t i)
{
  chx_scope *s = py_scope();
  const chx_array *a = py_a(self);
  if (!s) return NULL;
  if (!chx_ndim(a)) return PyErr_SetString(PyExc_IndexError, "too many indices: the array has no axes"), NULL;
  if (i < 0 || i >= chx_shape(a)[0]) return py_bad_index(i, 0, chx_shape(a)[0]), NULL;
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

static int set_at(chx_scope *s, PyObject *self, py_key *k, PyObject *value)
{
  py_operand x;
  if (!fits(py_a(self), value)) return -1;
  int found = py_operand_from(s, value, PY_LISTS, &x);
  if (!found)
    PyErr_Format(PyExc_TypeError, "the value is of type %s, want an array, a number or a list",
                 Py_TYPE(value)->tp_name);
  if (found <= 0) return -1;
  chx_array *y = py_key_view(s, py_a(self), k);
  if (y && k->n_arrays) py_put(s, y, k, x.a);
  else if (y &&
           unlikely(chx_shares_memory(y, x.a))) { /* perhaps of the elements that are written: they are read first */
    chx_array *own = chx_copy(s, x.a);
    if (own) chx_copy_into(s, y, own);
    chx_release(own);
  } else if (y) chx_copy_into(s, y, x.a);
  chx_release(y);
  py_operand_end(&x);
  if (PyErr_Occurred()) return chx_scope_clear(s), -1;
  return py_check(s) ? 0 : -1;
}

int py_ass_subscript(PyObject *self, PyObject *key, PyObject *value)
{
  chx_scope *s = py_scope();
  py_key k;
  if (!s) return -1;
  if (!value) return PyErr_SetString(PyExc_ValueError, "an array's elements cannot be deleted"), -1;
  int r = read_key(s, &k, py_a(self), key) ? set_at(s, self, &k, value) : -1;
  end_key(&k);
  return r;
}
