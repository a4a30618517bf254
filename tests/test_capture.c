/* SPDX-License-Identifier: MIT
 * test_capture.c: captures, on the simulated accelerator: what is recorded is not done, a launch does it on the arrays as
 * they are, in order with all else, and takes no memory. test_capture_errors.c has what is refused and what fails.
 */
#include "captures.h"
#include <pthread.h>

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

enum { STEPS = 12 };

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
  if (!sim_is_there(1) || !find_faults()) return done_testing();
  values();
  in_place();
  training();
  memory();
  orders();
  threads();
  beside();
  shadows();
  forked();
  return done_testing();
}
