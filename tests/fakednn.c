/* SPDX-License-Identifier: MIT
 * fakednn.c: the stand-in's cuDNN: convolutions, pooling and normalisation of f32 from their descriptors; see fakegpu.h.
 */
#include <cudnn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "fakeconv.h"
#include "fakegpu.h"

typedef struct filter { fake_tensor is; int format; } filter;
typedef struct handle { cudaStream_t stream; } handle;
#define AS(type, p) ((type *)(void *)(p))

static void *made(size_t n) { return fake()->descriptors++, calloc(1, n); }
static cudnnStatus_t gone(void *p) { return free(p), fake()->descriptors--, CUDNN_STATUS_SUCCESS; }
#define MAKE(Type, what, struct_) \
  cudnnStatus_t cudnnCreate##what##Descriptor(Type *out) { return *out = (Type)made(sizeof(struct_)), CUDNN_STATUS_SUCCESS; } \
  cudnnStatus_t cudnnDestroy##what##Descriptor(Type d) { return gone((void *)d); }
MAKE(cudnnTensorDescriptor_t, Tensor, fake_tensor)
MAKE(cudnnFilterDescriptor_t, Filter, filter)
MAKE(cudnnConvolutionDescriptor_t, Convolution, fake_window)
MAKE(cudnnActivationDescriptor_t, Activation, int)
typedef struct pooling { int mode, n, size[3], pad[3], stride[3]; } pooling;
MAKE(cudnnPoolingDescriptor_t, Pooling, pooling)

