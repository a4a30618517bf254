/* SPDX-License-Identifier: MIT
 * model.c: two ready networks, and their files, which say how to make them anew.
 */
#include "internal.h"

static void add(chx_scope *s, chx_link *model, const char *name, chx_link *child)
{
  chx_link_add(s, model, name, child);
}

static chx_link *finished(chx_scope *s, chx_link *model)
{
  if (!chx_scope_error(s)) return model;
  chx_link_free(model);
  return NULL;
}

/* ---- mlp ---------------------------------------------------------------------------------------------------------------------- */

/* in 0: from the first input. */
static chx_link *mlp(chx_scope *s, int64_t in, int n, const int64_t *units)
{
  chx_link *m = chx_link_sequential(s);
  char name[16];

  add(s, m, "input", chx_link_input(s));
  for (int i = 0; i < n; i++) {
    snprintf(name, sizeof name, "l%d", i + 1);
    add(s, m, name, chx_link_linear(s, i ? units[i - 1] : in, units[i], NULL));
    snprintf(name, sizeof name, "relu%d", i + 1);
    if (i + 1 < n) add(s, m, name, chx_link_function(s, "relu", chx_relu));
  }
  return finished(s, m);
}

chx_link *chx_nn_mlp(chx_scope *s, int n, const int64_t *units)
{
  if (n < 1 || !units) {
    chx_scope_fail(s, CHX_EARG, "chx_nn_mlp: %d layers%s, want at least 1", n, units ? "" : " without units");
    return NULL;
  }
  return mlp(s, 0, n, units);
}

/* ---- cnn ---------------------------------------------------------------------------------------------------------------------- */

/* conv 3x3 (pad 1, no bias: bn has one) - bn - relu. */
static void add_conv(chx_scope *s, chx_link *m, int i, int64_t in, int64_t out)
{
  chx_conv_attr p = CHX_ATTR(conv);
  chx_nn_init he = chx_nn_init_he_normal(1);
  chx_link_options o = {.size = sizeof o, .nobias = 1, .init_w = &he};
  char name[16];

  p.pad = CHX_INTS(1, 1);
  snprintf(name, sizeof name, "conv%d", i);
  add(s, m, name, chx_link_conv(s, in, out, 2, (int64_t[]){3, 3}, &p, &o));
  snprintf(name, sizeof name, "bn%d", i);
  add(s, m, name, chx_link_batch_norm(s, out, 0, NULL, NULL));
  snprintf(name, sizeof name, "relu%d", i);
  add(s, m, name, chx_link_function(s, "relu", chx_relu));
}

chx_link *chx_nn_cnn(chx_scope *s, const int64_t chw[3], int64_t classes)
{
  chx_nn_init he = chx_nn_init_he_normal(1);
  chx_link_options o = {.size = sizeof o, .init_w = &he};
  chx_pool_attr pool = CHX_ATTR(pool);
  chx_link *m;

  if (!chw || chw[0] < 1 || chw[1] < 4 || chw[2] < 4 || classes < 1) {
    chx_scope_fail(s, CHX_EARG,
                   "chx_nn_cnn: images are %lldx%lldx%lld in %lld classes, want CxHxW with H, W >= 4 and a class",
                   chw ? (long long)chw[0] : 0LL, chw ? (long long)chw[1] : 0LL, chw ? (long long)chw[2] : 0LL,
                   (long long)classes);
    return NULL;
  }
  m = chx_link_sequential(s);
  pool.ksize = CHX_INTS(2, 2);
  add(s, m, "input", chx_link_input(s));
  add(s, m, "image", chx_link_reshape(s, 3, chw));
  add_conv(s, m, 1, chw[0], 16);
  add_conv(s, m, 2, 16, 32);
  add(s, m, "pool", chx_link_max_pool(s, &pool));
  add_conv(s, m, 3, 32, 32);
  add(s, m, "l4", chx_link_linear(s, 32 * (chw[1] / 2) * (chw[2] / 2), 64, &o));
  add(s, m, "relu4", chx_link_function(s, "relu", chx_relu));
  add(s, m, "dropout", chx_link_dropout(s, 0.5));
  add(s, m, "l5", chx_link_linear(s, 64, classes, NULL));
  return finished(s, m);
}

/* ---- by name -------------------------------------------------------------------------------------------------------------------- */

chx_link *chx_nn_model_new(chx_scope *s, const chx_nn_model_spec *spec)
{
  if (!nn_need(s, spec, "chx_nn_model_new", "spec")) return NULL;
  if (spec->chw[0] < 1 || spec->chw[1] < 1 || spec->chw[2] < 1 || spec->classes < 1 || spec->chw[0] > INT64_MAX >> 42 ||
      spec->chw[1] > 1 << 21 || spec->chw[2] > 1 << 21) {
    chx_scope_fail(s, CHX_EARG,
                   "chx_nn_model_new: items are %lldx%lldx%lld in %lld classes, want lengths of at least 1",
                   (long long)spec->chw[0], (long long)spec->chw[1], (long long)spec->chw[2], (long long)spec->classes);
    return NULL;
  }
  if (!strcmp(spec->kind, "mlp"))
    return mlp(s, spec->chw[0] * spec->chw[1] * spec->chw[2], 3, (int64_t[]){100, 100, spec->classes});
  if (!strcmp(spec->kind, "cnn")) return chx_nn_cnn(s, spec->chw, spec->classes);
  chx_scope_fail(s, CHX_EARG, "chx_nn_model_new: there is no model '%.15s', want mlp or cnn", spec->kind);
  return NULL;
}

chx_status chxi_nn_archive_spec(chx_scope *s, chx_nn_archive *z, chx_nn_model_spec *spec)
{
  chx_nn_archive_text(s, z, "trainer/model", spec->kind, sizeof spec->kind);
  chx_nn_archive_int(s, z, "trainer/channels", &spec->chw[0]);
  chx_nn_archive_int(s, z, "trainer/height", &spec->chw[1]);
  chx_nn_archive_int(s, z, "trainer/width", &spec->chw[2]);
  return chx_nn_archive_int(s, z, "trainer/classes", &spec->classes);
}

chx_status chx_nn_model_save(chx_scope *s, const chx_link *model, const chx_nn_model_spec *spec, const char *path)
{
  chx_nn_model_spec copy;
  chx_nn_archive *z;

  NN_TRY(chx_nn_model_save, model);
  NN_TRY(chx_nn_model_save, spec);
  copy = *spec;
  z = chx_nn_archive_begin(s, path, CHX_NN_SAVE);
  chx_nn_archive_link(s, z, "", model);
  chxi_nn_archive_spec(s, z, &copy);
  return chx_nn_archive_end(s, z);
}

chx_link *chx_nn_model_load(chx_scope *s, const char *path, chx_nn_model_spec *spec)
{
  chx_nn_model_spec read = {0};
  chx_nn_archive *z = chx_nn_archive_begin(s, path, CHX_NN_LOAD);
  chx_link *m;

  if (z && !chx_nn_archive_has(z, "trainer/model"))
    chx_scope_fail(s, CHX_EARG, "%s: trainer/model is missing, want a file that chx train or chx_nn_model_save wrote",
                   path);
  chxi_nn_archive_spec(s, z, &read);
  chx_nn_archive_end(s, z);
  if (chx_scope_error(s)) return NULL;
  m = chx_nn_model_new(s, &read);
  if (chx_link_load(s, m, path)) {
    chx_link_free(m);
    return NULL;
  }
  chx_link_set_train(m, 0);
  if (spec) *spec = read;
  return m;
}
