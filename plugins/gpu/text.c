/* SPDX-License-Identifier: MIT
 * text.c: text that grows, the dtypes of the dialect, geometry, and what a family needs for a launch.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "gpu.h"

/* ---- text ------------------------------------------------------------------------------------------------------------ */

static bool reserve(gpu_text *t, size_t more)
{
  if (t->failed) return false;
  if (t->n + more + 1 <= t->room) return true;
  size_t room = t->room ? t->room : 4096;
  while (room < t->n + more + 1) room *= 2;
  char *at = realloc(t->at, room);
  if (!at) return t->failed = true, false;
  t->at = at;
  t->room = room;
  return true;
}

void gpu_raw(gpu_text *t, const char *piece)
{
  size_t n = strlen(piece);
  if (!reserve(t, n)) return;
  memcpy(t->at + t->n, piece, n + 1);
  t->n += n;
}

void gpu_add(gpu_text *t, const char *format, ...)
{
  char piece[1024];
  va_list ap;
  va_start(ap, format);
  int n = vsnprintf(piece, sizeof piece, format, ap);
  va_end(ap);
  if (n < 0 || n >= (int)sizeof piece) t->failed = true;
  else gpu_raw(t, piece);
}

/* ---- dtypes ------------------------------------------------------------------------------------------------------------- */

const gpu_type gpu_types[CHX_DTYPE_END] = {
  [CHX_BOOL] = {"bool", "u32", 'B', 8, 1}, [CHX_I8] = {"i8", "u32", 'I', 8, 1}, [CHX_I16] = {"i16", "u32", 'I', 16, 2},
  [CHX_I32] = {"i32", "u32", 'I', 32, 4},  [CHX_I64] = {"i64", "u64", 'I', 64, 8}, [CHX_U8] = {"u8", "u32", 'U', 8, 1},
  [CHX_U16] = {"u16", "u32", 'U', 16, 2},  [CHX_U32] = {"u32", "u32", 'U', 32, 4}, [CHX_U64] = {"u64", "u64", 'U', 64, 8},
  [CHX_F16] = {"f16", "f32", 'F', 16, 2},  [CHX_BF16] = {"bf16", "f32", 'F', 16, 2}, [CHX_F32] = {"f32", "f32", 'F', 32, 4},
  [CHX_F64] = {"f64", "f64", 'F', 64, 8},  [CHX_C64] = {"c64", "", 'C', 64, 8}, [CHX_C128] = {"c128", "", 'C', 128, 16}};

void gpu_add_kind(gpu_text *t, int dtype)
{
  const gpu_type *d = &gpu_types[dtype];
  gpu_add(t, "#undef CHX_KIND\n#undef CHX_BITS\n#define CHX_KIND %c\n#define CHX_BITS %d\n", d->kind, d->bits);
}

void gpu_add_types(gpu_text *t, int dtype)
{
  gpu_add_kind(t, dtype);
  gpu_add(t, "typedef t_%s T;\ntypedef %s U;\n", gpu_types[dtype].name, gpu_types[dtype].wrap);
}

void gpu_add_stored(gpu_text *t, int dtype)
{
  const char *name = gpu_types[dtype].name;
  gpu_add_types(t, dtype);
  gpu_add(t, "#define S s_%s\n#define LD ld_%s\n#define ST st_%s\n", name, name, name);
}

/* ---- geometry ------------------------------------------------------------------------------------------------------------ */

void gpu_geometry_of(gpu_geometry *g, int ndim, const int64_t *shape, const chx_tensor *const *op, int ops)
{
  g->n = 1;
  g->nd = 0;
  g->scalars = 0;
  g->ops = ops;
  for (int k = 0; k < ops; k++) g->offset[k] = op[k]->flags & CHX_T_HOST_SCALAR ? 0 : gpu_offset(op[k]);
  for (int d = 0; d < ndim; d++) {
    g->n *= shape[d];
    if (shape[d] == 1) continue;
    bool join = g->nd > 0;
    for (int k = 0; k < ops && join; k++)
      if (!(op[k]->flags & CHX_T_HOST_SCALAR)) join = g->stride[k][g->nd - 1] == op[k]->strides[d] * shape[d];
    if (!join) g->dim[g->nd++] = 1;
    g->dim[g->nd - 1] *= shape[d];
    for (int k = 0; k < ops; k++) g->stride[k][g->nd - 1] = op[k]->flags & CHX_T_HOST_SCALAR ? 0 : op[k]->strides[d];
  }
}

