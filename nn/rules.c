/* SPDX-License-Identifier: MIT
 * rules.c: the update rules. Each new value is one map program, so one pass over memory and one operator call.
 */
#include "internal.h"
#include <math.h>

/* Operand numbers stand before the steps: step k of a program with n operands is value n + k. */
#define STEP(op, ...) {op, __VA_ARGS__}

/* ---- SGD ------------------------------------------------------------------------------------------------------------------ */

static int sgd_scalars(const double *h, int64_t t, double *v)
{
  (void)t;
  v[0] = h[0];
  return 1;
}

static chx_array *sgd_step(chx_scope *s, const chx_array *x, const chx_array *g, chx_array *const *k,
                           chx_array *const *state, chx_array **next)
{
  enum { X, G, LR };
  static const chx_program p = {2, {STEP("mul", LR, G, 0, 0), STEP("sub", X, 3, 0, 0)}};

  (void)state, (void)next;
  return chx_map(s, (const chx_array *[]){x, g, k[0]}, 3, &p);
}

static const chx_optimizer_class sgd = {
  .size = sizeof sgd, .name = "SGD", .n_hyper = 1, .hyper = {"lr"}, .scalars = sgd_scalars, .step = sgd_step};

chx_optimizer *chx_optimizer_sgd(chx_scope *s, double lr) { return chx_optimizer_new(s, &sgd, &lr); }

/* ---- momentum SGD ----------------------------------------------------------------------------------------------------------- */

static int momentum_scalars(const double *h, int64_t t, double *v)
{
  (void)t;
  v[0] = h[0];
  v[1] = h[1];
  return 2;
}

static chx_array *momentum_step(chx_scope *s, const chx_array *x, const chx_array *g, chx_array *const *k,
                                chx_array *const *state, chx_array **next)
{
  enum { V, G, LR, MOMENTUM };
  static const chx_program p = {3, {STEP("mul", MOMENTUM, V, 0, 0), STEP("mul", LR, G, 0, 0), STEP("sub", 4, 5, 0, 0)}};

  next[0] = chx_map(s, (const chx_array *[]){state[0], g, k[0], k[1]}, 4, &p);
  return chx_add(s, x, next[0]);
}

static const chx_optimizer_class momentum_sgd = {.size = sizeof momentum_sgd,
                                                 .name = "MomentumSGD",
                                                 .n_hyper = 2,
                                                 .n_states = 1,
                                                 .hyper = {"lr", "momentum"},
                                                 .state = {"v"},
                                                 .scalars = momentum_scalars,
                                                 .step = momentum_step};

chx_optimizer *chx_optimizer_momentum_sgd(chx_scope *s, double lr, double momentum)
{
  return chx_optimizer_new(s, &momentum_sgd, (double[]){lr, momentum});
}

/* ---- Adam, AdamW ------------------------------------------------------------------------------------------------------------ */

enum { ALPHA_T, ONE_MINUS_BETA1, ONE_MINUS_BETA2, EPS, RATE };

static int adam_scalars(const double *h, int64_t t, double *v)
{
  v[ALPHA_T] = h[0] * sqrt(1 - pow(h[2], (double)t)) / (1 - pow(h[1], (double)t));
  v[ONE_MINUS_BETA1] = 1 - h[1];
  v[ONE_MINUS_BETA2] = 1 - h[2];
  v[EPS] = h[3];
  return 4;
}

static int adamw_scalars(const double *h, int64_t t, double *v)
{
  adam_scalars(h, t, v);
  v[RATE] = h[4];
  return 5;
}

static void moments(chx_scope *s, const chx_array *g, chx_array *const *k, chx_array *const *state, chx_array **next)
{
  enum { OLD, G, BETA };
  static const chx_program m = {3, {STEP("sub", G, OLD, 0, 0), STEP("mul", BETA, 3, 0, 0), STEP("add", OLD, 4, 0, 0)}};
  static const chx_program v = {
    4, {STEP("mul", G, G, 0, 0), STEP("sub", 3, OLD, 0, 0), STEP("mul", BETA, 4, 0, 0), STEP("add", OLD, 5, 0, 0)}};

  next[0] = chx_map(s, (const chx_array *[]){state[0], g, k[ONE_MINUS_BETA1]}, 3, &m);
  next[1] = chx_map(s, (const chx_array *[]){state[1], g, k[ONE_MINUS_BETA2]}, 3, &v);
}

