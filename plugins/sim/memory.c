/* SPDX-License-Identifier: MIT
 * memory.c: the address space of a device.
 *
 * A handle is an address inside a range of addresses that is reserved and closed: host code that follows one crashes.
 * The bytes lie elsewhere, and only a job finds them, by looking its addresses up among the live allocations: an
 * address that was released, or reaches past its allocation, is an error and not a wrong number. Addresses are used
 * again as late as possible for the same reason. Fresh memory is all ones, which is a NaN in every floating dtype.
 *
 * The bytes are from the heap, or, with guard pages or where the host may see them, in pages of their own: a region that
 * is closed before them and after. With guard pages they end at the end of the last page; an allocation whose size is
 * no multiple of 64 is then aligned only as its size is.
 */
#include "internal.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GAP = 1 << 16 }; /* between allocations, at least; also their alignment in the arena */

uint64_t sim_page(void) { return (uint64_t)sysconf(_SC_PAGESIZE); }

static void *reserve(uint64_t bytes)
{
  void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

bool sim_memory_open(struct chx_dev *dev)
{
  dev->arena_bytes = 2 * dev->opt.capacity / GAP * GAP + ((uint64_t)1 << 30); /* of addresses; they cost nothing */
  dev->used = dev->next = 0;
  return (dev->arena = reserve(dev->arena_bytes)) != NULL;
}

/* ---- the bytes ------------------------------------------------------------------------------------------------------- */

static void drop_bytes(struct sim_block *b)
{
  if (!b->region[0] && !b->imported) free(b->data);
  for (int i = 0; i < 2; i++)
    if (b->region[i]) munmap(b->region[i], b->region_bytes);
}

/* Opens the pages of region i between its guards; fd: of what is behind them, -1: memory of their own. */
static bool open_pages(struct sim_block *b, int i, int fd, int protection)
{
  uint64_t page = sim_page(), inner = b->region_bytes - 2 * page;
  if (!(b->region[i] = reserve(b->region_bytes))) return false;
  char *at = b->region[i] + page;
  if (fd < 0) return !mprotect(at, inner, protection);
  return mmap(at, inner, protection, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED;
}

static bool get_bytes(const struct chx_dev *dev, struct sim_block *b)
{
  uint64_t page = sim_page(), inner = (b->bytes + page - 1) / page * page;
  if (dev->opt.mode == SIM_PRIVATE && !dev->opt.guard) {
    void *data = NULL;
    if (posix_memalign(&data, 64, b->bytes ? b->bytes : 1)) return false;
    b->data = data;
    return true;
  }
  if (!inner) inner = page;
  b->region_bytes = inner + 2 * page;
  uint64_t offset = page + (dev->opt.guard ? inner - b->bytes : 0);
  if (dev->opt.mode == SIM_PRIVATE) {
    if (!open_pages(b, 0, -1, PROT_READ | PROT_WRITE)) return false;
  } else {
    int fd = memfd_create("chx_sim", MFD_CLOEXEC);
    int host = dev->opt.mode == SIM_COHERENT ? PROT_READ | PROT_WRITE : PROT_NONE;
    bool good = fd >= 0 && !ftruncate(fd, (off_t)inner) && open_pages(b, 0, fd, PROT_READ | PROT_WRITE) &&
                open_pages(b, 1, fd, host);
    if (fd >= 0) close(fd);
    if (!good) return false;
    b->window = b->region[1] + offset;
  }
  b->data = b->region[0] + offset;
  return true;
}

bool sim_window(struct chx_dev *dev, struct sim_block *b, int access)
{
  uint64_t page = sim_page();
  if (dev->opt.mode != SIM_MAPPABLE || b->imported) return true;
  int protection = access == 2 ? PROT_READ | PROT_WRITE : access ? PROT_READ : PROT_NONE;
  return !mprotect(b->region[1] + page, b->region_bytes - 2 * page, protection);
}

static void free_block(struct sim_block *b)
{
  drop_bytes(b);
  free(b);
}

void sim_memory_close(struct chx_dev *dev)
{
  sim_maps_forget(dev);
  for (size_t i = 0; i < dev->n_blocks; i++) free_block(dev->block[i]);
  free(dev->block);
  dev->block = NULL;
  dev->n_blocks = dev->room = 0;
  if (dev->arena) munmap(dev->arena, dev->arena_bytes);
  dev->arena = NULL;
}

void sim_memory_wipe(struct chx_dev *dev)
{
  pthread_mutex_lock(&dev->lock);
  for (size_t i = 0; i < dev->n_blocks; i++)
    if (!dev->block[i]->pins && !dev->block[i]->imported) memset(dev->block[i]->data, 0xff, dev->block[i]->bytes);
  pthread_mutex_unlock(&dev->lock);
}

uint64_t sim_memory_used(struct chx_dev *dev)
{
  pthread_mutex_lock(&dev->lock);
  uint64_t used = dev->used;
  pthread_mutex_unlock(&dev->lock);
  return used;
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

static uint64_t end_of(const struct sim_block *b) { return (b->at + b->bytes) / GAP * GAP + GAP; }

/* The first gap of `span` bytes at or after `from`. */
static bool find_from(const struct chx_dev *dev, uint64_t from, uint64_t span, uint64_t *at)
{
  size_t i = upper(dev, from);
  if (i && end_of(dev->block[i - 1]) > from) from = end_of(dev->block[i - 1]);
  for (; i < dev->n_blocks && dev->block[i]->at - from < span; i++) from = end_of(dev->block[i]);
  *at = from;
  return span <= dev->arena_bytes && from <= dev->arena_bytes - span;
}

/* A place for `span` bytes of addresses: past the newest allocation, or, at the end of the arena, from its begin. */
static bool find_place(struct chx_dev *dev, uint64_t span, uint64_t *at)
{
  if (!find_from(dev, dev->next, span, at) && !find_from(dev, 0, span, at)) return false;
  dev->next = *at + span;
  return true;
}

struct sim_block *sim_add_block(struct chx_dev *dev, uint64_t bytes, void *imported)
{
  if (!imported && bytes > dev->opt.capacity - dev->used) return NULL;
  if (dev->n_blocks == dev->room) {
    size_t room = dev->room ? 2 * dev->room : 64;
    struct sim_block **list = realloc(dev->block, room * sizeof *list);
    if (!list) return NULL;
    dev->block = list;
    dev->room = room;
  }
  struct sim_block *b = calloc(1, sizeof *b);
  if (!b) return NULL;
  b->bytes = bytes;
  b->data = b->window = imported;
  b->imported = imported != NULL;
  if ((!imported && !get_bytes(dev, b)) || bytes > dev->arena_bytes || !find_place(dev, bytes / GAP * GAP + 2 * GAP, &b->at)) {
    free_block(b);
    return NULL;
  }
  size_t i = upper(dev, b->at);
  memmove(&dev->block[i + 1], &dev->block[i], (dev->n_blocks++ - i) * sizeof *dev->block);
  dev->block[i] = b;
  if (!imported) dev->used += bytes;
  return b;
}

chx_status sim_alloc(chx_dev *dev, chx_queue *q, uint64_t bytes, uint32_t kind, chx_buffer *out)
{
  struct sim_late late;
  (void)q;
  if (kind & ~(uint32_t)CHX_B_DEVICE) return sim_fail(CHX_EUNSUPPORTED, "alloc: there is device memory only");
  chx_status st = sim_action(dev, CHX_SIM_ALLOC, "memory", &late);
  if (st) return st;
  pthread_mutex_lock(&dev->lock);
  struct sim_block *b = sim_add_block(dev, bytes, NULL);
  uint64_t used = dev->used;
  pthread_mutex_unlock(&dev->lock);
  if (!b)
    return sim_fail(CHX_ENOMEM, "no memory for %llu bytes, %llu of %llu are in use", (unsigned long long)bytes,
                    (unsigned long long)used, (unsigned long long)dev->opt.capacity);
  memset(b->data, 0xff, bytes);
  out->flags = CHX_B_DEVICE | (b->window ? CHX_B_SHARED : 0) | (dev->opt.mode == SIM_COHERENT ? CHX_B_COHERENT : 0);
  out->handle = dev->arena + b->at;
  out->host_ptr = b->window;
  out->bytes = bytes;
  return CHX_OK;
}

struct sim_block *sim_pin(struct chx_dev *dev, const void *p)
{
  uint64_t at = (uint64_t)((uintptr_t)p - (uintptr_t)dev->arena);
  if (at >= dev->arena_bytes) return NULL;
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

char *sim_open_range(struct chx_dev *dev, const void *p, uint64_t bytes, struct sim_block **b)
{
  if (!(*b = sim_pin(dev, p))) return NULL;
  uint64_t offset = (uint64_t)((const char *)p - dev->arena) - (*b)->at;
  return bytes <= (*b)->bytes - offset ? (*b)->data + offset : NULL;
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
    if (!b->imported) dev->used -= b->bytes;
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
  const uint32_t pinned = CHX_B_IMPORTED | CHX_B_PINNED;
  if (sim_here() || (buffer->flags & pinned) == CHX_B_IMPORTED) return; /* the allocation of somebody else */
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
