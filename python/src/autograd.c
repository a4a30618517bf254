/* SPDX-License-Identifier: MIT
 * autograd.c: gradients: leaves, backward, grad, and hooks.
 *
 * Hooks live in a dict of the wrapper, which the collector visits; the core holds a small record whose pointer to the function the
 * wrapper clears when it ends or the hook is removed. So a hook that refers to its own array is no leak. A hook runs in an owning
 * scope of its own, since what is made in the scope that goes backward belongs to that.
 */
#include "chxpy.h"
#include <stdatomic.h>
#include <stdlib.h>

/* ---- leaves -------------------------------------------------------------------------------------------------------------------- */

static PyObject *require_grad(PyObject *self, PyObject *unused)
{
  chx_scope *s = py_scope();
  (void)unused;
  if (!s) return NULL;
  chx_require_grad(s, py_a(self));
  return py_check(s) ? Py_NewRef(self) : NULL;
}

static PyObject *is_grad_required(PyObject *self, PyObject *unused)
{
  (void)unused;
  return PyBool_FromLong(chx_is_grad_required(py_a(self), 0));
}

static PyObject *is_backprop_required(PyObject *self, PyObject *unused)
{
  chx_scope *s = py_scope();
  (void)unused;
  return s ? PyBool_FromLong(chx_is_backprop_required(s, py_a(self))) : NULL;
}

PyObject *py_grad_get(PyObject *self, void *unused)
{
  chx_scope *s = py_scope();
  (void)unused;
  if (!s) return NULL;
  chx_array *g = chx_grad_of(s, py_a(self));
  if (g) return py_wrap(g);
  return py_check(s) ? Py_NewRef(Py_None) : NULL;
}

int py_grad_set(PyObject *self, PyObject *value, void *unused)
{
  chx_scope *s = py_scope();
  (void)unused;
  if (!s) return -1;
  if (value && value != Py_None && !py_is_array(value)) {
    PyErr_Format(PyExc_TypeError, "grad is of type %s, want an array or None", Py_TYPE(value)->tp_name);
    return -1;
  }
  chx_set_grad(s, py_a(self), value && value != Py_None ? py_a(value) : NULL);
  return py_check(s) ? 0 : -1;
}

