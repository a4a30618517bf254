/* SPDX-License-Identifier: MIT
 * test_hip.c: the hip plugin on a stand-in for AMD's libraries (fakegpu.h).
 */
#define PLUGIN "hip"
#define DLPACK 10
#define DRIVER_OPTION "CHX_HIP_LIBRARY"
#define COMPILER_OPTION "CHX_HIPRTC_LIBRARY"
#define OPTIONS DRIVER_OPTION, COMPILER_OPTION, "CHX_ROCBLAS_LIBRARY"
#define COMPILED "Compile copy --offload-arch=gfx90a:sramecc+:xnack- -std=c++17 -ffp-contract=off"
#include "cudalike.h"

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

static void no_libraries(void)
{
  setenv("CHX_ROCBLAS_LIBRARY", "/nowhere/librocblas.so", 1);
  chx_scope *s = chx_scope_begin(DEV);
  ok(chx_matmul(s, numbers(s, DEV, CHX_F32, SHAPE(8, 8), 1), numbers(s, DEV, CHX_F32, SHAPE(8, 8), 2)) &&
     count("Launch gemm") == 1,
     "matmul: %s", chx_scope_message(s));
}

int main(void)
{
  alarm(300); /* a deadlock is a failure, not a hang */
  if (!ok(prepared(), "the plugin and the stand-in are there")) return done_testing();
  in_child(no_libraries, "without rocBLAS the shared kernels serve");
  in_child(reference_mode, "in the reference mode the shared kernels serve");
  by_the_abi();
  chx_scope *s = chx_scope_begin(DEV);
  if (!ok(s && !chx_scope_error(s), "the core finds the device: %s",
          s ? chx_scope_message(s) : "")) return done_testing();
  products(s);
  linear(s);
  late_index(s, DEV);
  tensors(s, DEV);
  chx_scope_end(s);
  return done_testing();
}
