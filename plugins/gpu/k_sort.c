/* SPDX-License-Identifier: MIT
 * k_sort.c: sort and argsort along one axis, for any strides; sort.gpu says how.
 *
 * Elements are moved as words of their size and compared through unsigned keys, so there is a program for each size.
 */
#include "sort.h"
#include <string.h>

extern const char gpu_text_sort[];

enum { TILE = 2048, STEP = 1024 }; /* as in sort.gpu */
enum { TILES, MERGE, EMIT };
typedef struct spec { uint32_t bytes; } spec;
typedef struct sort_args { /* as in sort.gpu */
  int64_t lines, n, run, off_x, off_y, xs, ys;
  int64_t dim[CHX_MAX_RANK], st[2][CHX_MAX_RANK];
  uint64_t sign, inf, flip;
  int32_t nd, kind, as_index, last;
} sort_args;

static void write(gpu_text *t, const void *of)
{
  const spec *p = of;
  gpu_add(t, "typedef u%u W;\ntypedef u%d K;\n", p->bytes * 8, p->bytes == 8 ? 64 : 32);
  gpu_raw(t, gpu_text_sort);
}

static bool example(uint32_t i, void *of)
{
  *(spec *)of = (spec){1u << i % 4};
  return i < 4;
}

static const char *const functions[] = {"tiles", "merge", "emit", NULL};
const gpu_family gpu_sort_family = {"sort", sizeof(spec), write, example, functions};

/* What makes keys of a dtype's words. */
static void set_keys(sort_args *a, int dtype, bool descending)
{
  const gpu_type *d = &gpu_types[dtype];
  const uint64_t inf[] = {
      [CHX_F16] = 0x7c00, [CHX_BF16] = 0x7f80, [CHX_F32] = 0x7f800000, [CHX_F64] = 0x7ff0000000000000};
  a->kind = d->kind == 'I' ? 1 : d->kind == 'F' ? 2 : d->kind == 'B' ? 3 : 0;
  a->sign = (uint64_t)1 << (d->bits - 1);
  if (d->kind == 'F') a->inf = inf[dtype];
  if (descending) a->flip = d->kind == 'B' ? 1 : a->sign | (a->sign - 1);
}

typedef struct lists { void *keys, *ids; } lists; /* in scratch */

/* Doubles runs of l until a line is one; other is room for as much. */
static chx_status merge(const chx_call *c, const sort_args *a, const spec *p, lists *l, lists other)
{
  gpu_function *fn;
  chx_status st = gpu_find(gpu_of(c->dev), &gpu_sort_family, p, MERGE, &fn);
  for (int64_t run = a->run; run < a->n && !st; run *= 2) {
    const gpu_arg args[] = {GPU_BUFFER(l->keys), GPU_BUFFER(l->ids),  GPU_BUFFER(other.keys), GPU_BUFFER(other.ids),
                            GPU_VALUE(a->lines), GPU_VALUE(a->n), GPU_VALUE(run)};
    st = gpu_launch(c, fn, (uint64_t)(a->lines * ((a->n + STEP - 1) / STEP)) * GPU_WG, args, 7);
    const lists made = other;
    other = *l;
    *l = made;
  }
  return st;
}

static chx_status room(const chx_call *c, const sort_args *a, const spec *p, lists *l)
{
  gpu_device *g = gpu_of(c->dev);
  const uint64_t n = (uint64_t)a->lines * (uint64_t)a->n, key = p->bytes == 8 ? 8 : 4;
  l->keys = g->host->scratch(g->host->ctx, c, n * key);
  l->ids = l->keys ? g->host->scratch(g->host->ctx, c, n * 4) : NULL;
  return l->ids ? CHX_OK
                : gpu_fail(g, CHX_ENOMEM, "%s: no memory to sort %llu elements", g->spec, (unsigned long long)n);
}

