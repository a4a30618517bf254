/* SPDX-License-Identifier: MIT
 * plugin.c: opencl's descriptor and its devices: all devices of all platforms, in the order in which the ICD loader names
 * them.
 *
 * CHX_OPENCL_PLATFORM, part of a platform's name, keeps the others out. CHX_OPENCL_LIBRARY names another libOpenCL,
 * CHX_OPENCL_OPTIONS adds options for clBuildProgram; CHX_OPENCL_CLBLAST=1 or 0 wants CLBlast on every device, or on none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "opencl.h"

enum { DEVICES = 32, PLATFORMS = 16 };

const chx_host *ocl_host;
static struct chx_dev devices[DEVICES];
static uint32_t n_devices;
static char no_device[320];

/* ---- finding --------------------------------------------------------------------------------------------------------- */

static void text_of(cl_device_id device, cl_device_info what, char *text, size_t size)
{
  char all[1024] = "";
  ocl.clGetDeviceInfo(device, what, sizeof all - 1, all, NULL);
  const char *start = all + strspn(all, " ");
  snprintf(text, size, "%.*s", (int)size - 1, start);
}

static bool has_f64(cl_device_id device)
{
  cl_device_fp_config config = 0;
  return !ocl.clGetDeviceInfo(device, CL_DEVICE_DOUBLE_FP_CONFIG, sizeof config, &config, NULL) && config != 0;
}

/* CLBlast is for GPUs, unless the user says otherwise; on CPUs it compiles for seconds and is slower than our own product. */
static bool wants_clblast(const struct chx_dev *d)
{
#if CHX_HAVE_CLBLAST
  cl_device_type type = 0;
  const char *own = CHX_HAS(ocl_host, chx_host, option) ? ocl_host->option(ocl_host->ctx, "CHX_OPENCL_CLBLAST") : NULL;
  if (d->gpu.reference) return false; /* its sums are in an order of its own */
  if (own && *own) return strcmp(own, "0") != 0;
  return !ocl.clGetDeviceInfo(d->device, CL_DEVICE_TYPE, sizeof type, &type, NULL) && type & CL_DEVICE_TYPE_GPU;
#else
  (void)d;
  return false;
#endif
}

static void describe(struct chx_dev *d, const char *platform)
{
  cl_uint units = 1, align_bits = 1024;
  cl_bool unified = CL_FALSE;
  cl_device_fp_config single = 0;
  char driver[96], id[sizeof d->gpu.id];
  text_of(d->device, CL_DEVICE_NAME, d->name, sizeof d->name);
  text_of(d->device, CL_DEVICE_VENDOR, d->vendor, sizeof d->vendor);
  text_of(d->device, CL_DEVICE_VERSION, d->version, sizeof d->version);
  text_of(d->device, CL_DRIVER_VERSION, driver, sizeof driver);
  ocl.clGetDeviceInfo(d->device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL);
  ocl.clGetDeviceInfo(d->device, CL_DEVICE_HOST_UNIFIED_MEMORY, sizeof unified, &unified, NULL);
  ocl.clGetDeviceInfo(d->device, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof d->memory, &d->memory, NULL);
  ocl.clGetDeviceInfo(d->device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof d->max_alloc, &d->max_alloc, NULL);
  ocl.clGetDeviceInfo(d->device, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof align_bits, &align_bits, NULL);
  ocl.clGetDeviceInfo(d->device, CL_DEVICE_SINGLE_FP_CONFIG, sizeof single, &single, NULL);
  d->alignment = align_bits / 8;
  d->host_shared = unified == CL_TRUE;
  const bool f64 = has_f64(d->device);
  const char *more = CHX_HAS(ocl_host, chx_host, option) ? ocl_host->option(ocl_host->ctx, "CHX_OPENCL_OPTIONS") : NULL;
  snprintf(d->build_options, sizeof d->build_options, "-cl-std=CL1.2%s %s",
           single & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT ? " -cl-fp32-correctly-rounded-divide-sqrt" : "", more ? more : "");
  d->gpu.driver = &ocl_driver;
  d->gpu.host = ocl_host;
  snprintf(d->gpu.spec, sizeof d->gpu.spec, "opencl:%u", n_devices);
  snprintf(id, sizeof id, "%.40s|%.70s|%.60s|%.40s|%s", platform, d->name, d->version, driver, d->build_options);
  memcpy(d->gpu.id, id, sizeof id);
  gpu_read_options(&d->gpu);
  d->gpu.defines = d->gpu.reference ? (f64 ? "#define GPU_F64 1\n#define GPU_REFERENCE 1\n" : "#define GPU_REFERENCE 1\n")
                                    : (f64 ? "#define GPU_F64 1\n" : "");
  d->gpu.dtypes = CHX_ANY_REAL | CHX_BIT(CHX_C64) | CHX_BIT(CHX_C128);
  if (!f64) d->gpu.dtypes &= ~(CHX_BIT(CHX_F64) | CHX_BIT(CHX_C128));
  d->clblast = wants_clblast(d);
  d->gpu.units = units ? units : 1;
  d->gpu.max_groups = INT32_MAX / GPU_WG;
}

