/* SPDX-License-Identifier: MIT
 * capture.c: what is put in a stream, recorded by the driver as a graph and launched again ("chx.capture/1").
 *
 * Recording is in the driver's relaxed mode: allocating, loading a program and making a library's handle go on, on other streams.
 * What a stream that records must not meet is kept away from it: it is neither waited for (an event behind all that was put in
 * before serves for that), nor made to wait, nor are blocks released in its order. Waiting for the whole device is an error for all who do
 * it meanwhile, so releases that need that wait until nobody records.
 *
 * Bytes of the host lie in pinned memory as long as the graph. Its kernels report into words of its own, into which a
 * launch copies its queue's words first, and which it copies back behind: so the queue finds what its own kernels would have told it.
 */
#include <stdlib.h>
#include <string.h>
#include "drv.h"

enum { CHUNK = 1 << 16, ALIGN = 256 };

typedef struct chunk { /* of pinned memory */
  struct chunk *next;
  char *at;
  size_t used, size;
} chunk;

struct drv_capture {
  drv_graph_exec exec;
  chx_buffer words; /* a gpu_report; without a handle: no kernel has asked for it */
  chunk *chunks;
  drv_mark last;    /* behind the last launch */
};

static chx_status refused(const chx_dev *dev, chx_status code, const char *what)
{
  return gpu_fail((gpu_device *)(uintptr_t)&dev->gpu, code, "%s: %s", dev->gpu.spec, what);
}

chx_status drv_not_recording(const chx_dev *dev, const chx_queue *q, const char *what)
{
  char text[120];
  if (!q->capture) return CHX_OK;
  snprintf(text, sizeof text, "%s cannot be captured", what);
  return refused(dev, CHX_EUNSUPPORTED, text);
}

/* ---- blocks that are released meanwhile ----------------------------------------------------------------------------------------- */

struct drv_later { struct drv_later *next; drv_ptr at; };

static void give_back(chx_dev *dev, drv_ptr p, chx_queue *q)
{
  if (dev->pools) drv.PoolFree(p, q ? q->stream : dev->pool_stream);
  else drv.MemFree(p);
}

void drv_give_back(chx_dev *dev, chx_queue *q, drv_ptr p)
{
  struct drv_later *l;
  if (dev->pools && q && !q->capture) return give_back(dev, p, q);
  pthread_mutex_lock(&dev->recording);
  if (dev->n_recording && (l = malloc(sizeof *l))) { /* without memory for that the block is not given back at all */
    *l = (struct drv_later){dev->later, p};
    dev->later = l;
  } else if (!dev->n_recording) {
    drv.Synchronize();
    give_back(dev, p, q);
  }
  pthread_mutex_unlock(&dev->recording);
}

static void count(chx_dev *dev, int change)
{
  pthread_mutex_lock(&dev->recording);
  dev->n_recording += change;
  if (!dev->n_recording && dev->later) drv.Synchronize();
  for (struct drv_later *l; !dev->n_recording && (l = dev->later);) {
    dev->later = l->next;
    give_back(dev, l->at, NULL);
    free(l);
  }
  pthread_mutex_unlock(&dev->recording);
}

/* ---- what is recorded ------------------------------------------------------------------------------------------------ */

chx_status drv_capture_bytes(chx_dev *dev, chx_queue *q, const void *src, size_t n, char **at)
{
  struct drv_capture *g = q->capture;
  chunk *k = g->chunks;
  if (!k || k->size - k->used < n) {
    if (!(k = calloc(1, sizeof *k))) return refused(dev, CHX_ENOMEM, "out of memory for a capture");
    k->size = n > CHUNK ? n : CHUNK;
    const drv_result code = drv.HostAlloc((void **)&k->at, k->size, DRV_HOST_FLAGS);
    if (code) {
      free(k);
      return drv_fail(dev, code, "allocating pinned memory");
    }
    k->next = g->chunks;
    g->chunks = k;
  }
  *at = memcpy(k->at + k->used, src, n);
  k->used += (n + ALIGN - 1) / ALIGN * ALIGN;
  if (k->used > k->size) k->used = k->size;
  return CHX_OK;
}

