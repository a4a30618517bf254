/* SPDX-License-Identifier: MIT
 * k_reduce.c: reductions over any axes, argmax and argmin.
 *
 * The axes fall into kept and reduced ones; each set is ordered as it lies in memory, and joined. If the input is dense
 * along a reduced axis, an output is the reduction of a sequence ("by sequence"), which is taken in blocks. If it is
 * dense along a kept axis, rows are folded into a strip of accumulators ("by strip"). Floating sums are trees of a
 * fixed shape, which depends on the shapes and strides alone: a block's lanes, then blocks in pairs; or 64 rows, then
 * 64 of those. f16 and bf16 are widened to float on the way in and rounded once on the way out.
 */
#include <chx/formula.h>
#include "half.h"
#include "iter.h"

enum {
  BLOCK = 1024,      /* elements of a sequence gathered at once */
  DENSE_BLOCK = 4096,
  CHUNK = 1 << 18,   /* elements of a long sequence that are one unit of parallel work */
  MAX_CHUNKS = 512,
  STRIP_BYTES = 1024,
  RADIX = 64, LEVELS = 6,
  SPLIT = 8          /* parts that the rows of a lone strip are cut into */
};

#define NAT_NUMBER "reduce.inc"
#include "numbers.inc"

typedef void run_fn(int64_t n, const void *x, void *result);
typedef void fold_fn(int64_t n, const void *x, void *a);
typedef void pick_fn(int64_t n, const void *x, void *a, int64_t *at, int64_t row);
typedef int64_t find_fn(int64_t n, const void *x, const void *v);
enum { SUM, PROD, MAX, MIN };
typedef struct op { run_fn *run; fold_fn *fold; } op;
typedef struct type_ops { op by_kind[4]; pick_fn *pick_max, *pick_min; find_fn *find; } type_ops;

