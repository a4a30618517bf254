/* SPDX-License-Identifier: MIT
 * api.h: libdnnl, opened at run time, and the few places where its C interfaces of versions 2 and 3 differ.
 *
 * The headers are needed to build, the library is not: its functions are called through the table `dn`, which dn_load
 * fills. A library of another major version than the headers' is refused, since version 2's structs are its callers'.
 *
 * dn_desc is a memory descriptor that we made, dn_md one that is borrowed, from a dn_desc or from a primitive.
 */
#ifndef CHX_DNNL_API_H
#define CHX_DNNL_API_H
#include <oneapi/dnnl/dnnl.h>

#if defined __GNUC__
#pragma GCC visibility push(hidden)
#endif

#define DN_FUNCTIONS(F) \
  F(version) F(engine_create) F(stream_create) F(stream_destroy) F(memory_create) F(memory_destroy) \
  F(memory_desc_equal) F(memory_desc_get_size) F(primitive_attr_create) F(primitive_attr_destroy) \
  F(primitive_attr_set_scratchpad_mode) F(primitive_create) F(primitive_destroy) F(primitive_execute) \
  F(primitive_get_primitive_desc) F(primitive_desc_destroy) F(primitive_desc_query) F(primitive_desc_query_md) \
  F(reorder_primitive_desc_create)

#if DNNL_VERSION_MAJOR >= 3
#define DN_VERSIONED(F) \
  F(memory_desc_create_with_strides) F(memory_desc_create_with_tag) F(memory_desc_destroy) \
  F(matmul_primitive_desc_create) F(convolution_forward_primitive_desc_create) \
  F(convolution_backward_data_primitive_desc_create) F(convolution_backward_weights_primitive_desc_create) \
  F(pooling_forward_primitive_desc_create) F(pooling_backward_primitive_desc_create) \
  F(softmax_forward_primitive_desc_create) F(batch_normalization_forward_primitive_desc_create) \
  F(layer_normalization_forward_primitive_desc_create)
typedef const_dnnl_memory_desc_t dn_md;
#else
#define DN_VERSIONED(F) \
  F(memory_desc_init_by_strides) F(memory_desc_init_by_tag) F(primitive_desc_create) F(matmul_desc_init) \
  F(dilated_convolution_forward_desc_init) F(dilated_convolution_backward_data_desc_init) \
  F(dilated_convolution_backward_weights_desc_init) F(pooling_v2_forward_desc_init) \
  F(pooling_v2_backward_desc_init) F(softmax_v2_forward_desc_init) F(batch_normalization_forward_desc_init) \
  F(layer_normalization_forward_desc_init)
typedef const dnnl_memory_desc_t *dn_md;
#endif

typedef struct dn_api {
#define DN_FIELD(name) __typeof__(dnnl_##name) *name;
  DN_FUNCTIONS(DN_FIELD)
  DN_VERSIONED(DN_FIELD)
#undef DN_FIELD
  int (*omp_get_max_threads)(void); /* NULL where the library does not run on OpenMP */
  void (*omp_set_num_threads)(int);
  dnnl_engine_t engine; /* the CPU; shared by all threads, as oneDNN allows */
} dn_api;

/* Of all zeros until dn_load has succeeded. */
extern dn_api dn;

/* Opens the library: the file at path, or the system's where path is NULL or empty. 0: done; else the reason is in
 * `why`. What was opened stays mapped. */
int dn_load(const char *path, char *why, size_t size);

/* ---- memory descriptors ------------------------------------------------------------------------------------------ */

typedef struct dn_desc {
  dnnl_memory_desc_t md;
} dn_desc;

/* A descriptor of those lengths and strides, or with strides NULL of the layout that the primitive likes best. */
dnnl_status_t dn_desc_make(dn_desc *d, int ndims, const int64_t *dims, dnnl_data_type_t type, const int64_t *strides);
void dn_desc_free(dn_desc *d);

static inline dn_md dn_desc_md(const dn_desc *d)
{
#if DNNL_VERSION_MAJOR >= 3
  return d->md;
#else
  return &d->md;
#endif
}

/* ---- primitives -------------------------------------------------------------------------------------------------- */

/* One computation, in the words of both versions. What a kind does not have stays 0. */
enum { DN_MATMUL, DN_CONV, DN_CONV_DATA, DN_CONV_WEIGHTS, DN_POOL, DN_POOL_BACK, DN_SOFTMAX, DN_BATCH_NORM,
       DN_LAYER_NORM, DN_REORDER };
typedef struct dn_op {
  int kind, axis;
  dnnl_prop_kind_t prop;
  dnnl_alg_kind_t alg;
  unsigned flags;
  float eps;
  dn_md src, weights, bias, dst; /* of a gradient likewise: src is x or its gradient; bias NULL: none */
  dnnl_dims_t stride, kernel, dilation, before, after; /* dilation counts what is left out: 0 is dense */
} dn_op;

/* attr may be NULL; hint is the forward primitive's descriptor, of gradients alone. */
dnnl_status_t dn_op_create(dnnl_primitive_desc_t *pd, const dn_op *op, const_dnnl_primitive_attr_t attr,
                           const_dnnl_primitive_desc_t hint);

#if defined __GNUC__
#pragma GCC visibility pop
#endif
#endif
