/* SPDX-License-Identifier: MIT
 * report.c: what kernels find out and a launch cannot return: an index that is out of range.
 */
#include "gpu.h"

chx_status gpu_report_buffer(const chx_call *c, void **out)
{
  gpu_device *g = gpu_of(c->dev);
  *out = NULL;
  return g->driver->report ? g->driver->report(g, c->queue, out) : CHX_OK;
}

chx_status gpu_report_check(gpu_device *g, const gpu_report *r)
{
  static const char *const names[] = {
    [GPU_TAKE] = "take",
    [GPU_TAKE_ALONG] = "take_along_axis",
    [GPU_SCATTER] = "scatter_add",
    [GPU_SCATTER_ALONG] = "scatter_add_along_axis",
  };
  if (!r->state) return CHX_OK;
  return gpu_fail(g, CHX_EARG, "%s: index %lld is out of range for axis %d of length %lld, want %lld to %lld",
                  r->op < sizeof names / sizeof *names ? names[r->op] : "a kernel", (long long)r->index, r->axis,
                  (long long)r->length, (long long)-r->length, (long long)r->length - 1);
}
