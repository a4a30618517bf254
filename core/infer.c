/* SPDX-License-Identifier: MIT
 * infer.c: what the entries' infer and arrange functions are written with: errors, promotion, axes, shapes.
 */
#include "opfile.h"
#include <stdio.h>

/* ---- errors ----------------------------------------------------------------------------------------------------------- */

bool chxi_bad(chxi_call *c, chx_status code, const char *format, ...)
{
  char text[768];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  chx_scope_fail(c->s, code, "%s: %s", c->op->name, text);
  return false;
}

/* What messages call operand i. */
static const char *operand_name(const chxi_call *c, int i)
{
  const chx_op *op = c->op;
  return op->n_in ? op->inputs[i < op->n_in ? i : op->n_in - 1] : "";
}

bool chxi_want_dtypes(chxi_call *c, int i, uint64_t dtypes, const char *want)
{
  if (chxi_likely(dtypes & CHX_BIT(c->in[i]->dtype))) return true;
  return chxi_bad(c, CHX_EDTYPE, "dtype of %s is %s, want %s", operand_name(c, i), chx_dtype_name(c->in[i]->dtype),
                  want);
}

bool chxi_want_dtype_attr(chxi_call *c, int64_t dtype, uint64_t dtypes)
{
  if (dtype > CHX_DTYPE_NONE && dtype < CHX_DTYPE_END && dtypes & CHX_BIT(dtype)) return true;
  if (!dtype) return chxi_bad(c, CHX_EDTYPE, "attribute 'dtype' is not set, want a dtype");
  return chxi_bad(c, CHX_EDTYPE, "attribute 'dtype' is %s (%lld), want one that the operator makes",
                  dtype > 0 && dtype < CHX_DTYPE_END ? chx_dtype_name((int)dtype) : "?", (long long)dtype);
}

/* ---- dtypes ----------------------------------------------------------------------------------------------------------- */

/* Whether integer v is a value of dtype, which is an integer dtype. */
static bool fits(int dtype, int64_t v)
{
  int bits = chxi_dtypes[dtype].bits;
  if (chxi_dtypes[dtype].kind == 'U') return v >= 0 && (bits == 64 || v >> bits == 0);
  return bits == 64 || (v >= -((int64_t)1 << (bits - 1)) && v < (int64_t)1 << (bits - 1));
}

bool chxi_cast_operand(chxi_call *c, int i, int dtype)
{
  const chx_array *a = c->in[i];
  if (!a || (a->dtype == dtype && !a->weak)) return true;
  if (chxi_unlikely(chxi_dtypes[a->dtype].kind == 'C' || chxi_dtypes[dtype].kind == 'C'))
    return chxi_bad(c, CHX_EDTYPE, "dtype of %s is %s, which is not made %s, want real ones", operand_name(c, i),
                    chx_dtype_name(a->dtype), chx_dtype_name(dtype));
  if (a->weak) {
    if (a->weak == 'I' && chxi_is_int(dtype) && !fits(dtype, a->w.i))
      return chxi_bad(c, CHX_EARG, "%lld is out of range for %s, want a value that it holds", (long long)a->w.i,
                      chx_dtype_name(dtype));
    c->in[i] = chxi_scalar_array(c->s, dtype, a->weak != 'F', a->w);
  } else if (!a->buf) { /* a host scalar */
    bool real = chxi_is_float(a->dtype);
    chxi_scalar v;
    if (real) v.f = chxi_load_f64(a->t.imm, a->dtype);
    else v.i = chxi_load_i64(a->t.imm, a->dtype);
    c->in[i] = chxi_scalar_array(c->s, dtype, !real, v);
  } else
    c->in[i] = chx_cast(c->s, a, dtype);
  return c->in[i] != NULL;
}

