/* SPDX-License-Identifier: MIT
 * vendor.h of cuda: the CUDA driver API and NVRTC, by the names that plugins/cudalike uses. plugins/hip/vendor.h is its
 * twin.
 */
#ifndef CHX_CUDA_VENDOR_H
#define CHX_CUDA_VENDOR_H
#include <cuda.h>
#include <nvrtc.h>
#include <stdint.h>
#include <stdio.h>

#define DRV_PLUGIN "cuda"
#define DRV_VENDOR "NVIDIA"
#define DRV_LIBRARIES "libcuda.so.1", "libcuda.so"
#define RTC_LIBRARIES "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "/usr/local/cuda/lib64/libnvrtc.so"
#define DRV_LIBRARY_OPTION "CHX_CUDA_LIBRARY"
#define RTC_LIBRARY_OPTION "CHX_NVRTC_LIBRARY"
enum { DRV_DLPACK = 2 /* kDLCUDA */, DRV_MAX_GROUPS = INT32_MAX };

typedef CUresult drv_result;
typedef CUdevice drv_device;
typedef CUcontext drv_context;
typedef CUdeviceptr drv_ptr;
typedef CUstream drv_stream;
typedef CUevent drv_event;
typedef CUmodule drv_module;
typedef CUfunction drv_function;
typedef CUgraph drv_graph;
typedef CUgraphExec drv_graph_exec;
typedef CUjit_option drv_jit_option;
typedef nvrtcResult rtc_result;
typedef nvrtcProgram rtc_program;

#define DRV_FUNCTIONS(F) \
  F(Init, cuInit) F(DriverGetVersion, cuDriverGetVersion) F(ErrorName, cuGetErrorName) F(ErrorString, cuGetErrorString) \
  F(DeviceGetCount, cuDeviceGetCount) F(DeviceGet, cuDeviceGet) F(DeviceGetName, cuDeviceGetName) \
  F(DeviceTotalMem, cuDeviceTotalMem) F(DeviceGetAttribute, cuDeviceGetAttribute) F(DeviceGetPCIBusId, cuDeviceGetPCIBusId) \
  F(ContextRetain, cuDevicePrimaryCtxRetain) F(ContextRelease, cuDevicePrimaryCtxRelease) F(SetCurrent, cuCtxSetCurrent) \
  F(Synchronize, cuCtxSynchronize) F(MemGetInfo, cuMemGetInfo) F(MemAlloc, cuMemAlloc) F(MemFree, cuMemFree) \
  F(HostAlloc, cuMemHostAlloc) F(HostFree, cuMemFreeHost) F(CopyIn, cuMemcpyHtoDAsync) F(CopyOut, cuMemcpyDtoHAsync) \
  F(CopyOver, cuMemcpyDtoDAsync) F(CopyPeer, cuMemcpyPeerAsync) F(CanAccessPeer, cuDeviceCanAccessPeer) \
  F(EnablePeer, cuCtxEnablePeerAccess) F(StreamCreate, cuStreamCreate) F(StreamDestroy, cuStreamDestroy) \
  F(StreamSynchronize, cuStreamSynchronize) F(StreamWaitEvent, cuStreamWaitEvent) F(EventCreate, cuEventCreate) \
  F(EventRecord, cuEventRecord) F(EventQuery, cuEventQuery) F(EventSynchronize, cuEventSynchronize) \
  F(EventDestroy, cuEventDestroy) F(ModuleLoad, cuModuleLoadDataEx) F(ModuleUnload, cuModuleUnload) \
  F(ModuleGetFunction, cuModuleGetFunction) F(Launch, cuLaunchKernel) \
  F(HostRegister, cuMemHostRegister) F(HostUnregister, cuMemHostUnregister) F(HostDevicePointer, cuMemHostGetDevicePointer) \
  F(PointerAttribute, cuPointerGetAttribute)
#define DRV_POOL_FUNCTIONS(F) \
  F(PoolAlloc, cuMemAllocAsync) F(PoolFree, cuMemFreeAsync) F(DefaultPool, cuDeviceGetDefaultMemPool) \
  F(PoolSetAccess, cuMemPoolSetAccess)
#define DRV_CAPTURE_FUNCTIONS(F) \
  F(CaptureBegin, cuStreamBeginCapture) F(CaptureEnd, cuStreamEndCapture) \
  F(GraphInstantiate, cuGraphInstantiateWithFlags) F(GraphLaunch, cuGraphLaunch) F(GraphExecDestroy, cuGraphExecDestroy) \
  F(GraphDestroy, cuGraphDestroy)
