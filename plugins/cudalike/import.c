/* SPDX-License-Identifier: MIT
 * import.c: memory of others: the host's, whose pages are pinned for as long, and a device's, by its pointer.
 *
 * A pointer tells whose it is. Managed memory is every device's of the vendor's; pinned memory of the host has a way in of
 * its own, and is refused as a device's.
 */
#include <stdio.h>
#include "drv.h"

chx_status drv_import_host(chx_dev *dev, void *ptr, uint64_t bytes, uint32_t access, chx_buffer *out)
{
  drv_ptr p = (drv_ptr)0;
  (void)access;
  if (!ptr || !bytes) return drv_host->fail(drv_host->ctx, CHX_EARG, DRV_PLUGIN ": import_host: no memory, want its first byte");
  const chx_status st = drv_enter(dev);
  if (st) return st;
  drv_result code = drv.HostRegister(ptr, (size_t)bytes, DRV_REGISTER_FLAGS);
  if (code) return drv_fail(dev, code, "pinning the host's memory");
  if ((code = drv.HostDevicePointer(&p, ptr, 0))) {
    drv.HostUnregister(ptr);
    return drv_fail(dev, code, "asking for the device's address of pinned memory");
  }
  out->flags = CHX_B_PINNED | CHX_B_SHARED | CHX_B_COHERENT | CHX_B_IMPORTED;
  out->handle = (void *)(uintptr_t)p;
  out->host_ptr = ptr;
  out->bytes = bytes;
  return CHX_OK;
}

chx_status drv_import_native(chx_dev *dev, void *data, uint64_t bytes, chx_buffer *out)
{
  const drv_ptr p = drv_at(data, 0);
  unsigned type = 0, managed = 0;
  int owner = -1;
  char text[128];
  const chx_status st = drv_enter(dev);
  if (st) return st;
  if (!data || drv.PointerAttribute(&type, DRV_POINTER_TYPE, p) || drv.PointerAttribute(&owner, DRV_POINTER_DEVICE, p)) {
    snprintf(text, sizeof text, DRV_PLUGIN ": import_native: %p is not known to the driver, want memory of a device", data);
    return drv_host->fail(drv_host->ctx, CHX_EARG, text);
  }
  if (drv.PointerAttribute(&managed, DRV_POINTER_MANAGED, p)) managed = 0; /* a driver that does not know of it has none */
  if (!managed && (type == DRV_TYPE_HOST || owner != dev->ordinal)) {
    char whose[24] = "the host";
    if (type != DRV_TYPE_HOST) snprintf(whose, sizeof whose, "device %d", owner);
    snprintf(text, sizeof text, DRV_PLUGIN ": import_native: %p is memory of %s, want %s's", data, whose, dev->gpu.spec);
    return drv_host->fail(drv_host->ctx, CHX_EARG, text);
  }
  out->flags = CHX_B_DEVICE | CHX_B_IMPORTED;
  out->handle = data;
  out->host_ptr = NULL;
  out->bytes = bytes;
  return CHX_OK;
}

void drv_end_import(chx_dev *dev, chx_queue *q, chx_buffer *b)
{
  if (b->flags & CHX_B_PINNED && !drv_enter(dev)) {
    if (q) drv.StreamSynchronize(q->stream);
    else drv.Synchronize();
    drv.HostUnregister(b->host_ptr);
  }
  b->handle = NULL;
}
