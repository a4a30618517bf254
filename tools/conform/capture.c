/* SPDX-License-Identifier: MIT
 * capture.c: group C7, too: chx.capture/1, where a device offers it. What is captured here is copies, which every backend has,
 * and the one kernel that is the same in all of them, "copy" of dense f32, if it can be.
 */
#include "raw.h"
#include <stdlib.h>
#include <string.h>

enum { N = 1000, H2D = 0, D2H = 1, D2D = 2 };

typedef struct subject { /* the device, a queue of it, three blocks of N floats */
  raw *r;
  const chx_capture_ops *e;
  chx_queue *q;
  chx_buffer b[3];
} subject;

static bool begin(conform *c, subject *t)
{
  static const char *const name = "chx.capture/1";
  t->r = raw_device(c);
  if (!t->r) return false;
  t->e = CHX_HAS(t->r->o, chx_device_ops, extension) ? t->r->o->extension(t->r->dev, name) : NULL;
  if (!t->e) return conform_skip(c, "the device does not offer %s", name), false;
  if (!conform_check(c, CHX_HAS(t->e, chx_capture_ops, begin) && CHX_HAS(t->e, chx_capture_ops, end) &&
                            CHX_HAS(t->e, chx_capture_ops, launch) && CHX_HAS(t->e, chx_capture_ops, drop),
                     "%s lacks begin, end, launch or drop", name) ||
      !conform_check(c, raw_has_queues(t->r), "%s on a device without queues", name) || !raw_queue(c, t->r, &t->q))
    return false;
  for (int i = 0; i < 3; i++)
    if (!raw_alloc(c, t->r, t->q, N * sizeof(float), &t->b[i])) return false;
  return true;
}

static void end(conform *c, subject *t)
{
  for (int i = 0; i < 3; i++) raw_release(t->r, t->q, &t->b[i]);
  raw_sync(c, t->r, t->q);
  raw_queue_free(t->r, t->q);
}

static bool went(conform *c, const char *what, chx_status st)
{
  return conform_check(c, st == CHX_OK, "%s: %s: %s", what, raw_code(st), raw_said());
}

static bool put(conform *c, subject *t, int block, float first)
{
  float x[N];
  for (int i = 0; i < N; i++) x[i] = first + (float)i;
  return raw_up(c, t->r, t->q, &t->b[block], 0, x, sizeof x);
}

/* The block holds first, first + 1, ... */
static bool holds(conform *c, subject *t, chx_queue *q, int block, float first, const char *when)
{
  float x[N];
  int i = 0;
  if (!raw_down(c, t->r, q, &t->b[block], 0, x, sizeof x)) return false;
  while (i < N && x[i] == first + (float)i) i++;
  return conform_check(c, i == N, "%s: element %d of block %d is %g, want %g", when, i, block, i < N ? (double)x[i] : 0,
                       (double)(first + (float)i));
}

static chx_status over(subject *t, int to, int from)
{
  return t->r->o->copy(t->r->dev, t->q, t->b[to].handle, 0, t->b[from].handle, 0, N * sizeof(float), D2D);
}

/* Block 1 = block 0, then block 2 = block 1. NULL: a check has failed. */
static void *chain(conform *c, subject *t)
{
  void *graph = NULL;
  if (!went(c, "begin", t->e->begin(t->r->dev, t->q)) || !went(c, "a copy that is captured", over(t, 1, 0)) ||
      !went(c, "a copy that is captured", over(t, 2, 1)) || !went(c, "end", t->e->end(t->r->dev, t->q, &graph)))
    return NULL;
  return conform_check(c, graph != NULL, "end gave no graph") ? graph : NULL;
}

static bool launched(conform *c, subject *t, chx_queue *q, void *graph)
{
  return went(c, "launch", t->e->launch(t->r->dev, q, graph));
}

/* ---- cases ----------------------------------------------------------------------------------------------------------- */

static void launches(conform *c, void *arg)
{
  subject t = {0};
  (void)arg;
  if (!begin(c, &t)) return;
  for (int i = 0; i < 3; i++)
    if (!put(c, &t, i, (float)(100 * i))) return;
  void *graph = chain(c, &t);
  if (!graph) return;
  holds(c, &t, t.q, 1, 100, "what was recorded was done before a launch");
  holds(c, &t, t.q, 2, 200, "what was recorded was done before a launch");
  for (int i = 1; i < 4; i++)
    if (!put(c, &t, 0, (float)(1000 * i)) || !launched(c, &t, t.q, graph) ||
        !holds(c, &t, t.q, 2, (float)(1000 * i), "after a launch"))
      return;
  put(c, &t, 1, 7);
  holds(c, &t, t.q, 1, 7, "after other work");
  launched(c, &t, t.q, graph);
  holds(c, &t, t.q, 1, 3000, "after a launch");
  t.e->drop(t.r->dev, graph);
  end(c, &t);
}

