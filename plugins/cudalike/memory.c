/* SPDX-License-Identifier: MIT
 * memory.c: blocks, copies, and copies between devices.
 *
 * Blocks come from the driver's stream-ordered pool where there is one. They are taken on a stream of their own, which
 * is waited for, so that a block may be used by any queue at once; they go back in the order of the queue that releases
 * them.
 *
 * The host's bytes are the caller's to change as soon as a copy from them returns, so they go through pinned pieces,
 * which the device reads later: a copy of a few MiB costs the host its memcpy. To the host, the driver itself copies:
 * it returns when pageable memory is written.
 */
#include <stdio.h>
#include <string.h>
#include "drv.h"

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

chx_status drv_alloc(chx_dev *dev, chx_queue *q, uint64_t bytes, uint32_t kind, chx_buffer *out)
{
  const size_t size = bytes ? (size_t)bytes : 1;
  const char *call = "allocating";
  char text[160];
  drv_ptr p = (drv_ptr)0;
  (void)q, (void)kind;
  const chx_status st = drv_enter(dev);
  if (st) return st;
  drv_result code = dev->pools ? drv.PoolAlloc(&p, size, dev->pool_stream) : drv.MemAlloc(&p, size);
  if (!code && dev->pools) call = "waiting for memory", code = drv.StreamSynchronize(dev->pool_stream);
  if (DRV_OUT_OF_MEMORY(code)) {
    size_t left = 0, all = 0;
    drv.MemGetInfo(&left, &all);
    snprintf(text, sizeof text, "%s %llu bytes, %llu are free", call, (unsigned long long)bytes,
             (unsigned long long)left);
    return drv_fail(dev, code, text);
  }
  if (code) return drv_fail(dev, code, call);
  out->flags = CHX_B_DEVICE;
  out->handle = (void *)(uintptr_t)p;
  out->host_ptr = NULL;
  out->bytes = bytes;
  return CHX_OK;
}

/* Without a queue nothing says which work still uses the block, so all of it is waited for. */
void drv_release(chx_dev *dev, chx_queue *q, chx_buffer *b)
{
  if (b->flags & CHX_B_IMPORTED) return drv_end_import(dev, q, b);
  if (!b->handle || drv_enter(dev)) return;
  drv_give_back(dev, q, drv_at(b->handle, 0));
  b->handle = NULL;
}

/* ---- copies ------------------------------------------------------------------------------------------------------ */

chx_status drv_pin(chx_dev *dev, chx_queue *q)
{
  if (q->pinned) return CHX_OK;
  const size_t size = (size_t)DRV_SLOTS * DRV_SLOT_BYTES + sizeof q->report;
  const drv_result code = drv.HostAlloc((void **)&q->pinned, size, DRV_HOST_FLAGS);
  return code ? (q->pinned = NULL, drv_fail(dev, code, "allocating pinned memory")) : CHX_OK;
}

/* A pinned piece that the device has read. */
static chx_status piece(chx_dev *dev, chx_queue *q, drv_mark **slot, char **at)
{
  const chx_status st = drv_pin(dev, q);
  if (st) return st;
  const uint32_t i = q->next_slot++ % DRV_SLOTS;
  *slot = &q->slot[i];
  *at = q->pinned + (size_t)i * DRV_SLOT_BYTES;
  if (!(*slot)->at || (*slot)->at <= q->done) return CHX_OK;
  const drv_result code = drv.EventSynchronize((*slot)->event);
  return code ? drv_queued(dev, q, code, "waiting for a copy") : CHX_OK;
}

static chx_status copy_in(chx_dev *dev, chx_queue *q, drv_ptr dst, const char *src, uint64_t bytes)
{
  if (q->capture) {
    char *kept = NULL;
    const chx_status st = drv_capture_bytes(dev, q, src, (size_t)bytes, &kept);
    return st ? st : drv_queued(dev, q, drv.CopyIn(dst, kept, (size_t)bytes, q->stream), "copying to the device");
  }
  while (bytes) {
    const size_t n = bytes < DRV_SLOT_BYTES ? (size_t)bytes : DRV_SLOT_BYTES;
    drv_mark *slot = NULL;
    char *at = NULL;
    chx_status st = piece(dev, q, &slot, &at);
    if (st) return st;
    memcpy(at, src, n);
    if ((st = drv_queued(dev, q, drv.CopyIn(dst, at, n, q->stream), "copying to the device"))) return st;
    if ((st = drv_record(dev, q, slot))) return st;
    dst = drv_at((void *)(uintptr_t)dst, n);
    src += n;
    bytes -= n;
  }
  return CHX_OK;
}

