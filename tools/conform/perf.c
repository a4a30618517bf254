/* SPDX-License-Identifier: MIT
 * perf.c: `chx conform --mode perf`: how long each operator takes on the judged device at a size that matters, as a table
 * with the smallest, the median and the largest time. There is no pass mark.
 */
#include "cases.h"
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS = 9, WARM = 2 };
static const double enough_s = 0.5; /* for one operator */

static void conv_3x3(void *p, int dtype)
{
  chx_conv_attr *a = p;
  (void)dtype;
  *a = CHX_ATTR(conv);
  a->pad = CHX_INTS(1, 1);
}
static void conv_grad_x(void *p, int dtype)
{
  conv_3x3(p, dtype);
  ((chx_conv_attr *)p)->shape = CHX_INTS(8, 32, 28, 28);
}
static void conv_grad_w(void *p, int dtype)
{
  conv_3x3(p, dtype);
  ((chx_conv_attr *)p)->shape = CHX_INTS(32, 32, 3, 3);
}
static void pool_2x2(void *p, int dtype)
{
  chx_pool_attr *a = p;
  (void)dtype;
  *a = CHX_ATTR(pool);
  a->ksize = CHX_INTS(2, 2);
}
static void random_many(void *p, int dtype)
{
  chx_random_attr *a = p;
  *a = CHX_ATTR(random);
  a->shape = CHX_INTS(1024, 1024);
  a->dtype = dtype;
}
static void rows_of_1024(void *p, int dtype)
{
  chx_reduce_attr *a = p;
  (void)dtype;
  *a = CHX_ATTR(reduce);
  a->axes = CHX_INTS(1);
}

#define A(...) {sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), {__VA_ARGS__}, 0.5, 2, 0}
#define I(high, ...) {sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), {__VA_ARGS__}, 0, high, 'I'}
static const struct task {
  case_row row;
  double gflop; /* 0: bytes are counted */
} tasks[] = {
  {{"copy", "1024 x 1024", NULL, 1, {A(1024, 1024)}}, 0},
  {{"matmul", "512 x 512 x 512", NULL, 2, {A(512, 512), A(512, 512)}}, 2 * 512e-3 * 512e-3 * 512e-3},
  {{"matmul", "32 of 64 x 64 x 64", NULL, 2, {A(32, 64, 64), A(32, 64, 64)}}, 2 * 32e-9 * 64 * 64 * 64},
  {{"linear", "64 x 784 to 256", NULL, 3, {A(64, 784), A(256, 784), A(256)}}, 2e-9 * 64 * 784 * 256},
  {{"conv", "8 x 32 x 28 x 28, 3 x 3", conv_3x3, 3, {A(8, 32, 28, 28), A(32, 32, 3, 3), A(32)}}, 2e-9 * 8 * 32 * 784 * 288},
  {{"conv_grad_input", "likewise", conv_grad_x, 2, {A(8, 32, 28, 28), A(32, 32, 3, 3)}}, 2e-9 * 8 * 32 * 784 * 288},
  {{"conv_grad_weight", "likewise", conv_grad_w, 2, {A(8, 32, 28, 28), A(8, 32, 28, 28)}}, 2e-9 * 8 * 32 * 784 * 288},
  {{"max_pool", "8 x 32 x 28 x 28", pool_2x2, 1, {A(8, 32, 28, 28)}}, 0},
  {{"avg_pool", "8 x 32 x 28 x 28", pool_2x2, 1, {A(8, 32, 28, 28)}}, 0},
  {{"sum", "all of 1024 x 1024", NULL, 1, {A(1024, 1024)}}, 0},
  {{"sum", "rows of 1024", rows_of_1024, 1, {A(1024, 1024)}}, 0},
  {{"amax", "rows of 1024", rows_of_1024, 1, {A(1024, 1024)}}, 0},
  {{"argmax", "all of 1024 x 1024", NULL, 1, {A(1024, 1024)}}, 0},
  {{"softmax", "1024 x 1024", NULL, 1, {A(1024, 1024)}}, 0},
  {{"log_softmax", "1024 x 1024", NULL, 1, {A(1024, 1024)}}, 0},
  {{"batch_norm", "8 x 32 x 784", NULL, 3, {A(8, 32, 784), A(32), A(32)}}, 0},
  {{"layer_norm", "1024 x 1024", NULL, 3, {A(1024, 1024), A(1024), A(1024)}}, 0},
  {{"gelu", "1024 x 1024", NULL, 1, {A(1024, 1024)}}, 0},
  {{"dropout", "1024 x 1024", NULL, 1, {A(1024, 1024)}}, 0},
  {{"take", "4096 rows of 256", NULL, 2, {A(1024, 256), I(1023, 4096)}}, 0},
  {{"scatter_add", "4096 rows of 256", NULL, 3, {A(1024, 256), I(1023, 4096), A(4096, 256)}}, 0},
  {{"concatenate", "2 of 512 x 1024", NULL, 2, {A(512, 1024), A(512, 1024)}}, 0},
  {{"uniform", "1024 x 1024", random_many, 0, {{.ndim = 0}}}, 0},
  {{"normal", "1024 x 1024", random_many, 0, {{.ndim = 0}}}, 0},
};
static const case_operand square = A(1024, 1024);

