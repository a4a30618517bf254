/* SPDX-License-Identifier: MIT
 * function.c: chx.Function's part over the core (chx_connect), and the gradient checkers, whose functions are Python's, too.
 *
 * A node of the graph holds a link, and that the Python object with forward and backward. The object may hold what it gave: a
 * circle through the core, which the collector cannot see. So each wrapper of an output holds the link as well (in its dict of hooks, by
 * the key None), and a link whose function is held by those outputs alone counts as held by itself: then no reference is left that
 * the collector does not see. Where a further result or anything else holds the function, it stays.
 */
#include "chxpy.h"

typedef struct py_link {
  PyObject_VAR_HEAD PyObject *function; /* NULL: taken away by the collector */
  int n_x, n_kept;
  signed char kept[CHX_MAX_OPERANDS]; /* what is retained: input i, or output ~i */
  py_array *outputs[];                /* borrowed: the wrappers that hold it; NULL: gone, or not in the graph */
} py_link;

static PyTypeObject link_type;

/* ---- the link and the collector ---------------------------------------------------------------------------------------- */

static int link_traverse(PyObject *o, visitproc visit, void *arg)
{
  py_link *l = (py_link *)o;
  const chx_array *ys[CHX_MAX_OPERANDS];
  int n = 0;
  Py_VISIT(l->function);
  for (Py_ssize_t k = 0; k < Py_SIZE(l); k++)
    if (l->outputs[k]) ys[n++] = l->outputs[k]->a;
  if (n && Py_REFCNT(o) == n + 1 && chx_function_is_held_by(ys, n)) Py_VISIT(o); /* the node's reference */
  return 0;
}

static int link_clear(PyObject *o)
{
  Py_CLEAR(((py_link *)o)->function);
  return 0;
}

static void link_dealloc(PyObject *o)
{
  PyObject_GC_UnTrack(o);
  link_clear(o);
  PyObject_GC_Del(o);
}

static PyTypeObject link_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "chx._link",
    .tp_basicsize = sizeof(py_link),
    .tp_itemsize = sizeof(py_array *),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = link_dealloc,
    .tp_traverse = link_traverse,
    .tp_clear = link_clear,
};

void py_link_forget(PyObject *o, py_array *output)
{
  py_link *l = (py_link *)o;
  for (Py_ssize_t k = 0; k < Py_SIZE(l); k++)
    if (l->outputs[k] == output) l->outputs[k] = NULL;
}

static py_link *link_new(PyObject *function, Py_ssize_t n_outputs)
{
  py_link *l = PyObject_GC_NewVar(py_link, &link_type, n_outputs);
  if (!l) return NULL;
  l->function = Py_NewRef(function);
  l->n_x = l->n_kept = 0;
  for (Py_ssize_t k = 0; k < n_outputs; k++) l->outputs[k] = NULL;
  PyObject_GC_Track((PyObject *)l);
  return l;
}

static void free_link(void *ctx)
{
  if (!Py_IsInitialized()) return; /* the process ends; Python's objects are gone */
  PyGILState_STATE gil = PyGILState_Ensure();
  chx_scope *s = py_scope_hide(); /* what ends with the function may be anything */
  Py_DECREF((PyObject *)ctx);
  py_scope_show(s);
  PyGILState_Release(gil);
}

/* ---- calls from the core ------------------------------------------------------------------------------------------------ */

static PyObject *call_backward(const py_link *l, const chx_function_call *c)
{
  const chx_array *kept[CHX_MAX_OPERANDS];
  for (int i = 0; i < l->n_kept; i++) kept[i] = l->kept[i] >= 0 ? c->x[l->kept[i]] : c->y[~l->kept[i]];
  PyObject *gys = py_wrap_all(c->n_y, c->gy), *values = py_wrap_all(l->n_kept, kept), *need = PyTuple_New(l->n_x), *r = NULL;
  for (int i = 0; need && i < l->n_x; i++) PyTuple_SET_ITEM(need, i, PyBool_FromLong(c->need[i]));
  if (gys && values && need) r = PyObject_CallMethod(l->function, "_go_back", "OOO", gys, values, need);
  Py_XDECREF(gys);
  Py_XDECREF(values);
  Py_XDECREF(need);
  return r;
}

