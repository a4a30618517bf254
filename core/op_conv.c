/* SPDX-License-Identifier: MIT
 * op_conv.c: cross-correlation over 1 to 3 spatial axes, and its two gradients, which are operators too: of the three,
 * each has its gradients in the others.
 *
 * N batch, C channels of x, K channels of y, H, R, P the spatial axes of x, w and y.
 */
#include "opfile.h"

/* ---- shapes ------------------------------------------------------------------------------------------------------------- */

typedef struct geometry { /* of x, w or y, whichever layout they have */
  int spatial;
  int64_t n, c;
  const int64_t *size; /* spatial lengths */
} geometry;

/* [N, C, H...] or [N, H..., C]. w reads as N = K, C = C / groups, H = R. */
static geometry geometry_of(const int64_t *shape, int ndim, int64_t layout)
{
  bool last = layout == CHX_CHANNELS_LAST;
  return (geometry){ndim - 2, shape[0], shape[last ? ndim - 1 : 1], shape + (last ? 1 : 2)};
}

static void shape_of(int64_t *shape, int64_t layout, int spatial, int64_t n, int64_t c, const int64_t *size)
{
  bool last = layout == CHX_CHANNELS_LAST;
  shape[0] = n;
  shape[last ? spatial + 1 : 1] = c;
  for (int i = 0; i < spatial; i++) shape[i + (last ? 1 : 2)] = size[i];
}

static bool complete(chxi_call *c, chx_conv_attr *p, int spatial)
{
  if (p->groups < 1) return chxi_bad(c, CHX_EARG, "attribute 'groups' is %lld, want 1 or more", (long long)p->groups);
  if (p->layout != CHX_CHANNELS_FIRST && p->layout != CHX_CHANNELS_LAST)
    return chxi_bad(c, CHX_EARG, "attribute 'layout' is %lld, want CHX_CHANNELS_FIRST or CHX_CHANNELS_LAST",
                    (long long)p->layout);
  return chxi_attr_list(c, "stride", &p->stride, spatial, 1, 1) && chxi_attr_list(c, "pad", &p->pad, spatial, 0, 0) &&
         chxi_attr_list(c, "dilation", &p->dilation, spatial, 1, 1);
}

/* The spatial lengths of y; false, with the error, where one is below 1. */
static bool out_size(chxi_call *c, const chx_conv_attr *p, geometry x, geometry w, int64_t *size)
{
  for (int i = 0; i < x.spatial; i++) {
    int64_t room = x.size[i] + 2 * p->pad.v[i] - p->dilation.v[i] * (w.size[i] - 1) - 1;
    size[i] = room < 0 ? 0 : room / p->stride.v[i] + 1;
    if (size[i] < 1 || w.size[i] < 1)
      return chxi_bad(c, CHX_ESHAPE,
                      "spatial axis %d of length %lld with pad %lld does not hold a window of %lld with dilation %lld, "
                      "want a larger x",
                      i, (long long)x.size[i], (long long)p->pad.v[i], (long long)w.size[i],
                      (long long)p->dilation.v[i]);
  }
  return true;
}

static bool channels(chxi_call *c, const chx_conv_attr *p, geometry x, geometry w)
{
  if (x.c == w.c * p->groups && w.n % p->groups == 0) return true;
  return chxi_bad(c, CHX_ESHAPE,
                  "x has %lld channels and w is for %lld groups of %lld to %lld, want C = groups * C/groups and K a "
                  "multiple of groups",
                  (long long)x.c, (long long)p->groups, (long long)w.c, (long long)w.n);
}

/* The shape that a gradient's attribute gives, as for an operand. */
static bool given_shape(chxi_call *c, const chx_conv_attr *p, int ndim)
{
  char text[128];
  int64_t n;
  if (p->shape.n == ndim && chxi_count(ndim, p->shape.v, &n)) return true;
  return chxi_bad(c, CHX_ESHAPE, "attribute 'shape' is %s, want rank %d",
                  chxi_shape_text(text, (int)p->shape.n, p->shape.v), ndim);
}

