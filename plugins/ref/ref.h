/* SPDX-License-Identifier: MIT
 * ref.h: what every file of the ref plugin includes.
 *
 * ref is the arbiter of tests: each kernel is the shortest loop that is right, on one thread, with no care for speed.
 * f16 and bf16 are computed in float and rounded once. A file has one table of kernels, ended by an entry whose op
 * is NULL, and one word in REF_FAMILIES. All loops are over a multi-index:
 *
 *   int64_t i[CHX_MAX_RANK] = {0};
 *   if (ref_count(y)) do *(float *)ref_at(y, i) = f(*(const float *)ref_at(x, i)); while (ref_next(y, i));
 */
#ifndef CHX_REF_H
#define CHX_REF_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <chx/attr.h>
#include <chx/plugin.h>

#define REF_FAMILIES(F) \
  F(elementwise) F(copy) F(reduce) F(matmul) F(conv) F(pool) F(index) F(softmax) F(random) F(scan) F(sort)

/* The first fields of every kernel. */
#define REF_KERNEL .size = sizeof(chx_kernel), .min_version = 1, .max_version = 1, .max_rank = CHX_MAX_RANK

#if defined __GNUC__
#pragma GCC visibility push(hidden)
#endif
#define REF_DECLARE(family) extern const chx_kernel ref_##family##_kernels[];
REF_FAMILIES(REF_DECLARE)
#undef REF_DECLARE

extern const chx_host *ref_host;
/* Leaves a sentence with the host and returns code. */
chx_status ref_fail(chx_status code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Element access by dtype, through double (exact for all but 64-bit integers beyond 2^53) ... */
double ref_load(int dtype, const void *p);
void ref_store(int dtype, void *p, double v); /* float to integer saturates, NaN gives 0; bool is v != 0 */
/* ... and the 16-bit floats. */
float ref_from_f16(uint16_t h);
float ref_from_bf16(uint16_t h);
uint16_t ref_to_f16(double v); /* round once, to nearest even */
uint16_t ref_to_bf16(double v);
#if defined __GNUC__
#pragma GCC visibility pop
#endif

static inline int ref_dtype(const chx_tensor *t) { return CHX_T_DTYPE(t); }
static inline int64_t ref_size(const chx_tensor *t) { return t->bits / 8; }

static inline int64_t ref_count(const chx_tensor *t)
{
  int64_t n = 1;
  for (int k = 0; k < t->ndim; k++) n *= t->shape[k];
  return n;
}

/* The element at a multi-index; of a host scalar always its value. */
static inline void *ref_at(const chx_tensor *t, const int64_t *i)
{
  if (t->flags & CHX_T_HOST_SCALAR) return (void *)(uintptr_t)t->imm;
  int64_t at = 0;
  for (int k = 0; k < t->ndim; k++) at += i[k] * t->strides[k];
  return (char *)t->data + t->byte_offset + at * ref_size(t);
}

/* Step a multi-index through t's shape, last axis first; 0 when it is back at the start. */
static inline int ref_next(const chx_tensor *t, int64_t *i)
{
  for (int k = t->ndim; k-- > 0; i[k] = 0)
    if (++i[k] < t->shape[k]) return 1;
  return 0;
}

#endif
