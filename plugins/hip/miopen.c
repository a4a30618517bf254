/* SPDX-License-Identifier: MIT
 * miopen.c: conv, conv_grad_input and conv_grad_weight by MIOpen, in its immediate mode.
 *
 * A plan has the descriptors and the first of MIOpen's solutions that is content with the workspace, compiled. MIOpen
 * is told to keep to kernels that give the same bits each time. A handle is one stream's, so each queue has its own.
 *
 * Operands are dense: not every solution looks at strides. The bias is added by the shared kernels, since MIOpen's own
 * addition is wrong where channels are last (ROCm/MIOpen issue 2860).
 */
#include <stdlib.h>
#include <string.h>
#include "amd.h"
#include "miopen.h"

enum { SOLUTIONS = 16 };
static const size_t most_workspace = (size_t)256 << 20;

typedef __typeof__(miopenConvolutionForwardGetSolution) find_fn;
typedef __typeof__(miopenConvolutionForwardCompileSolution) compile_fn;
typedef __typeof__(miopenConvolutionForwardImmediate) immediate_fn;

#define MIOPEN_FUNCTIONS(F) \
  F(create, miopenCreateWithStream) F(destroy, miopenDestroy) F(error_string, miopenGetErrorString) \
  F(tensor_create, miopenCreateTensorDescriptor) F(tensor_set, miopenSetTensorDescriptor) \
  F(tensor_destroy, miopenDestroyTensorDescriptor) F(conv_create, miopenCreateConvolutionDescriptor) \
  F(conv_set, miopenInitConvolutionNdDescriptor) F(conv_groups, miopenSetConvolutionGroupCount) \
  F(conv_attribute, miopenSetConvolutionAttribute) F(conv_destroy, miopenDestroyConvolutionDescriptor)
#define MIOPEN_DIRECTIONS(F) \
  F(DRV_CONV, Forward) F(DRV_CONV_GRAD_INPUT, BackwardData) F(DRV_CONV_GRAD_WEIGHT, BackwardWeights)

static struct { MIOPEN_FUNCTIONS(DRV_MEMBER) } miopen;
static struct { find_fn *find; compile_fn *compile; immediate_fn *run; } direction[3];

