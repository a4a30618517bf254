/* SPDX-License-Identifier: MIT
 * import.c: memory of others: the host's, which a device that shares it uses where it lies, and cl_mems.
 *
 * A cl_mem belongs to a context, and can be used in no other. So one of a stranger can be imported only if he made it in the
 * context of ours, which he finds by what we gave him: a buffer, or a queue.
 */
#include <stdio.h>
#include "opencl.h"

/* Bytes of an import are nobody's allocation: release does not count them. */
static void fill(chx_buffer *out, cl_mem m, uint64_t bytes, uint32_t flags, void *host_ptr)
{
  out->flags = flags | CHX_B_IMPORTED;
  out->handle = m;
  out->host_ptr = host_ptr;
  out->bytes = bytes;
}

chx_status ocl_import_host(chx_dev *dev, void *ptr, uint64_t bytes, uint32_t access, chx_buffer *out)
{
  cl_int code;
  (void)access;
  if (!dev->host_shared)
    return ocl_host->fail(ocl_host->ctx, CHX_EUNSUPPORTED,
                          "opencl: import_host: the device has memory of its own, want a copy");
  if (!ptr || !bytes) return ocl_host->fail(ocl_host->ctx, CHX_EARG, "opencl: import_host: no memory, want its first byte");
  const cl_mem m = ocl.clCreateBuffer(dev->context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, (size_t)bytes, ptr, &code);
  if (!m) return ocl_fail(dev, code, "clCreateBuffer");
  fill(out, m, bytes, CHX_B_SHARED, ptr);
  return CHX_OK;
}

chx_status ocl_import_native(chx_dev *dev, void *data, uint64_t bytes, chx_buffer *out)
{
  cl_context context = NULL;
  size_t size = 0;
  char text[160];
  if (!data) return ocl_host->fail(ocl_host->ctx, CHX_EARG, "opencl: import_native: the cl_mem is NULL");
  cl_int code = ocl.clGetMemObjectInfo(data, CL_MEM_CONTEXT, sizeof context, &context, NULL);
  if (!code) code = ocl.clGetMemObjectInfo(data, CL_MEM_SIZE, sizeof size, &size, NULL);
  if (code) return ocl_fail(dev, code, "clGetMemObjectInfo");
  if (context != dev->context || bytes > size) {
    snprintf(text, sizeof text, "opencl: import_native: a cl_mem of %s, of %llu bytes, want one of %s's context with %llu",
             context == dev->context ? "that context" : "another context", (unsigned long long)size, dev->gpu.spec,
             (unsigned long long)bytes);
    return ocl_host->fail(ocl_host->ctx, CHX_EARG, text);
  }
  if ((code = ocl.clRetainMemObject(data))) return ocl_fail(dev, code, "clRetainMemObject");
  fill(out, data, bytes, CHX_B_DEVICE, NULL);
  return CHX_OK;
}
