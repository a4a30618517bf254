/* SPDX-License-Identifier: MIT
 * test_random.c: the bits are Philox 4x32-10's on every device, draws advance the counter and repeat from a saved state, and the
 * distributions have their ranges and moments.
 *
 * Philox is written here anew, after Salmon et al., SC'11, section 3.3, and checked by Random123's published vectors.
 */
#include "check.h"

static const char *const devices[] = {"native", "ref", "sim"};
enum { DEVICES = sizeof devices / sizeof *devices };

/* ---- Philox ---------------------------------------------------------------------------------------------------------------- */

static void philox(uint32_t c[4], uint32_t k0, uint32_t k1)
{
  for (int r = 0; r < 10; r++) {
    const uint64_t a = 0xd2511f53ull * c[0], b = 0xcd9e8d57ull * c[2];
    const uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k0, (uint32_t)b, (uint32_t)(a >> 32) ^ c[3] ^ k1, (uint32_t)a};
    memcpy(c, next, sizeof next);
    k0 += 0x9e3779b9;
    k1 += 0xbb67ae85;
  }
}

static uint32_t word(uint64_t seed, uint64_t counter, int64_t i)
{
  const uint64_t block = counter + (uint64_t)i / 4;
  uint32_t c[4] = {(uint32_t)block, (uint32_t)(block >> 32), 0, 0};
  philox(c, (uint32_t)seed, (uint32_t)(seed >> 32));
  return c[i % 4];
}

