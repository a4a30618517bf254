/* SPDX-License-Identifier: MIT
 * k_softmax.c: softmax and log_softmax along any axis, of any strides.
 */
#include <string.h>
#include "lines.h"

extern const char gpu_text_softmax[];

enum { ITEMS = 8 }; /* as in softmax.gpu: elements that a thread can keep */

typedef struct spec { uint8_t dtype, logarithm, wide; } spec;

static void write(gpu_text *t, const void *of)
{
  const spec *p = of;
  gpu_add_stored(t, p->dtype);
  if (p->logarithm) gpu_raw(t, "#define LOGARITHM 1\n");
  gpu_add_lines(t, p->wide);
  gpu_raw(t, gpu_text_softmax);
}

static bool example(uint32_t i, void *of)
{
  static const uint8_t dtypes[] = {CHX_F16, CHX_BF16, CHX_F32, CHX_F64};
  *(spec *)of = (spec){dtypes[i & 3], i >> 2 & 1, i >> 3 & 1};
  return i < 16;
}

static const char *const functions[] = {"softmax_short", "softmax_long", NULL};
const gpu_family gpu_softmax_family = {"softmax", sizeof(spec), write, example, functions};

/* self: not NULL for the logarithm */
static chx_status run(void *self, const chx_call *c)
{
  const int axis = (int)((const chx_softmax_attr *)c->attr)->axis;
  const chx_tensor *x = &c->in[0], *y = &c->out[0];
  gpu_function *fn;
  gpu_lines g;
  gpu_lines_of(&g, x, y, 1u << axis);
  if (!g.n || !g.m) return CHX_OK;
  gpu_lines_share(&g, ITEMS / 2);
  const spec p = {(uint8_t)gpu_dtype(x), self != NULL, gpu_lines_wide(&g)};
  const bool is_long = g.m > (int64_t)g.lanes * ITEMS;
  const gpu_arg args[] = {GPU_BUFFER(x->data), GPU_BUFFER(y->data), GPU_VALUE(g)};
  const chx_status st = gpu_find(gpu_of(c->dev), &gpu_softmax_family, &p, is_long, &fn);
  return st ? st : gpu_lines_launch(c, fn, &g, args, 3);
}

static char is_logarithm; /* its address says so */
#define SOFTMAX(name, which) \
  {GPU_KERNEL, .op = name, .attr_size = sizeof(chx_softmax_attr), .dtypes_in = CHX_FLOATS, .dtypes_out = CHX_FLOATS, \
   .alias_ok = 1, .run = run, .self = which}
const chx_kernel gpu_softmax_kernels[] = {SOFTMAX("softmax", NULL), SOFTMAX("log_softmax", &is_logarithm), {0}};
