/* SPDX-License-Identifier: MIT
 * test_sim_device.c: the sim plugin by itself, through the plugin ABI: guard pages, memory that the host may map, copies between
 * devices, times, the number of devices, a lost device. What must crash does so in a forked child.
 */
#include "sim_faults.h"
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

static const chx_plugin *plugin;
static void *state;
static const chx_device_ops *ops;
static chx_dev *dev[64];
static uint32_t n_devices;
static _Thread_local char said[512];

/* ---- a host ------------------------------------------------------------------------------------------------------------ */

static chx_status host_fail(void *ctx, chx_status code, const char *msg)
{
  (void)ctx;
  snprintf(said, sizeof said, "%s", msg);
  return code;
}

static const char *host_option(void *ctx, const char *key)
{
  (void)ctx;
  return getenv(key);
}

static const chx_host host = {.size = sizeof host, .abi_minor = CHX_ABI_MINOR, .fail = host_fail, .option = host_option};

static bool load(void)
{
  char path[4096];
  const char *dirs = getenv("CHX_PLUGIN_PATH");
  snprintf(path, sizeof path, "%.*s/chx_sim.so", dirs ? (int)strcspn(dirs, ":") : 1, dirs ? dirs : ".");
  void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  chx_entry_fn entry = lib ? (chx_entry_fn)dlsym(lib, CHX_ENTRY) : NULL;
  plugin = entry ? entry() : NULL;
  return plugin != NULL;
}

/* Opens the plugin and all its devices with options "KEY=VALUE", ended by NULL, and no others. */
static chx_status begin(const char *const *options)
{
  static const char *const keys[] = {"CHX_SIM_DEVICES", "CHX_SIM_GUARD", "CHX_SIM_MEMORY_MODE", "CHX_SIM_MEMORY", "CHX_SIM_COPY_MBPS",
                                     "CHX_SIM_COPY_US", "CHX_SIM_KERNEL_US", "CHX_SIM_DELAY_US", "CHX_SIM_FAIL"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) unsetenv(keys[i]);
  for (; *options; options++) {
    char key[64];
    size_t n = strcspn(*options, "=");
    snprintf(key, sizeof key, "%.*s", (int)n, *options);
    setenv(key, *options + n + 1, 1);
  }
  chx_status st = plugin->open(&host, &state);
  if (st) return st;
  ops = plugin->device_ops(state);
  st = plugin->device_count(state, &n_devices);
  for (uint32_t i = 0; i < n_devices && !st; i++) st = plugin->device_open(state, i, &dev[i]);
  if (st) plugin->close(state);
  return st;
}
#define BEGIN(...) ok(begin((const char *const[]){__VA_ARGS__}) == CHX_OK, "opened with " #__VA_ARGS__) /* ended by NULL */

static void end(void)
{
  for (uint32_t i = 0; i < n_devices; i++) plugin->device_close(dev[i]);
  plugin->close(state);
}

static double now_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static const chx_sim_fault_ops *sim_ops(void) { return ops->extension(NULL, CHX_SIM_FAULT); }

/* ---- what is done on a device --------------------------------------------------------------------------------------- */

static chx_buffer memory_of(chx_dev *d, uint64_t bytes)
{
  chx_buffer b = {.size = sizeof b};
  if (ops->alloc(d, NULL, bytes, CHX_B_DEVICE, &b)) note("alloc: %s", said);
  return b;
}

static chx_queue *queue_of(chx_dev *d)
{
  chx_queue *q = NULL;
  if (ops->queue_new(d, NULL, &q)) note("queue_new: %s", said);
  return q;
}

static chx_status finish(chx_dev *d, chx_queue *q) { return ops->queue_sync(d, q, ops->queue_mark(d, q), INT64_MAX); }

static chx_status put(chx_dev *d, chx_queue *q, chx_buffer *b, const void *src, uint64_t bytes)
{
  return ops->copy(d, q, b->handle, 0, src, 0, bytes, 0);
}

static chx_status get(chx_dev *d, chx_queue *q, chx_buffer *b, void *dst, uint64_t bytes)
{
  chx_status st = ops->copy(d, q, dst, 0, b->handle, 0, bytes, 1);
  return st || !q ? st : finish(d, q);
}

