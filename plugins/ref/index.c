/* SPDX-License-Identifier: MIT
 * index.c: gather and scatter. The place in x for an index of the operand `v` that has the taken shape: along axis, take reads
 * the index at v's middle axes, take_along_axis at v's whole index.
 */
#include "ref.h"

/* Where v's element iv is in x: jx. */
static void place(const chx_tensor *x, const chx_tensor *i, int axis, int is_along, const int64_t *iv, int64_t *jx)
{
  int64_t at = *(int64_t *)ref_at(i, is_along ? iv : iv + axis);
  memcpy(jx, iv, (size_t)axis * sizeof *jx);
  jx[axis] = at < 0 ? at + x->shape[axis] : at;
  for (int k = axis + 1; k < x->ndim; k++) jx[k] = iv[is_along ? k : k - 1 + i->ndim];
}

static chx_status check(const char *op, const chx_tensor *x, const chx_tensor *i, int axis)
{
  int64_t j[CHX_MAX_RANK] = {0}, n = x->shape[axis];
  if (ref_count(i)) do {
      int64_t at = *(int64_t *)ref_at(i, j);
      if (at < -n || at >= n)
        return ref_fail(CHX_EARG, "%s: index %lld is out of range for axis %d of length %lld, want %lld to %lld", op,
                        (long long)at, axis, (long long)n, (long long)-n, (long long)n - 1);
    } while (ref_next(i, j));
  return CHX_OK;
}

static chx_status take(void *self, const chx_call *c)
{
  const chx_tensor *x = &c->in[0], *i = &c->in[1], *y = &c->out[0];
  int axis = (int)((const chx_axis_attr *)c->attr)->axis, is_along = self != NULL;
  int64_t iv[CHX_MAX_RANK] = {0}, jx[CHX_MAX_RANK];
  if (!ref_count(y)) return CHX_OK;
  chx_status st = check(is_along ? "take_along_axis" : "take", x, i, axis);
  if (st) return st;
  do {
    place(x, i, axis, is_along, iv, jx);
    memcpy(ref_at(y, iv), ref_at(x, jx), (size_t)ref_size(y));
  } while (ref_next(y, iv));
  return CHX_OK;
}

static void add(int dtype, void *sum, const void *v, int64_t size)
{
  uint64_t a = 0, b = 0;
  if (CHX_FLOATS >> dtype & 1) {
    ref_store(dtype, sum, ref_load(dtype, sum) + ref_load(dtype, v));
    return;
  }
  memcpy(&a, sum, (size_t)size);
  memcpy(&b, v, (size_t)size);
  a += b;
  memcpy(sum, &a, (size_t)size);
}

static chx_status scatter_add(void *self, const chx_call *c)
{
  const chx_tensor *x = &c->in[0], *i = &c->in[1], *v = &c->in[2], *z = &c->out[0];
  int axis = (int)((const chx_axis_attr *)c->attr)->axis, is_along = self != NULL;
  int64_t iv[CHX_MAX_RANK] = {0}, jz[CHX_MAX_RANK] = {0};
  chx_status st = ref_count(v) ? check(is_along ? "scatter_add_along_axis" : "scatter_add", x, i, axis) : CHX_OK;
  if (st) return st;
  if (!ref_count(z)) return CHX_OK;
  do memmove(ref_at(z, jz), ref_at(x, jz), (size_t)ref_size(z)); while (ref_next(z, jz));
  if (ref_count(v)) do {
      place(z, i, axis, is_along, iv, jz);
      add(ref_dtype(z), ref_at(z, jz), ref_at(v, iv), ref_size(z));
    } while (ref_next(v, iv));
  return CHX_OK;
}

static char along; /* its address says so */
#define SUMS (CHX_NUMBERS & ~(CHX_BIT(CHX_F16) | CHX_BIT(CHX_BF16))) /* those come as f32: a sum is rounded once */
#define KERNEL(name, fn, is_along, dtypes, alias) {REF_KERNEL, .op = name, .attr_size = sizeof(chx_axis_attr), .dtypes_in = dtypes | CHX_BIT(CHX_I64), .dtypes_out = dtypes, \
                                         .alias_ok = alias, .run = fn, .self = is_along}
const chx_kernel ref_index_kernels[] = {KERNEL("take", take, NULL, CHX_ANY_REAL, 0),
                                        KERNEL("take_along_axis", take, &along, CHX_ANY_REAL, 0),
                                        KERNEL("scatter_add", scatter_add, NULL, SUMS, 1),
                                        KERNEL("scatter_add_along_axis", scatter_add, &along, SUMS, 1),
                                        {.op = NULL}};
