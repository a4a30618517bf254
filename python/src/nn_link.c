/* SPDX-License-Identifier: MIT
 * nn_link.c: chx.nn.Link: its wrapper object, its attributes, its call, and links that are Python classes.
 *
 * A Python class that derives from Link is a chx_link whose forward calls the method of that name, so that all of nn sees it.
 * Setting an attribute to a link makes a child of it, to a chx.nn.Parameter declares a parameter; reading gives the child, or
 * the parameter's ndarray.
 */
#include "nnpy.h"
#include <string.h>
#include <structmember.h>

static PyObject *word_forward, *word_init;

/* ---- links written in Python ------------------------------------------------------------------------------------------------ */

static chx_array *python_forward(chx_scope *s, chx_link *l, const chx_array *x)
{
  PyObject *self = *(PyObject **)chx_link_data(l), *f = PyObject_GetAttr(self, word_forward);
  if (!f) return py_give(s, NULL, "forward");
  chx_array *y = py_call_back(s, f, "forward", &x, 1);
  Py_DECREF(f);
  return y;
}

static chx_status python_init(chx_scope *s, chx_link *l, const chx_array *x)
{
  PyObject *self = *(PyObject **)chx_link_data(l), *r = NULL;
  py_back b;
  if (!py_back_enter(s, &b)) return chx_scope_error(s);
  PyObject *o = py_wrap(chx_keep(x));
  if (o) r = PyObject_CallMethodObjArgs(self, word_init, o, NULL);
  Py_XDECREF(o);
  py_back_leave(&b);
  if (!r) return chx_scope_fail(s, CHX_EFAILED, "init raised an exception");
  Py_DECREF(r);
  return CHX_OK;
}

typedef struct named_class {
  chx_link_class cls;
  struct named_class *next;
  char name[];
} named_class;

/* A few, as classes and functions have names; links refer to them, copies of links, too. */
const chx_link_class *py_link_class(const char *name,
                                    chx_array *(*forward)(chx_scope *s, chx_link *l, const chx_array *x),
                                    chx_status (*init)(chx_scope *s, chx_link *l, const chx_array *x))
{
  static named_class *all;
  size_t n = strlen(name) + 1;
  for (named_class *k = all; k; k = k->next)
    if (k->cls.forward == forward && strcmp(k->name, name) == 0) return &k->cls;
  named_class *k = PyMem_RawMalloc(sizeof *k + n);
  if (!k) return PyErr_NoMemory(), NULL;
  memcpy(k->name, name, n);
  k->cls = (chx_link_class){
      .size = sizeof k->cls, .name = k->name, .data_size = sizeof(PyObject *), .forward = forward, .init = init};
  k->next = all;
  all = k;
  return &k->cls;
}

static bool make_python_link(py_link *self)
{
  py_nn c;
  const chx_link_class *cls = py_link_class(Py_TYPE(self)->tp_name, python_forward, python_init);
  if (!cls || !py_nn_enter(&c)) return false;
  self->l = chx_link_new(c.s, cls);
  if (self->l) *(PyObject **)chx_link_data(self->l) = (PyObject *)self;
  self->in_python = true;
  return py_nn_leave(&c);
}

/* ---- making and ending ------------------------------------------------------------------------------------------------------- */

py_link *py_link_blank(PyTypeObject *type)
{
  py_link *self = (py_link *)type->tp_alloc(type, 0);
  if (self && !(self->members = PyDict_New())) Py_CLEAR(self);
  return self;
}

static PyObject *create(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
  py_link *self = py_link_blank(type);
  (void)args, (void)kwargs;
  if (!self || py_link_is_made_by_c(type) || make_python_link(self)) return (PyObject *)self;
  Py_DECREF(self);
  return NULL;
}

static void take_out(PyObject *member)
{
  if (py_is_link(member)) chx_link_take_out(((py_link *)member)->l);
}

