/* SPDX-License-Identifier: MIT
 * k_softmax.c: softmax and log_softmax over one axis: of e^(x - max), its share of the sum, or the logarithm of that.
 *
 * Operands are dense: [outer, D, inner]. With inner 1 a task is a line, else a block of up to COLUMNS neighbouring
 * lines, so that loops run along memory either way. As in the formula, a line with a NaN, with infinity or of nothing but
 * -infinity is NaN; that of zero length is empty. A line is summed in lanes, one way whatever the
 * threads.
 */
#include <math.h>
#include "native.h"
#include "vmath.h"

typedef struct lines {
  int64_t outer, d, inner, blocks;
  int log;
  const void *x;
  void *y;
} lines;

enum { COLUMNS = 256, LANES = 16 };

#define LINES(T, tag, EXP, LOG)                                                                                      \
  static void along_##tag(int64_t begin, int64_t end, void *ctx)                                                     \
  {                                                                                                                  \
    const lines *v = ctx;                                                                                            \
    const int64_t n = v->d;                                                                                          \
    for (int64_t t = begin; t < end; t++) {                                                                          \
      const T *x = (const T *)v->x + t * n;                                                                          \
      T *y = (T *)v->y + t * n;                                                                                      \
      T m[LANES], s[LANES] = {0};                                                                                    \
      int64_t i = 0;                                                                                                 \
      for (int l = 0; l < LANES; l++) m[l] = x[0];                                                                   \
      for (; i + LANES <= n; i += LANES)                                                                             \
        for (int l = 0; l < LANES; l++) m[l] = x[i + l] > m[l] ? x[i + l] : m[l]; /* a NaN shows in the sum */       \
      for (; i < n; i++) m[0] = x[i] > m[0] ? x[i] : m[0];                                                           \
      T max = m[0];                                                                                                  \
      for (int l = 1; l < LANES; l++) max = m[l] > max ? m[l] : max;                                                 \
      if (v->log) {                                                                                                  \
        for (i = 0; i + LANES <= n; i += LANES)                                                                      \
          for (int l = 0; l < LANES; l++) s[l] += EXP(x[i + l] - max);                                               \
        for (; i < n; i++) s[0] += EXP(x[i] - max);                                                                  \
      } else {                                                                                                       \
        NAT_IVDEP for (i = 0; i < n; i++) y[i] = EXP(x[i] - max);                                                    \
        for (i = 0; i + LANES <= n; i += LANES)                                                                      \
          for (int l = 0; l < LANES; l++) s[l] += y[i + l];                                                          \
        for (; i < n; i++) s[0] += y[i];                                                                             \
      }                                                                                                              \
      for (int w = LANES / 2; w; w /= 2)                                                                             \
        for (int l = 0; l < w; l++) s[l] += s[l + w];                                                                \
      if (v->log) {                                                                                                  \
        const T lse = LOG(s[0]);                                                                                     \
        NAT_IVDEP for (i = 0; i < n; i++) y[i] = (x[i] - max) - lse;                                                 \
      } else {                                                                                                       \
        NAT_IVDEP for (i = 0; i < n; i++) y[i] /= s[0];                                                              \
      }                                                                                                              \
    }                                                                                                                \
  }                                                                                                                  \
  static void across_##tag(int64_t begin, int64_t end, void *ctx)                                                    \
  {                                                                                                                  \
    const lines *v = ctx;                                                                                            \
    for (int64_t t = begin; t < end; t++) {                                                                          \
      const int64_t c0 = t % v->blocks * COLUMNS, rest = v->inner - c0, n = rest < COLUMNS ? rest : COLUMNS;         \
      const T *x = (const T *)v->x + t / v->blocks * v->d * v->inner + c0;                                           \
      T *y = (T *)v->y + t / v->blocks * v->d * v->inner + c0, max[COLUMNS], sum[COLUMNS];                           \
      for (int64_t c = 0; c < n; c++) max[c] = x[c], sum[c] = 0;                                                     \
      for (int64_t i = 1; i < v->d; i++) {                                                                           \
        const T *e = x + i * v->inner;                                                                               \
        for (int64_t c = 0; c < n; c++) max[c] = e[c] > max[c] ? e[c] : max[c];                                      \
      }                                                                                                              \
      for (int64_t i = 0; i < v->d; i++) {                                                                           \
        const T *e = x + i * v->inner;                                                                               \
        T *to = y + i * v->inner;                                                                                    \
        if (v->log)                                                                                                  \
          for (int64_t c = 0; c < n; c++) sum[c] += EXP(e[c] - max[c]);                                              \
        else                                                                                                         \
          NAT_IVDEP for (int64_t c = 0; c < n; c++) to[c] = EXP(e[c] - max[c]), sum[c] += to[c];                     \
      }                                                                                                              \
      if (v->log)                                                                                                    \
        for (int64_t c = 0; c < n; c++) sum[c] = LOG(sum[c]);                                                        \
      for (int64_t i = 0; i < v->d; i++) {                                                                           \
        const T *e = x + i * v->inner;                                                                               \
        T *to = y + i * v->inner;                                                                                    \
        if (v->log)                                                                                                  \
          NAT_IVDEP for (int64_t c = 0; c < n; c++) to[c] = (e[c] - max[c]) - sum[c];                                \
        else                                                                                                         \
          NAT_IVDEP for (int64_t c = 0; c < n; c++) to[c] /= sum[c];                                                 \
      }                                                                                                              \
    }                                                                                                                \
  }
LINES(float, f32, nat_exp_f, logf)
LINES(double, f64, exp, log)

static chx_status run(void *self, const chx_call *call)
{
  const chx_tensor *x = &call->in[0];
  const int axis = (int)((const chx_softmax_attr *)call->attr)->axis;
  lines v = {1, x->shape[axis], 1, 1, self != NULL, nat_data(x), nat_data(&call->out[0])};

  for (int k = 0; k < axis; k++) v.outer *= x->shape[k];
  for (int k = axis + 1; k < x->ndim; k++) v.inner *= x->shape[k];
  if (v.outer == 0 || v.d == 0 || v.inner == 0) return CHX_OK;
  const int64_t least = NAT_GRAIN / 8;
  if (v.inner == 1) {
    nat_parallel(v.outer, least / v.d + 1, nat_dtype(x) == CHX_F32 ? along_f32 : along_f64, &v);
  } else {
    const int64_t n = v.inner < COLUMNS ? v.inner : COLUMNS;
    v.blocks = (v.inner + COLUMNS - 1) / COLUMNS;
    nat_parallel(v.outer * v.blocks, least / (v.d * n) + 1, nat_dtype(x) == CHX_F32 ? across_f32 : across_f64, &v);
  }
  return CHX_OK;
}

static char is_log; /* its address says so */
#define FLOATS (CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64))
#define KERNEL(name, what)                                                                                           \
  {NAT_KERNEL, .op = name, .attr_size = sizeof(chx_softmax_attr), .dtypes_in = FLOATS, .dtypes_out = FLOATS,         \
   .flags = CHX_K_CONTIGUOUS, .alias_ok = 1, .run = run, .self = what}
const chx_kernel NAT(nat_softmax_kernels)[] = {KERNEL("softmax", NULL), KERNEL("log_softmax", &is_log), {0}};
