/* SPDX-License-Identifier: MIT
 * array.c: chx.ndarray: its wrapper object, attributes and the methods that are no operators.
 *
 * Wrappers that ended wait in a list for their next use. The collector sees a wrapper only while it has hooks, which are the one
 * thing by which it could be part of a circle.
 */
#include "chxpy.h"
#include <string.h>

enum { SPARE = 256 };
static py_array *spare[SPARE];
static int n_spare;

PyObject *py_wrap(chx_array *a)
{
  if (unlikely(!a)) {
    if (PyErr_Occurred()) return chx_scope_clear(py_scope_self), NULL;
    return py_fail(py_scope_self);
  }
  py_array *self;
  if (likely(n_spare)) {
    self = spare[--n_spare];
    (void)PyObject_Init((PyObject *)self, &py_array_type);
  } else if (!(self = PyObject_GC_New(py_array, &py_array_type))) {
    chx_release(a);
    return NULL;
  }
  self->a = a;
  self->weakrefs = self->hooks = NULL;
  if (unlikely(py_debugging)) py_debug_made(a);
  return (PyObject *)self;
}

PyObject *py_same_or_wrap(PyObject *self, chx_array *a)
{
  if (!a || a != py_a(self)) return py_wrap(a);
  chx_release(a);
  return Py_NewRef(self);
}

PyObject *py_wrap_all(int n, const chx_array *const *a)
{
  PyObject *t = PyTuple_New(n);
  for (int i = 0; t && i < n; i++) {
    PyObject *o = a[i] ? py_wrap(chx_keep(a[i])) : Py_NewRef(Py_None);
    if (o) PyTuple_SET_ITEM(t, i, o);
    else Py_CLEAR(t);
  }
  return t;
}

static void dealloc(PyObject *o)
{
  py_array *self = (py_array *)o;
  if (unlikely(self->weakrefs != NULL)) PyObject_ClearWeakRefs(o);
  if (unlikely(self->hooks != NULL)) py_hooks_clear(self);
  chx_release(self->a);
  if (likely(n_spare < SPARE)) spare[n_spare++] = self;
  else PyObject_GC_Del(self);
}

static int traverse(PyObject *o, visitproc visit, void *arg)
{
  Py_VISIT(((py_array *)o)->hooks);
  return 0;
}

static int clear(PyObject *o)
{
  if (((py_array *)o)->hooks) py_hooks_clear((py_array *)o);
  return 0;
}

/* ---- attributes ------------------------------------------------------------------------------------------------------------ */

PyObject *py_tuple(int n, const int64_t *v, int64_t unit)
{
  PyObject *t = PyTuple_New(n);
  for (int i = 0; t && i < n; i++) {
    PyObject *o = PyLong_FromLongLong(v[i] * unit);
    if (o) PyTuple_SET_ITEM(t, i, o);
    else Py_CLEAR(t);
  }
  return t;
}

PyObject *py_shape(const chx_array *a) { return py_tuple(chx_ndim(a), chx_shape(a), 1); }

static PyObject *get_shape(PyObject *o, void *u)
{
  (void)u;
  return py_shape(py_a(o));
}
static PyObject *get_dtype(PyObject *o, void *u)
{
  (void)u;
  return py_dtype(chx_dtype(py_a(o)));
}
static PyObject *get_ndim(PyObject *o, void *u)
{
  (void)u;
  return PyLong_FromLong(chx_ndim(py_a(o)));
}
static PyObject *get_size(PyObject *o, void *u)
{
  (void)u;
  return PyLong_FromLongLong(chx_size(py_a(o)));
}
static PyObject *get_nbytes(PyObject *o, void *u)
{
  (void)u;
  return PyLong_FromLongLong(chx_nbytes(py_a(o)));
}
static PyObject *get_itemsize(PyObject *o, void *u)
{
  (void)u;
  return PyLong_FromLong(chx_dtype_size(chx_dtype(py_a(o))));
}
static PyObject *get_device(PyObject *o, void *u)
{
  (void)u;
  return PyUnicode_FromString(chx_device(py_a(o)));
}
static PyObject *get_contiguous(PyObject *o, void *u)
{
  (void)u;
  return PyBool_FromLong(chx_is_contiguous(py_a(o)));
}

