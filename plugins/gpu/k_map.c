/* SPDX-License-Identifier: MIT
 * k_map.c: programs of elementwise operators: each row of elementwise.def from its own formula.
 *
 * The text of a program has a function for every instruction, which is the row's formula, and one kernel that loads the
 * operands of an element, runs the instructions and stores the last result. Results of f16 and bf16 are rounded after each
 * instruction, so that a fused chain gives what its operators give one by one.
 */
#include <stdio.h>
#include <string.h>
#include "gpu.h"

/* ---- rows -------------------------------------------------------------------------------------------------------------- */

typedef struct row {
  const char *name, *formula;
  uint8_t n_in;
  char klass, result; /* of elementwise.def */
} row;

/* Through a second macro, a formula's own macros would be expanded. */
static const row rows[] = {
#define EW1(ID, name, class, result, formula, keep, doc) {#name, #formula, 1, #class[0], #result[0]},
#define EW2(ID, name, class, result, formula, keep, doc) {#name, #formula, 2, #class[0], #result[0]},
#define EW3(ID, name, class, result, formula, keep, doc) {#name, #formula, 3, #class[0], #result[0]},
#include <chx/elementwise.def>
};
enum { ROWS = (int)(sizeof rows / sizeof *rows), SLOTS = 256 };

static uint8_t slots[SLOTS]; /* 1 + the row of a name's hash; filled once, by the same values in any thread */
static pthread_once_t slots_once = PTHREAD_ONCE_INIT;

static unsigned slot_of(const char *name)
{
  unsigned h = 0;
  for (; *name; name++) h = (h ^ (unsigned char)*name) * 16777619u;
  return (h ^ h >> 11) % SLOTS;
}

static void fill_slots(void)
{
  for (int r = 0; r < ROWS; r++) {
    unsigned s = slot_of(rows[r].name);
    while (slots[s]) s = (s + 1) % SLOTS;
    slots[s] = (uint8_t)(r + 1);
  }
}

static int row_of(const char *name)
{
  pthread_once(&slots_once, fill_slots);
  for (unsigned s = slot_of(name); slots[s]; s = (s + 1) % SLOTS)
    if (!strcmp(rows[slots[s] - 1].name, name)) return slots[s] - 1;
  return -1;
}

static bool takes(char klass, int dtype)
{
  const char kind = gpu_types[dtype].kind;
  switch (klass) {
  case 'F': case 'D': return kind == 'F';
  case 'N': return kind == 'F' || kind == 'I' || kind == 'U';
  case 'A': case 'W': return kind != 'C';
  case 'I': return kind == 'I' || kind == 'U' || kind == 'B';
  case 'Z': return kind == 'I' || kind == 'U';
  default: return kind == 'B';
  }
}

/* ---- a program's spec ---------------------------------------------------------------------------------------------------- */

typedef struct step { uint8_t row, x, y, z; } step;
typedef struct spec {
  uint8_t n_in, n_steps, maxd, wide; /* wide: 64-bit indices */
  uint8_t dtype[GPU_OPERANDS];       /* of the operands */
  step steps[CHX_MAP_STEPS];
} spec;

/* The dtypes of all values: operands, then results; false: an instruction does not take its operands. */
static bool value_dtypes(const spec *p, uint8_t *dtype)
{
  memcpy(dtype, p->dtype, p->n_in);
  for (int k = 0; k < p->n_steps; k++) {
    const step *s = &p->steps[k];
    const row *r = &rows[s->row];
    const uint8_t in[3] = {s->x, s->y, s->z};
    for (int i = 0; i < r->n_in; i++)
      if (in[i] >= p->n_in + k) return false;
    const int d = dtype[in[r->n_in - 1]];
    for (int i = 0; i < r->n_in; i++)
      if (dtype[in[i]] != (r->klass == 'W' && i == 0 ? CHX_BOOL : d)) return false;
    if (!takes(r->klass, d)) return false;
    dtype[p->n_in + k] = (uint8_t)(r->result == 'B' ? CHX_BOOL : d);
  }
  return true;
}

/* The reference mode has quotients in f64 (refnames.h), which the cast of the result rounds. */
static void write_formula(gpu_text *t, const char *formula)
{
  for (const char *over; (over = strchr(formula, '/')); formula = over + 1)
    gpu_add(t, "%.*s/ CHX_QUOTIENT", (int)(over - formula), formula);
  gpu_raw(t, formula);
}

