/* SPDX-License-Identifier: MIT
 * op_reduce.c: reductions over axes. Kernels see the output with the rank of x, reduced axes having length 1.
 */
#include "opfile.h"

/* ---- shapes ------------------------------------------------------------------------------------------------------------- */

/* A 0-d x is seen with one axis of length 1, since kernels reduce at least one. */
static bool at_least_1d(chxi_call *c)
{
  if (!chxi_on_device_operand(c, 0)) return false;
  if (c->in[0]->t.ndim) return true;
  c->in[0] = chx_reshape(c->s, c->in[0], 1, (const int64_t[]){1});
  return c->in[0] != NULL;
}

static void out_reduced(chxi_call *c, int dtype, const chx_ints *axes, bool keepdims)
{
  const chx_array *x = c->in[0];
  struct chxi_out *y = &c->out[0];
  int64_t k = 0;
  y->dtype = dtype;
  y->ndim = 0;
  for (int i = 0; i < x->t.ndim; i++) {
    bool reduced = k < axes->n && axes->v[k] == i;
    k += reduced;
    if (!reduced) y->shape[y->ndim++] = x->shape[i];
    else if (keepdims) y->shape[y->ndim++] = 1;
  }
}

static int64_t reduced_length(const chxi_call *c, const chx_ints *axes)
{
  int64_t n = 1;
  for (int64_t k = 0; k < axes->n; k++) n *= c->in[0]->shape[axes->v[k]];
  return n;
}

static bool not_empty(chxi_call *c, const chx_ints *axes)
{
  char text[128];
  if (reduced_length(c, axes)) return true;
  int64_t kept = 1; /* where nothing is asked for, nothing is missing */
  for (int i = 0; i < c->out[0].ndim; i++) kept *= c->out[0].shape[i];
  if (!kept) return true;
  return chxi_bad(c, CHX_ESHAPE, "shape is %s, want at least 1 element to reduce",
                  chxi_shape_text(text, c->in[0]->t.ndim, c->in[0]->shape));
}

/* The output in keepdims form. */
static void arrange_reduced(chxi_call *c, const chx_ints *axes)
{
  const chx_array *x = c->in[0], *y = c->y[0];
  int64_t shape[CHX_MAX_RANK], strides[CHX_MAX_RANK], k = 0;
  int j = 0;
  if (y->t.ndim == x->t.ndim) return;
  for (int i = 0; i < x->t.ndim; i++) {
    bool reduced = k < axes->n && axes->v[k] == i;
    k += reduced;
    shape[i] = reduced ? 1 : y->shape[j];
    strides[i] = reduced ? 1 : y->strides[j++];
  }
  chxi_arrange(c, CHXI_KERNEL_IN, x->t.ndim, shape, strides);
}

/* ---- sum, prod, mean, amax, amin, all, any, reduce ------------------------------------------------------------------ */

/* The dtype that `kind` accumulates x in, as NumPy chooses it. */
static int natural_dtype(uint32_t kind, int dtype)
{
  const chxi_dtype_row *d = &chxi_dtypes[dtype];
  switch (kind) {
  case CHX_REDUCE_SUM:
  case CHX_REDUCE_PROD: return d->kind == 'U' ? CHX_U64 : d->kind == 'F' ? dtype : CHX_I64;
  case CHX_REDUCE_MEAN: return d->kind == 'F' ? dtype : CHX_F64;
  case CHX_REDUCE_ALL:
  case CHX_REDUCE_ANY: return CHX_BOOL;
  default: return dtype;
  }
}

