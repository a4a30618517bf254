/* SPDX-License-Identifier: MIT
 * threads.c: the part of group C5 that is about kernels beside and behind each other: the same calls from several threads, each
 * with a queue of its own, and an error that shows only when the work is done.
 */
#include "cases.h"
#include "raw.h"
#include "watch.h"
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- threads ------------------------------------------------------------------------------------------------------------- */

enum { THREADS = 4, SETS = 4 /* of operands, for calls of one signature */, MOST_ELEMENTS = 20000 };

typedef struct outputs { /* of each call, one after the other */
  unsigned char *bytes;
  size_t n;
} outputs;

typedef struct many {
  conform *c;
  const chx_op *op;
  case_row row;
  int dtype;
  outputs alone;
  outputs of[THREADS];
  char error[THREADS][300];
} many;

static int64_t elements(const case_operand *x)
{
  int64_t n = 1;
  for (int i = 0; i < x->ndim; i++) n *= x->shape[i];
  return n;
}

/* Of the operator's rows the one with most elements, so that calls take a while. */
static bool largest_row(const chx_op *op, case_row *row)
{
  static const case_operand wide = {2, {61, 67}, 0, 0, 0};
  case_row r;
  int64_t most = -1;
  for (int i = 0; case_row_at(op, i, &r); i++) {
    int64_t n = r.n && r.x[0].ndim >= 0 ? elements(&r.x[0]) : 0;
    if (n <= most || n > MOST_ELEMENTS) continue;
    most = n;
    *row = r;
  }
  for (int i = 0; most >= 0 && chx_op_is_elementwise(op) && i < row->n; i++) {
    row->x[i].ndim = wide.ndim;
    memcpy(row->x[i].shape, wide.shape, sizeof wide.shape);
  }
  return most >= 0;
}

/* The calls, none of which is waited for before the next, in an order of the thread's own. */
static chx_status apply_all(const many *m, chx_scope *here, chx_scope *make, int first, chx_array *out[SETS][CASES_OUT])
{
  _Alignas(16) char room[CASES_ATTR_BYTES];
  const chx_array *in[SETS][CASES_IN] = {{NULL}};
  for (int k = 0; k < SETS; k++) {
    case_random random = {case_key(m->c->seed, chx_op_name(m->op)) + (uint64_t)k};
    for (int i = 0; i < m->row.n; i++)
      if (m->row.x[i].ndim >= 0)
        in[k][i] = chx_to(here, case_stored(make, &random, &m->row.x[i], m->dtype, LAYOUT_DENSE, VALUES_PLAIN), WATCH_DEVICE);
  }
  chx_sync(here);
  chx_status st = chx_scope_error(here);
  for (int k = 0; k < SETS && !st; k++) {
    int set = (first + k) % SETS;
    st = chx_apply(here, m->op, in[set], m->row.n, case_attr(&m->row, m->dtype, room), out[set], chx_op_n_outputs(m->op));
  }
  return st;
}

static void compute(const many *m, int first, outputs *o, char *error, size_t size)
{
  chx_array *out[SETS][CASES_OUT] = {{NULL}};
  chx_scope *here = chx_scope_begin(WATCH_DEVICE), *make = chx_scope_begin("ref:0");
  int n_out = chx_op_n_outputs(m->op);
  *o = (outputs){NULL, 0};
  if (!apply_all(m, here, make, first, out)) {
    size_t total = 0;
    for (int k = 0; k < SETS * n_out; k++) total += (size_t)chx_nbytes(out[k / n_out][k % n_out]);
    if (!(o->bytes = malloc(total + 1))) chx_scope_fail(here, CHX_ENOMEM, "no memory for results");
    for (int k = 0; k < SETS * n_out && o->bytes; k++) {
      const chx_array *a = out[k / n_out][k % n_out];
      size_t n = (size_t)chx_nbytes(a);
      chx_read(here, a, o->bytes + o->n, n);
      o->n += n;
    }
  }
  snprintf(error, size, "%s", chx_scope_error(here) ? chx_scope_message(here) : "");
  chx_scope_end(here);
  chx_scope_end(make);
}

static void *in_thread(void *ctx, int i)
{
  many *m = ctx;
  compute(m, i, &m->of[i], m->error[i], sizeof m->error[i]);
  return NULL;
}

static bool is_nondeterministic(const char *op)
{
  for (int i = 0; i < watch_n_kernels(); i++)
    if (!strcmp(watch_kernel_at(i)->op, op) && watch_kernel_at(i)->flags & CHX_K_NONDETERMINISTIC) return true;
  return false;
}

