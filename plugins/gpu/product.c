/* SPDX-License-Identifier: MIT
 * product.c: matmul and linear as a BLAS by columns sees them, for the plugins that open a vendor's.
 *
 * Rows of y that are dense make y, read by columns, the transpose: D = y' = b' a', so that A is the call's second
 * input.
 */
#include <string.h>
#include "gpu.h"

/* What lies at rows x columns elements with these steps, as a matrix by columns. */
static bool matrix_of(int64_t rows, int64_t columns, int64_t row, int64_t column, gpu_matrix *m)
{
  if ((row == 1 || rows == 1) && (column >= rows || columns == 1)) {
    m->ld = columns == 1 ? rows : column;
    m->turned = false;
    return true;
  }
  if ((column == 1 || columns == 1) && (row >= columns || rows == 1)) {
    m->ld = rows == 1 ? columns : row;
    m->turned = true;
    return true;
  }
  return false;
}

/* The batch axes as one; a step of 0 is a matrix used again. */
static bool batch_of(const chx_call *c, const chx_tensor *const t[3], int64_t *count, int64_t step[3])
{
  const int axes = c->out[0].ndim - 2;
  bool first = true;
  *count = 1;
  for (int k = 0; k < 3; k++) step[k] = 0;
  for (int d = axes; d-- > 0;) {
    const int64_t n = c->out[0].shape[d];
    if (n == 1) continue;
    for (int k = 0; k < 3; k++) {
      if (first) step[k] = t[k]->strides[d];
      else if (t[k]->strides[d] != step[k] * *count) return false;
    }
    *count *= n;
    first = false;
  }
  return step[0] >= 0 && step[1] >= 0 && (step[2] > 0 || *count == 1);
}

typedef struct steps { int64_t row, column; } steps;

/* y[rows, columns] = left right, steps of each; y's rows or columns must be dense. */
static bool product_of(gpu_product *p, int64_t rows, int64_t columns, int64_t inner, steps left, steps right, steps y)
{
  const gpu_matrix none = {0};
  p->a = p->b = p->d = none;
  p->k = inner;
  p->bias = false;
  if (rows < 1 || columns < 1 || inner < 1) return false;
  if (matrix_of(columns, rows, y.column, y.row, &p->d) && !p->d.turned) {
    p->a_in = 1;
    p->m = columns, p->n = rows;
    return matrix_of(columns, inner, right.column, right.row, &p->a) && matrix_of(inner, rows, left.column, left.row,
                                                                                  &p->b);
  }
  p->a_in = 0;
  p->m = rows, p->n = columns;
  return matrix_of(rows, columns, y.row, y.column, &p->d) && !p->d.turned &&
         matrix_of(rows, inner, left.row, left.column, &p->a) && matrix_of(inner, columns, right.row, right.column,
                                                                           &p->b);
}

static bool small_enough(const gpu_product *p)
{
  return p->m <= INT32_MAX && p->n <= INT32_MAX && p->k <= INT32_MAX && p->batch <= INT32_MAX && p->a.ld <= INT32_MAX &&
         p->b.ld <= INT32_MAX && p->d.ld <= INT32_MAX;
}

bool gpu_product_of_matmul(const chx_call *c, gpu_product *p)
{
  const chx_tensor *a = &c->in[0], *b = &c->in[1], *y = &c->out[0];
  const int r = y->ndim - 2;
  const chx_tensor *const all[3] = {a, b, y};
  int64_t step[3];
  if (!product_of(p, y->shape[r], y->shape[r + 1], a->shape[r + 1], (steps){a->strides[r], a->strides[r + 1]},
                  (steps){b->strides[r], b->strides[r + 1]}, (steps){y->strides[r], y->strides[r + 1]}) ||
      !batch_of(c, all, &p->batch, step))
    return false;
  p->a.step = step[p->a_in];
  p->b.step = step[1 - p->a_in];
  p->d.step = step[2];
  return p->batch > 0 && small_enough(p);
}

bool gpu_product_of_linear(const chx_call *c, gpu_product *p)
{
  const chx_tensor *x = &c->in[0], *w = &c->in[1], *y = &c->out[0];
  const chx_tensor *bias = c->n_in > 2 && !(c->in[2].flags & CHX_T_ABSENT) ? &c->in[2] : NULL;
  p->batch = 1;
  if (!product_of(p, y->shape[0], y->shape[1], x->shape[1], (steps){x->strides[0], x->strides[1]},
                  (steps){w->strides[1], w->strides[0]}, (steps){y->strides[0], y->strides[1]}))
    return false;
  p->bias = bias != NULL;
  return small_enough(p) && (!bias || (p->a_in == 1 && (bias->strides[0] == 1 || bias->shape[0] == 1)));
}

chx_status gpu_fill_rows(const chx_call *c)
{
  const chx_kernel *copy = NULL;
  for (uint32_t i = 0; (copy = gpu_kernel_at(gpu_of(c->dev), i)) && strcmp(copy->op, "copy"); i++) {}
  if (!copy) return CHX_DECLINED;
  const int64_t strides[2] = {0, c->in[2].strides[0]};
  chx_tensor row = c->in[2];
  row.ndim = 2;
  row.shape = c->out[0].shape;
  row.strides = strides;
  row.flags &= ~(uint64_t)CHX_T_CONTIGUOUS;
  chx_call call = *c;
  call.in = &row;
  call.n_in = 1;
  call.attr = NULL;
  return copy->run(copy->self, &call);
}
