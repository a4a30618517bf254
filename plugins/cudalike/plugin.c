/* SPDX-License-Identifier: MIT
 * plugin.c: the descriptor of cuda and of hip, and their devices, in the driver's order.
 *
 * Without a driver, or without a device, there are none, for a reason that is left with the host; that is no error.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "drv.h"

enum { DEVICES = 32 };

const chx_host *drv_host;
static struct chx_dev devices[DEVICES];
static uint32_t n_devices;
static char no_device[400];

/* ---- finding ----------------------------------------------------------------------------------------------------- */

static drv_result describe(struct chx_dev *d, int ordinal, int version)
{
  size_t memory = 0;
  int units = 0, pools = 0;
  char id[sizeof d->gpu.id];
  drv_result code = drv.DeviceGet(&d->device, ordinal);
  if (!code) code = drv.DeviceGetName(d->name, sizeof d->name, d->device);
  if (!code) code = drv.DeviceTotalMem(&memory, d->device);
  if (!code) code = drv.DeviceGetAttribute(&units, DRV_UNITS, d->device);
  if (code) return code;
  if (drv.has_pools) drv.DeviceGetAttribute(&pools, DRV_POOLS, d->device);
  if (drv.DeviceGetPCIBusId(d->bus_id, sizeof d->bus_id, d->device)) d->bus_id[0] = 0;
  DRV_ARCH(drv, d->device, d->arch, sizeof d->arch);
  d->ordinal = ordinal;
  d->memory = memory;
  d->pools = pools != 0;
  d->gpu.driver = &drv_driver;
  d->gpu.host = drv_host;
  d->gpu.generate = drv_generate;
  snprintf(d->gpu.spec, sizeof d->gpu.spec, DRV_PLUGIN ":%u", n_devices);
  /* The compiler has no part in it: it is not opened where all programs are found on disk. */
  snprintf(id, sizeof id, "%.60s|%.60s|%d", d->name, d->arch, version);
  memcpy(d->gpu.id, id, sizeof id);
  gpu_read_options(&d->gpu);
  d->gpu.defines = d->gpu.reference ? "#define GPU_REFERENCE 1\n" : "";
  d->gpu.dtypes = CHX_ANY_REAL | CHX_BIT(CHX_C64) | CHX_BIT(CHX_C128);
  d->gpu.units = units > 0 ? (uint32_t)units : 1;
  d->gpu.max_groups = DRV_MAX_GROUPS;
  return DRV_SUCCESS;
}

static void find(void)
{
  char why[240] = "";
  const char *call = "initialising the driver", *name = NULL, *said = NULL;
  int n = 0, version = 0;
  if (!drv_api_open(why, sizeof why)) {
    snprintf(no_device, sizeof no_device, DRV_PLUGIN ": no driver: %s", why);
    return;
  }
  drv_result code = drv.Init(0);
  if (!code) call = "counting the devices", code = drv.DeviceGetCount(&n);
  if (!code && drv.DriverGetVersion(&version)) version = 0;
  for (int i = 0; !code && i < n && n_devices < DEVICES; i++) {
    struct chx_dev *d = &devices[n_devices];
    memset(d, 0, sizeof *d);
    call = "asking for a device";
    if (!(code = describe(d, i, version))) n_devices++;
  }
  if (n_devices) return;
  if (!code) {
    snprintf(no_device, sizeof no_device, DRV_PLUGIN ": the driver has no device");
    return;
  }
  DRV_ERROR_NAME(drv, code, &name);
  DRV_ERROR_STRING(drv, code, &said);
  snprintf(no_device, sizeof no_device, DRV_PLUGIN ": %s: %s (%d): %s", call, name ? name : "an unknown code",
           (int)code,
           said ? said : "no text");
}

/* ---- the device -------------------------------------------------------------------------------------------------- */

