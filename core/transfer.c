/* SPDX-License-Identifier: MIT
 * transfer.c: bytes between the host and a device, and shadows: a device buffer's bytes on native:0, where the staged
 * route works. A buffer knows which of its two places is valid; bytes move when the other is needed, so that a run of
 * staged operators stays on the host.
 */
#include "runtime.h"

enum { H2D = 0, D2H = 1 };

bool chxi_upload(chx_scope *s, chxi_buffer *b, uint64_t offset, const void *src, uint64_t bytes)
{
  if (b->host) return memcpy(b->host + offset, src, bytes), true;
  chxi_device *dev = b->dev;
  chxi_stream *q;
  if (!chxi_stream_of(s, dev, &q)) return false;
  if ((bytes < b->asked || b->mapped) && (!chxi_on_device(s, b) || !chxi_buffer_good(s, b))) return false; /* the rest is kept */
  if (q && q->capture && bytes < b->asked && !chxi_capture_touch(s, q, b, CHXI_READS)) return false;
  if (q && !chxi_before_write(s, q, b)) return false;
  chx_status st = dev->ops->copy(dev->dev, chxi_stream_lock(q), b->handle, b->offset + offset, src, 0, bytes, H2D);
  chxi_stream_unlock(q);
  if (st)
    return chxi_plugin_failed(s, st, "%s: copy of %llu bytes from the host", dev->spec, (unsigned long long)bytes),
           false;
  if (q && q->capture) return true;
  if (q) chxi_after(q, b, true);
  atomic_store(&b->valid, CHXI_ON_DEVICE);
  return true;
}

/* From the device's own memory. */
static bool download(chx_scope *s, chxi_buffer *b, uint64_t offset, void *dst, uint64_t bytes)
{
  chxi_device *dev = b->dev;
  chxi_stream *q;
  if (!chxi_stream_of(s, dev, &q) || (q && !chxi_before_read(s, q, b))) return false;
  chx_status st = dev->ops->copy(dev->dev, chxi_stream_lock(q), dst, 0, b->handle, b->offset + offset, bytes, D2H);
  chxi_stream_unlock(q);
  if (st)
    return chxi_plugin_failed(s, st, "%s: copy of %llu bytes to the host", dev->spec, (unsigned long long)bytes), false;
  return chxi_stream_wait(s, q) && chxi_buffer_good(s, b);
}

bool chxi_download(chx_scope *s, chxi_buffer *b, uint64_t offset, void *dst, uint64_t bytes)
{
  if (b->host) return memcpy(dst, b->host + offset, bytes), true;
  if (chxi_capture_excludes(s, b->dev, "reading back to the host")) return false;
  if (!b->dev->mappable && !(atomic_load(&b->valid) & CHXI_ON_HOST)) return download(s, b, offset, dst, bytes);
  if (b->dev->mappable && atomic_load(&b->valid) & CHXI_ON_DEVICE) {
    if (!chxi_pin(s, &b, 1)) return false;
    bool good = download(s, b, offset, dst, bytes);
    chxi_unpin(&b, 1);
    return good;
  }
  chxi_loan l = {.b = {b}, .n = 1, .n_read = 1, .copied = true};
  if (!chxi_lend(s, &l)) return false;
  memcpy(dst, b->shadow->host + offset, bytes);
  chxi_loan_end(&l);
  return true;
}

static pthread_mutex_t shadow_locks[8] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
                                         PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};
CHXI_FORK_GUARD(CHXI_FORK_SHADOWS, shadow_locks, 8)

static pthread_cond_t shadow_returned[8] = {PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER,
                                            PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER};
CHXI_FORK_CONDITIONS(shadow_returned, 8)

/* Shadows of buffers that threads share are made, filled and lent under one of these. */
static pthread_mutex_t *shadow_lock(const chxi_buffer *b)
{
  return &shadow_locks[(uintptr_t)b / sizeof *b % 8];
}
static pthread_cond_t *shadow_cond(const chxi_buffer *b) { return &shadow_returned[shadow_lock(b) - shadow_locks]; }

static void left_behind(chxi_buffer *b);

/* What a process has of calls that the fork which made it took from their threads is forgotten when it is met. */
static void lock_shadow(chxi_buffer *b)
{
  pthread_mutex_lock(shadow_lock(b));
  if (chxi_unlikely(b->forks != chxi_forks)) left_behind(b);
}