static int clear(PyObject *o)
{
  py_link *self = (py_link *)o;
  PyObject *members = self->members, *name, *value;
  Py_ssize_t at = 0;
  self->members = NULL;
  while (members && PyDict_Next(members, &at, &name, &value)) take_out(value);
  Py_XDECREF(members);
  Py_CLEAR(self->dict);
  return 0;
}

static void dealloc(PyObject *o)
{
  py_link *self = (py_link *)o;
  PyObject_GC_UnTrack(o);
  if (self->weakrefs) PyObject_ClearWeakRefs(o);
  clear(o);
  chx_link_free(self->l);
  Py_XDECREF(self->held);
  Py_TYPE(o)->tp_free(o);
}

static int traverse(PyObject *o, visitproc visit, void *arg)
{
  py_link *self = (py_link *)o;
  Py_VISIT(self->members);
  Py_VISIT(self->held);
  Py_VISIT(self->dict);
  return 0;
}

bool py_link_ready(PyObject *o)
{
  py_link *self = (py_link *)o;
  if (likely(self->l && self->members)) return true;
  PyErr_Format(PyExc_RuntimeError, "this %s was not made, want its __init__ called first", Py_TYPE(o)->tp_name);
  return false;
}

py_link *py_link_of(PyObject *o, const char *what)
{
  if (py_is_link(o)) return py_link_ready(o) ? (py_link *)o : NULL;
  PyErr_Format(PyExc_TypeError, "%s is of type %s, want a link", what, Py_TYPE(o)->tp_name);
  return NULL;
}

bool py_link_hold(py_link *self, PyObject *o)
{
  if (!self->held && !(self->held = PyList_New(0))) return false;
  return PyList_Append(self->held, o) == 0;
}

static bool put_member(py_link *self, const char *name, PyObject *value)
{
  bool done = value && PyDict_SetItemString(self->members, name, value) == 0;
  Py_XDECREF(value);
  return done;
}

static bool put_values(py_link *self, bool persistent)
{
  chx_param *(*next)(const chx_link *, const chx_param *) = persistent ? chx_link_next_persistent : chx_link_next_param;
  for (chx_param *p = NULL; (p = next(self->l, p)) && chx_param_link(p) == self->l;)
    if (!put_member(self, chx_param_name(p), Py_NewRef(Py_None))) return false;
  return true;
}

bool py_link_put_values(py_link *self) { return put_values(self, false) && put_values(self, true); }

static bool wrap_children(py_link *self)
{
  for (int i = 0; i < chx_link_n_children(self->l); i++) {
    chx_link *l = chx_link_child(self->l, i);
    py_link *child = py_link_blank(py_link_type_of(l));
    if (!child || !put_member(self, chx_link_name(l), (PyObject *)child)) return false;
    child->l = l;
    if (!py_link_put_values(child) || !wrap_children(child)) return false;
  }
  return true;
}

bool py_link_adopt(py_link *self, chx_link *l)
{
  self->l = l;
  return py_link_put_values(self) && wrap_children(self);
}

PyObject *py_link_wrap(chx_link *l)
{
  py_link *self = py_link_blank(py_link_type_of(l));
  if (self && py_link_adopt(self, l)) return (PyObject *)self;
  if (!self) chx_link_free(l);
  Py_XDECREF(self);
  return NULL;
}

py_link *py_link_wrapper(py_link *root, const chx_link *l)
{
  if (!l || l == root->l) return l ? root : NULL;
  py_link *parent = py_link_wrapper(root, chx_link_parent(l));
  return parent && parent->members ? (py_link *)PyDict_GetItemString(parent->members, chx_link_name(l)) : NULL;
}

/* ---- attributes ---------------------------------------------------------------------------------------------------------------- */

static chx_param *own_param(const py_link *self, PyObject *name)
{
  const char *text = PyUnicode_AsUTF8(name);
  return text ? chx_link_find_param(self->l, text) : NULL;
}

