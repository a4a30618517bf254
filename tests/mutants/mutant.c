/* SPDX-License-Identifier: MIT
 * mutant.c: a small plugin that keeps the contract, and its faulty variants, by which tests/test_mutants.t tests the tester.
 *
 * It has two devices, "mutant:0" and "mutant:1", queues, five kernels, accepts, plans, workspace, scratch, imports and extensions. Built with
 * -DMUTANT=NAME it has the fault of that name in mutants.def; each is an IS(NAME) where it bites.
 */
#include "mutant.h"
#include <sys/mman.h>
#include "queue.c"
#include "capture.c"
#include "elements.c"
#include "map.c"
#include "kernels.c"

static struct chx_dev devices[2] = {{.index = 0}, {.index = 1}};
enum { DEVICES = 2, ALIGNMENT = 64 };
static const uint64_t device_bytes = (uint64_t)256 << 20;

/* ---- memory -------------------------------------------------------------------------------------------------------- */

struct spare { /* RACY_ALLOC alone: the block that was released last */
  void *handle;
  uint64_t bytes;
};
static struct spare volatile spare;

static void give_back(chx_dev *dev, void *handle, uint64_t bytes)
{
  uint64_t skew = IS(UNALIGNED) ? 8 : 0;
  munmap(bytes_of(handle, 0) - skew, bytes + skew);
  atomic_fetch_sub(&dev->used, bytes);
}

static chx_status no_memory(void)
{
  if (IS(BROKEN_AFTER_NO_MEMORY)) broken = true;
  if (IS(NO_MEMORY_MUTELY)) return CHX_ENOMEM;
  return fail(IS(WRONG_CODE_OF_NO_MEMORY) ? CHX_EFAILED : CHX_ENOMEM, "mutant: the device has no memory left");
}

