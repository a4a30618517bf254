/* SPDX-License-Identifier: MIT
 * evaluate.c: a model's loss, accuracy and predictions over a data set, in test mode and without recording.
 */
#include "internal.h"
#include <math.h>

chx_array *chx_nn_count_correct(chx_scope *s, const chx_array *y, const chx_array *t)
{
  size_t mark = chx_scope_mark(s);
  int mode, axis = 1;
  chx_array *n;

  if (!nn_need(s, y, "chx_nn_count_correct", "y") || !nn_need(s, t, "chx_nn_count_correct", "t")) return NULL;
  if (chx_ndim(y) < 2 || chx_ndim(t) != chx_ndim(y) - 1) {
    chx_scope_fail(s, CHX_ESHAPE, "chx_nn_count_correct: y has %d axes and t %d, want [N, C, ...] and [N, ...]",
                   chx_ndim(y), chx_ndim(t));
    return NULL;
  }
  mode = chx_scope_set_grad(s, CHX_GRAD_OFF);
  n = chx_sum(s, chx_equal(s, chx_argmax(s, y, 1, &axis, 0), t), 0, NULL, 0);
  chx_scope_set_grad(s, mode);
  return chx_scope_rewind(s, mark, n);
}

/* Test mode for the tree, and each link's own mode again. A forward may add and take away links in between. */
typedef struct link_mode {
  const chx_link *l;
  uint8_t train, finetune;
} link_mode;
typedef struct modes {
  link_mode *of;
  int n;
} modes;

static modes enter_test(chx_scope *s, chx_link *model)
{
  modes m = {0};

  for (chx_link *l = NULL; (l = chx_link_next_link(model, l));) m.n++;
  m.of = malloc((size_t)m.n * sizeof *m.of);
  if (!m.of) {
    nn_nomem(s, "chx_nn_evaluate");
    return m;
  }
  m.n = 0;
  for (chx_link *l = NULL; (l = chx_link_next_link(model, l));) {
    m.of[m.n++] = (link_mode){l, l->train, l->finetune};
    l->train = 0;
  }
  return m;
}

/* l's mode of before, from *at on in nearly all cases; a link that came since takes on the model's. */
static link_mode mode_before(modes m, const chx_link *l, int *at)
{
  int i = *at;

  if (i >= m.n || m.of[i].l != l)
    for (i = 0; i < m.n && m.of[i].l != l;) i++;
  if (i == m.n) return (link_mode){l, m.of[0].train, 0};
  *at = i + 1;
  return m.of[i];
}

static void leave_test(modes m, chx_link *model)
{
  int at = 0;

  for (chx_link *l = NULL; m.of && (l = chx_link_next_link(model, l));) {
    link_mode before = mode_before(m, l, &at);
    l->train = before.train;
    l->finetune = before.finetune;
  }
  free(m.of);
}

chx_status chx_nn_evaluate(chx_scope *s, chx_link *model, const chx_nn_dataset *d, int64_t batch, chx_nn_loss fn,
                           void *ctx, double *loss, double *accuracy)
{
  double sum = 0, correct = 0, out_of = 0;
  chx_nn_iterator *it;
  modes m;
  int mode;

  if (loss) *loss = NAN;
  if (accuracy) *accuracy = NAN;
  NN_TRY(chx_nn_evaluate, model);
  NN_TRY(chx_nn_evaluate, d);
  it = chx_nn_iterator_new(s, d, batch > 0 ? batch : 256, 0, 0);
  if (!it) return chx_scope_error(s);
  m = enter_test(s, model);
  mode = chx_scope_set_grad(s, CHX_GRAD_OFF);
  while (!chx_scope_error(s) && !it->new_epoch) {
    size_t mark = chx_scope_mark(s);
    chx_array *x, *t, *y, *v;
    int64_t n = chx_nn_iterator_next(s, it, &x, &t);
    if (!n) break;
    y = chx_link_call(s, model, x);
    v = !y                      ? NULL
        : fn                    ? fn(ctx, s, y, t)
        : chxi_nn_has_labels(d) ? chx_softmax_cross_entropy(s, y, t)
                                : chx_mean_squared_error(s, y, t);
    if (v && chxi_nn_has_labels(d)) {
      correct += (double)chx_item_int(s, chx_nn_count_correct(s, y, t));
      out_of += (double)chx_size(t);
    }
    sum += (double)n * chx_item(s, v);
    chx_scope_rewind(s, mark, NULL);
  }
  chx_scope_set_grad(s, mode);
  leave_test(m, model);
  chx_nn_iterator_free(it);
  if (chx_scope_error(s)) return chx_scope_error(s);
  if (loss) *loss = sum / (double)d->n;
  if (accuracy) *accuracy = out_of > 0 ? correct / out_of : NAN;
  return CHX_OK;
}

/* Copies v to rows from.. of *all, which is made for n rows at the first call. */
static void put_rows(chx_scope *s, chx_array **all, int64_t n, int64_t from, const chx_array *v)
{
  int64_t shape[CHX_MAX_RANK];
  size_t mark;

  if (!v) return;
  if (!*all) {
    for (int i = 0; i < chx_ndim(v); i++) shape[i] = chx_shape(v)[i];
    shape[0] = n;
    *all = chx_to(s, chx_empty(s, chx_dtype(v), chx_ndim(v), shape), chx_device(v));
    if (*all) chx_keep(*all);
  }
  mark = chx_scope_mark(s);
  chx_copy_into(s, chx_slice_axis(s, *all, 0, from, from + chx_shape(v)[0], 1), v);
  chx_scope_rewind(s, mark, NULL);
}

/* Gives a kept array to the scope: a view of it is the scope's. */
static chx_array *give(chx_scope *s, chx_array *a)
{
  chx_array *r = a ? chx_detach(s, a) : NULL;

  chx_release(a);
  return r;
}

chx_array *chx_nn_predict(chx_scope *s, chx_link *model, const chx_array *x, int64_t batch, chx_array **scores)
{
  chx_array *labels = NULL, *all = NULL;
  int64_t n;
  modes m;
  int mode, axis = 1;

  if (scores) *scores = NULL;
  if (!nn_need(s, model, "chx_nn_predict", "model") || !nn_need(s, x, "chx_nn_predict", "x")) return NULL;
  if (chx_ndim(x) < 1 || chx_shape(x)[0] < 1) {
    chx_scope_fail(s, CHX_ESHAPE, "chx_nn_predict: x has no items, want [n, ...]");
    return NULL;
  }
  n = chx_shape(x)[0];
  if (batch < 1) batch = 256;
  m = enter_test(s, model);
  mode = chx_scope_set_grad(s, CHX_GRAD_OFF);
  for (int64_t from = 0; from < n && !chx_scope_error(s); from += batch) {
    size_t mark = chx_scope_mark(s);
    int64_t to = from + batch < n ? from + batch : n;
    chx_array *y = chx_link_call(s, model, chx_to(s, chx_slice_axis(s, x, 0, from, to, 1), chx_scope_device(s)));
    if (y && (chx_ndim(y) < 2 || chx_shape(y)[0] != to - from))
      chx_scope_fail(s, CHX_ESHAPE, "chx_nn_predict: the model's result has %d axes, want scores [n, classes]",
                     chx_ndim(y));
    put_rows(s, &labels, n, from, chx_argmax(s, y, 1, &axis, 0));
    if (scores) put_rows(s, &all, n, from, y);
    chx_scope_rewind(s, mark, NULL);
  }
  chx_scope_set_grad(s, mode);
  leave_test(m, model);
  if (scores) *scores = give(s, all);
  return give(s, labels);
}
