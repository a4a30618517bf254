/* SPDX-License-Identifier: MIT
 * conv.h: what the convolution's files share: its geometry, and how its work is cut.
 *
 * Letters: N images, G groups, C = G CG input channels, K = G KG output channels, H elements of x's spatial axes, P of
 * y's, R of the window's. There are always three spatial axes; missing ones are in front, of length 1. Operands are dense:
 *
 *   channels first   x [N, C, H]   w [K, CG, R]   y [N, K, P]
 *   channels last    x [N, H, C]   w [K, R, CG]   y [N, P, K]
 *
 * "Columns" are, for a block of y's places and of a group's channels, the elements of x under each tap of the window (0 in
 * the padding): channels first [channel, tap][place], channels last [place][tap, channel], so that both are filled by runs.
 * Each of the three jobs is then a product of matrices with w or gy, in blocks that stay in cache. A block of work
 * is one grain of nat_parallel, cut by the problem's size alone; no two write to the same place, and sums over images run in
 * one order, so results do not depend on the number of threads.
 */
#ifndef CHX_NATIVE_CONV_H
#define CHX_NATIVE_CONV_H
#include <string.h>
#include "gemm.h"

enum { CONV, CONV_GRAD_INPUT, CONV_GRAD_WEIGHT };

typedef struct nat_conv {
  int64_t n, g, cg, kg, c, k, h, p, r;                     /* the letters above */
  int64_t in[3], out[3], ker[3], stride[3], pad[3], dil[3];
  int last, plain;                                         /* plain: a 1x1 window that moves by 1: columns are x itself */
  int64_t block;                                           /* places in a block */
  int64_t cb, c_blocks, splits;                            /* channels in a block; groups of images */
  int64_t tasks, grain, piece;                             /* piece: elements of scratch of each range of tasks */
  const void *x, *w, *y, *b;                               /* b: NULL or the bias */
  void *result, *scratch, *extra;                          /* extra: w transposed, or partial sums */
} nat_conv;

/* Ranges of tasks, and so pieces of scratch, are at most so many. */
#define NAT_CONV_RANGES 32

static inline int64_t nat_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* The tap's run: outputs *lo .. *hi - 1 of the last axis, within what was passed in, read inside of x; output o reads
 * o stride + the value returned. */
static inline int64_t nat_conv_span(const nat_conv *v, int64_t tap, int64_t *lo, int64_t *hi)
{
  const int64_t at = tap * v->dil[2] - v->pad[2], s = v->stride[2], end = v->in[2] - 1 - at;
  const int64_t first = at < 0 ? nat_ceil_div(-at, s) : 0, past = end < 0 ? 0 : end / s + 1;
  if (*lo < first) *lo = first;
  if (*hi > past) *hi = past;
  if (*hi < *lo) *hi = *lo;
  return at;
}

/* Where output place (o0, o1) and tap (r0, r1) of the outer axes read: the row of x, or -1 outside. */
static inline int64_t nat_conv_row(const nat_conv *v, int64_t o0, int64_t o1, int64_t r0, int64_t r1)
{
  const int64_t h0 = o0 * v->stride[0] - v->pad[0] + r0 * v->dil[0];
  const int64_t h1 = o1 * v->stride[1] - v->pad[1] + r1 * v->dil[1];
  if (h0 < 0 || h0 >= v->in[0] || h1 < 0 || h1 >= v->in[1]) return -1;
  return h0 * v->in[1] + h1;
}

#endif
