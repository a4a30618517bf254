/* SPDX-License-Identifier: MIT
 * k_batch_norm.c: batch_norm by the batch's statistics, of any strides. Variances are of deviations from each part's
 * mean, joined by the formula of Chan and others, so that a large mean costs no digits; f16 and bf16 are f32 between
 * load and store.
 */
#include <string.h>
#include "lines.h"

extern const char gpu_text_batch_norm[];

typedef struct spec { uint8_t dtype, wide; } spec;
typedef struct channels { int64_t gamma, gamma_step, beta, beta_step, mean, mean_step, var, var_step; } channels;

static void write(gpu_text *t, const void *of)
{
  const spec *p = of;
  gpu_add_stored(t, p->dtype);
  gpu_add_lines(t, p->wide);
  gpu_raw(t, gpu_text_batch_norm);
}

static bool example(uint32_t i, void *of)
{
  static const uint8_t dtypes[] = {CHX_F16, CHX_BF16, CHX_F32, CHX_F64};
  *(spec *)of = (spec){dtypes[i & 3], i >> 2 & 1};
  return i < 8;
}

enum { PARTS, JOIN, APPLY };
static const char *const functions[] = {"batch_norm_parts", "batch_norm_join", "batch_norm_apply", NULL};
const gpu_family gpu_batch_norm_family = {"batch_norm", sizeof(spec), write, example, functions};

/* Of no elements there are no statistics: the composition says what comes of it. */
static chx_status accepts(void *self, const chx_call *c)
{
  (void)self;
  return gpu_count(&c->in[0]) ? CHX_OK : CHX_DECLINED;
}

static chx_status run(void *self, const chx_call *c)
{
  enum { EACH = 64 };
  gpu_device *dev = gpu_of(c->dev);
  const chx_batch_norm_attr *a = c->attr;
  const chx_tensor *x = &c->in[0], *gamma = &c->in[1], *beta = &c->in[2];
  const chx_tensor *y = &c->out[0], *mean = &c->out[1], *var = &c->out[2];
  const channels at = {gpu_offset(gamma), gamma->strides[0], gpu_offset(beta), beta->strides[0],
                       gpu_offset(mean),  mean->strides[0],  gpu_offset(var),  var->strides[0]};
  const float eps = (float)a->eps;
  const int axis = a->layout == CHX_CHANNELS_LAST ? x->ndim - 1 : 1;
  gpu_function *fn[3];
  gpu_lines g, parts;
  (void)self;
  gpu_lines_of(&g, x, y, ~(1u << axis));
  gpu_lines_cut(&g, EACH);
  const spec p = {(uint8_t)gpu_dtype(x), gpu_lines_wide(&g)};
  const uint64_t size = gpu_types[gpu_wide_dtype(p.dtype)].bytes, made = (uint64_t)(g.n * g.parts) * size;
  void *means = dev->host->scratch(dev->host->ctx, c, made), *squares = dev->host->scratch(dev->host->ctx, c, made);
  void *stats = dev->host->scratch(dev->host->ctx, c, (uint64_t)g.n * 2 * size);
  if (!means || !squares || !stats)
    return gpu_fail(dev, CHX_ENOMEM, "batch_norm: no memory for the statistics of %lld channels", (long long)g.n);
  chx_status st = CHX_OK;
  for (uint32_t i = 0; i < 3 && !st; i++) st = gpu_find(dev, &gpu_batch_norm_family, &p, i, &fn[i]);
  if (st) return st;
  const gpu_arg of_parts[] = {GPU_BUFFER(x->data), GPU_BUFFER(means), GPU_BUFFER(squares), GPU_VALUE(g)};
  if ((st = gpu_lines_launch(c, fn[PARTS], &g, of_parts, 4))) return st;
  gpu_lines_of_parts(&parts, &g);
  const gpu_arg of_join[] = {GPU_BUFFER(means), GPU_BUFFER(squares), GPU_BUFFER(gamma->data), GPU_BUFFER(stats),
                             GPU_BUFFER(mean->data), GPU_BUFFER(var->data), GPU_VALUE(parts), GPU_VALUE(at),
                             GPU_VALUE(g.m), GPU_VALUE(g.part),
                             p.dtype == CHX_F64 ? GPU_VALUE(a->eps) : GPU_VALUE(eps)};
  if ((st = gpu_lines_launch(c, fn[JOIN], &parts, of_join, 11))) return st;
  const gpu_arg of_apply[] = {GPU_BUFFER(x->data), GPU_BUFFER(stats), GPU_BUFFER(beta->data),
                              GPU_BUFFER(y->data), GPU_VALUE(g),      GPU_VALUE(at)};
  return gpu_lines_launch(c, fn[APPLY], &g, of_apply, 6);
}

const chx_kernel gpu_batch_norm_kernels[] = {
  {GPU_KERNEL, .op = "batch_norm", .attr_size = sizeof(chx_batch_norm_attr), .dtypes_in = CHX_FLOATS,
   .dtypes_out = CHX_FLOATS, .accepts = accepts, .run = run},
  {0}};
