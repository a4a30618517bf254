/* SPDX-License-Identifier: MIT
 * random.c: random numbers for chx.random: one kind of object, which draws from a generator of its own or, if it was made without one,
 * from the process's.
 */
#include "chxpy.h"

typedef struct py_generator {
  PyObject_HEAD bool own;
  chx_random_state state; /* its own */
} py_generator;

/* A scope to draw in on a device: the thread's, or one with the generator's own state. */
typedef struct drawing {
  chx_scope *s;
  py_generator *g;
  py_device_use use;
} drawing;

static bool draw_begin(drawing *d, PyObject *self, PyObject *device)
{
  chx_scope *s = py_scope();
  d->g = (py_generator *)self;
  if (!s || !py_device_enter(s, device, &d->use)) return false;
  d->s = s;
  if (!d->g->own) return true;
  d->s = chx_scope_begin_with(chx_scope_device(s), CHX_SCOPE_OWNED);
  const int policy = chx_scope_set_fallback(s, CHX_FALLBACK_ALLOW);
  chx_scope_set_fallback(s, policy);
  chx_scope_set_fallback(d->s, policy);
  chx_random_set(d->s, d->g->state);
  return true;
}

/* The wrapper of what was drawn, and the generator after it. */
static PyObject *draw_end(drawing *d, chx_array *a)
{
  PyObject *r = a ? py_wrap(a) : py_fail(d->s);
  if (d->g->own) {
    d->g->state = chx_random_get(d->s);
    chx_scope_end(d->s);
  }
  py_device_leave(py_scope_self, &d->use);
  return r;
}

enum { UNIFORM, NORMAL, BERNOULLI, INTEGERS };

static chx_array *draw_kind(chx_scope *s, int kind, int dtype, const chx_ints *n, double a, double b)
{
  const int ndim = (int)n->n;
  switch (kind) {
  case UNIFORM: return chx_uniform(s, dtype, ndim, n->v, a, b);
  case NORMAL: return chx_normal(s, dtype, ndim, n->v, a, b);
  case BERNOULLI: return chx_bernoulli(s, dtype, ndim, n->v, a);
  default: return chx_integers(s, dtype, ndim, n->v, (int64_t)a, (int64_t)b);
  }
}

static PyObject *draw(PyObject *self, PyObject *args, int kind)
{
  PyObject *size, *dtype_object, *device;
  double a, b;
  chx_ints n = {0};
  int dtype;
  drawing d;
  if (kind == INTEGERS) { /* a float is no bound */
    long long low, high;
    if (!PyArg_ParseTuple(args, "LLOOO", &low, &high, &size, &dtype_object, &device)) return NULL;
    a = (double)low;
    b = (double)high;
  } else if (!PyArg_ParseTuple(args, "ddOOO", &a, &b, &size, &dtype_object, &device)) return NULL;
  if ((size != Py_None && !py_ints_from(size, "size", &n)) || !py_dtype_from(dtype_object, &dtype))
    return NULL;
  if (!dtype) dtype = kind == INTEGERS || kind == BERNOULLI ? CHX_I64 : CHX_F64;
  if (!draw_begin(&d, self, device)) return NULL;
  return draw_end(&d, draw_kind(d.s, kind, dtype, &n, a, b));
}

static PyObject *uniform(PyObject *self, PyObject *args) { return draw(self, args, UNIFORM); }
static PyObject *normal(PyObject *self, PyObject *args) { return draw(self, args, NORMAL); }
static PyObject *bernoulli(PyObject *self, PyObject *args) { return draw(self, args, BERNOULLI); }
static PyObject *integers(PyObject *self, PyObject *args) { return draw(self, args, INTEGERS); }

static PyObject *permutation(PyObject *self, PyObject *args)
{
  long long n;
  PyObject *device;
  drawing d;
  if (!PyArg_ParseTuple(args, "LO", &n, &device) || !draw_begin(&d, self, device)) return NULL;
  return draw_end(&d, chx_permutation(d.s, n));
}

