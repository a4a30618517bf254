/* SPDX-License-Identifier: MIT
 * gemm_body.h: what k_gemm.c compiles once per type. T, TAG: the type; VB: bytes of a vector; MR: rows of a tile;
 * VFMA, QFMA: x y + z of a vector of VB and of 16 bytes; BLAS: nat_blas_T.
 *
 * The kernel keeps a tile of MR rows by two vectors of C in registers. Rows of A are read as scalars through strides, so
 * A needs no packing to be right (only, when large, to be fast); B is read as rows of one of three widths: two
 * vectors, one, or 16 bytes. What does not come in such rows (other strides, the last columns) is first packed into a
 * strip: [k][width], filled up with zeros.
 */
#define VL ((int64_t)(VB / sizeof(T)))
#define QL ((int64_t)(16 / sizeof(T)))
#define VEC NAT_PASTE(vec, TAG)
#define QUAD NAT_PASTE(quad, TAG)
#define NAME(x) NAT_PASTE(x, TAG)

typedef T VEC __attribute__((vector_size(VB), aligned(__alignof__(T)), may_alias));
typedef T QUAD __attribute__((vector_size(16), aligned(__alignof__(T)), may_alias));

/* c[rows][nv vectors] (+)= a[rows][k] b[k][nv vectors]; rows and nv are constants once inlined. */
#define KERNEL(name, V, FMA)                                                                                         \
  static inline __attribute__((always_inline)) void NAME(name)(const int rows, const int nv, int64_t k, const T *a,  \
                                                               int64_t a_row, int64_t a_col, const T *b,             \
                                                               int64_t b_row, T *c, int64_t c_row, int add)          \
  {                                                                                                                  \
    const int64_t l = (int64_t)(sizeof(V) / sizeof(T));                                                              \
    V acc[MR][2];                                                                                                    \
    _Pragma("GCC unroll 16") for (int i = 0; i < rows; i++)                                                          \
      _Pragma("GCC unroll 2") for (int j = 0; j < nv; j++) acc[i][j] = (V){0};                                       \
    for (int64_t p = 0; p < k; p++) {                                                                                \
      V bv[2];                                                                                                       \
      _Pragma("GCC unroll 2") for (int j = 0; j < nv; j++) bv[j] = *(const V *)(const void *)(b + j * l);            \
      _Pragma("GCC unroll 16") for (int i = 0; i < rows; i++) {                                                      \
        const V av = a[i * a_row] - (V){0};                                                                          \
        _Pragma("GCC unroll 2") for (int j = 0; j < nv; j++) acc[i][j] = FMA(av, bv[j], acc[i][j]);                  \
      }                                                                                                              \
      a += a_col;                                                                                                    \
      b += b_row;                                                                                                    \
    }                                                                                                                \
    _Pragma("GCC unroll 16") for (int i = 0; i < rows; i++)                                                          \
      _Pragma("GCC unroll 2") for (int j = 0; j < nv; j++) {                                                         \
        V *to = (V *)(void *)(c + i * c_row + j * l);                                                                \
        if (add) acc[i][j] += *to;                                                                                   \
        *to = acc[i][j];                                                                                             \
      }                                                                                                              \
  }                                                                                                                  \
  static NAT_NOINLINE void NAME(rows_##name##2)(int64_t rows, int64_t k, const T *a, int64_t a_row, int64_t a_col,   \
                                                const T *b, int64_t b_row, T *c, int64_t c_row, int add)             \
  {                                                                                                                  \
    ROWS(NAME(name), 2)                                                                                              \
  }                                                                                                                  \
  static NAT_NOINLINE void NAME(rows_##name##1)(int64_t rows, int64_t k, const T *a, int64_t a_row, int64_t a_col,   \
                                                const T *b, int64_t b_row, T *c, int64_t c_row, int add)             \
  {                                                                                                                  \
    ROWS(NAME(name), 1)                                                                                              \
  }
#define STEP(f, nv, r)                                                 \
  {                                                                    \
    f(r, nv, k, a, a_row, a_col, b, b_row, c, c_row, add);             \
    a += (r) * a_row;                                                  \
    c += (r) * c_row;                                                  \
    rows -= (r);                                                       \
  }
#define ROWS(f, nv)                              \
  while (rows >= MR) STEP(f, nv, MR)             \
  if (MR > 4 && rows >= 4) STEP(f, nv, 4)        \
  if (rows >= 2) STEP(f, nv, 2)                  \
  if (rows >= 1) STEP(f, nv, 1)

KERNEL(wide, VEC, VFMA)
KERNEL(narrow, QUAD, QFMA)

typedef void NAME(rows_fn)(int64_t, int64_t, const T *, int64_t, int64_t, const T *, int64_t, T *, int64_t, int);

