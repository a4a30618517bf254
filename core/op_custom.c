/* SPDX-License-Identifier: MIT
 * op_custom.c: how an operator that a plugin declared is checked, composed and differentiated: the entry's functions, which read
 * the declaration.
 */
#include "custom.h"
#include "opfile.h"

/* Most values of a body: operands and what 64 steps give. */
enum { MOST_VALUES = 11 + 64 * CHXI_MAX_OUT };

static const chxi_custom *custom(const chx_op *op) { return (const chxi_custom *)op; }

/* ---- operands, shapes, attributes ------------------------------------------------------------------------------------- */

/* Operands of declared dtypes as they are; the others come to one dtype, which is returned in *dtype (0: there are none). */
static bool take_operands(chxi_call *c, const chx_op_decl *d, int *dtype)
{
  const chx_array *apart[5] = {0};
  int first = -1;
  for (int i = 0; i < c->n_in; i++) {
    if (!c->in[i]) continue;
    if (!d->in[i].dtypes) {
      if (first < 0) first = i;
      continue;
    }
    if (!chxi_want_dtypes(c, i, d->in[i].dtypes, "one that the operator takes") || !chxi_on_device_operand(c, i))
      return false;
    apart[i] = c->in[i];
    c->in[i] = NULL;
  }
  *dtype = 0;
  bool fine = true;
  if (first >= 0) {
    fine = d->dtypes & ~CHX_FLOATS ? chxi_promote_operands(c, 0, c->n_in - 1) : chxi_float_operands(c, 0, c->n_in - 1);
    for (int i = 0; fine && i < c->n_in; i++) fine = chxi_on_device_operand(c, i);
    fine = fine && chxi_want_dtypes(c, first, d->dtypes, "one that the operator takes");
    if (fine) *dtype = c->in[first]->dtype;
  }
  for (int i = 0; i < c->n_in; i++)
    if (apart[i]) c->in[i] = apart[i];
  return fine;
}

/* The plugin's own word on it. */
static bool ask(chxi_call *c, const chx_op_decl *d)
{
  chx_tensor in[5];
  chx_op_result out[CHXI_MAX_OUT] = {{0}};
  for (int i = 0; i < c->n_in; i++) {
    in[i] = c->in[i] ? c->in[i]->t : (chx_tensor){.flags = CHX_T_ABSENT};
    in[i].data = in[i].buf = NULL;
  }
  for (int o = 0; o < c->n_out; o++) {
    out[o].dtype = c->out[o].dtype;
    out[o].ndim = c->out[o].ndim;
    memcpy(out[o].shape, c->out[o].shape, (size_t)c->out[o].ndim * sizeof(int64_t));
  }
  chxi_thread *th = chxi_thread_self();
  if (th) th->fail_text[0] = 0;
  chx_status st = d->infer(d->self, in, (uint32_t)c->n_in, c->attr, out);
  if (st)
    return chxi_bad(c, st == CHX_DECLINED ? CHX_EARG : st, "%s",
                    th && th->fail_text[0] ? th->fail_text : chx_status_text(st));
  for (int o = 0; o < c->n_out; o++) {
    int64_t n;
    const chx_op_result *r = &out[o];
    if (r->dtype <= CHX_DTYPE_NONE || r->dtype >= CHX_DTYPE_END || r->ndim < 0 || r->ndim > CHX_MAX_RANK ||
        !chxi_count((int)r->ndim, r->shape, &n))
      return chxi_bad(
          c, CHX_EFAILED,
          "its plugin says dtype %lld and rank %lld for output '%s', want a dtype and a shape that there can be",
          (long long)r->dtype, (long long)r->ndim, c->op->outputs[o]);
    chxi_out_shape(c, o, (int)r->dtype, (int)r->ndim, r->shape);
  }
  return true;
}

static bool infer_custom(chxi_call *c)
{
  const chx_op_decl *d = &custom(c->op)->d;
  int dtype, ndim = 0;
  int64_t shape[CHX_MAX_RANK];
  if (!take_operands(c, d, &dtype)) return false;
  const chx_array *x = c->in[0];
  for (int i = 0; i < c->n_in && d->shape == CHX_SHAPE_BROADCAST; i++)
    if (c->in[i] && !chxi_broadcast(c, &ndim, shape, c->in[i])) return false;
  for (int o = 0; o < c->n_out; o++) {
    if (d->shape == CHX_SHAPE_BROADCAST) chxi_out_shape(c, o, dtype ? dtype : x->dtype, ndim, shape);
    else chxi_out_like(c, o, x, dtype ? dtype : x->dtype);
  }
  return !d->infer || ask(c, d);
}

static void arrange_custom(chxi_call *c)
{
  for (int i = 0; i < c->n_in; i++)
    if (c->in[i] && !chxi_same_shape(c->in[i]->t.ndim, c->in[i]->shape, c->out[0].ndim, c->out[0].shape))
      chxi_arrange_broadcast(c, i, c->out[0].ndim, c->out[0].shape);
}

