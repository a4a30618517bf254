/* SPDX-License-Identifier: MIT
 * run.c: one kernel run on a device: operands as the kernel asks for them, queues in order, failures as sentences.
 */
#include "plugins.h"
#include <stdio.h>

enum outcome { DONE, FAILED, DECLINED };

/* ---- scratch memory that a kernel asks for while it runs ------------------------------------------------------------ */

struct scratch {
  chx_scope *s;
  chxi_device *dev;
  chxi_buffer *list; /* by link */
  chxi_stream *q;    /* the queue that is locked while the kernel runs; NULL: none */
};

void *chxi_host_scratch(void *ctx, const chx_call *call, uint64_t bytes)
{
  struct scratch *m = call ? call->host_state : NULL;
  (void)ctx;
  if (!m || (m->q && m->q->failed)) return NULL;
  chxi_stream_unlock(m->q); /* the allocator may have to order or mark this very queue */
  chxi_buffer *b = chxi_buffer_new(m->s, m->dev, bytes);
  chxi_stream_lock(m->q);
  if (!b) return NULL;
  b->link = m->list;
  m->list = b;
  return b->host ? b->host : (char *)b->handle + b->offset;
}

static void end_scratch(struct scratch *m, chxi_stream *q)
{
  while (m->list) {
    chxi_buffer *b = m->list;
    m->list = b->link;
    if (q) chxi_after(q, b, true);
    chxi_buffer_unref(b);
  }
}

/* ---- operands ---------------------------------------------------------------------------------------------------------- */

/* View t of array a, as an array. */
static chx_array *as_array(chx_scope *s, const chx_array *a, const chx_tensor *t)
{
  return chxi_array_view(s, a, a->dtype, t->ndim, t->shape, t->strides, (int64_t)(t->byte_offset - a->t.byte_offset));
}

/* Host scalar a as a 0-d array on the call's device. */
static chx_array *scalar_on_device(chxi_call *c, const chx_array *a)
{
  chx_array *d = chxi_array_new(c->s, c->dev, a->dtype, 0, NULL);
  return d && chxi_upload(c->s, d->buf, 0, a->t.imm, chxi_dtypes[a->dtype].size) ? d : NULL;
}

static void absent(chx_tensor *t)
{
  memset(t, 0, sizeof *t);
  t->flags = CHX_T_ABSENT;
}

/* Sets t_in and t_out from the arrays, as the operator arranges them. `in` are the operands to use. */
static void arrange(chxi_call *c)
{
  for (int i = 0; i < c->n_in; i++) {
    if (chxi_likely(c->in[i] != NULL))
      c->t_in[i] = c->in[i]->t;
    else
      absent(&c->t_in[i]);
  }
  for (int o = 0; o < c->n_out; o++) c->t_out[o] = c->y[o]->t;
  if (c->op->arrange) c->op->arrange(c);
}

/* What the kernel asks for that the operands are not: on the device, dense. */
static bool adapt(chxi_call *c, const chxi_route *r)
{
  for (int i = 0; i < c->n_in; i++) {
    const chx_array *a = c->in[i];
    if (!a) continue;
    if (!a->buf && !(r->flags & CHX_K_SCALAR_OK)) {
      chx_array *d = scalar_on_device(c, a);
      if (!d) return false;
      c->in[i] = d;
      c->t_in[i] = d->t;
      if (c->op->kind == CHXI_ELEMENTWISE || c->op->id == CHXI_OP_map) chxi_arrange_broadcast(c, i, c->t_out[0].ndim, c->t_out[0].shape);
      else if (c->op->id == CHXI_OP_full) c->op->arrange(c);
      a = d;
    }
    if (r->flags & CHX_K_CONTIGUOUS && a->buf && !(c->t_in[i].flags & CHX_T_CONTIGUOUS)) {
      chx_array *v = as_array(c->s, a, &c->t_in[i]);
      chx_array *d = v ? chxi_dense(c->s, v) : NULL;
      if (!d) return false;
      c->in[i] = d;
      c->t_in[i] = d->t;
    }
  }
  return true;
}

static int widened(int dtype) { return dtype == CHX_F16 || dtype == CHX_BF16 ? CHX_F32 : dtype; }

/* f16 and bf16 operands as f32. */
static bool widen_operands(chxi_call *c)
{
  for (int i = 0; i < c->n_in; i++) {
    const chx_array *a = c->in[i];
    if (!a || widened(a->dtype) == a->dtype) continue;
    if (!(c->in[i] = chx_cast(c->s, a, CHX_F32))) return false;
  }
  return true;
}

