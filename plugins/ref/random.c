/* SPDX-License-Identifier: MIT
 * random.c: Philox 4x32-10 and arange.
 */
#include "ref.h"

static void philox(uint64_t key, uint64_t counter, uint32_t x[4])
{
  x[0] = (uint32_t)counter, x[1] = (uint32_t)(counter >> 32), x[2] = x[3] = 0;
  uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
  for (int r = 0; r < 10; r++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
    uint64_t a = (uint64_t)0xD2511F53u * x[0], b = (uint64_t)0xCD9E8D57u * x[2];
    x[0] = (uint32_t)(b >> 32) ^ x[1] ^ k0;
    x[1] = (uint32_t)b;
    x[2] = (uint32_t)(a >> 32) ^ x[3] ^ k1;
    x[3] = (uint32_t)a;
  }
}

static chx_status random_bits(void *self, const chx_call *c)
{
  const chx_random_attr *p = c->attr;
  const chx_tensor *y = &c->out[0];
  int64_t i[CHX_MAX_RANK] = {0}, n = 0, per = 16 / ref_size(y);
  uint32_t x[4];
  static const char *const names[CHX_GENERATORS] = CHX_GENERATOR_NAMES;
  (void)self;
  if (p->generator != CHX_GENERATOR_PHILOX)
    return ref_fail(CHX_EUNSUPPORTED, "random_bits: there is no generator '%s', want '%s'",
                    (uint64_t)p->generator < CHX_GENERATORS ? names[p->generator] : "of a later version", names[0]);
  if (ref_count(y)) do {
      philox((uint64_t)p->seed, (uint64_t)p->counter + (uint64_t)(n / per), x);
      memcpy(ref_at(y, i), (char *)x + n % per * ref_size(y), (size_t)ref_size(y));
      n++;
    } while (ref_next(y, i));
  return CHX_OK;
}

static chx_status arange(void *self, const chx_call *c)
{
  const chx_arange_attr *p = c->attr;
  const chx_tensor *y = &c->out[0];
  int exact = (CHX_INTEGERS >> ref_dtype(y) & 1) && p->start == floor(p->start) && p->step == floor(p->step);
  (void)self;
  for (int64_t i = 0; i < y->shape[0]; i++) {
    if (exact) memcpy(ref_at(y, &i), &(int64_t){(int64_t)p->start + i * (int64_t)p->step}, (size_t)ref_size(y));
    else ref_store(ref_dtype(y), ref_at(y, &i), p->start + (double)i * p->step);
  }
  return CHX_OK;
}

const chx_kernel ref_random_kernels[] = {{REF_KERNEL, .op = "random_bits", .attr_size = sizeof(chx_random_attr),
                                          .dtypes_in = CHX_BIT(CHX_U32) | CHX_BIT(CHX_U64),
                                          .dtypes_out = CHX_BIT(CHX_U32) | CHX_BIT(CHX_U64), .run = random_bits},
                                         {REF_KERNEL, .op = "arange", .attr_size = sizeof(chx_arange_attr),
                                          .dtypes_in = CHX_ANY_REAL, .dtypes_out = CHX_ANY_REAL, .run = arange},
                                         {.op = NULL}};
