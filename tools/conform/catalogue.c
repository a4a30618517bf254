/* SPDX-License-Identifier: MIT
 * catalogue.c: group C6: every operator of libchx on the judged device, forward and backward, against native:0, by
 * whatever route it goes there. A plugin without any kernel passes. The last case lists what is not on the device.
 */
#include "cases.h"
#include "watch.h"
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double grad_tolerance = 1e-4; /* of the largest element of a gradient in f32 */

typedef struct sides {
  conform *c;
  const chx_op *op;
  chx_scope *here, *there, *make; /* the judged device, native:0, where operands are made */
  case_random random;
  int dtype, forward, backward;   /* calls that were compared */
} sides;

/* The dtype in which an operator is tried: f32 where it takes it. */
static int dtype_of(const chx_op *op)
{
  static const int usual[] = {CHX_F32, CHX_I64, CHX_BOOL, CHX_U32};
  for (int i = 0; i < 4; i++)
    if (!chx_op_dtypes(op) || chx_op_dtypes(op) & CHX_BIT(usual[i])) return usual[i];
  return CHX_F32;
}

static bool is_float(const chx_array *a) { return a && CHX_FLOATS & CHX_BIT(chx_dtype(a)); }

static bool bad(sides *t, const case_row *row, const char *what, const char *text)
{
  char call[400];
  case_describe(row, t->dtype, "dense", call, sizeof call);
  return conform_check(t->c, false, "%s: %s: %s", call, what, text);
}

static bool close_gradients(sides *t, const case_row *row, int i, const chx_array *g, const chx_array *want)
{
  int64_t n = chx_size(want);
  if (chx_size(g) != n) return bad(t, row, "gradient", "it has another size than native's");
  double *a = calloc((size_t)n + 1, 2 * sizeof *a), *b = a + n, top = 0, worst = 0;
  size_t bytes = (size_t)n * sizeof *a;
  bool good = a && !chx_read(t->make, chx_cast(t->make, chx_to(t->make, g, "ref:0"), CHX_F64), a, bytes) &&
              !chx_read(t->make, chx_cast(t->make, chx_to(t->make, want, "ref:0"), CHX_F64), b, bytes);
  for (int64_t k = 0; good && k < n; k++) {
    if (isfinite(b[k])) top = fmax(top, fabs(b[k]));
    if (a[k] == b[k] || (isnan(a[k]) && isnan(b[k]))) continue;
    worst = isfinite(a[k]) ? fmax(worst, fabs(a[k] - b[k])) : INFINITY;
  }
  free(a);
  char text[200];
  snprintf(text, sizeof text,
           "the gradient of operand %d differs from native's by %.3g, allowed %.0e of its largest element, %.3g", i,
           worst, grad_tolerance, top);
  if (!good) return bad(t, row, "gradient", chx_scope_message(t->make));
  return worst <= grad_tolerance * (top + 1e-3) || bad(t, row, "gradient", text);
}

/* d (sum of weighted floating outputs) / d (floating operands) on one side. */
static chx_status gradients(chx_scope *s, chx_array *const *out, chx_array *const *w, int n_out,
                            const chx_array *const *in, int n_in, chx_array **g)
{
  const chx_array *ys[CASES_OUT], *gys[CASES_OUT], *xs[CASES_IN];
  int n_y = 0, n_x = 0;
  for (int o = 0; o < n_out; o++)
    if (is_float(out[o]) && chx_is_backprop_required(s, out[o])) ys[n_y] = out[o], gys[n_y++] = w[o];
  for (int i = 0; i < n_in; i++)
    if (is_float(in[i])) xs[n_x++] = in[i];
  return n_y ? chx_grad(s, ys, n_y, xs, n_x, gys, 0, 0, g) : CHX_OK;
}

