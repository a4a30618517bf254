/* SPDX-License-Identifier: MIT
 * test_gradcheck.c: the gradient checkers: right gradients pass, wrong ones are found and named, of first and second
 * order. A wrong gradient is made by detaching a factor.
 */
#include "check.h"

static void cube(void *ctx, chx_scope *s, chx_array *const *x, chx_array **y)
{
  (void)ctx;
  y[0] = chx_mul(s, x[0], chx_mul(s, x[0], x[0]));
}

static void wrong_cube(void *ctx, chx_scope *s, chx_array *const *x, chx_array **y) /* backward: 2 x^2 */
{
  (void)ctx;
  y[0] = chx_mul(s, chx_mul(s, x[0], x[0]), chx_detach(s, x[0]));
}

/* x^3 whose gradient 3 x^2 is right, and is a constant to the graph. */
static void wrong_twice(void *ctx, chx_scope *s, chx_array *const *x, chx_array **y)
{
  (void)ctx;
  chx_array *c = chx_detach(s, x[0]), *slope = chx_mul(s, chx_real(s, 3), chx_mul(s, c, c));
  chx_array *flat = chx_mul(s, c, chx_mul(s, c, c));
  y[0] = chx_add(s, flat, chx_mul(s, slope, chx_sub(s, x[0], c)));
}

/* Two inputs that broadcast, integer indices, two outputs of which one is an integer. */
static void mixed(void *ctx, chx_scope *s, chx_array *const *x, chx_array **y)
{
  (void)ctx;
  chx_array *p = chx_tanh(s, chx_mul(s, x[0], x[1]));
  y[0] = chx_take(s, p, x[2], 0);
  y[1] = chx_argmax(s, p, 0, NULL, 0);
  y[2] = chx_sum(s, chx_exp(s, x[1]), 0, NULL, 0);
}

static void second_output_wrong(void *ctx, chx_scope *s, chx_array *const *x, chx_array **y)
{
  (void)ctx;
  y[0] = chx_sin(s, x[0]);
  y[1] = chx_mul(s, x[0], chx_detach(s, x[1]));
}

static void random_mask(void *ctx, chx_scope *s, chx_array *const *x, chx_array **y)
{
  (void)ctx;
  y[0] = chx_dropout(s, chx_square(s, x[0]), 0.5);
}

static void no_output(void *ctx, chx_scope *s, chx_array *const *x, chx_array **y) { (void)ctx, (void)s, (void)x, (void)y; }

static void failing(void *ctx, chx_scope *s, chx_array *const *x, chx_array **y)
{
  (void)ctx;
  const int64_t shape[] = {99};
  y[0] = chx_reshape(s, x[0], 1, shape);
}

static void constant(void *ctx, chx_scope *s, chx_array *const *x, chx_array **y)
{
  (void)ctx;
  y[0] = chx_ones_like(s, x[0]);
}

static void is_wrong(chx_scope *s, chx_status status, const char *part, const char *what)
{
  ok(status == CHX_EFAILED && strstr(chx_scope_message(s), part), "%s: %s", what, chx_scope_message(s));
  chx_scope_clear(s);
}

/* An error is taken away, so that the next check runs. */
static void is_right(chx_scope *s, chx_status status, const char *device, const char *what)
{
  is_int(status, CHX_OK, "%s: %s %s", device, what, chx_scope_message(s));
  chx_scope_clear(s);
}

