/* SPDX-License-Identifier: MIT
 * test_custom_op.c: operators that plugins bring: com.example.snake of examples/snake, and one declared here whose body has several
 * steps, a custom shape and an attribute that goes on into a step; and every way in which a declaration is refused.
 */
#include "check.h"
#include <chx/plugin.h>
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct snake_attr { uint32_t size, kind; double a; } snake_attr;

static chx_array *apply(chx_scope *s, const char *name, const chx_array *x, const void *attr)
{
  chx_array *y = NULL;
  chx_apply(s, chx_op_find(name), &x, 1, attr, &y, 1);
  return y;
}

static chx_array *snake(chx_scope *s, const chx_array *x, double a)
{
  const snake_attr p = {.size = sizeof p, .a = a};
  return apply(s, "com.example.snake", x, &p);
}

/* ---- com.example.snake --------------------------------------------------------------------------------------------------- */

static const double at[] = {-2, -0.5, 0, 0.25, 1, 3};

static void values(const char *device, double a)
{
  chx_scope *s = chx_scope_begin(device);
  double want[6], slope[6];
  for (int i = 0; i < 6; i++) {
    want[i] = at[i] + pow(sin(a * at[i]), 2) / a;
    slope[i] = 1 + sin(2 * a * at[i]);
  }
  if (chx_scope_error(s)) {
    skip(6, "no such device");
    chx_scope_end(s);
    return;
  }
  for (int d = 0; d < 2; d++) {
    const int dtype = d ? CHX_F64 : CHX_F32;
    const double eps = d ? 1e-14 : 1e-6;
    chx_array *x = chx_from_shape(s, dtype, 2, (int64_t[]){2, 3}, at), *g = NULL;
    ok(rel_err(snake(s, x, a), want) < eps, "%s, a = %g, %s: the formula: %s", device, a, chx_dtype_name(dtype),
       chx_scope_message(s));
    ok(rel_err(chx_transpose(s, snake(s, chx_transpose(s, x, 0, NULL), a), 0, NULL), want) < eps,
       "of a transposed one");
    chx_require_grad(s, x);
    const chx_array *y = snake(s, x, a), *leaf = x, *ones = chx_ones_like(s, x);
    chx_grad(s, &y, 1, &leaf, 1, &ones, 0, 0, &g);
    ok(rel_err(g, slope) < 2 * eps, "and its gradient: %s", chx_scope_message(s));
    chx_scope_clear(s);
  }
  chx_scope_end(s);
}

static void f_snake(void *ctx, chx_scope *s, chx_array *const *xs, chx_array **ys)
{
  (void)ctx;
  ys[0] = snake(s, xs[0], 1.5);
}

static void gradients(const char *device)
{
  chx_scope *s = chx_scope_begin(device);
  const chx_array *x = chx_from_shape(s, CHX_F64, 2, (int64_t[]){2, 3}, at);
  ok(!chx_check_grad(s, f_snake, NULL, &x, 1, 1, 1e-5, 1e-7, 1e-6), "%s: gradient by differences: %s", device,
     chx_scope_message(s));
  chx_scope_clear(s);
  ok(!chx_check_grad_twice(s, f_snake, NULL, &x, 1, 1, 1e-5, 1e-7, 1e-6), "%s: of second order: %s", device,
     chx_scope_message(s));
  chx_scope_end(s);
}

/* ---- a device with a kernel for an operator that is declared only later ---------------------------------------------------- */

static const chx_plugin *real;
static const void *nothing_lent(void *ctx, const char *name) { return (void)ctx, (void)name, NULL; }

/* As in a core that takes no operators: the plugin goes on without. */
static chx_status early_open(const chx_host *host, void **state)
{
  static chx_host old;
  old = *host;
  old.extension = nothing_lent;
  return real->open(&old, state);
}

static void load_early(chx_scope *s, const char *path)
{
  static chx_plugin early;
  void *lib = dlopen(path, RTLD_NOW);
  chx_entry_fn entry = lib ? (chx_entry_fn)dlsym(lib, CHX_ENTRY) : NULL;
  if (!ok(entry != NULL, "the plugin's file can be opened")) return;
  early = *(real = entry());
  early.name = "early";
  early.open = early_open;
  ok(!chx_add_plugin(s, &early), "a device early:0 with a kernel that nobody can use yet: %s", chx_scope_message(s));
  chx_scope_clear(s);
}

