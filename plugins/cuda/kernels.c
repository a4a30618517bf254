/* SPDX-License-Identifier: MIT
 * kernels.c: the kernels of NVIDIA's libraries that the plugin was built with, which come before the shared ones.
 */
#include "nvidia.h"

const chx_kernel *const drv_vendor_kernels[] = {
#ifdef CHX_HAVE_CUBLAS
  &cuda_lt_kernels[0], &cuda_lt_kernels[1],
#endif
#ifdef CHX_HAVE_CUDNN
  &cuda_conv_kernels[0], &cuda_conv_kernels[1], &cuda_conv_kernels[2],
  &cuda_image_kernels[0], &cuda_image_kernels[1],
#endif
  NULL};

chx_status (*const drv_generate)(const chx_call *) =
#ifdef CHX_HAVE_CURAND
  cuda_rand;
#else
  NULL;
#endif

void drv_blas_close(chx_dev *dev)
{
  (void)dev;
#ifdef CHX_HAVE_CUBLAS
  cuda_lt_close(dev);
#endif
}

void drv_queue_handles_close(chx_queue *q)
{
  (void)q;
#ifdef CHX_HAVE_CUDNN
  cuda_dnn_close(q);
#endif
#ifdef CHX_HAVE_CURAND
  cuda_rand_close(q);
#endif
}

bool cuda_tf32(void)
{
  const char *v = CHX_HAS(drv_host, chx_host, option) ? drv_host->option(drv_host->ctx, "CHX_CUDA_TF32") : NULL;
  return v && v[0] == '1' && !v[1];
}
