/* SPDX-License-Identifier: MIT
 * fakerand.c: the stand-in's cuRAND, whose words are a plain function of kind, seed and place (fakerand.h); see
 * fakegpu.h.
 */
#include <curand.h>
#include <stdlib.h>
#include "fakegpu.h"
#include "fakerand.h"

typedef struct generator { int kind, order; unsigned long long seed, offset; cudaStream_t stream; } generator;
typedef struct job { generator g; unsigned *to; size_t n; } job;
#define AS(p) ((generator *)(void *)(p))

curandStatus_t curandCreateGenerator(curandGenerator_t *out, curandRngType_t kind)
{
  const int code = fake_code("curandCreateGenerator");
  if (code) return (curandStatus_t)code;
  fake_say("curandCreateGenerator %d", (int)kind);
  fake()->handles++;
  *out = (curandGenerator_t)calloc(1, sizeof(generator));
  AS(*out)->kind = (int)kind;
  return CURAND_STATUS_SUCCESS;
}

curandStatus_t curandDestroyGenerator(curandGenerator_t g)
{
  free((void *)g);
  fake()->handles--;
  return CURAND_STATUS_SUCCESS;
}

#define SETTER(name, field, Type) \
  curandStatus_t name(curandGenerator_t g, Type value) { return AS(g)->field = value, CURAND_STATUS_SUCCESS; }
SETTER(curandSetStream, stream, cudaStream_t)
SETTER(curandSetPseudoRandomGeneratorSeed, seed, unsigned long long)
SETTER(curandSetGeneratorOffset, offset, unsigned long long)

curandStatus_t curandSetGeneratorOrdering(curandGenerator_t g, curandOrdering_t order)
{
  AS(g)->order = (int)order;
  return CURAND_STATUS_SUCCESS;
}

static void fill(void *of)
{
  const job *j = of;
  for (size_t i = 0; i < j->n; i++) j->to[i] = fake_word(j->g.kind, j->g.seed, j->g.offset + i);
}

curandStatus_t curandGenerate(curandGenerator_t g, unsigned *to, size_t n)
{
  const job j = {*AS(g), to, n};
  const int code = fake_code("curandGenerate");
  if (code) return (curandStatus_t)code;
  fake_say("curandGenerate kind %d order %d seed %llu offset %llu words %zu", j.g.kind, j.g.order, j.g.seed,
           j.g.offset, n);
  fake_later(j.g.stream, fill, &j, sizeof j);
  return CURAND_STATUS_SUCCESS;
}