cudnnStatus_t cudnnCreate(cudnnHandle_t *h)
{
  if (fake_code("cudnnCreate")) return CUDNN_STATUS_NOT_INITIALIZED;
  fake_say("cudnnCreate");
  fake()->handles++;
  *h = (cudnnHandle_t)calloc(1, sizeof(handle));
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t h) { return free((void *)h), fake()->handles--, CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnSetStream(cudnnHandle_t h, cudaStream_t s) { return AS(handle, h)->stream = s,
                                                               CUDNN_STATUS_SUCCESS; }
const char *cudnnGetErrorString(cudnnStatus_t st) { return (void)st, "CUDNN_STATUS_STAND_IN"; }

cudnnStatus_t cudnnSetTensorNdDescriptor(cudnnTensorDescriptor_t of, cudnnDataType_t type, int n, const int *dim,
                                         const int *step)
{
  fake_tensor *t = AS(fake_tensor, of);
  if (n < 4 || n > FAKE_AXES) return CUDNN_STATUS_NOT_SUPPORTED;
  t->type = (int)type, t->n = n;
  memcpy(t->dim, dim, (size_t)n * sizeof *dim);
  memcpy(t->step, step, (size_t)n * sizeof *step);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetFilterNdDescriptor(cudnnFilterDescriptor_t of, cudnnDataType_t type, cudnnTensorFormat_t format,
                                         int n,
                                         const int dim[])
{
  filter *f = AS(filter, of);
  if (n < 4 || n > FAKE_AXES) return CUDNN_STATUS_NOT_SUPPORTED;
  f->is.type = (int)type, f->format = (int)format, f->is.n = n;
  memcpy(f->is.dim, dim, (size_t)n * sizeof *dim);
  const bool last = format == CUDNN_TENSOR_NHWC;
  int step = last ? dim[1] : 1;
  for (int d = n; d-- > 2; step *= dim[d]) f->is.step[d] = step;
  f->is.step[1] = last ? 1 : step;
  f->is.step[0] = last ? step : step * dim[1];
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionNdDescriptor(cudnnConvolutionDescriptor_t of, int n, const int pad[],
                                              const int stride[],
                                              const int dil[], cudnnConvolutionMode_t mode, cudnnDataType_t type)
{
  fake_window *w = AS(fake_window, of);
  w->n = n, w->mode = (int)mode, w->type = (int)type;
  memcpy(w->pad, pad, (size_t)n * sizeof *pad);
  memcpy(w->stride, stride, (size_t)n * sizeof *stride);
  memcpy(w->dil, dil, (size_t)n * sizeof *dil);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t of, int n) { return AS(fake_window, of)->groups = n, CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t of, cudnnMathType_t m) { return AS(fake_window, of)->math = (int)m, CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnSetActivationDescriptor(cudnnActivationDescriptor_t of, cudnnActivationMode_t mode,
                                           cudnnNanPropagation_t nan, double c)
{
  (void)nan, (void)c;
  *AS(int, of) = (int)mode;
  return CUDNN_STATUS_SUCCESS;
}

/* The first choice is one whose bits vary, the second wants too much, the third is to be taken; for f64 there is
 * none. */
#define FIND(name, Perf, Algo, A, B, D) \
  cudnnStatus_t name(cudnnHandle_t h, const A a, const B b, const cudnnConvolutionDescriptor_t c, const D d, int room, int *n, Perf *list) \
  { \
    (void)h, (void)a, (void)b, (void)d, (void)room; \
    *n = 0; \
    fake_say(#name " math %d", AS(fake_window, c)->math); \
    if (AS(fake_window, c)->type == CUDNN_DATA_DOUBLE) return CUDNN_STATUS_NOT_SUPPORTED; \
    for (int i = 0; i < 3; i++) { \
      memset(&list[i], 0, sizeof list[i]); \
      list[i].algo = (Algo)i; \
      list[i].memory = i == 1 ? (size_t)1 << 40 : 512; \
      list[i].determinism = i ? CUDNN_DETERMINISTIC : CUDNN_NON_DETERMINISTIC; \
      list[i].mathType = (cudnnMathType_t)AS(fake_window, c)->math; \
    } \
    *n = 3; \
    return CUDNN_STATUS_SUCCESS; \
  }
FIND(cudnnGetConvolutionForwardAlgorithm_v7, cudnnConvolutionFwdAlgoPerf_t, cudnnConvolutionFwdAlgo_t,
     cudnnTensorDescriptor_t,
     cudnnFilterDescriptor_t, cudnnTensorDescriptor_t)
FIND(cudnnGetConvolutionBackwardDataAlgorithm_v7, cudnnConvolutionBwdDataAlgoPerf_t, cudnnConvolutionBwdDataAlgo_t,
     cudnnFilterDescriptor_t, cudnnTensorDescriptor_t, cudnnTensorDescriptor_t)
FIND(cudnnGetConvolutionBackwardFilterAlgorithm_v7, cudnnConvolutionBwdFilterAlgoPerf_t,
     cudnnConvolutionBwdFilterAlgo_t,
     cudnnTensorDescriptor_t, cudnnTensorDescriptor_t, cudnnFilterDescriptor_t)

cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t h, const cudnnTensorDescriptor_t x,
                                                      const cudnnFilterDescriptor_t w,
                                                      const cudnnConvolutionDescriptor_t c,
                                                      const cudnnTensorDescriptor_t y,
                                                      cudnnConvolutionFwdAlgo_t algo, size_t *n)
{
  (void)h, (void)x, (void)w, (void)c, (void)y;
  *n = 256 + (size_t)algo;
  return CUDNN_STATUS_SUCCESS;
}

/* ---- convolutions ------------------------------------------------------------------------------------------------ */

static cudnnStatus_t queue(cudnnHandle_t h, int mode, const void *x, const void *y, const void *w, const void *c,
                           const void *a,
                           const void *b, void *to, int algo, size_t bytes)
{
  const filter *f = AS(const filter, w);
  const fake_conv j = {*AS(const fake_tensor, x), f->is, *AS(const fake_tensor, y), *AS(const fake_window, c), {a, b}, to,
                       mode};
  const int code = fake_code("cudnn");
  if (code) return (cudnnStatus_t)code;
  fake_say("conv mode %d type %d compute %d math %d algo %d groups %d axes %d format %d workspace %zu", mode, j.x.type,
           j.c.type,
           j.c.math, algo, j.c.groups, j.c.n, f->format, bytes);
  if (j.c.mode != CUDNN_CROSS_CORRELATION || j.c.n != j.x.n - 2) return CUDNN_STATUS_BAD_PARAM;
  if (j.x.type == CUDNN_DATA_FLOAT) fake_later(AS(handle, h)->stream, fake_conv_run, &j,
                                               sizeof j); /* halves are recorded alone */
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t h, const void *alpha, const cudnnTensorDescriptor_t xd,
                                      const void *x,
                                      const cudnnFilterDescriptor_t wd, const void *w,
                                      const cudnnConvolutionDescriptor_t c,
                                      cudnnConvolutionFwdAlgo_t algo, void *work, size_t n, const void *beta,
                                      const cudnnTensorDescriptor_t yd, void *y)
{
  (void)alpha, (void)beta, (void)work;
  return queue(h, FAKE_FORWARD, xd, yd, wd, c, x, w, y, (int)algo, n);
}

cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t h, const void *alpha, const cudnnFilterDescriptor_t wd,
                                           const void *w,
                                           const cudnnTensorDescriptor_t yd, const void *y,
                                           const cudnnConvolutionDescriptor_t c,
                                           cudnnConvolutionBwdDataAlgo_t algo, void *work, size_t n, const void *beta,
                                           const cudnnTensorDescriptor_t xd, void *x)
{
  (void)alpha, (void)beta, (void)work;
  return queue(h, FAKE_TO_X, xd, yd, wd, c, w, y, x, (int)algo, n);
}

cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t h, const void *alpha, const cudnnTensorDescriptor_t xd,
                                             const void *x,
                                             const cudnnTensorDescriptor_t yd, const void *y,
                                             const cudnnConvolutionDescriptor_t c,
                                             cudnnConvolutionBwdFilterAlgo_t algo, void *work, size_t n,
                                             const void *beta,
                                             const cudnnFilterDescriptor_t wd, void *w)
{
  (void)alpha, (void)beta, (void)work;
  return queue(h, FAKE_TO_W, xd, yd, wd, c, x, y, w, (int)algo, n);
}

cudnnStatus_t cudnnConvolutionBiasActivationForward(cudnnHandle_t h, const void *alpha,
                                                    const cudnnTensorDescriptor_t xd, const void *x,
                                                    const cudnnFilterDescriptor_t wd, const void *w,
                                                    const cudnnConvolutionDescriptor_t c,
                                                    cudnnConvolutionFwdAlgo_t algo, void *work,
                                                    size_t n, const void *alpha2, const cudnnTensorDescriptor_t zd,
                                                    const void *z,
                                                    const cudnnTensorDescriptor_t bd, const void *b,
                                                    const cudnnActivationDescriptor_t act,
                                                    const cudnnTensorDescriptor_t yd, void *y)
{
  (void)alpha, (void)alpha2, (void)work, (void)zd, (void)z, (void)b;
  fake_say("fused bias of %d, activation %d", AS(fake_tensor, bd)->dim[1], *AS(int, act));
  return queue(h, FAKE_FORWARD, xd, yd, wd, c, x, w, y, (int)algo, n);
}

typedef struct sum { fake_tensor y; int step; const float *b; float *to; } sum;
static void add(void *of)
{
  const sum *s = of;
  for (int i = 0; i < s->y.dim[0]; i++)
    for (int c = 0; c < s->y.dim[1]; c++) {
      int at[3] = {0};
      do s->to[fake_place(&s->y, i, c, at)] += s->b[c * s->step];
      while (fake_next(at, s->y.dim + 2, s->y.n - 2));
    }
}

cudnnStatus_t cudnnAddTensor(cudnnHandle_t h, const void *alpha, const cudnnTensorDescriptor_t bd, const void *b,
                             const void *beta,
                             const cudnnTensorDescriptor_t yd, void *y)
{
  const sum s = {*AS(fake_tensor, yd), AS(fake_tensor, bd)->step[1], b, y};
  (void)alpha, (void)beta;
  fake_say("cudnnAddTensor of %d", AS(fake_tensor, bd)->dim[1]);
  fake_later(AS(handle, h)->stream, add, &s, sizeof s);
  return CUDNN_STATUS_SUCCESS;
}

/* ---- pooling and normalisation ----------------------------------------------------------------------------------- */

cudnnStatus_t cudnnSetPoolingNdDescriptor(cudnnPoolingDescriptor_t of, const cudnnPoolingMode_t mode,
                                          const cudnnNanPropagation_t nan, int n, const int size[], const int pad[],
                                          const int stride[])
{
  pooling *p = AS(pooling, of);
  (void)nan;
  if (n < 2 || n > 3) return CUDNN_STATUS_NOT_SUPPORTED;
  p->mode = (int)mode, p->n = n;
  memcpy(p->size, size, (size_t)n * sizeof *size);
  memcpy(p->pad, pad, (size_t)n * sizeof *pad);
  memcpy(p->stride, stride, (size_t)n * sizeof *stride);
  return CUDNN_STATUS_SUCCESS;
}

typedef struct pool_job { fake_tensor x, y; pooling p; const float *from; float *to; } pool_job;

/* The mean of the window of y's element. */
static float mean_of(const pool_job *j, int image, int channel, const int out[3])
{
  int tap[3] = {0}, all = 0, inside = 0;
  double total = 0;
  do {
    int in[3] = {0};
    bool is = true;
    for (int d = 0; d < j->p.n; d++) {
      in[d] = out[d] * j->p.stride[d] - j->p.pad[d] + tap[d];
      is = is && in[d] >= 0 && in[d] < j->x.dim[d + 2];
    }
    all++, inside += is;
    if (is) total += (double)j->from[fake_place(&j->x, image, channel, in)];
  } while (fake_next(tap, j->p.size, j->p.n));
  return (float)(total / (j->p.mode == CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING ? inside : all));
}

static void pool(void *of)
{
  const pool_job *j = of;
  for (int i = 0; i < j->y.dim[0]; i++)
    for (int c = 0; c < j->y.dim[1]; c++) {
      int out[3] = {0};
      do j->to[fake_place(&j->y, i, c, out)] = mean_of(j, i, c, out);
      while (fake_next(out, j->y.dim + 2, j->p.n));
    }
}

cudnnStatus_t cudnnPoolingForward(cudnnHandle_t h, const cudnnPoolingDescriptor_t of, const void *alpha,
                                  const cudnnTensorDescriptor_t xd, const void *x, const void *beta,
                                  const cudnnTensorDescriptor_t yd, void *y)
{
  const pool_job j = {*AS(fake_tensor, xd), *AS(fake_tensor, yd), *AS(pooling, of), x, y};
  const int code = fake_code("cudnnPoolingForward");
  (void)alpha, (void)beta;
  if (code) return (cudnnStatus_t)code;
  fake_say("pool mode %d type %d axes %d", j.p.mode, j.x.type, j.p.n);
  for (int d = 0; d < j.p.n; d++) /* cuDNN's own sizes */
    if (j.y.dim[d + 2] != 1 + (j.x.dim[d + 2] + 2 * j.p.pad[d] - j.p.size[d]) / j.p.stride[d])
      return CUDNN_STATUS_BAD_PARAM;
  if (j.x.type == CUDNN_DATA_FLOAT) fake_later(AS(handle, h)->stream, pool, &j, sizeof j);
  return CUDNN_STATUS_SUCCESS;
}

typedef struct norm_job { fake_tensor x, y; const float *from, *by[4]; float *to; double eps; } norm_job;

static void norm(void *of)
{
  const norm_job *j = of;
  for (int i = 0; i < j->y.dim[0]; i++)
    for (int c = 0; c < j->y.dim[1]; c++) {
      const double scale = (double)j->by[0][c] / sqrt((double)j->by[3][c] + j->eps);
      int at[3] = {0};
      do
        j->to[fake_place(&j->y, i, c, at)] =
          (float)(((double)j->from[fake_place(&j->x, i, c, at)] - (double)j->by[2][c]) * scale + (double)j->by[1][c]);
      while (fake_next(at, j->y.dim + 2, j->y.n - 2));
    }
}

cudnnStatus_t cudnnBatchNormalizationForwardInference(cudnnHandle_t h, cudnnBatchNormMode_t mode, const void *alpha,
                                                      const void *beta, const cudnnTensorDescriptor_t xd, const void *x,
                                                      const cudnnTensorDescriptor_t yd, void *y,
                                                      const cudnnTensorDescriptor_t pd, const void *scale,
                                                      const void *bias, const void *mean, const void *variance,
                                                      double eps)
{
  const norm_job j = {*AS(fake_tensor, xd), *AS(fake_tensor, yd), x, {scale, bias, mean, variance}, y, eps};
  const fake_tensor *p = AS(fake_tensor, pd);
  const int code = fake_code("cudnnBatchNorm");
  (void)alpha, (void)beta;
  if (code) return (cudnnStatus_t)code;
  fake_say("norm mode %d type %d channels %d of type %d eps %g", (int)mode, j.x.type, p->dim[1], p->type, eps);
  if (p->n != j.x.n || p->dim[0] != 1 || p->dim[1] != j.x.dim[1] || p->dim[2] != 1 || p->step[1] != 1)
    return CUDNN_STATUS_BAD_PARAM;
  if (j.x.type == CUDNN_DATA_FLOAT) fake_later(AS(handle, h)->stream, norm, &j, sizeof j);
  return CUDNN_STATUS_SUCCESS;
}
