/* SPDX-License-Identifier: MIT
 * number.c: the operators of the language on arrays: arithmetic, comparison, in-place forms, and conversion to one number.
 *
 * In an expression an operand may be an array, a Python number (weak, as in NumPy 2) or a buffer such as NumPy's arrays.
 */
#include "chxpy.h"
#include <string.h>

#define BINARY(F) \
  F(add) F(sub) F(mul) F(div) F(floor_divide) F(remainder) F(pow) F(left_shift) F(right_shift) F(matmul) \
  F(bitwise_and) F(bitwise_or) F(bitwise_xor) F(less) F(less_equal) F(equal) F(not_equal) F(greater) F(greater_equal)
#define UNARY(F) F(neg) F(abs) F(invert)

enum {
#define F(name) OP_##name,
  BINARY(F) UNARY(F)
#undef F
  N_OPS
};
static const chx_op *ops[N_OPS];

bool py_numbers_init(void)
{
  static const char *const names[] = {
#define F(name) #name,
      BINARY(F) UNARY(F)
#undef F
  };
  for (int i = 0; i < N_OPS; i++)
    if (!(ops[i] = chx_op_find(names[i])))
      return PyErr_Format(PyExc_ImportError, "libchx has no operator '%s'", names[i]), false;
  return true;
}

/* Both operands; 1, 0 (one is nothing of ours) or -1. */
static int operands(chx_scope *s, PyObject *l, PyObject *r, py_operand *x, py_operand *y)
{
  int found = py_operand_from(s, l, 0, x);
  if (unlikely(found <= 0)) return found;
  found = py_operand_from(s, r, 0, y);
  if (unlikely(found <= 0)) py_operand_end(x);
  return found;
}

static inline PyObject *binary(int op, PyObject *l, PyObject *r)
{
  chx_scope *s = py_scope();
  py_operand x, y;
  if (unlikely(!s)) return NULL;
  int found = operands(s, l, r, &x, &y);
  if (unlikely(found <= 0)) {
    if (found < 0) return NULL;
    Py_RETURN_NOTIMPLEMENTED;
  }
  const chx_array *in[] = {x.a, y.a};
  chx_array *out = NULL;
  py_apply(s, ops[op], in, 2, NULL, &out, 1);
  py_operand_end(&x);
  py_operand_end(&y);
  return py_wrap(out);
}

static inline PyObject *unary(int op, PyObject *o)
{
  chx_scope *s = py_scope();
  if (unlikely(!s)) return NULL;
  const chx_array *in = py_a(o);
  chx_array *out = NULL;
  py_apply(s, ops[op], &in, 1, NULL, &out, 1);
  return py_wrap(out);
}

/* ---- in place ------------------------------------------------------------------------------------------------------------ */

/* Whether a result may be cast into an array in place, as NumPy's 'same_kind' has it. */
static bool same_kind(int from, int to)
{
  static const char order[] = "BUIFC";
  const char *a = strchr(order, py_dtype_kind(from)), *b = strchr(order, py_dtype_kind(to));
  return a <= b;
}

/* By way of a result of its own: where dtypes differ, and for matmul, which cannot write into its operand. */
static chx_status through_copy(chx_scope *s, int op, chx_array *a, const chx_array *const *in)
{
  chx_array *y = NULL;
  if (py_apply(s, ops[op], in, 2, NULL, &y, 1)) return chx_scope_error(s);
  if (!same_kind(chx_dtype(y), chx_dtype(a)))
    chx_scope_fail(s, CHX_EDTYPE, "%s in place: the result is %s, want what %s can hold", chx_op_name(ops[op]),
                   py_dtype_name(chx_dtype(y)), py_dtype_name(chx_dtype(a)));
  else {
    bool same = chx_ndim(y) == chx_ndim(a);
    for (int i = 0; same && i < chx_ndim(a); i++) same = chx_shape(y)[i] == chx_shape(a)[i];
    if (same) chx_copy_into(s, a, y);
    else
      chx_scope_fail(s, CHX_ESHAPE, "%s in place: the result's shape is not the array's, want the same",
                     chx_op_name(ops[op]));
  }
  chx_release(y);
  return chx_scope_error(s);
}

static PyObject *in_place(int op, PyObject *self, PyObject *other)
{
  chx_scope *s = py_scope();
  py_operand x, y;
  if (!s) return NULL;
  int found = operands(s, self, other, &x, &y);
  if (found <= 0) {
    if (found < 0) return NULL;
    Py_RETURN_NOTIMPLEMENTED;
  }
  const chx_array *in[] = {x.a, y.a};
  chx_array *out = py_a(self);
  bool number = PyFloat_CheckExact(other) || PyLong_CheckExact(other) || PyBool_Check(other);
  if (op != OP_matmul && (number || chx_dtype(y.a) == chx_dtype(out))) py_apply(s, ops[op], in, 2, NULL, &out, 1);
  else through_copy(s, op, out, in);
  py_operand_end(&y);
  return py_check(s) ? Py_NewRef(self) : NULL;
}

/* ---- the slots -------------------------------------------------------------------------------------------------------------- */