/* And outputs. */
static bool widen(chxi_call *c)
{
  if (!widen_operands(c)) return false;
  for (int o = 0; o < c->n_out; o++)
    if (!(c->y[o] = chxi_array_new(c->s, c->dev, widened(c->out[o].dtype), c->out[o].ndim, c->out[o].shape))) return false;
  return true;
}

static bool narrow(chxi_call *c)
{
  for (int o = 0; o < c->n_out; o++)
    if (c->y[o]->dtype != c->out[o].dtype && !(c->y[o] = chx_cast(c->s, c->y[o], c->out[o].dtype))) return false;
  return true;
}

/* The bytes of b are there, of which the call does not write all. */
static bool rest_is_good(chx_scope *s, chxi_buffer *b)
{
  chxi_stream *q = chxi_recording(b->dev);
  return chxi_on_device(s, b) && chxi_buffer_good(s, b) && (!q || chxi_capture_touch(s, q, b, CHXI_READS));
}

/* Outputs: the caller's where the kernel may write them as they are, else new ones, which are copied later. */
static bool outputs(chxi_call *c, const chxi_route *r)
{
  for (int o = 0; o < c->n_out; o++) {
    chx_array *y = c->given[o];
    bool use = y && !(r->flags & CHX_K_CONTIGUOUS && !(y->t.flags & CHX_T_CONTIGUOUS));
    /* Of one buffer: the same elements, or others, which are no matter. */
    for (int i = 0; use && i < c->n_in && i < 8; i++)
      if (c->in[i] && c->in[i]->buf == y->buf && chxi_same_elements(c->in[i], y) &&
          !(r->k->alias_ok >> (i * 8 + o) & 1))
        use = false;
    /* What is written as a whole may be stale or lost; what is written in part may not. */
    bool whole = use && y->t.flags & CHX_T_CONTIGUOUS && (uint64_t)chx_nbytes(y) == y->buf->asked;
    if (use && !whole && !rest_is_good(c->s, y->buf)) return false;
    c->y[o] = use ? y : chxi_array_new(c->s, c->dev, c->out[o].dtype, c->out[o].ndim, c->out[o].shape);
    if (!c->y[o]) return false;
  }
  return true;
}

/* ---- the run ---------------------------------------------------------------------------------------------------------------- */

static bool before(chxi_call *c, chxi_stream *q)
{
  for (int i = 0; i < c->n_in; i++) {
    const chx_array *a = c->in[i];
    if (a && a->buf && (!chxi_on_device(c->s, a->buf) || (q && !chxi_before_read(c->s, q, a->buf)))) return false;
  }
  for (int o = 0; q && o < c->n_out; o++)
    if (!chxi_before_write(c->s, q, c->y[o]->buf)) return false;
  return true;
}

static bool after(chxi_call *c, chxi_stream *q)
{
  if (q && q->capture) return true; /* nothing has been done yet */
  for (int o = 0; o < c->n_out; o++) {
    chxi_buffer *b = c->y[o]->buf;
    atomic_store(&b->valid, CHXI_ON_DEVICE);
    if (q) chxi_after(q, b, true);
  }
  if (!q) return true;
  for (int i = 0; i < c->n_in; i++)
    if (c->in[i] && c->in[i]->buf) chxi_after(q, c->in[i]->buf, false);
  if (!q->n_ops++) q->first_op = c->op->name;
  q->last_op = c->op->name;
  return !chxi_sync_always || chxi_stream_wait(c->s, q);
}

/* A kernel that was compiled to know more of an attribute than we do finds 0 there. */
static void extend(void *attr, uint32_t size, uint32_t known)
{
  if (known > CHXI_ATTR_MAX) known = CHXI_ATTR_MAX;
  if (known > size) memset((char *)attr + size, 0, known - size);
}

/* The one-instruction program of an elementwise operator. */
static void one_step(const chx_op *op, chx_map_attr *p)
{
  *p = CHX_ATTR(map);
  p->program.n = 1;
  strncpy(p->program.step[0].op, op->name, sizeof p->program.step[0].op - 1);
  p->program.step[0].y = 1;
  p->program.step[0].z = 2;
}

static enum outcome fail(chxi_call *c, chx_status st)
{
  if (st == CHX_DECLINED) return DECLINED;
  chxi_thread *th = chxi_thread_self();
  if (th && th->fail_code == st && !strncmp(th->fail_text, c->op->name, strlen(c->op->name))) {
    chx_scope_fail(c->s, st, "%s (on %s)", th->fail_text, c->dev->spec); /* it names the operator itself */
    th->fail_code = CHX_OK;
  } else
    chxi_plugin_failed(c->s, st, "%s on %s", c->op->name, c->dev->spec);
  return FAILED;
}

