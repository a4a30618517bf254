/* SPDX-License-Identifier: MIT
 * op_slice.c: slices: views of every step-th element from start to before stop, per axis, with NumPy's rules; and slice_grad,
 * the gradient of slice, whose own gradient is slice.
 */
#include "opfile.h"

/* ---- slice ------------------------------------------------------------------------------------------------------------------- */

/* Completes the attribute for an array of this shape: one start, stop and step per axis, start inside [0, length) where
 * anything is taken. `full` gets the result's shape before axes are dropped. */
static bool complete_slice(chxi_call *c, chx_slice_attr *p, int ndim, const int64_t *shape, int64_t *full)
{
  int64_t n = p->start.n > p->stop.n ? p->start.n : p->stop.n;
  if (p->step.n > n) n = p->step.n;
  if (n > ndim) return chxi_bad(c, CHX_EARG, "%lld axes are sliced, want at most the rank, %d", (long long)n, ndim);
  if (p->drop & ~(int64_t)((1u << ndim) - 1))
    return chxi_bad(c, CHX_EARG, "attribute 'drop' is %lld, want axes of rank %d", (long long)p->drop, ndim);
  for (int i = 0; i < ndim; i++) {
    int64_t d = shape[i], step = i < p->step.n ? p->step.v[i] : 1;
    int64_t start = i < p->start.n ? p->start.v[i] : CHX_SLICE_NONE,
            stop = i < p->stop.n ? p->stop.v[i] : CHX_SLICE_NONE;
    if (!step || step == INT64_MIN)
      return chxi_bad(c, CHX_EARG, "step of axis %d is %lld, want one that is not 0", i, (long long)step);
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? d : d - 1; /* what an index is clamped to */
    if (start == CHX_SLICE_NONE) start = step > 0 ? low : high;
    else start = start < 0 ? (start + d < low ? low : start + d) : start > high ? high : start;
    if (stop == CHX_SLICE_NONE) stop = step > 0 ? high : low;
    else stop = stop < 0 ? (stop + d < low ? low : stop + d) : stop > high ? high : stop;
    int64_t length = step > 0 ? (stop > start ? (stop - start - 1) / step + 1 : 0)
                              : (start > stop ? (start - stop - 1) / -step + 1 : 0);
    if (!length) start = 0;
    full[i] = length;
    p->start.v[i] = start;
    p->step.v[i] = length > 1 ? step : 1;
    /* The complete form reads the same again: no stop where the natural one says it. */
    int64_t end = start + (length - 1) * p->step.v[i] + (p->step.v[i] > 0 ? 1 : -1);
    p->stop.v[i] = !length ? 0 : end < 0 ? CHX_SLICE_NONE : end;
    if (p->drop >> i & 1 && length != 1)
      return chxi_bad(c, CHX_ESHAPE, "axis %d has length %lld after slicing, want 1 to drop it", i, (long long)length);
  }
  p->start.n = p->stop.n = p->step.n = ndim;
  return true;
}

static bool infer_slice(chxi_call *c)
{
  chx_slice_attr *p = c->attr;
  int64_t full[CHX_MAX_RANK];
  if (!chxi_on_device_operand(c, 0)) return false;
  const chx_array *x = c->in[0];
  if (!complete_slice(c, p, x->t.ndim, x->shape, full)) return false;
  int m = 0;
  for (int i = 0; i < x->t.ndim; i++)
    if (!(p->drop >> i & 1)) c->out[0].shape[m++] = full[i];
  c->out[0].dtype = x->dtype;
  c->out[0].ndim = m;
  return true;
}

static chx_array *view_slice(chxi_call *c)
{
  const chx_slice_attr *p = c->attr;
  const chx_array *x = c->in[0];
  int64_t strides[CHX_MAX_RANK], offset = 0;
  int m = 0;
  for (int i = 0; i < x->t.ndim; i++) {
    offset += p->start.v[i] * x->strides[i];
    if (!(p->drop >> i & 1)) strides[m++] = p->step.v[i] * x->strides[i];
  }
  int64_t count;
  if (!chxi_count(m, c->out[0].shape, &count) || !count) offset = 0;
  return chxi_array_view(c->s, x, x->dtype, m, c->out[0].shape, strides, offset * chxi_dtypes[x->dtype].size);
}

static void grad_slice(chx_scope *s, const chx_node *n, chx_array **gx)
{
  gx[0] = chxi_slice_grad(s, n->gy[0], n->attr, n->in[0].ndim, n->in[0].shape);
}

const chx_op chxi_op_slice = {.name = "slice",
                              .doc = "elements start, start + step, ... before stop, per axis",
                              .id = CHXI_OP_slice,
                              .version = 1,
                              .kind = CHXI_VIEW,
                              .inputs = {"x"},
                              .outputs = {"y"},
                              .n_in = 1,
                              .n_required = 1,
                              .n_out = 1,
                              CHXI_ATTRS(slice),
                              .dtypes = CHX_ANY_REAL | CHX_BIT(CHX_C64) | CHX_BIT(CHX_C128),
                              .infer = infer_slice,
                              .view = view_slice,
                              .grad = grad_slice};

/* ---- slice_grad ---------------------------------------------------------------------------------------------------------------- */

