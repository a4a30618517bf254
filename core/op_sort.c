/* SPDX-License-Identifier: MIT
 * op_sort.c: sort, argsort and topk along an axis. One order for all: ascending, NaN counts as greater than every
 * number, and equal elements (-0 and 0 are, and all NaNs) keep their order; descending is its reverse, but equal
 * elements still keep theirs. Where they must be recorded sort and topk are their parts, whose gradients they have.
 */
#include "opfile.h"

static bool good_x(chxi_call *c, int64_t *axis)
{
  if (!chxi_want_dtypes(c, 0, CHX_ANY_REAL, "a real one")) return false;
  if (c->in[0]->weak && !chxi_cast_operand(c, 0, c->in[0]->dtype)) return false;
  return chxi_on_device_operand(c, 0) && chxi_axis(c, axis, c->in[0]->t.ndim);
}

/* ---- sort, argsort ---------------------------------------------------------------------------------------------- */

static bool infer_sort(chxi_call *c)
{
  chx_sort_attr *p = c->attr;
  if (!good_x(c, &p->axis)) return false;
  p->descending = p->descending != 0;
  chxi_out_like(c, 0, c->in[0], c->op->id == CHXI_OP_argsort ? CHX_I64 : c->in[0]->dtype);
  return true;
}

static void decompose_sort(chx_scope *s, chxi_call *c, chx_array **out)
{
  const chx_sort_attr *p = c->attr;
  out[0] = chx_take_along_axis(s, c->in[0], chxi_op1(s, argsort, p, c->in[0]), (int)p->axis);
}

const chx_op chxi_op_sort = {.name = "sort",
                             .doc = "the elements along an axis in order; stable, NaN last (first if descending)",
                             .id = CHXI_OP_sort,
                             .version = 1,
                             .kind = CHXI_KERNEL,
                             .inputs = {"x"},
                             .outputs = {"y"},
                             .n_in = 1,
                             .n_required = 1,
                             .n_out = 1,
                             CHXI_ATTRS(sort),
                             .dtypes = CHX_ANY_REAL,
                             .parts = "argsort take_along_axis",
                             .infer = infer_sort,
                             .decompose = decompose_sort};
const chx_op chxi_op_argsort = {.name = "argsort",
                                .doc = "the indices along an axis that sort would take the elements by",
                                .id = CHXI_OP_argsort,
                                .version = 1,
                                .kind = CHXI_KERNEL,
                                .inputs = {"x"},
                                .outputs = {"indices"},
                                .n_in = 1,
                                .n_required = 1,
                                .n_out = 1,
                                CHXI_ATTRS(sort),
                                .dtypes = CHX_ANY_REAL,
                                .infer = infer_sort};

/* ---- topk ------------------------------------------------------------------------------------------------------- */

static bool infer_topk(chxi_call *c)
{
  chx_topk_attr *p = c->attr;
  if (!good_x(c, &p->axis)) return false;
  const chx_array *x = c->in[0];
  const int64_t n = x->shape[p->axis];
  if (p->k < 0 || p->k > n)
    return chxi_bad(c, CHX_EARG, "attribute 'k' is %lld, want 0 to %lld, the length of axis %lld", (long long)p->k,
                    (long long)n, (long long)p->axis);
  p->largest = p->largest != 0;
  chxi_out_like(c, 0, x, x->dtype);
  chxi_out_like(c, 1, x, CHX_I64);
  c->out[0].shape[p->axis] = c->out[1].shape[p->axis] = p->k;
  return true;
}

static void decompose_topk(chx_scope *s, chxi_call *c, chx_array **out)
{
  const chx_topk_attr *p = c->attr;
  const int axis = (int)p->axis;
  chx_array *all = chx_argsort(s, c->in[0], axis, (int)p->largest);
  if (!all) return;
  out[1] = chx_contiguous(s, chx_slice_axis(s, all, axis, 0, p->k, 1)); /* what is not asked for is let go */
  out[0] = chx_take_along_axis(s, c->in[0], out[1], axis);
}

const chx_op chxi_op_topk = {.name = "topk",
                             .doc = "the k largest (or smallest) along an axis, in order, and their indices",
                             .id = CHXI_OP_topk,
                             .version = 1,
                             .kind = CHXI_COMPOSITE,
                             .inputs = {"x"},
                             .outputs = {"y", "indices"},
                             .n_in = 1,
                             .n_required = 1,
                             .n_out = 2,
                             CHXI_ATTRS(topk),
                             .dtypes = CHX_ANY_REAL,
                             .parts = "argsort slice copy take_along_axis",
                             .infer = infer_topk,
                             .decompose = decompose_topk};

/* ---- named functions -------------------------------------------------------------------------------------------- */

chx_array *chx_sort(chx_scope *s, const chx_array *x, int axis, int descending)
{
  chx_sort_attr p = CHX_ATTR(sort);
  p.axis = axis;
  p.descending = descending != 0;
  return chxi_op1(s, sort, &p, x);
}

chx_array *chx_argsort(chx_scope *s, const chx_array *x, int axis, int descending)
{
  chx_sort_attr p = CHX_ATTR(sort);
  p.axis = axis;
  p.descending = descending != 0;
  return chxi_op1(s, argsort, &p, x);
}

chx_array *chx_topk(chx_scope *s, const chx_array *x, int64_t k, int axis, int largest, chx_array **indices)
{
  chx_topk_attr p = CHX_ATTR(topk);
  chx_array *out[2] = {NULL, NULL};
  p.k = k;
  p.axis = axis;
  p.largest = largest != 0;
  chx_apply(s, &chxi_op_topk, &x, 1, &p, out, indices ? 2 : 1);
  if (indices) *indices = out[1];
  return out[0];
}
