/* SPDX-License-Identifier: MIT
 * test_step.c: the memory of a training step. Once warm it asks the system for none; and when an allocation fails, wherever it is,
 * the step ends in an error, parameters and optimizer states are all as before or all as after, and the next step is right.
 */
#include "check.h"
#include <chx/nn.h>
#include <dlfcn.h>
#include <sys/mman.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* ---- counting calls of the system's allocator, by caller ----------------------------------------------------------- */

static int counting, ours, others;

#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
static void count(void *caller)
{
  Dl_info at;
  if (!counting) return;
  counting = 0; /* dladdr and note may allocate */
  const char *lib = dladdr(caller, &at) && at.dli_fname ? at.dli_fname : "?";
  if (strstr(lib, "libchx") || strstr(lib, "chx_native")) {
    if (ours++ < 5) note("an allocation from %s in %s", at.dli_sname ? at.dli_sname : "?", lib);
  } else
    others++;
  counting = 1;
}

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t align, size_t n);
void *malloc(size_t n) { count(__builtin_return_address(0)); return __libc_malloc(n); }
void *calloc(size_t n, size_t size) { count(__builtin_return_address(0)); return __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { count(__builtin_return_address(0)); return __libc_realloc(p, n); }
void *aligned_alloc(size_t align, size_t n) { count(__builtin_return_address(0)); return __libc_memalign(align, n); }
void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t off)
{
  static void *(*next)(void *, size_t, int, int, int, off_t);
  int was = counting;
  counting = 0;
  if (!next) *(void **)&next = dlsym(RTLD_NEXT, "mmap");
  counting = was;
  count(__builtin_return_address(0));
  return next(at, n, prot, flags, fd, off);
}
#endif

/* ---- a model and its steps -------------------------------------------------------------------------------------------- */

typedef struct rig {
  chx_scope *s;
  chx_link *model;
  chx_optimizer *opt;
  chx_nn_dataset *data;
  chx_nn_iterator *it;
  chx_array *x, *t;
} rig;

static chx_array *loss_of(void *ctx, chx_scope *s)
{
  rig *r = ctx;
  return chx_softmax_cross_entropy(s, chx_link_call(s, r->model, r->x), r->t);
}

static void begin(rig *r, const char *device, bool cnn)
{
  r->s = chx_scope_begin(device);
  chx_scope_seed(r->s, 7);
  int64_t n = 50, units[] = {32, 10}, xs[] = {50, 64}, chw[] = {1, 8, 8};
  chx_array *x = chx_uniform(r->s, CHX_F32, 2, xs, 0, 1);
  chx_array *t = chx_integers(r->s, CHX_I32, 1, &n, 0, 10);
  r->data = chx_nn_dataset_new(r->s, x, t);
  if (cnn) chx_nn_dataset_reshape(r->s, r->data, 3, chw);
  r->it = chx_nn_iterator_new(r->s, r->data, 16, 1, 3);
  r->model = cnn ? chx_nn_cnn(r->s, chw, 10) : chx_nn_mlp(r->s, 2, units);
  r->opt = chx_optimizer_adam(r->s, 1e-3, 0.9, 0.999, 1e-8);
  chx_optimizer_setup(r->s, r->opt, r->model);
  chx_optimizer_add_weight_decay(r->s, r->opt, 1e-4);
  chx_optimizer_add_gradient_clipping(r->s, r->opt, 1);
}

static void end(rig *r)
{
  chx_optimizer_free(r->opt);
  chx_link_free(r->model);
  chx_nn_iterator_free(r->it);
  chx_nn_dataset_free(r->data);
  chx_scope_end(r->s);
}

static void step(rig *r)
{
  size_t mark = chx_scope_mark(r->s);
  chx_array *loss = NULL;
  chx_nn_iterator_next(r->s, r->it, &r->x, &r->t);
  chx_optimizer_update_with(r->s, r->opt, loss_of, r, &loss);
  chx_scope_rewind(r->s, mark, NULL);
}

static void warm(bool cnn)
{
  rig r;
  begin(&r, "native", cnn);
  for (int i = 0; i < 8; i++) step(&r); /* two epochs of 16, 16, 16, 2 */
  counting = !SANITIZED;
  for (int i = 0; i < 20; i++) step(&r);
  counting = 0;
  ok(!chx_scope_error(r.s), "%s: no error: %s", cnn ? "cnn" : "mlp", chx_scope_message(r.s));
  if (SANITIZED) skip(1, "allocation counts: the sanitizer has the allocator");
  else is_int(ours, 0, "%s: allocations of libchx, libchx-nn and native in 20 warm steps (others': %d)", cnn ? "cnn" : "mlp", others);
  end(&r);
  ours = others = 0;
}