static void unlock_shadow(chxi_buffer *b) { pthread_mutex_unlock(shadow_lock(b)); }
static void wait_shadow(chxi_buffer *b) { pthread_cond_wait(shadow_cond(b), shadow_lock(b)); }

/* ---- device memory open to the host; the shadow's lock is held ------------------------------------------------------- */

/* Begins to open b, with `access`; false with *why CHX_EUNSUPPORTED where that cannot be, else with the error in s. The bytes
 * are there once l->q has passed what is queued on it; till then s is b->opening. */
static bool map(chx_scope *s, chxi_loan *l, chxi_buffer *b, chxi_device *native, uint32_t access, chx_status *why)
{
  chxi_device *dev = b->dev;
  chxi_stream *q;
  void *host = NULL;
  *why = CHX_EFAILED;
  if (!chxi_stream_of(s, dev, &q) || (q && !chxi_before_write(s, q, b)) || !chxi_buffer_good(s, b)) return false;
  chxi_buffer *v = chxi_alloc(sizeof *v);
  if (!v) return chx_scope_fail(s, CHX_ENOMEM, "out of memory for a buffer's header"), false;
  chx_buffer raw = {.size = sizeof raw, .handle = b->handle, .bytes = b->bytes};
  *why = dev->ops->map(dev->dev, chxi_stream_lock(q), b->segment ? chxi_segment_raw(b) : &raw, b->offset, b->asked,
                       q ? access | CHX_MAP_NOWAIT : access, &host);
  chxi_stream_unlock(q);
  if (*why) {
    chxi_free(v, sizeof *v);
    if (*why != CHX_EUNSUPPORTED && chxi_stream_wait(s, q)) /* else it was the queue that failed, before */
      chxi_plugin_failed(s, *why, "%s: map of %llu bytes", dev->spec, (unsigned long long)b->asked);
    return false;
  }
  memset(v, 0, sizeof *v);
  atomic_init(&v->refs, 1);
  atomic_init(&v->valid, CHXI_ON_DEVICE);
  v->dev = native;
  v->host = host;
  v->handle = host;
  v->bytes = v->asked = b->asked;
  if (b->shadow) chxi_buffer_unref(b->shadow);
  b->shadow = v;
  b->mapped = true;
  b->opening = q ? s : NULL;
  if (q) l->q = q;
  atomic_store(&b->valid, q ? 0 : CHXI_ON_HOST);
  return true;
}

/* Gives b's memory back to the device, which may go on with it once q has done that; `wrote`: with what the host has written. */
static chx_status unmap(chxi_buffer *b, chxi_stream *q, bool wrote)
{
  chxi_device *dev = b->dev;
  chx_buffer raw = {.size = sizeof raw, .handle = b->handle, .bytes = b->bytes};
  chx_status st = dev->ops->unmap(dev->dev, chxi_stream_lock(q), b->segment ? chxi_segment_raw(b) : &raw, b->shadow->host);
  chxi_stream_unlock(q);
  chxi_buffer_unref(b->shadow);
  b->shadow = NULL;
  b->mapped = false;
  if (q) chxi_after(q, b, wrote);
  return st;
}

void chxi_unmap(chxi_buffer *b)
{
  chxi_stream *q;
  chxi_stream_of(NULL, b->dev, &q); /* on a lost device there is none, and still the plugin is told */
  unmap(b, q, true);
}

static void left_behind(chxi_buffer *b)
{
  chxi_stream *q = NULL;
  b->forks = chxi_forks;
  b->lent = b->pinned = 0;
  if (!b->opening) return;
  b->opening = NULL;
  chxi_stream_of(NULL, b->dev, &q);
  unmap(b, q, false);
  atomic_store(&b->valid, CHXI_ON_DEVICE);
}

