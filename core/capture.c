/* SPDX-License-Identifier: MIT
 * capture.c: what a thread puts on a device's queue, recorded by the backend ("chx.capture/1") and launched again.
 *
 * While a thread records, nothing runs. Each buffer that a recorded command touches is kept until the capture is freed,
 * so that its address stays good; the queues that use it now are looked at when the capture is launched, not before.
 * Buffers that are allocated meanwhile come from the backend or the device's shared level, not from the thread's bins: these are
 * put aside, so that chxi_buffer_new sees that a thread records by a look that it takes anyway. One that only the capture
 * still holds serves the next allocation, and, once recording has ended, needs no order of its own between launches.
 */
#include "runtime.h"
#include <stdio.h>

enum state { RECORDING, READY, GIVEN_UP };

typedef struct item { /* a buffer that recorded commands touch */
  chxi_buffer *b;
  bool made, reads, writes; /* made: allocated meanwhile; reads: before the first write */
} item;

struct chx_capture {
  chxi_device *dev;
  const chx_capture_ops *ops;
  enum state state;
  chxi_thread *th;       /* that records it, on q; its bins, while it does */
  chxi_stream *q;
  chxi_bins *bins;
  atomic_bool abandoned; /* another thread has freed it */
  void *graph;
  item *items;           /* the first n_shared may be in others' hands, too */
  size_t n, room, n_shared;
  uint32_t *slots;       /* while it is recorded: a hash table of 2 * room; the index of an item plus 1, or 0 */
  chxi_buffer **pins;    /* of a mappable device: room for what is pinned while it is launched */
  size_t pins_room;
  struct chxi_plan **plans;
  size_t n_plans, plans_room;
  struct chxi_use last;  /* the last launch; before there is one, what the queue had to do when recording began */
  char why[512];         /* it was given up */
};

/* ---- what it holds ---------------------------------------------------------------------------------------------------- */

static uint32_t *slot_of(const chx_capture *c, const chxi_buffer *b)
{
  size_t i = (uintptr_t)b / sizeof *b * 0x9e3779b97f4a7c15u >> 20;
  while (c->slots[i % (2 * c->room)] && c->items[c->slots[i % (2 * c->room)] - 1].b != b) i++;
  return &c->slots[i % (2 * c->room)];
}

static bool grow(chx_capture *c)
{
  size_t room = c->room ? 2 * c->room : 64;
  uint32_t *slots = chxi_alloc(2 * room * sizeof *slots);
  item *items = slots ? chxi_grow(c->items, c->room * sizeof *items, room * sizeof *items) : NULL;
  if (!items) return chxi_free(slots, 2 * room * sizeof *slots), false;
  chxi_free(c->slots, 2 * c->room * sizeof *slots);
  memset(slots, 0, 2 * room * sizeof *slots);
  c->items = items;
  c->slots = slots;
  c->room = room;
  for (size_t i = 0; i < c->n; i++) *slot_of(c, items[i].b) = (uint32_t)i + 1;
  return true;
}

/* The item of b, which is kept from now on; NULL: out of memory. */
static item *item_of(chx_capture *c, chxi_buffer *b)
{
  if (c->n == c->room && !grow(c)) return NULL;
  uint32_t *slot = slot_of(c, b);
  if (!*slot) {
    chxi_buffer_ref(b);
    c->items[c->n++] = (item){.b = b};
    *slot = (uint32_t)c->n;
  }
  return &c->items[*slot - 1];
}

static void let_go(chx_capture *c)
{
  for (size_t i = 0; i < c->n; i++) chxi_buffer_unref(c->items[i].b);
  for (size_t i = 0; i < c->n_plans; i++) chxi_plan_done(c->plans[i], c->q);
  chxi_free(c->items, c->room * sizeof *c->items);
  if (c->slots) chxi_free(c->slots, 2 * c->room * sizeof *c->slots);
  chxi_free(c->plans, c->plans_room * sizeof(void *));
  c->items = NULL;
  c->slots = NULL;
  c->plans = NULL;
  c->n = c->room = c->n_plans = c->plans_room = 0;
}

