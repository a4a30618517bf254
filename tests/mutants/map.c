/* SPDX-License-Identifier: MIT
 * map.c: the mutant's kernel of map, with a dozen of the elementwise operators.
 */
#include "mutant.h"
#include <math.h>
#include <sched.h>

typedef enum step_kind { SAME /* T of T */, FLOAT /* the same, of floats alone */, COMPARE /* bool of T */, SELECT } step_kind;
static const struct step { const char *op; step_kind kind; int n; } steps[] = {
  {"neg", SAME, 1}, {"abs", SAME, 1}, {"square", SAME, 1}, {"relu", SAME, 1}, {"sqrt", FLOAT, 1}, {"exp", FLOAT, 1},
  {"add", SAME, 2}, {"sub", SAME, 2}, {"mul", SAME, 2}, {"div", FLOAT, 2}, {"maximum", SAME, 2}, {"minimum", SAME, 2},
  {"less", COMPARE, 2}, {"where", SELECT, 3}};
enum { NEG, ABS, SQUARE, RELU, SQRT, EXP, ADD, SUB, MUL, DIV, MAXIMUM, MINIMUM, LESS, WHERE, STEPS };

static int step_of(const chx_map_step *s)
{
  int i = 0;
  while (i < STEPS && strncmp(steps[i].op, s->op, sizeof s->op)) i++;
  return IS(ACCEPTS_ALL) && i == STEPS ? ABS : i;
}

/* The dtype that is computed in: the one of what is no bool. */
static int common_dtype(const chx_tensor *t, int n)
{
  for (int i = 0; i < n; i++)
    if (CHX_T_DTYPE(&t[i]) != CHX_BOOL) return CHX_T_DTYPE(&t[i]);
  return CHX_BOOL;
}

static chx_status map_accepts(void *self, const chx_call *call)
{
  const chx_program *p = &((const chx_map_attr *)call->attr)->program;
  int type[MOST + CHX_MAP_STEPS], n = (int)call->n_in, T = common_dtype(call->in, n);
  (void)self;
  if (n >= MOST || T == CHX_BOOL || (IS_REFUSING && call->out[0].ndim == 2)) return CHX_DECLINED;
  for (int i = 0; i < n; i++) {
    type[i] = CHX_T_DTYPE(&call->in[i]);
    if (type[i] != T && type[i] != CHX_BOOL) return CHX_DECLINED;
  }
  for (int i = 0; i < p->n; i++, n++) {
    const chx_map_step *s = &p->step[i];
    int k = step_of(s);
    if (k == STEPS || (steps[k].kind == FLOAT && !is_float(T))) return CHX_DECLINED;
    if (type[s->x] != (steps[k].kind == SELECT ? CHX_BOOL : T)) return CHX_DECLINED;
    if (steps[k].n > 1 && type[s->y] != T) return CHX_DECLINED;
    if (steps[k].n > 2 && type[s->z] != T) return CHX_DECLINED;
    type[n] = steps[k].kind == COMPARE ? CHX_BOOL : T;
  }
  return type[n - 1] == CHX_T_DTYPE(&call->out[0]) ? CHX_OK : CHX_DECLINED;
}

static double step_float(int k, double x, double y)
{
  static atomic_uint calls;
  switch (k) {
  case NEG: return IS(LOSES_MINUS_0) ? 0 - x : -x;
  case ABS: return fabs(x);
  case SQUARE: return x * x;
  case RELU: return x > 0 || isnan(x) ? x : 0;
  case SQRT: return sqrt(x);
  case EXP: return IS(IS_NOT_DETERMINISTIC) && atomic_fetch_add(&calls, 1) & 1 ? exp(x) * (1 + 0x1p-23) : exp(x);
  case ADD: return x + y;
  case SUB: return x - y;
  case MUL: return x * y;
  case DIV: return x / y;
  case MAXIMUM: return x > y || (isnan(x) && !IS(MAXIMUM_DROPS_NAN)) ? x : y;
  default: return x < y || isnan(x) ? x : y;
  }
}

