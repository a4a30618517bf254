/* SPDX-License-Identifier: MIT
 * test_hip.c: the hip plugin on a stand-in for AMD's libraries (fakegpu.h).
 */
#define PLUGIN "hip"
#define DLPACK 10
#define DRIVER_OPTION "CHX_HIP_LIBRARY"
#define COMPILER_OPTION "CHX_HIPRTC_LIBRARY"
#define OPTIONS DRIVER_OPTION, COMPILER_OPTION, "CHX_ROCBLAS_LIBRARY", "CHX_MIOPEN_LIBRARY"
#define COMPILED "Compile copy --offload-arch=gfx90a:sramecc+:xnack- -std=c++17 -ffp-contract=off"
#define LANGUAGE "hip-c"
#include "cudalike.h"
#include "cudalike_rtc.h"

#define DEV "hip:0"
#define SHAPE(...) (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__}

static void product(chx_scope *s, int dtype, bool turn, int na, const int64_t *a, int nb, const int64_t *b,
                    const char *want)
{
  chx_array *y[2];
  for (int i = 0; i < 2; i++) {
    const char *dev = i ? "native:0" : DEV;
    chx_array *x = numbers(s, dev, dtype, na, a, 3), *w = numbers(s, dev, dtype, nb, b, 8);
    if (turn) w = chx_transpose(s, w, 0, NULL);
    gpu.clear();
    y[i] = chx_matmul(s, x, w);
    if (!i) ok(strstr(last("rocblas_gemm"), want) != NULL, "%s: %s", want, last("rocblas_gemm"));
  }
  ok(same(y[0], y[1]), "the product: %s", chx_scope_message(s));
}

static void products(chx_scope *s)
{
  product(s, CHX_F32, false, SHAPE(3, 4), SHAPE(4, 5),
          "type 151 compute 151 ta 111 tb 111 m 5 n 3 k 4 ld 5 4 5 batch 1 steps 0 0 0 beta 0");
  product(s, CHX_F64, true, SHAPE(3, 4), SHAPE(5, 4), "type 152 compute 152 ta 112 tb 111 m 5 n 3 k 4 ld 4 4 5");
  product(s, CHX_F32, false, SHAPE(2, 6, 3, 4), SHAPE(2, 6, 4, 5), "batch 12 steps 20 12 15");
  gpu.clear();
  chx_matmul(s, numbers(s, DEV, CHX_F16, SHAPE(8, 8), 1), numbers(s, DEV, CHX_F16, SHAPE(8, 8), 2));
  ok(strstr(last("rocblas_gemm"), "type 150 compute 151") != NULL, "f16 is summed in f32: %s", last("rocblas_gemm"));
  chx_matmul(s, numbers(s, DEV, CHX_BF16, SHAPE(8, 8), 1), numbers(s, DEV, CHX_BF16, SHAPE(8, 8), 2));
  ok(strstr(last("rocblas_gemm"), "type 168 compute 151") != NULL, "bf16, too: %s", last("rocblas_gemm"));
  is_int(count("rocblas_create_handle"), 0, "one handle serves the queue");
}

static void linear(chx_scope *s)
{
  chx_array *y[2];
  for (int i = 0; i < 2; i++) {
    const char *dev = i ? "native:0" : DEV;
    y[i] = chx_linear(s, numbers(s, dev, CHX_F32, SHAPE(6, 4), 3), numbers(s, dev, CHX_F32, SHAPE(5, 4), 8), NULL);
  }
  ok(same(y[0], y[1]), "linear: %s", chx_scope_message(s));
  chx_array *x = numbers(s, DEV, CHX_F32, SHAPE(6, 4), 3), *w = numbers(s, DEV, CHX_F32, SHAPE(5, 4), 8);
  chx_array *b = numbers(s, DEV, CHX_F32, SHAPE(5), 8);
  gpu.clear();
  chx_linear(s, x, w, b);
  int copied = -1, added = -1;
  for (int i = 0; i < gpu.lines(); i++) {
    if (strstr(gpu.line(i), "Launch copy")) copied = i;
    if (strstr(gpu.line(i), "rocblas_gemm")) added = i;
  }
  ok(copied >= 0 && added > copied && strstr(gpu.line(added), "beta 1"),
     "a bias is copied first, the product added to it: %s",
     gpu.line(added));
  gpu.state->fail = 6;
  gpu.state->fail_at = "rocblas_gemm";
  ok(!chx_linear(s, x, w, NULL) && strstr(chx_scope_message(s), "rocblas_status_stand_in (6)"),
     "rocBLAS's code and text: %s",
     chx_scope_message(s));
  chx_scope_clear(s);
}

/* ---- convolutions ------------------------------------------------------------------------------------------------ */

