/* SPDX-License-Identifier: MIT
 * dnn.h: cuDNN, for the files of the cuda plugin that use it.
 *
 *   dnn.c        the library, handles, descriptors
 *   dnn_conv.c   convolutions
 *   dnn_image.c  avg_pool, fixed_batch_norm
 */
#ifndef CHX_CUDA_DNN_H
#define CHX_CUDA_DNN_H
#include <cudnn.h>
#include "nvidia.h"

#if defined __GNUC__
#pragma GCC visibility push(hidden)
#endif

#define DNN_FUNCTIONS(F) \
  F(create, cudnnCreate) F(destroy, cudnnDestroy) F(set_stream, cudnnSetStream) F(error_string, cudnnGetErrorString) \
  F(tensor_create, cudnnCreateTensorDescriptor) F(tensor_set, cudnnSetTensorNdDescriptor) \
  F(tensor_destroy, cudnnDestroyTensorDescriptor) F(filter_create, cudnnCreateFilterDescriptor) \
  F(filter_set, cudnnSetFilterNdDescriptor) F(filter_destroy, cudnnDestroyFilterDescriptor) \
  F(conv_create, cudnnCreateConvolutionDescriptor) F(conv_set, cudnnSetConvolutionNdDescriptor) \
  F(conv_groups, cudnnSetConvolutionGroupCount) F(conv_math, cudnnSetConvolutionMathType) \
  F(conv_destroy, cudnnDestroyConvolutionDescriptor) F(act_create, cudnnCreateActivationDescriptor) \
  F(act_set, cudnnSetActivationDescriptor) F(act_destroy, cudnnDestroyActivationDescriptor) \
  F(find_conv, cudnnGetConvolutionForwardAlgorithm_v7) F(find_grad_input, cudnnGetConvolutionBackwardDataAlgorithm_v7) \
  F(find_grad_weight, cudnnGetConvolutionBackwardFilterAlgorithm_v7) F(conv, cudnnConvolutionForward) \
  F(conv_bias, cudnnConvolutionBiasActivationForward) F(grad_input, cudnnConvolutionBackwardData) \
  F(grad_weight, cudnnConvolutionBackwardFilter) F(add, cudnnAddTensor) \
  F(conv_workspace, cudnnGetConvolutionForwardWorkspaceSize) \
  F(pool_create, cudnnCreatePoolingDescriptor) F(pool_set, cudnnSetPoolingNdDescriptor) \
  F(pool_destroy, cudnnDestroyPoolingDescriptor) F(pool, cudnnPoolingForward) \
  F(batch_norm, cudnnBatchNormalizationForwardInference)

extern struct cuda_dnn_api { DNN_FUNCTIONS(DRV_MEMBER) } cuda_dnn; /* valid after cuda_dnn_accepts */

/* chx_kernel.accepts of all kernels: cuDNN is there, and has not failed to start on this device. */
chx_status cuda_dnn_accepts(void *self, const chx_call *c);
/* The queue's own handle, made at first use: a handle is one stream's. */
chx_status cuda_dnn_handle(const chx_call *c, cudnnHandle_t *out);
chx_status cuda_dnn_failed(const chx_call *c, cudnnStatus_t code, const char *call);
/* What cuDNN says it has not, as opposed to what went wrong. */
bool cuda_dnn_has_not(cudnnStatus_t code);

/* By the dtype of the first output. */
typedef struct cuda_dnn_types { cudnnDataType_t data, compute; cudnnMathType_t math; } cuda_dnn_types;
cuda_dnn_types cuda_dnn_types_of(const chx_call *c);
cudnnStatus_t cuda_dnn_tensor(cudnnTensorDescriptor_t *out, cuda_dnn_types t, const drv_images *of);

/* cuDNN's alpha and beta: of f64 where the tensors are, else of f32. */
typedef struct cuda_dnn_factors { const void *one, *zero; } cuda_dnn_factors;
static inline cuda_dnn_factors cuda_dnn_factors_of(const chx_call *c)
{
  static const float f[2] = {1, 0};
  static const double d[2] = {1, 0};
  const bool wide = gpu_dtype(&c->out[0]) == CHX_F64;
  return (cuda_dnn_factors){wide ? (const void *)&d[0] : &f[0], wide ? (const void *)&d[1] : &f[1]};
}

#if defined __GNUC__
#pragma GCC visibility pop
#endif
#endif
