/* SPDX-License-Identifier: MIT
 * capture.c: what is put in a queue, recorded and launched again ("chx.capture/1").
 *
 * A graph is the list of jobs that the queue would have done. A launch is one job, which repeats each of them: operands are looked
 * up and checked again. The actions are counted when the launch is asked for, and each has the fault that its call would have had.
 */
#include "internal.h"
#include <stdlib.h>

struct sim_graph {
  struct chx_dev *dev;
  struct sim_job *first, **last;
  uint32_t n;
  atomic_uint refs; /* the owner's, and one for each launch that is queued */
};

struct launch_job {
  struct sim_job job;
  struct sim_graph *graph;
  struct sim_late late; /* of number late_at alone: a late fault stops the queue */
  uint32_t late_at;
};

static void unref(struct sim_graph *g)
{
  if (atomic_fetch_sub(&g->refs, 1) != 1) return;
  for (struct sim_job *job = g->first, *next; job; job = next) {
    next = job->next;
    free(job);
  }
  free(g);
}

void sim_graph_add(struct sim_graph *g, struct sim_job *job)
{
  *g->last = job;
  g->last = &job->next;
  g->n++;
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
  g->last = &g->first;
  atomic_init(&g->refs, 1);
  sim_record(q, g);
  return CHX_OK;
}

static chx_status end(chx_dev *dev, chx_queue *q, void **graph)
{
  struct sim_graph *g = sim_recording(q);
  if (!g) return sim_fail(CHX_EARG, "the queue is not recording a capture");
  sim_record(q, NULL);
  chx_status st = graph ? sim_alive(dev) : CHX_OK;
  if (st || !graph) unref(g);
  else *graph = g;
  return st;
}

static chx_status run_launch(struct sim_job *job)
{
  const struct launch_job *l = (const struct launch_job *)job;
  const struct sim_late none = {.code = CHX_OK};
  chx_status st = CHX_OK;
  uint32_t i = 0;
  for (const struct sim_job *j = l->graph->first; j && !st; j = j->next, i++) {
    if (i) sim_delay(l->graph->dev);
    if (!(st = sim_alive(l->graph->dev))) st = j->repeat(j, i == l->late_at ? &l->late : &none);
  }
  return st;
}

static void launch_gone(struct sim_job *job) { unref(((struct launch_job *)job)->graph); }

static chx_status launch(chx_dev *dev, chx_queue *q, void *graph)
{
  struct sim_graph *g = graph;
  struct sim_late late;
  chx_status st = sim_alive(dev);
  if (st || (st = sim_not_recording(q, "a launch"))) return st;
  if (g->dev != dev) return sim_fail(CHX_EARG, "the capture is one of %s, not of %s", g->dev->name, dev->name);
  struct launch_job *l = sim_job_new(sizeof *l, run_launch);
  if (!l) return CHX_ENOMEM;
  l->late_at = g->n;
  const struct sim_job *j = g->first;
  for (uint32_t i = 0; j && !st; j = j->next, i++) {
    if (!(st = sim_action(dev, j->action, j->what, &late)) && late.code && l->late_at == g->n) l->late = late, l->late_at = i;
  }
  if (st) return free(l), st;
  l->graph = g;
  l->job.gone = launch_gone;
  atomic_fetch_add(&g->refs, 1);
  return sim_enqueue(dev, q, &l->job);
}

static void drop(chx_dev *dev, void *graph)
{
  (void)dev;
  if (graph) unref(graph);
}

const chx_capture_ops sim_capture_ops = {
  .size = sizeof sim_capture_ops, .begin = begin, .end = end, .launch = launch, .drop = drop};
