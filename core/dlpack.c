/* SPDX-License-Identifier: MIT
 * dlpack.c: arrays shared with other libraries through DLPack 1.x. The structs are declared here as DLPack's ABI has
 * them; tests/test_dlpack.c compares them with its header where one is found.
 *
 * A tensor of the host's memory (device types CPU, CUDA's and ROCm's pinned memory) is imported to native:0, one of a
 * device's to that device (dlpack_device.c). DLPack's read-only tensors are copied, since an array can be written into.
 * Memory that was exported is shared (transfer.c) until the tensor's deleter is called.
 */
#include "dlpack.h"
#include "runtime.h"

/* ---- export ------------------------------------------------------------------------------------------------------- */

typedef struct exported {
  chxi_dl_managed m;
  chx_array *value;
  int64_t shape[CHX_MAX_RANK], strides[CHX_MAX_RANK];
} exported;

static void release_exported(chxi_dl_managed *m)
{
  if (!m) return;
  exported *e = m->manager_ctx;
  chxi_unshare(e->value->buf);
  chxi_value_unref(e->value);
  chxi_free(e, sizeof *e);
}

/* What DLPack has to say of a's device, NULL with the error in s. */
static const chx_device_info *device_of(chx_scope *s, const chx_array *a)
{
  if (!chxi_ok(s)) return NULL;
  if (!a || !a->buf) {
    chx_scope_fail(s, CHX_EARG, "to_dlpack: the array is %s, want one with memory", a ? "a scalar" : "NULL");
    return NULL;
  }
  const chxi_device *dev = a->buf->dev;
  /* Who has no number of its own can be understood by itself alone. */
  const bool imports = CHX_HAS(dev->ops, chx_device_ops, import_native);
  if (dev->info.dl_type > 0 && (dev->info.dl_type != CHXI_DL_EXT_DEV || imports)) return &dev->info;
  chx_scope_fail(s, CHX_EUNSUPPORTED,
                 "to_dlpack: device %s has no device type in DLPack, want an array moved to another, such as native:0",
                 dev->spec);
  return NULL;
}

chx_status chx_dlpack_type(chx_scope *s, const chx_array *a, int *type, int *id)
{
  const chx_device_info *info = device_of(s, a);
  if (!info) return chx_scope_error(s);
  *type = info->dl_type;
  *id = info->dl_id;
  return CHX_OK;
}

void *chx_to_dlpack(chx_scope *s, const chx_array *a) { return chx_to_dlpack_on(s, a, NULL); }

void *chx_to_dlpack_on(chx_scope *s, const chx_array *a, void *queue)
{
  const chx_device_info *info = device_of(s, a);
  if (!info) return NULL;
  chxi_buffer *b = a->buf;
  if (!queue && !chxi_buffer_ready(s, b)) return NULL;
  if (!chxi_share(s, b)) return NULL;
  /* Who takes it knows nothing of our queues. */
  if (queue != CHX_DLPACK_NO_WAIT && !chxi_buffer_followed(s, b, queue)) return chxi_unshare(b), NULL;
  exported *e = chxi_alloc(sizeof *e);
  if (!e) {
    chxi_unshare(b);
    chx_scope_fail(s, CHX_ENOMEM, "to_dlpack: out of memory");
    return NULL;
  }
  memset(e, 0, sizeof *e);
  chxi_dl_tensor *t = &e->m.tensor;
  e->m.version = (chxi_dl_version){CHXI_DL_MAJOR, CHXI_DL_MINOR};
  e->m.manager_ctx = e;
  e->m.deleter = release_exported;
  e->m.flags = a->t.flags & CHX_T_READONLY ? CHXI_DL_READ_ONLY : 0;
  /* Host memory is given as a plain pointer, which consumers that forget byte_offset get right, too. */
  t->data = b->host ? b->host + (a->t.byte_offset - b->offset) : a->t.data;
  t->byte_offset = b->host ? 0 : a->t.byte_offset;
  t->device = (chxi_dl_device){info->dl_type, info->dl_id};
  t->ndim = a->t.ndim;
  t->dtype = (chxi_dl_dtype){a->t.code, a->t.bits, 1};
  memcpy(e->shape, a->shape, (size_t)a->t.ndim * sizeof *e->shape);
  memcpy(e->strides, a->strides, (size_t)a->t.ndim * sizeof *e->strides);
  t->shape = e->shape;
  t->strides = e->strides;
  e->value = (chx_array *)a;
  chxi_value_ref(e->value);
  return &e->m;
}

void *chx_dlpack_queue(chx_scope *s)
{
  chxi_stream *q;
  if (!chxi_ok(s) || !chxi_stream_of(s, s->dev, &q) || !q || !CHX_HAS(s->dev->ops, chx_device_ops, queue_native))
    return NULL;
  void *native = s->dev->ops->queue_native(s->dev->dev, chxi_stream_lock(q));
  chxi_stream_unlock(q);
  return native;
}

/* ---- import ------------------------------------------------------------------------------------------------------------ */

static int dtype_of(chxi_dl_dtype t)
{
  for (int d = 1; d < CHX_DTYPE_END && t.lanes == 1; d++)
    if (chxi_dtypes[d].code == t.code && chxi_dtypes[d].bits == t.bits) return d;
  return CHX_DTYPE_NONE;
}