int gpu_rank_bucket(int nd) { return nd <= 4 ? 4 : 16; }

void gpu_add_geom(gpu_text *t, int ops, int maxd)
{
  gpu_add(t, "typedef struct { i64 n; i64 off[%d]; i64 dim[%d]; i64 st[%d][%d]; i32 nd; u32 scalars; } geom;\n", ops, maxd, ops, maxd);
}

size_t gpu_pack_geom(const gpu_geometry *g, int maxd, void *bytes)
{
  int64_t *at = bytes;
  *at++ = g->n;
  for (int k = 0; k < g->ops; k++) *at++ = g->offset[k];
  for (int d = 0; d < maxd; d++) *at++ = d < g->nd ? g->dim[g->nd - 1 - d] : 1;
  for (int k = 0; k < g->ops; k++)
    for (int d = 0; d < maxd; d++) *at++ = d < g->nd ? g->stride[k][g->nd - 1 - d] : 0;
  const uint32_t tail[2] = {(uint32_t)g->nd, g->scalars};
  memcpy(at++, tail, sizeof tail);
  return (size_t)((char *)at - (char *)bytes);
}

void gpu_read_options(gpu_device *g)
{
  const char *text = CHX_HAS(g->host, chx_host, option) ? g->host->option(g->host->ctx, "CHX_REFERENCE") : NULL;
  g->reference = text && *text && strcmp(text, "0") != 0;
}

/* ---- launches -------------------------------------------------------------------------------------------------------------- */

chx_status gpu_fail(gpu_device *g, chx_status code, const char *format, ...)
{
  char msg[1024];
  va_list ap;
  va_start(ap, format);
  vsnprintf(msg, sizeof msg, format, ap);
  va_end(ap);
  return g->host->fail(g->host->ctx, code, msg);
}

chx_status gpu_launch_groups(const chx_call *c, gpu_function *fn, uint64_t groups, const gpu_arg *args, uint32_t n)
{
  gpu_device *g = gpu_of(c->dev);
  if (!groups) return CHX_OK;
  if (groups > g->max_groups)
    return gpu_fail(g, CHX_EUNSUPPORTED, "%s: %llu groups of threads, want at most %u", g->spec, (unsigned long long)groups,
                    g->max_groups);
  return g->driver->launch(g, c->queue, fn, (uint32_t)groups, args, n);
}

chx_status gpu_launch(const chx_call *c, gpu_function *fn, uint64_t threads, const gpu_arg *args, uint32_t n)
{
  const gpu_device *g = gpu_of(c->dev);
  uint64_t groups = (threads + GPU_WG - 1) / GPU_WG, most = (uint64_t)g->units * 32;
  if (most > g->max_groups) most = g->max_groups;
  return gpu_launch_groups(c, fn, groups < most ? groups : most, args, n);
}

/* IEEE half to float: widening is exact. */
static float half_value(uint16_t h)
{
  uint32_t e = h >> 10 & 31, m = h & 1023, u;
  float f;
  if (e == 0) {
    f = (float)m * 0x1p-24f;
    return h >> 15 ? -f : f;
  }
  u = (uint32_t)(h >> 15) << 31 | (e == 31 ? 255 : e + 112) << 23 | m << 13;
  memcpy(&f, &u, sizeof f);
  return f;
}

gpu_arg gpu_scalar(const chx_tensor *t, unsigned char room[16])
{
  uint16_t h;
  float f;
  int32_t b;
  uint32_t u;
  switch (gpu_dtype(t)) {
  case CHX_BOOL:
    b = t->imm[0] != 0;
    memcpy(room, &b, 4);
    return (gpu_arg){room, 4};
  case CHX_F16:
    memcpy(&h, t->imm, 2);
    f = half_value(h);
    memcpy(room, &f, 4);
    return (gpu_arg){room, 4};
  case CHX_BF16:
    memcpy(&h, t->imm, 2);
    u = (uint32_t)h << 16;
    memcpy(room, &u, 4);
    return (gpu_arg){room, 4};
  default:
    memcpy(room, t->imm, 16);
    return (gpu_arg){room, gpu_types[gpu_dtype(t)].bytes};
  }
}

gpu_arg gpu_no_scalar(int dtype, unsigned char room[16])
{
  const bool narrow = dtype == CHX_BOOL || dtype == CHX_F16 || dtype == CHX_BF16; /* computed in 32 bits */
  for (int i = 0; i < 16; i++) room[i] = 0;
  return (gpu_arg){room, narrow ? 4 : gpu_types[dtype].bytes};
}
