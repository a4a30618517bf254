/* SPDX-License-Identifier: MIT
 * rtc.c: "chx.rtc/1": kernels that others give as OpenCL C.
 *
 * A launch makes its own cl_kernel, so that nobody else sets its arguments. A grid counts groups. A tensor's argument is its
 * cl_mem, which begins where the buffer does: one with an offset is refused, as it is not known what the kernel would do with it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "opencl.h"

static const char language[] = "opencl-c";

static const char *languages(chx_dev *dev)
{
  (void)dev;
  return language;
}

static chx_status not_built(const chx_dev *dev, cl_program program, cl_int code, void (*diag)(void *, const char *), void *ctx)
{
  size_t n = 0;
  char *log = NULL;
  if (diag && !ocl.clGetProgramBuildInfo(program, dev->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &n) && (log = calloc(1, n + 1))) {
    ocl.clGetProgramBuildInfo(program, dev->device, CL_PROGRAM_BUILD_LOG, n, log, NULL);
    diag(ctx, log);
    free(log);
  }
  return ocl_fail(dev, code, "clBuildProgram");
}

static chx_status build(chx_dev *dev, const char *lang, const void *src, uint64_t n, const char *opts, void **mod,
                        void (*diag)(void *, const char *), void *ctx)
{
  char options[512], *text;
  cl_int code;
  if ((size_t)snprintf(options, sizeof options, "%s %s", dev->build_options, opts ? opts : "") >= sizeof options)
    return gpu_fail(&dev->gpu, CHX_EARG, "%s: the options are too long, want some hundred characters", dev->gpu.spec);
  chx_status st = gpu_rtc_text(&dev->gpu, language, lang, src, n, &text);
  if (st) return st;
  const cl_program program = ocl.clCreateProgramWithSource(dev->context, 1, (const char **)&text, NULL, &code);
  free(text);
  if (!program) return ocl_fail(dev, code, "clCreateProgramWithSource");
  if (!(code = ocl.clBuildProgram(program, 1, &dev->device, options, NULL, NULL))) return *mod = program, CHX_OK;
  st = not_built(dev, program, code, diag, ctx);
  ocl.clReleaseProgram(program);
  return st;
}

static cl_int set_argument(cl_kernel kernel, cl_uint i, const chx_arg *a)
{
  const cl_mem m = a->tensor ? a->tensor->buf : NULL;
  return a->tensor ? ocl.clSetKernelArg(kernel, i, sizeof m, &m) : ocl.clSetKernelArg(kernel, i, (size_t)a->n, a->bytes);
}

static chx_status launch(chx_dev *dev, chx_queue *q, void *mod, const char *fn, const uint64_t grid[3], const uint64_t group[3],
                         uint64_t local_bytes, const chx_arg *args, uint32_t n)
{
  size_t global[3], local[3];
  cl_int code;
  const chx_status st = gpu_rtc_launchable(&dev->gpu, q, mod, fn, args, n);
  if (st) return st;
  for (uint32_t i = 0; i < n; i++)
    if (args[i].tensor && (args[i].tensor->byte_offset || !args[i].tensor->buf))
      return gpu_fail(&dev->gpu, CHX_EUNSUPPORTED,
                      "%s: launch: argument %u does not begin where its buffer does, want a dense copy", dev->gpu.spec,
                      i);
  for (int i = 0; i < 3; i++) {
    local[i] = (size_t)group[i];
    global[i] = (size_t)(grid[i] * group[i]);
  }
  const cl_kernel kernel = ocl.clCreateKernel(mod, fn, &code);
  if (!kernel) return ocl_fail(dev, code, "clCreateKernel");
  const char *call = "clSetKernelArg";
  for (uint32_t i = 0; i < n && !code; i++) code = set_argument(kernel, i, &args[i]);
  if (!code && local_bytes) code = ocl.clSetKernelArg(kernel, n, (size_t)local_bytes, NULL); /* the last parameter */
  if (!code) {
    call = "clEnqueueNDRangeKernel";
    code = ocl.clEnqueueNDRangeKernel(q->q, kernel, 3, NULL, global, local, 0, NULL, NULL);
  }
  ocl.clReleaseKernel(kernel); /* OpenCL keeps it until it has run */
  return ocl_queued(dev, q, code, call);
}

static chx_status binary(chx_dev *dev, void *mod, void *out, uint64_t *n)
{
  size_t size = 0;
  unsigned char *p = out;
  cl_int code = ocl.clGetProgramInfo(mod, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL);
  const chx_status st = code ? CHX_OK : gpu_rtc_room(&dev->gpu, out, *n, size);
  if (st) return st;
  if (!code && out) code = ocl.clGetProgramInfo(mod, CL_PROGRAM_BINARIES, sizeof p, &p, NULL);
  if (code) return ocl_fail(dev, code, "clGetProgramInfo");
  *n = size;
  return CHX_OK;
}

static void drop(chx_dev *dev, void *mod)
{
  (void)dev;
  ocl.clReleaseProgram(mod);
}

const chx_rtc_ops ocl_rtc = {.size = sizeof ocl_rtc, .languages = languages, .build = build, .launch = launch, .binary = binary,
                             .drop = drop};
