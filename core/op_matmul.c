/* SPDX-License-Identifier: MIT
 * op_matmul.c: matmul with batch broadcasting and 1-D operands, and linear.
 */
#include "opfile.h"

/* ---- matmul --------------------------------------------------------------------------------------------------------------- */

static bool infer_matmul(chxi_call *c)
{
  char t1[128], t2[128];
  int64_t batch[CHX_MAX_RANK];
  if (!chxi_promote_operands(c, 0, 1) || !chxi_want_dtypes(c, 0, CHX_ANY_REAL, "a real one") ||
      !chxi_on_device_operand(c, 0) || !chxi_on_device_operand(c, 1))
    return false;
  const chx_array *a = c->in[0], *b = c->in[1];
  int na = a->t.ndim, nb = b->t.ndim, n = 0;
  int64_t ka = na ? a->shape[na - 1] : 0, kb = nb ? b->shape[nb > 1 ? nb - 2 : 0] : -1;
  bool fine = na && nb && ka == kb;
  for (int i = 0; fine && (i < na - 2 || i < nb - 2); i++) { /* batch axes, from the last */
    int64_t p = i < na - 2 ? a->shape[na - 3 - i] : 1, q = i < nb - 2 ? b->shape[nb - 3 - i] : 1;
    fine = p == q || p == 1 || q == 1;
    batch[n++] = p == 1 ? q : p;
  }
  if (!fine)
    return chxi_bad(c, CHX_ESHAPE, "shapes are %s and %s, want [..., M, K] and [..., K, N]",
                    chxi_shape_text(t1, na, a->shape), chxi_shape_text(t2, nb, b->shape));
  struct chxi_out *y = &c->out[0];
  y->dtype = a->dtype;
  y->ndim = n;
  for (int i = 0; i < n; i++) y->shape[i] = batch[n - 1 - i];
  if (na > 1) y->shape[y->ndim++] = a->shape[na - 2];
  if (nb > 1) y->shape[y->ndim++] = b->shape[nb - 1];
  return true;
}

/* Operand i as [batch..., rows, columns] of the output's batch axes. */
static void arrange_side(chxi_call *c, int i, int batch, const int64_t *batch_shape)
{
  const chx_array *a = c->in[i];
  int64_t shape[CHX_MAX_RANK], strides[CHX_MAX_RANK];
  int n = a->t.ndim, own = n > 2 ? n - 2 : 0;
  for (int k = 0; k < batch; k++) {
    int at = k - (batch - own);
    shape[k] = batch_shape[k];
    strides[k] = at < 0 || a->shape[at] != batch_shape[k] ? 0 : a->strides[at];
  }
  if (n > 1) {
    for (int k = 0; k < 2; k++) {
      shape[batch + k] = a->shape[n - 2 + k];
      strides[batch + k] = a->strides[n - 2 + k];
    }
  } else {
    int64_t length = a->shape[0], step = a->strides[0];
    shape[batch] = i ? length : 1;
    shape[batch + 1] = i ? 1 : length;
    strides[batch] = i ? step : length * step;
    strides[batch + 1] = i ? 1 : step;
  }
  chxi_arrange(c, i, batch + 2, shape, strides);
}

static void arrange_matmul(chxi_call *c)
{
  const chx_array *a = c->in[0], *b = c->in[1], *y = c->y[0];
  int na = a->t.ndim, nb = b->t.ndim;
  if (na == 2 && nb == 2) return;
  int batch = y->t.ndim - (na > 1) - (nb > 1);
  arrange_side(c, 0, batch, y->shape);
  arrange_side(c, 1, batch, y->shape);
  if (na > 1 && nb > 1) return;
  int64_t shape[CHX_MAX_RANK], strides[CHX_MAX_RANK];
  memcpy(shape, y->shape, (size_t)batch * sizeof *shape);
  memcpy(strides, y->strides, (size_t)batch * sizeof *strides);
  shape[batch] = na > 1 ? y->shape[batch] : 1;
  shape[batch + 1] = nb > 1 ? y->shape[y->t.ndim - 1] : 1;
  strides[batch] = na > 1 ? y->strides[batch] : shape[batch + 1];
  strides[batch + 1] = nb > 1 ? y->strides[y->t.ndim - 1] : 1;
  chxi_arrange(c, CHXI_KERNEL_IN, batch + 2, shape, strides);
}

static chx_array *turned(chx_scope *s, const chx_array *a) { return chx_swapaxes(s, a, -1, -2); }

/* With the leading axes of a and gy flattened, so that the gradient of an unbatched b is one product. */
static chx_array *grad_flat_b(chx_scope *s, const chx_array *a, const chx_array *gy)
{
  const int64_t k = a->shape[a->t.ndim - 1], m = gy->shape[gy->t.ndim - 1], rows = gy->size / m;
  if (a->t.ndim > 2) {
    a = chx_reshape(s, a, 2, (const int64_t[]){rows, k});
    gy = chx_reshape(s, gy, 2, (const int64_t[]){rows, m});
  }
  return a && gy ? chx_matmul(s, turned(s, a), gy) : NULL;
}

/* ga = gy b', gb = a' gy; a 1-D operand is a row or a column of them. Batch axes that were broadcast are left to the caller
 * to sum. */