static bool infer_reduce(chxi_call *c)
{
  chx_reduce_attr *p = c->attr;
  if (c->op->primitive_kind) p->kind = c->op->primitive_kind;
  if (p->kind < CHX_REDUCE_SUM || p->kind > CHX_REDUCE_MEAN)
    return chxi_bad(c, CHX_EARG, "attribute 'kind' is %u, want CHX_REDUCE_SUM to CHX_REDUCE_MEAN", p->kind);
  if (!chxi_want_dtypes(c, 0, CHX_ANY_REAL, "a real one")) return false;
  uint64_t makes = p->kind == CHX_REDUCE_MEAN                                ? CHX_FLOATS
                   : p->kind == CHX_REDUCE_ALL || p->kind == CHX_REDUCE_ANY  ? CHX_BIT(CHX_BOOL)
                   : p->kind == CHX_REDUCE_SUM || p->kind == CHX_REDUCE_PROD ? CHX_NUMBERS
                                                                             : CHX_ANY_REAL;
  if (p->dtype && !chxi_want_dtype_attr(c, p->dtype, makes)) return false;
  if (!p->dtype) p->dtype = natural_dtype(p->kind, c->in[0]->dtype);
  if (c->in[0]->t.ndim == 0 && p->axes.n)
    return chxi_bad(c, CHX_EARG, "axis %lld is out of range for rank 0, want none", (long long)p->axes.v[0]);
  if (c->in[0]->t.ndim == 0) p->keepdims = 0;
  if (!chxi_cast_operand(c, 0, (int)p->dtype) || !at_least_1d(c) || !chxi_axes(c, &p->axes, c->in[0]->t.ndim))
    return false;
  out_reduced(c, (int)p->dtype, &p->axes, p->keepdims);
  return (p->kind != CHX_REDUCE_MAX && p->kind != CHX_REDUCE_MIN) || not_empty(c, &p->axes);
}

static void arrange_reduce(chxi_call *c) { arrange_reduced(c, &((chx_reduce_attr *)c->attr)->axes); }

/* ---- their gradients ------------------------------------------------------------------------------------------------ */

static chx_array *spread(chx_scope *s, const chx_node *n, const chx_array *a, const chx_ints *axes)
{
  a = chxi_keepdims(s, a, n->in[0].ndim, n->in[0].shape, axes);
  return chx_broadcast_to(s, a, n->in[0].ndim, n->in[0].shape);
}

/* Among ties the gradient is shared equally. */
static void grad_extreme(chx_scope *s, const chx_node *n, chx_array **gx, const chx_ints *axes)
{
  const chxi_meta *x = &n->in[0];
  chx_array *best = chx_equal(s, n->x[0], chxi_keepdims(s, n->y[0], x->ndim, x->shape, axes));
  chx_array *ties = chxi_sum_axes(s, chx_cast(s, best, n->out[0].dtype), axes, 1);
  chx_array *share = chx_div(s, chxi_keepdims(s, n->gy[0], x->ndim, x->shape, axes), ties);
  gx[0] = chxi_or_zero(s, best, share);
}

/* The products, along an axis, of all elements before each (after each, if `after`), by doubling: log2(n) steps of
 * multiplication, which unlike y / x is right and differentiable again where x is 0. */
static chx_array *exclusive_products(chx_scope *s, const chx_array *x, int axis, bool after)
{
  const int64_t n = x->shape[axis];
  for (int64_t k = 0, step = 1; step < n || k == 0; step *= k ? 2 : 1, k++) {
    chx_pad_attr p = CHX_ATTR(pad);
    p.before.n = p.after.n = x->t.ndim;
    (after ? &p.after : &p.before)->v[axis] = step;
    p.value = 1;
    const chx_array *part =
        after ? chx_slice_axis(s, x, axis, step, CHX_SLICE_NONE, 1) : chx_slice_axis(s, x, axis, 0, n - step, 1);
    const chx_array *moved = chx_pad(s, part, &p);
    x = k ? chx_mul(s, x, moved) : moved; /* the first move makes it exclusive */
    if (!x) break;
  }
  return (chx_array *)x;
}

static void grad_prod(chx_scope *s, const chx_node *n, chx_array **gx, const chx_ints *axes)
{
  const chxi_meta *in = &n->in[0];
  const chx_array *x = n->x[0], *g = chxi_keepdims(s, n->gy[0], in->ndim, in->shape, axes);
  int perm[CHX_MAX_RANK], back[CHX_MAX_RANK], m = 0, kept = in->ndim - (int)axes->n;
  int64_t shape[CHX_MAX_RANK], moved[CHX_MAX_RANK], length = 1;
  if (x->size == 0) {
    gx[0] = spread(s, n, n->gy[0], axes);
    return;
  }
  for (int i = 0, k = 0; i < in->ndim; i++) {
    if (k < axes->n && axes->v[k] == i) length *= in->shape[i], k++;
    else perm[m++] = i;
  }
  for (int i = 0; i < kept; i++) shape[i] = in->shape[perm[i]];
  shape[kept] = length;
  for (int64_t k = 0; k < axes->n; k++) perm[m++] = (int)axes->v[k];
  for (int i = 0; i < in->ndim; i++) {
    moved[i] = in->shape[perm[i]];
    back[perm[i]] = i;
  }
  x = chx_reshape(s, chx_transpose(s, x, in->ndim, perm), kept + 1, shape);
  if (!x) return;
  chx_array *others = chx_mul(s, exclusive_products(s, x, kept, false), exclusive_products(s, x, kept, true));
  others = chx_transpose(s, chx_reshape(s, others, in->ndim, moved), in->ndim, back);
  gx[0] = chx_mul(s, g, others);
}

