/* SPDX-License-Identifier: MIT
 * sort.c: sort and argsort along an axis: the list of a line's indices, sorted by merging.
 */
#include "ref.h"
#include <stdlib.h>

struct line { const chx_tensor *x; int64_t i[CHX_MAX_RANK], n; int axis, descending; };

static const void *at(struct line *l, int64_t k)
{
  l->i[l->axis] = k;
  return ref_at(l->x, l->i);
}

/* Whether element a goes before element b for its value. NaN is greater than every number. */
static int before(struct line *l, int64_t a, int64_t b)
{
  int dtype = ref_dtype(l->x);
  if (l->descending) {
    int64_t t = a;
    a = b;
    b = t;
  }
  if (dtype == CHX_I64) return *(const int64_t *)at(l, a) < *(const int64_t *)at(l, b);
  if (dtype == CHX_U64) return *(const uint64_t *)at(l, a) < *(const uint64_t *)at(l, b);
  double va = ref_load(dtype, at(l, a)), vb = ref_load(dtype, at(l, b));
  return isnan(vb) ? !isnan(va) : va < vb;
}

/* p[0 .. n - 1] in order; room has n elements. */
static void merge_sort(struct line *l, int64_t n, int64_t *p, int64_t *room)
{
  if (n < 2) return;
  int64_t half = n / 2, a = 0, b = half;
  merge_sort(l, half, p, room);
  merge_sort(l, n - half, p + half, room);
  for (int64_t k = 0; k < n; k++) room[k] = b == n || (a < half && !before(l, p[b], p[a])) ? p[a++] : p[b++];
  memcpy(p, room, (size_t)n * sizeof *p);
}

/* self: NULL for the elements, else their indices */
static chx_status sort(void *self, const chx_call *c)
{
  const chx_sort_attr *p = c->attr;
  const chx_tensor *x = &c->in[0], *y = &c->out[0];
  int axis = (int)p->axis;
  struct line l = {.x = x, .n = x->shape[axis], .axis = axis, .descending = p->descending != 0};
  int64_t i[CHX_MAX_RANK] = {0}, size = ref_size(y);
  if (!ref_count(y)) return CHX_OK;
  int64_t *order = calloc((size_t)l.n * 2, sizeof *order);
  if (!order) return ref_fail(CHX_ENOMEM, "sort: no memory for the order of %lld elements", (long long)l.n);
  do {
    if (i[axis]) continue; /* once for each line */
    memcpy(l.i, i, sizeof i);
    for (int64_t k = 0; k < l.n; k++) order[k] = k;
    merge_sort(&l, l.n, order, order + l.n);
    for (; i[axis] < l.n; i[axis]++) {
      const int64_t *from = &order[i[axis]];
      memcpy(ref_at(y, i), self ? (const void *)from : at(&l, *from), (size_t)size);
    }
    i[axis] = 0;
  } while (ref_next(y, i));
  free(order);
  return CHX_OK;
}

static char indices; /* its address says so */
#define KERNEL(name, what, out) {REF_KERNEL, .op = name, .attr_size = sizeof(chx_sort_attr), .dtypes_in = CHX_ANY_REAL, .dtypes_out = out, .run = sort, .self = what}
const chx_kernel ref_sort_kernels[] = {
    KERNEL("sort", NULL, CHX_ANY_REAL), KERNEL("argsort", &indices, CHX_BIT(CHX_I64)), {.op = NULL}};
