/* SPDX-License-Identifier: MIT
 * stream.c: queues of asynchronous devices, one for each thread and device, and the order of work between them.
 *
 * A queue is a timeline: a point is a number on it. A buffer names the point of its last write and those of the reads
 * since; a queue that is to use it waits, on the device, for the other queues' points. What a device reports late comes
 * out of the next wait; everything the queue wrote after its last good wait is then invalid, and the thread goes on
 * with a new queue.
 */
#include "runtime.h"
#include <stdio.h>

int chxi_sync_always;

static pthread_mutex_t uses_locks[8] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
                                       PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};
CHXI_FORK_GUARD(CHXI_FORK_USES, uses_locks, 8)

/* Buffers that threads share have their uses read and written under one of these. */
static pthread_mutex_t *uses_lock(const chxi_buffer *b)
{
  return &uses_locks[(uintptr_t)b / sizeof *b % 8];
}

struct uses { struct chxi_use wrote, reads[CHXI_USES]; int n; };

static struct uses uses_of(const chxi_buffer *b)
{
  struct uses u;
  pthread_mutex_lock(uses_lock(b));
  u.wrote = b->wrote;
  u.n = b->n_uses;
  memcpy(u.reads, b->uses, sizeof u.reads);
  pthread_mutex_unlock(uses_lock(b));
  return u;
}

static pthread_mutex_t renewing = PTHREAD_MUTEX_INITIALIZER;
__attribute__((constructor)) static void guard_renewing(void) { chxi_fork_guard(CHXI_FORK_PLAIN, &renewing, 1); }

void chxi_stream_renew(chxi_stream *q)
{
  pthread_mutex_lock(&renewing);
  if (q->forks != chxi_forks) {
    pthread_mutex_init(&q->lock, NULL);
    q->forks = chxi_forks;
  }
  pthread_mutex_unlock(&renewing);
}

uint64_t chxi_stream_mark(chxi_stream *q)
{
  chxi_stream_enter(q);
  chx_queue *queue = q->q;
  uint64_t point = queue ? q->dev->ops->queue_mark(q->dev->dev, queue) : UINT64_MAX; /* of a dead one: never good */
  pthread_mutex_unlock(&q->lock);
  return point;
}

static chx_status sync_to(chxi_stream *q, uint64_t point)
{
  chxi_stream_enter(q);
  chx_queue *queue = q->q;
  chx_status st = queue ? q->dev->ops->queue_sync(q->dev->dev, queue, point, INT64_MAX) : q->failed;
  pthread_mutex_unlock(&q->lock);
  return st;
}

void chxi_stream_drain(chxi_stream *q)
{
  if (!q->failed) sync_to(q, chxi_stream_mark(q));
}

/* A good queue is kept for the next thread; a failed one ends, and what it says of its buffers stays. */
void chxi_stream_retire(chxi_stream *q)
{
  chxi_device *dev = q->dev;
  if (!q->failed) chxi_stream_wait(NULL, q);
  chxi_stream **list = q->failed ? &dev->dead : &dev->idle;
  if (q->failed) {
    chxi_stream_enter(q);
    dev->ops->queue_free(dev->dev, q->q);
    q->q = NULL;
    pthread_mutex_unlock(&q->lock);
  }
  pthread_mutex_lock(&dev->lock);
  q->link = *list;
  *list = q;
  pthread_mutex_unlock(&dev->lock);
}

