/* SPDX-License-Identifier: MIT
 * fakemiopen.c: the stand-in's MIOpen: convolutions of f32 from their descriptors; see fakegpu.h.
 *
 * It offers three solutions: the first wants too much memory, the second does not compile. Of one image of 1 x 1 it has
 * none.
 */
#include <stdlib.h>
#include <string.h>
#include "../plugins/hip/miopen.h"
#include "fakeconv.h"
#include "fakegpu.h"

typedef struct handle { hipStream_t stream; } handle;
#define AS(type, p) ((type *)(void *)(p))

static void *made(size_t n) { return fake()->descriptors++, calloc(1, n); }
static miopenStatus_t gone(void *p) { return free(p), fake()->descriptors--, miopenStatusSuccess; }
#define MAKE(what, struct_) \
  miopenStatus_t miopenCreate##what##Descriptor(miopen##what##Descriptor_t *out) \
  { \
    *out = (miopen##what##Descriptor_t)made(sizeof(struct_)); \
    return miopenStatusSuccess; \
  } \
  miopenStatus_t miopenDestroy##what##Descriptor(miopen##what##Descriptor_t of) { return gone((void *)of); }
MAKE(Tensor, fake_tensor)
MAKE(Convolution, fake_window)

const char *miopenGetErrorString(miopenStatus_t st) { return (void)st, "miopenStatusStandIn"; }

miopenStatus_t miopenCreateWithStream(miopenHandle_t *h, hipStream_t stream)
{
  const int code = fake_code("miopenCreateWithStream");
  if (code) return (miopenStatus_t)code;
  fake_say("miopenCreateWithStream");
  fake()->handles++;
  *h = (miopenHandle_t)calloc(1, sizeof(handle));
  AS(handle, *h)->stream = stream;
  return miopenStatusSuccess;
}

miopenStatus_t miopenDestroy(miopenHandle_t h) { return free((void *)h), fake()->handles--, miopenStatusSuccess; }

miopenStatus_t miopenSetTensorDescriptor(miopenTensorDescriptor_t of, miopenDataType_t type, int n, const int *dim,
                                         const int *step)
{
  fake_tensor *t = AS(fake_tensor, of);
  if (n < 4 || n > FAKE_AXES) return miopenStatusBadParm;
  t->type = (int)type, t->n = n;
  memcpy(t->dim, dim, (size_t)n * sizeof *dim);
  memcpy(t->step, step, (size_t)n * sizeof *step);
  return miopenStatusSuccess;
}

miopenStatus_t miopenInitConvolutionNdDescriptor(miopenConvolutionDescriptor_t of, int n, const int *pad,
                                                 const int *stride, const int *dil, miopenConvolutionMode_t mode)
{
  fake_window *w = AS(fake_window, of);
  w->n = n, w->mode = (int)mode, w->groups = 1;
  memcpy(w->pad, pad, (size_t)n * sizeof *pad);
  memcpy(w->stride, stride, (size_t)n * sizeof *stride);
  memcpy(w->dil, dil, (size_t)n * sizeof *dil);
  return miopenStatusSuccess;
}

miopenStatus_t miopenSetConvolutionGroupCount(miopenConvolutionDescriptor_t of, int n)
{
  AS(fake_window, of)->groups = n;
  return miopenStatusSuccess;
}

miopenStatus_t miopenSetConvolutionAttribute(miopenConvolutionDescriptor_t of, miopenConvolutionAttrib_t key, int value)
{
  if (key != MIOPEN_CONVOLUTION_ATTRIB_DETERMINISTIC) return miopenStatusBadParm;
  AS(fake_window, of)->deterministic = value;
  return miopenStatusSuccess;
}

/* ---- the immediate mode ------------------------------------------------------------------------------------------ */

enum { TOO_MUCH = 70, BROKEN, GOOD };

static miopenStatus_t find(const char *call, const fake_tensor *any, size_t room, size_t *n, miopenConvSolution_t *list)
{
  const int code = fake_code(call);
  fake_say("%s", call);
  *n = 0;
  if (code) return (miopenStatus_t)code;
  if (any->dim[2] == 1 && any->dim[3] == 1) return miopenStatusSuccess;
  for (; *n < 3 && *n < room; ++*n) {
    list[*n].solution_id = TOO_MUCH + *n;
    list[*n].workspace_size = *n ? 512 : (size_t)1 << 40;
  }
  return miopenStatusSuccess;
}

static miopenStatus_t compile(uint64_t solution)
{
  fake_say("compile solution %d", (int)solution);
  return solution == GOOD ? miopenStatusSuccess : miopenStatusUnknownError;
}

static const char *layout(const fake_tensor *t) { return t->step[1] == 1 && t->dim[1] > 1 ? "last" : "first"; }

static miopenStatus_t queue(miopenHandle_t h, fake_conv j, const void *workspace, size_t bytes, uint64_t solution)
{
  const int code = fake_code("miopenConvolution");
  if (code) return (miopenStatus_t)code;
  fake_say("conv mode %d type %d solution %d groups %d axes %d channels %s %s %s deterministic %d workspace %zu",
           j.mode, j.x.type, (int)solution, j.c.groups, j.c.n, layout(&j.x), layout(&j.w), layout(&j.y),
           j.c.deterministic, bytes);
  if (j.c.mode != miopenConvolution || j.c.n != j.x.n - 2 || !workspace) return miopenStatusBadParm;
  if (j.x.type != miopenFloat) return miopenStatusSuccess; /* halves are recorded alone */
  fake_later(AS(handle, h)->stream, fake_conv_run, &j, sizeof j);
  return miopenStatusSuccess;
}

#define DIRECTION(name, mode, x, w, y, first, second) \
  miopenStatus_t miopenConvolution##name##GetSolution( \
    miopenHandle_t h, miopenTensorDescriptor_t a, miopenTensorDescriptor_t b, miopenConvolutionDescriptor_t conv, \
    miopenTensorDescriptor_t c, size_t room, size_t *n, miopenConvSolution_t *list) \
  { \
    (void)h, (void)conv, (void)a, (void)b, (void)c; \
    return find("miopenConvolution" #name "GetSolution", AS(fake_tensor, x), room, n, list); \
  } \
  miopenStatus_t miopenConvolution##name##CompileSolution( \
    miopenHandle_t h, miopenTensorDescriptor_t a, miopenTensorDescriptor_t b, miopenConvolutionDescriptor_t conv, \
    miopenTensorDescriptor_t c, uint64_t solution) \
  { \
    (void)h, (void)a, (void)b, (void)conv, (void)c; \
    return compile(solution); \
  } \
  miopenStatus_t miopenConvolution##name##Immediate( \
    miopenHandle_t h, miopenTensorDescriptor_t a, const void *a_data, miopenTensorDescriptor_t b, \
    const void *b_data, miopenConvolutionDescriptor_t conv, miopenTensorDescriptor_t c, void *c_data, void *workspace, \
    size_t bytes, uint64_t solution) \
  { \
    const fake_conv j = {*AS(fake_tensor, x), *AS(fake_tensor, w), *AS(fake_tensor, y), *AS(fake_window, conv), \
                         {first, second}, c_data, mode}; \
    return queue(h, j, workspace, bytes, solution); \
  }
DIRECTION(Forward, FAKE_FORWARD, b, a, c, b_data, a_data)
DIRECTION(BackwardData, FAKE_TO_X, c, b, a, b_data, a_data)
DIRECTION(BackwardWeights, FAKE_TO_W, b, c, a, b_data, a_data)
