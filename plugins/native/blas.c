/* SPDX-License-Identifier: MIT
 * blas.c: the matrix products of gemm.h through OpenBLAS, which is opened when the first of them comes: to load it takes
 * milliseconds, and starts threads. Where it cannot be opened gemm.h's own products are used. Its process-wide settings
 * are left alone: how many threads it uses is the host program's and the environment's business.
 */
#include "gemm.h"

#if CHX_HAVE_OPENBLAS
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <cblas.h>

static struct {
  __typeof__(cblas_sgemm) *gemm_f32;
  __typeof__(cblas_dgemm) *gemm_f64;
  __typeof__(cblas_sgemv) *gemv_f32;
  __typeof__(cblas_dgemv) *gemv_f64;
} blas; /* all of them, or none */

/* Never closed: its threads run its code. */
static void open_blas(void)
{
  static const char *const files[] = {"libopenblas.so.0", "libopenblas.so"};
  static const char *const names[] = {"cblas_sgemm", "cblas_dgemm", "cblas_sgemv", "cblas_dgemv"};
  void *lib = NULL, *f[4];
  for (int i = 0; i < 2 && !lib; i++) lib = dlopen(files[i], RTLD_NOW | RTLD_LOCAL);
  for (int i = 0; i < 4; i++)
    if (!lib || !(f[i] = dlsym(lib, names[i]))) return;
  _Static_assert(sizeof blas == sizeof f, "a pointer to a function is one to an object");
  memcpy(&blas, f, sizeof blas);
}

static int has_blas(void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, open_blas);
  return blas.gemm_f32 != NULL;
}

/* Whether a matrix of these lengths and strides is one that BLAS can read: 1 as rows, 2 as columns, 0 not. *ld gets the
 * leading dimension. The stride of an axis of length 1 says nothing, so it is never looked at. */
static int order(int64_t rows, int64_t cols, int64_t row, int64_t col, int *ld)
{
  if ((col == 1 || cols == 1) && (rows == 1 || (row >= cols && row <= INT_MAX))) {
    *ld = (int)(rows == 1 ? cols : row);
    return 1;
  }
  if ((row == 1 || rows == 1) && (cols == 1 || (col >= rows && col <= INT_MAX))) {
    *ld = (int)(cols == 1 ? rows : col);
    return 2;
  }
  return 0;
}

#define PRODUCT(T, tag)                                                                                               \
  int nat_blas_##tag(int64_t m, int64_t n, int64_t k, const T *a, int64_t a_row, int64_t a_col, const T *b,           \
                     int64_t b_row, int64_t b_col, T *c, int64_t c_row, int64_t c_col, int add)                       \
  {                                                                                                                   \
    int la = 0, lb = 0, lc = 0;                                                                                       \
    if (m > INT_MAX || n > INT_MAX || k > INT_MAX || !has_blas()) return 0;                                           \
    const int oa = order(m, k, a_row, a_col, &la), ob = order(k, n, b_row, b_col, &lb);                               \
    const int oc = order(m, n, c_row, c_col, &lc);                                                                    \
    if (n == 1 && oa && b_row > 0 && b_row <= INT_MAX && c_row > 0 && c_row <= INT_MAX) {                             \
      for (int64_t i = 0; !add && i < m; i++) c[i * c_row] = 0; /* some versions multiply it by 0 */                  \
      blas.gemv_##tag(oa == 1 ? CblasRowMajor : CblasColMajor, CblasNoTrans, (int)m, (int)k, 1, a, la, b, (int)b_row, \
                      (T)add, c, (int)c_row);                                                                         \
      return 1;                                                                                                       \
    }                                                                                                                 \
    if (m == 1 && ob && a_col > 0 && a_col <= INT_MAX && c_col > 0 && c_col <= INT_MAX) {                             \
      for (int64_t j = 0; !add && j < n; j++) c[j * c_col] = 0;                                                       \
      blas.gemv_##tag(ob == 1 ? CblasRowMajor : CblasColMajor, CblasTrans, (int)k, (int)n, 1, b, lb, a, (int)a_col,   \
                      (T)add, c, (int)c_col);                                                                         \
      return 1;                                                                                                       \
    }                                                                                                                 \
    if (!oa || !ob || !oc) return 0;                                                                                  \
    /* Seen from a C that is stored by columns, rows are the transposed and columns are not. */                       \
    const int major = oc == 1 ? CblasRowMajor : CblasColMajor;                                                        \
    blas.gemm_##tag((CBLAS_ORDER)major, oa == oc ? CblasNoTrans : CblasTrans, ob == oc ? CblasNoTrans : CblasTrans,   \
                    (int)m, (int)n, (int)k, 1, a, la, b, lb, (T)add, c, lc);                                          \
    return 1;                                                                                                         \
  }
PRODUCT(float, f32)
PRODUCT(double, f64)
#else
extern const char nat_blas_is_absent; /* a file of C has at least one declaration */
#endif
