/* SPDX-License-Identifier: MIT
 * k_random.c: random_bits, which is Philox 4x32-10 where no other generator is asked for, and arange.
 *
 * arange of whole numbers is exact through 64 wrapping bits; else each element is start + i step in f64, rounded as
 * copy would, which a device without f64 declines.
 */
#include <math.h>
#include <string.h>
#include "gpu.h"

extern const char gpu_text_random[], gpu_text_copy[];

/* ---- random_bits ------------------------------------------------------------------------------------------------- */

typedef struct random_spec { uint32_t zero; } random_spec;
typedef struct random_args { int64_t words, off; uint64_t key, counter; } random_args; /* as in random.gpu */

static void write_random(gpu_text *t, const void *spec)
{
  (void)spec;
  gpu_raw(t, gpu_text_random);
}

static bool random_example(uint32_t i, void *spec)
{
  memset(spec, 0, sizeof(random_spec));
  return i == 0;
}

static const char *const random_functions[] = {"random_bits", NULL};
const gpu_family gpu_random_family = {"random_bits", sizeof(random_spec), write_random, random_example,
                                      random_functions};

/* Another generator's: of the vendor's library, if that has it. */
static chx_status other_bits(const chx_call *c, int64_t generator)
{
  static const char *const names[CHX_GENERATORS] = CHX_GENERATOR_NAMES;
  gpu_device *g = gpu_of(c->dev);
  const chx_status st = g->generate ? g->generate(c) : CHX_DECLINED;
  if (st != CHX_DECLINED) return st;
  return gpu_fail(g, CHX_EUNSUPPORTED, "random_bits: there is no generator '%s', want '%s'",
                  (uint64_t)generator < CHX_GENERATORS ? names[generator] : "of a later version", names[0]);
}

static chx_status random_bits(void *self, const chx_call *c)
{
  const chx_random_attr *p = c->attr;
  const chx_tensor *y = &c->out[0];
  const int64_t each = y->bits / 32;
  const random_args a = {gpu_count(y) * each, gpu_offset(y) * each, (uint64_t)p->seed, (uint64_t)p->counter};
  gpu_function *fn;
  (void)self;
  if (p->generator != CHX_GENERATOR_PHILOX) return other_bits(c, p->generator);
  if (!a.words) return CHX_OK;
  const chx_status st = gpu_find(gpu_of(c->dev), &gpu_random_family, &(random_spec){0}, 0, &fn);
  if (st) return st;
  const gpu_arg args[] = {GPU_BUFFER(y->data), GPU_VALUE(a)};
  return gpu_launch(c, fn, (uint64_t)(a.words + 3) / 4, args, 2);
}

/* ---- arange ------------------------------------------------------------------------------------------------------ */

typedef struct arange_spec { uint8_t dtype, whole; } arange_spec;

/* start + i step as v of f64, cast as k_copy.c does. */
static void write_real(gpu_text *t, const gpu_type *d, int dtype)
{
  gpu_add(t, "KERNEL LAUNCH_BOUNDS(WG) void arange(GLOBAL s_%s *y, f64 start, f64 step, i64 off, i64 n)\n{\n"
             "  GRID_FOR(i, n) {\n    const f64 v = start + (f64)i * step;\n    st_%s(y, off + i, ", d->name, d->name);
  if (d->kind == 'B') gpu_raw(t, "v != 0");
  else if (dtype == CHX_F16 || dtype == CHX_BF16) gpu_raw(t, "odd_f64(v)");
  else if (d->kind == 'F') gpu_add(t, "(t_%s)v", d->name);
  else {
    const bool s = d->kind == 'I';
    const int e = d->bits - s; /* limits are powers of two, which f64 has */
    gpu_add(t, "TO_SAT(%s, v, %s%.1f, %.1f, (((u64)1 << %d) - 1) | ((u64)1 << %d))", d->name, s ? "-" : "",
            s ? ldexp(1, e) : 0.0, ldexp(1, e), e - 1, e - 1);
  }
  gpu_raw(t, ");\n  }\n}\n");
}

static void write_arange(gpu_text *t, const void *of)
{
  const arange_spec *p = of;
  const gpu_type *d = &gpu_types[p->dtype];
  if (p->whole)
    gpu_add(t, "KERNEL LAUNCH_BOUNDS(WG) void arange(GLOBAL s_%s *y, u64 start, u64 step, i64 off, i64 n)\n{\n"
               "  GRID_FOR(i, n) y[off + i] = (s_%s)(start + (u64)i * step);\n}\n", d->name, d->name);
  else {
    gpu_raw(t, gpu_text_copy);
    write_real(t, d, p->dtype);
  }
}

static bool arange_example(uint32_t i, void *of)
{
  arange_spec *p = of;
  memset(p, 0, sizeof *p);
  for (int d = CHX_BOOL; d <= CHX_F64; d++)
    for (int whole = 0; whole < (CHX_INTEGERS >> d & 1 ? 2 : 1); whole++)
      if (!i--) {
        *p = (arange_spec){(uint8_t)d, (uint8_t)whole};
        return true;
      }
  return false;
}

static const char *const arange_functions[] = {"arange", NULL};
const gpu_family gpu_arange_family = {"arange", sizeof(arange_spec), write_arange, arange_example, arange_functions};

/* Whether v is a whole number that fits 64 bits, and which, modulo 2^64. */
static bool whole(double v, uint64_t *to)
{
  if (!(v >= -0x1p63 && v < 0x1p64) || v != floor(v)) return false;
  *to = v < 0 ? (uint64_t)(int64_t)v : (uint64_t)v;
  return true;
}

static chx_status arange(void *self, const chx_call *c)
{
  gpu_device *g = gpu_of(c->dev);
  const chx_arange_attr *p = c->attr;
  const chx_tensor *y = &c->out[0];
  const int64_t n = gpu_count(y), off = gpu_offset(y);
  uint64_t start, step;
  gpu_function *fn;
  (void)self;
  const arange_spec s = {(uint8_t)gpu_dtype(y),
                         (CHX_INTEGERS >> gpu_dtype(y) & 1) && whole(p->start, &start) && whole(p->step, &step)};
  if (!s.whole && !(g->dtypes & CHX_BIT(CHX_F64))) return CHX_DECLINED;
  if (!n) return CHX_OK;
  const chx_status st = gpu_find(g, &gpu_arange_family, &s, 0, &fn);
  if (st) return st;
  const gpu_arg args[] = {GPU_BUFFER(y->data), s.whole ? GPU_VALUE(start) : GPU_VALUE(p->start),
                          s.whole ? GPU_VALUE(step) : GPU_VALUE(p->step), GPU_VALUE(off), GPU_VALUE(n)};
  return gpu_launch(c, fn, (uint64_t)n, args, 5);
}

#define WORDS (CHX_BIT(CHX_U32) | CHX_BIT(CHX_U64))
const chx_kernel gpu_random_kernels[] = {
  {GPU_KERNEL_THAT(CHX_K_CONTIGUOUS), .op = "random_bits", .attr_size = sizeof(chx_random_attr), .dtypes_in = WORDS, .dtypes_out = WORDS,
   .run = random_bits},
  {GPU_KERNEL_THAT(CHX_K_CONTIGUOUS), .op = "arange", .attr_size = sizeof(chx_arange_attr), .dtypes_in = CHX_ANY_REAL,
   .dtypes_out = CHX_ANY_REAL, .run = arange},
  {0}};
