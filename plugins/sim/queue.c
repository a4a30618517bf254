/* SPDX-License-Identifier: MIT
 * queue.c: queues: one thread each, which does its jobs in order.
 *
 * A point is the count of jobs queued so far. The first job that fails makes the queue fail for good: later copies and
 * kernels are skipped, since what they read may never have been written, and every sync of a point from there on
 * repeats the error. Releases, waits and host steps are still done. A wait does not hand an error on: who waits may do
 * so only to use the same memory next. On a lost device every job fails, and so does every sync, but not before the jobs
 * up to its point have been seen to: none of them touches the host's memory later.
 *
 * The native queue is the queue: who adopts one has it too, its points and its errors included, and it ends when the last
 * of its owners has freed it.
 */
#include "internal.h"
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct chx_queue {
  struct chx_dev *dev;
  struct chx_queue *next;       /* in the list of all */
  pthread_t thread;
  pthread_mutex_t lock;         /* of all below */
  pthread_cond_t work, done;    /* a job came or stop was set; a job was done */
  struct sim_job *first, *last;
  uint64_t submitted, finished; /* points */
  uint64_t failed_at;           /* the point of the failed job, 0: none */
  chx_status failed;
  char text[SIM_TEXT];
  unsigned refs;                /* the owner's, and one for each wait for this queue that is queued elsewhere */
  struct sim_graph *records;    /* what jobs are added to, by the queue's user alone; NULL: they are done */
  bool stop;
  unsigned owners;              /* who made it and who adopted it; under the list's lock */
};

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct chx_queue *list;

/* ---- errors -------------------------------------------------------------------------------------------------------- */

/* Where sim_fail leaves its sentence while a job runs on this thread, else NULL. */
static _Thread_local char *job_text;

static chx_status report(chx_status code, const char *sentence)
{
  if (!job_text) return sim.host->fail(sim.host->ctx, code, sentence);
  snprintf(job_text, SIM_TEXT, "%s", sentence);
  return code;
}

chx_status sim_fail(chx_status code, const char *format, ...)
{
  char text[SIM_TEXT];
  va_list ap;
  va_start(ap, format);
  vsnprintf(text, sizeof text, format, ap);
  va_end(ap);
  return report(code, text);
}

chx_status sim_here(void)
{
  if (sim.pid == getpid()) return CHX_OK;
  return sim_fail(CHX_EDEVICE,
                  "this process is a fork of the one that opened the device, and does not have the threads of "
                  "its queues; use sim in the parent, or fork before the first use");
}

/* ---- jobs ---------------------------------------------------------------------------------------------------------- */

void *sim_job_new(uint64_t bytes, chx_status (*run)(struct sim_job *))
{
  struct sim_job *job = bytes < PTRDIFF_MAX ? calloc(1, bytes) : NULL;
  if (job) job->run = run;
  else sim_fail(CHX_ENOMEM, "sim: the host has no %llu bytes to queue a job", (unsigned long long)bytes);
  return job;
}

static void end_job(struct sim_job *job)
{
  if (job->gone) job->gone(job);
  free(job);
}

chx_status sim_enqueue(struct chx_dev *dev, chx_queue *q, struct sim_job *job)
{
  if (!q) {
    chx_status st = job->run(job);
    end_job(job);
    return st;
  }
  if (q->dev != dev) {
    end_job(job);
    return sim_fail(CHX_EDEVICE, "the queue is one of %s, not of %s", q->dev->name, dev->name);
  }
  if (q->records && !job->always) return sim_graph_add(q->records, job), CHX_OK;
  pthread_mutex_lock(&q->lock);
  job->point = ++q->submitted;
  if (q->last) q->last->next = job;
  else q->first = job;
  q->last = job;
  pthread_cond_signal(&q->work);
  pthread_mutex_unlock(&q->lock);
  return CHX_OK;
}

void sim_record(chx_queue *q, struct sim_graph *g) { q->records = g; }
struct sim_graph *sim_recording(const chx_queue *q) { return q ? q->records : NULL; }

chx_status sim_not_recording(const chx_queue *q, const char *what)
{
  return sim_recording(q) ? sim_fail(CHX_EUNSUPPORTED, "%s cannot be captured", what) : CHX_OK;
}

chx_status sim_queue_action(struct chx_dev *dev, const chx_queue *q, uint32_t action, const char *what, struct sim_late *late)
{
  if (!sim_recording(q)) return sim_action(dev, action, what, late);
  late->code = CHX_OK;
  return sim_alive(dev);
}