static chx_status info(chx_dev *dev, chx_device_info *out)
{
  size_t free_bytes = 0, all_bytes = 0;
  if (drv_enter(dev) || drv.MemGetInfo(&free_bytes, &all_bytes)) free_bytes = 0;
  const chx_device_info all = {
    .size = out->size,
    .flags = CHX_D_ASYNC | CHX_D_IMPORT_HOST,
    .name = dev->name,
    .vendor = DRV_VENDOR,
    .bus_id = dev->bus_id,
    .dl_type = DRV_DLPACK,
    .dl_id = dev->ordinal,
    .dtypes = dev->gpu.dtypes,
    .mem_total = dev->memory,
    .mem_free = free_bytes,
    .max_alloc = dev->memory,
    .alignment = 256,
  };
  const uint32_t size = out->size;
  memcpy(out, &all, size < sizeof all ? size : sizeof all);
  return CHX_OK;
}

static const chx_kernel *kernel(chx_dev *dev, uint32_t index)
{
  uint32_t n = 0;
  for (; drv_vendor_kernels[n] && !dev->gpu.reference; n++) /* a library's sums are in an order of its own */
    if (n == index) return drv_vendor_kernels[n];
  return gpu_kernel_at(&dev->gpu, index - n);
}

static chx_status device_open(void *state, uint32_t i, chx_dev **out)
{
  char text[96];
  (void)state;
  if (i >= n_devices) {
    snprintf(text, sizeof text, DRV_PLUGIN ": device %u was asked for, there are %u", i, n_devices);
    return drv_host->fail(drv_host->ctx, CHX_EDEVICE, text);
  }
  struct chx_dev *d = &devices[i];
  if (!d->opened) {
    chx_status st;
    drv_result code = DRV_CONTEXT_OPEN(drv, &d->context, d->device);
    if (code) return drv_fail(d, code, "taking the primary context");
    if ((st = drv_enter(d))) return st;
    if (d->pools && (code = drv.StreamCreate(&d->pool_stream, DRV_STREAM_FLAGS)))
      return drv_fail(d, code, "making a stream for the pool of memory");
    if (!gpu_table_open(&d->gpu))
      return drv_host->fail(drv_host->ctx, CHX_ENOMEM, DRV_PLUGIN ": out of memory for the table of kernels");
    pthread_mutex_init(&d->lock, NULL);
    pthread_mutex_init(&d->recording, NULL);
    d->opened = true;
  }
  *out = d;
  return CHX_OK;
}

static void device_close(chx_dev *dev)
{
  if (!dev->opened) return;
  if (!drv_enter(dev)) {
    drv_blas_close(dev);
    gpu_table_close(&dev->gpu);
    if (dev->pool_stream) drv.StreamDestroy(dev->pool_stream);
  }
  DRV_CONTEXT_CLOSE(drv, dev->device);
  pthread_mutex_destroy(&dev->lock);
  pthread_mutex_destroy(&dev->recording);
  dev->pool_stream = NULL;
  dev->opened = false;
}

static const chx_device_ops *device_ops(void *state)
{
  static const chx_device_ops ops = {
    .size = sizeof ops,
    .info = info,
    .kernel = kernel,
    .alloc = drv_alloc,
    .release = drv_release,
    .copy = drv_copy,
    .import_host = drv_import_host,
    .import_native = drv_import_native,
    .queue_new = drv_queue_new,
    .queue_free = drv_queue_free,
    .queue_mark = drv_queue_mark,
    .queue_wait = drv_queue_wait,
    .queue_sync = drv_queue_sync,
    .queue_native = drv_queue_native,
    .extension = drv_extension,
  };
  (void)state;
  return &ops;
}

/* ---- the plugin -------------------------------------------------------------------------------------------------- */

static chx_status plugin_open(const chx_host *host, void **state)
{
  drv_host = host;
  n_devices = 0;
  no_device[0] = 0;
  *state = devices;
  find();
  return CHX_OK;
}

static chx_status device_count(void *state, uint32_t *n)
{
  (void)state;
  *n = n_devices;
  if (!n_devices) drv_host->fail(drv_host->ctx, CHX_EDEVICE, no_device); /* no error, but the reason */
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
    .size = sizeof plugin, .abi_minor = CHX_ABI_MINOR, .name = DRV_PLUGIN, .version = "0.1.0", .vendor = "chx",
    .build = __VERSION__, .open = plugin_open, .device_count = device_count, .device_open = device_open,
    .device_ops = device_ops, .device_close = device_close, .close = plugin_close,
  };
  return &plugin;
}
