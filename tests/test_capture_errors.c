/* SPDX-License-Identifier: MIT
 * test_capture_errors.c: what a capture refuses, each with its reason, and what fails in a launch: all is usable after it.
 */
#include "captures.h"

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
    if (chx_scope_error(s)) skip(1, chx_scope_message(s));
    else ok(!chx_capture_begin(s) && chx_scope_error(s) == CHX_EUNSUPPORTED && strstr(chx_scope_message(s), "chx.capture/1"),
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

/* ---- a kernel that cannot be captured ------------------------------------------------------------------------------ */

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

int main(void)
{
  alarm(300); /* a deadlock is a failure, not a hang */
  in_child_of_tests(not_capturable);
  if (!sim_is_there(1) || !find_faults()) return done_testing();
  refusals();
  misuse();
  failures();
  out_of_memory();
  return done_testing();
}
