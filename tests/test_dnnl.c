/* SPDX-License-Identifier: MIT
 * test_dnnl.c: the oneDNN backend: what is large enough runs on oneDNN and what is small on native's kernels, neither
 * as a fallback; parts and layouts give native's numbers; plans are made once, also for two threads; and without the
 * library there is no device, but a reason.
 */
#include "check.h"
#include "../plugins/dnnl/stats.h"
#include <chx/plugin.h>
#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static const chx_dnnl_stats *stats;

/* dnnl's own file once more, which is the library that the core has loaded. */
static bool find_stats(void)
{
  chx_backend_state b;
  for (int i = 0; !chx_backend_at(i, &b); i++) {
    if (strcmp(b.name, "dnnl") || !b.n_devices) continue;
    void *lib = dlopen(b.path, RTLD_NOW | RTLD_LOCAL);
    chx_entry_fn entry = lib ? (chx_entry_fn)dlsym(lib, CHX_ENTRY) : NULL;
    stats = entry ? entry()->device_ops(NULL)->extension(NULL, CHX_DNNL_STATS) : NULL;
  }
  return stats != NULL;
}

/* ---- a call on both devices -------------------------------------------------------------------------------------- */

typedef struct subject {
  const char *op, *label;
  int n_in;
  int64_t shape[5][5]; /* of operands, ended by 0 */
  const void *attr;
  bool transposed; /* operand 0 is */
} subject;

static chx_array *random_array(chx_scope *s, int dtype, const int64_t *shape)
{
  int n = 0;
  int64_t count = 1;
  while (n < 5 && shape[n]) count *= shape[n++];
  double *v = malloc((size_t)count * sizeof *v);
  for (int64_t i = 0; i < count; i++) v[i] = check_uniform(0, 1);
  chx_array *a = chx_from_shape(s, dtype, n, shape, v);
  free(v);
  return a;
}

static chx_array *apply(chx_scope *s, const subject *t, int dtype)
{
  const chx_array *in[5];
  chx_array *y = NULL;
  check_state = 7; /* the same operands each time */
  for (int i = 0; i < t->n_in; i++) in[i] = random_array(s, dtype, t->shape[i]);
  if (t->transposed) in[0] = chx_transpose(s, in[0], 0, NULL);
  chx_apply(s, chx_op_find(t->op), in, t->n_in, t->attr, &y, 1);
  return y;
}

/* The largest difference from native's result, over the largest element. */
static double difference(const chx_array *y, const chx_array *want)
{
  double *a = check_doubles(y), *b = check_doubles(want), most = 0, worst = a && b ? 0 : INFINITY;
  for (int64_t i = 0; a && b && i < chx_size(want); i++) {
    if (fabs(b[i]) > most) most = fabs(b[i]);
    if (!(fabs(a[i] - b[i]) <= worst)) worst = fabs(a[i] - b[i]);
  }
  free(a);
  free(b);
  return most > 0 ? worst / most : worst;
}