bool chxi_stream_of(chx_scope *s, chxi_device *dev, chxi_stream **out)
{
  *out = NULL;
  if (!dev->queued) return true;
  chxi_thread *th = chxi_thread_self();
  if (!th) return chx_scope_fail(s, CHX_ENOMEM, "%s: out of memory for a thread's context", dev->spec), false;
  chxi_stream *q = th->streams[dev->id];
  if (chxi_likely(q && !q->failed)) return *out = q, true;
  if (q && q->capture) return chxi_capture_refuse(s, q, q->failed, q->text);
  if (q) {
    th->streams[dev->id] = NULL;
    chxi_stream_retire(q);
  }
  pthread_mutex_lock(&dev->lock);
  q = dev->idle;
  if (q) dev->idle = q->link;
  pthread_mutex_unlock(&dev->lock);
  if (!q) {
    if (!(q = chxi_alloc(sizeof *q)))
      return chx_scope_fail(s, CHX_ENOMEM, "%s: out of memory for a queue", dev->spec), false;
    memset(q, 0, sizeof *q);
    pthread_mutex_init(&q->lock, NULL);
    q->forks = chxi_forks;
    q->dev = dev;
    chx_status st = dev->ops->queue_new(dev->dev, NULL, &q->q);
    if (st) {
      chxi_free(q, sizeof *q);
      return chxi_plugin_failed(s, st, "%s: cannot make a queue", dev->spec), false;
    }
  }
  th->streams[dev->id] = q;
  return *out = q, true;
}

static bool failed(chx_scope *s, chxi_stream *q, chx_status st)
{
  chxi_thread *th = chxi_thread_self();
  chxi_stream_enter(q); /* another thread may have waited for it, too */
  if (!q->failed) {
    const char *said = th && th->fail_code == st && th->fail_text[0] ? th->fail_text : chx_status_text(st);
    snprintf(q->text, sizeof q->text, "%s", said);
    if (th) th->fail_code = CHX_OK;
    q->failed = st;
  }
  pthread_mutex_unlock(&q->lock);
  if (q->n_ops == 1)
    chx_scope_fail(s, st, "%s: %s (reported late, by %s)", q->dev->spec, q->text, q->first_op);
  else if (q->n_ops)
    chx_scope_fail(s, st,
                   "%s: %s (reported late, by one of the %u operators queued since the last wait, from %s to %s; "
                   "CHX_SYNC=1 names it)",
                   q->dev->spec, q->text, q->n_ops, q->first_op, q->last_op);
  else
    chx_scope_fail(s, st, "%s: %s", q->dev->spec, q->text);
  return false;
}

bool chxi_stream_wait(chx_scope *s, chxi_stream *q)
{
  if (!q) return true;
  if (q->capture) return !chxi_capture_excludes(s, q->dev, "waiting for the device");
  if (q->failed) return failed(s, q, q->failed);
  uint64_t point = chxi_stream_mark(q);
  chx_status st = sync_to(q, point);
  if (st) return failed(s, q, st);
  q->good = point;
  q->n_ops = 0;
  return true;
}

static bool good(chx_scope *s, struct chxi_use wrote)
{
  chxi_stream *q = wrote.q;
  if (chxi_likely(!q || !q->failed || wrote.point <= q->good)) return true;
  chx_scope_fail(s, q->failed, "%s: the array was written by a queue that failed: %s", q->dev->spec, q->text);
  return false;
}

bool chxi_buffer_good(chx_scope *s, const chxi_buffer *b) { return good(s, uses_of(b).wrote); }

bool chxi_stream_order(chx_scope *s, chxi_stream *q, struct chxi_use u)
{
  if (!u.q || u.q == q || u.point <= u.q->good) return true;
  if (u.q->failed) return sync_to(u.q, u.point), true; /* its error is known; what it still does must end, too */
  const chx_device_ops *o = u.q->dev->ops;
  chx_status st = CHX_EUNSUPPORTED;
  if (q && q->dev == u.q->dev && CHX_HAS(o, chx_device_ops, queue_wait)) {
    chxi_stream *first = q < u.q ? q : u.q, *second = q < u.q ? u.q : q; /* one order of locks for all threads */
    chxi_stream_lock(first);
    chxi_stream_lock(second);
    st = u.q->q ? o->queue_wait(q->dev->dev, q->q, u.q->q, u.point) : CHX_OK;
    chxi_stream_unlock(second);
    chxi_stream_unlock(first);
  }
  if (st) st = sync_to(u.q, u.point);
  if (!st) return true;
  return s ? failed(s, u.q, st) : false;
}

