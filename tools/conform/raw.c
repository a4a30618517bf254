/* SPDX-License-Identifier: MIT
 * raw.c: loads the judged plugin without the core, and lends it a host table.
 */
#include "raw.h"
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- the host table ---------------------------------------------------------------------------------------------- */

static _Thread_local char said[512], handed[512];

const char *raw_said(void)
{
  memcpy(handed, said, sizeof handed);
  said[0] = 0;
  return handed;
}

const char *raw_code(chx_status st)
{
  static _Thread_local char text[4][96];
  static _Thread_local unsigned turn;
  char *t = text[turn++ % 4];
  snprintf(t, sizeof text[0], "code %d (%s)", (int)st, chx_status_text(st));
  return t;
}

static chx_status host_fail(void *ctx, chx_status code, const char *msg)
{
  (void)ctx;
  snprintf(said, sizeof said, "%s", msg ? msg : "");
  return code;
}

static void host_log(void *ctx, int32_t level, const char *msg)
{
  (void)ctx;
  fprintf(stderr, "log %d: %s\n", (int)level, msg ? msg : "(null)");
}

/* Scratch lives until the process ends: kernels are not run here, but a plugin may ask for it elsewhere. */
static void *host_scratch(void *ctx, const chx_call *call, uint64_t bytes)
{
  (void)ctx, (void)call;
  return bytes <= (uint64_t)1 << 32 ? malloc(bytes ? (size_t)bytes : 1) : NULL;
}

static chx_status host_parallel_for(void *ctx, int64_t n, int64_t grain, void (*fn)(int64_t, int64_t, void *),
                                    void *arg)
{
  (void)ctx;
  if (grain < 1) grain = 1;
  for (int64_t i = 0; i < n; i += grain) fn(i, n - i < grain ? n : i + grain, arg);
  return CHX_OK;
}

static const char *host_option(void *ctx, const char *key)
{
  (void)ctx;
  return key && !strncmp(key, "CHX_", 4) ? secure_getenv(key) : NULL; /* as the core */
}

/* Native, for plugins that are lent its kernels as the core lends them. libchx says where it is. */
static raw native;
static const chx_plugin *judged;

static const chx_kernel *native_kernel(uint32_t i) { return native.o->kernel(native.dev, i); }

const char *raw_native_file(void)
{
  static char file[4096];
  chx_backend_state b;
  chx_scope *s = chx_scope_begin("native:0");
  chx_scope_end(s);
  for (int i = 0; !file[0] && chx_backend_at(i, &b) == CHX_OK; i++)
    if (!strcmp(b.name, "native")) snprintf(file, sizeof file, "%s", b.path);
  return file;
}

static void open_native(void)
{
  void *lib = dlopen(raw_native_file(), RTLD_NOW | RTLD_LOCAL);
  chx_entry_fn entry = lib ? (chx_entry_fn)dlsym(lib, CHX_ENTRY) : NULL;
  if (!entry || (native.p = entry()) == judged || native.p->open(&raw_host, &native.state)) return;
  if (!native.p->device_open(native.state, 0, &native.dev)) native.o = native.p->device_ops(native.state);
}

static const void *host_extension(void *ctx, const char *name)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  static const chx_host_kernels kernels = {.size = sizeof kernels, .kernel = native_kernel};
  (void)ctx;
  if (!name || strcmp(name, CHX_HOST_KERNELS)) return NULL;
  pthread_once(&once, open_native);
  return native.o ? &kernels : NULL;
}

const chx_host raw_host = {.size = sizeof raw_host, .abi_minor = CHX_ABI_MINOR, .fail = host_fail, .log = host_log,
                           .scratch = host_scratch, .parallel_for = host_parallel_for, .option = host_option,
                           .extension = host_extension};

/* ---- loading ----------------------------------------------------------------------------------------------------- */

static const chx_plugin *load(raw *r, const char *file, char *why, size_t size)
{
  r->lib = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (!r->lib) {
    snprintf(why, size, "it cannot be loaded: %s", dlerror());
    return NULL;
  }
  chx_entry_fn entry = (chx_entry_fn)dlsym(r->lib, CHX_ENTRY);
  if (!entry) snprintf(why, size, "it does not export " CHX_ENTRY);
  else if (!(judged = r->p = entry())) snprintf(why, size, CHX_ENTRY " returned NULL");
  return r->p;
}

