/* SPDX-License-Identifier: MIT
 * sample.c: a whole backend plugin in one file: the device "sample:0".
 *
 * It does what the smallest real accelerator does. Its memory is its own: what the core holds is an address that only
 * the device understands, and bytes enter and leave by copy alone. It has four kernels: add, mul, matmul and copy
 * (which also casts), on dense arrays. Every other operator runs too: the core composes it of these four, or lends
 * the CPU for it and moves the data. `chx ops --device sample:0` says which.
 *
 * Read it from the end: chx_plugin_v1 gives the core a chx_plugin, that gives it a chx_device_ops, and that its
 * kernels. The contract is <chx/plugin.h>; this file needs no other part of chx, and does not link to it.
 */
#include <chx/plugin.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>

struct chx_dev { /* ours to define; the core only passes it around */
  const chx_host *host;
};
static struct chx_dev the_device;

/* Every failure is a code, and a sentence that the core keeps for the user. */
static chx_status fail(chx_status code, const char *sentence)
{
  const chx_host *host = the_device.host;
  return host->fail(host->ctx, code, sentence);
}

/* ---- memory -----------------------------------------------------------------------------------------------------
 * A real driver would own the device's memory. We take pages of the host and call them by another address, one that no
 * host has: who follows it outside this file crashes, as with a real device. The core may add offsets to it. */

static const uintptr_t device_space = (uintptr_t)1 << 54;

static void *to_device(void *bytes) { return (void *)((uintptr_t)bytes + device_space); }
static void *to_bytes(const void *address, uint64_t offset)
{
  return (char *)((uintptr_t)address - device_space) + offset;
}

static chx_status sample_alloc(chx_dev *dev, chx_queue *queue, uint64_t bytes, uint32_t kind, chx_buffer *out)
{
  (void)dev, (void)queue, (void)kind;
  if (bytes == 0) bytes = 1;
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return fail(CHX_ENOMEM, "sample: mmap found no memory");
  out->flags = CHX_B_DEVICE;
  out->handle = to_device(p);
  out->host_ptr = NULL; /* the host has no pointer to it */
  out->bytes = bytes;
  return CHX_OK;
}

static void sample_release(chx_dev *dev, chx_queue *queue, chx_buffer *buffer)
{
  (void)dev, (void)queue;
  munmap(to_bytes(buffer->handle, 0), buffer->bytes);
}

static chx_status sample_copy(chx_dev *dev, chx_queue *queue, void *dst, uint64_t dst_offset, const void *src,
                              uint64_t src_offset, uint64_t bytes, uint32_t direction)
{
  enum { HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE };
  (void)dev, (void)queue;
  if (direction > DEVICE_TO_DEVICE) return fail(CHX_EARG, "sample: copy: unknown direction, want 0, 1 or 2");
  if (bytes == 0) return CHX_OK;
  char *to = direction == DEVICE_TO_HOST ? (char *)dst + dst_offset : to_bytes(dst, dst_offset);
  const char *from = direction == HOST_TO_DEVICE ? (const char *)src + src_offset : to_bytes(src, src_offset);
  memmove(to, from, bytes);
  return CHX_OK;
}

/* ---- kernels ----------------------------------------------------------------------------------------------------
 * The core has checked shapes and dtypes against the table of kernels below, has allocated the outputs, and, as the
 * table asks for CHX_K_CONTIGUOUS, has made every operand dense: one run of elements in C order. */

static void *data(const chx_tensor *t) { return to_bytes(t->data, t->byte_offset); }

static size_t count(const chx_tensor *t) /* elements */
{
  size_t n = 1;
  for (int i = 0; i < t->ndim; i++) n *= (size_t)t->shape[i];
  return n;
}

#define ELEMENTWISE(name, T, op)                                              \
  static void name(const chx_call *call)                                      \
  {                                                                           \
    const T *x = data(&call->in[0]), *y = data(&call->in[1]);                 \
    T *out = data(&call->out[0]);                                             \
    size_t n = count(&call->out[0]);                                          \
    for (size_t i = 0; i < n; i++) out[i] = x[i] op y[i];                     \
  }
ELEMENTWISE(add_f32, float, +)
ELEMENTWISE(add_f64, double, +)
ELEMENTWISE(mul_f32, float, *)
ELEMENTWISE(mul_f64, double, *)

/* [..., M, K] x [..., K, N] -> [..., M, N]: as many products as the leading axes count. */
#define MATMUL(name, T)                                                       \
  static void name(const chx_call *call)                                      \
  {                                                                           \
    const chx_tensor *a = &call->in[0], *c = &call->out[0];                   \
    size_t M = (size_t)c->shape[c->ndim - 2], N = (size_t)c->shape[c->ndim - 1]; \
    size_t K = (size_t)a->shape[a->ndim - 1], left = count(c);                \
    const T *x = data(a), *y = data(&call->in[1]);                            \
    T *out = data(c);                                                         \
    memset(out, 0, left * sizeof *out);                                       \
    for (; left > 0; left -= M * N, x += M * K, y += K * N, out += M * N)     \
      for (size_t m = 0; m < M; m++)                                          \
        for (size_t k = 0; k < K; k++)                                        \
          for (size_t n = 0; n < N; n++) out[m * N + n] += x[m * K + k] * y[k * N + n]; \
  }
