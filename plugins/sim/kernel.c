/* SPDX-License-Identifier: MIT
 * kernel.c: native's kernels as jobs of a queue.
 *
 * The core's description of a call is valid during the call only, so all of it is copied. On the queue's thread each
 * operand is checked to lie inside a live allocation and inside the extent that it was given, is translated from the
 * device's address to the host's, and native's kernel runs on it.
 */
#include "internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPERANDS = 24 };

struct scratch {
  struct scratch *next;
  _Alignas(64) char bytes[];
};

struct kernel_job {
  struct sim_job job;
  struct chx_dev *dev;
  const chx_kernel *native;
  chx_call call;
  struct scratch *scratch;
  struct sim_late late;
  size_t attr_bytes;
  chx_tensor t[MAX_OPERANDS];                   /* inputs, then outputs */
  int64_t dims[MAX_OPERANDS][2][CHX_MAX_RANK];  /* their shapes and strides */
  _Alignas(16) unsigned char attr[];
};

void *sim_scratch(void *ctx, const chx_call *call, uint64_t bytes)
{
  struct kernel_job *j = call->host_state;
  struct scratch *m = NULL;
  (void)ctx;
  if (bytes > PTRDIFF_MAX / 2 || posix_memalign((void **)&m, 64, sizeof *m + bytes)) return NULL;
  m->next = j->scratch;
  j->scratch = m;
  return m->bytes;
}

/* ---- operands ------------------------------------------------------------------------------------------------------ */

/* The bytes that t's elements take, [low, high) from its first; false for an empty tensor. */
static bool span(const chx_tensor *t, int64_t *low, int64_t *high)
{
  int64_t size = t->bits / 8;
  *low = 0;
  *high = size;
  for (int i = 0; i < t->ndim; i++) {
    if (!t->shape[i]) return false;
    int64_t reach = (t->shape[i] - 1) * t->strides[i] * size;
    *(reach < 0 ? low : high) += reach;
  }
  return true;
}

static chx_status translate(struct kernel_job *j, uint32_t i, struct sim_block **block)
{
  chx_tensor *t = &j->t[i];
  bool in = i < j->call.n_in;
  int64_t low, high;
  if (t->flags & (CHX_T_HOST_SCALAR | CHX_T_ABSENT)) return CHX_OK;
  const char *where = in ? "input" : "output";
  unsigned number = in ? i : i - j->call.n_in;
  bool empty = !span(t, &low, &high);
  const char *at = (const char *)((uintptr_t)t->data + t->byte_offset);
  struct sim_block *b = *block = sim_pin(j->dev, at);
  if (!b) {
    if (empty) return CHX_OK; /* no element of it will be touched */
    return sim_fail(CHX_EFAILED, "%s: %s %u is not in a live allocation of this device", j->native->op, where, number);
  }
  int64_t offset = (int64_t)(at - j->dev->arena) - (int64_t)b->at;
  if (!empty && (offset + low < 0 || offset + high > (int64_t)b->bytes || high > (int64_t)t->extent))
    return sim_fail(CHX_EFAILED, "%s: %s %u takes bytes %lld to %lld of an allocation of %llu; its extent is %llu",
                    j->native->op, where, number, (long long)(offset + low), (long long)(offset + high),
                    (unsigned long long)b->bytes, (unsigned long long)t->extent);
  if (!empty && (uint64_t)((uintptr_t)t->buf - (uintptr_t)j->dev->arena) - b->at > b->bytes) /* an import begins inside */
    return sim_fail(CHX_EFAILED, "%s: %s %u names another allocation than the one it is in", j->native->op, where,
                    number);
  chx_status st = sim_not_mapped(j->dev, b, !in, j->native->op);
  if (st) return st;
  t->data = b->data + (offset - (int64_t)t->byte_offset);
  t->buf = b->data;
  t->dl_type = 1;
  t->dl_id = 0;
  return CHX_OK;
}

static chx_status run_job(struct sim_job *job)
{
  struct kernel_job *j = (struct kernel_job *)job;
  struct sim_block *block[MAX_OPERANDS + 1] = {0};
  uint32_t n = j->call.n_in + j->call.n_out;
  chx_status st = CHX_OK;
  if (j->late.code) return sim_strike(j->dev, &j->late);
  for (uint32_t i = 0; i < n && !st; i++) st = translate(j, i, &block[i]);
  if (!st && j->call.workspace) {
    struct sim_block *b = block[n] = sim_pin(j->dev, j->call.workspace);
    uint64_t offset = b ? (uint64_t)((char *)j->call.workspace - j->dev->arena) - b->at : 0;
    if (!b || j->call.workspace_bytes > b->bytes - offset)
      st = sim_fail(CHX_EFAILED, "%s: the workspace is not in a live allocation", j->native->op);
    else
      j->call.workspace = b->data + offset;
  }
  if (!st) sim_delay_kernel(j->dev);
  if (!st && (st = j->native->run(j->native->self, &j->call)) == CHX_DECLINED)
    st = sim_fail(CHX_EUNSUPPORTED, "%s: native's kernel declined after it was queued", j->native->op);
  for (uint32_t i = 0; i <= n; i++) sim_unpin(j->dev, block[i]);
  while (j->scratch) {
    struct scratch *m = j->scratch;
    j->scratch = m->next;
    free(m);
  }
  return st;
}

