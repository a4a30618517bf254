/* SPDX-License-Identifier: MIT
 * plugin.c: a plugin for the first frozen ABI, built by tests/abi_pairs.t from the headers beside it alone and then loaded into
 * cores of other ages. Its device has private memory, queues, and few kernels: add, copy, map with the one row tanh, reduce
 * with the one kind sum, and conv with accepts, prepare and drop. It counts what it is given, and what it should not have been.
 *
 *   NAME         the backend's name; default "old"
 *   BEFORE       its headers are older yet: conv without `layout` and `shape`
 *   NEWER        its headers are newer: every growable struct has a field `future` at its end; where the core is known to
 *                extend attributes by zeros (CHX_ABI_UNGUARDED), kernels read that without a look at `size`
 */
#include <chx/plugin.h>
#include <chx/attr.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef NAME
#define NAME "old"
#endif
#ifdef NEWER
#define JUNK .future = 0x5aa55aa55aa55aa5u, /* nobody who is older looks there */
#else
#define JUNK
#endif

struct chx_dev { uint64_t marks; };
struct chx_queue { uint64_t point; };

static const chx_host *host;
static struct chx_dev device;
static struct old_counts { /* as tests/abi/pair.c reads them */
  int64_t ran_add, ran_map, ran_reduce, ran_conv, asked, prepared, dropped, synced, wrong;
} counts;

/* ---- memory: pages that the host calls by an address of ours --------------------------------------------------------- */

static const uintptr_t device_space = (uintptr_t)1 << 55;

static char *bytes_of(const void *handle, uint64_t offset)
{
  return (char *)((uintptr_t)handle - device_space) + offset;
}

static chx_status alloc(chx_dev *dev, chx_queue *q, uint64_t bytes, uint32_t kind, chx_buffer *out)
{
  void *p = mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  (void)dev, (void)q, (void)kind;
  if (p == MAP_FAILED) return host->fail(host->ctx, CHX_ENOMEM, NAME ": no memory");
  out->handle = (void *)((uintptr_t)p + device_space);
  out->bytes = bytes;
  return CHX_OK;
}

static void release(chx_dev *dev, chx_queue *q, chx_buffer *b)
{
  (void)dev, (void)q;
  munmap(bytes_of(b->handle, 0), b->bytes + 1);
}

static chx_status copy(chx_dev *dev, chx_queue *q, void *dst, uint64_t dst_off, const void *src, uint64_t src_off,
                       uint64_t bytes, uint32_t dir)
{
  (void)dev, (void)q;
  if (!bytes) return CHX_OK;
  memmove(dir == 1 ? (char *)dst + dst_off : bytes_of(dst, dst_off),
          dir == 0 ? (const char *)src + src_off : bytes_of(src, src_off), bytes);
  return CHX_OK;
}

/* ---- kernels ---------------------------------------------------------------------------------------------------------- */

static float *data(const chx_tensor *t) { return (float *)(void *)bytes_of(t->data, t->byte_offset); }

static int64_t count(const chx_tensor *t)
{
  int64_t n = 1;
  for (int i = 0; i < t->ndim; i++) n *= t->shape[i];
  return n;
}

#ifdef NEWER
static int unguarded;
#define SEES(T, p) counts.wrong += CHX_HAS((const T *)(p), T, future) || (unguarded && ((const T *)(p))->future)
#else
#define SEES(T, p) ((void)sizeof(T))
#endif

static void seen(const chx_call *c)
{
  counts.wrong += !CHX_HAS(c, chx_call, out) || c->n_out != 1 || !c->queue;
  counts.wrong += c->attr && *(const uint32_t *)c->attr < 8;
#ifdef NEWER
  counts.wrong += CHX_HAS(c, chx_call, future) != 0;
#endif
}

static chx_status add(void *self, const chx_call *c)
{
  (void)self;
  seen(c);
  counts.ran_add++;
  for (int64_t i = 0, n = count(&c->out[0]); i < n; i++) data(&c->out[0])[i] = data(&c->in[0])[i] + data(&c->in[1])[i];
  return CHX_OK;
}

static chx_status copy_kernel(void *self, const chx_call *c)
{
  (void)self;
  seen(c);
  memcpy(data(&c->out[0]), data(&c->in[0]), (size_t)count(&c->out[0]) * sizeof(float));
  return CHX_OK;
}

