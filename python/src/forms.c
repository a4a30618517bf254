/* SPDX-License-Identifier: MIT
 * forms.c: what is written in Python and loaded when it is first needed: NumPy's forms of operators (chx/_forms.py), and methods
 * and attributes of ndarray that are made of others (chx/_methods.py).
 */
#include "chxpy.h"

static PyObject *from_module(const char *module, const char *name)
{
  PyObject *m = PyImport_ImportModule(module), *o = m ? PyObject_GetAttrString(m, name) : NULL;
  Py_XDECREF(m);
  return o;
}

/* ---- forms of operators ---------------------------------------------------------------------------------------------------------- */

static _Thread_local PyObject *running; /* the operator whose form calls it in its own manner: an error then is one */

/* The form for these arguments; NULL, without an exception, where there is none. */
static PyObject *find_form(PyObject *op_name, Py_ssize_t n, PyObject *keywords)
{
  PyObject *find = from_module("chx._forms", "find"), *none = keywords ? Py_NewRef(keywords) : PyTuple_New(0);
  PyObject *form = find && none ? PyObject_CallFunction(find, "OnO", op_name, n, none) : NULL;
  Py_XDECREF(find);
  Py_XDECREF(none);
  if (form != Py_None) return form;
  Py_DECREF(form);
  return NULL;
}

PyObject *py_call_form(PyObject *op_name, PyObject *const *args, size_t nargsf, PyObject *keywords)
{
  PyObject *type, *value, *trace, *r = NULL;
  if (running == op_name) return NULL;
  PyErr_Fetch(&type, &value, &trace);
  PyObject *form = find_form(op_name, PyVectorcall_NARGS(nargsf), keywords);
  if (form) {
    PyObject *before = running;
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    running = op_name;
    r = PyObject_Vectorcall(form, args, nargsf, keywords);
    running = before;
    Py_DECREF(form);
  } else {
    PyErr_Clear(); /* what was wrong with the call says more */
    PyErr_Restore(type, value, trace);
  }
  return r;
}

/* ---- methods and attributes --------------------------------------------------------------------------------------------------- */

/* Stands in the class's dictionary until it is first asked for, and then puts the real one there. */
typedef struct py_late {
  PyObject_HEAD const char *name;
} py_late;

static PyObject *late_get(PyObject *self, PyObject *object, PyObject *type)
{
  const char *name = ((py_late *)self)->name;
  PyObject *real = from_module("chx._methods", name), *r = NULL;
  (void)type;
  if (real && PyDict_SetItemString(py_array_type.tp_dict, name, real) == 0) {
    PyType_Modified(&py_array_type);
    r = PyObject_GetAttrString(object ? object : (PyObject *)&py_array_type, name);
  }
  Py_XDECREF(real);
  return r;
}

static PyObject *late_doc(PyObject *self, void *unused)
{
  PyObject *real = from_module("chx._methods", ((py_late *)self)->name);
  PyObject *doc = real ? PyObject_GetAttrString(real, "__doc__") : NULL;
  (void)unused;
  Py_XDECREF(real);
  return doc;
}

static PyGetSetDef late_getset[] = {{"__doc__", late_doc, NULL, NULL, NULL}, {0}};

static void late_end(PyObject *self) { PyObject_Free(self); }

static PyTypeObject late_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "chx.late",
    .tp_basicsize = sizeof(py_late),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_dealloc = late_end,
    .tp_descr_get = late_get,
    .tp_getset = late_getset,
};

bool py_late_methods(PyObject *type_dict)
{
  static const char *const names[] = {"compress", "conj",   "conjugate", "dot",          "dump", "dumps",
                                      "flags",    "imag",   "mT",        "nonzero",      "ptp",  "put",
                                      "real",     "repeat", "round",     "searchsorted", "sort", "std",
                                      "tobytes",  "tofile", "trace",     "var"};
  if (PyType_Ready(&late_type) < 0) return false;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    py_late *o = PyObject_New(py_late, &late_type);
    if (!o) return false;
    o->name = names[i];
    const int failed = PyDict_SetItemString(type_dict, names[i], (PyObject *)o);
    Py_DECREF(o);
    if (failed) return false;
  }
  return true;
}
