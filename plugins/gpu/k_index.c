/* SPDX-License-Identifier: MIT
 * k_index.c: take, take_along_axis, scatter_add, scatter_add_along_axis, for any strides.
 *
 * The host cannot see indices before the kernel runs, so an index out of range is a late error (gpu_report). Where it
 * is met, NaN is read, or 0 of what has no NaN, and nothing is added.
 *
 * Sums do not depend on the order in which threads run: integers of 32 and 64 bits are added by atomics, which is
 * exact, all others in an order that the problem alone decides (scatter.gpu). CHX_GPU_ATOMIC_SCATTER=1 has f32 added by
 * atomics as well, in any order.
 */
#include <string.h>
#include "sort.h"

extern const char gpu_text_index[], gpu_text_take[], gpu_text_scatter[], gpu_text_atomic[];
extern const chx_kernel gpu_copy_kernels[];

typedef struct index_args { /* as in index.gpu */
  int64_t n, lines, list, length, step;
  uint64_t fill;
  int64_t off[3], dim[CHX_MAX_RANK], st[3][CHX_MAX_RANK];
  int32_t nd, nk, along, spans, op, axis;
} index_args;

enum { Z, V, I }; /* operands of index_args */
enum { SPAN = 64 }; /* as in scatter.gpu */

/* ---- programs ------------------------------------------------------------------------------------------------ */

typedef struct spec { uint8_t of, wide; } spec; /* of: bytes of a word to take, the dtype to add */

static void write_common(gpu_text *t, const spec *p)
{
  gpu_add(t, "typedef %s index;\n", p->wide ? "i64" : "u32");
  gpu_raw(t, gpu_text_index);
}

static void write_take(gpu_text *t, const void *of)
{
  const spec *p = of;
  write_common(t, p);
  if (p->of == 16) gpu_raw(t, "#define W s_c128\n#define FILL(w, u) w.re = w.im = (u)\n");
  else gpu_add(t, "#define W u%d\n#define FILL(w, u) w = (W)(u)\n", p->of * 8);
  gpu_raw(t, gpu_text_take);
}

static void write_scatter(gpu_text *t, const void *of)
{
  const spec *p = of;
  const gpu_type *d = &gpu_types[p->of];
  const char *sum = d->kind != 'F' ? d->bits == 64 ? "u64" : "u32" : d->bits == 64 ? "f64" : "f32";
  write_common(t, p);
  gpu_add(t,
          "#define S s_%s\n#define A %s\n#define LD(p, i) (A)ld_%s(p, i)\n#define ST(p, i, a) st_%s(p, i, (t_%s)(a))\n",
          d->name, sum, d->name, d->name, d->name);
  gpu_raw(t, gpu_text_scatter);
}

static void write_atomic(gpu_text *t, const void *of)
{
  const spec *p = of;
  const char *name = gpu_types[p->of].name;
  write_common(t, p);
  gpu_add(t, "#define S s_%s\n#define ADD ADD_%s\n", name, name);
  gpu_raw(t, gpu_text_atomic);
}

static bool take_example(uint32_t i, void *of)
{
  *(spec *)of = (spec){(uint8_t)(1u << i % 5), i >= 5};
  return i < 10;
}

/* The i-th of the dtypes of a set, first with narrow, then with wide indices. */
static bool nth(uint32_t i, uint64_t dtypes, spec *p)
{
  for (int wide = 0; wide < 2; wide++)
    for (int d = CHX_BOOL; d < CHX_DTYPE_END; d++)
      if ((dtypes >> d & 1) && !i--) {
        *p = (spec){(uint8_t)d, (uint8_t)wide};
        return true;
      }
  return false;
}

#define EXACT (CHX_BIT(CHX_I32) | CHX_BIT(CHX_U32) | CHX_BIT(CHX_I64) | CHX_BIT(CHX_U64))
static bool scatter_example(uint32_t i, void *of) { return nth(i, CHX_NUMBERS & ~EXACT, of); }
static bool atomic_example(uint32_t i, void *of) { return nth(i, EXACT | CHX_BIT(CHX_F32), of); }

enum { WALK, TILE, TARGETS, RUNS, ENDS };
static const char *const take_functions[] = {"take", NULL}, *const atomic_functions[] = {"atomic", NULL},
                         *const scatter_functions[] = {"walk", "tile", "targets", "runs", "ends", NULL};
const gpu_family gpu_take_family = {"take", sizeof(spec), write_take, take_example, take_functions};
const gpu_family gpu_scatter_family = {"scatter", sizeof(spec), write_scatter, scatter_example, scatter_functions};
const gpu_family gpu_atomic_family = {"atomic", sizeof(spec), write_atomic, atomic_example, atomic_functions};

