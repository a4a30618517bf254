/* SPDX-License-Identifier: MIT
 * queue.c: the mutant's queues. A point is the count of jobs that were queued so far. The first job that fails makes the
 * queue fail for good: later jobs are not done, and each sync of a point from there on says the same.
 */
#include "mutant.h"
#include <errno.h>
#include <stdio.h>
#include <time.h>

struct chx_queue {
  pthread_t thread;
  pthread_mutex_t lock; /* of all below */
  pthread_cond_t changed;
  struct job *first, *last;
  uint64_t submitted, finished, failed_at; /* points */
  chx_status failed;
  char text[200];
  int refs; /* the owner's, and one for each queue that waits for this one */
  struct graph *graph; /* it records */
  int owners; /* who made it and who adopted it */
  void *native; /* itself */
  bool stop, told /* of its failure */, waits; /* what was queued last is a wait */
};

static char inherited[200]; /* ERROR_OUTLIVES_CLOSE alone: what a queue has failed with that was freed */

static _Thread_local char *job_text; /* of the job that this thread does */

static chx_status fail(chx_status code, const char *sentence)
{
  if (!job_text) return host->fail(host->ctx, code, sentence);
  snprintf(job_text, sizeof ((chx_queue *)0)->text, "%s", sentence);
  return code;
}

static struct job *job_new(size_t bytes, chx_status (*run)(struct job *))
{
  struct job *job = calloc(1, bytes);
  if (job) job->run = run;
  else fail(CHX_ENOMEM, "mutant: the host has no memory for a job");
  return job;
}

static chx_status run_wait(struct job *job);
static struct graph **records(chx_queue *q) { return &q->graph; }

static chx_status enqueue(chx_queue *q, struct job *job)
{
  if (!q) {
    chx_status st = job->run(job);
    free(job);
    return st;
  }
  if (q->graph && !job->always) return record(q->graph, job);
  pthread_mutex_lock(&q->lock);
  job->point = ++q->submitted;
  q->waits = job->run == run_wait;
  *(q->last ? &q->last->next : &q->first) = job;
  q->last = job;
  pthread_cond_broadcast(&q->changed);
  pthread_mutex_unlock(&q->lock);
  return CHX_OK;
}

static void unref(chx_queue *q);

static void *work(void *arg)
{
  chx_queue *q = arg;
  char text[sizeof q->text];
  pthread_mutex_lock(&q->lock);
  for (;;) {
    while (!q->first && !q->stop) pthread_cond_wait(&q->changed, &q->lock);
    struct job *job = q->first;
    if (!job || (IS(FREE_DROPS_WORK) && q->stop)) break;
    if (!(q->first = job->next)) q->last = NULL;
    bool skip = q->failed_at && !job->always;
    pthread_mutex_unlock(&q->lock);
    if (IS(FREES_AT_ONCE) || IS(KEEPS_THE_BYTES) || IS(WAIT_IGNORED) || IS(MAP_DOES_NOT_WAIT) ||
        IS(CAPTURE_DROPPED_IN_FLIGHT) || IS(CAPTURE_STAYS_ON_ITS_QUEUE))
      usleep(300);
    chx_status st = CHX_OK;
    text[0] = 0;
    job_text = text;
    if (!skip) st = job->run(job);
    job_text = NULL;
    uint64_t point = job->point;
    free(job);
    pthread_mutex_lock(&q->lock);
    q->finished = point;
    if (st && !q->failed_at && !IS(LATE_ERROR_SWALLOWED)) {
      q->failed = st;
      q->failed_at = point;
      snprintf(q->text, sizeof q->text, "%s", text);
    }
    pthread_cond_broadcast(&q->changed);
  }
  pthread_mutex_unlock(&q->lock);
  if (IS(CLOSE_LEAVES_WORK)) unref(q);
  return NULL;
}

static void unref(chx_queue *q)
{
  pthread_mutex_lock(&q->lock);
  bool last = --q->refs == 0;
  pthread_mutex_unlock(&q->lock);
  if (!last) return;
  pthread_mutex_destroy(&q->lock);
  pthread_cond_destroy(&q->changed);
  free(q);
}

static chx_status queue_new(chx_dev *dev, void *adopt, chx_queue **out)
{
  (void)dev;
  if (adopt && !IS(ADOPTS_A_NEW_ONE)) {
    chx_queue *theirs = adopt;
    pthread_mutex_lock(&theirs->lock);
    theirs->owners++;
    pthread_mutex_unlock(&theirs->lock);
    return *out = theirs, CHX_OK;
  }
  chx_queue *q = calloc(1, sizeof *q);
  if (!q) return fail(CHX_ENOMEM, "mutant: the host has no memory for a queue");
  pthread_condattr_t clock;
  pthread_condattr_init(&clock);
  pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
  pthread_mutex_init(&q->lock, NULL);
  pthread_cond_init(&q->changed, &clock);
  q->refs = q->owners = 1;
  q->native = adopt ? adopt : q;
  if (inherited[0]) {
    q->failed = CHX_EFAILED;
    q->failed_at = 1;
    memcpy(q->text, inherited, sizeof inherited);
  }
  if (pthread_create(&q->thread, NULL, work, q)) {
    unref(q);
    return fail(CHX_ENOMEM, "mutant: there is no thread for a queue");
  }
  *out = q;
  return CHX_OK;
}

