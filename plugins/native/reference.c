/* SPDX-License-Identifier: MIT
 * reference.c: the reference mode (CHX_REFERENCE=1): ref's plain loops, compiled into native with chx/refmath.h in place of libm. They
 * sum in one order, on one thread, without contraction, so that every device that does the same gives the same bits.
 *
 * Products and convolutions are written again here: each element's sum is still taken in ref's order, from 0 and in the dtype
 * itself, but many elements go forward at once.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "native.h"
#include "../ref/ref.h"

const chx_host *ref_host;

chx_status ref_fail(chx_status code, const char *fmt, ...)
{
  char msg[384];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(msg, sizeof msg, fmt, ap);
  va_end(ap);
  return nat_fail(code, "%s", msg);
}

enum { Y, GX, GW };

/* A convolution's lengths and strides, three spatial axes each: missing ones are in front, of length 1. */
typedef struct conv {
  int64_t n, groups, cg, kg, in[3], out[3], ker[3], stride[3], pad[3], dil[3];
  int64_t xn, xc, xh[3], wk, wc, wr[3], yn, yk, yp[3];
} conv;

static void spatial(const chx_tensor *t, int first, int n, int64_t len[3], int64_t step[3])
{
  for (int d = 0; d < 3; d++) {
    const int k = d - (3 - n);
    len[d] = k < 0 ? 1 : t->shape[first + k];
    step[d] = k < 0 ? 0 : t->strides[first + k];
  }
}

static conv describe(const chx_conv_attr *a, const chx_tensor *x, const chx_tensor *w, const chx_tensor *y)
{
  const int last = a->layout == CHX_CHANNELS_LAST, n = x->ndim - 2, channel = last ? n + 1 : 1, first = last ? 1 : 2;
  conv v = {.n = x->shape[0], .groups = a->groups, .cg = w->shape[channel], .kg = w->shape[0] / a->groups,
            .xn = x->strides[0], .xc = x->strides[channel], .wk = w->strides[0], .wc = w->strides[channel],
            .yn = y->strides[0], .yk = y->strides[channel]};
  spatial(x, first, n, v.in, v.xh);
  spatial(w, first, n, v.ker, v.wr);
  spatial(y, first, n, v.out, v.yp);
  for (int d = 0; d < 3; d++) {
    const int k = d - (3 - n);
    v.stride[d] = k < 0 ? 1 : a->stride.v[k];
    v.pad[d] = k < 0 ? 0 : a->pad.v[k];
    v.dil[d] = k < 0 ? 1 : a->dilation.v[k];
  }
  return v;
}

/* For axis d and tap r: the outputs *from .. *to - 1 that read inside of x; output o reads o stride + the value returned. */
static int64_t span(const conv *v, int d, int64_t r, int64_t *from, int64_t *to)
{
  const int64_t at = r * v->dil[d] - v->pad[d], s = v->stride[d], end = v->in[d] - 1 - at;
  *from = at < 0 ? (-at + s - 1) / s : 0;
  *to = end < 0 ? 0 : end / s + 1 < v->out[d] ? end / s + 1 : v->out[d];
  return at;
}

/* A tap's part of the job: the places at which it meets x. */
typedef struct tap {
  int64_t from[3], to[3], at[3], w;
} tap;

static tap tap_of(const conv *v, int64_t e)
{
  const int64_t r[3] = {e / v->ker[2] / v->ker[1], e / v->ker[2] % v->ker[1], e % v->ker[2]};
  tap t = {.w = r[0] * v->wr[0] + r[1] * v->wr[1] + r[2] * v->wr[2]};
  for (int d = 0; d < 3; d++) t.at[d] = span(v, d, r[d], &t.from[d], &t.to[d]);
  return t;
}

/* An element's terms come in ref's order: of y by channel and tap, of gx by channel and place of y (so that taps run backwards), of gw by
 * image and place. Within that, a tap is done for all that it touches. */