PyObject *py_link_value(py_link *self, PyObject *name)
{
  PyObject *known = PyDict_GetItem(self->members, name), *value;
  chx_array *a = chx_param_array(own_param(self, name));
  if (!a) return Py_NewRef(Py_None);
  if (known && py_is_array(known) && py_a(known) == a) return Py_NewRef(known);
  value = py_wrap(chx_keep(a));
  if (value && PyDict_SetItem(self->members, name, value) < 0) Py_CLEAR(value);
  return value;
}

static PyObject *get_attribute(PyObject *o, PyObject *name)
{
  py_link *self = (py_link *)o;
  PyObject *m = self->members ? PyDict_GetItem(self->members, name) : NULL;
  if (!m) return PyObject_GenericGetAttr(o, name);
  return py_is_link(m) ? Py_NewRef(m) : py_link_value(self, name);
}

/* Whether name may be that of a new member: what Link itself has under it would no longer be found. */
static bool check_name(py_link *self, PyObject *name)
{
  const char *text = PyUnicode_AsUTF8(name);
  if (!text) return false;
  if (!*text || strchr(text, '/'))
    PyErr_Format(PyExc_ValueError, "'%s' is empty or has a '/', want another name", text);
  else if (PyObject_HasAttr((PyObject *)Py_TYPE(self), name))
    PyErr_Format(PyExc_AttributeError, "'%s' is an attribute of class %s, want another name", text,
                 Py_TYPE(self)->tp_name);
  else if (self->dict && PyDict_GetItem(self->dict, name) && PyDict_DelItem(self->dict, name) < 0) return false;
  return !PyErr_Occurred();
}

static bool is_inside(const chx_link *l, const chx_link *of)
{
  for (; l; l = chx_link_parent(l))
    if (l == of) return true;
  return false;
}

/* After chx_link_add ended what it was given, for want of memory. */
static void forget(py_link *self)
{
  PyObject *name, *value;
  Py_ssize_t at = 0;
  self->l = NULL;
  while (PyDict_Next(self->members, &at, &name, &value))
    if (py_is_link(value)) forget((py_link *)value);
}

bool py_link_add(py_link *self, PyObject *name, py_link *child)
{
  py_nn c;
  char path[256];
  if (!py_link_ready((PyObject *)self) || !py_link_ready((PyObject *)child)) return false;
  if (chx_link_parent(child->l)) {
    chx_link_path(child->l, NULL, path, sizeof path);
    PyErr_Format(PyExc_ValueError, "the link is already %s of another, want one without a parent", path);
    return false;
  }
  if (is_inside(self->l, child->l)) return PyErr_SetString(PyExc_ValueError, "the link would be inside itself"), false;
  PyObject *number = name ? Py_NewRef(name) : PyUnicode_FromFormat("%d", chx_link_n_children(self->l));
  if (!number || PyDict_Contains(self->members, number)) {
    if (number) PyErr_Format(PyExc_ValueError, "there is already a member '%U', want another name", number);
    Py_XDECREF(number);
    return false;
  }
  if (!py_nn_enter(&c)) return Py_DECREF(number), false;
  chx_link_add(c.s, self->l, PyUnicode_AsUTF8(number), child->l);
  if (chx_scope_error(c.s)) forget(child);
  bool done = py_nn_leave(&c) && PyDict_SetItem(self->members, number, (PyObject *)child) == 0;
  if (!done) take_out((PyObject *)child);
  Py_DECREF(number);
  return done;
}

static int replace_child(py_link *self, PyObject *name, PyObject *old, PyObject *child)
{
  if (old == child) return 0;
  if (old && !py_is_link(old))
    return PyErr_Format(PyExc_AttributeError, "'%U' is a parameter, want another name for a link", name), -1;
  if (child && ((py_link *)child)->l &&
      (chx_link_parent(((py_link *)child)->l) || is_inside(self->l, ((py_link *)child)->l)))
    return py_link_add(self, name, (py_link *)child) ? 0 : -1; /* which says what is wrong; the old one stays */
  if (!old && !check_name(self, name)) return -1;
  if (old) {
    take_out(old);
    if (PyDict_DelItem(self->members, name) < 0) return -1;
  }
  return !child || py_link_add(self, name, (py_link *)child) ? 0 : -1;
}

