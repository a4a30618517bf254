/* SPDX-License-Identifier: MIT
 * gpu.c: what operators reach on a device, what a launch costs, and steps of two networks.
 *
 *   bench/gpu DEVICE [--most N] [--rounds N] [--only NAME] [--dtype f32|f16]
 *
 * Operators run on 1e3, 1e4, .. elements, up to N (default 1e7), products of matrices up to as many elements each. A
 * sample is a loop of calls that fills 5 ms, and the wait for its end; a row has the median of the rounds (default 15).
 * Calls before them compile the kernels and fill the pool of memory.
 *
 * A row is: case, dtype, lengths ("100x100"), microseconds per call, spread (the middle half of the samples, in percent
 * of the median), bytes that must at least be moved, operations in floating point; between tabs. bench/gpu_torch.py
 * reads them, does the same with PyTorch, and prints both side by side.
 */
#include <chx/chx.h>
#include <chx/nn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_IN = 3, MOST_ROUNDS = 201, COLUMNS = 100, BATCH = 128 };

typedef struct job {
  chx_scope *s;
  const chx_array *x[MOST_IN];
  int dtype;
  int64_t shape[4];
  int nd;
  chx_link *model;
  chx_optimizer *o;
} job;

typedef chx_array *call_fn(job *j);

/* ---- cases --------------------------------------------------------------------------------------------------- */

static const int last_axis[] = {1};

static chx_array *call_add(job *j) { return chx_add(j->s, j->x[0], j->x[1]); }
static chx_array *call_exp(job *j) { return chx_exp(j->s, j->x[0]); }
static chx_array *call_row(job *j) { return chx_add(j->s, j->x[0], j->x[2]); }
static chx_array *call_transpose(job *j) { return chx_contiguous(j->s, chx_transpose(j->s, j->x[0], 0, NULL)); }
static chx_array *call_cast(job *j) { return chx_cast(j->s, j->x[0], j->dtype == CHX_F32 ? CHX_F16 : CHX_F32); }
static chx_array *call_sum(job *j) { return chx_sum(j->s, j->x[0], 0, NULL, 0); }
static chx_array *call_sum_rows(job *j) { return chx_sum(j->s, j->x[0], 1, last_axis, 0); }
static chx_array *call_sum_columns(job *j) { return chx_sum(j->s, j->x[0], 1, (int[]){0}, 0); }
static chx_array *call_softmax(job *j) { return chx_softmax(j->s, j->x[0], 1); }
static chx_array *call_cumsum(job *j) { return chx_cumsum(j->s, j->x[0], 1); }
static chx_array *call_sort(job *j) { return chx_sort(j->s, j->x[0], 1, 0); }
static chx_array *call_take(job *j) { return chx_take(j->s, j->x[0], j->x[1], 0); }
static chx_array *call_scatter(job *j) { return chx_scatter_add(j->s, j->x[0], j->x[1], j->x[0], 0); }
static chx_array *call_uniform(job *j) { return chx_uniform(j->s, j->dtype, j->nd, j->shape, 0, 1); }
static chx_array *call_matmul(job *j) { return chx_matmul(j->s, j->x[0], j->x[1]); }

static chx_array *call_conv(job *j)
{
  chx_conv_attr p = CHX_ATTR(conv);
  p.pad = CHX_INTS(1, 1);
  return chx_conv(j->s, j->x[0], j->x[1], NULL, &p);
}

static chx_array *call_pool(job *j)
{
  chx_pool_attr p = CHX_ATTR(pool);
  p.ksize = CHX_INTS(2, 2);
  return chx_max_pool(j->s, j->x[0], &p, NULL);
}

static chx_array *loss(void *ctx, chx_scope *s)
{
  job *j = ctx;
  return chx_softmax_cross_entropy(s, chx_link_call(s, j->model, j->x[0]), j->x[1]);
}

static chx_array *call_step(job *j)
{
  chx_optimizer_update_with(j->s, j->o, loss, j, NULL);
  return NULL;
}

enum kind { ROWS, PAIR, ROW, INDEX, SQUARE, IMAGE, CONV };
typedef struct bench_case {
  const char *name;
  call_fn *call;
  enum kind kind;
  double moved; /* elements that are read and written, per element of x; 0: it is not bound by memory */
  bool f32_only;
} bench_case;

