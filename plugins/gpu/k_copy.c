/* SPDX-License-Identifier: MIT
 * k_copy.c: copies of any layout, and casts.
 *
 * A copy within one dtype moves words of its size, so that there is one program for each size. Where input and output run
 * along different axes, tiles of 32 by 32 go through local memory, so that both are read and written in rows.
 */
#include <stdio.h>
#include <string.h>
#include "gpu.h"

extern const char gpu_text_copy[];

typedef struct spec {
  uint8_t from, to;   /* dtypes; equal: `bytes` are moved */
  uint8_t bytes, maxd;
  uint8_t wide, scalar, tiled, zero;
} spec;

static const char *word(int bytes)
{
  return bytes == 1 ? "u8" : bytes == 2 ? "u16" : bytes == 4 ? "u32" : bytes == 8 ? "u64" : "s_c128";
}

/* The cast of v as an expression of t_to. */
static void write_cast(gpu_text *t, int from, int to)
{
  const gpu_type *a = &gpu_types[from], *b = &gpu_types[to];
  if (b->kind == 'B') gpu_raw(t, "(v) != 0");
  else if (b->kind == 'F' && b->bits == 16)
    gpu_add(t, from == CHX_F64 ? "odd_f64(v)" : a->kind == 'I' && a->bits >= 32 ? "odd_i64((i64)(v))"
               : a->kind == 'U' && a->bits >= 32 ? "odd_u64((u64)(v))" : "(f32)(v)");
  else if (a->kind == 'F' && b->kind != 'F') {
    const char *f = from == CHX_F64 ? "" : "f"; /* limits as powers of two, which every float has */
    const bool s = b->kind == 'I';
    const int e = b->bits - s;
    gpu_add(t, "TO_SAT(%s, v, %s%.1f%s, %.1f%s, (((u64)1 << %d) - 1) | ((u64)1 << %d))", b->name, s ? "-" : "",
            s ? (double)((uint64_t)1 << e) : 0.0, f, e == 64 ? 0x1p64 : (double)((uint64_t)1 << e), f, e - 1, e - 1);
  } else
    gpu_add(t, "(t_%s)(v)", b->name);
}

static void write_tiled(gpu_text *t, const spec *p)
{
  const char *w = word(p->bytes);
  gpu_add_geom(t, 2, p->maxd);
  /* Axis 0 of the geometry is dense in y, axis `ax` in x; 8 rows of 32 threads. */
  gpu_add(t, "KERNEL LAUNCH_BOUNDS(WG) void copy(CONSTARG %s *x, GLOBAL %s *y, geom g, i32 ax)\n{\n  LOCAL %s tile[32][33];\n", w, w, w);
  gpu_raw(t,
          "  const i64 across = (g.dim[0] + 31) / 32, down = (g.dim[ax] + 31) / 32;\n"
          "  i64 rest = (i64)GRP;\n"
          "  const i64 i0 = rest % across * 32; rest /= across;\n"
          "  const i64 j0 = rest % down * 32; rest /= down;\n"
          "  i64 ax_y = g.off[0], ax_x = g.off[1];\n"
          "  for (int d = 1; d < g.nd; d++) {\n"
          "    if (d == ax) continue;\n"
          "    const i64 q = rest / g.dim[d], r = rest - q * g.dim[d];\n"
          "    ax_y += r * g.st[0][d]; ax_x += r * g.st[1][d]; rest = q;\n"
          "  }\n"
          "  const i64 a = (i64)(LID % 32), b = (i64)(LID / 32);\n"
          "  for (i64 k = b; k < 32; k += 8)\n"
          "    if (j0 + a < g.dim[ax] && i0 + k < g.dim[0]) tile[k][a] = x[ax_x + (i0 + k) * g.st[1][0] + (j0 + a) * g.st[1][ax]];\n"
          "  BARRIER();\n"
          "  for (i64 k = b; k < 32; k += 8)\n"
          "    if (i0 + a < g.dim[0] && j0 + k < g.dim[ax]) y[ax_y + (i0 + a) * g.st[0][0] + (j0 + k) * g.st[0][ax]] = tile[a][k];\n"
          "}\n");
}

static void write(gpu_text *t, const void *of)
{
  const spec *p = of;
  const bool moved = p->from == p->to;
  const char *w = word(p->bytes);
  if (p->tiled) {
    write_tiled(t, p);
    return;
  }
  gpu_raw(t, gpu_text_copy);
  gpu_add_geom(t, p->scalar ? 1 : 2, p->maxd);
  if (moved) gpu_add(t, p->scalar ? "KERNEL LAUNCH_BOUNDS(WG) void copy(%s v, GLOBAL %s *y, geom g)\n{\n" : "KERNEL LAUNCH_BOUNDS(WG) void copy(CONSTARG %s *x, GLOBAL %s *y, geom g)\n{\n", w, w);
  else if (p->scalar) gpu_add(t, "KERNEL LAUNCH_BOUNDS(WG) void copy(t_%s v, GLOBAL s_%s *y, geom g)\n{\n", gpu_types[p->from].name, gpu_types[p->to].name);
  else gpu_add(t, "KERNEL LAUNCH_BOUNDS(WG) void copy(CONSTARG s_%s *x, GLOBAL s_%s *y, geom g)\n{\n", gpu_types[p->from].name, gpu_types[p->to].name);
  gpu_add(t, "  typedef %s index;\n", p->wide ? "i64" : "u32");
  gpu_add(t,
          "  GRID_FOR(i, g.n) {\n    index rest = (index)i;\n    i64 at0 = g.off[0]%s;\n"
          "    for (int d = 0; d < g.nd - 1; d++) {\n"
          "      const index next = rest / (index)g.dim[d], r = rest - next * (index)g.dim[d];\n"
          "      at0 += (i64)r * g.st[0][d];%s\n      rest = next;\n    }\n"
          "    const int top = g.nd > 0 ? g.nd - 1 : 0;\n    at0 += (i64)rest * g.st[0][top];%s\n",
          p->scalar ? "" : ", at1 = g.off[1]", p->scalar ? "" : " at1 += (i64)r * g.st[1][d];",
          p->scalar ? "" : " at1 += (i64)rest * g.st[1][top];");
  if (moved) gpu_raw(t, p->scalar ? "    y[at0] = v;\n" : "    y[at0] = x[at1];\n");
  else {
    if (!p->scalar) gpu_add(t, "    const t_%s v = ld_%s(x, at1);\n", gpu_types[p->from].name, gpu_types[p->from].name);
    gpu_add(t, "    st_%s(y, at0, ", gpu_types[p->to].name);
    write_cast(t, p->from, p->to);
    gpu_raw(t, ");\n");
  }
  gpu_raw(t, "  }\n}\n");
}