/* Checks gy against what x and w give. */
static bool good_gy(chxi_call *c, const chx_conv_attr *p, const chx_array *gy, geometry x, geometry w)
{
  int64_t size[3], want[5];
  char t1[128], t2[128];
  if (!channels(c, p, x, w) || !out_size(c, p, x, w, size)) return false;
  shape_of(want, p->layout, x.spatial, x.n, w.n, size);
  if (chxi_same_shape(gy->t.ndim, gy->shape, x.spatial + 2, want)) return true;
  return chxi_bad(c, CHX_ESHAPE, "shape of gy is %s, want %s", chxi_shape_text(t1, gy->t.ndim, gy->shape),
                  chxi_shape_text(t2, x.spatial + 2, want));
}

static bool same_rank(chxi_call *c, int i, int j)
{
  char t1[128], t2[128];
  const chx_array *a = c->in[i], *b = c->in[j];
  if (!chxi_need_rank(c, i, 3, 5)) return false;
  if (a->t.ndim == b->t.ndim) return true;
  return chxi_bad(c, CHX_ESHAPE, "shapes of %s and %s are %s and %s, want equal ranks", c->op->inputs[i],
                  c->op->inputs[j], chxi_shape_text(t1, a->t.ndim, a->shape), chxi_shape_text(t2, b->t.ndim, b->shape));
}

/* ---- infer ----------------------------------------------------------------------------------------------------------------- */

static bool infer_conv(chxi_call *c)
{
  chx_conv_attr *p = c->attr;
  int64_t size[3];
  char text[128];
  if (!chxi_float_operands(c, 0, 2) || !same_rank(c, 0, 1)) return false;
  const chx_array *x = c->in[0], *b = c->in[2];
  if (!complete(c, p, x->t.ndim - 2)) return false;
  p->shape.n = 0; /* the gradients' alone */
  geometry gx = geometry_of(x->shape, x->t.ndim, p->layout), gw = geometry_of(c->in[1]->shape, x->t.ndim, p->layout);
  if (!channels(c, p, gx, gw) || !out_size(c, p, gx, gw, size)) return false;
  if (b && (b->t.ndim != 1 || b->shape[0] != gw.n))
    return chxi_bad(c, CHX_ESHAPE, "shape of b is %s, want [%lld]", chxi_shape_text(text, b->t.ndim, b->shape),
                    (long long)gw.n);
  c->out[0].dtype = x->dtype;
  c->out[0].ndim = x->t.ndim;
  shape_of(c->out[0].shape, p->layout, gx.spatial, gx.n, gw.n, size);
  return true;
}

static bool infer_grad_input(chxi_call *c)
{
  chx_conv_attr *p = c->attr;
  if (!chxi_float_operands(c, 0, 1) || !same_rank(c, 0, 1)) return false;
  const chx_array *gy = c->in[0], *w = c->in[1];
  int n = gy->t.ndim;
  if (!complete(c, p, n - 2) || !given_shape(c, p, n)) return false;
  if (!good_gy(c, p, gy, geometry_of(p->shape.v, n, p->layout), geometry_of(w->shape, n, p->layout))) return false;
  chxi_out_shape(c, 0, gy->dtype, n, p->shape.v);
  return true;
}

static bool infer_grad_weight(chxi_call *c)
{
  chx_conv_attr *p = c->attr;
  if (!chxi_float_operands(c, 0, 1) || !same_rank(c, 0, 1)) return false;
  const chx_array *x = c->in[0], *gy = c->in[1];
  int n = x->t.ndim;
  if (!complete(c, p, n - 2) || !given_shape(c, p, n)) return false;
  if (!good_gy(c, p, gy, geometry_of(x->shape, n, p->layout), geometry_of(p->shape.v, n, p->layout))) return false;
  chxi_out_shape(c, 0, x->dtype, n, p->shape.v);
  return true;
}

/* ---- gradients ------------------------------------------------------------------------------------------------------------ */