bool chxi_on_device(chx_scope *s, chxi_buffer *b)
{
  if (chxi_likely(atomic_load_explicit(&b->valid, memory_order_acquire) & CHXI_ON_DEVICE)) return true;
  chxi_device *dev = b->dev;
  chxi_stream *q;
  if (!chxi_stream_of(s, dev, &q)) return false;
  if (q && q->capture) return true; /* it will be when the capture is launched */
  lock_shadow(b);
  chx_status st = CHX_OK;
  bool ordered = true;
  while (b->mapped && b->lent) wait_shadow(b);
  if (b->mapped) {
    st = unmap(b, q, true);
    atomic_store(&b->valid, CHXI_ON_DEVICE);
  } else if (!(atomic_load(&b->valid) & CHXI_ON_DEVICE)) {
    uint64_t t0 = chxi_now_ns();
    ordered = !q || chxi_before_write(s, q, b);
    if (ordered) {
      st = dev->ops->copy(dev->dev, chxi_stream_lock(q), b->handle, b->offset, b->shadow->host, 0, b->asked, H2D);
      chxi_stream_unlock(q);
    }
    if (ordered && !st) {
      if (q) chxi_after(q, b, true);
      atomic_store(&b->valid, CHXI_ON_DEVICE | CHXI_ON_HOST);
      chxi_ledger_add(dev, NULL, CHX_ROUTE_STAGED, b->asked, chxi_now_ns() - t0, NULL);
    }
  }
  unlock_shadow(b);
  if (st) chxi_plugin_failed(s, st, "%s: %llu bytes from the host", dev->spec, (unsigned long long)b->asked);
  return ordered && !st;
}

/* ---- loans ------------------------------------------------------------------------------------------------------------- */

/* How often the call has b already. */
static int lent_before(const chxi_loan *l, int i)
{
  int n = 0;
  for (int k = 0; k < i; k++) n += l->b[k] == l->b[i];
  return n;
}

/* Lends the shadow of l->b[i] with its bytes valid, but for a map that somebody has begun. Where other calls still read
 * what is to be copied anew, it is *busy and not lent. */
static bool lend(chx_scope *s, chxi_loan *l, int i, chxi_device *native, chxi_buffer **busy)
{
  chxi_buffer *b = l->b[i];
  const bool may_map = b->dev->mappable, whole = i >= l->n_read;
  const int own = lent_before(l, i);
  if (chxi_capture_excludes(s, b->dev, "reading back to the host")) return false;
  lock_shadow(b);
  bool good = true;
  while (b->pinned) wait_shadow(b);
  const uint8_t valid = atomic_load(&b->valid);
  const bool changed = b->shared && valid & CHXI_ON_DEVICE && !own; /* maybe, by others */
  if (!b->opening && (!(valid & CHXI_ON_HOST) || changed)) {
    if (b->lent > own) return unlock_shadow(b), *busy = b, true;
    const bool wanted = may_map && !l->copied && b->asked;
    chx_status why = CHX_EUNSUPPORTED;
    good = wanted && !b->shared && map(s, l, b, native, whole ? CHX_MAP_WRITE : CHX_MAP_READ | CHX_MAP_WRITE, &why);
    if (!good && why == CHX_EUNSUPPORTED) {
      if (!b->shadow) b->shadow = chxi_buffer_new(s, native, b->asked);
      good = b->shadow && (whole || !b->asked || download(s, b, 0, b->shadow->host, b->asked));
      if (good) atomic_store(&b->valid, whole ? CHXI_ON_HOST : CHXI_ON_DEVICE | CHXI_ON_HOST);
      if (!whole) l->bytes += b->asked;
      l->refused |= wanted;
    }
  }
  if (good) b->lent++;
  unlock_shadow(b);
  return good;
}

/* Ends what s has begun with b: the wait for it was good, or the mapping is given back, with the device's bytes as they were. */
static void opened(chx_scope *s, chxi_buffer *b, chxi_stream *q, bool good)
{
  lock_shadow(b);
  if (b->opening == s) {
    b->opening = NULL;
    if (!good) unmap(b, q, false);
    atomic_store(&b->valid, good ? CHXI_ON_HOST : CHXI_ON_DEVICE);
    pthread_cond_broadcast(shadow_cond(b));
  }
  unlock_shadow(b);
}

/* Whether b's shadow is valid, after what another thread has begun with it has ended. */
static bool is_open(chxi_buffer *b)
{
  if (!b->dev->mappable) return true;
  lock_shadow(b);
  while (b->opening) wait_shadow(b);
  const bool valid = atomic_load(&b->valid) & CHXI_ON_HOST;
  unlock_shadow(b);
  return valid;
}

static void give_back(const chxi_loan *l, int n)
{
  for (int i = 0; i < n; i++) {
    chxi_buffer *b = l->b[i];
    lock_shadow(b);
    if (b->lent && !--b->lent) pthread_cond_broadcast(shadow_cond(b));
    unlock_shadow(b);
  }
}