static void *work(void *arg)
{
  struct chx_queue *q = arg;
  char text[SIM_TEXT];
  pthread_mutex_lock(&q->lock);
  for (;;) {
    while (!q->first && !q->stop) pthread_cond_wait(&q->work, &q->lock);
    struct sim_job *job = q->first;
    if (!job) break;
    if (!(q->first = job->next)) q->last = NULL;
    bool skip = (q->failed_at || q->stop) && !job->always;
    pthread_mutex_unlock(&q->lock);

    chx_status st = CHX_OK;
    if (!skip) {
      text[0] = 0;
      job_text = text;
      sim_delay(q->dev);
      st = job->always ? CHX_OK : sim_alive(q->dev);
      if (!st) st = job->run(job);
      job_text = NULL;
    }
    uint64_t point = job->point;
    end_job(job);

    pthread_mutex_lock(&q->lock);
    q->finished = point;
    if (st && !q->failed_at) {
      q->failed = st;
      q->failed_at = point;
      snprintf(q->text, sizeof q->text, "%s", text[0] ? text : "sim: a queued job failed");
    }
    pthread_cond_broadcast(&q->done);
  }
  pthread_mutex_unlock(&q->lock);
  return NULL;
}

/* ---- queues -------------------------------------------------------------------------------------------------------- */

static void unref(struct chx_queue *q)
{
  pthread_mutex_lock(&q->lock);
  bool last = --q->refs == 0;
  pthread_mutex_unlock(&q->lock);
  if (!last) return;
  pthread_mutex_destroy(&q->lock);
  pthread_cond_destroy(&q->work);
  pthread_cond_destroy(&q->done);
  free(q);
}

void *sim_queue_native(chx_dev *dev, chx_queue *q)
{
  (void)dev;
  return q;
}

static chx_status adopt_queue(struct chx_dev *dev, void *native, chx_queue **out)
{
  pthread_mutex_lock(&list_lock);
  struct chx_queue *q = list;
  while (q && (q != native || q->dev != dev)) q = q->next;
  if (q) q->owners++;
  pthread_mutex_unlock(&list_lock);
  if (!q) return sim_fail(CHX_EARG, "queue_new: %p is no queue of %s that could be adopted", native, dev->name);
  *out = q;
  return CHX_OK;
}

chx_status sim_queue_new(chx_dev *dev, void *adopt, chx_queue **out)
{
  chx_status st = sim_alive(dev);
  if (st) return st;
  if (adopt) return adopt_queue(dev, adopt, out);
  struct chx_queue *q = calloc(1, sizeof *q);
  if (!q) return sim_fail(CHX_ENOMEM, "no memory for a queue");
  pthread_condattr_t clock;
  pthread_condattr_init(&clock);
  pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
  pthread_mutex_init(&q->lock, NULL);
  pthread_cond_init(&q->work, NULL);
  pthread_cond_init(&q->done, &clock);
  pthread_condattr_destroy(&clock);
  q->dev = dev;
  q->refs = q->owners = 1;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* the host program's signals are not for our thread */
  int failed = pthread_create(&q->thread, NULL, work, q);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failed) {
    unref(q);
    return sim_fail(CHX_ENOMEM, "no thread for a queue: %s", strerror(failed));
  }
  pthread_mutex_lock(&list_lock);
  q->next = list;
  list = q;
  pthread_mutex_unlock(&list_lock);
  *out = q;
  return CHX_OK;
}

/* All that is queued is done first, unless drop is set. */
static void end(struct chx_queue *q, bool drop)
{
  if (!drop) sim_queue_sync(q->dev, q, UINT64_MAX, INT64_MAX);
  pthread_mutex_lock(&q->lock);
  q->stop = true;
  pthread_cond_signal(&q->work);
  pthread_mutex_unlock(&q->lock);
  pthread_join(q->thread, NULL);
  unref(q);
}

void sim_queue_free(chx_dev *dev, chx_queue *q)
{
  (void)dev;
  if (!q || sim_here()) return;
  bool ours = false;
  pthread_mutex_lock(&list_lock);
  struct chx_queue **p = &list;
  while (*p && *p != q) p = &(*p)->next;
  if (*p && --q->owners == 0) {
    *p = q->next;
    ours = true;
  }
  pthread_mutex_unlock(&list_lock);
  if (ours && q->records) sim_capture_ops.end(q->dev, q, NULL);
  if (ours) end(q, false);
}

