/* SPDX-License-Identifier: MIT
 * random.c: the generator's state, and Philox 4x32-10 on the host.
 *
 * Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC'11), and Random123's constants.
 */
#include "opfile.h"
#include "runtime.h"

void chxi_philox(uint64_t seed, uint64_t counter, uint32_t out[4])
{
  uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  uint32_t a = (uint32_t)counter, b = (uint32_t)(counter >> 32), c = 0, d = 0;
  for (int round = 0; round < 10; round++, k0 += 0x9e3779b9, k1 += 0xbb67ae85) {
    uint64_t p = (uint64_t)0xd2511f53 * a, q = (uint64_t)0xcd9e8d57 * c;
    a = (uint32_t)(q >> 32) ^ b ^ k0;
    c = (uint32_t)(p >> 32) ^ d ^ k1;
    b = (uint32_t)q;
    d = (uint32_t)p;
  }
  out[0] = a, out[1] = b, out[2] = c, out[3] = d;
}

/* ---- the state: a scope's own, or the process's ------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
CHXI_FORK_GUARD(CHXI_FORK_PLAIN, &lock, 1)
static chx_random_state process;

chx_random_state chxi_random_take(chx_scope *s, const chxi_device *dev, uint64_t blocks)
{
  static const char *const frozen = "a random operator, whose numbers would be the same at each launch,";
  if (chxi_ok(s) && chxi_capture_excludes(s, dev, frozen)) return (chx_random_state){0};
  chx_random_state *state = s->own_random ? &s->random : &process;
  pthread_mutex_lock(&lock);
  chx_random_state taken = *state;
  state->counter += blocks;
  pthread_mutex_unlock(&lock);
  return taken;
}

void chx_seed(uint64_t seed)
{
  pthread_mutex_lock(&lock);
  process = (chx_random_state){seed, 0};
  pthread_mutex_unlock(&lock);
}

chx_random_state chx_random_get(const chx_scope *s)
{
  pthread_mutex_lock(&lock);
  chx_random_state state = s && s->own_random ? s->random : process;
  pthread_mutex_unlock(&lock);
  return state;
}

void chx_random_set(chx_scope *s, chx_random_state state)
{
  pthread_mutex_lock(&lock);
  if (s) {
    s->random = state;
    s->own_random = true;
  } else
    process = state;
  pthread_mutex_unlock(&lock);
}

void chx_scope_seed(chx_scope *s, uint64_t seed)
{
  if (s) chx_random_set(s, (chx_random_state){seed, 0});
}

/* ---- permutation ------------------------------------------------------------------------------------------------------------ */

/* Fisher-Yates on the host: the same on every device. Draw i is u64 number i of the stream, modulo n - i, whose bias is
 * below 2^-40 for n < 2^24. */
chx_array *chx_permutation(chx_scope *s, int64_t n)
{
  if (!chxi_ok(s)) return NULL;
  if (n < 0 || n > INT64_MAX / 64) {
    chx_scope_fail(s, CHX_EARG, "permutation: n is %lld, want 0 or more numbers that fit memory", (long long)n);
    return NULL;
  }
  const size_t bytes = n ? (size_t)n * sizeof(int64_t) : sizeof(int64_t);
  int64_t *v = chxi_alloc(bytes);
  if (!v) return chx_scope_fail(s, CHX_ENOMEM, "permutation: out of memory for %lld numbers", (long long)n), NULL;
  chx_random_state state = chxi_random_take(s, s->dev, ((uint64_t)n + 1) / 2);
  uint32_t w[4] = {0};
  for (int64_t i = 0; i < n; i++) v[i] = i;
  for (int64_t i = 0; i < n; i++) {
    if (i % 2 == 0) chxi_philox(state.seed, state.counter + (uint64_t)i / 2, w);
    uint64_t bits = w[2 * (i % 2)] | (uint64_t)w[2 * (i % 2) + 1] << 32;
    int64_t j = i + (int64_t)(bits % (uint64_t)(n - i)), t = v[i];
    v[i] = v[j];
    v[j] = t;
  }
  chx_array *y = chx_from_host(s, CHX_I64, 1, &n, v);
  chxi_free(v, bytes);
  return y;
}