static void conv(chx_scope *s, const chx_conv_attr *attr, int nx, const int64_t *x, int nw, const int64_t *w,
                 const char *want)
{
  convolution(s, DEV, "MIOpen", attr, false, nx, x, nw, w, want, NULL);
}

static void convolutions(chx_scope *s)
{
  chx_conv_attr p = CHX_ATTR(conv);
  conv(s, &p, SHAPE(2, 3, 7, 6), SHAPE(4, 3, 3, 2),
       "type 1 solution 72 groups 1 axes 2 channels first first first deterministic 1 workspace 512");
  p.stride = CHX_INTS(2, 1);
  p.pad = CHX_INTS(1, 2);
  p.dilation = CHX_INTS(1, 2);
  p.groups = 2;
  conv(s, &p, SHAPE(2, 4, 8, 9), SHAPE(6, 2, 3, 2), "groups 2 axes 2 channels first first first");
  p.layout = CHX_CHANNELS_LAST;
  conv(s, &p, SHAPE(2, 8, 9, 4), SHAPE(6, 3, 2, 2), "groups 2 axes 2 channels last last last");
  chx_conv_attr line = CHX_ATTR(conv);
  line.pad = CHX_INTS(1);
  line.stride = CHX_INTS(2);
  conv(s, &line, SHAPE(2, 3, 9), SHAPE(4, 3, 3), "axes 2 channels first first first");
  line.layout = CHX_CHANNELS_LAST;
  conv(s, &line, SHAPE(2, 9, 3), SHAPE(4, 3, 3), "axes 2 channels last last last");
  chx_conv_attr solid = CHX_ATTR(conv);
  solid.pad = CHX_INTS(0, 1, 1);
  conv(s, &solid, SHAPE(1, 2, 4, 5, 6), SHAPE(3, 2, 2, 3, 3), "axes 3 channels first first first");
}

static void plans(chx_scope *s)
{
  chx_array *x = numbers(s, DEV, CHX_F32, SHAPE(3, 2, 6, 5), 1), *w = numbers(s, DEV, CHX_F32, SHAPE(2, 2, 3, 3), 2);
  chx_conv_attr p = CHX_ATTR(conv);
  gpu.clear();
  for (int i = 0; i < 3; i++) chx_conv(s, x, w, NULL, &p);
  is_int(count("GetSolution"), 1, "solutions are asked for once a signature");
  is_int(count("compile solution"), 2, "and compiled, until one is: neither the one that wants 2^40 bytes");
  ok(count("conv mode 0") == 3 && !count("miopenCreateWithStream"), "and one handle serves the queue");
  p.pad = CHX_INTS(1, 1);
  chx_conv(s, x, w, NULL, &p);
  is_int(count("GetSolution"), 2, "another attribute is another plan");
  chx_conv(s, numbers(s, DEV, CHX_F32, SHAPE(2, 2, 6, 5), 1), w, NULL, &p);
  is_int(count("GetSolution"), 3, "and another shape");
}

static void halves(chx_scope *s)
{
  gpu.clear();
  chx_conv(s, numbers(s, DEV, CHX_F16, SHAPE(1, 8, 6, 6), 1), numbers(s, DEV, CHX_F16, SHAPE(8, 8, 3, 3), 2), NULL,
           NULL);
  ok(strstr(last("conv mode 0"), "type 0 solution") != NULL, "f16: %s", last("conv mode 0"));
  chx_conv(s, numbers(s, DEV, CHX_BF16, SHAPE(1, 8, 6, 6), 1), numbers(s, DEV, CHX_BF16, SHAPE(8, 8, 3, 3), 2), NULL,
           NULL);
  ok(strstr(last("conv mode 0"), "type 5 solution") != NULL, "bf16: %s", last("conv mode 0"));
}

/* What adds the bias: y, and the bias at these strides, to y. */
static struct { void *x0, *x1, *y; unsigned char geom[GPU_GEOM_BYTES]; size_t bytes; int calls; } bias;
static void watch_bias(const char *kernel, unsigned groups, unsigned threads, void **p)
{
  (void)groups, (void)threads;
  if (strcmp(kernel, "map")) return;
  bias.calls++;
  bias.x0 = *(void **)p[0];
  bias.x1 = *(void **)p[2];
  bias.y = *(void **)p[4];
  memcpy(bias.geom, p[5], bias.bytes);
}

