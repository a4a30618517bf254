/* SPDX-License-Identifier: MIT
 * test_observe.c: chx_set_observer: which calls it is told of, with what, and that its own work leaves no trace.
 */
#include "check.h"
#include <chx/chx.h>
#include <string.h>

typedef struct told {
  int before, after, nested, fail, failed;
  char names[512];      /* of the calls that ended, "add gelu" */
  double first, result; /* element 0 of the first operand before the call, of the result after it */
  int attr_is_complete;
} told;

static void observe(void *ctx, chx_scope *s, const chx_observation *o)
{
  told *t = ctx;
  const char *name = chx_op_name(o->op);
  t->nested += o->depth > 0;
  t->before += !o->done;
  t->after += o->done > 0;
  t->failed += o->done < 0;
  if (o->done) {
    size_t n = strlen(t->names);
    snprintf(t->names + n, sizeof t->names - n, "%s%s", n ? " " : "", name);
  }
  /* chx_sum is a call of its own, of which nobody must be told */
  if (!o->done && o->n_in && o->in[0]) t->first = chx_item(s, chx_sum(s, chx_cast(s, o->in[0], CHX_F64), 0, NULL, 0));
  if (o->n_out) t->result = chx_item(s, chx_sum(s, chx_cast(s, o->out[0], CHX_F64), 0, NULL, 0));
  if (!o->done && strcmp(name, "softmax") == 0)
    t->attr_is_complete = ((const chx_softmax_attr *)o->attr)->axis == 1 && !o->out && !o->n_out && !strcmp(o->device, "native:0");
  if (t->fail && !o->done) chx_scope_fail(s, CHX_EFAILED, "the observer says no");
}

static void calls(void)
{
  told t = {0};
  chx_scope *s = chx_scope_begin("native:0");
  chx_array *x = chx_full(s, CHX_F32, 2, (int64_t[]){2, 3}, 2);
  chx_set_observer(observe, &t);
  size_t n = chx_scope_mark(s);
  chx_array *y = chx_add(s, x, chx_real(s, 1));
  ok(chx_scope_mark(s) == n + 2, "the observer's own results are gone: %zu in the scope, want the scalar and the sum", chx_scope_mark(s) - n);
  ok(t.before == 1 && t.after == 1, "add: told %d times before and %d after, want 1", t.before, t.after);
  is_str(t.names, "add", "of what");
  is_close(t.first, 12, 1e-6, "its operand");
  is_close(t.result, 18, 1e-6, "its result");
  chx_add_into(s, x, x, x);
  is_close(t.first, 12, 1e-6, "an operand that is overwritten, before");
  is_close(t.result, 24, 1e-6, "and what overwrote it");
  t = (told){0};
  chx_softmax(s, x, -1);
  ok(t.attr_is_complete, "the attribute is normalized, the device named");
  t = (told){0};
  chx_matmul(s, x, x);
  ok(chx_scope_error(s) && t.before == 0 && t.after == 0, "a call with bad operands is not told of");
  chx_scope_clear(s);
  t = (told){0};
  chx_set_observer(NULL, NULL);
  chx_add(s, y, y);
  ok(t.before == 0 && t.after == 0, "without an observer nobody is told");
  chx_scope_end(s);
}

/* The parts of a composite come before it; the observer's arithmetic is not recorded. */
static void nesting(void)
{
  told t = {0};
  chx_scope *s = chx_scope_begin("native:0");
  chx_array *x = chx_full(s, CHX_F32, 1, (int64_t[]){4}, 0.5);
  chx_require_grad(s, x);
  chx_set_route(s, "gelu", "composed");
  chx_set_observer(observe, &t);
  chx_array *y = chx_gelu(s, x, 0);
  chx_set_route(s, "gelu", NULL);
  const char *last = strrchr(t.names, ' ');
  ok(last && !strcmp(last, " gelu") && strstr(t.names, "erf") && t.nested, "parts are told of, too, and end first: %s", t.names);
  chx_backward(s, chx_sum(s, y, 0, NULL, 0));
  chx_set_observer(NULL, NULL);
  ok(!chx_scope_error(s) && chx_grad_of(s, x), "backward while it is observed: %s", chx_scope_message(s));
  is_close(chx_item(s, chx_at(s, chx_grad_of(s, x), 0, 0)), 0.8674951, 1e-5, "the gradient is right");
  chx_scope_end(s);
}

static void refusal(void)
{
  told t = {.fail = 1};
  chx_scope *s = chx_scope_begin("native:0");
  chx_array *x = chx_ones(s, CHX_F32, 1, (int64_t[]){4});
  chx_set_observer(observe, &t);
  size_t n = chx_scope_mark(s);
  ok(!chx_tanh(s, x) && chx_scope_error(s) == CHX_EFAILED && chx_scope_mark(s) == n, "an error of the observer's ends the call: %s",
     chx_scope_message(s));
  ok(t.before == 1 && t.after == 0 && t.failed == 1, "before it runs, and it is told that it failed");
  chx_set_observer(NULL, NULL);
  chx_scope_clear(s);
  is_close(chx_item(s, chx_at(s, chx_tanh(s, x), 0, 0)), 0.7615942, 1e-6, "and the scope goes on");
  chx_scope_end(s);
}

int main(void)
{
  calls();
  nesting();
  refusal();
  return done_testing();
}
