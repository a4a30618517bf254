/* SPDX-License-Identifier: MIT
 * test_function_limits.c: functions that a program brings into the graph (chx_connect) in deep graphs, on several threads, in captures,
 * and where memory is out.
 */
#include "check.h"
#include <pthread.h>
#include <stdatomic.h>

static atomic_int freed, called;

static void count_free(void *ctx)
{
  (void)ctx;
  freed++;
}

static chx_array *leaf(chx_scope *s, int n)
{
  chx_array *x = chx_from(s, CHX_F64, n, (double[]){2, 3});
  chx_require_grad(s, x);
  return x;
}

static double at(chx_scope *s, const chx_array *a, int i)
{
  return a ? chx_item(s, chx_at(s, chx_reshape(s, a, 1, (int64_t[]){-1}), 0, i)) : NAN;
}

static chx_array *connect1(chx_scope *s, const chx_function *f, const chx_array *x, const chx_array *computed)
{
  chx_array *y = NULL;
  chx_connect(s, f, &x, 1, &computed, 1, &y);
  return y;
}

static void cube_back(void *ctx, chx_scope *s, const chx_function_call *c, chx_array **gx)
{
  (void)ctx;
  called++;
  gx[0] = chx_mul(s, c->gy[0], chx_mul(s, chx_real(s, 3), chx_mul(s, c->x[0], c->x[0])));
}

/* x^3, of which nothing is recorded but the function */
static chx_array *cube(chx_scope *s, const chx_array *x)
{
  static const chx_function f = {sizeof f, "cube", NULL, cube_back, count_free, 1, 0};
  int mode = chx_scope_set_grad(s, CHX_GRAD_OFF);
  chx_array *y = chx_mul(s, x, chx_mul(s, x, x));
  chx_scope_set_grad(s, mode);
  return connect1(s, &f, x, y);
}

/* ---- depth ------------------------------------------------------------------------------------------------------------------ */

static void release_array(void *ctx) { chx_release(ctx); }
static void hold_back(void *ctx, chx_scope *s, const chx_function_call *c, chx_array **gx)
{
  (void)s;
  gx[0] = ctx ? (chx_array *)c->gy[0] : NULL;
}

/* Each function holds its input, and so the whole graph before it. */
static void *deep(void *arg)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = chx_ones(s, CHX_F32, 0, NULL), *y = x;
  chx_require_grad(s, x);
  for (int i = 0; i < 100000 && y; i++) {
    size_t mark = chx_scope_mark(s);
    const chx_function f = {sizeof f, "hold", chx_keep(y), hold_back, release_array, 0, 0};
    chx_array *next = chx_keep(connect1(s, &f, y, y));
    if (y != x) chx_release(y);
    y = next;
    chx_scope_rewind(s, mark, NULL);
  }
  chx_backward(s, y);
  *(double *)arg = chx_item(s, chx_grad_of(s, x));
  chx_release(y);
  if (chx_scope_error(s)) note("%s", chx_scope_message(s));
  chx_scope_end(s);
  return NULL;
}

static void small_stack(void)
{
  pthread_attr_t attr;
  pthread_t thread;
  double g = 0;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 64 << 10);
  ok(pthread_create(&thread, &attr, deep, &g) == 0 && pthread_join(thread, NULL) == 0, "a thread with a stack of 64 KiB");
  is_close(g, 1, 0, "1e5 functions that hold their inputs were made, differentiated and freed there");
  pthread_attr_destroy(&attr);
}

/* ---- threads, captures --------------------------------------------------------------------------------------------------- */

static void *train(void *arg)
{
  chx_array *x = arg;
  chx_scope *s = chx_scope_begin("native");
  for (int i = 0; i < 200; i++) {
    size_t mark = chx_scope_mark(s);
    chx_backward(s, cube(s, x));
    chx_scope_rewind(s, mark, NULL);
  }
  bool fine = !chx_scope_error(s);
  chx_scope_end(s);
  return fine ? x : NULL;
}

static void threads(void)
{
  enum { N = 4 };
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = leaf(s, 1);
  pthread_t t[N];
  int good = 0;
  freed = called = 0;
  for (int i = 0; i < N; i++) pthread_create(&t[i], NULL, train, x);
  for (int i = 0; i < N; i++) {
    void *r;
    pthread_join(t[i], &r);
    good += r != NULL;
  }
  is_int(good, N, "threads share a leaf");
  ok(at(s, chx_grad_of(s, x), 0) == 12 * 200 * N && freed == 200 * N && called == freed, "and add to its gradient: %g",
     at(s, chx_grad_of(s, x), 0));
  chx_scope_end(s);
}

static void captured(void)
{
  chx_scope *s = chx_scope_begin("sim");
  if (chx_scope_error(s)) {
    skip(1, "sim is not built");
    chx_scope_end(s);
    return;
  }
  chx_array *x = leaf(s, 2), *g = NULL;
  chx_grad(s, (const chx_array *[]){cube(s, x)}, 1, (const chx_array *[]){x}, 1, NULL, 0, 0, &g);
  chx_capture *c = chx_capture_begin(s);
  chx_grad(s, (const chx_array *[]){cube(s, x)}, 1, (const chx_array *[]){x}, 1, NULL, 0, 0, &g);
  chx_capture_end(s, c);
  chx_write(s, x, (double[]){5, 7}, 16);
  chx_capture_launch(s, c);
  ok(rel_err(g, (double[]){75, 147}) == 0, "its operators are captured %s", chx_scope_message(s));
  chx_capture_free(c);
  chx_scope_end(s);
}

/* ---- memory that is out ----------------------------------------------------------------------------------------------------- */

static int countdown;
static bool fired;
static int fail_nth(void *ctx, const char *device, int alloc, uint64_t bytes)
{
  (void)ctx, (void)device, (void)bytes;
  return alloc && countdown-- == 0 ? fired = true, 1 : 0;
}

static void out_of_memory(void)
{
  int runs = 0, bad = 0, wrong = 0, failed = 0;
  do {
    chx_scope *s = chx_scope_begin("native");
    chx_array *x = leaf(s, 2), *g = NULL;
    freed = 0;
    fired = false;
    countdown = runs++;
    chx_set_memory_hook(fail_nth, NULL);
    chx_array *y = cube(s, x);
    chx_array *z = chx_mul(s, y, x);
    chx_grad(s, (const chx_array *[]){z}, 1, (const chx_array *[]){x}, 1, NULL, 0, CHX_CREATE_GRAPH, &g);
    chx_set_memory_hook(NULL, NULL);
    const chx_status st = chx_scope_error(s); /* what the device lacks once is asked for again, and may come then */
    bad += st ? st != CHX_ENOMEM || !fired : at(s, g, 1) != 4 * 27;
    failed += st != CHX_OK;
    chx_scope_end(s);
    wrong += freed != 1;
  } while (fired && runs < 10000);
  ok(!bad && failed > 10, "each of %d allocations failed in turn: CHX_ENOMEM %d times, else the right gradient", runs - 1, failed);
  is_int(wrong, 0, "and each time the function was freed once");
}

int main(void)
{
  small_stack();
  threads();
  captured();
  out_of_memory();
  return done_testing();
}
