/* SPDX-License-Identifier: MIT
 * test_fallback.c: routes on a device with private memory and four kernels (examples/plugin): what goes where, that results
 * agree with native, that deny is an error, and what the ledger says.
 */
#include "check.h"

static const char *const DEVICE = "sample:0";

static uint64_t calls(const char *op, int route, uint64_t *bytes)
{
  chx_ledger_row rows[512];
  int n = chx_ledger(rows, 512);
  uint64_t sum = 0;
  if (bytes) *bytes = 0;
  for (int i = 0; i < n; i++)
    if (!strcmp(rows[i].device, DEVICE) && !strcmp(rows[i].op, op) && (route < 0 || rows[i].route == route)) {
      sum += rows[i].calls;
      if (bytes) *bytes += rows[i].bytes;
    }
  return sum;
}

static int route_of(chx_scope *s, const char *op)
{
  char reason[256];
  int r = chx_explain(s, chx_op_find(op), DEVICE, CHX_F32, reason, sizeof reason);
  note("%s: %s (%s)", op, chx_route_name(r), reason);
  return r;
}

static void routes(void)
{
  chx_scope *s = chx_scope_begin(DEVICE);
  is_int(route_of(s, "mul"), CHX_ROUTE_KERNEL, "mul has a kernel");
  is_int(route_of(s, "reshape"), CHX_ROUTE_VIEW, "reshape is a view");
  is_int(route_of(s, "linear"), CHX_ROUTE_COMPOSED, "linear is composed of matmul and add");
  is_int(route_of(s, "tanh"), CHX_ROUTE_STAGED, "tanh is staged");
  is_int(route_of(s, "softmax"), CHX_ROUTE_STAGED, "softmax, whose parts are not there, is staged as a whole");
  ok(!chx_scope_error(s), "no error: %s", chx_scope_message(s));
  chx_scope_end(s);
}

/* A forward and backward of a small network on `device`; its loss, and the gradient's sum in *g. */
static double network(const char *device, int policy, double *g, char *message)
{
  chx_scope *s = chx_scope_begin(device);
  double xs[12], ws[12], bs[3] = {0.1, -0.2, 0.3}, ts[3] = {2, 0, 1};
  for (int i = 0; i < 12; i++) xs[i] = (i % 5 - 2) * 0.3, ws[i] = (i % 7 - 3) * 0.2;
  chx_scope_set_fallback(s, policy);
  chx_array *x = chx_from_shape(s, CHX_F32, 2, (int64_t[]){3, 4}, xs), *w = chx_from_shape(s, CHX_F32, 2, (int64_t[]){3, 4}, ws);
  chx_array *b = chx_from(s, CHX_F32, 3, bs), *t = chx_from(s, CHX_I32, 3, ts);
  chx_require_grad(s, w);
  chx_require_grad(s, b);
  chx_array *h = chx_tanh(s, chx_linear(s, x, w, b));
  chx_array *loss = chx_softmax_cross_entropy(s, chx_transpose(s, h, 0, NULL), t);
  chx_backward(s, loss);
  *g = chx_item(s, chx_sum(s, chx_mul(s, chx_grad_of(s, w), w), 0, NULL, 0)) + chx_item(s, chx_sum(s, chx_grad_of(s, b), 0, NULL, 0));
  double l = chx_item(s, loss);
  snprintf(message, 512, "%s", chx_scope_message(s));
  chx_scope_end(s);
  return l;
}

/* Of the time, the part of the kernel that did the work is known, but for compositions. */
static void in_the_kernel(void)
{
  chx_ledger_row rows[512];
  int n = chx_ledger(rows, 512), bad = 0, known = 0;
  for (int i = 0; i < n && i < 512; i++) {
    bad += rows[i].kernel_ns > rows[i].ns || (rows[i].route == CHX_ROUTE_COMPOSED && rows[i].kernel_ns);
    known += rows[i].route == CHX_ROUTE_STAGED && rows[i].kernel_ns > 0;
  }
  ok(!bad && known > 0, "the kernel's part of the time: known of %d staged operators, more than all of it of %d rows", known, bad);
}

static void log_warnings(void *ctx, int level, const char *message)
{
  *(int *)ctx += level == 1 && strstr(message, "falls back") != NULL;
}

