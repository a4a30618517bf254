/* SPDX-License-Identifier: MIT
 * fakeroc.c: the stand-in's rocBLAS; see fakegpu.h.
 */
#include <stdlib.h>
#include "../plugins/hip/rocblas.h"
#include "fakegpu.h"

typedef struct handle { hipStream_t stream; } handle;

rocblas_status rocblas_create_handle(rocblas_handle *h)
{
  fake_say("rocblas_create_handle");
  fake()->handles++;
  *h = (rocblas_handle)calloc(1, sizeof(handle));
  return rocblas_status_success;
}

rocblas_status rocblas_destroy_handle(rocblas_handle h) { return free((void *)h), fake()->handles--,
                                                         rocblas_status_success; }
rocblas_status rocblas_set_stream(rocblas_handle h, hipStream_t s) { return ((handle *)(void *)h)->stream = s,
                                                                    rocblas_status_success; }
const char *rocblas_status_to_string(rocblas_status st) { return (void)st, "rocblas_status_stand_in"; }

rocblas_status rocblas_gemm_strided_batched_ex(rocblas_handle h, rocblas_operation ta, rocblas_operation tb,
                                               rocblas_int m, rocblas_int n,
                                               rocblas_int k, const void *alpha, const void *a,
                                               rocblas_datatype a_type, rocblas_int lda,
                                               rocblas_stride step_a, const void *b, rocblas_datatype b_type,
                                               rocblas_int ldb,
                                               rocblas_stride step_b, const void *beta, const void *c,
                                               rocblas_datatype c_type,
                                               rocblas_int ldc, rocblas_stride step_c, void *d,
                                               rocblas_datatype d_type, rocblas_int ldd,
                                               rocblas_stride step_d, rocblas_int batch, rocblas_datatype compute,
                                               rocblas_gemm_algo algo,
                                               int32_t solution, uint32_t flags)
{
  const bool f64 = a_type == rocblas_datatype_f64_r;
  const double scale = f64 ? *(const double *)beta : (double)*(const float *)beta;
  (void)alpha, (void)b_type, (void)c_type, (void)ldc, (void)step_c, (void)d_type, (void)algo, (void)solution, (void)flags;
  const int code = fake_code("rocblas_gemm");
  if (code) return (rocblas_status)code;
  fake_say("rocblas_gemm type %d compute %d ta %d tb %d m %d n %d k %d ld %d %d %d batch %d steps %lld %lld %lld beta %g", (int)a_type,
           (int)compute, (int)ta, (int)tb, m, n, k, lda, ldb, ldd, batch, (long long)step_a, (long long)step_b, (long long)step_d, scale);
  if (a_type != rocblas_datatype_f32_r && !f64) return rocblas_status_success; /* halves are recorded alone */
  const fake_gemm g = {a, b, NULL, d, ta == rocblas_operation_transpose, tb == rocblas_operation_transpose, f64, m, n,
                       k, lda, ldb, ldd,
                       step_a, step_b, step_d, batch, scale};
  if (c != d) return rocblas_status_not_implemented;
  fake_later(((handle *)(void *)h)->stream, fake_gemm_run, &g, sizeof g);
  return rocblas_status_success;
}