/* The width for `left` remaining columns: of rows of B that are read where they lie, or of a strip. */
static inline int64_t NAME(width)(int64_t left, int strip, NAME(rows_fn) **f)
{
  if (strip ? left > VL : left >= 2 * VL) {
    *f = NAME(rows_wide2);
    return 2 * VL;
  }
  if (strip ? left > 2 * QL : left >= VL) {
    *f = NAME(rows_wide1);
    return VL;
  }
  if (strip ? left > QL : left >= 2 * QL) {
    *f = NAME(rows_narrow2);
    return 2 * QL;
  }
  *f = NAME(rows_narrow1);
  return QL;
}

/* The [k, n] block of b as a strip of rows of `width` >= n elements, filled up with zeros. */
static void NAME(pack_strip)(int64_t k, int64_t n, int64_t width, const T *b, int64_t b_row, int64_t b_col, T *strip)
{
  if (b_col == 1 && n == width) {
    if (n == 2 * VL)
      for (int64_t p = 0; p < k; p++) memcpy(strip + p * 2 * VL, b + p * b_row, (size_t)(2 * VL) * sizeof(T));
    else
      for (int64_t p = 0; p < k; p++) memcpy(strip + p * n, b + p * b_row, (size_t)n * sizeof(T));
    return;
  }
  int64_t j = 0;
  if (b_row == 1) /* columns are dense: 4 by 4 keeps both sides in few cache lines */
    for (; j + 4 <= n; j += 4) {
      const T *s = b + j * b_col;
      T *d = strip + j;
      int64_t p = 0;
      for (; p + 4 <= k; p += 4, s += 4, d += 4 * width) NAME(transpose4)(s, b_col, d, width);
      for (; p < k; p++, s++, d += width)
        for (int q = 0; q < 4; q++) d[q] = s[q * b_col];
    }
  if (j < n)
    for (int64_t p = 0; p < k; p++)
      for (int64_t q = j; q < n; q++) strip[p * width + q] = b[p * b_row + q * b_col];
  if (n < width)
    for (int64_t p = 0; p < k; p++)
      for (int64_t q = n; q < width; q++) strip[p * width + q] = 0;
}

/* One strip's worth of columns: c[m][n] (+)= a b, where b has rows of the width that f works in, and n <= width. */
static void NAME(column)(NAME(rows_fn) *f, int64_t m, int64_t n, int64_t width, int64_t k, const T *a, int64_t a_row,
                         int64_t a_col, const T *b, int64_t b_row, T *c, int64_t c_row, int add)
{
  if (n == width) {
    f(m, k, a, a_row, a_col, b, b_row, c, c_row, add);
    return;
  }
  T part[MR * 2 * (VB / sizeof(T))];
  for (int64_t i = 0; i < m; i += MR) {
    const int64_t rows = m - i < MR ? m - i : MR;
    f(rows, k, a + i * a_row, a_row, a_col, b, b_row, part, width, 0);
    for (int64_t r = 0; r < rows; r++) {
      T *to = c + (i + r) * c_row;
      for (int64_t j = 0; j < n; j++) to[j] = add ? to[j] + part[r * width + j] : part[r * width + j];
    }
  }
}

void NAT(NAME(nat_tile))(int64_t m, int64_t n, int64_t k, const T *a, int64_t a_row, int64_t a_col, const T *b,
                         int64_t b_row, int64_t b_col, T *c, int64_t c_row, int add)
{
  enum { ROOM = 8192 / sizeof(T) };
  /* Long rows of B are far apart, in the worst case all in one set of the cache: worth a copy if it is read often. */
  const int strips = b_col != 1 || (m >= 32 && (b_row > 0 ? b_row : -b_row) * (int64_t)sizeof(T) >= 512);
  T strip[ROOM];

  for (int64_t j = 0, w; j < n; j += w) {
    NAME(rows_fn) *f;
    const int packed = strips || n - j < QL;
    const int64_t width = NAME(width)(n - j, packed, &f);
    w = width < n - j ? width : n - j;
    if (!packed) {
      f(m, k, a, a_row, a_col, b + j, b_row, c + j, c_row, add);
      continue;
    }
    int64_t p = 0;
    do {
      const int64_t room = ROOM / width, kc = k - p < room ? k - p : room;
      NAME(pack_strip)(kc, w, width, b + p * b_row + j * b_col, b_row, b_col, strip);
      NAME(column)(f, m, w, width, kc, a + p * a_col, a_row, a_col, strip, width, c + j, c_row, add || p);
      p += kc;
    } while (p < k);
  }
}

/* The blocked product: C is cut into blocks of at most MC by NC, each one grain of nat_parallel. A range packs A by
 * [MC][KC] blocks, as tiles [k][MR], and B strip by strip into scratch of its own. */
