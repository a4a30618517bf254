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
  chxi_buffer_ref(y->buf);
  d->buf->shadow = y->buf;
  atomic_store(&d->buf->valid, CHXI_ON_HOST);
  return d;
}

/* Puts a's buffer on the loan, if it is to be lent. */
static void to_lend(chxi_loan *l, const chx_array *a)
{
  if (a && a->buf && !a->buf->dev->host) l->b[l->n++] = a->buf;
}

/* Array a, whose buffer is lent, as native's kernels see it. */
static const chx_array *borrow(chx_scope *s, const chx_array *a, chxi_device *native)
{
  if (!a || !a->buf) return a;
  return a->buf->dev->host ? alias(s, a, native) : chxi_shadow_view(s, a);
}

/* The results of native as arrays of the device; where nothing is copied they were written in its memory. */
static bool collect(chxi_call *c, chxi_device *native, const chx_array *const *in, chx_array **out)
{
  chx_scope *s = c->s;
  for (int o = 0; o < c->n_out && !s->error; o++) {
    bool own = true; /* a shadow is one buffer's */
    for (int i = 0; i < c->n_in; i++) own &= !in[i] || in[i]->buf != out[o]->buf;
    for (int k = 0; k < o; k++) own &= out[k]->buf != out[o]->buf;
    if (!own || !(out[o]->t.flags & CHX_T_CONTIGUOUS) || out[o]->t.byte_offset != out[o]->buf->offset) {
      chx_array *d = chxi_array_new(s, native, out[o]->dtype, out[o]->t.ndim, out[o]->shape);
      if (!d || !chxi_fill_from(s, d, out[o])) return false;
      out[o] = d;
    }
    c->y[o] = adopt(s, out[o], c->dev);
  }
  return !s->error;
}

/* The call on native:0, on operands and results that `l` lends; *ns is what native took. */
static bool on_native(chxi_call *c, chxi_device *native, chxi_loan *l, uint64_t *ns)
{
  chx_scope *s = c->s;
  const chx_array *in[CHX_MAX_OPERANDS];
  chx_array *out[CHXI_MAX_OUT] = {NULL}, *made[CHXI_MAX_OUT] = {NULL};
  int mode = s->grad_mode, policy = s->policy;
  chxi_device *home = s->dev;
  for (int i = 0; i < c->n_in; i++) to_lend(l, c->in[i]);
  l->n_read = l->n;
  for (int o = 0; !l->copied && o < c->n_out; o++) {
    const struct chxi_out *w = &c->out[o];
    if (!(made[o] = chxi_array_new(s, c->dev, w->dtype, w->ndim, w->shape))) return false;
    to_lend(l, made[o]);
  }
  if (!chxi_lend(s, l)) return false;
  for (int i = 0; i < c->n_in && !s->error; i++) in[i] = borrow(s, c->in[i], native);
  for (int o = 0; !l->copied && o < c->n_out && !s->error; o++) out[o] = (chx_array *)borrow(s, made[o], native);
  s->grad_mode = CHX_GRAD_OFF;
  s->policy = CHX_FALLBACK_ALLOW;
  s->dev = native;
  s->depth++;
  if (!s->error) {
    uint64_t t0 = chxi_now_ns();
    chx_apply(s, c->op, in, c->n_in, c->attr, out, c->n_out);
    *ns = chxi_now_ns() - t0;
  }
  s->depth--;
  s->dev = home;
  s->policy = policy;
  s->grad_mode = mode;
  const bool done = !s->error && (!l->copied || collect(c, native, in, out));
  for (int o = 0; !l->copied && o < c->n_out; o++) {
    if (done && !c->dev->host) atomic_store(&made[o]->buf->valid, CHXI_ON_HOST);
    c->y[o] = made[o];
  }
  chxi_loan_end(l);
  return done;
}

static void warn(const chx_scope *s, const chxi_device *dev, const chx_op *op, int route, const char *reason)
{
  const bool first = chxi_ledger_is_first(dev, op, route) && chxi_ledger_is_first(dev, op, CHX_ROUTE_STAGED); /* a refused map */
  if (s->policy == CHX_FALLBACK_WARN && first)
    chxi_log(1, "%s: %s falls back to native (%s)", dev->spec, op->name, reason);
}

