/* SPDX-License-Identifier: MIT
 * dlpack_device.c: a tensor of another library in the memory of a device, as an array of the device that DLPack calls so.
 *
 * The backend imports the memory and never frees it. Its owner may use it, too: it is a shared buffer (transfer.c). Its end
 * waits for all that we have queued on it, as the owner knows nothing of our queues.
 */
#include "dlpack.h"
#include "plugins.h"
#include <stdio.h>

typedef struct imported {
  chxi_dl_managed *m; /* to be ended in the end; NULL: somebody else does it */
  chxi_device *dev;
  chx_buffer raw;
} imported;

static void end_imported(void *ctx)
{
  imported *e = ctx;
  if (e->raw.flags & CHX_B_IMPORTED) e->dev->ops->release(e->dev->dev, NULL, &e->raw);
  if (e->m && e->m->deleter) e->m->deleter(e->m);
  chxi_free(e, sizeof *e);
}

bool chxi_dl_keep(const chx_array *a, chxi_dl_managed *m)
{
  if (a->buf->deleter != end_imported) return false;
  ((imported *)a->buf->deleter_ctx)->m = m;
  return true;
}

/* ---- the device ---------------------------------------------------------------------------------------------------------- */

/* The backends whose devices DLPack has a number for; others are found where they are open already. */
static const struct { int32_t type, as; const char *backend; } backends[] = {
    {2, 2, "cuda"}, {13 /* managed */, 2, "cuda"}, {4, 4, "opencl"}, {10, 10, "hip"}};

static bool is_called(const chxi_device *dev, int32_t type, int32_t id)
{
  return type > 0 && dev->info.dl_type == type && dev->info.dl_id == id;
}

/* What DLPack calls it, as info does; opens the backend if no device is called so. *why: what that said, of why's owner. */
static int32_t opened(chxi_dl_device d, const char **why)
{
  int32_t type = d.type;
  const char *name = NULL;
  for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
    if (backends[i].type == d.type) type = backends[i].as, name = backends[i].backend;
  for (int i = atomic_load(&chxi_n_devices); i-- > 0;)
    if (is_called(chxi_devices[i], type, d.id)) return type;
  if (name) {
    pthread_mutex_lock(&chxi_load_lock);
    const chxi_backend *b = chxi_backend_get(name);
    *why = b && b->error ? b->error : NULL;
    pthread_mutex_unlock(&chxi_load_lock);
  }
  return type;
}

/* The error that no device is called so. */
static void unknown(chx_scope *s, const char *function, chxi_dl_device d, const char *why)
{
  chx_scope_fail(s, CHX_EDEVICE,
                 "%s: device type is %d (%s), id %d, which no device here is%s%s%s, want memory of the host or of "
                 "a device that is here",
                 function, d.type, chxi_dl_device_name(d.type), d.id, why ? " (" : "", why ? why : "", why ? ")" : "");
}

const char *chx_dlpack_device(chx_scope *s, int type, int id)
{
  const chxi_dl_device d = {type, id};
  const char *why = NULL;
  if (!chxi_ok(s)) return NULL;
  if (chxi_dl_is_host(type)) return "native:0";
  const int32_t as = opened(d, &why);
  const int n = atomic_load(&chxi_n_devices);
  for (int i = 0; i < n; i++)
    if (is_called(chxi_devices[i], as, id)) return chxi_devices[i]->spec;
  unknown(s, "dlpack_device", d, why);
  return NULL;
}

/* ---- the memory ---------------------------------------------------------------------------------------------------------- */

typedef struct span { /* bytes from what t->data names, to be imported: of an address from the first that is reached */
  uint64_t skip, first, bytes;
} span;

/* False: the elements are not aligned, or reach before a handle that is no address. */
static bool span_of(const chxi_device *dev, const chxi_dl_tensor *t, int64_t low, int64_t high, int size, span *out)
{
  const bool opaque = dev->info.flags & CHX_D_OPAQUE;
  const int64_t first = (int64_t)t->byte_offset + low * size;
  const uint64_t at = opaque ? (uint64_t)first : (uint64_t)((int64_t)(uintptr_t)t->data + first);
  if (at % (unsigned)(size > 8 ? 8 : size) || (opaque && first < 0)) return false;
  out->skip = opaque ? 0 : (uint64_t)first;
  out->first = opaque ? (uint64_t)first : 0;
  out->bytes = out->first + (uint64_t)((high - low + 1) * size);
  return true;
}

