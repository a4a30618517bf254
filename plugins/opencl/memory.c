/* SPDX-License-Identifier: MIT
 * memory.c: buffers, copies and maps.
 *
 * A copy from the host is done when ocl_copy returns, since the host's bytes are the caller's to change; one to the host is
 * queued. OpenCL keeps a buffer until the commands that use it have finished, so release need not wait.
 */
#include <stdio.h>
#include "opencl.h"

chx_status ocl_alloc(chx_dev *dev, chx_queue *q, uint64_t bytes, uint32_t kind, chx_buffer *out)
{
  cl_int code;
  char text[160];
  (void)q, (void)kind;
  /* Some drivers promise what they do not have, and fail at first use. */
  if (bytes > dev->max_alloc || bytes + atomic_load(&dev->used) > dev->memory) {
    snprintf(text, sizeof text, "%s: %llu bytes, %llu in use, want at most %llu at once and %llu in all", dev->gpu.spec,
             (unsigned long long)bytes, (unsigned long long)atomic_load(&dev->used), (unsigned long long)dev->max_alloc,
             (unsigned long long)dev->memory);
    return ocl_host->fail(ocl_host->ctx, CHX_ENOMEM, text);
  }
  const uint64_t size = bytes ? bytes : 1;
  const cl_mem_flags flags = CL_MEM_READ_WRITE | (dev->host_shared ? CL_MEM_ALLOC_HOST_PTR : 0);
  const cl_mem m = ocl.clCreateBuffer(dev->context, flags, (size_t)size, NULL, &code);
  if (!m) return ocl_fail(dev, code, "clCreateBuffer");
  atomic_fetch_add(&dev->used, size);
  out->flags = CHX_B_DEVICE | (dev->host_shared ? CHX_B_SHARED : 0);
  out->handle = m;
  out->host_ptr = NULL;
  out->bytes = bytes;
  return CHX_OK;
}

void ocl_release(chx_dev *dev, chx_queue *q, chx_buffer *b)
{
  (void)q;
  if (!b->handle) return;
  ocl.clReleaseMemObject(b->handle);
  if (!(b->flags & CHX_B_IMPORTED)) atomic_fetch_sub(&dev->used, b->bytes ? b->bytes : 1);
  b->handle = NULL;
}

static chx_status no_queue(const chx_dev *dev, const char *what)
{
  char text[96];
  snprintf(text, sizeof text, "%s: %s without a queue, want one of queue_new", dev->gpu.spec, what);
  return ocl_host->fail(ocl_host->ctx, CHX_EARG, text);
}

chx_status ocl_copy(chx_dev *dev, chx_queue *q, void *dst, uint64_t dst_off, const void *src, uint64_t src_off, uint64_t bytes,
                    uint32_t dir)
{
  enum { HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE };
  if (!q) return no_queue(dev, "copy");
  if (!bytes) return CHX_OK;
  switch (dir) {
  case HOST_TO_DEVICE:
    return ocl_queued(dev, q, ocl.clEnqueueWriteBuffer(q->q, dst, CL_TRUE, (size_t)dst_off, (size_t)bytes,
                                                       (const char *)src + src_off, 0, NULL, NULL), "clEnqueueWriteBuffer");
  case DEVICE_TO_HOST:
    return ocl_queued(dev, q, ocl.clEnqueueReadBuffer(q->q, (cl_mem)(uintptr_t)src, CL_FALSE, (size_t)src_off, (size_t)bytes,
                                                      (char *)dst + dst_off, 0, NULL, NULL), "clEnqueueReadBuffer");
  case DEVICE_TO_DEVICE:
    return ocl_queued(dev, q, ocl.clEnqueueCopyBuffer(q->q, (cl_mem)(uintptr_t)src, dst, (size_t)src_off, (size_t)dst_off,
                                                      (size_t)bytes, 0, NULL, NULL), "clEnqueueCopyBuffer");
  default: return ocl_host->fail(ocl_host->ctx, CHX_EARG, "opencl: copy: unknown direction, want 0, 1 or 2");
  }
}

chx_status ocl_map(chx_dev *dev, chx_queue *q, chx_buffer *b, uint64_t off, uint64_t bytes, uint32_t access, void **host_ptr)
{
  const uint32_t ways = access & (CHX_MAP_READ | CHX_MAP_WRITE);
  const cl_map_flags flags = ways == CHX_MAP_WRITE ? CL_MAP_WRITE_INVALIDATE_REGION
                             : ways == CHX_MAP_READ ? CL_MAP_READ
                                                    : CL_MAP_READ | CL_MAP_WRITE;
  const bool wait = !(access & CHX_MAP_NOWAIT);
  cl_int code;
  if (!q) return no_queue(dev, "map");
  if (!dev->host_shared)
    return ocl_host->fail(ocl_host->ctx, CHX_EUNSUPPORTED, "opencl: map: the device has memory of its own, want a copy");
  if ((q->armed && wait) || q->failed) {
    const chx_status st = ocl_queue_sync(dev, q, q->queued, INT64_MAX);
    if (st) return st;
  }
  *host_ptr = ocl.clEnqueueMapBuffer(q->q, b->handle, wait ? CL_TRUE : CL_FALSE, flags, (size_t)off, (size_t)(bytes ? bytes : 1), 0,
                                     NULL, NULL, &code);
  return ocl_queued(dev, q, code, "clEnqueueMapBuffer");
}

chx_status ocl_unmap(chx_dev *dev, chx_queue *q, chx_buffer *b, void *host_ptr)
{
  if (!q) return no_queue(dev, "unmap");
  const cl_int code = ocl.clEnqueueUnmapMemObject(q->q, b->handle, host_ptr, 0, NULL, NULL);
  if (!code && q->failed) ocl.clFinish(q->q); /* nobody waits for such a queue any more, and the memory is used by others next */
  return ocl_queued(dev, q, code, "clEnqueueUnmapMemObject");
}
