/* SPDX-License-Identifier: MIT
 * fakerand.h: the words that the stand-in's generators give.
 */
#ifndef CHX_FAKERAND_H
#define CHX_FAKERAND_H
#include <stdint.h>

static inline uint32_t fake_word(int kind, uint64_t seed, uint64_t place)
{
  uint64_t h = (seed ^ (uint64_t)kind << 56) + place * 0x9e3779b97f4a7c15u;
  h = (h ^ h >> 31) * 0xbf58476d1ce4e5b9u;
  return (uint32_t)(h >> 32);
}
#endif