static int route(chx_scope *s, const char *device, int dtype, char *why)
{
  return chx_explain(s, chx_op_find("com.example.snake"), device, dtype, why, 200);
}

static void routes(chx_scope *s)
{
  char why[200];
  is_int(route(s, "snake:0", CHX_F32, why), CHX_ROUTE_KERNEL, "on snake:0 by its kernel (%s)", why);
  is_int(route(s, "early:0", CHX_F32, why), CHX_ROUTE_KERNEL, "on early:0, too, since the operator is known (%s)", why);
  is_int(route(s, "snake:0", CHX_F16, why), CHX_ROUTE_ADAPTED, "in f16 through f32 (%s)", why);
  is_int(route(s, "native:0", CHX_F32, why), CHX_ROUTE_COMPOSED, "on native by its body (%s)", why);
  is_int(route(s, "native:0", CHX_I32, why), CHX_ROUTE_NONE, "integers are not taken as they are (%s)", why);
  ok(!chx_set_route(s, "com.example.snake", "composed"), "a route is forced: %s", chx_scope_message(s));
  is_int(route(s, "snake:0", CHX_F32, why), CHX_ROUTE_COMPOSED, "to its body (%s)", why);
  values("snake:0", 2);
  chx_set_route(s, "com.example.snake", NULL);
  chx_ledger_reset();
  chx_scope_set_device(s, "sample:0");
  if (chx_scope_error(s)) {
    chx_scope_clear(s);
    return skip(2, "no sample device");
  }
  chx_array *x = chx_from(s, CHX_F32, 2, (double[]){1, 2});
  chx_ledger_row rows[64];
  snake(s, x, 1);
  int n = chx_ledger(rows, 64), found = 0;
  for (int i = 0; i < n && i < 64; i++)
    found += !strcmp(rows[i].op, "com.example.snake") && !strcmp(rows[i].device, "sample:0");
  is_int(found, 1, "the ledger has a row for it");
  chx_scope_set_fallback(s, CHX_FALLBACK_DENY);
  ok(!snake(s, x, 1) && strstr(chx_scope_message(s), "sample:0") && strstr(chx_scope_message(s), "com.example.snake"),
     "denied: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_scope_set_fallback(s, CHX_FALLBACK_ALLOW);
  chx_scope_set_device(s, "native:0");
}

static void attributes(chx_scope *s)
{
  const chx_array *x = chx_from(s, CHX_F64, 2, (double[]){1, 2});
  const struct { snake_attr p; double more; } longer = {{sizeof longer, 0, 1}, 3}, same = {{sizeof same, 0, 1}, 0};
  const struct { const void *p; const char *says; int code; } bad[] = {
    {&(snake_attr){sizeof(snake_attr), 0, 0}, "'a' is 0", CHX_EARG},
    {&(snake_attr){sizeof(snake_attr), 0, INFINITY}, "not finite", CHX_EARG},
    {&(snake_attr){4, 0, 1}, "size is 4", CHX_EARG},
    {&longer, "sets others", CHX_EUNSUPPORTED},
  };
  for (int i = 0; i < (int)(sizeof bad / sizeof *bad); i++) {
    apply(s, "com.example.snake", x, bad[i].p);
    ok(chx_scope_error(s) == bad[i].code && strstr(chx_scope_message(s), bad[i].says), "%s", chx_scope_message(s));
    chx_scope_clear(s);
  }
  const double one[] = {1 + pow(sin(1), 2), 2 + pow(sin(2), 2)};
  ok(rel_err(apply(s, "com.example.snake", x, NULL), one) < 1e-14, "without an attribute a is 1: %s",
     chx_scope_message(s));
  ok(rel_err(apply(s, "com.example.snake", x, &same), one) < 1e-14, "a longer one with a zero tail: %s",
     chx_scope_message(s));
  const chx_array *i32 = chx_from(s, CHX_I32, 2, (double[]){1, 2});
  chx_array *y = apply(s, "com.example.snake", i32, NULL);
  ok(chx_dtype(y) == CHX_F64 && rel_err(y, one) < 1e-14, "integers become float64: %s", chx_scope_message(s));
  const chx_array *z = chx_from_host(s, CHX_C64, 1, (int64_t[]){2}, (float[]){1, 2, 3, 4});
  ok(z && !apply(s, "com.example.snake", z, NULL) && chx_scope_error(s) == CHX_EDTYPE,
     "complex numbers are refused: %s", chx_scope_message(s));
  chx_scope_clear(s);
  const chx_array *two[] = {x, x};
  chx_apply(s, chx_op_find("com.example.snake"), two, 2, NULL, &y, 1);
  ok(chx_scope_error(s) == CHX_EARG, "two operands: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(rel_err(apply(s, "com.example.snake", chx_real(s, 1), NULL), one) < 1e-6, "a scalar: %s", chx_scope_message(s));
  chx_scope_clear(s);
}

/* ---- org.test.normalize: x / sqrt(sum(x^2 over axes) + w), a plugin in this program ------------------------------------- */

typedef struct axes_attr { uint32_t size, kind; chx_ints axes; int64_t power; } axes_attr;
static const chx_host *the_host;
static const chx_op_decl *wanted; /* what open declares */
static int n_wanted;
static chx_status said;

static const chx_op_field axes_fields[] = {
    {"axes", "the axes", CHX_ATTR_INTS, offsetof(axes_attr, axes), 0},
    {"power", "unused but in a step", CHX_ATTR_I64, offsetof(axes_attr, power), 1}};
static const chx_op_operand two_inputs[] = {{"x", 0, 0}, {"w", 0, 1}};
static const char *const two_outputs[] = {"y", "norm"};
static chx_reduce_attr keep = {.size = sizeof keep, .keepdims = 1};
static const chx_op_bind bind_axes[] = {
    {offsetof(axes_attr, axes), offsetof(chx_reduce_attr, axes), sizeof(chx_ints), 0}};
static const double some[] = {0.5};
static const chx_op_step five[] = {
  {.op = "mul", .in = (const uint32_t[]){0, 0}, .n_in = 2},
  {.op = "sum", .attr = &keep, .in = (const uint32_t[]){2}, .n_in = 1, .bind = bind_axes, .n_bind = 1},
  {.op = "add", .in = (const uint32_t[]){3, CHX_V_CONSTANT(0)}, .n_in = 2},
  {.op = "sqrt", .in = (const uint32_t[]){4}, .n_in = 1},
  {.op = "mul", .in = (const uint32_t[]){5, CHX_V_ATTR(offsetof(axes_attr, power))}, .n_in = 2},
  {.op = "div", .in = (const uint32_t[]){0, 6}, .n_in = 2},
};
static const chx_op_body five_body = {.size = sizeof five_body,
                                      .step = five,
                                      .n_steps = 6,
                                      .constants = some,
                                      .n_constants = 1,
                                      .result = (const uint32_t[]){7, 6}};

static chx_status axes_infer(void *self, const chx_tensor *in, uint32_t n_in, void *attr, chx_op_result *out)
{
  axes_attr *p = attr;
  if (self != &the_host || n_in != 2 || in[0].data || !(in[1].flags & CHX_T_ABSENT) != !(in[1].ndim == 0))
    return CHX_EFAILED;
  for (int64_t k = 0; k < p->axes.n; k++) {
    if (p->axes.v[k] < -in[0].ndim || p->axes.v[k] >= in[0].ndim)
      return the_host->fail(the_host->ctx, CHX_EARG, "an axis is out of range");
    if (p->axes.v[k] < 0) p->axes.v[k] += in[0].ndim;
    out[1].shape[p->axes.v[k]] = 1;
  }
  return CHX_OK;
}

static const chx_op_decl normalize = {
    .size = sizeof normalize,
    .version = 1,
    .name = "org.test.normalize",
    .doc = "x / |x|",
    .in = two_inputs,
    .n_in = 2,
    .out = two_outputs,
    .n_out = 2,
    .field = axes_fields,
    .n_fields = 2,
    .attr_size = sizeof(axes_attr),
    .dtypes = CHX_FLOATS,
    .infer = axes_infer,
    .self = &the_host,
    .body = &five_body,
};

static chx_status plugin_open(const chx_host *host, void **state)
{
  static int nothing;
  the_host = host;
  *state = &nothing;
  const chx_op_host *ops = host->extension(host->ctx, CHX_OPS);
  said = CHX_OK;
  for (int i = 0; i < n_wanted && !said; i++) said = ops->declare(host->ctx, &wanted[i]);
  return said;
}

static chx_status no_device(void *state, uint32_t *n)
{
  (void)state;
  *n = 0;
  return CHX_OK;
}

static chx_status device_open(void *state, uint32_t i, chx_dev **dev)
{
  (void)state, (void)i, (void)dev;
  return CHX_EDEVICE;
}

/* Complete, and never called, there being no device. */
static chx_status info(chx_dev *dev, chx_device_info *out) { return (void)dev, (void)out, CHX_EFAILED; }
static const chx_kernel *kernel(chx_dev *dev, uint32_t i) { return (void)dev, (void)i, NULL; }
static void release(chx_dev *dev, chx_queue *q, chx_buffer *b) { (void)dev, (void)q, (void)b; }
static chx_status alloc(chx_dev *dev, chx_queue *q, uint64_t n, uint32_t kind, chx_buffer *b)
{
  return (void)dev, (void)q, (void)n, (void)kind, (void)b, CHX_ENOMEM;
}
static chx_status copy(chx_dev *dev, chx_queue *q, void *dst, uint64_t to, const void *src, uint64_t from, uint64_t n,
                       uint32_t dir)
{
  return (void)dev, (void)q, (void)dst, (void)to, (void)src, (void)from, (void)n, (void)dir, CHX_EFAILED;
}
static const chx_device_ops *device_ops(void *state)
{
  static const chx_device_ops ops = {
      .size = sizeof ops, .info = info, .kernel = kernel, .alloc = alloc, .release = release, .copy = copy};
  return (void)state, &ops;
}
static const chx_device_ops *no_ops(void *state) { return (void)state, NULL; }

/* Adds a plugin without a device that declares d[0 .. n - 1]; what the core said to it, its sentence in the scope. */
static chx_status declare(chx_scope *s, const chx_op_decl *d, int n, bool complete)
{
  static chx_plugin plugins[8];
  static char names[8][16];
  static int used;
  chx_plugin *p = &plugins[used];
  wanted = d;
  n_wanted = n;
  snprintf(names[used], sizeof names[0], "custom%d", used);
  *p = (chx_plugin){.size = sizeof *p,
                    .name = names[used++],
                    .open = plugin_open,
                    .device_count = no_device,
                    .device_open = device_open,
                    .device_ops = complete ? device_ops : no_ops};
  said = CHX_EFAILED;
  chx_scope_clear(s);
  chx_add_plugin(s, p);
  return said;
}

/* The same in a child process, as a process takes a few plugins alone. */
static chx_status attempt(chx_scope *s, const chx_op_decl *d, char text[1024])
{
  int to[2], status = -1;
  text[0] = 0;
  if (pipe(to)) return CHX_EFAILED;
  fflush(NULL);
  pid_t child = fork();
  if (!child) {
    chx_status st = declare(s, d, 1, true);
    const char *said_then = chx_scope_message(s);
    bool there = d->size == sizeof *d && d->name && strcmp(d->name, "com.example.snake") && chx_op_find(d->name);
    ssize_t n = write(to[1], said_then, strlen(said_then));
    _exit(n < 0 || there ? 255 : (int)st);
  }
  close(to[1]);
  ssize_t n = read(to[0], text, 1023);
  text[n > 0 ? n : 0] = 0;
  close(to[0]);
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void f_normalize(void *ctx, chx_scope *s, chx_array *const *xs, chx_array **ys)
{
  axes_attr p = {.size = sizeof p, .axes = CHX_INTS(-1), .power = 2};
  const chx_array *x = xs[0];
  (void)ctx;
  chx_apply(s, chx_op_find("org.test.normalize"), &x, 1, &p, ys, 2);
}

static void several_steps(chx_scope *s)
{
  const int count = chx_op_count();
  is_int(declare(s, &normalize, 1, true), CHX_OK, "org.test.normalize is declared by a plugin without devices");
  chx_scope_clear(s); /* which it says as an error, there being no device */
  const chx_op *op = chx_op_find("org.test.normalize");
  if (!ok(op != NULL && chx_op_count() == count + 1 && chx_op_at(count) == op, "it is the last of %d operators",
          chx_op_count()))
    return;
  ok(chx_op_n_inputs(op) == 2 && chx_op_input_flags(op, 1) == CHX_OPERAND_OPTIONAL && chx_op_n_outputs(op) == 2 &&
         !strcmp(chx_op_output_name(op, 1), "norm") && chx_op_n_attrs(op) == 2 &&
         chx_op_attr_at(op, 0)->type == CHX_ATTR_INTS && chx_op_is_composite(op) && chx_op_is_differentiable(op) &&
         chx_op_attr_size(op) == sizeof(axes_attr),
     "its description is the declaration's");
  char why[200];
  if (chx_explain(s, op, "ref:0", CHX_F64, why, sizeof why))
    is_int(chx_explain(s, op, "ref:0", CHX_F64, why, sizeof why), CHX_ROUTE_MAPPED,
           "CHX_ROUTE named it before it was there (%s)", why);
  chx_scope_clear(s);
  axes_attr p = {.size = sizeof p, .axes = CHX_INTS(1), .power = 2};
  const chx_array *x = chx_from_shape(s, CHX_F64, 2, (int64_t[]){2, 2}, (double[]){1, 2, 3, 4});
  chx_array *y[2] = {0};
  chx_apply(s, op, &x, 1, &p, y, 2);
  const double r = 2 * sqrt(5.5), q = 2 * sqrt(25.5);
  ok(rel_err(y[0], (double[]){1 / r, 2 / r, 3 / q, 4 / q}) < 1e-14, "its values: %s", chx_scope_message(s));
  ok(y[1] && chx_ndim(y[1]) == 2 && chx_shape(y[1])[1] == 1 && rel_err(y[1], (double[]){r, q}) < 1e-14,
     "and the second output");
  p.axes = CHX_INTS(5);
  y[0] = y[1] = NULL;
  ok(chx_apply(s, op, &x, 1, &p, y, 2) == CHX_EARG && strstr(chx_scope_message(s), "out of range"), "%s",
     chx_scope_message(s));
  chx_scope_clear(s);
  ok(!chx_check_grad(s, f_normalize, NULL, &x, 1, 2, 1e-5, 1e-7, 1e-6), "its gradient by differences: %s",
     chx_scope_message(s));
  chx_scope_clear(s);
  ok(!chx_check_grad_twice(s, f_normalize, NULL, &x, 1, 2, 1e-5, 1e-7, 1e-6), "of second order: %s",
     chx_scope_message(s));
  chx_scope_clear(s);
  chx_scope_set_device(s, "sample:0");
  if (!chx_scope_error(s)) {
    const chx_array *there = chx_to(s, x, "sample:0");
    p.axes = CHX_INTS(1);
    y[0] = y[1] = NULL;
    chx_apply(s, op, &there, 1, &p, y, 2);
    ok(rel_err(y[0], (double[]){1 / r, 2 / r, 3 / q, 4 / q}) < 1e-14, "on a device without kernels for it: %s",
       chx_scope_message(s));
  }
  chx_scope_clear(s);
  chx_scope_set_device(s, "native:0");
}

/* ---- a body that gives one value for two outputs --------------------------------------------------------------------------- */

static void twins(void)
{
  static const chx_op_operand in[] = {{.name = "x"}};
  static const char *const out[] = {"a", "b"};
  static const uint32_t operand[] = {0}, both[] = {1, 1};
  static const chx_op_step step = {.op = "neg", .in = operand, .n_in = 1};
  static const chx_op_body body = {.size = sizeof body, .step = &step, .n_steps = 1, .result = both};
  static const chx_op_decl d = {.size = sizeof d, .version = 1, .name = "org.test.twins", .in = in, .n_in = 1, .out = out,
                                .n_out = 2, .dtypes = CHX_FLOATS, .body = &body};
  chx_scope *s = chx_scope_begin("native");
  is_int(declare(s, &d, 1, true), CHX_OK, "org.test.twins is declared");
  chx_scope_end(s);
  s = chx_scope_begin_with("native", CHX_SCOPE_OWNED);
  chx_array *x = chx_ones(s, CHX_F32, 2, (int64_t[]){2, 3}), *y[2] = {0};
  chx_apply(s, chx_op_find("org.test.twins"), (const chx_array *const *)&x, 1, NULL, y, 2);
  ok(y[0] && y[1] && y[0] != y[1], "the caller owns two arrays %s", chx_scope_message(s));
  if (y[0] != y[1]) chx_release(y[0]);
  chx_release(y[1]);
  chx_release(x);
  chx_scope_end(s);
  s = chx_scope_begin("sample:0");
  if (!chx_scope_error(s)) {
    const chx_array *there = chx_ones(s, CHX_F32, 2, (int64_t[]){2, 3});
    chx_array *z[2] = {0};
    chx_apply(s, chx_op_find("org.test.twins"), &there, 1, NULL, z, 2);
    chx_copy_into(s, chx_transpose(s, z[0], 0, NULL), chx_zeros(s, CHX_F32, 2, (int64_t[]){3, 2}));
    ok(rel_err(z[1], (double[]){-1, -1, -1, -1, -1, -1}) == 0, "staged, what is written into one is not in the other %s",
       chx_scope_message(s));
  }
  chx_scope_end(s);
}

/* ---- declarations that are refused ---------------------------------------------------------------------------------------- */

#define BAD(what, code_, says_, ...) \
  { \
    chx_op_decl d = normalize; \
    chx_op_body b = five_body; \
    chx_op_step step[6]; \
    memcpy(step, five, sizeof step); \
    b.step = step; \
    d.name = "org.test.bad"; \
    d.body = &b; \
    (void)b; \
    __VA_ARGS__ \
    char text[1024]; \
    const chx_status st = attempt(s, &d, text); \
    ok(st == code_ && strstr(text, says_), what ": %s", text); \
  }

static void refusals(chx_scope *s)
{
  const int count = chx_op_count();
  BAD("a name without a dot", CHX_EARG, "'.'", d.name = "snake";)
  BAD("a name with capitals", CHX_EARG, "lower case", d.name = "org.Test";)
  BAD("an empty part of a name", CHX_EARG, "lower case", d.name = "org..bad";)
  BAD("no name", CHX_EARG, "NULL", d.name = NULL;)
  BAD("version 0", CHX_EARG, "version", d.version = 0;)
  BAD("no dtypes", CHX_EARG, "dtypes", d.dtypes = 0;)
  BAD("no inputs", CHX_EARG, "inputs", d.n_in = 0;)
  BAD("four outputs", CHX_EARG, "outputs", d.n_out = 4;)
  BAD("an unknown rule", CHX_EUNSUPPORTED, "rule", d.shape = 7;)
  BAD("an attribute too large", CHX_EARG, "bytes", d.attr_size = 2000;)
  BAD("a field past the end", CHX_EARG, "offset", d.attr_size = 144;)
  BAD("a hole between fields", CHX_EARG, "offset", static chx_op_field f[2]; memcpy(f, axes_fields, sizeof f);
      f[1].offset += 8; d.field = f;)
  BAD("a field of no type", CHX_EARG, "type", static chx_op_field f[2]; memcpy(f, axes_fields, sizeof f); f[0].type = 9;
      d.field = f;)
  BAD("a step that is no operator", CHX_EUNSUPPORTED, "step 2", step[2].op = "frobnicate";)
  BAD("a value from the future", CHX_EARG, "reads value", step[0].in = (const uint32_t[]){0, 3};)
  BAD("a constant that is not there", CHX_EARG, "reads value", b.n_constants = 0;)
  BAD("a number where the attribute has a list", CHX_EARG, "reads value",
      step[4].in = (const uint32_t[]){5, CHX_V_ATTR(8)};)
  BAD("too many operands", CHX_EARG, "operands", step[3].n_in = 2; step[3].in = (const uint32_t[]){4, 4};)
  BAD("a bind out of bounds", CHX_EARG, "binds", static const chx_op_bind far[] = {{8, 100, sizeof(chx_ints), 0}};
      step[1].bind = far;)
  BAD("a bind of nothing", CHX_EARG, "binds", step[1].attr = NULL;)
  BAD("a result that is not there", CHX_EARG, "result", b.result = (const uint32_t[]){7, 8};)
  BAD("too few results", CHX_EARG, "last step", b.result = NULL;)
  BAD("a gradient of nothing", CHX_EARG, "gradient", d.grad = &(chx_op_body){.size = sizeof(chx_op_body)};)
  BAD("a name that is taken", CHX_EARG, "another operator of this name", d.name = "com.example.snake";)
  BAD("a size that is not set", CHX_EARG, "size", d.size = 8;)
  is_int(chx_op_count(), count, "none of them is in the table");
  is_int(declare(s, &normalize, 1, true), CHX_OK, "the same declaration by another plugin is the same operator");
  is_int(chx_op_count(), count, "once");
  chx_op_decl d = normalize;
  d.name = "org.test.dropped";
  ok(declare(s, &d, 1, false) == CHX_OK && chx_scope_error(s) && !chx_op_find("org.test.dropped"),
     "of a plugin that is rejected later: %s", chx_scope_message(s));
  chx_scope_clear(s);
}

static void bounded(chx_scope *s)
{
  static char names[80][32];
  static chx_op_decl d[80];
  for (int i = 0; i < 80; i++) {
    snprintf(names[i], sizeof names[0], "org.test.many_%d", i);
    d[i] = normalize;
    d[i].name = names[i];
  }
  const int count = chx_op_count();
  ok(declare(s, d, 80, true) == CHX_ENOMEM && chx_op_count() == count,
     "80 operators are too many, and none is taken: %s", chx_scope_message(s));
  ok(declare(s, d, 60, true) == CHX_OK && chx_op_count() == count + 60, "60 are not");
  chx_scope_clear(s);
  int found = 0;
  for (int i = 0; i < 60; i++) found += chx_op_find(names[i]) && chx_op_find(names[i]) == chx_op_at(count + i);
  is_int(found, 60, "each is found by its name and in its order");
  ok(chx_op_find("add") && chx_op_find("com.example.snake") && !chx_op_find("org.test.many_60"),
     "and what was there still is");
}

int main(void)
{
  char path[4096];
  const char *build = getenv("CHX_BUILDDIR");
  alarm(120);
  setenv("CHX_ROUTE", "org.test.normalize=mapped,org.never.seen=staged", 1);
  chx_scope *s = chx_scope_begin("native");
  const int count = chx_op_count();
  ok(!chx_op_find("com.example.snake"), "there is no com.example.snake");
  snprintf(path, sizeof path, "%s/examples/snake/.libs/chx_snake.so", build ? build : ".");
  load_early(s, path);
  is_int(chx_op_count(), count, "a plugin that declares nothing adds nothing");
  if (!ok(chx_load_plugin(s, path) == CHX_OK, "the plugin is loaded: %s", chx_scope_message(s))) return done_testing();
  const chx_op *op = chx_op_find("com.example.snake");
  if (!ok(op && chx_op_count() == count + 1 && chx_op_at(count) == op, "now there is, one more than %d", count))
    return done_testing();
  ok(chx_load_plugin(s, path) == CHX_OK && chx_op_count() == count + 1 && chx_op_find("com.example.snake") == op,
     "loaded twice is once");
  is_str(chx_op_doc(op), "x + sin(a x)^2 / a", "its documentation");
  is_str(chx_op_attr_at(op, 0)->name, "a", "its attribute");
  static const char *const devices[] = {"snake:0", "native:0", "sample:0", "ref:0", "sim:0", "early:0"};
  for (int i = 0; i < 6; i++) values(devices[i], i % 2 ? 1 : 0.5);
  gradients("snake:0");
  gradients("native:0");
  routes(s);
  attributes(s);
  several_steps(s);
  twins();
  refusals(s);
  bounded(s);
  chx_scope_end(s);
  return done_testing();
}
