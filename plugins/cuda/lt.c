/* SPDX-License-Identifier: MIT
 * lt.c: matmul and linear by cuBLASLt, the bias as its epilogue.
 *
 * A plan has the descriptors and two algorithms: one for operands that begin at multiples of 16 bytes, as nearly all
 * do, and one for those that do not. Sums are never split in the result's own dtype, so that f16 and bf16 are summed in
 * f32 throughout. A plan is one queue's, which one thread at a time uses: the bias's address may be put into its
 * descriptor.
 */
#include <cublasLt.h>
#include <stdlib.h>
#include <string.h>
#include "nvidia.h"

enum { ALIGNED, UNALIGNED, WORKSPACE = 32 << 20 };

#define LT_FUNCTIONS(F) \
  F(create, cublasLtCreate) F(destroy, cublasLtDestroy) F(matmul, cublasLtMatmul) F(desc_create, cublasLtMatmulDescCreate) \
  F(desc_destroy, cublasLtMatmulDescDestroy) F(desc_set, cublasLtMatmulDescSetAttribute) \
  F(layout_create, cublasLtMatrixLayoutCreate) F(layout_destroy, cublasLtMatrixLayoutDestroy) \
  F(layout_set, cublasLtMatrixLayoutSetAttribute) F(pref_create, cublasLtMatmulPreferenceCreate) \
  F(pref_destroy, cublasLtMatmulPreferenceDestroy) F(pref_set, cublasLtMatmulPreferenceSetAttribute) \
  F(heuristic, cublasLtMatmulAlgoGetHeuristic) F(status_name, cublasLtGetStatusName)

static struct { LT_FUNCTIONS(DRV_MEMBER) } lt;

static bool bind(void *handle, char *why, size_t size)
{
#define BIND(member, function) \
  if (!drv_symbol(handle, &lt.member, DRV_NAME(function), why, size)) return false;
  LT_FUNCTIONS(BIND)
#undef BIND
  return true;
}

static bool opened(void)
{
  static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so",
                                      "/usr/local/cuda/lib64/libcublasLt.so", NULL};
  static drv_library library = DRV_LIBRARY("CHX_CUBLAS_LIBRARY", names);
  return drv_library_open(&library, bind);
}

static chx_status failed(const chx_call *c, cublasStatus_t code, const char *call)
{
  return gpu_fail(gpu_of(c->dev), code == CUBLAS_STATUS_ALLOC_FAILED ? CHX_ENOMEM : CHX_EFAILED, "%s: %s: %s (%d)",
                  gpu_of(c->dev)->spec, call, lt.status_name(code), (int)code);
}

/* The device's, made when first needed. */
static chx_status handle_of(const chx_call *c, cublasLtHandle_t *out)
{
  chx_status st = drv_enter(c->dev);
  if (st) return st;
  pthread_mutex_lock(&c->dev->lock);
  if (!c->dev->blas) {
    cublasLtHandle_t made = NULL;
    const cublasStatus_t code = lt.create(&made);
    if (code == CUBLAS_STATUS_ALLOC_FAILED || (code && c->queue->capture)) st = failed(c, code, "cublasLtCreate");
    else if (code) st = drv_without(c->dev, &c->dev->no_blas, "cuBLASLt", lt.status_name(code));
    else c->dev->blas = made;
  }
  *out = c->dev->blas;
  pthread_mutex_unlock(&c->dev->lock);
  return st;
}

void cuda_lt_close(chx_dev *dev)
{
  if (dev->blas) lt.destroy(dev->blas);
  dev->blas = NULL;
}

/* ---- plans ------------------------------------------------------------------------------------------------------- */

typedef struct plan {
  gpu_product p;
  cublasLtMatmulDesc_t desc;
  cublasLtMatrixLayout_t a, b, d;
  bool has[2]; /* neither: cuBLASLt has nothing for it, and the plan declines */
  cublasLtMatmulAlgo_t algo[2];
} plan;

