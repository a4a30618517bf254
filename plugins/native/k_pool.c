/* SPDX-License-Identifier: MIT
 * k_pool.c: max_pool, avg_pool and avg_pool_grad over one to three spatial axes.
 *
 * As in conv.h there are always three axes, missing ones in front with length 1; x has H elements in them, y has P, and
 * operands are dense: [N C, H] or, channels last, [N, H, C]. A window is cut to its part inside x, which is never
 * empty: the core lets each begin in x or in the padding before it, and padding is smaller than the window.
 */
#include <string.h>
#include "half.h"
#include "native.h"

typedef struct pool {
  int64_t n, c, h, p, in[3], out[3], ker[3], stride[3], pad[3];
  int last, exclude;
  int64_t size; /* of the window */
  const void *x;
  void *y;
  int64_t *at; /* max_pool's second output */
} pool;

typedef struct window { int64_t from[3], to[3]; } window;

/* The part of output o's window on axis d. */
static inline int64_t cut(const pool *v, int d, int64_t o, window *w)
{
  const int64_t a = o * v->stride[d] - v->pad[d], b = a + v->ker[d];
  w->from[d] = a < 0 ? 0 : a;
  w->to[d] = b > v->in[d] ? v->in[d] : b;
  return 1;
}

static inline window window_at(const pool *v, int64_t p)
{
  window w;
  cut(v, 0, p / v->out[2] / v->out[1], &w);
  cut(v, 1, p / v->out[2] % v->out[1], &w);
  cut(v, 2, p % v->out[2], &w);
  return w;
}

/* For all places p of y in order, with window w. */
#define EACH_WINDOW(v, w, p)                                                            \
  for (int64_t o0 = 0, p = 0; o0 < (v)->out[0] && cut(v, 0, o0, &(w)); o0++)            \
    for (int64_t o1 = 0; o1 < (v)->out[1] && cut(v, 1, o1, &(w)); o1++)                 \
      for (int64_t o2 = 0; o2 < (v)->out[2] && cut(v, 2, o2, &(w)); o2++, p++)

/* What a window's sum is divided by. */
static inline int64_t share(const pool *v, const window *w)
{
  return v->exclude ? (w->to[0] - w->from[0]) * (w->to[1] - w->from[1]) * (w->to[2] - w->from[2]) : v->size;
}

#define T float
#define TAG f32
#define V float
#define LOAD(x) (x)
#define NAN_OF(v) (v) != (v)
#include "pool_body.h"
#define T double
#define TAG f64
#define V double
#define LOAD(x) (x)
#define NAN_OF(v) (v) != (v)
#include "pool_body.h"
#define T uint16_t
#define TAG f16
#define V float
#define LOAD(x) nat_from_f16(x)
#define NAN_OF(v) (v) != (v)
#include "pool_body.h"
#define T uint16_t
#define TAG bf16
#define V float
#define LOAD(x) nat_from_bf16(x)
#define NAN_OF(v) (v) != (v)
#include "pool_body.h"
#define T int8_t
#define TAG i8
#define V int8_t
#define LOAD(x) (x)
#define NAN_OF(v) 0
#include "pool_body.h"
#define T int16_t
#define TAG i16
#define V int16_t
#define LOAD(x) (x)
#define NAN_OF(v) 0
#include "pool_body.h"
#define T int32_t
#define TAG i32
#define V int32_t
#define LOAD(x) (x)
#define NAN_OF(v) 0
#include "pool_body.h"
#define T int64_t
#define TAG i64
#define V int64_t
#define LOAD(x) (x)
#define NAN_OF(v) 0
#include "pool_body.h"
#define T uint8_t
#define TAG u8
#define V uint8_t
#define LOAD(x) (x)
#define NAN_OF(v) 0
#include "pool_body.h"
#define T uint16_t
#define TAG u16
#define V uint16_t
#define LOAD(x) (x)
#define NAN_OF(v) 0
#include "pool_body.h"
#define T uint32_t
#define TAG u32
#define V uint32_t
#define LOAD(x) (x)
#define NAN_OF(v) 0
#include "pool_body.h"
#define T uint64_t
#define TAG u64
#define V uint64_t
#define LOAD(x) (x)
#define NAN_OF(v) 0
#include "pool_body.h"