#define PLANE(T, tag)                                                                                                     \
  static void row_##tag(const conv *v, int what, int64_t n, T *restrict y, T *restrict x, T *restrict w)                  \
  {                                                                                                                       \
    const int64_t dy = v->yp[2], dx = v->xh[2] * v->stride[2];                                                            \
    if (what == Y)                                                                                                        \
      for (int64_t p = 0; p < n; p++) y[p * dy] += x[p * dx] * *w;                                                        \
    else if (what == GX)                                                                                                  \
      for (int64_t p = 0; p < n; p++) x[p * dx] += y[p * dy] * *w;                                                        \
    else                                                                                                                  \
      for (int64_t p = 0; p < n; p++) *w += y[p * dy] * x[p * dx];                                                        \
  }                                                                                                                       \
  static void plane_##tag(const conv *v, int what, const tap *t, T *y, T *x, T *w)                                        \
  {                                                                                                                       \
    for (int64_t p0 = t->from[0]; p0 < t->to[0]; p0++)                                                                    \
      for (int64_t p1 = t->from[1]; p1 < t->to[1]; p1++)                                                                  \
        row_##tag(v, what, t->to[2] - t->from[2], y + p0 * v->yp[0] + p1 * v->yp[1] + t->from[2] * v->yp[2],              \
                  x + (p0 * v->stride[0] + t->at[0]) * v->xh[0] + (p1 * v->stride[1] + t->at[1]) * v->xh[1] +             \
                      (t->from[2] * v->stride[2] + t->at[2]) * v->xh[2], w);                                              \
  }                                                                                                                       \
  static void conv_##tag(const conv *v, int what, T *y, T *x, T *w)                                                       \
  {                                                                                                                       \
    const int64_t taps = v->ker[0] * v->ker[1] * v->ker[2], all_k = v->kg * v->groups;                                    \
    const int64_t outer = what == Y ? v->cg : all_k, inner = what == Y ? all_k : v->cg;                                   \
    for (int64_t o = 0; o < outer; o++)                                                                                   \
      for (int64_t e = 0; e < taps; e++) {                                                                                \
        const tap t = tap_of(v, what == GX ? taps - 1 - e : e);                                                           \
        for (int64_t n = 0; n < v->n; n++)                                                                                \
          for (int64_t i = 0; i < inner; i++) {                                                                           \
            const int64_t k = what == Y ? i : o, c = what == Y ? o : i;                                                   \
            plane_##tag(v, what, &t, y + n * v->yn + k * v->yk, x + n * v->xn + (k / v->kg * v->cg + c) * v->xc,          \
                        w + k * v->wk + c * v->wc + t.w);                                                                 \
          }                                                                                                               \
      }                                                                                                                   \
  }                                                                                                                       \
  static void bias_##tag(const conv *v, T *y, const T *b, int64_t step)                                                   \
  {                                                                                                                       \
    for (int64_t n = 0; n < v->n; n++)                                                                                    \
      for (int64_t k = 0; k < v->kg * v->groups; k++)                                                                     \
        for (int64_t p0 = 0; p0 < v->out[0]; p0++)                                                                        \
          for (int64_t p1 = 0; p1 < v->out[1]; p1++)                                                                      \
            for (int64_t p2 = 0; p2 < v->out[2]; p2++)                                                                    \
              y[n * v->yn + k * v->yk + p0 * v->yp[0] + p1 * v->yp[1] + p2 * v->yp[2]] += b[k * step];                    \
  }
PLANE(float, f32)
PLANE(double, f64)

static chx_status run_conv(void *self, const chx_call *c)
{
  const int what = *(const int *)self;
  const chx_tensor *x = what == GX ? &c->out[0] : &c->in[0], *w = what == GW ? &c->out[0] : &c->in[1];
  const chx_tensor *y = what == Y ? &c->out[0] : what == GX ? &c->in[0] : &c->in[1], *made = &c->out[0];
  const chx_tensor *b = what == Y && c->n_in > 2 && !(c->in[2].flags & CHX_T_ABSENT) ? &c->in[2] : NULL;
  const conv v = describe(c->attr, x, w, y);
  memset(nat_data(made), 0, (size_t)(nat_count(made) * nat_size(made)));
  if (!nat_count(made)) return CHX_OK;
  if (nat_dtype(made) == CHX_F32) conv_f32(&v, what, nat_data(y), nat_data(x), nat_data(w));
  else conv_f64(&v, what, nat_data(y), nat_data(x), nat_data(w));
  if (b && nat_dtype(made) == CHX_F32) bias_f32(&v, nat_data(y), nat_data(b), b->strides[0]);
  else if (b) bias_f64(&v, nat_data(y), nat_data(b), b->strides[0]);
  return CHX_OK;
}

