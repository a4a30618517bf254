/* SPDX-License-Identifier: MIT
 * nn_methods.c: the methods of chx.nn.Link: its tree, gradients, copies, modes, moves.
 */
#include "nnpy.h"
#include <string.h>

/* ---- walking ------------------------------------------------------------------------------------------------------------ */

/* Appends item, whose reference is taken, with `path` before it where that is not NULL. */
static bool append(PyObject *list, const char *path, PyObject *item)
{
  PyObject *o = item && path ? Py_BuildValue("(sN)", path, item) : item;
  bool done = o && PyList_Append(list, o) == 0;
  Py_XDECREF(o);
  return done;
}

static PyObject *list_params(PyObject *o, bool persistent, bool named)
{
  chx_param *(*next)(const chx_link *, const chx_param *) = persistent ? chx_link_next_persistent : chx_link_next_param;
  py_link *self = (py_link *)o;
  PyObject *list = py_link_ready(o) ? PyList_New(0) : NULL;
  char path[512];
  for (chx_param *p = NULL; list && (p = next(self->l, p));) {
    if (named) chx_param_path(p, self->l, path, sizeof path);
    if (!append(list, named ? path : NULL, py_param_wrap(self, p))) Py_CLEAR(list);
  }
  return list;
}

static PyObject *params(PyObject *o, PyObject *u)
{
  (void)u;
  return list_params(o, false, false);
}
static PyObject *namedparams(PyObject *o, PyObject *u)
{
  (void)u;
  return list_params(o, false, true);
}
static PyObject *persistents(PyObject *o, PyObject *u)
{
  (void)u;
  return list_params(o, true, false);
}
static PyObject *namedpersistents(PyObject *o, PyObject *u)
{
  (void)u;
  return list_params(o, true, true);
}

static PyObject *list_links(PyObject *o, PyObject *args, PyObject *kwargs, bool named)
{
  static char *keywords[] = {"skipself", NULL};
  py_link *self = (py_link *)o;
  int skip = 0;
  char path[512];
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|p:links", keywords, &skip) || !py_link_ready(o)) return NULL;
  PyObject *list = PyList_New(0);
  for (chx_link *l = NULL; list && (l = chx_link_next_link(self->l, l));) {
    if (skip && l == self->l) continue;
    py_link *w = py_link_wrapper(self, l);
    if (named) chx_link_path(l, self->l, path, sizeof path);
    if (!w || !append(list, named ? path : NULL, Py_NewRef((PyObject *)w))) Py_CLEAR(list);
  }
  return list;
}

static PyObject *links(PyObject *o, PyObject *args, PyObject *kwargs) { return list_links(o, args, kwargs, false); }
static PyObject *namedlinks(PyObject *o, PyObject *args, PyObject *kwargs) { return list_links(o, args, kwargs, true); }

static PyObject *children(PyObject *o, PyObject *u)
{
  py_link *self = (py_link *)o;
  (void)u;
  PyObject *list = py_link_ready(o) ? PyList_New(0) : NULL;
  for (int i = 0; list && i < chx_link_n_children(self->l); i++) {
    py_link *w = py_link_wrapper(self, chx_link_child(self->l, i));
    if (!w || !append(list, NULL, Py_NewRef((PyObject *)w))) Py_CLEAR(list);
  }
  return list;
}

static PyObject *find(PyObject *o, PyObject *key)
{
  py_link *self = (py_link *)o;
  const char *path = PyUnicode_Check(key) ? PyUnicode_AsUTF8(key) : NULL;
  if (!path) {
    if (!PyErr_Occurred())
      PyErr_Format(PyExc_TypeError, "the path is of type %s, want text such as 'block/l1'", Py_TYPE(key)->tp_name);
    return NULL;
  }
  if (!py_link_ready(o)) return NULL;
  chx_link *l = chx_link_find(self->l, path);
  chx_param *p = l ? NULL : chx_link_find_param(self->l, path);
  py_link *w = py_link_wrapper(self, l);
  if (w) return Py_NewRef((PyObject *)w);
  if (p) return py_param_wrap(self, p);
  return PyErr_Format(PyExc_KeyError, "there is no link and no parameter '%s'", path), NULL;
}

