/* SPDX-License-Identifier: MIT
 * op_scan.c: cumulative sums, products and extremes along one axis.
 */
#include "opfile.h"

/* ---- shapes ----------------------------------------------------------------------------------------------------- */

/* The dtype that `kind` accumulates x in, as NumPy chooses it. */
static int natural_dtype(uint32_t kind, int dtype)
{
  const chxi_dtype_row *d = &chxi_dtypes[dtype];
  if (kind == CHX_SCAN_MAX || kind == CHX_SCAN_MIN || d->kind == 'F') return dtype;
  return d->kind == 'U' ? CHX_U64 : CHX_I64;
}

static bool infer_scan(chxi_call *c)
{
  chx_scan_attr *p = c->attr;
  if (c->op->primitive_kind) p->kind = c->op->primitive_kind;
  if (p->kind < CHX_SCAN_SUM || p->kind > CHX_SCAN_MIN)
    return chxi_bad(c, CHX_EARG, "attribute 'kind' is %u, want CHX_SCAN_SUM to CHX_SCAN_MIN", p->kind);
  bool adds = p->kind == CHX_SCAN_SUM || p->kind == CHX_SCAN_PROD;
  p->reverse = p->reverse != 0;
  p->exclusive = p->exclusive != 0;
  if (p->exclusive && !adds)
    return chxi_bad(c, CHX_EARG,
                    "attribute 'exclusive' is 1, want 0: before the first element there is no largest or smallest");
  if (!chxi_want_dtypes(c, 0, CHX_ANY_REAL, "a real one")) return false;
  if (p->dtype && !chxi_want_dtype_attr(c, p->dtype, adds ? CHX_NUMBERS : CHX_ANY_REAL)) return false;
  if (!p->dtype) p->dtype = natural_dtype(p->kind, c->in[0]->dtype);
  if (p->axes.n > 1) return chxi_bad(c, CHX_EARG, "%lld axes are given, want 1 or none", (long long)p->axes.n);
  if (!chxi_cast_operand(c, 0, (int)p->dtype) || !chxi_on_device_operand(c, 0)) return false;
  if (p->axes.n && !chxi_axis(c, &p->axes.v[0], c->in[0]->t.ndim)) return false;
  if (!p->axes.n) { /* flattened */
    c->in[0] = chx_reshape(c->s, c->in[0], 1, (const int64_t[]){c->in[0]->size});
    if (!c->in[0]) return false;
    p->axes = CHX_INTS(0);
  }
  chxi_out_like(c, 0, c->in[0], (int)p->dtype);
  return true;
}

/* ---- gradients -------------------------------------------------------------------------------------------------- */

static chx_array *scan(chx_scope *s, const chx_op *op, const chx_array *x, int axis, bool reverse, bool exclusive)
{
  chx_scan_attr p = CHX_ATTR(scan);
  p.axes = CHX_INTS(axis);
  p.reverse = reverse;
  p.exclusive = exclusive;
  return chxi_apply1(s, op, &p, 1, &x);
}

/* Elements from .. to - 1 along the axis. */
static chx_array *part(chx_scope *s, const chx_array *x, int axis, int64_t from, int64_t to)
{
  return chx_slice_axis(s, x, axis, from, to, 1);
}

/* S with S[j] = b[j] + a[j] S[j + 1], b of n elements along the axis and a of n - 1, by doubling: after the step of
 * width w, b[j] holds the terms from j up to j + 2w - 1 and a[j] the product that carries it over them, so that the
 * last 2w are finished. log2(n) steps of multiplication and addition: no division, so zeros do no harm, and
 * differentiable again. */
static chx_array *backward_recurrence(chx_scope *s, const chx_array *a, const chx_array *b, int axis, int64_t n)
{
  for (int64_t w = 1; w < n && a && b; w *= 2) {
    chx_array *carried = chx_mul(s, a, part(s, b, axis, w, n));
    const chx_array *both[2] = {chx_add(s, part(s, b, axis, 0, n - w), carried), part(s, b, axis, n - w, n)};
    b = chx_concatenate(s, both, 2, axis);
    if (2 * w < n) a = chx_mul(s, part(s, a, axis, 0, n - 2 * w), part(s, a, axis, w, n - w));
  }
  return (chx_array *)b;
}

/* y[i] is the product of x up to i. x[j] is in those from i = j on: its gradient is the product of all before it times
 * S[j] = gy[j] + x[j + 1] S[j + 1], or exclusive, where y[j + 1] is the first with x[j], S[j] = gy[j + 1] + x[j + 1]
 * S[j + 1]. */