void sim_queues_stop(void)
{
  pthread_mutex_lock(&list_lock);
  struct chx_queue *q = list;
  list = NULL;
  pthread_mutex_unlock(&list_lock);
  for (struct chx_queue *next; q; q = next) {
    next = q->next;
    end(q, true);
  }
}

/* ---- time ---------------------------------------------------------------------------------------------------------- */

uint64_t sim_queue_mark(chx_dev *dev, chx_queue *q)
{
  (void)dev;
  if (sim.pid != getpid()) return 0; /* its lock may be held for ever */
  pthread_mutex_lock(&q->lock);
  uint64_t point = q->submitted;
  pthread_mutex_unlock(&q->lock);
  return point;
}

/* The lock is held. A point that was not queued yet stands for all that was. */
static uint64_t clamp(const struct chx_queue *q, uint64_t point)
{
  return point < q->submitted ? point : q->submitted;
}

chx_status sim_queue_sync(chx_dev *dev, chx_queue *q, uint64_t point, int64_t timeout_ns)
{
  chx_status st = sim_here();
  if (st) return st;
  struct timespec until;
  char text[SIM_TEXT];
  bool forever = timeout_ns < 0 || timeout_ns > INT64_MAX / 2, timed_out = timeout_ns == 0;
  clock_gettime(CLOCK_MONOTONIC, &until);
  if (!forever) {
    until.tv_sec += (time_t)(timeout_ns / 1000000000);
    until.tv_nsec += (long)(timeout_ns % 1000000000);
    if (until.tv_nsec >= 1000000000) until.tv_nsec -= 1000000000, until.tv_sec++;
  }
  pthread_mutex_lock(&q->lock);
  point = clamp(q, point);
  while (q->finished < point && !timed_out)
    if (forever) pthread_cond_wait(&q->done, &q->lock);
    else timed_out = pthread_cond_timedwait(&q->done, &q->lock, &until) == ETIMEDOUT;
  if (q->finished < point) st = CHX_NOT_READY;
  else if (q->failed_at && q->failed_at <= point) {
    st = q->failed;
    memcpy(text, q->text, sizeof text);
  }
  pthread_mutex_unlock(&q->lock);
  if (st == CHX_NOT_READY) return st;
  if (st) return sim_fail(st, "%s", text);
  if (!(st = sim_alive(dev))) sim_maps_reached(dev, q, point);
  return st;
}

struct wait_job {
  struct sim_job job;
  struct chx_queue *on;
  uint64_t point;
};

static chx_status run_wait(struct sim_job *job)
{
  struct wait_job *w = (struct wait_job *)job;
  pthread_mutex_lock(&w->on->lock);
  while (w->on->finished < w->point) pthread_cond_wait(&w->on->done, &w->on->lock);
  pthread_mutex_unlock(&w->on->lock);
  unref(w->on);
  return CHX_OK;
}

chx_status sim_queue_wait(chx_dev *dev, chx_queue *waiter, chx_queue *on, uint64_t point)
{
  chx_status st = sim_alive(dev);
  if (st) return st;
  if (waiter == on) return CHX_OK; /* it is in order with itself */
  if ((st = sim_not_recording(waiter, "a wait for another queue"))) return st;
  struct wait_job *w = sim_job_new(sizeof *w, run_wait);
  if (!w) return CHX_ENOMEM;
  w->job.always = true;
  w->on = on;
  pthread_mutex_lock(&on->lock);
  w->point = clamp(on, point);
  on->refs++;
  pthread_mutex_unlock(&on->lock);
  if ((st = sim_enqueue(dev, waiter, &w->job))) unref(on);
  return st;
}

struct call_job {
  struct sim_job job;
  void (*fn)(void *);
  void *arg;
};

static chx_status run_call(struct sim_job *job)
{
  struct call_job *c = (struct call_job *)job;
  c->fn(c->arg);
  return CHX_OK;
}

chx_status sim_queue_call(chx_dev *dev, chx_queue *q, void (*fn)(void *), void *arg)
{
  chx_status st = sim_alive(dev);
  if (st || (st = sim_not_recording(q, "a host step"))) return st;
  struct call_job *c = sim_job_new(sizeof *c, run_call);
  if (!c) return CHX_ENOMEM;
  c->job.always = true;
  c->fn = fn;
  c->arg = arg;
  return sim_enqueue(dev, q, &c->job);
}