static bool bind(void *handle, char *why, size_t size)
{
#define BIND(member, function) \
  if (!drv_symbol(handle, &miopen.member, DRV_NAME(function), why, size)) return false;
#define BIND_DIRECTION(mode, name) \
  if (!drv_symbol(handle, &direction[mode].find, "miopenConvolution" #name "GetSolution", why, size) || \
      !drv_symbol(handle, &direction[mode].compile, "miopenConvolution" #name "CompileSolution", why, size) || \
      !drv_symbol(handle, &direction[mode].run, "miopenConvolution" #name "Immediate", why, size)) \
    return false;
  MIOPEN_FUNCTIONS(BIND)
  MIOPEN_DIRECTIONS(BIND_DIRECTION)
#undef BIND
#undef BIND_DIRECTION
  return true;
}

static bool opened(void)
{
  static const char *const names[] = {"libMIOpen.so.1", "libMIOpen.so", "/opt/rocm/lib/libMIOpen.so.1", NULL};
  static drv_library library = DRV_LIBRARY("CHX_MIOPEN_LIBRARY", names);
  return drv_library_open(&library, bind);
}

static chx_status failed(const chx_call *c, miopenStatus_t code, const char *call)
{
  return gpu_fail(gpu_of(c->dev), code == miopenStatusAllocFailed ? CHX_ENOMEM : CHX_EFAILED, "%s: %s: %s (%d)",
                  gpu_of(c->dev)->spec, call, miopen.error_string(code), (int)code);
}

/* MIOpen does not work here; only memory may be there again later. */
static chx_status unusable(const chx_call *c, miopenStatus_t code, const char *call)
{
  if (code == miopenStatusAllocFailed) return failed(c, code, call);
  return drv_without(c->dev, &c->dev->no_dnn, "MIOpen", miopen.error_string(code));
}

static chx_status handle_of(const chx_call *c, miopenHandle_t *out)
{
  const chx_status st = drv_enter(c->dev);
  if (st) return st;
  if (!c->queue->handle[HIP_MIOPEN]) {
    miopenHandle_t made = NULL;
    const miopenStatus_t code = miopen.create(&made, c->queue->stream);
    if (code) return unusable(c, code, "miopenCreateWithStream");
    c->queue->handle[HIP_MIOPEN] = made;
  }
  *out = c->queue->handle[HIP_MIOPEN];
  return CHX_OK;
}

void hip_miopen_close(chx_queue *q)
{
  if (q->handle[HIP_MIOPEN]) miopen.destroy(q->handle[HIP_MIOPEN]);
  q->handle[HIP_MIOPEN] = NULL;
}

/* Which calls those are that MIOpen has, their plans say, once a signature. */
static chx_status accepts(void *self, const chx_call *c)
{
  (void)self;
  if (c->queue && c->queue->capture) return CHX_DECLINED; /* what a solution does beside its launches is its own affair */
  return !atomic_load(&c->dev->no_dnn) && opened() ? CHX_OK : CHX_DECLINED;
}

/* ---- plans ------------------------------------------------------------------------------------------------------- */

typedef struct plan {
  bool found; /* else MIOpen has nothing for it, and the plan declines */
  uint64_t solution;
  miopenTensorDescriptor_t x, w, y;
  miopenConvolutionDescriptor_t conv;
} plan;

static void drop(void *self, void *of)
{
  plan *l = of;
  (void)self;
  if (l->x) miopen.tensor_destroy(l->x);
  if (l->w) miopen.tensor_destroy(l->w);
  if (l->y) miopen.tensor_destroy(l->y);
  if (l->conv) miopen.conv_destroy(l->conv);
  free(l);
}

static miopenStatus_t tensor(miopenTensorDescriptor_t *out, int dtype, const drv_images *of)
{
  const miopenDataType_t type = dtype == CHX_F16 ? miopenHalf : dtype == CHX_BF16 ? miopenBFloat16 : miopenFloat;
  const miopenStatus_t st = miopen.tensor_create(out);
  return st ? st : miopen.tensor_set(*out, type, of->n, of->dim, of->step);
}

static miopenStatus_t describe(plan *l, int dtype, const drv_conv *p)
{
  miopenStatus_t st = tensor(&l->x, dtype, &p->x);
  if (!st) st = tensor(&l->w, dtype, &p->w);
  if (!st) st = tensor(&l->y, dtype, &p->y);
  if (!st) st = miopen.conv_create(&l->conv);
  if (!st) st = miopen.conv_set(l->conv, p->spatial, p->pad, p->stride, p->dilation, miopenConvolution);
  if (!st) st = miopen.conv_groups(l->conv, p->groups);
  return st ? st : miopen.conv_attribute(l->conv, MIOPEN_CONVOLUTION_ATTRIB_DETERMINISTIC, 1);
}

/* What a direction reads, in its order, and what it writes. */
typedef struct operands { miopenTensorDescriptor_t a, b, c; } operands;

static operands operands_of(const plan *l, int mode)
{
  return mode == DRV_CONV              ? (operands){l->w, l->x, l->y}
         : mode == DRV_CONV_GRAD_INPUT ? (operands){l->y, l->w, l->x}
                                       : (operands){l->y, l->x, l->w};
}

/* A solution that does not compile is passed over. */
static miopenStatus_t choose(miopenHandle_t h, plan *l, int mode, uint64_t *workspace)
{
  const operands o = operands_of(l, mode);
  miopenConvSolution_t list[SOLUTIONS];
  size_t n = 0;
  memset(list, 0, sizeof list);
  const miopenStatus_t st = direction[mode].find(h, o.a, o.b, l->conv, o.c, SOLUTIONS, &n, list);
  for (size_t i = 0; !st && i < n && i < SOLUTIONS && !l->found; i++) {
    if (list[i].workspace_size > most_workspace ||
        direction[mode].compile(h, o.a, o.b, l->conv, o.c, list[i].solution_id))
      continue;
    l->found = true;
    l->solution = list[i].solution_id;
    *workspace = list[i].workspace_size;
  }
  return st;
}

/* What MIOpen says it has not, as opposed to what went wrong. */
static bool has_not(miopenStatus_t code)
{
  return code == miopenStatusInvalidValue || code == miopenStatusBadParm || code == miopenStatusNotImplemented ||
         code == miopenStatusUnsupportedOp;
}

static chx_status prepare(void *self, const chx_call *c, void **out, uint64_t *workspace)
{
  const int mode = *(const int *)self;
  drv_conv p;
  miopenHandle_t h = NULL;
  const bool ours = drv_conv_of(mode, c, &p) && p.x.dense && p.y.dense;
  chx_status st = ours ? handle_of(c, &h) : CHX_OK;
  if (st) return st;
  plan *l = calloc(1, sizeof *l);
  if (!l) return gpu_fail(gpu_of(c->dev), CHX_ENOMEM, "%s: out of memory for a plan", gpu_of(c->dev)->spec);
  *workspace = 0;
  miopenStatus_t code = ours ? describe(l, gpu_dtype(&c->out[0]), &p) : miopenStatusUnsupportedOp;
  if (!code) code = choose(h, l, mode, workspace);
  if (code && !has_not(code)) {
    st = unusable(c, code, "finding a convolution of MIOpen");
    drop(NULL, l);
    return st;
  }
  *out = l;
  return CHX_OK;
}

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

/* y += the bias of each channel, by the shared kernel of elementwise programs. */
static chx_status add_bias(const chx_call *c, const chx_tensor *bias)
{
  const chx_kernel *map = hip_shared(c->dev, "map");
  const chx_tensor *y = &c->out[0];
  int64_t strides[DRV_IMAGE_AXES] = {0};
  chx_tensor in[2] = {*y, *bias};
  chx_map_attr add = CHX_ATTR(map);
  if (!map) return gpu_fail(gpu_of(c->dev), CHX_EFAILED, "%s: no kernel adds the bias", gpu_of(c->dev)->spec);
  strides[((const chx_conv_attr *)c->attr)->layout == CHX_CHANNELS_LAST ? y->ndim - 1 : 1] = bias->strides[0];
  in[1].ndim = y->ndim;
  in[1].shape = y->shape;
  in[1].strides = strides;
  in[1].flags &= ~(uint64_t)CHX_T_CONTIGUOUS;
  add.program.n = 1;
  strcpy(add.program.step[0].op, "add");
  add.program.step[0].y = 1;
  chx_call call = *c;
  call.in = in;
  call.n_in = 2;
  call.attr = &add;
  return map->run(map->self, &call);
}

static chx_status run(void *self, const chx_call *c)
{
  const int mode = *(const int *)self;
  const plan *l = c->plan;
  const drv_conv_sides s = drv_conv_sides_of(mode, c);
  miopenHandle_t h = NULL;
  if (!l->found) return CHX_DECLINED;
  chx_status st = handle_of(c, &h);
  if (st) return st;
  const operands o = operands_of(l, mode);
  const chx_tensor *a = mode == DRV_CONV ? s.w : s.y, *b = mode == DRV_CONV_GRAD_INPUT ? s.w : s.x;
  const miopenStatus_t code = direction[mode].run(h, o.a, drv_data(a), o.b, drv_data(b), l->conv, o.c,
                                                  drv_data(&c->out[0]), c->workspace, (size_t)c->workspace_bytes,
                                                  l->solution);
  if (code) return failed(c, code, "a convolution of MIOpen");
  st = drv_queued(c->dev, c->queue, DRV_SUCCESS, "");
  return st || !s.bias ? st : add_bias(c, s.bias);
}

static const int modes[] = {DRV_CONV, DRV_CONV_GRAD_INPUT, DRV_CONV_GRAD_WEIGHT};
#define TYPES (CHX_FLOATS & ~CHX_BIT(CHX_F64))
#define KERNEL(name, mode) \
  {.size = sizeof(chx_kernel), .attr_size = sizeof(chx_conv_attr), .min_version = 1, .max_version = 1, \
   .max_rank = DRV_IMAGE_AXES, .op = name, .dtypes_in = TYPES, .dtypes_out = TYPES, .accepts = accepts, \
   .prepare = prepare, .drop = drop, .run = run, .self = (void *)(uintptr_t)&modes[mode]}
const chx_kernel hip_miopen_kernels[HIP_MIOPEN_KERNELS] = {KERNEL("conv", DRV_CONV),
                                                           KERNEL("conv_grad_input", DRV_CONV_GRAD_INPUT),
                                                           KERNEL("conv_grad_weight", DRV_CONV_GRAD_WEIGHT)};
