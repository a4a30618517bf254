/* SPDX-License-Identifier: MIT
 * link.c: the tree of links: making, naming, walking, calling.
 */
#include "internal.h"

char *chxi_nn_strdup(const char *t)
{
  size_t n = t ? strlen(t) + 1 : 0;
  char *r = t ? malloc(n) : NULL;

  return r ? memcpy(r, t, n) : NULL;
}

const char *chxi_nn_shape_text(char buf[160], int ndim, const int64_t *shape)
{
  size_t n = (size_t)snprintf(buf, 160, "[");

  for (int i = 0; i < ndim && n < 150; i++)
    n += (size_t)snprintf(buf + n, 160 - n, "%s%lld", i ? "," : "", (long long)shape[i]);
  if (n > 157) n = 157;
  snprintf(buf + n, 160 - n, "]");
  return buf;
}

/* ---- making and ending ------------------------------------------------------------------------------------------- */

chx_link *chx_link_new(chx_scope *s, const chx_link_class *cls)
{
  chx_link *l;

  if (!nn_need(s, cls, "chx_link_new", "cls")) return NULL;
  if (!NN_HAS(cls, forward) || cls->data_size > SIZE_MAX / 2) {
    chx_scope_fail(s, CHX_EARG, "chx_link_new: class %s has no forward, or no size", cls->name ? cls->name : "?");
    return NULL;
  }
  l = calloc(1, sizeof *l + cls->data_size);
  if (!l) {
    nn_nomem(s, "chx_link_new");
    return NULL;
  }
  l->cls = cls;
  l->train = 1;
  snprintf(l->device, sizeof l->device, "%s", chx_scope_device(s));
  return l;
}

void chx_link_take_out(chx_link *l)
{
  chx_link *p = l ? l->parent : NULL;

  if (!p) return;
  for (int i = l->index; i + 1 < p->n_children; i++) {
    p->children[i] = p->children[i + 1];
    p->children[i]->index = i;
  }
  p->n_children--;
  l->parent = NULL;
}

/* Trees may be deep: from the leaves, without recursion. */
void chx_link_free(chx_link *root)
{
  chx_link *l = root, *up;

  if (!l) return;
  chx_link_take_out(l);
  do {
    while (l->n_children) l = l->children[l->n_children - 1];
    up = l == root ? NULL : l->parent;
    if (up) up->n_children--;
    if (NN_HAS(l->cls, free)) l->cls->free(l);
    for (int i = 0; i < l->n_params; i++) {
      chx_release(l->params[i]->a);
      free(l->params[i]);
    }
    free(l->params);
    free(l->children);
    free(l->name);
    free(l);
    l = up;
  } while (l);
}

void *chx_link_data(chx_link *link) { return link ? link->data : NULL; }
const chx_link_class *chx_link_class_of(const chx_link *link) { return link ? link->cls : NULL; }
const char *chx_link_name(const chx_link *link) { return link && link->name ? link->name : ""; }
chx_link *chx_link_parent(const chx_link *link) { return link ? link->parent : NULL; }
int chx_link_n_children(const chx_link *link) { return link ? link->n_children : 0; }
chx_link *chx_link_child(const chx_link *link, int i)
{
  return link && i >= 0 && i < link->n_children ? link->children[i] : NULL;
}

static chx_status add_child(chx_scope *s, chx_link *link, const char *name, chx_link *child)
{
  char number[16];
  chx_link **list;

  NN_TRY(chx_link_add, link);
  NN_TRY(chx_link_add, child);
  if (child->parent)
    return chx_scope_fail(s, CHX_EARG, "chx_link_add: the child is already /%s of another link", child->name);
  for (const chx_link *up = link; up; up = up->parent)
    if (up == child) return chx_scope_fail(s, CHX_EARG, "chx_link_add: %s would be inside itself", child->cls->name);
  snprintf(number, sizeof number, "%d", link->n_children);
  if (!name) name = number;
  if (!*name || strchr(name, '/'))
    return chx_scope_fail(s, CHX_EARG, "chx_link_add: name '%s' is empty or has a '/'", name);
  for (int i = 0; i < link->n_children; i++)
    if (!strcmp(link->children[i]->name, name))
      return chx_scope_fail(s, CHX_EARG, "chx_link_add: there is already a child '%s'", name);
  for (int i = 0; i < link->n_params; i++)
    if (!strcmp(link->params[i]->name, name))
      return chx_scope_fail(s, CHX_EARG, "chx_link_add: there is already a parameter '%s'", name);
  list = realloc(link->children, ((size_t)link->n_children + 1) * sizeof *list);
  if (!list) return nn_nomem(s, "chx_link_add");
  link->children = list;
  free(child->name);
  child->name = chxi_nn_strdup(name);
  if (!child->name) return nn_nomem(s, "chx_link_add");
  child->parent = link;
  child->index = link->n_children;
  list[link->n_children++] = child;
  return CHX_OK;
}

chx_status chx_link_add(chx_scope *s, chx_link *link, const char *name, chx_link *child)
{
  chx_status st = add_child(s, link, name, child);

  if (st && child && !child->parent) {
    int inside = 0; /* link may be below child: then the caller still holds the tree */
    for (const chx_link *up = link; up; up = up->parent) inside |= up == child;
    if (!inside) chx_link_free(child);
  }
  return st;
}

/* ---- walking -------------------------------------------------------------------------------------------------------- */

