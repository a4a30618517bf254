/* SPDX-License-Identifier: MIT
 * kernels.c: group C5: each operator that the plugin has a kernel for, over dtypes, layouts, shapes, host scalars and results
 * in place, against ref:0 in f64.
 *
 * Every call goes through libchx, so that the kernel sees what it would see in use, with the wrapper at its strictest
 * (watch.h). An operator without a kernel on the device is skipped: group C6 runs it.
 */
#include "cases.h"
#include "watch.h"
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

enum { NEW, STEPPED /* an output with gaps */, IN_PLACE /* the output is operand `which` */, SCALAR /* operand `which` is one */ };

typedef struct trial {
  conform *c;
  const chx_op *op;
  const case_bound *bound;
  chx_scope *here, *there; /* the judged device, the reference */
  case_random random;
  int calls, ran;          /* of all dtypes */
  bool refused;            /* the reference refused the last call, too */
} trial;

typedef struct variant {
  int dtype, layout, values, mode, which;
} variant;

static bool is_float(int dtype) { return dtype > 0 && CHX_FLOATS & CHX_BIT(dtype); }

static bool failed(trial *t, const case_row *row, const variant *v, const char *format, const char *what)
{
  static const char *const modes[] = {"", ", into an output with gaps", ", in place of operand",
                                      ", a host scalar as operand"};
  char call[400], how[48] = "", text[900];
  if (v->mode >= IN_PLACE) snprintf(how, sizeof how, " %d", v->which);
  case_describe(row, v->dtype, layout_names[v->layout], call, sizeof call);
  snprintf(text, sizeof text, format, what);
  return conform_check(t->c, false, "%s%s%s: %s", call, modes[v->mode], how, text);
}

/* The operands of one call on both sides. */
static bool operands(trial *t, const case_row *row, const variant *v, const chx_array **in, const chx_array **want)
{
  bool in_f64 = t->bound && t->bound->ref == 'D';
  for (int i = 0; i < row->n; i++) {
    in[i] = want[i] = NULL;
    const case_operand *x = &row->x[i];
    if (x->ndim < 0) continue;
    if (v->mode == SCALAR && i == v->which) {
      bool b = v->dtype == CHX_BOOL;
      in[i] = is_float(v->dtype) ? chx_real(t->here, 1.5) : b ? chx_bool(t->here, 1) : chx_int(t->here, 3);
      want[i] = is_float(v->dtype) ? chx_real(t->there, 1.5) : b ? chx_bool(t->there, 1) : chx_int(t->there, 3);
      continue;
    }
    chx_array *stored = case_stored(t->there, &t->random, x, v->dtype, v->layout, v->values);
    chx_array *wide = stored && in_f64 && is_float(chx_dtype(stored)) ? chx_cast(t->there, stored, CHX_F64) : stored;
    want[i] = case_view(t->there, wide, x, v->layout);
    in[i] = case_view(t->here, chx_to(t->here, stored, WATCH_DEVICE), x, v->layout);
    if (!in[i] || !want[i]) return false;
  }
  return true;
}

/* An array with the shape of `like` and gaps between its elements. */
static chx_array *with_gaps(trial *t, const chx_array *like, int dtype)
{
  int64_t shape[CHX_MAX_RANK];
  int n = chx_ndim(like);
  if (!n) return NULL;
  memcpy(shape, chx_shape(like), (size_t)n * sizeof *shape);
  shape[n - 1] = 2 * shape[n - 1] + 1;
  chx_array *a = chx_to(t->here, chx_full(t->there, dtype, n, shape, 1), WATCH_DEVICE);
  return chx_slice_axis(t->here, a, n - 1, 1, shape[n - 1], 2);
}

