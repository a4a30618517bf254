/* SPDX-License-Identifier: MIT
 * matmul.c: matmul and linear, y = a b (+ bias). Operands are read where they lie, transposed or not.
 */
#include "dn.h"

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Rows or columns of t follow one another: what BLAS would read. */
static bool is_matrix(const chx_tensor *t)
{
  const int64_t *n = t->shape + t->ndim - 2, *s = t->strides + t->ndim - 2;
  return (s[1] == 1 || n[1] == 1) ? n[0] == 1 || s[0] >= n[1] : s[0] == 1 && s[1] >= n[0];
}

static bool has_elements(const chx_tensor *t)
{
  for (int k = 0; k < t->ndim; k++)
    if (t->shape[k] < 1) return false;
  return !(t->flags & CHX_T_HOST_SCALAR);
}

/* ---- matmul ------------------------------------------------------------------------------------------------------ */

/* Batch axes of a and b with stride 0 are broadcast: oneDNN reads an axis of length 1 so. */
static bool measure_matmul(const chx_call *c, dn_size *size)
{
  const chx_tensor *a = &c->in[0], *b = &c->in[1], *y = &c->out[0];
  const int r = y->ndim - 2;
  if (y->ndim > DN_RANK || !has_elements(a) || !has_elements(b) || !dn_plain(y)) return false;
  if (!is_matrix(a) || !is_matrix(b) || !is_matrix(y) || (y->shape[r + 1] > 1 && y->strides[r + 1] != 1)) return false;
  double batch = 1;
  for (int k = 0; k < r; k++) {
    if (a->strides[k] < 0 || b->strides[k] < 0) return false;
    if (y->shape[k] > 1 && !a->strides[k] && !b->strides[k]) return false; /* the same products again */
    batch *= (double)y->shape[k];
  }
  const int64_t m = y->shape[r], n = y->shape[r + 1], k = a->shape[r + 1];
  size->form = DN_FIRST;
  size->work = 2 * batch * (double)m * (double)n * (double)k;
  size->narrow = least(m, least(n, k));
  return true;
}

/* The axes of operand i of y's rank: -1 where it is broadcast. */
static void batch_axes(const chx_tensor *t, int *axes)
{
  for (int k = 0; k < t->ndim; k++) axes[k] = k < t->ndim - 2 && t->strides[k] == 0 ? -1 : k;
}

/* Batches that share b, and whose rows of a and y follow one another, are one product with more rows. */
static bool is_flat(const chx_call *c)
{
  const chx_tensor *a = &c->in[0], *b = &c->in[1], *y = &c->out[0];
  for (int k = y->ndim - 3; k >= 0; k--)
    if (y->shape[k] > 1 && b->strides[k]) return false;
  return y->ndim > 2 && a->flags & y->flags & CHX_T_CONTIGUOUS;
}

static void flatten(dn_arg *a)
{
  const int r = a->ndims - 2;
  for (int k = 0; k < r; k++) a->dims[r] *= a->dims[k];
  a->dims[0] = a->dims[r];
  a->dims[1] = a->dims[r + 1];
  a->strides[0] = a->strides[r];
  a->strides[1] = a->strides[r + 1];
  a->ndims = 2;
}

/* A part packs what it reads of b and a anew: parts are large, and by columns, each with its own of b, where there are
 * enough of these. */
static double grain(const dn_arg *a) { return a->type == dnnl_f32 ? 2e7 : 1e8; }

static void split_product(dn_draft *d, dn_arg *a, dn_arg *b, dn_arg *bias, dn_arg *y, const dn_size *size)
{
  const bool columns = y->dims[1] >= 128;
  if (columns) b->split = y->split = 1;
  else a->split = y->split = 0;
  if (bias && columns) bias->split = 1;
  dn_draft_split(d, columns ? y->dims[1] : y->dims[0], 64, size->work, grain(a));
}

/* By the first batch axis. */
static void split_batch(dn_draft *d, const dn_size *size)
{
  const int64_t n = d->arg[2].dims[0];
  for (int i = 0; i < 3; i++) d->arg[i].split = d->arg[i].dims[0] == n ? 0 : -1;
  dn_draft_split(d, n, 1, size->work, DN_GRAIN_FLOPS);
}

static void describe_matmul(const chx_call *c, const dn_size *size, dn_draft *d)
{
  static const int ids[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
  static const int operands[] = {0, 1, DN_OUT};
  const bool flat = is_flat(c);
  int axes[DN_RANK];
  d->op.kind = DN_MATMUL;
  for (int i = 0; i < 3; i++) {
    batch_axes(dn_operand(c, operands[i]), axes);
    dn_arg *a = dn_draft_add(d, c, ids[i], operands[i], c->out[0].ndim, axes);
    if (flat) flatten(a);
  }
  if (d->arg[2].ndims == 2) split_product(d, &d->arg[0], &d->arg[1], NULL, &d->arg[2], size);
  else split_batch(d, size);
}

const dn_family dn_matmul = {measure_matmul, describe_matmul};

/* ---- linear ------------------------------------------------------------------------------------------------------ */

static bool measure_linear(const chx_call *c, dn_size *size)
{
  const chx_tensor *x = &c->in[0], *w = &c->in[1], *y = &c->out[0];
  if (x->ndim != 2 || !dn_all_plain(c) || !is_matrix(x) || !is_matrix(w) || !is_matrix(y)) return false;
  if (y->shape[1] > 1 && y->strides[1] != 1) return false;
  if (!dn_absent(c, 2) && c->in[2].shape[0] > 1 && c->in[2].strides[0] != 1) return false;
  size->form = DN_FIRST;
  size->work = 2 * (double)y->shape[0] * (double)y->shape[1] * (double)x->shape[1];
  size->narrow = least(y->shape[0], least(y->shape[1], x->shape[1]));
  return true;
}

static void describe_linear(const chx_call *c, const dn_size *size, dn_draft *d)
{
  d->op.kind = DN_MATMUL;
  dn_draft_add(d, c, DNNL_ARG_SRC, 0, 2, (const int[]){0, 1});
  dn_draft_add(d, c, DNNL_ARG_WEIGHTS, 1, 2, (const int[]){1, 0});
  dn_arg *y = dn_draft_add(d, c, DNNL_ARG_DST, DN_OUT, 2, (const int[]){0, 1}), *bias = NULL;
  if (!dn_absent(c, 2)) bias = dn_draft_add(d, c, DNNL_ARG_BIAS, 2, 2, (const int[]){-1, 0});
  split_product(d, &d->arg[0], &d->arg[1], bias, y, size);
}

const dn_family dn_linear = {measure_linear, describe_linear};
