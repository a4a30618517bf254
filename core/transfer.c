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
  if (bytes < b->asked && !chxi_on_device(s, b)) return false; /* the rest is kept */
  if (q && !chxi_before_write(s, q, b)) return false;
  chx_status st = dev->ops->copy(dev->dev, chxi_stream_lock(q), b->handle, b->offset + offset, src, 0, bytes, H2D);
  chxi_stream_unlock(q);
  if (st)
    return chxi_plugin_failed(s, st, "%s: copy of %llu bytes from the host", dev->spec, (unsigned long long)bytes),
           false;
  if (q) chxi_after(q, b, true);
  atomic_store(&b->valid, CHXI_ON_DEVICE);
  return true;
}

bool chxi_download(chx_scope *s, chxi_buffer *b, uint64_t offset, void *dst, uint64_t bytes)
{
  if (b->host) return memcpy(dst, b->host + offset, bytes), true;
  if (atomic_load(&b->valid) & CHXI_ON_HOST) return memcpy(dst, b->shadow->host + offset, bytes), true;
  chxi_device *dev = b->dev;
  chxi_stream *q;
  if (!chxi_stream_of(s, dev, &q) || (q && !chxi_before_read(s, q, b))) return false;
  chx_status st = dev->ops->copy(dev->dev, chxi_stream_lock(q), dst, 0, b->handle, b->offset + offset, bytes, D2H);
  chxi_stream_unlock(q);
  if (st)
    return chxi_plugin_failed(s, st, "%s: copy of %llu bytes to the host", dev->spec, (unsigned long long)bytes), false;
  return chxi_stream_wait(s, q) && chxi_buffer_good(s, b);
}

static pthread_mutex_t shadow_locks[8] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
                                         PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};
CHXI_FORK_GUARD(CHXI_FORK_SHADOWS, shadow_locks, 8)

/* Shadows of buffers that threads share are made and filled under one of these. */
static pthread_mutex_t *shadow_lock(const chxi_buffer *b)
{
  return &shadow_locks[(uintptr_t)b / sizeof *b % 8];
}

bool chxi_on_device(chx_scope *s, chxi_buffer *b)
{
  if (chxi_likely(atomic_load_explicit(&b->valid, memory_order_acquire) & CHXI_ON_DEVICE)) return true;
  chxi_device *dev = b->dev;
  chxi_stream *q;
  if (!chxi_stream_of(s, dev, &q)) return false;
  pthread_mutex_lock(shadow_lock(b));
  chx_status st = CHX_OK;
  bool ordered = true;
  if (!(atomic_load(&b->valid) & CHXI_ON_DEVICE)) {
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
  pthread_mutex_unlock(shadow_lock(b));
  if (st) chxi_plugin_failed(s, st, "%s: copy of %llu bytes from the host", dev->spec, (unsigned long long)b->asked);
  return ordered && !st;
}

static bool on_host(chx_scope *s, chxi_buffer *b)
{
  if (atomic_load_explicit(&b->valid, memory_order_acquire) & CHXI_ON_HOST) return true;
  chxi_device *native = chxi_native(s);
  if (!native) return false;
  pthread_mutex_lock(shadow_lock(b));
  bool good = true;
  if (!(atomic_load(&b->valid) & CHXI_ON_HOST)) {
    if (!b->shadow) b->shadow = chxi_buffer_new(s, native, b->asked);
    good = b->shadow && (!b->asked || chxi_download(s, b, 0, b->shadow->host, b->asked));
    if (good) atomic_store(&b->valid, CHXI_ON_DEVICE | CHXI_ON_HOST);
  }
  pthread_mutex_unlock(shadow_lock(b));
  return good;
}

chx_array *chxi_shadow_view(chx_scope *s, const chx_array *a)
{
  if (!a->buf || a->buf->dev->host) return chxi_array_view(s, a, a->dtype, a->t.ndim, a->shape, a->strides, 0);
  if (!on_host(s, a->buf)) return NULL;
  chx_array *v = chxi_array_view(s, a, a->dtype, a->t.ndim, a->shape, a->strides, 0);
  if (!v) return NULL;
  chxi_buffer *b = a->buf;
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
  return on_host(s, from) &&
         chxi_upload(s, y->buf, y->t.byte_offset - y->buf->offset, from->shadow->host + offset, bytes);
}

/* y = a on the scope's device, dense; for the operator to_device. */
chx_array *chxi_move(chx_scope *s, const chx_array *a, chxi_device *dev)
{
  size_t at = s->n;
  chx_array *y = chxi_array_new(s, dev, a->dtype, a->t.ndim, a->shape);
  if (y && !across(s, a, y)) y = NULL;
  return chx_scope_rewind(s, at, y);
}
