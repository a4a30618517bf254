/* SPDX-License-Identifier: MIT
 * diff_replay.c: a recorded call on two devices from the same operands, compared by the bounds of conform/bounds.def.
 */
#include "diff.h"
#include "conform/cases.h"
#include <stdlib.h>
#include <string.h>

static bool is_float(int dtype)
{
  return (CHX_BIT(dtype) & CHX_FLOATS) != 0;
}

/* ---- operands ---------------------------------------------------------------------------------------------------- */

static chx_array *scalar(chx_scope *s, const diff_operand *x)
{
  chx_scope *host = chx_scope_begin("native:0");
  chx_array *a = chx_from_host(host, x->dtype, 0, NULL, x->data), *y;

  if (is_float(x->dtype))
    y = chx_real(s, chx_item(host, a));
  else if (x->dtype == CHX_BOOL)
    y = chx_bool(s, (int)chx_item_int(host, a));
  else
    y = chx_int(s, chx_item_int(host, a));
  chx_scope_end(host);
  return y;
}

static chx_array *operand(chx_scope *s, const diff_operand *x)
{
  int back[CHX_MAX_RANK];
  bool moved = false, repeated = false;
  chx_array *a;

  if (x->ndim < 0)
    return NULL;
  if (x->is_scalar)
    return scalar(s, x);
  a = chx_from_host(s, x->dtype, x->ndim, x->stored, x->data);
  for (int k = 0; k < x->ndim; k++) {
    back[x->axis[k]] = k;
    moved |= x->axis[k] != k;
    repeated |= x->stored[k] != x->shape[x->axis[k]];
  }
  if (moved)
    a = chx_transpose(s, a, x->ndim, back);
  return repeated ? chx_broadcast_to(s, a, x->ndim, x->shape) : a;
}

bool diff_operands(chx_scope *s, const diff_call *c, const chx_array **in)
{
  for (int i = 0; i < c->n_in; i++)
    in[i] = operand(s, &c->in[i]);
  return !chx_scope_error(s);
}

void diff_describe(const diff_call *c, char *text, size_t size)
{
  size_t at = (size_t)snprintf(text, size, "%s", chx_op_name(c->op));

  for (int i = 0; i < c->n_in && at + 32 < size; i++) {
    const diff_operand *x = &c->in[i];
    if (x->ndim < 0)
      continue;
    at += (size_t)snprintf(text + at, size - at, " %s[", chx_dtype_name(x->dtype));
    for (int k = 0; k < x->ndim && at + 32 < size; k++)
      at += (size_t)snprintf(text + at, size - at, "%s%lld", k ? "," : "", (long long)x->shape[k]);
    at += (size_t)snprintf(text + at, size - at, "]");
  }
}

/* ---- bounds ------------------------------------------------------------------------------------------------------ */

typedef struct limit { /* as case_compare wants it */
  case_bound bound;
  chx_array *scale; /* NULL: none */
  double terms;
} limit;

static double terms_of(const diff_call *c)
{
  case_row row = {.op = chx_op_name(c->op), .what = ""};

  for (; row.n < c->n_in && row.n < CASES_IN; row.n++) {
    case_operand *x = &row.x[row.n];
    x->ndim = c->in[row.n].ndim > CASES_RANK ? CASES_RANK : c->in[row.n].ndim;
    for (int k = 0; k < x->ndim; k++)
      x->shape[k] = c->in[row.n].shape[k];
    for (int k = x->ndim; k && k < c->in[row.n].ndim; k++)
      x->shape[CASES_RANK - 1] *= c->in[row.n].shape[k];
  }
  return case_terms(&row);
}

/* The operator on the operands' magnitudes, in f64: what a sum's rounding goes by. */
static chx_array *magnitudes(chx_scope *s, const diff_call *c)
{
  const chx_array *in[CHX_MAX_OPERANDS];
  chx_array *out = NULL;

  diff_operands(s, c, in);
  for (int i = 0; i < c->n_in; i++)
    if (in[i] && is_float(c->in[i].dtype))
      in[i] = chx_abs(s, chx_cast(s, in[i], CHX_F64));
  chx_apply(s, c->op, in, c->n_in, c->attr, &out, 1);
  return out;
}

