/* SPDX-License-Identifier: MIT
 * lines.c: what costs memory traffic rather than arithmetic: pooling, softmax, normalisation, copies.
 *
 * Of pooling, averages alone: chx's max_pool gives the positions of the maxima too, and oneDNN's training form keeps
 * them in a workspace whose content is its own affair.
 */
#include "dn.h"

static bool is_dense(const chx_tensor *t) { return (t->flags & CHX_T_CONTIGUOUS) != 0; }

static bool all_dense(const chx_call *c)
{
  if (!dn_all_plain(c)) return false;
  for (uint32_t i = 0; i < c->n_in; i++)
    if (!dn_absent(c, i) && !is_dense(&c->in[i])) return false;
  for (uint32_t o = 0; o < c->n_out; o++)
    if (!is_dense(&c->out[o])) return false;
  return true;
}

/* ---- avg_pool, avg_pool_grad ------------------------------------------------------------------------------------- */

static bool measure_pool(const chx_call *c, dn_size *size)
{
  const chx_tensor *x = &c->in[0];
  const chx_pool_attr *p = c->attr;
  if (!all_dense(c) || x->ndim > 5) return false;
  double window = 1;
  for (int i = 0; i < x->ndim - 2; i++) window *= (double)p->ksize.v[i];
  size->work = (double)(p->shape.n ? dn_count(x) : dn_count(&c->out[0])) * window;
  size->form = p->layout == CHX_CHANNELS_LAST ? DN_LAST : DN_FIRST;
  size->narrow = 1;
  return true;
}

static void describe_pool(const chx_call *c, const dn_size *size, dn_draft *d, bool back)
{
  const chx_pool_attr *p = c->attr;
  const int x_at = back ? DN_OUT : 0, y_at = back ? 0 : DN_OUT;
  const chx_tensor *x = dn_operand(c, x_at), *y = dn_operand(c, y_at);
  const bool last = p->layout == CHX_CHANNELS_LAST;
  int axes[DN_RANK] = {0, last ? x->ndim - 1 : 1};
  d->op.kind = back ? DN_POOL_BACK : DN_POOL;
  d->op.prop = dnnl_forward_inference;
  d->op.alg = p->exclude_pad ? dnnl_pooling_avg_exclude_padding : dnnl_pooling_avg_include_padding;
  for (int i = 0; i < x->ndim - 2; i++) {
    const int a = axes[2 + i] = (last ? 1 : 2) + i;
    /* cover_all may need more behind than pad; never less is given, which rounds down as the core does */
    const int64_t after = (y->shape[a] - 1) * p->stride.v[i] + p->ksize.v[i] - x->shape[a] - p->pad.v[i];
    d->op.stride[i] = p->stride.v[i];
    d->op.kernel[i] = p->ksize.v[i];
    d->op.before[i] = p->pad.v[i];
    d->op.after[i] = after > p->pad.v[i] ? after : p->pad.v[i];
  }
  dn_draft_add(d, c, back ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, x_at, x->ndim, axes)->split = 0;
  dn_draft_add(d, c, back ? DNNL_ARG_DIFF_DST : DNNL_ARG_DST, y_at, x->ndim, axes)->split = 0;
  dn_draft_split(d, x->shape[0], 1, size->work, DN_GRAIN_ELEMENTS);
}

static void describe_avg_pool(const chx_call *c, const dn_size *size, dn_draft *d) { describe_pool(c, size, d, false); }
static void describe_avg_pool_grad(const chx_call *c, const dn_size *size, dn_draft *d)
{
  describe_pool(c, size, d, true);
}
const dn_family dn_avg_pool = {measure_pool, describe_avg_pool};
const dn_family dn_avg_pool_grad = {measure_pool, describe_avg_pool_grad};

/* ---- softmax --------------------------------------------------------------------------------------------------------
 * Not log_softmax: where the result should be 0, oneDNN 2.6 gives 1e-6, by its approximation of the logarithm. */

