/* SPDX-License-Identifier: MIT
 * k_reduce.c: reductions over any axes.
 *
 * A program reduces lines, or parts of lines where they are long; then the parts are reduced in turn. Sums are trees
 * of a form that depends on sizes and layout alone: at most 32 elements one after the other in each of a thread's
 * sums, the threads of a line in pairs, then the parts. f16 and bf16 are f32 from the first load to the last store.
 */
#include <string.h>
#include "lines.h"

extern const char gpu_text_reduce[];

typedef struct spec {
  uint8_t from, to;  /* dtypes */
  uint8_t kind, wide; /* CHX_REDUCE_SUM to MIN; 64-bit indices */
} spec;

static void write(gpu_text *t, const void *of)
{
  const spec *p = of;
  const char *from = gpu_types[p->from].name, *to = gpu_types[p->to].name;
  gpu_add_types(t, p->from);
  gpu_add(t, "#define S s_%s\n#define D s_%s\n#define LD ld_%s\n#define ST st_%s\n", from, to, from, to);
  gpu_add_fold(t, p->from, p->kind);
  gpu_add_lines(t, p->wide);
  gpu_raw(t, gpu_text_reduce);
}

/* What a kind is for a dtype: one of SUM to MIN; 0: nothing. */
static int fold_of(int64_t kind, int dtype)
{
  const bool truth = dtype == CHX_BOOL;
  switch (kind) {
  case CHX_REDUCE_SUM: return truth ? CHX_REDUCE_MAX : CHX_REDUCE_SUM;
  case CHX_REDUCE_PROD: return truth ? CHX_REDUCE_MIN : CHX_REDUCE_PROD;
  case CHX_REDUCE_MAX:
  case CHX_REDUCE_MIN: return (int)kind;
  case CHX_REDUCE_ALL: return truth ? CHX_REDUCE_MIN : 0;
  case CHX_REDUCE_ANY: return truth ? CHX_REDUCE_MAX : 0;
  case CHX_REDUCE_MEAN: return gpu_types[dtype].kind == 'F' ? CHX_REDUCE_SUM : 0;
  default: return 0;
  }
}

/* Every kind for every dtype, and for f16 and bf16 the programs that make parts and that join them. */
static bool example(uint32_t i, void *of)
{
  spec *p = of;
  memset(p, 0, sizeof *p);
  for (int kind = CHX_REDUCE_SUM; kind <= CHX_REDUCE_MIN; kind++)
    for (int d = CHX_BOOL; d <= CHX_F64; d++) {
      if (fold_of(kind, d) != kind) continue;
      const int wide = gpu_wide_dtype(d);
      const spec all[] = {{(uint8_t)d, (uint8_t)d, (uint8_t)kind, 0}, {(uint8_t)d, (uint8_t)d, (uint8_t)kind, 1},
                          {(uint8_t)d, (uint8_t)wide, (uint8_t)kind, 0}, {(uint8_t)wide, (uint8_t)d, (uint8_t)kind, 0}};
      const uint32_t n = wide == d ? 2 : 4;
      if (i < n) return *p = all[i], true;
      i -= n;
    }
  return false;
}

static const char *const functions[] = {"reduce", NULL};
const gpu_family gpu_reduce_family = {"reduce", sizeof(spec), write, example, functions};

static chx_status accepts(void *self, const chx_call *c)
{
  (void)self;
  return fold_of(((const chx_reduce_attr *)c->attr)->kind, gpu_dtype(c->in)) ? CHX_OK : CHX_DECLINED;
}

static chx_status run(void *self, const chx_call *c)
{
  enum { EACH = 64 };
  gpu_device *dev = gpu_of(c->dev);
  const chx_reduce_attr *a = c->attr;
  const chx_tensor *x = &c->in[0], *y = &c->out[0];
  const int dtype = gpu_dtype(x), sum = gpu_wide_dtype(dtype);
  const void *from = x->data;
  gpu_function *fn;
  gpu_lines g;
  uint32_t axes = 0;
  spec p = {.from = (uint8_t)dtype, .kind = (uint8_t)fold_of(a->kind, dtype)};
  (void)self;
  if (!p.kind) return CHX_DECLINED;
  for (int k = 0; k < a->axes.n; k++) axes |= 1u << a->axes.v[k];
  gpu_lines_of(&g, x, y, axes);
  if (!g.n) return CHX_OK;
  for (const int64_t count = g.m;;) {
    gpu_lines_cut(&g, EACH);
    const bool last = g.parts == 1;
    const int32_t mean = last && a->kind == CHX_REDUCE_MEAN;
    p.to = (uint8_t)(last ? dtype : sum);
    p.wide = gpu_lines_wide(&g);
    const uint64_t bytes = (uint64_t)(g.n * g.parts) * gpu_types[p.to].bytes;
    void *to = last ? y->data : dev->host->scratch(dev->host->ctx, c, bytes);
    if (!to)
      return gpu_fail(dev, CHX_ENOMEM, "reduce: no memory for the %lld parts of %lld results", (long long)g.parts,
                      (long long)g.n);
    const gpu_arg args[] = {GPU_BUFFER(from), GPU_BUFFER(to), GPU_VALUE(g), GPU_VALUE(count), GPU_VALUE(mean)};
    chx_status st = gpu_find(dev, &gpu_reduce_family, &p, 0, &fn);
    if (!st) st = gpu_lines_launch(c, fn, &g, args, 5);
    if (st || last) return st;
    const gpu_lines made = g;
    gpu_lines_of_parts(&g, &made);
    from = to;
    p.from = (uint8_t)sum;
  }
}

const chx_kernel gpu_reduce_kernels[] = {
  {GPU_KERNEL, .op = "reduce", .attr_size = sizeof(chx_reduce_attr), .dtypes_in = CHX_ANY_REAL,
   .dtypes_out = CHX_ANY_REAL, .accepts = accepts, .run = run},
  {0}};
