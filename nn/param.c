/* SPDX-License-Identifier: MIT
 * param.c: parameters and persistent values: declaring, first values, gradients, copies, moves.
 */
#include "internal.h"
#include <stdatomic.h>

uint64_t chxi_nn_param_id(void)
{
  static atomic_uint_fast64_t last;

  return atomic_fetch_add(&last, 1) + 1;
}

/* ---- declaring -------------------------------------------------------------------------------------------------------- */

static chx_param *declare(chx_scope *s, chx_link *link, const char *name, const char *function)
{
  size_t n;
  chx_param *p, **list;

  if (!nn_need(s, link, function, "link") || !nn_need(s, name, function, "name")) return NULL;
  if (!*name || strchr(name, '/')) {
    chx_scope_fail(s, CHX_EARG, "%s: name '%s' is empty or has a '/'", function, name);
    return NULL;
  }
  for (int i = 0; i < link->n_params; i++)
    if (!strcmp(link->params[i]->name, name)) {
      chx_scope_fail(s, CHX_EARG, "%s: there is already a value '%s'", function, name);
      return NULL;
    }
  for (int i = 0; i < link->n_children; i++)
    if (!strcmp(link->children[i]->name, name)) {
      chx_scope_fail(s, CHX_EARG, "%s: there is already a child '%s'", function, name);
      return NULL;
    }
  n = strlen(name) + 1;
  list = realloc(link->params, ((size_t)link->n_params + 1) * sizeof *list);
  if (list) link->params = list;
  p = list ? calloc(1, sizeof *p + n) : NULL;
  if (!p) {
    nn_nomem(s, function);
    return NULL;
  }
  memcpy(p->name, name, n);
  p->link = link;
  p->index = link->n_params;
  p->id = chxi_nn_param_id();
  p->update = 1;
  return p;
}

/* The array of a parameter: dense, on the link's device, a leaf of graph 0. Its first values are `a`. */
static chx_status set_array(chx_scope *s, chx_param *p, chx_array *a)
{
  char want[160], is[160];

  if (!a)
    return chx_scope_error(s) ? chx_scope_error(s) : chx_scope_fail(s, CHX_EFAILED, "%s: no initial values", p->name);
  if (chx_dtype(a) != p->dtype || chx_ndim(a) != p->ndim ||
      (p->ndim && memcmp(chx_shape(a), p->shape, (size_t)p->ndim * sizeof *p->shape)))
    return chx_scope_fail(s, CHX_ESHAPE, "%s: the initializer gave %s %s, want %s %s", p->name,
                          chx_dtype_name(chx_dtype(a)), chxi_nn_shape_text(is, chx_ndim(a), chx_shape(a)),
                          chx_dtype_name(p->dtype), chxi_nn_shape_text(want, p->ndim, p->shape));
  if (!p->persistent) chx_require_grad(s, a);
  if (chx_scope_error(s)) return chx_scope_error(s);
  p->a = chx_keep(a);
  return CHX_OK;
}

static chx_status make_array(chx_scope *s, chx_param *p)
{
  size_t mark = chx_scope_mark(s);
  int mode = chx_scope_set_grad(s, CHX_GRAD_OFF);
  chx_array *a = p->init.fn(s, &p->init, p->dtype, p->ndim, p->shape);

  a = a ? chx_contiguous(s, chx_to(s, a, p->link->device)) : NULL;
  set_array(s, p, a);
  chx_scope_set_grad(s, mode);
  chx_scope_rewind(s, mark, NULL);
  return chx_scope_error(s);
}

