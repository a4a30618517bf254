/* SPDX-License-Identifier: MIT
 * kernels.c: the kernels of AMD's libraries, which come before the shared ones; here matmul and linear by rocBLAS.
 *
 * A rocBLAS handle is one stream's, so each queue has its own, made at first use. rocBLAS has no bias: it is copied
 * into each row of the result first, and the product is added to it, before it is rounded.
 */
#include <stdlib.h>
#include <string.h>
#include "amd.h"
#include "rocblas.h"

#define ROC_FUNCTIONS(F) \
  F(create, rocblas_create_handle) F(destroy, rocblas_destroy_handle) F(set_stream, rocblas_set_stream) \
  F(status_text, rocblas_status_to_string) F(gemm, rocblas_gemm_strided_batched_ex)

static struct { ROC_FUNCTIONS(DRV_MEMBER) } roc;

static bool bind(void *handle, char *why, size_t size)
{
#define BIND(member, function) \
  if (!drv_symbol(handle, &roc.member, DRV_NAME(function), why, size)) return false;
  ROC_FUNCTIONS(BIND)
#undef BIND
  return true;
}

static bool opened(void)
{
  static const char *const names[] = {"librocblas.so.5", "librocblas.so.4", "librocblas.so.3", "librocblas.so.0",
                                      "librocblas.so",
                                      "/opt/rocm/lib/librocblas.so", NULL};
  static drv_library library = DRV_LIBRARY("CHX_ROCBLAS_LIBRARY", names);
  return drv_library_open(&library, bind);
}

static chx_status failed(const chx_call *c, rocblas_status code, const char *call)
{
  return gpu_fail(gpu_of(c->dev), code == rocblas_status_memory_error ? CHX_ENOMEM : CHX_EFAILED, "%s: %s: %s (%d)",
                  gpu_of(c->dev)->spec, call, roc.status_text(code), (int)code);
}

static chx_status handle_of(const chx_call *c, rocblas_handle *out)
{
  const chx_status st = drv_enter(c->dev);
  if (st) return st;
  if (!c->queue->handle[HIP_ROCBLAS]) {
    rocblas_handle made = NULL;
    rocblas_status code = roc.create(&made);
    if (!code && (code = roc.set_stream(made, c->queue->stream))) roc.destroy(made);
    if (code == rocblas_status_memory_error) return failed(c, code, "rocblas_create_handle");
    if (code) return drv_without(c->dev, &c->dev->no_blas, "rocBLAS", roc.status_text(code));
    c->queue->handle[HIP_ROCBLAS] = made;
  }
  *out = c->queue->handle[HIP_ROCBLAS];
  return CHX_OK;
}

void drv_queue_handles_close(chx_queue *q)
{
  if (q->handle[HIP_ROCBLAS]) roc.destroy(q->handle[HIP_ROCBLAS]);
  q->handle[HIP_ROCBLAS] = NULL;
  hip_miopen_close(q);
}

chx_status (*const drv_generate)(const chx_call *) = NULL;

void drv_blas_close(chx_dev *dev) { dev->blas = NULL; }

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

static bool product_of(const void *self, const chx_call *c, gpu_product *p)
{
  return *(const bool *)self ? gpu_product_of_linear(c, p) : gpu_product_of_matmul(c, p);
}

static chx_status accepts(void *self, const chx_call *c)
{
  gpu_product p;
  if (c->queue && c->queue->capture) return CHX_DECLINED; /* its workspace is the handle's, and goes with the queue */
  return product_of(self, c, &p) && !atomic_load(&c->dev->no_blas) && opened() ? CHX_OK : CHX_DECLINED;
}

const chx_kernel *hip_shared(const chx_dev *dev, const char *op)
{
  const chx_kernel *k = NULL;
  for (uint32_t i = 0; (k = gpu_kernel_at(&dev->gpu, i)) && strcmp(k->op, op); i++) {}
  return k;
}

static rocblas_datatype type_of(int dtype)
{
  return dtype == CHX_F16    ? rocblas_datatype_f16_r
         : dtype == CHX_BF16 ? rocblas_datatype_bf16_r
         : dtype == CHX_F64  ? rocblas_datatype_f64_r
                             : rocblas_datatype_f32_r;
}

static chx_status run(void *self, const chx_call *c)
{
  const rocblas_datatype type = type_of(gpu_dtype(&c->out[0]));
  const bool wide = type == rocblas_datatype_f64_r;
  rocblas_handle handle = NULL;
  gpu_product p;
  if (!product_of(self, c, &p)) return CHX_DECLINED;
  const float one_f = 1, beta_f = p.bias ? 1 : 0;
  const double one_d = 1, beta_d = p.bias ? 1 : 0;
  chx_status st = handle_of(c, &handle);
  if (!st && p.bias) st = gpu_fill_rows(c);
  if (st) return st;
  void *d = drv_data(&c->out[0]);
  const rocblas_status code = roc.gemm(
    handle, p.a.turned ? rocblas_operation_transpose : rocblas_operation_none,
    p.b.turned ? rocblas_operation_transpose : rocblas_operation_none, (rocblas_int)p.m, (rocblas_int)p.n, (rocblas_int)p.k,
    wide ? (const void *)&one_d : &one_f, drv_data(&c->in[p.a_in]), type, (rocblas_int)p.a.ld, p.a.step,
    drv_data(&c->in[1 - p.a_in]), type, (rocblas_int)p.b.ld, p.b.step, wide ? (const void *)&beta_d : &beta_f, d, type,
    (rocblas_int)p.d.ld, p.d.step, d, type, (rocblas_int)p.d.ld, p.d.step, (rocblas_int)p.batch,
    wide ? rocblas_datatype_f64_r : rocblas_datatype_f32_r, rocblas_gemm_algo_standard, 0, 0);
  if (code == rocblas_status_not_implemented && !p.bias) return CHX_DECLINED; /* nothing was queued */
  if (code) return failed(c, code, "rocblas_gemm_strided_batched_ex");
  return drv_queued(c->dev, c->queue, DRV_SUCCESS, "");
}

static const bool linear[2] = {false, true};
#define KERNEL(name, which, ranks) \
  {.size = sizeof(chx_kernel), .min_version = 1, .max_version = 1, .max_rank = ranks, .op = name, .dtypes_in = CHX_FLOATS, \
   .dtypes_out = CHX_FLOATS, .accepts = accepts, .run = run, .self = (void *)(uintptr_t)&linear[which]}
static const chx_kernel matmul_kernel = KERNEL("matmul", 0, CHX_MAX_RANK), linear_kernel = KERNEL("linear", 1, 2);
const chx_kernel *const drv_vendor_kernels[] = {&matmul_kernel, &linear_kernel, &hip_miopen_kernels[0],
                                                &hip_miopen_kernels[1], &hip_miopen_kernels[2], NULL};
