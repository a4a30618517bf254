/* SPDX-License-Identifier: MIT
 * layers.c: links with weights: linear and convolution.
 */
#include "internal.h"

chx_link_options chxi_nn_options(const chx_link_options *o)
{
  static const chx_nn_init none;
  chx_link_options r = {0};

  if (o) memcpy(&r, o, o->size && o->size < sizeof r ? o->size : sizeof r);
  r.size = sizeof r;
  if (!r.dtype) r.dtype = CHX_F32;
  if (!r.n_batch_axes) r.n_batch_axes = 1;
  if (!r.init_w) r.init_w = &none; /* chx_link_add_param takes its default for it */
  return r;
}

static chx_status add_bias(chx_scope *s, chx_link *l, const chx_link_options *o, int64_t size)
{
  chx_nn_init zero = chx_nn_init_constant(0);

  if (o->nobias) return CHX_OK;
  return chx_link_add_param(s, l, "b", o->dtype, 1, &size, o->init_b ? o->init_b : &zero);
}

/* Frees l if the scope is in error: constructors end by it. */
static chx_link *finished(chx_scope *s, chx_link *l)
{
  if (!chx_scope_error(s)) return l;
  chx_link_free(l);
  return NULL;
}

static chx_array *bias(const chx_link *l) { return l->n_params > 1 ? l->params[1]->a : NULL; }

/* ---- linear --------------------------------------------------------------------------------------------------------------- */

typedef struct linear {
  int64_t out;
  int n_batch_axes;
} linear;

/* x with all axes but the batch's made one. */
static const chx_array *flat(chx_scope *s, const chx_array *x, int n_batch, int64_t *in)
{
  int64_t shape[CHX_MAX_RANK];
  int n = chx_ndim(x);

  if (n <= n_batch) {
    chx_scope_fail(s, CHX_ESHAPE, "x has %d axes, want at least %d", n, n_batch + 1);
    return NULL;
  }
  *in = 1;
  for (int i = 0; i < n; i++)
    if (i < n_batch) shape[i] = chx_shape(x)[i];
    else *in *= chx_shape(x)[i];
  if (n == n_batch + 1) return x;
  shape[n_batch] = *in;
  return chx_reshape(s, x, n_batch + 1, shape);
}

static chx_array *linear_forward(chx_scope *s, chx_link *l, const chx_array *x)
{
  linear *d = chx_link_data(l);
  int64_t in;
  const chx_array *f = flat(s, x, d->n_batch_axes, &in);

  return f ? chx_linear(s, f, l->params[0]->a, bias(l)) : NULL;
}

static chx_status linear_init(chx_scope *s, chx_link *l, const chx_array *x)
{
  linear *d = chx_link_data(l);
  size_t mark = chx_scope_mark(s);
  int64_t in;

  if (flat(s, x, d->n_batch_axes, &in)) chx_link_init_param(s, l, "W", 2, (int64_t[]){d->out, in});
  chx_scope_rewind(s, mark, NULL);
  return chx_scope_error(s);
}

static const chx_link_class linear_class = {.size = sizeof linear_class,
                                            .name = "Linear",
                                            .data_size = sizeof(linear),
                                            .forward = linear_forward,
                                            .init = linear_init};

chx_link *chx_link_linear(chx_scope *s, int64_t in_size, int64_t out_size, const chx_link_options *options)
{
  chx_link_options o = chxi_nn_options(options);
  chx_link *l = chx_link_new(s, &linear_class);
  linear *d = chx_link_data(l);

  if (!l) return NULL;
  if (in_size < 0 || out_size < 1 || o.n_batch_axes < 1 || o.n_batch_axes >= CHX_MAX_RANK)
    chx_scope_fail(s, CHX_EARG,
                   "chx_link_linear: sizes are %lld and %lld with %d batch axes, want in >= 0, out >= 1 and 1 to %d",
                   (long long)in_size, (long long)out_size, o.n_batch_axes, CHX_MAX_RANK - 1);
  d->out = out_size;
  d->n_batch_axes = o.n_batch_axes;
  if (!chx_scope_error(s))
    chx_link_add_param(s, l, "W", o.dtype, 2, (int64_t[]){out_size, in_size ? in_size : -1}, o.init_w);
  if (!chx_scope_error(s)) add_bias(s, l, &o, out_size);
  return finished(s, l);
}

/* ---- convolution ------------------------------------------------------------------------------------------------------------ */

typedef struct conv {
  chx_conv_attr p;
  int64_t w[CHX_MAX_RANK]; /* W's shape but for in/groups, which is -1 while unknown */
  int n, channel;          /* spatial axes; W's axis of input channels */
  chx_nn_init init;
} conv;

