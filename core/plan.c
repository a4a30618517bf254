/* SPDX-License-Identifier: MIT
 * plan.c: the cache of what kernels prepared: bounded, shared by all threads, keyed by kernel, device, attribute, and every
 * operand's dtype, shape and strides. It holds no reference to an array. A plan in use is never dropped; the one that was
 * used least recently makes room, once its last queue point has passed.
 */
#include "runtime.h"

enum { PLANS = 256, KEY_BYTES = 4096 };

struct chxi_plan {
  struct chxi_plan *next;
  const chx_kernel *k;
  chxi_device *dev;
  void *plan;
  uint64_t workspace_bytes, hash, tick;
  int users;
  chxi_stream *q; /* last used by */
  size_t key_bytes;
  unsigned char key[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
CHXI_FORK_GUARD(CHXI_FORK_PLAIN, &lock, 1)
static struct chxi_plan *plans;
static int n_plans;
static uint64_t ticks;

struct key { unsigned char *at; size_t n; };

static void put(struct key *k, const void *p, size_t n)
{
  if (k->n + n <= KEY_BYTES) memcpy(k->at + k->n, p, n);
  k->n += n;
}

static void put_tensor(struct key *k, const chx_tensor *t)
{
  uint64_t head[2] = {t->flags, (uint64_t)t->ndim};
  put(k, head, sizeof head);
  if (t->flags & CHX_T_ABSENT) return;
  put(k, t->shape, (size_t)t->ndim * sizeof *t->shape);
  put(k, t->strides, (size_t)t->ndim * sizeof *t->strides);
}

static void make_key(const chxi_call *c, const chx_kernel *kernel, const chx_call *call, struct key *k)
{
  put(k, &kernel, sizeof kernel);
  put(k, &c->dev, sizeof c->dev);
  put(k, &call->queue, sizeof call->queue); /* so that a plan is one queue's: who drops it has one to wait for */
  if (call->attr) put(k, call->attr, *(const uint32_t *)call->attr);
  for (uint32_t i = 0; i < call->n_in; i++) put_tensor(k, &call->in[i]);
  for (uint32_t i = 0; i < call->n_out; i++) put_tensor(k, &call->out[i]);
}

static void drop(struct chxi_plan *p)
{
  if (p->q) chxi_stream_drain(p->q);
  if (CHX_HAS(p->k, chx_kernel, drop)) p->k->drop(p->k->self, p->plan);
  chxi_free(p, sizeof *p + p->key_bytes);
}

/* Takes the idle plan used least recently out of the list. */
static struct chxi_plan *evict(void)
{
  struct chxi_plan **oldest = NULL;
  for (struct chxi_plan **p = &plans; *p; p = &(*p)->next)
    if (!(*p)->users && (!oldest || (*p)->tick < (*oldest)->tick)) oldest = p;
  if (!oldest) return NULL;
  struct chxi_plan *victim = *oldest;
  *oldest = victim->next;
  n_plans--;
  return victim;
}

chx_status chxi_plan_get(chxi_call *c, const chx_kernel *k, chx_call *call, struct chxi_plan **out)
{
  unsigned char room[KEY_BYTES];
  struct key key = {room, 0};
  *out = NULL;
  make_key(c, k, call, &key);
  bool cacheable = key.n <= KEY_BYTES;
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t i = 0; cacheable && i + 8 <= key.n; i += 8) {
    uint64_t w;
    memcpy(&w, room + i, 8);
    h = (h ^ w) * 0x100000001b3u;
    h ^= h >> 29;
  }
  pthread_mutex_lock(&lock);
  struct chxi_plan *p = cacheable ? plans : NULL;
  while (p && (p->hash != h || p->key_bytes != key.n || memcmp(p->key, room, key.n))) p = p->next;
  if (p) {
    p->users++;
    p->tick = ++ticks;
  }
  pthread_mutex_unlock(&lock);
  if (!p) {
    size_t bytes = cacheable ? key.n : 0;
    if (!(p = chxi_alloc(sizeof *p + bytes))) return CHX_ENOMEM;
    memset(p, 0, sizeof *p);
    chx_status st = k->prepare(k->self, call, &p->plan, &p->workspace_bytes);
    if (st) {
      chxi_free(p, sizeof *p + bytes);
      return st;
    }
    p->k = k;
    p->dev = c->dev;
    p->hash = h;
    p->users = 1;
    p->key_bytes = bytes;
    memcpy(p->key, room, bytes);
    struct chxi_plan *old = NULL;
    if (cacheable) { /* another thread may have added its like: harmless, the older one will be evicted */
      pthread_mutex_lock(&lock);
      p->tick = ++ticks;
      if (n_plans >= PLANS) old = evict();
      p->next = plans;
      plans = p;
      n_plans++;
      pthread_mutex_unlock(&lock);
    }
    if (old) drop(old);
  }
  call->plan = p->plan;
  call->workspace_bytes = p->workspace_bytes;
  *out = p;
  return CHX_OK;
}

void chxi_plan_done(struct chxi_plan *p, chxi_stream *q)
{
  if (!p) return;
  if (!p->key_bytes) {
    p->q = q;
    drop(p);
    return;
  }
  pthread_mutex_lock(&lock);
  p->q = q;
  p->users--;
  pthread_mutex_unlock(&lock);
}
