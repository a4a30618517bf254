/* SPDX-License-Identifier: MIT
 * autograd.c: gradients: leaves, backward, grad, and hooks.
 *
 * Hooks live in a dict of the wrapper, which the collector visits; the core holds a small record whose pointer to the function the
 * wrapper clears when it ends or the hook is removed. So a hook that refers to its own array is no leak. Of an output of a chx.Function
 * the dict has the function's link, too, by the key None (function.c).
 */
#include "chxpy.h"
#include <stdatomic.h>
#include <stdlib.h>

/* ---- leaves -------------------------------------------------------------------------------------------------------------------- */

/* The graph named by the one argument of a method, backprop_id, which may be left out. */
static bool graph_argument(PyObject *const *args, Py_ssize_t n, PyObject *names, const char *what, chx_backprop_id *id)
{
  const Py_ssize_t given = n + (names ? PyTuple_GET_SIZE(names) : 0);
  if (likely(!given)) return *id = 0, true;
  if (given == 1 && (n == 1 || PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "backprop_id") == 0))
    return py_graph_from(args[0], what, id);
  PyErr_Format(PyExc_TypeError, "%s: want at most one argument, backprop_id", what);
  return false;
}

static PyObject *require_grad(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
  chx_scope *s = py_scope();
  chx_backprop_id id;
  if (!s || !graph_argument(args, n, names, "require_grad", &id)) return NULL;
  chx_require_grad_in(s, py_a(self), id);
  return py_check(s) ? Py_NewRef(self) : NULL;
}

static PyObject *is_grad_required(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
  chx_backprop_id id;
  if (!graph_argument(args, n, names, "is_grad_required", &id)) return NULL;
  return PyBool_FromLong(chx_is_grad_required(py_a(self), id));
}

static PyObject *is_backprop_required(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
  chx_scope *s = py_scope();
  chx_backprop_id id;
  if (!s || !graph_argument(args, n, names, "is_backprop_required", &id)) return NULL;
  if (!id) return PyBool_FromLong(chx_is_backprop_required(s, py_a(self)));
  return PyBool_FromLong(chx_is_grad_required(py_a(self), id) && py_graph_recorded(s, id));
}

static PyObject *gradient_in(PyObject *self, chx_backprop_id id)
{
  chx_scope *s = py_scope();
  if (!s) return NULL;
  chx_array *g = chx_grad_of_in(s, py_a(self), id);
  if (g) return py_wrap(g);
  return py_check(s) ? Py_NewRef(Py_None) : NULL;
}

static bool set_gradient_in(PyObject *self, PyObject *value, chx_backprop_id id)
{
  chx_scope *s = py_scope();
  if (!s) return false;
  if (value && value != Py_None && !py_is_array(value)) {
    PyErr_Format(PyExc_TypeError, "grad is of type %s, want an array or None", Py_TYPE(value)->tp_name);
    return false;
  }
  chx_set_grad_in(s, py_a(self), value && value != Py_None ? py_a(value) : NULL, id);
  return py_check(s);
}

static PyObject *get_grad(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
  chx_backprop_id id;
  return graph_argument(args, n, names, "get_grad", &id) ? gradient_in(self, id) : NULL;
}

static PyObject *set_grad(PyObject *self, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"grad", "backprop_id", NULL};
  PyObject *value, *graph = NULL;
  chx_backprop_id id;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:set_grad", keywords, &value, &graph) ||
      !py_graph_from(graph, "set_grad", &id))
    return NULL;
  return set_gradient_in(self, value, id) ? Py_NewRef(Py_None) : NULL;
}

PyObject *py_grad_get(PyObject *self, void *unused)
{
  (void)unused;
  return gradient_in(self, 0);
}

int py_grad_set(PyObject *self, PyObject *value, void *unused)
{
  (void)unused;
  return set_gradient_in(self, value, 0) ? 0 : -1;
}