static chx_array *grad_product(chx_scope *s, const chx_array *x, const chx_array *g, int axis, bool exclusive)
{
  const int64_t n = x->shape[axis];
  if (exclusive) {
    chx_pad_attr p = CHX_ATTR(pad);
    p.before.n = p.after.n = x->t.ndim;
    p.after.v[axis] = 1;
    g = chx_pad(s, part(s, g, axis, 1, n), &p);
  }
  chx_array *later = backward_recurrence(s, part(s, x, axis, 1, n), g, axis, n);
  return chx_mul(s, scan(s, &chxi_op_cumprod, x, axis, false, true), later);
}

/* Each result's gradient goes to the element it is: the first of equal ones. An extreme changes where it differs from
 * the one before, and the last place of a change so far is where it came from. */
static chx_array *grad_extreme(chx_scope *s, const chx_array *y, const chx_array *g, int axis)
{
  const int64_t n = y->shape[axis];
  int64_t shape[CHX_MAX_RANK];
  chx_array *before = part(s, y, axis, 0, n - 1);
  chx_array *change = chx_not_equal(s, part(s, y, axis, 1, n), before);
  change = chx_logical_and(s, change, chx_logical_not(s, chx_isnan(s, before))); /* a NaN stays */
  for (int i = 0; i < y->t.ndim; i++) shape[i] = i == axis ? n - 1 : 1;
  chx_array *place = chx_reshape(s, chx_arange(s, CHX_I64, 1, 1, n - 1), y->t.ndim, shape);
  chx_pad_attr p = CHX_ATTR(pad);
  p.before.n = p.after.n = y->t.ndim;
  p.before.v[axis] = 1;
  chx_array *from = scan(s, &chxi_op_cummax, chx_pad(s, chxi_or_zero(s, change, place), &p), axis, false, false);
  return chx_scatter_add_along_axis(s, chx_zeros_like(s, g), from, g, axis);
}

static void grad_scan(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chx_scan_attr *p = n->attr;
  const int axis = (int)p->axes.v[0];
  const chx_array *g = n->gy[0], *v = p->kind == CHX_SCAN_PROD ? n->x[0] : n->y[0];
  if (p->kind == CHX_SCAN_SUM) {
    gx[0] = scan(s, &chxi_op_cumsum, g, axis, !p->reverse, p->exclusive);
    return;
  }
  if (v->size == 0) {
    gx[0] = (chx_array *)g;
    return;
  }
  if (p->reverse) {
    v = chx_flip(s, v, 1, &axis);
    g = chx_flip(s, g, 1, &axis);
  }
  if (!v || !g) return;
  gx[0] = p->kind == CHX_SCAN_PROD ? grad_product(s, v, g, axis, p->exclusive) : grad_extreme(s, v, g, axis);
  if (p->reverse) gx[0] = chx_flip(s, gx[0], 1, &axis);
}

/* ---- entries ---------------------------------------------------------------------------------------------------- */

#define ENTRY(text, doc_, kind_, kx, ky, ...) \
  const chx_op chxi_op_##text = {.name = #text, .doc = doc_, .id = CHXI_OP_##text, .version = 1, .kind = CHXI_KERNEL, .inputs = {"x"}, \
    .outputs = {"y"}, .n_in = 1, .n_required = 1, .n_out = 1, CHXI_ATTRS(scan), .keep_x = kx, .keep_y = ky, .dtypes = CHX_ANY_REAL, \
    .primitive_kind = kind_, .infer = infer_scan, .grad = grad_scan, __VA_ARGS__}
#define BY_SCAN .primitive = "scan"
ENTRY(cumsum, "the sums along an axis up to each element", CHX_SCAN_SUM, 0, 0, BY_SCAN);
ENTRY(cumprod, "the products along an axis up to each element", CHX_SCAN_PROD, 1, 0, BY_SCAN);
ENTRY(cummax, "the largest along an axis up to each element; NaN from the first NaN on", CHX_SCAN_MAX, 0, 1, BY_SCAN);
ENTRY(cummin, "the smallest along an axis up to each element; NaN from the first NaN on", CHX_SCAN_MIN, 0, 1, BY_SCAN);
ENTRY(scan, "the cumulative reduction along an axis that the attribute's kind names", 0, 1, 1, .inner = true);

#define NAMED(name) \
  chx_array *chx_##name(chx_scope *s, const chx_array *x, int axis) \
  { \
    chx_scan_attr p = CHX_ATTR(scan); \
    p.axes = CHX_INTS(axis); \
    return chxi_op1(s, name, &p, x); \
  }
NAMED(cumsum)
NAMED(cumprod)
NAMED(cummax)
NAMED(cummin)

chx_array *chx_scan(chx_scope *s, const chx_array *x, const chx_scan_attr *p) { return chxi_op1(s, scan, p, x); }
