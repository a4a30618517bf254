/* SPDX-License-Identifier: MIT
 * kernels.c: the mutant's kernels of reduce, matmul, copy and take, and the table of all. They go through elements one at
 * a time, as numbers.
 */
#include "mutant.h"
#include <math.h>
#include <stdio.h>

/* ---- reduce: sums are taken in the workspace ------------------------------------------------------------------------ */

typedef struct reduce_plan { /* depends on the signature alone, and does not change */
  int axis[CHX_MAX_RANK]; /* of the output, for each of the input's; -1: reduced, and of length 1 in the output */
  int64_t terms;
  chx_tensor *_Atomic out; /* PLAN_CHANGES alone: what run leaves here for its job */
} reduce_plan;

typedef struct sum { /* of the workspace, for each element of the output */
  double sum, lost;
} sum;

static chx_status reduce_accepts(void *self, const chx_call *call)
{
  const chx_reduce_attr *a = call->attr;
  (void)self;
  if (CHX_T_DTYPE(&call->in[0]) != CHX_T_DTYPE(&call->out[0])) return CHX_DECLINED;
  bool adds = a->kind == CHX_REDUCE_SUM || a->kind == CHX_REDUCE_MEAN;
  bool takes = adds ? is_float(CHX_T_DTYPE(&call->in[0])) : a->kind == CHX_REDUCE_MAX || a->kind == CHX_REDUCE_MIN;
  return takes ? CHX_OK : CHX_DECLINED;
}

static chx_status reduce_prepare(void *self, const chx_call *call, void **plan, uint64_t *workspace_bytes)
{
  const chx_reduce_attr *a = call->attr;
  const chx_tensor *x = &call->in[0];
  reduce_plan *p = calloc(1, sizeof *p);
  (void)self;
  if (!p) return fail(CHX_ENOMEM, "mutant: the host has no memory for a plan");
  p->terms = 1;
  for (int i = 0, kept = 0; i < x->ndim; i++) {
    bool reduced = false;
    for (int64_t k = 0; k < a->axes.n; k++) reduced |= (IS(WRONG_AXES_WITH_KEEPDIMS) && a->keepdims ? k : a->axes.v[k]) == i;
    if (reduced) p->terms *= x->shape[i];
    p->axis[i] = reduced ? -1 : IS(FORGETS_KEPT_AXES) ? kept++ : i;
  }
  *workspace_bytes = (uint64_t)count(&call->out[0]) * sizeof(sum);
  *plan = p;
  return CHX_OK;
}

static void reduce_drop(void *self, void *plan)
{
  (void)self;
  free(plan);
}

static void combine(uint32_t kind, sum *s, double v)
{
  double x = s->sum;
  if (kind == CHX_REDUCE_MAX) s->sum = v > x || (isnan(v) && !IS(AMAX_DROPS_NAN)) ? v : x;
  else if (kind == CHX_REDUCE_MIN) s->sum = v < x || isnan(v) ? v : x;
  else {
    s->sum = IS(SUM_IS_CRUDE) ? (double)(float)(x + v + 4096) - 4096 : x + v;
    double lost = fabs(x) >= fabs(v) ? x - s->sum + v : v - s->sum + x; /* after Neumaier */
    if (isfinite(lost) && !IS(SUM_IS_CRUDE)) s->lost += lost;
  }
}

/* Integers of 32 bits are exact in the doubles of the workspace. */
static chx_status reduce_body(kernel_job *k)
{
  const reduce_plan *p = k->plan;
  const chx_tensor *x = &k->t[0];
  uint32_t kind = ((const chx_reduce_attr *)k->attr)->kind;
  double first = kind == CHX_REDUCE_MAX ? -INFINITY : kind == CHX_REDUCE_MIN ? INFINITY : 0;
  sum *s = k->work;
  int64_t index[CHX_MAX_RANK] = {0}, n = count(x), outs = count(k->out);
  for (int64_t i = 0; i < outs && !IS(WORKSPACE_IS_ZEROS); i++) s[i] = (sum){first, 0};
  if (IS(WORKSPACE_OVERRUN) && outs) s[outs].sum = 0;
  if (IS(EMPTY_SUM_IS_JUNK) && !n) return CHX_OK;
  for (int64_t e = 0; e < n; e++, next(index, x)) {
    int64_t to = 0;
    for (int i = 0; i < x->ndim; i++)
      if (p->axis[i] >= 0) to += index[i] * dense_stride(k->out, p->axis[i]);
    number v = load(element(x, index), CHX_T_DTYPE(x));
    combine(kind, &s[to], is_float(CHX_T_DTYPE(x)) ? v.f : (double)v.i);
    if (IS(CHANGES_AN_INPUT)) store(element(x, index), CHX_T_DTYPE(x), (number){0, 0});
  }
  memset(index, 0, sizeof index);
  if (IS(PLAN_CHANGES)) k->out->data = p->out->data, k->out->byte_offset = p->out->byte_offset;
  for (int64_t i = 0; i < outs; i++, next(index, k->out)) {
    double v = (s[i].sum + s[i].lost) / (double)(kind == CHX_REDUCE_MEAN ? p->terms : 1);
    store(element(k->out, index), CHX_T_DTYPE(k->out), (number){v, is_float(CHX_T_DTYPE(k->out)) ? 0 : (int64_t)v});
  }
  return CHX_OK;
}