static PyObject *cleargrad(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
  chx_backprop_id id;
  return graph_argument(args, n, names, "cleargrad", &id) && set_gradient_in(self, NULL, id) ? Py_NewRef(Py_None) : NULL;
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

static void drop_record(void *ctx)
{
  hook_record *h = ctx;
  if (atomic_fetch_sub(&h->holders, 1) == 1) free(h);
}

static chx_array *call_hook(void *ctx, chx_scope *s, chx_array *g)
{
  hook_record *h = ctx;
  chx_array *y = NULL;
  PyObject *r = NULL;
  py_call call;
  py_call_enter(s, &call);
  if (h->function) {
    PyObject *function = Py_NewRef(h->function), *x = py_wrap(chx_keep(g));
    if (x) r = PyObject_CallOneArg(function, x);
    Py_XDECREF(x);
    Py_DECREF(function);
    if (r && r != Py_None && !py_is_array(r)) {
      PyErr_Format(PyExc_TypeError, "a hook gave an object of type %s, want an array or None", Py_TYPE(r)->tp_name);
      Py_CLEAR(r);
    }
    if (!r) chx_scope_fail(s, CHX_EFAILED, "a hook failed");
    else if (r != Py_None) y = chx_scope_give(s, chx_keep(py_a(r)));
    Py_XDECREF(r);
  }
  py_call_leave(s, &call);
  return y;
}

bool py_hooks_put(py_array *x, PyObject *key, PyObject *value)
{
  if (!x->hooks && (x->hooks = PyDict_New())) PyObject_GC_Track((PyObject *)x);
  return x->hooks && PyDict_SetItem(x->hooks, key, value) == 0;
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
  if (!py_hooks_put(x, key, function)) {
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
  while (PyDict_Next(hooks, &at, &key, &value)) {
    if (key == Py_None) py_link_forget(value, self);
    else forget(key);
  }
  Py_DECREF(hooks);
}

/* ---- backward and grad ------------------------------------------------------------------------------------------------------- */

typedef struct array_list { /* with references: hooks and other threads may change what it was read from */
  Py_ssize_t n;
  const chx_array *a[CHX_MAX_OPERANDS];
} array_list;

static void end_list(array_list *l)
{
  while (l->n) chx_release((chx_array *)l->a[--l->n]);
}

/* One array or a sequence of them; `optional`: with None among them, or None for all. */
static bool read_list(PyObject *o, const char *what, bool optional, array_list *l)
{
  l->n = 0;
  if (!o || o == Py_None) return optional || (PyErr_Format(PyExc_TypeError, "%s is None, want arrays", what), false);
  PyObject *list = py_is_array(o) ? PyTuple_Pack(1, o) : PySequence_Fast(o, "want an array or a sequence of arrays");
  if (!list) return false;
  Py_ssize_t n = PySequence_Fast_GET_SIZE(list);
  if (n > CHX_MAX_OPERANDS)
    PyErr_Format(PyExc_ValueError, "%s: %zd arrays are given, want at most %d", what, n, CHX_MAX_OPERANDS);
  for (; l->n < n && !PyErr_Occurred(); l->n++) {
    PyObject *v = PySequence_Fast_GET_ITEM(list, l->n);
    l->a[l->n] = py_is_array(v) ? chx_keep(py_a(v)) : NULL;
    if (!py_is_array(v) && !(optional && v == Py_None))
      PyErr_Format(PyExc_TypeError, "%s has an object of type %s, want arrays", what, Py_TYPE(v)->tp_name);
  }
  Py_DECREF(list);
  if (!PyErr_Occurred()) return true;
  end_list(l);
  return false;
}

static bool same_count(const array_list *ys, const array_list *gys)
{
  if (!gys->n || gys->n == ys->n) return true;
  PyErr_Format(PyExc_ValueError, "%zd gradients are given for %zd outputs, want one each", gys->n, ys->n);
  return false;
}

/* The parameters that backward, ndarray.backward and grad share. */
typedef struct walk_options { PyObject *graph; int retain, create, unused; } walk_options;

static unsigned flags_of(const walk_options *o)
{
  return (o->retain ? CHX_RETAIN_GRAPH : 0) | (o->create ? CHX_CREATE_GRAPH : 0) | (o->unused ? CHX_ALLOW_UNUSED : 0);
}

static bool go_back(chx_scope *s, const array_list *ys, const array_list *gys, const walk_options *o)
{
  chx_backprop_id id;
  if (!same_count(ys, gys) || !py_graph_from(o->graph, "backward", &id)) return false;
  chx_backward_with(s, ys->a, gys->n ? gys->a : NULL, (int)ys->n, id, flags_of(o));
  return py_check(s);
}

static PyObject *backward_method(PyObject *self, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"grad", "backprop_id", "retain_graph", "create_graph", NULL};
  PyObject *g = NULL;
  walk_options o = {0};
  array_list ys = {1, {py_a(self)}}, gys = {0};
  chx_scope *s = py_scope();
  if (!s ||
      !PyArg_ParseTupleAndKeywords(args, kwargs, "|O$Opp:backward", keywords, &g, &o.graph, &o.retain, &o.create) ||
      !read_list(g, "grad", true, &gys))
    return NULL;
  bool done = go_back(s, &ys, &gys, &o);
  end_list(&gys);
  return done ? Py_NewRef(Py_None) : NULL;
}

static PyObject *backward(PyObject *m, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"outputs", "grads", "backprop_id", "retain_graph", "create_graph", NULL};
  PyObject *y, *g = NULL;
  walk_options o = {0};
  array_list ys = {0}, gys = {0};
  chx_scope *s = py_scope();
  (void)m;
  if (!s ||
      !PyArg_ParseTupleAndKeywords(args, kwargs, "O|O$Opp:backward", keywords, &y, &g, &o.graph, &o.retain, &o.create) ||
      !read_list(y, "outputs", false, &ys))
    return NULL;
  bool done = read_list(g, "grads", true, &gys) && go_back(s, &ys, &gys, &o);
  end_list(&ys), end_list(&gys);
  return done ? Py_NewRef(Py_None) : NULL;
}

