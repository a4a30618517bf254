/* SPDX-License-Identifier: MIT
 * test_reference.c: the reference mode (CHX_REFERENCE=1): every operator below gives the same bits on native:0 and on every other device
 * here, and so do the weights after steps of training, at any number of threads.
 */
#include "check.h"

enum { MOST = 1 << 16 };
typedef struct result {
  unsigned char bytes[MOST];
  size_t n;
} result;
static result want, got;

static void add(chx_scope *s, result *r, const chx_array *a)
{
  const size_t n = a ? (size_t)chx_nbytes(a) : 0;
  if (r->n + n > MOST || !a) return;
  chx_read(s, a, r->bytes + r->n, n);
  r->n += n;
}

static chx_array *numbers(chx_scope *s, int dtype, int ndim, const int64_t *shape, unsigned seed, double scale)
{
  static double v[1 << 15];
  int64_t n = 1;
  for (int i = 0; i < ndim; i++) n *= shape[i];
  for (int64_t i = 0; i < n; i++) {
    seed = seed * 1664525u + 1013904223u;
    v[i] = ((double)(seed >> 8) / 16777216.0 - 0.5) * scale;
  }
  return chx_from_shape(s, dtype, ndim, shape, v);
}
#define SHAPE(...) (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__}

/* Every elementwise operator on floats, over values of several sizes. */
static void elementwise(chx_scope *s, const chx_op *op, int dtype, result *r)
{
  const double scales[] = {2, 200};
  for (int k = 0; k < 2; k++) {
    const chx_array *in[3] = {NULL};
    chx_array *out = NULL;
    for (int i = 0; i < chx_op_n_inputs(op); i++) in[i] = numbers(s, dtype, SHAPE(3, 67), 7u + (unsigned)i, scales[k]);
    if (!strcmp(chx_op_name(op), "where")) in[0] = chx_greater(s, in[0], chx_real(s, 0));
    chx_apply(s, op, in, chx_op_n_inputs(op), NULL, &out, 1);
    add(s, r, out);
  }
}

static void sums(chx_scope *s, int dtype, result *r)
{
  chx_array *x = numbers(s, dtype, SHAPE(5, 70, 9), 3, 2), *t = chx_transpose(s, x, 0, NULL);
  const int axes[] = {0, 2};
  add(s, r, chx_sum(s, x, 0, NULL, 0));
  add(s, r, chx_sum(s, t, 2, axes, 0));
  add(s, r, chx_mean(s, x, 1, axes, 1));
  add(s, r, chx_prod(s, x, 1, axes, 0));
  add(s, r, chx_amax(s, t, 1, axes, 0));
  add(s, r, chx_softmax(s, x, 1));
  add(s, r, chx_log_softmax(s, t, 0));
  add(s, r, chx_cumsum(s, t, 1));
  add(s, r, chx_logsumexp(s, x, 1, axes, 0));
}

static void products(chx_scope *s, int dtype, result *r)
{
  chx_array *a = numbers(s, dtype, SHAPE(3, 17, 300), 1, 2), *b = numbers(s, dtype, SHAPE(300, 5), 2, 2);
  add(s, r, chx_matmul(s, a, b));
  add(s, r, chx_linear(s, a, chx_transpose(s, b, 0, NULL), numbers(s, dtype, SHAPE(5), 3, 2)));
  chx_conv_attr p = CHX_ATTR(conv);
  p.stride = CHX_INTS(2, 1);
  p.pad = CHX_INTS(1, 2);
  p.dilation = CHX_INTS(1, 2);
  p.groups = 2;
  chx_array *x = numbers(s, dtype, SHAPE(2, 4, 9, 8), 4, 2), *w = numbers(s, dtype, SHAPE(6, 2, 3, 2), 5, 2);
  chx_require_grad(s, x);
  chx_require_grad(s, w);
  chx_array *y = chx_conv(s, x, w, numbers(s, dtype, SHAPE(6), 6, 2), &p);
  add(s, r, y);
  chx_backward(s, chx_sum(s, chx_mul(s, y, y), 0, NULL, 0));
  add(s, r, chx_grad_of(s, x));
  add(s, r, chx_grad_of(s, w));
  /* large enough for a library that would sum in another order */
  chx_array *big = numbers(s, dtype, SHAPE(8, 16, 16, 16), 10, 2), *taps = numbers(s, dtype, SHAPE(16, 16, 3, 3), 11, 2);
  add(s, r, chx_slice_axis(s, chx_conv(s, big, taps, NULL, NULL), 0, 0, 1, 1));
  chx_array *rows = chx_matmul(s, numbers(s, dtype, SHAPE(128, 256), 12, 2), numbers(s, dtype, SHAPE(256, 128), 13, 2));
  add(s, r, chx_slice_axis(s, rows, 0, 0, 4, 1));
}