/* The lock is held. */
static void drop_jobs(chx_queue *q)
{
  for (struct job *job = q->first, *next; job; job = next) {
    next = job->next;
    free(job);
  }
  q->first = q->last = NULL;
  q->finished = q->submitted;
}

static void *queue_native(chx_dev *dev, chx_queue *q)
{
  static char changes;
  (void)dev;
  return IS(NATIVE_QUEUE_CHANGES) ? &changes + changes++ : q->native;
}

static void queue_free(chx_dev *dev, chx_queue *q)
{
  (void)dev;
  if (IS(LEAKS_QUEUES)) return;
  pthread_mutex_lock(&q->lock);
  bool last = --q->owners == 0;
  if (!last && IS(ADOPTED_DROPS_WORK)) drop_jobs(q);
  q->stop = last;
  pthread_cond_broadcast(&q->changed);
  pthread_mutex_unlock(&q->lock);
  if (!last) return;
  if (IS(CLOSE_LEAVES_WORK)) return (void)pthread_detach(q->thread);
  pthread_join(q->thread, NULL); /* it does what is left */
  if (IS(ERROR_OUTLIVES_CLOSE) && q->failed_at && !q->told) memcpy(inherited, q->text, sizeof inherited);
  unref(q);
}

static uint64_t queue_mark(chx_dev *dev, chx_queue *q)
{
  (void)dev;
  pthread_mutex_lock(&q->lock);
  uint64_t point = q->submitted;
  pthread_mutex_unlock(&q->lock);
  return IS(POINTS_GO_BACK) ? UINT32_MAX - point : point;
}

static chx_status queue_sync(chx_dev *dev, chx_queue *q, uint64_t point, int64_t timeout_ns)
{
  enum { SECOND = 1000000000 };
  struct timespec until;
  char text[sizeof q->text];
  (void)dev;
  if (IS(POLL_WAITS) && !timeout_ns) timeout_ns = INT64_MAX;
  bool forever = timeout_ns > INT64_MAX / 2, late = timeout_ns == 0;
  clock_gettime(CLOCK_MONOTONIC, &until);
  if (!forever) {
    until.tv_sec += timeout_ns / SECOND;
    if ((until.tv_nsec += timeout_ns % SECOND) >= SECOND) until.tv_sec++, until.tv_nsec -= SECOND;
  }
  pthread_mutex_lock(&q->lock);
  if (point > q->submitted) point = q->submitted;
  if (IS(REACHED_TOO_EARLY) && point) point--;
  while (q->finished < point && !late)
    late = forever ? pthread_cond_wait(&q->changed, &q->lock) != 0
                   : pthread_cond_timedwait(&q->changed, &q->lock, &until) == ETIMEDOUT;
  bool reached = q->finished >= point, failed = reached && q->failed_at && q->failed_at <= point;
  chx_status st = !reached ? CHX_NOT_READY : failed ? q->failed : CHX_OK;
  if (failed) memcpy(text, q->text, sizeof text);
  if (failed) q->told = true;
  if (failed && IS(LATE_ERROR_ONCE)) q->failed_at = 0;
  pthread_mutex_unlock(&q->lock);
  return failed && !IS(LATE_ERROR_MUTE) ? fail(st, text) : st;
}

static chx_status wait_all(chx_queue *q) { return q ? queue_sync(NULL, q, UINT64_MAX, INT64_MAX) : CHX_OK; }

struct wait_job {
  struct job job;
  chx_queue *on;
  uint64_t point;
};

static chx_status run_wait(struct job *job)
{
  struct wait_job *w = (struct wait_job *)job;
  pthread_mutex_lock(&w->on->lock);
  while (w->on->finished < w->point && !IS(WAIT_IGNORED)) pthread_cond_wait(&w->on->changed, &w->on->lock);
  pthread_mutex_unlock(&w->on->lock);
  unref(w->on);
  return CHX_OK;
}

static chx_status queue_wait(chx_dev *dev, chx_queue *waiter, chx_queue *on, uint64_t point)
{
  (void)dev;
  if (waiter == on) return CHX_OK; /* it is in order with itself */
  if (waiter->graph) return fail(CHX_EUNSUPPORTED, "mutant: a wait cannot be captured");
  struct wait_job *w = (struct wait_job *)job_new(sizeof *w, run_wait);
  if (!w) return CHX_ENOMEM;
  w->job.always = true;
  w->on = on;
  pthread_mutex_lock(&on->lock);
  w->point = point < on->submitted ? point : on->submitted;
  on->refs++;
  pthread_mutex_unlock(&on->lock);
  return enqueue(waiter, &w->job);
}

struct call_job {
  struct job job;
  void (*fn)(void *);
  void *arg;
};

static chx_status run_call(struct job *job)
{
  struct call_job *c = (struct call_job *)job;
  c->fn(c->arg);
  return CHX_OK;
}

static chx_status queue_call(chx_dev *dev, chx_queue *q, void (*fn)(void *), void *arg)
{
  (void)dev;
  if (IS(STEP_AT_ONCE) || (IS(STEP_SKIPS_WAITS) && q->waits)) return fn(arg), CHX_OK;
  if (q->graph) return fail(CHX_EUNSUPPORTED, "mutant: a host step cannot be captured");
  struct call_job *c = (struct call_job *)job_new(sizeof *c, run_call);
  if (!c) return CHX_ENOMEM;
  c->job.always = true;
  c->fn = fn;
  c->arg = arg;
  return enqueue(q, &c->job);
}
