/* SPDX-License-Identifier: MIT
 * types.h: the numbers that users and plugins share: error codes and dtypes, made from their tables.
 */
#ifndef CHX_TYPES_H
#define CHX_TYPES_H
#include <stdint.h>

typedef int32_t chx_status; /* CHX_OK or an error; an unknown positive code is treated as CHX_EFAILED */
enum {
#define CHX_ERR(ID, number, sentence) CHX_##ID = number,
#include "errors.def"
};

enum {
  CHX_DTYPE_NONE = 0,
#define CHX_DT(ID, number, name, ctype, code, bits, kind) CHX_##ID = number,
#include "dtype.def"
  CHX_DTYPE_END
};

#define CHX_BIT(dtype) ((uint64_t)1 << (dtype)) /* in chx_kernel.dtypes_in and the like */

/* Sets of dtypes. */
#define CHX_SIGNED_INTS (CHX_BIT(CHX_I8) | CHX_BIT(CHX_I16) | CHX_BIT(CHX_I32) | CHX_BIT(CHX_I64))
#define CHX_UNSIGNED_INTS (CHX_BIT(CHX_U8) | CHX_BIT(CHX_U16) | CHX_BIT(CHX_U32) | CHX_BIT(CHX_U64))
#define CHX_INTEGERS (CHX_SIGNED_INTS | CHX_UNSIGNED_INTS)
#define CHX_FLOATS (CHX_BIT(CHX_F16) | CHX_BIT(CHX_BF16) | CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64))
#define CHX_NUMBERS (CHX_INTEGERS | CHX_FLOATS)
#define CHX_ANY_REAL (CHX_NUMBERS | CHX_BIT(CHX_BOOL))

#endif