/* ---- state -------------------------------------------------------------------------------------------------------------------- */

static PyObject *get_state(PyObject *self, PyObject *unused)
{
  const py_generator *g = (const py_generator *)self;
  chx_random_state t = g->own ? g->state : chx_random_get(NULL);
  (void)unused;
  return Py_BuildValue("(KK)", (unsigned long long)t.seed, (unsigned long long)t.counter);
}

static bool to_u64(PyObject *o, const char *what, uint64_t *v)
{
  PyObject *n = PyNumber_Index(o);
  *v = n ? PyLong_AsUnsignedLongLong(n) : 0;
  Py_XDECREF(n);
  if (!PyErr_Occurred()) return true;
  if (PyErr_ExceptionMatches(PyExc_OverflowError) || PyErr_ExceptionMatches(PyExc_ValueError))
    PyErr_Format(PyExc_ValueError, "the %s is %R, want an integer from 0 to 2**64 - 1", what, o);
  return false;
}

static PyObject *set_state(PyObject *self, PyObject *state)
{
  py_generator *g = (py_generator *)self;
  chx_random_state t;
  if (!PyTuple_Check(state) || PyTuple_GET_SIZE(state) != 2)
    return PyErr_Format(PyExc_TypeError, "the state is %R, want what get_state gave", state), NULL;
  if (!to_u64(PyTuple_GET_ITEM(state, 0), "seed", &t.seed) || !to_u64(PyTuple_GET_ITEM(state, 1), "counter", &t.counter))
    return NULL;
  if (g->own) g->state = t;
  else chx_random_set(NULL, t);
  Py_RETURN_NONE;
}

static PyObject *make(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
  (void)args, (void)kwargs;
  PyObject *self = type->tp_alloc(type, 0);
  if (self) ((py_generator *)self)->own = true;
  return self;
}

static PyObject *of_process(PyObject *type, PyObject *unused)
{
  PyObject *self = make((PyTypeObject *)type, NULL, NULL);
  (void)unused;
  if (self) ((py_generator *)self)->own = false;
  return self;
}

static PyMethodDef methods[] = {
    {"_uniform", uniform, METH_VARARGS, "_uniform(low, high, size, dtype, device)"},
    {"_normal", normal, METH_VARARGS, "_normal(mean, deviation, size, dtype, device)"},
    {"_bernoulli", bernoulli, METH_VARARGS, "_bernoulli(p, unused, size, dtype, device)"},
    {"_integers", integers, METH_VARARGS, "_integers(low, high, size, dtype, device)"},
    {"_permutation", permutation, METH_VARARGS, "_permutation(n, device)"},
    {"_of_process", of_process, METH_NOARGS | METH_CLASS, "_of_process(): one that draws from the process's generator"},
    {"get_state", get_state, METH_NOARGS,
     "get_state($self)\n--\n\nThe seed and how far the numbers have come: a tuple of two integers.\n\n"
     "Example\n  >>> chx.random.seed(7)\n  >>> chx.random.get_state()\n  (7, 0)"},
    {"set_state", set_state, METH_O,
     "set_state($self, state, /)\n--\n\nGoes on where get_state was called.\n\n"
     "Example\n  >>> state = chx.random.get_state()\n  >>> x = chx.random.uniform(size=3)\n  >>> chx.random.set_state(state)\n"
     "  >>> chx.array_equal(x, chx.random.uniform(size=3))\n  True"},
    {0}};

static PyTypeObject generator_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "chx._core._Generator",
    .tp_basicsize = sizeof(py_generator),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_doc = "What chx.random draws from.",
    .tp_new = make,
    .tp_methods = methods,
};

bool py_random_init(PyObject *module)
{
  return PyType_Ready(&generator_type) == 0 &&
         PyModule_AddObject(module, "_Generator", Py_NewRef((PyObject *)&generator_type)) == 0;
}
