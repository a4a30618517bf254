/* SPDX-License-Identifier: MIT
 * snake.c: a plugin that brings an operator of its own, com.example.snake: snake(x) = x + sin(a x)^2 / a, an activation function
 * with an attribute. Its device, "snake:0", has a kernel for it. On every other device the core runs the body that the
 * declaration gives: once the plugin is loaded, the operator is one like any other, with gradients of every order.
 *
 * A device needs memory and kernels; examples/plugin/sample.c shows them. This one works in the host's memory, and takes all other
 * kernels from native. Read it from the end.
 */
#include <chx/plugin.h>
#include <chx/attr.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct chx_dev { const chx_host *host; };
static struct chx_dev the_device;
static const chx_host_kernels *native; /* NULL: there are none to borrow */

static chx_status fail(chx_status code, const char *sentence)
{
  return the_device.host->fail(the_device.host->ctx, code, sentence);
}

/* ---- the operator ----------------------------------------------------------------------------------------------- */

typedef struct snake_attr { /* as the user writes it: size, kind, then the fields */
  uint32_t size, kind;
  double a;
} snake_attr;

static const chx_op_field fields[] = {{"a", "the frequency, not 0", CHX_ATTR_F64, offsetof(snake_attr, a), 1}};
static const chx_op_operand inputs[] = {{"x", 0, 0}};
static const char *const outputs[] = {"y"};

/* One step, a program of elementwise operators: the core runs it in one pass where the device has "map", else operator by operator.
 * Its operands are the input and a; a program's values are its operands, then its results in order. */
enum { X, A };
static const chx_map_attr program = {
    .size = sizeof program,
    .program =
        {5,
         {{"mul", X, A, 0, 0}, {"sin", 2, 0, 0, 0}, {"square", 3, 0, 0, 0}, {"div", 4, A, 0, 0}, {"add", X, 5, 0, 0}}},
};
static const uint32_t operands[] = {0, CHX_V_ATTR(offsetof(snake_attr, a))};
static const chx_op_step steps[] = {{.op = "map", .attr = &program, .in = operands, .n_in = 2}};
static const chx_op_body body = {.size = sizeof body, .step = steps, .n_steps = 1};

/* gx = gy (1 + sin(2 a x)). Without it the core would differentiate the body, and a call that is recorded would not run our
 * kernel. Its operands are the input (0), the output (1) and the output's gradient (2). */
enum { GY = 1, FREQUENCY, TWO, ONE };
static const chx_map_attr slope = {
    .size = sizeof slope,
    .program = {5,
                {{"mul", X, FREQUENCY, 0, 0},
                 {"mul", 5, TWO, 0, 0},
                 {"sin", 6, 0, 0, 0},
                 {"add", 7, ONE, 0, 0},
                 {"mul", 8, GY, 0, 0}}},
};
static const double constants[] = {2, 1};
static const uint32_t slope_operands[] = {0, 2, CHX_V_ATTR(offsetof(snake_attr, a)), CHX_V_CONSTANT(0),
                                          CHX_V_CONSTANT(1)};
static const chx_op_step slope_steps[] = {{.op = "map", .attr = &slope, .in = slope_operands, .n_in = 5}};
static const chx_op_body gradient = {
    .size = sizeof gradient, .step = slope_steps, .n_steps = 1, .constants = constants, .n_constants = 2};

/* The shape is x's, as the declaration says; what is left is to refuse an a that the formula cannot take. */
static chx_status infer(void *self, const chx_tensor *in, uint32_t n_in, void *attr, chx_op_result *out)
{
  const snake_attr *p = attr;
  (void)self, (void)in, (void)n_in, (void)out;
  if (p->a != 0 && isfinite(p->a)) return CHX_OK;
  return fail(CHX_EARG, "attribute 'a' is 0 or not finite, want another number");
}

static const chx_op_decl snake = {
  .size = sizeof snake, .version = 1, .name = "com.example.snake", .doc = "x + sin(a x)^2 / a",
  .in = inputs, .n_in = 1, .out = outputs, .n_out = 1,
  .field = fields, .n_fields = 1, .attr_size = sizeof(snake_attr),
  .dtypes = CHX_FLOATS, .shape = CHX_SHAPE_FIRST, .infer = infer, .body = &body, .grad = &gradient,
};

/* ---- our kernel for it: operands are dense ------------------------------------------------------------------------- */

#define SNAKE(name, T, sine)                                                  \
  static void name(const chx_tensor *x, const chx_tensor *y, double a)        \
  {                                                                           \
    const T *in = (const T *)(void *)((char *)x->data + x->byte_offset);      \
    T *out = (T *)(void *)((char *)y->data + y->byte_offset);                 \
    int64_t n = 1;                                                            \
    for (int i = 0; i < y->ndim; i++) n *= y->shape[i];                       \
    for (int64_t i = 0; i < n; i++) {                                         \
      T s = sine((T)a * in[i]);                                               \
      out[i] = in[i] + s * s / (T)a;                                          \
    }                                                                         \
  }
