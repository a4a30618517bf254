/* SPDX-License-Identifier: MIT
 * fallback.c: the mapped and staged routes: an operator on native:0 for a device that has no way of its own.
 *
 * Operands are seen through their buffers' shadows (transfer.c); the result is left in a shadow, too, so that a run of
 * such operators copies nothing until a kernel of the device needs a value.
 */
#include "runtime.h"
#include <stdio.h>

static void release_alias(void *b) { chxi_buffer_unref(b); }

/* a, in the memory of a host device that is not native, as an array of native:0. */
static chx_array *alias(chx_scope *s, const chx_array *a, chxi_device *native)
{
  chx_array *v = chxi_array_view(s, a, a->dtype, a->t.ndim, a->shape, a->strides, 0);
  chxi_buffer *b = v && v->buf ? chxi_alloc(sizeof *b) : NULL;
  if (v && v->buf && !b) return chx_scope_fail(s, CHX_ENOMEM, "out of memory for a buffer's header"), NULL;
  if (!b) return v;
  memset(b, 0, sizeof *b);
  atomic_init(&b->refs, 1);
  atomic_init(&b->valid, CHXI_ON_DEVICE);
  b->dev = native;
  b->host = v->buf->host;
  b->handle = v->buf->host;
  b->bytes = v->buf->bytes;
  b->asked = v->buf->asked;
  b->deleter = release_alias;
  b->deleter_ctx = v->buf; /* takes over the view's reference */
  v->t.byte_offset -= v->buf->offset;
  v->buf = b;
  chxi_array_seal(v);
  return v;
}

/* y of native:0 as an array of device dev, whose bytes are still in the shadow. */
static chx_array *adopt(chx_scope *s, chx_array *y, chxi_device *dev)
{
  chx_array *d = chxi_array_new(s, dev, y->dtype, y->t.ndim, y->shape);
  if (!d) return NULL;
  if (dev->host)
    return memcpy(d->buf->host, y->buf->host + (y->t.byte_offset - y->buf->offset), (size_t)chx_nbytes(y)), d;
  chxi_buffer_ref(y->buf);
  d->buf->shadow = y->buf;
  atomic_store(&d->buf->valid, CHXI_ON_HOST);
  return d;
}

bool chxi_run_staged(chxi_call *c, const char *reason)
{
  chx_scope *s = c->s;
  chxi_device *dev = c->dev, *native = chxi_native(s);
  int route = dev->host ? CHX_ROUTE_MAPPED : CHX_ROUTE_STAGED;
  c->route = route;
  if (!native) return false;
  if (s->policy == CHX_FALLBACK_DENY)
    return chxi_bad(
        c, CHX_EUNSUPPORTED,
        "%s has no kernel for %s (%s) and fallback is denied, want a device that has one or the policy allow",
        dev->spec, chx_dtype_name(chxi_call_dtype(c)), reason ? reason : "the route is forced");
  if (s->policy == CHX_FALLBACK_WARN)
    chxi_log(1, "%s: %s falls back to native (%s)", dev->spec, c->op->name, reason ? reason : "the route is forced");
  uint64_t t0 = chxi_now_ns(), bytes = 0;
  const chx_array *in[CHX_MAX_OPERANDS];
  chx_array *out[CHXI_MAX_OUT] = {NULL};
  int mode = s->grad_mode, policy = s->policy;
  chxi_device *home = s->dev;
  for (int i = 0; i < c->n_in; i++) {
    const chx_array *a = c->in[i];
    in[i] = a;
    if (!a || !a->buf) continue;
    bool fresh = !dev->host && !(atomic_load(&a->buf->valid) & CHXI_ON_HOST);
    if (fresh) bytes += a->buf->asked;
    if (!(in[i] = dev->host ? alias(s, a, native) : chxi_shadow_view(s, a))) return false;
  }
  s->grad_mode = CHX_GRAD_OFF;
  s->policy = CHX_FALLBACK_ALLOW;
  s->dev = native;
  s->depth++;
  chx_apply(s, c->op, in, c->n_in, c->attr, out, c->n_out);
  s->depth--;
  s->dev = home;
  s->policy = policy;
  s->grad_mode = mode;
  for (int o = 0; o < c->n_out && !s->error; o++) {
    bool own = true; /* a shadow is one buffer's */
    for (int i = 0; i < c->n_in; i++) own &= !in[i] || in[i]->buf != out[o]->buf;
    if (!own || !(out[o]->t.flags & CHX_T_CONTIGUOUS) || out[o]->t.byte_offset != out[o]->buf->offset) {
      chx_array *d = chxi_array_new(s, native, out[o]->dtype, out[o]->t.ndim, out[o]->shape);
      if (!d || !chxi_fill_from(s, d, out[o])) return false;
      out[o] = d;
    }
    c->y[o] = adopt(s, out[o], dev);
  }
  if (s->error) return false;
  chxi_ledger_add(dev, c->op, route, bytes, chxi_now_ns() - t0, reason);
  return true;
}

/* y = a in place through the host, for a device whose kernels cannot write y as it lies. The rest of y's buffer is kept. */
bool chxi_fill_staged(chx_scope *s, chx_array *y, const chx_array *a)
{
  chxi_device *dev = y->buf->dev, *native = chxi_native(s), *home = s->dev;
  size_t mark = s->n;
  int policy = s->policy;
  uint64_t t0 = chxi_now_ns(), bytes = dev->host || atomic_load(&y->buf->valid) & CHXI_ON_HOST ? 0 : y->buf->asked;
  if (!native) return false;
  if (dev == native || policy == CHX_FALLBACK_DENY)
    return chx_scope_fail(
               s, CHX_EUNSUPPORTED,
               "copy: no kernel on %s writes into part of an array, want a device that has one or the policy allow",
               dev->spec),
           false;
  chx_array *to = dev->host ? alias(s, y, native) : chxi_shadow_view(s, y);
  chx_array *from = !to ? NULL : dev->host ? alias(s, a, native) : chxi_shadow_view(s, a);
  s->dev = native;
  s->policy = CHX_FALLBACK_ALLOW;
  s->depth++;
  if (from) chx_copy_into(s, to, from);
  s->depth--;
  s->policy = policy;
  s->dev = home;
  chx_scope_rewind(s, mark, NULL);
  if (s->error) return false;
  if (!dev->host) atomic_store(&y->buf->valid, CHXI_ON_HOST);
  atomic_fetch_add(&y->buf->version, 1);
  chxi_ledger_add(dev, &chxi_op_copy, dev->host ? CHX_ROUTE_MAPPED : CHX_ROUTE_STAGED, bytes, chxi_now_ns() - t0,
                  "no kernel writes into part of an array");
  return true;
}
