/* SPDX-License-Identifier: MIT
 * plan.c: a primitive, the reorders of its operands, and their memory: made once, run by any thread.
 *
 * A plan is for one of `parts` equal parts of the operands, which threads take in any order. How many there are depends
 * on the call alone, so results do not depend on the threads. The workspace of a run is the core's: first what all
 * parts read and is reordered once, then for each part its own operands and the scratchpad, which the primitives take
 * in turn. Memory and stream objects are made in each run: they cost less than a microsecond, and are then nobody
 * else's.
 */
#include "dn.h"
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };

typedef struct held { /* an operand */
  int id, operand;
  dn_desc user;
  dn_md want; /* the primitive's, or user's */
  dnnl_primitive_t reorder; /* NULL: it is used as it lies */
  uint64_t at;              /* where it is reordered: in the part's share of the workspace, or in the common one */
  int64_t step;             /* bytes from one part's to the next's; 0: they share it */
} held;

typedef struct plan {
  dnnl_primitive_t primitive; /* NULL: declines */
  int n;
  held arg[DN_ARGS];
  uint64_t scratch_at;    /* in a part's share */
  uint64_t common, bytes; /* sizes of the common share, which comes first, and of a part's */
  int parts;
} plan;

/* ---- threads --------------------------------------------------------------------------------------------------------
 * oneDNN's own threads are OpenMP's, which wait for each other in loops: beside the core's pool, OpenBLAS' or another
 * program's, an operator of 1 ms was seen to take 20. So primitives are made for one thread, and the parts of a plan
 * are shared out by the core's parallel_for. A number of OpenMP threads belongs to the calling thread: it gets its own
 * back. */

static int enter(void)
{
  const int before = dn.omp_set_num_threads ? dn.omp_get_max_threads() : 1;
  if (before != 1) dn.omp_set_num_threads(1);
  return before;
}

static void leave(int before)
{
  if (before != 1) dn.omp_set_num_threads(before);
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

dn_arg *dn_draft_add(dn_draft *d, const chx_call *call, int id, int operand, int ndims, const int *axes)
{
  const chx_tensor *t = dn_operand(call, operand);
  dn_arg *a = &d->arg[d->n++];
  *a = (dn_arg){.id = id, .operand = operand, .ndims = ndims, .split = -1,
                .type = CHX_T_DTYPE(t) == CHX_BF16  ? dnnl_bf16
                        : CHX_T_DTYPE(t) == CHX_F16 ? dnnl_f16
                                                    : dnnl_f32};
  int64_t inner = 1;
  for (int k = ndims; k-- > 0;) {
    a->dims[k] = axes[k] < 0 ? 1 : t->shape[axes[k]];
    a->strides[k] = a->dims[k] == 1 ? inner : t->strides[axes[k]];
    if (a->strides[k] * a->dims[k] > inner) inner = a->strides[k] * a->dims[k];
  }
  return a;
}

void dn_draft_split(dn_draft *d, int64_t n, int64_t unit, double work, double grain)
{
  enum { MOST = 32 };
  const double most = work / grain;
  for (int p = most < MOST ? (int)most : MOST; p > 1 && d->parts < 2; p--)
    if (n % (p * unit) == 0) d->parts = p;
}

static bool is_reference(const_dnnl_primitive_desc_t pd)
{
  const char *name = NULL;
  return !dn.primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name) && name && strstr(name, "ref");
}

static uint64_t take(uint64_t *bytes, uint64_t n)
{
  const uint64_t at = *bytes;
  *bytes += (n + ALIGN - 1) / ALIGN * ALIGN;
  return at;
}

/* The primitive of op, with the descriptors that its arguments ask for. */
static dnnl_status_t make_primitive(const dn_draft *d, const dn_desc *ask, const_dnnl_primitive_attr_t attr,
                                    dnnl_primitive_t *primitive)
{
  dn_op op = d->op;
  dnnl_primitive_desc_t pd = NULL, hint = NULL;
  dnnl_status_t st = dnnl_success;
  for (int i = 0; i < d->n; i++) switch (d->arg[i].id) {
    case DNNL_ARG_SRC: case DNNL_ARG_DIFF_SRC: op.src = dn_desc_md(&ask[i]); break;
    case DNNL_ARG_WEIGHTS: case DNNL_ARG_DIFF_WEIGHTS: op.weights = dn_desc_md(&ask[i]); break;
    case DNNL_ARG_BIAS: op.bias = dn_desc_md(&ask[i]); break;
    case DNNL_ARG_DST: case DNNL_ARG_DIFF_DST: op.dst = dn_desc_md(&ask[i]); break;
    default: break; /* vectors of f32, which the primitive takes as they are */
    }
  if (op.kind == DN_CONV_DATA || op.kind == DN_CONV_WEIGHTS || op.kind == DN_POOL_BACK) {
    dn_op forward = op;
    forward.kind = op.kind == DN_POOL_BACK ? DN_POOL : DN_CONV;
    forward.prop = dnnl_forward_training;
    st = dn_op_create(&hint, &forward, NULL, NULL);
  }
  if (!st) st = dn_op_create(&pd, &op, attr, hint);
  if (!st && is_reference(pd)) st = dnnl_unimplemented;
  if (!st) st = dn.primitive_create(primitive, pd);
  if (pd) dn.primitive_desc_destroy(pd);
  if (hint) dn.primitive_desc_destroy(hint);
  return st;
}

