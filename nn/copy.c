/* SPDX-License-Identifier: MIT
 * copy.c: a link once more, with values of its own.
 */
#include "internal.h"

static chx_status copy_value(chx_scope *s, chx_param *to, const chx_array *a)
{
  chx_array *v = chx_copy(s, chx_detach(s, a));

  if (v && !to->persistent) chx_require_grad(s, v);
  if (chx_scope_error(s)) return chx_scope_error(s);
  to->a = chx_keep(v);
  return CHX_OK;
}

static chx_status copy_params(chx_scope *s, chx_link *to, const chx_link *from)
{
  to->params = calloc((size_t)from->n_params + 1, sizeof *to->params);
  if (!to->params) return nn_nomem(s, "chx_link_copy");
  for (int i = 0; i < from->n_params; i++) {
    const chx_param *q = from->params[i];
    size_t n = sizeof *q + strlen(q->name) + 1;
    chx_param *p = malloc(n);
    if (!p) return nn_nomem(s, "chx_link_copy");
    memcpy(p, q, n);
    p->a = NULL;
    p->link = to;
    p->id = chxi_nn_param_id();
    to->params[to->n_params++] = p;
    if (q->a && copy_value(s, p, q->a)) return chx_scope_error(s);
  }
  to->n_unset = from->n_unset;
  return CHX_OK;
}

/* `from` alone, as a root. Its data stay zeroed until nothing else can fail, as `free` takes them then. */
static chx_link *copy_one(chx_scope *s, const chx_link *from)
{
  chx_link *to;

  if (NN_HAS(from->cls, free) && !NN_HAS(from->cls, copy)) {
    chx_scope_fail(s, CHX_EUNSUPPORTED, "chx_link_copy: class %s has a `free` and no `copy`", from->cls->name);
    return NULL;
  }
  to = calloc(1, sizeof *to + from->cls->data_size);
  if (!to) {
    nn_nomem(s, "chx_link_copy");
    return NULL;
  }
  to->cls = from->cls;
  to->train = from->train;
  to->finetune = from->finetune;
  memcpy(to->device, from->device, sizeof to->device);
  if (!copy_params(s, to, from)) {
    memcpy(to->data, from->data, from->cls->data_size);
    if (NN_HAS(from->cls, copy) && from->cls->copy(s, to, from)) memset(to->data, 0, from->cls->data_size);
  }
  if (!chx_scope_error(s)) return to;
  chx_link_free(to);
  return NULL;
}

chx_link *chx_link_copy(chx_scope *s, const chx_link *link, int children)
{
  size_t mark = chx_scope_mark(s);
  const chx_link *before = link;
  chx_link *root, *at;

  if (!nn_need(s, link, "chx_link_copy", "link")) return NULL;
  root = at = copy_one(s, link);
  /* Trees may be deep: in their order, without recursion. at: the copy of `before`. */
  for (const chx_link *l = link; children && at && (l = chx_link_next_link(link, l)); before = l) {
    for (; before != l->parent; before = before->parent) at = at->parent;
    chx_link *one = copy_one(s, l);
    at = one && !chx_link_add(s, at, l->name, one) ? one : NULL;
  }
  chx_scope_rewind(s, mark, NULL);
  if (!chx_scope_error(s)) return root;
  chx_link_free(root);
  return NULL;
}
