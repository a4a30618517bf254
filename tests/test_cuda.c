/* SPDX-License-Identifier: MIT
 * test_cuda.c: the cuda plugin on a stand-in for NVIDIA's libraries (fakegpu.h), since few machines have the real ones.
 */
#define PLUGIN "cuda"
#define DLPACK 2
#define DRIVER_OPTION "CHX_CUDA_LIBRARY"
#define COMPILER_OPTION "CHX_NVRTC_LIBRARY"
#define OPTIONS DRIVER_OPTION, COMPILER_OPTION, "CHX_CUBLAS_LIBRARY", "CHX_CUDNN_LIBRARY", "CHX_CURAND_LIBRARY"
#define COMPILED "Compile copy --gpu-architecture=sm_90 --std=c++17 -fmad=false"
#define LANGUAGE "cuda-c"
#include "cudalike.h"
#include "cudalike_rtc.h"
#include "fakerand.h"

#define DEV "cuda:0"

/* ---- architectures ----------------------------------------------------------------------------------------------- */

static void newer_device(void)
{
  gpu.state->arch = 103; /* the compiler has 80, 90 and 120 */
  is_int(copy_once(), CHX_OK, "it runs");
  ok(count("Compile copy --gpu-architecture=compute_90") == 1 && strstr(last("ModuleLoad"), "ptx copy"), "%s",
     last("ModuleLoad"));
}

