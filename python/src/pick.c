/* SPDX-License-Identifier: MIT
 * pick.c: x[key] and x[key] = value where the key has arrays of integers or bools (masks), by operators of the core.
 *
 * The axes that arrays index become one axis of the view, and the arrays one list of positions on it, which `take` reads by, so
 * gradients flow. One array of integers is that list as it is; masks, whose number of picks is a shape, and several arrays, which
 * broadcast, are read to the host, where the list is made.
 */
#include "index.h"
#include <string.h>

/* The list of positions, and how the view's axes stand before it is used. */
typedef struct py_picks {
  int m, axes[CHX_MAX_RANK];     /* the view's indexed axes */
  int perm[CHX_MAX_RANK];        /* the view's axes, the indexed ones side by side */
  int dest;                      /* where they stand */
  int rank, n_dims;              /* of the view; of what is picked in their place */
  int64_t dims[CHX_MAX_RANK], n; /* its shape and size */
  int64_t length;                /* of the indexed axes as one */
  int64_t *at;                   /* n positions on it; NULL where `index` has them */
} py_picks;

static bool no_memory(chx_scope *s) { return chx_scope_fail(s, CHX_ENOMEM, "index: out of memory"), false; }

/* ---- one array on the host ---------------------------------------------------------------------------------------------------- */

/* Positions on the axes of one array, and their shape. */
typedef struct py_list {
  int ndim;
  int64_t shape[CHX_MAX_RANK], n, *at;
} py_list;

static bool read_integers(chx_scope *s, const py_key_array *e, int64_t length, py_list *l)
{
  chx_array *wide = chx_cast(s, e->a, CHX_I64);
  if (!wide) return false;
  l->ndim = chx_ndim(wide);
  l->n = chx_size(wide);
  memcpy(l->shape, chx_shape(wide), (size_t)l->ndim * sizeof *l->shape);
  if (!(l->at = PyMem_RawMalloc((size_t)(l->n + 1) * sizeof *l->at))) return chx_release(wide), no_memory(s);
  chx_read(s, wide, l->at, (size_t)l->n * sizeof *l->at);
  chx_release(wide);
  if (chx_scope_error(s)) return false;
  for (int64_t i = 0; i < l->n; i++) {
    const int64_t v = l->at[i];
    if (v < -length || v >= length) return py_bad_index(v, e->axis, length);
    if (v < 0) l->at[i] += length;
  }
  return true;
}

static bool mask_fits(const py_key_array *e, const chx_array *view)
{
  for (int i = 0; i < e->n; i++)
    if (chx_shape(e->a)[i] != chx_shape(view)[e->at + i])
      return PyErr_Format(PyExc_IndexError, "a mask has length %lld along axis %d of the array, want its length, %lld",
                          (long long)chx_shape(e->a)[i], e->axis + i, (long long)chx_shape(view)[e->at + i]),
             false;
  return true;
}

static bool read_mask(chx_scope *s, const py_key_array *e, const chx_array *view, py_list *l)
{
  const int64_t size = chx_size(e->a);
  if (!mask_fits(e, view)) return false;
  unsigned char *bits = PyMem_RawMalloc((size_t)size + 1);
  if (!bits) return no_memory(s);
  l->ndim = 1;
  if (!chx_read(s, e->a, bits, (size_t)size)) {
    for (int64_t i = 0; i < size; i++) l->n += bits[i] != 0;
    if (!(l->at = PyMem_RawMalloc((size_t)(l->n + 1) * sizeof *l->at))) no_memory(s);
    else
      for (int64_t i = 0, n = 0; i < size; i++)
        if (bits[i]) l->at[n++] = i;
  }
  PyMem_RawFree(bits);
  l->shape[0] = l->n;
  return !chx_scope_error(s);
}

/* ---- all of them ------------------------------------------------------------------------------------------------------------ */

static bool broadcast(const py_list *lists, int n, py_picks *p)
{
  for (int k = 0; k < n; k++)
    if (lists[k].ndim > p->n_dims) p->n_dims = lists[k].ndim;
  p->n = 1;
  for (int i = 0; i < p->n_dims; i++) {
    int64_t d = 1;
    for (int k = 0; k < n; k++) {
      const int at = i - p->n_dims + lists[k].ndim;
      const int64_t v = at < 0 ? 1 : lists[k].shape[at];
      if (v != 1 && d != 1 && v != d) {
        PyErr_Format(PyExc_IndexError,
                     "shape mismatch: the arrays of an index have lengths %lld and %lld in axis %d of what they "
                     "pick, want lengths that broadcast",
                     (long long)d, (long long)v, i);
        return false;
      }
      if (d == 1) d = v;
    }
    p->n *= p->dims[i] = d;
  }
  return true;
}