/* The dtype that operands first..last promote to; 0 after an error. */
static int common_dtype(chxi_call *c, int first, int last)
{
  int dtype = CHX_DTYPE_NONE;
  bool f = false, n = false, b = false; /* weak scalars of kind F, I, B */
  for (int i = first; i <= last; i++) {
    const chx_array *a = c->in[i];
    if (!a) continue;
    if (a->weak) {
      f |= a->weak == 'F';
      n |= a->weak == 'I';
      b |= a->weak == 'B';
    } else if (dtype != a->dtype) {
      int both = dtype ? c->s->promote(dtype, a->dtype) : a->dtype;
      if (!both)
        return chxi_bad(c, CHX_EDTYPE, "dtypes are %s and %s, want ones that promote", chx_dtype_name(dtype),
                        chx_dtype_name(a->dtype)),
               0;
      dtype = both;
    }
  }
  if (b) dtype = chxi_promote_weak(dtype, 'B');
  if (n) dtype = chxi_promote_weak(dtype, 'I');
  if (f) dtype = chxi_promote_weak(dtype, 'F');
  return dtype;
}

static bool cast_all(chxi_call *c, int first, int last, int dtype)
{
  for (int i = first; i <= last; i++)
    if (!chxi_cast_operand(c, i, dtype)) return false;
  return true;
}

bool chxi_promote_operands(chxi_call *c, int first, int last)
{
  int dtype = common_dtype(c, first, last);
  return dtype && cast_all(c, first, last, dtype);
}

bool chxi_need_float(chxi_call *c, int i)
{
  int d = c->in[i]->dtype;
  if (chxi_dtypes[d].kind == 'C')
    return chxi_bad(c, CHX_EDTYPE, "dtype of %s is %s, want a real one", operand_name(c, i), chx_dtype_name(d));
  return chxi_cast_operand(c, i, chxi_is_float(d) ? d : CHX_F64);
}

bool chxi_float_operands(chxi_call *c, int first, int last)
{
  int d = common_dtype(c, first, last);
  if (!d) return false;
  if (chxi_dtypes[d].kind == 'C') return chxi_bad(c, CHX_EDTYPE, "dtype is %s, want a real one", chx_dtype_name(d));
  if (!cast_all(c, first, last, chxi_is_float(d) ? d : CHX_F64)) return false;
  for (int i = first; i <= last; i++)
    if (!chxi_on_device_operand(c, i)) return false;
  return true;
}

bool chxi_index_operand(chxi_call *c, int i)
{
  return chxi_want_dtypes(c, i, CHX_INTEGERS, "an integer") && chxi_cast_operand(c, i, CHX_I64) &&
         chxi_on_device_operand(c, i);
}

bool chxi_on_device_operand(chxi_call *c, int i)
{
  chx_scope *s = c->s;
  if (chxi_likely(!c->in[i] || c->in[i]->buf)) return true;
  chxi_device *home = s->dev;
  s->dev = c->dev;
  c->in[i] = chx_copy(s, c->in[i]);
  s->dev = home;
  return c->in[i] != NULL;
}

/* ---- ranks and axes --------------------------------------------------------------------------------------------------- */

bool chxi_need_rank(chxi_call *c, int i, int lo, int hi)
{
  const chx_array *a = c->in[i];
  char text[128];
  if (chxi_likely(a->t.ndim >= lo && a->t.ndim <= hi)) return true;
  chxi_shape_text(text, a->t.ndim, a->shape);
  if (lo == hi) return chxi_bad(c, CHX_ESHAPE, "shape of %s is %s, want rank %d", operand_name(c, i), text, lo);
  return chxi_bad(c, CHX_ESHAPE, "shape of %s is %s, want rank %d to %d", operand_name(c, i), text, lo, hi);
}

bool chxi_axis(chxi_call *c, int64_t *axis, int ndim)
{
  if (!ndim)
    return chxi_bad(c, CHX_EARG, "axis %lld is out of range for rank 0, want a rank of at least 1", (long long)*axis);
  if (*axis < -ndim || *axis >= ndim)
    return chxi_bad(c, CHX_EARG, "axis %lld is out of range for rank %d, want %d to %d", (long long)*axis, ndim, -ndim,
                    ndim - 1);
  if (*axis < 0) *axis += ndim;
  return true;
}