static const bench_case cases[] = {
    {"add", call_add, PAIR, 3, false},
    {"add_row", call_row, ROW, 2, false},
    {"exp", call_exp, ROWS, 2, false},
    {"transpose", call_transpose, ROWS, 2, false},
    {"cast", call_cast, ROWS, 0, false}, /* its bytes are 6 per element */
    {"sum", call_sum, ROWS, 1, false},
    {"sum_rows", call_sum_rows, ROWS, 1, false},
    {"sum_columns", call_sum_columns, ROWS, 1, false},
    {"softmax", call_softmax, ROWS, 2, false},
    {"cumsum", call_cumsum, ROWS, 2, true},
    {"sort", call_sort, ROWS, 2, true},
    {"take", call_take, INDEX, 2, false},
    {"scatter_add", call_scatter, INDEX, 4, true},
    {"uniform", call_uniform, ROWS, 1, true},
    {"max_pool", call_pool, IMAGE, 1.25, false},
    {"conv", call_conv, CONV, 0, false},
    {"matmul", call_matmul, SQUARE, 0, false},
};

/* ---- operands ------------------------------------------------------------------------------------------------ */

static int64_t square_of(int64_t n)
{
  int64_t m = 1;
  while ((m + 1) * (m + 1) <= n) m++;
  return m >= 64 ? m / 64 * 64 : m;
}

static chx_array *numbers(job *j, int nd, const int64_t *shape)
{
  return chx_cast(j->s, chx_uniform(j->s, CHX_F32, nd, shape, 0.5, 1), j->dtype);
}

/* Operands of about n elements. */
static void fill(job *j, enum kind kind, int64_t n)
{
  const int64_t rows = n / COLUMNS, m = square_of(n);
  j->nd = 2;
  if (kind == SQUARE) memcpy(j->shape, (int64_t[]){m, m}, 16);
  else if (kind == IMAGE || kind == CONV) memcpy(j->shape, (int64_t[]){n / 512 ? n / 512 : 1, 8, 8, 8}, 32), j->nd = 4;
  else memcpy(j->shape, (int64_t[]){rows, COLUMNS}, 16);
  j->x[0] = numbers(j, j->nd, j->shape);
  if (kind == PAIR || kind == SQUARE) j->x[1] = numbers(j, j->nd, j->shape);
  if (kind == ROW) j->x[2] = numbers(j, 1, j->shape + 1);
  if (kind == INDEX) j->x[1] = chx_integers(j->s, CHX_I64, 1, j->shape, 0, rows);
  if (kind == CONV) j->x[1] = numbers(j, 4, (int64_t[]){16, 8, 3, 3});
}

static void fill_network(job *j, const chx_nn_model_spec *spec)
{
  const int64_t columns = spec->chw[0] * spec->chw[1] * spec->chw[2];
  j->nd = 4;
  j->shape[0] = BATCH;
  memcpy(j->shape + 1, spec->chw, sizeof spec->chw);
  j->x[0] = chx_uniform(j->s, CHX_F32, 2, (int64_t[]){BATCH, columns}, 0, 1);
  j->x[1] = chx_integers(j->s, CHX_I64, 1, j->shape, 0, spec->classes);
  j->model = chx_nn_model_new(j->s, spec);
  j->o = chx_optimizer_by_name(j->s, "sgd", 0.01);
  chx_optimizer_setup(j->s, j->o, j->model);
}

/* ---- time ---------------------------------------------------------------------------------------------------- */

