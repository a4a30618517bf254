/* SPDX-License-Identifier: MIT
 * nn_optimizer.c: chx.optim: the update rules of nn as types, and hooks on the gradients of an update.
 *
 * Hyperparameters are attributes; their names and defaults are those of the rule's chx_optimizer_class.
 */
#include "nnpy.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool ready(py_optimizer *self)
{
  if (self->o) return true;
  PyErr_SetString(PyExc_RuntimeError,
                  "this optimizer was not made, want one of chx.optim: SGD, MomentumSGD, Adam, AdamW");
  return false;
}

/* ---- making and ending --------------------------------------------------------------------------------------------------- */

static struct rule {
  const char *name, *c_name, *doc;
  PyTypeObject *type;
} rules[] = {
    {"chx.optim.SGD", "sgd", "SGD(lr=0.01)\n--\n\np -= lr g", NULL},
    {"chx.optim.MomentumSGD", "momentum", "MomentumSGD(lr=0.01, momentum=0.9)\n--\n\nv = momentum v - lr g; p += v",
     NULL},
    {"chx.optim.Adam", "adam", "Adam(alpha=0.001, beta1=0.9, beta2=0.999, eps=1e-8)\n--\n\nKingma 2015; lr is alpha.",
     NULL},
    {"chx.optim.AdamW", "adamw",
     "AdamW(alpha=0.001, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay_rate=1e-5)\n--\n\nAdam and p -= "
     "weight_decay_rate p. What other frameworks call "
     "weight_decay is weight_decay_rate / alpha.",
     NULL},
};
enum { N_RULES = sizeof rules / sizeof *rules };

static const char *hyper_name(const py_optimizer *self, const char *name)
{
  const chx_optimizer_class *k = chx_optimizer_class_of(self->o);
  if (!k || !name) return NULL;
  if (strcmp(name, "lr") == 0) return k->hyper[0];
  for (int i = 0; i < k->n_hyper; i++)
    if (strcmp(name, k->hyper[i]) == 0) return k->hyper[i];
  return NULL;
}

static int set_hyper(py_optimizer *self, const char *name, PyObject *value)
{
  double v = PyFloat_AsDouble(value);
  py_nn c;
  if ((v == -1 && PyErr_Occurred()) || !py_nn_enter(&c)) return -1;
  if (!isfinite(v)) PyErr_Format(PyExc_ValueError, "%s is %R, want a finite number", name, value);
  else chx_optimizer_set_hyper(c.s, self->o, name, v);
  return py_nn_leave(&c) ? 0 : -1;
}

static int read_hypers(py_optimizer *self, PyObject *args, PyObject *kwargs)
{
  const chx_optimizer_class *k = chx_optimizer_class_of(self->o);
  PyObject *key, *value;
  Py_ssize_t at = 0, n = PyTuple_GET_SIZE(args);
  if (n > k->n_hyper)
    return PyErr_Format(PyExc_TypeError, "%s takes at most %d numbers (%zd given)", k->name, k->n_hyper, n), -1;
  for (Py_ssize_t i = 0; i < n; i++)
    if (set_hyper(self, k->hyper[i], PyTuple_GET_ITEM(args, i)) < 0) return -1;
  while (kwargs && PyDict_Next(kwargs, &at, &key, &value)) {
    const char *name = hyper_name(self, PyUnicode_AsUTF8(key));
    for (Py_ssize_t i = 0; name && i < n; i++)
      if (k->hyper[i] == name) return PyErr_Format(PyExc_TypeError, "%s got '%U' twice", k->name, key), -1;
    if (!name) return PyErr_Format(PyExc_TypeError, "%s has no parameter '%U'", k->name, key), -1;
    if (set_hyper(self, name, value) < 0) return -1;
  }
  return 0;
}

static int init(PyObject *o, PyObject *args, PyObject *kwargs)
{
  py_optimizer *self = (py_optimizer *)o;
  const struct rule *r = rules;
  py_nn c;
  while (r->type != Py_TYPE(o)) r++;
  if (self->o) return PyErr_SetString(PyExc_RuntimeError, "__init__ was called before"), -1;
  if (!py_nn_enter(&c)) return -1;
  self->o = chx_optimizer_by_name(c.s, r->c_name, 0);
  if (!py_nn_leave(&c)) return -1;
  if (read_hypers(self, args, kwargs) == 0) return 0;
  chx_optimizer_free(self->o);
  self->o = NULL;
  return -1;
}

