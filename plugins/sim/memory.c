/* SPDX-License-Identifier: MIT
 * memory.c: the private address space of a device.
 *
 * A handle is an address inside a range of addresses that is reserved and closed: host code that follows one crashes.
 * The bytes lie elsewhere, and only a job finds them, by looking its addresses up among the live allocations: an
 * address that was released, or reaches past its allocation, is an error and not a wrong number. Addresses are used
 * again as late as possible for the same reason. Fresh memory is all ones, which is a NaN in every floating dtype.
 */
#include "internal.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ARENA_BYTES ((uint64_t)1 << 35) /* of addresses; they cost nothing */
enum { GAP = 1 << 16 };                 /* between allocations, at least; also their alignment in the arena */

bool sim_memory_open(struct chx_dev *dev)
{
  void *p = mmap(NULL, ARENA_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return false;
  dev->arena = p;
  dev->used = dev->next = 0;
  return true;
}

void sim_memory_close(struct chx_dev *dev)
{
  for (size_t i = 0; i < dev->n_blocks; i++) {
    free(dev->block[i]->data);
    free(dev->block[i]);
  }
  free(dev->block);
  dev->block = NULL;
  dev->n_blocks = dev->room = 0;
  if (dev->arena) munmap(dev->arena, ARENA_BYTES);
  dev->arena = NULL;
}

/* The first allocation that starts after `at`: its position in dev->block. */
static size_t upper(const struct chx_dev *dev, uint64_t at)
{
  size_t low = 0, high = dev->n_blocks;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (dev->block[middle]->at > at) high = middle;
    else low = middle + 1;
  }
  return low;
}

/* ---- allocations --------------------------------------------------------------------------------------------------- */

/* A place for `span` bytes of addresses: past the newest allocation, or, at the end of the arena, the first gap. */
static bool find_place(struct chx_dev *dev, uint64_t span, uint64_t *at)
{
  if (span > ARENA_BYTES) return false;
  if (dev->next > ARENA_BYTES - span) dev->next = 0;
  uint64_t from = dev->next;
  for (size_t i = upper(dev, from); i < dev->n_blocks; i++) {
    if (dev->block[i]->at - from >= span) break;
    from = (dev->block[i]->at + dev->block[i]->bytes) / GAP * GAP + GAP;
  }
  if (from > ARENA_BYTES - span) return false;
  *at = from;
  dev->next = from + span;
  return true;
}

/* The device's lock is held. */
static struct sim_block *add_block(struct chx_dev *dev, uint64_t bytes)
{
  if (bytes > dev->capacity - dev->used) return NULL;
  if (dev->n_blocks == dev->room) {
    size_t room = dev->room ? 2 * dev->room : 64;
    struct sim_block **list = realloc(dev->block, room * sizeof *list);
    if (!list) return NULL;
    dev->block = list;
    dev->room = room;
  }
  struct sim_block *b = calloc(1, sizeof *b);
  void *data = NULL;
  if (!b || posix_memalign(&data, 64, bytes ? bytes : 1) || !find_place(dev, bytes / GAP * GAP + 2 * GAP, &b->at)) {
    free(data);
    free(b);
    return NULL;
  }
  b->bytes = bytes;
  b->data = data;
  size_t i = upper(dev, b->at);
  memmove(&dev->block[i + 1], &dev->block[i], (dev->n_blocks++ - i) * sizeof *dev->block);
  dev->block[i] = b;
  dev->used += bytes;
  return b;
}

chx_status sim_alloc(chx_dev *dev, chx_queue *q, uint64_t bytes, uint32_t kind, chx_buffer *out)
{
  char text[SIM_TEXT];
  bool late;
  chx_status st = sim_here();
  (void)q;
  if (st) return st;
  if (kind & ~(uint32_t)CHX_B_DEVICE) return sim_fail(CHX_EUNSUPPORTED, "alloc: there is device memory only");
  if (sim_fault(dev, CHX_SIM_ALLOC, "alloc", &late, text)) return sim_fail(CHX_ENOMEM, "%s", text);
  pthread_mutex_lock(&dev->lock);
  struct sim_block *b = add_block(dev, bytes);
  uint64_t used = dev->used;
  pthread_mutex_unlock(&dev->lock);
  if (!b)
    return sim_fail(CHX_ENOMEM, "no memory for %llu bytes, %llu of %llu are in use", (unsigned long long)bytes,
                    (unsigned long long)used, (unsigned long long)dev->capacity);
  memset(b->data, 0xff, bytes);
  out->flags = CHX_B_DEVICE;
  out->handle = dev->arena + b->at;
  out->host_ptr = NULL;
  out->bytes = bytes;
  return CHX_OK;
}

static void free_block(struct sim_block *b)
{
  free(b->data);
  free(b);
}

struct sim_block *sim_pin(struct chx_dev *dev, const void *p)
{
  uint64_t at = (uint64_t)((uintptr_t)p - (uintptr_t)dev->arena);
  if (at >= ARENA_BYTES) return NULL;
  pthread_mutex_lock(&dev->lock);
  size_t i = upper(dev, at);
  struct sim_block *b = i ? dev->block[i - 1] : NULL;
  if (b && at - b->at <= b->bytes) b->pins++;
  else b = NULL;
  pthread_mutex_unlock(&dev->lock);
  return b;
}