/* ---- recording -------------------------------------------------------------------------------------------------------- */

/* The thread and its queue are as they were. */
static chx_status stop(chx_capture *c, void **graph)
{
  chxi_stream *q = c->q;
  chx_status st = c->ops->end(c->dev->dev, chxi_stream_lock(q), graph);
  chxi_stream_unlock(q);
  c->th->bins[c->dev->id] = c->bins;
  q->capture = NULL;
  return st;
}

static void give_up(chx_capture *c, const char *why)
{
  stop(c, NULL);
  snprintf(c->why, sizeof c->why, "%s", why);
  c->state = GIVEN_UP;
  let_go(c);
  if (atomic_load(&c->abandoned)) chxi_free(c, sizeof *c);
}

void chxi_capture_lost(chxi_stream *q, const char *why) { give_up(q->capture, why); }

bool chxi_capture_refuse(chx_scope *s, chxi_stream *q, chx_status code, const char *what)
{
  chx_scope_fail(s, code, "%s: %s; the capture that was being recorded is given up", q->dev->spec, what);
  give_up(q->capture, what);
  return false;
}

bool chxi_capture_excludes(chx_scope *s, const chxi_device *dev, const char *what)
{
  chxi_stream *q = chxi_recording(dev);
  char text[400];
  if (chxi_likely(!q)) return false;
  snprintf(text, sizeof text, "%s cannot be captured", what);
  chxi_capture_refuse(s, q, CHX_EUNSUPPORTED, text);
  return true;
}

static bool no_memory(chx_scope *s, chxi_stream *q)
{
  return chxi_capture_refuse(s, q, CHX_ENOMEM, "out of memory for what a capture holds");
}

bool chxi_capture_touch(chx_scope *s, chxi_stream *q, chxi_buffer *b, int how)
{
  item *it = item_of(q->capture, b);
  if (!it) return no_memory(s, q);
  it->reads |= how == CHXI_READS && !it->writes;
  it->writes |= how == CHXI_WRITES;
  return true;
}

bool chxi_capture_plan(chx_scope *s, chxi_stream *q, struct chxi_plan *p)
{
  chx_capture *c = q->capture;
  if (c->n_plans == c->plans_room) {
    size_t room = c->plans_room ? 2 * c->plans_room : 16;
    struct chxi_plan **plans = chxi_grow(c->plans, c->plans_room * sizeof *plans, room * sizeof *plans);
    if (!plans) return chxi_plan_done(p, q), no_memory(s, q);
    c->plans = plans;
    c->plans_room = room;
  }
  c->plans[c->n_plans++] = p;
  return true;
}

chxi_buffer *chxi_capture_reuse(chxi_device *dev, uint64_t asked, uint64_t bytes)
{
  chxi_stream *q = chxi_recording(dev);
  chxi_buffer *best = NULL;
  for (size_t i = 0; q && i < q->capture->n; i++) {
    chxi_buffer *b = q->capture->items[i].b;
    if (!q->capture->items[i].made || atomic_load_explicit(&b->refs, memory_order_acquire) != 1) continue;
    const bool fits = dev->exact ? b->bytes == bytes : b->bytes >= bytes && b->bytes <= 2 * bytes;
    if (fits && (!best || b->bytes < best->bytes)) best = b;
  }
  if (!best) return NULL;
  chxi_hook_released(dev->spec, best->asked);
  chxi_buffer_ref(best);
  atomic_store_explicit(&best->version, 0, memory_order_relaxed);
  best->asked = asked;
  return best;
}

bool chxi_capture_made(chx_scope *s, chxi_buffer *b)
{
  chxi_stream *q = chxi_recording(b->dev);
  if (!q) return true;
  item *it = item_of(q->capture, b);
  if (it) return it->made = true;
  chxi_buffer_unref(b);
  return no_memory(s, q);
}

/* ---- public: recording ------------------------------------------------------------------------------------------------ */

