/* SPDX-License-Identifier: MIT
 * k_gemm.c: the matrix products of gemm.h: sizes and instructions of each level; the code is in gemm_body.h.
 *
 * A tile of MR rows by two vectors must leave registers for two vectors of B and one of A: 16 registers on SSE2 and
 * AVX2, 32 elsewhere. Contraction is off, so what shall be fused says so.
 */
#include <string.h>
#include "gemm.h"

#if defined __x86_64__
#include <immintrin.h>
#elif defined __aarch64__
#include <arm_neon.h>
#endif

#if defined __AVX512F__
#define VB 64
#define MR 8
#define VFMA_f32(x, y, z) ((vec_f32)_mm512_fmadd_ps((__m512)(x), (__m512)(y), (__m512)(z)))
#define VFMA_f64(x, y, z) ((vec_f64)_mm512_fmadd_pd((__m512d)(x), (__m512d)(y), (__m512d)(z)))
#elif defined __AVX2__ && defined __FMA__
#define VB 32
#define MR 6
#define VFMA_f32(x, y, z) ((vec_f32)_mm256_fmadd_ps((__m256)(x), (__m256)(y), (__m256)(z)))
#define VFMA_f64(x, y, z) ((vec_f64)_mm256_fmadd_pd((__m256d)(x), (__m256d)(y), (__m256d)(z)))
#else
#define VB 16
#if defined __x86_64__
#define MR 4
#else
#define MR 8
#endif
#define VFMA_f32 QFMA_f32
#define VFMA_f64 QFMA_f64
#endif

#if defined __FMA__
#define QFMA_f32(x, y, z) ((quad_f32)_mm_fmadd_ps((__m128)(x), (__m128)(y), (__m128)(z)))
#define QFMA_f64(x, y, z) ((quad_f64)_mm_fmadd_pd((__m128d)(x), (__m128d)(y), (__m128d)(z)))
#elif defined __aarch64__
#define QFMA_f32(x, y, z) ((quad_f32)vfmaq_f32((float32x4_t)(z), (float32x4_t)(x), (float32x4_t)(y)))
#define QFMA_f64(x, y, z) ((quad_f64)vfmaq_f64((float64x2_t)(z), (float64x2_t)(x), (float64x2_t)(y)))
#else
#define QFMA_f32(x, y, z) ((x) * (y) + (z))
#define QFMA_f64(x, y, z) ((x) * (y) + (z))
#endif

/* d[p][q] = s[q][p], 4 by 4. */
static inline void transpose4_f32(const float *s, int64_t s_row, float *d, int64_t d_row)
{
#if defined __SSE2__
  __m128 r0 = _mm_loadu_ps(s), r1 = _mm_loadu_ps(s + s_row), r2 = _mm_loadu_ps(s + 2 * s_row),
         r3 = _mm_loadu_ps(s + 3 * s_row);
  _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
  _mm_storeu_ps(d, r0);
  _mm_storeu_ps(d + d_row, r1);
  _mm_storeu_ps(d + 2 * d_row, r2);
  _mm_storeu_ps(d + 3 * d_row, r3);
#else
  for (int p = 0; p < 4; p++)
    for (int q = 0; q < 4; q++) d[p * d_row + q] = s[q * s_row + p];
#endif
}
static inline void transpose4_f64(const double *s, int64_t s_row, double *d, int64_t d_row)
{
  for (int p = 0; p < 4; p++)
    for (int q = 0; q < 4; q++) d[p * d_row + q] = s[q * s_row + p];
}

#define T float
#define TAG f32
#define VFMA VFMA_f32
#define QFMA QFMA_f32
#define BLAS nat_blas_f32
#include "gemm_body.h"
#undef T
#undef TAG
#undef VFMA
#undef QFMA
#undef BLAS

#define T double
#define TAG f64
#define VFMA VFMA_f64
#define QFMA QFMA_f64
#define BLAS nat_blas_f64
#include "gemm_body.h"
