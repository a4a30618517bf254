/* SPDX-License-Identifier: MIT
 * guard.c: one kernel call in memory that shows whatever the kernel does outside its operands.
 *
 * Each operand is moved to an allocation of its own: red zones of junk on both sides and, on a host device, a closed
 * page right behind or right before it. Outputs and workspace are junk. After the call everything is read back: inputs,
 * red zones and the gaps between an output's elements must be as they were. The call is then made again with other
 * junk, and must give the same bits. Only then the outputs go where libchx wants them.
 */
#include "watch.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ZONE = 256, PAGE = 4096, MOST = 24, WAIT_S = 60 };
static const unsigned char junk[2] = {0xff /* NaN in every floating dtype */, 0x4b};

typedef struct image {
  const chx_tensor *real; /* NULL: the workspace */
  uint64_t bytes;         /* of the operand, from its first to its last element */
  int64_t low;            /* of its first byte, from data + byte_offset */
  uint64_t lead, total;   /* red zone before it; with both zones */
  int same_as;            /* an output in place of this operand; -1: none */
  bool out, at_end;
  unsigned char *was, *now, *first, *mask; /* host copies of `total` bytes; mask: 1 where an output's element is */
} image;

static struct slot { /* memory that is used again by later calls */
  chx_buffer b;
  char *pages; /* host devices */
  uint64_t room;
  unsigned char *host[4];
  uint64_t host_room;
} slots[MOST];
static unsigned n_calls;

/* ---- operands -------------------------------------------------------------------------------------------------------- */

static uint64_t element_bytes(const chx_tensor *t) { return (uint64_t)t->bits * t->lanes / 8; }

/* Bytes [*low, *low + *bytes) around data + byte_offset hold all elements. */
static void span(const chx_tensor *t, int64_t *low, uint64_t *bytes)
{
  int64_t size = (int64_t)element_bytes(t), lo = 0, hi = size;
  *low = 0;
  *bytes = 0;
  for (int i = 0; i < t->ndim; i++) {
    if (!t->shape[i]) return;
    int64_t reach = (t->shape[i] - 1) * t->strides[i] * size;
    if (reach < 0) lo += reach;
    else hi += reach;
  }
  *low = lo;
  *bytes = (uint64_t)(hi - lo);
}

/* Sets mask where t has elements. */
static void mark(const chx_tensor *t, int axis, unsigned char *at)
{
  int64_t size = (int64_t)element_bytes(t);
  if (axis == t->ndim) {
    memset(at, 1, (size_t)size);
    return;
  }
  if (axis == t->ndim - 1 && t->strides[axis] == 1) {
    memset(at, 1, (size_t)(size * t->shape[axis]));
    return;
  }
  for (int64_t k = 0; k < t->shape[axis]; k++) mark(t, axis + 1, at + k * t->strides[axis] * size);
}

static bool same_view(const chx_tensor *a, const chx_tensor *b)
{
  if (a->flags & (CHX_T_ABSENT | CHX_T_HOST_SCALAR) || a->ndim != b->ndim || a->bits != b->bits) return false;
  if ((char *)a->data + a->byte_offset != (char *)b->data + b->byte_offset) return false;
  for (int i = 0; i < a->ndim; i++)
    if (a->shape[i] != b->shape[i] || (a->strides[i] != b->strides[i] && a->shape[i] > 1)) return false;
  return true;
}

/* ---- memory ------------------------------------------------------------------------------------------------------------ */

static chx_status copy(const chx_call *call, void *dst, uint64_t dst_off, const void *src, uint64_t src_off,
                       uint64_t bytes, uint32_t dir)
{
  if (!bytes) return CHX_OK;
  if (watch_host) return memcpy((char *)dst + dst_off, (const char *)src + src_off, bytes), CHX_OK;
  return watch_ops->copy(call->dev, call->queue, dst, dst_off, src, src_off, bytes, dir);
}

static chx_status finish(const chx_kernel *k, const chx_call *call)
{
  if (!call->queue) return CHX_OK;
  uint64_t point = watch_ops->queue_mark(call->dev, call->queue);
  chx_status st = watch_ops->queue_sync(call->dev, call->queue, point, (int64_t)WAIT_S * 1000000000);
  if (st == CHX_NOT_READY) watch_report("%s: not done after %d s", k->op, WAIT_S);
  return st == CHX_NOT_READY ? CHX_EFAILED : st;
}

static bool host_room(struct slot *m, uint64_t bytes)
{
  if (bytes <= m->host_room) return true;
  for (int i = 0; i < 4; i++) {
    free(m->host[i]);
    if (!(m->host[i] = malloc(bytes))) return m->host_room = 0, false;
  }
  m->host_room = bytes;
  return true;
}

