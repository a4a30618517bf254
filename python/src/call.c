/* SPDX-License-Identifier: MIT
 * call.c: the operators of the table as Python callables, made at import: names, keywords and defaults are read from the table
 * (documentation, when it is asked for: describe.c). One object is the function chx.sum and, in ndarray, the method sum.
 *
 * Arguments are the operator's inputs (optional ones default to None), then its attributes, the required ones first; `axes` is
 * also called `axis`, as NumPy has it, and out= takes an array that the result is written into. Operators that draw random
 * numbers draw their own.
 */
#include "call.h"
#include <stddef.h>
#include <string.h>
#include <structmember.h>

enum { MAX_ATTR = 1024 };

static PyObject *word_out, *word_axes, *word_axis;

/* ---- arguments ------------------------------------------------------------------------------------------------------------- */

static int find(const py_op *f, PyObject *name)
{
  for (int i = 0; i < f->n_params; i++)
    if (f->names[i] == name) return i;
  for (int i = 0; i < f->n_params; i++)
    if (PyUnicode_Compare(f->names[i], name) == 0) return i;
  return PyUnicode_Compare(name, word_axes) == 0 ? find(f, word_axis) : -1;
}

/* Puts each argument into its place of `value`, which is zeroed; *out: the one of out=. */
static bool place(const py_op *f, PyObject *const *args, Py_ssize_t n, PyObject *names, PyObject **value,
                  PyObject **out)
{
  if (unlikely(n > f->n_params)) {
    PyErr_Format(PyExc_TypeError, "%U() takes at most %d arguments (%zd given)", f->name, f->n_params, n);
    return false;
  }
  for (Py_ssize_t i = 0; i < n; i++) value[i] = args[i];
  for (Py_ssize_t k = 0; names && k < PyTuple_GET_SIZE(names); k++) {
    PyObject *name = PyTuple_GET_ITEM(names, k);
    int i = find(f, name);
    if (i < 0 && PyUnicode_Compare(name, word_out) == 0) {
      *out = args[n + k] == Py_None ? NULL : args[n + k];
      continue;
    }
    if (i < 0 || value[i]) {
      PyErr_Format(PyExc_TypeError, i < 0 ? "%U() has no parameter '%U'" : "%U() got parameter '%U' twice", f->name,
                   name);
      return false;
    }
    value[i] = args[n + k];
  }
  return true;
}

static bool set_attr(const py_op *f, const chx_op_attr *t, PyObject *v, unsigned char *attr)
{
  void *p = attr + t->offset;
  switch (t->type) {
  case CHX_ATTR_F64: *(double *)p = PyFloat_AsDouble(v); break;
  case CHX_ATTR_BOOL:
    if (unlikely(!PyBool_Check(v) && !PyIndex_Check(v) && !PyObject_CheckBuffer(v)))
      return PyErr_Format(PyExc_TypeError, "%U: %s is of type %s, want a bool", f->name, t->name, Py_TYPE(v)->tp_name),
             false;
    *(int64_t *)p = PyObject_IsTrue(v);
    break;
  case CHX_ATTR_INTS: return py_ints_from(v, t->name, p);
  case CHX_ATTR_DTYPE: {
    int dtype;
    if (!py_dtype_from(v, &dtype)) return false;
    *(int64_t *)p = dtype;
    break;
  }
  default: {
    PyObject *n = PyNumber_Index(v);
    *(int64_t *)p = n ? PyLong_AsLongLong(n) : 0;
    Py_XDECREF(n);
  }
  }
  return !PyErr_Occurred();
}

/* The attribute struct of the arguments in `room`, NULL where all are defaults; *done false: an exception. */
static const void *attribute(const py_op *f, PyObject *const *value, unsigned char *room, bool *done)
{
  const void *attr = NULL;
  for (int i = f->n_in; i < f->n_params && *done; i++) {
    if (!value[i]) continue;
    const chx_op_attr *t = f->attrs[i - f->n_in];
    if (value[i] == Py_None && (t->type == CHX_ATTR_INTS || t->type == CHX_ATTR_DTYPE)) continue;
    if (!attr) attr = memcpy(room, f->defaults, f->attr_size);
    *done = set_attr(f, t, value[i], room);
    if (*done && t->type == CHX_ATTR_INTS && !((chx_ints *)(void *)(room + t->offset))->n && f->names[i] == word_axis) {
      PyErr_Format(PyExc_ValueError, "%U: axis is (), want None or at least one axis", f->name);
      *done = false;
    }
  }
  return attr;
}