const char *chxi_dl_device_name(int32_t type)
{
  static const char *const names[] = {
      [1] = "CPU",     [2] = "CUDA",     [3] = "CUDA host",  [4] = "OpenCL",     [7] = "Vulkan",        [8] = "Metal",
      [9] = "VPI",     [10] = "ROCm",    [11] = "ROCm host", [12] = "extension", [13] = "CUDA managed", [14] = "oneAPI",
      [15] = "WebGPU", [16] = "Hexagon", [17] = "MAIA",      [18] = "Trainium"};
  return type > 0 && type < (int)(sizeof names / sizeof *names) && names[type] ? names[type] : "unknown";
}

/* The elements that are reached lie from data + low to data + high, none if high < low. False: an int64_t of bytes cannot
 * tell all of their addresses from the first's. */
static bool reach_of(const chxi_dl_tensor *t, int64_t count, int size, int64_t *low, int64_t *high)
{
  *low = 0;
  *high = count - 1;
  if (!count || !t->strides) return true;
  *high = 0;
  for (int i = 0; i < t->ndim; i++) {
    int64_t reach, *side = t->strides[i] < 0 ? low : high;
    if (__builtin_mul_overflow(t->shape[i] - 1, t->strides[i], &reach) || __builtin_add_overflow(*side, reach, side))
      return false;
  }
  return *low > INT64_MIN / 64 / size && *high < INT64_MAX / 64 / size;
}

/* The dtype of a tensor that can be taken, else CHX_DTYPE_NONE with the error in s. */
static int check_import(chx_scope *s, const chxi_dl_managed *m, int64_t *low, int64_t *high)
{
  const chxi_dl_tensor *t = &m->tensor;
  int64_t count = 0;
  if (m->version.major != CHXI_DL_MAJOR)
    return chx_scope_fail(s, CHX_EUNSUPPORTED, "from_dlpack: version is %u.%u, want %d.x", m->version.major,
                          m->version.minor, CHXI_DL_MAJOR),
           0;
  const int dtype = dtype_of(t->dtype);
  if (!dtype)
    return chx_scope_fail(s, CHX_EDTYPE,
                          "from_dlpack: dtype has code %d, %d bits, %d lanes, want one of dtype.def with 1 lane",
                          t->dtype.code, t->dtype.bits, t->dtype.lanes),
           0;
  if (t->ndim < 0 || t->ndim > CHX_MAX_RANK)
    return chx_scope_fail(s, CHX_ESHAPE, "from_dlpack: rank is %d, want 0 to %d", t->ndim, CHX_MAX_RANK), 0;
  if ((t->ndim && !t->shape) || !chxi_count(t->ndim, t->shape, &count))
    return chx_scope_fail(s, CHX_ESHAPE, "from_dlpack: the shape is %s, want lengths >= 0 whose product fits memory",
                          t->ndim && !t->shape ? "NULL" : "negative or too large"), 0;
  if (!reach_of(t, count, chxi_dtypes[dtype].size, low, high) || t->byte_offset > INT64_MAX / 2)
    return chx_scope_fail(s, CHX_ESHAPE, "from_dlpack: the strides reach beyond memory, want strides in elements"), 0;
  if (count && !t->data)
    return chx_scope_fail(s, CHX_EARG, "from_dlpack: data is NULL, want %lld elements", (long long)count), 0;
  return dtype;
}

static void release_imported(void *ctx)
{
  chxi_dl_managed *m = ctx;
  if (m->deleter) m->deleter(m);
}

/* The tensor as an array that does not end it yet. */
static chx_array *wrap(chx_scope *s, const chxi_dl_managed *m, int dtype, int64_t low, int64_t high)
{
  const chxi_dl_tensor *t = &m->tensor;
  if (!chxi_dl_is_host(t->device.type)) return chxi_dl_import(s, t, dtype, low, high);
  char *data = t->data ? (char *)t->data + t->byte_offset : NULL;
  return chx_wrap(s, dtype, t->ndim, t->shape, t->strides, data, NULL, NULL);
}

chx_array *chx_from_dlpack(chx_scope *s, void *managed)
{
  chxi_dl_managed *m = managed;
  if (!chxi_ok(s)) return NULL;
  if (!m) {
    chx_scope_fail(s, CHX_EARG, "from_dlpack: the tensor is NULL, want a DLManagedTensorVersioned");
    return NULL;
  }
  int64_t low = 0, high = 0;
  const int dtype = check_import(s, m, &low, &high);
  if (!dtype) return NULL;
  const size_t mark = s->n;
  const int mode = s->grad_mode;
  const bool copied = m->flags & CHXI_DL_READ_ONLY || high < low; /* nothing to share where there are no elements */
  s->grad_mode = CHX_GRAD_OFF;
  s->depth++;
  chx_array *view = wrap(s, m, dtype, low, high), *a = view && copied ? chx_copy(s, view) : view;
  s->depth--;
  s->grad_mode = mode;
  chx_scope_rewind(s, mark, a);
  if (!a) return NULL;
  if (copied) release_imported(m);
  else if (!chxi_dl_keep(a, m)) {
    a->buf->deleter = release_imported;
    a->buf->deleter_ctx = m;
  }
  if (s->flags & CHX_SCOPE_OWNED && !s->depth) s->n--; /* an owning scope's result is the caller's */
  return a;
}
