/* SPDX-License-Identifier: MIT
 * archive_state.c: what else a run consists of, as entries of an archive: numbers, text, generator, optimizer, order of batches.
 */
#include "internal.h"

/* ---- numbers and text ------------------------------------------------------------------------------------------------------- */

static void set_bytes(void *ctx, int64_t n, const void *bytes, chx_array *a)
{
  (void)a;
  memcpy(ctx, bytes, (size_t)n);
}

chx_status chx_nn_archive_int(chx_scope *s, chx_nn_archive *z, const char *key, int64_t *v)
{
  size_t mark = chx_scope_mark(s);
  chx_array *a;

  NN_TRY(chx_nn_archive_int, z);
  NN_TRY(chx_nn_archive_int, v);
  if (chxi_nn_archive_saving(z)) chxi_nn_archive_put(s, z, key, chx_from_host(s, CHX_I64, 0, NULL, v));
  else if ((a = chxi_nn_archive_get_as(s, z, key, CHX_I64, 0, NULL))) {
    int64_t i = chx_item_int(s, a);
    chxi_nn_archive_later(s, z, set_bytes, v, sizeof i, &i, NULL);
  }
  chx_scope_rewind(s, mark, NULL);
  return chx_scope_error(s);
}

/* n elements of dtype in memory as a 1-D array. */
static chx_status archive_memory(chx_scope *s, chx_nn_archive *z, const char *key, int dtype, int64_t n, void *v)
{
  size_t mark = chx_scope_mark(s), bytes = (size_t)n * (size_t)chx_dtype_size(dtype);
  chx_array *a;
  void *read;

  if (chxi_nn_archive_saving(z)) chxi_nn_archive_put(s, z, key, chx_from_host(s, dtype, 1, &n, v));
  else if ((a = chxi_nn_archive_get_as(s, z, key, dtype, 1, &n))) {
    read = malloc(bytes + 1);
    if (!read) nn_nomem(s, key);
    else if (!chx_read(s, a, read, bytes)) chxi_nn_archive_later(s, z, set_bytes, v, (int64_t)bytes, read, NULL);
    free(read);
  }
  chx_scope_rewind(s, mark, NULL);
  return chx_scope_error(s);
}

chx_status chx_nn_archive_reals(chx_scope *s, chx_nn_archive *z, const char *key, double *v, int n)
{
  NN_TRY(chx_nn_archive_reals, z);
  NN_TRY(chx_nn_archive_reals, v);
  return archive_memory(s, z, key, CHX_F64, n, v);
}

chx_status chx_nn_archive_text(chx_scope *s, chx_nn_archive *z, const char *key, char *buf, size_t size)
{
  size_t mark = chx_scope_mark(s);
  int64_t n = -1;
  chx_array *a;

  NN_TRY(chx_nn_archive_text, z);
  NN_TRY(chx_nn_archive_text, buf);
  if (chxi_nn_archive_saving(z)) {
    n = (int64_t)strnlen(buf, size) + 1;
    archive_memory(s, z, key, CHX_U8, n, buf);
  } else if ((a = chxi_nn_archive_get_as(s, z, key, CHX_U8, 1, &n))) {
    n = chx_size(a);
    if (n < 1 || (size_t)n > size)
      chx_scope_fail(s, CHX_ESHAPE, "%s has %lld characters, want 1 to %zu with the final 0", key, (long long)n, size);
    else if (chx_item_int(s, chx_at(s, a, 0, n - 1)) != 0)
      chx_scope_fail(s, CHX_EARG, "%s does not end in a 0, want text", key);
    else archive_memory(s, z, key, CHX_U8, n, buf);
  }
  chx_scope_rewind(s, mark, NULL);
  return chx_scope_error(s);
}

/* ---- generator ------------------------------------------------------------------------------------------------------------------- */

static void set_random(void *ctx, int64_t n, const void *bytes, chx_array *a)
{
  uint64_t v[2];

  (void)a;
  memcpy(v, bytes, (size_t)n);
  chx_random_set(ctx, (chx_random_state){v[0], v[1]});
}

static chx_status archive_random(chx_scope *s, chx_nn_archive *z, const char *key, chx_scope *of)
{
  size_t mark = chx_scope_mark(s);
  chx_random_state st = chx_random_get(of);
  uint64_t v[2] = {st.seed, st.counter};
  int64_t n = 2;
  chx_array *a;

  if (chxi_nn_archive_saving(z)) archive_memory(s, z, key, CHX_U64, n, v);
  else if ((a = chxi_nn_archive_get_as(s, z, key, CHX_U64, 1, &n)) && !chx_read(s, a, v, sizeof v))
    chxi_nn_archive_later(s, z, set_random, of, sizeof v, v, NULL);
  chx_scope_rewind(s, mark, NULL);
  return chx_scope_error(s);
}

chx_status chx_nn_archive_random(chx_scope *s, chx_nn_archive *z, const char *key)
{
  NN_TRY(chx_nn_archive_random, z);
  NN_TRY(chx_nn_archive_random, key);
  return archive_random(s, z, key, s);
}

/* ---- optimizer --------------------------------------------------------------------------------------------------------------------- */

static void set_state(void *ctx, int64_t k, const void *bytes, chx_array *a)
{
  chxi_nn_slot *q = ctx;

  (void)bytes;
  chx_release(q->state[k]);
  q->state[k] = a ? chx_keep(a) : NULL;
}

