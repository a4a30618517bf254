/* SPDX-License-Identifier: MIT
 * op_view.c: operators whose result is a view of x: other shape, strides and offset over the same memory.
 */
#include "opfile.h"
#include "runtime.h"

#define VIEW_DTYPES (CHX_ANY_REAL | CHX_BIT(CHX_C64) | CHX_BIT(CHX_C128))
#define VIEW(text, doc_, A, required_, infer_, view_, grad_) \
  const chx_op chxi_op_##text = {.name = #text, \
                                 .doc = doc_, \
                                 .id = CHXI_OP_##text, \
                                 .version = 1, \
                                 .kind = CHXI_VIEW, \
                                 .inputs = {"x"}, \
                                 .outputs = {"y"}, \
                                 .n_in = 1, \
                                 .n_required = 1, \
                                 .n_out = 1, \
                                 CHXI_ATTRS(A), \
                                 .required = required_, \
                                 .dtypes = VIEW_DTYPES, \
                                 .infer = infer_, \
                                 .view = view_, \
                                 .grad = grad_}

static chx_array *view_as(chxi_call *c, const int64_t *strides, int64_t offset)
{
  const chx_array *x = c->in[0];
  return chxi_array_view(c->s, x, x->dtype, c->out[0].ndim, c->out[0].shape, strides,
                         offset * chxi_dtypes[x->dtype].size);
}

/* ---- reshape, squeeze ----------------------------------------------------------------------------------------------------- */

static bool infer_reshape(chxi_call *c)
{
  chx_reshape_attr *p = c->attr;
  int n = (int)p->shape.n, open = -1;
  int64_t known = 1;
  char t1[128], t2[128];
  if (!chxi_on_device_operand(c, 0)) return false;
  const chx_array *x = c->in[0];
  bool fine = true;
  for (int i = 0; i < n; i++) {
    if (p->shape.v[i] == -1 && open < 0) open = i;
    else if (p->shape.v[i] < 0) fine = false;
    else if (__builtin_mul_overflow(known, p->shape.v[i], &known)) fine = false;
  }
  if (fine && open >= 0) {
    fine = known > 0 && x->size % known == 0;
    if (fine) p->shape.v[open] = x->size / known;
  } else
    fine = fine && known == x->size;
  int64_t count;
  if (!fine || !chxi_count(n, p->shape.v, &count))
    return chxi_bad(c, CHX_ESHAPE, "shape is %s, want as many elements as %s", chxi_shape_text(t1, n, p->shape.v),
                    chxi_shape_text(t2, x->t.ndim, x->shape));
  chxi_out_shape(c, 0, x->dtype, n, p->shape.v);
  return true;
}

/* Strides for the new shape: both shapes are cut into groups of axes with equal products, and within a group x must be
 * one run of equally spaced elements. False: strides cannot say it. */
static bool reshape_strides(const chx_array *x, int n, const int64_t *shape, int64_t *strides)
{
  int64_t from[CHX_MAX_RANK], step[CHX_MAX_RANK];
  int m = 0, i = 0, j = 0;
  if (chx_is_contiguous(x)) return chxi_dense_strides(n, shape, strides), true;
  for (int k = 0; k < x->t.ndim; k++)
    if (x->shape[k] != 1) {
      from[m] = x->shape[k];
      step[m++] = x->strides[k];
    }
  while (i < m && j < n) {
    int64_t p = from[i], q = shape[j];
    int i0 = i++, j0 = j++;
    while (p != q) {
      if (p < q) p *= from[i++];
      else q *= shape[j++];
    }
    for (int k = i0; k < i - 1; k++)
      if (step[k] != step[k + 1] * from[k + 1]) return false;
    int64_t s = step[i - 1];
    for (int k = j - 1; k >= j0; k--) {
      strides[k] = s;
      s *= shape[k];
    }
  }
  for (; j < n; j++) strides[j] = 1; /* of length 1 */
  return true;
}

static chx_array *view_reshape(chxi_call *c)
{
  int64_t strides[CHX_MAX_RANK];
  return reshape_strides(c->in[0], c->out[0].ndim, c->out[0].shape, strides) ? view_as(c, strides, 0) : NULL;
}

static void grad_reshape(chx_scope *s, const chx_node *n, chx_array **gx)
{
  gx[0] = chx_reshape(s, n->gy[0], n->in[0].ndim, n->in[0].shape);
}

VIEW(reshape, "x with another shape", reshape, "shape", infer_reshape, view_reshape, grad_reshape);

