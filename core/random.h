/* SPDX-License-Identifier: MIT
 * random.h: Philox on the host, for the core's own draws and for tests.
 */
#ifndef CHX_RANDOM_H
#define CHX_RANDOM_H
#include <stdint.h>

/* Block `counter` (the low half of Philox's 128-bit counter; the high half is 0) under key `seed`. */
void chxi_philox(uint64_t seed, uint64_t counter, uint32_t out[4]);

#endif
