/* SPDX-License-Identifier: MIT
 * k_elementwise.c: every row of elementwise.def.
 *
 * Dense operands and scalars, the case that matters, cost one call of a row's loop; anything else is a program of one
 * step (k_map.c). A call on a few elements is dominated by what run does before the loop, so it does little.
 */
#include <chx/formula.h>
#include "loops.h"
#include "vmath.h"

/* The formulas' functions, by the type at hand. Function-like, so that a row's name is left alone. */
#define NAT_MATH(name) CHX_PASTE(name, CHX_PASTE(NAT_MATH_, CHX_BITS))
#define NAT_MATH_32 f
#define NAT_MATH_64 d
#define sqrt(x) NAT_MATH(nat_sqrt_)(x)
#define exp(x) NAT_MATH(nat_exp_)(x)
#define exp2(x) NAT_MATH(nat_exp2_)(x)
#define expm1(x) NAT_MATH(nat_expm1_)(x)
#define log(x) NAT_MATH(nat_log_)(x)
#define log2(x) NAT_MATH(nat_log2_)(x)
#define log10(x) NAT_MATH(nat_log10_)(x)
#define log1p(x) NAT_MATH(nat_log1p_)(x)
#define sin(x) NAT_MATH(nat_sin_)(x)
#define cos(x) NAT_MATH(nat_cos_)(x)
#define tan(x) NAT_MATH(nat_tan_)(x)
#define asin(x) NAT_MATH(nat_asin_)(x)
#define acos(x) NAT_MATH(nat_acos_)(x)
#define atan(x) NAT_MATH(nat_atan_)(x)
#define sinh(x) NAT_MATH(nat_sinh_)(x)
#define cosh(x) NAT_MATH(nat_cosh_)(x)
#define tanh(x) NAT_MATH(nat_tanh_)(x)
#define asinh(x) NAT_MATH(nat_asinh_)(x)
#define acosh(x) NAT_MATH(nat_acosh_)(x)
#define atanh(x) NAT_MATH(nat_atanh_)(x)
#define erf(x) NAT_MATH(nat_erf_)(x)
#define fabs(x) NAT_MATH(nat_fabs_)(x)
#define floor(x) NAT_MATH(nat_floor_)(x)
#define ceil(x) NAT_MATH(nat_ceil_)(x)
#define trunc(x) NAT_MATH(nat_trunc_)(x)
#define rint(x) NAT_MATH(nat_rint_)(x)
#define fmod(x, y) NAT_MATH(nat_fmod_)(x, y)
#define pow(x, y) NAT_MATH(nat_pow_)(x, y)
#define atan2(x, y) NAT_MATH(nat_atan2_)(x, y)
#define hypot(x, y) NAT_MATH(nat_hypot_)(x, y)
#define copysign(x, y) NAT_MATH(nat_copysign_)(x, y)

/* Which classes are compiled for which kinds of dtype: NAT_<operands>_<class><kind>. */
#define NONE(name, result, formula)
#define NAT_1_FF LOOP1F
#define NAT_1_FI NONE
#define NAT_1_FU NONE
#define NAT_1_FB NONE
#define NAT_1_NF LOOP1
#define NAT_1_NI LOOP1
#define NAT_1_NU LOOP1
#define NAT_1_NB NONE
#define NAT_1_AF LOOP1
#define NAT_1_AI LOOP1
#define NAT_1_AU LOOP1
#define NAT_1_AB LOOP1
#define NAT_1_IF NONE
#define NAT_1_II LOOP1
#define NAT_1_IU LOOP1
#define NAT_1_IB LOOP1
#define NAT_1_BF NONE
#define NAT_1_BI NONE
#define NAT_1_BU NONE
#define NAT_1_BB LOOP1
#define NAT_2_FF LOOP2
#define NAT_2_FI NONE
#define NAT_2_FU NONE
#define NAT_2_FB NONE
#define NAT_2_DF LOOP2
#define NAT_2_DI NONE
#define NAT_2_DU NONE
#define NAT_2_DB NONE
#define NAT_2_NF LOOP2
#define NAT_2_NI LOOP2
#define NAT_2_NU LOOP2
#define NAT_2_NB NONE
#define NAT_2_AF LOOP2
#define NAT_2_AI LOOP2
#define NAT_2_AU LOOP2
#define NAT_2_AB LOOP2
#define NAT_2_IF NONE
#define NAT_2_II LOOP2
#define NAT_2_IU LOOP2
#define NAT_2_IB LOOP2
#define NAT_2_ZF NONE
#define NAT_2_ZI LOOP2
#define NAT_2_ZU LOOP2
#define NAT_2_ZB NONE
#define NAT_2_BF NONE
#define NAT_2_BI NONE
#define NAT_2_BU NONE
#define NAT_2_BB LOOP2
#define NAT_3_NF LOOP3
#define NAT_3_NI LOOP3
#define NAT_3_NU LOOP3
#define NAT_3_NB NONE
#define NAT_3_WF LOOPW
#define NAT_3_WI LOOPW
#define NAT_3_WU LOOPW
#define NAT_3_WB LOOPW

