/* SPDX-License-Identifier: MIT
 * node.c: graph nodes: made when an operator is recorded, released without recursion; leaves and hooks.
 *
 * A node is one object with its edges, saved values, shapes and attribute behind it. It holds its parents and the values
 * that its gradient reads, never an array.
 */
#include "runtime.h"
#include <stdio.h>

/* ---- release ------------------------------------------------------------------------------------------------------------ */

static bool last_ref(chxi_node *n)
{
  return atomic_load_explicit(&n->refs, memory_order_acquire) == 1 ||
         atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) == 1;
}

static void drop_saved(chxi_node *n)
{
  for (int i = 0; i < n->n_in + n->n_out; i++)
    if (n->saved[i].v) {
      chxi_value_unref(n->saved[i].v);
      n->saved[i].v = NULL;
    }
}

/* While what a node held is freed by a user's function: where nodes go that are released by that, for depth costs no stack. */
static _Thread_local chxi_node **late;

/* todo, and before it the nodes that free(ctx) has released. */
static chxi_node *free_context(void (*free_fn)(void *), void *ctx, chxi_node *todo)
{
  chxi_node **before = late;
  late = &todo;
  free_fn(ctx);
  late = before;
  return todo;
}

static chxi_node *free_function(chxi_node *n, chxi_node *todo)
{
  chxi_function *f = (chxi_function *)n->op;
  n->op = NULL;
  n->user = false;
  if (f->f.free) todo = free_context(f->f.free, f->f.ctx, todo);
  chxi_free(f, f->bytes);
  return todo;
}

static void release(chxi_node *todo)
{
  while (todo) {
    chxi_node *n = todo;
    todo = n->link;
    drop_saved(n);
    if (chxi_unlikely(n->user)) todo = free_function(n, todo);
    for (int i = 0; i < n->n_in; i++) {
      chxi_node *p = n->in[i].node;
      if (p && last_ref(p)) {
        p->link = todo;
        todo = p;
      }
    }
    while (n->hooks) {
      chxi_hook *h = n->hooks;
      n->hooks = h->next;
      if (h->ctx_free) todo = free_context(h->ctx_free, h->ctx, todo);
      chxi_free(h, sizeof *h);
    }
    while (n->grads) {
      chxi_leaf_grad *g = n->grads;
      n->grads = g->next;
      if (g->g) { /* its node, if it has one, joins the list */
        chxi_node *m = g->g->node;
        if (m && atomic_load(&g->g->refs) == 1) {
          g->g->node = NULL;
          if (last_ref(m)) {
            m->link = todo;
            todo = m;
          }
        }
        chx_release(g->g);
      }
      chxi_free(g, sizeof *g);
    }
    uint64_t mask = atomic_load_explicit(&n->mask, memory_order_relaxed);
    if (chxi_unlikely(mask & ~(uint64_t)1)) chxi_graph_count(mask, -1);
    chxi_free(n, n->bytes);
  }
}

void chxi_node_unref(chxi_node *n)
{
  if (!last_ref(n)) return;
  n->link = NULL;
  if (chxi_likely(!late)) {
    release(n);
    return;
  }
  n->link = *late;
  *late = n;
}

void chxi_node_spend(chxi_node *n, uint64_t mask)
{
  uint64_t spent = atomic_fetch_or(&n->spent, mask) | mask;
  if (!(atomic_load(&n->mask) & ~spent)) drop_saved(n);
}

static void node_cut(chxi_node *n)
{
  drop_saved(n);
  if (n->user) release(free_function(n, NULL));
  n->op = NULL;
  for (int i = 0; i < n->n_in; i++) {
    chxi_node *p = n->in[i].node;
    n->in[i].node = NULL;
    if (p) chxi_node_unref(p);
  }
}

/* ---- making ---------------------------------------------------------------------------------------------------------------- */

