/* SPDX-License-Identifier: MIT
 * map.c: the part of group C3 that is about the host's view of memory: mappings, coherent memory.
 */
#include "raw.h"
#include <string.h>

enum { READ = CHX_MAP_READ, WRITE = CHX_MAP_WRITE, NOWAIT = CHX_MAP_NOWAIT, H2D = 0 };

static chx_status map(raw *r, chx_queue *q, chx_buffer *b, uint64_t off, uint64_t n, uint32_t access, void **p)
{
  *p = NULL;
  raw_said();
  return r->o->map(r->dev, q, b, off, n, access, p);
}

/* Maps, or says why it does not: a skip where the device does not claim that it does. */
static bool mapped(conform *c, raw *r, chx_queue *q, chx_buffer *b, uint64_t off, uint64_t n, uint32_t access, void **p)
{
  chx_status st = map(r, q, b, off, n, access, p);
  if (st == CHX_EUNSUPPORTED && !(r->info.flags & CHX_D_MAPPABLE)) {
    conform_skip(c, "memory of this kind is not mapped: %s", raw_said());
    return false;
  }
  return conform_check(c, st == CHX_OK && *p, "map of %llu bytes at %llu: %s: %s", (unsigned long long)n,
                       (unsigned long long)off, raw_code(st), raw_said());
}

static bool unmapped(conform *c, raw *r, chx_queue *q, chx_buffer *b, void *p)
{
  chx_status st = r->o->unmap(r->dev, q, b, p);
  return conform_check(c, st == CHX_OK, "unmap: %s: %s", raw_code(st), raw_said());
}

static bool has_map(conform *c, raw *r)
{
  bool has = CHX_HAS(r->o, chx_device_ops, map);
  if (r->info.flags & CHX_D_MAPPABLE)
    return conform_check(c, has && CHX_HAS(r->o, chx_device_ops, unmap),
                         "info claims CHX_D_MAPPABLE, and there is no map or unmap");
  if (!has) conform_skip(c, "the device has no map");
  return has;
}

static void mappings(conform *c, void *arg)
{
  enum { N = 70001 };
  static const struct { uint64_t off, n; } part[] = {{0, N}, {0, 1}, {1, 7}, {4096, 4096}, {4095, 8195}, {N - 1, 1}};
  static unsigned char model[N], got[N];
  uint32_t access = *(const uint32_t *)arg;
  chx_queue *q;
  raw *r = raw_begin(c, &q);
  chx_buffer b;
  void *p;
  if (!r || !has_map(c, r) || !raw_alloc(c, r, q, N, &b)) return;
  raw_fill(model, N, c->seed);
  if (!raw_up(c, r, q, &b, 0, model, N)) return;
  for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
    uint64_t off = part[i].off, n = part[i].n;
    raw_fill(model + off, n, c->seed + i); /* queued before the map, which waits for it */
    chx_status st = r->o->copy(r->dev, q, b.handle, off, model + off, 0, n, H2D);
    conform_check(c, st == CHX_OK, "copy to the device: %s: %s", raw_code(st), raw_said());
    if (!mapped(c, r, q, &b, off, n, access, &p) || (access & NOWAIT && !raw_sync(c, r, q))) break;
    if (access & READ) raw_same(c, "read through a mapping", p, model + off, n);
    if (access & WRITE) {
      raw_fill(model + off, n, c->seed - i - 1);
      memcpy(p, model + off, n);
    }
    if (!unmapped(c, r, q, &b, p) || !raw_down(c, r, q, &b, 0, got, N)) break;
    raw_same(c, access & WRITE ? "copied from the device after a write through a mapping" : "after a mapping was read",
         got, model,
         N);
  }
  raw_release(r, q, &b);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