chx_status chx_link_add_param(chx_scope *s, chx_link *link, const char *name, int dtype, int ndim, const int64_t *shape,
                              const chx_nn_init *init)
{
  int known = 1;
  chx_param *p = declare(s, link, name, "chx_link_add_param");

  if (!p) return chx_scope_error(s);
  p->dtype = dtype;
  p->ndim = ndim;
  p->init = init && init->fn ? *init : chx_nn_init_lecun_normal(1);
  if (dtype < 0 || dtype >= 64 || !(CHX_BIT(dtype) & CHX_FLOATS))
    chx_scope_fail(s, CHX_EDTYPE, "chx_link_add_param: %s is %s, want a floating dtype", name, chx_dtype_name(dtype));
  else if (ndim < 0 || ndim > CHX_MAX_RANK || (ndim && !shape))
    chx_scope_fail(s, CHX_ESHAPE, "chx_link_add_param: %s has %d axes, want 0 to %d and their lengths", name, ndim,
                   CHX_MAX_RANK);
  else
    for (int i = 0; i < ndim; i++) {
      p->shape[i] = shape[i];
      known &= shape[i] >= 0;
      if (shape[i] < -1)
        chx_scope_fail(s, CHX_ESHAPE, "chx_link_add_param: %s has length %lld, want -1 or more", name,
                       (long long)shape[i]);
    }
  if (!chx_scope_error(s) && known) make_array(s, p);
  if (!chx_scope_error(s) && p->index != link->n_params) /* by its place in the list it would be another's */
    chx_scope_fail(s, CHX_EARG, "chx_link_add_param: the initializer of %s declared a value of the same link", name);
  if (chx_scope_error(s)) {
    chx_release(p->a);
    free(p);
    return chx_scope_error(s);
  }
  link->params[link->n_params++] = p;
  link->n_unset += !p->a;
  return CHX_OK;
}

static int agrees(const chx_param *p, int ndim, const int64_t *shape)
{
  if (ndim != p->ndim) return 0;
  for (int i = 0; i < ndim; i++)
    if (shape[i] < 0 || (p->shape[i] >= 0 && p->shape[i] != shape[i])) return 0;
  return 1;
}

chx_status chx_link_init_param(chx_scope *s, chx_link *link, const char *name, int ndim, const int64_t *shape)
{
  int64_t declared[CHX_MAX_RANK];
  char want[160], is[160];
  chx_param *p = NULL;

  NN_TRY(chx_link_init_param, link);
  NN_TRY(chx_link_init_param, name);
  for (int i = 0; i < link->n_params; i++)
    if (!link->params[i]->persistent && !strcmp(link->params[i]->name, name)) p = link->params[i];
  if (!p) return chx_scope_fail(s, CHX_EARG, "chx_link_init_param: there is no parameter '%s'", name);
  if (p->a) return CHX_OK; /* loaded from a file, say */
  if (ndim < 0 || ndim > CHX_MAX_RANK || (ndim && !shape) || !agrees(p, ndim, shape))
    return chx_scope_fail(s, CHX_ESHAPE, "parameter %s: shape is %s, want %s", name,
                          ndim > 0 && ndim <= CHX_MAX_RANK && shape ? chxi_nn_shape_text(is, ndim, shape) : "unknown",
                          chxi_nn_shape_text(want, p->ndim, p->shape));
  memcpy(declared, p->shape, sizeof declared);
  for (int i = 0; i < ndim; i++) p->shape[i] = shape[i];
  if (make_array(s, p)) memcpy(p->shape, declared, sizeof declared);
  else link->n_unset--;
  return chx_scope_error(s);
}

chx_status chx_link_add_persistent(chx_scope *s, chx_link *link, const char *name, const chx_array *value)
{
  chx_param *p;

  NN_TRY(chx_link_add_persistent, value);
  p = declare(s, link, name, "chx_link_add_persistent");
  if (!p) return chx_scope_error(s);
  p->persistent = 1;
  p->update = 0;
  p->dtype = chx_dtype(value);
  p->ndim = chx_ndim(value);
  for (int i = 0; i < p->ndim; i++) p->shape[i] = chx_shape(value)[i];
  p->a = chx_keep(value);
  link->params[link->n_params++] = p;
  return CHX_OK;
}

/* ---- reading ------------------------------------------------------------------------------------------------------------ */

