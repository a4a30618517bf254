/* SPDX-License-Identifier: MIT
 * formula.h: the helpers that the formulas of elementwise.def may use, in the dialect that C, CUDA, HIP and
 * OpenCL C share.
 *
 * Who includes elementwise.def compiles its formulas once per dtype, and defines for each:
 *   T         what it computes in: double for f64, float for f32, f16 and bf16; the dtype's own type for integers;
 *             int for bool (stored back as v != 0).
 *   U         the type arithmetic wraps in: T itself for floats; unsigned int for bool and for integers up to 32
 *             bits, the 64-bit unsigned type beyond (so that u16 * u16 does not overflow an int).
 *   CHX_KIND  F float, I signed integer, U unsigned integer, B bool: one letter, pasted into a helper's name.
 *   CHX_BITS  the dtype's width in bits.
 *   CHX_T_MIN the smallest value of T; used for kind I alone.
 * and once, before this header, where the defaults below do not fit (OpenCL C):
 *   CHX_FN    what a helper function is declared with        CHX_WORD    an unsigned 64-bit type
 * Macros evaluate their arguments more than once: pass names and constants.
 */
#ifndef CHX_FORMULA_H
#define CHX_FORMULA_H

#ifndef CHX_FN
#define CHX_FN static inline
#endif
#ifndef CHX_WORD
#define CHX_WORD unsigned long long
#endif

#define CHX_PASTE_(a, b) a##b
#define CHX_PASTE(a, b) CHX_PASTE_(a, b)
#define CHX_BY_KIND(name) CHX_PASTE(name, CHX_KIND)

/* Wrapping integer arithmetic; plain arithmetic for floats, where U is T. */
#define CHX_ADD(x, y) ((T)((U)(x) + (U)(y)))
#define CHX_SUB(x, y) ((T)((U)(x) - (U)(y)))
#define CHX_MUL(x, y) ((T)((U)(x) * (U)(y)))
#define CHX_NEG(x) CHX_BY_KIND(CHX_NEG_)(x)
#define CHX_NEG_F(x) (-(x))
#define CHX_NEG_I(x) ((T)((U)0 - (U)(x)))
#define CHX_NEG_U(x) CHX_NEG_I(x)
#define CHX_NEG_B(x) CHX_NEG_I(x)

#define CHX_ISNAN(x) CHX_BY_KIND(CHX_ISNAN_)(x)
#define CHX_ISNAN_F(x) ((x) != (x))
#define CHX_ISNAN_I(x) 0
#define CHX_ISNAN_U(x) 0
#define CHX_ISNAN_B(x) 0
#define CHX_ISINF(x) CHX_BY_KIND(CHX_ISINF_)(x)
#define CHX_ISINF_F(x) ((x) == (x) && (x) - (x) != (T)0)
#define CHX_ISINF_I(x) 0
#define CHX_ISINF_U(x) 0
#define CHX_ISINF_B(x) 0

/* The larger and the smaller, NaN if either is; FMAX and FMIN skip a NaN where the other operand is a number. */
#define CHX_MAX(x, y) ((x) > (y) || CHX_ISNAN(x) ? (x) : (y))
#define CHX_MIN(x, y) ((x) < (y) || CHX_ISNAN(x) ? (x) : (y))
#define CHX_FMAX(x, y) ((x) >= (y) || CHX_ISNAN(y) ? (x) : (y))
#define CHX_FMIN(x, y) ((x) <= (y) || CHX_ISNAN(y) ? (x) : (y))

#define CHX_ABS(x) CHX_BY_KIND(CHX_ABS_)(x)
#define CHX_ABS_F(x) fabs(x)
#define CHX_ABS_I(x) ((x) < (T)0 ? CHX_NEG_I(x) : (x))
#define CHX_ABS_U(x) (x)
#define CHX_ABS_B(x) (x)

/* 1, 0 or -1; NaN stays NaN. */
#define CHX_SIGN(x) CHX_BY_KIND(CHX_SIGN_)(x)
#define CHX_SIGN_F(x) ((x) > (T)0 ? (T)1 : (x) < (T)0 ? (T)-1 : (x))
#define CHX_SIGN_I(x) ((x) > (T)0 ? (T)1 : (x) < (T)0 ? (T)-1 : (T)0)
#define CHX_SIGN_U(x) ((T)((x) != (T)0))
#define CHX_SIGN_B(x) ((T)((x) != (T)0))

/* Rounding to an integer: the identity on integers. */
#define CHX_ROUND(f, x) CHX_BY_KIND(CHX_ROUND_)(f, x)
#define CHX_ROUND_F(f, x) f(x)
#define CHX_ROUND_I(f, x) (x)
#define CHX_ROUND_U(f, x) (x)
#define CHX_ROUND_B(f, x) (x)