MATMUL(matmul_f32, float)
MATMUL(matmul_f64, double)

/* What the core calls: one function per operator, which looks at the dtype, the same for inputs and output. */
#define BY_DTYPE(op)                                                          \
  static chx_status run_##op(void *self, const chx_call *call)                \
  {                                                                           \
    (void)self;                                                               \
    if (CHX_T_DTYPE(&call->out[0]) == CHX_F32) op##_f32(call);                \
    else op##_f64(call);                                                      \
    return CHX_OK;                                                            \
  }
BY_DTYPE(add)
BY_DTYPE(mul)
BY_DTYPE(matmul)

/* ---- copy: from any real dtype to any ---------------------------------------------------------------------------
 * One element at a time, on its way as a number: an integer as such, a float as a double, which holds them all. */

static const struct { int bits; char kind; } dtypes[] = { /* by CHX_F32, ...; kind: B, I, U, F or C */
#define CHX_DT(ID, number, name, ctype, code, bits, kind) [number] = {bits, #kind[0]},
#include <chx/dtype.def>
};

typedef struct number {
  char kind; /* I, U or F */
  union { int64_t i; uint64_t u; double f; } as;
} number;

/* The two formats of 16 bits: digits of the significand, exponent of the smallest normal number, bits of infinity. */
struct half { int digits, least; uint16_t infinity; };
static const struct half f16 = {11, -14, 0x7c00}, bf16 = {8, -126, 0x7f80};

static double from_half(uint16_t bits, struct half h)
{
  int one = 1 << (h.digits - 1), magnitude = bits & 0x7fff, exponent = magnitude / one, fraction = magnitude % one;
  double v = magnitude > h.infinity ? NAN
             : magnitude == h.infinity ? INFINITY
             : exponent == 0 ? ldexp(fraction, h.least - h.digits + 1)
                             : ldexp(one + fraction, exponent - 1 + h.least - h.digits + 1);
  return bits & 0x8000 ? -v : v;
}

/* Ties go to even, as in rint. A significand that is rounded up to a power of two carries into the exponent, and a number
 * too large runs into infinity, by themselves. */
static uint16_t to_half(double v, struct half h)
{
  uint16_t sign = signbit(v) ? 0x8000 : 0;
  if (isnan(v)) return sign | h.infinity | (uint16_t)(1 << (h.digits - 2));
  if (isinf(v)) return sign | h.infinity;
  int e = v == 0 ? h.least : ilogb(v) < h.least ? h.least : ilogb(v);
  double bits = ldexp(e - h.least, h.digits - 1) + rint(ldexp(fabs(v), h.digits - 1 - e));
  return sign | (bits < h.infinity ? (uint16_t)bits : h.infinity);
}

static number read_number(int dtype, const void *p)
{
  int bits = dtypes[dtype].bits;
  number v = {dtypes[dtype].kind, {0}};
  memcpy(&v.as, p, (size_t)bits / 8); /* little-endian, as all machines that chx runs on */
  if (v.kind == 'I') v.as.i = (int64_t)(v.as.u << (64 - bits)) >> (64 - bits); /* extends the sign */
  else if (v.kind == 'B') v = (number){'U', {.u = v.as.u != 0}};
  else if (dtype == CHX_F16) v.as.f = from_half((uint16_t)v.as.u, f16);
  else if (dtype == CHX_BF16) v.as.f = from_half((uint16_t)v.as.u, bf16);
  else if (dtype == CHX_F32) {
    float f;
    memcpy(&f, p, sizeof f);
    v.as.f = f;
  }
  return v;
}

/* An integer wraps when it is too large, a float gives the nearest integer there is towards 0, NaN gives 0. */
static void write_number(int dtype, void *p, number v)
{
  int bits = dtypes[dtype].bits, kind = dtypes[dtype].kind;
  double f = v.kind == 'F' ? v.as.f : v.kind == 'I' ? (double)v.as.i : (double)v.as.u;
  uint64_t u = v.as.u; /* what is written: its low bits */
  if (kind == 'B') u = f != 0;
  else if (kind == 'I' && v.kind == 'F') {
    double end = ldexp(1, bits - 1);
    u = isnan(f) ? 0 : f < -end ? (uint64_t)INT64_MIN >> (64 - bits) : f >= end ? (uint64_t)INT64_MAX >> (64 - bits)
        : (uint64_t)(int64_t)f;
  } else if (kind == 'U' && v.kind == 'F')
    u = !(f > 0) ? 0 : f >= ldexp(1, bits) ? UINT64_MAX : (uint64_t)f;
  else if (dtype == CHX_F16) u = to_half(f, f16);
  else if (dtype == CHX_BF16) u = to_half(f, bf16);
  else if (dtype == CHX_F64) memcpy(&u, &f, sizeof f);
  else if (dtype == CHX_F32) {
    float single = v.kind == 'F' ? (float)f : v.kind == 'I' ? (float)v.as.i : (float)v.as.u; /* rounded once */
    memcpy(&u, &single, sizeof single);
  }
  memcpy(p, &u, (size_t)bits / 8);
}

