/* SPDX-License-Identifier: MIT
 * array.c: arrays and values: their headers, views, references, and the host's side of reading and writing them.
 */
#include "runtime.h"
#include <math.h>
#include <stdio.h>

bool chxi_count(int ndim, const int64_t *shape, int64_t *n)
{
  int64_t p = 1;
  bool zero = false;
  for (int i = 0; i < ndim; i++) {
    if (shape[i] < 0) return false;
    zero |= shape[i] == 0;
    if (shape[i] && __builtin_mul_overflow(p, shape[i], &p))
      return false; /* also where it is empty: strides are made of it */
  }
  *n = zero ? 0 : p;
  return p <= INT64_MAX / 16;
}

void chxi_dense_strides(int ndim, const int64_t *shape, int64_t *strides)
{
  int64_t p = 1;
  for (int i = ndim - 1; i >= 0; i--) {
    strides[i] = p;
    if (shape[i] > 1) p *= shape[i];
  }
}

bool chxi_is_dense(int ndim, const int64_t *shape, const int64_t *strides)
{
  int64_t p = 1;
  bool dense = true;
  for (int i = ndim - 1; i >= 0; i--) {
    if (shape[i] == 0) return true;
    if (shape[i] != 1 && strides[i] != p) dense = false;
    p *= shape[i];
  }
  return dense;
}

bool chxi_same_shape(int ndim, const int64_t *a, int ndim_b, const int64_t *b)
{
  if (ndim != ndim_b) return false;
  for (int i = 0; i < ndim; i++)
    if (a[i] != b[i]) return false;
  return true;
}

const char *chxi_shape_text(char buf[128], int ndim, const int64_t *shape)
{
  int n = snprintf(buf, 128, "[");
  for (int i = 0; i < ndim && n < 110; i++)
    n += snprintf(buf + n, (size_t)(128 - n), "%s%lld", i ? "," : "", (long long)shape[i]);
  snprintf(buf + n, (size_t)(128 - n), "]");
  return buf;
}

void chxi_array_seal(chx_array *a)
{
  const chxi_dtype_row *d = &chxi_dtypes[a->dtype];
  chx_tensor *t = &a->t;
  t->code = d->code;
  t->bits = d->bits;
  t->lanes = 1;
  t->shape = a->shape;
  t->strides = a->strides;
  bool dense = chxi_is_dense(t->ndim, a->shape, a->strides);
  t->flags = (uint64_t)a->dtype << 8 | (dense ? CHX_T_CONTIGUOUS : 0);
  if (a->buf) {
    t->dl_type = a->buf->dev->info.dl_type;
    t->dl_id = a->buf->dev->info.dl_id;
    t->buf = a->buf->handle;
    t->data = a->buf->handle;
    t->extent = a->buf->offset + a->buf->bytes - t->byte_offset;
  } else {
    t->flags |= CHX_T_HOST_SCALAR;
    t->data = t->buf = NULL;
    t->byte_offset = t->extent = 0;
    t->dl_type = 1;
    t->dl_id = 0;
  }
  a->layout = (uint16_t)(a->dtype | t->ndim << 5 | (dense ? 1 << 10 : 0) | (a->buf ? 0 : 1 << 11));
}

static chx_array *header(chx_scope *s)
{
  chx_array *a = chxi_alloc(sizeof *a);
  if (chxi_unlikely(!a)) {
    chx_scope_fail(s, CHX_ENOMEM, "out of memory for an array's header");
    return NULL;
  }
  atomic_init(&a->refs, 1);
  atomic_init(&a->vrefs, 1);
  a->node = NULL;
  a->place = NULL;
  a->mask = 0;
  a->node_out = 0;
  a->weak = 0;
  return a;
}

chx_array *chxi_push(chx_scope *s, chx_array *a)
{
  if (!a) return NULL;
  if (chxi_unlikely(s->n == s->cap)) {
    size_t cap = s->cap ? 2 * s->cap : 64;
    chx_array **items = chxi_grow(s->items, s->cap * sizeof *items, cap * sizeof *items);
    if (!items) {
      chx_release(a);
      chx_scope_fail(s, CHX_ENOMEM, "out of memory for a scope's results");
      return NULL;
    }
    s->items = items;
    s->cap = cap;
  }
  s->items[s->n++] = a;
  return a;
}