#define OPS(tag, wrap) \
  {{[SUM] = {sum_run_##wrap, sum_fold_##wrap}, [PROD] = {prod_run_##wrap, prod_fold_##wrap}, \
    [MAX] = {max_run_##tag, max_fold_##tag}, [MIN] = {min_run_##tag, min_fold_##tag}}, \
   max_pick_##tag, min_pick_##tag, find_##tag}
static const type_ops types[CHX_DTYPE_END] = {
  [CHX_BOOL] = OPS(u8, u8), [CHX_I8] = OPS(i8, u8), [CHX_I16] = OPS(i16, u16), [CHX_I32] = OPS(i32, u32),
  [CHX_I64] = OPS(i64, u64), [CHX_U8] = OPS(u8, u8), [CHX_U16] = OPS(u16, u16), [CHX_U32] = OPS(u32, u32),
  [CHX_U64] = OPS(u64, u64), [CHX_F16] = OPS(f32, f32), [CHX_BF16] = OPS(f32, f32), [CHX_F32] = OPS(f32, f32),
  [CHX_F64] = OPS(f64, f64)};

typedef union value { float f32; double f64; uint8_t u8; uint16_t u16; uint32_t u32; uint64_t u64; } value;

typedef struct job {
  nat_walk kept, red; /* kept: operand 0 is y, 1 is x; red: operand 0 is x */
  op op;
  const type_ops *type;
  int dtype, half, mean, tree, largest;
  int64_t size, acc_size; /* bytes of an element, and of an accumulator */
  int64_t m;              /* elements that make one */
  int64_t width, group;   /* by strip: columns, and how many rows are taken as one */
  int by_strip;
} job;

/* ---- the plan --------------------------------------------------------------------------------------------------- */

/* The axes of x that `reduced` says, or the others: outermost first, joined. */
static void make_walk(nat_walk *w, const chx_tensor *x, const chx_tensor *y, uint32_t axes)
{
  int order[CHX_MAX_RANK], n = 0;

  w->n = 1;
  w->rank = 0;
  w->n_op = y ? 2 : 1;
  for (int d = 0; d < x->ndim; d++) {
    if (!(axes >> d & 1)) continue;
    w->n *= x->shape[d];
    if (x->shape[d] == 1) continue;
    int i = n++;
    for (; i > 0 && nat_abs64(x->strides[order[i - 1]]) < nat_abs64(x->strides[d]); i--) order[i] = order[i - 1];
    order[i] = d;
  }
  for (int i = 0; i < n; i++) {
    const int d = order[i], r = w->rank;
    const int64_t sx = x->strides[d] * nat_size(x), sy = y ? y->strides[d] * nat_size(y) : 0, dim = x->shape[d];
    const int last = y ? 1 : 0;
    int join = r > 0 && w->stride[last][r - 1] == sx * dim && (!y || w->stride[0][r - 1] == sy * dim);
    const int at = join ? r - 1 : r;
    w->dim[at] = join ? w->dim[at] * dim : dim;
    w->stride[last][at] = sx;
    if (y) w->stride[0][at] = sy;
    if (!join) w->rank++;
  }
  if (w->rank == 0) {
    w->rank = 1;
    w->dim[0] = 1;
    w->stride[0][0] = w->stride[1][0] = 0;
  }
  w->base[0] = nat_data(y ? y : x);
  if (y) w->base[1] = nat_data(x);
  for (int k = 0; k < w->n_op; k++) w->step[k] = w->stride[k][w->rank - 1];
}

static void make_job(job *j, const chx_tensor *x, const chx_tensor *y, const chx_ints *axes)
{
  uint32_t red = 0;

  for (int k = 0; k < axes->n; k++) red |= 1u << axes->v[k];
  make_walk(&j->kept, x, y, ~red);
  make_walk(&j->red, x, NULL, red);
  j->dtype = nat_dtype(x);
  j->half = nat_is_half(j->dtype);
  j->size = nat_size(x);
  j->acc_size = j->half ? 4 : j->size;
  j->type = &types[j->dtype];
  j->m = j->red.n;
  j->tree = CHX_FLOATS >> j->dtype & 1;
  const int in = j->kept.rank - 1;
  const int64_t cols = j->kept.dim[in];
  j->by_strip = cols > 1 && j->m > 1 && nat_abs64(j->kept.step[1]) < nat_abs64(j->red.step[0]);
  j->width = STRIP_BYTES / j->acc_size;
  /* Short dense rows, one after the other, are taken several at a time. */
  j->group = 1;
  if (j->by_strip && j->red.rank == 1 && j->kept.step[1] == j->size && j->red.step[0] == cols * j->size) {
    j->group = j->width / cols < j->m ? j->width / cols : j->m;
    if (j->group < 1) j->group = 1;
  }
}

/* ---- the way in and out --------------------------------------------------------------------------------------------- */

/* n elements from p on, `step` bytes apart, dense and widened; in place if they are so already, else in `buffer`. */
static const void *load_row(const job *j, const char *p, int64_t step, int64_t n, void *buffer)
{
  uint16_t narrow[BLOCK];

  if (step == j->size && !j->half) return p;
  if (!j->half) {
    nat_move(n, j->size, buffer, j->size, p, step);
    return buffer;
  }
  if (step != j->size) {
    nat_move(n, j->size, (char *)narrow, j->size, p, step);
    p = (const char *)narrow;
  }
  nat_widen(j->dtype, n, p, buffer);
  return buffer;
}

static int64_t offset_of(const nat_walk *w, int k, int64_t at)
{
  int64_t offset = 0;
  for (int d = w->rank - 1; d >= 0; d--) {
    offset += (d ? at % w->dim[d] : at) * w->stride[k][d];
    at /= w->dim[d];
  }
  return offset;
}

/* n accumulators to elements of y, `step` bytes apart. */
static void finish(const job *j, int64_t n, void *acc, char *y, int64_t step)
{
  float *f = acc;
  double *d = acc;

  if (j->mean && j->dtype == CHX_F64)
    for (int64_t i = 0; i < n; i++) d[i] /= (double)j->m;
  else if (j->mean)
    for (int64_t i = 0; i < n; i++) f[i] /= (float)j->m;
  switch (j->dtype) {
  case CHX_BOOL:
    for (int64_t i = 0; i < n; i++) y[i * step] = ((uint8_t *)acc)[i] != 0;
    break;
  case CHX_F16:
    for (int64_t i = 0; i < n; i++) *(uint16_t *)(void *)(y + i * step) = nat_to_f16(f[i]);
    break;
  case CHX_BF16:
    for (int64_t i = 0; i < n; i++) *(uint16_t *)(void *)(y + i * step) = nat_to_bf16(f[i]);
    break;
  default: nat_move(n, j->size, y, step, acc, j->size);
  }
}

/* ---- by sequence ------------------------------------------------------------------------------------------------ */

/* The next block of a sequence: at most `left` elements from `at` on; how many, and where. */
static int64_t next_block(const job *j, const char *base, int64_t at, int64_t left, void *buffer, const void **x)
{
  const nat_walk *w = &j->red;
  const int64_t run = w->dim[w->rank - 1];
  int64_t n = left < BLOCK ? left : BLOCK;

  if (w->rank == 1 || (w->step[0] == j->size && run >= BLOCK / 4)) { /* one run, or each run is worth a block */
    const int direct = w->step[0] == j->size && !j->half;
    n = run - (w->rank == 1 ? at : at % run);
    if (n > left) n = left;
    if (n > (direct ? DENSE_BLOCK : BLOCK)) n = direct ? DENSE_BLOCK : BLOCK;
    *x = load_row(j, base + (w->rank == 1 ? at * w->step[0] : offset_of(w, 0, at)), w->step[0], n, buffer);
  } else if (j->half) {
    uint16_t narrow[BLOCK];
    nat_transfer(w, 0, (char *)(uintptr_t)base, j->size, at, n, (char *)narrow, 0);
    nat_widen(j->dtype, n, narrow, buffer);
    *x = buffer;
  } else {
    nat_transfer(w, 0, (char *)(uintptr_t)base, j->size, at, n, buffer, 0);
    *x = buffer;
  }
  return n;
}

/* Elements begin .. end - 1 of the sequence at base; blocks are joined in pairs, pairs of pairs, ... */
static void sequence(const job *j, const char *base, int64_t begin, int64_t end, value *result)
{
  uint64_t buffer[BLOCK];
  value part[64];
  int top = 0;
  uint64_t blocks = 0;

  for (int64_t n; begin < end; begin += n) {
    const void *x;
    n = next_block(j, base, begin, end - begin, buffer, &x);
    j->op.run(n, x, &part[top++]);
    for (uint64_t b = ++blocks; !(b & 1); b >>= 1, top--) j->op.fold(1, &part[top - 1], &part[top - 2]);
  }
  for (; top > 1; top--) j->op.fold(1, &part[top - 1], &part[top - 2]);
  *result = part[0];
}

static void sequence_range(int64_t begin, int64_t end, void *ctx)
{
  const job *j = ctx;
  const int simple = j->red.rank == 1 && j->red.step[0] == j->size && !j->half && j->m <= DENSE_BLOCK;
  nat_walk w = j->kept;
  value v;

  nat_walk_seek(&w, begin, end);
  for (int64_t n; (n = nat_walk_next(&w)) != 0;)
    for (int64_t i = 0; i < n; i++) {
      const char *x = w.p[1] + i * w.step[1];
      if (simple) j->op.run(j->m, x, &v);
      else sequence(j, x, 0, j->m, &v);
      finish(j, 1, &v, w.p[0] + i * w.step[0], 0);
    }
}

typedef struct chunks { const job *j; const char *base; int64_t size; value part[MAX_CHUNKS]; } chunks;

static void chunk_range(int64_t begin, int64_t end, void *ctx)
{
  chunks *c = ctx;
  for (; begin < end; begin++) {
    const int64_t from = begin * c->size, to = from + c->size;
    sequence(c->j, c->base, from, to < c->j->m ? to : c->j->m, &c->part[begin]);
  }
}

/* Few and long: each sequence is cut into chunks. */
static NAT_NOINLINE void long_sequences(const job *j)
{
  chunks c = {.j = j};
  const int64_t least = (j->m / MAX_CHUNKS + DENSE_BLOCK) / DENSE_BLOCK * DENSE_BLOCK;
  c.size = least > CHUNK ? least : CHUNK;

  for (int64_t i = 0; i < j->kept.n; i++) {
    int64_t n = (j->m + c.size - 1) / c.size;
    c.base = j->kept.base[1] + offset_of(&j->kept, 1, i);
    nat_parallel(n, 1, chunk_range, &c);
    for (; n > 1; n = (n + 1) / 2)
      for (int64_t k = 0; k < (n + 1) / 2; k++) {
        const value *two = &c.part[2 * k];
        value v = two[0];
        if (2 * k + 1 < n) j->op.fold(1, &two[1], &v);
        c.part[k] = v;
      }
    finish(j, 1, &c.part[0], j->kept.base[0] + offset_of(&j->kept, 0, i), 0);
  }
}

/* ---- by strip --------------------------------------------------------------------------------------------------- */

/* Fold the rows begin .. end - 1 of the strip at base into acc, which has STRIP_BYTES. */
static void fold_rows(const job *j, const char *base, int64_t cols, int64_t begin, int64_t end, char *acc)
{
  uint64_t level[LEVELS][STRIP_BYTES / 8], buffer[STRIP_BYTES / 8];
  int count[LEVELS] = {0};
  const nat_walk *w = &j->red;
  const int in = w->rank - 1;
  const int64_t step = j->kept.step[1], group = j->group, wide = cols * group, left = (end - begin) % group;
  const size_t bytes = (size_t)(wide * j->acc_size);
  const int far = step == j->size && nat_abs64(w->step[0]) >= 2048; /* rows on other pages, which nobody prefetches */
  int64_t index[CHX_MAX_RANK], rest = begin;

  for (int d = in; d >= 0; d--) {
    index[d] = d ? rest % w->dim[d] : rest;
    rest /= w->dim[d];
    base += index[d] * w->stride[0][d];
  }
  for (int64_t r = (end - begin) / group; r > 0; r--) {
    const void *row = load_row(j, base, step, wide, buffer);
    if (far)
      for (size_t k = 0; k < bytes; k += 64) __builtin_prefetch(base + group * w->step[0] + k);
    if (count[0]) j->op.fold(wide, row, level[0]);
    else memcpy(level[0], row, bytes);
    count[0]++;
    for (int l = 0; j->tree && l + 1 < LEVELS && count[l] == RADIX; l++) {
      if (count[l + 1]) j->op.fold(wide, level[l], level[l + 1]);
      else memcpy(level[l + 1], level[l], bytes);
      count[l] = 0;
      count[l + 1]++;
    }
    base += group * w->step[0];
    index[in] += group; /* where group > 1 there is but one axis */
    for (int d = in; d > 0 && index[d] == w->dim[d]; d--) {
      index[d] = 0;
      index[d - 1]++;
      base += w->stride[0][d - 1] - w->dim[d] * w->stride[0][d];
    }
  }
  int first = 1;
  for (int l = 0; l < LEVELS; l++) {
    if (!count[l]) continue;
    if (first) memcpy(acc, level[l], bytes);
    else j->op.fold(wide, level[l], acc);
    first = 0;
  }
  if (left) j->op.fold(left * cols, load_row(j, base, step, left * cols, buffer), acc);
  for (int64_t g = 1; g < group; g++) j->op.fold(cols, acc + g * cols * j->acc_size, acc);
}

/* Where strip number `unit` starts, in x and y, and how many columns it has. */
static int64_t strip_at(const job *j, int64_t unit, const char **x, char **y)
{
  const nat_walk *w = &j->kept;
  const int in = w->rank - 1;
  const int64_t strips = (w->dim[in] + j->width - 1) / j->width, col = unit % strips * j->width;
  const int64_t at = unit / strips * w->dim[in] + col;

  *x = w->base[1] + offset_of(w, 1, at);
  *y = w->base[0] + offset_of(w, 0, at);
  return w->dim[in] - col < j->width ? w->dim[in] - col : j->width;
}

static void strip_range(int64_t begin, int64_t end, void *ctx)
{
  const job *j = ctx;
  uint64_t acc[STRIP_BYTES / 8];

  for (; begin < end; begin++) {
    const char *x;
    char *y;
    const int64_t cols = strip_at(j, begin, &x, &y);
    fold_rows(j, x, cols, 0, j->m, (char *)acc);
    finish(j, cols, acc, y, j->kept.step[0]);
  }
}

typedef struct split { const job *j; const char *x; int64_t cols; uint64_t acc[SPLIT][STRIP_BYTES / 8]; } split;

static void split_range(int64_t begin, int64_t end, void *ctx)
{
  split *s = ctx;
  const int64_t m = s->j->m;
  for (; begin < end; begin++)
    fold_rows(s->j, s->x, s->cols, m / SPLIT * begin, begin + 1 == SPLIT ? m : m / SPLIT * (begin + 1), (char *)s->acc[begin]);
}

static int64_t count_strips(const job *j)
{
  const int64_t cols = j->kept.dim[j->kept.rank - 1];
  return j->kept.n / cols * ((cols + j->width - 1) / j->width);
}

/* Few strips of many rows. */
static NAT_NOINLINE void tall_strips(const job *j)
{
  split s = {.j = j};

  for (int64_t unit = 0; unit < count_strips(j); unit++) {
    char *y;
    s.cols = strip_at(j, unit, &s.x, &y);
    nat_parallel(SPLIT, 1, split_range, &s);
    for (int i = 1; i < SPLIT; i++) j->op.fold(s.cols, s.acc[i], s.acc[0]);
    finish(j, s.cols, s.acc[0], y, j->kept.step[0]);
  }
}

/* ---- reduce ----------------------------------------------------------------------------------------------------- */

static int64_t grain_of(int64_t cost) { return cost >= NAT_GRAIN ? 1 : NAT_GRAIN / cost; }

static void fill_empty(job *j, uint32_t kind)
{
  const int one = kind == CHX_REDUCE_PROD || kind == CHX_REDUCE_ALL;
  value v;

  for (int64_t i = 0; i < j->kept.n; i++) {
    memset(&v, 0, sizeof v);
    if (one && CHX_FLOATS >> j->dtype & 1 && j->acc_size == 4) v.f32 = 1;
    else if (one && j->dtype == CHX_F64) v.f64 = 1;
    else if (one && j->size == 1) v.u8 = 1;
    else if (one && j->size == 2) v.u16 = 1;
    else if (one && j->size == 4) v.u32 = 1;
    else if (one) v.u64 = 1;
    finish(j, 1, &v, j->kept.base[0] + offset_of(&j->kept, 0, i), 0);
  }
}

/* All of a small dense array, which needs no plan. */
static int few_dense(job *j, const chx_call *c, const chx_reduce_attr *a)
{
  const chx_tensor *x = c->in;
  value v;

  if (!(x->flags & CHX_T_CONTIGUOUS) || a->axes.n != x->ndim || nat_is_half(j->dtype)) return 0;
  j->m = nat_count(x);
  if (j->m == 0 || j->m > DENSE_BLOCK) return 0;
  j->op.run(j->m, nat_data(x), &v);
  j->size = nat_size(x);
  finish(j, 1, &v, nat_data(c->out), 0);
  return 1;
}

static chx_status reduce(void *self, const chx_call *c)
{
  const chx_reduce_attr *a = c->attr;
  static const uint8_t op_of[] = {
    [CHX_REDUCE_SUM] = SUM, [CHX_REDUCE_PROD] = PROD, [CHX_REDUCE_MAX] = MAX, [CHX_REDUCE_MIN] = MIN,
    [CHX_REDUCE_ALL] = MIN, [CHX_REDUCE_ANY] = MAX, [CHX_REDUCE_MEAN] = SUM};
  job j;
  (void)self;

  if (a->kind < CHX_REDUCE_SUM || a->kind > CHX_REDUCE_MEAN) return CHX_DECLINED;
  j.dtype = nat_dtype(c->in);
  j.mean = a->kind == CHX_REDUCE_MEAN;
  if (j.mean && !(CHX_FLOATS >> j.dtype & 1)) return CHX_DECLINED;
  int k = op_of[a->kind];
  if (j.dtype == CHX_BOOL && k == SUM) k = MAX;
  if (j.dtype == CHX_BOOL && k == PROD) k = MIN;
  j.op = types[j.dtype].by_kind[k];
  if (few_dense(&j, c, a)) return CHX_OK;
  make_job(&j, c->in, c->out, &a->axes);

  if (j.kept.n == 0) return CHX_OK;
  if (j.m == 0) {
    if (a->kind == CHX_REDUCE_MAX || a->kind == CHX_REDUCE_MIN)
      return nat_fail(CHX_ESHAPE, "reduce: the %s of no elements", a->kind == CHX_REDUCE_MAX ? "maximum" : "minimum");
    fill_empty(&j, a->kind);
    return CHX_OK;
  }
  if (j.by_strip) {
    const int64_t strips = count_strips(&j);
    if (strips < SPLIT && j.m / SPLIT >= j.group && j.m * j.kept.n >= CHUNK) tall_strips(&j);
    else nat_parallel(strips, grain_of(j.m * j.width), strip_range, &j);
  } else if (j.kept.n < SPLIT * 2 && j.m >= 2 * CHUNK) long_sequences(&j);
  else nat_parallel(j.kept.n, grain_of(j.m), sequence_range, &j);
  return CHX_OK;
}

/* ---- argmax, argmin --------------------------------------------------------------------------------------------- */

/* Along one sequence: the best of each block, and only where it is better than what there was, its place. */
static void arg_sequence_range(int64_t begin, int64_t end, void *ctx)
{
  const job *j = ctx;
  nat_walk w = j->kept;
  uint64_t buffer[BLOCK];

  nat_walk_seek(&w, begin, end);
  for (int64_t n; (n = nat_walk_next(&w)) != 0;)
    for (int64_t i = 0; i < n; i++) {
      const char *base = w.p[1] + i * w.step[1];
      int64_t at = 0;
      value best, one;
      for (int64_t k = 0, len; k < j->m; k += len) {
        const void *x;
        int64_t row[1] = {0};
        len = next_block(j, base, k, j->m - k, buffer, &x);
        j->op.run(len, x, k ? &one : &best);
        if (k) (j->largest ? j->type->pick_max : j->type->pick_min)(1, &one, &best, row, 1);
        if (!k || row[0]) at = k + j->type->find(len, x, &best);
      }
      *(int64_t *)(void *)(w.p[0] + i * w.step[0]) = at;
    }
}

static void arg_strip_range(int64_t begin, int64_t end, void *ctx)
{
  const job *j = ctx;
  uint64_t best[STRIP_BYTES / 8], buffer[STRIP_BYTES / 8];
  int64_t at[STRIP_BYTES / 8];

  for (; begin < end; begin++) {
    const char *x;
    char *y;
    const int64_t cols = strip_at(j, begin, &x, &y);
    memset(at, 0, sizeof at);
    memcpy(best, load_row(j, x, j->kept.step[1], cols, buffer), (size_t)(cols * j->acc_size));
    for (int64_t r = 1; r < j->m; r++) {
      const void *row = load_row(j, x + r * j->red.step[0], j->kept.step[1], cols, buffer);
      (j->largest ? j->type->pick_max : j->type->pick_min)(cols, row, best, at, r);
    }
    nat_move(cols, 8, y, j->kept.step[0], (const char *)at, 8);
  }
}

/* self: not NULL for the largest */
static chx_status arg_reduce(void *self, const chx_call *c)
{
  const chx_arg_reduce_attr *a = c->attr;
  job j;

  if (a->axes.n != 1) return CHX_DECLINED;
  make_job(&j, c->in, c->out, &a->axes);
  j.largest = self != NULL;
  j.op = j.type->by_kind[j.largest ? MAX : MIN];
  if (j.kept.n == 0) return CHX_OK;
  if (j.m == 0) return nat_fail(CHX_ESHAPE, "%s: axis %d has no elements", j.largest ? "argmax" : "argmin", (int)a->axes.v[0]);
  if (j.by_strip) {
    j.width = STRIP_BYTES / 8;
    nat_parallel(count_strips(&j), grain_of(j.m * j.width), arg_strip_range, &j);
  } else
    nat_parallel(j.kept.n, grain_of(j.m), arg_sequence_range, &j);
  return CHX_OK;
}

#define ARG(name, which) \
  {NAT_KERNEL, .op = name, .attr_size = sizeof(chx_arg_reduce_attr), .dtypes_in = CHX_ANY_REAL, \
   .dtypes_out = CHX_BIT(CHX_I64), .run = arg_reduce, .self = which}
extern const chx_kernel NAT(nat_reduce_kernels)[];
const chx_kernel NAT(nat_reduce_kernels)[] = {
  {NAT_KERNEL, .op = "reduce", .attr_size = sizeof(chx_reduce_attr), .dtypes_in = CHX_ANY_REAL,
   .dtypes_out = CHX_ANY_REAL, .run = reduce},
  ARG("argmax", (void *)(uintptr_t)"largest"), ARG("argmin", NULL), {.op = NULL}};
