/* SPDX-License-Identifier: MIT
 * test_autograd.c: what belongs to graphs rather than to an operator: accumulation, modes, several graphs, retain, hooks,
 * detaching, overwritten values. Gradients of operators are test_grad.c's.
 */
#include "check.h"

static double first(chx_scope *s, const chx_array *a)
{
  return a ? chx_item(s, chx_at(s, chx_reshape(s, a, 1, (int64_t[]){-1}), 0, 0)) : NAN;
}

static chx_array *leaf(chx_scope *s, double v)
{
  chx_array *x = chx_from(s, CHX_F64, 1, &v);
  chx_require_grad(s, x);
  return x;
}

static chx_array *cube(chx_scope *s, const chx_array *x) { return chx_mul(s, x, chx_mul(s, x, x)); }

static void accumulation(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = leaf(s, 3);
  chx_backward(s, cube(s, x));
  is_close(first(s, chx_grad_of(s, x)), 27, 1e-12, "one backward of x^3 at 3");
  chx_backward(s, chx_mul(s, x, x));
  is_close(first(s, chx_grad_of(s, x)), 33, 1e-12, "a second backward adds 2 x");
  chx_set_grad(s, x, NULL);
  ok(!chx_grad_of(s, x) && !chx_scope_error(s), "a cleared gradient is NULL without an error");
  chx_array *y = chx_add(s, x, x);
  chx_backward(s, chx_add(s, y, chx_mul(s, y, y)));
  is_close(first(s, chx_grad_of(s, x)), 2 + 2 * 6 * 2, 1e-12, "fan-out adds up");
  double three[] = {1, 2, 3}, g3[] = {1, 10, 100};
  chx_array *v = chx_from(s, CHX_F64, 3, three), *gv = chx_from(s, CHX_F64, 3, g3);
  chx_require_grad(s, v);
  const chx_array *ys[] = {chx_square(s, v)}, *gys[] = {gv};
  chx_backward_with(s, ys, gys, 1, 0, 0);
  ok(rel_err(chx_grad_of(s, v), (double[]){2, 40, 600}) < 1e-12, "an initial gradient weighs the elements");
  ok(!chx_scope_error(s), "no error: %s", chx_scope_message(s));
  chx_scope_end(s);
}

static void second_order(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = leaf(s, 2), *g = NULL, *gg = NULL, *ggg = NULL;
  const chx_array *xs[] = {x}, *ys[] = {cube(s, cube(s, x))}; /* x^9 */
  chx_grad(s, ys, 1, xs, 1, NULL, 0, CHX_CREATE_GRAPH, &g);
  is_close(first(s, g), 9 * 256, 1e-9, "chx_grad of x^9");
  chx_grad(s, (const chx_array *[]){g}, 1, xs, 1, NULL, 0, CHX_CREATE_GRAPH, &gg);
  is_close(first(s, gg), 72 * 128, 1e-9, "its gradient");
  chx_grad(s, (const chx_array *[]){gg}, 1, xs, 1, NULL, 0, 0, &ggg);
  is_close(first(s, ggg), 504 * 64, 1e-8, "and the third");
  ok(!chx_grad_of(s, x), "chx_grad leaves the leaf's gradient alone");
  chx_scope_end(s);
}

static void retain(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = leaf(s, 3), *y = cube(s, x);
  const chx_array *ys[] = {y};
  chx_backward_with(s, ys, NULL, 1, 0, CHX_RETAIN_GRAPH);
  chx_backward(s, y);
  is_close(first(s, chx_grad_of(s, x)), 54, 1e-12, "a retained graph runs twice");
  chx_backward(s, y);
  ok(chx_scope_error(s) == CHX_EARG && strstr(chx_scope_message(s), "CHX_RETAIN_GRAPH"), "a third time: %s", chx_scope_message(s));
  chx_scope_end(s);
}