/* The host's bytes are those of the time of recording, and the caller's again at once. */
static void uploads(conform *c, void *arg)
{
  subject t = {0};
  float *x = malloc(N * sizeof *x);
  void *graph = NULL;
  (void)arg;
  if (!x || !begin(c, &t)) return free(x);
  for (int i = 0; i < N; i++) x[i] = 5 + (float)i;
  bool good = went(c, "begin", t.e->begin(t.r->dev, t.q));
  good = good && went(c, "an upload that is captured", t.r->o->copy(t.r->dev, t.q, t.b[0].handle, 0, x, 0, N * sizeof *x, H2D));
  memset(x, 0xa5, N * sizeof *x);
  good = good && went(c, "a copy that is captured", over(&t, 1, 0)) && went(c, "end", t.e->end(t.r->dev, t.q, &graph));
  free(x);
  for (int i = 0; i < 2 && good; i++)
    good = put(c, &t, 0, -1) && launched(c, &t, t.q, graph) &&
           holds(c, &t, t.q, 1, 5, "bytes that were overwritten after copy had returned");
  if (!good) return;
  t.e->drop(t.r->dev, graph);
  end(c, &t);
}

static void forgotten(conform *c, void *arg)
{
  subject t = {0};
  (void)arg;
  if (!begin(c, &t)) return;
  for (int i = 0; i < 4; i++) {
    put(c, &t, 0, 1);
    put(c, &t, 1, 2);
    if (!went(c, "begin", t.e->begin(t.r->dev, t.q)) || !went(c, "a copy that is captured", over(&t, 1, 0))) return;
    if (!went(c, "end without a place for the graph", t.e->end(t.r->dev, t.q, NULL))) return;
    holds(c, &t, t.q, 1, 2, "what was forgotten was done");
    went(c, "a copy", over(&t, 1, 0));
    if (!holds(c, &t, t.q, 1, 1, "a copy after a capture that was forgotten was not done")) return;
  }
  end(c, &t);
}

static void dropped(conform *c, void *arg)
{
  subject t = {0};
  (void)arg;
  if (!begin(c, &t)) return;
  for (int i = 0; i < 50; i++) {
    if (!put(c, &t, 0, (float)i)) return;
    void *graph = chain(c, &t);
    if (!graph) return;
    for (int k = 0; k < 8; k++)
      if (!launched(c, &t, t.q, graph)) return;
    t.e->drop(t.r->dev, graph); /* in flight */
    if (!holds(c, &t, t.q, 2, (float)i, "launches whose graph was dropped")) return;
  }
  void *unused = chain(c, &t);
  if (unused) t.e->drop(t.r->dev, unused);
  end(c, &t);
}

static void queues(conform *c, void *arg)
{
  subject t = {0};
  chx_queue *other = NULL;
  (void)arg;
  if (!begin(c, &t)) return;
  void *graph = chain(c, &t);
  if (!graph || !raw_queue(c, t.r, &other)) return;
  const chx_device_ops *o = t.r->o;
  for (int i = 0; i < 10; i++) {
    if (!put(c, &t, 0, (float)(10 * i)) || !launched(c, &t, other, graph)) return;
    if (!holds(c, &t, other, 2, (float)(10 * i), "launched on another queue")) return;
    if (!CHX_HAS(o, chx_device_ops, queue_wait)) continue;
    put(c, &t, 0, (float)i);
    if (!launched(c, &t, t.q, graph) || o->queue_wait(t.r->dev, other, t.q, o->queue_mark(t.r->dev, t.q))) return;
    if (!launched(c, &t, other, graph) || !holds(c, &t, other, 2, (float)i, "launched on two queues, in order")) return;
  }
  raw_queue_free(t.r, t.q); /* where it was recorded */
  t.q = other;
  put(c, &t, 0, 77);
  launched(c, &t, other, graph);
  holds(c, &t, other, 2, 77, "launched after the queue of its recording was freed");
  t.e->drop(t.r->dev, graph);
  end(c, &t);
}

static bool refused(conform *c, const char *what, chx_status st)
{
  const char *sentence = raw_said();
  return conform_check(c, st > CHX_OK, "%s while recording: %s, want an error", what, raw_code(st)) &&
         conform_check(c, sentence[0], "%s while recording: %s, and no sentence", what, raw_code(st));
}

