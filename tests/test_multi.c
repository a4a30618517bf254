/* SPDX-License-Identifier: MIT
 * test_multi.c: several native devices (CHX_NATIVE_DEVICES): one memory, but to the core as many devices, so that what a
 * program for several must do is tested on any machine.
 */
#include "check.h"
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DEVICES = 4 };

static const double X[] = {1, 2, 3};

static void listed(void)
{
  chx_backend_state b;
  chx_device_state d;
  int n = 0;
  chx_backend_scan();
  for (int i = 0; !chx_backend_at(i, &b); i++)
    if (!strcmp(b.name, "native"))
      for (; !chx_device_at(i, n, &d); n++) {
        char want[32];
        snprintf(want, sizeof want, "native:%d", n);
        if (strcmp(d.specifier, want) || !d.is_host || !d.name[0]) note("%s %s", d.specifier, d.name);
      }
  is_int(n, DEVICES, "native has the devices that were asked for");
  chx_scope *s = chx_scope_begin("native:4");
  ok(chx_scope_error(s) == CHX_EDEVICE && strstr(chx_scope_message(s), "native:4") && strstr(chx_scope_message(s), "4 device"),
     "one more is an error: %s", chx_scope_message(s));
  chx_scope_end(s);
}

static void separate(void)
{
  chx_scope *s = chx_scope_begin("native:1");
  chx_array *a = chx_from(s, CHX_F32, 3, X), *b = chx_to(s, a, "native:3");
  is_str(chx_device(a), "native:1", "made on native:1");
  is_str(chx_device(b), "native:3", "moved to native:3");
  chx_add_into(s, a, a, a);
  ok(rel_err(a, (double[]){2, 4, 6}) == 0 && rel_err(b, X) == 0, "the copy is one: the original changes alone");
  ok(!chx_add(s, a, b) && chx_scope_error(s) == CHX_EDEVICE, "operands on two devices: %s", chx_scope_message(s));
  ok(strstr(chx_scope_message(s), "native:1") && strstr(chx_scope_message(s), "native:3"), "the error names both");
  chx_scope_clear(s);
  chx_scope_set_device(s, "native:3");
  is_str(chx_device(chx_mul(s, b, b)), "native:3", "results are where the operands are");
  ok(!chx_scope_error(s), "no error: %s", chx_scope_message(s));
  chx_scope_end(s);
}

static void gradients(void)
{
  chx_scope *s = chx_scope_begin("native:1");
  chx_array *w = chx_from(s, CHX_F64, 3, X);
  chx_require_grad(s, w);
  chx_array *h = chx_mul(s, w, w), *far = chx_to(s, h, "native:2");
  chx_scope_set_device(s, "native:2");
  chx_backward(s, chx_sum(s, far, 0, NULL, 0));
  chx_array *g = chx_grad_of(s, w);
  ok(g && rel_err(g, (double[]){2, 4, 6}) == 0, "backward goes back over the copy: %s", chx_scope_message(s));
  is_str(g ? chx_device(g) : "", "native:1", "the gradient is where its array is");
  chx_scope_end(s);
}

static uint64_t used(chx_scope *s, const char *device)
{
  chx_memory_stats m = {0};
  chx_memory_stats_of(s, device, &m);
  return m.used;
}

static void memory(void)
{
  chx_scope *s = chx_scope_begin("native:2");
  uint64_t other = used(s, "native:1"), base = used(s, "native:2");
  chx_array *a = chx_zeros(s, CHX_F32, 1, (int64_t[]){1 << 20});
  ok(a && used(s, "native:2") >= base + (4 << 20) && used(s, "native:1") == other, "each device has figures of its own");
  chx_memory_set_limit(s, "native:2", 1 << 20);
  ok(!chx_zeros(s, CHX_F32, 1, (int64_t[]){1 << 22}) && chx_scope_error(s) == CHX_ENOMEM, "and a limit: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_memory_set_limit(s, "native:2", 0);
  chx_scope_set_device(s, "native:1");
  ok(chx_zeros(s, CHX_F32, 1, (int64_t[]){1 << 22}) != NULL, "another device has none");
  chx_scope_end(s);
}

static void fallback(void)
{
  chx_scope *s = chx_scope_begin("native:1");
  chx_scope_set_fallback(s, CHX_FALLBACK_DENY);
  chx_array *a = chx_from_shape(s, CHX_F32, 2, (int64_t[]){1, 3}, X);
  ok(chx_softmax(s, a, 1) && chx_linear(s, a, a, NULL) && !chx_scope_error(s), "nothing falls back on native:1: %s", chx_scope_message(s));
  chx_scope_end(s);
  s = chx_scope_begin("sample:0");
  if (chx_scope_error(s)) skip(1, "sample: the plugin of examples/plugin is not built");
  else {
    chx_array *y = chx_tanh(s, chx_from(s, CHX_F32, 3, X));
    ok(y && !strcmp(chx_device(y), "sample:0") && used(s, "native:1") == 0, "another backend falls back to native:0 %s", chx_scope_message(s));
  }
  chx_scope_end(s);
}

static void *thread(void *arg)
{
  const int *i = arg;
  char device[32];
  snprintf(device, sizeof device, "native:%d", *i);
  for (int k = 0; k < 50; k++) {
    chx_scope *s = chx_scope_begin(device);
    chx_array *a = chx_from(s, CHX_F64, 3, X);
    double v = chx_item(s, chx_sum(s, chx_mul(s, a, chx_real(s, *i + 1)), 0, NULL, 0));
    bool good = !chx_scope_error(s) && v == 6 * (*i + 1);
    chx_scope_end(s);
    if (!good) return NULL;
  }
  return arg;
}

static void threads(void)
{
  pthread_t id[DEVICES];
  int index[DEVICES], good = 0;
  for (int i = 0; i < DEVICES; i++) {
    index[i] = i;
    pthread_create(&id[i], NULL, thread, &index[i]);
  }
  for (int i = 0; i < DEVICES; i++) {
    void *r;
    pthread_join(id[i], &r);
    good += r != NULL;
  }
  is_int(good, DEVICES, "a thread for each device");
}

/* In a child: the number is read when native is loaded. */
static bool refused(const char *number)
{
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    setenv("CHX_NATIVE_DEVICES", number, 1);
    chx_scope *s = chx_scope_begin("native:0");
    bool good = chx_scope_error(s) == CHX_EDEVICE && strstr(chx_scope_message(s), "CHX_NATIVE_DEVICES is") &&
                strstr(chx_scope_message(s), number);
    if (!good) note("%s", chx_scope_message(s));
    _exit(!good);
  }
  int status = -1;
  return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(void)
{
  const char *const bad[] = {"0", "-1", "many", "4x", "1000000000000000000000"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) ok(refused(bad[i]), "CHX_NATIVE_DEVICES=%s is an error that quotes it", bad[i]);
  setenv("CHX_NATIVE_DEVICES", "4", 1);
  listed();
  separate();
  memory();
  gradients();
  threads();
  chx_scope *s = chx_scope_begin("native:0");
  for (int i = 0; i < DEVICES; i++) {
    char device[32];
    snprintf(device, sizeof device, "native:%d", i);
    chx_memory_trim(s, device);
    is_int((long long)used(s, device), 0, "%s: nothing is left in use", device);
  }
  chx_scope_end(s);
  fallback();
  return done_testing();
}
