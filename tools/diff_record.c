/* SPDX-License-Identifier: MIT
 * diff_record.c: keeps the operator calls of a run, as chx_set_observer tells of them.
 */
#include "diff.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of `current`, and the log itself */
static diff_log *current;

static void call_free(diff_call *c)
{
  for (int i = 0; i < c->n_in && c->in; i++)
    free(c->in[i].data);
  free(c->in);
  free(c->attr);
}

/* The axes by their strides, the longest first, so that the values are read as they lie. */
static void order_axes(const chx_array *a, diff_operand *x)
{
  const int64_t *stride = chx_strides(a);

  for (int i = 0; i < x->ndim; i++) {
    int64_t mine = x->shape[i] > 1 ? llabs(stride[i]) : 0;
    int k = i;
    for (; k > 0 && !chx_is_contiguous(a); k--) {
      int before = x->axis[k - 1];
      if ((x->shape[before] > 1 ? llabs(stride[before]) : 0) >= mine)
        break;
      x->axis[k] = before;
    }
    x->axis[k] = i;
  }
}

static bool take_operand(chx_scope *s, const chx_array *a, diff_operand *x)
{
  x->ndim = a ? chx_ndim(a) : -1;
  if (!a)
    return true;
  x->dtype = chx_dtype(a);
  x->is_scalar = !*chx_device(a);
  memcpy(x->shape, chx_shape(a), (size_t)x->ndim * sizeof *x->shape);
  order_axes(a, x);
  if (x->ndim)
    a = chx_transpose(s, a, x->ndim, x->axis);
  for (int k = 0; k < x->ndim; k++) {
    int i = x->axis[k];
    bool repeated = a && x->shape[i] > 1 && !chx_strides(a)[k];
    x->stored[k] = repeated ? 1 : x->shape[i];
    if (repeated)
      a = chx_slice_axis(s, a, k, 0, 1, 1);
  }
  x->bytes = a ? (size_t)chx_nbytes(a) : 0;
  x->data = malloc(x->bytes + 1);
  return a && x->data && chx_read(s, a, x->data, x->bytes) == CHX_OK;
}

/* The call into the log's next place; false: there is no memory, or it could not be read. */
static bool take(diff_log *l, chx_scope *s, const chx_observation *o)
{
  size_t attr_bytes = chx_op_attr_size(o->op);
  diff_call c = {.op = o->op, .number = l->seen, .n_in = o->n_in};

  if (l->n == l->room) {
    int room = l->room ? 2 * l->room : 64;
    diff_call *v = realloc(l->v, (size_t)room * sizeof *v);
    if (!v)
      return false;
    l->v = v;
    l->room = room;
  }
  c.in = calloc((size_t)o->n_in + 1, sizeof *c.in);
  c.attr = o->attr && attr_bytes ? malloc(attr_bytes) : NULL;
  if (!c.in || (o->attr && attr_bytes && !c.attr)) {
    call_free(&c);
    return false;
  }
  if (c.attr)
    memcpy(c.attr, o->attr, attr_bytes);
  for (int i = 0; i < o->n_in; i++) {
    if (!take_operand(s, o->in[i], &c.in[i])) {
      call_free(&c);
      return false;
    }
    l->bytes += c.in[i].bytes;
  }
  l->v[l->n++] = c;
  return true;
}

/* Views compute nothing, and what crosses devices is not of one device. */
static bool is_work(const chx_op *op)
{
  return !chx_op_is_view(op) && strcmp(chx_op_name(op), "to_device");
}

static void observe(void *ctx, chx_scope *s, const chx_observation *o)
{
  diff_log *l;
  void (*full)(void) = NULL;

  (void)ctx;
  pthread_mutex_lock(&lock);
  l = current;
  if (l && !l->is_full && !o->done && o->depth == l->depth && is_work(o->op) && strcmp(o->device, l->device) == 0 &&
      l->seen++ >= l->skip) {
    if (!take(l, s, o))
      snprintf(l->error, sizeof l->error, "%s could not be recorded: %s", chx_op_name(o->op),
               chx_scope_error(s) ? chx_scope_message(s) : "out of memory");
    l->is_full = l->n >= l->most || l->bytes >= l->most_bytes || l->error[0];
    full = l->is_full ? l->full : NULL;
  }
  pthread_mutex_unlock(&lock);
  if (full)
    full();
}

void diff_record_begin(diff_log *l)
{
  pthread_mutex_lock(&lock);
  current = l;
  pthread_mutex_unlock(&lock);
  chx_set_observer(observe, NULL);
}

void diff_record_end(void)
{
  chx_set_observer(NULL, NULL);
  pthread_mutex_lock(&lock);
  current = NULL;
  pthread_mutex_unlock(&lock);
}

void diff_log_free(diff_log *l)
{
  for (int i = 0; i < l->n; i++)
    call_free(&l->v[i]);
  free(l->v);
  l->v = NULL;
  l->n = l->room = 0;
}