static void drop(void *self, void *of)
{
  plan *l = of;
  (void)self;
  if (l->desc) lt.desc_destroy(l->desc);
  if (l->a) lt.layout_destroy(l->a);
  if (l->b) lt.layout_destroy(l->b);
  if (l->d) lt.layout_destroy(l->d);
  free(l);
}

typedef struct types { cudaDataType_t data, scale; cublasComputeType_t compute; uint32_t bytes; } types;

static types types_of(const chx_call *c)
{
  switch (gpu_dtype(&c->out[0])) {
  case CHX_F16: return (types){CUDA_R_16F, CUDA_R_32F, CUBLAS_COMPUTE_32F, 2};
  case CHX_BF16: return (types){CUDA_R_16BF, CUDA_R_32F, CUBLAS_COMPUTE_32F, 2};
  case CHX_F64: return (types){CUDA_R_64F, CUDA_R_64F, CUBLAS_COMPUTE_64F, 8};
  default: return (types){CUDA_R_32F, CUDA_R_32F, cuda_tf32() ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, 4};
  }
}

static cublasStatus_t layout(cublasLtMatrixLayout_t *out, types t, const gpu_matrix *m, int64_t rows, int64_t columns,
                             int64_t batch)
{
  const int32_t count = (int32_t)batch;
  cublasStatus_t st = lt.layout_create(out, t.data, (uint64_t)(m->turned ? columns : rows),
                                       (uint64_t)(m->turned ? rows : columns),
                                       m->ld);
  if (st || batch == 1) return st;
  st = lt.layout_set(*out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count);
  return st ? st : lt.layout_set(*out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &m->step, sizeof m->step);
}