/* Each thread must get the bits that the calls give alone. True: the calls could be made. */
static bool same_in_threads(conform *c, const chx_op *op, int dtype)
{
  many m = {.c = c, .op = op, .dtype = dtype};
  char error[300];
  const char *name = chx_op_name(op);
  if (!largest_row(op, &m.row)) return false;
  compute(&m, 0, &m.alone, error, sizeof error);
  if (!*error && conform_check(c, raw_threads(THREADS, in_thread, &m, NULL), "no thread could be made"))
    for (int i = 0; i < THREADS; i++) {
      if (!conform_check(c, !*m.error[i], "%s, %s, in one of %d threads: %s", name, chx_dtype_name(dtype), THREADS,
                         m.error[i]))
        continue;
      size_t n = m.alone.n, at = raw_difference(m.of[i].bytes, m.alone.bytes, n);
      conform_check(c, at == n, "%s, %s: in one of %d threads the results of %d calls differ from those alone: byte %zu of "
                    "%zu is 0x%02x, want 0x%02x", name, chx_dtype_name(dtype), THREADS, SETS, at, n,
                    at < n ? m.of[i].bytes[at] : 0, at < n ? m.alone.bytes[at] : 0);
    }
  free(m.alone.bytes);
  for (int i = 0; i < THREADS; i++) free(m.of[i].bytes);
  return !*error;
}

static bool opened(conform *c)
{
  char why[600];
  return conform_check(c, watch_open(c, why, sizeof why), "%s", why);
}

static void check_watched(conform *c)
{
  const char *broken = watch_broken();
  conform_check(c, !broken, "%s", broken ? broken : "");
}

/* Whether a kernel of the plugin serves the operator. */
static bool has_kernel(const chx_op *op, int dtype)
{
  if (chx_op_is_view(op) || (chx_op_n_inputs(op) && !(chx_op_dtypes(op) & CHX_BIT(dtype)))) return false;
  chx_scope *s = chx_scope_begin(WATCH_DEVICE);
  int route = chx_explain(s, op, WATCH_DEVICE, dtype, NULL, 0);
  chx_scope_end(s);
  return route == CHX_ROUTE_KERNEL || route == CHX_ROUTE_ADAPTED;
}

static void threads(conform *c, void *arg)
{
  int n = 0;
  (void)arg;
  if (!opened(c)) return;
  for (int i = 0; i < chx_op_count(); i++) {
    const chx_op *op = chx_op_at(i);
    if (c->op_glob && fnmatch(c->op_glob, chx_op_name(op), 0)) continue;
    if (has_kernel(op, CHX_F32) && !is_nondeterministic(chx_op_name(op))) n += same_in_threads(c, op, CHX_F32);
  }
  check_watched(c);
  if (!n) conform_skip(c, "the plugin has no kernel for f32 that can be compared");
  conform_note(c, "%d operators, %d calls from each of %d threads", n, SETS, THREADS);
}

/* ---- errors ---------------------------------------------------------------------------------------------------------------- */

/* y = x[i] on the device; its first two elements. */
static chx_status take(chx_scope *s, const double index[2], float got[2])
{
  static const double x[5] = {10, 11, 12, 13, 14};
  static const int64_t five = 5, two = 2;
  chx_array *a = chx_cast(s, chx_from_host(s, CHX_F64, 1, &five, x), CHX_F32);
  chx_array *i = chx_cast(s, chx_from_host(s, CHX_F64, 1, &two, index), CHX_I64), *y = chx_take(s, a, i, 0);
  got[0] = got[1] = 0;
  if (y) chx_read(s, y, got, 2 * sizeof *got);
  return chx_scope_error(s);
}

/* An index out of range, which a device may find only while it works. */
static void late_error(conform *c, void *arg)
{
  float got[2];
  (void)arg;
  if (!opened(c)) return;
  if (!has_kernel(chx_op_find("take"), CHX_F32)) {
    conform_skip(c, "the plugin has no kernel of take, whose indices may be wrong");
    return;
  }
  for (int round = 0; round < 3; round++) {
    chx_scope *s = chx_scope_begin(WATCH_DEVICE);
    chx_status st = take(s, (double[]){1, 1000}, got);
    conform_check(c, st, "take of index 1000 from 5 elements: no error, neither at once nor when the result is read");
    conform_check(c, !st || st == CHX_EARG, "take of index 1000 from 5 elements: %s (%s), want %s", raw_code(st),
                  chx_scope_message(s), raw_code(CHX_EARG));
    conform_check(c, !st || watch_explained(s), "take of index 1000 from 5 elements: %s, and no sentence by host->fail",
                  chx_scope_message(s));
    check_watched(c);
    chx_scope_clear(s);
    for (int again = 0; again < 2; again++) { /* in that scope, then in a new one */
      st = take(s, (double[]){1, -1}, got);
      conform_check(c, !st, "after an error: %s", chx_scope_message(s));
      conform_check(c, st || (got[0] == 11 && got[1] == 14), "take after an error gives %g and %g, want 11 and 14",
                    (double)got[0], (double)got[1]);
      chx_scope_end(s);
      s = chx_scope_begin(WATCH_DEVICE);
    }
    chx_scope_end(s);
    if (c->failures) break;
  }
}

void conform_thread_cases(conform *c, conform_list *l)
{
  (void)c;
  conform_add(l, "C5", "kernels from 4 threads", threads, NULL);
  conform_add(l, "C5", "an error that comes late", late_error, NULL);
}