/* The sum of the magnitudes of an output's terms. */
static chx_array *magnitudes(trial *t, const case_row *row, const chx_array *const *want, const void *attr)
{
  const chx_array *in[CASES_IN] = {NULL};
  chx_array *out = NULL;
  for (int i = 0; i < row->n; i++)
    in[i] = want[i] && is_float(chx_dtype(want[i])) ? chx_abs(t->there, want[i]) : want[i];
  chx_apply(t->there, t->op, in, row->n, attr, &out, 1);
  return out;
}

/* The dtype that the judged device's result has where the reference's is `want`. */
static int result_dtype(const trial *t, const variant *v, const chx_array *want)
{
  bool widened = t->bound && t->bound->ref == 'D' && is_float(v->dtype) && chx_dtype(want) == CHX_F64;
  return widened ? v->dtype : chx_dtype(want);
}

/* Whether the result can be written over operand x. */
static bool fits(const chx_array *x, const chx_array *want, int dtype)
{
  if (!x || chx_dtype(x) != dtype || chx_ndim(x) != chx_ndim(want)) return false;
  for (int i = 0; i < chx_ndim(x); i++)
    if (chx_shape(x)[i] != chx_shape(want)[i]) return false;
  return true;
}

/* One call on both sides; false: it failed, and was described. */
static bool call(trial *t, const case_row *row, const variant *v)
{
  _Alignas(16) char room[CASES_ATTR_BYTES];
  const chx_array *in[CASES_IN] = {NULL}, *want_in[CASES_IN] = {NULL};
  chx_array *out[CASES_OUT] = {NULL}, *want[CASES_OUT] = {NULL};
  int n_out = chx_op_n_outputs(t->op);
  const void *attr = case_attr(row, v->dtype, room);
  char text[600];
  if (!operands(t, row, v, in, want_in))
    return failed(t, row, v, "operands: %s", chx_scope_message(chx_scope_error(t->here) ? t->here : t->there));
  watch_broken();
  chx_status expected = chx_apply(t->there, t->op, want_in, row->n, attr, want, n_out);
  t->refused = expected;
  chx_scope_clear(t->there);
  if (!expected && v->mode != NEW && v->mode != SCALAR) {
    int dtype = result_dtype(t, v, want[0]);
    if (v->mode == IN_PLACE && !fits(in[v->which], want[0], dtype)) return true;
    out[0] = v->mode == IN_PLACE ? (chx_array *)in[v->which] : with_gaps(t, want[0], dtype);
    if (!out[0]) return true;
  }
  const char *own = chx_op_is_composite(t->op) ? chx_op_name(t->op) : NULL; /* its parts may be on the device, too */
  watch_runs(NULL);
  watch_level(WATCH_FULL);
  chx_status st = chx_apply(t->here, t->op, in, row->n, attr, out, n_out);
  watch_level(WATCH_LIGHT);
  bool ran = watch_runs(own) > 0;
  t->ran += ran;
  t->calls++;
  const char *broken = watch_broken();
  if (broken) return failed(t, row, v, "%s", broken);
  if (expected) {
    chx_scope_clear(t->here);
    return st || failed(t, row, v, "the device gives a result, the reference says: %s", chx_status_text(expected));
  }
  if (st == CHX_EARG && v->mode == IN_PLACE && !chx_op_is_elementwise(t->op)) return true; /* not in place, then */
  if (st) return failed(t, row, v, watch_explained(t->here) ? "%s" : "%s, and no sentence by host->fail", chx_scope_message(t->here));
  if (!ran) return true; /* it declined; what libchx did instead is judged by C6 */
  const chx_array *scale = NULL;
  if (case_bound_is_sum(t->bound) && is_float(chx_dtype(want[0]))) scale = magnitudes(t, row, want_in, attr);
  for (int o = 0; o < n_out; o++) {
    int dtype = result_dtype(t, v, want[o]);
    if (chx_dtype(out[o]) != dtype) return failed(t, row, v, "the result is %s", chx_dtype_name(chx_dtype(out[o])));
    if (!case_compare(out[o], want[o], scale, t->bound, case_terms(row), 1, text, sizeof text))
      return failed(t, row, v, "%s", text);
  }
  return true;
}