static PyObject *get_strides(PyObject *o, void *u)
{
  const chx_array *a = py_a(o);
  (void)u;
  return py_tuple(chx_ndim(a), chx_strides(a), chx_dtype_size(chx_dtype(a)));
}

static PyObject *get_transposed(PyObject *o, void *u)
{
  chx_scope *s = py_scope();
  (void)u;
  if (!s) return NULL;
  return chx_ndim(py_a(o)) < 2 ? Py_NewRef(o) : py_wrap(chx_transpose(s, py_a(o), 0, NULL));
}

PyGetSetDef py_array_getset[] = {
    {"shape", get_shape, py_set_shape, "the lengths of the axes, a tuple; may be set where that needs no copy", NULL},
    {"dtype", get_dtype, NULL, "the type of the elements", NULL},
    {"ndim", get_ndim, NULL, "how many axes there are", NULL},
    {"size", get_size, NULL, "how many elements there are", NULL},
    {"itemsize", get_itemsize, NULL, "bytes of one element", NULL},
    {"nbytes", get_nbytes, NULL, "bytes of all elements", NULL},
    {"strides", get_strides, NULL, "bytes from one element to the next along each axis", NULL},
    {"device", get_device, NULL, "where the elements are: 'native:0'", NULL},
    {"is_contiguous", get_contiguous, NULL, "whether the elements are dense in C order", NULL},
    {"T", get_transposed, NULL, "the view with the axes reversed; the array itself if it has fewer than two", NULL},
    {"grad", py_grad_get, py_grad_set, "the gradient that backward added up, or None; may be set and deleted", NULL},
    {0}};

/* ---- methods ------------------------------------------------------------------------------------------------------------------ */

/* item(), item(i) of the flattened array, item(i, j, ...) */
static PyObject *item(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
  chx_scope *s = py_scope();
  PyObject *key = NULL, *at = NULL, *r = NULL;
  if (!s || !n) return s ? py_item(s, py_a(self)) : NULL;
  if (n == 1 && !PyTuple_Check(args[0])) {
    chx_array *flat = chx_reshape(s, py_a(self), 1, (int64_t[]){chx_size(py_a(self))});
    if ((at = py_wrap(flat))) key = PyNumber_Index(args[0]);
  } else {
    at = Py_NewRef(self);
    key = n == 1 ? Py_NewRef(args[0]) : PyTuple_New(n);
    for (Py_ssize_t i = 0; key && n > 1 && i < n; i++) PyTuple_SET_ITEM(key, i, Py_NewRef(args[i]));
  }
  PyObject *one = key ? py_subscript(at, key) : NULL;
  if (one) r = py_item(s, py_a(one));
  Py_XDECREF(one);
  Py_XDECREF(key);
  Py_XDECREF(at);
  return r;
}

static PyObject *tolist(PyObject *self, PyObject *unused)
{
  chx_scope *s = py_scope();
  (void)unused;
  return s ? py_tolist(s, py_a(self)) : NULL;
}

static PyObject *copy(PyObject *self, PyObject *unused)
{
  chx_scope *s = py_scope();
  (void)unused;
  return s ? py_wrap(chx_copy(s, py_a(self))) : NULL;
}

static PyObject *deepcopy(PyObject *self, PyObject *memo)
{
  chx_scope *s = py_scope();
  (void)memo;
  if (!s) return NULL;
  chx_array *detached = chx_detach(s, py_a(self)), *a = detached ? chx_copy(s, detached) : NULL;
  chx_release(detached);
  if (a && chx_is_grad_required(py_a(self), 0) && chx_require_grad(s, a)) chx_release(a), a = NULL;
  return py_wrap(a);
}

static PyObject *contiguous(PyObject *self, PyObject *unused)
{
  chx_scope *s = py_scope();
  (void)unused;
  return s ? py_same_or_wrap(self, chx_contiguous(s, py_a(self))) : NULL;
}

