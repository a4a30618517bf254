/* SPDX-License-Identifier: MIT
 * opencl.h: what the files of the opencl plugin share.
 *
 *   api.c      libOpenCL, opened at run time          queue.c    queues and points
 *   plugin.c   the descriptor and the devices         driver.c   programs and launches, for plugins/gpu
 *   memory.c   buffers, copies, maps                  import.c   memory of others
 *   rtc.c      kernels that others give as text       clblast.c  products by CLBlast
 *
 * OpenCL 1.2 is enough. A buffer's handle is its cl_mem; the core never adds to one, since the devices say that they
 * can be mapped (and mapping part of a block would lock its neighbours).
 */
#ifndef CHX_OPENCL_H
#define CHX_OPENCL_H
#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include "../gpu/gpu.h"

#if defined __GNUC__
#pragma GCC visibility push(hidden)
#endif

/* Every function of OpenCL that is used. */
#define OCL_FUNCTIONS(F) \
  F(clGetPlatformIDs) F(clGetPlatformInfo) F(clGetDeviceIDs) F(clGetDeviceInfo) F(clCreateContext) F(clReleaseContext) \
  F(clCreateCommandQueue) F(clReleaseCommandQueue) F(clCreateBuffer) F(clReleaseMemObject) F(clEnqueueReadBuffer) \
  F(clEnqueueWriteBuffer) F(clEnqueueCopyBuffer) F(clEnqueueMapBuffer) F(clEnqueueUnmapMemObject) F(clFlush) F(clFinish) \
  F(clEnqueueMarkerWithWaitList) F(clEnqueueBarrierWithWaitList) F(clWaitForEvents) F(clGetEventInfo) F(clReleaseEvent) \
  F(clCreateProgramWithSource) F(clCreateProgramWithBinary) F(clBuildProgram) F(clGetProgramBuildInfo) \
  F(clGetProgramInfo) F(clReleaseProgram) F(clCreateKernel) F(clReleaseKernel) F(clSetKernelArg) \
  F(clEnqueueNDRangeKernel) F(clRetainMemObject) F(clGetMemObjectInfo)

extern struct ocl_api {
#define OCL_MEMBER(name) __typeof__(name) *name;
  OCL_FUNCTIONS(OCL_MEMBER)
#undef OCL_MEMBER
} ocl;

struct chx_dev {
  gpu_device gpu; /* first: plugins/gpu sees this */
  cl_platform_id platform;
  cl_device_id device;
  cl_context context; /* made when the device is opened */
  bool clblast;       /* its kernels are listed */
  atomic_bool no_clblast; /* the library is missing, or does not work with this device */
  bool host_shared;   /* device and host have the same memory: a map is no copy */
  cl_ulong memory, max_alloc;
  cl_uint alignment;
  atomic_ullong used;
  char name[128], vendor[128], version[160], build_options[160];
};

extern const chx_host *ocl_host;

/* api.c: opens libOpenCL; false with a sentence in why. */
bool ocl_api_open(char *why, size_t size);
/* An OpenCL code as a status, with "call: CL_CODE (-5)" left with the host. */
chx_status ocl_fail(const struct chx_dev *dev, cl_int code, const char *call);
const char *ocl_code(cl_int code);

/* memory.c */
chx_status ocl_alloc(chx_dev *, chx_queue *, uint64_t bytes, uint32_t kind, chx_buffer *out);
void ocl_release(chx_dev *, chx_queue *, chx_buffer *);
chx_status ocl_copy(chx_dev *, chx_queue *, void *dst, uint64_t dst_off, const void *src, uint64_t src_off, uint64_t bytes,
                    uint32_t dir);
chx_status ocl_map(chx_dev *, chx_queue *, chx_buffer *, uint64_t off, uint64_t bytes, uint32_t access, void **host_ptr);
chx_status ocl_unmap(chx_dev *, chx_queue *, chx_buffer *, void *host_ptr);

/* import.c */
chx_status ocl_import_host(chx_dev *, void *ptr, uint64_t bytes, uint32_t access, chx_buffer *out);
chx_status ocl_import_native(chx_dev *, void *data, uint64_t bytes, chx_buffer *out);

/* queue.c */
struct chx_queue {
  cl_command_queue q;
  uint64_t queued, done;  /* commands put in; those known to have finished */
  cl_event pending;       /* a marker that covers `pending_at` commands; NULL: none */
  uint64_t pending_at;
  chx_status failed;      /* sticks */
  bool adopted;
  cl_int failed_code;     /* 0: it is `report` that says what failed */
  cl_mem words;           /* the queue's gpu_report; NULL: no kernel has asked for it */
  bool armed, fetched;    /* a kernel may fill words; a copy of them to `report` is queued, or done */
  gpu_report report;
};
chx_status ocl_queue_new(chx_dev *, void *adopt, chx_queue **out);
void ocl_queue_free(chx_dev *, chx_queue *);
uint64_t ocl_queue_mark(chx_dev *, chx_queue *);
chx_status ocl_queue_wait(chx_dev *, chx_queue *waiter, chx_queue *on, uint64_t point);
chx_status ocl_queue_sync(chx_dev *, chx_queue *, uint64_t point, int64_t timeout_ns);
void *ocl_queue_native(chx_dev *, chx_queue *);
chx_status ocl_queue_report(gpu_device *, chx_queue *, void **handle); /* gpu_driver.report */
/* A command was put in, or `code` says why not. */
chx_status ocl_queued(chx_dev *, chx_queue *, cl_int code, const char *call);

/* clblast.c: NULL-ended, before the shared kernels where dev->clblast */
extern const chx_kernel *const ocl_clblast_kernels[];

/* driver.c, rtc.c */
extern const gpu_driver ocl_driver;
extern const chx_rtc_ops ocl_rtc; /* "chx.rtc/1" */

#if defined __GNUC__
#pragma GCC visibility pop
#endif
#endif
