/* SPDX-License-Identifier: MIT
 * op_pool.c: max and average pooling over 1 to 3 spatial axes. The gradient of max_pool goes through its second output, the
 * positions of the maxima, so that it needs no operator of its own.
 */
#include "opfile.h"

/* ---- shapes ------------------------------------------------------------------------------------------------------------- */

static bool complete(chxi_call *c, chx_pool_attr *p, int spatial)
{
  if (p->layout != CHX_CHANNELS_FIRST && p->layout != CHX_CHANNELS_LAST)
    return chxi_bad(c, CHX_EARG, "attribute 'layout' is %lld, want CHX_CHANNELS_FIRST or CHX_CHANNELS_LAST",
                    (long long)p->layout);
  if (!p->ksize.n) return chxi_bad(c, CHX_EARG, "attribute 'ksize' is not given, want a length per spatial axis");
  if (!chxi_attr_list(c, "ksize", &p->ksize, spatial, 1, 1)) return false;
  if (!p->stride.n) p->stride = p->ksize;
  if (!chxi_attr_list(c, "stride", &p->stride, spatial, 1, 1) || !chxi_attr_list(c, "pad", &p->pad, spatial, 0, 0))
    return false;
  for (int i = 0; i < spatial; i++)
    if (p->pad.v[i] >= p->ksize.v[i])
      return chxi_bad(c, CHX_EARG, "attribute 'pad' is %lld for a window of %lld, want less than the window",
                      (long long)p->pad.v[i], (long long)p->ksize.v[i]);
  return true;
}

static int first_spatial(const chx_pool_attr *p) { return p->layout == CHX_CHANNELS_LAST ? 1 : 2; }

/* The pooled form of a shape. Rounded up, the last window still begins inside x or the padding before it. */
static bool pooled(chxi_call *c, const chx_pool_attr *p, int ndim, const int64_t *shape, int64_t *out)
{
  memcpy(out, shape, (size_t)ndim * sizeof *out);
  for (int i = 0; i < ndim - 2; i++) {
    int64_t k = p->ksize.v[i], s = p->stride.v[i], h = shape[first_spatial(p) + i], room = h + 2 * p->pad.v[i] - k;
    int64_t n = room < 0 ? 0 : (room + (p->cover_all ? s - 1 : 0)) / s + 1;
    if (n > 1 && (n - 1) * s >= h + p->pad.v[i]) n--;
    if (n < 1 || h < 1)
      return chxi_bad(c, CHX_ESHAPE,
                      "spatial axis %d of length %lld with pad %lld does not hold a window of %lld, want a larger x", i,
                      (long long)h, (long long)p->pad.v[i], (long long)k);
    out[first_spatial(p) + i] = n;
  }
  return true;
}

static bool infer_pool(chxi_call *c)
{
  chx_pool_attr *p = c->attr;
  if (!chxi_need_rank(c, 0, 3, 5)) return false;
  const chx_array *x = c->in[0];
  if (!complete(c, p, x->t.ndim - 2) || !pooled(c, p, x->t.ndim, x->shape, c->out[0].shape)) return false;
  p->shape.n = 0;
  c->out[0].dtype = x->dtype;
  c->out[0].ndim = x->t.ndim;
  return true;
}

/* ---- max_pool ----------------------------------------------------------------------------------------------------------- */

/* What a double holds exactly, in which kernels may compare. */
#define MAX_DTYPES (CHX_ANY_REAL & ~(CHX_BIT(CHX_I64) | CHX_BIT(CHX_U64)))

static bool infer_max(chxi_call *c)
{
  if (!chxi_want_dtypes(c, 0, MAX_DTYPES, "a real one other than i64 and u64") || !infer_pool(c)) return false;
  chxi_out_shape(c, 1, CHX_I64, c->out[0].ndim, c->out[0].shape);
  return true;
}

/* a with its spatial axes as one. */
static chx_array *flat(chx_scope *s, const chx_array *a, const chx_pool_attr *p)
{
  bool last = p->layout == CHX_CHANNELS_LAST;
  int64_t n = 1;
  if (!a) return NULL;
  for (int i = 0; i < a->t.ndim - 2; i++) n *= a->shape[first_spatial(p) + i];
  int64_t c = a->shape[last ? a->t.ndim - 1 : 1];
  return chx_reshape(s, a, 3, (const int64_t[]){a->shape[0], last ? n : c, last ? c : n});
}