static void write_step(gpu_text *t, int k, const row *r, int d, int made)
{
  const char *in = gpu_types[d].name, *out = gpu_types[made].name;
  gpu_add_kind(t, d);
  gpu_add(t, "DEVFN t_%s f%d(%s%s x", out, k, r->klass == 'W' ? "" : "t_", r->klass == 'W' ? "i32" : in);
  if (r->n_in > 1) gpu_add(t, ", t_%s y", in);
  if (r->n_in > 2) gpu_add(t, ", t_%s z", in);
  gpu_add(t, ")\n{\n  typedef t_%s T;\n  typedef %s U;\n  return ", in, gpu_types[d].wrap);
  if (made == CHX_F16 || made == CHX_BF16) gpu_add(t, "round_%s(", out);
  else if (made == CHX_BOOL) gpu_raw(t, "0 != (");
  else gpu_add(t, "(t_%s)(", out);
  write_formula(t, r->formula);
  gpu_raw(t, ");\n}\n");
}

static void write(gpu_text *t, const void *of)
{
  const spec *p = of;
  uint8_t dtype[GPU_OPERANDS + CHX_MAP_STEPS] = {0};
  if (!value_dtypes(p, dtype)) {
    t->failed = true;
    return;
  }
  const int last = p->n_in + p->n_steps - 1, operands = p->n_in + 1; /* the output is operand 0 */
  gpu_raw(t, gpu_text_formula);
  gpu_raw(t, "#ifdef GPU_REFERENCE\n");
  gpu_raw(t, gpu_text_refmath);
  gpu_raw(t, gpu_text_refnames);
  gpu_raw(t, "#else\n#define CHX_QUOTIENT\n#endif\n");
  for (int k = 0; k < p->n_steps; k++) {
    const row *r = &rows[p->steps[k].row];
    const uint8_t in[3] = {p->steps[k].x, p->steps[k].y, p->steps[k].z};
    write_step(t, k, r, dtype[in[r->n_in - 1]], dtype[p->n_in + k]);
  }
  gpu_add_geom(t, operands, p->maxd);
  gpu_raw(t, "KERNEL LAUNCH_BOUNDS(WG) void map(");
  for (int i = 0; i < p->n_in; i++)
    gpu_add(t, "CONSTARG s_%s *x%d, t_%s c%d, ", gpu_types[p->dtype[i]].name, i, gpu_types[p->dtype[i]].name, i);
  gpu_add(t, "GLOBAL s_%s *y, geom g)\n{\n", gpu_types[dtype[last]].name);
  gpu_add(t, "  typedef %s index;\n  GRID_FOR(i, g.n) {\n", p->wide ? "i64" : "u32");
  gpu_raw(t, "    index rest = (index)i;\n");
  for (int b = 0; b < operands; b++) gpu_add(t, "    i64 at%d = g.off[%d];\n", b, b);
  gpu_raw(t, "    for (int d = 0; d < g.nd - 1; d++) {\n      const index next = rest / (index)g.dim[d], r = rest - next * (index)g.dim[d];\n");
  for (int b = 0; b < operands; b++) gpu_add(t, "      at%d += (i64)r * g.st[%d][d];\n", b, b);
  gpu_raw(t, "      rest = next;\n    }\n    const int top = g.nd > 0 ? g.nd - 1 : 0;\n");
  for (int b = 0; b < operands; b++) gpu_add(t, "    at%d += (i64)rest * g.st[%d][top];\n", b, b);
  for (int i = 0; i < p->n_in; i++) /* a scalar's bit is set in g.scalars: a program for each set of them would be too many */
    gpu_add(t, "    const t_%s v%d = g.scalars >> %d & 1 ? c%d : ld_%s(x%d, at%d);\n", gpu_types[p->dtype[i]].name, i, i, i,
            gpu_types[p->dtype[i]].name, i, i + 1);
  for (int k = 0; k < p->n_steps; k++) {
    const step *s = &p->steps[k];
    const int n = rows[s->row].n_in;
    gpu_add(t, "    const t_%s v%d = f%d(v%d", gpu_types[dtype[p->n_in + k]].name, p->n_in + k, k, s->x);
    if (n > 1) gpu_add(t, ", v%d", s->y);
    if (n > 2) gpu_add(t, ", v%d", s->z);
    gpu_raw(t, ");\n");
  }
  gpu_add(t, "    st_%s(y, at0, v%d);\n  }\n}\n", gpu_types[dtype[last]].name, last);
}

