/* SPDX-License-Identifier: MIT
 * test_nn_optimizers.c: update rules against their formulas in double precision, hooks, the protocol, and updates that fail.
 */
#include "check.h"
#include <chx/nn.h>

enum { N = 3, STEPS = 4 };
static const double x0[N] = {1, -2, 0.5};

/* A link with one f64 parameter "x" whose loss is sum(x^3) / 3, so that its gradient is x^2. */
static chx_array *cube_forward(chx_scope *s, chx_link *l, const chx_array *x)
{
  chx_array *p = chx_link_array(s, l, "x");
  return chx_mul(s, chx_sum(s, chx_mul(s, p, chx_square(s, p)), 0, NULL, 0), x);
}
static const chx_link_class cube_class = {.size = sizeof cube_class, .name = "Cube", .forward = cube_forward};

static chx_array *given(chx_scope *s, const chx_nn_init *self, int dtype, int ndim, const int64_t *shape)
{
  return chx_from_shape(s, dtype, ndim, shape, self->ctx);
}

static chx_link *cube(chx_scope *s)
{
  chx_nn_init init = {.fn = given, .ctx = x0};
  chx_link *l = chx_link_new(s, &cube_class);
  chx_link_add_param(s, l, "x", CHX_F64, 1, (int64_t[]){N}, &init);
  return l;
}

static chx_array *loss(void *link, chx_scope *s)
{
  return chx_link_call(s, link, chx_full(s, CHX_F64, 0, NULL, 1. / 3));
}

typedef void (*rule)(double *x, double g, double *m, double *v, int t);
static void sgd(double *x, double g, double *m, double *v, int t) { (void)m, (void)v, (void)t, *x -= 0.1 * g; }
static void momentum(double *x, double g, double *m, double *v, int t)
{
  (void)m, (void)t;
  *v = 0.9 * *v - 0.1 * g;
  *x += *v;
}
static void adam(double *x, double g, double *m, double *v, int t)
{
  *m += (1 - 0.9) * (g - *m);
  *v += (1 - 0.99) * (g * g - *v);
  *x -= 0.1 * sqrt(1 - pow(0.99, t)) / (1 - pow(0.9, t)) * *m / (sqrt(*v) + 1e-4);
}
static void adamw(double *x, double g, double *m, double *v, int t)
{
  double before = *x;
  adam(x, g, m, v, t);
  *x -= 0.05 * before;
}

static void test_rule(const char *name, rule f, chx_optimizer *(*make)(chx_scope *s), int decay)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_link *l = cube(s);
  chx_optimizer *o = make(s);
  chx_array *array = chx_link_array(s, l, "x"), *y;
  double x[N], m[N] = {0}, v[N] = {0}, before = 0;

  memcpy(x, x0, sizeof x);
  chx_optimizer_setup(s, o, l);
  if (decay) chx_optimizer_add_weight_decay(s, o, 0.2);
  for (int t = 1; t <= STEPS; t++) {
    before = 0;
    for (int i = 0; i < N; i++) {
      before += x[i] * x[i] * x[i] / 3;
      f(&x[i], x[i] * x[i] + (decay ? 0.2 * x[i] : 0), &m[i], &v[i], t);
    }
    chx_optimizer_update_with(s, o, loss, l, &y);
  }
  ok(rel_err(array, x) < 1e-13, "%s%s: %d steps by the formula, error %.1e", name, decay ? " with weight decay" : "", STEPS, rel_err(array, x));
  is_close(chx_item(s, y), before, 1e-12, "%s: the loss is that before the step", name);
  ok(chx_link_array(s, l, "x") == array && chx_optimizer_t(o) == STEPS, "%s: same array, t is %d", name, STEPS);
  ok(!chx_is_grad_required(y, 0), "%s: the loss has no graph", name);
  is_int(chx_scope_error(s), CHX_OK, "%s: no error: %s", name, chx_scope_message(s));
  chx_optimizer_free(o);
  chx_link_free(l);
  chx_scope_end(s);
}

static chx_optimizer *make_sgd(chx_scope *s) { return chx_optimizer_sgd(s, 0.1); }
static chx_optimizer *make_momentum(chx_scope *s) { return chx_optimizer_momentum_sgd(s, 0.1, 0.9); }
static chx_optimizer *make_adam(chx_scope *s) { return chx_optimizer_adam(s, 0.1, 0.9, 0.99, 1e-4); }
static chx_optimizer *make_adamw(chx_scope *s) { return chx_optimizer_adamw(s, 0.1, 0.9, 0.99, 1e-4, 0.05); }

