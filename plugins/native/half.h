/* SPDX-License-Identifier: MIT
 * half.h: f16 and bf16 to and from float, rounding to nearest even. The scalar forms have no branches, so that loops
 * over them vectorise; the row forms use the processor's own instruction where the level has it.
 */
#ifndef CHX_NATIVE_HALF_H
#define CHX_NATIVE_HALF_H
#include <stdint.h>
#include <string.h>
#include <chx/types.h>
#if defined __F16C__
#include <immintrin.h>
#endif

static inline float nat_float(uint32_t bits)
{
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}
static inline uint32_t nat_bits(float f)
{
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  return u;
}

static inline float nat_from_bf16(uint16_t h) { return nat_float((uint32_t)h << 16); }
static inline uint16_t nat_to_bf16(float f)
{
  uint32_t u = nat_bits(f), nan = (u & 0x7fffffffu) > 0x7f800000u;
  uint32_t r = (u + 0x7fffu + (u >> 16 & 1)) >> 16;
  return (uint16_t)(nan ? u >> 16 | 64 : r);
}

static inline float nat_from_f16(uint16_t h)
{
  uint32_t sign = (uint32_t)(h & 0x8000u) << 16, mag = (uint32_t)(h & 0x7fffu) << 13;
  float normal = nat_float(mag) * 0x1p112f;              /* rebias; denormals come out right */
  float special = nat_float(mag | 0x7f800000u | (mag & 0x7fffffu ? 0x400000u : 0)); /* inf, NaN made quiet */
  uint32_t r = mag >= 0x0f800000u ? nat_bits(special) : nat_bits(normal);
  return nat_float(r | sign);
}
static inline uint16_t nat_to_f16(float f)
{
  uint32_t u = nat_bits(f), sign = u >> 16 & 0x8000u, mag = u & 0x7fffffffu;
  uint32_t normal = (mag - 0x38000000u + 0xfffu + (mag >> 13 & 1)) >> 13;
  uint32_t tiny = nat_bits(nat_float(mag) + 0.5f) - 0x3f000000u; /* the addition rounds to a multiple of 2^-24 */
  uint32_t nan = 0x7e00u | (mag >> 13 & 0x1ffu);
  uint32_t r = mag > 0x7f800000u ? nan : mag >= 0x477ff000u ? 0x7c00u : mag < 0x38800000u ? tiny : normal;
  return (uint16_t)(r | sign);
}

/* The float that, rounded on to f16 or bf16, gives what d rounded at once would: towards zero, and odd if inexact. */
static inline float nat_odd(double d)
{
  float f = (float)d;
  uint32_t u = nat_bits(f);
  double back = (double)f;
  if (back != d && d == d) {
    if ((d < 0 ? -back : back) > (d < 0 ? -d : d)) u--;
    u |= 1;
  }
  return nat_float(u);
}

static inline void nat_row_from_bf16(int64_t n, const uint16_t *x, float *y)
{
  for (int64_t i = 0; i < n; i++) y[i] = nat_from_bf16(x[i]);
}
static inline void nat_row_to_bf16(int64_t n, const float *x, uint16_t *y)
{
  for (int64_t i = 0; i < n; i++) y[i] = nat_to_bf16(x[i]);
}
static inline void nat_row_from_f16(int64_t n, const uint16_t *x, float *y)
{
  int64_t i = 0;
#if defined __F16C__
  for (; i + 8 <= n; i += 8)
    _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(x + i))));
#endif
  for (; i < n; i++) y[i] = nat_from_f16(x[i]);
}
static inline void nat_row_to_f16(int64_t n, const float *x, uint16_t *y)
{
  int64_t i = 0;
#if defined __F16C__
  for (; i + 8 <= n; i += 8)
    _mm_storeu_si128((__m128i *)(void *)(y + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
#endif
  for (; i < n; i++) y[i] = nat_to_f16(x[i]);
}

/* By dtype: CHX_F16 or CHX_BF16. */
static inline int nat_is_half(int dtype) { return dtype == CHX_F16 || dtype == CHX_BF16; }
static inline void nat_widen(int dtype, int64_t n, const void *x, float *y)
{
  if (dtype == CHX_F16) nat_row_from_f16(n, x, y);
  else nat_row_from_bf16(n, x, y);
}
static inline void nat_narrow(int dtype, int64_t n, const float *x, void *y)
{
  if (dtype == CHX_F16) nat_row_to_f16(n, x, y);
  else nat_row_to_bf16(n, x, y);
}

#endif
