/* SPDX-License-Identifier: MIT
 * attr.h: the attributes of every operator, as plain structs shared by users and plugins.
 *
 * Each operator's attributes are one list of fields, from which the struct, its defaults and the operator's schema
 * (chx/op.h) are made. A field is
 *
 *   F(type, name, default, doc)      type: I64, F64, BOOL (an int64_t, 0 or 1), DTYPE (an int64_t, CHX_F32, ...),
 *                                    INTS (chx_ints: a count and up to 16 values; a count of 0 is "not given"),
 *                                    PROGRAM (chx_program)
 *
 * Every struct starts with `size`, the writer's sizeof; then `kind`, which the core sets and users leave 0. There are
 * no pointers and no implicit padding. A NULL attribute means all defaults. Start from the defaults and change what
 * differs:
 *
 *   chx_conv_attr p = CHX_ATTR(conv);
 *   p.stride = CHX_INTS(2, 2);
 *
 * Fields are only ever appended, and an appended field's default is 0, which no check changes, so that a struct from an
 * older header means what it meant, and a kernel that was compiled with one is sent what it knows.
 */
#ifndef CHX_ATTR_H
#define CHX_ATTR_H
#include <stdint.h>

#ifndef CHX_MAX_RANK
#define CHX_MAX_RANK 16
#endif
#define CHX_MAP_STEPS 32

/* The types of fields, in schemas. */
enum { CHX_ATTR_I64 = 1, CHX_ATTR_F64, CHX_ATTR_BOOL, CHX_ATTR_DTYPE, CHX_ATTR_INTS, CHX_ATTR_PROGRAM };

/* Axes, shapes, strides: n values, the rest unused. */
typedef struct chx_ints {
  int64_t n, v[CHX_MAX_RANK];
} chx_ints;

/* One instruction of a map program: an operator of elementwise.def by name, and what it reads: values 0 .. n_in - 1
 * are the operands, n_in + k is the result of step k. */
typedef struct chx_map_step {
  char op[20];
  uint8_t x, y, z, reserved;
} chx_map_step;

/* The result is the last step's. */
typedef struct chx_program {
  int64_t n;
  chx_map_step step[CHX_MAP_STEPS];
} chx_program;

/* CHX_INTS(2, 2): the chx_ints of those values (at least one). */
#ifdef __cplusplus
template <typename... V> static inline chx_ints chx_ints_of(V... v)
{
  chx_ints r = {(int64_t)sizeof...(v), {(int64_t)v...}};
  return r;
}
#define CHX_INTS(...) chx_ints_of(__VA_ARGS__)
#else
#define CHX_INTS(...) \
  ((chx_ints){(int64_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}})
#endif

/* No bound given, in slice's start and stop. */
#define CHX_SLICE_NONE INT64_MIN

/* How conv, pooling and batch_norm read the axes of x. */
enum { CHX_CHANNELS_FIRST = 0 /* [N, C, ...] */, CHX_CHANNELS_LAST = 1 /* [N, ..., C] */ };

/* What reduce computes; `kind` of its attribute. */
enum { CHX_REDUCE_SUM = 1, CHX_REDUCE_PROD, CHX_REDUCE_MAX, CHX_REDUCE_MIN, CHX_REDUCE_ALL, CHX_REDUCE_ANY,
       CHX_REDUCE_MEAN };

/* What scan computes; `kind` of its attribute. */
enum { CHX_SCAN_SUM = 1, CHX_SCAN_PROD, CHX_SCAN_MAX, CHX_SCAN_MIN };

/* Whose numbers random_bits gives, `generator` of its attribute. Every device has Philox 4x32-10, with the same bits.
 * The others are where a device's library has them, and in that library's order: word i of a call is number
 * 4 counter + i of the sequence of its seed. A device without the generator refuses (CHX_EUNSUPPORTED); none gives
 * another's numbers. */
enum { CHX_GENERATOR_PHILOX = 0, CHX_GENERATOR_XORWOW = 1, CHX_GENERATOR_MRG32K3A = 2, CHX_GENERATORS = 3 };
#define CHX_GENERATOR_NAMES {"philox", "xorwow", "mrg32k3a"}

#define CHX_ATTRS_cast(F) \
  F(DTYPE, dtype, 0, "the result's dtype; required")
#define CHX_ATTRS_map(F) \
  F(PROGRAM, program, 0, "the instructions")