chx_array *chx_scope_give(chx_scope *s, chx_array *a)
{
  if (chx_scope_error(s)) {
    chx_release(a);
    return NULL;
  }
  if (!a) chx_scope_fail(s, CHX_EARG, "scope_give: the array is NULL");
  return chxi_push(s, a);
}

chx_array *chxi_array_new(chx_scope *s, chxi_device *dev, int dtype, int ndim, const int64_t *shape)
{
  chx_array *a = header(s);
  if (chxi_unlikely(!a)) return NULL;
  int64_t n = 1;
  bool fine = true;
  for (int i = ndim - 1; i >= 0; i--) {
    a->shape[i] = shape[i];
    a->strides[i] = n;
    fine &= shape[i] >= 0;
    if (shape[i] != 1) fine &= !__builtin_mul_overflow(n, shape[i], &n);
    if (shape[i] == 0) break;
  }
  if (chxi_unlikely(n == 0 || !fine)) {
    fine = chxi_count(ndim, shape, &n);
    for (int i = 0; i < ndim; i++) a->shape[i] = shape[i];
    if (fine) chxi_dense_strides(ndim, shape, a->strides);
  }
  size_t size = chxi_dtypes[dtype].size;
  if (chxi_unlikely(!fine || n > INT64_MAX / 32)) {
    char text[128];
    chxi_free(a, sizeof *a);
    chx_scope_fail(s, CHX_ESHAPE, "shape is %s, want lengths >= 0 whose product fits memory",
                   chxi_shape_text(text, ndim, shape));
    return NULL;
  }
  a->buf = chxi_buffer_new(s, dev, (uint64_t)n * size);
  if (chxi_unlikely(!a->buf)) {
    chxi_free(a, sizeof *a);
    return NULL;
  }
  const chxi_dtype_row *d = &chxi_dtypes[dtype];
  a->dtype = (uint8_t)dtype;
  a->size = n;
  chx_tensor *t = &a->t;
  t->data = t->buf = a->buf->handle;
  t->dl_type = dev->info.dl_type;
  t->dl_id = dev->info.dl_id;
  t->ndim = ndim;
  t->code = d->code;
  t->bits = d->bits;
  t->lanes = 1;
  t->shape = a->shape;
  t->strides = a->strides;
  t->byte_offset = a->buf->offset;
  t->flags = (uint64_t)dtype << 8 | CHX_T_CONTIGUOUS;
  t->extent = a->buf->bytes;
  a->layout = (uint16_t)(dtype | ndim << 5 | 1 << 10);
  return chxi_push(s, a);
}

chx_array *chxi_array_view(chx_scope *s, const chx_array *a, int dtype, int ndim, const int64_t *shape,
                           const int64_t *strides, int64_t offset)
{
  chx_array *v = header(s);
  if (!v) return NULL;
  v->buf = a->buf;
  if (v->buf)
    chxi_buffer_ref(v->buf);
  else
    memcpy(v->t.imm, a->t.imm, sizeof v->t.imm);
  v->dtype = (uint8_t)dtype;
  v->t.ndim = ndim;
  v->t.byte_offset = a->t.byte_offset + (uint64_t)offset;
  int64_t n = 1;
  for (int i = 0; i < ndim; i++) {
    v->shape[i] = shape[i];
    v->strides[i] = strides[i];
    n *= shape[i];
  }
  v->size = n;
  chxi_array_seal(v);
  return chxi_push(s, v);
}

chx_array *chxi_array_on(chx_scope *s, chxi_buffer *b, int dtype, int ndim, const int64_t *shape, const int64_t *strides,
                         uint64_t byte_offset)
{
  chx_array *a = header(s);
  if (!a) return chxi_buffer_unref(b), NULL;
  a->buf = b;
  a->dtype = (uint8_t)dtype;
  a->t.ndim = ndim;
  a->t.byte_offset = byte_offset;
  chxi_count(ndim, shape, &a->size);
  for (int i = 0; i < ndim; i++) {
    a->shape[i] = shape[i];
    a->strides[i] = strides[i];
  }
  chxi_array_seal(a);
  return chxi_push(s, a);
}