static int traverse(PyObject *o, visitproc visit, void *arg)
{
  Py_VISIT(((py_optimizer *)o)->target);
  Py_VISIT(((py_optimizer *)o)->hooks);
  return 0;
}

/* The rule's own end comes first: it refers to both. */
static int clear(PyObject *o)
{
  py_optimizer *self = (py_optimizer *)o;
  chx_optimizer_free(self->o);
  self->o = NULL;
  Py_CLEAR(self->target);
  Py_CLEAR(self->hooks);
  return 0;
}

static void dealloc(PyObject *o)
{
  PyObject_GC_UnTrack(o);
  clear(o);
  Py_TYPE(o)->tp_free(o);
}

/* ---- updates ------------------------------------------------------------------------------------------------------------------ */

static PyObject *setup(PyObject *o, PyObject *link)
{
  py_optimizer *self = (py_optimizer *)o;
  py_link *l = py_link_of(link, "setup's argument");
  py_nn c;
  if (!l || !ready(self) || !py_nn_enter(&c)) return NULL;
  chx_optimizer_setup(c.s, self->o, l->l);
  if (chx_optimizer_target(self->o) == l->l) {
    Py_XDECREF(self->target);
    self->target = Py_NewRef(link);
  }
  return py_nn_leave(&c) ? Py_NewRef(o) : NULL;
}

typedef struct loss_call {
  PyObject *function, *args, *kwargs;
} loss_call;

static chx_array *call_loss(void *ctx, chx_scope *s)
{
  loss_call *l = ctx;
  py_back b;
  if (!py_back_enter(s, &b)) return NULL;
  PyObject *r = PyObject_Call(l->function, l->args, l->kwargs);
  py_back_leave(&b);
  return py_give(s, r, "the loss function");
}

static PyObject *update(PyObject *o, PyObject *args, PyObject *kwargs)
{
  py_optimizer *self = (py_optimizer *)o;
  py_nn c;
  if (!ready(self)) return NULL;
  if (PyTuple_GET_SIZE(args) == 0) {
    if (kwargs && PyDict_GET_SIZE(kwargs))
      return PyErr_SetString(PyExc_TypeError, "update: keywords without a loss function"), NULL;
    if (!py_nn_enter(&c)) return NULL;
    chx_optimizer_update(c.s, self->o);
    return py_nn_leave(&c) ? Py_NewRef(Py_None) : NULL;
  }
  loss_call l = {PyTuple_GET_ITEM(args, 0), PyTuple_GetSlice(args, 1, PyTuple_GET_SIZE(args)), kwargs};
  chx_array *loss = NULL;
  PyObject *r = NULL;
  if (l.args && !PyCallable_Check(l.function))
    PyErr_Format(PyExc_TypeError, "update: the loss function is of type %s, want a function",
                 Py_TYPE(l.function)->tp_name);
  else if (l.args && py_nn_enter(&c)) {
    chx_optimizer_update_with(c.s, self->o, call_loss, &l, &loss);
    r = py_nn_result(&c, loss);
  }
  Py_XDECREF(l.args);
  return r;
}

static PyObject *new_epoch(PyObject *o, PyObject *u)
{
  (void)u;
  if (!ready((py_optimizer *)o)) return NULL;
  chx_optimizer_new_epoch(((py_optimizer *)o)->o);
  Py_RETURN_NONE;
}

