/* SPDX-License-Identifier: MIT
 * gate.c: holds a queue: a host step (queue_call) that waits until the case lets it go, so that what must not wait for
 * queued work shows by itself, and not by a clock.
 */
#include "raw.h"
#include <errno.h>
#include <string.h>
#include <time.h>

enum { GATE_S = 10 };

static void gate_step(void *arg)
{
  raw_gate *g = arg;
  struct timespec until;
  g->begun = 1;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += GATE_S;
  while (sem_timedwait(&g->open, &until))
    if (errno == ETIMEDOUT) {
      g->forced = 1;
      break;
    }
  g->done = 1;
}

bool raw_has_steps(const raw *r) { return CHX_HAS(r->o, chx_device_ops, queue_call); }

bool raw_hold(conform *c, raw *r, chx_queue *q, raw_gate *g)
{
  memset(g, 0, sizeof *g);
  sem_init(&g->open, 0, 0);
  chx_status st = r->o->queue_call(r->dev, q, gate_step, g);
  return conform_check(c, st == CHX_OK, "queue_call: %s: %s", raw_code(st), raw_said()) &&
         conform_check(c, !g->done, "queue_call ran the step before it returned, so the caller waited for it");
}

bool raw_begun(conform *c, raw_gate *g)
{
  const double t = raw_now();
  while (!g->begun && raw_now() - t < GATE_S) nanosleep(&(struct timespec){0, 100000}, NULL);
  return conform_check(c, g->begun, "a host step that nothing is in front of does not begin in %d s", GATE_S);
}

void raw_let_go(raw_gate *g) { sem_post(&g->open); }
