/* SPDX-License-Identifier: MIT
 * elementwise.c: every row of elementwise.def, element by element.
 */
#include "ref.h"
#if defined REF_REFERENCE /* for native's reference mode: the same bits everywhere */
#include <chx/formula.h>
#include <chx/refmath.h>
#include <chx/refnames.h>
#else
#include <tgmath.h>
#undef I /* of complex.h: here it is a kind of dtype */
#include <chx/formula.h>
#endif

/* Which classes are compiled for which kind: REF_IF_<class><kind>. */
#define YES(emit, name, result, formula) emit(name, result, formula)
#define NO(emit, name, result, formula)
#define REF_IF_FF YES
#define REF_IF_FI NO
#define REF_IF_FU NO
#define REF_IF_FB NO
#define REF_IF_DF YES
#define REF_IF_DI NO
#define REF_IF_DU NO
#define REF_IF_DB NO
#define REF_IF_NF YES
#define REF_IF_NI YES
#define REF_IF_NU YES
#define REF_IF_NB NO
#define REF_IF_AF YES
#define REF_IF_AI YES
#define REF_IF_AU YES
#define REF_IF_AB YES
#define REF_IF_IF NO
#define REF_IF_II YES
#define REF_IF_IU YES
#define REF_IF_IB YES
#define REF_IF_ZF NO
#define REF_IF_ZI YES
#define REF_IF_ZU YES
#define REF_IF_ZB NO
#define REF_IF_BF NO
#define REF_IF_BI NO
#define REF_IF_BU NO
#define REF_IF_BB YES
#define YES3(name, result, formula) THREE(name, result, formula)
#define NO3(name, result, formula)
#define CHOOSE3(name, result, formula) CHOOSE(name, result, formula)
#define REF_IF3_NF YES3
#define REF_IF3_NI YES3
#define REF_IF3_NU YES3
#define REF_IF3_NB NO3
#define REF_IF3_WF CHOOSE3
#define REF_IF3_WI CHOOSE3
#define REF_IF3_WU CHOOSE3
#define REF_IF3_WB CHOOSE3

#define AS(type, p) (*(type *)(void *)(p))

#define DTYPE f64
#define TYPE double
#define WRAP double
#define CHX_KIND F
#define CHX_BITS 64
#define CHX_T_MIN 0
#define LOAD(p) AS(const double, p)
#define STORE(p, v) (AS(double, p) = (v))
#include "elementwise_dtype.inc"

#define DTYPE f32
#define TYPE float
#define WRAP float
#define CHX_KIND F
#define CHX_BITS 32
#define CHX_T_MIN 0
#define LOAD(p) AS(const float, p)
#define STORE(p, v) (AS(float, p) = (v))
#include "elementwise_dtype.inc"

#define DTYPE f16
#define TYPE float
#define WRAP float
#define CHX_KIND F
#define CHX_BITS 16
#define CHX_T_MIN 0
#define LOAD(p) ref_from_f16(AS(const uint16_t, p))
#define STORE(p, v) (AS(uint16_t, p) = ref_to_f16((double)(v)))
#include "elementwise_dtype.inc"

#define DTYPE bf16
#define TYPE float
#define WRAP float
#define CHX_KIND F
#define CHX_BITS 16
#define CHX_T_MIN 0
#define LOAD(p) ref_from_bf16(AS(const uint16_t, p))
#define STORE(p, v) (AS(uint16_t, p) = ref_to_bf16((double)(v)))
#include "elementwise_dtype.inc"

#define DTYPE boolean
#define TYPE int
#define WRAP unsigned
#define CHX_KIND B
#define CHX_BITS 8
#define CHX_T_MIN 0
#define LOAD(p) (AS(const uint8_t, p) != 0)
#define STORE(p, v) (AS(uint8_t, p) = (uint8_t)((v) != 0))
#include "elementwise_dtype.inc"

#define LOAD_INT(p) AS(const TYPE, p)
#define STORE_INT(p, v) (AS(TYPE, p) = (TYPE)(v))

#define DTYPE i8
#define TYPE int8_t
#define WRAP uint32_t
#define CHX_KIND I
#define CHX_BITS 8
#define CHX_T_MIN INT8_MIN
#define LOAD LOAD_INT
#define STORE STORE_INT
#include "elementwise_dtype.inc"

#define DTYPE i16
#define TYPE int16_t
#define WRAP uint32_t
#define CHX_KIND I
#define CHX_BITS 16
#define CHX_T_MIN INT16_MIN
#define LOAD LOAD_INT
#define STORE STORE_INT
#include "elementwise_dtype.inc"