/* The bytes of scratchpad that a primitive wants. */
static uint64_t scratch_of(const_dnnl_primitive_t primitive, dn_md *md)
{
  const_dnnl_primitive_desc_t pd = NULL;
  if (dn.primitive_get_primitive_desc(primitive, &pd)) return 0;
  *md = dn.primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
  return *md ? dn.memory_desc_get_size(*md) : 0;
}

/* Whether all parts read h as it is. */
static bool is_common(const held *h) { return !h->step && h->operand < DN_OUT; }

/* Gives operand h the layout that the primitive wants. */
static dnnl_status_t fit(held *h, dnnl_primitive_t primitive, const_dnnl_primitive_attr_t attr, uint64_t *common,
                         uint64_t *bytes, uint64_t *scratch)
{
  const_dnnl_primitive_desc_t of;
  dnnl_primitive_desc_t pd = NULL;
  dn_md user = dn_desc_md(&h->user), none;
  dnnl_status_t st = dn.primitive_get_primitive_desc(primitive, &of);
  if (st) return st;
  dn_md want = dn.primitive_desc_query_md(of, dnnl_query_exec_arg_md, h->id);
  h->want = user;
  if (!want || !dn.memory_desc_get_size(want) || dn.memory_desc_equal(want, user)) return dnnl_success;
  h->want = want;
  const bool out = h->operand >= DN_OUT;
  st = dn.reorder_primitive_desc_create(&pd, out ? want : user, dn.engine, out ? user : want, dn.engine, attr);
  if (!st) st = dn.primitive_create(&h->reorder, pd);
  if (pd) dn.primitive_desc_destroy(pd);
  if (st) return st;
  h->at = take(is_common(h) ? common : bytes, dn.memory_desc_get_size(want));
  const uint64_t more = scratch_of(h->reorder, &none);
  if (more > *scratch) *scratch = more;
  return dnnl_success;
}

static dnnl_status_t make(const dn_draft *d, plan *p)
{
  dn_desc ask[DN_ARGS] = {0};
  dnnl_primitive_attr_t attr = NULL;
  dn_md md;
  dnnl_status_t st = dn.primitive_attr_create(&attr);
  if (!st) st = dn.primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
  p->parts = d->parts > 1 ? d->parts : 1;
  for (int i = 0; !st && i < d->n; i++) {
    dn_arg a = d->arg[i];
    if (p->parts > 1 && a.split >= 0) {
      a.dims[a.split] /= p->parts;
      p->arg[i].step = a.dims[a.split] * a.strides[a.split] * (a.type == dnnl_f32 ? 4 : 2);
    }
    p->arg[i].id = a.id;
    p->arg[i].operand = a.operand;
    st = dn_desc_make(&p->arg[i].user, a.ndims, a.dims, a.type, a.strides);
    p->n = st ? i : i + 1;
    if (!st) st = dn_desc_make(&ask[i], a.ndims, a.dims, a.type, a.any ? NULL : a.strides);
  }
  if (!st) st = make_primitive(d, ask, attr, &p->primitive);
  uint64_t scratch = st ? 0 : scratch_of(p->primitive, &md);
  for (int i = 0; !st && i < p->n; i++) st = fit(&p->arg[i], p->primitive, attr, &p->common, &p->bytes, &scratch);
  p->scratch_at = take(&p->bytes, scratch);
  for (int i = 0; i < d->n; i++) dn_desc_free(&ask[i]);
  if (attr) dn.primitive_attr_destroy(attr);
  return st;
}

static void clear(plan *p)
{
  for (int i = 0; i < p->n; i++) {
    if (p->arg[i].reorder) dn.primitive_destroy(p->arg[i].reorder);
    dn_desc_free(&p->arg[i].user);
  }
  if (p->primitive) dn.primitive_destroy(p->primitive);
  memset(p, 0, sizeof *p);
}

chx_status dn_plan_make(const dn_draft *d, void **out, uint64_t *workspace_bytes)
{
  plan *p = calloc(1, sizeof *p);
  if (!p) return dn_fail(CHX_ENOMEM, "dnnl: no memory for a plan");
  const int before = enter();
  dnnl_status_t st = make(d, p);
  leave(before);
  if (st) clear(p);
  if (st == dnnl_out_of_memory) return free(p), dn_fail(CHX_ENOMEM, "dnnl: oneDNN has no memory for a primitive");
  *out = p;
  *workspace_bytes = p->common + p->bytes * (uint64_t)p->parts;
  return CHX_OK;
}