/* Integer division: x / 0 is 0, MIN / -1 is MIN. TDIV truncates, TMOD is C's %. */
#define CHX_TDIV_I(x, y) ((y) == (T)0 ? (T)0 : (y) == (T)-1 ? CHX_NEG_I(x) : (T)((x) / (y)))
#define CHX_TDIV_U(x, y) ((y) == (T)0 ? (T)0 : (T)((x) / (y)))
#define CHX_TMOD_I(x, y) ((y) == (T)0 || (y) == (T)-1 ? (T)0 : (T)((x) % (y)))
#define CHX_TMOD_U(x, y) ((y) == (T)0 ? (T)0 : (T)((x) % (y)))
#define CHX_FIX_I(x, y) (CHX_TMOD_I(x, y) != (T)0 && ((x) < (T)0) != ((y) < (T)0))
#define CHX_FIX_F(x, y) (fmod(x, y) != (T)0 && (fmod(x, y) < (T)0) != ((y) < (T)0))

/* Python's // and %: rounded down, the remainder has the divisor's sign; for floats as NumPy computes them. */
#define CHX_IDIV(x, y) CHX_BY_KIND(CHX_IDIV_)(x, y)
#define CHX_IDIV_F(x, y) \
  ((y) == (T)0 ? (x) / (y) : rint(((x) - fmod(x, y)) / (y) - (CHX_FIX_F(x, y) ? (T)1 : (T)0)))
#define CHX_IDIV_I(x, y) (CHX_FIX_I(x, y) ? (T)(CHX_TDIV_I(x, y) - (T)1) : CHX_TDIV_I(x, y))
#define CHX_IDIV_U(x, y) CHX_TDIV_U(x, y)
#define CHX_IDIV_B(x, y) CHX_TDIV_U(x, y)
#define CHX_IMOD(x, y) CHX_BY_KIND(CHX_IMOD_)(x, y)
#define CHX_IMOD_F(x, y) (CHX_FIX_F(x, y) ? fmod(x, y) + (y) : fmod(x, y) == (T)0 ? copysign((T)0, y) : fmod(x, y))
#define CHX_IMOD_I(x, y) (CHX_FIX_I(x, y) ? (T)(CHX_TMOD_I(x, y) + (y)) : CHX_TMOD_I(x, y))
#define CHX_IMOD_U(x, y) CHX_TMOD_U(x, y)
#define CHX_IMOD_B(x, y) CHX_TMOD_U(x, y)
#define CHX_FMOD(x, y) CHX_BY_KIND(CHX_FMOD_)(x, y)
#define CHX_FMOD_F(x, y) fmod(x, y)
#define CHX_FMOD_I(x, y) CHX_TMOD_I(x, y)
#define CHX_FMOD_U(x, y) CHX_TMOD_U(x, y)
#define CHX_FMOD_B(x, y) CHX_TMOD_U(x, y)

/* x to the power y. Integers wrap; a negative exponent gives 1 / x^-y rounded towards 0. */
CHX_FN CHX_WORD chx_ipow(CHX_WORD x, CHX_WORD y)
{
  CHX_WORD r = 1;
  for (; y; y >>= 1, x *= x)
    if (y & 1) r *= x;
  return r;
}
#define CHX_POW(x, y) CHX_BY_KIND(CHX_POW_)(x, y)
#define CHX_POW_F(x, y) pow(x, y)
#define CHX_POW_I(x, y)                                                  \
  (!((y) < (T)0) ? (T)chx_ipow((CHX_WORD)(x), (CHX_WORD)(y)) : (x) == (T)1 \
       ? (T)1                                                            \
       : (x) == (T)-1 ? ((y) & 1 ? (T)-1 : (T)1) : (T)0)
#define CHX_POW_U(x, y) ((T)chx_ipow((CHX_WORD)(x), (CHX_WORD)(y)))
#define CHX_POW_B(x, y) ((T)((x) != (T)0 || (y) == (T)0))

/* Shifts: a count that is negative or as wide as the type gives 0 (-1 for a negative x shifted right). */
#define CHX_SHIFT_OK(y) ((CHX_WORD)(y) < (CHX_WORD)CHX_BITS)
#define CHX_SHL(x, y) (CHX_SHIFT_OK(y) ? (T)((U)(x) << (y)) : (T)0)
#define CHX_SHR(x, y) CHX_BY_KIND(CHX_SHR_)(x, y)
#define CHX_SHR_I(x, y) (CHX_SHIFT_OK(y) ? (T)((x) >> (y)) : (x) < (T)0 ? (T)-1 : (T)0)
#define CHX_SHR_U(x, y) (CHX_SHIFT_OK(y) ? (T)((x) >> (y)) : (T)0)

/* Bitwise complement; of a bool, the logical one. */
#define CHX_NOT(x) CHX_BY_KIND(CHX_NOT_)(x)
#define CHX_NOT_I(x) ((T)~(U)(x))
#define CHX_NOT_U(x) ((T)~(U)(x))
#define CHX_NOT_B(x) ((T)((x) == (T)0))

#endif
