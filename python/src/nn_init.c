/* SPDX-License-Identifier: MIT
 * nn_init.c: initializers: those of nn as objects, numbers, arrays, and Python functions of (shape, dtype).
 */
#include "nnpy.h"

typedef struct py_init {
  PyObject_HEAD chx_nn_init v;
  const char *name;
  double number;
} py_init;

/* ---- from Python ---------------------------------------------------------------------------------------------------------- */

static chx_array *from_function(chx_scope *s, const chx_nn_init *self, int dtype, int ndim, const int64_t *shape)
{
  PyObject *function = (PyObject *)(uintptr_t)self->ctx, *r = NULL;
  py_back b;
  if (!py_back_enter(s, &b)) return NULL;
  PyObject *t = py_tuple(ndim, shape, 1), *d = t ? py_dtype(dtype) : NULL;
  if (d) r = PyObject_CallFunctionObjArgs(function, t, d, NULL);
  Py_XDECREF(t);
  Py_XDECREF(d);
  if (r && !py_is_array(r)) { /* NumPy's, or a list */
    chx_array *a = py_array_from(b.own, r, dtype, -1);
    Py_DECREF(r);
    r = a ? py_wrap(a) : NULL;
  }
  py_back_leave(&b);
  return py_give(s, r, "the initializer");
}

static chx_array *from_array(chx_scope *s, const chx_nn_init *self, int dtype, int ndim, const int64_t *shape)
{
  const chx_array *a = py_a((PyObject *)(uintptr_t)self->ctx);
  (void)ndim, (void)shape;
  return chx_cast(s, chx_to(s, chx_copy(s, chx_detach(s, a)), chx_scope_device(s)), dtype);
}

static bool hold_array(PyObject *o, py_link *holder, chx_nn_init *out)
{
  chx_scope *s = py_scope();
  PyObject *array = py_is_array(o) ? Py_NewRef(o) : NULL;
  if (!array && s) {
    chx_array *a = py_array_from(s, o, 0, 1);
    array = a ? py_wrap(a) : NULL;
  }
  if (!array || !py_link_hold(holder, array)) return Py_XDECREF(array), false;
  *out = (chx_nn_init){.fn = from_array, .ctx = array};
  Py_DECREF(array); /* the holder has it */
  return true;
}

static PyTypeObject py_init_type;

bool py_init_from(PyObject *o, py_link *holder, chx_nn_init *out)
{
  *out = (chx_nn_init){0};
  if (!o || o == Py_None) return true;
  if (Py_TYPE(o) == &py_init_type) {
    *out = ((py_init *)o)->v;
    return true;
  }
  if (PyFloat_Check(o) || PyLong_Check(o)) {
    *out = chx_nn_init_constant(PyFloat_AsDouble(o));
    return !PyErr_Occurred();
  }
  if (py_is_array(o) || PyObject_CheckBuffer(o) || PyList_Check(o) || PyTuple_Check(o))
    return hold_array(o, holder, out);
  if (!PyCallable_Check(o)) {
    PyErr_Format(PyExc_TypeError,
                 "an initializer is of type %s, want a number, an array or a function of (shape, dtype)",
                 Py_TYPE(o)->tp_name);
    return false;
  }
  if (!py_link_hold(holder, o)) return false;
  *out = (chx_nn_init){.fn = from_function, .ctx = o};
  return true;
}

/* ---- objects ----------------------------------------------------------------------------------------------------------------- */

static PyObject *call(PyObject *o, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"shape", "dtype", NULL};
  PyObject *shape, *name = NULL;
  chx_ints n;
  int dtype = CHX_F32;
  py_nn c;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:initializer", keywords, &shape, &name) ||
      !py_ints_from(shape, "shape", &n) || (name && !py_dtype_from(name, &dtype)) || !py_nn_enter(&c))
    return NULL;
  const chx_nn_init *v = &((py_init *)o)->v;
  return py_nn_result(&c, v->fn(c.s, v, dtype, (int)n.n, n.v));
}

static PyObject *repr(PyObject *o)
{
  PyObject *number = PyFloat_FromDouble(((py_init *)o)->number);
  PyObject *r = number ? PyUnicode_FromFormat("chx.nn.%s(%R)", ((py_init *)o)->name, number) : NULL;
  Py_XDECREF(number);
  return r;
}

static PyTypeObject py_init_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "chx.nn.Initializer",
    .tp_basicsize = sizeof(py_init),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "How a parameter gets its first values: a function of (shape, dtype='float32').",
    .tp_call = call,
    .tp_repr = repr,
};

static PyObject *make(PyObject *args, PyObject *kwargs, const char *keyword, const char *name, double number,
                      chx_nn_init (*fn)(double))
{
  char *keywords[] = {(char *)(uintptr_t)keyword, NULL};
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, number == number ? "|d" : "d", keywords, &number) ||
      PyType_Ready(&py_init_type) < 0)
    return NULL;
  py_init *self = PyObject_New(py_init, &py_init_type);
  if (!self) return NULL;
  self->v = fn(number);
  self->name = name;
  self->number = number;
  return (PyObject *)self;
}

#define INIT(Name, function, keyword, number) \
  static PyObject *make_##Name(PyObject *m, PyObject *args, PyObject *kwargs) \
  { \
    (void)m; \
    return make(args, kwargs, keyword, #Name, number, function); \
  }
INIT(Constant, chx_nn_init_constant, "value", Py_NAN)
INIT(Normal, chx_nn_init_normal, "std", 0.05)
INIT(Uniform, chx_nn_init_uniform, "scale", 0.05)
INIT(LeCunNormal, chx_nn_init_lecun_normal, "scale", 1)
INIT(HeNormal, chx_nn_init_he_normal, "scale", 1)
INIT(GlorotUniform, chx_nn_init_glorot_uniform, "scale", 1)

#define ROW(Name, signature, doc) \
  { \
#Name, py_function(make_##Name), METH_VARARGS | METH_KEYWORDS, #Name signature "\n--\n\n" doc \
  }
PyMethodDef py_nn_init_functions[] = {
    ROW(Constant, "(value)", "An initializer: this value."),
    ROW(Normal, "(std=0.05)", "An initializer: normal numbers of mean 0."),
    ROW(Uniform, "(scale=0.05)", "An initializer: numbers from [-scale, scale)."),
    ROW(LeCunNormal, "(scale=1)",
        "An initializer: normal numbers, std = scale sqrt(1 / fan_in). The default of weights."),
    ROW(HeNormal, "(scale=1)", "An initializer: normal numbers, std = scale sqrt(2 / fan_in)."),
    ROW(GlorotUniform, "(scale=1)", "An initializer: numbers from +-scale sqrt(6 / (fan_in + fan_out))."),
    {0}};
