/* SPDX-License-Identifier: MIT
 * alloc.c: the caching allocator, one for every device, on the backend's raw alloc and release.
 *
 * A backend allocation is a segment, cut into blocks; a block is a chxi_buffer, in use or free. Free blocks stay cut
 * in two levels of lists by size class ("bins"): each thread's own, without a lock, for blocks up to SMALL; and the
 * device's, under its lock, where neighbours are joined again. Small blocks are cut from segments of CHUNK bytes;
 * a larger request has a segment of its own size, whose rest serves others once it is free.
 *
 * Reuse is ordered by queue: a block in a thread's bins was last used by that thread's queue, in order; one from the
 * device's bins names the queues that used it, and the taker is ordered after them.
 *
 * Of a backend with a pool of its own each block is a segment, of the bytes asked for, and goes back when it is free.
 */
#include "runtime.h"

enum {
  ALIGN = 64,
  SMALL = 1 << 20,
  CHUNK = 2 << 20,
  LARGE_ALIGN = 1 << 16,
  BINS_KEEP = 32 << 20,
  FLUSH_USED = 1 << 16
};
enum { IN_USE = 0, IN_BIN = 1 /* a thread's */, IN_SHARED = 2 };

struct chxi_segment {
  struct chxi_segment *next, *prev;
  chx_buffer raw;
  uint64_t bytes;
  chxi_buffer *first;
};

chx_buffer *chxi_segment_raw(const chxi_buffer *b) { return &b->segment->raw; }

/* Bins: multiples of 64 up to 1 KiB, then eight to each doubling. */
static int bin_of(uint64_t bytes)
{
  if (bytes <= 1024) return (int)((bytes + 63) / 64);
  int log = 63 - __builtin_clzll(bytes - 1); /* 2^log < bytes <= 2^(log+1), log >= 10 */
  int eighth = (int)((bytes - 1) >> (log - 3) & 7);
  int bin = 17 + (log - 10) * 8 + eighth;
  return bin < CHXI_BINS ? bin : CHXI_BINS - 1;
}

static uint64_t round_up(uint64_t bytes)
{
  if (bytes <= 1024) return bytes ? (bytes + 63) / 64 * 64 : 64;
  if (bytes > SMALL) return (bytes + LARGE_ALIGN - 1) / LARGE_ALIGN * LARGE_ALIGN;
  uint64_t step = (uint64_t)1 << (63 - __builtin_clzll(bytes - 1) - 3);
  return (bytes + step - 1) / step * step;
}

static void account(chxi_device *dev, chxi_thread *th, int64_t bytes)
{
  chxi_bins *b = th->bins[dev->id];
  if (b && bytes < FLUSH_USED && bytes > -FLUSH_USED) {
    b->used_delta += bytes;
    if (b->used_delta < FLUSH_USED && b->used_delta > -FLUSH_USED) return;
    bytes = b->used_delta;
    b->used_delta = 0;
  }
  long long now = atomic_fetch_add_explicit(&dev->used, bytes, memory_order_relaxed) + bytes;
  long long peak = atomic_load_explicit(&dev->used_peak, memory_order_relaxed);
  while (now > peak && !atomic_compare_exchange_weak(&dev->used_peak, &peak, now)) {}
}

/* ---- the shared level; the device's lock is held ------------------------------------------------------------------ */

static void shared_add(chxi_device *dev, chxi_buffer *b)
{
  int bin = bin_of(b->bytes);
  b->free_state = IN_SHARED;
  b->link = dev->shared[bin];
  dev->shared[bin] = b;
}

static void shared_remove(chxi_device *dev, chxi_buffer *b)
{
  chxi_buffer **p = &dev->shared[bin_of(b->bytes)];
  while (*p != b) p = &(*p)->link;
  *p = b->link;
}

static void segment_free(chxi_device *dev, struct chxi_segment *g, chxi_stream *q)
{
  if (g->prev) g->prev->next = g->next;
  else dev->segments = g->next;
  if (g->next) g->next->prev = g->prev;
  atomic_fetch_sub(&dev->reserved, g->bytes);
  dev->ops->release(dev->dev, chxi_stream_lock(q), &g->raw);
  chxi_stream_unlock(q);
  chxi_free(g->first, sizeof *g->first);
  chxi_free(g, sizeof *g);
}

