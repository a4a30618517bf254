/* SPDX-License-Identifier: MIT
 * load.c: group C1: loading, the descriptor, open and close.
 *
 * Each case but the first few opens and closes the plugin itself, so none uses the device that others share.
 */
#include "raw.h"
#include <dirent.h>
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* ---- what a process has ------------------------------------------------------------------------------------------ */

typedef struct state {
  int threads, fds, variables;
  uint64_t environment; /* a hash of it */
  int files;            /* files that are mapped */
  char last[256];       /* of these, by the map's order */
} state;

static int count_entries(const char *dir)
{
  int n = 0;
  DIR *d = opendir(dir);
  while (d && readdir(d)) n++;
  if (d) closedir(d);
  return n;
}

/* Mappings of files alone: anonymous ones come and go with malloc. */
static void count_files(state *s)
{
  char line[4400], path[256], before[256] = "";
  FILE *f = fopen("/proc/self/maps", "re");
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "%*s %*s %*s %*s %*s %255[^\n]", path) == 1 && path[0] == '/' && strcmp(path, before)) {
      memcpy(before, path, sizeof before);
      s->files++;
      memcpy(s->last, path, sizeof path);
    }
  if (f) fclose(f);
}

static state look(void)
{
  state s = {.threads = raw_threads_here(INT_MAX), .fds = count_entries("/proc/self/fd")};
  for (char **e = environ; *e; e++, s.variables++)
    for (const char *p = *e; *p; p++) s.environment = s.environment * 1099511628211u + (unsigned char)*p;
  count_files(&s);
  return s;
}

static void compare(conform *c, const char *what, const state *a, const state *b)
{
  conform_check(c, a->threads == b->threads, "%s: there were %d threads, then %d", what, a->threads,
                b->threads);
  conform_check(c, a->fds == b->fds, "%s: there were %d open files, then %d", what, a->fds - 3, b->fds - 3);
  conform_check(c, a->variables == b->variables && a->environment == b->environment, "%s: it changed the environment",
                what);
}

/* ---- the descriptor ---------------------------------------------------------------------------------------------- */

static void pure(conform *c, void *arg)
{
  (void)arg;
  state before = look();
  void *lib = dlopen(c->file, RTLD_NOW | RTLD_LOCAL);
  if (!conform_check(c, lib != NULL, "it cannot be loaded: %s", lib ? "" : dlerror())) return;
  state loaded = look();
  compare(c, "loading it", &before, &loaded);
  chx_entry_fn entry = (chx_entry_fn)dlsym(lib, CHX_ENTRY);
  if (!conform_check(c, entry != NULL, "it does not export " CHX_ENTRY)) return;
  loaded = look();
  const chx_plugin *p = entry();
  state after = look();
  conform_check(c, p != NULL, CHX_ENTRY " returned NULL");
  compare(c, CHX_ENTRY, &loaded, &after);
  conform_check(c, after.files == loaded.files, CHX_ENTRY ": %d files were mapped, then %d (such as %s)", loaded.files,
                after.files, after.last);
  if (p && CHX_HAS(p, chx_plugin, score)) {
    int32_t score = p->score();
    conform_check(c, score == p->score(), "score gives %d, then another number", (int)score);
    after = look();
    compare(c, "score", &loaded, &after);
  }
}

static void same_pointer(conform *c, void *arg)
{
  raw r;
  (void)arg;
  const chx_plugin *p = raw_load(c, &r);
  if (!p) return;
  chx_plugin copy = {0};
  memcpy(&copy, p, p->size < sizeof copy ? p->size : sizeof copy);
  chx_entry_fn entry = (chx_entry_fn)dlsym(r.lib, CHX_ENTRY);
  conform_check(c, entry() == p, "a second call returns another descriptor");
  conform_check(c, !memcmp(&copy, p, p->size < sizeof copy ? p->size : sizeof copy),
                "a second call changed the descriptor");
}