#define PAIR(slot, op) \
  static PyObject *slot(PyObject *l, PyObject *r) { return binary(OP_##op, l, r); } \
  static PyObject *slot##_in_place(PyObject *l, PyObject *r) { return in_place(OP_##op, l, r); }
PAIR(add, add)
PAIR(subtract, sub)
PAIR(multiply, mul)
PAIR(divide, div)
PAIR(floor_divide, floor_divide)
PAIR(modulo, remainder)
PAIR(lshift, left_shift)
PAIR(rshift, right_shift)
PAIR(and, bitwise_and)
PAIR(or, bitwise_or)
PAIR(xor, bitwise_xor)
PAIR(matmul, matmul)
PAIR(power2, pow)

static PyObject *power(PyObject *l, PyObject *r, PyObject *modulus)
{
  if (modulus != Py_None) Py_RETURN_NOTIMPLEMENTED;
  return power2(l, r);
}

static PyObject *power_in_place(PyObject *l, PyObject *r, PyObject *modulus)
{
  if (modulus != Py_None) Py_RETURN_NOTIMPLEMENTED;
  return power2_in_place(l, r);
}

static PyObject *divide_modulo(PyObject *l, PyObject *r)
{
  PyObject *q = floor_divide(l, r);
  if (!q || q == Py_NotImplemented) return q;
  PyObject *m = modulo(l, r);
  return m ? Py_BuildValue("(NN)", q, m) : (Py_DECREF(q), NULL);
}

static PyObject *negative(PyObject *o) { return unary(OP_neg, o); }
static PyObject *absolute(PyObject *o) { return unary(OP_abs, o); }
static PyObject *invert(PyObject *o) { return unary(OP_invert, o); }

static PyObject *positive(PyObject *o)
{
  if (py_dtype_kind(chx_dtype(py_a(o))) == 'B')
    return PyErr_SetString(PyExc_TypeError, "positive: the array is of bool, want a number"), NULL;
  return PyObject_CallMethod(o, "copy", NULL);
}

PyObject *py_compare(PyObject *a, PyObject *b, int how)
{
  static const int list[] = {[Py_LT] = OP_less,      [Py_LE] = OP_less_equal, [Py_EQ] = OP_equal,
                             [Py_NE] = OP_not_equal, [Py_GT] = OP_greater,    [Py_GE] = OP_greater_equal};
  return binary(list[how], a, b);
}

/* ---- to one number ------------------------------------------------------------------------------------------------------- */

static int truth(PyObject *self)
{
  const chx_array *a = py_a(self);
  chx_scope *s = py_scope();
  if (!s) return -1;
  if (chx_size(a) != 1) {
    PyErr_Format(PyExc_ValueError,
                 "the truth value of an array of %lld elements is ambiguous, want one element, or any() or all()",
                 (long long)chx_size(a));
    return -1;
  }
  PyObject *v = py_item(s, a);
  int r = v ? PyObject_IsTrue(v) : -1;
  Py_XDECREF(v);
  return r;
}

static PyObject *as_number(PyObject *self, PyObject *(*convert)(PyObject *))
{
  chx_scope *s = py_scope();
  if (!s) return NULL;
  if (chx_size(py_a(self)) != 1)
    return PyErr_Format(PyExc_TypeError, "an array of %lld elements is not one number",
                        (long long)chx_size(py_a(self))),
           NULL;
  PyObject *v = py_item(s, py_a(self)), *r = v ? convert(v) : NULL;
  Py_XDECREF(v);
  return r;
}

static PyObject *to_float(PyObject *self) { return as_number(self, PyNumber_Float); }
static PyObject *to_int(PyObject *self) { return as_number(self, PyNumber_Long); }

static PyObject *to_index(PyObject *self)
{
  char kind = py_dtype_kind(chx_dtype(py_a(self)));
  if (chx_ndim(py_a(self)) || (kind != 'I' && kind != 'U'))
    return PyErr_SetString(PyExc_TypeError, "only a 0-d array of integers can be an index"), NULL;
  return as_number(self, PyNumber_Index);
}

PyNumberMethods py_numbers = {
    .nb_add = add,
    .nb_inplace_add = add_in_place,
    .nb_subtract = subtract,
    .nb_inplace_subtract = subtract_in_place,
    .nb_multiply = multiply,
    .nb_inplace_multiply = multiply_in_place,
    .nb_true_divide = divide,
    .nb_inplace_true_divide = divide_in_place,
    .nb_floor_divide = floor_divide,
    .nb_inplace_floor_divide = floor_divide_in_place,
    .nb_remainder = modulo,
    .nb_inplace_remainder = modulo_in_place,
    .nb_divmod = divide_modulo,
    .nb_power = power,
    .nb_inplace_power = power_in_place,
    .nb_lshift = lshift,
    .nb_inplace_lshift = lshift_in_place,
    .nb_rshift = rshift,
    .nb_inplace_rshift = rshift_in_place,
    .nb_and = and,
    .nb_inplace_and = and_in_place,
    .nb_or = or,
    .nb_inplace_or = or_in_place,
    .nb_xor = xor,
    .nb_inplace_xor = xor_in_place,
    .nb_matrix_multiply = matmul,
    .nb_inplace_matrix_multiply = matmul_in_place,
    .nb_negative = negative,
    .nb_positive = positive,
    .nb_absolute = absolute,
    .nb_invert = invert,
    .nb_bool = truth,
    .nb_float = to_float,
    .nb_int = to_int,
    .nb_index = to_index,
};
