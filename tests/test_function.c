/* SPDX-License-Identifier: MIT
 * test_function.c: functions that a program brings into the graph (chx_connect): values and gradients of first and second order,
 * what is kept, counts and missing gradients, errors, hooks, unchain, several graphs. Depth, threads and memory that is out are
 * test_function_limits.c's, owning scopes test_owned.c's.
 */
#include "check.h"

static int freed, called;

static void count_free(void *ctx)
{
  (void)ctx;
  freed++;
}

static chx_array *leaf(chx_scope *s, int n, const double *v)
{
  chx_array *x = chx_from(s, CHX_F64, n, v);
  chx_require_grad(s, x);
  return x;
}

static double at(chx_scope *s, const chx_array *a, int i)
{
  return a ? chx_item(s, chx_at(s, chx_reshape(s, a, 1, (int64_t[]){-1}), 0, i)) : NAN;
}

static const double two_three[] = {2, 3};

/* ---- functions: y = x^3 of the operators, sum and product of two, one that moves ---------------------------------------- */

static void cube_back(void *ctx, chx_scope *s, const chx_function_call *c, chx_array **gx)
{
  (void)ctx;
  called++;
  gx[0] = chx_mul(s, c->gy[0], chx_mul(s, chx_real(s, 3), chx_mul(s, c->x[0], c->x[0])));
}

static chx_function cube_function = {sizeof(chx_function), "cube", NULL, cube_back, count_free, 1, 0};

static chx_array *connect1(chx_scope *s, const chx_function *f, const chx_array *x, const chx_array *computed)
{
  chx_array *y = NULL;
  chx_connect(s, f, &x, 1, &computed, 1, &y);
  return y;
}

static chx_array *cube(chx_scope *s, const chx_array *x)
{
  int mode = chx_scope_set_grad(s, CHX_GRAD_OFF);
  chx_array *y = chx_mul(s, x, chx_mul(s, x, x));
  chx_scope_set_grad(s, mode);
  return connect1(s, &cube_function, x, y);
}

static void exp_back(void *ctx, chx_scope *s, const chx_function_call *c, chx_array **gx)
{
  (void)ctx;
  gx[0] = chx_mul(s, c->gy[0], c->y[0]);
}

static chx_array *expo(chx_scope *s, const chx_array *x)
{
  const chx_function f = {sizeof f, "expo", NULL, exp_back, NULL, 0, 1};
  return connect1(s, &f, x, chx_exp(s, x));
}

/* a + b and a b, of gradients that may be missing. */
static void both_back(void *ctx, chx_scope *s, const chx_function_call *c, chx_array **gx)
{
  const chx_array *gs = c->gy[0], *gp = c->gy[1];
  for (int i = 0; i < 2; i++) {
    if (!c->need[i]) continue;
    chx_array *by = gp ? chx_mul(s, gp, c->x[1 - i]) : NULL;
    gx[i] = by && gs ? chx_add(s, gs, by) : by ? by : (chx_array *)gs;
  }
  *(int *)ctx = (c->need[0] ? 1 : 0) | (c->need[1] ? 2 : 0) | (gs ? 4 : 0) | (gp ? 8 : 0) | c->n_x << 4 | c->n_y << 8;
}

static int both_seen;
static void both(chx_scope *s, const chx_array *a, const chx_array *b, chx_array *out[2])
{
  const chx_function f = {sizeof f, "both", &both_seen, both_back, NULL, 3, 0};
  const chx_array *ys[] = {chx_add(s, a, b), chx_mul(s, a, b)};
  chx_connect(s, &f, (const chx_array *[]){a, b}, 2, ys, 2, out);
}

/* ---- values and gradients ------------------------------------------------------------------------------------------------ */

