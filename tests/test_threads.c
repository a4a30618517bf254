/* SPDX-License-Identifier: MIT
 * test_threads.c: eight threads with a scope each share parameters and a device, and the host's copy of an array; fork after use.
 */
#include "../core/dlpack.h"
#include "sim_faults.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8, STEPS = 50 };
static chx_array *weight, *input;
static atomic_int failures;

/* Forward and backward against the shared weight; its gradient adds up over all threads. */
static void *train(void *device)
{
  for (int i = 0; i < STEPS; i++) {
    chx_scope *s = chx_scope_begin(device);
    chx_array *loss = chx_sum(s, chx_tanh(s, chx_matmul(s, input, weight)), 0, NULL, 0);
    chx_backward(s, loss);
    chx_array *g = NULL;
    chx_array *again = chx_sum(s, chx_mul(s, weight, weight), 0, NULL, 0);
    chx_grad(s, (const chx_array *[]){again}, 1, (const chx_array *[]){weight}, 1, NULL, 0, 0, &g);
    chx_item(s, loss);
    if (chx_scope_error(s)) {
      note("%s", chx_scope_message(s));
      failures++;
    }
    chx_scope_end(s);
  }
  return NULL;
}

static void together(char *device)
{
  pthread_t t[THREADS];
  chx_scope *s = chx_scope_begin(device);
  if (chx_scope_error(s)) {
    skip(3, chx_scope_message(s));
    chx_scope_end(s);
    return;
  }
  chx_array *x = chx_full(s, CHX_F32, 2, (int64_t[]){16, 32}, 0.01), *w = chx_full(s, CHX_F32, 2, (int64_t[]){32, 8}, 0.02);
  input = x;
  weight = w;
  chx_require_grad(s, w);
  chx_sync(s);
  failures = 0;
  int started = 0;
  for (int i = 0; i < THREADS; i++) started += pthread_create(&t[i], NULL, train, device) == 0;
  for (int i = 0; i < started; i++) pthread_join(t[i], NULL);
  is_int(started, THREADS, "%s: threads started", device);
  is_int(failures, 0, "%s: steps that failed", device);
  double one = 16 * 0.01 * (1 - tanh(32 * 0.01 * 0.02) * tanh(32 * 0.01 * 0.02));
  chx_array *g = chx_grad_of(s, w);
  double got = chx_item(s, chx_at(s, chx_at(s, g, 0, 0), 0, 0));
  is_close(got, THREADS * STEPS * one, 1e-3 * THREADS * STEPS * one, "%s: the shared gradient is the sum of all", device);
  if (chx_scope_error(s)) note("%s", chx_scope_message(s));
  chx_scope_end(s);
}

/* ---- an array that others have, on the host by several threads at once -------------------------------------------------------- */

static void *stage(void *want)
{
  for (int i = 0; i < STEPS; i++) {
    chx_scope *s = chx_scope_begin("sim:0");
    chx_array *y = i % 2 ? chx_tanh(s, input) : chx_sqrt(s, chx_mul(s, input, input));
    double got = chx_item(s, chx_sum(s, y, 0, NULL, 0));
    if (chx_scope_error(s) || fabs(got - ((double *)want)[i % 2]) > 1e-9 * got) {
      note("%.17g: %s", got, chx_scope_message(s));
      failures++;
    }
    chx_scope_end(s);
  }
  return NULL;
}

