/* SPDX-License-Identifier: MIT
 * plugin.c: finding, loading and checking plugins, and what the core lends them.
 *
 * A plugin is looked for when its backend is first named: in CHX_PLUGIN_PATH (directories and files), then in
 * chx/plugins beside libchx and in libchx's own directory (a build tree), then where it was configured to be. What was
 * tried is kept for the error. An accepted plugin stays mapped for ever; a rejected one is closed.
 */
#include "plugins.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef CHX_PLUGINDIR
#define CHX_PLUGINDIR "/usr/local/lib/chx/plugins"
#endif

chxi_backend *chxi_backends[CHXI_MAX_BACKENDS];
int chxi_n_backends;
pthread_mutex_t chxi_load_lock = PTHREAD_MUTEX_INITIALIZER;
CHXI_FORK_GUARD(CHXI_FORK_LOAD, &chxi_load_lock, 1)

const char *chxi_getenv(const char *name) { return secure_getenv(name); }

/* ---- text that grows ------------------------------------------------------------------------------------------- */

/* Appends to a malloc'ed string; on failure the text stays shorter. */
static void append(char **text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void append(char **text, const char *format, ...)
{
  char piece[PATH_MAX + 256];
  va_list args;
  va_start(args, format);
  vsnprintf(piece, sizeof piece, format, args);
  va_end(args);
  size_t n = *text ? strlen(*text) : 0;
  char *t = realloc(*text, n + strlen(piece) + 1);
  if (!t) return;
  strcpy(t + n, piece);
  *text = t;
}

/* ---- what the core lends (chx_host) ------------------------------------------------------------------------------ */

static chx_status host_fail(void *ctx, chx_status code, const char *msg)
{
  chxi_thread *th = chxi_thread_self();
  (void)ctx;
  if (th) {
    snprintf(th->fail_text, sizeof th->fail_text, "%s", msg ? msg : "");
    th->fail_code = code;
  }
  return code;
}

static void host_log(void *ctx, int32_t level, const char *msg)
{
  chxi_backend *b = ctx;
  chxi_log(level, "%s: %s", b->name, msg ? msg : "");
}

static const char *host_option(void *ctx, const char *key)
{
  (void)ctx;
  return key && !strncmp(key, "CHX_", 4) ? chxi_getenv(key) : NULL;
}

static const chx_kernel *native_kernel(uint32_t index)
{
  const chxi_device *native = atomic_load(&chxi_native_device);
  return native->ops->kernel(native->dev, index);
}

/* native is loaded here at the latest. That needs the lock, which is held while a plugin's open runs: until ops is set. */
static const void *host_extension(void *ctx, const char *name)
{
  static const chx_host_kernels kernels = {.size = sizeof kernels, .kernel = native_kernel};
  static const chx_op_host ops = {.size = sizeof ops, .declare = chxi_op_declare};
  const chxi_backend *b = ctx;
  if (name && !strcmp(name, CHX_OPS)) return &ops;
  if (!name || strcmp(name, CHX_HOST_KERNELS) || !strcmp(b->name, "native")) return NULL;
  if (!atomic_load(&chxi_native_device) && !b->ops) chxi_backend_get("native");
  return atomic_load(&chxi_native_device) ? &kernels : NULL;
}

static chx_status host_parallel_for(void *ctx, int64_t n, int64_t grain, void (*fn)(int64_t, int64_t, void *),
                                    void *arg)
{
  (void)ctx;
  return chxi_parallel_for(n, grain, fn, arg);
}

chx_status chxi_plugin_failed(chx_scope *s, chx_status code, const char *format, ...)
{
  char what[512];
  va_list args;
  va_start(args, format);
  vsnprintf(what, sizeof what, format, args);
  va_end(args);
  chxi_thread *th = chxi_thread_self();
  const char *said = th && th->fail_code == code ? th->fail_text : "";
  if (!said[0]) said = chx_status_text(code);
  chx_scope_fail(s, code == CHX_DECLINED ? CHX_EFAILED : code, "%s: %s", what, said);
  if (th) th->fail_code = CHX_OK;
  return s ? s->error : code;
}

/* ---- one file -------------------------------------------------------------------------------------------------- */

static bool good_name(const char *name)
{
  size_t n = strlen(name);
  if (!n || n >= sizeof ((chxi_backend *)0)->name) return false;
  for (const char *p = name; *p; p++)
    if (!(*p == '_' || (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z'))) return false;
  return true;
}

static bool well_formed(const chx_plugin *p, const char **why)
{
#define NEED(f) \
  if (!CHX_HAS(p, chx_plugin, f)) return *why = "its descriptor lacks '" #f "'", false;
  if (!p) return *why = "chx_plugin_v1 returned NULL", false;
  NEED(name) NEED(open) NEED(device_count) NEED(device_open) NEED(device_ops)
#undef NEED
  if (!good_name(p->name)) return *why = "its backend's name is not of letters, digits and '_', or is too long", false;
  return true;
}

static bool complete_ops(const chx_device_ops *o, const char **why)
{
#define NEED(f) \
  if (!CHX_HAS(o, chx_device_ops, f)) return *why = "its device operations lack '" #f "'", false;
  if (!o) return *why = "device_ops returned NULL", false;
  NEED(info) NEED(kernel) NEED(alloc) NEED(release) NEED(copy)
  if (CHX_HAS(o, chx_device_ops, queue_new)) {
    NEED(queue_free) NEED(queue_mark) NEED(queue_sync)
  }
#undef NEED
  return true;
}

/* Loads the file at path as a plugin into b. False: the reason is appended to *why. */
static bool load_file(chxi_backend *b, const char *path, const char *want_name, char **why)
{
  void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!lib) {
    append(why, "; %s: cannot be loaded: %s", path, dlerror());
    return false;
  }
  chx_entry_fn entry = (chx_entry_fn)dlsym(lib, CHX_ENTRY);
  const char *bad = "it does not export " CHX_ENTRY ", so it is no chx plugin or one for another ABI";
  const chx_plugin *p = NULL;
  if (!entry || (p = entry(), !well_formed(p, &bad)) ||
      (want_name && strcmp(p->name, want_name) && (bad = "its backend has another name than its file", true))) {
    append(why, "; %s: rejected: %s", path, bad);
    dlclose(lib);
    return false;
  }
  snprintf(b->name, sizeof b->name, "%s", p->name);
  free(b->path);
  b->path = strdup(path);
  b->plugin = p;
  dlopen(path, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
  return true;
}

static void open_devices(chxi_backend *b, char **why)
{
  b->host = (chx_host){.size = sizeof b->host, .abi_minor = CHX_ABI_MINOR, .ctx = b, .fail = host_fail, .log = host_log,
                       .scratch = chxi_host_scratch, .parallel_for = host_parallel_for, .option = host_option,
                       .extension = host_extension};
  chxi_thread *th = chxi_thread_self();
  const char *bad = NULL;
  uint32_t n = 0;
  if (th) th->fail_text[0] = 0;
  chx_status st = b->plugin->open(&b->host, &b->state);
  if (st) {
    append(why, "; %s: open: %s", b->path, th && th->fail_text[0] ? th->fail_text : chx_status_text(st));
    b->plugin = NULL;
    chxi_ops_forget(b);
    return;
  }
  if (!complete_ops(b->ops = b->plugin->device_ops(b->state), &bad)) {
    append(why, "; %s: rejected: %s", b->path, bad);
    if (CHX_HAS(b->plugin, chx_plugin, close)) b->plugin->close(b->state);
    b->plugin = NULL;
    chxi_ops_forget(b);
    return;
  }
  chxi_ops_enter(b);
  if (th) th->fail_text[0] = 0;
  st = b->plugin->device_count(b->state, &n);
  if (st || !n)
    append(why, "; %s: no device: %s", b->path,
           th && th->fail_text[0] ? th->fail_text
           : st                   ? chx_status_text(st)
                                  : "it found none");
  for (uint32_t i = 0; !st && i < n; i++) {
    chx_dev *dev = NULL;
    if (th) th->fail_text[0] = 0;
    st = b->plugin->device_open(b->state, i, &dev);
    bad = st ? chx_status_text(st) : chxi_device_add(b, dev, (int)i);
    if (!bad) continue;
    append(why, "; %s: device %u: %s", b->path, i, th && th->fail_text[0] ? th->fail_text : bad);
    if (!st && CHX_HAS(b->plugin, chx_plugin, device_close)) b->plugin->device_close(dev);
    break;
  }
}

/* Registers what was found; the lock is held. NULL when memory is out. */
static chxi_backend *enter(chxi_backend *b, char *why)
{
  if (chxi_n_backends == CHXI_MAX_BACKENDS) {
    free(b->path);
    free(b);
    free(why);
    return NULL;
  }
  chxi_backends[chxi_n_backends++] = b; /* before it is opened, which may load native */
  if (b->plugin) open_devices(b, &why);
  b->error = why && why[0] ? strdup(why + 2) : NULL; /* less the first "; " */
  free(why);
  return b;
}

/* ---- where they are ---------------------------------------------------------------------------------------------- */

/* Calls fn with each directory or file of the search path, until it returns true. */
static bool search_path(bool (*fn)(void *ctx, const char *dir), void *ctx)
{
  const char *env = chxi_getenv("CHX_PLUGIN_PATH");
  char dir[PATH_MAX];
  while (env && *env) {
    size_t n = strcspn(env, ":");
    if (n && n < sizeof dir) {
      memcpy(dir, env, n);
      dir[n] = 0;
      if (fn(ctx, dir)) return true;
    }
    env += n + (env[n] == ':');
  }
  Dl_info self;
  char real[PATH_MAX];
  if (dladdr((void *)chx_version, &self) && self.dli_fname && realpath(self.dli_fname, real)) {
    char *slash = strrchr(real, '/');
    if (slash) *slash = 0;
    if (snprintf(dir, sizeof dir, "%.*s/chx/plugins", PATH_MAX - 16, real) > 0 && fn(ctx, dir)) return true;
    if (fn(ctx, real)) return true;
  }
  return fn(ctx, CHX_PLUGINDIR);
}

struct wanted {
  const char *name;
  chxi_backend *b;
  char **why;
};

static bool is_plugin_file(const char *path, const char *name)
{
  const char *base = strrchr(path, '/');
  base = base ? base + 1 : path;
  size_t n = strlen(name);
  return !strncmp(base, "chx_", 4) && !strncmp(base + 4, name, n) && !strcmp(base + 4 + n, ".so");
}

static bool try_place(void *ctx, const char *place)
{
  struct wanted *w = ctx;
  char path[PATH_MAX + 64];
  size_t n = strlen(place);
  if (n > 3 && !strcmp(place + n - 3, ".so")) {
    if (!is_plugin_file(place, w->name)) return false;
    snprintf(path, sizeof path, "%s", place);
  } else
    snprintf(path, sizeof path, "%s/chx_%s.so", place, w->name);
  if (access(path, F_OK)) {
    append(w->why, "; %s: %s", path, strerror(errno));
    return false;
  }
  if (load_file(w->b, path, w->name, w->why)) return true;
  if (!w->b->path) w->b->path = strdup(path); /* the first file of that name, to be listed with what is wrong with it */
  return false;
}

static chxi_backend *known(const char *name)
{
  for (int i = 0; i < chxi_n_backends; i++)
    if (!strcmp(chxi_backends[i]->name, name)) return chxi_backends[i];
  return NULL;
}

chxi_backend *chxi_backend_get(const char *name)
{
  if (!good_name(name)) return NULL;
  chxi_backend *b = known(name);
  if (b) return b;
  if (!(b = calloc(1, sizeof *b))) return NULL;
  char *why = NULL;
  struct wanted w = {name, b, &why};
  if (!search_path(try_place, &w)) {
    snprintf(b->name, sizeof b->name, "%s", name);
  } else { /* what was tried before the file that loaded is of no interest */
    free(why);
    why = NULL;
  }
  return enter(b, why);
}

/* ---- public ---------------------------------------------------------------------------------------------------------- */

chx_status chx_load_plugin(chx_scope *s, const char *path)
{
  if (!chxi_ok(s)) return chx_scope_error(s);
  if (!path) return chx_scope_fail(s, CHX_EARG, "load_plugin: the path is NULL, want a file");
  char *why = NULL, real[PATH_MAX];
  if (!realpath(path, real))
    return chx_scope_fail(s, CHX_EIO, "load_plugin: %s: %s, want a plugin's file", path, strerror(errno));
  chxi_backend *b = calloc(1, sizeof *b);
  if (!b) return chx_scope_fail(s, CHX_ENOMEM, "load_plugin: out of memory");
  pthread_mutex_lock(&chxi_load_lock);
  if (!load_file(b, real, NULL, &why)) {
    chx_scope_fail(s, CHX_EDEVICE, "load_plugin: %s", why ? why + 2 : "out of memory");
    free(b);
  } else {
    chxi_backend *old = known(b->name);
    if (old && old->plugin) {
      if (!old->path || strcmp(old->path, real))
        chx_scope_fail(s, CHX_EDEVICE, "load_plugin: %s: backend '%s' was already loaded from %s, want another name",
                       real, b->name, old->path);
      free(b->path);
      free(b);
    } else {
      if (old) old->name[0] = 0; /* it had not been found */
      if (!enter(b, NULL))
        chx_scope_fail(s, CHX_ENOMEM, "load_plugin: %d backends are loaded, want fewer", CHXI_MAX_BACKENDS);
      else if (b->error) chx_scope_fail(s, CHX_EDEVICE, "load_plugin: %s", b->error);
    }
  }
  pthread_mutex_unlock(&chxi_load_lock);
  free(why);
  return s->error;
}

chx_status chx_add_plugin(chx_scope *s, const struct chx_plugin *p)
{
  const char *bad = NULL;
  if (!chxi_ok(s)) return chx_scope_error(s);
  if (!p) return chx_scope_fail(s, CHX_EARG, "add_plugin: the plugin is NULL, want a descriptor");
  if (!well_formed(p, &bad)) return chx_scope_fail(s, CHX_EDEVICE, "add_plugin: rejected: %s", bad);
  chxi_backend *b = calloc(1, sizeof *b);
  if (!b || !(b->path = strdup("(in the program)")))
    return free(b), chx_scope_fail(s, CHX_ENOMEM, "add_plugin: out of memory");
  snprintf(b->name, sizeof b->name, "%s", p->name);
  b->plugin = p;
  pthread_mutex_lock(&chxi_load_lock);
  chxi_backend *old = known(b->name);
  if (old && old->plugin) {
    if (old->plugin != p)
      chx_scope_fail(s, CHX_EDEVICE, "add_plugin: backend '%s' was already loaded from %s, want another name", b->name,
                     old->path);
    else if (old->error && !old->n_devices) chx_scope_fail(s, CHX_EDEVICE, "add_plugin: %s", old->error);
    free(b->path);
    free(b);
  } else {
    if (old) old->name[0] = 0; /* it had not been found, or not opened */
    if (!enter(b, NULL))
      chx_scope_fail(s, CHX_ENOMEM, "add_plugin: %d backends are loaded, want fewer", CHXI_MAX_BACKENDS);
    else if (b->error) chx_scope_fail(s, CHX_EDEVICE, "add_plugin: %s", b->error);
  }
  pthread_mutex_unlock(&chxi_load_lock);
  return s->error;
}

static bool scan_place(void *ctx, const char *place)
{
  size_t n = strlen(place);
  const char *base = strrchr(place, '/');
  char name[NAME_MAX + 1];
  (void)ctx;
  base = base ? base + 1 : place;
  if (n > 3 && !strcmp(place + n - 3, ".so")) {
    if (sscanf(base, "chx_%255[^.].so", name) == 1) chxi_backend_get(name);
    return false;
  }
  DIR *d = opendir(place);
  for (struct dirent *e; d && (e = readdir(d));) {
    size_t m = strlen(e->d_name);
    if (m > 7 && !strncmp(e->d_name, "chx_", 4) && !strcmp(e->d_name + m - 3, ".so")) {
      snprintf(name, sizeof name, "%.*s", (int)(m - 7), e->d_name + 4);
      chxi_backend_get(name);
    }
  }
  if (d) closedir(d);
  return false;
}

int chx_backend_scan(void)
{
  pthread_mutex_lock(&chxi_load_lock);
  chxi_backend_get("native");
  search_path(scan_place, NULL);
  pthread_mutex_unlock(&chxi_load_lock);
  return chx_backend_count();
}

/* A backend that was only asked for and not found, or replaced, is no entry. */
static chxi_backend *entry_at(int i)
{
  for (int k = 0; k < chxi_n_backends; k++)
    if (chxi_backends[k]->path && chxi_backends[k]->name[0] && i-- == 0) return chxi_backends[k];
  return NULL;
}

int chx_backend_count(void)
{
  int n = 0;
  pthread_mutex_lock(&chxi_load_lock);
  while (entry_at(n)) n++;
  pthread_mutex_unlock(&chxi_load_lock);
  return n;
}

chx_status chx_backend_at(int i, chx_backend_state *out)
{
  if (!out || i < 0) return CHX_EARG;
  memset(out, 0, sizeof *out);
  pthread_mutex_lock(&chxi_load_lock);
  chxi_backend *b = entry_at(i);
  if (b) {
    out->name = b->name;
    out->path = b->path ? b->path : "";
    out->version = b->plugin && CHX_HAS(b->plugin, chx_plugin, version) ? b->plugin->version : "";
    out->vendor = b->plugin && CHX_HAS(b->plugin, chx_plugin, vendor) ? b->plugin->vendor : "";
    out->error = b->error ? b->error : "";
    out->n_devices = b->n_devices;
  }
  pthread_mutex_unlock(&chxi_load_lock);
  return b ? CHX_OK : CHX_EARG;
}

chx_status chx_device_at(int i, int j, chx_device_state *out)
{
  if (!out || i < 0 || j < 0) return CHX_EARG;
  memset(out, 0, sizeof *out);
  pthread_mutex_lock(&chxi_load_lock);
  chxi_backend *b = entry_at(i);
  chxi_device *d = b && j < b->n_devices ? chxi_devices[b->first_device + j] : NULL;
  if (d) {
    chx_device_info info = {.size = sizeof info};
    if (d->ops->info(d->dev, &info)) info = d->info; /* free memory changes */
    snprintf(out->specifier, sizeof out->specifier, "%s", d->spec);
    out->name = info.name ? info.name : "";
    out->vendor = info.vendor ? info.vendor : "";
    out->bus_id = info.bus_id ? info.bus_id : "";
    out->mem_total = info.mem_total;
    out->mem_free = info.mem_free;
    out->dtypes = info.dtypes;
    out->is_host = d->host;
  }
  pthread_mutex_unlock(&chxi_load_lock);
  return d ? CHX_OK : CHX_EARG;
}
