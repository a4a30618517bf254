/* SPDX-License-Identifier: MIT
 * op_join.c: concatenate, stack and pad: a new array, filled part by part through views of it.
 */
#include "opfile.h"

/* ---- concatenate ---------------------------------------------------------------------------------------------------------- */

static bool infer_concatenate(chxi_call *c)
{
  chx_axis_attr *p = c->attr;
  char t1[128], t2[128];
  if (!chxi_promote_operands(c, 0, c->n_in - 1) || !chxi_want_dtypes(c, 0, CHX_ANY_REAL, "a real one")) return false;
  const chx_array *a = c->in[0];
  if (!chxi_axis(c, &p->axis, a->t.ndim)) return false;
  int64_t length = 0;
  for (int i = 0; i < c->n_in; i++) {
    const chx_array *b = c->in[i];
    bool fine = b->t.ndim == a->t.ndim;
    for (int k = 0; fine && k < a->t.ndim; k++) fine = k == p->axis || a->shape[k] == b->shape[k];
    if (!fine || !b->buf)
      return chxi_bad(c, CHX_ESHAPE, "shapes are %s and %s, want equal but for axis %lld",
                      chxi_shape_text(t1, a->t.ndim, a->shape), chxi_shape_text(t2, b->t.ndim, b->shape),
                      (long long)p->axis);
    length += b->shape[p->axis];
  }
  chxi_out_like(c, 0, a, a->dtype);
  c->out[0].shape[p->axis] = length;
  return true;
}

/* The attribute of a slice [start, start + length) of one axis, all others whole. */
static chx_slice_attr span(int axis, int64_t start, int64_t length)
{
  chx_slice_attr p = CHX_ATTR(slice);
  p.start.n = p.stop.n = axis + 1;
  for (int i = 0; i < axis; i++) p.start.v[i] = p.stop.v[i] = CHX_SLICE_NONE;
  p.start.v[axis] = start;
  p.stop.v[axis] = start + length;
  return p;
}

/* out[0], new, with operand i copied to its place along `axis`; `drop`: each fills one place and lacks the axis. */
static void fill_parts(chx_scope *s, chxi_call *c, chx_array **out, int axis, bool drop)
{
  size_t mark;
  int64_t at = 0;
  out[0] = chxi_array_new(s, c->dev, c->out[0].dtype, c->out[0].ndim, c->out[0].shape);
  mark = s->n;
  for (int i = 0; i < c->n_in && out[0]; i++) {
    int64_t length = drop ? 1 : c->in[i]->shape[axis];
    chx_slice_attr p = span(axis, at, length);
    if (drop) p.drop = (int64_t)1 << axis;
    chx_array *part = length ? chx_slice(s, out[0], &p) : NULL;
    if (s->error || (part && !chxi_fill_from(s, part, c->in[i]))) return;
    at += length;
    chx_scope_rewind(s, mark, NULL);
  }
}

static void decompose_concatenate(chx_scope *s, chxi_call *c, chx_array **out)
{
  fill_parts(s, c, out, (int)((chx_axis_attr *)c->attr)->axis, false);
}

static void grad_concatenate(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chx_axis_attr *p = n->attr;
  int64_t at = 0;
  for (int i = 0; i < n->n_in; i++) {
    int64_t length = n->in[i].shape[p->axis];
    chx_slice_attr q = span((int)p->axis, at, length);
    if (n->need[i]) gx[i] = chx_slice(s, n->gy[0], &q);
    at += length;
  }
}

#define JOINED(text, doc_) \
  const chx_op chxi_op_##text = {.name = #text, .doc = doc_, .id = CHXI_OP_##text, .version = 1, .kind = CHXI_COMPOSITE, .inputs = {"x"}, \
    .outputs = {"y"}, .n_in = 1, .n_required = 1, .n_out = 1, .variadic = true, CHXI_ATTRS(axis), .dtypes = CHX_ANY_REAL, .parts = "copy", \
    .infer = infer_##text, .grad = grad_##text, .decompose = decompose_##text}
JOINED(concatenate, "arrays joined along an axis");

/* ---- stack -------------------------------------------------------------------------------------------------------------------- */