static void windows(chx_scope *s, int dtype, result *r)
{
  chx_pool_attr p = CHX_ATTR(pool);
  p.ksize = CHX_INTS(3, 2);
  p.stride = CHX_INTS(2, 1);
  p.pad = CHX_INTS(1, 1);
  for (int layout = 0; layout < 2; layout++) {
    chx_array *x = numbers(s, dtype, SHAPE(2, 5, 7, 6), 8, 2);
    p.layout = layout;
    chx_require_grad(s, x);
    chx_array *y = chx_avg_pool(s, x, &p);
    add(s, r, y);
    chx_backward(s, chx_sum(s, chx_square(s, y), 0, NULL, 0));
    add(s, r, chx_grad_of(s, x));
  }
  chx_array *table = numbers(s, dtype, SHAPE(4, 3), 9, 2);
  double at[300];
  for (int i = 0; i < 300; i++) at[i] = i * 7 % 4;
  chx_array *indices = chx_from_shape(s, CHX_I64, 1, (int64_t[]){300}, at);
  chx_require_grad(s, table);
  chx_backward(s, chx_sum(s, chx_exp(s, chx_take(s, table, indices, 0)), 0, NULL, 0));
  add(s, r, chx_grad_of(s, table));
}

/* A few steps of a network by hand: linear, tanh, cross entropy, plain descent. */
static void training(chx_scope *s, result *r)
{
  chx_array *w = chx_keep(numbers(s, CHX_F32, SHAPE(20, 10), 21, 1)), *v = chx_keep(numbers(s, CHX_F32, SHAPE(4, 20), 22, 1));
  chx_array *x = numbers(s, CHX_F32, SHAPE(32, 10), 23, 2);
  double labels[32];
  for (int i = 0; i < 32; i++) labels[i] = i * 5 % 4;
  chx_array *t = chx_from(s, CHX_I32, 32, labels);
  for (int step = 0; step < 5; step++) {
    const size_t mark = chx_scope_mark(s);
    chx_array *a = chx_copy(s, w), *b = chx_copy(s, v);
    chx_require_grad(s, a);
    chx_require_grad(s, b);
    chx_backward(s, chx_softmax_cross_entropy(s, chx_linear(s, chx_tanh(s, chx_linear(s, x, a, NULL)), b, NULL), t));
    chx_sub_into(s, w, w, chx_mul(s, chx_grad_of(s, a), chx_real(s, 0.1)));
    chx_sub_into(s, v, v, chx_mul(s, chx_grad_of(s, b), chx_real(s, 0.1)));
    chx_scope_rewind(s, mark, NULL);
  }
  add(s, r, w);
  add(s, r, v);
  chx_release(w);
  chx_release(v);
}

enum { SUMS, PRODUCTS, WINDOWS, TRAINING, KINDS };
static const char *const kinds[] = {"sums, softmax, scans", "products and convolutions", "pooling and gathering", "weights after 5 steps"};

/* Runs one kind (or, from KINDS on, an operator of the table) on a device; false if it failed. */
static bool run(const char *device, int kind, const chx_op *op, int dtype, result *r)
{
  chx_scope *s = chx_scope_begin(device);
  r->n = 0;
  if (op) elementwise(s, op, dtype, r);
  else if (kind == SUMS) sums(s, dtype, r);
  else if (kind == PRODUCTS) products(s, dtype, r);
  else if (kind == WINDOWS) windows(s, dtype, r);
  else training(s, r);
  const bool good = !chx_scope_error(s);
  if (!good) note("%s: %s", device, chx_scope_message(s));
  chx_scope_end(s);
  return good;
}