static void grad_matmul(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chx_array *a = n->x[0], *b = n->x[1], *gy = n->gy[0];
  int na = a->t.ndim, nb = b->t.ndim;
  if (na == 1 && nb == 1) {
    if (n->need[0]) gx[0] = chx_mul(s, gy, b);
    if (n->need[1]) gx[1] = chx_mul(s, gy, a);
    return;
  }
  const chx_array *a2 = na > 1 ? a : chx_expand_dims(s, a, 0), *b2 = nb > 1 ? b : chx_expand_dims(s, b, 1);
  if (na == 1) gy = chx_expand_dims(s, gy, -2);
  if (nb == 1) gy = chx_expand_dims(s, gy, -1);
  if (!a2 || !b2 || !gy) return;
  if (n->need[0]) {
    gx[0] = chx_matmul(s, gy, turned(s, b2));
    if (na == 1) gx[0] = chx_squeeze(s, gx[0], 1, (const int[]){-2});
  }
  if (n->need[1]) {
    bool flat = b2->t.ndim == 2 && a2->t.ndim == gy->t.ndim && a2->size > 0 && gy->size > 0;
    gx[1] = flat ? grad_flat_b(s, a2, gy) : chx_matmul(s, turned(s, a2), gy);
    if (nb == 1) gx[1] = chx_squeeze(s, gx[1], 1, (const int[]){-1});
  }
}

const chx_op chxi_op_matmul = {.name = "matmul",
                               .doc = "the matrix product of a and b, over leading batch axes",
                               .id = CHXI_OP_matmul,
                               .version = 1,
                               .kind = CHXI_KERNEL,
                               .inputs = {"a", "b"},
                               .outputs = {"y"},
                               .n_in = 2,
                               .n_required = 2,
                               .n_out = 1,
                               .keep_x = 3,
                               .dtypes = CHX_ANY_REAL,
                               .infer = infer_matmul,
                               .arrange = arrange_matmul,
                               .grad = grad_matmul};

/* ---- linear ------------------------------------------------------------------------------------------------------------------ */

static bool infer_linear(chxi_call *c)
{
  char t1[128], t2[128];
  if (!chxi_float_operands(c, 0, 2) || !chxi_need_rank(c, 1, 2, 2) || !chxi_need_rank(c, 0, 1, CHX_MAX_RANK))
    return false;
  const chx_array *x = c->in[0], *w = c->in[1], *b = c->in[2];
  int n = x->t.ndim;
  if (x->shape[n - 1] != w->shape[1])
    return chxi_bad(c, CHX_ESHAPE, "shapes of x and w are %s and %s, want [..., I] and [O, I]",
                    chxi_shape_text(t1, n, x->shape), chxi_shape_text(t2, 2, w->shape));
  if (b && (b->t.ndim != 1 || b->shape[0] != w->shape[0]))
    return chxi_bad(c, CHX_ESHAPE, "shape of b is %s, want [%lld]", chxi_shape_text(t1, b->t.ndim, b->shape),
                    (long long)w->shape[0]);
  chxi_out_shape(c, 0, x->dtype, n, x->shape);
  c->out[0].shape[n - 1] = w->shape[0];
  return true;
}

/* Of rank 2 by matmul; of another rank by linear itself on x reshaped to rank 2. */
static void decompose_linear(chx_scope *s, chxi_call *c, chx_array **out)
{
  const chx_array *x = c->in[0], *w = c->in[1], *b = c->in[2];
  int64_t columns = x->shape[x->t.ndim - 1], rows = 1;
  for (int i = 0; i < x->t.ndim - 1; i++) rows *= x->shape[i];
  if (x->t.ndim != 2) {
    x = chx_reshape(s, x, 2, (const int64_t[]){rows, columns});
    out[0] = chx_reshape(s, chx_linear(s, x, w, b), c->out[0].ndim, c->out[0].shape);
    return;
  }
  out[0] = chx_matmul(s, x, turned(s, w));
  if (b) out[0] = chx_add(s, out[0], b);
}

/* A kernel knows x [N, I]: one row is shown as that. */
static void arrange_linear(chxi_call *c)
{
  const chx_array *x = c->in[0], *y = c->y[0];
  if (x->t.ndim != 1) return;
  chxi_arrange(c, 0, 2, (const int64_t[]){1, x->shape[0]}, (const int64_t[]){x->shape[0], x->strides[0]});
  chxi_arrange(c, CHXI_KERNEL_IN, 2, (const int64_t[]){1, y->shape[0]}, (const int64_t[]){y->shape[0], y->strides[0]});
}

static void grad_linear(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chx_array *x = n->x[0], *w = n->x[1], *gy = n->gy[0];
  if (x->t.ndim != 2) {
    int64_t rows = 1;
    for (int i = 0; i < x->t.ndim - 1; i++) rows *= x->shape[i];
    x = chx_reshape(s, x, 2, (const int64_t[]){rows, w->shape[1]});
    gy = chx_reshape(s, gy, 2, (const int64_t[]){rows, w->shape[0]});
    if (!x || !gy) return;
  }
  if (n->need[0]) {
    gx[0] = chx_matmul(s, gy, w);
    if (n->in[0].ndim != 2) gx[0] = chx_reshape(s, gx[0], n->in[0].ndim, n->in[0].shape);
  }
  if (n->need[1]) gx[1] = chx_matmul(s, turned(s, gy), x);
  if (n->need[2]) gx[2] = n->gy[0]; /* the caller sums it */
}

const chx_op chxi_op_linear = {.name = "linear",
                               .doc = "x w^T + b over the last axis of x",
                               .id = CHXI_OP_linear,
                               .version = 1,
                               .kind = CHXI_COMPOSITE,
                               .inputs = {"x", "w", "b"},
                               .outputs = {"y"},
                               .n_in = 3,
                               .n_required = 2,
                               .n_out = 1,
                               .keep_x = 3,
                               .dtypes = CHX_FLOATS,
                               .parts = "matmul add",
                               .infer = infer_linear,
                               .arrange = arrange_linear,
                               .grad = grad_linear,
                               .decompose = decompose_linear};
