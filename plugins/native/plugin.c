/* SPDX-License-Identifier: MIT
 * plugin.c: native's descriptor, its devices, and the choice of the instruction set.
 *
 * Memory is the process's own, so copy is memcpy and there are no queues: a kernel has finished when run returns.
 * CHX_NATIVE_DEVICES=4 gives four devices, which are the same but for their names: to the core their arrays are on
 * different devices, so that programs for several can be tested on any machine.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include "native.h"

enum { MAX_KERNELS = 256, ALIGNMENT = 64, HUGE_PAGE = 2 << 20, MAX_DEVICES = 32 };

struct chx_dev { char name[64]; };

const chx_host *nat_host;
static struct chx_dev devices[MAX_DEVICES];
static uint32_t n_devices;
static const chx_kernel *kernels[MAX_KERNELS + 1];

/* ---- for the kernels ---------------------------------------------------------------------------------------- */

chx_status nat_fail(chx_status code, const char *fmt, ...)
{
  char msg[384];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(msg, sizeof msg, fmt, ap);
  va_end(ap);
  return nat_host->fail(nat_host->ctx, code, msg);
}

void nat_parallel(int64_t n, int64_t grain, nat_range *fn, void *ctx)
{
  if (n <= 0) return;
  if (n <= grain || !nat_host->parallel_for || nat_host->parallel_for(nat_host->ctx, n, grain, fn, ctx))
    fn(0, n, ctx);
}

/* ---- instruction sets ----------------------------------------------------------------------------------------- */

typedef struct level {
  const char *name;
  int (*supported)(void);
  const chx_kernel *const *families; /* NULL-terminated */
} level;

#define TABLE_OF(family, isa) NAT_PASTE(nat_##family##_kernels, isa)
#if defined CHX_NATIVE_X86_LEVELS
#define DECLARE(family) \
  extern const chx_kernel TABLE_OF(family, v2)[], TABLE_OF(family, v3)[], TABLE_OF(family, v4)[];
NAT_FAMILIES(DECLARE)
#define V2(family) TABLE_OF(family, v2),
#define V3(family) TABLE_OF(family, v3),
#define V4(family) TABLE_OF(family, v4),
static const chx_kernel *const tables_v2[] = {NAT_FAMILIES(V2) NULL};
static const chx_kernel *const tables_v3[] = {NAT_FAMILIES(V3) NULL};
static const chx_kernel *const tables_v4[] = {NAT_FAMILIES(V4) NULL};

/* Feature by feature, since older compilers do not know "x86-64-v3". libgcc also asks the system whether it saves
 * the wide registers. */
#define HAS(feature) __builtin_cpu_supports(feature)
static int has_v2(void) { return 1; }
static int has_v3(void)
{
  __builtin_cpu_init();
  return HAS("avx2") && HAS("fma") && HAS("bmi") && HAS("bmi2") && HAS("popcnt") && HAS("sse4.2");
}
static int has_v4(void)
{
  return has_v3() && HAS("avx512f") && HAS("avx512bw") && HAS("avx512cd") && HAS("avx512dq") && HAS("avx512vl");
}
static const level levels[] = {{"v4", has_v4, tables_v4}, {"v3", has_v3, tables_v3}, {"v2", has_v2, tables_v2}};
#else
#define DECLARE(family) extern const chx_kernel TABLE_OF(family, plain)[];
NAT_FAMILIES(DECLARE)
#define PLAIN(family) TABLE_OF(family, plain),
static const chx_kernel *const tables_plain[] = {NAT_FAMILIES(PLAIN) NULL};
static int has_plain(void) { return 1; }
static const level levels[] = {{"plain", has_plain, tables_plain}};
#endif
enum { N_LEVELS = (int)(sizeof levels / sizeof *levels) };

