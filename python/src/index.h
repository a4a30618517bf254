/* SPDX-License-Identifier: MIT
 * index.h: a key x[key] as index.c reads it and pick.c carries out its arrays.
 *
 * The key is a view of x, in which the axes that arrays index are whole, and the arrays, which then pick from those axes.
 */
#ifndef CHXPY_INDEX_H
#define CHXPY_INDEX_H
#include "chxpy.h"

typedef struct py_key_array {
  chx_array *a;    /* a reference of the key's */
  int axis, at, n; /* of x: its first axis; of the view: the same; how many: 1, of a mask its rank */
  bool mask;
} py_key_array;

typedef struct py_key {
  chx_slice_attr slice;
  int axis;          /* of x: the next to be indexed */
  int n_out;         /* axes after slicing and None */
  uint32_t inserted; /* bit set of those that None made */
  int last_advanced; /* position in the key of the last integer or array, which NumPy calls advanced; -1: none */
  int first_at;      /* axis of the view where the first of them stands */
  bool apart;        /* they do not stand side by side */
  int n_arrays;
  py_key_array arrays[CHX_MAX_RANK];
} py_key;

bool py_bad_index(long long i, int axis, int64_t length);
chx_array *py_key_view(chx_scope *s, const chx_array *a, const py_key *k);

/* What a key with arrays reads of x, and writes into x's view by it. NULL, or false: the scope is in error, or there is an exception. */
chx_array *py_pick(chx_scope *s, const chx_array *x, const py_key *k);
bool py_put(chx_scope *s, chx_array *view, const py_key *k, const chx_array *value);

#endif