static PyObject *list_of(chx_array **a, Py_ssize_t n)
{
  PyObject *list = PyList_New(n);
  for (Py_ssize_t i = 0; i < n; i++) {
    PyObject *o = !list ? (chx_release(a[i]), NULL) : a[i] ? py_wrap(a[i]) : Py_NewRef(Py_None);
    if (list && o) PyList_SET_ITEM(list, i, o);
    else Py_CLEAR(list);
  }
  return list;
}

static PyObject *grad(PyObject *m, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"outputs", "inputs", "grads", "backprop_id", "retain_graph", "create_graph", "allow_unused", NULL};
  PyObject *y, *x, *g = NULL, *list = NULL;
  walk_options o = {0};
  array_list ys = {0}, xs = {0}, gys = {0};
  chx_array *gxs[CHX_MAX_OPERANDS];
  chx_backprop_id id;
  chx_scope *s = py_scope();
  (void)m;
  if (!s ||
      !PyArg_ParseTupleAndKeywords(args, kwargs, "OO|O$Oppp:grad", keywords, &y, &x, &g, &o.graph, &o.retain, &o.create, &o.unused))
    return NULL;
  if (read_list(y, "outputs", false, &ys) && read_list(x, "inputs", false, &xs) && read_list(g, "grads", true, &gys) &&
      same_count(&ys, &gys) && py_graph_from(o.graph, "grad", &id)) {
    chx_grad(s, ys.a, (int)ys.n, xs.a, (int)xs.n, gys.n ? gys.a : NULL, id, flags_of(&o), gxs);
    if (py_check(s)) list = list_of(gxs, xs.n);
  }
  end_list(&ys), end_list(&xs), end_list(&gys);
  return list;
}

#define FLAGS \
  "backprop_id: the graph to go through, of backprop_scope. retain_graph: keep what backward needs, for another one. create_graph: record the gradients too, to differentiate " \
  "them again."
PyMethodDef py_array_autograd_methods[] = {
    {"require_grad", py_function(require_grad), METH_FASTCALL | METH_KEYWORDS,
     "require_grad($self, backprop_id=None)\n--\n\nMakes the array a leaf, whose gradient backward adds up in grad; "
     "returns it. Floating dtypes only."},
    {"is_grad_required", py_function(is_grad_required), METH_FASTCALL | METH_KEYWORDS,
     "is_grad_required($self, backprop_id=None)\n--\n\nWhether it is a leaf, or was computed from one."},
    {"is_backprop_required", py_function(is_backprop_required), METH_FASTCALL | METH_KEYWORDS,
     "is_backprop_required($self, backprop_id=None)\n--\n\nWhether it takes part in that graph, without one in any, and "
     "this is being recorded."},
    {"get_grad", py_function(get_grad), METH_FASTCALL | METH_KEYWORDS,
     "get_grad($self, backprop_id=None)\n--\n\nThe gradient in a graph, or None; grad is that of the default one."},
    {"set_grad", py_function(set_grad), METH_VARARGS | METH_KEYWORDS,
     "set_grad($self, grad, backprop_id=None)\n--\n\nSets the gradient in a graph; None takes it away."},
    {"cleargrad", py_function(cleargrad), METH_FASTCALL | METH_KEYWORDS,
     "cleargrad($self, backprop_id=None)\n--\n\nSets the gradient to None."},
    {"detach", detach, METH_NOARGS, "detach($self)\n--\n\nA view that takes part in no graph."},
    {"unchain", unchain, METH_NOARGS, "unchain($self)\n--\n\nForgets how the array was made: truncated backprop."},
    {"add_hook", add_hook, METH_O,
     "add_hook($self, hook, /)\n--\n\nHas hook(gradient) called when backward has completed the array's gradient, while "
     "this object lives; it returns the gradient to go on with, or None. Returns a number for remove_hook."},
    {"remove_hook", remove_hook, METH_O, "remove_hook($self, handle, /)\n--\n\nTakes away a hook."},
    {"backward", py_function(backward_method), METH_VARARGS | METH_KEYWORDS,
     "backward($self, grad=None, *, backprop_id=None, retain_graph=False, create_graph=False)\n--\n\nAdds the gradient of the (sum of "
     "the) array to that of every leaf it depends on. grad: what to begin with in place of ones. " FLAGS},
    {0}};
PyMethodDef py_autograd_functions[] = {
    {"backward", py_function(backward), METH_VARARGS | METH_KEYWORDS,
     "backward(outputs, grads=None, *, backprop_id=None, retain_graph=False, create_graph=False)\n--\n\nAs ndarray.backward, of several "
     "arrays. " FLAGS},
    {"grad", py_function(grad), METH_VARARGS | METH_KEYWORDS,
     "grad(outputs, inputs, grads=None, *, backprop_id=None, retain_graph=False, create_graph=False, "
     "allow_unused=False)\n--\n\nThe "
     "gradients of the outputs' sum by the inputs, as a list; touches no leaf's grad. allow_unused: None for an input "
     "that the outputs do not depend on, in place of zeros. " FLAGS},
    {0}};
