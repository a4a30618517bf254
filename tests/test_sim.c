/* SPDX-License-Identifier: MIT
 * test_sim.c: what the core makes of a device with private memory, queues, late errors and faults (plugins/sim): the
 * numbers are native's, an error names what failed, what was lost stays lost, and the next try is right.
 */
#include "sim_faults.h"
#include <pthread.h>
#include <time.h>

static const chx_sim_fault_ops *faults;

static double now_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* ---- a small computation ------------------------------------------------------------------------------------------- */

enum { N = 6 };

/* Something of each kind of kernel, forward and backward; its loss, and in *g the sum of the gradient's squares. */
static double compute(chx_scope *s, double *g)
{
  double xs[N * N], ws[N * N];
  for (int i = 0; i < N * N; i++) xs[i] = (i % 7 - 3) * 0.25, ws[i] = (i % 5 - 2) * 0.5;
  const int64_t shape[] = {N, N};
  chx_array *x = chx_from_shape(s, CHX_F64, 2, shape, xs), *w = chx_from_shape(s, CHX_F64, 2, shape, ws);
  chx_require_grad(s, w);
  chx_array *h = chx_tanh(s, chx_matmul(s, x, chx_transpose(s, w, 0, NULL)));
  chx_array *loss = chx_sum(s, chx_mul(s, h, chx_add(s, h, chx_real(s, 0.5))), 0, NULL, 0);
  chx_backward(s, loss);
  chx_array *gw = chx_grad_of(s, w);
  *g = chx_item(s, chx_sum(s, chx_mul(s, gw, gw), 0, NULL, 0));
  return chx_item(s, loss);
}

static double native_loss, native_g;

/* Whether sim:0 gives native's numbers now. */
static bool is_right(void)
{
  double g = 0;
  chx_scope *s = chx_scope_begin("sim:0");
  double loss = compute(s, &g);
  bool right = !chx_scope_error(s) && loss == native_loss && g == native_g;
  if (!right) note("loss %.17g (%.17g), gradient %.17g (%.17g) %s", loss, native_loss, g, native_g, chx_scope_message(s));
  chx_scope_end(s);
  return right;
}

/* ---- subjects ------------------------------------------------------------------------------------------------------ */

static void devices(void)
{
  chx_backend_state b;
  chx_device_state d;
  for (int i = 0; !chx_backend_at(i, &b); i++)
    if (!strcmp(b.name, "sim")) {
      is_int(b.n_devices, 2, "sim has two devices");
      ok(!chx_device_at(i, 1, &d) && !strcmp(d.specifier, "sim:1") && !d.is_host, "sim:1's memory is not the host's");
    }
  chx_scope *s = chx_scope_begin("sim:0");
  double x[] = {1, 2, 3};
  chx_array *a = chx_from(s, CHX_F32, 3, x);
  chx_scope_set_device(s, "sim:1");
  chx_array *b1 = chx_to(s, a, "sim:1"), *c = chx_add(s, b1, b1);
  ok(rel_err(c, (double[]){2, 4, 6}) == 0, "from sim:0 to sim:1, and added there");
  is_str(chx_device(c), "sim:1", "the result is on sim:1");
  ok(!chx_add(s, a, b1), "operands on two devices: %s", chx_scope_message(s));
  ok(strstr(chx_scope_message(s), "sim:0") && strstr(chx_scope_message(s), "sim:1"), "the error names both");
  chx_scope_end(s);
}