/* Sorts lines to y, or, if y is NULL, to *l. */
static chx_status sort_lines(const chx_call *c, sort_args *a, uint32_t bytes, void *x, void *y, lists *l)
{
  gpu_device *g = gpu_of(c->dev);
  const spec p = {bytes};
  lists other = {0};
  gpu_function *fn;
  for (a->run = 1; a->run < a->n && a->run < TILE;) a->run *= 2;
  a->last = y && a->n <= TILE;
  chx_status st = gpu_find(g, &gpu_sort_family, &p, TILES, &fn);
  if (!st && !a->last) st = room(c, a, &p, l);
  if (!st && a->n > TILE) st = room(c, a, &p, &other);
  if (st) return st;
  const int64_t runs = a->lines * ((a->n + a->run - 1) / a->run), each = TILE / a->run;
  const gpu_arg args[] = {GPU_BUFFER(x),       GPU_BUFFER(y),      GPU_BUFFER(y),
                          GPU_BUFFER(l->keys), GPU_BUFFER(l->ids), GPU_VALUE(*a)};
  st = gpu_launch(c, fn, (uint64_t)((runs + each - 1) / each) * GPU_WG, args, 6);
  if (!st && a->n > TILE) st = merge(c, a, &p, l, other);
  if (st || !y || a->last) return st;
  st = gpu_find(g, &gpu_sort_family, &p, EMIT, &fn);
  const gpu_arg emit[] = {GPU_BUFFER(x), GPU_BUFFER(y), GPU_BUFFER(y), GPU_BUFFER(l->ids), GPU_VALUE(*a)};
  return st ? st : gpu_launch(c, fn, (uint64_t)(a->lines * a->n), emit, 5);
}

chx_status gpu_order(const chx_call *c, void *x, int64_t n, void **keys, void **ids)
{
  sort_args a = {.lines = 1, .n = n, .xs = 1};
  lists l = {0};
  set_keys(&a, CHX_U32, false);
  const chx_status st = sort_lines(c, &a, 4, x, NULL, &l);
  *keys = l.keys;
  *ids = l.ids;
  return st;
}

/* t without its axis. */
typedef struct part { chx_tensor t; int64_t shape[CHX_MAX_RANK], strides[CHX_MAX_RANK]; } part;
static const chx_tensor *without(part *p, const chx_tensor *t, int axis)
{
  p->t = *t;
  p->t.ndim = 0;
  for (int k = 0; k < t->ndim; k++) {
    if (k == axis) continue;
    p->shape[p->t.ndim] = t->shape[k];
    p->strides[p->t.ndim++] = t->strides[k];
  }
  p->t.shape = p->shape;
  p->t.strides = p->strides;
  return &p->t;
}

static char indices; /* its address says so: argsort */

static chx_status run(void *self, const chx_call *c)
{
  const chx_sort_attr *p = c->attr;
  const chx_tensor *x = &c->in[0], *y = &c->out[0];
  const int axis = (int)p->axis;
  gpu_geometry geo;
  part px, py;
  lists l = {0};
  if (!gpu_count(x)) return CHX_OK;
  const chx_tensor *lx = without(&px, x, axis), *op[] = {lx, without(&py, y, axis)};
  gpu_geometry_of(&geo, lx->ndim, lx->shape, op, 2);
  sort_args a = {.lines = geo.n, .n = x->shape[axis], .off_x = geo.offset[0], .off_y = geo.offset[1],
                 .xs = x->strides[axis], .ys = y->strides[axis], .nd = geo.nd, .as_index = self == &indices};
  if (a.n >= UINT32_MAX) return CHX_DECLINED;
  for (int d = 0; d < geo.nd; d++) {
    a.dim[d] = geo.dim[geo.nd - 1 - d];
    for (int k = 0; k < 2; k++) a.st[k][d] = geo.stride[k][geo.nd - 1 - d];
  }
  set_keys(&a, gpu_dtype(x), p->descending != 0);
  return sort_lines(c, &a, gpu_types[gpu_dtype(x)].bytes, x->data, y->data, &l);
}

#define KERNEL(name, what, out)                                                                                        \
  {GPU_KERNEL, .op = name, .attr_size = sizeof(chx_sort_attr), .dtypes_in = CHX_ANY_REAL, .dtypes_out = out,           \
   .run = run, .self = what}
const chx_kernel gpu_sort_kernels[] = {
  KERNEL("sort", NULL, CHX_ANY_REAL), KERNEL("argsort", &indices, CHX_BIT(CHX_I64)), {0}};