/* a b for rows x inner and inner x columns; b's own shape may say another inner. */
static chx_status matmul(chx_dev *d, chx_queue *q, chx_buffer *m[3], int64_t rows, int64_t inner, int64_t inner_b, int64_t columns)
{
  const chx_kernel *k = NULL;
  for (uint32_t i = 0; (k = ops->kernel(d, i)) && strcmp(k->op, "matmul"); i++) {}
  int64_t shape[3][2] = {{rows, inner}, {inner_b, columns}, {rows, columns}}, strides[3][2];
  chx_tensor t[3];
  memset(t, 0, sizeof t);
  for (int i = 0; i < 3; i++) {
    strides[i][0] = shape[i][1];
    strides[i][1] = 1;
    t[i] = (chx_tensor){.data = m[i]->handle, .buf = m[i]->handle, .dl_type = 12, .ndim = 2, .code = 2, .bits = 32, .lanes = 1,
                        .shape = shape[i], .strides = strides[i], .extent = m[i]->bytes,
                        .flags = CHX_T_CONTIGUOUS | (uint64_t)CHX_F32 << 8};
  }
  chx_call call = {.size = sizeof call, .op_version = 1, .dev = d, .queue = q, .in = t, .out = &t[2], .n_in = 2, .n_out = 1};
  return k ? k->run(k->self, &call) : CHX_EUNSUPPORTED;
}

/* Whether fn dies by SIGSEGV in a child. */
static bool crashes(bool (*fn)(void))
{
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    signal(SIGSEGV, SIG_DFL); /* a sanitizer would report it */
    signal(SIGBUS, SIG_DFL);
    alarm(60);
    _exit(fn() ? 0 : 1);
  }
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) return false;
  if (!WIFSIGNALED(status)) note("it ended with %d", WEXITSTATUS(status));
  return WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS);
}

static volatile char *target; /* what the children touch */
static bool reads(void) { return *target >= 0 || true; }
static bool writes(void) { return *target = 1, true; }

/* ---- options, devices ------------------------------------------------------------------------------------------------- */

static void options(void)
{
  static const char *const bad[] = {
    "CHX_SIM_DEVICES=0", "CHX_SIM_DEVICES=65", "CHX_SIM_DEVICES=two", "CHX_SIM_MEMORY_MODE=shared", "CHX_SIM_GUARD=2",
    "CHX_SIM_COPY_MBPS=-1", "CHX_SIM_COPY_US=1s", "CHX_SIM_KERNEL_US=99999999999999999999", "CHX_SIM_FAIL=lost",
    "CHX_SIM_FAIL=alloc:1:late", "CHX_SIM_MEMORY=0",
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    const char *const list[] = {bad[i], NULL};
    char key[64];
    snprintf(key, sizeof key, "%.*s", (int)strcspn(bad[i], "="), bad[i]);
    chx_status st = begin(list);
    ok(st == CHX_EARG && strstr(said, key) && strstr(said, strchr(bad[i], '=') + 1), "%s is an error that quotes it: %s", bad[i], said);
    if (!st) end();
  }
}

static void many_devices(void)
{
  BEGIN("CHX_SIM_DEVICES=64", NULL);
  is_int(n_devices, 64, "64 devices");
  int good = 0;
  for (uint32_t i = 0; i < n_devices; i++) {
    float v = (float)i, back = -1;
    chx_queue *q = queue_of(dev[i]);
    chx_buffer b = memory_of(dev[i], sizeof v);
    chx_device_info info = {.size = sizeof info};
    char want[32];
    snprintf(want, sizeof want, "accelerator %u", i);
    good += !put(dev[i], q, &b, &v, sizeof v) && !get(dev[i], q, &b, &back, sizeof back) && back == v &&
            !ops->info(dev[i], &info) && strstr(info.name, want) && info.dl_id == (int)i;
    ops->release(dev[i], q, &b);
    ops->queue_free(dev[i], q);
  }
  is_int(good, 64, "each with a name, a queue and memory of its own");
  end();
}

/* ---- private memory ------------------------------------------------------------------------------------------------------ */

static void private_memory(void)
{
  BEGIN(NULL);
  chx_buffer b = memory_of(dev[0], 64);
  void *p = NULL;
  chx_device_info info = {.size = sizeof info};
  ops->info(dev[0], &info);
  ok(!b.host_ptr && !(info.flags & CHX_D_MAPPABLE), "private memory has no host pointer");
  is_int(ops->map(dev[0], NULL, &b, 0, 64, 0, &p), CHX_EUNSUPPORTED, "and cannot be mapped: %s", said);
  target = b.handle;
  ok(crashes(reads), "following a handle crashes");
  float v = 0;
  ok(!get(dev[0], NULL, &b, &v, 4) && isnan(v), "fresh memory is NaN");
  ops->release(dev[0], NULL, &b);
  end();
}