/* What a queue that records refuses, and what goes on. */
static void meanwhile(conform *c, void *arg)
{
  subject t = {0};
  chx_queue *other = NULL;
  float x[N];
  void *graph = NULL, *before;
  (void)arg;
  if (!begin(c, &t) || !(before = chain(c, &t)) || !raw_queue(c, t.r, &other) || !put(c, &t, 0, 3)) return;
  const chx_device_ops *o = t.r->o;
  const uint64_t point = o->queue_mark(t.r->dev, t.q);
  if (!went(c, "begin", t.e->begin(t.r->dev, t.q)) || !went(c, "a copy that is captured", over(&t, 1, 0))) return;
  const uint64_t now = o->queue_mark(t.r->dev, t.q);
  conform_check(c, now == point, "the point is %llu while recording, it was %llu", (unsigned long long)now, (unsigned long long)point);
  went(c, "sync of a point before", o->queue_sync(t.r->dev, t.q, point, INT64_MAX));
  if (CHX_HAS(o, chx_device_ops, queue_wait))
    went(c, "another queue's wait for a point before", o->queue_wait(t.r->dev, other, t.q, point));
  raw_said();
  refused(c, "a copy to the host", o->copy(t.r->dev, t.q, x, 0, t.b[0].handle, 0, sizeof x, D2H));
  refused(c, "a second begin", t.e->begin(t.r->dev, t.q));
  refused(c, "a launch", t.e->launch(t.r->dev, t.q, before));
  refused(c, "a copy in no direction", o->copy(t.r->dev, t.q, t.b[1].handle, 0, t.b[0].handle, 0, sizeof x, 99));
  chx_buffer spare;
  if (raw_alloc(c, t.r, t.q, 4096, &spare)) raw_release(t.r, t.q, &spare);
  if (!went(c, "end after what was refused", t.e->end(t.r->dev, t.q, &graph)) || !launched(c, &t, t.q, graph)) return;
  holds(c, &t, t.q, 1, 3, "a launch of what was recorded beside it");
  launched(c, &t, t.q, graph); /* again: the spare block is no part of it */
  holds(c, &t, t.q, 1, 3, "the second launch");
  raw_said();
  chx_status st = t.e->end(t.r->dev, t.q, &graph);
  conform_check(c, st > CHX_OK && raw_said()[0], "end on a queue that does not record: %s, want an error and a sentence", raw_code(st));
  t.e->drop(t.r->dev, graph);
  t.e->drop(t.r->dev, before);
  raw_queue_free(t.r, other);
  end(c, &t);
}

/* A kernel that says it can be captured. */
static void kernel(conform *c, void *arg)
{
  static const int64_t shape = N, step = 1;
  subject t = {0};
  const chx_kernel *k = NULL;
  void *graph = NULL;
  (void)arg;
  if (!begin(c, &t)) return;
  for (uint32_t i = 0; (k = t.r->o->kernel(t.r->dev, i)); i++)
    if (!strcmp(k->op, "copy") && k->flags & CHX_K_CAPTURABLE && k->dtypes_in & CHX_BIT(CHX_F32) && !CHX_HAS(k, chx_kernel, prepare)) break;
  if (!k) {
    conform_skip(c, "no kernel of copy says CHX_K_CAPTURABLE");
    return end(c, &t);
  }
  chx_tensor in = {.data = t.b[0].handle, .dl_type = t.r->info.dl_type, .dl_id = t.r->info.dl_id, .ndim = 1, .code = 2, .bits = 32,
                   .lanes = 1, .shape = &shape, .strides = &step, .buf = t.b[0].handle,
                   .flags = CHX_T_CONTIGUOUS | (uint64_t)CHX_F32 << 8, .extent = N * sizeof(float)};
  chx_tensor out = in;
  out.data = out.buf = t.b[1].handle;
  const chx_call call = {.size = sizeof call, .op_version = 1, .dev = t.r->dev, .queue = t.q, .in = &in, .out = &out, .n_in = 1,
                         .n_out = 1};
  if (CHX_HAS(k, chx_kernel, accepts) && k->accepts(k->self, &call)) {
    conform_skip(c, "its kernel of copy does not take dense f32");
    return end(c, &t);
  }
  put(c, &t, 1, 2);
  if (!went(c, "begin", t.e->begin(t.r->dev, t.q)) || !went(c, "a kernel that is captured", k->run(k->self, &call)) ||
      !went(c, "end", t.e->end(t.r->dev, t.q, &graph)))
    return;
  memset(&in, 0xa5, sizeof in); /* metadata is the call's */
  holds(c, &t, t.q, 1, 2, "a kernel that was recorded was run before a launch");
  for (int i = 0; i < 3; i++)
    if (!put(c, &t, 0, (float)i) || !launched(c, &t, t.q, graph) || !holds(c, &t, t.q, 1, (float)i, "a launch of a kernel")) return;
  t.e->drop(t.r->dev, graph);
  end(c, &t);
}

void conform_capture_cases(conform *c, conform_list *l)
{
  (void)c;
  conform_add(l, "C7", "capture: a launch does it on what is there", launches, NULL);
  conform_add(l, "C7", "capture: uploads are taken when recorded", uploads, NULL);
  conform_add(l, "C7", "capture: one that is forgotten", forgotten, NULL);
  conform_add(l, "C7", "capture: dropped with launches in flight", dropped, NULL);
  conform_add(l, "C7", "capture: on several queues", queues, NULL);
  conform_add(l, "C7", "capture: what a recording queue refuses", meanwhile, NULL);
  conform_add(l, "C7", "capture: a kernel", kernel, NULL);
}