static void known_device(void)
{
  gpu.state->arch = 120;
  is_int(copy_once(), CHX_OK, "it runs");
  ok(count("Compile copy --gpu-architecture=sm_120") == 1 && strstr(last("ModuleLoad"), "cubin copy"), "%s",
     last("ModuleLoad"));
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

#define SHAPE(...) (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__}

static void product(chx_scope *s, int dtype, const int *turn, int na, const int64_t *a, int nb, const int64_t *b,
                    const char *want)
{
  chx_array *y[2];
  for (int i = 0; i < 2; i++) {
    const char *dev = i ? "native:0" : DEV;
    chx_array *x = numbers(s, dev, dtype, na, a, 3), *w = numbers(s, dev, dtype, nb, b, 8);
    if (turn[0]) x = chx_transpose(s, x, 0, NULL);
    if (turn[1]) w = chx_transpose(s, w, 0, NULL);
    gpu.clear();
    y[i] = chx_matmul(s, x, w);
    if (!i) ok(strstr(last("cublasLtMatmul"), want) != NULL, "%s: %s", want, last("cublasLtMatmul"));
  }
  ok(same(y[0], y[1]), "the product: %s", chx_scope_message(s));
}

static void products(chx_scope *s)
{
  static const int plain[2] = {0, 0}, left[2] = {1, 0}, right[2] = {0, 1}, both[2] = {1, 1};
  product(s, CHX_F32, plain, SHAPE(3, 4), SHAPE(4, 5), "ta 0 tb 0 a 5x4/5 b 4x3/4 d 5x3/5 batch 1");
  product(s, CHX_F32, left, SHAPE(4, 3), SHAPE(4, 5), "ta 0 tb 1 a 5x4/5 b 3x4/3 d 5x3/5 batch 1");
  product(s, CHX_F32, right, SHAPE(3, 4), SHAPE(5, 4), "ta 1 tb 0 a 4x5/4 b 4x3/4 d 5x3/5 batch 1");
  product(s, CHX_F64, both, SHAPE(4, 3), SHAPE(5, 4), "type 1 compute 70 scale 1 ta 1 tb 1");
  product(s, CHX_F32, plain, SHAPE(2, 6, 3, 4), SHAPE(2, 6, 4, 5), "batch 12 steps 20 12 15");
  product(s, CHX_F32, plain, SHAPE(6, 3, 4), SHAPE(4, 5), "batch 6 steps 0 12 15");
  product(s, CHX_F32, plain, SHAPE(1, 4), SHAPE(4, 1), "d 1x1/1 batch 1");
  gpu.clear();
  chx_array *x = numbers(s, DEV, CHX_F32, SHAPE(3, 4), 1), *w = numbers(s, DEV, CHX_F32, SHAPE(4, 5), 2);
  for (int i = 0; i < 5; i++) chx_matmul(s, x, w);
  ok(count("heuristic") <= 2 && count("cublasLtMatmul") == 5, "algorithms are asked for once a signature: %d",
     count("heuristic"));
  chx_matmul(s, x, numbers(s, DEV, CHX_F32, SHAPE(4, 6), 2));
  ok(count("align 16 schemes 2") >= 1 && count("align 4 schemes 2") >= 1,
     "for aligned operands and others, summing in f32");
  ok(strstr(last("cublasLtMatmul"), "align 16 workspace 4112") != NULL, "aligned ones take theirs: %s",
     last("cublasLtMatmul"));
  chx_array *big = numbers(s, DEV, CHX_F32, SHAPE(5, 4), 1);
  chx_slice_attr from = CHX_ATTR(slice);
  from.start = CHX_INTS(1, 1);
  from.stop = CHX_INTS(5, 4);
  chx_array *part = chx_slice(s, big, &from); /* [4, 3] at rows of 4, at 20 bytes */
  chx_array *y = chx_matmul(s, part, numbers(s, DEV, CHX_F32, SHAPE(3, 2), 5));
  ok(strstr(last("cublasLtMatmul"), "b 3x4/4") && strstr(last("cublasLtMatmul"), "align 4 "), "a part of a matrix: %s",
     last("cublasLtMatmul"));
  chx_array *host_part = chx_slice(s, numbers(s, "native:0", CHX_F32, SHAPE(5, 4), 1), &from);
  ok(same(y, chx_matmul(s, host_part, numbers(s, "native:0", CHX_F32, SHAPE(3, 2), 5))), "its product: %s",
     chx_scope_message(s));
}

static void halves(chx_scope *s)
{
  gpu.clear();
  chx_matmul(s, numbers(s, DEV, CHX_F16, SHAPE(8, 8), 1), numbers(s, DEV, CHX_F16, SHAPE(8, 8), 2));
  ok(strstr(last("cublasLtMatmul"), "type 2 compute 68 scale 0") != NULL, "f16 is summed in f32: %s",
     last("cublasLtMatmul"));
  gpu.clear();
  chx_matmul(s, numbers(s, DEV, CHX_BF16, SHAPE(8, 8), 1), numbers(s, DEV, CHX_BF16, SHAPE(8, 8), 2));
  ok(!count("cublasLtMatmul") && count("Launch gemm") == 1, "what cuBLASLt has not, the shared kernel does: %s",
     chx_scope_message(s));
  gpu.clear();
  chx_matmul(s, numbers(s, DEV, CHX_BF16, SHAPE(8, 8), 1), numbers(s, DEV, CHX_BF16, SHAPE(8, 8), 2));
  ok(!count("heuristic") && count("Launch gemm") == 1, "without asking again");
  gpu.clear();
  chx_matmul(s, numbers(s, DEV, CHX_I32, SHAPE(8, 8), 1), numbers(s, DEV, CHX_I32, SHAPE(8, 8), 2));
  ok(!count("cublasLtMatmul") && count("Launch gemm") == 1, "integers are the shared kernel's");
  chx_scope_set_device(s, DEV);
  gpu.clear();
  chx_matmul(s, chx_zeros(s, CHX_F32, SHAPE(3, 0)), chx_zeros(s, CHX_F32, SHAPE(0, 4)));
  ok(!count("cublasLtMatmul"), "and what is empty");
}

static void linear(chx_scope *s)
{
  chx_array *y[2];
  for (int i = 0; i < 2; i++) {
    const char *dev = i ? "native:0" : DEV;
    gpu.clear();
    chx_array *x = numbers(s, dev, CHX_F32, SHAPE(6, 4), 3), *w = numbers(s, dev, CHX_F32, SHAPE(5, 4), 8);
    y[i] = chx_linear(s, x, w, numbers(s, dev, CHX_F32, SHAPE(5), 1));
    if (!i) ok(strstr(last("cublasLtMatmul"), "ta 1 tb 0 a 4x5/4 b 4x6/4 d 5x6/5") && strstr(last("cublasLtMatmul"), "bias 1"),
               "linear, the bias in its epilogue: %s", last("cublasLtMatmul"));
  }
  ok(same(y[0], y[1]), "linear: %s", chx_scope_message(s));
  chx_array *x = numbers(s, DEV, CHX_F32, SHAPE(6, 4), 3), *w = numbers(s, DEV, CHX_F32, SHAPE(5, 4), 8);
  gpu.clear();
  ok(chx_linear(s, x, w, NULL) && strstr(last("cublasLtMatmul"), "bias 0"), "without one: %s", last("cublasLtMatmul"));
  gpu.state->fail = 13; /* CUBLAS_STATUS_EXECUTION_FAILED */
  gpu.state->fail_at = "cublasLtMatmul";
  ok(!chx_linear(s, x, w, NULL) && strstr(chx_scope_message(s), "cublasLtMatmul: CUBLAS_STATUS_EXECUTION_FAILED (13)"),
     "cuBLASLt's code and text: %s", chx_scope_message(s));
  chx_scope_clear(s);
}

static void tf32(void)
{
  setenv("CHX_CUDA_TF32", "1", 1);
  chx_scope *s = chx_scope_begin(DEV);
  chx_matmul(s, numbers(s, DEV, CHX_F32, SHAPE(8, 8), 1), numbers(s, DEV, CHX_F32, SHAPE(8, 8), 2));
  ok(strstr(last("cublasLtMatmul"), "compute 77 ") != NULL, "by TF32: %s", last("cublasLtMatmul"));
}

/* ---- convolutions ------------------------------------------------------------------------------------------------ */

static void conv(chx_scope *s, const chx_conv_attr *attr, bool bias, int nx, const int64_t *x, int nw,
                 const int64_t *w, const char *want)
{
  convolution(s, DEV, "cuDNN", attr, bias, nx, x, nw, w, want, "cudnnAddTensor");
}

static void convolutions(chx_scope *s)
{
  chx_conv_attr p = CHX_ATTR(conv);
  conv(s, &p, false, SHAPE(2, 3, 7, 6), SHAPE(4, 3, 3, 2),
       "type 0 compute 0 math 3 algo 2 groups 1 axes 2 format 0 workspace 512");
  p.stride = CHX_INTS(2, 1);
  p.pad = CHX_INTS(1, 2);
  p.dilation = CHX_INTS(1, 2);
  p.groups = 2;
  conv(s, &p, true, SHAPE(2, 4, 8, 9), SHAPE(6, 2, 3, 2), "groups 2 axes 2 format 0");
  p.layout = CHX_CHANNELS_LAST;
  conv(s, &p, true, SHAPE(2, 8, 9, 4), SHAPE(6, 3, 2, 2), "groups 2 axes 2 format 1");
  chx_conv_attr line = CHX_ATTR(conv);
  line.pad = CHX_INTS(1);
  line.stride = CHX_INTS(2);
  conv(s, &line, true, SHAPE(2, 3, 9), SHAPE(4, 3, 3), "axes 2 format 0");
  line.layout = CHX_CHANNELS_LAST;
  conv(s, &line, false, SHAPE(2, 9, 3), SHAPE(4, 3, 3), "axes 2 format 1");
  chx_conv_attr solid = CHX_ATTR(conv);
  solid.pad = CHX_INTS(0, 1, 1);
  conv(s, &solid, false, SHAPE(1, 2, 4, 5, 6), SHAPE(3, 2, 2, 3, 3), "axes 3 format 0");
  gpu.clear();
  chx_conv(s, numbers(s, DEV, CHX_F16, SHAPE(1, 8, 6, 6), 1), numbers(s, DEV, CHX_F16, SHAPE(8, 8, 3, 3), 2),
           numbers(s, DEV, CHX_F16, SHAPE(8), 2), NULL);
  ok(count("fused bias of 8, activation 5") == 1 && strstr(last("conv mode 0"), "type 2 compute 0 math 1 algo 1"),
     "f16 with a bias is fused, summed in f32: %s", last("conv mode 0"));
  gpu.clear();
  chx_conv(s, numbers(s, DEV, CHX_F64, SHAPE(1, 2, 6, 6), 1), numbers(s, DEV, CHX_F64, SHAPE(2, 2, 3, 3), 2), NULL,
           NULL);
  ok(!count("conv mode") && count("Launch gemm") == 1, "what cuDNN has not, the shared kernel does: %s",
     chx_scope_message(s));
  chx_array *image = numbers(s, DEV, CHX_F32, SHAPE(1, 2, 6, 6), 1);
  chx_array *w = numbers(s, DEV, CHX_F32, SHAPE(2, 2, 3, 3), 2);
  gpu.clear();
  for (int i = 0; i < 2; i++) chx_conv(s, chx_broadcast_to(s, image, SHAPE(3, 2, 6, 6)), w, NULL, NULL);
  ok(!count("conv mode") && !count("Algorithm_v7") && count("Launch gemm") == 2, "and images that are one again: %s",
     chx_scope_message(s));
  gpu.state->fail = 5000; /* CUDNN_STATUS_EXECUTION_FAILED */
  gpu.state->fail_at = "cudnn";
  ok(!chx_conv(s, numbers(s, DEV, CHX_F32, SHAPE(1, 2, 6, 6), 1), numbers(s, DEV, CHX_F32, SHAPE(2, 2, 3, 3), 2), NULL,
               NULL) &&
       strstr(chx_scope_message(s), "CUDNN_STATUS_STAND_IN (5000)"), "cuDNN's code and text: %s", chx_scope_message(s));
  chx_scope_clear(s);
}

/* ---- pooling and normalisation ----------------------------------------------------------------------------------- */

static void pooled(chx_scope *s, const chx_pool_attr *p, int n, const int64_t *shape, const char *want)
{
  gpu.clear();
  chx_array *y = chx_avg_pool(s, numbers(s, DEV, CHX_F32, n, shape, 3), p);
  if (want)
    ok(strstr(last("pool mode"), want) && !count("Launch"), "%s: %s %s", want, last("pool mode"), chx_scope_message(s));
  else ok(!count("pool mode") && count("Launch pool") == 1, "left to the shared kernel: %s", chx_scope_message(s));
  if (want)
    ok(same(y, chx_avg_pool(s, numbers(s, "native:0", CHX_F32, n, shape, 3), p)), "the means: %s",
       chx_scope_message(s));
}

static void pools(chx_scope *s)
{
  chx_pool_attr p = CHX_ATTR(pool);
  p.ksize = CHX_INTS(2, 2);
  pooled(s, &p, SHAPE(2, 3, 6, 8), "mode 1 type 0 axes 2");
  p.ksize = CHX_INTS(4, 2);
  p.stride = CHX_INTS(2, 1);
  p.pad = CHX_INTS(1, 1);
  pooled(s, &p, SHAPE(2, 3, 7, 8), "mode 1 type 0 axes 2");
  p.exclude_pad = 1;
  p.layout = CHX_CHANNELS_LAST;
  pooled(s, &p, SHAPE(2, 7, 8, 3), "mode 2 type 0 axes 2");
  p.cover_all = 1;
  pooled(s, &p, SHAPE(2, 6, 8, 3), "mode 2 type 0 axes 2");
  pooled(s, &p, SHAPE(2, 7, 8, 3), NULL); /* 4 windows, where cuDNN has 3 */
  chx_pool_attr line = CHX_ATTR(pool), solid = CHX_ATTR(pool);
  line.ksize = CHX_INTS(3);
  pooled(s, &line, SHAPE(2, 3, 9), "mode 1 type 0 axes 2");
  solid.ksize = CHX_INTS(2, 1, 2);
  pooled(s, &solid, SHAPE(1, 2, 4, 3, 4), "mode 1 type 0 axes 3");
  chx_array *x = numbers(s, DEV, CHX_F32, SHAPE(1, 1, 4, 4), 3);
  gpu.clear();
  p = (chx_pool_attr)CHX_ATTR(pool);
  p.ksize = CHX_INTS(2, 2);
  gpu.state->fail = 3000; /* CUDNN_STATUS_NOT_SUPPORTED */
  gpu.state->fail_at = "cudnnPoolingForward";
  for (int i = 0; i < 2; i++) chx_avg_pool(s, x, &p);
  ok(!count("pool mode") && count("Launch pool") == 2, "what cuDNN has not is not asked for again: %s",
     chx_scope_message(s));
  gpu.state->fail = 5000;
  gpu.state->fail_at = "cudnnPoolingForward";
  p.ksize = CHX_INTS(4, 4);
  ok(!chx_avg_pool(s, x, &p) && strstr(chx_scope_message(s), "cudnnPoolingForward: CUDNN_STATUS_STAND_IN (5000)"), "%s",
     chx_scope_message(s));
  chx_scope_clear(s);
  chx_avg_pool(s, numbers(s, DEV, CHX_F64, SHAPE(1, 1, 4, 4), 3), &p);
  ok(strstr(last("pool mode"), "type 1") != NULL, "f64: %s", last("pool mode"));
  gpu.clear();
  chx_avg_pool(s, numbers(s, DEV, CHX_F16, SHAPE(1, 1, 4, 4), 3), &p);
  ok(strstr(last("pool mode"), "type 0") != NULL, "f16 is widened by the core: %s %s", last("pool mode"),
     chx_scope_message(s));
}

static void normed(chx_scope *s, int layout, int n, const int64_t *shape, int64_t channels)
{
  static const double variances[] = {0, 12, 60}; /* with eps, squares: all is exact */
  chx_batch_norm_attr p = CHX_ATTR(batch_norm);
  chx_array *y[2];
  p.layout = layout;
  p.eps = 4;
  for (int i = 0; i < 2; i++) {
    const char *dev = i ? "native:0" : DEV;
    chx_array *of[3], *x = numbers(s, dev, CHX_F32, n, shape, 3),
                      *var = chx_from_shape(s, CHX_F32, 1, &channels, variances);
    for (int k = 0; k < 3; k++) of[k] = numbers(s, dev, CHX_F32, 1, &channels, k + 4);
    gpu.clear();
    y[i] = chx_fixed_batch_norm(s, x, of[0], of[1], of[2], var, &p);
    if (!i)
      ok(count("norm mode 1 type 0 channels") == 1 && !count("Launch"), "one call of cuDNN: %s", last("norm mode"));
  }
  ok(same(y[0], y[1]), "the normalised: %s", chx_scope_message(s));
}

static void norms(chx_scope *s)
{
  chx_batch_norm_attr p = CHX_ATTR(batch_norm);
  normed(s, CHX_CHANNELS_FIRST, SHAPE(2, 3, 4, 5), 3);
  normed(s, CHX_CHANNELS_LAST, SHAPE(2, 4, 5, 3), 3);
  normed(s, CHX_CHANNELS_FIRST, SHAPE(2, 3, 7), 3);
  normed(s, CHX_CHANNELS_LAST, SHAPE(1, 2, 3, 4, 2), 2);
  for (int dtype = CHX_F16; dtype <= CHX_F64; dtype++) {
    chx_array *c = numbers(s, DEV, dtype, SHAPE(3), 1);
    gpu.clear();
    chx_array *y = chx_fixed_batch_norm(s, numbers(s, DEV, dtype, SHAPE(2, 3, 4), 3), c, c, c, c, &p);
    ok(y && count("norm mode 1 type 1") == (dtype == CHX_F64), "dtype %d: %s %s", dtype, last("norm mode"),
       chx_scope_message(s));
  }
  chx_array *c = numbers(s, DEV, CHX_F32, SHAPE(3), 1), *x = numbers(s, DEV, CHX_F32, SHAPE(2, 3), 3);
  gpu.clear();
  ok(chx_fixed_batch_norm(s, x, c, c, c, c, &p) && !count("norm mode") && count("Launch") > 2,
     "of [N, C] it is composed: %s", chx_scope_message(s));
  p.eps = -1;
  x = numbers(s, DEV, CHX_F32, SHAPE(2, 3, 4), 3);
  gpu.clear();
  ok(chx_fixed_batch_norm(s, x, c, c, c, c, &p) && !count("norm mode"), "and with an epsilon below cuDNN's: %s",
     chx_scope_message(s));
}

/* ---- generators -------------------------------------------------------------------------------------------------- */

static chx_array *drawn(chx_scope *s, const char *op, int dtype, int generator, int64_t counter, int64_t n)
{
  chx_random_attr p = CHX_ATTR(random);
  chx_array *y = NULL;
  p.shape = CHX_INTS(n);
  p.dtype = dtype;
  p.seed = 42;
  p.counter = counter;
  p.generator = generator;
  chx_scope_set_device(s, DEV);
  return chx_apply(s, chx_op_find(op), NULL, 0, &p, &y, 1) ? NULL : y;
}

static int wrong_words(chx_scope *s, chx_array *y, int kind, uint64_t first)
{
  uint32_t v[64];
  int wrong = 0;
  if (!y || chx_nbytes(y) > (int64_t)sizeof v || chx_read(s, y, v, (size_t)chx_nbytes(y))) return -1;
  for (int64_t i = 0; i < chx_nbytes(y) / 4; i++) wrong += v[i] != fake_word(kind, 42, first + (uint64_t)i);
  return wrong;
}

static void generators(chx_scope *s)
{
  gpu.clear();
  chx_array *y = drawn(s, "random_bits", CHX_U32, CHX_GENERATOR_XORWOW, 5, 7);
  ok(strstr(last("curandGenerate"), "kind 101 order 103 seed 42 offset 20 words 7") != NULL, "xorwow: %s",
     last("curandGenerate"));
  is_int(wrong_words(s, y, 101, 20), 0, "its words, on the queue: %s", chx_scope_message(s));
  y = drawn(s, "random_bits", CHX_U64, CHX_GENERATOR_MRG32K3A, 3, 6);
  ok(strstr(last("curandGenerate"), "kind 121 order 103 seed 42 offset 12 words 12") != NULL,
     "mrg32k3a, of 64 bits: %s", last("curandGenerate"));
  is_int(wrong_words(s, y, 121, 12), 0, "two words each: %s", chx_scope_message(s));
  drawn(s, "random_bits", CHX_U32, CHX_GENERATOR_XORWOW, 5, 7);
  is_int(count("curandCreateGenerator"), 2, "a generator is made once a queue and kind");
  drawn(s, "random_bits", CHX_U32, CHX_GENERATOR_XORWOW, 5, 0);
  is_int(count("curandGenerate"), 3, "nothing is asked for nothing");
  gpu.clear();
  drawn(s, "uniform", CHX_F32, CHX_GENERATOR_XORWOW, 5, 7);
  ok(count("curandGenerate") == 1 && strstr(last("curandGenerate"), "kind 101 order 103 seed 42 offset 20 words 7"),
     "uniform is made of its bits: %s", last("curandGenerate"));
  drawn(s, "normal", CHX_F32, CHX_GENERATOR_XORWOW, 5, 7);
  ok(count("curandGenerate") == 3 && strstr(last("curandGenerate"), "offset 28 words 7"),
     "and normal, whose second half follows: %s", last("curandGenerate"));
  gpu.clear();
  drawn(s, "random_bits", CHX_U32, CHX_GENERATOR_PHILOX, 5, 7);
  ok(!count("curand") && count("Launch random_bits") == 1, "Philox is the shared kernel's");
  gpu.state->fail = 201; /* CURAND_STATUS_LAUNCH_FAILURE */
  gpu.state->fail_at = "curandGenerate";
  ok(!drawn(s, "random_bits", CHX_U32, CHX_GENERATOR_XORWOW, 5, 7) && chx_scope_error(s) == CHX_EFAILED &&
       strstr(chx_scope_message(s), "curandGenerate: curandStatus 201"), "cuRAND's code: %s", chx_scope_message(s));
  chx_scope_clear(s);
}

static void bad_generator(void)
{
  chx_scope *s = chx_scope_begin(DEV);
  gpu.state->fail = 102; /* CURAND_STATUS_ALLOCATION_FAILED */
  gpu.state->fail_at = "curandCreateGenerator";
  ok(!drawn(s, "random_bits", CHX_U32, CHX_GENERATOR_XORWOW, 0, 7) && chx_scope_error(s) == CHX_ENOMEM, "%s",
     chx_scope_message(s));
}

static void no_generators(void)
{
  setenv("CHX_CURAND_LIBRARY", "/nowhere/libcurand.so", 1);
  chx_scope *s = chx_scope_begin(DEV);
  ok(!drawn(s, "random_bits", CHX_U32, CHX_GENERATOR_XORWOW, 0, 7) && chx_scope_error(s) == CHX_EUNSUPPORTED &&
       strstr(chx_scope_message(s), "there is no generator 'xorwow', want 'philox' (on cuda:0)"),
     "%s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(drawn(s, "random_bits", CHX_U32, CHX_GENERATOR_PHILOX, 0, 7) && count("Launch random_bits") == 1,
     "Philox serves: %s", chx_scope_message(s));
}

/* ---- libraries that are missing ---------------------------------------------------------------------------------- */

static void no_libraries(void)
{
  setenv("CHX_CUBLAS_LIBRARY", "/nowhere/libcublasLt.so", 1);
  setenv("CHX_CUDNN_LIBRARY", "/nowhere/libcudnn.so", 1);
  chx_scope *s = chx_scope_begin(DEV);
  ok(chx_matmul(s, numbers(s, DEV, CHX_F32, SHAPE(8, 8), 1), numbers(s, DEV, CHX_F32, SHAPE(8, 8), 2)) &&
     count("Launch gemm") == 1,
     "matmul: %s", chx_scope_message(s));
  ok(chx_conv(s, numbers(s, DEV, CHX_F32, SHAPE(1, 2, 6, 6), 1), numbers(s, DEV, CHX_F32, SHAPE(2, 2, 3, 3), 2), NULL,
              NULL) &&
       count("Launch gemm") == 2, "conv: %s", chx_scope_message(s));
}

/* Libraries that are there, but do not start: a driver that is too old for them, say. */
static void bad_libraries(void)
{
  chx_scope *s = chx_scope_begin(DEV);
  chx_array *x = numbers(s, DEV, CHX_F32, SHAPE(8, 8), 1);
  gpu.state->fail = 1;
  gpu.state->fail_at = "cublasLtCreate";
  ok(chx_matmul(s, x, x) && chx_matmul(s, x, x) && count("Launch gemm") == 2, "matmul: %s", chx_scope_message(s));
  ok(!count("cublasLtCreate"), "it is not tried again");
  gpu.state->fail_at = "cudnnCreate";
  chx_array *images = numbers(s, DEV, CHX_F32, SHAPE(1, 2, 6, 6), 1), *w = numbers(s, DEV, CHX_F32, SHAPE(2, 2, 3, 3),
                                                                                   2);
  ok(chx_conv(s, images, w, NULL, NULL) && chx_conv(s, images, w, NULL, NULL) && count("Launch gemm") == 4, "conv: %s",
     chx_scope_message(s));
  ok(!count("cudnnCreate"), "nor is cuDNN");
}

static void lazily(void)
{
  chx_scope *s = chx_scope_begin(DEV);
  chx_array *x = numbers(s, DEV, CHX_F32, SHAPE(8, 8), 1);
  ok(x && !count("cublasLtCreate") && !count("cudnnCreate") && !count("Compile"),
     "arrays need neither library nor compiler");
  chx_matmul(s, x, x);
  ok(count("cublasLtCreate") == 1 && !count("cudnnCreate"), "the first product opens one");
}

/* The core's own order across devices of the plugin. */
static void two_devices(chx_scope *s)
{
  chx_array *x = numbers(s, DEV, CHX_F32, SHAPE(4, 5), 1);
  gpu.clear();
  chx_array *y = chx_to(s, x, "cuda:1");
  ok(y && strstr(last("CopyPeer"), "80 to 1 from 0"), "an array goes to another device by itself: %s",
     chx_scope_message(s));
  ok(same(y, numbers(s, "native:0", CHX_F32, SHAPE(4, 5), 1)), "and is the same");
}

static chx_array *layers(chx_scope *s, const chx_array *x, const char *dev)
{
  chx_array *w = numbers(s, dev, CHX_F32, SHAPE(4, 4), 3), *b = numbers(s, dev, CHX_F32, SHAPE(4), 7);
  chx_array *k = numbers(s, dev, CHX_F32, SHAPE(2, 1, 3, 3), 2), *h = chx_linear(s, chx_linear(s, x, w, b), w, b);
  return chx_conv(s, chx_reshape(s, h, 4, (int64_t[]){1, 1, 6, 4}), k, NULL, NULL);
}

/* Products and convolutions of the libraries, and uploads, which the stand-in computes in a replay, too. */
static void captured_layers(chx_scope *s)
{
  chx_array *x = numbers(s, DEV, CHX_F32, SHAPE(6, 4), 1);
  chx_capture *c = chx_capture_begin(s);
  chx_array *y = layers(s, x, DEV);
  is_int(chx_capture_end(s, c), CHX_OK, "layers are captured: %s", chx_scope_message(s));
  for (int i = 0; i < 3; i++) {
    chx_array *now = numbers(s, "native:0", CHX_F32, SHAPE(6, 4), 11 + i);
    float v[24];
    chx_read(s, now, v, sizeof v);
    chx_scope_set_device(s, DEV);
    ok(!chx_write(s, x, v, sizeof v) && !chx_capture_launch(s, c), "launch %d: %s", i, chx_scope_message(s));
    ok(same(y, layers(s, now, "native:0")), "gives what native does: %s", chx_scope_message(s));
  }
  chx_scope_set_device(s, DEV);
  chx_capture_free(c);
}

int main(void)
{
  alarm(300); /* a deadlock is a failure, not a hang */
  if (!ok(prepared(), "the plugin and the stand-in are there")) return done_testing();
  in_child(newer_device, "a device that is newer than the compiler");
  in_child(known_device, "a device that the compiler knows");
  in_child(no_libraries, "without cuBLASLt and cuDNN the shared kernels serve");
  in_child(bad_libraries, "where cuBLASLt and cuDNN do not start they serve, too");
  in_child(lazily, "libraries are opened by the first operator that wants them");
  in_child(no_generators, "without cuRAND there is Philox alone");
  in_child(bad_generator, "where cuRAND has no memory that is said");
  in_child(tf32, "CHX_CUDA_TF32=1");
  in_child(reference_mode, "in the reference mode the shared kernels serve");
  others_kernels();
  by_the_abi();
  chx_scope *s = chx_scope_begin(DEV);
  if (!ok(s && !chx_scope_error(s), "the core finds the device: %s",
          s ? chx_scope_message(s) : "")) return done_testing();
  products(s);
  halves(s);
  linear(s);
  convolutions(s);
  pools(s);
  norms(s);
  generators(s);
  two_devices(s);
  late_index(s, DEV);
  tensors(s, DEV);
  late_index_captured(s, DEV);
  captured_chain(s, DEV);
  captured_layers(s);
  chx_scope_end(s);
  return done_testing();
}
