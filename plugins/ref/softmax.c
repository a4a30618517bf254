/* SPDX-License-Identifier: MIT
 * softmax.c: e^(x - max) over its sum along an axis, and its logarithm, computed in double.
 */
#include "ref.h"
#if defined REF_REFERENCE
#include <chx/refmath.h>
#define exp chx_ref_exp
#define log chx_ref_log
#endif

static chx_status run(void *self, const chx_call *c)
{
  const chx_tensor *x = &c->in[0], *y = &c->out[0];
  int axis = (int)((const chx_softmax_attr *)c->attr)->axis, dtype = ref_dtype(x), is_log = self != NULL;
  int64_t i[CHX_MAX_RANK] = {0}, n = x->shape[axis];
  if (ref_count(y)) do {
      if (i[axis]) continue; /* once for each line */
      double max = -INFINITY, sum = 0;
      for (; i[axis] < n; i[axis]++) {
        double v = ref_load(dtype, ref_at(x, i));
        if (v > max || isnan(v)) max = v;
      }
      for (i[axis] = 0; i[axis] < n; i[axis]++) sum += exp(ref_load(dtype, ref_at(x, i)) - max);
      for (i[axis] = 0; i[axis] < n; i[axis]++) {
        double d = ref_load(dtype, ref_at(x, i)) - max;
        ref_store(dtype, ref_at(y, i), is_log ? d - log(sum) : exp(d) / sum);
      }
      i[axis] = 0;
    } while (ref_next(y, i));
  return CHX_OK;
}

static char is_logarithm; /* its address says so */
#define DTYPES (CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64))
#define KERNEL(name, what) {REF_KERNEL, .op = name, .attr_size = sizeof(chx_softmax_attr), .dtypes_in = DTYPES, .dtypes_out = DTYPES, .run = run, .self = what}
const chx_kernel ref_softmax_kernels[] = {KERNEL("softmax", NULL), KERNEL("log_softmax", &is_logarithm), {.op = NULL}};
