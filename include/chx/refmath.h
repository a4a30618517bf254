/* SPDX-License-Identifier: MIT
 * refmath.h: the functions of elementwise.def's formulas for the reference mode (CHX_REFERENCE=1), in which every backend gives the
 * same bits: made of + - * / sqrt, comparisons and bits of f64 alone, each of which IEEE 754 rounds in one way. In the dialect that
 * C, CUDA, HIP and OpenCL C share; compile it without contraction and without fast maths.
 *
 * Who includes it has formula.h's CHX_FN and CHX_WORD, CHX_ON_DEVICE in code for a GPU, and, where the defaults do not fit,
 *   CHX_F64_BITS(x), CHX_BITS_F64(u)   a double's bits as a CHX_WORD, and back
 * f32 goes through f64, so its results are rounded once more and nearly always correctly. In f64 the error is a few ulp; of sin, cos and
 * tan that holds for |x| < 1e6, beyond which it grows with |x|; of pow for results of moderate size (it grows with |y log x|).
 *
 * Sources: argument reductions by Cody and Waite; series of exp, atanh (for log), sin, cos, atan; Kahan's expm1 and log1p;
 * Abramowitz and Stegun 7.1.6 and 7.1.14 for erf. The formulas are textbook, the code is ours.
 */
#ifndef CHX_REFMATH_H
#define CHX_REFMATH_H

#ifndef CHX_ON_DEVICE /* a GPU's compiler has these functions without a header */
#include <math.h>
#endif
#ifndef CHX_FN
#define CHX_FN static inline
#endif
#ifndef CHX_WORD
#define CHX_WORD unsigned long long
#endif
#ifndef CHX_F64_BITS
CHX_FN CHX_WORD chx_f64_bits(double x)
{
  union { double f; CHX_WORD u; } v;
  v.f = x;
  return v.u;
}
CHX_FN double chx_bits_f64(CHX_WORD u)
{
  union { double f; CHX_WORD u; } v;
  v.u = u;
  return v.f;
}
#define CHX_F64_BITS(x) chx_f64_bits(x)
#define CHX_BITS_F64(u) chx_bits_f64(u)
#endif
/* What IEEE 754 defines to the last bit, under names that refnames.h does not change. */
CHX_FN double chx_ref_sqrt(double x) { return sqrt(x); }
CHX_FN double chx_ref_floor(double x) { return floor(x); }
CHX_FN double chx_ref_ceil(double x) { return ceil(x); }
CHX_FN double chx_ref_trunc(double x) { return trunc(x); }
CHX_FN double chx_ref_rint(double x) { return rint(x); }
CHX_FN double chx_ref_fmod(double x, double y) { return fmod(x, y); }
#define CHX_REF_INF CHX_BITS_F64((CHX_WORD)0x7ff << 52)
#define CHX_REF_NAN CHX_BITS_F64((CHX_WORD)0xfff << 51)
#define CHX_REF_HALF_PI 1.5707963267948966

CHX_FN double chx_ref_abs(double x) { return CHX_BITS_F64(CHX_F64_BITS(x) & ~((CHX_WORD)1 << 63)); }
CHX_FN double chx_ref_sign(double x, double of)
{
  return CHX_BITS_F64((CHX_F64_BITS(x) & ~((CHX_WORD)1 << 63)) | (CHX_F64_BITS(of) & ((CHX_WORD)1 << 63)));
}
/* To the nearest integer, ties to even, |x| < 2^51. */
CHX_FN double chx_ref_near(double x) { return (x + 6755399441055744.0) - 6755399441055744.0; }
/* 2^k, -1022 <= k <= 1023 */
CHX_FN double chx_ref_two_to(int k) { return CHX_BITS_F64((CHX_WORD)(k + 1023) << 52); }
/* x 2^k, -2100 < k < 2100, rounded at the end. */
CHX_FN double chx_ref_scale(double x, int k)
{
  const int k2 = k / 2, k4 = k2 / 2;
  return x * chx_ref_two_to(k4) * chx_ref_two_to(k2) * chx_ref_two_to(k - k2 - k4);
}

/* e^r for |r| <= 0.35 */
CHX_FN double chx_ref_exp_core(double r)
{
  double s = 1.0 / 6227020800.0;
  s = s * r + 1.0 / 479001600.0;
  s = s * r + 1.0 / 39916800.0;
  s = s * r + 1.0 / 3628800.0;
  s = s * r + 1.0 / 362880.0;
  s = s * r + 1.0 / 40320.0;
  s = s * r + 1.0 / 5040.0;
  s = s * r + 1.0 / 720.0;
  s = s * r + 1.0 / 120.0;
  s = s * r + 1.0 / 24.0;
  s = s * r + 1.0 / 6.0;
  s = s * r + 0.5;
  return 1.0 + (r + r * r * s);
}

