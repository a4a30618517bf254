/* SPDX-License-Identifier: MIT
 * scan.c: cumulative sums, products and extremes along an axis: floats in double, integers modulo 2^64 and then cut.
 */
#include "ref.h"

static double next_real(uint32_t kind, double r, double v)
{
  switch (kind) {
  case CHX_SCAN_SUM: return r + v;
  case CHX_SCAN_PROD: return r * v;
  case CHX_SCAN_MAX: return isnan(v) || v > r ? v : r;
  default: return isnan(v) || v < r ? v : r;
  }
}

static uint64_t next_integer(uint32_t kind, int is_unsigned, uint64_t r, uint64_t v)
{
  int more = is_unsigned ? v > r : (int64_t)v > (int64_t)r;
  switch (kind) {
  case CHX_SCAN_SUM: return r + v;
  case CHX_SCAN_PROD: return r * v;
  case CHX_SCAN_MAX: return more ? v : r;
  default: return more ? r : v;
  }
}

static uint64_t load_integer(int dtype, const void *p, int64_t size)
{
  uint64_t v = 0;
  memcpy(&v, p, (size_t)size);
  return CHX_SIGNED_INTS >> dtype & 1 ? (uint64_t)((int64_t)(v << (64 - 8 * size)) >> (64 - 8 * size)) : v;
}

/* The line of x and y that starts at i. */
static void line(const chx_scan_attr *p, const chx_tensor *x, const chx_tensor *y, int64_t *i)
{
  int axis = (int)p->axes.v[0], dtype = ref_dtype(x), real = (CHX_FLOATS >> dtype & 1) != 0;
  int is_unsigned = !(CHX_SIGNED_INTS >> dtype & 1);
  int64_t n = x->shape[axis], size = ref_size(x);
  double r = p->kind == CHX_SCAN_PROD ? 1 : p->exclusive ? 0 : -0.0; /* -0 + x is x, of 0 too */
  uint64_t u = p->kind == CHX_SCAN_PROD;
  for (int64_t k = 0; k < n; k++) {
    i[axis] = p->reverse ? n - 1 - k : k;
    double v = real ? ref_load(dtype, ref_at(x, i)) : 0;
    uint64_t w = real ? 0 : load_integer(dtype, ref_at(x, i), size);
    double r0 = r;
    uint64_t u0 = u;
    int first = !k && (p->kind == CHX_SCAN_MAX || p->kind == CHX_SCAN_MIN);
    r = first ? v : next_real(p->kind, r, v);
    u = first ? w : next_integer(p->kind, is_unsigned, u, w);
    if (real) ref_store(dtype, ref_at(y, i), p->exclusive ? r0 : r);
    else memcpy(ref_at(y, i), p->exclusive ? &u0 : &u, (size_t)size);
  }
  i[axis] = 0;
}

static chx_status scan(void *self, const chx_call *c)
{
  const chx_scan_attr *p = c->attr;
  const chx_tensor *x = &c->in[0], *y = &c->out[0];
  int64_t i[CHX_MAX_RANK] = {0};
  (void)self;
  if (ref_count(y)) do
      if (!i[p->axes.v[0]]) line(p, x, y, i);
    while (ref_next(y, i));
  return CHX_OK;
}

const chx_kernel ref_scan_kernels[] = {
    {REF_KERNEL, .op = "scan", .attr_size = sizeof(chx_scan_attr), .dtypes_in = CHX_ANY_REAL,
     .dtypes_out = CHX_ANY_REAL, .run = scan},
    {.op = NULL}};
