/* SPDX-License-Identifier: MIT
 * copy.c: strided copies and casts.
 */
#include "ref.h"

static int is_int(int dtype) { return (CHX_INTEGERS >> dtype & 1) != 0; }

static chx_status copy(void *self, const chx_call *c)
{
  const chx_tensor *x = &c->in[0], *y = &c->out[0];
  int from = ref_dtype(x), to = ref_dtype(y);
  int64_t i[CHX_MAX_RANK] = {0};
  (void)self;
  if (from != to && (from >= CHX_C64 || to >= CHX_C64)) return CHX_DECLINED;
  if (ref_count(y)) do {
      const void *s = ref_at(x, i);
      void *d = ref_at(y, i);
      if (from == to)
        memcpy(d, s, (size_t)ref_size(y));
      else if (is_int(from) && is_int(to)) { /* not through double: 64 bits wrap */
        int64_t v = 0;
        memcpy(&v, s, (size_t)ref_size(x));
        if (CHX_SIGNED_INTS >> from & 1) v = (int64_t)((uint64_t)v << (64 - x->bits)) >> (64 - x->bits);
        memcpy(d, &v, (size_t)ref_size(y));
      } else
        ref_store(to, d, ref_load(from, s));
    } while (ref_next(y, i));
  return CHX_OK;
}

#define ANY (CHX_ANY_REAL | CHX_BIT(CHX_C64) | CHX_BIT(CHX_C128))
const chx_kernel ref_copy_kernels[] = {
  {REF_KERNEL, .op = "copy", .dtypes_in = ANY, .dtypes_out = ANY, .flags = CHX_K_SCALAR_OK, .run = copy}, {.op = NULL}};
