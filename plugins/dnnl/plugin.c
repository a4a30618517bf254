/* SPDX-License-Identifier: MIT
 * plugin.c: the descriptor of dnnl and its one device, which is host memory.
 *
 * Options: CHX_DNNL_LIBRARY, a file to load as libdnnl; CHX_DNNL_THRESHOLD=0, to take every call that oneDNN can do,
 * whatever threshold.h says. They are read when the plugin is opened.
 */
#include "dn.h"
#include "stats.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

enum { ALIGNMENT = 64, HUGE_PAGE = 2 << 20 };

struct chx_dev { char name[64]; };

const chx_host *dn_host;
static struct chx_dev device;
static char version[32], why_not[1024];

chx_status dn_fail(chx_status code, const char *fmt, ...)
{
  char msg[1200];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(msg, sizeof msg, fmt, ap);
  va_end(ap);
  return dn_host->fail(dn_host->ctx, code, msg);
}

static const char *option(const char *key) { return dn_host->option ? dn_host->option(dn_host->ctx, key) : NULL; }

/* ---- the device -------------------------------------------------------------------------------------------------- */

static chx_status info(chx_dev *dev, chx_device_info *out)
{
  struct sysinfo s;
  const int known = sysinfo(&s) == 0;
  const chx_device_info all = {
    .size = sizeof all, .flags = CHX_D_HOST_IS_DEVICE | CHX_D_MAPPABLE | CHX_D_IMPORT_HOST, .name = dev->name,
    .vendor = "oneDNN", .dl_type = 1 /* kDLCPU */, .dtypes = CHX_ANY_REAL | CHX_BIT(CHX_C64) | CHX_BIT(CHX_C128),
    .mem_total = known ? (uint64_t)s.totalram * s.mem_unit : 0,
    .mem_free = known ? ((uint64_t)s.freeram + s.bufferram) * s.mem_unit : 0, .alignment = ALIGNMENT};
  const uint32_t size = out->size < all.size ? out->size : all.size;
  memcpy((char *)out + sizeof size, (const char *)&all + sizeof size, size - sizeof size);
  return CHX_OK;
}

static const chx_kernel *kernel(chx_dev *dev, uint32_t index)
{
  (void)dev;
  return dn_kernel_at(index);
}

static chx_status alloc(chx_dev *dev, chx_queue *q, uint64_t bytes, uint32_t kind, chx_buffer *out)
{
  (void)dev, (void)q, (void)kind;
  void *p = NULL;
  const size_t align = bytes >= 2 * (uint64_t)HUGE_PAGE ? HUGE_PAGE : ALIGNMENT;
  if (bytes > SIZE_MAX / 2 || posix_memalign(&p, align, bytes ? (size_t)bytes : 1))
    return dn_fail(CHX_ENOMEM, "dnnl: the system has no %llu bytes", (unsigned long long)bytes);
  if (align == HUGE_PAGE) madvise(p, (size_t)bytes, MADV_HUGEPAGE); /* fewer page faults; a refusal does no harm */
  out->flags = CHX_B_DEVICE | CHX_B_SHARED | CHX_B_COHERENT;
  out->handle = out->host_ptr = p;
  out->bytes = bytes;
  return CHX_OK;
}

static void release(chx_dev *dev, chx_queue *q, chx_buffer *b)
{
  (void)dev, (void)q;
  free(b->handle);
  b->handle = b->host_ptr = NULL;
}

static chx_status copy(chx_dev *dev, chx_queue *q, void *dst, uint64_t dst_off, const void *src, uint64_t src_off,
                       uint64_t bytes, uint32_t dir)
{
  (void)dev, (void)q, (void)dir;
  if (bytes) memmove((char *)dst + dst_off, (const char *)src + src_off, (size_t)bytes);
  return CHX_OK;
}

static chx_status map(chx_dev *dev, chx_queue *q, chx_buffer *b, uint64_t off, uint64_t bytes, uint32_t access,
                      void **host_ptr)
{
  (void)dev, (void)q, (void)bytes, (void)access;
  *host_ptr = (char *)b->handle + off;
  return CHX_OK;
}

static chx_status unmap(chx_dev *dev, chx_queue *q, chx_buffer *b, void *host_ptr)
{
  (void)dev, (void)q, (void)b, (void)host_ptr;
  return CHX_OK;
}

/* The buffer's owner stays the caller: it must not be given to release. */
static chx_status import_host(chx_dev *dev, void *ptr, uint64_t bytes, uint32_t access, chx_buffer *out)
{
  (void)dev, (void)access;
  out->flags = CHX_B_SHARED | CHX_B_COHERENT;
  out->handle = out->host_ptr = ptr;
  out->bytes = bytes;
  return CHX_OK;
}

static const char *library_version(void) { return version; }

static const void *extension(chx_dev *dev, const char *name)
{
  static const chx_dnnl_stats stats = {.size = sizeof stats, .executed = dn_executed, .version = library_version};
  (void)dev;
  return name && !strcmp(name, CHX_DNNL_STATS) ? &stats : NULL;
}

static const chx_device_ops ops = {.size = sizeof ops, .info = info, .kernel = kernel, .alloc = alloc,
                                   .release = release, .copy = copy, .map = map, .unmap = unmap,
                                   .import_host = import_host, .extension = extension};

/* ---- the plugin -------------------------------------------------------------------------------------------------- */

/* A missing library is no error: there are 0 devices then, and device_count says why. */
static chx_status plugin_open(const chx_host *host, void **state)
{
  dn_host = host;
  *state = &device;
  if (dn_load(option("CHX_DNNL_LIBRARY"), why_not, sizeof why_not)) return CHX_OK;
  const dnnl_version_t *v = dn.version();
  snprintf(version, sizeof version, "%d.%d.%d", v->major, v->minor, v->patch);
  snprintf(device.name, sizeof device.name, "oneDNN %s on the CPU", version);
  const char *threshold = option("CHX_DNNL_THRESHOLD");
  if (threshold && *threshold && strcmp(threshold, "0"))
    return dn_fail(CHX_EARG, "dnnl: CHX_DNNL_THRESHOLD is \"%s\", want 0 or nothing", threshold);
  const char *reference = option("CHX_REFERENCE"); /* oneDNN sums in an order of its own */
  dn_kernels_open(threshold && *threshold, reference && *reference && strcmp(reference, "0"));
  return CHX_OK;
}

static chx_status device_count(void *state, uint32_t *n)
{
  (void)state;
  *n = dn.engine != NULL;
  return *n ? CHX_OK : dn_fail(CHX_EDEVICE, "%s", why_not);
}

static chx_status device_open(void *state, uint32_t i, chx_dev **dev)
{
  if (i) return dn_fail(CHX_EDEVICE, "dnnl: device %u was asked for, there is only 0", i);
  *dev = state;
  return CHX_OK;
}

static const chx_device_ops *device_ops(void *state)
{
  (void)state;
  return &ops;
}

static void device_close(chx_dev *dev) { (void)dev; }
static void plugin_close(void *state) { (void)state; }

static const chx_plugin plugin = {
  .size = sizeof plugin, .abi_minor = CHX_ABI_MINOR, .name = "dnnl", .version = "0.1.0", .vendor = "chx",
  .build = __VERSION__, .open = plugin_open, .device_count = device_count, .device_open = device_open,
  .device_ops = device_ops, .device_close = device_close, .close = plugin_close};

CHX_EXPORT const chx_plugin *chx_plugin_v1(void);
CHX_EXPORT const chx_plugin *chx_plugin_v1(void) { return &plugin; }