/* Two parts of a buffer at once: the core keeps mappings open across neighbouring operators. */
static void two_mappings(conform *c, void *arg)
{
  enum { N = 8192 };
  static unsigned char model[2 * N], got[2 * N];
  chx_queue *q;
  raw *r = raw_begin(c, &q);
  chx_buffer b[2];
  void *p[2];
  (void)arg;
  if (!r || !has_map(c, r)) return;
  raw_fill(model, sizeof model, c->seed);
  for (int i = 0; i < 2; i++)
    if (!raw_alloc(c, r, q, N, &b[i]) || !mapped(c, r, q, &b[i], 0, N, READ | WRITE, &p[i])) return;
  for (int i = 0; i < 2; i++) memcpy(p[i], model + i * N, N);
  for (int i = 0; i < 2; i++) /* in the order they were mapped, not the reverse */
    if (!unmapped(c, r, q, &b[i], p[i]) || !raw_down(c, r, q, &b[i], 0, got + i * N, N)) return;
  raw_same(c, "two buffers mapped at once", got, model, sizeof model);
  for (int i = 0; i < 2; i++) raw_release(r, q, &b[i]);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

/* Several maps that do not wait, and one wait for all: as the core opens the operands of a call. */
static void nowait(conform *c, void *arg)
{
  enum { N = 8192, BUFFERS = 4 };
  static unsigned char model[BUFFERS][N], got[N];
  chx_queue *q;
  raw *r = raw_begin(c, &q);
  chx_buffer b[BUFFERS];
  void *p[BUFFERS];
  (void)arg;
  if (!r || !has_map(c, r)) return;
  raw_fill(&model[0][0], sizeof model, c->seed);
  for (int i = 0; i < BUFFERS; i++)
    if (!raw_alloc(c, r, q, N, &b[i])) return;
  for (int i = 0; i < BUFFERS; i++) { /* the last will be written: its bytes are of no use */
    const uint32_t access = i == BUFFERS - 1 ? WRITE : READ | WRITE;
    chx_status st = r->o->copy(r->dev, q, b[i].handle, 0, model[i], 0, N, H2D);
    conform_check(c, st == CHX_OK, "copy to the device: %s: %s", raw_code(st), raw_said());
    if (!mapped(c, r, q, &b[i], 0, N, access | NOWAIT, &p[i])) return;
  }
  if (!raw_sync(c, r, q)) return;
  for (int i = 0; i < BUFFERS - 1; i++) raw_same(c, "read through a mapping after the wait for it", p[i], model[i], N);
  for (int i = 0; i < BUFFERS; i++) {
    raw_fill(model[i], N, c->seed + 1 + (unsigned)i);
    memcpy(p[i], model[i], N);
  }
  for (int i = 0; i < BUFFERS; i++) {
    if (!unmapped(c, r, q, &b[i], p[i]) || !raw_down(c, r, q, &b[i], 0, got, N)) return;
    raw_same(c, "copied from the device after a write through a mapping", got, model[i], N);
  }
  for (int i = 0; i < BUFFERS; i++) raw_release(r, q, &b[i]);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

/* One that is given back before anybody has waited for it, as after another one has failed. */
static void nowait_unused(conform *c, void *arg)
{
  enum { N = 8192 };
  static unsigned char model[N], got[N];
  chx_queue *q;
  raw *r = raw_begin(c, &q);
  chx_buffer b;
  void *p;
  (void)arg;
  if (!r || !has_map(c, r) || !raw_alloc(c, r, q, N, &b)) return;
  raw_fill(model, N, c->seed);
  for (int i = 0; i < 3; i++) {
    raw_fill(model, N, c->seed + (unsigned)i);
    chx_status st = r->o->copy(r->dev, q, b.handle, 0, model, 0, N, H2D);
    conform_check(c, st == CHX_OK, "copy to the device: %s: %s", raw_code(st), raw_said());
    if (!mapped(c, r, q, &b, 0, N, READ | WRITE | NOWAIT, &p) || !unmapped(c, r, q, &b, p)) return;
    if (!raw_down(c, r, q, &b, 0, got, N)) return;
    raw_same(c, "copied from the device after a mapping was given back unused", got, model, N);
  }
  raw_release(r, q, &b);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

/* What alloc or info says about the host's view of memory is true without a map. */
static void coherent(conform *c, void *arg)
{
  enum { N = 10007 };
  static unsigned char model[N], got[N];
  chx_queue *q;
  raw *r = raw_begin(c, &q);
  chx_buffer b;
  (void)arg;
  if (!r || !raw_alloc(c, r, q, N, &b)) return;
  bool host = r->info.flags & CHX_D_HOST_IS_DEVICE;
  if (!(b.flags & CHX_B_COHERENT) && !host) {
    conform_skip(c, "its memory is not coherent with the host's");
    raw_release(r, q, &b);
    raw_queue_free(r, q);
    return;
  }
  unsigned char *p = host ? b.handle : b.host_ptr;
  if (conform_check(c, p != NULL, "alloc says CHX_B_COHERENT and gives no host_ptr")) {
    conform_check(c, !host || !b.host_ptr || b.host_ptr == b.handle,
                  "host memory is device memory, and host_ptr %p is not the handle %p", b.host_ptr, b.handle);
    raw_fill(model, N, c->seed);
    memcpy(p, model, N);
    if (raw_down(c, r, q, &b, 0, got, N)) raw_same(c, "written by the host, copied from the device", got, model, N);
    raw_fill(model, N, c->seed + 1);
    if (raw_up(c, r, q, &b, 0, model, N)) raw_same(c, "copied to the device, read by the host", p, model, N);
  }
  raw_release(r, q, &b);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

void conform_map_cases(conform *c, conform_list *l)
{
  static const uint32_t read = READ, write = WRITE, both = READ | WRITE, later = READ | WRITE | NOWAIT, more = READ | WRITE | 1u << 31;
  (void)c;
  conform_add(l, "C3", "map to read", mappings, (void *)&read);
  conform_add(l, "C3", "map to write", mappings, (void *)&write);
  conform_add(l, "C3", "map to read and write", mappings, (void *)&both);
  conform_add(l, "C3", "map with a bit of access that nobody knows", mappings, (void *)&more);
  conform_add(l, "C3", "map without waiting", mappings, (void *)&later);
  conform_add(l, "C3", "one wait for several maps", nowait, NULL);
  conform_add(l, "C3", "a mapping that nobody waits for", nowait_unused, NULL);
  conform_add(l, "C3", "two mappings at once", two_mappings, NULL);
  conform_add(l, "C3", "memory that the host shares", coherent, NULL);
}
