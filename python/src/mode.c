/* SPDX-License-Identifier: MIT
 * mode.c: what holds for this thread inside of a `with`: using_device, no_backprop, force_backprop, fallback.
 */
#include "chxpy.h"
#include <string.h>

enum { DEVICE, GRAD, FALLBACK };

typedef struct py_mode {
  PyObject_HEAD int kind, value, before;
  bool entered;
  char device[32], device_before[32];
} py_mode;

static const char *const policies[] = {"allow", "warn", "deny"};

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
  case GRAD: m->before = chx_scope_set_grad(s, m->value); break;
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
  if (m->entered && m->kind == GRAD) chx_scope_set_grad(s, m->before);
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

static PyObject *no_backprop(PyObject *m, PyObject *u)
{
  (void)m, (void)u;
  return (PyObject *)make(GRAD, CHX_GRAD_OFF);
}
static PyObject *force_backprop(PyObject *m, PyObject *u)
{
  (void)m, (void)u;
  return (PyObject *)make(GRAD, CHX_GRAD_ON);
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

static PyMethodDef functions[] = {
    {"using_device", using_device, METH_O,
     "using_device(device)\n--\n\nInside of a `with`, new arrays of this thread are made on the device."},
    {"no_backprop", no_backprop, METH_NOARGS,
     "no_backprop()\n--\n\nInside of a `with`, this thread records nothing for backward."},
    {"force_backprop", force_backprop, METH_NOARGS,
     "force_backprop()\n--\n\nInside of a `with`, this thread records again."},
    {"fallback", fallback, METH_O,
     "fallback(policy)\n--\n\nWhat happens in this thread from now on where a device has no kernel and the CPU would "
     "compute: 'allow', 'warn' (once, to the log) or 'deny' (NotImplementedError). After a `with` what was before "
     "holds again."},
    {0}};

bool py_modes_init(PyObject *module)
{
  return PyType_Ready(&mode_type) == 0 && PyModule_AddFunctions(module, functions) == 0;
}
