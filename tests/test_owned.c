/* SPDX-License-Identifier: MIT
 * test_owned.c: owning scopes, as language bindings use them: each result is the caller's alone, nothing stays in the scope, and
 * when the caller has released its results nothing is left.
 */
#include "check.h"

static long live;

static int count(void *ctx, const char *device, int alloc, uint64_t bytes)
{
  (void)ctx, (void)bytes;
  if (device) live += alloc ? 1 : -1; /* buffers of devices */
  return 0;
}

static chx_scope *s;
static chx_array *x, *leaf;

static long base; /* buffers of what stays: set by keep() */
static void keep(void) { base = live; }

/* The n results are released; then the scope is empty and no buffer is left but those that stay. */
static void release_all(const char *what, size_t n, chx_array **r)
{
  size_t stay = chx_scope_mark(s), good = 0;
  for (size_t k = 0; k < n; k++) good += r[k] != NULL;
  for (size_t k = 0; k < n; k++) chx_release(r[k]);
  ok(good == n && stay == 0 && live == base, "%s: %zu of %zu results, %zu stayed in the scope, %ld buffers left %s", what, good, n, stay,
     live - base, chx_scope_message(s));
  chx_scope_clear(s);
}
#define owned(what, ...) \
  release_all(what, sizeof((chx_array *[]){__VA_ARGS__}) / sizeof(chx_array *), (chx_array *[]){__VA_ARGS__})

static chx_array *f(void)
{
  chx_array *a = chx_tanh(s, leaf), *y = chx_mul(s, a, a), *l = chx_sum(s, y, 0, NULL, 0);
  chx_release(a);
  chx_release(y);
  return l;
}

/* A reference that is given to a scope goes with its results, in an owning scope too. */
static void given(void)
{
  chx_scope *o = chx_scope_begin(NULL);
  chx_array *a = chx_zeros(s, CHX_F32, 1, (int64_t[]){3});
  size_t mark = chx_scope_mark(o);
  ok(chx_scope_give(o, chx_keep(a)) == a && chx_scope_mark(o) == mark + 1, "scope_give makes an array a result of the scope");
  chx_release(a);
  is_int(chx_size(a), 3, "which keeps it");
  chx_scope_rewind(o, mark, NULL);
  a = chx_zeros(s, CHX_F32, 1, (int64_t[]){3});
  mark = chx_scope_mark(s);
  ok(chx_scope_give(s, chx_keep(a)) == a && chx_scope_mark(s) == mark + 1, "in an owning scope too");
  chx_scope_rewind(s, mark, NULL);
  ok(!chx_scope_give(o, NULL) && chx_scope_error(o) == CHX_EARG, "NULL is an error: %s", chx_scope_message(o));
  ok(!chx_scope_give(o, a), "in a scope in error the reference is dropped");
  chx_scope_end(o);
}

/* ---- callbacks, functions ------------------------------------------------------------------------------------------------ */

static void back(void *ctx, chx_scope *o, const chx_function_call *c, chx_array **gx)
{
  (void)ctx;
  gx[0] = chx_mul(o, c->gy[0], c->x[0]);
}
static const chx_function times_x = {sizeof times_x, "times_x", NULL, back, NULL, 1, 0};

static chx_array *entering(void *ctx, chx_scope *o, chx_array *g)
{
  const unsigned before = chx_scope_enter(o);
  chx_array *mine = chx_add(o, g, g), *more = chx_mul(o, mine, mine);
  chx_release(more); /* the caller's alone: it is gone */
  *(bool *)ctx = true;
  chx_scope_leave(o, before);
  return chx_scope_give(o, mine);
}

/* A gradient through a function and a hook that enters, in either kind of scope. */
static void entered(unsigned flags)
{
  const char *kind = flags ? "an owning scope" : "a scope";
  const long before = live;
  bool called = false;
  chx_scope *o = chx_scope_begin_with("native", flags);
  chx_array *a = chx_from_host(o, CHX_F64, 1, (int64_t[]){2}, (double[]){2, 3}), *e = chx_exp(o, a), *y = NULL, *g = NULL;
  const chx_array *in = a, *computed = e;
  chx_require_grad(o, a);
  chx_connect(o, &times_x, &in, 1, &computed, 1, &y);
  chx_add_grad_hook(o, y, entering, &called, NULL);
  chx_grad(o, (const chx_array *[]){y}, 1, &in, 1, NULL, 0, 0, &g);
  double v[2] = {0};
  chx_read(o, g, v, sizeof v);
  ok(called && v[0] == 4 && v[1] == 6, "%s: a hook that enters it gives its result %s", kind, chx_scope_message(o));
  if (flags) {
    ok(chx_scope_mark(o) == 0, "%s: nothing stays in it", kind);
    chx_release(a), chx_release(e), chx_release(y), chx_release(g);
  } else
    ok(chx_scope_mark(o) == 4, "%s: it has its results", kind);
  chx_array *more = chx_scope_give(o, chx_keep(leaf));
  ok(more == leaf && chx_scope_mark(o) == (flags ? 1 : 5), "%s: it takes what it is given", kind);
  chx_scope_end(o);
  is_int(live, before, "%s: nothing is left", kind);
  ok(!chx_scope_give(NULL, chx_keep(leaf)), "no scope takes what it is given, and it is released");
}