static void test(const char *device, unsigned flags)
{
  static const double v[] = {0.5, -1.25, 2, 0.75, -0.5, 1.5}, w[] = {0.3, -0.7, 1.1};
  static const int64_t shape[] = {2, 3};
  const int64_t rows[] = {1, 0, 1}, three[] = {3};
  chx_scope *s = chx_scope_begin_with(device, flags);
  chx_array *x = chx_from_shape(s, CHX_F64, 2, shape, v), *y = chx_from(s, CHX_F64, 3, w), *i = chx_from_host(s, CHX_I64, 1, three, rows);
  const chx_array *one[] = {x}, *two[] = {x, y}, *all[] = {x, y, i};
  const size_t mark = chx_scope_mark(s);

  is_right(s, chx_check_grad(s, cube, NULL, one, 1, 1, 1e-4, 1e-7, 1e-6), device, "x^3");
  is_right(s, chx_check_grad_twice(s, cube, NULL, one, 1, 1, 1e-4, 1e-7, 1e-6), device, "x^3 twice");
  is_right(s, chx_check_grad(s, mixed, NULL, all, 3, 3, 1e-4, 1e-7, 1e-6), device, "several in- and outputs");
  is_right(s, chx_check_grad_twice(s, mixed, NULL, all, 3, 3, 1e-4, 1e-7, 1e-6), device, "and twice");
  is_right(s, chx_check_grad(s, random_mask, NULL, one, 1, 1, 1e-4, 1e-7, 1e-6), device, "the same random numbers each time");
  is_right(s, chx_check_grad(s, constant, NULL, one, 1, 1, 1e-4, 1e-7, 1e-6), device, "a constant");
  is_right(s, chx_check_grad(s, wrong_cube, NULL, one, 1, 1, 1e-4, 1e9, 0), device, "within a generous tolerance");
  is_right(s, chx_check_grad(s, wrong_twice, NULL, one, 1, 1, 1e-4, 1e-7, 1e-6), device, "right to first order");

  is_wrong(s, chx_check_grad(s, wrong_cube, NULL, one, 1, 1, 1e-4, 1e-7, 1e-6), "output 0, input 0, element [0,2]", "a wrong gradient");
  is_wrong(s, chx_check_grad(s, second_output_wrong, NULL, (const chx_array *[]){y, y}, 2, 2, 1e-4, 1e-7, 1e-6), "output 1, input 1",
           "a gradient that is missing");
  is_wrong(s, chx_check_grad_twice(s, wrong_cube, NULL, one, 1, 1, 1e-4, 1e-7, 1e-6), "check_grad_twice: output 0", "a wrong second gradient");

  is_wrong(s, chx_check_grad_twice(s, wrong_twice, NULL, one, 1, 1, 1e-4, 1e-7, 1e-6), "input 0", "and wrong to second");

  ok(chx_check_grad(s, no_output, NULL, one, 1, 1, 1e-4, 1e-7, 1e-6) == CHX_EARG, "no output: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(chx_check_grad(s, failing, NULL, one, 1, 1, 1e-4, 1e-7, 1e-6) == CHX_ESHAPE, "f's own error: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(chx_check_grad(s, cube, NULL, (const chx_array *[]){NULL}, 1, 1, 1e-4, 1e-7, 1e-6) == CHX_EARG, "a NULL input: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(chx_check_grad_twice(s, cube, NULL, (const chx_array *[]){i}, 1, 1, 1e-4, 1e-7, 1e-6) == CHX_EARG, "integers alone: %s",
     chx_scope_message(s));
  chx_scope_clear(s);
  ok(chx_check_grad(s, cube, NULL, one, 0, 1, 1e-4, 1e-7, 1e-6) == CHX_EARG, "no input: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(!chx_is_grad_required(x, 0) && chx_scope_mark(s) == mark, "%s: the caller's arrays and scope are as they were", device);
  for (int k = 0; k < 100; k++) chx_check_grad(s, cube, NULL, two, 1, 1, 1e-4, 1e-7, 1e-6);
  ok(!chx_scope_error(s), "%s: 100 checks use up no graph %s", device, chx_scope_message(s));
  if (flags & CHX_SCOPE_OWNED) {
    chx_release(x);
    chx_release(y);
    chx_release(i);
  }
  chx_scope_end(s);
}

int main(void)
{
  test("native:0", 0);
  test("native:0", CHX_SCOPE_OWNED);
  return done_testing();
}
