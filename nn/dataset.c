/* SPDX-License-Identifier: MIT
 * dataset.c: items and their labels, in host memory: making, reading NPZ, shapes, parts.
 */
#include "internal.h"
#include <errno.h>
#include <math.h>

static int is_kind(int dtype, uint64_t set) { return dtype > 0 && dtype < 64 && (CHX_BIT(dtype) & set); }

chx_nn_dataset *chx_nn_dataset_new(chx_scope *s, const chx_array *x, const chx_array *t)
{
  chx_nn_dataset *d = NULL;
  size_t mark = chx_scope_mark(s);
  chx_array *hx, *ht;
  char a[160], b[160];
  int labels;

  if (!nn_need(s, x, "chx_nn_dataset_new", "x") || !nn_need(s, t, "chx_nn_dataset_new", "t")) return NULL;
  labels = is_kind(chx_dtype(t), CHX_INTEGERS | CHX_BIT(CHX_BOOL));
  if (chx_ndim(x) < 1 || chx_ndim(t) < 1 || chx_shape(x)[0] != chx_shape(t)[0] || (labels && chx_ndim(t) != 1))
    chx_scope_fail(s, CHX_ESHAPE, "data set: x has shape %s and t %s, want [n, ...] and [n]",
                   chxi_nn_shape_text(a, chx_ndim(x), chx_shape(x)), chxi_nn_shape_text(b, chx_ndim(t), chx_shape(t)));
  else if (!is_kind(chx_dtype(x), CHX_ANY_REAL) || !is_kind(chx_dtype(t), CHX_ANY_REAL))
    chx_scope_fail(s, CHX_EDTYPE, "data set: x is %s and t %s, want real numbers", chx_dtype_name(chx_dtype(x)),
                   chx_dtype_name(chx_dtype(t)));
  hx = chx_contiguous(s, chx_cast(s, chx_to(s, x, "native:0"), CHX_F32));
  ht = chx_contiguous(s, chx_cast(s, chx_to(s, t, "native:0"), labels ? CHX_I64 : CHX_F32));
  if (!chx_scope_error(s)) d = calloc(1, sizeof *d);
  if (!chx_scope_error(s) && !d) nn_nomem(s, "data set");
  if (d) {
    d->n = chx_shape(hx)[0];
    if (labels && d->n) {
      if (chx_item_int(s, chx_amin(s, ht, 0, NULL, 0)) < 0)
        chx_scope_fail(s, CHX_EARG, "data set: a label is negative, want 0, 1, ...");
      d->classes = chx_item_int(s, chx_amax(s, ht, 0, NULL, 0)) + 1;
    }
    if (chx_scope_error(s)) {
      free(d);
      d = NULL;
    } else {
      d->x = chx_keep(hx);
      d->t = chx_keep(ht);
    }
  }
  chx_scope_rewind(s, mark, NULL);
  return d;
}

void chx_nn_dataset_free(chx_nn_dataset *d)
{
  if (!d) return;
  chx_release(d->x);
  chx_release(d->t);
  free(d);
}

int64_t chx_nn_dataset_size(const chx_nn_dataset *d) { return d ? d->n : 0; }
chx_array *chx_nn_dataset_x(const chx_nn_dataset *d) { return d ? d->x : NULL; }
chx_array *chx_nn_dataset_t(const chx_nn_dataset *d) { return d ? d->t : NULL; }
int64_t chx_nn_dataset_classes(const chx_nn_dataset *d) { return d ? d->classes : 0; }
int chxi_nn_has_labels(const chx_nn_dataset *d) { return chx_dtype(d->t) == CHX_I64; }

/* ---- files ------------------------------------------------------------------------------------------------------------------------ */

chx_nn_dataset *chx_nn_load_npz(chx_scope *s, const char *path)
{
  size_t mark = chx_scope_mark(s);
  chx_npz *z;
  chx_nn_dataset *d = NULL;
  const char *x = NULL, *t = NULL;
  char message[900];

  if (!nn_need(s, path, "chx_nn_load_npz", "path")) return NULL;
  z = chx_npz_open(s, path);
  for (int i = 0; z && i < chx_npz_count(z); i++) {
    if (!strcmp(chx_npz_name(z, i), "x")) x = "x";
    if (!strcmp(chx_npz_name(z, i), "t")) t = "t";
  }
  if (z && (!x || !t)) {
    x = chx_npz_name(z, 0);
    t = chx_npz_name(z, 1);
    if (!t) chx_scope_fail(s, CHX_EARG, "%s: there are %d arrays, want x and t", path, chx_npz_count(z));
  }
  if (z && !chx_scope_error(s)) {
    chx_array *ax = chx_npz_get(s, z, x), *at = chx_npz_get(s, z, t);
    int before = chx_scope_error(s);
    d = chx_nn_dataset_new(s, ax, at);
    if (!before && chx_scope_error(s)) { /* what is wrong is in the file */
      chx_status code = chx_scope_error(s);
      snprintf(message, sizeof message, "%s", chx_scope_message(s));
      chx_scope_clear(s);
      chx_scope_fail(s, code, "%s: arrays %s and %s: %s", path, x, t, message);
    }
  }
  chx_npz_close(z);
  chx_scope_rewind(s, mark, NULL);
  return d;
}