static chxi_node *node_new(chx_scope *s, size_t bytes, uint64_t mask)
{
  chxi_node *n = chxi_alloc(bytes);
  if (chxi_unlikely(!n)) {
    chx_scope_fail(s, CHX_ENOMEM, "out of memory for a graph node");
    return NULL;
  }
  atomic_init(&n->refs, 1);
  n->user = false;
  atomic_init(&n->lock, 0);
  n->n_in = n->n_out = 0;
  n->bytes = (uint32_t)bytes;
  atomic_init(&n->mask, mask);
  atomic_init(&n->spent, 0);
  n->leaf = 0;
  n->op = NULL;
  n->rank = 0;
  n->in = NULL;
  n->saved = NULL;
  n->meta = NULL;
  n->attr = NULL;
  n->hooks = NULL;
  n->grads = NULL;
  n->place = chxi_place_now();
  if (chxi_unlikely(mask & ~(uint64_t)1)) chxi_graph_count(mask, 1);
  return n;
}

static int64_t *put_meta(chxi_meta *m, const chx_array *a, chxi_device *dev, int64_t *dims)
{
  m->dev = dev;
  m->dtype = a->dtype;
  m->ndim = (int16_t)a->t.ndim;
  m->shape = dims;
  for (int i = 0; i < a->t.ndim; i++) *dims++ = a->shape[i];
  return dims;
}

static void save(chxi_node *n, int at, chx_array *v, bool keep)
{
  n->saved[at].v = keep ? v : NULL;
  if (!keep) return;
  n->saved[at].version = v->buf ? atomic_load_explicit(&v->buf->version, memory_order_relaxed) : 0;
  chxi_value_ref(v);
}

/* What is recorded, of an operator or of a user's function. */
typedef struct recorded {
  const chx_op *op;
  const chx_array *const *in;
  chx_array *const *y;
  int n_in, n_out;
  chxi_device *dev; /* of the outputs */
  const void *attr;
  uint64_t keep_x, keep_y;
} recorded;

static inline __attribute__((always_inline)) chxi_node *record(chx_scope *s, const recorded r, uint64_t mask)
{
  int n_dims = 0;
  for (int i = 0; i < r.n_in; i++) n_dims += r.in[i] ? r.in[i]->t.ndim : 0;
  for (int o = 0; o < r.n_out; o++) n_dims += r.y[o]->t.ndim;
  size_t both = (size_t)(r.n_in + r.n_out);
  size_t bytes = sizeof(chxi_node) + (size_t)r.n_in * sizeof(chxi_edge) +
                 both * (sizeof(chxi_saved) + sizeof(chxi_meta)) + (size_t)n_dims * sizeof(int64_t) + r.op->attr_size;
  chxi_node *n = node_new(s, bytes, mask);
  if (!n) return NULL;
  char *at = (char *)(n + 1);
  n->op = r.op;
  n->n_in = (uint16_t)r.n_in;
  n->n_out = (uint16_t)r.n_out;
  n->in = (chxi_edge *)(void *)at;
  at += (size_t)r.n_in * sizeof(chxi_edge);
  n->saved = (chxi_saved *)(void *)at;
  at += both * sizeof(chxi_saved);
  n->meta = (chxi_meta *)(void *)at;
  int64_t *dims = (int64_t *)(void *)(at + both * sizeof(chxi_meta));
  for (int i = 0; i < r.n_in; i++) {
    chx_array *a = (chx_array *)r.in[i];
    n->in[i].node = NULL;
    if (chxi_unlikely(!a)) {
      n->saved[i].v = NULL;
      n->meta[i] = (chxi_meta){0};
      continue;
    }
    if (a->mask & mask) {
      n->in[i].node = a->node;
      n->in[i].out = (uint32_t)a->node_out;
      chxi_node_ref(a->node);
      if (a->node->rank >= n->rank) n->rank = a->node->rank + 1;
    }
    save(n, i, a, r.keep_x >> i & 1);
    dims = put_meta(&n->meta[i], a, a->buf ? a->buf->dev : NULL, dims);
  }
  for (int o = 0; o < r.n_out; o++) {
    chx_array *y = r.y[o];
    save(n, r.n_in + o, y, r.keep_y >> o & 1);
    dims = put_meta(&n->meta[r.n_in + o], y, r.dev ? r.dev : y->buf->dev, dims);
    if (!chxi_is_float(y->dtype)) continue;
    y->node = n;
    y->mask = mask;
    y->node_out = o;
    chxi_node_ref(n);
  }
  if (r.attr && r.op->attr_size) {
    n->attr = dims;
    memcpy(n->attr, r.attr, r.op->attr_size);
  }
  atomic_fetch_sub_explicit(&n->refs, 1, memory_order_relaxed); /* the maker's own; an output holds it */
  return n;
}

