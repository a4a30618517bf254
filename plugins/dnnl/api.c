/* SPDX-License-Identifier: MIT
 * api.c: opening libdnnl, and the calls whose form changed from version 2 to version 3.
 */
#include "api.h"
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

dn_api dn;

/* ---- the library ------------------------------------------------------------------------------------------------- */

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
static const char *const names[] = {"libdnnl.so." TEXT(DNNL_VERSION_MAJOR), "libdnnl.so", NULL};

#if DNNL_VERSION_MAJOR >= 3
#define WANTED TEXT(DNNL_VERSION_MAJOR) ".x"
#else
#define WANTED "2.6 or a later 2.x"
#endif

static int find_functions(void *lib, dn_api *api, char *why, size_t size)
{
#define FIND(name)                                                                 \
  if (!(api->name = (__typeof__(api->name))dlsym(lib, "dnnl_" #name))) {           \
    snprintf(why, size, "the library lacks dnnl_" #name ", want libdnnl " WANTED); \
    return -1;                                                                     \
  }
  DN_FUNCTIONS(FIND)
  if (api->version()->major != DNNL_VERSION_MAJOR) {
    snprintf(why, size, "libdnnl is version %d, want " WANTED ", which the plugin was compiled for",
             api->version()->major);
    return -1;
  }
  DN_VERSIONED(FIND)
#undef FIND
  /* Of the OpenMP library that libdnnl itself needs: dlsym looks through lib's dependencies. */
  api->omp_get_max_threads = (int (*)(void))dlsym(lib, "omp_get_max_threads");
  api->omp_set_num_threads = (void (*)(int))dlsym(lib, "omp_set_num_threads");
  if (!api->omp_get_max_threads) api->omp_set_num_threads = NULL;
  return 0;
}

int dn_load(const char *path, char *why, size_t size)
{
  const char *const given[] = {path, NULL};
  const char *const *name = path && *path ? given : names;
  void *lib = NULL;
  dn_api api;

  if (dn.engine) return 0;
  memset(&api, 0, sizeof api);
  for (size_t n = 0; *name && !lib; name++)
    if (!(lib = dlopen(*name, RTLD_NOW | RTLD_LOCAL)) && n < size)
      n += (size_t)snprintf(why + n, size - n, "%s%s", n ? "; " : "", dlerror());
  if (!lib) return -1;
  if (find_functions(lib, &api, why, size)) return dlclose(lib), -1;
  dnnl_status_t st = api.engine_create(&api.engine, dnnl_cpu, 0);
  if (st) return snprintf(why, size, "dnnl_engine_create: %d", (int)st), -1;
  dn = api;
  return 0;
}

/* ---- version 3 --------------------------------------------------------------------------------------------------- */

#if DNNL_VERSION_MAJOR >= 3

dnnl_status_t dn_desc_make(dn_desc *d, int ndims, const int64_t *dims, dnnl_data_type_t type, const int64_t *strides)
{
  return strides ? dn.memory_desc_create_with_strides(&d->md, ndims, dims, type, strides)
                 : dn.memory_desc_create_with_tag(&d->md, ndims, dims, type, dnnl_format_tag_any);
}

void dn_desc_free(dn_desc *d)
{
  if (d->md) dn.memory_desc_destroy(d->md);
  d->md = NULL;
}

dnnl_status_t dn_op_create(dnnl_primitive_desc_t *pd, const dn_op *o, const_dnnl_primitive_attr_t attr,
                           const_dnnl_primitive_desc_t hint)
{
  dnnl_engine_t e = dn.engine;
  switch (o->kind) {
  case DN_REORDER: return dn.reorder_primitive_desc_create(pd, o->src, e, o->dst, e, attr);
  case DN_MATMUL: return dn.matmul_primitive_desc_create(pd, e, o->src, o->weights, o->bias, o->dst, attr);
  case DN_CONV:
    return dn.convolution_forward_primitive_desc_create(pd, e, o->prop, o->alg, o->src, o->weights, o->bias, o->dst,
                                                        o->stride, o->dilation, o->before, o->after, attr);
  case DN_CONV_DATA:
    return dn.convolution_backward_data_primitive_desc_create(pd, e, o->alg, o->src, o->weights, o->dst, o->stride,
                                                              o->dilation, o->before, o->after, hint, attr);
  case DN_CONV_WEIGHTS:
    return dn.convolution_backward_weights_primitive_desc_create(pd, e, o->alg, o->src, o->weights, NULL, o->dst,
                                                                 o->stride, o->dilation, o->before, o->after, hint,
                                                                 attr);
  case DN_POOL:
    return dn.pooling_forward_primitive_desc_create(pd, e, o->prop, o->alg, o->src, o->dst, o->stride, o->kernel,
                                                    o->dilation, o->before, o->after, attr);
  case DN_POOL_BACK:
    return dn.pooling_backward_primitive_desc_create(pd, e, o->alg, o->src, o->dst, o->stride, o->kernel, o->dilation,
                                                     o->before, o->after, hint, attr);
  case DN_SOFTMAX:
    return dn.softmax_forward_primitive_desc_create(pd, e, o->prop, o->alg, o->src, o->dst, o->axis, attr);
  case DN_BATCH_NORM:
    return dn.batch_normalization_forward_primitive_desc_create(pd, e, o->prop, o->src, o->dst, o->eps, o->flags, attr);
  case DN_LAYER_NORM:
    return dn.layer_normalization_forward_primitive_desc_create(pd, e, o->prop, o->src, o->dst, NULL, o->eps, o->flags,
                                                                attr);
  }
  return dnnl_unimplemented;
}

/* ---- version 2 --------------------------------------------------------------------------------------------------- */

#else

dnnl_status_t dn_desc_make(dn_desc *d, int ndims, const int64_t *dims, dnnl_data_type_t type, const int64_t *strides)
{
  return strides ? dn.memory_desc_init_by_strides(&d->md, ndims, dims, type, strides)
                 : dn.memory_desc_init_by_tag(&d->md, ndims, dims, type, dnnl_format_tag_any);
}

void dn_desc_free(dn_desc *d) { (void)d; }

dnnl_status_t dn_op_create(dnnl_primitive_desc_t *pd, const dn_op *o, const_dnnl_primitive_attr_t attr,
                           const_dnnl_primitive_desc_t hint)
{
  union {
    dnnl_matmul_desc_t matmul;
    dnnl_convolution_desc_t conv;
    dnnl_pooling_v2_desc_t pool;
    dnnl_softmax_v2_desc_t softmax;
    dnnl_batch_normalization_desc_t batch_norm;
    dnnl_layer_normalization_desc_t layer_norm;
  } d;
  dnnl_status_t st = dnnl_unimplemented;
  switch (o->kind) {
  case DN_REORDER: return dn.reorder_primitive_desc_create(pd, o->src, dn.engine, o->dst, dn.engine, attr);
  case DN_MATMUL: st = dn.matmul_desc_init(&d.matmul, o->src, o->weights, o->bias, o->dst); break;
  case DN_CONV:
    st = dn.dilated_convolution_forward_desc_init(&d.conv, o->prop, o->alg, o->src, o->weights, o->bias, o->dst,
                                                  o->stride, o->dilation, o->before, o->after);
    break;
  case DN_CONV_DATA:
    st = dn.dilated_convolution_backward_data_desc_init(&d.conv, o->alg, o->src, o->weights, o->dst, o->stride,
                                                        o->dilation, o->before, o->after);
    break;
  case DN_CONV_WEIGHTS:
    st = dn.dilated_convolution_backward_weights_desc_init(&d.conv, o->alg, o->src, o->weights, NULL, o->dst, o->stride,
                                                           o->dilation, o->before, o->after);
    break;
  case DN_POOL:
    st = dn.pooling_v2_forward_desc_init(&d.pool, o->prop, o->alg, o->src, o->dst, o->stride, o->kernel, o->dilation,
                                         o->before, o->after);
    break;
  case DN_POOL_BACK:
    st = dn.pooling_v2_backward_desc_init(&d.pool, o->alg, o->src, o->dst, o->stride, o->kernel, o->dilation, o->before,
                                          o->after);
    break;
  case DN_SOFTMAX: st = dn.softmax_v2_forward_desc_init(&d.softmax, o->prop, o->alg, o->src, o->dst, o->axis); break;
  case DN_BATCH_NORM:
    st = dn.batch_normalization_forward_desc_init(&d.batch_norm, o->prop, o->src, o->eps, o->flags);
    break;
  case DN_LAYER_NORM:
    st = dn.layer_normalization_forward_desc_init(&d.layer_norm, o->prop, o->src, NULL, o->eps, o->flags);
    break;
  }
  return st ? st : dn.primitive_desc_create(pd, &d, attr, dn.engine, hint);
}

#endif
