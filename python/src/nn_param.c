/* SPDX-License-Identifier: MIT
 * nn_param.c: chx.nn.Parameter: a parameter or persistent value of a link, by its name, path, array and gradient; and before a link
 * has it, what the link is to declare.
 */
#include "nnpy.h"
#include <string.h>

static py_param *blank(PyTypeObject *type)
{
  py_param *self = (py_param *)type->tp_alloc(type, 0);
  if (self) self->dtype = CHX_F32;
  return self;
}

PyObject *py_param_wrap(py_link *root, chx_param *p)
{
  py_link *owner = py_link_wrapper(root, chx_param_link(p));
  py_param *self = owner ? blank(&py_param_type) : NULL;
  if (!owner)
    PyErr_Format(PyExc_RuntimeError, "parameter %s is in a part of the tree that has no object", chx_param_name(p));
  if (!self) return NULL;
  self->owner = (py_link *)Py_NewRef((PyObject *)owner);
  self->p = p;
  return (PyObject *)self;
}

/* ---- declarations ------------------------------------------------------------------------------------------------------------- */

/* Lengths; None or -1 for one that is not known yet. */
static bool read_shape(PyObject *o, py_param *self)
{
  chx_ints n;
  if (!py_ints_from(o, "shape", &n)) return false;
  self->ndim = (int)n.n;
  for (int i = 0; i < self->ndim; i++) {
    self->shape[i] = n.v[i] == CHX_SLICE_NONE ? -1 : n.v[i];
    if (self->shape[i] >= -1) continue;
    PyErr_Format(PyExc_ValueError, "Parameter: shape has %lld, want lengths, or None for one not known yet",
                 (long long)n.v[i]);
    return false;
  }
  return true;
}

/* The shape of the initial array. */
static bool shape_of_array(PyObject *o, py_param *self)
{
  PyObject *array = py_is_array(o) ? Py_NewRef(o) : NULL;
  chx_scope *s = py_scope();
  if (!s) return false;
  if (!array) {
    chx_array *a = py_array_from(s, o, 0, -1);
    if (!a || !(array = py_wrap(a))) return false;
  }
  self->ndim = chx_ndim(py_a(array));
  memcpy(self->shape, chx_shape(py_a(array)), (size_t)self->ndim * sizeof *self->shape);
  Py_DECREF(array);
  return true;
}

static PyObject *create(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"shape", "initializer", "dtype", NULL};
  PyObject *shape = NULL, *init = NULL, *dtype = NULL;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OOO:Parameter", keywords, &shape, &init, &dtype)) return NULL;
  py_param *self = blank(type);
  bool values = shape && (py_is_array(shape) || (PyObject_CheckBuffer(shape) && PySequence_Check(shape)));
  if (values && !init) { /* Parameter(array) */
    init = shape;
    shape = NULL;
  }
  bool array = init && !PyCallable_Check(init) && (py_is_array(init) || PyObject_CheckBuffer(init));
  if (self && array && (!shape || shape == Py_None)) {
    if (!shape_of_array(init, self)) Py_CLEAR(self);
  } else if (self && (!shape || shape == Py_None)) {
    PyErr_SetString(PyExc_TypeError,
                    "Parameter: there is no shape, want lengths (None for one not known yet), or an array");
    Py_CLEAR(self);
  } else if (self && !read_shape(shape, self)) {
    Py_CLEAR(self);
  }
  if (self && dtype && !py_dtype_from(dtype, &self->dtype)) Py_CLEAR(self);
  if (self && !self->dtype) self->dtype = CHX_F32;
  if (self && init) self->init = Py_NewRef(init);
  return (PyObject *)self;
}