static chx_status alloc(chx_dev *dev, chx_queue *q, uint64_t bytes, uint32_t kind, chx_buffer *out)
{
  (void)q, (void)kind;
  if (IS(ZERO_BYTES_FAIL) && bytes == 0) return fail(CHX_EARG, "mutant: 0 bytes are none");
  if (broken && bytes <= device_bytes) return fail(CHX_EFAILED, "mutant: the device is broken");
  if (bytes == 0) bytes = 1;
  out->flags = CHX_B_DEVICE;
  out->host_ptr = NULL;
  out->bytes = bytes;
  if (IS(RACY_ALLOC) && spare.handle && spare.bytes >= bytes) {
    out->handle = spare.handle;
    out->bytes = spare.bytes;
    usleep(100);
    spare.handle = NULL;
    return CHX_OK;
  }
  if (bytes > device_bytes || atomic_fetch_add(&dev->used, bytes) > device_bytes - bytes) {
    if (bytes <= device_bytes) atomic_fetch_sub(&dev->used, bytes);
    return no_memory();
  }
  uint64_t skew = IS(UNALIGNED) ? 8 : 0;
  char *p = mmap(NULL, bytes + skew, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return atomic_fetch_sub(&dev->used, bytes), no_memory();
  out->handle = p + skew + device_space;
  if (IS_HOST) out->host_ptr = out->handle;
  return CHX_OK;
}

struct release_job {
  struct job job;
  chx_dev *dev;
  void *handle;
  uint64_t bytes;
};

static chx_status run_release(struct job *job)
{
  struct release_job *r = (struct release_job *)job;
  give_back(r->dev, r->handle, r->bytes);
  return CHX_OK;
}

/* ---- imports: nothing is known of them, so that nothing is to be undone ------------------------------------------------ */

static void *imported; /* IMPORT_NOT_UNDONE alone: the host's memory that is imported */

static void *same_or_copy(void *p, uint64_t bytes, bool copies) { return copies ? memcpy(malloc(bytes), p, bytes) : p; }

static chx_status import_host(chx_dev *dev, void *ptr, uint64_t bytes, uint32_t access, chx_buffer *out)
{
  (void)dev, (void)access;
  if (IS(IMPORT_NOT_UNDONE) && imported == ptr) return fail(CHX_EFAILED, "mutant: these pages are imported already");
  imported = ptr;
  out->flags = CHX_B_SHARED | CHX_B_COHERENT | CHX_B_IMPORTED;
  out->handle = (char *)same_or_copy(ptr, bytes, IS(IMPORT_COPIES)) + device_space;
  out->host_ptr = ptr;
  out->bytes = bytes;
  return CHX_OK;
}

static chx_status import_native(chx_dev *dev, void *data, uint64_t bytes, chx_buffer *out)
{
  (void)dev;
  if ((!data || (uintptr_t)data < device_space) && !IS(IMPORTS_ANY_ADDRESS))
    return fail(CHX_EARG, "mutant: import_native: that is no memory of the device");
  out->flags = CHX_B_DEVICE | CHX_B_IMPORTED;
  out->handle = data;
  if (IS(NATIVE_IMPORT_COPIES)) out->handle = (char *)same_or_copy(bytes_of(data, 0), bytes, true) + device_space;
  out->host_ptr = NULL;
  out->bytes = bytes;
  return CHX_OK;
}

static void end_import(chx_buffer *b)
{
  if (b->host_ptr && !IS(IMPORT_NOT_UNDONE)) imported = NULL;
}

static void release(chx_dev *dev, chx_queue *q, chx_buffer *b)
{
  if (IS(LEAKS_BUFFERS)) return;
  if (b->flags & CHX_B_IMPORTED && !(IS(FREES_IMPORTS) && !b->host_ptr)) return end_import(b);
  if (IS(RACY_ALLOC) && !spare.handle && b->bytes >= 4096) {
    spare.bytes = b->bytes;
    spare.handle = b->handle;
    return;
  }
  struct release_job *r = q && !IS(FREES_AT_ONCE) ? (struct release_job *)job_new(sizeof *r, run_release) : NULL;
  if (!r) {
    if (!IS(FREES_AT_ONCE)) wait_all(q);
    give_back(dev, b->handle, b->bytes);
    return;
  }
  r->job.always = true;
  r->dev = dev;
  r->handle = b->handle;
  r->bytes = b->bytes;
  enqueue(q, &r->job);
}

/* ---- copies -------------------------------------------------------------------------------------------------------- */

enum { HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE };

struct copy_job {
  struct job job;
  char *to;
  const char *from;
  uint64_t bytes;
  char taken[]; /* the host's bytes */
};

static chx_status run_copy(struct job *job)
{
  struct copy_job *c = (struct copy_job *)job;
  memmove(c->to, c->from, c->bytes);
  return CHX_OK;
}

static chx_status copy(chx_dev *dev, chx_queue *q, void *dst, uint64_t dst_off, const void *src, uint64_t src_off, uint64_t bytes,
                       uint32_t direction)
{
  (void)dev;
  if (direction > DEVICE_TO_DEVICE) return fail(CHX_EARG, "mutant: copy: unknown direction, want 0, 1 or 2");
  if (bytes == 0) return CHX_OK;
  if (IS(OFFSETS_BY_4)) dst_off &= ~(uint64_t)3;
  if (IS(LENGTHS_BY_4)) bytes = (bytes + 3) & ~(uint64_t)3;
  bool takes = q && direction == HOST_TO_DEVICE && !IS(KEEPS_THE_BYTES) && !(IS(CAPTURE_KEEPS_THE_HOST) && *records(q));
  struct copy_job *c = (struct copy_job *)job_new(sizeof *c + (takes ? bytes : 0), run_copy);
  if (!c) return CHX_ENOMEM;
  c->bytes = bytes;
  c->to = direction == DEVICE_TO_HOST ? (char *)dst + dst_off : bytes_of(dst, dst_off);
  c->from = direction == HOST_TO_DEVICE ? (const char *)src + src_off : bytes_of(src, src_off);
  if (takes) c->from = memcpy(c->taken, c->from, bytes);
  c->job.again = direction != DEVICE_TO_HOST;
  if (IS(COPY_WAITS)) wait_all(q);
  return enqueue(q, &c->job);
}

#include "extension.c"

/* ---- mappings ------------------------------------------------------------------------------------------------------ */

struct filling { char *to; const char *from; uint64_t bytes; };

static void *fill_later(void *arg)
{
  struct filling *f = arg;
  usleep(20000);
  memcpy(f->to, f->from, f->bytes);
  free(f);
  return NULL;
}

/* The bytes at p come to a place of the host's by themselves, whatever the queue does. */
static chx_status map_late(const char *p, uint64_t bytes, void **host_ptr)
{
  pthread_t thread;
  struct filling *f = malloc(sizeof *f);
  if (!f) return CHX_ENOMEM;
  *f = (struct filling){.to = *host_ptr = calloc(1, bytes), .from = p, .bytes = bytes};
  if (!f->to || pthread_create(&thread, NULL, fill_later, f)) return CHX_ENOMEM;
  pthread_detach(thread);
  return CHX_OK;
}

static chx_status map(chx_dev *dev, chx_queue *q, chx_buffer *b, uint64_t off, uint64_t bytes, uint32_t access, void **host_ptr)
{
  static char stale[1 << 20];
  static void *stale_of;
  char text[64];
  (void)dev;
  if (IS(MAP_REFUSES_NEW_BITS) && access >> 3) {
    snprintf(text, sizeof text, "mutant: map: access %u, want 0 to 7", access);
    return fail(CHX_EARG, text);
  }
  if (IS(MAP_FILLS_TOO_LATE) && access & CHX_MAP_NOWAIT) return map_late(bytes_of(b->handle, off), bytes, host_ptr);
  char *p = bytes_of(b->handle, IS(MAP_FORGETS_THE_OFFSET) ? 0 : off);
  if (IS(MAP_DOES_NOT_WAIT)) return *host_ptr = memcpy(malloc(bytes), p, bytes), CHX_OK; /* what is there now */
  chx_status st = wait_all(q);
  if (st) return st;
  *host_ptr = p;
  if (IS(UNMAP_LOSES_WRITES)) *host_ptr = memcpy(malloc(bytes), p, bytes);
  if (IS(STALE_MAP)) {
    if (stale_of != b->handle) memcpy(stale, bytes_of(b->handle, 0), b->bytes < sizeof stale ? b->bytes : sizeof stale);
    stale_of = b->handle;
    *host_ptr = stale + off;
  }
  return CHX_OK;
}

static chx_status unmap(chx_dev *dev, chx_queue *q, chx_buffer *b, void *host_ptr)
{
  (void)dev, (void)q, (void)b, (void)host_ptr;
  return CHX_OK;
}

/* ---- the devices, and the plugin ------------------------------------------------------------------------------------- */

static chx_status info(chx_dev *dev, chx_device_info *out)
{
  uint64_t used = atomic_load(&dev->used);
  chx_device_info mine = {
    .size = out->size, .flags = IS_HOST ? CHX_D_HOST_IS_DEVICE : CHX_D_ASYNC | CHX_D_IMPORT_HOST | (IS_MAPPED ? CHX_D_MAPPABLE : 0),
    .name = "mutant", .vendor = "the chx project", .bus_id = "", .dl_type = IS_HOST ? 1 : 12, .dl_id = IS_HOST ? 0 : dev->index,
    .dtypes = CHX_ANY_REAL, .mem_total = device_bytes, .mem_free = used < device_bytes ? device_bytes - used : 0,
    .alignment = ALIGNMENT};
  memcpy(out, &mine, IS(INFO_PAST_SIZE) || out->size > sizeof mine ? sizeof mine : out->size);
  return CHX_OK;
}

static const chx_device_ops operations = {
  .size = IS(OPERATIONS_OF_40_BYTES) ? 40 : sizeof operations,
  .info = info, .kernel = kernel, .alloc = alloc, .release = release, .copy = copy, .extension = extension,
  .map = IS_MAPPED ? map : NULL, .unmap = IS_MAPPED ? unmap : NULL,
  .queue_new = IS_HOST ? NULL : queue_new, .queue_free = IS_HOST ? NULL : queue_free,
  .queue_mark = IS_HOST ? NULL : queue_mark, .queue_wait = IS_HOST ? NULL : queue_wait,
  .queue_sync = IS_HOST ? NULL : queue_sync, .queue_call = IS_HOST ? NULL : queue_call,
  .queue_native = IS_HOST ? NULL : queue_native, .import_host = import_host, .import_native = import_native,
};

static chx_status plugin_open(const chx_host *lent, void **state)
{
  static int opened;
  host = lent;
  if (IS(READS_PAST_THE_HOST_TABLE) && ((void *const volatile *)lent)[sizeof *lent / sizeof(void *)]) host = lent;
  if (IS(NEEDS_HOST_KERNELS) && !((const chx_host_kernels *)lent->extension(lent->ctx, CHX_HOST_KERNELS))->size) host = lent;
  const char *size = lent->option(lent->ctx, "CHX_MUTANT_SIZE");
  if (size && !atoi(size)) return IS(JUNK_OPTION_MUTELY) ? CHX_EARG : fail(CHX_EARG, "mutant: CHX_MUTANT_SIZE is no number");
  if (IS(ONE_IN_A_PROCESS) && getenv("MUTANT_IS_OPEN")) return fail(CHX_EDEVICE, "mutant: it is open, by another");
  if (IS(ONE_IN_A_PROCESS)) setenv("MUTANT_IS_OPEN", "1", 1);
  if (IS(SECOND_OPEN_FAILS) && opened++) return fail(CHX_EDEVICE, "mutant: it is open");
  *state = devices;
  return CHX_OK;
}

static chx_status device_count(void *state, uint32_t *n)
{
  (void)state;
  *n = DEVICES;
  return CHX_OK;
}

static chx_status device_open(void *state, uint32_t i, chx_dev **dev)
{
  (void)state;
  if (i >= DEVICES) return IS(NO_SENTENCE) ? CHX_EDEVICE : fail(CHX_EDEVICE, "mutant: there are mutant:0 and mutant:1");
  *dev = &devices[i];
  return CHX_OK;
}

static const chx_device_ops *device_ops(void *state)
{
  (void)state;
  return &operations;
}

static void device_close(chx_dev *dev) { (void)dev; }
static void plugin_close(void *state)
{
  (void)state;
  if (IS(ONE_IN_A_PROCESS)) unsetenv("MUTANT_IS_OPEN");
}

#ifdef NEEDS_THE_CORE
const char *chx_version(void);
#endif
#ifdef EXPORTS_MORE
CHX_EXPORT int mutant_helper(void);
CHX_EXPORT int mutant_helper(void) { return 1; }
#endif

static void *idle(void *arg)
{
  pause();
  return arg;
}

CHX_EXPORT const chx_plugin *chx_plugin_v1(void);
CHX_EXPORT const chx_plugin *chx_plugin_v1(void)
{
  static const chx_plugin plugin = {
    .size = sizeof plugin, .abi_minor = CHX_ABI_MINOR, .name = "mutant", .version = "1.0", .vendor = "the chx project",
#ifdef NEEDS_THE_CORE
    .build = (const char *)&chx_version,
#endif
    .open = plugin_open, .device_count = device_count, .device_open = device_open, .device_ops = device_ops,
    .device_close = device_close, .close = plugin_close};
  pthread_t thread;
  if (IS(ENTRY_STARTS_A_THREAD)) pthread_create(&thread, NULL, idle, NULL);
  if (IS(ENTRY_SETS_A_VARIABLE)) setenv("MUTANT", "1", 1);
  if (!IS(ENTRY_MAKES_A_COPY)) return &plugin;
  chx_plugin *mine = malloc(sizeof *mine);
  return mine ? memcpy(mine, &plugin, sizeof plugin) : NULL;
}
