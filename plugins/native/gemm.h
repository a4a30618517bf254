/* SPDX-License-Identifier: MIT
 * gemm.h: C = A B and C += A B in f32 and f64, for every stride, as matmul, linear and the convolutions need it.
 *
 * A is [m, k], B [k, n], C [m, n], each with a row and a column stride in elements, of any sign, 0 included. With add == 0
 * C is written and never read, so garbage in it does no harm; k == 0 gives 0. C overlaps neither operand.
 *
 *   nat_gemm_T   the whole job: OpenBLAS where it is built in and pays, else blocked and packed through
 *                nat_parallel. Takes scratch from the call, so it is for the calling thread alone.
 *   nat_tile_T   one thread, no scratch, 8 KiB of stack: for small products and inside nat_parallel. C's columns
 *                are neighbours.
 *
 * Each element is summed over k in one order, cut by constants: results do not depend on the number of threads. (What
 * OpenBLAS does is its own.)
 */
#ifndef CHX_NATIVE_GEMM_H
#define CHX_NATIVE_GEMM_H
#include "native.h"

#if defined __GNUC__
#pragma GCC visibility push(hidden)
#endif
#define NAT_GEMM_DECLARE(T, tag)                                                                                   \
  chx_status NAT(nat_gemm_##tag)(const chx_call *call, int64_t m, int64_t n, int64_t k, const T *a, int64_t a_row, \
                                 int64_t a_col, const T *b, int64_t b_row, int64_t b_col, T *c, int64_t c_row,     \
                                 int64_t c_col, int add);                                                          \
  void NAT(nat_tile_##tag)(int64_t m, int64_t n, int64_t k, const T *a, int64_t a_row, int64_t a_col, const T *b,  \
                           int64_t b_row, int64_t b_col, T *c, int64_t c_row, int add);                            \
  int nat_blas_##tag(int64_t m, int64_t n, int64_t k, const T *a, int64_t a_row, int64_t a_col, const T *b,        \
                     int64_t b_row, int64_t b_col, T *c, int64_t c_row, int64_t c_col, int add);
NAT_GEMM_DECLARE(float, f32)
NAT_GEMM_DECLARE(double, f64)
#undef NAT_GEMM_DECLARE
#if !CHX_HAVE_OPENBLAS
#define nat_blas_f32(...) 0
#define nat_blas_f64(...) 0
#endif
#if defined __GNUC__
#pragma GCC visibility pop
#endif

/* Products of fewer multiplications than this are one thread's work. */
#define NAT_GEMM_SMALL (48 * 48 * 48)

#endif
