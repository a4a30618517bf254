/* SPDX-License-Identifier: MIT
 * backward.c: gradients: chx_backward adds to leaves, chx_grad returns them.
 *
 * Nodes are taken from a heap by rank, greatest first; a node's rank is greater than its parents', so when one is taken
 * all its gradients have come. What is pending is found by a hash table; both hold the frontier alone, so memory does not
 * grow with the graph's depth. A gradient function is made of public operators. Its operators are not recorded, unless
 * the caller asked for it (CHX_CREATE_GRAPH) or a graph outside of this one (a smaller backprop id) is active.
 */
#include "runtime.h"
#include <stdio.h>

typedef struct pending { /* a node whose gradients are coming */
  chxi_node *node;       /* a reference */
  chx_array *g[];        /* by output; references */
} pending;

struct cell { chxi_node *node; pending *p; }; /* p NULL: only marked (see reach) */

struct table { struct cell *cells; size_t cap, n; };

typedef struct walk {
  chx_scope *s;
  int id;
  unsigned flags;
  uint64_t bit;
  bool record;        /* gradients' operators may be recorded */
  pending **heap;
  size_t n, cap;
  struct table map;
  struct table reach; /* chx_grad: nodes on a path to an input */
  const chx_array *const *xs; /* chx_grad's inputs */
  int n_x;
  chx_array **gxs;
} walk;

/* ---- hash table: open addressing, keyed by node ------------------------------------------------------------------------- */

static size_t slot_of(const struct table *t, const chxi_node *n)
{
  size_t i = ((uintptr_t)n >> 6) * 0x9e3779b97f4a7c15u >> 20 & (t->cap - 1);
  while (t->cells[i].node && t->cells[i].node != n) i = (i + 1) & (t->cap - 1);
  return i;
}

static struct cell *table_get(const struct table *t, const chxi_node *n)
{
  if (!t->cap) return NULL;
  struct cell *c = &t->cells[slot_of(t, n)];
  return c->node ? c : NULL;
}

static struct cell *table_put(struct table *t, chxi_node *n)
{
  if (2 * t->n >= t->cap) {
    size_t cap = t->cap ? 2 * t->cap : 32;
    struct table bigger = {chxi_alloc(cap * sizeof *t->cells), cap, t->n};
    if (!bigger.cells) return NULL;
    memset(bigger.cells, 0, cap * sizeof *t->cells);
    for (size_t i = 0; i < t->cap; i++)
      if (t->cells[i].node) bigger.cells[slot_of(&bigger, t->cells[i].node)] = t->cells[i];
    chxi_free(t->cells, t->cap * sizeof *t->cells);
    *t = bigger;
  }
  struct cell *c = &t->cells[slot_of(t, n)];
  if (!c->node) t->n++;
  c->node = n;
  return c;
}

static void table_remove(struct table *t, const chxi_node *n)
{
  size_t hole = slot_of(t, n);
  if (!t->cells[hole].node) return;
  t->n--;
  for (size_t i = hole;;) { /* move back what was displaced past the hole */
    i = (i + 1) & (t->cap - 1);
    if (!t->cells[i].node) break;
    size_t home = ((uintptr_t)t->cells[i].node >> 6) * 0x9e3779b97f4a7c15u >> 20 & (t->cap - 1);
    if (((i - home) & (t->cap - 1)) >= ((i - hole) & (t->cap - 1))) {
      t->cells[hole] = t->cells[i];
      hole = i;
    }
  }
  t->cells[hole] = (struct cell){0};
}

/* ---- heap by rank -------------------------------------------------------------------------------------------------------- */

