/* SPDX-License-Identifier: MIT
 * iter.h: the one place where strides are walked.
 *
 * A nat_walk goes over up to NAT_WALK_OPS tensors of one shape at once. nat_walk_init drops axes of length 1, puts the
 * axes in the order in which operand 0 (the output) lies in memory, and joins neighbours that are one run for every
 * operand. The element numbers below count in that order, which is the row-major one where operand 0 is dense.
 *
 *   nat_walk w;
 *   nat_walk_init(&w, y->ndim, y->shape, 2, (const chx_tensor *[]){y, x});
 *   nat_walk_seek(&w, begin, end);
 *   for (int64_t n; (n = nat_walk_next(&w));)     n neighbours: operand k has them at w.p[k], w.step[k] bytes apart
 *
 * A host scalar has stride 0 everywhere. For each operand alone, without the others' runs: nat_gather, nat_scatter.
 */
#ifndef CHX_NATIVE_ITER_H
#define CHX_NATIVE_ITER_H
#include <string.h>
#include "native.h"

#define NAT_WALK_OPS 16

typedef struct nat_walk {
  int rank, n_op;                             /* rank >= 1: axis rank - 1 is a run */
  int64_t n;                                  /* elements in all */
  int64_t dim[CHX_MAX_RANK];
  int64_t stride[NAT_WALK_OPS][CHX_MAX_RANK]; /* bytes */
  char *base[NAT_WALK_OPS];
  int64_t step[NAT_WALK_OPS];                 /* stride[k][rank - 1] */
  char *p[NAT_WALK_OPS];                      /* set by next */
  int64_t index[CHX_MAX_RANK], pos, end;      /* of the run that next hands out next */
} nat_walk;

static inline int64_t nat_abs64(int64_t v) { return v < 0 ? -v : v; }

static inline void nat_walk_init(nat_walk *w, int rank, const int64_t *shape, int n_op, const chx_tensor *const *t)
{
  int order[CHX_MAX_RANK], n = 0;

  w->n_op = n_op;
  w->n = 1;
  for (int d = 0; d < rank; d++) {
    w->n *= shape[d];
    if (shape[d] != 1) order[n++] = d;
  }
  const int64_t *s0 = t[0]->flags & CHX_T_HOST_SCALAR ? NULL : t[0]->strides;
  for (int i = 1; s0 && i < n; i++) { /* stable, so that axes of equal stride keep their order */
    int d = order[i], j = i;
    for (; j > 0 && nat_abs64(s0[order[j - 1]]) < nat_abs64(s0[d]); j--) order[j] = order[j - 1];
    order[j] = d;
  }
  for (int k = 0; k < n_op; k++) {
    w->base[k] = nat_data(t[k]);
    w->stride[k][0] = 0;
  }
  w->rank = 0;
  for (int i = 0; i < n; i++) {
    int d = order[i], r = w->rank, join = r > 0;
    for (int k = 0; k < n_op; k++) {
      int64_t s = t[k]->flags & CHX_T_HOST_SCALAR ? 0 : t[k]->strides[d] * nat_size(t[k]);
      w->stride[k][r] = s;
      if (join && w->stride[k][r - 1] != s * shape[d]) join = 0;
    }
    if (join) {
      w->dim[r - 1] *= shape[d];
      for (int k = 0; k < n_op; k++) w->stride[k][r - 1] = w->stride[k][r];
    } else {
      w->dim[r] = shape[d];
      w->rank++;
    }
  }
  if (w->rank == 0) {
    w->dim[0] = 1;
    w->rank = 1;
  }
  for (int k = 0; k < n_op; k++) w->step[k] = w->stride[k][w->rank - 1];
}

/* Go to element begin; next ends before element end. */
static inline void nat_walk_seek(nat_walk *w, int64_t begin, int64_t end)
{
  w->pos = begin;
  w->end = end < w->n ? end : w->n;
  if (w->pos >= w->end) return;
  int64_t rest = begin;
  for (int d = w->rank - 1; d > 0; d--) {
    w->index[d] = rest % w->dim[d];
    rest /= w->dim[d];
  }
  w->index[0] = rest;
}

/* The next run: its length, 0 at the end; w->p[k] is where it starts. */
static inline int64_t nat_walk_next(nat_walk *w)
{
  if (w->pos >= w->end) return 0;
  int in = w->rank - 1;
  int64_t n = w->dim[in] - w->index[in];
  if (n > w->end - w->pos) n = w->end - w->pos;
  for (int k = 0; k < w->n_op; k++) {
    char *p = w->base[k];
    for (int d = 0; d <= in; d++) p += w->index[d] * w->stride[k][d];
    w->p[k] = p;
  }
  w->pos += n;
  w->index[in] += n;
  for (int d = in; d > 0 && w->index[d] == w->dim[d]; d--) {
    w->index[d] = 0;
    w->index[d - 1]++;
  }
  return n;
}