static chx_status run_copy(void *self, const chx_call *call)
{
  (void)self;
  const chx_tensor *x = &call->in[0], *y = &call->out[0];
  int from = CHX_T_DTYPE(x), to = CHX_T_DTYPE(y);
  size_t n = count(y), from_size = (size_t)dtypes[from].bits / 8, to_size = (size_t)dtypes[to].bits / 8;
  const char *src = data(x);
  char *dst = data(y);
  if (from == to && n > 0) memcpy(dst, src, n * to_size);
  else
    for (size_t i = 0; i < n; i++) write_number(to, dst + i * to_size, read_number(from, src + i * from_size));
  return CHX_OK;
}

/* What we have, as the core reads it: an operator's name and versions, a bit for each dtype, flags, and the function.
 * alias_ok says that output 0 may be input 0 (bit 0) or input 1 (bit 8), so that x += y needs no copy. */
#define FLOATS (CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64))
#define KERNEL(name, types, alias)                                              \
  {.size = sizeof(chx_kernel), .op = #name, .min_version = 1, .max_version = 1, \
   .dtypes_in = types, .dtypes_out = types, .max_rank = CHX_MAX_RANK,           \
   .flags = CHX_K_CONTIGUOUS, .alias_ok = alias, .run = run_##name}
static const chx_kernel kernels[] = {
  KERNEL(add, FLOATS, 1 | 1 << 8),
  KERNEL(mul, FLOATS, 1 | 1 << 8),
  KERNEL(matmul, FLOATS, 0),
  KERNEL(copy, CHX_ANY_REAL, 0),
};

/* ---- the device, and the plugin ---------------------------------------------------------------------------------- */

static const chx_kernel *sample_kernel(chx_dev *dev, uint32_t index)
{
  (void)dev;
  return index < sizeof kernels / sizeof *kernels ? &kernels[index] : NULL;
}

/* The core's chx_device_info may be shorter or longer than ours: what both have is written, the rest left alone. */
static chx_status sample_info(chx_dev *dev, chx_device_info *info)
{
  (void)dev;
  chx_device_info mine = {
    .size = info->size, .flags = 0, /* not the host's memory, not mappable, not asynchronous */
    .name = "sample device", .vendor = "the chx project", .bus_id = "",
    .dl_type = 12, .dl_id = 0, /* DLPack has no number for us */
    .dtypes = CHX_ANY_REAL, .alignment = 4096,
  };
  memcpy(info, &mine, info->size < sizeof mine ? info->size : sizeof mine);
  return CHX_OK;
}

static const chx_device_ops device_ops = { /* without queues: all is done when a function returns */
  .size = sizeof device_ops, .info = sample_info, .kernel = sample_kernel,
  .alloc = sample_alloc, .release = sample_release, .copy = sample_copy,
};

static chx_status sample_open(const chx_host *host, void **state)
{
  the_device.host = host; /* a driver would be started here, and its absence be an error */
  *state = &the_device;
  return CHX_OK;
}

static chx_status sample_device_count(void *state, uint32_t *n)
{
  (void)state;
  *n = 1;
  return CHX_OK;
}

static chx_status sample_device_open(void *state, uint32_t i, chx_dev **dev)
{
  if (i != 0) return fail(CHX_EDEVICE, "sample: there is only sample:0");
  *dev = state;
  return CHX_OK;
}

static const chx_device_ops *sample_device_ops(void *state)
{
  (void)state;
  return &device_ops;
}

static void sample_device_close(chx_dev *dev) { (void)dev; }
static void sample_close(void *state) { (void)state; }

CHX_EXPORT const chx_plugin *chx_plugin_v1(void);
CHX_EXPORT const chx_plugin *chx_plugin_v1(void) /* the one symbol that is exported */
{
  static const chx_plugin plugin = {
    .size = sizeof plugin, .abi_minor = CHX_ABI_MINOR,
    .name = "sample", .version = "1.0", .vendor = "the chx project", .build = __VERSION__,
    .open = sample_open, .device_count = sample_device_count, .device_open = sample_device_open,
    .device_ops = sample_device_ops, .device_close = sample_device_close, .close = sample_close,
  };
  return &plugin;
}