static double seconds(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double once(chx_scope *s, const chx_op *op, const case_row *row, const chx_array *const *in, const void *attr,
                   double *bytes)
{
  chx_array *out[CASES_OUT] = {NULL};
  int n_out = chx_op_n_outputs(op);
  size_t mark = chx_scope_mark(s);
  double t0 = seconds();
  chx_apply(s, op, in, row->n, attr, out, n_out);
  chx_sync(s);
  double t = seconds() - t0;
  *bytes = 0;
  for (int i = 0; i < row->n; i++) *bytes += in[i] ? (double)chx_nbytes(in[i]) : 0;
  for (int o = 0; o < n_out; o++) *bytes += out[o] ? (double)chx_nbytes(out[o]) : 0;
  chx_scope_rewind(s, mark, NULL);
  return t;
}

static void measure(conform *c, chx_scope *s, const case_row *row, double gflop, int dtype)
{
  _Alignas(16) char room[CASES_ATTR_BYTES];
  const chx_op *op = chx_op_find(row->op);
  if (!op || (c->op_glob && fnmatch(c->op_glob, row->op, 0))) return;
  if (chx_op_n_inputs(op) && !(chx_op_dtypes(op) & CHX_BIT(dtype)))
    dtype = chx_op_dtypes(op) & CHX_BIT(CHX_I32) ? CHX_I32 : CHX_BOOL;
  const chx_array *in[CASES_IN] = {NULL};
  case_random r = {case_key(c->seed, row->op)};
  chx_scope *make = chx_scope_begin("native:0");
  size_t mark = chx_scope_mark(s);
  for (int i = 0; i < row->n; i++)
    in[i] = chx_to(s, case_stored(make, &r, &row->x[i], dtype, LAYOUT_DENSE, VALUES_PLAIN), c->spec);
  const void *attr = case_attr(row, dtype, room);
  double t[RUNS], bytes = 0, start = seconds();
  int n = 0;
  for (int i = 0; i < WARM; i++) once(s, op, row, in, attr, &bytes);
  while (n < RUNS && (n < 3 || seconds() - start < enough_s)) t[n++] = once(s, op, row, in, attr, &bytes);
  if (chx_scope_error(s)) printf("%-18s %-24s %-5s %s\n", row->op, row->what, chx_dtype_name(dtype), chx_scope_message(s));
  else {
    qsort(t, (size_t)n, sizeof *t, by_value);
    double rate = (gflop > 0 ? gflop : 1e-9 * bytes) / t[n / 2];
    const char *route = chx_route_name(chx_explain(s, op, c->spec, dtype, NULL, 0));
    printf("%-18s %-24s %-5s %-8s %9.3f %9.3f %9.3f %9.2f %s\n", row->op, row->what, chx_dtype_name(dtype), route, 1e3 * t[0],
           1e3 * t[n / 2], 1e3 * t[n - 1], rate, gflop > 0 ? "GFLOP/s" : "GB/s");
  }
  fflush(stdout);
  chx_scope_clear(s);
  chx_scope_rewind(s, mark, NULL);
  chx_scope_end(make);
}

int conform_perf(conform *c)
{
  chx_scope *s = chx_scope_begin("native:0");
  if (chx_load_plugin(s, c->file) || chx_scope_set_device(s, c->spec)) {
    fprintf(stderr, "chx conform: %s\n", chx_scope_message(s));
    chx_scope_end(s);
    return 2;
  }
  printf("%s, %d threads of the CPU; times in ms of up to %d runs\n", c->spec, chx_threads(), RUNS);
  printf("%-18s %-24s %-5s %-8s %9s %9s %9s %9s\n", "operator", "operands", "dtype", "route", "min", "median", "max", "rate");
  for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) measure(c, s, &tasks[i].row, tasks[i].gflop, CHX_F32);
  for (int i = 0; i < chx_op_count(); i++) {
    const chx_op *op = chx_op_at(i);
    if (!chx_op_is_elementwise(op)) continue;
    case_row row = {.op = chx_op_name(op), .what = "1024 x 1024", .n = chx_op_n_inputs(op)};
    for (int k = 0; k < row.n && k < CASES_IN; k++) row.x[k] = square;
    if (!strcmp(row.op, "where")) row.x[0].kind = 'B';
    measure(c, s, &row, 0, CHX_F32);
  }
  chx_scope_end(s);
  return 0;
}