static void warned_once(void)
{
  int warnings = 0;
  chx_scope *s = chx_scope_begin(DEVICE);
  chx_array *x = chx_ones(s, CHX_F32, 1, (int64_t[]){4});
  chx_set_log(log_warnings, &warnings, 1);
  chx_scope_set_fallback(s, CHX_FALLBACK_WARN);
  chx_ledger_reset();
  for (int i = 0; i < 3; i++) chx_tanh(s, x);
  ok(warnings == 1, "three calls of tanh: %d warnings, want 1", warnings);
  chx_ledger_reset();
  chx_tanh(s, x);
  ok(warnings == 2, "after a reset of the ledger one more: %d, want 2", warnings);
  chx_set_log(NULL, NULL, 0);
  chx_scope_end(s);
}

static void agreement(void)
{
  char message[512];
  double g_native, g_sample, native = network("native", CHX_FALLBACK_ALLOW, &g_native, message);
  is_str(message, "", "native runs it");
  chx_ledger_reset();
  double sample = network(DEVICE, CHX_FALLBACK_ALLOW, &g_sample, message);
  is_str(message, "", "the sample device runs it");
  is_close(sample, native, 1e-6, "same loss");
  is_close(g_sample, g_native, 1e-6, "same gradient");
  uint64_t bytes, n = calls("tanh", CHX_ROUTE_STAGED, &bytes);
  ok(n == 1 && bytes > 0, "the ledger has tanh's call and its %llu bytes", (unsigned long long)bytes);
  ok(calls("linear", CHX_ROUTE_COMPOSED, NULL) == 1, "linear's composition");
  in_the_kernel();
  ok(calls("mul", CHX_ROUTE_STAGED, NULL) == 0, "and no staged call of mul, which has a kernel");
  network(DEVICE, CHX_FALLBACK_DENY, &g_sample, message);
  ok(strstr(message, "denied") && strstr(message, DEVICE) && strstr(message, "f32"), "deny: %s", message);
  chx_scope *s = chx_scope_begin(DEVICE);
  chx_scope_set_fallback(s, CHX_FALLBACK_DENY);
  chx_tanh(s, chx_ones(s, CHX_F32, 1, (int64_t[]){4}));
  ok(chx_scope_error(s) == CHX_EUNSUPPORTED && strstr(chx_scope_message(s), "tanh"), "deny: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_uniform(s, CHX_F64, 1, (int64_t[]){4}, 0, 1);
  ok(strstr(chx_scope_message(s), "uniform") && strstr(chx_scope_message(s), "f64"), "deny, without operands: %s", chx_scope_message(s));
  chx_scope_end(s);
}

static void forced(void)
{
  char message[512];
  double g0, g1, l0 = network(DEVICE, CHX_FALLBACK_ALLOW, &g0, message), l1;
  chx_scope *s = chx_scope_begin(DEVICE);
  chx_set_route(s, "*", "staged");
  chx_ledger_reset();
  l1 = network(DEVICE, CHX_FALLBACK_ALLOW, &g1, message);
  ok(calls("linear", CHX_ROUTE_STAGED, NULL) == 1 && !calls("linear", CHX_ROUTE_COMPOSED, NULL), "with everything staged linear runs on native as a whole");
  is_close(l1, l0, 1e-6, "same loss");
  is_close(g1, g0, 1e-6, "same gradient");
  network(DEVICE, CHX_FALLBACK_DENY, &g1, message);
  ok(strstr(message, "forced to staged") && !strstr(message, "no kernel"), "deny, of a route that is forced: %s", message);
  chx_set_route(s, "*", NULL);
  chx_set_route(s, "add", "sideways");
  ok(chx_scope_error(s) == CHX_EARG, "an unknown route: %s", chx_scope_message(s));
  chx_scope_end(s);
}

/* A run of staged operators copies its operand once and its result when a kernel needs it. */
static void stays_on_host(void)
{
  chx_scope *s = chx_scope_begin(DEVICE);
  chx_array *x = chx_from(s, CHX_F32, 4, (double[]){1, 2, 3, 4});
  uint64_t first, later;
  chx_ledger_reset();
  chx_array *y = chx_exp(s, x);
  calls("exp", CHX_ROUTE_STAGED, &first);
  y = chx_tanh(s, chx_sqrt(s, y));
  uint64_t b1, b2;
  calls("tanh", CHX_ROUTE_STAGED, &b1);
  calls("sqrt", CHX_ROUTE_STAGED, &b2);
  later = b1 + b2;
  ok(first >= 16 && later == 0, "the first staged operator moved %llu bytes, the next two %llu", (unsigned long long)first, (unsigned long long)later);
  ok(rel_err(chx_mul(s, y, y), (double[]){pow(tanh(exp(0.5)), 2), pow(tanh(exp(1)), 2), pow(tanh(exp(1.5)), 2), pow(tanh(exp(2)), 2)}) < 1e-6, "the device's kernel then sees the result");
  chx_add_into(s, x, x, x);
  ok(rel_err(chx_exp(s, x), (double[]){exp(2), exp(4), exp(6), exp(8)}) < 1e-6, "a device's write makes the copy on the host stale");
  ok(!chx_scope_error(s), "no error: %s", chx_scope_message(s));
  chx_scope_end(s);
}

static void views(void)
{
  chx_scope *s = chx_scope_begin(DEVICE);
  chx_array *x = chx_from_shape(s, CHX_F32, 2, (int64_t[]){2, 3}, (double[]){1, 2, 3, 4, 5, 6});
  chx_array *t = chx_transpose(s, x, 0, NULL), *f = chx_flip(s, x, 0, NULL);
  ok(rel_err(chx_add(s, t, t), (double[]){2, 8, 4, 10, 6, 12}) == 0, "a transposed operand is made dense");
  ok(rel_err(f, (double[]){6, 5, 4, 3, 2, 1}) == 0, "negative steps are read back");
  ok(rel_err(chx_mul(s, x, chx_from(s, CHX_F32, 3, (double[]){1, 10, 100})), (double[]){1, 20, 300, 4, 50, 600}) == 0, "a broadcast operand too");
  ok(rel_err(chx_mul(s, x, chx_real(s, 0.5)), (double[]){0.5, 1, 1.5, 2, 2.5, 3}) == 0, "and a scalar is put on the device");
  chx_array *n = chx_to(s, x, "native:0");
  is_str(chx_device(n), "native:0", "to native");
  ok(rel_err(chx_to(s, n, DEVICE), (double[]){1, 2, 3, 4, 5, 6}) == 0, "and back");
  chx_add(s, x, n);
  ok(chx_scope_error(s) == CHX_EDEVICE, "operands on two devices: %s", chx_scope_message(s));
  chx_scope_end(s);
}

static void count_message(void *ctx, int level, const char *message)
{
  (void)level;
  *(int *)ctx += strstr(message, "copy falls back") != NULL;
}

/* No kernel of the device writes into part of an array: that goes through the host, too, and the policy is heard. */
static void parts(void)
{
  chx_scope *s = chx_scope_begin(DEVICE);
  chx_array *x = chx_zeros(s, CHX_F32, 2, (int64_t[]){2, 3}), *y = chx_from_shape(s, CHX_F32, 2, (int64_t[]){3, 2}, (double[]){1, 2, 3, 4, 5, 6});
  int n = 0;
  chx_ledger_reset();
  chx_set_log(count_message, &n, 1);
  chx_scope_set_fallback(s, CHX_FALLBACK_WARN);
  chx_copy_into(s, chx_transpose(s, x, 0, NULL), y);
  chx_copy_into(s, chx_transpose(s, x, 0, NULL), y);
  chx_set_log(NULL, NULL, -1);
  is_int(n, 1, "warn: the first copy into a transposed array is logged");
  ok(rel_err(x, (double[]){1, 3, 5, 2, 4, 6}) == 0, "its elements are where they belong");
  chx_scope_set_fallback(s, CHX_FALLBACK_DENY);
  chx_copy_into(s, chx_transpose(s, x, 0, NULL), y);
  ok(chx_scope_error(s) == CHX_EUNSUPPORTED && strstr(chx_scope_message(s), DEVICE), "deny: %s", chx_scope_message(s));
  chx_scope_end(s);
}

/* A scalar is cast where the operands are, whatever the scope's device is. */
static void scalar_elsewhere(void)
{
  chx_scope *s = chx_scope_begin("native:0");
  chx_array *x = chx_to(s, chx_from(s, CHX_BF16, 3, (double[]){1, 2, 3}), DEVICE);
  chx_array *y = chx_mul(s, x, chx_real(s, 0.5));
  is_str(chx_device(y), DEVICE, "bf16 through f32: the result is on the operand's device");
  ok(y && rel_err(y, (double[]){0.5, 1, 1.5}) == 0, "and right %s", chx_scope_message(s));
  chx_scope_end(s);
}

int main(void)
{
  chx_scope *s = chx_scope_begin(DEVICE);
  bool there = !chx_scope_error(s);
  if (!there) note("%s", chx_scope_message(s));
  chx_scope_end(s);
  if (!there) {
    skip(1, "sample: the plugin of examples/plugin is not built");
    return done_testing();
  }
  routes();
  agreement();
  warned_once();
  forced();
  stays_on_host();
  views();
  parts();
  scalar_elsewhere();
  return done_testing();
}
