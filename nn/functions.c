/* SPDX-License-Identifier: MIT
 * functions.c: links without weights: sequences, pooling, shapes, plain functions.
 */
#include "internal.h"

/* ---- sequential ----------------------------------------------------------------------------------------------------------- */

static chx_array *sequential_forward(chx_scope *s, chx_link *l, const chx_array *x)
{
  size_t mark = chx_scope_mark(s);
  const chx_array *h = x;

  for (int i = 0; i < l->n_children; i++) {
    chx_array *y = chx_link_call(s, l->children[i], h);
    if (!y) return NULL;
    if (y == h) continue;
    h = y == x ? (chx_scope_rewind(s, mark, NULL), x) : chx_scope_rewind(s, mark, y); /* the child's input goes */
  }
  return (chx_array *)h;
}

static const chx_link_class sequential_class = {
  .size = sizeof sequential_class, .name = "Sequential", .forward = sequential_forward};

chx_link *chx_link_sequential(chx_scope *s) { return chx_link_new(s, &sequential_class); }

/* ---- pooling ------------------------------------------------------------------------------------------------------------------ */

static chx_array *max_pool_forward(chx_scope *s, chx_link *l, const chx_array *x)
{
  return chx_max_pool(s, x, chx_link_data(l), NULL);
}
static const chx_link_class max_pool_class = {
  .size = sizeof max_pool_class, .name = "MaxPool", .data_size = sizeof(chx_pool_attr), .forward = max_pool_forward};

static chx_array *avg_pool_forward(chx_scope *s, chx_link *l, const chx_array *x)
{
  return chx_avg_pool(s, x, chx_link_data(l));
}
static const chx_link_class avg_pool_class = {
  .size = sizeof avg_pool_class, .name = "AvgPool", .data_size = sizeof(chx_pool_attr), .forward = avg_pool_forward};

static chx_link *pool(chx_scope *s, const chx_link_class *cls, const chx_pool_attr *p)
{
  chx_link *l;
  chx_pool_attr *d;

  if (!nn_need(s, p, cls->name, "p")) return NULL;
  if (p->ksize.n < 1) {
    chx_scope_fail(s, CHX_EARG, "%s: ksize is empty, want a length per spatial axis", cls->name);
    return NULL;
  }
  l = chx_link_new(s, cls);
  d = chx_link_data(l);
  if (!l) return NULL;
  *d = CHX_ATTR(pool);
  memcpy(d, p, p->size && p->size < sizeof *p ? p->size : sizeof *p);
  d->size = sizeof *d;
  return l;
}

chx_link *chx_link_max_pool(chx_scope *s, const chx_pool_attr *p) { return pool(s, &max_pool_class, p); }
chx_link *chx_link_avg_pool(chx_scope *s, const chx_pool_attr *p) { return pool(s, &avg_pool_class, p); }

/* ---- shapes ------------------------------------------------------------------------------------------------------------------- */

static chx_array *flatten_forward(chx_scope *s, chx_link *l, const chx_array *x)
{
  int64_t shape[2] = {1, 1};

  (void)l;
  if (chx_ndim(x) < 1) {
    chx_scope_fail(s, CHX_ESHAPE, "x has no axes, want at least 1");
    return NULL;
  }
  if (chx_ndim(x) == 2) return (chx_array *)x;
  shape[0] = chx_shape(x)[0];
  for (int i = 1; i < chx_ndim(x); i++) shape[1] *= chx_shape(x)[i];
  return chx_reshape(s, x, 2, shape);
}
static const chx_link_class flatten_class = {
    .size = sizeof flatten_class, .name = "Flatten", .forward = flatten_forward};

chx_link *chx_link_flatten(chx_scope *s) { return chx_link_new(s, &flatten_class); }

static chx_array *reshape_forward(chx_scope *s, chx_link *l, const chx_array *x)
{
  const chx_ints *d = chx_link_data(l);
  int64_t shape[CHX_MAX_RANK];

  if (chx_ndim(x) < 1) {
    chx_scope_fail(s, CHX_ESHAPE, "x has no axes, want at least 1");
    return NULL;
  }
  shape[0] = chx_shape(x)[0];
  for (int i = 0; i < d->n; i++) shape[i + 1] = d->v[i];
  if (chx_ndim(x) == d->n + 1 && !memcmp(shape, chx_shape(x), (size_t)(d->n + 1) * sizeof *shape))
    return (chx_array *)x;
  return chx_reshape(s, x, (int)d->n + 1, shape);
}
static const chx_link_class reshape_class = {
  .size = sizeof reshape_class, .name = "Reshape", .data_size = sizeof(chx_ints), .forward = reshape_forward};

chx_link *chx_link_reshape(chx_scope *s, int ndim, const int64_t *shape)
{
  chx_link *l;
  chx_ints *d;

  if (ndim < 0 || ndim >= CHX_MAX_RANK || (ndim && !shape))
    chx_scope_fail(s, CHX_EARG, "chx_link_reshape: %d axes, want 0 to %d and their lengths", ndim, CHX_MAX_RANK - 1);
  for (int i = 0; !chx_scope_error(s) && i < ndim; i++)
    if (shape[i] < 0) chx_scope_fail(s, CHX_EARG, "chx_link_reshape: length %lld, want 0 or more", (long long)shape[i]);
  l = chx_link_new(s, &reshape_class);
  d = chx_link_data(l);
  if (!l) return NULL;
  d->n = ndim;
  for (int i = 0; i < ndim; i++) d->v[i] = shape[i];
  return l;
}

/* ---- functions ------------------------------------------------------------------------------------------------------------------ */

typedef struct function {
  chx_link_class cls; /* its own, for the name in messages */
  char name[32];
  chx_array *(*fn)(chx_scope *s, const chx_array *x);
} function;

static chx_array *function_forward(chx_scope *s, chx_link *l, const chx_array *x)
{
  return ((const function *)chx_link_data(l))->fn(s, x);
}

/* The class and its name are the link's own. */
static chx_status function_copy(chx_scope *s, chx_link *to, const chx_link *from)
{
  function *d = chx_link_data(to);

  (void)s, (void)from;
  d->cls.name = d->name;
  to->cls = &d->cls;
  return CHX_OK;
}

static const chx_link_class function_class = {.size = sizeof function_class,
                                              .name = "Function",
                                              .data_size = sizeof(function),
                                              .forward = function_forward,
                                              .copy = function_copy};

chx_link *chx_link_function(chx_scope *s, const char *name, chx_array *(*fn)(chx_scope *s, const chx_array *x))
{
  chx_link *l = NULL;
  function *d;

  if (!chx_scope_error(s) && (!fn || !name))
    chx_scope_fail(s, CHX_EARG, "chx_link_function: %s is NULL", fn ? "name" : "fn");
  if (!chx_scope_error(s)) l = chx_link_new(s, &function_class);
  d = chx_link_data(l);
  if (!l) return NULL;
  snprintf(d->name, sizeof d->name, "%s", name);
  d->cls = function_class;
  d->cls.name = d->name;
  d->fn = fn;
  l->cls = &d->cls;
  return l;
}
