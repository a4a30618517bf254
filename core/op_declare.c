/* SPDX-License-Identifier: MIT
 * op_declare.c: operators that plugins declare ("chx.ops/1"): checked while the plugin's `open` runs, entered into the table when
 * it has succeeded. What they do then is in op_custom.c. The lock of loading is held throughout.
 */
#include "custom.h"
#include <stdio.h>
#include <stdlib.h>

enum { NAME_MAX_BYTES = 48, MOST_STEPS = 64, MOST_CONSTANTS = 1024 };

static chxi_custom *pending; /* by `link`, the newest first */
static int n_pending, n_entered;

/* ---- refusals ------------------------------------------------------------------------------------------------------- */

/* The sentence that open's failure is reported with. */
static chx_status refuse(chx_status code, const char *format, ...) __attribute__((format(printf, 2, 3)));
static chx_status refuse(chx_status code, const char *format, ...)
{
  chxi_thread *th = chxi_thread_self();
  va_list args;
  va_start(args, format);
  if (th) {
    vsnprintf(th->fail_text, sizeof th->fail_text, format, args);
    th->fail_code = code;
  }
  va_end(args);
  return code;
}

/* ---- the parts of a declaration --------------------------------------------------------------------------------------- */

static bool good_name(const char *name)
{
  size_t n = name ? strlen(name) : 0, dots = 0;
  for (size_t i = 0; i < n; i++) {
    char c = name[i];
    bool edge = i == 0 || i == n - 1 || name[i - 1] == '.';
    if (c == '.') dots++;
    if (!((c >= 'a' && c <= 'z') || (!edge && (c == '.' || c == '_')) || (c >= '0' && c <= '9'))) return false;
  }
  return dots && n < NAME_MAX_BYTES;
}

static int64_t size_of_field(uint64_t type)
{
  return type == CHX_ATTR_INTS      ? (int64_t)sizeof(chx_ints)
         : type == CHX_ATTR_PROGRAM ? (int64_t)sizeof(chx_program)
                                    : (int64_t)sizeof(int64_t);
}

static chx_status check_fields(const chx_op_decl *d)
{
  if (!d->n_fields && !d->attr_size) return CHX_OK;
  if (!d->field || d->attr_size < 16 || d->attr_size % 8 || d->attr_size > CHXI_ATTR_MAX)
    return refuse(CHX_EARG,
                  "%s: its attribute has %u fields and %u bytes, want at least one, and a multiple of 8 up to %d",
                  d->name, d->n_fields, d->attr_size, CHXI_ATTR_MAX);
  uint64_t end = 8;
  for (uint32_t i = 0; i < d->n_fields; i++) {
    const chx_op_field *f = &d->field[i];
    if (!f->name || f->type < CHX_ATTR_I64 || f->type > CHX_ATTR_PROGRAM)
      return refuse(CHX_EARG, "%s: attribute %u has no name, or the type %llu, want one of attr.h", d->name, i,
                    (unsigned long long)f->type);
    if (f->offset != end || f->offset + (uint64_t)size_of_field(f->type) > d->attr_size)
      return refuse(CHX_EARG, "%s: attribute '%s' is at offset %llu, want %llu and its end within %u bytes", d->name,
                    f->name, (unsigned long long)f->offset, (unsigned long long)end, d->attr_size);
    end += (uint64_t)size_of_field(f->type);
  }
  return end == d->attr_size ? CHX_OK
                             : refuse(CHX_EARG, "%s: the fields end at byte %llu, want the attribute's end, %u",
                                      d->name, (unsigned long long)end, d->attr_size);
}

