/* SPDX-License-Identifier: MIT
 * nn_copy.c: copy.deepcopy of links: values, children and attributes anew; functions and initializers are shared.
 */
#include "nnpy.h"

/* The link's own part of the copy. */
static bool copy_link(py_link *to, const py_link *self)
{
  py_nn c;
  if (!py_nn_enter(&c)) return false;
  to->l = chx_link_copy(c.s, self->l, 0);
  if (!py_nn_leave(&c)) return false;
  if (self->in_python) *(PyObject **)chx_link_data(to->l) = (PyObject *)to;
  to->in_python = self->in_python;
  to->unset = self->unset;
  to->spec = self->spec;
  if (self->held && !(to->held = PyList_GetSlice(self->held, 0, PyList_GET_SIZE(self->held)))) return false;
  return py_link_put_values(to);
}

static bool remember(PyObject *memo, const py_link *self, py_link *to)
{
  PyObject *key = PyLong_FromVoidPtr((void *)(uintptr_t)self);
  bool done = key && PyObject_SetItem(memo, key, (PyObject *)to) == 0;
  Py_XDECREF(key);
  return done;
}

static bool copy_children(PyObject *deepcopy, py_link *to, py_link *self, PyObject *memo)
{
  for (int i = 0; i < chx_link_n_children(self->l); i++) {
    const chx_link *l = chx_link_child(self->l, i);
    PyObject *child = (PyObject *)py_link_wrapper(self, l), *name = PyUnicode_FromString(chx_link_name(l));
    PyObject *copy = child && name ? PyObject_CallFunctionObjArgs(deepcopy, child, memo, NULL) : NULL;
    bool done = copy && py_is_link(copy) && py_link_add(to, name, (py_link *)copy);
    Py_XDECREF(name);
    Py_XDECREF(copy);
    if (!done) return false;
  }
  return true;
}

PyObject *py_link_deepcopy(PyObject *o, PyObject *memo)
{
  py_link *self = (py_link *)o;
  PyObject *module = py_link_ready(o) ? PyImport_ImportModule("copy") : NULL;
  PyObject *deepcopy = module ? PyObject_GetAttrString(module, "deepcopy") : NULL;
  py_link *to = deepcopy ? py_link_blank(Py_TYPE(o)) : NULL;
  bool done = to && copy_link(to, self) && remember(memo, self, to) && copy_children(deepcopy, to, self, memo);
  if (done && self->dict) done = (to->dict = PyObject_CallFunctionObjArgs(deepcopy, self->dict, memo, NULL)) != NULL;
  Py_XDECREF(module);
  Py_XDECREF(deepcopy);
  if (!done) Py_CLEAR(to);
  return (PyObject *)to;
}