#define TAG f32
#define STORED float
#define TYPE float
#define WRAP float
#define CHX_KIND F
#define CHX_BITS 32
#define CHX_T_MIN 0
#include "loops.inc"

#define TAG f64
#define STORED double
#define TYPE double
#define WRAP double
#define CHX_KIND F
#define CHX_BITS 64
#define CHX_T_MIN 0
#include "loops.inc"

#define TAG bool
#define STORED uint8_t
#define TYPE int
#define WRAP unsigned
#define CHX_KIND B
#define CHX_BITS 8
#define CHX_T_MIN 0
#include "loops.inc"

#define TAG i8
#define STORED int8_t
#define TYPE int8_t
#define WRAP unsigned
#define CHX_KIND I
#define CHX_BITS 8
#define CHX_T_MIN INT8_MIN
#include "loops.inc"

#define TAG i16
#define STORED int16_t
#define TYPE int16_t
#define WRAP unsigned
#define CHX_KIND I
#define CHX_BITS 16
#define CHX_T_MIN INT16_MIN
#include "loops.inc"

#define TAG i32
#define STORED int32_t
#define TYPE int32_t
#define WRAP uint32_t
#define CHX_KIND I
#define CHX_BITS 32
#define CHX_T_MIN INT32_MIN
#include "loops.inc"

#define TAG i64
#define STORED int64_t
#define TYPE int64_t
#define WRAP uint64_t
#define CHX_KIND I
#define CHX_BITS 64
#define CHX_T_MIN INT64_MIN
#include "loops.inc"

#define TAG u8
#define STORED uint8_t
#define TYPE uint8_t
#define WRAP unsigned
#define CHX_KIND U
#define CHX_BITS 8
#define CHX_T_MIN 0
#include "loops.inc"

#define TAG u16
#define STORED uint16_t
#define TYPE uint16_t
#define WRAP unsigned
#define CHX_KIND U
#define CHX_BITS 16
#define CHX_T_MIN 0
#include "loops.inc"

#define TAG u32
#define STORED uint32_t
#define TYPE uint32_t
#define WRAP uint32_t
#define CHX_KIND U
#define CHX_BITS 32
#define CHX_T_MIN 0
#include "loops.inc"

#define TAG u64
#define STORED uint64_t
#define TYPE uint64_t
#define WRAP uint64_t
#define CHX_KIND U
#define CHX_BITS 64
#define CHX_T_MIN 0
#include "loops.inc"

/* ---- the table of rows ---------------------------------------------------------------------------------------- */

#define FLOATS_OF(name) [CHX_F32] = name##_loop_f32, [CHX_F64] = name##_loop_f64
#define INTS_OF(name) \
  [CHX_I8] = name##_loop_i8, [CHX_I16] = name##_loop_i16, [CHX_I32] = name##_loop_i32, [CHX_I64] = name##_loop_i64, \
  [CHX_U8] = name##_loop_u8, [CHX_U16] = name##_loop_u16, [CHX_U32] = name##_loop_u32, [CHX_U64] = name##_loop_u64
#define BOOL_OF(name) [CHX_BOOL] = name##_loop_bool
#define LOOPS_F(name) {FLOATS_OF(name)}
#define LOOPS_D(name) {FLOATS_OF(name)}
#define LOOPS_N(name) {FLOATS_OF(name), INTS_OF(name)}
#define LOOPS_A(name) {FLOATS_OF(name), INTS_OF(name), BOOL_OF(name)}
#define LOOPS_W(name) {FLOATS_OF(name), INTS_OF(name), BOOL_OF(name)}
#define LOOPS_I(name) {INTS_OF(name), BOOL_OF(name)}
#define LOOPS_Z(name) {INTS_OF(name)}
#define LOOPS_B(name) {BOOL_OF(name)}
#define COST_F 8
#define COST_D 1
#define COST_N 1
#define COST_A 1
#define COST_W 1
#define COST_I 1
#define COST_Z 1
#define COST_B 1
#define WHERE_F 0
#define WHERE_D 0
#define WHERE_N 0
#define WHERE_A 0
#define WHERE_W 1
#define WHERE_I 0
#define WHERE_Z 0
#define WHERE_B 0
#define TO_BOOL_S 0
#define TO_BOOL_B 1
#define ROW(row, n, class, result) {#row, n, WHERE_##class, TO_BOOL_##result, COST_##class, LOOPS_##class(row)},

