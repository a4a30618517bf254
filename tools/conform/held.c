/* SPDX-License-Identifier: MIT
 * held.c: the part of group C4 that is about a queue with work in it: a kernel is called, memory is released, another
 * queue goes on beside it or waits for it.
 */
#include "raw.h"
#include <chx/attr.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { H2D, D2H, D2D, ROWS = 31, COLS = 33, ELEMENTS = ROWS * COLS, BLOCK = 1 << 20, COPIES = 60 };

/* ---- a kernel ------------------------------------------------------------------------------------------------------ */

/* Operators of one operand that give x or -x for positive x. */
static const struct held_op { const char *op; float sign; } held_ops[] = {
  {"copy", 1}, {"neg", -1}, {"relu", 1}, {"abs", 1}, {"map", -1 /* of a program that says neg */}};

/* One that takes f32; *o says which. NULL: there is none. */
static const chx_kernel *find_kernel(raw *r, const struct held_op **o)
{
  const chx_kernel *k;
  for (size_t i = 0; i < sizeof held_ops / sizeof *held_ops; i++)
    for (uint32_t n = 0; (k = r->o->kernel(r->dev, n)); n++)
      if (!strcmp(k->op, held_ops[i].op) && k->dtypes_in & k->dtypes_out & CHX_BIT(CHX_F32) &&
          (!k->max_rank || k->max_rank > 1)) {
        *o = &held_ops[i];
        return k;
      }
  return NULL;
}

/* Plans, then runs the call behind the gate. CHX_DECLINED: the kernel does not want it. */
static chx_status call_held(conform *c, raw *r, const chx_kernel *k, chx_call *call, raw_gate *g)
{
  uint64_t workspace = 0;
  chx_buffer w = {0};
  raw_said();
  chx_status st = CHX_HAS(k, chx_kernel, accepts) ? k->accepts(k->self, call) : CHX_OK;
  bool planned = !st && CHX_HAS(k, chx_kernel, prepare);
  if (planned) st = k->prepare(k->self, call, &call->plan, &workspace);
  if (!st && workspace && raw_alloc(c, r, call->queue, workspace, &w)) {
    call->workspace = w.handle;
    call->workspace_bytes = workspace;
  }
  if (!st && raw_hold(c, r, call->queue, g)) {
    st = k->run(k->self, call);
    conform_check(c, !g->forced, "info claims CHX_D_ASYNC, and a call of %s, which does not say CHX_K_BLOCKS, waited for "
                                 "the work before it", k->op);
    conform_check(c, st == CHX_OK || st == CHX_DECLINED, "%s behind work in the queue: %s: %s", k->op, raw_code(st),
                  raw_said());
    raw_let_go(g);
  }
  raw_sync(c, r, call->queue);
  if (planned && CHX_HAS(k, chx_kernel, drop)) k->drop(k->self, call->plan);
  raw_release(r, call->queue, &w);
  return st;
}

static chx_tensor tensor_of(const raw *r, const chx_buffer *b)
{
  static const int64_t shape[2] = {ROWS, COLS}, strides[2] = {COLS, 1};
  return (chx_tensor){.data = b->handle, .dl_type = r->info.dl_type, .dl_id = r->info.dl_id, .ndim = 2, .code = 2, .bits = 32,
                      .lanes = 1, .shape = shape, .strides = strides, .buf = b->handle,
                      .flags = CHX_T_CONTIGUOUS | (uint64_t)CHX_F32 << 8, .extent = ELEMENTS * sizeof(float)};
}

static void kernel_call(conform *c, void *arg)
{
  static raw_gate g;
  static _Alignas(16) char room[8192]; /* a later core's attribute: zeros behind today's */
  chx_map_attr *attr = (chx_map_attr *)(void *)room;
  const struct held_op *o = held_ops;
  float x[ELEMENTS], y[ELEMENTS];
  chx_queue *q;
  chx_buffer b[2];
  raw *r = raw_begin_queued(c, &q);
  (void)arg;
  if (!r) return;
  const chx_kernel *k = find_kernel(r, &o);
  if (!(r->info.flags & CHX_D_ASYNC) || !raw_has_steps(r)) {
    conform_skip(c, "the device does not claim to be asynchronous, or takes no host steps to see it by");
  } else if (!k || k->attr_size > sizeof room || k->flags & CHX_K_BLOCKS) {
    conform_skip(c, "it has no kernel of copy, neg, relu, abs or map for f32, or it says CHX_K_BLOCKS");
  } else {
    for (int i = 0; i < ELEMENTS; i++) x[i] = 1 + (float)i / 8, y[i] = 0;
    for (int i = 0; i < 2; i++)
      if (!raw_alloc(c, r, q, sizeof x, &b[i]) || !raw_up(c, r, q, &b[i], 0, i ? y : x, sizeof x)) return;
    *attr = CHX_ATTR(map);
    attr->size = k->attr_size > sizeof *attr ? k->attr_size : sizeof *attr;
    attr->program.n = 1;
    memcpy(attr->program.step[0].op, "neg", 4);
    const chx_tensor in = tensor_of(r, &b[0]);
    chx_tensor out = tensor_of(r, &b[1]);
    chx_call call = {.size = sizeof call, .op_version = 1, .dev = r->dev, .queue = q, .in = &in, .out = &out, .n_in = 1,
                     .n_out = 1, .attr = strcmp(k->op, "map") ? NULL : attr};
    chx_status st = call_held(c, r, k, &call, &g);
    if (st == CHX_DECLINED) conform_skip(c, "its kernel of %s declined", k->op);
    for (int i = 0; i < ELEMENTS; i++) x[i] *= o->sign;
    if (!st && raw_down(c, r, q, &b[1], 0, y, sizeof y)) raw_same(c, k->op, y, x, sizeof x);
    for (int i = 0; i < 2; i++) raw_release(r, q, &b[i]);
    raw_sync(c, r, q);
  }
  raw_queue_free(r, q);
}

