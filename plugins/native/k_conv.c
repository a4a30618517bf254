/* SPDX-License-Identifier: MIT
 * k_conv.c: conv, conv_grad_input and conv_grad_weight; conv.h says how.
 */
#include "conv.h"

#define T float
#define TAG f32
#include "conv_body.h"
#include "conv_depth.h"
#undef T
#undef TAG
#define T double
#define TAG f64
#include "conv_body.h"
#include "conv_depth.h"
#undef T
#undef TAG

static void describe(nat_conv *v, const chx_conv_attr *a, const chx_tensor *x, const chx_tensor *w, const chx_tensor *y)
{
  const int n = x->ndim - 2;
  memset(v, 0, sizeof *v);
  v->last = a->layout == CHX_CHANNELS_LAST;
  const int s = v->last ? 1 : 2;
  v->n = x->shape[0];
  v->c = x->shape[v->last ? n + 1 : 1];
  v->k = w->shape[0];
  v->cg = w->shape[v->last ? n + 1 : 1];
  v->g = a->groups;
  v->kg = v->k / v->g;
  v->h = v->p = v->r = 1;
  v->plain = 1;
  for (int d = 0; d < 3; d++) {
    const int k = d - (3 - n);
    v->in[d] = k < 0 ? 1 : x->shape[s + k];
    v->out[d] = k < 0 ? 1 : y->shape[s + k];
    v->ker[d] = k < 0 ? 1 : w->shape[s + k];
    v->stride[d] = k < 0 ? 1 : a->stride.v[k];
    v->pad[d] = k < 0 ? 0 : a->pad.v[k];
    v->dil[d] = k < 0 ? 1 : a->dilation.v[k];
    v->h *= v->in[d];
    v->p *= v->out[d];
    v->r *= v->ker[d];
    if (v->ker[d] != 1 || v->stride[d] != 1 || v->pad[d] != 0 || v->in[d] != v->out[d]) v->plain = 0;
  }
  v->x = nat_data(x);
  v->w = nat_data(w);
  v->y = nat_data(y);
}

/* How many tasks, in grains of at least NAT_GRAIN multiplications or so, and their scratch. 0: no memory. */
static int cut(nat_conv *v, const chx_call *call, int64_t tasks, int64_t work, int64_t piece, int64_t extra, int64_t size)
{
  v->tasks = tasks;
  v->grain = nat_ceil_div(tasks, NAT_CONV_RANGES);
  if (work < 4 * NAT_GRAIN) { /* per task */
    const int64_t least = 4 * NAT_GRAIN / (work + 1) + 1;
    if (v->grain < least) v->grain = least;
  }
  v->piece = (piece + 15) / 16 * 16;
  const int64_t need = nat_ceil_div(tasks, v->grain) * v->piece + extra;
  if (need == 0) return 1;
  v->scratch = nat_host->scratch(nat_host->ctx, call, (uint64_t)need * (uint64_t)size);
  v->extra = (char *)v->scratch + (need - extra) * size;
  return v->scratch != NULL;
}

#define PICK(f) (is_f32 ? f##_f32 : f##_f64)

