/* SPDX-License-Identifier: MIT
 * import.c: the part of group C3 that is about memory which the plugin has not allocated: of the host, and of the device.
 *
 * Where plugin.h is silent: what import_native takes is what the core gives to others by DLPack, a buffer's handle, and,
 * unless the device says CHX_D_OPAQUE, any address behind it. What the host sees of imported memory that is not
 * CHX_B_COHERENT is checked after a map.
 */
#include "raw.h"
#include <stdlib.h>
#include <string.h>

enum { READ = 1, WRITE = 2, PAGE = 4096, H2D = 0, D2D = 2 };

/* An import is given back if there is something to give back. */
static void end_import(raw *r, chx_queue *q, chx_buffer *b)
{
  if (b->flags & CHX_B_IMPORTED) raw_release(r, q, b);
}

/* The function, if the device has it; else the case is skipped, or failed where it claims to. */
static bool has(conform *c, bool claims, bool there, const char *name)
{
  if (!there && !claims) conform_skip(c, "the device has no %s", name);
  return there || (claims && conform_check(c, false, "info claims CHX_D_IMPORT_HOST, and there is no %s", name));
}

/* ---- the host's ------------------------------------------------------------------------------------------------------- */

enum { BYTES = 3 * PAGE };
static _Alignas(PAGE) unsigned char own[2 * BYTES]; /* the plugin may know its pages until the device is closed */

/* CHX_OK, or CHX_EUNSUPPORTED where that is no fault; else a failed check. */
static chx_status import(conform *c, raw *r, uint64_t offset, chx_buffer *b)
{
  bool claims = r->info.flags & CHX_D_IMPORT_HOST;
  *b = (chx_buffer){.size = sizeof *b};
  raw_said();
  chx_status st = r->o->import_host(r->dev, own + offset, BYTES, READ | WRITE, b);
  if (st == CHX_EUNSUPPORTED && (!claims || offset % PAGE)) {
    conform_note(c, "%d bytes at offset %llu of a page are not imported: %s", (int)BYTES, (unsigned long long)offset, raw_said());
    return st;
  }
  if (!conform_check(c, st == CHX_OK && b->handle, "import_host: %s: %s", raw_code(st), raw_said())) return CHX_EFAILED;
  conform_check(c, b->bytes >= BYTES, "import_host of %d bytes gave %llu", (int)BYTES, (unsigned long long)b->bytes);
  return CHX_OK;
}

/* What the device wrote there is the host's. */
static void seen_by_host(conform *c, raw *r, chx_queue *q, chx_buffer *b, const unsigned char *at, const unsigned char *want)
{
  void *p = NULL;
  bool coherent = b->flags & CHX_B_COHERENT || r->info.flags & CHX_D_HOST_IS_DEVICE;
  if (!coherent && !(r->info.flags & CHX_D_MAPPABLE)) return;
  if (!coherent) {
    raw_said();
    chx_status st = r->o->map(r->dev, q, b, 0, BYTES, READ, &p);
    if (!conform_check(c, st == CHX_OK, "map of what was imported: %s: %s", raw_code(st), raw_said())) return;
    conform_check(c, p == at, "imported from %p, mapped at %p: the host's memory is elsewhere than it was", (const void *)at, p);
    raw_same(c, "imported, written by the device, mapped", p, want, BYTES);
    st = r->o->unmap(r->dev, q, b, p);
    conform_check(c, st == CHX_OK, "unmap: %s: %s", raw_code(st), raw_said());
  } else
    raw_same(c, "imported, written by the device", at, want, BYTES);
}

