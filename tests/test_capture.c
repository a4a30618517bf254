/* SPDX-License-Identifier: MIT
 * test_capture.c: captures, on the simulated accelerator: what is recorded is not done, a launch does it on the arrays as
 * they are, and what cannot be recorded is refused and leaves everything usable.
 */
#include "sim_faults.h"
#include <pthread.h>

static const chx_sim_fault_ops *faults;

static chx_array *numbers(chx_scope *s, int n, double first)
{
  double v[64];
  for (int i = 0; i < n; i++) v[i] = first + i;
  return chx_from(s, CHX_F32, n, v);
}

static bool write3(chx_scope *s, chx_array *a, float x, float y, float z)
{
  return !chx_write(s, a, (float[]){x, y, z}, 3 * sizeof(float));
}

static bool is3(chx_scope *s, const chx_array *a, double x, double y, double z)
{
  float got[3] = {0};
  return !chx_read(s, a, got, sizeof got) && got[0] == (float)x && got[1] == (float)y && got[2] == (float)z;
}

/* Whether the thread's queue of sim:0 does what it is given, and at once. */
static bool is_usable(chx_scope *s)
{
  chx_scope_clear(s);
  chx_array *x = numbers(s, 3, 1);
  bool right = is3(s, chx_add(s, x, x), 2, 4, 6);
  if (!right) note("%s", chx_scope_message(s));
  return right;
}

/* ---- launches ------------------------------------------------------------------------------------------------------ */

static void values(void)
{
  chx_scope *s = chx_scope_begin("sim:0");
  chx_array *x = numbers(s, 3, 1), *w = numbers(s, 3, 10);
  chx_sync(s);
  faults->arm(0, NULL);
  chx_capture *c = chx_capture_begin(s);
  ok(c != NULL, "sim captures: %s", chx_scope_message(s));
  chx_array *h = chx_mul(s, x, w), *y = chx_add(s, h, chx_full(s, CHX_F32, 1, (int64_t[]){3}, 0.5));
  chx_array *z = chx_mul(s, y, chx_from(s, CHX_F32, 3, (double[]){1, 2, 4}));
  is_int((int)(faults->count(0, CHX_SIM_KERNEL) + faults->count(0, CHX_SIM_COPY)), 0, "nothing is queued meanwhile");
  is_int(chx_capture_end(s, c), CHX_OK, "it ends: %s", chx_scope_message(s));
  is_int((int)faults->count(0, CHX_SIM_KERNEL), 0, "nor by the end");
  is_int(chx_capture_launch(s, c), CHX_OK, "a launch: %s", chx_scope_message(s));
  ok(faults->count(0, CHX_SIM_KERNEL) > 2, "puts it in the queue");
  ok(is3(s, z, 10.5, 45, 146), "and does it: %s", chx_scope_message(s));
  ok(write3(s, x, 2, 0, -1) && !chx_capture_launch(s, c) && is3(s, z, 20.5, 1, -46), "again, of new numbers");
  ok(is3(s, y, 20.5, 0.5, -11.5), "what is in between is written, too");
  chx_copy_into(s, w, x);
  ok(!chx_capture_launch(s, c) && is3(s, z, 4.5, 1, 6), "of numbers that a kernel wrote: %s", chx_scope_message(s));
  chx_capture_free(c);
  ok(is3(s, z, 4.5, 1, 6) && is_usable(s), "results outlive the capture");
  chx_scope_end(s);
}