#define DTYPE i32
#define TYPE int32_t
#define WRAP uint32_t
#define CHX_KIND I
#define CHX_BITS 32
#define CHX_T_MIN INT32_MIN
#define LOAD LOAD_INT
#define STORE STORE_INT
#include "elementwise_dtype.inc"

#define DTYPE i64
#define TYPE int64_t
#define WRAP uint64_t
#define CHX_KIND I
#define CHX_BITS 64
#define CHX_T_MIN INT64_MIN
#define LOAD LOAD_INT
#define STORE STORE_INT
#include "elementwise_dtype.inc"

#define DTYPE u8
#define TYPE uint8_t
#define WRAP uint32_t
#define CHX_KIND U
#define CHX_BITS 8
#define CHX_T_MIN 0
#define LOAD LOAD_INT
#define STORE STORE_INT
#include "elementwise_dtype.inc"

#define DTYPE u16
#define TYPE uint16_t
#define WRAP uint32_t
#define CHX_KIND U
#define CHX_BITS 16
#define CHX_T_MIN 0
#define LOAD LOAD_INT
#define STORE STORE_INT
#include "elementwise_dtype.inc"

#define DTYPE u32
#define TYPE uint32_t
#define WRAP uint32_t
#define CHX_KIND U
#define CHX_BITS 32
#define CHX_T_MIN 0
#define LOAD LOAD_INT
#define STORE STORE_INT
#include "elementwise_dtype.inc"

#define DTYPE u64
#define TYPE uint64_t
#define WRAP uint64_t
#define CHX_KIND U
#define CHX_BITS 64
#define CHX_T_MIN 0
#define LOAD LOAD_INT
#define STORE STORE_INT
#include "elementwise_dtype.inc"

typedef void element(const void *const *in, void *out);

/* A row's functions by dtype; NULL where its class has none. */
#define FLOATS_OF(name) [CHX_F16] = name##_f16, [CHX_BF16] = name##_bf16, [CHX_F32] = name##_f32, [CHX_F64] = name##_f64
#define INTS_OF(name)                                                                                              \
  [CHX_I8] = name##_i8, [CHX_I16] = name##_i16, [CHX_I32] = name##_i32, [CHX_I64] = name##_i64, [CHX_U8] = name##_u8, \
  [CHX_U16] = name##_u16, [CHX_U32] = name##_u32, [CHX_U64] = name##_u64
#define TABLE_F(name) {FLOATS_OF(name)}
#define TABLE_D(name) {FLOATS_OF(name)}
#define TABLE_N(name) {FLOATS_OF(name), INTS_OF(name)}
#define TABLE_A(name) {FLOATS_OF(name), INTS_OF(name), [CHX_BOOL] = name##_boolean}
#define TABLE_W(name) TABLE_A(name)
#define TABLE_I(name) {INTS_OF(name), [CHX_BOOL] = name##_boolean}
#define TABLE_Z(name) {INTS_OF(name)}
#define TABLE_B(name) {[CHX_BOOL] = name##_boolean}
#define ROW(ID, name, class, ...) static element *const row_##name[CHX_DTYPE_END] = TABLE_##class(name);
#define EW1 ROW
#define EW2 ROW
#define EW3 ROW
#include <chx/elementwise.def>

static chx_status run(void *self, const chx_call *c)
{
  element *const *row = self;
  const chx_tensor *y = &c->out[0];
  element *f = row[ref_dtype(&c->in[c->n_in - 1])];
  int64_t i[CHX_MAX_RANK] = {0};
  const void *in[3];
  if (!f) return CHX_DECLINED;
  if (ref_count(y)) do {
      for (uint32_t k = 0; k < c->n_in; k++) in[k] = ref_at(&c->in[k], i);
      f(in, ref_at(y, i));
    } while (ref_next(y, i));
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
#define KERNEL(ID, row, class, result, ...)                                                                        \
  {REF_KERNEL, .op = #row, .dtypes_in = IN_##class, .dtypes_out = OUT_##result(class), .flags = CHX_K_SCALAR_OK, \
   .alias_ok = 0x010101, .run = run, .self = (void *)(uintptr_t)row_##row},
#define EW1 KERNEL
#define EW2 KERNEL
#define EW3 KERNEL
const chx_kernel ref_elementwise_kernels[] = {
#include <chx/elementwise.def>
  {.op = NULL}};
