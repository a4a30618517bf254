/* SPDX-License-Identifier: MIT
 * mode.c: what holds for this thread inside of a `with`: using_device, no_backprop, force_backprop, fallback, debug_mode.
 */
#include "chxpy.h"
#include <string.h>

enum { DEVICE, GRAD, FALLBACK, DEBUG };

typedef struct py_mode {
  PyObject_HEAD int kind, value, before;
  bool entered;
  uint64_t graphs, graphs_before; /* of GRAD: bits of ids; 0: all */
  char device[32], device_before[32];
} py_mode;

static const char *const policies[] = {"allow", "warn", "deny"};

/* Recording in the graphs that m names, or in all, begins or ends. What another mode holds back stays so. */
static void enter_grad(chx_scope *s, py_mode *m)
{
  const bool on = m->value == CHX_GRAD_ON;
  m->before = chx_scope_set_grad(s, m->value);
  m->graphs_before = chx_scope_set_graphs(s, ~(uint64_t)0);
  if (!m->graphs) {
    if (!on) chx_scope_set_graphs(s, m->graphs_before);
    return;
  }
  const uint64_t recorded = m->before == CHX_GRAD_ON ? m->graphs_before : 0;
  chx_scope_set_graphs(s, on ? recorded | m->graphs : recorded & ~m->graphs);
  chx_scope_set_grad(s, CHX_GRAD_ON);
}

static PyObject *enter(PyObject *o, PyObject *unused)
{
  py_mode *m = (py_mode *)o;
  chx_scope *s = py_scope();
  (void)unused;
  if (!s) return NULL;
  if (m->entered)
    return PyErr_SetString(PyExc_RuntimeError, "this was entered already, want a new one for each 'with'"), NULL;
  switch (m->kind) {
  case DEVICE:
    snprintf(m->device_before, sizeof m->device_before, "%s", chx_scope_device(s));
    chx_scope_set_device(s, m->device);
    break;
  case GRAD: enter_grad(s, m); break;
  case DEBUG: m->before = py_debug_set(m->value); break;
  default: chx_scope_set_fallback(s, m->value); /* `before` is from the call */
  }
  if (!py_check(s)) return NULL;
  m->entered = true;
  return Py_NewRef(o);
}

static PyObject *leave(PyObject *o, PyObject *args)
{
  py_mode *m = (py_mode *)o;
  chx_scope *s = py_scope();
  (void)args;
  if (!s) return NULL;
  if (m->entered && m->kind == DEVICE) chx_scope_set_device(s, m->device_before);
  if (m->entered && m->kind == GRAD) {
    chx_scope_set_grad(s, m->before);
    chx_scope_set_graphs(s, m->graphs_before);
  }
  if (m->entered && m->kind == DEBUG) py_debug_set(m->before);
  if (m->entered && m->kind == FALLBACK) chx_scope_set_fallback(s, m->before);
  m->entered = false;
  return py_check(s) ? Py_NewRef(Py_None) : NULL;
}

static PyMethodDef methods[] = {{"__enter__", enter, METH_NOARGS, NULL}, {"__exit__", leave, METH_VARARGS, NULL}, {0}};

static PyTypeObject mode_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "chx.mode",
    .tp_basicsize = sizeof(py_mode),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "What holds for this thread inside of a `with`.",
    .tp_methods = methods,
};

static py_mode *make(int kind, int value)
{
  py_mode *m = PyObject_New(py_mode, &mode_type);
  if (!m) return NULL;
  memset((char *)m + sizeof(PyObject), 0, sizeof *m - sizeof(PyObject));
  m->kind = kind;
  m->value = value;
  return m;
}

static PyObject *using_device(PyObject *module, PyObject *name)
{
  const char *device = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
  (void)module;
  if (!device || strlen(device) >= sizeof((py_mode *)0)->device) {
    if (!PyErr_Occurred())
      PyErr_Format(PyExc_TypeError, "using_device: the device is %R, want a name such as 'native:0'", name);
    return NULL;
  }
  py_mode *m = make(DEVICE, 0);
  if (m) strcpy(m->device, device);
  return (PyObject *)m;
}

