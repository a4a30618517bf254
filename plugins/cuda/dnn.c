/* SPDX-License-Identifier: MIT
 * dnn.c: conv, conv_grad_input and conv_grad_weight by cuDNN.
 *
 * A plan has the descriptors and the algorithm that cuDNN's heuristic puts first among those that give the same bits
 * each time. A cuDNN handle is one stream's, so each queue has its own, made at first use.
 *
 * The bias of f16 and bf16 is added before the sums are rounded, which only one algorithm can; that of f32 and f64
 * after.
 */
#include <cudnn.h>
#include <stdlib.h>
#include <string.h>
#include "nvidia.h"

enum { CHOICES = 8 };
static const size_t most_workspace = (size_t)256 << 20;

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
  F(conv_workspace, cudnnGetConvolutionForwardWorkspaceSize)

static struct { DNN_FUNCTIONS(DRV_MEMBER) } dnn;

static bool bind(void *handle, char *why, size_t size)
{
#define BIND(member, function) \
  if (!drv_symbol(handle, &dnn.member, DRV_NAME(function), why, size)) return false;
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

static chx_status failed(const chx_call *c, cudnnStatus_t code, const char *call)
{
  return gpu_fail(gpu_of(c->dev), code == CUDNN_STATUS_ALLOC_FAILED ? CHX_ENOMEM : CHX_EFAILED, "%s: %s: %s (%d)",
                  gpu_of(c->dev)->spec, call, dnn.error_string(code), (int)code);
}

static chx_status handle_of(const chx_call *c, cudnnHandle_t *out)
{
  const chx_status st = drv_enter(c->dev);
  if (st) return st;
  if (!c->queue->handle[CUDA_DNN]) {
    cudnnHandle_t made = NULL;
    cudnnStatus_t code = dnn.create(&made);
    if (!code && (code = dnn.set_stream(made, c->queue->stream))) dnn.destroy(made);
    if (code == CUDNN_STATUS_ALLOC_FAILED || (code && c->queue->capture)) return failed(c, code, "cudnnCreate");
    if (code) return drv_without(c->dev, &c->dev->no_dnn, "cuDNN", dnn.error_string(code));
    c->queue->handle[CUDA_DNN] = made;
  }
  *out = c->queue->handle[CUDA_DNN];
  return CHX_OK;
}

void cuda_dnn_close(chx_queue *q)
{
  if (q->handle[CUDA_DNN]) dnn.destroy(q->handle[CUDA_DNN]);
  q->handle[CUDA_DNN] = NULL;
}

/* Which calls those are that cuDNN has, their plans say, once a signature. */
static chx_status accepts(void *self, const chx_call *c)
{
  (void)self;
  return !atomic_load(&c->dev->no_dnn) && opened() ? CHX_OK : CHX_DECLINED;
}

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
  if (l->x) dnn.tensor_destroy(l->x);
  if (l->y) dnn.tensor_destroy(l->y);
  if (l->bias) dnn.tensor_destroy(l->bias);
  if (l->w) dnn.filter_destroy(l->w);
  if (l->conv) dnn.conv_destroy(l->conv);
  if (l->act) dnn.act_destroy(l->act);
  free(l);
}

typedef struct types { cudnnDataType_t data, compute; cudnnMathType_t math; } types;

static types types_of(const chx_call *c)
{
  switch (gpu_dtype(&c->out[0])) {
  case CHX_F16: return (types){CUDNN_DATA_HALF, CUDNN_DATA_FLOAT, CUDNN_TENSOR_OP_MATH};
  case CHX_BF16: return (types){CUDNN_DATA_BFLOAT16, CUDNN_DATA_FLOAT, CUDNN_TENSOR_OP_MATH};
  case CHX_F64: return (types){CUDNN_DATA_DOUBLE, CUDNN_DATA_DOUBLE, CUDNN_DEFAULT_MATH};
  default: return (types){CUDNN_DATA_FLOAT, CUDNN_DATA_FLOAT, cuda_tf32() ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH};
  }
}

static cudnnStatus_t tensor(cudnnTensorDescriptor_t *out, types t, const drv_images *of)
{
  const cudnnStatus_t st = dnn.tensor_create(out);
  return st ? st : dnn.tensor_set(*out, t.data, of->n, of->dim, of->step);
}

static cudnnStatus_t filter(cudnnFilterDescriptor_t *out, types t, const drv_conv *p)
{
  const cudnnStatus_t st = dnn.filter_create(out);
  return st ? st : dnn.filter_set(*out, t.data, p->last ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW, p->w.n, p->w.dim);
}

static cudnnStatus_t bias_of(plan *l, types t, const drv_conv *p)
{
  const drv_images bias = {p->y.n, {1, p->bias, 1, 1, 1}, {p->bias, p->bias_step, 1, 1, 1}, false};
  cudnnStatus_t st = tensor(&l->bias, t, &bias);
  l->fused = t.data == CUDNN_DATA_HALF || t.data == CUDNN_DATA_BFLOAT16;
  if (st || !l->fused) return st;
  st = dnn.act_create(&l->act);
  return st ? st : dnn.act_set(l->act, CUDNN_ACTIVATION_IDENTITY, CUDNN_PROPAGATE_NAN, 0);
}

