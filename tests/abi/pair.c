/* SPDX-License-Identifier: MIT
 * pair.c: a core and plugins of different ages, together. Built by tests/abi_pairs.t against the headers of the core that it
 * runs, so it uses nothing that is younger than the first of them. It prints "ok - ..." and "not ok - ...", which the script numbers.
 *
 *   pair FILE.so KIND      KIND: plugin (of tests/abi/v1.0/plugin.c), before (that, built with BEFORE), other (any)
 */
#include <chx/chx.h>
#include <chx/plugin.h>
#include <dlfcn.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct old_counts {
  int64_t ran_add, ran_map, ran_reduce, ran_conv, asked, prepared, dropped, synced, wrong;
} none;
static const struct old_counts *counts = &none;
static int failed;

static int ok(int pass, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int ok(int pass, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  printf("%sok - ", pass ? "" : "not ");
  vprintf(format, args);
  putchar('\n');
  va_end(args);
  failed += !pass;
  return pass;
}

/* ---- what is computed, on the plugin's device and on native ---------------------------------------------------------------- */

static const char *const whats[] = {"add",
                                    "add of a broadcast row",
                                    "tanh",
                                    "sum over axis 1",
                                    "conv",
                                    "channels-last conv",
                                    "a sum into float64",
                                    "a product",
                                    "gradient of tanh"};
enum { ADD, ADD_ROW, TANH, SUM, CONV, CONV_LAST, SUM_F64, PROD, GRAD, WHATS };

static chx_array *values(chx_scope *s, int ndim, const int64_t *shape)
{
  float v[512];
  int64_t n = 1;
  for (int i = 0; i < ndim; i++) n *= shape[i];
  for (int64_t i = 0; i < n; i++) v[i] = (float)((i * 7 + 3) % 11) / 8 - 0.5f;
  return chx_from_host(s, CHX_F32, ndim, shape, v);
}
#define VALUES(s, ...) values(s, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})

static chx_array *named(chx_scope *s, const char *op, const chx_array *x, const void *attr)
{
  chx_array *y = NULL;
  chx_apply(s, chx_op_find(op), &x, 1, attr, &y, 1);
  return y;
}

static chx_array *conv(chx_scope *s, int last)
{
  chx_conv_attr p = CHX_ATTR(conv);
  p.stride = CHX_INTS(2, 1);
  p.pad = CHX_INTS(1, 0);
  if (!last) return chx_conv(s, VALUES(s, 2, 3, 5, 4), VALUES(s, 2, 3, 3, 2), NULL, &p);
  p.layout = CHX_CHANNELS_LAST;
  return chx_conv(s, VALUES(s, 2, 5, 4, 3), VALUES(s, 2, 3, 2, 3), NULL, &p);
}

static chx_array *gradient(chx_scope *s)
{
  chx_array *x = VALUES(s, 3, 4), *g = NULL;
  chx_require_grad(s, x);
  const chx_array *y = chx_sum(s, chx_tanh(s, x), 0, NULL, 0), *leaf = x;
  chx_grad(s, &y, 1, &leaf, 1, NULL, 0, 0, &g);
  return g;
}

static chx_array *compute(chx_scope *s, int what)
{
  chx_reduce_attr p = CHX_ATTR(reduce);
  switch (what) {
  case ADD: return chx_add(s, VALUES(s, 3, 4), chx_mul(s, VALUES(s, 3, 4), chx_real(s, 2)));
  case ADD_ROW: return chx_add(s, VALUES(s, 3, 4), VALUES(s, 4));
  case TANH: return chx_tanh(s, VALUES(s, 3, 4));
  case SUM: return chx_sum(s, VALUES(s, 3, 4, 5), 1, (const int[]){1}, 0);
  case CONV: return conv(s, 0);
  case CONV_LAST: return conv(s, 1);
  case SUM_F64: p.dtype = CHX_F64; return named(s, "sum", VALUES(s, 3, 4), &p);
  case PROD: return named(s, "prod", VALUES(s, 3, 4), &p);
  default: return gradient(s);
  }
}

/* The largest difference between the device and native; infinite where one fails. */
static double difference(const char *device, int what)
{
  double v[2][512], worst = 0;
  int64_t n[2] = {0, 0};
  for (int k = 0; k < 2; k++) {
    chx_scope *s = chx_scope_begin(k ? "native:0" : device);
    chx_array *y = compute(s, what);
    chx_array *wide = y ? chx_cast(s, y, CHX_F64) : NULL;
    if (wide && chx_size(wide) <= 512) {
      n[k] = chx_size(wide);
      chx_read(s, wide, v[k], (size_t)n[k] * sizeof(double));
    }
    if (chx_scope_error(s)) printf("# %s: %s\n", k ? "native:0" : device, chx_scope_message(s)), n[k] = -1 - k;
    chx_scope_end(s);
  }
  if (n[0] < 1 || n[0] != n[1]) return INFINITY;
  for (int64_t i = 0; i < n[0]; i++) worst = fmax(worst, isnan(v[0][i]) ? INFINITY : fabs(v[0][i] - v[1][i]));
  return worst;
}

/* ---- who did it ------------------------------------------------------------------------------------------------------------- */

/* Kernels that should have run for each of the above, and those that must not: what a `before` does not know stays away. */
static void by_whom(const char *device, int what, int before)
{
  struct old_counts was = *counts;
  const double d = difference(device, what);
  int64_t conv = counts->ran_conv - was.ran_conv, reduce = counts->ran_reduce - was.ran_reduce;
  ok(d < 1e-5, "%s %s: differs by %g from native", device, whats[what], d);
  switch (what) {
  case ADD:
  case ADD_ROW: ok(counts->ran_add == was.ran_add + 1, "%s: by its kernel", whats[what]); break;
  case TANH: ok(counts->ran_map == was.ran_map + 1, "%s: by its row of map", whats[what]); break;
  case SUM: ok(reduce == 1, "%s: by reduce, the attribute's tail being 0", whats[what]); break;
  case CONV:
    ok(conv == 1 && counts->prepared > 0, "%s: by its kernel with a plan, the attribute's tail being 0", whats[what]);
    break;
  case CONV_LAST:
    ok(conv == 0, "%s: not by its kernel, which %s", whats[what], before ? "does not know the layout" : "declines it");
    break;
  case SUM_F64: ok(reduce == 0, "%s: not by reduce, which has no such output", whats[what]); break;
  case PROD: ok(reduce == 0, "%s: reduce has declined", whats[what]); break;
  }
}

int main(int argc, char **argv)
{
  if (argc < 3) return 2;
  setvbuf(stdout, NULL, _IOLBF, 0);
  const char *file = argv[1], *kind = argv[2];
  chx_scope *s = chx_scope_begin("native:0");
  if (!ok(chx_load_plugin(s, file) == CHX_OK, "it loads into chx %s %s", chx_version(), chx_scope_message(s))) return 1;
  void *lib = dlopen(file, RTLD_NOW | RTLD_NOLOAD);
  chx_entry_fn entry = lib ? (chx_entry_fn)dlsym(lib, CHX_ENTRY) : NULL;
  char device[64];
  snprintf(device, sizeof device, "%s:0", entry ? entry()->name : "?");
  chx_scope_end(s);
  if (strcmp(kind, "other")) {
    counts = entry()->device_ops(NULL)->extension(NULL, "x.old/1");
    if (!ok(counts != NULL, "its counts are found")) return 1;
    for (int i = 0; i < WHATS; i++) by_whom(device, i, !strcmp(kind, "before"));
    ok(counts->asked > 0 && counts->synced > 0, "accepts was asked, queues were waited for");
    ok(counts->wrong == 0, "%lld times it was given what it must not be", (long long)counts->wrong);
  } else
    for (int i = 0; i < WHATS; i++) {
      double d = difference(device, i);
      ok(d < 1e-5, "%s %s: differs by %g from native", device, whats[i], d);
    }
  return failed != 0;
}
