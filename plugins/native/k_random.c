/* SPDX-License-Identifier: MIT
 * k_random.c: random_bits, which is Philox 4x32-10, and arange.
 *
 * philox.h has the source and the rounds.
 */
#include <math.h>
#include <string.h>
#include "half.h"
#include "native.h"
#include "philox.h"

typedef struct bits {
  uint64_t key, counter;
  int64_t words; /* of 32 bits, in all */
  uint32_t *y;
} bits;

/* Blocks are made LANES at a time, word by word, so that the rounds vectorise; LANES is too many to be unrolled. */
enum { LANES = 64 };
static void blocks(int64_t begin, int64_t end, void *ctx)
{
  const bits *p = ctx;
  for (int64_t i = begin; i < end; i += LANES) {
    uint32_t w0[LANES], w1[LANES], w2[LANES], w3[LANES], out[LANES][4];
    for (int l = 0; l < LANES; l++) {
      const uint64_t counter = p->counter + (uint64_t)(i + l);
      w0[l] = (uint32_t)counter;
      w1[l] = (uint32_t)(counter >> 32);
      w2[l] = w3[l] = 0;
    }
    uint32_t k0 = (uint32_t)p->key, k1 = (uint32_t)(p->key >> 32);
    for (int r = 0; r < NAT_PHILOX_ROUNDS; r++, k0 += NAT_PHILOX_K0, k1 += NAT_PHILOX_K1)
      for (int l = 0; l < LANES; l++) {
        uint32_t a = w0[l], b = w1[l], c = w2[l], d = w3[l];
        nat_philox_round(&a, &b, &c, &d, k0, k1);
        w0[l] = a, w1[l] = b, w2[l] = c, w3[l] = d;
      }
    for (int l = 0; l < LANES; l++) out[l][0] = w0[l], out[l][1] = w1[l], out[l][2] = w2[l], out[l][3] = w3[l];
    const int64_t n = end - i < LANES ? end - i : LANES, rest = p->words - 4 * i;
    memcpy(p->y + 4 * i, out, (size_t)(4 * n < rest ? 4 * n : rest) * sizeof(uint32_t));
  }
}

static chx_status random_bits(void *self, const chx_call *call)
{
  const chx_random_attr *a = call->attr;
  const chx_tensor *y = &call->out[0];
  bits p = {(uint64_t)a->seed, (uint64_t)a->counter, nat_count(y) * (nat_size(y) / 4), nat_data(y)};
  static const char *const names[CHX_GENERATORS] = CHX_GENERATOR_NAMES;
  (void)self;
  if (a->generator != CHX_GENERATOR_PHILOX)
    return nat_fail(CHX_EUNSUPPORTED, "random_bits: there is no generator '%s', want '%s'",
                    (uint64_t)a->generator < CHX_GENERATORS ? names[a->generator] : "of a later version", names[0]);
  nat_parallel((p.words + 3) / 4, NAT_GRAIN / 4, blocks, &p);
  return CHX_OK;
}

typedef struct ramp {
  double start, step;
  uint64_t whole_start, whole_step;
  void *y;
} ramp;

/* Whole numbers are exact through 64 wrapping bits; else each element is start + i step, rounded as copy would. */
#define WHOLE(T, tag)                                                                                            \
  static void whole_##tag(int64_t begin, int64_t end, void *ctx)                                                 \
  {                                                                                                              \
    const ramp *p = ctx;                                                                                         \
    T *y = p->y;                                                                                                 \
    for (int64_t i = begin; i < end; i++) y[i] = (T)(p->whole_start + (uint64_t)i * p->whole_step);              \
  }
#define REAL(T, tag, STORE)                                                                                      \
  static void real_##tag(int64_t begin, int64_t end, void *ctx)                                                  \
  {                                                                                                              \
    const ramp *p = ctx;                                                                                         \
    T *y = p->y;                                                                                                 \
    for (int64_t i = begin; i < end; i++) {                                                                      \
      const double v = p->start + (double)i * p->step;                                                           \
      y[i] = STORE(T, v);                                                                                        \
    }                                                                                                            \
  }
