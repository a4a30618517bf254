/* SPDX-License-Identifier: MIT
 * k_index.c: take, take_along_axis, scatter_add, scatter_add_along_axis, for any strides.
 *
 * x is seen as lines along the axis, one for each index of the other axes, which iter.h walks in runs of neighbours. For
 * take and scatter_add all lines have the same indices: they are checked once and become tables of where in a line to read
 * and to write. Along an axis each line has its own.
 *
 * Every index is checked before anything is written. Sums are made line by line in the order of the indices, and a line
 * belongs to one task, so results do not depend on the number of threads.
 */
#include "iter.h"

typedef void move_fn(int64_t n, char *d, int64_t ds, const char *s, int64_t ss);

typedef struct job {
  nat_walk w;            /* over lines: operand 0 is written, 1 is read, 2, along, are indices */
  int64_t n, size;       /* indices of a line; bytes of an element */
  const int64_t *to, *from; /* tables: bytes from a line's start */
  int64_t to_step, from_step, i_step, length;
  move_fn *move;         /* n elements from s, ss bytes apart, to d */
  int by_line, is_add;   /* by_line: indices vary fastest in memory; is_add: written at the index, not read there */
} job;

/* ---- elements ----------------------------------------------------------------------------------------------------- */

#define MOVE(T, name)                                                                        \
  static void name(int64_t n, char *d, int64_t ds, const char *s, int64_t ss)                \
  {                                                                                          \
    if (ds == sizeof(T) && ss == sizeof(T)) {                                                \
      memcpy(d, s, (size_t)n * sizeof(T));                                                   \
      return;                                                                                \
    }                                                                                        \
    for (int64_t i = 0; i < n; i++, d += ds, s += ss) *(T *)(void *)d = *(const T *)(const void *)s; \
  }
MOVE(uint8_t, move_1)
MOVE(uint16_t, move_2)
MOVE(uint32_t, move_4)
MOVE(uint64_t, move_8)
MOVE(nat_16, move_16)

#define ADD(T, name)                                                                                       \
  static void name(int64_t n, char *d, int64_t ds, const char *s, int64_t ss)                              \
  {                                                                                                        \
    if (ds == sizeof(T) && ss == sizeof(T)) {                                                              \
      T *restrict a = (T *)(void *)d;                                                                      \
      const T *restrict b = (const T *)(const void *)s;                                                    \
      for (int64_t i = 0; i < n; i++) a[i] = (T)(a[i] + b[i]);                                             \
      return;                                                                                              \
    }                                                                                                      \
    for (int64_t i = 0; i < n; i++, d += ds, s += ss)                                                      \
      *(T *)(void *)d = (T)(*(T *)(void *)d + *(const T *)(const void *)s);                                \
  }
ADD(uint8_t, add_1)
ADD(uint16_t, add_2)
ADD(uint32_t, add_4)
ADD(uint64_t, add_8)
ADD(float, add_f32)
ADD(double, add_f64)

static move_fn *mover(int dtype, int64_t size, int is_add)
{
  if (is_add)
    switch (dtype) {
    case CHX_F32: return add_f32;
    case CHX_F64: return add_f64;
    default: return size == 1 ? add_1 : size == 2 ? add_2 : size == 4 ? add_4 : add_8;
    }
  return size == 1 ? move_1 : size == 2 ? move_2 : size == 4 ? move_4 : size == 8 ? move_8 : move_16;
}

/* ---- the work ------------------------------------------------------------------------------------------------------ */

/* Lines begin .. end - 1, their indices from .. past - 1, by the tables. */
static void by_table(const job *j, int64_t begin, int64_t end, int64_t from, int64_t past)
{
  nat_walk w = j->w;
  const int64_t d = w.step[0], s = w.step[1];
  nat_walk_seek(&w, begin, end);
  for (int64_t n; (n = nat_walk_next(&w));) {
    if (n == 1 || !j->by_line)
      for (int64_t k = from; k < past; k++) j->move(n, w.p[0] + j->to[k], d, w.p[1] + j->from[k], s);
    else
      for (int64_t l = 0; l < n; l++)
        for (int64_t k = from; k < past; k++) j->move(1, w.p[0] + l * d + j->to[k], 0, w.p[1] + l * s + j->from[k], 0);
  }
}

static void table_lines(int64_t begin, int64_t end, void *ctx)
{
  const job *j = ctx;
  by_table(j, begin, end, 0, j->n);
}

static void table_indices(int64_t begin, int64_t end, void *ctx)
{
  const job *j = ctx;
  by_table(j, 0, j->w.n, begin, end);
}

