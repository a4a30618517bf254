/* SPDX-License-Identifier: MIT
 * op_elementwise.c: the entries of every operator of chx/elementwise.def, with their dtype and shape rule.
 *
 * infer is on the path of every small call: operands that agree in dtype and shape go through in a few compares.
 */
#include "opfile.h"

/* The gradients, from grad_elementwise.c; a row without one does not compile unless it is named here. */
#define EW1(ID, name, class, result, formula, keep, doc) void chxi_grad_##name(chx_scope *s, const chx_node *n, chx_array **gx);
#define EW2 EW1
#define EW3 EW1
#include <chx/elementwise.def>
/* Rows that have none: results that are bool or integers, and functions that are constant wherever they are smooth. */
#define chxi_grad_sign NULL
#define chxi_grad_floor NULL
#define chxi_grad_ceil NULL
#define chxi_grad_trunc NULL
#define chxi_grad_rint NULL
#define chxi_grad_isnan NULL
#define chxi_grad_isinf NULL
#define chxi_grad_isfinite NULL
#define chxi_grad_logical_not NULL
#define chxi_grad_invert NULL
#define chxi_grad_floor_divide NULL
#define chxi_grad_equal NULL
#define chxi_grad_not_equal NULL
#define chxi_grad_less NULL
#define chxi_grad_less_equal NULL
#define chxi_grad_greater NULL
#define chxi_grad_greater_equal NULL
#define chxi_grad_logical_and NULL
#define chxi_grad_logical_or NULL
#define chxi_grad_logical_xor NULL
#define chxi_grad_bitwise_and NULL
#define chxi_grad_bitwise_or NULL
#define chxi_grad_bitwise_xor NULL
#define chxi_grad_left_shift NULL
#define chxi_grad_right_shift NULL

/* ---- dtypes ----------------------------------------------------------------------------------------------------------- */

/* The dtype in which class `klass` computes operands that were promoted to `dtype`; 0: it does not take it. */
static int class_dtype(char klass, int dtype)
{
  const chxi_dtype_row *d = &chxi_dtypes[dtype];
  if (d->kind == 'C') return 0;
  switch (klass) {
  case 'F':
    if (d->kind == 'F') return dtype;
    return d->bits == 8 ? CHX_F16 : d->bits == 16 ? CHX_F32 : CHX_F64;
  case 'D': return d->kind == 'F' ? dtype : CHX_F64;
  case 'N': return d->kind == 'B' ? CHX_I8 : dtype; /* as NumPy: numbers that are 0 or 1 */
  case 'I': return d->kind == 'F' ? 0 : dtype;
  case 'Z': return d->kind == 'F' ? 0 : d->kind == 'B' ? CHX_I8 : dtype;
  case 'B': return CHX_BOOL;
  default: return dtype;
  }
}

/* Integers of several dtypes in class F: the widest of the floats that each has of its own, so that u8 with i8 is f16 though
 * they promote to i16. 0: there is another operand. */
static int float_of_ints(const chxi_call *c, int first, int last)
{
  int dtype = 0;
  bool weak = false, ints = false;
  for (int i = first; i <= last; i++) {
    const chx_array *a = c->in[i];
    weak |= a->weak == 'I';
    ints |= !a->weak && a->dtype != CHX_BOOL;
    if (a->weak == 'F' || (!a->weak && !chxi_is_int(a->dtype) && a->dtype != CHX_BOOL)) return 0;
    int own = a->weak ? 0 : class_dtype('F', a->dtype);
    if (own > dtype) dtype = own; /* f16 < f32 < f64 */
  }
  return weak && !ints ? 0 : dtype; /* bool with a weak integer is i64 first */
}

/* Makes operands first..last of one dtype that the operator's class takes. */
static bool agree(chxi_call *c, int first, int last)
{
  char klass = c->op->klass;
  if (klass == 'B') {
    for (int i = first; i <= last; i++)
      if (!(class_dtype('B', c->in[i]->dtype) ? chxi_cast_operand(c, i, CHX_BOOL)
                                              : chxi_want_dtypes(c, i, CHX_ANY_REAL, "a real one")))
        return false;
    return true;
  }
  int have = klass == 'F' && last > first ? float_of_ints(c, first, last) : 0;
  if (have) {
    for (int i = first; i <= last; i++)
      if (!chxi_cast_operand(c, i, have)) return false;
    return true;
  }
  if (!chxi_promote_operands(c, first, last)) return false;
  have = c->in[first]->dtype;
  int want = class_dtype(klass, have), id = c->op->id;
  if (have == CHX_BOOL &&
      (id == CHXI_OP_NEG || id == CHXI_OP_SUB || id == CHXI_OP_SIGN)) /* as in NumPy: most often a mistake */
    return chxi_bad(c, CHX_EDTYPE, "dtype is bool, want a number (logical_not, logical_xor are for bool)");
  if (!want)
    return chxi_bad(c, CHX_EDTYPE, "dtype is %s, want %s", chx_dtype_name(have),
                    klass == 'I' ? "bool or an integer" : klass == 'Z' ? "an integer" : "a real one");
  for (int i = first; want != have && i <= last; i++)
    if (!chxi_cast_operand(c, i, want)) return false;
  return true;
}

/* ---- infer ------------------------------------------------------------------------------------------------------------- */

static inline void set_out(chxi_call *c, const chx_array *a, int dtype)
{
  c->out[0].dtype = c->op->result == 'B' ? CHX_BOOL : dtype;
  c->out[0].ndim = a->t.ndim;
  for (int i = 0; i < a->t.ndim; i++) c->out[0].shape[i] = a->shape[i];
}