static bool backward(sides *t, const case_row *row, const chx_array *const *in, const chx_array *const *want_in,
                     chx_array *const *out, chx_array *const *want, int n_out)
{
  chx_array *w[CASES_OUT] = {NULL}, *want_w[CASES_OUT] = {NULL}, *g[CASES_IN] = {NULL}, *want_g[CASES_IN] = {NULL};
  for (int o = 0; o < n_out; o++) {
    case_operand x = {.ndim = chx_ndim(want[o])};
    if (!is_float(want[o])) continue;
    for (int k = 0; k < x.ndim && k < CASES_RANK; k++) x.shape[k] = chx_shape(want[o])[k];
    chx_array *made = case_stored(t->make, &t->random, &x, chx_dtype(want[o]), LAYOUT_DENSE, VALUES_PLAIN);
    w[o] = chx_to(t->here, made, WATCH_DEVICE);
    want_w[o] = chx_to(t->there, made, "native:0");
  }
  if (gradients(t->there, want, want_w, n_out, want_in, row->n, want_g)) return chx_scope_clear(t->there), true;
  if (gradients(t->here, out, w, n_out, in, row->n, g)) return bad(t, row, "backward", chx_scope_message(t->here));
  for (int i = 0, k = 0; i < row->n; i++) {
    if (!is_float(want_in[i])) continue;
    if (want_g[k] && !close_gradients(t, row, i, g[k], want_g[k])) return false;
    t->backward += want_g[k] != NULL;
    k++;
  }
  return true;
}

static chx_array *magnitudes(sides *t, const case_row *row, const chx_array *const *want_in, const void *attr)
{
  const chx_array *in[CASES_IN] = {NULL};
  chx_array *out = NULL;
  for (int i = 0; i < row->n; i++) in[i] = is_float(want_in[i]) ? chx_abs(t->there, want_in[i]) : want_in[i];
  chx_apply(t->there, t->op, in, row->n, attr, &out, 1);
  return out;
}

static bool call(sides *t, const case_row *row)
{
  _Alignas(16) char room[CASES_ATTR_BYTES];
  const chx_array *in[CASES_IN] = {NULL}, *want_in[CASES_IN] = {NULL};
  chx_array *out[CASES_OUT] = {NULL}, *want[CASES_OUT] = {NULL}, *scale = NULL;
  int n_out = chx_op_n_outputs(t->op);
  const void *attr = case_attr(row, t->dtype, room);
  const case_bound *bound = case_bound_of(row->op);
  char text[600];
  for (int i = 0; i < row->n; i++) {
    if (row->x[i].ndim < 0) continue;
    chx_array *made = case_stored(t->make, &t->random, &row->x[i], t->dtype, LAYOUT_DENSE, VALUES_PLAIN);
    chx_array *a = chx_to(t->here, made, WATCH_DEVICE), *b = chx_to(t->there, made, "native:0");
    if (chx_op_is_differentiable(t->op) && is_float(b)) chx_require_grad(t->here, a), chx_require_grad(t->there, b);
    in[i] = a;
    want_in[i] = b;
  }
  chx_status expected = chx_apply(t->there, t->op, want_in, row->n, attr, want, n_out);
  chx_status st = chx_apply(t->here, t->op, in, row->n, attr, out, n_out);
  if (expected) {
    chx_scope_clear(t->there);
    return st || bad(t, row, "forward", "native refuses the call, the device does not");
  }
  if (st) return bad(t, row, "forward", chx_scope_message(t->here));
  if (case_bound_is_sum(bound)) scale = magnitudes(t, row, want_in, attr);
  for (int o = 0; o < n_out; o++) {
    if (!case_compare(out[o], want[o], scale, bound, case_terms(row), 2, text, sizeof text))
      return bad(t, row, "forward", text);
    t->forward++;
  }
  return !chx_op_is_differentiable(t->op) || backward(t, row, in, want_in, out, want, n_out);
}

static bool opened(conform *c)
{
  char why[600];
  return conform_check(c, watch_open(c, why, sizeof why), "%s", why);
}

static void begin(sides *t)
{
  t->here = chx_scope_begin(WATCH_DEVICE);
  t->there = chx_scope_begin("native:0");
  t->make = chx_scope_begin("ref:0");
  chx_scope_set_fallback(t->here, CHX_FALLBACK_ALLOW);
}

static void end(sides *t)
{
  chx_scope_end(t->here);
  chx_scope_end(t->there);
  chx_scope_end(t->make);
}

