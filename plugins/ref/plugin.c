/* SPDX-License-Identifier: MIT
 * plugin.c: ref's descriptor and its one device.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "ref.h"

struct chx_dev { char unused; };

const chx_host *ref_host;
static struct chx_dev device;

chx_status ref_fail(chx_status code, const char *fmt, ...)
{
  char msg[384];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(msg, sizeof msg, fmt, ap);
  va_end(ap);
  return ref_host->fail(ref_host->ctx, code, msg);
}

/* ---- the device ----------------------------------------------------------------------------------------------- */

static chx_status info(chx_dev *dev, chx_device_info *out)
{
  (void)dev;
  const chx_device_info all = {
    .size = sizeof all, .flags = CHX_D_HOST_IS_DEVICE | CHX_D_MAPPABLE, .name = "reference kernels on the CPU",
    .vendor = "chx", .dl_type = 1 /* kDLCPU */, .dtypes = CHX_ANY_REAL | CHX_BIT(CHX_C64) | CHX_BIT(CHX_C128),
    .alignment = 64};
  const uint32_t size = out->size < all.size ? out->size : all.size;
  memcpy((char *)out + sizeof size, (const char *)&all + sizeof size, size - sizeof size);
  return CHX_OK;
}

#define TABLE(family) ref_##family##_kernels,
static const chx_kernel *const families[] = {REF_FAMILIES(TABLE) NULL};

static const chx_kernel *kernel(chx_dev *dev, uint32_t index)
{
  (void)dev;
  for (const chx_kernel *const *f = families; *f; f++)
    for (const chx_kernel *k = *f; k->op; k++)
      if (index-- == 0) return k;
  return NULL;
}

static chx_status alloc(chx_dev *dev, chx_queue *q, uint64_t bytes, uint32_t kind, chx_buffer *out)
{
  (void)dev, (void)q, (void)kind;
  void *p = NULL;
  if (bytes > SIZE_MAX / 2 || posix_memalign(&p, 64, bytes ? (size_t)bytes : 1))
    return ref_fail(CHX_ENOMEM, "ref: the system has no %llu bytes", (unsigned long long)bytes);
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

static const chx_device_ops ops = {.size = sizeof ops, .info = info, .kernel = kernel, .alloc = alloc,
                                   .release = release, .copy = copy, .map = map, .unmap = unmap};

/* ---- the plugin ----------------------------------------------------------------------------------------------- */

static chx_status plugin_open(const chx_host *host, void **state)
{
  ref_host = host;
  *state = &device;
  return CHX_OK;
}

static chx_status device_count(void *state, uint32_t *n)
{
  (void)state;
  *n = 1;
  return CHX_OK;
}

static chx_status device_open(void *state, uint32_t i, chx_dev **dev)
{
  if (i) return ref_fail(CHX_EDEVICE, "ref: device %u was asked for, there is only 0", i);
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
  .size = sizeof plugin, .abi_minor = CHX_ABI_MINOR, .name = "ref", .version = "0.1.0", .vendor = "chx",
#if defined __VERSION__
  .build = __VERSION__,
#endif
  .open = plugin_open, .device_count = device_count, .device_open = device_open, .device_ops = device_ops,
  .device_close = device_close, .close = plugin_close};

CHX_EXPORT const chx_plugin *chx_plugin_v1(void);
CHX_EXPORT const chx_plugin *chx_plugin_v1(void) { return &plugin; }