void sim_unpin(struct chx_dev *dev, struct sim_block *b)
{
  if (!b) return;
  pthread_mutex_lock(&dev->lock);
  bool last = --b->pins == 0 && b->released;
  pthread_mutex_unlock(&dev->lock);
  if (last) free_block(b);
}

struct release_job {
  struct sim_job job;
  struct chx_dev *dev;
  void *handle;
};

/* From now on no address finds the allocation; its bytes go when no job uses them any more. */
static chx_status run_release(struct sim_job *job)
{
  struct release_job *r = (struct release_job *)job;
  struct chx_dev *dev = r->dev;
  uint64_t at = (uint64_t)((uintptr_t)r->handle - (uintptr_t)dev->arena);
  pthread_mutex_lock(&dev->lock);
  size_t i = upper(dev, at);
  struct sim_block *b = i && dev->block[i - 1]->at == at ? dev->block[i - 1] : NULL;
  if (b) {
    memmove(&dev->block[i - 1], &dev->block[i], (dev->n_blocks-- - i) * sizeof *dev->block);
    dev->used -= b->bytes;
    b->released = true;
  }
  bool last = b && !b->pins;
  pthread_mutex_unlock(&dev->lock);
  if (!b) return sim_fail(CHX_EARG, "release of what is not, or no longer, an allocation");
  if (last) free_block(b);
  return CHX_OK;
}

void sim_release(chx_dev *dev, chx_queue *q, chx_buffer *buffer)
{
  if (sim_here()) return;
  struct release_job *r = sim_job_new(sizeof *r, run_release);
  if (!r) { /* no memory to do it in order: wait for the order instead */
    struct release_job now = {.dev = dev, .handle = buffer->handle};
    if (q) sim_queue_sync(dev, q, sim_queue_mark(dev, q), INT64_MAX);
    run_release(&now.job);
    return;
  }
  r->job.always = true;
  r->dev = dev;
  r->handle = buffer->handle;
  sim_enqueue(dev, q, &r->job);
}

/* ---- copies -------------------------------------------------------------------------------------------------------- */

enum { HOST_TO_DEVICE = 0, DEVICE_TO_HOST, DEVICE_TO_DEVICE };
static const char *const directions[] = {"host to device", "device to host", "device to device"};

struct copy_job {
  struct sim_job job;
  struct chx_dev *dev;
  char *dst;
  const char *src;
  uint64_t bytes;
  uint32_t dir;
  bool fault;
  char *text; /* of the fault */
};

/* A device's address as the host's, with its allocation pinned; NULL: not all of [p, p + bytes) is in one. */
static char *open_range(struct chx_dev *dev, const char *p, uint64_t bytes, struct sim_block **b)
{
  if (!(*b = sim_pin(dev, p))) return NULL;
  uint64_t offset = (uint64_t)(p - dev->arena) - (*b)->at;
  return bytes <= (*b)->bytes - offset ? (*b)->data + offset : NULL;
}

static chx_status run_copy(struct sim_job *job)
{
  struct copy_job *c = (struct copy_job *)job;
  struct sim_block *to = NULL, *from = NULL;
  if (c->fault) return sim_fail(CHX_EDEVICE, "%s", c->text);
  char *dst = c->dir == DEVICE_TO_HOST ? c->dst : open_range(c->dev, c->dst, c->bytes, &to);
  const char *src = c->dir == HOST_TO_DEVICE ? c->src : open_range(c->dev, c->src, c->bytes, &from);
  chx_status st = CHX_OK;
  if (dst && src) memmove(dst, src, c->bytes);
  else
    st = sim_fail(CHX_EARG, "copy, %s: the %s %llu bytes are not in a live allocation of this device",
                  directions[c->dir], dst ? "source's" : "target's", (unsigned long long)c->bytes);
  sim_unpin(c->dev, to);
  sim_unpin(c->dev, from);
  return st;
}

chx_status sim_copy(chx_dev *dev, chx_queue *q, void *dst, uint64_t dst_off, const void *src, uint64_t src_off,
                    uint64_t bytes, uint32_t dir)
{
  char text[SIM_TEXT];
  bool late = false;
  chx_status st = sim_here();
  if (st) return st;
  if (dir > DEVICE_TO_DEVICE) return sim_fail(CHX_EARG, "copy: direction %u, want 0, 1 or 2", dir);
  bool fault = sim_fault(dev, CHX_SIM_COPY, directions[dir], &late, text);
  if (fault && !late) return sim_fail(CHX_EDEVICE, "%s", text);
  if (!bytes && !fault) return CHX_OK;
  uint64_t payload = dir == HOST_TO_DEVICE ? bytes : 0; /* the host's bytes are lent for this call only */
  struct copy_job *c = sim_job_new(sizeof *c + (fault ? SIM_TEXT : 0) + payload, run_copy);
  if (!c) return CHX_ENOMEM;
  char *room = (char *)(c + 1);
  c->dev = dev;
  c->bytes = bytes;
  c->dir = dir;
  c->dst = (char *)((uintptr_t)dst + dst_off);
  c->src = (const char *)((uintptr_t)src + src_off);
  if (fault) {
    c->fault = true;
    c->text = memcpy(room, text, SIM_TEXT);
    room += SIM_TEXT;
  }
  if (payload) c->src = memcpy(room, c->src, bytes);
  return sim_enqueue(dev, q, &c->job);
}
