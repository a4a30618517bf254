/* SPDX-License-Identifier: MIT
 * k_scan.c: cumulative sums, products and extremes along one axis, for any strides.
 *
 * x and y are seen as lines along the axis, one for each index of the other axes. Where a line's elements are nearer to
 * each other than its neighbours', it is scanned alone, in blocks ("along"); else neighbours are scanned together, a
 * row of accumulators over all of them ("across"). Lines are spread over threads. Few and long ones are cut into
 * chunks, by the problem's size alone: each chunk's total first, then each chunk from what the totals before it add up
 * to. f16 and bf16 are widened to float on the way in, and each result is rounded on the way out.
 */
#include <chx/formula.h>
#include "half.h"
#include "iter.h"

enum {
  BLOCK = 1024,       /* elements of a line that are gathered, scanned and scattered at once */
  DENSE_BLOCK = 4096, /* that need no gathering */
  ROW_BYTES = 1024,   /* of accumulators, across */
  CHUNK = 1 << 16,    /* least elements of a chunk */
  MAX_CHUNKS = 64
};

#define NAT_NUMBER "scan.inc"
#include "numbers.inc"

typedef struct op {
  void (*scan)(int64_t n, const void *x, void *y, void *carry);
  void (*total)(int64_t n, const void *x, void *carry);
  void (*fold)(int64_t n, const void *x, void *a, void *y);
} op;

#define OP(name, tag) {name##_scan_##tag, name##_total_##tag, name##_fold_##tag}
#define OPS(tag, wrap) \
  { \
    [CHX_SCAN_SUM] = OP(sum, wrap), [CHX_SCAN_PROD] = OP(prod, wrap), [CHX_SCAN_MAX] = OP(max, tag), \
    [CHX_SCAN_MIN] = OP(min, tag) \
  }
static const op ops[CHX_DTYPE_END][CHX_SCAN_MIN + 1] = {
  [CHX_BOOL] = OPS(u8, u8), [CHX_I8] = OPS(i8, u8), [CHX_I16] = OPS(i16, u16), [CHX_I32] = OPS(i32, u32),
  [CHX_I64] = OPS(i64, u64), [CHX_U8] = OPS(u8, u8), [CHX_U16] = OPS(u16, u16), [CHX_U32] = OPS(u32, u32),
  [CHX_U64] = OPS(u64, u64), [CHX_F16] = OPS(f32, f32), [CHX_BF16] = OPS(f32, f32), [CHX_F32] = OPS(f32, f32),
  [CHX_F64] = OPS(f64, f64)};

typedef struct job {
  nat_walk w;         /* over lines: operand 0 is y, 1 is x */
  int64_t n, xs, ys;  /* elements of a line, and bytes from one to the next */
  op op;
  uint32_t kind;
  int dtype, half, exclusive, across;
  int64_t size, acc_size; /* bytes of an element, and of an accumulator */
  int64_t width;          /* lines taken together */
} job;

/* ---- the way in and out ----------------------------------------------------------------------------------------- */

/* n elements from p on, `step` bytes apart, dense and wide: in place if they are so already, else in `buffer`. */
static const void *load(const job *j, const char *p, int64_t step, int64_t n, void *buffer)
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

static void store(const job *j, int64_t n, const void *wide, char *p, int64_t step)
{
  uint16_t narrow[BLOCK];

  if (!j->half) {
    nat_move(n, j->size, p, step, wide, j->size);
  } else if (step == j->size) {
    nat_narrow(j->dtype, n, wide, p);
  } else {
    nat_narrow(j->dtype, n, wide, narrow);
    nat_move(n, j->size, p, step, (const char *)narrow, j->size);
  }
}

/* What the scans of `cols` lines start from: nothing (-0 + x is x, of 0 too), or for extremes the first elements, which
 * are `step` bytes apart. */
