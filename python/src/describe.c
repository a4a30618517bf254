/* SPDX-License-Identifier: MIT
 * describe.c: the documentation and signature of an operator, made from the table when they are asked for. Shapes and examples,
 * which the table has not, are in chx/_examples.py.
 */
#include "call.h"

static PyObject *default_text(const chx_op_attr *t)
{
  if (t->type == CHX_ATTR_BOOL) return PyUnicode_FromString(t->def != 0 ? "True" : "False");
  if (t->type == CHX_ATTR_I64) return PyUnicode_FromFormat("%d", (int)t->def);
  if (t->type != CHX_ATTR_F64) return PyUnicode_FromString("None");
  PyObject *v = PyFloat_FromDouble(t->def), *r = v ? PyObject_Repr(v) : NULL;
  Py_XDECREF(v);
  return r;
}

/* text += more, both of whose references are taken. */
static void append(PyObject **text, PyObject *more) { PyUnicode_AppendAndDel(text, more); }

static const char *type_word(int type)
{
  static const char *const words[] = {[CHX_ATTR_I64] = "int",
                                      [CHX_ATTR_F64] = "float",
                                      [CHX_ATTR_BOOL] = "bool",
                                      [CHX_ATTR_DTYPE] = "dtype",
                                      [CHX_ATTR_INTS] = "int or tuple of ints"};
  return words[type];
}

static PyObject *dtypes_text(uint64_t set)
{
  PyObject *t = PyUnicode_FromString("");
  for (int d = 1; t && d < CHX_DTYPE_END; d++)
    if (set & CHX_BIT(d))
      append(&t, PyUnicode_FromFormat("%s%s", PyUnicode_GET_LENGTH(t) ? " " : "", py_dtype_name(d)));
  return t;
}

static bool has_default(const py_op *f, int i) { return i < f->n_in ? i >= f->n_required : i >= f->n_in + f->n_needed; }

PyObject *py_op_signature(const py_op *f)
{
  PyObject *sig = PyUnicode_FromString("(");
  for (int i = 0; i < f->n_params; i++) {
    append(&sig, PyUnicode_FromFormat(i ? ", %U" : "%U", f->names[i]));
    if (!has_default(f, i)) continue;
    append(&sig, PyUnicode_FromString("="));
    append(&sig, i < f->n_in ? PyUnicode_FromString("None") : default_text(f->attrs[i - f->n_in]));
  }
  append(&sig, PyUnicode_FromString(f->n_out > 1 || f->draws ? ")" : ", *, out=None)"));
  return sig;
}

/* Adds what a table of chx._examples has for the operator, under a heading. */
static bool append_from(const py_op *f, PyObject **doc, const char *table, const char *heading)
{
  PyObject *m = PyImport_ImportModule("chx._examples"), *d = m ? PyObject_GetAttrString(m, table) : NULL;
  PyObject *text = d ? PyDict_GetItem(d, f->name) : NULL; /* an operator of a plugin has none */
  if (text) append(doc, PyUnicode_FromFormat("\n\n%s\n%U", heading, text));
  Py_XDECREF(d);
  Py_XDECREF(m);
  return !PyErr_Occurred();
}

static void append_parameters(const py_op *f, PyObject **doc)
{
  append(doc, PyUnicode_FromString("\n\nParameters\n"));
  for (int i = 0; i < f->n_params; i++) {
    const chx_op_attr *t = i < f->n_in ? NULL : f->attrs[i - f->n_in];
    if (t) append(doc, PyUnicode_FromFormat("  %U: %s; %s\n", f->names[i], type_word(t->type), t->doc));
    else
      append(doc, PyUnicode_FromFormat("  %U: %s%s\n", f->names[i], f->variadic ? "sequence of arrays" : "array",
                                       has_default(f, i) ? ", optional" : ""));
  }
  if (f->n_out == 1 && !f->draws)
    append(doc, PyUnicode_FromString("  out: array, optional; the result is written into it\n"));
  append(doc, PyUnicode_FromString("\nReturns\n  "));
  for (int i = 0; i < f->n_out; i++)
    append(doc, PyUnicode_FromFormat(i ? ", %s" : "%s", chx_op_output_name(f->op, i)));
}

PyObject *py_op_doc(const py_op *f)
{
  PyObject *doc = PyUnicode_FromString(chx_op_doc(f->op));
  append_parameters(f, &doc);
  if (chx_op_is_elementwise(f->op))
    append(&doc, PyUnicode_FromString(f->n_in > 1 ? "\n\nShapes\n  operands broadcast; the result has the shape they broadcast to"
                                                  : "\n\nShapes\n  the result has x's shape"));
  else if (!append_from(f, &doc, "SHAPES", "Shapes")) Py_CLEAR(doc);
  PyObject *dtypes = dtypes_text(chx_op_dtypes(f->op));
  append(&doc, PyUnicode_FromFormat("\n\nDtypes without promotion: %U\n%s", dtypes ? dtypes : Py_None,
                                    chx_op_is_differentiable(f->op) ? "Differentiable." : "Not differentiable."));
  Py_XDECREF(dtypes);
  append(&doc, PyUnicode_FromString(
                   "\n\nRaises\n"
                   "  TypeError: an operand is no array, number or list, or is of a dtype that the operator does not take\n"
                   "  ValueError: shapes or attributes do not fit\n"
                   "  chx.DeviceError: operands are on two devices, or the device was lost\n"
                   "  NotImplementedError: the device has no kernel, and chx.fallback denies another way"));
  if (doc && !append_from(f, &doc, "EXAMPLES", "Example")) Py_CLEAR(doc);
  return doc;
}