/* Every row for every dtype it takes, dense; then one of each rank bucket. */
static bool example(uint32_t i, void *of)
{
  spec *p = of;
  memset(p, 0, sizeof *p);
  p->maxd = 4;
  p->n_steps = 1;
  for (int r = 0; r < ROWS; r++)
    for (int d = CHX_BOOL; d <= CHX_F64; d++) {
      if (!takes(rows[r].klass, d) || i--) continue;
      p->n_in = rows[r].n_in;
      p->steps[0] = (step){(uint8_t)r, 0, 1, 2};
      for (int k = 0; k < p->n_in; k++) p->dtype[k] = (uint8_t)(rows[r].klass == 'W' && !k ? CHX_BOOL : d);
      return true;
    }
  if (i >= 4) return false;
  const int add = row_of("add"), tanh_row = row_of("tanh");
  p->n_in = 2;
  p->dtype[0] = p->dtype[1] = CHX_F32;
  p->steps[0] = (step){(uint8_t)add, 0, 1, 0};
  p->maxd = i & 1 ? 16 : 4;
  p->wide = i >= 2;
  p->n_steps = 2;
  p->steps[1] = (step){(uint8_t)tanh_row, 2, 0, 0};
  return true;
}

static const char *const functions[] = {"map", NULL};
const gpu_family gpu_map_family = {"map", sizeof(spec), write, example, functions};

/* ---- the kernel ------------------------------------------------------------------------------------------------------------- */

/* The spec of a call, but for what depends on shapes; false: not for us. */
static bool spec_of(const chx_call *c, spec *p)
{
  const chx_program *m = &((const chx_map_attr *)c->attr)->program;
  uint8_t dtype[GPU_OPERANDS + CHX_MAP_STEPS];
  memset(p, 0, sizeof *p);
  if (c->n_in >= GPU_OPERANDS || m->n < 1 || m->n > CHX_MAP_STEPS) return false;
  if (c->n_in > 5 && c->out[0].ndim > 4) return false; /* their strides would be more than the KiB that arguments may take */
  p->n_in = (uint8_t)c->n_in;
  p->n_steps = (uint8_t)m->n;
  for (int i = 0; i < p->n_in; i++) p->dtype[i] = (uint8_t)gpu_dtype(&c->in[i]);
  for (int k = 0; k < p->n_steps; k++) {
    const int r = row_of(m->step[k].op);
    if (r < 0) return false;
    p->steps[k] = (step){(uint8_t)r, m->step[k].x, m->step[k].y, m->step[k].z};
  }
  return value_dtypes(p, dtype) && dtype[p->n_in + p->n_steps - 1] == gpu_dtype(&c->out[0]);
}

static chx_status run(void *self, const chx_call *c)
{
  gpu_device *g = gpu_of(c->dev);
  const chx_tensor *y = &c->out[0], *op[GPU_OPERANDS] = {y};
  gpu_function *fn;
  gpu_geometry geo;
  gpu_arg args[2 * GPU_OPERANDS];
  unsigned char packed[GPU_GEOM_BYTES], values[GPU_OPERANDS][16] = {{0}};
  spec p;
  uint32_t n = 0, scalars = 0;
  (void)self;
  if (g->reference && !(g->dtypes & CHX_BIT(CHX_F64))) return CHX_DECLINED; /* its functions are in f64 */
  if (!spec_of(c, &p)) return CHX_DECLINED;
  for (int i = 0; i < p.n_in; i++) {
    op[i + 1] = &c->in[i];
    if (c->in[i].flags & CHX_T_HOST_SCALAR) scalars |= 1u << i;
  }
  gpu_geometry_of(&geo, y->ndim, y->shape, op, p.n_in + 1);
  if (!geo.n) return CHX_OK;
  geo.scalars = scalars;
  p.maxd = (uint8_t)gpu_rank_bucket(geo.nd);
  p.wide = geo.n > INT32_MAX;
  const chx_status st = gpu_find(g, &gpu_map_family, &p, 0, &fn);
  if (st) return st;
  for (int i = 0; i < p.n_in; i++) { /* of a scalar the output's buffer is passed, and not read */
    const bool scalar = scalars >> i & 1;
    args[n++] = GPU_BUFFER(scalar ? y->data : c->in[i].data);
    args[n++] = scalar ? gpu_scalar(&c->in[i], values[i]) : gpu_no_scalar(gpu_dtype(&c->in[i]), values[i]);
  }
  args[n++] = GPU_BUFFER(y->data);
  args[n++] = (gpu_arg){packed, (uint32_t)gpu_pack_geom(&geo, p.maxd, packed)};
  return gpu_launch(c, fn, (uint64_t)geo.n, args, n);
}

#define ALIAS_ALL 0x0101010101010101u /* element upon element, any operand */
const chx_kernel gpu_map_kernels[] = {
  {GPU_KERNEL_THAT(CHX_K_SCALAR_OK), .op = "map", .attr_size = sizeof(chx_map_attr), .dtypes_in = CHX_ANY_REAL, .dtypes_out = CHX_ANY_REAL,
   .alias_ok = ALIAS_ALL, .run = run},
  {0}};
