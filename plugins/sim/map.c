/* SPDX-License-Identifier: MIT
 * map.c: the host's view of an allocation, in the mappable and the coherent mode.
 *
 * The bytes of an allocation are mapped twice into the process: for kernels and copies, at addresses that the host is
 * never told, and for the host. In the mappable mode the host's pages are closed but between map and unmap, so that
 * an access at another time crashes; and a job that meets memory which the host has mapped is an error.
 */
#include "internal.h"

chx_status sim_not_mapped(struct chx_dev *dev, struct sim_block *b, bool writes, const char *what)
{
  if (dev->opt.mode != SIM_MAPPABLE) return CHX_OK;
  pthread_mutex_lock(&dev->lock);
  bool clash = b->writes || (writes && b->reads);
  pthread_mutex_unlock(&dev->lock);
  if (!clash) return CHX_OK;
  return sim_fail(CHX_EFAILED, "%s: %s memory that the host has mapped, want it unmapped before it is used", what,
                  writes ? "writes" : "reads");
}

chx_status sim_map(chx_dev *dev, chx_queue *q, chx_buffer *buffer, uint64_t off, uint64_t bytes, uint32_t access,
                   void **host_ptr)
{
  chx_status st = sim_alive(dev);
  if (st) return st;
  if (dev->opt.mode == SIM_PRIVATE)
    return sim_fail(CHX_EUNSUPPORTED, "map: the memory of %s is private, want CHX_SIM_MEMORY_MODE=mappable", dev->name);
  if (access > (CHX_MAP_READ | CHX_MAP_WRITE)) return sim_fail(CHX_EARG, "map: access %u, want 0 to 3", access);
  bool writes = !access || access & CHX_MAP_WRITE;
  if (q && (st = sim_queue_sync(dev, q, sim_queue_mark(dev, q), INT64_MAX))) return st;
  struct sim_block *b = sim_pin(dev, buffer->handle);
  if (!b) return sim_fail(CHX_EARG, "map: what is not, or no longer, an allocation of %s", dev->name);
  if (off > b->bytes || bytes > b->bytes - off)
    st = sim_fail(CHX_EARG, "map: bytes %llu to %llu of an allocation of %llu", (unsigned long long)off,
                  (unsigned long long)off + bytes, (unsigned long long)b->bytes);
  if (!st) {
    pthread_mutex_lock(&dev->lock);
    *(writes ? &b->writes : &b->reads) += 1;
    bool opened = sim_window(dev, b, b->writes ? 2 : 1);
    pthread_mutex_unlock(&dev->lock);
    if (opened) *host_ptr = b->window + off;
    else st = sim_fail(CHX_EFAILED, "map: the system does not open the pages");
  }
  sim_unpin(dev, b);
  return st;
}

chx_status sim_unmap(chx_dev *dev, chx_queue *q, chx_buffer *buffer, void *host_ptr)
{
  chx_status st = sim_here();
  (void)q;
  if (st) return st;
  struct sim_block *b = sim_pin(dev, buffer->handle);
  if (!b) return sim_fail(CHX_EARG, "unmap: what is not, or no longer, an allocation of %s", dev->name);
  pthread_mutex_lock(&dev->lock);
  bool mapped = b->reads + b->writes && (char *)host_ptr >= b->window && (char *)host_ptr <= b->window + b->bytes;
  if (mapped) {
    *(b->reads ? &b->reads : &b->writes) -= 1; /* nothing says which of several ends: the pages stay writable longest */
    sim_window(dev, b, b->writes ? 2 : b->reads ? 1 : 0);
  }
  pthread_mutex_unlock(&dev->lock);
  sim_unpin(dev, b);
  if (!mapped) return sim_fail(CHX_EARG, "unmap: a pointer that is not mapped");
  return sim_alive(dev);
}