/* t without axes at .. at + n - 1, with room for its shape and strides: what a kernel that works along axes walks over. */
typedef struct nat_part { chx_tensor t; int64_t shape[CHX_MAX_RANK], strides[CHX_MAX_RANK]; } nat_part;
static inline const chx_tensor *nat_without(nat_part *p, const chx_tensor *t, int at, int n)
{
  p->t = *t;
  p->t.flags &= ~(uint64_t)CHX_T_CONTIGUOUS;
  p->t.ndim = 0;
  for (int k = 0; k < t->ndim; k++) {
    if (k >= at && k < at + n) continue;
    p->shape[p->t.ndim] = t->shape[k];
    p->strides[p->t.ndim++] = t->strides[k];
  }
  p->t.shape = p->shape;
  p->t.strides = p->strides;
  return &p->t;
}

/* Whether operand k of the walk is one element throughout, or all one dense run of elements of `size` bytes. */
static inline int nat_walk_is_scalar(const nat_walk *w, int k)
{
  for (int d = 0; d < w->rank; d++)
    if (w->stride[k][d] != 0 && w->dim[d] != 1) return 0;
  return 1;
}
static inline int nat_walk_is_dense(const nat_walk *w, int k, int64_t size)
{
  for (int d = w->rank; d-- > 0; size *= w->dim[d])
    if (w->stride[k][d] != size && w->dim[d] != 1) return 0;
  return 1;
}

/* Move n elements of `size` bytes between runs whose elements lie ds and ss bytes apart. */
#define NAT_MOVE(type) \
  for (int64_t i = 0; i < n; i++) *(type *)(void *)(d + i * ds) = *(const type *)(const void *)(s + i * ss); \
  break
typedef struct nat_16 { uint64_t v[2]; } nat_16;
static inline void nat_move(int64_t n, int64_t size, char *d, int64_t ds, const char *s, int64_t ss)
{
  if (ds == size && ss == size) {
    memcpy(d, s, (size_t)(n * size));
    return;
  }
  switch (size) {
  case 1: NAT_MOVE(uint8_t);
  case 2: NAT_MOVE(uint16_t);
  case 4: NAT_MOVE(uint32_t);
  case 8: NAT_MOVE(uint64_t);
  default: NAT_MOVE(nat_16);
  }
}
#undef NAT_MOVE

/* Move elements begin .. begin + n - 1 of operand k, whose first element is at p, to a dense block or (put) from it. */
static inline void nat_transfer(const nat_walk *w, int k, char *p, int64_t size, int64_t begin, int64_t n, char *block,
                                int put)
{
  int64_t index[CHX_MAX_RANK], rest = begin;
  const int in = w->rank - 1;
  const int64_t *st = w->stride[k];

  for (int d = in; d >= 0; d--) {
    index[d] = d ? rest % w->dim[d] : rest;
    if (d) rest /= w->dim[d];
    p += index[d] * st[d];
  }
  while (n > 0) {
    int64_t m = w->dim[in] - index[in];
    if (m > n) m = n;
    if (put) nat_move(m, size, p, st[in], block, size);
    else nat_move(m, size, block, size, p, st[in]);
    block += m * size;
    n -= m;
    p += m * st[in];
    index[in] += m;
    for (int d = in; d > 0 && index[d] == w->dim[d]; d--) {
      index[d] = 0;
      index[d - 1]++;
      p += st[d - 1] - w->dim[d] * st[d];
    }
  }
}
static inline void nat_gather(const nat_walk *w, int k, int64_t size, int64_t begin, int64_t n, void *block)
{
  nat_transfer(w, k, w->base[k], size, begin, n, block, 0);
}
static inline void nat_scatter(const nat_walk *w, int k, int64_t size, int64_t begin, int64_t n, const void *block)
{
  nat_transfer(w, k, w->base[k], size, begin, n, (char *)(uintptr_t)block, 1);
}

/* n copies of the element at s. */
static inline void nat_fill(int64_t n, int64_t size, void *d, const void *s)
{
  nat_16 v; /* a copy: s may lie in d */
  memcpy(&v, s, (size_t)size);
  nat_move(n, size, d, size, (const char *)&v, 0);
}

#endif
