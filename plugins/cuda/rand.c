/* SPDX-License-Identifier: MIT
 * rand.c: random_bits of the generators that are cuRAND's and not ours.
 *
 * Those are here that can be positioned, so that a call's numbers follow from its seed and counter alone: word i is
 * number 4 counter + i of the sequence of that seed, in the order that cuRAND promises to keep. A generator of cuRAND
 * is one stream's, so each queue has its own, made at first use. The shared kernel asks for them, and refuses where
 * there are none.
 */
#include <curand.h>
#include <stdlib.h>
#include "nvidia.h"

enum { KINDS = 2 };
typedef struct made { curandGenerator_t of[KINDS]; } made;

static const curandRngType_t types[KINDS] = {[CHX_GENERATOR_XORWOW - 1] = CURAND_RNG_PSEUDO_XORWOW,
                                             [CHX_GENERATOR_MRG32K3A - 1] = CURAND_RNG_PSEUDO_MRG32K3A};

#define RAND_FUNCTIONS(F) \
  F(create, curandCreateGenerator) F(destroy, curandDestroyGenerator) F(set_stream, curandSetStream) \
  F(set_order, curandSetGeneratorOrdering) F(set_seed, curandSetPseudoRandomGeneratorSeed) \
  F(set_offset, curandSetGeneratorOffset) F(generate, curandGenerate)

static struct { RAND_FUNCTIONS(DRV_MEMBER) } rnd;

static bool bind(void *handle, char *why, size_t size)
{
#define BIND(member, function) \
  if (!drv_symbol(handle, &rnd.member, DRV_NAME(function), why, size)) return false;
  RAND_FUNCTIONS(BIND)
#undef BIND
  return true;
}

static bool opened(void)
{
  static const char *const names[] = {"libcurand.so.10", "/usr/local/cuda/lib64/libcurand.so.10", NULL};
  static drv_library library = DRV_LIBRARY("CHX_CURAND_LIBRARY", names);
  return drv_library_open(&library, bind);
}

static chx_status failed(const chx_call *c, curandStatus_t code, const char *call)
{
  return gpu_fail(gpu_of(c->dev), code == CURAND_STATUS_ALLOCATION_FAILED ? CHX_ENOMEM : CHX_EFAILED,
                  "%s: %s: curandStatus %d", gpu_of(c->dev)->spec, call, (int)code);
}

static chx_status generator_of(const chx_call *c, int kind, curandGenerator_t *out)
{
  void **handle = &c->queue->handle[CUDA_RAND];
  if (!*handle && !(*handle = calloc(1, sizeof(made))))
    return gpu_fail(gpu_of(c->dev), CHX_ENOMEM, "%s: out of memory for a generator", gpu_of(c->dev)->spec);
  curandGenerator_t *g = &((made *)*handle)->of[kind];
  if (!*g) {
    curandGenerator_t one = NULL;
    curandStatus_t code = rnd.create(&one, types[kind]);
    if (code) return failed(c, code, "curandCreateGenerator");
    code = rnd.set_stream(one, c->queue->stream);
    if (!code) code = rnd.set_order(one, CURAND_ORDERING_PSEUDO_LEGACY);
    if (code) {
      rnd.destroy(one);
      return failed(c, code, "setting up a generator of cuRAND");
    }
    *g = one;
  }
  *out = *g;
  return CHX_OK;
}

void cuda_rand_close(chx_queue *q)
{
  made *all = q->handle[CUDA_RAND];
  for (int k = 0; all && k < KINDS; k++)
    if (all->of[k]) rnd.destroy(all->of[k]);
  free(all);
  q->handle[CUDA_RAND] = NULL;
}

chx_status cuda_rand(const chx_call *c)
{
  const chx_random_attr *p = c->attr;
  const chx_tensor *y = &c->out[0];
  const size_t words = (size_t)(gpu_count(y) * (y->bits / 32));
  curandGenerator_t g = NULL;
  if (p->generator < 1 || p->generator > KINDS || !opened()) return CHX_DECLINED;
  if (!words) return CHX_OK;
  chx_status st = drv_enter(c->dev);
  if (!st) st = generator_of(c, (int)p->generator - 1, &g);
  if (st) return st;
  curandStatus_t code = rnd.set_seed(g, (unsigned long long)p->seed);
  if (!code) code = rnd.set_offset(g, 4 * (unsigned long long)p->counter);
  if (!code) code = rnd.generate(g, drv_data(y), words);
  if (code) return failed(c, code, "curandGenerate");
  return drv_queued(c->dev, c->queue, DRV_SUCCESS, "");
}
