/* SPDX-License-Identifier: MIT
 * use.c: group C8: small models trained on the judged device and on native, whose losses must agree; both devices from
 * several threads at once; and a soak, in which memory must not grow.
 */
#include "cases.h"
#include "watch.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { STEPS = 40, SOAK = 400, SETTLED = 100, WINDOW = 20, HELD = 5, MOST_PARAMS = 6, BATCH = 32, CLASSES = 5 };
static const double loss_tolerance = 1e-3; /* of 1 + the loss, over all steps: rounding grows while a model learns */

typedef struct model {
  const char *name;
  case_operand x, p[MOST_PARAMS]; /* the input, the parameters */
  int n_p, steps;
  chx_array *(*scores)(chx_scope *s, const chx_array *x, chx_array *const *p);
  double rate;
} model;

/* ---- models ---------------------------------------------------------------------------------------------------------------- */

static chx_array *mlp(chx_scope *s, const chx_array *x, chx_array *const *p)
{
  return chx_linear(s, chx_relu(s, chx_linear(s, x, p[0], p[1])), p[2], p[3]);
}

static chx_array *convnet(chx_scope *s, const chx_array *x, chx_array *const *p)
{
  chx_conv_attr conv = CHX_ATTR(conv);
  chx_pool_attr pool = CHX_ATTR(pool);
  conv.pad = CHX_INTS(1, 1);
  pool.ksize = CHX_INTS(2, 2);
  chx_array *h = chx_max_pool(s, chx_relu(s, chx_conv(s, x, p[0], p[1], &conv)), &pool, NULL);
  return chx_linear(s, chx_reshape(s, h, 2, (int64_t[]){BATCH, -1}), p[2], p[3]);
}

static chx_array *rnn(chx_scope *s, const chx_array *x, chx_array *const *p)
{
  chx_array *h = NULL;
  for (int t = 0; t < 5; t++) {
    chx_array *in = chx_linear(s, chx_at(s, x, 1, t), p[0], p[1]);
    h = chx_tanh(s, h ? chx_add(s, in, chx_linear(s, h, p[2], NULL)) : in);
  }
  return chx_linear(s, h, p[3], p[4]);
}

#define OF(scale, ...) {sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), {__VA_ARGS__}, -(scale), scale, 0}
static const model models[] = {
  {"an MLP", OF(2, BATCH, 12), {OF(0.4, 24, 12), OF(0.2, 24), OF(0.3, CLASSES, 24), OF(0.2, CLASSES)}, 4, STEPS, mlp, 0.2},
  {"a convnet", OF(2, BATCH, 2, 8, 8),
   {OF(0.3, 6, 2, 3, 3), OF(0.2, 6), OF(0.15, CLASSES, 96), OF(0.2, CLASSES)}, 4, STEPS, convnet, 0.05},
  {"an RNN", OF(2, BATCH, 5, 7), {OF(0.4, 16, 7), OF(0.2, 16), OF(0.3, 16, 16), OF(0.3, CLASSES, 16), OF(0.2, CLASSES)}, 5,
   STEPS, rnn, 0.1},
};

/* ---- training -------------------------------------------------------------------------------------------------------------- */

typedef struct training {
  const model *m;
  const char *device;
  uint64_t seed;
  int steps;
  double loss[SOAK];
  chx_status error;
  char text[400];
  void (*after)(struct training *t, chx_scope *s, int step); /* NULL: nothing */
  struct held { int64_t of[HELD]; } then, now; /* bytes: the most around step SETTLED, the least of the last steps */
} training;

static const char *const held_names[HELD] = {
  "live arrays on the device", "held from the backend", "asked of the plugin and not given back", "live arrays on native:0",
  "held from native"};

static chx_array *made(chx_scope *s, case_random *r, const case_operand *x)
{
  double v[BATCH * 256];
  int64_t n = 1;
  for (int i = 0; i < x->ndim; i++) n *= x->shape[i];
  for (int64_t k = 0; k < n; k++) v[k] = x->kind ? (double)(case_bits(r) % CLASSES) : case_uniform(r, x->low, x->high);
  char device[64];
  snprintf(device, sizeof device, "%s", chx_scope_device(s));
  chx_scope_set_device(s, "native:0");
  chx_array *a = chx_cast(s, chx_from_host(s, CHX_F64, x->ndim, x->shape, v), x->kind ? CHX_I64 : CHX_F32);
  chx_scope_set_device(s, device);
  return chx_to(s, a, device);
}

static double step(chx_scope *s, const training *t, const chx_array *x, const chx_array *y, chx_array **p)
{
  const model *m = t->m;
  chx_array *g[MOST_PARAMS] = {NULL};
  for (int i = 0; i < m->n_p; i++) chx_require_grad(s, p[i]);
  chx_array *loss = chx_softmax_cross_entropy(s, m->scores(s, x, p), y);
  chx_grad(s, (const chx_array *const *)&loss, 1, (const chx_array *const *)p, m->n_p, NULL, 0, 0, g);
  int mode = chx_scope_set_grad(s, CHX_GRAD_OFF);
  for (int i = 0; i < m->n_p; i++) p[i] = chx_sub(s, p[i], chx_mul(s, g[i], chx_real(s, m->rate)));
  chx_scope_set_grad(s, mode);
  return chx_item(s, loss);
}

