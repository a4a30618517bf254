/* SPDX-License-Identifier: MIT
 * k_scan.c: cumulative sums, products and extremes along an axis.
 *
 * Where there are few lines they are cut into parts: the parts' totals are made, scanned, and then each part begins
 * with the total of those before. Orders depend on sizes and layout alone; f16 and bf16 are f32 between load and
 * store.
 */
#include <string.h>
#include "lines.h"

extern const char gpu_text_scan[];

typedef struct spec {
  uint8_t from, to; /* dtypes */
  uint8_t kind, wide;
} spec;

static bool takes(int64_t kind, int dtype)
{
  return kind >= (dtype == CHX_BOOL ? CHX_SCAN_MAX : CHX_SCAN_SUM) && kind <= CHX_SCAN_MIN;
}

static void write(gpu_text *t, const void *of)
{
  const spec *p = of;
  const char *from = gpu_types[p->from].name, *to = gpu_types[p->to].name;
  const char *carry = gpu_types[gpu_wide_dtype(p->from)].name;
  gpu_add_types(t, p->from);
  gpu_add(t, "#define S s_%s\n#define D s_%s\n#define A s_%s\n", from, to, carry);
  gpu_add(t, "#define LD ld_%s\n#define ST st_%s\n#define LDA ld_%s\n", from, to, carry);
  gpu_add_fold(t, p->from, p->kind); /* kinds are numbered as reductions are */
  gpu_raw(t, p->kind == CHX_SCAN_SUM ? "#undef IDENTITY\n#define IDENTITY (-(T)0)\n#define START (T)0\n"
                                     : "#define START IDENTITY\n");
  gpu_add_lines(t, p->wide);
  gpu_raw(t, gpu_text_scan);
}

static bool example(uint32_t i, void *of)
{
  spec *p = of;
  memset(p, 0, sizeof *p);
  for (int kind = CHX_SCAN_SUM; kind <= CHX_SCAN_MIN; kind++)
    for (int d = CHX_BOOL; d <= CHX_F64; d++) {
      if (!takes(kind, d)) continue;
      const int wide = gpu_wide_dtype(d);
      const spec all[] = {{(uint8_t)d, (uint8_t)d, (uint8_t)kind, 0}, {(uint8_t)d, (uint8_t)d, (uint8_t)kind, 1},
                          {(uint8_t)d, (uint8_t)wide, (uint8_t)kind, 0}};
      const uint32_t n = wide == d ? 2 : 3;
      if (i < n) return *p = all[i], true;
      i -= n;
    }
  return false;
}

static const char *const functions[] = {"scan", NULL};
const gpu_family gpu_scan_family = {"scan", sizeof(spec), write, example, functions};

static chx_status accepts(void *self, const chx_call *c)
{
  const chx_scan_attr *a = c->attr;
  (void)self;
  return a->axes.n == 1 && takes(a->kind, gpu_dtype(c->in)) ? CHX_OK : CHX_DECLINED;
}

/* What a launch is for; `y` and `carries` in that way. */
enum { WHOLE, TOTALS, TOTALS_BEFORE, CARRIED };
static chx_status launch(const chx_call *c, const gpu_lines *g, int role, int from, int to, const void *x, void *y,
                         const void *carries)
{
  const chx_scan_attr *a = c->attr;
  const spec p = {(uint8_t)from, (uint8_t)to, (uint8_t)a->kind, gpu_lines_wide(g)};
  const int32_t begins = a->exclusive != 0, exclusive = role == TOTALS_BEFORE || (role != TOTALS && begins);
  const int32_t totals = role == TOTALS, carried = role == CARRIED;
  const gpu_arg args[] = {GPU_BUFFER(x),        GPU_BUFFER(y),      GPU_BUFFER(carries), GPU_VALUE(*g),
                          GPU_VALUE(exclusive), GPU_VALUE(begins), GPU_VALUE(totals),   GPU_VALUE(carried)};
  gpu_function *fn;
  const chx_status st = gpu_find(gpu_of(c->dev), &gpu_scan_family, &p, 0, &fn);
  return st ? st : gpu_lines_launch(c, fn, g, args, 8);
}

static chx_status in_parts(const chx_call *c, const gpu_lines *g)
{
  gpu_device *dev = gpu_of(c->dev);
  const int dtype = gpu_dtype(c->in), sum = gpu_wide_dtype(dtype);
  const int64_t made = g->n * g->parts;
  void *totals = dev->host->scratch(dev->host->ctx, c, (uint64_t)made * gpu_types[sum].bytes);
  gpu_lines parts;
  if (!totals) return gpu_fail(dev, CHX_ENOMEM, "scan: no memory for the totals of %lld parts", (long long)made);
  chx_status st = launch(c, g, TOTALS, dtype, sum, c->in->data, totals, c->in->data);
  if (st) return st;
  gpu_lines_of_parts(&parts, g);
  parts.y = 0;
  memcpy(parts.sy, parts.sx, sizeof parts.sy); /* in place */
  st = launch(c, &parts, TOTALS_BEFORE, sum, sum, totals, totals, totals);
  return st ? st : launch(c, g, CARRIED, dtype, dtype, c->in->data, c->out->data, totals);
}

static chx_status run(void *self, const chx_call *c)
{
  enum { ITEMS = 4, FEW = 256, LONG = 8192, EACH = 64 };
  const chx_scan_attr *a = c->attr;
  const chx_tensor *x = &c->in[0], *y = &c->out[0];
  const int dtype = gpu_dtype(x);
  gpu_lines g;
  (void)self;
  gpu_lines_of(&g, x, y, 1u << a->axes.v[0]);
  if (!g.n || !g.m) return CHX_OK;
  if (a->reverse) {
    const int d = g.kept;
    g.x += (g.m - 1) * g.sx[d];
    g.y += (g.m - 1) * g.sy[d];
    g.sx[d] = -g.sx[d];
    g.sy[d] = -g.sy[d];
  }
  gpu_lines_share(&g, ITEMS);
  if (g.across) /* a thread for each line, where they are enough */
    while (g.lanes > 1 && g.n * g.lanes >= 2 * FEW * GPU_WG) g.lanes /= 2;
  if (g.m >= LONG && g.n * g.lanes < FEW * GPU_WG) gpu_lines_cut(&g, EACH);
  return g.parts > 1 ? in_parts(c, &g) : launch(c, &g, WHOLE, dtype, dtype, x->data, y->data, x->data);
}

const chx_kernel gpu_scan_kernels[] = {
  {GPU_KERNEL, .op = "scan", .attr_size = sizeof(chx_scan_attr), .dtypes_in = CHX_ANY_REAL, .dtypes_out = CHX_ANY_REAL,
   .accepts = accepts, .run = run},
  {0}};