static const chx_capture_ops *ops_of(const chxi_device *dev)
{
  const chx_device_ops *o = dev->ops;
  const chx_capture_ops *e =
      dev->queued && CHX_HAS(o, chx_device_ops, extension) ? o->extension(dev->dev, "chx.capture/1") : NULL;
  return e && CHX_HAS(e, chx_capture_ops, begin) && CHX_HAS(e, chx_capture_ops, end) &&
                 CHX_HAS(e, chx_capture_ops, launch) && CHX_HAS(e, chx_capture_ops, drop)
             ? e
             : NULL;
}

chx_capture *chx_capture_begin(chx_scope *s)
{
  chxi_stream *q;
  if (!chxi_ok(s)) return NULL;
  chxi_device *dev = s->dev;
  const chx_capture_ops *ops = ops_of(dev);
  if (!ops) {
    chx_scope_fail(s, CHX_EUNSUPPORTED, "capture_begin: %s does not capture: its backend has no chx.capture/1", dev->spec);
    return NULL;
  }
  if (!chxi_stream_of(s, dev, &q)) return NULL;
  if (q->capture && atomic_load(&q->capture->abandoned)) give_up(q->capture, "it was freed");
  if (q->capture) {
    chx_scope_fail(s, CHX_EARG, "capture_begin: this thread records a capture on %s already, want that ended first", dev->spec);
    return NULL;
  }
  chx_capture *c = chxi_alloc(sizeof *c);
  if (!c) return chx_scope_fail(s, CHX_ENOMEM, "capture_begin: out of memory"), NULL;
  memset(c, 0, sizeof *c);
  chx_status st = ops->begin(dev->dev, chxi_stream_lock(q));
  chxi_stream_unlock(q);
  if (st) {
    chxi_free(c, sizeof *c);
    return chxi_plugin_failed(s, st, "capture_begin: %s", dev->spec), NULL;
  }
  c->dev = dev;
  c->ops = ops;
  c->th = chxi_thread_self();
  c->q = q;
  c->bins = c->th->bins[dev->id];
  c->th->bins[dev->id] = NULL;
  c->last = (struct chxi_use){q, chxi_stream_mark(q)};
  q->capture = c;
  return c;
}

int chx_capture_active(const chx_scope *s) { return s && chxi_recording(s->dev) != NULL; }

/* Those that nobody else can see come last; what others see may hold no more what a graph has saved of it. */
static bool sort_items(chx_capture *c)
{
  size_t shared = 0;
  for (size_t i = 0; i < c->n; i++) {
    item it = c->items[i];
    if (it.made && atomic_load(&it.b->refs) == 1) continue;
    if (it.writes) atomic_fetch_add_explicit(&it.b->version, 1, memory_order_relaxed);
    c->items[i] = c->items[shared];
    c->items[shared++] = it;
  }
  c->n_shared = shared;
  chxi_free(c->slots, 2 * c->room * sizeof *c->slots);
  c->slots = NULL;
  if (!c->dev->mappable || !shared) return true;
  c->pins_room = shared;
  return (c->pins = chxi_alloc(shared * sizeof(void *))) != NULL;
}

chx_status chx_capture_end(chx_scope *s, chx_capture *c)
{
  if (!s) return CHX_EARG;
  if (!c) return chx_scope_fail(s, CHX_EARG, "capture_end: the capture is NULL, want one of chx_capture_begin");
  if (c->state == GIVEN_UP) return chx_scope_fail(s, CHX_EARG, "capture_end: the capture was given up: %s", c->why);
  if (c->state == READY) return chx_scope_fail(s, CHX_EARG, "capture_end: the capture has ended already");
  if (c->th != chxi_self)
    return chx_scope_fail(s, CHX_EARG, "capture_end: another thread records this capture, want that to end it");
  if (!chxi_ok(s)) return give_up(c, chx_scope_message(s)), chx_scope_error(s);
  chx_status st = stop(c, &c->graph);
  if (!st && !sort_items(c)) {
    c->ops->drop(c->dev->dev, c->graph);
    st = CHX_ENOMEM;
  }
  c->state = st ? GIVEN_UP : READY;
  if (!st) return CHX_OK;
  chxi_plugin_failed(s, st, "capture_end: %s", c->dev->spec);
  snprintf(c->why, sizeof c->why, "%s", chx_scope_message(s));
  let_go(c);
  return chx_scope_error(s);
}

