/* SPDX-License-Identifier: MIT
 * test_grad.c: the gradient of every differentiable operator of the table against differences, of first and second order,
 * in f64; and its value at kinks. On native, or on the devices of CHX_TEST_DEVICES.
 *
 * An operator joins by its entry in the table alone: without a row here it gets [2,3] operands between -2 and 2 (integers
 * for indices and labels) and default attributes. It needs a row where these are not in its domain, and fails here until
 * it has one. Samples keep their distance from 0, where many functions have a kink.
 */
#include "check.h"

static const char *device;
#define MOST_IN 5

typedef struct operand {
  int ndim; /* -1: absent */
  int64_t shape[5];
  double low, high; /* both 0: -2 to 2 */
  char kind;        /* 0 float, 'I' i64 from low to high, 'B' bool, 'Z' float with a 0 in every third place */
} operand;

typedef struct row {
  const char *op, *what;
  void (*attr)(void *p);
  int n;
  operand x[MOST_IN];
} row;

/* ---- attributes ----------------------------------------------------------------------------------------------------------- */

#define ATTR(name, A, ...) \
  static void name(void *p) \
  { \
    chx_##A##_attr *a = p; \
    *a = CHX_ATTR(A); \
    __VA_ARGS__ \
  }
ATTR(to_f64, cast, a->dtype = CHX_F64;)
ATTR(full_2x3, full, a->shape = CHX_INTS(2, 3); a->dtype = CHX_F64;)
ATTR(axis_0, reduce, a->axes = CHX_INTS(0);)
ATTR(axes_m1_0, reduce, a->axes = CHX_INTS(-1, 0); a->keepdims = 1;)
ATTR(kind_prod, reduce, a->kind = CHX_REDUCE_PROD; a->axes = CHX_INTS(1);)
ATTR(kind_mean, reduce, a->kind = CHX_REDUCE_MEAN;)
ATTR(scan_1, scan, a->axes = CHX_INTS(1);)
ATTR(scan_back_0, scan, a->axes = CHX_INTS(0); a->reverse = 1;)
ATTR(scan_before, scan, a->axes = CHX_INTS(-1); a->exclusive = 1;)
ATTR(scan_after, scan, a->axes = CHX_INTS(1); a->exclusive = 1; a->reverse = 1;)
ATTR(scan_prod, scan, a->axes = CHX_INTS(1); a->kind = CHX_SCAN_PROD;)
ATTR(scan_min, scan, a->kind = CHX_SCAN_MIN;)
ATTR(sort_down_0, sort, a->axis = 0; a->descending = 1;)
ATTR(topk_2, topk, a->k = 2;)
ATTR(topk_least_0, topk, a->k = 2; a->axis = 0; a->largest = 0;)
ATTR(to_3x2, reshape, a->shape = CHX_INTS(3, -1);)
ATTR(axes_201, transpose, a->axes = CHX_INTS(2, 0, 1);)
ATTR(to_4x2x3, broadcast_to, a->shape = CHX_INTS(4, 2, 3);)
ATTR(slice_steps, slice, a->start = CHX_INTS(1, -1, CHX_SLICE_NONE); a->stop = CHX_INTS(-1, CHX_SLICE_NONE, CHX_SLICE_NONE); a->step = CHX_INTS(2, -2, 3);)
ATTR(slice_drop, slice, a->start = CHX_INTS(1, 0); a->stop = CHX_INTS(2, 2); a->drop = 1;)
ATTR(slice_of_5x4, slice, a->start = CHX_INTS(1, -1); a->stop = CHX_INTS(5, CHX_SLICE_NONE); a->step = CHX_INTS(2, -2); a->shape = CHX_INTS(5, 4);)
ATTR(flip_1, axes, a->axes = CHX_INTS(1);)
ATTR(axis_1, axis, a->axis = 1;)
ATTR(axis_m1, axis, a->axis = -1;)
ATTR(pad_1_2, pad, a->before = CHX_INTS(1, 0); a->after = CHX_INTS(0, 2); a->value = 3;)
ATTR(conv_shapes, conv, a->stride = CHX_INTS(2, 1); a->pad = CHX_INTS(1, 2); a->dilation = CHX_INTS(1, 2);)
ATTR(conv_groups, conv, a->groups = 2; a->pad = CHX_INTS(1);)
ATTR(conv_last, conv, a->layout = CHX_CHANNELS_LAST; a->stride = CHX_INTS(2); a->pad = CHX_INTS(1);)
ATTR(conv_gx, conv, a->stride = CHX_INTS(2); a->pad = CHX_INTS(1); a->shape = CHX_INTS(2, 2, 5);)
ATTR(conv_gx_last, conv, a->stride = CHX_INTS(2); a->pad = CHX_INTS(1); a->shape = CHX_INTS(2, 5, 4); a->groups = 2; a->layout = CHX_CHANNELS_LAST;)
ATTR(conv_gw, conv, a->stride = CHX_INTS(2); a->pad = CHX_INTS(1); a->shape = CHX_INTS(3, 2, 3);)
ATTR(conv_gw_last, conv, a->stride = CHX_INTS(2); a->pad = CHX_INTS(1); a->shape = CHX_INTS(4, 3, 2); a->groups = 2; a->layout = CHX_CHANNELS_LAST;)
ATTR(pool_2, pool, a->ksize = CHX_INTS(2, 3); a->stride = CHX_INTS(1, 2); a->pad = CHX_INTS(1, 1);)
ATTR(pool_all, pool, a->ksize = CHX_INTS(2); a->cover_all = 1; a->layout = CHX_CHANNELS_LAST;)
ATTR(pool_inside, pool, a->ksize = CHX_INTS(3); a->stride = CHX_INTS(2); a->pad = CHX_INTS(1); a->exclude_pad = 1;)
ATTR(pool_shape, pool, a->ksize = CHX_INTS(3); a->stride = CHX_INTS(2); a->pad = CHX_INTS(1); a->exclude_pad = 1; a->shape = CHX_INTS(1, 2, 5);)
ATTR(softmax_0, softmax, a->axis = 0;)
ATTR(gelu_tanh, gelu, a->approximate = 1;)
ATTR(dropped, dropout, a->ratio = 0.4; a->seed = 7;)
ATTR(norm_last, batch_norm, a->layout = CHX_CHANNELS_LAST;)
ATTR(ignore_2, softmax_cross_entropy, a->ignore_label = 2;)
ATTR(by_batch, softmax_cross_entropy, a->normalize = 0; a->ignore_label = 0;)
static void program(void *p) /* where(x < y, x, tanh(x * y)) */
{
  static const chx_map_step step[] = {{"less", 0, 1, 0, 0}, {"mul", 0, 1, 0, 0}, {"tanh", 3, 0, 0, 0}, {"where", 2, 0, 4, 0}};
  chx_map_attr *a = p;
  *a = CHX_ATTR(map);
  a->program.n = 4;
  memcpy(a->program.step, step, sizeof step);
}

