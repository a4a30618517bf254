/* SPDX-License-Identifier: MIT
 * test_views.c: which results share their operand's memory and which are copies, what is written through a view, and the named
 * functions on views that test_ops, which goes through chx_apply, does not reach.
 */
#include "check.h"

static chx_scope *s;
static chx_array *x; /* [2,3,4]: 0, 1, ..., 23 */

static double at(const chx_array *a, int64_t i)
{
  double *v = check_doubles(a), r = v ? v[i] : NAN;
  free(v);
  return r;
}

static bool is_shape(const chx_array *a, int n, const int64_t *shape)
{
  return a && chx_ndim(a) == n && !memcmp(chx_shape(a), shape, (size_t)n * sizeof *shape);
}
#define S(...) (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__}

/* a shares x's memory (or not), has this shape, and its first and last elements are these. */
static void view(const char *what, const chx_array *a, bool shares, double first, double last, int n, const int64_t *shape)
{
  bool good = is_shape(a, n, shape);
  ok(good, "%s: shape %s", what, chx_scope_message(s));
  if (good) {
    ok(chx_shares_memory(a, x) == shares, "%s %s x's memory", what, shares ? "shares" : "does not share");
    ok(at(a, 0) == first && at(a, chx_size(a) - 1) == last, "%s: elements %g ... %g, want %g ... %g", what, at(a, 0), at(a, chx_size(a) - 1), first, last);
  }
  chx_scope_clear(s);
}

static void views(void)
{
  chx_array *t = chx_transpose(s, x, 0, NULL);
  view("reshape", chx_reshape(s, x, S(6, -1)), true, 0, 23, S(6, 4));
  view("transpose", t, true, 0, 23, S(4, 3, 2));
  view("reshape of a transpose, splitting", chx_reshape(s, t, S(2, 2, 3, 2)), true, 0, 23, S(2, 2, 3, 2));
  view("reshape of a transpose, merging", chx_reshape(s, t, S(24)), false, 0, 23, S(24));
  view("swapaxes", chx_swapaxes(s, x, 0, -1), true, 0, 23, S(4, 3, 2));
  view("expand_dims", chx_expand_dims(s, x, -1), true, 0, 23, S(2, 3, 4, 1));
  view("squeeze", chx_squeeze(s, chx_expand_dims(s, x, 1), 1, (const int[]){1}), true, 0, 23, S(2, 3, 4));
  view("broadcast_to", chx_broadcast_to(s, x, S(5, 2, 3, 4)), true, 0, 23, S(5, 2, 3, 4));
  view("slice_axis", chx_slice_axis(s, x, -1, 3, CHX_SLICE_NONE, -2), true, 3, 21, S(2, 3, 2));
  view("at", chx_at(s, x, 1, -1), true, 8, 23, S(2, 4));
  view("flip", chx_flip(s, x, 0, NULL), true, 23, 0, S(2, 3, 4));
  view("diagonal", chx_diagonal(s, x, 1, 1, 2), true, 1, 23, S(2, 3));
  view("diagonal below", chx_diagonal(s, x, -1, -2, -1), true, 4, 21, S(2, 2));
  is_int(chx_size(chx_diagonal(s, x, 9, 1, 2)), 0, "a diagonal outside of the matrix is empty");
  view("view, as large", chx_view(s, t, CHX_I64), true, 0, INT64_C(0x4037000000000000), S(4, 3, 2)); /* 23. */
  view("view, half", chx_view(s, chx_slice_axis(s, x, 1, 1, 3, 1), CHX_U32), true, 0, 0x40370000, S(2, 2, 8));
  view("view, twice", chx_view(s, chx_view(s, x, CHX_I32), CHX_F64), true, 0, 23, S(2, 3, 4));
  view("copy", chx_copy(s, t), false, 0, 23, S(4, 3, 2));
  ok(chx_contiguous(s, x) == x && chx_cast(s, x, CHX_F64) == x && chx_to(s, x, "native") == x, "contiguous, cast and to give x itself where nothing changes");
  chx_array *c = chx_contiguous(s, t);
  ok(chx_is_contiguous(c) && !chx_is_contiguous(t) && !chx_shares_memory(c, x), "contiguous copies what is not");
}