static void import_host(conform *c, void *arg)
{
  static const uint64_t offset[] = {0, 64, PAGE}; /* into a page */
  static unsigned char got[BYTES], model[BYTES];
  chx_queue *q;
  raw *r = raw_begin(c, &q);
  int imports = 0;
  (void)arg;
  if (!r || !has(c, r->info.flags & CHX_D_IMPORT_HOST, CHX_HAS(r->o, chx_device_ops, import_host), "import_host")) return;
  for (size_t i = 0; i < sizeof offset / sizeof *offset; i++) {
    unsigned char *p = own + offset[i];
    chx_buffer b, other;
    raw_fill(p, BYTES, c->seed + i);
    memcpy(model, p, BYTES);
    chx_status st = import(c, r, offset[i], &b);
    if (st == CHX_EUNSUPPORTED) continue;
    if (st || !raw_alloc(c, r, q, BYTES, &other)) return;
    imports++;
    st = r->o->copy(r->dev, q, other.handle, 0, b.handle, 0, BYTES, D2D);
    conform_check(c, st == CHX_OK, "copy from what was imported: %s: %s", raw_code(st), raw_said());
    if (raw_down(c, r, q, &other, 0, got, BYTES)) raw_same(c, "imported and copied on the device", got, model, BYTES);
    raw_fill(model, BYTES, c->seed - i - 1);
    if (raw_up(c, r, q, &b, 0, model, BYTES) && raw_down(c, r, q, &b, 0, got, BYTES))
      raw_same(c, "copied to what was imported", got, model, BYTES);
    seen_by_host(c, r, q, &b, p, model);
    end_import(r, q, &b);
    raw_release(r, q, &other);
    raw_sync(c, r, q);
  }
  conform_check(c, imports || c->failures, "no import was possible");
  raw_queue_free(r, q);
}

