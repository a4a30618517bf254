/* SPDX-License-Identifier: MIT
 * test_dlpack_device.c: DLPack tensors of a device's memory: imported without a copy, exported behind a consumer's queue, and
 * kept from the host as long as they are shared. On sim, in its private and in its mappable mode, and on opencl where it is.
 */
#include "../core/dlpack.h"
#include "sim_faults.h"
#include <pthread.h>
#include <time.h>

enum { ROWS = 2, COLS = 3, N = ROWS * COLS };
static const int64_t shape[] = {ROWS, COLS};
static const double one_to_six[] = {1, 2, 3, 4, 5, 6};

static double now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool holds(const chx_array *a, int64_t n, const double *want)
{
  return a && chx_size(a) == n && rel_err(a, want) == 0;
}

/* ---- a tensor of a stranger: over the memory of an array that is exported to him ------------------------------------------- */

typedef struct stranger {
  chxi_dl_managed m, *theirs;
  int ended;
  int64_t shape[4], strides[4];
} stranger;

static void end_stranger(chxi_dl_managed *m)
{
  stranger *x = m->manager_ctx;
  x->ended++;
  x->theirs->deleter(x->theirs);
}

/* f64, as a lies. */
static chxi_dl_managed *begin_stranger(chx_scope *s, stranger *x, const chx_array *a)
{
  *x = (stranger){.theirs = chx_to_dlpack(s, a)};
  if (!ok(x->theirs != NULL, "the stranger has the memory %s", chx_scope_message(s))) return NULL;
  x->m = *x->theirs;
  x->m.manager_ctx = x;
  x->m.deleter = end_stranger;
  memcpy(x->shape, x->m.tensor.shape, (size_t)x->m.tensor.ndim * sizeof *x->shape);
  memcpy(x->strides, x->m.tensor.strides, (size_t)x->m.tensor.ndim * sizeof *x->strides);
  x->m.tensor.shape = x->shape;
  x->m.tensor.strides = x->strides;
  return &x->m;
}

static void give_up(chx_scope *s, stranger *x)
{
  x->m.deleter(&x->m);
  chx_scope_clear(s);
}

/* ---- import ------------------------------------------------------------------------------------------------------------------ */

static void shared(const char *device)
{
  stranger x;
  chx_scope *s = chx_scope_begin(device), *other = chx_scope_begin("native:0");
  chx_array *a = chx_from_shape(s, CHX_F64, 2, shape, one_to_six), *b = chx_from_dlpack(other, begin_stranger(s, &x, a));
  ok(b && !strcmp(chx_device(b), device), "it is on the device that it names, whatever the scope's %s", chx_scope_message(other));
  ok(holds(b, N, one_to_six), "it holds the stranger's numbers");
  chx_square_into(s, b, b);
  ok(holds(a, N, (const double[]){1, 4, 9, 16, 25, 36}), "what is written to it is in his memory %s", chx_scope_message(s));
  chx_array *view = chx_keep(chx_at(other, b, 0, 1));
  chx_scope_end(other);
  is_int(x.ended, 0, "a view keeps the tensor");
  ok(holds(view, COLS, (const double[]){16, 25, 36}), "and reads it after the scope's end");
  chx_release(view);
  is_int(x.ended, 1, "the last array ends it, once");
  ok(holds(a, N, (const double[]){1, 4, 9, 16, 25, 36}), "and leaves his memory to him");
  chx_scope_end(s);
}

static void numbers(const char *device)
{
  int number = 0, id = -1;
  chx_scope *s = chx_scope_begin(device), *other = chx_scope_begin("native:0");
  chx_array *a = chx_from_shape(s, CHX_F64, 2, shape, one_to_six);
  ok(!chx_dlpack_type(s, a, &number, &id) && number > 1, "%s has a number %s", device, chx_scope_message(s));
  is_str(chx_dlpack_device(other, number, id), device, "by which it is found");
  chx_scope_end(other);
  chx_scope_end(s);
}