/* Device memory of at least `bytes` in m. */
static chx_status room_for(const chx_call *call, struct slot *m, uint64_t bytes)
{
  if (bytes <= m->room) return CHX_OK;
  bytes = (bytes + bytes / 2 + PAGE - 1) / PAGE * PAGE;
  if (watch_host) {
    if (m->pages) munmap(m->pages, m->room + 2 * PAGE);
    void *p = mmap(NULL, bytes + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    m->pages = p == MAP_FAILED ? NULL : p;
    m->room = m->pages ? bytes : 0;
    if (!m->pages) return CHX_ENOMEM;
    mprotect(m->pages, PAGE, PROT_NONE);
    mprotect(m->pages + PAGE + bytes, PAGE, PROT_NONE);
    return CHX_OK;
  }
  if (m->room) watch_ops->release(call->dev, call->queue, &m->b);
  m->room = 0;
  m->b = (chx_buffer){.size = sizeof m->b};
  chx_status st = watch_ops->alloc(call->dev, call->queue, bytes, CHX_B_DEVICE, &m->b);
  if (!st) m->room = bytes;
  return st;
}

/* Where image v begins, red zone included: the handle and an offset. */
static char *place(const struct slot *m, const image *v, uint64_t *offset)
{
  *offset = v->at_end ? m->room - v->total : 0;
  return watch_host ? m->pages + PAGE : m->b.handle;
}

static chx_status layout(const chx_call *call, image *v, struct slot *m, uint64_t align)
{
  if (watch_host) {
    v->at_end = v->real && n_calls & 1; /* a workspace stays aligned */
    v->lead = v->at_end ? ZONE : 0;     /* the other side is the closed page's */
    v->total = v->bytes + ZONE;
  } else {
    v->lead = ZONE + align % ZONE;
    v->total = v->lead + v->bytes + ZONE;
  }
  if (!host_room(m, v->total)) return CHX_ENOMEM;
  v->was = m->host[0], v->now = m->host[1], v->first = m->host[2], v->mask = m->host[3];
  return room_for(call, m, v->total);
}

/* ---- one pass ---------------------------------------------------------------------------------------------------------- */

typedef struct trial {
  const chx_kernel *k;
  const chx_call *call;
  chx_call moved; /* with the operands where the images are */
  chx_tensor t[MOST];
  image v[MOST];
  int n, n_in;
  int work; /* the workspace's image; -1: none */
} trial;

static void describe(const trial *r, int i, char *text, size_t size)
{
  if (i == r->work) snprintf(text, size, "the workspace of %llu bytes", (unsigned long long)r->v[i].bytes);
  else snprintf(text, size, "%s %d", i < r->n_in ? "input" : "output", i < r->n_in ? i : i - r->n_in);
}

static chx_status fill(trial *r, int i, int pass)
{
  image *v = &r->v[i];
  const chx_tensor *t = v->real;
  uint64_t offset;
  if (!v->was || v->same_as >= 0) return CHX_OK;
  char *at = place(&slots[i], v, &offset);
  if (t && v->bytes && !pass) { /* the first byte is at byte_offset + low from the buffer's handle */
    chx_status st = copy(r->call, v->was, v->lead, t->data, t->byte_offset + (uint64_t)v->low, v->bytes, 1);
    if (!st) st = finish(r->k, r->call);
    if (st) return st;
  }
  memset(v->was, junk[pass], v->lead);
  memset(v->was + v->lead + v->bytes, junk[pass], v->total - v->lead - v->bytes);
  for (uint64_t b = 0; b < v->total && (v->out || i == r->work); b++)
    if (v->mask[b]) v->was[b] = junk[pass];
  return copy(r->call, at, offset, v->was, 0, v->total, 0);
}

/* What the pass has left in memory against what was put there. */
static chx_status compare(trial *r, int i, bool declined, int pass)
{
  image *v = &r->v[i];
  uint64_t offset;
  char what[64];
  if (!v->was || v->same_as >= 0) return CHX_OK;
  char *at = place(&slots[i], v, &offset);
  chx_status st = copy(r->call, v->now, 0, at, offset, v->total, 1);
  if (!st) st = finish(r->k, r->call);
  if (st) return st;
  bool written = v->out || i == r->work;
  for (int o = 0; o < r->n; o++) written |= r->v[o].same_as == i;
  describe(r, i, what, sizeof what);
  if (memcmp(v->was, v->now, v->total))
    for (uint64_t b = 0; b < v->total; b++) {
      if (v->was[b] == v->now[b] || (written && v->mask[b] && !declined)) continue;
      int64_t where = (int64_t)b - (int64_t)v->lead;
      if (declined) watch_report("%s: run declined after it had written to %s", r->k->op, what);
      else if (where < 0 || where >= (int64_t)v->bytes || i == r->work)
        watch_report("%s: wrote outside of %s: byte %lld of %llu", r->k->op, what, (long long)where,
                     (unsigned long long)v->bytes);
      else
        watch_report("%s: %s %s: byte %lld of %llu", r->k->op, written ? "wrote between the elements of" : "changed",
                     what, (long long)where, (unsigned long long)v->bytes);
      break;
    }
  if (declined || !written || i == r->work) return CHX_OK;
  if (!pass) memcpy(v->first, v->now, v->total);
  else
    for (uint64_t b = 0; b < v->total; b++)
      if (v->mask[b] && v->first[b] != v->now[b]) {
        watch_report("%s: called again with the same operands, it gives other bits (byte %lld of %s): it reads what is "
                     "outside its operands, or memory that it has not written, or should say CHX_K_NONDETERMINISTIC",
                     r->k->op, (long long)b - (long long)v->lead, what);
        break;
      }
  return CHX_OK;
}

static chx_status pass_of(trial *r, watch_call_fn run, int pass)
{
  chx_status st = CHX_OK;
  for (int i = 0; i < r->n && !st; i++) st = fill(r, i, pass);
  if (st) return st;
  chx_status said = watch_with_copy(r->k, &r->moved, run, NULL);
  if (said && said != CHX_DECLINED) return said;
  if ((st = finish(r->k, r->call))) return st;
  for (int i = 0; i < r->n && !st; i++) st = compare(r, i, said == CHX_DECLINED, pass);
  return st ? st : said;
}

/* ---- the call ------------------------------------------------------------------------------------------------------------ */

static chx_status move_operand(trial *r, int i)
{
  image *v = &r->v[i];
  chx_tensor *t = &r->t[i];
  const chx_tensor *real = v->real;
  uint64_t offset;
  if (t->flags & (CHX_T_ABSENT | CHX_T_HOST_SCALAR)) return CHX_OK;
  span(t, &v->low, &v->bytes);
  if (v->bytes && (uint64_t)(v->low + (int64_t)v->bytes) > real->extent)
    watch_report("%s: libchx gave operand %d an extent of %llu bytes, its elements take %lld", r->k->op, i,
                 (unsigned long long)real->extent, (long long)v->low + (long long)v->bytes);
  for (int k = 0; v->out && k < r->n_in; k++)
    if (v->bytes && r->v[k].same_as < 0 && r->v[k].was && same_view(r->v[k].real, real)) v->same_as = k;
  image *at = v->same_as < 0 ? v : &r->v[v->same_as];
  struct slot *m = v->same_as < 0 ? &slots[i] : &slots[v->same_as];
  if (at == v) {
    chx_status st = layout(r->call, v, m, real->byte_offset + (uint64_t)v->low);
    if (st) return st;
    memset(v->mask, 0, v->total);
  }
  if (v->out && v->bytes) mark(t, 0, at->mask + at->lead - at->low);
  char *base = place(m, at, &offset);
  t->data = base;
  t->buf = watch_host ? base : m->b.handle;
  t->byte_offset = offset + at->lead - (uint64_t)at->low;
  t->extent = (uint64_t)(at->low + (int64_t)at->bytes);
  return CHX_OK;
}

static chx_status move_workspace(trial *r)
{
  uint64_t offset;
  r->work = -1;
  if (!r->call->workspace || !r->call->workspace_bytes) return CHX_OK;
  int i = r->work = r->n++;
  image *v = &r->v[i];
  *v = (image){.same_as = -1, .bytes = r->call->workspace_bytes};
  chx_status st = layout(r->call, v, &slots[i], 0);
  if (st) return st;
  memset(v->mask, 0, v->total);
  memset(v->mask + v->lead, 1, v->bytes);
  char *base = place(&slots[i], v, &offset);
  r->moved.workspace = base + offset + v->lead;
  return CHX_OK;
}

chx_status watch_guarded(const chx_kernel *k, const chx_call *call, watch_call_fn run)
{
  trial r = {.k = k, .call = call, .moved = *call, .n_in = (int)call->n_in};
  if (call->n_in + call->n_out + 1 > MOST) return watch_with_copy(k, call, run, NULL);
  chx_status st = CHX_OK;
  n_calls++;
  for (uint32_t i = 0; i < call->n_in + call->n_out; i++, r.n++) {
    r.v[i] = (image){.real = i < call->n_in ? &call->in[i] : &call->out[i - call->n_in], .same_as = -1,
                     .out = i >= call->n_in};
    r.t[i] = *r.v[i].real;
  }
  for (int i = 0; i < r.n && !st; i++) st = move_operand(&r, i);
  if (!st) st = move_workspace(&r);
  if (st) return st;
  r.moved.in = r.t;
  r.moved.out = r.t + r.n_in;
  bool once = CHX_HAS(k, chx_kernel, flags) && k->flags & CHX_K_NONDETERMINISTIC;
  if ((st = pass_of(&r, run, 0))) return st;
  if (!once && (st = pass_of(&r, run, 1))) {
    if (st == CHX_DECLINED) watch_report("%s: run declined a call that it had just served", k->op);
    return st;
  }
  for (int i = r.n_in; i < r.n_in + (int)call->n_out && !st; i++) {
    const image *v = r.v[i].same_as < 0 ? &r.v[i] : &r.v[r.v[i].same_as];
    const chx_tensor *t = r.v[i].real;
    st = copy(call, t->data, t->byte_offset + (uint64_t)r.v[i].low, v->first, v->lead, r.v[i].bytes, 0);
  }
  return st ? st : finish(k, call);
}