/* Saturating, NaN to 0. The largest value of a 64-bit type is not a double: 2^64 and up is caught by >=. */
#define MAX_OF(T) ((T)((T)-1 > 0 ? (T)-1 : (T)(((uint64_t)1 << (8 * sizeof(T) - 1)) - 1)))
#define MIN_OF(T) ((T)((T)-1 > 0 ? (T)0 : (T)(0 - (uint64_t)MAX_OF(T) - 1)))
#define TO_WHOLE(T, v) \
  (!((v) == (v)) ? (T)0 : (v) >= (double)MAX_OF(T) ? MAX_OF(T) : (v) <= (double)MIN_OF(T) ? MIN_OF(T) : (T)(v))
#define TO_REAL(T, v) ((T)(v))
#define TO_F16(T, v) nat_to_f16(nat_odd(v))
#define TO_BF16(T, v) nat_to_bf16(nat_odd(v))
#define TO_BOOL(T, v) ((T)((v) != 0))
WHOLE(uint8_t, 8) WHOLE(uint16_t, 16) WHOLE(uint32_t, 32) WHOLE(uint64_t, 64)
REAL(int8_t, i8, TO_WHOLE) REAL(int16_t, i16, TO_WHOLE) REAL(int32_t, i32, TO_WHOLE) REAL(int64_t, i64, TO_WHOLE)
REAL(uint8_t, u8, TO_WHOLE) REAL(uint16_t, u16, TO_WHOLE) REAL(uint32_t, u32, TO_WHOLE) REAL(uint64_t, u64, TO_WHOLE)
REAL(float, f32, TO_REAL) REAL(double, f64, TO_REAL) REAL(uint16_t, f16, TO_F16) REAL(uint16_t, bf16, TO_BF16)
REAL(uint8_t, bool, TO_BOOL)

static nat_range *ramp_of(int dtype, int64_t size, int whole)
{
  if (whole) return size == 1 ? whole_8 : size == 2 ? whole_16 : size == 4 ? whole_32 : whole_64;
  switch (dtype) {
#define CASE(id, tag) case id: return real_##tag;
    CASE(CHX_I8, i8) CASE(CHX_I16, i16) CASE(CHX_I32, i32) CASE(CHX_I64, i64)
    CASE(CHX_U8, u8) CASE(CHX_U16, u16) CASE(CHX_U32, u32) CASE(CHX_U64, u64)
    CASE(CHX_F16, f16) CASE(CHX_BF16, bf16) CASE(CHX_F32, f32) CASE(CHX_F64, f64)
  default: return real_bool;
  }
}

/* Whether v is a whole number that fits 64 bits, and which, modulo 2^64. */
static int whole(double v, uint64_t *to)
{
  if (!(v >= -0x1p63 && v < 0x1p64) || v != floor(v)) return 0;
  *to = v < 0 ? (uint64_t)(int64_t)v : (uint64_t)v;
  return 1;
}

static chx_status arange(void *self, const chx_call *call)
{
  const chx_arange_attr *a = call->attr;
  const chx_tensor *y = &call->out[0];
  ramp p = {a->start, a->step, 0, 0, nat_data(y)};
  (void)self;
  const int exact = (CHX_INTEGERS >> nat_dtype(y) & 1) && whole(a->start, &p.whole_start) && whole(a->step, &p.whole_step);
  nat_parallel(nat_count(y), NAT_GRAIN, ramp_of(nat_dtype(y), nat_size(y), exact), &p);
  return CHX_OK;
}

#define WORDS (CHX_BIT(CHX_U32) | CHX_BIT(CHX_U64))
const chx_kernel NAT(nat_random_kernels)[] = {
  {NAT_KERNEL, .op = "random_bits", .attr_size = sizeof(chx_random_attr), .dtypes_in = WORDS, .dtypes_out = WORDS,
   .flags = CHX_K_CONTIGUOUS, .run = random_bits},
  {NAT_KERNEL, .op = "arange", .attr_size = sizeof(chx_arange_attr), .dtypes_in = CHX_ANY_REAL,
   .dtypes_out = CHX_ANY_REAL, .flags = CHX_K_CONTIGUOUS, .run = arange},
  {0},
};