static bool has_bf16(void)
{
#if defined __x86_64__
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

/* ---- what runs on oneDNN ----------------------------------------------------------------------------------------- */

static chx_conv_attr conv_attr(int spatial, int64_t stride, int64_t dilation, int64_t groups, int64_t layout)
{
  chx_conv_attr p = CHX_ATTR(conv);
  p.stride = p.pad = p.dilation = CHX_INTS(1, 1, 1);
  p.stride.n = p.pad.n = p.dilation.n = spatial;
  for (int i = 0; i < spatial; i++) p.stride.v[i] = stride, p.dilation.v[i] = dilation;
  p.groups = groups;
  p.layout = layout;
  return p;
}

static const void *with_shape(chx_conv_attr *p, chx_ints shape)
{
  p->shape = shape;
  return p;
}

static void one(const subject *t, int dtype)
{
  chx_scope *s = chx_scope_begin("native:0");
  const double bound = dtype == CHX_F32 ? 2e-5 : 0x1p-7;
  chx_array *want = apply(s, t, dtype);
  chx_scope_set_device(s, "dnnl:0");
  chx_scope_set_fallback(s, CHX_FALLBACK_DENY);
  const uint64_t before = stats->executed(t->op);
  chx_array *y = apply(s, t, dtype), *again = apply(s, t, dtype);
  const char *name = dtype == CHX_F32 ? "f32" : "bf16";
  is_int((long long)(stats->executed(t->op) - before), 2, "%s %s of %s runs on oneDNN %s", t->op, t->label, name,
         chx_scope_message(s));
  const double d = difference(y, want);
  ok(d <= bound, "%s %s of %s: native's values to %.1e <= %.1e", t->op, t->label, name, d, bound);
  ok(difference(again, y) == 0, "%s %s of %s: the plan gives the same once more", t->op, t->label, name);
  chx_scope_end(s);
}

static void all_operators(void)
{
  chx_conv_attr same = conv_attr(2, 1, 1, 1, 0), step = conv_attr(2, 2, 2, 1, 0), groups = conv_attr(2, 1, 1, 4, 0),
                deep = conv_attr(2, 1, 1, 64, 0), last = conv_attr(2, 1, 1, 1, 1), line = conv_attr(1, 1, 1, 1, 0),
                cube = conv_attr(3, 1, 1, 1, 0), gx = same, gx1 = same, gxg = groups, gw = same, gwg = groups,
                gwd = deep, gwl = last;
  chx_pool_attr pool = CHX_ATTR(pool), pool_grad, cover = pool;
  pool.ksize = pool.stride = CHX_INTS(2, 2);
  pool_grad = pool;
  pool_grad.shape = CHX_INTS(8, 16, 56, 56);
  cover.ksize = CHX_INTS(3, 3);
  cover.stride = CHX_INTS(2, 2);
  cover.pad = CHX_INTS(1, 1);
  cover.cover_all = cover.exclude_pad = 1;
  const subject list[] = {
    {"matmul", "by columns", 2, {{128, 512}, {512, 2048}}, NULL, false},
    {"matmul", "of a transposed operand", 2, {{256, 256}, {256, 128}}, NULL, true},
    {"matmul", "by batches", 2, {{4, 128, 128}, {4, 128, 128}}, NULL, false},
    {"matmul", "with one b for all", 2, {{16, 128, 128}, {128, 128}}, NULL, false},
    {"matmul", "with one a for all", 2, {{128, 128}, {8, 128, 128}}, NULL, false},
    {"linear", "with a bias, by rows", 3, {{8192, 128}, {64, 128}, {64}}, NULL, false},
    {"linear", "with a bias, by columns", 3, {{128, 512}, {2048, 512}, {2048}}, NULL, false},
    {"linear", "without a bias", 2, {{64, 128}, {128, 128}}, NULL, false},
    {"conv", "by images", 3, {{8, 16, 28, 28}, {32, 16, 3, 3}, {32}}, &same, false},
    {"conv", "of one image", 3, {{1, 32, 28, 28}, {64, 32, 3, 3}, {64}}, &same, false},
    {"conv", "with steps and dilation", 3, {{4, 16, 28, 28}, {32, 16, 3, 3}, {32}}, &step, false},
    {"conv", "in groups", 3, {{4, 64, 14, 14}, {64, 16, 3, 3}, {64}}, &groups, false},
    {"conv", "by channel", 2, {{4, 64, 28, 28}, {64, 1, 3, 3}}, &deep, false},
    {"conv", "with channels last", 3, {{8, 28, 28, 16}, {32, 3, 3, 16}, {32}}, &last, false},
    {"conv", "over one axis", 2, {{8, 32, 200}, {32, 32, 3}}, &line, false},
    {"conv", "over three axes", 2, {{2, 16, 8, 8, 8}, {16, 16, 3, 3, 3}}, &cube, false},
    {"conv_grad_input", "by images", 2, {{8, 32, 28, 28}, {32, 16, 3, 3}},
     with_shape(&gx, CHX_INTS(8, 16, 28, 28)), false},
    {"conv_grad_input", "of one image", 2, {{1, 64, 28, 28}, {64, 64, 3, 3}},
     with_shape(&gx1, CHX_INTS(1, 64, 28, 28)), false},
    {"conv_grad_input", "in groups", 2, {{8, 64, 14, 14}, {64, 16, 3, 3}},
     with_shape(&gxg, CHX_INTS(8, 64, 14, 14)), false},
    {"conv_grad_weight", "by channels", 2, {{8, 16, 28, 28}, {8, 64, 28, 28}},
     with_shape(&gw, CHX_INTS(64, 16, 3, 3)), false},
    {"conv_grad_weight", "in groups", 2, {{8, 64, 14, 14}, {8, 64, 14, 14}},
     with_shape(&gwg, CHX_INTS(64, 16, 3, 3)), false},
    {"conv_grad_weight", "by channel", 2, {{8, 64, 28, 28}, {8, 64, 28, 28}},
     with_shape(&gwd, CHX_INTS(64, 1, 3, 3)), false},
    {"conv_grad_weight", "with channels last", 2, {{8, 28, 28, 16}, {8, 28, 28, 32}},
     with_shape(&gwl, CHX_INTS(32, 3, 3, 16)), false},
    {"avg_pool", "", 1, {{8, 16, 56, 56}}, &pool, false},
    {"avg_pool", "over the edge", 1, {{8, 16, 55, 55}}, &cover, false},
    {"avg_pool_grad", "", 1, {{8, 16, 28, 28}}, &pool_grad, false},
    {"softmax", "of rows", 1, {{256, 1000}}, NULL, false},
    {"layer_norm", "", 3, {{256, 300}, {300}, {300}}, NULL, false},
    {"copy", "of a transposed array", 1, {{600, 512}}, NULL, true},
  };
  for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
    const bool norms = strstr(list[i].op, "norm");
    one(&list[i], CHX_F32);
    if (has_bf16() && !norms) one(&list[i], CHX_BF16);
  }
  if (!has_bf16()) skip(1, "this processor has no bf16");
}

