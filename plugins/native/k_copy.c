/* SPDX-License-Identifier: MIT
 * k_copy.c: copies of any layout, and casts.
 *
 * A copy within one dtype moves bytes: all at once where both sides are dense, in square tiles where input and output
 * run along different axes, else run by run. A cast goes block by block: gather, convert, scatter, of which the outer
 * two fall away for a dense side. Casts between f16 or bf16 and the rest go through float, rounded only once.
 */
#include "half.h"
#include "iter.h"
#if defined __SSE2__
#include <emmintrin.h>
#endif

enum { BLOCK = 512, LINE = 64, GRAIN_BYTES = 4 * NAT_GRAIN, SIDE = 16 };

/* ---- one dense block from dtype to dtype -------------------------------------------------------------------- */

typedef void convert_fn(int64_t n, const void *x, void *y);

/* From integer or bool; to integer it wraps. */
#define AS_VALUE(type, v, min, above) (type)(v)
/* From float to integer: saturating, NaN is 0. `above` is one more than the largest value. */
#define AS_INTEGER(type, v, min, above) \
  ((v) >= above ? (type)(above - 1) : (v) <= min ? (type)min : (v) != (v) ? (type)0 : (type)(v))
#define AS_BOOL(type, v, min, above) ((v) != 0)

#define CONVERT(from, ftype, to, ttype, AS, min, above) \
  static void from##_to_##to(int64_t n, const void *px, void *py) \
  { \
    const ftype *x = px; \
    ttype *y = py; \
    NAT_IVDEP for (int64_t i = 0; i < n; i++) y[i] = AS(ttype, x[i], min, above); \
  }
#define FROM(from, ftype, AS) \
  CONVERT(from, ftype, bool, uint8_t, AS_BOOL, 0, 0) \
  CONVERT(from, ftype, i8, int8_t, AS, -0x1p7f, 0x1p7f) CONVERT(from, ftype, i16, int16_t, AS, -0x1p15f, 0x1p15f) \
  CONVERT(from, ftype, u8, uint8_t, AS, 0, 0x1p8f) CONVERT(from, ftype, u16, uint16_t, AS, 0, 0x1p16f) \
  CONVERT(from, ftype, f32, float, AS_VALUE, 0, 0) CONVERT(from, ftype, f64, double, AS_VALUE, 0, 0)
#define FROM_WIDE(from, ftype) \
  CONVERT(from, ftype, i32, int32_t, AS_VALUE, 0, 0) CONVERT(from, ftype, i64, int64_t, AS_VALUE, 0, 0) \
  CONVERT(from, ftype, u32, uint32_t, AS_VALUE, 0, 0) CONVERT(from, ftype, u64, uint64_t, AS_VALUE, 0, 0)
/* These limits minus one are no floats. */
#define AS_WIDE(type, v, min, above) ((v) >= above ? max_##type : (v) <= min ? min_##type : (v) != (v) ? (type)0 : (type)(v))
#define max_int32_t INT32_MAX
#define max_int64_t INT64_MAX
#define max_uint32_t UINT32_MAX
#define max_uint64_t UINT64_MAX
#define min_int32_t INT32_MIN
#define min_int64_t INT64_MIN
#define min_uint32_t 0
#define min_uint64_t 0
#define FROM_FLOAT(from, ftype) \
  FROM(from, ftype, AS_INTEGER) \
  CONVERT(from, ftype, i32, int32_t, AS_WIDE, -0x1p31f, 0x1p31f) CONVERT(from, ftype, i64, int64_t, AS_WIDE, -0x1p63f, 0x1p63f) \
  CONVERT(from, ftype, u32, uint32_t, AS_WIDE, 0, 0x1p32f) CONVERT(from, ftype, u64, uint64_t, AS_WIDE, 0, 0x1p64f)
#define FROM_INTEGER(from, ftype) FROM(from, ftype, AS_VALUE) FROM_WIDE(from, ftype)

FROM_INTEGER(bool, uint8_t)
FROM_INTEGER(i8, int8_t)
FROM_INTEGER(i16, int16_t)
FROM_INTEGER(i32, int32_t)
FROM_INTEGER(i64, int64_t)
FROM_INTEGER(u8, uint8_t)
FROM_INTEGER(u16, uint16_t)
FROM_INTEGER(u32, uint32_t)
FROM_INTEGER(u64, uint64_t)
FROM_FLOAT(f32, float)
FROM_FLOAT(f64, double)