static bool infer_squeeze(chxi_call *c)
{
  chx_axes_attr *p = c->attr;
  if (!chxi_on_device_operand(c, 0)) return false;
  const chx_array *x = c->in[0];
  int ndim = x->t.ndim;
  bool every = p->axes.n == 0;
  int64_t shape[CHX_MAX_RANK];
  uint32_t drop = 0;
  if (!every && !chxi_axes(c, &p->axes, ndim)) return false;
  for (int i = 0; every && i < ndim; i++)
    if (x->shape[i] == 1) drop |= 1u << i;
  for (int64_t k = 0; !every && k < p->axes.n; k++) {
    int64_t v = p->axes.v[k];
    if (x->shape[v] != 1)
      return chxi_bad(c, CHX_ESHAPE, "axis %lld has length %lld, want 1", (long long)v, (long long)x->shape[v]);
    drop |= 1u << v;
  }
  int m = 0;
  for (int i = 0; i < ndim; i++)
    if (!(drop >> i & 1)) shape[m++] = x->shape[i];
  chxi_out_shape(c, 0, x->dtype, m, shape);
  return true;
}

VIEW(squeeze, "x without axes of length 1", axes, NULL, infer_squeeze, view_reshape, grad_reshape);

chx_array *chx_reshape(chx_scope *s, const chx_array *x, int ndim, const int64_t *shape)
{
  chx_reshape_attr p = CHX_ATTR(reshape);
  return chxi_list_from_shape(s, "reshape", &p.shape, ndim, shape) ? chxi_op1(s, reshape, &p, x) : NULL;
}

chx_array *chx_expand_dims(chx_scope *s, const chx_array *x, int axis)
{
  if (!chxi_named(s, "expand_dims", x)) return NULL;
  int64_t shape[CHX_MAX_RANK];
  int n = x->t.ndim + 1, at = axis < 0 ? axis + n : axis;
  if (at < 0 || at >= n || n > CHX_MAX_RANK) {
    chx_scope_fail(s, CHX_EARG, "expand_dims: axis is %d, want %d to %d and a result of rank at most %d", axis, -n,
                   n - 1, CHX_MAX_RANK);
    return NULL;
  }
  for (int i = 0; i < n; i++) shape[i] = i < at ? x->shape[i] : i == at ? 1 : x->shape[i - 1];
  return chx_reshape(s, x, n, shape);
}

chx_array *chx_squeeze(chx_scope *s, const chx_array *x, int n_axes, const int *axes)
{
  chx_axes_attr p = CHX_ATTR(axes);
  return chxi_list_from_ints(s, "squeeze", &p.axes, n_axes, axes) ? chxi_op1(s, squeeze, &p, x) : NULL;
}

/* ---- transpose ------------------------------------------------------------------------------------------------------------ */

static bool infer_transpose(chxi_call *c)
{
  chx_transpose_attr *p = c->attr;
  if (!chxi_on_device_operand(c, 0)) return false;
  const chx_array *x = c->in[0];
  int ndim = x->t.ndim;
  uint32_t seen = 0;
  int64_t shape[CHX_MAX_RANK];
  if (!p->axes.n) {
    p->axes.n = ndim;
    for (int i = 0; i < ndim; i++) p->axes.v[i] = ndim - 1 - i;
  }
  if (p->axes.n != ndim)
    return chxi_bad(c, CHX_EARG, "%lld axes are given for rank %d, want all", (long long)p->axes.n, ndim);
  for (int i = 0; i < ndim; i++) {
    if (!chxi_axis(c, &p->axes.v[i], ndim)) return false;
    if (seen >> p->axes.v[i] & 1)
      return chxi_bad(c, CHX_EARG, "axis %lld is given twice, want a permutation", (long long)p->axes.v[i]);
    seen |= 1u << p->axes.v[i];
    shape[i] = x->shape[p->axes.v[i]];
  }
  chxi_out_shape(c, 0, x->dtype, ndim, shape);
  return true;
}

static chx_array *view_transpose(chxi_call *c)
{
  const chx_transpose_attr *p = c->attr;
  int64_t strides[CHX_MAX_RANK];
  for (int i = 0; i < c->out[0].ndim; i++) strides[i] = c->in[0]->strides[p->axes.v[i]];
  return view_as(c, strides, 0);
}