static enum outcome launch(chxi_call *c, const chxi_route *r)
{
  const chx_kernel *k = r->k;
  chxi_device *dev = c->dev;
  chxi_stream *q = NULL;
  union { chx_map_attr attr; unsigned char room[CHXI_ATTR_MAX]; } program;
  struct scratch mem = {c->s, dev, NULL, NULL};
  if (chxi_unlikely(!dev->host) && (!chxi_stream_of(c->s, dev, &q) || !before(c, q))) return FAILED;
  chx_call call = {.size = sizeof call,
                   .op_version = (uint32_t)c->op->version,
                   .dev = dev->dev,
                   .queue = q ? q->q : NULL,
                   .in = c->t_in,
                   .out = c->t_out,
                   .n_in = (uint32_t)c->n_in,
                   .n_out = (uint32_t)c->n_out,
                   .attr = c->attr,
                   .host_state = &mem};
  if (chxi_unlikely(r->by_map)) {
    one_step(c->op, &program.attr);
    extend(&program, sizeof program.attr, r->attr_size);
    call.attr = &program;
  } else if (chxi_unlikely(r->attr_size > c->op->attr_size) && c->attr)
    extend(c->attr, c->op->attr_size, r->attr_size);
  if (chxi_unlikely(CHX_HAS(k, chx_kernel, accepts)) && k->accepts(k->self, &call)) return DECLINED;
  if (chxi_unlikely(q && q->capture) && !(k->flags & CHX_K_CAPTURABLE))
    return chxi_capture_excludes(c->s, dev, "the kernel of this operator"), FAILED;
  struct chxi_plan *plan = NULL;
  chxi_buffer *work = NULL;
  if (chxi_unlikely(CHX_HAS(k, chx_kernel, prepare))) {
    chx_status st = chxi_plan_get(c, k, &call, &plan);
    if (st) return fail(c, st);
    if (call.workspace_bytes) {
      if (!(work = chxi_buffer_new(c->s, dev, call.workspace_bytes))) return chxi_plan_done(plan, q), FAILED;
      call.workspace = work->host ? work->host : (char *)work->handle + work->offset;
    }
  }
  chxi_stream_lock(q);
  mem.q = q;
  chx_status st = k->run(k->self, &call);
  mem.q = NULL;
  chxi_stream_unlock(q);
  if (chxi_unlikely(mem.list != NULL)) end_scratch(&mem, q);
  if (work) {
    if (q) chxi_after(q, work, true);
    chxi_buffer_unref(work);
  }
  if (plan && q && q->capture) chxi_capture_plan(c->s, q, plan);
  else if (plan) chxi_plan_done(plan, q);
  if (chxi_unlikely(c->s->error != CHX_OK)) return FAILED; /* scratch was refused */
  if (chxi_unlikely(st)) return fail(c, st);
  if (chxi_likely(dev->host)) return DONE;
  return after(c, q) ? DONE : FAILED;
}

static enum outcome run(chxi_call *c, const chxi_route *r)
{
  chxi_buffer *used[CHXI_KERNEL_IN + CHXI_MAX_OUT];
  int n = 0;
  if (chxi_likely(!c->dev->mappable) || chxi_recording(c->dev)) return launch(c, r);
  for (int i = 0; i < c->n_in; i++)
    if (c->in[i] && c->in[i]->buf) used[n++] = c->in[i]->buf;
  for (int o = 0; o < c->n_out; o++) used[n++] = c->y[o]->buf;
  if (!chxi_pin(c->s, used, n)) return FAILED;
  enum outcome o = launch(c, r);
  chxi_unpin(used, n);
  return o;
}

static enum outcome adapted(chxi_call *c, const chxi_route *r)
{
  const chx_array *keep[CHXI_KERNEL_IN];
  chx_scope *s = c->s;
  chxi_device *home = s->dev;
  int mode = s->grad_mode;
  uint64_t t0 = chxi_now_ns(), t1 = t0, t2 = t0; /* around the kernel */
  memcpy(keep, c->in, (size_t)c->n_in * sizeof *keep);
  s->grad_mode = CHX_GRAD_OFF;
  s->dev = c->dev; /* where scalars are cast */
  enum outcome o = FAILED;
  if (r->widen ? widen(c) : outputs(c, r)) {
    arrange(c);
    /* A copy kernel that wants dense operands cannot make them. */
    if (c->op->id == CHXI_OP_copy && r->flags & CHX_K_CONTIGUOUS && c->in[0]->buf &&
        !(c->t_in[0].flags & CHX_T_CONTIGUOUS))
      o = DECLINED;
    else if (adapt(c, r)) {
      t1 = chxi_now_ns();
      o = run(c, r);
      t2 = chxi_now_ns();
      if (o == DONE && r->widen && !narrow(c)) o = FAILED;
    }
  }
  bool changed = r->widen;
  for (int i = 0; i < c->n_in; i++) changed |= c->in[i] != keep[i];
  memcpy(c->in, keep, (size_t)c->n_in * sizeof *keep);
  s->grad_mode = mode;
  s->dev = home;
  if (o == DONE && changed) c->route = CHX_ROUTE_ADAPTED;
  if (o == DONE && changed) {
    chxi_ledger_add(c->dev, c->op, CHX_ROUTE_ADAPTED, 0, chxi_now_ns() - t0,
                    r->widen ? "its kernel takes f32" : "its kernel takes dense operands on the device");
    chxi_ledger_kernel(c->dev, c->op, CHX_ROUTE_ADAPTED, t2 - t1);
  }
  return o;
}