bool chxi_record(chxi_call *c, uint64_t mask)
{
  bool any = false;
  for (int o = 0; o < c->n_out; o++) any |= chxi_is_float(c->y[o]->dtype);
  if (!any) return true;
  return record(c->s, (recorded){c->op, c->in, c->y, c->n_in, c->n_out, c->dev, c->attr,
                                 (uint64_t)(int64_t)(int32_t)c->op->keep_x /* bit 31 stands for all further inputs */, c->op->keep_y},
                mask) != NULL;
}

bool chxi_record_function(chx_scope *s, chxi_function *f, const chx_array *const *in, int n_in, chx_array *const *y,
                          int n_out, uint64_t mask)
{
  chxi_node *n = record(s, (recorded){&f->op, in, y, n_in, n_out, NULL, NULL, f->f.keep_x, f->f.keep_y}, mask);
  if (n) n->user = true;
  return n != NULL;
}

/* ---- leaves ---------------------------------------------------------------------------------------------------------------- */

chx_status chx_require_grad_in(chx_scope *s, chx_array *a, chx_backprop_id id)
{
  if (!chxi_good_id(s, "require_grad", id)) return chx_scope_error(s);
  if (!a) return chx_scope_fail(s, CHX_EARG, "require_grad: the array is NULL, want an array");
  if (!chxi_is_float(a->dtype))
    return chx_scope_fail(s, CHX_EDTYPE, "require_grad: dtype is %s, want a floating one", chx_dtype_name(a->dtype));
  if (!a->buf)
    return chx_scope_fail(s, CHX_EARG, "require_grad: the array is a scalar of no device, want an array on one");
  uint64_t bit = (uint64_t)1 << id;
  if (a->mask & bit) return CHX_OK;
  if (!a->node) {
    if (!(a->node = node_new(s, sizeof(chxi_node), bit))) return s->error;
    a->node_out = 0;
  } else {
    if (id) chxi_graph_count(bit, 1);
    atomic_fetch_or(&a->node->mask, bit);
    if (a->node->op) a->node->leaf |= bit;
  }
  a->mask |= bit;
  return CHX_OK;
}

chx_status chx_require_grad(chx_scope *s, chx_array *a) { return chx_require_grad_in(s, a, 0); }

int chx_is_grad_required(const chx_array *a, chx_backprop_id id)
{
  return a && id >= 0 && id < 64 && a->mask >> id & 1;
}

int chx_is_backprop_required(const chx_scope *s, const chx_array *a)
{
  return s && a && s->grad_mode && (a->mask & s->active) != 0;
}

/* One that was held at a fork, by a thread that the child does not have, is taken over. */
static void lock_node(chxi_node *n)
{
  const uint16_t mine = (uint16_t)(chxi_forks + 1);
  uint16_t seen = 0;
  while (!atomic_compare_exchange_weak_explicit(&n->lock, &seen, mine, memory_order_acquire, memory_order_relaxed))
    if (seen == mine) seen = 0;
}

static void unlock_node(chxi_node *n) { atomic_store_explicit(&n->lock, 0, memory_order_release); }