const chx_plugin *raw_load(conform *c, raw *r)
{
  char why[1024];
  *r = (raw){0};
  const chx_plugin *p = load(r, c->file, why, sizeof why);
  conform_check(c, p != NULL, "%s", p ? "" : why);
  return p;
}

/* What open left is closed if the device does not open. */
static bool open_state(raw *r, const chx_host *host, char *why, size_t size)
{
  const chx_plugin *p = r->p;
  if (!CHX_HAS(p, chx_plugin, open) || !CHX_HAS(p, chx_plugin, device_count) ||
      !CHX_HAS(p, chx_plugin, device_open) || !CHX_HAS(p, chx_plugin, device_ops)) {
    snprintf(why, size, "its descriptor lacks open, device_count, device_open or device_ops");
    return false;
  }
  raw_said();
  chx_status st = p->open(host, &r->state);
  if (st) {
    snprintf(why, size, "open: %s: %s", raw_code(st), raw_said());
    return false;
  }
  r->o = p->device_ops(r->state);
  if (r->o) return true;
  snprintf(why, size, "device_ops returned NULL");
  return false;
}

static void close_state(raw *r)
{
  if (CHX_HAS(r->p, chx_plugin, close)) r->p->close(r->state);
}

bool raw_open(conform *c, raw *r, const chx_host *host)
{
  char why[1024];
  if (!conform_check(c, open_state(r, host, why, sizeof why), "%s", why)) return false;
  r->dev = NULL;
  chx_status st = r->p->device_open(r->state, c->index, &r->dev);
  if (conform_check(c, st == CHX_OK, "device_open of device %u: %s: %s", c->index, raw_code(st), raw_said())) {
    r->info = (chx_device_info){.size = sizeof r->info};
    st = CHX_HAS(r->o, chx_device_ops, info) ? r->o->info(r->dev, &r->info) : CHX_EUNSUPPORTED;
    if (conform_check(c, st == CHX_OK, "info: %s: %s", raw_code(st), raw_said())) return true;
  }
  close_state(r);
  return false;
}

void raw_close(raw *r)
{
  if (CHX_HAS(r->p, chx_plugin, device_close)) r->p->device_close(r->dev);
  close_state(r);
}

static raw shared;
static bool shared_open;

raw *raw_device(conform *c)
{
  if (c->no_device) {
    conform_skip(c, "%s", c->no_device);
    return NULL;
  }
  if (!shared_open) shared_open = raw_load(c, &shared) && raw_open(c, &shared, &raw_host);
  return shared_open ? &shared : NULL;
}

void raw_end_device(void)
{
  if (shared_open) raw_close(&shared);
  shared_open = false;
}

