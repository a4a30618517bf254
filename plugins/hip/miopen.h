/* SPDX-License-Identifier: MIT
 * miopen.h: the few declarations of MIOpen that are used: its headers are not where HIP's are, and are not needed.
 *
 * Values and arguments: ROCm/MIOpen, include/miopen/miopen.h at commit 003eaf537b9b (of 2023), whose library is
 * libMIOpen.so.1.
 */
#ifndef CHX_HIP_MIOPEN_H
#define CHX_HIP_MIOPEN_H
#include <hip/hip_runtime_api.h>
#include <stdint.h>

typedef struct miopenHandle *miopenHandle_t;
typedef struct miopenTensorDescriptor *miopenTensorDescriptor_t;
typedef struct miopenConvolutionDescriptor *miopenConvolutionDescriptor_t;
typedef enum miopenStatus_t {
  miopenStatusSuccess = 0,
  miopenStatusInvalidValue = 2,
  miopenStatusBadParm = 3,
  miopenStatusAllocFailed = 4,
  miopenStatusInternalError = 5,
  miopenStatusNotImplemented = 6,
  miopenStatusUnknownError = 7,
  miopenStatusUnsupportedOp = 8
} miopenStatus_t;
typedef enum miopenDataType_t { miopenHalf = 0, miopenFloat = 1, miopenBFloat16 = 5 } miopenDataType_t;
typedef enum miopenConvolutionMode_t { miopenConvolution = 0 /* cross-correlation */ } miopenConvolutionMode_t;
typedef enum miopenConvolutionAttrib_t {
  MIOPEN_CONVOLUTION_ATTRIB_DETERMINISTIC = 1 /* 1: only kernels that give the same bits each time */
} miopenConvolutionAttrib_t;
typedef struct miopenConvSolution_t {
  float time; /* in ms, or an estimate */
  size_t workspace_size;
  uint64_t solution_id;
  int algorithm; /* an enum of its own */
} miopenConvSolution_t;

const char *miopenGetErrorString(miopenStatus_t status);
miopenStatus_t miopenCreateWithStream(miopenHandle_t *handle, hipStream_t stream);
miopenStatus_t miopenDestroy(miopenHandle_t handle);
miopenStatus_t miopenCreateTensorDescriptor(miopenTensorDescriptor_t *of);
miopenStatus_t miopenSetTensorDescriptor(miopenTensorDescriptor_t of, miopenDataType_t type, int n, const int *dim,
                                         const int *step);
miopenStatus_t miopenDestroyTensorDescriptor(miopenTensorDescriptor_t of);
miopenStatus_t miopenCreateConvolutionDescriptor(miopenConvolutionDescriptor_t *of);
miopenStatus_t miopenInitConvolutionNdDescriptor(miopenConvolutionDescriptor_t of, int spatial, const int *pad,
                                                 const int *stride, const int *dilation, miopenConvolutionMode_t mode);
miopenStatus_t miopenSetConvolutionGroupCount(miopenConvolutionDescriptor_t of, int groups);
miopenStatus_t miopenSetConvolutionAttribute(miopenConvolutionDescriptor_t of, miopenConvolutionAttrib_t key,
                                             int value);
miopenStatus_t miopenDestroyConvolutionDescriptor(miopenConvolutionDescriptor_t of);

/* The immediate mode, alike in all directions: a and b are read, c is written. Forward: w, x, y. BackwardData: dy, w,
 * dx. BackwardWeights: dy, x, dw. Solutions come fastest first; CompileSolution compiles one before its first run. */
#define MIOPEN_IMMEDIATE(direction) \
  miopenStatus_t miopenConvolution##direction##GetSolution( \
    miopenHandle_t handle, miopenTensorDescriptor_t a, miopenTensorDescriptor_t b, miopenConvolutionDescriptor_t conv, \
    miopenTensorDescriptor_t c, size_t room, size_t *n, miopenConvSolution_t *list); \
  miopenStatus_t miopenConvolution##direction##CompileSolution( \
    miopenHandle_t handle, miopenTensorDescriptor_t a, miopenTensorDescriptor_t b, miopenConvolutionDescriptor_t conv, \
    miopenTensorDescriptor_t c, uint64_t solution); \
  miopenStatus_t miopenConvolution##direction##Immediate( \
    miopenHandle_t handle, miopenTensorDescriptor_t a, const void *a_data, miopenTensorDescriptor_t b, \
    const void *b_data, miopenConvolutionDescriptor_t conv, miopenTensorDescriptor_t c, void *c_data, void *workspace, \
    size_t bytes, uint64_t solution);
MIOPEN_IMMEDIATE(Forward)
MIOPEN_IMMEDIATE(BackwardData)
MIOPEN_IMMEDIATE(BackwardWeights)
#endif