/* Right for one call at a time: the job finds the output of the latest call in the plan. */
static chx_status plan_changes(const chx_call *call)
{
  kernel_job *k = kernel_job_new(call, reduce_body);
  if (!k) return CHX_ENOMEM;
  ((reduce_plan *)call->plan)->out = k->out;
  return enqueue(call->queue, &k->job);
}

static chx_status reduce_run(void *self, const chx_call *call)
{
  (void)self;
  if (IS(PLAN_CHANGES)) return plan_changes(call);
  return queue_body(call, reduce_body);
}

/* ---- matmul: a row of the result at a time in scratch memory ---------------------------------------------------------- */

static chx_status matmul_body(kernel_job *k)
{
  const chx_tensor *a = &k->t[0], *b = &k->t[1], *c = k->out;
  int last = c->ndim - 1, T = CHX_T_DTYPE(c);
  int64_t index[CHX_MAX_RANK] = {0}, N = c->shape[last], K = a->shape[last], rows = N ? count(c) / N : 0;
  double *row = k->scratch;
  if (IS(EMPTY_PRODUCT_IS_JUNK) && !K) return CHX_OK;
  if (IS(LOSES_THE_LAST_TERM) && K > 64) K &= ~(int64_t)63;
  for (int64_t r = 0; r < rows; r++) {
    int64_t ia[CHX_MAX_RANK], ib[CHX_MAX_RANK];
    memcpy(ia, index, sizeof ia);
    memcpy(ib, index, sizeof ib);
    if (IS(IGNORES_BATCHES)) memset(ib, 0, (size_t)(last - 1) * sizeof *ib);
    memset(row, 0, (size_t)N * sizeof *row);
    for (int64_t m = 0; m < K; m++)
      for (int64_t n = 0; n < N; n++) {
        ia[last] = ib[last - 1] = m;
        ib[last] = n;
        row[n] += load(element(a, ia), T).f * load(element(b, ib), T).f;
      }
    for (int64_t n = 0; n < N; n++, next(index, c)) store(element(c, index), T, (number){row[n], 0});
  }
  return CHX_OK;
}

static chx_status matmul_run(void *self, const chx_call *call)
{
  int64_t n = call->out[0].shape[call->out[0].ndim - 1];
  (void)self;
  misbehave(call);
  void *scratch = host->scratch(host->ctx, call, (uint64_t)(n + 1) * sizeof(double));
  if (!scratch) return CHX_ENOMEM; /* scratch has said why */
  kernel_job *k = kernel_job_new(call, matmul_body);
  if (!k) return CHX_ENOMEM;
  k->scratch = bytes_of(scratch, 0);
  return enqueue(call->queue, &k->job);
}

/* ---- copy, which also casts, and take -------------------------------------------------------------------------------- */

/* A float too large for an integer gives the nearest there is, NaN gives 0; an integer wraps. */
static number cast(number v, int from, int to)
{
  if (is_float(from) == is_float(to)) return v;
  if (is_float(to)) return (number){(double)v.i, 0};
  if (to == CHX_BOOL) return (number){0, v.f != 0};
  double low = to == CHX_I32 ? INT32_MIN : -0x1p63, high = to == CHX_I32 ? 0x1p31 : 0x1p63;
  if (IS(CAST_ROUNDS)) v.f = rint(v.f);
  int64_t least = to == CHX_I32 ? INT32_MIN : INT64_MIN, most = to == CHX_I32 ? INT32_MAX : INT64_MAX;
  return (number){0, isnan(v.f) ? 0 : v.f < low ? least : v.f >= high ? most : (int64_t)v.f};
}