/* ---- a host step of another queue -------------------------------------------------------------------------------------- */

struct behind { /* a host step behind a wait for a queue that is held */
  raw_gate held;
  _Atomic int n, too_early;
};

static void step_behind(void *arg)
{
  struct behind *b = arg;
  b->too_early += !b->held.done;
  b->n++;
}

static void steps_across(conform *c, void *arg)
{
  enum { ROUNDS = 5 };
  static struct behind b;
  chx_queue *q[2];
  raw *r = raw_begin_queued(c, &q[0]);
  (void)arg;
  if (!r) return;
  if (!raw_has_steps(r) || !CHX_HAS(r->o, chx_device_ops, queue_wait)) {
    conform_skip(c, "the device has no queue_call or no queue_wait");
    raw_queue_free(r, q[0]);
    return;
  }
  if (!raw_queue(c, r, &q[1])) return;
  for (int i = 0; i < ROUNDS; i++) {
    if (!raw_hold(c, r, q[0], &b.held)) return;
    chx_status st = r->o->queue_wait(r->dev, q[1], q[0], r->o->queue_mark(r->dev, q[0]));
    conform_check(c, st == CHX_OK, "queue_wait: %s: %s", raw_code(st), raw_said());
    st = r->o->queue_call(r->dev, q[1], step_behind, &b);
    conform_check(c, st == CHX_OK, "queue_call: %s: %s", raw_code(st), raw_said());
    nanosleep(&(struct timespec){0, 20000000}, NULL); /* time to do it too early */
    raw_let_go(&b.held);
    raw_sync(c, r, q[1]);
  }
  conform_check(c, !b.too_early, "%d of %d host steps behind a wait for another queue came before that queue's step had ended",
                b.too_early, ROUNDS);
  conform_check(c, b.n == ROUNDS, "sync came back, and %d of %d host steps were done", b.n, ROUNDS);
  raw_queue_free(r, q[0]);
  raw_queue_free(r, q[1]);
}

/* ---- memory -------------------------------------------------------------------------------------------------------- */

static bool copied(conform *c, raw *r, chx_queue *q, void *dst, const void *src, uint32_t dir)
{
  chx_status st = r->o->copy(r->dev, q, dst, 0, src, 0, BLOCK, dir);
  return conform_check(c, st == CHX_OK, "copy: %s: %s", raw_code(st), raw_said());
}

/* What was released behind queued work does not get to another queue before that work is done. */
static void released(conform *c, void *arg)
{
  static raw_gate g;
  static unsigned char want[BLOCK], bytes[BLOCK];
  enum { N = 4 };
  chx_queue *q, *other;
  raw *r = raw_begin_queued(c, &q);
  chx_buffer keep, b, next[N];
  (void)arg;
  if (!r || !raw_queue(c, r, &other) || !raw_alloc(c, r, q, BLOCK, &keep) || !raw_alloc(c, r, q, BLOCK, &b)) return;
  raw_fill(want, BLOCK, c->seed);
  if (!raw_up(c, r, q, &b, 0, want, BLOCK)) return;
  if (raw_has_steps(r) && !raw_hold(c, r, q, &g)) return;
  for (int i = 0; i < COPIES; i++)
    if (!copied(c, r, q, keep.handle, b.handle, D2D)) return;
  raw_release(r, q, &b);
  memset(bytes, 0x5a, BLOCK);
  for (int i = 0; i < N; i++)
    if (!raw_alloc(c, r, other, BLOCK, &next[i]) || !copied(c, r, other, next[i].handle, bytes, H2D)) return;
  raw_sync(c, r, other);
  if (raw_has_steps(r)) {
    if (g.forced) conform_note(c, "memory for one queue waits for the work of another");
    raw_let_go(&g);
  }
  if (raw_sync(c, r, q) && raw_down(c, r, q, &keep, 0, bytes, BLOCK))
    raw_same(c, "copied from memory that was released behind the copy, while another queue took memory", bytes, want, BLOCK);
  for (int i = 0; i < N; i++) raw_release(r, other, &next[i]);
  raw_release(r, q, &keep);
  raw_sync(c, r, q);
  raw_sync(c, r, other);
  raw_queue_free(r, q);
  raw_queue_free(r, other);
}

void conform_held_cases(conform *c, conform_list *l)
{
  (void)c;
  conform_add(l, "C4", "a kernel call does not wait", kernel_call, NULL);
  conform_add(l, "C4", "a host step waits for another queue", steps_across, NULL);
  conform_add(l, "C4", "released memory stays until queued work is done", released, NULL);
}