static void grad_reduce(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chx_reduce_attr *p = n->attr;
  double length = 1;
  switch (p->kind) {
  case CHX_REDUCE_SUM: gx[0] = spread(s, n, n->gy[0], &p->axes); break;
  case CHX_REDUCE_MEAN:
    for (int64_t k = 0; k < p->axes.n; k++) length *= (double)n->in[0].shape[p->axes.v[k]];
    gx[0] = spread(s, n, chxi_times(s, n->gy[0], 1 / length), &p->axes);
    break;
  case CHX_REDUCE_MAX:
  case CHX_REDUCE_MIN: grad_extreme(s, n, gx, &p->axes); break;
  case CHX_REDUCE_PROD: grad_prod(s, n, gx, &p->axes); break;
  default: break;
  }
}

#define ENTRY(text, doc_, kind_, kx, ky, ...) \
  const chx_op chxi_op_##text = {.name = #text, .doc = doc_, .id = CHXI_OP_##text, .version = 1, .kind = CHXI_KERNEL, .inputs = {"x"}, \
    .outputs = {"y"}, .n_in = 1, .n_required = 1, .n_out = 1, CHXI_ATTRS(reduce), .keep_x = kx, .keep_y = ky, .dtypes = CHX_ANY_REAL, \
    .primitive_kind = kind_, .infer = infer_reduce, .arrange = arrange_reduce, __VA_ARGS__}
#define BY_REDUCE .primitive = "reduce"
ENTRY(sum, "the sum over axes", CHX_REDUCE_SUM, 0, 0, BY_REDUCE, .grad = grad_reduce);
ENTRY(prod, "the product over axes", CHX_REDUCE_PROD, 1, 0, BY_REDUCE, .grad = grad_reduce);
ENTRY(mean, "the mean over axes", CHX_REDUCE_MEAN, 0, 0, BY_REDUCE, .grad = grad_reduce);
ENTRY(amax, "the largest over axes; NaN if any is", CHX_REDUCE_MAX, 1, 1, BY_REDUCE, .grad = grad_reduce);
ENTRY(amin, "the smallest over axes; NaN if any is", CHX_REDUCE_MIN, 1, 1, BY_REDUCE, .grad = grad_reduce);
ENTRY(all, "whether all over axes are not 0", CHX_REDUCE_ALL, 0, 0, BY_REDUCE);
ENTRY(any, "whether any over axes is not 0", CHX_REDUCE_ANY, 0, 0, BY_REDUCE);
ENTRY(reduce, "the reduction over axes that the attribute's kind names", 0, 1, 1, .grad = grad_reduce, .inner = true);

/* ---- argmax, argmin --------------------------------------------------------------------------------------------------------- */

static bool infer_arg(chxi_call *c)
{
  chx_arg_reduce_attr *p = c->attr;
  int rank = c->in[0]->t.ndim;
  if (!chxi_want_dtypes(c, 0, CHX_ANY_REAL, "a real one")) return false;
  if (p->axes.n > 1) return chxi_bad(c, CHX_EARG, "%lld axes are given, want 1 or none", (long long)p->axes.n);
  if (c->in[0]->weak && !chxi_cast_operand(c, 0, c->in[0]->dtype)) return false;
  if (!chxi_on_device_operand(c, 0) || (p->axes.n && !chxi_axis(c, &p->axes.v[0], rank))) return false;
  if (!p->axes.n) { /* flattened, with as many axes of length 1 before as are to be kept */
    int64_t shape[CHX_MAX_RANK];
    int n = p->keepdims && rank ? rank : 1;
    for (int i = 0; i < n; i++) shape[i] = i == n - 1 ? c->in[0]->size : 1;
    if (!(c->in[0] = chx_reshape(c->s, c->in[0], n, shape))) return false;
    p->axes = CHX_INTS(n - 1);
    if (!rank) p->keepdims = 0;
  }
  out_reduced(c, CHX_I64, &p->axes, p->keepdims);
  return not_empty(c, &p->axes);
}