static void modes(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = leaf(s, 3);
  chx_scope_set_grad(s, CHX_GRAD_OFF);
  chx_array *y = cube(s, x);
  ok(!chx_is_grad_required(y, 0), "with gradients off nothing is recorded");
  ok(!chx_is_backprop_required(s, x), "and nothing asks for it");
  is_int(chx_scope_set_grad(s, CHX_GRAD_ON), CHX_GRAD_OFF, "the mode before is returned");
  y = cube(s, x);
  ok(chx_is_grad_required(y, 0) && chx_is_backprop_required(s, y), "with gradients on it is");
  chx_no_backprop(s, 0);
  ok(!chx_is_grad_required(cube(s, x), 0), "no_backprop of graph 0 stops it");
  chx_force_backprop(s, 0);
  ok(chx_is_grad_required(cube(s, x), 0), "force_backprop brings it back");
  chx_array *d = chx_detach(s, y);
  ok(!chx_is_grad_required(d, 0) && chx_shares_memory(d, y), "detach is a view outside of the graph");
  chx_backward(s, d);
  ok(chx_scope_error(s) == CHX_EARG, "backward of a detached array: %s", chx_scope_message(s));
  chx_scope_end(s);
}

static void several_graphs(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = leaf(s, 2);
  chx_array *h = chx_mul(s, x, x); /* made in graph 0, a leaf of the inner one */
  chx_backprop_id inner = chx_backprop_begin(s, "inner");
  ok(inner > 0, "a further graph");
  chx_require_grad_in(s, h, inner);
  chx_array *y = cube(s, h), *g = NULL;
  chx_grad(s, (const chx_array *[]){y}, 1, (const chx_array *[]){h}, 1, NULL, inner, 0, &g); /* 3 h^2 = 3 x^4 */
  is_close(first(s, g), 48, 1e-12, "the inner gradient");
  ok(chx_is_grad_required(g, 0) && !chx_is_grad_required(g, inner), "is recorded in the outer graph alone");
  chx_backward(s, g);
  is_close(first(s, chx_grad_of(s, x)), 12 * 8, 1e-12, "and differentiated there");
  chx_backprop_end(s, inner);
  chx_require_grad_in(s, h, inner);
  ok(chx_scope_error(s) == CHX_EARG, "an ended graph: %s", chx_scope_message(s));
  chx_scope_clear(s);
  int many = 0;
  for (int i = 0; i < 200; i++) {
    size_t mark = chx_scope_mark(s);
    chx_backprop_id id = chx_backprop_begin(s, "again");
    chx_array *z = leaf(s, 1);
    chx_require_grad_in(s, z, id);
    chx_mul(s, z, z);
    chx_backprop_end(s, id);
    chx_scope_rewind(s, mark, NULL);
    many += id > 0;
  }
  is_int(many, 200, "ids are used again once their graphs are gone");
  chx_scope_end(s);
}

static chx_array *twice(void *ctx, chx_scope *s, chx_array *g)
{
  ++*(int *)ctx;
  return chx_mul(s, g, chx_real(s, 2));
}

static chx_array *look(void *ctx, chx_scope *s, chx_array *g)
{
  (void)s, (void)g;
  ++*(int *)ctx;
  return NULL;
}

static void count_free(void *ctx) { *(int *)ctx += 100; }

static void hooks(void)
{
  chx_scope *s = chx_scope_begin("native");
  int seen = 0, doubled = 0;
  chx_array *x = leaf(s, 3), *y = chx_mul(s, x, x), *z = chx_add(s, y, y);
  chx_add_grad_hook(s, y, twice, &doubled, NULL);
  chx_add_grad_hook(s, x, look, &seen, count_free);
  chx_backward(s, z);
  is_int(doubled, 1, "a hook runs once, when its gradient is complete");
  is_int(seen, 1, "a leaf's hook too");
  is_close(first(s, chx_grad_of(s, x)), 24, 1e-12, "what it returns goes on");
  chx_scope_end(s);
  is_int(seen, 101, "its context is freed with the node");
}

