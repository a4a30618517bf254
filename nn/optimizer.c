/* SPDX-License-Identifier: MIT
 * optimizer.c: the protocol of optimizers. An update has two phases: compute all new parameters and states into temporaries, which
 * may fail and then changes nothing; then write the parameters in place and exchange the states, which cannot run out of memory.
 */
#include "internal.h"
#include <math.h>

chx_optimizer *chx_optimizer_new(chx_scope *s, const chx_optimizer_class *cls, const double *hyper)
{
  chx_optimizer *o;

  if (!nn_need(s, cls, "chx_optimizer_new", "cls")) return NULL;
  if (!cls->step || cls->n_hyper < 0 || cls->n_hyper > 8 || cls->n_states < 0 || cls->n_states > 4 ||
      (cls->n_hyper && !hyper)) {
    chx_scope_fail(s, CHX_EARG, "chx_optimizer_new: %s has no step, more than 8 numbers or more than 4 states",
                   cls->name);
    return NULL;
  }
  o = calloc(1, sizeof *o);
  if (!o) {
    nn_nomem(s, "chx_optimizer_new");
    return NULL;
  }
  o->cls = cls;
  for (int i = 0; i < cls->n_hyper; i++) o->hyper[i] = hyper[i];
  return o;
}

static void drop_states(chx_optimizer *o)
{
  for (int i = 0; i < o->n; i++)
    for (int k = 0; k < o->cls->n_states; k++) chx_release(o->slot[i].state[k]);
  o->n = 0;
}

void chx_optimizer_free(chx_optimizer *o)
{
  if (!o) return;
  drop_states(o);
  for (int i = 0; i < o->n_hooks; i++) {
    if (o->hook[i].ctx_free) o->hook[i].ctx_free(o->hook[i].ctx);
    free(o->hook[i].name);
  }
  free(o->hook);
  free(o->slot);
  free(o->live);
  free(o);
}

/* ---- target and slots ----------------------------------------------------------------------------------------------------- */

static int is_in_sync(const chx_optimizer *o)
{
  int i = 0;

  for (chx_param *p = NULL; (p = chx_link_next_param(o->target, p)); i++)
    if (i >= o->n || o->slot[i].id != p->id) return 0;
  return i == o->n;
}

chx_status chxi_nn_optimizer_sync(chx_scope *s, chx_optimizer *o)
{
  chxi_nn_slot *slot;
  int *live, n = 0;

  if (chx_scope_error(s)) return chx_scope_error(s);
  if (!o->target)
    return chx_scope_fail(s, CHX_EARG, "%s: there is no target, want chx_optimizer_setup first", o->cls->name);
  if (is_in_sync(o)) return CHX_OK;
  for (chx_param *p = NULL; (p = chx_link_next_param(o->target, p));) n++;
  slot = calloc((size_t)n + 1, sizeof *slot);
  live = calloc((size_t)n + 1, sizeof *live);
  if (!slot || !live) {
    free(slot);
    free(live);
    return nn_nomem(s, o->cls->name);
  }
  n = 0;
  for (chx_param *p = NULL; (p = chx_link_next_param(o->target, p)); n++) {
    slot[n].p = p;
    slot[n].id = p->id;
    for (int i = 0; i < o->n; i++)
      if (o->slot[i].id == p->id) {
        memcpy(slot[n].state, o->slot[i].state, sizeof slot[n].state);
        memset(o->slot[i].state, 0, sizeof o->slot[i].state);
      }
  }
  drop_states(o);
  free(o->slot);
  free(o->live);
  o->slot = slot;
  o->live = live;
  o->n = n;
  return CHX_OK;
}

chx_status chx_optimizer_setup(chx_scope *s, chx_optimizer *o, chx_link *link)
{
  NN_TRY(chx_optimizer_setup, o);
  NN_TRY(chx_optimizer_setup, link);
  drop_states(o);
  o->target = link;
  o->t = o->epoch = 0;
  return chxi_nn_optimizer_sync(s, o);
}

/* ---- update --------------------------------------------------------------------------------------------------------------- */