chx_status drv_capture_words(chx_dev *dev, chx_queue *q, void **handle)
{
  chx_buffer *words = &q->capture->words;
  words->size = sizeof *words;
  const chx_status st = words->handle ? CHX_OK : drv_alloc(dev, q, sizeof(gpu_report), CHX_B_DEVICE, words);
  *handle = words->handle;
  return st;
}

static void drop(chx_dev *dev, void *graph)
{
  struct drv_capture *g = graph;
  if (!g) return;
  if (!drv_enter(dev)) {
    if (g->last.at) drv.EventSynchronize(g->last.event); /* launches read the pinned bytes */
    if (g->exec) drv.GraphExecDestroy(g->exec);
    if (g->last.event) drv.EventDestroy(g->last.event);
    if (g->words.handle) give_back(dev, drv_at(g->words.handle, 0), NULL);
    for (chunk *k = g->chunks; k; k = k->next) drv.HostFree(k->at);
  }
  for (chunk *k = g->chunks, *next; k; k = next) {
    next = k->next;
    free(k);
  }
  free(g);
}

/* ---- the extension --------------------------------------------------------------------------------------------------- */

static chx_status begin(chx_dev *dev, chx_queue *q)
{
  if (!q) return refused(dev, CHX_EARG, "a capture without a queue, want one of queue_new");
  if (q->capture) return refused(dev, CHX_EARG, "the queue is recording a capture already");
  chx_status st = drv_enter(dev);
  if (st || (st = drv_queue_settle(dev, q))) return st;
  struct drv_capture *g = calloc(1, sizeof *g);
  if (!g) return refused(dev, CHX_ENOMEM, "out of memory for a capture");
  count(dev, 1);
  const drv_result code = drv.CaptureBegin(q->stream, DRV_CAPTURE_MODE);
  if (!code) return q->capture = g, CHX_OK;
  count(dev, -1);
  free(g);
  return drv_fail(dev, code, "beginning to capture a stream");
}

static chx_status end(chx_dev *dev, chx_queue *q, void **graph)
{
  struct drv_capture *g = q ? q->capture : NULL;
  drv_graph made = NULL;
  const char *call = "ending the capture of a stream";
  if (!g) return refused(dev, CHX_EARG, "the queue is not recording a capture");
  q->capture = NULL;
  chx_status st = drv_enter(dev);
  drv_result code = st ? DRV_SUCCESS : drv.CaptureEnd(q->stream, &made);
  if (!st && !code && graph) call = "making a graph of what was captured", code = drv.GraphInstantiate(&g->exec, made, 0);
  if (made) drv.GraphDestroy(made);
  count(dev, -1);
  if (!st && code && graph) st = drv_fail(dev, code, call);
  if (st || !graph) drop(dev, g);
  else *graph = g;
  return st;
}

static chx_status words_over(chx_dev *dev, chx_queue *q, void *to, const void *from)
{
  return drv_queued(dev, q, drv.CopyOver(drv_at(to, 0), drv_at(from, 0), sizeof(gpu_report), q->stream), "copying on the device");
}

static chx_status launch(chx_dev *dev, chx_queue *q, void *graph)
{
  struct drv_capture *g = graph;
  void *words = NULL;
  if (!q) return refused(dev, CHX_EARG, "a launch without a queue, want one of queue_new");
  chx_status st = drv_not_recording(dev, q, "a launch");
  if (!st) st = drv_enter(dev);
  if (!st && g->words.handle) st = drv_queue_report(&dev->gpu, q, &words);
  if (!st && words) st = words_over(dev, q, g->words.handle, words);
  if (!st) st = drv_queued(dev, q, drv.GraphLaunch(g->exec, q->stream), "launching what was captured");
  if (!st && words) st = words_over(dev, q, words, g->words.handle);
  return st ? st : drv_record(dev, q, &g->last);
}

void drv_capture_forget(chx_dev *dev, chx_queue *q)
{
  if (q->capture) end(dev, q, NULL);
}

const chx_capture_ops drv_capture_ops = {
  .size = sizeof drv_capture_ops, .begin = begin, .end = end, .launch = launch, .drop = drop};