static double now_us(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

/* Microseconds per call; wait: for each call, else for all. */
static double sample(job *j, call_fn *call, int calls, bool wait)
{
  const double t0 = now_us();
  for (int i = 0; i < calls; i++) {
    const size_t mark = chx_scope_mark(j->s);
    call(j);
    if (wait) chx_sync(j->s);
    chx_scope_rewind(j->s, mark, NULL);
  }
  chx_sync(j->s);
  return (now_us() - t0) / calls;
}

static int by_value(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static bool measure(job *j, const char *name, call_fn *call, int rounds, bool wait, double bytes, double flops)
{
  double us[MOST_ROUNDS];
  sample(j, call, 1, wait);
  const double once = sample(j, call, 2, wait);
  const int calls = once > 5000 ? 1 : (int)(5000 / once) + 1;
  sample(j, call, calls, wait);
  for (int i = 0; i < rounds; i++) us[i] = sample(j, call, calls, wait);
  qsort(us, (size_t)rounds, sizeof *us, by_value);
  if (chx_scope_error(j->s)) return fprintf(stderr, "gpu: %s: %s\n", name, chx_scope_message(j->s)), false;
  printf("%s\t%s\t", name, chx_dtype_name(j->dtype));
  for (int d = 0; d < j->nd; d++) printf("%s%lld", d ? "x" : "", (long long)j->shape[d]);
  printf("\t%.3f\t%.0f\t%.0f\t%.0f\n", us[rounds / 2], 100 * (us[rounds * 3 / 4] - us[rounds / 4]) / us[rounds / 2],
         bytes, flops);
  fflush(stdout);
  return true;
}

/* ---- what is run --------------------------------------------------------------------------------------------- */

typedef struct wish {
  const char *device, *only;
  int64_t most;
  int rounds, dtype;
} wish;

static bool wanted(const wish *w, const char *name) { return !w->only || !strcmp(w->only, name); }

static bool operator_rows(const wish *w, const bench_case *c)
{
  static const int dtypes[] = {CHX_F32, CHX_F16};
  bool good = true;
  for (int d = 0; d < 2 && wanted(w, c->name); d++)
    for (int64_t n = 1000; n <= w->most && (!w->dtype || w->dtype == dtypes[d]) && !(c->f32_only && d); n *= 10) {
      job j = {.s = chx_scope_begin(w->device), .dtype = dtypes[d]};
      fill(&j, c->kind, n);
      double all = 1;
      for (int k = 0; k < j.nd; k++) all *= (double)j.shape[k];
      const double bytes = c->call == call_cast ? 6 * all : c->moved * all * chx_dtype_size(j.dtype);
      const double m = (double)j.shape[0], flops = c->kind == SQUARE ? 2 * m * m * m
                                                   : c->kind == CONV ? 2 * all / 8 * 16 * 72
                                                                     : 0;
      good = measure(&j, c->name, c->call, w->rounds, false, bytes, flops) && good;
      chx_scope_end(j.s);
    }
  return good;
}

/* What a call costs the host while the device keeps up with four elements, and what it takes to see its end. */
static bool launches(const wish *w)
{
  job j = {.s = chx_scope_begin(w->device), .dtype = CHX_F32, .nd = 1, .shape = {4}};
  j.x[0] = numbers(&j, 1, j.shape);
  j.x[1] = numbers(&j, 1, j.shape);
  bool good = !wanted(w, "launch") || measure(&j, "launch", call_add, w->rounds, false, 0, 0);
  if (wanted(w, "round_trip")) good = measure(&j, "round_trip", call_add, w->rounds, true, 0, 0) && good;
  chx_scope_end(j.s);
  return good;
}

static bool networks(const wish *w)
{
  static const struct {
    const char *name;
    chx_nn_model_spec spec;
  } of[] = {{"mlp_step", {.kind = "mlp", .chw = {1, 28, 28}, .classes = 10}},
            {"cnn_step", {.kind = "cnn", .chw = {1, 28, 28}, .classes = 10}}};
  bool good = true;
  for (int k = 0; k < 2; k++) {
    if (!wanted(w, of[k].name)) continue;
    job j = {.s = chx_scope_begin(w->device), .dtype = CHX_F32};
    fill_network(&j, &of[k].spec);
    good = measure(&j, of[k].name, call_step, w->rounds, false, 0, 0) && good;
    chx_optimizer_free(j.o);
    chx_link_free(j.model);
    chx_scope_end(j.s);
  }
  return good;
}

static int usage(void)
{
  fprintf(stderr, "usage: bench/gpu DEVICE [--most N] [--rounds 1 to %d] [--only NAME] [--dtype f32|f16]\n",
          MOST_ROUNDS);
  return 2;
}

int main(int argc, char **argv)
{
  wish w = {.device = argc > 1 ? argv[1] : NULL, .most = 10000000, .rounds = 15};
  for (int i = 2; i + 1 < argc; i += 2) {
    const char *name = argv[i], *v = argv[i + 1];
    if (!strcmp(name, "--most")) w.most = (int64_t)strtod(v, NULL);
    else if (!strcmp(name, "--rounds")) w.rounds = atoi(v);
    else if (!strcmp(name, "--only")) w.only = v;
    else if (!strcmp(name, "--dtype")) w.dtype = strcmp(v, "f16") ? CHX_F32 : CHX_F16;
    else return usage();
  }
  if (!w.device || argc % 2 || w.most < 1000 || w.rounds < 1 || w.rounds > MOST_ROUNDS) return usage();
  chx_scope *s = chx_scope_begin(w.device);
  if (chx_scope_error(s)) return fprintf(stderr, "gpu: %s\n", chx_scope_message(s)), 1;
  printf("# %s\n", chx_scope_device(s));
  bool good = launches(&w);
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) good = operator_rows(&w, &cases[k]) && good;
  good = networks(&w) && good;
  chx_scope_end(s);
  return !good;
}