/* ---- calls -------------------------------------------------------------------------------------------------------------------- */

static PyObject *results(const py_op *f, chx_scope *s, chx_array **out, PyObject *into)
{
  if (!out[0]) return py_wrap(NULL);
  if (into) return Py_NewRef(into);
  (void)s;
  if (f->n_out == 1) return py_wrap(out[0]);
  PyObject *t = PyTuple_New(f->n_out);
  for (int i = 0; i < f->n_out; i++) {
    PyObject *o = t ? py_wrap(out[i]) : (chx_release(out[i]), NULL);
    if (t && o) PyTuple_SET_ITEM(t, i, o);
    else Py_CLEAR(t);
  }
  return t;
}

static bool wrong_operand(const py_op *f, int i, PyObject *o)
{
  PyErr_Format(PyExc_TypeError, "%U: operand '%U' is of type %s, want an array, a number or a list", f->name,
               f->names[i], Py_TYPE(o)->tp_name);
  return false;
}

static PyObject *run(const py_op *f, chx_scope *s, PyObject *const *given, int n, const void *attr, PyObject *into)
{
  py_operand x[CHX_MAX_OPERANDS];
  const chx_array *in[CHX_MAX_OPERANDS];
  chx_array *out[8] = {into ? py_a(into) : NULL};
  PyObject *r = NULL;
  int made = 0;
  for (; made < n; made++) {
    x[made] = (py_operand){0};
    if (!given[made] || given[made] == Py_None) {
      in[made] = NULL;
      continue;
    }
    int found = py_operand_from(s, given[made], PY_LISTS, &x[made]);
    if (unlikely(found <= 0)) {
      if (!found) wrong_operand(f, f->variadic ? f->n_in - 1 : made, given[made]);
      goto done;
    }
    in[made] = x[made].a;
  }
  if (unlikely(f->draws))
    out[0] = chx_dropout(s, in[0], ((const chx_dropout_attr *)(attr ? attr : f->defaults))->ratio);
  else py_apply(s, f->op, in, n, attr, out, into ? 1 : f->n_out);
  if (unlikely(f->indexes && chx_scope_error(s))) r = py_fail_as(s, PyExc_IndexError);
  else r = results(f, s, chx_scope_error(s) ? (chx_array *[]){NULL} : out, into);
done:
  while (made--) py_operand_end(&x[made]);
  return r;
}

/* concatenate(xs, axis): the one input is a sequence of operands. *fits: whether there are not too many. */
static PyObject *run_variadic(const py_op *f, chx_scope *s, PyObject *list, const void *attr, PyObject *into,
                              bool *fits)
{
  PyObject *items = PySequence_Fast(list, "want a sequence of arrays"), *r = NULL;
  if (items && PyList_Check(items)) Py_SETREF(items, PyList_AsTuple(items)); /* other threads may change the list meanwhile */
  if (!items) return NULL;
  Py_ssize_t n = PySequence_Fast_GET_SIZE(items);
  *fits = n <= CHX_MAX_OPERANDS;
  if (*fits) r = run(f, s, PySequence_Fast_ITEMS(items), (int)n, attr, into);
  else PyErr_Format(PyExc_ValueError, "%U: %zd arrays are given, want at most %d", f->name, n, CHX_MAX_OPERANDS);
  Py_DECREF(items);
  return r;
}

/* Whether the arguments are in the operator's own manner as far as they go; an exception if not. */
static bool complete(const py_op *f, PyObject *const *value, Py_ssize_t n, PyObject *names)
{
  for (int i = 0; i < f->n_required; i++)
    if (unlikely(!value[i] || value[i] == Py_None)) {
      PyErr_Format(PyExc_TypeError, "%U() lacks operand '%U'", f->name, f->names[i]);
      return false;
    }
  for (int i = f->n_in; i < f->n_in + f->n_needed; i++)
    if (unlikely(!value[i] || value[i] == Py_None)) {
      PyErr_Format(PyExc_TypeError, "%U() lacks attribute '%U', which has no default", f->name, f->names[i]);
      return false;
    }
  if (unlikely(f->by_axis && (!value[f->n_in] || value[f->n_in] == Py_None)))
    return PyErr_Format(PyExc_TypeError, "%U() lacks an axis", f->name), false;
  if (unlikely(f->by_names && n == 2 && !names))
    return PyErr_Format(PyExc_TypeError, "%U() lacks '%U'", f->name, f->names[2]), false;
  return true;
}