bool raw_probe(const char *file, uint32_t index, uint32_t *n_devices, char *why, size_t size)
{
  raw r = {0};
  *n_devices = 0;
  if (!load(&r, file, why, size) || !open_state(&r, &raw_host, why, size)) return false;
  raw_said();
  chx_status st = r.p->device_count(r.state, n_devices);
  if (st || !*n_devices) {
    const char *sentence = raw_said();
    snprintf(why, size, "no device: %s", sentence[0] ? sentence : st ? chx_status_text(st) : "it found none");
  } else if (!(st = r.p->device_open(r.state, index, &r.dev))) {
    raw_close(&r);
    return true;
  } else
    snprintf(why, size, "device %u does not open: %s: %s", index, raw_code(st), raw_said());
  close_state(&r);
  return false;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

bool raw_alloc(conform *c, raw *r, chx_queue *q, uint64_t bytes, chx_buffer *out)
{
  *out = (chx_buffer){.size = sizeof *out};
  raw_said();
  chx_status st = r->o->alloc(r->dev, q, bytes, CHX_B_DEVICE, out);
  return conform_check(c, st == CHX_OK, "alloc of %llu bytes: %s: %s", (unsigned long long)bytes, raw_code(st),
                       raw_said()) &&
         conform_check(c, out->handle && out->bytes >= bytes, "alloc of %llu bytes gave handle %p with %llu bytes",
                       (unsigned long long)bytes, out->handle, (unsigned long long)out->bytes);
}

void raw_release(raw *r, chx_queue *q, chx_buffer *b)
{
  if (b->handle) r->o->release(r->dev, q, b);
}

bool raw_has_queues(const raw *r) { return CHX_HAS(r->o, chx_device_ops, queue_new); }

bool raw_queue(conform *c, raw *r, chx_queue **q)
{
  *q = NULL;
  if (!raw_has_queues(r)) return true;
  chx_status st = r->o->queue_new(r->dev, NULL, q);
  return conform_check(c, st == CHX_OK && *q, "queue_new: %s: %s", raw_code(st), raw_said());
}

void raw_queue_free(raw *r, chx_queue *q)
{
  if (q) r->o->queue_free(r->dev, q);
}

bool raw_sync(conform *c, raw *r, chx_queue *q)
{
  if (!q) return true;
  chx_status st = r->o->queue_sync(r->dev, q, r->o->queue_mark(r->dev, q), INT64_MAX);
  return conform_check(c, st == CHX_OK, "queue_sync: %s: %s", raw_code(st), raw_said());
}

static bool copied(conform *c, const char *what, chx_status st)
{
  return conform_check(c, st == CHX_OK, "copy, %s: %s: %s", what, raw_code(st), raw_said());
}

bool raw_up(conform *c, raw *r, chx_queue *q, const chx_buffer *b, uint64_t off, const void *from, uint64_t bytes)
{
  return copied(c, "host to device", r->o->copy(r->dev, q, b->handle, off, from, 0, bytes, 0)) && raw_sync(c, r, q);
}

bool raw_down(conform *c, raw *r, chx_queue *q, const chx_buffer *b, uint64_t off, void *to, uint64_t bytes)
{
  return copied(c, "device to host", r->o->copy(r->dev, q, to, 0, b->handle, off, bytes, 1)) && raw_sync(c, r, q);
}

raw *raw_begin(conform *c, chx_queue **q)
{
  raw *r = raw_device(c);
  return r && raw_queue(c, r, q) ? r : NULL;
}

raw *raw_begin_queued(conform *c, chx_queue **q)
{
  raw *r = raw_device(c);
  if (!r) return NULL;
  if (raw_has_queues(r)) return raw_queue(c, r, q) ? r : NULL;
  conform_skip(c, "a synchronous device, without queues");
  return NULL;
}

size_t raw_difference(const void *a, const void *b, size_t n)
{
  const unsigned char *p = a, *q = b;
  size_t i = 0;
  while (i < n && p[i] == q[i]) i++;
  return i;
}

bool raw_same(conform *c, const char *what, const void *got, const void *want, size_t n)
{
  size_t i = raw_difference(got, want, n);
  return conform_check(c, i == n, "%s: byte %zu of %zu is 0x%02x, want 0x%02x", what, i, n,
                       i < n ? ((const unsigned char *)got)[i] : 0, i < n ? ((const unsigned char *)want)[i] : 0);
}

/* ---- numbers, threads, time -------------------------------------------------------------------------------------- */

uint64_t raw_random(uint64_t *state) /* SplitMix64 */
{
  uint64_t z = *state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

void raw_fill(void *bytes, uint64_t n, uint64_t seed)
{
  unsigned char *p = bytes;
  for (uint64_t i = 0; i < n; i++) p[i] = (unsigned char)raw_random(&seed);
}

struct task {
  void *(*fn)(void *, int);
  void *ctx;
  int i;
};

static void *run_task(void *arg)
{
  struct task *t = arg;
  return t->fn(t->ctx, t->i);
}

bool raw_threads(int n, void *(*fn)(void *ctx, int i), void *ctx, void *results[])
{
  enum { MOST = 64 };
  pthread_t thread[MOST];
  struct task task[MOST];
  int started = 0;
  if (n > MOST) return false;
  for (; started < n; started++) {
    task[started] = (struct task){fn, ctx, started};
    if (pthread_create(&thread[started], NULL, run_task, &task[started])) break;
  }
  for (int i = 0; i < started; i++) {
    void *result;
    pthread_join(thread[i], &result);
    if (results) results[i] = result;
  }
  return started == n;
}

double raw_now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int raw_threads_here(int most)
{
  for (int i = 0;; i++) {
    int n = 0;
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *e; d && (e = readdir(d));) n += e->d_name[0] != '.';
    if (d) closedir(d);
    if (n <= most || i == 100) return n;
    nanosleep(&(struct timespec){0, 1000000}, NULL);
  }
}