/* By parts, which a kernel that takes f32 has declined: in f32 as well, and rounded once. */
static bool composed_wide(chxi_call *c, const char *reason)
{
  const chx_array *keep[CHXI_KERNEL_IN];
  int dtypes[CHXI_MAX_OUT];
  chx_scope *s = c->s;
  chxi_device *home = s->dev;
  int mode = s->grad_mode;
  memcpy(keep, c->in, (size_t)c->n_in * sizeof *keep);
  for (int o = 0; o < c->n_out; o++) {
    dtypes[o] = c->out[o].dtype;
    c->out[o].dtype = widened(dtypes[o]);
  }
  s->grad_mode = CHX_GRAD_OFF;
  s->dev = c->dev;
  bool done = widen_operands(c) && chxi_run_composed(c, true, reason);
  for (int o = 0; o < c->n_out; o++) c->out[o].dtype = dtypes[o];
  done = done && narrow(c);
  memcpy(c->in, keep, (size_t)c->n_in * sizeof *keep);
  s->grad_mode = mode;
  s->dev = home;
  return done;
}

/* Whether the kernel takes the operands as they are. */
static inline bool as_they_are(const chxi_call *c, const chxi_route *r)
{
  if (chxi_unlikely(r->widen || r->flags & CHX_K_CONTIGUOUS)) return false;
  if (chxi_likely(r->flags & CHX_K_SCALAR_OK)) return true;
  for (int i = 0; i < c->n_in; i++)
    if (c->in[i] && !c->in[i]->buf) return false;
  return true;
}

static bool run_routed(chxi_call *c, const chxi_route *first)
{
  if (chxi_unlikely(c->n_in > CHXI_KERNEL_IN))
    return chxi_bad(c, CHX_EARG, "%d operands were given, want at most %d", c->n_in, CHXI_KERNEL_IN);
  chxi_route r = *first;
  c->route = CHX_ROUTE_KERNEL;
  for (;;) {
    enum outcome o = FAILED;
    if (chxi_likely(as_they_are(c, &r))) {
      if (outputs(c, &r)) {
        arrange(c);
        o = run(c, &r);
      }
    } else
      o = adapted(c, &r);
    if (chxi_likely(o == DONE)) break;
    if (o == FAILED) return false;
    const bool wide = r.widen;
    r = chxi_route_next(c, r.k);
    r.reason = "its kernel declined the operands";
    if (r.kind == CHX_ROUTE_COMPOSED && wide) return composed_wide(c, r.reason);
    if (r.kind == CHX_ROUTE_COMPOSED) return chxi_run_composed(c, true, r.reason);
    if (r.kind == CHX_ROUTE_STAGED || r.kind == CHX_ROUTE_MAPPED) return chxi_run_staged(c, r.kind, r.reason);
    if (r.kind == CHX_ROUTE_NONE)
      return chxi_bad(c, CHX_EUNSUPPORTED, "the kernel on %s declined these operands, and there is no other way",
                      c->dev->spec);
  }
  for (int o = 0; o < c->n_out; o++)
    if (c->y[o] == c->given[o]) atomic_fetch_add_explicit(&c->y[o]->buf->version, 1, memory_order_relaxed);
  return true;
}

bool chxi_failed_in(chx_scope *s, const char *what)
{
  size_t n = strlen(s->message);
  bool said = strstr(s->message, what) || strstr(s->message, "(reported late"); /* and then by others */
  if (!said) snprintf(s->message + n, sizeof s->message - n, " (in %s)", what);
  return false;
}

bool chxi_run_kernel(chxi_call *c, const chxi_route *first)
{
  return chxi_likely(run_routed(c, first)) || chxi_failed_in(c->s, c->op->name);
}