static PyObject *call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
  const py_op *f = (const py_op *)self;
  chx_scope *s = py_scope();
  PyObject *value[PY_MAX_PARAMS], *into = NULL;
  _Alignas(16) unsigned char room[MAX_ATTR];
  bool done = true;
  if (unlikely(!s)) return NULL;
  for (int i = 0; i < f->n_params; i++) value[i] = NULL;
  const Py_ssize_t n = PyVectorcall_NARGS(nargsf);
  if (unlikely(!place(f, args, n, names, value, &into) || !complete(f, value, n, names)))
    return py_call_form(f->name, args, nargsf, names);
  if (unlikely(into && (!py_is_array(into) || f->n_out > 1 || f->draws))) {
    PyErr_Format(PyExc_TypeError,
                 f->n_out > 1 || f->draws ? "%U: out is not taken by this operator"
                                          : "%U: out is not an array, want one",
                 f->name);
    return NULL;
  }
  const void *attr = attribute(f, value, room, &done);
  if (unlikely(!done)) return py_call_form(f->name, args, nargsf, names);
  PyObject *r = f->variadic ? run_variadic(f, s, value[0], attr, into, &done) : run(f, s, value, f->n_in, attr, into);
  return likely(done) ? r : py_call_form(f->name, args, nargsf, names);
}

/* ---- the objects ---------------------------------------------------------------------------------------------------------- */

static PyObject *bind(PyObject *self, PyObject *object, PyObject *type)
{
  (void)type;
  return object && object != Py_None ? PyMethod_New(self, object) : Py_NewRef(self);
}

static PyObject *op_repr(PyObject *self) { return PyUnicode_FromFormat("<chx operator %U>", ((py_op *)self)->name); }
static PyObject *op_reduce(PyObject *self, PyObject *unused)
{
  (void)unused;
  return Py_NewRef(((py_op *)self)->name);
}
static PyObject *op_module(PyObject *self, void *unused)
{
  (void)self;
  (void)unused;
  return PyUnicode_FromString("chx");
}
static PyObject *op_doc(PyObject *self, void *unused)
{
  (void)unused;
  return py_op_doc((py_op *)self);
}
static PyObject *op_signature(PyObject *self, void *unused)
{
  (void)unused;
  return py_op_signature((py_op *)self);
}

static PyMethodDef op_methods[] = {{"__reduce__", op_reduce, METH_NOARGS, NULL}, {0}};
static PyMemberDef op_members[] = {{"__name__", T_OBJECT, offsetof(py_op, name), READONLY, NULL},
                                   {"__qualname__", T_OBJECT, offsetof(py_op, name), READONLY, NULL},
                                   {0}};
static PyGetSetDef op_getset[] = {{"__module__", op_module, NULL, NULL, NULL},
                                  {"__doc__", op_doc, NULL, NULL, NULL},
                                  {"__text_signature__", op_signature, NULL, NULL, NULL},
                                  {0}};

static PyTypeObject op_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "chx.operator",
    .tp_basicsize = sizeof(py_op),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .tp_vectorcall_offset = offsetof(py_op, call),
    .tp_call = PyVectorcall_Call,
    .tp_descr_get = bind,
    .tp_repr = op_repr,
    .tp_methods = op_methods,
    .tp_members = op_members,
    .tp_getset = op_getset,
};

/* ---- from the table -------------------------------------------------------------------------------------------------------- */

/* Whether an operator is called by its users: not those that make arrays of nothing (create.c has functions for them), not the
 * inner ones, and of those that draw only the one whose function, which draws, `run` calls. */
static bool offered(const chx_op *op)
{
  return chx_op_n_inputs(op) > 0 && !chx_op_is_inner(op) && (!chx_op_is_random(op) || !strcmp(chx_op_name(op), "dropout")) &&
         chx_op_attr_size(op) <= MAX_ATTR && chx_op_n_inputs(op) + chx_op_n_attrs(op) <= PY_MAX_PARAMS && chx_op_n_outputs(op) <= 8;
}

static bool fill_defaults(py_op *f)
{
  if (!f->attr_size) return true;
  if (!(f->defaults = PyMem_Calloc(1, f->attr_size))) return PyErr_NoMemory(), false;
  memcpy(f->defaults, &f->attr_size, sizeof f->attr_size);
  for (int i = 0; i < chx_op_n_attrs(f->op); i++) {
    const chx_op_attr *t = chx_op_attr_at(f->op, i);
    if (t->type == CHX_ATTR_F64) memcpy(f->defaults + t->offset, &t->def, sizeof t->def);
    else if (t->type != CHX_ATTR_INTS) memcpy(f->defaults + t->offset, &(int64_t){(int64_t)t->def}, sizeof(int64_t));
  }
  return true;
}

