/* SPDX-License-Identifier: MIT
 * vendor.h of hip: the HIP run-time library and hipRTC, which is in it, by the names that plugins/cudalike uses.
 * plugins/cuda/vendor.h is its twin.
 */
#ifndef CHX_HIP_VENDOR_H
#define CHX_HIP_VENDOR_H
#include <hip/hip_runtime_api.h>
#include <hip/hiprtc.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define DRV_PLUGIN "hip"
#define DRV_VENDOR "AMD"
/* Structs and codes of HIP differ between major versions. */
#define DRV_LIBRARIES DRV_OF_MAJOR(HIP_VERSION_MAJOR), "/opt/rocm/lib/" DRV_OF_MAJOR(HIP_VERSION_MAJOR)
#define DRV_OF_MAJOR_(n) "libamdhip64.so." #n
#define DRV_OF_MAJOR(n) DRV_OF_MAJOR_(n)
#define RTC_LIBRARIES DRV_LIBRARIES
#define DRV_LIBRARY_OPTION "CHX_HIP_LIBRARY"
#define RTC_LIBRARY_OPTION "CHX_HIPRTC_LIBRARY"
enum { DRV_DLPACK = 10 /* kDLROCM */, DRV_MAX_GROUPS = UINT32_MAX / 256 / 2 /* threads are counted in 32 bits */ };

typedef hipError_t drv_result;
typedef hipDevice_t drv_device;
typedef int drv_context; /* the device's number */
typedef hipDeviceptr_t drv_ptr;
typedef hipStream_t drv_stream;
typedef hipEvent_t drv_event;
typedef hipModule_t drv_module;
typedef hipFunction_t drv_function;
typedef hipGraph_t drv_graph;
typedef hipGraphExec_t drv_graph_exec;
typedef hipJitOption drv_jit_option;
typedef hiprtcResult rtc_result;
typedef hiprtcProgram rtc_program;

#define DRV_FUNCTIONS(F) \
  F(Init, hipInit) F(DriverGetVersion, hipDriverGetVersion) F(ErrorName, hipGetErrorName) F(ErrorString, hipGetErrorString) \
  F(DeviceGetCount, hipGetDeviceCount) F(DeviceGet, hipDeviceGet) F(DeviceGetName, hipDeviceGetName) \
  F(DeviceTotalMem, hipDeviceTotalMem) F(DeviceGetAttribute, hipDeviceGetAttribute) F(DeviceGetPCIBusId, hipDeviceGetPCIBusId) \
  F(GetProperties, hipGetDeviceProperties) F(SetCurrent, hipSetDevice) \
  F(Synchronize, hipDeviceSynchronize) F(MemGetInfo, hipMemGetInfo) F(MemAlloc, hipMalloc) F(MemFree, hipFree) \
  F(HostAlloc, hipHostMalloc) F(HostFree, hipHostFree) F(CopyIn, hipMemcpyHtoDAsync) F(CopyOut, hipMemcpyDtoHAsync) \
  F(CopyOver, hipMemcpyDtoDAsync) F(CopyPeer, hipMemcpyPeerAsync) F(CanAccessPeer, hipDeviceCanAccessPeer) \
  F(EnablePeer, hipDeviceEnablePeerAccess) F(StreamCreate, hipStreamCreateWithFlags) F(StreamDestroy, hipStreamDestroy) \
  F(StreamSynchronize, hipStreamSynchronize) F(StreamWaitEvent, hipStreamWaitEvent) F(EventCreate, hipEventCreateWithFlags) \
  F(EventRecord, hipEventRecord) F(EventQuery, hipEventQuery) F(EventSynchronize, hipEventSynchronize) \
  F(EventDestroy, hipEventDestroy) F(ModuleLoad, hipModuleLoadDataEx) F(ModuleUnload, hipModuleUnload) \
  F(ModuleGetFunction, hipModuleGetFunction) F(Launch, hipModuleLaunchKernel) \
  F(HostRegister, hipHostRegister) F(HostUnregister, hipHostUnregister) F(HostDevicePointer, hipHostGetDevicePointer) \
  F(PointerAttribute, hipPointerGetAttribute)