/* A small device runs out of addresses soon: allocations are then put between those that live. */
static void addresses(void)
{
  enum { LIVE = 40, TURNS = 30000 };
  BEGIN("CHX_SIM_MEMORY=4096", NULL);
  chx_buffer b[LIVE];
  int32_t wrong = 0, v;
  memset(b, 0, sizeof b);
  for (int32_t i = 0; i < TURNS; i++) {
    int k = i % 3 ? i % LIVE : 0; /* the first one moves often, others live long */
    if (i > LIVE && i % 7 && k) continue;
    if (b[k].handle) {
      wrong += ops->copy(dev[0], NULL, &v, 0, b[k].handle, 0, sizeof v, 1) || v != k;
      ops->release(dev[0], NULL, &b[k]);
    }
    b[k] = memory_of(dev[0], 4 + (uint64_t)(i % 60));
    v = k;
    put(dev[0], NULL, &b[k], &v, sizeof v);
  }
  is_int(wrong, 0, "allocations come and go without meeting");
  for (int k = 0; k < LIVE; k++)
    if (b[k].handle) ops->release(dev[0], NULL, &b[k]);
  is_int((long long)sim_ops()->used(0), 0, "nothing is left in use");
  end();
}

/* ---- guard pages --------------------------------------------------------------------------------------------------------- */

static chx_buffer abc[3];
static bool matmul_overruns(void) { return !matmul(dev[0], NULL, (chx_buffer *[]){&abc[0], &abc[1], &abc[2]}, 2, 3, 2, 4); }

static bool begin_in_child(void) /* queues' threads, and so sim, do not survive a fork: the child opens it itself */
{
  if (begin((const char *const[]){"CHX_SIM_GUARD=1", NULL})) return false;
  abc[0] = memory_of(dev[0], 2 * 3 * 4);
  abc[1] = memory_of(dev[0], 2 * 4 * 4); /* of 3 x 4 that the kernel will read */
  abc[2] = memory_of(dev[0], 2 * 4 * 4);
  return true;
}

static bool overrun(void) { return begin_in_child() && matmul_overruns(); }

static bool no_overrun(void)
{
  float x[6] = {1, 2, 3, 4, 5, 6}, y[4] = {0};
  if (!begin_in_child()) return false;
  bool good = !put(dev[0], NULL, &abc[0], x, 24) && !put(dev[0], NULL, &abc[1], x, 24) &&
              !matmul(dev[0], NULL, (chx_buffer *[]){&abc[0], &abc[1], &abc[2]}, 2, 3, 3, 2) && !get(dev[0], NULL, &abc[2], y, 16);
  return good && y[0] == 22 && y[3] == 64;
}

static void guard_pages(void)
{
  ok(in_child(no_overrun), "with guard pages a kernel that keeps to its operands computes as ever");
  ok(crashes(overrun), "one that reads past the end of an allocation crashes");
  BEGIN("CHX_SIM_GUARD=1", "CHX_SIM_MEMORY_MODE=coherent", NULL);
  chx_buffer b = memory_of(dev[0], 28);
  volatile char *p = b.host_ptr;
  p[27] = 1;
  is_int(p[27], 1, "the last byte can be used");
  target = p + 28;
  ok(crashes(reads), "the next cannot be read");
  target = p + 28;
  ok(crashes(writes), "nor written");
  ops->release(dev[0], NULL, &b);
  is_int((long long)sim_ops()->used(0), 0, "nothing is left");
  end();
}

/* ---- memory that the host may see ------------------------------------------------------------------------------------- */

