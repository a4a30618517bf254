/* SPDX-License-Identifier: MIT
 * test_refmath.c: the reference mode's functions (chx/refmath.h) against the C library's in double, and where they have to be exact.
 */
#include "check.h"
#include <chx/refmath.h>

typedef double one(double);
static const struct row {
  const char *name;
  one *ours, *libm;
  double from, to, ulp; /* allowed */
} rows[] = {
  {"exp", chx_ref_exp, exp, -700, 709, 2},       {"exp2", chx_ref_exp2, exp2, -1020, 1020, 2},
  {"expm1", chx_ref_expm1, expm1, -40, 700, 4},  {"log", chx_ref_log, log, 1e-3, 10, 3},
  {"log", chx_ref_log, log, 1e-300, 1e300, 3},   {"log2", chx_ref_log2, log2, 1e-3, 1e5, 4},
  {"log10", chx_ref_log10, log10, 1e-3, 1e5, 4}, {"log1p", chx_ref_log1p, log1p, -0.999, 10, 4},
  {"sin", chx_ref_sin, sin, -1000, 1000, 3},     {"cos", chx_ref_cos, cos, -1000, 1000, 3},
  {"tan", chx_ref_tan, tan, -100, 100, 5},       {"asin", chx_ref_asin, asin, -1, 1, 8},
  {"acos", chx_ref_acos, acos, -1, 1, 8},        {"atan", chx_ref_atan, atan, -50, 50, 5},
  {"sinh", chx_ref_sinh, sinh, -700, 700, 5},    {"cosh", chx_ref_cosh, cosh, -700, 700, 5},
  {"tanh", chx_ref_tanh, tanh, -25, 25, 5},      {"asinh", chx_ref_asinh, asinh, -1e3, 1e3, 5},
  {"acosh", chx_ref_acosh, acosh, 1, 1e3, 5},    {"atanh", chx_ref_atanh, atanh, -0.9999, 0.9999, 6},
  {"erf", chx_ref_erf, erf, -7, 7, 24}};
enum { ROWS = sizeof rows / sizeof *rows, STEPS = 20000 };

static double ulps(double got, double want)
{
  int e;
  if (got == want || (got != got && want != want)) return 0;
  if (got != got || want != want || isinf(got) || isinf(want)) return INFINITY;
  frexp(want, &e);
  return fabs(got - want) / ldexp(1, (e < -1021 ? -1021 : e) - 53);
}

static const double special[] = {0.0, -0.0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, 1e300, -1e300, 1e-310, INFINITY, -INFINITY, NAN};
enum { SPECIAL = sizeof special / sizeof *special };

static bool same(double got, double want, double ulp)
{
  return ulps(got, want) <= ulp && (got != got || signbit(got) == signbit(want));
}

int main(void)
{
  for (int r = 0; r < ROWS; r++) {
    double worst = 0, at = 0;
    int bad = 0;
    for (int i = 0; i <= STEPS; i++) {
      const double x = rows[r].from + (rows[r].to - rows[r].from) * i / STEPS, u = ulps(rows[r].ours(x), rows[r].libm(x));
      if (u > worst) worst = u, at = x;
    }
    ok(worst <= rows[r].ulp, "%s in [%g, %g]: %.1f ulp <= %g, at %.17g", rows[r].name, rows[r].from, rows[r].to, worst, rows[r].ulp, at);
    for (int i = 0; i < SPECIAL; i++) {
      if (fabs(special[i]) == 1e300 && (rows[r].ours == chx_ref_sin || rows[r].ours == chx_ref_cos || rows[r].ours == chx_ref_tan)) continue;
      if (same(rows[r].ours(special[i]), rows[r].libm(special[i]), rows[r].ulp)) continue;
      note("%s(%g) is %.17g, want %.17g", rows[r].name, special[i], rows[r].ours(special[i]), rows[r].libm(special[i]));
      bad++;
    }
    ok(!bad, "%s of zeros, infinities, NaN, the smallest and the largest", rows[r].name);
  }
  int bad[3] = {0, 0, 0};
  for (int i = 0; i < SPECIAL; i++)
    for (int k = 0; k < SPECIAL; k++) {
      const double x = special[i], y = special[k];
      bad[0] += !same(chx_ref_pow(x, y), pow(x, y), 1e3); /* 1e300 to a power */
      bad[1] += !same(chx_ref_atan2(x, y), atan2(x, y), 6);
      bad[2] += !same(chx_ref_hypot(x, y), hypot(x, y), 2);
    }
  is_int(bad[0], 0, "pow of special values");
  is_int(bad[1], 0, "atan2 of special values");
  is_int(bad[2], 0, "hypot of special values");
  double worst = 0;
  for (int i = 1; i < STEPS; i++) {
    const double x = 0.01 + i * 0.0007, y = -8 + i * 0.0008, want = pow(x, y);
    worst = fmax(worst, fabs(chx_ref_pow(x, y) - want) / want);
  }
  ok(worst <= 1e-14, "pow: relative error %g <= 1e-14", worst);
  for (int n = 0; n < 60; n++)
    if (chx_ref_exp2(n) != ldexp(1, n) || chx_ref_log2(ldexp(1, n)) != n) worst = 1;
  ok(worst < 1, "exp2 and log2 of powers of two are exact");
  return done_testing();
}