/* What is below a threshold, or not for oneDNN at all, is native's kernel, and no fallback. */
static void small_ones(void)
{
  static chx_pool_attr all_last;
  static const subject list[] = {
    {"matmul", "4 by 4", 2, {{4, 4}, {4, 4}}, NULL, false},
    {"softmax", "of 10", 1, {{1, 10}}, NULL, false},
    {"softmax", "of channels", 1, {{8, 32, 20, 20}}, NULL, false},
    {"avg_pool", "that oneDNN has only as reference", 1, {{8, 7, 7, 256}}, &all_last, false},
    {"copy", "of a dense array", 1, {{600, 512}}, NULL, false},
    {"log_softmax", "", 1, {{256, 1000}}, NULL, false},
  };
  all_last = CHX_ATTR(pool);
  all_last.ksize = CHX_INTS(7, 7);
  all_last.layout = CHX_CHANNELS_LAST;
  for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
    const subject *t = &list[i];
    chx_scope *s = chx_scope_begin("native:0");
    chx_array *want = apply(s, t, CHX_F32);
    chx_scope_set_device(s, "dnnl:0");
    chx_scope_set_fallback(s, CHX_FALLBACK_DENY);
    const uint64_t before = stats->executed(NULL);
    chx_array *y = apply(s, t, CHX_F32);
    ok(y && stats->executed(NULL) == before, "%s %s does not run on oneDNN %s", t->op, t->label, chx_scope_message(s));
    ok(difference(y, want) == 0, "%s %s: native's bits, with fallback denied", t->op, t->label);
    chx_scope_end(s);
  }
}

