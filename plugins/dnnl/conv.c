/* SPDX-License-Identifier: MIT
 * conv.c: conv and its two gradients over 1 to 3 spatial axes, in both layouts, with groups.
 *
 * oneDNN names axes [N, C, ...] and, of weights with groups, [G, K/G, C/G, ...], whatever the order in memory; so a
 * layout is strides and no more. All layouts are left to the primitive, which on wide vectors takes blocks of 16
 * channels: reordering activations there and back is in the times that threshold.h was measured with.
 */
#include "dn.h"

typedef struct geometry {
  const chx_tensor *x, *w, *y;
  int x_at, w_at, y_at; /* operands */
  int spatial, first, channel; /* first spatial axis, channel axis */
  const chx_conv_attr *attr;
} geometry;

enum { FORWARD, DATA, WEIGHTS };

static geometry geometry_of(const chx_call *c, int what)
{
  static const int at[3][3] = {{0, 1, DN_OUT}, {DN_OUT, 1, 0}, {0, DN_OUT, 1}};
  geometry g = {.x_at = at[what][0], .w_at = at[what][1], .y_at = at[what][2], .attr = c->attr};
  const bool last = g.attr->layout == CHX_CHANNELS_LAST;
  g.x = dn_operand(c, g.x_at);
  g.w = dn_operand(c, g.w_at);
  g.y = dn_operand(c, g.y_at);
  g.spatial = g.x->ndim - 2;
  g.first = last ? 1 : 2;
  g.channel = last ? g.x->ndim - 1 : 1;
  return g;
}

static bool measure(const chx_call *c, int what, dn_size *size)
{
  const geometry g = geometry_of(c, what);
  if (!dn_all_plain(c)) return false;
  const int64_t groups = g.attr->groups, k = g.w->shape[0], cg = g.w->shape[g.channel];
  if (what == FORWARD && !dn_absent(c, 2) && c->in[2].shape[0] > 1 && c->in[2].strides[0] != 1) return false;
  double taps = 1;
  for (int i = 0; i < g.spatial; i++) taps *= (double)g.w->shape[g.first + i];
  const int64_t least = cg < k / groups ? cg : k / groups;
  size->form = taps == 1 ? DN_POINTWISE : g.attr->layout == CHX_CHANNELS_LAST ? DN_LAST : DN_FIRST;
  size->work = 2 * (double)dn_count(g.y) * (double)cg * taps;
  size->narrow = least == 1 ? 16 : least;
  return true;
}

/* x or y. */
static dn_arg *add_values(dn_draft *d, const chx_call *c, const geometry *g, int id, int operand)
{
  int axes[DN_RANK] = {0, g->channel};
  for (int i = 0; i < g->spatial; i++) axes[2 + i] = g->first + i;
  dn_arg *a = dn_draft_add(d, c, id, operand, g->spatial + 2, axes);
  a->any = true;
  return a;
}

static dn_arg *add_weights(dn_draft *d, const chx_call *c, const geometry *g, int id, int operand)
{
  int axes[DN_RANK] = {0, g->channel};
  const int64_t groups = g->attr->groups;
  for (int i = 0; i < g->spatial; i++) axes[2 + i] = g->first + i;
  dn_arg *a = dn_draft_add(d, c, id, operand, g->spatial + 2, axes);
  a->any = true;
  if (groups == 1) return a;
  for (int k = a->ndims++; k > 0; k--) {
    a->dims[k] = a->dims[k - 1];
    a->strides[k] = a->strides[k - 1];
  }
  a->dims[0] = groups;
  a->dims[1] /= groups;
  a->strides[0] = a->dims[1] * a->strides[1];
  return a;
}

/* By images; a gradient of weights, which sums over them, and what has few of them, by output channels or groups. */
static void split(dn_draft *d, int what, int64_t groups, dn_arg *x, dn_arg *w, dn_arg *y, dn_arg *b, double work)
{
  if (what != WEIGHTS && (x->dims[0] > 3 || groups > 1)) {
    x->split = y->split = 0;
    dn_draft_split(d, x->dims[0], 1, work, DN_GRAIN_FLOPS);
  } else if (groups > 1) {
    x->split = y->split = 1;
    w->split = 0;
    dn_draft_split(d, groups, w->dims[1] == 1 ? 16 : 1, work, DN_GRAIN_FLOPS);
  } else if (what == DATA) {
    x->split = w->split = 1;
    dn_draft_split(d, x->dims[1], 16, work, DN_GRAIN_FLOPS);
  } else {
    y->split = 1;
    w->split = 0;
    if (b) b->split = 0;
    dn_draft_split(d, w->dims[0], 16, work, DN_GRAIN_FLOPS);
  }
}

static void describe(const chx_call *c, int what, const dn_size *size, dn_draft *d)
{
  static const int kinds[] = {DN_CONV, DN_CONV_DATA, DN_CONV_WEIGHTS};
  const geometry g = geometry_of(c, what);
  d->op.kind = kinds[what];
  d->op.prop = dnnl_forward_inference;
  d->op.alg = dnnl_convolution_direct;
  for (int i = 0; i < g.spatial; i++) {
    d->op.stride[i] = g.attr->stride.v[i];
    d->op.dilation[i] = g.attr->dilation.v[i] - 1;
    d->op.before[i] = d->op.after[i] = g.attr->pad.v[i];
  }
  dn_arg *x = add_values(d, c, &g, what == DATA ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, g.x_at);
  dn_arg *w = add_weights(d, c, &g, what == WEIGHTS ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, g.w_at);
  dn_arg *y = add_values(d, c, &g, what == FORWARD ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST, g.y_at), *b = NULL;
  if (what == FORWARD && !dn_absent(c, 2)) b = dn_draft_add(d, c, DNNL_ARG_BIAS, 2, 1, (const int[]){0});
  split(d, what, g.attr->groups, x, w, y, b, size->work);
}

#define FAMILY(name, what)                                                                                       \
  static bool measure_##name(const chx_call *c, dn_size *size) { return measure(c, what, size); }                \
  static void describe_##name(const chx_call *c, const dn_size *size, dn_draft *d) { describe(c, what, size, d); } \
  const dn_family dn_##name = {measure_##name, describe_##name};
FAMILY(conv, FORWARD)
FAMILY(conv_grad_input, DATA)
FAMILY(conv_grad_weight, WEIGHTS)