static bool try(trial *t, const case_row *row, variant v)
{
  size_t here = chx_scope_mark(t->here), there = chx_scope_mark(t->there);
  bool good = call(t, row, &v);
  chx_scope_clear(t->here);
  chx_scope_clear(t->there);
  chx_scope_rewind(t->here, here, NULL);
  chx_scope_rewind(t->there, there, NULL);
  return good;
}

/* ---- which calls --------------------------------------------------------------------------------------------------------- */

static bool differs(const case_row *row, int layout)
{
  bool any = layout == LAYOUT_DENSE || layout == LAYOUT_OFFSET;
  for (int i = 0; i < row->n; i++) any |= row->x[i].ndim >= (layout == LAYOUT_TRANSPOSED ? 2 : 1);
  return any;
}

/* Whether every bit of its floating operands arrives in a floating result, that of NaN and -0, too. */
static bool moves_floats(const trial *t, const case_row *row, int dtype)
{
  _Alignas(16) char room[CASES_ATTR_BYTES];
  const chx_cast_attr *cast = case_attr(row, dtype, room);
  if (!t->bound || t->bound->kind != 'E' || t->bound->zero != 'Z' || !is_float(dtype) || !row->n) return false;
  return strcmp(row->op, "cast") || is_float((int)cast->dtype);
}

/* Whether NaN and the infinities have one right result, in whatever order it is computed: a choice, or a sum of one operand. */
static bool takes_specials(const trial *t, const case_row *row, int dtype)
{
  bool choice = !t->bound || t->bound->kind == 'E', sum = t->bound && t->bound->kind == 'S' && row->n == 1;
  return is_float(dtype) && row->n && (choice || sum) && (strcmp(row->op, "cast") || moves_floats(t, row, dtype));
}

static bool in_rows(trial *t, int dtype)
{
  case_row row;
  for (int i = 0; case_row_at(t->op, i, &row); i++)
    for (int layout = 0; layout < LAYOUTS && (layout == 0 || row.n); layout++) {
      if (!differs(&row, layout)) continue;
      if (!try(t, &row, (variant){.dtype = dtype, .layout = layout})) return false;
      if (t->refused) break;
    }
  for (int i = 0; case_row_at(t->op, i, &row); i++) {
    if (i < 2 && !try(t, &row, (variant){.dtype = dtype, .mode = STEPPED})) return false;
    if (takes_specials(t, &row, dtype) && !try(t, &row, (variant){.dtype = dtype, .values = VALUES_SPECIAL})) return false;
    if (moves_floats(t, &row, dtype) && !try(t, &row, (variant){.dtype = dtype, .values = VALUES_BITS})) return false;
    for (int k = 0; k < row.n; k++)
      if (!try(t, &row, (variant){.dtype = dtype, .mode = IN_PLACE, .which = k})) return false;
  }
  return true;
}

#define SHAPE(...) {sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), {__VA_ARGS__}, 0, 0, 0}
static const case_operand shapes[] = {
  SHAPE(13, 17), SHAPE(2, 3, 4, 5), {.ndim = 0}, SHAPE(0), SHAPE(1), SHAPE(7), SHAPE(3, 0, 2), SHAPE(255), SHAPE(256),
  SHAPE(257), SHAPE(31, 33), SHAPE(1031), SHAPE(2, 1, 2, 1, 2, 1, 2, 3)};
static const case_operand large = SHAPE(70001), many = SHAPE(8191), halves = SHAPE(65536), row_of_17 = SHAPE(17), specials = SHAPE(9, 1),
                          specials_across = SHAPE(1, 9);
enum { N_SHAPES = sizeof shapes / sizeof *shapes, LAID_OUT = 2 };

static void set_all(case_row *row, const case_operand *x)
{
  for (int i = 0; i < row->n; i++) row->x[i] = *x;
  if (!strcmp(row->op, "where")) row->x[0].kind = 'B';
}