void dn_plan_drop(void *self, void *p)
{
  (void)self;
  clear(p);
  free(p);
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

typedef struct run { /* what a run has made */
  dnnl_stream_t stream;
  dnnl_memory_t memory[2 * DN_ARGS + 2 + DN_ARGS];
  int n;
  const char *call; /* the function of oneDNN that failed */
} run;

static dnnl_status_t memory_at(run *r, dn_md md, void *data, dnnl_memory_t *out)
{
  dnnl_status_t st = dn.memory_create(out, md, dn.engine, data);
  if (!st) r->memory[r->n++] = *out;
  else r->call = "dnnl_memory_create";
  return st;
}

static dnnl_status_t execute(run *r, const_dnnl_primitive_t primitive, dnnl_exec_arg_t *args, int n, void *scratch)
{
  dn_md md = NULL;
  dnnl_status_t st = dnnl_success;
  if (scratch_of(primitive, &md)) {
    args[n].arg = DNNL_ARG_SCRATCHPAD;
    st = memory_at(r, md, scratch, &args[n++].memory);
  }
  if (!st && (st = dn.primitive_execute(primitive, r->stream, n, args))) r->call = "dnnl_primitive_execute";
  return st;
}

/* Operand h from or to the primitive's layout. */
static dnnl_status_t reorder(run *r, const held *h, dnnl_memory_t from, dnnl_memory_t to, void *scratch)
{
  dnnl_exec_arg_t two[3] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
  return execute(r, h->reorder, two, 2, scratch);
}

static char *data_of(const chx_call *c, const held *h)
{
  const chx_tensor *t = dn_operand(c, h->operand);
  return (char *)t->data + t->byte_offset;
}

/* What all parts read. The scratchpad is the first part's. */
static dnnl_status_t run_common(const plan *p, const chx_call *c, run *r)
{
  char *const work = c->workspace;
  dnnl_status_t st = dnnl_success;
  for (int i = 0; !st && i < p->n; i++) {
    const held *h = &p->arg[i];
    dnnl_memory_t from, to;
    if (!h->reorder || !is_common(h)) continue;
    st = memory_at(r, dn_desc_md(&h->user), data_of(c, h), &from);
    if (!st) st = memory_at(r, h->want, work + h->at, &to);
    if (!st) st = reorder(r, h, from, to, work + p->common + p->scratch_at);
  }
  return st;
}

static dnnl_status_t run_part(const plan *p, const chx_call *c, int64_t part, run *r)
{
  dnnl_exec_arg_t args[DN_ARGS + 1];
  dnnl_memory_t user[DN_ARGS];
  char *const common = c->workspace, *const own = common + p->common + (uint64_t)part * p->bytes;
  char *const scratch = own + p->scratch_at;
  dnnl_status_t st = dnnl_success;
  for (int i = 0; !st && i < p->n; i++) {
    const held *h = &p->arg[i];
    args[i].arg = h->id;
    if (h->reorder) st = memory_at(r, h->want, (is_common(h) ? common : own) + h->at, &args[i].memory);
    if (st || (h->reorder && is_common(h))) continue;
    st = memory_at(r, dn_desc_md(&h->user), data_of(c, h) + part * h->step, &user[i]);
    if (!h->reorder) args[i].memory = user[i];
    else if (!st && h->operand < DN_OUT) st = reorder(r, h, user[i], args[i].memory, scratch);
  }
  if (!st) st = execute(r, p->primitive, args, p->n, scratch);
  for (int i = 0; !st && i < p->n; i++) {
    const held *h = &p->arg[i];
    if (h->reorder && h->operand >= DN_OUT) st = reorder(r, h, args[i].memory, user[i], scratch);
  }
  return st;
}

typedef struct job {
  const plan *p;
  const chx_call *c;
  _Atomic(const char *) call; /* the function of oneDNN that failed */
  atomic_int status;
} job;

/* part -1 is what is common. */
static void run_one(job *j, int64_t part)
{
  run r = {.call = "dnnl_stream_create"};
  dnnl_status_t st = dn.stream_create(&r.stream, dn.engine, dnnl_stream_default_flags);
  if (!st) st = part < 0 ? run_common(j->p, j->c, &r) : run_part(j->p, j->c, part, &r);
  while (r.n > 0) dn.memory_destroy(r.memory[--r.n]);
  if (r.stream) dn.stream_destroy(r.stream);
  if (!st) return;
  atomic_store(&j->call, r.call);
  atomic_store(&j->status, (int)st);
}

static void run_parts(int64_t begin, int64_t end, void *ctx)
{
  const int before = enter();
  for (int64_t part = begin; part < end; part++) run_one(ctx, part);
  leave(before);
}

chx_status dn_plan_run(const chx_call *c)
{
  const plan *p = c->plan;
  job j = {.p = p, .c = c};
  if (!p->primitive) return CHX_DECLINED;
  if (p->common) run_parts(-1, 0, &j);
  int st = atomic_load(&j.status);
  if (!st && (p->parts == 1 || !dn_host->parallel_for ||
              dn_host->parallel_for(dn_host->ctx, p->parts, 1, run_parts, &j)))
    run_parts(0, p->parts, &j);
  st = atomic_load(&j.status);
  if (!st) return CHX_OK;
  return dn_fail(st == dnnl_out_of_memory ? CHX_ENOMEM : CHX_EFAILED, "%s failed with code %d", atomic_load(&j.call),
                 st);
}