/* The same memory again and again: its end leaves it to the host, and to be imported anew. */
static void import_again(conform *c, void *arg)
{
  enum { TIMES = 40 };
  static unsigned char model[BYTES];
  chx_queue *q;
  raw *r = raw_begin(c, &q);
  chx_buffer other;
  (void)arg;
  if (!r || !has(c, r->info.flags & CHX_D_IMPORT_HOST, CHX_HAS(r->o, chx_device_ops, import_host), "import_host") ||
      !raw_alloc(c, r, q, BYTES, &other))
    return;
  for (int i = 0; i < TIMES && !c->failures; i++) {
    chx_buffer b;
    raw_fill(model, BYTES, c->seed + (uint64_t)i);
    chx_status st = import(c, r, 0, &b);
    if (st == CHX_EUNSUPPORTED) {
      conform_skip(c, "the device imports no memory of the host: %s", raw_said());
      break;
    }
    if (st || !raw_up(c, r, q, &other, 0, model, BYTES)) return;
    st = r->o->copy(r->dev, q, b.handle, 0, other.handle, 0, BYTES, D2D);
    conform_check(c, st == CHX_OK, "copy to what was imported, time %d: %s: %s", i + 1, raw_code(st), raw_said());
    if (!(b.flags & CHX_B_COHERENT) && raw_sync(c, r, q)) seen_by_host(c, r, q, &b, own, model);
    end_import(r, q, &b); /* behind the copy */
    if (raw_sync(c, r, q)) raw_same(c, "imported and copied to, when the import has ended", own, model, BYTES);
    memset(own, i, BYTES); /* it is the host's */
  }
  raw_release(r, q, &other);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

/* ---- the device's -------------------------------------------------------------------------------------------------------- */

static bool has_native(conform *c, raw *r)
{
  return has(c, false, CHX_HAS(r->o, chx_device_ops, import_native), "import_native");
}

static chx_status native(raw *r, const chx_buffer *of, uint64_t offset, uint64_t bytes, chx_buffer *b)
{
  *b = (chx_buffer){.size = sizeof *b};
  raw_said();
  return r->o->import_native(r->dev, (void *)((uintptr_t)of->handle + offset), bytes, b);
}

/* A buffer as another library's: what one has written the other reads, and the end of the import is not the memory's. */
static void import_native(conform *c, void *arg)
{
  enum { N = 40007 };
  static const uint64_t offset[] = {0, 256, 8192};
  static unsigned char model[N], got[N];
  chx_queue *q;
  raw *r = raw_begin(c, &q);
  chx_buffer of, b;
  (void)arg;
  if (!r || !has_native(c, r) || !raw_alloc(c, r, q, N, &of)) return;
  raw_fill(model, N, c->seed);
  raw_up(c, r, q, &of, 0, model, N);
  for (size_t i = 0; i < sizeof offset / sizeof *offset && !c->failures; i++) {
    uint64_t at = r->info.flags & CHX_D_OPAQUE ? 0 : offset[i], n = N - at;
    chx_status st = native(r, &of, at, n, &b);
    if (!conform_check(c, st == CHX_OK && b.handle, "import_native of %llu bytes at offset %llu of an allocation: %s: %s",
                       (unsigned long long)n, (unsigned long long)at, raw_code(st), raw_said()))
      break;
    if (raw_down(c, r, q, &b, 0, got, n)) raw_same(c, "written by the owner, read from what was imported", got, model + at, n);
    raw_fill(model + at + 7, n - 7, c->seed - i);
    if (raw_up(c, r, q, &b, 7, model + at + 7, n - 7) && raw_down(c, r, q, &of, 0, got, N))
      raw_same(c, "written to what was imported, read by the owner", got, model, N);
    end_import(r, q, &b);
    raw_sync(c, r, q);
    /* the memory is still the owner's: nobody else gets it */
    chx_buffer more[4];
    static unsigned char junk[N];
    memset(junk, 0x5a, N);
    for (int k = 0; k < 4; k++)
      if (!raw_alloc(c, r, q, N, &more[k]) || !raw_up(c, r, q, &more[k], 0, junk, N)) return;
    if (raw_down(c, r, q, &of, 0, got, N)) raw_same(c, "the owner's memory after an import of it ended", got, model, N);
    for (int k = 0; k < 4; k++) raw_release(r, q, &more[k]);
    raw_sync(c, r, q);
  }
  raw_release(r, q, &of);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

/* What is not the device's memory: an error and a sentence, where the device can tell. */
static void import_wrong(conform *c, void *arg)
{
  chx_queue *q;
  raw *r = raw_begin(c, &q);
  chx_buffer host = {.handle = own}, none = {0}, b;
  (void)arg;
  if (!r || !has_native(c, r)) return;
  const bool tells = !(r->info.flags & (CHX_D_OPAQUE | CHX_D_HOST_IS_DEVICE)); /* such as it is may be any address */
  for (int i = 0; i < (tells ? 2 : 1); i++) {
    chx_status st = native(r, i ? &host : &none, 0, 4096, &b);
    const char *why = raw_said();
    conform_check(c, st == CHX_EARG || st == CHX_EUNSUPPORTED || st == CHX_EDEVICE,
                  "import_native of %s: %s, want an error such as %s", i ? "memory of the host" : "NULL", raw_code(st),
                  raw_code(CHX_EARG));
    conform_check(c, why[0], "import_native of %s: %s, and no sentence by host->fail", i ? "memory of the host" : "NULL",
                  raw_code(st));
    if (!st) end_import(r, q, &b);
  }
  chx_buffer of;
  if (raw_alloc(c, r, q, 4096, &of)) {
    chx_status st = native(r, &of, 0, 4096, &b);
    conform_check(c, st == CHX_OK, "import_native of an allocation after these: %s: %s", raw_code(st), raw_said());
    if (!st) end_import(r, q, &b);
    raw_release(r, q, &of);
  }
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

void conform_import_cases(conform *c, conform_list *l)
{
  (void)c;
  conform_add(l, "C3", "import of host memory", import_host, NULL);
  conform_add(l, "C3", "import of host memory, 40 times", import_again, NULL);
  conform_add(l, "C3", "import of the device's memory", import_native, NULL);
  conform_add(l, "C3", "import of what is not the device's memory", import_wrong, NULL);
}
