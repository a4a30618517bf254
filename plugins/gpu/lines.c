/* SPDX-License-Identifier: MIT
 * lines.c: operands as lines: axes ordered and joined, groups divided, lines cut into parts.
 */
#include "lines.h"
#include <string.h>

extern const char gpu_text_lines[];

enum { GROUPS = 512 }; /* as many as keep a large device busy */

static int64_t length(int64_t a) { return a < 0 ? -a : a; }

/* mul and shift of an axis. */
static void set_divisor(gpu_lines *g, int d)
{
  const uint64_t by = (uint64_t)g->dim[d];
  uint32_t shift = 0;
  if (!by || by > INT32_MAX) return; /* nothing is divided by 0, and by a longer axis where indices are wide */
  while (((uint64_t)1 << shift) < by) shift++;
  g->shift[d] = shift;
  g->mul[d] = (uint32_t)((((uint64_t)1 << 32) * (((uint64_t)1 << shift) - by)) / by + 1);
}

/* Adds the axes of x that are in the set, ordered as they lie in memory, neighbours joined; their count of elements. */
static int64_t add_axes(gpu_lines *g, const chx_tensor *x, const chx_tensor *y, uint32_t axes)
{
  int order[CHX_MAX_RANK], count = 0;
  const int first = g->nd;
  int64_t n = 1;
  for (int d = x->ndim - 1; d >= 0; d--) {
    if (!(axes >> d & 1)) continue;
    n *= x->shape[d];
    if (x->shape[d] == 1) continue;
    int i = count++;
    for (; i > 0 && length(x->strides[order[i - 1]]) > length(x->strides[d]); i--) order[i] = order[i - 1];
    order[i] = d;
  }
  for (int i = 0; i < count; i++) {
    const int d = order[i], last = g->nd - 1;
    const int64_t sx = x->strides[d], sy = y->shape[d] == 1 ? 0 : y->strides[d];
    if (last >= first && sx == g->sx[last] * g->dim[last] && sy == g->sy[last] * g->dim[last]) {
      g->dim[last] *= x->shape[d];
      continue;
    }
    g->dim[g->nd] = x->shape[d];
    g->sx[g->nd] = sx;
    g->sy[g->nd++] = sy;
  }
  return n;
}

static void set_rest(gpu_lines *g)
{
  if (g->nd == g->kept) g->dim[g->nd++] = 1; /* lines have an axis; one of length 1 was not added: there is room */
  for (int d = 0; d < g->nd; d++) set_divisor(g, d);
  g->across = g->kept && g->n > 1 && g->m > 1 && length(g->sx[0]) < length(g->sx[g->kept]);
  g->parts = 1;
  g->part = g->m;
  gpu_lines_share(g, 2);
}

void gpu_lines_of(gpu_lines *g, const chx_tensor *x, const chx_tensor *y, uint32_t axes)
{
  memset(g, 0, sizeof *g);
  g->x = gpu_offset(x);
  g->y = gpu_offset(y);
  g->n = add_axes(g, x, y, ~axes);
  g->kept = g->nd;
  g->m = add_axes(g, x, y, axes);
  set_rest(g);
}

void gpu_lines_dense(gpu_lines *g, int64_t x, int64_t y, int64_t n, int64_t m)
{
  *g = (gpu_lines){.n = n, .m = m, .x = x, .y = y, .kept = 1, .nd = 2, .dim = {n, m}, .sx = {m, 1}, .sy = {m, 1}};
  set_rest(g);
}

void gpu_lines_share(gpu_lines *g, int least)
{
  g->lanes = 1;
  if (!g->across) {
    while (g->lanes < GPU_WG && (int64_t)g->lanes * least < g->m) g->lanes *= 2;
    return;
  }
  int32_t width = 1;
  while (width < 32 && width < g->n) width *= 2;
  g->lanes = GPU_WG / width;
  while (g->lanes > 1 && (int64_t)g->lanes * least > g->m) g->lanes /= 2;
}

void gpu_lines_cut(gpu_lines *g, int most)
{
  const int64_t width = GPU_WG / g->lanes, blocks = (g->n + width - 1) / width;
  int64_t each = most;
  g->parts = 1;
  g->part = g->m;
  g->y_line = 1;
  g->y_part = g->n;
  if (g->m <= g->lanes * (int64_t)most / 2) return;
  while (each > most / 4 && blocks * ((g->m + g->lanes * each - 1) / (g->lanes * each)) < GROUPS) each /= 2;
  if (g->m <= g->lanes * each) return;
  g->part = g->lanes * each;
  g->parts = (g->m + g->part - 1) / g->part;
  g->y_line = g->across ? 1 : g->parts;
  g->y_part = g->across ? g->n : 1;
}

void gpu_lines_of_parts(gpu_lines *next, const gpu_lines *g)
{
  int64_t lines = 1;
  *next = *g;
  next->x = 0;
  next->m = g->parts;
  for (int d = 0; d < g->kept; d++) {
    next->sx[d] = g->y_line * lines;
    lines *= g->dim[d];
  }
  next->nd = g->kept + 1;
  next->dim[g->kept] = g->parts;
  next->sx[g->kept] = g->y_part;
  next->sy[g->kept] = 0;
  set_rest(next);
}

bool gpu_lines_wide(const gpu_lines *g) { return g->n > INT32_MAX || g->m > INT32_MAX - 4 * GPU_WG; }

chx_status gpu_lines_launch(const chx_call *c, gpu_function *fn, const gpu_lines *g, const gpu_arg *args, uint32_t n)
{
  const int64_t width = GPU_WG / g->lanes;
  return gpu_launch(c, fn, (uint64_t)((g->n + width - 1) / width * g->parts) * GPU_WG, args, n);
}

void gpu_add_lines(gpu_text *t, bool wide)
{
  if (wide) gpu_raw(t, "#define WIDE 1\n");
  gpu_raw(t, gpu_text_lines);
}

void gpu_add_fold(gpu_text *t, int dtype, int kind)
{
  static const char *const formulas[] = {[CHX_REDUCE_SUM] = "(T)((U)a + (U)v)", [CHX_REDUCE_PROD] = "(T)((U)a * (U)v)",
                                         [CHX_REDUCE_MAX] = "v > a ? v : a", [CHX_REDUCE_MIN] = "v < a ? v : a"};
  const char type = gpu_types[dtype].kind;
  const bool largest = kind == CHX_REDUCE_MAX;
  const char *formula = formulas[kind], *identity = kind == CHX_REDUCE_SUM ? "(T)0" : "(T)1";
  if (kind == CHX_REDUCE_MAX || kind == CHX_REDUCE_MIN) switch (type) {
    case 'F': identity = largest ? "(-(T)BITS_F32(0x7f800000u))" : "((T)BITS_F32(0x7f800000u))"; break;
    case 'I': identity = largest ? "((T)((U)1 << (CHX_BITS - 1)))" : "((T)(((U)1 << (CHX_BITS - 1)) - 1))"; break;
    case 'U': identity = largest ? "(T)0" : "(T)~(U)0"; break;
    default: identity = largest ? "(T)0" : "(T)1";
    }
  if (type == 'F' && kind == CHX_REDUCE_MAX) formula = "v > a || v != v ? v : a";
  if (type == 'F' && kind == CHX_REDUCE_MIN) formula = "v < a || v != v ? v : a";
  gpu_add(t, "#define IDENTITY %s\nDEVFN T op(T a, T v) { return %s; }\n", identity, formula);
}