/* More plans than the core keeps: the first ones are dropped, and made again. */
static void many_plans(void)
{
  chx_scope *s = chx_scope_begin("dnnl:0");
  int wrong = 0;
  for (int round = 0; round < 2; round++)
    for (int64_t n = 0; n < 300; n++) {
      const int64_t shape[] = {10, 200 + n};
      size_t mark = chx_scope_mark(s);
      chx_array *y = chx_softmax(s, chx_zeros(s, CHX_F32, 2, shape), 1);
      const double want = 10;
      wrong += !(fabs(chx_item(s, chx_sum(s, y, 0, NULL, 0)) - want) < 1e-4);
      chx_scope_rewind(s, mark, NULL);
    }
  is_int(wrong, 0, "600 plans of 300 shapes %s", chx_scope_message(s));
  chx_scope_end(s);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

static chx_conv_attr thread_attr;
static const subject thread_conv = {"conv", "", 3, {{8, 16, 28, 28}, {32, 16, 3, 3}, {32}}, &thread_attr, false};
static const subject thread_matmul = {"matmul", "", 2, {{256, 256}, {256, 256}}, NULL, false};

static void *repeat(void *expected)
{
  chx_array *const *want = expected;
  chx_scope *s = chx_scope_begin("dnnl:0");
  intptr_t wrong = 0;
  for (int i = 0; i < 20; i++) {
    const subject *t[] = {&thread_conv, &thread_matmul};
    for (int k = 0; k < 2; k++) {
      const chx_array *in[3];
      chx_array *y = NULL;
      size_t mark = chx_scope_mark(s);
      for (int j = 0; j < t[k]->n_in; j++) in[j] = want[2 + 3 * k + j];
      chx_apply(s, chx_op_find(t[k]->op), in, t[k]->n_in, t[k]->attr, &y, 1);
      wrong += difference(y, want[k]) != 0;
      chx_scope_rewind(s, mark, NULL);
    }
  }
  wrong += chx_scope_error(s) != 0;
  chx_scope_end(s);
  return (void *)wrong;
}

static void threads(void)
{
  chx_scope *s = chx_scope_begin("dnnl:0");
  pthread_t thread[2];
  void *wrong[2];
  chx_array *shared[8] = {NULL};
  const subject *t[] = {&thread_conv, &thread_matmul};
  thread_attr = conv_attr(2, 1, 1, 1, 0);
  chx_set_threads(1);
  for (int k = 0; k < 2; k++) {
    for (int j = 0; j < t[k]->n_in; j++) shared[2 + 3 * k + j] = random_array(s, CHX_F32, t[k]->shape[j]);
    const chx_array *const *in = (const chx_array *const *)&shared[2 + 3 * k];
    chx_apply(s, chx_op_find(t[k]->op), in, t[k]->n_in, t[k]->attr, &shared[k], 1);
  }
  chx_set_threads(0);
  for (int i = 0; i < 2; i++) pthread_create(&thread[i], NULL, repeat, shared);
  for (int i = 0; i < 2; i++) pthread_join(thread[i], &wrong[i]);
  is_int((intptr_t)wrong[0] + (intptr_t)wrong[1], 0, "two threads at once give the bits of one %s",
         chx_scope_message(s));
  chx_scope_end(s);
}

/* ---- without the library, and with a wrong option ---------------------------------------------------------------- */

/* The error of asking for dnnl:0 in a process with that option set, which is read when the plugin is opened. */
static void refused(const char *option, const char *value, const char *sentence, const char *what)
{
  char said[1024] = "";
  int ends[2], status = -1;
  if (pipe(ends)) return;
  fflush(stdout);
  const pid_t child = fork();
  if (!child) {
    setenv(option, value, 1);
    chx_scope *s = chx_scope_begin("dnnl:0");
    const char *text = chx_scope_message(s);
    _exit(write(ends[1], text, strlen(text)) < 0 || !chx_scope_error(s));
  }
  close(ends[1]);
  if (read(ends[0], said, sizeof said - 1) < 0) said[0] = 0;
  close(ends[0]);
  waitpid(child, &status, 0);
  ok(status == 0 && strstr(said, sentence), "%s: %s", what, said);
}

int main(void)
{
  unsetenv("CHX_DNNL_THRESHOLD");
  unsetenv("CHX_DNNL_LIBRARY");
  const char *dir = getenv("CHX_BUILDDIR");
  char path[4096];
  snprintf(path, sizeof path, "%s/.libs/chx_dnnl.so", dir ? dir : ".");
  if (access(path, F_OK)) {
    skip(1, "chx was configured without dnnl");
    return done_testing();
  }
  refused("CHX_DNNL_LIBRARY", "/nonexistent/libdnnl.so", "/nonexistent/libdnnl.so", "without the library");
  refused("CHX_DNNL_LIBRARY", path, "the library lacks", "another library in its place");
  chx_scope *s = chx_scope_begin("dnnl:0");
  if (chx_scope_error(s)) {
    note("%s", chx_scope_message(s));
    skip(1, "libdnnl is not installed");
  } else if (ok(find_stats(), "the plugin counts what runs on oneDNN")) {
    note("oneDNN %s", stats->version());
    all_operators();
    small_ones();
    many_plans();
    threads();
  }
  chx_scope_end(s);
  return done_testing();
}