static void mappable(void)
{
  BEGIN("CHX_SIM_MEMORY_MODE=mappable", NULL);
  chx_dev *d = dev[0];
  chx_queue *q = queue_of(d);
  chx_buffer b = memory_of(d, 64);
  chx_device_info info = {.size = sizeof info};
  float v[16] = {1, 2, 3}, back[16] = {0};
  void *p = NULL, *w = NULL;
  ops->info(d, &info);
  ok(info.flags & CHX_D_MAPPABLE && b.flags & CHX_B_SHARED && !(b.flags & CHX_B_COHERENT), "the device says that it can be mapped");
  target = b.host_ptr;
  ok(target && crashes(reads), "before map an access crashes");
  target = b.handle;
  ok(crashes(reads), "so does following the handle");
  sim_ops()->delay(0, 20000);
  put(d, q, &b, v, sizeof v);
  ok(!ops->map(d, q, &b, 4, 8, CHX_MAP_READ, &p) && ((float *)p)[0] == 2 && ((float *)p)[1] == 3, "map waits for the queue");
  sim_ops()->delay(0, 0);
  target = p;
  ok(crashes(writes), "what is mapped for reading cannot be written");
  ok(!get(d, q, &b, back, sizeof back) && back[0] == 1, "jobs may read it meanwhile");
  ok(!ops->unmap(d, q, &b, p), "unmap");
  ok(crashes(reads), "after unmap an access crashes");
  ok(!ops->map(d, q, &b, 0, 64, 0, &w), "mapped for writing");
  ((float *)w)[0] = 7;
  is_int(ops->unmap(d, q, &b, &b), CHX_EARG, "unmap of another pointer: %s", said);
  ok(!ops->unmap(d, q, &b, w) && !get(d, q, &b, back, sizeof back) && back[0] == 7, "the device sees what the host wrote");
  is_int(ops->unmap(d, q, &b, w), CHX_EARG, "a second unmap: %s", said);
  is_int(ops->map(d, q, &b, 60, 8, 0, &w), CHX_EARG, "map past the end: %s", said);
  ok(!ops->map(d, q, &b, 0, 8, 1u << 31, &w) && !ops->unmap(d, q, &b, w), "a bit of access that it does not know is ignored");
  ops->map(d, q, &b, 0, 64, CHX_MAP_WRITE, &w);
  chx_status st = get(d, q, &b, back, sizeof back);
  ok(st == CHX_EFAILED && strstr(said, "mapped"), "a job that meets memory mapped for writing: %s", said);
  ops->unmap(d, q, &b, w);
  ops->release(d, NULL, &b);
  is_int(ops->map(d, NULL, &b, 0, 8, 0, &w), CHX_EARG, "map of what was released: %s", said);
  ops->queue_free(d, q);
  end();
}

/* A map that does not wait: the pages open when the host has waited, and not before, be the queue ever so fast. */
static void mapped_later(void)
{
  BEGIN("CHX_SIM_MEMORY_MODE=mappable", NULL);
  chx_dev *d = dev[0];
  chx_queue *q = queue_of(d), *other = queue_of(d);
  chx_buffer b = memory_of(d, 64);
  float v[16] = {1, 2, 3}, back[16] = {0};
  void *p = NULL, *w = NULL;
  sim_ops()->delay(0, 20000);
  put(d, q, &b, v, sizeof v);
  uint64_t before = ops->queue_mark(d, q);
  ok(!ops->map(d, q, &b, 4, 8, CHX_MAP_READ | CHX_MAP_NOWAIT, &p), "map returns");
  is_int(ops->queue_sync(d, q, before, 0), CHX_NOT_READY, "before the queue is done");
  sim_ops()->delay(0, 0);
  target = p;
  ok(!ops->queue_sync(d, q, before, INT64_MAX) && crashes(reads), "a wait for an earlier point does not open the pages");
  ok(!ops->queue_sync(d, other, ops->queue_mark(d, other), INT64_MAX) && crashes(reads), "nor does one for another queue");
  usleep(2000);
  ok(crashes(reads), "nor does time");
  ok(!ops->queue_sync(d, q, ops->queue_mark(d, q), INT64_MAX) && ((float *)p)[0] == 2 && ((float *)p)[1] == 3, "the wait does");
  ok(crashes(writes), "for reading, as was asked");
  ok(!ops->unmap(d, q, &b, p) && crashes(reads), "unmap closes them");
  ok(!ops->map(d, q, &b, 0, 8, CHX_MAP_WRITE | CHX_MAP_NOWAIT, &w) && !ops->queue_sync(d, q, ops->queue_mark(d, q), INT64_MAX) &&
       ((float *)w)[1] != 2, "what is mapped to be written alone has lost its bytes");
  ((float *)w)[0] = 8;
  ((float *)w)[1] = 9;
  ok(!ops->unmap(d, q, &b, w) && !get(d, q, &b, back, sizeof back) && back[0] == 8 && back[1] == 9 && back[2] == 3,
     "and takes new ones");
  ok(!ops->map(d, q, &b, 0, 64, CHX_MAP_NOWAIT, &w) && !ops->unmap(d, q, &b, w) && !get(d, q, &b, back, sizeof back),
     "given back before the wait");
  is_int(ops->unmap(d, q, &b, w), CHX_EARG, "and only once: %s", said);
  ops->map(d, q, &b, 0, 64, CHX_MAP_NOWAIT, &w);
  chx_status st = get(d, q, &b, back, sizeof back);
  ok(st == CHX_EFAILED && strstr(said, "mapped"), "a job after such a map meets mapped memory: %s", said);
  target = w;
  ok(crashes(reads) && !ops->unmap(d, q, &b, w), "on a queue that has failed the pages stay closed, and the mapping is given back");
  ops->release(d, NULL, &b);
  ops->queue_free(d, q);
  ops->queue_free(d, other);
  end();
}