static chx_status choose_level(const level **out)
{
  const char *want = secure_getenv("CHX_NATIVE_ISA");
  for (int i = 0; i < N_LEVELS; i++) {
    if (want && *want && strcmp(want, levels[i].name) != 0) continue;
    if (levels[i].supported()) {
      *out = &levels[i];
      return CHX_OK;
    }
    if (want && *want)
      return nat_fail(CHX_EUNSUPPORTED, "native: CHX_NATIVE_ISA is %s, which this processor does not have", want);
  }
#if defined CHX_NATIVE_X86_LEVELS
  return nat_fail(CHX_EARG, "native: CHX_NATIVE_ISA is \"%s\", want v2, v3 or v4", want);
#else
  return nat_fail(CHX_EARG, "native: CHX_NATIVE_ISA is \"%s\", want plain", want);
#endif
}

/* ---- the device ----------------------------------------------------------------------------------------------- */

static void read_cpu_name(char *name, size_t size)
{
  char line[256];
  FILE *f = fopen("/proc/cpuinfo", "re");

  snprintf(name, size, "CPU");
  while (f && fgets(line, sizeof line, f)) {
    char *value = strchr(line, ':');
    if (strncmp(line, "model name", 10) != 0 || !value) continue;
    value += 1 + strspn(value + 1, " \t");
    value[strcspn(value, "\n")] = 0;
    snprintf(name, size, "%.*s", (int)size - 1, value);
    break;
  }
  if (f) fclose(f);
}

static chx_status info(chx_dev *dev, chx_device_info *out)
{
  struct sysinfo s;
  const int known = sysinfo(&s) == 0;
  const chx_device_info all = {
    .size = sizeof all, .flags = CHX_D_HOST_IS_DEVICE | CHX_D_MAPPABLE | CHX_D_IMPORT_HOST, .name = dev->name,
    .vendor = "chx", .dl_type = 1 /* kDLCPU */, .dtypes = CHX_ANY_REAL | CHX_BIT(CHX_C64) | CHX_BIT(CHX_C128),
    .mem_total = known ? (uint64_t)s.totalram * s.mem_unit : 0,
    .mem_free = known ? ((uint64_t)s.freeram + s.bufferram) * s.mem_unit : 0, .alignment = ALIGNMENT};
  const uint32_t size = out->size < all.size ? out->size : all.size;
  memcpy((char *)out + sizeof size, (const char *)&all + sizeof size, size - sizeof size);
  return CHX_OK;
}

static const chx_kernel *kernel(chx_dev *dev, uint32_t index)
{
  (void)dev;
  return index < MAX_KERNELS ? kernels[index] : NULL;
}

static chx_status alloc(chx_dev *dev, chx_queue *q, uint64_t bytes, uint32_t kind, chx_buffer *out)
{
  (void)dev, (void)q, (void)kind;
  void *p = NULL;
  const size_t align = bytes >= 2 * (uint64_t)HUGE_PAGE ? HUGE_PAGE : ALIGNMENT;

  if (bytes > SIZE_MAX / 2 || posix_memalign(&p, align, bytes ? (size_t)bytes : 1))
    return nat_fail(CHX_ENOMEM, "native: the system has no %llu bytes", (unsigned long long)bytes);
  if (align == HUGE_PAGE) madvise(p, (size_t)bytes, MADV_HUGEPAGE); /* fewer page faults; a refusal does no harm */
  out->flags = CHX_B_DEVICE | CHX_B_SHARED | CHX_B_COHERENT;
  out->handle = out->host_ptr = p;
  out->bytes = bytes;
  return CHX_OK;
}

static void release(chx_dev *dev, chx_queue *q, chx_buffer *b)
{
  (void)dev, (void)q;
  free(b->handle);
  b->handle = b->host_ptr = NULL;
}

static chx_status copy(chx_dev *dev, chx_queue *q, void *dst, uint64_t dst_off, const void *src, uint64_t src_off,
                       uint64_t bytes, uint32_t dir)
{
  (void)dev, (void)q, (void)dir;
  if (bytes) memmove((char *)dst + dst_off, (const char *)src + src_off, (size_t)bytes);
  return CHX_OK;
}

