/* SPDX-License-Identifier: MIT
 * op_basic.c: operators that move or make values: copy, cast, to_device, map, full, arange; and the functions on them.
 */
#include "opfile.h"
#include "runtime.h"

/* ---- copy, cast ------------------------------------------------------------------------------------------------------- */

static void grad_copy(chx_scope *s, const chx_node *n, chx_array **gx)
{
  (void)s;
  gx[0] = n->gy[0];
}

static bool infer_copy(chxi_call *c)
{
  chxi_out_like(c, 0, c->in[0], c->in[0]->dtype);
  return true;
}

const chx_op chxi_op_copy = {.name = "copy",
                             .doc = "a dense copy of x",
                             .id = CHXI_OP_copy,
                             .version = 1,
                             .kind = CHXI_KERNEL,
                             .inputs = {"x"},
                             .outputs = {"y"},
                             .n_in = 1,
                             .n_required = 1,
                             .n_out = 1,
                             .dtypes = CHX_ANY_REAL | CHX_BIT(CHX_C64) | CHX_BIT(CHX_C128),
                             .infer = infer_copy,
                             .grad = grad_copy};

static bool infer_cast(chxi_call *c)
{
  const chx_cast_attr *p = c->attr;
  const chx_array *x = c->in[0];
  if (!chxi_want_dtype_attr(c, p->dtype, chxi_op_copy.dtypes)) return false;
  if (p->dtype != x->dtype && (CHX_BIT(x->dtype) | CHX_BIT(p->dtype)) & ~CHX_ANY_REAL)
    return chxi_bad(c, CHX_EDTYPE, "dtypes are %s and %s, want real ones", chx_dtype_name(x->dtype),
                    chx_dtype_name((int)p->dtype));
  chxi_out_like(c, 0, x, (int)p->dtype);
  return true;
}

/* Through a dtype that is not floating no gradient passes. */
static void grad_cast(chx_scope *s, const chx_node *n, chx_array **gx)
{
  (void)s;
  if (chxi_is_float(n->in[0].dtype) && chxi_is_float(n->out[0].dtype)) gx[0] = n->gy[0];
}

const chx_op chxi_op_cast = {.name = "cast",
                             .doc = "x as another dtype; floats to integers saturate, NaN gives 0",
                             .id = CHXI_OP_cast,
                             .version = 1,
                             .kind = CHXI_KERNEL,
                             .inputs = {"x"},
                             .outputs = {"y"},
                             .n_in = 1,
                             .n_required = 1,
                             .n_out = 1,
                             CHXI_ATTRS(cast),
                             .required = "dtype",
                             .dtypes = CHX_ANY_REAL | CHX_BIT(CHX_C64) | CHX_BIT(CHX_C128),
                             .primitive = "copy",
                             .infer = infer_cast,
                             .grad = grad_cast};

chx_array *chx_copy(chx_scope *s, const chx_array *a) { return chxi_op1(s, copy, NULL, a); }

chx_array *chx_contiguous(chx_scope *s, const chx_array *a)
{
  if (!chxi_named(s, "contiguous", a)) return NULL;
  return a->buf && chx_is_contiguous(a) ? chxi_same(s, a) : chx_copy(s, a);
}

chx_array *chx_cast(chx_scope *s, const chx_array *a, int dtype)
{
  if (!chxi_named(s, "cast", a)) return NULL;
  if (a->dtype == dtype && !a->weak) return chxi_same(s, a);
  chx_cast_attr p = CHX_ATTR(cast);
  p.dtype = dtype;
  int mode = s->grad_mode;
  if (!chxi_is_float(dtype > 0 && dtype < CHX_DTYPE_END ? dtype : 0))
    s->grad_mode = CHX_GRAD_OFF; /* no gradient passes: nothing to record */
  chx_array *y = chxi_op1(s, cast, &p, a);
  s->grad_mode = mode;
  return y;
}

