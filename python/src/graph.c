/* SPDX-License-Identifier: MIT
 * graph.c: graphs beside the default one: chx.backprop_scope and the ids that it gives.
 *
 * The core's ids are small numbers that are used again. An object stands for one of them while its scope is open, so that the id
 * of an ended graph is an error and never another graph.
 */
#include "chxpy.h"

typedef struct py_graph {
  PyObject_HEAD PyObject *name;
  int id; /* 0: its scope has ended, or was not entered */
} py_graph;

static PyTypeObject id_type, scope_type;

bool py_graph_from(PyObject *o, const char *what, chx_backprop_id *id)
{
  *id = 0;
  if (!o || o == Py_None) return true;
  if (Py_TYPE(o) != &id_type) {
    PyErr_Format(PyExc_TypeError, "%s: backprop_id is of type %s, want what backprop_scope gave", what, Py_TYPE(o)->tp_name);
    return false;
  }
  *id = ((py_graph *)o)->id;
  if (*id) return true;
  PyErr_Format(PyExc_ValueError, "%s: the graph %R has ended, want one whose backprop_scope is open", what,
               ((py_graph *)o)->name);
  return false;
}

/* ---- ids ------------------------------------------------------------------------------------------------------------------ */

static void end_graph(py_graph *g)
{
  if (g->id) chx_backprop_end(NULL, g->id);
  g->id = 0;
}

static void id_dealloc(PyObject *o)
{
  end_graph((py_graph *)o);
  Py_XDECREF(((py_graph *)o)->name);
  PyObject_Free(o);
}

static PyObject *id_repr(PyObject *o)
{
  return PyUnicode_FromFormat(((py_graph *)o)->id ? "<chx.BackpropId %R>" : "<chx.BackpropId %R, ended>",
                              ((py_graph *)o)->name);
}

static PyObject *id_name(PyObject *o, void *unused)
{
  (void)unused;
  return Py_NewRef(((py_graph *)o)->name);
}

static PyGetSetDef id_getset[] = {{"name", id_name, NULL, "what backprop_scope was given", NULL}, {0}};

static PyTypeObject id_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "chx.BackpropId",
    .tp_basicsize = sizeof(py_graph),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "A graph beside the default one, while its backprop_scope is open.",
    .tp_dealloc = id_dealloc,
    .tp_repr = id_repr,
    .tp_getset = id_getset,
};

/* ---- scopes ----------------------------------------------------------------------------------------------------------------- */

typedef struct py_graph_scope {
  PyObject_HEAD PyObject *name;
  py_graph *graph; /* while it is open */
} py_graph_scope;

static PyObject *enter(PyObject *o, PyObject *unused)
{
  py_graph_scope *p = (py_graph_scope *)o;
  chx_scope *s = py_scope();
  (void)unused;
  if (!s) return NULL;
  if (p->graph)
    return PyErr_SetString(PyExc_RuntimeError, "this backprop_scope was entered already, want a new one for each 'with'"), NULL;
  py_graph *g = PyObject_New(py_graph, &id_type);
  if (!g) return NULL;
  g->name = Py_NewRef(p->name);
  g->id = 0;
  int id = chx_backprop_begin(s, PyUnicode_AsUTF8(p->name));
  if (id < 0) {
    Py_DECREF(g);
    return py_fail_as(s, PyExc_RuntimeError);
  }
  g->id = id;
  p->graph = g;
  return Py_NewRef((PyObject *)g);
}

static PyObject *leave(PyObject *o, PyObject *args)
{
  py_graph_scope *p = (py_graph_scope *)o;
  (void)args;
  if (p->graph) end_graph(p->graph);
  Py_CLEAR(p->graph);
  Py_RETURN_NONE;
}

static void scope_dealloc(PyObject *o)
{
  py_graph_scope *p = (py_graph_scope *)o;
  if (p->graph) end_graph(p->graph);
  Py_XDECREF(p->graph);
  Py_XDECREF(p->name);
  PyObject_Free(o);
}

static PyMethodDef scope_methods[] = {{"__enter__", enter, METH_NOARGS, NULL}, {"__exit__", leave, METH_VARARGS, NULL}, {0}};

static PyTypeObject scope_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "chx.BackpropScope",
    .tp_basicsize = sizeof(py_graph_scope),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "A graph for the time of a `with`, which gives its id.",
    .tp_dealloc = scope_dealloc,
    .tp_methods = scope_methods,
};

static PyObject *backprop_scope(PyObject *m, PyObject *name)
{
  (void)m;
  if (!PyUnicode_Check(name) || !PyUnicode_AsUTF8(name))
    return PyErr_Format(PyExc_TypeError, "backprop_scope: the name is of type %s, want a string", Py_TYPE(name)->tp_name), NULL;
  py_graph_scope *p = PyObject_New(py_graph_scope, &scope_type);
  if (!p) return NULL;
  p->name = Py_NewRef(name);
  p->graph = NULL;
  return (PyObject *)p;
}

bool py_graph_recorded(chx_scope *s, chx_backprop_id id)
{
  const int mode = chx_scope_set_grad(s, CHX_GRAD_OFF);
  const uint64_t graphs = chx_scope_set_graphs(s, 0);
  chx_scope_set_grad(s, mode);
  chx_scope_set_graphs(s, graphs);
  return mode == CHX_GRAD_ON && graphs >> id & 1;
}

static PyObject *is_backprop_required(PyObject *m, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"backprop_id", NULL};
  PyObject *graph = NULL;
  chx_backprop_id id;
  chx_scope *s = py_scope();
  (void)m;
  if (!s || !PyArg_ParseTupleAndKeywords(args, kwargs, "|O:is_backprop_required", keywords, &graph) ||
      !py_graph_from(graph, "is_backprop_required", &id))
    return NULL;
  return PyBool_FromLong(py_graph_recorded(s, id));
}

static PyMethodDef functions[] = {
    {"backprop_scope", backprop_scope, METH_O,
     "backprop_scope(name, /)\n--\n\nInside of a `with`, a further graph, whose id the `with` gives: arrays are its leaves by "
     "require_grad(id), and backward(backprop_id=id) goes through it alone. While its gradients are computed, graphs that "
     "were opened before it record. After the `with` its id is an error.\n\n"
     ">>> with chx.backprop_scope(\"inner\") as inner:\n"
     "...     x = chx.array(3.0).require_grad(inner)\n"
     "...     (x * x).backward(backprop_id=inner)\n"
     "...     print(x.get_grad(inner))\n"
     "6.0"},
    {"is_backprop_required", py_function(is_backprop_required), METH_VARARGS | METH_KEYWORDS,
     "is_backprop_required(backprop_id=None)\n--\n\nWhether this thread records in a graph, the default one unless another is named."},
    {0}};

bool py_graphs_init(PyObject *module)
{
  return PyType_Ready(&id_type) == 0 && PyType_Ready(&scope_type) == 0 && PyModule_AddFunctions(module, functions) == 0 &&
         PyModule_AddObject(module, "BackpropId", Py_NewRef((PyObject *)&id_type)) == 0 &&
         PyModule_AddObject(module, "BackpropScope", Py_NewRef((PyObject *)&scope_type)) == 0;
}