/* A program is as far off as its steps may be, each at the largest value on the way. */
static bool program_limit(chx_scope *s, const diff_call *c, limit *l)
{
  const chx_map_attr *p = c->attr;
  const chx_array *in[CHX_MAX_OPERANDS];
  double ulps = 1;

  diff_operands(s, c, in);
  for (int i = 0; i < c->n_in; i++) {
    if (in[i] && is_float(c->in[i].dtype))
      in[i] = chx_cast(s, in[i], CHX_F64);
    if (in[i] && chx_dtype(in[i]) == CHX_F64)
      l->scale = l->scale ? chx_maximum(s, l->scale, chx_abs(s, in[i])) : chx_abs(s, in[i]);
  }
  for (int k = 0; k < p->program.n; k++) {
    chx_map_attr first = *p;
    const case_bound *b = case_bound_of(p->program.step[k].op);
    chx_array *y = NULL;
    first.program.n = k + 1;
    chx_apply(s, c->op, in, c->n_in, &first, &y, 1);
    y = chx_abs(s, chx_cast(s, y, CHX_F64));
    l->scale = l->scale ? chx_maximum(s, l->scale, y) : y;
    ulps += b && b->ulp > 0.5 ? b->ulp : 0.5;
  }
  l->bound = (case_bound){.op = "map", .kind = 'S', .ulp = 1, .ref = 'D', .zero = '-', .reason = "its steps' rounding"};
  l->terms = ulps * ulps; /* of which case_compare takes the root */
  return !chx_scope_error(s);
}

static bool limit_of(chx_scope *s, const diff_call *c, limit *l)
{
  const char *name = chx_op_name(c->op);
  const case_bound *b = case_bound_of(name);

  *l = (limit){.terms = terms_of(c)};
  if (strcmp(name, "map") == 0)
    return program_limit(s, c, l);
  if (b)
    l->bound = *b;
  else /* an extension's: nobody said how exact it is */
    l->bound = (case_bound){.op = name, .kind = 'P', .ulp = 16, .ref = 'D', .zero = '-', .reason = "no bound is stated"};
  if (case_bound_is_sum(b))
    l->scale = magnitudes(s, c);
  return !chx_scope_error(s);
}

/* ---- the two devices --------------------------------------------------------------------------------------------- */

typedef struct side {
  chx_scope *s;
  const char *device;
  chx_array *out[DIFF_OUT];
} side;

static bool run_side(side *t, const diff_call *c, char *text, size_t size)
{
  const chx_array *in[CHX_MAX_OPERANDS];
  int n_out = chx_op_n_outputs(c->op);

  t->s = chx_scope_begin(t->device);
  chx_scope_set_fallback(t->s, CHX_FALLBACK_ALLOW);
  if (!diff_operands(t->s, c, in) || chx_apply(t->s, c->op, in, c->n_in, c->attr, t->out, n_out) || chx_sync(t->s))
    snprintf(text, size, "%s fails: %s", t->device, chx_scope_message(t->s));
  return !chx_scope_error(t->s);
}

static bool compare(const diff_call *c, const side *a, const side *b, const limit *l, double slack, char *text, size_t size)
{
  char what[500];

  for (int o = 0; o < chx_op_n_outputs(c->op); o++) {
    if (!a->out[o] && !b->out[o])
      continue;
    if (case_compare(b->out[o], a->out[o], o == 0 ? l->scale : NULL, &l->bound, l->terms, slack, what, sizeof what))
      continue;
    snprintf(text, size, "output '%s' on %s, where %s's is wanted: %s", chx_op_output_name(c->op, o), b->device, a->device,
             what);
    return false;
  }
  return true;
}

bool diff_agrees(const diff_call *c, const char *a, const char *b, double slack, char *text, size_t size)
{
  side left = {.device = a}, right = {.device = b};
  chx_scope *host = chx_scope_begin("native:0");
  limit l;
  bool good = run_side(&left, c, text, size) && run_side(&right, c, text, size);

  if (good && !(good = limit_of(host, c, &l)))
    snprintf(text, size, "its bound could not be worked out: %s", chx_scope_message(host));
  good = good && compare(c, &left, &right, &l, slack, text, size);
  chx_scope_end(left.s);
  chx_scope_end(right.s);
  chx_scope_end(host);
  return good;
}
