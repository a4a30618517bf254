/* SPDX-License-Identifier: MIT
 * peer.c: the part of group C3 that is about copies between two devices of a plugin ("chx.peer/1"): the judged one and the
 * next. The core orders a copy behind the source's writer, and keeps the source until the copy is done; so do these cases.
 */
#include "raw.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { D2D = 2 };
#define PEER "chx.peer/1"

typedef struct pair {
  raw at[2]; /* as the shared device, but for dev */
  chx_queue *q[2];
  const chx_peer_ops *peer;
} pair;

static chx_status can(const pair *p, int to, int from)
{
  raw_said();
  return p->peer->can(p->at[to].dev, p->at[from].dev);
}

/* The next device, opened at the first call and never closed; NULL: there is none. */
static chx_dev *next_device(conform *c, raw *r)
{
  static chx_dev *dev;
  uint32_t n = 0;
  if (dev || r->p->device_count(r->state, &n) || n < 2) return dev;
  chx_status st = r->p->device_open(r->state, (c->index + 1) % n, &dev);
  conform_check(c, st == CHX_OK && dev, "device_open of device %u of %u: %s: %s", (c->index + 1) % n, n, raw_code(st), raw_said());
  return dev;
}

/* Both with a queue each; the case is skipped or failed where that cannot be. `devices` 1: the judged one twice. */
static bool begin(conform *c, pair *p, int devices)
{
  raw *r = raw_device(c);
  *p = (pair){0};
  if (!r) return false;
  p->peer = CHX_HAS(r->o, chx_device_ops, extension) ? r->o->extension(r->dev, PEER) : NULL;
  if (!p->peer) return conform_skip(c, "the device does not offer " PEER), false;
  if (!conform_check(c, CHX_HAS(p->peer, chx_peer_ops, can) && CHX_HAS(p->peer, chx_peer_ops, copy), PEER " lacks can or copy"))
    return false;
  p->at[0] = p->at[1] = *r;
  if (devices == 2 && !(p->at[1].dev = next_device(c, r))) {
    if (!c->failures) conform_skip(c, "the plugin has one device");
    return false;
  }
  return raw_queue(c, &p->at[0], &p->q[0]) && raw_queue(c, &p->at[1], &p->q[1]);
}

static void end(pair *p)
{
  for (int i = 0; i < 2; i++) raw_queue_free(&p->at[i], p->q[i]);
}

static bool peer_copy(conform *c, const pair *p, int to, const chx_buffer *dst, uint64_t dst_off, int from,
                      const chx_buffer *src, uint64_t src_off, uint64_t bytes)
{
  raw_said();
  chx_status st = p->peer->copy(p->at[to].dev, p->q[to], dst->handle, dst_off, p->at[from].dev, src->handle, src_off, bytes);
  return conform_check(c, st == CHX_OK, "copy of %llu bytes from device %d of the pair, offset %llu, to %d, offset %llu, which "
                       "can says works: %s: %s", (unsigned long long)bytes, from, (unsigned long long)src_off, to,
                       (unsigned long long)dst_off, raw_code(st), raw_said());
}

/* ---- the cases ------------------------------------------------------------------------------------------------------------- */

static void answers(conform *c, void *arg)
{
  pair p;
  (void)arg;
  if (!begin(c, &p, 2)) return;
  for (int i = 0; i < 4; i++) {
    int to = i & 1, from = i >> 1;
    chx_status st = can(&p, to, from);
    conform_check(c, st == CHX_OK || st == CHX_EUNSUPPORTED, "can of devices %d and %d of the pair: %s: %s, want %s or %s", to, from,
                  raw_code(st), raw_said(), raw_code(CHX_OK), raw_code(CHX_EUNSUPPORTED));
    for (int again = 0; again < 3; again++)
      conform_check(c, can(&p, to, from) == st, "can of devices %d and %d of the pair was %s, and is another code when asked again", to,
                    from, raw_code(st));
  }
  end(&p);
}

/* Random copies to `to`, whose buffer has the bytes of model[to]. */
static void copies(conform *c, pair *p, int to, chx_buffer b[2], unsigned char *model[2], size_t size, uint64_t *seed)
{
  static const size_t lengths[] = {0, 1, 2, 3, 4, 5, 7, 8, 15, 17, 63, 65, 255, 257, 1023, 4095, 4097};
  enum { COPIES = 60 };
  for (int i = 0; i < COPIES && !c->failures; i++) {
    size_t n = i % 4 ? lengths[raw_random(seed) % (sizeof lengths / sizeof *lengths)] : raw_random(seed) % (size / 2);
    size_t at = raw_random(seed) % (size - n + 1), src = raw_random(seed) % (size - n + 1);
    memcpy(model[to] + at, model[!to] + src, n);
    peer_copy(c, p, to, &b[to], at, !to, &b[!to], src, n);
  }
}

