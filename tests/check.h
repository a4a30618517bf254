/* SPDX-License-Identifier: MIT
 * check.h: what every test program includes: TAP output, and arrays compared with doubles.
 *
 * A program calls ok, is_int, is_str, is_close, skip or todo any number of times and ends with `return done_testing();`,
 * which prints the plan and gives the exit code. Each line is flushed, so that nothing is lost or doubled by a crash
 * or a fork. Public API only: it judges what a user sees. Conversions to and from f16 and bf16 are written anew here,
 * so that the core's are not judged by themselves.
 */
#ifndef CHX_CHECK_H
#define CHX_CHECK_H
#include <chx/chx.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_FN __attribute__((unused)) static

static int check_count, check_failed;

/* ---- TAP --------------------------------------------------------------------------------------------------------- */

/* Comments of one line or more. */
__attribute__((unused, format(printf, 1, 2))) static void note(const char *format, ...)
{
  char text[4096];
  va_list ap;
  va_start(ap, format);
  vsnprintf(text, sizeof text, format, ap);
  va_end(ap);
  for (char *line = text, *end; line; line = end) {
    end = strchr(line, '\n');
    if (end) *end++ = 0;
    printf("# %s\n", line);
  }
  fflush(stdout);
}

__attribute__((unused, format(printf, 5, 0))) static bool check_line(bool pass, const char *file, int line,
                                                                     const char *condition, const char *format,
                                                                     va_list ap)
{
  char text[2048];
  vsnprintf(text, sizeof text, format, ap);
  for (char *p = text; *p; p++)
    if (*p == '\n' || *p == '#') *p = ' '; /* a directive or a second line would change what TAP reads */
  printf("%sok %d - %s\n", pass ? "" : "not ", ++check_count, text);
  if (!pass) {
    check_failed++;
    printf("#   failed: %s\n#   at %s:%d\n", condition, file, line);
  }
  fflush(stdout);
  return pass;
}

__attribute__((unused, format(printf, 5, 6))) static bool check_ok(bool pass, const char *file, int line,
                                                                   const char *condition, const char *format, ...)
{
  va_list ap;
  va_start(ap, format);
  check_line(pass, file, line, condition, format, ap);
  va_end(ap);
  return pass;
}

/* ok(condition, "what: %g <= %g", measured, allowed): one test; true if it passed. */
#define ok(condition, ...) check_ok((condition) ? true : false, __FILE__, __LINE__, #condition, __VA_ARGS__)

__attribute__((unused, format(printf, 6, 7))) static bool check_int(long long got, long long want, const char *file,
                                                                    int line, const char *condition,
                                                                    const char *format, ...)
{
  va_list ap;
  va_start(ap, format);
  check_line(got == want, file, line, condition, format, ap);
  va_end(ap);
  if (got != want) note("  got %lld, want %lld", got, want);
  return got == want;
}
#define is_int(got, want, ...) check_int(got, want, __FILE__, __LINE__, #got " == " #want, __VA_ARGS__)

__attribute__((unused, format(printf, 6, 7))) static bool check_str(const char *got, const char *want,
                                                                    const char *file, int line,
                                                                    const char *condition, const char *format, ...)
{
  bool pass = got && want ? !strcmp(got, want) : got == want;
  va_list ap;
  va_start(ap, format);
  check_line(pass, file, line, condition, format, ap);
  va_end(ap);
  if (!pass) note("  got  \"%s\"\n  want \"%s\"", got ? got : "(null)", want ? want : "(null)");
  return pass;
}
#define is_str(got, want, ...) check_str(got, want, __FILE__, __LINE__, #got " == " #want, __VA_ARGS__)

