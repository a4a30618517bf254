/* SPDX-License-Identifier: MIT
 * norm.c: links that act differently in train and test mode, or carry statistics: batch normalization, dropout, input.
 */
#include "internal.h"
#include <math.h>

/* ---- batch normalization ------------------------------------------------------------------------------------------------ */

enum { GAMMA, BETA, AVG_MEAN, AVG_VAR, N_SEEN }; /* places in link->params */

typedef struct batch_norm {
  chx_batch_norm_attr p;
  double decay;
  int dtype;
} batch_norm;

static const chx_link_class batch_norm_class;

static void add_statistics(chx_scope *s, chx_link *l, int dtype, int64_t size)
{
  size_t mark = chx_scope_mark(s);
  int64_t zero = 0;

  chx_link_add_persistent(s, l, "avg_mean", chx_to(s, chx_zeros(s, dtype, 1, &size), l->device));
  if (!chx_scope_error(s)) chx_link_add_persistent(s, l, "avg_var", chx_to(s, chx_ones(s, dtype, 1, &size), l->device));
  if (!chx_scope_error(s))
    chx_link_add_persistent(s, l, "N", chx_to(s, chx_from_host(s, CHX_I64, 0, NULL, &zero), l->device));
  chx_scope_rewind(s, mark, NULL);
}

static int64_t channels(const batch_norm *d, const chx_array *x)
{
  int axis = d->p.layout == CHX_CHANNELS_LAST ? chx_ndim(x) - 1 : 1;

  return axis < chx_ndim(x) && axis >= 1 ? chx_shape(x)[axis] : -1;
}

/* Statistics without a size have length 0 until now; they become arrays of the right one. */
static chx_status batch_norm_init(chx_scope *s, chx_link *l, const chx_array *x)
{
  batch_norm *d = chx_link_data(l);
  int64_t c = channels(d, x);
  size_t mark = chx_scope_mark(s);
  chx_array *mean, *var;

  if (c < 0) return chx_scope_fail(s, CHX_ESHAPE, "x has %d axes, want at least 2", chx_ndim(x));
  mean = chx_to(s, chx_zeros(s, d->dtype, 1, &c), l->device);
  var = chx_to(s, chx_ones(s, d->dtype, 1, &c), l->device);
  chx_link_init_param(s, l, "gamma", 1, &c);
  chx_link_init_param(s, l, "beta", 1, &c);
  if (!chx_scope_error(s)) {
    chx_param **q = l->params;
    for (int i = AVG_MEAN; i <= AVG_VAR; i++) {
      if (q[i]->a) continue; /* loaded from a file */
      q[i]->a = chx_keep(i == AVG_MEAN ? mean : var);
      q[i]->shape[0] = c;
      l->n_unset--;
    }
  }
  chx_scope_rewind(s, mark, NULL);
  return chx_scope_error(s);
}

/* avg = decay avg + k statistic, both or, on error, none. */
static void update_statistics(chx_scope *s, chx_link *l, const chx_array *mean, const chx_array *var, double m)
{
  static const chx_program blend = {3, {{"mul", 0, 2, 0, 0}, {"mul", 1, 3, 0, 0}, {"add", 4, 5, 0, 0}}};
  batch_norm *d = chx_link_data(l);
  chx_param **q = l->params;
  int64_t n = 0;
  double decay = d->decay;
  chx_array *dc, *new_mean, *new_var;

  if (l->finetune) {
    n = chx_item_int(s, q[N_SEEN]->a) + 1;
    decay = 1 - 1. / (double)n;
  }
  dc = chx_real(s, decay);
  new_mean = chx_map(s, (const chx_array *[]){q[AVG_MEAN]->a, mean, dc, chx_real(s, 1 - decay)}, 4, &blend);
  new_var = chx_map(s, (const chx_array *[]){q[AVG_VAR]->a, var, dc, chx_real(s, (1 - decay) * m / fmax(m - 1, 1))}, 4,
                    &blend);
  if (chx_scope_error(s)) return;
  chxi_nn_write(s, q[AVG_MEAN]->a, new_mean);
  chxi_nn_write(s, q[AVG_VAR]->a, new_var);
  if (l->finetune) chx_write(s, q[N_SEEN]->a, &n, sizeof n);
}

static chx_array *batch_norm_forward(chx_scope *s, chx_link *l, const chx_array *x)
{
  batch_norm *d = chx_link_data(l);
  chx_param **q = l->params;
  chx_array *y, *mean, *var;
  int mode;

  if (!l->train) return chx_fixed_batch_norm(s, x, q[GAMMA]->a, q[BETA]->a, q[AVG_MEAN]->a, q[AVG_VAR]->a, &d->p);
  y = chx_batch_norm(s, x, q[GAMMA]->a, q[BETA]->a, &d->p, &mean, &var);
  if (!y) return NULL;
  mode = chx_scope_set_grad(s, CHX_GRAD_OFF);
  if (chx_size(x)) update_statistics(s, l, mean, var, (double)chx_size(x) / (double)chx_size(mean));
  chx_scope_set_grad(s, mode);
  return y;
}

static const chx_link_class batch_norm_class = {
  .size = sizeof batch_norm_class, .name = "BatchNormalization", .data_size = sizeof(batch_norm),
  .forward = batch_norm_forward, .init = batch_norm_init};

/* Persistent values of a length that is not known yet are declared without an array, which only this kind does. */
static void declare_statistics(chx_scope *s, chx_link *l, int dtype)
{
  add_statistics(s, l, dtype, 0);
  for (int i = AVG_MEAN; i <= AVG_VAR && !chx_scope_error(s); i++) {
    chx_release(l->params[i]->a);
    l->params[i]->a = NULL;
    l->params[i]->shape[0] = -1;
    l->n_unset++;
  }
}