static void grad_transpose(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chx_transpose_attr *p = n->attr;
  int back[CHX_MAX_RANK];
  for (int64_t i = 0; i < p->axes.n; i++) back[p->axes.v[i]] = (int)i;
  gx[0] = chx_transpose(s, n->gy[0], (int)p->axes.n, back);
}

VIEW(transpose, "x with its axes permuted", transpose, NULL, infer_transpose, view_transpose, grad_transpose);

chx_array *chx_transpose(chx_scope *s, const chx_array *x, int n_axes, const int *axes)
{
  chx_transpose_attr p = CHX_ATTR(transpose);
  return chxi_list_from_ints(s, "transpose", &p.axes, n_axes, axes) ? chxi_op1(s, transpose, &p, x) : NULL;
}

chx_array *chx_swapaxes(chx_scope *s, const chx_array *x, int axis1, int axis2)
{
  if (!chxi_named(s, "swapaxes", x)) return NULL;
  int n = x->t.ndim, a = axis1 < 0 ? axis1 + n : axis1, b = axis2 < 0 ? axis2 + n : axis2, perm[CHX_MAX_RANK];
  if (a < 0 || a >= n || b < 0 || b >= n)
    return chx_scope_fail(s, CHX_EARG, "swapaxes: axis %d is out of range for rank %d, want %d to %d",
                          a < 0 || a >= n ? axis1 : axis2, n, -n, n - 1),
           NULL;
  for (int i = 0; i < n; i++) perm[i] = i == a ? b : i == b ? a : i;
  return chx_transpose(s, x, n, perm);
}

/* ---- broadcast_to ------------------------------------------------------------------------------------------------------- */

static bool infer_broadcast(chxi_call *c)
{
  chx_broadcast_to_attr *p = c->attr;
  int n = (int)p->shape.n;
  char t1[128], t2[128];
  int64_t count;
  if (!chxi_on_device_operand(c, 0)) return false;
  const chx_array *x = c->in[0];
  bool fine = n >= x->t.ndim && chxi_count(n, p->shape.v, &count);
  for (int i = 1; fine && i <= n; i++) {
    int64_t want = p->shape.v[n - i], have = i <= x->t.ndim ? x->shape[x->t.ndim - i] : 1;
    fine = want >= 0 && (have == want || have == 1);
  }
  if (!fine)
    return chxi_bad(c, CHX_ESHAPE, "shape is %s, want one that broadcasts to %s",
                    chxi_shape_text(t1, x->t.ndim, x->shape), chxi_shape_text(t2, n, p->shape.v));
  chxi_out_shape(c, 0, x->dtype, n, p->shape.v);
  return true;
}

static chx_array *view_broadcast(chxi_call *c)
{
  const chx_array *x = c->in[0];
  int64_t strides[CHX_MAX_RANK];
  int n = c->out[0].ndim, lead = n - x->t.ndim;
  for (int i = 0; i < n; i++)
    strides[i] = i < lead || x->shape[i - lead] != c->out[0].shape[i] ? 0 : x->strides[i - lead];
  return view_as(c, strides, 0);
}

/* The caller sums what was broadcast. */
static void grad_broadcast(chx_scope *s, const chx_node *n, chx_array **gx)
{
  (void)s;
  gx[0] = n->gy[0];
}

VIEW(broadcast_to, "x repeated along axes of length 1", broadcast_to, "shape", infer_broadcast, view_broadcast, grad_broadcast);

chx_array *chx_broadcast_to(chx_scope *s, const chx_array *x, int ndim, const int64_t *shape)
{
  chx_broadcast_to_attr p = CHX_ATTR(broadcast_to);
  return chxi_list_from_shape(s, "broadcast_to", &p.shape, ndim, shape) ? chxi_op1(s, broadcast_to, &p, x) : NULL;
}

/* ---- flip -------------------------------------------------------------------------------------------------------------------- */

static bool infer_flip(chxi_call *c)
{
  chx_axes_attr *p = c->attr;
  if (!chxi_on_device_operand(c, 0) || !chxi_axes(c, &p->axes, c->in[0]->t.ndim)) return false;
  chxi_out_like(c, 0, c->in[0], c->in[0]->dtype);
  return true;
}

static chx_array *view_flip(chxi_call *c)
{
  const chx_axes_attr *p = c->attr;
  const chx_array *x = c->in[0];
  int64_t strides[CHX_MAX_RANK], offset = 0;
  memcpy(strides, x->strides, sizeof strides);
  for (int64_t k = 0; k < p->axes.n; k++) {
    int64_t i = p->axes.v[k];
    if (x->size) offset += (x->shape[i] - 1) * x->strides[i];
    strides[i] = -strides[i];
  }
  return view_as(c, strides, offset);
}