static void with_bias(chx_scope *s, int layout, int nx, const int64_t *x, int nw, const int64_t *w,
                      int ny, const int64_t *y, const int64_t *steps)
{
  int64_t dense[4], n = 1;
  unsigned char want[GPU_GEOM_BYTES];
  gpu_geometry g;
  chx_conv_attr p = CHX_ATTR(conv);
  p.layout = layout;
  for (int d = ny; d-- > 0; n *= y[d]) dense[d] = n;
  const chx_tensor out = {.ndim = ny, .shape = y, .strides = dense, .bits = 32, .lanes = 1},
                   add = {.ndim = ny, .shape = y, .strides = steps, .bits = 32, .lanes = 1},
                   *const op[3] = {&out, &out, &add};
  gpu_geometry_of(&g, ny, y, op, 3);
  bias.bytes = (size_t)gpu_pack_geom(&g, gpu_rank_bucket(g.nd), want);
  bias.calls = 0;
  gpu.clear();
  gpu.watch(watch_bias);
  chx_array *b = numbers(s, DEV, CHX_F32, SHAPE(w[0]), 4);
  ok(chx_conv(s, numbers(s, DEV, CHX_F32, nx, x, 1), numbers(s, DEV, CHX_F32, nw, w, 2), b, &p) && !chx_sync(s),
     "a convolution with a bias: %s", chx_scope_message(s));
  gpu.watch(NULL);
  int convolved = -1, added = -1;
  for (int i = 0; i < gpu.lines(); i++) {
    if (strstr(gpu.line(i), "conv mode 0")) convolved = i;
    if (strstr(gpu.line(i), "Launch map")) added = i;
  }
  ok(convolved >= 0 && added > convolved, "the bias is added after it, by the shared kernel");
  int64_t at[3]; /* of y, y and the bias, behind the count */
  memcpy(at, bias.geom + 8, sizeof at);
  memset(bias.geom + 8, 0, sizeof at);
  ok(bias.calls == 1 && bias.x0 == bias.y && at[0] == at[1] && (bias.x1 != bias.y || at[2] != at[0]),
     "to its own result");
  ok(!memcmp(bias.geom, want, bias.bytes), "along the channels");
}

static void left(chx_scope *s)
{
  chx_array *x = numbers(s, DEV, CHX_F32, SHAPE(1, 2, 6, 6), 1), *w = numbers(s, DEV, CHX_F32, SHAPE(2, 2, 3, 3), 2);
  gpu.clear();
  chx_conv(s, numbers(s, DEV, CHX_F64, SHAPE(1, 2, 6, 6), 1), numbers(s, DEV, CHX_F64, SHAPE(2, 2, 3, 3), 2), NULL,
           NULL);
  ok(!count("GetSolution") && count("Launch gemm") == 1, "f64 is the shared kernel's: %s", chx_scope_message(s));
  chx_conv(s, chx_transpose(s, x, 4, (int[]){0, 1, 3, 2}), w, NULL, NULL);
  ok(!count("GetSolution") && count("Launch gemm") == 2, "and what is not dense: %s", chx_scope_message(s));
  chx_array *dot = numbers(s, DEV, CHX_F32, SHAPE(1, 2, 1, 1), 1), *k = numbers(s, DEV, CHX_F32, SHAPE(2, 2, 1, 1), 2);
  for (int i = 0; i < 2; i++) chx_conv(s, dot, k, NULL, NULL);
  ok(count("GetSolution") == 1 && count("Launch gemm") == 4, "and what MIOpen has no solution for: %s",
     chx_scope_message(s));
  gpu.state->fail = 6; /* miopenStatusNotImplemented */
  gpu.state->fail_at = "miopenConvolutionForwardGetSolution";
  ok(chx_conv(s, numbers(s, DEV, CHX_F32, SHAPE(1, 2, 9, 6), 1), w, NULL, NULL) && count("Launch gemm") == 5,
     "or says so: %s", chx_scope_message(s));
  gpu.state->fail = 4; /* miopenStatusAllocFailed */
  gpu.state->fail_at = "miopenConvolutionForwardGetSolution";
  ok(!chx_conv(s, numbers(s, DEV, CHX_F32, SHAPE(1, 2, 8, 6), 1), w, NULL, NULL) && chx_scope_error(s) == CHX_ENOMEM &&
       strstr(chx_scope_message(s), "finding a convolution of MIOpen: miopenStatusStandIn (4)"),
     "no memory is an error: %s", chx_scope_message(s));
  chx_scope_clear(s);
  gpu.state->fail = 7;
  gpu.state->fail_at = "miopenConvolution";
  ok(!chx_conv(s, x, w, NULL, NULL) &&
       strstr(chx_scope_message(s), "a convolution of MIOpen: miopenStatusStandIn (7)"),
     "MIOpen's code and text: %s", chx_scope_message(s));
  chx_scope_clear(s);
}

/* ---- libraries that are missing ---------------------------------------------------------------------------------- */

