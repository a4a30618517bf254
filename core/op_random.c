/* SPDX-License-Identifier: MIT
 * op_random.c: random_bits, and distributions made of it by public operators, so that every device draws the same.
 *
 * uniform   f32, f16, bf16: low + (bits >> 8) 2^-24 (high - low), computed in f32; f64: bits >> 11, 2^-53. Below high.
 * normal    Box-Muller: sqrt(-2 log u) cos(2 pi v), u in (0, 1] from the first half of the blocks, v from the second
 * bernoulli bits < p 2^32
 * integers  low + 64 bits modulo (high - low): the bias is below 2^-40 for ranges below 2^24
 */
#include "opfile.h"
#include <math.h>

/* ---- random_bits ----------------------------------------------------------------------------------------------------------- */

static bool infer_shape(chxi_call *c, uint64_t dtypes)
{
  const chx_random_attr *p = c->attr;
  int64_t n;
  char text[128];
  if (!chxi_want_dtype_attr(c, p->dtype, dtypes)) return false;
  if (!chxi_count((int)p->shape.n, p->shape.v, &n))
    return chxi_bad(c, CHX_ESHAPE, "shape is %s, want lengths >= 0 whose product fits memory",
                    chxi_shape_text(text, (int)p->shape.n, p->shape.v));
  if (!isfinite(p->low) || !isfinite(p->high))
    return chxi_bad(c, CHX_EARG, "attributes are %g and %g, want finite numbers", p->low, p->high);
  if (p->generator < 0 || p->generator >= CHX_GENERATORS)
    return chxi_bad(c, CHX_EARG, "the generator is %lld, want 0 to %d, a CHX_GENERATOR", (long long)p->generator,
                    CHX_GENERATORS - 1);
  chxi_out_shape(c, 0, (int)p->dtype, (int)p->shape.n, p->shape.v);
  return true;
}

#define BITS_DTYPES (CHX_BIT(CHX_U32) | CHX_BIT(CHX_U64))
static bool infer_bits(chxi_call *c) { return infer_shape(c, BITS_DTYPES); }

const chx_op chxi_op_random_bits = {.name = "random_bits",
                                    .doc = "random bits, u32 or u64: Philox 4x32-10's, or another generator's",
                                    .id = CHXI_OP_random_bits,
                                    .version = 1,
                                    .kind = CHXI_KERNEL,
                                    .outputs = {"y"},
                                    .n_out = 1,
                                    CHXI_ATTRS(random),
                                    .required = "dtype",
                                    .drawn = "seed counter",
                                    .dtypes = BITS_DTYPES,
                                    .infer = infer_bits};

static chx_array *bits_of(chx_scope *s, chxi_device *dev, int dtype, int ndim, const int64_t *shape, uint64_t seed,
                          uint64_t counter, int64_t generator)
{
  chx_random_attr p = CHX_ATTR(random);
  if (!chxi_list_from_shape(s, "random_bits", &p.shape, ndim, shape)) return NULL;
  chxi_device *home = s->dev;
  p.dtype = dtype;
  p.seed = (int64_t)seed;
  p.counter = (int64_t)counter;
  p.generator = generator;
  s->dev = dev;
  chx_array *y = chxi_apply1(s, &chxi_op_random_bits, &p, 0, NULL);
  s->dev = home;
  return y;
}

chx_array *chxi_bits_on(chx_scope *s, chxi_device *dev, int dtype, int ndim, const int64_t *shape, uint64_t seed,
                        uint64_t counter)
{
  return bits_of(s, dev, dtype, ndim, shape, seed, counter, CHX_GENERATOR_PHILOX);
}

/* Counter blocks of the elements of c's output. */
static uint64_t blocks_of(const chx_random_attr *p, bool wide)
{
  int64_t n = 0;
  chxi_count((int)p->shape.n, p->shape.v, &n);
  return wide ? ((uint64_t)n + 1) / 2 : ((uint64_t)n + 3) / 4;
}

/* Draws for c, skipping `skip` blocks: u32, or u64 if wide. */
static chx_array *bits(chx_scope *s, const chxi_call *c, bool wide, uint64_t skip)
{
  const chx_random_attr *p = c->attr;
  return bits_of(s, c->dev, wide ? CHX_U64 : CHX_U32, c->out[0].ndim, c->out[0].shape, (uint64_t)p->seed,
                 (uint64_t)p->counter + skip, p->generator);
}