/* Replaces the axes of a dense operand by [before, axis, after]. */
static void three_axes(dn_arg *a, const chx_tensor *t, int axis, int upto)
{
  a->dims[0] = a->dims[1] = a->dims[2] = 1;
  for (int k = 0; k < t->ndim; k++) a->dims[k < axis ? 0 : k < upto ? 1 : 2] *= t->shape[k];
  a->strides[2] = 1;
  a->strides[1] = a->dims[2];
  a->strides[0] = a->dims[1] * a->dims[2];
  a->ndims = 3;
}

static const int no_axes[3] = {-1, -1, -1};

static dn_arg *add_three(dn_draft *d, const chx_call *c, int id, int operand, int axis, int upto)
{
  dn_arg *a = dn_draft_add(d, c, id, operand, 3, no_axes);
  three_axes(a, dn_operand(c, operand), axis, upto);
  return a;
}

static bool measure_softmax(const chx_call *c, dn_size *size)
{
  if (!all_dense(c)) return false;
  *size = (dn_size){DN_FIRST, (double)dn_count(&c->out[0]), 1};
  int64_t inner = 1; /* across memory there is but reference code */
  for (int k = (int)((const chx_softmax_attr *)c->attr)->axis + 1; k < c->in[0].ndim; k++) inner *= c->in[0].shape[k];
  return inner == 1;
}

static void describe_softmax(const chx_call *c, const dn_size *size, dn_draft *d)
{
  const int axis = (int)((const chx_softmax_attr *)c->attr)->axis;
  d->op.kind = DN_SOFTMAX;
  d->op.prop = dnnl_forward_inference;
  d->op.alg = dnnl_softmax_accurate;
  d->op.axis = 1;
  dn_arg *x = add_three(d, c, DNNL_ARG_SRC, 0, axis, axis + 1);
  dn_arg *y = add_three(d, c, DNNL_ARG_DST, DN_OUT, axis, axis + 1);
  x->ndims = y->ndims = 2;
  x->split = y->split = 0;
  dn_draft_split(d, x->dims[0], 1, size->work, DN_GRAIN_ELEMENTS);
}

const dn_family dn_softmax = {measure_softmax, describe_softmax};

/* ---- batch_norm, fixed_batch_norm, layer_norm -------------------------------------------------------------------- */

static bool measure_batch_norm(const chx_call *c, dn_size *size)
{
  const chx_batch_norm_attr *p = c->attr;
  const chx_tensor *x = &c->in[0];
  if (!all_dense(c)) return false;
  *size = (dn_size){p->layout == CHX_CHANNELS_LAST ? DN_LAST : DN_FIRST, (double)dn_count(x), 1};
  return true;
}

/* x or y as [N, C, S, 1]. */
static void add_image(dn_draft *d, const chx_call *c, int id, int operand)
{
  const bool last = ((const chx_batch_norm_attr *)c->attr)->layout == CHX_CHANNELS_LAST;
  const chx_tensor *t = dn_operand(c, operand);
  const int n = t->ndim, at = last ? n - 1 : 1;
  dn_arg *a = add_three(d, c, id, operand, 1, last ? n - 1 : 2);
  const int64_t channels = t->shape[at], space = last ? a->dims[1] : a->dims[2];
  a->ndims = 4;
  a->dims[1] = channels;
  a->dims[2] = space;
  a->dims[3] = 1;
  a->strides[0] = channels * space;
  a->strides[1] = last ? 1 : space;
  a->strides[2] = a->strides[3] = last ? channels : 1;
  a->split = 0;
}

static void describe_statistics(const chx_call *c, dn_draft *d, int mean, int var)
{
  static const int only[] = {0};
  d->op.kind = DN_BATCH_NORM;
  d->op.eps = (float)((const chx_batch_norm_attr *)c->attr)->eps;
  d->op.flags = dnnl_use_scale | dnnl_use_shift;
  add_image(d, c, DNNL_ARG_SRC, 0);
  dn_draft_add(d, c, DNNL_ARG_SCALE, 1, 1, only);
  dn_draft_add(d, c, DNNL_ARG_SHIFT, 2, 1, only);
  dn_draft_add(d, c, DNNL_ARG_MEAN, mean, 1, only);
  dn_draft_add(d, c, DNNL_ARG_VARIANCE, var, 1, only);
  add_image(d, c, DNNL_ARG_DST, DN_OUT);
}

