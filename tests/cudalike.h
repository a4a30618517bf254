/* SPDX-License-Identifier: MIT
 * cudalike.h: what test_cuda.c and test_hip.c test alike: the host code of plugins/cudalike, through the plugin's own
 * ABI, on the stand-in of fakegpu.h. Who includes it has defined PLUGIN, and the names of the options.
 */
#include "check.h"
#include <chx/plugin.h>
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../core/dlpack.h"
#include "../plugins/gpu/gpu.h"
#include "fakegpu.h"

/* ---- the stand-in and the plugin --------------------------------------------------------------------------------- */

static struct {
  int (*lines)(void);
  const char *(*line)(int);
  void (*clear)(void);
  void (*watch)(fake_watcher *);
  void (*later)(void *, void (*)(void *), const void *, uint64_t);
  fake_state *state;
} gpu;
static const chx_plugin *plugin;
static char said[1024], plugin_path[4096], fake_path[4096], cache[4096];

/* Sets the options, and opens both. False: one is not there. */
static bool prepared(void)
{
  const char *build = getenv("CHX_BUILDDIR");
  snprintf(plugin_path, sizeof plugin_path, "%s/.libs/chx_" PLUGIN ".so", build ? build : ".");
  snprintf(fake_path, sizeof fake_path, "%s/tests/.libs/fake" PLUGIN ".so", build ? build : ".");
  snprintf(cache, sizeof cache, "%s/chx-" PLUGIN "-XXXXXX", build ? build : ".");
  static const char *const options[] = {OPTIONS};
  for (size_t i = 0; i < sizeof options / sizeof *options; i++) setenv(options[i], fake_path, 1);
  if (!mkdtemp(cache)) return false;
  setenv("CHX_CACHE_DIR", "", 1);
  void *lib = dlopen(fake_path, RTLD_NOW | RTLD_LOCAL), *own = lib ? dlopen(plugin_path, RTLD_NOW | RTLD_LOCAL) : NULL;
  chx_entry_fn entry = own ? (chx_entry_fn)dlsym(own, CHX_ENTRY) : NULL;
  if (!entry) return note("%s", dlerror()), false;
  gpu.lines = (int (*)(void))dlsym(lib, "fake_lines");
  gpu.line = (const char *(*)(int))dlsym(lib, "fake_line");
  gpu.clear = (void (*)(void))dlsym(lib, "fake_clear");
  gpu.watch = (void (*)(fake_watcher *))dlsym(lib, "fake_watch");
  gpu.later = (void (*)(void *, void (*)(void *), const void *, uint64_t))dlsym(lib, "fake_later");
  gpu.state = ((fake_state * (*)(void)) dlsym(lib, "fake"))();
  plugin = entry();
  return true;
}

static int count(const char *piece)
{
  int n = 0;
  for (int i = 0; i < gpu.lines(); i++) n += strstr(gpu.line(i), piece) != NULL;
  return n;
}

static const char *last(const char *piece)
{
  for (int i = gpu.lines(); i-- > 0;)
    if (strstr(gpu.line(i), piece)) return gpu.line(i);
  return "";
}

static chx_status fail(void *ctx, chx_status code, const char *text)
{
  (void)ctx;
  snprintf(said, sizeof said, "%s", text);
  return code;
}

static const char *option(void *ctx, const char *key) { return (void)ctx, getenv(key); }

static chx_host host = {.size = sizeof host, .fail = fail, .option = option};

/* The plugin opened anew; how many devices it has. */
static int open_plugin(void)
{
  void *state;
  uint32_t n = 99;
  said[0] = 0;
  is_int(plugin->open(&host, &state), CHX_OK, "the plugin opens: %s", said);
  is_int(plugin->device_count(state, &n), CHX_OK, "it counts its devices");
  return (int)n;
}

static chx_dev *device(uint32_t i)
{
  chx_dev *d = NULL;
  is_int(plugin->device_open(NULL, i, &d), CHX_OK, "device %u opens: %s", i, said);
  return d;
}

/* fn in a child, for what a process does once; what the child says is shown if it fails. */
static void in_child(void (*fn)(void), const char *what)
{
  char line[2048];
  int status = -1;
  FILE *out = tmpfile();
  if (!out) return (void)ok(false, "%s: no file for its output", what);
  fflush(stdout);
  const pid_t pid = fork();
  if (!pid) {
    check_count = check_failed = 0;
    dup2(fileno(out), 1);
    fn();
    _exit(check_failed ? 1 : check_count ? 0 : 2);
  }
  waitpid(pid, &status, 0);
  ok(status == 0, "%s (in a child, which ends with %d)", what, status);
  for (rewind(out); status && fgets(line, sizeof line, out);) note("  %.*s", (int)strcspn(line, "\n"), line);
  fclose(out);
}

/* ---- devices ----------------------------------------------------------------------------------------------------- */

static void without_library(void)
{
  setenv(DRIVER_OPTION, "/nowhere/libdriver.so", 1);
  is_int(open_plugin(), 0, "no device");
  ok(strstr(said, PLUGIN ": no driver") && strstr(said, "/nowhere/libdriver.so"), "%s", said);
}

static void wrong_library(void)
{
  setenv(DRIVER_OPTION, "libz.so.1", 1);
  is_int(open_plugin(), 0, "no device");
  ok(strstr(said, "the library has no ") != NULL, "%s", said);
}

