/* SPDX-License-Identifier: MIT
 * apply.c: the path of every operator call: check and infer, choose a route, run, record.
 *
 * There is no second path: named functions, gradients, decompositions and the layers above all come through here.
 */
#include "runtime.h"
#include <stdio.h>

/* ---- operands and attributes ------------------------------------------------------------------------------------- */

static bool operand_missing(chxi_call *c, int i)
{
  const chx_op *op = c->op;
  int named = i < op->n_in ? i : op->n_in - 1;
  return chxi_bad(c, CHX_EARG, "operand '%s' is NULL, want an array", op->inputs[named]);
}

static bool operands(chxi_call *c, const chx_array *const *in, int n_in)
{
  const chx_op *op = c->op;
  int most = op->variadic ? CHX_MAX_OPERANDS : op->n_in;
  if (chxi_unlikely(n_in < op->n_required || n_in > most || (n_in && !in))) {
    if (n_in < op->n_required && n_in >= 0) return operand_missing(c, n_in);
    return chxi_bad(c, CHX_EARG, "%d operands were given, want %d to %d", n_in, op->n_required, most);
  }
  chxi_device *dev = NULL;
  for (int i = 0; i < n_in; i++) {
    const chx_array *a = in[i];
    c->in[i] = a;
    if (chxi_unlikely(!a)) {
      if (i < op->n_required || op->variadic) return operand_missing(c, i);
      continue;
    }
    if (chxi_likely(a->buf != NULL)) {
      if (chxi_unlikely(dev && dev != a->buf->dev))
        return chxi_bad(c, CHX_EDEVICE, "operands are on %s and %s, want one device", dev->spec, a->buf->dev->spec);
      dev = a->buf->dev;
    }
  }
  for (int i = n_in; i < op->n_in; i++) c->in[i] = NULL;
  c->n_in = n_in < op->n_in ? op->n_in : n_in;
  c->dev = dev ? dev : c->s->dev;
  return true;
}

static void fill_defaults(const chx_op *op, unsigned char *room)
{
  memset(room, 0, op->attr_size);
  *(uint32_t *)(void *)room = op->attr_size;
  for (int i = 0; i < op->n_attrs; i++) {
    const chx_op_attr *f = &op->attrs[i];
    if (f->type == CHX_ATTR_F64)
      memcpy(room + f->offset, &f->def, sizeof f->def);
    else if (f->type != CHX_ATTR_INTS && f->type != CHX_ATTR_PROGRAM)
      memcpy(room + f->offset, &(int64_t){(int64_t)f->def}, sizeof(int64_t));
  }
}

static bool good_lists(chxi_call *c)
{
  for (int i = 0; i < c->op->n_attrs; i++) {
    const chx_op_attr *f = &c->op->attrs[i];
    int64_t n = *(int64_t *)(void *)(c->attr_room + f->offset);
    int64_t most = f->type == CHX_ATTR_INTS ? CHX_MAX_RANK : CHX_MAP_STEPS;
    if ((f->type == CHX_ATTR_INTS || f->type == CHX_ATTR_PROGRAM) && (n < 0 || n > most))
      return chxi_bad(c, CHX_EARG, "attribute '%s' has %lld values, want 0 to %lld", f->name, (long long)n,
                      (long long)most);
  }
  return true;
}

static bool attributes(chxi_call *c, const void *attr)
{
  const chx_op *op = c->op;
  c->attr = op->attr_size ? c->attr_room : NULL;
  if (!op->attr_size) return true;
  uint32_t size = attr ? *(const uint32_t *)attr : 0;
  if (size != op->attr_size) fill_defaults(op, c->attr_room);
  if (!attr) return true;
  if (size < 8)
    return chxi_bad(c, CHX_EARG, "the attribute's size is %u, want the size of its struct (CHX_ATTR makes it)", size);
  for (uint32_t i = op->attr_size; i < size; i++) /* a struct from a newer header: what we do not know must be unset */
    if (((const unsigned char *)attr)[i])
      return chxi_bad(c, CHX_EUNSUPPORTED,
                      "the attribute has %u bytes, of which this library knows %u, and sets others", size,
                      op->attr_size);
  memcpy(c->attr_room, attr, size < op->attr_size ? size : op->attr_size);
  *(uint32_t *)(void *)c->attr_room = op->attr_size;
  return good_lists(c);
}

