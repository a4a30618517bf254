/* SPDX-License-Identifier: MIT
 * capture.c: the mutant's chx.capture/1: a graph is the list of the copies that were put in the queue; a launch is one job
 * that does them.
 */
#include "mutant.h"

struct graph {
  struct job *first, **last;
  atomic_int refs;  /* the owner's, and one for each launch that is queued */
  chx_queue *queue; /* CAPTURE_STAYS_ON_ITS_QUEUE alone */
};

struct replay_job {
  struct job job;
  struct graph *g;
};

static void graph_unref(struct graph *g)
{
  if (atomic_fetch_sub(&g->refs, 1) != 1) return;
  for (struct job *j = g->first, *next; j; j = next) {
    next = j->next;
    free(j);
  }
  free(g);
}

static chx_status run_replay(struct job *job)
{
  struct graph *g = ((struct replay_job *)job)->g;
  chx_status st = CHX_OK;
  for (struct job *j = g->first; j && !st; j = j->next) st = j->run(j);
  graph_unref(g);
  return st;
}

static chx_status record(struct graph *g, struct job *job)
{
  if (!job->again) {
    free(job);
    return fail(CHX_EUNSUPPORTED, "mutant: this cannot be captured");
  }
  if (IS(CAPTURE_DOES_IT_NOW)) job->run(job);
  *g->last = job;
  g->last = &job->next;
  return CHX_OK;
}

static chx_status capture_begin(chx_dev *dev, chx_queue *q)
{
  struct graph *g;
  (void)dev;
  if (*records(q)) return fail(CHX_EARG, "mutant: the queue is recording");
  if (!(g = calloc(1, sizeof *g))) return fail(CHX_ENOMEM, "mutant: the host has no memory for a graph");
  g->last = &g->first;
  g->queue = q;
  atomic_init(&g->refs, 1);
  *records(q) = g;
  return CHX_OK;
}

static chx_status capture_end(chx_dev *dev, chx_queue *q, void **graph)
{
  struct graph *g = *records(q);
  (void)dev;
  if (!g) return fail(CHX_EARG, "mutant: the queue is not recording");
  if (!graph && IS(CAPTURE_NEVER_FORGETS)) return CHX_OK;
  *records(q) = NULL;
  if (graph) *graph = g;
  else graph_unref(g);
  return CHX_OK;
}

static chx_status capture_launch(chx_dev *dev, chx_queue *q, void *graph)
{
  struct graph *g = graph;
  (void)dev;
  if (*records(q)) return fail(CHX_EUNSUPPORTED, "mutant: a launch cannot be captured");
  struct replay_job *l = (struct replay_job *)job_new(sizeof *l, run_replay);
  if (!l) return CHX_ENOMEM;
  l->g = g;
  atomic_fetch_add(&g->refs, 1);
  return enqueue(IS(CAPTURE_STAYS_ON_ITS_QUEUE) ? g->queue : q, &l->job);
}

static void capture_drop(chx_dev *dev, void *graph)
{
  struct graph *g = graph;
  (void)dev;
  if (IS(CAPTURE_DROPPED_IN_FLIGHT)) g->first = NULL;
  graph_unref(g);
}

static const chx_capture_ops capture_ops = {.size = sizeof capture_ops, .begin = capture_begin, .end = capture_end,
                                            .launch = capture_launch, .drop = capture_drop};
