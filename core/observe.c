/* SPDX-License-Identifier: MIT
 * observe.c: who watches operator calls: the trace of the log, and the function that chx_set_observer was given. Where
 * there is neither, a call costs the one branch in chx_apply.
 */
#include "runtime.h"
#include <stdio.h>

atomic_int chxi_watched;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the pair; not held while it is called */
CHXI_FORK_GUARD(CHXI_FORK_PLAIN, &lock, 1)
static chx_observer observer;
static void *observer_ctx;
static _Thread_local bool observing; /* what the observer itself calls is not told to it */
static _Thread_local int depth;      /* of operators that are being told of */

void chxi_watch(int by, bool on)
{
  if (on)
    atomic_fetch_or(&chxi_watched, by);
  else
    atomic_fetch_and(&chxi_watched, ~by);
}

void chx_set_observer(chx_observer fn, void *ctx)
{
  pthread_mutex_lock(&lock);
  observer = fn;
  observer_ctx = ctx;
  chxi_watch(CHXI_WATCH_OBSERVER, fn != NULL);
  pthread_mutex_unlock(&lock);
}

static void trace(const chxi_call *c)
{
  char text[512], shape[128];
  int n = snprintf(text, sizeof text, "%s %s", c->dev->spec, c->op->name);
  for (int i = 0; i < c->n_in && n < 400; i++)
    if (c->in[i])
      n += snprintf(text + n, sizeof text - (size_t)n, " %s%s", chx_dtype_name(c->in[i]->dtype),
                    chxi_shape_text(shape, c->in[i]->t.ndim, c->in[i]->shape));
  chxi_log(3, "%s -> %s%s, %s", text, chx_dtype_name(c->y[0]->dtype),
           chxi_shape_text(shape, c->y[0]->t.ndim, c->y[0]->shape), chx_route_name(c->route));
}

/* In the call's scope, on the state of a call of the user's own: what fn makes goes, and nothing of it is recorded. */
static bool tell(chxi_call *c, chx_observer fn, void *ctx, int done)
{
  chx_scope *s = c->s;
  const size_t mark = s->n;
  const int mode = s->grad_mode, policy = s->policy;
  chxi_device *home = s->dev;
  const bool ran = done > 0;
  chx_observation o = {.size = sizeof o, .done = done, .depth = depth, .op = c->op, .attr = c->attr, .in = c->in,
                       .n_in = c->n_in, .out = ran ? c->y : NULL, .n_out = ran ? c->n_out : 0, .device = c->dev->spec,
                       .route = ran ? c->route : CHX_ROUTE_NONE};
  observing = true;
  s->grad_mode = CHX_GRAD_OFF;
  s->policy = CHX_FALLBACK_ALLOW;
  s->dev = c->dev;
  fn(ctx, s, &o);
  s->dev = home;
  s->policy = policy;
  s->grad_mode = mode;
  observing = false;
  if (s->n > mark) chx_scope_rewind(s, mark, NULL);
  return !s->error;
}

bool chxi_observe(chxi_call *c, int done)
{
  const int by = atomic_load(&chxi_watched);
  bool good = true;
  if (observing) return true;
  if (done) depth--;
  if (by & CHXI_WATCH_OBSERVER) {
    pthread_mutex_lock(&lock);
    chx_observer fn = observer;
    void *ctx = observer_ctx;
    pthread_mutex_unlock(&lock);
    if (fn) good = tell(c, fn, ctx, done);
  }
  if (by & CHXI_WATCH_TRACE && done > 0 && good) trace(c);
  if (!done) depth++;
  return good;
}
