/* SPDX-License-Identifier: MIT
 * dnnl.c: what oneDNN gains over native, operator by operator: the figures that plugins/dnnl/threshold.h is made of.
 *
 *   bench/dnnl [OPERATOR|all [ROUNDS]]        all operators, 9 rounds
 *
 * Both sides are called through chx_apply, results are dropped in each turn. A sample is a loop of at least 2 ms; a
 * round takes one of either side in turn, so that what else runs on the machine meets both alike. Printed are the
 * medians in microseconds, native's over dnnl's, the same of the minima, and each side's spread: the middle half of its
 * samples, in percent of the median. Thresholds are off, unless CHX_DNNL_THRESHOLD is set (to nothing, to see what
 * they leave). A case that is marked '-' did not run on oneDNN at all.
 */
#include <chx/chx.h>
#include <chx/plugin.h>
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "../plugins/dnnl/stats.h"

enum { MOST_IN = 5, MOST_ROUNDS = 101 };

typedef struct shape { int n; int64_t v[5]; } shape;
#define S(...) {(int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}}

typedef struct bench_case {
  const char *op;
  shape in[MOST_IN];
  int64_t stride, pad, groups, last, window; /* of conv and pooling */
  shape out;                                 /* of gradients */
  int turn, to;                              /* bit i: operand i is a transposed view; the dtype of a cast */
} bench_case;

#define MATMUL(m, n, k) {.op = "matmul", .in = {S(m, k), S(k, n)}}
#define MATMUL_T(m, n, k) {.op = "matmul", .in = {S(m, k), S(n, k)}, .turn = 2}
#define LINEAR(m, n, k) {.op = "linear", .in = {S(m, k), S(n, k), S(n)}}
/* The three of a convolution; n, c, h by h to k channels with r by r taps. */
#define CONV(n, c, h, k, r, st, g) \
  {.op = "conv", .in = {S(n, c, h, h), S(k, c / g, r, r), S(k)}, .stride = st, .pad = r / 2, .groups = g}, \
  {.op = "conv_grad_input", .in = {S(n, k, (h - 1) / st + 1, (h - 1) / st + 1), S(k, c / g, r, r)}, .stride = st, \
   .pad = r / 2, .groups = g, .out = S(n, c, h, h)}, \
  {.op = "conv_grad_weight", .in = {S(n, c, h, h), S(n, k, (h - 1) / st + 1, (h - 1) / st + 1)}, .stride = st, \
   .pad = r / 2, .groups = g, .out = S(k, c / g, r, r)}
#define CONV_LAST(n, c, h, k, r) \
  {.op = "conv", .in = {S(n, h, h, c), S(k, r, r, c), S(k)}, .stride = 1, .pad = r / 2, .groups = 1, .last = 1}, \
  {.op = "conv_grad_input", .in = {S(n, h, h, k), S(k, r, r, c)}, .stride = 1, .pad = r / 2, .groups = 1, .last = 1, \
   .out = S(n, h, h, c)}, \
  {.op = "conv_grad_weight", .in = {S(n, h, h, c), S(n, h, h, k)}, .stride = 1, .pad = r / 2, .groups = 1, .last = 1, \
   .out = S(k, r, r, c)}
#define POOL(n, c, h, w) \
  {.op = "avg_pool", .in = {S(n, c, h, h)}, .stride = w, .window = w}, \
  {.op = "avg_pool_grad", .in = {S(n, c, h / w, h / w)}, .stride = w, .window = w, .out = S(n, c, h, h)}
#define POOL_LAST(n, c, h, w) \
  {.op = "avg_pool", .in = {S(n, h, h, c)}, .stride = w, .window = w, .last = 1}, \
  {.op = "avg_pool_grad", .in = {S(n, h / w, h / w, c)}, .stride = w, .window = w, .last = 1, .out = S(n, h, h, c)}
