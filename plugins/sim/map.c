/* SPDX-License-Identifier: MIT
 * map.c: the host's view of an allocation, in the mappable and the coherent mode.
 *
 * The bytes of an allocation are mapped twice into the process: for kernels and copies, at addresses that the host is
 * never told, and for the host. In the mappable mode the host's pages are closed but between map and unmap, so that
 * an access at another time crashes; and a job that meets memory which the host has mapped is an error. A map that does not
 * wait is a job, too: from there on the memory is mapped, but the pages open only when the host has waited for it.
 */
#include "internal.h"
#include <stdlib.h>
#include <string.h>

struct sim_mapping { /* one that the host has not waited for; in its device's list, under that lock */
  struct sim_mapping *next;
  struct sim_block *block; /* pinned */
  chx_queue *q;
  uint64_t point, off, bytes;
  uint32_t access;
  bool reached, given_back; /* its job has been done; it was unmapped before */
};

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

/* The device's lock is held. The host has the bytes from now on; the old ones, where they are of no use to it, are gone. */
static void take(struct sim_block *b, uint64_t off, uint64_t bytes, uint32_t access)
{
  *(access & CHX_MAP_WRITE ? &b->writes : &b->reads) += 1;
  if (access == CHX_MAP_WRITE) memset(b->data + off, 0xff, bytes);
}

/* And the pages. */
static bool open_window(struct chx_dev *dev, struct sim_block *b) { return sim_window(dev, b, b->writes ? 2 : b->reads ? 1 : 0); }

/* Takes m, if it is in the list, out of it. */
static void drop(struct chx_dev *dev, struct sim_mapping *m)
{
  struct sim_mapping **p = &dev->mappings;
  while (*p && *p != m) p = &(*p)->next;
  if (*p) *p = m->next;
  free(m);
}

struct map_job {
  struct sim_job job;
  struct chx_dev *dev;
  struct sim_mapping *m;
};

static chx_status run_map(struct sim_job *job)
{
  struct map_job *j = (struct map_job *)job;
  struct sim_mapping *m = j->m;
  struct sim_block *unpin = NULL;
  pthread_mutex_lock(&j->dev->lock);
  m->reached = true;
  if (m->given_back) {
    unpin = m->block;
    drop(j->dev, m);
  } else
    take(m->block, m->off, m->bytes, m->access);
  pthread_mutex_unlock(&j->dev->lock);
  sim_unpin(j->dev, unpin);
  return CHX_OK;
}

/* A mapping behind what is queued on q; m takes over b's pin. */
static chx_status map_later(struct chx_dev *dev, chx_queue *q, struct sim_block *b, uint64_t off, uint64_t bytes, uint32_t access)
{
  struct sim_mapping *m = calloc(1, sizeof *m);
  struct map_job *j = m ? sim_job_new(sizeof *j, run_map) : NULL;
  if (!j) return free(m), sim_fail(CHX_ENOMEM, "map: no memory");
  *m = (struct sim_mapping){.block = b, .q = q, .point = sim_queue_mark(dev, q) + 1, .off = off, .bytes = bytes, .access = access};
  j->job.always = true;
  j->dev = dev;
  j->m = m;
  pthread_mutex_lock(&dev->lock);
  m->next = dev->mappings;
  dev->mappings = m;
  pthread_mutex_unlock(&dev->lock);
  chx_status st = sim_enqueue(dev, q, &j->job);
  if (st) {
    pthread_mutex_lock(&dev->lock);
    drop(dev, m);
    pthread_mutex_unlock(&dev->lock);
  }
  return st;
}

void sim_maps_forget(struct chx_dev *dev)
{
  while (dev->mappings) drop(dev, dev->mappings);
}

void sim_maps_reached(struct chx_dev *dev, const chx_queue *q, uint64_t point)
{
  for (struct sim_block *b;; sim_unpin(dev, b)) {
    b = NULL;
    pthread_mutex_lock(&dev->lock);
    struct sim_mapping *m = dev->mappings;
    while (m && (m->q != q || m->point > point || m->given_back)) m = m->next;
    if (m) {
      open_window(dev, b = m->block);
      drop(dev, m);
    }
    pthread_mutex_unlock(&dev->lock);
    if (!b) return;
  }
}