/* The gradients that there are, into live slots. */
static void collect(chx_scope *s, chx_optimizer *o)
{
  o->n_live = 0;
  for (int i = 0; i < o->n; i++) {
    chxi_nn_slot *q = &o->slot[i];
    q->g = q->p->a && q->p->update ? chx_grad_of(s, q->p->a) : NULL;
    if (q->g) o->live[o->n_live++] = i;
  }
  if (!o->n_live && !chx_scope_error(s))
    chx_scope_fail(s, CHX_EARG, "%s: no parameter has a gradient, want chx_backward before the update", o->cls->name);
}

static int same_value_type(const chx_array *a, const chx_array *b)
{
  int n = chx_ndim(a);

  return chx_dtype(a) == chx_dtype(b) && n == chx_ndim(b) &&
         (!n || !memcmp(chx_shape(a), chx_shape(b), (size_t)n * sizeof(int64_t)));
}

/* What the host does once, a capture does not repeat: states must be there, and the step's numbers not change. */
static void check_capture(chx_scope *s, const chx_optimizer *o)
{
  double now[8] = {0}, then[8] = {0};

  if (o->cls->scalars) {
    o->cls->scalars(o->hyper, o->t + 1, now);
    o->cls->scalars(o->hyper, o->t + 2, then);
  }
  if (memcmp(now, then, sizeof now))
    chx_scope_fail(s, CHX_EUNSUPPORTED, "%s: its numbers change at each step, which a capture does not repeat", o->cls->name);
  for (int i = 0; i < o->n_live && o->cls->n_states && !chx_scope_error(s); i++)
    if (!o->slot[o->live[i]].state[0])
      chx_scope_fail(s, CHX_EARG, "%s: parameter %s has no state yet, want an update before the capture", o->cls->name,
                     o->slot[o->live[i]].p->name);
}

/* Phase one for one parameter: q->x and q->next. */
static void compute(chx_scope *s, const chx_optimizer *o, chxi_nn_slot *q, chx_array *const *k)
{
  chx_array *x = q->p->a, *state[4];
  const char *device = chx_device(x);

  for (int i = 0; i < o->cls->n_states; i++) {
    state[i] = q->state[i] ? q->state[i] : chx_zeros_like(s, x);
    if (q->state[i] && strcmp(chx_device(state[i]), device))
      state[i] = chx_to(s, state[i], device); /* it follows its parameter */
  }
  q->x = o->cls->step(s, x, q->g, k, state, q->next);
  if (chx_scope_error(s)) return;
  if (!q->x || !same_value_type(q->x, x)) goto bad;
  for (int i = 0; i < o->cls->n_states; i++)
    if (!q->next[i] || !same_value_type(q->next[i], x)) goto bad;
  return;
bad:
  chx_scope_fail(s, CHX_ESHAPE,
                 "%s: a step's results must have the dtype and shape of parameter %s; is its gradient of another?",
                 o->cls->name, q->p->name);
}

/* A launch of a captured update does not exchange anything, so there the states are written in place. */
static void commit(chx_scope *s, chx_optimizer *o, int captured)
{
  for (int i = 0; i < o->n_live; i++) chxi_nn_write(s, o->slot[o->live[i]].p->a, o->slot[o->live[i]].x);
  if (chx_scope_error(s)) return;
  for (int i = 0; i < o->n_live; i++) {
    chxi_nn_slot *q = &o->slot[o->live[i]];
    for (int k = 0; k < o->cls->n_states; k++) {
      chx_array *old = q->state[k];
      if (captured) {
        chxi_nn_write(s, old, q->next[k]);
        continue;
      }
      q->state[k] = chx_keep(q->next[k]);
      chx_release(old);
    }
  }
  o->t++;
}