/* ---- geometry ------------------------------------------------------------------------------------------------ */

/* Operands of a call, all with the axes of v, `at` .. at + many - 1 of which a list of indices runs over. */
typedef struct view {
  chx_tensor t[3];
  int64_t shape[CHX_MAX_RANK], strides[3][CHX_MAX_RANK];
  int ndim, at, many;
} view;

static void view_of(view *w, const chx_tensor *z, const chx_tensor *v, const chx_tensor *i, int axis, bool along)
{
  const chx_tensor *const op[] = {z, v, i};
  w->ndim = v->ndim;
  w->at = axis;
  w->many = along ? 1 : i->ndim;
  for (int d = 0; d < v->ndim; d++) {
    const bool listed = d >= axis && d < axis + w->many;
    w->shape[d] = v->shape[d];
    w->strides[Z][d] = listed ? 0 : z->strides[d < axis ? d : d - w->many + 1];
    w->strides[V][d] = v->strides[d];
    w->strides[I][d] = along ? i->strides[d] : listed ? i->strides[d - axis] : 0;
  }
  for (int k = 0; k < 3; k++) {
    w->t[k] = *op[k];
    w->t[k].shape = w->shape;
    w->t[k].strides = w->strides[k];
  }
}

/* Appends axes from .. past - 1 and from2 .. past2 - 1 of w to a's, innermost first; the count of their elements. */
static int64_t add_axes(index_args *a, const view *w, int from, int past, int from2, int past2)
{
  int64_t shape[CHX_MAX_RANK], strides[3][CHX_MAX_RANK];
  chx_tensor t[3];
  gpu_geometry geo;
  int n = 0;
  for (int d = from; d < past2; d++) {
    if (d >= past && d < from2) continue;
    shape[n] = w->shape[d];
    for (int k = 0; k < 3; k++) strides[k][n] = w->strides[k][d];
    n++;
  }
  for (int k = 0; k < 3; k++) {
    t[k] = w->t[k];
    t[k].strides = strides[k];
  }
  gpu_geometry_of(&geo, n, shape, (const chx_tensor *[]){&t[Z], &t[V], &t[I]}, 3);
  for (int d = geo.nd - 1; d >= 0; d--, a->nd++) {
    a->dim[a->nd] = geo.dim[d];
    for (int k = 0; k < 3; k++) a->st[k][a->nd] = geo.stride[k][d];
  }
  memcpy(a->off, geo.offset, sizeof a->off);
  return geo.n;
}

static index_args args_of(const view *w, const chx_tensor *z, int axis, bool lists, int op)
{
  index_args a = {.length = z->shape[axis], .step = z->strides[axis], .lines = 1, .list = 1, .op = op, .axis = axis};
  if (lists) {
    a.list = add_axes(&a, w, w->at, w->at + w->many, w->at + w->many, w->at + w->many);
    a.nk = a.nd;
    a.lines = add_axes(&a, w, 0, w->at, w->at + w->many, w->ndim);
    a.n = a.list * a.lines;
  } else
    a.n = add_axes(&a, w, 0, w->ndim, w->ndim, w->ndim);
  return a;
}

/* ---- take ---------------------------------------------------------------------------------------------------- */

/* What a word of dtype is where there is nothing to read, as often as 64 bits hold it. */
static uint64_t fill_of(int dtype)
{
  switch (dtype) {
  case CHX_F16: return 0x7e007e007e007e00;
  case CHX_BF16: return 0x7fc07fc07fc07fc0;
  case CHX_F32: case CHX_C64: return 0x7fc000007fc00000;
  case CHX_F64: case CHX_C128: return 0x7ff8000000000000;
  default: return 0;
  }
}

/* Neighbours that share an index move as one word where that is possible; the word's size. */
static int widen(index_args *a, int size, const void *z, const void *v)
{
  int many = 16 / size;
  if (a->nd < 1 || a->st[Z][0] != 1 || a->st[V][0] != 1 || a->st[I][0] != 0) return size;
  int64_t all = a->dim[0] | a->step | a->off[Z] | a->off[V];
  for (int d = 1; d < a->nd; d++) all |= a->st[Z][d] | a->st[V][d];
  const uintptr_t buffers = (uintptr_t)z | (uintptr_t)v; /* where an address, perhaps a user's, which begins anywhere */
  while (many > 1 && (all % many || buffers % (uintptr_t)(many * size))) many /= 2;
  a->n /= many, a->dim[0] /= many, a->step /= many, a->off[Z] /= many, a->off[V] /= many;
  for (int d = 1; d < a->nd; d++) a->st[Z][d] /= many, a->st[V][d] /= many;
  return size * many;
}

