/* SPDX-License-Identifier: MIT
 * archive.c: one NPZ file being written or read. Saving collects arrays under keys; loading checks each as it is asked for and
 * remembers what to do with it. chx_nn_archive_end does it all: one file written, or one plan and a list of steps that cannot fail.
 */
#include "internal.h"

typedef struct later {
  chxi_nn_later_fn fn;
  void *ctx, *bytes;
  int64_t i;
  chx_array *a;
} later;

struct chx_nn_archive {
  int saving, n, cap; /* entries to save, or steps of loading */
  char **key;
  chx_array **array;
  chx_npz *z;
  unsigned char *asked; /* per entry of the file */
  later *step;
  chxi_nn_plan plan;
  char path[];
};

/* ---- beginning and ending --------------------------------------------------------------------------------------------------- */

static void archive_free(chx_nn_archive *z)
{
  if (!z) return;
  for (int i = 0; i < z->n; i++) {
    free(z->saving ? z->key[i] : z->step[i].bytes);
    chx_release(z->saving ? z->array[i] : z->step[i].a);
  }
  free(z->key);
  free(z->array);
  free(z->step);
  free(z->asked);
  chxi_nn_plan_free(&z->plan);
  chx_npz_close(z->z);
  free(z);
}

chx_nn_archive *chx_nn_archive_begin(chx_scope *s, const char *path, int mode)
{
  chx_nn_archive *z;
  size_t n;

  if (!nn_need(s, path, "chx_nn_archive_begin", "path")) return NULL;
  n = strlen(path) + 1;
  z = calloc(1, sizeof *z + n);
  if (!z) {
    nn_nomem(s, path);
    return NULL;
  }
  memcpy(z->path, path, n);
  z->saving = mode == CHX_NN_SAVE;
  if (!z->saving) {
    z->z = chx_npz_open(s, path);
    z->asked = z->z ? calloc((size_t)chx_npz_count(z->z) + 1, 1) : NULL;
    if (z->z && !z->asked) nn_nomem(s, path);
  }
  if (!chx_scope_error(s)) return z;
  archive_free(z);
  return NULL;
}

chx_status chx_nn_archive_end(chx_scope *s, chx_nn_archive *z)
{
  if (!chx_scope_error(s) && !z) chx_scope_fail(s, CHX_EARG, "chx_nn_archive_end: the archive is NULL");
  if (!chx_scope_error(s) && z->saving) {
    chx_sync(s); /* what a device says late must be known before the file replaces a good one */
    chx_save_npz(s, z->path, z->n, (const char *const *)z->key, (const chx_array *const *)z->array, 0);
  } else if (!chx_scope_error(s) && !chxi_nn_plan_commit(s, &z->plan)) {
    for (int i = 0; i < z->n; i++) z->step[i].fn(z->step[i].ctx, z->step[i].i, z->step[i].bytes, z->step[i].a);
  }
  archive_free(z);
  return chx_scope_error(s);
}

/* ---- entries ------------------------------------------------------------------------------------------------------------------ */

int chxi_nn_archive_saving(const chx_nn_archive *z) { return z->saving; }

static int index_of(const chx_nn_archive *z, const char *key)
{
  for (int i = 0, n = chx_npz_count(z->z); i < n; i++)
    if (!strcmp(chx_npz_name(z->z, i), key)) return i;
  return -1;
}

int chx_nn_archive_has(const chx_nn_archive *z, const char *key)
{
  return z && key && !z->saving && index_of(z, key) >= 0;
}

chx_status chxi_nn_key(chx_scope *s, char key[NN_PATH_MAX], const char *prefix, const char *name)
{
  int n;

  name += *name == '/';
  n = snprintf(key, NN_PATH_MAX, "%s%s%s", prefix, *prefix && *name ? "/" : "", name);
  if (n >= NN_PATH_MAX)
    return chx_scope_fail(s, CHX_EARG, "key %.60s... has %d characters, want less than %d", key, n, NN_PATH_MAX);
  return chx_scope_error(s);
}

static int grow(chx_scope *s, chx_nn_archive *z)
{
  int cap = z->cap ? 2 * z->cap : 32;
  size_t n = (size_t)cap;
  void *a, *b;

  if (z->n < z->cap) return 1;
  if (z->saving) {
    a = realloc(z->key, n * sizeof *z->key);
    if (a) z->key = a;
    b = realloc(z->array, n * sizeof *z->array);
    if (b) z->array = b;
  } else {
    a = b = realloc(z->step, n * sizeof *z->step);
    if (a) z->step = a;
  }
  if (a && b) z->cap = cap;
  else nn_nomem(s, z->path);
  return a && b;
}

chx_status chxi_nn_archive_put(chx_scope *s, chx_nn_archive *z, const char *key, const chx_array *a)
{
  char *copy;

  NN_TRY(chx_nn_archive, z);
  if (!nn_need(s, a, z->path, key)) return chx_scope_error(s);
  for (int i = 0; i < z->n; i++)
    if (!strcmp(z->key[i], key)) return chx_scope_fail(s, CHX_EARG, "%s: key %s was given twice", z->path, key);
  if (!grow(s, z)) return chx_scope_error(s);
  copy = chxi_nn_strdup(key);
  if (!copy) return nn_nomem(s, z->path);
  z->key[z->n] = copy;
  z->array[z->n++] = chx_keep(a);
  return CHX_OK;
}

