/* SPDX-License-Identifier: MIT
 * scope.c: scopes: one thread's working context with its results, its modes and its first error.
 *
 * Scope structs are never given back to the system, so that a call on an ended scope finds a struct that says so.
 */
#include "runtime.h"
#include <stdio.h>
#include <stdlib.h>

#define ENDED 0x44454144u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
CHXI_FORK_GUARD(CHXI_FORK_PLAIN, &lock, 1)
static chx_scope *spare;
static chx_scope broken = {.magic = CHXI_SCOPE_LIVE, .error = CHX_ENOMEM, .message = "out of memory for a scope"};

static int default_policy(void)
{
  const char *p = chxi_getenv("CHX_FALLBACK");
  if (!p || !strcmp(p, "allow")) return CHX_FALLBACK_ALLOW;
  if (!strcmp(p, "warn")) return CHX_FALLBACK_WARN;
  return !strcmp(p, "deny") ? CHX_FALLBACK_DENY : -1;
}

chx_scope *chx_scope_begin_with(const char *device, unsigned flags)
{
  pthread_mutex_lock(&lock);
  chx_scope *s = spare;
  if (s) spare = s->link;
  pthread_mutex_unlock(&lock);
  if (!s) {
    if (!(s = calloc(1, sizeof *s))) return &broken;
  }
  s->magic = CHXI_SCOPE_LIVE;
  s->flags = flags;
  s->error = CHX_OK;
  s->message[0] = 0;
  s->active = ~(uint64_t)0;
  s->grad_mode = CHX_GRAD_ON;
  s->depth = 0;
  s->n = 0;
  s->promote = chx_promote;
  s->own_random = false;
  s->long_work = NULL;
  s->dev = NULL;
  s->link = NULL;
  s->th = chxi_thread_self();
  if (!s->th) chx_scope_fail(s, CHX_ENOMEM, "scope_begin: out of memory for a thread's context");
  s->policy = default_policy();
  if (s->policy < 0) {
    s->policy = CHX_FALLBACK_ALLOW;
    chx_scope_fail(s, CHX_EARG, "CHX_FALLBACK is '%s', want allow, warn or deny", chxi_getenv("CHX_FALLBACK"));
  }
  chxi_routes_ready(s);
  if (!device) device = chxi_getenv("CHX_DEVICE");
  s->dev = s->error ? NULL : chxi_device_find(s, device ? device : "native:0");
  return s;
}

chx_scope *chx_scope_begin(const char *device) { return chx_scope_begin_with(device, 0); }

void chx_scope_end(chx_scope *s)
{
  if (!s || s->magic != CHXI_SCOPE_LIVE || s == &broken) return;
  chx_scope_rewind(s, 0, NULL);
  chxi_free(s->items, s->cap * sizeof *s->items);
  s->items = NULL;
  s->cap = 0;
  s->magic = ENDED;
  snprintf(s->message, sizeof s->message, "the scope has ended, want a live one");
  s->error = CHX_EARG;
  pthread_mutex_lock(&lock);
  chx_scope **last = &spare; /* at the end, so that an ended scope is reused as late as possible */
  while (*last) last = &(*last)->link;
  s->link = NULL;
  *last = s;
  pthread_mutex_unlock(&lock);
}

chx_status chx_scope_error(const chx_scope *s) { return s ? s->error : CHX_EARG; }

const char *chx_scope_message(const chx_scope *s) { return s ? s->message : "the scope is NULL, want a scope"; }

void chx_scope_clear(chx_scope *s)
{
  if (!s || s->magic != CHXI_SCOPE_LIVE || s == &broken) return;
  s->error = CHX_OK;
  s->message[0] = 0;
  if (!s->dev) chx_scope_fail(s, CHX_EDEVICE, "the scope has no device: it could not begin, want chx_scope_set_device");
}

chx_status chx_scope_fail(chx_scope *s, chx_status code, const char *format, ...)
{
  if (!s) return CHX_EARG;
  if (s->error) return s->error;
  va_list args;
  va_start(args, format);
  vsnprintf(s->message, sizeof s->message, format, args);
  va_end(args);
  s->error = code > CHX_OK ? code : CHX_EFAILED;
  return s->error;
}

size_t chx_scope_mark(const chx_scope *s) { return s && s->magic == CHXI_SCOPE_LIVE ? s->n : 0; }

void chx_scope_rewind_all(chx_scope *s, size_t mark, chx_array *const *keep, int n_keep)
{
  if (!s || s->magic != CHXI_SCOPE_LIVE || mark >= s->n) return;
  size_t to = mark;
  if (n_keep == 0) {
    while (s->n > mark) chx_release(s->items[--s->n]);
    return;
  }
  for (size_t i = mark; i < s->n; i++) {
    chx_array *a = s->items[i];
    bool kept = false;
    for (int k = 0; k < n_keep && !kept; k++) kept = keep[k] == a;
    if (kept) /* once, though it may have been returned twice */
      for (size_t j = mark; j < to && kept; j++) kept = s->items[j] != a;
    if (kept)
      s->items[to++] = a;
    else
      chx_release(a);
  }
  s->n = to;
}

chx_array *chx_scope_rewind(chx_scope *s, size_t mark, chx_array *keep)
{
  chx_scope_rewind_all(s, mark, &keep, keep != NULL);
  return keep;
}

unsigned chx_scope_enter(chx_scope *s)
{
  if (!s || s->magic != CHXI_SCOPE_LIVE || s == &broken) return 0;
  const unsigned before = (unsigned)s->depth << 1 | (s->flags & CHX_SCOPE_OWNED ? 1 : 0);
  s->depth = 0;
  s->flags |= CHX_SCOPE_OWNED;
  return before;
}

void chx_scope_leave(chx_scope *s, unsigned before)
{
  if (!s || s->magic != CHXI_SCOPE_LIVE || s == &broken) return;
  s->depth = (int)(before >> 1);
  if (!(before & 1)) s->flags &= ~(unsigned)CHX_SCOPE_OWNED;
}

const char *chx_scope_device(const chx_scope *s) { return s && s->dev ? s->dev->spec : ""; }

chx_status chx_scope_set_device(chx_scope *s, const char *device)
{
  if (!s || s->magic != CHXI_SCOPE_LIVE || s == &broken) return CHX_EARG;
  if (s->error && s->dev) return s->error;
  if (!device) return chx_scope_fail(s, CHX_EARG, "scope_set_device: the device is NULL, want a specifier");
  if (!s->dev) s->error = CHX_OK;
  chxi_device *dev = chxi_device_find(s, device);
  if (dev) s->dev = dev;
  return s->error;
}

int chx_scope_set_grad(chx_scope *s, int mode)
{
  if (!s) return CHX_GRAD_OFF;
  int before = s->grad_mode;
  s->grad_mode = mode != CHX_GRAD_OFF;
  return before;
}

int chx_scope_set_fallback(chx_scope *s, int policy)
{
  if (!s) return CHX_FALLBACK_ALLOW;
  int before = s->policy;
  if (policy >= CHX_FALLBACK_ALLOW && policy <= CHX_FALLBACK_DENY)
    s->policy = policy;
  else
    chx_scope_fail(s, CHX_EARG, "scope_set_fallback: policy is %d, want CHX_FALLBACK_ALLOW, WARN or DENY", policy);
  return before;
}
