/* SPDX-License-Identifier: MIT
 * test_work.c: chx_scope_set_long_work: which calls it is told of, always in pairs, and what its refusal gives.
 */
#include "sim_faults.h"
#include <chx/chx.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct told {
  int begun, ended, open, nested, refuse; /* refuse: from which end on it gives up; 0: never */
} told;

static int work(void *ctx, int begins)
{
  told *t = ctx;
  if (begins) {
    t->nested += t->open++;
    t->begun++;
    return 0;
  }
  t->open--;
  return ++t->ended >= t->refuse && t->refuse;
}

/* Whether so many were told of, each once, before and after; forgets them. */
static void told_is(told *t, int want, const char *what)
{
  ok(t->begun == want && t->ended == want && !t->open && !t->nested, "%s: told of %d, %d ended, %d inside of others, want %d", what,
     t->begun, t->ended, t->nested, want);
  *t = (told){0};
}

static chx_array *square(chx_scope *s, int64_t n, double v) { return chx_full(s, CHX_F32, 2, (int64_t[]){n, n}, v); }

static void operators(void)
{
  told t = {0};
  chx_scope *s = chx_scope_begin("native:0");
  chx_scope_set_long_work(s, work, &t);
  chx_array *few = square(s, 4, 1), *many = square(s, 256, 0.5), *column = chx_full(s, CHX_F32, 2, (int64_t[]){300, 1}, 1);
  chx_array *row = chx_full(s, CHX_F32, 2, (int64_t[]){1, 300}, 1), *some = square(s, 100, 1);
  t = (told){0};
  chx_add(s, few, few), chx_matmul(s, few, few), chx_exp(s, few), chx_sum(s, few, 0, NULL, 0), chx_softmax(s, few, -1);
  told_is(&t, 0, "calls of 16 elements");
  chx_reshape(s, many, 1, (int64_t[]){65536}), chx_transpose(s, many, 0, NULL);
  told_is(&t, 0, "views");
  chx_add(s, many, many);
  told_is(&t, 1, "an addition of 65536 elements");
  chx_add(s, column, row);
  told_is(&t, 1, "one that makes 90000 of 600");
  chx_add(s, some, some);
  told_is(&t, 0, "an addition of 10000");
  chx_exp(s, some);
  told_is(&t, 1, "exp of 10000, which is more work");
  chx_matmul(s, some, some);
  told_is(&t, 1, "a product of 100 by 100 by 100");
  chx_softmax(s, many, -1);
  told_is(&t, 1, "a composite, once");
  chx_gelu(s, chx_cast(s, many, CHX_F16), 1);
  ok(t.begun >= 2 && t.begun == t.ended && !t.nested, "of two bytes: a cast and the operator, told of %d", t.begun);
  t = (told){0};
  chx_array *image = chx_full(s, CHX_F32, 4, (int64_t[]){1, 8, 16, 16}, 1), *w = chx_full(s, CHX_F32, 4, (int64_t[]){8, 8, 3, 3}, 1);
  t = (told){0};
  chx_conv(s, image, w, NULL, NULL);
  told_is(&t, 0, "a convolution of 14 by 14 by 8 by 72, an eighth of 112896");
  chx_array *wide = chx_full(s, CHX_F32, 4, (int64_t[]){4, 8, 16, 16}, 1);
  t = (told){0};
  chx_conv(s, wide, w, NULL, NULL);
  told_is(&t, 1, "of four such");
  chx_sort(s, some, 0, 0);
  told_is(&t, 1, "sorting 10000");
  ok(!chx_scope_error(s), "no error: %s", chx_scope_message(s));
  chx_scope_end(s);
}

static chx_array *hook(void *ctx, chx_scope *s, chx_array *g)
{
  told *t = ctx;
  (void)s;
  t->refuse += 1000 * t->open; /* inside of what it was told of no hook runs */
  return g;
}