static PyObject *cleargrad(PyObject *self, PyObject *unused)
{
  (void)unused;
  return py_grad_set(self, NULL, NULL) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *detach(PyObject *self, PyObject *unused)
{
  chx_scope *s = py_scope();
  (void)unused;
  return s ? py_wrap(chx_detach(s, py_a(self))) : NULL;
}

static PyObject *unchain(PyObject *self, PyObject *unused)
{
  chx_scope *s = py_scope();
  (void)unused;
  if (!s) return NULL;
  chx_unchain_backward(s, py_a(self));
  return py_check(s) ? Py_NewRef(Py_None) : NULL;
}

/* ---- hooks --------------------------------------------------------------------------------------------------------------------- */

typedef struct hook_record {
  atomic_int holders;
  PyObject *function; /* borrowed of the wrapper's dict; NULL: gone */
} hook_record;

/* What hooks gave, held until the walk that called them has ended. */
static _Thread_local PyObject *given;

static void drop_record(void *ctx)
{
  hook_record *h = ctx;
  if (atomic_fetch_sub(&h->holders, 1) == 1) free(h);
}

static chx_scope *inner_scope(chx_scope *s)
{
  chx_scope *inner = chx_scope_begin_with(chx_scope_device(s), CHX_SCOPE_OWNED);
  int mode = chx_scope_set_grad(s, CHX_GRAD_OFF);
  chx_scope_set_grad(s, mode);
  chx_scope_set_grad(inner, mode);
  return inner;
}

static chx_array *call_hook(void *ctx, chx_scope *s, chx_array *g)
{
  hook_record *h = ctx;
  if (!h->function) return NULL;
  PyObject *function = Py_NewRef(h->function), *r = NULL;
  chx_scope *outer = py_scope_self;
  py_scope_self = inner_scope(s);
  PyObject *x = py_wrap(chx_keep(g));
  if (x) r = PyObject_CallOneArg(function, x);
  Py_XDECREF(x);
  chx_scope_end(py_scope_self);
  py_scope_self = outer;
  Py_DECREF(function);
  if (r && r != Py_None && !py_is_array(r)) {
    PyErr_Format(PyExc_TypeError, "a hook gave an object of type %s, want an array or None", Py_TYPE(r)->tp_name);
    Py_CLEAR(r);
  }
  if (r && !given) given = PyList_New(0);
  if (r && (!given || PyList_Append(given, r) < 0)) Py_CLEAR(r);
  if (!r) chx_scope_fail(s, CHX_EFAILED, "a hook failed");
  chx_array *y = r && r != Py_None ? py_a(r) : NULL;
  Py_XDECREF(r);
  return y;
}

static PyObject *add_hook(PyObject *self, PyObject *function)
{
  py_array *x = (py_array *)self;
  chx_scope *s = py_scope();
  if (!s) return NULL;
  if (!PyCallable_Check(function))
    return PyErr_SetString(PyExc_TypeError, "add_hook: the hook cannot be called, want a function"), NULL;
  hook_record *h = malloc(sizeof *h);
  PyObject *key = h ? PyLong_FromVoidPtr(h) : PyErr_NoMemory();
  if (!key) return free(h), NULL;
  atomic_init(&h->holders, 2);
  h->function = NULL; /* until the dict has it */
  if (chx_add_grad_hook(s, x->a, call_hook, h, drop_record)) {
    drop_record(h);
    Py_DECREF(key);
    return py_fail(s);
  }
  if (!x->hooks && (x->hooks = PyDict_New())) PyObject_GC_Track(self);
  if (!x->hooks || PyDict_SetItem(x->hooks, key, function) < 0) {
    drop_record(h);
    Py_DECREF(key);
    return NULL;
  }
  h->function = function;
  return key;
}

static void forget(PyObject *key)
{
  hook_record *h = PyLong_AsVoidPtr(key);
  h->function = NULL;
  drop_record(h);
}

static PyObject *remove_hook(PyObject *self, PyObject *key)
{
  PyObject *hooks = ((py_array *)self)->hooks;
  if (!hooks || !PyLong_CheckExact(key) || PyDict_Contains(hooks, key) != 1)
    return PyErr_Format(PyExc_KeyError, "%R is no hook of this array, want what add_hook gave", key), NULL;
  forget(key);
  return PyDict_DelItem(hooks, key) < 0 ? NULL : Py_NewRef(Py_None);
}

void py_hooks_clear(py_array *self)
{
  PyObject *hooks = self->hooks, *key, *value;
  Py_ssize_t at = 0;
  PyObject_GC_UnTrack(self);
  self->hooks = NULL;
  while (PyDict_Next(hooks, &at, &key, &value)) forget(key);
  Py_DECREF(hooks);
}

/* ---- backward and grad ------------------------------------------------------------------------------------------------------- */

typedef struct array_list {
  Py_ssize_t n;
  const chx_array *a[CHX_MAX_OPERANDS];
} array_list;

/* One array or a sequence of them; `optional`: with None among them, or None for all. */
static bool read_list(PyObject *o, const char *what, bool optional, array_list *l)
{
  l->n = 0;
  if (!o || o == Py_None) return optional || (PyErr_Format(PyExc_TypeError, "%s is None, want arrays", what), false);
  PyObject *list = py_is_array(o) ? PyTuple_Pack(1, o) : PySequence_Fast(o, "want an array or a sequence of arrays");
  if (!list) return false;
  l->n = PySequence_Fast_GET_SIZE(list);
  if (l->n > CHX_MAX_OPERANDS)
    PyErr_Format(PyExc_ValueError, "%s: %zd arrays are given, want at most %d", what, l->n, CHX_MAX_OPERANDS);
  for (Py_ssize_t i = 0; i < l->n && !PyErr_Occurred(); i++) {
    PyObject *v = PySequence_Fast_GET_ITEM(list, i);
    if (py_is_array(v)) l->a[i] = py_a(v);
    else if (optional && v == Py_None) l->a[i] = NULL;
    else PyErr_Format(PyExc_TypeError, "%s has an object of type %s, want arrays", what, Py_TYPE(v)->tp_name);
  }
  Py_DECREF(list);
  return !PyErr_Occurred();
}

static bool same_count(const array_list *ys, const array_list *gys)
{
  if (!gys->n || gys->n == ys->n) return true;
  PyErr_Format(PyExc_ValueError, "%zd gradients are given for %zd outputs, want one each", gys->n, ys->n);
  return false;
}

static bool go_back(chx_scope *s, const array_list *ys, const array_list *gys, unsigned flags)
{
  chx_backward_with(s, ys->a, gys->n ? gys->a : NULL, (int)ys->n, 0, flags);
  Py_CLEAR(given);
  return py_check(s);
}

static PyObject *backward_method(PyObject *self, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"grad", "retain_graph", "create_graph", NULL};
  PyObject *g = NULL;
  int retain = 0, create = 0;
  array_list ys = {1, {py_a(self)}}, gys;
  chx_scope *s = py_scope();
  if (!s || !PyArg_ParseTupleAndKeywords(args, kwargs, "|O$pp:backward", keywords, &g, &retain, &create) ||
      !read_list(g, "grad", true, &gys) || !same_count(&ys, &gys))
    return NULL;
  return go_back(s, &ys, &gys, (retain ? CHX_RETAIN_GRAPH : 0) | (create ? CHX_CREATE_GRAPH : 0)) ? Py_NewRef(Py_None)
                                                                                                  : NULL;
}