/* ---- failing each allocation in turn -------------------------------------------------------------------------------------- */

static int countdown; /* 0: not armed */
static int fail_one(void *ctx, const char *device, int alloc, uint64_t bytes)
{
  (void)ctx, (void)device, (void)bytes;
  return alloc && countdown && --countdown == 0;
}

typedef struct state { float v[1 << 18]; size_t n; int64_t t; } state;

static void add_state(chx_scope *s, state *st, const chx_array *a)
{
  if (!a) return;
  size_t n = (size_t)chx_size(a);
  if (chx_dtype(a) == CHX_F32 && st->n + n <= sizeof st->v / 4) chx_read(s, a, st->v + st->n, n * 4);
  st->n += n;
}

static void snapshot(rig *r, state *st)
{
  chx_scope *s = chx_scope_begin(chx_scope_device(r->s));
  st->n = 0;
  st->t = chx_optimizer_t(r->opt);
  for (chx_param *p = NULL; (p = chx_link_next_param(r->model, p));) {
    add_state(s, st, chx_param_array(p));
    add_state(s, st, chx_optimizer_state(r->opt, p, "m"));
    add_state(s, st, chx_optimizer_state(r->opt, p, "v"));
  }
  if (chx_scope_error(s)) note("snapshot: %s", chx_scope_message(s));
  chx_scope_end(s);
}

static bool same(const state *a, const state *b) { return a->n == b->n && a->t == b->t && !memcmp(a->v, b->v, a->n * 4); }

static void plain_step(rig *r) /* on one batch, so that a failed step can be taken again */
{
  size_t mark = chx_scope_mark(r->s);
  chx_array *loss = NULL;
  chx_random_set(r->s, (chx_random_state){7, 1 << 20}); /* dropout draws the same again */
  chx_optimizer_update_with(r->s, r->opt, loss_of, r, &loss);
  chx_scope_rewind(r->s, mark, NULL);
}

static state before, after, now;

static void failing(const char *device, bool cnn)
{
  rig r;
  int failed = 0, wrong = 0, n = 1;
  chx_scope *probe = chx_scope_begin(device);
  bool there = !chx_scope_error(probe);
  if (!there) skip(2, chx_scope_message(probe));
  chx_scope_end(probe);
  for (bool done = !there; !done && n < 3000 && wrong < 5; n++) {
    begin(&r, device, cnn);
    chx_nn_iterator_next(r.s, r.it, &r.x, &r.t);
    plain_step(&r);
    snapshot(&r, &before);
    if (n == 1) {
      plain_step(&r);
      snapshot(&r, &after);
      end(&r);
      begin(&r, device, cnn);
      chx_nn_iterator_next(r.s, r.it, &r.x, &r.t);
      plain_step(&r);
    }
    countdown = n;
    plain_step(&r);
    done = countdown > 0;
    countdown = 0;
    bool error = chx_scope_error(r.s) != CHX_OK;
    snapshot(&r, &now);
    if (done ? error : !error) { /* an allocation that the step can do without may fail unseen */
      if (done || !same(&now, &after)) {
        note("allocation %d: error '%s'", n, chx_scope_message(r.s));
        wrong++;
      }
    } else if (!done) {
      failed++;
      bool old = same(&now, &before), new = same(&now, &after);
      if (!old && !new) {
        note("allocation %d: state is neither that before nor that after: %s", n, chx_scope_message(r.s));
        wrong++;
      }
      chx_scope_clear(r.s);
      if (old) {
        plain_step(&r);
        snapshot(&r, &now);
        if (chx_scope_error(r.s) || !same(&now, &after)) {
          note("allocation %d: the next step gives another result: %s", n, chx_scope_message(r.s));
          wrong++;
        }
      }
    }
    end(&r);
  }
  if (!there) return;
  is_int(wrong, 0, "%s, %s: %d of %d allocations failed in turn, each left a state to go on from", device, cnn ? "cnn" : "mlp", failed, n);
  ok(failed > 10, "%s: %d failures were seen", device, failed);
}

int main(void)
{
  warm(false);
  warm(true);
  chx_set_memory_hook(fail_one, NULL);
  failing("native", false);
  failing("sim", false);
  failing("native", true);
  chx_set_memory_hook(NULL, NULL);
  return done_testing();
}