chx_status chx_optimizer_update(chx_scope *s, chx_optimizer *o)
{
  size_t mark = chx_scope_mark(s);
  chx_array *k[8] = {0};
  double v[8];
  int mode, n, captured;

  NN_TRY(chx_optimizer_update, o);
  if (chxi_nn_optimizer_sync(s, o)) return chx_scope_error(s);
  mode = chx_scope_set_grad(s, CHX_GRAD_OFF);
  collect(s, o);
  captured = chx_capture_active(s);
  if (captured && !chx_scope_error(s)) check_capture(s, o);
  for (int i = 0; i < o->n_hooks && !chx_scope_error(s); i++) {
    chx_status st = o->hook[i].fn(o->hook[i].ctx, s, o);
    if (st && !chx_scope_error(s)) chx_scope_fail(s, st, "%s: hook %s failed", o->cls->name, o->hook[i].name);
  }
  n = o->cls->scalars ? o->cls->scalars(o->hyper, o->t + 1, v) : 0;
  for (int i = 0; i < n && i < 8; i++) k[i] = chx_real(s, v[i]);
  for (int i = 0; i < o->n_live && !chx_scope_error(s); i++) compute(s, o, &o->slot[o->live[i]], k);
  if (!chx_scope_error(s)) commit(s, o, captured);
  o->n_live = 0;
  chx_scope_set_grad(s, mode);
  chx_scope_rewind(s, mark, NULL);
  return chx_scope_error(s);
}

chx_status chx_optimizer_update_with(chx_scope *s, chx_optimizer *o, chx_loss_fn fn, void *ctx, chx_array **loss)
{
  size_t mark = chx_scope_mark(s);
  chx_array *y;

  if (loss) *loss = NULL;
  NN_TRY(chx_optimizer_update_with, o);
  if (!fn) return chx_scope_fail(s, CHX_EARG, "chx_optimizer_update_with: fn is NULL");
  if (!o->target)
    return chx_scope_fail(s, CHX_EARG, "%s: there is no target, want chx_optimizer_setup first", o->cls->name);
  chx_link_clear_grads(s, o->target);
  y = chx_scope_error(s) ? NULL : fn(ctx, s);
  if (!y && !chx_scope_error(s))
    chx_scope_fail(s, CHX_EARG, "chx_optimizer_update_with: the loss function returned NULL");
  chx_backward(s, y);
  chx_optimizer_update(s, o);
  y = chx_scope_error(s) ? NULL : chx_detach(s, y);
  y = chx_scope_rewind(s, mark, loss ? y : NULL);
  if (loss) *loss = y;
  return chx_scope_error(s);
}

/* ---- fields --------------------------------------------------------------------------------------------------------------- */

chx_link *chx_optimizer_target(const chx_optimizer *o) { return o ? o->target : NULL; }
const char *chx_optimizer_name(const chx_optimizer *o) { return o ? o->cls->name : ""; }
const chx_optimizer_class *chx_optimizer_class_of(const chx_optimizer *o) { return o ? o->cls : NULL; }
int64_t chx_optimizer_t(const chx_optimizer *o) { return o ? o->t : 0; }
int64_t chx_optimizer_epoch(const chx_optimizer *o) { return o ? o->epoch : 0; }
void chx_optimizer_new_epoch(chx_optimizer *o)
{
  if (o) o->epoch++;
}
double chx_optimizer_lr(const chx_optimizer *o) { return o && o->cls->n_hyper ? o->hyper[0] : NAN; }
void chx_optimizer_set_lr(chx_optimizer *o, double lr)
{
  if (o && o->cls->n_hyper) o->hyper[0] = lr;
}

static int hyper_index(const chx_optimizer *o, const char *name)
{
  for (int i = 0; i < o->cls->n_hyper; i++)
    if (!strcmp(o->cls->hyper[i], name)) return i;
  return -1;
}

double chx_optimizer_hyper(const chx_optimizer *o, const char *name)
{
  int i = o && name ? hyper_index(o, name) : -1;

  return i >= 0 ? o->hyper[i] : NAN;
}

chx_status chx_optimizer_set_hyper(chx_scope *s, chx_optimizer *o, const char *name, double value)
{
  int i;

  NN_TRY(chx_optimizer_set_hyper, o);
  NN_TRY(chx_optimizer_set_hyper, name);
  i = hyper_index(o, name);
  if (i < 0)
    return chx_scope_fail(s, CHX_EARG, "%s: there is no '%s', its learning rate is '%s'", o->cls->name, name,
                          o->cls->hyper[0]);
  o->hyper[i] = value;
  return CHX_OK;
}

chx_array *chx_optimizer_state(const chx_optimizer *o, const chx_param *p, const char *name)
{
  for (int i = 0; o && p && name && i < o->n; i++)
    for (int k = 0; o->slot[i].id == p->id && k < o->cls->n_states; k++)
      if (!strcmp(o->cls->state[k], name)) return o->slot[i].state[k];
  return NULL;
}
