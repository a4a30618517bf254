/* SPDX-License-Identifier: MIT
 * k_layer_norm.c: layer_norm over dense operands, in one program; f16 and bf16 are f32 between load and store.
 */
#include <string.h>
#include "lines.h"

extern const char gpu_text_layer_norm[];

enum { ITEMS = 8 }; /* as in layer_norm.gpu: elements that a thread can keep */

typedef struct spec { uint8_t dtype, wide; } spec;

static void write(gpu_text *t, const void *of)
{
  const spec *p = of;
  gpu_add_stored(t, p->dtype);
  gpu_add_lines(t, p->wide);
  gpu_raw(t, gpu_text_layer_norm);
}

static bool example(uint32_t i, void *of)
{
  static const uint8_t dtypes[] = {CHX_F16, CHX_BF16, CHX_F32, CHX_F64};
  *(spec *)of = (spec){dtypes[i & 3], i >> 2 & 1};
  return i < 8;
}

static const char *const functions[] = {"layer_norm_short", "layer_norm_long", NULL};
const gpu_family gpu_layer_norm_family = {"layer_norm", sizeof(spec), write, example, functions};

static chx_status run(void *self, const chx_call *c)
{
  const double eps = ((const chx_layer_norm_attr *)c->attr)->eps;
  const float eps_f = (float)eps;
  const chx_tensor *x = &c->in[0], *gamma = &c->in[1], *beta = &c->in[2], *y = &c->out[0];
  const int64_t at_gamma = gpu_offset(gamma), at_beta = gpu_offset(beta), all = gpu_count(x), m = gpu_count(gamma);
  gpu_function *fn;
  gpu_lines g;
  (void)self;
  if (!all) return CHX_OK;
  gpu_lines_dense(&g, gpu_offset(x), gpu_offset(y), all / m, m);
  gpu_lines_share(&g, ITEMS / 2);
  const spec p = {(uint8_t)gpu_dtype(x), gpu_lines_wide(&g)};
  const bool is_long = m > (int64_t)g.lanes * ITEMS;
  const gpu_arg args[] = {GPU_BUFFER(x->data), GPU_BUFFER(gamma->data), GPU_BUFFER(beta->data), GPU_BUFFER(y->data),
                          GPU_VALUE(g),        GPU_VALUE(at_gamma),     GPU_VALUE(at_beta),
                          p.dtype == CHX_F64 ? GPU_VALUE(eps) : GPU_VALUE(eps_f)};
  const chx_status st = gpu_find(gpu_of(c->dev), &gpu_layer_norm_family, &p, is_long, &fn);
  return st ? st : gpu_lines_launch(c, fn, &g, args, 8);
}

const chx_kernel gpu_layer_norm_kernels[] = {
  {GPU_KERNEL_THAT(CHX_K_CONTIGUOUS), .op = "layer_norm", .attr_size = sizeof(chx_layer_norm_attr), .dtypes_in = CHX_FLOATS,
   .dtypes_out = CHX_FLOATS, .alias_ok = 1, .run = run},
  {0}};