static void coherent(void)
{
  BEGIN("CHX_SIM_MEMORY_MODE=coherent", "CHX_SIM_DELAY_US=50000", NULL);
  chx_queue *q = queue_of(dev[0]);
  chx_buffer b = memory_of(dev[0], 64);
  float v[16] = {5};
  volatile float *p = b.host_ptr;
  ok(b.flags & CHX_B_COHERENT && p, "coherent memory has a host pointer");
  put(dev[0], q, &b, v, sizeof v);
  ok(isnan(p[0]), "read too early it is NaN");
  ok(!finish(dev[0], q) && p[0] == 5, "after the queue's point it is there");
  void *m = NULL;
  ok(!ops->map(dev[0], q, &b, 0, 64, 0, &m) && m == b.host_ptr && !ops->unmap(dev[0], q, &b, m), "map gives the same pointer");
  is_int((int)p[0], 5, "which stays open");
  ops->release(dev[0], NULL, &b);
  ops->queue_free(dev[0], q);
  end();
}

/* ---- peers --------------------------------------------------------------------------------------------------------------- */

static void peers(void)
{
  BEGIN(NULL);
  const chx_peer_ops *peer = ops->extension(dev[0], "chx.peer/1");
  if (!ok(peer && CHX_HAS(peer, chx_peer_ops, copy), "the extension chx.peer/1")) return end();
  chx_queue *q0 = queue_of(dev[0]), *q1 = queue_of(dev[1]);
  chx_buffer a = memory_of(dev[0], 16), b = memory_of(dev[1], 16);
  float v[4] = {1, 2, 3, 4}, back[4] = {0};
  sim_ops()->delay(0, 50000);
  put(dev[0], q0, &a, v, sizeof v);
  ok(!peer->can(dev[1], dev[0]), "sim:0 to sim:1 is possible");
  peer->copy(dev[1], q1, b.handle, 0, dev[0], a.handle, 0, 4);
  ok(!get(dev[1], q1, &b, back, 4) && isnan(back[0]), "what was not waited for is NaN");
  finish(dev[0], q0);
  sim_ops()->delay(0, 0);
  sim_ops()->delay(1, 50000);
  double t0 = now_ms();
  ok(!peer->copy(dev[1], q1, b.handle, 4, dev[0], a.handle, 8, 8) && now_ms() - t0 < 50, "a copy is queued, not waited for");
  ok(!get(dev[1], q1, &b, back, 16) && back[1] == 3 && back[2] == 4, "and done in order");
  sim_ops()->delay(1, 0);
  peer->copy(dev[1], q1, b.handle, 0, dev[0], b.handle, 0, 4);
  is_int(finish(dev[1], q1), CHX_EARG, "a source that is not the peer's: %s", said);
  ops->queue_free(dev[1], q1);
  sim_ops()->arm(0, "lost:1");
  ops->copy(dev[0], NULL, back, 0, a.handle, 0, 4, 1);
  is_int(peer->can(dev[1], dev[0]), CHX_ELOST, "not from a lost device: %s", said);
  is_int(peer->copy(dev[1], NULL, b.handle, 0, dev[0], a.handle, 0, 4), CHX_ELOST, "the copy fails, too");
  ops->release(dev[0], NULL, &a);
  ops->release(dev[1], NULL, &b);
  ops->queue_free(dev[0], q0);
  end();
}

/* ---- times ---------------------------------------------------------------------------------------------------------------- */

static double ms_of_copy(uint64_t bytes)
{
  chx_queue *q = queue_of(dev[0]);
  chx_buffer b = memory_of(dev[0], bytes);
  char *v = calloc(1, bytes);
  double t0 = now_ms();
  chx_status st = put(dev[0], q, &b, v, bytes);
  double queued = now_ms() - t0;
  if (!st) st = finish(dev[0], q);
  double took = now_ms() - t0;
  if (st || queued > took / 2) note("queued in %.1f ms, status %d", queued, st);
  ops->release(dev[0], NULL, &b);
  ops->queue_free(dev[0], q);
  free(v);
  return st || queued > took / 2 ? -1 : took;
}