static char is_along; /* its address says so */

static chx_status take(void *self, const chx_call *c)
{
  const chx_tensor *z = &c->in[0], *i = &c->in[1], *v = &c->out[0];
  const int axis = (int)((const chx_axis_attr *)c->attr)->axis;
  gpu_function *fn;
  void *late;
  view w;
  if (!gpu_count(v)) return CHX_OK;
  view_of(&w, z, v, i, axis, self == &is_along);
  index_args a = args_of(&w, z, axis, false, self == &is_along ? GPU_TAKE_ALONG : GPU_TAKE);
  a.fill = fill_of(gpu_dtype(z));
  const int size = widen(&a, gpu_types[gpu_dtype(z)].bytes, z->data, v->data);
  const spec p = {(uint8_t)size, a.n > INT32_MAX};
  chx_status st = gpu_find(gpu_of(c->dev), &gpu_take_family, &p, 0, &fn);
  if (!st) st = gpu_report_buffer(c, &late);
  if (st) return st;
  const gpu_arg args[] = {GPU_BUFFER(z->data), GPU_BUFFER(i->data), GPU_BUFFER(v->data), GPU_BUFFER(late),
                          GPU_VALUE(a)};
  return gpu_launch(c, fn, (uint64_t)a.n, args, 5);
}

/* ---- scatter_add --------------------------------------------------------------------------------------------- */

/* z begins as x, unless it is x. */
static chx_status begin(const chx_call *c)
{
  const chx_tensor *x = &c->in[0], *z = &c->out[0];
  chx_call copy = *c;
  if (x->data == z->data && x->byte_offset == z->byte_offset) return CHX_OK;
  copy.n_in = 1;
  copy.attr = NULL;
  return gpu_copy_kernels[0].run(gpu_copy_kernels[0].self, &copy);
}

static chx_status by_atomics(const chx_call *c, const view *w, int axis, int op)
{
  const index_args a = args_of(w, &c->out[0], axis, false, op);
  const spec p = {(uint8_t)gpu_dtype(&c->out[0]), a.n > INT32_MAX};
  gpu_function *fn;
  void *late;
  chx_status st = gpu_find(gpu_of(c->dev), &gpu_atomic_family, &p, 0, &fn);
  if (!st) st = gpu_report_buffer(c, &late);
  if (st) return st;
  const gpu_arg args[] = {GPU_BUFFER(c->out[0].data), GPU_BUFFER(c->in[2].data), GPU_BUFFER(c->in[1].data),
                          GPU_BUFFER(late), GPU_VALUE(a)};
  return gpu_launch(c, fn, (uint64_t)a.n, args, 5);
}

static chx_status by_lines(const chx_call *c, const spec *p, const index_args *a, int which)
{
  gpu_function *fn;
  void *late;
  chx_status st = gpu_find(gpu_of(c->dev), &gpu_scatter_family, p, (uint32_t)which, &fn);
  if (!st) st = gpu_report_buffer(c, &late);
  if (st) return st;
  const gpu_arg args[] = {GPU_BUFFER(c->out[0].data), GPU_BUFFER(c->in[2].data), GPU_BUFFER(c->in[1].data),
                          GPU_BUFFER(late), GPU_VALUE(*a)};
  return gpu_launch(c, fn, (uint64_t)a->lines * (which == TILE ? GPU_WG : 1), args, 5);
}

