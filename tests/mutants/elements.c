/* SPDX-License-Identifier: MIT
 * elements.c: what the mutant's kernels share: elements as numbers, for any strides, and a call as a job of a queue.
 */
#include "mutant.h"

enum { MOST = 6, ATTR_BYTES = 2048 };
#define TYPES (CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64) | CHX_BIT(CHX_I32))

typedef struct kernel_job {
  struct job job;
  chx_status (*body)(struct kernel_job *);
  chx_tensor t[MOST]; /* inputs, then the output */
  chx_tensor *out;
  int64_t dims[2 * MOST][CHX_MAX_RANK];
  const void *attr;
  char attr_room[ATTR_BYTES];
  void *plan, *work, *scratch;
} kernel_job;

/* ---- elements ------------------------------------------------------------------------------------------------------ */

typedef struct number { /* f of a float's, i of an integer's and bool's */
  double f;
  int64_t i;
} number;

static bool is_float(int dtype) { return dtype == CHX_F32 || dtype == CHX_F64; }

static int64_t size_of(const chx_tensor *t) { return t->bits / 8; }

static number load(const void *p, int dtype)
{
  number v = {0, 0};
  float f;
  int32_t i;
  switch (dtype) {
  case CHX_F32: memcpy(&f, p, sizeof f); v.f = (double)f; break;
  case CHX_F64: memcpy(&v.f, p, sizeof v.f); break;
  case CHX_I32: memcpy(&i, p, sizeof i); v.i = i; break;
  case CHX_I64: memcpy(&v.i, p, sizeof v.i); break;
  default: v.i = *(const unsigned char *)p != 0;
  }
  return v;
}

static void store(void *p, int dtype, number v)
{
  float f = (float)v.f;
  int32_t i = (int32_t)v.i;
  switch (dtype) {
  case CHX_F32: memcpy(p, &f, sizeof f); break;
  case CHX_F64: memcpy(p, &v.f, sizeof v.f); break;
  case CHX_I32: memcpy(p, &i, sizeof i); break;
  case CHX_I64: memcpy(p, &v.i, sizeof v.i); break;
  default: *(unsigned char *)p = v.i != 0;
  }
}

static int64_t count(const chx_tensor *t)
{
  int64_t n = 1;
  for (int i = 0; i < t->ndim; i++) n *= t->shape[i];
  return n;
}

static int64_t dense_stride(const chx_tensor *t, int axis)
{
  int64_t stride = 1;
  for (int i = axis + 1; i < t->ndim; i++) stride *= t->shape[i];
  return stride;
}

static int64_t stride_of(const chx_tensor *t, int axis)
{
  int64_t stride = t->strides[axis];
  if (IS(IGNORES_STRIDES) || (IS(IGNORES_BROADCASTS) && stride == 0)) return dense_stride(t, axis);
  if (IS(IGNORES_OUTPUT_STRIDES) && !(t->flags & CHX_T_READONLY) && stride == 2) return dense_stride(t, axis);
  if (IS(IGNORES_RANK_5) && axis > 3) return 0;
  return IS(IGNORES_SIGNS) && stride < 0 ? -stride : stride;
}

static void *element(const chx_tensor *t, const int64_t *index)
{
  int64_t at = 0;
  for (int i = 0; i < t->ndim; i++) at += index[i] * stride_of(t, i);
  return bytes_of(t->data, IS(IGNORES_OFFSETS) ? 0 : t->byte_offset) + at * size_of(t);
}

static void next(int64_t *index, const chx_tensor *t)
{
  for (int i = t->ndim - 1; i >= 0; i--) {
    if (++index[i] < t->shape[i]) return;
    index[i] = 0;
  }
}

/* ---- jobs ---------------------------------------------------------------------------------------------------------- */

static chx_status run_body(struct job *job)
{
  kernel_job *k = (kernel_job *)job;
  if (IS(KEEPS_SHAPES) || IS(KEEPS_ATTRIBUTES)) usleep(300);
  return k->body(k);
}

/* All of the call that the job needs: what a call points to is gone when run has returned. */
static kernel_job *kernel_job_new(const chx_call *call, chx_status (*body)(kernel_job *))
{
  kernel_job *k = (kernel_job *)job_new(sizeof *k, run_body);
  if (!k) return NULL;
  k->body = body;
  k->plan = call->plan;
  k->work = call->workspace ? bytes_of(call->workspace, 0) : NULL;
  for (uint32_t i = 0; i <= call->n_in; i++) {
    const chx_tensor *from = i < call->n_in ? &call->in[i] : &call->out[0];
    chx_tensor *t = k->out = &k->t[i];
    *t = *from;
    if (IS(KEEPS_SHAPES)) continue;
    memcpy(k->dims[2 * i], from->shape, (size_t)t->ndim * sizeof(int64_t));
    memcpy(k->dims[2 * i + 1], from->strides, (size_t)t->ndim * sizeof(int64_t));
    t->shape = k->dims[2 * i];
    t->strides = k->dims[2 * i + 1];
  }
  if (call->attr) {
    uint32_t bytes = *(const uint32_t *)call->attr;
    memcpy(k->attr_room, call->attr, bytes < ATTR_BYTES ? bytes : ATTR_BYTES);
    k->attr = IS(KEEPS_ATTRIBUTES) ? call->attr : k->attr_room;
  }
  return k;
}

static atomic_bool broken; /* BROKEN_AFTER_... alone: the device does nothing any more */

/* What run may do to whoever calls it. */
static void misbehave(const chx_call *call)
{
  if (IS(CRASHES)) *(volatile int *)8 = 1;
  if (IS(ABORTS)) abort();
  if (IS(EXITS)) exit(0);
  if (IS(ENDS_THE_THREAD)) pthread_exit(NULL);
  if (IS(HANGS))
    for (;;) pause();
  if (IS(RUN_WAITS)) wait_all(call->queue);
}

static chx_status queue_body(const chx_call *call, chx_status (*body)(kernel_job *))
{
  misbehave(call);
  if (broken) return fail(CHX_EFAILED, "mutant: the device is broken");
  kernel_job *k = kernel_job_new(call, body);
  return k ? enqueue(call->queue, &k->job) : CHX_ENOMEM;
}

/* A wrong result: its first element. */
static chx_status first_alone(kernel_job *k)
{
  static const int64_t zeros[CHX_MAX_RANK];
  memset(element(k->out, zeros), 0, (size_t)size_of(k->out));
  return CHX_OK;
}
