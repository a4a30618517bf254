/* SPDX-License-Identifier: MIT
 * lines.h: an operand seen as lines, for kernels that take some of its axes as one: reductions, softmax, scans.
 *
 * The axes not taken count the lines, the taken ones count the elements of each. Groups of threads are divided among
 * lines: `lanes` threads work on one line, side by side along it, or, where lines lie side by side in memory
 * ("across"), with neighbouring threads on neighbouring lines. Either way neighbouring threads read neighbouring
 * elements.
 */
#ifndef CHX_GPU_LINES_H
#define CHX_GPU_LINES_H
#include "gpu.h"

/* As `lines` in lines.gpu. Axes are innermost first: `kept` of them count the lines, then come those of a line. */
typedef struct gpu_lines {
  int64_t n, m;             /* lines; elements of each */
  int64_t x, y;             /* where x and y begin */
  int64_t parts, part;      /* parts that each line is cut into; elements of each but the last */
  int64_t y_line, y_part;   /* where what is made of parts goes: line * y_line + part * y_part */
  int64_t dim[CHX_MAX_RANK], sx[CHX_MAX_RANK], sy[CHX_MAX_RANK];
  uint32_t mul[CHX_MAX_RANK], shift[CHX_MAX_RANK]; /* i / dim is (high word of i * mul + i) >> shift, for i < 2^31 */
  int32_t kept, nd, lanes, across;
} gpu_lines;

/* x's lines along the axes of the bit set `axes`. y has x's rank; axes of length 1 there have stride 0. One part. */
void gpu_lines_of(gpu_lines *g, const chx_tensor *x, const chx_tensor *y, uint32_t axes);
/* n lines of m elements, one after the other, x's and y's. */
void gpu_lines_dense(gpu_lines *g, int64_t x, int64_t y, int64_t n, int64_t m);
/* Divides groups so that a thread has at least `least` elements of a line, unless the line is that short. */
void gpu_lines_share(gpu_lines *g, int least);
/* Cuts lines into parts of about `most` elements for each thread; fewer where that leaves few groups. Depends on sizes
 * only. */
void gpu_lines_cut(gpu_lines *g, int most);
/* The lines of what was made of g's parts: `parts` elements each, of y's lines. One part. */
void gpu_lines_of_parts(gpu_lines *next, const gpu_lines *g);
/* Whether indices need 64 bits. */
bool gpu_lines_wide(const gpu_lines *g);
/* Launches as many groups as there are shares. */
chx_status gpu_lines_launch(const chx_call *c, gpu_function *fn, const gpu_lines *g, const gpu_arg *args, uint32_t n);

/* The text of lines.gpu, for 32-bit or 64-bit indices. */
void gpu_add_lines(gpu_text *t, bool wide);
/* The function `T op(T, T)` and IDENTITY of a reduction in dtype, whose types were added: kinds of CHX_REDUCE_ and
 * CHX_SCAN_, sum to min. */
void gpu_add_fold(gpu_text *t, int dtype, int kind);
/* The dtype in which sums of dtype are kept between programs. */
static inline int gpu_wide_dtype(int dtype) { return dtype == CHX_F16 || dtype == CHX_BF16 ? CHX_F32 : dtype; }

#endif
