/* SPDX-License-Identifier: MIT
 * threshold.h: from which size on a call goes to oneDNN rather than to native's kernel.
 *
 * DN_TAKE(operator, dtype, form, work, narrow): a call of that form (dn.h: FIRST is what has no form of its own) is
 * taken where its work and its narrow side are at least these; without a row it is native's at any size. The figures
 * are bench/dnnl.c's on one processor with AVX-512 and AMX: bench/results/2026-11-21-dnnl.md. No row, since native was
 * as fast or faster: averages of f32 with channels last, convolutions with one tap in
 * f32 and of their weights' gradient, casts, copies that are not transposed.
 *
 * The norms are all or nothing: a call of f16 or bf16 that a kernel of f32 declines is composed with each step rounded,
 * so its error would depend on its size. layer_norm is taken always; batch_norm, which loses with channels first, never.
 */
DN_TAKE(matmul, F32, FIRST, 4e6, 128)
DN_TAKE(matmul, BF16, FIRST, 5e5, 1)
DN_TAKE(linear, F32, FIRST, 2e6, 64)
DN_TAKE(linear, BF16, FIRST, 2.5e5, 1)
DN_TAKE(conv, F32, FIRST, 1.5e4, 1)
DN_TAKE(conv, F32, LAST, 1e6, 1)
DN_TAKE(conv, BF16, FIRST, 5e5, 1)
DN_TAKE(conv, BF16, LAST, 5e5, 1)
DN_TAKE(conv, BF16, POINTWISE, 1e7, 16)
DN_TAKE(conv_grad_input, F32, FIRST, 5e5, 16)
DN_TAKE(conv_grad_input, F32, LAST, 1e6, 1)
DN_TAKE(conv_grad_input, BF16, FIRST, 5e5, 1)
DN_TAKE(conv_grad_input, BF16, LAST, 5e5, 1)
DN_TAKE(conv_grad_input, BF16, POINTWISE, 1e7, 16)
DN_TAKE(conv_grad_weight, F32, FIRST, 1.5e4, 1)
DN_TAKE(conv_grad_weight, F32, LAST, 1e6, 1)
DN_TAKE(conv_grad_weight, BF16, FIRST, 5e5, 1)
DN_TAKE(conv_grad_weight, BF16, LAST, 5e5, 1)
DN_TAKE(avg_pool, F32, FIRST, 2e4, 1)
DN_TAKE(avg_pool, BF16, FIRST, 2e4, 1)
DN_TAKE(avg_pool, BF16, LAST, 2e5, 1)
DN_TAKE(avg_pool_grad, F32, FIRST, 2e4, 1)
DN_TAKE(avg_pool_grad, F32, LAST, 2e4, 1)
DN_TAKE(avg_pool_grad, BF16, FIRST, 2e4, 1)
DN_TAKE(avg_pool_grad, BF16, LAST, 5e4, 1)
DN_TAKE(softmax, F32, FIRST, 1000, 1)
DN_TAKE(softmax, BF16, FIRST, 1000, 1)
DN_TAKE(layer_norm, F32, FIRST, 0, 1)
DN_TAKE(copy, F32, FIRST, 2e5, 1)
DN_TAKE(copy, BF16, FIRST, 4096, 1)
DN_TAKE(copy, F16, FIRST, 4096, 1)
#undef DN_TAKE
