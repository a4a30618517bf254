/* SPDX-License-Identifier: MIT
 * test_gpu_geometry.c: what goes to a shared GPU kernel: where elements lie, against a walk over the shape as it was,
 * and values. Needs no device.
 */
#include "check.h"
#include "../plugins/gpu/gpu.h"

/* ---- geometry ------------------------------------------------------------------------------------------------ */

static int64_t walk(int nd, const int64_t *dim, const int64_t *stride,
                    int64_t i) /* the place of element i, row by row */
{
  int64_t at = 0;
  for (int d = nd - 1; d >= 0; d--) at += i % dim[d] * stride[d], i /= dim[d];
  return at;
}

typedef struct operands {
  int n;
  chx_tensor t[GPU_OPERANDS];
  const chx_tensor *p[GPU_OPERANDS];
  int64_t strides[GPU_OPERANDS][CHX_MAX_RANK];
} operands;

static void random_operands(operands *o, int nd, int64_t *shape)
{
  int64_t n = 1;
  for (int d = 0; d < nd; d++) {
    shape[d] = n < 2000 ? (int64_t[]){1, 1, 2, 2, 3, 5, 0, 4}[check_bits() % (check_bits() % 8 ? 6 : 8)] : 1;
    if (shape[d] > 1) n *= shape[d];
  }
  o->n = 1 + (int)(check_bits() % GPU_OPERANDS);
  for (int k = 0; k < o->n; k++) {
    const int kind =
        (int)(check_bits() % 6); /* dense, broadcast in places, reversed in places, steps, any order, host scalar */
    int64_t step = kind == 3 ? 3 : 1;
    o->t[k] = (chx_tensor){.ndim = nd,
                           .code = 2,
                           .bits = 32,
                           .lanes = 1,
                           .shape = shape,
                           .strides = o->strides[k],
                           .byte_offset = 4 * (check_bits() % 1000),
                           .flags = kind == 5 ? CHX_T_HOST_SCALAR : 0};
    o->p[k] = &o->t[k];
    for (int d = nd - 1; d >= 0; d--) {
      o->strides[k][d] =
          (kind == 1 && check_bits() % 2) || kind == 5 ? 0 : (kind == 2 && check_bits() % 2 ? -1 : 1) * step;
      if (kind == 4) o->strides[k][d] = (int64_t)(check_bits() % 2001) - 1000;
      step *= shape[d] ? shape[d] : 1;
    }
  }
}

/* The geometry's n, offsets and places are those of the operands as they were. */
static bool same_places(const gpu_geometry *g, const operands *o, int nd, const int64_t *shape)
{
  int64_t n = 1;
  for (int d = 0; d < nd; d++) n *= shape[d];
  if (g->n != n || g->ops != o->n || g->nd > nd) return false;
  int64_t all = 1;
  for (int d = 0; d < g->nd; d++) {
    all *= g->dim[d];
    if (g->dim[d] == 1) return false; /* none of these is left */
  }
  if (all != n) return false;
  for (int k = 0; k < o->n; k++) {
    const bool scalar = o->t[k].flags & CHX_T_HOST_SCALAR;
    if (g->offset[k] != (scalar ? 0 : (int64_t)o->t[k].byte_offset / 4)) return false;
    for (int64_t i = 0; i < n; i++)
      if (walk(g->nd, g->dim, g->stride[k], i) != (scalar ? 0 : walk(nd, shape, o->strides[k], i))) return false;
  }
  return true;
}

/* No two neighbours are left that all operands would let join. */
static bool is_shortest(const gpu_geometry *g, const operands *o)
{
  for (int d = 1; d < g->nd; d++) {
    bool join = true;
    for (int k = 0; k < o->n; k++)
      if (!(o->t[k].flags & CHX_T_HOST_SCALAR)) join = join && g->stride[k][d - 1] == g->stride[k][d] * g->dim[d];
    if (join) return false;
  }
  return true;
}

/* The bytes for an argument are the dialect's struct, innermost axis first, for each bucket that holds the rank. */
static bool packs(const gpu_geometry *g)
{
  int64_t bytes[GPU_GEOM_BYTES / 8 + 1];
  bool good = true;
  for (int maxd = gpu_rank_bucket(g->nd); good && maxd <= CHX_MAX_RANK; maxd *= 4) {
    memset(bytes, 0xa5, sizeof bytes);
    const size_t words = (size_t)(2 + g->ops + maxd * (1 + g->ops));
    good = gpu_pack_geom(g, maxd, bytes) == words * 8 && words * 8 <= GPU_GEOM_BYTES && bytes[0] == g->n &&
           bytes[words] == (int64_t)0xa5a5a5a5a5a5a5a5;
    const int64_t *dim = bytes + 1 + g->ops, *stride = dim + maxd;
    for (int k = 0; k < g->ops; k++) good = good && bytes[1 + k] == g->offset[k];
    for (int d = 0; d < maxd; d++) {
      good = good && dim[d] == (d < g->nd ? g->dim[g->nd - 1 - d] : 1);
      for (int k = 0; k < g->ops; k++)
        good = good && stride[k * maxd + d] == (d < g->nd ? g->stride[k][g->nd - 1 - d] : 0);
    }
    uint32_t tail[2];
    memcpy(tail, bytes + words - 1, sizeof tail);
    good = good && tail[0] == (uint32_t)g->nd && tail[1] == g->scalars;
  }
  return good;
}

