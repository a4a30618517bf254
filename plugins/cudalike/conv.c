/* SPDX-License-Identifier: MIT
 * conv.c: conv, conv_grad_input and conv_grad_weight as cuDNN and MIOpen see them.
 */
#include "drv.h"

drv_conv_sides drv_conv_sides_of(int mode, const chx_call *c)
{
  drv_conv_sides s;
  s.x = mode == DRV_CONV_GRAD_INPUT ? &c->out[0] : &c->in[0];
  s.w = mode == DRV_CONV_GRAD_WEIGHT ? &c->out[0] : &c->in[1];
  s.y = mode == DRV_CONV ? &c->out[0] : mode == DRV_CONV_GRAD_INPUT ? &c->in[0] : &c->in[1];
  s.bias = mode == DRV_CONV && c->n_in > 2 && !(c->in[2].flags & CHX_T_ABSENT) ? &c->in[2] : NULL;
  return s;
}

/* Whether t has elements, as many as an int can count, and steps forward only. */
static bool plain(const chx_tensor *t)
{
  int64_t reach = 1;
  for (int d = 0; d < t->ndim; d++) {
    if (t->shape[d] < 1 || t->shape[d] > INT32_MAX || (t->shape[d] > 1 && t->strides[d] < 1)) return false;
    if (t->shape[d] > 1) reach += (t->shape[d] - 1) * t->strides[d];
  }
  return reach <= INT32_MAX;
}

/* What lies in the order of its axes: an axis of length 1 has the step that it would have if it were longer, by which a
 * library tells the order. */
static void dense_steps(const drv_images *p, bool last, int step[DRV_IMAGE_AXES])
{
  int next = 1;
  if (last) step[1] = 1, next = p->dim[1];
  for (int d = p->n; d-- > 2; next *= p->dim[d]) step[d] = next;
  if (!last) step[1] = next, next *= p->dim[1];
  step[0] = next;
}

bool drv_images_of(const chx_tensor *t, bool last, drv_images *p)
{
  if (t->ndim < 3 || t->ndim > DRV_IMAGE_AXES || !plain(t)) return false;
  const int extra = t->ndim < 4;
  p->n = t->ndim + extra;
  for (int d = 0; d < t->ndim; d++) {
    const int from = d == 0 ? 0 : d == 1 ? (last ? t->ndim - 1 : 1) : d - last, to = d < 2 ? d : d + extra;
    p->dim[to] = (int)t->shape[from];
    p->step[to] = t->strides[from] > 0 ? (int)t->strides[from] : 1;
  }
  if (extra) p->dim[2] = 1, p->step[2] = p->dim[3] * p->step[3];
  p->dense = t->flags & CHX_T_CONTIGUOUS;
  if (p->dense) dense_steps(p, last, p->step);
  return true;
}

void drv_windows(const chx_ints *list, int spatial, int missing, int v[DRV_SPATIAL])
{
  const int extra = spatial < 2;
  v[0] = missing;
  for (int d = 0; d < spatial; d++) v[d + extra] = (int)list->v[d];
}

bool drv_conv_of(int mode, const chx_call *c, drv_conv *p)
{
  const chx_conv_attr *attr = c->attr;
  const drv_conv_sides s = drv_conv_sides_of(mode, c);
  const int spatial = s.x->ndim - 2;
  p->last = attr->layout == CHX_CHANNELS_LAST;
  if (!drv_images_of(s.x, p->last, &p->x) || !drv_images_of(s.w, p->last, &p->w) || !drv_images_of(s.y, p->last, &p->y))
    return false;
  p->spatial = p->x.n - 2;
  p->groups = (int)attr->groups;
  drv_windows(&attr->pad, spatial, 0, p->pad);
  drv_windows(&attr->stride, spatial, 1, p->stride);
  drv_windows(&attr->dilation, spatial, 1, p->dilation);
  p->bias = s.bias ? (int)s.bias->shape[0] : 0;
  p->bias_step = p->bias > 1 ? (int)s.bias->strides[0] : 1;
  return p->w.dense && (!s.bias || plain(s.bias));
}