/* ---- what the core calls ------------------------------------------------------------------------------------------- */

/* A call as native's metadata functions may see it. */
static chx_call for_native(const chx_call *call)
{
  chx_call c = {0};
  memcpy(&c, call, call->size < sizeof c ? call->size : sizeof c);
  c.size = sizeof c;
  c.dev = sim.native;
  c.queue = NULL;
  c.host_state = NULL;
  return c;
}

static void copy_tensor(struct kernel_job *j, uint32_t i, const chx_tensor *t)
{
  j->t[i] = *t;
  if (t->flags & CHX_T_ABSENT) return;
  size_t bytes = (size_t)t->ndim * sizeof(int64_t);
  if (bytes && t->shape) memcpy(j->dims[i][0], t->shape, bytes);
  if (bytes && t->strides) memcpy(j->dims[i][1], t->strides, bytes);
}

/* What of a job points into it. */
static void settle(struct kernel_job *j)
{
  j->call.host_state = j; /* what sim_scratch hangs memory on */
  j->call.in = j->t;
  j->call.out = j->t + j->call.n_in;
  j->call.attr = j->call.attr ? j->attr : NULL;
  for (uint32_t i = 0; i < j->call.n_in + j->call.n_out; i++) {
    if (j->t[i].flags & CHX_T_ABSENT) continue;
    j->t[i].shape = j->dims[i][0];
    j->t[i].strides = j->dims[i][1];
  }
}

static chx_status repeat(const struct sim_job *job, const struct sim_late *late)
{
  const struct kernel_job *was = (const struct kernel_job *)job;
  const size_t bytes = sizeof *was + was->attr_bytes;
  struct kernel_job *j = malloc(bytes);
  if (!j) return sim_fail(CHX_ENOMEM, "sim: the host has no %zu bytes to repeat a job", bytes);
  memcpy(j, was, bytes);
  j->late = *late;
  settle(j);
  chx_status st = run_job(&j->job);
  free(j);
  return st;
}

static chx_status run(void *self, const chx_call *call)
{
  const struct sim_kernel *k = self;
  struct sim_late late;
  if (call->n_in + call->n_out > MAX_OPERANDS) return CHX_DECLINED;
  chx_status st = sim_queue_action(call->dev, call->queue, CHX_SIM_KERNEL, k->k.op, &late);
  if (st) return st;
  size_t attr_bytes = call->attr ? k->k.attr_size : 0;
  struct kernel_job *j = sim_job_new(sizeof *j + attr_bytes, run_job);
  if (!j) return CHX_ENOMEM;
  j->job.repeat = repeat;
  j->job.action = CHX_SIM_KERNEL;
  j->job.what = k->k.op;
  j->dev = call->dev;
  j->native = k->native;
  j->call = for_native(call);
  j->attr_bytes = attr_bytes;
  for (uint32_t i = 0; i < call->n_in; i++) copy_tensor(j, i, &call->in[i]);
  for (uint32_t o = 0; o < call->n_out; o++) copy_tensor(j, call->n_in + o, &call->out[o]);
  if (attr_bytes) memcpy(j->attr, call->attr, attr_bytes);
  settle(j);
  j->late = late;
  return sim_enqueue(call->dev, call->queue, &j->job);
}

static chx_status accepts(void *self, const chx_call *call)
{
  const struct sim_kernel *k = self;
  chx_call c = for_native(call);
  return k->native->accepts(k->native->self, &c);
}

static chx_status prepare(void *self, const chx_call *call, void **plan, uint64_t *workspace_bytes)
{
  const struct sim_kernel *k = self;
  chx_call c = for_native(call);
  return k->native->prepare(k->native->self, &c, plan, workspace_bytes);
}

static void drop(void *self, void *plan)
{
  const struct sim_kernel *k = self;
  k->native->drop(k->native->self, plan);
}

bool sim_kernels_open(void)
{
  const chx_kernel *native;
  uint32_t n = 0;
  while (sim.native_ops->kernel(sim.native, n)) n++;
  if (!(sim.kernel = calloc(n ? n : 1, sizeof *sim.kernel))) return false;
  for (sim.n_kernels = 0; sim.n_kernels < n; sim.n_kernels++) {
    struct sim_kernel *k = &sim.kernel[sim.n_kernels];
    k->native = native = sim.native_ops->kernel(sim.native, sim.n_kernels);
    memcpy(&k->k, native, native->size < sizeof k->k ? native->size : sizeof k->k);
    k->k.size = sizeof k->k;
    k->k.run = run;
    k->k.self = k;
    k->k.flags |= CHX_K_CAPTURABLE; /* all that a job reads is in it, or kept by who captures: its plan */
    if (k->k.accepts) k->k.accepts = accepts;
    if (k->k.prepare) k->k.prepare = prepare;
    if (k->k.drop) k->k.drop = drop;
  }
  return true;
}

void sim_kernels_close(void)
{
  free(sim.kernel);
  sim.kernel = NULL;
  sim.n_kernels = 0;
}

const chx_kernel *sim_kernel_at(chx_dev *dev, uint32_t index)
{
  (void)dev;
  return index < sim.n_kernels ? &sim.kernel[index].k : NULL;
}
