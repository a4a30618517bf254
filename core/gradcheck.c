/* SPDX-License-Identifier: MIT
 * gradcheck.c: gradients compared with central differences, of first and second order.
 *
 * Each output is weighted by fixed random numbers, so that its gradient is one number per input element; an element is
 * moved by eps to both sides, and the weighted sum of the output's change, in f64, is what its gradient predicts. The
 * inputs are copies made by the host, so that the caller's arrays take part in nothing. Inputs that are not floating
 * (indices, labels) are passed on as they are. Random operators inside f draw the same numbers each time.
 */
#include "runtime.h"
#include <math.h>
#include <stdio.h>

enum { MOST = CHX_MAX_OPERANDS };

typedef struct check {
  chx_scope *s;
  const char *what; /* "check_grad" */
  chx_grad_fn f;
  void *ctx;
  int n_x, n_y, id;
  const chx_array *const *xs;
  chx_random_state random;
  bool moves[MOST];      /* input i is floating */
  double *x[MOST];       /* its elements */
  double *g[MOST][MOST]; /* [output][input]: the gradient's elements, NULL: all 0 */
  double *w[MOST];       /* weights of output k; NULL: it is not floating */
  int64_t n_w[MOST];
} check;

static bool out_of_memory(chx_scope *s, const char *what)
{
  chx_scope_fail(s, CHX_ENOMEM, "%s: out of memory", what);
  return false;
}

/* ---- arrays and doubles ---------------------------------------------------------------------------------------------- */

/* The elements of a as doubles; NULL with the error in the scope. Freed by drop. */
static double *doubles_of(chx_scope *s, const char *what, const chx_array *a)
{
  const int size = chxi_dtypes[a->dtype].size;
  const size_t bytes = (size_t)a->size * (size_t)size;
  double *v = chxi_alloc(((size_t)a->size + 1) * sizeof *v);
  char *raw = chxi_alloc(bytes + 1);
  bool good = (v && raw) || out_of_memory(s, what);
  good = good && chx_read(s, a, raw, bytes) == CHX_OK;
  for (int64_t i = 0; good && i < a->size; i++) v[i] = chxi_load_f64(raw + i * size, a->dtype);
  chxi_free(raw, bytes + 1);
  if (good) return v;
  chxi_free(v, ((size_t)a->size + 1) * sizeof *v);
  return NULL;
}

static void drop(double *v, int64_t n) { chxi_free(v, ((size_t)n + 1) * sizeof *v); }

/* An array like `like` with elements v, on its device, dense. */
static chx_array *array_of(chx_scope *s, const char *what, const chx_array *like, const double *v)
{
  const int size = chxi_dtypes[like->dtype].size;
  const size_t bytes = (size_t)like->size * (size_t)size;
  char *raw = chxi_alloc(bytes + 1);
  if (!raw) return out_of_memory(s, what), NULL;
  for (int64_t i = 0; i < like->size; i++) chxi_store(raw + i * size, like->dtype, false, (chxi_scalar){.f = v[i]});
  chx_array *a = chxi_array_new(s, chxi_device_of(like), like->dtype, like->t.ndim, like->shape);
  if (a && bytes && !chxi_upload(s, a->buf, 0, raw, bytes)) a = NULL;
  chxi_free(raw, bytes + 1);
  return a;
}