static void grad_flip(chx_scope *s, const chx_node *n, chx_array **gx) { gx[0] = chxi_op1(s, flip, n->attr, n->gy[0]); }

VIEW(flip, "x with the order along axes reversed", axes, NULL, infer_flip, view_flip, grad_flip);

chx_array *chx_flip(chx_scope *s, const chx_array *x, int n_axes, const int *axes)
{
  chx_axes_attr p = CHX_ATTR(axes);
  return chxi_list_from_ints(s, "flip", &p.axes, n_axes, axes) ? chxi_op1(s, flip, &p, x) : NULL;
}

/* ---- diagonal: no operator, since it takes no part in a graph ----------------------------------------------------------- */

chx_array *chx_diagonal(chx_scope *s, const chx_array *x, int64_t offset, int axis1, int axis2)
{
  if (!chxi_named(s, "diagonal", x)) return NULL;
  int n = x->t.ndim, a = axis1 < 0 ? axis1 + n : axis1, b = axis2 < 0 ? axis2 + n : axis2, m = 0;
  if (a < 0 || a >= n || b < 0 || b >= n || a == b)
    return chx_scope_fail(s, CHX_EARG, "diagonal: axes are %d and %d, want two of rank %d", axis1, axis2, n), NULL;
  int64_t shape[CHX_MAX_RANK], strides[CHX_MAX_RANK];
  int64_t i = offset < 0 ? -offset : 0, j = offset > 0 ? offset : 0, rows = x->shape[a] - i, columns = x->shape[b] - j;
  for (int k = 0; k < n; k++)
    if (k != a && k != b) {
      shape[m] = x->shape[k];
      strides[m++] = x->strides[k];
    }
  shape[m] = rows < columns ? rows : columns;
  if (shape[m] < 0) shape[m] = 0;
  strides[m++] = x->strides[a] + x->strides[b];
  int64_t at = shape[m - 1] && x->size ? (i * x->strides[a] + j * x->strides[b]) * chxi_dtypes[x->dtype].size : 0;
  chx_array *y = chxi_array_view(s, x, x->dtype, m, shape, strides, at);
  if (y && s->flags & CHX_SCOPE_OWNED && !s->depth) s->n--;
  return y;
}

/* Whether the bytes of x along its last axis are elements of another size, and the shape and strides of those. */
static bool resize_elements(const chx_array *x, int64_t size, int64_t *shape, int64_t *strides)
{
  const int64_t old = chxi_dtypes[x->dtype].size;
  const int last = x->t.ndim - 1;
  memcpy(shape, x->shape, (size_t)x->t.ndim * sizeof *shape);
  memcpy(strides, x->strides, (size_t)x->t.ndim * sizeof *strides);
  if (size == old) return true;
  if (last < 0 || (x->shape[last] > 1 && x->strides[last] != 1) || x->shape[last] * old % size ||
      x->t.byte_offset % (uint64_t)size)
    return false;
  shape[last] = x->shape[last] * old / size;
  strides[last] = 1;
  for (int i = 0; i < last; i++) {
    if (x->shape[i] > 1 && x->strides[i] * old % size) return false;
    strides[i] = x->strides[i] * old / size;
  }
  return true;
}

chx_array *chx_view(chx_scope *s, const chx_array *x, int dtype)
{
  int64_t shape[CHX_MAX_RANK], strides[CHX_MAX_RANK];
  char text[128];
  if (!chxi_named(s, "view", x)) return NULL;
  if (!chx_dtype_size(dtype) || !x->buf)
    return chx_scope_fail(s, CHX_EDTYPE, "view: dtype is %d, want one of an array's", dtype), NULL;
  if (!resize_elements(x, chxi_dtypes[dtype].size, shape, strides))
    return chx_scope_fail(s, CHX_ESHAPE,
                          "view: %s of shape %s cannot be read as %s, want a dense last axis of whole elements",
                          chx_dtype_name(x->dtype), chxi_shape_text(text, x->t.ndim, x->shape), chx_dtype_name(dtype)),
           NULL;
  chx_array *y = chxi_array_view(s, x, dtype, x->t.ndim, shape, strides, 0);
  if (y && s->flags & CHX_SCOPE_OWNED && !s->depth) s->n--;
  return y;
}