/* The buffer of an import, for array_on to take over. */
static chxi_buffer *buffer_of(chx_scope *s, imported *e, const span *w)
{
  chxi_stream *q;
  chxi_buffer *b = chxi_alloc(sizeof *b);
  if (!b) return chx_scope_fail(s, CHX_ENOMEM, "from_dlpack: out of memory for a buffer's header"), NULL;
  memset(b, 0, sizeof *b);
  atomic_init(&b->refs, 1);
  atomic_init(&b->valid, CHXI_ON_DEVICE);
  atomic_init(&b->shared, 1);
  b->dev = e->dev;
  b->handle = e->raw.handle;
  b->host = e->dev->host ? (char *)e->raw.handle + w->first : NULL;
  b->offset = w->first;
  b->bytes = b->asked = w->bytes - w->first;
  if (!chxi_stream_of(s, e->dev, &q)) return chxi_free(b, sizeof *b), NULL;
  if (q) chxi_after(q, b, true); /* who gave it has ordered its work before this queue's */
  b->deleter = end_imported;
  b->deleter_ctx = e;
  return b;
}

/* Imports what t names to dev. *st: why not, with the failure recorded for chxi_plugin_failed. */
static imported *import_to(chxi_device *dev, const chxi_dl_tensor *t, const span *w, chx_status *st)
{
  imported *e = chxi_alloc(sizeof *e);
  *st = CHX_ENOMEM;
  if (!e) return NULL;
  *e = (imported){.dev = dev, .raw = {.size = sizeof e->raw}};
  *st = dev->ops->import_native(dev->dev, (void *)((uintptr_t)t->data + w->skip), w->bytes, &e->raw);
  if (!*st) return e;
  chxi_free(e, sizeof *e);
  return NULL;
}

chx_array *chxi_dl_import(chx_scope *s, const chxi_dl_tensor *t, int dtype, int64_t low, int64_t high)
{
  const char *why = NULL, *spec = NULL;
  const int32_t type = opened(t->device, &why);
  const int n = atomic_load(&chxi_n_devices), size = chxi_dtypes[dtype].size;
  int64_t dense[CHX_MAX_RANK];
  chx_status st = CHX_EUNSUPPORTED;
  chxi_dense_strides(t->ndim, t->shape, dense);
  for (int i = 0; i < n; i++) { /* devices without a number of their own share one: the memory itself tells */
    chxi_device *dev = chxi_devices[i];
    span w;
    if (!is_called(dev, type, t->device.id)) continue;
    if (high < low) return chxi_array_new(s, dev, dtype, t->ndim, t->shape);
    spec = dev->spec;
    if (!CHX_HAS(dev->ops, chx_device_ops, import_native)) continue;
    if (!span_of(dev, t, low, high, size, &w)) {
      chx_scope_fail(s, CHX_EARG, "from_dlpack: data and byte_offset do not lie in %s's memory aligned for %s", spec,
                     chxi_dtypes[dtype].name);
      return NULL;
    }
    imported *e = import_to(dev, t, &w, &st);
    if (!e) continue;
    chxi_buffer *b = buffer_of(s, e, &w);
    if (!b) return end_imported(e), NULL;
    return chxi_array_on(s, b, dtype, t->ndim, t->shape, t->strides ? t->strides : dense,
                         w.first + (uint64_t)(-low * size));
  }
  if (!spec) unknown(s, "from_dlpack", t->device, why);
  else if (st == CHX_EUNSUPPORTED)
    chx_scope_fail(s, st, "from_dlpack: %s takes no memory of others, want an array that is copied there", spec);
  else
    chxi_plugin_failed(s, st, "from_dlpack: %s", spec);
  return NULL;
}
