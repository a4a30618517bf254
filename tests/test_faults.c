/* SPDX-License-Identifier: MIT
 * test_faults.c: a training step in which something of the device fails: each allocation, copy and kernel in turn, at once or
 * late, and the device itself. The step ends in an error that names the device and an operator, nothing stays allocated, and
 * the next step, from a checkpoint, gives the numbers of an undisturbed one, bit for bit: on the same device, or, when that
 * was lost, on another.
 */
#include "sim_faults.h"
#include <chx/nn.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
enum { STRIDE = 7 }; /* each step takes many times as long */
#else
enum { STRIDE = 1 };
#endif

static const chx_sim_fault_ops *faults;
static char checkpoint[] = "test_faults.XXXXXX";

/* ---- a model and its step ------------------------------------------------------------------------------------------- */

enum { N = 4, CLASSES = 3, PIXELS = 16 };

typedef struct rig {
  chx_scope *s;
  chx_link *model;
  chx_optimizer *opt;
  chx_array *x, *t; /* in a step */
} rig;

typedef struct state { /* all that a step changes, and what it gives */
  float v[1 << 17];
  size_t n;
  double loss;
} state;

static void rig_begin(rig *r, const char *device, bool cnn)
{
  const int64_t chw[] = {1, 4, 4};
  r->s = chx_scope_begin(device);
  chx_scope_seed(r->s, 7);
  r->model = cnn ? chx_nn_cnn(r->s, chw, CLASSES) : chx_nn_mlp(r->s, 2, (int64_t[]){8, CLASSES});
  r->opt = chx_optimizer_adam(r->s, 1e-2, 0.9, 0.999, 1e-8);
  chx_optimizer_setup(r->s, r->opt, r->model);
  chx_optimizer_add_weight_decay(r->s, r->opt, 1e-4);
}

static void rig_end(rig *r)
{
  chx_optimizer_free(r->opt);
  chx_link_free(r->model);
  chx_scope_end(r->s);
}

static chx_array *loss_of(void *ctx, chx_scope *s)
{
  rig *r = ctx;
  return chx_softmax_cross_entropy(s, chx_link_call(s, r->model, r->x), r->t);
}

/* A batch from the host, forward, backward, update, the loss to the host; all of it has been done when it returns. */
static double step(rig *r)
{
  float x[N * PIXELS];
  int32_t t[N];
  size_t mark = chx_scope_mark(r->s);
  chx_array *loss = NULL;
  for (int i = 0; i < N * PIXELS; i++) x[i] = (float)((i * 7) % 11) / 11;
  for (int i = 0; i < N; i++) t[i] = i % CLASSES;
  chx_random_set(r->s, (chx_random_state){7, 1 << 20}); /* dropout draws the same again */
  r->x = chx_from_host(r->s, CHX_F32, 2, (int64_t[]){N, PIXELS}, x);
  r->t = chx_from_host(r->s, CHX_I32, 1, (int64_t[]){N}, t);
  chx_optimizer_update_with(r->s, r->opt, loss_of, r, &loss);
  double v = chx_item(r->s, loss);
  chx_sync(r->s);
  chx_scope_rewind(r->s, mark, NULL);
  return v;
}

static void archive(rig *r, int mode)
{
  chx_nn_archive *z = chx_nn_archive_begin(r->s, checkpoint, mode);
  chx_nn_archive_link(r->s, z, "", r->model);
  chx_nn_archive_optimizer(r->s, z, "optimizer", r->opt);
  chx_nn_archive_end(r->s, z);
}

static void add_state(chx_scope *s, state *st, const chx_array *a)
{
  if (!a || chx_dtype(a) != CHX_F32) return;
  size_t n = (size_t)chx_size(a);
  if (st->n + n <= sizeof st->v / sizeof *st->v) chx_read(s, a, st->v + st->n, n * sizeof *st->v);
  st->n += n;
}