chx_status chx_copy_into(chx_scope *s, chx_array *out, const chx_array *a)
{
  if (!chxi_named(s, "copy_into", out) || !chxi_named(s, "copy_into", a)) return chx_scope_error(s);
  if (!out->buf) return chx_scope_fail(s, CHX_EARG, "copy_into: the output is a scalar, want an array on a device");
  int lead = a->t.ndim - out->t.ndim; /* further axes of length 1, which are dropped, as NumPy does */
  bool same = chxi_same_shape(a->t.ndim, a->shape, out->t.ndim, out->shape), fits = true;
  for (int i = 0; !same && i < a->t.ndim; i++)
    fits = fits && (a->shape[i] == 1 || (i >= lead && a->shape[i] == out->shape[i - lead]));
  if (!fits) {
    char t1[128], t2[128];
    return chx_scope_fail(s, CHX_ESHAPE, "copy_into: shape is %s, want one that broadcasts to %s",
                          chxi_shape_text(t1, a->t.ndim, a->shape), chxi_shape_text(t2, out->t.ndim, out->shape));
  }
  size_t mark = s->n;
  chxi_device *home = s->dev;
  chx_cast_attr p = CHX_ATTR(cast);
  p.dtype = out->dtype;
  s->depth++;
  s->dev = out->buf->dev;
  if (a->buf && a->buf->dev != out->buf->dev) a = chx_to(s, a, out->buf->dev->spec);
  if (a && lead > 0) a = chx_reshape(s, a, out->t.ndim, a->shape + lead);
  if (a && !same) a = chx_broadcast_to(s, a, out->t.ndim, out->shape);
  chx_array *y = out;
  if (a) chx_apply(s, &chxi_op_cast, &a, 1, &p, &y, 1);
  s->dev = home;
  s->depth--;
  chx_scope_rewind(s, mark, NULL);
  return s->error;
}

/* ---- to_device ---------------------------------------------------------------------------------------------------------- */

/* The target is the scope's device: an attribute cannot name one. A view in that it is never routed to a kernel. */
static chx_array *move_to_scope(chxi_call *c)
{
  return c->in[0]->buf ? chxi_move(c->s, c->in[0], c->s->dev) : chx_copy(c->s, c->in[0]);
}

static void grad_to_device(chx_scope *s, const chx_node *n, chx_array **gx)
{
  gx[0] = chx_to(s, n->gy[0], n->in[0].dev->spec);
}

const chx_op chxi_op_to_device = {.name = "to_device",
                                  .doc = "a copy of x on the scope's device",
                                  .inner = true,
                                  .id = CHXI_OP_to_device,
                                  .version = 1,
                                  .kind = CHXI_VIEW,
                                  .inputs = {"x"},
                                  .outputs = {"y"},
                                  .n_in = 1,
                                  .n_required = 1,
                                  .n_out = 1,
                                  .dtypes = CHX_ANY_REAL | CHX_BIT(CHX_C64) | CHX_BIT(CHX_C128),
                                  .infer = infer_copy,
                                  .view = move_to_scope,
                                  .grad = grad_to_device};

chx_array *chx_to(chx_scope *s, const chx_array *a, const char *device)
{
  if (!chxi_named(s, "to", a)) return NULL;
  chxi_device *home = s->dev, *dev = device ? chxi_device_find(s, device) : s->dev;
  if (!dev) return NULL;
  if (a->buf && a->buf->dev == dev) return chxi_same(s, a);
  s->dev = dev;
  chx_array *y = a->buf ? chxi_op1(s, to_device, NULL, a) : chx_copy(s, a);
  s->dev = home;
  return y;
}

/* ---- full, arange ------------------------------------------------------------------------------------------------------- */

static bool infer_full(chxi_call *c)
{
  const chx_full_attr *p = c->attr;
  int ndim = (int)p->shape.n;
  int64_t n;
  char text[128];
  if (!chxi_want_dtype_attr(c, p->dtype, CHX_ANY_REAL) || !chxi_need_rank(c, 0, 0, 0) ||
      !chxi_cast_operand(c, 0, (int)p->dtype))
    return false;
  if (!chxi_count(ndim, p->shape.v, &n))
    return chxi_bad(c, CHX_ESHAPE, "shape is %s, want lengths >= 0 whose product fits memory",
                    chxi_shape_text(text, ndim, p->shape.v));
  chxi_out_shape(c, 0, (int)p->dtype, ndim, p->shape.v);
  return true;
}

static void arrange_full(chxi_call *c)
{
  if (c->in[0]->buf) chxi_arrange_broadcast(c, 0, c->out[0].ndim, c->out[0].shape);
}

static void grad_full(chx_scope *s, const chx_node *n, chx_array **gx) { gx[0] = chx_sum(s, n->gy[0], 0, NULL, 0); }

const chx_op chxi_op_full = {.name = "full",
                             .doc = "an array full of one value",
                             .id = CHXI_OP_full,
                             .version = 1,
                             .kind = CHXI_KERNEL,
                             .inputs = {"value"},
                             .outputs = {"y"},
                             .n_in = 1,
                             .n_required = 1,
                             .n_out = 1,
                             CHXI_ATTRS(full),
                             .required = "dtype",
                             .dtypes = CHX_ANY_REAL,
                             .primitive = "copy",
                             .infer = infer_full,
                             .arrange = arrange_full,
                             .grad = grad_full};

