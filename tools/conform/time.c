/* SPDX-License-Identifier: MIT
 * time.c: group C4: queues, points and the order of work.
 *
 * Where the device takes host steps (queue_call), work is held by a gate (gate.c): a step that waits until the case lets it go.
 * What must not wait then shows by itself, and not by a clock. Without host steps, many copies stand in for it, and
 * less can be said.
 */
#include "raw.h"
#include <stdlib.h>
#include <string.h>

enum { H2D, D2H, D2D, N = 1 << 16 };

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

/* The device, if it has queues; NULL with the case skipped or failed. */
static raw *begin(conform *c)
{
  raw *r = raw_device(c);
  if (r && raw_has_queues(r)) return r;
  if (r && conform_check(c, !(r->info.flags & CHX_D_ASYNC), "info claims CHX_D_ASYNC, and there is no queue_new"))
    conform_skip(c, "a synchronous device, without queues");
  return NULL;
}

static chx_status sync_to(raw *r, chx_queue *q, uint64_t point, int64_t timeout_ns)
{
  raw_said();
  return r->o->queue_sync(r->dev, q, point, timeout_ns);
}

static bool copy(conform *c, raw *r, chx_queue *q, void *dst, const void *src, uint32_t dir)
{
  chx_status st = r->o->copy(r->dev, q, dst, 0, src, 0, N, dir);
  return conform_check(c, st == CHX_OK, "copy: %s: %s", raw_code(st), raw_said());
}

static bool is(conform *c, const char *what, const unsigned char *bytes, int value)
{
  int i = 0;
  while (i < N && bytes[i] == value) i++;
  return conform_check(c, i == N, "%s: byte %d is 0x%02x, want 0x%02x", what, i, i < N ? bytes[i] : 0, value);
}

/* n buffers of N bytes with the values 0x10, 0x11, ... */
static bool buffers(conform *c, raw *r, chx_queue *q, chx_buffer *b, int n)
{
  static unsigned char bytes[N];
  for (int i = 0; i < n; i++) {
    memset(bytes, 0x10 + i, N);
    if (!raw_alloc(c, r, q, N, &b[i]) || !raw_up(c, r, q, &b[i], 0, bytes, N)) return false;
  }
  return true;
}

static void give_back(raw *r, chx_buffer *b, int n)
{
  for (int i = 0; i < n; i++) raw_release(r, NULL, &b[i]);
}

/* Work that takes a while without a host step. */
static bool burden(conform *c, raw *r, chx_queue *q, chx_buffer *b, int times)
{
  for (int i = 0; i < times; i++)
    if (!copy(c, r, q, b[i & 1].handle, b[!(i & 1)].handle, D2D)) return false;
  return true;
}

/* ---- points ------------------------------------------------------------------------------------------------------ */

static void monotone(conform *c, void *arg)
{
  raw *r = begin(c);
  chx_queue *q;
  chx_buffer b[2];
  uint64_t last, point[40];
  (void)arg;
  if (!r || !raw_queue(c, r, &q)) return;
  last = r->o->queue_mark(r->dev, q);
  chx_status st = sync_to(r, q, last, INT64_MAX);
  conform_check(c, st == CHX_OK, "sync on the point of an empty queue: %s: %s", raw_code(st), raw_said());
  if (!buffers(c, r, q, b, 2)) return;
  for (int i = 0; i < 40; i++) {
    if (!burden(c, r, q, b, 1)) return;
    point[i] = r->o->queue_mark(r->dev, q);
    conform_check(c, point[i] >= last, "queue_mark gave %llu after %llu", (unsigned long long)point[i],
                  (unsigned long long)last);
    conform_check(c, r->o->queue_mark(r->dev, q) >= point[i], "a second queue_mark gave an earlier point");
    last = point[i];
  }
  conform_check(c, last > 0, "queue_mark gave 0 after work, and a queue counts from 1");
  for (int i = 39; i >= 0; i -= 3) { /* the current one, then old ones */
    st = sync_to(r, q, point[i], INT64_MAX);
    conform_check(c, st == CHX_OK, "sync on point %d of 40: %s: %s", i + 1, raw_code(st), raw_said());
    st = sync_to(r, q, point[i], 0);
    conform_check(c, st == CHX_OK, "a poll of point %d of 40, which was reached: %s: %s", i + 1, raw_code(st),
                  raw_said());
  }
  give_back(r, b, 2);
  raw_queue_free(r, q);
}

