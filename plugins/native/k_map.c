/* SPDX-License-Identifier: MIT
 * k_map.c: programs of elementwise operators, block by block.
 *
 * A block is a few hundred elements that stay in the first-level cache. An operand that is dense is read where it
 * lies, one that is a single element is a scalar to the loops, any other is gathered into a buffer; f16 and bf16 are
 * widened to float there, and every result of theirs is rounded, so that a fused chain gives what its operators give
 * one by one. Buffers lie on the stack, so there is no allocation; the more a program needs, the shorter its blocks.
 */
#include "half.h"
#include "loops.h"

enum { STACK = 16384, MAX_IN = NAT_WALK_OPS - 1, MAX_PLACES = MAX_IN + CHX_MAP_STEPS + 1, OUT_PLACE = 255, SHORT_RUN = 48, TILE_FROM = 4096, TALL = 64 };

int NAT(nat_program_add)(nat_program *p, const nat_row *row, const uint8_t *in, const int *dtypes)
{
  const int dtype = dtypes[row->n_in - 1];
  nat_instr *s = &p->step[p->n_steps];

  for (int k = 0; k < row->n_in; k++) {
    s->in[k] = in[k];
    if (dtypes[k] != (row->is_where && k == 0 ? CHX_BOOL : dtype)) return 0;
  }
  s->fn = row->loop[nat_is_half(dtype) ? CHX_F32 : dtype];
  if (!s->fn) return 0;
  s->n_in = row->n_in;
  s->dtype = (uint8_t)(row->to_bool ? CHX_BOOL : dtype);
  p->cost += row->cost;
  p->n_steps++;
  return s->dtype;
}

/* ---- running -------------------------------------------------------------------------------------------------- */

typedef struct job {
  const nat_program *p;
  nat_walk w;                                     /* operand 0 is the output, 1 + k is input k */
  int64_t block;
  int64_t size[NAT_WALK_OPS];                     /* bytes of an element */
  uint8_t dtype[NAT_WALK_OPS], place[NAT_WALK_OPS];
  uint8_t scalar[NAT_WALK_OPS], direct[NAT_WALK_OPS];
  float widened[NAT_WALK_OPS];                    /* a scalar of a 16-bit float */
  int tiled;                                      /* the axis of transposed_axis, or -1 */
  int64_t edge;
} job;

/* Input k's elements from begin on, as the loops want them. */
static const void *load(const job *j, int k, int64_t begin, int64_t n, char *stack)
{
  const int64_t size = j->size[k];
  const char *p = j->w.base[k];
  char *buffer = stack + j->place[k] * j->block * 8;

  if (j->scalar[k]) return nat_is_half(j->dtype[k]) ? (const void *)&j->widened[k] : p;
  if (j->direct[k]) p += begin * size;
  if (nat_is_half(j->dtype[k])) {
    if (!j->direct[k]) {
      char *upper = buffer + j->block * 4; /* the half of the buffer that the floats overwrite last */
      nat_gather(&j->w, k, size, begin, n, upper + j->block * 2);
      p = upper + j->block * 2;
    }
    nat_widen(j->dtype[k], n, p, (float *)(void *)buffer);
    return buffer;
  }
  if (j->direct[k]) return p;
  nat_gather(&j->w, k, size, begin, n, buffer);
  return buffer;
}

static void run_block(const job *j, int64_t begin, int64_t n, char *stack)
{
  const nat_program *p = j->p;
  const void *value[MAX_IN + CHX_MAP_STEPS];
  uint8_t scalar[MAX_IN + CHX_MAP_STEPS];
  char *spare = stack; /* place 0 */
  char *out = j->w.base[0] + (j->direct[0] ? begin * j->size[0] : 0);

  for (int k = 0; k < p->n_in; k++) {
    value[k] = load(j, k + 1, begin, n, stack);
    scalar[k] = j->scalar[k + 1];
  }
  for (int i = 0; i < p->n_steps; i++) {
    const nat_instr *s = &p->step[i];
    const int half = nat_is_half(s->dtype), last = i + 1 == p->n_steps;
    void *v = s->place == OUT_PLACE ? out : stack + s->place * j->block * 8;
    const void *in[3] = {NULL, NULL, NULL};
    int scalars = 0;
    for (int k = 0; k < s->n_in; k++) {
      in[k] = value[s->in[k]];
      scalars |= scalar[s->in[k]] << k;
    }
    s->fn(n, in[0], in[1], in[2], v, scalars);
    value[p->n_in + i] = v;
    scalar[p->n_in + i] = 0;
    if (half) {
      void *to = last && j->direct[0] ? out : spare;
      nat_narrow(s->dtype, n, v, to);
      if (!last) nat_widen(s->dtype, n, to, v);
      else if (!j->direct[0]) nat_scatter(&j->w, 0, j->size[0], begin, n, to);
    } else if (last && !j->direct[0])
      nat_scatter(&j->w, 0, j->size[0], begin, n, v);
  }
}

