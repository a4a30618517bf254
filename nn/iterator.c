/* SPDX-License-Identifier: MIT
 * iterator.c: batches of a data set in a new order each epoch. The order is drawn on native:0 by a generator of the iterator's
 * own, so it depends on the seed alone, and not on the device or on what else draws.
 */
#include "internal.h"

static chx_status draw_order(chx_scope *s, chx_nn_iterator *it)
{
  size_t mark = chx_scope_mark(it->own);
  chx_array *order = it->shuffle ? chx_permutation(it->own, it->d->n) : NULL;

  if (chx_scope_error(it->own)) {
    chx_scope_fail(s, chx_scope_error(it->own), "%s", chx_scope_message(it->own));
    chx_scope_clear(it->own);
  } else if (order) {
    chx_release(it->order);
    it->order = chx_keep(order);
  }
  chx_scope_rewind(it->own, mark, NULL);
  return chx_scope_error(s);
}

chx_nn_iterator *chx_nn_iterator_new(chx_scope *s, const chx_nn_dataset *d, int64_t batch, int shuffle, uint64_t seed)
{
  chx_nn_iterator *it;

  if (!nn_need(s, d, "chx_nn_iterator_new", "d")) return NULL;
  if (batch < 1 || d->n < 1) {
    chx_scope_fail(s, CHX_EARG, "chx_nn_iterator_new: batches of %lld from %lld items, want at least 1 of both",
                   (long long)batch, (long long)d->n);
    return NULL;
  }
  it = calloc(1, sizeof *it);
  if (!it) {
    nn_nomem(s, "chx_nn_iterator_new");
    return NULL;
  }
  *it = (chx_nn_iterator){.d = d, .own = chx_scope_begin("native:0"), .batch = batch, .seed = seed, .shuffle = shuffle != 0};
  chx_scope_seed(it->own, seed);
  if (!draw_order(s, it)) return it;
  chx_nn_iterator_free(it);
  return NULL;
}

void chx_nn_iterator_free(chx_nn_iterator *it)
{
  if (!it) return;
  chx_release(it->order);
  chx_scope_end(it->own);
  free(it);
}

void chx_nn_iterator_reset(chx_nn_iterator *it)
{
  if (!it) return;
  chx_scope_seed(it->own, it->seed);
  it->epoch = it->position = 0;
  it->new_epoch = 0;
  draw_order(it->own, it);
}

int64_t chx_nn_iterator_next(chx_scope *s, chx_nn_iterator *it, chx_array **x, chx_array **t)
{
  int64_t n, from;
  chx_array *v[2];
  size_t mark = chx_scope_mark(s);

  if (!nn_need(s, it, "chx_nn_iterator_next", "it") || !nn_need(s, x, "chx_nn_iterator_next", "x") ||
      !nn_need(s, t, "chx_nn_iterator_next", "t"))
    return 0;
  from = it->position;
  n = it->d->n - from < it->batch ? it->d->n - from : it->batch;
  if (it->shuffle) {
    chx_array *i = chx_slice_axis(s, it->order, 0, from, from + n, 1);
    v[0] = chx_take(s, it->d->x, i, 0);
    v[1] = chx_take(s, it->d->t, i, 0);
  } else {
    v[0] = chx_slice_axis(s, it->d->x, 0, from, from + n, 1);
    v[1] = chx_slice_axis(s, it->d->t, 0, from, from + n, 1);
  }
  for (int i = 0; i < 2; i++) v[i] = chx_to(s, v[i], chx_scope_device(s));
  if (!chx_scope_error(s) && from + n == it->d->n)
    draw_order(s, it); /* of the next epoch; before anything of this one changes */
  if (chx_scope_error(s)) {
    chx_scope_rewind(s, mark, NULL);
    *x = *t = NULL;
    return 0;
  }
  it->new_epoch = from + n == it->d->n;
  it->position = it->new_epoch ? 0 : from + n;
  it->epoch += it->new_epoch;
  chx_scope_rewind_all(s, mark, v, 2);
  *x = v[0];
  *t = v[1];
  return n;
}

int64_t chx_nn_iterator_epoch(const chx_nn_iterator *it) { return it ? it->epoch : 0; }
int64_t chx_nn_iterator_position(const chx_nn_iterator *it) { return it ? it->position : 0; }
int chx_nn_iterator_is_new_epoch(const chx_nn_iterator *it) { return it && it->new_epoch; }