/* ---- rows ------------------------------------------------------------------------------------------------------------------- */

#define F(low, high, ...) {sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), {__VA_ARGS__}, low, high, 0}
#define I(low, high, ...) {sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), {__VA_ARGS__}, low, high, 'I'}
#define A(...) F(0, 0, __VA_ARGS__) /* any */
#define Z(...) {sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), {__VA_ARGS__}, 0, 0, 'Z'}
#define ABSENT {.ndim = -1}
static const row rows[] = {
  {"sqrt", "", NULL, 1, {F(0.5, 2, 2, 3)}},
  {"rsqrt", "", NULL, 1, {F(0.5, 2, 2, 3)}},
  {"log", "", NULL, 1, {F(0.5, 2, 2, 3)}},
  {"log2", "", NULL, 1, {F(0.5, 2, 2, 3)}},
  {"log10", "", NULL, 1, {F(0.5, 2, 2, 3)}},
  {"log1p", "", NULL, 1, {F(-0.5, 2, 2, 3)}},
  {"reciprocal", "", NULL, 1, {F(0.5, 2, 2, 3)}},
  {"tan", "", NULL, 1, {F(-1, 1, 2, 3)}},
  {"asin", "", NULL, 1, {F(-0.8, 0.8, 2, 3)}},
  {"acos", "", NULL, 1, {F(-0.8, 0.8, 2, 3)}},
  {"acosh", "", NULL, 1, {F(1.5, 3, 2, 3)}},
  {"atanh", "", NULL, 1, {F(-0.8, 0.8, 2, 3)}},
  {"div", "", NULL, 2, {A(2, 3), F(0.5, 2, 3)}},
  {"remainder", "", NULL, 2, {F(2.2, 2.8, 2, 3), F(0.95, 1.05, 3)}},
  {"fmod", "", NULL, 2, {F(-2.8, -2.2, 2, 3), F(0.95, 1.05, 3)}},
  {"pow", "", NULL, 2, {F(0.5, 2, 2, 3), A(2, 1)}},
  {"clip", "", NULL, 3, {A(2, 3), F(-1, -0.5, 3), F(0.5, 1, 2, 1)}},
  {"where", "", NULL, 3, {{2, {2, 3}, 0, 0, 'B'}, A(2, 3), A(3)}},
  {"cast", "", to_f64, 1, {A(2, 3)}},
  {"map", "", program, 2, {A(2, 3), A(3)}},
  {"full", "", full_2x3, 1, {{.ndim = 0}}},
  {"sum", "axis 0", axis_0, 1, {A(3, 2)}},
  {"sum", "0-d", NULL, 1, {{.ndim = 0}}},
  {"prod", "all", NULL, 1, {A(2, 3)}},
  {"prod", "axes -1, 0", axes_m1_0, 1, {A(2, 3, 2)}},
  {"mean", "axes -1, 0", axes_m1_0, 1, {A(2, 3, 2)}},
  {"amax", "axis 0", axis_0, 1, {A(4, 2)}},
  {"amin", "axes -1, 0", axes_m1_0, 1, {A(2, 3, 2)}},
  {"logsumexp", "axis 0", axis_0, 1, {A(3, 2)}},
  {"logsumexp", "all", NULL, 1, {A(3, 2)}},
  {"reduce", "prod", kind_prod, 1, {A(2, 3)}},
  {"reduce", "mean", kind_mean, 1, {A(2, 3)}},
  {"cumsum", "flattened", NULL, 1, {A(2, 3)}},
  {"cumsum", "axis 1", scan_1, 1, {A(2, 3, 2)}},
  {"cumsum", "reverse", scan_back_0, 1, {A(3, 2)}},
  {"cumsum", "exclusive", scan_before, 1, {A(2, 3)}},
  {"cumsum", "exclusive, reverse", scan_after, 1, {A(2, 3)}},
  {"cumprod", "flattened", NULL, 1, {A(2, 3)}},
  {"cumprod", "axis 1", scan_1, 1, {A(2, 6, 2)}},
  {"cumprod", "zeros", scan_1, 1, {Z(2, 5)}},
  {"cumprod", "zeros, reverse", scan_back_0, 1, {Z(4, 2)}},
  {"cumprod", "zeros, exclusive", scan_before, 1, {Z(2, 5)}},
  {"cumprod", "zeros, exclusive, reverse", scan_after, 1, {Z(2, 4)}},
  {"cumprod", "one element", scan_1, 1, {A(3, 1)}},
  {"cumprod", "one element, exclusive", scan_before, 1, {A(3, 1)}},
  {"cummax", "axis 1", scan_1, 1, {A(2, 4, 2)}},
  {"cummax", "reverse", scan_back_0, 1, {A(5, 2)}},
  {"cummin", "flattened", NULL, 1, {A(2, 3)}},
  {"cummin", "reverse", scan_back_0, 1, {A(5, 2)}},
  {"scan", "product", scan_prod, 1, {A(2, 3)}},
  {"scan", "smallest", scan_min, 1, {A(2, 3)}},
  {"sort", "", NULL, 1, {A(2, 5)}},
  {"sort", "descending, axis 0", sort_down_0, 1, {A(4, 2)}},
  {"topk", "largest", topk_2, 1, {A(2, 5)}},
  {"topk", "smallest, axis 0", topk_least_0, 1, {A(4, 2)}},
  {"reshape", "", to_3x2, 1, {A(2, 3)}},
  {"transpose", "", axes_201, 1, {A(2, 3, 2)}},
  {"broadcast_to", "", to_4x2x3, 1, {A(2, 1)}},
  {"squeeze", "", NULL, 1, {A(2, 1, 3, 1)}},
  {"slice", "steps", slice_steps, 1, {A(5, 4, 4)}},
  {"slice", "dropped axis", slice_drop, 1, {A(3, 3)}},
  {"slice_grad", "", slice_of_5x4, 1, {A(2, 2)}},
  {"flip", "axis 1", flip_1, 1, {A(2, 3)}},
  {"concatenate", "axis 1", axis_1, 3, {A(2, 1), A(2, 3), A(2, 2)}},
  {"stack", "axis -1", axis_m1, 2, {A(2, 3), A(2, 3)}},
  {"pad", "", pad_1_2, 1, {A(2, 3)}},
  {"take", "axis 1", axis_1, 2, {A(2, 3, 2), I(-3, 2, 2, 2)}},
  {"take_along_axis", "axis 1", axis_1, 2, {A(2, 3), I(-3, 2, 2, 4)}},
  {"scatter_add", "axis 1", axis_1, 3, {A(2, 3), I(-3, 2, 4), A(2, 4)}},
  {"scatter_add_along_axis", "axis 1", axis_1, 3, {A(2, 3), I(-3, 2, 2, 4), A(2, 4)}},
  {"matmul", "2-d", NULL, 2, {A(2, 3), A(3, 4)}},
  {"matmul", "1-d, 1-d", NULL, 2, {A(3), A(3)}},
  {"matmul", "1-d, batch", NULL, 2, {A(3), A(2, 3, 4)}},
  {"matmul", "batch, 1-d", NULL, 2, {A(2, 4, 3), A(3)}},
  {"matmul", "batch, 2-d", NULL, 2, {A(2, 2, 3), A(3, 2)}},
  {"matmul", "batches", NULL, 2, {A(2, 1, 2, 3), A(3, 3, 2)}},
  {"linear", "", NULL, 3, {A(2, 3), A(4, 3), A(4)}},
  {"linear", "without b", NULL, 3, {A(2, 3), A(4, 3), ABSENT}},
  {"linear", "rank 3", NULL, 3, {A(2, 2, 3), A(4, 3), A(4)}},
  {"linear", "rank 1", NULL, 3, {A(3), A(4, 3), A(4)}},
  {"conv", "1-d", NULL, 3, {A(2, 2, 5), A(3, 2, 3), A(3)}},
  {"conv", "2-d, strides", conv_shapes, 3, {A(1, 2, 4, 5), A(2, 2, 2, 3), ABSENT}},
  {"conv", "groups", conv_groups, 3, {A(1, 4, 4), A(2, 2, 3), A(2)}},
  {"conv", "channels last", conv_last, 3, {A(1, 4, 4, 2), A(2, 3, 3, 2), A(2)}},
  {"conv", "3-d", NULL, 3, {A(1, 1, 3, 3, 3), A(1, 1, 2, 2, 2), A(1)}},
  {"conv_grad_input", "", conv_gx, 2, {A(2, 3, 3), A(3, 2, 3)}},
  {"conv_grad_input", "channels last, groups", conv_gx_last, 2, {A(2, 3, 4), A(4, 3, 2)}},
  {"conv_grad_weight", "", conv_gw, 2, {A(2, 2, 5), A(2, 3, 3)}},
  {"conv_grad_weight", "channels last, groups", conv_gw_last, 2, {A(2, 5, 4), A(2, 3, 4)}},
  {"max_pool", "", pool_2, 1, {A(1, 2, 3, 5)}},
  {"max_pool", "channels last", pool_all, 1, {A(2, 5, 2)}},
  {"avg_pool", "", pool_2, 1, {A(1, 2, 3, 5)}},
  {"avg_pool", "channels last", pool_all, 1, {A(2, 5, 2)}},
  {"avg_pool", "padding excluded", pool_inside, 1, {A(1, 2, 5)}},
  {"avg_pool_grad", "", pool_shape, 1, {A(1, 2, 3)}},
  {"softmax", "axis 0", softmax_0, 1, {A(3, 2)}},
  {"gelu", "erf", NULL, 1, {A(2, 3)}},
  {"gelu", "tanh", gelu_tanh, 1, {A(2, 3)}},
  {"dropout", "", dropped, 1, {A(3, 4)}},
  {"softmax_cross_entropy", "", NULL, 2, {A(3, 4), I(0, 3, 3)}},
  {"softmax_cross_entropy", "rank 3", ignore_2, 2, {A(2, 3, 2), I(0, 2, 2, 2)}},
  {"softmax_cross_entropy", "by batch", by_batch, 2, {A(3, 4), I(0, 3, 3)}},
  {"batch_norm", "", NULL, 3, {A(4, 2), A(2), A(2)}},
  {"batch_norm", "channels last", norm_last, 3, {A(2, 3, 2), A(2), A(2)}},
  {"fixed_batch_norm", "", NULL, 5, {A(3, 2), A(2), A(2), A(2), F(0.5, 2, 2)}},
  {"layer_norm", "", NULL, 3, {A(2, 4), A(4), A(4)}},
  {"layer_norm", "2 axes", NULL, 3, {A(2, 2, 3), A(2, 3), A(2, 3)}},
};