static void overwritten(void)
{
  chx_scope *s = chx_scope_begin("native");
  double v[] = {1, 2};
  chx_array *x = chx_from(s, CHX_F64, 2, v), *w = chx_from(s, CHX_F64, 2, v);
  chx_require_grad(s, x);
  chx_array *y = chx_mul(s, x, w);
  chx_add_into(s, w, w, w);
  chx_backward(s, y);
  ok(chx_scope_error(s) == CHX_EARG && strstr(chx_scope_message(s), "'y'") && strstr(chx_scope_message(s), "mul"), "%s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_add_into(s, x, x, x);
  ok(chx_scope_error(s) == CHX_EARG, "in-place on a leaf that is recorded: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_scope_set_grad(s, CHX_GRAD_OFF);
  chx_add_into(s, x, x, x);
  ok(!chx_scope_error(s), "with gradients off it may be written");
  chx_scope_end(s);
}

static void truncated(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = leaf(s, 2), *h = chx_mul(s, x, x), *mid = chx_mul(s, h, h);
  chx_unchain_backward(s, mid);
  chx_array *y = chx_mul(s, mid, x);
  chx_backward(s, y);
  is_close(first(s, chx_grad_of(s, x)), 16, 1e-12, "what came before an unchained array gets nothing through it");
  ok(!chx_scope_error(s), "no error: %s", chx_scope_message(s));
  chx_scope_end(s);
}

/* A leaf's gradient is its own array, whatever it was made from. */
static void own_gradients(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *a = leaf(s, 1), *b = leaf(s, 2), *gy = chx_from(s, CHX_F64, 1, (double[]){1});
  const chx_array *ys[] = {chx_add(s, a, b)}, *gys[] = {gy};
  chx_backward_with(s, ys, gys, 1, 0, 0);
  chx_mul_into(s, chx_grad_of(s, a), chx_grad_of(s, a), chx_real(s, 0.5));
  chx_add_into(s, gy, gy, gy);
  is_close(first(s, chx_grad_of(s, a)), 0.5, 0, "a gradient may be changed in place");
  is_close(first(s, chx_grad_of(s, b)), 1, 0, "without another leaf's changing, nor with the initial gradient");
  chx_array *x = chx_from(s, CHX_F64, 3, (double[]){1, 2, 3});
  chx_require_grad(s, x);
  chx_backward(s, chx_sum(s, x, 0, NULL, 0));
  ok(chx_is_contiguous(chx_grad_of(s, x)), "a sum's gradient is no broadcast view");
  ok(!chx_scope_error(s), "no error: %s", chx_scope_message(s));
  chx_scope_end(s);
}

static void cut_in_one_graph(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = leaf(s, 2), *h = chx_mul(s, x, x);
  chx_backprop_id id = chx_backprop_begin(s, "inner");
  chx_require_grad_in(s, h, id);
  chx_unchain_backward(s, h);
  chx_backward(s, chx_mul(s, h, x));
  ok(!chx_grad_of(s, h), "a leaf of one graph that was cut off in another gets no gradient there");
  is_close(first(s, chx_grad_of(s, x)), 4, 0, "its partner does");
  chx_backprop_end(s, id);
  chx_scope_end(s);
}

static void unused(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = leaf(s, 2), *z = leaf(s, 5), *g[2];
  const chx_array *ys[] = {cube(s, x)}, *xs[] = {x, z};
  chx_grad(s, ys, 1, xs, 2, NULL, 0, CHX_RETAIN_GRAPH, g);
  ok(g[1] && first(s, g[1]) == 0, "an input that does not matter has a zero gradient");
  chx_grad(s, ys, 1, xs, 2, NULL, 0, CHX_ALLOW_UNUSED, g);
  ok(g[0] && !g[1] && !chx_scope_error(s), "or none");
  chx_scope_end(s);
}

int main(void)
{
  accumulation();
  second_order();
  retain();
  modes();
  several_graphs();
  hooks();
  overwritten();
  truncated();
  unused();
  own_gradients();
  cut_in_one_graph();
  return done_testing();
}
