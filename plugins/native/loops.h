/* SPDX-License-Identifier: MIT
 * loops.h: the loops that elementwise.def is compiled to, and programs of them.
 *
 * k_elementwise.c owns the rows: a loop per row and dtype over dense operands. k_map.c runs programs of such loops
 * block by block over operands of any layout and, with them in float, over the 16-bit floats; a row whose operands
 * are not dense is a program of one step.
 */
#ifndef CHX_NATIVE_LOOPS_H
#define CHX_NATIVE_LOOPS_H
#include "iter.h"

/* v[i] = f(x[i], y[i], z[i]) for dense operands; bit k of `scalars`: operand k is one element for all i. v may be an
 * operand, element upon element. */
typedef void nat_loop(int64_t n, const void *x, const void *y, const void *z, void *v, int scalars);

typedef struct nat_row {
  const char *name;
  uint8_t n_in, is_where, to_bool, cost; /* cost: of an element, in additions */
  nat_loop *loop[CHX_DTYPE_END]; /* NULL where the row's class has not the dtype, and for f16 and bf16 */
} nat_row;

typedef struct nat_instr {
  nat_loop *fn;
  uint8_t n_in, in[3], dtype; /* in: values, as in chx_map_step; dtype: the result's */
  uint8_t place;              /* the buffer its result goes to */
} nat_instr;

typedef struct nat_program {
  int n_in, n_steps, cost;
  nat_instr step[CHX_MAP_STEPS];
} nat_program;

#if defined __GNUC__
#pragma GCC visibility push(hidden)
#endif
const nat_row *NAT(nat_row_find)(const char *name);
/* Append a step whose operands have these dtypes; its dtype, or 0 where the row has no such loop. */
int NAT(nat_program_add)(nat_program *p, const nat_row *row, const uint8_t *in, const int *dtypes);
chx_status NAT(nat_program_run)(nat_program *p, const chx_call *c);
#if defined __GNUC__
#pragma GCC visibility pop
#endif

#endif