static bool same_uses(const chxi_buffer *a, const chxi_buffer *b)
{
  return !a->n_uses && !b->n_uses && !a->wrote.q && !b->wrote.q;
}

static void join_next(chxi_device *dev, chxi_buffer *a)
{
  chxi_buffer *b = a->next;
  if (!b || b->free_state != IN_SHARED || !same_uses(a, b)) return;
  shared_remove(dev, b);
  a->bytes += b->bytes;
  a->next = b->next;
  if (b->next) b->next->prev = a;
  chxi_free(b, sizeof *b);
}

static void give_shared(chxi_device *dev, chxi_buffer *b)
{
  join_next(dev, b);
  chxi_buffer *p = b->prev;
  if (p && p->free_state == IN_SHARED && same_uses(p, b)) {
    shared_remove(dev, p);
    shared_add(dev, b); /* so that join_next finds it */
    join_next(dev, p);
    b = p;
  }
  shared_add(dev, b);
}

/* Cuts `bytes` off the front of free block b, if the rest is worth keeping. */
static void split(chxi_device *dev, chxi_buffer *b, uint64_t bytes)
{
  uint64_t least = b->segment->bytes <= CHUNK ? ALIGN : LARGE_ALIGN;
  if (dev->whole || b->bytes < bytes + least) return;
  chxi_buffer *r = chxi_alloc(sizeof *r);
  if (!r) return; /* the block is then larger than asked, which is fine */
  memset(r, 0, sizeof *r);
  r->dev = dev;
  r->handle = b->handle;
  r->host = b->host ? b->host + bytes : NULL;
  r->offset = b->offset + bytes;
  r->bytes = b->bytes - bytes;
  r->segment = b->segment;
  r->prev = b;
  r->next = b->next;
  if (r->next) r->next->prev = r;
  r->n_uses = b->n_uses;
  r->wrote = b->wrote;
  memcpy(r->uses, b->uses, sizeof r->uses);
  b->next = r;
  b->bytes = bytes;
  shared_add(dev, r);
}

static chxi_buffer *take_shared(chxi_device *dev, uint64_t bytes)
{
  for (int bin = bin_of(bytes); bin < CHXI_BINS; bin++) {
    chxi_buffer *best = NULL;
    for (chxi_buffer *b = dev->shared[bin]; b; b = b->link)
      if (b->bytes >= bytes && (!best || b->bytes < best->bytes)) {
        best = b;
        if (b->bytes == bytes) break;
      }
    /* A small request must not break up a large segment, nor a whole one be wasted on much less. */
    if (best && (bytes > SMALL || best->segment->bytes <= CHUNK || dev->whole) &&
        (!dev->whole || best->bytes <= 2 * bytes)) {
      shared_remove(dev, best);
      best->free_state = IN_USE;
      split(dev, best, bytes);
      return best;
    }
  }
  return NULL;
}

static void trim_locked(chxi_device *dev)
{
  for (int bin = 0; dev->queued && bin < CHXI_BINS;
       bin++) /* once their queues are done, free neighbours can be joined */
    for (chxi_buffer *b = dev->shared[bin]; b; b = b->link) chxi_buffer_forget_uses(b, NULL);
  for (struct chxi_segment *g = dev->segments; dev->queued && g; g = g->next)
    for (chxi_buffer *b = g->first; b; b = b->next)
      while (b->free_state == IN_SHARED && b->next && b->next->free_state == IN_SHARED) {
        shared_remove(dev, b);
        join_next(dev, b);
        shared_add(dev, b);
      }
  for (struct chxi_segment *g = dev->segments, *next; g; g = next) {
    next = g->next;
    chxi_buffer *b = g->first;
    if (b->free_state != IN_SHARED || b->bytes != g->bytes) continue;
    shared_remove(dev, b);
    segment_free(dev, g, NULL);
  }
}

