/* SPDX-License-Identifier: MIT
 * queue.c: streams, and points on them.
 *
 * A point is the number of commands put in. To wait for one, an event is recorded behind all that is queued (waiting on
 * a later point is always right), so that none is recorded unless somebody waits. Events are a ring: who waits for one
 * on the device has taken its meaning when it is recorded anew.
 *
 * What a kernel reports is copied to pinned bytes by a command put in before the wait, and looked at after it.
 *
 * A code that a wait brings up sticks to the queue. Those that DRV_LOST names stick to the whole device, as the driver
 * says.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "drv.h"

chx_status drv_queued(chx_dev *dev, chx_queue *q, drv_result code, const char *call)
{
  if (code) {
    if (DRV_LOST(code) && !q->failed) q->failed = CHX_ELOST, q->failed_code = code;
    return drv_fail(dev, code, call);
  }
  if (!q->capture) q->queued++;
  return CHX_OK;
}

chx_status drv_queue_new(chx_dev *dev, void *adopt, chx_queue **out)
{
  drv_result code = DRV_SUCCESS;
  const chx_status st = drv_enter(dev);
  if (st) return st;
  chx_queue *q = calloc(1, sizeof *q);
  if (!q) return drv_host->fail(drv_host->ctx, CHX_ENOMEM, DRV_PLUGIN ": out of memory for a queue");
  q->adopted = adopt != NULL;
  q->stream = adopt;
  if (!adopt) code = drv.StreamCreate(&q->stream, DRV_STREAM_FLAGS);
  if (code) {
    free(q);
    return drv_fail(dev, code, "making a stream");
  }
  *out = q;
  return CHX_OK;
}

void drv_queue_free(chx_dev *dev, chx_queue *q)
{
  if (!q) return;
  if (!drv_enter(dev)) {
    drv_capture_forget(dev, q);
    if (!q->adopted || q->pinned || q->words.handle) drv.StreamSynchronize(q->stream); /* a stranger's own work goes on */
    drv_queue_handles_close(q);
    drv_release(dev, q, &q->words);
    for (int i = 0; i < DRV_EVENTS; i++)
      if (q->ring[i].event) drv.EventDestroy(q->ring[i].event);
    for (int i = 0; i < DRV_SLOTS; i++)
      if (q->slot[i].event) drv.EventDestroy(q->slot[i].event);
    if (q->pinned) drv.HostFree(q->pinned);
    if (!q->adopted) drv.StreamDestroy(q->stream);
  }
  free(q);
}

uint64_t drv_queue_mark(chx_dev *dev, chx_queue *q)
{
  (void)dev;
  return q->queued;
}

/* ---- errors that stick ------------------------------------------------------------------------------------------- */

static chx_status failed(chx_dev *dev, const chx_queue *q)
{
  return q->failed_code ? drv_fail(dev, q->failed_code, "an earlier command") : gpu_report_check(&dev->gpu, &q->report);
}

static chx_status sticky(chx_dev *dev, chx_queue *q, drv_result code, const char *call)
{
  if (!q->failed_code) q->failed_code = code;
  return q->failed = drv_fail(dev, q->failed_code, call);
}

chx_status drv_queue_report(gpu_device *g, chx_queue *q, void **handle)
{
  chx_dev *dev = (chx_dev *)(void *)g;
  const gpu_report zero = {0};
  chx_status st = CHX_OK;
  if (q->capture) return drv_capture_words(dev, q, handle);
  if (!q->words.handle) {
    q->words.size = sizeof q->words;
    st = drv_alloc(dev, q, sizeof zero, CHX_B_DEVICE, &q->words);
    if (!st && (st = drv_copy(dev, q, q->words.handle, 0, &zero, 0, sizeof zero, 0))) drv_release(dev, q, &q->words);
    if (st) return st;
  }
  q->armed = true;
  *handle = q->words.handle;
  return CHX_OK;
}

/* Where the words are copied to. */
static void *landing(const chx_queue *q) { return q->pinned + (size_t)DRV_SLOTS * DRV_SLOT_BYTES; }

