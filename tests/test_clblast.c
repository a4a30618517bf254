/* SPDX-License-Identifier: MIT
 * test_clblast.c: matmul and linear of opencl by CLBlast (plugins/opencl/clblast.c), which is for GPUs, on whatever device
 * there is, with operands whose products are exact. And what happens where the library is missing.
 */
#include <dlfcn.h>
#include "sim_faults.h"

#define SHAPE(...) (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__}

static int lines;
static char last[512];

static void keep_log(void *ctx, int level, const char *message)
{
  (void)ctx;
  if (level > 1 || !strstr(message, "CLBlast")) return;
  lines++;
  snprintf(last, sizeof last, "%s", message);
}

/* Small whole numbers, of which sums are exact in every dtype here. */
static chx_array *numbers(chx_scope *s, const char *device, int dtype, int ndim, const int64_t *shape, int step)
{
  double v[2048];
  int64_t n = 1;
  for (int i = 0; i < ndim; i++) n *= shape[i];
  for (int64_t i = 0; i < n; i++) v[i] = (double)(i * step % 13 - 6);
  return chx_to(s, chx_from_shape(s, dtype, ndim, shape, v), device);
}

static double apart(chx_scope *s, const chx_array *a, const chx_array *b)
{
  return chx_item(s, chx_amax(s, chx_abs(s, chx_sub(s, chx_to(s, a, "ref:0"), chx_to(s, b, "ref:0"))), 0, NULL, 0));
}

typedef struct example {
  const char *what;
  int dtype, na;
  int64_t a[4];
  int nb;
  int64_t b[4];
  bool turn_a, turn_b, bias;
} example;

static chx_array *product(chx_scope *s, const example *e, const char *device)
{
  chx_array *a = numbers(s, device, e->dtype, e->na, e->a, 3), *b = numbers(s, device, e->dtype, e->nb, e->b, 5);
  if (e->bias) return chx_linear(s, a, b, numbers(s, device, e->dtype, SHAPE(e->b[0]), 7));
  if (e->turn_a) a = chx_transpose(s, a, 0, NULL);
  if (e->turn_b) b = chx_transpose(s, b, 0, NULL);
  return chx_matmul(s, a, b);
}

static void products(chx_scope *s)
{
  static const example all[] = {
    {"f32", CHX_F32, 2, {17, 23}, 2, {23, 9}, .bias = false},
    {"f32, the left transposed", CHX_F32, 2, {23, 17}, 2, {23, 9}, .turn_a = true},
    {"f32, the right transposed", CHX_F32, 2, {17, 23}, 2, {9, 23}, .turn_b = true},
    {"f32, a batch", CHX_F32, 3, {4, 5, 6}, 3, {4, 6, 7}, .bias = false},
    {"f32, a batch with one right side", CHX_F32, 3, {4, 5, 6}, 2, {6, 7}, .bias = false},
    {"f32, a linear with a bias", CHX_F32, 2, {6, 10}, 2, {5, 10}, .bias = true},
    {"f64", CHX_F64, 2, {7, 11}, 2, {11, 5}, .bias = false},
    {"f16, which is not CLBlast's", CHX_F16, 2, {7, 11}, 2, {11, 5}, .bias = false}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    const size_t mark = chx_scope_mark(s);
    const chx_array *got = product(s, &all[i], "opencl:0"), *want = product(s, &all[i], "ref:0");
    const double d = apart(s, got, want);
    ok(!chx_scope_error(s) && d == 0, "%s: %g apart from ref %s", all[i].what, d, chx_scope_message(s));
    chx_scope_rewind(s, mark, NULL);
  }
  chx_slice_attr every_second = CHX_ATTR(slice);
  every_second.step = (chx_ints){2, {2, 2}};
  const chx_array *parts[2];
  for (int i = 0; i < 2; i++) {
    const char *device = i ? "ref:0" : "opencl:0";
    chx_array *x = numbers(s, device, CHX_F32, SHAPE(8, 8), 3), *odd = chx_slice(s, x, &every_second);
    parts[i] = chx_matmul(s, odd, odd);
  }
  ok(apart(s, parts[0], parts[1]) == 0, "operands that no BLAS takes %s", chx_scope_message(s));
}

/* On opencl:0, beside ref:0; NULL: one of them is not there. */
static chx_scope *begin(void)
{
  chx_scope *s = chx_scope_begin("ref:0");
  if (!chx_scope_error(s)) chx_scope_set_device(s, "opencl:0");
  chx_set_log(keep_log, NULL, 1);
  if (!chx_scope_error(s)) return s;
  skip(1, chx_scope_message(s));
  chx_scope_end(s);
  return NULL;
}

static bool by_clblast(void)
{
  alarm(400); /* it compiles for seconds, on a busy machine for a minute */
  setenv("CLBLAST_BUILD_OPTIONS", " -cl-opt-disable ", 1); /* else PoCL's optimizer takes minutes; spaces, as CLBlast puts none */
  setenv("CHX_OPENCL_CLBLAST", "1", 1);
  chx_scope *s = begin();
  if (!s) return true;
  products(s);
  is_int(lines, 0, "and CLBlast is used: %s", last);
  void *lib = dlopen("libclblast.so.1", RTLD_NOW | RTLD_NOLOAD);
  ok(lib != NULL, "its library was opened");
  chx_scope_end(s);
  return true;
}

static bool without_it(const char *wanted, const char *library, int want)
{
  setenv("CHX_OPENCL_CLBLAST", wanted, 1);
  if (library) setenv("CHX_CLBLAST_LIBRARY", library, 1);
  chx_scope *s = begin();
  if (!s) return true;
  const example e = {"", CHX_F32, 2, {6, 10}, 2, {5, 10}, .bias = true};
  for (int i = 0; i < 2; i++) {
    const double d = apart(s, product(s, &e, "opencl:0"), product(s, &e, "ref:0"));
    ok(!chx_scope_error(s) && d == 0, "CHX_OPENCL_CLBLAST=%s %s: %g apart from ref %s", wanted, library ? library : "", d,
       chx_scope_message(s));
  }
  is_int(lines, want, "lines in the log: %s", last);
  ok(!dlopen("libclblast.so.1", RTLD_NOW | RTLD_NOLOAD), "CLBlast is not opened");
  chx_scope_end(s);
  return true;
}

static bool missing(void) { return without_it("1", "/nowhere/libclblast.so", 1); }
static bool forbidden(void) { return without_it("0", NULL, 0); }

int main(void)
{
  in_child_of_tests(missing);
  in_child_of_tests(forbidden);
  void *lib = dlopen("libclblast.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!lib) skip(1, "CLBlast is not installed");
  else dlclose(lib), in_child_of_tests(by_clblast);
  return done_testing();
}
