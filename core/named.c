/* SPDX-License-Identifier: MIT
 * named.c: the named functions of chx.h that only fill in attributes and call chx_apply, and the small helpers that
 * gradients and decompositions are written with.
 */
#include "opfile.h"

/* ---- helpers ------------------------------------------------------------------------------------------------------------ */

bool chxi_named(chx_scope *s, const char *what, const chx_array *a)
{
  if (!chxi_ok(s)) return false;
  if (a) return true;
  chx_scope_fail(s, CHX_EARG, "%s: operand is NULL, want an array", what);
  return false;
}

static bool good_list(chx_scope *s, const char *what, int n, const void *v)
{
  if (!chxi_ok(s)) return false;
  if (n < 0 || n > CHX_MAX_RANK)
    chx_scope_fail(s, CHX_EARG, "%s: %d axes are given, want 0 to %d", what, n, CHX_MAX_RANK);
  else if (n && !v) chx_scope_fail(s, CHX_EARG, "%s: the list is NULL, want %d values", what, n);
  return !s->error;
}

bool chxi_list_from_ints(chx_scope *s, const char *what, chx_ints *list, int n, const int *v)
{
  if (!good_list(s, what, n, v)) return false;
  list->n = n;
  for (int i = 0; i < n; i++) list->v[i] = v[i];
  return true;
}

bool chxi_list_from_shape(chx_scope *s, const char *what, chx_ints *list, int n, const int64_t *v)
{
  if (!good_list(s, what, n, v)) return false;
  list->n = n;
  for (int i = 0; i < n; i++) list->v[i] = v[i];
  return true;
}

chx_array *chxi_times(chx_scope *s, const chx_array *a, double v) { return chx_mul(s, a, chx_real(s, v)); }
chx_array *chxi_plus(chx_scope *s, const chx_array *a, double v) { return chx_add(s, a, chx_real(s, v)); }
chx_array *chxi_or_zero(chx_scope *s, const chx_array *cond, const chx_array *a)
{
  return chx_where(s, cond, a, chx_int(s, 0));
}

static chx_array *reduce_axes(chx_scope *s, const chx_op *op, const chx_array *a, const chx_ints *axes, int keepdims)
{
  if (!axes->n) return (chx_array *)a; /* no axis to reduce, which an attribute cannot say */
  chx_reduce_attr p = CHX_ATTR(reduce);
  p.axes = *axes;
  p.keepdims = keepdims;
  return chxi_apply1(s, op, &p, 1, &a);
}

chx_array *chxi_sum_axes(chx_scope *s, const chx_array *a, const chx_ints *axes, int keepdims)
{
  return reduce_axes(s, &chxi_op_sum, a, axes, keepdims);
}
chx_array *chxi_mean_axes(chx_scope *s, const chx_array *a, const chx_ints *axes, int keepdims)
{
  return reduce_axes(s, &chxi_op_mean, a, axes, keepdims);
}
chx_array *chxi_amax_axes(chx_scope *s, const chx_array *a, const chx_ints *axes, int keepdims)
{
  return reduce_axes(s, &chxi_op_amax, a, axes, keepdims);
}

chx_array *chxi_keepdims(chx_scope *s, const chx_array *a, int ndim, const int64_t *shape, const chx_ints *axes)
{
  int64_t full[CHX_MAX_RANK];
  if (!a || a->t.ndim == ndim) return (chx_array *)a;
  memcpy(full, shape, (size_t)ndim * sizeof *full);
  for (int64_t i = 0; i < axes->n; i++) full[axes->v[i]] = 1;
  return chx_reshape(s, a, ndim, full);
}

chx_array *chxi_like_channel(chx_scope *s, const chx_array *a, int ndim, int axis)
{
  int64_t shape[CHX_MAX_RANK];
  for (int i = 0; i < ndim; i++) shape[i] = i == axis ? -1 : 1;
  return chx_reshape(s, a, ndim, shape);
}

/* ---- elementwise ------------------------------------------------------------------------------------------------------------ */

static chx_array *into(chx_scope *s, const chx_op *op, chx_array *out, int n, const chx_array *const *in)
{
  if (!chxi_ok(s)) return NULL;
  if (!out) return chx_scope_fail(s, CHX_EARG, "%s: the output is NULL, want an array", op->name), NULL;
  return chx_apply(s, op, in, n, NULL, &out, 1) ? NULL : out;
}