/* A point is reached only when the work before it is done, and asking does not wait. */
static void poll_point(conform *c, void *arg)
{
  static raw_gate g;
  raw *r = begin(c);
  chx_queue *q;
  chx_buffer b[2];
  (void)arg;
  if (!r || !raw_queue(c, r, &q) || !buffers(c, r, q, b, 2)) return;
  if (raw_has_steps(r)) {
    uint64_t before = r->o->queue_mark(r->dev, q);
    if (!raw_hold(c, r, q, &g) || !raw_begun(c, &g)) return;
    uint64_t point = r->o->queue_mark(r->dev, q);
    chx_status st = sync_to(r, q, point, 0);
    conform_check(c, st == CHX_NOT_READY && !g.forced, "a poll of the point of a step that goes on: %s%s, want %s at once",
                  raw_code(st), g.forced ? ", after it had waited" : "", raw_code(CHX_NOT_READY));
    if (!burden(c, r, q, b, 3)) return;
    point = r->o->queue_mark(r->dev, q);
    st = sync_to(r, q, point, 0);
    conform_check(c, st == CHX_NOT_READY && !g.forced, "a poll of work that has not begun: %s%s, want %s at once",
                  raw_code(st),
                  g.forced ? ", after it had waited" : "", raw_code(CHX_NOT_READY));
    st = sync_to(r, q, before, 0);
    conform_check(c, st == CHX_OK && !g.forced, "a poll of a point before that work: %s", raw_code(st));
    double t = raw_now();
    st = sync_to(r, q, point, 20000000);
    conform_check(c, st == CHX_NOT_READY && !g.forced, "sync with 20 ms, after %.3f s: %s, want %s", raw_now() - t,
                  raw_code(st), raw_code(CHX_NOT_READY));
    conform_check(c, raw_now() - t >= 0.018, "sync with 20 ms came back after %.3f s", raw_now() - t);
    raw_let_go(&g);
  } else if (!burden(c, r, q, b, 400))
    return;
  uint64_t point = r->o->queue_mark(r->dev, q);
  chx_status st;
  while ((st = sync_to(r, q, point, 0)) == CHX_NOT_READY) {}
  conform_check(c, st == CHX_OK, "polled until it was done: %s: %s", raw_code(st), raw_said());
  give_back(r, b, 2);
  raw_queue_free(r, q);
}

static void asynchronous(conform *c, void *arg)
{
  static raw_gate g;
  static unsigned char down[N], up[N];
  raw *r = begin(c);
  chx_queue *q;
  chx_buffer b[2];
  (void)arg;
  if (!r) return;
  if (!(r->info.flags & CHX_D_ASYNC) || !raw_has_steps(r)) {
    conform_skip(c, "the device does not claim to be asynchronous, or takes no host steps to see it by");
    return;
  }
  if (!raw_queue(c, r, &q) || !buffers(c, r, q, b, 2) || !raw_hold(c, r, q, &g)) return;
  memset(up, 0x77, N);
  memset(down, 0, N);
  copy(c, r, q, b[1].handle, b[0].handle, D2D);
  conform_check(c, !g.forced, "a copy on the device waited for the work before it");
  bool waited = g.forced; /* the rest may wait, and is slow then */
  chx_buffer gone;
  if (raw_alloc(c, r, q, N, &gone)) raw_release(r, q, &gone);
  if (g.forced && !waited) conform_note(c, "alloc or release waits for the work in the queue");
  waited = g.forced;
  copy(c, r, q, b[0].handle, up, H2D);
  if (g.forced && !waited) conform_note(c, "a copy to the device waits for the work before it");
  raw_let_go(&g);
  if (raw_sync(c, r, q) && raw_down(c, r, q, &b[1], 0, down, N))
    is(c, "copied on the device behind a gate", down, 0x10);
  if (raw_down(c, r, q, &b[0], 0, down, N)) is(c, "copied to the device behind a gate", down, 0x77);
  give_back(r, b, 2);
  raw_queue_free(r, q);
}

/* ---- order ------------------------------------------------------------------------------------------------------- */