static PyObject *to(PyObject *self, PyObject *device)
{
  chx_scope *s = py_scope();
  const char *name = PyUnicode_Check(device) ? PyUnicode_AsUTF8(device) : NULL;
  if (!name && !PyErr_Occurred())
    PyErr_Format(PyExc_TypeError, "to: device is of type %s, want a name such as 'native:0'", Py_TYPE(device)->tp_name);
  return s && name ? py_same_or_wrap(self, chx_to(s, py_a(self), name)) : NULL;
}

static PyObject *astype(PyObject *self, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"dtype", "copy", NULL};
  chx_scope *s = py_scope();
  PyObject *o;
  int dtype, fresh = 1;
  if (!s || !PyArg_ParseTupleAndKeywords(args, kwargs, "O|p:astype", keywords, &o, &fresh) || !py_dtype_from(o, &dtype))
    return NULL;
  if (!dtype) dtype = CHX_F64; /* None, as in NumPy */
  if (dtype == chx_dtype(py_a(self))) return fresh ? copy(self, NULL) : Py_NewRef(self);
  return py_wrap(chx_cast(s, py_a(self), dtype));
}

static PyObject *fill(PyObject *self, PyObject *value)
{
  return py_ass_subscript(self, Py_Ellipsis, value) < 0 ? NULL : Py_NewRef(Py_None);
}

/* The arguments of reshape and transpose: one list, or several numbers. */
static bool list_or_numbers(PyObject *const *args, Py_ssize_t n, const char *what, chx_ints *out)
{
  PyObject *list = n == 1 ? Py_NewRef(args[0]) : PyTuple_New(n);
  for (Py_ssize_t i = 0; list && n != 1 && i < n; i++) PyTuple_SET_ITEM(list, i, Py_NewRef(args[i]));
  bool done = list && py_ints_from(list, what, out);
  Py_XDECREF(list);
  return done;
}

static PyObject *reshape(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
  chx_scope *s = py_scope();
  chx_ints shape;
  if (!s) return NULL;
  if (!n) return PyErr_SetString(PyExc_TypeError, "reshape: no shape is given, want lengths or a tuple of them"), NULL;
  if (n == 1 && PyTuple_CheckExact(args[0])) { /* the usual form, without a call in between */
    n = PyTuple_GET_SIZE(args[0]);
    args = &PyTuple_GET_ITEM(args[0], 0);
    if (n > CHX_MAX_RANK)
      return PyErr_Format(PyExc_ValueError, "reshape: %zd lengths are given, want 0 to %d", n, CHX_MAX_RANK), NULL;
    for (shape.n = 0; shape.n < n; shape.n++) {
      long long v = PyLong_CheckExact(args[shape.n]) ? PyLong_AsLongLong(args[shape.n])
                                                     : PyNumber_AsSsize_t(args[shape.n], PyExc_OverflowError);
      if (v == -1 && PyErr_Occurred()) return NULL;
      shape.v[shape.n] = v;
    }
  } else if (!list_or_numbers(args, n, "reshape", &shape)) return NULL;
  return py_wrap(chx_reshape(s, py_a(self), (int)shape.n, shape.v));
}

static PyObject *transpose(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
  chx_scope *s = py_scope();
  chx_ints list;
  int axes[CHX_MAX_RANK];
  if (!s) return NULL;
  if (!n || (n == 1 && args[0] == Py_None)) return py_wrap(chx_transpose(s, py_a(self), 0, NULL));
  if (!list_or_numbers(args, n, "transpose", &list)) return NULL;
  if (!list.n && !chx_ndim(py_a(self))) return Py_NewRef(self);
  for (int i = 0; i < list.n; i++) axes[i] = (int)list.v[i];
  if (list.n != chx_ndim(py_a(self))) {
    PyErr_Format(PyExc_ValueError, "transpose: %lld axes are given, want the rank, %d", (long long)list.n,
                 chx_ndim(py_a(self)));
    return NULL;
  }
  return py_wrap(chx_transpose(s, py_a(self), (int)list.n, axes));
}

static PyObject *swapaxes(PyObject *self, PyObject *args)
{
  chx_scope *s = py_scope();
  int a, b;
  if (!s || !PyArg_ParseTuple(args, "ii:swapaxes", &a, &b)) return NULL;
  return py_wrap(chx_swapaxes(s, py_a(self), a, b));
}

