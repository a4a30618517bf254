/* SPDX-License-Identifier: MIT
 * philox.h: Philox 4x32-10, a bijection of 128-bit counters chosen by a 64-bit key.
 *
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011; its library, Random123, has
 * test vectors.
 */
#ifndef CHX_NATIVE_PHILOX_H
#define CHX_NATIVE_PHILOX_H
#include <stdint.h>

#define NAT_PHILOX_ROUNDS 10
#define NAT_PHILOX_K0 0x9E3779B9u /* added to the key after each round */
#define NAT_PHILOX_K1 0xBB67AE85u

static inline void nat_philox_round(uint32_t *c0, uint32_t *c1, uint32_t *c2, uint32_t *c3, uint32_t k0, uint32_t k1)
{
  const uint64_t a = (uint64_t)0xD2511F53u * *c0, b = (uint64_t)0xCD9E8D57u * *c2;
  *c0 = (uint32_t)(b >> 32) ^ *c1 ^ k0;
  *c1 = (uint32_t)b;
  *c2 = (uint32_t)(a >> 32) ^ *c3 ^ k1;
  *c3 = (uint32_t)a;
}

/* One block: the four words of a counter, replaced by their image. */
static inline void nat_philox(uint32_t c[4], const uint32_t key[2])
{
  uint32_t k0 = key[0], k1 = key[1];
  for (int r = 0; r < NAT_PHILOX_ROUNDS; r++, k0 += NAT_PHILOX_K0, k1 += NAT_PHILOX_K1)
    nat_philox_round(&c[0], &c[1], &c[2], &c[3], k0, k1);
}

#endif