static chx_status map(chx_dev *dev, chx_queue *q, chx_buffer *b, uint64_t off, uint64_t bytes, uint32_t access,
                      void **host_ptr)
{
  (void)dev, (void)q, (void)bytes, (void)access;
  *host_ptr = (char *)b->handle + off;
  return CHX_OK;
}

static chx_status unmap(chx_dev *dev, chx_queue *q, chx_buffer *b, void *host_ptr)
{
  (void)dev, (void)q, (void)b, (void)host_ptr;
  return CHX_OK;
}

/* The buffer's owner stays the caller: it must not be given to release. */
static chx_status import_host(chx_dev *dev, void *ptr, uint64_t bytes, uint32_t access, chx_buffer *out)
{
  (void)dev, (void)access;
  out->flags = CHX_B_SHARED | CHX_B_COHERENT;
  out->handle = out->host_ptr = ptr;
  out->bytes = bytes;
  return CHX_OK;
}

static const chx_device_ops ops = {.size = sizeof ops, .info = info, .kernel = kernel, .alloc = alloc,
                                   .release = release, .copy = copy, .map = map, .unmap = unmap,
                                   .import_host = import_host};

/* ---- the plugin ----------------------------------------------------------------------------------------------- */

static chx_status count_devices(void)
{
  const char *text = secure_getenv("CHX_NATIVE_DEVICES");
  char *end = NULL;
  const unsigned long n = text && *text ? strtoul(text, &end, 10) : 1;

  if (end && (*end || *text < '0' || *text > '9' || n < 1 || n > MAX_DEVICES))
    return nat_fail(CHX_EARG, "native: CHX_NATIVE_DEVICES is \"%s\", want a number of devices, 1 to %d", text,
                    (int)MAX_DEVICES);
  n_devices = (uint32_t)n;
  return CHX_OK;
}

static int in_reference_mode(void)
{
  const char *text = secure_getenv("CHX_REFERENCE");
  return text && *text && strcmp(text, "0") != 0;
}

static chx_status plugin_open(const chx_host *host, void **state)
{
  const level *l = NULL;
  chx_status st;
  uint32_t n = 0;

  nat_host = host;
  st = choose_level(&l);
  if (!st) st = count_devices();
  if (st) return st;
  for (const chx_kernel *const *family = in_reference_mode() ? nat_reference_families : l->families; *family; family++)
    for (const chx_kernel *k = *family; k->op; k++) {
      if (n == MAX_KERNELS) return nat_fail(CHX_EFAILED, "native: more than %d kernels", (int)MAX_KERNELS);
      kernels[n++] = k;
    }
  kernels[n] = NULL;
  read_cpu_name(devices[0].name, sizeof devices[0].name);
  for (uint32_t i = 1; i < n_devices; i++) devices[i] = devices[0];
  *state = devices;
  return CHX_OK;
}

static chx_status device_count(void *state, uint32_t *n)
{
  (void)state;
  *n = n_devices;
  return CHX_OK;
}

static chx_status device_open(void *state, uint32_t i, chx_dev **dev)
{
  if (i >= n_devices) return nat_fail(CHX_EDEVICE, "native: device %u was asked for, there are %u, from 0", i, n_devices);
  *dev = (chx_dev *)state + i;
  return CHX_OK;
}

static const chx_device_ops *device_ops(void *state)
{
  (void)state;
  return &ops;
}

static void device_close(chx_dev *dev) { (void)dev; }
static void plugin_close(void *state) { (void)state; }

static const chx_plugin plugin = {
  .size = sizeof plugin, .abi_minor = CHX_ABI_MINOR, .name = "native", .version = "0.1.0", .vendor = "chx",
#if defined __VERSION__
  .build = __VERSION__,
#endif
  .open = plugin_open, .device_count = device_count, .device_open = device_open, .device_ops = device_ops,
  .device_close = device_close, .close = plugin_close};

CHX_EXPORT const chx_plugin *chx_plugin_v1(void);
CHX_EXPORT const chx_plugin *chx_plugin_v1(void) { return &plugin; }