/* ---- outputs ------------------------------------------------------------------------------------------------------- */

/* The bytes that a's elements span, as [lo, hi) from the start of its buffer's handle. */
static void span(const chx_array *a, int64_t *lo, int64_t *hi)
{
  int size = chxi_dtypes[a->dtype].size;
  *lo = *hi = (int64_t)a->t.byte_offset;
  if (!a->size) return;
  for (int i = 0; i < a->t.ndim; i++) *(a->strides[i] < 0 ? lo : hi) += (a->shape[i] - 1) * a->strides[i] * size;
  *hi += size;
}

bool chxi_same_elements(const chx_array *a, const chx_array *b)
{
  if (a->dtype != b->dtype || a->t.byte_offset != b->t.byte_offset ||
      !chxi_same_shape(a->t.ndim, a->shape, b->t.ndim, b->shape))
    return false;
  for (int i = 0; i < a->t.ndim; i++)
    if (a->shape[i] > 1 && a->strides[i] != b->strides[i]) return false;
  return true;
}

/* Whether output `o` given by the caller may be written. */
static bool good_given(chxi_call *c, int o, bool recorded)
{
  const chx_array *y = c->given[o];
  struct chxi_out *w = &c->out[o];
  char a[128], b[128];
  if (!y->buf) return chxi_bad(c, CHX_EARG, "the output is a scalar, want an array on a device");
  if (y->buf->dev != c->dev)
    return chxi_bad(c, CHX_EDEVICE, "the output is on %s, want %s", y->buf->dev->spec, c->dev->spec);
  if (y->dtype != w->dtype)
    return chxi_bad(c, CHX_EDTYPE, "the output's dtype is %s, want %s", chx_dtype_name(y->dtype),
                    chx_dtype_name(w->dtype));
  if (!chxi_same_shape(y->t.ndim, y->shape, w->ndim, w->shape))
    return chxi_bad(c, CHX_ESHAPE, "the output's shape is %s, want %s", chxi_shape_text(a, y->t.ndim, y->shape),
                    chxi_shape_text(b, w->ndim, w->shape));
  for (int k = 0; k < o; k++)
    if (c->given[k] == y) return chxi_bad(c, CHX_EARG, "outputs %d and %d are one array, want two", k, o);
  for (int i = 0; i < y->t.ndim; i++)
    if (y->shape[i] > 1 && !y->strides[i])
      return chxi_bad(c, CHX_EARG, "the output is broadcast along axis %d, want distinct elements", i);
  if (recorded || (c->s->grad_mode && y->mask & c->s->active))
    return chxi_bad(c, CHX_EARG,
                    "the output or an operand takes part in an active graph, want an in-place form outside of it");
  for (int i = 0; i < c->n_in; i++) {
    const chx_array *x = c->in[i];
    int64_t lo, hi, lo2, hi2;
    if (!x || x->buf != y->buf || chxi_same_elements(x, y)) continue;
    span(x, &lo, &hi);
    span(y, &lo2, &hi2);
    if (lo < hi2 && lo2 < hi)
      return chxi_bad(c, CHX_EARG, "the output overlaps operand %d, want the same elements or none", i);
  }
  return true;
}

/* Puts results that were made elsewhere into the outputs that the caller gave. */
static bool deliver(chxi_call *c)
{
  for (int o = 0; o < c->n_out; o++) {
    if (!c->given[o] || c->y[o] == c->given[o]) continue;
    bool copying = c->op->id == CHXI_OP_copy || c->op->id == CHXI_OP_cast; /* what filling is done with */
    if (!(copying ? chxi_fill_staged : chxi_fill_from)(c->s, c->given[o], c->y[o])) return false;
    c->y[o] = c->given[o];
  }
  return true;
}

/* A result that is an operand or another result, or already has a maker, gets a header of its own, to hang this call's
 * node on. */
