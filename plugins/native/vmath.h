/* SPDX-License-Identifier: MIT
 * vmath.h: float functions without branches or tables, so that a loop over them vectorises at every level.
 *
 * The method is the usual one: the argument is split into an exponent and a small rest, and the rest goes through a
 * polynomial (ours, fitted for least maximal error). No fma, so all levels give the same bits. Errors are those
 * measured against double over the whole range; infinities, NaN and denormals come out as libm's do.
 *
 *   exp exp2 1 ulp   expm1 2   log 1   log1p 2   tanh 2   erf 3
 *
 * The rest is libm's, and so is all of double.
 */
#ifndef CHX_NATIVE_VMATH_H
#define CHX_NATIVE_VMATH_H
#include <math.h>
#include "half.h"

#define NAT_ROUNDER 0x1.8p23f /* added to a small float, it leaves the nearest integer in the low bits */
#define NAT_LN2_HI 0.693359375f
#define NAT_LN2_LO 2.12194440e-4f /* ln 2 = hi - lo; hi has few bits, so that its multiples are exact */

/* (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2 */
static inline float nat_exp_tail(float r)
{
  return ((((0.000199150309f * r + 0.00139420596f) * r + 0.00833327137f) * r + 0.0416663401f) * r + 0.166666672f) * r + 0.5f;
}

/* p * 2^k, in two steps, since 2^k alone may be out of range */
static inline float nat_scale(float p, uint32_t k)
{
  uint32_t half = (uint32_t)((int32_t)k >> 1);
  return p * nat_float((half + 127) << 23) * nat_float((k - half + 127) << 23);
}

static inline float nat_exp_f(float x)
{
  x = x > 89.0f ? 89.0f : x;
  x = x < -104.0f ? -104.0f : x;
  float z = x * 1.44269504f + NAT_ROUNDER, n = z - NAT_ROUNDER;
  float r = x - n * NAT_LN2_HI + n * NAT_LN2_LO;
  return nat_scale(1.0f + (r + r * r * nat_exp_tail(r)), nat_bits(z) - nat_bits(NAT_ROUNDER));
}

static inline float nat_exp2_f(float x)
{
  x = x > 129.0f ? 129.0f : x;
  x = x < -151.0f ? -151.0f : x;
  float z = x + NAT_ROUNDER, n = z - NAT_ROUNDER, r = (x - n) * 0.693147181f;
  return nat_scale(1.0f + (r + r * r * nat_exp_tail(r)), nat_bits(z) - nat_bits(NAT_ROUNDER));
}

static inline float nat_expm1_f(float x)
{
  const float x0 = x;
  x = x > 89.0f ? 89.0f : x;
  x = x < -20.0f ? -20.0f : x;
  float z = x * 1.44269504f + NAT_ROUNDER, n = z - NAT_ROUNDER;
  float r = x - n * NAT_LN2_HI + n * NAT_LN2_LO;
  float p = r + r * r * nat_exp_tail(r);
  float t = nat_float((nat_bits(z) - nat_bits(NAT_ROUNDER) + 126) << 23); /* half of 2^k, which may overflow */
  float y = 2.0f * (t * p + (t - 0.5f));
  return fabsf(x0) < 1e-8f ? x0 : y;
}

static inline float nat_log_f(float x)
{
  const uint32_t root = 0x3f3504f3u; /* sqrt(1/2): the rest m lies in [sqrt(1/2), sqrt(2)) */
  const int tiny = x < 0x1p-126f;
  uint32_t u = nat_bits(tiny ? x * 0x1p23f : x) - root;
  float e = (float)((int32_t)u >> 23) - (tiny ? 23.0f : 0.0f);
  float f = nat_float((u & 0x7fffffu) + root) - 1.0f, s = f * f;
  float q = ((((((-0.0785954595f * f + 0.128816217f) * f - 0.131287679f) * f + 0.141811967f) * f - 0.166245535f) * f
              + 0.200022861f) * f - 0.250008106f) * f + 0.333333164f;
  float y = f * s * q - e * NAT_LN2_LO;
  y = f + (y - 0.5f * s) + e * NAT_LN2_HI;
  y = x < INFINITY ? y : x; /* infinity and NaN */
  y = x == 0.0f ? -INFINITY : y;
  return x < 0.0f ? NAN : y;
}

/* log(u) and what the rounding of u = 1 + x lost */
static inline float nat_log1p_f(float x)
{
  float u = 1.0f + x, v = u - 1.0f, lost = ((1.0f - (u - v)) + (x - v)) / u;
  float y = nat_log_f(u) + (lost == lost ? lost : 0.0f); /* NaN where u is 0 or infinite */
  return fabsf(x) < 0x1p-25f ? x : y;
}

static inline float nat_tanh_f(float x)
{
  float a = fabsf(x), s = x * x;
  float small = a + a * s * ((((-0.00571703678f * s + 0.0206505787f) * s - 0.0537434965f) * s + 0.133314908f) * s - 0.333332837f);
  float large = 1.0f - 2.0f / (nat_exp_f(2.0f * a) + 1.0f);
  return copysignf(a < 0.625f ? small : large, x);
}

/* Up to 1 an odd polynomial; beyond, 1 - e^p with p = log(erfc). */
static inline float nat_erf_f(float x)
{
  float a = fabsf(x), s = x * x, t = a > 4.1f ? 4.1f : a;
  float small = ((((((7.8891193e-05f * s - 0.000802084105f) * s + 0.00518953521f) * s - 0.0268544443f) * s + 0.112836003f) * s
                  - 0.37612626f) * s + 1.12837911f) * a;
  float p = ((((((-2.16868411e-05f * t + 0.000441336277f) * t - 0.004204561f) * t + 0.0252082553f) * t - 0.108418576f) * t
              - 0.633219898f) * t - 1.12957847f) * t + 0.000188039689f;
  float large = 1.0f - nat_exp_f(p);
  return copysignf(a < 1.0f ? small : large, x);
}

/* The names that the formulas of elementwise.def use. CHX_MATH is f or d. */
#define NAT_LIBM(name) \
  static inline float nat_##name##_f(float x) { return name##f(x); } \
  static inline double nat_##name##_d(double x) { return name(x); }
#define NAT_LIBM_D(name) static inline double nat_##name##_d(double x) { return name(x); }
#define NAT_LIBM2(name) \
  static inline float nat_##name##_f(float x, float y) { return name##f(x, y); } \
  static inline double nat_##name##_d(double x, double y) { return name(x, y); }
NAT_LIBM(sqrt) NAT_LIBM(fabs) NAT_LIBM(floor) NAT_LIBM(ceil) NAT_LIBM(trunc) NAT_LIBM(rint)
NAT_LIBM(log2) NAT_LIBM(log10) NAT_LIBM(sin) NAT_LIBM(cos) NAT_LIBM(tan) NAT_LIBM(asin) NAT_LIBM(acos) NAT_LIBM(atan)
NAT_LIBM(sinh) NAT_LIBM(cosh) NAT_LIBM(asinh) NAT_LIBM(acosh) NAT_LIBM(atanh)
NAT_LIBM_D(exp) NAT_LIBM_D(exp2) NAT_LIBM_D(expm1) NAT_LIBM_D(log) NAT_LIBM_D(log1p) NAT_LIBM_D(tanh) NAT_LIBM_D(erf)
NAT_LIBM2(fmod) NAT_LIBM2(pow) NAT_LIBM2(atan2) NAT_LIBM2(hypot) NAT_LIBM2(copysign)

#endif
