/* SPDX-License-Identifier: MIT
 * dn.h: what every file of the plugin includes: kernels, and the plans that they prepare.
 *
 * A kernel is a row of kernel.c: it says whether a call is one that oneDNN can do (`measure`), and describes it
 * (`describe`) as a dn_draft. All else is common: accepts compares the call's size with the row of threshold.h, prepare
 * makes a plan of the draft (plan.c), run executes it. A plan holds nothing that changes, so threads may share it.
 */
#ifndef CHX_DNNL_DN_H
#define CHX_DNNL_DN_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <chx/attr.h>
#include <chx/plugin.h>
#include "api.h"

#if defined __GNUC__
#pragma GCC visibility push(hidden)
#endif

extern const chx_host *dn_host;

chx_status dn_fail(chx_status code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- drafts and plans -------------------------------------------------------------------------------------------- */

enum { DN_ARGS = 8, DN_RANK = 6, DN_OUT = 16 /* operand DN_OUT + o is output o */ };

typedef struct dn_arg {
  int id, operand, ndims;   /* id: DNNL_ARG_SRC, ... */
  int split;                /* the axis that parts of the call divide among them; -1: each part needs all of it */
  bool any;                 /* the primitive may choose a layout, into which the operand is reordered */
  dnnl_data_type_t type;
  int64_t dims[DN_RANK], strides[DN_RANK];
} dn_arg;

typedef struct dn_draft {
  dn_op op;
  int n, parts;
  dn_arg arg[DN_ARGS];
} dn_draft;

/* Adds an operand of call to the draft, seen with ndims axes: its own axes[k], or one of length 1 where that is < 0. */
dn_arg *dn_draft_add(dn_draft *d, const chx_call *call, int id, int operand, int ndims, const int *axes);

/* Cuts the draft into equal parts along the operands' split axes, which are n long: parts are multiples of unit, and
 * have at least `grain` work each. */
void dn_draft_split(dn_draft *d, int64_t n, int64_t unit, double work, double grain);

/* Work that is worth a part: some 30 us. */
#define DN_GRAIN_FLOPS 3e6
#define DN_GRAIN_ELEMENTS 3e4

/* The plan of a draft. What oneDNN cannot do, or only by its reference code, becomes a plan that declines when it is
 * run: it is cached like the others, so that the question is not put again. */
chx_status dn_plan_make(const dn_draft *d, void **plan, uint64_t *workspace_bytes);
void dn_plan_drop(void *self, void *plan);

/* CHX_DECLINED: nothing was done. */
chx_status dn_plan_run(const chx_call *call);

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

/* What thresholds are for: a row of threshold.h holds for one of these. */
enum { DN_FIRST /* channels first, and operators without channels */, DN_LAST /* channels last */,
       DN_POINTWISE /* conv with one tap, in both layouts */, DN_FORMS };

typedef struct dn_size {  /* what thresholds are compared with */
  int form;
  double work;    /* multiplications and additions of matmul and conv, elements read by pooling, elements of others */
  int64_t narrow; /* matmul: the least of M, N, K; conv: of the channels of a group, where 1 counts as 16, since it has
                     code of its own; others: 1 */
} dn_size;

typedef struct dn_family {
  bool (*measure)(const chx_call *, dn_size *); /* false: not for oneDNN; true: no length is 0 */
  void (*describe)(const chx_call *, const dn_size *, dn_draft *);
} dn_family;

extern const dn_family dn_matmul, dn_linear, dn_conv, dn_conv_grad_input, dn_conv_grad_weight, dn_avg_pool,
    dn_avg_pool_grad, dn_softmax, dn_batch_norm, dn_fixed_batch_norm, dn_layer_norm, dn_copy;

/* Fills the table of kernels by what the processor has; native's are appended. take_all: thresholds do not count. */
void dn_kernels_open(bool take_all, bool none); /* none: native's alone, as in the reference mode */
const chx_kernel *dn_kernel_at(uint32_t index);
/* How many calls of an operator ran on oneDNN in this process, NULL: of all. */
uint64_t dn_executed(const char *op);

/* ---- operands ---------------------------------------------------------------------------------------------------- */

static inline const chx_tensor *dn_operand(const chx_call *c, int operand)
{
  return operand >= DN_OUT ? &c->out[operand - DN_OUT] : &c->in[operand];
}

static inline bool dn_absent(const chx_call *c, uint32_t i) { return i >= c->n_in || c->in[i].flags & CHX_T_ABSENT; }

static inline int64_t dn_count(const chx_tensor *t)
{
  int64_t n = 1;
  for (int k = 0; k < t->ndim; k++) n *= t->shape[k];
  return n;
}

/* Whether t has elements, and lies as oneDNN can read it: no steps backwards or on the spot. */
static inline bool dn_plain(const chx_tensor *t)
{
  for (int k = 0; k < t->ndim; k++)
    if (t->shape[k] < 1 || (t->shape[k] > 1 && t->strides[k] < 1)) return false;
  return !(t->flags & CHX_T_HOST_SCALAR);
}

/* Whether all operands are plain. */
static inline bool dn_all_plain(const chx_call *c)
{
  for (uint32_t i = 0; i < c->n_in; i++)
    if (!dn_absent(c, i) && !dn_plain(&c->in[i])) return false;
  for (uint32_t o = 0; o < c->n_out; o++)
    if (!dn_plain(&c->out[o])) return false;
  return true;
}

#if defined __GNUC__
#pragma GCC visibility pop
#endif
#endif
