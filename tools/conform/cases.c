/* SPDX-License-Identifier: MIT
 * cases.c: the table of calls that the kit makes of each operator, and their operands.
 *
 * An elementwise operator needs a row only where its domain is not all numbers. Another operator joins with [2,3]
 * operands and default attributes, and with a row for whatever these do not reach: block edges, empty axes, each
 * attribute.
 */
#include "cases.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- attributes ------------------------------------------------------------------------------------------------------ */

#define ATTR(name, A, ...)                                   \
  static void name(void *p, int dtype)                       \
  {                                                          \
    chx_##A##_attr *a = p;                                   \
    (void)dtype;                                             \
    *a = CHX_ATTR(A);                                        \
    __VA_ARGS__                                              \
  }
ATTR(to_f32, cast, a->dtype = CHX_F32;)
ATTR(to_f64, cast, a->dtype = CHX_F64;)
ATTR(to_f16, cast, a->dtype = CHX_F16;)
ATTR(to_bf16, cast, a->dtype = CHX_BF16;)
ATTR(to_i32, cast, a->dtype = CHX_I32;)
ATTR(to_i8, cast, a->dtype = CHX_I8;)
ATTR(to_u8, cast, a->dtype = CHX_U8;)
ATTR(to_i64, cast, a->dtype = CHX_I64;)
ATTR(to_u64, cast, a->dtype = CHX_U64;)
ATTR(to_bool, cast, a->dtype = CHX_BOOL;)
ATTR(full_2x3, full, a->shape = CHX_INTS(2, 3); a->dtype = dtype;)
ATTR(full_257, full, a->shape = CHX_INTS(257, 3); a->dtype = dtype;)
ATTR(full_0, full, a->shape = CHX_INTS(3, 0); a->dtype = dtype;)
ATTR(count_7, arange, a->n = 7; a->dtype = dtype;)
ATTR(count_257, arange, a->n = 100; a->start = 3; a->dtype = dtype;)
ATTR(count_0, arange, a->n = 0; a->dtype = dtype;)
ATTR(axis_0, reduce, a->axes = CHX_INTS(0);)
ATTR(axis_1, reduce, a->axes = CHX_INTS(1);)
ATTR(axes_m1_0, reduce, a->axes = CHX_INTS(-1, 0); a->keepdims = 1;)
ATTR(kind_sum, reduce, a->kind = CHX_REDUCE_SUM; a->axes = CHX_INTS(1);)
ATTR(kind_mean, reduce, a->kind = CHX_REDUCE_MEAN;)
ATTR(kind_max, reduce, a->kind = CHX_REDUCE_MAX; a->axes = CHX_INTS(0);)
ATTR(arg_0, arg_reduce, a->axes = CHX_INTS(0);)
ATTR(arg_m1, arg_reduce, a->axes = CHX_INTS(-1); a->keepdims = 1;)
ATTR(scan_0, scan, a->axes = CHX_INTS(0);)
ATTR(scan_1, scan, a->axes = CHX_INTS(1);)
ATTR(scan_back, scan, a->axes = CHX_INTS(-1); a->reverse = 1;)
ATTR(scan_before, scan, a->axes = CHX_INTS(1); a->exclusive = 1;)
ATTR(scan_sum, scan, a->kind = CHX_SCAN_SUM; a->axes = CHX_INTS(1);)
ATTR(scan_min, scan, a->kind = CHX_SCAN_MIN; a->axes = CHX_INTS(0);)
ATTR(sort_0, sort, a->axis = 0;)
ATTR(sort_down, sort, a->descending = 1;)
ATTR(top_3, topk, a->k = 3;)
ATTR(least_5, topk, a->k = 5; a->axis = 0; a->largest = 0;)
ATTR(to_3x2, reshape, a->shape = CHX_INTS(3, -1);)
ATTR(axes_201, transpose, a->axes = CHX_INTS(2, 0, 1);)
ATTR(to_4x2x3, broadcast_to, a->shape = CHX_INTS(4, 2, 3);)
ATTR(slice_steps, slice, a->start = CHX_INTS(1, -1, CHX_SLICE_NONE); a->stop = CHX_INTS(-1, CHX_SLICE_NONE, CHX_SLICE_NONE);
     a->step = CHX_INTS(2, -2, 3);)
ATTR(slice_drop, slice, a->start = CHX_INTS(1, 0); a->stop = CHX_INTS(2, 2); a->drop = 1;)
ATTR(slice_of_5x4, slice, a->start = CHX_INTS(1, -1); a->stop = CHX_INTS(5, CHX_SLICE_NONE); a->step = CHX_INTS(2, -2);
     a->shape = CHX_INTS(5, 4);)