/* Copies without a sync between them read what the ones before them wrote. */
static void in_order(conform *c, void *arg)
{
  enum { B = 5, COPIES = 300 };
  static unsigned char bytes[N], got[B][N];
  raw *r = begin(c);
  chx_queue *q;
  chx_buffer b[B];
  int value[B];
  uint64_t seed = c->seed + 5;
  (void)arg;
  if (!r || !raw_queue(c, r, &q) || !buffers(c, r, q, b, B)) return;
  for (int i = 0; i < B; i++) value[i] = 0x10 + i;
  for (int i = 0; i < COPIES; i++) {
    int to = (int)(raw_random(&seed) % B), from = (to + 1 + (int)(raw_random(&seed) % (B - 1))) % B;
    if (i % 7 == 0) {
      memset(bytes, value[to] = i & 0xff, N);
      if (!copy(c, r, q, b[to].handle, bytes, H2D)) return;
    } else {
      value[to] = value[from];
      if (!copy(c, r, q, b[to].handle, b[from].handle, D2D)) return;
    }
  }
  for (int i = 0; i < B; i++)
    if (!copy(c, r, q, got[i], b[i].handle, D2H)) return;
  if (!raw_sync(c, r, q)) return;
  for (int i = 0; i < B; i++) is(c, "after 300 copies in a queue", got[i], value[i]);
  give_back(r, b, B);
  raw_queue_free(r, q);
}

struct steps {
  _Atomic int n, out_of_order;
  const unsigned char *seen;
  int wrong;
  struct step { struct steps *all; int i, value; } step[40];
};

static void record_step(void *arg)
{
  struct step *s = arg;
  if (s->all->n++ != s->i) s->all->out_of_order++;
  if (s->all->seen[0] != s->value || s->all->seen[N - 1] != s->value) s->all->wrong++;
}

/* Host steps come in order, each after the copies before it and before those behind it. */
static void host_steps(conform *c, void *arg)
{
  enum { STEPS = 40 };
  static unsigned char seen[N];
  static struct steps all;
  raw *r = begin(c);
  chx_queue *q;
  chx_buffer b[2];
  (void)arg;
  if (!r) return;
  if (!raw_has_steps(r)) {
    conform_skip(c, "the device has no queue_call");
    return;
  }
  memset(&all, 0, sizeof all);
  all.seen = seen;
  if (!raw_queue(c, r, &q) || !buffers(c, r, q, b, 2)) return;
  for (int i = 0; i < STEPS; i++) {
    all.step[i] = (struct step){&all, i, 0x10 + (i & 1)};
    if (!copy(c, r, q, seen, b[i & 1].handle, D2H)) return;
    chx_status st = r->o->queue_call(r->dev, q, record_step, &all.step[i]);
    if (!conform_check(c, st == CHX_OK, "queue_call: %s: %s", raw_code(st), raw_said())) return;
  }
  raw_sync(c, r, q);
  conform_check(c, all.n == STEPS, "sync came back after %d of %d host steps", all.n, STEPS);
  conform_check(c, !all.out_of_order, "%d host steps came out of order", all.out_of_order);
  conform_check(c, !all.wrong, "%d of %d host steps saw bytes of a copy behind them, or none of the one before",
                all.wrong, STEPS);
  give_back(r, b, 2);
  raw_queue_free(r, q);
}

/* ---- several queues ---------------------------------------------------------------------------------------------- */

static bool wait_for(conform *c, raw *r, chx_queue *waiter, chx_queue *on)
{
  chx_status st = r->o->queue_wait(r->dev, waiter, on, r->o->queue_mark(r->dev, on));
  return conform_check(c, st == CHX_OK, "queue_wait: %s: %s", raw_code(st), raw_said());
}

static bool can_wait(conform *c, const raw *r)
{
  if (CHX_HAS(r->o, chx_device_ops, queue_wait)) return true;
  conform_skip(c, "the device has no queue_wait");
  return false;
}