/* Means are summed in order. x: what is averaged; of the gradient, y is x's and what is written. */
#define AVERAGE(T, tag)                                                                                            \
  static void avg_first_##tag(int64_t begin, int64_t end, void *ctx)                                               \
  {                                                                                                                \
    const pool *v = ctx;                                                                                           \
    for (int64_t t = begin; t < end; t++) {                                                                        \
      const T *x = (const T *)v->x + t * v->h;                                                                     \
      window w;                                                                                                    \
      EACH_WINDOW(v, w, p) {                                                                                       \
        T sum = 0;                                                                                                 \
        for (int64_t h0 = w.from[0]; h0 < w.to[0]; h0++)                                                           \
          for (int64_t h1 = w.from[1]; h1 < w.to[1]; h1++)                                                         \
            for (int64_t h2 = w.from[2]; h2 < w.to[2]; h2++) sum += x[(h0 * v->in[1] + h1) * v->in[2] + h2];       \
        ((T *)v->y)[t * v->p + p] = sum / (T)share(v, &w);                                                         \
      }                                                                                                            \
    }                                                                                                              \
  }                                                                                                                \
  static void avg_last_##tag(int64_t begin, int64_t end, void *ctx)                                                \
  {                                                                                                                \
    const pool *v = ctx;                                                                                           \
    for (int64_t t = begin; t < end; t++) {                                                                        \
      const window w = window_at(v, t % v->p);                                                                     \
      const T *x = (const T *)v->x + t / v->p * v->h * v->c;                                                       \
      T *restrict y = (T *)v->y + t * v->c;                                                                        \
      const int64_t n = v->c;                                                                                      \
      for (int64_t c = 0; c < n; c++) y[c] = 0;                                                                    \
      for (int64_t h0 = w.from[0]; h0 < w.to[0]; h0++)                                                             \
        for (int64_t h1 = w.from[1]; h1 < w.to[1]; h1++)                                                           \
          for (int64_t h2 = w.from[2]; h2 < w.to[2]; h2++) {                                                       \
            const T *restrict e = x + ((h0 * v->in[1] + h1) * v->in[2] + h2) * n;                                  \
            for (int64_t c = 0; c < n; c++) y[c] += e[c];                                                          \
          }                                                                                                        \
      const T by = (T)share(v, &w);                                                                                \
      for (int64_t c = 0; c < n; c++) y[c] /= by;                                                                  \
    }                                                                                                              \
  }                                                                                                                \
  static void grad_first_##tag(int64_t begin, int64_t end, void *ctx)                                              \
  {                                                                                                                \
    const pool *v = ctx;                                                                                           \
    for (int64_t t = begin; t < end; t++) {                                                                        \
      T *gx = (T *)v->y + t * v->h;                                                                                \
      memset(gx, 0, (size_t)v->h * sizeof(T));                                                                     \
      window w;                                                                                                    \
      EACH_WINDOW(v, w, p) {                                                                                       \
        const T g = ((const T *)v->x)[t * v->p + p] / (T)share(v, &w);                                             \
        for (int64_t h0 = w.from[0]; h0 < w.to[0]; h0++)                                                           \
          for (int64_t h1 = w.from[1]; h1 < w.to[1]; h1++)                                                         \
            for (int64_t h2 = w.from[2]; h2 < w.to[2]; h2++) gx[(h0 * v->in[1] + h1) * v->in[2] + h2] += g;        \
      }                                                                                                            \
    }                                                                                                              \
  }                                                                                                                \
  static void grad_last_##tag(int64_t begin, int64_t end, void *ctx) /* images */                                  \
  {                                                                                                                \
    const pool *v = ctx;                                                                                           \
    const int64_t n = v->c;                                                                                        \
    for (int64_t t = begin; t < end; t++) {                                                                        \
      T *gx = (T *)v->y + t * v->h * n;                                                                            \
      memset(gx, 0, (size_t)(v->h * n) * sizeof(T));                                                               \
      for (int64_t p = 0; p < v->p; p++) {                                                                         \
        const window w = window_at(v, p);                                                                          \
        const T *restrict g = (const T *)v->x + (t * v->p + p) * n;                                                \
        const T by = (T)share(v, &w);                                                                              \
        for (int64_t h0 = w.from[0]; h0 < w.to[0]; h0++)                                                           \
          for (int64_t h1 = w.from[1]; h1 < w.to[1]; h1++)                                                         \
            for (int64_t h2 = w.from[2]; h2 < w.to[2]; h2++) {                                                     \
              T *restrict e = gx + ((h0 * v->in[1] + h1) * v->in[2] + h2) * n;                                     \
              for (int64_t c = 0; c < n; c++) e[c] += g[c] / by;                                                   \
            }                                                                                                      \
      }                                                                                                            \
    }                                                                                                              \
  }