static void backward(void *ctx, chx_scope *s, const chx_function_call *c, chx_array **gx)
{
  py_call call;
  py_call_enter(s, &call);
  py_link *l = ctx;
  PyObject *r = NULL;
  if (l->function) {
    Py_INCREF(l);
    r = call_backward(l, c);
  } else PyErr_SetString(PyExc_RuntimeError, "a function of this graph was collected as garbage");
  for (int i = 0; r && i < l->n_x; i++) {
    PyObject *g = PyTuple_GET_ITEM(r, i);
    gx[i] = g == Py_None ? NULL : chx_scope_give(s, chx_keep(py_a(g)));
  }
  if (!r) chx_scope_fail(s, CHX_EFAILED, "backward of a Python function failed");
  else Py_DECREF(l);
  Py_XDECREF(r);
  py_call_leave(s, &call);
}

/* ---- _connect ------------------------------------------------------------------------------------------------------------- */

typedef struct parts {
  int n_x, n_y;
  const chx_array *x[CHX_MAX_OPERANDS], *y[CHX_MAX_OPERANDS];
  uint64_t keep_x, keep_y;
} parts;

static bool too_many(const char *name, Py_ssize_t n)
{
  PyErr_Format(PyExc_ValueError, "%s: %zd arrays are given or retained, want at most %d", name, n, CHX_MAX_OPERANDS);
  return false;
}

/* The arrays of a tuple, which are ndarrays or None. */
static bool take(const char *name, PyObject *tuple, int *n, const chx_array **a)
{
  if (PyTuple_GET_SIZE(tuple) > CHX_MAX_OPERANDS) return too_many(name, PyTuple_GET_SIZE(tuple));
  *n = (int)PyTuple_GET_SIZE(tuple);
  for (int i = 0; i < *n; i++) a[i] = PyTuple_GET_ITEM(tuple, i) == Py_None ? NULL : py_a(PyTuple_GET_ITEM(tuple, i));
  return true;
}

static int find(int n, const chx_array *const *a, const chx_array *x)
{
  while (n-- > 0 && a[n] != x) {}
  return n;
}

/* Where each retained value is: an input, an output, or, in no graph, an input more. */
static bool retain(const char *name, PyObject *kept, parts *p, py_link *l)
{
  if (PyTuple_GET_SIZE(kept) > CHX_MAX_OPERANDS) return too_many(name, PyTuple_GET_SIZE(kept));
  l->n_x = p->n_x;
  for (; l->n_kept < PyTuple_GET_SIZE(kept); l->n_kept++) {
    const chx_array *a = py_a(PyTuple_GET_ITEM(kept, l->n_kept));
    int i = find(p->n_x, p->x, a), o = i < 0 ? find(p->n_y, p->y, a) : -1;
    if (i < 0 && o < 0) {
      if (p->n_x == CHX_MAX_OPERANDS) return too_many(name, CHX_MAX_OPERANDS + 1);
      p->x[i = p->n_x++] = a;
    }
    if (o < 0) p->keep_x |= (uint64_t)1 << i;
    else p->keep_y |= (uint64_t)1 << o;
    l->kept[l->n_kept] = (signed char)(o < 0 ? i : ~o);
  }
  return true;
}

/* The wrapper of an output, which holds the link if it is in the graph. */
static PyObject *wrap_output(py_link *l, Py_ssize_t k, chx_array *a)
{
  const bool recorded = chx_is_backprop_required(py_scope_self, a);
  PyObject *o = py_wrap(a);
  if (!o || !recorded) return o;
  if (!py_hooks_put((py_array *)o, Py_None, (PyObject *)l)) {
    Py_DECREF(o);
    return NULL;
  }
  l->outputs[k] = (py_array *)o;
  return o;
}