static PyObject *subscript(PyObject *o, PyObject *key)
{
  py_link *self = (py_link *)o;
  if (!PyIndex_Check(key)) return find(o, key);
  Py_ssize_t i = PyNumber_AsSsize_t(key, PyExc_IndexError);
  if ((i == -1 && PyErr_Occurred()) || !py_link_ready(o)) return NULL;
  int n = chx_link_n_children(self->l);
  py_link *w = i >= -n && i < n ? py_link_wrapper(self, chx_link_child(self->l, (int)(i < 0 ? i + n : i))) : NULL;
  if (w) return Py_NewRef((PyObject *)w);
  return PyErr_Format(PyExc_IndexError, "child %zd of %d", i, n), NULL;
}

static Py_ssize_t length(PyObject *o) { return py_link_ready(o) ? chx_link_n_children(((py_link *)o)->l) : -1; }

PyMappingMethods py_link_mapping = {.mp_length = length, .mp_subscript = subscript};

static int is_true(PyObject *o) /* also one without children */
{
  (void)o;
  return 1;
}
PyNumberMethods py_link_numbers = {.nb_bool = is_true};

PyObject *py_link_iterate(PyObject *o)
{
  PyObject *list = children(o, NULL), *r = list ? PyObject_GetIter(list) : NULL;
  Py_XDECREF(list);
  return r;
}

/* ---- gradients, copies, moves: functions of nn of one or two links -------------------------------------------------------- */

static PyObject *change(PyObject *o, chx_status (*fn)(chx_scope *s, chx_link *l))
{
  py_nn c;
  if (!py_link_ready(o) || !py_nn_enter(&c)) return NULL;
  fn(c.s, ((py_link *)o)->l);
  return py_nn_leave(&c) ? Py_NewRef(Py_None) : NULL;
}

static PyObject *cleargrads(PyObject *o, PyObject *u)
{
  (void)u;
  return change(o, chx_link_clear_grads);
}
static PyObject *zerograds(PyObject *o, PyObject *u)
{
  (void)u;
  return change(o, chx_link_zero_grads);
}
static PyObject *start_finetuning(PyObject *o, PyObject *u)
{
  (void)u;
  return change(o, chx_link_start_finetuning);
}

static PyObject *addgrads(PyObject *o, PyObject *from)
{
  py_nn c;
  py_link *other = py_link_of(from, "addgrads' argument");
  if (!other || !py_link_ready(o) || !py_nn_enter(&c)) return NULL;
  chx_link_add_grads(c.s, ((py_link *)o)->l, other->l);
  return py_nn_leave(&c) ? Py_NewRef(Py_None) : NULL;
}

static PyObject *copyparams(PyObject *o, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"link", "persistent", NULL};
  PyObject *from;
  int persistent = 0;
  py_nn c;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|p:copyparams", keywords, &from, &persistent)) return NULL;
  py_link *other = py_link_of(from, "copyparams' argument");
  if (!other || !py_link_ready(o) || !py_nn_enter(&c)) return NULL;
  chx_link_copy_params(c.s, ((py_link *)o)->l, other->l, persistent);
  return py_nn_leave(&c) ? Py_NewRef(Py_None) : NULL;
}

static PyObject *to(PyObject *o, PyObject *device)
{
  py_nn c;
  const char *name = PyUnicode_Check(device) ? PyUnicode_AsUTF8(device) : NULL;
  if (!name) {
    if (!PyErr_Occurred())
      PyErr_Format(PyExc_TypeError, "the device is of type %s, want a name such as 'native:0'",
                   Py_TYPE(device)->tp_name);
    return NULL;
  }
  if (!py_link_ready(o) || !py_nn_enter(&c)) return NULL;
  chx_link_to_device(c.s, ((py_link *)o)->l, name);
  return py_nn_leave(&c) ? Py_NewRef(o) : NULL;
}

static PyObject *fit_input(PyObject *o, PyObject *x)
{
  py_nn c;
  if (!py_link_ready(o) || !py_nn_enter(&c)) return NULL;
  const chx_array *a = py_nn_array(&c, x, "x");
  if (a) chx_link_fit_input(c.s, ((py_link *)o)->l, a);
  return py_nn_leave(&c) ? Py_NewRef(Py_None) : NULL;
}