chx_link *chx_link_batch_norm(chx_scope *s, int64_t size, double decay, const chx_batch_norm_attr *p,
                              const chx_link_options *options)
{
  chx_link_options o = chxi_nn_options(options);
  chx_link *l = chx_link_new(s, &batch_norm_class);
  batch_norm *d = chx_link_data(l);
  chx_nn_init one = chx_nn_init_constant(1), zero = chx_nn_init_constant(0);
  int64_t shape = size ? size : -1;

  if (!l) return NULL;
  d->p = CHX_ATTR(batch_norm);
  if (p) memcpy(&d->p, p, p->size && p->size < sizeof *p ? p->size : sizeof *p);
  d->p.size = sizeof d->p;
  d->decay = decay != 0 ? decay : 0.9;
  d->dtype = o.dtype;
  if (size < 0 || !(d->decay > 0 && d->decay < 1))
    chx_scope_fail(s, CHX_EARG, "chx_link_batch_norm: size %lld and decay %g, want size >= 0 and 0 < decay < 1",
                   (long long)size, decay);
  if (!chx_scope_error(s)) chx_link_add_param(s, l, "gamma", o.dtype, 1, &shape, o.init_w->fn ? o.init_w : &one);
  if (!chx_scope_error(s)) chx_link_add_param(s, l, "beta", o.dtype, 1, &shape, o.init_b ? o.init_b : &zero);
  if (!chx_scope_error(s)) {
    if (size) add_statistics(s, l, o.dtype, size);
    else declare_statistics(s, l, o.dtype);
  }
  if (!chx_scope_error(s)) return l;
  chx_link_free(l);
  return NULL;
}

chx_status chx_link_start_finetuning(chx_scope *s, chx_link *link)
{
  int64_t zero = 0;

  NN_TRY(chx_link_start_finetuning, link);
  for (chx_link *l = NULL; (l = chx_link_next_link(link, l));)
    if (l->cls == &batch_norm_class && !chx_write(s, l->params[N_SEEN]->a, &zero, sizeof zero)) l->finetune = 1;
  return chx_scope_error(s);
}

/* ---- dropout ---------------------------------------------------------------------------------------------------------------- */

static chx_array *dropout_forward(chx_scope *s, chx_link *l, const chx_array *x)
{
  const double *ratio = chx_link_data(l);

  return l->train && *ratio > 0 ? chx_dropout(s, x, *ratio) : (chx_array *)x;
}

static const chx_link_class dropout_class = {
  .size = sizeof dropout_class, .name = "Dropout", .data_size = sizeof(double), .forward = dropout_forward};

chx_link *chx_link_dropout(chx_scope *s, double ratio)
{
  chx_link *l;

  if (!(ratio >= 0 && ratio < 1))
    chx_scope_fail(s, CHX_EARG, "chx_link_dropout: ratio is %g, want 0 <= ratio < 1", ratio);
  l = chx_link_new(s, &dropout_class);
  if (l) *(double *)chx_link_data(l) = ratio;
  return l;
}

/* ---- input: (x - mean) scale -------------------------------------------------------------------------------------------------- */

static chx_array *input_forward(chx_scope *s, chx_link *l, const chx_array *x)
{
  static const chx_program shift_scale = {2, {{"sub", 0, 1, 0, 0}, {"mul", 3, 2, 0, 0}}};
  const chx_array *in[3] = {chx_cast(s, x, chx_dtype(l->params[0]->a)), l->params[0]->a, l->params[1]->a};

  return chx_map(s, in, 3, &shift_scale);
}

static const chx_link_class input_class = {.size = sizeof input_class, .name = "Input", .forward = input_forward};

chx_link *chx_link_input(chx_scope *s)
{
  chx_link *l = chx_link_new(s, &input_class);
  size_t mark = chx_scope_mark(s);

  if (!l) return NULL;
  chx_link_add_persistent(s, l, "mean", chx_zeros(s, CHX_F32, 0, NULL));
  if (!chx_scope_error(s)) chx_link_add_persistent(s, l, "scale", chx_ones(s, CHX_F32, 0, NULL));
  chx_scope_rewind(s, mark, NULL);
  if (!chx_scope_error(s)) return l;
  chx_link_free(l);
  return NULL;
}

chx_status chx_link_fit_input(chx_scope *s, chx_link *link, const chx_array *x)
{
  size_t mark = chx_scope_mark(s);
  int mode;
  double mean, var;

  NN_TRY(chx_link_fit_input, link);
  NN_TRY(chx_link_fit_input, x);
  if (chx_size(x) < 1)
    return chx_scope_fail(s, CHX_ESHAPE, "chx_link_fit_input: x is empty, want at least one element");
  mode = chx_scope_set_grad(s, CHX_GRAD_OFF);
  mean = chx_item(s, chx_mean(s, x, 0, NULL, 0));
  var = chx_item(s, chx_mean(s, chx_square(s, chx_sub(s, x, chx_real(s, mean))), 0, NULL, 0));
  for (chx_link *l = NULL; (l = chx_link_next_link(link, l)) && !chx_scope_error(s);) {
    if (l->cls != &input_class) continue;
    chx_copy_into(s, l->params[0]->a, chx_real(s, mean));
    chx_copy_into(s, l->params[1]->a, chx_real(s, var > 0 ? 1 / sqrt(var) : 1));
  }
  chx_scope_set_grad(s, mode);
  chx_scope_rewind(s, mark, NULL);
  return chx_scope_error(s);
}
