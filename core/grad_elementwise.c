/* SPDX-License-Identifier: MIT
 * grad_elementwise.c: the gradients of elementwise operators, by public operators, so that each has a gradient itself.
 *
 * g is the output's gradient; x and y are the operands, v the output. At kinks: relu and abs have 0, maximum and
 * minimum give each of two equal operands half, clip passes its bounds. What op_elementwise.c declares is
 * defined here; a row that lacks its function does not link.
 */
#include "opfile.h"
#include <math.h>

#define GRAD(name) \
  void chxi_grad_##name(chx_scope *s, const chx_node *n, chx_array **gx); \
  void chxi_grad_##name(chx_scope *s, const chx_node *n, chx_array **gx)
#define G (n->gy[0])
#define X (n->x[0])
#define Y (n->x[1])
#define V (n->y[0])

static chx_array *one_minus(chx_scope *s, const chx_array *a) { return chx_sub(s, chx_int(s, 1), a); }

/* ---- one operand ------------------------------------------------------------------------------------------------------------ */

GRAD(neg) { gx[0] = chx_neg(s, G); }
GRAD(abs) { gx[0] = chx_mul(s, G, chx_sign(s, X)); }
GRAD(square) { gx[0] = chx_mul(s, G, chxi_times(s, X, 2)); }
GRAD(sqrt) { gx[0] = chx_div(s, G, chxi_times(s, V, 2)); }
GRAD(rsqrt) { gx[0] = chx_mul(s, chxi_times(s, G, -0.5), chx_mul(s, V, chx_square(s, V))); }
GRAD(reciprocal) { gx[0] = chx_mul(s, chx_neg(s, G), chx_square(s, V)); }
GRAD(exp) { gx[0] = chx_mul(s, G, V); }
GRAD(exp2) { gx[0] = chx_mul(s, G, chxi_times(s, V, M_LN2)); }
GRAD(expm1) { gx[0] = chx_mul(s, G, chxi_plus(s, V, 1)); }
GRAD(log) { gx[0] = chx_div(s, G, X); }
GRAD(log2) { gx[0] = chx_div(s, G, chxi_times(s, X, M_LN2)); }
GRAD(log10) { gx[0] = chx_div(s, G, chxi_times(s, X, M_LN10)); }
GRAD(log1p) { gx[0] = chx_div(s, G, chxi_plus(s, X, 1)); }
GRAD(sin) { gx[0] = chx_mul(s, G, chx_cos(s, X)); }
GRAD(cos) { gx[0] = chx_mul(s, chx_neg(s, G), chx_sin(s, X)); }
GRAD(tan) { gx[0] = chx_mul(s, G, chxi_plus(s, chx_square(s, V), 1)); }
GRAD(asin) { gx[0] = chx_mul(s, G, chx_rsqrt(s, one_minus(s, chx_square(s, X)))); }
GRAD(acos) { gx[0] = chx_mul(s, chx_neg(s, G), chx_rsqrt(s, one_minus(s, chx_square(s, X)))); }
GRAD(atan) { gx[0] = chx_div(s, G, chxi_plus(s, chx_square(s, X), 1)); }
GRAD(sinh) { gx[0] = chx_mul(s, G, chx_cosh(s, X)); }
GRAD(cosh) { gx[0] = chx_mul(s, G, chx_sinh(s, X)); }
GRAD(tanh) { gx[0] = chx_mul(s, G, one_minus(s, chx_square(s, V))); }
GRAD(asinh) { gx[0] = chx_mul(s, G, chx_rsqrt(s, chxi_plus(s, chx_square(s, X), 1))); }
GRAD(acosh) { gx[0] = chx_mul(s, G, chx_rsqrt(s, chx_mul(s, chxi_plus(s, X, -1), chxi_plus(s, X, 1)))); }
GRAD(atanh) { gx[0] = chx_div(s, G, one_minus(s, chx_square(s, X))); }
GRAD(erf) { gx[0] = chx_mul(s, chxi_times(s, G, M_2_SQRTPI), chx_exp(s, chx_neg(s, chx_square(s, X)))); }
GRAD(sigmoid) { gx[0] = chx_mul(s, G, chx_mul(s, V, one_minus(s, V))); }
GRAD(softplus) { gx[0] = chx_mul(s, G, chx_sigmoid(s, X)); }
GRAD(relu) { gx[0] = chx_relu_grad(s, V, G); }

/* ---- two operands --------------------------------------------------------------------------------------------------------- */

GRAD(add)
{
  (void)s;
  gx[0] = gx[1] = G;
}

GRAD(sub)
{
  gx[0] = G;
  if (n->need[1]) gx[1] = chx_neg(s, G);
}

GRAD(mul)
{
  if (n->need[0]) gx[0] = chx_mul(s, G, Y);
  if (n->need[1]) gx[1] = chx_mul(s, G, X);
}

GRAD(div)
{
  chx_array *q = chx_div(s, G, Y);
  gx[0] = q;
  if (n->need[1]) gx[1] = chx_neg(s, chx_mul(s, q, chx_div(s, X, Y)));
}

GRAD(remainder)
{
  gx[0] = G;
  if (n->need[1]) gx[1] = chx_neg(s, chx_mul(s, G, chx_floor_divide(s, X, Y)));
}