chx_array *chx_link_array(chx_scope *s, chx_link *link, const char *name)
{
  if (!nn_need(s, link, "chx_link_array", "link") || !nn_need(s, name, "chx_link_array", "name")) return NULL;
  for (int i = 0; i < link->n_params; i++)
    if (!strcmp(link->params[i]->name, name)) {
      if (!link->params[i]->a) chx_scope_fail(s, CHX_ESHAPE, "chx_link_array: parameter %s has no shape yet", name);
      return link->params[i]->a;
    }
  chx_scope_fail(s, CHX_EARG, "chx_link_array: there is no parameter or persistent value '%s'", name);
  return NULL;
}

chx_array *chx_param_array(const chx_param *p) { return p ? p->a : NULL; }
const char *chx_param_name(const chx_param *p) { return p ? p->name : ""; }
chx_link *chx_param_link(const chx_param *p) { return p ? p->link : NULL; }
int chx_param_dtype(const chx_param *p) { return p ? p->dtype : CHX_DTYPE_NONE; }
int chx_param_is_persistent(const chx_param *p) { return p && p->persistent; }
void chx_param_set_update(chx_param *p, int on)
{
  if (p && !p->persistent) p->update = on != 0;
}
int chx_param_update(const chx_param *p) { return p && p->update; }

int64_t chx_link_count_params(const chx_link *link)
{
  int64_t n = 0;

  for (chx_param *p = NULL; (p = chx_link_next_param(link, p));)
    if (p->a) n += chx_size(p->a);
  return n;
}

int chx_link_is_initialized(const chx_link *link)
{
  for (chx_link *l = NULL; (l = chx_link_next_link(link, l));)
    if (l->n_unset) return 0;
  return link != NULL;
}

/* ---- plans ---------------------------------------------------------------------------------------------------------------- */

chx_status chxi_nn_write(chx_scope *s, chx_array *a, const chx_array *v)
{
  chx_status st = chx_copy_into(s, a, v);

  /* A copy between arrays of one device needs no memory of it; should one of the core's own small objects have been
   * refused, the next try finds that memory again. Half a commit is worse than a second try. */
  for (int i = 0; i < 3 && st == CHX_ENOMEM; i++) {
    chx_scope_clear(s);
    st = chx_copy_into(s, a, v);
  }
  return st;
}

chx_status chxi_nn_plan_add(chx_scope *s, chxi_nn_plan *plan, chx_param *p, const chx_array *v, const char *what,
                            const char *key)
{
  char want[160], is[160];
  int fresh = !p->a;
  chx_array *own;

  if (chx_scope_error(s)) return chx_scope_error(s);
  if (chx_dtype(v) != p->dtype)
    return chx_scope_fail(s, CHX_EDTYPE, "%s: %s is %s, want %s", what, key, chx_dtype_name(chx_dtype(v)),
                          chx_dtype_name(p->dtype));
  if (!agrees(p, chx_ndim(v), chx_shape(v)))
    return chx_scope_fail(s, CHX_ESHAPE, "%s: %s has shape %s, want %s", what, key,
                          chxi_nn_shape_text(is, chx_ndim(v), chx_shape(v)),
                          chxi_nn_shape_text(want, p->ndim, p->shape));
  if (plan->n == plan->cap) {
    int cap = plan->cap ? 2 * plan->cap : 16;
    struct chxi_nn_change *item = realloc(plan->item, (size_t)cap * sizeof *item);
    if (!item) return nn_nomem(s, what);
    plan->item = item;
    plan->cap = cap;
  }
  own = chx_to(s, chx_detach(s, v), fresh ? p->link->device : chx_device(p->a));
  own = fresh ? chx_copy(s, own) : own; /* a fresh one becomes the parameter's own array */
  if (fresh && !p->persistent) chx_require_grad(s, own);
  if (chx_scope_error(s)) return chx_scope_error(s);
  plan->item[plan->n++] = (struct chxi_nn_change){p, chx_keep(own)};
  return CHX_OK;
}

