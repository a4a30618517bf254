/* SPDX-License-Identifier: MIT
 * dtype.c: the table of dtypes, one element stored and loaded, and what mixed dtypes promote to.
 *
 * Promotion is NumPy 2's, to which bf16 is added as a second 16-bit float: with integers it gives what f16 gives (i8
 * and u8: itself; i16 and u16: f32; wider: f64), with f16 it gives f32, with c64 c64. tests/data/promote.txt holds the
 * whole table, as NumPy made it.
 */
#include "internal.h"
#include <math.h>

const chxi_dtype_row chxi_dtypes[CHX_DTYPE_END] = {
#define CHX_DT(ID, number, text, ctype, dlcode, width, letter) \
  [CHX_##ID] = {.name = text, .size = sizeof(ctype), .code = dlcode, .bits = width, .kind = #letter[0]},
#include <chx/dtype.def>
};

static bool is_dtype(int dtype) { return dtype > CHX_DTYPE_NONE && dtype < CHX_DTYPE_END; }

const char *chx_dtype_name(int dtype) { return is_dtype(dtype) ? chxi_dtypes[dtype].name : "?"; }

int chx_dtype_size(int dtype) { return is_dtype(dtype) ? chxi_dtypes[dtype].size : 0; }

int chx_dtype_find(const char *name)
{
  for (int d = 1; name && d < CHX_DTYPE_END; d++)
    if (!strcmp(chxi_dtypes[d].name, name)) return d;
  return CHX_DTYPE_NONE;
}

/* ---- 16-bit floats ---------------------------------------------------------------------------------------------- */

/* A double rounded once, to nearest, ties to even, to a 16-bit float with `digits` stored bits of significand. Going
 * through f32 would round twice. */
static uint16_t narrow(double v, int digits, int bias)
{
  uint64_t b;
  memcpy(&b, &v, sizeof b);
  const uint16_t sign = (uint16_t)(b >> 48 & 0x8000), inf = (uint16_t)(0x7fff >> digits << digits);
  const int e = (int)(b >> 52 & 0x7ff) - 1023;
  uint64_t m = b & 0xfffffffffffff;
  if (e == 1024)
    return (uint16_t)(sign | inf | (m ? 1 << (digits - 1) | m >> (52 - digits) : 0)); /* NaNs are made quiet */
  m |= (uint64_t)1 << 52;
  const bool normal = e >= 1 - bias;
  const int shift = 52 - digits + (normal ? 0 : 1 - bias - e);
  if (shift > 53) return sign; /* less than half the smallest subnormal; f64's own subnormals end here too */
  const uint64_t rest = m & (((uint64_t)1 << shift) - 1), half = (uint64_t)1 << (shift - 1);
  uint64_t r = m >> shift;
  r += rest > half || (rest == half && (r & 1));
  if (normal)
    r += (uint64_t)(e + bias - 1) << digits; /* r holds the leading 1, which adds the last 1 to the exponent */
  return (uint16_t)(sign | (r < inf ? r : inf));
}

static double widen(uint16_t h, int digits, int bias)
{
  const int e = (h & 0x7fff) >> digits, m = h & ((1 << digits) - 1);
  double v;
  if (e == 0x7fff >> digits) {
    uint64_t b = (uint64_t)0x7ff << 52 | (uint64_t)m << (52 - digits);
    memcpy(&v, &b, sizeof v);
  } else {
    v = ldexp(e ? m + (1 << digits) : m, (e ? e : 1) - bias - digits);
  }
  return h & 0x8000 ? -v : v;
}

/* ---- one element -------------------------------------------------------------------------------------------------- */

/* An integer of more than 53 bits as a double that rounds to a shorter float as the integer itself would: what is cut
 * off leaves its mark in the last bit. */
static double sticky(int64_t i)
{
  const uint64_t u = i < 0 ? -(uint64_t)i : (uint64_t)i;
  if (u < (uint64_t)1 << 53) return (double)i;
  const double v = (double)(u >> 11 | ((u & 0x7ff) != 0)) * 2048;
  return i < 0 ? -v : v;
}

#define STORE(T, value) \
  do { \
    const T t = (value); \
    memcpy(dst, &t, sizeof t); \
  } while (0)
/* lo is exact in a double; hi + 1 is a power of two, and so is the limit. */
#define SATURATE(T, lo, hi, v) \
  ((v) != (v) ? (T)0 : (v) <= (double)(lo) ? (T)(lo) : (v) >= ((double)((hi) / 2 + 1)) * 2 ? (T)(hi) : (T)(v))
#define STORE_INT(ID, T, lo, hi) \
  case CHX_##ID: STORE(T, is_int ? (T)v.i : SATURATE(T, lo, hi, v.f)); break;

void chxi_store(void *dst, int dtype, bool is_int, chxi_scalar v)
{
  switch (dtype) {
  case CHX_BOOL: STORE(uint8_t, is_int ? v.i != 0 : v.f != 0); break; /* a NaN is true */
  STORE_INT(I8, int8_t, INT8_MIN, INT8_MAX)
  STORE_INT(I16, int16_t, INT16_MIN, INT16_MAX)
  STORE_INT(I32, int32_t, INT32_MIN, INT32_MAX)
  STORE_INT(I64, int64_t, INT64_MIN, INT64_MAX)
  STORE_INT(U8, uint8_t, 0, UINT8_MAX)
  STORE_INT(U16, uint16_t, 0, UINT16_MAX)
  STORE_INT(U32, uint32_t, 0, UINT32_MAX)
  STORE_INT(U64, uint64_t, 0, UINT64_MAX)
  case CHX_F16: STORE(uint16_t, narrow(is_int ? sticky(v.i) : v.f, 10, 15)); break;
  case CHX_BF16: STORE(uint16_t, narrow(is_int ? sticky(v.i) : v.f, 7, 127)); break;
  case CHX_F32: STORE(float, is_int ? (float)v.i : (float)v.f); break;
  case CHX_F64: STORE(double, is_int ? (double)v.i : v.f); break;
  case CHX_C64: STORE(float _Complex, is_int ? (float)v.i : (float)v.f); break;
  case CHX_C128: STORE(double _Complex, is_int ? (double)v.i : v.f); break;
  default: break;
  }
}

#define LOAD(ID, T) \
  case CHX_##ID: { \
    T t; \
    memcpy(&t, src, sizeof t); \
    return (RESULT)t; \
  }