static PyObject *state(PyObject *o, PyObject *args)
{
  py_optimizer *self = (py_optimizer *)o;
  py_param *p;
  const char *name = NULL;
  if (!PyArg_ParseTuple(args, "O!|s:state", &py_param_type, &p, &name) || !ready(self)) return NULL;
  const chx_optimizer_class *k = chx_optimizer_class_of(self->o);
  PyObject *dict = name ? NULL : PyDict_New();
  for (int i = 0; i < k->n_states && !PyErr_Occurred(); i++) {
    chx_array *a = chx_optimizer_state(self->o, p->p, k->state[i]);
    if (name && strcmp(name, k->state[i]) == 0) return a ? py_wrap(chx_keep(a)) : Py_NewRef(Py_None);
    PyObject *w = a && dict ? py_wrap(chx_keep(a)) : NULL;
    if (w) PyDict_SetItemString(dict, k->state[i], w);
    Py_XDECREF(w);
  }
  if (name) PyErr_Format(PyExc_KeyError, "%s has no state '%s'", k->name, name);
  if (PyErr_Occurred()) Py_CLEAR(dict);
  return dict;
}

/* ---- hooks --------------------------------------------------------------------------------------------------------------------- */

typedef struct hook { /* both borrowed of the optimizer's object */
  py_optimizer *self;
  PyObject *function;
} hook;

static PyObject *gradients(const hook *h, chx_optimizer *o)
{
  PyObject *list = PyList_New(0);
  for (int i = 0; list && i < chx_optimizer_n_grads(o); i++) {
    PyObject *p = py_param_wrap((py_link *)h->self->target, chx_optimizer_param(o, i));
    PyObject *g = p ? py_wrap(chx_keep(chx_optimizer_grad(o, i))) : NULL, *pair = g ? PyTuple_Pack(2, p, g) : NULL;
    if (!pair || PyList_Append(list, pair) < 0) Py_CLEAR(list);
    Py_XDECREF(p);
    Py_XDECREF(g);
    Py_XDECREF(pair);
  }
  return list;
}

static bool take_gradients(chx_scope *s, chx_optimizer *o, PyObject *r)
{
  PyObject *list = r == Py_None ? NULL : PySequence_Fast(r, "a hook gives None or a list of gradients");
  if (!list) return r == Py_None;
  Py_ssize_t n = PySequence_Fast_GET_SIZE(list);
  if (n != chx_optimizer_n_grads(o))
    PyErr_Format(PyExc_ValueError, "the hook gave %zd gradients, want %d, one each", n, chx_optimizer_n_grads(o));
  for (Py_ssize_t i = 0; i < n && !PyErr_Occurred(); i++) {
    PyObject *g = PySequence_Fast_GET_ITEM(list, i);
    if (py_is_array(g)) chx_optimizer_set_grad(o, (int)i, chx_scope_give(s, chx_keep(py_a(g))));
    else if (g != Py_None)
      PyErr_Format(PyExc_TypeError, "the hook gave a gradient of type %s, want an array or None", Py_TYPE(g)->tp_name);
  }
  Py_DECREF(list);
  return !PyErr_Occurred();
}

static chx_status call_hook(void *ctx, chx_scope *s, chx_optimizer *o)
{
  hook *h = ctx;
  py_back b;
  if (!py_back_enter(s, &b)) return chx_scope_error(s);
  PyObject *function = Py_NewRef(h->function); /* which may take itself away */
  PyObject *list = gradients(h, o), *r = list ? PyObject_CallOneArg(function, list) : NULL;
  bool done = r && take_gradients(s, o, r);
  Py_DECREF(function);
  Py_XDECREF(list);
  Py_XDECREF(r);
  py_back_leave(&b);
  return done ? chx_scope_error(s) : CHX_EFAILED;
}

static bool add_function(py_optimizer *self, const char *name, PyObject *function)
{
  py_nn c;
  hook *h = malloc(sizeof *h);
  if (!h) return PyErr_NoMemory(), false;
  *h = (hook){self, function};
  if (!py_nn_enter(&c)) return free(h), false;
  chx_optimizer_add_hook(c.s, self->o, name, call_hook, h, free);
  if (!py_nn_leave(&c)) return false;
  if (!self->hooks) self->hooks = PyDict_New();
  return self->hooks && PyDict_SetItemString(self->hooks, name, function) == 0;
}

/* What chx.optim's own hooks add themselves by: their number. */
static PyObject *add_number(PyObject *o, PyObject *args, chx_status (*add)(chx_scope *s, chx_optimizer *o, double v))
{
  double v;
  py_nn c;
  if (!PyArg_ParseTuple(args, "d", &v) || !ready((py_optimizer *)o) || !py_nn_enter(&c)) return NULL;
  add(c.s, ((py_optimizer *)o)->o, v);
  return py_nn_leave(&c) ? Py_NewRef(Py_None) : NULL;
}