/* ---- pickle: dtype, shape, bytes, device, whether it is a leaf ---------------------------------------------------------- */

static PyObject *reduce(PyObject *self, PyObject *unused)
{
  chx_scope *s = py_scope();
  const chx_array *a = py_a(self);
  (void)unused;
  PyObject *bytes = s ? PyBytes_FromStringAndSize(NULL, (Py_ssize_t)chx_nbytes(a)) : NULL;
  if (!bytes) return NULL;
  chx_read(s, a, PyBytes_AS_STRING(bytes), (size_t)chx_nbytes(a));
  PyObject *make = py_check(s) ? PyObject_GetAttrString((PyObject *)&py_array_type, "_from_state") : NULL;
  PyObject *r = make ? Py_BuildValue("(N(sNOsi))", make, py_dtype_name(chx_dtype(a)), py_shape(a), bytes, chx_device(a),
                                     chx_is_grad_required(a, 0))
                     : NULL;
  Py_DECREF(bytes);
  return r;
}

static PyObject *from_state(PyObject *unused, PyObject *args)
{
  chx_scope *s = py_scope();
  PyObject *name, *shape, *bytes, *device;
  py_device_use use;
  chx_ints n;
  int dtype, leaf;
  (void)unused;
  if (!s || !PyArg_ParseTuple(args, "OOSOi", &name, &shape, &bytes, &device, &leaf) || !py_dtype_from(name, &dtype) ||
      !py_ints_from(shape, "shape", &n))
    return NULL;
  int64_t size = chx_dtype_size(dtype);
  for (int i = 0; i < n.n; i++) size *= n.v[i];
  if (size != PyBytes_GET_SIZE(bytes))
    return PyErr_Format(PyExc_ValueError, "the state has %zd bytes, want %lld", PyBytes_GET_SIZE(bytes),
                        (long long)size),
           NULL;
  if (!py_device_enter(s, device, &use)) return NULL;
  chx_array *a = chx_from_host(s, dtype, (int)n.n, n.v, PyBytes_AS_STRING(bytes));
  if (a && leaf && chx_require_grad(s, a)) chx_release(a), a = NULL;
  PyObject *r = py_wrap(a);
  py_device_leave(s, &use);
  return r;
}

/* numpy.asarray's question. Values of another device are never copied unasked. */
static PyObject *as_numpy(PyObject *self, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"dtype", "copy", NULL};
  PyObject *dtype = Py_None, *fresh = Py_None, *view = NULL, *numpy = NULL, *r = NULL;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO:__array__", keywords, &dtype, &fresh)) return NULL;
  if (!(view = PyMemoryView_FromObject(self))) {
    if (PyErr_ExceptionMatches(PyExc_BufferError)) {
      PyObject *type, *value, *trace;
      PyErr_Fetch(&type, &value, &trace);
      PyErr_Format(PyExc_TypeError, "%S", value);
      Py_XDECREF(type), Py_XDECREF(value), Py_XDECREF(trace);
    }
    return NULL;
  }
  PyObject *base = (numpy = PyImport_ImportModule("numpy")) ? PyObject_CallMethod(numpy, "asarray", "O", view) : NULL;
  if (base) r = PyObject_CallMethod(numpy, fresh == Py_True ? "array" : "asarray", "OO", base, dtype);
  if (r && r != base && fresh == Py_False) {
    PyErr_SetString(PyExc_ValueError, "__array__: another dtype cannot be had without a copy");
    Py_CLEAR(r);
  }
  Py_XDECREF(base);
  Py_XDECREF(numpy);
  Py_DECREF(view);
  return r;
}

