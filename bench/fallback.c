/* SPDX-License-Identifier: MIT
 * fallback.c: what falling back to native costs above what cannot be saved.
 *
 *   bench/fallback [-v] [-r ROUNDS] [-o OPERATOR] [DEVICE...]        sim:0, sample:0 and opencl:0 of those there are
 *
 * For each operator of the table, f32, about 1e3 and 1e6 elements: the operands are on the device, the operator is
 * forced to the host, and a kernel of the device's own, a copy of one element, then wants the result there. Beside it, the
 * same by hand: read the operands, run the operator on native:0, put the result on the device, that kernel. The difference
 * is what the route costs by itself. Where the device's memory can be mapped nothing moves, so by hand that is native's run
 * and the kernel.
 * Samples of single calls alternate; the figure of an operator is the difference of its two medians, of a device the median
 * of all operators'. Goals: 10 us, or where memory is mapped two launches.
 * Last, where there is no fallback: add under the policies allow and deny, which must differ by less than the samples' spread.
 * Exits 1 where a goal is missed.
 */
#include <chx/chx.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_IN = 5, MOST_OUT = 3, MOST_ROUNDS = 1001, MOST_OPS = 256 };

/* Lengths that depend on the size: all elements, rows and columns, an image's batch and sides, half a side. */
enum { N = -1, R = -2, C = -3, B = -4, H = -5, H2 = -6, NUMBER = -9 };
static const struct size { const char *name; int64_t of[7]; int rounds; } sizes[] = {
  {"1e3", {0, 1000, 25, 40, 1, 16, 8}, 201}, {"1e6", {0, 1000000, 1000, 1000, 16, 128, 64}, 31}};

static int64_t length(const struct size *z, int64_t code) { return code < 0 ? z->of[-code] : code; }

/* ---- the catalogue --------------------------------------------------------------------------------------------------- */

typedef struct operand {
  int64_t n, v[4];
  int64_t below; /* not 0: i64, from 0 up to this; NUMBER: floating, of no axes */
} operand;

typedef struct bench_case {
  const char *op;
  operand in[MOST_IN];
  void (*set)(void *attr, const struct size *z); /* NULL: defaults */
} bench_case;

#define D(...) {sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), {__VA_ARGS__}, 0}
#define INDEX(below, ...) {sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), {__VA_ARGS__}, below}
#define ATTR(name, kind, ...) \
  static void name(void *p, const struct size *z) \
  { \
    chx_##kind##_attr *a = p; \
    *a = CHX_ATTR(kind); \
    (void)z; \
    __VA_ARGS__ \
  }
ATTR(axis_1, reduce, a->axes = CHX_INTS(1);)
ATTR(kind_sum, reduce, a->axes = CHX_INTS(1); a->kind = CHX_REDUCE_SUM;)
ATTR(arg_1, arg_reduce, a->axes = CHX_INTS(1);)
ATTR(scan_1, scan, a->axes = CHX_INTS(1);)
ATTR(scan_sum, scan, a->axes = CHX_INTS(1); a->kind = CHX_SCAN_SUM;)
ATTR(along_1, axis, a->axis = 1;)
ATTR(pad_2, pad, a->before = CHX_INTS(1, 1); a->after = CHX_INTS(1, 1);)
ATTR(every_other, slice, a->start = CHX_INTS(0); a->stop = CHX_INTS(2 * z->of[2]); a->step = CHX_INTS(2);
     a->shape = CHX_INTS(2 * z->of[2], z->of[3]);)