static chx_status check_operands(const chx_op_decl *d)
{
  bool optional = false;
  if (d->n_in < 1 || d->n_in > 5 || !d->in || d->n_out < 1 || d->n_out > CHXI_MAX_OUT || !d->out)
    return refuse(CHX_EARG, "%s: %u inputs and %u outputs, want 1 to 5 and 1 to %d", d->name, d->n_in, d->n_out,
                  CHXI_MAX_OUT);
  for (uint32_t i = 0; i < d->n_in; i++) {
    if (!d->in[i].name) return refuse(CHX_EARG, "%s: input %u has no name", d->name, i);
    if ((i == 0 || optional) && (d->in[i].flags & 1) != optional)
      return refuse(CHX_EARG, "%s: input '%s': want the first to be needed, and none to be after an optional one",
                    d->name, d->in[i].name);
    optional = d->in[i].flags & 1;
  }
  for (uint32_t o = 0; o < d->n_out; o++)
    if (!d->out[o]) return refuse(CHX_EARG, "%s: output %u has no name", d->name, o);
  return CHX_OK;
}

static bool good_value(const chx_op_decl *d, const chx_op_body *b, uint32_t v, uint32_t known)
{
  if (v < CHX_V_CONSTANT(0)) return v < known;
  if (v == CHX_V_NONE) return true;
  if (v < CHX_V_ATTR(0)) return v - CHX_V_CONSTANT(0) < b->n_constants && b->constants;
  for (uint32_t i = 0; i < d->n_fields; i++)
    if (d->field[i].offset == v - CHX_V_ATTR(0)) return d->field[i].type <= CHX_ATTR_BOOL;
  return false;
}

static const chx_op *op_of_step(const char *name)
{
  const chx_op *op = name ? chx_op_find(name) : NULL;
  for (chxi_custom *c = pending; c && !op && name; c = c->link)
    if (!strcmp(c->op.name, name)) op = &c->op;
  return op;
}

/* Step k, which may read the values below `known`. */
static chx_status check_step(const chx_op_decl *d, const char *what, const chx_op_body *p, uint32_t k, uint32_t known,
                             const chx_op *op)
{
  const chx_op_step *step = &p->step[k];
  if (!op)
    return refuse(CHX_EUNSUPPORTED, "%s: step %u of its %s is '%s', want an operator that there is", d->name, k, what,
                  step->op ? step->op : "NULL");
  if (step->n_in > CHXI_KERNEL_IN || (step->n_in && !step->in) || (int)step->n_in < op->n_required ||
      (!op->variadic && (int)step->n_in > op->n_in))
    return refuse(CHX_EARG, "%s: step %u of its %s gives %s %u operands, want %d to %d", d->name, k, what, op->name,
                  step->n_in, op->n_required, op->variadic ? CHXI_KERNEL_IN : op->n_in);
  for (uint32_t i = 0; i < step->n_in; i++)
    if (!good_value(d, p, step->in[i], known))
      return refuse(CHX_EARG, "%s: step %u of its %s (%s) reads value %#x, want one of the %u before it or a scalar",
                    d->name, k, what, op->name, step->in[i], known);
  const uint32_t size = step->attr ? *(const uint32_t *)step->attr : 0;
  if (step->attr && (size < 8 || size > op->attr_size))
    return refuse(CHX_EARG, "%s: step %u of its %s (%s) has an attribute of %u bytes, want 8 to %u", d->name, k, what,
                  op->name, size, op->attr_size);
  for (uint32_t i = 0; i < step->n_bind; i++) {
    const chx_op_bind *at = &step->bind[i];
    if (at->from < 8 || at->to < 8 || (uint64_t)at->from + at->bytes > d->attr_size || (uint64_t)at->to + at->bytes > size)
      return refuse(CHX_EARG, "%s: step %u of its %s (%s) binds byte %u of %u to byte %u of %u, want %u bytes there",
                    d->name, k, what, op->name, at->from, d->attr_size, at->to, size, at->bytes);
  }
  return CHX_OK;
}