/* ---- one operator ----------------------------------------------------------------------------------------------------------- */

typedef struct call {
  const chx_op *op;
  void *attr;
  int n, at[MOST_IN]; /* operand at[i] is input i of the checker */
  int n_x;
} call;

static void apply(void *ctx, chx_scope *s, chx_array *const *xs, chx_array **ys)
{
  call *c = ctx;
  const chx_array *in[MOST_IN] = {NULL};
  for (int i = 0; i < c->n_x; i++) in[c->at[i]] = xs[i];
  for (int o = 0; o < chx_op_n_outputs(c->op); o++) ys[o] = NULL;
  chx_apply(s, c->op, in, c->n, c->attr, ys, chx_op_n_outputs(c->op));
}

static chx_array *sample(chx_scope *s, const operand *x)
{
  int64_t n = 1;
  double v[256], low = x->low, high = x->high;
  if (low == 0 && high == 0) low = -2, high = 2;
  for (int i = 0; i < x->ndim; i++) n *= x->shape[i];
  for (int64_t i = 0; i < n; i++) {
    if (x->kind == 'B') v[i] = check_bits() >> 63;
    else if (x->kind == 'Z' && i % 3 == 1) v[i] = 0;
    else if (x->kind == 'I') v[i] = floor(check_uniform(x->low, x->high + 1));
    else
      do v[i] = check_uniform(low, high);
      while (fabs(v[i]) < 0.1);
  }
  return chx_from_shape(s, x->kind == 'B' ? CHX_BOOL : x->kind == 'I' ? CHX_I64 : CHX_F64, x->ndim, x->shape, v);
}

