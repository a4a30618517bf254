/* SPDX-License-Identifier: MIT
 * plugin.c: the descriptor of sim, its devices, and the copy of native that computes for them.
 */
#include "internal.h"
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct sim_plugin sim;

/* ---- native ----------------------------------------------------------------------------------------------------------
 * native keeps the host table that it was opened with in a variable of its own, and the core has opened it with the
 * core's. So that ours does not take its place, we load a copy of the file, which the linker takes for another library. */

static chx_status native_fail(void *ctx, chx_status code, const char *msg)
{
  (void)ctx;
  return sim_fail(code, "%s", msg ? msg : "");
}

static void native_log(void *ctx, int32_t level, const char *msg)
{
  (void)ctx;
  if (CHX_HAS(sim.host, chx_host, log)) sim.host->log(sim.host->ctx, level, msg);
}

static chx_status native_parallel_for(void *ctx, int64_t n, int64_t grain, void (*fn)(int64_t, int64_t, void *),
                                      void *arg)
{
  (void)ctx;
  if (CHX_HAS(sim.host, chx_host, parallel_for)) return sim.host->parallel_for(sim.host->ctx, n, grain, fn, arg);
  if (n > 0) fn(0, n, arg);
  return CHX_OK;
}

static const chx_host native_host = {
    .size = sizeof native_host,
    .abi_minor = CHX_ABI_MINOR,
    .fail = native_fail,
    .log = native_log,
    .scratch = sim_scratch,
    .parallel_for = native_parallel_for,
    .option = sim_option,
};

/* A file of memory alone with the content of the one at path; -1 with errno set. */
static int copy_of(const char *path)
{
  FILE *f = fopen(path, "re");
  if (!f) return -1;
  int fd = memfd_create("chx_native", MFD_CLOEXEC);
  char piece[1 << 14];
  size_t n;
  while (fd >= 0 && (n = fread(piece, 1, sizeof piece, f)) > 0)
    for (size_t at = 0; at < n;) {
      ssize_t put = write(fd, piece + at, n - at);
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) {
        close(fd);
        fd = -1;
        break;
      }
      at += (size_t)put;
    }
  fclose(f);
  return fd;
}

static chx_status load_native(chx_entry_fn *entry)
{
  static chx_entry_fn loaded; /* never unmapped, like every plugin */
  Dl_info self;
  char path[PATH_MAX], name[64];
  if ((*entry = loaded)) return CHX_OK;
  if (!dladdr((void *)&sim, &self) || !self.dli_fname) return sim_fail(CHX_EFAILED, "sim: its own file is not known");
  const char *slash = strrchr(self.dli_fname, '/');
  snprintf(path, sizeof path, "%.*schx_native.so", slash ? (int)(slash + 1 - self.dli_fname) : 0, self.dli_fname);
  int fd = copy_of(path);
  if (fd < 0) return sim_fail(CHX_EIO, "sim: %s, whose kernels it runs: %s", path, strerror(errno));
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  void *lib = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  const char *why = lib ? NULL : dlerror();
  close(fd);
  if (!lib) return sim_fail(CHX_EFAILED, "sim: %s, whose kernels it runs: %s", path, why);
  if (!(loaded = *entry = (chx_entry_fn)dlsym(lib, CHX_ENTRY)))
    return sim_fail(CHX_EFAILED, "sim: %s does not export " CHX_ENTRY, path);
  return CHX_OK;
}

static chx_status open_native(void)
{
  chx_entry_fn entry;
  void *state;
  chx_status st = load_native(&entry);
  if (st) return st;
  const chx_plugin *p = entry();
  if ((st = p->open(&native_host, &state))) return st;
  if ((st = p->device_open(state, 0, &sim.native))) return st;
  sim.native_ops = p->device_ops(state);
  return CHX_OK;
}

/* ---- devices --------------------------------------------------------------------------------------------------------- */

static chx_status device_open(void *state, uint32_t i, chx_dev **out)
{
  (void)state;
  if (i >= sim.n_devices) return sim_fail(CHX_EDEVICE, "sim: device %u, there are %u", i, sim.n_devices);
  struct chx_dev *dev = &sim.dev[i];
  if (dev->arena) return sim_fail(CHX_EDEVICE, "%s: it is open already", dev->name);
  chx_status st = sim_read_options(&dev->opt);
  if (st) return st;
  const char *faults = sim_option(NULL, "CHX_SIM_FAIL");
  if (sim_fault_ops.arm(i, faults))
    return sim_fail(CHX_EARG, "sim: CHX_SIM_FAIL is \"%s\", want a list like alloc:7,copy:3,kernel:12,kernel:12:late,lost:9",
                    faults);
  if (!sim_memory_open(dev))
    return sim_fail(CHX_ENOMEM, "%s: no room for its addresses: %s", dev->name, strerror(errno));
  *out = dev;
  return CHX_OK;
}

static void device_close(chx_dev *dev)
{
  if (!sim_here()) sim_memory_close(dev);
}