static cudnnStatus_t describe(plan *l, types t, const drv_conv *p)
{
  cudnnStatus_t st = tensor(&l->x, t, &p->x);
  if (!st) st = tensor(&l->y, t, &p->y);
  if (!st) st = filter(&l->w, t, p);
  if (!st && p->bias) st = bias_of(l, t, p);
  if (!st) st = dnn.conv_create(&l->conv);
  if (!st) st = dnn.conv_set(l->conv, p->spatial, p->pad, p->stride, p->dilation, CUDNN_CROSS_CORRELATION, t.compute);
  if (!st) st = dnn.conv_groups(l->conv, p->groups);
  return st ? st : dnn.conv_math(l->conv, t.math);
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
    st = dnn.conv_workspace(h, l->x, l->w, l->conv, l->y, (cudnnConvolutionFwdAlgo_t)l->algo, &size);
    l->found = !st && size <= most_workspace;
    *workspace = size;
    return st;
  }
  if (mode == DRV_CONV)
    CHOOSE(cudnnConvolutionFwdAlgoPerf_t, dnn.find_conv(h, l->x, l->w, l->conv, l->y, CHOICES, &n, list))
  else if (mode == DRV_CONV_GRAD_INPUT)
    CHOOSE(cudnnConvolutionBwdDataAlgoPerf_t, dnn.find_grad_input(h, l->w, l->y, l->conv, l->x, CHOICES, &n, list))
  else
    CHOOSE(cudnnConvolutionBwdFilterAlgoPerf_t, dnn.find_grad_weight(h, l->x, l->y, l->conv, l->w, CHOICES, &n, list))
  return l->found ? dnn.conv_math(l->conv, math) : CUDNN_STATUS_SUCCESS;
}

/* What cuDNN says it has not, as opposed to what went wrong. */
static bool has_not(cudnnStatus_t code)
{
  return code / 1000 == CUDNN_STATUS_BAD_PARAM / 1000 || code / 1000 == CUDNN_STATUS_NOT_SUPPORTED / 1000;
}

static chx_status prepare(void *self, const chx_call *c, void **out, uint64_t *workspace)
{
  const int mode = *(const int *)self;
  drv_conv p;
  cudnnHandle_t h = NULL;
  const bool ours = drv_conv_of(mode, c, &p);
  chx_status st = ours ? handle_of(c, &h) : CHX_OK;
  if (st) return st;
  plan *l = calloc(1, sizeof *l);
  if (!l) return gpu_fail(gpu_of(c->dev), CHX_ENOMEM, "%s: out of memory for a plan", gpu_of(c->dev)->spec);
  *workspace = 0;
  cudnnStatus_t code = ours ? describe(l, types_of(c), &p) : CUDNN_STATUS_NOT_SUPPORTED;
  if (!code) code = choose(h, l, mode, workspace);
  if (code && !has_not(code)) {
    st = failed(c, code, "describing a convolution to cuDNN");
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
    return dnn.conv_bias(h, one, l->x, x, l->w, w, l->conv, algo, c->workspace, room, zero, l->y, y, l->bias,
                         drv_data(s->bias), l->act, l->y, y);
  const cudnnStatus_t st = dnn.conv(h, one, l->x, x, l->w, w, l->conv, algo, c->workspace, room, zero, l->y, y);
  return st || !s->bias ? st : dnn.add(h, one, l->bias, drv_data(s->bias), one, l->y, y);
}

static chx_status run(void *self, const chx_call *c)
{
  const int mode = *(const int *)self;
  const plan *l = c->plan;
  const drv_conv_sides s = drv_conv_sides_of(mode, c);
  const bool wide = gpu_dtype(&c->out[0]) == CHX_F64;
  const float one_f = 1, zero_f = 0;
  const double one_d = 1, zero_d = 0;
  const void *one = wide ? (const void *)&one_d : &one_f, *zero = wide ? (const void *)&zero_d : &zero_f;
  const size_t room = (size_t)c->workspace_bytes;
  cudnnHandle_t h = NULL;
  cudnnStatus_t code;
  if (!l->found) return CHX_DECLINED;
  const chx_status st = handle_of(c, &h);
  if (st) return st;
  void *x = drv_data(s.x), *w = drv_data(s.w), *y = drv_data(s.y);
  if (mode == DRV_CONV) code = forward(h, l, c, &s, one, zero);
  else if (mode == DRV_CONV_GRAD_INPUT)
    code = dnn.grad_input(h, one, l->w, w, l->y, y, l->conv, (cudnnConvolutionBwdDataAlgo_t)l->algo, c->workspace,
                          room, zero, l->x, x);
  else
    code = dnn.grad_weight(h, one, l->x, x, l->y, y, l->conv, (cudnnConvolutionBwdFilterAlgo_t)l->algo, c->workspace,
                           room, zero, l->w, w);
  if (code) return failed(c, code, "a convolution of cuDNN");
  return drv_queued(c->dev, c->queue, DRV_SUCCESS, "");
}

static const int modes[] = {DRV_CONV, DRV_CONV_GRAD_INPUT, DRV_CONV_GRAD_WEIGHT};
#define KERNEL(name, mode) \
  {.size = sizeof(chx_kernel), .attr_size = sizeof(chx_conv_attr), .min_version = 1, .max_version = 1, \
   .max_rank = DRV_IMAGE_AXES, .op = name, .dtypes_in = CHX_FLOATS, .dtypes_out = CHX_FLOATS, \
   .flags = CHX_K_CAPTURABLE, .accepts = accepts, .prepare = prepare, .drop = drop, .run = run, \
   .self = (void *)(uintptr_t)&modes[mode]}
const chx_kernel cuda_dnn_kernels[CUDA_DNN_KERNELS] = {KERNEL("conv", DRV_CONV),
                                                       KERNEL("conv_grad_input", DRV_CONV_GRAD_INPUT),
                                                       KERNEL("conv_grad_weight", DRV_CONV_GRAD_WEIGHT)};