int py_link_set_value(py_link *self, chx_param *p, PyObject *value)
{
  py_nn c;
  chx_array *a = chx_param_array(p);
  (void)self;
  if (!a)
    return PyErr_Format(PyExc_ValueError, "%s has no shape yet, want a call or a file first", chx_param_name(p)), -1;
  if (!py_nn_enter(&c)) return -1;
  const chx_array *v = py_nn_array(&c, value, chx_param_name(p));
  chx_scope_set_grad(c.s, CHX_GRAD_OFF);
  if (v && chx_ndim(v) &&
      (chx_ndim(v) != chx_ndim(a) || memcmp(chx_shape(v), chx_shape(a), (size_t)chx_ndim(a) * sizeof(int64_t)))) {
    PyObject *is = py_shape(v), *want = py_shape(a);
    if (is && want)
      PyErr_Format(PyExc_ValueError, "the value for %s has shape %R, want %R", chx_param_name(p), is, want);
    Py_XDECREF(is);
    Py_XDECREF(want);
  } else if (v) {
    chx_copy_into(c.s, a, v);
  }
  return py_nn_leave(&c) ? 0 : -1;
}

static int set_attribute(PyObject *o, PyObject *name, PyObject *value)
{
  py_link *self = (py_link *)o;
  if (!py_link_ready(o)) return -1;
  PyObject *old = PyDict_GetItem(self->members, name);
  if (value && py_is_link(value)) return replace_child(self, name, old, value);
  if (value && Py_TYPE(value) == &py_param_type)
    return (old || check_name(self, name)) && py_param_declare(self, name, (py_param *)value) ? 0 : -1;
  if (!old) return PyObject_GenericSetAttr(o, name, value);
  if (py_is_link(old)) {
    if (!value) return replace_child(self, name, old, NULL);
    return PyErr_Format(PyExc_TypeError, "'%U' is a child, want a link, or 'del' first", name), -1;
  }
  if (value) return py_link_set_value(self, own_param(self, name), value);
  return PyErr_Format(PyExc_AttributeError, "'%U' is a parameter, which cannot be taken away", name), -1;
}

/* ---- calls --------------------------------------------------------------------------------------------------------------------- */

static bool has_unset(const py_link *self)
{
  for (chx_param *p = NULL; (p = chx_link_next_param(self->l, p)) && chx_param_link(p) == self->l;)
    if (!chx_param_array(p))
      return PyErr_Format(PyExc_ValueError, "parameter %s has no shape, want one from init or from a file",
                          chx_param_name(p)),
             true;
  return false;
}

/* Gives own parameters their shape, as chx_link_call does. */
static bool settle(py_link *self, PyObject *args, PyObject *kwargs)
{
  if (!has_unset(self)) return self->unset = false, true;
  PyErr_Clear();
  PyObject *init = PyObject_GetAttr((PyObject *)self, word_init), *r = init ? PyObject_Call(init, args, kwargs) : NULL;
  Py_XDECREF(init);
  Py_XDECREF(r);
  if (!r || has_unset(self)) return false;
  self->unset = false;
  return true;
}

