/* SPDX-License-Identifier: MIT
 * fakegpu.h: a stand-in for a vendor's libraries, compiled for cuda and for hip.
 *
 * "Device memory" is the host's. Streams are late: what is queued runs when somebody waits for it, so that a copy reads
 * its source late, as a device's would, and a missing wait shows. Kernels are recorded, not run; the products and
 * convolutions of the vendors' libraries are computed, from their descriptors, by plain loops. What a stream that captures must not
 * meet is an error, and spoils the capture, as with a vendor's.
 *
 *   fakegpu.c   the driver and the compiler      fakelt.c   cuBLASLt      fakednn.c      cuDNN
 *   fakeconv.c  the loops of convolutions        fakeroc.c  rocBLAS       fakemiopen.c   MIOpen
 *   fakerand.c  cuRAND
 *
 * A test finds the functions below by dlsym in the same file that the plugin opens.
 */
#ifndef CHX_FAKEGPU_H
#define CHX_FAKEGPU_H
#include <stdbool.h>
#include <stdint.h>

#define FAKE_EXPORT __attribute__((visibility("default")))

/* What was called, a line a call. */
FAKE_EXPORT int fake_lines(void);
FAKE_EXPORT const char *fake_line(int i);
FAKE_EXPORT void fake_clear(void);

/* What the stand-in is: a setting by name, for the calls that follow. */
typedef struct fake_state {
  int devices;        /* 2 */
  int pools;          /* whether devices have pools of memory: 1 */
  int arch;           /* of devices: 90 */
  int init;           /* what initialising returns: 0 */
  int fail;           /* the code that call `fail_at` returns, once */
  const char *fail_at;
  int blocks;         /* allocated and not released */
  int pinned, streams, events, modules, handles, descriptors, contexts;
  int graphs;         /* and what was made of them */
  void *stream;       /* of the launch that a watcher sees */
  uint64_t free_bytes;
} fake_state;
FAKE_EXPORT fake_state *fake(void);

/* Sees each launch, whose parameters are valid during the call. */
typedef void fake_watcher(const char *kernel, unsigned groups, unsigned threads, void **parameters);
FAKE_EXPORT void fake_watch(fake_watcher *w);

/* ---- for the stand-ins ------------------------------------------------------------------------------------------- */

void fake_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The code that this call is to return: fake()->fail once if it is the one of fail_at. */
int fake_code(const char *call);
/* fn(copy of arg) runs when the stream comes to it; if it captures, when its graph does. For watchers, too. */
FAKE_EXPORT void fake_later(void *stream, void (*fn)(void *), const void *arg, uint64_t bytes);

typedef struct fake_gemm { /* by columns: d = a b + beta d + bias */
  const void *a, *b, *bias;
  void *d;
  bool turn_a, turn_b, f64;
  int64_t m, n, k, lda, ldb, ldd, step_a, step_b, step_d, batch;
  double beta;
} fake_gemm;
void fake_gemm_run(void *of);

#endif