ATTR(full_n, full, a->shape = CHX_INTS(z->of[1]); a->dtype = CHX_F32;)
ATTR(count_n, arange, a->n = z->of[1]; a->dtype = CHX_F32;)
ATTR(random_n, random, a->shape = CHX_INTS(z->of[1]); a->dtype = CHX_F32; a->seed = 1;)
ATTR(bits_n, random, a->shape = CHX_INTS(z->of[1]); a->dtype = CHX_U32; a->seed = 1;)
ATTR(chance_n, random, a->shape = CHX_INTS(z->of[1]); a->dtype = CHX_F32; a->seed = 1; a->low = 0.5;)
ATTR(integers_n, random, a->shape = CHX_INTS(z->of[1]); a->dtype = CHX_I64; a->seed = 1; a->high = 9;)
ATTR(conv_same, conv, a->pad = CHX_INTS(1, 1);)
ATTR(conv_gx, conv, a->pad = CHX_INTS(1, 1); a->shape = CHX_INTS(z->of[4], 4, z->of[5], z->of[5]);)
ATTR(conv_gw, conv, a->pad = CHX_INTS(1, 1); a->shape = CHX_INTS(8, 4, 3, 3);)
ATTR(pool_2, pool, a->ksize = CHX_INTS(2, 2);)
ATTR(pool_grad, pool, a->ksize = CHX_INTS(2, 2); a->shape = CHX_INTS(z->of[4], 4, z->of[5], z->of[5]);)
ATTR(program, map, a->program.n = 3; a->program.step[0] = (chx_map_step){"mul", 0, 1, 0, 0};
     a->program.step[1] = (chx_map_step){"add", 2, 1, 0, 0}; a->program.step[2] = (chx_map_step){"tanh", 3, 0, 0, 0};)

static const bench_case cases[] = { /* elementwise operators and those that are missing here need no row */
  {"map", {D(N), D(N)}, program}, {"full", {{0, {0}, NUMBER}}, full_n}, {"arange", {{0}}, count_n},
  {"sum", {D(R, C)}, axis_1}, {"prod", {D(R, C)}, axis_1}, {"mean", {D(R, C)}, axis_1}, {"amax", {D(R, C)}, axis_1},
  {"amin", {D(R, C)}, axis_1}, {"all", {D(R, C)}, axis_1}, {"any", {D(R, C)}, axis_1}, {"reduce", {D(R, C)}, kind_sum},
  {"logsumexp", {D(R, C)}, axis_1}, {"argmax", {D(R, C)}, arg_1}, {"argmin", {D(R, C)}, arg_1},
  {"cumsum", {D(R, C)}, scan_1}, {"cumprod", {D(R, C)}, scan_1}, {"cummax", {D(R, C)}, scan_1},
  {"cummin", {D(R, C)}, scan_1}, {"scan", {D(R, C)}, scan_sum}, {"sort", {D(R, C)}, NULL}, {"argsort", {D(R, C)}, NULL},
  {"topk", {D(R, C)}, NULL}, {"slice_grad", {D(R, C)}, every_other}, {"concatenate", {D(R, C), D(R, C)}, along_1},
  {"stack", {D(R, C), D(R, C)}, along_1}, {"pad", {D(R, C)}, pad_2}, {"take", {D(R, C), INDEX(R, R)}, NULL},
  {"take_along_axis", {D(R, C), INDEX(R, R, C)}, NULL}, {"scatter_add", {D(R, C), INDEX(R, R), D(R, C)}, NULL},
  {"scatter_add_along_axis", {D(R, C), INDEX(R, R, C), D(R, C)}, NULL}, {"matmul", {D(R, C), D(C, 16)}, NULL},
  {"linear", {D(R, C), D(16, C), D(16)}, NULL}, {"conv", {D(B, 4, H, H), D(8, 4, 3, 3), D(8)}, conv_same},
  {"conv_grad_input", {D(B, 8, H, H), D(8, 4, 3, 3)}, conv_gx},
  {"conv_grad_weight", {D(B, 4, H, H), D(B, 8, H, H)}, conv_gw}, {"max_pool", {D(B, 4, H, H)}, pool_2},
  {"avg_pool", {D(B, 4, H, H)}, pool_2}, {"avg_pool_grad", {D(B, 4, H2, H2)}, pool_grad},
  {"softmax_cross_entropy", {D(R, C), INDEX(C, R)}, NULL}, {"batch_norm", {D(R, C), D(C), D(C)}, NULL},
  {"fixed_batch_norm", {D(R, C), D(C), D(C), D(C), D(C)}, NULL}, {"layer_norm", {D(R, C), D(C), D(C)}, NULL},
  {"random_bits", {{0}}, bits_n}, {"uniform", {{0}}, random_n}, {"normal", {{0}}, random_n},
  {"bernoulli", {{0}}, chance_n}, {"integers", {{0}}, integers_n}};