static PyObject *call(PyObject *o, PyObject *args, PyObject *kwargs)
{
  py_link *self = (py_link *)o;
  py_nn c;
  if (!py_link_ready(o)) return NULL;
  if (self->in_python) { /* any arguments, any result */
    if (self->unset && !settle(self, args, kwargs)) return NULL;
    PyObject *f = PyObject_GetAttr(o, word_forward), *r = f ? PyObject_Call(f, args, kwargs) : NULL;
    Py_XDECREF(f);
    return r;
  }
  if (PyTuple_GET_SIZE(args) != 1 || (kwargs && PyDict_GET_SIZE(kwargs))) {
    PyErr_Format(PyExc_TypeError, "%s takes one array (%zd given)", Py_TYPE(o)->tp_name, PyTuple_GET_SIZE(args));
    return NULL;
  }
  if (!py_nn_enter(&c)) return NULL;
  const chx_array *x = py_nn_array(&c, PyTuple_GET_ITEM(args, 0), "x");
  Py_INCREF(o); /* forward may drop it */
  PyObject *y = py_nn_result(&c, x ? chx_link_call(c.s, self->l, x) : NULL);
  Py_DECREF(o);
  return y;
}

static PyObject *repr(PyObject *o)
{
  PyObject *module = PyImport_ImportModule("chx.nn"), *r = NULL;
  if (module && py_link_ready(o)) r = PyObject_CallMethod(module, "_tree", "O", o);
  Py_XDECREF(module);
  return r;
}

static PyObject *get_training(PyObject *o, void *unused)
{
  (void)unused;
  return py_link_ready(o) ? PyBool_FromLong(chx_link_is_train(((py_link *)o)->l)) : NULL;
}

static PyObject *get_name(PyObject *o, void *unused)
{
  (void)unused;
  return py_link_ready(o) ? PyUnicode_FromString(chx_link_name(((py_link *)o)->l)) : NULL;
}

static PyObject *get_path(PyObject *o, void *unused)
{
  char path[512];
  (void)unused;
  if (!py_link_ready(o)) return NULL;
  chx_link_path(((py_link *)o)->l, NULL, path, sizeof path);
  return PyUnicode_FromString(path);
}

static PyObject *get_kind(PyObject *o, void *unused)
{
  (void)unused;
  return py_link_ready(o) ? PyUnicode_FromString(chx_link_class_of(((py_link *)o)->l)->name) : NULL;
}

static PyObject *get_initialized(PyObject *o, void *unused)
{
  (void)unused;
  return py_link_ready(o) ? PyBool_FromLong(chx_link_is_initialized(((py_link *)o)->l)) : NULL;
}

static PyGetSetDef getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {"training", get_training, NULL, "whether the link is in train mode", NULL},
    {"name", get_name, NULL, "its name in its parent, '' of a root", NULL},
    {"path", get_path, NULL, "its path from the root, '/block/l1'; '/' of a root", NULL},
    {"kind", get_kind, NULL, "what it is called in messages: 'Linear', the class's name, the function's", NULL},
    {"is_initialized", get_initialized, NULL, "whether every parameter has its shape", NULL},
    {0}};

PyTypeObject py_link_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "chx.nn.Link",
    .tp_basicsize = sizeof(py_link),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .tp_doc = "A part of a network: a callable with parameters and child links. A class of one's own sets them as "
              "attributes in "
              "__init__ and has a method forward(self, x).",
    .tp_new = create,
    .tp_dealloc = dealloc,
    .tp_traverse = traverse,
    .tp_clear = clear,
    .tp_weaklistoffset = offsetof(py_link, weakrefs),
    .tp_dictoffset = offsetof(py_link, dict),
    .tp_getattro = get_attribute,
    .tp_setattro = set_attribute,
    .tp_call = call,
    .tp_repr = repr,
    .tp_methods = py_link_methods,
    .tp_getset = getset,
    .tp_as_mapping = &py_link_mapping,
    .tp_as_number = &py_link_numbers,
    .tp_iter = py_link_iterate,
};

bool py_links_init(PyObject *module)
{
  word_forward = PyUnicode_InternFromString("forward");
  word_init = PyUnicode_InternFromString("init");
  return word_forward && word_init && PyType_Ready(&py_link_type) == 0 &&
         PyModule_AddObject(module, "Link", Py_NewRef((PyObject *)&py_link_type)) == 0;
}