static void check_row(const chx_op *op, const row *r)
{
  const double eps = 1e-5, atol = 1e-7, rtol = 1e-5;
  static _Alignas(16) char attr[65536];
  call c = {.op = op, .n = r->n};
  const chx_array *xs[MOST_IN];
  chx_scope *s = chx_scope_begin(device);
  if (r->attr) r->attr(c.attr = attr);
  for (int i = 0; i < r->n; i++)
    if (r->x[i].ndim >= 0) {
      xs[c.n_x] = sample(s, &r->x[i]);
      c.at[c.n_x++] = i;
    }
  const char *name = chx_op_name(op);
  int n_y = chx_op_n_outputs(op);
  chx_check_grad(s, apply, &c, xs, c.n_x, n_y, eps, atol, rtol);
  ok(!chx_scope_error(s), "%s%s%s: gradient %s", name, *r->what ? ", " : "", r->what, chx_scope_message(s));
  if (!chx_scope_error(s)) {
    chx_check_grad_twice(s, apply, &c, xs, c.n_x, n_y, eps, atol, rtol);
    ok(!chx_scope_error(s), "%s%s%s: second gradient %s", name, *r->what ? ", " : "", r->what, chx_scope_message(s));
  }
  chx_scope_end(s);
}

/* What an operator without a row gets: broadcasting operands if it is elementwise, else equal ones. */
static void check_default(const chx_op *op)
{
  static const operand wide = A(2, 3), broadcast = A(3);
  row r = {.op = chx_op_name(op), .what = "", .n = chx_op_n_inputs(op)};
  if (r.n > MOST_IN) {
    ok(false, "%s: has %d inputs and no row", r.op, r.n);
    return;
  }
  for (int i = 0; i < r.n; i++) {
    const char *name = chx_op_input_name(op, i);
    r.x[i] = i && chx_op_is_elementwise(op) ? broadcast : wide;
    if (!strcmp(name, "indices") || !strcmp(name, "t")) r.x[i] = (operand)I(0, 1, 2, 3);
  }
  if (chx_op_input_flags(op, r.n - 1) & CHX_OPERAND_VARIADIC) r.x[r.n++] = wide;
  check_row(op, &r);
}