static void geometry(void)
{
  enum { ROUNDS = 4000 };
  int wrong = 0, longer = 0, badly = 0, most = 0;
  for (int i = 0; i < ROUNDS; i++) {
    operands o;
    gpu_geometry g;
    int64_t shape[CHX_MAX_RANK];
    const int nd = i < 50 ? CHX_MAX_RANK : (int)(check_bits() % (CHX_MAX_RANK + 1));
    random_operands(&o, nd, shape);
    gpu_geometry_of(&g, nd, shape, o.p, o.n);
    wrong += !same_places(&g, &o, nd, shape);
    if (g.n) longer += !is_shortest(&g, &o);
    g.scalars = (uint32_t)check_bits() & 0xfff;
    badly += !packs(&g);
    if (g.nd > most) most = g.nd;
  }
  ok(!wrong, "%d random geometries of up to %d axes: every element is where it was; %d are not", ROUNDS, most, wrong);
  is_int(longer, 0, "and no axis too many is left");
  is_int(badly, 0, "packed, each is the dialect's struct");

  int64_t shape[CHX_MAX_RANK], dense[CHX_MAX_RANK], step = 1, odd[CHX_MAX_RANK];
  for (int d = CHX_MAX_RANK - 1; d >= 0; d--) shape[d] = 2, dense[d] = step, odd[d] = d % 2 ? step : -step, step *= 2;
  chx_tensor a = {.ndim = 16, .code = 2, .bits = 32, .lanes = 1, .shape = shape, .strides = dense}, b = a;
  b.strides = odd;
  gpu_geometry g;
  gpu_geometry_of(&g, 16, shape, (const chx_tensor *[]){&a}, 1);
  ok(g.nd == 1 && g.dim[0] == 65536 && g.stride[0][0] == 1, "16 dense axes are one");
  gpu_geometry_of(&g, 16, shape, (const chx_tensor *[]){&a, &b}, 2);
  ok(g.nd == 16 && gpu_rank_bucket(g.nd) == 16, "16 that run in turns stay 16");
  gpu_geometry_of(&g, 0, NULL, (const chx_tensor *[]){&a}, 1);
  ok(g.nd == 0 && g.n == 1, "no axis at all is one element");
  int buckets = 0;
  for (int nd = 0; nd <= CHX_MAX_RANK; nd++) buckets += gpu_rank_bucket(nd) < nd || gpu_rank_bucket(nd) > CHX_MAX_RANK;
  is_int(buckets, 0, "every rank has a bucket that holds it");
}

/* ---- values -------------------------------------------------------------------------------------------------- */

/* What a kernel of dtype computes in, from bytes as gpu_scalar gives them. */
static double value_of(int dtype, gpu_arg a)
{
  if (dtype == CHX_BOOL) return a.bytes == 4 ? check_load(a.p, CHX_I32) : NAN;
  if (dtype == CHX_F16 || dtype == CHX_BF16) return a.bytes == 4 ? check_load(a.p, CHX_F32) : NAN;
  return a.bytes == gpu_types[dtype].bytes ? check_load(a.p, dtype) : NAN;
}

static void scalars(void)
{
  static const double values[] = {0, 1, -1, 3, 100.5, -0.25, 65504, 1e-7, 6e-5, 1e30, -1e30, INFINITY, NAN};
  for (int d = CHX_BOOL; d <= CHX_F64; d++) {
    int wrong = 0;
    for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
      unsigned char room[16];
      chx_tensor t = {.flags = CHX_T_HOST_SCALAR | (uint64_t)d << 8};
      check_store(t.imm, d, values[k]);
      const double got = value_of(d, gpu_scalar(&t, room)), want = check_load(t.imm, d);
      wrong += !(got == want || (isnan(got) && isnan(want))) || (got == 0 && signbit(got) != signbit(want));
      wrong += value_of(d, gpu_no_scalar(d, room)) != 0;
    }
    is_int(wrong, 0, "scalars of %s", chx_dtype_name(d));
  }
  int wrong = 0;
  for (uint32_t h = 0; h < 65536; h++) {
    unsigned char room[16];
    const uint16_t half = (uint16_t)h;
    chx_tensor t = {.flags = CHX_T_HOST_SCALAR | (uint64_t)CHX_F16 << 8};
    memcpy(t.imm, &half, 2);
    const double got = value_of(CHX_F16, gpu_scalar(&t, room)), want = check_load(&half, CHX_F16);
    wrong += !(got == want || (isnan(got) && isnan(want))) || (!isnan(want) && signbit(got) != signbit(want));
  }
  is_int(wrong, 0, "every f16");
}

int main(void)
{
  check_seed(3);
  geometry();
  scalars();
  return done_testing();
}