/* What would be cast to bool on the device first is bool. */
static int dtype_of(const chx_op *op, const operand *o, int i)
{
  const char *name = chx_op_name(op);
  if (o->below && o->below != NUMBER) return CHX_I64;
  if (!strncmp(name, "logical_", 8) || !strcmp(name, "all") || !strcmp(name, "any") || (!i && !strcmp(name, "where")))
    return CHX_BOOL;
  return chx_op_dtypes(op) & CHX_BIT(CHX_F32) ? CHX_F32 : CHX_I32;
}

static bench_case case_of(const chx_op *op)
{
  bench_case c = {.op = chx_op_name(op)};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (!strcmp(cases[i].op, c.op)) return cases[i];
  for (int i = 0; i < chx_op_n_inputs(op); i++) c.in[i] = (operand)D(R, C);
  return c;
}

/* Views move nothing, and copies are what is measured with. */
static bool is_measured(const chx_op *op)
{
  static const char *const not[] = {"copy", "cast", "to_device"};
  for (int i = 0; i < 3; i++)
    if (!strcmp(chx_op_name(op), not[i])) return false;
  return !chx_op_is_view(op);
}

/* ---- one operator on a device and on native ---------------------------------------------------------------------------- */

typedef struct subject {
  const chx_op *op;
  chx_scope *dev, *native; /* the device's, native's */
  chx_array *x[MOST_IN], *host_x[MOST_IN];
  chx_array *w[MOST_OUT];  /* results on the device, for the mapped comparison */
  void *data[MOST_IN], *room[MOST_IN];
  size_t bytes[MOST_IN];
  int n_in, n_out;
  bool mapped;
  _Alignas(16) char attr[4096];
  const void *p;
} subject;

