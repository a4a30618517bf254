/* SPDX-License-Identifier: MIT
 * driver.c: programs and launches, for the shared kernels of plugins/gpu.
 *
 * Setting a kernel's arguments changes the kernel, so each function has a lock that is held until the launch is queued.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "opencl.h"

struct gpu_function {
  cl_kernel kernel;
  pthread_mutex_t lock;
  gpu_function *next;
};
struct gpu_module {
  cl_program program;
  gpu_function *functions;
};

static struct chx_dev *device_of(gpu_device *g) { return (struct chx_dev *)(void *)g; }

static chx_status finish_build(struct chx_dev *dev, cl_program program, const char *name, gpu_module **out)
{
  cl_int code = ocl.clBuildProgram(program, 1, &dev->device, dev->build_options, NULL, NULL);
  if (!code) {
    *out = calloc(1, sizeof **out);
    if (*out) return (*out)->program = program, CHX_OK;
    ocl.clReleaseProgram(program);
    return gpu_fail(&dev->gpu, CHX_ENOMEM, "%s: out of memory for a program", dev->gpu.spec);
  }
  size_t n = 0;
  char *log = NULL;
  if (!ocl.clGetProgramBuildInfo(program, dev->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &n) && n && (log = calloc(1, n + 1)))
    ocl.clGetProgramBuildInfo(program, dev->device, CL_PROGRAM_BUILD_LOG, n, log, NULL);
  chx_status st = gpu_fail(&dev->gpu, CHX_EFAILED, "%s: clBuildProgram of %s: %s (%d): %.600s", dev->gpu.spec, name, ocl_code(code),
                           (int)code, log ? log : "");
  free(log);
  ocl.clReleaseProgram(program);
  return st;
}

static chx_status build(gpu_device *g, const char *name, const char *text, gpu_module **out)
{
  struct chx_dev *dev = device_of(g);
  cl_int code;
  const cl_program program = ocl.clCreateProgramWithSource(dev->context, 1, &text, NULL, &code);
  if (!program) return ocl_fail(dev, code, "clCreateProgramWithSource");
  return finish_build(dev, program, name, out);
}

static chx_status load(gpu_device *g, const void *bytes, size_t n, gpu_module **out)
{
  struct chx_dev *dev = device_of(g);
  const unsigned char *p = bytes;
  cl_int code, status;
  const cl_program program = ocl.clCreateProgramWithBinary(dev->context, 1, &dev->device, &n, &p, &status, &code);
  if (!program) return ocl_fail(dev, code, "clCreateProgramWithBinary");
  return finish_build(dev, program, "a kept program", out);
}

static chx_status binary(gpu_device *g, gpu_module *m, void **bytes, size_t *n)
{
  struct chx_dev *dev = device_of(g);
  cl_int code = ocl.clGetProgramInfo(m->program, CL_PROGRAM_BINARY_SIZES, sizeof *n, n, NULL);
  if (code || !*n) return ocl_fail(dev, code, "clGetProgramInfo");
  unsigned char *p = malloc(*n);
  if (!p) return gpu_fail(g, CHX_ENOMEM, "%s: out of memory for a compiled program", g->spec);
  code = ocl.clGetProgramInfo(m->program, CL_PROGRAM_BINARIES, sizeof p, &p, NULL);
  if (!code) return *bytes = p, CHX_OK;
  free(p);
  return ocl_fail(dev, code, "clGetProgramInfo");
}

static void unload(gpu_device *g, gpu_module *m)
{
  (void)g;
  for (gpu_function *f = m->functions, *next; f; f = next) {
    next = f->next;
    ocl.clReleaseKernel(f->kernel);
    pthread_mutex_destroy(&f->lock);
    free(f);
  }
  ocl.clReleaseProgram(m->program);
  free(m);
}

static chx_status function(gpu_device *g, gpu_module *m, const char *name, gpu_function **out)
{
  struct chx_dev *dev = device_of(g);
  cl_int code;
  gpu_function *f = calloc(1, sizeof *f);
  if (!f) return gpu_fail(g, CHX_ENOMEM, "%s: out of memory for a kernel", g->spec);
  if (!(f->kernel = ocl.clCreateKernel(m->program, name, &code))) {
    free(f);
    return ocl_fail(dev, code, "clCreateKernel");
  }
  pthread_mutex_init(&f->lock, NULL);
  f->next = m->functions;
  m->functions = f;
  *out = f;
  return CHX_OK;
}

static chx_status launch(gpu_device *g, chx_queue *q, gpu_function *f, uint32_t groups, const gpu_arg *args, uint32_t n)
{
  struct chx_dev *dev = device_of(g);
  const size_t local = GPU_WG, global = (size_t)groups * GPU_WG;
  cl_int code = CL_SUCCESS;
  pthread_mutex_lock(&f->lock);
  for (uint32_t i = 0; i < n && !code; i++)
    code = args[i].bytes ? ocl.clSetKernelArg(f->kernel, i, args[i].bytes, args[i].p)
                         : ocl.clSetKernelArg(f->kernel, i, sizeof(cl_mem), &args[i].p);
  const char *call = "clSetKernelArg";
  if (!code) {
    call = "clEnqueueNDRangeKernel";
    code = ocl.clEnqueueNDRangeKernel(q->q, f->kernel, 1, NULL, &global, &local, 0, NULL, NULL);
  }
  pthread_mutex_unlock(&f->lock);
  return ocl_queued(dev, q, code, call);
}

const gpu_driver ocl_driver = {build, load, binary, unload, function, launch, ocl_queue_report};