static void published(void)
{
  static const uint32_t v[3][10] = { /* counter, key, result: Random123's kat_vectors */
    {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
    {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
    {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}};
  for (int k = 0; k < 3; k++) {
    uint32_t c[4];
    memcpy(c, v[k], sizeof c);
    philox(c, v[k][4], v[k][5]);
    ok(!memcmp(c, v[k] + 6, sizeof c), "published vector %d of Philox 4x32-10", k);
  }
}

static void bits(chx_scope *s, const char *device)
{
  static const chx_random_state states[] = {{0, 0}, {0x0123456789abcdef, 5}, {~0ull, 0xfffffffe}, {7, ~0ull - 1}};
  const int64_t shape[2] = {3, 7};
  for (size_t k = 0; k < sizeof states / sizeof *states; k++) {
    uint32_t u[21] = {0};
    uint64_t w[21] = {0};
    int wrong = 0;
    chx_random_set(s, states[k]);
    chx_read(s, chx_random_bits(s, CHX_U32, 2, shape), u, sizeof u);
    const uint64_t after = chx_random_get(s).counter - states[k].counter;
    chx_random_set(s, states[k]);
    chx_read(s, chx_random_bits(s, CHX_U64, 2, shape), w, sizeof w);
    for (int i = 0; i < 21; i++) {
      const uint64_t low = word(states[k].seed, states[k].counter, 2 * i), high = word(states[k].seed, states[k].counter, 2 * i + 1);
      wrong += u[i] != word(states[k].seed, states[k].counter, i);
      wrong += w[i] != (low | high << 32);
    }
    ok(!wrong && !chx_scope_error(s), "%s, state %zu: %d of 42 draws differ from Philox %s", device, k, wrong, chx_scope_message(s));
    is_int((long long)after, 6, "%s, state %zu: 21 u32 take 6 blocks", device, k);
  }
}

/* ---- states ------------------------------------------------------------------------------------------------------------------ */

static void states(chx_scope *s)
{
  const int64_t n = 10;
  double first[10], again[10], next[10];
  chx_scope_seed(s, 3);
  const chx_random_state start = chx_random_get(s);
  chx_read(s, chx_normal(s, CHX_F64, 1, &n, 0, 1), first, sizeof first);
  const chx_random_state saved = chx_random_get(s);
  chx_read(s, chx_normal(s, CHX_F64, 1, &n, 0, 1), next, sizeof next);
  ok(memcmp(first, next, sizeof first), "a second draw differs from the first");
  chx_random_set(s, start);
  chx_read(s, chx_normal(s, CHX_F64, 1, &n, 0, 1), again, sizeof again);
  ok(!memcmp(first, again, sizeof first), "the same state repeats a draw");
  chx_random_set(s, saved);
  chx_read(s, chx_normal(s, CHX_F64, 1, &n, 0, 1), again, sizeof again);
  ok(!memcmp(next, again, sizeof next), "a saved state goes on from there");
  chx_scope *t = chx_scope_begin(NULL);
  chx_seed(99);
  chx_uniform(t, CHX_F32, 1, &n, 0, 1);
  is_int((long long)chx_random_get(t).counter, 3, "a scope without a generator of its own advances the process's");
  is_int((long long)chx_random_get(NULL).counter, 3, "which is the same one");
  ok(chx_random_get(s).seed == 3, "and leaves the other scope's alone");
  chx_scope_end(t);
}

/* ---- distributions ------------------------------------------------------------------------------------------------------------ */

typedef struct moments { double mean, var, kurtosis, low, high; } moments;

static moments moments_of(const chx_array *a)
{
  moments m = {0, 0, 0, INFINITY, -INFINITY};
  double *v = check_doubles(a);
  const int64_t n = v ? chx_size(a) : 0;
  for (int64_t i = 0; i < n; i++) {
    m.mean += v[i] / (double)n;
    m.low = fmin(m.low, v[i]);
    m.high = fmax(m.high, v[i]);
  }
  for (int64_t i = 0; i < n; i++) m.var += (v[i] - m.mean) * (v[i] - m.mean) / (double)n;
  for (int64_t i = 0; i < n; i++) m.kurtosis += pow(v[i] - m.mean, 4) / (double)n / (m.var * m.var);
  free(v);
  return m;
}

/* Bounds are 5 standard errors, and what rounding to the dtype adds. */
static void distributions(chx_scope *s, const char *device)
{
  const int64_t n = 40000;
  const double root = sqrt((double)n);
  chx_scope_seed(s, 11);
  for (size_t k = 0; k < ntypes; k++) {
    const struct check_type *t = &type[k];
    moments m = moments_of(chx_uniform(s, t->id, 1, &n, -1, 3));
    ok(fabs(m.mean - 1) <= 5 * sqrt(4 / 3.) / root + 2 * t->eps && fabs(m.var - 4 / 3.) <= 5 * sqrt(64 / 45.) / root + 2 * t->eps,
       "%s, uniform %s: mean %.4f, variance %.4f near 1, 1.333", device, t->name, m.mean, m.var);
    ok(m.low >= -1 && m.high < 3, "%s, uniform %s: from %.6f to %.6f, in [-1, 3)", device, t->name, m.low, m.high);
    m = moments_of(chx_normal(s, t->id, 1, &n, 1, 2));
    ok(fabs(m.mean - 1) <= 5 * 2 / root + 2 * t->eps && fabs(m.var - 4) <= 5 * 4 * sqrt(2) / root + 8 * t->eps && fabs(m.kurtosis - 3) <= 5 * sqrt(24) / root,
       "%s, normal %s: mean %.4f, variance %.4f, kurtosis %.4f near 1, 4, 3", device, t->name, m.mean, m.var, m.kurtosis);
  }
  moments m = moments_of(chx_uniform(s, CHX_F32, 1, &n, 1, 1 + 0x1p-20));
  ok(m.low >= 1 && m.high < 1 + 0x1p-20, "%s, uniform of a narrow range: rounding does not reach its end", device);
  m = moments_of(chx_bernoulli(s, CHX_F32, 1, &n, 0.3));
  ok(fabs(m.mean - 0.3) <= 5 * sqrt(0.21) / root, "%s, bernoulli: mean %.4f near 0.3", device, m.mean);
  ok(moments_of(chx_bernoulli(s, CHX_BOOL, 1, &n, 0)).high == 0, "%s, bernoulli of 0: all 0", device);
  ok(moments_of(chx_bernoulli(s, CHX_BOOL, 1, &n, 1)).low == 1, "%s, bernoulli of 1: all 1", device);
  m = moments_of(chx_integers(s, CHX_I32, 1, &n, -3, 4));
  ok(m.low == -3 && m.high == 3 && fabs(m.mean) <= 5 * 2 / root && fabs(m.var - 4) <= 0.2, "%s, integers: mean %.4f, variance %.4f near 0, 4", device, m.mean, m.var);
  const int64_t none = 0;
  is_int(chx_size(chx_normal(s, CHX_F32, 1, &none, 0, 1)), 0, "%s, normal of no elements", device);
  ok(!chx_scope_error(s), "%s: no error %s", device, chx_scope_message(s));
}

static void permutation(chx_scope *s)
{
  enum { N = 1000 };
  int64_t v[N];
  int seen[N] = {0}, missing = 0, still = 0;
  chx_scope_seed(s, 5);
  chx_read(s, chx_permutation(s, N), v, sizeof v);
  for (int i = 0; i < N; i++) {
    if (v[i] >= 0 && v[i] < N) seen[v[i]]++;
    still += v[i] == i;
  }
  for (int i = 0; i < N; i++) missing += seen[i] != 1;
  ok(!missing && still < 10, "permutation: %d numbers are missing, %d in their place", missing, still);
  is_int((long long)chx_random_get(s).counter, N / 2, "permutation of %d takes %d blocks", N, N / 2);
  is_int(chx_size(chx_permutation(s, 0)), 0, "permutation of 0");
  ok(!chx_permutation(s, -1) && chx_scope_error(s) == CHX_EARG, "permutation of -1: %s", chx_scope_message(s));
  chx_scope_clear(s);
}

static void dropout(chx_scope *s)
{
  enum { N = 4000 };
  const int64_t n = N;
  chx_scope_seed(s, 8);
  chx_array *x = chx_ones(s, CHX_F64, 1, &n);
  chx_require_grad(s, x);
  chx_array *y = chx_dropout(s, x, 0.25);
  chx_backward(s, chx_sum(s, y, 0, NULL, 0));
  double *v = check_doubles(y), *g = check_doubles(chx_grad_of(s, x));
  int zero = 0, bad = 0;
  for (int i = 0; v && g && i < N; i++) {
    zero += v[i] == 0;
    bad += v[i] != 0 && fabs(v[i] - 4 / 3.) > 1e-15;
    bad += g[i] != v[i];
  }
  ok(v && g && !bad && abs(zero - 1000) < 5 * 28, "dropout: %d of %d elements are 0, near 1000; the gradient has the same mask", zero, N);
  ok(!chx_dropout(s, x, 1) && chx_scope_error(s) == CHX_EARG, "a ratio of 1: %s", chx_scope_message(s));
  free(v);
  free(g);
}

/* Another generator is refused by who has it not: none gives other numbers in its place. */
static void generators(chx_scope *s, const char *device)
{
  static const char *const ops[] = {"random_bits", "uniform", "normal", "bernoulli", "integers"};
  static const int dtypes[] = {CHX_U32, CHX_F32, CHX_F32, CHX_F32, CHX_I32};
  for (int i = 0; i < 5; i++) {
    chx_random_attr p = CHX_ATTR(random);
    chx_array *y = NULL;
    char want[64];
    p.shape = CHX_INTS(5);
    p.dtype = dtypes[i];
    p.low = i == 3 ? 0.5 : 0;
    p.high = i == 4 ? 10 : 1;
    p.generator = CHX_GENERATOR_MRG32K3A;
    snprintf(want, sizeof want, "%s:0", device);
    if (!chx_apply(s, chx_op_find(ops[i]), NULL, 0, &p, &y, 1)) chx_sync(s); /* sim says it late */
    ok(chx_scope_error(s) == CHX_EUNSUPPORTED && strstr(chx_scope_message(s), "there is no generator 'mrg32k3a'") &&
         strstr(chx_scope_message(s), want),
       "%s of another generator: %s", ops[i], chx_scope_message(s));
    chx_scope_clear(s);
    p.generator = CHX_GENERATORS;
    ok(chx_apply(s, chx_op_find(ops[i]), NULL, 0, &p, &y, 1) == CHX_EARG &&
         strstr(chx_scope_message(s), "the generator is 3"),
       "of one that is none: %s", chx_scope_message(s));
    chx_scope_clear(s);
  }
}

int main(void)
{
  published();
  for (int d = 0; d < DEVICES; d++) {
    chx_scope *s = chx_scope_begin(devices[d]);
    if (chx_scope_error(s)) {
      skip(1, chx_scope_message(s));
    } else {
      bits(s, devices[d]);
      distributions(s, devices[d]);
      generators(s, devices[d]);
    }
    chx_scope_end(s);
  }
  chx_scope *s = chx_scope_begin("native");
  states(s);
  permutation(s);
  dropout(s);
  chx_scope_end(s);
  return done_testing();
}
