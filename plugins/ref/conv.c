/* SPDX-License-Identifier: MIT
 * conv.c: convolution and its gradients by the definition: for each image n, output channel k, input channel c of k's group, place p
 * of y and tap r of w, with h = p stride - pad + r dilation inside x:
 *
 *   y[n,k,p] += x[n,c,h] w[k,c,r]     gx[n,c,h] += gy[n,k,p] w[k,c,r]     gw[k,c,r] += gy[n,k,p] x[n,c,h]
 */
#include "ref.h"

enum { Y, GX, GW };

/* [first, channel, spatial...] as an index of a tensor with this layout. */
static void *at(const chx_tensor *t, int last, int64_t first, int64_t channel, const int64_t *spatial)
{
  int64_t i[CHX_MAX_RANK];
  int n = t->ndim - 2;
  i[0] = first;
  i[last ? n + 1 : 1] = channel;
  memcpy(i + (last ? 1 : 2), spatial, (size_t)n * sizeof *i);
  return ref_at(t, i);
}

static int next(int n, const int64_t *shape, int64_t *i)
{
  for (int k = n; k-- > 0; i[k] = 0)
    if (++i[k] < shape[k]) return 1;
  return 0;
}

#define BODY(type)                                                                                               \
  do {                                                                                                           \
    type *sum = what == Y ? at(y, last, n, k, p) : what == GX ? at(x, last, n, g * per + ch, h) : at(w, last, k, ch, r); \
    if (what != Y) *sum += *(type *)at(y, last, n, k, p) * (what == GX ? *(type *)at(w, last, k, ch, r) : *(type *)at(x, last, n, g * per + ch, h)); \
    else *sum += *(type *)at(x, last, n, g * per + ch, h) * *(type *)at(w, last, k, ch, r);                      \
  } while (0)

static void taps(int what, const chx_conv_attr *a, const chx_tensor *x, const chx_tensor *w, const chx_tensor *y,
                 int64_t n, int64_t k, const int64_t *p)
{
  int last = a->layout == CHX_CHANNELS_LAST, sp = x->ndim - 2, s0 = last ? 1 : 2;
  int64_t per = w->shape[last ? w->ndim - 1 : 1], g = k / (w->shape[0] / a->groups), r[3] = {0}, h[3];
  for (int64_t ch = 0; ch < per; ch++) do {
      int inside = 1;
      for (int d = 0; d < sp; d++) {
        h[d] = p[d] * a->stride.v[d] - a->pad.v[d] + r[d] * a->dilation.v[d];
        inside &= h[d] >= 0 && h[d] < x->shape[s0 + d];
      }
      if (!inside) continue;
      if (ref_dtype(y) == CHX_F32) BODY(float);
      else BODY(double);
    } while (next(sp, w->shape + s0, r));
}

static void zero(const chx_tensor *t)
{
  int64_t i[CHX_MAX_RANK] = {0};
  if (ref_count(t)) do memset(ref_at(t, i), 0, (size_t)ref_size(t)); while (ref_next(t, i));
}

static void add_bias(const chx_tensor *y, const chx_tensor *b, int channel)
{
  int64_t i[CHX_MAX_RANK] = {0};
  if (ref_count(y)) do {
      void *v = ref_at(y, i), *e = ref_at(b, &i[channel]);
      ref_store(ref_dtype(y), v,
                ref_dtype(y) == CHX_F32 ? (double)(*(float *)v + *(float *)e) : *(double *)v + *(double *)e);
    } while (ref_next(y, i));
}

static chx_status run(void *self, const chx_call *c)
{
  int what = *(const int *)self;
  const chx_conv_attr *a = c->attr;
  const chx_tensor *x = what == GX ? &c->out[0] : &c->in[0], *w = what == GW ? &c->out[0] : &c->in[1];
  const chx_tensor *y = what == Y ? &c->out[0] : what == GX ? &c->in[0] : &c->in[1];
  int last = a->layout == CHX_CHANNELS_LAST;
  int64_t p[3] = {0};
  zero(&c->out[0]);
  if (ref_count(y))
    for (int64_t n = 0; n < x->shape[0]; n++)
      for (int64_t k = 0; k < w->shape[0]; k++) do
          taps(what, a, x, w, y, n, k, p);
        while (next(y->ndim - 2, y->shape + (last ? 1 : 2), p));
  if (what == Y && c->n_in > 2 && !(c->in[2].flags & CHX_T_ABSENT)) add_bias(y, &c->in[2], last ? y->ndim - 1 : 1);
  return CHX_OK;
}

#define DTYPES (CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64))
#define KERNEL(name, which) {REF_KERNEL, .op = name, .attr_size = sizeof(chx_conv_attr), .dtypes_in = DTYPES, .dtypes_out = DTYPES, .run = run, .self = &(int){which}}
const chx_kernel ref_conv_kernels[] = {
    KERNEL("conv", Y), KERNEL("conv_grad_input", GX), KERNEL("conv_grad_weight", GW), {.op = NULL}};