static bool infer_slice_grad(chxi_call *c)
{
  chx_slice_attr *p = c->attr;
  int64_t full[CHX_MAX_RANK], kept[CHX_MAX_RANK], n;
  char t1[128], t2[128];
  if (!chxi_want_dtypes(c, 0, CHX_ANY_REAL, "a real one") || !chxi_on_device_operand(c, 0)) return false;
  const chx_array *gy = c->in[0];
  if (!chxi_count((int)p->shape.n, p->shape.v, &n))
    return chxi_bad(c, CHX_ESHAPE, "attribute 'shape' is %s, want lengths >= 0 whose product fits memory",
                    chxi_shape_text(t1, (int)p->shape.n, p->shape.v));
  if (!complete_slice(c, p, (int)p->shape.n, p->shape.v, full)) return false;
  int m = 0;
  for (int i = 0; i < p->shape.n; i++)
    if (!(p->drop >> i & 1)) kept[m++] = full[i];
  if (!chxi_same_shape(gy->t.ndim, gy->shape, m, kept))
    return chxi_bad(c, CHX_ESHAPE, "shape is %s, want the slice's, %s", chxi_shape_text(t1, gy->t.ndim, gy->shape),
                    chxi_shape_text(t2, m, kept));
  chxi_out_shape(c, 0, gy->dtype, (int)p->shape.n, p->shape.v);
  return true;
}

static void decompose_slice_grad(chx_scope *s, chxi_call *c, chx_array **out)
{
  chx_slice_attr p = *(const chx_slice_attr *)c->attr;
  out[0] = chxi_full_on(s, c->dev, c->out[0].dtype, c->out[0].ndim, c->out[0].shape, 0);
  p.shape.n = 0;
  chx_array *part = out[0] ? chx_slice(s, out[0], &p) : NULL;
  if (part) chxi_fill_from(s, part, c->in[0]);
}

static void grad_slice_grad(chx_scope *s, const chx_node *n, chx_array **gx)
{
  chx_slice_attr p = *(const chx_slice_attr *)n->attr;
  p.shape.n = 0;
  gx[0] = chx_slice(s, n->gy[0], &p);
}

const chx_op chxi_op_slice_grad = {.name = "slice_grad",
                                   .doc = "zeros in which the slice is gy: the gradient of slice",
                                   .id = CHXI_OP_slice_grad,
                                   .version = 1,
                                   .kind = CHXI_COMPOSITE,
                                   .inputs = {"gy"},
                                   .outputs = {"gx"},
                                   .n_in = 1,
                                   .n_required = 1,
                                   .n_out = 1,
                                   CHXI_ATTRS(slice),
                                   .required = "shape",
                                   .dtypes = CHX_ANY_REAL,
                                   .parts = "full copy",
                                   .infer = infer_slice_grad,
                                   .grad = grad_slice_grad,
                                   .decompose = decompose_slice_grad};

chx_array *chxi_slice_grad(chx_scope *s, const chx_array *gy, const chx_slice_attr *attr, int ndim,
                           const int64_t *shape)
{
  chx_slice_attr p = *attr;
  p.shape.n = ndim;
  memcpy(p.shape.v, shape, (size_t)ndim * sizeof *shape);
  return chxi_op1(s, slice_grad, &p, gy);
}

/* ---- of one axis ------------------------------------------------------------------------------------------------------------- */

/* The slice of one axis, all others whole. */
static bool slice_of_axis(chx_scope *s, const char *what, const chx_array *x, int axis, int64_t start, int64_t stop,
                          int64_t step, chx_slice_attr *p)
{
  if (!chxi_named(s, what, x)) return false;
  int n = x->t.ndim, at = axis < 0 ? axis + n : axis;
  if (at < 0 || at >= n)
    return chx_scope_fail(s, CHX_EARG, "%s: axis %d is out of range for rank %d, want %d to %d", what, axis, n, -n,
                          n - 1),
           false;
  *p = CHX_ATTR(slice);
  p->start.n = p->stop.n = p->step.n = at + 1;
  for (int i = 0; i < at; i++) {
    p->start.v[i] = p->stop.v[i] = CHX_SLICE_NONE;
    p->step.v[i] = 1;
  }
  p->start.v[at] = start;
  p->stop.v[at] = stop;
  p->step.v[at] = step;
  return true;
}

chx_array *chx_slice_axis(chx_scope *s, const chx_array *x, int axis, int64_t start, int64_t stop, int64_t step)
{
  chx_slice_attr p;
  return slice_of_axis(s, "slice_axis", x, axis, start, stop, step, &p) ? chxi_op1(s, slice, &p, x) : NULL;
}

chx_array *chx_at(chx_scope *s, const chx_array *x, int axis, int64_t index)
{
  chx_slice_attr p;
  if (!slice_of_axis(s, "at", x, axis, index, index == -1 ? CHX_SLICE_NONE : index + 1, 1, &p)) return NULL;
  int at = axis < 0 ? axis + x->t.ndim : axis;
  if (index < -x->shape[at] || index >= x->shape[at])
    return chx_scope_fail(s, CHX_EARG, "at: index %lld is out of range for axis %d, want %lld to %lld",
                          (long long)index, at, -(long long)x->shape[at], (long long)x->shape[at] - 1),
           NULL;
  p.drop = (int64_t)1 << at;
  return chxi_op1(s, slice, &p, x);
}