static void wait_till_returned(chxi_buffer *b)
{
  lock_shadow(b);
  while (b->lent) wait_shadow(b);
  unlock_shadow(b);
}

/* Waits for other threads' maps come after the end of one's own, and who waits for other calls has nothing lent, so that
 * two threads do not wait for each other. */
bool chxi_lend(chx_scope *s, chxi_loan *l)
{
  chxi_device *native = chxi_native(s);
  for (bool good = native != NULL; good;) {
    int n = 0;
    chxi_buffer *busy = NULL;
    l->q = NULL;
    while (n < l->n && (good = lend(s, l, n, native, &busy)) && !busy) n++;
    if (l->q) {
      const bool passed = chxi_stream_wait(s, l->q);
      for (int i = 0; i < n; i++) opened(s, l->b[i], l->q, passed);
      good &= passed;
    }
    int open = 0;
    while (good && open < n && is_open(l->b[open])) open++;
    if (good && open == l->n) return true;
    give_back(l, n);
    if (good && busy) wait_till_returned(busy);
  }
  l->n = 0;
  return false;
}

void chxi_loan_end(chxi_loan *l) { give_back(l, l->n); }

/* Waits hold no pin, so that two threads, each with what the other needs, do not wait for ever. */
bool chxi_pin(chx_scope *s, chxi_buffer *const *b, int n)
{
  for (;;) {
    int i = 0;
    for (int k = 0; k < n; k++)
      if (!chxi_on_device(s, b[k])) return false;
    for (; i < n; i++) {
      lock_shadow(b[i]);
      const bool valid = atomic_load(&b[i]->valid) & CHXI_ON_DEVICE;
      if (valid) b[i]->pinned++;
      unlock_shadow(b[i]);
      if (!valid) break;
    }
    if (i == n) return true;
    chxi_unpin(b, i);
  }
}

void chxi_unpin(chxi_buffer *const *b, int n)
{
  for (int i = 0; i < n; i++) {
    lock_shadow(b[i]);
    if (b[i]->pinned && !--b[i]->pinned) pthread_cond_broadcast(shadow_cond(b[i]));
    unlock_shadow(b[i]);
  }
}

/* What the host has of the bytes is old as soon as another may have written them. */
static void forget_host(chxi_buffer *b)
{
  if (atomic_load(&b->valid) & CHXI_ON_DEVICE) atomic_store(&b->valid, CHXI_ON_DEVICE);
}

bool chxi_share(chx_scope *s, chxi_buffer *b)
{
  if (b->host) return true;
  if (chxi_capture_excludes(s, b->dev, "giving memory to who knows nothing of queues") || !chxi_pin(s, &b, 1)) return false;
  lock_shadow(b);
  b->shared++;
  unlock_shadow(b);
  chxi_unpin(&b, 1);
  return true;
}

void chxi_unshare(chxi_buffer *b)
{
  if (b->host) return;
  lock_shadow(b);
  forget_host(b);
  b->shared--;
  unlock_shadow(b);
}

chx_array *chxi_shadow_view(chx_scope *s, const chx_array *a)
{
  chxi_buffer *b = a->buf;
  chx_array *v = chxi_array_view(s, a, a->dtype, a->t.ndim, a->shape, a->strides, 0);
  if (!v) return NULL;
  chxi_buffer_ref(b->shadow);
  v->buf = b->shadow;
  v->t.byte_offset = a->t.byte_offset - b->offset + b->shadow->offset;
  chxi_array_seal(v);
  chxi_buffer_unref(b);
  return v;
}

/* A dense copy on a's device by its own "copy" kernel, or by the host; not recorded. */
chx_array *chxi_dense(chx_scope *s, const chx_array *a)
{
  if (a->t.flags & CHX_T_CONTIGUOUS) return (chx_array *)a;
  int mode = s->grad_mode;
  s->grad_mode = CHX_GRAD_OFF;
  s->depth++;
  chx_array *d = chxi_op1(s, copy, NULL, a);
  s->depth--;
  s->grad_mode = mode;
  return d;
}

/* Bytes of one device's buffer into another's by their backend's own copy ("chx.peer/1"). *copied says whether there is one
 * for the two; false: it failed. The queue that copies is ordered after the source's writer by the host's waiting for that. */
