/* SPDX-License-Identifier: MIT
 * nn_data.c: chx.nn.Dataset, its batches, and what is said of a model on one: evaluate, predict.
 */
#include "nnpy.h"

/* ---- data sets ------------------------------------------------------------------------------------------------------------- */

static PyObject *wrap(py_nn *c, chx_nn_dataset *d)
{
  py_dataset *self = py_nn_leave(c) && d ? PyObject_New(py_dataset, &py_dataset_type) : NULL;
  if (self) self->d = d;
  else chx_nn_dataset_free(d);
  return (PyObject *)self;
}

static PyObject *create(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"x", "t", NULL};
  PyObject *x, *t;
  py_nn c;
  (void)type;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO:Dataset", keywords, &x, &t) || !py_nn_enter(&c)) return NULL;
  const chx_array *a = py_nn_array(&c, x, "x"), *b = a ? py_nn_array(&c, t, "t") : NULL;
  return wrap(&c, b ? chx_nn_dataset_new(c.s, a, b) : NULL);
}

static void dealloc(PyObject *o)
{
  chx_nn_dataset_free(((py_dataset *)o)->d);
  Py_TYPE(o)->tp_free(o);
}

static PyObject *load(PyObject *path, chx_nn_dataset *(*fn)(chx_scope *s, const char *path))
{
  py_nn c;
  PyObject *file = py_nn_path(path);
  if (!file || !py_nn_enter(&c)) return Py_XDECREF(file), NULL;
  chx_nn_dataset *d = fn(c.s, PyBytes_AS_STRING(file));
  Py_DECREF(file);
  return wrap(&c, d);
}
static PyObject *load_csv(PyObject *m, PyObject *path)
{
  (void)m;
  return load(path, chx_nn_load_csv);
}
static PyObject *load_data(PyObject *m, PyObject *path)
{
  (void)m;
  return load(path, chx_nn_load_data);
}

static PyObject *take(PyObject *o, PyObject *indices)
{
  py_nn c;
  if (!py_nn_enter(&c)) return NULL;
  const chx_array *i = py_nn_array(&c, indices, "indices");
  return wrap(&c, i ? chx_nn_dataset_take(c.s, ((py_dataset *)o)->d, i) : NULL);
}

static PyObject *reshape(PyObject *o, PyObject *shape)
{
  chx_ints n;
  py_nn c;
  if (!py_ints_from(shape, "shape", &n) || !py_nn_enter(&c)) return NULL;
  chx_nn_dataset_reshape(c.s, ((py_dataset *)o)->d, (int)n.n, n.v);
  return py_nn_leave(&c) ? Py_NewRef(o) : NULL;
}

static PyObject *split(PyObject *o, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"fraction", "seed", NULL};
  double fraction;
  unsigned long long seed = 0;
  chx_nn_dataset *train = NULL, *test = NULL;
  py_nn c, again;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "d|K:split", keywords, &fraction, &seed) || !py_nn_enter(&c))
    return NULL;
  chx_nn_dataset_split(c.s, ((py_dataset *)o)->d, fraction, seed, &train, &test);
  PyObject *a = wrap(&c, train), *b = NULL;
  if (!a) return chx_nn_dataset_free(test), NULL;
  if (!test) b = Py_NewRef(Py_None);
  else if (py_nn_enter(&again)) b = wrap(&again, test);
  return b ? Py_BuildValue("(NN)", a, b) : (Py_DECREF(a), NULL);
}