static void graphs(void)
{
  told t = {0};
  chx_scope *s = chx_scope_begin("native:0");
  chx_array *x = square(s, 256, 0.5);
  chx_require_grad(s, x);
  chx_scope_set_long_work(s, work, &t);
  chx_array *y = chx_matmul(s, x, x);
  told_is(&t, 1, "a recorded product");
  chx_add_grad_hook(s, y, hook, &t, NULL);
  chx_array *loss = chx_sum(s, y, 0, NULL, 0);
  told_is(&t, 1, "its sum");
  chx_backward(s, loss);
  ok(t.begun >= 2 && t.begun == t.ended && !t.nested && !t.refuse, "backward: told of %d, none of them around a hook", t.begun);
  is_close(chx_item(s, chx_sum(s, chx_grad_of(s, x), 0, NULL, 0)), 2 * 256.0 * 256 * 256 * 0.5, 1e-6, "and its gradient");
  chx_backward(s, chx_sum(s, chx_mul(s, x, x), 0, NULL, 0)); /* adds to the gradient that is there, in place */
  chx_array *z = chx_matmul(s, x, x);
  loss = chx_sum(s, z, 0, NULL, 0);
  t = (told){.refuse = 1};
  chx_backward(s, loss);
  ok(chx_scope_error(s) == CHX_EFAILED && t.ended == 1, "backward that is given up ends with the first that it tells of: %d", t.ended);
  chx_scope_clear(s);
  t = (told){0};
  chx_array *again = chx_add(s, z, z);
  ok(again && !chx_scope_error(s), "the scope goes on");
  chx_scope_end(s);
}

/* What another thread may do with the graph meanwhile, at each time that it can. */
typedef struct meddler {
  int at, begun, cut;
  chx_scope *s;
  chx_array *y;
} meddler;

static int meddle(void *ctx, int begins)
{
  meddler *m = ctx;
  if (!begins || ++m->begun != m->at) return 0;
  if (m->cut) chx_unchain_backward(m->s, m->y);
  else chx_backward(m->s, m->y);
  for (int i = 0; i < 16; i++) square(m->s, 256, 99); /* in the memory that this set free */
  return 0;
}

static void shared_graphs(int cut)
{
  int right = 0, errors = 0, at = 0, reached = 1;
  while (reached) {
    chx_scope *s = chx_scope_begin_with("native:0", CHX_SCOPE_OWNED);
    meddler m = {.at = ++at, .cut = cut, .s = chx_scope_begin("native:0")};
    chx_array *x = square(s, 256, 0);
    chx_require_grad(s, x);
    chx_array *e = chx_exp(s, x), *y = chx_neg(s, e); /* whose gradient reads its result, which nobody else holds */
    m.y = chx_neg(s, e);
    chx_release(e);
    chx_scope_set_long_work(s, meddle, &m);
    chx_status st = chx_backward(s, y);
    chx_scope_set_long_work(s, NULL, NULL);
    chx_scope_clear(s), chx_scope_clear(m.s);
    chx_array *g = chx_grad_of(m.s, x);
    const double one = -1, got = g ? chx_item(m.s, chx_mean(m.s, g, 0, NULL, 0)) : 0;
    reached = m.begun >= at;
    const bool whole = fabs(got - one) < 1e-5 || fabs(got - 2 * one) < 1e-5;
    right += whole || (!g && (cut || st));
    errors += st != CHX_OK;
    if (!whole && g) note("at %d: the gradient is %g, want %g or twice that", at, got, one);
    chx_release(y), chx_release(m.y), chx_release(x);
    chx_scope_end(m.s);
    chx_scope_end(s);
  }
  ok(at > 3 && right == at, "%s meanwhile: right at %d of %d times, %d errors", cut ? "the graph is cut" : "another backward frees what is saved",
     right, at, errors);
}

