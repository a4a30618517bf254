/* SPDX-License-Identifier: MIT
 * wrong.c: the device wrong:0 for tests/test_diff.t. Its memory is the host's; its one kernel, for the operator that
 * $CHX_WRONG_OP names, gives zeros, or with CHX_WRONG_HOW=fail an error. All else is left to native.
 */
#include <chx/plugin.h>
#include <chx/attr.h>
#include <stdlib.h>
#include <string.h>

struct chx_dev { const chx_host *host; };
static struct chx_dev the_device;

static const int bits[] = { /* by CHX_F32, ... */
#define CHX_DT(ID, number, name, ctype, code, bits, kind) [number] = bits,
#include <chx/dtype.def>
};

static chx_status run(void *self, const chx_call *c)
{
  const char *how = getenv("CHX_WRONG_HOW");
  (void)self;
  if (how && !strcmp(how, "fail"))
    return the_device.host->fail(the_device.host->ctx, CHX_EFAILED, "wrong: this kernel fails");
  for (uint32_t o = 0; o < c->n_out; o++) {
    const chx_tensor *y = &c->out[o];
    size_t n = (size_t)(bits[CHX_T_DTYPE(y)] < 8 ? 8 : bits[CHX_T_DTYPE(y)]) / 8;
    for (int i = 0; i < y->ndim; i++) n *= (size_t)y->shape[i];
    memset((char *)y->data + y->byte_offset, 0, n);
  }
  return CHX_OK;
}

/* A program of one step is an operator of another name, of which native's result will do. */
static chx_status accepts(void *self, const chx_call *c)
{
  const chx_kernel *k = self;
  return !strcmp(k->op, "map") && ((const chx_map_attr *)c->attr)->program.n < 2 ? CHX_DECLINED : CHX_OK;
}

static const chx_kernel *kernel(chx_dev *dev, uint32_t index)
{
  static chx_kernel k = {.size = sizeof k, .min_version = 1, .max_version = 1, .dtypes_in = CHX_ANY_REAL,
                         .dtypes_out = CHX_ANY_REAL, .max_rank = CHX_MAX_RANK,
                         .flags = CHX_K_CONTIGUOUS | CHX_K_SCALAR_OK, .accepts = accepts, .run = run,
                         .self = &k};
  (void)dev;
  k.op = getenv("CHX_WRONG_OP");
  return k.op && !index ? &k : NULL;
}

static chx_status info(chx_dev *dev, chx_device_info *out)
{
  const chx_device_info all = {.size = sizeof all, .flags = CHX_D_HOST_IS_DEVICE, .name = "wrong on purpose", .dl_type = 1,
                               .dtypes = CHX_ANY_REAL, .alignment = 64};
  const uint32_t size = out->size < all.size ? out->size : all.size;
  (void)dev;
  memcpy((char *)out + sizeof size, (const char *)&all + sizeof size, size - sizeof size);
  return CHX_OK;
}

static chx_status alloc(chx_dev *dev, chx_queue *q, uint64_t bytes, uint32_t kind, chx_buffer *out)
{
  void *p = NULL;
  (void)q, (void)kind;
  if (posix_memalign(&p, 64, bytes ? (size_t)bytes : 1))
    return dev->host->fail(dev->host->ctx, CHX_ENOMEM, "wrong: the system has no memory");
  out->flags = CHX_B_DEVICE | CHX_B_SHARED | CHX_B_COHERENT;
  out->handle = out->host_ptr = p;
  out->bytes = bytes;
  return CHX_OK;
}

static void release(chx_dev *dev, chx_queue *q, chx_buffer *b) { (void)dev, (void)q, free(b->handle); }

static chx_status copy(chx_dev *dev, chx_queue *q, void *dst, uint64_t dst_off, const void *src, uint64_t src_off,
                       uint64_t bytes, uint32_t dir)
{
  (void)dev, (void)q, (void)dir;
  if (bytes) memmove((char *)dst + dst_off, (const char *)src + src_off, (size_t)bytes);
  return CHX_OK;
}

static const chx_device_ops ops = {.size = sizeof ops, .info = info, .kernel = kernel, .alloc = alloc, .release = release,
                                   .copy = copy};

static chx_status plugin_open(const chx_host *host, void **state)
{
  the_device.host = host;
  *state = &the_device;
  return CHX_OK;
}
static chx_status device_count(void *state, uint32_t *n) { return (void)state, *n = 1, CHX_OK; }
static chx_status device_open(void *state, uint32_t i, chx_dev **dev) { return *dev = state, i ? CHX_EDEVICE : CHX_OK; }
static const chx_device_ops *device_ops(void *state) { return (void)state, &ops; }
static void device_close(chx_dev *dev) { (void)dev; }
static void plugin_close(void *state) { (void)state; }

static const chx_plugin plugin = {.size = sizeof plugin, .abi_minor = CHX_ABI_MINOR, .name = "wrong", .version = "0",
                                  .vendor = "tests", .open = plugin_open, .device_count = device_count,
                                  .device_open = device_open, .device_ops = device_ops, .device_close = device_close,
                                  .close = plugin_close};

CHX_EXPORT const chx_plugin *chx_plugin_v1(void);
CHX_EXPORT const chx_plugin *chx_plugin_v1(void) { return &plugin; }