/* Whether a kernel of dev can repeat one value: its own "full", or a "copy" that reads any strides. */
static bool fills(const chxi_device *dev)
{
  const chx_kernel *const *k = dev->kernels[CHXI_OP_copy];
  if (dev->host || dev->kernels[CHXI_OP_full]) return true;
  for (; k && *k; k++)
    if (!((*k)->flags & CHX_K_CONTIGUOUS)) return true;
  return false;
}

chx_array *chxi_full_on(chx_scope *s, chxi_device *dev, int dtype, int ndim, const int64_t *shape, double v)
{
  chx_full_attr p = CHX_ATTR(full);
  if (!chxi_list_from_shape(s, "full", &p.shape, ndim, shape)) return NULL;
  if (dtype <= CHX_DTYPE_NONE || dtype >= CHX_DTYPE_END)
    return chx_scope_fail(s, CHX_EDTYPE, "full: dtype is %d, want one of dtype.def", dtype), NULL;
  size_t mark = s->n;
  chxi_device *home = s->dev;
  p.dtype = dtype;
  if (!dev) dev = s->dev;
  bool direct = fills(dev);
  s->dev = direct ? dev : chxi_native(s); /* else made on the host, as chx_from_host would */
  s->depth++;
  chx_array *value = s->dev ? chxi_scalar_array(s, dtype, false, (chxi_scalar){.f = v}) : NULL, *y = NULL;
  if (value) y = chxi_op1(s, full, &p, value);
  if (y && !direct) y = chxi_move(s, y, dev);
  s->depth--;
  s->dev = home;
  chx_scope_rewind(s, mark, y);
  if (y && s->flags & CHX_SCOPE_OWNED && !s->depth) s->n = mark;
  return y;
}

chx_array *chx_full(chx_scope *s, int dtype, int ndim, const int64_t *shape, double value)
{
  return chxi_full_on(s, NULL, dtype, ndim, shape, value);
}
chx_array *chx_zeros(chx_scope *s, int dtype, int ndim, const int64_t *shape)
{
  return chxi_full_on(s, NULL, dtype, ndim, shape, 0);
}
chx_array *chx_ones(chx_scope *s, int dtype, int ndim, const int64_t *shape)
{
  return chxi_full_on(s, NULL, dtype, ndim, shape, 1);
}

chx_array *chx_zeros_like(chx_scope *s, const chx_array *a)
{
  return chxi_named(s, "zeros_like", a) ? chxi_full_on(s, chxi_device_of(a), a->dtype, a->t.ndim, a->shape, 0) : NULL;
}

chx_array *chx_ones_like(chx_scope *s, const chx_array *a)
{
  return chxi_named(s, "ones_like", a) ? chxi_full_on(s, chxi_device_of(a), a->dtype, a->t.ndim, a->shape, 1) : NULL;
}

static bool infer_arange(chxi_call *c)
{
  const chx_arange_attr *p = c->attr;
  if (!chxi_want_dtype_attr(c, p->dtype, CHX_ANY_REAL)) return false;
  if (p->n < 0) return chxi_bad(c, CHX_EARG, "attribute 'n' is %lld, want 0 or more", (long long)p->n);
  chxi_out_shape(c, 0, (int)p->dtype, 1, &p->n);
  return true;
}

const chx_op chxi_op_arange = {.name = "arange",
                               .doc = "start, start + step, ..., n values",
                               .id = CHXI_OP_arange,
                               .version = 1,
                               .kind = CHXI_KERNEL,
                               .outputs = {"y"},
                               .n_out = 1,
                               CHXI_ATTRS(arange),
                               .required = "dtype",
                               .dtypes = CHX_ANY_REAL,
                               .infer = infer_arange};

chx_array *chx_arange(chx_scope *s, int dtype, double start, double step, int64_t n)
{
  chx_arange_attr p = CHX_ATTR(arange);
  p.start = start;
  p.step = step;
  p.n = n;
  p.dtype = dtype;
  return chxi_apply1(s, &chxi_op_arange, &p, 0, NULL);
}

/* ---- map -------------------------------------------------------------------------------------------------------------------- */

/* Operands that are not bool come to one dtype; within the program nothing is promoted. */
static bool map_operands(chxi_call *c)
{
  const chx_array *all[CHXI_KERNEL_IN];
  int n = 0, at[CHXI_KERNEL_IN], given = c->n_in;
  if (given > CHXI_KERNEL_IN)
    return chxi_bad(c, CHX_EARG, "%d operands were given, want at most %d", given, CHXI_KERNEL_IN);
  memcpy(all, c->in, (size_t)given * sizeof *all);
  for (int i = 0; i < given; i++) {
    if (!chxi_want_dtypes(c, i, CHX_ANY_REAL, "a real one")) return false;
    if (all[i]->dtype == CHX_BOOL && !all[i]->weak) continue;
    c->in[n] = all[i];
    at[n++] = i;
  }
  bool done = n == 0 || chxi_promote_operands(c, 0, n - 1);
  for (int k = 0; k < n; k++) all[at[k]] = c->in[k];
  memcpy(c->in, all, (size_t)given * sizeof *all);
  return done;
}