static chx_status map_accepts(void *self, const chx_call *c)
{
  const chx_map_attr *p = c->attr;
  (void)self;
  counts.asked++;
  return p->program.n == 1 && !strcmp(p->program.step[0].op, "tanh") ? CHX_OK : CHX_DECLINED;
}

static chx_status map(void *self, const chx_call *c)
{
  (void)self;
  seen(c);
  SEES(chx_map_attr, c->attr);
  counts.ran_map++;
  for (int64_t i = 0, n = count(&c->out[0]); i < n; i++) data(&c->out[0])[i] = tanhf(data(&c->in[0])[i]);
  return CHX_OK;
}

static chx_status reduce_accepts(void *self, const chx_call *c)
{
  const chx_reduce_attr *p = c->attr;
  (void)self;
  return p->kind == CHX_REDUCE_SUM ? CHX_OK : CHX_DECLINED;
}

/* The output has x's rank, the reduced axes having length 1. */
static chx_status reduce(void *self, const chx_call *c)
{
  const chx_tensor *x = &c->in[0], *y = &c->out[0];
  const chx_reduce_attr *p = c->attr;
  (void)self;
  seen(c);
  SEES(chx_reduce_attr, p);
  counts.ran_reduce++;
  for (int64_t k = 0; k < p->axes.n; k++) counts.wrong += p->axes.v[k] < 0 || y->shape[p->axes.v[k]] != 1;
  memset(data(y), 0, (size_t)count(y) * sizeof(float));
  for (int64_t i = 0, n = count(x); i < n; i++) {
    int64_t rest = i, at = 0, step = 1;
    for (int a = x->ndim - 1; a >= 0; a--) {
      int64_t index = rest % x->shape[a];
      rest /= x->shape[a];
      if (y->shape[a] != 1) at += index * step;
      step *= y->shape[a];
    }
    data(y)[at] += data(x)[i];
  }
  return CHX_OK;
}

struct plan { int64_t stride[2], pad[2], dilation[2]; };

static chx_status conv_accepts(void *self, const chx_call *c)
{
  const chx_conv_attr *p = c->attr;
  (void)self;
#ifndef BEFORE
  if (p->layout != CHX_CHANNELS_FIRST) return CHX_DECLINED;
#endif
  return c->in[0].ndim == 4 && p->groups == 1 && (c->n_in < 3 || c->in[2].flags & CHX_T_ABSENT) ? CHX_OK : CHX_DECLINED;
}

static chx_status conv_prepare(void *self, const chx_call *c, void **plan, uint64_t *workspace_bytes)
{
  const chx_conv_attr *p = c->attr;
  struct plan *made = malloc(sizeof *made);
  (void)self;
  if (!made) return CHX_ENOMEM;
  for (int i = 0; i < 2; i++) {
    counts.wrong += p->stride.n != 2 || p->pad.n != 2 || p->dilation.n != 2; /* lists are complete */
    made->stride[i] = p->stride.v[i];
    made->pad[i] = p->pad.v[i];
    made->dilation[i] = p->dilation.v[i];
  }
  *plan = made;
  *workspace_bytes = 64;
  counts.prepared++;
  return CHX_OK;
}

static void conv_drop(void *self, void *plan)
{
  (void)self;
  free(plan);
  counts.dropped++;
}

static chx_status conv(void *self, const chx_call *c)
{
  const int64_t *x = c->in[0].shape, *w = c->in[1].shape, *y = c->out[0].shape;
  const struct plan *p = c->plan;
  (void)self;
  seen(c);
  SEES(chx_conv_attr, c->attr);
  counts.ran_conv++;
  counts.wrong += !c->workspace || c->workspace_bytes != 64;
  float *out = data(&c->out[0]);
  for (int64_t n = 0; n < y[0]; n++)
    for (int64_t k = 0; k < y[1]; k++)
      for (int64_t i = 0; i < y[2]; i++)
        for (int64_t j = 0; j < y[3]; j++) {
          float sum = 0;
          for (int64_t ch = 0; ch < w[1]; ch++)
            for (int64_t u = 0; u < w[2]; u++)
              for (int64_t v = 0; v < w[3]; v++) {
                int64_t a = i * p->stride[0] + u * p->dilation[0] - p->pad[0],
                        b = j * p->stride[1] + v * p->dilation[1] - p->pad[1];
                if (a < 0 || a >= x[2] || b < 0 || b >= x[3]) continue;
                sum += data(&c->in[0])[((n * x[1] + ch) * x[2] + a) * x[3] + b] *
                       data(&c->in[1])[((k * w[1] + ch) * w[2] + u) * w[3] + v];
              }
          *out++ = sum;
        }
  return CHX_OK;
}

