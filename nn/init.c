/* SPDX-License-Identifier: MIT
 * init.c: how parameters get their first values.
 */
#include "internal.h"
#include <math.h>

static void fans(int ndim, const int64_t *shape, double *in, double *out)
{
  double inner = 1;

  *in = *out = 1;
  if (ndim < 2) return;
  for (int i = 2; i < ndim; i++) inner *= (double)shape[i];
  *in = fmax(1, (double)shape[1] * inner);
  *out = fmax(1, (double)shape[0] * inner);
}

static chx_array *constant(chx_scope *s, const chx_nn_init *self, int dtype, int ndim, const int64_t *shape)
{
  return chx_full(s, dtype, ndim, shape, self->a);
}
chx_nn_init chx_nn_init_constant(double value) { return (chx_nn_init){.fn = constant, .a = value}; }

static chx_array *normal(chx_scope *s, const chx_nn_init *self, int dtype, int ndim, const int64_t *shape)
{
  return chx_normal(s, dtype, ndim, shape, 0, self->a);
}
chx_nn_init chx_nn_init_normal(double std) { return (chx_nn_init){.fn = normal, .a = std}; }

static chx_array *uniform(chx_scope *s, const chx_nn_init *self, int dtype, int ndim, const int64_t *shape)
{
  return chx_uniform(s, dtype, ndim, shape, -self->a, self->a);
}
chx_nn_init chx_nn_init_uniform(double scale) { return (chx_nn_init){.fn = uniform, .a = scale}; }

/* std a sqrt(b / fan_in) */
static chx_array *normal_fan_in(chx_scope *s, const chx_nn_init *self, int dtype, int ndim, const int64_t *shape)
{
  double in, out;

  fans(ndim, shape, &in, &out);
  return chx_normal(s, dtype, ndim, shape, 0, self->a * sqrt(self->b / in));
}
chx_nn_init chx_nn_init_lecun_normal(double scale) { return (chx_nn_init){.fn = normal_fan_in, .a = scale, .b = 1}; }
chx_nn_init chx_nn_init_he_normal(double scale) { return (chx_nn_init){.fn = normal_fan_in, .a = scale, .b = 2}; }

static chx_array *glorot_uniform(chx_scope *s, const chx_nn_init *self, int dtype, int ndim, const int64_t *shape)
{
  double in, out, r;

  fans(ndim, shape, &in, &out);
  r = self->a * sqrt(6 / (in + out));
  return chx_uniform(s, dtype, ndim, shape, -r, r);
}
chx_nn_init chx_nn_init_glorot_uniform(double scale) { return (chx_nn_init){.fn = glorot_uniform, .a = scale}; }