#define EW1(ID, name, class, result, formula, keep, doc) \
  chx_array *chx_##name(chx_scope *s, const chx_array *x) { return chxi_apply1(s, CHXI_EW(ID), NULL, 1, &x); } \
  chx_array *chx_##name##_into(chx_scope *s, chx_array *out, const chx_array *x) \
  { \
    return into(s, CHXI_EW(ID), out, 1, &x); \
  }
#define EW2(ID, name, class, result, formula, keep, doc) \
  chx_array *chx_##name(chx_scope *s, const chx_array *x, const chx_array *y) \
  { \
    return chxi_apply1(s, CHXI_EW(ID), NULL, 2, (const chx_array *[]){x, y}); \
  } \
  chx_array *chx_##name##_into(chx_scope *s, chx_array *out, const chx_array *x, const chx_array *y) \
  { \
    return into(s, CHXI_EW(ID), out, 2, (const chx_array *[]){x, y}); \
  }
#define EW3(ID, name, class, result, formula, keep, doc) \
  chx_array *chx_##name(chx_scope *s, const chx_array *x, const chx_array *y, const chx_array *z) \
  { \
    return chxi_apply1(s, CHXI_EW(ID), NULL, 3, (const chx_array *[]){x, y, z}); \
  } \
  chx_array *chx_##name##_into(chx_scope *s, chx_array *out, const chx_array *x, const chx_array *y, const chx_array *z) \
  { \
    return into(s, CHXI_EW(ID), out, 3, (const chx_array *[]){x, y, z}); \
  }
#include <chx/elementwise.def>

chx_array *chx_map(chx_scope *s, const chx_array *const *in, int n_in, const chx_program *program)
{
  chx_map_attr p = CHX_ATTR(map);
  if (!chxi_ok(s)) return NULL;
  if (!program) return chx_scope_fail(s, CHX_EARG, "map: the program is NULL, want one"), NULL;
  p.program = *program;
  return chxi_apply1(s, &chxi_op_map, &p, n_in, in);
}

/* ---- reductions: op(x, axes, keepdims) -------------------------------------------------------------------------------- */