bool chxi_before_read(chx_scope *s, chxi_stream *q, chxi_buffer *b)
{
  if (chxi_unlikely(q && q->capture)) return chxi_capture_touch(s, q, b, CHXI_READS);
  struct uses u = uses_of(b);
  return good(s, u.wrote) && chxi_stream_order(s, q, u.wrote) && good(s, u.wrote);
}

bool chxi_before_write(chx_scope *s, chxi_stream *q, chxi_buffer *b)
{
  if (chxi_unlikely(q && q->capture)) return chxi_capture_touch(s, q, b, CHXI_WRITES);
  struct uses u = uses_of(b);
  if (!chxi_stream_order(s, q, u.wrote)) return false;
  for (int i = 0; i < u.n; i++)
    if (!chxi_stream_order(s, q, u.reads[i])) return false;
  return true;
}

void chxi_after(chxi_stream *q, chxi_buffer *b, bool wrote)
{
  if (chxi_unlikely(q->capture != NULL)) return; /* it is kept, and not used yet */
  struct chxi_use now = {q, chxi_stream_mark(q)}, full = {0};
  pthread_mutex_lock(uses_lock(b));
  int i = 0;
  while (!wrote && i < b->n_uses && b->uses[i].q != q) i++;
  if (wrote) {
    b->wrote = now;
    b->n_uses = 0;
  } else {
    if (i == CHXI_USES) full = b->uses[i = 0]; /* more readers than there is room for: wait for one of them now */
    else if (i == b->n_uses) b->n_uses++;
    b->uses[i] = now;
  }
  pthread_mutex_unlock(uses_lock(b));
  chxi_stream_order(NULL, NULL, full);
}

bool chxi_buffer_ready(chx_scope *s, chxi_buffer *b)
{
  struct chxi_use wrote = uses_of(b).wrote;
  return !wrote.q || !(atomic_load(&b->valid) & CHXI_ON_DEVICE) || chxi_long_wait(s, wrote.q, wrote.point);
}

bool chxi_buffer_settled(chx_scope *s, chxi_buffer *b)
{
  if (!b->dev->queued) return true;
  if (chxi_capture_excludes(s, b->dev, "sharing memory through DLPack")) return false;
  return chxi_before_write(s, NULL, b) && chxi_buffer_good(s, b);
}

bool chxi_buffer_followed(chx_scope *s, chxi_buffer *b, void *native)
{
  chxi_device *dev = b->dev;
  if (!dev->queued || !native) return chxi_buffer_settled(s, b);
  chxi_stream theirs = {.dev = dev, .lock = PTHREAD_MUTEX_INITIALIZER};
  chx_status st = dev->ops->queue_new(dev->dev, native, &theirs.q);
  if (st) return chxi_plugin_failed(s, st, "%s: the consumer's queue", dev->spec), false;
  bool ordered = chxi_before_write(s, &theirs, b) && chxi_buffer_good(s, b);
  dev->ops->queue_free(dev->dev, theirs.q);
  return ordered;
}

/* The block is free: no other thread looks at it. */
void chxi_buffer_forget_uses(chxi_buffer *b, chxi_stream *by)
{
  chxi_stream_order(NULL, by, b->wrote);
  for (int i = 0; i < b->n_uses; i++) chxi_stream_order(NULL, by, b->uses[i]);
  b->n_uses = 0;
  b->wrote = (struct chxi_use){0};
}

chx_status chx_sync(chx_scope *s)
{
  chxi_stream *q;
  if (!chxi_ok(s)) return chx_scope_error(s);
  if (!s->dev->queued || !chxi_self || !(q = chxi_self->streams[s->dev->id])) return CHX_OK;
  if (!s->long_work || q->capture || chxi_long_wait(s, q, chxi_stream_mark(q))) chxi_stream_wait(s, q);
  return s->error;
}
