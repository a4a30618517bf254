/* SPDX-License-Identifier: MIT
 * matmul.c: matmul and linear, a running sum for each element. f32 is summed in f32, f64 in f64; integers wrap; bool is
 * the or of ands.
 */
#include "ref.h"

/* sum over k < n of a[k sa] b[k sb], at y, plus bias b0 (NULL: none) */
static void dot(int dtype, int64_t n, const char *a, int64_t sa, const char *b, int64_t sb, const void *b0,
                int64_t size, void *y)
{
  switch (dtype) {
#define FLOAT_DOT(type)                                                                                               \
  {                                                                                                                   \
    type s = 0;                                                                                                       \
    for (int64_t k = 0; k < n; k++) s += *(const type *)(const void *)(a + k * sa * size) * *(const type *)(const void *)(b + k * sb * size); \
    *(type *)y = b0 ? s + *(const type *)b0 : s;                                                                      \
  }
  case CHX_F32: FLOAT_DOT(float) break;
  case CHX_F64: FLOAT_DOT(double) break;
  case CHX_BOOL: {
    uint8_t any = 0;
    for (int64_t k = 0; k < n; k++) any |= a[k * sa] && b[k * sb];
    *(uint8_t *)y = any;
    break;
  }
  default: { /* the low bits of a product do not depend on signs */
    uint64_t s = 0;
    for (int64_t k = 0; k < n; k++) {
      uint64_t u = 0, v = 0;
      memcpy(&u, a + k * sa * size, (size_t)size);
      memcpy(&v, b + k * sb * size, (size_t)size);
      s += u * v;
    }
    memcpy(y, &s, (size_t)size);
  }
  }
}

static chx_status matmul(void *self, const chx_call *c)
{
  const chx_tensor *a = &c->in[0], *b = &c->in[1], *y = &c->out[0];
  int n = y->ndim;
  int64_t i[CHX_MAX_RANK] = {0}, ia[CHX_MAX_RANK], ib[CHX_MAX_RANK];
  (void)self;
  if (ref_count(y)) do {
      memcpy(ia, i, sizeof ia);
      memcpy(ib, i, sizeof ib);
      ia[n - 1] = ib[n - 2] = 0;
      dot(ref_dtype(y), a->shape[n - 1], ref_at(a, ia), a->strides[n - 1], ref_at(b, ib), b->strides[n - 2], NULL,
          ref_size(y), ref_at(y, i));
    } while (ref_next(y, i));
  return CHX_OK;
}

static chx_status linear(void *self, const chx_call *c)
{
  const chx_tensor *x = &c->in[0], *w = &c->in[1],
                   *b = c->n_in > 2 && !(c->in[2].flags & CHX_T_ABSENT) ? &c->in[2] : NULL, *y = &c->out[0];
  int64_t i[2] = {0};
  (void)self;
  if (ref_count(y)) do {
      int64_t ix[2] = {i[0], 0}, iw[2] = {i[1], 0};
      dot(ref_dtype(y), x->shape[1], ref_at(x, ix), x->strides[1], ref_at(w, iw), w->strides[1],
          b ? ref_at(b, &i[1]) : NULL, ref_size(y), ref_at(y, i));
    } while (ref_next(y, i));
  return CHX_OK;
}

#define DTYPES (CHX_INTEGERS | CHX_BIT(CHX_BOOL) | CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64))
const chx_kernel ref_matmul_kernels[] = {
    {REF_KERNEL, .op = "matmul", .dtypes_in = DTYPES, .dtypes_out = DTYPES, .run = matmul},
    {.size = sizeof(chx_kernel),
     .op = "linear",
     .dtypes_in = CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64),
     .dtypes_out = CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64),
     .max_rank = 2,
     .run = linear},
    {.op = NULL}};
