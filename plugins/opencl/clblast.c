/* SPDX-License-Identifier: MIT
 * clblast.c: matmul and linear by CLBlast, which come before the shared kernels, and decline, for good, where the library is
 * missing or does not work with a device.
 *
 * Its C API is declared here as its documentation gives it; the library is opened at the first call that it could serve.
 * Its product of halves sums in half precision: f16 is left to the shared kernels, which sum in f32. It has no bias: that is
 * copied into each row of the result first, and the product is added to it.
 */
#include <dlfcn.h>
#include <stdio.h>
#include "opencl.h"

enum { BY_COLUMNS = 102, PLAIN = 111, TURNED = 112, WARNING = 1 };

/* CLBlast's own codes; below -1000, while OpenCL's come through as they are. */
enum { NOT_IMPLEMENTED = -1024, DATABASE = -2041, LOCAL_MEMORY = -2046 /* between them: what the device lacks */ };

#define GEMM(real, step, count)                                                                                        \
  (int layout, int a_turn, int b_turn, size_t m, size_t n, size_t k, real alpha, cl_mem a, size_t a_at, size_t a_ld step(a), \
   cl_mem b, size_t b_at, size_t b_ld step(b), real beta, cl_mem y, size_t y_at, size_t y_ld step(y) count,            \
   cl_command_queue *queue, cl_event *event)
#define NO_STEP(which)
#define NO_COUNT
#define STEP(which) , size_t which##_step
#define COUNT , size_t batches
static struct {
  cl_int(*sgemm) GEMM(float, NO_STEP, NO_COUNT);
  cl_int(*dgemm) GEMM(double, NO_STEP, NO_COUNT);
  cl_int(*sgemm_batched) GEMM(float, STEP, COUNT);
  cl_int(*dgemm_batched) GEMM(double, STEP, COUNT);
} blast;