static chx_conv_attr for_shape(const void *attr, const chxi_meta *m)
{
  chx_conv_attr p = *(const chx_conv_attr *)attr;
  p.shape.n = m ? m->ndim : 0;
  if (m) memcpy(p.shape.v, m->shape, (size_t)m->ndim * sizeof *m->shape);
  else memset(p.shape.v, 0, sizeof p.shape.v);
  return p;
}

static void grad_conv(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chx_array *gy = n->gy[0];
  chx_conv_attr px = for_shape(n->attr, &n->in[0]), pw = for_shape(n->attr, &n->in[1]);
  if (n->need[0]) gx[0] = chx_conv_grad_input(s, gy, n->x[1], &px);
  if (n->need[1]) gx[1] = chx_conv_grad_weight(s, n->x[0], gy, &pw);
  if (n->need[2]) {
    chx_ints axes = {0, {0}};
    int channel = px.layout == CHX_CHANNELS_LAST ? gy->t.ndim - 1 : 1;
    for (int i = 0; i < gy->t.ndim; i++)
      if (i != channel) axes.v[axes.n++] = i;
    gx[2] = chxi_sum_axes(s, gy, &axes, 0);
  }
}

/* gx = grad_input(gy, w): linear in both. */
static void grad_grad_input(chx_scope *s, const chx_node *n, chx_array **gx)
{
  chx_conv_attr p = for_shape(n->attr, NULL), pw = for_shape(n->attr, &n->in[1]);
  if (n->need[0]) gx[0] = chx_conv(s, n->gy[0], n->x[1], NULL, &p);
  if (n->need[1]) gx[1] = chx_conv_grad_weight(s, n->gy[0], n->x[0], &pw);
}

/* gw = grad_weight(x, gy): likewise. */
static void grad_grad_weight(chx_scope *s, const chx_node *n, chx_array **gx)
{
  chx_conv_attr p = for_shape(n->attr, NULL), px = for_shape(n->attr, &n->in[0]);
  if (n->need[0]) gx[0] = chx_conv_grad_input(s, n->x[1], n->gy[0], &px);
  if (n->need[1]) gx[1] = chx_conv(s, n->x[0], n->gy[0], NULL, &p);
}

const chx_op chxi_op_conv = {.name = "conv",
                             .doc = "cross-correlation of x with w over 1 to 3 spatial axes, plus b",
                             .id = CHXI_OP_conv,
                             .version = 1,
                             .kind = CHXI_KERNEL,
                             .inputs = {"x", "w", "b"},
                             .outputs = {"y"},
                             .n_in = 3,
                             .n_required = 2,
                             .n_out = 1,
                             CHXI_ATTRS(conv),
                             .keep_x = 3,
                             .dtypes = CHX_FLOATS,
                             .infer = infer_conv,
                             .grad = grad_conv};
const chx_op chxi_op_conv_grad_input = {.name = "conv_grad_input",
                                        .doc = "the gradient of conv for x",
                                        .id = CHXI_OP_conv_grad_input,
                                        .version = 1,
                                        .kind = CHXI_KERNEL,
                                        .inputs = {"gy", "w"},
                                        .outputs = {"gx"},
                                        .n_in = 2,
                                        .n_required = 2,
                                        .n_out = 1,
                                        CHXI_ATTRS(conv),
                                        .required = "shape",
                                        .keep_x = 3,
                                        .dtypes = CHX_FLOATS,
                                        .infer = infer_grad_input,
                                        .grad = grad_grad_input};
const chx_op chxi_op_conv_grad_weight = {.name = "conv_grad_weight",
                                         .doc = "the gradient of conv for w",
                                         .id = CHXI_OP_conv_grad_weight,
                                         .version = 1,
                                         .kind = CHXI_KERNEL,
                                         .inputs = {"x", "gy"},
                                         .outputs = {"gw"},
                                         .n_in = 2,
                                         .n_required = 2,
                                         .n_out = 1,
                                         CHXI_ATTRS(conv),
                                         .required = "shape",
                                         .keep_x = 3,
                                         .dtypes = CHX_FLOATS,
                                         .infer = infer_grad_weight,
                                         .grad = grad_grad_weight};