/* at[i] += scale * list[i], the list broadcast. */
static void add_list(py_picks *p, const py_list *l, int64_t scale)
{
  int64_t strides[CHX_MAX_RANK], count[CHX_MAX_RANK] = {0}, from = 0, dense = 1;
  for (int i = p->n_dims - 1; i >= 0; i--) {
    const int at = i - p->n_dims + l->ndim;
    strides[i] = at < 0 || l->shape[at] == 1 ? 0 : dense;
    if (at >= 0) dense *= l->shape[at];
  }
  for (int64_t n = 0; n < p->n; n++) {
    p->at[n] += scale * l->at[from];
    for (int i = p->n_dims - 1; i >= 0; i--) {
      from += strides[i];
      if (++count[i] < p->dims[i]) break;
      from -= strides[i] * p->dims[i];
      count[i] = 0;
    }
  }
}

/* How the axes of the view are put side by side. */
static void arrange(const chx_array *view, const py_key *k, py_picks *p)
{
  uint32_t indexed = 0;
  int n = 0;
  p->rank = chx_ndim(view);
  p->length = 1;
  for (int j = 0; j < k->n_arrays; j++)
    for (int i = 0; i < k->arrays[j].n; i++) {
      const int axis = k->arrays[j].at + i;
      p->axes[p->m++] = axis;
      indexed |= 1u << axis;
      p->length *= chx_shape(view)[axis];
    }
  p->dest = k->apart ? 0 : k->first_at;
  for (int i = 0; i < p->dest; i++) p->perm[n++] = i; /* where they are not apart, no indexed axis is before them */
  for (int i = 0; i < p->m; i++) p->perm[n++] = p->axes[i];
  for (int i = p->dest; i < p->rank; i++)
    if (!(indexed >> i & 1)) p->perm[n++] = i;
}

static bool read_picks(chx_scope *s, const chx_array *view, const py_key *k, py_picks *p)
{
  py_list lists[CHX_MAX_RANK] = {0};
  bool done = true;
  for (int j = 0; j < k->n_arrays && done; j++) {
    const py_key_array *e = &k->arrays[j];
    done = e->mask ? read_mask(s, e, view, &lists[j]) : read_integers(s, e, chx_shape(view)[e->at], &lists[j]);
  }
  done = done && broadcast(lists, k->n_arrays, p);
  if (done && !(p->at = PyMem_RawCalloc((size_t)(p->n + 1), sizeof *p->at))) done = no_memory(s);
  int64_t scale = 1;
  for (int j = k->n_arrays - 1; j >= 0 && done; j--) {
    add_list(p, &lists[j], scale);
    for (int i = 0; i < k->arrays[j].n; i++) scale *= chx_shape(view)[k->arrays[j].at + i];
  }
  for (int j = 0; j < k->n_arrays; j++) PyMem_RawFree(lists[j].at);
  return done;
}

/* The shape [before the indexed axes..., middle..., after]; its rank, or -1 with an error. */
static int around(chx_scope *s, const chx_array *view, const py_picks *p, int n, const int64_t *middle, int64_t *shape)
{
  int rank = p->rank - p->m + n, at = 0;
  if (rank > CHX_MAX_RANK)
    return chx_scope_fail(s, CHX_ESHAPE, "index: the result has rank %d, want at most %d", rank, CHX_MAX_RANK), -1;
  for (int i = 0; i < p->dest; i++) shape[at++] = chx_shape(view)[p->perm[i]];
  for (int i = 0; i < n; i++) shape[at++] = middle[i];
  for (int i = p->dest + p->m; i < p->rank; i++) shape[at++] = chx_shape(view)[p->perm[i]];
  return rank;
}

/* The view with the indexed axes as one, at p->dest. */
static chx_array *merged(chx_scope *s, const chx_array *view, const py_picks *p)
{
  int64_t shape[CHX_MAX_RANK];
  const int rank = around(s, view, p, 1, &p->length, shape);
  chx_array *t = rank < 0 ? NULL : p->rank ? chx_transpose(s, view, p->rank, p->perm) : chx_keep(view);
  chx_array *y = t ? chx_reshape(s, t, rank, shape) : NULL;
  chx_release(t);
  return y;
}

/* Host values as an array where x is. */
static chx_array *beside(chx_scope *s, const chx_array *x, int dtype, int ndim, const int64_t *shape, const void *data)
{
  chx_array *a = chx_from_host(s, dtype, ndim, shape, data), *y = a ? chx_to(s, a, chx_device(x)) : NULL;
  chx_release(a);
  return y;
}