static bool in_all_ways(trial *t, int dtype, bool also_large)
{
  case_row row;
  case_row_at(t->op, 0, &row);
  row.what = "";
  variant v = {.dtype = dtype, .values = VALUES_WIDE};
  for (int i = 0; i < N_SHAPES; i++) {
    set_all(&row, &shapes[i]);
    for (v.layout = 0; v.layout < (i < LAID_OUT ? LAYOUTS : 1); v.layout++)
      if (!try(t, &row, v)) return false;
  }
  v.layout = LAYOUT_DENSE;
  set_all(&row, &shapes[0]);
  if (!try(t, &row, (variant){.dtype = dtype, .values = VALUES_WIDE, .mode = STEPPED})) return false;
  for (v.which = 0; v.which < row.n; v.which++) {
    if (row.x[v.which].kind) continue;
    v.mode = SCALAR;
    if (row.n > 1 && !try(t, &row, v)) return false;
    v.mode = IN_PLACE;
    if (!try(t, &row, v)) return false;
  }
  v.mode = NEW;
  for (int i = 0; i < row.n && row.n > 1; i++) { /* one operand a column, then a row */
    set_all(&row, &shapes[0]);
    row.x[i].shape[1] = 1;
    row.x[(i + 1) % row.n] = row_of_17;
    row.x[(i + 1) % row.n].kind = (i + 1) % row.n == 0 && !strcmp(row.op, "where") ? 'B' : 0;
    if (!try(t, &row, v)) return false;
  }
  if (is_float(dtype)) {
    set_all(&row, &specials);
    if (row.n > 1) row.x[1].shape[0] = 1, row.x[1].shape[1] = specials_across.shape[1];
    v.values = VALUES_SPECIAL;
    if (!try(t, &row, v)) return false;
  }
  v.values = VALUES_BITS;
  set_all(&row, row.n == 1 && (dtype == CHX_F16 || dtype == CHX_BF16) ? &halves : &many);
  if (!try(t, &row, v)) return false;
  v.values = VALUES_WIDE;
  set_all(&row, &large);
  return !also_large || try(t, &row, v);
}

static int route_of(trial *t, int dtype)
{
  int r = chx_explain(t->here, t->op, WATCH_DEVICE, dtype, NULL, 0);
  chx_scope_clear(t->here);
  return r;
}

/* Whether at least one row of the operator is a call that the reference serves. */
static bool generated(trial *t)
{
  _Alignas(16) char room[CASES_ATTR_BYTES];
  case_row row;
  for (int dtype = CHX_F64; dtype > 0; dtype--)
    for (int i = 0; case_row_at(t->op, i, &row); i++) {
      if (chx_op_n_inputs(t->op) && !(chx_op_dtypes(t->op) & CHX_BIT(dtype))) break;
      const chx_array *in[CASES_IN] = {NULL};
      chx_array *out[CASES_OUT] = {NULL};
      size_t mark = chx_scope_mark(t->there);
      for (int k = 0; k < row.n; k++)
        if (row.x[k].ndim >= 0) in[k] = case_stored(t->there, &t->random, &row.x[k], dtype, LAYOUT_DENSE, VALUES_PLAIN);
      chx_status st = chx_apply(t->there, t->op, in, row.n, case_attr(&row, dtype, room), out, chx_op_n_outputs(t->op));
      chx_scope_clear(t->there);
      chx_scope_rewind(t->there, mark, NULL);
      if (!st) return true;
    }
  return false;
}