chx_status chxi_nn_plan_commit(chx_scope *s, chxi_nn_plan *plan)
{
  int mode;

  if (chx_scope_error(s)) return chx_scope_error(s);
  mode = chx_scope_set_grad(s, CHX_GRAD_OFF);
  for (int i = 0; i < plan->n; i++)
    if (plan->item[i].p->a) chxi_nn_write(s, plan->item[i].p->a, plan->item[i].v);
  chx_scope_set_grad(s, mode);
  if (chx_scope_error(s)) return chx_scope_error(s);
  for (int i = 0; i < plan->n; i++) {
    chx_param *p = plan->item[i].p;
    if (p->a) continue;
    p->a = plan->item[i].v;
    plan->item[i].v = NULL;
    for (int k = 0; k < p->ndim; k++) p->shape[k] = chx_shape(p->a)[k];
    p->link->n_unset--;
  }
  return CHX_OK;
}

void chxi_nn_plan_free(chxi_nn_plan *plan)
{
  for (int i = 0; i < plan->n; i++) chx_release(plan->item[i].v);
  free(plan->item);
  *plan = (chxi_nn_plan){0};
}

/* ---- gradients, copies, moves --------------------------------------------------------------------------------------------- */

chx_status chx_link_clear_grads(chx_scope *s, chx_link *link)
{
  NN_TRY(chx_link_clear_grads, link);
  for (chx_param *p = NULL; (p = chx_link_next_param(link, p));)
    if (p->a) chx_set_grad(s, p->a, NULL);
  return chx_scope_error(s);
}

chx_status chx_link_zero_grads(chx_scope *s, chx_link *link)
{
  size_t mark = chx_scope_mark(s);

  NN_TRY(chx_link_zero_grads, link);
  for (chx_param *p = NULL; (p = chx_link_next_param(link, p));)
    if (p->a) chx_set_grad(s, p->a, chx_zeros_like(s, p->a));
  chx_scope_rewind(s, mark, NULL);
  return chx_scope_error(s);
}

/* The value of the same path in the other tree; an error that names it if there is none. */
static chx_param *twin(chx_scope *s, const chx_param *p, const chx_link *root, const chx_link *other,
                       char key[NN_PATH_MAX], const char *what)
{
  chx_param *q;

  chx_param_path(p, root, key, NN_PATH_MAX);
  q = chx_link_find_param((chx_link *)other, key);
  if (!q || q->persistent != p->persistent) {
    chx_scope_fail(s, CHX_EARG, "%s: %s is not in the other link", what, key);
    return NULL;
  }
  return q;
}

chx_status chx_link_add_grads(chx_scope *s, chx_link *link, const chx_link *from)
{
  static const char what[] = "chx_link_add_grads";
  size_t mark = chx_scope_mark(s);
  chx_array **sum;
  int n = 0, mode;

  NN_TRY(chx_link_add_grads, link);
  NN_TRY(chx_link_add_grads, from);
  for (chx_param *p = NULL; (p = chx_link_next_param(link, p));) n++;
  sum = calloc((size_t)n + 1, sizeof *sum);
  if (!sum) return nn_nomem(s, what);
  mode = chx_scope_set_grad(s, CHX_GRAD_OFF);
  n = 0;
  for (chx_param *p = NULL; (p = chx_link_next_param(link, p)); n++) {
    char key[NN_PATH_MAX], a[160], b[160];
    chx_param *q = twin(s, p, link, from, key, what);
    chx_array *g = q && q->a ? chx_grad_of(s, q->a) : NULL, *own;
    if (chx_scope_error(s)) break;
    if (!g) continue;
    if (!p->a || !agrees(p, chx_ndim(g), chx_shape(g))) {
      chx_scope_fail(s, CHX_ESHAPE, "%s: %s has shape %s, its twin %s", what, key,
                     chxi_nn_shape_text(a, p->ndim, p->shape), chxi_nn_shape_text(b, chx_ndim(g), chx_shape(g)));
      break;
    }
    g = chx_cast(s, chx_to(s, g, chx_device(p->a)), p->dtype);
    own = chx_grad_of(s, p->a);
    sum[n] = own ? chx_add(s, own, g) : g;
  }
  if (!chx_scope_error(s)) {
    n = 0;
    for (chx_param *p = NULL; (p = chx_link_next_param(link, p)); n++)
      if (sum[n]) chx_set_grad(s, p->a, sum[n]);
  }
  free(sum);
  chx_scope_set_grad(s, mode);
  chx_scope_rewind(s, mark, NULL);
  return chx_scope_error(s);
}