static bool by_peer(chx_scope *s, chxi_buffer *from, uint64_t from_offset, chxi_buffer *to, uint64_t to_offset, uint64_t bytes,
                    bool *copied)
{
  chxi_device *dev = to->dev;
  chxi_stream *q;
  const chx_device_ops *o = dev->ops;
  const chx_peer_ops *peer = NULL;
  *copied = false;
  if (dev->backend == from->dev->backend && CHX_HAS(o, chx_device_ops, extension)) peer = o->extension(dev->dev, "chx.peer/1");
  if (!peer || !CHX_HAS(peer, chx_peer_ops, copy) || !CHX_HAS(peer, chx_peer_ops, can)) return true;
  if (!(atomic_load(&from->valid) & CHXI_ON_DEVICE) || peer->can(dev->dev, from->dev->dev)) return true;
  if (chxi_recording(dev) || chxi_recording(from->dev)) return true; /* what there is now, by the host */
  if (!chxi_stream_of(s, dev, &q)) return false;
  const bool pin = from->dev->mappable;
  if (pin && !chxi_pin(s, &from, 1)) return false;
  bool ordered = (!from->dev->queued || chxi_before_read(s, q, from)) && (!q || chxi_before_write(s, q, to));
  chx_status st = CHX_OK;
  if (ordered) {
    st = peer->copy(dev->dev, chxi_stream_lock(q), to->handle, to->offset + to_offset, from->dev->dev, from->handle,
                    from->offset + from_offset, bytes);
    chxi_stream_unlock(q);
    if (!st && q) chxi_after(q, to, true);
    if (!st && q) chxi_after(q, from, false);
  }
  if (pin) chxi_unpin(&from, 1);
  if (!ordered || st == CHX_DECLINED || st == CHX_EUNSUPPORTED) return ordered;
  if (st)
    return chxi_plugin_failed(s, st, "%s: copy of %llu bytes from %s", dev->spec, (unsigned long long)bytes, from->dev->spec),
           false;
  atomic_store(&to->valid, CHXI_ON_DEVICE);
  return *copied = true;
}

/* The bytes of `a` from one device into dense array y of another. */
static bool across(chx_scope *s, const chx_array *a, chx_array *y)
{
  uint64_t bytes = (uint64_t)chx_nbytes(a);
  if (!bytes) return true;
  if (!a->buf) return chxi_upload(s, y->buf, 0, a->t.imm, bytes);
  const chx_array *d = chxi_dense(s, a);
  if (!d) return false;
  chxi_buffer *from = d->buf;
  uint64_t offset = d->t.byte_offset - from->offset;
  if (from->host) return chxi_upload(s, y->buf, y->t.byte_offset - y->buf->offset, from->host + offset, bytes);
  if (y->buf->host) return chxi_download(s, from, offset, y->buf->host + (y->t.byte_offset - y->buf->offset), bytes);
  bool copied;
  if (!by_peer(s, from, offset, y->buf, y->t.byte_offset - y->buf->offset, bytes, &copied)) return false;
  if (copied) return true;
  chxi_loan l = {.b = {from}, .n = 1, .n_read = 1};
  if (!chxi_lend(s, &l)) return false;
  copied = chxi_upload(s, y->buf, y->t.byte_offset - y->buf->offset, from->shadow->host + offset, bytes);
  chxi_loan_end(&l);
  return copied;
}

/* y = a on the scope's device, dense; for the operator to_device. */
chx_array *chxi_move(chx_scope *s, const chx_array *a, chxi_device *dev)
{
  size_t at = s->n;
  const uint64_t bytes = (uint64_t)chx_nbytes(a);
  const bool told = chxi_unlikely(s->long_work != NULL) && (chxi_copy_is_long(a->buf->dev, bytes) || chxi_copy_is_long(dev, bytes));
  chx_array *y = chxi_array_new(s, dev, a->dtype, a->t.ndim, a->shape);
  if (y && told && !dev->queued && !chxi_buffer_ready(s, a->buf)) y = NULL;
  chx_long_work begun = y && told ? chxi_long_begin(s) : NULL;
  if (y && !across(s, a, y)) y = NULL;
  if (!chxi_long_end(s, begun)) y = NULL;
  return chx_scope_rewind(s, at, y);
}