static void check_all(void)
{
  for (int i = 0; i < chx_op_count(); i++) {
    const chx_op *op = chx_op_at(i);
    int found = 0;
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
      if (strcmp(rows[k].op, chx_op_name(op))) continue;
      check_row(op, &rows[k]);
      found++;
    }
    if (!found && chx_op_is_differentiable(op)) check_default(op);
  }
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
    if (!chx_op_is_differentiable(chx_op_find(rows[k].op))) ok(false, "row '%s' names a differentiable operator", rows[k].op);
}

/* ---- kinks ---------------------------------------------------------------------------------------------------------------------- */

#define MANY 4
static const struct kink {
  const char *op;
  int n, length;               /* operands of `length` elements */
  double x[3][MANY], g[3][MANY]; /* the gradient of the sum of the output */
} kinks[] = {
  {"relu", 1, 3, {{-1, 0, 1}}, {{0, 0, 1}}},
  {"abs", 1, 3, {{-1, 0, 1}}, {{-1, 0, 1}}},
  {"leaky_relu", 1, 3, {{-1, 0, 1}}, {{0.2, 0.2, 1}}},
  {"sqrt", 1, 2, {{0, 4}}, {{INFINITY, 0.25}}},
  {"square", 1, 1, {{0}}, {{0}}},
  {"relu_grad", 2, 3, {{-1, 0, 1}, {3, 3, 3}}, {{0, 0, 0}, {0, 0, 1}}},
  {"maximum", 2, 3, {{1, 1, 1}, {0, 1, 2}}, {{1, 0.5, 0}, {0, 0.5, 1}}},
  {"minimum", 2, 3, {{1, 1, 1}, {0, 1, 2}}, {{0, 0.5, 1}, {1, 0.5, 0}}},
  {"fmax", 2, 4, {{1, 1, NAN, 1}, {1, 2, 1, NAN}}, {{0.5, 0, 0, 1}, {0.5, 1, 1, 0}}},
  {"fmin", 2, 4, {{1, 1, NAN, 1}, {1, 2, 1, NAN}}, {{0.5, 1, 0, 1}, {0.5, 0, 1, 0}}},
  {"clip", 3, 4, {{-1, 0, 1, 2}, {0, 0, 0, 0}, {1, 1, 1, 1}}, {{0, 1, 1, 0}, {1, 0, 0, 0}, {0, 0, 0, 1}}},
  {"pow", 2, 4, {{0, 0, 2, -2}, {0, 2, 0, 3}}, {{0, 0, 0, 12}, {0, 0, 0.69314718055994531, 0}}},
  {"copysign", 2, 3, {{-2, 2, 0}, {1, -1, 1}}, {{-1, -1, 0}, {0, 0, 0}}},
  {"amax", 1, 4, {{1, 3, 3, 2}}, {{0, 0.5, 0.5, 0}}},
  {"amin", 1, 4, {{1, 3, 1, 1}}, {{1 / 3., 0, 1 / 3., 1 / 3.}}},
  {"prod", 1, 4, {{2, 0, 3, 1}}, {{0, 6, 0, 0}}},
  {"prod", 1, 3, {{0, 0, 3}}, {{0, 0, 0}}},
  {"cumprod", 1, 4, {{2, 0, 3, 1}}, {{1, 14, 0, 0}}},
  {"cumprod", 1, 3, {{0, 0, 3}}, {{1, 0, 0}}},
  {"cummax", 1, 4, {{1, 3, 3, 2}}, {{1, 3, 0, 0}}},
  {"cummin", 1, 4, {{3, 1, 1, 2}}, {{1, 3, 0, 0}}},
  {"cummax", 1, 3, {{1, NAN, 3}}, {{1, 2, 0}}},
  {"logsumexp", 1, 3, {{1, 1, -INFINITY}}, {{0.5, 0.5, 0}}},
};