static void snapshot(rig *r, double loss, state *st)
{
  st->n = 0;
  st->loss = loss;
  for (chx_param *p = NULL; (p = chx_link_next_param(r->model, p));) {
    add_state(r->s, st, chx_param_array(p));
    add_state(r->s, st, chx_optimizer_state(r->opt, p, "m"));
    add_state(r->s, st, chx_optimizer_state(r->opt, p, "v"));
  }
  for (chx_param *p = NULL; (p = chx_link_next_persistent(r->model, p));) add_state(r->s, st, chx_param_array(p));
}

static state want, now;

static bool is_right(rig *r, double loss)
{
  snapshot(r, loss, &now);
  return !chx_scope_error(r->s) && now.n == want.n && now.n <= sizeof now.v / sizeof *now.v && now.loss == want.loss &&
         !memcmp(now.v, want.v, now.n * sizeof *now.v);
}

static uint64_t in_use(const char *device)
{
  chx_memory_stats m = {0};
  chx_scope *s = chx_scope_begin("native:0");
  chx_memory_stats_of(s, device, &m);
  chx_scope_end(s);
  return m.used;
}

static void trim(const char *device)
{
  chx_scope *s = chx_scope_begin("native:0");
  chx_memory_trim(s, device);
  chx_scope_end(s);
}

/* A checkpoint after one step, and what the next gives. */
static void prepare(bool cnn)
{
  rig r;
  rig_begin(&r, "sim:0", cnn);
  step(&r);
  archive(&r, CHX_NN_SAVE);
  snapshot(&r, step(&r), &want);
  ok(!chx_scope_error(r.s) && want.n > 100 && isfinite(want.loss), "%s: %zu values, loss %g %s", cnn ? "cnn" : "mlp", want.n,
     want.loss, chx_scope_message(r.s));
  rig_end(&r);
}

/* A step from the checkpoint on another device. */
static bool right_on(const char *device, bool cnn)
{
  rig r;
  rig_begin(&r, device, cnn);
  step(&r); /* gives parameters and states their shapes */
  archive(&r, CHX_NN_LOAD);
  bool right = is_right(&r, step(&r));
  if (!right) note("on %s: loss %.9g, want %.9g %s", device, now.loss, want.loss, chx_scope_message(r.s));
  rig_end(&r);
  return right;
}

/* ---- errors ------------------------------------------------------------------------------------------------------------ */

/* Whether a whole word of the text is an operator's name. */
static bool names_operator(const char *text)
{
  for (int i = 0; i < chx_op_count(); i++) {
    const char *name = chx_op_name(chx_op_at(i));
    size_t n = strlen(name);
    for (const char *p = text; (p = strstr(p, name)); p += n) {
      bool starts = p == text || !(strchr("_abcdefghijklmnopqrstuvwxyz", p[-1]));
      if (starts && (!p[n] || !strchr("_abcdefghijklmnopqrstuvwxyz", p[n]))) return true;
    }
  }
  return false;
}

typedef struct tally { bool fatal; int n, errors, unnamed, wrong, leaks; } tally; /* fatal: faults are errors */

static void report(const char *what, const tally *t)
{
  ok(t->n > 1 && (t->errors > 0) == t->fatal, "%s: %d faults, %d errors", what, (t->n - 1) / STRIDE, t->errors);
  ok(!t->unnamed, "%s: each error names the device and an operator", what);
  ok(!t->leaks, "%s: nothing stays allocated", what);
  ok(!t->wrong, "%s: the next step gives the undisturbed result", what);
}

static void judge_error(const char *spec, rig *r, tally *t)
{
  const char *text = chx_scope_message(r->s);
  t->errors++;
  if (strstr(text, "sim:0") && (names_operator(text) || strstr(text, "(in from_host)"))) return;
  if (!t->unnamed++) note("%s: %s", spec, text);
}

/* ---- faults of a device that stays --------------------------------------------------------------------------------- */