static PyObject *count_params(PyObject *o, PyObject *u)
{
  (void)u;
  return py_link_ready(o) ? PyLong_FromLongLong(chx_link_count_params(((py_link *)o)->l)) : NULL;
}

/* ---- modes --------------------------------------------------------------------------------------------------------------------- */

static PyObject *train(PyObject *o, PyObject *args)
{
  int on = 1;
  if (!PyArg_ParseTuple(args, "|p:train", &on) || !py_link_ready(o)) return NULL;
  chx_link_set_train(((py_link *)o)->l, on);
  return Py_NewRef(o);
}

static PyObject *test(PyObject *o, PyObject *u)
{
  (void)u;
  if (!py_link_ready(o)) return NULL;
  chx_link_set_train(((py_link *)o)->l, 0);
  return Py_NewRef(o);
}

/* ---- what a class of one's own uses ------------------------------------------------------------------------------------------ */

static PyObject *add_link(PyObject *o, PyObject *args)
{
  PyObject *name, *link;
  if (!PyArg_ParseTuple(args, "UO:add_link", &name, &link)) return NULL;
  py_link *child = py_link_of(link, "the child");
  return child && PyObject_SetAttr(o, name, link) == 0 ? Py_NewRef(link) : NULL;
}

static PyObject *append_link(PyObject *o, PyObject *link)
{
  PyObject *module = py_is_link(link) ? NULL : PyImport_ImportModule("chx.nn");
  PyObject *child = module             ? PyObject_CallMethod(module, "Function", "O", link)
                    : py_is_link(link) ? Py_NewRef(link)
                                       : NULL;
  Py_XDECREF(module);
  bool done = child && py_link_add((py_link *)o, NULL, (py_link *)child);
  Py_XDECREF(child);
  return done ? Py_NewRef(o) : NULL;
}

