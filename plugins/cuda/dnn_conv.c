/* SPDX-License-Identifier: MIT
 * dnn_conv.c: conv, conv_grad_input and conv_grad_weight by cuDNN.
 *
 * A plan has the descriptors and the algorithm that cuDNN's heuristic puts first among those that give the same bits
 * each time. Which calls those are that cuDNN has, the plans say, once a signature.
 *
 * The bias of f16 and bf16 is added before the sums are rounded, which only one algorithm can; that of f32 and f64
 * after.
 */
#include <stdlib.h>
#include <string.h>
#include "dnn.h"

enum { CHOICES = 8 };
static const size_t most_workspace = (size_t)256 << 20;

/* ---- plans ------------------------------------------------------------------------------------------------------- */

typedef struct plan {
  bool found; /* else cuDNN has nothing for it, and the plan declines */
  bool fused; /* the bias, too */
  int algo;
  cudnnTensorDescriptor_t x, y, bias;
  cudnnFilterDescriptor_t w;
  cudnnConvolutionDescriptor_t conv;
  cudnnActivationDescriptor_t act;
} plan;

static void drop(void *self, void *of)
{
  plan *l = of;
  (void)self;
  if (l->x) cuda_dnn.tensor_destroy(l->x);
  if (l->y) cuda_dnn.tensor_destroy(l->y);
  if (l->bias) cuda_dnn.tensor_destroy(l->bias);
  if (l->w) cuda_dnn.filter_destroy(l->w);
  if (l->conv) cuda_dnn.conv_destroy(l->conv);
  if (l->act) cuda_dnn.act_destroy(l->act);
  free(l);
}

static cudnnStatus_t filter(cudnnFilterDescriptor_t *out, cuda_dnn_types t, const drv_conv *p)
{
  const cudnnStatus_t st = cuda_dnn.filter_create(out);
  return st ? st : cuda_dnn.filter_set(*out, t.data, p->last ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW, p->w.n, p->w.dim);
}

static cudnnStatus_t bias_of(plan *l, cuda_dnn_types t, const drv_conv *p)
{
  const drv_images bias = {p->y.n, {1, p->bias, 1, 1, 1}, {p->bias, p->bias_step, 1, 1, 1}, false};
  cudnnStatus_t st = cuda_dnn_tensor(&l->bias, t, &bias);
  l->fused = t.data == CUDNN_DATA_HALF || t.data == CUDNN_DATA_BFLOAT16;
  if (st || !l->fused) return st;
  st = cuda_dnn.act_create(&l->act);
  return st ? st : cuda_dnn.act_set(l->act, CUDNN_ACTIVATION_IDENTITY, CUDNN_PROPAGATE_NAN, 0);
}

static cudnnStatus_t describe(plan *l, cuda_dnn_types t, const drv_conv *p)
{
  cudnnStatus_t st = cuda_dnn_tensor(&l->x, t, &p->x);
  if (!st) st = cuda_dnn_tensor(&l->y, t, &p->y);
  if (!st) st = filter(&l->w, t, p);
  if (!st && p->bias) st = bias_of(l, t, p);
  if (!st) st = cuda_dnn.conv_create(&l->conv);
  if (!st)
    st = cuda_dnn.conv_set(l->conv, p->spatial, p->pad, p->stride, p->dilation, CUDNN_CROSS_CORRELATION, t.compute);
  if (!st) st = cuda_dnn.conv_groups(l->conv, p->groups);
  return st ? st : cuda_dnn.conv_math(l->conv, t.math);
}

/* The first of cuDNN's choices that gives the same bits each time and is content with the workspace. */
#define CHOOSE(Perf, call) \
  { \
    Perf list[CHOICES]; \
    int n = 0; \
    memset(list, 0, sizeof list); \
    if ((st = call)) return st; \
    for (int i = 0; i < n && !l->found; i++) { \
      if (list[i].status || list[i].determinism != CUDNN_DETERMINISTIC || list[i].memory > most_workspace) continue; \
      l->found = true; \
      l->algo = (int)list[i].algo; \
      math = list[i].mathType; \
      *workspace = list[i].memory; \
    } \
  }

static cudnnStatus_t choose(cudnnHandle_t h, plan *l, int mode, uint64_t *workspace)
{
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
  cudnnStatus_t st;
  size_t size = 0;
  if (l->fused) {
    l->algo = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
    st = cuda_dnn.conv_workspace(h, l->x, l->w, l->conv, l->y, (cudnnConvolutionFwdAlgo_t)l->algo, &size);
    l->found = !st && size <= most_workspace;
    *workspace = size;
    return st;
  }
  if (mode == DRV_CONV)
    CHOOSE(cudnnConvolutionFwdAlgoPerf_t, cuda_dnn.find_conv(h, l->x, l->w, l->conv, l->y, CHOICES, &n, list))
  else if (mode == DRV_CONV_GRAD_INPUT)
    CHOOSE(cudnnConvolutionBwdDataAlgoPerf_t, cuda_dnn.find_grad_input(h, l->w, l->y, l->conv, l->x, CHOICES, &n, list))
  else
    CHOOSE(cudnnConvolutionBwdFilterAlgoPerf_t,
           cuda_dnn.find_grad_weight(h, l->x, l->y, l->conv, l->w, CHOICES, &n, list))
  return l->found ? cuda_dnn.conv_math(l->conv, math) : CUDNN_STATUS_SUCCESS;
}