/* Puts in a copy of what kernels have reported so far, if any may have. */
static chx_status fetch(chx_dev *dev, chx_queue *q)
{
  if (!q->armed) return CHX_OK;
  chx_status st = drv_pin(dev, q);
  if (st) return st;
  const drv_result code = drv.CopyOut(landing(q), drv_at(q->words.handle, 0), sizeof q->report, q->stream);
  if (code) return sticky(dev, q, code, "a queued command");
  q->fetch_at = ++q->queued;
  q->armed = false;
  q->fetched = true;
  return CHX_OK;
}

/* All up to `at` is done. */
static chx_status finished(chx_dev *dev, chx_queue *q, uint64_t at)
{
  if (at > q->done) q->done = at;
  if (!q->fetched || q->done < q->fetch_at) return CHX_OK;
  memcpy(&q->report, landing(q), sizeof q->report);
  q->fetched = false;
  return q->failed = gpu_report_check(&dev->gpu, &q->report);
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

chx_status drv_record(chx_dev *dev, chx_queue *q, drv_mark *m)
{
  drv_result code = m->event ? DRV_SUCCESS : drv.EventCreate(&m->event, DRV_EVENT_FLAGS);
  if (code) return m->event = NULL, drv_fail(dev, code, "making an event");
  if ((code = drv.EventRecord(m->event, q->stream))) return m->at = 0, sticky(dev, q, code, "recording an event");
  m->at = q->queued;
  return CHX_OK;
}

/* A recorded event that covers the point: the earliest there is, or a new one. */
static chx_status covering(chx_dev *dev, chx_queue *q, uint64_t point, drv_mark **out)
{
  drv_mark *best = NULL;
  for (int i = 0; i < DRV_EVENTS; i++)
    if (q->ring[i].at >= point && (!best || q->ring[i].at < best->at)) best = &q->ring[i];
  *out = best ? best : &q->ring[q->next++ % DRV_EVENTS];
  return best ? CHX_OK : drv_record(dev, q, *out);
}

chx_status drv_queue_settle(chx_dev *dev, chx_queue *q)
{
  drv_mark *m;
  if (q->failed) return failed(dev, q);
  const chx_status st = fetch(dev, q);
  return st || q->queued <= q->done ? st : covering(dev, q, q->queued, &m);
}

/* A queue that records has no point beyond those of before. */
static uint64_t reachable(const chx_queue *q, uint64_t point)
{
  return q->capture && point > q->queued ? q->queued : point;
}

chx_status drv_queue_wait(chx_dev *dev, chx_queue *waiter, chx_queue *on, uint64_t point)
{
  drv_mark *m;
  if (waiter == on || (point = reachable(on, point)) <= on->done) return CHX_OK;
  if (on->failed) return failed(dev, on);
  chx_status st = drv_enter(dev);
  if (st || (st = drv_not_recording(dev, waiter, "a wait for another queue"))) return st;
  if ((st = covering(dev, on, point, &m))) return st;
  return drv_queued(dev, waiter, drv.StreamWaitEvent(waiter->stream, m->event, 0), "waiting for another stream");
}

chx_status drv_queue_sync(chx_dev *dev, chx_queue *q, uint64_t point, int64_t timeout_ns)
{
  drv_mark *m;
  if (q->failed) return failed(dev, q);
  if ((point = reachable(q, point)) <= q->done) return CHX_OK;
  chx_status st = drv_enter(dev);
  if (st || (st = fetch(dev, q))) return st;
  if (q->fetched && q->fetch_at > point) point = q->fetch_at;
  if (timeout_ns == INT64_MAX && point >= q->queued && !q->capture) {
    const drv_result code = drv.StreamSynchronize(q->stream);
    if (code) return sticky(dev, q, code, "a queued command");
    return finished(dev, q, q->queued);
  }
  if ((st = covering(dev, q, point, &m))) return st;
  for (int64_t waited = 0;; waited += 50000) {
    const drv_result code = timeout_ns == INT64_MAX ? drv.EventSynchronize(m->event) : drv.EventQuery(m->event);
    if (!code) return finished(dev, q, m->at);
    if (code != DRV_NOT_READY) return sticky(dev, q, code, "a queued command");
    if (waited >= timeout_ns) return CHX_NOT_READY;
    nanosleep(&(struct timespec){0, 50000}, NULL);
  }
}

void *drv_queue_native(chx_dev *dev, chx_queue *q)
{
  (void)dev;
  return q->stream;
}