/* The entry of graph id, made if `make`; the node is locked. NULL without `make`: there is none; with: out of memory. */
static chxi_leaf_grad *leaf_grad(chxi_node *n, int id, bool make)
{
  chxi_leaf_grad *g = n->grads;
  while (g && g->id != id) g = g->next;
  if (g || !make || !(g = chxi_alloc(sizeof *g))) return g;
  *g = (chxi_leaf_grad){n->grads, id, NULL};
  return n->grads = g;
}

static bool leaf_ready(chx_scope *s, const char *what, const chx_array *a, chx_backprop_id id)
{
  if (!chxi_good_id(s, what, id)) return false;
  if (!a) return chx_scope_fail(s, CHX_EARG, "%s: the array is NULL, want a leaf", what), false;
  if (!(a->mask >> id & 1) || !a->node)
    return chx_scope_fail(s, CHX_EARG,
                          "%s: the array does not take part in graph %d, want one that chx_require_grad made a leaf",
                          what, id),
           false;
  return true;
}

chx_array *chx_grad_of_in(chx_scope *s, const chx_array *leaf, chx_backprop_id id)
{
  if (!chxi_good_id(s, "grad_of", id)) return NULL;
  if (!leaf) return chx_scope_fail(s, CHX_EARG, "grad_of: the array is NULL, want a leaf"), NULL;
  if (!leaf->node || !(leaf->mask >> id & 1)) return NULL;
  lock_node(leaf->node);
  chxi_leaf_grad *g = leaf_grad(leaf->node, id, false);
  chx_array *a = g ? chx_keep(g->g) : NULL;
  unlock_node(leaf->node);
  if (!a) return NULL;
  a = chxi_push(s, a);
  if (a && s->flags & CHX_SCOPE_OWNED && !s->depth) s->n--;
  return a;
}

chx_array *chx_grad_of(chx_scope *s, const chx_array *leaf) { return chx_grad_of_in(s, leaf, 0); }

chx_status chx_set_grad_in(chx_scope *s, chx_array *leaf, const chx_array *grad, chx_backprop_id id)
{
  char a[128], b[128];
  if (!leaf_ready(s, "set_grad", leaf, id)) return chx_scope_error(s);
  if (grad && (grad->dtype != leaf->dtype || !chxi_same_shape(grad->t.ndim, grad->shape, leaf->t.ndim, leaf->shape)))
    return chx_scope_fail(s, CHX_ESHAPE, "set_grad: the gradient is %s%s, want the array's %s%s",
                          chx_dtype_name(grad->dtype), chxi_shape_text(a, grad->t.ndim, grad->shape),
                          chx_dtype_name(leaf->dtype), chxi_shape_text(b, leaf->t.ndim, leaf->shape));
  if (grad && grad->buf && grad->buf->dev != leaf->buf->dev)
    return chx_scope_fail(s, CHX_EDEVICE, "set_grad: the gradient is on %s, want %s", grad->buf->dev->spec,
                          leaf->buf->dev->spec);
  lock_node(leaf->node);
  chxi_leaf_grad *g = leaf_grad(leaf->node, id, grad != NULL);
  chx_array *old = g ? g->g : NULL;
  if (g) g->g = chx_keep(grad);
  unlock_node(leaf->node);
  chx_release(old);
  return grad && !g ? chx_scope_fail(s, CHX_ENOMEM, "set_grad: out of memory") : CHX_OK;
}

chx_status chx_set_grad(chx_scope *s, chx_array *leaf, const chx_array *grad)
{
  return chx_set_grad_in(s, leaf, grad, 0);
}