ATTR(flip_1, axes, a->axes = CHX_INTS(1);)
ATTR(along_1, axis, a->axis = 1;)
ATTR(along_m1, axis, a->axis = -1;)
ATTR(pad_1_2, pad, a->before = CHX_INTS(1, 0); a->after = CHX_INTS(0, 2); a->value = 3;)
ATTR(pad_more, pad, a->before = CHX_INTS(0, 3, 1); a->after = CHX_INTS(2, 1, 0);)
ATTR(conv_shapes, conv, a->stride = CHX_INTS(2, 1); a->pad = CHX_INTS(1, 2); a->dilation = CHX_INTS(1, 2);)
ATTR(conv_same, conv, a->pad = CHX_INTS(1, 1);)
ATTR(conv_groups, conv, a->groups = 2; a->pad = CHX_INTS(1);)
ATTR(conv_last, conv, a->layout = CHX_CHANNELS_LAST; a->stride = CHX_INTS(2); a->pad = CHX_INTS(1);)
ATTR(conv_gx, conv, a->stride = CHX_INTS(2); a->pad = CHX_INTS(1); a->shape = CHX_INTS(2, 2, 5);)
ATTR(conv_gx_2d, conv, a->pad = CHX_INTS(1, 1); a->shape = CHX_INTS(2, 3, 9, 8);)
ATTR(conv_gx_last, conv, a->stride = CHX_INTS(2); a->pad = CHX_INTS(1); a->shape = CHX_INTS(2, 5, 4); a->groups = 2;
     a->layout = CHX_CHANNELS_LAST;)
ATTR(conv_gw, conv, a->stride = CHX_INTS(2); a->pad = CHX_INTS(1); a->shape = CHX_INTS(3, 2, 3);)
ATTR(conv_gw_2d, conv, a->pad = CHX_INTS(1, 1); a->shape = CHX_INTS(5, 3, 3, 3);)
ATTR(conv_gw_last, conv, a->stride = CHX_INTS(2); a->pad = CHX_INTS(1); a->shape = CHX_INTS(4, 3, 2); a->groups = 2;
     a->layout = CHX_CHANNELS_LAST;)
ATTR(pool_2, pool, a->ksize = CHX_INTS(2, 3); a->stride = CHX_INTS(1, 2); a->pad = CHX_INTS(1, 1);)
ATTR(pool_all, pool, a->ksize = CHX_INTS(2); a->cover_all = 1; a->layout = CHX_CHANNELS_LAST;)
ATTR(pool_inside, pool, a->ksize = CHX_INTS(3); a->stride = CHX_INTS(2); a->pad = CHX_INTS(1); a->exclude_pad = 1;)
ATTR(pool_shape, pool, a->ksize = CHX_INTS(3); a->stride = CHX_INTS(2); a->pad = CHX_INTS(1); a->exclude_pad = 1;
     a->shape = CHX_INTS(1, 2, 5);)
ATTR(softmax_0, softmax, a->axis = 0;)
ATTR(slope, leaky_relu, a->slope = 0.375;)
ATTR(gelu_tanh, gelu, a->approximate = 1;)
ATTR(dropped, dropout, a->ratio = 0.5; a->seed = 7;)
ATTR(norm_last, batch_norm, a->layout = CHX_CHANNELS_LAST;)
ATTR(ignore_2, softmax_cross_entropy, a->ignore_label = 2;)
ATTR(by_batch, softmax_cross_entropy, a->normalize = 0; a->ignore_label = 0;)
ATTR(random_7, random, a->shape = CHX_INTS(7); a->dtype = dtype; a->seed = 5; a->counter = 2; a->high = 3;)
ATTR(random_1031, random, a->shape = CHX_INTS(1031); a->dtype = dtype; a->seed = 77; a->high = 9;)
ATTR(random_2x129, random, a->shape = CHX_INTS(2, 129); a->dtype = dtype; a->seed = -3; a->counter = 1000; a->low = -1;
     a->high = 2;)
ATTR(chance_7, random, a->shape = CHX_INTS(7); a->dtype = dtype; a->seed = 5; a->low = 0.25;)
ATTR(chance_1031, random, a->shape = CHX_INTS(1031); a->dtype = dtype; a->seed = 77; a->low = 0.5;)
static void program(void *p, int dtype) /* where(x < y, x, x * y + y) */
{
  static const chx_map_step step[] = {
    {"less", 0, 1, 0, 0}, {"mul", 0, 1, 0, 0}, {"add", 3, 1, 0, 0}, {"where", 2, 0, 4, 0}};
  chx_map_attr *a = p;
  (void)dtype;
  *a = CHX_ATTR(map);
  a->program.n = sizeof step / sizeof *step;
  memcpy(a->program.step, step, sizeof step);
}
static void one_neg(void *p, int dtype)
{
  chx_map_attr *a = p;
  (void)dtype;
  *a = CHX_ATTR(map);
  a->program.n = 1;
  strcpy(a->program.step[0].op, "neg");
}