chx_status sim_map(chx_dev *dev, chx_queue *q, chx_buffer *buffer, uint64_t off, uint64_t bytes, uint32_t access,
                   void **host_ptr)
{
  const bool later = access & CHX_MAP_NOWAIT && q;
  chx_status st = sim_alive(dev);
  if (st) return st;
  if (dev->opt.mode == SIM_PRIVATE)
    return sim_fail(CHX_EUNSUPPORTED, "map: the memory of %s is private, want CHX_SIM_MEMORY_MODE=mappable", dev->name);
  if (dev->opt.map_most && bytes > dev->opt.map_most)
    return sim_fail(CHX_EUNSUPPORTED, "map: %llu bytes, CHX_SIM_MAP_MOST is %llu", (unsigned long long)bytes,
                    (unsigned long long)dev->opt.map_most);
  if (!(access &= CHX_MAP_READ | CHX_MAP_WRITE)) access = CHX_MAP_READ | CHX_MAP_WRITE;
  if (q && !later && (st = sim_queue_sync(dev, q, sim_queue_mark(dev, q), INT64_MAX))) return st;
  struct sim_block *b = sim_pin(dev, buffer->handle);
  if (!b) return sim_fail(CHX_EARG, "map: what is not, or no longer, an allocation of %s", dev->name);
  if (off > b->bytes || bytes > b->bytes - off)
    st = sim_fail(CHX_EARG, "map: bytes %llu to %llu of an allocation of %llu", (unsigned long long)off,
                  (unsigned long long)off + bytes, (unsigned long long)b->bytes);
  *host_ptr = b->window + off;
  if (!st && later) {
    if (!(st = map_later(dev, q, b, off, bytes, access))) return CHX_OK;
  } else if (!st) {
    pthread_mutex_lock(&dev->lock);
    take(b, off, bytes, access);
    if (!open_window(dev, b)) st = sim_fail(CHX_EFAILED, "map: the system does not open the pages");
    pthread_mutex_unlock(&dev->lock);
  }
  sim_unpin(dev, b);
  return st;
}

/* Ends the mapping at host_ptr that the host has not waited for; false: there is none. The device's lock is held. */
static bool unmap_early(struct chx_dev *dev, struct sim_block *b, const void *host_ptr, bool *unpin)
{
  struct sim_mapping *m = dev->mappings;
  while (m && (m->block != b || m->given_back || b->window + m->off != host_ptr)) m = m->next;
  if (!m) return false;
  m->given_back = true; /* its job sees to the rest */
  if (!m->reached) return true;
  *(m->access & CHX_MAP_WRITE ? &b->writes : &b->reads) -= 1;
  *unpin = true;
  drop(dev, m);
  return true;
}

chx_status sim_unmap(chx_dev *dev, chx_queue *q, chx_buffer *buffer, void *host_ptr)
{
  chx_status st = sim_here();
  (void)q;
  if (st) return st;
  struct sim_block *b = sim_pin(dev, buffer->handle);
  if (!b) return sim_fail(CHX_EARG, "unmap: what is not, or no longer, an allocation of %s", dev->name);
  bool unpin = false;
  pthread_mutex_lock(&dev->lock);
  bool mapped = unmap_early(dev, b, host_ptr, &unpin);
  if (!mapped) {
    mapped = b->reads + b->writes && (char *)host_ptr >= b->window && (char *)host_ptr <= b->window + b->bytes;
    if (mapped) *(b->reads ? &b->reads : &b->writes) -= 1; /* nothing says which of several ends: the pages stay writable longest */
    if (mapped) open_window(dev, b);
  }
  pthread_mutex_unlock(&dev->lock);
  sim_unpin(dev, b);
  if (unpin) sim_unpin(dev, b);
  if (!mapped) return sim_fail(CHX_EARG, "unmap: a pointer that is not mapped");
  return sim_alive(dev);
}