/* Lines begin .. end - 1, each by its own indices. */
static void along_lines(int64_t begin, int64_t end, void *ctx)
{
  const job *j = ctx;
  nat_walk w = j->w;
  nat_walk_seek(&w, begin, end);
  for (int64_t n; (n = nat_walk_next(&w));) {
    const int64_t rows = j->by_line ? n : j->n, cols = j->by_line ? j->n : n;
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = 0; c < cols; c++) {
        const int64_t l = j->by_line ? r : c, k = j->by_line ? c : r;
        int64_t i = *(const int64_t *)(const void *)(w.p[2] + l * w.step[2] + k * j->i_step);
        if (i < 0) i += j->length;
        const int64_t to = j->is_add ? i : k, from = j->is_add ? k : i;
        j->move(1, w.p[0] + l * w.step[0] + to * j->to_step, 0, w.p[1] + l * w.step[1] + from * j->from_step, 0);
      }
  }
}

/* ---- checks and tables --------------------------------------------------------------------------------------------- */

static chx_status bad_index(const char *op, int64_t i, int axis, int64_t length)
{
  return nat_fail(CHX_EARG, "%s: index %lld is out of range for axis %d of length %lld, want %lld to %lld", op, (long long)i, axis,
                  (long long)length, (long long)-length, (long long)length - 1);
}

/* All of i lie in -length .. length - 1. */
static chx_status check(const char *op, const chx_tensor *i, int axis, int64_t length)
{
  nat_walk w;
  nat_walk_init(&w, i->ndim, i->shape, 1, &i);
  nat_walk_seek(&w, 0, w.n);
  for (int64_t n; (n = nat_walk_next(&w));)
    for (int64_t k = 0; k < n; k++) {
      const int64_t v = *(const int64_t *)(const void *)(w.p[0] + k * w.step[0]);
      if (v < -length || v >= length) return bad_index(op, v, axis, length);
    }
  return CHX_OK;
}

/* index[k]: the place of i's element k, in row-major order, in steps of `step` bytes; place[k]: that of the element of t,
 * whose axes at .. are i's. The first index out of range ends it with an error. */
static chx_status tables(const char *op, const chx_tensor *i, const chx_tensor *t, int axis, int64_t length, int64_t step,
                         int64_t *index, int64_t *place)
{
  int64_t at[CHX_MAX_RANK] = {0};
  const int r = i->ndim;
  const int64_t n = nat_count(i), size = nat_size(t), *st = t->strides + axis;
  const char *base = nat_data(i), *p = base;
  int64_t o = 0;

  for (int64_t k = 0; k < n; k++) {
    const int64_t v = *(const int64_t *)(const void *)p;
    if (v < -length || v >= length) return bad_index(op, v, axis, length);
    index[k] = (v < 0 ? v + length : v) * step;
    place[k] = o * size;
    for (int d = r - 1; d >= 0; d--) {
      p += i->strides[d] * 8;
      o += st[d];
      if (++at[d] < i->shape[d]) break;
      p -= i->shape[d] * i->strides[d] * 8;
      o -= i->shape[d] * st[d];
      at[d] = 0;
    }
  }
  return CHX_OK;
}

static int64_t magnitude(int64_t v) { return v < 0 ? -v : v; }

/* ---- kernels --------------------------------------------------------------------------------------------------------- */

static void copy_range(int64_t begin, int64_t end, void *ctx)
{
  const job *j = ctx;
  nat_walk w = j->w;
  nat_walk_seek(&w, begin, end);
  for (int64_t n; (n = nat_walk_next(&w));) nat_move(n, j->size, w.p[0], w.step[0], w.p[1], w.step[1]);
}

static void copy(const chx_tensor *z, const chx_tensor *x)
{
  job j = {.size = nat_size(z)};
  if (nat_data(z) == nat_data(x)) return; /* it is x */
  nat_walk_init(&j.w, z->ndim, z->shape, 2, (const chx_tensor *[]){z, x});
  nat_parallel(j.w.n, NAT_GRAIN, copy_range, &j);
}