static bool own_headers(chxi_call *c)
{
  for (int o = 0; o < c->n_out; o++) {
    chx_array *y = c->y[o];
    bool foreign = y->node != NULL;
    for (int i = 0; i < c->n_in; i++) foreign |= y == c->in[i];
    for (int k = 0; k < o; k++) foreign |= y == c->y[k];
    if (!foreign) continue;
    chx_array *v = c->y[o] = chxi_array_view(c->s, y, y->dtype, y->t.ndim, y->shape, y->strides, 0);
    if (!v) return false;
    if (c->op->grad || !c->s->grad_mode || !(y->mask & c->s->active)) continue;
    v->node = y->node; /* recorded by its parts: it stays what they made */
    v->node_out = y->node_out;
    v->mask = y->mask;
    chxi_node_ref(v->node);
  }
  return true;
}

/* ---- the path ---------------------------------------------------------------------------------------------------------- */

/* An error inside of a composite names the part that failed; the user called the composite. */
static bool in_composite(chxi_call *c)
{
  chx_scope *s = c->s;
  char inner[sizeof s->message];
  if (strstr(s->message, c->op->name)) return false;
  memcpy(inner, s->message, sizeof inner);
  snprintf(s->message, sizeof s->message, "%s: %.*s", c->op->name, (int)(sizeof inner - 64), inner);
  return false;
}

bool chxi_run_composed(chxi_call *c, bool count, const char *reason)
{
  chx_scope *s = c->s;
  c->route = CHX_ROUTE_COMPOSED;
  int mode = s->grad_mode;
  uint64_t t0 = count ? chxi_now_ns() : 0;
  if (c->op->grad) s->grad_mode = CHX_GRAD_OFF; /* the composite is recorded as one */
  for (int o = 0; o < c->n_out; o++) c->y[o] = NULL;
  chxi_device *home = s->dev;
  s->dev = c->dev; /* what it creates, it creates there */
  c->op->decompose(s, c, c->y);
  s->dev = home;
  s->grad_mode = mode;
  if (s->error) return in_composite(c);
  for (int o = 0; o < c->n_out; o++)
    if (!c->y[o]) return chxi_bad(c, CHX_EFAILED, "its decomposition made no output %d", o);
  if (count) chxi_ledger_add(c->dev, c->op, CHX_ROUTE_COMPOSED, 0, chxi_now_ns() - t0, reason);
  return own_headers(c);
}

static bool run_view(chxi_call *c)
{
  c->route = CHX_ROUTE_VIEW;
  c->y[0] = c->op->view(c);
  if (!c->y[0] && !c->s->error) {
    c->in[0] = chx_copy(c->s, c->in[0]);
    if (c->in[0]) c->y[0] = c->op->view(c);
  }
  return c->y[0] != NULL;
}

static bool run_route(chxi_call *c, const chxi_route *r)
{
  if (chxi_likely(r->kind == CHX_ROUTE_KERNEL)) return chxi_run_kernel(c, r);
  if (r->kind == CHX_ROUTE_COMPOSED) return chxi_run_composed(c, true, r->reason);
  if (r->kind == CHX_ROUTE_STAGED || r->kind == CHX_ROUTE_MAPPED)
    return chxi_run_staged(c, r->kind, r->reason) || chxi_failed_in(c->s, c->op->name);
  return chxi_bad(c, CHX_EUNSUPPORTED, "no kernel for %s on %s (%s), want another dtype or device",
                  chx_dtype_name(chxi_call_dtype(c)), c->dev->spec, r->reason ? r->reason : "and no decomposition");
}

static bool run_routed(chxi_call *c)
{
  const chxi_route *r = chxi_route_find(c);
  if (chxi_likely(!c->s->long_work) || !chxi_is_long(c, r)) return run_route(c, r);
  chxi_route kept = *r;
  ((chxi_route *)r)->fresh = false; /* the thread's own */
  chx_long_work begun = chxi_long_begin(c->s);
  bool done = run_route(c, &kept);
  return chxi_long_end(c->s, begun) && done;
}