bool chxi_run_staged(chxi_call *c, int route, const char *reason)
{
  chx_scope *s = c->s;
  chxi_device *dev = c->dev, *native = chxi_native(s);
  char what[200];
  c->route = route;
  if (!native) return false;
  if (chxi_unlikely(chxi_recording(dev) != NULL)) {
    snprintf(what, sizeof what, "%s, which has no kernel here and runs on native,", c->op->name);
    return !chxi_capture_excludes(s, dev, what);
  }
  if (s->policy == CHX_FALLBACK_DENY && reason == chxi_reason_forced)
    return chxi_bad(c, CHX_EUNSUPPORTED, "its route on %s is forced to %s and fallback is denied, want no such route or the policy allow",
                    dev->spec, chx_route_name(route));
  if (s->policy == CHX_FALLBACK_DENY)
    return chxi_bad(
        c, CHX_EUNSUPPORTED,
        "%s has no kernel for %s (%s) and fallback is denied, want a device that has one or the policy allow",
        dev->spec, chx_dtype_name(chxi_call_dtype(c)), reason);
  warn(s, dev, c->op, route, reason);
  uint64_t t0 = chxi_now_ns(), kernel_ns = 0;
  chxi_loan l = {.copied = route == CHX_ROUTE_STAGED && !dev->host};
  if (!on_native(c, native, &l, &kernel_ns)) return false;
  if (l.refused) c->route = route = CHX_ROUTE_STAGED;
  chxi_ledger_add(dev, c->op, route, l.bytes, chxi_now_ns() - t0, reason);
  chxi_ledger_kernel(dev, c->op, route, kernel_ns);
  return true;
}

/* y = a in place through the host, for a device whose kernels cannot write y as it lies. The rest of y's buffer is kept. */
bool chxi_fill_staged(chx_scope *s, chx_array *y, const chx_array *a)
{
  static const char *const why = "no kernel writes into part of an array";
  chxi_device *dev = y->buf->dev, *native = chxi_native(s), *home = s->dev;
  size_t mark = s->n;
  int policy = s->policy, route = dev->host || dev->mappable ? CHX_ROUTE_MAPPED : CHX_ROUTE_STAGED;
  uint64_t t0 = chxi_now_ns();
  chxi_loan l = {.copied = !dev->mappable};
  if (!native || chxi_capture_excludes(s, dev, "a copy into part of an array, which runs on native,")) return false;
  if (dev == native || policy == CHX_FALLBACK_DENY)
    return chx_scope_fail(
               s, CHX_EUNSUPPORTED,
               "copy: no kernel on %s writes into part of an array, want a device that has one or the policy allow",
               dev->spec),
           false;
  warn(s, dev, &chxi_op_copy, route, why);
  to_lend(&l, y);
  to_lend(&l, a);
  l.n_read = l.n;
  if (!chxi_lend(s, &l)) return false;
  chx_array *to = (chx_array *)borrow(s, y, native);
  const chx_array *from = to ? borrow(s, a, native) : NULL;
  s->dev = native;
  s->policy = CHX_FALLBACK_ALLOW;
  s->depth++;
  if (from) chx_copy_into(s, to, from);
  if (!s->error && !dev->host) atomic_store(&y->buf->valid, CHXI_ON_HOST); /* mapped or not: the device's bytes are not to be used */
  chxi_loan_end(&l);
  if (!s->error && y->buf->shared) chxi_on_device(s, y->buf); /* others are to see it */
  s->depth--;
  s->policy = policy;
  s->dev = home;
  chx_scope_rewind(s, mark, NULL);
  if (s->error) return false;
  atomic_fetch_add(&y->buf->version, 1);
  chxi_ledger_add(dev, &chxi_op_copy, l.refused ? CHX_ROUTE_STAGED : route, l.bytes, chxi_now_ns() - t0, why);
  return true;
}