/* Each operator copies anew what others may have changed, while another thread's still reads. */
static void staged_together(void)
{
  enum { N = 1 << 14 };
  double want[2] = {N * 0.5, N * tanh(0.5)};
  pthread_t t[THREADS];
  chx_scope *s = chx_scope_begin("sim:0");
  if (chx_scope_error(s)) {
    skip(3, chx_scope_message(s));
    chx_scope_end(s);
    return;
  }
  chx_set_route(s, "tanh", "staged");
  chx_set_route(s, "mul", "staged");
  input = chx_full(s, CHX_F64, 1, (int64_t[]){N}, 0.5);
  chxi_dl_managed *m = chx_to_dlpack(s, input);
  failures = 0;
  int started = 0;
  for (int i = 0; m && i < THREADS; i++) started += pthread_create(&t[i], NULL, stage, want) == 0;
  for (int i = 0; i < started; i++) pthread_join(t[i], NULL);
  is_int(started, THREADS, "threads that stage a shared array %s", chx_scope_message(s));
  is_int(failures, 0, "of them went wrong");
  if (m) m->deleter(m);
  is_close(chx_item(s, chx_sum(s, chx_tanh(s, input), 0, NULL, 0)), want[1], 1e-9 * want[1],
           "and when nobody has it any more");
  chx_set_route(s, "tanh", NULL);
  chx_set_route(s, "mul", NULL);
  chx_scope_end(s);
}

/* ---- fork ---------------------------------------------------------------------------------------------------------------------- */

/* In a child: 0 right, 1 wrong, 2 a clear error. */
static int child(const char *device, chx_array *a)
{
  chx_scope *s = chx_scope_begin(device);
  double v = chx_item(s, chx_sum(s, chx_exp(s, chx_add(s, a, a)), 0, NULL, 0));
  int rc = chx_scope_error(s) ? (chx_scope_error(s) == CHX_EDEVICE ? 2 : 1) : fabs(v - (1 << 16) * exp(1)) < 1e-3 * v ? 0 : 1;
  if (rc == 1) note("child: %s, %g", chx_scope_message(s), v);
  return rc;
}

#if defined __SANITIZE_THREAD__
enum { THREADS_AFTER_FORK = 0 }; /* the thread sanitizer ends a forked child that starts one */
#else
enum { THREADS_AFTER_FORK = 1 };
#endif

static void forked(const char *device, int want)
{
  if (!THREADS_AFTER_FORK) {
    skip(1, "fork: not under the thread sanitizer");
    return;
  }
  chx_scope *s = chx_scope_begin(device);
  if (chx_scope_error(s)) {
    skip(1, chx_scope_message(s));
    chx_scope_end(s);
    return;
  }
  chx_array *a = chx_full(s, CHX_F64, 1, (int64_t[]){1 << 16}, 0.5);
  chx_item(s, chx_sum(s, chx_exp(s, a), 0, NULL, 0)); /* the pool and the queues are in use */
  fflush(stdout);
  pid_t pid = fork();
  if (!pid) {
    alarm(60);
    _exit(child(device, a));
  }
  int status = -1;
  waitpid(pid, &status, 0);
  is_int(WIFEXITED(status) ? WEXITSTATUS(status) : -1, want, "%s: a forked child %s", device, want ? "gets a clear error" : "goes on");
  chx_scope_end(s);
}

static atomic_int stop;

static void *busy(void *arg)
{
  (void)arg;
  while (!stop) {
    chx_scope *s = chx_scope_begin("native");
    chx_array *a = chx_full(s, CHX_F32, 1, (int64_t[]){1 + rand() % 100000}, 1);
    chx_item(s, chx_sum(s, chx_add(s, a, a), 0, NULL, 0));
    chx_memory_trim(s, NULL);
    chx_scope_end(s);
  }
  return NULL;
}