static void arrange_arg(chxi_call *c) { arrange_reduced(c, &((chx_arg_reduce_attr *)c->attr)->axes); }

#define ARG(text, doc_) \
  const chx_op chxi_op_##text = {.name = #text, .doc = doc_, .id = CHXI_OP_##text, .version = 1, .kind = CHXI_KERNEL, .inputs = {"x"}, \
    .outputs = {"indices"}, .n_in = 1, .n_required = 1, .n_out = 1, CHXI_ATTRS(arg_reduce), .dtypes = CHX_ANY_REAL, .infer = infer_arg, \
    .arrange = arrange_arg}
ARG(argmax, "the index of the first largest along an axis, or of the flattened array");
ARG(argmin, "the index of the first smallest along an axis, or of the flattened array");

/* ---- logsumexp ---------------------------------------------------------------------------------------------------------------- */

static bool infer_logsumexp(chxi_call *c)
{
  chx_reduce_attr *p = c->attr;
  if (p->dtype && !chxi_want_dtype_attr(c, p->dtype, CHX_FLOATS)) return false;
  if (!chxi_want_dtypes(c, 0, CHX_ANY_REAL, "a real one") ||
      !(p->dtype ? chxi_cast_operand(c, 0, (int)p->dtype) : chxi_need_float(c, 0)))
    return false;
  p->dtype = c->in[0]->dtype;
  if (c->in[0]->t.ndim == 0) p->keepdims = 0;
  if (c->in[0]->t.ndim == 0 && p->axes.n)
    return chxi_bad(c, CHX_EARG, "axis %lld is out of range for rank 0, want none", (long long)p->axes.v[0]);
  if (!at_least_1d(c) || !chxi_axes(c, &p->axes, c->in[0]->t.ndim)) return false;
  out_reduced(c, (int)p->dtype, &p->axes, p->keepdims);
  return not_empty(c, &p->axes);
}

/* log(sum(exp(x - m))) + m with m the largest element, or 0 where that is infinite. */
static void decompose_logsumexp(chx_scope *s, chxi_call *c, chx_array **out)
{
  const chx_reduce_attr *p = c->attr;
  const chx_array *x = c->in[0];
  chx_array *m = chxi_amax_axes(s, x, &p->axes, 1);
  m = chxi_or_zero(s, chx_isfinite(s, m), m);
  chx_array *y = chx_add(s, chx_log(s, chxi_sum_axes(s, chx_exp(s, chx_sub(s, x, m)), &p->axes, 1)), m);
  out[0] = chx_reshape(s, y, c->out[0].ndim, c->out[0].shape);
}

static void grad_logsumexp(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chx_reduce_attr *p = n->attr;
  const chxi_meta *x = &n->in[0];
  chx_array *part = chx_exp(s, chx_sub(s, n->x[0], chxi_keepdims(s, n->y[0], x->ndim, x->shape, &p->axes)));
  gx[0] = chx_mul(s, chxi_keepdims(s, n->gy[0], x->ndim, x->shape, &p->axes), part);
}

const chx_op chxi_op_logsumexp = {.name = "logsumexp",
                                  .doc = "the logarithm of the sum of e^x over axes",
                                  .id = CHXI_OP_logsumexp,
                                  .version = 1,
                                  .kind = CHXI_COMPOSITE,
                                  .inputs = {"x"},
                                  .outputs = {"y"},
                                  .n_in = 1,
                                  .n_required = 1,
                                  .n_out = 1,
                                  CHXI_ATTRS(reduce),
                                  .keep_x = 1,
                                  .keep_y = 1,
                                  .dtypes = CHX_FLOATS,
                                  .parts = "amax isfinite where sub exp sum log add",
                                  .infer = infer_logsumexp,
                                  .grad = grad_logsumexp,
                                  .decompose = decompose_logsumexp};
