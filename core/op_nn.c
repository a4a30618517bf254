/* SPDX-License-Identifier: MIT
 * op_nn.c: softmax and its logarithm, activations that are not one formula, dropout, and losses.
 */
#include "opfile.h"

static bool infer_float(chxi_call *c)
{
  if (!chxi_want_dtypes(c, 0, CHX_ANY_REAL, "a real one") || !chxi_float_operands(c, 0, 0)) return false;
  chxi_out_like(c, 0, c->in[0], c->in[0]->dtype);
  return true;
}

/* ---- softmax, log_softmax ------------------------------------------------------------------------------------------------- */

static bool infer_softmax(chxi_call *c)
{
  return infer_float(c) && chxi_axis(c, &((chx_softmax_attr *)c->attr)->axis, c->in[0]->t.ndim);
}

/* x - max(x), in which e^x does not overflow. */
static chx_array *shifted(chx_scope *s, const chx_array *x, const chx_ints *axis)
{
  return chx_sub(s, x, chxi_amax_axes(s, x, axis, 1));
}

static void decompose_softmax(chx_scope *s, chxi_call *c, chx_array **out)
{
  chx_ints axis = CHX_INTS(((chx_softmax_attr *)c->attr)->axis);
  const chx_array *x = c->in[0];
  chx_array *e = x->size ? chx_exp(s, shifted(s, x, &axis)) : NULL;
  out[0] = x->size ? chx_div(s, e, chxi_sum_axes(s, e, &axis, 1)) : chx_copy(s, x);
}

static void decompose_log_softmax(chx_scope *s, chxi_call *c, chx_array **out)
{
  chx_ints axis = CHX_INTS(((chx_softmax_attr *)c->attr)->axis);
  const chx_array *x = c->in[0];
  chx_array *d = x->size ? shifted(s, x, &axis) : NULL;
  out[0] = x->size ? chx_sub(s, d, chx_log(s, chxi_sum_axes(s, chx_exp(s, d), &axis, 1))) : chx_copy(s, x);
}

static void grad_softmax(chx_scope *s, const chx_node *n, chx_array **gx)
{
  chx_ints axis = CHX_INTS(((const chx_softmax_attr *)n->attr)->axis);
  chx_array *t = chx_mul(s, n->gy[0], n->y[0]);
  gx[0] = chx_sub(s, t, chx_mul(s, n->y[0], chxi_sum_axes(s, t, &axis, 1)));
}

static void grad_log_softmax(chx_scope *s, const chx_node *n, chx_array **gx)
{
  chx_ints axis = CHX_INTS(((const chx_softmax_attr *)n->attr)->axis);
  gx[0] = chx_sub(s, n->gy[0], chx_mul(s, chx_exp(s, n->y[0]), chxi_sum_axes(s, n->gy[0], &axis, 1)));
}

#define ENTRY(text, doc_, A, drawn_, kx, ky, made_of, infer_) \
  const chx_op chxi_op_##text = {.name = #text, .doc = doc_, .id = CHXI_OP_##text, .version = 1, .kind = CHXI_COMPOSITE, .inputs = {"x"}, \
    .outputs = {"y"}, .n_in = 1, .n_required = 1, .n_out = 1, CHXI_ATTRS(A), .drawn = drawn_, .keep_x = kx, .keep_y = ky, .dtypes = CHX_FLOATS, \
    .parts = made_of, .infer = infer_, .grad = grad_##text, .decompose = decompose_##text}
ENTRY(softmax, "e^x / sum(e^x) along an axis", softmax, NULL, 0, 1, "amax sub exp sum div", infer_softmax);
ENTRY(log_softmax, "x - log(sum(e^x)) along an axis", softmax, NULL, 0, 1, "amax sub exp sum log", infer_softmax);

/* ---- leaky_relu, gelu ------------------------------------------------------------------------------------------------------- */

static chx_array *leak(chx_scope *s, const chx_array *x, const chx_array *y, double slope)
{
  return chx_where(s, chx_greater(s, x, chx_int(s, 0)), y, chxi_times(s, y, slope));
}

static void decompose_leaky_relu(chx_scope *s, chxi_call *c, chx_array **out)
{
  out[0] = leak(s, c->in[0], c->in[0], ((chx_leaky_relu_attr *)c->attr)->slope);
}

static void grad_leaky_relu(chx_scope *s, const chx_node *n, chx_array **gx)
{
  gx[0] = leak(s, n->x[0], n->gy[0], ((const chx_leaky_relu_attr *)n->attr)->slope);
}

ENTRY(leaky_relu, "x where x > 0, else slope * x", leaky_relu, NULL, 1, 0, "greater mul where", infer_float);

#define SQRT_HALF 0.70710678118654752440
#define INV_SQRT_2PI 0.39894228040143267794
#define GELU_K 0.79788456080286535588 /* sqrt(2 / pi) */
#define GELU_C 0.044715