/* The bits of every NaN are as good as those of another. */
static bool same(int dtype)
{
  if (want.n != got.n) return false;
  if (!memcmp(want.bytes, got.bytes, want.n)) return true;
  const size_t size = (size_t)chx_dtype_size(dtype);
  for (size_t i = 0; i + size <= want.n; i += size) {
    float f[2];
    double d[2];
    if (!memcmp(want.bytes + i, got.bytes + i, size)) continue;
    if (dtype == CHX_F32) {
      memcpy(&f[0], want.bytes + i, 4), memcpy(&f[1], got.bytes + i, 4);
      if (!isnan(f[0]) || !isnan(f[1])) return note("element %zu: %.9g and %.9g", i / 4, (double)f[0], (double)f[1]), false;
    } else if (dtype == CHX_F64) {
      memcpy(&d[0], want.bytes + i, 8), memcpy(&d[1], got.bytes + i, 8);
      if (!isnan(d[0]) || !isnan(d[1])) return note("element %zu: %.17g and %.17g", i / 8, d[0], d[1]), false;
    } else
      return note("byte %zu differs", i), false;
  }
  return true;
}

static void compare(const char *device)
{
  static const int dtypes[] = {CHX_F32, CHX_F64};
  chx_scope *s = chx_scope_begin(device);
  const bool there = !chx_scope_error(s);
  chx_scope_end(s);
  if (!there) {
    skip(1, device);
    return;
  }
  for (int d = 0; d < 2; d++) {
    int differ = 0, n = 0;
    for (int i = 0; i < chx_op_count(); i++) {
      const chx_op *op = chx_op_at(i);
      const chx_op *map = chx_op_find("map");
      if (!chx_op_is_elementwise(op) || op == map || !(chx_op_dtypes(op) & CHX_BIT(dtypes[d]))) continue;
      n++;
      if (run("native:0", 0, op, dtypes[d], &want) && run(device, 0, op, dtypes[d], &got) && want.n && same(dtypes[d])) continue;
      note("%s differs", chx_op_name(op));
      differ++;
    }
    ok(n > 60 && !differ, "%s, %s: %d of %d elementwise operators have other bits", device, chx_dtype_name(dtypes[d]), differ, n);
    for (int k = 0; k < KINDS; k++) {
      if (k == TRAINING && d) continue;
      const bool both = run("native:0", k, NULL, dtypes[d], &want) && run(device, k, NULL, dtypes[d], &got);
      ok(both && want.n && same(dtypes[d]), "%s, %s: %s, %zu bytes", device, chx_dtype_name(dtypes[d]), kinds[k], want.n);
    }
  }
}

/* Quotients and roots of f32 by the device itself, also where it promises them in f64 alone. */
static void by_the_device(const char *device)
{
  chx_scope *s = chx_scope_begin(device);
  if (chx_scope_error(s) || !chx_full(s, CHX_F64, 0, NULL, 1)) {
    skip(1, device);
  } else {
    chx_array *x = numbers(s, CHX_F32, SHAPE(3, 67), 7, 20);
    chx_scope_set_fallback(s, CHX_FALLBACK_DENY);
    ok(chx_div(s, x, chx_exp(s, x)) && chx_rsqrt(s, chx_abs(s, x)) && chx_floor_divide(s, x, chx_real(s, 3)),
       "%s: division needs no fallback %s", device, chx_scope_message(s));
  }
  chx_scope_end(s);
}

int main(void)
{
  setenv("CHX_REFERENCE", "1", 1);
  by_the_device("opencl:0");
  by_the_device("opencl:1");
  compare("sim:0");
  compare("dnnl:0");
  compare("opencl:0");
  compare("opencl:1");
  compare("cuda:0");
  compare("hip:0");
  return done_testing();
}
