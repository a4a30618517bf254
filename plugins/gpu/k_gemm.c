/* SPDX-License-Identifier: MIT
 * k_gemm.c: matmul, linear, conv and its two gradients, all by one tiled product (gemm.gpu): the floor that holds where a
 * vendor's library is absent.
 */
#include <stdio.h>
#include <string.h>
#include "gpu.h"

extern const char gpu_text_gemm[];

enum { MATMUL, CONV, GRAD_INPUT, GRAD_WEIGHT, BATCH_AXES = 14 };
typedef struct spec { uint8_t mode, dtype; } spec;

static void write(gpu_text *t, const void *of)
{
  const spec *p = of;
  const gpu_type *d = &gpu_types[p->dtype];
  const char *acc = d->kind == 'F' ? d->wrap : d->kind == 'B' ? "i32" : d->wrap;
  gpu_add(t, "#define MODE %d\n#define ACC %s\n#define S s_%s\n#define LD(p, i) ((ACC)ld_%s(p, i))\n", p->mode, acc, d->name, d->name);
  gpu_add(t, "#define ST(p, i, v) st_%s(p, i, (t_%s)(v))\n", d->name, d->name);
  gpu_raw(t, d->kind == 'B'      ? "#define MAC(a, b, c) ((c) | ((a) & (b)))\n#define PLUS(a, b) ((a) | (b))\n"
             : d->kind != 'F'    ? "#define MAC(a, b, c) ((a) * (b) + (c))\n#define PLUS(a, b) ((a) + (b))\n"
             : p->dtype == CHX_F64 ? "#define FUSED FMA_F64\n#define PLUS(a, b) ((a) + (b))\n"
                                 : "#define FUSED FMA_F32\n#define PLUS(a, b) ((a) + (b))\n");
  if (d->kind == 'F')
    gpu_raw(t, "#ifdef GPU_REFERENCE\n#define MAC(a, b, c) ((a) * (b) + (c))\n#else\n#define MAC(a, b, c) FUSED(a, b, c)\n#endif\n");
  gpu_raw(t, gpu_text_gemm);
}

static bool example(uint32_t i, void *of)
{
  spec *p = of;
  static const uint8_t floats[] = {CHX_F16, CHX_BF16, CHX_F32, CHX_F64};
  if (i >= 13 + 12) return false;
  if (i < 13) *p = (spec){MATMUL, (uint8_t)(CHX_BOOL + (int)i)};
  else *p = (spec){(uint8_t)(CONV + (i - 13) / 4), floats[(i - 13) % 4]};
  return true;
}

enum { GEMM, GATHER };
static const char *const functions[] = {"gemm", "gather", NULL};
const gpu_family gpu_gemm_family = {"gemm", sizeof(spec), write, example, functions};

/* ---- parameters: gemm.gpu's struct, with either tail -------------------------------------------------------------------- */

typedef struct params {
  int64_t a, b, y, bias, am, ak, bk, bn, ym, yn, bias_step;
  int32_t m, n, k, batches, splits, per, bias_by, a_k_fast, b_k_fast, nd;
  union {
    struct {
      int32_t dim[BATCH_AXES], pad;
      int64_t as[BATCH_AXES], bs[BATCH_AXES], ys[BATCH_AXES];
    } mat;
    struct {
      int32_t in[3], out[3], ker[3], stride[3], padding[3], dil[3], cg, kg, places, taps;
      int64_t xn, xc, xh[3], wk, wc, wr[3], yi, yk, yp[3];
    } conv;
  } u;
} params;

static uint32_t params_bytes(int mode)
{
  const params *p = NULL;
  return (uint32_t)(offsetof(params, u) + (mode == MATMUL ? sizeof p->u.mat : sizeof p->u.conv));
}

/* Whether the product's lengths fit what the kernel counts in; they are kept as 64 bits until then. */
static bool lengths(params *p, int64_t m, int64_t n, int64_t k, int64_t batches)
{
  p->m = (int32_t)m, p->n = (int32_t)n, p->k = (int32_t)k, p->batches = (int32_t)batches;
  return m <= INT32_MAX - 64 && n <= INT32_MAX - 64 && k <= INT32_MAX - 64 && batches <= INT32_MAX;
}

