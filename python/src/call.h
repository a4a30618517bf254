/* SPDX-License-Identifier: MIT
 * call.h: one operator of the table as a Python callable: made and called by call.c, described by describe.c.
 */
#ifndef CHXPY_CALL_H
#define CHXPY_CALL_H
#include "chxpy.h"

enum { PY_MAX_PARAMS = 24 };

typedef struct py_op {
  PyObject_HEAD vectorcallfunc call;
  const chx_op *op;
  int n_in, n_params, n_out;
  int n_required, n_needed; /* operands that must be given; attributes that must be, which are the first after the operands */
  bool variadic, draws;
  bool by_axis;  /* without an axis NumPy's form is meant, which has another default than the table */
  bool by_names; /* two operands without names are NumPy's form, which has another second one than the table */
  bool indexes;  /* what is wrong with its arguments is an IndexError */
  uint32_t attr_size;
  PyObject *names[PY_MAX_PARAMS];          /* interned */
  const chx_op_attr *attrs[PY_MAX_PARAMS]; /* of parameter n_in + i */
  unsigned char *defaults;                 /* the attribute struct */
  PyObject *name;
} py_op;

PyObject *py_op_doc(const py_op *f);
PyObject *py_op_signature(const py_op *f); /* what inspect.signature reads */

#endif
