/* SPDX-License-Identifier: MIT
 * k_matmul.c: matmul and linear. Floats are gemm.h's; integers, which wrap, and bool have plain loops here.
 */
#include "gemm.h"

/* [.., M, K] x [.., K, N] as a list of batch axes and three strides each; strides in elements. */
typedef struct problem {
  int64_t m, n, k, a_row, a_col, b_row, b_col, c_row, c_col;
  int rank;              /* batch axes */
  int64_t count;         /* of products in the batch */
  int64_t dim[CHX_MAX_RANK], a_step[CHX_MAX_RANK], b_step[CHX_MAX_RANK], c_step[CHX_MAX_RANK];
  const char *a, *b;
  char *c;
} problem;

static void describe(problem *p, const chx_tensor *a, const chx_tensor *b, const chx_tensor *c)
{
  const int r = c->ndim - 2;
  p->m = c->shape[r];
  p->n = c->shape[r + 1];
  p->k = a->shape[r + 1];
  p->a_row = a->strides[r];
  p->a_col = a->strides[r + 1];
  p->b_row = b->strides[r];
  p->b_col = b->strides[r + 1];
  p->c_row = c->strides[r];
  p->c_col = c->strides[r + 1];
  p->a = nat_data(a);
  p->b = nat_data(b);
  p->c = nat_data(c);
  p->count = 1;
  p->rank = 0;
  for (int d = 0; d < r; d++) {
    if (c->shape[d] == 1) continue;
    p->count *= p->dim[p->rank] = c->shape[d];
    p->a_step[p->rank] = a->strides[d];
    p->b_step[p->rank] = b->strides[d];
    p->c_step[p->rank++] = c->strides[d];
  }
  /* A batch that shares B and whose rows of A and C follow one another is one product with more rows. */
  for (int d; p->count && p->rank && p->b_step[d = p->rank - 1] == 0; p->rank--) {
    if (p->m == 1) {
      p->a_row = p->a_step[d];
      p->c_row = p->c_step[d];
    } else if (p->a_step[d] != p->m * p->a_row || p->c_step[d] != p->m * p->c_row) {
      break;
    }
    p->m *= p->dim[d];
    p->count /= p->dim[d];
  }
}

/* Where product i of the batch begins, in elements. */
static void locate(const problem *p, int64_t i, int64_t *a, int64_t *b, int64_t *c)
{
  *a = *b = *c = 0;
  for (int d = p->rank; d-- > 0; i /= p->dim[d]) {
    const int64_t at = i % p->dim[d];
    *a += at * p->a_step[d];
    *b += at * p->b_step[d];
    *c += at * p->c_step[d];
  }
}

#define FLOAT(T, tag)                                                                                             \
  static void tiles_##tag(int64_t begin, int64_t end, void *ctx)                                                  \
  {                                                                                                               \
    const problem *p = ctx;                                                                                       \
    for (int64_t i = begin, a, b, c; i < end; i++) {                                                              \
      locate(p, i, &a, &b, &c);                                                                                   \
      NAT(nat_tile_##tag)(p->m, p->n, p->k, (const T *)(const void *)p->a + a, p->a_row, p->a_col,                \
                          (const T *)(const void *)p->b + b, p->b_row, p->b_col, (T *)(void *)p->c + c, p->c_row, \
                          0);                                                                                     \
    }                                                                                                             \
  }                                                                                                               \
  static chx_status matmul_##tag(const chx_call *call, problem *p)                                                \
  {                                                                                                               \
    const int64_t work = p->m * p->n * (p->k ? p->k : 1);                                                         \
    int64_t i = 0, a, b, c;                                                                                       \
    if (p->count > 1 && work >= 16 * NAT_GEMM_SMALL && p->k)                                                      \
      for (; i < p->count; i++) {                                                                                 \
        locate(p, i, &a, &b, &c);                                                                                 \
        if (!nat_blas_##tag(p->m, p->n, p->k, (const T *)(const void *)p->a + a, p->a_row, p->a_col,              \
                            (const T *)(const void *)p->b + b, p->b_row, p->b_col, (T *)(void *)p->c + c,         \
                            p->c_row, p->c_col, 0))                                                               \
          break; /* the first one, or none */                                                                     \
      }                                                                                                           \
    if (i == p->count) return CHX_OK;                                                                             \
    if (p->c_col == 1 && p->count > 1 && (p->count >= 8 || work <= NAT_GEMM_SMALL)) {                             \
      nat_parallel(p->count, NAT_GEMM_SMALL / (work + 1) + 1, tiles_##tag, p);                                    \
      return CHX_OK;                                                                                              \
    }                                                                                                             \
    for (; i < p->count; i++) {                                                                                   \
      locate(p, i, &a, &b, &c);                                                                                   \
      chx_status e = NAT(nat_gemm_##tag)(call, p->m, p->n, p->k, (const T *)(const void *)p->a + a, p->a_row,     \
                                         p->a_col, (const T *)(const void *)p->b + b, p->b_row, p->b_col,         \
                                         (T *)(void *)p->c + c, p->c_row, p->c_col, 0);                           \
      if (e) return e;                                                                                            \
    }                                                                                                             \
    return CHX_OK;                                                                                                \
  }                                                                                                               \
  static chx_status linear_##tag(const chx_call *call, const chx_tensor *bias)                                    \
  {                                                                                                               \
    const chx_tensor *x = &call->in[0], *w = &call->in[1], *y = &call->out[0];                                    \
    T *c = nat_data(y);                                                                                           \
    if (bias) {                                                                                                   \
      const T *v = nat_data(bias);                                                                                \
      const int64_t step = bias->strides[0];                                                                      \
      for (int64_t i = 0; i < y->shape[0]; i++)                                                                   \
        for (int64_t j = 0; j < y->shape[1]; j++) c[i * y->strides[0] + j * y->strides[1]] = v[j * step];         \
    }                                                                                                             \
    return NAT(nat_gemm_##tag)(call, y->shape[0], y->shape[1], x->shape[1], nat_data(x), x->strides[0],           \
                               x->strides[1], nat_data(w), w->strides[1], w->strides[0], c, y->strides[0],        \
                               y->strides[1], bias != NULL);                                                      \
  }

