/* SPDX-License-Identifier: MIT
 * amd.h: what the files of the hip plugin share, beside plugins/cudalike/drv.h.
 *
 *   vendor.h   the driver and hipRTC                     kernels.c  AMD's kernels, before the shared; matmul by rocBLAS
 *   rocblas.h, miopen.h   what is used of the libraries  miopen.c   convolutions by MIOpen
 *
 * Each library is opened by the first operator that may use it. Where it is missing its kernels decline, for good, and
 * the shared ones serve.
 */
#ifndef CHX_HIP_AMD_H
#define CHX_HIP_AMD_H
#include "../cudalike/drv.h"

#if defined __GNUC__
#pragma GCC visibility push(hidden)
#endif

enum { HIP_ROCBLAS, HIP_MIOPEN }; /* chx_queue.handle */

enum { HIP_MIOPEN_KERNELS = 3 };
extern const chx_kernel hip_miopen_kernels[HIP_MIOPEN_KERNELS];
void hip_miopen_close(chx_queue *);

/* The shared kernel of that name, for what a library has not; NULL: there is none. */
const chx_kernel *hip_shared(const chx_dev *, const char *op);

#if defined __GNUC__
#pragma GCC visibility pop
#endif
#endif
