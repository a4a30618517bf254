/* SPDX-License-Identifier: MIT
 * mem.c: the core's own small objects (array headers, graph nodes, lists) and the threads' contexts that cache them.
 *
 * Each thread keeps freed objects in lists by size, so that a warm operator call takes no lock and no memory from the
 * system. An object may be freed by another thread than the one that made it: it then feeds that thread's list. Lists
 * are bounded; what is over goes back to the system.
 */
#include "runtime.h"
#include <stdlib.h>

enum { GRAIN = 64, FINE = 24, CLASSES = CHXI_OBJECT_CLASSES, KEEP_BYTES = 16 << 20 };

/* Classes: FINE multiples of GRAIN, then powers of two; CLASSES and beyond are left to the system. *size: what is allocated. */
static inline size_t class_of(size_t bytes, size_t *size)
{
  size_t c = (bytes + GRAIN - 1) / GRAIN;
  *size = c * GRAIN;
  if (chxi_likely(c < FINE)) return c;
  int log = 64 - __builtin_clzll(bytes - 1);
  *size = (size_t)1 << log;
  return FINE + (size_t)log - 11; /* FINE * GRAIN is 1536, so the first is 2048 */
}

#if !defined __has_feature
#define __has_feature(x) 0
#endif
#if defined __SANITIZE_ADDRESS__ || __has_feature(address_sanitizer)
enum { CACHING = 0 }; /* let the sanitizer see every release */
#else
enum { CACHING = 1 };
#endif

_Thread_local chxi_thread *chxi_self __attribute__((tls_model("initial-exec")));
static pthread_key_t exit_key;
static pthread_once_t exit_once = PTHREAD_ONCE_INIT;

static _Atomic(chx_memory_hook) hook;
static void *hook_ctx;

void chx_set_memory_hook(chx_memory_hook fn, void *ctx)
{
  atomic_store(&hook, NULL);
  hook_ctx = ctx;
  atomic_store(&hook, fn);
}

bool chxi_hook_refuses(const char *device, uint64_t bytes)
{
  chx_memory_hook fn = atomic_load_explicit(&hook, memory_order_relaxed);
  return chxi_unlikely(fn) && fn(hook_ctx, device, 1, bytes) != 0;
}

void chxi_hook_released(const char *device, uint64_t bytes)
{
  chx_memory_hook fn = atomic_load_explicit(&hook, memory_order_relaxed);
  if (chxi_unlikely(fn)) fn(hook_ctx, device, 0, bytes);
}

struct free_object { struct free_object *next; };

static void thread_end(void *p)
{
  chxi_thread *th = p;
  chxi_self = th; /* what is released below may free small objects */
  chxi_thread_release_devices(th);
  for (int c = 0; c < CLASSES; c++)
    while (th->objects[c]) {
      struct free_object *o = th->objects[c];
      th->objects[c] = o->next;
      free(o);
    }
  free(th->routes);
  chxi_self = NULL;
  free(th);
}

static void make_key(void) { pthread_key_create(&exit_key, thread_end); }

chxi_thread *chxi_thread_make(void)
{
  pthread_once(&exit_once, make_key);
  chxi_thread *th = calloc(1, sizeof *th);
  if (!th) return NULL;
  chxi_self = th;
  pthread_setspecific(exit_key, th);
  return th;
}

void *chxi_alloc(size_t bytes)
{
  if (chxi_unlikely(chxi_hook_refuses(NULL, bytes))) return NULL;
  size_t size, c = class_of(bytes, &size);
  chxi_thread *th = chxi_thread_self();
  if (chxi_unlikely(c >= CLASSES || !th)) return malloc(bytes);
  struct free_object *o = th->objects[c];
  if (chxi_unlikely(!o)) return malloc(size);
  th->objects[c] = o->next;
  th->object_bytes -= (int64_t)size;
  return o;
}

void chxi_free(void *p, size_t bytes)
{
  if (!p) return;
  chxi_hook_released(NULL, bytes);
  size_t size, c = class_of(bytes, &size);
  chxi_thread *th = chxi_self;
  if (CACHING && chxi_likely(th && c < CLASSES && th->object_bytes < KEEP_BYTES)) {
    struct free_object *o = p;
    o->next = th->objects[c];
    th->objects[c] = o;
    th->object_bytes += (int64_t)size;
    return;
  }
  free(p);
}

void *chxi_grow(void *p, size_t old_bytes, size_t new_bytes)
{
  void *q = chxi_alloc(new_bytes);
  if (!q) return NULL;
  if (old_bytes) memcpy(q, p, old_bytes);
  chxi_free(p, old_bytes);
  return q;
}
