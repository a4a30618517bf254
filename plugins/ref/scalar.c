/* SPDX-License-Identifier: MIT
 * scalar.c: one element of any dtype to and from double, and the 16-bit floats.
 */
#include "ref.h"

float ref_from_bf16(uint16_t h)
{
  uint32_t u = (uint32_t)h << 16;
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}

float ref_from_f16(uint16_t h)
{
  int e = h >> 10 & 31, m = h & 1023;
  double v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
  return (float)(h >> 15 ? -v : v);
}

/* v with `bits` bits of mantissa after the leading one, smallest exponent `least`, to nearest even. */
static double rounded(double v, int bits, int least)
{
  int e;
  frexp(v, &e);
  e = e - 1 < least ? least : e - 1;
  return ldexp(nearbyint(ldexp(v, bits - e)), e - bits);
}

uint16_t ref_to_f16(double v)
{
  uint16_t sign = signbit(v) ? 0x8000 : 0;
  if (isnan(v)) return sign | 0x7e00;
  double a = isinf(v) ? v : rounded(fabs(v), 10, -14);
  if (fabs(a) > 65504) return sign | 0x7c00;
  a = fabs(a);
  if (a < 0x1p-14) return sign | (uint16_t)ldexp(a, 24);
  int e;
  double m = frexp(a, &e);
  return sign | (uint16_t)((e + 14) << 10) | (uint16_t)(ldexp(m, 11) - 1024);
}

uint16_t ref_to_bf16(double v)
{
  uint32_t u;
  if (isnan(v)) return signbit(v) ? 0xffc0 : 0x7fc0;
  double a = isinf(v) ? v : rounded(v, 7, -126);
  float f = (float)a; /* exact, or infinite */
  memcpy(&u, &f, sizeof u);
  return (uint16_t)(u >> 16);
}

double ref_load(int dtype, const void *p)
{
  switch (dtype) {
  case CHX_F16: return (double)ref_from_f16(*(const uint16_t *)p);
  case CHX_BF16: return (double)ref_from_bf16(*(const uint16_t *)p);
#define CHX_DT(ID, number, name, ctype, code, bits, kind) REF_LOAD_##kind(ID, ctype)
#define REF_LOAD_B(ID, ctype) case CHX_##ID: return *(const ctype *)p != 0;
#define REF_LOAD_I(ID, ctype) case CHX_##ID: return (double)*(const ctype *)p;
#define REF_LOAD_U(ID, ctype) REF_LOAD_I(ID, ctype)
#define REF_LOAD_F(ID, ctype)
#define REF_LOAD_C(ID, ctype)
#include <chx/dtype.def>
  case CHX_F32: return (double)*(const float *)p;
  case CHX_F64: return *(const double *)p;
  default: return 0;
  }
}

/* Saturates; NaN gives 0. */
static int64_t to_i64(double v, int64_t lo, int64_t hi)
{
  if (isnan(v)) return 0;
  if (v <= (double)lo) return lo;
  return v >= (double)hi ? hi : (int64_t)v;
}

void ref_store(int dtype, void *p, double v)
{
  switch (dtype) {
  case CHX_BOOL: *(uint8_t *)p = v != 0; break;
  case CHX_I8: *(int8_t *)p = (int8_t)to_i64(v, INT8_MIN, INT8_MAX); break;
  case CHX_I16: *(int16_t *)p = (int16_t)to_i64(v, INT16_MIN, INT16_MAX); break;
  case CHX_I32: *(int32_t *)p = (int32_t)to_i64(v, INT32_MIN, INT32_MAX); break;
  case CHX_I64: *(int64_t *)p = to_i64(v, INT64_MIN, INT64_MAX); break;
  case CHX_U8: *(uint8_t *)p = (uint8_t)to_i64(v, 0, UINT8_MAX); break;
  case CHX_U16: *(uint16_t *)p = (uint16_t)to_i64(v, 0, UINT16_MAX); break;
  case CHX_U32: *(uint32_t *)p = (uint32_t)to_i64(v, 0, UINT32_MAX); break;
  case CHX_U64: *(uint64_t *)p = isnan(v) || v <= 0 ? 0 : v >= 0x1p64 ? UINT64_MAX : (uint64_t)v; break;
  case CHX_F16: *(uint16_t *)p = ref_to_f16(v); break;
  case CHX_BF16: *(uint16_t *)p = ref_to_bf16(v); break;
  case CHX_F32: *(float *)p = (float)v; break;
  case CHX_F64: *(double *)p = v; break;
  default: break;
  }
}