static int lines_logged;
static char logged[512];
static void listen(void *ctx, int level, const char *text)
{
  (void)ctx, (void)level;
  if (!strstr(text, "MIOpen")) return;
  lines_logged++;
  snprintf(logged, sizeof logged, "%s", text);
}

static void no_libraries(void)
{
  chx_set_log(listen, NULL, 2);
  setenv("CHX_ROCBLAS_LIBRARY", "/nowhere/librocblas.so", 1);
  setenv("CHX_MIOPEN_LIBRARY", "/nowhere/libMIOpen.so", 1);
  chx_scope *s = chx_scope_begin(DEV);
  ok(chx_matmul(s, numbers(s, DEV, CHX_F32, SHAPE(8, 8), 1), numbers(s, DEV, CHX_F32, SHAPE(8, 8), 2)) &&
     count("Launch gemm") == 1,
     "matmul: %s", chx_scope_message(s));
  ok(chx_conv(s, numbers(s, DEV, CHX_F32, SHAPE(1, 2, 6, 6), 1), numbers(s, DEV, CHX_F32, SHAPE(2, 2, 3, 3), 2), NULL,
              NULL) &&
       count("Launch gemm") == 2, "conv: %s", chx_scope_message(s));
  chx_conv(s, numbers(s, DEV, CHX_F32, SHAPE(1, 2, 6, 6), 1), numbers(s, DEV, CHX_F32, SHAPE(2, 2, 3, 3), 2), NULL,
           NULL);
  ok(lines_logged == 1 && strstr(logged, "without a library: /nowhere/libMIOpen.so"), "which is said once: %s", logged);
}

/* MIOpen is there, but fails at `call`. */
static void bad_library(const char *call)
{
  chx_set_log(listen, NULL, 1);
  chx_scope *s = chx_scope_begin(DEV);
  chx_array *x = numbers(s, DEV, CHX_F32, SHAPE(1, 2, 6, 6), 1), *w = numbers(s, DEV, CHX_F32, SHAPE(2, 2, 3, 3), 2);
  gpu.state->fail = 5; /* miopenStatusInternalError */
  gpu.state->fail_at = call;
  ok(chx_conv(s, x, w, NULL, NULL) && chx_conv(s, x, w, NULL, NULL) && count("Launch gemm") == 2, "conv: %s",
     chx_scope_message(s));
  ok(!count("conv mode") && count("GetSolution") <= 1, "MIOpen is not tried again");
  ok(lines_logged == 1 && strstr(logged, DEV ": MIOpen is not used: miopenStatusStandIn"), "which is said once: %s",
     logged);
}

static void no_handle(void) { bad_library("miopenCreateWithStream"); }
static void no_database(void) { bad_library("miopenConvolutionForwardGetSolution"); }

static void reference_conv(void)
{
  setenv("CHX_REFERENCE", "1", 1);
  chx_scope *s = chx_scope_begin(DEV);
  ok(chx_conv(s, numbers(s, DEV, CHX_F32, SHAPE(1, 2, 6, 6), 1), numbers(s, DEV, CHX_F32, SHAPE(2, 2, 3, 3), 2), NULL,
              NULL) &&
       !count("GetSolution") && count("Launch gemm") == 1, "conv: %s", chx_scope_message(s));
}

int main(void)
{
  alarm(300); /* a deadlock is a failure, not a hang */
  if (!ok(prepared(), "the plugin and the stand-in are there")) return done_testing();
  in_child(no_libraries, "without rocBLAS the shared kernels serve");
  in_child(no_handle, "where MIOpen does not start they serve, too");
  in_child(no_database, "and where it cannot look for solutions");
  in_child(reference_mode, "in the reference mode the shared kernels serve");
  in_child(reference_conv, "for convolutions, too");
  others_kernels();
  by_the_abi();
  chx_scope *s = chx_scope_begin(DEV);
  if (!ok(s && !chx_scope_error(s), "the core finds the device: %s",
          s ? chx_scope_message(s) : "")) return done_testing();
  products(s);
  linear(s);
  convolutions(s);
  plans(s);
  halves(s);
  static const int64_t first[] = {0, 1, 0, 0}, last_axis[] = {0, 0, 0, 1};
  with_bias(s, CHX_CHANNELS_FIRST, SHAPE(2, 3, 6, 5), SHAPE(4, 3, 3, 3), SHAPE(2, 4, 4, 3), first);
  with_bias(s, CHX_CHANNELS_LAST, SHAPE(2, 6, 5, 3), SHAPE(4, 3, 3, 3), SHAPE(2, 4, 3, 4), last_axis);
  left(s);
  late_index(s, DEV);
  tensors(s, DEV);
  late_index_captured(s, DEV);
  captured_chain(s, DEV);
  chx_scope_end(s);
  return done_testing();
}
