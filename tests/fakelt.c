/* SPDX-License-Identifier: MIT
 * fakelt.c: the stand-in's cuBLASLt: descriptors that can be read back, and products from them; see fakegpu.h.
 */
#include <cublasLt.h>
#include <stdlib.h>
#include <string.h>
#include "fakegpu.h"

typedef struct desc { int compute, scale; int64_t attr[64]; } desc;
typedef struct layout { int type; uint64_t rows, columns; int64_t ld, step; int32_t batch; } layout;
typedef struct preference { uint64_t workspace; uint32_t align, schemes; } preference;

cublasStatus_t cublasLtCreate(cublasLtHandle_t *h)
{
  if (fake_code("cublasLtCreate")) return CUBLAS_STATUS_NOT_INITIALIZED;
  fake()->handles++;
  *h = (cublasLtHandle_t)calloc(1, 8);
  fake_say("cublasLtCreate");
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t h) { return free((void *)h), fake()->handles--, CUBLAS_STATUS_SUCCESS; }
const char *cublasLtGetStatusName(cublasStatus_t st) { return st == CUBLAS_STATUS_EXECUTION_FAILED ? "CUBLAS_STATUS_EXECUTION_FAILED" : "CUBLAS_STATUS"; }

static void *made(size_t n) { return fake()->descriptors++, calloc(1, n); }
static cublasStatus_t gone(void *p) { return free(p), fake()->descriptors--, CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute, cudaDataType_t scale)
{
  desc *d = made(sizeof *d);
  d->compute = (int)compute, d->scale = (int)scale;
  *out = (cublasLtMatmulDesc_t)(void *)d;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) { return gone((void *)d); }

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t of, cublasLtMatmulDescAttributes_t a, const void *v,
                                              size_t n)
{
  desc *d = (desc *)(void *)of;
  memcpy(&d->attr[a], v, n);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type, uint64_t rows,
                                          uint64_t columns, int64_t ld)
{
  layout *l = made(sizeof *l);
  *l = (layout){(int)type, rows, columns, ld, 0, 1};
  *out = (cublasLtMatrixLayout_t)(void *)l;
  return ld >= (int64_t)rows ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) { return gone((void *)l); }

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t of, cublasLtMatrixLayoutAttribute_t a,
                                                const void *v, size_t n)
{
  layout *l = (layout *)(void *)of;
  if (a == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT && n == sizeof l->batch) memcpy(&l->batch, v, n);
  else if (a == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET && n == sizeof l->step) memcpy(&l->step, v, n);
  else return CUBLAS_STATUS_INVALID_VALUE;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
  *out = (cublasLtMatmulPreference_t)made(sizeof(preference));
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) { return gone((void *)p); }

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t of,
                                                    cublasLtMatmulPreferenceAttributes_t a,
                                                    const void *v, size_t n)
{
  preference *p = (preference *)(void *)of;
  if (a == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) memcpy(&p->workspace, v, n);
  else if (a == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK) memcpy(&p->schemes, v, n);
  else memcpy(&p->align, v, n);
  return CUBLAS_STATUS_SUCCESS;
}

/* One algorithm, which remembers the alignment it was chosen for; for bf16 there is none. */
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t h, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t y,
                                              cublasLtMatmulPreference_t of, int room,
                                              cublasLtMatmulHeuristicResult_t found[],
                                              int *n)
{
  const preference *p = (preference *)(void *)of;
  (void)h, (void)d, (void)b, (void)c, (void)y;
  fake_say("heuristic align %u schemes %u", p->align, p->schemes);
  *n = 0;
  if (room < 1 || ((layout *)(void *)a)->type == CUDA_R_16BF) return CUBLAS_STATUS_NOT_SUPPORTED;
  found[0].algo.data[0] = p->align;
  found[0].workspaceSize = 4096 + p->align;
  found[0].state = CUBLAS_STATUS_SUCCESS;
  *n = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t h, cublasLtMatmulDesc_t of, const void *alpha, const void *a,
                              cublasLtMatrixLayout_t la,
                              const void *b, cublasLtMatrixLayout_t lb, const void *beta, const void *c,
                              cublasLtMatrixLayout_t lc,
                              void *d, cublasLtMatrixLayout_t ld, const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t bytes,
                              cudaStream_t stream)
{
  const desc *m = (desc *)(void *)of;
  const layout *x = (layout *)(void *)la, *y = (layout *)(void *)lb, *z = (layout *)(void *)ld;
  const bool bias = m->attr[CUBLASLT_MATMUL_DESC_EPILOGUE] == CUBLASLT_EPILOGUE_BIAS, f64 = x->type == CUDA_R_64F;
  const int ta = (int)m->attr[CUBLASLT_MATMUL_DESC_TRANSA], tb = (int)m->attr[CUBLASLT_MATMUL_DESC_TRANSB];
  (void)h, (void)lc, (void)alpha, (void)workspace;
  const int code = fake_code("cublasLtMatmul");
  if (code) return (cublasStatus_t)code;
  fake_say("cublasLtMatmul type %d compute %d scale %d ta %d tb %d a %llux%llu/%lld b %llux%llu/%lld d %llux%llu/%lld batch %d "
           "steps %lld %lld %lld bias %d align %u workspace %zu", x->type, m->compute, m->scale, ta, tb, (unsigned long long)x->rows,
           (unsigned long long)x->columns, (long long)x->ld, (unsigned long long)y->rows, (unsigned long long)y->columns,
           (long long)y->ld, (unsigned long long)z->rows, (unsigned long long)z->columns, (long long)z->ld, z->batch,
           (long long)x->step, (long long)y->step, (long long)z->step, bias, (unsigned)algo->data[0], bytes);
  if (x->type != CUDA_R_32F && !f64) return CUBLAS_STATUS_SUCCESS; /* halves are recorded alone */
  if (c != d || (f64 ? *(const double *)beta : (double)*(const float *)beta) != 0) return CUBLAS_STATUS_INVALID_VALUE;
  const fake_gemm g = {a, b, bias ? (const void *)(uintptr_t)m->attr[CUBLASLT_MATMUL_DESC_BIAS_POINTER] : NULL, d,
                       ta == CUBLAS_OP_T,
                       tb == CUBLAS_OP_T, f64, (int64_t)z->rows, (int64_t)z->columns,
                       (int64_t)(ta == CUBLAS_OP_T ? x->rows : x->columns), x->ld, y->ld, z->ld, x->step, y->step,
                       z->step, z->batch, 0};
  fake_later(stream, fake_gemm_run, &g, sizeof g);
  return CUBLAS_STATUS_SUCCESS;
}