static void times(void)
{
  BEGIN("CHX_SIM_COPY_MBPS=2", "CHX_SIM_COPY_US=20000", NULL);
  double took = ms_of_copy(80000);
  ok(took >= 60, "80000 bytes at 2 MB/s and 20 ms, on the queue's time: %.1f ms", took);
  took = ms_of_copy(4);
  ok(took >= 20, "4 bytes: %.1f ms", took);
  sim_ops()->pace(0, 0, 0, 0);
  end();
  BEGIN("CHX_SIM_KERNEL_US=40000", NULL);
  chx_queue *q = queue_of(dev[0]);
  chx_buffer m = memory_of(dev[0], 16), y = memory_of(dev[0], 16);
  double t0 = now_ms();
  ok(!matmul(dev[0], q, (chx_buffer *[]){&m, &m, &y}, 2, 2, 2, 2) && now_ms() - t0 < 40, "a slow kernel is queued");
  ok(!finish(dev[0], q) && now_ms() - t0 >= 40, "and takes its time: %.1f ms", now_ms() - t0);
  ops->queue_free(dev[0], q);
  end();
}

/* ---- a lost device ----------------------------------------------------------------------------------------------------- */

static void lost(void)
{
  BEGIN("CHX_SIM_MEMORY_MODE=mappable", NULL);
  chx_dev *d = dev[0];
  chx_queue *q = queue_of(d), *other = queue_of(d), *none = NULL;
  chx_buffer b = memory_of(d, 16), more = {.size = sizeof more};
  float v[4] = {1, 2, 3, 4}, back[4] = {9};
  void *p = NULL, *mapped = NULL;
  put(d, q, &b, v, sizeof v);
  ops->map(d, q, &b, 0, 16, CHX_MAP_READ, &mapped);
  sim_ops()->arm(0, "lost:2:late");
  is_int(ops->alloc(d, NULL, 16, CHX_B_DEVICE, &more), CHX_OK, "before its time the device is there");
  ok(!ops->copy(d, q, back, 0, b.handle, 0, 16, 1), "the copy that loses it is queued");
  is_int(finish(d, q), CHX_ELOST, "and lost: %s", said);
  ok(back[0] == 9 && strstr(said, "injected loss"), "it wrote nothing");
  const struct { const char *what; chx_status st; } calls[] = {
    {"alloc", ops->alloc(d, NULL, 4, CHX_B_DEVICE, &(chx_buffer){.size = sizeof(chx_buffer)})},
    {"copy", put(d, q, &b, v, 4)}, {"copy without a queue", get(d, NULL, &b, back, 4)},
    {"a kernel", matmul(d, other, (chx_buffer *[]){&b, &b, &more}, 2, 2, 2, 2)},
    {"queue_new", ops->queue_new(d, NULL, &none)}, {"queue_wait", ops->queue_wait(d, q, other, 0)},
    {"sync of another queue", finish(d, other)}, {"map", ops->map(d, NULL, &b, 0, 4, 0, &p)},
    {"unmap", ops->unmap(d, NULL, &b, mapped)}, {"info", ops->info(d, &(chx_device_info){.size = sizeof(chx_device_info)})},
  };
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) is_int(calls[i].st, CHX_ELOST, "%s on it: CHX_ELOST", calls[i].what);
  is_int((long long)sim_ops()->fired(0), 1, "one fault happened");
  chx_buffer far = memory_of(dev[1], 16);
  ok(!put(dev[1], NULL, &far, v, 16) && !get(dev[1], NULL, &far, back, 16) && back[3] == 4, "the other device goes on");
  ops->release(dev[1], NULL, &far);
  sim_ops()->arm(0, NULL);
  ok(!get(d, NULL, &b, back, 4) && isnan(back[0]), "when it is back, what was in its memory is gone");
  ops->release(d, NULL, &b);
  ops->release(d, NULL, &more);
  is_int((long long)sim_ops()->used(0), 0, "and nothing is left in use");
  ops->queue_free(d, q);
  ops->queue_free(d, other);
  end();
}

int main(void)
{
  if (!load()) return skip(1, "sim: chx was built without it"), done_testing();
  options();
  many_devices();
  private_memory();
  addresses();
  guard_pages();
  mappable();
  mapped_later();
  coherent();
  peers();
  times();
  lost();
  return done_testing();
}
