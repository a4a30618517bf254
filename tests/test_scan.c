/* SPDX-License-Identifier: MIT
 * test_scan.c: scans, sort, argsort and topk beyond what test_ops compares with NumPy: lines so long that they are cut
 * into chunks, at any number of threads; the bits of equal elements; messages; the named functions.
 */
#include "check.h"

static chx_scope *s, *ref;

#define S(...) (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__}

/* Whether a and b, of any scope, have one shape and dtype and the same bits. */
static bool same_bits(const chx_array *a, const chx_array *b)
{
  bool same = a && b && chx_dtype(a) == chx_dtype(b) && chx_ndim(a) == chx_ndim(b) &&
              !memcmp(chx_shape(a), chx_shape(b), (size_t)chx_ndim(a) * sizeof(int64_t));
  char *p = same ? check_read(a) : NULL, *q = same ? check_read(b) : NULL;
  same = p && q && !memcmp(p, q, (size_t)chx_size(a) * (size_t)chx_dtype_size(chx_dtype(a)));
  free(p);
  free(q);
  return same;
}

/* ---- long lines ------------------------------------------------------------------------------------------------- */

static chx_scan_attr scan_of(uint32_t kind, int axis, int options)
{
  chx_scan_attr p = CHX_ATTR(scan);
  p.kind = kind;
  p.axes = CHX_INTS(axis);
  p.reverse = options & 1;
  p.exclusive = options >> 1;
  return p;
}

/* Small integers, whose sums are exact in any order and where rounded, rounded once; for products 1 and -1. */
static chx_array *exact(uint32_t kind, int dtype, int ndim, const int64_t *shape)
{
  chx_array *x = chx_integers(s, CHX_I64, ndim, shape, -9, 10);
  if (kind == CHX_SCAN_PROD)
    x = chx_sub(s, chx_int(s, 1), chx_mul(s, chx_cast(s, chx_less(s, x, chx_int(s, -7)), CHX_I64), chx_int(s, 2)));
  return chx_cast(s, x, dtype);
}

/* Every kind and direction, along axis of x and of x in another layout, as ref does it. */
static void long_lines(const char *what, int dtype, int axis, int ndim, const int64_t *shape)
{
  int bad = 0;
  for (uint32_t kind = CHX_SCAN_SUM; kind <= CHX_SCAN_MIN; kind++)
    for (int options = 0; options < (kind <= CHX_SCAN_PROD ? 4 : 2); options++) {
      const size_t mark = chx_scope_mark(s), mark2 = chx_scope_mark(ref);
      chx_scan_attr p = scan_of(kind, axis, options);
      p.dtype = dtype; /* integers wrap in their own */
      chx_array *x = exact(kind, dtype, ndim, shape), *back = chx_flip(s, x, 0, NULL);
      bad += !same_bits(chx_scan(s, x, &p), chx_scan(ref, chx_to(ref, x, "ref:0"), &p));
      bad += !same_bits(chx_scan(s, back, &p), chx_scan(ref, chx_to(ref, back, "ref:0"), &p));
      chx_scope_rewind(s, mark, NULL);
      chx_scope_rewind(ref, mark2, NULL);
    }
  ok(!bad, "%s, %s: %d scans differ from ref's %s", what, chx_dtype_name(dtype), bad, chx_scope_message(s));
  chx_scope_clear(s);
  chx_scope_clear(ref);
}

static void all_long_lines(void)
{
  static const int dtypes[] = {CHX_F32, CHX_I8, CHX_U64, CHX_F16};
  for (int d = 0; d < 4; d++) {
    long_lines("one line", dtypes[d], 0, S(140001));
    long_lines("lines, one after the other", dtypes[d], 1, S(2, 140001));
    long_lines("lines side by side", dtypes[d], 0, S(70001, 3));
    long_lines("an axis in the middle", dtypes[d], 1, S(3, 501, 70));
  }
}

static void threads(void)
{
  chx_array *x = chx_normal(s, CHX_F32, S(300000), 0, 1), *y = chx_reshape(s, x, S(100000, 3)), *first[3] = {NULL};
  int before = chx_threads(), bad = 0;
  for (int n = 1; n <= 5; n += 2) {
    chx_set_threads(n);
    chx_array *now[3] = {chx_cumsum(s, x, 0), chx_cumsum(s, y, 0), chx_argsort(s, y, 1, 1)};
    for (int k = 0; k < 3; k++) {
      if (n == 1) first[k] = now[k];
      else bad += !same_bits(first[k], now[k]);
    }
  }
  chx_set_threads(before);
  ok(!bad, "%d results differ between 1, 3 and 5 threads", bad);
  double *sums = check_doubles(first[0]), *v = check_doubles(x), sum = 0, worst = 0;
  for (int i = 0; i < 300000; i++) worst = fmax(worst, fabs(sums[i] - (sum += v[i])));
  ok(worst < 0.02, "f32 sums of 300000 normal numbers: error %g < 0.02", worst);
  free(sums);
  free(v);
}

