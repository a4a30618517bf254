/* SPDX-License-Identifier: MIT
 * native.h: what every file of the native plugin includes.
 *
 * Kernel files are named k_*.c. On x86-64 each is compiled three times, with -DCHX_ISA=v2, v3 and v4 and the flags
 * of plain x86-64, x86-64-v3 and x86-64-v4; elsewhere once, with -DCHX_ISA=plain. So every external symbol in them
 * is made with NAT(name), which pastes the level. A family of kernels is one table, ended by an entry whose op is
 * NULL, and one word in NAT_FAMILIES; plugin.c chooses the level when it is opened and joins the tables:
 *
 *   const chx_kernel NAT(nat_softmax_kernels)[] = {{NAT_KERNEL, .op = "softmax", ...}, {0}};
 *
 * Kernel files want -O3 -fno-math-errno -fno-trapping-math (without them the loops are right, but do not vectorise).
 * They keep no state, take no locks, and use little stack: 32 KiB at most.
 */
#ifndef CHX_NATIVE_H
#define CHX_NATIVE_H
#include <stddef.h>
#include <stdint.h>
#include <chx/attr.h>
#include <chx/plugin.h>

#define NAT_FAMILIES(F) \
  F(elementwise) F(map) F(copy) F(reduce) F(matmul) F(conv) F(pool) F(index) F(softmax) F(random) F(scan) \
  F(sort)

#ifndef CHX_ISA
#define CHX_ISA plain
#endif
#define NAT_PASTE_(a, b) a##_##b
#define NAT_PASTE(a, b) NAT_PASTE_(a, b)
#define NAT(name) NAT_PASTE(name, CHX_ISA)

/* The first fields of every kernel. */
#define NAT_KERNEL .size = sizeof(chx_kernel), .min_version = 1, .max_version = 1, .max_rank = CHX_MAX_RANK

/* Before a loop whose output may be its input, element upon element, but overlaps it in no other way. */
#if defined __clang__
#define NAT_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#pragma clang diagnostic ignored "-Wpass-failed"          /* a loop that cannot be vectorised need not be */
#pragma clang diagnostic ignored "-Wtautological-compare" /* v != v asks for NaN in code that integers share */
#else
#define NAT_IVDEP _Pragma("GCC ivdep")
#endif
#define NAT_LIKELY(x) __builtin_expect(!!(x), 1)
#define NAT_NOINLINE __attribute__((noinline))

/* Elements below which a call is not worth a second thread, for an operation as cheap as an addition. It is also
 * the grain such loops hand to nat_parallel. */
#define NAT_GRAIN 32768

#if defined __GNUC__
#pragma GCC visibility push(hidden)
#endif

/* The kernels of the reference mode (reference.c), tables ended by NULL. */
extern const chx_kernel *const nat_reference_families[];

/* What the core lends; set once, by open, and never NULL in a kernel. */
extern const chx_host *nat_host;

/* Leaves a sentence with the host and returns code: return nat_fail(CHX_EARG, "take: index %lld is ...", ...). */
chx_status nat_fail(chx_status code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* nat_parallel: fn(begin, end, ctx) for ranges that make up [0, n), in any order and on any thread. A range is one
 * or more whole grains (the last may be short), so cut the work by the problem's size: what a grain computes must
 * not depend on which thread runs it. Runs in place where n <= grain. */
typedef void nat_range(int64_t begin, int64_t end, void *ctx);
void nat_parallel(int64_t n, int64_t grain, nat_range *fn, void *ctx);

#if defined __GNUC__
#pragma GCC visibility pop
#endif

/* The first element; of a host scalar, its value. */
static inline void *nat_data(const chx_tensor *t)
{
  return t->flags & CHX_T_HOST_SCALAR ? (void *)(uintptr_t)t->imm : (char *)t->data + t->byte_offset;
}

static inline int nat_dtype(const chx_tensor *t) { return CHX_T_DTYPE(t); }
static inline int64_t nat_size(const chx_tensor *t) { return t->bits / 8; } /* bytes of an element */

static inline int64_t nat_count(const chx_tensor *t)
{
  int64_t n = 1;
  for (int k = 0; k < t->ndim; k++) n *= t->shape[k];
  return n;
}

/* Whether the elements lie densely, in row-major order. */
static inline int nat_dense(const chx_tensor *t)
{
  if (t->flags & CHX_T_CONTIGUOUS) return 1;
  int64_t want = 1;
  for (int k = t->ndim; k-- > 0;) {
    if (t->shape[k] == 0) return 1;
    if (t->shape[k] != 1 && t->strides[k] != want) return 0;
    want *= t->shape[k];
  }
  return 1;
}

#endif