static void holders(void)
{
  chx_array *y[2], *z;
  const chx_array *in = leaf, *const *ys = (const chx_array *const *)y;
  chx_connect(s, &times_x, &in, 1, (const chx_array *[]){x, x}, 2, y);
  ok(chx_function_is_held_by(ys, 2) && !chx_function_is_held_by(ys, 1), "a function is held by its two outputs, not by one");
  z = chx_neg(s, y[0]);
  ok(!chx_function_is_held_by(ys, 2), "nor by them alone where a result of theirs holds it");
  chx_release(z);
  chx_keep(y[1]);
  ok(!chx_function_is_held_by(ys, 2), "nor where one is held twice");
  chx_release(y[1]);
  ok(chx_function_is_held_by(ys, 2), "when those are gone it is");
  ok(!chx_function_is_held_by(&in, 1) && !chx_function_is_held_by(NULL, 0), "other arrays hold none");
  owned("a function's outputs", y[0], y[1]);
}

int main(void)
{
  s = chx_scope_begin_with("native", CHX_SCOPE_OWNED);
  chx_set_memory_hook(count, NULL);
  int64_t shape[] = {2, 3, 4, 4};
  x = chx_uniform(s, CHX_F32, 4, shape, 0.1, 1);
  leaf = chx_copy(s, x);
  chx_require_grad(s, leaf);
  keep();
  ok(x && leaf && chx_scope_mark(s) == 0, "an owning scope's results are not in it");
  owned("add", chx_add(s, x, x));
  chx_array *two = chx_real(s, 2);
  owned("a weak scalar", chx_mul(s, x, two));
  chx_release(two);
  chx_array *i = chx_arange(s, CHX_I32, 0, 1, 4);
  keep();
  owned("promotion casts", chx_add(s, x, i));
  owned("cast to the same dtype", chx_cast(s, x, CHX_F32));
  owned("contiguous", chx_contiguous(s, x));
  owned("to the same device", chx_to(s, x, "native:0"));
  chx_array *there = chx_to(s, x, "ref:0");
  if (there) owned("to another device", there);
  else skip(1, "ref: not built");
  chx_scope_clear(s);
  owned("reshape", chx_reshape(s, x, 1, (int64_t[]){-1}));
  owned("reshape that copies", chx_reshape(s, x, 1, (int64_t[]){96}));
  owned("transpose", chx_transpose(s, x, 0, NULL));
  owned("sum", chx_sum(s, x, 0, NULL, 0));
  owned("softmax", chx_softmax(s, x, 1));
  owned("logsumexp", chx_logsumexp(s, x, 0, NULL, 0));
  owned("dropout of nothing", chx_dropout(s, x, 0));
  owned("dropout", chx_dropout(s, x, 0.5));
  chx_pool_attr p = CHX_ATTR(pool);
  p.ksize = CHX_INTS(2, 2);
  chx_array *where = NULL, *top = chx_max_pool(s, x, &p, &where);
  owned("max_pool with indices", top, where);
  owned("max_pool", chx_max_pool(s, x, &p, NULL));
  chx_array *g = chx_ones(s, CHX_F32, 1, (int64_t[]){3});
  keep();
  chx_array *mean = NULL, *var = NULL, *bn = chx_batch_norm(s, x, g, g, NULL, &mean, &var);
  owned("batch_norm", bn, mean, var);
  owned("batch_norm without statistics", chx_batch_norm(s, x, g, g, NULL, NULL, NULL));
  owned("concatenate", chx_concatenate(s, (const chx_array *[]){x, x, x}, 3, 0));
  owned("normal", chx_normal(s, CHX_F64, 1, (int64_t[]){5}, 0, 1));
  owned("permutation", chx_permutation(s, 10));
  owned("detach", chx_detach(s, leaf));
  chx_array *y = f(), *gx = NULL;
  chx_grad(s, (const chx_array *[]){y}, 1, (const chx_array *[]){leaf}, 1, NULL, 0, CHX_CREATE_GRAPH, &gx);
  owned("grad with its graph", gx, y);
  y = f();
  chx_array *other = chx_copy(s, x);
  chx_require_grad(s, other);
  chx_grad(s, (const chx_array *[]){y}, 1, (const chx_array *[]){other}, 1, NULL, 0, 0, &gx);
  owned("zeros for an input that does not matter", gx, y, other);
  static float wrapped[4];
  owned("wrapped memory", chx_wrap(s, CHX_F32, 1, (int64_t[]){4}, NULL, wrapped, NULL, NULL));
  y = f();
  chx_backward(s, y);
  chx_release(y);
  ok(chx_scope_mark(s) == 0 && live == base + 1, "backward leaves the leaf's gradient and nothing in the scope: %ld", live - base);
  keep();
  owned("grad_of", chx_grad_of(s, leaf));
  y = chx_zeros(s, CHX_F32, 4, shape);
  keep();
  ok(chx_add_into(s, y, x, x) == y && chx_scope_mark(s) == 0 && live == base, "an in-place form returns the output, which was the caller's before");
  chx_release(y);
  keep();
  holders();
  entered(0);
  entered(CHX_SCOPE_OWNED);
  chx_release(g);
  chx_release(i);
  chx_release(leaf);
  chx_release(x);
  given();
  is_int(live, 0, "nothing is left");
  chx_set_memory_hook(NULL, NULL);
  chx_scope_end(s);
  return done_testing();
}
