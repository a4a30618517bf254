/* SPDX-License-Identifier: MIT
 * nvidia.h: what the files of the cuda plugin share, beside plugins/cudalike/drv.h.
 *
 *   vendor.h   the driver and NVRTC                    lt.c    matmul and linear by cuBLASLt
 *   kernels.c  NVIDIA's kernels, before the shared     dnn.h   cuDNN
 *                                                      rand.c  random bits by cuRAND's generators
 *
 * Each library is opened by the first operator that may use it. Where it is missing its kernels decline, for good, and
 * the shared ones serve.
 */
#ifndef CHX_CUDA_NVIDIA_H
#define CHX_CUDA_NVIDIA_H
#include "../cudalike/drv.h"

#if defined __GNUC__
#pragma GCC visibility push(hidden)
#endif

enum { CUDA_DNN, CUDA_RAND }; /* chx_queue.handle */

enum { CUDA_LT_KERNELS = 2, CUDA_CONV_KERNELS = 3, CUDA_IMAGE_KERNELS = 2 };
extern const chx_kernel cuda_lt_kernels[CUDA_LT_KERNELS], cuda_conv_kernels[CUDA_CONV_KERNELS],
  cuda_image_kernels[CUDA_IMAGE_KERNELS];
void cuda_lt_close(chx_dev *);
void cuda_dnn_close(chx_queue *);
chx_status cuda_rand(const chx_call *); /* gpu_device.generate */
void cuda_rand_close(chx_queue *);

/* CHX_CUDA_TF32=1: products of f32 may be computed from 19 bits of each factor. */
bool cuda_tf32(void);

#if defined __GNUC__
#pragma GCC visibility pop
#endif
#endif
