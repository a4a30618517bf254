/* SPDX-License-Identifier: MIT
 * dlpack.h: the structs of DLPack 1.x, declared anew: https://dmlc.github.io/dlpack/latest/c_api.html
 */
#ifndef CHXI_DLPACK_H
#define CHXI_DLPACK_H
#include <chx/chx.h>
#include <stdbool.h>
#include <stdint.h>

enum { CHXI_DL_MAJOR = 1, CHXI_DL_MINOR = 0 };
enum { CHXI_DL_READ_ONLY = 1, CHXI_DL_IS_COPIED = 2 }; /* flags */
enum { CHXI_DL_CPU = 1, CHXI_DL_CUDA_HOST = 3, CHXI_DL_ROCM_HOST = 11, CHXI_DL_EXT_DEV = 12 }; /* device types */

typedef struct chxi_dl_version { uint32_t major, minor; } chxi_dl_version;
typedef struct chxi_dl_device { int32_t type, id; } chxi_dl_device;
typedef struct chxi_dl_dtype { uint8_t code, bits; uint16_t lanes; } chxi_dl_dtype;

typedef struct chxi_dl_tensor {
  void *data;
  chxi_dl_device device;
  int32_t ndim;
  chxi_dl_dtype dtype;
  int64_t *shape, *strides; /* strides in elements; NULL: C order */
  uint64_t byte_offset;
} chxi_dl_tensor;

typedef struct chxi_dl_managed { /* DLManagedTensorVersioned */
  chxi_dl_version version;
  void *manager_ctx;
  void (*deleter)(struct chxi_dl_managed *self);
  uint64_t flags;
  chxi_dl_tensor tensor;
} chxi_dl_managed;

static inline bool chxi_dl_is_host(int32_t number)
{
  return number == CHXI_DL_CPU || number == CHXI_DL_CUDA_HOST || number == CHXI_DL_ROCM_HOST;
}

const char *chxi_dl_device_name(int32_t type); /* "CUDA" */
/* t, of a device's memory and with a shape that was checked, as an array that ends no tensor yet. Its elements lie from
 * data + low to data + high. NULL with the error in s: there is no such device, or it refuses. */
chx_array *chxi_dl_import(chx_scope *s, const chxi_dl_tensor *t, int dtype, int64_t low, int64_t high);
/* Ends m with a's buffer, if that is one that chxi_dl_import made; else false. */
bool chxi_dl_keep(const chx_array *a, chxi_dl_managed *m);

#endif
