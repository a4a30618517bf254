/* SPDX-License-Identifier: MIT
 * test_curand.c: our random bits are those of NVIDIA's Philox 4x32-10, and its other generators can be positioned as
 * the cuda plugin does; on cuRAND's host generator, which needs no GPU.
 *
 * Seen of cuRAND 10: the seed is the key, and 4 words of a counter's block begin at every 2^18-th element of its
 * sequence.
 */
#include "check.h"
#include <curand.h>
#include <dlfcn.h>

enum { BLOCKS = 64 };
static struct {
  __typeof__(curandCreateGeneratorHost) *create;
  __typeof__(curandSetPseudoRandomGeneratorSeed) *seed;
  __typeof__(curandSetGeneratorOffset) *offset;
  __typeof__(curandSetGeneratorOrdering) *order;
  __typeof__(curandGenerate) *generate;
  __typeof__(curandDestroyGenerator) *destroy;
} rand_api;

static bool opened(void)
{
  static const char *const names[] = {"libcurand.so.10", "libcurand.so", "/usr/local/cuda/lib64/libcurand.so.10"};
  void *lib = NULL;
  for (int i = 0; i < 3 && !lib; i++) lib = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
  if (!lib) return false;
  *(void **)&rand_api.create = dlsym(lib, "curandCreateGeneratorHost");
  *(void **)&rand_api.seed = dlsym(lib, "curandSetPseudoRandomGeneratorSeed");
  *(void **)&rand_api.offset = dlsym(lib, "curandSetGeneratorOffset");
  *(void **)&rand_api.order = dlsym(lib, "curandSetGeneratorOrdering");
  *(void **)&rand_api.generate = dlsym(lib, "curandGenerate");
  *(void **)&rand_api.destroy = dlsym(lib, "curandDestroyGenerator");
  return rand_api.create && rand_api.seed && rand_api.offset && rand_api.order && rand_api.generate && rand_api.destroy;
}

static bool theirs(uint64_t seed, uint64_t block, unsigned word[4])
{
  curandGenerator_t g = NULL;
  const bool good = !rand_api.create(&g, CURAND_RNG_PSEUDO_PHILOX4_32_10) && !rand_api.seed(g, seed) &&
                    !rand_api.offset(g, block << 18) && !rand_api.generate(g, word, 4);
  if (g) rand_api.destroy(g);
  return good;
}

static void compare(chx_scope *s, const char *device, uint64_t seed, uint64_t first)
{
  unsigned word[4];
  int wrong = 0;
  chx_scope_set_device(s, device);
  chx_random_attr p = CHX_ATTR(random);
  p.shape = CHX_INTS(4 * BLOCKS);
  p.dtype = CHX_U32;
  p.seed = (int64_t)seed;
  p.counter = (int64_t)first;
  chx_array *y = NULL;
  double *v = chx_apply(s, chx_op_find("random_bits"), NULL, 0, &p, &y, 1) ? NULL : check_doubles(y);
  if (!ok(v != NULL, "%s: random_bits: %s", device, chx_scope_message(s))) return;
  for (int b = 0; b < BLOCKS; b++) {
    if (!theirs(seed, first + (uint64_t)b, word)) wrong += 1000;
    for (int i = 0; i < 4; i++) wrong += v[4 * b + i] != (double)word[i];
  }
  free(v);
  is_int(wrong, 0, "%s: the bits of seed %llu from block %llu are cuRAND's", device, (unsigned long long)seed,
         (unsigned long long)first);
}

/* n words from `first` on, as plugins/cuda/rand.c asks for them. */
static bool words(curandRngType_t kind, uint64_t seed, uint64_t first, unsigned *to, size_t n)
{
  curandGenerator_t g = NULL;
  const bool good = !rand_api.create(&g, kind) && !rand_api.order(g, CURAND_ORDERING_PSEUDO_LEGACY) &&
                    !rand_api.seed(g, seed) && !rand_api.offset(g, first) && !rand_api.generate(g, to, n);
  if (g) rand_api.destroy(g);
  return good;
}

/* That an offset is a number of words: else two calls would share some, or the same call would not repeat. */
static void positioned(curandRngType_t kind, const char *name)
{
  enum { N = 10000 }; /* more than XORWOW's 4096 sequences */
  static const uint64_t firsts[] = {0, 4, 12, 4092, 4096, 5000};
  static unsigned all[N], part[N];
  int wrong = 0;
  if (!ok(words(kind, 42, 0, all, N), "%s: words of a seed", name)) return;
  for (int k = 0; k < 6; k++) {
    const size_t n = N - firsts[k];
    if (!words(kind, 42, firsts[k], part, n)) wrong += N;
    for (size_t i = 0; i < n; i++) wrong += part[i] != all[firsts[k] + i];
  }
  is_int(wrong, 0, "%s: an offset counts words", name);
  ok(words(kind, 43, 0, part, N) && memcmp(all, part, sizeof all), "%s: another seed is another sequence", name);
}

int main(void)
{
  if (!opened()) {
    skip(1, "cuRAND is not there");
    return done_testing();
  }
  positioned(CURAND_RNG_PSEUDO_XORWOW, "xorwow");
  positioned(CURAND_RNG_PSEUDO_MRG32K3A, "mrg32k3a");
  chx_scope *s = chx_scope_begin("native");
  static const char *const devices[] = {"native:0", "ref:0", "opencl:0"};
  for (int d = 0; d < 3; d++) {
    if (chx_scope_set_device(s, devices[d])) {
      chx_scope_clear(s);
      skip(1, devices[d]);
      continue;
    }
    compare(s, devices[d], 42, 0);
    compare(s, devices[d], 0x123456789abcdef0u, 1000);
  }
  chx_scope_end(s);
  return done_testing();
}