/* All places of the lists, sorted by target. */
static chx_status by_order(const chx_call *c, const spec *p, index_args *a)
{
  gpu_device *g = gpu_of(c->dev);
  const int64_t places = a->along ? a->n : a->list, columns = a->along ? 1 : a->lines,
                spans = (places + SPAN - 1) / SPAN;
  const int dtype = gpu_dtype(&c->out[0]);
  gpu_function *fn[ENDS + 1];
  void *keys, *ids, *late;
  chx_status st = gpu_report_buffer(c, &late);
  for (int k = TARGETS; k <= ENDS && !st; k++) st = gpu_find(g, &gpu_scatter_family, p, (uint32_t)k, &fn[k]);
  if (st) return st;
  a->spans = (int32_t)spans;
  void *to = g->host->scratch(g->host->ctx, c, (uint64_t)places * 4);
  void *part =
      to ? g->host->scratch(g->host->ctx, c, (uint64_t)(2 * spans * columns) * (dtype == CHX_F64 ? 8 : 4)) : NULL;
  if (!part) return gpu_fail(g, CHX_ENOMEM, "%s: no memory to order %lld indices", g->spec, (long long)places);
  const gpu_arg targets[] = {GPU_BUFFER(c->in[1].data), GPU_BUFFER(to), GPU_VALUE(places), GPU_BUFFER(late),
                             GPU_VALUE(*a)};
  st = gpu_launch(c, fn[TARGETS], (uint64_t)places, targets, 5);
  if (!st) st = gpu_order(c, to, places, &keys, &ids);
  if (st) return st;
  const gpu_arg runs[] = {GPU_BUFFER(c->out[0].data), GPU_BUFFER(c->in[2].data), GPU_BUFFER(keys), GPU_BUFFER(ids),
                          GPU_BUFFER(part), GPU_VALUE(places), GPU_VALUE(columns), GPU_VALUE(*a)};
  st = gpu_launch(c, fn[RUNS], (uint64_t)(places * columns), runs, 8);
  if (st || spans < 2) return st;
  const gpu_arg ends[] = {GPU_BUFFER(c->out[0].data), GPU_BUFFER(keys),   GPU_BUFFER(part),
                          GPU_VALUE(places),          GPU_VALUE(columns), GPU_VALUE(*a)};
  return gpu_launch(c, fn[ENDS], (uint64_t)(spans * columns), ends, 6);
}

static int64_t magnitude(int64_t v) { return v < 0 ? -v : v; }

enum { SHORT = 8, LONG = 4096, FEW = 64, MANY = 1024 };

/* Short lists are walked. Lists are sorted if many lines share one, or if lines are too few to fill a device by
 * themselves; else lines are taken by groups, or by threads where neighbouring lines are neighbours in v. */
static chx_status in_order(const chx_call *c, const view *w, int axis, bool along)
{
  index_args a = args_of(w, &c->out[0], axis, true, along ? GPU_SCATTER_ALONG : GPU_SCATTER);
  const spec p = {(uint8_t)gpu_dtype(&c->out[0]), a.n > INT32_MAX};
  const bool by_list = a.nk == a.nd || (a.nk && magnitude(a.st[V][0]) < magnitude(a.st[V][a.nk]));
  const bool sortable =
      along ? a.n < INT32_MAX && a.lines <= INT32_MAX / a.length : a.list < INT32_MAX && a.length < INT32_MAX;
  a.along = along;
  if (a.list <= SHORT || gpu_of(c->dev)->reference) return by_lines(c, &p, &a, WALK);
  if (sortable && ((!along && a.lines > 1) || (a.list > LONG && a.lines <= FEW))) return by_order(c, &p, &a);
  return by_lines(c, &p, &a, by_list || a.lines < MANY ? TILE : WALK);
}

static chx_status scatter_add(void *self, const chx_call *c)
{
  gpu_device *g = gpu_of(c->dev);
  const chx_tensor *i = &c->in[1], *v = &c->in[2], *z = &c->out[0];
  const int axis = (int)((const chx_axis_attr *)c->attr)->axis, dtype = gpu_dtype(z);
  const bool along = self == &is_along;
  view w;
  if (!gpu_count(z)) return CHX_OK;
  const chx_status st = begin(c);
  if (st || !gpu_count(v)) return st;
  view_of(&w, z, v, i, axis, along);
  const int op = along ? GPU_SCATTER_ALONG : GPU_SCATTER;
  if (EXACT >> dtype & 1) return by_atomics(c, &w, axis, op);
  const char *any = dtype == CHX_F32 ? g->host->option(g->host->ctx, "CHX_GPU_ATOMIC_SCATTER") : NULL;
  return any && !strcmp(any, "1") ? by_atomics(c, &w, axis, op) : in_order(c, &w, axis, along);
}

#define ANY (CHX_ANY_REAL | CHX_BIT(CHX_C64) | CHX_BIT(CHX_C128))
#define KERNEL(name, fn, what, dtypes, alias)                                                                 \
  {GPU_KERNEL, .op = name, .attr_size = sizeof(chx_axis_attr), .dtypes_in = dtypes | CHX_BIT(CHX_I64),        \
   .dtypes_out = dtypes, .alias_ok = alias, .run = fn, .self = what}
const chx_kernel gpu_index_kernels[] = {
  KERNEL("take", take, NULL, ANY, 0),
  KERNEL("take_along_axis", take, &is_along, ANY, 0),
  KERNEL("scatter_add", scatter_add, NULL, CHX_NUMBERS, 1),
  KERNEL("scatter_add_along_axis", scatter_add, &is_along, CHX_NUMBERS, 1),
  {0}};