#define KC 256
#define MC (192 * 1024 / KC / (int64_t)sizeof(T) / MR * MR)
#define NC ((int64_t)256)
#define ROW_GRAIN ((int64_t)1024) /* columns of a single row */
#define RANGES 32 /* at most so many pieces of scratch */

typedef struct NAME(job) {
  int64_t m, n, k, a_row, a_col, b_row, b_col, c_row, mb, blocks_m, grain;
  const T *a, *b;
  T *c, *scratch;
  int add;
} NAME(job);

static void NAME(block)(const NAME(job) *g, int64_t i0, int64_t j0, T *pa, T *strip)
{
  const int64_t m = g->m - i0 < g->mb ? g->m - i0 : g->mb, n = g->n - j0 < NC ? g->n - j0 : NC;

  for (int64_t p = 0; p < g->k; p += KC) {
    const int64_t kc = g->k - p < KC ? g->k - p : KC;
    for (int64_t i = 0; i < m; i += MR)
      NAME(pack_strip)(kc, m - i < MR ? m - i : MR, MR, g->a + (i0 + i) * g->a_row + p * g->a_col, g->a_col, g->a_row,
                       pa + i * kc);
    for (int64_t j = 0, w; j < n; j += w) {
      NAME(rows_fn) *f;
      const int64_t width = NAME(width)(n - j, 1, &f);
      w = width < n - j ? width : n - j;
      NAME(pack_strip)(kc, w, width, g->b + p * g->b_row + (j0 + j) * g->b_col, g->b_row, g->b_col, strip);
      for (int64_t i = 0; i < m; i += MR)
        NAME(column)(f, m - i < MR ? m - i : MR, w, width, kc, pa + i * kc, 1, MR, strip, width,
                     g->c + (i0 + i) * g->c_row + j0 + j, g->c_row, g->add || p);
    }
  }
}

#define PIECE (MC * KC + KC * 2 * VL)

static void NAME(blocks)(int64_t begin, int64_t end, void *ctx)
{
  const NAME(job) *g = ctx;
  T *pa = g->scratch + begin / g->grain * PIECE;
  for (int64_t i = begin; i < end; i++)
    NAME(block)(g, i % g->blocks_m * g->mb, i / g->blocks_m * NC, pa, pa + MC * KC);
}

/* A matrix times a vector, where both lie along k: dot products. */
static T NAME(dot)(int64_t k, const T *a, const T *b)
{
  VEC s[4] = {{0}, {0}, {0}, {0}};
  int64_t p = 0;
  for (; p + 4 * VL <= k; p += 4 * VL)
    _Pragma("GCC unroll 4") for (int q = 0; q < 4; q++)
      s[q] = VFMA(*(const VEC *)(const void *)(a + p + q * VL), *(const VEC *)(const void *)(b + p + q * VL), s[q]);
  s[0] = (s[0] + s[1]) + (s[2] + s[3]);
  T r = 0;
  for (int q = 0; q < VL; q++) r += s[0][q];
  for (; p < k; p++) r += a[p] * b[p];
  return r;
}

typedef struct NAME(dots) {
  int64_t k, row, step;
  const T *a, *x;
  T *y;
  int add;
} NAME(dots);

static void NAME(dot_range)(int64_t begin, int64_t end, void *ctx)
{
  const NAME(dots) *d = ctx;
  for (int64_t i = begin; i < end; i++) {
    T *y = d->y + i * d->step, v = NAME(dot)(d->k, d->a + i * d->row, d->x);
    *y = d->add ? *y + v : v;
  }
}

/* Columns begin .. end - 1 of a single row of C: sums of B's rows, four at a time, a piece that stays in cache after another. */
static void NAME(row_range)(int64_t begin, int64_t end, void *ctx)
{
  const NAME(job) *g = ctx;
  for (int64_t j0 = begin; j0 < end; j0 += ROW_GRAIN) {
    const int64_t n = end - j0 < ROW_GRAIN ? end - j0 : ROW_GRAIN, r = g->b_row;
    T *restrict c = g->c + j0;
    const T *a = g->a;
    int64_t p = 0;
    for (int64_t j = 0; !g->add && j < n; j++) c[j] = 0;
    for (; p + 4 <= g->k; p += 4, a += 4 * g->a_col) {
      const T *restrict b = g->b + j0 + p * r, f0 = a[0], f1 = a[g->a_col], f2 = a[2 * g->a_col], f3 = a[3 * g->a_col];
      for (int64_t j = 0; j < n; j++) c[j] += (f0 * b[j] + f1 * b[r + j]) + (f2 * b[2 * r + j] + f3 * b[3 * r + j]);
    }
    for (; p < g->k; p++, a += g->a_col) {
      const T *restrict b = g->b + j0 + p * r, f = a[0];
      for (int64_t j = 0; j < n; j++) c[j] += f * b[j];
    }
  }
}