chx_status chx_link_copy_params(chx_scope *s, chx_link *link, const chx_link *from, int persistent)
{
  static const char what[] = "chx_link_copy_params";
  size_t mark = chx_scope_mark(s);
  chxi_nn_plan plan = {0};
  char key[NN_PATH_MAX];

  NN_TRY(chx_link_copy_params, link);
  NN_TRY(chx_link_copy_params, from);
  for (int kind = 0; kind <= (persistent != 0); kind++)
    for (chx_param *p = NULL; (p = kind ? chx_link_next_persistent(link, p) : chx_link_next_param(link, p));) {
      chx_param *q = twin(s, p, link, from, key, what);
      if (!q) break;
      if (q->a) chxi_nn_plan_add(s, &plan, p, q->a, what, key);
    }
  chxi_nn_plan_commit(s, &plan);
  chxi_nn_plan_free(&plan);
  chx_scope_rewind(s, mark, NULL);
  return chx_scope_error(s);
}

/* One value and its gradient on another device, still beside the old ones. */
static void moved(chx_scope *s, const chx_param *p, const char *device, chx_array **v)
{
  size_t mark = chx_scope_mark(s);
  chx_array *a = chx_to(s, chx_detach(s, p->a), device), *g = p->persistent ? NULL : chx_grad_of(s, p->a);

  if (!p->persistent) chx_require_grad(s, a);
  if (g) chx_set_grad(s, a, chx_to(s, g, device));
  *v = chx_scope_error(s) ? NULL : chx_keep(a);
  chx_scope_rewind(s, mark, NULL);
}

chx_status chx_link_to_device(chx_scope *s, chx_link *link, const char *device)
{
  chx_array **v;
  chx_scope *probe;
  char full[64];
  int n = 0, i = 0, mode;

  NN_TRY(chx_link_to_device, link);
  NN_TRY(chx_link_to_device, device);
  probe = chx_scope_begin(device); /* checks the specifier, also where nothing has a shape yet */
  if (chx_scope_error(probe)) chx_scope_fail(s, chx_scope_error(probe), "%s", chx_scope_message(probe));
  snprintf(full, sizeof full, "%s", chx_scope_device(probe));
  chx_scope_end(probe);
  if (chx_scope_error(s)) return chx_scope_error(s);
  for (chx_link *l = NULL; (l = chx_link_next_link(link, l));) n += l->n_params;
  v = calloc((size_t)n + 1, sizeof *v);
  if (!v) return nn_nomem(s, "chx_link_to_device");
  mode = chx_scope_set_grad(s, CHX_GRAD_OFF);
  for (chx_link *l = NULL; (l = chx_link_next_link(link, l));)
    for (int k = 0; k < l->n_params; k++, i++)
      if (l->params[k]->a && strcmp(chx_device(l->params[k]->a), full) && !chx_scope_error(s))
        moved(s, l->params[k], full, &v[i]);
  chx_scope_set_grad(s, mode);
  for (chx_link *l = NULL; (l = chx_link_next_link(link, l));)
    if (NN_HAS(l->cls, to_device) && !chx_scope_error(s)) l->cls->to_device(s, l, full);
  i = 0;
  for (chx_link *l = NULL; (l = chx_link_next_link(link, l));) {
    for (int k = 0; k < l->n_params; k++, i++) {
      chx_array **a = &l->params[k]->a, *old = *a;
      if (!chx_scope_error(s) && v[i]) *a = v[i], v[i] = old;
      chx_release(v[i]);
    }
    if (!chx_scope_error(s)) snprintf(l->device, sizeof l->device, "%s", full);
  }
  free(v);
  return chx_scope_error(s);
}