/* ---- bodies --------------------------------------------------------------------------------------------------------------- */

static const chx_array *scalar(chx_scope *s, const chxi_custom *op, const chxi_body *b, const char *attr, uint32_t v)
{
  if (v < CHX_V_ATTR(0)) return chx_real(s, b->b.constants[v - CHX_V_CONSTANT(0)]);
  const uint32_t at = v - CHX_V_ATTR(0);
  int64_t i;
  double f;
  memcpy(&i, attr + at, sizeof i);
  memcpy(&f, attr + at, sizeof f);
  for (int k = 0; k < op->op.n_attrs; k++)
    if (op->attrs[k].offset == at && op->attrs[k].type != CHX_ATTR_F64)
      return op->attrs[k].type == CHX_ATTR_BOOL ? chx_bool(s, i != 0) : chx_int(s, i);
  return chx_real(s, f);
}

/* The body with operands v[0 .. n - 1]; v has room for all its values. */
static void run_body(chx_scope *s, const chxi_custom *op, const chxi_body *b, const char *attr, const chx_array **v,
                     uint32_t n)
{
  _Alignas(16) char room[CHXI_ATTR_MAX];
  for (uint32_t k = 0; k < b->b.n_steps && !s->error; k++) {
    const chx_op_step *step = &b->b.step[k];
    const chx_array *in[CHXI_KERNEL_IN];
    chx_array *out[CHXI_MAX_OUT] = {0};
    const void *p = step->attr;
    for (uint32_t i = 0; i < step->n_in; i++) {
      uint32_t x = step->in[i];
      in[i] = x == CHX_V_NONE ? NULL : x < CHX_V_CONSTANT(0) ? v[x] : scalar(s, op, b, attr, x);
    }
    if (p && step->n_bind) {
      memcpy(room, p, *(const uint32_t *)p);
      for (uint32_t i = 0; i < step->n_bind; i++)
        memcpy(room + step->bind[i].to, attr + step->bind[i].from, step->bind[i].bytes);
      p = room;
    }
    chx_apply(s, b->ops[k], in, (int)step->n_in, p, out, b->ops[k]->n_out);
    for (int o = 0; o < b->ops[k]->n_out; o++) v[n++] = out[o];
  }
}

static void decompose_custom(chx_scope *s, chxi_call *c, chx_array **out)
{
  const chxi_custom *op = custom(c->op);
  const chx_array *v[MOST_VALUES];
  memcpy(v, c->in, (size_t)c->n_in * sizeof *v);
  run_body(s, op, &op->body, c->attr, v, (uint32_t)c->n_in);
  for (int o = 0; o < c->n_out && !s->error; o++) {
    const chx_array *y = v[op->body.result[o]];
    const struct chxi_out *w = &c->out[o];
    if (y && y->dtype == w->dtype && chxi_same_shape(y->t.ndim, y->shape, w->ndim, w->shape)) {
      out[o] = (chx_array *)y;
      continue;
    }
    char a[128], b[128];
    chxi_bad(c, CHX_EFAILED, "its body gives %s%s for output '%s', want %s%s", y ? chx_dtype_name(y->dtype) : "nothing",
             y ? chxi_shape_text(a, y->t.ndim, y->shape) : "", c->op->outputs[o], chx_dtype_name(w->dtype),
             chxi_shape_text(b, w->ndim, w->shape));
  }
}

static void grad_custom(chx_scope *s, const chx_node *n, chx_array **gx)
{
  const chxi_custom *op = custom(n->op);
  const chx_array *v[MOST_VALUES];
  uint32_t at = 0;
  for (int i = 0; i < n->n_in; i++) v[at++] = n->x[i];
  for (int o = 0; o < n->n_out; o++) v[at++] = n->y[o];
  for (int o = 0; o < n->n_out; o++) {
    const chxi_meta *m = &n->out[o];
    v[at++] = n->gy[o] ? n->gy[o] : chxi_full_on(s, m->dev, m->dtype, m->ndim, m->shape, 0);
  }
  run_body(s, op, &op->grad, n->attr, v, at);
  for (int i = 0; i < n->n_in && !s->error; i++)
    gx[i] = n->need[i] && op->grad.result[i] != CHX_V_NONE ? (chx_array *)v[op->grad.result[i]] : NULL;
}

void chxi_custom_entry(chx_op *op, const chx_op_decl *d, const void *body, const void *grad)
{
  op->infer = infer_custom;
  op->arrange = d->shape == CHX_SHAPE_BROADCAST ? arrange_custom : NULL;
  op->decompose = body ? decompose_custom : NULL;
  op->grad = grad ? grad_custom : NULL;
  op->keep_x = grad ? (1u << d->n_in) - 1 : 0;
  op->keep_y = grad ? (1u << d->n_out) - 1 : 0;
}
