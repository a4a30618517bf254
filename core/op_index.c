/* SPDX-License-Identifier: MIT
 * op_index.c: take and scatter_add, by one list of indices, and their forms along an axis, by indices of x's own rank.
 * Each is the other's gradient.
 */
#include "opfile.h"

static bool good_x(chxi_call *c, uint64_t dtypes, const char *want)
{
  chx_axis_attr *p = c->attr;
  if (c->in[0]->weak && !chxi_cast_operand(c, 0, c->in[0]->dtype)) return false;
  return chxi_want_dtypes(c, 0, dtypes, want) && chxi_on_device_operand(c, 0) && chxi_index_operand(c, 1) &&
         chxi_axis(c, &p->axis, c->in[0]->t.ndim);
}

/* The shape of take(x, i). */
static bool taken_shape(chxi_call *c, int *ndim, int64_t *shape)
{
  const chx_axis_attr *p = c->attr;
  const chx_array *x = c->in[0], *i = c->in[1];
  int axis = (int)p->axis, n = x->t.ndim - 1 + i->t.ndim;
  if (n > CHX_MAX_RANK) return chxi_bad(c, CHX_ESHAPE, "the result has rank %d, want at most %d", n, CHX_MAX_RANK);
  memcpy(shape, x->shape, (size_t)axis * sizeof *shape);
  memcpy(shape + axis, i->shape, (size_t)i->t.ndim * sizeof *shape);
  memcpy(shape + axis + i->t.ndim, x->shape + axis + 1, (size_t)(x->t.ndim - axis - 1) * sizeof *shape);
  *ndim = n;
  return true;
}

static bool along_shape(chxi_call *c)
{
  const chx_axis_attr *p = c->attr;
  const chx_array *x = c->in[0], *i = c->in[1];
  char t1[128], t2[128];
  bool fine = x->t.ndim == i->t.ndim;
  for (int k = 0; fine && k < x->t.ndim; k++) fine = k == p->axis || x->shape[k] == i->shape[k];
  if (fine) return true;
  return chxi_bad(c, CHX_ESHAPE, "shapes of x and indices are %s and %s, want equal but for axis %lld",
                  chxi_shape_text(t1, x->t.ndim, x->shape), chxi_shape_text(t2, i->t.ndim, i->shape),
                  (long long)p->axis);
}

static chx_array *zeros_as(chx_scope *s, const chxi_meta *x, int dtype)
{
  return chxi_full_on(s, x->dev, dtype, x->ndim, x->shape, 0);
}

/* ---- take, take_along_axis ---------------------------------------------------------------------------------------------- */

static bool infer_take(chxi_call *c)
{
  struct chxi_out *y = &c->out[0];
  if (!good_x(c, CHX_ANY_REAL, "a real one")) return false;
  y->dtype = c->in[0]->dtype;
  return taken_shape(c, &y->ndim, y->shape);
}

static void grad_take(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chx_axis_attr *p = n->attr;
  gx[0] = chx_scatter_add(s, zeros_as(s, &n->in[0], n->gy[0]->dtype), n->x[1], n->gy[0], (int)p->axis);
}

static bool infer_take_along(chxi_call *c)
{
  if (!good_x(c, CHX_ANY_REAL, "a real one") || !along_shape(c)) return false;
  chxi_out_like(c, 0, c->in[1], c->in[0]->dtype);
  return true;
}

static void grad_take_along(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chx_axis_attr *p = n->attr;
  gx[0] = chx_scatter_add_along_axis(s, zeros_as(s, &n->in[0], n->gy[0]->dtype), n->x[1], n->gy[0], (int)p->axis);
}

/* ---- scatter_add, scatter_add_along_axis ------------------------------------------------------------------------------ */

/* y as the dtype of x and y, and of this shape. */
static bool fit_y(chxi_call *c, int ndim, const int64_t *shape)
{
  const chx_array *both[2] = {c->in[0], c->in[2]}, *index = c->in[1];
  char t1[128], t2[128];
  c->in[1] = both[1]; /* operands 0 and 1 are promoted together */
  bool done =
      chxi_promote_operands(c, 0, 1) && chxi_want_dtypes(c, 0, CHX_NUMBERS, "a number") && chxi_on_device_operand(c, 1);
  c->in[2] = c->in[1];
  c->in[1] = index;
  if (!done) return false;
  const chx_array *y = c->in[2];
  if (chxi_same_shape(y->t.ndim, y->shape, ndim, shape)) return true;
  bool fine = y->t.ndim <= ndim;
  for (int k = 1; fine && k <= y->t.ndim; k++)
    fine = y->shape[y->t.ndim - k] == 1 || y->shape[y->t.ndim - k] == shape[ndim - k];
  if (!fine)
    return chxi_bad(c, CHX_ESHAPE, "shape of y is %s, want one that broadcasts to %s",
                    chxi_shape_text(t1, y->t.ndim, y->shape), chxi_shape_text(t2, ndim, shape));
  c->in[2] = chx_broadcast_to(c->s, y, ndim, shape);
  return c->in[2] != NULL;
}

static bool infer_scatter(chxi_call *c)
{
  int ndim;
  int64_t shape[CHX_MAX_RANK];
  if (!good_x(c, CHX_ANY_REAL, "a real one") || !taken_shape(c, &ndim, shape) || !fit_y(c, ndim, shape)) return false;
  chxi_out_like(c, 0, c->in[0], c->in[0]->dtype);
  return true;
}

static void grad_scatter(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chx_axis_attr *p = n->attr;
  gx[0] = n->gy[0];
  if (n->need[2]) gx[2] = chx_take(s, n->gy[0], n->x[1], (int)p->axis);
}

static bool infer_scatter_along(chxi_call *c)
{
  if (!good_x(c, CHX_ANY_REAL, "a real one") || !along_shape(c) || !fit_y(c, c->in[1]->t.ndim, c->in[1]->shape))
    return false;
  chxi_out_like(c, 0, c->in[0], c->in[0]->dtype);
  return true;
}

static void grad_scatter_along(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chx_axis_attr *p = n->attr;
  gx[0] = n->gy[0];
  if (n->need[2]) gx[2] = chx_take_along_axis(s, n->gy[0], n->x[1], (int)p->axis);
}

#define INDEXED(text, doc_, n, types, infer_, grad_) \
  const chx_op chxi_op_##text = {.name = #text, .doc = doc_, .id = CHXI_OP_##text, .version = 1, .kind = CHXI_KERNEL, \
    .inputs = {"x", "indices", "y"}, .outputs = {"v"}, .n_in = n, .n_required = n, .n_out = 1, CHXI_ATTRS(axis), .keep_x = 2, \
    .dtypes = types, .infer = infer_, .grad = grad_}
INDEXED(take, "the elements of x at indices of an axis", 2, CHX_ANY_REAL, infer_take, grad_take);
INDEXED(take_along_axis, "of each line of x along an axis, the elements at its indices", 2, CHX_ANY_REAL,
        infer_take_along, grad_take_along);
INDEXED(scatter_add, "x with y added at the indices that take would read", 3, CHX_NUMBERS, infer_scatter, grad_scatter);
INDEXED(scatter_add_along_axis, "x with y added at the indices that take_along_axis would read", 3, CHX_NUMBERS,
        infer_scatter_along, grad_scatter_along);
