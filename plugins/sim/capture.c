/* SPDX-License-Identifier: MIT
 * capture.c: what is put in a queue, recorded and launched again ("chx.capture/1").
 *
 * A graph is the list of jobs that the queue would have done. A launch makes each of them anew, so that faults are counted,
 * operands looked up and errors found as if the calls had been made again, and puts in all of them or none.
 */
#include "internal.h"
#include <stdlib.h>

static void forget(struct sim_job *first)
{
  for (struct sim_job *next; first; first = next) {
    next = first->next;
    free(first);
  }
}

static chx_status begin(chx_dev *dev, chx_queue *q)
{
  chx_status st = sim_alive(dev);
  if (st) return st;
  if (!q) return sim_fail(CHX_EARG, "a capture wants a queue");
  if (sim_recording(q)) return sim_fail(CHX_EARG, "the queue is recording a capture already");
  struct sim_graph *g = calloc(1, sizeof *g);
  if (!g) return sim_fail(CHX_ENOMEM, "sim: the host has no memory for a capture");
  g->dev = dev;
  sim_record(q, g);
  return CHX_OK;
}

static void drop(chx_dev *dev, void *graph)
{
  struct sim_graph *g = graph;
  (void)dev;
  if (!g) return;
  forget(g->first);
  free(g);
}

static chx_status end(chx_dev *dev, chx_queue *q, void **graph)
{
  struct sim_graph *g = sim_recording(q);
  if (!g) return sim_fail(CHX_EARG, "the queue is not recording a capture");
  sim_record(q, NULL);
  chx_status st = graph ? sim_alive(dev) : CHX_OK;
  if (st || !graph) drop(dev, g);
  else *graph = g;
  return st;
}

static chx_status launch(chx_dev *dev, chx_queue *q, void *graph)
{
  const struct sim_graph *g = graph;
  struct sim_job *first = NULL, **last = &first;
  chx_status st = sim_alive(dev);
  if (!st && sim_recording(q)) st = sim_fail(CHX_EUNSUPPORTED, "a launch cannot be captured");
  if (!st && g->dev != dev) st = sim_fail(CHX_EARG, "the capture is one of %s, not of %s", g->dev->name, dev->name);
  for (struct sim_job *job = g->first; job && !st; job = job->next)
    if (!(st = job->again(job, last))) last = &(*last)->next;
  if (st) {
    forget(first);
    return st;
  }
  for (struct sim_job *next; first && !st; first = next) {
    next = first->next;
    first->next = NULL;
    st = sim_enqueue(dev, q, first);
  }
  forget(st ? first : NULL);
  return st;
}

const chx_capture_ops sim_capture_ops = {
  .size = sizeof sim_capture_ops, .begin = begin, .end = end, .launch = launch, .drop = drop};