bool py_param_declare(py_link *self, PyObject *name, py_param *d)
{
  py_nn c;
  chx_nn_init init;
  const char *text = PyUnicode_AsUTF8(name);
  if (d->p) {
    PyErr_Format(PyExc_ValueError, "the parameter is '%s' of another link already, want a new chx.nn.Parameter",
                 chx_param_name(d->p));
    return false;
  }
  if (!text || !py_init_from(d->init, self, &init) || !py_nn_enter(&c)) return false;
  chx_link_add_param(c.s, self->l, text, d->dtype, d->ndim, d->shape, init.fn ? &init : NULL);
  if (!py_nn_leave(&c) || PyDict_SetItem(self->members, name, Py_None) < 0) return false;
  d->p = chx_link_find_param(self->l, text);
  d->owner = (py_link *)Py_NewRef((PyObject *)self);
  self->unset |= !chx_param_array(d->p);
  return true;
}

/* ---- attributes ----------------------------------------------------------------------------------------------------------------- */

static bool bound(const py_param *self)
{
  if (self->p) return py_link_ready((PyObject *)self->owner);
  PyErr_SetString(PyExc_ValueError, "the parameter is of no link yet, want it set as a link's attribute first");
  return false;
}

static PyObject *get_name(PyObject *o, void *u)
{
  py_param *self = (py_param *)o;
  (void)u;
  return PyUnicode_FromString(chx_param_name(self->p));
}

static PyObject *get_path(PyObject *o, void *u)
{
  char path[512];
  (void)u;
  if (!bound((py_param *)o)) return NULL;
  chx_param_path(((py_param *)o)->p, NULL, path, sizeof path);
  return PyUnicode_FromString(path);
}

static PyObject *get_link(PyObject *o, void *u)
{
  (void)u;
  return bound((py_param *)o) ? Py_NewRef((PyObject *)((py_param *)o)->owner) : NULL;
}

static PyObject *get_array(PyObject *o, void *u)
{
  py_param *self = (py_param *)o;
  (void)u;
  PyObject *name = bound(self) ? get_name(o, NULL) : NULL, *r = name ? py_link_value(self->owner, name) : NULL;
  Py_XDECREF(name);
  return r;
}

static int set_array(PyObject *o, PyObject *value, void *u)
{
  py_param *self = (py_param *)o;
  (void)u;
  if (!value) return PyErr_SetString(PyExc_AttributeError, "a parameter's array cannot be taken away"), -1;
  return bound(self) ? py_link_set_value(self->owner, self->p, value) : -1;
}

static PyObject *get_grad(PyObject *o, void *u)
{
  PyObject *array = get_array(o, u), *r;
  if (!array || array == Py_None) return array;
  r = py_grad_get(array, NULL);
  Py_DECREF(array);
  return r;
}

static int set_grad(PyObject *o, PyObject *value, void *u)
{
  PyObject *array = get_array(o, u);
  if (!array) return -1;
  int r = array == Py_None
              ? (PyErr_SetString(PyExc_ValueError, "the parameter has no shape yet, and so no gradient"), -1)
              : py_grad_set(array, value, NULL);
  Py_DECREF(array);
  return r;
}

static PyObject *get_update(PyObject *o, void *u)
{
  (void)u;
  return bound((py_param *)o) ? PyBool_FromLong(chx_param_update(((py_param *)o)->p)) : NULL;
}

static int set_update(PyObject *o, PyObject *value, void *u)
{
  int on = value ? PyObject_IsTrue(value) : (PyErr_SetString(PyExc_AttributeError, "update cannot be taken away"), -1);
  (void)u;
  if (on < 0 || !bound((py_param *)o)) return -1;
  chx_param_set_update(((py_param *)o)->p, on);
  return 0;
}

static PyObject *get_persistent(PyObject *o, void *u)
{
  (void)u;
  return PyBool_FromLong(chx_param_is_persistent(((py_param *)o)->p));
}

static PyObject *get_dtype(PyObject *o, void *u)
{
  py_param *self = (py_param *)o;
  (void)u;
  return py_dtype(self->p ? chx_param_dtype(self->p) : self->dtype);
}