/* The second queue's copy of what the first writes comes after it, and the host waits for neither. */
static void wait_across(conform *c, void *arg)
{
  static raw_gate g;
  static unsigned char up[N], down[N];
  raw *r = begin(c);
  chx_queue *q[2];
  chx_buffer b[2];
  (void)arg;
  if (!r || !can_wait(c, r) || !raw_queue(c, r, &q[0]) || !raw_queue(c, r, &q[1]) || !buffers(c, r, q[0], b, 2)) return;
  for (int i = 0; i < 10; i++) {
    memset(up, 0x80 + i, N);
    if (raw_has_steps(r) ? !raw_hold(c, r, q[0], &g) : !burden(c, r, q[0], b, 40)) return;
    if (!copy(c, r, q[0], b[0].handle, up, H2D) || !wait_for(c, r, q[1], q[0]) ||
        !copy(c, r, q[1], b[1].handle, b[0].handle, D2D))
      return;
    if (raw_has_steps(r)) {
      conform_check(c, !g.forced, "queue_wait made the host wait");
      chx_status st = sync_to(r, q[1], r->o->queue_mark(r->dev, q[1]), 0);
      conform_check(c, st == CHX_NOT_READY && !g.forced, "a queue that waits for one that is held: a poll gives %s",
                    raw_code(st));
      raw_let_go(&g);
    }
    if (!raw_down(c, r, q[1], &b[1], 0, down, N) ||
        !is(c, "copied behind a wait for another queue", down, 0x80 + i))
      return;
    if (!wait_for(c, r, q[0], q[1])) return; /* the next round writes what this one reads */
  }
  raw_sync(c, r, q[0]);
  give_back(r, b, 2);
  raw_queue_free(r, q[0]);
  raw_queue_free(r, q[1]);
}

/* A value goes round a ring of queues, each of which waits for the one before; queued from one thread, no end of it. */
static void ring(conform *c, void *arg)
{
  enum { Q = 4, ROUNDS = 25 };
  static unsigned char up[N], down[N];
  raw *r = begin(c);
  chx_queue *q[Q];
  chx_buffer b[Q];
  (void)arg;
  if (!r || !can_wait(c, r)) return;
  for (int i = 0; i < Q; i++)
    if (!raw_queue(c, r, &q[i])) return;
  if (!buffers(c, r, q[0], b, Q)) return;
  memset(up, 0x5c, N);
  if (!copy(c, r, q[0], b[0].handle, up, H2D)) return;
  for (int i = 0; i < Q * ROUNDS; i++) {
    int from = i % Q, to = (i + 1) % Q;
    if (!wait_for(c, r, q[to], q[from]) || !copy(c, r, q[to], b[to].handle, b[from].handle, D2D)) return;
    if (i % Q == Q - 1) wait_for(c, r, q[from], q[to]); /* and back, on what was queued long before or just now */
  }
  if (raw_down(c, r, q[0], &b[0], 0, down, N)) is(c, "after 25 rounds through 4 queues", down, 0x5c);
  for (int i = 0; i < Q; i++) raw_sync(c, r, q[i]);
  give_back(r, b, Q);
  for (int i = 0; i < Q; i++) raw_queue_free(r, q[i]);
}

/* Two queues go on by themselves: what holds one does not hold the other. */
static void independent(conform *c, void *arg)
{
  static raw_gate g;
  static unsigned char up[N], down[N];
  raw *r = begin(c);
  chx_queue *q[2];
  chx_buffer b[2];
  (void)arg;
  if (!r) return;
  if (!(r->info.flags & CHX_D_ASYNC) || !raw_has_steps(r)) {
    conform_skip(c, "the device does not claim to be asynchronous, or takes no host steps to see it by");
    return;
  }
  if (!raw_queue(c, r, &q[0]) || !raw_queue(c, r, &q[1]) || !buffers(c, r, q[1], b, 2) || !raw_hold(c, r, q[0], &g)) return;
  memset(up, 0x3e, N);
  if (raw_up(c, r, q[1], &b[0], 0, up, N) && raw_down(c, r, q[1], &b[0], 0, down, N))
    is(c, "copied in a queue beside one that is held", down, 0x3e);
  if (g.forced) conform_note(c, "one queue waits for the work of another: they run one after the other on this device");
  raw_let_go(&g);
  raw_sync(c, r, q[0]);
  give_back(r, b, 2);
  raw_queue_free(r, q[0]);
  raw_queue_free(r, q[1]);
}

/* ---- threads and ends -------------------------------------------------------------------------------------------- */

struct many {
  conform *c;
  raw *r;
  _Atomic int bad;
};

