/* SPDX-License-Identifier: MIT
 * memory.c: group C3: allocations and copies, compared with what plain memory would hold.
 *
 * Where plugin.h is silent, what the core does decides:
 *   - the host's bytes of a copy to the device are taken before copy returns; those of a copy from it, at the point;
 *   - release may come without a queue, once all that used the memory is done.
 */
#include "raw.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAGE = 4096 };

/* Bytes up and down again, through b. */
static bool round_trip(conform *c, raw *r, chx_queue *q, const chx_buffer *b, size_t n, uint64_t seed)
{
  unsigned char *up = malloc(n + 1), *down = calloc(1, n + 1);
  bool ok = up && down;
  if (ok) raw_fill(up, n, seed);
  ok = ok && raw_up(c, r, q, b, 0, up, n) && raw_down(c, r, q, b, 0, down, n) && raw_same(c, "up and down again", down,
                                                                                          up,
                                                                                      n);
  free(up);
  free(down);
  return ok;
}

/* ---- allocations ------------------------------------------------------------------------------------------------- */

static void small(conform *c, void *arg)
{
  const uint64_t bytes = *(const uint64_t *)arg;
  chx_queue *q;
  raw *r = raw_begin(c, &q);
  chx_buffer b[2];
  if (!r) return;
  for (int i = 0; i < 2; i++)
    if (!raw_alloc(c, r, q, bytes, &b[i])) return;
  conform_check(c, bytes == 0 || b[0].handle != b[1].handle, "two allocations have the same handle, %p", b[0].handle);
  round_trip(c, r, q, &b[0], bytes, c->seed);
  for (int i = 0; i < 2; i++) raw_release(r, q, &b[i]);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

static void alignment(conform *c, void *arg)
{
  enum { N = 24 };
  chx_queue *q;
  raw *r = raw_begin(c, &q);
  chx_buffer b[N];
  (void)arg;
  if (!r) return;
  uint64_t a = r->info.alignment, seed = c->seed;
  conform_check(c, a && !(a & (a - 1)), "info.alignment is %llu, want a power of two", (unsigned long long)a);
  for (int i = 0; i < N; i++) {
    if (!raw_alloc(c, r, q, i < 8 ? (uint64_t)i + 1 : raw_random(&seed) % 100000, &b[i])) return;
    /* a handle is an address for sure only where the host may follow it */
    if (a && (r->info.flags & CHX_D_HOST_IS_DEVICE))
      conform_check(c, (uintptr_t)b[i].handle % a == 0, "%p is not aligned to info.alignment, %llu", b[i].handle,
                    (unsigned long long)a);
    if (a && b[i].host_ptr)
      conform_check(c, (uintptr_t)b[i].host_ptr % a == 0, "host_ptr %p is not aligned to info.alignment, %llu",
                    b[i].host_ptr, (unsigned long long)a);
  }
  for (int i = 0; i < N; i++) raw_release(r, q, &b[i]);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

/* Live allocations are apart: what is written to one is not seen in another. */
static void apart(conform *c, void *arg)
{
  enum { N = 48, MOST = 9000 };
  chx_queue *q;
  raw *r = raw_begin(c, &q);
  chx_buffer b[N] = {0};
  static unsigned char want[N][MOST], got[MOST];
  size_t n[N];
  uint64_t seed = c->seed + 1;
  (void)arg;
  if (!r) return;
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < N; i++) {
      if (round && i % 3) continue; /* every third is released and allocated again */
      if (round) raw_release(r, q, &b[i]);
      n[i] = 1 + raw_random(&seed) % MOST;
      raw_fill(want[i], n[i], raw_random(&seed));
      if (!raw_alloc(c, r, q, n[i], &b[i]) || !raw_up(c, r, q, &b[i], 0, want[i], n[i])) return;
    }
    for (int i = 0; i < N; i++)
      if (!raw_down(c, r, q, &b[i], 0, got, n[i]) || !raw_same(c, "one of 48 allocations", got, want[i], n[i])) return;
  }
  for (int i = 0; i < N; i++) raw_release(r, q, &b[i]);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

static void too_much(conform *c, void *arg)
{
  chx_queue *q;
  raw *r = raw_begin(c, &q);
  (void)arg;
  if (!r) return;
  bool own = !(r->info.flags & CHX_D_HOST_IS_DEVICE); /* the host's memory is lent by pages, and more than there is */
  const uint64_t size[] = {(uint64_t)1 << 60, UINT64_MAX, UINT64_MAX - 63, UINT64_MAX - 4095, (uint64_t)INT64_MAX + 1,
                           own && r->info.mem_total ? r->info.mem_total + PAGE : 0,
                           r->info.max_alloc && r->info.max_alloc < UINT64_MAX - PAGE ? r->info.max_alloc + PAGE : 0};
  for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
    chx_buffer b = {.size = sizeof b};
    if (!size[i]) continue;
    raw_said();
    chx_status st = r->o->alloc(r->dev, q, size[i], CHX_B_DEVICE, &b);
    const char *why = raw_said();
    conform_check(c, st == CHX_ENOMEM, "alloc of %llu bytes%s: %s, want %s", (unsigned long long)size[i],
                  i == 5 ? " (more than info.mem_total)" : i == 6 ? " (more than info.max_alloc)" : "", raw_code(st),
                  raw_code(CHX_ENOMEM));
    conform_check(c, why[0], "alloc of %llu bytes: %s, and no sentence by host->fail", (unsigned long long)size[i],
                  raw_code(st));
    if (st == CHX_OK) raw_release(r, q, &b);
  }
  chx_buffer b;
  if (raw_alloc(c, r, q, 5000, &b) && round_trip(c, r, q, &b, 5000, c->seed)) raw_release(r, q, &b);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

/* The process's address space in bytes. */
static uint64_t address_space(void)
{
  unsigned long pages = 0;
  FILE *f = fopen("/proc/self/statm", "re");
  if (f && fscanf(f, "%lu", &pages) != 1) pages = 0;
  if (f) fclose(f);
  return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t mem_free(raw *r)
{
  chx_device_info info = {.size = sizeof info};
  return r->o->info(r->dev, &info) ? 0 : info.mem_free;
}

/* 1 GiB goes by in pieces that are released: the half of it may not stay. */
static void given_back(conform *c, void *arg)
{
  enum { N = 16, ROUNDS = 16, PIECE = 4 << 20, MOST = 512 << 20 };
  chx_queue *q;
  raw *r = raw_begin(c, &q);
  (void)arg;
  if (!r) return;
  bool own = !(r->info.flags & CHX_D_HOST_IS_DEVICE) && r->info.mem_free;
  uint64_t before = 0, space = 0;
  for (int round = 0; round <= ROUNDS; round++) {
    chx_buffer b[N];
    for (int i = 0; i < N; i++)
      if (!raw_alloc(c, r, q, PIECE, &b[i])) return;
    for (int i = 0; i < N; i++) raw_release(r, q, &b[i]);
    if (!raw_sync(c, r, q)) return;
    if (round == 0) before = mem_free(r), space = address_space(); /* the first round may fill pools */
  }
  uint64_t after = mem_free(r), space_after = address_space();
  if (own)
    conform_check(c, after + MOST >= before, "1 GiB was allocated and released in pieces: info.mem_free was %llu, is "
                                             "%llu",
                  (unsigned long long)before, (unsigned long long)after);
  conform_check(c, space_after <= space + MOST,
                "1 GiB was allocated and released in pieces: the process has grown from %llu to %llu bytes of "
                "addresses",
                (unsigned long long)space, (unsigned long long)space_after);
  raw_queue_free(r, q);
}

/* ---- copies ------------------------------------------------------------------------------------------------------ */

enum { H2D, D2H, D2D };

/* One random copy in the device and in the model; a length from 0, mostly odd. False: it failed. */
static bool random_copy(conform *c, raw *r, chx_queue *q, chx_buffer b[2], unsigned char *model[2], size_t size,
                        uint64_t *seed)
{
  static unsigned char host[1 << 15];
  static const size_t lengths[] = {0, 1, 2, 3, 4, 5, 7, 8, 15, 17, 31, 63, 65, 127, 255, 257, 1023, 4095, 4097};
  uint32_t dir = (uint32_t)(raw_random(seed) % 3);
  int to = (int)(raw_random(seed) & 1), from = dir == D2D ? !to : to;
  size_t n = raw_random(seed) % 4 ? lengths[raw_random(seed) % (sizeof lengths / sizeof *lengths)]
                                  : raw_random(seed) % (size / 2);
  size_t at = raw_random(seed) % (size - n + 1), src = raw_random(seed) % (size - n + 1), skew = raw_random(seed) % 67;
  chx_status st;
  if (dir == H2D) {
    raw_fill(host + skew, n, raw_random(seed));
    memcpy(model[to] + at, host + skew, n);
    st = r->o->copy(r->dev, q, b[to].handle, at, host, skew, n, dir);
    memset(host, 0xee, sizeof host); /* the bytes were lent for the call alone */
  } else if (dir == D2D) {
    memcpy(model[to] + at, model[from] + src, n);
    st = r->o->copy(r->dev, q, b[to].handle, at, b[from].handle, src, n, dir);
  } else {
    memset(host, 0xdd, sizeof host);
    st = r->o->copy(r->dev, q, host, skew, b[from].handle, src, n, dir);
    if (st == CHX_OK && raw_sync(c, r, q)) {
      raw_same(c, "copy to the host", host + skew, model[from] + src, n);
      size_t past = raw_difference(host + skew + n, "\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd", 8);
      conform_check(c, past == 8 && (!skew || host[skew - 1] == 0xdd),
                    "copy of %zu bytes to the host wrote beside them, %s", n, past < 8 ? "behind" : "before");
    }
  }
  return conform_check(c, st == CHX_OK, "copy of %zu bytes, direction %u, from offset %zu to %zu: %s: %s", n, dir, src,
                       at,
                       raw_code(st), raw_said());
}

static void odd_copies(conform *c, void *arg)
{
  enum { SIZE = 20011, COPIES = 400 };
  static unsigned char bytes[2][SIZE], got[SIZE];
  unsigned char *model[2] = {bytes[0], bytes[1]};
  chx_queue *q;
  raw *r = raw_begin(c, &q);
  chx_buffer b[2];
  uint64_t seed = c->seed + 2;
  (void)arg;
  if (!r) return;
  for (int i = 0; i < 2; i++) {
    raw_fill(bytes[i], SIZE, raw_random(&seed));
    if (!raw_alloc(c, r, q, SIZE, &b[i]) || !raw_up(c, r, q, &b[i], 0, bytes[i], SIZE)) return;
  }
  for (int i = 0; i < COPIES && !c->failures; i++) random_copy(c, r, q, b, model, SIZE, &seed);
  for (int i = 0; i < 2 && !c->failures; i++)
    if (raw_down(c, r, q, &b[i], 0, got, SIZE)) raw_same(c, "after 400 copies", got, bytes[i], SIZE);
  for (int i = 0; i < 2; i++) raw_release(r, q, &b[i]);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

/* The core hands the host's bytes back to the user as soon as copy has returned. */
static void lent_bytes(conform *c, void *arg)
{
  enum { N = 3 << 20 };
  chx_queue *q;
  raw *r = raw_begin(c, &q);
  unsigned char *bytes = malloc(N), *want = malloc(N);
  chx_buffer b[2];
  (void)arg;
  if (!conform_check(c, bytes && want, "out of memory") || !r) goto done;
  raw_fill(want, N, c->seed);
  if (!raw_alloc(c, r, q, N, &b[0]) || !raw_alloc(c, r, q, N, &b[1])) goto done;
  for (int i = 0; i < 8; i++) { /* work before it, so that it has to wait */
    chx_status st = r->o->copy(r->dev, q, b[1].handle, 0, b[0].handle, 0, N, D2D);
    if (!conform_check(c, st == CHX_OK, "copy on the device: %s: %s", raw_code(st), raw_said())) goto done;
  }
  memcpy(bytes, want, N);
  chx_status st = r->o->copy(r->dev, q, b[0].handle, 0, bytes, 0, N, H2D);
  memset(bytes, 0, N);
  conform_check(c, st == CHX_OK, "copy to the device: %s: %s", raw_code(st), raw_said());
  if (raw_sync(c, r, q) && raw_down(c, r, q, &b[0], 0, bytes, N))
    raw_same(c, "bytes that were overwritten when copy had returned", bytes, want, N);
  raw_release(r, q, &b[0]);
  raw_release(r, q, &b[1]);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
done:
  free(bytes);
  free(want);
}

static void large_copy(conform *c, void *arg)
{
  enum { N = (24 << 20) + 13 };
  chx_queue *q;
  raw *r = raw_begin(c, &q);
  chx_buffer b;
  (void)arg;
  if (!r || !raw_alloc(c, r, q, N, &b)) return;
  round_trip(c, r, q, &b, N, c->seed + 3);
  raw_release(r, q, &b);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

/* ---- order and threads ------------------------------------------------------------------------------------------- */

/* Memory is released right behind the work that uses it, and the same size asked for again. */
static void release_queued(conform *c, void *arg)
{
  enum { N = 1 << 20, ROUNDS = 12 };
  chx_queue *q;
  raw *r = raw_begin(c, &q);
  chx_buffer keep, b;
  unsigned char *bytes = malloc(N), *got = malloc(N);
  (void)arg;
  if (!conform_check(c, bytes && got, "out of memory") || !r || !raw_alloc(c, r, q, N, &keep)) goto done;
  for (int i = 0; i < ROUNDS; i++) {
    raw_fill(bytes, N, c->seed + (uint64_t)i);
    if (!raw_alloc(c, r, q, N, &b)) goto done;
    chx_status st = r->o->copy(r->dev, q, b.handle, 0, bytes, 0, N, H2D);
    if (!st) st = r->o->copy(r->dev, q, keep.handle, 0, b.handle, 0, N, D2D);
    raw_release(r, q, &b);
    if (!conform_check(c, st == CHX_OK, "copy: %s: %s", raw_code(st), raw_said())) goto done;
    /* the next owner of the memory writes something else there */
    if (!raw_alloc(c, r, q, N, &b)) goto done;
    memset(got, 0x5a, N);
    st = r->o->copy(r->dev, q, b.handle, 0, got, 0, N, H2D);
    if (!conform_check(c, st == CHX_OK, "copy: %s: %s", raw_code(st), raw_said()) || !raw_sync(c, r, q)) goto done;
    raw_release(r, NULL, &b); /* as the core does with what no work uses */
    if (!raw_down(c, r, q, &keep, 0, got, N) || !raw_same(c, "copied from memory released behind the copy", got, bytes,
                                                          N))
      goto done;
  }
  raw_release(r, q, &keep);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
done:
  free(bytes);
  free(got);
}

struct many {
  conform *c;
  raw *r;
  _Atomic int bad;
};

static void *use_memory(void *ctx, int i)
{
  enum { N = 5003, ROUNDS = 60 };
  struct many *m = ctx;
  conform own = *m->c; /* checks of a thread are its own */
  unsigned char up[N], down[N];
  chx_queue *q;
  own.failures = own.checks = 0;
  if (!raw_queue(&own, m->r, &q)) goto done;
  for (int k = 0; k < ROUNDS && !own.failures; k++) {
    chx_buffer b[2];
    size_t n = (size_t)(k % 2 ? 1 + (i * 977 + k * 131) % N : N); /* in turn of its own size, and of the others' */
    raw_fill(up, n, (uint64_t)(i * ROUNDS + k));
    if (!raw_alloc(&own, m->r, q, n, &b[0]) || !raw_alloc(&own, m->r, q, n, &b[1]) ||
        !raw_up(&own, m->r, q, &b[0], 0, up, n))
      break;
    chx_status st = m->r->o->copy(m->r->dev, q, b[1].handle, 0, b[0].handle, 0, n, D2D);
    conform_check(&own, st == CHX_OK, "copy on the device: %s: %s", raw_code(st), raw_said());
    if (raw_down(&own, m->r, q, &b[1], 0, down, n)) raw_same(&own, "in one of several threads", down, up, n);
    raw_release(m->r, q, &b[0]);
    raw_release(m->r, q, &b[1]);
  }
  raw_sync(&own, m->r, q);
  raw_queue_free(m->r, q);
done:
  if (own.failures && !m->bad++) memcpy(m->c->said, own.said, sizeof own.said);
  return NULL;
}

static void threads(conform *c, void *arg)
{
  struct many m = {.c = c, .r = raw_device(c)};
  char said[sizeof c->said];
  (void)arg;
  if (!m.r) return;
  if (!conform_check(c, raw_threads(4, use_memory, &m, NULL), "no thread could be made")) return;
  memcpy(said, c->said, sizeof said);
  conform_check(c, m.bad == 0, "%s", said);
}

void conform_memory_cases(conform *c, conform_list *l)
{
  static const uint64_t zero = 0, one = 1;
  conform_add(l, "C3", "allocation of 0 bytes", small, (void *)&zero);
  conform_add(l, "C3", "allocation of 1 byte", small, (void *)&one);
  conform_add(l, "C3", "alignment as promised", alignment, NULL);
  conform_add(l, "C3", "allocations are apart", apart, NULL);
  conform_add(l, "C3", "more memory than there is", too_much, NULL);
  conform_add(l, "C3", "released memory is given back", given_back, NULL);
  conform_add(l, "C3", "copy of odd sizes and offsets", odd_copies, NULL);
  conform_add(l, "C3", "copy to the device takes the bytes at once", lent_bytes, NULL);
  conform_add(l, "C3", "copy of many bytes", large_copy, NULL);
  conform_add(l, "C3", "release behind queued work", release_queued, NULL);
  conform_add(l, "C3", "memory from 4 threads", threads, NULL);
  conform_map_cases(c, l);
  conform_import_cases(c, l);
  conform_peer_cases(c, l);
}