/* None where it has none yet. */
static PyObject *get_shape(PyObject *o, void *u)
{
  py_param *self = (py_param *)o;
  chx_array *a = chx_param_array(self->p);
  (void)u;
  return a ? py_shape(a) : Py_NewRef(Py_None);
}

static PyGetSetDef getset[] = {
    {"name", get_name, NULL, "its name in its link", NULL},
    {"path", get_path, NULL, "its path from the root: '/l1/W'", NULL},
    {"link", get_link, NULL, "the link that it belongs to", NULL},
    {"array", get_array, set_array, "the ndarray, None while it has no shape; setting writes into it", NULL},
    {"grad", get_grad, set_grad, "the array's gradient, or None", NULL},
    {"update", get_update, set_update, "whether optimizers change it; False: frozen", NULL},
    {"is_persistent", get_persistent, NULL, "whether it is a persistent value: saved, but not trained", NULL},
    {"dtype", get_dtype, NULL, "the type of the elements", NULL},
    {"shape", get_shape, NULL, "the lengths of the axes, None while they are not known", NULL},
    {0}};

static PyObject *cleargrad(PyObject *o, PyObject *u)
{
  (void)u;
  return set_grad(o, NULL, NULL) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {{"cleargrad", cleargrad, METH_NOARGS, "cleargrad($self)\n--\n\nSets grad to None."},
                                {0}};

static PyObject *repr(PyObject *o)
{
  py_param *self = (py_param *)o;
  if (!self->p) return PyUnicode_FromString("<chx.nn.Parameter of no link yet>");
  PyObject *path = get_path(o, NULL), *shape = path ? get_shape(o, NULL) : NULL;
  PyObject *r =
      shape ? PyUnicode_FromFormat("<chx.nn.Parameter %U, %s %R>", path, py_dtype_name(chx_param_dtype(self->p)), shape)
            : NULL;
  Py_XDECREF(path);
  Py_XDECREF(shape);
  return r;
}

static PyObject *compare(PyObject *a, PyObject *b, int how)
{
  if ((how != Py_EQ && how != Py_NE) || Py_TYPE(a) != Py_TYPE(b)) Py_RETURN_NOTIMPLEMENTED;
  const chx_param *p = ((py_param *)a)->p, *q = ((py_param *)b)->p;
  return PyBool_FromLong((how == Py_EQ) == (p ? p == q : a == b));
}

static Py_hash_t hash(PyObject *o)
{
  const chx_param *p = ((py_param *)o)->p;
  return p ? (Py_hash_t)((uintptr_t)p >> 4) : (Py_hash_t)((uintptr_t)o >> 4);
}

static int traverse(PyObject *o, visitproc visit, void *arg)
{
  Py_VISIT(((py_param *)o)->owner);
  Py_VISIT(((py_param *)o)->init);
  return 0;
}

static int clear(PyObject *o)
{
  Py_CLEAR(((py_param *)o)->init);
  ((py_param *)o)->p = NULL;
  Py_CLEAR(((py_param *)o)->owner);
  return 0;
}

static void dealloc(PyObject *o)
{
  PyObject_GC_UnTrack(o);
  clear(o);
  Py_TYPE(o)->tp_free(o);
}

PyTypeObject py_param_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "chx.nn.Parameter",
    .tp_basicsize = sizeof(py_param),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_doc =
        "Parameter(shape, initializer=None, dtype='float32')\n--\n\nA parameter of a link. Set as a link's attribute "
        "it is "
        "declared there; the attribute is its ndarray from then on. shape: lengths, None for those that the link's "
        "init "
        "gives by init_param. initializer: a number, an array, one of chx.nn's, or a function of (shape, dtype); None: "
        "LeCunNormal().",
    .tp_new = create,
    .tp_dealloc = dealloc,
    .tp_traverse = traverse,
    .tp_clear = clear,
    .tp_repr = repr,
    .tp_richcompare = compare,
    .tp_hash = hash,
    .tp_methods = methods,
    .tp_getset = getset,
};
