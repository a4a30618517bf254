/* SPDX-License-Identifier: MIT
 * ends.c: the part of group C4 that is about how work ends: by an error that comes late and sticks, and by a device that is closed
 * behind work or behind such an error. Closing ends the device that the group's cases share; the next one opens it anew.
 */
#include "raw.h"
#include <chx/attr.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { H2D, D2H, D2D, N = 1 << 20 };

/* Bytes up and down again, in a queue of their own. */
static void works(conform *c, raw *r, const char *when)
{
  static unsigned char up[4099], down[sizeof up];
  chx_queue *q;
  chx_buffer b;
  raw_fill(up, sizeof up, c->seed);
  if (!raw_queue(c, r, &q) || !raw_alloc(c, r, q, sizeof up, &b)) return;
  if (raw_up(c, r, q, &b, 0, up, sizeof up) && raw_down(c, r, q, &b, 0, down, sizeof up)) raw_same(c, when, down, up, sizeof up);
  raw_release(r, q, &b);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

/* ---- an error that comes late ------------------------------------------------------------------------------------------------ */

typedef struct late { /* take of index 1000 from 5 elements */
  const chx_kernel *k;
  chx_buffer b[3], work;
  chx_call call;
  chx_tensor in[2], out;
} late;

static const chx_kernel *find_take(const raw *r)
{
  const chx_kernel *k;
  for (uint32_t i = 0; (k = r->o->kernel(r->dev, i)); i++)
    if (!strcmp(k->op, "take") && k->dtypes_in & CHX_BIT(CHX_F32) && k->dtypes_in & CHX_BIT(CHX_I64) &&
        k->dtypes_out & CHX_BIT(CHX_F32))
      return k;
  return NULL;
}

static chx_tensor tensor_of(const raw *r, const chx_buffer *b, const int64_t *length, int dtype)
{
  static const int64_t one = 1;
  const bool f32 = dtype == CHX_F32;
  return (chx_tensor){.data = b->handle, .dl_type = r->info.dl_type, .dl_id = r->info.dl_id, .ndim = 1, .code = f32 ? 2 : 0,
                      .bits = f32 ? 32 : 64, .lanes = 1, .shape = length, .strides = &one, .buf = b->handle,
                      .flags = CHX_T_CONTIGUOUS | (uint64_t)dtype << 8, .extent = (uint64_t)*length * (f32 ? 4 : 8)};
}

/* Queues it. False: the case is skipped, or failed. */
static bool fail_late(conform *c, raw *r, chx_queue *q, late *l)
{
  static const int64_t five = 5, one = 1, index = 1000;
  static const chx_axis_attr attr = {.size = sizeof attr, .axis = 0};
  static const float x[5] = {10, 11, 12, 13, 14};
  uint64_t workspace = 0;
  *l = (late){.k = find_take(r)};
  if (!l->k) {
    conform_skip(c, "the plugin has no kernel of take, whose indices may be wrong");
    return false;
  }
  if (!raw_alloc(c, r, q, sizeof x, &l->b[0]) || !raw_alloc(c, r, q, sizeof index, &l->b[1]) ||
      !raw_alloc(c, r, q, sizeof x, &l->b[2]) || !raw_up(c, r, q, &l->b[0], 0, x, sizeof x) ||
      !raw_up(c, r, q, &l->b[1], 0, &index, sizeof index))
    return false;
  l->in[0] = tensor_of(r, &l->b[0], &five, CHX_F32);
  l->in[1] = tensor_of(r, &l->b[1], &one, CHX_I64);
  l->out = tensor_of(r, &l->b[2], &one, CHX_F32);
  l->call = (chx_call){.size = sizeof l->call, .op_version = 1, .dev = r->dev, .queue = q, .in = l->in, .out = &l->out, .n_in = 2,
                       .n_out = 1, .attr = &attr};
  raw_said();
  chx_status st = CHX_HAS(l->k, chx_kernel, accepts) ? l->k->accepts(l->k->self, &l->call) : CHX_OK;
  if (!st && CHX_HAS(l->k, chx_kernel, prepare)) st = l->k->prepare(l->k->self, &l->call, &l->call.plan, &workspace);
  if (!st && workspace && raw_alloc(c, r, q, workspace, &l->work)) {
    l->call.workspace = l->work.handle;
    l->call.workspace_bytes = workspace;
  }
  if (!st) st = l->k->run(l->k->self, &l->call);
  if (!st) return true;
  conform_skip(c, "its take says at once that it does not: %s: %s", raw_code(st), raw_said());
  return false;
}

static void give_back(raw *r, chx_queue *q, late *l)
{
  if (l->k && l->call.plan && CHX_HAS(l->k, chx_kernel, drop)) l->k->drop(l->k->self, l->call.plan);
  for (int i = 0; i < 3; i++) raw_release(r, q, &l->b[i]);
  raw_release(r, q, &l->work);
}

/* Waiting for the queue says so, each time; other queues are not concerned. */
static void sticks(conform *c, void *arg)
{
  static unsigned char up[N];
  chx_queue *q, *other;
  late l;
  chx_buffer b;
  raw *r = raw_begin_queued(c, &q);
  (void)arg;
  if (!r || !raw_queue(c, r, &other)) return;
  if (fail_late(c, r, q, &l)) {
    for (int i = 0; i < 4; i++) {
      raw_said();
      if (i == 2 && raw_alloc(c, r, other, N, &b)) { /* what comes behind it may be refused, and does not make it good */
        r->o->copy(r->dev, q, b.handle, 0, up, 0, N, H2D);
        raw_said();
      }
      chx_status st = r->o->queue_sync(r->dev, q, r->o->queue_mark(r->dev, q), i == 1 ? 0 : INT64_MAX);
      conform_check(c, st == CHX_EARG, "sync number %d of a queue in which take met index 1000 of 5 elements: %s, want %s%s", i + 1,
                    raw_code(st), raw_code(CHX_EARG), i ? ", as the first" : "");
      conform_check(c, raw_said()[0], "sync number %d of a queue that has failed: %s, and no sentence by host->fail", i + 1, raw_code(st));
    }
    works(c, r, "copied in a queue beside one that has failed");
    raw_release(r, NULL, &b);
  }
  give_back(r, q, &l);
  raw_queue_free(r, q);
  raw_sync(c, r, other);
  raw_queue_free(r, other);
}

/* ---- close ---------------------------------------------------------------------------------------------------------------------- */

static void *open_gate(void *arg)
{
  nanosleep(&(struct timespec){0, 300000000}, NULL);
  raw_let_go(arg);
  return NULL;
}

/* All that was queued is released and the queue freed, but nobody has waited. Closing does, or drops it: nothing goes on. */
static void closed_behind_work(conform *c, void *arg)
{
  static raw_gate g;
  static unsigned char up[N];
  chx_queue *q;
  chx_buffer b[2];
  pthread_t opener;
  raw *r = raw_begin_queued(c, &q);
  (void)arg;
  if (!r) return;
  raw_queue_free(r, q);
  for (int round = 0; round < 3 && !c->failures; round++) {
    int before = 0;
    raw_end_device();
    before = raw_threads_here(INT_MAX);
    if (!(r = raw_device(c)) || !raw_queue(c, r, &q)) return;
    for (int i = 0; i < 2; i++)
      if (!raw_alloc(c, r, q, N, &b[i]) || !raw_up(c, r, q, &b[i], 0, up, N)) return;
    const bool held = raw_has_steps(r) && raw_hold(c, r, q, &g) && raw_begun(c, &g);
    const bool opens = held && !pthread_create(&opener, NULL, open_gate, &g);
    if (held && !opens) raw_let_go(&g);
    for (int i = 0; i < 50; i++) {
      chx_status st = r->o->copy(r->dev, q, b[i & 1].handle, 0, b[!(i & 1)].handle, 0, N, D2D);
      if (!conform_check(c, st == CHX_OK, "copy on the device: %s: %s", raw_code(st), raw_said())) break;
    }
    for (int i = 0; i < 2; i++) raw_release(r, q, &b[i]);
    raw_queue_free(r, q);
    raw_end_device();
    const bool done = g.done; /* what has begun cannot be dropped */
    if (opens) pthread_join(opener, NULL);
    const int after = raw_threads_here(before);
    conform_check(c, !held || done, "the device and the plugin are closed, and a host step of a queue that was freed before goes on");
    conform_check(c, after <= before, "the plugin is closed, and there are %d threads, there were %d", after, before);
  }
  if ((r = raw_device(c))) works(c, r, "when it was opened again");
}

/* Nobody has waited for a queue that has failed: that is over when the device is opened again. */
static void closed_behind_error(conform *c, void *arg)
{
  chx_queue *q;
  late l;
  raw *r = raw_begin_queued(c, &q);
  (void)arg;
  for (int round = 0; r && round < 2 && !c->failures; round++) {
    bool queued = fail_late(c, r, q, &l);
    give_back(r, q, &l);
    raw_queue_free(r, q);
    raw_end_device();
    if (!queued || !(r = raw_device(c))) return;
    works(c, r, "opened again after a late error of which nobody had heard");
    if (!raw_queue(c, r, &q)) return;
  }
  if (r) raw_queue_free(r, q);
}

void conform_end_cases(conform *c, conform_list *l)
{
  (void)c;
  conform_add(l, "C4", "a late error sticks to its queue", sticks, NULL);
  conform_add(l, "C4", "closed behind work in flight", closed_behind_work, NULL);
  conform_add(l, "C4", "closed behind a late error", closed_behind_error, NULL);
}