static chx_status no_queue(const chx_dev *dev, const char *what)
{
  char text[96];
  snprintf(text, sizeof text, "%s: %s without a queue, want one of queue_new", dev->gpu.spec, what);
  return drv_host->fail(drv_host->ctx, CHX_EARG, text);
}

chx_status drv_copy(chx_dev *dev, chx_queue *q, void *dst, uint64_t dst_off, const void *src, uint64_t src_off,
                    uint64_t bytes,
                    uint32_t dir)
{
  enum { HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE };
  if (!q) return no_queue(dev, "copy");
  if (!bytes) return CHX_OK;
  chx_status st = drv_enter(dev);
  if (!st && dir == DEVICE_TO_HOST) st = drv_not_recording(dev, q, "a copy to the host");
  if (st) return st;
  switch (dir) {
  case HOST_TO_DEVICE: return copy_in(dev, q, drv_at(dst, dst_off), (const char *)src + src_off, bytes);
  case DEVICE_TO_HOST:
    return drv_queued(dev, q, drv.CopyOut((char *)dst + dst_off, drv_at(src, src_off), (size_t)bytes, q->stream),
                      "copying to the host");
  case DEVICE_TO_DEVICE:
    return drv_queued(dev, q, drv.CopyOver(drv_at(dst, dst_off), drv_at(src, src_off), (size_t)bytes, q->stream),
                      "copying on the device");
  default: return drv_host->fail(drv_host->ctx, CHX_EARG, DRV_PLUGIN ": copy: unknown direction, want 0, 1 or 2");
  }
}

/* ---- peers: "chx.peer/1" ----------------------------------------------------------------------------------------- */

/* Any two devices of a driver can copy; where one can reach the other's memory, it is allowed to, so that the bytes need
 * not go through the host. */
static chx_status can(chx_dev *to, chx_dev *from)
{
  int reach = 0;
  drv_pool pool;
  chx_status st = drv_enter(to);
  if (st || to == from) return st;
  if (drv.CanAccessPeer(&reach, to->device, from->device) || !reach) return CHX_OK;
  const drv_result code = drv.EnablePeer(from->context, 0);
  if (code && code != DRV_PEER_ENABLED) return drv_fail(to, code, "reaching another device's memory");
  if (!from->pools || drv.DefaultPool(&pool, from->device)) return CHX_OK;
  DRV_ACCESS(access, to->ordinal);
  const drv_result shared = drv.PoolSetAccess(pool, &access, 1);
  return shared ? drv_fail(to, shared, "reaching another device's pool of memory") : CHX_OK;
}

static chx_status copy_from_peer(chx_dev *to, chx_queue *q, void *dst, uint64_t dst_off, chx_dev *from, const void *src,
                                 uint64_t src_off, uint64_t bytes)
{
  if (!q) return no_queue(to, "copy from another device");
  if (!bytes) return CHX_OK;
  chx_status st = drv_enter(to);
  if (st || (st = drv_not_recording(to, q, "a copy from another device"))) return st;
  return drv_queued(to, q, drv.CopyPeer(drv_at(dst, dst_off), to->context, drv_at(src, src_off), from->context,
                                        (size_t)bytes,
                                        q->stream), "copying from another device");
}

const void *drv_extension(chx_dev *dev, const char *name)
{
  static const chx_peer_ops peer = {.size = sizeof peer, .can = can, .copy = copy_from_peer};
  (void)dev;
  if (name && !strcmp(name, "chx.capture/1")) return drv.has_captures ? &drv_capture_ops : NULL;
  if (name && !strcmp(name, "chx.rtc/1")) return &drv_rtc;
  return name && !strcmp(name, "chx.peer/1") ? &peer : NULL;
}
