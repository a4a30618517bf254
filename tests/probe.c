/* SPDX-License-Identifier: MIT
 * probe.c: a plugin that looks at what the core does with the rarer parts of the ABI: plans, workspace, accepts, scratch while a
 * queue runs, operands of map. Its queues finish at once; its memory is the host's, but it does not say so.
 */
#include <chx/plugin.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "probe.h"

struct chx_dev { int index; };
struct chx_queue { uint64_t point; };

static const chx_host *host;
static struct chx_dev device;
static probe_counts counts;

static float *data(const chx_tensor *t) { return (float *)(void *)((char *)t->data + t->byte_offset); }

static int64_t count(const chx_tensor *t)
{
  int64_t n = 1;
  for (int i = 0; i < t->ndim; i++) n *= t->shape[i];
  return n;
}

static chx_status neg(void *self, const chx_call *c)
{
  void *scratch = host->scratch(host->ctx, c, 3 << 20); /* more than is cached: the allocator has to go to the backend */
  (void)self;
  counts.no_scratch += scratch == NULL;
  for (int64_t i = 0; i < count(&c->out[0]); i++) data(&c->out[0])[i] = -data(&c->in[0])[i];
  return CHX_OK;
}

static chx_status exp_accepts(void *self, const chx_call *c)
{
  (void)self;
  counts.asked++;
  if (c->in[0].ndim <= 3) return CHX_OK;
  counts.refused++;
  return CHX_DECLINED;
}

static chx_status exp_prepare(void *self, const chx_call *c, void **plan, uint64_t *workspace_bytes)
{
  int64_t *n = malloc(sizeof *n);
  (void)self;
  if (!n) return CHX_ENOMEM;
  *n = count(&c->out[0]);
  *plan = n;
  *workspace_bytes = 1000;
  counts.prepared++;
  return CHX_OK;
}

static void exp_drop(void *self, void *plan)
{
  (void)self;
  free(plan);
  counts.dropped++;
}

static chx_status exp_run(void *self, const chx_call *c)
{
  (void)self;
  counts.ran++;
  counts.without_workspace += !c->workspace || c->workspace_bytes != 1000;
  for (int64_t i = 0, n = *(int64_t *)c->plan; i < n; i++) data(&c->out[0])[i] = expf(data(&c->in[0])[i]);
  return CHX_OK;
}

static chx_status map(void *self, const chx_call *c)
{
  (void)self;
  for (uint32_t i = 0; i < c->n_in; i++) {
    int same = c->in[i].ndim == c->out[0].ndim;
    for (int k = 0; same && k < c->out[0].ndim; k++) same = c->in[i].shape[k] == c->out[0].shape[k];
    counts.wrong_rank += !same;
  }
  return CHX_DECLINED;
}

#define KERNEL .size = sizeof(chx_kernel), .dtypes_in = CHX_BIT(CHX_F32), .dtypes_out = CHX_BIT(CHX_F32), .max_rank = 16
static const chx_kernel kernels[] = {
  {KERNEL, .op = "neg", .flags = CHX_K_CONTIGUOUS, .run = neg},
  {KERNEL, .op = "exp", .flags = CHX_K_CONTIGUOUS, .accepts = exp_accepts, .prepare = exp_prepare, .drop = exp_drop, .run = exp_run},
  {KERNEL, .op = "map", .attr_size = 1 << 12, .run = map},
};

static const chx_kernel *kernel(chx_dev *dev, uint32_t i)
{
  (void)dev;
  return i < sizeof kernels / sizeof *kernels ? &kernels[i] : NULL;
}

static chx_status info(chx_dev *dev, chx_device_info *out)
{
  (void)dev;
  out->flags = CHX_D_ASYNC;
  out->name = "probe";
  out->dl_type = 12;
  out->dtypes = CHX_ANY_REAL;
  return CHX_OK;
}

static chx_status alloc(chx_dev *dev, chx_queue *q, uint64_t bytes, uint32_t kind, chx_buffer *out)
{
  (void)dev, (void)q, (void)kind;
  out->handle = aligned_alloc(64, (bytes + 63) / 64 * 64);
  return out->handle ? CHX_OK : CHX_ENOMEM;
}

static void release(chx_dev *dev, chx_queue *q, chx_buffer *b)
{
  (void)dev, (void)q;
  free(b->handle);
}

static chx_status copy(chx_dev *dev, chx_queue *q, void *dst, uint64_t dst_off, const void *src, uint64_t src_off, uint64_t bytes, uint32_t dir)
{
  (void)dev, (void)q, (void)dir;
  memcpy((char *)dst + dst_off, (const char *)src + src_off, bytes);
  return CHX_OK;
}

static chx_status queue_new(chx_dev *dev, void *adopt, chx_queue **out)
{
  (void)dev, (void)adopt;
  *out = calloc(1, sizeof **out);
  return *out ? CHX_OK : CHX_ENOMEM;
}

static void queue_free(chx_dev *dev, chx_queue *q)
{
  (void)dev;
  free(q);
}

static uint64_t queue_mark(chx_dev *dev, chx_queue *q)
{
  (void)dev;
  return ++q->point;
}

static chx_status queue_sync(chx_dev *dev, chx_queue *q, uint64_t point, int64_t timeout_ns)
{
  (void)dev, (void)q, (void)point, (void)timeout_ns;
  return CHX_OK;
}

static const void *extension(chx_dev *dev, const char *name)
{
  (void)dev;
  return strcmp(name, "x.probe/1") ? NULL : &counts;
}

static chx_status plugin_open(const chx_host *h, void **state)
{
  host = h;
  const chx_host_kernels *native = h->extension(h->ctx, CHX_HOST_KERNELS);
  counts.misnamed = h->extension(h->ctx, "chx.host-kernels/9") != NULL || h->extension(h->ctx, NULL) != NULL;
  for (counts.lent = 0; native && native->kernel((uint32_t)counts.lent); counts.lent++) {}
  *state = &device;
  return CHX_OK;
}

static chx_status device_count(void *state, uint32_t *n)
{
  (void)state;
  *n = 1;
  return CHX_OK;
}

static chx_status device_open(void *state, uint32_t i, chx_dev **dev)
{
  (void)state, (void)i;
  *dev = &device;
  return CHX_OK;
}

static const chx_device_ops *device_ops(void *state)
{
  static const chx_device_ops ops = {.size = sizeof ops, .info = info, .kernel = kernel, .alloc = alloc, .release = release, .copy = copy,
                                     .queue_new = queue_new, .queue_free = queue_free, .queue_mark = queue_mark,
                                     .queue_sync = queue_sync, .extension = extension};
  (void)state;
  return &ops;
}

CHX_EXPORT const chx_plugin *chx_plugin_v1(void);
CHX_EXPORT const chx_plugin *chx_plugin_v1(void)
{
  static const chx_plugin plugin = {.size = sizeof plugin, .name = "probe", .open = plugin_open, .device_count = device_count,
                                    .device_open = device_open, .device_ops = device_ops};
  return &plugin;
}