static void writing(void)
{
  chx_array *a = chx_zeros(s, CHX_F64, S(2, 4)), *half = chx_slice_axis(s, a, 1, 1, CHX_SLICE_NONE, 2);
  chx_add_into(s, half, half, chx_real(s, 5));
  ok(at(a, 0) == 0 && at(a, 1) == 5 && at(a, 7) == 5, "add_into through a slice writes its elements alone");
  chx_copy_into(s, chx_flip(s, a, 0, NULL), chx_arange(s, CHX_I8, 0, 1, 4));
  ok(at(a, 0) == 3 && at(a, 3) == 0 && at(a, 4) == 3, "copy_into broadcasts, casts and follows negative strides");
  chx_copy_into(s, a, chx_int(s, 9));
  ok(at(a, 6) == 9, "copy_into of a scalar");
  chx_copy_into(s, a, chx_ones(s, CHX_F32, S(1, 1, 2, 1)));
  ok(at(a, 7) == 1, "copy_into drops leading axes of length 1");
  chx_array *rows = chx_reshape(s, chx_arange(s, CHX_F64, 0, 1, 8), S(2, 4));
  chx_copy_into(s, chx_at(s, rows, 0, 1), chx_at(s, rows, 0, 0));
  ok(at(rows, 4) == 0 && at(rows, 7) == 3, "copy_into one part of an array from another");
  chx_add_into(s, chx_at(s, rows, 0, 0), chx_at(s, rows, 0, 1), chx_at(s, rows, 0, 1));
  ok(at(rows, 0) == 0 && at(rows, 3) == 6 && at(rows, 7) == 3, "add_into one part of an array from another");
  ok(!chx_scope_error(s), "without an error %s", chx_scope_message(s));
  ok(chx_copy_into(s, a, chx_ones(s, CHX_F32, S(3, 4))) == CHX_ESHAPE, "copy_into of another shape: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(chx_copy_into(s, chx_broadcast_to(s, a, S(3, 2, 4)), a) == CHX_EARG, "copy_into a broadcast array: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(!chx_add_into(s, a, chx_slice_axis(s, chx_reshape(s, a, S(8)), 0, 0, 4, 1), chx_real(s, 1)) && chx_scope_error(s) == CHX_ESHAPE, "add_into of another shape: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_array *line = chx_reshape(s, a, S(8)), *low = chx_slice_axis(s, line, 0, 0, 6, 1), *high = chx_slice_axis(s, line, 0, 2, 8, 1);
  ok(!chx_add_into(s, high, low, chx_real(s, 1)) && chx_scope_error(s) == CHX_EARG, "add_into what overlaps: %s", chx_scope_message(s));
  chx_scope_clear(s);
}

#define FAILS(code, call) \
  do { \
    ok(!(call) && chx_scope_error(s) == code && strstr(chx_scope_message(s), "want"), "%s: %s", #code, chx_scope_message(s)); \
    chx_scope_clear(s); \
  } while (0)

static void misuse(void)
{
  FAILS(CHX_ESHAPE, chx_reshape(s, x, S(5, -1)));
  FAILS(CHX_ESHAPE, chx_reshape(s, x, S(-1, -1)));
  FAILS(CHX_EARG, chx_reshape(s, x, 17, chx_shape(x)));
  FAILS(CHX_EARG, chx_transpose(s, x, 2, (const int[]){0, 1}));
  FAILS(CHX_EARG, chx_transpose(s, x, 3, (const int[]){0, 1, 1}));
  FAILS(CHX_EARG, chx_swapaxes(s, x, 0, 3));
  FAILS(CHX_EARG, chx_expand_dims(s, x, 5));
  FAILS(CHX_ESHAPE, chx_squeeze(s, x, 1, (const int[]){0}));
  FAILS(CHX_ESHAPE, chx_broadcast_to(s, x, S(3, 4)));
  FAILS(CHX_ESHAPE, chx_broadcast_to(s, chx_ones(s, CHX_F32, S(1)), S(INT64_MAX, INT64_MAX)));
  FAILS(CHX_EARG, chx_slice_axis(s, x, 0, 0, 1, 0));
  FAILS(CHX_EARG, chx_slice_axis(s, x, 3, 0, 1, 1));
  FAILS(CHX_EARG, chx_at(s, x, 0, 2));
  FAILS(CHX_EARG, chx_flip(s, x, 2, (const int[]){1, -2}));
  FAILS(CHX_EARG, chx_diagonal(s, x, 0, 1, 1));
  FAILS(CHX_EDTYPE, chx_view(s, x, CHX_DTYPE_END));
  FAILS(CHX_EDTYPE, chx_view(s, chx_real(s, 1), CHX_I64));
  FAILS(CHX_ESHAPE, chx_view(s, chx_transpose(s, x, 0, NULL), CHX_U32));
  FAILS(CHX_ESHAPE, chx_view(s, chx_ones(s, CHX_F32, S(2, 3)), CHX_F64));
  FAILS(CHX_ESHAPE, chx_view(s, chx_slice_axis(s, chx_ones(s, CHX_F32, S(5)), 0, 1, 5, 1), CHX_F64));
  FAILS(CHX_ESHAPE, chx_view(s, chx_ones(s, CHX_F32, 0, NULL), CHX_F64));
  FAILS(CHX_EARG, chx_sum(s, x, -1, NULL, 0));
  FAILS(CHX_EARG, chx_sum(s, x, 2, NULL, 0));
  FAILS(CHX_EARG, chx_add_into(s, NULL, x, x));
  FAILS(CHX_EDTYPE, chx_full(s, 99, S(2), 1));
  FAILS(CHX_EARG, chx_add(s, chx_ones(s, CHX_U8, S(2)), chx_int(s, 300)));
}

int main(void)
{
  double v[24];
  for (int i = 0; i < 24; i++) v[i] = i;
  s = chx_scope_begin("native");
  x = chx_from_shape(s, CHX_F64, S(2, 3, 4), v);
  views();
  writing();
  misuse();
  chx_scope_end(s);
  return done_testing();
}