static const nat_row rows[] = {
#define EW1(ID, name, class, result, formula, keep, doc) ROW(name, 1, class, result)
#define EW2(ID, name, class, result, formula, keep, doc) ROW(name, 2, class, result)
#define EW3(ID, name, class, result, formula, keep, doc) ROW(name, 3, class, result)
#include <chx/elementwise.def>
};
enum {
#define EW1(ID, ...) ROW_##ID,
#define EW2(ID, ...) ROW_##ID,
#define EW3(ID, ...) ROW_##ID,
#include <chx/elementwise.def>
  N_ROWS
};

const nat_row *NAT(nat_row_find)(const char *name)
{
  for (int k = 0; k < N_ROWS; k++)
    if (rows[k].name[0] == name[0] && strcmp(rows[k].name, name) == 0) return &rows[k];
  return NULL;
}

/* ---- calls ---------------------------------------------------------------------------------------------------- */

typedef struct flat {
  nat_loop *fn;
  const char *in[3];
  char *out;
  int64_t in_size[3], out_size; /* bytes of an element; 0 for a scalar */
  int scalars;
} flat;

static void flat_range(int64_t begin, int64_t end, void *ctx)
{
  const flat *f = ctx;
  f->fn(end - begin, f->in[0] + begin * f->in_size[0], f->in[1] + begin * f->in_size[1],
        f->in[2] + begin * f->in_size[2], f->out + begin * f->out_size, f->scalars);
}

static NAT_NOINLINE void run_parallel(const nat_row *row, nat_loop *fn, const chx_call *c, int64_t n, int scalars)
{
  flat f = {.fn = fn, .out = nat_data(c->out), .out_size = nat_size(c->out), .scalars = scalars};
  for (int k = 0; k < 3; k++) {
    const int given = k < row->n_in;
    f.in[k] = given ? nat_data(&c->in[k]) : f.out;
    f.in_size[k] = given && !(scalars >> k & 1) ? nat_size(&c->in[k]) : 0;
  }
  nat_parallel(n, NAT_GRAIN / row->cost, flat_range, &f);
}

static NAT_NOINLINE chx_status run_any(const nat_row *row, const chx_call *c)
{
  static const uint8_t in[3] = {0, 1, 2};
  nat_program p = {.n_in = row->n_in};
  int dtypes[3];

  for (int k = 0; k < row->n_in; k++) dtypes[k] = nat_dtype(&c->in[k]);
  if (!NAT(nat_program_add)(&p, row, in, dtypes)) return CHX_DECLINED;
  return NAT(nat_program_run)(&p, c);
}

static chx_status run(void *self, const chx_call *c)
{
  const nat_row *row = self;
  const chx_tensor *out = c->out;
  const void *in[3] = {NULL, NULL, NULL};
  uint64_t dense = out->flags;
  int scalars = 0, n_in = row->n_in;

  for (int k = 0; k < n_in; k++) {
    const chx_tensor *t = &c->in[k];
    if (t->flags & CHX_T_HOST_SCALAR) {
      scalars |= 1 << k;
      in[k] = t->imm;
    } else {
      dense &= t->flags;
      in[k] = (const char *)t->data + t->byte_offset;
    }
  }
  nat_loop *fn = row->loop[nat_dtype(&c->in[n_in - 1])];
  if (!NAT_LIKELY(dense & CHX_T_CONTIGUOUS && fn)) return run_any(row, c);

  int64_t n = nat_count(out);
  if (NAT_LIKELY(n < NAT_GRAIN / 4)) fn(n, in[0], in[1], in[2], (char *)out->data + out->byte_offset, scalars);
  else run_parallel(row, fn, c, n, scalars);
  return CHX_OK;
}

#define IN_F CHX_FLOATS
#define IN_D CHX_FLOATS
#define IN_N CHX_NUMBERS
#define IN_A CHX_ANY_REAL
#define IN_W CHX_ANY_REAL
#define IN_I (CHX_INTEGERS | CHX_BIT(CHX_BOOL))
#define IN_Z CHX_INTEGERS
#define IN_B CHX_BIT(CHX_BOOL)
#define OUT_S(class) IN_##class
#define OUT_B(class) CHX_BIT(CHX_BOOL)
#define KERNEL(ID, row, class, result, ...) \
  {NAT_KERNEL, .op = #row, .dtypes_in = IN_##class, .dtypes_out = OUT_##result(class), .flags = CHX_K_SCALAR_OK, \
   .alias_ok = 0x010101, .run = run, .self = (void *)(uintptr_t)&rows[ROW_##ID]},
#define EW1 KERNEL
#define EW2 KERNEL
#define EW3 KERNEL

extern const chx_kernel NAT(nat_elementwise_kernels)[];
const chx_kernel NAT(nat_elementwise_kernels)[] = {
#include <chx/elementwise.def>
  {.op = NULL}};