static void describe_batch_norm(const chx_call *c, const dn_size *size, dn_draft *d)
{
  (void)size; /* sums over all images: one part */
  describe_statistics(c, d, DN_OUT + 1, DN_OUT + 2);
  d->op.prop = dnnl_forward_training;
}

static void describe_fixed(const chx_call *c, const dn_size *size, dn_draft *d)
{
  describe_statistics(c, d, 3, 4);
  d->op.prop = dnnl_forward_inference;
  d->op.flags |= dnnl_use_global_stats;
  dn_draft_split(d, c->in[0].shape[0], 1, size->work, DN_GRAIN_ELEMENTS);
}

static bool measure_layer_norm(const chx_call *c, dn_size *size)
{
  if (!all_dense(c)) return false;
  *size = (dn_size){DN_FIRST, (double)dn_count(&c->in[0]), 1};
  return true;
}

static void describe_layer_norm(const chx_call *c, const dn_size *size, dn_draft *d)
{
  const int n = c->in[0].ndim, m = c->in[1].ndim;
  static const struct { int id, operand; } parts[] = {
    {DNNL_ARG_SRC, 0}, {DNNL_ARG_SCALE, 1}, {DNNL_ARG_SHIFT, 2}, {DNNL_ARG_DST, DN_OUT}};
  d->op.kind = DN_LAYER_NORM;
  d->op.prop = dnnl_forward_inference;
  d->op.eps = (float)((const chx_layer_norm_attr *)c->attr)->eps;
  d->op.flags = dnnl_use_scale | dnnl_use_shift;
  for (int i = 0; i < 4; i++) {
    const bool vector = parts[i].operand == 1 || parts[i].operand == 2;
    dn_arg *a = add_three(d, c, parts[i].id, parts[i].operand, vector ? 0 : n - m, vector ? m : n);
    a->ndims = vector ? 1 : 2;
    a->split = vector ? -1 : 0;
    if (!vector) continue;
    a->dims[0] = a->dims[1];
    a->strides[0] = 1;
  }
  dn_draft_split(d, d->arg[0].dims[0], 1, size->work, DN_GRAIN_ELEMENTS);
}

const dn_family dn_batch_norm = {measure_batch_norm, describe_batch_norm};
const dn_family dn_fixed_batch_norm = {measure_batch_norm, describe_fixed};
const dn_family dn_layer_norm = {measure_layer_norm, describe_layer_norm};

/* ---- copy -----------------------------------------------------------------------------------------------------------
 * Of transposed arrays: a dense one is copied as fast as memory goes, and so are casts, by native too. */

static bool measure_copy(const chx_call *c, dn_size *size)
{
  const chx_tensor *x = &c->in[0], *y = &c->out[0];
  bool along = false; /* some other axis than the last lies densely */
  if (y->ndim < 2 || y->ndim > DN_RANK || !dn_all_plain(c) || !is_dense(y)) return false;
  if (x->strides[x->ndim - 1] == 1) return false;
  for (int k = 0; k < x->ndim - 1; k++) along |= x->strides[k] == 1 && x->shape[k] > 1;
  *size = (dn_size){DN_FIRST, (double)dn_count(y), 1};
  return along && CHX_T_DTYPE(x) == CHX_T_DTYPE(y);
}

static void describe_copy(const chx_call *c, const dn_size *size, dn_draft *d)
{
  static const int axes[DN_RANK] = {0, 1, 2, 3, 4, 5};
  d->op.kind = DN_REORDER;
  dn_draft_add(d, c, DNNL_ARG_FROM, 0, c->out[0].ndim, axes)->split = 0;
  dn_draft_add(d, c, DNNL_ARG_TO, DN_OUT, c->out[0].ndim, axes)->split = 0;
  dn_draft_split(d, c->out[0].shape[0], 16, size->work, DN_GRAIN_ELEMENTS);
}

const dn_family dn_copy = {measure_copy, describe_copy};
