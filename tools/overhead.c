/* SPDX-License-Identifier: MIT
 * overhead.c: the cases and their loops.
 */
#include "overhead.h"
#include <chx/nn.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

enum { N_CASES = 11, SAMPLE_NS = 1000000 };

struct overhead {
  chx_scope *s;
  chx_array *v, *gv, *m, *gm; /* [4] and [4, 4]; gv, gm require a gradient */
  chx_array *x, *t;           /* a batch */
  chx_link *mlp;
  chx_optimizer *sgd;
  int calls[N_CASES];         /* of one sample */
};

typedef void (*loop_fn)(overhead *o, int n);

/* A loop of its own for each case: nothing but the call is between the two clock readings. */
#define LOOP(name, call) \
  static void name(overhead *o, int n) \
  { \
    chx_scope *s = o->s; \
    for (int i = 0; i < n; i++) { \
      size_t mark = chx_scope_mark(s); \
      call; \
      chx_scope_rewind(s, mark, NULL); \
    } \
  }

static const int64_t two_by_two[] = {2, 2};

LOOP(add, chx_add(s, o->v, o->v))
LOOP(add_recorded, chx_add(s, o->gv, o->v))
LOOP(tanh_plain, chx_tanh(s, o->v))
LOOP(tanh_recorded, chx_tanh(s, o->gv))
LOOP(matmul, chx_matmul(s, o->m, o->m))
LOOP(matmul_recorded, chx_matmul(s, o->gm, o->m))
LOOP(sum, chx_sum(s, o->v, 0, NULL, 0))
LOOP(sum_recorded, chx_sum(s, o->gv, 0, NULL, 0))
LOOP(reshape, chx_reshape(s, o->v, 2, two_by_two))
LOOP(reshape_recorded, chx_reshape(s, o->gv, 2, two_by_two))

static chx_array *loss(void *ctx, chx_scope *s)
{
  overhead *o = ctx;

  return chx_softmax_cross_entropy(s, chx_link_call(s, o->mlp, o->x), o->t);
}

LOOP(mlp_step, chx_optimizer_update_with(s, o->sgd, loss, o, NULL))

static const struct {
  const char *op;
  int recorded;
  loop_fn loop;
} cases[N_CASES] = {
  {"add", 0, add},         {"add", 1, add_recorded},         {"tanh", 0, tanh_plain},
  {"tanh", 1, tanh_recorded}, {"matmul", 0, matmul},         {"matmul", 1, matmul_recorded},
  {"sum", 0, sum},         {"sum", 1, sum_recorded},         {"reshape", 0, reshape},
  {"reshape", 1, reshape_recorded}, {"mlp_step", 1, mlp_step},
};

int overhead_count(void)
{
  return N_CASES;
}

const char *overhead_op(int i)
{
  return cases[i].op;
}

int overhead_recorded(int i)
{
  return cases[i].recorded;
}

static double now_ns(void)
{
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The time of n calls, with the wait for a device that runs behind. */
static double run_ns(overhead *o, int i, int n)
{
  double start = now_ns();

  cases[i].loop(o, n);
  chx_sync(o->s);
  return now_ns() - start;
}

/* Kept arrays outlive the marks of the loops. */
static chx_array *made(chx_scope *s, chx_array *a, int needs_grad)
{
  if (needs_grad)
    chx_require_grad(s, a);
  return a ? chx_keep(a) : NULL;
}

static void make_operands(overhead *o)
{
  static const float numbers[16] = {0.5f, -1, 0.25f, 2, 1, 0, -0.5f, 0.75f, 0.1f, 0.2f, -0.3f, 0.4f, 1, -1, 1, -1};
  static const int64_t shape[] = {4, 4}, batch[] = {32, 64};
  chx_scope *s = o->s;
  size_t mark = chx_scope_mark(s);
  int64_t labels[32];

  for (int i = 0; i < 32; i++)
    labels[i] = i % 10;
  o->v = made(s, chx_from_host(s, CHX_F32, 1, shape, numbers), 0);
  o->gv = made(s, chx_from_host(s, CHX_F32, 1, shape, numbers), 1);
  o->m = made(s, chx_from_host(s, CHX_F32, 2, shape, numbers), 0);
  o->gm = made(s, chx_from_host(s, CHX_F32, 2, shape, numbers), 1);
  o->x = made(s, chx_normal(s, CHX_F32, 2, batch, 0, 1), 0);
  o->t = made(s, chx_from_host(s, CHX_I64, 1, batch, labels), 0);
  o->mlp = chx_link_sequential(s);
  chx_link_add(s, o->mlp, "l1", chx_link_linear(s, 64, 32, NULL));
  chx_link_add(s, o->mlp, "relu", chx_link_function(s, "relu", chx_relu));
  chx_link_add(s, o->mlp, "l2", chx_link_linear(s, 32, 10, NULL));
  o->sgd = chx_optimizer_sgd(s, 0.01);
  chx_optimizer_setup(s, o->sgd, o->mlp);
  chx_scope_rewind(s, mark, NULL);
}

overhead *overhead_new(chx_scope *s)
{
  overhead *o = calloc(1, sizeof *o);

  if (!o) {
    chx_scope_fail(s, CHX_ENOMEM, "overhead: out of memory");
    return NULL;
  }
  o->s = s;
  make_operands(o);
  for (int i = 0; i < N_CASES && !chx_scope_error(s); i++) {
    double ns = 0;
    int n = 16;
    run_ns(o, i, n); /* routes, free lists */
    for (; ns < SAMPLE_NS / 4 && n < 1 << 20; n *= 2)
      ns = run_ns(o, i, n);
    o->calls[i] = 1 + (int)(SAMPLE_NS / (ns / (n / 2)));
  }
  if (chx_scope_error(s)) {
    overhead_free(o);
    return NULL;
  }
  return o;
}

void overhead_free(overhead *o)
{
  if (!o)
    return;
  chx_optimizer_free(o->sgd);
  chx_link_free(o->mlp);
  chx_release(o->v);
  chx_release(o->gv);
  chx_release(o->m);
  chx_release(o->gm);
  chx_release(o->x);
  chx_release(o->t);
  free(o);
}

double overhead_sample(overhead *o, int i)
{
  double ns = run_ns(o, i, o->calls[i]) / o->calls[i];

  return chx_scope_error(o->s) ? NAN : ns;
}

static int by_value(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;

  return (x > y) - (x < y);
}

double overhead_quantile(double *v, int n, double q)
{
  double at = q * (n - 1);
  int i = (int)at;

  qsort(v, (size_t)n, sizeof *v, by_value);
  return i + 1 < n ? v[i] + (at - i) * (v[i + 1] - v[i]) : v[n - 1];
}