/* A new segment as one block in use, or NULL. */
static chxi_buffer *from_backend(chxi_device *dev, uint64_t bytes, chxi_stream *q, chx_status *why)
{
  uint64_t want = bytes <= SMALL && !dev->whole ? CHUNK : bytes;
  uint64_t limit = atomic_load(&dev->limit);
  struct chxi_segment *g = NULL;
  chxi_buffer *b = NULL;
  *why = CHX_ENOMEM;
  if (limit && atomic_load(&dev->reserved) + want > limit) want = bytes; /* a chunk may not fit where the block does */
  if (limit && atomic_load(&dev->reserved) + want > limit) return NULL;
  if (!(g = chxi_alloc(sizeof *g)) || !(b = chxi_alloc(sizeof *b))) goto failed;
  memset(g, 0, sizeof *g);
  memset(b, 0, sizeof *b);
  g->raw.size = sizeof g->raw;
  *why = dev->ops->alloc(dev->dev, chxi_stream_lock(q), want, CHX_B_DEVICE, &g->raw);
  chxi_stream_unlock(q);
  if (*why) goto failed;
  g->bytes = want;
  g->first = b;
  b->dev = dev;
  b->segment = g;
  b->handle = g->raw.handle;
  b->host = dev->host ? g->raw.handle : NULL;
  b->bytes = want;
  atomic_fetch_add(&dev->reserved, want);
  atomic_fetch_add(&dev->backend_allocations, 1);
  pthread_mutex_lock(&dev->lock);
  g->next = dev->segments;
  if (g->next) g->next->prev = g;
  dev->segments = g;
  split(dev, b, bytes);
  pthread_mutex_unlock(&dev->lock);
  return b;
failed:
  chxi_free(g, sizeof *g);
  chxi_free(b, sizeof *b);
  return NULL;
}

static void bins_flush(chxi_device *dev, chxi_thread *th);

/* ---- what the core calls ---------------------------------------------------------------------------------------- */

static chxi_buffer *slow_new(chx_scope *s, chxi_device *dev, uint64_t bytes)
{
  chxi_thread *th = chxi_thread_self();
  chxi_stream *q = NULL;
  if (!th) return chx_scope_fail(s, CHX_ENOMEM, "out of memory for a thread's context"), NULL;
  if (!th->bins[dev->id] && !chxi_recording(dev) && (th->bins[dev->id] = chxi_alloc(sizeof(chxi_bins))))
    memset(th->bins[dev->id], 0, sizeof(chxi_bins));
  if (dev->queued && !chxi_stream_of(s, dev, &q)) return NULL;
  pthread_mutex_lock(&dev->lock);
  chxi_buffer *b = take_shared(dev, bytes);
  pthread_mutex_unlock(&dev->lock);
  chx_status why = CHX_OK;
  if (b && dev->queued) chxi_buffer_forget_uses(b, q);
  if (!b) b = from_backend(dev, bytes, q, &why);
  if (!b && why == CHX_ENOMEM) { /* release what is cached, and try once more */
    bins_flush(dev, th);
    if (dev->exact && q) chxi_stream_drain(q); /* releases are queued on it */
    pthread_mutex_lock(&dev->lock);
    trim_locked(dev);
    b = take_shared(dev, bytes);
    pthread_mutex_unlock(&dev->lock);
    if (b && dev->queued) chxi_buffer_forget_uses(b, q);
    if (!b) b = from_backend(dev, bytes, q, &why);
  }
  if (!b) {
    int64_t counted = atomic_load(&dev->used) + (th->bins[dev->id] ? th->bins[dev->id]->used_delta : 0);
    uint64_t limit = atomic_load(&dev->limit), used = counted > 0 ? (uint64_t)counted : 0,
             reserved = atomic_load(&dev->reserved);
    char cap[64] = "";
    if (limit) __builtin_snprintf(cap, sizeof cap, ", limit %llu", (unsigned long long)limit);
    if (why == CHX_ENOMEM)
      chx_scope_fail(s, CHX_ENOMEM, "%s: out of memory: asked for %llu bytes, %llu in use, %llu cached%s", dev->spec,
                     (unsigned long long)bytes, (unsigned long long)used,
                     (unsigned long long)(reserved > used ? reserved - used : 0), cap);
    else
      chxi_plugin_failed(s, why, "%s: cannot allocate %llu bytes", dev->spec, (unsigned long long)bytes);
  }
  return b;
}