/* ---- hooks ------------------------------------------------------------------------------------------------------------- */

static char order[8];
static chx_status note_call(void *ctx, chx_scope *s, chx_optimizer *o)
{
  (void)s;
  strncat(order, ctx, 1);
  return chx_optimizer_n_grads(o) == 1 ? CHX_OK : CHX_EFAILED;
}
static chx_status refuse(void *ctx, chx_scope *s, chx_optimizer *o)
{
  (void)ctx, (void)o;
  return chx_scope_fail(s, CHX_EFAILED, "refused");
}

static void test_hooks(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_link *l = cube(s);
  chx_optimizer *o = chx_optimizer_sgd(s, 0.1);
  chx_array *x = chx_link_array(s, l, "x");
  double norm = sqrt(1 + 16 + 0.0625), want[N]; /* of the gradient 1, 4, 0.25 */

  chx_optimizer_setup(s, o, l);
  chx_optimizer_add_gradient_clipping(s, o, 2);
  chx_optimizer_update_with(s, o, loss, l, NULL);
  for (int i = 0; i < N; i++) want[i] = x0[i] - 0.1 * x0[i] * x0[i] * 2 / norm;
  ok(rel_err(x, want) < 1e-14, "gradient clipping: scaled to norm 2");
  chx_optimizer_remove_hook(s, o, "GradientClipping");
  chx_copy_into(s, x, chx_detach(s, chx_from(s, CHX_F64, N, x0)));
  is_int(chx_scope_error(s) != CHX_OK, 1, "a leaf is not written to while it is recorded: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_scope_set_grad(s, CHX_GRAD_OFF);
  chx_copy_into(s, x, chx_from(s, CHX_F64, N, x0));
  chx_scope_set_grad(s, CHX_GRAD_ON);
  chx_optimizer_add_gradient_clipping(s, o, 100);
  chx_optimizer_update_with(s, o, loss, l, NULL);
  for (int i = 0; i < N; i++) want[i] = x0[i] - 0.1 * x0[i] * x0[i];
  ok(rel_err(x, want) == 0, "gradient clipping: left as it is below the threshold");

  chx_optimizer_add_hook(s, o, "b", note_call, "b", NULL);
  chx_optimizer_add_hook(s, o, "a", note_call, "a", NULL);
  chx_optimizer_add_hook(s, o, "c", note_call, "c", NULL);
  chx_optimizer_remove_hook(s, o, "a");
  chx_optimizer_update_with(s, o, loss, l, NULL);
  is_str(order, "bc", "hooks run in the order of adding");
  is_int(chx_optimizer_add_hook(s, o, "b", note_call, "b", NULL), CHX_EARG, "%s", chx_scope_message(s));
  chx_scope_clear(s);
  is_int(chx_optimizer_remove_hook(s, o, "a"), CHX_EARG, "%s", chx_scope_message(s));
  chx_scope_clear(s);
  double *was = check_doubles(x);
  chx_optimizer_add_hook(s, o, "d", refuse, NULL, NULL);
  is_int(chx_optimizer_update_with(s, o, loss, l, NULL), CHX_EFAILED, "a failing hook: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(rel_err(x, was) == 0 && chx_optimizer_t(o) == 3, "and nothing was changed");
  free(was);
  chx_optimizer_free(o);
  chx_link_free(l);
  chx_scope_end(s);
}

/* ---- protocol ------------------------------------------------------------------------------------------------------------ */

/* A child is taken out of the target and ends; another, whose memory may well be the same, comes: it has no state. */
static void take_out(chx_scope *s, chx_link *m, chx_optimizer *o)
{
  chx_link *b = chx_link_child(m, 1);
  char path[16];
  chx_param *w;

  chx_link_take_out(b);
  chx_param_path(chx_link_find_param(b, "W"), NULL, path, sizeof path);
  ok(chx_link_n_children(m) == 1 && !chx_link_parent(b) && !strcmp(path, "/W"), "a child that was taken out is a root");
  chx_link_free(b);
  chx_link_add(s, m, "b", chx_link_linear(s, 2, 1, NULL));
  w = chx_link_find_param(m, "b/W");
  ok(!chx_optimizer_state(o, w, "v"), "a new child's parameter has no state of the old one's");
  chx_link_clear_grads(s, m);
  chx_backward(s, chx_sum(s, chx_link_call(s, m, chx_ones(s, CHX_F32, 2, (int64_t[]){1, 2})), 0, NULL, 0));
  is_int(chx_optimizer_update(s, o), CHX_OK, "the optimizer goes on with the tree as it is: %s", chx_scope_message(s));
  ok(chx_optimizer_state(o, w, "v") != NULL, "and the new parameter has a state then");
  ok(!strcmp(chx_optimizer_class_of(o)->state[0], "v") && !chx_optimizer_class_of(NULL), "the class names its states");
}

static void test_protocol(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_link *l = cube(s), *m;
  chx_optimizer *o = chx_optimizer_by_name(s, "adam", 0), *p;
  chx_param *x = chx_link_find_param(l, "x");

  is_int(chx_optimizer_update(s, o), CHX_EARG, "before setup: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_optimizer_setup(s, o, l);
  is_int(chx_optimizer_update(s, o), CHX_EARG, "without a gradient: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(!chx_optimizer_state(o, x, "m"), "no state before the first update");
  chx_backward(s, loss(l, s));
  chx_optimizer_update(s, o);
  chx_optimizer_update(s, o);
  is_int(chx_optimizer_t(o), 2, "update with the gradients that are there, twice");
  double g[N], want[N];
  for (int i = 0; i < N; i++) g[i] = x0[i] * x0[i], want[i] = g[i] * (0.1 + 0.9 * 0.1);
  ok(rel_err(chx_optimizer_state(o, x, "m"), want) < 1e-12, "state m after two equal gradients");
  is_close(chx_optimizer_lr(o), 1e-3, 0, "adam's default learning rate");
  chx_optimizer_set_lr(o, 0.5);
  is_close(chx_optimizer_hyper(o, "alpha"), 0.5, 0, "the learning rate is the first number");
  is_int(chx_optimizer_set_hyper(s, o, "lr", 1), CHX_EARG, "%s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_optimizer_new_epoch(o);
  is_int(chx_optimizer_epoch(o), 1, "epoch");
  chx_param_set_update(x, 0);
  is_int(chx_optimizer_update(s, o), CHX_EARG, "a frozen parameter is skipped: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_param_set_update(x, 1);
  chx_optimizer_setup(s, o, l);
  ok(!chx_optimizer_state(o, x, "m") && !chx_optimizer_t(o) && !chx_optimizer_epoch(o), "setup begins anew");
  ok(!chx_optimizer_by_name(s, "adagrad", 0), "%s", chx_scope_message(s));
  chx_scope_clear(s);

  m = chx_link_sequential(s); /* parameters that come later join */
  p = chx_optimizer_by_name(s, "momentum", 0.1);
  chx_optimizer_setup(s, p, m);
  chx_link_add(s, m, "a", chx_link_linear(s, 0, 2, NULL));
  for (int i = 0; i < 2; i++) {
    chx_link_clear_grads(s, m);
    chx_backward(s, chx_sum(s, chx_link_call(s, m, chx_ones(s, CHX_F32, 2, (int64_t[]){1, 2})), 0, NULL, 0));
    chx_optimizer_update(s, p);
    if (!i) chx_link_add(s, m, "b", chx_link_linear(s, 2, 1, NULL));
  }
  take_out(s, m, p);
  ok(chx_optimizer_state(p, chx_link_find_param(m, "b/W"), "v") && chx_optimizer_state(p, chx_link_find_param(m, "a/W"), "v"),
     "links added after setup are updated, states of the others stay");
  is_int(chx_scope_error(s), CHX_OK, "no error: %s", chx_scope_message(s));
  chx_optimizer_free(o);
  chx_optimizer_free(p);
  chx_link_free(l);
  chx_link_free(m);
  chx_optimizer_free(NULL);
  chx_scope_end(s);
}

/* ---- a rule of one's own ---------------------------------------------------------------------------------------------------- */

static int sign_scalars(const double *h, int64_t t, double *v) { return v[0] = h[0] / (double)t, 1; }
static chx_array *sign_step(chx_scope *s, const chx_array *x, const chx_array *g, chx_array *const *k, chx_array *const *state,
                            chx_array **next)
{
  (void)state, (void)next;
  return chx_sub(s, x, chx_mul(s, chx_sign(s, g), k[0]));
}
static const chx_optimizer_class sign_class = {
  .size = sizeof sign_class, .name = "Sign", .n_hyper = 1, .hyper = {"lr"}, .scalars = sign_scalars, .step = sign_step};

static void test_custom(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_link *l = cube(s);
  chx_optimizer *o = chx_optimizer_new(s, &sign_class, (double[]){0.5});

  chx_optimizer_setup(s, o, l);
  chx_optimizer_update_with(s, o, loss, l, NULL);
  chx_optimizer_update_with(s, o, loss, l, NULL);
  ok(rel_err(chx_link_array(s, l, "x"), (double[]){0.25, -2.75, 0}) == 0, "own rule: x - sign(g) lr / t: %s", chx_scope_message(s));
  chx_optimizer_free(o);
  chx_link_free(l);
  chx_scope_end(s);
}

/* ---- failing allocations -------------------------------------------------------------------------------------------------------- */

static int countdown;
static long fired;
static int fail_nth(void *ctx, const char *device, int alloc, uint64_t bytes)
{
  (void)ctx, (void)device, (void)bytes;
  if (!alloc || countdown < 0) return 0;
  if (countdown-- > 0) return 0;
  fired++;
  return 1;
}

typedef struct net {
  chx_link *model;
  chx_optimizer *o;
  chx_array *x, *t;
} net;

static chx_array *net_loss(void *ctx, chx_scope *s)
{
  net *n = ctx;
  return chx_softmax_cross_entropy(s, chx_link_call(s, n->model, n->x), n->t);
}

enum { SAVED = 16, ROOM = 4096 };
typedef struct saved { int n; size_t bytes[SAVED]; char data[SAVED][ROOM]; } saved;

static void save_array(saved *v, const chx_array *a)
{
  void *d = a ? check_read(a) : NULL;
  v->bytes[v->n] = d ? (size_t)chx_nbytes(a) : 0;
  if (d) memcpy(v->data[v->n], d, v->bytes[v->n]);
  v->n++;
  free(d);
}
static void save_all(saved *v, const net *n)
{
  v->n = 0;
  for (chx_param *p = NULL; (p = chx_link_next_param(n->model, p));) {
    save_array(v, chx_param_array(p));
    save_array(v, chx_optimizer_state(n->o, p, "m"));
    save_array(v, chx_optimizer_state(n->o, p, "v"));
  }
}
static bool same_saved(const saved *a, const saved *b)
{
  if (a->n != b->n) return false;
  for (int i = 0; i < a->n; i++)
    if (a->bytes[i] != b->bytes[i] || memcmp(a->data[i], b->data[i], a->bytes[i])) return false;
  return true;
}

static net make_net(chx_scope *s)
{
  net n;
  chx_scope_seed(s, 7);
  n.model = chx_nn_mlp(s, 2, (int64_t[]){8, 3});
  n.o = chx_optimizer_adam(s, 0.01, 0.9, 0.999, 1e-8);
  chx_optimizer_setup(s, n.o, n.model);
  chx_optimizer_add_weight_decay(s, n.o, 1e-3);
  chx_optimizer_add_gradient_clipping(s, n.o, 1);
  n.x = chx_normal(s, CHX_F32, 2, (int64_t[]){5, 6}, 0, 1);
  n.t = chx_from_host(s, CHX_I64, 1, (int64_t[]){5}, (int64_t[]){0, 1, 2, 1, 0});
  return n;
}

static void end_net(net *n)
{
  chx_optimizer_free(n->o);
  chx_link_free(n->model);
}

/* Fails the nth allocation of step `at`, n = 0, 1, ..., until none fails. */
static void test_failures(int at)
{
  static saved before, after, third, is;
  int runs = 0, wrong = 0, bad_next = 0, n;

  for (n = 0;; n++) {
    chx_scope *s = chx_scope_begin(NULL);
    net q = make_net(s);
    chx_link_call(s, q.model, q.x); /* parameters have their shapes: what is failed is a step */
    for (int i = 1; i < at; i++) chx_optimizer_update_with(s, q.o, net_loss, &q, NULL);
    if (!n) { /* the right results, without failures */
      save_all(&before, &q);
      chx_optimizer_update_with(s, q.o, net_loss, &q, NULL);
      save_all(&after, &q);
      chx_optimizer_update_with(s, q.o, net_loss, &q, NULL);
      save_all(&third, &q);
      end_net(&q);
      q = make_net(s);
      chx_link_call(s, q.model, q.x);
      for (int i = 1; i < at; i++) chx_optimizer_update_with(s, q.o, net_loss, &q, NULL);
    }
    long was = fired;
    countdown = n;
    chx_set_memory_hook(fail_nth, NULL);
    chx_status st = chx_optimizer_update_with(s, q.o, net_loss, &q, NULL);
    chx_set_memory_hook(NULL, NULL);
    save_all(&is, &q);
    if (fired == was) {
      ok(!st && same_saved(&is, &after), "step %d, allocation %d: none failed, the step is right", at, n);
      end_net(&q);
      chx_scope_end(s);
      break;
    }
    runs++;
    wrong += st ? !same_saved(&is, &before) && !same_saved(&is, &after) : !same_saved(&is, &after);
    int done = same_saved(&is, &after);
    chx_scope_clear(s);
    chx_optimizer_update_with(s, q.o, net_loss, &q, NULL);
    save_all(&is, &q);
    if (!same_saved(&is, done ? &third : &after)) {
      if (!bad_next++) note("allocation %d: %s", n, chx_scope_message(s));
    }
    end_net(&q);
    chx_scope_end(s);
  }
  ok(!wrong, "step %d: %d failing allocations, each with all as before or all as after; %d wrong", at, runs, wrong);
  ok(!bad_next, "step %d: the next step is right; %d wrong", at, bad_next);
}

/* ---- captured updates ------------------------------------------------------------------------------------------------------ */

/* The parameter and its state v after STEPS updates on sim, all but the first of which are, if `captured`, launches. */
static void updates(int captured, double x[N], double v[N])
{
  chx_scope *s = chx_scope_begin("sim:0");
  chx_link *l = cube(s);
  chx_optimizer *o = chx_optimizer_momentum_sgd(s, 0.1, 0.9);
  chx_optimizer_setup(s, o, l);
  chx_optimizer_update_with(s, o, loss, l, NULL);
  chx_capture *c = captured ? chx_capture_begin(s) : NULL;
  for (int i = 1; i < (captured ? 2 : STEPS); i++) chx_optimizer_update_with(s, o, loss, l, NULL);
  if (c) chx_capture_end(s, c);
  for (int i = 1; c && i < STEPS; i++) chx_capture_launch(s, c);
  chx_read(s, chx_link_array(s, l, "x"), x, N * sizeof *x);
  chx_read(s, chx_optimizer_state(o, chx_link_find_param(l, "x"), "v"), v, N * sizeof *v);
  ok(!chx_scope_error(s), "%s updates: %s", captured ? "captured" : "plain", chx_scope_message(s));
  chx_capture_free(c);
  chx_optimizer_free(o);
  chx_link_free(l);
  chx_scope_end(s);
}

static void refused(chx_optimizer *(*make)(chx_scope *), int before, chx_status code, const char *what)
{
  chx_scope *s = chx_scope_begin("sim:0");
  chx_link *l = cube(s);
  chx_optimizer *o = make(s);
  chx_optimizer_setup(s, o, l);
  for (int i = 0; i < before; i++) chx_optimizer_update_with(s, o, loss, l, NULL);
  chx_capture *c = chx_capture_begin(s);
  is_int(chx_capture_active(s), 1, "a capture is recorded");
  chx_optimizer_update_with(s, o, loss, l, NULL);
  ok(chx_scope_error(s) == code && strstr(chx_scope_message(s), what), "refused: %s", chx_scope_message(s));
  chx_capture_end(s, c);
  chx_scope_clear(s);
  chx_capture_free(c);
  is_int(chx_capture_active(s), 0, "and then not");
  ok(!chx_optimizer_update_with(s, o, loss, l, NULL), "without a capture it goes on: %s", chx_scope_message(s));
  chx_optimizer_free(o);
  chx_link_free(l);
  chx_scope_end(s);
}

static void captures(void)
{
  chx_scope *s = chx_scope_begin("sim:0");
  const int there = !chx_scope_error(s);
  double x[2][N], v[2][N];
  chx_scope_end(s);
  if (!there) return skip(1, "sim was not built");
  updates(0, x[0], v[0]);
  updates(1, x[1], v[1]);
  ok(!memcmp(x[0], x[1], sizeof x[0]) && !memcmp(v[0], v[1], sizeof v[0]), "launches update parameters and states as updates do");
  refused(make_adam, 1, CHX_EUNSUPPORTED, "change at each step");
  refused(make_momentum, 0, CHX_EARG, "no state yet");
}

int main(void)
{
  for (int decay = 0; decay < 2; decay++) {
    test_rule("SGD", sgd, make_sgd, decay);
    test_rule("MomentumSGD", momentum, make_momentum, decay);
    test_rule("Adam", adam, make_adam, decay);
    test_rule("AdamW", adamw, make_adamw, decay);
  }
  test_hooks();
  test_protocol();
  test_custom();
  test_failures(1);
  test_failures(2);
  captures();
  return done_testing();
}
