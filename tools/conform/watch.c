/* SPDX-License-Identifier: MIT
 * watch.c: the wrapper plugin: it opens the judged one, shows libchx its device under another name, and passes every
 * call on. A chx_dev of the wrapper is the judged plugin's own, so that most functions need no wrapper at all.
 */
#include "watch.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const chx_device_ops *watch_ops;
bool watch_host;

static const chx_plugin *judged;
static uint32_t judged_index;
static chx_device_ops ops, forwarded;
static watched_kernel *kernels;
static uint32_t n_kernels;
static atomic_int level;
static atomic_llong live_bytes;

static pthread_mutex_t report_lock = PTHREAD_MUTEX_INITIALIZER;
static char report[1024];
static bool reported;

void watch_report(const char *format, ...)
{
  va_list args;
  pthread_mutex_lock(&report_lock);
  va_start(args, format);
  if (!reported) vsnprintf(report, sizeof report, format, args);
  va_end(args);
  reported = true;
  pthread_mutex_unlock(&report_lock);
}

const char *watch_broken(void)
{
  static char text[sizeof report];
  const char *op = watch_kept();
  if (op)
    watch_report("%s: the call's metadata (tensors, shapes, attribute) was read after the call had returned", op);
  pthread_mutex_lock(&report_lock);
  bool any = reported;
  if (any) memcpy(text, report, sizeof text);
  reported = false;
  pthread_mutex_unlock(&report_lock);
  return any ? text : NULL;
}

/* Where the plugin gave no sentence, libchx puts the code's own text; behind it there may be a remark in brackets. */
bool watch_explained(const chx_scope *s)
{
  char plain[200];
  snprintf(plain, sizeof plain, ": %s", chx_status_text(chx_scope_error(s)));
  const char *at = strstr(chx_scope_message(s), plain);
  if (!at) return true;
  at += strlen(plain);
  return *at && strncmp(at, " (", 2);
}

void watch_level(int l) { atomic_store(&level, l); }
int watch_n_kernels(void) { return (int)n_kernels; }
int64_t watch_live_bytes(void) { return atomic_load(&live_bytes); }

uint64_t watch_runs(const char *op)
{
  uint64_t n = 0;
  for (uint32_t i = 0; i < n_kernels; i++) {
    uint64_t of_this = atomic_exchange(&kernels[i].runs, 0);
    if (!op || !strcmp(kernels[i].k.op, op)) n += of_this;
  }
  return n;
}

const chx_kernel *watch_kernel_at(int i) { return &kernels[i].k; }

/* ---- kernels -------------------------------------------------------------------------------------------------------- */

static _Thread_local const watched_kernel *said_yes, *said_no; /* what accepts answered last */

static chx_status do_accepts(const chx_kernel *k, const chx_call *call, void *ctx)
{
  (void)ctx;
  return k->accepts(k->self, call);
}

static chx_status do_run(const chx_kernel *k, const chx_call *call, void *ctx)
{
  (void)ctx;
  return k->run(k->self, call);
}

struct prepared {
  void **plan;
  uint64_t *workspace_bytes;
};

static chx_status do_prepare(const chx_kernel *k, const chx_call *call, void *ctx)
{
  struct prepared *p = ctx;
  return k->prepare(k->self, call, p->plan, p->workspace_bytes);
}

static chx_status accepts(void *self, const chx_call *call)
{
  const watched_kernel *w = self;
  chx_status st = watch_with_copy(w->judged, call, do_accepts, NULL);
  said_yes = st ? NULL : w;
  said_no = st ? w : NULL;
  return st;
}

static chx_status prepare(void *self, const chx_call *call, void **plan, uint64_t *workspace_bytes)
{
  const watched_kernel *w = self;
  struct prepared p = {plan, workspace_bytes};
  return watch_with_copy(w->judged, call, do_prepare, &p);
}

static void drop(void *self, void *plan)
{
  const watched_kernel *w = self;
  w->judged->drop(w->judged->self, plan);
}

/* What libchx promises a kernel, by the kernel's own declaration. */
static void check_promises(const watched_kernel *w, const chx_call *call)
{
  const chx_kernel *k = &w->k;
  if (said_no == w) watch_report("%s: libchx ran a kernel whose accepts had said no", k->op);
  for (uint32_t i = 0; i < call->n_in + call->n_out; i++) {
    bool in = i < call->n_in;
    const chx_tensor *t = in ? &call->in[i] : &call->out[i - call->n_in];
    unsigned number = in ? i : i - call->n_in;
    uint64_t takes = in ? k->dtypes_in : k->dtypes_out ? k->dtypes_out : k->dtypes_in;
    const char *what = in ? "input" : "output";
    if (t->flags & CHX_T_ABSENT) continue;
    if ((in || number == 0) && !(takes & CHX_BIT(CHX_T_DTYPE(t))))
      watch_report("%s: libchx gave %s %u of dtype %s, which the kernel does not declare", k->op, what, number,
                   chx_dtype_name(CHX_T_DTYPE(t)));
    if (k->max_rank && t->ndim > (int32_t)k->max_rank)
      watch_report("%s: libchx gave %s %u of rank %d, the kernel declares %u", k->op, what, number, t->ndim,
                   k->max_rank);
    if (t->flags & CHX_T_HOST_SCALAR && !(k->flags & CHX_K_SCALAR_OK))
      watch_report("%s: libchx gave %s %u as a host scalar, which the kernel does not take", k->op, what, number);
    if (k->flags & CHX_K_CONTIGUOUS && !(t->flags & (CHX_T_CONTIGUOUS | CHX_T_HOST_SCALAR)))
      watch_report("%s: libchx gave %s %u that is not dense to a kernel that asks for dense ones", k->op, what, number);
  }
}