chxi_buffer *chxi_buffer_new(chx_scope *s, chxi_device *dev, uint64_t asked)
{
  if (chxi_unlikely(asked > INT64_MAX / 2))
    return chx_scope_fail(s, CHX_ENOMEM, "%s: out of memory: asked for %llu bytes", dev->spec, (unsigned long long)asked), NULL;
  uint64_t bytes = chxi_unlikely(dev->exact) ? asked + !asked : round_up(asked);
  if (chxi_unlikely(chxi_hook_refuses(dev->spec, asked))) {
    chx_scope_fail(s, CHX_ENOMEM, "%s: out of memory: asked for %llu bytes, refused by the memory hook", dev->spec,
                   (unsigned long long)asked);
    return NULL;
  }
  chxi_thread *th = chxi_self;
  chxi_bins *bins = chxi_likely(th != NULL) ? th->bins[dev->id] : NULL;
  chxi_buffer *b = NULL;
  if (chxi_likely(bins && bytes <= SMALL)) {
    int bin = bin_of(bytes);
    b = bins->head[bin];
    if (chxi_likely(b != NULL)) {
      bins->head[bin] = b->link;
      bins->bytes -= (int64_t)b->bytes;
    }
  }
  if (chxi_unlikely(!bins) && (b = chxi_capture_reuse(dev, asked, bytes))) return b;
  if (chxi_unlikely(!b) && !(b = slow_new(s, dev, bytes))) return NULL;
  atomic_init(&b->refs, 1);
  atomic_store_explicit(&b->version, 0, memory_order_relaxed);
  atomic_init(&b->valid, CHXI_ON_DEVICE);
  b->free_state = IN_USE;
  b->asked = asked;
  b->shadow = NULL;
  b->mapped = false;
  b->opening = NULL;
  b->lent = b->pinned = 0;
  atomic_store_explicit(&b->shared, 0, memory_order_relaxed);
  b->deleter = NULL;
  account(dev, chxi_self, (int64_t)b->bytes);
  if (chxi_likely(chxi_self->bins[dev->id] != NULL)) chxi_self->bins[dev->id]->allocations++;
  return chxi_likely(bins != NULL) || chxi_capture_made(s, b) ? b : NULL;
}

static void block_free(chxi_buffer *b)
{
  chxi_device *dev = b->dev;
  chxi_thread *th = chxi_thread_self();
  chxi_bins *bins = th ? th->bins[dev->id] : NULL;
  account(dev, th ? th : &(chxi_thread){0}, -(int64_t)b->bytes);
  bool mine = true; /* used by no other queue than this thread's */
  if (dev->queued) {
    chxi_stream *q = th ? th->streams[dev->id] : NULL;
    mine = !b->wrote.q || b->wrote.q == q;
    for (int i = 0; i < b->n_uses; i++) mine &= b->uses[i].q == q;
    if (mine) b->n_uses = 0, b->wrote.q = NULL;
  }
  if (chxi_unlikely(dev->exact)) {
    chxi_stream *q = dev->queued && th ? th->streams[dev->id] : NULL;
    if (dev->queued) chxi_buffer_forget_uses(b, q);
    pthread_mutex_lock(&dev->lock);
    segment_free(dev, b->segment, q);
    pthread_mutex_unlock(&dev->lock);
    return;
  }
  if (chxi_likely(mine && bins && b->bytes <= SMALL && bins->bytes < BINS_KEEP && !dev->whole)) {
    int bin = bin_of(b->bytes);
    b->free_state = IN_BIN;
    b->link = bins->head[bin];
    bins->head[bin] = b;
    bins->bytes += (int64_t)b->bytes;
    return;
  }
  if (dev->queued && mine && th) { /* the next taker may be another queue */
    chxi_stream *q = th->streams[dev->id];
    b->wrote = (struct chxi_use){q, q ? chxi_stream_mark(q) : 0};
  }
  pthread_mutex_lock(&dev->lock);
  give_shared(dev, b);
  pthread_mutex_unlock(&dev->lock);
}

static void bins_flush(chxi_device *dev, chxi_thread *th)
{
  chxi_bins *bins = th->bins[dev->id];
  if (!bins) return;
  chxi_stream *q = dev->queued ? th->streams[dev->id] : NULL;
  uint64_t point = q ? chxi_stream_mark(q) : 0;
  pthread_mutex_lock(&dev->lock);
  for (int i = 0; i < CHXI_BINS; i++)
    while (bins->head[i]) {
      chxi_buffer *b = bins->head[i];
      bins->head[i] = b->link;
      if (q) b->wrote = (struct chxi_use){q, point};
      give_shared(dev, b);
    }
  pthread_mutex_unlock(&dev->lock);
  bins->bytes = 0;
}