static bool bind(void *lib, char *why, size_t size)
{
  static const struct { void *slot; const char *name; } all[] = {
    {&blast.sgemm, "CLBlastSgemm"}, {&blast.dgemm, "CLBlastDgemm"}, {&blast.sgemm_batched, "CLBlastSgemmStridedBatched"},
    {&blast.dgemm_batched, "CLBlastDgemmStridedBatched"}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (!(*(void **)all[i].slot = dlsym(lib, all[i].name))) return snprintf(why, size, "the library has no %s", all[i].name), false;
  return true;
}

/* CLBlast does not serve this device: said once, and declined from now on. */
static chx_status without(chx_dev *dev, const char *why)
{
  char text[400];
  snprintf(text, sizeof text, "%s: CLBlast is not used: %s", dev->gpu.spec, why);
  if (!atomic_exchange(&dev->no_clblast, true) && CHX_HAS(ocl_host, chx_host, log)) ocl_host->log(ocl_host->ctx, WARNING, text);
  return CHX_DECLINED;
}

/* CHX_OK once the library is open; it stays open: compiled kernels are in it. */
static chx_status opened(chx_dev *dev)
{
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  static atomic_int state; /* 0: not tried, 1: open, 2: missing */
  static char why[256];
  if (atomic_load_explicit(&state, memory_order_acquire) == 1) return CHX_OK;
  pthread_mutex_lock(&lock);
  if (!atomic_load(&state)) {
    const char *own = CHX_HAS(ocl_host, chx_host, option) ? ocl_host->option(ocl_host->ctx, "CHX_CLBLAST_LIBRARY") : NULL;
    void *lib = dlopen(own && *own ? own : "libclblast.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!lib) snprintf(why, sizeof why, "%s", dlerror());
    atomic_store_explicit(&state, lib && bind(lib, why, sizeof why) ? 1 : 2, memory_order_release);
  }
  pthread_mutex_unlock(&lock);
  return atomic_load(&state) == 1 ? CHX_OK : without(dev, why);
}

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

static bool product_of(const void *self, const chx_call *c, gpu_product *p)
{
  return *(const bool *)self ? gpu_product_of_linear(c, p) : gpu_product_of_matmul(c, p);
}

static chx_status accepts(void *self, const chx_call *c)
{
  gpu_product p;
  return !atomic_load(&c->dev->no_clblast) && product_of(self, c, &p) ? opened(c->dev) : CHX_DECLINED;
}

static chx_status failed(chx_dev *dev, cl_int code, const char *call)
{
  const bool unfit = code == CL_BUILD_PROGRAM_FAILURE || code == NOT_IMPLEMENTED || (code <= DATABASE && code >= LOCAL_MEMORY);
  char text[96];
  snprintf(text, sizeof text, "%s gave %d", call, (int)code);
  if (unfit) return without(dev, text); /* nothing was queued but the bias, over which the next kernel writes */
  if (code > -1000) return ocl_fail(dev, code, call);
  return gpu_fail(&dev->gpu, CHX_EFAILED, "%s: %s, a code of CLBlast's own", dev->gpu.spec, text);
}

static chx_status run(void *self, const chx_call *c)
{
  const bool wide = gpu_dtype(&c->out[0]) == CHX_F64;
  gpu_product p;
  if (!product_of(self, c, &p)) return CHX_DECLINED;
  const chx_tensor *a = &c->in[p.a_in], *b = &c->in[1 - p.a_in], *y = &c->out[0];
  const int a_turn = p.a.turned ? TURNED : PLAIN, b_turn = p.b.turned ? TURNED : PLAIN;
  const size_t m = (size_t)p.m, n = (size_t)p.n, k = (size_t)p.k, a_at = (size_t)gpu_offset(a), b_at = (size_t)gpu_offset(b),
               y_at = (size_t)gpu_offset(y), a_ld = (size_t)p.a.ld, b_ld = (size_t)p.b.ld, y_ld = (size_t)p.d.ld,
               a_step = (size_t)p.a.step, b_step = (size_t)p.b.step, y_step = (size_t)p.d.step, count = (size_t)p.batch;
  const double beta = p.bias ? 1 : 0;
  const chx_status st = p.bias ? gpu_fill_rows(c) : CHX_OK;
  if (st) return st;
  const cl_int code =
    count == 1
      ? wide ? blast.dgemm(BY_COLUMNS, a_turn, b_turn, m, n, k, 1, a->data, a_at, a_ld, b->data, b_at, b_ld, beta, y->data, y_at,
                           y_ld, &c->queue->q, NULL)
             : blast.sgemm(BY_COLUMNS, a_turn, b_turn, m, n, k, 1, a->data, a_at, a_ld, b->data, b_at, b_ld, (float)beta, y->data,
                           y_at, y_ld, &c->queue->q, NULL)
    : wide ? blast.dgemm_batched(BY_COLUMNS, a_turn, b_turn, m, n, k, 1, a->data, a_at, a_ld, a_step, b->data, b_at, b_ld, b_step,
                                 beta, y->data, y_at, y_ld, y_step, count, &c->queue->q, NULL)
           : blast.sgemm_batched(BY_COLUMNS, a_turn, b_turn, m, n, k, 1, a->data, a_at, a_ld, a_step, b->data, b_at, b_ld, b_step,
                                 (float)beta, y->data, y_at, y_ld, y_step, count, &c->queue->q, NULL);
  return code ? failed(c->dev, code, wide ? "CLBlastDgemm" : "CLBlastSgemm") : ocl_queued(c->dev, c->queue, CL_SUCCESS, "");
}

static const bool linear[2] = {false, true};
#define KERNEL(name, which, ranks) \
  {.size = sizeof(chx_kernel), .min_version = 1, .max_version = 1, .max_rank = ranks, .op = name, \
   .dtypes_in = CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64), .dtypes_out = CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64), .accepts = accepts, \
   .run = run, .self = (void *)(uintptr_t)&linear[which]}
static const chx_kernel matmul_kernel = KERNEL("matmul", 0, CHX_MAX_RANK), linear_kernel = KERNEL("linear", 1, 2);
const chx_kernel *const ocl_clblast_kernels[] = {&matmul_kernel, &linear_kernel, NULL};
