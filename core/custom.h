/* SPDX-License-Identifier: MIT
 * custom.h: an operator that a plugin declared, between op_declare.c, which checks it, and op_custom.c, which carries it out.
 */
#ifndef CHX_CUSTOM_H
#define CHX_CUSTOM_H
#include "runtime.h"

typedef struct chxi_body {
  chx_op_body b;
  const chx_op **ops;  /* of the steps; NULL: there is no body */
  uint32_t result[5];  /* values: the outputs; of a gradient, one for each input */
  uint32_t n_values;   /* operands and outputs of steps */
} chxi_body;

typedef struct chxi_custom {
  chx_op op;           /* first: from one comes the other */
  chx_op_decl d;       /* as far as the plugin's header had it, the rest 0 */
  chxi_body body, grad;
  const chxi_backend *owner;
  struct chxi_custom *link;
  chx_op_attr *attrs;
  char *parts;
} chxi_custom;

/* Sets the entry's functions. body, grad: not NULL where there is one. */
void chxi_custom_entry(chx_op *op, const chx_op_decl *d, const void *body, const void *grad);

#endif