static void descriptor(conform *c, void *arg)
{
  raw r;
  (void)arg;
  const chx_plugin *p = raw_load(c, &r);
  if (!p) return;
  conform_check(c, p->size >= offsetof(chx_plugin, device_ops) + sizeof p->device_ops &&
                p->size % sizeof(void *) == 0 &&
                p->size <= 4096, "its size is %u, want the struct's, such as %zu", p->size, sizeof *p);
#define NEED(f) conform_check(c, CHX_HAS(p, chx_plugin, f), "the descriptor lacks '" #f "'");
  NEED(name) NEED(open) NEED(device_count) NEED(device_open) NEED(device_ops)
#undef NEED
  if (!CHX_HAS(p, chx_plugin, name)) return;
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
  size_t n = strlen(p->name);
  conform_check(c, n > 0 && n < 32 && strspn(p->name, letters) == n,
                "its name is '%s', want at most 31 letters, digits and '_'", p->name);
  const char *base = strrchr(c->file, '/');
  base = base ? base + 1 : c->file;
  conform_check(c, !strncmp(base, "chx_", 4) && !strncmp(base + 4, p->name, n) && !strcmp(base + 4 + n, ".so"),
                "its file is %s, want chx_%s.so, where the core looks for it", base, p->name);
}

/* ---- open and close ---------------------------------------------------------------------------------------------- */

/* open, and what open promises if it fails or finds nothing: a sentence. True: the plugin is open and has
 * the device. */
static bool open_it(conform *c, raw *r)
{
  uint32_t n = 0;
  raw_said();
  chx_status st = r->p->open(&raw_host, &r->state);
  const char *why = raw_said();
  if (st) {
    conform_check(c, st > 0, "open: its code is %d, want a positive one", (int)st);
    if (conform_check(c, why[0], "open: %s, and no sentence by host->fail", raw_code(st)))
      conform_skip(c, "no device: %s", why);
    return false;
  }
  if (conform_check(c, (r->o = r->p->device_ops(r->state)) != NULL, "device_ops returned NULL")) {
    st = r->p->device_count(r->state, &n);
    why = raw_said();
    if (!st && n > c->index) return true;
    if (conform_check(c, why[0], "device_count: %s, %u devices, and no sentence by host->fail", raw_code(st), n))
      conform_skip(c, "no device: %s", why);
  }
  if (CHX_HAS(r->p, chx_plugin, close)) r->p->close(r->state);
  return false;
}

static void complete(conform *c, void *arg)
{
  raw r;
  (void)arg;
  if (!raw_load(c, &r) || !open_it(c, &r)) return;
  const chx_device_ops *o = r.o;
  conform_check(c, o->size >= offsetof(chx_device_ops, copy) + sizeof o->copy && o->size % sizeof(void *) == 0 &&
                o->size <= 4096, "the size of its device operations is %u, want the struct's, such as %zu", o->size,
                sizeof *o);
#define NEED(f) conform_check(c, CHX_HAS(o, chx_device_ops, f), "its device operations lack '" #f "'");
  NEED(info) NEED(kernel) NEED(alloc) NEED(release) NEED(copy)
  if (CHX_HAS(o, chx_device_ops, queue_new)) {
    NEED(queue_free) NEED(queue_mark) NEED(queue_sync)
  }
  if (CHX_HAS(o, chx_device_ops, map)) NEED(unmap)
#undef NEED
  conform_check(c, r.p->device_ops(r.state) == o, "device_ops returns another table at its second call");
  if (CHX_HAS(r.p, chx_plugin, close)) r.p->close(r.state);
}

static void again(conform *c, void *arg)
{
  enum { TIMES = 20 };
  raw r;
  state first = {0};
  (void)arg;
  if (!raw_load(c, &r)) return;
  if (!CHX_HAS(r.p, chx_plugin, close)) {
    conform_skip(c, "it has no close");
    return;
  }
  for (int i = 0; i < TIMES; i++) {
    chx_buffer b = {.size = sizeof b};
    if (!open_it(c, &r)) {
      char why[sizeof c->said];
      memcpy(why, c->said, sizeof why);
      conform_check(c, !i, "open, time %d, finds no device where the first found one: %s", i + 1, why);
      return;
    }
    chx_status st = r.p->device_open(r.state, c->index, &r.dev);
    if (!conform_check(c, st == CHX_OK, "device_open, time %d: %s: %s", i + 1, raw_code(st), raw_said())) return;
    chx_queue *q;
    if (!raw_queue(c, &r, &q) || !raw_alloc(c, &r, q, 64, &b)) return;
    raw_release(&r, q, &b);
    raw_sync(c, &r, q);
    raw_queue_free(&r, q);
    raw_close(&r);
    state now = look(); /* the first times may keep what a driver never gives back */
    if (i == 2) first = now;
    if (i > 2) {
      now.threads = raw_threads_here(first.threads);
      conform_check(c, now.threads <= first.threads, "after close, time %d: %d threads, there were %d", i + 1,
                    now.threads, first.threads);
      conform_check(c, now.fds <= first.fds, "after close, time %d: %d open files, there were %d", i + 1, now.fds - 3,
                    first.fds - 3);
    }
  }
}