FLOAT(float, f32)
FLOAT(double, f64)

/* Rows begin .. end - 1 of all products: sums of A's elements times rows of B, which vectorise. MUL: c + a b. */
#define WHOLE(T, name, MUL)                                                                                        \
  static void name##_row(int64_t n, T f, const T *restrict b, int64_t b_col, T *restrict c, int64_t c_col)         \
  {                                                                                                                \
    if (c_col == 1 && b_col == 1)                                                                                  \
      for (int64_t j = 0; j < n; j++) c[j] = MUL(T, c[j], f, b[j]);                                                \
    else                                                                                                           \
      for (int64_t j = 0; j < n; j++) c[j * c_col] = MUL(T, c[j * c_col], f, b[j * b_col]);                        \
  }                                                                                                                \
  static void name(int64_t begin, int64_t end, void *ctx)                                                          \
  {                                                                                                                \
    const problem *p = ctx;                                                                                        \
    for (int64_t i = begin, oa, ob, oc; i < end; i++) {                                                            \
      locate(p, i / p->m, &oa, &ob, &oc);                                                                          \
      const T *a = (const T *)(const void *)p->a + oa + i % p->m * p->a_row;                                       \
      const T *b = (const T *)(const void *)p->b + ob;                                                             \
      T *c = (T *)(void *)p->c + oc + i % p->m * p->c_row;                                                         \
      for (int64_t j = 0; j < p->n; j++) c[j * p->c_col] = 0;                                                      \
      for (int64_t k = 0; k < p->k; k++) name##_row(p->n, a[k * p->a_col], b + k * p->b_row, p->b_col, c, p->c_col); \
    }                                                                                                              \
  }
#define WRAP(T, c, x, y) ((T)((c) + 1u * (x) * (y))) /* unsigned: u16 times u16 would overflow an int */
#define OR(T, c, x, y) ((T)((c) | ((x) != 0 && (y) != 0)))
WHOLE(uint8_t, whole_8, WRAP)
WHOLE(uint16_t, whole_16, WRAP)
WHOLE(uint32_t, whole_32, WRAP)
WHOLE(uint64_t, whole_64, WRAP)
WHOLE(uint8_t, whole_bool, OR)

static chx_status matmul(void *self, const chx_call *call)
{
  problem p;
  (void)self;
  describe(&p, &call->in[0], &call->in[1], &call->out[0]);
  if (p.count == 0 || p.m == 0 || p.n == 0) return CHX_OK;
  const int type = nat_dtype(&call->out[0]);
  if (type == CHX_F32) return matmul_f32(call, &p);
  if (type == CHX_F64) return matmul_f64(call, &p);
  nat_range *f = type == CHX_BOOL ? whole_bool
                 : call->out[0].bits == 8 ? whole_8
                 : call->out[0].bits == 16 ? whole_16
                 : call->out[0].bits == 32 ? whole_32 : whole_64;
  nat_parallel(p.count * p.m, NAT_GRAIN / (p.n * (p.k + 1)) + 1, f, &p);
  return CHX_OK;
}

static chx_status linear(void *self, const chx_call *call)
{
  const chx_tensor *bias = call->n_in > 2 && !(call->in[2].flags & CHX_T_ABSENT) ? &call->in[2] : NULL;
  (void)self;
  return nat_dtype(&call->out[0]) == CHX_F32 ? linear_f32(call, bias) : linear_f64(call, bias);
}

#define FLOATS (CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64))
#define DTYPES (CHX_INTEGERS | CHX_BIT(CHX_BOOL) | FLOATS)
const chx_kernel NAT(nat_matmul_kernels)[] = {
  {NAT_KERNEL, .op = "matmul", .dtypes_in = DTYPES, .dtypes_out = DTYPES, .run = matmul},
  {.size = sizeof(chx_kernel), .min_version = 1, .max_version = 1, .max_rank = 2, .op = "linear", .dtypes_in = FLOATS,
   .dtypes_out = FLOATS, .run = linear},
  {0},
};