static void first_order(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = leaf(s, 2, two_three), *y = cube(s, x), *g[2];
  ok(y && chx_is_grad_required(y, 0) && chx_dtype(y) == CHX_F64 && at(s, y, 1) == 27, "the output is what was computed");
  freed = called = 0;
  chx_backward(s, chx_sum(s, y, 0, NULL, 0));
  ok(rel_err(chx_grad_of(s, x), (double[]){12, 27}) == 0 && called == 1, "its gradient is the function's");
  chx_backward(s, y);
  ok(chx_scope_error(s) == CHX_EARG && strstr(chx_scope_message(s), "backward of cube") &&
         strstr(chx_scope_message(s), "CHX_RETAIN_GRAPH"),
     "a second backward: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_grad(s, (const chx_array *[]){chx_mul(s, expo(s, x), x)}, 1, (const chx_array *[]){x}, 1, NULL, 0, 0, g);
  is_close(at(s, g[0], 0), 3 * exp(2), 1e-12, "one that keeps its output, inside of others");
  chx_scope_end(s);
  is_int(freed, 1, "the function's context is freed with the graph");
}

static void cube_of(void *ctx, chx_scope *s, chx_array *const *xs, chx_array **ys)
{
  (void)ctx;
  ys[0] = cube(s, xs[0]);
}
static void several_of(void *ctx, chx_scope *s, chx_array *const *xs, chx_array **ys)
{
  (void)ctx;
  chx_array *out[2] = {0};
  both(s, xs[0], chx_tanh(s, xs[1]), out);
  ys[0] = expo(s, chx_mul(s, out[0], xs[0]));
  ys[1] = chx_mul(s, out[1], out[0]);
}

static void checked(void)
{
  chx_scope *s = chx_scope_begin("native");
  const chx_array *xs[] = {chx_from(s, CHX_F64, 2, (double[]){0.5, -0.7}), chx_from(s, CHX_F64, 2, (double[]){0.3, 0.9})};
  ok(!chx_check_grad(s, cube_of, NULL, xs, 1, 1, 1e-4, 1e-6, 1e-6), "gradient check of one: %s", chx_scope_message(s));
  ok(!chx_check_grad_twice(s, cube_of, NULL, xs, 1, 1, 1e-4, 1e-6, 1e-6), "and twice: %s", chx_scope_message(s));
  ok(!chx_check_grad(s, several_of, NULL, xs, 2, 2, 1e-4, 1e-6, 1e-6), "of several with operators: %s", chx_scope_message(s));
  ok(!chx_check_grad_twice(s, several_of, NULL, xs, 2, 2, 1e-4, 1e-6, 1e-6), "and twice: %s", chx_scope_message(s));
  chx_scope_end(s);
}

static void higher_order(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = leaf(s, 1, two_three), *g, *gg, *ggg;
  const chx_array *xs[] = {x}, *y = cube(s, x);
  chx_grad(s, &y, 1, xs, 1, NULL, 0, CHX_CREATE_GRAPH, &g);
  chx_grad(s, (const chx_array *[]){g}, 1, xs, 1, NULL, 0, CHX_CREATE_GRAPH, &gg);
  chx_grad(s, (const chx_array *[]){gg}, 1, xs, 1, NULL, 0, 0, &ggg);
  ok(at(s, g, 0) == 12 && at(s, gg, 0) == 12 && at(s, ggg, 0) == 6, "x^3 three times: %g %g %g", at(s, g, 0), at(s, gg, 0),
     at(s, ggg, 0));
  const chx_array *e = expo(s, x);
  chx_grad(s, &e, 1, xs, 1, NULL, 0, CHX_CREATE_GRAPH, &g);
  chx_grad(s, (const chx_array *[]){g}, 1, xs, 1, NULL, 0, 0, &gg);
  is_close(at(s, gg, 0), exp(2), 1e-12, "through the kept output, twice");
  ok(!chx_scope_error(s), "no error: %s", chx_scope_message(s));
  chx_scope_end(s);
}

static void missing(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *a = leaf(s, 2, two_three), *b = chx_from(s, CHX_F64, 2, (double[]){5, 7}), *y[2];
  both(s, a, b, y);
  chx_backward(s, y[1]);
  is_int(both_seen, 1 | 8 | 2 << 4 | 2 << 8, "what is wanted and what came is told");
  ok(rel_err(chx_grad_of(s, a), (double[]){5, 7}) == 0, "a gradient that did not come is none");
  both(s, a, b, y);
  chx_backward_with(s, (const chx_array *[]){y[0], y[1]}, NULL, 2, 0, 0);
  ok(rel_err(chx_grad_of(s, a), (double[]){11, 15}) == 0 && (both_seen & 15) == 13, "both came");
  both(s, a, a, y);
  chx_set_grad(s, a, NULL);
  chx_backward(s, y[1]);
  ok(rel_err(chx_grad_of(s, a), (double[]){4, 6}) == 0, "one array as two inputs");
  ok(!chx_scope_error(s), "no error: %s", chx_scope_message(s));
  chx_scope_end(s);
}

static void no_back(void *ctx, chx_scope *s, const chx_function_call *c, chx_array **gx)
{
  (void)s, (void)c, (void)gx;
  if (ctx) ++*(int *)ctx;
}

static void stops(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = leaf(s, 2, two_three);
  const chx_function f = {sizeof f, "stop", NULL, no_back, count_free, 0, 0};
  chx_backward(s, chx_add(s, x, connect1(s, &f, x, x)));
  ok(at(s, chx_grad_of(s, x), 0) == 1, "no gradient ends backward there, and an input may be the output");
  freed = 0;
  chx_array *plain = chx_from(s, CHX_F64, 2, two_three), *y = connect1(s, &f, plain, plain);
  ok(y && !chx_is_grad_required(y, 0) && freed == 1 && chx_shares_memory(y, plain), "without a graph nothing is recorded");
  chx_scope_set_grad(s, CHX_GRAD_OFF);
  y = connect1(s, &f, x, x);
  ok(y && !chx_is_grad_required(y, 0) && freed == 2, "nor with recording off");
  chx_scope_set_grad(s, CHX_GRAD_ON);
  chx_array *whole = chx_arange(s, CHX_I32, 0, 1, 2), *out[2];
  y = connect1(s, &f, x, whole);
  ok(y && !chx_is_grad_required(y, 0) && freed == 3, "an output of integers takes part in nothing");
  chx_connect(s, &f, (const chx_array *[]){x, NULL, whole, chx_real(s, 2)}, 4, (const chx_array *[]){whole, x}, 2, out);
  ok(chx_is_grad_required(out[1], 0) && !chx_is_grad_required(out[0], 0), "beside one of floats");
  chx_backward(s, out[1]);
  chx_connect(s, &f, NULL, 0, (const chx_array *[]){x}, 1, out);
  ok(out[0] && !chx_is_grad_required(out[0], 0) && freed == 4, "without inputs it is a view");
  ok(!chx_scope_error(s), "no error: %s", chx_scope_message(s));
  chx_scope_end(s);
}

enum { MANY = 64 };
static void many_back(void *ctx, chx_scope *s, const chx_function_call *c, chx_array **gx)
{
  (void)ctx, (void)s;
  for (int i = 0; i < MANY; i++) gx[i] = (chx_array *)c->gy[MANY - 1 - i];
}

static void many(void)
{
  chx_scope *s = chx_scope_begin("native");
  const chx_function f = {sizeof f, "reversed", NULL, many_back, NULL, 0, 0};
  const chx_array *xs[MANY], *ys[MANY];
  chx_array *out[MANY], *sum = NULL, *g[MANY];
  for (int i = 0; i < MANY; i++) xs[i] = leaf(s, 1, (double[]){i});
  for (int i = 0; i < MANY; i++) ys[i] = xs[MANY - 1 - i];
  chx_connect(s, &f, xs, MANY, ys, MANY, out);
  for (int i = 0; i < MANY; i++) {
    chx_array *t = chx_mul(s, out[i], chx_real(s, i));
    sum = sum ? chx_add(s, sum, t) : t;
  }
  chx_grad(s, (const chx_array *[]){sum}, 1, xs, MANY, NULL, 0, 0, g);
  int good = 0;
  for (int i = 0; i < MANY; i++) good += at(s, g[i], 0) == MANY - 1 - i;
  is_int(good, MANY, "64 inputs and outputs %s", chx_scope_message(s));
  chx_scope_end(s);
}

/* ---- errors ---------------------------------------------------------------------------------------------------------------- */

static void fail_back(void *ctx, chx_scope *s, const chx_function_call *c, chx_array **gx)
{
  switch (*(const char *)ctx) {
  case 'e': chx_scope_fail(s, CHX_EIO, "mine"); break;
  case 's': gx[0] = chx_sum(s, c->gy[0], 0, NULL, 0); break;
  case 'd': gx[0] = chx_cast(s, c->gy[0], CHX_F32); break;
  case 'o': gx[0] = chx_add(s, c->gy[0], chx_ones(s, CHX_F64, 1, (int64_t[]){3})); break;
  case 'm': gx[0] = chx_to(s, c->gy[0], "native:1"); break;
  }
}

static void failing(void)
{
  static const struct { const char *how, *words; chx_status code; } t[] = {
      {"e", "mine", CHX_EIO},       {"s", "of cutter: the gradient of input 0 has shape [], want the input's [2]", CHX_ESHAPE},
      {"d", "f32, want the input's f64", CHX_EDTYPE}, {"o", "add", CHX_ESHAPE}, {"m", "on native:1, want the input's native:0", CHX_EDEVICE}};
  for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
    chx_scope *s = chx_scope_begin("native");
    chx_array *x = leaf(s, 2, two_three);
    const chx_function f = {sizeof f, "cutter", (void *)t[i].how, fail_back, count_free, 0, 0};
    freed = 0;
    chx_backward(s, connect1(s, &f, x, x));
    ok(chx_scope_error(s) == t[i].code && strstr(chx_scope_message(s), t[i].words), "%s", chx_scope_message(s));
    chx_scope_clear(s);
    ok(!chx_grad_of(s, x) && !freed, "and no gradient came");
    chx_scope_end(s);
    is_int(freed, 1, "nothing stays");
  }
}