/* y += a b, row by row of b; from 0. */
#define PRODUCT(T, tag)                                                                                                   \
  static void product_##tag(int64_t m, int64_t n, int64_t k, const T *a, int64_t am, int64_t ak, const T *b, int64_t bk,  \
                            int64_t bn, T *y, int64_t ym, int64_t yn)                                                     \
  {                                                                                                                       \
    for (int64_t i = 0; i < m; i++) {                                                                                     \
      T *row = y + i * ym;                                                                                                \
      for (int64_t j = 0; j < n; j++) row[j * yn] = 0;                                                                    \
      for (int64_t e = 0; e < k; e++) {                                                                                   \
        const T f = a[i * am + e * ak];                                                                                   \
        const T *r = b + e * bk;                                                                                          \
        for (int64_t j = 0; j < n; j++) row[j * yn] += f * r[j * bn];                                                     \
      }                                                                                                                   \
    }                                                                                                                     \
  }
PRODUCT(float, f32)
PRODUCT(double, f64)

static void product(int dtype, int64_t m, int64_t n, int64_t k, const void *a, int64_t am, int64_t ak, const void *b, int64_t bk,
                    int64_t bn, void *y, int64_t ym, int64_t yn)
{
  if (dtype == CHX_F32) product_f32(m, n, k, a, am, ak, b, bk, bn, y, ym, yn);
  else product_f64(m, n, k, a, am, ak, b, bk, bn, y, ym, yn);
}

static chx_status matmul(void *self, const chx_call *c)
{
  const chx_tensor *a = &c->in[0], *b = &c->in[1], *y = &c->out[0];
  const int n = y->ndim;
  int64_t i[CHX_MAX_RANK] = {0};
  (void)self;
  if (ref_count(y)) do {
      if (i[n - 1] || i[n - 2]) continue; /* once for each batch */
      product(nat_dtype(y), y->shape[n - 2], y->shape[n - 1], a->shape[n - 1], ref_at(a, i), a->strides[n - 2], a->strides[n - 1],
              ref_at(b, i), b->strides[n - 2], b->strides[n - 1], ref_at(y, i), y->strides[n - 2], y->strides[n - 1]);
    } while (ref_next(y, i));
  return CHX_OK;
}

static chx_status linear(void *self, const chx_call *c)
{
  const chx_tensor *x = &c->in[0], *w = &c->in[1], *y = &c->out[0];
  const chx_tensor *b = c->n_in > 2 && !(c->in[2].flags & CHX_T_ABSENT) ? &c->in[2] : NULL;
  const int dtype = nat_dtype(y);
  int64_t i[CHX_MAX_RANK] = {0};
  (void)self;
  if (!ref_count(y)) return CHX_OK;
  product(dtype, y->shape[0], y->shape[1], x->shape[1], nat_data(x), x->strides[0], x->strides[1], nat_data(w), w->strides[1],
          w->strides[0], nat_data(y), y->strides[0], y->strides[1]);
  if (b) do {
      void *v = ref_at(y, i);
      const void *e = ref_at(b, &i[1]);
      if (dtype == CHX_F32) *(float *)v += *(const float *)e;
      else *(double *)v += *(const double *)e;
    } while (ref_next(y, i));
  return CHX_OK;
}

static const int whats[] = {Y, GX, GW};
#define FLOATS (CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64))
#define CONV(name, what)                                                                                                  \
  {NAT_KERNEL, .op = name, .attr_size = sizeof(chx_conv_attr), .dtypes_in = FLOATS, .dtypes_out = FLOATS,                 \
   .flags = CHX_K_CONTIGUOUS, .run = run_conv, .self = (void *)(uintptr_t)&whats[what]}
static const chx_kernel products[] = {
  CONV("conv", Y), CONV("conv_grad_input", GX), CONV("conv_grad_weight", GW),
  {NAT_KERNEL, .op = "matmul", .dtypes_in = FLOATS, .dtypes_out = FLOATS, .run = matmul},
  {.size = sizeof(chx_kernel), .min_version = 1, .max_version = 1, .max_rank = 2, .op = "linear", .dtypes_in = FLOATS,
   .dtypes_out = FLOATS, .run = linear},
  {0}};

#define TABLE(family) ref_##family##_kernels,
const chx_kernel *const nat_reference_families[] = {products, REF_FAMILIES(TABLE) NULL};