chx_array *chxi_nn_archive_get(chx_scope *s, chx_nn_archive *z, const char *key)
{
  int i;

  if (!nn_need(s, z, "chx_nn_archive", "z")) return NULL;
  i = index_of(z, key);
  if (i < 0) {
    chx_scope_fail(s, CHX_EARG, "%s: %s is missing", z->path, key);
    return NULL;
  }
  z->asked[i] = 1;
  return chx_npz_get(s, z->z, key);
}

chx_array *chxi_nn_archive_get_as(chx_scope *s, chx_nn_archive *z, const char *key, int dtype, int ndim,
                                  const int64_t *shape)
{
  chx_array *a = chxi_nn_archive_get(s, z, key);
  char is[160], want[160];
  int ok;

  if (!a) return NULL;
  ok = chx_dtype(a) == dtype && chx_ndim(a) == ndim;
  for (int i = 0; ok && i < ndim; i++) ok = shape[i] < 0 || shape[i] == chx_shape(a)[i];
  if (ok) return a;
  chx_scope_fail(s, chx_dtype(a) == dtype ? CHX_ESHAPE : CHX_EDTYPE, "%s: %s is %s %s, want %s %s", z->path, key,
                 chx_dtype_name(chx_dtype(a)), chxi_nn_shape_text(is, chx_ndim(a), chx_shape(a)), chx_dtype_name(dtype),
                 chxi_nn_shape_text(want, ndim, shape));
  return NULL;
}

chx_status chxi_nn_archive_later(chx_scope *s, chx_nn_archive *z, chxi_nn_later_fn fn, void *ctx, int64_t i,
                                 const void *bytes, const chx_array *a)
{
  void *copy = NULL;

  if (chx_scope_error(s) || !grow(s, z)) return chx_scope_error(s);
  if (bytes) {
    copy = malloc((size_t)i + 1);
    if (!copy) return nn_nomem(s, z->path);
    memcpy(copy, bytes, (size_t)i);
  }
  z->step[z->n++] = (later){fn, ctx, copy, i, a ? chx_keep(a) : NULL};
  return CHX_OK;
}

static int is_below(const char *key, const char *prefix)
{
  size_t n = strlen(prefix);

  return !n || (!strncmp(key, prefix, n) && key[n] == '/');
}

chx_status chxi_nn_archive_complete(chx_scope *s, chx_nn_archive *z, const char *prefix)
{
  static const char *const others[] = {"optimizer", "iterator", "trainer"}; /* of a checkpoint, beside the link */

  if (chx_scope_error(s)) return chx_scope_error(s);
  for (int i = 0, n = chx_npz_count(z->z); i < n; i++) {
    const char *key = chx_npz_name(z->z, i);
    int other = 0;
    if (z->asked[i] || !is_below(key, prefix)) continue;
    for (size_t k = 0; !*prefix && k < sizeof others / sizeof *others; k++) other |= is_below(key, others[k]);
    if (other || (!*prefix && !strcmp(key, "random"))) continue;
    return chx_scope_fail(s, CHX_EARG, "%s: there is no place for %s; is it the file of another network or optimizer?",
                          z->path, key);
  }
  return CHX_OK;
}

/* ---- links ---------------------------------------------------------------------------------------------------------------------- */

chx_status chx_nn_archive_link(chx_scope *s, chx_nn_archive *z, const char *prefix, const chx_link *link)
{
  char key[NN_PATH_MAX], path[NN_PATH_MAX];
  size_t mark = chx_scope_mark(s);

  NN_TRY(chx_nn_archive_link, z);
  NN_TRY(chx_nn_archive_link, link);
  NN_TRY(chx_nn_archive_link, prefix);
  for (chx_link *l = NULL; (l = chx_link_next_link(link, l)) && !chx_scope_error(s);)
    for (int i = 0; i < l->n_params && !chx_scope_error(s); i++) {
      chx_param *p = l->params[i];
      chx_array *a;
      chx_param_path(p, link, path, sizeof path);
      if (chxi_nn_key(s, key, prefix, path)) break;
      if (z->saving && !p->a)
        chx_scope_fail(s, CHX_ESHAPE, "%s: %s has no shape yet, want one from a first input", z->path, key);
      else if (z->saving) chxi_nn_archive_put(s, z, key, p->a);
      else if ((a = chxi_nn_archive_get(s, z, key))) chxi_nn_plan_add(s, &z->plan, p, a, z->path, key);
    }
  chx_scope_rewind(s, mark, NULL);
  return chx_scope_error(s);
}

chx_status chx_link_save(chx_scope *s, const chx_link *link, const char *path)
{
  chx_nn_archive *z = chx_nn_archive_begin(s, path, CHX_NN_SAVE);

  chx_nn_archive_link(s, z, "", link);
  return chx_nn_archive_end(s, z);
}

chx_status chx_link_load(chx_scope *s, chx_link *link, const char *path)
{
  chx_nn_archive *z = chx_nn_archive_begin(s, path, CHX_NN_LOAD);

  chx_nn_archive_link(s, z, "", link);
  chxi_nn_archive_complete(s, z, "");
  return chx_nn_archive_end(s, z);
}