/* ---- rows ---------------------------------------------------------------------------------------------------------------- */

#define F(low, high, ...) {sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), {__VA_ARGS__}, low, high, 0}
#define I(low, high, ...) {sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), {__VA_ARGS__}, low, high, 'I'}
#define A(...) F(0, 0, __VA_ARGS__)
#define P(...) F(0.5, 2, __VA_ARGS__)
#define SCALAR {.ndim = 0}
#define ABSENT {.ndim = -1}
static const case_row rows[] = {
  {"sqrt", "", NULL, 1, {P(2, 3)}},
  {"rsqrt", "", NULL, 1, {P(2, 3)}},
  {"log", "", NULL, 1, {P(2, 3)}},
  {"log2", "", NULL, 1, {P(2, 3)}},
  {"log10", "", NULL, 1, {P(2, 3)}},
  {"log1p", "", NULL, 1, {F(-0.5, 2, 2, 3)}},
  {"reciprocal", "", NULL, 1, {P(2, 3)}},
  {"tan", "", NULL, 1, {F(-1, 1, 2, 3)}},
  {"asin", "", NULL, 1, {F(-0.8, 0.8, 2, 3)}},
  {"acos", "", NULL, 1, {F(-0.8, 0.8, 2, 3)}},
  {"acosh", "", NULL, 1, {F(1.5, 3, 2, 3)}},
  {"atanh", "", NULL, 1, {F(-0.8, 0.8, 2, 3)}},
  {"div", "", NULL, 2, {A(2, 3), P(3)}},
  {"remainder", "", NULL, 2, {F(2.2, 2.8, 2, 3), F(0.95, 1.05, 3)}},
  {"fmod", "", NULL, 2, {F(-2.8, -2.2, 2, 3), F(0.95, 1.05, 3)}},
  {"floor_divide", "", NULL, 2, {F(2.2, 2.8, 2, 3), F(0.95, 1.05, 3)}},
  {"pow", "", NULL, 2, {P(2, 3), A(2, 1)}},
  {"clip", "", NULL, 3, {A(2, 3), F(-1, -0.5, 3), F(0.5, 1, 2, 1)}},
  {"where", "", NULL, 3, {{2, {2, 3}, 0, 0, 'B'}, A(2, 3), A(3)}},
  {"copy", "", NULL, 1, {A(2, 3)}},
  {"copy", "larger", NULL, 1, {A(5, 257)}},
  {"copy", "rank 4", NULL, 1, {A(2, 3, 4, 5)}},
  {"copy", "empty", NULL, 1, {A(2, 0, 3)}},
  {"copy", "0-d", NULL, 1, {SCALAR}},
  {"cast", "to f32", to_f32, 1, {A(2, 3)}},
  {"cast", "few to f64", to_f64, 1, {A(2, 3)}},
  {"cast", "to f64", to_f64, 1, {F(-100, 100, 257)}},
  {"cast", "to f16", to_f16, 1, {F(-100, 100, 13, 17)}},
  {"cast", "to bf16", to_bf16, 1, {F(-100, 100, 13, 17)}},
  {"cast", "to i32", to_i32, 1, {F(-100, 100, 255)}},
  {"cast", "to i64", to_i64, 1, {F(-100, 100, 256)}},
  {"cast", "to u64", to_u64, 1, {F(0, 100, 17)}},
  {"cast", "to i8", to_i8, 1, {F(-100, 100, 13, 17)}},
  {"cast", "to u8", to_u8, 1, {F(0, 100, 13, 17)}},
  {"cast", "to bool", to_bool, 1, {F(-2, 2, 13, 17)}},
  {"cast", "small to f16", to_f16, 1, {F(-1e-6, 1e-6, 1031)}},
  {"cast", "large to f16", to_f16, 1, {F(-70000, 70000, 1031)}},
  {"cast", "ties to f16", to_f16, 1, {F(-4000, 4000, 1031)}},
  {"cast", "ties to bf16", to_bf16, 1, {F(-1000, 1000, 1031)}},
  {"cast", "empty", to_f32, 1, {A(0, 3)}},
  {"map", "where(x < y, x, x * y + y)", program, 2, {A(2, 3), A(3)}},
  {"map", "neg", one_neg, 1, {A(257, 3)}},
  {"map", "larger", program, 2, {A(13, 1, 17), A(5, 1)}},
  {"full", "", full_2x3, 1, {SCALAR}},
  {"full", "257 rows", full_257, 1, {SCALAR}},
  {"full", "empty", full_0, 1, {SCALAR}},
  {"arange", "", count_7, 0, {SCALAR}},
  {"arange", "from 3", count_257, 0, {SCALAR}},
  {"arange", "empty", count_0, 0, {SCALAR}},
#define REDUCTION(name)                            \
  {name, "axis 0", axis_0, 1, {A(3, 2)}},          \
  {name, "axis 1 of 255", axis_1, 1, {A(3, 255)}}, \
  {name, "axis 1 of 256", axis_1, 1, {A(2, 256)}}, \
  {name, "axis 0 of 257", axis_0, 1, {A(257, 3)}}, \
  {name, "axes -1, 0", axes_m1_0, 1, {A(5, 3, 7)}}, \
  {name, "axis 1 of rank 3", axis_1, 1, {A(3, 17, 5)}}, \
  {name, "all", NULL, 1, {A(13, 17)}},             \
  {name, "empty", axis_1, 1, {A(0, 3)}},           \
  {name, "of an empty axis", axis_1, 1, {A(3, 0)}}, \
  {name, "0-d", NULL, 1, {SCALAR}}
  REDUCTION("sum"), REDUCTION("mean"), REDUCTION("amax"), REDUCTION("amin"), REDUCTION("all"), REDUCTION("any"),
  REDUCTION("logsumexp"),
  {"sum", "70001", NULL, 1, {A(70001)}},
  {"mean", "70001", NULL, 1, {A(70001)}},
  {"amax", "70001", NULL, 1, {A(70001)}},
  {"prod", "axis 0", axis_0, 1, {A(3, 2)}},
  {"prod", "all", NULL, 1, {A(2, 3)}},
  {"prod", "axes -1, 0", axes_m1_0, 1, {F(0.9, 1.1, 2, 3, 2)}},
  {"prod", "257", NULL, 1, {F(0.95, 1.05, 257)}},
  {"prod", "of an empty axis", axis_1, 1, {A(3, 0)}},
  {"reduce", "sum", kind_sum, 1, {A(2, 3)}},
  {"reduce", "mean", kind_mean, 1, {A(5, 51)}},
  {"reduce", "max", kind_max, 1, {A(17, 3)}},
#define ARG(name)                                  \
  {name, "axis 0", arg_0, 1, {A(3, 2)}},           \
  {name, "axis -1 of 257", arg_m1, 1, {A(3, 257)}}, \
  {name, "flattened", NULL, 1, {A(13, 17)}},       \
  {name, "one", NULL, 1, {A(1, 1)}}
  ARG("argmax"), ARG("argmin"),
#define SCAN(name)                                 \
  {name, "axis 0", scan_0, 1, {A(3, 2)}},          \
  {name, "flattened", NULL, 1, {A(5, 13)}},        \
  {name, "axis -1, from its end", scan_back, 1, {A(3, 33)}}, \
  {name, "axis 1 of 255", scan_1, 1, {A(3, 255)}}, \
  {name, "axis 0 of 257", scan_0, 1, {A(257, 3)}}, \
  {name, "empty", scan_1, 1, {A(2, 0)}}
  SCAN("cumsum"), SCAN("cummax"), SCAN("cummin"),
  {"cumsum", "without itself", scan_before, 1, {A(3, 7)}},
  {"cumsum", "1031", NULL, 1, {A(1031)}},
  {"cumprod", "axis 0", scan_0, 1, {A(3, 2)}},
  {"cumprod", "axis -1, from its end", scan_back, 1, {F(0.9, 1.1, 3, 33)}},
  {"cumprod", "without itself", scan_before, 1, {F(0.9, 1.1, 3, 7)}},
  {"cumprod", "257", scan_1, 1, {F(0.97, 1.03, 2, 257)}},
  {"scan", "sum", scan_sum, 1, {A(2, 3)}},
  {"scan", "min", scan_min, 1, {A(17, 3)}},
#define SORT(name)                                 \
  {name, "", NULL, 1, {A(2, 3)}},                  \
  {name, "axis 0", sort_0, 1, {A(33, 3)}},         \
  {name, "descending", sort_down, 1, {A(3, 17)}},  \
  {name, "255", NULL, 1, {A(2, 255)}},             \
  {name, "256", NULL, 1, {A(2, 256)}},             \
  {name, "257", sort_down, 1, {A(2, 257)}},        \
  {name, "1031", NULL, 1, {A(1031)}},              \
  {name, "empty", NULL, 1, {A(3, 0)}}
  SORT("sort"), SORT("argsort"),
  {"topk", "1 of 3", NULL, 1, {A(2, 3)}},
  {"topk", "3 of 17", top_3, 1, {A(5, 17)}},
  {"topk", "the least 5, axis 0", least_5, 1, {A(257, 2)}},
  {"reshape", "", to_3x2, 1, {A(2, 3)}},
  {"transpose", "", axes_201, 1, {A(2, 3, 2)}},
  {"broadcast_to", "", to_4x2x3, 1, {A(2, 1)}},
  {"squeeze", "", NULL, 1, {A(2, 1, 3, 1)}},
  {"slice", "steps", slice_steps, 1, {A(5, 4, 4)}},
  {"slice", "dropped axis", slice_drop, 1, {A(3, 3)}},
  {"slice_grad", "", slice_of_5x4, 1, {A(2, 2)}},
  {"flip", "axis 1", flip_1, 1, {A(2, 3)}},
  {"concatenate", "axis 1", along_1, 3, {A(2, 1), A(2, 3), A(2, 2)}},
  {"concatenate", "with an empty one", along_1, 3, {A(3, 7), A(3, 0), A(3, 129)}},
  {"stack", "axis -1", along_m1, 2, {A(2, 3), A(2, 3)}},
  {"stack", "larger", along_1, 3, {A(17, 5), A(17, 5), A(17, 5)}},
  {"pad", "", pad_1_2, 1, {A(2, 3)}},
  {"pad", "rank 3", pad_more, 1, {A(3, 5, 7)}},
  {"take", "axis 1", along_1, 2, {A(2, 3, 2), I(-3, 2, 2, 2)}},
  {"take", "rows", NULL, 2, {A(31, 17), I(0, 30, 129)}},
  {"take", "no index", NULL, 2, {A(5, 3), I(0, 1, 0)}},
  {"take_along_axis", "axis 1", along_1, 2, {A(2, 3), I(-3, 2, 2, 4)}},
  {"take_along_axis", "axis 0", NULL, 2, {A(7, 33), I(0, 6, 5, 33)}},
  {"scatter_add", "axis 1", along_1, 3, {A(2, 3), I(-3, 2, 4), A(2, 4)}},
  {"scatter_add", "many on few", NULL, 3, {A(3, 17), I(0, 2, 101), A(101, 17)}},
  {"scatter_add_along_axis", "axis 1", along_1, 3, {A(2, 3), I(-3, 2, 2, 4), A(2, 4)}},
  {"scatter_add_along_axis", "axis 0", NULL, 3, {A(3, 33), I(0, 2, 65, 33), A(65, 33)}},
  {"matmul", "2-d", NULL, 2, {A(2, 3), A(3, 4)}},
  {"matmul", "1-d, 1-d", NULL, 2, {A(3), A(3)}},
  {"matmul", "1-d, batch", NULL, 2, {A(3), A(2, 3, 4)}},
  {"matmul", "batch, 1-d", NULL, 2, {A(2, 4, 3), A(3)}},
  {"matmul", "batch, 2-d", NULL, 2, {A(2, 2, 3), A(3, 2)}},
  {"matmul", "batches", NULL, 2, {A(2, 1, 2, 3), A(3, 3, 2)}},
  {"matmul", "square", NULL, 2, {A(17, 17), A(17, 17)}},
  {"matmul", "primes", NULL, 2, {A(17, 31), A(31, 13)}},
  {"matmul", "block edges", NULL, 2, {A(65, 257), A(257, 63)}},
  {"matmul", "128s", NULL, 2, {A(128, 64), A(64, 128)}},
  {"matmul", "one column", NULL, 2, {A(129, 33), A(33, 1)}},
  {"matmul", "no rows", NULL, 2, {A(0, 3), A(3, 4)}},
  {"matmul", "an empty sum", NULL, 2, {A(2, 0), A(0, 4)}},
  {"linear", "", NULL, 3, {A(2, 3), A(4, 3), A(4)}},
  {"linear", "without b", NULL, 3, {A(2, 3), A(4, 3), ABSENT}},
  {"linear", "rank 3", NULL, 3, {A(2, 2, 3), A(4, 3), A(4)}},
  {"linear", "rank 1", NULL, 3, {A(3), A(4, 3), A(4)}},
  {"linear", "block edges", NULL, 3, {A(33, 129), A(65, 129), A(65)}},
  {"linear", "no rows", NULL, 3, {A(0, 3), A(4, 3), A(4)}},
  {"conv", "2-d", conv_same, 3, {A(2, 3, 9, 8), A(5, 3, 3, 3), A(5)}},
  {"conv", "1-d", NULL, 3, {A(2, 2, 5), A(3, 2, 3), A(3)}},
  {"conv", "2-d, strides", conv_shapes, 3, {A(1, 2, 4, 5), A(2, 2, 2, 3), ABSENT}},
  {"conv", "groups", conv_groups, 3, {A(1, 4, 4), A(2, 2, 3), A(2)}},
  {"conv", "channels last", conv_last, 3, {A(1, 4, 4, 2), A(2, 3, 3, 2), A(2)}},
  {"conv", "3-d", NULL, 3, {A(1, 1, 3, 3, 3), A(1, 1, 2, 2, 2), A(1)}},
  {"conv", "more channels", conv_same, 3, {A(2, 17, 7, 7), A(33, 17, 3, 3), A(33)}},
  {"conv_grad_input", "", conv_gx, 2, {A(2, 3, 3), A(3, 2, 3)}},
  {"conv_grad_input", "2-d", conv_gx_2d, 2, {A(2, 5, 9, 8), A(5, 3, 3, 3)}},
  {"conv_grad_input", "channels last, groups", conv_gx_last, 2, {A(2, 3, 4), A(4, 3, 2)}},
  {"conv_grad_weight", "", conv_gw, 2, {A(2, 2, 5), A(2, 3, 3)}},
  {"conv_grad_weight", "2-d", conv_gw_2d, 2, {A(2, 3, 9, 8), A(2, 5, 9, 8)}},
  {"conv_grad_weight", "channels last, groups", conv_gw_last, 2, {A(2, 5, 4), A(2, 3, 4)}},
  {"max_pool", "", pool_2, 1, {A(1, 2, 3, 5)}},
  {"max_pool", "channels last", pool_all, 1, {A(2, 5, 2)}},
  {"max_pool", "larger", pool_2, 1, {A(3, 5, 17, 19)}},
  {"avg_pool", "", pool_2, 1, {A(1, 2, 3, 5)}},
  {"avg_pool", "channels last", pool_all, 1, {A(2, 5, 2)}},
  {"avg_pool", "padding excluded", pool_inside, 1, {A(1, 2, 5)}},
  {"avg_pool", "larger", pool_2, 1, {A(3, 5, 17, 19)}},
  {"avg_pool_grad", "", pool_shape, 1, {A(1, 2, 3)}},
#define SOFTMAX(name)                              \
  {name, "axis 0", softmax_0, 1, {A(3, 2)}},       \
  {name, "257", NULL, 1, {F(-9, 9, 5, 257)}},      \
  {name, "255, axis 0", softmax_0, 1, {F(-9, 9, 255, 3)}}, \
  {name, "one", NULL, 1, {A(4, 1)}},               \
  {name, "empty", NULL, 1, {A(0, 3)}}
  SOFTMAX("softmax"), SOFTMAX("log_softmax"),
  {"leaky_relu", "", slope, 1, {A(2, 3)}},
  {"leaky_relu", "257", slope, 1, {A(3, 257)}},
  {"gelu", "erf", NULL, 1, {A(2, 3)}},
  {"gelu", "tanh", gelu_tanh, 1, {A(2, 3)}},
  {"gelu", "257", NULL, 1, {A(3, 257)}},
  {"dropout", "", dropped, 1, {A(3, 4)}},
  {"dropout", "1031", dropped, 1, {A(1031)}},
  {"softmax_cross_entropy", "", NULL, 2, {A(3, 4), I(0, 3, 3)}},
  {"softmax_cross_entropy", "rank 3", ignore_2, 2, {A(2, 3, 2), I(0, 2, 2, 2)}},
  {"softmax_cross_entropy", "by batch", by_batch, 2, {A(3, 4), I(0, 3, 3)}},
  {"softmax_cross_entropy", "larger", NULL, 2, {A(33, 129), I(0, 128, 33)}},
  {"mean_squared_error", "", NULL, 2, {A(2, 3), A(2, 3)}},
  {"mean_squared_error", "larger", NULL, 2, {A(13, 17), A(13, 17)}},
  {"batch_norm", "", NULL, 3, {A(4, 2), A(2), A(2)}},
  {"batch_norm", "channels last", norm_last, 3, {A(2, 3, 2), A(2), A(2)}},
  {"batch_norm", "larger", NULL, 3, {A(5, 7, 17), A(7), A(7)}},
  {"fixed_batch_norm", "", NULL, 5, {A(3, 2), A(2), A(2), A(2), P(2)}},
  {"fixed_batch_norm", "larger", NULL, 5, {A(5, 7, 17), A(7), A(7), A(7), P(7)}},
  {"layer_norm", "", NULL, 3, {A(2, 4), A(4), A(4)}},
  {"layer_norm", "2 axes", NULL, 3, {A(2, 2, 3), A(2, 3), A(2, 3)}},
  {"layer_norm", "257", NULL, 3, {A(5, 257), A(257), A(257)}},
#define RANDOM(name, small, large)                 \
  {name, "7", small, 0, {SCALAR}},                 \
  {name, "1031", large, 0, {SCALAR}}
  RANDOM("random_bits", random_7, random_1031), RANDOM("uniform", random_7, random_1031),
  RANDOM("normal", random_7, random_1031), RANDOM("bernoulli", chance_7, chance_1031),
  RANDOM("integers", random_7, random_1031),
  {"uniform", "2 x 129", random_2x129, 0, {SCALAR}},
  {"normal", "2 x 129", random_2x129, 0, {SCALAR}},
};
static void plain_row(const chx_op *op, case_row *r)
{
  static const case_operand wide = A(2, 3), broadcast = A(3), index = I(0, 1, 2, 3);
  *r = (case_row){.op = chx_op_name(op), .what = "", .n = chx_op_n_inputs(op)};
  for (int i = 0; i < r->n && i < CASES_IN; i++) {
    const char *name = chx_op_input_name(op, i);
    r->x[i] = i && chx_op_is_elementwise(op) ? broadcast : wide;
    if (!strcmp(name, "indices") || !strcmp(name, "t")) r->x[i] = index;
  }
  if (r->n && chx_op_input_flags(op, r->n - 1) & CHX_OPERAND_VARIADIC) r->x[r->n++] = wide;
}

