/* SPDX-License-Identifier: MIT
 * metadata.c: a kernel call's metadata as a copy that can be closed.
 *
 * The struct of the call, its tensors, shapes, strides and attribute are copied to pages that are made inaccessible as
 * soon as the judged function has returned. Who kept a pointer and follows it later gets a fault here: the handler
 * notes it and opens the page again, so that the case ends as a failure with a sentence. In a thread that blocks
 * signals, as drivers' threads do, no handler runs: there the case ends as a crash. A thread has a ring of such
 * pages; a page is used again 32 calls later.
 */
#include "watch.h"
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

enum { SLOTS = 32, SLOT_BYTES = 32768, MAX_RINGS = 64 };

struct ring {
  char *base;
  unsigned next;
  const char *op[SLOTS];
};
static struct ring rings[MAX_RINGS];
static atomic_int n_rings;
static _Thread_local struct ring *mine;
static struct sigaction before_us;
static const char *_Atomic kept_by; /* the operator whose metadata was read after its call */

static void on_fault(int number, siginfo_t *info, void *context)
{
  uintptr_t at = (uintptr_t)info->si_addr;
  int n = atomic_load(&n_rings);
  for (int i = 0; i < n && i < MAX_RINGS; i++) {
    uintptr_t offset = at - (uintptr_t)rings[i].base;
    if (!rings[i].base || offset >= (uintptr_t)SLOTS * SLOT_BYTES) continue;
    char *slot = rings[i].base + offset / SLOT_BYTES * SLOT_BYTES;
    const char *none = NULL;
    const char *op = rings[i].op[offset / SLOT_BYTES];
    atomic_compare_exchange_strong(&kept_by, &none, op ? op : "?");
    mprotect(slot, SLOT_BYTES, PROT_READ | PROT_WRITE);
    return;
  }
  (void)number;
  (void)context;
  sigaction(SIGSEGV, &before_us, NULL); /* not ours: it happens again, and is dealt with as it would have been */
}

static bool own_ring(void)
{
  if (mine) return true;
  int i = atomic_fetch_add(&n_rings, 1);
  if (i >= MAX_RINGS) return false;
  if (!i) {
    struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigemptyset(&a.sa_mask);
    sigaction(SIGSEGV, &a, &before_us);
  }
  void *p = mmap(NULL, (size_t)SLOTS * SLOT_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return false;
  rings[i].base = p;
  mine = &rings[i];
  return true;
}

struct room {
  char *at;
  size_t used;
};

static void *put(struct room *r, const void *p, size_t bytes)
{
  void *to = r->at + r->used;
  if (bytes && p) memcpy(to, p, bytes);
  r->used += (bytes + 15) / 16 * 16;
  return to;
}

static void put_dims(struct room *r, chx_tensor *t)
{
  if (t->flags & CHX_T_ABSENT) return;
  size_t bytes = (size_t)t->ndim * sizeof(int64_t);
  t->shape = put(r, t->shape, bytes);
  t->strides = put(r, t->strides, bytes);
}

/* The copy in r; all that the plugin gets as const comes before *n_const. */
static const chx_call *copy_call(struct room *r, const chx_call *call, size_t *n_const)
{
  chx_call *c = put(r, call, sizeof *call);
  chx_tensor *in = put(r, call->in, call->n_in * sizeof *in);
  for (uint32_t i = 0; i < call->n_in; i++) put_dims(r, &in[i]);
  c->in = in;
  if (call->attr) c->attr = put(r, call->attr, *(const uint32_t *)call->attr);
  size_t n_out = call->n_out * sizeof(chx_tensor);
  chx_tensor *out = (chx_tensor *)(r->at + r->used + call->n_out * 2 * CHX_MAX_RANK * sizeof(int64_t));
  memcpy(out, call->out, n_out);
  for (uint32_t o = 0; o < call->n_out; o++) put_dims(r, &out[o]);
  c->out = out;
  *n_const = r->used;
  return c;
}

chx_status watch_with_copy(const chx_kernel *k, const chx_call *call, watch_call_fn fn, void *ctx)
{
  size_t dims = (call->n_in + call->n_out) * (sizeof(chx_tensor) + 2 * CHX_MAX_RANK * sizeof(int64_t));
  size_t attr = call->attr ? *(const uint32_t *)call->attr : 0;
  if (sizeof *call + dims + attr + 256 > SLOT_BYTES || !own_ring()) return fn(k, call, ctx);
  unsigned i = mine->next++ % SLOTS;
  struct room r = {mine->base + (size_t)i * SLOT_BYTES, 0};
  static _Thread_local char was[SLOT_BYTES];
  size_t n_const;
  mprotect(r.at, SLOT_BYTES, PROT_READ | PROT_WRITE);
  mine->op[i] = k->op;
  const chx_call *copy = copy_call(&r, call, &n_const);
  memcpy(was, r.at, n_const);
  chx_status st = fn(k, copy, ctx);
  if (memcmp(was, r.at, n_const)) watch_report("%s: the kernel changed the metadata that it was lent", k->op);
  mprotect(r.at, SLOT_BYTES, PROT_NONE);
  return st;
}

const char *watch_kept(void) { return atomic_exchange(&kept_by, NULL); }