static void check_kinks(void)
{
  for (size_t k = 0; k < sizeof kinks / sizeof *kinks; k++) {
    const struct kink *q = &kinks[k];
    chx_scope *s = chx_scope_begin(device);
    chx_array *x[3], *g[3] = {NULL}, *y = NULL;
    for (int i = 0; i < q->n; i++) chx_require_grad(s, x[i] = chx_from(s, CHX_F64, q->length, q->x[i]));
    chx_apply(s, chx_op_find(q->op), (const chx_array *const *)x, q->n, NULL, &y, 1);
    chx_grad(s, (const chx_array *const *)&y, 1, (const chx_array *const *)x, q->n, NULL, 0, 0, g);
    ok(!chx_scope_error(s), "%s at its kink: %s", q->op, chx_scope_message(s));
    for (int i = 0; i < q->n && !chx_scope_error(s); i++) {
      double e = rel_err(g[i], q->g[i]);
      ok(e <= 1e-15, "%s at its kink, gradient of operand %d: error %.1e <= 1e-15", q->op, i, e);
    }
    chx_scope_end(s);
  }
}

int main(void)
{
  static const char *const usual[] = {"native:0"};
  const char *devices[16];
  bool named;
  const int n = check_devices(usual, 1, devices, &named);
  for (int d = 0; d < n; d++) {
    device = devices[d];
    chx_scope *s = chx_scope_begin(device);
    const bool there = ok(!chx_scope_error(s), "on %s %s", device, chx_scope_message(s));
    chx_scope_end(s);
    if (!there) continue;
    check_seed(4);
    check_all();
    check_kinks();
  }
  return done_testing();
}