static chx_status product(const chx_call *c, const spec *s, params *p, const void *a, const void *b, const void *bias)
{
  gpu_device *g = gpu_of(c->dev);
  gpu_function *fn;
  void *y = c->out[0].data, *part = y;
  const int64_t tiles = ((int64_t)p->m + 63) / 64 * (((int64_t)p->n + 63) / 64) * p->batches;
  const uint64_t all = (uint64_t)p->m * (uint64_t)p->n * (uint64_t)p->batches;
  chx_status st = gpu_find(g, &gpu_gemm_family, s, GEMM, &fn);
  if (st || !all) return st;
  p->splits = 1;
  if (tiles < 128 && p->k >= 1024 && !g->reference) { /* by the size alone, so that every device sums in the same order */
    const int64_t most = p->k / 256, want = 256 / tiles;
    p->splits = (int32_t)(want < 1 ? 1 : want > most ? most : want);
  }
  p->per = (int32_t)((((int64_t)p->k + p->splits - 1) / p->splits + 15) / 16 * 16);
  if (!p->per) p->per = 16;
  if (p->splits > 1) {
    const uint64_t size = s->dtype == CHX_F64 || gpu_types[s->dtype].wrap[1] == '6' ? 8 : 4;
    if (!(part = g->host->scratch(g->host->ctx, c, all * (uint64_t)p->splits * size)))
      return gpu_fail(g, CHX_ENOMEM, "%s: no memory for the parts of a product", g->spec);
  }
  const uint64_t groups = (uint64_t)tiles * (uint64_t)p->splits;
  const gpu_arg value = {p, params_bytes(s->mode)};
  const gpu_arg args[] = {GPU_BUFFER(a), GPU_BUFFER(b), GPU_BUFFER(bias ? bias : a), GPU_BUFFER(y), GPU_BUFFER(part), value};
  st = gpu_launch_groups(c, fn, groups < g->max_groups ? groups : g->max_groups, args, 6);
  if (st || p->splits == 1) return st;
  if ((st = gpu_find(g, &gpu_gemm_family, s, GATHER, &fn))) return st;
  const gpu_arg rest[] = {GPU_BUFFER(bias ? bias : a), GPU_BUFFER(y), GPU_BUFFER(part), value};
  return gpu_launch(c, fn, all, rest, 4);
}

static const chx_tensor *optional(const chx_call *c, uint32_t i)
{
  return c->n_in > i && !(c->in[i].flags & CHX_T_ABSENT) ? &c->in[i] : NULL;
}

static void set_bias(params *p, const chx_tensor *bias, int by)
{
  if (!bias) return;
  p->bias = gpu_offset(bias);
  p->bias_step = bias->strides[0];
  p->bias_by = by;
}

static int64_t size_of(int64_t stride) { return stride < 0 ? -stride : stride; }

/* ---- matmul, linear --------------------------------------------------------------------------------------------------------- */

static bool describe_matmul(const chx_call *c, params *p)
{
  const chx_tensor *a = &c->in[0], *b = &c->in[1], *y = &c->out[0];
  const int n = y->ndim - 2;
  int64_t batches = 1;
  memset(p, 0, sizeof *p);
  for (int d = 0; d < n; d++) {
    batches *= y->shape[d];
    if (y->shape[d] > INT32_MAX) return false;
    p->u.mat.dim[n - 1 - d] = (int32_t)y->shape[d];
    p->u.mat.as[n - 1 - d] = a->strides[d];
    p->u.mat.bs[n - 1 - d] = b->strides[d];
    p->u.mat.ys[n - 1 - d] = y->strides[d];
  }
  p->nd = n;
  p->a = gpu_offset(a), p->b = gpu_offset(b), p->y = gpu_offset(y);
  p->am = a->strides[n], p->ak = a->strides[n + 1];
  p->bk = b->strides[n], p->bn = b->strides[n + 1];
  p->ym = y->strides[n], p->yn = y->strides[n + 1];
  p->a_k_fast = size_of(p->ak) <= size_of(p->am), p->b_k_fast = size_of(p->bk) < size_of(p->bn);
  return lengths(p, y->shape[n], y->shape[n + 1], a->shape[n + 1], batches);
}

static chx_status matmul(void *self, const chx_call *c)
{
  params p;
  const spec s = {MATMUL, (uint8_t)gpu_dtype(&c->out[0])};
  (void)self;
  if (!describe_matmul(c, &p)) return CHX_DECLINED;
  return product(c, &s, &p, c->in[0].data, c->in[1].data, NULL);
}

static bool describe_linear(const chx_call *c, params *p)
{
  const chx_tensor *x = &c->in[0], *w = &c->in[1], *y = &c->out[0];
  memset(p, 0, sizeof *p);
  p->a = gpu_offset(x), p->b = gpu_offset(w), p->y = gpu_offset(y);
  p->am = x->strides[0], p->ak = x->strides[1];
  p->bk = w->strides[1], p->bn = w->strides[0];
  p->ym = y->strides[0], p->yn = y->strides[1];
  p->a_k_fast = size_of(p->ak) <= size_of(p->am), p->b_k_fast = size_of(p->bk) < size_of(p->bn);
  set_bias(p, optional(c, 2), 1);
  return lengths(p, y->shape[0], y->shape[1], x->shape[1], 1);
}

static chx_status linear(void *self, const chx_call *c)
{
  params p;
  const spec s = {MATMUL, (uint8_t)gpu_dtype(&c->out[0])};
  const chx_tensor *bias = optional(c, 2);
  (void)self;
  if (!describe_linear(c, &p)) return CHX_DECLINED;
  return product(c, &s, &p, c->in[0].data, c->in[1].data, bias ? bias->data : NULL);
}

/* ---- convolutions -------------------------------------------------------------------------------------------------------------- */

/* Lengths and strides of a tensor's spatial axes, as three: missing ones are in front, of length 1. */
static void spatial(const chx_tensor *t, int first, int n, int32_t len[3], int64_t step[3])
{
  for (int d = 0; d < 3; d++) {
    const int k = d - (3 - n);
    len[d] = k < 0 ? 1 : (int32_t)t->shape[first + k];
    step[d] = k < 0 ? 0 : t->strides[first + k];
  }
}