/* Multiples of 2^-24 in f32, of 2^-53 in f64, in [0, 1). */
static chx_array *unit(chx_scope *s, const chxi_call *c, bool wide, uint64_t skip)
{
  chx_array *b = chx_right_shift(s, bits(s, c, wide, skip), chx_int(s, wide ? 11 : 8));
  return chxi_times(s, chx_cast(s, b, wide ? CHX_F64 : CHX_F32), wide ? 0x1p-53 : 0x1p-24);
}

/* ---- uniform ------------------------------------------------------------------------------------------------------------------ */

static bool infer_floats(chxi_call *c) { return infer_shape(c, CHX_FLOATS); }

/* The largest value of dtype below v: v itself, rounded, or its neighbour in the order of bits. */
static double below(int dtype, double v)
{
  unsigned char room[16] = {0};
  const size_t size = chxi_dtypes[dtype].size;
  const uint64_t sign = (uint64_t)1 << (8 * size - 1);
  uint64_t b = 0;
  chxi_store(room, dtype, false, (chxi_scalar){.f = v});
  if (chxi_load_f64(room, dtype) < v) return chxi_load_f64(room, dtype);
  memcpy(&b, room, size);
  b = !(b & ~sign) ? sign | 1 : b & sign ? b + 1 : b - 1;
  memcpy(room, &b, size);
  return chxi_load_f64(room, dtype);
}

static void decompose_uniform(chx_scope *s, chxi_call *c, chx_array **out)
{
  const chx_random_attr *p = c->attr;
  chx_array *y = unit(s, c, p->dtype == CHX_F64, 0);
  if (p->low != 0 || p->high != 1) y = chxi_times(s, y, p->high - p->low);
  if (p->low != 0) y = chxi_plus(s, y, p->low);
  if (p->low < p->high &&
      (p->low != 0 || p->high != 1 || p->dtype == CHX_F16 || p->dtype == CHX_BF16)) /* rounding may reach high */
    y = chx_minimum(s, y, chx_real(s, below((int)p->dtype, p->high)));
  out[0] = chx_cast(s, y, (int)p->dtype);
}

#define ENTRY(text, doc_, types, made_of, infer_) \
  const chx_op chxi_op_##text = {.name = #text, .doc = doc_, .id = CHXI_OP_##text, .version = 1, .kind = CHXI_COMPOSITE, .outputs = {"y"}, \
    .n_out = 1, CHXI_ATTRS(random), .required = "dtype", .drawn = "seed counter", .dtypes = types, .parts = made_of, \
    .infer = infer_, .decompose = decompose_##text}
ENTRY(uniform, "uniform random numbers in [low, high)", CHX_FLOATS, "random_bits right_shift cast mul add minimum",
      infer_floats);

/* ---- normal ------------------------------------------------------------------------------------------------------------------ */

static void decompose_normal(chx_scope *s, chxi_call *c, chx_array **out)
{
  const chx_random_attr *p = c->attr;
  bool wide = p->dtype == CHX_F64;
  chx_array *u = chxi_plus(s, unit(s, c, wide, 0), wide ? 0x1p-53 : 0x1p-24); /* (0, 1] */
  chx_array *v = unit(s, c, wide, blocks_of(p, wide));
  chx_array *r = chx_sqrt(s, chxi_times(s, chx_log(s, u), -2)),
            *y = chx_mul(s, r, chx_cos(s, chxi_times(s, v, 2 * M_PI)));
  if (p->high != 1) y = chxi_times(s, y, p->high);
  if (p->low != 0) y = chxi_plus(s, y, p->low);
  out[0] = chx_cast(s, y, (int)p->dtype);
}

ENTRY(normal, "normal random numbers of a mean (low) and standard deviation (high)", CHX_FLOATS,
      "random_bits right_shift cast mul add log sqrt cos", infer_floats);

/* ---- bernoulli ---------------------------------------------------------------------------------------------------------------- */