#define CHX_ATTRS_reduce(F) \
  F(INTS, axes, 0, "axes to reduce, negative ones count from the end; none: all") \
  F(BOOL, keepdims, 0, "keep the reduced axes with length 1") \
  F(DTYPE, dtype, 0, "the result's dtype, in which it is accumulated; 0: as NumPy")
#define CHX_ATTRS_arg_reduce(F) \
  F(INTS, axes, 0, "the one axis to search; none: the flattened array") \
  F(BOOL, keepdims, 0, "keep the searched axis with length 1")
#define CHX_ATTRS_reshape(F) \
  F(INTS, shape, 0, "the new shape; one length may be -1, to be inferred")
#define CHX_ATTRS_transpose(F) \
  F(INTS, axes, 0, "a permutation of the axes; none: reversed")
#define CHX_ATTRS_broadcast_to(F) \
  F(INTS, shape, 0, "the shape to broadcast to")
#define CHX_ATTRS_slice(F) \
  F(INTS, start, 0, "first index per leading axis, negative from the end, CHX_SLICE_NONE: the natural one") \
  F(INTS, stop, 0, "one past the last index per leading axis, likewise") \
  F(INTS, step, 0, "step per leading axis, not 0; none: 1") \
  F(I64, drop, 0, "bit set of axes of length 1 after slicing that are removed") \
  F(INTS, shape, 0, "of slice_grad: the shape of what was sliced; required there")
#define CHX_ATTRS_axis(F) \
  F(I64, axis, 0, "the axis, negative from the end")
#define CHX_ATTRS_axes(F) \
  F(INTS, axes, 0, "the axes, negative from the end; none: all")
#define CHX_ATTRS_pad(F) \
  F(INTS, before, 0, "elements added before each axis") \
  F(INTS, after, 0, "elements added after each axis") \
  F(F64, value, 0, "what is added")
#define CHX_ATTRS_full(F) \
  F(INTS, shape, 0, "the result's shape; none: 0-d") \
  F(DTYPE, dtype, 0, "the result's dtype; required")
#define CHX_ATTRS_arange(F) \
  F(F64, start, 0, "the first value") \
  F(F64, step, 1, "the difference of neighbours") \
  F(I64, n, 0, "how many") \
  F(DTYPE, dtype, 0, "the result's dtype; required")
#define CHX_ATTRS_random(F) \
  F(INTS, shape, 0, "the result's shape; none: 0-d") \
  F(DTYPE, dtype, 0, "the result's dtype; required") \
  F(I64, seed, 0, "the key of Philox 4x32-10, low word first; of others: their seed") \
  F(I64, counter, 0, "the counter of element 0's block") \
  F(F64, low, 0, "uniform, integers: the lower bound; normal: the mean; bernoulli: the probability of 1") \
  F(F64, high, 1, "uniform: the upper bound; normal: the standard deviation; integers: one past the last") \
  F(I64, generator, CHX_GENERATOR_PHILOX, "CHX_GENERATOR_PHILOX, or one that the device's library has")
#define CHX_ATTRS_conv(F) \
  F(INTS, stride, 0, "per spatial axis, >= 1; none: 1") \
  F(INTS, pad, 0, "zeros on both sides, per spatial axis, >= 0; none: 0") \
  F(INTS, dilation, 0, "per spatial axis, >= 1; none: 1") \
  F(I64, groups, 1, "groups of channels, >= 1") \
  F(I64, layout, CHX_CHANNELS_FIRST, "axes of x and y; w is [K, C/groups, ...] or, channels last, [K, ..., C/groups]") \
  F(INTS, shape, 0, "of the gradients: the shape of what they compute; required there")
#define CHX_ATTRS_pool(F) \
  F(INTS, ksize, 0, "the window, per spatial axis; required") \
  F(INTS, stride, 0, "per spatial axis, >= 1; none: ksize") \
  F(INTS, pad, 0, "on both sides, per spatial axis, >= 0, less than ksize; none: 0") \
  F(BOOL, cover_all, 0, "round the output's size up, so that every element is in a window") \
  F(BOOL, exclude_pad, 0, "average: divide by the elements inside x, not by the window's size") \
  F(I64, layout, CHX_CHANNELS_FIRST, "axes of x and y") \
  F(INTS, shape, 0, "of avg_pool_grad: x's shape; required there")
#define CHX_ATTRS_softmax(F) \
  F(I64, axis, 1, "the axis that sums to 1, negative from the end")