static void add_platform(cl_platform_id platform, const char *wanted)
{
  char name[128] = "";
  cl_device_id ids[DEVICES];
  cl_uint n = 0;
  ocl.clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof name - 1, name, NULL);
  if (wanted && *wanted && !strstr(name, wanted)) return;
  if (ocl.clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, DEVICES, ids, &n)) return;
  for (cl_uint i = 0; i < n && i < DEVICES && n_devices < DEVICES; i++) {
    struct chx_dev *d = &devices[n_devices];
    cl_bool usable = CL_FALSE, compiler = CL_FALSE;
    size_t group = 0;
    memset(d, 0, sizeof *d);
    ocl.clGetDeviceInfo(ids[i], CL_DEVICE_AVAILABLE, sizeof usable, &usable, NULL);
    ocl.clGetDeviceInfo(ids[i], CL_DEVICE_COMPILER_AVAILABLE, sizeof compiler, &compiler, NULL);
    ocl.clGetDeviceInfo(ids[i], CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof group, &group, NULL);
    if (!usable || !compiler || group < GPU_WG) continue;
    d->platform = platform;
    d->device = ids[i];
    describe(d, name);
    n_devices++;
  }
}

/* ---- the device ------------------------------------------------------------------------------------------------------- */

static chx_status info(chx_dev *dev, chx_device_info *out)
{
  const uint64_t used = atomic_load(&dev->used);
  const chx_device_info all = {
    .size = out->size,
    .flags = CHX_D_ASYNC | CHX_D_OPAQUE | (dev->host_shared ? CHX_D_MAPPABLE | CHX_D_IMPORT_HOST : 0),
    .name = dev->name,
    .vendor = dev->vendor,
    .bus_id = "",
    .dl_type = 4, /* kDLOpenCL */
    .dl_id = (int32_t)(dev - devices),
    .dtypes = dev->gpu.dtypes,
    .mem_total = dev->memory,
    .mem_free = dev->memory > used ? dev->memory - used : 0,
    .max_alloc = dev->max_alloc,
    .alignment = dev->alignment,
  };
  memcpy(out, &all, out->size < sizeof all ? out->size : sizeof all);
  return CHX_OK;
}

static const chx_kernel *kernel(chx_dev *dev, uint32_t index)
{
  uint32_t n = 0;
#if CHX_HAVE_CLBLAST
  for (; dev->clblast && ocl_clblast_kernels[n]; n++)
    if (n == index) return ocl_clblast_kernels[n];
#endif
  return gpu_kernel_at(&dev->gpu, index - n);
}