static chx_status run(chxi_call *c)
{
  const chx_op *op = c->op;
  chx_scope *s = c->s;
  uint64_t mask = 0;
  for (int i = 0; i < c->n_in; i++)
    if (c->in[i]) mask |= c->in[i]->mask;
  mask &= s->active;
  bool recorded = mask && s->grad_mode && (op->grad || op->decompose);
  for (int o = 0; o < c->n_out; o++)
    if (chxi_unlikely(c->given[o] != NULL) && !good_given(c, o, recorded)) return s->error;
  if (chxi_unlikely(c->given[0] != NULL) && (op->id == CHXI_OP_copy || op->id == CHXI_OP_cast) &&
      c->in[0]->buf == c->given[0]->buf && chxi_same_elements(c->in[0], c->given[0])) { /* onto itself */
    c->y[0] = c->given[0];
    c->route = CHX_ROUTE_VIEW;
    return CHX_OK;
  }
  bool done, by_parts = chxi_unlikely(recorded && !op->grad);
  if (op->kind == CHXI_VIEW)
    done = run_view(c);
  else if (by_parts)
    done = chxi_run_composed(c, false, NULL);
  else
    done = run_routed(c);
  if (!done || !deliver(c)) return s->error ? s->error : CHX_EFAILED;
  if (recorded && !by_parts && !chxi_record(c, mask)) return s->error;
  return CHX_OK;
}

static chx_status refuse(chx_scope *s, chx_array **out, int n_out)
{
  for (int o = 0; out && o < n_out; o++) out[o] = NULL;
  return s ? s->error : CHX_EARG;
}

chx_status chx_apply(chx_scope *s, const chx_op *op, const chx_array *const *in, int n_in, const void *attr,
                     chx_array **out, int n_out)
{
  if (chxi_unlikely(!chxi_ok(s))) return refuse(s, out, n_out);
  if (chxi_unlikely(!op || !out || n_out < 1 || n_out > op->n_out)) {
    if (!op) chx_scope_fail(s, CHX_EARG, "apply: the operator is NULL, want one of the table");
    else if (!out) chx_scope_fail(s, CHX_EARG, "%s: the list of outputs is NULL, want a place for each", op->name);
    else chx_scope_fail(s, CHX_EARG, "%s: %d outputs were asked for, want 1 to %d", op->name, n_out, op->n_out);
    return refuse(s, out, out ? n_out : 0);
  }
  chxi_call c;
  size_t mark = s->n;
  c.s = s;
  c.op = op;
  c.n_out = op->n_out;
  for (int o = 0; o < c.n_out; o++) c.given[o] = o < n_out ? out[o] : NULL;
  s->depth++;
  const bool watched = chxi_unlikely(atomic_load_explicit(&chxi_watched, memory_order_relaxed) != 0);
  bool done = operands(&c, in, n_in) && attributes(&c, attr) && op->infer(&c);
  const bool told = watched && done;
  if (chxi_unlikely(told)) done = chxi_observe(&c, 0);
  done = done && run(&c) == CHX_OK;
  if (chxi_unlikely(told)) done = chxi_observe(&c, done ? 1 : -1) && done;
  s->depth--;
  if (watched && done && !s->depth && chxi_nans_matter()) done = chxi_results_nan_free(&c, n_out);
  if (chxi_unlikely(!done)) {
    if (chxi_places() && !s->depth) chxi_add_arrays(s, op->inputs, op->n_in, in, n_in);
    chx_scope_rewind(s, mark, NULL);
    return refuse(s, out, n_out);
  }
  if (chxi_unlikely(s->n != mark + 1 || c.given[0] || op->n_out > 1)) chx_scope_rewind_all(s, mark, c.y, n_out);
  for (int o = 0; o < n_out; o++) out[o] = c.y[o];
  if (chxi_unlikely(s->flags & CHX_SCOPE_OWNED && !s->depth)) s->n = mark;
  return CHX_OK;
}

chx_array *chxi_apply1(chx_scope *s, const chx_op *op, const void *attr, int n_in, const chx_array *const *in)
{
  chx_array *y = NULL;
  chx_apply(s, op, in, n_in, attr, &y, 1);
  return y;
}

chx_array *chxi_same(chx_scope *s, const chx_array *a)
{
  return s->flags & CHX_SCOPE_OWNED && !s->depth ? chx_keep(a) : (chx_array *)a;
}

bool chxi_fill_from(chx_scope *s, chx_array *y, const chx_array *a)
{
  int mode = s->grad_mode;
  chx_array *out = y;
  s->grad_mode = CHX_GRAD_OFF;
  s->depth++;
  chx_copy_into(s, out, a);
  s->depth--;
  s->grad_mode = mode;
  return !s->error;
}