/* ---- reading ------------------------------------------------------------------------------------------------------------------- */

/* Whether the key's one array is what `take` wants, as it is. */
static bool plain(const py_key *k) { return k->n_arrays == 1 && !k->arrays[0].mask; }

chx_array *py_pick(chx_scope *s, const chx_array *x, const py_key *k)
{
  py_picks p = {0};
  chx_array *view = py_key_view(s, x, k), *line = NULL, *index = NULL, *y = NULL;
  if (!view) return NULL;
  arrange(view, k, &p);
  if (plain(k)) index = chx_to(s, k->arrays[0].a, chx_device(x));
  else if (read_picks(s, view, k, &p)) index = beside(s, x, CHX_I64, p.n_dims, p.dims, p.at);
  if (index && (line = merged(s, view, &p))) y = chx_take(s, line, index, p.dest);
  PyMem_RawFree(p.at);
  chx_release(index);
  chx_release(line);
  chx_release(view);
  return y;
}

/* ---- writing ------------------------------------------------------------------------------------------------------------------- */

/* The value with the view's dtype, on its device, of its own memory. */
static chx_array *settled(chx_scope *s, const chx_array *view, const chx_array *value)
{
  chx_array *cast = chx_cast(s, value, chx_dtype(view)), *y = cast ? chx_to(s, cast, chx_device(view)) : NULL;
  chx_release(cast);
  if (!y || !chx_shares_memory(y, view)) return y;
  chx_array *own = chx_copy(s, y);
  chx_release(y);
  return own;
}

/* A mask's places get one number: no shape depends on the mask, which stays where it is. */
static bool put_number(chx_scope *s, chx_array *view, const py_key *k, const chx_array *number)
{
  const py_key_array *e = &k->arrays[0];
  int64_t shape[CHX_MAX_RANK];
  const int rank = chx_ndim(view) - e->at;
  for (int i = 0; i < rank; i++) shape[i] = i < e->n ? chx_shape(e->a)[i] : 1;
  chx_array *home = chx_to(s, e->a, chx_device(view)), *mask = home ? chx_reshape(s, home, rank, shape) : NULL;
  if (mask) chx_where_into(s, view, mask, number, view);
  chx_release(mask);
  chx_release(home);
  return !chx_scope_error(s);
}

/* Value without leading axes of length 1 that the picks have not, broadcast to them. */
static chx_array *spread(chx_scope *s, const chx_array *value, int rank, const int64_t *shape)
{
  int extra = 0, n = chx_ndim(value);
  const int64_t *dims = chx_shape(value);
  while (extra < n - rank && dims[extra] == 1) extra++;
  bool fits = n - extra <= rank;
  for (int i = 1; fits && i <= n - extra; i++) fits = dims[n - i] == 1 || dims[n - i] == shape[rank - i];
  if (!fits) {
    PyObject *have = py_shape(value), *want = py_tuple(rank, shape, 1);
    if (have && want)
      PyErr_Format(PyExc_ValueError, "shape mismatch: the value's shape %R cannot be broadcast to what is indexed, %R",
                   have, want);
    Py_XDECREF(have);
    Py_XDECREF(want);
    return NULL;
  }
  chx_array *v = extra ? chx_reshape(s, value, n - extra, dims + extra) : chx_keep(value);
  chx_array *y = v ? chx_broadcast_to(s, v, rank, shape) : NULL;
  chx_release(v);
  return y;
}

/* Few places of many: each is a view that its part of the values, or the one number, is copied into. */
static void put_each(chx_scope *s, chx_array *view, const py_picks *p, const chx_array *values)
{
  chx_slice_attr at = {.size = sizeof at};
  at.start.n = at.stop.n = at.step.n = p->rank;
  for (int i = 0; i < p->rank; i++) at.start.v[i] = at.stop.v[i] = CHX_SLICE_NONE, at.step.v[i] = 1;
  for (int i = 0; i < p->m; i++) at.drop |= INT64_C(1) << p->axes[i];
  for (int64_t n = 0; n < p->n && !chx_scope_error(s); n++) {
    int64_t rest = p->at[n];
    for (int i = p->m - 1; i >= 0; i--) {
      const int axis = p->axes[i];
      const int64_t c = rest % chx_shape(view)[axis];
      rest /= chx_shape(view)[axis];
      at.start.v[axis] = c;
      at.stop.v[axis] = c + 1;
    }
    chx_array *place = chx_slice(s, view, &at), *v = NULL;
    if (place) v = chx_ndim(values) ? chx_at(s, values, p->dest, n) : chx_keep(values);
    if (v) chx_copy_into(s, place, v);
    chx_release(v);
    chx_release(place);
  }
}