/* A copy between two devices goes past the host, and neither overtakes what is still to be written nor is overtaken. */
static void peers(void)
{
  chx_scope *s = chx_scope_begin("sim:0");
  chx_array *x = chx_from(s, CHX_F32, 3, (double[]){1, 2, 3});
  faults->arm(0, NULL);
  faults->arm(1, NULL);
  faults->delay(0, 20000);
  chx_array *a = chx_add(s, x, x), *b = chx_to(s, a, "sim:1");
  faults->delay(0, 0);
  is_int((long long)faults->count(0, CHX_SIM_COPY), 0, "to sim:1: no copy from sim:0 to the host");
  is_int((long long)faults->count(1, CHX_SIM_COPY), 1, "but one by sim:1 itself");
  faults->delay(1, 20000);
  chx_scope_set_device(s, "sim:1");
  chx_array *c = chx_to(s, a, "sim:1");
  chx_scope_set_device(s, "sim:0");
  chx_add_into(s, a, a, a); /* not before it has been copied */
  faults->delay(1, 0);
  ok(rel_err(b, (double[]){2, 4, 6}) == 0, "it waited for the addition: %s", chx_scope_message(s));
  ok(rel_err(c, (double[]){2, 4, 6}) == 0 && rel_err(a, (double[]){4, 8, 12}) == 0, "what overwrites the source waits for the copy");
  faults->arm(1, "copy:1:late");
  chx_array *d = chx_to(s, a, "sim:1");
  ok(d && !chx_scope_error(s), "a copy that will fail is queued");
  chx_item(s, chx_sum(s, chx_to(s, d, "native:0"), 0, NULL, 0));
  ok(chx_scope_error(s) == CHX_EDEVICE && strstr(chx_scope_message(s), "from a peer"), "and its error comes late: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(rel_err(a, (double[]){4, 8, 12}) == 0, "the source is as it was");
  faults->arm(1, "copy:1");
  ok(!chx_to(s, a, "sim:1") && strstr(chx_scope_message(s), "sim:1") && strstr(chx_scope_message(s), "sim:0"), "one that fails at once: %s",
     chx_scope_message(s));
  chx_scope_clear(s);
  faults->arm(1, NULL);
  ok(rel_err(chx_to(s, chx_transpose(s, chx_reshape(s, a, 2, (int64_t[]){1, 3}), 0, NULL), "sim:1"), (double[]){4, 8, 12}) == 0, "a view is copied, too");
  chx_scope_end(s);
}

static void asynchrony(void)
{
  enum { LAG_MS = 40 };
  double x[] = {1, 2, 3, 4};
  float back[4];
  chx_scope *s = chx_scope_begin("sim:0");
  const int64_t shape[] = {4};
  float data[] = {1, 2, 3, 4};
  chx_array *a = chx_from(s, CHX_F32, 4, x);
  chx_add(s, a, a); /* routes are found and memory is there */
  chx_sync(s);
  faults->delay(0, LAG_MS * 1000);
  double t0 = now_ms();
  chx_array *b = chx_from_host(s, CHX_F32, 1, shape, data);
  memset(data, 0, sizeof data); /* ours again, although the copy has not begun */
  chx_array *y = chx_mul(s, chx_add(s, b, b), a);
  double queued = now_ms() - t0;
  chx_status st = chx_read(s, y, back, sizeof back);
  double waited = now_ms() - t0;
  faults->delay(0, 0);
  ok(queued < LAG_MS, "two kernels and a copy are queued without waiting: %.1f ms < %d ms", queued, LAG_MS);
  ok(waited >= 4 * LAG_MS, "reading waits for them: %.1f ms >= %d ms", waited, 4 * LAG_MS);
  ok(!st && back[0] == 2 && back[3] == 32, "and they are done in order: %g, %g", back[0], back[3]);
  chx_scope_end(s);
}

static void late_errors(void)
{
  double x[] = {1, 2, 3};
  chx_scope *s = chx_scope_begin("sim:0");
  chx_array *a = chx_from(s, CHX_F32, 3, x), *good = chx_add(s, a, a);
  ok(!chx_sync(s), "what was waited for is good");
  faults->arm(0, "kernel:1:late");
  chx_array *y = chx_mul(s, a, a);
  ok(y && !chx_scope_error(s), "a kernel that will fail is queued without an error");
  double v = chx_item(s, chx_sum(s, y, 0, NULL, 0));
  ok(isnan(v) && chx_scope_error(s) == CHX_EDEVICE, "reading tells: %s", chx_scope_message(s));
  ok(strstr(chx_scope_message(s), "injected fault") && strstr(chx_scope_message(s), "mul"), "in the plugin's words, with the operator");
  chx_scope_clear(s);
  ok(rel_err(good, (double[]){2, 4, 6}) == 0, "an array from before the fault can be read");
  float lost[3];
  ok(chx_read(s, y, lost, sizeof lost), "one that was lost cannot: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(chx_read(s, y, lost, sizeof lost) == CHX_EDEVICE, "not at the second try either");
  chx_scope_clear(s);
  ok(rel_err(chx_mul(s, a, a), (double[]){1, 4, 9}) == 0, "the next try is right: %s", chx_scope_message(s));
  chx_scope_end(s);

  s = chx_scope_begin("sim:0"); /* an error of the kernel's own */
  double i[] = {0, 7};
  chx_array *t = chx_take(s, chx_from(s, CHX_F32, 3, x), chx_from(s, CHX_I64, 2, i), 0);
  chx_item(s, chx_sum(s, t, 0, NULL, 0));
  ok(chx_scope_error(s) == CHX_EARG, "take out of range, late: %s", chx_scope_message(s));
  ok(strstr(chx_scope_message(s), "index 7 is out of range"), "in native's words");
  chx_scope_end(s);
  faults->arm(0, NULL);
  ok(is_right(), "and after all that the numbers are native's");
}

/* The n-th action fails, for n = 1 until none does: an error or the right numbers, and right the next time. */
static void each_in_turn(const char *action, const char *suffix)
{
  char spec[64];
  int n, errors = 0, wrong = 0, unexplained = 0, after = 0;
  for (n = 1; n < 1000; n++) {
    double g = 0;
    snprintf(spec, sizeof spec, "%s:%d%s", action, n, suffix);
    if (faults->arm(0, spec)) break;
    chx_scope *s = chx_scope_begin("sim:0");
    double loss = compute(s, &g);
    if (chx_scope_error(s)) {
      errors++;
      if (!strstr(chx_scope_message(s), "injected") && !unexplained++) note("n = %d: %s", n, chx_scope_message(s));
    } else if (loss != native_loss || g != native_g) wrong++;
    chx_scope_end(s);
    bool fired = faults->fired(0) > 0;
    faults->arm(0, NULL);
    if (!fired) break;
    after += !is_right();
  }
  ok(n > 1 && n < 1000 && !wrong, "%s%s: %d faults, %d errors, %d wrong results", action, suffix, n - 1, errors, wrong);
  ok(!unexplained, "%s%s: each error says that a fault was injected", action, suffix);
  is_int(after, 0, "%s%s: after each the next computation is right", action, suffix);
}

static void out_of_memory(void)
{
  chx_scope *s = chx_scope_begin("sim:0");
  const int64_t big[] = {3 << 20};
  chx_memory_trim(s, "sim:0");
  faults->arm(0, "alloc:1");
  chx_array *a = chx_zeros(s, CHX_F32, 1, big);
  ok(a && faults->fired(0) == 1, "one failing allocation is survived by a second try");
  faults->arm(0, "alloc:1,alloc:2");
  a = chx_ones(s, CHX_F64, 1, big);
  ok(!a && chx_scope_error(s) == CHX_ENOMEM, "two in a row are an error: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(chx_ones(s, CHX_F64, 1, big) && !chx_scope_error(s), "then there is memory again");
  const int64_t huge[] = {(int64_t)1 << 40};
  ok(!chx_empty(s, CHX_F32, 1, huge) && chx_scope_error(s) == CHX_ENOMEM, "more than there is: %s", chx_scope_message(s));
  faults->arm(0, NULL);
  chx_scope_end(s);
}

static void *thread(void *arg)
{
  const chx_array *shared = arg;
  for (int i = 0; i < 20; i++) {
    chx_scope *s = chx_scope_begin("sim:0");
    double v = chx_item(s, chx_sum(s, chx_mul(s, chx_add(s, shared, chx_real(s, i)), shared), 0, NULL, 0));
    bool good = !chx_scope_error(s) && v == 14 + 6 * i;
    chx_scope_end(s);
    if (!good) return NULL;
  }
  return arg;
}

static void threads(void)
{
  enum { THREADS = 4 };
  pthread_t id[THREADS];
  double x[] = {1, 2, 3};
  int good = 0;
  chx_scope *s = chx_scope_begin("sim:0");
  faults->delay(0, 200);
  chx_array *shared = chx_add(s, chx_from(s, CHX_F64, 3, x), chx_real(s, 0)); /* not waited for: they must */
  for (int i = 0; i < THREADS; i++) pthread_create(&id[i], NULL, thread, shared);
  for (int i = 0; i < THREADS; i++) {
    void *r;
    pthread_join(id[i], &r);
    good += r != NULL;
  }
  faults->delay(0, 0);
  is_int(good, THREADS, "threads, each with its queue, share an array that one of them has yet to compute");
  chx_scope_end(s);
}

/* ---- in children --------------------------------------------------------------------------------------------------- */

static bool fails_with(const char *want, chx_status code)
{
  double g;
  chx_scope *s = chx_scope_begin("sim:0");
  compute(s, &g);
  bool good = chx_scope_error(s) == code && strstr(chx_scope_message(s), want);
  if (!good) note("%s", chx_scope_message(s));
  chx_scope_end(s);
  return good;
}

static bool bad_option(void)
{
  setenv("CHX_SIM_FAIL", "kernel:none", 1);
  return fails_with("CHX_SIM_FAIL is \"kernel:none\"", CHX_EDEVICE);
}

static bool fault_option(void)
{
  setenv("CHX_SIM_FAIL", "kernel:3:late", 1);
  return fails_with("injected fault at kernel 3", CHX_EDEVICE) && !fails_with("", CHX_EDEVICE);
}

static bool small_memory(void)
{
  setenv("CHX_SIM_MEMORY", "65536", 1);
  chx_scope *s = chx_scope_begin("sim:0");
  const int64_t shape[] = {1 << 16};
  chx_array *a = chx_zeros(s, CHX_F64, 1, shape);
  bool good = !a && chx_scope_error(s) == CHX_ENOMEM;
  if (!good) note("%s", chx_scope_message(s));
  chx_scope_end(s);
  return good;
}

/* The numbers are native's whatever the memory is like. */
static bool in_mode(const char *key, const char *value)
{
  double g;
  setenv(key, value, 1);
  chx_scope *s = chx_scope_begin("native:0");
  native_loss = compute(s, &native_g);
  chx_scope_end(s);
  bool good = is_right();
  s = chx_scope_begin("sim:0");
  chx_set_route(s, "*", "staged"); /* by the host, with what was computed on the device before and after */
  double loss = compute(s, &g);
  good = good && !chx_scope_error(s) && loss == native_loss && g == native_g;
  if (!good) note("%s=%s: loss %.17g (%.17g) %s", key, value, loss, native_loss, chx_scope_message(s));
  chx_set_route(s, "*", NULL);
  chx_scope_end(s);
  return is_right() && good;
}

static bool guarded(void) { return in_mode("CHX_SIM_GUARD", "1"); }
static bool mappable(void) { return in_mode("CHX_SIM_MEMORY_MODE", "mappable"); }
static bool coherent(void) { return in_mode("CHX_SIM_MEMORY_MODE", "coherent"); }
static bool slow(void)
{
  setenv("CHX_SIM_COPY_MBPS", "1", 1);
  setenv("CHX_SIM_KERNEL_US", "1000", 1);
  return in_mode("CHX_SIM_COPY_US", "1000");
}

static void *many_thread(void *arg)
{
  const int i = *(const int *)arg;
  char here[32], there[32];
  bool good = true;
  snprintf(here, sizeof here, "sim:%d", i);
  snprintf(there, sizeof there, "sim:%d", (i * 7 + 3) % 32);
  for (int k = 0; k < 10; k++) {
    chx_scope *s = chx_scope_begin(here);
    chx_array *a = chx_mul(s, chx_from(s, CHX_F64, 3, (double[]){1, 2, 3}), chx_real(s, i)), *b = chx_to(s, a, there);
    chx_scope_set_device(s, there);
    good = good && chx_item(s, chx_sum(s, chx_add(s, b, b), 0, NULL, 0)) == 12.0 * i && !chx_scope_error(s);
    if (chx_scope_error(s)) note("%s to %s: %s", here, there, chx_scope_message(s));
    chx_scope_end(s);
  }
  return good ? arg : NULL;
}

static bool many_devices(void)
{
  enum { MANY = 32 };
  pthread_t id[MANY];
  int index[MANY], good = 0;
  setenv("CHX_SIM_DEVICES", "32", 1);
  setenv("CHX_SIM_DELAY_US", "100", 1);
  for (int i = 0; i < MANY; i++) {
    index[i] = i;
    pthread_create(&id[i], NULL, many_thread, &index[i]);
  }
  for (int i = 0; i < MANY; i++) {
    void *r;
    pthread_join(id[i], &r);
    good += r != NULL;
  }
  return good == MANY;
}

static bool too_many_devices(void)
{
  setenv("CHX_SIM_DEVICES", "64", 1);
  chx_scope_end(chx_scope_begin("native:0"));
  chx_scope *s = chx_scope_begin("sim:62");
  bool good = !chx_scope_error(s);
  chx_scope_end(s);
  s = chx_scope_begin("sim:63"); /* there is native:0, too */
  good = good && chx_scope_error(s) == CHX_EDEVICE;
  if (!good) note("%s", chx_scope_message(s));
  chx_scope_end(s);
  chx_backend_state b;
  for (int i = 0; !chx_backend_at(i, &b); i++)
    if (!strcmp(b.name, "sim")) good = good && b.n_devices == 63 && strstr(b.error, "at most 64 devices");
  return good;
}

static bool after_fork(void) { return fails_with("fork", CHX_EDEVICE); }

static bool native_after_fork(void)
{
  double g = 0;
  chx_scope *s = chx_scope_begin("native:0");
  double loss = compute(s, &g);
  bool good = !chx_scope_error(s) && loss == native_loss && g == native_g;
  chx_scope_end(s);
  return good;
}

int main(void)
{
  static bool (*const children[])(void) = {bad_option, fault_option, small_memory, guarded, mappable, coherent, slow, many_devices, too_many_devices};
  static const char *const claims[] = {
    "a bad CHX_SIM_FAIL is an error that quotes it", "CHX_SIM_FAIL makes the third kernel fail late, once",
    "CHX_SIM_MEMORY makes the device small", "with guard pages the numbers are native's", "in mappable memory, too",
    "and in coherent memory", "and on a slow device", "32 threads, each with a device, copy to others",
    "of 64 devices the core takes as many as there is room for, and says so",
  };
  enum { CHILDREN = sizeof children / sizeof *children };
  bool good[CHILDREN];
  for (int i = 0; i < CHILDREN; i++) good[i] = in_child(children[i]); /* before sim is loaded here */
  if (!sim_is_there(1)) return done_testing();
  if (!ok((faults = sim_faults()) != NULL, "it can be made to fail")) return done_testing();
  for (int i = 0; i < CHILDREN; i++) ok(good[i], "%s", claims[i]);

  chx_scope *s = chx_scope_begin("native:0");
  native_loss = compute(s, &native_g);
  ok(!chx_scope_error(s), "native's numbers: %g, %g %s", native_loss, native_g, chx_scope_message(s));
  chx_scope_end(s);
  ok(is_right(), "sim gives the same, bit for bit");

  devices();
  peers();
  asynchrony();
  late_errors();
  each_in_turn("kernel", "");
  each_in_turn("kernel", ":late");
  each_in_turn("copy", "");
  each_in_turn("copy", ":late");
  out_of_memory();
  threads();
  ok(in_child(after_fork), "a forked child gets an error that speaks of the fork");
  ok(in_child(native_after_fork), "where native goes on");

  chx_memory_stats m = {0};
  s = chx_scope_begin("sim:0");
  chx_status st = chx_memory_trim(s, NULL);
  if (!st) st = chx_memory_stats_of(s, NULL, &m);
  ok(!st && m.used == 0, "nothing is left in use: %llu bytes", (unsigned long long)m.used);
  ok(!st && m.reserved == 0, "trim gives all back");
  chx_scope_end(s);
  return done_testing();
}