chx_nn_dataset *chx_nn_load_data(chx_scope *s, const char *path)
{
  unsigned char head[2] = {0};
  FILE *f;

  if (!nn_need(s, path, "chx_nn_load_data", "path")) return NULL;
  f = fopen(path, "rbe");
  if (!f) {
    chx_scope_fail(s, CHX_EIO, "%s: %s", path, strerror(errno));
    return NULL;
  }
  if (fread(head, 1, 2, f) != 2) head[0] = 0;
  fclose(f);
  return head[0] == 'P' && head[1] == 'K' ? chx_nn_load_npz(s, path) : chx_nn_load_csv(s, path);
}

/* ---- shapes and parts ----------------------------------------------------------------------------------------------------------------- */

chx_nn_dataset *chx_nn_dataset_take(chx_scope *s, const chx_nn_dataset *d, const chx_array *indices)
{
  size_t mark = chx_scope_mark(s);
  chx_array *i;
  chx_nn_dataset *r;

  if (!nn_need(s, d, "chx_nn_dataset_take", "d") || !nn_need(s, indices, "chx_nn_dataset_take", "indices")) return NULL;
  i = chx_to(s, indices, "native:0");
  r = chx_nn_dataset_new(s, chx_take(s, d->x, i, 0), chx_take(s, d->t, i, 0));
  chx_scope_rewind(s, mark, NULL);
  if (r) r->classes = d->classes; /* a part may lack the last class */
  return r;
}

static int64_t item_size(const chx_nn_dataset *d)
{
  int64_t n = 1;

  for (int i = 1; i < chx_ndim(d->x); i++) n *= chx_shape(d->x)[i];
  return n;
}

chx_status chx_nn_dataset_reshape(chx_scope *s, chx_nn_dataset *d, int ndim, const int64_t *shape)
{
  int64_t full[CHX_MAX_RANK], n = 1;
  char want[160];
  size_t mark = chx_scope_mark(s);
  chx_array *x;

  NN_TRY(chx_nn_dataset_reshape, d);
  if (ndim < 0 || ndim >= CHX_MAX_RANK || (ndim && !shape))
    return chx_scope_fail(s, CHX_EARG, "chx_nn_dataset_reshape: %d axes, want 0 to %d and their lengths", ndim,
                          CHX_MAX_RANK - 1);
  full[0] = d->n;
  for (int i = 0; i < ndim; i++) {
    full[i + 1] = shape[i];
    if (shape[i] < 1 || __builtin_mul_overflow(n, shape[i], &n)) n = -1;
    if (n < 0) break;
  }
  if (n != item_size(d))
    return chx_scope_fail(s, CHX_ESHAPE, "data set: an item has %lld numbers, want those of shape %s",
                          (long long)item_size(d), chxi_nn_shape_text(want, ndim, shape));
  x = chx_reshape(s, d->x, ndim + 1, full);
  if (x) {
    chx_release(d->x);
    d->x = chx_keep(x);
  }
  chx_scope_rewind(s, mark, NULL);
  return chx_scope_error(s);
}

chx_status chx_nn_dataset_image_shape(chx_scope *s, const chx_nn_dataset *d, int64_t chw[3])
{
  int64_t n, r;
  int axes;

  NN_TRY(chx_nn_dataset_image_shape, d);
  NN_TRY(chx_nn_dataset_image_shape, chw);
  axes = chx_ndim(d->x) - 1;
  if (axes == 3 || axes == 2) {
    chw[0] = axes == 3 ? chx_shape(d->x)[1] : 1;
    chw[1] = chx_shape(d->x)[axes - 1];
    chw[2] = chx_shape(d->x)[axes];
    return CHX_OK;
  }
  n = item_size(d);
  r = (int64_t)llround(sqrt((double)n));
  if (axes != 1 || r * r != n)
    return chx_scope_fail(s, CHX_ESHAPE,
                          "data set: an item has %lld numbers, which is no square: want a shape for it, as 1x%lldx1",
                          (long long)n, (long long)n);
  chw[0] = 1;
  chw[1] = chw[2] = r;
  return CHX_OK;
}

chx_status chx_nn_dataset_split(chx_scope *s, const chx_nn_dataset *d, double fraction, uint64_t seed,
                                chx_nn_dataset **train, chx_nn_dataset **test)
{
  chx_scope *own; /* native:0, so that every device gets the same split */
  chx_array *order;
  int64_t m;

  if (train) *train = NULL;
  if (test) *test = NULL;
  NN_TRY(chx_nn_dataset_split, d);
  NN_TRY(chx_nn_dataset_split, train);
  NN_TRY(chx_nn_dataset_split, test);
  if (!(fraction >= 0 && fraction < 1))
    return chx_scope_fail(s, CHX_EARG, "chx_nn_dataset_split: fraction is %g, want 0 <= fraction < 1", fraction);
  m = llround(fraction * (double)d->n);
  own = chx_scope_begin("native:0");
  chx_scope_seed(own, seed);
  order = chx_permutation(own, d->n);
  if (m) *test = chx_nn_dataset_take(own, d, chx_slice_axis(own, order, 0, 0, m, 1));
  *train = chx_nn_dataset_take(own, d, chx_slice_axis(own, order, 0, m, d->n, 1));
  if (chx_scope_error(own)) {
    chx_scope_fail(s, chx_scope_error(own), "%s", chx_scope_message(own));
    chx_nn_dataset_free(*train);
    chx_nn_dataset_free(*test);
    *train = *test = NULL;
  }
  chx_scope_end(own);
  return chx_scope_error(s);
}