static void block_range(int64_t begin, int64_t end, void *ctx)
{
  const job *j = ctx;
  char stack[STACK] __attribute__((aligned(64)));

  for (; begin < end; begin += j->block) run_block(j, begin, end - begin < j->block ? end - begin : j->block, stack);
}

/* One step over long runs that are dense in each operand: no buffers at all. */
static void run_range(int64_t begin, int64_t end, void *ctx)
{
  const job *j = ctx;
  const nat_instr *s = &j->p->step[0];
  nat_walk w = j->w;

  if (w.rank == 2 && end - begin == w.n) { /* as a bias added to each row: no bookkeeping */
    const char *in[3] = {NULL, NULL, NULL};
    int64_t row[3] = {0, 0, 0};
    char *out = w.base[0];
    int scalars = 0;
    for (int k = 0; k < s->n_in; k++) {
      const int from = 1 + s->in[k];
      in[k] = w.base[from];
      row[k] = w.stride[from][0];
      scalars |= (w.step[from] == 0) << k;
    }
    for (int64_t r = w.dim[0]; r > 0; r--, out += w.stride[0][0]) {
      s->fn(w.dim[1], in[0], in[1], in[2], out, scalars);
      for (int k = 0; k < s->n_in; k++) in[k] += row[k];
    }
    return;
  }
  nat_walk_seek(&w, begin, end);
  for (int64_t n; (n = nat_walk_next(&w)) != 0;) {
    const void *in[3] = {NULL, NULL, NULL};
    int scalars = 0;
    for (int k = 0; k < s->n_in; k++) {
      in[k] = w.p[1 + s->in[k]];
      scalars |= (w.step[1 + s->in[k]] == 0) << k;
    }
    s->fn(n, in[0], in[1], in[2], w.p[0], scalars);
  }
}

static int has_long_runs(const job *j)
{
  const nat_walk *w = &j->w;
  if (j->p->n_steps != 1 || w->dim[w->rank - 1] < SHORT_RUN || w->step[0] != j->size[0]) return 0;
  for (int k = 0; k < w->n_op; k++)
    if (nat_is_half(j->dtype[k]) || (w->step[k] != j->size[k] && w->step[k] != 0)) return 0;
  return 1;
}

/* An operand that is dense along another axis t than the rest, a transposed one, would be read one element per cache
 * line. So TALL of axis t are taken at a time, and of the last axis as many as a line holds: what is in a line is then
 * used before the line is gone. */
static int transposed_axis(const job *j, int64_t *edge)
{
  const nat_walk *w = &j->w;
  const int in = w->rank - 1;
  int t = -1;

  if (w->n < TILE_FROM || w->rank == CHX_MAX_RANK) return -1;
  for (int k = 0; k < w->n_op; k++)
    if (!j->scalar[k] && w->step[k] != j->size[k] && w->step[k] != 0)
      for (int d = 0; d < in; d++)
        if (w->stride[k][d] == j->size[k] && w->dim[d] >= 8 && w->dim[in] >= 8) {
          t = t < 0 || d < t ? d : t;
          *edge = 64 / j->size[k];
        }
  return t;
}

/* The part [from, from + n) of an axis. */
static void restrict_axis(nat_walk *w, int axis, int64_t from, int64_t n)
{
  w->n = w->n / w->dim[axis] * n;
  w->dim[axis] = n;
  for (int k = 0; k < w->n_op; k++) w->base[k] += from * w->stride[k][axis];
}

/* The last axis, `pieces` times `edge` long, becomes two, the former right before axis t. */
static void split_last_axis(nat_walk *w, int t, int64_t edge)
{
  const int in = w->rank - 1;
  const int64_t pieces = w->dim[in] / edge;

  for (int d = in; d >= t; d--) w->dim[d + 1] = w->dim[d];
  w->dim[in + 1] = edge;
  w->dim[t] = pieces;
  for (int k = 0; k < w->n_op; k++) {
    for (int d = in; d >= t; d--) w->stride[k][d + 1] = w->stride[k][d];
    w->stride[k][t] = w->step[k] * edge;
  }
  w->rank++;
}

static void tile_range(int64_t begin, int64_t end, void *ctx)
{
  const job *all = ctx;
  const int t = all->tiled, in = all->w.rank - 1;

  for (int64_t from = begin * TALL; begin < end; begin++, from += TALL) {
    job j = *all;
    const int64_t rest = all->w.dim[t] - from, last = all->w.dim[in], whole = last / all->edge * all->edge;
    restrict_axis(&j.w, t, from, rest < TALL ? rest : TALL);
    nat_walk tail = j.w;
    if (whole) {
      restrict_axis(&j.w, in, 0, whole);
      split_last_axis(&j.w, t, all->edge);
      block_range(0, j.w.n, &j);
    }
    if (whole == last) continue;
    restrict_axis(&tail, in, whole, last - whole);
    j.w = tail;
    block_range(0, j.w.n, &j);
  }
}

/* Give every result a place: the output itself where it can be written directly, else a buffer that no later step
 * reads any more. Place 0 is spare. Returns how many there are. */