static void *train(void *arg)
{
  training *t = arg;
  case_random r = {t->seed};
  const model *m = t->m;
  chx_scope *s = chx_scope_begin(t->device);
  chx_array *x = made(s, &r, &m->x), *p[MOST_PARAMS] = {NULL};
  chx_array *y = made(s, &r, &(case_operand){1, {BATCH}, 0, 0, 'I'});
  for (int i = 0; i < m->n_p; i++) p[i] = made(s, &r, &m->p[i]);
  size_t mark = chx_scope_mark(s);
  for (int k = 0; k < t->steps && !chx_scope_error(s); k++) {
    t->loss[k] = step(s, t, x, y, p);
    chx_scope_rewind_all(s, mark, p, m->n_p);
    if (t->after) t->after(t, s, k);
  }
  t->error = chx_scope_error(s);
  snprintf(t->text, sizeof t->text, "%s", chx_scope_message(s));
  chx_scope_end(s);
  return NULL;
}

static bool same_curve(conform *c, const training *t, const training *native)
{
  if (!conform_check(c, !t->error, "%s on %s: %s", t->m->name, t->device, t->text)) return false;
  for (int k = 0; k < t->steps; k++)
    if (!conform_check(c, fabs(t->loss[k] - native->loss[k]) <= loss_tolerance * (1 + fabs(native->loss[k])),
                       "%s, step %d of %d: the loss is %.7g, native's %.7g, allowed %.0e of 1 + it", t->m->name, k, t->steps,
                       t->loss[k], native->loss[k], loss_tolerance))
      return false;
  return true;
}

static bool opened(conform *c)
{
  char why[600];
  return conform_check(c, watch_open(c, why, sizeof why), "%s", why);
}

static void check_watched(conform *c)
{
  const char *broken = watch_broken();
  conform_check(c, !broken, "%s", broken ? broken : "");
}

static void curve(conform *c, void *arg)
{
  const model *m = arg;
  if (!opened(c)) return;
  training t = {.m = m, .device = WATCH_DEVICE, .seed = case_key(c->seed, m->name), .steps = m->steps}, native = t;
  native.device = "native:0";
  train(&native);
  train(&t);
  conform_check(c, !native.error, "on native: %s", native.text);
  double first = native.loss[0], last = native.loss[m->steps - 1];
  conform_check(c, last < 0.9 * first, "%s does not learn on native: %g to %g", m->name, first, last);
  same_curve(c, &t, &native);
  check_watched(c);
  conform_note(c, "loss %.4f to %.4f in %d steps", t.loss[0], t.loss[m->steps - 1], m->steps);
}

/* Two threads on each of two devices. */
static void threads(conform *c, void *arg)
{
  static training alone[2], t[4];
  pthread_t id[4];
  bool started[4];
  (void)arg;
  if (!opened(c)) return;
  for (int i = 0; i < 2; i++) {
    alone[i] = (training){.m = &models[i], .device = "native:0", .seed = case_key(c->seed, models[i].name), .steps = STEPS};
    train(&alone[i]);
  }
  for (int i = 0; i < 4; i++) {
    t[i] = alone[i & 1];
    t[i].device = i < 2 ? "native:0" : WATCH_DEVICE;
    memset(t[i].loss, 0, sizeof t[i].loss);
    started[i] = conform_check(c, !pthread_create(&id[i], NULL, train, &t[i]), "thread %d could not be started", i);
  }
  for (int i = 0; i < 4; i++)
    if (started[i]) pthread_join(id[i], NULL);
  for (int i = 0; i < 4; i++)
    if (started[i]) same_curve(c, &t[i], &alone[i & 1]);
  check_watched(c);
}

/* What is held differs by a few bytes from one step to the next, as a mapping is still open or not: so the most of some
 * steps is compared with the least of the last ones. */
static void look(training *t, chx_scope *s, int step_number)
{
  chx_memory_stats dev, host;
  bool first = step_number <= SETTLED;
  if (step_number < (first ? SETTLED : t->steps) - WINDOW) return;
  chx_sync(s);
  chx_memory_stats_of(s, t->device, &dev);
  chx_memory_stats_of(s, "native:0", &host);
  const int64_t held[HELD] = {(int64_t)dev.used, (int64_t)dev.reserved, watch_live_bytes(), (int64_t)host.used,
                              (int64_t)host.reserved};
  for (int i = 0; i < HELD; i++) {
    int64_t *then = &t->then.of[i], *now = &t->now.of[i];
    if (first) *then = held[i] > *then ? held[i] : *then;
    else if (step_number == t->steps - WINDOW || held[i] < *now) *now = held[i];
  }
}

static void soak(conform *c, void *arg)
{
  static training t;
  (void)arg;
  if (!opened(c)) return;
  t = (training){.m = &models[0], .device = WATCH_DEVICE, .seed = c->seed, .steps = SOAK, .after = look};
  train(&t);
  if (!conform_check(c, !t.error, "%s", t.text)) return;
  for (int i = 0; i < HELD; i++)
    conform_check(c, t.now.of[i] <= t.then.of[i], "%s: %lld bytes around step %d, %lld around step %d, want no growth", held_names[i],
                  (long long)t.then.of[i], SETTLED, (long long)t.now.of[i], SOAK);
  check_watched(c);
  conform_note(c, "%d steps, %lld bytes live, %lld held, loss %.4f to %.4f", SOAK, (long long)t.now.of[0],
               (long long)t.now.of[1], t.loss[0], t.loss[SOAK - 1]);
}

void conform_use_cases(conform *c, conform_list *l)
{
  static const char *const names[] = {"an MLP learns as on native", "a convnet learns as on native",
                                      "an RNN learns as on native"};
  (void)c;
  for (int i = 0; i < 3; i++) conform_add(l, "C8", names[i], curve, (void *)&models[i]);
  conform_add(l, "C8", "two devices, two threads on each", threads, NULL);
  conform_add(l, "C8", "a soak with flat memory", soak, NULL);
}