chx_array *chxi_scalar_array(chx_scope *s, int dtype, bool is_int, chxi_scalar w)
{
  chx_array *v = header(s);
  if (!v) return NULL;
  v->buf = NULL;
  v->dtype = (uint8_t)dtype;
  v->t.ndim = 0;
  v->size = 1;
  memset(v->t.imm, 0, sizeof v->t.imm);
  chxi_store(v->t.imm, dtype, is_int, w);
  chxi_array_seal(v);
  return chxi_push(s, v);
}

static chx_array *weak(chx_scope *s, char kind, int dtype, chxi_scalar w)
{
  if (!chxi_ok(s)) return NULL;
  chx_array *a = chxi_scalar_array(s, dtype, kind != 'F', w);
  if (!a) return NULL;
  a->weak = (uint8_t)kind;
  a->w = w;
  if (s->flags & CHX_SCOPE_OWNED && !s->depth) s->n--;
  return a;
}

chx_array *chx_real(chx_scope *s, double v) { return weak(s, 'F', CHX_F64, (chxi_scalar){.f = v}); }
chx_array *chx_int(chx_scope *s, int64_t v) { return weak(s, 'I', CHX_I64, (chxi_scalar){.i = v}); }
chx_array *chx_bool(chx_scope *s, int v) { return weak(s, 'B', CHX_BOOL, (chxi_scalar){.i = v != 0}); }

/* ---- references ----------------------------------------------------------------------------------------------- */

void chxi_value_ref(chx_array *v) { atomic_fetch_add_explicit(&v->vrefs, 1, memory_order_relaxed); }

/* Drops one of *count; true if it was the last. The holder of the only reference need not lock the bus. */
static inline bool drop(atomic_int *count)
{
  if (atomic_load_explicit(count, memory_order_acquire) == 1) return true;
  return atomic_fetch_sub_explicit(count, 1, memory_order_acq_rel) == 1;
}

void chxi_value_unref(chx_array *v)
{
  if (!v || !drop(&v->vrefs)) return;
  if (v->buf) chxi_buffer_unref(v->buf);
  chxi_free(v, sizeof *v);
}

chx_array *chx_keep(const chx_array *a)
{
  chx_array *b = (chx_array *)a;
  if (b) atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
  return b;
}

void chx_release(chx_array *a)
{
  if (!a || !drop(&a->refs)) return;
  chxi_node *n = a->node;
  a->node = NULL;
  chxi_value_unref(a);
  if (n) chxi_node_unref(n);
}

/* ---- what an array is ------------------------------------------------------------------------------------------ */

int chx_dtype(const chx_array *a) { return a ? a->dtype : CHX_DTYPE_NONE; }
int chx_ndim(const chx_array *a) { return a ? a->t.ndim : -1; }
const int64_t *chx_shape(const chx_array *a) { return a ? a->shape : NULL; }
const int64_t *chx_strides(const chx_array *a) { return a ? a->strides : NULL; }
int64_t chx_size(const chx_array *a) { return a ? a->size : -1; }
int64_t chx_nbytes(const chx_array *a) { return a ? a->size * chxi_dtypes[a->dtype].size : -1; }
const char *chx_device(const chx_array *a) { return a && a->buf ? a->buf->dev->spec : ""; }
int chx_is_contiguous(const chx_array *a) { return a && a->t.flags & CHX_T_CONTIGUOUS; }
int chx_shares_memory(const chx_array *a, const chx_array *b) { return a && b && a->buf && a->buf == b->buf; }

/* ---- to and from the host ------------------------------------------------------------------------------------------ */

/* Whether a public call on s may start, with the array it is about. */
static bool start(chx_scope *s, const char *what, const chx_array *a)
{
  if (!chxi_ok(s)) return false;
  if (a) return true;
  chx_scope_fail(s, CHX_EARG, "%s: the array is NULL, want an array", what);
  return false;
}

static bool good_shape(chx_scope *s, const char *what, int dtype, int ndim, const int64_t *shape)
{
  int64_t n;
  char text[128];
  if (!chxi_ok(s)) return false;
  if (dtype <= CHX_DTYPE_NONE || dtype >= CHX_DTYPE_END)
    return chx_scope_fail(s, CHX_EDTYPE, "%s: dtype is %d, want one of dtype.def", what, dtype), false;
  if (ndim < 0 || ndim > CHX_MAX_RANK)
    return chx_scope_fail(s, CHX_ESHAPE, "%s: rank is %d, want 0 to %d", what, ndim, CHX_MAX_RANK), false;
  if (ndim && !shape) return chx_scope_fail(s, CHX_EARG, "%s: shape is NULL, want %d lengths", what, ndim), false;
  if (!chxi_count(ndim, shape, &n))
    return chx_scope_fail(s, CHX_ESHAPE, "%s: shape is %s, want lengths >= 0 whose product fits memory", what,
                          chxi_shape_text(text, ndim, shape)), false;
  return true;
}