/* _connect(function, inputs, outputs, retained): the outputs as the function's results. */
static PyObject *connect(PyObject *m, PyObject *args)
{
  PyObject *function, *inputs, *outputs, *kept;
  parts p = {.keep_x = 0};
  chx_array *out[CHX_MAX_OPERANDS];
  chx_scope *s = py_scope();
  (void)m;
  if (!s || !PyArg_ParseTuple(args, "OO!O!O!", &function, &PyTuple_Type, &inputs, &PyTuple_Type, &outputs, &PyTuple_Type, &kept))
    return NULL;
  const char *name = Py_TYPE(function)->tp_name;
  if (!take(name, inputs, &p.n_x, p.x) || !take(name, outputs, &p.n_y, p.y)) return NULL;
  bool recorded = false;
  for (int i = 0; i < p.n_x; i++) recorded |= p.x[i] && chx_is_backprop_required(s, p.x[i]);
  if (!recorded) return Py_NewRef(outputs);
  py_link *l = link_new(function, p.n_y);
  if (!l) return NULL;
  PyObject *r = NULL;
  if (retain(name, kept, &p, l)) {
    const chx_function f = {sizeof f, name, Py_NewRef((PyObject *)l), backward, free_link, p.keep_x, p.keep_y};
    chx_connect(s, &f, p.x, p.n_x, p.y, p.n_y, out);
    r = py_check(s) ? PyTuple_New(p.n_y) : NULL;
    for (int k = 0; r && k < p.n_y; k++) {
      PyObject *o = wrap_output(l, k, out[k]);
      out[k] = NULL;
      if (o) PyTuple_SET_ITEM(r, k, o);
      else Py_CLEAR(r);
    }
    for (int k = 0; k < p.n_y; k++) chx_release(out[k]);
  }
  Py_DECREF(l);
  return r;
}

/* ---- gradient checks --------------------------------------------------------------------------------------------------------- */

typedef struct checked {
  PyObject *f;
  int n_y; /* -1: not known yet */
} checked;

/* f's results, as a tuple of arrays. */
static PyObject *call_checked(const checked *c, PyObject *xs)
{
  PyObject *r = PyObject_Call(c->f, xs, NULL);
  if (r && py_is_array(r)) {
    PyObject *one = PyTuple_Pack(1, r);
    Py_DECREF(r);
    r = one;
  }
  if (r && !PyTuple_Check(r)) {
    PyObject *all = PySequence_Tuple(r);
    Py_DECREF(r);
    r = all;
  }
  for (Py_ssize_t k = 0; r && k < PyTuple_GET_SIZE(r); k++) {
    PyObject *y = PyTuple_GET_ITEM(r, k);
    if (py_is_array(y)) continue;
    PyErr_Format(PyExc_TypeError, "check_grad: the function gave an object of type %s, want arrays", Py_TYPE(y)->tp_name);
    Py_CLEAR(r);
  }
  if (r && c->n_y >= 0 && PyTuple_GET_SIZE(r) != c->n_y) {
    PyErr_Format(PyExc_ValueError, "check_grad: the function gave %zd arrays where it gave %d", PyTuple_GET_SIZE(r), c->n_y);
    Py_CLEAR(r);
  }
  return r;
}

typedef struct checking { checked c; int n_x; } checking;

static void run_checked(void *ctx, chx_scope *s, chx_array *const *xs, chx_array **ys)
{
  const checking *k = ctx;
  py_call call;
  py_call_enter(s, &call);
  PyObject *in = py_wrap_all(k->n_x, (const chx_array *const *)xs), *r = in ? call_checked(&k->c, in) : NULL;
  for (int i = 0; r && i < k->c.n_y; i++) ys[i] = chx_scope_give(s, chx_keep(py_a(PyTuple_GET_ITEM(r, i))));
  if (!r) chx_scope_fail(s, CHX_EFAILED, "the function that is checked failed");
  Py_XDECREF(in);
  Py_XDECREF(r);
  py_call_leave(s, &call);
}

