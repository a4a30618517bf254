/* SPDX-License-Identifier: MIT
 * hooks.c: what runs between backward and update: the list, weight decay, gradient clipping.
 */
#include "internal.h"

chx_status chx_optimizer_add_hook(chx_scope *s, chx_optimizer *o, const char *name, chx_optimizer_hook fn, void *ctx,
                                  void (*ctx_free)(void *))
{
  chxi_nn_hook *list = NULL;
  char *copy = NULL;

  if (nn_need(s, o, "chx_optimizer_add_hook", "o") && (!name || !fn))
    chx_scope_fail(s, CHX_EARG, "chx_optimizer_add_hook: %s is NULL", name ? "fn" : "name");
  for (int i = 0; !chx_scope_error(s) && i < o->n_hooks; i++)
    if (!strcmp(o->hook[i].name, name))
      chx_scope_fail(s, CHX_EARG, "chx_optimizer_add_hook: there is already a hook '%s'", name);
  if (!chx_scope_error(s)) {
    copy = chxi_nn_strdup(name);
    list = copy ? realloc(o->hook, ((size_t)o->n_hooks + 1) * sizeof *list) : NULL;
    if (!list) nn_nomem(s, "chx_optimizer_add_hook");
  }
  if (chx_scope_error(s)) {
    free(copy);
    if (ctx_free) ctx_free(ctx);
    return chx_scope_error(s);
  }
  o->hook = list;
  list[o->n_hooks++] = (chxi_nn_hook){copy, fn, ctx, ctx_free};
  return CHX_OK;
}

chx_status chx_optimizer_remove_hook(chx_scope *s, chx_optimizer *o, const char *name)
{
  NN_TRY(chx_optimizer_remove_hook, o);
  NN_TRY(chx_optimizer_remove_hook, name);
  for (int i = 0; i < o->n_hooks; i++) {
    chxi_nn_hook h = o->hook[i];
    if (strcmp(h.name, name)) continue;
    o->n_hooks--;
    memmove(o->hook + i, o->hook + i + 1, (size_t)(o->n_hooks - i) * sizeof h);
    if (h.ctx_free) h.ctx_free(h.ctx);
    free(h.name);
    return CHX_OK;
  }
  return chx_scope_fail(s, CHX_EARG, "chx_optimizer_remove_hook: there is no hook '%s'", name);
}

int chx_optimizer_n_grads(const chx_optimizer *o) { return o ? o->n_live : 0; }
chx_param *chx_optimizer_param(const chx_optimizer *o, int i)
{
  return o && i >= 0 && i < o->n_live ? o->slot[o->live[i]].p : NULL;
}
chx_array *chx_optimizer_grad(const chx_optimizer *o, int i)
{
  return o && i >= 0 && i < o->n_live ? o->slot[o->live[i]].g : NULL;
}
void chx_optimizer_set_grad(chx_optimizer *o, int i, chx_array *g)
{
  if (o && g && i >= 0 && i < o->n_live) o->slot[o->live[i]].g = g;
}

/* ---- weight decay: g + rate p --------------------------------------------------------------------------------------------- */

static chx_status weight_decay(void *ctx, chx_scope *s, chx_optimizer *o)
{
  static const chx_program add_scaled = {2, {{"mul", 2, 1, 0, 0}, {"add", 0, 3, 0, 0}}};
  chx_array *rate = chx_real(s, *(const double *)ctx);

  for (int i = 0; i < chx_optimizer_n_grads(o); i++) {
    const chx_array *in[3] = {chx_optimizer_grad(o, i), chx_param_array(chx_optimizer_param(o, i)), rate};
    chx_optimizer_set_grad(o, i, chx_map(s, in, 3, &add_scaled));
  }
  return chx_scope_error(s);
}

/* ---- gradient clipping: g min(1, threshold / norm) --------------------------------------------------------------------------- */

static chx_status gradient_clipping(void *ctx, chx_scope *s, chx_optimizer *o)
{
  int n = chx_optimizer_n_grads(o);
  chx_array *total = NULL, *rate;

  /* The norm stays on the device: nothing waits for it. */
  for (int i = 0; i < n; i++) {
    chx_array *sq = chx_sum(s, chx_square(s, chx_optimizer_grad(o, i)), 0, NULL, 0);
    total = total ? chx_add(s, total, chx_to(s, sq, chx_device(total))) : sq;
  }
  rate = n ? chx_minimum(s, chx_div(s, chx_real(s, *(const double *)ctx), chx_sqrt(s, total)), chx_real(s, 1)) : NULL;
  for (int i = 0; i < n && !chx_scope_error(s); i++) {
    chx_array *g = chx_optimizer_grad(o, i);
    chx_optimizer_set_grad(o, i, chx_mul(s, g, chx_cast(s, chx_to(s, rate, chx_device(g)), chx_dtype(g))));
  }
  return chx_scope_error(s);
}

static chx_status add_with_number(chx_scope *s, chx_optimizer *o, const char *name, chx_optimizer_hook fn, double v,
                                  int is_bad)
{
  double *ctx;

  if (is_bad)
    return chx_scope_fail(s, CHX_EARG, "%s: the number is %g, want 0 or more (clipping: more than 0)", name, v);
  ctx = malloc(sizeof *ctx);
  if (!ctx) return nn_nomem(s, name);
  *ctx = v;
  return chx_optimizer_add_hook(s, o, name, fn, ctx, free);
}

chx_status chx_optimizer_add_weight_decay(chx_scope *s, chx_optimizer *o, double rate)
{
  return add_with_number(s, o, "WeightDecay", weight_decay, rate, !(rate >= 0));
}

chx_status chx_optimizer_add_gradient_clipping(chx_scope *s, chx_optimizer *o, double threshold)
{
  return add_with_number(s, o, "GradientClipping", gradient_clipping, threshold, !(threshold > 0));
}
