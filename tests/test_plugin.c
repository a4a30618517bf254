/* SPDX-License-Identifier: MIT
 * test_plugin.c: the rarer parts of the ABI, through the plugin of probe.c: plans, workspace, accepts, scratch, map's operands;
 * and a plugin that is linked into the program.
 */
#include "check.h"
#include <chx/plugin.h>
#include <dlfcn.h>
#include <unistd.h>
#include "probe.h"

/* The probe's descriptor under another name, as a program that has the plugin linked in would have it. */
static void linked_in(chx_scope *s, const chx_plugin *probe)
{
  static chx_plugin own, broken, nameless;
  own = broken = nameless = *probe;
  own.name = "linked";
  broken.name = "broken";
  broken.device_open = NULL;
  nameless.name = "not a name";
  ok(chx_add_plugin(s, NULL) == CHX_EARG && strstr(chx_scope_message(s), "want"), "none: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(chx_add_plugin(s, &broken) == CHX_EDEVICE && strstr(chx_scope_message(s), "device_open"), "incomplete: %s",
     chx_scope_message(s));
  chx_scope_clear(s);
  ok(chx_add_plugin(s, &nameless) == CHX_EDEVICE, "a bad name: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(chx_add_plugin(s, &own) == CHX_OK, "added: %s", chx_scope_message(s));
  ok(chx_add_plugin(s, &own) == CHX_OK, "twice is once: %s", chx_scope_message(s));
  own.name = "probe";
  ok(chx_add_plugin(s, &own) == CHX_EDEVICE && strstr(chx_scope_message(s), "already"), "a name that is taken: %s",
     chx_scope_message(s));
  chx_scope_clear(s);
  own.name = "linked";
  chx_scope_set_device(s, "linked:0");
  chx_array *x = chx_from(s, CHX_F32, 2, (double[]){1, 2});
  is_str(chx_device(x), "linked:0", "an array on it");
  ok(rel_err(chx_neg(s, x), (double[]){-1, -2}) == 0, "and an operator: %s", chx_scope_message(s));
  chx_backend_state b = {0};
  int found = 0;
  for (int i = 0; i < chx_backend_count(); i++)
    if (!chx_backend_at(i, &b) && !strcmp(b.name, "linked")) found += b.n_devices == 1;
  is_int(found, 1, "it is listed once, with its device");
  chx_scope_set_device(s, "native:0");
}

/* ---- devices that cannot be taken --------------------------------------------------------------------------------------- */

static const chx_plugin *plain;
static chx_device_ops no_info_ops;
static int closed;
static void count_close(chx_dev *dev) { (void)dev, closed++; }
static chx_status one_device(void *state, uint32_t *n) { return (void)state, *n = 1, CHX_OK; }
static chx_status hundred(void *state, uint32_t *n) { return (void)state, *n = 100, CHX_OK; }
static chx_status only_device(void *state, uint32_t i, chx_dev **out) { return (void)i, plain->device_open(state, 0, out); }
static chx_status no_info(chx_dev *dev, chx_device_info *out) { return (void)dev, (void)out, CHX_EFAILED; }
static const chx_device_ops *device_ops_without_info(void *state)
{
  no_info_ops = *plain->device_ops(state);
  no_info_ops.info = no_info;
  return &no_info_ops;
}

static chx_backend_state backend(const char *name)
{
  chx_backend_state b = {0};
  for (int i = 0; i < chx_backend_count(); i++)
    if (!chx_backend_at(i, &b) && !strcmp(b.name, name)) return b;
  return (chx_backend_state){0};
}

/* Leaves no room for another device in this process. */
static void refused_devices(chx_scope *s, const chx_plugin *probe)
{
  static chx_plugin silent, crowd;
  plain = probe;
  silent = crowd = *probe;
  silent.device_close = crowd.device_close = count_close;
  silent.device_open = crowd.device_open = only_device;
  silent.name = "silent";
  silent.device_count = one_device;
  silent.device_ops = device_ops_without_info;
  chx_add_plugin(s, &silent);
  chx_scope_clear(s);
  chx_backend_state b = backend("silent");
  is_int(b.n_devices, 0, "a device that says nothing of itself is none");
  ok(b.error && strstr(b.error, "device 0: failed"), "why: %s", b.error);
  is_int(closed, 1, "it is closed again");
  crowd.name = "crowd";
  crowd.device_count = hundred;
  chx_add_plugin(s, &crowd);
  b = backend("crowd");
  int all = 0;
  for (int i = 0; i < chx_backend_count(); i++)
    if (!chx_backend_at(i, &b)) all += b.n_devices;
  is_int(all, 64, "as many of 100 devices as have room");
  b = backend("crowd");
  ok(b.n_devices && b.error && strstr(b.error, "at most 64 devices"), "why: %s", b.error);
  is_int(closed, 2, "the first that has none is closed again");
}

/* x * x - 1.015625 where x * x needs more than the eight digits of bf16. */
static void declined_wide(chx_scope *s)
{
  const double x = 1.0078125, want = x * x - 1.015625;
  const chx_array *in[2] = {chx_from(s, CHX_BF16, 1, &x), chx_from(s, CHX_BF16, 1, (double[]){1.015625})};
  const chx_program program = {.n = 2, .step = {{.op = "mul"}, {.op = "sub", .x = 2, .y = 1}}};
  chx_array *y = chx_map(s, in, 2, &program);
  is_int(chx_dtype(y), CHX_BF16, "what a kernel in f32 declined is bf16 in the end %s", chx_scope_message(s));
  ok(y && rel_err(y, &want) < 1e-2, "but composed in f32: %g, want %g", y ? chx_item(s, y) : 0, want);
}

int main(void)
{
  char path[4096];
  const char *build = getenv("CHX_BUILDDIR");
  snprintf(path, sizeof path, "%s/tests/.libs/chx_probe.so", build ? build : ".");
  chx_scope *s = chx_scope_begin("native");
  alarm(120); /* a deadlock is a failure, not a hang */
  if (!ok(chx_load_plugin(s, path) == CHX_OK, "loaded from its file: %s", chx_scope_message(s))) return done_testing();
  ok(chx_load_plugin(s, path) == CHX_OK, "twice is once: %s", chx_scope_message(s));
  void *lib = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
  chx_entry_fn entry = lib ? (chx_entry_fn)dlsym(lib, CHX_ENTRY) : NULL;
  if (!ok(entry != NULL, "the same library")) return done_testing();
  const probe_counts *n = entry()->device_ops(NULL)->extension(NULL, "x.probe/1");
  ok(n->lent > 50 && !n->misnamed, "the core lends native's kernels, %d, and nothing by another name", n->lent);
  chx_scope_set_device(s, "probe:0");
  chx_array *x = chx_from_shape(s, CHX_F32, 2, (int64_t[]){2, 2}, (double[]){0, 1, 2, 3});

  ok(rel_err(chx_neg(s, x), (double[]){-0.0, -1, -2, -3}) == 0, "a kernel that asks for scratch while its queue is in use");
  is_int(n->no_scratch, 0, "it got some");

  double e[] = {1, exp(1), exp(2), exp(3)};
  for (int i = 0; i < 5; i++) rel_err(chx_exp(s, x), e);
  ok(rel_err(chx_exp(s, x), e) < 1e-6, "a kernel with plans");
  is_int(n->prepared, 1, "one signature is prepared once");
  is_int(n->ran, 6, "and run each time");
  is_int(n->without_workspace, 0, "with the workspace that its plan asked for");
  for (int i = 0; i < 300; i++) {
    size_t mark = chx_scope_mark(s);
    chx_exp(s, chx_zeros(s, CHX_F32, 1, (int64_t[]){1 + i}));
    chx_scope_rewind(s, mark, NULL);
  }
  is_int(n->prepared, 301, "another shape is another signature");
  is_int(n->dropped, 301 - 256, "256 plans are kept");
  int refused = n->refused, ran = n->ran;
  ok(rel_err(chx_exp(s, chx_reshape(s, x, 4, (int64_t[]){1, 2, 1, 2})), e) < 1e-6, "what accepts refuses goes another way");
  ok(n->refused == refused + 1 && n->ran == ran, "and never reaches run");

  ok(rel_err(chx_add(s, x, chx_real(s, 2)), (double[]){2, 3, 4, 5}) == 0, "a kernel that declines in run");
  chx_add(s, x, chx_from(s, CHX_F32, 2, (double[]){1, 2}));
  is_int(n->wrong_rank, 0, "map's operands have the output's shape, scalars and broadcasts included");
  declined_wide(s);
  ok(!chx_scope_error(s), "no error: %s", chx_scope_message(s));
  linked_in(s, entry());
  refused_devices(s, entry());
  chx_scope_end(s);
  return done_testing();
}