__attribute__((unused, format(printf, 7, 8))) static bool check_close(double got, double want, double tolerance,
                                                                      const char *file, int line,
                                                                      const char *condition, const char *format, ...)
{
  bool pass = got == want || (isnan(got) && isnan(want)) || fabs(got - want) <= tolerance;
  va_list ap;
  va_start(ap, format);
  check_line(pass, file, line, condition, format, ap);
  va_end(ap);
  if (!pass) note("  got %.17g, want %.17g to %g", got, want, tolerance);
  return pass;
}
/* |got - want| <= tolerance, or both the same infinity, or both NaN. */
#define is_close(got, want, tolerance, ...) \
  check_close(got, want, tolerance, __FILE__, __LINE__, #got " near " #want, __VA_ARGS__)

/* n tests that cannot run here, by name. */
CHECK_FN void skip(int n, const char *reason)
{
  while (n-- > 0) printf("ok %d # SKIP %s\n", ++check_count, reason);
  fflush(stdout);
}

/* A known gap: not counted as a failure. */
CHECK_FN void todo(bool pass, const char *what, const char *reason)
{
  printf("%sok %d - %s # TODO %s\n", pass ? "" : "not ", ++check_count, what, reason);
  fflush(stdout);
}

/* The plan; the program's exit code. */
CHECK_FN int done_testing(void)
{
  printf("1..%d\n", check_count);
  if (check_failed) printf("# %d of %d tests failed\n", check_failed, check_count);
  fflush(stdout);
  return check_failed != 0;
}

/* ---- files -------------------------------------------------------------------------------------------------------- */

/* The path of a file of tests/data: in $CHX_TEST_DATA, else beside this header, else below $srcdir. Valid until the
 * fourth next call. */
CHECK_FN const char *check_data(const char *name)
{
  static char path[4][4096];
  static int turn;
  char *p = path[turn++ & 3];
  const char *dir = getenv("CHX_TEST_DATA"), *here = __FILE__, *slash = strrchr(here, '/');
  if (dir && *dir) {
    snprintf(p, sizeof *path, "%s/%s", dir, name);
    return p;
  }
  snprintf(p, sizeof *path, "%.*sdata/%s", slash ? (int)(slash + 1 - here) : 0, here, name);
  FILE *f = fopen(p, "r");
  if (f)
    fclose(f);
  else if (getenv("srcdir"))
    snprintf(p, sizeof *path, "%s/tests/data/%s", getenv("srcdir"), name);
  return p;
}

/* ---- devices ------------------------------------------------------------------------------------------------------- */

/* The devices that a test of the operator table runs on: those of $CHX_TEST_DEVICES ("cuda:0,opencl:1"), else the n of `usual`.
 * At most 16; *named says which it was: a device that was named must be there. */
CHECK_FN int check_devices(const char *const *usual, int n, const char *devices[16], bool *named)
{
  static char text[1024];
  const char *list = getenv("CHX_TEST_DEVICES");
  char *rest = text, *d;
  int k = 0;
  snprintf(text, sizeof text, "%s", list ? list : "");
  while (k < 16 && (d = strtok_r(rest, ", ", &rest))) devices[k++] = d;
  *named = k > 0;
  for (; !*named && k < n; k++) devices[k] = usual[k];
  return k;
}

/* ---- random inputs ------------------------------------------------------------------------------------------------- */

static uint64_t check_state = 0x9e3779b97f4a7c15u;

/* The seed of a test's random inputs, which it prints: $CHX_TEST_SEED, else the given one. */
CHECK_FN uint64_t check_seed(uint64_t seed)
{
  const char *e = getenv("CHX_TEST_SEED");
  if (e && *e) seed = strtoull(e, NULL, 0);
  check_state = seed;
  printf("# seed %" PRIu64 " (CHX_TEST_SEED)\n", seed);
  fflush(stdout);
  return seed;
}

CHECK_FN uint64_t check_bits(void) /* splitmix64 */
{
  uint64_t z = check_state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

CHECK_FN double check_uniform(double low, double high) /* [low, high) */
{
  return low + (high - low) * ((double)(check_bits() >> 11) * 0x1p-53);
}

/* ---- dtypes and elements -------------------------------------------------------------------------------------------- */

/* The floating dtypes. eps: the distance from 1 to the next; tiny: the smallest normal number; max: the largest. */
static const struct check_type {
  int id;
  const char *name;
  double eps, tiny, max;
} type[] = {
  {CHX_F16, "f16", 0x1p-10, 0x1p-14, 65504},
  {CHX_BF16, "bf16", 0x1p-7, 0x1p-126, 0x1.fep127},
  {CHX_F32, "f32", 0x1p-23, 0x1p-126, FLT_MAX},
  {CHX_F64, "f64", 0x1p-52, 0x1p-1022, DBL_MAX},
};
__attribute__((unused)) static const size_t ntypes = sizeof type / sizeof *type;

CHECK_FN const struct check_type *check_type_of(int dtype) /* NULL: not floating */
{
  for (size_t k = 0; k < ntypes; k++)
    if (type[k].id == dtype) return &type[k];
  return NULL;
}

/* v rounded to nearest, ties to even, to a float of `digits` bits of significand and exponents from `least` (of the
 * smallest normal number). */
CHECK_FN double check_round(double v, int digits, int least)
{
  int e;
  if (v == 0 || !isfinite(v)) return v;
  frexp(v, &e);
  e = (e - 1 < least ? least : e - 1) - (digits - 1);
  return ldexp(nearbyint(ldexp(v, -e)), e);
}

/* One element of dtype at dst from a double, as a cast does. */
CHECK_FN void check_store(void *dst, int dtype, double v)
{
#define CHECK_INT(ID, T, lo, hi) \
  case CHX_##ID: { \
    T t = isnan(v) ? 0 : v <= (double)(lo) ? (lo) : v >= (double)(hi) ? (hi) : (T)v; \
    memcpy(dst, &t, sizeof t); \
    break; \
  }
  switch (dtype) {
  case CHX_BOOL: *(uint8_t *)dst = v != 0; break;
  CHECK_INT(I8, int8_t, INT8_MIN, INT8_MAX)
  CHECK_INT(I16, int16_t, INT16_MIN, INT16_MAX)
  CHECK_INT(I32, int32_t, INT32_MIN, INT32_MAX)
  CHECK_INT(I64, int64_t, INT64_MIN, INT64_MAX)
  CHECK_INT(U8, uint8_t, 0, UINT8_MAX)
  CHECK_INT(U16, uint16_t, 0, UINT16_MAX)
  CHECK_INT(U32, uint32_t, 0, UINT32_MAX)
  CHECK_INT(U64, uint64_t, 0, UINT64_MAX)
  case CHX_F16: {
    double r = fabs(check_round(v, 11, -14));
    uint16_t t = isnan(v) ? 0x7e00 : r > 65504 ? 0x7c00
                 : r < 0x1p-14 ? (uint16_t)ldexp(r, 24) : 0;
    if (!isnan(v) && r >= 0x1p-14 && r <= 65504) {
      int e = ilogb(r);
      t = (uint16_t)((e + 15) << 10 | ((int)ldexp(r, 10 - e) & 0x3ff));
    }
    if (signbit(v)) t |= 0x8000;
    memcpy(dst, &t, sizeof t);
    break;
  }
  case CHX_BF16: {
    double r = check_round(v, 8, -126);
    float f = isnan(v) ? (float)v : fabs(r) > 0x1.fep127 ? (float)copysign(INFINITY, v) : (float)r;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint16_t t = (uint16_t)(bits >> 16);
    memcpy(dst, &t, sizeof t);
    break;
  }
  case CHX_F32: case CHX_C64: {
    float t[2] = {(float)v, 0};
    memcpy(dst, t, dtype == CHX_C64 ? sizeof t : sizeof *t);
    break;
  }
  case CHX_F64: case CHX_C128: {
    double t[2] = {v, 0};
    memcpy(dst, t, dtype == CHX_C128 ? sizeof t : sizeof *t);
    break;
  }
  }
#undef CHECK_INT
}

/* One element as a double (the real part of a complex one). */
CHECK_FN double check_load(const void *src, int dtype)
{
#define CHECK_LOAD(ID, T) case CHX_##ID: { T t; memcpy(&t, src, sizeof t); return (double)t; }
  switch (dtype) {
  case CHX_BOOL: return *(const uint8_t *)src;
  CHECK_LOAD(I8, int8_t) CHECK_LOAD(I16, int16_t) CHECK_LOAD(I32, int32_t) CHECK_LOAD(I64, int64_t)
  CHECK_LOAD(U8, uint8_t) CHECK_LOAD(U16, uint16_t) CHECK_LOAD(U32, uint32_t) CHECK_LOAD(U64, uint64_t)
  CHECK_LOAD(F32, float) CHECK_LOAD(F64, double) CHECK_LOAD(C64, float) CHECK_LOAD(C128, double)
  case CHX_F16: {
    uint16_t t;
    memcpy(&t, src, sizeof t);
    int e = t >> 10 & 31, m = t & 0x3ff;
    double v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return t & 0x8000 ? -v : v;
  }
  case CHX_BF16: {
    uint16_t t;
    memcpy(&t, src, sizeof t);
    uint32_t bits = (uint32_t)t << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
  }
  }
#undef CHECK_LOAD
  return NAN;
}

/* ---- arrays ----------------------------------------------------------------------------------------------------------- */

/* An array of any dtype and shape from doubles, each rounded to it. */
CHECK_FN chx_array *chx_from_shape(chx_scope *s, int dtype, int ndim, const int64_t *shape, const double *x)
{
  size_t n = 1, size = (size_t)chx_dtype_size(dtype);
  for (int i = 0; i < ndim; i++) n *= (size_t)shape[i];
  char *data = malloc(n * size + 1);
  for (size_t i = 0; i < n; i++) check_store(data + i * size, dtype, x[i]);
  chx_array *a = chx_from_host(s, dtype, ndim, shape, data);
  free(data);
  return a;
}

/* Likewise of one axis. */
CHECK_FN chx_array *chx_from(chx_scope *s, int dtype, int64_t n, const double *x)
{
  return chx_from_shape(s, dtype, 1, &n, x);
}

/* The bytes of a in C order, to be freed; NULL after an error, which is printed. */
CHECK_FN void *check_read(const chx_array *a)
{
  if (!a) return NULL;
  chx_scope *s = chx_scope_begin(*chx_device(a) ? chx_device(a) : NULL);
  size_t bytes = (size_t)chx_nbytes(a);
  void *data = malloc(bytes + 1);
  if (chx_read(s, a, data, bytes)) {
    note("chx_read: %s", chx_scope_message(s));
    free(data);
    data = NULL;
  }
  chx_scope_end(s);
  return data;
}

/* The elements of a as doubles, to be freed; NULL for NULL. */
CHECK_FN double *check_doubles(const chx_array *a)
{
  char *data = check_read(a);
  if (!data) return NULL;
  int64_t n = chx_size(a);
  int dtype = chx_dtype(a), size = chx_dtype_size(dtype);
  double *v = malloc((size_t)n * sizeof *v + 1);
  for (int64_t i = 0; i < n; i++) v[i] = check_load(data + i * size, dtype);
  free(data);
  return v;
}

/* The error of one element against the expected value: relative, or in units of the smallest normal number below it.
 * An infinity where want is beyond the dtype's range is right; a NaN is right for a NaN alone. */
CHECK_FN double check_error(double got, double want, int dtype)
{
  const struct check_type *t = check_type_of(dtype);
  if (got == want || (isnan(got) && isnan(want))) return 0;
  if (isinf(got) && t && fabs(want) >= t->max * (1 + t->eps / 4) && signbit(got) == signbit(want)) return 0;
  if (!isfinite(got) || !isfinite(want)) return INFINITY;
  double unit = t ? t->tiny : 1;
  return fabs(got - want) / (fabs(want) > unit ? fabs(want) : unit);
}

/* The largest error of a's elements against want, in C order; INFINITY if there is no array. */
CHECK_FN double rel_err(const chx_array *a, const double *want)
{
  double worst = 0, *got = check_doubles(a);
  if (!got) return INFINITY;
  for (int64_t i = 0; i < chx_size(a); i++) {
    double e = check_error(got[i], want[i], chx_dtype(a));
    if (e > worst) worst = e;
  }
  free(got);
  return worst;
}

#endif
