/* SPDX-License-Identifier: MIT
 * grad.c: `chx conform --mode grad`: the gradient of every differentiable operator on the judged device against finite
 * differences, of first and second order, in f64 or, where the device has none, in f32. TAP on stdout.
 */
#include "cases.h"
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

enum { MOST_ELEMENTS = 48 }; /* each is moved to both sides */

typedef struct call {
  const chx_op *op;
  const void *attr;
  int n, n_x, at[CASES_IN]; /* operand at[i] is input i of the checker */
} call;

static void apply(void *ctx, chx_scope *s, chx_array *const *xs, chx_array **ys)
{
  const call *c = ctx;
  const chx_array *in[CASES_IN] = {NULL};
  for (int i = 0; i < c->n_x; i++) in[c->at[i]] = xs[i];
  for (int o = 0; o < chx_op_n_outputs(c->op); o++) ys[o] = NULL;
  chx_apply(s, c->op, in, c->n, c->attr, ys, chx_op_n_outputs(c->op));
}

static bool small(const case_row *row)
{
  int64_t most = 1;
  for (int i = 0; i < row->n; i++) {
    int64_t n = 1;
    for (int k = 0; k < row->x[i].ndim; k++) n *= row->x[i].shape[k];
    if (n > most || n == 0) most = n ? n : MOST_ELEMENTS + 1;
  }
  return most <= MOST_ELEMENTS;
}

typedef struct tally {
  int number, failed;
} tally;

static void result(tally *t, bool good, const char *op, const case_row *row, int dtype, const char *order,
                   const char *text)
{
  char line[600];
  snprintf(line, sizeof line, "%s", text);
  for (char *p = line; *p; p++)
    if (*p == '#' || *p == '\n') *p = ' ';
  printf("%sok %d - grad: %s%s%s, %s, %s\n", good ? "" : "not ", ++t->number, op, *row->what ? ", " : "", row->what,
         chx_dtype_name(dtype), order);
  if (!good) printf("# %s\n", line);
  fflush(stdout);
  t->failed += !good;
}

/* Whether the call gives a result of the dtype that it is tested in: a cast to another has no differences to measure. */
static bool in_dtype(chx_scope *s, call *k, const chx_array *const *xs, int dtype)
{
  chx_array *ys[CASES_OUT] = {NULL};
  size_t mark = chx_scope_mark(s);
  apply(k, s, (chx_array *const *)xs, ys);
  bool same = !ys[0] || chx_dtype(ys[0]) == dtype; /* an error is reported by the check */
  chx_scope_clear(s);
  chx_scope_rewind(s, mark, NULL);
  return same;
}

static void check(conform *c, tally *t, const chx_op *op, const case_row *row, int dtype)
{
  _Alignas(16) char room[CASES_ATTR_BYTES];
  bool wide = dtype == CHX_F64;
  double eps = wide ? 1e-5 : 1e-2, atol = wide ? 1e-7 : 2e-2, rtol = wide ? 1e-5 : 2e-2;
  call k = {.op = op, .attr = case_attr(row, dtype, room), .n = row->n};
  const chx_array *xs[CASES_IN];
  case_random r = {case_key(c->seed, row->op)};
  chx_scope *s = chx_scope_begin(c->spec), *make = chx_scope_begin("native:0");
  for (int i = 0; i < row->n; i++) {
    if (row->x[i].ndim < 0) continue;
    xs[k.n_x] = chx_to(s, case_stored(make, &r, &row->x[i], dtype, LAYOUT_DENSE, VALUES_PLAIN), c->spec);
    k.at[k.n_x++] = i;
  }
  int n_y = chx_op_n_outputs(op);
  if (!in_dtype(s, &k, xs, dtype)) {
    chx_scope_end(s);
    chx_scope_end(make);
    return;
  }
  chx_check_grad(s, apply, &k, xs, k.n_x, n_y, eps, atol, rtol);
  bool good = !chx_scope_error(s);
  result(t, good, row->op, row, dtype, "first order", chx_scope_message(s));
  if (good && wide) {
    chx_check_grad_twice(s, apply, &k, xs, k.n_x, n_y, eps, atol, rtol);
    result(t, !chx_scope_error(s), row->op, row, dtype, "second order", chx_scope_message(s));
  }
  chx_scope_end(s);
  chx_scope_end(make);
}

/* f64 where the device holds it. */
static int device_dtype(chx_scope *s)
{
  chx_device_state d;
  for (int i = 0; i < chx_backend_count(); i++)
    for (int j = 0; !chx_device_at(i, j, &d); j++)
      if (!strcmp(d.specifier, chx_scope_device(s))) return d.dtypes & CHX_BIT(CHX_F64) ? CHX_F64 : CHX_F32;
  return CHX_F32;
}

int conform_grad(conform *c)
{
  tally t = {0, 0};
  case_row row;
  chx_scope *s = chx_scope_begin("native:0");
  if (chx_load_plugin(s, c->file) || chx_scope_set_device(s, c->spec)) {
    printf("Bail out! %s\n", chx_scope_message(s));
    chx_scope_end(s);
    return 2;
  }
  int dtype = device_dtype(s);
  for (int i = 0; i < chx_op_count(); i++) {
    const chx_op *op = chx_op_at(i);
    if (!chx_op_is_differentiable(op) || (c->op_glob && fnmatch(c->op_glob, chx_op_name(op), 0))) continue;
    int rows = 0;
    for (int k = 0; case_row_at(op, k, &row); k++)
      if (small(&row)) check(c, &t, op, &row, dtype), rows++;
    if (!rows) { /* without a row it is not tested */
      row = (case_row){.op = chx_op_name(op), .what = "no small row in the kit's table"};
      result(&t, false, row.op, &row, dtype, "first order", "want a row of few elements in cases.c");
    }
  }
  printf("1..%d\n", t.number);
  chx_scope_end(s);
  return t.failed || !t.number ? 1 : 0;
}
