/* SPDX-License-Identifier: MIT
 * op_norm.c: batch_norm, with the batch's or with given statistics, and layer_norm.
 *
 * With xh = (x - mean) * inv, inv = (var + eps)^-1/2 and means over the m normalised elements, y = gamma xh + beta has
 *   gx = gamma inv (gy - mean(gy) - xh mean(gy xh))
 * (layer_norm: with gamma gy for gy). It is written with x, mean and var, so that it is differentiable again.
 */
#include "opfile.h"

/* ---- batch_norm --------------------------------------------------------------------------------------------------------- */

static int channel_axis(int64_t layout, int ndim) { return layout == CHX_CHANNELS_LAST ? ndim - 1 : 1; }

static chx_ints other_axes(int ndim, int channel)
{
  chx_ints axes = {0, {0}};
  for (int i = 0; i < ndim; i++)
    if (i != channel) axes.v[axes.n++] = i;
  return axes;
}

/* Checks x and the operands of shape [C] after it. */
static bool good_channels(chxi_call *c)
{
  const chx_batch_norm_attr *p = c->attr;
  char t1[128], t2[128];
  if (p->layout != CHX_CHANNELS_FIRST && p->layout != CHX_CHANNELS_LAST)
    return chxi_bad(c, CHX_EARG, "attribute 'layout' is %lld, want CHX_CHANNELS_FIRST or CHX_CHANNELS_LAST",
                    (long long)p->layout);
  if (!chxi_float_operands(c, 0, c->op->n_in - 1) || !chxi_need_rank(c, 0, 2, CHX_MAX_RANK)) return false;
  const chx_array *x = c->in[0];
  int64_t channels = x->shape[channel_axis(p->layout, x->t.ndim)];
  for (int i = 1; i < c->op->n_in; i++)
    if (c->in[i]->t.ndim != 1 || c->in[i]->shape[0] != channels)
      return chxi_bad(c, CHX_ESHAPE, "shapes of x and %s are %s and %s, want the latter [%lld], the channels of x",
                      c->op->inputs[i], chxi_shape_text(t1, x->t.ndim, x->shape),
                      chxi_shape_text(t2, c->in[i]->t.ndim, c->in[i]->shape), (long long)channels);
  chxi_out_like(c, 0, x, x->dtype);
  return true;
}

static bool infer_batch_norm(chxi_call *c)
{
  if (!good_channels(c)) return false;
  chxi_out_like(c, 1, c->in[1], c->in[0]->dtype);
  chxi_out_like(c, 2, c->in[1], c->in[0]->dtype);
  return true;
}

static chx_array *inverse_std(chx_scope *s, const chx_array *var, double eps)
{
  return chx_rsqrt(s, chxi_plus(s, var, eps));
}

static void decompose_batch_norm(chx_scope *s, chxi_call *c, chx_array **out)
{
  const chx_batch_norm_attr *p = c->attr;
  const chx_array *x = c->in[0];
  int n = x->t.ndim, at = channel_axis(p->layout, n);
  chx_ints axes = other_axes(n, at);
  chx_array *mean = chxi_mean_axes(s, x, &axes, 1), *d = chx_sub(s, x, mean);
  chx_array *var = chxi_mean_axes(s, chx_square(s, d), &axes, 0);
  chx_array *scale = chxi_like_channel(s, chx_mul(s, inverse_std(s, var, p->eps), c->in[1]), n, at);
  out[0] = chx_add(s, chx_mul(s, d, scale), chxi_like_channel(s, c->in[2], n, at));
  out[1] = chx_reshape(s, mean, 1, (const int64_t[]){-1});
  out[2] = var;
}