static void no_devices(void)
{
  in_child(without_library, "no driver: no device, and the reason");
  in_child(wrong_library, "a library that is not the driver's: no device, and the reason");
  gpu.state->init = 100;
  is_int(open_plugin(), 0, "a driver that does not start has no device");
  ok(strstr(said, "(100)") && strstr(said, "the stand-in's text"), "with its code and text: %s", said);
  gpu.state->init = 0;
  gpu.state->devices = 0;
  is_int(open_plugin(), 0, "a driver may have no device");
  ok(strstr(said, "no device") != NULL, "%s", said);
  gpu.state->devices = 2;
}

static void described(const chx_device_ops *ops, chx_dev *d, int i)
{
  chx_device_info info = {.size = sizeof info};
  char want[32];
  is_int(ops->info(d, &info), CHX_OK, "info of device %d", i);
  snprintf(want, sizeof want, "stand-in %d", i);
  is_str(info.name, want, "its name");
  snprintf(want, sizeof want, "0000:0%d:00.0", i);
  is_str(info.bus_id, want, "its place on the bus");
  ok(info.flags == (CHX_D_ASYNC | CHX_D_IMPORT_HOST) && info.dl_type == DLPACK && info.dl_id == i && info.alignment == 256,
     "flags, DLPack's name, alignment");
  ok(info.mem_total == (uint64_t)1 << 30 && info.mem_free == gpu.state->free_bytes, "memory");
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

enum { H2D, D2H, D2D };

static chx_buffer block(const chx_device_ops *ops, chx_dev *d, chx_queue *q, uint64_t bytes)
{
  chx_buffer b = {.size = sizeof b};
  if (ops->alloc(d, q, bytes, CHX_B_DEVICE, &b)) note("alloc: %s", said);
  return b;
}

static void memory(const chx_device_ops *ops, chx_dev *d, chx_queue *q, const char *how)
{
  enum { N = (5 << 20) + 3 };
  char *a = malloc(N), *b = calloc(1, N);
  for (int i = 0; i < N; i++) a[i] = (char)(i * 31 + i / 1000);
  gpu.clear();
  chx_buffer x = block(ops, d, q, N + 7), y = block(ops, d, q, N + 7), none = {.size = sizeof none};
  ok(count(how) == 2 && (uintptr_t)x.handle % 256 == 0, "blocks come by %s, at multiples of 256", how);
  is_int(ops->copy(d, q, x.handle, 7, a, 0, N, H2D), CHX_OK, "bytes to the device");
  memset(a, 0, N); /* they are ours again */
  is_int(ops->copy(d, q, y.handle, 3, x.handle, 7, N, D2D), CHX_OK, "over to another block");
  is_int(ops->copy(d, q, b, 0, y.handle, 3, N, D2H), CHX_OK, "and back");
  is_int(ops->queue_sync(d, q, ops->queue_mark(d, q), INT64_MAX), CHX_OK, "waited for");
  int wrong = 0;
  for (int i = 0; i < N; i++) wrong += b[i] != (char)(i * 31 + i / 1000);
  is_int(wrong, 0, "they are the same, though the host's were overwritten");
  is_int(count("CopyIn"), 6, "in pieces of a MiB");
  is_int(gpu.state->pinned, 1, "through one pinned block");
  is_int(ops->copy(d, q, x.handle, 0, a, 0, 0, H2D), CHX_OK, "nothing is copied");
  is_int(ops->copy(d, NULL, x.handle, 0, a, 0, 1, H2D), CHX_EARG, "without a queue: %s", said);
  is_int(ops->copy(d, q, x.handle, 0, a, 0, 1, 9), CHX_EARG, "in no direction: %s", said);
  chx_buffer zero = block(ops, d, q, 0);
  ok(zero.handle && zero.bytes == 0, "a block of no bytes is a block");
  ops->release(d, q, &zero);
  ops->release(d, q, &x);
  ops->release(d, NULL, &y);
  ok(!x.handle && !y.handle, "released");
  is_int(ops->queue_sync(d, q, UINT64_MAX, INT64_MAX), CHX_OK, "a point to come may be waited for");
  const uint64_t free_bytes = gpu.state->free_bytes;
  gpu.state->free_bytes = 1000;
  is_int(ops->alloc(d, q, 1001, CHX_B_DEVICE, &none), CHX_ENOMEM, "too much: %s", said);
  ok(strstr(said, PLUGIN ":") && strstr(said, "1001 bytes, 1000 are free") && strstr(said, "(2)"),
     "with bytes and code");
  gpu.state->free_bytes = free_bytes;
  free(a);
  free(b);
}

/* ---- queues ------------------------------------------------------------------------------------------------------ */

static void queues(const chx_device_ops *ops, chx_dev *d)
{
  chx_queue *a, *b, *c;
  int host_value = 41, got = 0;
  ok(!ops->queue_new(d, NULL, &a) && !ops->queue_new(d, NULL, &b), "two queues");
  chx_buffer x = block(ops, d, a, sizeof host_value);
  for (int i = 0; i < 40; i++) { /* more waits than there are events */
    host_value = i;
    ops->copy(d, a, x.handle, 0, &host_value, 0, sizeof host_value, H2D);
    is_int(ops->queue_wait(d, b, a, ops->queue_mark(d, a)), CHX_OK, "one waits for the other, on the device");
    ops->copy(d, b, &got, 0, x.handle, 0, sizeof got, D2H);
    is_int(got, i, "and reads what it wrote");
    ops->queue_wait(d, a, b, ops->queue_mark(d, b));
  }
  ok(gpu.state->events <= 2 * (8 + 4), "%d events are kept", gpu.state->events);
  host_value = 7;
  ops->copy(d, a, x.handle, 0, &host_value, 0, sizeof host_value, H2D);
  is_int(ops->queue_wait(d, b, a, ops->queue_mark(d, a) + 100), CHX_OK, "a later point is as good");
  ops->copy(d, b, &got, 0, x.handle, 0, sizeof got, D2H);
  is_int(got, 7, "for what is before it");
  ops->copy(d, a, x.handle, 0, &host_value, 0, sizeof host_value, H2D);
  const uint64_t point = ops->queue_mark(d, a);
  is_int(ops->queue_sync(d, a, point, 0), CHX_NOT_READY, "a poll finds work to do");
  chx_status st = CHX_NOT_READY;
  for (int i = 0; i < 100 && st == CHX_NOT_READY; i++) st = ops->queue_sync(d, a, point, 0);
  is_int(st, CHX_OK, "and then none");
  ops->copy(d, a, x.handle, 0, &host_value, 0, sizeof host_value, H2D);
  is_int(ops->queue_sync(d, a, ops->queue_mark(d, a), 1000000000), CHX_OK, "a wait with an end");
  chx_buffer z = block(ops, d, a, 64);
  ops->copy(d, a, z.handle, 0, &host_value, 0, sizeof host_value, H2D);
  ops->release(d, NULL, &z);
  is_int(ops->queue_sync(d, a, ops->queue_mark(d, a), 0), CHX_OK, "a release without a queue has waited for all work");
  const int streams = gpu.state->streams;
  is_int(ops->queue_new(d, ops->queue_native(d, a), &c), CHX_OK, "a stream of somebody else");
  ok(ops->queue_native(d, c) == ops->queue_native(d, a), "is the queue's");
  ops->queue_free(d, c);
  is_int(gpu.state->streams, streams, "and outlives it");
  ops->release(d, a, &x);
  ops->queue_free(d, a);
  ops->queue_free(d, b);
}

static void errors(const chx_device_ops *ops, chx_dev *d)
{
  chx_queue *q;
  int v = 1;
  ops->queue_new(d, NULL, &q);
  chx_buffer x = block(ops, d, q, 64);
  gpu.state->fail = 1;
  gpu.state->fail_at = "CopyIn";
  is_int(ops->copy(d, q, x.handle, 0, &v, 0, sizeof v, H2D), CHX_EFAILED, "a call fails: %s", said);
  ok(strstr(said, PLUGIN ":0: copying to the device: ") && strstr(said, "(1): the stand-in's text"),
     "with device, code and text");
  is_int(ops->copy(d, q, x.handle, 0, &v, 0, sizeof v, H2D), CHX_OK, "the next does not");
  gpu.state->fail = 700;
  gpu.state->fail_at = "StreamSynchronize";
  is_int(ops->queue_sync(d, q, ops->queue_mark(d, q), INT64_MAX), CHX_ELOST, "a late error: %s", said);
  ok(strstr(said, "(700)") != NULL, "with its code");
  said[0] = 0;
  is_int(ops->queue_sync(d, q, ops->queue_mark(d, q), 0), CHX_ELOST, "it sticks: %s", said);
  ok(strstr(said, "an earlier command") && strstr(said, "(700)"), "and says so");
  ops->release(d, q, &x);
  ops->queue_free(d, q);
  ops->queue_new(d, NULL, &q);
  x = block(ops, d, q, 64);
  ops->copy(d, q, x.handle, 0, &v, 0, sizeof v, H2D);
  gpu.state->fail = 719;
  gpu.state->fail_at = "EventQuery";
  is_int(ops->queue_sync(d, q, ops->queue_mark(d, q), 0), CHX_ELOST, "a poll finds one: %s", said);
  ops->release(d, q, &x);
  ops->queue_free(d, q);
}

/* Memory of the host and of the device that the plugin has not allocated. */
static void imports(const chx_device_ops *ops, chx_dev *d, chx_dev *e)
{
  static char own[3000], got[3000];
  chx_queue *q;
  chx_buffer b = {.size = sizeof b}, n = b, none = b;
  ops->queue_new(d, NULL, &q);
  chx_buffer x = block(ops, d, q, sizeof own);
  ops->copy(d, q, x.handle, 0, own, 0, sizeof own, H2D);
  const int before = gpu.state->pinned, blocks = gpu.state->blocks;
  gpu.clear();
  for (size_t i = 0; i < sizeof own; i++) own[i] = (char)(i * 7);
  is_int(ops->import_host(d, own, sizeof own, 0, &b), CHX_OK, "the host's memory is imported: %s", said);
  ok(b.handle && b.host_ptr == own && b.bytes == sizeof own &&
       b.flags == (CHX_B_PINNED | CHX_B_SHARED | CHX_B_COHERENT | CHX_B_IMPORTED), "where it is");
  ok(count("HostRegister 3000 flags 3") == 1, "pinned, for all devices to reach: %s", last("HostRegister"));
  ops->copy(d, q, x.handle, 0, b.handle, 0, sizeof own, D2D);
  ops->copy(d, q, got, 0, x.handle, 0, sizeof got, D2H);
  ok(!memcmp(got, own, sizeof own), "the device reads it");
  ops->copy(d, q, b.handle, 10, x.handle, 0, 100, D2D);
  ops->release(d, q, &b);
  ok(!memcmp(own + 10, got, 100) && count("HostUnregister") == 1 && gpu.state->pinned == before && !b.handle,
     "its end waits for the queue, and unpins it");
  b.handle = NULL;
  is_int(ops->import_host(d, NULL, 8, 0, &none), CHX_EARG, "no memory: %s", said);
  gpu.state->fail = 1;
  gpu.state->fail_at = "HostRegister";
  is_int(ops->import_host(d, own, sizeof own, 0, &none), CHX_EFAILED, "it cannot be pinned: %s", said);
  gpu.state->fail_at = "HostDevicePointer";
  is_int(ops->import_host(d, own, sizeof own, 0, &none), CHX_EFAILED, "it has no address there: %s", said);
  is_int(gpu.state->pinned, before, "and is not left pinned");
  is_int(ops->import_native(d, (char *)x.handle + 8, sizeof own - 8, &n), CHX_OK, "the device's memory is imported: %s", said);
  ok(n.handle == (char *)x.handle + 8 && n.bytes == sizeof own - 8 && n.flags == (CHX_B_DEVICE | CHX_B_IMPORTED), "as it is");
  gpu.clear();
  ops->release(d, q, &n);
  ok(gpu.state->blocks == blocks && !count("Free") && !n.handle, "its end frees nothing");
  is_int(ops->import_native(e, x.handle, 64, &none), CHX_EARG, "on another device: %s", said);
  ok(strstr(said, "memory of device 0, want " PLUGIN ":1's") != NULL, "with both");
  is_int(ops->import_native(d, own, 64, &none), CHX_EARG, "the host's: %s", said);
  is_int(ops->import_native(d, NULL, 64, &none), CHX_EARG, "none: %s", said);
  is_int(ops->import_host(d, own, sizeof own, 0, &b), CHX_OK, "pinned again: %s", said);
  is_int(ops->import_native(d, own, 64, &none), CHX_EARG, "pinned memory of the host: %s", said);
  ok(strstr(said, "memory of the host, want " PLUGIN ":0's") != NULL, "with what it is");
  ops->release(d, NULL, &b);
  ops->release(d, q, &x);
  ops->queue_free(d, q);
}

static void peers(const chx_device_ops *ops, chx_dev *d, chx_dev *e)
{
  const chx_peer_ops *peer = ops->extension(d, "chx.peer/1");
  chx_queue *q, *p;
  char a[1000], b[1000] = {0};
  if (!ok(peer && !ops->extension(d, "chx.other/1"), "copies between devices are an extension")) return;
  for (size_t i = 0; i < sizeof a; i++) a[i] = (char)(i * 3);
  ops->queue_new(d, NULL, &q);
  ops->queue_new(e, NULL, &p);
  chx_buffer x = block(ops, d, q, sizeof a), y = block(ops, e, p, sizeof a);
  ops->copy(d, q, x.handle, 0, a, 0, sizeof a, H2D);
  ops->queue_sync(d, q, ops->queue_mark(d, q), INT64_MAX);
  gpu.clear();
  is_int(peer->can(e, d), CHX_OK, "these two can");
  ok(count("EnablePeer 0 at 1") == 1 && count("PoolSetAccess pool 0 device 1") == 1,
     "device 1 may reach device 0's memory");
  is_int(peer->copy(e, p, y.handle, 10, d, x.handle, 20, 900), CHX_OK, "copied");
  ok(strstr(last("CopyPeer"), "CopyPeer 900 to 1 from 0") != NULL, "%s", last("CopyPeer"));
  ops->copy(e, p, b, 0, y.handle, 10, 900, D2H);
  ok(!memcmp(b, a + 20, 900), "the bytes came");
  ops->release(d, q, &x);
  ops->release(e, p, &y);
  ops->queue_free(d, q);
  ops->queue_free(e, p);
}

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

static struct { char name[64]; unsigned groups, threads; void *buffer[2]; unsigned char geometry[GPU_GEOM_BYTES]; } seen;
static size_t geometry_bytes;

/* copy's parameters, as plugins/gpu/k_copy.c has them: x, y, the geometry of y and x. */
static void watch_copy(const char *kernel, unsigned groups, unsigned threads, void **p)
{
  snprintf(seen.name, sizeof seen.name, "%s", kernel);
  seen.groups = groups, seen.threads = threads;
  memcpy(&seen.buffer[0], p[0], sizeof(void *));
  memcpy(&seen.buffer[1], p[1], sizeof(void *));
  memcpy(seen.geometry, p[2], geometry_bytes);
}

static const chx_kernel *kernel_of(const chx_device_ops *ops, chx_dev *d, const char *op, int which)
{
  const chx_kernel *k;
  for (uint32_t i = 0; (k = ops->kernel(d, i)); i++)
    if (!strcmp(k->op, op) && !which--) return k;
  return NULL;
}

static chx_tensor row(const chx_buffer *b, const int64_t *shape, const int64_t *stride, uint64_t offset)
{
  return (chx_tensor){.data = b->handle, .ndim = 1, .code = 2, .bits = 32, .lanes = 1, .shape = shape,
                      .strides = stride,
                      .byte_offset = offset, .buf = b->handle, .flags = (uint64_t)CHX_F32 << 8, .extent = 4096};
}

static const int64_t copy_shape[1] = {5000}, two[1] = {2}, one[1] = {1};

/* A copy of 5000 elements at steps 2 into dense ones. */
static chx_status run_copy(const chx_device_ops *ops, chx_dev *d, chx_queue *q, chx_buffer *x, chx_buffer *y)
{
  const chx_kernel *k = kernel_of(ops, d, "copy", 0);
  chx_tensor in = row(x, copy_shape, two, 64), out = row(y, copy_shape, one, 128);
  const chx_call call = {.size = sizeof call, .op_version = 1, .dev = d, .queue = q, .in = &in, .out = &out, .n_in = 1,
                         .n_out = 1};
  return k->run(k->self, &call);
}

/* The bytes of its geometry. */
static size_t geometry_of_copy(chx_buffer *x, chx_buffer *y, unsigned char *bytes)
{
  const chx_tensor in = row(x, copy_shape, two, 64), out = row(y, copy_shape, one, 128), *const op[2] = {&out, &in};
  gpu_geometry g;
  memset(&g, 0, sizeof g);
  gpu_geometry_of(&g, 1, copy_shape, op, 2);
  return gpu_pack_geom(&g, gpu_rank_bucket(g.nd), bytes);
}

static void launches(const chx_device_ops *ops, chx_dev *d)
{
  chx_queue *q;
  ops->queue_new(d, NULL, &q);
  chx_buffer x = block(ops, d, q, 65536), y = block(ops, d, q, 65536);
  unsigned char want[GPU_GEOM_BYTES];
  geometry_bytes = geometry_of_copy(&x, &y, want);
  gpu.clear();
  gpu.watch(watch_copy);
  is_int(run_copy(ops, d, q, &x, &y), CHX_OK, "a shared kernel is launched: %s", said);
  ok(strstr(last("Compile"), COMPILED) != NULL, "it is compiled so: %s", last("Compile"));
  is_str(seen.name, "copy", "the kernel");
  ok(seen.groups == 20 && seen.threads == 256, "20 groups of 256 threads cover 5000: %u of %u", seen.groups,
     seen.threads);
  ok(strstr(last("Launch"), "grid 20 1 1 block 256 1 1 local 0 device 0") != NULL, "%s", last("Launch"));
  ok(seen.buffer[0] == x.handle && seen.buffer[1] == y.handle, "buffers are the device's pointers");
  ok(!memcmp(seen.geometry, want, geometry_bytes), "the geometry's %zu bytes", geometry_bytes);
  gpu.clear();
  ok(!run_copy(ops, d, q, &x, &y) && count("Compile") == 0 && count("Launch") == 1, "the second time it is there");
  gpu.state->fail = 700;
  gpu.state->fail_at = "Launch";
  is_int(run_copy(ops, d, q, &x, &y), CHX_ELOST, "a launch fails: %s", said);
  gpu.watch(NULL);
  ops->release(d, q, &x);
  ops->release(d, q, &y);
  ops->queue_free(d, q);
}

/* ---- captures ---------------------------------------------------------------------------------------------------------- */

/* What a stream that records must not meet is refused, or done beside it. */
static void while_recording(const chx_device_ops *ops, chx_dev *d, chx_queue *q, chx_queue *p, chx_buffer *x)
{
  const chx_capture_ops *e = ops->extension(d, "chx.capture/1");
  const uint64_t point = ops->queue_mark(d, q);
  char byte = 0;
  chx_buffer y = block(ops, d, q, 64), z = block(ops, d, NULL, 64);
  ok(y.handle && z.handle, "memory can be had meanwhile");
  gpu.clear();
  ops->release(d, q, &y);
  ops->release(d, NULL, &z);
  ok(!count("Free") && !count("Synchronize"), "but is given back later, not in the graph");
  is_int(ops->copy(d, q, &byte, 0, x->handle, 0, 1, D2H), CHX_EUNSUPPORTED, "a copy to the host: %s", said);
  ok(strstr(said, PLUGIN ":0: a copy to the host cannot be captured") != NULL, "says why");
  is_int(ops->queue_wait(d, q, p, ops->queue_mark(d, p) + 1), CHX_EUNSUPPORTED, "a wait for another queue: %s", said);
  is_int(e->begin(d, q), CHX_EARG, "a second capture: %s", said);
  is_int((long long)ops->queue_mark(d, q), (long long)point, "the point is that of before");
  is_int(ops->queue_sync(d, q, point, INT64_MAX), CHX_OK, "which may be waited for: %s", said);
  is_int(ops->queue_sync(d, q, UINT64_MAX, 0), CHX_OK, "as may a later one");
  is_int(ops->queue_wait(d, p, q, UINT64_MAX), CHX_OK, "by another queue, too: %s", said);
}

static void captures(const chx_device_ops *ops, chx_dev *d)
{
  const chx_capture_ops *e = ops->extension(d, "chx.capture/1");
  chx_queue *q, *p;
  void *graph = NULL, *none = NULL;
  int v = 5, w = 6, got = 0;
  if (!ok(e && CHX_HAS(e, chx_capture_ops, drop), "graphs are an extension")) return;
  ops->queue_new(d, NULL, &q);
  ops->queue_new(d, NULL, &p);
  chx_buffer x = block(ops, d, q, 65536), y = block(ops, d, q, 65536), z = block(ops, d, q, 65536);
  ops->copy(d, q, x.handle, 0, &v, 0, sizeof v, H2D);
  is_int(e->begin(d, q), CHX_OK, "a capture begins with work in flight: %s", said);
  is_int(ops->copy(d, q, y.handle, 0, x.handle, 0, sizeof v, D2D), CHX_OK, "a copy on the device");
  is_int(ops->copy(d, q, y.handle, 4, &w, 0, sizeof w, H2D), CHX_OK, "and to it");
  is_int(run_copy(ops, d, q, &x, &z), CHX_OK, "a kernel: %s", said);
  w = 0; /* the bytes are ours again */
  while_recording(ops, d, q, p, &x);
  gpu.clear();
  is_int(e->end(d, q, &graph), CHX_OK, "it ends: %s", said);
  ok(graph && count("Free") == 2, "and what was released goes back");
  for (int i = 0; i < 2; i++) {
    v = 7 + i;
    ops->copy(d, q, x.handle, 0, &v, 0, sizeof v, H2D);
    chx_queue *on = i ? p : q;
    if (i) ops->queue_wait(d, p, q, ops->queue_mark(d, q));
    gpu.clear();
    is_int(e->launch(d, on, graph), CHX_OK, "launch %d: %s", i, said);
    ok(count("GraphLaunch") == 1 && !count("Replayed"), "is one call, which does nothing yet");
    ops->copy(d, on, &got, 0, y.handle, 0, sizeof got, D2H);
    is_int(got, v, "what is there then is copied");
    ops->copy(d, on, &got, 0, y.handle, 4, sizeof got, D2H);
    is_int(got, 6, "what was uploaded is as it was");
    ok(count("Replayed copy") == 1, "the kernel was launched");
  }
  ops->copy(d, q, x.handle, 0, &v, 0, sizeof v, H2D);
  e->launch(d, q, graph);
  e->drop(d, graph);
  v = 0;
  ops->copy(d, q, &v, 0, y.handle, 4, sizeof v, D2H);
  is_int(v, 6, "a launch in flight is done when its graph goes");

  e->begin(d, q);
  ops->copy(d, q, y.handle, 0, &v, 0, sizeof v, H2D);
  is_int(e->end(d, q, NULL), CHX_OK, "one that is forgotten");
  is_int(e->end(d, q, &none), CHX_EARG, "is over: %s", said);
  static const char *const calls[] = {"CaptureBegin", "CaptureEnd", "GraphInstantiate", "GraphLaunch"};
  for (int i = 0; i < 4; i++) {
    gpu.state->fail = 1;
    gpu.state->fail_at = calls[i];
    graph = NULL;
    chx_status st = e->begin(d, q);
    if (!st) st = e->end(d, q, &graph);
    if (!st) st = e->launch(d, q, graph);
    is_int(st, CHX_EFAILED, "%s fails: %s", calls[i], said);
    e->drop(d, graph);
  }
  e->begin(d, q);
  ops->queue_free(d, q); /* which forgets it */
  ops->release(d, p, &x);
  ops->release(d, p, &y);
  ops->release(d, p, &z);
  ops->queue_free(d, p);
}

/* In a child: opens the plugin, runs the copy once. */
static chx_status copy_once(void)
{
  chx_queue *q;
  open_plugin();
  chx_dev *d = device(0);
  const chx_device_ops *ops = plugin->device_ops(NULL);
  ops->queue_new(d, NULL, &q);
  chx_buffer x = block(ops, d, q, 65536), y = block(ops, d, q, 65536);
  return run_copy(ops, d, q, &x, &y);
}

static void compile_fails(void)
{
  gpu.state->fail = 1;
  gpu.state->fail_at = "Compile";
  is_int(copy_once(), CHX_EFAILED, "not compiled");
  ok(strstr(said, "compiling copy: ERROR_COMPILATION") && strstr(said, "line 1: the stand-in objects"), "%s", said);
}

static void kept(void)
{
  setenv("CHX_CACHE_DIR", cache, 1);
  ok(!copy_once() && count("Compile ") == 1, "compiled once, and kept");
}

static void found_again(void)
{
  setenv("CHX_CACHE_DIR", cache, 1);
  setenv(COMPILER_OPTION, "/nowhere/libcompiler.so", 1);
  ok(!copy_once() && count("Compile ") == 0 && count("ModuleLoad") == 1,
     "found on disk: the compiler is not opened: %s", said);
}

static void without_compiler(void)
{
  setenv(COMPILER_OPTION, "/nowhere/libcompiler.so", 1);
  is_int(copy_once(), CHX_EUNSUPPORTED, "no compiler");
  ok(strstr(said, "kernels cannot be compiled: ") && strstr(said, "/nowhere/libcompiler.so"), "%s", said);
}

static void bad_image(void)
{
  gpu.state->fail = 200;
  gpu.state->fail_at = "ModuleLoad";
  is_int(copy_once(), CHX_EFAILED, "not loaded");
  ok(strstr(said, "loading copy") && strstr(said, "(200)"), "%s", said);
}

static void compiling(void)
{
  char command[4200];
  in_child(compile_fails, "a text that does not compile: the compiler's code and log");
  in_child(bad_image, "a program that the driver refuses: its code");
  in_child(kept, "a program is kept on disk");
  in_child(found_again, "and found again, without a compiler");
  in_child(without_compiler, "no compiler: the reason");
  snprintf(command, sizeof command, "rm -rf '%s'", cache);
  ok(system(command) == 0, "the folder of kept programs goes");
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static void nothing_left(const char *when)
{
  const fake_state *s = gpu.state;
  ok(!s->blocks && !s->pinned && !s->streams && !s->events && !s->modules && !s->handles && !s->descriptors &&
     !s->contexts && !s->graphs,
     "%s nothing is left: %d blocks, %d pinned, %d streams, %d events, %d modules, %d handles, %d descriptors, %d contexts, %d graphs",
     when, s->blocks, s->pinned, s->streams, s->events, s->modules, s->handles, s->descriptors, s->contexts, s->graphs);
}

static void by_the_abi(void)
{
  chx_queue *q;
  no_devices();
  compiling();
  is_int(open_plugin(), 2, "two devices");
  const chx_device_ops *ops = plugin->device_ops(NULL);
  chx_dev *none = NULL, *d = device(0), *e = device(1);
  is_int(plugin->device_open(NULL, 2, &none), CHX_EDEVICE, "there is no third: %s", said);
  described(ops, d, 0);
  described(ops, e, 1);
  ops->queue_new(d, NULL, &q);
  memory(ops, d, q, "PoolAlloc");
  ops->queue_free(d, q);
  queues(ops, d);
  errors(ops, d);
  imports(ops, d, e);
  peers(ops, d, e);
  launches(ops, d);
  captures(ops, d);
  plugin->device_close(d);
  plugin->close(NULL);
  nothing_left("after close");
  gpu.state->pools = 0;
  open_plugin();
  d = device(0);
  ops->queue_new(d, NULL, &q);
  memory(ops, d, q, "MemAlloc");
  captures(ops, d);
  ops->queue_free(d, q);
  plugin->close(NULL);
  gpu.state->pools = 1;
  nothing_left("without a pool, too,");
}

/* ---- operators, through the core --------------------------------------------------------------------------------- */

/* Numbers that differ, and are exact in every dtype. */
static chx_array *numbers(chx_scope *s, const char *dev, int dtype, int nd, const int64_t *shape, int start)
{
  int64_t n = 1;
  for (int d = 0; d < nd; d++) n *= shape[d];
  double *v = malloc((size_t)(n ? n : 1) * sizeof *v);
  for (int64_t i = 0; i < n; i++) v[i] = (double)((i * 7 + start) % 23 - 11) / 4;
  chx_scope_set_device(s, dev);
  chx_array *a = chx_from_shape(s, dtype, nd, shape, v);
  free(v);
  return a;
}

static bool same(chx_array *got, chx_array *want)
{
  double *w = want ? check_doubles(want) : NULL;
  const bool good = got && w && rel_err(got, w) < 1e-6;
  free(w);
  return good;
}

/* A convolution and both gradients by the stand-in for `library`, beside native's; `want` is of what it was told, and
 * `adds`, if not NULL, is its call that adds a bias. */
static void convolution(chx_scope *s, const char *on, const char *library, const chx_conv_attr *attr, bool bias, int nx,
                        const int64_t *x, int nw, const int64_t *w, const char *want,
                        const char *adds)
{
  chx_array *y[2], *gx[2], *gw[2];
  for (int i = 0; i < 2; i++) {
    const char *dev = i ? "native:0" : on;
    chx_array *a = numbers(s, dev, CHX_F32, nx, x, 3), *k = numbers(s, dev, CHX_F32, nw, w, 8);
    chx_array *b = bias ? numbers(s, dev, CHX_F32, 1, w, 4) : NULL; /* one for each of w[0] channels */
    gpu.clear();
    y[i] = chx_conv(s, a, k, b, attr);
    if (!ok(y[i] != NULL, "conv: %s", chx_scope_message(s))) return;
    if (!i) ok(strstr(last("conv mode 0"), want) != NULL, "%s: %s", want, last("conv mode 0"));
    if (!i && adds) is_int(count(adds), bias, "a bias is added after");
    chx_array *gy = numbers(s, dev, CHX_F32, chx_ndim(y[i]), chx_shape(y[i]), 6);
    chx_conv_attr back = *attr;
    back.shape.n = nx;
    memcpy(back.shape.v, x, (size_t)nx * sizeof *x);
    gx[i] = chx_conv_grad_input(s, gy, k, &back);
    back.shape.n = nw;
    memcpy(back.shape.v, w, (size_t)nw * sizeof *w);
    gw[i] = chx_conv_grad_weight(s, a, gy, &back);
    if (!i) ok(count("conv mode 1") == 1 && count("conv mode 2") == 1, "both gradients by %s: %s", library,
               chx_scope_message(s));
  }
  ok(same(y[0], y[1]), "conv: %s", chx_scope_message(s));
  ok(same(gx[0], gx[1]), "conv_grad_input: %s", chx_scope_message(s));
  ok(same(gw[0], gw[1]), "conv_grad_weight: %s", chx_scope_message(s));
}

/* What a kernel would have found: an index out of range, written late into the words that are its fourth parameter. */
static void *words;
static int64_t bad_index;
static void watch_take(const char *kernel, unsigned groups, unsigned threads, void **p)
{
  const struct { uint32_t state, op; int32_t axis, pad; int64_t index, length; } found = {1, 0, 0, 0, bad_index, 4};
  (void)groups, (void)threads;
  if (strcmp(kernel, "take")) return;
  memcpy(&words, p[3], sizeof words);
  if (bad_index) memcpy(words, &found, sizeof found);
}

static void late_index(chx_scope *s, const char *dev)
{
  int64_t shape[1] = {4};
  chx_array *x = numbers(s, dev, CHX_F32, 1, shape, 1), *i = chx_from(s, CHX_I64, 2, (double[]){1, 2});
  bad_index = 0;
  words = NULL;
  gpu.watch(watch_take);
  ok(chx_take(s, x, i, 0) && !chx_sync(s) && words, "a kernel that may find a bad index has words for it: %s",
     chx_scope_message(s));
  gpu.clear();
  ok(!chx_sync(s) && !count("CopyOut"), "which are read after such kernels alone");
  bad_index = 9;
  chx_take(s, x, i, 0);
  ok(!chx_scope_error(s) && chx_sync(s) == CHX_EARG, "and what they say is a late error: %s", chx_scope_message(s));
  ok(strstr(chx_scope_message(s), "index 9 is out of range for axis 0 of length 4") != NULL, "of native's words");
  gpu.watch(NULL);
  chx_scope_clear(s);
  ok(same(numbers(s, dev, CHX_F32, 1, shape, 1), numbers(s, "native:0", CHX_F32, 1, shape, 1)),
     "the next queue works: %s",
     chx_scope_message(s));
}

/* Tensors of the device's memory, to others and from them. */
static void tensors(chx_scope *s, const char *dev)
{
  int64_t shape[2] = {3, 5};
  chx_scope *any = chx_scope_begin("native:0");
  chx_array *x = numbers(s, dev, CHX_F32, 2, shape, 1), *want = numbers(any, "native:0", CHX_F32, 2, shape, 1);
  gpu.clear();
  chxi_dl_managed *m = chx_to_dlpack_on(s, x, chx_dlpack_queue(s)), *other = chx_to_dlpack(s, x);
  ok(m && m->tensor.device.type == DLPACK && m->tensor.device.id == 0 && m->tensor.data, "a tensor by the vendor's type: %s",
     chx_scope_message(s));
  chx_array *y = m ? chx_from_dlpack(any, m) : NULL;
  ok(y && !strcmp(chx_device(y), dev) && same(y, want), "and back, to the device: %s", chx_scope_message(any));
  if (!other) return (void)ok(false, "a second tensor: %s", chx_scope_message(s));
  other->tensor.device.id = 1;
  ok(!chx_from_dlpack(any, other) && chx_scope_error(any) == CHX_EARG && strstr(chx_scope_message(any), "memory of device 0"),
     "one that names another device: %s", chx_scope_message(any));
  other->deleter(other);
  chx_scope_end(any);
  ok(!count("Free"), "and nothing of it is freed but by its owner");
}

/* The same found in a replay: its words are the graph's, and still the queue's error. */
typedef struct finding { void *at; int64_t index; } finding;
static void find(void *of)
{
  const finding *f = of;
  const struct { uint32_t state, op; int32_t axis, pad; int64_t index, length; } found = {1, 0, 0, 0, f->index, 4};
  if (bad_index) memcpy(f->at, &found, sizeof found);
}

static void watch_captured(const char *kernel, unsigned groups, unsigned threads, void **p)
{
  finding f = {.index = 9};
  (void)groups, (void)threads;
  if (strcmp(kernel, "take")) return;
  memcpy(&f.at, p[3], sizeof f.at);
  gpu.later(gpu.state->stream, find, &f, sizeof f);
}

static void late_index_captured(chx_scope *s, const char *dev)
{
  int64_t shape[1] = {4};
  chx_array *x = numbers(s, dev, CHX_F32, 1, shape, 1), *i = chx_from(s, CHX_I64, 2, (double[]){1, 2});
  gpu.watch(watch_captured);
  bad_index = 0;
  chx_capture *c = chx_capture_begin(s);
  chx_take(s, x, i, 0);
  is_int(chx_capture_end(s, c), CHX_OK, "take is captured: %s", chx_scope_message(s));
  ok(!chx_capture_launch(s, c) && !chx_sync(s), "and launched: %s", chx_scope_message(s));
  bad_index = 9;
  ok(!chx_capture_launch(s, c) && chx_sync(s) == CHX_EARG, "a bad index in a launch is a late error: %s", chx_scope_message(s));
  chx_scope_clear(s);
  bad_index = 0;
  ok(!chx_capture_launch(s, c) && !chx_sync(s), "and the next launch, on a new queue, has none: %s", chx_scope_message(s));
  gpu.watch(NULL);
  chx_capture_free(c);
}

/* Two layers, forward and backward, and what a capture refuses. */
static void captured_chain(chx_scope *s, const char *dev)
{
  int64_t shape[2] = {8, 8};
  chx_array *x = numbers(s, dev, CHX_F32, 2, shape, 1), *w = numbers(s, dev, CHX_F32, 2, shape, 5), *y, *loss;
  chx_require_grad(s, w);
  chx_sync(s);
  chx_capture *c = chx_capture_begin(s);
  gpu.clear();
  y = chx_relu(s, chx_linear(s, x, w, NULL));
  loss = chx_sum(s, chx_linear(s, y, w, NULL), 0, NULL, 0);
  chx_backward(s, loss);
  is_int(chx_capture_end(s, c), CHX_OK, "a chain and its gradient are captured: %s", chx_scope_message(s));
  const int launched = count("Launch "), spoilt = count("CaptureEnd 901");
  ok(launched > 3 && !spoilt, "%d launches", launched);
  gpu.clear();
  ok(!chx_capture_launch(s, c) && !chx_sync(s) && count("GraphLaunch") == 1, "one call: %s", chx_scope_message(s));
  ok(count("Replayed") == launched && !count("Launch map"), "does all of them: %d", count("Replayed"));
  chx_capture *d = chx_capture_begin(s);
  chx_item(s, chx_sum(s, x, 0, NULL, 0));
  ok(strstr(chx_scope_message(s), "reading back to the host cannot be captured") != NULL, "%s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_capture_free(d);
  d = chx_capture_begin(s);
  ok(!chx_to_dlpack(s, x) && strstr(chx_scope_message(s), "cannot be captured"), "nor shared memory: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_capture_free(d);
  ok(!chx_capture_launch(s, c) && !chx_sync(s), "the other capture is as good as before: %s", chx_scope_message(s));
  chx_set_grad(s, w, NULL);
  chx_capture_free(c);
}

static void reference_mode(void)
{
  setenv("CHX_REFERENCE", "1", 1);
  chx_scope *s = chx_scope_begin(PLUGIN ":0");
  int64_t shape[2] = {8, 8};
  chx_array *x = numbers(s, PLUGIN ":0", CHX_F32, 2, shape, 1);
  ok(chx_matmul(s, x, x) && count("Launch gemm") == 1, "matmul: %s", chx_scope_message(s));
}
