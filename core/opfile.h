/* SPDX-License-Identifier: MIT
 * opfile.h: what the files of operator entries (op_*.c, grad_elementwise.c, named.c) share beyond internal.h.
 */
#ifndef CHX_OPFILE_H
#define CHX_OPFILE_H
#include "internal.h"
#include "random.h"

/* Elementwise operators by their ID, in gradients and decompositions that need an entry rather than a named function. */
#define CHXI_EW(ID) (&chxi_elementwise[CHXI_OP_##ID])

/* ---- for infer (infer.c) ------------------------------------------------------------------------------------------ */

bool chxi_on_device_operand(chxi_call *c, int i); /* a scalar operand becomes a 0-d array on the call's device */
/* Error unless in[i]'s dtype is in the set. */
bool chxi_want_dtypes(chxi_call *c, int i, uint64_t dtypes, const char *want);
bool chxi_want_dtype_attr(chxi_call *c, int64_t dtype, uint64_t dtypes); /* attribute 'dtype' */
bool chxi_index_operand(chxi_call *c, int i);                            /* integers, cast to i64 */
/* Operands to their common floating dtype, integers as class D; on the device. */
bool chxi_float_operands(chxi_call *c, int first, int last);

/* ---- for named functions (named.c) --------------------------------------------------------------------------------- */

bool chxi_named(chx_scope *s, const char *what,
                const chx_array *a); /* s is fine and a is not NULL; else the error is set */
bool chxi_list_from_ints(chx_scope *s, const char *what, chx_ints *list, int n, const int *v);
bool chxi_list_from_shape(chx_scope *s, const char *what, chx_ints *list, int n, const int64_t *v);
/* An array full of v, on device dev (NULL: the scope's). */
chx_array *chxi_full_on(chx_scope *s, chxi_device *dev, int dtype, int ndim, const int64_t *shape, double v);

/* ---- for gradients and decompositions (named.c) ------------------------------------------------------------------- */

chx_array *chxi_times(chx_scope *s, const chx_array *a, double v); /* a * v */
chx_array *chxi_plus(chx_scope *s, const chx_array *a, double v);  /* a + v */
chx_array *chxi_or_zero(chx_scope *s, const chx_array *cond, const chx_array *a); /* where(cond, a, 0) */
chx_array *chxi_sum_axes(chx_scope *s, const chx_array *a, const chx_ints *axes, int keepdims);
chx_array *chxi_mean_axes(chx_scope *s, const chx_array *a, const chx_ints *axes, int keepdims);
chx_array *chxi_amax_axes(chx_scope *s, const chx_array *a, const chx_ints *axes, int keepdims);
/* a, which lacks `axes` of a shape, seen with these axes of length 1; a itself if it has them. */
chx_array *chxi_keepdims(chx_scope *s, const chx_array *a, int ndim, const int64_t *shape, const chx_ints *axes);
chx_array *chxi_like_channel(chx_scope *s, const chx_array *a, int ndim, int axis); /* a [C] as [1, .., C, .., 1] */
chx_array *chxi_slice_grad(chx_scope *s, const chx_array *gy, const chx_slice_attr *p, int ndim, const int64_t *shape);

/* ---- random (random.c) ---------------------------------------------------------------------------------------------- */

chx_array *chxi_bits_on(chx_scope *s, chxi_device *dev, int dtype, int ndim, const int64_t *shape, uint64_t seed,
                        uint64_t counter);

#endif