static void misuse(void)
{
  chx_scope *s = chx_scope_begin("native");
  const chx_array *x = leaf(s, 2, two_three), *scalar = chx_real(s, 1), *none = NULL;
  chx_array *out[65];
  const chx_function good = {sizeof good, "f", NULL, no_back, count_free, 0, 0};
  chx_function small = good, nameless = good, forward_only = good;
  small.size = 8;
  nameless.name = NULL;
  forward_only.backward = NULL;
  const struct { const chx_function *f; const chx_array *const *xs; int n_x; const chx_array *const *ys; int n_y; chx_array **out; int frees; } t[] = {
      {NULL, &x, 1, &x, 1, out, 0},       {&small, &x, 1, &x, 1, out, 0}, {&nameless, &x, 1, &x, 1, out, 1},
      {&forward_only, &x, 1, &x, 1, out, 1}, {&good, &x, -1, &x, 1, out, 1}, {&good, &x, 65, &x, 1, out, 1},
      {&good, NULL, 1, &x, 1, out, 1},    {&good, &x, 1, &x, 0, out, 1},  {&good, &x, 1, &x, 65, out, 1},
      {&good, &x, 1, NULL, 1, out, 1},    {&good, &x, 1, &x, 1, NULL, 1}, {&good, &x, 1, &none, 1, out, 1},
      {&good, &x, 1, &scalar, 1, out, 1}};
  for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
    freed = 0;
    chx_connect(s, t[i].f, t[i].xs, t[i].n_x, t[i].ys, t[i].n_y, t[i].out);
    ok(chx_scope_error(s) == CHX_EARG && freed == t[i].frees, "%s", chx_scope_message(s));
    chx_scope_clear(s);
  }
  freed = 0;
  chx_scope_fail(s, CHX_EIO, "before");
  ok(chx_connect(s, &good, &x, 1, &x, 1, out) == CHX_EIO && !out[0] && freed == 1, "in a scope with an error nothing is done");
  ok(chx_connect(NULL, &good, &x, 1, &x, 1, out) == CHX_EARG && freed == 2, "nor without a scope");
  chx_scope_end(s);
}