#define REDUCTION(name, A) \
  chx_array *chx_##name(chx_scope *s, const chx_array *x, int n_axes, const int *axes, int keepdims) \
  { \
    chx_##A##_attr p = CHX_ATTR(A); \
    p.keepdims = keepdims != 0; \
    return chxi_list_from_ints(s, #name, &p.axes, n_axes, axes) ? chxi_apply1(s, &chxi_op_##name, &p, 1, &x) : NULL; \
  }
REDUCTION(sum, reduce)
REDUCTION(prod, reduce)
REDUCTION(mean, reduce)
REDUCTION(amax, reduce)
REDUCTION(amin, reduce)
REDUCTION(all, reduce)
REDUCTION(any, reduce)
REDUCTION(logsumexp, reduce)
REDUCTION(argmax, arg_reduce)
REDUCTION(argmin, arg_reduce)

/* ---- attribute by pointer, or one value --------------------------------------------------------------------------------- */

#define WITH_AXIS(name, n, IN, ...) \
  chx_array *chx_##name(chx_scope *s, __VA_ARGS__, int axis) \
  { \
    chx_axis_attr p = CHX_ATTR(axis); \
    p.axis = axis; \
    return chxi_apply1(s, &chxi_op_##name, &p, n, IN); \
  }
#define IN1 &x
#define IN2 (const chx_array *[]){x, indices}
#define IN3 (const chx_array *[]){x, indices, y}
WITH_AXIS(take, 2, IN2, const chx_array *x, const chx_array *indices)
WITH_AXIS(take_along_axis, 2, IN2, const chx_array *x, const chx_array *indices)
WITH_AXIS(scatter_add, 3, IN3, const chx_array *x, const chx_array *indices, const chx_array *y)
WITH_AXIS(scatter_add_along_axis, 3, IN3, const chx_array *x, const chx_array *indices, const chx_array *y)
WITH_AXIS(concatenate, n, xs, const chx_array *const *xs, int n)
WITH_AXIS(stack, n, xs, const chx_array *const *xs, int n)

chx_array *chx_softmax(chx_scope *s, const chx_array *x, int axis)
{
  chx_softmax_attr p = CHX_ATTR(softmax);
  p.axis = axis;
  return chxi_op1(s, softmax, &p, x);
}

chx_array *chx_log_softmax(chx_scope *s, const chx_array *x, int axis)
{
  chx_softmax_attr p = CHX_ATTR(softmax);
  p.axis = axis;
  return chxi_op1(s, log_softmax, &p, x);
}

chx_array *chx_leaky_relu(chx_scope *s, const chx_array *x, double slope)
{
  chx_leaky_relu_attr p = CHX_ATTR(leaky_relu);
  p.slope = slope;
  return chxi_op1(s, leaky_relu, &p, x);
}

chx_array *chx_gelu(chx_scope *s, const chx_array *x, int approximate)
{
  chx_gelu_attr p = CHX_ATTR(gelu);
  p.approximate = approximate != 0;
  return chxi_op1(s, gelu, &p, x);
}

chx_array *chx_matmul(chx_scope *s, const chx_array *a, const chx_array *b) { return chxi_op1(s, matmul, NULL, a, b); }
chx_array *chx_linear(chx_scope *s, const chx_array *x, const chx_array *w, const chx_array *b)
{
  return chxi_op1(s, linear, NULL, x, w, b);
}

chx_array *chx_conv(chx_scope *s, const chx_array *x, const chx_array *w, const chx_array *b, const chx_conv_attr *p)
{
  return chxi_op1(s, conv, p, x, w, b);
}

chx_array *chx_conv_grad_input(chx_scope *s, const chx_array *gy, const chx_array *w, const chx_conv_attr *p)
{
  return chxi_op1(s, conv_grad_input, p, gy, w);
}

chx_array *chx_conv_grad_weight(chx_scope *s, const chx_array *x, const chx_array *gy, const chx_conv_attr *p)
{
  return chxi_op1(s, conv_grad_weight, p, x, gy);
}

chx_array *chx_avg_pool(chx_scope *s, const chx_array *x, const chx_pool_attr *p)
{
  return chxi_op1(s, avg_pool, p, x);
}
chx_array *chx_avg_pool_grad(chx_scope *s, const chx_array *gy, const chx_pool_attr *p)
{
  return chxi_op1(s, avg_pool_grad, p, gy);
}
chx_array *chx_pad(chx_scope *s, const chx_array *x, const chx_pad_attr *p) { return chxi_op1(s, pad, p, x); }
chx_array *chx_slice(chx_scope *s, const chx_array *x, const chx_slice_attr *p) { return chxi_op1(s, slice, p, x); }

/* Outputs beyond the first go through pointers, NULL for one that is not wanted. */
chx_array *chx_max_pool(chx_scope *s, const chx_array *x, const chx_pool_attr *p, chx_array **indices)
{
  chx_array *out[2] = {NULL, NULL};
  chx_apply(s, &chxi_op_max_pool, &x, 1, p, out, indices ? 2 : 1);
  if (indices) *indices = out[1];
  return out[0];
}

chx_array *chx_batch_norm(chx_scope *s, const chx_array *x, const chx_array *gamma, const chx_array *beta,
                          const chx_batch_norm_attr *p, chx_array **mean, chx_array **var)
{
  chx_array *out[3] = {NULL, NULL, NULL};
  chx_apply(s, &chxi_op_batch_norm, (const chx_array *[]){x, gamma, beta}, 3, p, out, var ? 3 : mean ? 2 : 1);
  if (mean) *mean = out[1];
  else if (s && s->flags & CHX_SCOPE_OWNED && !s->depth) chx_release(out[1]); /* made as the second of three */
  if (var) *var = out[2];
  return out[0];
}

chx_array *chx_fixed_batch_norm(chx_scope *s, const chx_array *x, const chx_array *gamma, const chx_array *beta,
                                const chx_array *mean, const chx_array *var, const chx_batch_norm_attr *p)
{
  return chxi_op1(s, fixed_batch_norm, p, x, gamma, beta, mean, var);
}

chx_array *chx_layer_norm(chx_scope *s, const chx_array *x, const chx_array *gamma, const chx_array *beta, double eps)
{
  chx_layer_norm_attr p = CHX_ATTR(layer_norm);
  p.eps = eps;
  return chxi_op1(s, layer_norm, &p, x, gamma, beta);
}

chx_array *chx_softmax_cross_entropy(chx_scope *s, const chx_array *x, const chx_array *t)
{
  return chxi_op1(s, softmax_cross_entropy, NULL, x, t);
}

chx_array *chx_softmax_cross_entropy_with(chx_scope *s, const chx_array *x, const chx_array *t,
                                          const chx_softmax_cross_entropy_attr *p)
{
  return chxi_op1(s, softmax_cross_entropy, p, x, t);
}

chx_array *chx_mean_squared_error(chx_scope *s, const chx_array *x, const chx_array *y)
{
  return chxi_op1(s, mean_squared_error, NULL, x, y);
}