/* In place: each launch goes on where the last one stopped. A saved value that a launch overwrites is noticed. */
static void in_place(void)
{
  chx_scope *s = chx_scope_begin("sim:0");
  chx_array *x = numbers(s, 3, 1), *p = numbers(s, 3, 0);
  chx_capture *c = chx_capture_begin(s);
  chx_add_into(s, p, p, x);
  chx_copy_into(s, chx_slice_axis(s, p, 0, 2, 3, 1), chx_slice_axis(s, x, 0, 0, 1, 1));
  chx_capture_end(s, c);
  ok(is3(s, p, 0, 1, 2), "not done yet: %s", chx_scope_message(s));
  for (int i = 0; i < 5; i++) chx_capture_launch(s, c);
  ok(is3(s, p, 5, 11, 1), "done five times: %s", chx_scope_message(s));
  chx_array *v = numbers(s, 3, 1);
  chx_require_grad(s, v);
  chx_array *y = chx_sum(s, chx_mul(s, v, p), 0, NULL, 0);
  chx_capture_launch(s, c);
  ok(chx_backward(s, y) && strstr(chx_scope_message(s), "mul"), "a launch counts as a write in place: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_capture_free(c);
  c = chx_capture_begin(s);
  y = chx_sum(s, chx_mul(s, v, v), 0, NULL, 0);
  chx_array *g = chx_exp(s, v), *l = chx_sum(s, g, 0, NULL, 0);
  chx_capture_end(s, c);
  ok(chx_backward(s, l), "a graph of inside has nothing saved outside: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_capture_free(c);
  (void)y;
  chx_scope_end(s);
}

/* ---- training ------------------------------------------------------------------------------------------------------ */

enum { BATCH = 8, IN = 5, HIDDEN = 7, OUT = 3, STEPS = 12 };

typedef struct net { chx_array *x, *t, *p[4]; } net;

static const int64_t shapes[4][2] = {{HIDDEN, IN}, {HIDDEN}, {OUT, HIDDEN}, {OUT}};

static net net_new(chx_scope *s)
{
  net m;
  double v[BATCH * HIDDEN];
  for (int i = 0; i < BATCH * HIDDEN; i++) v[i] = (i * 5 % 13 - 6) * 0.0625;
  m.x = chx_from_shape(s, CHX_F32, 2, (int64_t[]){BATCH, IN}, v);
  m.t = chx_from_shape(s, CHX_I64, 1, (int64_t[]){BATCH}, (double[BATCH]){0, 1, 2, 0, 1, 2, 0, 1});
  for (int i = 0; i < 4; i++) {
    m.p[i] = chx_from_shape(s, CHX_F32, i % 2 ? 1 : 2, shapes[i], v + i);
    chx_require_grad(s, m.p[i]);
  }
  return m;
}

/* Forward, backward and a step down the gradient. */
static chx_array *train(chx_scope *s, net *m)
{
  size_t mark = chx_scope_mark(s);
  chx_array *h = chx_relu(s, chx_linear(s, m->x, m->p[0], m->p[1]));
  chx_array *loss = chx_softmax_cross_entropy(s, chx_linear(s, h, m->p[2], m->p[3]), m->t);
  chx_backward(s, loss);
  int mode = chx_scope_set_grad(s, CHX_GRAD_OFF);
  for (int i = 0; i < 4; i++) {
    chx_copy_into(s, m->p[i], chx_sub(s, m->p[i], chx_mul(s, chx_grad_of(s, m->p[i]), chx_real(s, 0.3))));
    chx_set_grad(s, m->p[i], NULL);
  }
  loss = chx_copy(s, loss);
  chx_scope_set_grad(s, mode);
  return chx_scope_rewind(s, mark, loss);
}

static void feed(chx_scope *s, net *m, int step)
{
  float v[BATCH * IN];
  for (int i = 0; i < BATCH * IN; i++) v[i] = (float)((i * 7 + step * 3) % 11 - 5) * 0.125f;
  chx_write(s, m->x, v, sizeof v);
}

static void weights(chx_scope *s, net *m, float *out)
{
  for (int i = 0; i < 4; i++) {
    chx_read(s, m->p[i], out, (size_t)chx_nbytes(m->p[i]));
    out += chx_size(m->p[i]);
  }
}

enum { WEIGHTS = HIDDEN * IN + HIDDEN + OUT * HIDDEN + OUT };

static void training(void)
{
  float eager[WEIGHTS], captured[WEIGHTS], losses[2][STEPS];
  for (int how = 0; how < 2; how++) {
    chx_scope *s = chx_scope_begin("sim:0");
    net m = net_new(s);
    chx_array *loss = NULL;
    chx_capture *c = how ? chx_capture_begin(s) : NULL;
    if (how) loss = train(s, &m);
    if (how) ok(!chx_capture_end(s, c), "a step is captured: %s", chx_scope_message(s));
    for (int k = 0; k < STEPS; k++) {
      feed(s, &m, k);
      if (how) chx_capture_launch(s, c);
      else loss = train(s, &m);
      losses[how][k] = (float)chx_item(s, loss);
    }
    weights(s, &m, how ? captured : eager);
    ok(!chx_scope_error(s), "%d steps: %s", STEPS, chx_scope_message(s));
    chx_capture_free(c);
    chx_scope_end(s);
  }
  ok(losses[0][STEPS - 1] < losses[0][0], "it learns: %g to %g", (double)losses[0][0], (double)losses[0][STEPS - 1]);
  ok(!memcmp(losses[0], losses[1], sizeof *losses), "the losses have the same bits");
  ok(!memcmp(eager, captured, sizeof eager), "the weights have the same bits");
}

/* ---- memory -------------------------------------------------------------------------------------------------------- */

static chx_memory_stats stats(chx_scope *s)
{
  chx_memory_stats m;
  chx_sync(s);
  chx_memory_stats_of(s, NULL, &m);
  return m;
}

static void memory(void)
{
  chx_scope *s = chx_scope_begin("sim:0");
  net m = net_new(s);
  const uint64_t before = stats(s).used;
  chx_capture *c = chx_capture_begin(s);
  chx_array *loss = chx_keep(train(s, &m));
  chx_capture_end(s, c);
  chx_capture_launch(s, c);
  const chx_memory_stats first = stats(s);
  ok(first.used > before, "it holds %llu bytes", (unsigned long long)(first.used - before));
  for (int i = 0; i < 1000; i++) chx_capture_launch(s, c);
  const chx_memory_stats last = stats(s);
  ok(last.used == first.used && last.reserved == first.reserved && last.allocations == first.allocations &&
         last.backend_allocations == first.backend_allocations,
     "1000 launches take nothing: %s", chx_scope_message(s));
  ok(isfinite(chx_item(s, loss)), "and give a number");
  chx_release(loss);
  chx_capture_launch(s, c);
  is_int((long long)stats(s).used, (long long)first.used, "a result that is gone stays for the launches");
  chx_capture_free(c);
  chx_scope_rewind(s, 0, NULL);
  is_int((long long)stats(s).used, 0, "all of it is given back");

  chx_array *x = chx_zeros(s, CHX_F32, 1, (int64_t[]){1 << 16});
  const uint64_t one = stats(s).used;
  c = chx_capture_begin(s);
  size_t mark = chx_scope_mark(s);
  for (int i = 0; i < 20; i++) {
    chx_add_into(s, x, x, chx_add(s, chx_cos(s, x), chx_cos(s, x)));
    chx_scope_rewind(s, mark, NULL);
  }
  chx_capture_end(s, c);
  const uint64_t held = stats(s).used - one;
  ok(held <= 4 * one, "memory that is free again within a capture is used again: %llu bytes", (unsigned long long)held);
  chx_capture_launch(s, c);
  double want = 0, got;
  for (int i = 0; i < 20; i++) want += 2 * cos(want);
  got = chx_item(s, chx_slice_axis(s, x, 0, 77, 78, 1));
  ok(fabs(got - want) < 1e-3, "and what is in it is right: %g, want %g", got, want);
  chx_capture_free(c);
  chx_scope_end(s);
}

/* Each order of freeing the capture, its arrays and the scope. */
static void orders(void)
{
  for (int order = 0; order < 4; order++) {
    chx_scope *s = chx_scope_begin("sim:0"), *other = chx_scope_begin("sim:0");
    chx_array *x = chx_keep(numbers(s, 3, 1));
    chx_capture *c = chx_capture_begin(s);
    chx_array *y = chx_keep(chx_add(s, x, x));
    chx_capture_end(s, c);
    faults->delay(0, 2000);
    if (order & 1) chx_capture_launch(s, c);
    if (order & 2) chx_scope_end(s);
    chx_release(x);
    if (order & 1) chx_capture_launch(other, c);
    chx_capture_free(c); /* with a launch in flight */
    if (order & 1) ok(is3(other, y, 2, 4, 6), "order %d: the launch is done: %s", order, chx_scope_message(other));
    chx_release(y);
    if (!(order & 2)) chx_scope_end(s);
    faults->delay(0, 0);
    ok(is_usable(other), "order %d", order);
    chx_scope_rewind(other, 0, NULL);
    is_int((long long)stats(other).used, 0, "order %d: nothing is left", order);
    chx_scope_end(other);
  }
  chx_capture_free(NULL);
}

/* ---- what is refused ----------------------------------------------------------------------------------------------- */

static chx_array *x3;

static void reads(chx_scope *s) { chx_item(s, chx_sum(s, x3, 0, NULL, 0)); }
static void syncs(chx_scope *s) { chx_sync(s); }
static void trims(chx_scope *s) { chx_memory_trim(s, NULL); }
static void moves(chx_scope *s) { chx_to(s, chx_add(s, x3, x3), "native:0"); }
static void moves_on(chx_scope *s) { chx_to(s, chx_add(s, x3, x3), "sim:1"); }
static void draws(chx_scope *s) { chx_uniform(s, CHX_F32, 1, (int64_t[]){3}, 0, 1); }
static void drops(chx_scope *s) { chx_dropout(s, x3, 0.5); }
static void permutes(chx_scope *s) { chx_permutation(s, 4); }
static void stages(chx_scope *s)
{
  chx_set_route(s, "exp", "staged");
  chx_exp(s, x3);
}
static void stages_none(chx_scope *s)
{
  chx_set_route(s, "arange", "staged");
  chx_arange(s, CHX_F32, 0, 1, 4);
}
static void begins(chx_scope *s) { chx_capture_begin(s); }
static void errs(chx_scope *s) { chx_add(s, x3, NULL); }

static void refusals(void)
{
  static const struct { void (*fn)(chx_scope *); const char *what, *says; } list[] = {
    {reads, "reading", "reading back to the host cannot be captured"},
    {syncs, "chx_sync", "waiting for the device cannot be captured"},
    {trims, "chx_memory_trim", "waiting for the device cannot be captured"},
    {moves, "a copy to the host", "reading back to the host cannot be captured"},
    {moves_on, "a copy to another device", "reading back to the host cannot be captured"},
    {draws, "uniform", "a random operator"},
    {drops, "dropout", "a random operator"},
    {permutes, "permutation", "a random operator"},
    {stages, "the staged route", "exp, which has no kernel here"},
    {stages_none, "the staged route without operands", "arange, which has no kernel here"},
    {begins, "a second capture", "records a capture on sim:0 already"},
    {errs, "an operator's error", "add"},
  };
  chx_scope *s = chx_scope_begin("sim:0");
  x3 = numbers(s, 3, 1);
  const uint64_t used = stats(s).used;
  for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
    size_t mark = chx_scope_mark(s);
    chx_capture *c = chx_capture_begin(s);
    chx_array *y = chx_mul(s, x3, x3);
    list[i].fn(s);
    ok(chx_scope_error(s) && strstr(chx_scope_message(s), list[i].says), "%s: %s", list[i].what, chx_scope_message(s));
    ok(chx_capture_end(s, c) && chx_capture_launch(s, c), "%s: the capture does not end well", list[i].what);
    chx_scope_clear(s);
    ok(chx_capture_launch(s, c) && strstr(chx_scope_message(s), "given up"), "%s: nor is it launched: %s", list[i].what,
       chx_scope_message(s));
    ok(is_usable(s), "%s: the queue is usable", list[i].what);
    chx_set_route(s, "exp", NULL);
    chx_set_route(s, "arange", NULL);
    if (i % 2) chx_capture_free(c);
    chx_scope_rewind(s, mark, NULL);
    is_int((long long)stats(s).used, (long long)used, "%s: its memory is given back", list[i].what);
    if (!(i % 2)) chx_capture_free(c);
    (void)y;
  }
  chx_scope_end(s);
}

static void misuse(void)
{
  static const char *const without[] = {"native:0", "ref:0"};
  for (int i = 0; i < 2; i++) {
    chx_scope *s = chx_scope_begin(without[i]);
    ok(!chx_capture_begin(s) && chx_scope_error(s) == CHX_EUNSUPPORTED && strstr(chx_scope_message(s), "chx.capture/1"),
       "%s has none: %s", without[i], chx_scope_message(s));
    chx_scope_end(s);
  }
  chx_scope *s = chx_scope_begin("sim:0");
  ok(chx_capture_end(s, NULL) == CHX_EARG, "no capture ends: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(chx_capture_launch(s, NULL) == CHX_EARG, "no capture is launched: %s", chx_scope_message(s));
  ok(!chx_capture_begin(s), "a scope in error begins none");
  chx_scope_clear(s);
  ok(chx_capture_begin(NULL) == NULL && chx_capture_end(NULL, NULL) && chx_capture_launch(NULL, NULL), "nor does none");
  chx_capture *c = chx_capture_begin(s);
  is_int(chx_capture_end(s, c), CHX_OK, "one with nothing in it");
  is_int(chx_capture_launch(s, c), CHX_OK, "is launched");
  ok(chx_capture_end(s, c) == CHX_EARG && strstr(chx_scope_message(s), "ended already"), "%s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_capture *d = chx_capture_begin(s);
  ok(chx_capture_launch(s, c) && strstr(chx_scope_message(s), "capture_launch cannot be captured"), "a launch inside: %s",
     chx_scope_message(s));
  chx_capture_free(c);
  chx_capture_free(d);
  ok(is_usable(s), "freed");
  c = chx_capture_begin(s);
  chx_exp(s, numbers(s, 3, 1));
  chx_capture_free(c);
  ok(is_usable(s), "freed while it was recorded");
  chx_scope_end(s);
}

/* ---- threads, other queues and devices ----------------------------------------------------------------------------- */

static chx_capture *shared;
static chx_array *in, *out;
static char told[3][400];
static bool right;

static void *wrong_thread(void *unused)
{
  chx_scope *s = chx_scope_begin("sim:0");
  chx_capture_end(s, shared);
  snprintf(told[0], sizeof *told, "%s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_capture_launch(s, shared);
  snprintf(told[1], sizeof *told, "%s", chx_scope_message(s));
  right = is_usable(s); /* this thread's queue records nothing */
  chx_scope_end(s);
  return unused;
}

static void *launches(void *unused)
{
  chx_scope *s = chx_scope_begin("sim:0");
  chx_capture_launch(s, shared);
  right = is3(s, out, 4, 6, 8) && write3(s, in, 0, 0, 7);
  snprintf(told[2], sizeof *told, "%s", chx_scope_message(s));
  chx_scope_end(s);
  return unused;
}

static void *leaves(void *unused)
{
  chx_scope *s = chx_scope_begin("sim:0");
  shared = chx_capture_begin(s);
  chx_exp(s, numbers(s, 3, 1));
  chx_scope_end(s);
  return unused;
}

static void *frees(void *unused)
{
  chx_capture_free(shared);
  return unused;
}

static void *begins_again(void *unused)
{
  chx_scope *s = chx_scope_begin("sim:0");
  shared = chx_capture_begin(s);
  chx_exp(s, numbers(s, 3, 1));
  pthread_t t;
  if (!pthread_create(&t, NULL, frees, NULL)) pthread_join(t, NULL);
  chx_capture *c = chx_capture_begin(s);
  right = c && !chx_capture_end(s, c) && is_usable(s);
  chx_capture_free(c);
  shared = chx_capture_begin(s); /* and once more, for the thread's end */
  if (!pthread_create(&t, NULL, frees, NULL)) pthread_join(t, NULL);
  chx_scope_end(s);
  return unused;
}

static void run(void *(*fn)(void *))
{
  pthread_t t;
  if (!pthread_create(&t, NULL, fn, NULL)) pthread_join(t, NULL);
}

static void threads(void)
{
  chx_scope *s = chx_scope_begin("sim:0");
  in = numbers(s, 3, 2);
  shared = chx_capture_begin(s);
  out = chx_add(s, in, in);
  run(wrong_thread);
  ok(strstr(told[0], "another thread records") && strstr(told[1], "still being recorded") && right,
     "another thread neither ends nor launches it: %s / %s", told[0], told[1]);
  is_int(chx_capture_end(s, shared), CHX_OK, "its own does: %s", chx_scope_message(s));
  faults->delay(0, 1000);
  chx_capture_launch(s, shared);
  run(launches);
  ok(right, "another thread launches it in order: %s", told[2]);
  ok(!chx_capture_launch(s, shared) && is3(s, out, 0, 0, 14), "and what it wrote is read: %s", chx_scope_message(s));
  faults->delay(0, 0);
  chx_capture_free(shared);
  run(leaves);
  chx_capture_launch(s, shared);
  ok(strstr(chx_scope_message(s), "thread that recorded it has ended") != NULL, "a thread that ends gives up: %s",
     chx_scope_message(s));
  chx_capture_free(shared);
  ok(is_usable(s), "and its queue is usable");
  run(begins_again);
  ok(right, "one that another thread frees makes room for the next");
  chx_scope_rewind(s, 0, NULL);
  is_int((long long)stats(s).used, 0, "and its memory given back");
  chx_scope_end(s);
}

/* Beside it: other devices do what they are told, and the host's numbers are taken as they are. */
static void beside(void)
{
  chx_scope *s = chx_scope_begin("sim:0");
  chx_array *x = numbers(s, 3, 1);
  chx_capture *c = chx_capture_begin(s);
  chx_scope_set_device(s, "native:0");
  chx_array *n = chx_add(s, numbers(s, 3, 1), numbers(s, 3, 1));
  ok(is3(s, n, 2, 4, 6), "native computes meanwhile: %s", chx_scope_message(s));
  chx_scope_set_device(s, "sim:1");
  chx_array *other = chx_add(s, numbers(s, 3, 1), numbers(s, 3, 2));
  ok(is3(s, other, 3, 5, 7), "and so does sim:1: %s", chx_scope_message(s));
  chx_scope_set_device(s, "sim:0");
  chx_array *y = chx_add(s, chx_mul(s, x, chx_to(s, n, "sim:0")), chx_to(s, other, "sim:0"));
  is_int(chx_capture_end(s, c), CHX_OK, "their results come in as they are: %s", chx_scope_message(s));
  chx_copy_into(s, n, chx_zeros_like(s, n));
  ok(!chx_capture_launch(s, c) && is3(s, y, 5, 13, 25), "then and later: %s", chx_scope_message(s));
  chx_capture_free(c);
  chx_scope_end(s);
}

/* What is valid on the host alone is brought to the device by the launch. */
static void shadows(void)
{
  chx_scope *s = chx_scope_begin("sim:0");
  chx_set_route(s, "exp", "staged");
  chx_array *x = chx_exp(s, chx_zeros(s, CHX_F32, 1, (int64_t[]){3}));
  chx_set_route(s, "exp", NULL);
  chx_capture *c = chx_capture_begin(s);
  chx_array *y = chx_add(s, x, x);
  chx_add_into(s, x, x, x);
  is_int(chx_capture_end(s, c), CHX_OK, "an operand on the host: %s", chx_scope_message(s));
  ok(is3(s, x, 1, 1, 1), "stays as it is until the launch");
  ok(!chx_capture_launch(s, c) && is3(s, y, 2, 2, 2) && is3(s, x, 2, 2, 2), "which takes and changes it");
  ok(!chx_capture_launch(s, c) && is3(s, y, 4, 4, 4) && is3(s, x, 4, 4, 4), "on the device from then on");
  chx_capture_free(c);
  chx_scope_end(s);
}

/* ---- failures ------------------------------------------------------------------------------------------------------ */

static void failures(void)
{
  chx_scope *s = chx_scope_begin("sim:0");
  chx_array *x = numbers(s, 3, 1);
  chx_capture *c = chx_capture_begin(s);
  chx_array *y = chx_mul(s, chx_add(s, x, x), x);
  chx_capture_end(s, c);
  chx_capture_launch(s, c);
  chx_sync(s);
  faults->arm(0, "kernel:2:late");
  is_int(chx_capture_launch(s, c), CHX_OK, "a launch that will fail is queued: %s", chx_scope_message(s));
  is_int(chx_sync(s), CHX_EDEVICE, "and fails late: %s", chx_scope_message(s));
  ok(strstr(chx_scope_message(s), "injected fault at kernel 2 (mul)") && strstr(chx_scope_message(s), "by capture_launch"),
     "with the queue's sentence");
  chx_scope_clear(s);
  ok(chx_read(s, y, (float[3]){0}, 12) != CHX_OK, "what it wrote is lost: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(!chx_capture_launch(s, c) && is3(s, y, 2, 8, 18), "and made again by the next launch, on a new queue: %s",
     chx_scope_message(s));
  faults->arm(0, "kernel:2");
  is_int(chx_capture_launch(s, c), CHX_EDEVICE, "a launch that fails at once: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(is3(s, y, 2, 8, 18) && !chx_capture_launch(s, c) && is3(s, y, 2, 8, 18), "has done nothing");
  chx_capture_free(c);

  c = chx_capture_begin(s);
  chx_take(s, x, chx_from(s, CHX_I64, 1, (double[]){5}), 0);
  is_int(chx_capture_end(s, c), CHX_OK, "what a kernel finds: %s", chx_scope_message(s));
  ok(!chx_capture_launch(s, c) && chx_sync(s) == CHX_EARG && strstr(chx_scope_message(s), "index 5 is out of range"),
     "comes late: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_capture_free(c);

  x = numbers(s, 3, 1);
  c = chx_capture_begin(s);
  y = chx_add(s, x, x);
  chx_capture_end(s, c);
  faults->arm(0, "copy:1:late");
  write3(s, x, 1, 1, 1);
  chx_sync(s);
  chx_scope_clear(s);
  ok(chx_capture_launch(s, c) && strstr(chx_scope_message(s), "a queue that failed"), "an operand that is lost: %s",
     chx_scope_message(s));
  chx_scope_clear(s);
  ok(write3(s, x, 1, 1, 1) && !chx_capture_launch(s, c) && is3(s, y, 2, 2, 2), "and written again");
  chx_capture_free(c);

  faults->arm(0, "copy:2:late");
  write3(s, x, 1, 2, 3);
  c = chx_capture_begin(s);
  chx_add(s, x, x);
  is_int(chx_capture_end(s, c), CHX_OK, "errors of before the capture: %s", chx_scope_message(s));
  chx_capture_free(c);
  faults->arm(0, "lost:1");
  ok(!is_usable(s), "the device is lost: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(!chx_capture_begin(s) && chx_scope_error(s) == CHX_ELOST, "and captures nothing: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_sync(s);
  faults->arm(0, NULL);
  ok(is_usable(s), "it is back");
  chx_scope_end(s);
}

/* Memory of the host and of the device that runs out, at each place in turn. */
static uint64_t allowed, refused;
static int refuse(void *ctx, const char *device, int alloc, uint64_t bytes)
{
  (void)ctx, (void)device, (void)bytes;
  if (!alloc || allowed--) return 0;
  refused++;
  return 1;
}

static void out_of_memory(void)
{
  int tries = 0, failed = 0, wrong = 0;
  chx_scope *s = chx_scope_begin("sim:0");
  do {
    net m = net_new(s);
    chx_sync(s);
    allowed = (uint64_t)tries++;
    refused = 0;
    chx_set_memory_hook(refuse, NULL);
    chx_capture *c = chx_capture_begin(s);
    if (c) train(s, &m);
    if (c && !chx_capture_end(s, c)) chx_capture_launch(s, c);
    chx_set_memory_hook(NULL, NULL);
    failed += chx_scope_error(s) == CHX_ENOMEM;
    wrong += chx_scope_error(s) && chx_scope_error(s) != CHX_ENOMEM;
    if (wrong) note("after %d: %s", tries, chx_scope_message(s));
    chx_capture_free(c);
    chx_scope_clear(s);
    for (int i = 0; i < 4; i++) chx_set_grad(s, m.p[i], NULL);
    chx_scope_rewind(s, 0, NULL);
    wrong += stats(s).used != 0;
  } while (refused && !wrong && tries < 2000);
  ok(!wrong && !refused && failed > 20, "memory that runs out at any of %d places (%d give up) leaves nothing: %s", tries, failed,
     chx_scope_message(s));
  ok(is_usable(s), "all is usable");
  chx_scope_end(s);
}

/* ---- children ------------------------------------------------------------------------------------------------------ */

static bool forked(void)
{
  chx_scope *s = chx_scope_begin("sim:0");
  chx_array *x = numbers(s, 3, 1);
  chx_capture *c = chx_capture_begin(s);
  chx_array *y = chx_add(s, x, x);
  fflush(stdout);
  pid_t pid = fork();
  if (!pid) {
    chx_status st = chx_capture_end(s, c);
    chx_capture_free(c);
    _exit(st == CHX_EDEVICE ? 0 : 1);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  ok(!status, "a child ends no capture of its parent, and frees it");
  ok(!chx_capture_end(s, c) && !chx_capture_launch(s, c) && is3(s, y, 2, 4, 6), "the parent does: %s", chx_scope_message(s));
  pid = fork();
  if (!pid) _exit(chx_capture_launch(s, c) == CHX_EDEVICE ? 0 : 1);
  waitpid(pid, &status, 0);
  ok(!status, "nor launches it");
  chx_capture_free(c);
  chx_scope_end(s);
  return true;
}

static bool find_faults(void)
{
  chx_scope *s = chx_scope_begin("sim:0");
  chx_scope_end(s);
  return (faults = sim_faults()) != NULL;
}

static bool guarded(void)
{
  setenv("CHX_SIM_GUARD", "1", 1);
  if (!find_faults()) return false;
  values();
  in_place();
  training();
  memory();
  return true;
}

static bool mapped(void)
{
  setenv("CHX_SIM_MEMORY_MODE", "mappable", 1);
  if (!find_faults()) return false;
  values();
  training();
  shadows();
  chx_scope *s = chx_scope_begin("sim:0");
  chx_set_route(s, "exp", "mapped");
  chx_array *x = chx_exp(s, chx_zeros(s, CHX_F32, 1, (int64_t[]){3}));
  chx_capture *c = chx_capture_begin(s);
  chx_array *y = chx_add(s, x, x);
  chx_capture_end(s, c);
  ok(!chx_capture_launch(s, c) && is3(s, y, 2, 2, 2), "an operand that is mapped: %s", chx_scope_message(s));
  c = chx_capture_begin(s);
  chx_exp(s, x);
  ok(strstr(chx_scope_message(s), "exp, which has no kernel here") != NULL, "the mapped route: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_scope_end(s);
  return true;
}

/* sim under another name, of whose kernels copy alone says that it can be captured. */
static const chx_device_ops *sims;
static chx_device_ops bare_ops;

static const chx_kernel *bare_kernel(chx_dev *dev, uint32_t i)
{
  static chx_kernel table[512];
  const chx_kernel *k = i < 512 ? sims->kernel(dev, i) : NULL;
  if (!k) return NULL;
  table[i] = *k;
  if (strcmp(k->op, "copy")) table[i].flags &= ~(uint32_t)CHX_K_CAPTURABLE;
  return &table[i];
}

static const chx_device_ops *bare_device_ops(void *state) { return (void)state, &bare_ops; }

static bool not_capturable(void)
{
  char path[4096];
  const char *build = getenv("CHX_BUILDDIR");
  snprintf(path, sizeof path, "%s/.libs/chx_sim.so", build ? build : ".");
  void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  chx_entry_fn entry = lib ? (chx_entry_fn)dlsym(lib, CHX_ENTRY) : NULL;
  if (!entry) return skip(1, "sim: chx was built without it"), true;
  static chx_plugin bare;
  bare = *entry();
  bare.name = "bare";
  bare.device_ops = bare_device_ops;
  sims = entry()->device_ops(NULL);
  bare_ops = *sims;
  bare_ops.kernel = bare_kernel;
  chx_scope *s = chx_scope_begin("native:0");
  ok(!chx_add_plugin(s, &bare) && !chx_scope_set_device(s, "bare:0"), "sim as bare:0: %s", chx_scope_message(s));
  chx_array *x = numbers(s, 3, 1);
  chx_capture *c = chx_capture_begin(s);
  chx_array *y = chx_copy(s, x);
  ok(!chx_capture_end(s, c) && !chx_capture_launch(s, c) && is3(s, y, 1, 2, 3), "a kernel that can be captured: %s", chx_scope_message(s));
  chx_capture_free(c);
  c = chx_capture_begin(s);
  chx_exp(s, x);
  ok(strstr(chx_scope_message(s), "the kernel of this operator cannot be captured") && strstr(chx_scope_message(s), "(in exp)"),
     "and one that cannot: %s", chx_scope_message(s));
  chx_capture_free(c);
  ok(is_usable(s), "bare:0 is usable");
  chx_scope_end(s);
  return true;
}

static bool waiting(void)
{
  setenv("CHX_SYNC", "1", 1);
  if (!find_faults()) return false;
  values();
  training();
  return true;
}

int main(void)
{
  alarm(300); /* a deadlock is a failure, not a hang */
  in_child_of_tests(guarded);
  in_child_of_tests(mapped);
  in_child_of_tests(waiting);
  in_child_of_tests(not_capturable);
  if (!sim_is_there(1) || !find_faults()) return done_testing();
  values();
  in_place();
  training();
  memory();
  orders();
  refusals();
  misuse();
  threads();
  beside();
  shadows();
  failures();
  out_of_memory();
  forked();
  return done_testing();
}