static chx_status prepare(void *self, const chx_call *c, void **out, uint64_t *workspace)
{
  const int mode = *(const int *)self;
  drv_conv p;
  cudnnHandle_t h = NULL;
  const bool ours = drv_conv_of(mode, c, &p);
  chx_status st = ours ? cuda_dnn_handle(c, &h) : CHX_OK;
  if (st) return st;
  plan *l = calloc(1, sizeof *l);
  if (!l) return gpu_fail(gpu_of(c->dev), CHX_ENOMEM, "%s: out of memory for a plan", gpu_of(c->dev)->spec);
  *workspace = 0;
  cudnnStatus_t code = ours ? describe(l, cuda_dnn_types_of(c), &p) : CUDNN_STATUS_NOT_SUPPORTED;
  if (!code) code = choose(h, l, mode, workspace);
  if (code && !cuda_dnn_has_not(code)) {
    st = cuda_dnn_failed(c, code, "describing a convolution to cuDNN");
    drop(NULL, l);
    return st;
  }
  if (code) l->found = false;
  if (!l->found) *workspace = 0;
  *out = l;
  return CHX_OK;
}

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

static cudnnStatus_t forward(cudnnHandle_t h, const plan *l, const chx_call *c, const drv_conv_sides *s,
                             const void *one, const void *zero)
{
  const cudnnConvolutionFwdAlgo_t algo = (cudnnConvolutionFwdAlgo_t)l->algo;
  void *x = drv_data(s->x), *w = drv_data(s->w), *y = drv_data(s->y);
  const size_t room = (size_t)c->workspace_bytes;
  if (l->fused)
    return cuda_dnn.conv_bias(h, one, l->x, x, l->w, w, l->conv, algo, c->workspace, room, zero, l->y, y, l->bias,
                         drv_data(s->bias), l->act, l->y, y);
  const cudnnStatus_t st = cuda_dnn.conv(h, one, l->x, x, l->w, w, l->conv, algo, c->workspace, room, zero, l->y, y);
  return st || !s->bias ? st : cuda_dnn.add(h, one, l->bias, drv_data(s->bias), one, l->y, y);
}

static chx_status run(void *self, const chx_call *c)
{
  const int mode = *(const int *)self;
  const plan *l = c->plan;
  const drv_conv_sides s = drv_conv_sides_of(mode, c);
  const cuda_dnn_factors by = cuda_dnn_factors_of(c);
  const void *one = by.one, *zero = by.zero;
  const size_t room = (size_t)c->workspace_bytes;
  cudnnHandle_t h = NULL;
  cudnnStatus_t code;
  if (!l->found) return CHX_DECLINED;
  const chx_status st = cuda_dnn_handle(c, &h);
  if (st) return st;
  void *x = drv_data(s.x), *w = drv_data(s.w), *y = drv_data(s.y);
  if (mode == DRV_CONV) code = forward(h, l, c, &s, one, zero);
  else if (mode == DRV_CONV_GRAD_INPUT)
    code = cuda_dnn.grad_input(h, one, l->w, w, l->y, y, l->conv, (cudnnConvolutionBwdDataAlgo_t)l->algo, c->workspace,
                          room, zero, l->x, x);
  else
    code = cuda_dnn.grad_weight(h, one, l->x, x, l->y, y, l->conv, (cudnnConvolutionBwdFilterAlgo_t)l->algo,
                                c->workspace, room, zero, l->w, w);
  if (code) return cuda_dnn_failed(c, code, "a convolution of cuDNN");
  return drv_queued(c->dev, c->queue, DRV_SUCCESS, "");
}

static const int modes[] = {DRV_CONV, DRV_CONV_GRAD_INPUT, DRV_CONV_GRAD_WEIGHT};
#define KERNEL(name, mode) \
  {.size = sizeof(chx_kernel), .attr_size = sizeof(chx_conv_attr), .min_version = 1, .max_version = 1, \
   .max_rank = DRV_IMAGE_AXES, .op = name, .dtypes_in = CHX_FLOATS, .dtypes_out = CHX_FLOATS, \
   .flags = CHX_K_CAPTURABLE, .accepts = cuda_dnn_accepts, .prepare = prepare, .drop = drop, .run = run, \
   .self = (void *)(uintptr_t)&modes[mode]}
const chx_kernel cuda_conv_kernels[CUDA_CONV_KERNELS] = {KERNEL("conv", DRV_CONV),
                                                         KERNEL("conv_grad_input", DRV_CONV_GRAD_INPUT),
                                                         KERNEL("conv_grad_weight", DRV_CONV_GRAD_WEIGHT)};