/* An index that is not there: an error with a sentence, and what was open stays usable. */
static void wrong_index(conform *c, void *arg)
{
  static const uint32_t far[] = {0, 7, 1000000, UINT32_MAX}; /* the first is the count */
  raw r;
  uint32_t n = 0;
  (void)arg;
  if (!raw_load(c, &r) || !open_it(c, &r)) return;
  r.p->device_count(r.state, &n);
  for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
    uint32_t index = far[i] > n ? far[i] : n;
    chx_dev *dev = NULL;
    raw_said();
    chx_status st = r.p->device_open(r.state, index, &dev);
    const char *why = raw_said();
    conform_check(c, st > 0 && st != CHX_DECLINED && st != CHX_NOT_READY,
                  "device_open of device %u of %u: %s, want an error",
                  index, n, raw_code(st));
    conform_check(c, why[0], "device_open of device %u of %u: %s, and no sentence by host->fail", index, n,
                  raw_code(st));
  }
  chx_status st = r.p->device_open(r.state, c->index, &r.dev);
  if (conform_check(c, st == CHX_OK, "device_open of device %u after these: %s: %s", c->index, raw_code(st),
                    raw_said()))
    raw_close(&r);
}

/* ---- threads and processes --------------------------------------------------------------------------------------- */

static void *load_in_thread(void *ctx, int i)
{
  (void)i;
  void *lib = dlopen(ctx, RTLD_NOW | RTLD_LOCAL);
  chx_entry_fn entry = lib ? (chx_entry_fn)dlsym(lib, CHX_ENTRY) : NULL;
  return entry ? (void *)(uintptr_t)entry() : NULL;
}

static void threads(conform *c, void *arg)
{
  enum { N = 8 };
  void *p[N];
  char file[4096];
  (void)arg;
  snprintf(file, sizeof file, "%s", c->file);
  if (!conform_check(c, raw_threads(N, load_in_thread, file, p), "no thread could be made")) return;
  for (int i = 0; i < N; i++)
    conform_check(c, p[i] && p[i] == p[0], "thread %d got the descriptor %p, thread 0 %p", i, p[i], p[0]);
}

/* It is loaded here and opened in a child, as a server that forks workers does. */
static void fork_first(conform *c, void *arg)
{
  raw r;
  int status = 1;
  (void)arg;
  if (!raw_load(c, &r)) return;
  pid_t pid = fork();
  if (pid == 0) {
    chx_buffer b;
    chx_queue *q;
    char bytes[5] = "chx!", back[5] = "";
    bool ok = open_it(c, &r);
    if (ok) ok = !r.p->device_open(r.state, c->index, &r.dev) && raw_queue(c, &r, &q) && raw_alloc(c, &r, q, 5, &b) &&
                 raw_up(c, &r, q, &b, 0, bytes, 5) && raw_down(c, &r, q, &b, 0, back, 5) && !memcmp(bytes, back, 5);
    if (!ok && !c->skipped) fprintf(stderr, "in a child of fork: %s\n", c->said);
    _exit(c->skipped ? 2 : ok ? 0 : 1);
  }
  if (!conform_check(c, pid > 0 && waitpid(pid, &status, 0) == pid, "fork or waitpid failed")) return;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 2) conform_skip(c, "no device");
  else
    conform_check(c, WIFEXITED(status) && WEXITSTATUS(status) == 0, "in a child of fork, %s %d",
                  WIFSIGNALED(status) ? "it was killed by signal" : "the device does not open and copy: exit code",
                  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

void conform_load_cases(conform *c, conform_list *l)
{
  (void)c;
  conform_add(l, "C1", "loading and the entry change nothing else", pure, NULL);
  conform_add(l, "C1", "the entry returns the same descriptor twice", same_pointer, NULL);
  conform_add(l, "C1", "the descriptor is complete", descriptor, NULL);
  conform_add(l, "C1", "fork before open", fork_first, NULL);
  conform_add(l, "C1", "load from 8 threads", threads, NULL);
  conform_add(l, "C1", "the device operations are complete", complete, NULL);
  conform_add(l, "C1", "a device that is not there", wrong_index, NULL);
  conform_add(l, "C1", "open and close 20 times", again, NULL);
  conform_beside_cases(c, l);
}