static void windows(const chx_ints *list, int n, int32_t v[3], int32_t missing)
{
  for (int d = 0; d < 3; d++) v[d] = d < 3 - n ? missing : (int32_t)list->v[d - (3 - n)];
}

static bool describe_conv(const chx_call *c, int mode, params *p)
{
  const chx_conv_attr *attr = c->attr;
  const chx_tensor *x = mode == GRAD_INPUT ? &c->out[0] : &c->in[0], *w = mode == GRAD_WEIGHT ? &c->out[0] : &c->in[1];
  const chx_tensor *y = mode == CONV ? &c->out[0] : mode == GRAD_INPUT ? &c->in[0] : &c->in[1];
  const int last = attr->layout == CHX_CHANNELS_LAST, n = x->ndim - 2, channel = last ? n + 1 : 1, first = last ? 1 : 2;
  memset(p, 0, sizeof *p);
  if (n < 1 || n > 3) return false;
  for (int d = 0; d < x->ndim; d++)
    if (x->shape[d] > INT32_MAX || w->shape[d] > INT32_MAX || y->shape[d] > INT32_MAX) return false;
  spatial(x, first, n, p->u.conv.in, p->u.conv.xh);
  spatial(w, first, n, p->u.conv.ker, p->u.conv.wr);
  spatial(y, first, n, p->u.conv.out, p->u.conv.yp);
  windows(&attr->stride, n, p->u.conv.stride, 1);
  windows(&attr->pad, n, p->u.conv.padding, 0);
  windows(&attr->dilation, n, p->u.conv.dil, 1);
  p->u.conv.xn = x->strides[0], p->u.conv.xc = x->strides[channel];
  p->u.conv.wk = w->strides[0], p->u.conv.wc = w->strides[channel];
  p->u.conv.yi = y->strides[0], p->u.conv.yk = y->strides[channel];
  const int64_t images = x->shape[0], groups = attr->groups, cg = w->shape[channel], kg = w->shape[0] / groups;
  int64_t taps = 1, in = 1, out = 1;
  for (int d = 0; d < 3; d++) taps *= p->u.conv.ker[d], in *= p->u.conv.in[d], out *= p->u.conv.out[d];
  p->u.conv.cg = (int32_t)cg, p->u.conv.kg = (int32_t)kg, p->u.conv.taps = (int32_t)taps;
  p->u.conv.places = (int32_t)(mode == GRAD_INPUT ? in : out);
  const int64_t of_x = gpu_offset(x), of_w = gpu_offset(w), of_y = gpu_offset(y);
  p->y = gpu_offset(&c->out[0]);
  if (mode == CONV) {
    p->a = of_w, p->b = of_x, p->a_k_fast = 1, p->b_k_fast = last;
    set_bias(p, optional(c, 2), 2);
    return lengths(p, kg, images * out, cg * taps, groups);
  }
  if (mode == GRAD_INPUT) {
    p->a = of_w, p->b = of_y, p->a_k_fast = 0, p->b_k_fast = last;
    return lengths(p, cg, images * in, kg * taps, groups);
  }
  p->a = of_y, p->b = of_x, p->a_k_fast = !last, p->b_k_fast = !last;
  return lengths(p, kg, cg * taps, images * out, groups);
}

static chx_status conv(void *self, const chx_call *c)
{
  const int mode = *(const int *)self;
  params p;
  const spec s = {(uint8_t)mode, (uint8_t)gpu_dtype(&c->out[0])};
  const chx_tensor *bias = mode == CONV ? optional(c, 2) : NULL;
  if (!describe_conv(c, mode, &p)) return CHX_DECLINED;
  return product(c, &s, &p, c->in[1].data, c->in[0].data, bias ? bias->data : NULL); /* in[0] is B in every mode */
}

static const int modes[] = {MATMUL, CONV, GRAD_INPUT, GRAD_WEIGHT};
#define KERNEL(name, dtypes, which, runs, ranks)                                                                       \
  {.size = sizeof(chx_kernel), .min_version = 1, .max_version = 1, .max_rank = ranks, .op = name, .dtypes_in = dtypes,         \
   .dtypes_out = dtypes, .attr_size = which == MATMUL ? 0 : sizeof(chx_conv_attr), .flags = CHX_K_CAPTURABLE, .run = runs, \
   .self = (void *)(uintptr_t)&modes[which]}
const chx_kernel gpu_gemm_kernels[] = {
  KERNEL("matmul", CHX_ANY_REAL, MATMUL, matmul, CHX_MAX_RANK),
  KERNEL("linear", CHX_FLOATS, MATMUL, linear, 2),
  KERNEL("conv", CHX_FLOATS, CONV, conv, 5),
  KERNEL("conv_grad_input", CHX_FLOATS, GRAD_INPUT, conv, 5),
  KERNEL("conv_grad_weight", CHX_FLOATS, GRAD_WEIGHT, conv, 5),
  {0}};