static chx_array *adam_step(chx_scope *s, const chx_array *x, const chx_array *g, chx_array *const *k,
                            chx_array *const *state, chx_array **next)
{
  enum { X, M, V, A, E };
  static const chx_program p = {5, {STEP("sqrt", V, 0, 0, 0), STEP("add", 5, E, 0, 0), STEP("mul", A, M, 0, 0),
                                    STEP("div", 7, 6, 0, 0), STEP("sub", X, 8, 0, 0)}};

  moments(s, g, k, state, next);
  return chx_map(s, (const chx_array *[]){x, next[0], next[1], k[ALPHA_T], k[EPS]}, 5, &p);
}

static chx_array *adamw_step(chx_scope *s, const chx_array *x, const chx_array *g, chx_array *const *k,
                             chx_array *const *state, chx_array **next)
{
  enum { X, M, V, A, E, R };
  static const chx_program p = {7, {STEP("sqrt", V, 0, 0, 0), STEP("add", 6, E, 0, 0), STEP("mul", A, M, 0, 0),
                                    STEP("div", 8, 7, 0, 0), STEP("mul", R, X, 0, 0), STEP("add", 9, 10, 0, 0),
                                    STEP("sub", X, 11, 0, 0)}};

  moments(s, g, k, state, next);
  return chx_map(s, (const chx_array *[]){x, next[0], next[1], k[ALPHA_T], k[EPS], k[RATE]}, 6, &p);
}

static const chx_optimizer_class adam = {.size = sizeof adam,
                                         .name = "Adam",
                                         .n_hyper = 4,
                                         .n_states = 2,
                                         .hyper = {"alpha", "beta1", "beta2", "eps"},
                                         .state = {"m", "v"},
                                         .scalars = adam_scalars,
                                         .step = adam_step};
static const chx_optimizer_class adamw = {.size = sizeof adamw,
                                          .name = "AdamW",
                                          .n_hyper = 5,
                                          .n_states = 2,
                                          .hyper = {"alpha", "beta1", "beta2", "eps", "weight_decay_rate"},
                                          .state = {"m", "v"},
                                          .scalars = adamw_scalars,
                                          .step = adamw_step};

chx_optimizer *chx_optimizer_adam(chx_scope *s, double alpha, double beta1, double beta2, double eps)
{
  return chx_optimizer_new(s, &adam, (double[]){alpha, beta1, beta2, eps});
}

chx_optimizer *chx_optimizer_adamw(chx_scope *s, double alpha, double beta1, double beta2, double eps, double rate)
{
  return chx_optimizer_new(s, &adamw, (double[]){alpha, beta1, beta2, eps, rate});
}

chx_optimizer *chx_optimizer_by_name(chx_scope *s, const char *name, double lr)
{
  if (!nn_need(s, name, "chx_optimizer_by_name", "name")) return NULL;
  if (!(lr >= 0)) {
    chx_scope_fail(s, CHX_EARG, "chx_optimizer_by_name: learning rate %g, want 0 (the default) or more", lr);
    return NULL;
  }
  if (!strcmp(name, "sgd")) return chx_optimizer_sgd(s, lr > 0 ? lr : 0.01);
  if (!strcmp(name, "momentum")) return chx_optimizer_momentum_sgd(s, lr > 0 ? lr : 0.01, 0.9);
  if (!strcmp(name, "adam")) return chx_optimizer_adam(s, lr > 0 ? lr : 1e-3, 0.9, 0.999, 1e-8);
  if (!strcmp(name, "adamw")) return chx_optimizer_adamw(s, lr > 0 ? lr : 1e-3, 0.9, 0.999, 1e-8, 1e-5);
  chx_scope_fail(s, CHX_EARG, "chx_optimizer_by_name: there is no optimizer '%s', want sgd, momentum, adam or adamw",
                 name);
  return NULL;
}
