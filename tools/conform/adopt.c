/* SPDX-License-Identifier: MIT
 * adopt.c: the part of group C4 that is about native queues: what queue_native gives others, and queues that queue_new makes
 * of a native one. The kit has no queue but the plugin's own, so it adopts these.
 */
#include "raw.h"
#include <string.h>

enum { H2D, D2D = 2, N = 1 << 18 };

/* A queue and its native handle; NULL with the case skipped or failed. */
static raw *begin(conform *c, chx_queue **q, void **native)
{
  raw *r = raw_device(c);
  *native = NULL;
  if (!r) return NULL;
  if (!raw_has_queues(r) || !CHX_HAS(r->o, chx_device_ops, queue_native)) {
    conform_skip(c, "the device has no queue_native");
    return NULL;
  }
  if (!raw_queue(c, r, q)) return NULL;
  *native = r->o->queue_native(r->dev, *q);
  if (*native) return r;
  conform_skip(c, "the device gives no native queue");
  raw_queue_free(r, *q);
  return NULL;
}

static void native_queue(conform *c, void *arg)
{
  chx_queue *q, *other;
  void *native;
  raw *r = begin(c, &q, &native);
  (void)arg;
  if (!r || !raw_queue(c, r, &other)) return;
  for (int i = 0; i < 3; i++)
    conform_check(c, r->o->queue_native(r->dev, q) == native, "queue_native gave %p, and then another handle", native);
  conform_check(c, r->o->queue_native(r->dev, other) != native, "two queues have the same native one, %p", native);
  raw_queue_free(r, other);
  raw_queue_free(r, q);
}

static bool adopted(conform *c, raw *r, void *native, chx_queue **q)
{
  raw_said();
  chx_status st = r->o->queue_new(r->dev, native, q);
  if (st == CHX_EUNSUPPORTED) conform_skip(c, "it adopts no queue: %s", raw_said());
  return st != CHX_EUNSUPPORTED &&
         conform_check(c, st == CHX_OK && *q, "queue_new that adopts what queue_native gave: %s: %s", raw_code(st), raw_said());
}

static bool copy(conform *c, raw *r, chx_queue *q, void *dst, const void *src, uint32_t dir)
{
  chx_status st = r->o->copy(r->dev, q, dst, 0, src, 0, N, dir);
  return conform_check(c, st == CHX_OK, "copy: %s: %s", raw_code(st), raw_said());
}

/* Work in turn through a queue and one that has adopted its native queue: it is one order, without a wait between them. */
static void one_order(conform *c, void *arg)
{
  enum { B = 4, ROUNDS = 8 };
  static raw_gate g;
  static unsigned char want[N], got[N];
  chx_queue *q[2];
  chx_buffer b[B];
  void *native;
  raw *r = begin(c, &q[0], &native);
  (void)arg;
  if (!r) return;
  if (!adopted(c, r, native, &q[1])) return raw_queue_free(r, q[0]);
  conform_check(c, r->o->queue_native(r->dev, q[1]) == native, "the native queue of one that adopted %p is %p", native,
                r->o->queue_native(r->dev, q[1]));
  for (int i = 0; i < B; i++)
    if (!raw_alloc(c, r, q[0], N, &b[i]) || !raw_up(c, r, q[0], &b[i], 0, want, N)) return;
  for (int round = 0; round < ROUNDS && !c->failures; round++) {
    const int first = round & 1;
    const bool held = raw_has_steps(r);
    memset(want, 0x80 + round, N);
    if (!raw_up(c, r, q[!first], &b[3], 0, want, N) || (held && !raw_hold(c, r, q[first], &g))) return;
    copy(c, r, q[first], b[0].handle, b[3].handle, D2D);
    copy(c, r, q[!first], b[1].handle, b[0].handle, D2D);
    copy(c, r, q[first], b[2].handle, b[1].handle, D2D);
    if (held) raw_let_go(&g);
    if (raw_down(c, r, q[!first], &b[2], 0, got, N)) raw_same(c, "copied on in turn by a queue and one that adopted it", got, want, N);
    raw_sync(c, r, q[first]);
  }
  for (int i = 0; i < B; i++) raw_release(r, q[0], &b[i]);
  raw_sync(c, r, q[0]);
  raw_queue_free(r, q[1]);
  raw_queue_free(r, q[0]);
}

/* The native queue is its owner's: it goes on when who adopted it is gone, and what was queued is done. */
static void outlived(conform *c, void *arg)
{
  enum { ROUNDS = 4 };
  static unsigned char want[N], got[N];
  chx_queue *q, *other;
  chx_buffer b[2];
  void *native;
  raw *r = begin(c, &q, &native);
  (void)arg;
  if (!r) return;
  for (int i = 0; i < 2; i++)
    if (!raw_alloc(c, r, q, N, &b[i])) return;
  for (int round = 0; round < ROUNDS && !c->failures; round++) {
    if (!adopted(c, r, native, &other)) break;
    memset(want, 0xa0 + round, N);
    copy(c, r, other, b[0].handle, want, H2D);
    raw_queue_free(r, other);
    copy(c, r, q, b[1].handle, b[0].handle, D2D);
    conform_check(c, r->o->queue_native(r->dev, q) == native, "queue_native gives another handle since an adopted queue was freed");
    if (raw_down(c, r, q, &b[1], 0, got, N)) raw_same(c, "queued where the queue was adopted, and read when that had ended", got, want, N);
  }
  for (int i = 0; i < 2; i++) raw_release(r, q, &b[i]);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

void conform_adopt_cases(conform *c, conform_list *l)
{
  (void)c;
  conform_add(l, "C4", "native queues", native_queue, NULL);
  conform_add(l, "C4", "an adopted queue is in one order with its owner's", one_order, NULL);
  conform_add(l, "C4", "an adopted queue ends before its owner's", outlived, NULL);
}
