/* SPDX-License-Identifier: MIT
 * op.h: the operator table, to be read at run time, and chx_apply, the one door through which every operator goes.
 *
 * An operator has a stable name, inputs, outputs, attributes (a struct of chx/attr.h with its schema) and a line of
 * documentation. Bindings, the ONNX runner and the conformance kit are written against these functions; every
 * named function of chx.h calls chx_apply. Descriptions are static and may be read from any thread.
 */
#ifndef CHX_OP_H
#define CHX_OP_H
#include <stddef.h>
#include "types.h"
#include "attr.h"
#ifdef __cplusplus
extern "C" {
#endif
#if defined __GNUC__
#pragma GCC visibility push(default)
#endif

typedef struct chx_scope chx_scope;
typedef struct chx_array chx_array;
typedef struct chx_op chx_op;

/* One field of an attribute struct. The default of INTS and PROGRAM is an empty list. */
typedef struct chx_op_attr {
  const char *name, *doc;
  int type;        /* CHX_ATTR_I64, ... of attr.h */
  uint32_t offset; /* bytes from the start of the struct */
  double def;
} chx_op_attr;

/* What a binding must know of an attribute of one operator: it has no default that would do, so that a call without it is an
 * error; it is a part of the state of a random generator, which bindings draw and do not let be given. */
enum { CHX_ATTR_REQUIRED = 1, CHX_ATTR_DRAWN = 2 };

enum { CHX_OPERAND_OPTIONAL = 1 /* may be NULL */, CHX_OPERAND_VARIADIC = 2 /* any number of these, at least 1 */ };

/* Most operands that one call takes. */
#define CHX_MAX_OPERANDS 64

int chx_op_count(void);
const chx_op *chx_op_at(int i);              /* NULL unless 0 <= i < chx_op_count() */
const chx_op *chx_op_find(const char *name); /* NULL where there is none */

const char *chx_op_name(const chx_op *op);
const char *chx_op_doc(const chx_op *op);
int chx_op_version(const chx_op *op);
int chx_op_n_inputs(const chx_op *op); /* named inputs; a variadic one counts once */
const char *chx_op_input_name(const chx_op *op, int i);
int chx_op_input_flags(const chx_op *op, int i); /* CHX_OPERAND_* */
int chx_op_n_outputs(const chx_op *op);
const char *chx_op_output_name(const chx_op *op, int i);
uint64_t chx_op_dtypes(const chx_op *op); /* dtypes it takes without promotion, CHX_BIT(CHX_F32) | ... */
int chx_op_is_differentiable(const chx_op *op);
int chx_op_is_composite(const chx_op *op); /* has a decomposition into other operators */
int chx_op_is_view(const chx_op *op);      /* its result shares the input's memory where strides can say it */
int chx_op_is_elementwise(const chx_op *op);
int chx_op_is_random(const chx_op *op);    /* draws random numbers: it has attributes that are CHX_ATTR_DRAWN */
int chx_op_is_inner(const chx_op *op);     /* a part of other operators, which the attribute's kind, a program or the scope's device
                                              tells what to do: bindings do not offer it */

uint32_t chx_op_attr_size(const chx_op *op); /* bytes of its attribute struct, 0: it has none */
int chx_op_n_attrs(const chx_op *op);
const chx_op_attr *chx_op_attr_at(const chx_op *op, int i);
int chx_op_attr_flags(const chx_op *op, int i); /* CHX_ATTR_REQUIRED | CHX_ATTR_DRAWN of this operator; 0 where there is no i */

/* chx_apply: run an operator.
 *
 *   in     n_in operands, borrowed; NULL for an optional one that is not given, which trailing ones may also be by a
 *          smaller n_in
 *   attr   the operator's attribute struct, or NULL for all defaults
 *   out    n_out places, n_out <= chx_op_n_outputs. On entry NULL, or the array that this output is to be written
 *          into (its shape and dtype must be the result's; it must not take part in an active graph, nor overlap an
 *          operand except exactly). On return the outputs, in scope s; NULL after an error.
 *   return CHX_OK or the error, which is also in s
 */
chx_status chx_apply(chx_scope *s, const chx_op *op, const chx_array *const *in, int n_in, const void *attr,
                     chx_array **out, int n_out);

/* chx_set_observer: have fn told of every operator call, those that operators make inside of them too, before it runs (done is
 * 0, out NULL) and after (done is 1; -1, out NULL: it failed). A call with bad operands is not told of: when it is, operands
 * are promoted, and the attribute is complete and normalized; chx_apply with them is the same call. Before, an operand that
 * an output is written into still has its old value.
 * NULL: nobody is told, which is the default and costs a call one branch.
 *
 * fn may be called from any thread. It may use chx in scope s, which does not record meanwhile, and is not told of those
 * calls; what it makes there ends with its call unless kept. An error that it leaves in s becomes the call's.
 * Where depth > 0 the operands may be lent for the call: do not keep them, nor use the outer call's operands on a device, before that is
 * done. Calls under way in other threads may still be told to an observer just after it was replaced. */
typedef struct chx_observation {
  uint32_t size;      /* the library's sizeof: a field beyond it is not there */
  int done, depth;    /* depth: how many operators this call is inside of */
  const chx_op *op;
  const void *attr;   /* chx_op_attr_size bytes; NULL if it has none */
  const chx_array *const *in;
  int n_in;           /* NULL entries: optional operands that are not given */
  chx_array *const *out;
  int n_out;
  const char *device; /* "cuda:1" */
  int route;          /* CHX_ROUTE_*, once done */
} chx_observation;
typedef void (*chx_observer)(void *ctx, chx_scope *s, const chx_observation *o);
void chx_set_observer(chx_observer fn, void *ctx);

/* The route that an operator takes on a device for operands of one dtype: what `chx ops` prints. */
enum { CHX_ROUTE_NONE, CHX_ROUTE_VIEW, CHX_ROUTE_KERNEL, CHX_ROUTE_ADAPTED, CHX_ROUTE_COMPOSED, CHX_ROUTE_MAPPED,
       CHX_ROUTE_STAGED };
const char *chx_route_name(int route);

/* chx_explain: the route of op on a device ("cuda:0") for dense operands of the given dtype; `reason`, of `size` bytes, gets
 * a sentence on what was tried. CHX_ROUTE_NONE where the operator does not take the dtype, or after an error. */
int chx_explain(chx_scope *s, const chx_op *op, const char *device, int dtype, char *reason, size_t size);

#if defined __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