#define TO(from) \
  {[CHX_BOOL] = from##_to_bool, [CHX_I8] = from##_to_i8, [CHX_I16] = from##_to_i16, [CHX_I32] = from##_to_i32, \
   [CHX_I64] = from##_to_i64, [CHX_U8] = from##_to_u8, [CHX_U16] = from##_to_u16, [CHX_U32] = from##_to_u32, \
   [CHX_U64] = from##_to_u64, [CHX_F32] = from##_to_f32, [CHX_F64] = from##_to_f64}
static convert_fn *const converters[CHX_DTYPE_END][CHX_DTYPE_END] = {
  [CHX_BOOL] = TO(bool), [CHX_I8] = TO(i8), [CHX_I16] = TO(i16), [CHX_I32] = TO(i32), [CHX_I64] = TO(i64),
  [CHX_U8] = TO(u8), [CHX_U16] = TO(u16), [CHX_U32] = TO(u32), [CHX_U64] = TO(u64), [CHX_F32] = TO(f32),
  [CHX_F64] = TO(f64)};

/* x as floats that round on to 16 bits as x itself would. */
static void to_odd_float(int from, int64_t n, const void *x, float *y)
{
  switch (from) {
  case CHX_F64:
    for (int64_t i = 0; i < n; i++) y[i] = nat_odd(((const double *)x)[i]);
    return;
  case CHX_I32:
    for (int64_t i = 0; i < n; i++) y[i] = nat_odd((double)((const int32_t *)x)[i]);
    return;
  case CHX_U32:
    for (int64_t i = 0; i < n; i++) y[i] = nat_odd((double)((const uint32_t *)x)[i]);
    return;
  case CHX_I64:
  case CHX_U64:
    for (int64_t i = 0; i < n; i++) {
      uint64_t u = ((const uint64_t *)x)[i], neg = from == CHX_I64 && u >> 63, a = neg ? 0 - u : u;
      if (a >> 53) a = (a & ~(uint64_t)0x7ff) | (uint64_t)((a & 0x7ff) != 0) << 11; /* exact in double, still inexact */
      y[i] = nat_odd(neg ? -(double)a : (double)a);
    }
    return;
  default: converters[from][CHX_F32](n, x, y); /* exact */
  }
}

/* n <= BLOCK */
static void convert(int from, int to, int64_t n, const void *x, void *y)
{
  float wide[BLOCK];

  if (converters[from][to]) {
    converters[from][to](n, x, y);
    return;
  }
  if (nat_is_half(from)) {
    float *f = to == CHX_F32 ? y : wide;
    nat_widen(from, n, x, f);
    if (!nat_is_half(to)) {
      if (to != CHX_F32) converters[CHX_F32][to](n, f, y);
      return;
    }
    x = wide;
  } else if (from != CHX_F32) {
    to_odd_float(from, n, x, wide);
    x = wide;
  }
  nat_narrow(to, n, x, y);
}

/* ---- jobs ------------------------------------------------------------------------------------------------------- */

typedef struct job {
  nat_walk w; /* operand 0 is the output, 1 the input */
  int from, to, dense_in, dense_out;
  int64_t size_in, size_out;
  int tiled; /* the axis along which the input is dense, of a tiled copy */
} job;

static void cast_range(int64_t begin, int64_t end, void *ctx)
{
  const job *j = ctx;
  uint64_t in[BLOCK], out[BLOCK];

  for (int64_t n; begin < end; begin += n) {
    n = end - begin < BLOCK ? end - begin : BLOCK;
    const void *x = j->dense_in ? j->w.base[1] + begin * j->size_in : (char *)in;
    void *y = j->dense_out ? j->w.base[0] + begin * j->size_out : (char *)out;
    if (!j->dense_in) nat_gather(&j->w, 1, j->size_in, begin, n, in);
    convert(j->from, j->to, n, x, y);
    if (!j->dense_out) nat_scatter(&j->w, 0, j->size_out, begin, n, out);
  }
}

static void dense_range(int64_t begin, int64_t end, void *ctx)
{
  const job *j = ctx;
  memcpy(j->w.base[0] + begin * j->size_out, j->w.base[1] + begin * j->size_out, (size_t)((end - begin) * j->size_out));
}

static void run_range(int64_t begin, int64_t end, void *ctx)
{
  const job *j = ctx;
  nat_walk w = j->w;

  nat_walk_seek(&w, begin, end);
  for (int64_t n; (n = nat_walk_next(&w)) != 0;) nat_move(n, j->size_out, w.p[0], w.step[0], w.p[1], w.step[1]);
}

/* line[k] = buffer[k][i], for all i of a tile: each line of the output is written whole. */
#define LINES(type) \
  for (int i = 0; i < N; i++) { \
    type line[N]; \
    for (int k = 0; k < N; k++) line[k] = buffer[k][i]; \
    memcpy(d + i * ds, line, LINE); \
  }
#if defined __SSE2__
#define LINES_uint32_t \
  for (int i = 0; i < N; i += 4) \
    for (int k = 0; k < N; k += 4) { \
      __m128 r0 = _mm_loadu_ps((float *)&buffer[k][i]), r1 = _mm_loadu_ps((float *)&buffer[k + 1][i]); \
      __m128 r2 = _mm_loadu_ps((float *)&buffer[k + 2][i]), r3 = _mm_loadu_ps((float *)&buffer[k + 3][i]); \
      char *to = d + i * ds + k * 4; \
      _MM_TRANSPOSE4_PS(r0, r1, r2, r3); \
      _mm_storeu_ps((float *)(void *)to, r0); \
      _mm_storeu_ps((float *)(void *)(to + ds), r1); \
      _mm_storeu_ps((float *)(void *)(to + 2 * ds), r2); \
      _mm_storeu_ps((float *)(void *)(to + 3 * ds), r3); \
    }
#else
#define LINES_uint32_t LINES(uint32_t)
#endif

/* d[i * ds + k] = s[k * ss + i] for i < rows, k < cols; ds and ss in bytes. A tile is a cache line wide and goes
 * through a buffer, for lines whose distance is a power of 2 displace each other in the cache. */
#define TILE(type, lines) \
  static void tile_##type(int64_t rows, int64_t cols, char *d, int64_t ds, const char *s, int64_t ss) \
  { \
    enum { N = LINE / (int)sizeof(type) }; \
    type buffer[N][N]; \
    if (rows == N && cols == N) { \
      for (int k = 0; k < N; k++) memcpy(buffer[k], s + k * ss, LINE); \
      lines \
      return; \
    } \
    for (int64_t i = 0; i < rows; i++) \
      for (int64_t k = 0; k < cols; k++) memcpy(d + i * ds + k * (int64_t)sizeof(type), s + k * ss + i * (int64_t)sizeof(type), sizeof(type)); \
  }
TILE(uint8_t, LINES(uint8_t))
TILE(uint16_t, LINES(uint16_t))
TILE(uint32_t, LINES_uint32_t)
TILE(uint64_t, LINES(uint64_t))
TILE(nat_16, LINES(nat_16))

/* Units of work: SIDE tiles along axis `tiled`, over the whole of the last axis, whose tiles are taken SIDE by SIDE so
 * that the lines and pages of both arrays are near for the next one; all other axes are outside. */
static void tile_range(int64_t begin, int64_t end, void *ctx)
{
  const job *j = ctx;
  const nat_walk *w = &j->w;
  const int in = w->rank - 1, t = j->tiled;
  const int64_t size = j->size_out, edge = LINE / size, side = SIDE * edge, strips = (w->dim[t] + side - 1) / side;
  const int64_t ds = w->stride[0][t], ss = w->stride[1][in], cols = w->dim[in];
  void (*tile)(int64_t, int64_t, char *, int64_t, const char *, int64_t) =
    size == 1 ? tile_uint8_t : size == 2 ? tile_uint16_t : size == 4 ? tile_uint32_t : size == 8 ? tile_uint64_t : tile_nat_16;

  for (int64_t unit = begin; unit < end; unit++) {
    int64_t rest = unit / strips;
    const int64_t first = unit % strips * side, last = first + side < w->dim[t] ? first + side : w->dim[t];
    char *d = w->base[0];
    const char *s = w->base[1];
    for (int k = in - 1; k >= 0; k--) {
      if (k == t) continue;
      d += rest % w->dim[k] * w->stride[0][k];
      s += rest % w->dim[k] * w->stride[1][k];
      rest /= w->dim[k];
    }
    for (int64_t c0 = 0; c0 < cols; c0 += side)
      for (int64_t c = c0; c < cols && c < c0 + side; c += edge)
        for (int64_t r = first; r < last; r += edge)
          tile(last - r < edge ? last - r : edge, cols - c < edge ? cols - c : edge, d + r * ds + c * size, ds,
               s + c * ss + r * size, ss);
  }
}

/* The axis along which the input is dense, if the output is dense along another and both are long enough for tiles. */
static int tiled_axis(const job *j)
{
  const nat_walk *w = &j->w;
  const int in = w->rank - 1;

  if (w->step[0] != j->size_out || w->step[1] == j->size_out || w->step[1] == 0 || w->dim[in] < 8) return -1;
  for (int k = 0; k < in; k++)
    if (w->stride[1][k] == j->size_out && w->dim[k] >= 8) return k;
  return -1;
}

static void fill_range(int64_t begin, int64_t end, void *ctx)
{
  const job *j = ctx;
  nat_walk w = j->w;

  nat_walk_seek(&w, begin, end);
  for (int64_t n; (n = nat_walk_next(&w)) != 0;) {
    if (w.step[0] == j->size_out) nat_fill(n, j->size_out, w.p[0], w.base[1]);
    else nat_move(n, j->size_out, w.p[0], w.step[0], w.base[1], 0);
  }
}

static chx_status run(void *self, const chx_call *c)
{
  const chx_tensor *x = c->in, *y = c->out;
  const int from = nat_dtype(x), to = nat_dtype(y);
  const int64_t n = nat_count(y), size = nat_size(y);
  (void)self;

  if (n == 0) return CHX_OK;
  if (from == to && n * size <= 4096 && x->flags & y->flags & CHX_T_CONTIGUOUS && !(x->flags & CHX_T_HOST_SCALAR)) {
    memcpy(nat_data(y), nat_data(x), (size_t)(n * size));
    return CHX_OK;
  }
  if (from != to && (from >= CHX_C64 || to >= CHX_C64)) return CHX_DECLINED;

  job j = {.from = from, .to = to, .size_in = nat_size(x), .size_out = size};
  nat_16 value;
  nat_walk_init(&j.w, y->ndim, y->shape, 2, (const chx_tensor *[]){y, x});
  const int64_t grain = GRAIN_BYTES / size;
  if (nat_walk_is_scalar(&j.w, 1)) {
    if (from == to) memcpy(&value, j.w.base[1], (size_t)size);
    else convert(from, to, 1, j.w.base[1], &value);
    j.w.base[1] = (char *)&value;
    nat_parallel(n, grain, fill_range, &j);
    return CHX_OK;
  }
  j.dense_out = nat_walk_is_dense(&j.w, 0, j.size_out);
  j.dense_in = nat_walk_is_dense(&j.w, 1, j.size_in);
  if (from != to) nat_parallel(n, NAT_GRAIN, cast_range, &j);
  else if (j.dense_in && j.dense_out) nat_parallel(n, grain, dense_range, &j);
  else if ((j.tiled = tiled_axis(&j)) >= 0) {
    const int64_t side = SIDE * LINE / size, in = j.w.dim[j.w.rank - 1], rows = j.w.dim[j.tiled];
    const int64_t units = n / in / rows * ((rows + side - 1) / side), cost = in * (rows < side ? rows : side);
    nat_parallel(units, cost >= grain ? 1 : grain / cost, tile_range, &j);
  } else nat_parallel(n, grain, run_range, &j);
  return CHX_OK;
}

#define ANY (CHX_ANY_REAL | CHX_BIT(CHX_C64) | CHX_BIT(CHX_C128))
extern const chx_kernel NAT(nat_copy_kernels)[];
const chx_kernel NAT(nat_copy_kernels)[] = {
  {NAT_KERNEL, .op = "copy", .dtypes_in = ANY, .dtypes_out = ANY, .flags = CHX_K_SCALAR_OK, .run = run},
  {.op = NULL}};