/* Sets *mask to where the merged view changes, and gives the values that it gets there, those that were put there last; of one
 * number, itself. */
static chx_array *changes(chx_scope *s, const chx_array *line, const py_picks *p, const chx_array *values,
                          chx_array **mask)
{
  int64_t shape[CHX_MAX_RANK] = {p->length}, *from = PyMem_RawCalloc((size_t)p->length, sizeof *from);
  unsigned char *changed = PyMem_RawCalloc((size_t)p->length, 1);
  chx_array *index = NULL, *y = NULL;
  if (!from || !changed) no_memory(s);
  else {
    for (int64_t n = 0; n < p->n; n++) from[p->at[n]] = n, changed[p->at[n]] = 1;
    if (!chx_ndim(values)) y = chx_keep(values);
    else if ((index = beside(s, line, CHX_I64, 1, shape, from))) y = chx_take(s, values, index, p->dest);
    for (int i = 1; i < CHX_MAX_RANK; i++) shape[i] = 1;
    *mask = beside(s, line, CHX_BOOL, chx_ndim(line) - p->dest, shape, changed);
  }
  PyMem_RawFree(from);
  PyMem_RawFree(changed);
  chx_release(index);
  return y;
}

/* The merged view's new content into the view, whose axes stand elsewhere. */
static void put_back(chx_scope *s, chx_array *view, const py_picks *p, const chx_array *content)
{
  int64_t shape[CHX_MAX_RANK];
  int back[CHX_MAX_RANK];
  for (int i = 0; i < p->rank; i++) {
    shape[i] = chx_shape(view)[p->perm[i]];
    back[p->perm[i]] = i;
  }
  chx_array *apart = chx_reshape(s, content, p->rank, shape);
  chx_array *placed = apart && p->rank ? chx_transpose(s, apart, p->rank, back) : NULL;
  if (apart) chx_copy_into(s, view, placed ? placed : apart);
  chx_release(placed);
  chx_release(apart);
}

static void put_all(chx_scope *s, chx_array *view, const py_picks *p, const chx_array *values)
{
  chx_array *line = merged(s, view, p), *mask = NULL, *y = NULL;
  chx_array *v = line ? changes(s, line, p, values, &mask) : NULL;
  if (v && mask && chx_shares_memory(line, view)) chx_where_into(s, line, mask, v, line);
  else if (v && mask && (y = chx_where(s, mask, v, line))) put_back(s, view, p, y);
  chx_release(y);
  chx_release(v);
  chx_release(mask);
  chx_release(line);
}

/* What is written: the values as the picks stand, these in one axis; one number as it is. */
static chx_array *arranged(chx_scope *s, const chx_array *view, const py_picks *p, const chx_array *value)
{
  int64_t shape[CHX_MAX_RANK], one[CHX_MAX_RANK];
  if (!chx_ndim(value)) return chx_keep(value);
  const int rank = around(s, view, p, p->n_dims, p->dims, shape), rank1 = around(s, view, p, 1, &p->n, one);
  chx_array *wide = rank < 0 || rank1 < 0 ? NULL : spread(s, value, rank, shape);
  chx_array *y = wide ? chx_reshape(s, wide, rank1, one) : NULL;
  chx_release(wide);
  return y;
}

static bool put_values(chx_scope *s, chx_array *view, const py_picks *p, const chx_array *value)
{
  enum { MANY = 16 }; /* from this part of the positions on it is quicker to write all of them anew */
  chx_array *values = arranged(s, view, p, value);
  if (values && p->n && chx_size(view)) {
    if (p->n <= p->length / MANY) put_each(s, view, p, values);
    else put_all(s, view, p, values);
  }
  const bool done = values != NULL && !chx_scope_error(s);
  chx_release(values);
  return done;
}

bool py_put(chx_scope *s, chx_array *view, const py_key *k, const chx_array *value)
{
  py_picks p = {0};
  bool done;
  chx_array *v = settled(s, view, value);
  if (!v) return false;
  arrange(view, k, &p);
  if (k->n_arrays == 1 && k->arrays[0].mask && k->arrays[0].n && !chx_ndim(v))
    done = mask_fits(&k->arrays[0], view) && put_number(s, view, k, v);
  else done = read_picks(s, view, k, &p) && put_values(s, view, &p, v);
  PyMem_RawFree(p.at);
  chx_release(v);
  return done;
}