static double now_us(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void fill(void *data, int dtype, int64_t n, int64_t below)
{
  uint64_t state = 1;
  for (int64_t i = 0; i < n; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    double u = 0.1 + 0.8 * (double)(state >> 11) * 0x1p-53;
    if (dtype == CHX_F32) ((float *)data)[i] = (float)u;
    else if (dtype == CHX_I64) ((int64_t *)data)[i] = (int64_t)(state >> 33) % below;
    else if (dtype == CHX_I32) ((int32_t *)data)[i] = 1 + (int32_t)(state >> 61);
    else ((char *)data)[i] = u > 0.5;
  }
}

static bool prepare(subject *t, const chx_op *op, const struct size *z)
{
  bench_case c = case_of(op);
  t->op = op;
  t->n_out = chx_op_n_outputs(op);
  t->p = NULL;
  if (c.set) c.set(t->attr, z), t->p = t->attr;
  for (t->n_in = 0; t->n_in < MOST_IN && (c.in[t->n_in].n || c.in[t->n_in].below); t->n_in++) {
    const operand *o = &c.in[t->n_in];
    int64_t shape[4], n = 1;
    int i = t->n_in, dtype = dtype_of(op, o, i);
    for (int k = 0; k < o->n; k++) n *= shape[k] = length(z, o->v[k]);
    t->bytes[i] = (size_t)n * (size_t)chx_dtype_size(dtype);
    t->data[i] = malloc(t->bytes[i]);
    t->room[i] = calloc(1, t->bytes[i]);
    if (!t->data[i] || !t->room[i]) return false;
    fill(t->data[i], dtype, n, length(z, o->below));
    t->x[i] = chx_from_host(t->dev, dtype, (int)o->n, shape, t->data[i]);
    t->host_x[i] = chx_from_host(t->native, dtype, (int)o->n, shape, t->data[i]);
  }
  if (chx_apply(t->dev, op, (const chx_array *const *)t->x, t->n_in, t->p, t->w, t->n_out)) return false;
  for (int o = 0; o < t->n_out; o++)
    if (t->w[o]) t->w[o] = chx_copy(t->dev, t->w[o]);
  chx_sync(t->dev);
  return !chx_scope_error(t->dev) && !chx_scope_error(t->native);
}

/* The operands are written anew, so that the device's copy alone is valid, as after a kernel. */
static void refresh(subject *t)
{
  for (int i = 0; i < t->n_in; i++) chx_write(t->dev, t->x[i], t->data[i], t->bytes[i]);
  chx_sync(t->dev);
}

/* A kernel of the device's own on the first element: all of y must be there for it. */
static void touch(chx_scope *s, const chx_array *y)
{
  for (int k = 0; k < chx_ndim(y); k++) y = chx_slice_axis(s, y, k, 0, 1, 1);
  if (y) chx_copy(s, y);
}

static double by_fallback(subject *t)
{
  chx_array *y[MOST_OUT] = {NULL};
  size_t mark = chx_scope_mark(t->dev);
  refresh(t);
  double t0 = now_us();
  chx_apply(t->dev, t->op, (const chx_array *const *)t->x, t->n_in, t->p, y, t->n_out);
  for (int o = 0; o < t->n_out; o++)
    if (y[o]) touch(t->dev, y[o]);
  chx_sync(t->dev);
  double took = now_us() - t0;
  chx_scope_rewind(t->dev, mark, NULL);
  return took;
}

static double by_hand(subject *t)
{
  chx_array *y[MOST_OUT] = {NULL};
  size_t mark = chx_scope_mark(t->dev), native = chx_scope_mark(t->native);
  refresh(t);
  double t0 = now_us();
  for (int i = 0; !t->mapped && i < t->n_in; i++) chx_read(t->dev, t->x[i], t->room[i], t->bytes[i]);
  chx_apply(t->native, t->op, (const chx_array *const *)t->host_x, t->n_in, t->p, y, t->n_out);
  for (int o = 0; o < t->n_out; o++)
    if (y[o]) touch(t->dev, t->mapped ? t->w[o] : chx_to(t->dev, y[o], chx_scope_device(t->dev)));
  chx_sync(t->dev);
  double took = now_us() - t0;
  chx_scope_rewind(t->dev, mark, NULL);
  chx_scope_rewind(t->native, native, NULL);
  return took;
}

static void finish(subject *t)
{
  for (int i = 0; i < MOST_IN; i++) free(t->data[i]), free(t->room[i]);
  chx_scope_end(t->dev);
  chx_scope_end(t->native);
}

/* ---- figures ----------------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double quantile(double *v, int n, double q)
{
  qsort(v, (size_t)n, sizeof *v, by_value);
  return v[(int)(q * (n - 1) + 0.5)];
}

typedef struct figure {
  const char *op;
  double above, least, fallback, hand; /* difference of medians, of minima; the medians */
} figure;

static bool measure(figure *f, const chx_op *op, const char *device, const struct size *z, int rounds, bool mapped)
{
  static double a[MOST_ROUNDS], b[MOST_ROUNDS];
  subject t = {.dev = chx_scope_begin(device), .native = chx_scope_begin("native:0"), .mapped = mapped};
  bool good = prepare(&t, op, z);
  for (int r = -2; good && r < rounds; r++) {
    double fallback = by_fallback(&t), hand = by_hand(&t);
    if (r >= 0) a[r] = fallback, b[r] = hand;
    good = !chx_scope_error(t.dev) && !chx_scope_error(t.native);
  }
  if (good) {
    f->op = chx_op_name(op);
    f->fallback = quantile(a, rounds, 0.5), f->hand = quantile(b, rounds, 0.5);
    f->above = f->fallback - f->hand;
    f->least = a[0] - b[0]; /* sorted by now */
  } else
    fprintf(stderr, "%s on %s: %s%s\n", chx_op_name(op), device, chx_scope_message(t.dev), chx_scope_message(t.native));
  finish(&t);
  return good;
}

