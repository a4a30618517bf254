/* SPDX-License-Identifier: MIT
 * function.c: functions that a program brings into the graph, with a gradient of their own (chx_connect).
 *
 * Such a function is a node as an operator's call is. Its entry is a chx_op of its own in the object that the node owns, so that
 * backward.c, its messages and its checks know no other kind.
 */
#include "runtime.h"
#include <stdio.h>

/* ---- backward ------------------------------------------------------------------------------------------------------------ */

static void check_gradient(chx_scope *s, const chx_node *n, int i, const chx_array *g)
{
  const chxi_meta *m = &n->in[i];
  const char *name = n->op->name;
  char a[128], b[128];
  if (!chxi_same_shape(g->t.ndim, g->shape, m->ndim, m->shape))
    chx_scope_fail(s, CHX_ESHAPE, "backward of %s: the gradient of input %d has shape %s, want the input's %s", name, i,
                   chxi_shape_text(a, g->t.ndim, g->shape), chxi_shape_text(b, m->ndim, m->shape));
  else if (g->dtype != m->dtype)
    chx_scope_fail(s, CHX_EDTYPE, "backward of %s: the gradient of input %d is %s, want the input's %s", name, i,
                   chx_dtype_name(g->dtype), chx_dtype_name(m->dtype));
  else if (chxi_device_of(g) != m->dev)
    chx_scope_fail(s, CHX_EDEVICE, "backward of %s: the gradient of input %d is on %s, want the input's %s", name, i,
                   g->buf ? g->buf->dev->spec : "no device", m->dev->spec);
}

/* The entry's gradient. */
static void grad_function(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chxi_function *f = (const chxi_function *)n->op;
  unsigned char need[CHX_MAX_OPERANDS];
  for (int i = 0; i < n->n_in; i++) need[i] = n->need[i];
  const chx_function_call c = {.n_x = n->n_in,
                               .n_y = n->n_out,
                               .x = (const chx_array *const *)n->x,
                               .y = (const chx_array *const *)n->y,
                               .gy = (const chx_array *const *)n->gy,
                               .need = need};
  f->f.backward(f->f.ctx, s, &c, gx);
  for (int i = 0; i < n->n_in && !s->error; i++)
    if (need[i] && gx[i]) check_gradient(s, n, i, gx[i]);
}

/* ---- connecting ------------------------------------------------------------------------------------------------------------ */

static bool good_arguments(chx_scope *s, const chx_function *f, const chx_array *const *xs, int n_x,
                           const chx_array *const *ys, int n_y, chx_array **out)
{
  if (!chxi_ok(s)) return false;
  if (!f || f->size < sizeof *f || !f->name || !f->backward)
    return chx_scope_fail(s, CHX_EARG, "connect: %s", !f ? "the function is NULL, want one"
                          : f->size < sizeof *f ? "the function's size is not that of its struct, want sizeof(chx_function)"
                                                : "the function has no name or no backward, want both"),
           false;
  if (n_x < 0 || n_x > CHX_MAX_OPERANDS || n_y < 1 || n_y > CHX_MAX_OPERANDS || (n_x && !xs) || !ys || !out)
    return chx_scope_fail(s, CHX_EARG, "%s: %d inputs and %d outputs, want 0 to %d and 1 to %d, with a list of each", f->name,
                          n_x, n_y, CHX_MAX_OPERANDS, CHX_MAX_OPERANDS),
           false;
  for (int k = 0; k < n_y; k++)
    if (!ys[k] || !ys[k]->buf)
      return chx_scope_fail(s, CHX_EARG, "%s: output %d is %s, want an array on a device", f->name, k,
                            ys[k] ? "a scalar of no device" : "NULL"),
             false;
  return true;
}

static chxi_function *function_new(chx_scope *s, const chx_function *f)
{
  const size_t n = strlen(f->name) + 1, bytes = sizeof(chxi_function) + n;
  chxi_function *r = chxi_alloc(bytes);
  if (!r) return chx_scope_fail(s, CHX_ENOMEM, "%s: out of memory for a function", f->name), NULL;
  memset(r, 0, sizeof *r);
  memcpy(r->name, f->name, n);
  r->bytes = bytes;
  r->f = *f;
  r->f.name = r->op.name = r->name;
  r->op.grad = grad_function;
  return r;
}

/* The graphs to be recorded in; 0: none. */
static uint64_t graphs(const chx_scope *s, const chx_array *const *xs, int n_x, const chx_array *const *ys, int n_y)
{
  uint64_t mask = 0;
  bool floats = false;
  for (int i = 0; i < n_x; i++) mask |= xs[i] ? xs[i]->mask : 0;
  for (int k = 0; k < n_y; k++) floats |= chxi_is_float(ys[k]->dtype);
  return s->grad_mode && floats ? mask & s->active : 0;
}

chx_status chx_connect(chx_scope *s, const chx_function *f, const chx_array *const *xs, int n_x, const chx_array *const *ys,
                       int n_y, chx_array **out)
{
  for (int k = 0; out && k < n_y; k++) out[k] = NULL;
  chxi_function *held = NULL; /* where it is not recorded */
  size_t mark = chx_scope_mark(s);
  chx_array *y[CHX_MAX_OPERANDS];
  bool fine = good_arguments(s, f, xs, n_x, ys, n_y, out), kept = false;
  for (int k = 0; k < n_y && fine; k++)
    fine = (y[k] = chxi_array_view(s, ys[k], ys[k]->dtype, ys[k]->t.ndim, ys[k]->shape, ys[k]->strides, 0)) != NULL;
  const uint64_t mask = fine ? graphs(s, xs, n_x, ys, n_y) : 0;
  if (mask) {
    held = function_new(s, f);
    fine = kept = held && chxi_record_function(s, held, xs, n_x, y, n_y, mask);
    if (held && !kept) chxi_free(held, held->bytes);
  }
  if (!kept && f && f->size >= sizeof *f && f->free) f->free(f->ctx);
  if (!fine) {
    chx_scope_rewind(s, mark, NULL);
    return chx_scope_error(s);
  }
  for (int k = 0; k < n_y; k++) out[k] = y[k];
  if (s->flags & CHX_SCOPE_OWNED && !s->depth) s->n = mark;
  return CHX_OK;
}

int chx_function_is_held_by(const chx_array *const *ys, int n)
{
  const chxi_node *node = ys && n > 0 && ys[0] ? ys[0]->node : NULL;
  if (!node || !node->user || atomic_load(&node->refs) != n) return 0;
  for (int k = 0; k < n; k++)
    if (!ys[k] || ys[k]->node != node || atomic_load(&ys[k]->refs) != 1) return 0;
  return 1;
}