static bool heap_push(walk *w, pending *p)
{
  if (w->n == w->cap) {
    size_t cap = w->cap ? 2 * w->cap : 32;
    pending **heap = chxi_grow(w->heap, w->cap * sizeof *heap, cap * sizeof *heap);
    if (!heap) return false;
    w->heap = heap;
    w->cap = cap;
  }
  size_t i = w->n++;
  while (i && w->heap[(i - 1) / 2]->node->rank < p->node->rank) {
    w->heap[i] = w->heap[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  w->heap[i] = p;
  return true;
}

static pending *heap_pop(walk *w)
{
  pending *top = w->heap[0], *p = w->heap[--w->n];
  size_t i = 0;
  for (;;) {
    size_t k = 2 * i + 1;
    if (k >= w->n) break;
    if (k + 1 < w->n && w->heap[k + 1]->node->rank > w->heap[k]->node->rank) k++;
    if (w->heap[k]->node->rank <= p->node->rank) break;
    w->heap[i] = w->heap[k];
    i = k;
  }
  if (w->n) w->heap[i] = p;
  return top;
}

static int n_gradients(const chxi_node *n) { return n->n_out ? n->n_out : 1; /* a leaf */ }

static size_t pending_bytes(const chxi_node *n) { return sizeof(pending) + (size_t)n_gradients(n) * sizeof(chx_array *); }

static void pending_free(pending *p)
{
  const size_t bytes = pending_bytes(p->node);
  for (int o = 0; o < n_gradients(p->node); o++) chx_release(p->g[o]);
  chxi_node_unref(p->node);
  chxi_free(p, bytes);
}

/* ---- gradients come -------------------------------------------------------------------------------------------------------- */

static bool no_memory(walk *w) { return chx_scope_fail(w->s, CHX_ENOMEM, "backward: out of memory"), false; }

/* g as a gradient of something with this shape and dtype: summed over broadcast axes, or broadcast, and cast. */
static chx_array *fit(chx_scope *s, chx_array *g, int dtype, int ndim, const int64_t *shape)
{
  if (chxi_unlikely(!chxi_same_shape(g->t.ndim, g->shape, ndim, shape))) {
    int extra = g->t.ndim - ndim, axes[CHX_MAX_RANK], n = 0;
    bool sums = extra > 0;
    for (int i = 0; i < g->t.ndim; i++) {
      int64_t want = i < extra ? 0 : shape[i - extra];
      if (i < extra || (want == 1 && g->shape[i] != 1)) {
        axes[n++] = i;
        sums = true;
      }
    }
    if (sums) {
      g = chx_sum(s, g, n, axes, 1);
      if (g && extra > 0) g = chx_reshape(s, g, ndim, g->shape + extra);
    }
    if (g && !chxi_same_shape(g->t.ndim, g->shape, ndim, shape)) g = chx_broadcast_to(s, g, ndim, shape);
  }
  return g && g->dtype != dtype ? chx_cast(s, g, dtype) : g;
}

/* Adds g (already fit) to what is pending for (node, out). */
static bool add_pending(walk *w, chxi_node *node, int out, chx_array *g)
{
  struct cell *c = table_get(&w->map, node);
  if (!c) {
    pending *p = chxi_alloc(pending_bytes(node));
    if (!p) return no_memory(w);
    memset(p, 0, pending_bytes(node));
    p->node = node;
    chxi_node_ref(node);
    p->g[out] = chx_keep(g);
    if (!heap_push(w, p)) return pending_free(p), no_memory(w);
    if (!(c = table_put(&w->map, node))) return no_memory(w);
    c->p = p;
    return true;
  }
  chx_array **sum = &c->p->g[out];
  if (!*sum) {
    *sum = chx_keep(g);
    return true;
  }
  chx_array *old = *sum;
  bool ours = !w->record && atomic_load(&old->refs) == 1 && atomic_load(&old->vrefs) == 1 && old->buf &&
              atomic_load(&old->buf->refs) == 1 && old->t.flags & CHX_T_CONTIGUOUS;
  if (ours) return chx_add_into(w->s, old, old, g) != NULL;
  chx_array *total = chx_add(w->s, old, g);
  if (!total) return false;
  *sum = chx_keep(total);
  chx_release(old);
  return true;
}

static bool on_path(const walk *w, const chxi_node *n) { return !w->xs || table_get(&w->reach, n); }

static bool wanted(const walk *w, const chxi_edge *e)
{
  return e->node && atomic_load_explicit(&e->node->mask, memory_order_relaxed) & w->bit && on_path(w, e->node);
}

/* ---- one node ----------------------------------------------------------------------------------------------------------------- */

/* "operand 'x'", "result 2": what is saved at `at`. */
static const char *saved_name(char text[80], const chxi_node *n, int at)
{
  const bool input = at < n->n_in;
  const int i = input ? at : at - n->n_in;
  if (n->user) snprintf(text, 80, "%s %d", input ? "input" : "output", i);
  else snprintf(text, 80, input ? "operand '%s'" : "result '%s'",
                input ? n->op->inputs[i < n->op->n_in ? i : n->op->n_in - 1] : n->op->outputs[i]);
  return text;
}

/* A saved value as an operand. Where nothing is recorded, the value's own header serves an operator's gradient, borrowed. */
static bool restore(walk *w, chxi_node *n, int at, chxi_edge maker, chx_array **out)
{
  chx_scope *s = w->s;
  chx_array *v = n->saved[at].v;
  *out = NULL;
  if (!v) return true;
  if (v->buf && atomic_load_explicit(&v->buf->version, memory_order_relaxed) != n->saved[at].version) {
    char name[80], text[128];
    chx_scope_fail(s, CHX_EARG,
                   "backward of %s: its %s %s was overwritten after it was saved (version %u, saved %u), want a "
                   "copy before the in-place form",
                   n->op->name, saved_name(name, n, at), chxi_shape_text(text, v->t.ndim, v->shape),
                   atomic_load(&v->buf->version), n->saved[at].version);
    return false;
  }
  if (!w->record && !n->user) return *out = v, true;
  chx_array *a = chxi_array_view(s, v, v->dtype, v->t.ndim, v->shape, v->strides, 0);
  if (!a) return false;
  if (w->record && maker.node) {
    a->node = maker.node;
    a->node_out = (int32_t)maker.out;
    a->mask = atomic_load(&maker.node->mask) & atomic_load(&n->mask);
    chxi_node_ref(maker.node);
  }
  return *out = a, true;
}

static bool run_hooks(walk *w, pending *p)
{
  for (chxi_hook *h = p->node->hooks; h; h = h->next) {
    chx_array **g = &p->g[h->out], *r = *g ? h->fn(h->ctx, w->s, *g) : NULL;
    if (w->s->error) return false;
    if (!r || r == *g) continue;
    if (!chxi_same_shape(r->t.ndim, r->shape, (*g)->t.ndim, (*g)->shape) || r->dtype != (*g)->dtype)
      return chx_scope_fail(
                 w->s, CHX_ESHAPE,
                 "backward: a hook returned a gradient of another shape or dtype, want those of the one it was given"),
             false;
    chx_keep(r);
    chx_release(*g);
    *g = r;
  }
  return true;
}

/* Hands what came for p to chx_grad's inputs that are made by it. */
static void deliver_inputs(walk *w, pending *p)
{
  for (int i = 0; i < w->n_x; i++)
    if (w->xs && w->xs[i]->node == p->node && p->g[w->xs[i]->node_out]) {
      chx_release(w->gxs[i]);
      w->gxs[i] = chx_keep(p->g[w->xs[i]->node_out]);
    }
}

/* While the gradient is computed the lock of a binding may be given away, and another thread's backward spend the node: saved values that
 * are borrowed are held meanwhile. */
static void hold(chx_array *const *values, int n)
{
  for (int i = 0; i < n; i++)
    if (values[i]) chxi_value_ref(values[i]);
}

static void let_go(chx_array *const *values, int n)
{
  for (int i = 0; i < n; i++) chxi_value_unref(values[i]);
}

static bool gradients(walk *w, pending *p)
{
  chx_scope *s = w->s;
  chxi_node *n = p->node;
  const chx_op *op = n->op;
  bool saved = false;
  int n_in = n->n_in, n_out = n->n_out;
  if (atomic_load(&n->spent) & w->bit)
    return chx_scope_fail(
               s, CHX_EARG,
               "backward of %s: its saved values were freed by an earlier backward, want CHX_RETAIN_GRAPH there",
               n->op->name),
           false;
  chx_array *values[2 * CHX_MAX_OPERANDS], *gx[CHX_MAX_OPERANDS];
  bool need[CHX_MAX_OPERANDS], any = false;
  for (int i = 0; i < n_in; i++) {
    gx[i] = NULL;
    any |= need[i] = wanted(w, &n->in[i]);
  }
  if (!any) return true;
  for (int i = 0; i < n_in + n_out; i++)
    if (!restore(w, n, i, i < n_in ? n->in[i] : (chxi_edge){n, (uint32_t)(i - n_in)}, &values[i])) return false;
    else saved |= values[i] != NULL;
  const bool held = saved && !w->record && s->long_work;
  if (held) hold(values, n_in + n_out);
  chx_node view = {.op = op,
                   .attr = n->attr,
                   .n_in = n_in,
                   .n_out = n_out,
                   .gy = p->g,
                   .x = values,
                   .y = values + n_in,
                   .in = n->meta,
                   .out = n->meta + n_in,
                   .need = need};
  chxi_device *home = s->dev;
  s->dev = view.out[0].dev; /* what a gradient creates, it creates there */
  op->grad(s, &view, gx);
  for (int i = 0; i < n_in && !s->error; i++) {
    if (!gx[i] || !need[i]) continue;
    for (int k = 0; k < n_in + n_out && gx[i]; k++) /* a borrowed header must not be kept */
      if (!w->record && gx[i] == values[k]) gx[i] = chx_detach(s, gx[i]);
    if (gx[i] && !gx[i]->buf) gx[i] = chx_copy(s, gx[i]); /* a scalar */
    if (gx[i]) gx[i] = fit(s, gx[i], n->meta[i].dtype, n->meta[i].ndim, n->meta[i].shape);
    if (chxi_nans_matter() && gx[i] && !chxi_gradient_nan_free(s, op, i, gx[i])) break;
    if (gx[i] && n->in[i].node) /* else it was cut off meanwhile */
      add_pending(w, n->in[i].node, (int)n->in[i].out, gx[i]);
  }
  s->dev = home;
  if (held) let_go(values, n_in + n_out);
  if (!s->error && !(w->flags & (CHX_RETAIN_GRAPH | CHX_CREATE_GRAPH))) chxi_node_spend(n, w->bit);
  return !s->error;
}

static bool step(walk *w)
{
  chx_scope *s = w->s;
  pending *p = heap_pop(w);
  chxi_node *n = p->node;
  size_t mark = s->n;
  table_remove(&w->map, n);
  bool fine = run_hooks(w, p);
  if (fine && w->xs) deliver_inputs(w, p);
  if (fine && chxi_is_leaf(n, w->id)) {
    if (!w->xs && (n->leaf >> w->id & 1 || !n->n_in)) /* a leaf; not a node that unchain cut off */
      for (int o = 0; o < n_gradients(n) && fine; o++)
        if (p->g[o]) fine = chxi_leaf_add(s, n, w->id, p->g[o], !w->record);
  } else if (fine)
    fine = gradients(w, p);
  if (chxi_unlikely(!fine)) chxi_add_place(s, n->place);
  chx_scope_rewind(s, mark, NULL);
  pending_free(p);
  return fine;
}

/* ---- which nodes lead to chx_grad's inputs ------------------------------------------------------------------------------------ */

enum { UNSEEN, OPEN, NO, YES };

/* Depth first from each y with an explicit stack; w->reach gets the nodes from which an input can be reached. */
static bool mark_paths(walk *w, const chx_array *const *ys, int n_y)
{
  struct frame { chxi_node *n; int i; bool yes; } *stack = NULL;
  size_t depth = 0, cap = 0;
  struct table seen = {0};
  uint64_t least = UINT64_MAX;
  bool fine = true;
  for (int i = 0; i < w->n_x; i++)
    if (w->xs[i]->node && w->xs[i]->node->rank < least) least = w->xs[i]->node->rank;
  for (int k = 0; k < n_y && fine; k++) {
    chxi_node *next = ys[k]->node;
    while ((next || depth) && fine) {
      if (next) { /* enter */
        struct cell *c = table_get(&seen, next);
        if (!c) {
          if (depth == cap) {
            size_t more = cap ? 2 * cap : 64;
            void *bigger = chxi_grow(stack, cap * sizeof *stack, more * sizeof *stack);
            if (!bigger) { fine = false; break; }
            stack = bigger;
            cap = more;
          }
          if (!(c = table_put(&seen, next))) { fine = false; break; }
          stack[depth++] = (struct frame){next, 0, false};
          for (int i = 0; i < w->n_x; i++) stack[depth - 1].yes |= w->xs[i]->node == next;
        } else if (depth && table_get(&w->reach, next))
          stack[depth - 1].yes = true;
        next = NULL;
        continue;
      }
      struct frame *f = &stack[depth - 1];
      bool stop = chxi_is_leaf(f->n, w->id) || f->n->rank < least;
      while (!stop && f->i < f->n->n_in && !next) {
        chxi_node *p = f->n->in[f->i++].node;
        if (p && atomic_load(&p->mask) & w->bit) next = p;
      }
      if (next) continue;
      if (f->yes && !table_put(&w->reach, f->n)) fine = false;
      bool yes = f->yes;
      depth--;
      if (depth && yes) stack[depth - 1].yes = true;
    }
  }
  chxi_free(seen.cells, seen.cap * sizeof *seen.cells);
  chxi_free(stack, cap * sizeof *stack);
  return fine || no_memory(w);
}

/* ---- the walk --------------------------------------------------------------------------------------------------------------------- */

static bool seed(walk *w, const chx_array *y, const chx_array *gy, int k)
{
  chx_scope *s = w->s;
  char a[128], b[128];
  if (gy && !chxi_same_shape(gy->t.ndim, gy->shape, y->t.ndim, y->shape))
    return chx_scope_fail(s, CHX_ESHAPE, "backward: gradient %d has shape %s, want the output's %s", k,
                          chxi_shape_text(a, gy->t.ndim, gy->shape), chxi_shape_text(b, y->t.ndim, y->shape)),
           false;
  if (gy && gy->buf && gy->buf->dev != y->buf->dev)
    return chx_scope_fail(s, CHX_EDEVICE, "backward: gradient %d is on %s, want the output's %s", k, gy->buf->dev->spec,
                          y->buf->dev->spec),
           false;
  size_t mark = s->n;
  chx_array *g = gy ? (chx_array *)gy : chx_ones_like(s, y);
  if (g && g->dtype != y->dtype) g = chx_cast(s, g, y->dtype);
  if (g && !g->buf) g = chx_copy(s, g);
  bool fine = g && on_path(w, y->node) ? add_pending(w, y->node, y->node_out, g) : g != NULL;
  chx_scope_rewind(s, mark, NULL);
  return fine;
}

static bool good_outputs(walk *w, const char *what, const chx_array *const *ys, int n)
{
  if (!chxi_good_id(w->s, what, w->id)) return false;
  if (n < 1 || !ys) return chx_scope_fail(w->s, CHX_EARG, "%s: no output was given, want at least one", what), false;
  for (int i = 0; i < n; i++) {
    if (!ys[i]) return chx_scope_fail(w->s, CHX_EARG, "%s: output %d is NULL, want an array", what, i), false;
    if (!(ys[i]->mask & w->bit) || !ys[i]->node) {
      chx_scope_fail(w->s, CHX_EARG,
                     "%s: output %d does not take part in graph %d, want one computed from an array with chx_require_grad",
                     what, i, w->id);
      if (chxi_places()) chxi_add_arrays(w->s, (const char *[]){"it"}, 1, &ys[i], 1);
      return false;
    }
  }
  return true;
}

static bool run_walk(walk *w, const chx_array *const *ys, const chx_array *const *gys, int n)
{
  chx_scope *s = w->s;
  int mode = s->grad_mode;
  uint64_t active = s->active;
  if (w->flags & CHX_CREATE_GRAPH)
    s->grad_mode = CHX_GRAD_ON;
  else {
    s->active &= w->bit - 1; /* graphs outside of this one go on recording */
    if (!s->active) s->grad_mode = CHX_GRAD_OFF;
  }
  w->record = s->grad_mode && s->active;
  s->depth++;
  bool fine = !w->xs || mark_paths(w, ys, n);
  for (int i = 0; i < n && fine; i++) fine = seed(w, ys[i], gys ? gys[i] : NULL, i);
  while (w->n && fine) fine = step(w);
  while (w->n) pending_free(heap_pop(w));
  s->depth--;
  chxi_free(w->heap, w->cap * sizeof *w->heap);
  chxi_free(w->map.cells, w->map.cap * sizeof *w->map.cells);
  chxi_free(w->reach.cells, w->reach.cap * sizeof *w->reach.cells);
  s->grad_mode = mode;
  s->active = active;
  return fine && !s->error;
}

chx_status chx_backward_with(chx_scope *s, const chx_array *const *ys, const chx_array *const *gys, int n,
                             chx_backprop_id id, unsigned flags)
{
  if (!chxi_ok(s)) return chx_scope_error(s);
  walk w = {.s = s, .id = id, .flags = flags, .bit = (uint64_t)1 << (id & 63)};
  if (good_outputs(&w, "backward", ys, n)) run_walk(&w, ys, gys, n);
  return s->error;
}

chx_status chx_backward(chx_scope *s, const chx_array *y) { return chx_backward_with(s, &y, NULL, 1, 0, 0); }

chx_status chx_grad(chx_scope *s, const chx_array *const *ys, int n_y, const chx_array *const *xs, int n_x,
                    const chx_array *const *gys, chx_backprop_id id, unsigned flags, chx_array **gxs)
{
  for (int i = 0; gxs && i < n_x; i++) gxs[i] = NULL;
  if (!chxi_ok(s)) return chx_scope_error(s);
  walk w = {.s = s, .id = id, .flags = flags, .bit = (uint64_t)1 << (id & 63), .xs = xs, .n_x = n_x, .gxs = gxs};
  if (!good_outputs(&w, "grad", ys, n_y)) return s->error;
  if (n_x < 1 || !xs || !gxs)
    return chx_scope_fail(s, CHX_EARG, "grad: no input was given, want at least one and a place for its gradient");
  for (int i = 0; i < n_x; i++)
    if (!xs[i]) return chx_scope_fail(s, CHX_EARG, "grad: input %d is NULL, want an array", i);
  bool fine = run_walk(&w, ys, gys, n_y);
  size_t mark = s->n;
  s->depth++;
  for (int i = 0; i < n_x && fine; i++) {
    if (!gxs[i] && !(flags & CHX_ALLOW_UNUSED)) gxs[i] = chx_keep(chx_zeros_like(s, xs[i]));
    fine = !s->error;
  }
  chx_scope_rewind(s, mark, NULL);
  s->depth--;
  for (int i = 0; i < n_x; i++) {
    if (!fine) {
      chx_release(gxs[i]);
      gxs[i] = NULL;
    } else if (gxs[i] && !(s->flags & CHX_SCOPE_OWNED && !s->depth) && !(gxs[i] = chxi_push(s, gxs[i])))
      fine = false;
  }
  return s->error;
}