static void grad_max(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chx_pool_attr *p = n->attr;
  const chxi_meta *x = &n->in[0];
  if (!n->gy[0]) return;
  chx_array *zeros = flat(s, chxi_full_on(s, x->dev, n->gy[0]->dtype, x->ndim, x->shape, 0), p);
  chx_array *g = chx_scatter_add_along_axis(s, zeros, flat(s, n->y[1], p), flat(s, n->gy[0], p),
                                            p->layout == CHX_CHANNELS_LAST ? 1 : 2);
  gx[0] = chx_reshape(s, g, x->ndim, x->shape);
}

const chx_op chxi_op_max_pool = {.name = "max_pool",
                                 .doc =
                                     "the largest of each window, and its position in the flattened spatial axes of x",
                                 .id = CHXI_OP_max_pool,
                                 .version = 1,
                                 .kind = CHXI_KERNEL,
                                 .inputs = {"x"},
                                 .outputs = {"y", "indices"},
                                 .n_in = 1,
                                 .n_required = 1,
                                 .n_out = 2,
                                 CHXI_ATTRS(pool),
                                 .required = "ksize",
                                 .keep_y = 2,
                                 .dtypes = MAX_DTYPES,
                                 .infer = infer_max,
                                 .grad = grad_max};

/* ---- avg_pool, avg_pool_grad -------------------------------------------------------------------------------------------- */

static bool infer_avg(chxi_call *c) { return chxi_float_operands(c, 0, 0) && infer_pool(c); }

static void grad_avg(chx_scope *s, const chx_node *n, chx_array **gx)
{
  chx_pool_attr p = *(const chx_pool_attr *)n->attr;
  p.shape.n = n->in[0].ndim;
  memcpy(p.shape.v, n->in[0].shape, (size_t)p.shape.n * sizeof *p.shape.v);
  gx[0] = chx_avg_pool_grad(s, n->gy[0], &p);
}

static bool infer_avg_grad(chxi_call *c)
{
  chx_pool_attr *p = c->attr;
  int64_t want[CHX_MAX_RANK], count;
  char t1[128], t2[128];
  if (!chxi_float_operands(c, 0, 0) || !chxi_need_rank(c, 0, 3, 5)) return false;
  const chx_array *gy = c->in[0];
  int n = gy->t.ndim;
  if (p->shape.n != n || !chxi_count(n, p->shape.v, &count))
    return chxi_bad(c, CHX_ESHAPE, "attribute 'shape' is %s, want the shape of x, of rank %d",
                    chxi_shape_text(t1, (int)p->shape.n, p->shape.v), n);
  if (!complete(c, p, n - 2) || !pooled(c, p, n, p->shape.v, want)) return false;
  if (!chxi_same_shape(n, gy->shape, n, want))
    return chxi_bad(c, CHX_ESHAPE, "shape of gy is %s, want %s", chxi_shape_text(t1, n, gy->shape),
                    chxi_shape_text(t2, n, want));
  chxi_out_shape(c, 0, gy->dtype, n, p->shape.v);
  return true;
}

static void grad_avg_grad(chx_scope *s, const chx_node *n, chx_array **gx)
{
  chx_pool_attr p = *(const chx_pool_attr *)n->attr;
  p.shape = (chx_ints){0, {0}};
  gx[0] = chx_avg_pool(s, n->gy[0], &p);
}

const chx_op chxi_op_avg_pool = {.name = "avg_pool",
                                 .doc = "the mean of each window",
                                 .id = CHXI_OP_avg_pool,
                                 .version = 1,
                                 .kind = CHXI_KERNEL,
                                 .inputs = {"x"},
                                 .outputs = {"y"},
                                 .n_in = 1,
                                 .n_required = 1,
                                 .n_out = 1,
                                 CHXI_ATTRS(pool),
                                 .required = "ksize",
                                 .dtypes = CHX_FLOATS,
                                 .infer = infer_avg,
                                 .grad = grad_avg};
const chx_op chxi_op_avg_pool_grad = {.name = "avg_pool_grad",
                                      .doc = "the gradient of avg_pool",
                                      .id = CHXI_OP_avg_pool_grad,
                                      .version = 1,
                                      .kind = CHXI_KERNEL,
                                      .inputs = {"gy"},
                                      .outputs = {"gx"},
                                      .n_in = 1,
                                      .n_required = 1,
                                      .n_out = 1,
                                      CHXI_ATTRS(pool),
                                      .required = "ksize shape",
                                      .dtypes = CHX_FLOATS,
                                      .infer = infer_avg_grad,
                                      .grad = grad_avg_grad};
