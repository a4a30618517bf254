/* SPDX-License-Identifier: MIT
 * refnames.h: makes the formulas of elementwise.def mean refmath.h's functions, in f64 and rounded to T. To be included after
 * refmath.h and every header that declares the functions by these names.
 */
#ifndef CHX_REFNAMES_H
#define CHX_REFNAMES_H
/* Some compilers have macros of these names already. */
#undef exp
#undef exp2
#undef expm1
#undef log
#undef log2
#undef log10
#undef log1p
#undef sin
#undef cos
#undef tan
#undef asin
#undef acos
#undef atan
#undef atan2
#undef sinh
#undef cosh
#undef tanh
#undef asinh
#undef acosh
#undef atanh
#undef erf
#undef pow
#undef hypot
#undef sqrt
#undef fabs
#undef floor
#undef ceil
#undef trunc
#undef rint
#undef fmod
#undef copysign
#ifdef CHX_ON_DEVICE
/* Not every GPU divides f32 as IEEE 754 says; all do so in f64. A quotient, or a square root, of f32 that is rounded to f64 and then to
 * f32 is the correctly rounded one, as 53 >= 2 * 24 + 2 (S. A. Figueroa, When is double rounding innocuous?, SIGNUM Newsletter
 * 30(3), 1995). CHX_QUOTIENT goes before each divisor in the formulas, where quotients are the result. */
#define CHX_QUOTIENT (double)
#undef CHX_IDIV_F
#define CHX_IDIV_F(x, y) \
  ((y) == (T)0 ? (x) / (y) : rint((T)(((x) - fmod(x, y)) / (double)(y)) - (CHX_FIX_F(x, y) ? (T)1 : (T)0)))
#endif
#define exp(x) ((T)chx_ref_exp((double)(x)))
#define exp2(x) ((T)chx_ref_exp2((double)(x)))
#define expm1(x) ((T)chx_ref_expm1((double)(x)))
#define log(x) ((T)chx_ref_log((double)(x)))
#define log2(x) ((T)chx_ref_log2((double)(x)))
#define log10(x) ((T)chx_ref_log10((double)(x)))
#define log1p(x) ((T)chx_ref_log1p((double)(x)))
#define sin(x) ((T)chx_ref_sin((double)(x)))
#define cos(x) ((T)chx_ref_cos((double)(x)))
#define tan(x) ((T)chx_ref_tan((double)(x)))
#define asin(x) ((T)chx_ref_asin((double)(x)))
#define acos(x) ((T)chx_ref_acos((double)(x)))
#define atan(x) ((T)chx_ref_atan((double)(x)))
#define atan2(y, x) ((T)chx_ref_atan2((double)(y), (double)(x)))
#define sinh(x) ((T)chx_ref_sinh((double)(x)))
#define cosh(x) ((T)chx_ref_cosh((double)(x)))
#define tanh(x) ((T)chx_ref_tanh((double)(x)))
#define asinh(x) ((T)chx_ref_asinh((double)(x)))
#define acosh(x) ((T)chx_ref_acosh((double)(x)))
#define atanh(x) ((T)chx_ref_atanh((double)(x)))
#define erf(x) ((T)chx_ref_erf((double)(x)))
#define pow(x, y) ((T)chx_ref_pow((double)(x), (double)(y)))
#define hypot(x, y) ((T)chx_ref_hypot((double)(x), (double)(y)))
/* These are exact, or rounded in one way, everywhere in f64. */
#define sqrt(x) ((T)chx_ref_sqrt((double)(x)))
#define fabs(x) ((T)chx_ref_abs((double)(x)))
#define floor(x) ((T)chx_ref_floor((double)(x)))
#define ceil(x) ((T)chx_ref_ceil((double)(x)))
#define trunc(x) ((T)chx_ref_trunc((double)(x)))
#define rint(x) ((T)chx_ref_rint((double)(x)))
#define fmod(x, y) ((T)chx_ref_fmod((double)(x), (double)(y)))
#define copysign(x, y) ((T)chx_ref_sign((double)(x), (double)(y)))
#endif