static bool infer_stack(chxi_call *c)
{
  chx_axis_attr *p = c->attr;
  char t1[128], t2[128];
  if (!chxi_promote_operands(c, 0, c->n_in - 1) || !chxi_want_dtypes(c, 0, CHX_ANY_REAL, "a real one")) return false;
  const chx_array *a = c->in[0];
  int n = a->t.ndim + 1;
  if (n > CHX_MAX_RANK) return chxi_bad(c, CHX_ESHAPE, "the result has rank %d, want at most %d", n, CHX_MAX_RANK);
  if (!chxi_axis(c, &p->axis, n)) return false;
  for (int i = 0; i < c->n_in; i++) {
    const chx_array *b = c->in[i];
    if (!chxi_same_shape(a->t.ndim, a->shape, b->t.ndim, b->shape))
      return chxi_bad(c, CHX_ESHAPE, "shapes are %s and %s, want equal", chxi_shape_text(t1, a->t.ndim, a->shape),
                      chxi_shape_text(t2, b->t.ndim, b->shape));
  }
  struct chxi_out *y = &c->out[0];
  y->dtype = a->dtype;
  y->ndim = n;
  for (int k = 0; k < n; k++) y->shape[k] = k < p->axis ? a->shape[k] : k == p->axis ? c->n_in : a->shape[k - 1];
  return true;
}

static void decompose_stack(chx_scope *s, chxi_call *c, chx_array **out)
{
  fill_parts(s, c, out, (int)((chx_axis_attr *)c->attr)->axis, true);
}

static void grad_stack(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chx_axis_attr *p = n->attr;
  for (int i = 0; i < n->n_in; i++)
    if (n->need[i]) gx[i] = chx_at(s, n->gy[0], (int)p->axis, i);
}

JOINED(stack, "arrays joined along a new axis");

/* ---- pad ------------------------------------------------------------------------------------------------------------------------ */

static bool infer_pad(chxi_call *c)
{
  chx_pad_attr *p = c->attr;
  if (!chxi_want_dtypes(c, 0, CHX_ANY_REAL, "a real one") || !chxi_on_device_operand(c, 0)) return false;
  const chx_array *x = c->in[0];
  int n = x->t.ndim;
  if (!chxi_attr_list(c, "before", &p->before, n, 0, 0) || !chxi_attr_list(c, "after", &p->after, n, 0, 0))
    return false;
  chxi_out_like(c, 0, x, x->dtype);
  for (int i = 0; i < n; i++) c->out[0].shape[i] += p->before.v[i] + p->after.v[i];
  return true;
}

/* Where x is in the result. */
static chx_slice_attr inside(const chx_pad_attr *p, int n, const int64_t *shape)
{
  chx_slice_attr q = CHX_ATTR(slice);
  q.start.n = q.stop.n = n;
  for (int i = 0; i < n; i++) {
    q.start.v[i] = p->before.v[i];
    q.stop.v[i] = p->before.v[i] + shape[i];
  }
  return q;
}

static void decompose_pad(chx_scope *s, chxi_call *c, chx_array **out)
{
  const chx_pad_attr *p = c->attr;
  chx_slice_attr q = inside(p, c->in[0]->t.ndim, c->in[0]->shape);
  out[0] = chxi_full_on(s, c->dev, c->out[0].dtype, c->out[0].ndim, c->out[0].shape, p->value);
  chx_array *part = out[0] && c->in[0]->size ? chx_slice(s, out[0], &q) : NULL;
  if (part) chxi_fill_from(s, part, c->in[0]);
}

static void grad_pad(chx_scope *s, const chx_node *n, chx_array **gx)
{
  chx_slice_attr q = inside(n->attr, n->in[0].ndim, n->in[0].shape);
  gx[0] = chx_slice(s, n->gy[0], &q);
}

const chx_op chxi_op_pad = {.name = "pad",
                            .doc = "x with constant elements added around it",
                            .id = CHXI_OP_pad,
                            .version = 1,
                            .kind = CHXI_COMPOSITE,
                            .inputs = {"x"},
                            .outputs = {"y"},
                            .n_in = 1,
                            .n_required = 1,
                            .n_out = 1,
                            CHXI_ATTRS(pad),
                            .dtypes = CHX_ANY_REAL,
                            .parts = "full copy",
                            .infer = infer_pad,
                            .grad = grad_pad,
                            .decompose = decompose_pad};
