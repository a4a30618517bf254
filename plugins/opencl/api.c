/* SPDX-License-Identifier: MIT
 * api.c: libOpenCL, opened when the plugin is, and its error codes.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include "opencl.h"

struct ocl_api ocl;

bool ocl_api_open(char *why, size_t size)
{
  static void *lib; /* stays open: its threads may run on */
  const char *own = CHX_HAS(ocl_host, chx_host, option) ? ocl_host->option(ocl_host->ctx, "CHX_OPENCL_LIBRARY") : NULL;
  const char *const names[] = {own && *own ? own : "libOpenCL.so.1", own && *own ? NULL : "libOpenCL.so"};
  for (int i = 0; i < 2 && !lib && names[i]; i++)
    if (!(lib = dlopen(names[i], RTLD_NOW | RTLD_LOCAL)) && !i) snprintf(why, size, "%s", dlerror());
  if (!lib) return false;
#define GET(name) \
  if (!(*(void **)&ocl.name = dlsym(lib, #name))) return snprintf(why, size, "libOpenCL has no " #name), false;
  OCL_FUNCTIONS(GET)
  return true;
}

const char *ocl_code(cl_int code)
{
#define CODE(c) case c: return #c;
  switch (code) {
    CODE(CL_DEVICE_NOT_FOUND) CODE(CL_DEVICE_NOT_AVAILABLE) CODE(CL_COMPILER_NOT_AVAILABLE)
    CODE(CL_MEM_OBJECT_ALLOCATION_FAILURE) CODE(CL_OUT_OF_RESOURCES) CODE(CL_OUT_OF_HOST_MEMORY)
    CODE(CL_MEM_COPY_OVERLAP) CODE(CL_BUILD_PROGRAM_FAILURE) CODE(CL_MAP_FAILURE) CODE(CL_INVALID_VALUE)
    CODE(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST) CODE(CL_INVALID_PLATFORM) CODE(CL_INVALID_DEVICE)
    CODE(CL_INVALID_CONTEXT) CODE(CL_INVALID_COMMAND_QUEUE) CODE(CL_INVALID_MEM_OBJECT) CODE(CL_INVALID_BINARY)
    CODE(CL_INVALID_BUILD_OPTIONS) CODE(CL_INVALID_PROGRAM) CODE(CL_INVALID_PROGRAM_EXECUTABLE)
    CODE(CL_INVALID_KERNEL_NAME) CODE(CL_INVALID_KERNEL) CODE(CL_INVALID_ARG_INDEX) CODE(CL_INVALID_ARG_VALUE)
    CODE(CL_INVALID_ARG_SIZE) CODE(CL_INVALID_KERNEL_ARGS) CODE(CL_INVALID_WORK_GROUP_SIZE)
    CODE(CL_INVALID_WORK_ITEM_SIZE) CODE(CL_INVALID_GLOBAL_WORK_SIZE) CODE(CL_INVALID_EVENT)
    CODE(CL_INVALID_OPERATION) CODE(CL_INVALID_BUFFER_SIZE)
  case -1001: return "CL_PLATFORM_NOT_FOUND_KHR";
  default: return "an unknown code";
  }
}

chx_status ocl_fail(const struct chx_dev *dev, cl_int code, const char *call)
{
  char text[256];
  snprintf(text, sizeof text, "%s: %s: %s (%d)", dev ? dev->gpu.spec : "opencl", call, ocl_code(code), (int)code);
  const bool memory = code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_RESOURCES || code == CL_OUT_OF_HOST_MEMORY ||
                      code == CL_INVALID_BUFFER_SIZE;
  const chx_status st = memory ? CHX_ENOMEM : code == CL_DEVICE_NOT_AVAILABLE ? CHX_ELOST : CHX_EFAILED;
  return ocl_host->fail(ocl_host->ctx, st, text);
}