static bool force(const char *op, const char *route)
{
  chx_scope *s = chx_scope_begin("native:0");
  bool good = !chx_set_route(s, op, route);
  chx_scope_end(s);
  return good;
}

/* Whether the device's memory can be used by native as it is. */
static bool is_mappable(const char *device)
{
  chx_scope *s = chx_scope_begin(device);
  char why[200];
  force("tanh", "mapped");
  bool yes = chx_explain(s, chx_op_find("tanh"), device, CHX_F32, why, sizeof why) == CHX_ROUTE_MAPPED;
  force("tanh", NULL);
  chx_scope_end(s);
  return yes;
}

/* A kernel on one element, and the wait for it. */
static double launch_us(const char *device)
{
  double v[101];
  chx_scope *s = chx_scope_begin(device);
  chx_array *x = chx_full(s, CHX_F32, 1, (int64_t[]){1}, 1);
  for (int i = -20; i < 101; i++) {
    size_t mark = chx_scope_mark(s);
    double t0 = now_us();
    chx_mul(s, x, x);
    chx_sync(s);
    if (i >= 0) v[i] = now_us() - t0;
    chx_scope_rewind(s, mark, NULL);
  }
  chx_scope_end(s);
  return quantile(v, 101, 0.5);
}

static int by_above(const void *a, const void *b)
{
  double x = ((const figure *)a)->above, y = ((const figure *)b)->above;
  return (x < y) - (x > y);
}

static bool report(const char *device, const char *route, const struct size *z, figure *f, int n, double goal, bool verbose)
{
  double above[MOST_OPS], least[MOST_OPS], hand[MOST_OPS];
  int inside = 0;
  for (int i = 0; i < n; i++) above[i] = f[i].above, least[i] = f[i].least, hand[i] = f[i].hand, inside += f[i].above <= goal;
  double median = quantile(above, n, 0.5);
  qsort(f, (size_t)n, sizeof *f, by_above);
  printf("| %s | %s | %s | %d | %.1f | %.1f | %.1f | %.1f: %s | %d | %s %.1f, %s %.1f |\n", device, route, z->name, n,
         quantile(hand, n, 0.5), median, quantile(least, n, 0.5), goal, median <= goal ? "holds" : "MISSED", inside, f[0].op,
         f[0].above, f[n > 1].op, f[n > 1].above);
  for (int i = 0; verbose && i < n; i++)
    printf("# %-24s %10.1f %10.1f above %8.1f, least %8.1f\n", f[i].op, f[i].fallback, f[i].hand, f[i].above, f[i].least);
  fflush(stdout);
  return median <= goal;
}

typedef struct options {
  int rounds;     /* 0: those of the size */
  bool verbose;   /* a line for each operator */
  const char *op; /* NULL: all */
} options;

static bool run(const char *device, bool mapped, const options *p)
{
  static figure f[MOST_OPS];
  bool good = true;
  double goal = mapped ? 2 * launch_us(device) : 10;
  if (!mapped && !strncmp(device, "opencl", 6)) goal = fmax(goal, 2 * launch_us(device));
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    const struct size *z = &sizes[i];
    int n = 0;
    for (int k = 0; k < chx_op_count() && n < MOST_OPS; k++) {
      const chx_op *op = chx_op_at(k);
      if (!is_measured(op) || (p->op && strcmp(p->op, chx_op_name(op)))) continue;
      if (!force(chx_op_name(op), mapped ? "mapped" : "staged")) continue;
      n += measure(&f[n], op, device, z, p->rounds ? p->rounds : z->rounds, mapped);
      force(chx_op_name(op), NULL);
    }
    if (n) good &= report(device, mapped ? "mapped" : "staged", z, f, n, goal, p->verbose);
  }
  return good;
}