static PyObject *add_persistent(PyObject *o, PyObject *args)
{
  PyObject *name, *value;
  py_link *self = (py_link *)o;
  py_nn c;
  if (!PyArg_ParseTuple(args, "UO:add_persistent", &name, &value) || !py_link_ready(o)) return NULL;
  if (PyObject_HasAttr(o, name))
    return PyErr_Format(PyExc_ValueError, "there is already '%U', want another name", name), NULL;
  if (!py_nn_enter(&c)) return NULL;
  const chx_array *v = py_nn_array(&c, value, "the persistent value");
  if (v) chx_link_add_persistent(c.s, self->l, PyUnicode_AsUTF8(name), chx_copy(c.s, chx_detach(c.s, v)));
  return py_nn_leave(&c) && PyDict_SetItem(self->members, name, Py_None) == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *init_param(PyObject *o, PyObject *args)
{
  const char *name;
  PyObject *shape;
  chx_ints n;
  py_nn c;
  if (!PyArg_ParseTuple(args, "sO:init_param", &name, &shape) || !py_ints_from(shape, "shape", &n) ||
      !py_link_ready(o) || !py_nn_enter(&c))
    return NULL;
  chx_link_init_param(c.s, ((py_link *)o)->l, name, (int)n.n, n.v);
  return py_nn_leave(&c) ? Py_NewRef(Py_None) : NULL;
}

static PyObject *init(PyObject *o, PyObject *args, PyObject *kwargs)
{
  (void)o, (void)args, (void)kwargs;
  Py_RETURN_NONE;
}

static PyObject *forward(PyObject *o, PyObject *args, PyObject *kwargs)
{
  if (!py_link_ready(o)) return NULL;
  if (!((py_link *)o)->in_python) return PyObject_Call(o, args, kwargs);
  return PyErr_Format(PyExc_NotImplementedError, "class %s has no method forward(self, x)", Py_TYPE(o)->tp_name), NULL;
}

/* What completion offers. */
static PyObject *dir(PyObject *o, PyObject *u)
{
  (void)u;
  PyObject *list = PyObject_CallMethod((PyObject *)&PyBaseObject_Type, "__dir__", "O", o);
  PyObject *members = ((py_link *)o)->members, *done = NULL;
  if (list && members) done = PyObject_CallMethod(list, "extend", "O", members);
  if (members && !done) Py_CLEAR(list);
  Py_XDECREF(done);
  return list;
}

static PyObject *refuse_copy(PyObject *o, PyObject *u)
{
  (void)u;
  PyErr_Format(PyExc_TypeError,
               "%s is not pickled, and copied by copy.deepcopy alone; files are written by chx.nn.save_npz",
               Py_TYPE(o)->tp_name);
  return NULL;
}

#define DOC(name, signature, text) name signature "\n--\n\n" text
PyMethodDef py_link_methods[] = {
    {"params", params, METH_NOARGS, DOC("params", "($self)", "The parameters of the whole tree, a list of Parameter.")},
    {"namedparams", namedparams, METH_NOARGS,
     DOC("namedparams", "($self)", "As params, with paths: [('/l1/W', Parameter), ...].")},
    {"persistents", persistents, METH_NOARGS,
     DOC("persistents", "($self)", "The persistent values of the whole tree, as params.")},
    {"namedpersistents", namedpersistents, METH_NOARGS,
     DOC("namedpersistents", "($self)", "As persistents, with paths.")},
    {"links", py_function(links), METH_VARARGS | METH_KEYWORDS,
     DOC("links", "($self, skipself=False)", "The links of the tree, itself first.")},
    {"namedlinks", py_function(namedlinks), METH_VARARGS | METH_KEYWORDS,
     DOC("namedlinks", "($self, skipself=False)", "As links, with paths.")},
    {"children", children, METH_NOARGS, DOC("children", "($self)", "Its child links, in order.")},
    {"find", find, METH_O,
     DOC("find", "($self, path)", "The link or Parameter below it at 'block/l1'; KeyError if there is none.")},
    {"cleargrads", cleargrads, METH_NOARGS, DOC("cleargrads", "($self)", "Sets all gradients to None.")},
    {"zerograds", zerograds, METH_NOARGS, DOC("zerograds", "($self)", "Sets all gradients to zeros.")},
    {"addgrads", addgrads, METH_O,
     DOC("addgrads", "($self, link)", "Adds the gradients of a tree of the same paths and shapes.")},
    {"copyparams", py_function(copyparams), METH_VARARGS | METH_KEYWORDS,
     DOC("copyparams", "($self, link, persistent=False)",
         "Copies the parameters of a tree of the same paths and shapes.")},
    {"to", to, METH_O,
     DOC("to", "($self, device)", "Moves parameters, gradients and persistent values to a device; returns itself.")},
    {"fit_input", fit_input, METH_O,
     DOC("fit_input", "($self, x)", "Sets the Input links below to x's mean and 1 / standard deviation.")},
    {"count_params", count_params, METH_NOARGS,
     DOC("count_params", "($self)", "Elements of all parameters that have a shape.")},
    {"train", train, METH_VARARGS,
     DOC("train", "($self, on=True)", "Train mode for the tree, or test mode; returns itself.")},
    {"test", test, METH_NOARGS, DOC("test", "($self)", "Test mode for the tree; returns itself.")},
    {"start_finetuning", start_finetuning, METH_NOARGS,
     DOC("start_finetuning", "($self)", "Batch normalizations count population statistics until train or test.")},
    {"add_link", add_link, METH_VARARGS,
     DOC("add_link", "($self, name, link)", "As setting the attribute; returns link.")},
    {"append", append_link, METH_O,
     DOC("append", "($self, link)", "Adds a child by its number; a function as a Function. Returns itself.")},
    {"add_persistent", add_persistent, METH_VARARGS,
     DOC("add_persistent", "($self, name, value)", "Declares a persistent value: saved, but not trained.")},
    {"init_param", init_param, METH_VARARGS,
     DOC("init_param", "($self, name, shape)", "Gives a parameter its shape; for init.")},
    {"init", py_function(init), METH_VARARGS | METH_KEYWORDS,
     DOC("init", "($self, x)",
         "For classes of one's own: called before forward while a parameter has no shape; calls init_param.")},
    {"forward", py_function(forward), METH_VARARGS | METH_KEYWORDS,
     DOC("forward", "($self, x)", "For classes of one's own: the result for x.")},
    {"__dir__", dir, METH_NOARGS, NULL},
    {"__deepcopy__", py_link_deepcopy, METH_O, NULL},
    {"__copy__", refuse_copy, METH_NOARGS, NULL},
    {"__reduce_ex__", refuse_copy, METH_O, NULL},
    {0}};
