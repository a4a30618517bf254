/* SPDX-License-Identifier: MIT
 * dnn_image.c: avg_pool and fixed_batch_norm of f32 and f64 by cuDNN, which has a function for each.
 *
 * avg_pool: cuDNN rounds the sizes of y down, so it is asked only where that gives ours. f16 and bf16 are left out: its
 * header does not say in what it sums them, and of a normalisation wants the parameters in f32 then.
 */
#include <stdlib.h>
#include "dnn.h"

enum { POOL, NORM };

typedef struct plan {
  atomic_bool none; /* cuDNN has not what is asked for */
  cudnnTensorDescriptor_t x, y, channels;
  cudnnPoolingDescriptor_t pool;
} plan;

static void drop(void *self, void *of)
{
  plan *l = of;
  (void)self;
  if (l->x) cuda_dnn.tensor_destroy(l->x);
  if (l->y) cuda_dnn.tensor_destroy(l->y);
  if (l->channels) cuda_dnn.tensor_destroy(l->channels);
  if (l->pool) cuda_dnn.pool_destroy(l->pool);
  free(l);
}

typedef struct images {
  drv_images x, y;
} images;

static bool images_of(const chx_call *c, int64_t layout, images *p)
{
  const bool last = layout == CHX_CHANNELS_LAST;
  return drv_images_of(&c->in[0], last, &p->x) && drv_images_of(&c->out[0], last, &p->y);
}

static cudnnStatus_t describe_pool(plan *l, const chx_call *c, images *p)
{
  const chx_pool_attr *a = c->attr;
  int size[DRV_SPATIAL], pad[DRV_SPATIAL], stride[DRV_SPATIAL];
  if (!images_of(c, a->layout, p)) return CUDNN_STATUS_NOT_SUPPORTED;
  const int spatial = c->in[0].ndim - 2, n = p->x.n - 2;
  for (int d = 0; d < spatial; d++) /* a pad is less than its window */
    if (a->ksize.v[d] > INT32_MAX || a->stride.v[d] > INT32_MAX) return CUDNN_STATUS_NOT_SUPPORTED;
  drv_windows(&a->ksize, spatial, 1, size);
  drv_windows(&a->pad, spatial, 0, pad);
  drv_windows(&a->stride, spatial, 1, stride);
  for (int d = 0; d < n; d++)
    if (p->y.dim[2 + d] != ((int64_t)p->x.dim[2 + d] + 2 * (int64_t)pad[d] - size[d]) / stride[d] + 1)
      return CUDNN_STATUS_NOT_SUPPORTED;
  const cudnnStatus_t st = cuda_dnn.pool_create(&l->pool);
  const cudnnPoolingMode_t mode =
    a->exclude_pad ? CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING : CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING;
  return st ? st : cuda_dnn.pool_set(l->pool, mode, CUDNN_PROPAGATE_NAN, n, size, pad, stride);
}

static cudnnStatus_t describe_norm(plan *l, const chx_call *c, images *p)
{
  const chx_batch_norm_attr *a = c->attr;
  if (!images_of(c, a->layout, p) || !(a->eps >= CUDNN_BN_MIN_EPSILON)) return CUDNN_STATUS_NOT_SUPPORTED;
  const int n = p->x.dim[1];
  const drv_images channels = {p->x.n, {1, n, 1, 1, 1}, {n, 1, 1, 1, 1}, false};
  return cuda_dnn_tensor(&l->channels, cuda_dnn_types_of(c), &channels);
}

static chx_status prepare(void *self, const chx_call *c, void **out, uint64_t *workspace)
{
  plan *l = calloc(1, sizeof *l);
  images p;
  (void)workspace;
  if (!l) return gpu_fail(gpu_of(c->dev), CHX_ENOMEM, "%s: out of memory for a plan", gpu_of(c->dev)->spec);
  cudnnStatus_t code = *(const int *)self == POOL ? describe_pool(l, c, &p) : describe_norm(l, c, &p);
  if (!code) code = cuda_dnn_tensor(&l->x, cuda_dnn_types_of(c), &p.x);
  if (!code) code = cuda_dnn_tensor(&l->y, cuda_dnn_types_of(c), &p.y);
  if (code && !cuda_dnn_has_not(code)) {
    drop(NULL, l);
    return cuda_dnn_failed(c, code, "describing images to cuDNN");
  }
  atomic_store(&l->none, code != CUDNN_STATUS_SUCCESS);
  *out = l;
  return CHX_OK;
}

static cudnnStatus_t pool(cudnnHandle_t h, const plan *l, const chx_call *c, cuda_dnn_factors by)
{
  return cuda_dnn.pool(h, l->pool, by.one, l->x, drv_data(&c->in[0]), by.zero, l->y, drv_data(&c->out[0]));
}

static cudnnStatus_t norm(cudnnHandle_t h, const plan *l, const chx_call *c, cuda_dnn_factors by)
{
  const void *p[5];
  for (int i = 0; i < 5; i++) p[i] = drv_data(&c->in[i]);
  return cuda_dnn.batch_norm(h, CUDNN_BATCHNORM_SPATIAL, by.one, by.zero, l->x, p[0], l->y, drv_data(&c->out[0]),
                             l->channels, p[1], p[2], p[3], p[4], ((const chx_batch_norm_attr *)c->attr)->eps);
}

static chx_status run(void *self, const chx_call *c)
{
  const bool is_pool = *(const int *)self == POOL;
  plan *l = c->plan;
  const cuda_dnn_factors by = cuda_dnn_factors_of(c);
  cudnnHandle_t h = NULL;
  if (atomic_load(&l->none)) return CHX_DECLINED;
  const chx_status st = cuda_dnn_handle(c, &h);
  if (st) return st;
  const cudnnStatus_t code = is_pool ? pool(h, l, c, by) : norm(h, l, c, by);
  if (cuda_dnn_has_not(code)) return atomic_store(&l->none, true), CHX_DECLINED; /* only the call itself says so */
  if (code) return cuda_dnn_failed(c, code, is_pool ? "cudnnPoolingForward" : "cudnnBatchNormalizationForwardInference");
  return drv_queued(c->dev, c->queue, DRV_SUCCESS, "");
}

static const int kinds[] = {POOL, NORM};
#define FLOATS (CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64))
#define KERNEL(name, kind, attr) \
  { \
    .size = sizeof(chx_kernel), .attr_size = sizeof(attr), .min_version = 1, .max_version = 1, \
    .max_rank = DRV_IMAGE_AXES, .op = name, .dtypes_in = FLOATS, .dtypes_out = FLOATS, \
    .flags = CHX_K_CONTIGUOUS | CHX_K_CAPTURABLE, .accepts = cuda_dnn_accepts, .prepare = prepare, .drop = drop, \
    .run = run, .self = (void *)(uintptr_t)&kinds[kind] \
  }
const chx_kernel cuda_image_kernels[CUDA_IMAGE_KERNELS] = {KERNEL("avg_pool", POOL, chx_pool_attr),
                                                           KERNEL("fixed_batch_norm", NORM, chx_batch_norm_attr)};