AVERAGE(float, f32)
AVERAGE(double, f64)

enum { MAX, AVG, AVG_GRAD };
typedef struct loops { nat_range *first, *last; } loops;

static loops pick(int what, int dtype)
{
  if (what == AVG) return dtype == CHX_F32 ? (loops){avg_first_f32, avg_last_f32} : (loops){avg_first_f64, avg_last_f64};
  if (what == AVG_GRAD)
    return dtype == CHX_F32 ? (loops){grad_first_f32, grad_last_f32} : (loops){grad_first_f64, grad_last_f64};
  switch (dtype) {
#define CASE(id, tag) case id: return (loops){max_first_##tag, max_last_##tag};
    CASE(CHX_F32, f32) CASE(CHX_F64, f64) CASE(CHX_F16, f16) CASE(CHX_BF16, bf16)
    CASE(CHX_I8, i8) CASE(CHX_I16, i16) CASE(CHX_I32, i32) CASE(CHX_I64, i64)
    CASE(CHX_U16, u16) CASE(CHX_U32, u32) CASE(CHX_U64, u64)
  default: return (loops){max_first_u8, max_last_u8}; /* u8 and bool */
  }
}

static chx_status run(void *self, const chx_call *call)
{
  const int what = *(const int *)self;
  const chx_pool_attr *a = call->attr;
  const chx_tensor *x = what == AVG_GRAD ? &call->out[0] : &call->in[0];
  const chx_tensor *y = what == AVG_GRAD ? &call->in[0] : &call->out[0];
  const int n = x->ndim - 2;
  pool v = {.n = x->shape[0], .last = a->layout == CHX_CHANNELS_LAST, .exclude = a->exclude_pad != 0, .size = 1};
  const int s = v.last ? 1 : 2;

  v.c = x->shape[v.last ? n + 1 : 1];
  v.h = v.p = 1;
  for (int d = 0; d < 3; d++) {
    const int k = d - (3 - n);
    v.h *= v.in[d] = k < 0 ? 1 : x->shape[s + k];
    v.p *= v.out[d] = k < 0 ? 1 : y->shape[s + k];
    v.size *= v.ker[d] = k < 0 ? 1 : a->ksize.v[k];
    v.stride[d] = k < 0 ? 1 : a->stride.v[k];
    v.pad[d] = k < 0 ? 0 : a->pad.v[k];
  }
  v.x = nat_data(&call->in[0]);
  v.y = nat_data(&call->out[0]);
  if (what == MAX) v.at = nat_data(&call->out[1]);
  if (v.n == 0 || v.c == 0 || v.h == 0) return CHX_OK;

  const loops f = pick(what, nat_dtype(x));
  const int64_t cost = 4 * v.p * (v.size + 4), least = 2 * NAT_GRAIN;
  if (!v.last) nat_parallel(v.n * v.c, least / (cost + 1) + 1, f.first, &v);
  else if (what == AVG_GRAD) nat_parallel(v.n, least / (cost * v.c + 1) + 1, f.last, &v);
  else nat_parallel(v.n * v.p, least / (v.size * v.c) + 1, f.last, &v);
  return CHX_OK;
}

static const int kinds[] = {MAX, AVG, AVG_GRAD};
#define FLOATS (CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64))
#define KERNEL(name, kind, in, made)                                                                                 \
  {.size = sizeof(chx_kernel), .attr_size = sizeof(chx_pool_attr), .min_version = 1, .max_version = 1, .max_rank = 5, \
   .op = name, .dtypes_in = in, .dtypes_out = made, .flags = CHX_K_CONTIGUOUS, .run = run,                           \
   .self = (void *)(uintptr_t)&kinds[kind]}
const chx_kernel NAT(nat_pool_kernels)[] = {
  KERNEL("max_pool", MAX, CHX_ANY_REAL, CHX_ANY_REAL),
  KERNEL("avg_pool", AVG, FLOATS, FLOATS),
  KERNEL("avg_pool_grad", AVG_GRAD, FLOATS, FLOATS),
  {0},
};