/* ---- policies ---------------------------------------------------------------------------------------------------------- */

static double add_ns(chx_scope *s, const chx_array *x)
{
  enum { CALLS = 200 };
  size_t mark = chx_scope_mark(s);
  double t0 = now_us();
  for (int i = 0; i < CALLS; i++) {
    chx_add(s, x, x);
    chx_scope_rewind(s, mark, NULL);
  }
  chx_sync(s);
  return (now_us() - t0) * 1e3 / CALLS;
}

static bool policies(const char *device)
{
  enum { ROUNDS = 201 };
  static double allow[ROUNDS], deny[ROUNDS];
  chx_scope *s = chx_scope_begin(device);
  chx_array *x = chx_full(s, CHX_F32, 1, (int64_t[]){1000}, 1);
  for (int r = -5; r < ROUNDS; r++) {
    chx_scope_set_fallback(s, CHX_FALLBACK_ALLOW);
    double a = add_ns(s, x);
    chx_scope_set_fallback(s, CHX_FALLBACK_DENY);
    double d = add_ns(s, x);
    if (r >= 0) allow[r] = a, deny[r] = d;
  }
  bool good = !chx_scope_error(s);
  if (!good) fprintf(stderr, "add on %s: %s\n", device, chx_scope_message(s));
  double a = quantile(allow, ROUNDS, 0.5), d = quantile(deny, ROUNDS, 0.5);
  double spread = quantile(allow, ROUNDS, 0.75) - quantile(allow, ROUNDS, 0.25);
  good &= fabs(a - d) < spread;
  printf("| %s | %.1f | %.1f | %.1f | %.1f: %s |\n", device, a, d, fabs(a - d), spread, good ? "holds" : "MISSED");
  chx_scope_end(s);
  return good;
}

static bool is_there(const char *device)
{
  chx_scope *s = chx_scope_begin(device);
  bool yes = !chx_scope_error(s);
  if (!yes) fprintf(stderr, "%s is left out: %s\n", device, chx_scope_message(s));
  chx_scope_end(s);
  return yes;
}

static int usage(void)
{
  fputs("usage: bench/fallback [-v] [-r ROUNDS] [-o OPERATOR] [DEVICE...]\n", stderr);
  return 2;
}

int main(int argc, char **argv)
{
  const char *all[] = {"sim:0", "sample:0", "opencl:0"}, **devices = all;
  options p = {0};
  bool good = true;
  int n = 3, c;
  while ((c = getopt(argc, argv, "vr:o:")) != -1)
    if (c == 'v') p.verbose = true;
    else if (c == 'o') p.op = optarg;
    else if (c != 'r' || (p.rounds = atoi(optarg)) < 1 || p.rounds > MOST_ROUNDS) return usage();
  if (optind < argc) devices = (const char **)argv + optind, n = argc - optind;
  printf("| device | route | elements | operators | by hand, us | above, us | of minima | goal | operators inside | most |\n"
         "|---|---|---|---|---|---|---|---|---|---|\n");
  for (int i = 0; i < n; i++) {
    if (!is_there(devices[i])) continue;
    if (is_mappable(devices[i])) good &= run(devices[i], true, &p);
    good &= run(devices[i], false, &p);
  }
  printf("\n| device | add, allow, ns | deny | apart | spread |\n|---|---|---|---|---|\n");
  good &= policies("native:0");
  for (int i = 0; i < n; i++)
    if (is_there(devices[i])) good &= policies(devices[i]);
  return !good;
}