static chx_array *conv_forward(chx_scope *s, chx_link *l, const chx_array *x)
{
  conv *d = chx_link_data(l);

  return chx_conv(s, x, l->params[0]->a, bias(l), &d->p);
}

static chx_status conv_init(chx_scope *s, chx_link *l, const chx_array *x)
{
  conv *d = chx_link_data(l);
  int64_t w[CHX_MAX_RANK], c;

  if (chx_ndim(x) != d->n + 2) return chx_scope_fail(s, CHX_ESHAPE, "x has %d axes, want %d", chx_ndim(x), d->n + 2);
  c = chx_shape(x)[d->p.layout == CHX_CHANNELS_LAST ? d->n + 1 : 1];
  if (c < 1 || c % d->p.groups)
    return chx_scope_fail(s, CHX_ESHAPE, "x has %lld channels, want a multiple of the %lld groups", (long long)c,
                          (long long)d->p.groups);
  memcpy(w, d->w, sizeof w);
  w[d->channel] = c / d->p.groups;
  return chx_link_init_param(s, l, "W", d->n + 2, w);
}

/* Channels last: made as channels first and turned, so that fans and values are those of the other layout. */
static chx_array *init_turned(chx_scope *s, const chx_nn_init *self, int dtype, int ndim, const int64_t *shape)
{
  const chx_nn_init *init = self->ctx;
  int64_t first[CHX_MAX_RANK];
  int axes[CHX_MAX_RANK];

  first[0] = shape[0];
  first[1] = shape[ndim - 1];
  axes[0] = 0;
  axes[ndim - 1] = 1;
  for (int i = 2; i < ndim; i++) {
    first[i] = shape[i - 1];
    axes[i - 1] = i;
  }
  return chx_contiguous(s, chx_transpose(s, init->fn(s, init, dtype, ndim, first), ndim, axes));
}

/* A turned initializer refers to the link's own. */
static chx_status conv_copy(chx_scope *s, chx_link *to, const chx_link *from)
{
  const conv *old = (const void *)from->data;
  conv *d = chx_link_data(to);

  (void)s;
  if (to->params[0]->init.ctx == &old->init) to->params[0]->init.ctx = &d->init;
  return CHX_OK;
}

static const chx_link_class conv_class = {.size = sizeof conv_class,
                                          .name = "Convolution",
                                          .data_size = sizeof(conv),
                                          .forward = conv_forward,
                                          .init = conv_init,
                                          .copy = conv_copy};

chx_link *chx_link_conv(chx_scope *s, int64_t in_channels, int64_t out_channels, int n, const int64_t *ksize,
                        const chx_conv_attr *p, const chx_link_options *options)
{
  chx_link_options o = chxi_nn_options(options);
  chx_link *l = chx_link_new(s, &conv_class);
  conv *d = chx_link_data(l);
  chx_nn_init turned = {.fn = init_turned};
  int64_t k_min = 1;

  if (!l) return NULL;
  d->p = CHX_ATTR(conv);
  if (p) memcpy(&d->p, p, p->size && p->size < sizeof *p ? p->size : sizeof *p);
  d->p.size = sizeof d->p;
  for (int i = 0; ksize && i < n && i < 3; i++) k_min = ksize[i] < k_min ? ksize[i] : k_min;
  if (n < 1 || n > 3 || !ksize || k_min < 1)
    chx_scope_fail(s, CHX_EARG, "chx_link_conv: %d spatial axes%s, want 1 to 3 with window lengths >= 1", n,
                   ksize ? "" : " without ksize");
  else if (d->p.groups < 1 || out_channels < 1 || out_channels % d->p.groups || in_channels < 0 ||
           in_channels % d->p.groups)
    chx_scope_fail(s, CHX_EARG, "chx_link_conv: channels are %lld and %lld, want multiples of the %lld groups",
                   (long long)in_channels, (long long)out_channels, (long long)d->p.groups);
  if (chx_scope_error(s)) return finished(s, l);
  d->n = n;
  d->channel = d->p.layout == CHX_CHANNELS_LAST ? n + 1 : 1;
  d->w[0] = out_channels;
  for (int i = 0; i < n; i++) d->w[d->channel == 1 ? 2 + i : 1 + i] = ksize[i];
  d->w[d->channel] = in_channels ? in_channels / d->p.groups : -1;
  d->init = o.init_w->fn ? *o.init_w : chx_nn_init_lecun_normal(1);
  turned.ctx = &d->init;
  chx_link_add_param(s, l, "W", o.dtype, n + 2, d->w, d->channel == 1 ? &d->init : &turned);
  if (!chx_scope_error(s)) add_bias(s, l, &o, out_channels);
  return finished(s, l);
}