#define LOAD_INTS \
  LOAD(I8, int8_t) LOAD(I16, int16_t) LOAD(I32, int32_t) LOAD(I64, int64_t) \
  LOAD(U8, uint8_t) LOAD(U16, uint16_t) LOAD(U32, uint32_t) LOAD(U64, uint64_t)

double chxi_load_f64(const void *src, int dtype)
{
#define RESULT double
  uint16_t h;
  switch (dtype) {
  LOAD_INTS
  LOAD(F32, float) LOAD(F64, double) LOAD(C64, float) LOAD(C128, double) /* the real part comes first */
  case CHX_BOOL: return *(const uint8_t *)src != 0;
  case CHX_F16: memcpy(&h, src, sizeof h); return widen(h, 10, 15);
  case CHX_BF16: memcpy(&h, src, sizeof h); return widen(h, 7, 127);
  default: return 0;
  }
#undef RESULT
}

int64_t chxi_load_i64(const void *src, int dtype)
{
#define RESULT int64_t
  switch (dtype) {
  LOAD_INTS
  case CHX_BOOL: return *(const uint8_t *)src != 0;
  default: {
    const double v = chxi_load_f64(src, dtype);
    return SATURATE(int64_t, INT64_MIN, INT64_MAX, v);
  }
  }
#undef RESULT
}

/* ---- promotion ------------------------------------------------------------------------------------------------------ */

/* The number of bits of a float that holds every value of dtype; integers wider than 16 bits go to f64, as in NumPy,
 * though it does not hold all of i64. */
static int float_bits(int dtype)
{
  const chxi_dtype_row *d = &chxi_dtypes[dtype];
  if (d->kind == 'C') return d->bits / 2;
  if (d->kind == 'F') return d->bits;
  return d->bits == 8 ? 16 : d->bits == 16 ? 32 : 64;
}

static int promote_ints(const chxi_dtype_row *x, const chxi_dtype_row *y, int a, int b)
{
  if (x->kind == y->kind) return x->bits >= y->bits ? a : b;
  const int i = x->kind == 'I' ? a : b, u = x->kind == 'I' ? b : a;
  if (chxi_dtypes[i].bits > chxi_dtypes[u].bits) return i;
  switch (chxi_dtypes[u].bits) {
  case 8: return CHX_I16;
  case 16: return CHX_I32;
  case 32: return CHX_I64;
  default: return CHX_F64; /* no integer holds both i64 and u64 */
  }
}

int chx_promote(int a, int b)
{
  if (!is_dtype(a) || !is_dtype(b)) return CHX_DTYPE_NONE;
  if (a == b || b == CHX_BOOL) return a;
  if (a == CHX_BOOL) return b;
  if (chxi_is_int(a) && chxi_is_int(b)) return promote_ints(&chxi_dtypes[a], &chxi_dtypes[b], a, b);
  int bits = float_bits(a) > float_bits(b) ? float_bits(a) : float_bits(b);
  if (chxi_dtypes[a].kind == 'C' || chxi_dtypes[b].kind == 'C') return bits == 64 ? CHX_C128 : CHX_C64;
  if (bits > 16) return bits == 32 ? CHX_F32 : CHX_F64;
  if (chxi_is_float(a) && chxi_is_float(b)) return CHX_F32; /* f16 with bf16 */
  return chxi_is_float(a) ? a : b;
}

int chxi_promote_weak(int dtype, char weak)
{
  const char kind = is_dtype(dtype) ? chxi_dtypes[dtype].kind : 0;
  switch (weak) {
  case 'B': return kind ? dtype : CHX_BOOL;
  case 'I': return kind && kind != 'B' ? dtype : CHX_I64;
  default: return kind == 'F' || kind == 'C' ? dtype : CHX_F64;
  }
}