/* The states of one parameter: all in the file, or none. */
static void archive_slot(chx_scope *s, chx_nn_archive *z, const char *prefix, chx_optimizer *o, chxi_nn_slot *q)
{
  char path[NN_PATH_MAX], key[NN_PATH_MAX], part[NN_PATH_MAX + 32];
  int found = 0, n = o->cls->n_states;

  chx_param_path(q->p, o->target, path, sizeof path);
  for (int pass = 0; pass < 2; pass++)
    for (int k = 0; k < n && !chx_scope_error(s); k++) {
      chx_array *a = q->state[k];
      snprintf(part, sizeof part, "%s/%s", path, o->cls->state[k]);
      if (chxi_nn_key(s, key, prefix, part)) return;
      if (!pass) {
        found += chx_nn_archive_has(z, key);
      } else if (chxi_nn_archive_saving(z)) {
        if (a) chxi_nn_archive_put(s, z, key, a);
      } else if (!found) {
        chxi_nn_archive_later(s, z, set_state, q, k, NULL, NULL);
      } else if ((a = chxi_nn_archive_get_as(s, z, key, q->p->dtype, q->p->ndim, q->p->shape))) {
        a = chx_to(s, a, q->p->a ? chx_device(q->p->a) : q->p->link->device);
        chxi_nn_archive_later(s, z, set_state, q, k, NULL, a);
      }
    }
}

chx_status chx_nn_archive_optimizer(chx_scope *s, chx_nn_archive *z, const char *prefix, chx_optimizer *o)
{
  char key[NN_PATH_MAX], rule[64] = "", *name = rule;
  size_t mark = chx_scope_mark(s);
  chx_array *a;
  int64_t any = -1;

  NN_TRY(chx_nn_archive_optimizer, z);
  NN_TRY(chx_nn_archive_optimizer, o);
  NN_TRY(chx_nn_archive_optimizer, prefix);
  if (chxi_nn_optimizer_sync(s, o)) return chx_scope_error(s);
  chxi_nn_key(s, key, prefix, "rule");
  if (chxi_nn_archive_saving(z)) {
    snprintf(rule, sizeof rule, "%s", o->cls->name);
    chx_nn_archive_text(s, z, key, name, sizeof rule);
  } else if ((a = chxi_nn_archive_get_as(s, z, key, CHX_U8, 1, &any))) {
    if (chx_size(a) < (int64_t)sizeof rule) chx_read(s, a, rule, (size_t)chx_size(a));
    if (strncmp(rule, o->cls->name, sizeof rule - 1))
      chx_scope_fail(s, CHX_EARG, "%s is %s, want %s: the optimizer the run was begun with", key, rule, o->cls->name);
  }
  if (!chxi_nn_key(s, key, prefix, "t")) chx_nn_archive_int(s, z, key, &o->t);
  if (!chxi_nn_key(s, key, prefix, "epoch")) chx_nn_archive_int(s, z, key, &o->epoch);
  for (int i = 0; i < o->n && !chx_scope_error(s); i++) archive_slot(s, z, prefix, o, &o->slot[i]);
  if (!chx_scope_error(s) && !chxi_nn_archive_saving(z) && *prefix) chxi_nn_archive_complete(s, z, prefix);
  chx_scope_rewind(s, mark, NULL);
  return chx_scope_error(s);
}

/* ---- order of batches -------------------------------------------------------------------------------------------------------------- */

static void set_order(void *ctx, int64_t i, const void *bytes, chx_array *a)
{
  chx_nn_iterator *it = ctx;

  (void)i, (void)bytes;
  chx_release(it->order);
  it->order = chx_keep(a);
}

static void set_position(void *ctx, int64_t i, const void *bytes, chx_array *a)
{
  chx_nn_iterator *it = ctx;

  (void)a, (void)bytes;
  it->position = i;
  it->new_epoch = i == 0 && it->epoch > 0;
}

static void archive_position(chx_scope *s, chx_nn_archive *z, const char *key, chx_nn_iterator *it)
{
  size_t mark = chx_scope_mark(s);
  chx_array *a;
  int64_t v;

  if (chxi_nn_archive_saving(z)) chx_nn_archive_int(s, z, key, &it->position);
  else if ((a = chxi_nn_archive_get_as(s, z, key, CHX_I64, 0, NULL))) {
    v = chx_item_int(s, a);
    if (v < 0 || (v && v >= it->d->n))
      chx_scope_fail(s, CHX_EARG, "%s is %lld, want 0 to %lld: a place in this data set", key, (long long)v,
                     (long long)it->d->n - 1);
    chxi_nn_archive_later(s, z, set_position, it, v, NULL, NULL);
  }
  chx_scope_rewind(s, mark, NULL);
}

chx_status chx_nn_archive_iterator(chx_scope *s, chx_nn_archive *z, const char *prefix, chx_nn_iterator *it)
{
  char key[NN_PATH_MAX];
  size_t mark = chx_scope_mark(s);
  chx_array *a;

  NN_TRY(chx_nn_archive_iterator, z);
  NN_TRY(chx_nn_archive_iterator, it);
  NN_TRY(chx_nn_archive_iterator, prefix);
  if (!chxi_nn_key(s, key, prefix, "epoch")) chx_nn_archive_int(s, z, key, &it->epoch);
  if (!chxi_nn_key(s, key, prefix, "position")) archive_position(s, z, key, it);
  if (it->shuffle && !chxi_nn_key(s, key, prefix, "order")) {
    if (chxi_nn_archive_saving(z)) chxi_nn_archive_put(s, z, key, it->order);
    else if ((a = chxi_nn_archive_get_as(s, z, key, CHX_I64, 1, &it->d->n)))
      chxi_nn_archive_later(s, z, set_order, it, 0, NULL, chx_to(s, a, "native:0"));
  }
  if (!chxi_nn_key(s, key, prefix, "random")) archive_random(s, z, key, it->own);
  chx_scope_rewind(s, mark, NULL);
  return chx_scope_error(s);
}