/* ---- order ------------------------------------------------------------------------------------------------------ */

/* n elements of few values: zeros of both signs, NaNs of both signs and of any payload among them. */
static chx_array *tied(int dtype, int64_t n)
{
  const int size = chx_dtype_size(dtype);
  char *data = malloc((size_t)(n * size));
  for (int64_t i = 0; i < n; i++) {
    static const double values[] = {0, -0.0, 1, -1, INFINITY, -INFINITY, 2.5};
    const uint64_t r = check_bits();
    chx_array *one = chx_full(s, dtype, 0, NULL, r % 8 == 7 ? NAN : values[r % 8]);
    chx_read(s, one, data + i * size, (size_t)size);
    if (r % 8 == 7) {
      data[i * size] = (char)(data[i * size] | (char)(r >> 8 & 0xf)); /* the lowest byte: payload */
      data[i * size + size - 1] = (char)(data[i * size + size - 1] ^ (char)(r >> 16 & 0x80));
    }
  }
  chx_array *x = chx_from_host(s, dtype, 1, &n, data);
  free(data);
  return x;
}

static void stable(void)
{
  static const int dtypes[] = {CHX_F16, CHX_BF16, CHX_F32, CHX_F64};
  static const int64_t lengths[] = {7, 90, 1000};
  for (int d = 0; d < 4; d++)
    for (int l = 0; l < 3; l++)
      for (int down = 0; down < 2; down++) {
        const size_t mark = chx_scope_mark(s);
        chx_array *x = tied(dtypes[d], lengths[l]),
                  *strided = chx_slice_axis(s, tied(dtypes[d], 2 * lengths[l]), 0, -1, CHX_SLICE_NONE, -2);
        chx_array *i = chx_argsort(s, x, 0, down);
        ok(same_bits(chx_sort(s, x, 0, down), chx_take_along_axis(s, x, i, 0)) &&
               same_bits(chx_sort(s, strided, 0, down),
                         chx_take_along_axis(s, strided, chx_argsort(s, strided, 0, down), 0)),
           "%s, %d elements%s: sort gives the bits that argsort finds", chx_dtype_name(dtypes[d]), (int)lengths[l],
           down ? ", descending" : "");
        ok(same_bits(i, chx_argsort(ref, chx_to(ref, x, "ref:0"), 0, down)), "and ref the same indices %s",
           chx_scope_message(ref));
        chx_scope_rewind(s, mark, NULL);
      }
}

static void large(void)
{
  for (int dtype = CHX_BOOL; dtype <= CHX_F64; dtype++) {
    if (!(CHX_ANY_REAL >> dtype & 1)) continue;
    const size_t mark = chx_scope_mark(s);
    chx_array *x = chx_cast(s, chx_normal(s, CHX_F64, S(2, 20000), 0, 100), dtype), *r = chx_to(ref, x, "ref:0");
    ok(same_bits(chx_argsort(s, x, 1, 0), chx_argsort(ref, r, 1, 0)) &&
           same_bits(chx_sort(s, x, 1, 1), chx_sort(ref, r, 1, 1)) &&
           same_bits(chx_sort(s, x, 0, 0), chx_sort(ref, r, 0, 0)),
       "%s: 2 lines of 20000 and 20000 of 2 as ref sorts them %s", chx_dtype_name(dtype), chx_scope_message(s));
    chx_scope_rewind(s, mark, NULL);
  }
}

/* ---- named functions, messages ---------------------------------------------------------------------------------- */

static bool holds(const chx_array *a, int64_t n, const double *want)
{
  double *v = a && chx_size(a) == n ? check_doubles(a) : NULL;
  bool same = v && !memcmp(v, want, (size_t)n * sizeof *v);
  free(v);
  return same;
}
#define V(...) (int64_t)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)), (const double[]){__VA_ARGS__}