bool case_row_at(const chx_op *op, int i, case_row *row)
{
  bool any = false;
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
    if (strcmp(rows[k].op, chx_op_name(op))) continue;
    any = true;
    if (i-- == 0) return *row = rows[k], true;
  }
  if (any || i || chx_op_n_inputs(op) >= CASES_IN) return false;
  plain_row(op, row);
  return true;
}

void *case_attr(const case_row *row, int dtype, void *room)
{
  if (!row->attr) return NULL;
  row->attr(room, dtype);
  return room;
}

static double elements(const case_operand *x)
{
  double n = 1;
  for (int i = 0; i < x->ndim; i++) n *= (double)x->shape[i];
  return n;
}

double case_terms(const case_row *row)
{
  const case_operand *x = row->x;
  if (!row->n) return 1;
  if (!strcmp(row->op, "matmul") || !strcmp(row->op, "linear")) return x[0].ndim ? (double)x[0].shape[x[0].ndim - 1] : 1;
  if (!strcmp(row->op, "conv") || !strcmp(row->op, "conv_grad_input"))
    return elements(&x[1]) / (double)(x[1].shape[0] ? x[1].shape[0] : 1) * (row->op[4] ? (double)x[1].shape[0] : 1);
  if (!strcmp(row->op, "scatter_add")) return elements(&x[1]);
  if (!strcmp(row->op, "scatter_add_along_axis"))
    return (double)(x[1].shape[0] > x[1].shape[1] ? x[1].shape[0] : x[1].shape[1]);
  return elements(&x[0]); /* at most */
}