/* tanh(k (x + c x^3)) */
static chx_array *gelu_tanh(chx_scope *s, const chx_array *x)
{
  return chx_tanh(s, chx_mul(s, x, chxi_plus(s, chxi_times(s, chx_square(s, x), GELU_K * GELU_C), GELU_K)));
}

static void decompose_gelu(chx_scope *s, chxi_call *c, chx_array **out)
{
  const chx_array *x = c->in[0];
  chx_array *t = ((chx_gelu_attr *)c->attr)->approximate ? gelu_tanh(s, x) : chx_erf(s, chxi_times(s, x, SQRT_HALF));
  out[0] = chx_mul(s, chxi_times(s, x, 0.5), chxi_plus(s, t, 1));
}

/* Phi(x) + x phi(x); of the approximation, (1 + t)/2 + x/2 (1 - t^2) k (1 + 3 c x^2). */
static void grad_gelu(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chx_array *x = n->x[0];
  chx_array *x2 = chx_square(s, x), *d;
  if (((const chx_gelu_attr *)n->attr)->approximate) {
    chx_array *t = gelu_tanh(s, x);
    chx_array *inner = chxi_plus(s, chxi_times(s, x2, 1.5 * GELU_K * GELU_C), 0.5 * GELU_K);
    chx_array *rest = chx_mul(s, chx_mul(s, x, inner), chx_sub(s, chx_int(s, 1), chx_square(s, t)));
    d = chx_add(s, chxi_times(s, chxi_plus(s, t, 1), 0.5), rest);
  } else {
    chx_array *phi = chxi_times(s, chx_exp(s, chxi_times(s, x2, -0.5)), INV_SQRT_2PI);
    d = chx_add(s, chxi_times(s, chxi_plus(s, chx_erf(s, chxi_times(s, x, SQRT_HALF)), 1), 0.5), chx_mul(s, x, phi));
  }
  gx[0] = chx_mul(s, n->gy[0], d);
}

ENTRY(gelu, "x/2 (1 + erf(x / sqrt 2)), or its tanh approximation", gelu, NULL, 1, 0, "erf tanh square mul add", infer_float);

/* ---- dropout ------------------------------------------------------------------------------------------------------------------ */

static bool infer_dropout(chxi_call *c)
{
  const chx_dropout_attr *p = c->attr;
  if (!(p->ratio >= 0 && p->ratio < 1))
    return chxi_bad(c, CHX_EARG, "attribute 'ratio' is %g, want 0 <= ratio < 1", p->ratio);
  return infer_float(c);
}

/* An element is kept where its 32 random bits are at least ratio * 2^32. */
static void decompose_dropout(chx_scope *s, chxi_call *c, chx_array **out)
{
  const chx_dropout_attr *p = c->attr;
  const chx_array *x = c->in[0];
  chx_array *bits = chxi_bits_on(s, c->dev, CHX_U32, x->t.ndim, x->shape, (uint64_t)p->seed, (uint64_t)p->counter);
  chx_array *keep = chx_greater_equal(s, bits, chx_int(s, (int64_t)(p->ratio * 0x1p32)));
  out[0] = chxi_or_zero(s, keep, chxi_times(s, x, 1 / (1 - p->ratio)));
}

/* Linear: the same elements of gy, which the same seed and counter choose. */
static void grad_dropout(chx_scope *s, const chx_node *n, chx_array **gx)
{
  gx[0] = chxi_op1(s, dropout, n->attr, n->gy[0]);
}

ENTRY(dropout, "x with elements dropped at random, the others scaled by 1 / (1 - ratio)", dropout, "seed counter", 0, 0,
      "random_bits greater_equal mul where", infer_dropout);

chx_array *chx_dropout(chx_scope *s, const chx_array *x, double ratio)
{
  chx_dropout_attr p = CHX_ATTR(dropout);
  if (!chxi_named(s, "dropout", x)) return NULL;
  chx_random_state state = chxi_random_take(s, x->buf ? x->buf->dev : s->dev, ((uint64_t)x->size + 3) / 4);
  p.ratio = ratio;
  p.seed = (int64_t)state.seed;
  p.counter = (int64_t)state.counter;
  return chxi_op1(s, dropout, &p, x);
}

/* ---- softmax_cross_entropy ------------------------------------------------------------------------------------------------ */

static bool infer_cross_entropy(chxi_call *c)
{
  char t1[128], t2[128];
  if (!chxi_want_dtypes(c, 0, CHX_ANY_REAL, "a real one") || !chxi_float_operands(c, 0, 0) ||
      !chxi_need_rank(c, 0, 2, CHX_MAX_RANK) || !chxi_index_operand(c, 1))
    return false;
  const chx_array *x = c->in[0], *t = c->in[1];
  bool fine = t->t.ndim == x->t.ndim - 1 && t->shape[0] == x->shape[0];
  for (int i = 1; fine && i < t->t.ndim; i++) fine = t->shape[i] == x->shape[i + 1];
  if (!fine)
    return chxi_bad(c, CHX_ESHAPE, "shapes of x and t are %s and %s, want [N, C, ...] and [N, ...]",
                    chxi_shape_text(t1, x->t.ndim, x->shape), chxi_shape_text(t2, t->t.ndim, t->shape));
  chxi_out_shape(c, 0, x->dtype, 0, NULL);
  return true;
}