static void layouts(const char *device)
{
  static const int64_t long_shape[] = {24};
  double v[24];
  stranger x;
  chx_scope *s = chx_scope_begin(device);
  for (int i = 0; i < 24; i++) v[i] = i;
  chx_array *a = chx_from_shape(s, CHX_F64, 1, long_shape, v);
  struct { const char *what; int ndim; int64_t shape[2], strides[2]; uint64_t skip; bool dense; double want[4]; int n; } form[] = {
    {"strides", 2, {2, 2}, {1, 2}, 0, false, {0, 2, 1, 3}, 4},
    {"no strides", 2, {2, 2}, {0}, 0, true, {0, 1, 2, 3}, 4},
    {"byte_offset", 1, {2}, {1}, 22 * 8, false, {22, 23}, 2},
    {"a negative stride", 1, {4}, {-1}, 3 * 8, false, {3, 2, 1, 0}, 4},
    {"two negative strides", 2, {2, 2}, {-4, -1}, 9 * 8, false, {9, 8, 5, 4}, 4},
    {"0-d", 0, {0}, {0}, 5 * 8, false, {5}, 1},
    {"no elements", 2, {2, 0}, {1, 1}, 0, false, {0}, 0},
  };
  for (size_t i = 0; i < sizeof form / sizeof *form; i++) {
    if (!begin_stranger(s, &x, a)) continue;
    x.m.tensor.ndim = form[i].ndim;
    x.m.tensor.byte_offset += form[i].skip;
    x.m.tensor.shape = form[i].shape;
    x.m.tensor.strides = form[i].dense ? NULL : form[i].strides;
    size_t mark = chx_scope_mark(s);
    chx_array *b = chx_from_dlpack(s, &x.m);
    ok(b && chx_ndim(b) == form[i].ndim && holds(b, form[i].n, form[i].want) && !strcmp(chx_device(b), device), "%s %s",
       form[i].what, chx_scope_message(s));
    chx_scope_rewind(s, mark, NULL);
    is_int(x.ended, 1, "ended");
  }
  if (begin_stranger(s, &x, a)) {
    x.m.flags = CHXI_DL_READ_ONLY;
    chx_array *b = chx_from_dlpack(s, &x.m);
    ok(holds(b, 24, v) && x.ended == 1, "a read-only tensor is copied, on the device %s", chx_scope_message(s));
    chx_square_into(s, b, b);
    ok(holds(a, 24, v), "and not shared");
  }
  chx_scope_end(s);
}

static void refused(void)
{
  static const struct { const char *what, *part; int code; } bad[] = {
    {"a device that is not here", "12 (extension), id 77", CHX_EDEVICE},
    {"a type without a backend", "8 (Metal), id 0", CHX_EDEVICE},
    {"another device's memory", "not in a live allocation of sim:1", CHX_EARG},
    {"past the allocation", "not in a live allocation", CHX_EARG},
    {"before the allocation", "not in a live allocation", CHX_EARG},
    {"misaligned", "aligned for f64", CHX_EARG},
    {"an offset beyond memory", "reach beyond memory", CHX_ESHAPE},
  };
  enum { BAD = sizeof bad / sizeof *bad };
  stranger x;
  chx_scope *s = chx_scope_begin("sim:0");
  chx_array *a = chx_from_shape(s, CHX_F64, 2, shape, one_to_six), *far = chx_to(s, a, "sim:1");
  chx_sync(s);
  for (int i = 0; i < BAD && far && begin_stranger(s, &x, i == 2 ? a : far); i++) {
    chxi_dl_tensor *t = &x.m.tensor;
    if (i == 0) t->device.id = 77;
    if (i == 1) t->device = (chxi_dl_device){8, 0};
    if (i == 2) t->device.id = 1;
    if (i == 3) t->byte_offset += (uint64_t)1 << 26;
    if (i == 4) x.strides[0] = -(1 << 20);
    if (i == 5) t->byte_offset += 4;
    if (i == 6) t->byte_offset = UINT64_MAX;
    chx_array *b = chx_from_dlpack(s, &x.m);
    ok(!b && chx_scope_error(s) == bad[i].code && strstr(chx_scope_message(s), bad[i].part) && !x.ended, "%s: %s", bad[i].what,
       chx_scope_message(s));
    give_up(s, &x);
  }
  ok(holds(far, N, one_to_six), "and his memory is as it was %s", chx_scope_message(s));
  chx_scope_end(s);
}

/* ---- order ------------------------------------------------------------------------------------------------------------------- */

