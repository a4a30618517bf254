/* SPDX-License-Identifier: MIT
 * k_argreduce.c: argmax and argmin: the first of the extremes along an axis. Long lines are searched in parts, whose
 * extremes, kept with their places, are searched in turn.
 */
#include <string.h>
#include "lines.h"

extern const char gpu_text_argreduce[];

typedef struct spec { uint8_t dtype, largest, wide; } spec;

static void write(gpu_text *t, const void *of)
{
  const spec *p = of;
  gpu_add_stored(t, p->dtype);
  gpu_add(t, "#define BEATS(v, a) ((v) %c (a)%s)\n", p->largest ? '>' : '<',
          gpu_types[p->dtype].kind == 'F' ? " || ((v) != (v) && (a) == (a))" : "");
  gpu_add_lines(t, p->wide);
  gpu_raw(t, gpu_text_argreduce);
}

static bool example(uint32_t i, void *of)
{
  enum { DTYPES = CHX_F64 - CHX_BOOL + 1 };
  *(spec *)of = (spec){(uint8_t)(CHX_BOOL + i % DTYPES), i / DTYPES & 1, i / DTYPES / 2 & 1};
  return i < DTYPES * 4;
}

static const char *const functions[] = {"argreduce", NULL};
const gpu_family gpu_argreduce_family = {"argreduce", sizeof(spec), write, example, functions};

/* self: not NULL for the largest */
static chx_status run(void *self, const chx_call *c)
{
  enum { EACH = 64 };
  gpu_device *dev = gpu_of(c->dev);
  const chx_ints *axes = &((const chx_arg_reduce_attr *)c->attr)->axes;
  const chx_tensor *x = &c->in[0], *y = &c->out[0];
  const void *from = x->data, *places = x->data; /* the latter is not read at first */
  const char *name = self ? "argmax" : "argmin";
  gpu_function *fn;
  gpu_lines g;
  spec p = {.dtype = (uint8_t)gpu_dtype(x), .largest = self != NULL};
  if (axes->n != 1) return CHX_DECLINED;
  gpu_lines_of(&g, x, y, 1u << axes->v[0]);
  if (!g.n) return CHX_OK;
  if (!g.m) return gpu_fail(dev, CHX_ESHAPE, "%s: axis %d has no elements", name, (int)axes->v[0]);
  for (int32_t given = 0;; given = 1) {
    gpu_lines_cut(&g, EACH);
    const bool last = g.parts == 1;
    const uint64_t made = (uint64_t)(g.n * g.parts);
    p.wide = gpu_lines_wide(&g);
    void *to = last ? y->data : dev->host->scratch(dev->host->ctx, c, made * 8);
    void *best = last ? y->data : dev->host->scratch(dev->host->ctx, c, made * gpu_types[p.dtype].bytes);
    if (!to || !best)
      return gpu_fail(dev, CHX_ENOMEM, "%s: no memory for the %lld parts of %lld results", name, (long long)g.parts,
                      (long long)g.n);
    const gpu_arg args[] = {GPU_BUFFER(from), GPU_BUFFER(places), GPU_BUFFER(best),
                            GPU_BUFFER(to),   GPU_VALUE(g),       GPU_VALUE(given)};
    chx_status st = gpu_find(dev, &gpu_argreduce_family, &p, 0, &fn);
    if (!st) st = gpu_lines_launch(c, fn, &g, args, 6);
    if (st || last) return st;
    const gpu_lines cut = g;
    gpu_lines_of_parts(&g, &cut);
    from = best;
    places = to;
  }
}

static char is_largest; /* its address says so */
#define ARG(name, which) \
  {GPU_KERNEL, .op = name, .attr_size = sizeof(chx_arg_reduce_attr), .dtypes_in = CHX_ANY_REAL, \
   .dtypes_out = CHX_BIT(CHX_I64), .run = run, .self = which}
const chx_kernel gpu_argreduce_kernels[] = {ARG("argmax", &is_largest), ARG("argmin", NULL), {0}};