GRAD(fmod)
{
  gx[0] = G;
  if (n->need[1]) gx[1] = chx_neg(s, chx_mul(s, G, chx_rint(s, chx_div(s, chx_sub(s, X, chx_fmod(s, X, Y)), Y))));
}

/* y x^(y-1), which is 0 for x = y = 0, and x^y log(x), which is taken as 0 for x <= 0. */
GRAD(pow)
{
  if (n->need[0]) {
    if (!Y->buf) { /* a scalar exponent: most often 2, 3, 0.5 */
      double e = chxi_load_f64(Y->t.imm, Y->dtype);
      chx_array *slope = e == 2 ? (chx_array *)X : chx_pow(s, X, chx_real(s, e - 1));
      gx[0] = e == 0 ? chxi_times(s, G, 0) : chx_mul(s, G, chxi_times(s, slope, e));
    } else {
      chx_array *both = chx_logical_and(s, chx_equal(s, X, chx_int(s, 0)), chx_equal(s, Y, chx_int(s, 0)));
      chx_array *base = chx_where(s, both, chx_int(s, 1), X);
      gx[0] = chx_mul(s, G, chx_mul(s, Y, chx_pow(s, base, chxi_plus(s, Y, -1))));
    }
  }
  if (n->need[1]) {
    chx_array *base = chx_where(s, chx_greater(s, X, chx_int(s, 0)), X, chx_int(s, 1));
    gx[1] = chx_mul(s, G, chx_mul(s, V, chx_log(s, base)));
  }
}

/* g where an operand is chosen, half of it where both are equal. */
static chx_array *chosen(chx_scope *s, const chx_array *g, const chx_array *wins, const chx_array *ties)
{
  return chx_where(s, wins, g, chxi_or_zero(s, ties, chxi_times(s, g, 0.5)));
}

GRAD(maximum)
{
  chx_array *ties = chx_equal(s, X, Y);
  if (n->need[0]) gx[0] = chosen(s, G, chx_greater(s, X, Y), ties);
  if (n->need[1]) gx[1] = chosen(s, G, chx_less(s, X, Y), ties);
}

GRAD(minimum)
{
  chx_array *ties = chx_equal(s, X, Y);
  if (n->need[0]) gx[0] = chosen(s, G, chx_less(s, X, Y), ties);
  if (n->need[1]) gx[1] = chosen(s, G, chx_greater(s, X, Y), ties);
}

/* As above, with a NaN never chosen unless both are. */
GRAD(fmax)
{
  chx_array *ties = chx_equal(s, X, Y), *first = chx_logical_or(s, chx_greater(s, X, Y), chx_isnan(s, Y));
  if (n->need[0]) gx[0] = chosen(s, G, first, ties);
  if (n->need[1]) gx[1] = chosen(s, G, chx_logical_not(s, chx_logical_or(s, first, ties)), ties);
}

GRAD(fmin)
{
  chx_array *ties = chx_equal(s, X, Y), *first = chx_logical_or(s, chx_less(s, X, Y), chx_isnan(s, Y));
  if (n->need[0]) gx[0] = chosen(s, G, first, ties);
  if (n->need[1]) gx[1] = chosen(s, G, chx_logical_not(s, chx_logical_or(s, first, ties)), ties);
}

GRAD(atan2)
{
  chx_array *q = chx_div(s, G, chx_add(s, chx_square(s, X), chx_square(s, Y)));
  if (n->need[0]) gx[0] = chx_mul(s, q, Y);
  if (n->need[1]) gx[1] = chx_neg(s, chx_mul(s, q, X));
}

GRAD(hypot)
{
  if (n->need[0]) gx[0] = chx_mul(s, G, chx_div(s, X, V));
  if (n->need[1]) gx[1] = chx_mul(s, G, chx_div(s, Y, V));
}

GRAD(logaddexp)
{
  if (n->need[0]) gx[0] = chx_mul(s, G, chx_sigmoid(s, chx_sub(s, X, Y)));
  if (n->need[1]) gx[1] = chx_mul(s, G, chx_sigmoid(s, chx_sub(s, Y, X)));
}

/* |x| with a sign that is constant. */
GRAD(copysign)
{
  gx[0] = chx_mul(s, G, chx_mul(s, chx_sign(s, X), chx_copysign(s, chx_ones_like(s, Y), Y)));
}

/* y passes where x > 0; in x it is constant. */
GRAD(relu_grad)
{
  gx[1] = chx_relu_grad(s, X, G);
}

/* ---- three operands ------------------------------------------------------------------------------------------------------- */

GRAD(where)
{
  if (n->need[1]) gx[1] = chxi_or_zero(s, X, G);
  if (n->need[2]) gx[2] = chx_where(s, X, chx_int(s, 0), G);
}

/* min(max(x, low), high): an element passes to x inside the bounds, both included, else to the bound that it is. */
GRAD(clip)
{
  const chx_array *low = n->x[1], *high = n->x[2];
  if (n->need[0])
    gx[0] = chxi_or_zero(s, chx_logical_and(s, chx_greater_equal(s, X, low), chx_less_equal(s, X, high)), G);
  if (n->need[1]) gx[1] = chxi_or_zero(s, chx_logical_and(s, chx_less(s, X, low), chx_less_equal(s, low, high)), G);
  if (n->need[2]) gx[2] = chxi_or_zero(s, chx_greater(s, chx_maximum(s, X, low), high), G);
}
