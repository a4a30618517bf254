/* SPDX-License-Identifier: MIT
 * test_memory.c: the caching allocator's figures, limit, trim and hook; wrapped memory; outputs that the caller gives.
 */
#include "check.h"

static int ended;
static void end(void *ctx) { ended += *(int *)ctx; }

static void wrap(void)
{
  chx_scope *s = chx_scope_begin("native");
  static double v[6] = {1, 2, 3, 4, 5, 6};
  int one = 1;
  chx_array *a = chx_wrap(s, CHX_F64, 2, (int64_t[]){2, 3}, NULL, v, end, &one);
  v[0] = 10;
  ok(rel_err(a, (double[]){10, 2, 3, 4, 5, 6}) == 0, "wrapped memory is not copied");
  chx_add_into(s, a, a, a);
  is_close(v[5], 12, 0, "and written by in-place forms");
  chx_array *back = chx_wrap(s, CHX_F64, 1, (int64_t[]){6}, (int64_t[]){-1}, v + 5, NULL, NULL);
  ok(rel_err(back, (double[]){12, 10, 8, 6, 4, 20}) == 0, "a negative stride");
  chx_array *view = chx_keep(chx_transpose(s, a, 0, NULL));
  chx_scope_end(s);
  is_int(ended, 0, "the deleter waits for the last view");
  chx_release(view);
  is_int(ended, 1, "and is called once");
  s = chx_scope_begin("native");
  chx_wrap(s, 99, 0, NULL, NULL, v, end, &one);
  is_int(ended, 2, "on failure at once: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_wrap(s, CHX_F64, 1, (int64_t[]){2}, NULL, (char *)v + 1, NULL, NULL);
  ok(chx_scope_error(s) == CHX_EARG, "misaligned: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_wrap(s, CHX_F64, 2, (int64_t[]){3, 3}, (int64_t[]){INT64_MAX / 2, INT64_MAX / 2}, v, NULL, NULL);
  ok(chx_scope_error(s) == CHX_ESHAPE, "strides beyond memory: %s", chx_scope_message(s));
  chx_scope_end(s);
}

static void limit(const char *device)
{
  chx_scope *s = chx_scope_begin(device);
  if (chx_scope_error(s)) {
    skip(5, chx_scope_message(s));
    chx_scope_end(s);
    return;
  }
  chx_memory_stats m;
  chx_memory_trim(s, NULL);
  chx_memory_stats_of(s, NULL, &m);
  uint64_t reserved = m.reserved;
  chx_memory_set_limit(s, NULL, reserved + (8 << 20));
  size_t mark = chx_scope_mark(s);
  ok(chx_empty(s, CHX_U8, 1, (int64_t[]){6 << 20}) != NULL, "%s: 6 MiB within a limit of 8 more", device);
  chx_empty(s, CHX_U8, 1, (int64_t[]){6 << 20});
  ok(chx_scope_error(s) == CHX_ENOMEM && strstr(chx_scope_message(s), "limit"), "%s: 6 more are not: %s", device, chx_scope_message(s));
  chx_scope_clear(s);
  chx_scope_rewind(s, mark, NULL);
  ok(chx_empty(s, CHX_U8, 1, (int64_t[]){7 << 20}) != NULL, "%s: what is cached is given back to make room", device);
  chx_scope_rewind(s, mark, NULL);
  for (int i = 0; i < 20; i++) chx_empty(s, CHX_U8, 1, (int64_t[]){100 << i % 8});
  ok(!chx_scope_error(s), "%s: small ones go on under it: %s", device, chx_scope_message(s));
  chx_scope_rewind(s, mark, NULL);
  chx_memory_set_limit(s, NULL, 0);
  chx_memory_trim(s, NULL);
  chx_memory_stats_of(s, NULL, &m);
  ok(m.used == 0 && m.reserved <= reserved, "%s: trimmed to %llu bytes, %llu in use", device, (unsigned long long)m.reserved, (unsigned long long)m.used);
  chx_scope_end(s);
}

/* Outputs given at any place are written; the same array twice is refused; an array onto itself stays. */
static void given(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = chx_from_shape(s, CHX_F64, 2, (int64_t[]){4, 1}, (double[]){1, 2, 3, 6}), *one = chx_ones(s, CHX_F64, 1, (int64_t[]){1});
  const chx_array *in[] = {x, one, one};
  chx_array *mean = chx_zeros(s, CHX_F64, 1, (int64_t[]){1}), *out[3] = {NULL, mean, NULL};
  chx_apply(s, chx_op_find("batch_norm"), in, 3, NULL, out, 3);
  ok(out[1] == mean && chx_item(s, mean) == 3, "an output given at place 1: %g", chx_item(s, mean));
  out[0] = NULL, out[1] = out[2] = mean;
  chx_apply(s, chx_op_find("batch_norm"), in, 3, NULL, out, 3);
  ok(chx_scope_error(s) == CHX_EARG, "one array given twice: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_copy_into(s, x, x);
  ok(!chx_scope_error(s) && rel_err(x, (double[]){1, 2, 3, 6}) == 0, "an array copied onto itself: %s", chx_scope_message(s));
  chx_scope_end(s);
}

int main(void)
{
  wrap();
  limit("native:0");
  limit("sim:0");
  given();
  return done_testing();
}