/* The outputs mean and var are differentiable too: mean' = 1/m, var' = 2 (x - mean) / m. */
static void grad_batch_norm(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chx_batch_norm_attr *p = n->attr;
  const chx_array *x = n->x[0];
  int ndim = x->t.ndim, at = channel_axis(p->layout, ndim);
  chx_ints axes = other_axes(ndim, at);
  const double m = x->shape[at] && x->size ? (double)(x->size / x->shape[at]) : 1;
  chx_array *d = chx_sub(s, x, chxi_like_channel(s, n->y[1], ndim, at)), *g = NULL;
  if (n->gy[0]) {
    const chx_array *gy = n->gy[0];
    chx_array *inv = inverse_std(s, n->y[2], p->eps);
    chx_array *xh = chx_mul(s, d, chxi_like_channel(s, inv, ndim, at));
    chx_array *gbeta = chxi_sum_axes(s, gy, &axes, 0), *ggamma = chxi_sum_axes(s, chx_mul(s, gy, xh), &axes, 0);
    if (n->need[0]) {
      chx_array *mean_g = chxi_like_channel(s, chxi_times(s, gbeta, 1 / m), ndim, at),
                *mean_gx = chxi_like_channel(s, chxi_times(s, ggamma, 1 / m), ndim, at);
      chx_array *rest = chx_sub(s, chx_sub(s, gy, mean_g), chx_mul(s, xh, mean_gx));
      g = chx_mul(s, rest, chxi_like_channel(s, chx_mul(s, n->x[1], inv), ndim, at));
    }
    gx[1] = ggamma;
    gx[2] = gbeta;
  }
  if (n->need[0] && n->gy[1]) {
    chx_array *t = chxi_like_channel(s, chxi_times(s, n->gy[1], 1 / m), ndim, at);
    g = g ? chx_add(s, g, t) : chx_broadcast_to(s, t, ndim, x->shape);
  }
  if (n->need[0] && n->gy[2]) {
    chx_array *t = chx_mul(s, d, chxi_like_channel(s, chxi_times(s, n->gy[2], 2 / m), ndim, at));
    g = g ? chx_add(s, g, t) : t;
  }
  gx[0] = g;
}

const chx_op chxi_op_batch_norm = {
    .name = "batch_norm",
    .doc = "gamma (x - mean) / sqrt(var + eps) + beta by the batch's mean and biased variance per channel",
    .id = CHXI_OP_batch_norm,
    .version = 1,
    .kind = CHXI_COMPOSITE,
    .inputs = {"x", "gamma", "beta"},
    .outputs = {"y", "mean", "var"},
    .n_in = 3,
    .n_required = 3,
    .n_out = 3,
    CHXI_ATTRS(batch_norm),
    .keep_x = 3,
    .keep_y = 6,
    .dtypes = CHX_FLOATS,
    .parts = "mean sub square add rsqrt mul",
    .infer = infer_batch_norm,
    .grad = grad_batch_norm,
    .decompose = decompose_batch_norm};

/* ---- fixed_batch_norm ----------------------------------------------------------------------------------------------------- */

static void decompose_fixed(chx_scope *s, chxi_call *c, chx_array **out)
{
  const chx_batch_norm_attr *p = c->attr;
  const chx_array *x = c->in[0];
  int n = x->t.ndim, at = channel_axis(p->layout, n);
  chx_array *scale = chxi_like_channel(s, chx_mul(s, inverse_std(s, c->in[4], p->eps), c->in[1]), n, at);
  chx_array *d = chx_sub(s, x, chxi_like_channel(s, c->in[3], n, at));
  out[0] = chx_add(s, chx_mul(s, d, scale), chxi_like_channel(s, c->in[2], n, at));
}

const chx_op chxi_op_fixed_batch_norm = {
    .name = "fixed_batch_norm",
    .doc = "gamma (x - mean) / sqrt(var + eps) + beta by a given mean and variance per channel",
    .id = CHXI_OP_fixed_batch_norm,
    .version = 1,
    .kind = CHXI_COMPOSITE,
    .inputs = {"x", "gamma", "beta", "mean", "var"},
    .outputs = {"y"},
    .n_in = 5,
    .n_required = 5,
    .n_out = 1,
    CHXI_ATTRS(batch_norm),
    .dtypes = CHX_FLOATS,
    .parts = "sub add rsqrt mul",
    .infer = good_channels,
    .decompose = decompose_fixed};