static PyObject *get_x(PyObject *o, void *u)
{
  (void)u;
  return py_wrap(chx_keep(chx_nn_dataset_x(((py_dataset *)o)->d)));
}
static PyObject *get_t(PyObject *o, void *u)
{
  (void)u;
  return py_wrap(chx_keep(chx_nn_dataset_t(((py_dataset *)o)->d)));
}
static PyObject *get_classes(PyObject *o, void *u)
{
  (void)u;
  return PyLong_FromLongLong(chx_nn_dataset_classes(((py_dataset *)o)->d));
}
static PyObject *get_image_shape(PyObject *o, void *u)
{
  int64_t v[3];
  py_nn c;
  (void)u;
  if (!py_nn_enter(&c)) return NULL;
  chx_nn_dataset_image_shape(c.s, ((py_dataset *)o)->d, v);
  return py_nn_leave(&c) ? Py_BuildValue("(LLL)", (long long)v[0], (long long)v[1], (long long)v[2]) : NULL;
}
static Py_ssize_t length(PyObject *o) { return (Py_ssize_t)chx_nn_dataset_size(((py_dataset *)o)->d); }

static PyObject *repr(PyObject *o)
{
  const chx_nn_dataset *d = ((py_dataset *)o)->d;
  PyObject *x = py_shape(chx_nn_dataset_x(d)), *t = x ? py_shape(chx_nn_dataset_t(d)) : NULL;
  PyObject *r =
      t ? PyUnicode_FromFormat("<chx.nn.Dataset x %R, t %R, %lld classes>", x, t, (long long)chx_nn_dataset_classes(d))
        : NULL;
  Py_XDECREF(x);
  Py_XDECREF(t);
  return r;
}

/* ---- batches ----------------------------------------------------------------------------------------------------------------- */

typedef struct py_iterator {
  PyObject_HEAD chx_nn_iterator *it;
  PyObject *d;
  int64_t epochs; /* 0: without end */
} py_iterator;

static PyObject *batches(PyObject *o, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"batch", "shuffle", "seed", "epochs", NULL};
  long long batch = 32, epochs = 1;
  int shuffle = 1;
  unsigned long long seed = 0;
  PyObject *limit = NULL;
  py_nn c;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|LpKO:batches", keywords, &batch, &shuffle, &seed, &limit))
    return NULL;
  if (limit) epochs = limit == Py_None ? 0 : PyLong_AsLongLong(limit);
  if (PyErr_Occurred() || (limit && limit != Py_None && epochs < 1)) {
    if (!PyErr_Occurred())
      PyErr_Format(PyExc_ValueError, "batches: %lld epochs, want 1 or more, or None for no end", epochs);
    return NULL;
  }
  if (!py_nn_enter(&c)) return NULL;
  chx_nn_iterator *it = chx_nn_iterator_new(c.s, ((py_dataset *)o)->d, batch, shuffle, seed);
  py_iterator *self = py_nn_leave(&c) && it ? PyObject_New(py_iterator, &py_iterator_type) : NULL;
  if (!self) return chx_nn_iterator_free(it), NULL;
  self->it = it;
  self->d = Py_NewRef(o);
  self->epochs = epochs;
  return (PyObject *)self;
}

static void iterator_dealloc(PyObject *o)
{
  chx_nn_iterator_free(((py_iterator *)o)->it);
  Py_DECREF(((py_iterator *)o)->d);
  Py_TYPE(o)->tp_free(o);
}

static PyObject *next(PyObject *o)
{
  py_iterator *self = (py_iterator *)o;
  chx_array *x = NULL, *t = NULL;
  py_nn c;
  if ((self->epochs && chx_nn_iterator_epoch(self->it) >= self->epochs) || !py_nn_enter(&c)) return NULL;
  if (chx_nn_iterator_next(c.s, self->it, &x, &t)) {
    chx_keep(x);
    chx_keep(t);
  }
  if (!py_nn_leave(&c)) return NULL;
  PyObject *a = py_wrap(x), *b = py_wrap(t);
  return a && b ? Py_BuildValue("(NN)", a, b) : (Py_XDECREF(a), Py_XDECREF(b), NULL);
}

static PyObject *get_epoch(PyObject *o, void *u)
{
  (void)u;
  return PyLong_FromLongLong(chx_nn_iterator_epoch(((py_iterator *)o)->it));
}
static PyObject *get_position(PyObject *o, void *u)
{
  (void)u;
  return PyLong_FromLongLong(chx_nn_iterator_position(((py_iterator *)o)->it));
}
static PyObject *get_new_epoch(PyObject *o, void *u)
{
  (void)u;
  return PyBool_FromLong(chx_nn_iterator_is_new_epoch(((py_iterator *)o)->it));
}
static PyObject *reset(PyObject *o, PyObject *u)
{
  (void)u;
  chx_nn_iterator_reset(((py_iterator *)o)->it);
  Py_RETURN_NONE;
}

