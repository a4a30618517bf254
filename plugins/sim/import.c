/* SPDX-License-Identifier: MIT
 * import.c: memory that is not sim's own: of the host, which a card reaches where it lies once its pages are pinned, and of
 * the device itself, which somebody else has allocated.
 *
 * Pinned memory of the host is an allocation as others are, with an address in the arena, but for its bytes, which are the
 * caller's. To import the device's own memory is to see that it is there; its allocation stays with its owner.
 */
#include "internal.h"

chx_status sim_import_host(chx_dev *dev, void *ptr, uint64_t bytes, uint32_t access, chx_buffer *out)
{
  chx_status st = sim_alive(dev);
  if (st) return st;
  if (access > (CHX_MAP_READ | CHX_MAP_WRITE)) return sim_fail(CHX_EARG, "import_host: access %u, want 0 to 3", access);
  if (!ptr) return sim_fail(CHX_EARG, "import_host: the memory is NULL, want %llu bytes", (unsigned long long)bytes);
  pthread_mutex_lock(&dev->lock);
  struct sim_block *b = sim_add_block(dev, bytes, ptr);
  pthread_mutex_unlock(&dev->lock);
  if (!b) return sim_fail(CHX_ENOMEM, "import_host: no addresses for %llu bytes", (unsigned long long)bytes);
  out->flags = CHX_B_PINNED | CHX_B_SHARED | CHX_B_COHERENT | CHX_B_IMPORTED;
  out->handle = dev->arena + b->at;
  out->host_ptr = ptr;
  out->bytes = bytes;
  return CHX_OK;
}

chx_status sim_import_native(chx_dev *dev, void *data, uint64_t bytes, chx_buffer *out)
{
  struct sim_block *b = NULL;
  chx_status st = sim_alive(dev);
  if (st) return st;
  const bool inside = sim_open_range(dev, data, bytes, &b) != NULL;
  sim_unpin(dev, b);
  if (!inside)
    return sim_fail(CHX_EARG, "import_native: %llu bytes at %p are not in a live allocation of %s", (unsigned long long)bytes,
                    data, dev->name);
  out->flags = CHX_B_DEVICE | CHX_B_IMPORTED;
  out->handle = data;
  out->host_ptr = NULL;
  out->bytes = bytes;
  return CHX_OK;
}