static PyObject *add_weight_decay(PyObject *o, PyObject *args)
{
  return add_number(o, args, chx_optimizer_add_weight_decay);
}
static PyObject *add_clipping(PyObject *o, PyObject *args)
{
  return add_number(o, args, chx_optimizer_add_gradient_clipping);
}

static PyObject *add_hook(PyObject *o, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"hook", "name", NULL};
  PyObject *function, *name = NULL;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|U:add_hook", keywords, &function, &name) ||
      !ready((py_optimizer *)o))
    return NULL;
  PyObject *own = name ? NULL : PyObject_GetAttrString(function, "add_to");
  if (own) { /* one of chx.optim */
    PyObject *r = PyObject_CallOneArg(own, o);
    Py_DECREF(own);
    return r;
  }
  PyErr_Clear();
  if (!PyCallable_Check(function))
    return PyErr_Format(PyExc_TypeError,
                        "add_hook: the hook is of type %s, want a function of [(parameter, gradient), ...]",
                        Py_TYPE(function)->tp_name),
           NULL;
  PyObject *text = name ? Py_NewRef(name) : PyObject_GetAttrString(function, "__name__");
  const char *utf8 = text ? PyUnicode_AsUTF8(text) : NULL;
  bool done = utf8 && add_function((py_optimizer *)o, utf8, function);
  Py_XDECREF(text);
  return done ? Py_NewRef(Py_None) : NULL;
}

static PyObject *remove_hook(PyObject *o, PyObject *args)
{
  py_optimizer *self = (py_optimizer *)o;
  const char *name;
  py_nn c;
  if (!PyArg_ParseTuple(args, "s:remove_hook", &name) || !ready(self) || !py_nn_enter(&c)) return NULL;
  chx_optimizer_remove_hook(c.s, self->o, name);
  if (!py_nn_leave(&c)) return NULL;
  if (self->hooks && PyDict_GetItemString(self->hooks, name) && PyDict_DelItemString(self->hooks, name) < 0)
    return NULL;
  Py_RETURN_NONE;
}

/* ---- attributes ---------------------------------------------------------------------------------------------------------------- */

static PyObject *get_attribute(PyObject *o, PyObject *name)
{
  PyObject *r = PyObject_GenericGetAttr(o, name);
  const char *hyper =
      r || !PyErr_ExceptionMatches(PyExc_AttributeError) ? NULL : hyper_name((py_optimizer *)o, PyUnicode_AsUTF8(name));
  if (!hyper) return r;
  PyErr_Clear();
  return PyFloat_FromDouble(chx_optimizer_hyper(((py_optimizer *)o)->o, hyper));
}

static int set_attribute(PyObject *o, PyObject *name, PyObject *value)
{
  const char *hyper = hyper_name((py_optimizer *)o, PyUnicode_AsUTF8(name));
  if (!hyper)
    return PyErr_Format(PyExc_AttributeError, "%s has no number '%U' to be set", Py_TYPE(o)->tp_name, name), -1;
  if (!value) return PyErr_Format(PyExc_AttributeError, "'%U' cannot be taken away", name), -1;
  return set_hyper((py_optimizer *)o, hyper, value);
}

static PyObject *get_t(PyObject *o, void *u)
{
  (void)u;
  return PyLong_FromLongLong(chx_optimizer_t(((py_optimizer *)o)->o));
}
static PyObject *get_epoch(PyObject *o, void *u)
{
  (void)u;
  return PyLong_FromLongLong(chx_optimizer_epoch(((py_optimizer *)o)->o));
}
static PyObject *get_target(PyObject *o, void *u)
{
  (void)u;
  PyObject *target = ((py_optimizer *)o)->target;
  return Py_NewRef(target ? target : Py_None);
}
static PyObject *get_name(PyObject *o, void *u)
{
  (void)u;
  return PyUnicode_FromString(chx_optimizer_name(((py_optimizer *)o)->o));
}