SNAKE(snake_f32, float, sinf)
SNAKE(snake_f64, double, sin)

static chx_status run_snake(void *self, const chx_call *call)
{
  const snake_attr *p = call->attr;
  (void)self;
  (CHX_T_DTYPE(&call->out[0]) == CHX_F32 ? snake_f32 : snake_f64)(&call->in[0], &call->out[0], p->a);
  return CHX_OK;
}

#define F32_AND_F64 (CHX_BIT(CHX_F32) | CHX_BIT(CHX_F64))
static const chx_kernel snake_kernel = {
    .size = sizeof snake_kernel,
    .attr_size = sizeof(snake_attr),
    .op = "com.example.snake",
    .min_version = 1,
    .max_version = 1,
    .dtypes_in = F32_AND_F64,
    .dtypes_out = F32_AND_F64,
    .max_rank = CHX_MAX_RANK,
    .flags = CHX_K_CONTIGUOUS,
    .alias_ok = 1,
    .run = run_snake,
};

/* ---- the device, and the plugin ---------------------------------------------------------------------------------- */

static const chx_kernel *kernel(chx_dev *dev, uint32_t index)
{
  (void)dev;
  return index == 0 ? &snake_kernel : native ? native->kernel(index - 1) : NULL;
}

static chx_status info(chx_dev *dev, chx_device_info *out)
{
  (void)dev;
  chx_device_info mine = {.size = out->size,
                          .flags = CHX_D_HOST_IS_DEVICE,
                          .name = "snake example",
                          .vendor = "the chx project",
                          .bus_id = "",
                          .dl_type = 1,
                          .dtypes = CHX_ANY_REAL,
                          .alignment = 64};
  memcpy(out, &mine, out->size < sizeof mine ? out->size : sizeof mine);
  return CHX_OK;
}

static chx_status alloc(chx_dev *dev, chx_queue *queue, uint64_t bytes, uint32_t kind, chx_buffer *out)
{
  (void)dev, (void)queue, (void)kind;
  out->flags = CHX_B_DEVICE | CHX_B_COHERENT;
  out->handle = out->host_ptr = bytes < PTRDIFF_MAX ? aligned_alloc(64, (bytes + 64) / 64 * 64) : NULL;
  out->bytes = bytes;
  return out->handle ? CHX_OK : fail(CHX_ENOMEM, "snake: no memory");
}

static void release(chx_dev *dev, chx_queue *queue, chx_buffer *buffer)
{
  (void)dev, (void)queue;
  free(buffer->handle);
}

static chx_status copy(chx_dev *dev, chx_queue *queue, void *dst, uint64_t dst_offset, const void *src,
                       uint64_t src_offset, uint64_t bytes, uint32_t direction)
{
  (void)dev, (void)queue, (void)direction;
  if (bytes > 0) memmove((char *)dst + dst_offset, (const char *)src + src_offset, bytes);
  return CHX_OK;
}

static const chx_device_ops device_ops = {
    .size = sizeof device_ops, .info = info, .kernel = kernel, .alloc = alloc, .release = release, .copy = copy};

/* Where operators are declared. A core that is too old to take them lends no chx_op_host: we are a device without it then. */
static chx_status open_plugin(const chx_host *host, void **state)
{
  the_device.host = host;
  *state = &the_device;
  if (!CHX_HAS(host, chx_host, extension)) return CHX_OK;
  native = host->extension(host->ctx, CHX_HOST_KERNELS);
  const chx_op_host *ops = host->extension(host->ctx, CHX_OPS);
  return ops ? ops->declare(host->ctx, &snake) : CHX_OK;
}

static chx_status device_count(void *state, uint32_t *n)
{
  (void)state;
  *n = 1;
  return CHX_OK;
}

static chx_status device_open(void *state, uint32_t i, chx_dev **dev)
{
  if (i != 0) return fail(CHX_EDEVICE, "snake: there is only snake:0");
  *dev = state;
  return CHX_OK;
}

static const chx_device_ops *get_device_ops(void *state)
{
  (void)state;
  return &device_ops;
}

CHX_EXPORT const chx_plugin *chx_plugin_v1(void);
CHX_EXPORT const chx_plugin *chx_plugin_v1(void)
{
  static const chx_plugin plugin = {
    .size = sizeof plugin, .abi_minor = CHX_ABI_MINOR,
    .name = "snake", .version = "1.0", .vendor = "the chx project", .build = __VERSION__,
    .open = open_plugin, .device_count = device_count, .device_open = device_open, .device_ops = get_device_ops,
  };
  return &plugin;
}