static void *use_queue(void *ctx, int i)
{
  struct many *m = ctx;
  conform own = *m->c;
  unsigned char *bytes = malloc(N);
  chx_buffer b[2];
  own.failures = own.checks = 0;
  for (int round = 0; bytes && round < 6 && !own.failures; round++) {
    chx_queue *q;
    if (!raw_queue(&own, m->r, &q)) break;
    for (int k = 0; k < 2; k++)
      if (!raw_alloc(&own, m->r, q, N, &b[k])) goto done;
    for (int k = 0; k < 10 && !own.failures; k++) {
      int value = (i * 60 + round * 10 + k) & 0xff;
      memset(bytes, value, N);
      if (!copy(&own, m->r, q, b[0].handle, bytes, H2D) || !copy(&own, m->r, q, b[1].handle, b[0].handle, D2D) ||
          !raw_down(&own, m->r, q, &b[1], 0, bytes, N))
        break;
      is(&own, "in one of 8 threads, each with a queue", bytes, value);
    }
    for (int k = 0; k < 2; k++) raw_release(m->r, q, &b[k]);
    raw_queue_free(m->r, q);
  }
done:
  free(bytes);
  if (own.failures && !m->bad++) memcpy(m->c->said, own.said, sizeof own.said);
  return NULL;
}

static void threads(conform *c, void *arg)
{
  struct many m = {.c = c, .r = begin(c)};
  char said[sizeof c->said];
  (void)arg;
  if (!m.r || !conform_check(c, raw_threads(8, use_queue, &m, NULL), "no thread could be made")) return;
  memcpy(said, c->said, sizeof said);
  conform_check(c, m.bad == 0, "%s", said);
}

/* A queue is freed with work in it: the work is done all the same, at the latest a while later. */
static void free_in_flight(conform *c, void *arg)
{
  static raw_gate g;
  static unsigned char up[N], down[N];
  raw *r = begin(c);
  chx_queue *q, *other;
  chx_buffer b[3];
  (void)arg;
  if (!r || !raw_queue(c, r, &other) || !buffers(c, r, other, b, 3)) return;
  for (int i = 0; i < 5; i++) {
    if (!raw_queue(c, r, &q)) return;
    memset(up, 0xa0 + i, N);
    if (i == 4 && raw_has_steps(r) && !raw_hold(c, r, q, &g)) return;
    if (!burden(c, r, q, b, 50) || !copy(c, r, q, b[2].handle, up, H2D)) return;
    if (i == 4 && raw_has_steps(r)) raw_let_go(&g);
    raw_queue_free(r, q);
    double t = raw_now();
    do
      if (!raw_down(c, r, other, &b[2], 0, down, N)) return;
    while ((down[0] != 0xa0 + i || down[N - 1] != 0xa0 + i) && raw_now() < t + 5);
    is(c, "queued in a queue that was freed", down, 0xa0 + i);
  }
  give_back(r, b, 3);
  raw_queue_free(r, other);
}

static void many_queues(conform *c, void *arg)
{
  raw *r = begin(c);
  chx_queue *q[16];
  chx_buffer b[2];
  (void)arg;
  if (!r || !raw_queue(c, r, &q[0]) || !buffers(c, r, q[0], b, 2)) return;
  raw_queue_free(r, q[0]);
  for (int round = 0; round < 16; round++) {
    for (int i = 0; i < 16; i++)
      if (!raw_queue(c, r, &q[i])) return;
    for (int i = 0; i < 16; i++)
      if (!burden(c, r, q[i], b, 1) || !raw_sync(c, r, q[i])) return;
    for (int i = 0; i < 16; i++) raw_queue_free(r, q[i]);
  }
  give_back(r, b, 2);
}

void conform_time_cases(conform *c, conform_list *l)
{
  (void)c;
  conform_add(l, "C4", "points grow, and old ones stay reached", monotone, NULL);
  conform_add(l, "C4", "a poll does not wait", poll_point, NULL);
  conform_add(l, "C4", "the host does not wait for queued work", asynchronous, NULL);
  conform_add(l, "C4", "work in a queue is in order", in_order, NULL);
  conform_add(l, "C4", "host steps are in order", host_steps, NULL);
  conform_add(l, "C4", "a queue waits for another", wait_across, NULL);
  conform_add(l, "C4", "a ring of queues that wait", ring, NULL);
  conform_add(l, "C4", "queues are independent", independent, NULL);
  conform_add(l, "C4", "8 threads with queues", threads, NULL);
  conform_add(l, "C4", "256 queues, 16 at a time", many_queues, NULL);
  conform_add(l, "C4", "a queue is freed with work in flight", free_in_flight, NULL);
  conform_held_cases(c, l);
  conform_adopt_cases(c, l);
  conform_end_cases(c, l);
}