static void odd_copies(conform *c, void *arg)
{
  enum { SIZE = 20011, ROUNDS = 4 };
  static unsigned char bytes[2][SIZE], got[SIZE];
  unsigned char *model[2] = {bytes[0], bytes[1]};
  chx_buffer b[2];
  pair p;
  uint64_t seed = c->seed;
  const int devices = *(const int *)arg;
  if (!begin(c, &p, devices)) return;
  for (int i = 0; i < 2; i++) {
    raw_fill(bytes[i], SIZE, raw_random(&seed));
    if (!raw_alloc(c, &p.at[i], p.q[i], SIZE, &b[i]) || !raw_up(c, &p.at[i], p.q[i], &b[i], 0, bytes[i], SIZE)) return;
  }
  int tried = 0;
  for (int round = 0; round < ROUNDS && !c->failures; round++) {
    const int to = round & 1;
    if (can(&p, to, !to)) continue;
    tried++;
    copies(c, &p, to, b, model, SIZE, &seed);
    raw_sync(c, &p.at[to], p.q[to]); /* before the other device's turn */
    for (int i = 0; i < 2 && !c->failures; i++)
      if (raw_down(c, &p.at[i], p.q[i], &b[i], 0, got, SIZE))
        raw_same(c, i == to ? "copied from another device" : "what was copied to another device", got, bytes[i], SIZE);
  }
  if (!tried) conform_skip(c, "it says that these cannot: %s", raw_said());
  for (int i = 0; i < 2; i++) {
    raw_release(&p.at[i], p.q[i], &b[i]);
    raw_sync(c, &p.at[i], p.q[i]);
  }
  end(&p);
}

/* A copy comes behind the queue's work before it, and before that behind it. */
static void in_order(conform *c, void *arg)
{
  enum { N = 1 << 20, ROUNDS = 6 };
  static raw_gate g;
  static unsigned char want[N], junk[N], got[N];
  chx_buffer x[3], src; /* of device 0; of device 1 */
  pair p;
  (void)arg;
  if (!begin(c, &p, 2)) return;
  if (can(&p, 0, 1)) {
    conform_skip(c, "it says that these cannot: %s", raw_said());
    return end(&p);
  }
  raw *r = &p.at[0];
  if (!raw_alloc(c, &p.at[1], p.q[1], N, &src)) return;
  for (int i = 0; i < 3; i++)
    if (!raw_alloc(c, r, p.q[0], N, &x[i])) return;
  memset(junk, 0x5a, N);
  if (!raw_up(c, r, p.q[0], &x[2], 0, junk, N)) return;
  for (int round = 0; round < ROUNDS && !c->failures; round++) {
    raw_fill(want, N, c->seed + (uint64_t)round);
    if (!raw_up(c, &p.at[1], p.q[1], &src, 0, want, N)) return;
    const bool held = p.q[0] && raw_has_steps(r);
    if (held && !raw_hold(c, r, p.q[0], &g)) return;
    chx_status st = r->o->copy(r->dev, p.q[0], x[0].handle, 0, x[2].handle, 0, N, D2D);
    conform_check(c, st == CHX_OK, "copy on the device: %s: %s", raw_code(st), raw_said());
    peer_copy(c, &p, 0, &x[0], 0, 1, &src, 0, N);
    if (held && g.forced) conform_note(c, "a copy from another device waits for the work before it");
    st = r->o->copy(r->dev, p.q[0], x[1].handle, 0, x[0].handle, 0, N, D2D);
    conform_check(c, st == CHX_OK, "copy on the device: %s: %s", raw_code(st), raw_said());
    if (held) raw_let_go(&g);
    if (raw_down(c, r, p.q[0], &x[1], 0, got, N)) raw_same(c, "copied on behind a copy from another device", got, want, N);
  }
  for (int i = 0; i < 3; i++) raw_release(r, p.q[0], &x[i]);
  raw_sync(c, r, p.q[0]);
  raw_release(&p.at[1], p.q[1], &src);
  raw_sync(c, &p.at[1], p.q[1]);
  end(&p);
}

void conform_peer_cases(conform *c, conform_list *l)
{
  static const int one = 1, two = 2;
  (void)c;
  conform_add(l, "C3", "peer: which devices can", answers, NULL);
  conform_add(l, "C3", "peer: copy of odd sizes and offsets", odd_copies, (void *)&two);
  conform_add(l, "C3", "peer: copy on one device", odd_copies, (void *)&one);
  conform_add(l, "C3", "peer: a copy is in order with the queue", in_order, NULL);
}
