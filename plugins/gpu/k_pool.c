/* SPDX-License-Identifier: MIT
 * k_pool.c: max_pool, avg_pool and avg_pool_grad over one to three spatial axes.
 *
 * A thread makes an element: of the outputs a window's, of the gradient the sum of all windows' that hold it, in their
 * order, so that nothing is added from two sides.
 */
#include <string.h>
#include "gpu.h"

extern const char gpu_text_pool[];

enum { MAX, AVG, AVG_GRAD }; /* KIND in pool.gpu */
typedef struct spec { uint8_t what, dtype, wide; } spec;
typedef struct pool_args { /* as in pool.gpu */
  int64_t n, c, in[3], out[3], ker[3], stride[3], pad[3], off_x, off_y, off_at;
  int32_t exclude, zero;
} pool_args;

static void write(gpu_text *t, const void *of)
{
  const spec *p = of;
  const char *name = gpu_types[p->dtype].name;
  gpu_add(t, "typedef %s index;\n#define KIND %d\n#define S s_%s\n#define T t_%s\n#define LD ld_%s\n",
          p->wide ? "i64" : "u32", p->what, name, name, name);
  gpu_raw(t, gpu_text_pool);
}

static bool example(uint32_t i, void *of)
{
  spec *p = of;
  memset(p, 0, sizeof *p);
  p->wide = i & 1;
  i /= 2;
  if (i < CHX_F64) p->dtype = (uint8_t)(i + CHX_BOOL);
  else {
    p->what = (uint8_t)((i - CHX_F64) % 2 ? AVG_GRAD : AVG);
    p->dtype = (i - CHX_F64) / 2 ? CHX_F64 : CHX_F32;
  }
  return i < CHX_F64 + 4;
}

static const char *const functions[] = {"pool", NULL};
const gpu_family gpu_pool_family = {"pool", sizeof(spec), write, example, functions};

/* The geometry of a pooling of x to y. */
static pool_args args_of(const chx_pool_attr *a, const chx_tensor *x, const chx_tensor *y)
{
  const int n = x->ndim - 2, last = a->layout == CHX_CHANNELS_LAST, s = last ? 1 : 2;
  pool_args v = {
      .n = x->shape[0], .c = 1, .off_x = gpu_offset(x), .off_y = gpu_offset(y), .exclude = a->exclude_pad != 0};
  if (last) v.c = x->shape[n + 1];
  else v.n *= x->shape[1];
  for (int d = 0; d < 3; d++) {
    const int k = d - (3 - n);
    v.in[d] = k < 0 ? 1 : x->shape[s + k];
    v.out[d] = k < 0 ? 1 : y->shape[s + k];
    v.ker[d] = k < 0 ? 1 : a->ksize.v[k];
    v.stride[d] = k < 0 ? 1 : a->stride.v[k];
    v.pad[d] = k < 0 ? 0 : a->pad.v[k];
  }
  return v;
}

static const int kinds[] = {MAX, AVG, AVG_GRAD};

static chx_status run(void *self, const chx_call *c)
{
  gpu_device *g = gpu_of(c->dev);
  const int what = *(const int *)self;
  const chx_tensor *x = what == AVG_GRAD ? &c->out[0] : &c->in[0], *y = what == AVG_GRAD ? &c->in[0] : &c->out[0];
  const int64_t made = gpu_count(&c->out[0]), most = gpu_count(x) > gpu_count(y) ? gpu_count(x) : gpu_count(y);
  pool_args v = args_of(c->attr, x, y);
  gpu_function *fn;
  gpu_arg args[4];
  uint32_t n = 2;
  if (!made) return CHX_OK;
  const spec p = {(uint8_t)what, (uint8_t)gpu_dtype(x), most > INT32_MAX};
  for (int d = 0; d < 3; d++)
    if (v.in[d] > INT32_MAX) return CHX_DECLINED;
  const chx_status st = gpu_find(g, &gpu_pool_family, &p, 0, &fn);
  if (st) return st;
  args[0] = GPU_BUFFER(c->in[0].data);
  args[1] = GPU_BUFFER(c->out[0].data);
  if (what == MAX) {
    v.off_at = gpu_offset(&c->out[1]);
    args[n++] = GPU_BUFFER(c->out[1].data);
  }
  args[n++] = GPU_VALUE(v);
  return gpu_launch(c, fn, (uint64_t)made, args, n);
}

#define FLOATS (CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64))
#define KERNEL(name, kind, in, made)                                                                                 \
  {.size = sizeof(chx_kernel), .attr_size = sizeof(chx_pool_attr), .min_version = 1, .max_version = 1, .max_rank = 5, \
   .op = name, .dtypes_in = in, .dtypes_out = made, .flags = CHX_K_CONTIGUOUS | CHX_K_CAPTURABLE, .run = run,        \
   .self = (void *)(uintptr_t)&kinds[kind]}
const chx_kernel gpu_pool_kernels[] = {
  KERNEL("max_pool", MAX, CHX_ANY_REAL, CHX_ANY_REAL),
  KERNEL("avg_pool", AVG, FLOATS, FLOATS),
  KERNEL("avg_pool_grad", AVG_GRAD, FLOATS, FLOATS),
  {0}};
