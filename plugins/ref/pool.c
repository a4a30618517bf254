/* SPDX-License-Identifier: MIT
 * pool.c: pooling by the definition, window by window.
 */
#include "ref.h"

enum { MAX, AVG, AVG_GRAD };

struct window { int64_t from[3], to[3]; }; /* the part inside x, per spatial axis */

static struct window window_at(const chx_pool_attr *a, int n, const int64_t *x, const int64_t *p)
{
  struct window w = {{0}, {0}};
  for (int d = 0; d < n; d++) {
    w.from[d] = p[d] * a->stride.v[d] - a->pad.v[d];
    w.to[d] = w.from[d] + a->ksize.v[d];
    if (w.from[d] < 0) w.from[d] = 0;
    if (w.to[d] > x[d]) w.to[d] = x[d];
  }
  return w;
}

static int next_in(const struct window *w, int n, int64_t *h)
{
  for (int k = n; k-- > 0; h[k] = w->from[k])
    if (++h[k] < w->to[k]) return 1;
  return 0;
}

/* x: the unpooled tensor; y: the pooled one; i: y's index, whose spatial part is replaced by h to index x. */
static void one(int what, const chx_call *c, const chx_pool_attr *a, const chx_tensor *x, const chx_tensor *y,
                const int64_t *i)
{
  int n = x->ndim - 2, s0 = a->layout == CHX_CHANNELS_LAST ? 1 : 2, dtype = ref_dtype(x);
  struct window w = window_at(a, n, x->shape + s0, i + s0);
  int64_t j[CHX_MAX_RANK], best = -1, size = 1, inside = 1;
  double sum = 0, top = 0;
  memcpy(j, i, sizeof j);
  for (int d = 0; d < n; d++) {
    j[s0 + d] = w.from[d];
    size *= a->ksize.v[d];
    inside *= w.to[d] > w.from[d] ? w.to[d] - w.from[d] : 0;
  }
  double by = (double)(a->exclude_pad ? inside : size);
  if (inside > 0) do {
      void *e = ref_at(x, j);
      int64_t flat = 0;
      for (int d = 0; d < n; d++) flat = flat * x->shape[s0 + d] + j[s0 + d];
      double v = ref_load(dtype, e);
      if (what == AVG_GRAD) ref_store(dtype, e, v + ref_load(dtype, ref_at(y, i)) / by);
      else if (what == AVG) sum += v;
      else if (best < 0 || (!isnan(top) && (isnan(v) || v > top)))
        top = v, best = flat, memcpy(ref_at(y, i), e, (size_t)ref_size(x));
    } while (next_in(&w, n, j + s0));
  if (what == AVG) ref_store(dtype, ref_at(y, i), inside > 0 ? sum / by : 0);
  if (what == MAX) *(int64_t *)ref_at(&c->out[1], i) = best;
}

static chx_status run(void *self, const chx_call *c)
{
  int what = *(const int *)self;
  const chx_tensor *x = what == AVG_GRAD ? &c->out[0] : &c->in[0], *y = what == AVG_GRAD ? &c->in[0] : &c->out[0];
  int64_t i[CHX_MAX_RANK] = {0};
  if (what == AVG_GRAD && ref_count(x)) do memset(ref_at(x, i), 0, (size_t)ref_size(x)); while (ref_next(x, i));
  memset(i, 0, sizeof i);
  if (ref_count(y)) do one(what, c, c->attr, x, y, i); while (ref_next(y, i));
  return CHX_OK;
}

#define FLOATS (CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64))
#define NUMBERS (CHX_ANY_REAL & ~(CHX_BIT(CHX_I64) | CHX_BIT(CHX_U64))) /* what a double holds exactly */
#define KERNEL(name, which, in, outs) {REF_KERNEL, .op = name, .attr_size = sizeof(chx_pool_attr), .dtypes_in = in, .dtypes_out = outs, .run = run, .self = &(int){which}}
const chx_kernel ref_pool_kernels[] = {KERNEL("max_pool", MAX, NUMBERS, NUMBERS),
                                       KERNEL("avg_pool", AVG, FLOATS, FLOATS),
                                       KERNEL("avg_pool_grad", AVG_GRAD, FLOATS, FLOATS),
                                       {.op = NULL}};