/* The n-th action fails, for n = 1 until none does. format takes n twice. */
static void each(const char *what, const char *format, bool fatal, bool cnn)
{
  rig r;
  tally t = {.fatal = fatal};
  bool fired = true;
  rig_begin(&r, "sim:0", cnn);
  step(&r);
  archive(&r, CHX_NN_LOAD);
  step(&r);
  uint64_t base = in_use("sim:0");
  for (t.n = 1; fired && t.n < 3000; t.n += fired ? STRIDE : 0) {
    char spec[64];
    snprintf(spec, sizeof spec, format, t.n, t.n + 1);
    archive(&r, CHX_NN_LOAD);
    chx_memory_trim(r.s, "sim:0"); /* so that the step has to allocate */
    faults->arm(0, spec);
    double loss = step(&r);
    fired = faults->fired(0) > 0;
    faults->arm(0, NULL);
    if (chx_scope_error(r.s)) {
      judge_error(spec, &r, &t);
      chx_scope_clear(r.s);
      t.leaks += in_use("sim:0") > base;
      archive(&r, CHX_NN_LOAD);
      loss = step(&r);
    }
    if (!is_right(&r, loss) && !t.wrong++) note("%s: loss %.9g, want %.9g %s", spec, loss, want.loss, chx_scope_message(r.s));
    chx_scope_clear(r.s);
    if (in_use("sim:0") > base && !t.leaks++) note("%s: %d bytes more", spec, (int)(in_use("sim:0") - base));
  }
  rig_end(&r);
  report(what, &t);
}

/* ---- a device that is lost ------------------------------------------------------------------------------------------ */

static void each_lost(const char *what, const char *format, bool cnn)
{
  tally t = {.fatal = true};
  bool fired = true;
  uint64_t native = 0;
  for (t.n = 1; fired && t.n < 3000; t.n += fired ? STRIDE : 0) {
    rig r;
    char spec[64];
    snprintf(spec, sizeof spec, format, t.n);
    rig_begin(&r, "sim:0", cnn);
    step(&r);
    archive(&r, CHX_NN_LOAD);
    faults->arm(0, spec);
    double loss = step(&r);
    fired = faults->fired(0) > 0;
    if (!fired) faults->arm(0, NULL);
    if (fired) {
      if (chx_scope_error(r.s) != CHX_ELOST) note("%s: error %d, %s", spec, chx_scope_error(r.s), chx_scope_message(r.s)), t.wrong++;
      judge_error(spec, &r, &t);
      chx_scope_clear(r.s);
      step(&r);
      if (chx_scope_error(r.s) != CHX_ELOST && !t.wrong++) note("%s: the next step on it: %s", spec, chx_scope_message(r.s));
      if (!right_on(t.n % 2 ? "sim:1" : "native:0", cnn)) t.wrong++;
      chx_scope_clear(r.s);
    } else if (!is_right(&r, loss) && !t.wrong++)
      note("after the last: loss %.9g, want %.9g %s", loss, want.loss, chx_scope_message(r.s));
    rig_end(&r);
    trim("sim:0"); /* a lost device, too, gives its memory back */
    trim("sim:1");
    if (t.n == 1 + STRIDE) native = in_use("native:0");
    uint64_t left = in_use("sim:0") + faults->used(0) + in_use("sim:1") + faults->used(1);
    if ((left || (t.n > 1 + STRIDE && in_use("native:0") != native)) && !t.leaks++) note("%s: %d bytes are left", spec, (int)left);
    faults->arm(0, NULL);
  }
  report(what, &t);
}

/* ---- what a lost device leaves ---------------------------------------------------------------------------------------- */