/* A body with n_operands operands and n_results results into b, with the operators of its steps. */
static chx_status check_body(const chx_op_decl *d, const char *what, const chx_op_body *given, uint32_t n_operands,
                             uint32_t n_results, chxi_body *b)
{
  uint32_t known = n_operands;
  if (!given) return CHX_OK;
  chx_op_body *p = &b->b;
  memcpy(p, given, given->size < sizeof *p ? given->size : sizeof *p);
  if (!p->step || p->n_steps < 1 || p->n_steps > MOST_STEPS || p->n_constants > MOST_CONSTANTS)
    return refuse(CHX_EARG, "%s: its %s has %u steps and %u constants, want 1 to %d and up to %d", d->name, what,
                  p->n_steps, p->n_constants, MOST_STEPS, MOST_CONSTANTS);
  if (!(b->ops = calloc(p->n_steps, sizeof *b->ops))) return refuse(CHX_ENOMEM, "%s: out of memory", d->name);
  for (uint32_t k = 0; k < p->n_steps; k++) {
    const chx_op *op = b->ops[k] = op_of_step(p->step[k].op);
    const chx_status st = check_step(d, what, p, k, known, op);
    if (st) return st;
    known += (uint32_t)op->n_out;
  }
  const uint32_t last = known - (uint32_t)b->ops[p->n_steps - 1]->n_out;
  if (!p->result && known - last < n_results)
    return refuse(CHX_EARG, "%s: the last step of its %s gives %u values, want %u", d->name, what, known - last,
                  n_results);
  for (uint32_t i = 0; i < n_results; i++) {
    b->result[i] = p->result ? p->result[i] : last + i;
    if (!(b->result[i] < known || (b->result[i] == CHX_V_NONE && !strcmp(what, "gradient"))))
      return refuse(CHX_EARG, "%s: result %u of its %s is value %#x, want one of the %u there are", d->name, i, what,
                    b->result[i], known);
  }
  b->n_values = known;
  return CHX_OK;
}

/* ---- the operator ------------------------------------------------------------------------------------------------------- */

/* "sub exp sum": the operators of the body, for the route. */
static bool name_parts(chxi_custom *c)
{
  size_t n = 1;
  for (uint32_t k = 0; k < c->body.b.n_steps; k++) n += strlen(c->body.ops[k]->name) + 1;
  char *text = calloc(1, n);
  if (!text) return false;
  for (uint32_t k = 0; k < c->body.b.n_steps; k++) {
    if (k) strcat(text, " ");
    strcat(text, c->body.ops[k]->name);
  }
  c->op.parts = c->parts = text;
  return true;
}

static bool fill(chxi_custom *c)
{
  const chx_op_decl *d = &c->d;
  chx_op *op = &c->op;
  op->name = d->name;
  op->doc = d->doc ? d->doc : "";
  op->version = (int)d->version;
  op->kind = CHXI_KERNEL;
  op->n_in = (int)d->n_in;
  op->n_out = (int)d->n_out;
  for (uint32_t i = 0; i < d->n_in; i++) {
    op->inputs[i] = d->in[i].name;
    op->n_required += !(d->in[i].flags & 1);
  }
  for (uint32_t o = 0; o < d->n_out; o++) op->outputs[o] = d->out[o];
  op->dtypes = d->dtypes;
  op->attr_size = d->attr_size;
  op->n_attrs = (int)d->n_fields;
  if (d->n_fields) {
    chx_op_attr *a = calloc(d->n_fields, sizeof *a);
    if (!a) return false;
    for (uint32_t i = 0; i < d->n_fields; i++)
      a[i] = (chx_op_attr){d->field[i].name, d->field[i].doc ? d->field[i].doc : "", (int)d->field[i].type,
                           (uint32_t)d->field[i].offset, d->field[i].def};
    op->attrs = c->attrs = a;
  }
  chxi_custom_entry(op, d, c->body.ops, c->grad.ops);
  return !c->body.ops || name_parts(c);
}

static void discard(chxi_custom *c)
{
  free(c->body.ops);
  free(c->grad.ops);
  free(c->attrs);
  free(c->parts);
  free(c);
}

/* Whether an operator that there is, is what d declares: two backends of a vendor may bring the same. */
static bool same_schema(const chx_op *op, const chx_op_decl *d)
{
  bool same = op->version == (int)d->version && op->n_in == (int)d->n_in && op->n_out == (int)d->n_out &&
              op->dtypes == d->dtypes && op->attr_size == d->attr_size && op->n_attrs == (int)d->n_fields;
  for (uint32_t i = 0; same && i < d->n_in; i++) same = !strcmp(op->inputs[i], d->in[i].name);
  for (uint32_t o = 0; same && o < d->n_out; o++) same = !strcmp(op->outputs[o], d->out[o]);
  for (uint32_t i = 0; same && i < d->n_fields; i++) {
    const chx_op_attr *a = &op->attrs[i];
    const chx_op_field *f = &d->field[i];
    same = !strcmp(a->name, f->name) && a->type == (int)f->type && a->offset == f->offset && a->def == f->def;
  }
  return same;
}

