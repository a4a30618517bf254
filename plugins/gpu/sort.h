/* SPDX-License-Identifier: MIT
 * sort.h: what other families need of k_sort.c.
 */
#ifndef CHX_GPU_SORT_H
#define CHX_GPU_SORT_H
#include "gpu.h"

/* Puts the n values of u32 in buffer x, from its start on, in order. *keys: a buffer of scratch with them; *ids: one
 * with where each was, as u32; equal values keep their order. 1 <= n < 2^32 - 1. */
chx_status gpu_order(const chx_call *c, void *x, int64_t n, void **keys, void **ids);

#endif