static void others_go_on(void)
{
  chx_scope *s = chx_scope_begin("sim:0"), *other = chx_scope_begin("sim:1");
  float v[3];
  chx_array *a = chx_from(s, CHX_F32, 3, (double[]){1, 2, 3}), *kept = chx_to(other, a, "sim:1");
  chx_sync(s);
  chx_sync(other);
  faults->arm(0, "lost:1");
  chx_add(s, a, a);
  ok(chx_scope_error(s) == CHX_ELOST && strstr(chx_scope_message(s), "sim:0") && strstr(chx_scope_message(s), "add"), "%s",
     chx_scope_message(s));
  chx_scope_clear(s);
  ok(chx_read(s, a, v, sizeof v) == CHX_ELOST, "what was on it cannot be read: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(chx_sync(s) == CHX_ELOST, "nor waited for: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(!chx_to(s, a, "sim:1") && chx_scope_error(s) == CHX_ELOST, "nor copied to another: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(rel_err(chx_add(other, kept, kept), (double[]){2, 4, 6}) == 0, "the other device goes on");
  ok(!chx_to(other, kept, "sim:0") && chx_scope_error(other) == CHX_ELOST, "nothing can be moved there: %s",
     chx_scope_message(other));
  chx_scope_clear(other);
  chx_device_state d;
  chx_backend_state b;
  for (int i = 0; !chx_backend_at(i, &b); i++)
    if (!strcmp(b.name, "sim")) ok(!chx_device_at(i, 0, &d) && d.mem_total > 0, "it is still listed");
  chx_scope_end(s);
  chx_scope_end(other);
  faults->arm(0, NULL);
}

/* With guard pages every buffer is an allocation of its own, so that a step has many. */
static bool allocations(void)
{
  setenv("CHX_SIM_GUARD", "1", 1);
  chx_scope_end(chx_scope_begin("sim:0"));
  faults = sim_faults();
  for (int cnn = 0; cnn < 2; cnn++) {
    prepare(cnn);
    each(cnn ? "cnn: an allocation" : "mlp: an allocation", "alloc:%d", false, cnn);
    each(cnn ? "cnn: two in a row" : "mlp: two in a row", "alloc:%d,alloc:%d", true, cnn);
  }
  return !check_failed;
}

/* Some operators by the host, on the device's memory: a fault then meets buffers that are open to it. */
static bool mapped(void)
{
  setenv("CHX_SIM_MEMORY_MODE", "mappable", 1);
  setenv("CHX_ROUTE", "relu=mapped,add=mapped,softmax_cross_entropy=mapped,mul=staged", 1);
  chx_scope_end(chx_scope_begin("sim:0"));
  faults = sim_faults();
  prepare(false);
  each("mapped: a copy, late", "copy:%d:late", true, false);
  each("mapped: a kernel", "kernel:%d", true, false);
  each("mapped: a kernel, late", "kernel:%d:late", true, false);
  each("mapped: two allocations in a row", "alloc:%d,alloc:%d", true, false);
  each_lost("mapped: the device", "lost:%d", false);
  each_lost("mapped: the device, late", "lost:%d:late", false);
  return !check_failed;
}

/* By its file: the children must be the first to load it. */
static bool sim_is_built(void)
{
  const char *dir = getenv("CHX_BUILDDIR");
  char path[4096];
  snprintf(path, sizeof path, "%s/.libs/chx_sim.so", dir ? dir : ".");
  return access(path, R_OK) == 0;
}

int main(void)
{
  if (!sim_is_built()) return skip(1, "sim is not built"), done_testing();
  int fd = mkstemp(checkpoint);
  if (fd < 0) return ok(false, "a place for the checkpoint"), done_testing();
  close(fd);
  in_child_of_tests(allocations); /* before sim is loaded here */
  in_child_of_tests(mapped);
  if (!sim_is_there(1)) return unlink(checkpoint), done_testing();
  faults = sim_faults();
  others_go_on();
  for (int cnn = 0; cnn < 2; cnn++) {
    char what[64];
    const struct { const char *what, *format; bool lost; } kinds[] = {
      {"a copy", "copy:%d", false}, {"a copy, late", "copy:%d:late", false},
      {"a kernel", "kernel:%d", false}, {"a kernel, late", "kernel:%d:late", false},
      {"the device", "lost:%d", true}, {"the device, late", "lost:%d:late", true},
    };
    prepare(cnn);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
      snprintf(what, sizeof what, "%s: %s", cnn ? "cnn" : "mlp", kinds[k].what);
      if (kinds[k].lost) each_lost(what, kinds[k].format, cnn);
      else each(what, kinds[k].format, true, cnn);
    }
  }
  unlink(checkpoint);
  return done_testing();
}