static void start(const job *j, int64_t cols, const char *x, int64_t step, void *acc)
{
  uint64_t buffer[BLOCK];
  const double none = j->kind == CHX_SCAN_PROD ? 1 : j->exclusive ? 0 : -0.0;

  if (j->kind == CHX_SCAN_MAX || j->kind == CHX_SCAN_MIN) {
    memcpy(acc, load(j, x, step, cols, buffer), (size_t)(cols * j->acc_size));
  } else if (j->dtype == CHX_F64) {
    for (int64_t i = 0; i < cols; i++) ((double *)acc)[i] = none;
  } else if (j->half || j->dtype == CHX_F32) {
    for (int64_t i = 0; i < cols; i++) ((float *)acc)[i] = (float)none;
  } else {
    const uint64_t one = j->kind == CHX_SCAN_PROD;
    const uint8_t u8 = (uint8_t)one;
    const uint16_t u16 = (uint16_t)one;
    const uint32_t u32 = (uint32_t)one;
    const void *v = j->size == 1   ? (const void *)&u8
                    : j->size == 2 ? (const void *)&u16
                    : j->size == 4 ? (const void *)&u32
                                   : &one;
    nat_fill(cols, j->size, acc, v);
  }
}

/* ---- along, across -------------------------------------------------------------------------------------------------- */

/* Elements from .. to - 1 of the line at x, on from *acc, to the line at y; y NULL: only the total, in *acc. */
static void along(const job *j, const char *x, char *y, int64_t from, int64_t to, void *acc)
{
  uint64_t in[BLOCK], result[BLOCK + 1];
  const int direct = !j->half && j->xs == j->size && (!y || j->ys == j->size);
  const int64_t size = j->acc_size, most = direct ? DENSE_BLOCK : BLOCK;

  for (int64_t n; from < to; from += n) {
    n = to - from < most ? to - from : most;
    const char *px = load(j, x + from * j->xs, j->xs, n, in);
    if (!y) {
      j->op.total(n, px, acc);
      continue;
    }
    char *py = direct ? y + from * j->ys : (char *)result;
    if (j->exclusive) {
      memcpy(py, acc, (size_t)size);
      j->op.scan(n - 1, px, py + size, acc);
      j->op.total(1, px + (n - 1) * size, acc);
    } else
      j->op.scan(n, px, py, acc);
    if (!direct) store(j, n, py, y + from * j->ys, j->ys);
  }
}

/* Likewise of `cols` neighbouring lines; acc has that many. */
static void across(const job *j, const char *x, char *y, int64_t cols, int64_t from, int64_t to, void *acc)
{
  uint64_t in[ROW_BYTES / 8], result[ROW_BYTES / 8];
  const int64_t dx = j->w.step[1], dy = j->w.step[0];

  for (; from < to; from++) {
    const void *row = load(j, x + from * j->xs, dx, cols, in);
    char *to_row = y ? y + from * j->ys : NULL;
    void *wide = y && dy == j->size && !j->half && !j->exclusive ? (void *)to_row : result;
    if (y && j->exclusive) store(j, cols, acc, to_row, dy);
    j->op.fold(cols, row, acc, wide);
    if (y && !j->exclusive && wide != to_row) store(j, cols, wide, to_row, dy);
  }
}

static void part(const job *j, const char *x, char *y, int64_t cols, int64_t from, int64_t to, void *acc)
{
  if (j->across) across(j, x, y, cols, from, to, acc);
  else along(j, x, y, from, to, acc);
}

static void whole_lines(int64_t begin, int64_t end, void *ctx)
{
  const job *j = ctx;
  uint64_t acc[ROW_BYTES / 8];
  nat_walk w = j->w;

  nat_walk_seek(&w, begin, end);
  for (int64_t n; (n = nat_walk_next(&w)) != 0;)
    for (int64_t i = 0; i < n; i += j->width) {
      const int64_t cols = n - i < j->width ? n - i : j->width;
      const char *x = w.p[1] + i * w.step[1];
      start(j, cols, x, w.step[1], acc);
      part(j, x, w.p[0] + i * w.step[0], cols, 0, j->n, acc);
    }
}

/* ---- few and long ----------------------------------------------------------------------------------------------- */

typedef struct chunks { const job *j; const char *x; char *y; int64_t cols, size; char *acc; } chunks;

static void chunk_totals(int64_t begin, int64_t end, void *ctx)
{
  const chunks *c = ctx;
  for (; begin < end; begin++) {
    char *acc = c->acc + begin * ROW_BYTES;
    start(c->j, c->cols, c->x + begin * c->size * c->j->xs, c->j->w.step[1], acc);
    part(c->j, c->x, NULL, c->cols, begin * c->size, (begin + 1) * c->size, acc);
  }
}

static void chunk_scans(int64_t begin, int64_t end, void *ctx)
{
  const chunks *c = ctx;
  for (; begin < end; begin++) {
    const int64_t to = (begin + 1) * c->size;
    part(c->j, c->x, c->y, c->cols, begin * c->size, to < c->j->n ? to : c->j->n, c->acc + begin * ROW_BYTES);
  }
}

