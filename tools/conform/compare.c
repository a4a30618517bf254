/* SPDX-License-Identifier: MIT
 * compare.c: results against the reference, by the bounds of bounds.def.
 */
#include "cases.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const case_bound bounds[] = {
#define BOUND(op, kind, ulp, floor, ref, zero, reason) {#op, #kind[0], ulp, floor, #ref[0], #zero[0], reason},
#include "bounds.def"
};

bool case_bound_is_sum(const case_bound *b) { return b && strchr("SsN", b->kind); }

const case_bound *case_bound_of(const char *op)
{
  for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
    if (!strcmp(bounds[i].op, op)) return &bounds[i];
  return NULL;
}

static const struct format { int dtype, digits, least; double max; } formats[] = {
  {CHX_F16, 11, -14, 65504}, {CHX_BF16, 8, -126, 0x1.fep127}, {CHX_F32, 24, -126, FLT_MAX}, {CHX_F64, 53, -1022, DBL_MAX}};

static const struct format *format_of(int dtype)
{
  for (int i = 0; i < 4; i++)
    if (formats[i].dtype == dtype) return &formats[i];
  return NULL;
}

/* The unit in the last place of a format at v. */
static double unit(const struct format *f, double v)
{
  int e = v == 0 || !isfinite(v) ? f->least : ilogb(v);
  return ldexp(1, (e < f->least ? f->least : e) - (f->digits - 1));
}

/* The error that is allowed at `want`. */
static double allowed(const struct format *f, const case_bound *b, double terms, double scale, double want)
{
  bool half = f->digits < 24 && b->kind < 'a';
  const struct format *in = half ? &formats[2] : f; /* computes in f32 */
  double at = fmax(fabs(want), b->floor), a;
  if (b->kind == 'E') return 0;
  a = b->ulp * unit(in, at);
  double sum = (4 + 2 * sqrt(terms)) * ldexp(1, -in->digits);
  if (b->kind == 'S' || b->kind == 's') a += sum * scale;
  if (b->kind == 'N') a += terms * ldexp(1, -in->digits) * scale;
  if (b->kind == 'P') a += sum * at;
  if (half) a += 2 * unit(f, want);
  if (f->dtype != CHX_F16) a += ldexp(1, f->least); /* denormals may be flushed */
  return a;
}

static bool close_to(const struct format *f, const case_bound *b, double got, double want, double may)
{
  if (isnan(want) || isnan(got)) return isnan(want) && isnan(got);
  if (got == want) return b->zero != 'Z' || want != 0 || signbit(got) == signbit(want);
  double half_unit = unit(f, f->max) / 2;
  if (fabs(want) >= f->max + half_unit) { /* too large for the dtype */
    if (isinf(got)) return signbit(got) == signbit(want);
    return !isinf(want) && fabs(got - want) <= may;
  }
  if (isinf(got)) return signbit(got) == signbit(want) && fabs(want) + may >= f->max;
  return fabs(got - want) <= may + (b->kind == 'E' ? 0 : 0.01 * unit(f, want)); /* want itself is rounded */
}

static double *doubles(chx_scope *s, const chx_array *a)
{
  int64_t n = chx_size(a);
  double *v = malloc(((size_t)(n < 0 ? 0 : n) + 1) * sizeof *v);
  chx_array *d = chx_cast(s, chx_to(s, a, "ref:0"), CHX_F64);
  if (v && d) chx_read(s, d, v, (size_t)n * sizeof *v);
  if (v && d && !chx_scope_error(s)) return v;
  free(v);
  return NULL;
}

static void index_text(const chx_array *a, int64_t k, char *text, size_t size)
{
  int64_t at[CHX_MAX_RANK];
  int n = chx_ndim(a);
  size_t used = 0;
  for (int i = n - 1; i >= 0; i--) {
    at[i] = k % chx_shape(a)[i];
    k /= chx_shape(a)[i];
  }
  text[0] = 0;
  for (int i = 0; i < n && used + 24 < size; i++)
    used += (size_t)snprintf(text + used, size - used, "%s%lld", i ? "," : "", (long long)at[i]);
}

static bool same_shape(const chx_array *a, const chx_array *b)
{
  if (chx_ndim(a) != chx_ndim(b)) return false;
  for (int i = 0; i < chx_ndim(a); i++)
    if (chx_shape(a)[i] != chx_shape(b)[i]) return false;
  return true;
}

/* Integers and bool: all bits. */
static bool same_bits(chx_scope *s, const chx_array *got, const chx_array *want, char *text, size_t size)
{
  size_t bytes = (size_t)chx_nbytes(got), each = (size_t)chx_dtype_size(chx_dtype(got));
  char *g = malloc(bytes + 1), *w = malloc(bytes + 1), at[200];
  bool good = g && w && !chx_read(s, got, g, bytes) && !chx_read(s, want, w, bytes);
  if (!good) snprintf(text, size, "cannot be read: %s", chx_scope_message(s));
  for (size_t k = 0; good && k < bytes; k += each)
    if (memcmp(g + k, w + k, each)) {
      long long a = 0, b = 0;
      memcpy(&a, g + k, each);
      memcpy(&b, w + k, each);
      index_text(got, (int64_t)(k / each), at, sizeof at);
      snprintf(text, size, "element [%s] is %#llx, want %#llx (bits)", at, (unsigned long long)a, (unsigned long long)b);
      good = false;
    }
  free(g);
  free(w);
  return good;
}

bool case_compare(const chx_array *got, const chx_array *want, const chx_array *scale, const case_bound *b, double terms,
                  double slack, char *text, size_t size)
{
  if (!got || !want) return snprintf(text, size, "there is no result"), false;
  const struct format *f = format_of(chx_dtype(got));
  if (!same_shape(got, want)) return snprintf(text, size, "the result has another shape than the reference's"), false;
  chx_scope *s = chx_scope_begin("ref:0");
  bool good;
  if (f && !b) return snprintf(text, size, "bounds.def states no bound for this operator"), chx_scope_end(s), false;
  if (!f) {
    good = chx_dtype(got) == chx_dtype(want);
    if (good) good = same_bits(s, got, want, text, size);
    else
      snprintf(text, size, "the result is %s, want %s", chx_dtype_name(chx_dtype(got)), chx_dtype_name(chx_dtype(want)));
    chx_scope_end(s);
    return good;
  }
  double *g = doubles(s, got), *w = doubles(s, want), *sc = scale ? doubles(s, scale) : NULL;
  good = g && w && (sc || !scale);
  if (!good) snprintf(text, size, "the result cannot be read: %s", chx_scope_message(s));
  for (int64_t k = 0; good && k < chx_size(got); k++) {
    double may = slack * allowed(f, b, terms, sc ? sc[k] : fabs(w[k]), w[k]);
    if (close_to(f, b, g[k], w[k], may)) continue;
    char at[200];
    index_text(got, k, at, sizeof at);
    snprintf(text, size, "element [%s] is %.9g, want %.9g: an error of %.3g, allowed %.3g (%s: %s%g ulp%s%s)", at, g[k],
             w[k], fabs(g[k] - w[k]), may, b->op, scale ? "the sum's rounding and " : "", b->ulp,
             *b->reason ? ", " : "", b->reason);
    good = false;
  }
  free(g);
  free(w);
  free(sc);
  chx_scope_end(s);
  return good;
}