#define SOFTMAX(n, d) {.op = "softmax", .in = {S(n, d)}}
#define NORM(n, c, h) \
  {.op = "batch_norm", .in = {S(n, c, h, h), S(c), S(c)}}, \
  {.op = "fixed_batch_norm", .in = {S(n, c, h, h), S(c), S(c), S(c), S(c)}}
#define NORM_LAST(n, c, h) \
  {.op = "batch_norm", .in = {S(n, h, h, c), S(c), S(c)}, .last = 1}, \
  {.op = "fixed_batch_norm", .in = {S(n, h, h, c), S(c), S(c), S(c), S(c)}, .last = 1}
#define LAYER_NORM(n, d) {.op = "layer_norm", .in = {S(n, d), S(d), S(d)}}
#define COPY(n, d) {.op = "copy", .in = {S(n, d)}, .turn = 1}
#define CAST(n, dtype) {.op = "cast", .in = {S(n)}, .to = dtype}

static const bench_case cases[] = {
  MATMUL(16, 16, 16), MATMUL(32, 32, 32), MATMUL(64, 64, 64), MATMUL(128, 128, 128), MATMUL(256, 256, 256),
  MATMUL(512, 512, 512), MATMUL(1024, 1024, 1024), MATMUL_T(256, 256, 256), MATMUL(1, 1024, 1024),
  MATMUL(4, 1024, 1024), MATMUL(16, 1024, 1024), MATMUL(1024, 16, 1024), MATMUL(1024, 1024, 16),
  MATMUL(4096, 64, 64), {.op = "matmul", .in = {S(32, 64, 64), S(32, 64, 64)}},
  {.op = "matmul", .in = {S(64, 128, 32), S(64, 32, 128)}},
  LINEAR(8, 32, 32), LINEAR(32, 64, 64), LINEAR(64, 128, 128), LINEAR(32, 1000, 512), LINEAR(128, 256, 256),
  LINEAR(512, 512, 512), LINEAR(1024, 1024, 1024), LINEAR(1, 4096, 1024),
  CONV(1, 1, 8, 16, 3, 1, 1), CONV(32, 1, 8, 16, 3, 1, 1), CONV(32, 16, 8, 32, 3, 1, 1), CONV(8, 3, 32, 16, 3, 1, 1),
  CONV(1, 16, 28, 32, 3, 1, 1), CONV(8, 16, 28, 32, 3, 1, 1), CONV(1, 64, 14, 64, 1, 1, 1),
  CONV(16, 64, 28, 64, 1, 1, 1), CONV(8, 64, 28, 64, 3, 1, 1), CONV(4, 3, 112, 32, 7, 2, 1),
  CONV(4, 128, 14, 256, 3, 2, 1), CONV(16, 24, 20, 24, 5, 1, 1), CONV(8, 64, 28, 64, 3, 1, 4),
  CONV(8, 64, 28, 64, 3, 1, 64), CONV_LAST(8, 16, 28, 32, 3), CONV_LAST(8, 64, 28, 64, 3), CONV_LAST(8, 3, 32, 16, 3),
  CONV_LAST(16, 64, 28, 64, 1),
  POOL(1, 16, 8, 2), POOL(8, 16, 28, 2), POOL(8, 64, 56, 2), POOL(8, 256, 7, 7), POOL_LAST(8, 16, 28, 2),
  POOL_LAST(8, 64, 56, 2), POOL_LAST(8, 256, 7, 7),
  SOFTMAX(32, 10), SOFTMAX(128, 100), SOFTMAX(128, 1000), SOFTMAX(1024, 1000), SOFTMAX(64, 30000),
  {.op = "softmax", .in = {S(8, 64, 28, 28)}},
  NORM(1, 16, 8), NORM(8, 16, 28), NORM(8, 64, 28), NORM(8, 64, 56), NORM_LAST(8, 16, 28), NORM_LAST(8, 64, 56),
  LAYER_NORM(8, 64), LAYER_NORM(128, 64), LAYER_NORM(128, 768), LAYER_NORM(4096, 768),
  COPY(64, 64), COPY(512, 512), COPY(2048, 2048), CAST(1000, 0), CAST(100000, 0), CAST(4000000, 0),
};