/* Adds to a leaf's gradient. In place where nobody else sees the old one and `in_place` allows it. */
bool chxi_leaf_add(chx_scope *s, chxi_node *n, int id, chx_array *gx, bool in_place)
{
  chx_long_work told = s->long_work;
  s->long_work = NULL; /* who waits for the node may hold what the end of long work takes */
  lock_node(n);
  chxi_leaf_grad *g = leaf_grad(n, id, true);
  chx_array *old = g ? g->g : NULL, *gone = NULL;
  bool fine = g != NULL;
  if (fine && !old) { /* the leaf's own: in-place forms may be used on it */
    bool shared = !gx->buf || atomic_load(&gx->refs) > 1 || atomic_load(&gx->buf->refs) > 1 || !(gx->t.flags & CHX_T_CONTIGUOUS);
    chx_array *own = shared ? chx_copy(s, gx) : gx;
    fine = own != NULL;
    if (fine) g->g = chx_keep(own);
  } else if (fine && in_place && atomic_load(&old->refs) == 1 && atomic_load(&old->vrefs) == 1 && old->buf &&
           atomic_load(&old->buf->refs) == 1 && old->t.flags & CHX_T_CONTIGUOUS && !old->node)
    fine = chx_add_into(s, old, old, gx) != NULL;
  else if (fine) {
    chx_array *sum = chx_add(s, old, gx);
    if ((fine = sum != NULL)) {
      g->g = chx_keep(sum);
      gone = old;
    }
  }
  unlock_node(n);
  s->long_work = told;
  chx_release(gone);
  if (!g) chx_scope_fail(s, CHX_ENOMEM, "backward: out of memory");
  return fine;
}

/* ---- detaching, hooks -------------------------------------------------------------------------------------------------------- */

chx_array *chx_detach(chx_scope *s, const chx_array *a)
{
  if (!chxi_ok(s)) return NULL;
  if (!a) return chx_scope_fail(s, CHX_EARG, "detach: the array is NULL, want an array"), NULL;
  chx_array *v = chxi_array_view(s, a, a->dtype, a->t.ndim, a->shape, a->strides, 0);
  if (v && a->weak) v->weak = a->weak, v->w = a->w;
  if (v && s->flags & CHX_SCOPE_OWNED && !s->depth) s->n--;
  return v;
}

chx_status chx_unchain_backward(chx_scope *s, const chx_array *a)
{
  if (!chxi_ok(s)) return chx_scope_error(s);
  if (!a) return chx_scope_fail(s, CHX_EARG, "unchain_backward: the array is NULL, want an array");
  if (!a->node || !a->node->op) return CHX_OK;
  chxi_node *todo = a->node; /* nodes to cut, each holding a reference; by link */
  chxi_node_ref(todo);
  todo->link = NULL;
  while (todo) {
    chxi_node *n = todo;
    todo = n->link;
    for (int i = 0; n->op && i < n->n_in; i++) {
      chxi_node *p = n->in[i].node;
      n->in[i].node = NULL;
      if (!p) continue;
      if (p->op &&
          p->n_in) { /* our edge's reference moves into the list; a node met twice is in it twice: not while linked */
        bool twice = false;
        for (chxi_node *q = todo; q && !twice; q = q->link) twice = q == p;
        if (!twice) {
          p->link = todo;
          todo = p;
          continue;
        }
      }
      chxi_node_unref(p);
    }
    node_cut(n);
    chxi_node_unref(n);
  }
  return CHX_OK;
}

chx_status chx_add_grad_hook(chx_scope *s, chx_array *a, chx_grad_hook fn, void *ctx, void (*ctx_free)(void *))
{
  chxi_hook *h = NULL;
  if (!chxi_ok(s)) goto failed;
  if (!a || !fn || !a->node) {
    chx_scope_fail(s, CHX_EARG, "add_grad_hook: %s",
                   !a    ? "the array is NULL, want an array"
                   : !fn ? "the function is NULL, want a function"
                         : "the array takes part in no graph, want one that does");
    goto failed;
  }
  if (!(h = chxi_alloc(sizeof *h))) {
    chx_scope_fail(s, CHX_ENOMEM, "add_grad_hook: out of memory");
    goto failed;
  }
  *h = (chxi_hook){NULL, a->node_out, fn, ctx, ctx_free};
  chxi_hook **last = &a->node->hooks;
  while (*last) last = &(*last)->next;
  *last = h;
  return CHX_OK;
failed:
  if (ctx_free) ctx_free(ctx);
  return chx_scope_error(s);
}