static void overwritten(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = leaf(s, 2, two_three), *y, *w = chx_from(s, CHX_F64, 2, two_three), *two[2];
  y = cube(s, x);
  chx_scope_set_grad(s, CHX_GRAD_OFF);
  chx_add_into(s, x, x, x);
  chx_scope_set_grad(s, CHX_GRAD_ON);
  chx_backward(s, y);
  ok(chx_scope_error(s) == CHX_EARG && strstr(chx_scope_message(s), "backward of cube: its input 0 [2] was overwritten"), "%s",
     chx_scope_message(s));
  chx_scope_clear(s);
  both(s, x, w, two);
  chx_add_into(s, w, w, w);
  chx_backward(s, two[0]);
  ok(strstr(chx_scope_message(s), "backward of both: its input 1"), "%s", chx_scope_message(s));
  chx_scope_clear(s);
  y = expo(s, x);
  chx_scope_set_grad(s, CHX_GRAD_OFF);
  chx_add_into(s, y, y, y);
  chx_backward(s, y);
  ok(strstr(chx_scope_message(s), "backward of expo: its output 0"), "%s", chx_scope_message(s));
  chx_scope_end(s);
}

/* ---- with the rest of the graph ----------------------------------------------------------------------------------------------- */

static chx_array *double_hook(void *ctx, chx_scope *s, chx_array *g)
{
  (void)ctx;
  return chx_add(s, g, g);
}