static bool infer_map(chxi_call *c)
{
  chx_map_attr *p = c->attr;
  uint8_t dtype[CHXI_KERNEL_IN + CHX_MAP_STEPS] = {0};
  if (p->program.n < 1) return chxi_bad(c, CHX_EARG, "the program is empty, want 1 to %d steps", CHX_MAP_STEPS);
  if (!map_operands(c)) return false;
  for (int i = 0; i < c->n_in; i++) dtype[i] = c->in[i]->dtype;
  for (int64_t k = 0; k < p->program.n; k++) {
    chx_map_step *step = &p->program.step[k];
    step->op[sizeof step->op - 1] = 0;
    const chx_op *op = chx_op_find(step->op);
    const int known = c->n_in + (int)k;
    const uint8_t from[3] = {step->x, step->y, step->z};
    if (!op || op->kind != CHXI_ELEMENTWISE)
      return chxi_bad(c, CHX_EARG, "step %d is '%s', want an elementwise operator", (int)k, step->op);
    for (int i = 0; i < op->n_in; i++)
      if (from[i] >= known)
        return chxi_bad(c, CHX_EARG, "step %d (%s) reads value %d, want one of the %d before it", (int)k, op->name,
                        from[i], known);
    const int first = op->klass == 'W';
    if (first && dtype[from[0]] != CHX_BOOL)
      return chxi_bad(c, CHX_EDTYPE, "step %d (where) chooses by %s, want bool", (int)k,
                      chx_dtype_name(dtype[from[0]]));
    for (int i = first; i < op->n_in; i++)
      if (dtype[from[i]] != dtype[from[first]] || !(op->dtypes & CHX_BIT(dtype[from[i]])))
        return chxi_bad(c, CHX_EDTYPE,
                        "step %d (%s) reads %s, want operands of one dtype that it takes without promotion", (int)k,
                        op->name, chx_dtype_name(dtype[from[i]]));
    dtype[known] = op->result == 'B' ? CHX_BOOL : dtype[from[first]];
  }
  struct chxi_out *y = &c->out[0];
  y->dtype = dtype[c->n_in + p->program.n - 1];
  y->ndim = 0;
  for (int i = 0; i < c->n_in; i++)
    if (!chxi_broadcast(c, &y->ndim, y->shape, c->in[i])) return false;
  return true;
}

static void arrange_map(chxi_call *c)
{
  for (int i = 0; i < c->n_in; i++)
    if (c->in[i]->buf && !chxi_same_shape(c->in[i]->t.ndim, c->in[i]->shape, c->out[0].ndim, c->out[0].shape))
      chxi_arrange_broadcast(c, i, c->out[0].ndim, c->out[0].shape);
}

static void decompose_map(chx_scope *s, chxi_call *c, chx_array **out)
{
  const chx_map_attr *p = c->attr;
  const chx_array *v[CHXI_KERNEL_IN + CHX_MAP_STEPS];
  int known = c->n_in;
  memcpy(v, c->in, (size_t)known * sizeof *v);
  for (int64_t k = 0; k < p->program.n; k++) {
    const chx_map_step *step = &p->program.step[k];
    const chx_op *op = chx_op_find(step->op);
    const chx_array *in[3] = {v[step->x]};
    if (op->n_in > 1) in[1] = v[step->y];
    if (op->n_in > 2) in[2] = v[step->z];
    v[known++] = chxi_apply1(s, op, NULL, op->n_in, in);
  }
  chx_array *y = (chx_array *)v[known - 1];
  if (y && !chxi_same_shape(y->t.ndim, y->shape, c->out[0].ndim,
                            c->out[0].shape)) /* an operand that no step read was larger */
    y = chx_copy(s, chx_broadcast_to(s, y, c->out[0].ndim, c->out[0].shape));
  out[0] = y;
}

const chx_op chxi_op_map = {.name = "map",
                            .doc = "a program of elementwise operators in one pass",
                            .id = CHXI_OP_map,
                            .version = 1,
                            .kind = CHXI_KERNEL,
                            .inputs = {"x"},
                            .outputs = {"y"},
                            .n_in = 1,
                            .n_required = 1,
                            .n_out = 1,
                            .variadic = true,
                            CHXI_ATTRS(map),
                            .required = "program",
                            .inner = true,
                            .dtypes = CHX_ANY_REAL,
                            .infer = infer_map,
                            .arrange = arrange_map,
                            .decompose = decompose_map};