static chx_status info(chx_dev *dev, chx_device_info *out)
{
  chx_device_info native = {.size = sizeof native};
  if (atomic_load(&dev->lost)) return sim_alive(dev);
  sim.native_ops->info(sim.native, &native);
  uint64_t used = sim.pid == getpid() ? sim_memory_used(dev) : 0;
  const chx_device_info all = {
    .size = out->size,
    .flags = CHX_D_ASYNC | CHX_D_IMPORT_HOST | (dev->opt.mode == SIM_PRIVATE ? 0 : CHX_D_MAPPABLE) | (dev->opt.guard ? CHX_D_OWN_POOL : 0),
    .name = dev->title, .vendor = "chx", .bus_id = "", .dl_type = 12, .dl_id = (int32_t)dev->index,
    .dtypes = native.dtypes, .mem_total = dev->opt.capacity, .mem_free = dev->opt.capacity - used,
    .max_alloc = dev->opt.capacity, .alignment = dev->opt.guard ? 1 : 64,
  };
  memcpy(out, &all, out->size < sizeof all ? out->size : sizeof all);
  return CHX_OK;
}

static const void *extension(chx_dev *dev, const char *name)
{
  (void)dev;
  if (!name) return NULL;
  return !strcmp(name, CHX_SIM_FAULT)     ? (const void *)&sim_fault_ops
         : !strcmp(name, "chx.peer/1")    ? (const void *)&sim_peer_ops
         : !strcmp(name, "chx.capture/1") ? (const void *)&sim_capture_ops
                                          : NULL;
}

static const chx_device_ops *device_ops(void *state)
{
  static const chx_device_ops ops = {
      .size = sizeof ops,
      .info = info,
      .kernel = sim_kernel_at,
      .alloc = sim_alloc,
      .release = sim_release,
      .copy = sim_copy,
      .map = sim_map,
      .unmap = sim_unmap,
      .import_host = sim_import_host,
      .import_native = sim_import_native,
      .queue_new = sim_queue_new,
      .queue_free = sim_queue_free,
      .queue_mark = sim_queue_mark,
      .queue_wait = sim_queue_wait,
      .queue_sync = sim_queue_sync,
      .queue_call = sim_queue_call,
      .queue_native = sim_queue_native,
      .extension = extension,
  };
  (void)state;
  return &ops;
}

/* ---- the plugin ------------------------------------------------------------------------------------------------------ */

static void forget_devices(void)
{
  uint32_t n = sim.n_devices;
  sim.n_devices = 0;
  for (uint32_t i = 0; i < n; i++) {
    sim_memory_close(&sim.dev[i]);
    pthread_mutex_destroy(&sim.dev[i].lock);
  }
  free(sim.dev);
  sim.dev = NULL;
}

static chx_status make_devices(void)
{
  uint32_t n;
  chx_status st = sim_count_devices(&n);
  if (st) return st;
  if (!(sim.dev = calloc(n, sizeof *sim.dev))) return sim_fail(CHX_ENOMEM, "sim: no memory for %u devices", n);
  for (uint32_t i = 0; i < n; i++) {
    struct chx_dev *dev = &sim.dev[i];
    dev->index = i;
    snprintf(dev->name, sizeof dev->name, "sim:%u", i);
    snprintf(dev->title, sizeof dev->title, "simulated accelerator %u", i);
    pthread_mutex_init(&dev->lock, NULL);
  }
  sim.n_devices = n;
  return CHX_OK;
}

static chx_status plugin_open(const chx_host *host, void **state)
{
  if (sim.host) return host->fail(host->ctx, CHX_EFAILED, "sim: it is open already, by another user in this process");
  sim.host = host;
  sim.pid = getpid();
  chx_status st = make_devices();
  if (!st) st = open_native();
  if (!st && !sim_kernels_open()) st = sim_fail(CHX_ENOMEM, "sim: no memory for its table of kernels");
  if (st) {
    forget_devices();
    sim.host = NULL;
  }
  *state = &sim;
  return st;
}

static chx_status device_count(void *state, uint32_t *n)
{
  (void)state;
  *n = sim.n_devices;
  return CHX_OK;
}

static void plugin_close(void *state)
{
  (void)state;
  if (sim_here()) return;
  sim_queues_stop();
  forget_devices();
  sim_kernels_close();
  sim.host = NULL;
}

/* When the process ends, no thread may run on in libraries that are being taken down. */
__attribute__((destructor)) static void at_exit(void)
{
  if (sim.host && sim.pid == getpid()) sim_queues_stop();
}

CHX_EXPORT const chx_plugin *chx_plugin_v1(void);
CHX_EXPORT const chx_plugin *chx_plugin_v1(void)
{
  static const chx_plugin plugin = {
    .size = sizeof plugin, .abi_minor = CHX_ABI_MINOR, .name = "sim", .version = "0.1.0", .vendor = "chx",
    .build = __VERSION__, .open = plugin_open, .device_count = device_count, .device_open = device_open,
    .device_ops = device_ops, .device_close = device_close, .close = plugin_close,
  };
  return &plugin;
}
