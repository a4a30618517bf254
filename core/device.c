/* SPDX-License-Identifier: MIT
 * device.c: devices and their specifiers, and each device's table of kernels by operator.
 */
#include "plugins.h"
#include <stdio.h>
#include <stdlib.h>

#define TEXT_(n) #n
#define TEXT(n) TEXT_(n)

chxi_device *chxi_devices[CHXI_MAX_DEVICES];
atomic_int chxi_n_devices;
_Atomic(chxi_device *) chxi_native_device;

static bool add_kernel(chxi_device *d, int id, const chx_kernel *k)
{
  int n = 0;
  const chx_kernel **list = d->kernels[id];
  while (list && list[n]) n++;
  list = realloc(list, (size_t)(n + 2) * sizeof *list);
  if (!list) return false;
  list[n] = k;
  list[n + 1] = NULL;
  d->kernels[id] = list;
  return true;
}

static bool is_usable(const chx_kernel *k) { return CHX_HAS(k, chx_kernel, op) && CHX_HAS(k, chx_kernel, run); }

/* Fills d->kernels: for each operator the list of the plugin's kernels of its name, in the plugin's order. */
static bool index_kernels(chxi_device *d)
{
  d->kernels = calloc(CHXI_MAX_OPS, sizeof *d->kernels);
  if (!d->kernels) return false;
  const chx_kernel *k;
  for (uint32_t i = 0; (k = d->ops->kernel(d->dev, i)); i++) {
    const chx_op *op = is_usable(k) ? chx_op_find(k->op) : NULL;
    if (op && !add_kernel(d, op->id, k)) return false; /* not one that this core does not know */
  }
  return true;
}

static void drop(chxi_device *d)
{
  for (int i = 0; d->kernels && i < CHXI_MAX_OPS; i++) free(d->kernels[i]);
  free(d->kernels);
  free(d->ledger);
  pthread_mutex_destroy(&d->lock);
  free(d);
}

/* Nobody reads these lists yet: op is published afterwards. */
void chxi_device_learn(const chx_op *op)
{
  const chx_kernel *k;
  int n = atomic_load(&chxi_n_devices);
  for (int d = 0; d < n; d++)
    for (uint32_t i = 0; (k = chxi_devices[d]->ops->kernel(chxi_devices[d]->dev, i)); i++)
      if (is_usable(k) && !strcmp(k->op, op->name)) add_kernel(chxi_devices[d], op->id, k);
}

const char *chxi_device_add(chxi_backend *b, chx_dev *dev, int index)
{
  int id = atomic_load(&chxi_n_devices);
  if (id == CHXI_MAX_DEVICES) return "a process has at most " TEXT(CHXI_MAX_DEVICES) " devices";
  chxi_device *d = calloc(1, sizeof *d);
  if (!d) return chx_status_text(CHX_ENOMEM);
  d->id = id;
  d->backend = b;
  d->dev = dev;
  d->ops = b->ops;
  snprintf(d->spec, sizeof d->spec, "%s:%d", b->name, index);
  d->info.size = sizeof d->info;
  chx_status st = d->ops->info(dev, &d->info);
  d->host = d->info.flags & CHX_D_HOST_IS_DEVICE;
  d->queued = CHX_HAS(d->ops, chx_device_ops, queue_new);
  d->exact = !d->host && d->info.flags & CHX_D_OWN_POOL;
  d->mappable = !d->host && d->info.flags & CHX_D_MAPPABLE && CHX_HAS(d->ops, chx_device_ops, map) &&
                CHX_HAS(d->ops, chx_device_ops, unmap);
  d->whole = d->exact || d->mappable || d->info.flags & CHX_D_OPAQUE; /* mapping a block must not lock its neighbours */
  pthread_mutex_init(&d->lock, NULL);
  d->ledger = calloc((size_t)CHXI_MAX_OPS * 8, sizeof *d->ledger);
  if (!st && (!d->ledger || !index_kernels(d))) st = CHX_ENOMEM;
  if (st) {
    drop(d);
    return chx_status_text(st);
  }
  if (!b->n_devices++) b->first_device = id;
  chxi_devices[id] = d;
  if (!strcmp(d->spec, "native:0")) atomic_store(&chxi_native_device, d);
  atomic_store(&chxi_n_devices, id + 1);
  return NULL;
}

static chxi_device *by_spec(const char *spec)
{
  int n = atomic_load(&chxi_n_devices);
  for (int i = 0; i < n; i++)
    if (!strcmp(chxi_devices[i]->spec, spec)) return chxi_devices[i];
  return NULL;
}

/* "native:0, cuda:0": the devices there are. */
static const char *list_devices(char *text, size_t size)
{
  size_t at = 0;
  int n = atomic_load(&chxi_n_devices);
  text[0] = 0;
  for (int i = 0; i < n && at < size; i++) {
    int k = snprintf(text + at, size - at, "%s%s", i ? ", " : "", chxi_devices[i]->spec);
    at += k > 0 ? (size_t)k : 0;
  }
  return n ? text : "none";
}

chxi_device *chxi_device_find(chx_scope *s, const char *specifier)
{
  chxi_device *d = specifier ? by_spec(specifier) : NULL;
  if (d) return d;
  char name[64], spec[96], devices[512];
  int index = 0, used = 0, more = 0;
  if (!specifier || sscanf(specifier, "%63[^:]%n", name, &used) != 1 ||
      (specifier[used] &&
       (sscanf(specifier + used, ":%d%n", &index, &more) != 1 || index < 0 || specifier[used + more]))) {
    chx_scope_fail(s, CHX_EDEVICE, "device '%s' is no specifier, want \"backend\" or \"backend:index\"",
                   specifier ? specifier : "");
    return NULL;
  }
  snprintf(spec, sizeof spec, "%s:%d", name, index);
  pthread_mutex_lock(&chxi_load_lock);
  chxi_backend *b = chxi_backend_get(name);
  pthread_mutex_unlock(&chxi_load_lock);
  d = by_spec(spec);
  if (d) return d;
  const char *there = list_devices(devices, sizeof devices);
  if (!b)
    chx_scope_fail(s, CHX_EDEVICE, "device '%s': no such backend; there are %s", specifier, there);
  else if (b->n_devices)
    chx_scope_fail(s, CHX_EDEVICE, "device '%s': backend '%s' has %d device(s); there are %s", specifier, name,
                   b->n_devices, there);
  else
    chx_scope_fail(s, CHX_EDEVICE, "device '%s': not there, want one of %s (%s)", specifier, there,
                   b->error ? b->error : "no device");
  return NULL;
}

chxi_device *chxi_native(chx_scope *s)
{
  chxi_device *d = atomic_load_explicit(&chxi_native_device, memory_order_relaxed);
  if (chxi_unlikely(!d) && (d = chxi_device_find(s, "native:0"))) atomic_store(&chxi_native_device, d);
  return d;
}