enum { KERNEL_US = 400000 };
static const double kernel_s = 1e-6 * KERNEL_US;
static const chx_sim_fault_ops *sim;

/* The owner gets his memory back when our work on it is done. */
static void ended_behind_work(void)
{
  stranger x;
  chx_scope *s = chx_scope_begin("sim:0");
  chx_array *a = chx_from_shape(s, CHX_F64, 2, shape, one_to_six);
  chxi_dl_managed *m = begin_stranger(s, &x, a);
  size_t mark = chx_scope_mark(s);
  double t = now();
  sim->pace(0, 0, 0, KERNEL_US);
  chx_square_into(s, chx_from_dlpack(s, m), a);
  ok(now() - t < kernel_s, "the host does not wait for a kernel on imported memory %s", chx_scope_message(s));
  chx_scope_rewind(s, mark, NULL);
  ok(x.ended == 1 && now() - t >= kernel_s, "its end does");
  sim->pace(0, 0, 0, 0);
  chx_scope_end(s);
}

/* Another thread, its queue, and what it makes of the tensor that it gets. */
typedef struct consumer {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  void *queue;
  chxi_dl_managed *m;
  bool asked, given;
  double got[N];
  char message[512];
} consumer;

static void *consume(void *arg)
{
  consumer *c = arg;
  chx_scope *s = chx_scope_begin("sim:0");
  pthread_mutex_lock(&c->lock);
  c->queue = chx_dlpack_queue(s);
  c->asked = true;
  pthread_cond_broadcast(&c->changed);
  while (!c->given) pthread_cond_wait(&c->changed, &c->lock);
  pthread_mutex_unlock(&c->lock);
  if (c->m) chx_read(s, chx_sqrt(s, chx_from_dlpack(s, c->m)), c->got, sizeof c->got);
  snprintf(c->message, sizeof c->message, "%s", chx_scope_message(s));
  chx_scope_end(s);
  return NULL;
}

static void behind_a_queue(void)
{
  consumer c = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
  chx_scope *s = chx_scope_begin("sim:0"), *host = chx_scope_begin("native:0");
  ok(!chx_dlpack_queue(host) && !chx_scope_error(host), "native has no queue");
  chx_scope_end(host);
  pthread_create(&c.thread, NULL, consume, &c);
  pthread_mutex_lock(&c.lock);
  while (!c.asked) pthread_cond_wait(&c.changed, &c.lock);
  ok(c.queue && c.queue != chx_dlpack_queue(s), "the consumer has a queue, which is not ours");
  chx_array *a = chx_from_shape(s, CHX_F64, 2, shape, one_to_six);
  chx_sync(s);
  double t = now();
  sim->pace(0, 0, 0, KERNEL_US);
  a = chx_square(s, a);
  c.m = chx_to_dlpack_on(s, a, c.queue);
  ok(c.m && now() - t < kernel_s, "exported to its queue: the host does not wait %s", chx_scope_message(s));
  nanosleep(&(struct timespec){0, 50000000}, NULL); /* it has begun: only the consumer's own kernel is quick */
  sim->pace(0, 0, 0, 0);
  c.given = true;
  pthread_cond_broadcast(&c.changed);
  pthread_mutex_unlock(&c.lock);
  pthread_join(c.thread, NULL);
  ok(!memcmp(c.got, one_to_six, sizeof c.got), "but the consumer's queue does %s", c.message);
  sim->pace(0, 0, 0, KERNEL_US);
  t = now();
  a = chx_square(s, a);
  chxi_dl_managed *m = chx_to_dlpack(s, a);
  ok(m && now() - t >= kernel_s, "without a queue the host waits");
  m->deleter(m);
  t = now();
  a = chx_square(s, a);
  m = chx_to_dlpack_on(s, a, CHX_DLPACK_NO_WAIT);
  ok(m && now() - t < kernel_s, "whose consumer orders it himself gets it at once %s", chx_scope_message(s));
  m->deleter(m);
  sim->pace(0, 0, 0, 0);
  ok(!chx_to_dlpack_on(s, a, &c) && chx_scope_error(s) == CHX_EARG, "what is no queue: %s", chx_scope_message(s));
  chx_scope_end(s);
}

/* ---- the host's part ------------------------------------------------------------------------------------------------------------ */