void chxi_buffer_unref(chxi_buffer *b)
{
  if (atomic_load_explicit(&b->refs, memory_order_acquire) != 1 &&
      atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
    return;
  if (chxi_unlikely(b->mapped)) chxi_unmap(b);
  if (chxi_unlikely(b->shadow != NULL)) chxi_buffer_unref(b->shadow);
  if (chxi_likely(b->segment != NULL)) {
    chxi_hook_released(b->dev->spec, b->asked);
    block_free(b);
    return;
  }
  if (b->dev->queued) chxi_buffer_forget_uses(b, NULL); /* the memory's owner knows nothing of our queues */
  if (b->deleter) b->deleter(b->deleter_ctx);
  chxi_free(b, sizeof *b);
}

void chxi_thread_release_devices(chxi_thread *th)
{
  int n = atomic_load(&chxi_n_devices);
  for (int i = 0; i < n; i++) {
    chxi_device *dev = chxi_devices[i];
    chxi_stream *q = th->streams[i];
    if (q && q->capture) chxi_capture_lost(q, "the thread that recorded it has ended");
    if (th->bins[i]) {
      int64_t delta = th->bins[i]->used_delta;
      th->bins[i]->used_delta = 0;
      atomic_fetch_add(&dev->used, delta);
      atomic_fetch_add(&dev->allocations, th->bins[i]->allocations);
      bins_flush(dev, th);
      chxi_free(th->bins[i], sizeof *th->bins[i]);
      th->bins[i] = NULL;
    }
    if (!q) continue;
    th->streams[i] = NULL;
    chxi_stream_retire(q);
  }
}

/* ---- public ------------------------------------------------------------------------------------------------------------ */

chx_status chx_memory_stats_of(chx_scope *s, const char *device, chx_memory_stats *out)
{
  chxi_device *dev = chxi_ok(s) ? (device ? chxi_device_find(s, device) : s->dev) : NULL;
  if (!out) return chx_scope_fail(s, CHX_EARG, "memory_stats_of: out is NULL, want a place for the figures");
  memset(out, 0, sizeof *out);
  if (!dev) return chx_scope_error(s);
  chxi_thread *th = chxi_thread_self();
  chxi_bins *bins = th ? th->bins[dev->id] : NULL;
  long long used = atomic_load(&dev->used) + (bins ? bins->used_delta : 0), peak = atomic_load(&dev->used_peak);
  out->used = used > 0 ? (uint64_t)used : 0;
  out->used_peak = peak > used ? (uint64_t)peak : out->used;
  out->reserved = atomic_load(&dev->reserved);
  out->cached = out->reserved > out->used ? out->reserved - out->used : 0;
  out->limit = atomic_load(&dev->limit);
  out->allocations = atomic_load(&dev->allocations) + (bins ? bins->allocations : 0);
  out->backend_allocations = atomic_load(&dev->backend_allocations);
  return CHX_OK;
}

chx_status chx_memory_reset_peak(chx_scope *s, const char *device)
{
  chxi_device *dev = chxi_ok(s) ? (device ? chxi_device_find(s, device) : s->dev) : NULL;
  if (dev) atomic_store(&dev->used_peak, atomic_load(&dev->used));
  return chx_scope_error(s);
}

chx_status chx_memory_set_limit(chx_scope *s, const char *device, uint64_t bytes)
{
  chxi_device *dev = chxi_ok(s) ? (device ? chxi_device_find(s, device) : s->dev) : NULL;
  if (dev) atomic_store(&dev->limit, bytes);
  return chx_scope_error(s);
}

chx_status chx_memory_trim(chx_scope *s, const char *device)
{
  chxi_device *dev = chxi_ok(s) ? (device ? chxi_device_find(s, device) : s->dev) : NULL;
  chxi_stream *q;
  if (!dev) return chx_scope_error(s);
  q = dev->queued && chxi_self ? chxi_self->streams[dev->id] : NULL;
  if (q && q->failed) {
    chxi_self->streams[dev->id] = NULL;
    chxi_stream_retire(q);
  } else if (q && !q->capture && !chxi_long_wait(s, q, s->long_work ? chxi_stream_mark(q) : 0))
    return s->error;
  else
    chxi_stream_wait(s, q); /* one that fails now, too, or a device that was lost, gives its memory back all the same */
  if (chxi_self) bins_flush(dev, chxi_self);
  pthread_mutex_lock(&dev->lock);
  trim_locked(dev);
  pthread_mutex_unlock(&dev->lock);
  return s->error;
}
