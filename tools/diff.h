/* SPDX-License-Identifier: MIT
 * diff.h: what the files of `chx diff` share: recorded operator calls, and what replaying one on two devices found.
 */
#ifndef CHX_DIFF_H
#define CHX_DIFF_H
#include <chx/chx.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { DIFF_OUT = 8 };

/* An operand: its values as they lie in memory, and the view of them that the call saw. */
typedef struct diff_operand {
  int dtype, ndim;              /* ndim -1: not given */
  int is_scalar;                /* a number of the host, on no device */
  int64_t shape[CHX_MAX_RANK];
  int axis[CHX_MAX_RANK];       /* axis k of the stored values is axis[k] of the operand */
  int64_t stored[CHX_MAX_RANK]; /* their lengths: 1 where the operand is broadcast */
  void *data;
  size_t bytes;
} diff_operand;

typedef struct diff_call {
  const chx_op *op;
  void *attr; /* NULL: it has none */
  int n_in;
  diff_operand *in;
  int number; /* of the run's calls, from 1 */
} diff_call;

typedef struct diff_log {
  diff_call *v;
  int n, room;
  int most, skip;         /* calls to keep, after those to pass by */
  size_t bytes, most_bytes;
  int depth;              /* calls inside of that many others are kept */
  int seen;
  const char *device;     /* on this device */
  void (*full)(void);     /* called once, when there is no more room; may be NULL */
  bool is_full;
  char error[300];        /* why recording ended early; "" */
} diff_log;

/* ---- diff_record.c ---- */

void diff_record_begin(diff_log *l); /* from now on calls are kept in l, one log at a time */
void diff_record_end(void);
void diff_log_free(diff_log *l);

/* ---- diff_replay.c ---- */

/* The operands on the scope's device, in (room for n_in); false: the error is in s. */
bool diff_operands(chx_scope *s, const diff_call *c, const chx_array **in);
/* Whether c's results agree on the two devices within slack times the operator's bound; if not, text says what differs. */
bool diff_agrees(const diff_call *c, const char *a, const char *b, double slack, char *text, size_t size);
/* c as "conv f32[2,3,8,8] f32[4,3,3,3]". */
void diff_describe(const diff_call *c, char *text, size_t size);

/* ---- diff_repro.c ---- */

/* Writes dir/OP.npz, the operands' stored values, and dir/OP.c, a program that applies the operator to them on both devices
 * and prints the difference. CHX_OK, or the error, which is also in s. */
chx_status diff_write(chx_scope *s, const diff_call *c, const char *a, const char *b, const char *dir, const char *found);

#endif