static void refusals(void)
{
  told t = {.refuse = 1};
  chx_scope *s = chx_scope_begin("native:0");
  chx_array *x = square(s, 256, 1), *y = square(s, 256, 0);
  chx_scope_set_long_work(s, work, &t);
  size_t n = chx_scope_mark(s);
  ok(!chx_add(s, x, x) && chx_scope_error(s) == CHX_EFAILED && chx_scope_mark(s) == n, "a call that is given up has no result");
  ok(strstr(chx_scope_message(s), "interrupted") != NULL, "and says so: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(chx_from_host(s, CHX_F32, 2, (int64_t[]){0, 3}, NULL) != NULL, "nothing is told of no bytes");
  float *bytes = calloc(1 << 18, sizeof *bytes);
  ok(chx_read(s, y, bytes, 1 << 18) == CHX_EFAILED, "nor has reading");
  chx_scope_clear(s);
  ok(!chx_from_host(s, CHX_F32, 1, (int64_t[]){1 << 18}, bytes) && chx_scope_error(s) == CHX_EFAILED, "nor bytes from the host");
  chx_scope_clear(s);
  t = (told){0};
  char path[] = "/tmp/chx-work-XXXXXX";
  int fd = mkstemp(path);
  chx_save_npy(s, path, x);
  chx_array *back = chx_load_npy(s, path);
  ok(back && t.begun == 2 && !t.nested, "files: told of %d, want saving and loading", t.begun);
  t = (told){.refuse = 1};
  ok(!chx_load_npy(s, path) && chx_scope_error(s) == CHX_EFAILED, "loading is given up");
  close(fd);
  unlink(path);
  chx_scope_clear(s);
  chx_scope_set_long_work(s, NULL, NULL);
  t = (told){0};
  chx_add(s, x, x);
  told_is(&t, 0, "nobody any more");
  chx_scope_set_long_work(NULL, work, &t);
  free(bytes);
  chx_scope_end(s);
}

static double seconds(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Each queued action takes 0.1 s (CHX_SIM_DELAY_US). */
static void waits(void)
{
  told t = {0};
  chx_scope *s = chx_scope_begin("sim:0");
  chx_array *x = square(s, 4, 1);
  chx_sync(s);
  chx_scope_set_long_work(s, work, &t);
  chx_array *y = x;
  for (int i = 0; i < 10; i++) y = chx_add(s, y, x);
  t = (told){.refuse = 2};
  double t0 = seconds();
  ok(chx_sync(s) == CHX_EFAILED && t.ended == 2, "waiting is given up when it is asked the second time: %s", chx_scope_message(s));
  double took = seconds() - t0;
  ok(took < 0.5, "and not at its end, after a second: %.3f s", took);
  chx_scope_clear(s);
  t = (told){.refuse = 1};
  float v[16];
  t0 = seconds();
  ok(chx_read(s, y, v, sizeof v) == CHX_EFAILED, "so is reading");
  took = seconds() - t0;
  ok(took < 0.5, "as soon: %.3f s", took);
  chx_scope_clear(s);
  t = (told){0};
  is_close(chx_item(s, chx_sum(s, y, 0, NULL, 0)), 16 * 11, 1e-6, "what was queued went on");
  ok(t.begun > 5 && t.begun == t.ended, "it was asked %d times meanwhile", t.begun);
  t = (told){0};
  chx_sub(s, x, x);
  told_is(&t, 1, "an operator's first call on a device, whose kernel may have to be compiled");
  chx_sub(s, x, x);
  told_is(&t, 0, "and not the second");
  void *m = chx_to_dlpack(s, chx_mul(s, x, x));
  ok(m && t.begun >= 2 && t.begun == t.ended, "sharing memory waits until it is computed: asked %d times", t.begun);
  struct { struct { uint32_t major, minor; } version; void *ctx; void (*deleter)(void *); } *managed = m;
  if (m) managed->deleter(m);
  chx_sub(s, x, x);
  t = (told){.refuse = 1};
  ok(chx_memory_trim(s, NULL) == CHX_EFAILED, "giving memory back waits, and is given up");
  chx_scope_clear(s);
  t = (told){0};
  chx_array *h = chx_to(s, x, "native:0");
  ok(h && t.begun >= 1 && !t.nested, "a few bytes to another device may wait as well");
  chx_scope_end(s);
}

int main(void)
{
  setenv("CHX_SIM_DELAY_US", "100000", 1);
  operators();
  graphs();
  shared_graphs(0);
  shared_graphs(1);
  refusals();
  if (sim_is_there(11)) waits();
  return done_testing();
}