static int assign_places(nat_program *p, job *j)
{
  int last_use[MAX_IN + CHX_MAP_STEPS] = {0}, n = 1, free_at[MAX_PLACES];

  for (int k = 1; k <= p->n_in; k++)
    if (!j->scalar[k] && (!j->direct[k] || nat_is_half(j->dtype[k]))) j->place[k] = (uint8_t)n++;
  const int first = n;
  for (int i = 0; i < p->n_steps; i++)
    for (int k = 0; k < p->step[i].n_in; k++) last_use[p->step[i].in[k]] = i;
  for (int i = 0; i < p->n_steps; i++) {
    nat_instr *s = &p->step[i];
    if (i + 1 == p->n_steps && j->direct[0] && !nat_is_half(s->dtype)) {
      s->place = OUT_PLACE;
      break;
    }
    int at = first;
    while (at < n && free_at[at] >= i) at++;
    if (at == n) n++;
    free_at[at] = last_use[p->n_in + i] > i ? last_use[p->n_in + i] : i;
    s->place = (uint8_t)at;
  }
  return n;
}

chx_status NAT(nat_program_run)(nat_program *p, const chx_call *c)
{
  const chx_tensor *t[NAT_WALK_OPS], *out = c->out;
  job j;

  t[0] = out;
  for (int k = 0; k < p->n_in; k++) t[k + 1] = &c->in[k];
  nat_walk_init(&j.w, out->ndim, out->shape, p->n_in + 1, t);
  if (j.w.n == 0) return CHX_OK;
  j.p = p;
  for (int k = 0; k <= p->n_in; k++) {
    j.dtype[k] = (uint8_t)nat_dtype(t[k]);
    j.size[k] = nat_size(t[k]);
    j.scalar[k] = (uint8_t)(k > 0 && nat_walk_is_scalar(&j.w, k));
    if (j.scalar[k] && nat_is_half(j.dtype[k])) nat_widen(j.dtype[k], 1, j.w.base[k], &j.widened[k]);
  }
  const int64_t grain = NAT_GRAIN / p->cost > 1024 ? NAT_GRAIN / p->cost : 1024;
  if (has_long_runs(&j)) {
    nat_parallel(j.w.n, grain, run_range, &j);
    return CHX_OK;
  }
  j.tiled = transposed_axis(&j, &j.edge);
  for (int k = 0; k <= p->n_in; k++) j.direct[k] = (uint8_t)(j.tiled < 0 && nat_walk_is_dense(&j.w, k, j.size[k]));
  j.block = STACK / 8 / assign_places(p, &j) & ~15;
  if (j.block > 512) j.block = 512;
  if (j.tiled < 0) nat_parallel(j.w.n, grain, block_range, &j);
  else {
    const int64_t tiles = (j.w.dim[j.tiled] + TALL - 1) / TALL, cost = j.w.n / tiles;
    nat_parallel(tiles, cost >= grain ? 1 : grain / cost, tile_range, &j);
  }
  return CHX_OK;
}

/* ---- map ------------------------------------------------------------------------------------------------------ */

static chx_status map(void *self, const chx_call *c)
{
  const chx_map_attr *attr = c->attr;
  const chx_program *source = &attr->program;
  int dtype[MAX_IN + CHX_MAP_STEPS];
  nat_program p = {.n_in = (int)c->n_in};
  (void)self;

  if (c->n_in > MAX_IN || source->n < 1 || source->n > CHX_MAP_STEPS) return CHX_DECLINED;
  for (uint32_t k = 0; k < c->n_in; k++) dtype[k] = nat_dtype(&c->in[k]);
  for (int i = 0; i < source->n; i++) {
    const chx_map_step *s = &source->step[i];
    const uint8_t in[3] = {s->x, s->y, s->z};
    const nat_row *row = memchr(s->op, 0, sizeof s->op) ? NAT(nat_row_find)(s->op) : NULL;
    int of[3];
    if (!row) return CHX_DECLINED;
    for (int k = 0; k < row->n_in; k++) {
      if (in[k] >= p.n_in + i)
        return nat_fail(CHX_EARG, "map: step %d (%s) reads value %d, want less than %d", i, s->op, in[k], p.n_in + i);
      of[k] = dtype[in[k]];
    }
    dtype[p.n_in + i] = NAT(nat_program_add)(&p, row, in, of);
    if (!dtype[p.n_in + i]) return CHX_DECLINED;
  }
  if (dtype[p.n_in + p.n_steps - 1] != nat_dtype(c->out)) return CHX_DECLINED;
  return NAT(nat_program_run)(&p, c);
}

extern const chx_kernel NAT(nat_map_kernels)[];
const chx_kernel NAT(nat_map_kernels)[] = {
  {NAT_KERNEL, .op = "map", .attr_size = sizeof(chx_map_attr), .dtypes_in = CHX_ANY_REAL, .dtypes_out = CHX_ANY_REAL,
   .flags = CHX_K_SCALAR_OK, .alias_ok = 0x0101010101010101, .run = map},
  {.op = NULL}};