static void hooks(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = leaf(s, 2, two_three), *y = cube(s, x);
  chx_add_grad_hook(s, y, double_hook, NULL, NULL);
  chx_add_grad_hook(s, x, double_hook, NULL, NULL);
  chx_backward(s, y);
  ok(rel_err(chx_grad_of(s, x), (double[]){48, 108}) == 0, "hooks on its output and input %s", chx_scope_message(s));
  chx_scope_end(s);
}

static void unchained(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = leaf(s, 2, two_three), *y = cube(s, chx_add(s, x, x)), *z = chx_mul(s, y, x);
  freed = 0;
  chx_unchain_backward(s, y);
  is_int(freed, 1, "unchain frees the function");
  chx_backward(s, z);
  ok(!chx_scope_error(s) && at(s, chx_grad_of(s, x), 0) == 64, "what came before it gets nothing %s", chx_scope_message(s));
  chx_scope_end(s);
}

static void graphs(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = leaf(s, 1, two_three), *h = cube(s, x), *g = NULL;
  chx_backprop_id inner = chx_backprop_begin(s, "inner");
  chx_require_grad_in(s, h, inner);
  const chx_array *y = cube(s, h); /* x^9 */
  chx_grad(s, &y, 1, (const chx_array *[]){h}, 1, NULL, inner, 0, &g); /* 3 h^2 = 3 x^6 */
  is_close(at(s, g, 0), 192, 0, "the inner graph's gradient");
  ok(chx_is_grad_required(g, 0) && !chx_is_grad_required(g, inner), "is recorded in the outer one alone");
  chx_backward(s, g);
  is_close(at(s, chx_grad_of(s, x), 0), 18 * 32, 0, "and differentiated there");
  const uint64_t before = chx_scope_set_graphs(s, 1);
  chx_array *z = cube(s, h);
  ok(before >> inner & 1 && chx_is_grad_required(z, 0) && !chx_is_grad_required(z, inner), "where one graph is recorded, so is it");
  chx_scope_set_graphs(s, before);
  ok(chx_is_grad_required(cube(s, h), inner), "the graphs before are as they were");
  chx_backprop_end(s, inner);
  ok(!chx_scope_error(s), "no error: %s", chx_scope_message(s));
  chx_scope_end(s);
}

static void devices(void)
{
  static const char *const names[] = {"ref", "sim"};
  for (int i = 0; i < 2; i++) {
    chx_scope *s = chx_scope_begin(names[i]);
    if (chx_scope_error(s)) {
      skip(1, "a device that is not built");
      chx_scope_end(s);
      continue;
    }
    chx_array *x = leaf(s, 2, two_three);
    chx_backward(s, cube(s, x));
    ok(rel_err(chx_grad_of(s, x), (double[]){12, 27}) == 0, "on %s %s", names[i], chx_scope_message(s));
    chx_scope_end(s);
  }
}

static void move_back(void *ctx, chx_scope *s, const chx_function_call *c, chx_array **gx)
{
  gx[0] = chx_to(s, c->gy[0], ctx);
}

static void across(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = leaf(s, 2, two_three), *there = chx_to(s, chx_detach(s, x), "native:1");
  const chx_function f = {sizeof f, "move", (void *)"native:0", move_back, NULL, 0, 0};
  chx_array *y = connect1(s, &f, x, there);
  chx_backward(s, chx_mul(s, y, y));
  ok(rel_err(chx_grad_of(s, x), (double[]){4, 6}) == 0, "from one device to another %s", chx_scope_message(s));
  chx_scope_end(s);
}

int main(void)
{
  setenv("CHX_NATIVE_DEVICES", "2", 1); /* another device than the inputs' */
  first_order();
  checked();
  higher_order();
  missing();
  stops();
  many();
  failing();
  misuse();
  overwritten();
  hooks();
  unchained();
  graphs();
  devices();
  across();
  return done_testing();
}
