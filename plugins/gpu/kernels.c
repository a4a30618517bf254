/* SPDX-License-Identifier: MIT
 * kernels.c: the shared kernels in one list.
 */
#include "gpu.h"

#define DECLARE(family) extern const chx_kernel gpu_##family##_kernels[];
GPU_KERNEL_TABLES(DECLARE)
#define TABLE(family) gpu_##family##_kernels,
static const chx_kernel *const tables[] = {GPU_KERNEL_TABLES(TABLE) NULL};

/* Of what sums in an order of its own, and has no twin in the reference mode: operators are composed instead. */
static const chx_kernel *const own_order[] = {gpu_layer_norm_kernels, gpu_batch_norm_kernels, NULL};

static bool serves(const gpu_device *g, const chx_kernel *table)
{
  if (!g->reference) return table != gpu_reference_kernels;
  for (const chx_kernel *const *t = own_order; *t; t++)
    if (*t == table) return false;
  return true;
}

const chx_kernel *gpu_kernel_at(const gpu_device *g, uint32_t index)
{
  for (const chx_kernel *const *t = tables; *t; t++)
    for (const chx_kernel *k = *t; k->op && serves(g, *t); k++)
      if (!index--) return k;
  return NULL;
}

#define GPU_ALL_FAMILIES(F) F(reference) F(map) F(copy) F(gemm) F(reduce) F(argreduce) F(take) F(scatter) F(atomic) F(random) F(arange) F(pool) F(sort) F(softmax) F(scan) F(layer_norm) F(batch_norm)
#define FAMILY(name) extern const gpu_family gpu_##name##_family;
GPU_ALL_FAMILIES(FAMILY)
#define ENTRY(name) &gpu_##name##_family,
const gpu_family *const gpu_families[] = {GPU_ALL_FAMILIES(ENTRY) NULL};
