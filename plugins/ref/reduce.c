/* SPDX-License-Identifier: MIT
 * reduce.c: reductions and the position of the extreme. Sums are pairwise: a plain running sum would be a poor arbiter.
 */
#include "ref.h"
#include <stdlib.h>

/* The reduced axes' lengths and strides of x, and their count of elements. */
struct axes { int n; int64_t dim[CHX_MAX_RANK], stride[CHX_MAX_RANK], count; };

static struct axes axes_of(const chx_tensor *x, const chx_ints *list)
{
  struct axes a = {.count = 1};
  for (int k = 0; k < list->n; k++) {
    a.dim[a.n] = x->shape[list->v[k]];
    a.stride[a.n++] = x->strides[list->v[k]];
    a.count *= x->shape[list->v[k]];
  }
  return a;
}

/* The e-th element, counting through the reduced axes, of the group at p. */
static const char *element(const struct axes *a, const char *p, int64_t e, int64_t size)
{
  for (int k = a->n; k-- > 0; e /= a->dim[k]) p += e % a->dim[k] * a->stride[k] * size;
  return p;
}

/* Pairwise; in the reference mode one by one, which a device without recursion does as easily. */
#if defined REF_REFERENCE
#define REF_RUN INT64_MAX
#else
#define REF_RUN 8
#endif
static double sum(const struct axes *a, const char *p, int dtype, int64_t size, int64_t from, int64_t n)
{
  if (n > REF_RUN) return sum(a, p, dtype, size, from, n / 2) + sum(a, p, dtype, size, from + n / 2, n - n / 2);
  double s = 0;
  for (int64_t e = from; e < from + n; e++) s += ref_load(dtype, element(a, p, e, size));
  return s;
}

static void real(const struct axes *a, const char *p, int dtype, int64_t size, uint32_t kind, void *out)
{
  double r = kind == CHX_REDUCE_PROD ? 1 : 0;
  if (kind == CHX_REDUCE_SUM || kind == CHX_REDUCE_MEAN) {
    r = sum(a, p, dtype, size, 0, a->count);
    if (kind == CHX_REDUCE_MEAN) r /= (double)a->count;
  } else
    for (int64_t e = 0; e < a->count; e++) {
      double v = ref_load(dtype, element(a, p, e, size));
      if (kind == CHX_REDUCE_PROD) r *= v;
      else if (!e || isnan(v) || (!isnan(r) && (kind == CHX_REDUCE_MAX ? v > r : v < r))) r = v;
    }
  ref_store(dtype, out, r);
}

static int64_t load_int(int dtype, const void *p, int64_t size)
{
  int64_t v = 0;
  memcpy(&v, p, (size_t)size);
  return CHX_SIGNED_INTS >> dtype & 1 ? (int64_t)((uint64_t)v << (64 - 8 * size)) >> (64 - 8 * size) : v;
}

static void integer(const struct axes *a, const char *p, int dtype, int64_t size, uint32_t kind, void *out)
{
  int is_unsigned = (CHX_UNSIGNED_INTS >> dtype & 1) != 0;
  uint64_t r = kind == CHX_REDUCE_PROD || kind == CHX_REDUCE_ALL;
  for (int64_t e = 0; e < a->count; e++) {
    int64_t v = load_int(dtype, element(a, p, e, size), size);
    int more = is_unsigned ? (uint64_t)v > r : v > (int64_t)r;
    switch (kind) {
    case CHX_REDUCE_SUM: r += (uint64_t)v; break;
    case CHX_REDUCE_PROD: r *= (uint64_t)v; break;
    case CHX_REDUCE_ALL: r &= v != 0; break;
    case CHX_REDUCE_ANY: r |= v != 0; break;
    default:
      if (!e || (kind == CHX_REDUCE_MAX ? more : !more)) r = (uint64_t)v;
    }
  }
  memcpy(out, &r, (size_t)size);
}

static chx_status reduce(void *self, const chx_call *c)
{
  const chx_reduce_attr *p = c->attr;
  const chx_tensor *x = &c->in[0], *y = &c->out[0];
  struct axes a = axes_of(x, &p->axes);
  int dtype = ref_dtype(x);
  int64_t i[CHX_MAX_RANK] = {0};
  (void)self;
  if (ref_count(y)) do
      (CHX_FLOATS >> dtype & 1 ? real : integer)(&a, ref_at(x, i), dtype, ref_size(x), p->kind, ref_at(y, i));
    while (ref_next(y, i));
  return CHX_OK;
}

/* self: "" for the smallest, else the largest. The first one wins, and a NaN wins over all. */
static chx_status arg_extreme(void *self, const chx_call *c)
{
  const chx_arg_reduce_attr *p = c->attr;
  const chx_tensor *x = &c->in[0], *y = &c->out[0];
  struct axes a = axes_of(x, &p->axes);
  int dtype = ref_dtype(x), ints = !(CHX_FLOATS >> dtype & 1), is_unsigned = !(CHX_SIGNED_INTS >> dtype & 1);
  int largest = *(const char *)self;
  int64_t i[CHX_MAX_RANK] = {0}, size = ref_size(x);
  if (ref_count(y)) do {
      int64_t best = 0;
      for (int64_t e = 1; e < a.count; e++) {
        const char *v = element(&a, ref_at(x, i), e, size), *b = element(&a, ref_at(x, i), best, size);
        if (ints) {
          int64_t iv = load_int(dtype, v, size), ib = load_int(dtype, b, size);
          int more = is_unsigned ? (uint64_t)iv > (uint64_t)ib : iv > ib;
          if (iv != ib && more == !!largest) best = e;
        } else {
          double dv = ref_load(dtype, v), db = ref_load(dtype, b);
          if (!isnan(db) && (isnan(dv) || (largest ? dv > db : dv < db))) best = e;
        }
      }
      *(int64_t *)ref_at(y, i) = best;
    } while (ref_next(y, i));
  return CHX_OK;
}

const chx_kernel ref_reduce_kernels[] = {
    {REF_KERNEL, .op = "reduce", .attr_size = sizeof(chx_reduce_attr), .dtypes_in = CHX_ANY_REAL,
     .dtypes_out = CHX_ANY_REAL, .run = reduce},
    {REF_KERNEL, .op = "argmax", .attr_size = sizeof(chx_arg_reduce_attr), .dtypes_in = CHX_ANY_REAL,
     .dtypes_out = CHX_BIT(CHX_I64), .run = arg_extreme, .self = (void *)(uintptr_t) "+"},
    {REF_KERNEL, .op = "argmin", .attr_size = sizeof(chx_arg_reduce_attr), .dtypes_in = CHX_ANY_REAL,
     .dtypes_out = CHX_BIT(CHX_I64), .run = arg_extreme, .self = (void *)(uintptr_t) ""},
    {.op = NULL}};