static void run(conform *c, void *arg)
{
  sides t = {.c = c, .op = arg, .dtype = dtype_of(arg)};
  case_row row;
  char reason[300];
  if (!opened(c)) return;
  begin(&t);
  t.random.state = case_key(c->seed, chx_op_name(t.op));
  for (int i = 0; case_row_at(t.op, i, &row); i++) {
    size_t here = chx_scope_mark(t.here), there = chx_scope_mark(t.there), make = chx_scope_mark(t.make);
    bool good = call(&t, &row);
    const char *broken = watch_broken();
    if (broken) good = bad(&t, &row, "watched", broken);
    chx_scope_clear(t.here);
    chx_scope_rewind(t.here, here, NULL);
    chx_scope_rewind(t.there, there, NULL);
    chx_scope_rewind(t.make, make, NULL);
    if (!good) break;
  }
  conform_check(c, c->failures || t.forward, "%s: no call could be made, want a row in the kit's table (cases.c)",
                chx_op_name(t.op));
  int route = chx_explain(t.here, t.op, WATCH_DEVICE, t.dtype, reason, sizeof reason);
  chx_scope_clear(t.here);
  conform_note(c, "%s: %s; %d results, %d gradients compared%s%s", chx_dtype_name(t.dtype), chx_route_name(route),
               t.forward, t.backward, *reason ? "; " : "", reason);
  end(&t);
}

/* ---- what is not on the device ----------------------------------------------------------------------------------------- */

struct list {
  char text[1500];
  int n;
};

static void name(struct list *l, const char *op)
{
  size_t at = strlen(l->text);
  snprintf(l->text + at, sizeof l->text - at, "%s%s", l->n++ ? " " : "", op);
}

/* The operator's first row under the policy deny: whether it, and then its gradient, stays on the device. */
static void denied(sides *t, struct list *ops, struct list *grads)
{
  _Alignas(16) char room[CASES_ATTR_BYTES];
  const chx_array *in[CASES_IN] = {NULL};
  chx_array *out[CASES_OUT] = {NULL}, *g[CASES_IN] = {NULL}, *w[CASES_OUT] = {NULL};
  case_row row;
  if (!case_row_at(t->op, 0, &row)) return;
  for (int i = 0; i < row.n; i++) {
    case_operand x = row.x[i];
    if (x.ndim < 0) continue;
    if (chx_op_is_elementwise(t->op)) { /* no broadcast, which needs a copy kernel, too */
      memcpy(x.shape, row.x[0].shape, sizeof x.shape);
      x.ndim = row.x[0].ndim;
    }
    chx_array *made = case_stored(t->make, &t->random, &x, t->dtype, LAYOUT_DENSE, VALUES_PLAIN);
    chx_array *a = chx_to(t->here, made, WATCH_DEVICE);
    if (chx_op_is_differentiable(t->op) && is_float(a)) chx_require_grad(t->here, a);
    in[i] = a;
  }
  int n_out = chx_op_n_outputs(t->op), route = chx_explain(t->here, t->op, WATCH_DEVICE, t->dtype, NULL, 0);
  chx_status st = chx_apply(t->here, t->op, in, row.n, case_attr(&row, t->dtype, room), out, n_out);
  bool off = route == CHX_ROUTE_STAGED || route == CHX_ROUTE_MAPPED;
  conform_check(t->c, st == CHX_OK || st == CHX_EUNSUPPORTED, "%s under deny: %s", row.op, chx_scope_message(t->here));
  conform_check(t->c, !off || st, "%s: its route is %s, and yet the policy deny let it pass", row.op,
                chx_route_name(route));
  if (st) name(ops, row.op);
  else if (chx_op_is_differentiable(t->op) && gradients(t->here, out, w, n_out, in, row.n, g))
    name(grads, row.op);
}

static void deny(conform *c, void *arg)
{
  struct list ops = {"", 0}, grads = {"", 0};
  (void)arg;
  if (!opened(c)) return;
  for (int i = 0; i < chx_op_count(); i++) {
    sides t = {.c = c, .op = chx_op_at(i), .dtype = dtype_of(chx_op_at(i))};
    if (c->op_glob && fnmatch(c->op_glob, chx_op_name(t.op), 0)) continue;
    begin(&t);
    chx_scope_set_fallback(t.here, CHX_FALLBACK_DENY);
    denied(&t, &ops, &grads);
    end(&t);
  }
  conform_note(c, "not on the device: %d operators: %s", ops.n, ops.n ? ops.text : "-");
  conform_note(c, "on the device, but not their gradients: %d: %s", grads.n, grads.n ? grads.text : "-");
}

void conform_catalogue_cases(conform *c, conform_list *l)
{
  for (int i = 0; i < chx_op_count(); i++) {
    const chx_op *op = chx_op_at(i);
    if (c->op_glob && fnmatch(c->op_glob, chx_op_name(op), 0)) continue;
    conform_add(l, "C6", chx_op_name(op), run, (void *)op);
  }
  conform_add(l, "C6", "what is not on the device", deny, NULL);
}