static bool example(uint32_t i, void *of)
{
  spec *p = of;
  static const uint8_t sizes[] = {1, 2, 4, 8, 16}, ranks[] = {4, 16};
  memset(p, 0, sizeof *p);
  if (i < 30) { /* moves, transposed moves, fills */
    p->bytes = sizes[i % 5];
    p->maxd = ranks[i / 5 % 2];
    p->tiled = i / 10 == 1;
    p->scalar = i / 10 == 2;
    return true;
  }
  i -= 30;
  p->maxd = 4;
  for (int from = CHX_BOOL; from <= CHX_F64; from++)
    for (int to = CHX_BOOL; to <= CHX_F64; to++)
      if (from != to && !i--) {
        p->from = (uint8_t)from;
        p->to = (uint8_t)to;
        return true;
      }
  if (i > 0) return false;
  p->from = CHX_F32, p->to = CHX_F16, p->wide = 1;
  return true;
}

static const char *const functions[] = {"copy", NULL};
const gpu_family gpu_copy_family = {"copy", sizeof(spec), write, example, functions};

/* The axis along which x is dense where y is dense along another, both long enough for tiles; 0: there is none. */
static int transposed_axis(const gpu_geometry *g)
{
  const int last = g->nd - 1;
  if (g->nd < 2 || g->stride[0][last] != 1 || g->stride[1][last] == 1 || g->dim[last] < 16) return 0;
  for (int d = 0; d < last; d++)
    if (g->stride[1][d] == 1 && g->dim[d] >= 16) return last - d; /* innermost first there */
  return 0;
}

static chx_status run(void *self, const chx_call *c)
{
  gpu_device *g = gpu_of(c->dev);
  const chx_tensor *x = &c->in[0], *y = &c->out[0], *op[2] = {y, x};
  const gpu_type *from = &gpu_types[gpu_dtype(x)], *to = &gpu_types[gpu_dtype(y)];
  unsigned char packed[GPU_GEOM_BYTES], room[16];
  gpu_function *fn;
  gpu_geometry geo;
  gpu_arg args[4];
  uint32_t n = 2;
  spec p = {.scalar = (x->flags & CHX_T_HOST_SCALAR) != 0};
  (void)self;
  if (from != to && (from->kind == 'C' || to->kind == 'C')) return CHX_DECLINED;
  gpu_geometry_of(&geo, y->ndim, y->shape, op, p.scalar ? 1 : 2);
  if (!geo.n) return CHX_OK;
  if (from == to) p.bytes = to->bytes;
  else p.from = (uint8_t)gpu_dtype(x), p.to = (uint8_t)gpu_dtype(y);
  p.maxd = (uint8_t)gpu_rank_bucket(geo.nd);
  p.wide = geo.n > INT32_MAX;
  const int32_t axis = from == to && !p.scalar ? transposed_axis(&geo) : 0;
  uint64_t tiles = axis ? (uint64_t)((geo.dim[geo.nd - 1] + 31) / 32) * (uint64_t)((geo.dim[geo.nd - 1 - axis] + 31) / 32) : 0;
  for (int d = 0; axis && d < geo.nd - 1; d++)
    if (d != geo.nd - 1 - axis) tiles *= (uint64_t)geo.dim[d];
  p.tiled = axis && tiles <= g->max_groups;
  if (p.tiled) p.wide = 0;
  const chx_status st = gpu_find(g, &gpu_copy_family, &p, 0, &fn);
  if (st) return st;
  if (p.scalar && from == to) memcpy(room, x->imm, 16), args[0] = (gpu_arg){room, to->bytes};
  else args[0] = p.scalar ? gpu_scalar(x, room) : GPU_BUFFER(x->data);
  args[1] = GPU_BUFFER(y->data);
  args[n++] = (gpu_arg){packed, (uint32_t)gpu_pack_geom(&geo, p.maxd, packed)};
  if (!p.tiled) return gpu_launch(c, fn, (uint64_t)geo.n, args, n);
  args[n++] = GPU_VALUE(axis);
  return gpu_launch_groups(c, fn, tiles, args, n);
}

#define ANY (CHX_ANY_REAL | CHX_BIT(CHX_C64) | CHX_BIT(CHX_C128))
const chx_kernel gpu_copy_kernels[] = {
  {GPU_KERNEL_THAT(CHX_K_SCALAR_OK), .op = "copy", .dtypes_in = ANY, .dtypes_out = ANY, .run = run}, {0}};