CHX_FN double chx_ref_exp(double x)
{
  if (x != x) return x;
  if (x > 709.79) return CHX_REF_INF;
  if (x < -745.2) return 0.0;
  const double k = chx_ref_near(x * 1.4426950408889634);
  return chx_ref_scale(chx_ref_exp_core((x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10), (int)k);
}

CHX_FN double chx_ref_exp2(double x)
{
  if (x != x) return x;
  if (x >= 1024.0) return CHX_REF_INF;
  if (x < -1075.5) return 0.0;
  const double k = chx_ref_near(x);
  return chx_ref_scale(chx_ref_exp_core((x - k) * 0.69314718055994531), (int)k);
}

/* x = m 2^*e, sqrt(1/2) <= m < sqrt(2), for finite x > 0; returns log(m). */
CHX_FN double chx_ref_log_parts(double x, double *e)
{
  double k = 0.0;
  if (x < 2.2250738585072014e-308) {
    x *= 18014398509481984.0;
    k = -54.0;
  }
  const CHX_WORD u = CHX_F64_BITS(x);
  k += (double)((int)(u >> 52) - 1023);
  double m = CHX_BITS_F64((u & (((CHX_WORD)1 << 52) - 1)) | ((CHX_WORD)1023 << 52));
  if (m > 1.4142135623730951) {
    m *= 0.5;
    k += 1.0;
  }
  const double s = (m - 1.0) / (m + 1.0), z = s * s;
  double p = 1.0 / 25.0;
  p = p * z + 1.0 / 23.0;
  p = p * z + 1.0 / 21.0;
  p = p * z + 1.0 / 19.0;
  p = p * z + 1.0 / 17.0;
  p = p * z + 1.0 / 15.0;
  p = p * z + 1.0 / 13.0;
  p = p * z + 1.0 / 11.0;
  p = p * z + 1.0 / 9.0;
  p = p * z + 1.0 / 7.0;
  p = p * z + 1.0 / 5.0;
  p = p * z + 1.0 / 3.0;
  *e = k;
  return 2.0 * s + 2.0 * s * z * p;
}

/* What log gives where it is not a number's logarithm; 0: it is one. */
CHX_FN int chx_ref_log_special(double x, double *y)
{
  if (x != x || x == CHX_REF_INF) *y = x;
  else if (x < 0.0) *y = CHX_REF_NAN;
  else if (x == 0.0) *y = -CHX_REF_INF;
  else return 0;
  return 1;
}

CHX_FN double chx_ref_log(double x)
{
  double e, y;
  if (chx_ref_log_special(x, &y)) return y;
  y = chx_ref_log_parts(x, &e);
  return e * 0.693147180369123816490 + (y + e * 1.90821492927058770002e-10);
}

CHX_FN double chx_ref_log2(double x)
{
  double e, y;
  if (chx_ref_log_special(x, &y)) return y;
  y = chx_ref_log_parts(x, &e);
  return e + y * 1.4426950408889634;
}

CHX_FN double chx_ref_log10(double x) { return chx_ref_log(x) * 0.43429448190325183; }

CHX_FN double chx_ref_log1p(double x)
{
  const double u = 1.0 + x;
  if (u == 1.0) return x;
  return x == CHX_REF_INF || x <= -1.0 || x != x ? chx_ref_log(u) : chx_ref_log(u) * (x / (u - 1.0));
}

CHX_FN double chx_ref_expm1(double x)
{
  const double u = chx_ref_exp(x);
  if (u == 1.0) return x;
  if (u - 1.0 == -1.0) return -1.0;
  return u == CHX_REF_INF || x != x || x > 40.0 ? u - 1.0 : (u - 1.0) * (x / chx_ref_log(u));
}

/* x = *quadrant pi/2 + the result, |result| <= pi/4 and a little; for |x| < 2^50 */
CHX_FN double chx_ref_quarter(double x, int *quadrant)
{
  const double k = chx_ref_near(x * 0.63661977236758138), q = k - 4.0 * chx_ref_near(k * 0.25);
  *quadrant = (int)(q < 0.0 ? q + 4.0 : q);
  return (((x - k * 1.57079632673412561417) - k * 6.07710050630396597660e-11) - k * 2.02226624879595063154e-21);
}

CHX_FN double chx_ref_sin_core(double r)
{
  const double z = r * r;
  double s = 1.0 / 355687428096000.0;
  s = s * z - 1.0 / 1307674368000.0;
  s = s * z + 1.0 / 6227020800.0;
  s = s * z - 1.0 / 39916800.0;
  s = s * z + 1.0 / 362880.0;
  s = s * z - 1.0 / 5040.0;
  s = s * z + 1.0 / 120.0;
  s = s * z - 1.0 / 6.0;
  return r + r * z * s;
}

CHX_FN double chx_ref_cos_core(double r)
{
  const double z = r * r;
  double s = 1.0 / 20922789888000.0;
  s = s * z - 1.0 / 87178291200.0;
  s = s * z + 1.0 / 479001600.0;
  s = s * z - 1.0 / 3628800.0;
  s = s * z + 1.0 / 40320.0;
  s = s * z - 1.0 / 720.0;
  s = s * z + 1.0 / 24.0;
  return 1.0 - z * (0.5 - z * s);
}

/* sin(x + shift pi/2) */
CHX_FN double chx_ref_wave(double x, int shift)
{
  int q;
  if (x != x || chx_ref_abs(x) == CHX_REF_INF) return CHX_REF_NAN;
  if (chx_ref_abs(x) >= 1125899906842624.0) return shift ? 1.0 : 0.0; /* neighbours are a quarter and more of a period apart */
  const double r = chx_ref_quarter(x, &q);
  q = (q + shift) & 3;
  const double v = q & 1 ? chx_ref_cos_core(r) : chx_ref_sin_core(r);
  return q & 2 ? -v : v;
}
CHX_FN double chx_ref_sin(double x) { return x == 0.0 ? x : chx_ref_wave(x, 0); }
CHX_FN double chx_ref_cos(double x) { return chx_ref_wave(x, 1); }
CHX_FN double chx_ref_tan(double x) { return x == 0.0 ? x : chx_ref_wave(x, 0) / chx_ref_wave(x, 1); }

/* Halved twice by tan(a / 2) = t / (1 + sqrt(1 + t^2)), then the series. */
CHX_FN double chx_ref_atan(double x)
{
  const double a = chx_ref_abs(x);
  double t = a > 1.0 ? 1.0 / a : a;
  if (x != x || t == 0.0) return x != x ? x : chx_ref_sign(a > 1.0 ? CHX_REF_HALF_PI : 0.0, x);
  t = t / (1.0 + sqrt(1.0 + t * t));
  t = t / (1.0 + sqrt(1.0 + t * t));
  const double z = t * t;
  double s = -1.0 / 23.0;
  s = s * z + 1.0 / 21.0;
  s = s * z - 1.0 / 19.0;
  s = s * z + 1.0 / 17.0;
  s = s * z - 1.0 / 15.0;
  s = s * z + 1.0 / 13.0;
  s = s * z - 1.0 / 11.0;
  s = s * z + 1.0 / 9.0;
  s = s * z - 1.0 / 7.0;
  s = s * z + 1.0 / 5.0;
  s = s * z - 1.0 / 3.0;
  s = 4.0 * (t + t * z * s);
  return chx_ref_sign(a > 1.0 ? CHX_REF_HALF_PI - s : s, x);
}

CHX_FN double chx_ref_atan2(double y, double x)
{
  const int left = (int)(CHX_F64_BITS(x) >> 63);
  double a;
  if (x != x || y != y) return CHX_REF_NAN;
  if (y == 0.0) a = 0.0;
  else if (chx_ref_abs(x) == CHX_REF_INF) a = chx_ref_abs(y) == CHX_REF_INF ? 0.5 * CHX_REF_HALF_PI : 0.0;
  else if (x == 0.0) a = CHX_REF_HALF_PI;
  else a = chx_ref_atan(chx_ref_abs(y) / chx_ref_abs(x));
  return chx_ref_sign(left ? 2.0 * CHX_REF_HALF_PI - a : a, y);
}

CHX_FN double chx_ref_asin(double x)
{
  if (chx_ref_abs(x) >= 1.0) return chx_ref_abs(x) == 1.0 ? chx_ref_sign(CHX_REF_HALF_PI, x) : CHX_REF_NAN;
  return x == 0.0 ? x : chx_ref_atan(x / sqrt((1.0 - x) * (1.0 + x)));
}
CHX_FN double chx_ref_acos(double x)
{
  if (chx_ref_abs(x) > 1.0) return CHX_REF_NAN;
  return x == -1.0 ? 2.0 * CHX_REF_HALF_PI : 2.0 * chx_ref_atan(sqrt((1.0 - x) / (1.0 + x)));
}

CHX_FN double chx_ref_sinh(double x)
{
  const double a = chx_ref_abs(x);
  if (x == 0.0 || x != x) return x;
  if (a < 1.0) {
    const double m = chx_ref_expm1(a);
    return chx_ref_sign(0.5 * (m + m / (m + 1.0)), x);
  }
  const double h = chx_ref_exp(0.5 * a);
  return chx_ref_sign(a > 40.0 ? 0.5 * h * h : 0.5 * (h * h - 1.0 / (h * h)), x);
}
CHX_FN double chx_ref_cosh(double x)
{
  const double h = chx_ref_exp(0.5 * chx_ref_abs(x));
  return 0.5 * h * h + 0.5 / h / h;
}
CHX_FN double chx_ref_tanh(double x)
{
  const double a = chx_ref_abs(x);
  if (x == 0.0 || x != x) return x;
  if (a > 22.0) return chx_ref_sign(1.0, x);
  const double m = chx_ref_expm1(2.0 * a);
  return chx_ref_sign(m / (m + 2.0), x);
}
CHX_FN double chx_ref_asinh(double x)
{
  const double a = chx_ref_abs(x);
  if (x == 0.0 || x != x) return x;
  if (a > 268435456.0) return chx_ref_sign(chx_ref_log(a) + 0.69314718055994531, x);
  return chx_ref_sign(chx_ref_log1p(a + a * a / (1.0 + sqrt(1.0 + a * a))), x);
}
CHX_FN double chx_ref_acosh(double x)
{
  const double t = x - 1.0;
  if (t < 0.0) return CHX_REF_NAN;
  return x > 268435456.0 ? chx_ref_log(x) + 0.69314718055994531 : chx_ref_log1p(t + sqrt(2.0 * t + t * t));
}
CHX_FN double chx_ref_atanh(double x)
{
  const double a = chx_ref_abs(x);
  if (x == 0.0) return x;
  return chx_ref_sign(0.5 * chx_ref_log1p(2.0 * a / (1.0 - a)), x);
}

/* |x| < 3: the series with positive terms; else the continued fraction of erfc, from its 40th level. */
CHX_FN double chx_ref_erf(double x)
{
  const double a = chx_ref_abs(x), z = a * a;
  if (x == 0.0 || x != x) return x;
  if (a >= 6.0) return chx_ref_sign(1.0, x);
  if (a < 3.0) {
    double term = a, sum = a;
    for (int n = 1; n < 70; n++) {
      term *= 2.0 * z / (double)(2 * n + 1);
      sum += term;
    }
    return chx_ref_sign(1.1283791670955126 * chx_ref_exp(-z) * sum, x);
  }
  double f = a;
  for (int n = 40; n > 0; n--) f = a + 0.5 * (double)n / f;
  return chx_ref_sign(1.0 - 0.56418958354775629 * chx_ref_exp(-z) / f, x);
}

CHX_FN double chx_ref_hypot(double x, double y)
{
  const double a = chx_ref_abs(x), b = chx_ref_abs(y), m = a > b ? a : b, n = a > b ? b : a;
  if (a == CHX_REF_INF || b == CHX_REF_INF) return CHX_REF_INF;
  if (x != x || y != y) return CHX_REF_NAN;
  return m == 0.0 ? 0.0 : m * sqrt(1.0 + (n / m) * (n / m));
}

CHX_FN double chx_ref_pow(double x, double y)
{
  const double a = chx_ref_abs(x), b = chx_ref_abs(y);
  if (y == 0.0 || x == 1.0) return 1.0;
  if (x != x || y != y) return CHX_REF_NAN;
  const int whole = b >= 4503599627370496.0 || (b < 2251799813685248.0 && chx_ref_near(y) == y);
  const int odd = whole && b < 9007199254740992.0 && (((CHX_WORD)b) & 1) != 0;
  if (b == CHX_REF_INF) return a == 1.0 ? 1.0 : (a > 1.0) == (y > 0.0) ? CHX_REF_INF : 0.0;
  if (a == 0.0 || a == CHX_REF_INF) {
    const double v = (a == 0.0) == (y > 0.0) ? 0.0 : CHX_REF_INF;
    return odd ? chx_ref_sign(v, x) : v;
  }
  if (x < 0.0 && !whole) return CHX_REF_NAN;
  double r;
  if (whole && b <= 64.0) {
    double f = a;
    r = 1.0;
    for (int n = (int)b; n; n >>= 1) {
      if (n & 1) r *= f;
      f *= f;
    }
    if (y < 0.0) r = 1.0 / r;
  } else
    r = chx_ref_exp(y * chx_ref_log(a));
  return odd && x < 0.0 ? -r : r;
}

#endif