#define CHX_ATTRS_leaky_relu(F) \
  F(F64, slope, 0.2, "the factor of negative x")
#define CHX_ATTRS_gelu(F) \
  F(BOOL, approximate, 0, "use the tanh approximation")
#define CHX_ATTRS_dropout(F) \
  F(F64, ratio, 0.5, "the probability of dropping an element, 0 <= ratio < 1") \
  F(I64, seed, 0, "as random's") \
  F(I64, counter, 0, "as random's")
#define CHX_ATTRS_batch_norm(F) \
  F(F64, eps, 2e-5, "added to the variance") \
  F(I64, layout, CHX_CHANNELS_FIRST, "axis 1 or the last axis is the channel; all others are reduced")
#define CHX_ATTRS_layer_norm(F) \
  F(F64, eps, 1e-5, "added to the variance")
#define CHX_ATTRS_softmax_cross_entropy(F) \
  F(I64, ignore_label, -1, "elements with this label add nothing") \
  F(BOOL, normalize, 1, "divide by the count of labels not ignored (at least 1), else by the batch size")

#define CHX_ATTRS_scan(F) \
  F(INTS, axes, 0, "the one axis to scan, negative from the end; none: the flattened array") \
  F(DTYPE, dtype, 0, "the result's dtype, in which it is accumulated; 0: as NumPy") \
  F(BOOL, reverse, 0, "from the axis' end to its start") \
  F(BOOL, exclusive, 0, "of sums and products: of the elements before each, without itself")
#define CHX_ATTRS_sort(F) \
  F(I64, axis, -1, "the axis, negative from the end") \
  F(BOOL, descending, 0, "the largest first")
#define CHX_ATTRS_topk(F) \
  F(I64, k, 1, "how many, 0 to the axis' length") \
  F(I64, axis, -1, "the axis, negative from the end") \
  F(BOOL, largest, 1, "the largest, largest first; 0: the smallest, smallest first")

/* Every attribute struct, by the name of its operator or of the kind of operators that share it. */
#define CHX_ATTR_LIST(A) \
  A(cast) A(map) A(reduce) A(arg_reduce) A(reshape) A(transpose) A(broadcast_to) A(slice) A(axis) A(axes) A(pad) \
  A(full) A(arange) A(random) A(conv) A(pool) A(softmax) A(leaky_relu) A(gelu) A(dropout) A(batch_norm) \
  A(layer_norm) A(softmax_cross_entropy) A(scan) A(sort) A(topk)

typedef int64_t chx_attr_I64, chx_attr_BOOL, chx_attr_DTYPE;
typedef double chx_attr_F64;
typedef chx_ints chx_attr_INTS;
typedef chx_program chx_attr_PROGRAM;

#define CHX_ATTR_FIELD(type, name, def, doc) chx_attr_##type name;
#define CHX_ATTR_STRUCT(A) \
  typedef struct chx_##A##_attr { uint32_t size, kind; CHX_ATTRS_##A(CHX_ATTR_FIELD) } chx_##A##_attr;
CHX_ATTR_LIST(CHX_ATTR_STRUCT)
#undef CHX_ATTR_STRUCT

/* CHX_ATTR(conv): a chx_conv_attr with its size set and every field at its default. */
#define CHX_ATTR(A) (chx_##A##_attr_defaults())
#ifdef __cplusplus
#define CHX_ATTR_ZERO {}
#else
#define CHX_ATTR_ZERO {0}
#endif
#define CHX_ATTR_SET_I64(name, def) a.name = def;
#define CHX_ATTR_SET_F64 CHX_ATTR_SET_I64
#define CHX_ATTR_SET_BOOL CHX_ATTR_SET_I64
#define CHX_ATTR_SET_DTYPE CHX_ATTR_SET_I64
#define CHX_ATTR_SET_INTS(name, def)
#define CHX_ATTR_SET_PROGRAM(name, def)
#define CHX_ATTR_DEFAULT(type, name, def, doc) CHX_ATTR_SET_##type(name, def)
#define CHX_ATTR_INIT(A) \
  static inline chx_##A##_attr chx_##A##_attr_defaults(void) \
  { \
    chx_##A##_attr a = CHX_ATTR_ZERO; \
    a.size = sizeof a; \
    CHX_ATTRS_##A(CHX_ATTR_DEFAULT) \
    return a; \
  }
CHX_ATTR_LIST(CHX_ATTR_INIT)
#undef CHX_ATTR_INIT

#endif