bool chxi_axes(chxi_call *c, chx_ints *axes, int ndim)
{
  if (!axes->n) {
    axes->n = ndim;
    for (int i = 0; i < ndim; i++) axes->v[i] = i;
    return true;
  }
  for (int64_t i = 0; i < axes->n; i++) {
    int64_t v = axes->v[i], j = i;
    if (!chxi_axis(c, &v, ndim)) return false;
    for (; j > 0 && axes->v[j - 1] >= v; j--) {
      if (axes->v[j - 1] == v)
        return chxi_bad(c, CHX_EARG, "axis %lld is given twice, want distinct axes", (long long)v);
      axes->v[j] = axes->v[j - 1];
    }
    axes->v[j] = v;
  }
  return true;
}

bool chxi_attr_list(chxi_call *c, const char *name, chx_ints *list, int n, int64_t fill, int64_t least)
{
  if (list->n == 0 || list->n == 1) {
    int64_t v = list->n ? list->v[0] : fill;
    for (int i = 0; i < n; i++) list->v[i] = v;
    list->n = n;
  }
  if (list->n != n)
    return chxi_bad(c, CHX_EARG, "attribute '%s' has %lld values, want 1 or %d", name, (long long)list->n, n);
  for (int i = 0; i < n; i++)
    if (list->v[i] < least || list->v[i] > INT32_MAX)
      return chxi_bad(c, CHX_EARG, "attribute '%s' is %lld, want %lld to %d", name, (long long)list->v[i],
                      (long long)least, INT32_MAX);
  return true;
}

/* ---- shapes ------------------------------------------------------------------------------------------------------------ */

bool chxi_broadcast(chxi_call *c, int *ndim, int64_t *shape, const chx_array *a)
{
  int n = *ndim > a->t.ndim ? *ndim : a->t.ndim;
  int64_t both[CHX_MAX_RANK];
  for (int i = 1; i <= n; i++) {
    int64_t p = i <= *ndim ? shape[*ndim - i] : 1, q = i <= a->t.ndim ? a->shape[a->t.ndim - i] : 1;
    if (p != q && p != 1 && q != 1) {
      char t1[128], t2[128];
      return chxi_bad(c, CHX_ESHAPE, "shapes are %s and %s, want broadcastable", chxi_shape_text(t1, *ndim, shape),
                      chxi_shape_text(t2, a->t.ndim, a->shape));
    }
    both[n - i] = p == 1 ? q : p;
  }
  *ndim = n;
  for (int i = 0; i < n; i++) shape[i] = both[i];
  return true;
}

void chxi_out_shape(chxi_call *c, int o, int dtype, int ndim, const int64_t *shape)
{
  struct chxi_out *y = &c->out[o];
  y->dtype = dtype;
  y->ndim = ndim;
  for (int i = 0; i < ndim; i++) y->shape[i] = shape[i];
}

void chxi_out_like(chxi_call *c, int o, const chx_array *a, int dtype)
{
  chxi_out_shape(c, o, dtype, a->t.ndim, a->shape);
}

/* ---- for arrange --------------------------------------------------------------------------------------------------------- */

chx_tensor *chxi_arrange(chxi_call *c, int i, int ndim, const int64_t *shape, const int64_t *strides)
{
  chx_tensor *t = i < CHXI_KERNEL_IN ? &c->t_in[i] : &c->t_out[i - CHXI_KERNEL_IN];
  int64_t *p = c->dims[i][0], *q = c->dims[i][1];
  for (int k = 0; k < ndim; k++) {
    p[k] = shape[k];
    q[k] = strides[k];
  }
  t->ndim = ndim;
  t->shape = p;
  t->strides = q;
  if (chxi_is_dense(ndim, p, q)) t->flags |= CHX_T_CONTIGUOUS;
  else t->flags &= ~(uint64_t)CHX_T_CONTIGUOUS;
  return t;
}

void chxi_arrange_broadcast(chxi_call *c, int i, int ndim, const int64_t *shape)
{
  const chx_array *a = c->in[i];
  int64_t strides[CHX_MAX_RANK];
  int lead = ndim - a->t.ndim;
  for (int k = 0; k < ndim; k++) strides[k] = k < lead || a->shape[k - lead] != shape[k] ? 0 : a->strides[k - lead];
  chxi_arrange(c, i, ndim, shape, strides);
}