/* The parameters of the attributes that have these marks. */
static void add_attrs(py_op *f, int flags)
{
  for (int i = 0; i < chx_op_n_attrs(f->op); i++) {
    const chx_op_attr *t = chx_op_attr_at(f->op, i);
    if (chx_op_attr_flags(f->op, i) != flags) continue;
    f->attrs[f->n_params - f->n_in] = t;
    f->names[f->n_params++] = PyUnicode_InternFromString(strcmp(t->name, "axes") ? t->name : "axis");
  }
}

static py_op *make(const chx_op *op)
{
  py_op *f = PyObject_New(py_op, &op_type);
  if (!f) return NULL;
  memset((char *)f + sizeof(PyObject), 0, sizeof *f - sizeof(PyObject));
  f->call = call;
  f->op = op;
  f->n_in = f->n_params = chx_op_n_inputs(op);
  f->n_out = chx_op_n_outputs(op);
  f->attr_size = chx_op_attr_size(op);
  for (int i = 0; i < f->n_in; i++) {
    int flags = chx_op_input_flags(op, i);
    f->names[i] = PyUnicode_InternFromString(chx_op_input_name(op, i));
    f->variadic |= (flags & CHX_OPERAND_VARIADIC) != 0;
    if (!(flags & CHX_OPERAND_OPTIONAL)) f->n_required = i + 1;
  }
  f->draws = chx_op_is_random(op);
  add_attrs(f, CHX_ATTR_REQUIRED);
  f->n_needed = f->n_params - f->n_in;
  add_attrs(f, 0);
  f->name = PyUnicode_InternFromString(chx_op_name(op));
  f->by_axis = !strcmp(chx_op_name(op), "take") || !strcmp(chx_op_name(op), "take_along_axis");
  f->by_names = !strcmp(chx_op_name(op), "pad");
  f->indexes = f->n_in > 1 && !strcmp(chx_op_input_name(op, 1), "indices");
  return f->name && fill_defaults(f) ? f : NULL;
}

/* NumPy's names of our operators. */
static const struct {
  const char *numpy, *ours;
} aliases[] = {{"negative", "neg"},
               {"absolute", "abs"},
               {"subtract", "sub"},
               {"multiply", "mul"},
               {"divide", "div"},
               {"true_divide", "div"},
               {"mod", "remainder"},
               {"power", "pow"},
               {"arcsin", "asin"},
               {"arccos", "acos"},
               {"arctan", "atan"},
               {"arcsinh", "asinh"},
               {"arccosh", "acosh"},
               {"arctanh", "atanh"},
               {"arctan2", "atan2"},
               {"bitwise_not", "invert"},
               {"bitwise_invert", "invert"},
               {"bitwise_left_shift", "left_shift"},
               {"bitwise_right_shift", "right_shift"},
               {"max", "amax"},
               {"min", "amin"},
               {"concat", "concatenate"},
               {"permute_dims", "transpose"}};

bool py_ops_init(PyObject *module)
{
  word_out = PyUnicode_InternFromString("out");
  word_axes = PyUnicode_InternFromString("axes");
  word_axis = PyUnicode_InternFromString("axis");
  if (!word_out || !word_axes || !word_axis || PyType_Ready(&op_type) < 0) return false;
  for (int i = 0; i < chx_op_count(); i++) {
    const chx_op *op = chx_op_at(i);
    if (!offered(op)) continue;
    py_op *f = make(op);
    if (!f || PyModule_AddObject(module, chx_op_name(op), (PyObject *)f) < 0) return false;
  }
  PyObject *d = PyModule_GetDict(module);
  for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++) {
    PyObject *f = PyDict_GetItemString(d, aliases[i].ours);
    if (f && PyDict_SetItemString(d, aliases[i].numpy, f) < 0) return false;
  }
  return true;
}

/* The methods that NumPy's arrays have. Those that work in place there (sort) are left out. */
bool py_ops_methods(PyObject *module, PyObject *type_dict)
{
  static const char *const names[] = {"sum", "prod",   "mean",    "max",     "min",  "argmax", "argmin", "all",
                                      "any", "cumsum", "cumprod", "squeeze", "take", "clip",   "argsort"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    PyObject *f = PyDict_GetItemString(PyModule_GetDict(module), names[i]);
    if (f && PyDict_SetItemString(type_dict, names[i], f) < 0) return false;
  }
  return true;
}
