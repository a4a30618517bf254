/* SPDX-License-Identifier: MIT
 * test_place.c: chx_set_place_hook and chx_set_nan_check: what the messages of errors say of arrays, and which NaN is found.
 */
#include "sim_faults.h"
#include <chx/chx.h>
#include <string.h>

static const char *now; /* where the program is */
static int asked;

static const char *place(void *ctx)
{
  asked += ctx == &now;
  return now;
}

static chx_array *vector(chx_scope *s, int64_t n, double v) { return chx_full(s, CHX_F32, 1, &n, v); }

static void says(chx_scope *s, const char *words, const char *what)
{
  ok(chx_scope_error(s) && strstr(chx_scope_message(s), words), "%s: \"%s\" in: %s", what, words, chx_scope_message(s));
  chx_scope_clear(s);
}

static void operands(void)
{
  chx_scope *s = chx_scope_begin("native:0");
  chx_array *a = vector(s, 3, 1), *b = vector(s, 4, 1);
  chx_add(s, a, b);
  ok(chx_scope_error(s) && !strstr(chx_scope_message(s), "native:0"), "without a hook operands are not described: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_set_place(a, "a.c:1");
  chx_set_place(NULL, "a.c:1");
  ok(!chx_place(b) && !chx_place(NULL), "nobody said where");
  is_str(chx_place(a), "a.c:1", "what was said");
  chx_set_place_hook(place, &now);
  chx_add(s, a, b);
  says(s, "x is f32[3] on native:0, made at a.c:1; y is f32[4] on native:0", "a wrong shape");
  chx_softmax_cross_entropy(s, a, b);
  ok(chx_scope_error(s) && strstr(strstr(chx_scope_message(s), "made at"), "f32[4]"), "of a composite, once: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_add(s, a, chx_real(s, 2));
  chx_add(s, a, NULL);
  says(s, "made at a.c:1", "a NULL beside it");
  chx_array *i = chx_full(s, CHX_I32, 1, (int64_t[]){3}, 1);
  chx_sum(s, i, 1, (int[]){4}, 0);
  says(s, "i32[3] on native:0", "a wrong axis");
  chx_set_place_hook(NULL, NULL);
  chx_scope_end(s);
}

static void backward(void)
{
  chx_scope *s = chx_scope_begin("native:0");
  chx_set_place_hook(place, &now);
  asked = 0;
  now = "leaf.c:1";
  chx_array *x = vector(s, 3, 2), *w = vector(s, 3, 3);
  ok(!asked, "nobody is asked for an array alone");
  chx_require_grad(s, x);
  now = "model.c:7";
  chx_array *y = chx_mul(s, x, w);
  now = "model.c:8";
  chx_array *z = chx_exp(s, y);
  is_str(chx_place(x), "leaf.c:1", "a leaf's");
  is_str(chx_place(y), "model.c:7", "a result's is its node's");
  ok(asked == 3, "asked %d times, want once for each of 3 nodes", asked);
  chx_add_into(s, w, w, w);
  now = "train.c:3";
  chx_backward(s, z);
  says(s, "it was recorded at model.c:7", "backward of a value that was overwritten");
  now = NULL;
  chx_array *u = chx_mul(s, x, w);
  ok(!chx_place(u), "where nobody knows");
  chx_add_into(s, w, w, w);
  chx_backward(s, u);
  ok(chx_scope_error(s) && !strstr(chx_scope_message(s), "recorded"), "nothing is said: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_set_place(w, "w.c:9");
  chx_backward(s, w);
  says(s, "made at w.c:9", "an output of no graph");
  chx_set_place_hook(NULL, NULL);
  chx_array *v = chx_mul(s, x, w);
  ok(!chx_place(v), "without a hook a node has no place");
  chx_scope_end(s);
}

static void nans(const char *device)
{
  chx_scope *s = chx_scope_begin(device);
  chx_array *minus = vector(s, 3, -1), *zero = vector(s, 2, 0);
  ok(isnan(chx_item(s, chx_sum(s, chx_log(s, minus), 0, NULL, 0))), "%s: log of -1 is NaN, and no error", device);
  chx_set_nan_check(1);
  size_t n = chx_scope_mark(s);
  ok(!chx_log(s, minus) && chx_scope_error(s) == CHX_EFAILED && chx_scope_mark(s) == n, "%s: now it is one", device);
  says(s, "log: result 0, f32[3], has a NaN", device);
  chx_array *fine = chx_add(s, chx_exp(s, minus), minus);
  ok(fine && !chx_scope_error(s), "%s: where there is none, nothing happens: %s", device, chx_scope_message(s));
  chx_array *inf = chx_div(s, chx_add(s, zero, chx_real(s, 1)), zero);
  ok(inf && !chx_scope_error(s), "%s: infinities are none", device);
  chx_require_grad(s, zero);
  chx_array *y = chx_mul(s, chx_sqrt(s, zero), chx_real(s, 0));
  ok(y && !chx_scope_error(s), "%s: sqrt(0) is none", device);
  chx_backward(s, y);
  says(s, "backward of sqrt: the gradient of operand 0, f32[2], has a NaN", device);
  chx_array *big = chx_where(s, chx_isnan(s, zero), zero, chx_add(s, zero, chx_real(s, 1)));
  ok(big && !chx_scope_error(s), "%s: operators of other dtypes pass", device);
  chx_set_nan_check(0);
  ok(chx_log(s, minus) && !chx_scope_error(s), "%s: and after it no more", device);
  chx_scope_end(s);
}

int main(void)
{
  operands();
  backward();
  nans("native:0");
  if (sim_is_there(8)) nans("sim:0");
  return done_testing();
}