static PyGetSetDef iterator_getset[] = {
    {"epoch", get_epoch, NULL, "epochs completed", NULL},
    {"position", get_position, NULL, "items taken in this epoch", NULL},
    {"is_new_epoch", get_new_epoch, NULL, "whether the last batch was its epoch's last", NULL},
    {0}};
static PyMethodDef iterator_methods[] = {{"reset", reset, METH_NOARGS, "reset($self)\n--\n\nBegins anew."}, {0}};

PyTypeObject py_iterator_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "chx.nn.Batches",
    .tp_basicsize = sizeof(py_iterator),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Batches of a data set, (x, t), on the thread's device.",
    .tp_dealloc = iterator_dealloc,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = next,
    .tp_methods = iterator_methods,
    .tp_getset = iterator_getset,
};

static PyMethodDef methods[] = {
    {"take", take, METH_O, "take($self, indices, /)\n--\n\nThe items of these indices."},
    {"reshape", reshape, METH_O,
     "reshape($self, shape, /)\n--\n\nGives all items another shape, in place; returns itself."},
    {"split", py_function(split), METH_VARARGS | METH_KEYWORDS,
     "split($self, fraction, seed=0)\n--\n\n(train, test), shuffled: test has round(fraction n) items; it is None for "
     "fraction 0."},
    {"batches", py_function(batches), METH_VARARGS | METH_KEYWORDS,
     "batches($self, batch=32, shuffle=True, seed=0, epochs=1)\n--\n\nAn iterator over (x, t); epochs None: without "
     "end."},
    {0}};
static PyGetSetDef getset[] = {
    {"x", get_x, NULL, "the items, float32 [n, ...], on native:0", NULL},
    {"t", get_t, NULL, "labels, int64 [n], or values, float32 [n, ...]", NULL},
    {"classes", get_classes, NULL, "the largest label + 1; 0 where t is not labels", NULL},
    {"image_shape", get_image_shape, NULL, "the shape of an item as an image, (C, H, W)", NULL},
    {0}};
static PySequenceMethods sequence = {.sq_length = length};

PyTypeObject py_dataset_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "chx.nn.Dataset",
    .tp_basicsize = sizeof(py_dataset),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Dataset(x, t)\n--\n\nItems x [n, ...] with labels or values t, in the memory of native:0.",
    .tp_new = create,
    .tp_dealloc = dealloc,
    .tp_repr = repr,
    .tp_as_sequence = &sequence,
    .tp_methods = methods,
    .tp_getset = getset,
};

/* ---- models on data ------------------------------------------------------------------------------------------------------------- */

/* The loss of a batch; between two, others run, and Ctrl-C ends the evaluation. */
static chx_array *batch_loss(void *function, chx_scope *s, const chx_array *y, const chx_array *t)
{
  if (!py_nn_pause()) return py_give(s, NULL, "a signal's handler");
  if (function != Py_None) return py_loss_back(function, s, y, t);
  return chx_dtype(t) == CHX_I64 ? chx_softmax_cross_entropy(s, y, t) : chx_mean_squared_error(s, y, t);
}

static PyObject *evaluate(PyObject *m, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"model", "dataset", "batch", "loss", NULL};
  PyObject *model, *d, *loss = Py_None;
  long long batch = 0;
  double value, accuracy;
  py_nn c;
  (void)m;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO!|LO:evaluate", keywords, &model, &py_dataset_type, &d, &batch,
                                   &loss))
    return NULL;
  py_link *l = py_link_of(model, "the model");
  if (!l || !py_nn_enter(&c)) return NULL;
  chx_nn_evaluate(c.s, l->l, ((py_dataset *)d)->d, batch, batch_loss, loss, &value, &accuracy);
  return py_nn_leave(&c) ? Py_BuildValue("(dd)", value, accuracy) : NULL;
}