static chx_status check(chxi_custom *c)
{
  const chx_op_decl *d = &c->d;
  chx_status st;
  if (!good_name(d->name))
    return refuse(
        CHX_EARG,
        "operator '%.80s': want a name of lower case letters, digits, '_' and at least one '.', shorter than %d bytes",
        d->name ? d->name : "NULL", NAME_MAX_BYTES);
  if (d->version < 1 || d->version > INT32_MAX || !d->dtypes || d->dtypes >> CHX_DTYPE_END)
    return refuse(CHX_EARG, "%s: version %u and dtypes %#llx, want 1 or more and bits of dtype.def", d->name,
                  d->version, (unsigned long long)d->dtypes);
  if (d->shape > CHX_SHAPE_BROADCAST)
    return refuse(CHX_EUNSUPPORTED, "%s: its rule for shapes is %u, want CHX_SHAPE_FIRST or CHX_SHAPE_BROADCAST",
                  d->name, d->shape);
  if ((st = check_operands(d)) || (st = check_fields(d))) return st;
  const chx_op *old = op_of_step(d->name);
  if (old && same_schema(old, d)) return CHX_NOT_READY;
  if (old)
    return refuse(
        CHX_EARG,
        "%s: there is another operator of this name (version %d, %d inputs), want the same declaration or another name",
        d->name, old->version, old->n_in);
  if (n_entered + n_pending == CHXI_MAX_OPS - CHXI_N_OPS)
    return refuse(CHX_ENOMEM, "%s: plugins have declared %d operators, want no more", d->name,
                  CHXI_MAX_OPS - CHXI_N_OPS);
  if ((st = check_body(d, "body", d->body, d->n_in, d->n_out, &c->body))) return st;
  return check_body(d, "gradient", d->grad, d->n_in + 2 * d->n_out, d->n_in, &c->grad);
}

chx_status chxi_op_declare(void *ctx, const chx_op_decl *given)
{
  chxi_backend *b = ctx;
  if (b->ops) return refuse(CHX_EARG, "an operator was declared after open, want it declared there");
  if (!given || given->size < offsetof(chx_op_decl, body))
    return refuse(CHX_EARG, "a declaration is NULL or its size is not set");
  chxi_custom *c = calloc(1, sizeof *c);
  if (!c) return refuse(CHX_ENOMEM, "an operator is declared: out of memory");
  memcpy(&c->d, given, given->size < sizeof c->d ? given->size : sizeof c->d);
  chx_status st = check(c);
  if (!st && !fill(c)) st = refuse(CHX_ENOMEM, "%s: out of memory", c->d.name);
  if (st) {
    discard(c);
    return st == CHX_NOT_READY ? CHX_OK : st; /* it is there already */
  }
  c->owner = b;
  c->link = pending;
  pending = c;
  n_pending++;
  return CHX_OK;
}

/* Takes b's oldest out of the pending ones. */
static chxi_custom *next_of(const chxi_backend *b)
{
  chxi_custom **oldest = NULL;
  for (chxi_custom **p = &pending; *p; p = &(*p)->link)
    if ((*p)->owner == b) oldest = p;
  chxi_custom *c = oldest ? *oldest : NULL;
  if (c) {
    *oldest = c->link;
    n_pending--;
  }
  return c;
}

void chxi_ops_enter(chxi_backend *b)
{
  for (chxi_custom *c; (c = next_of(b));) {
    c->op.id = CHXI_N_OPS + n_entered++;
    chxi_device_learn(&c->op);
    chxi_route_learn(&c->op);
    chxi_op_publish(&c->op);
  }
}

void chxi_ops_forget(chxi_backend *b)
{
  for (chxi_custom *c; (c = next_of(b));) discard(c);
}