/* An owning scope's result at depth 0 is the caller's. */
static chx_array *result(chx_scope *s, chx_array *a)
{
  if (a && s->flags & CHX_SCOPE_OWNED && !s->depth) s->n--;
  return a;
}

chx_array *chx_empty(chx_scope *s, int dtype, int ndim, const int64_t *shape)
{
  if (!good_shape(s, "empty", dtype, ndim, shape)) return NULL;
  return result(s, chxi_array_new(s, s->dev, dtype, ndim, shape));
}

/* Bytes between an array's buffer and the host, in one way or the other; told of where they take long. */
static bool move(chx_scope *s, chxi_buffer *b, uint64_t offset, void *dst, const void *src, uint64_t bytes)
{
  const bool told = chxi_unlikely(s->long_work != NULL) && chxi_copy_is_long(b->dev, bytes);
  if (told && dst && !chxi_buffer_ready(s, b)) return false;
  chx_long_work begun = told ? chxi_long_begin(s) : NULL;
  bool done = dst ? chxi_download(s, b, offset, dst, bytes) : chxi_upload(s, b, offset, src, bytes);
  return chxi_long_end(s, begun) && done;
}

chx_array *chx_from_host(chx_scope *s, int dtype, int ndim, const int64_t *shape, const void *data)
{
  if (!good_shape(s, "from_host", dtype, ndim, shape)) return NULL;
  size_t mark = s->n;
  chx_array *a = chxi_array_new(s, s->dev, dtype, ndim, shape);
  if (!a) return chxi_failed_in(s, "from_host"), NULL;
  uint64_t bytes = (uint64_t)chx_nbytes(a);
  if (bytes && !data)
    chx_scope_fail(s, CHX_EARG, "from_host: data is NULL, want %llu bytes", (unsigned long long)bytes);
  if (!chxi_ok(s) || (bytes && !move(s, a->buf, 0, NULL, data, bytes))) {
    chxi_failed_in(s, "from_host");
    chx_scope_rewind(s, mark, NULL);
    return NULL;
  }
  return result(s, a);
}

chx_array *chx_wrap(chx_scope *s, int dtype, int ndim, const int64_t *shape, const int64_t *strides, void *data,
                    void (*deleter)(void *ctx), void *ctx)
{
  chxi_buffer *b = NULL;
  int64_t dense[CHX_MAX_RANK], n = 0, low = 0, high = 0;
  chxi_device *dev = NULL;
  if (!good_shape(s, "wrap", dtype, ndim, shape) || !(dev = chxi_native(s))) goto failed;
  chxi_count(ndim, shape, &n);
  if (n && !data) {
    chx_scope_fail(s, CHX_EARG, "wrap: data is NULL, want host memory");
    goto failed;
  }
  int size = chxi_dtypes[dtype].size;
  if ((uintptr_t)data % (unsigned)(size > 8 ? 8 : size)) {
    chx_scope_fail(s, CHX_EARG, "wrap: data is at %p, want an address aligned for %s", data, chxi_dtypes[dtype].name);
    goto failed;
  }
  if (!strides) chxi_dense_strides(ndim, shape, dense), strides = dense;
  for (int i = 0; n && i < ndim; i++) { /* the elements reached from `data` */
    int64_t reach, *side = strides[i] < 0 ? &low : &high, most = INT64_MAX / 64;
    if (__builtin_mul_overflow(shape[i] - 1, strides[i], &reach) || __builtin_add_overflow(*side, reach, side) ||
        *side > most || *side < -most) {
      chx_scope_fail(s, CHX_ESHAPE, "wrap: the stride of axis %d is %lld, want elements within memory", i,
                     (long long)strides[i]);
      goto failed;
    }
  }
  if (!(b = chxi_alloc(sizeof *b))) {
    chx_scope_fail(s, CHX_ENOMEM, "wrap: out of memory for an array's header");
    goto failed;
  }
  memset(b, 0, sizeof *b);
  atomic_init(&b->refs, 1);
  b->dev = dev;
  b->handle = b->host = (char *)data + low * size;
  b->bytes = b->asked = n ? (uint64_t)((high - low + 1) * size) : 0;
  atomic_init(&b->valid, CHXI_ON_DEVICE);
  b->deleter = deleter;
  b->deleter_ctx = ctx;
  return result(s, chxi_array_on(s, b, dtype, ndim, shape, strides, (uint64_t)(-low * size)));
failed:
  if (deleter) deleter(ctx);
  return NULL;
}