static cublasStatus_t describe(plan *l, types t, const void *bias)
{
  const gpu_product *p = &l->p;
  const cublasOperation_t ta = p->a.turned ? CUBLAS_OP_T : CUBLAS_OP_N, tb = p->b.turned ? CUBLAS_OP_T : CUBLAS_OP_N;
  const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
  cublasStatus_t st = lt.desc_create(&l->desc, t.compute, t.scale);
  if (!st) st = lt.desc_set(l->desc, CUBLASLT_MATMUL_DESC_TRANSA, &ta, sizeof ta);
  if (!st) st = lt.desc_set(l->desc, CUBLASLT_MATMUL_DESC_TRANSB, &tb, sizeof tb);
  if (!st && p->bias) st = lt.desc_set(l->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
  if (!st && p->bias) st = lt.desc_set(l->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
  if (!st) st = layout(&l->a, t, &p->a, p->m, p->k, p->batch);
  if (!st) st = layout(&l->b, t, &p->b, p->k, p->n, p->batch);
  return st ? st : layout(&l->d, t, &p->d, p->m, p->n, p->batch);
}

/* The algorithm for operands that are aligned to so many bytes; none is no error. */
static cublasStatus_t choose(cublasLtHandle_t handle, plan *l, int which, uint32_t align, uint64_t *workspace)
{
  static const cublasLtMatmulPreferenceAttributes_t sides[] = {
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
  const uint64_t most = WORKSPACE;
  const uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  cublasLtMatmulPreference_t pref = NULL;
  cublasLtMatmulHeuristicResult_t found;
  int n = 0;
  memset(&found, 0, sizeof found);
  cublasStatus_t st = lt.pref_create(&pref);
  if (!st) st = lt.pref_set(pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most);
  if (!st) st = lt.pref_set(pref, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes, sizeof schemes);
  for (int i = 0; i < 4 && !st; i++) st = lt.pref_set(pref, sides[i], &align, sizeof align);
  if (!st) {
    const cublasStatus_t none = lt.heuristic(handle, l->desc, l->a, l->b, l->d, l->d, pref, 1, &found, &n);
    l->has[which] = !none && n > 0 && !found.state;
  }
  if (pref) lt.pref_destroy(pref);
  if (!l->has[which]) return st;
  l->algo[which] = found.algo;
  if (found.workspaceSize > *workspace) *workspace = found.workspaceSize;
  return st;
}

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

static bool is_linear(const void *self) { return *(const bool *)self; }

static bool product_of(const void *self, const chx_call *c, gpu_product *p)
{
  return is_linear(self) ? gpu_product_of_linear(c, p) : gpu_product_of_matmul(c, p);
}

static bool aligned(const void *p) { return (uintptr_t)p % 16 == 0; }

static chx_status accepts(void *self, const chx_call *c)
{
  gpu_product p;
  if (!product_of(self, c, &p) || (p.bias && !aligned(drv_data(&c->in[2])))) return CHX_DECLINED;
  return !atomic_load(&c->dev->no_blas) && opened() ? CHX_OK : CHX_DECLINED;
}

static chx_status prepare(void *self, const chx_call *c, void **out, uint64_t *workspace)
{
  cublasLtHandle_t handle = NULL;
  const types t = types_of(c);
  chx_status st = handle_of(c, &handle);
  if (st) return st;
  plan *l = calloc(1, sizeof *l);
  if (!l) return gpu_fail(gpu_of(c->dev), CHX_ENOMEM, "%s: out of memory for a plan", gpu_of(c->dev)->spec);
  product_of(self, c, &l->p);
  *workspace = 0;
  cublasStatus_t code = describe(l, t, l->p.bias ? drv_data(&c->in[2]) : NULL);
  if (!code) code = choose(handle, l, ALIGNED, 16, workspace);
  if (!code) code = choose(handle, l, UNALIGNED, t.bytes, workspace);
  if (code) {
    st = failed(c, code, "describing a product to cuBLASLt");
    drop(NULL, l);
    return st;
  }
  *out = l;
  return CHX_OK;
}

static chx_status run(void *self, const chx_call *c)
{
  plan *l = c->plan;
  const void *a = drv_data(&c->in[l->p.a_in]), *b = drv_data(&c->in[1 - l->p.a_in]);
  void *d = drv_data(&c->out[0]);
  const int which = aligned(a) && aligned(b) && aligned(d) ? ALIGNED : UNALIGNED;
  const float one_f = 1, zero_f = 0;
  const double one_d = 1, zero_d = 0;
  const bool wide = gpu_dtype(&c->out[0]) == CHX_F64;
  cublasLtHandle_t handle = NULL;
  cublasStatus_t code = CUBLAS_STATUS_SUCCESS;
  (void)self;
  if (!l->has[which]) return CHX_DECLINED;
  const chx_status st = handle_of(c, &handle);
  if (st) return st;
  if (l->p.bias) {
    const void *bias = drv_data(&c->in[2]);
    code = lt.desc_set(l->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
  }
  if (!code)
    code = lt.matmul(handle, l->desc, wide ? (const void *)&one_d : &one_f, a, l->a, b, l->b,
                     wide ? (const void *)&zero_d : &zero_f, d, l->d, d, l->d, &l->algo[which], c->workspace,
                     (size_t)c->workspace_bytes, c->queue->stream);
  if (code) return failed(c, code, "cublasLtMatmul");
  return drv_queued(c->dev, c->queue, DRV_SUCCESS, "");
}

static const bool linear[2] = {false, true};
#define KERNEL(name, which, ranks) \
  {.size = sizeof(chx_kernel), .min_version = 1, .max_version = 1, .max_rank = ranks, .op = name, .dtypes_in = CHX_FLOATS, \
   .dtypes_out = CHX_FLOATS, .flags = CHX_K_CAPTURABLE, .accepts = accepts, .prepare = prepare, .drop = drop, .run = run, \
   .self = (void *)(uintptr_t)&linear[which]}
const chx_kernel cuda_lt_kernels[CUDA_LT_KERNELS] = {KERNEL("matmul", 0, CHX_MAX_RANK), KERNEL("linear", 1, 2)};