static void judge(trial *t)
{
  conform *c = t->c;
  char failing[200] = "";
  bool view = chx_op_is_view(t->op), any = false, large_done = false;
  if (!conform_check(c, generated(t), "%s: no call can be generated for it, want a row in the kit's table (cases.c)",
                     chx_op_name(t->op)))
    return;
  for (int dtype = CHX_DTYPE_END - 1; dtype > 0 && !view; dtype--) {
    if (chx_op_n_inputs(t->op) && !(chx_op_dtypes(t->op) & CHX_BIT(dtype))) continue;
    if (!(CHX_ANY_REAL & CHX_BIT(dtype))) continue;
    int route = route_of(t, dtype);
    if (route != CHX_ROUTE_KERNEL && route != CHX_ROUTE_ADAPTED) continue;
    any = true;
    bool also_large = !large_done && dtype != CHX_F64;
    bool good = chx_op_is_elementwise(t->op) ? in_all_ways(t, dtype, also_large) : in_rows(t, dtype);
    large_done |= also_large;
    if (!good) snprintf(failing + strlen(failing), sizeof failing - strlen(failing), " %s", chx_dtype_name(dtype));
  }
  if (view) conform_skip(c, "a view: no kernel is asked for");
  else if (!any) conform_skip(c, "the plugin has no kernel for it");
  else
    conform_note(c, "%d calls, %d by the device's kernel%s%s", t->calls, t->ran, *failing ? "; failing dtypes:" : "",
                 failing);
  if (any && !t->ran) conform_skip(c, "the plugin's kernel declined all of %d calls", t->calls);
}

static void run(conform *c, void *arg)
{
  char why[600];
  if (!conform_check(c, watch_open(c, why, sizeof why), "%s", why)) return;
  trial t = {.c = c, .op = arg, .bound = case_bound_of(chx_op_name(arg))};
  t.here = chx_scope_begin(WATCH_DEVICE);
  t.there = chx_scope_begin("ref:0");
  t.random.state = case_key(c->seed, chx_op_name(t.op));
  if (conform_check(c, !chx_scope_error(t.here), "%s", chx_scope_message(t.here)) &&
      conform_check(c, !chx_scope_error(t.there), "the reference: %s", chx_scope_message(t.there)))
    judge(&t);
  chx_scope_end(t.here);
  chx_scope_end(t.there);
}

/* What the table of kernels says of itself. */
static void table(conform *c, void *arg)
{
  char why[600];
  (void)arg;
  if (!conform_check(c, watch_open(c, why, sizeof why), "%s", why)) return;
  if (!watch_n_kernels()) conform_skip(c, "the plugin has no kernels");
  for (int i = 0; i < watch_n_kernels(); i++) {
    const chx_kernel *k = watch_kernel_at(i);
    if (!conform_check(c, k->op && k->run, "kernel %d: lacks %s", i, k->op ? "'run'" : "its operator's name")) continue;
    const chx_op *op = chx_op_find(k->op);
    if (!op) conform_note(c, "kernel %d, %s: libchx has no operator of that name, so it is never called", i, k->op);
    conform_check(c, k->dtypes_in || (op && !chx_op_n_inputs(op)), "%s: dtypes_in is empty, want a bit for each dtype", k->op);
    conform_check(c, k->max_rank <= CHX_MAX_RANK, "%s: max_rank is %u, want at most %d", k->op, k->max_rank, CHX_MAX_RANK);
    conform_check(c, !op || !k->min_version || (int)k->min_version <= chx_op_version(op),
                  "%s: min_version is %u, the operator's is %d", k->op, k->min_version, op ? chx_op_version(op) : 0);
    conform_check(c, !k->max_version || k->min_version <= k->max_version, "%s: max_version %u is below min_version %u",
                  k->op, k->max_version, k->min_version);
  }
}

void conform_kernel_cases(conform *c, conform_list *l)
{
  conform_add(l, "C5", "the table of kernels", table, NULL);
  for (int i = 0; i < chx_op_count(); i++) {
    const chx_op *op = chx_op_at(i);
    if (c->op_glob && fnmatch(c->op_glob, chx_op_name(op), 0)) continue;
    conform_add(l, "C5", chx_op_name(op), run, (void *)op);
  }
  conform_thread_cases(c, l);
}