/* Children of a process whose other threads are at work in the core. */
static void forked_while_busy(void)
{
  if (!THREADS_AFTER_FORK) {
    skip(1, "fork: not under the thread sanitizer");
    return;
  }
  pthread_t t[2];
  int wrong = 0;
  for (int i = 0; i < 2; i++) pthread_create(&t[i], NULL, busy, NULL);
  fflush(stdout);
  for (int i = 0; i < 100; i++) {
    pid_t pid = fork();
    if (!pid) {
      alarm(20);
      chx_scope *s = chx_scope_begin("native");
      chx_array *a = chx_full(s, CHX_F64, 1, (int64_t[]){70000}, 0.5);
      double v = chx_item(s, chx_sum(s, chx_add(s, a, a), 0, NULL, 0));
      chx_memory_trim(s, NULL);
      _exit(v == 70000 && !chx_scope_error(s) ? 0 : 1);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    wrong += status != 0;
  }
  stop = 1;
  for (int i = 0; i < 2; i++) pthread_join(t[i], NULL);
  is_int(wrong, 0, "children of 100 forks while two threads are in the core that hang or go wrong");
}

static void *add_gradients(void *arg)
{
  (void)arg;
  while (!stop) {
    chx_scope *s = chx_scope_begin("native:0");
    chx_backward(s, chx_sum(s, chx_mul(s, weight, weight), 0, NULL, 0));
    chx_scope_end(s);
  }
  return NULL;
}

/* The gradient that a thread adds to at a fork may be half of it in the child, but the child can go on with it. */
static void forked_while_adding(void)
{
  if (!THREADS_AFTER_FORK) {
    skip(1, "fork: not under the thread sanitizer");
    return;
  }
  pthread_t t[2];
  int wrong = 0;
  chx_scope *s = chx_scope_begin("native:0");
  chx_array *w = chx_full(s, CHX_F64, 1, (int64_t[]){1 << 16}, 1);
  weight = w;
  chx_require_grad(s, w);
  stop = 0;
  for (int i = 0; i < 2; i++) pthread_create(&t[i], NULL, add_gradients, NULL);
  fflush(stdout);
  for (int i = 0; i < 50 && wrong < 3; i++) {
    pid_t pid = fork();
    if (!pid) {
      alarm(10);
      chx_scope *own = chx_scope_begin("native:0");
      chx_set_grad(own, w, NULL);
      chx_backward(own, chx_sum(own, chx_mul(own, w, w), 0, NULL, 0));
      double g = chx_item(own, chx_sum(own, chx_grad_of(own, w), 0, NULL, 0));
      _exit(g == 2 << 16 && !chx_scope_error(own) ? 0 : 1);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    wrong += status != 0;
  }
  stop = 1;
  for (int i = 0; i < 2; i++) pthread_join(t[i], NULL);
  is_int(wrong, 0, "children of 50 forks while threads add to a gradient, which hang or go wrong");
  chx_scope_end(s);
}

/* ---- children of a process whose other threads have the device's memory open --------------------------------------------------- */

static void *lend_and_pin(void *arg)
{
  (void)arg;
  while (!stop) {
    chx_scope *s = chx_scope_begin("sim:0");
    chx_tanh(s, chx_mul(s, input, input));
    chx_tanh(s, input);
    chx_sync(s);
    chx_scope_end(s);
  }
  return NULL;
}

static bool forked_while_lent(void)
{
  pthread_t t[3];
  int wrong = 0;
  setenv("CHX_SIM_MEMORY_MODE", "mappable", 1);
  if (!sim_is_there(1)) return true;
  chx_scope *s = chx_scope_begin("sim:0");
  chx_set_route(s, "tanh", "mapped");
  input = chx_full(s, CHX_F64, 1, (int64_t[]){1 << 12}, 0.5);
  for (int i = 0; i < 3; i++) pthread_create(&t[i], NULL, lend_and_pin, NULL);
  fflush(stdout);
  for (int i = 0; i < 100 && wrong < 3; i++) {
    pid_t pid = fork();
    if (!pid) {
      alarm(10);
      chx_scope *own = chx_scope_begin("sim:0"); /* a child has no sim, which it is to be told */
      chx_tanh(own, input);
      chx_scope *second = chx_scope_begin("sim:0");
      chx_mul(second, input, input);
      _exit(chx_scope_error(own) && chx_scope_error(second) ? 0 : 1);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    wrong += status != 0;
  }
  stop = 1;
  for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
  is_int(wrong, 0, "children of 100 forks while sim's memory is open, which hang or go wrong");
  chx_set_route(s, "tanh", NULL);
  chx_scope_end(s);
  return true;
}

int main(void)
{
  if (THREADS_AFTER_FORK) in_child_of_tests(forked_while_lent); /* before this process has threads */
  else skip(1, "fork: not under the thread sanitizer");
  together("native:0");
  together("sim:0");
  staged_together();
  forked("native:0", 0);
  forked("sim:0", 2);
  forked_while_busy();
  forked_while_adding();
  return done_testing();
}