chx_link *chx_link_next_link(const chx_link *root, const chx_link *before)
{
  const chx_link *l = before;

  if (!root) return NULL;
  if (!l) return (chx_link *)root;
  if (l->n_children) return l->children[0];
  for (; l != root && l->parent; l = l->parent)
    if (l->index + 1 < l->parent->n_children) return l->parent->children[l->index + 1];
  return NULL;
}

static chx_param *next_of_kind(const chx_link *root, const chx_param *before, int persistent)
{
  const chx_link *l = before ? before->link : root;
  int i = before ? before->index + 1 : 0;

  for (; l; l = chx_link_next_link(root, l), i = 0)
    for (; i < l->n_params; i++)
      if (l->params[i]->persistent == persistent) return l->params[i];
  return NULL;
}

chx_param *chx_link_next_param(const chx_link *root, const chx_param *before) { return next_of_kind(root, before, 0); }
chx_param *chx_link_next_persistent(const chx_link *root, const chx_param *before)
{
  return next_of_kind(root, before, 1);
}

/* The child of l that the path begins with; *path is moved behind it. */
static chx_link *step_down(chx_link *l, const char **path)
{
  size_t n = strcspn(*path, "/");

  for (int i = 0; i < l->n_children; i++)
    if (strlen(l->children[i]->name) == n && !memcmp(l->children[i]->name, *path, n)) {
      *path += n + ((*path)[n] == '/');
      return l->children[i];
    }
  return NULL;
}

chx_link *chx_link_find(chx_link *link, const char *path)
{
  if (!path) return NULL;
  path += *path == '/';
  while (link && *path) link = step_down(link, &path);
  return link;
}

chx_param *chx_link_find_param(chx_link *root, const char *path)
{
  if (!path) return NULL;
  path += *path == '/';
  while (root && strchr(path, '/')) root = step_down(root, &path);
  for (int i = 0; root && i < root->n_params; i++)
    if (!strcmp(root->params[i]->name, path)) return root->params[i];
  return NULL;
}

/* Written from the end: the length is known first. */
static int path_of(const chx_link *link, const chx_link *root, const char *leaf, char *buf, size_t size)
{
  size_t n = leaf ? strlen(leaf) + 1 : 0, at;

  for (const chx_link *l = link; l && l != root && l->parent; l = l->parent) n += strlen(l->name) + 1;
  if (!n) return snprintf(buf, size, "/");
  at = n;
  if (size) buf[n < size ? n : size - 1] = 0;
  while (at) {
    const char *name = leaf ? leaf : link->name;
    size_t k = strlen(name);
    at -= k;
    for (size_t i = 0; i < k; i++)
      if (at + i + 1 < size) buf[at + i] = name[i];
    if (--at + 1 < size) buf[at] = '/';
    if (leaf) leaf = NULL;
    else link = link->parent;
  }
  return (int)n;
}

int chx_link_path(const chx_link *link, const chx_link *root, char *buf, size_t size)
{
  return path_of(link, root, NULL, buf, size);
}

int chx_param_path(const chx_param *p, const chx_link *root, char *buf, size_t size)
{
  if (!p) return snprintf(buf, size, "/");
  return path_of(p->link, root, p->name, buf, size);
}

/* ---- mode ------------------------------------------------------------------------------------------------------------- */

void chx_link_set_train(chx_link *link, int on)
{
  for (chx_link *l = NULL; (l = chx_link_next_link(link, l));) {
    l->train = on != 0;
    l->finetune = 0;
  }
}

int chx_link_is_train(const chx_link *link) { return link && link->train; }

/* ---- calling ---------------------------------------------------------------------------------------------------------- */

/* Puts the link's path before the message, once: the innermost link is the one to know. */
static void name_the_link(chx_scope *s, const chx_link *l)
{
  char path[NN_PATH_MAX], message[1024];
  chx_status code = chx_scope_error(s);

  snprintf(message, sizeof message, "%s", chx_scope_message(s));
  if (!strncmp(message, "link /", 6)) return;
  chx_link_path(l, NULL, path, sizeof path);
  chx_scope_clear(s);
  chx_scope_fail(s, code, "link %s (%s): %s", path, l->cls->name, message);
}

static void init_from(chx_scope *s, chx_link *l, const chx_array *x)
{
  if (NN_HAS(l->cls, init)) l->cls->init(s, l, x);
  for (int i = 0; i < l->n_params && l->n_unset && !chx_scope_error(s); i++)
    if (!l->params[i]->a)
      chx_scope_fail(s, CHX_ESHAPE, "parameter %s has no shape, want one from its class's init or from a file",
                     l->params[i]->name);
}

chx_array *chx_link_call(chx_scope *s, chx_link *link, const chx_array *x)
{
  size_t mark;
  chx_array *y = NULL;

  if (!nn_need(s, link, "chx_link_call", "link") || !nn_need(s, x, "chx_link_call", "x")) return NULL;
  mark = chx_scope_mark(s);
  if (link->n_unset) init_from(s, link, x);
  if (!chx_scope_error(s)) {
    y = link->cls->forward(s, link, x);
    if (!y && !chx_scope_error(s)) chx_scope_fail(s, CHX_EFAILED, "forward returned NULL without an error");
  }
  if (chx_scope_error(s)) {
    name_the_link(s, link);
    chx_scope_rewind(s, mark, NULL);
    return NULL;
  }
  if (y != x) return chx_scope_rewind(s, mark, y);
  chx_scope_rewind(s, mark, NULL); /* x itself, which is not of this call */
  return y;
}