/* Puts what was found of the items from `from` on into their places of *all, of n items, which the first part makes. */
static void put(chx_scope *s, chx_array **all, int64_t n, int64_t from, const chx_array *part)
{
  int64_t shape[CHX_MAX_RANK];
  if (!part) return;
  memcpy(shape, chx_shape(part), (size_t)chx_ndim(part) * sizeof *shape);
  if (shape[0] == n) {
    *all = chx_keep(part);
    return;
  }
  const int64_t to = from + shape[0];
  shape[0] = n;
  if (!*all) *all = chx_keep(chx_empty(s, chx_dtype(part), chx_ndim(part), shape));
  chx_copy_into(s, chx_slice_axis(s, *all, 0, from, to, 1), part);
}

/* Batch by batch: between two, others run, and Ctrl-C ends it. *scores: where wanted. */
static chx_array *predict_batches(chx_scope *s, chx_link *l, const chx_array *x, int64_t batch, bool wanted, chx_array **scores)
{
  enum { USUAL = 256 };
  const int64_t n = x && chx_ndim(x) ? chx_shape(x)[0] : 0;
  chx_array *labels = NULL, *some = NULL;
  if (batch < 1) batch = USUAL;
  for (int64_t from = 0; from < n || !from; from += batch) { /* one that is empty is an error of chx_nn_predict's */
    const size_t mark = chx_scope_mark(s);
    const chx_array *part = n > batch ? chx_slice_axis(s, x, 0, from, from + batch < n ? from + batch : n, 1) : x;
    const chx_array *found = chx_nn_predict(s, l, part, batch, wanted ? &some : NULL);
    put(s, &labels, n, from, found);
    if (wanted) put(s, scores, n, from, some);
    chx_scope_rewind(s, mark, NULL);
    if (chx_scope_error(s) || !py_nn_pause()) break;
  }
  return labels;
}

static PyObject *predict(PyObject *m, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"model", "x", "batch", "scores", NULL};
  PyObject *model, *o;
  long long batch = 0;
  int with_scores = 0;
  chx_array *scores = NULL, *labels = NULL;
  py_nn c;
  (void)m;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|Lp:predict", keywords, &model, &o, &batch, &with_scores))
    return NULL;
  py_link *l = py_link_of(model, "the model");
  if (!l || !py_nn_enter(&c)) return NULL;
  const chx_array *x = py_nn_array(&c, o, "x");
  if (x) labels = predict_batches(c.s, l->l, x, batch, with_scores, &scores);
  if (!py_nn_leave(&c)) return chx_release(labels), chx_release(scores), NULL;
  PyObject *a = py_wrap(labels), *b = a && scores ? py_wrap(scores) : NULL;
  if (!a) chx_release(scores);
  return b ? Py_BuildValue("(NN)", a, b) : a;
}

PyMethodDef py_nn_data_functions[] = {
    {"load_csv", load_csv, METH_O,
     "load_csv(file, /)\n--\n\nA Dataset of a CSV file, plain or gzipped: an item a line, the last number its label."},
    {"load_data", load_data, METH_O,
     "load_data(file, /)\n--\n\nA Dataset of a CSV file, or of an NPZ file's arrays x and t, or else its first two."},
    {"evaluate", py_function(evaluate), METH_VARARGS | METH_KEYWORDS,
     "evaluate(model, dataset, batch=256, loss=None)\n--\n\n(loss, accuracy) in test mode; accuracy is NaN without "
     "labels. loss: a function "
     "(y, t) -> 0-d mean; None: softmax cross entropy, or mean squared error without labels."},
    {"predict", py_function(predict), METH_VARARGS | METH_KEYWORDS,
     "predict(model, x, batch=256, scores=False)\n--\n\nThe label with the largest score for each item, int64; "
     "scores=True: (labels, scores)."},
    {0}};