static void named(void)
{
  chx_array *x = chx_from_shape(s, CHX_F64, S(2, 3), (const double[]){3, 1, 2, -1, 5, 4}), *i = NULL;
  chx_scan_attr p = CHX_ATTR(scan);
  ok(holds(chx_cumsum(s, x, 1), V(3, 4, 6, -1, 4, 8)), "cumsum");
  ok(holds(chx_cumprod(s, x, 0), V(3, 1, 2, -3, 5, 8)), "cumprod");
  ok(holds(chx_cummax(s, x, -1), V(3, 3, 3, -1, 5, 5)), "cummax");
  ok(holds(chx_cummin(s, x, -1), V(3, 1, 1, -1, -1, -1)), "cummin");
  p.kind = CHX_SCAN_SUM;
  ok(holds(chx_scan(s, x, &p), V(3, 4, 6, 5, 10, 14)), "scan without an axis: flattened");
  p.exclusive = p.reverse = 1;
  ok(holds(chx_scan(s, x, &p), V(11, 10, 8, 9, 4, 0)), "scan, exclusive and reverse");
  ok(holds(chx_sort(s, x, 1, 0), V(1, 2, 3, -1, 4, 5)) && holds(chx_sort(s, x, 0, 1), V(3, 5, 4, -1, 1, 2)), "sort");
  ok(holds(chx_argsort(s, x, 1, 1), V(0, 2, 1, 1, 2, 0)), "argsort");
  ok(holds(chx_topk(s, x, 2, 1, 1, &i), V(3, 2, 5, 4)) && holds(i, V(0, 2, 1, 2)), "topk, largest");
  ok(holds(chx_topk(s, x, 1, -1, 0, NULL), V(1, -1)), "topk, smallest, without indices");
  char reason[128];
  ok(chx_explain(s, chx_op_find("cummax"), "native:0", CHX_F32, reason, sizeof reason) == CHX_ROUTE_KERNEL &&
         strstr(reason, "'scan'"),
     "cummax runs by the kernel 'scan': %s", reason);
  chx_array *out = chx_copy(s, x);
  const chx_op *op = chx_op_find("cumsum");
  p = scan_of(0, 1, 0);
  chx_apply(s, op, (const chx_array *[]){out}, 1, &p, &out, 1);
  ok(holds(out, V(3, 4, 6, -1, 4, 8)), "cumsum written over its operand %s", chx_scope_message(s));
  chx_scope_clear(s);
}

/* The last call failed with this code and these words. */
static void refused(int code, const char *op, const char *words)
{
  const char *m = chx_scope_message(s);
  ok((int)chx_scope_error(s) == code && !strncmp(m, op, strlen(op)) && strstr(m, words) && strstr(m, "want"), "%s: %s",
     op, m);
  chx_scope_clear(s);
}

static void messages(void)
{
  chx_array *x = chx_ones(s, CHX_F32, S(2, 3));
  chx_scan_attr p = CHX_ATTR(scan);
  chx_cumsum(s, x, 2);
  refused(CHX_EARG, "cumsum", "axis 2 is out of range for rank 2");
  chx_cummax(s, chx_full(s, CHX_F32, 0, NULL, 1), 0);
  refused(CHX_EARG, "cummax", "rank 0");
  chx_cumprod(s, NULL, 0);
  refused(CHX_EARG, "cumprod", "NULL");
  chx_scan(s, x, NULL);
  refused(CHX_EARG, "scan", "'kind' is 0");
  p.kind = CHX_SCAN_MAX;
  p.exclusive = 1;
  chx_scan(s, x, &p);
  refused(CHX_EARG, "scan", "'exclusive' is 1");
  p = scan_of(CHX_SCAN_SUM, 0, 0);
  p.dtype = CHX_BOOL;
  chx_scan(s, x, &p);
  refused(CHX_EDTYPE, "scan", "bool");
  p = scan_of(CHX_SCAN_SUM, 0, 0);
  p.axes = CHX_INTS(0, 1);
  chx_scan(s, x, &p);
  refused(CHX_EARG, "scan", "2 axes are given");
  chx_cummin(s, chx_from_host(s, CHX_C64, S(2), (const float[]){1, 2, 3, 4}), 0);
  refused(CHX_EDTYPE, "cummin", "c64");
  chx_sort(s, x, -3, 0);
  refused(CHX_EARG, "sort", "axis -3 is out of range for rank 2");
  chx_argsort(s, chx_real(s, 1), 0, 0);
  refused(CHX_EARG, "argsort", "rank 0");
  chx_topk(s, x, 4, 1, 1, NULL);
  refused(CHX_EARG, "topk", "'k' is 4, want 0 to 3");
  chx_topk(s, x, -1, 0, 1, NULL);
  refused(CHX_EARG, "topk", "'k' is -1, want 0 to 2");
}

int main(void)
{
  check_seed(11);
  s = chx_scope_begin("native:0");
  ref = chx_scope_begin("ref:0");
  chx_scope_seed(s, 3);
  named();
  messages();
  threads();
  if (chx_scope_error(ref)) {
    skip(1, "ref is not built");
  } else {
    all_long_lines();
    stable();
    large();
  }
  ok(!chx_scope_error(s), "no error is left %s", chx_scope_message(s));
  chx_scope_end(ref);
  chx_scope_end(s);
  return done_testing();
}
