/* SPDX-License-Identifier: MIT
 * cases.h: plausible calls of every operator of the table: operands, attributes, layouts, and what may differ.
 */
#ifndef CHX_CONFORM_CASES_H
#define CHX_CONFORM_CASES_H
#include "conform.h"

enum { CASES_IN = 6, CASES_OUT = 4, CASES_ATTR_BYTES = 2048, CASES_RANK = 8 };

typedef struct case_operand {
  int ndim;                  /* -1: not given */
  int64_t shape[CASES_RANK];
  double low, high;          /* both 0: -2 to 2 */
  char kind;                 /* 0: of the tested dtype; 'I': i64 from low to high; 'B': bool */
} case_operand;

typedef struct case_row {
  const char *op, *what;
  void (*attr)(void *attr, int dtype); /* NULL: all defaults */
  int n;
  case_operand x[CASES_IN];
} case_row;

/* Row i of the operator, the plainest first; false: there are no more. An operator without rows of its own gets
 * operands of [2,3], broadcasting ones if it is elementwise. Values are in its domain, away from kinks. */
bool case_row_at(const chx_op *op, int i, case_row *row);
/* The row's attribute for a dtype; NULL: all defaults. room: CASES_ATTR_BYTES, aligned. */
void *case_attr(const case_row *row, int dtype, void *room);
/* How many terms one element of the output is summed from. */
double case_terms(const case_row *row);

/* ---- operands -------------------------------------------------------------------------------------------------------- */

enum { LAYOUT_DENSE, LAYOUT_TRANSPOSED, LAYOUT_REVERSED, LAYOUT_STEPPED, LAYOUT_OFFSET, LAYOUT_BROADCAST, LAYOUTS };
extern const char *const layout_names[LAYOUTS];

enum { VALUES_PLAIN /* the row's range */, VALUES_WIDE /* other magnitudes, too */, VALUES_SPECIAL /* NaN, Inf, -0 */,
       VALUES_BITS /* random bits: all magnitudes; f16 and bf16: each value in turn */ };

typedef struct case_random { uint64_t state; } case_random;
uint64_t case_bits(case_random *r);
double case_uniform(case_random *r, double low, double high);
uint64_t case_key(uint64_t seed, const char *text); /* a seed of its own for each operator */

/* An operand of dtype (the kind of x may say another) on ref:0, dense, to be seen through case_view: x's shape as the
 * layout stores it. */
chx_array *case_stored(chx_scope *s, case_random *r, const case_operand *x, int dtype, int layout, int values);
/* x's values out of what case_stored made, on whatever device that is now. */
chx_array *case_view(chx_scope *s, chx_array *stored, const case_operand *x, int layout);

/* ---- comparing (compare.c) ------------------------------------------------------------------------------------------------ */

typedef struct case_bound {
  const char *op;
  char kind;   /* 'E', 'U', 'S', 'N', 'P', 's', 'u': see bounds.def */
  double ulp;  /* allowed, of the tested dtype */
  double floor;/* errors are measured at max(|value|, floor) */
  char ref;    /* 'D' computed in f64, 'T' in the tested dtype */
  char zero;   /* 'Z': the sign of zero counts, too */
  const char *reason;
} case_bound;
const case_bound *case_bound_of(const char *op); /* NULL: no row of bounds.def */
bool case_bound_is_sum(const case_bound *b);     /* case_compare wants a scale */

/* got against want (f64 or got's dtype), both anywhere; scale (may be NULL): the sums of magnitudes, in f64. `slack`
 * times the bound is allowed. False: text says which element, what was seen and what is allowed. */
bool case_compare(const chx_array *got, const chx_array *want, const chx_array *scale, const case_bound *b, double terms,
                  double slack, char *text, size_t size);
void case_describe(const case_row *row, int dtype, const char *layout, char *text, size_t size);

#endif