typedef chx_status (*checker)(chx_scope *, chx_grad_fn, void *, const chx_array *const *, int, int, double, double, double);

static PyObject *check(PyObject *args, PyObject *kwargs, const char *format, checker run)
{
  static char *keywords[] = {"f", "inputs", "eps", "atol", "rtol", NULL};
  checking k = {{NULL, -1}, 0};
  PyObject *inputs, *list;
  const chx_array *xs[CHX_MAX_OPERANDS];
  double eps = 1e-4, atol = 1e-5, rtol = 1e-4;
  chx_scope *s = py_scope();
  if (!s || !PyArg_ParseTupleAndKeywords(args, kwargs, format, keywords, &k.c.f, &inputs, &eps, &atol, &rtol)) return NULL;
  if (!(list = py_is_array(inputs) ? PyTuple_Pack(1, inputs) : PySequence_Tuple(inputs))) return NULL;
  PyObject *r = NULL;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(list); i++) {
    PyObject *x = PyTuple_GET_ITEM(list, i);
    if (py_is_array(x)) continue;
    PyErr_Format(PyExc_TypeError, "check_grad: input %zd is of type %s, want arrays", i, Py_TYPE(x)->tp_name);
    goto done;
  }
  if (!take("check_grad", list, &k.n_x, xs)) goto done;
  const int mode = chx_scope_set_grad(s, CHX_GRAD_OFF); /* how many outputs are there? */
  PyObject *first = call_checked(&k.c, list);
  chx_scope_set_grad(s, mode);
  if (!first) goto done;
  k.c.n_y = (int)PyTuple_GET_SIZE(first);
  Py_DECREF(first);
  const chx_status status = run(s, run_checked, &k, xs, k.n_x, k.c.n_y, eps, atol, rtol);
  if (status == CHX_EFAILED && !PyErr_Occurred()) PyErr_SetString(PyExc_AssertionError, chx_scope_message(s));
  if (py_check(s)) r = Py_NewRef(Py_None);
done:
  Py_DECREF(list);
  return r;
}

static PyObject *check_grad(PyObject *m, PyObject *args, PyObject *kwargs)
{
  (void)m;
  return check(args, kwargs, "OO|$ddd:check_grad", chx_check_grad);
}

static PyObject *check_double_grad(PyObject *m, PyObject *args, PyObject *kwargs)
{
  (void)m;
  return check(args, kwargs, "OO|$ddd:check_double_grad", chx_check_grad_twice);
}

static PyMethodDef functions[] = {
    {"_connect", connect, METH_VARARGS, NULL},
    {"check_grad", py_function(check_grad), METH_VARARGS | METH_KEYWORDS,
     "check_grad(f, inputs, *, eps=0.0001, atol=1e-05, rtol=0.0001)\n--\n\nCompares the gradients of f, which gives an array or "
     "several of the inputs, with central differences; AssertionError with the worst element. Inputs that are not floating "
     "are passed on. Use float64. What f draws at random is the same each time.\n\n"
     ">>> chx.check_grad(lambda x, y: chx.tanh(x) * y, [chx.array([0.5, 1.0]), chx.array([2.0])])"},
    {"check_double_grad", py_function(check_double_grad), METH_VARARGS | METH_KEYWORDS,
     "check_double_grad(f, inputs, *, eps=0.0001, atol=1e-05, rtol=0.0001)\n--\n\nAs check_grad, of the gradient's own "
     "gradient.\n\n>>> chx.check_double_grad(chx.tanh, chx.array([0.5, 1.0]))"},
    {0}};

bool py_functions_init(PyObject *module)
{
  return PyType_Ready(&link_type) == 0 && PyModule_AddFunctions(module, functions) == 0;
}