/* The general case: promote, broadcast. `first` is the first operand of the result's dtype. */
static bool infer_mixed(chxi_call *c, int n, int first)
{
  if (first && !chxi_cast_operand(c, 0, CHX_BOOL)) return false;
  if (!agree(c, first, n - 1)) return false;
  c->out[0].dtype = c->op->result == 'B' ? CHX_BOOL : c->in[first]->dtype;
  c->out[0].ndim = 0;
  for (int i = 0; i < n; i++)
    if (!chxi_broadcast(c, &c->out[0].ndim, c->out[0].shape, c->in[i])) return false;
  return true;
}

static bool infer1(chxi_call *c)
{
  const chx_array *x = c->in[0];
  if (chxi_unlikely(!(c->op->dtypes & CHX_BIT(x->dtype)) || x->weak)) return infer_mixed(c, 1, 0);
  set_out(c, x, x->dtype);
  return true;
}

/* Operand `scalar` is weak beside a floating array of a dtype that the operator takes: it takes on that dtype. */
static bool infer_with_scalar(chxi_call *c, const chx_array *x, int scalar)
{
  const chx_array *v = c->in[scalar];
  if (!(c->in[scalar] = chxi_scalar_array(c->s, x->dtype, v->weak != 'F', v->w))) return false;
  set_out(c, x, x->dtype);
  return true;
}

static bool infer2(chxi_call *c)
{
  const chx_array *x = c->in[0], *y = c->in[1];
  if (chxi_unlikely(x->dtype != y->dtype || x->weak | y->weak || !(c->op->dtypes & CHX_BIT(x->dtype)) ||
                    x->t.ndim != y->t.ndim)) {
    if (y->weak && !x->weak && c->op->dtypes & CHX_FLOATS & CHX_BIT(x->dtype)) return infer_with_scalar(c, x, 1);
    if (x->weak && !y->weak && c->op->dtypes & CHX_FLOATS & CHX_BIT(y->dtype)) return infer_with_scalar(c, y, 0);
    return infer_mixed(c, 2, 0);
  }
  for (int i = 0; i < x->t.ndim; i++)
    if (chxi_unlikely(x->shape[i] != y->shape[i])) return infer_mixed(c, 2, 0);
  set_out(c, x, x->dtype);
  return true;
}

static bool infer3(chxi_call *c) { return infer_mixed(c, 3, c->op->klass == 'W'); }

/* Operands that are smaller than the result are seen with stride 0 along their broadcast axes. */
static void arrange(chxi_call *c)
{
  int ndim = c->out[0].ndim;
  const int64_t *shape = c->out[0].shape;
  for (int i = 0; i < c->n_in; i++) {
    const chx_array *a = c->in[i];
    if (chxi_unlikely(!a->buf)) continue;
    bool same = a->t.ndim == ndim;
    if (chxi_likely(same && a->size && a->size == c->y[0]->size))
      continue; /* as it broadcasts, it has the result's shape */
    for (int k = 0; same && k < ndim; k++) same = a->shape[k] == shape[k];
    if (chxi_unlikely(!same)) chxi_arrange_broadcast(c, i, ndim, shape);
  }
}

/* ---- the table ------------------------------------------------------------------------------------------------------------ */

#define CLASS_F CHX_FLOATS
#define CLASS_D CHX_FLOATS
#define CLASS_N CHX_NUMBERS
#define CLASS_A CHX_ANY_REAL
#define CLASS_I (CHX_INTEGERS | CHX_BIT(CHX_BOOL))
#define CLASS_Z CHX_INTEGERS
#define CLASS_B CHX_BIT(CHX_BOOL)
#define CLASS_W CHX_ANY_REAL
#define KEEP_IN_NO 0u
#define KEEP_IN_X ~0u
#define KEEP_IN_Y 0u
#define KEEP_IN_XY ~0u
#define KEEP_OUT_NO 0u
#define KEEP_OUT_X 0u
#define KEEP_OUT_Y 1u
#define KEEP_OUT_XY 1u
/* where and relu_grad need their first operand alone. */
#define FIRST_ALONE(ID) (CHXI_OP_##ID == CHXI_OP_WHERE || CHXI_OP_##ID == CHXI_OP_RELU_GRAD)

#define ROW(ID, text, class_, result_, keep, doc_, n, names) \
  [CHXI_OP_##ID] = {.name = text, .doc = doc_, .id = CHXI_OP_##ID, .version = 1, .kind = CHXI_ELEMENTWISE, .inputs = names, \
                    .outputs = {"v"}, .n_in = n, .n_required = n, .n_out = 1, .klass = #class_[0], .result = #result_[0], \
                    .keep_x = KEEP_IN_##keep & (FIRST_ALONE(ID) ? 1u : (1u << n) - 1), .keep_y = KEEP_OUT_##keep, \
                    .dtypes = CLASS_##class_, .infer = infer##n, .arrange = arrange,
#define NAMES1 {"x"}
#define NAMES2 {"x", "y"}
#define NAMES3 {"x", "y", "z"}

const chx_op chxi_elementwise[CHXI_N_ELEMENTWISE] = {
#define EW1(ID, name, class, result, formula, keep, doc) ROW(ID, #name, class, result, keep, doc, 1, NAMES1) .grad = chxi_grad_##name},
#define EW2(ID, name, class, result, formula, keep, doc) ROW(ID, #name, class, result, keep, doc, 2, NAMES2) .grad = chxi_grad_##name},
#define EW3(ID, name, class, result, formula, keep, doc) ROW(ID, #name, class, result, keep, doc, 3, NAMES3) .grad = chxi_grad_##name},
#include <chx/elementwise.def>
};
