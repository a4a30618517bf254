/* SPDX-License-Identifier: MIT
 * work.c: what takes long: how much work a call is, and the function that is told before and after it (chx_scope_set_long_work),
 * so that an interpreter's lock can be given away meanwhile.
 *
 * It is told where no lock is held and no graph is being changed: around the kernel of an operator with all that its route needs,
 * not around inferring and recording; around reading, writing and waiting as a whole. What is inside is not told of again.
 */
#include "runtime.h"

enum {
  MUCH = 1 << 15,       /* light elementwise operations, about 10 us: giving a lock away and taking it back is a small part */
  MUCH_BYTES = 1 << 18, /* of a copy; as long */
  SLICE = 20 * 1000000  /* ns between two looks at whether a wait is to be given up */
};

void chx_scope_set_long_work(chx_scope *s, chx_long_work fn, void *ctx)
{
  if (!s || s->magic != CHXI_SCOPE_LIVE) return;
  s->long_work = fn;
  s->long_ctx = ctx;
}

/* ---- how much a call is ------------------------------------------------------------------------------------------------------ */

static double elements(int ndim, const int64_t *shape)
{
  double n = 1;
  for (int i = 0; i < ndim; i++) n *= (double)shape[i];
  return n;
}

/* Multiplications for each element of what an operator's sums go over, 8 of them counted as one operation. */
static double sums(const chxi_call *c)
{
  const chx_array *a = c->in[0], *b = c->in[1];
  const struct chxi_out *y = &c->out[0];
  const double made = elements(y->ndim, y->shape);
  switch (c->op->id) {
  case CHXI_OP_matmul:
  case CHXI_OP_linear: return a->t.ndim ? made * (double)a->shape[a->t.ndim - 1] / 8 : 0;
  case CHXI_OP_conv: return b->shape[0] ? made * (double)(b->size / b->shape[0]) / 8 : 0;
  case CHXI_OP_conv_grad_input: return b->shape[0] ? (double)a->size * (double)(b->size / b->shape[0]) / 8 : 0;
  case CHXI_OP_conv_grad_weight: return y->shape[0] ? (double)b->size * made / (double)y->shape[0] / 8 : 0;
  case CHXI_OP_max_pool:
  case CHXI_OP_avg_pool:
  case CHXI_OP_avg_pool_grad: {
    const chx_pool_attr *p = c->attr;
    return (c->op->id == CHXI_OP_avg_pool_grad ? (double)a->size : made) * elements((int)p->ksize.n, p->ksize.v);
  }
  default: return 0;
  }
}

/* Operations for each element. */
static double weight(const chx_op *op)
{
  switch (op->id) {
  case CHXI_OP_sort:
  case CHXI_OP_argsort:
  case CHXI_OP_topk: return 16;
  case CHXI_OP_random_bits:
  case CHXI_OP_uniform:
  case CHXI_OP_normal:
  case CHXI_OP_bernoulli:
  case CHXI_OP_integers: return 4;
  default: return op->kind == CHXI_COMPOSITE || op->klass == 'F' ? 4 : 1; /* F: functions such as exp */
  }
}

bool chxi_many_is_long(const chxi_call *c, const chxi_route *r)
{
  double n = 0;
  for (int i = 0; i < c->n_in; i++) n += c->in[i] ? (double)c->in[i]->size : 0;
  for (int o = 0; o < c->n_out; o++) n += elements(c->out[o].ndim, c->out[o].shape);
  /* Where the host needs the values it waits for all that is queued before them. */
  if (c->dev->queued && (r->kind == CHX_ROUTE_MAPPED || r->kind == CHX_ROUTE_STAGED || r->fresh)) return true;
  return n * weight(c->op) >= MUCH || sums(c) >= MUCH;
}

bool chxi_copy_is_long(const chxi_device *dev, uint64_t bytes) { return dev->queued || bytes >= MUCH_BYTES; }

/* ---- the function -------------------------------------------------------------------------------------------------------------- */

chx_long_work chxi_long_begin(chx_scope *s)
{
  chx_long_work fn = s->long_work;
  s->long_work = NULL;
  if (fn) fn(s->long_ctx, 1);
  return fn;
}

bool chxi_long_end(chx_scope *s, chx_long_work fn)
{
  if (!fn) return true;
  s->long_work = fn;
  if (!fn(s->long_ctx, 0)) return true;
  chx_scope_fail(s, CHX_EFAILED, "interrupted");
  return false;
}

static chx_status sync_for(chxi_stream *q, uint64_t point, int64_t ns)
{
  pthread_mutex_lock(&q->lock);
  chx_status st = q->q ? q->dev->ops->queue_sync(q->dev->dev, q->q, point, ns) : q->failed;
  pthread_mutex_unlock(&q->lock);
  return st;
}

/* What the queue reports is left to who asks it again, at once. */
bool chxi_long_wait(chx_scope *s, chxi_stream *q, uint64_t point)
{
  if (chxi_likely(!s->long_work) || q->capture || q->failed || point <= q->good) return true;
  for (;;) {
    chx_long_work fn = chxi_long_begin(s);
    chx_status st = sync_for(q, point, SLICE);
    if (!chxi_long_end(s, fn)) return false;
    if (st != CHX_NOT_READY) return true;
  }
}