static bool infer_bernoulli(chxi_call *c)
{
  const chx_random_attr *p = c->attr;
  if (!infer_shape(c, CHX_ANY_REAL)) return false;
  if (!(p->low >= 0 && p->low <= 1)) return chxi_bad(c, CHX_EARG, "the probability is %g, want 0 to 1", p->low);
  return true;
}

static void decompose_bernoulli(chx_scope *s, chxi_call *c, chx_array **out)
{
  const chx_random_attr *p = c->attr;
  int64_t limit = (int64_t)(p->low * 0x1p32);
  if (limit > UINT32_MAX) {
    out[0] = chxi_full_on(s, c->dev, (int)p->dtype, c->out[0].ndim, c->out[0].shape, 1);
    return;
  }
  out[0] = chx_cast(s, chx_less(s, bits(s, c, false, 0), chx_int(s, limit)), (int)p->dtype);
}

ENTRY(bernoulli, "1 with a probability (low), else 0", CHX_ANY_REAL, "random_bits less cast full", infer_bernoulli);

/* ---- integers ------------------------------------------------------------------------------------------------------------------ */

static bool infer_integers(chxi_call *c)
{
  const chx_random_attr *p = c->attr;
  if (!infer_shape(c, CHX_INTEGERS)) return false;
  if (p->low != floor(p->low) || p->high != floor(p->high) || fabs(p->low) > 0x1p53 || fabs(p->high) > 0x1p53)
    return chxi_bad(c, CHX_EARG, "bounds are %g and %g, want integers of at most 2^53", p->low, p->high);
  if (!(p->low < p->high)) return chxi_bad(c, CHX_EARG, "bounds are %g and %g, want low < high", p->low, p->high);
  return true;
}

static void decompose_integers(chx_scope *s, chxi_call *c, chx_array **out)
{
  const chx_random_attr *p = c->attr;
  chx_array *r = chx_remainder(s, bits(s, c, true, 0), chx_int(s, (int64_t)p->high - (int64_t)p->low));
  out[0] = chx_cast(s, chx_add(s, chx_cast(s, r, CHX_I64), chx_int(s, (int64_t)p->low)), (int)p->dtype);
}

ENTRY(integers, "random integers in [low, high)", CHX_INTEGERS, "random_bits remainder cast add", infer_integers);

/* ---- named functions: each takes its blocks of the counter -------------------------------------------------------------- */

static chx_array *draw(chx_scope *s, const chx_op *op, int dtype, int ndim, const int64_t *shape, double low,
                       double high, int streams, bool wide)
{
  chx_random_attr p = CHX_ATTR(random);
  if (!chxi_list_from_shape(s, op->name, &p.shape, ndim, shape)) return NULL;
  p.dtype = dtype;
  p.low = low;
  p.high = high;
  chx_random_state state = chxi_random_take(s, s->dev, (uint64_t)streams * blocks_of(&p, wide));
  p.seed = (int64_t)state.seed;
  p.counter = (int64_t)state.counter;
  return chxi_apply1(s, op, &p, 0, NULL);
}

chx_array *chx_random_bits(chx_scope *s, int dtype, int ndim, const int64_t *shape)
{
  return draw(s, &chxi_op_random_bits, dtype, ndim, shape, 0, 1, 1, dtype == CHX_U64);
}

chx_array *chx_uniform(chx_scope *s, int dtype, int ndim, const int64_t *shape, double low, double high)
{
  return draw(s, &chxi_op_uniform, dtype, ndim, shape, low, high, 1, dtype == CHX_F64);
}

chx_array *chx_normal(chx_scope *s, int dtype, int ndim, const int64_t *shape, double mean, double std)
{
  return draw(s, &chxi_op_normal, dtype, ndim, shape, mean, std, 2, dtype == CHX_F64);
}

chx_array *chx_bernoulli(chx_scope *s, int dtype, int ndim, const int64_t *shape, double p)
{
  return draw(s, &chxi_op_bernoulli, dtype, ndim, shape, p, 1, 1, false);
}

chx_array *chx_integers(chx_scope *s, int dtype, int ndim, const int64_t *shape, int64_t low, int64_t high)
{
  return draw(s, &chxi_op_integers, dtype, ndim, shape, (double)low, (double)high, 1, true);
}