/* 0: no memory */
static NAT_NOINLINE int long_lines(const job *j, const chx_call *call, int64_t n_chunks)
{
  chunks c = {.j = j, .size = (j->n + n_chunks - 1) / n_chunks};
  uint64_t sum[ROW_BYTES / 8], total[ROW_BYTES / 8], spare[ROW_BYTES / 8];
  nat_walk w = j->w;

  n_chunks = (j->n + c.size - 1) / c.size;
  c.acc = nat_host->scratch(nat_host->ctx, call, (uint64_t)(n_chunks * ROW_BYTES));
  if (!c.acc) return 0;
  nat_walk_seek(&w, 0, w.n);
  for (int64_t n; (n = nat_walk_next(&w)) != 0;)
    for (int64_t i = 0; i < n; i += j->width) {
      c.cols = n - i < j->width ? n - i : j->width;
      c.x = w.p[1] + i * w.step[1];
      c.y = w.p[0] + i * w.step[0];
      nat_parallel(n_chunks - 1, 1, chunk_totals, &c);
      start(j, c.cols, c.x, w.step[1], sum);
      for (int64_t k = 0; k < n_chunks; k++) { /* from totals to what is before each */
        char *acc = c.acc + k * ROW_BYTES;
        if (k + 1 < n_chunks) memcpy(total, acc, ROW_BYTES);
        memcpy(acc, sum, ROW_BYTES);
        if (k + 1 < n_chunks) j->op.fold(c.cols, total, sum, spare);
      }
      nat_parallel(n_chunks, 1, chunk_scans, &c);
    }
  return 1;
}

/* ---- the kernel -------------------------------------------------------------------------------------------------- */

static chx_status scan(void *self, const chx_call *c)
{
  const chx_scan_attr *a = c->attr;
  const chx_tensor *x = &c->in[0], *y = &c->out[0];
  const int axis = (int)a->axes.v[0];
  nat_part px, py;
  job j = {.kind = a->kind, .exclusive = a->exclusive != 0, .dtype = nat_dtype(x), .size = nat_size(x)};
  (void)self;

  if (a->kind < CHX_SCAN_SUM || a->kind > CHX_SCAN_MIN || a->axes.n != 1) return CHX_DECLINED;
  if (nat_count(y) == 0) return CHX_OK;
  j.n = x->shape[axis];
  j.xs = x->strides[axis] * j.size;
  j.ys = y->strides[axis] * j.size;
  j.half = nat_is_half(j.dtype);
  j.acc_size = j.half ? 4 : j.size;
  j.op = ops[j.dtype][j.kind];
  nat_walk_init(&j.w, y->ndim - 1, py.shape, 2,
                (const chx_tensor *[]){nat_without(&py, y, axis, 1), nat_without(&px, x, axis, 1)});
  const int64_t run = j.w.dim[j.w.rank - 1];
  j.across = run > 1 && j.n > 1 && nat_abs64(j.w.step[0]) < nat_abs64(j.ys);
  j.width = j.across ? ROW_BYTES / j.acc_size : 1;
  if (a->reverse) {
    j.w.base[0] += (j.n - 1) * j.ys;
    j.w.base[1] += (j.n - 1) * j.xs;
    j.xs = -j.xs;
    j.ys = -j.ys;
  }
  int64_t n_chunks = (run < j.width ? run : j.width) * j.n / CHUNK;
  if (n_chunks > MAX_CHUNKS) n_chunks = MAX_CHUNKS;
  if (j.w.n <= 4 * j.width && n_chunks > 1) {
    if (!long_lines(&j, c, n_chunks))
      return nat_fail(CHX_ENOMEM, "scan: no memory for the totals of %d chunks", (int)n_chunks);
    return CHX_OK;
  }
  const int64_t grain = NAT_GRAIN / j.n + 1;
  nat_parallel(j.w.n, (grain + j.width - 1) / j.width * j.width, whole_lines, &j);
  return CHX_OK;
}

extern const chx_kernel NAT(nat_scan_kernels)[];
const chx_kernel NAT(nat_scan_kernels)[] = {
  {NAT_KERNEL, .op = "scan", .attr_size = sizeof(chx_scan_attr), .dtypes_in = CHX_ANY_REAL, .dtypes_out = CHX_ANY_REAL,
   .run = scan},
  {.op = NULL}};