/* ---- public: launching ------------------------------------------------------------------------------------------------ */

/* Orders q after what others have done, and do, with the buffers that they see. */
static bool before(chx_scope *s, const chx_capture *c, chxi_stream *q)
{
  for (size_t i = 0; i < c->n_shared; i++) {
    const item *it = &c->items[i];
    const bool whole = it->made && it->writes; /* nothing of what was there is read */
    if (!chxi_on_device(s, it->b)) return false;
    if (it->reads && !whole && !chxi_before_read(s, q, it->b)) return false;
    if (it->writes && !chxi_before_write(s, q, it->b)) return false;
  }
  return chxi_stream_order(s, q, c->last);
}

static void after(chx_capture *c, chxi_stream *q)
{
  for (size_t i = c->n_shared; i-- > 0;) {
    item it = c->items[i];
    if (it.made && atomic_load_explicit(&it.b->refs, memory_order_acquire) == 1) { /* nobody else sees it any more */
      c->items[i] = c->items[--c->n_shared];
      c->items[c->n_shared] = it;
      continue;
    }
    if (it.writes) {
      atomic_store(&it.b->valid, CHXI_ON_DEVICE);
      atomic_fetch_add_explicit(&it.b->version, 1, memory_order_relaxed);
    }
    chxi_after(q, it.b, it.writes);
  }
  c->last = (struct chxi_use){q, chxi_stream_mark(q)};
}

static bool launch(chx_scope *s, chx_capture *c, chxi_stream *q)
{
  if (!before(s, c, q)) return false;
  chx_status st = c->ops->launch(c->dev->dev, chxi_stream_lock(q), c->graph);
  chxi_stream_unlock(q);
  if (st) return chxi_plugin_failed(s, st, "capture_launch: %s", c->dev->spec), false;
  after(c, q);
  if (!q->n_ops++) q->first_op = "capture_launch";
  q->last_op = "capture_launch";
  return true;
}

chx_status chx_capture_launch(chx_scope *s, chx_capture *c)
{
  chxi_stream *q;
  if (!chxi_ok(s)) return s ? chx_scope_error(s) : CHX_EARG;
  if (!c) return chx_scope_fail(s, CHX_EARG, "capture_launch: the capture is NULL, want one of chx_capture_begin");
  if (c->state == GIVEN_UP) return chx_scope_fail(s, CHX_EARG, "capture_launch: the capture was given up: %s", c->why);
  if (chxi_capture_excludes(s, c->dev, "capture_launch")) return chx_scope_error(s);
  if (c->state == RECORDING)
    return chx_scope_fail(s, CHX_EARG, "capture_launch: the capture is still being recorded, want it ended first");
  if (!chxi_stream_of(s, c->dev, &q)) return chx_scope_error(s);
  const int n = c->pins ? (int)c->n_shared : 0;
  for (int i = 0; i < n; i++) c->pins[i] = c->items[i].b;
  if (n && !chxi_pin(s, c->pins, n)) return chx_scope_error(s);
  const bool done = launch(s, c, q);
  chxi_unpin(c->pins, n);
  if (done && chxi_sync_always) chxi_stream_wait(s, q);
  return chx_scope_error(s);
}

void chx_capture_free(chx_capture *c)
{
  if (!c) return;
  if (c->state == RECORDING && c->th != chxi_self) {
    atomic_store(&c->abandoned, true); /* its thread gives it up */
    return;
  }
  if (c->state == RECORDING) give_up(c, "it was freed");
  if (c->state == READY) {
    c->ops->drop(c->dev->dev, c->graph);
    if (c->n_plans) chxi_stream_order(NULL, NULL, c->last); /* plans are q's, and launches may have been another's */
    chxi_free(c->pins, c->pins_room * sizeof(void *));
    for (size_t i = c->n_shared; i < c->n; i++) {
      c->items[i].b->wrote = c->last;
      c->items[i].b->n_uses = 0;
    }
    let_go(c);
  }
  chxi_free(c, sizeof *c);
}