/* tanh on native, by `route`, while others have the memory. */
static void beside_the_host(const char *device, const char *route)
{
  static const double ones[N] = {1, 1, 1, 1, 1, 1};
  double want[N];
  chx_scope *s = chx_scope_begin(device);
  chx_set_route(s, "tanh", route);
  for (int i = 0; i < N; i++) want[i] = tanh(one_to_six[i]);
  chx_array *a = chx_from_shape(s, CHX_F64, 2, shape, one_to_six);
  ok(rel_err(chx_tanh(s, a), want) < 1e-15, "%s, before it is shared %s", route, chx_scope_message(s));
  chxi_dl_managed *m = chx_to_dlpack(s, a), *second = chx_to_dlpack(s, a);
  size_t mark = chx_scope_mark(s);
  chx_array *b = chx_from_dlpack(s, m);
  chx_array *y = chx_tanh(s, a), *z = chx_sqrt(s, b), *w = chx_tanh(s, b);
  ok(rel_err(y, want) < 1e-15 && rel_err(w, want) < 1e-15, "%s, while a consumer has it %s", route, chx_scope_message(s));
  ok(rel_err(chx_square(s, z), one_to_six) < 1e-15, "who works on the device then %s", chx_scope_message(s));
  chx_sub_into(s, b, b, chx_from_shape(s, CHX_F64, 2, shape, ones));
  for (int i = 0; i < N; i++) want[i] = tanh(one_to_six[i] - 1);
  ok(rel_err(chx_tanh(s, a), want) < 1e-15, "%s sees what he wrote %s", route, chx_scope_message(s));
  chx_copy_into(s, a, chx_from_shape(s, CHX_F64, 2, shape, ones));
  ok(holds(b, N, ones), "and he what we write %s", chx_scope_message(s));
  chx_scope_rewind(s, mark, NULL);
  b = chx_from_dlpack(s, second);
  chx_tanh(s, a);
  chx_copy_into(s, b, chx_from_shape(s, CHX_F64, 2, shape, one_to_six));
  chx_scope_rewind(s, mark, NULL);
  for (int i = 0; i < N; i++) want[i] = tanh(one_to_six[i]);
  ok(rel_err(chx_tanh(s, a), want) < 1e-15, "%s, when both have ended %s", route, chx_scope_message(s));
  ok(holds(chx_square(s, a), N, (const double[]){1, 4, 9, 16, 25, 36}), "and the device goes on %s", chx_scope_message(s));
  chx_set_route(s, "tanh", NULL);
  chx_scope_end(s);
}

/* A copy that goes through the host is seen by others at once. */
static void written_by_the_host(const char *device)
{
  stranger x;
  chx_scope *s = chx_scope_begin(device);
  chx_set_route(s, "cast", "staged"); /* which copies into arrays */
  chx_array *a = chx_from_shape(s, CHX_F64, 2, shape, one_to_six);
  chx_array *b = chx_from_dlpack(s, begin_stranger(s, &x, a)), *seven = chx_full(s, CHX_F64, 1, shape, 7);
  chx_copy_into(s, chx_at(s, a, 1, 1), seven);
  ok(holds(b, N, (const double[]){1, 7, 3, 4, 7, 6}), "a column that the host writes is in shared memory %s", chx_scope_message(s));
  chx_set_route(s, "cast", NULL);
  chx_scope_end(s);
}

static void all(const char *device, const char *route)
{
  shared(device);
  numbers(device);
  layouts(device);
  beside_the_host(device, route);
  beside_the_host(device, "staged");
  written_by_the_host(device);
}

static bool mappable(void)
{
  setenv("CHX_SIM_MEMORY_MODE", "mappable", 1);
  if (!sim_is_there(1)) return true;
  sim = sim_faults();
  all("sim:1", "mapped");
  return true;
}

int main(void)
{
  alarm(120);
  in_child_of_tests(mappable); /* before this process has threads */
  if (!sim_is_there(1)) return done_testing();
  sim = sim_faults();
  all("sim:1", "staged");
  refused();
  ended_behind_work();
  behind_a_queue();
  chx_scope *s = chx_scope_begin("opencl:0");
  if (chx_scope_error(s)) skip(1, chx_scope_message(s));
  else all("opencl:0", "mapped");
  chx_scope_end(s);
  return done_testing();
}