#define KERNEL JUNK .size = sizeof(chx_kernel), .min_version = 1, .max_version = 1, .dtypes_in = CHX_BIT(CHX_F32), \
  .dtypes_out = CHX_BIT(CHX_F32), .max_rank = 16, .flags = CHX_K_CONTIGUOUS
static const chx_kernel kernels[] = {
    {KERNEL, .op = "add", .alias_ok = 1 | 1 << 8, .run = add},
    {KERNEL, .op = "copy", .run = copy_kernel},
    {KERNEL, .op = "map", .attr_size = sizeof(chx_map_attr), .accepts = map_accepts, .run = map},
    {KERNEL, .op = "reduce", .attr_size = sizeof(chx_reduce_attr), .accepts = reduce_accepts, .run = reduce},
    {KERNEL, .op = "conv", .attr_size = sizeof(chx_conv_attr), .accepts = conv_accepts, .prepare = conv_prepare,
     .drop = conv_drop, .run = conv},
    {KERNEL, .op = "com.example.unknown", .run = add},
};

static const chx_kernel *kernel(chx_dev *dev, uint32_t i)
{
  (void)dev;
  return i < sizeof kernels / sizeof *kernels ? &kernels[i] : NULL;
}

/* ---- queues: work is done when it is queued ----------------------------------------------------------------------------- */

static chx_status queue_new(chx_dev *dev, void *adopt, chx_queue **out)
{
  (void)dev;
  if (adopt) return CHX_EUNSUPPORTED;
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
  dev->marks++;
  return ++q->point;
}

static chx_status queue_sync(chx_dev *dev, chx_queue *q, uint64_t point, int64_t timeout_ns)
{
  (void)dev, (void)timeout_ns;
  counts.synced++;
  counts.wrong += point > q->point;
  return CHX_OK;
}

/* ---- the plugin ----------------------------------------------------------------------------------------------------------- */

static chx_status info(chx_dev *dev, chx_device_info *out)
{
  (void)dev;
  chx_device_info mine = {JUNK .size = out->size, .flags = CHX_D_ASYNC, .name = NAME, .vendor = "tests", .bus_id = "",
                          .dl_type = 12, .dtypes = CHX_ANY_REAL, .alignment = 64};
  memcpy(out, &mine, out->size < sizeof mine ? out->size : sizeof mine);
  return CHX_OK;
}

static const void *extension(chx_dev *dev, const char *name)
{
  (void)dev;
  return strcmp(name, "x.old/1") ? NULL : &counts;
}

static chx_status plugin_open(const chx_host *h, void **state)
{
  host = h;
  counts.wrong += !CHX_HAS(h, chx_host, fail) || !CHX_HAS(h, chx_host, scratch) || !CHX_HAS(h, chx_host, extension);
#ifdef NEWER
  counts.wrong += CHX_HAS(h, chx_host, future) != 0;
  unguarded = getenv("CHX_ABI_UNGUARDED") != NULL;
#endif
  counts.wrong += h->extension(h->ctx, "x.none/1") != NULL;
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
  static const chx_device_ops ops = {JUNK.size = sizeof ops,   .info = info,
                                     .kernel = kernel,         .alloc = alloc,
                                     .release = release,       .copy = copy,
                                     .queue_new = queue_new,   .queue_free = queue_free,
                                     .queue_mark = queue_mark, .queue_sync = queue_sync,
                                     .extension = extension};
  (void)state;
  return &ops;
}

CHX_EXPORT const chx_plugin *chx_plugin_v1(void);
CHX_EXPORT const chx_plugin *chx_plugin_v1(void)
{
  static const chx_plugin plugin = {JUNK.size = sizeof plugin,
                                    .abi_minor = CHX_ABI_MINOR,
                                    .name = NAME,
                                    .version = "1.0",
                                    .vendor = "tests",
                                    .open = plugin_open,
                                    .device_count = device_count,
                                    .device_open = device_open,
                                    .device_ops = device_ops};
  return &plugin;
}