#define RTC_FUNCTIONS(F) \
  F(Create, nvrtcCreateProgram) F(Compile, nvrtcCompileProgram) F(Destroy, nvrtcDestroyProgram) \
  F(LogSize, nvrtcGetProgramLogSize) F(Log, nvrtcGetProgramLog) F(ErrorString, nvrtcGetErrorString) \
  F(BinarySize, nvrtcGetCUBINSize) F(Binary, nvrtcGetCUBIN) F(PtxSize, nvrtcGetPTXSize) F(Ptx, nvrtcGetPTX) \
  F(ArchCount, nvrtcGetNumSupportedArchs) F(Archs, nvrtcGetSupportedArchs)

#define DRV_SUCCESS CUDA_SUCCESS
#define DRV_NOT_READY CUDA_ERROR_NOT_READY
#define DRV_PEER_ENABLED CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED
#define DRV_UNITS CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
#define DRV_POOLS CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED
#define DRV_STREAM_FLAGS CU_STREAM_NON_BLOCKING
#define DRV_EVENT_FLAGS CU_EVENT_DISABLE_TIMING
#define DRV_HOST_FLAGS CU_MEMHOSTALLOC_PORTABLE
#define DRV_REGISTER_FLAGS (CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP)
#define DRV_POINTER_DEVICE CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
#define DRV_POINTER_TYPE CU_POINTER_ATTRIBUTE_MEMORY_TYPE
#define DRV_POINTER_MANAGED CU_POINTER_ATTRIBUTE_IS_MANAGED
#define DRV_TYPE_HOST CU_MEMORYTYPE_HOST
#define DRV_CAPTURE_MODE CU_STREAM_CAPTURE_MODE_RELAXED
#define DRV_JIT_LOG CU_JIT_ERROR_LOG_BUFFER
#define DRV_JIT_LOG_BYTES CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES
#define DRV_OUT_OF_MEMORY(c) ((c) == CUDA_ERROR_OUT_OF_MEMORY)
/* The device, or all work on it, is gone until the process ends. */
#define DRV_LOST(c) \
  ((c) == CUDA_ERROR_DEINITIALIZED || (c) == CUDA_ERROR_DEVICE_UNAVAILABLE || (c) == CUDA_ERROR_CONTEXT_IS_DESTROYED || \
   (c) == CUDA_ERROR_ECC_UNCORRECTABLE || (c) == CUDA_ERROR_NVLINK_UNCORRECTABLE || (c) == CUDA_ERROR_ILLEGAL_ADDRESS || \
   (c) == CUDA_ERROR_LAUNCH_TIMEOUT || (c) == CUDA_ERROR_ASSERT || (c) == CUDA_ERROR_HARDWARE_STACK_ERROR || \
   (c) == CUDA_ERROR_ILLEGAL_INSTRUCTION || (c) == CUDA_ERROR_MISALIGNED_ADDRESS || \
   (c) == CUDA_ERROR_INVALID_ADDRESS_SPACE || (c) == CUDA_ERROR_INVALID_PC || (c) == CUDA_ERROR_LAUNCH_FAILED)

/* What vendors do each in their own way. `api` is the table of DRV_FUNCTIONS, which is declared later. */
#define DRV_ERROR_NAME(api, code, text) ((api).ErrorName((code), (text)))
#define DRV_ERROR_STRING(api, code, text) ((api).ErrorString((code), (text)))
#define DRV_CONTEXT_OPEN(api, context, device) ((api).ContextRetain((context), (device)))
#define DRV_CONTEXT_CLOSE(api, device) ((api).ContextRelease(device))
/* "90": the architecture as compilers name it, without their prefix. */
#define DRV_ARCH(api, device, text, size) \
  do { \
    int major_ = 0, minor_ = 0; \
    (api).DeviceGetAttribute(&major_, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, (device)); \
    (api).DeviceGetAttribute(&minor_, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, (device)); \
    snprintf((text), (size), "%d", major_ * 10 + minor_); \
  } while (0)
#define DRV_ACCESS(desc, of) \
  const CUmemAccessDesc desc = {.location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = (of)}, \
                                .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE}
typedef CUmemoryPool drv_pool;

#define RTC_SUCCESS NVRTC_SUCCESS
#define RTC_LANGUAGE "cuda-c"
#define RTC_OPTIONS "--std=c++17", "-fmad=false", "-diag-suppress=177"
#define RTC_CAN_LIST_ARCHS 1
#endif