/* ---- layer_norm ------------------------------------------------------------------------------------------------------------ */

static bool infer_layer_norm(chxi_call *c)
{
  char t1[128], t2[128];
  if (!chxi_float_operands(c, 0, 2) || !chxi_need_rank(c, 1, 1, CHX_MAX_RANK)) return false;
  const chx_array *x = c->in[0], *gamma = c->in[1], *beta = c->in[2];
  int n = x->t.ndim, m = gamma->t.ndim;
  if (m > n || !chxi_same_shape(m, gamma->shape, m, x->shape + n - m))
    return chxi_bad(c, CHX_ESHAPE, "shapes of x and gamma are %s and %s, want the latter the trailing axes of x",
                    chxi_shape_text(t1, n, x->shape), chxi_shape_text(t2, m, gamma->shape));
  if (!chxi_same_shape(m, gamma->shape, beta->t.ndim, beta->shape))
    return chxi_bad(c, CHX_ESHAPE, "shapes of gamma and beta are %s and %s, want equal",
                    chxi_shape_text(t1, m, gamma->shape), chxi_shape_text(t2, beta->t.ndim, beta->shape));
  chxi_out_like(c, 0, x, x->dtype);
  return true;
}

static chx_ints trailing(int ndim, int m)
{
  chx_ints axes = {m, {0}};
  for (int i = 0; i < m; i++) axes.v[i] = ndim - m + i;
  return axes;
}

/* (x - mean) * inv, and inv. */
static chx_array *normalised(chx_scope *s, const chx_array *x, const chx_ints *axes, double eps, chx_array **inv)
{
  chx_array *d = chx_sub(s, x, chxi_mean_axes(s, x, axes, 1));
  *inv = inverse_std(s, chxi_mean_axes(s, chx_square(s, d), axes, 1), eps);
  return chx_mul(s, d, *inv);
}

static void decompose_layer_norm(chx_scope *s, chxi_call *c, chx_array **out)
{
  chx_array *inv;
  chx_ints axes = trailing(c->in[0]->t.ndim, c->in[1]->t.ndim);
  chx_array *xh = normalised(s, c->in[0], &axes, ((chx_layer_norm_attr *)c->attr)->eps, &inv);
  out[0] = chx_add(s, chx_mul(s, xh, c->in[1]), c->in[2]);
}

static void grad_layer_norm(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chx_array *gy = n->gy[0];
  chx_array *inv;
  chx_ints axes = trailing(n->in[0].ndim, n->in[1].ndim);
  chx_array *xh = normalised(s, n->x[0], &axes, ((const chx_layer_norm_attr *)n->attr)->eps, &inv);
  if (n->need[0]) {
    chx_array *g = chx_mul(s, gy, n->x[1]);
    chx_array *rest = chx_sub(s, chx_sub(s, g, chxi_mean_axes(s, g, &axes, 1)),
                              chx_mul(s, xh, chxi_mean_axes(s, chx_mul(s, g, xh), &axes, 1)));
    gx[0] = chx_mul(s, rest, inv);
  }
  if (n->need[1]) gx[1] = chx_mul(s, gy, xh); /* the caller sums both over the leading axes */
  gx[2] = n->gy[0];
}

const chx_op chxi_op_layer_norm = {
    .name = "layer_norm",
    .doc = "gamma (x - mean) / sqrt(var + eps) + beta over the trailing axes that gamma has",
    .id = CHXI_OP_layer_norm,
    .version = 1,
    .kind = CHXI_COMPOSITE,
    .inputs = {"x", "gamma", "beta"},
    .outputs = {"y"},
    .n_in = 3,
    .n_required = 3,
    .n_out = 1,
    CHXI_ATTRS(layer_norm),
    .keep_x = 3,
    .dtypes = CHX_FLOATS,
    .parts = "mean sub square add rsqrt mul",
    .infer = infer_layer_norm,
    .grad = grad_layer_norm,
    .decompose = decompose_layer_norm};