/* Fixed weights in [-1, 1], none near 0, which would hide an error. */
static double weight(uint64_t i)
{
  uint64_t z = (i + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  const double u = 0.5 + (double)(z >> 12) * 0x1p-53;
  return z & 1 ? u : -u;
}

/* ---- running f -------------------------------------------------------------------------------------------------------------- */

static bool call(check *c, chx_array *const *xs, chx_array **ys, int mode)
{
  chx_scope *s = c->s;
  for (int k = 0; k < c->n_y; k++) ys[k] = NULL;
  s->grad_mode = mode;
  s->own_random = true;
  s->random = c->random;
  c->f(c->ctx, s, xs, ys);
  for (int k = 0; k < c->n_y && !s->error; k++)
    if (!ys[k]) chx_scope_fail(s, CHX_EARG, "%s: f left output %d NULL, want an array", c->what, k);
  return !s->error;
}

/* The gradients of every output by backward. */
static bool analytic(check *c)
{
  chx_scope *s = c->s;
  chx_array *xs[MOST], *ys[MOST], *gxs[MOST];
  const chx_array *leaves[MOST];
  int n_leaves = 0, at[MOST];
  for (int i = 0; i < c->n_x; i++) {
    xs[i] = c->moves[i] ? array_of(c->s, c->what, c->xs[i], c->x[i]) : (chx_array *)c->xs[i];
    if (!xs[i]) return false;
    if (!c->moves[i]) continue;
    if (chx_require_grad_in(s, xs[i], c->id)) return false;
    at[n_leaves] = i;
    leaves[n_leaves++] = xs[i];
  }
  if (!call(c, xs, ys, CHX_GRAD_ON)) return false;
  for (int k = 0; k < c->n_y; k++) {
    if (!chxi_is_float(ys[k]->dtype)) continue;
    const int64_t n = c->n_w[k] = ys[k]->size;
    if (!(c->w[k] = chxi_alloc(((size_t)n + 1) * sizeof(double)))) return out_of_memory(s, c->what);
    for (int64_t i = 0; i < n; i++) {
      unsigned char room[16]; /* rounded to the dtype in which backward sees them */
      chxi_store(room, ys[k]->dtype, false, (chxi_scalar){.f = weight((uint64_t)k << 32 | (uint64_t)i)});
      c->w[k][i] = chxi_load_f64(room, ys[k]->dtype);
    }
    if (!n_leaves || !chx_is_grad_required(ys[k], c->id)) continue; /* it claims to depend on no input */
    const chx_array *y = ys[k], *gy = array_of(s, c->what, y, c->w[k]);
    if (!gy || chx_grad(s, &y, 1, leaves, n_leaves, &gy, c->id, CHX_RETAIN_GRAPH | CHX_ALLOW_UNUSED, gxs)) return false;
    for (int i = 0; i < n_leaves; i++) {
      if (!gxs[i]) continue;
      if (!chxi_same_shape(gxs[i]->t.ndim, gxs[i]->shape, leaves[i]->t.ndim, leaves[i]->shape) ||
          gxs[i]->dtype != leaves[i]->dtype) {
        char a[128], b[128];
        chx_scope_fail(s, CHX_EFAILED, "%s: output %d, input %d: the gradient is %s%s, want the input's %s%s", c->what,
                       k, at[i], chx_dtype_name(gxs[i]->dtype), chxi_shape_text(a, gxs[i]->t.ndim, gxs[i]->shape),
                       chx_dtype_name(leaves[i]->dtype), chxi_shape_text(b, leaves[i]->t.ndim, leaves[i]->shape));
        return false;
      }
      if (!(c->g[k][at[i]] = doubles_of(c->s, c->what, gxs[i]))) return false;
    }
  }
  return true;
}

/* The outputs with element e of input i at v. */
static bool outputs_at(check *c, int i, int64_t e, double v, double *out[MOST])
{
  chx_array *xs[MOST], *ys[MOST];
  const size_t mark = c->s->n;
  const double saved = c->x[i][e];
  bool good = true;
  c->x[i][e] = v;
  for (int j = 0; j < c->n_x && good; j++) {
    xs[j] = c->moves[j] ? array_of(c->s, c->what, c->xs[j], c->x[j]) : (chx_array *)c->xs[j];
    good = xs[j] != NULL;
  }
  c->x[i][e] = saved;
  good = good && call(c, xs, ys, CHX_GRAD_OFF);
  for (int k = 0; k < c->n_y; k++) {
    out[k] = NULL;
    if (!good || !c->w[k]) continue;
    if (ys[k]->size != c->n_w[k]) {
      chx_scope_fail(c->s, CHX_EFAILED,
                     "%s: output %d has %lld elements where it had %lld, want a function of fixed shape", c->what, k,
                     (long long)ys[k]->size, (long long)c->n_w[k]);
      good = false;
    } else
      good = (out[k] = doubles_of(c->s, c->what, ys[k])) != NULL;
  }
  chx_scope_rewind(c->s, mark, NULL);
  return good;
}

/* ---- comparing ---------------------------------------------------------------------------------------------------------------- */

typedef struct worst {
  double excess, backward, difference; /* excess: of the error over what is allowed; <= 1 is fine */
  int output, input;
  int64_t element;
} worst;

static bool compare_element(check *c, int i, int64_t e, double eps, double atol, double rtol, worst *bad)
{
  double *high[MOST] = {0}, *low[MOST] = {0}, moved[2];
  unsigned char room[16];
  for (int side = 0; side < 2; side++) { /* what x + eps is in its dtype */
    chxi_store(room, c->xs[i]->dtype, false, (chxi_scalar){.f = c->x[i][e] + (side ? -eps : eps)});
    moved[side] = chxi_load_f64(room, c->xs[i]->dtype);
  }
  const bool good = outputs_at(c, i, e, moved[0], high) && outputs_at(c, i, e, moved[1], low);
  for (int k = 0; k < c->n_y; k++) {
    double sum = 0;
    if (good && c->w[k]) {
      for (int64_t j = 0; j < c->n_w[k]; j++) sum += c->w[k][j] * (high[k][j] - low[k][j]);
      const double want = sum / (moved[0] - moved[1]), got = c->g[k][i] ? c->g[k][i][e] : 0;
      double excess = fabs(got - want) / (atol + rtol * fabs(want));
      if (got == want) excess = 0;
      if (isnan(excess)) excess = INFINITY; /* also where the difference is NaN: a point to be kept away from */
      if (excess > bad->excess) *bad = (worst){excess, got, want, k, i, e};
    }
    drop(high[k], c->n_w[k]);
    drop(low[k], c->n_w[k]);
  }
  return good;
}

static bool compare(check *c, double eps, double atol, double rtol)
{
  worst bad = {.excess = 0};
  for (int i = 0; i < c->n_x; i++)
    for (int64_t e = 0; c->moves[i] && e < c->xs[i]->size; e++)
      if (!compare_element(c, i, e, eps, atol, rtol, &bad)) return false;
  if (bad.excess <= 1) return true;
  const chx_array *x = c->xs[bad.input];
  int64_t index[CHX_MAX_RANK], rest = bad.element;
  for (int a = x->t.ndim - 1; a >= 0; a--) {
    index[a] = rest % x->shape[a];
    rest /= x->shape[a];
  }
  char text[128];
  chx_scope_fail(
      c->s, CHX_EFAILED,
      "%s: output %d, input %d, element %s: backward gives %.10g, differences %.10g, want a difference of at most %.3g",
      c->what, bad.output, bad.input, chxi_shape_text(text, x->t.ndim, index), bad.backward, bad.difference,
      atol + rtol * fabs(bad.difference));
  return false;
}

/* ---- first order ------------------------------------------------------------------------------------------------------------------ */

static bool begin(check *c)
{
  for (int i = 0; i < c->n_x; i++) {
    if (!c->xs[i]) return chx_scope_fail(c->s, CHX_EARG, "%s: input %d is NULL, want an array", c->what, i), false;
    c->moves[i] = chxi_is_float(c->xs[i]->dtype) && c->xs[i]->buf;
    if (c->moves[i] && !(c->x[i] = doubles_of(c->s, c->what, c->xs[i]))) return false;
  }
  return true;
}

static void run(check *c, double eps, double atol, double rtol)
{
  chx_scope *s = c->s;
  const int mode = s->grad_mode;
  const bool own_random = s->own_random;
  const chx_random_state random = s->random;
  const size_t mark = s->n;
  c->random = chx_random_get(s);
  s->depth++; /* what f makes is ours, in an owning scope too */
  if (begin(c) && analytic(c)) {
    chx_scope_rewind(s, mark, NULL);
    compare(c, eps, atol, rtol);
  }
  s->depth--;
  chx_scope_rewind(s, mark, NULL);
  s->grad_mode = mode;
  s->own_random = own_random;
  s->random = random;
  for (int i = 0; i < c->n_x; i++) {
    if (c->moves[i]) drop(c->x[i], c->xs[i]->size);
    for (int k = 0; k < c->n_y; k++)
      if (c->moves[i]) drop(c->g[k][i], c->xs[i]->size);
  }
  for (int k = 0; k < c->n_y; k++) drop(c->w[k], c->n_w[k]);
}

static chx_status check_with(chx_scope *s, const char *what, chx_grad_fn f, void *ctx, const chx_array *const *xs,
                             int n_x, int n_y, int id, double eps, double atol, double rtol)
{
  check *c = chxi_alloc(sizeof *c);
  if (!c) return chx_scope_fail(s, CHX_ENOMEM, "%s: out of memory", what);
  memset(c, 0, sizeof *c);
  c->s = s;
  c->what = what;
  c->f = f;
  c->ctx = ctx;
  c->xs = xs;
  c->n_x = n_x;
  c->n_y = n_y;
  c->id = id;
  run(c, eps, atol, rtol);
  chxi_free(c, sizeof *c);
  return s->error;
}

static bool good_arguments(chx_scope *s, const char *what, chx_grad_fn f, const chx_array *const *xs, int n_x, int n_y,
                           double eps)
{
  if (!chxi_ok(s)) return false;
  if (f && xs && n_x > 0 && n_x <= MOST && n_y > 0 && n_y <= MOST && eps > 0) return true;
  chx_scope_fail(s, CHX_EARG, "%s: %d inputs, %d outputs, eps %g, want a function, 1 to %d of each and eps > 0", what,
                 n_x, n_y, eps, MOST);
  return false;
}

chx_status chx_check_grad(chx_scope *s, chx_grad_fn f, void *ctx, const chx_array *const *xs, int n_x, int n_y,
                          double eps, double atol, double rtol)
{
  if (!good_arguments(s, "check_grad", f, xs, n_x, n_y, eps)) return s ? chx_scope_error(s) : CHX_EARG;
  const chx_backprop_id id = chx_backprop_begin(s, "check_grad");
  if (id < 0) return s->error;
  check_with(s, "check_grad", f, ctx, xs, n_x, n_y, id, eps, atol, rtol);
  chx_backprop_end(s, id);
  return s->error;
}

/* ---- second order ------------------------------------------------------------------------------------------------------------------ */

typedef struct gradient { /* of f, as a function of the inputs and of the outputs' gradients */
  chx_grad_fn f;
  void *ctx;
  int n_x, n_y, id;
  int n_gx, x_of[MOST]; /* the floating inputs */
  int n_gy, y_of[MOST]; /* the floating outputs */
} gradient;

/* The chx_grad_fn: xs and gys to gxs. */
static void gradient_of(void *ctx, chx_scope *s, chx_array *const *in, chx_array **out)
{
  const gradient *g = ctx;
  chx_array *ys[MOST] = {0};
  const chx_array *leaves[MOST], *y[MOST], *gys[MOST];
  const int mode = chx_scope_set_grad(s, CHX_GRAD_ON);
  int n = 0;
  for (int i = 0; i < g->n_gx; i++) {
    leaves[i] = in[g->x_of[i]];
    if (!chx_is_grad_required(leaves[i], g->id)) chx_require_grad_in(s, in[g->x_of[i]], g->id);
  }
  g->f(g->ctx, s, in, ys);
  for (int k = 0; k < g->n_gy && chxi_ok(s); k++) {
    if (!ys[g->y_of[k]]) {
      chx_scope_fail(s, CHX_EARG, "check_grad_twice: f left output %d NULL, want an array", g->y_of[k]);
    } else if (chx_is_grad_required(ys[g->y_of[k]], g->id)) {
      y[n] = ys[g->y_of[k]];
      gys[n++] = in[g->n_x + k];
    }
  }
  if (!n && chxi_ok(s))
    chx_scope_fail(s, CHX_EARG, "check_grad_twice: no output depends on an input, want a differentiable function");
  if (chxi_ok(s)) chx_grad(s, y, n, leaves, g->n_gx, gys, g->id, CHX_CREATE_GRAPH, out);
  chx_scope_set_grad(s, mode);
}

/* One run of f, to see which outputs there are; then arrays of weights for them behind the inputs. */
static bool append_weights(chx_scope *s, gradient *g, const chx_array **in)
{
  chx_array *ys[MOST] = {0};
  const int mode = chx_scope_set_grad(s, CHX_GRAD_OFF);
  const bool own_random = s->own_random;
  const chx_random_state random = s->random;
  s->random = chx_random_get(s);
  s->own_random = true;
  g->f(g->ctx, s, (chx_array *const *)in, ys);
  s->own_random = own_random;
  s->random = random;
  chx_scope_set_grad(s, mode);
  for (int k = 0; k < g->n_y && chxi_ok(s); k++) {
    if (!ys[k]) return chx_scope_fail(s, CHX_EARG, "check_grad_twice: f left output %d NULL, want an array", k), false;
    if (!chxi_is_float(ys[k]->dtype) || !ys[k]->buf) continue;
    const int64_t n = ys[k]->size;
    double *w = chxi_alloc(((size_t)n + 1) * sizeof *w);
    if (!w) return out_of_memory(s, "check_grad_twice");
    for (int64_t i = 0; i < n; i++) w[i] = weight((uint64_t)(k + MOST) << 32 | (uint64_t)i);
    g->y_of[g->n_gy] = k;
    in[g->n_x + g->n_gy++] = array_of(s, "check_grad_twice", ys[k], w);
    drop(w, n);
  }
  return chxi_ok(s);
}

chx_status chx_check_grad_twice(chx_scope *s, chx_grad_fn f, void *ctx, const chx_array *const *xs, int n_x, int n_y,
                                double eps, double atol, double rtol)
{
  static const char what[] = "check_grad_twice";
  if (!good_arguments(s, what, f, xs, n_x, n_y, eps)) return s ? chx_scope_error(s) : CHX_EARG;
  if (n_x + n_y > MOST)
    return chx_scope_fail(s, CHX_EARG, "%s: %d inputs and %d outputs, want at most %d together", what, n_x, n_y, MOST);
  gradient g = {.f = f, .ctx = ctx, .n_x = n_x, .n_y = n_y};
  const chx_array *in[MOST];
  for (int i = 0; i < n_x; i++) {
    if (!xs[i]) return chx_scope_fail(s, CHX_EARG, "%s: input %d is NULL, want an array", what, i);
    in[i] = xs[i];
    if (chxi_is_float(xs[i]->dtype) && xs[i]->buf) g.x_of[g.n_gx++] = i;
  }
  if (!g.n_gx) return chx_scope_fail(s, CHX_EARG, "%s: no input is floating, want one to differentiate by", what);
  const size_t mark = s->n;
  g.id = chx_backprop_begin(s, what);
  if (g.id < 0) return s->error;
  s->depth++;
  if (append_weights(s, &g, in)) check_with(s, what, gradient_of, &g, in, n_x + g.n_gy, g.n_gx, g.id, eps, atol, rtol);
  s->depth--;
  chx_scope_rewind(s, mark, NULL);
  chx_backprop_end(s, g.id);
  return s->error;
}