static chx_status run(void *self, const chx_call *call)
{
  const int what = *(const int *)self;
  const chx_tensor *x = what == CONV_GRAD_INPUT ? &call->out[0] : &call->in[0];
  const chx_tensor *w = what == CONV_GRAD_WEIGHT ? &call->out[0] : &call->in[1];
  const chx_tensor *y = what == CONV ? &call->out[0] : what == CONV_GRAD_INPUT ? &call->in[0] : &call->in[1];
  const int is_f32 = nat_dtype(y) == CHX_F32;
  const int64_t size = nat_size(y);
  nat_conv v;
  int ok;

  describe(&v, call->attr, x, w, y);
  v.result = nat_data(&call->out[0]);
  if (what == CONV && call->n_in > 2 && !(call->in[2].flags & CHX_T_ABSENT)) v.b = nat_data(&call->in[2]);
  const int64_t filled = nat_count(&call->out[0]), depth = v.cg * v.r;
  if (filled == 0) return CHX_OK;
  if (what != CONV && (v.k == 0 || v.n == 0 || v.p == 0 || depth == 0)) {
    memset(v.result, 0, (size_t)(filled * size));
    return CHX_OK;
  }

  if (v.cg == 1 && (!v.last || v.kg == 1)) {
    const int64_t work = (what == CONV_GRAD_WEIGHT ? v.n : what == CONV ? 1 : v.kg) * v.p;
    if (!v.last) {
      ok = cut(&v, call, what == CONV ? v.n * v.k : what == CONV_GRAD_INPUT ? v.n * v.c : v.k, work * v.r, 0, 0, size);
    } else {
      v.cb = v.c < 64 ? v.c : 64;
      v.c_blocks = nat_ceil_div(v.c, v.cb);
      const int by_tap = what == CONV_GRAD_WEIGHT;
      ok = cut(&v, call, (by_tap ? v.r : v.n) * v.c_blocks, work * v.cb * (by_tap ? 1 : v.r), 0, v.k * v.r, size);
      if (ok && what != CONV_GRAD_WEIGHT) PICK(depth_weight)(&v);
    }
    if (!ok) return nat_fail(CHX_ENOMEM, "conv: no memory for its scratch");
    nat_parallel(v.tasks, v.grain, v.last ? PICK(depth_last) : PICK(depth_first), &v);
    return CHX_OK;
  }

  /* Some 128 KiB of columns: they are read again for each few rows of the other matrix. */
  v.block = 32768 / (depth + 1) / 32 * 32;
  v.block = v.block < 32 ? 32 : v.block > 512 ? 512 : v.block;
  if (what == CONV) {
    const int64_t n = v.p < v.block ? v.p : v.block;
    ok = cut(&v, call, v.n * v.g * nat_ceil_div(v.p, v.block), n * v.kg * depth, v.plain ? 0 : depth * n,
             v.last ? v.k * depth : 0, size);
    if (ok && v.last) nat_parallel(v.k, NAT_GRAIN / (depth + 1) + 1, PICK(turn_weight), &v);
    if (ok) nat_parallel(v.tasks, v.grain, PICK(forward), &v);
  } else if (what == CONV_GRAD_INPUT) {
    const int64_t parts = nat_ceil_div(16, v.n * v.g); /* few images: the channels make up for it, 8 or more at a time */
    v.cb = nat_ceil_div(v.cg, parts);
    if (v.cb < 8) v.cb = v.cg < 8 ? v.cg : 8;
    v.c_blocks = nat_ceil_div(v.cg, v.cb);
    const int64_t n = v.p < v.block ? v.p : v.block;
    ok = cut(&v, call, v.n * v.g * v.c_blocks, v.p * v.kg * v.cb * v.r, v.plain ? 0 : v.cb * v.r * n, 0, size);
    if (ok) nat_parallel(v.tasks, v.grain, PICK(grad_input), &v);
  } else {
    v.cb = v.r >= 256 ? 1 : 256 / v.r; /* rows enough to make up for turning gy */
    if (v.cb > v.cg) v.cb = v.cg;
    v.c_blocks = nat_ceil_div(v.cg, v.cb);
    v.splits = nat_ceil_div(16, v.g * v.c_blocks);
    if (v.splits > v.n) v.splits = v.n;
    const int64_t n = v.p < v.block ? v.p : v.block;
    ok = cut(&v, call, v.splits * v.g * v.c_blocks, v.n / v.splits * v.p * v.kg * v.cb * v.r,
             v.plain ? 0 : v.cb * v.r * n, v.splits * v.k * depth, size);
    if (ok) nat_parallel(v.tasks, v.grain, PICK(grad_weight), &v);
    if (ok) nat_parallel(v.k, NAT_GRAIN / (depth * v.splits) + 1, PICK(gather_weight), &v);
  }
  return ok ? CHX_OK : nat_fail(CHX_ENOMEM, "conv: no memory for its columns");
}

static const int kinds[] = {CONV, CONV_GRAD_INPUT, CONV_GRAD_WEIGHT};
#define FLOATS (CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64))
#define KERNEL(name, kind)                                                                                           \
  {.size = sizeof(chx_kernel), .attr_size = sizeof(chx_conv_attr), .min_version = 1, .max_version = 1, .max_rank = 5, \
   .op = name, .dtypes_in = FLOATS, .dtypes_out = FLOATS, .flags = CHX_K_CONTIGUOUS, .run = run,                     \
   .self = (void *)(uintptr_t)&kinds[kind]}
const chx_kernel NAT(nat_conv_kernels)[] = {
  KERNEL("conv", CONV),
  KERNEL("conv_grad_input", CONV_GRAD_INPUT),
  KERNEL("conv_grad_weight", CONV_GRAD_WEIGHT),
  {0},
};