void case_describe(const case_row *row, int dtype, const char *layout, char *text, size_t size)
{
  size_t at = 0;
#define SAY(...) at += at < size ? (size_t)snprintf(text + at, size - at, __VA_ARGS__) : 0
  SAY("%s%s%s, %s, %s, operands", row->op, *row->what ? " " : "", row->what, chx_dtype_name(dtype), layout);
  for (int i = 0; i < row->n; i++) {
    if (row->x[i].ndim < 0) {
      SAY(" -");
      continue;
    }
    SAY(" [");
    for (int k = 0; k < row->x[i].ndim; k++) SAY("%s%lld", k ? "," : "", (long long)row->x[i].shape[k]);
    SAY("]");
  }
#undef SAY
}

/* ---- operands -------------------------------------------------------------------------------------------------------------- */

const char *const layout_names[LAYOUTS] = {"dense", "transposed", "reversed", "every other element", "at an offset",
                                           "broadcast along axis 0"};

uint64_t case_bits(case_random *r) /* splitmix64 */
{
  uint64_t z = r->state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

double case_uniform(case_random *r, double low, double high)
{
  return low + (high - low) * ((double)(case_bits(r) >> 11) * 0x1p-53);
}

uint64_t case_key(uint64_t seed, const char *text)
{
  uint64_t h = seed ^ 0xcbf29ce484222325u;
  while (*text) h = (h ^ (unsigned char)*text++) * 0x100000001b3u;
  return h;
}

/* A floating dtype's value of given bits; denormals, which a device may flush, are 0 but in f16. */
static double of_bits(int dtype, uint64_t bits)
{
  if (dtype == CHX_F16) {
    int e = (int)(bits >> 10 & 31);
    double m = (double)(bits & 1023), v = e == 31 ? (m > 0 ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return bits >> 15 & 1 ? -v : v;
  }
  double v;
  uint32_t word = dtype == CHX_BF16 ? (uint32_t)bits << 16 : (uint32_t)bits;
  float single;
  memcpy(&v, &bits, sizeof v);
  memcpy(&single, &word, sizeof single);
  if (dtype != CHX_F64) v = (double)single;
  return isfinite(v) && fabs(v) < (dtype == CHX_F64 ? DBL_MIN : (double)FLT_MIN) ? copysign(0, v) : v;
}

/* An integer of any magnitude that a double holds. */
static double any_integer(int dtype, uint64_t bits)
{
  int width = 8 * chx_dtype_size(dtype);
  bits >>= 64 - width;
  if (CHX_UNSIGNED_INTS & CHX_BIT(dtype)) return width == 64 ? (double)(bits >> 12) : (double)bits;
  return width == 64 ? (double)((int64_t)bits >> 12) : (double)((int64_t)(bits << (64 - width)) >> (64 - width));
}

static double value(case_random *r, const case_operand *x, int dtype, int values, int64_t k)
{
  static const double special[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1, -1, 0x1p-14, 2.5};
  bool is_float = CHX_FLOATS & CHX_BIT(dtype), unsigned_int = CHX_UNSIGNED_INTS & CHX_BIT(dtype);
  double low = x->low, high = x->high;
  if (dtype == CHX_BOOL) return (double)(case_bits(r) >> 63);
  if (x->kind == 'I') return floor(case_uniform(r, low, high + 1));
  if (low == 0 && high == 0) low = -2, high = 2;
  if (values == VALUES_BITS)
    return !is_float ? any_integer(dtype, case_bits(r))
                     : of_bits(dtype, dtype == CHX_F16 || dtype == CHX_BF16 ? (uint64_t)k & 0xffff : case_bits(r));
  if (!is_float) {
    if (values == VALUES_WIDE) low = -100, high = 100;
    return floor(unsigned_int ? case_uniform(r, low < 0 ? 0 : low, high + 1) : case_uniform(r, low, high + 1));
  }
  if (values == VALUES_SPECIAL) return special[k % (int64_t)(sizeof special / sizeof *special)];
  if (values == VALUES_WIDE && case_bits(r) % 8 == 0)
    return ldexp(case_uniform(r, -1, 1), (int)(case_bits(r) % 21) - 10);
  double v;
  do v = case_uniform(r, low, high);
  while (fabs(v) < 0.1 && high - low > 0.5);
  return v;
}

/* The shape in which a layout stores x. */
static int stored_shape(const case_operand *x, int layout, int64_t *shape)
{
  int n = x->ndim;
  for (int i = 0; i < n; i++) shape[i] = layout == LAYOUT_TRANSPOSED ? x->shape[n - 1 - i] : x->shape[i];
  if (layout == LAYOUT_OFFSET && !n) return shape[0] = 3, 1;
  if (layout == LAYOUT_STEPPED && n) shape[n - 1] = shape[n - 1] * 2 + 1;
  if (layout == LAYOUT_OFFSET) shape[0] += 2;
  if (layout == LAYOUT_BROADCAST && n) shape[0] = shape[0] ? 1 : 0;
  return n;
}

chx_array *case_stored(chx_scope *s, case_random *r, const case_operand *x, int dtype, int layout, int values)
{
  int64_t shape[CASES_RANK + 1], size = 1;
  int n = stored_shape(x, layout, shape);
  if (x->kind) dtype = x->kind == 'I' ? CHX_I64 : CHX_BOOL;
  for (int i = 0; i < n; i++) size *= shape[i];
  double *v = malloc(((size_t)size + 1) * sizeof *v);
  if (!v) return chx_scope_fail(s, CHX_ENOMEM, "no memory for operands"), NULL;
  for (int64_t k = 0; k < size; k++) v[k] = value(r, x, dtype, values, k);
  chx_array *a = chx_cast(s, chx_from_host(s, CHX_F64, n, shape, v), dtype);
  free(v);
  return a;
}

chx_array *case_view(chx_scope *s, chx_array *stored, const case_operand *x, int layout)
{
  int n = x->ndim;
  if (!n) return layout == LAYOUT_OFFSET ? chx_at(s, stored, 0, 1) : stored;
  switch (layout) {
  case LAYOUT_TRANSPOSED: return chx_transpose(s, stored, 0, NULL);
  case LAYOUT_REVERSED: return chx_flip(s, stored, 0, NULL);
  case LAYOUT_STEPPED: return chx_slice_axis(s, stored, n - 1, 1, 1 + 2 * x->shape[n - 1], 2);
  case LAYOUT_OFFSET: return chx_slice_axis(s, stored, 0, 1, 1 + x->shape[0], 1);
  case LAYOUT_BROADCAST: return chx_broadcast_to(s, stored, n, x->shape);
  default: return stored;
  }
}