/* take: v is written, x read. scatter_add: v is read, z, which starts as x, is written. */
static chx_status shared(void *self, const chx_call *call)
{
  const int is_add = self != NULL, axis = (int)((const chx_axis_attr *)call->attr)->axis;
  const chx_tensor *x = &call->in[0], *i = &call->in[1], *v = is_add ? &call->in[2] : &call->out[0];
  const chx_tensor *z = is_add ? &call->out[0] : x;
  const int64_t length = x->shape[axis], n = nat_count(i), some = nat_count(v);
  job j = {.n = n, .size = nat_size(x), .is_add = is_add};
  int64_t *table = NULL;
  nat_part a, b;

  if (some > 0) {
    table = nat_host->scratch(nat_host->ctx, call, (uint64_t)n * 2 * sizeof *table);
    if (!table) return nat_fail(CHX_ENOMEM, "%s: no memory for %lld indices", is_add ? "scatter_add" : "take", (long long)n);
    chx_status e = tables(is_add ? "scatter_add" : "take", i, v, axis, length, z->strides[axis] * j.size, table, table + n);
    if (e) return e;
  }
  if (is_add && nat_count(z)) copy(z, x);
  if (some == 0) return CHX_OK;

  const chx_tensor *line = nat_without(&a, z, axis, 1), *taken = nat_without(&b, v, axis, i->ndim);
  nat_walk_init(&j.w, line->ndim, line->shape, 2, is_add ? (const chx_tensor *[]){line, taken} : (const chx_tensor *[]){taken, line});
  j.to = is_add ? table : table + n;
  j.from = is_add ? table + n : table;
  j.move = mover(nat_dtype(x), j.size, is_add);
  /* Neighbouring lines further apart than neighbouring indices: line by line. */
  j.by_line = n > 1 && magnitude(j.w.step[is_add]) > magnitude(table[n + 1] - table[n]);
  if (!is_add && n >= j.w.n) nat_parallel(n, NAT_GRAIN / (j.w.n + 1) + 1, table_indices, &j);
  else nat_parallel(j.w.n, j.by_line || NAT_GRAIN / n >= 128 ? NAT_GRAIN / n + 1 : 128, table_lines, &j);
  return CHX_OK;
}

static chx_status along(void *self, const chx_call *call)
{
  const int is_add = self != NULL, axis = (int)((const chx_axis_attr *)call->attr)->axis;
  const chx_tensor *x = &call->in[0], *i = &call->in[1], *v = is_add ? &call->in[2] : &call->out[0];
  const chx_tensor *z = is_add ? &call->out[0] : x;
  const int64_t some = nat_count(v), size = nat_size(x);
  job j = {.n = i->shape[axis], .size = size, .length = x->shape[axis], .is_add = is_add};
  nat_part a, b, c;

  if (some > 0) {
    chx_status e = check(is_add ? "scatter_add_along_axis" : "take_along_axis", i, axis, j.length);
    if (e) return e;
  }
  if (is_add && nat_count(z)) copy(z, x);
  if (some == 0) return CHX_OK;

  const chx_tensor *line = nat_without(&a, z, axis, 1), *taken = nat_without(&b, v, axis, 1), *index = nat_without(&c, i, axis, 1);
  nat_walk_init(&j.w, index->ndim, index->shape, 3,
                is_add ? (const chx_tensor *[]){line, taken, index} : (const chx_tensor *[]){taken, line, index});
  j.to_step = (is_add ? z : v)->strides[axis] * size;
  j.from_step = (is_add ? v : z)->strides[axis] * size;
  j.i_step = i->strides[axis] * 8;
  j.move = mover(nat_dtype(x), size, is_add);
  j.by_line = magnitude(j.w.step[is_add]) > magnitude(v->strides[axis] * size);
  nat_parallel(j.w.n, j.by_line || NAT_GRAIN / j.n >= 64 ? NAT_GRAIN / j.n + 1 : 64, along_lines, &j);
  return CHX_OK;
}

static char is_scatter; /* its address says so */
#define SUMS (CHX_NUMBERS & ~(CHX_BIT(CHX_F16) | CHX_BIT(CHX_BF16))) /* those come as f32: a sum is rounded once */
#define ANY (CHX_ANY_REAL | CHX_BIT(CHX_C64) | CHX_BIT(CHX_C128))
#define KERNEL(name, fn, what, dtypes, alias)                                                                 \
  {NAT_KERNEL, .op = name, .attr_size = sizeof(chx_axis_attr), .dtypes_in = dtypes | CHX_BIT(CHX_I64),        \
   .dtypes_out = dtypes, .alias_ok = alias, .run = fn, .self = what}
const chx_kernel NAT(nat_index_kernels)[] = {
  KERNEL("take", shared, NULL, ANY, 0),
  KERNEL("take_along_axis", along, NULL, ANY, 0),
  KERNEL("scatter_add", shared, &is_scatter, SUMS, 1),
  KERNEL("scatter_add_along_axis", along, &is_scatter, SUMS, 1),
  {0},
};