static void NAME(tile_columns)(int64_t begin, int64_t end, void *ctx)
{
  const NAME(job) *g = ctx;
  NAT(NAME(nat_tile))(g->m, end - begin, g->k, g->a, g->a_row, g->a_col, g->b + begin * g->b_col, g->b_row, g->b_col,
                      g->c + begin, g->c_row, g->add);
}

chx_status NAT(NAME(nat_gemm))(const chx_call *call, int64_t m, int64_t n, int64_t k, const T *a, int64_t a_row,
                               int64_t a_col, const T *b, int64_t b_row, int64_t b_col, T *c, int64_t c_row,
                               int64_t c_col, int add)
{
  if (m == 0 || n == 0) return CHX_OK;
  if (n == 1) c_col = 1;
  else if (m == 1) c_row = c_col == 1 ? n : 1;
  const int64_t work = m * n * (k ? k : 1);
  const int small = m <= 64 && n <= 64 && work <= NAT_GEMM_SMALL;

  if (!small && k > 0 && BLAS(m, n, k, a, a_row, a_col, b, b_row, b_col, c, c_row, c_col, add)) return CHX_OK;
  if ((n == 1 || m == 1) && a_col == 1 && b_row == 1) {
    NAME(dots) d = n == 1 ? (NAME(dots)){k, a_row, c_row, a, b, c, add} : (NAME(dots)){k, b_col, c_col, b, a, c, add};
    nat_parallel(n == 1 ? m : n, k ? (NAT_GRAIN + k - 1) / k : NAT_GRAIN, NAME(dot_range), &d);
    return CHX_OK;
  }
  if (c_col == 1 && small) {
    NAT(NAME(nat_tile))(m, n, k, a, a_row, a_col, b, b_row, b_col, c, c_row, add);
    return CHX_OK;
  }
  if (c_col != 1 || (n < m && n < QL && c_row == 1)) {
    if (c_row == 1) /* C^T = B^T A^T */
      return NAT(NAME(nat_gemm))(call, n, m, k, b, b_col, b_row, a, a_col, a_row, c, c_col, 1, add);
    T *t = nat_host->scratch(nat_host->ctx, call, (uint64_t)m * (uint64_t)n * sizeof(T));
    if (!t) return nat_fail(CHX_ENOMEM, "matmul: no memory for %lld elements of scratch", (long long)(m * n));
    chx_status e = NAT(NAME(nat_gemm))(call, m, n, k, a, a_row, a_col, b, b_row, b_col, t, n, 1, 0);
    if (e) return e;
    for (int64_t i = 0; i < m; i++)
      for (int64_t j = 0; j < n; j++) {
        T *to = c + i * c_row + j * c_col;
        *to = add ? *to + t[i * n + j] : t[i * n + j];
      }
    return CHX_OK;
  }

  NAME(job) g = {m, n, k, a_row, a_col, b_row, b_col, c_row, 0, 0, 1, a, b, c, NULL, add};
  if (m == 1 && b_col == 1) {
    nat_parallel(n, ROW_GRAIN, NAME(row_range), &g);
    return CHX_OK;
  }
  if (m <= 2 * MR || work <= NAT_GEMM_SMALL || k == 0) { /* too few rows to pack for */
    int64_t grain = NAT_GEMM_SMALL / (m * (k ? k : 1)) / (4 * VL) * (4 * VL);
    nat_parallel(n, grain > 4 * VL ? grain : 4 * VL, NAME(tile_columns), &g);
    return CHX_OK;
  }
  g.blocks_m = (m + MC - 1) / MC;
  g.mb = ((m + g.blocks_m - 1) / g.blocks_m + MR - 1) / MR * MR;
  g.blocks_m = (m + g.mb - 1) / g.mb;
  const int64_t blocks = g.blocks_m * ((n + NC - 1) / NC);
  g.grain = (blocks + RANGES - 1) / RANGES;
  const uint64_t pieces = (uint64_t)((blocks + g.grain - 1) / g.grain);
  g.scratch = nat_host->scratch(nat_host->ctx, call, pieces * PIECE * sizeof(T));
  if (!g.scratch) return nat_fail(CHX_ENOMEM, "matmul: no memory for its packed blocks");
  nat_parallel(blocks, g.grain, NAME(blocks), &g);
  return CHX_OK;
}

#undef VL
#undef QL
#undef VEC
#undef QUAD
#undef NAME
#undef KERNEL
#undef STEP
#undef ROWS
#undef KC
#undef MC
#undef NC
#undef RANGES
#undef ROW_GRAIN
#undef PIECE