static PyObject *backward(PyObject *m, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"outputs", "grads", "retain_graph", "create_graph", NULL};
  PyObject *y, *g = NULL;
  int retain = 0, create = 0;
  array_list ys, gys;
  chx_scope *s = py_scope();
  (void)m;
  if (!s || !PyArg_ParseTupleAndKeywords(args, kwargs, "O|O$pp:backward", keywords, &y, &g, &retain, &create) ||
      !read_list(y, "outputs", false, &ys) || !read_list(g, "grads", true, &gys) || !same_count(&ys, &gys))
    return NULL;
  return go_back(s, &ys, &gys, (retain ? CHX_RETAIN_GRAPH : 0) | (create ? CHX_CREATE_GRAPH : 0)) ? Py_NewRef(Py_None)
                                                                                                  : NULL;
}

static PyObject *grad(PyObject *m, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"outputs", "inputs", "grads", "retain_graph", "create_graph", "allow_unused", NULL};
  PyObject *y, *x, *g = NULL;
  int retain = 0, create = 0, unused = 0;
  array_list ys, xs, gys;
  chx_array *gxs[CHX_MAX_OPERANDS];
  chx_scope *s = py_scope();
  (void)m;
  if (!s ||
      !PyArg_ParseTupleAndKeywords(args, kwargs, "OO|O$ppp:grad", keywords, &y, &x, &g, &retain, &create, &unused) ||
      !read_list(y, "outputs", false, &ys) || !read_list(x, "inputs", false, &xs) ||
      !read_list(g, "grads", true, &gys) || !same_count(&ys, &gys))
    return NULL;
  chx_grad(s, ys.a, (int)ys.n, xs.a, (int)xs.n, gys.n ? gys.a : NULL, 0,
           (retain ? CHX_RETAIN_GRAPH : 0) | (create ? CHX_CREATE_GRAPH : 0) | (unused ? CHX_ALLOW_UNUSED : 0), gxs);
  Py_CLEAR(given);
  if (!py_check(s)) return NULL;
  PyObject *list = PyList_New(xs.n);
  for (Py_ssize_t i = 0; i < xs.n; i++) {
    PyObject *o = !list ? (chx_release(gxs[i]), NULL) : gxs[i] ? py_wrap(gxs[i]) : Py_NewRef(Py_None);
    if (list && o) PyList_SET_ITEM(list, i, o);
    else Py_CLEAR(list);
  }
  return list;
}

#define FLAGS \
  "retain_graph: keep what backward needs, for another one. create_graph: record the gradients too, to differentiate " \
  "them again."
PyMethodDef py_array_autograd_methods[] = {
    {"require_grad", require_grad, METH_NOARGS,
     "require_grad($self)\n--\n\nMakes the array a leaf, whose gradient backward adds up in grad; returns it. Floating "
     "dtypes only."},
    {"is_grad_required", is_grad_required, METH_NOARGS,
     "is_grad_required($self)\n--\n\nWhether it is a leaf, or was computed from one."},
    {"is_backprop_required", is_backprop_required, METH_NOARGS,
     "is_backprop_required($self)\n--\n\nWhether it takes part in a graph that is being recorded."},
    {"cleargrad", cleargrad, METH_NOARGS, "cleargrad($self)\n--\n\nSets grad to None."},
    {"detach", detach, METH_NOARGS, "detach($self)\n--\n\nA view that takes part in no graph."},
    {"unchain", unchain, METH_NOARGS, "unchain($self)\n--\n\nForgets how the array was made: truncated backprop."},
    {"add_hook", add_hook, METH_O,
     "add_hook($self, hook)\n--\n\nHas hook(gradient) called when backward has completed the array's gradient, while "
     "this object lives; it returns the gradient to go on with, or None. Returns a number for remove_hook."},
    {"remove_hook", remove_hook, METH_O, "remove_hook($self, handle)\n--\n\nTakes away a hook."},
    {"backward", py_function(backward_method), METH_VARARGS | METH_KEYWORDS,
     "backward($self, grad=None, *, retain_graph=False, create_graph=False)\n--\n\nAdds the gradient of the (sum of "
     "the) array to that of every leaf it depends on. grad: what to begin with in place of ones. " FLAGS},
    {0}};
PyMethodDef py_autograd_functions[] = {
    {"backward", py_function(backward), METH_VARARGS | METH_KEYWORDS,
     "backward(outputs, grads=None, *, retain_graph=False, create_graph=False)\n--\n\nAs ndarray.backward, of several "
     "arrays. " FLAGS},
    {"grad", py_function(grad), METH_VARARGS | METH_KEYWORDS,
     "grad(outputs, inputs, grads=None, *, retain_graph=False, create_graph=False, allow_unused=False)\n--\n\nThe "
     "gradients of the outputs' sum by the inputs, as a list; touches no leaf's grad. allow_unused: None for an input "
     "that the outputs do not depend on, in place of zeros. " FLAGS},
    {0}};