/* ---- one side ---------------------------------------------------------------------------------------------------- */

typedef struct side {
  chx_scope *s;
  const chx_op *op;
  const chx_array *in[MOST_IN];
  int n_in, calls;
  const void *attr;
  double us[MOST_ROUNDS];
} side;

typedef union attributes {
  chx_conv_attr conv;
  chx_pool_attr pool;
  chx_softmax_attr softmax;
  chx_batch_norm_attr batch_norm;
  chx_layer_norm_attr layer_norm;
  chx_cast_attr cast;
} attributes;

static chx_ints ints(const shape *s)
{
  chx_ints a = {s->n, {0}};
  for (int i = 0; i < s->n; i++) a.v[i] = s->v[i];
  return a;
}

static const void *set_attributes(const bench_case *c, int dtype, attributes *a)
{
  if (!strncmp(c->op, "conv", 4)) {
    a->conv = CHX_ATTR(conv);
    a->conv.stride = CHX_INTS(c->stride, c->stride);
    a->conv.pad = CHX_INTS(c->pad, c->pad);
    a->conv.groups = c->groups;
    a->conv.layout = c->last;
    a->conv.shape = ints(&c->out);
  } else if (!strncmp(c->op, "avg_pool", 8)) {
    a->pool = CHX_ATTR(pool);
    a->pool.ksize = a->pool.stride = CHX_INTS(c->window, c->window);
    a->pool.layout = c->last;
    a->pool.shape = ints(&c->out);
  } else if (!strcmp(c->op, "softmax")) {
    a->softmax = CHX_ATTR(softmax);
  } else if (strstr(c->op, "batch_norm")) {
    a->batch_norm = CHX_ATTR(batch_norm);
    a->batch_norm.layout = c->last;
  } else if (!strcmp(c->op, "layer_norm")) {
    a->layer_norm = CHX_ATTR(layer_norm);
  } else if (!strcmp(c->op, "cast")) {
    a->cast = CHX_ATTR(cast);
    a->cast.dtype = dtype == CHX_F32 ? CHX_BF16 : CHX_F32;
  } else
    return NULL;
  return a;
}

static void open_side(side *d, const char *device, const bench_case *c, int dtype, const void *attr)
{
  *d = (side){.s = chx_scope_begin(device), .op = chx_op_find(c->op), .attr = attr};
  for (; d->n_in < MOST_IN && c->in[d->n_in].n; d->n_in++) {
    const shape *sh = &c->in[d->n_in];
    chx_array *a = chx_cast(d->s, chx_uniform(d->s, CHX_F32, sh->n, sh->v, 0.5, 1), dtype);
    d->in[d->n_in] = c->turn >> d->n_in & 1 ? chx_transpose(d->s, a, 0, NULL) : a;
  }
}