static chx_status device_open(void *state, uint32_t i, chx_dev **out)
{
  char text[96];
  cl_int code;
  (void)state;
  if (i >= n_devices) {
    snprintf(text, sizeof text, "opencl: device %u was asked for, there are %u", i, n_devices);
    return ocl_host->fail(ocl_host->ctx, CHX_EDEVICE, text);
  }
  struct chx_dev *d = &devices[i];
  if (!d->context) {
    const cl_context_properties where[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)d->platform, 0};
    if (!(d->context = ocl.clCreateContext(where, 1, &d->device, NULL, NULL, &code))) return ocl_fail(d, code, "clCreateContext");
    if (!gpu_table_open(&d->gpu)) return ocl_host->fail(ocl_host->ctx, CHX_ENOMEM, "opencl: out of memory for the table of kernels");
  }
  *out = d;
  return CHX_OK;
}

static void device_close(chx_dev *dev)
{
  gpu_table_close(&dev->gpu);
  if (dev->context) ocl.clReleaseContext(dev->context);
  dev->context = NULL;
}

static const void *extension(chx_dev *dev, const char *name)
{
  (void)dev;
  return name && !strcmp(name, "chx.rtc/1") ? &ocl_rtc : NULL;
}

static const chx_device_ops *device_ops(void *state)
{
  static const chx_device_ops ops = {
    .size = sizeof ops,
    .info = info,
    .kernel = kernel,
    .alloc = ocl_alloc,
    .release = ocl_release,
    .copy = ocl_copy,
    .map = ocl_map,
    .unmap = ocl_unmap,
    .import_host = ocl_import_host,
    .import_native = ocl_import_native,
    .queue_new = ocl_queue_new,
    .queue_free = ocl_queue_free,
    .queue_mark = ocl_queue_mark,
    .queue_wait = ocl_queue_wait,
    .queue_sync = ocl_queue_sync,
    .queue_native = ocl_queue_native,
    .extension = extension,
  };
  (void)state;
  return &ops;
}

/* ---- the plugin --------------------------------------------------------------------------------------------------------- */

static chx_status plugin_open(const chx_host *host, void **state)
{
  cl_platform_id platforms[PLATFORMS];
  cl_uint n = 0;
  char why[240] = "";
  ocl_host = host;
  n_devices = 0;
  no_device[0] = 0;
  *state = devices;
  if (!ocl_api_open(why, sizeof why)) {
    snprintf(no_device, sizeof no_device, "opencl: no OpenCL loader: %s", why);
    return CHX_OK;
  }
  const cl_int code = ocl.clGetPlatformIDs(PLATFORMS, platforms, &n);
  const char *wanted = CHX_HAS(host, chx_host, option) ? host->option(host->ctx, "CHX_OPENCL_PLATFORM") : NULL;
  for (cl_uint i = 0; !code && i < n && i < PLATFORMS; i++) add_platform(platforms[i], wanted);
  if (code) snprintf(no_device, sizeof no_device, "opencl: clGetPlatformIDs: %s (%d)", ocl_code(code), (int)code);
  else if (!n_devices)
    snprintf(no_device, sizeof no_device, "opencl: %u platform(s) without a device that can be used%s%s", n,
             wanted && *wanted ? ", CHX_OPENCL_PLATFORM is " : "", wanted ? wanted : "");
  return CHX_OK;
}

static chx_status device_count(void *state, uint32_t *n)
{
  (void)state;
  *n = n_devices;
  if (!n_devices) ocl_host->fail(ocl_host->ctx, CHX_EDEVICE, no_device); /* no error, but the reason */
  return CHX_OK;
}

static void plugin_close(void *state)
{
  (void)state;
  for (uint32_t i = 0; i < n_devices; i++) device_close(&devices[i]);
}

CHX_EXPORT const chx_plugin *chx_plugin_v1(void);
CHX_EXPORT const chx_plugin *chx_plugin_v1(void)
{
  static const chx_plugin plugin = {
    .size = sizeof plugin, .abi_minor = CHX_ABI_MINOR, .name = "opencl", .version = "0.1.0", .vendor = "chx",
    .build = __VERSION__, .open = plugin_open, .device_count = device_count, .device_open = device_open,
    .device_ops = device_ops, .device_close = device_close, .close = plugin_close,
  };
  return &plugin;
}
