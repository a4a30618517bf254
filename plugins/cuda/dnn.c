/* SPDX-License-Identifier: MIT
 * dnn.c: the library cuDNN, its handles and its tensors.
 */
#include "dnn.h"

struct cuda_dnn_api cuda_dnn;

static bool bind(void *handle, char *why, size_t size)
{
#define BIND(member, function) \
  if (!drv_symbol(handle, &cuda_dnn.member, DRV_NAME(function), why, size)) return false;
  DNN_FUNCTIONS(BIND)
#undef BIND
  return true;
}

static bool opened(void)
{
  static const char *const names[] = {"libcudnn.so.9", "/usr/local/cuda/lib64/libcudnn.so.9", NULL};
  static drv_library library = DRV_LIBRARY("CHX_CUDNN_LIBRARY", names);
  return drv_library_open(&library, bind);
}

chx_status cuda_dnn_accepts(void *self, const chx_call *c)
{
  (void)self;
  return !atomic_load(&c->dev->no_dnn) && opened() ? CHX_OK : CHX_DECLINED;
}

chx_status cuda_dnn_failed(const chx_call *c, cudnnStatus_t code, const char *call)
{
  return gpu_fail(gpu_of(c->dev), code == CUDNN_STATUS_ALLOC_FAILED ? CHX_ENOMEM : CHX_EFAILED, "%s: %s: %s (%d)",
                  gpu_of(c->dev)->spec, call, cuda_dnn.error_string(code), (int)code);
}

bool cuda_dnn_has_not(cudnnStatus_t code)
{
  return code / 1000 == CUDNN_STATUS_BAD_PARAM / 1000 || code / 1000 == CUDNN_STATUS_NOT_SUPPORTED / 1000;
}

/* ---- handles ----------------------------------------------------------------------------------------------------- */

chx_status cuda_dnn_handle(const chx_call *c, cudnnHandle_t *out)
{
  const chx_status st = drv_enter(c->dev);
  if (st) return st;
  if (!c->queue->handle[CUDA_DNN]) {
    cudnnHandle_t made = NULL;
    cudnnStatus_t code = cuda_dnn.create(&made);
    if (!code && (code = cuda_dnn.set_stream(made, c->queue->stream))) cuda_dnn.destroy(made);
    if (code == CUDNN_STATUS_ALLOC_FAILED || (code && c->queue->capture))
      return cuda_dnn_failed(c, code, "cudnnCreate");
    if (code) return drv_without(c->dev, &c->dev->no_dnn, "cuDNN", cuda_dnn.error_string(code));
    c->queue->handle[CUDA_DNN] = made;
  }
  *out = c->queue->handle[CUDA_DNN];
  return CHX_OK;
}

void cuda_dnn_close(chx_queue *q)
{
  if (q->handle[CUDA_DNN]) cuda_dnn.destroy(q->handle[CUDA_DNN]);
  q->handle[CUDA_DNN] = NULL;
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

cuda_dnn_types cuda_dnn_types_of(const chx_call *c)
{
  switch (gpu_dtype(&c->out[0])) {
  case CHX_F16: return (cuda_dnn_types){CUDNN_DATA_HALF, CUDNN_DATA_FLOAT, CUDNN_TENSOR_OP_MATH};
  case CHX_BF16: return (cuda_dnn_types){CUDNN_DATA_BFLOAT16, CUDNN_DATA_FLOAT, CUDNN_TENSOR_OP_MATH};
  case CHX_F64: return (cuda_dnn_types){CUDNN_DATA_DOUBLE, CUDNN_DATA_DOUBLE, CUDNN_DEFAULT_MATH};
  default:
    return (cuda_dnn_types){CUDNN_DATA_FLOAT, CUDNN_DATA_FLOAT, cuda_tf32() ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH};
  }
}

cudnnStatus_t cuda_dnn_tensor(cudnnTensorDescriptor_t *out, cuda_dnn_types t, const drv_images *of)
{
  const cudnnStatus_t st = cuda_dnn.tensor_create(out);
  return st ? st : cuda_dnn.tensor_set(*out, t.data, of->n, of->dim, of->step);
}
