/* SPDX-License-Identifier: MIT
 * fakednn.c: the stand-in's cuDNN: convolutions of f32 from their descriptors; see fakegpu.h.
 */
#include <cudnn.h>
#include <stdlib.h>
#include <string.h>
#include "fakegpu.h"

enum { AXES = 5 };
typedef struct tensor { int type, n, dim[AXES], step[AXES]; } tensor;
typedef struct filter { int type, format, n, dim[AXES]; } filter;
typedef struct window { int n, pad[3], stride[3], dil[3], mode, type, groups, math; } window;
typedef struct handle { cudaStream_t stream; } handle;
#define AS(type, p) ((type *)(void *)(p))

static void *made(size_t n) { return fake()->descriptors++, calloc(1, n); }
static cudnnStatus_t gone(void *p) { return free(p), fake()->descriptors--, CUDNN_STATUS_SUCCESS; }
#define MAKE(Type, what, struct_) \
  cudnnStatus_t cudnnCreate##what##Descriptor(Type *out) { return *out = (Type)made(sizeof(struct_)), CUDNN_STATUS_SUCCESS; } \
  cudnnStatus_t cudnnDestroy##what##Descriptor(Type d) { return gone((void *)d); }
MAKE(cudnnTensorDescriptor_t, Tensor, tensor)
MAKE(cudnnFilterDescriptor_t, Filter, filter)
MAKE(cudnnConvolutionDescriptor_t, Convolution, window)
MAKE(cudnnActivationDescriptor_t, Activation, int)

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
  tensor *t = AS(tensor, of);
  if (n < 4 || n > AXES) return CUDNN_STATUS_NOT_SUPPORTED;
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
  if (n < 4 || n > AXES) return CUDNN_STATUS_NOT_SUPPORTED;
  f->type = (int)type, f->format = (int)format, f->n = n;
  memcpy(f->dim, dim, (size_t)n * sizeof *dim);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionNdDescriptor(cudnnConvolutionDescriptor_t of, int n, const int pad[],
                                              const int stride[],
                                              const int dil[], cudnnConvolutionMode_t mode, cudnnDataType_t type)
{
  window *w = AS(window, of);
  w->n = n, w->mode = (int)mode, w->type = (int)type;
  memcpy(w->pad, pad, (size_t)n * sizeof *pad);
  memcpy(w->stride, stride, (size_t)n * sizeof *stride);
  memcpy(w->dil, dil, (size_t)n * sizeof *dil);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t of, int n) { return AS(window, of)->groups = n, CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t of, cudnnMathType_t m) { return AS(window, of)->math = (int)m, CUDNN_STATUS_SUCCESS; }
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
    fake_say(#name " math %d", AS(window, c)->math); \
    if (AS(window, c)->type == CUDNN_DATA_DOUBLE) return CUDNN_STATUS_NOT_SUPPORTED; \
    for (int i = 0; i < 3; i++) { \
      memset(&list[i], 0, sizeof list[i]); \
      list[i].algo = (Algo)i; \
      list[i].memory = i == 1 ? (size_t)1 << 40 : 512; \
      list[i].determinism = i ? CUDNN_DETERMINISTIC : CUDNN_NON_DETERMINISTIC; \
      list[i].mathType = (cudnnMathType_t)AS(window, c)->math; \
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

typedef struct job { tensor x, y; filter w; window c; const void *from[2]; float *to; int mode; } job;
enum { FORWARD, TO_X, TO_W };

static int64_t place(const tensor *t, int image, int channel, const int at[3])
{
  int64_t p = (int64_t)image * t->step[0] + (int64_t)channel * t->step[1];
  for (int d = 2; d < t->n; d++) p += (int64_t)at[d - 2] * t->step[d];
  return p;
}

static int64_t weight(const filter *f, int k, int c, const int at[3])
{
  const bool last = f->format == CUDNN_TENSOR_NHWC;
  int64_t p = last ? k : (int64_t)k * f->dim[1] + c;
  for (int d = 2; d < f->n; d++) p = p * f->dim[d] + at[d - 2];
  return last ? p * f->dim[1] + c : p;
}

static bool next(int at[3], const int *dim, int n)
{
  for (int d = n; d-- > 0; at[d] = 0)
    if (++at[d] < dim[d]) return true;
  return false;
}

/* The sum that is element (image, channel of y, place of y), spread over x or w, or taken from them. */
static void visit(const job *j, int image, int k, const int out[3], int c, const int tap[3])
{
  const int n = j->x.n - 2, per = j->y.dim[1] / j->c.groups;
  int in[3];
  for (int d = 0; d < n; d++) {
    in[d] = out[d] * j->c.stride[d] - j->c.pad[d] + tap[d] * j->c.dil[d];
    if (in[d] < 0 || in[d] >= j->x.dim[d + 2]) return;
  }
  const int64_t x = place(&j->x, image, k / per * j->w.dim[1] + c, in), w = weight(&j->w, k, c, tap), y = place(&j->y, image, k, out);
  const float *a = j->from[0], *b = j->from[1];
  if (j->mode == FORWARD) j->to[y] += a[x] * b[w];
  else if (j->mode == TO_X) j->to[x] += a[w] * b[y];
  else j->to[w] += a[x] * b[y];
}

static void convolve(void *of)
{
  const job *j = of;
  const int n = j->x.n - 2;
  int at[3] = {0};
  int64_t total = 1;
  if (j->mode == TO_W) {
    for (int d = 0; d < j->w.n; d++) total *= j->w.dim[d];
    memset(j->to, 0, (size_t)total * sizeof *j->to);
  } else { /* strides may leave gaps, which are not ours */
    const tensor *t = j->mode == FORWARD ? &j->y : &j->x;
    for (int i = 0; i < t->dim[0]; i++)
      for (int c = 0; c < t->dim[1]; c++) {
        memset(at, 0, sizeof at);
        do j->to[place(t, i, c, at)] = 0;
        while (next(at, t->dim + 2, n));
      }
  }
  for (int i = 0; i < j->y.dim[0]; i++)
    for (int k = 0; k < j->y.dim[1]; k++) {
      int out[3] = {0};
      do
        for (int c = 0; c < j->w.dim[1]; c++) {
          int tap[3] = {0};
          do visit(j, i, k, out, c, tap);
          while (next(tap, j->w.dim + 2, n));
        }
      while (next(out, j->y.dim + 2, n));
    }
}

static cudnnStatus_t queue(cudnnHandle_t h, int mode, const void *x, const void *y, const void *w, const void *c,
                           const void *a,
                           const void *b, void *to, int algo, size_t bytes)
{
  const job j = {*AS(const tensor, x), *AS(const tensor, y), *AS(const filter, w), *AS(const window, c), {a, b}, to,
                 mode};
  const int code = fake_code("cudnn");
  if (code) return (cudnnStatus_t)code;
  fake_say("conv mode %d type %d compute %d math %d algo %d groups %d axes %d format %d workspace %zu", mode, j.x.type,
           j.c.type,
           j.c.math, algo, j.c.groups, j.c.n, j.w.format, bytes);
  if (j.c.mode != CUDNN_CROSS_CORRELATION || j.c.n != j.x.n - 2) return CUDNN_STATUS_BAD_PARAM;
  if (j.x.type == CUDNN_DATA_FLOAT) fake_later(AS(handle, h)->stream, convolve, &j,
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
  return queue(h, FORWARD, xd, yd, wd, c, x, w, y, (int)algo, n);
}

cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t h, const void *alpha, const cudnnFilterDescriptor_t wd,
                                           const void *w,
                                           const cudnnTensorDescriptor_t yd, const void *y,
                                           const cudnnConvolutionDescriptor_t c,
                                           cudnnConvolutionBwdDataAlgo_t algo, void *work, size_t n, const void *beta,
                                           const cudnnTensorDescriptor_t xd, void *x)
{
  (void)alpha, (void)beta, (void)work;
  return queue(h, TO_X, xd, yd, wd, c, w, y, x, (int)algo, n);
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
  return queue(h, TO_W, xd, yd, wd, c, x, y, w, (int)algo, n);
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
  fake_say("fused bias of %d, activation %d", AS(tensor, bd)->dim[1], *AS(int, act));
  return queue(h, FORWARD, xd, yd, wd, c, x, w, y, (int)algo, n);
}

typedef struct sum { tensor y; int step; const float *b; float *to; } sum;
static void add(void *of)
{
  const sum *s = of;
  for (int i = 0; i < s->y.dim[0]; i++)
    for (int c = 0; c < s->y.dim[1]; c++) {
      int at[3] = {0};
      do s->to[place(&s->y, i, c, at)] += s->b[c * s->step];
      while (next(at, s->y.dim + 2, s->y.n - 2));
    }
}

cudnnStatus_t cudnnAddTensor(cudnnHandle_t h, const void *alpha, const cudnnTensorDescriptor_t bd, const void *b,
                             const void *beta,
                             const cudnnTensorDescriptor_t yd, void *y)
{
  const sum s = {*AS(tensor, yd), AS(tensor, bd)->step[1], b, y};
  (void)alpha, (void)beta;
  fake_say("cudnnAddTensor of %d", AS(tensor, bd)->dim[1]);
  fake_later(AS(handle, h)->stream, add, &s, sizeof s);
  return CUDNN_STATUS_SUCCESS;
}
