/* SPDX-License-Identifier: MIT
 * k_reference.c: the reference mode's sums, softmax and scans (reference.gpu), in the order of plugins/ref, which native runs in that mode.
 * These kernels come first in its list.
 */
#include <string.h>
#include "gpu.h"

extern const char gpu_text_copy[], gpu_text_reference[];

typedef struct spec { uint8_t dtype; } spec;

static void write(gpu_text *t, const void *of)
{
  const spec *p = of;
  const char *name = gpu_types[p->dtype].name;
  const bool half = gpu_types[p->dtype].bits == 16;
  gpu_raw(t, gpu_text_copy);
  gpu_raw(t, gpu_text_refmath);
  gpu_add(t, "#define REDUCE_PROD %d\n#define REDUCE_MEAN %d\n#define SCAN_PROD %d\n", CHX_REDUCE_PROD, CHX_REDUCE_MEAN, CHX_SCAN_PROD);
  gpu_add(t, "#define S s_%s\n#define LD(p, i) ((f64)ld_%s(p, i))\n", name, name);
  gpu_add(t, half ? "#define ST(p, i, v) st_%s(p, i, odd_f64(v))\n" : "#define ST(p, i, v) st_%s(p, i, (t_%s)(v))\n", name, name);
  gpu_raw(t, gpu_text_reference);
}

static bool example(uint32_t i, void *of)
{
  static const uint8_t floats[] = {CHX_F16, CHX_BF16, CHX_F32, CHX_F64};
  if (i >= 4) return false;
  ((spec *)of)->dtype = floats[i];
  return true;
}

enum { REDUCE, SOFTMAX, SCAN };
static const char *const functions[] = {"reduce", "softmax", "scan", NULL};
const gpu_family gpu_reference_family = {"reference", sizeof(spec), write, example, functions};

typedef struct params { /* as in reference.gpu */
  int64_t lines, n, off_x, off_y, dim[16], xs[16], ys[16], ndim[16], nx[16], ny[16];
  int32_t nd, nn, kind, flags;
} params;

/* Lines of x along `axes` (a bit set), each to a line or an element of y. */
static params lines_of(const chx_tensor *x, const chx_tensor *y, uint64_t axes)
{
  params p = {.lines = 1, .n = 1, .off_x = gpu_offset(x), .off_y = gpu_offset(y)};
  for (int d = x->ndim - 1; d >= 0; d--) {
    if (axes >> d & 1) {
      p.n *= x->shape[d];
      p.ndim[p.nn] = x->shape[d];
      p.nx[p.nn] = x->strides[d];
      p.ny[p.nn++] = y->strides[d];
    } else {
      p.lines *= x->shape[d];
      p.dim[p.nd] = x->shape[d];
      p.xs[p.nd] = x->strides[d];
      p.ys[p.nd++] = y->strides[d];
    }
  }
  return p;
}

static chx_status launch(const chx_call *c, uint32_t which, params *p)
{
  const spec s = {(uint8_t)gpu_dtype(&c->in[0])};
  gpu_function *fn;
  if (!gpu_count(&c->out[0])) return CHX_OK;
  const chx_status st = gpu_find(gpu_of(c->dev), &gpu_reference_family, &s, which, &fn);
  if (st) return st;
  const gpu_arg args[] = {GPU_BUFFER(c->in[0].data), GPU_BUFFER(c->out[0].data), GPU_VALUE(*p)};
  return gpu_launch(c, fn, (uint64_t)p->lines, args, 3);
}

static chx_status accepts(void *self, const chx_call *c)
{
  const gpu_device *g = gpu_of(c->dev);
  const uint32_t kind = self == NULL ? 0 : *(const uint32_t *)((const char *)c->attr + sizeof(uint32_t));
  if (!(g->dtypes & CHX_BIT(CHX_F64))) return CHX_DECLINED;
  if (self && *(const int *)self == REDUCE)
    return kind == CHX_REDUCE_SUM || kind == CHX_REDUCE_PROD || kind == CHX_REDUCE_MEAN ? CHX_OK : CHX_DECLINED;
  if (self && *(const int *)self == SCAN) return kind == CHX_SCAN_SUM || kind == CHX_SCAN_PROD ? CHX_OK : CHX_DECLINED;
  return CHX_OK;
}

static chx_status reduce(void *self, const chx_call *c)
{
  const chx_reduce_attr *a = c->attr;
  uint64_t axes = 0;
  (void)self;
  for (int k = 0; k < a->axes.n; k++) axes |= (uint64_t)1 << a->axes.v[k];
  params p = lines_of(&c->in[0], &c->out[0], axes);
  p.kind = (int32_t)a->kind;
  return launch(c, REDUCE, &p);
}

static chx_status softmax(void *self, const chx_call *c)
{
  params p = lines_of(&c->in[0], &c->out[0], (uint64_t)1 << ((const chx_softmax_attr *)c->attr)->axis);
  p.flags = self ? 0 : 1;
  return launch(c, SOFTMAX, &p);
}

static chx_status scan(void *self, const chx_call *c)
{
  const chx_scan_attr *a = c->attr;
  params p = lines_of(&c->in[0], &c->out[0], (uint64_t)1 << a->axes.v[0]);
  (void)self;
  p.kind = (int32_t)a->kind;
  p.flags = (a->reverse ? 2 : 0) | (a->exclusive ? 4 : 0);
  return launch(c, SCAN, &p);
}

static const int whats[] = {REDUCE, SOFTMAX, SCAN};
#define KERNEL(name, kind, runs, who)                                                                                    \
  {GPU_KERNEL, .op = name, .attr_size = sizeof(chx_##kind##_attr), .dtypes_in = CHX_FLOATS, .dtypes_out = CHX_FLOATS,    \
   .accepts = accepts, .run = runs, .self = (void *)(uintptr_t)(who)}
const chx_kernel gpu_reference_kernels[] = {
  KERNEL("reduce", reduce, reduce, &whats[REDUCE]), KERNEL("softmax", softmax, softmax, &whats[SOFTMAX]),
  KERNEL("log_softmax", softmax, softmax, NULL), KERNEL("scan", scan, scan, &whats[SCAN]), {0}};