/* The mode of graphs given one by one or in a list; without any: of all. */
static PyObject *of_graphs(PyObject *args, const char *what, int value)
{
  py_mode *m = make(GRAD, value);
  PyObject *first = PyTuple_GET_SIZE(args) == 1 ? PyTuple_GET_ITEM(args, 0) : NULL;
  const bool in_list = first && (PyTuple_CheckExact(first) || PyList_CheckExact(first));
  PyObject *list = in_list ? PySequence_Tuple(first) : Py_NewRef(args);
  bool good = m && list;
  for (Py_ssize_t i = 0; good && i < PyTuple_GET_SIZE(list); i++) {
    chx_backprop_id id;
    good = py_graph_from(PyTuple_GET_ITEM(list, i), what, &id);
    if (good) m->graphs |= (uint64_t)1 << id; /* None is the default graph */
  }
  Py_XDECREF(list);
  if (!good) Py_CLEAR(m);
  return (PyObject *)m;
}

static PyObject *no_backprop(PyObject *m, PyObject *args)
{
  (void)m;
  return of_graphs(args, "no_backprop", CHX_GRAD_OFF);
}
static PyObject *force_backprop(PyObject *m, PyObject *args)
{
  (void)m;
  return of_graphs(args, "force_backprop", CHX_GRAD_ON);
}

/* Holds from the call on, so that fallback("deny") alone does what it says; leaving a `with` restores what was before. */
static PyObject *fallback(PyObject *module, PyObject *policy)
{
  const char *name = PyUnicode_Check(policy) ? PyUnicode_AsUTF8(policy) : NULL;
  (void)module;
  for (int i = 0; name && i < 3; i++) {
    if (strcmp(name, policies[i])) continue;
    chx_scope *s = py_scope();
    py_mode *m = s ? make(FALLBACK, i) : NULL;
    if (m) m->before = chx_scope_set_fallback(s, i);
    return (PyObject *)m;
  }
  if (!PyErr_Occurred())
    PyErr_Format(PyExc_ValueError, "fallback: the policy is %R, want 'allow', 'warn' or 'deny'", policy);
  return NULL;
}

static PyObject *debug_mode(PyObject *module, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"nan", NULL};
  int nan = 0;
  (void)module;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|p:debug_mode", keywords, &nan)) return NULL;
  return (PyObject *)make(DEBUG, PY_DEBUG_PLACES | (nan ? PY_DEBUG_NANS : 0));
}

static PyMethodDef functions[] = {
    {"using_device", using_device, METH_O,
     "using_device(device, /)\n--\n\nInside of a `with`, new arrays of this thread are made on the device."},
#define NO_BACKPROP(name) \
  {name, no_backprop, METH_VARARGS, \
   name "(*backprop_ids)\n--\n\nInside of a `with`, this thread records nothing for backward; with ids of backprop_scope, or None " \
        "for the default graph: nothing in those graphs."}
    NO_BACKPROP("no_backprop"),
    NO_BACKPROP("no_backprop_mode"), /* ChainerX's name */
#define FORCE_BACKPROP(name) \
  {name, force_backprop, METH_VARARGS, \
   name "(*backprop_ids)\n--\n\nInside of a `with`, this thread records again; with ids: in those graphs."}
    FORCE_BACKPROP("force_backprop"),
    FORCE_BACKPROP("force_backprop_mode"),
    {"debug_mode", py_function(debug_mode), METH_VARARGS | METH_KEYWORDS,
     "debug_mode(nan=False)\n--\n\nInside of a `with`, in every thread, what chx.debug(True, nan) does."},
    {"fallback", fallback, METH_O,
     "fallback(policy, /)\n--\n\nWhat happens in this thread from now on where a device has no kernel and the CPU would "
     "compute: 'allow', 'warn' (once, to the log) or 'deny' (NotImplementedError). After a `with` what was before "
     "holds again."},
    {0}};

bool py_modes_init(PyObject *module)
{
  return PyType_Ready(&mode_type) == 0 && PyModule_AddFunctions(module, functions) == 0;
}