static chx_status run(void *self, const chx_call *call)
{
  watched_kernel *w = self;
  bool yes = said_yes == w;
  check_promises(w, call);
  said_yes = said_no = NULL;
  chx_status st = atomic_load(&level) == WATCH_FULL ? watch_guarded(w->judged, call, do_run)
                                                   : watch_with_copy(w->judged, call, do_run, NULL);
  if (st == CHX_DECLINED && yes) watch_report("%s: accepts said yes, then run declined", w->judged->op);
  if (!st) atomic_fetch_add(&w->runs, 1);
  return st;
}

static const chx_kernel *kernel_at(chx_dev *dev, uint32_t index)
{
  (void)dev;
  return index < n_kernels ? &kernels[index].k : NULL;
}

static chx_status wrap_kernels(chx_dev *dev)
{
  uint32_t n = 0;
  while (forwarded.kernel(dev, n)) n++;
  if (!(kernels = calloc(n ? n : 1, sizeof *kernels))) return CHX_ENOMEM;
  for (n_kernels = 0; n_kernels < n; n_kernels++) {
    watched_kernel *w = &kernels[n_kernels];
    const chx_kernel *k = w->judged = forwarded.kernel(dev, n_kernels);
    memcpy(&w->k, k, k->size < sizeof w->k ? k->size : sizeof w->k);
    w->k.size = sizeof w->k;
    w->k.self = w;
    if (w->k.run) w->k.run = run;
    if (w->k.accepts) w->k.accepts = accepts;
    if (w->k.prepare) w->k.prepare = prepare;
    if (w->k.drop) w->k.drop = drop;
    if (!CHX_HAS(k, chx_kernel, dtypes_out)) w->k.dtypes_out = w->k.dtypes_in;
    if (!CHX_HAS(k, chx_kernel, max_rank)) w->k.max_rank = CHX_MAX_RANK;
  }
  return CHX_OK;
}

/* ---- the device -------------------------------------------------------------------------------------------------------- */

static chx_status alloc(chx_dev *dev, chx_queue *q, uint64_t bytes, uint32_t kind, chx_buffer *out)
{
  chx_status st = forwarded.alloc(dev, q, bytes, kind, out);
  if (!st) atomic_fetch_add(&live_bytes, (long long)out->bytes);
  return st;
}

static void release(chx_dev *dev, chx_queue *q, chx_buffer *b)
{
  atomic_fetch_sub(&live_bytes, (long long)b->bytes);
  forwarded.release(dev, q, b);
}

/* ---- the plugin -------------------------------------------------------------------------------------------------------- */

static chx_status plugin_open(const chx_host *host, void **state) { return judged->open(host, state); }

static chx_status device_count(void *state, uint32_t *n)
{
  uint32_t there = 0;
  chx_status st = judged->device_count(state, &there);
  *n = !st && judged_index < there;
  return st;
}

static const chx_device_ops *device_ops(void *state)
{
  const chx_device_ops *o = judged->device_ops(state);
  if (!o) return NULL;
  memset(&forwarded, 0, sizeof forwarded);
  memcpy(&forwarded, o, o->size < sizeof forwarded ? o->size : sizeof forwarded);
  forwarded.size = sizeof forwarded;
  ops = forwarded;
  if (ops.kernel) ops.kernel = kernel_at;
  if (ops.alloc) ops.alloc = alloc;
  if (ops.release) ops.release = release;
  watch_ops = &forwarded;
  return &ops;
}

static chx_status device_open(void *state, uint32_t i, chx_dev **dev)
{
  (void)i;
  chx_status st = judged->device_open(state, judged_index, dev);
  if (st) return st;
  chx_device_info info = {.size = sizeof info};
  if ((st = forwarded.info(*dev, &info))) return st;
  watch_host = info.flags & CHX_D_HOST_IS_DEVICE;
  return wrap_kernels(*dev);
}

static const chx_plugin wrapper = {
  .size = sizeof wrapper, .abi_minor = CHX_ABI_MINOR, .name = "judged", .version = "", .vendor = "", .build = "",
  .open = plugin_open, .device_count = device_count, .device_open = device_open, .device_ops = device_ops};

bool watch_open(conform *c, char *why, size_t size)
{
  static bool open;
  if (open) return true;
  void *lib = dlopen(c->file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  chx_entry_fn entry = lib ? (chx_entry_fn)dlsym(lib, CHX_ENTRY) : NULL;
  judged = entry ? entry() : NULL;
  judged_index = c->index;
  if (!judged) {
    snprintf(why, size, "%s: %s", c->file, lib ? "it exports no " CHX_ENTRY ", or that returned NULL" : dlerror());
    return false;
  }
#define NEED(f) if (!CHX_HAS(judged, chx_plugin, f)) return snprintf(why, size, "its descriptor lacks '" #f "'"), false;
  NEED(open) NEED(device_count) NEED(device_open) NEED(device_ops)
#undef NEED
  chx_scope *s = chx_scope_begin("native:0");
  chx_add_plugin(s, &wrapper);
  open = !chx_scope_error(s);
  if (!open) snprintf(why, size, "%s", chx_scope_message(s));
  chx_scope_end(s);
  return open;
}