static PyGetSetDef getset[] = {{"t", get_t, NULL, "updates since setup", NULL},
                               {"epoch", get_epoch, NULL, "calls of new_epoch since setup", NULL},
                               {"target", get_target, NULL, "the link that it is set up for, or None", NULL},
                               {"name", get_name, NULL, "the rule's name", NULL},
                               {0}};

static PyObject *repr(PyObject *o)
{
  py_optimizer *self = (py_optimizer *)o;
  if (!ready(self)) return NULL;
  const chx_optimizer_class *k = chx_optimizer_class_of(self->o);
  PyObject *text = PyUnicode_FromFormat("chx.optim.%s(", k->name);
  for (int i = 0; text && i < k->n_hyper; i++) {
    PyObject *v = PyFloat_FromDouble(chx_optimizer_hyper(self->o, k->hyper[i])), *before = text;
    text = v ? PyUnicode_FromFormat("%U%s%s=%R", before, i ? ", " : "", k->hyper[i], v) : NULL;
    Py_XDECREF(v);
    Py_DECREF(before);
  }
  PyObject *r = text ? PyUnicode_FromFormat("%U)", text) : NULL;
  Py_XDECREF(text);
  return r;
}

static PyMethodDef methods[] = {
    {"setup", setup, METH_O,
     "setup($self, link, /)\n--\n\nTakes the link as its target, without states, t and epoch 0; returns itself."},
    {"update", py_function(update), METH_VARARGS | METH_KEYWORDS,
     "update($self, lossfun=None, *args, **kwargs)\n--\n\nOne step with the gradients that are there; with a loss "
     "function: clears them, "
     "calls lossfun(*args, **kwargs), goes backward, steps, and returns the loss."},
    {"new_epoch", new_epoch, METH_NOARGS, "new_epoch($self)\n--\n\nCounts an epoch."},
    {"state", state, METH_VARARGS,
     "state($self, param, name=None, /)\n--\n\nThe states of a Parameter, a dict; or the one of that name, or None."},
    {"add_hook", py_function(add_hook), METH_VARARGS | METH_KEYWORDS,
     "add_hook($self, hook, name=None)\n--\n\nHas hook([(parameter, gradient), ...]) called before each update; it "
     "returns None, or "
     "gradients to go on with, one each, None for the same. Or a WeightDecay, a GradientClipping. name: "
     "hook.__name__."},
    {"remove_hook", remove_hook, METH_VARARGS, "remove_hook($self, name, /)\n--\n\nTakes away a hook."},
    {"_add_weight_decay", add_weight_decay, METH_VARARGS, NULL},
    {"_add_gradient_clipping", add_clipping, METH_VARARGS, NULL},
    {0}};

PyTypeObject py_optimizer_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "chx.optim.Optimizer",
    .tp_basicsize = sizeof(py_optimizer),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .tp_doc = "An update rule. Its numbers are attributes; lr is the learning rate of each.",
    .tp_new = PyType_GenericNew,
    .tp_dealloc = dealloc,
    .tp_traverse = traverse,
    .tp_clear = clear,
    .tp_getattro = get_attribute,
    .tp_setattro = set_attribute,
    .tp_repr = repr,
    .tp_methods = methods,
    .tp_getset = getset,
};

bool py_optimizers_init(PyObject *module)
{
  if (PyType_Ready(&py_optimizer_type) < 0 ||
      PyModule_AddObject(module, "Optimizer", Py_NewRef((PyObject *)&py_optimizer_type)) < 0)
    return false;
  for (struct rule *r = rules; r < rules + N_RULES; r++) {
    PyType_Slot slots[] = {
        {Py_tp_base, &py_optimizer_type}, {Py_tp_init, init}, {Py_tp_doc, (void *)(uintptr_t)r->doc}, {0, NULL}};
    PyType_Spec spec = {
        .name = r->name, .basicsize = sizeof(py_optimizer), .flags = Py_TPFLAGS_DEFAULT, .slots = slots};
    r->type = (PyTypeObject *)PyType_FromSpec(&spec);
    if (!r->type || PyModule_AddObject(module, strrchr(r->name, '.') + 1, Py_NewRef((PyObject *)r->type)) < 0)
      return false;
  }
  return true;
}
