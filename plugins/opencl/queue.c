/* SPDX-License-Identifier: MIT
 * queue.c: in-order command queues, and points on them.
 *
 * A point is the number of commands put in. To wait for one, a marker is put behind all that is queued (waiting on a later
 * point is always right), so that no event is made unless somebody waits. What a kernel reports is fetched by a read put
 * in before the wait.
 */
#include <stdlib.h>
#include <time.h>
#include "opencl.h"

chx_status ocl_queued(chx_dev *dev, chx_queue *q, cl_int code, const char *call)
{
  if (code) return ocl_fail(dev, code, call);
  q->queued++;
  return CHX_OK;
}

chx_status ocl_queue_new(chx_dev *dev, void *adopt, chx_queue **out)
{
  cl_int code = CL_SUCCESS;
  chx_queue *q = calloc(1, sizeof *q);
  if (!q) return ocl_host->fail(ocl_host->ctx, CHX_ENOMEM, "opencl: out of memory for a queue");
  q->adopted = adopt != NULL;
  q->q = adopt ? adopt : ocl.clCreateCommandQueue(dev->context, dev->device, 0, &code);
  if (!q->q) {
    free(q);
    return ocl_fail(dev, code, "clCreateCommandQueue");
  }
  *out = q;
  return CHX_OK;
}

void ocl_queue_free(chx_dev *dev, chx_queue *q)
{
  (void)dev;
  if (!q) return;
  if (q->adopted && !q->words) ocl.clFlush(q->q); /* a stranger's own work goes on */
  else ocl.clFinish(q->q);
  if (q->pending) ocl.clReleaseEvent(q->pending);
  if (q->words) ocl.clReleaseMemObject(q->words);
  if (!q->adopted) ocl.clReleaseCommandQueue(q->q);
  free(q);
}

uint64_t ocl_queue_mark(chx_dev *dev, chx_queue *q)
{
  (void)dev;
  return q->queued;
}

/* ---- errors that stick --------------------------------------------------------------------------------------------- */

static chx_status failed(chx_dev *dev, chx_queue *q)
{
  return q->failed_code ? ocl_fail(dev, q->failed_code, "an earlier command") : gpu_report_check(&dev->gpu, &q->report);
}

static chx_status sticky(chx_dev *dev, chx_queue *q, cl_int code, const char *call)
{
  if (!q->failed) q->failed_code = code;
  return q->failed = ocl_fail(dev, q->failed_code, call);
}

chx_status ocl_queue_report(gpu_device *g, chx_queue *q, void **handle)
{
  struct chx_dev *dev = (struct chx_dev *)(void *)g;
  gpu_report zero = {0};
  cl_int code = CL_SUCCESS;
  if (!q->words)
    q->words = ocl.clCreateBuffer(dev->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof zero, &zero, &code);
  if (!q->words) return ocl_fail(dev, code, "clCreateBuffer");
  q->armed = true;
  *handle = q->words;
  return CHX_OK;
}

/* Puts in a read of what kernels have reported so far, if any may have. */
static chx_status fetch(chx_dev *dev, chx_queue *q)
{
  if (!q->armed) return CHX_OK;
  const cl_int code = ocl.clEnqueueReadBuffer(q->q, q->words, CL_FALSE, 0, sizeof q->report, &q->report, 0, NULL, NULL);
  if (code) return sticky(dev, q, code, "clEnqueueReadBuffer");
  q->queued++;
  q->armed = false;
  q->fetched = true;
  return CHX_OK;
}

/* After a wait that covers the read. */
static chx_status fetched(chx_dev *dev, chx_queue *q)
{
  if (!q->fetched) return CHX_OK;
  q->fetched = false;
  return q->failed = gpu_report_check(&dev->gpu, &q->report);
}

/* ---- waiting ------------------------------------------------------------------------------------------------------- */

chx_status ocl_queue_wait(chx_dev *dev, chx_queue *waiter, chx_queue *on, uint64_t point)
{
  cl_event e;
  if (point <= on->done || waiter == on) return CHX_OK;
  if (on->failed) return failed(dev, on);
  cl_int code = ocl.clEnqueueMarkerWithWaitList(on->q, 0, NULL, &e);
  if (code) return ocl_fail(dev, code, "clEnqueueMarkerWithWaitList");
  on->queued++;
  ocl.clFlush(on->q);
  code = ocl.clEnqueueBarrierWithWaitList(waiter->q, 1, &e, NULL);
  ocl.clReleaseEvent(e);
  return ocl_queued(dev, waiter, code, "clEnqueueBarrierWithWaitList");
}

static void finished(chx_queue *q)
{
  q->done = q->pending_at;
  ocl.clReleaseEvent(q->pending);
  q->pending = NULL;
}

/* Whether the pending marker has been reached; one is put in if there is none that covers the point. */
static chx_status poll(chx_dev *dev, chx_queue *q, uint64_t point)
{
  cl_int state = CL_QUEUED, code;
  if (q->pending && q->pending_at < point) {
    ocl.clReleaseEvent(q->pending);
    q->pending = NULL;
  }
  if (!q->pending) {
    const chx_status st = fetch(dev, q);
    if (st) return st;
    code = ocl.clEnqueueMarkerWithWaitList(q->q, 0, NULL, &q->pending);
    if (code) return q->pending = NULL, sticky(dev, q, code, "clEnqueueMarkerWithWaitList");
    q->pending_at = ++q->queued;
    ocl.clFlush(q->q);
  }
  code = ocl.clGetEventInfo(q->pending, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
  if (code || state < 0) return sticky(dev, q, code ? code : state, "a queued command");
  if (state != CL_COMPLETE) return CHX_NOT_READY;
  finished(q);
  return fetched(dev, q);
}

chx_status ocl_queue_sync(chx_dev *dev, chx_queue *q, uint64_t point, int64_t timeout_ns)
{
  if (q->failed) return failed(dev, q);
  if (point <= q->done) return CHX_OK;
  if (timeout_ns == INT64_MAX) {
    const chx_status st = fetch(dev, q);
    if (st) return st;
    const uint64_t all = q->queued;
    const cl_int code = ocl.clFinish(q->q);
    if (code) return sticky(dev, q, code, "clFinish");
    q->done = all;
    if (q->pending) finished(q);
    q->done = all;
    return fetched(dev, q);
  }
  for (int64_t waited = 0;; waited += 50000) {
    const chx_status st = poll(dev, q, point);
    if (st != CHX_NOT_READY || waited >= timeout_ns) return st;
    nanosleep(&(struct timespec){0, 50000}, NULL);
  }
}

void *ocl_queue_native(chx_dev *dev, chx_queue *q)
{
  (void)dev;
  return q->q;
}