static double now_us(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void call(side *d, int calls)
{
  for (int i = 0; i < calls; i++) {
    chx_array *y = NULL;
    size_t mark = chx_scope_mark(d->s);
    chx_apply(d->s, d->op, d->in, d->n_in, d->attr, &y, 1);
    chx_scope_rewind(d->s, mark, NULL);
  }
}

/* How many calls make 2 ms. */
static void settle(side *d)
{
  call(d, 2);
  const double t0 = now_us();
  call(d, 3);
  const double us = (now_us() - t0) / 3;
  d->calls = us > 2000 ? 1 : (int)(2000 / us) + 1;
}

/* Microseconds per call. The other side's threads go on spinning for a while in the hope of more work: OpenBLAS' for
 * some 30 ms. They are let go to sleep first. */
static double sample(side *d)
{
  nanosleep(&(struct timespec){0, 40000000}, NULL);
  call(d, d->calls / 4 + 1);
  const double t0 = now_us();
  call(d, d->calls);
  return (now_us() - t0) / d->calls;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double spread(const double *us, int n) { return 100 * (us[n * 3 / 4] - us[n / 4]) / us[n / 2]; }

static void print_case(const bench_case *c)
{
  printf("%s", c->op);
  for (int i = 0; i < MOST_IN && c->in[i].n; i++)
    for (int k = 0; k < c->in[i].n; k++) printf("%s%lld", k ? "x" : " ", (long long)c->in[i].v[k]);
  if (c->turn) printf(" transposed");
  if (c->stride > 1 && !c->window) printf(" stride %lld", (long long)c->stride);
  if (c->groups > 1) printf(" groups %lld", (long long)c->groups);
  if (c->window) printf(" window %lld", (long long)c->window);
  if (c->last) printf(" last");
}

static const chx_dnnl_stats *stats;

static bool run_case(const bench_case *c, int dtype, int rounds)
{
  side native, dnnl;
  attributes a;
  const void *attr = set_attributes(c, dtype, &a);
  open_side(&native, "native:0", c, dtype, attr);
  open_side(&dnnl, "dnnl:0", c, dtype, attr);
  const uint64_t before = stats->executed(NULL);
  settle(&native);
  settle(&dnnl);
  for (int i = 0; i < rounds; i++) {
    native.us[i] = sample(&native);
    dnnl.us[i] = sample(&dnnl);
  }
  qsort(native.us, (size_t)rounds, sizeof *native.us, by_value);
  qsort(dnnl.us, (size_t)rounds, sizeof *dnnl.us, by_value);
  const bool good = !chx_scope_error(native.s) && !chx_scope_error(dnnl.s);
  if (!good) fprintf(stderr, "%s%s\n", chx_scope_message(native.s), chx_scope_message(dnnl.s));
  const double x = native.us[rounds / 2], y = dnnl.us[rounds / 2];
  printf("| ");
  print_case(c);
  printf(" | %s | %.1f | %.1f | %.2f%s | %.2f | %.0f, %.0f |\n", dtype == CHX_BF16 ? "bf16" : "f32", x, y, x / y,
         stats->executed(NULL) > before ? "" : " -", native.us[0] / dnnl.us[0], spread(native.us, rounds),
         spread(dnnl.us, rounds));
  fflush(stdout);
  chx_scope_end(native.s);
  chx_scope_end(dnnl.s);
  return good;
}

/* dnnl's own file once more, which is the library that the core has loaded. */
static bool find_stats(void)
{
  chx_backend_state b;
  for (int i = 0; !chx_backend_at(i, &b); i++) {
    if (strcmp(b.name, "dnnl") || !b.n_devices) continue;
    void *lib = dlopen(b.path, RTLD_NOW | RTLD_LOCAL);
    chx_entry_fn entry = lib ? (chx_entry_fn)dlsym(lib, CHX_ENTRY) : NULL;
    stats = entry ? entry()->device_ops(NULL)->extension(NULL, CHX_DNNL_STATS) : NULL;
  }
  return stats != NULL;
}

int main(int argc, char **argv)
{
  const char *only = argc > 1 ? argv[1] : NULL;
  const int rounds = argc > 2 ? atoi(argv[2]) : 9;
  bool good = true;
  if (rounds < 1 || rounds > MOST_ROUNDS) return fprintf(stderr, "dnnl: want 1 to %d rounds\n", MOST_ROUNDS), 2;
  setenv("CHX_DNNL_THRESHOLD", "0", 0);
  chx_scope *s = chx_scope_begin("dnnl:0");
  if (chx_scope_error(s) || !find_stats()) return fprintf(stderr, "dnnl: %s\n", chx_scope_message(s)), 1;
  printf("oneDNN %s, %d threads\n\n", stats->version(), chx_threads());
  printf("| case | dtype | native us | dnnl us | ratio | of minima | spreads %% |\n|---|---|---|---|---|---|---|\n");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    if (only && strcmp(only, "all") && strcmp(only, cases[i].op)) continue;
    good &= run_case(&cases[i], CHX_F32, rounds);
    if (!strstr(cases[i].op, "norm")) good &= run_case(&cases[i], CHX_BF16, rounds);
  }
  chx_scope_end(s);
  return !good;
}