#define DRV_POOL_FUNCTIONS(F) \
  F(PoolAlloc, hipMallocAsync) F(PoolFree, hipFreeAsync) F(DefaultPool, hipDeviceGetDefaultMemPool) \
  F(PoolSetAccess, hipMemPoolSetAccess)
#define DRV_CAPTURE_FUNCTIONS(F) \
  F(CaptureBegin, hipStreamBeginCapture) F(CaptureEnd, hipStreamEndCapture) \
  F(GraphInstantiate, hipGraphInstantiateWithFlags) F(GraphLaunch, hipGraphLaunch) F(GraphExecDestroy, hipGraphExecDestroy) \
  F(GraphDestroy, hipGraphDestroy)
#define RTC_FUNCTIONS(F) \
  F(Create, hiprtcCreateProgram) F(Compile, hiprtcCompileProgram) F(Destroy, hiprtcDestroyProgram) \
  F(LogSize, hiprtcGetProgramLogSize) F(Log, hiprtcGetProgramLog) F(ErrorString, hiprtcGetErrorString) \
  F(BinarySize, hiprtcGetCodeSize) F(Binary, hiprtcGetCode)

#define DRV_SUCCESS hipSuccess
#define DRV_NOT_READY hipErrorNotReady
#define DRV_PEER_ENABLED hipErrorPeerAccessAlreadyEnabled
#define DRV_UNITS hipDeviceAttributeMultiprocessorCount
#define DRV_POOLS hipDeviceAttributeMemoryPoolsSupported
#define DRV_STREAM_FLAGS hipStreamNonBlocking
#define DRV_EVENT_FLAGS hipEventDisableTiming
#define DRV_HOST_FLAGS hipHostMallocPortable
#define DRV_REGISTER_FLAGS (hipHostRegisterPortable | hipHostRegisterMapped)
#define DRV_POINTER_DEVICE HIP_POINTER_ATTRIBUTE_DEVICE_ORDINAL
#define DRV_POINTER_TYPE HIP_POINTER_ATTRIBUTE_MEMORY_TYPE
#define DRV_POINTER_MANAGED HIP_POINTER_ATTRIBUTE_IS_MANAGED
#define DRV_TYPE_HOST hipMemoryTypeHost
#define DRV_CAPTURE_MODE hipStreamCaptureModeRelaxed
#define DRV_JIT_LOG hipJitOptionErrorLogBuffer
#define DRV_JIT_LOG_BYTES hipJitOptionErrorLogBufferSizeBytes
#define DRV_OUT_OF_MEMORY(c) ((c) == hipErrorOutOfMemory)
#define DRV_LOST(c) \
  ((c) == hipErrorDeinitialized || (c) == hipErrorContextIsDestroyed || (c) == hipErrorECCNotCorrectable || \
   (c) == hipErrorIllegalAddress || (c) == hipErrorLaunchTimeOut || (c) == hipErrorAssert || (c) == hipErrorLaunchFailure)

#define DRV_ERROR_NAME(api, code, text) ((void)(*(text) = (api).ErrorName(code)))
#define DRV_ERROR_STRING(api, code, text) ((void)(*(text) = (api).ErrorString(code)))
#define DRV_CONTEXT_OPEN(api, context, device) (*(context) = (int)(device), hipSuccess)
#define DRV_CONTEXT_CLOSE(api, device) ((void)(device))
/* "gfx90a:sramecc+:xnack-" */
#define DRV_ARCH(api, device, text, size) \
  do { \
    union { hipDeviceProp_t are; char room[8192]; } properties_; /* a later library's struct may be longer */ \
    memset(&properties_, 0, sizeof properties_); \
    (api).GetProperties(&properties_.are, (device)); \
    snprintf((text), (size), "%.60s", properties_.are.gcnArchName); \
  } while (0)
#define DRV_ACCESS(desc, of) \
  const hipMemAccessDesc desc = {.location = {.type = hipMemLocationTypeDevice, .id = (of)}, \
                                 .flags = hipMemAccessFlagsProtReadWrite}
typedef hipMemPool_t drv_pool;

#define RTC_SUCCESS HIPRTC_SUCCESS
#define RTC_LANGUAGE "hip-c"
#define RTC_OPTIONS "-std=c++17", "-ffp-contract=off"
#endif