PyMethodDef py_array_methods[] = {
    {"item", py_function(item), METH_FASTCALL,
     "item($self, *index)\n--\n\nThe value of a one-element array, or of the element at an index, as a Python number."},
    {"tolist", tolist, METH_NOARGS, "tolist($self)\n--\n\nThe values as nested lists of Python numbers."},
    {"copy", copy, METH_NOARGS, "copy($self)\n--\n\nA dense copy; differentiable."},
    {"__copy__", copy, METH_NOARGS, NULL},
    {"__deepcopy__", deepcopy, METH_O, NULL},
    {"contiguous", contiguous, METH_NOARGS,
     "contiguous($self)\n--\n\nThe array itself if it is dense in C order, else a copy."},
    {"to", to, METH_O,
     "to($self, device, /)\n--\n\nThe array on a device, 'cuda:0'; itself if it is there. Differentiable."},
    {"astype", py_function(astype), METH_VARARGS | METH_KEYWORDS,
     "astype($self, dtype, copy=True)\n--\n\nThe values in another dtype."},
    {"fill", fill, METH_O, "fill($self, value, /)\n--\n\nSets every element."},
    {"reshape", py_function(reshape), METH_FASTCALL,
     "reshape($self, *shape)\n--\n\nA view with another shape where strides can say it, else a copy. One length may be "
     "-1."},
    {"transpose", py_function(transpose), METH_FASTCALL,
     "transpose($self, *axes)\n--\n\nThe view with its axes permuted; without axes: reversed."},
    {"swapaxes", swapaxes, METH_VARARGS, "swapaxes($self, axis1, axis2, /)\n--\n\nThe view with two axes exchanged."},
    {"__reduce__", reduce, METH_NOARGS, NULL},
    {"_from_state", from_state, METH_VARARGS | METH_STATIC, NULL},
    {"__array__", py_function(as_numpy), METH_VARARGS | METH_KEYWORDS,
     "__array__($self, dtype=None, copy=None)\n--\n\nNumPy's array of the same memory, on the host's devices."},
    {0}};

/* ---- the type ----------------------------------------------------------------------------------------------------------------- */

static Py_ssize_t length(PyObject *self)
{
  if (chx_ndim(py_a(self))) return (Py_ssize_t)chx_shape(py_a(self))[0];
  PyErr_SetString(PyExc_TypeError, "len() of a 0-d array");
  return -1;
}

static PyObject *iterate(PyObject *self)
{
  if (chx_ndim(py_a(self))) return PySeqIter_New(self);
  PyErr_SetString(PyExc_TypeError, "iteration over a 0-d array");
  return NULL;
}

static int contains(PyObject *self, PyObject *value)
{
  chx_scope *s = py_scope();
  PyObject *same = py_compare(self, value, Py_EQ);
  if (!s || !same || !py_is_array(same)) {
    Py_XDECREF(same);
    return same && s ? 0 : -1;
  }
  chx_array *any = chx_any(s, py_a(same), 0, NULL, 0);
  int r = any ? (int)chx_item_int(s, any) : 0;
  chx_release(any);
  Py_DECREF(same);
  return py_check(s) ? r : -1;
}

static PyObject *text(PyObject *self, const char *function)
{
  PyObject *module = PyImport_ImportModule("chx._format");
  PyObject *r = module ? PyObject_CallMethod(module, function, "O", self) : NULL;
  Py_XDECREF(module);
  return r;
}
static PyObject *repr(PyObject *self) { return text(self, "array_repr"); }
static PyObject *str(PyObject *self) { return text(self, "array_str"); }

static Py_hash_t hash(PyObject *self) { return PyBaseObject_Type.tp_hash(self); }

static PySequenceMethods sequence = {.sq_length = length, .sq_item = py_element_at, .sq_contains = contains};
static PyMappingMethods mapping = {
    .mp_length = length, .mp_subscript = py_subscript, .mp_ass_subscript = py_ass_subscript};

PyTypeObject py_array_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "chx.ndarray",
    .tp_basicsize = sizeof(py_array),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_doc = "An n-dimensional array on a device, which may take part in a graph of gradients. chx.array and its like "
              "make them.",
    .tp_dealloc = dealloc,
    .tp_traverse = traverse,
    .tp_clear = clear,
    .tp_weaklistoffset = offsetof(py_array, weakrefs),
    .tp_repr = repr,
    .tp_str = str,
    .tp_hash = hash,
    .tp_iter = iterate,
    .tp_richcompare = py_compare,
    .tp_as_number = &py_numbers,
    .tp_as_sequence = &sequence,
    .tp_as_mapping = &mapping,
    .tp_as_buffer = &py_buffer_procs,
    .tp_methods = py_array_methods,
    .tp_getset = py_array_getset,
};