chx_status chx_read(chx_scope *s, const chx_array *a, void *dst, size_t dst_bytes)
{
  if (!start(s, "read", a)) return s ? chx_scope_error(s) : CHX_EARG;
  size_t bytes = (size_t)chx_nbytes(a);
  if (dst_bytes != bytes || (bytes && !dst))
    return chx_scope_fail(s, CHX_EARG, "read: the destination has %zu bytes, want %zu", dst ? dst_bytes : 0, bytes);
  if (!a->buf) return memcpy(dst, a->t.imm, bytes), CHX_OK;
  size_t mark = s->n;
  const chx_array *d = bytes ? chxi_dense(s, a) : NULL;
  if (d) move(s, d->buf, d->t.byte_offset - d->buf->offset, dst, NULL, bytes);
  chx_scope_rewind(s, mark, NULL);
  return s->error;
}

void *chx_host_address(chx_scope *s, const chx_array *a)
{
  if (!start(s, "host_address", a)) return NULL;
  if (!a->buf || !a->buf->dev->host) {
    chx_scope_fail(s, a->buf ? CHX_EUNSUPPORTED : CHX_EARG, "host_address: the array is %s%s, want one in the host's memory",
                   a->buf ? "on " : "a scalar", a->buf ? a->buf->dev->spec : "");
    return NULL;
  }
  if (!chxi_buffer_settled(s, a->buf) || !a->buf->host) return NULL;
  return a->buf->host + (a->t.byte_offset - a->buf->offset);
}

chx_status chx_write(chx_scope *s, chx_array *a, const void *src, size_t src_bytes)
{
  if (!start(s, "write", a)) return s ? chx_scope_error(s) : CHX_EARG;
  size_t bytes = (size_t)chx_nbytes(a);
  if (src_bytes != bytes || (bytes && !src))
    return chx_scope_fail(s, CHX_EARG, "write: the source has %zu bytes, want %zu", src ? src_bytes : 0, bytes);
  if (!a->buf || !chx_is_contiguous(a))
    return chx_scope_fail(s, CHX_EARG, "write: the array is a scalar or not contiguous, want a contiguous array");
  if (bytes) move(s, a->buf, a->t.byte_offset - a->buf->offset, NULL, src, bytes);
  if (!s->error) atomic_fetch_add(&a->buf->version, 1);
  return s->error;
}

/* The one element of a, as its own dtype, into v. */
static bool item(chx_scope *s, const chx_array *a, unsigned char v[16])
{
  if (!start(s, "item", a)) return false;
  char text[128];
  if (a->size != 1)
    return chx_scope_fail(s, CHX_ESHAPE, "item: shape is %s, want one element",
                          chxi_shape_text(text, a->t.ndim, a->shape)),
           false;
  if (!a->buf) return memcpy(v, a->t.imm, 16), true;
  return move(s, a->buf, a->t.byte_offset - a->buf->offset, v, NULL, chxi_dtypes[a->dtype].size);
}

double chx_item(chx_scope *s, const chx_array *a)
{
  unsigned char v[16];
  if (!item(s, a, v)) return NAN;
  if (chxi_dtypes[a->dtype].kind == 'C')
    return chx_scope_fail(s, CHX_EDTYPE, "item: dtype is %s, want a real one", chx_dtype_name(a->dtype)), NAN;
  return chxi_load_f64(v, a->dtype);
}

int64_t chx_item_int(chx_scope *s, const chx_array *a)
{
  unsigned char v[16];
  if (!item(s, a, v)) return 0;
  if (!chxi_is_int(a->dtype) && a->dtype != CHX_BOOL)
    return chx_scope_fail(s, CHX_EDTYPE, "item_int: dtype is %s, want an integer or bool", chx_dtype_name(a->dtype)), 0;
  return chxi_load_i64(v, a->dtype);
}