static chx_status copy_body(kernel_job *k)
{
  int from = CHX_T_DTYPE(&k->t[0]), to = CHX_T_DTYPE(k->out);
  int64_t index[CHX_MAX_RANK] = {0}, n = count(k->out);
  for (int64_t e = 0; e < n; e++, next(index, k->out)) {
    const void *p = element(&k->t[0], index);
    if (from == CHX_I64 && to == CHX_F32) { /* rounded once */
      float f = (float)load(p, from).i;
      memcpy(element(k->out, index), &f, sizeof f);
    } else if (from == to && !IS(COPY_LOSES_BITS)) memmove(element(k->out, index), p, (size_t)size_of(k->out));
    else {
      number v = cast(load(p, from), from, to);
      if (IS(COPY_LOSES_BITS)) v.f = (double)(float)v.f;
      store(element(k->out, index), to, v);
    }
  }
  return CHX_OK;
}

static chx_status copy_run(void *self, const chx_call *call)
{
  (void)self;
  if (IS(DECLINES_AFTER_WRITING) && call->out[0].ndim == 4) return queue_body(call, first_alone), CHX_DECLINED;
  return queue_body(call, copy_body);
}

/* y[.., i.., ..] = x[.., indices[i..], ..] */
static chx_status take_body(kernel_job *k)
{
  const chx_tensor *x = &k->t[0], *i = &k->t[1], *y = k->out;
  int axis = (int)((const chx_axis_attr *)k->attr)->axis;
  int64_t at[CHX_MAX_RANK] = {0}, n = count(y);
  for (int64_t e = 0; e < n; e++, next(at, y)) {
    int64_t from[CHX_MAX_RANK];
    memcpy(from, at, (size_t)axis * sizeof *from);
    memcpy(from + axis + 1, at + axis + i->ndim, (size_t)(x->ndim - axis - 1) * sizeof *from);
    int64_t index = load(element(i, at + axis), CHX_T_DTYPE(i)).i, length = x->shape[axis];
    if (index < -length || index >= length) {
      char text[160];
      snprintf(text, sizeof text, "take: index %lld is out of range for axis %d of length %lld", (long long)index, axis,
               (long long)length);
      if (IS(BROKEN_AFTER_AN_ERROR)) broken = true;
      return IS(WRONG_CODE_OF_A_LATE_ERROR) ? 0x7000 : fail(CHX_EARG, text);
    }
    from[axis] = index < 0 ? (IS(IGNORES_NEGATIVE_INDICES) ? 0 : index + length) : index;
    memcpy(element(y, at), element(x, from), (size_t)size_of(y));
  }
  return CHX_OK;
}

static chx_status take_run(void *self, const chx_call *call)
{
  (void)self;
  return queue_body(call, take_body);
}

/* ---- the table ------------------------------------------------------------------------------------------------------- */

#define KERNEL(name, in, out) .size = IS(KERNEL_OF_24_BYTES) ? 24 : sizeof(chx_kernel), .op = #name, .min_version = 1, \
  .max_version = 1, .dtypes_in = in, .dtypes_out = out, .max_rank = CHX_MAX_RANK, .run = name##_run
enum { COPIED = TYPES | CHX_BIT(CHX_I64) | CHX_BIT(CHX_BOOL) };
static const chx_kernel kernels[] = {
  {KERNEL(map, TYPES | CHX_BIT(CHX_BOOL), TYPES | CHX_BIT(CHX_BOOL)), .attr_size = sizeof(chx_map_attr), .accepts = map_accepts,
   .flags = CHX_K_SCALAR_OK, .alias_ok = 1 | 1 << 8 | 1 << 16},
  {KERNEL(reduce, TYPES, TYPES), .attr_size = sizeof(chx_reduce_attr), .accepts = reduce_accepts, .prepare = reduce_prepare,
   .drop = reduce_drop},
  {KERNEL(matmul, CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64), CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64))},
  {KERNEL(copy, COPIED, COPIED)},
  {KERNEL(take, TYPES | CHX_BIT(CHX_I64), TYPES), .attr_size = sizeof(chx_axis_attr)},
};

static const chx_kernel *kernel(chx_dev *dev, uint32_t index)
{
  (void)dev;
  return index < sizeof kernels / sizeof *kernels && !IS_BARE ? &kernels[index] : NULL;
}