static int64_t step_integer(int k, int64_t x, int64_t y)
{
  switch (k) {
  case NEG: return -x;
  case ABS: return x < 0 ? -x : x;
  case SQUARE: return x * x;
  case RELU: return x > 0 ? x : 0;
  case ADD: return x + y;
  case SUB: return x - y;
  case MUL: return x * y;
  case MAXIMUM: return x > y ? x : y;
  default: return x < y ? x : y;
  }
}

static number step_number(int k, int T, number x, number y, number z)
{
  number v = {0, 0};
  if (k == WHERE) return x.i ? y : z;
  if (k == LESS) v.i = is_float(T) ? x.f < y.f : x.i < y.i;
  else if (is_float(T)) {
    v.f = step_float(k, x.f, y.f);
    if (T == CHX_F32 || IS(NARROW_F64)) v.f = (double)(float)v.f;
  } else {
    v.i = step_integer(k, x.i, y.i);
    if (IS(SATURATES)) v.i = v.i > INT32_MAX ? INT32_MAX : v.i < INT32_MIN ? INT32_MIN : v.i;
    v.i = (int32_t)(uint32_t)v.i;
  }
  return v;
}

static number operand(const chx_tensor *t, const int64_t *index)
{
  if (t->flags & CHX_T_HOST_SCALAR) return IS(IGNORES_SCALARS) ? (number){0, 0} : load(t->imm, CHX_T_DTYPE(t));
  return load(element(t, index), CHX_T_DTYPE(t));
}

/* What goes wrong around the output, if it is dense. */
static void around(const chx_tensor *out, int64_t n)
{
  if (!n || !(out->flags & CHX_T_CONTIGUOUS)) return;
  volatile char *p = bytes_of(out->data, out->byte_offset);
  if (IS(WRITES_PAST_THE_END)) p[n * size_of(out)] = 1;
  if (IS(WRITES_BEFORE_THE_START)) p[-1] = 1;
  if (IS(READS_PAST_THE_END)) (void)p[n * size_of(out)];
}

static chx_status map_body(kernel_job *k)
{
  const chx_program *p = &((const chx_map_attr *)k->attr)->program;
  static number shared[MOST + CHX_MAP_STEPS];
  number own[MOST + CHX_MAP_STEPS], *v = IS(NOT_REENTRANT) ? shared : own;
  int64_t index[CHX_MAX_RANK] = {0}, n = count(k->out);
  int n_in = (int)(k->out - k->t), T = common_dtype(k->t, n_in), step[CHX_MAP_STEPS], n_steps = IS(ONE_STEP_ALONE) ? 1 : (int)p->n;
  for (int i = 0; i < n_steps; i++) step[i] = step_of(&p->step[i]);
  if (IS(ALIAS_CLAIMED) && k->out->flags & CHX_T_CONTIGUOUS)
    memset(bytes_of(k->out->data, k->out->byte_offset), 0, (size_t)(n * size_of(k->out)));
  around(k->out, n);
  if (IS(SKIPS_THE_TAIL) && n > 4) n &= ~(int64_t)3;
  for (int64_t e = 0; e < n; e++, next(index, k->out)) {
    for (int i = 0; i < n_in; i++) v[i] = operand(&k->t[i], index);
    if (IS(NOT_REENTRANT) && e % 16 == 0) sched_yield();
    for (int i = 0; i < n_steps; i++) {
      const chx_map_step *s = &p->step[i];
      v[n_in + i] = step_number(step[i], T, v[s->x], v[s->y], v[s->z]);
    }
    store(element(k->out, index), CHX_T_DTYPE(k->out), v[n_in + n_steps - 1]);
  }
  return CHX_OK;
}

static chx_status map_run(void *self, const chx_call *call)
{
  (void)self;
  if (IS(ACCEPTS_THEN_DECLINES) && call->out[0].ndim == 4) return CHX_DECLINED;
  if (IS(ACCEPTS_THEN_FAILS) && call->out[0].ndim == 4) return fail(CHX_EUNSUPPORTED, "mutant: rank 4");
  if (IS(FAILS_MUTELY) && call->out[0].ndim == 4) return CHX_EFAILED;
  return queue_body(call, IS_REFUSING && call->out[0].ndim == 2 ? first_alone : map_body);
}