/* What both directions need: which labels count, all labels with a channel axis (0 where ignored), and what to divide by. */
typedef struct labels { chx_array *used, *at, *count; } labels;

static labels labels_of(chx_scope *s, const chx_array *t, const chx_softmax_cross_entropy_attr *p, int dtype)
{
  labels l;
  chx_array *t1 = chx_expand_dims(s, t, 1);
  l.used = chx_not_equal(s, t1, chx_int(s, p->ignore_label));
  l.at = chxi_or_zero(s, l.used, t1);
  if (p->normalize) { /* counted in f32 at least, since f16 ends at 65504 */
    chx_reduce_attr q = CHX_ATTR(reduce);
    q.dtype = dtype == CHX_F64 ? CHX_F64 : CHX_F32;
    l.count = chx_maximum(s, chxi_op1(s, sum, &q, l.used), chx_int(s, 1));
  } else
    l.count = chx_real(s, (double)t->shape[0]);
  return l;
}

static void decompose_softmax_cross_entropy(chx_scope *s, chxi_call *c, chx_array **out)
{
  const chx_array *x = c->in[0];
  labels l = labels_of(s, c->in[1], c->attr, x->dtype);
  chx_array *p = chx_take_along_axis(s, chx_log_softmax(s, x, 1), l.at, 1);
  chx_array *total = chx_sum(s, chxi_or_zero(s, l.used, p), 0, NULL, 0);
  out[0] = chx_cast(s, chx_neg(s, chx_div(s, total, l.count)), x->dtype);
}

/* (softmax(x) - onehot(t)) * w with w = g / count, 0 where ignored. */
static void grad_softmax_cross_entropy(chx_scope *s, const chx_node *n, chx_array **gx)
{
  labels l = labels_of(s, n->x[1], n->attr, n->x[0]->dtype);
  chx_array *w = chxi_or_zero(s, l.used, chx_div(s, n->gy[0], l.count));
  gx[0] = chx_scatter_add_along_axis(s, chx_mul(s, chx_softmax(s, n->x[0], 1), w), l.at, chx_neg(s, w), 1);
}

const chx_op chxi_op_softmax_cross_entropy = {
    .name = "softmax_cross_entropy",
    .doc = "the mean of -log softmax(x)[t] over labels t, negative ones counting from the end",
    .id = CHXI_OP_softmax_cross_entropy,
    .version = 1,
    .kind = CHXI_COMPOSITE,
    .inputs = {"x", "t"},
    .outputs = {"y"},
    .n_in = 2,
    .n_required = 2,
    .n_out = 1,
    CHXI_ATTRS(softmax_cross_entropy),
    .keep_x = 3,
    .dtypes = CHX_FLOATS,
    .parts = "log_softmax not_equal where sum maximum take_along_axis div neg",
    .infer = infer_cross_entropy,
    .grad = grad_softmax_cross_entropy,
    .decompose = decompose_softmax_cross_entropy};

/* ---- mean_squared_error ----------------------------------------------------------------------------------------------------- */

static bool infer_squared_error(chxi_call *c)
{
  char t1[128], t2[128];
  if (!chxi_float_operands(c, 0, 1)) return false;
  const chx_array *x = c->in[0], *y = c->in[1];
  if (!chxi_same_shape(x->t.ndim, x->shape, y->t.ndim, y->shape))
    return chxi_bad(c, CHX_ESHAPE, "shapes are %s and %s, want equal", chxi_shape_text(t1, x->t.ndim, x->shape),
                    chxi_shape_text(t2, y->t.ndim, y->shape));
  chxi_out_shape(c, 0, x->dtype, 0, NULL);
  return true;
}

static void decompose_mean_squared_error(chx_scope *s, chxi_call *c, chx_array **out)
{
  out[0] = chx_mean(s, chx_square(s, chx_sub(s, c->in[0], c->in[1])), 0, NULL, 0);
}

static void grad_mean_squared_error(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chx_array *x = n->x[0];
  chx_array *g = chx_mul(s, chx_sub(s, x, n->x[1]), chxi_times(s, n->gy[0], 2 / (double)x->size));
  gx[0] = g;
  if (n->need[1]) gx[1] = chx_neg(s, g);
}

const chx_op chxi_op_mean_squared_error = {.name = "mean_squared_error",
                                           .doc = "the mean of (x - y)^2",
                                           .id = CHXI_OP_mean_squared_error,
                                           .version = 1,
                                           .kind = CHXI_COMPOSITE,
                                           .inputs = {"x", "y"},
                                           .outputs = {"v"},
                                           .n_in = 2,
                                           .n_required = 2,
                                           .n_out = 1,
                                           .keep_x = 3,
                                           .dtypes = CHX_FLOATS,
                                           .parts = "sub square mean",
                                           .infer = infer_squared_error,
                                           .grad = grad_mean_squared_error,
                                           .decompose = decompose_mean_squared_error};
