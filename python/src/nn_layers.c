/* SPDX-License-Identifier: MIT
 * nn_layers.c: the kinds of links that nn has, as types of chx.nn.
 */
#include "nnpy.h"
#include <string.h>

/* ---- arguments -------------------------------------------------------------------------------------------------------------- */

typedef struct weights { /* what links with weights share */
  PyObject *w, *b, *dtype;
  int nobias;
} weights;

static bool options(py_link *self, const weights *a, chx_link_options *o, chx_nn_init init[2])
{
  *o = (chx_link_options){.size = sizeof *o, .nobias = a->nobias || a->b == Py_False};
  if (a->dtype && !py_dtype_from(a->dtype, &o->dtype)) return false;
  if (!py_init_from(a->w, self, &init[0]) || !py_init_from(o->nobias ? NULL : a->b, self, &init[1])) return false;
  o->init_w = init[0].fn ? &init[0] : NULL;
  o->init_b = init[1].fn ? &init[1] : NULL;
  return true;
}

/* A length; None or 0: from the first input. */
static bool length(PyObject *o, const char *what, int64_t *n)
{
  *n = 0;
  if (o == Py_None) return true;
  if (!PyIndex_Check(o)) {
    PyErr_Format(PyExc_TypeError, "%s is of type %s, want an int, or None for what the first input has", what,
                 Py_TYPE(o)->tp_name);
    return false;
  }
  *n = PyNumber_AsSsize_t(o, PyExc_ValueError);
  return !PyErr_Occurred();
}

/* One value per spatial axis: an int stands for all n. */
static bool per_axis(PyObject *o, const char *what, int64_t n, chx_ints *v)
{
  if (!o || o == Py_None) return true;
  if (!py_ints_from(o, what, v)) return false;
  for (int64_t i = 1; PyIndex_Check(o) && i < n && i < CHX_MAX_RANK; i++) v->v[i] = v->v[0];
  if (PyIndex_Check(o)) v->n = n;
  if (v->n == n) return true;
  PyErr_Format(PyExc_ValueError, "%s has %lld values, want %lld, one per spatial axis", what, (long long)v->n,
               (long long)n);
  return false;
}

/* The window, which says how many spatial axes there are; an int: `ndim` of them. */
static bool window(PyObject *o, int ndim, chx_ints *k)
{
  if (!PyIndex_Check(o)) return py_ints_from(o, "ksize", k);
  if (ndim < 1 || ndim > 3) return PyErr_Format(PyExc_ValueError, "ndim is %d, want 1 to 3 spatial axes", ndim), false;
  return per_axis(o, "ksize", ndim, k);
}

static int64_t layout(int channels_last) { return channels_last ? CHX_CHANNELS_LAST : CHX_CHANNELS_FIRST; }

/* ---- kinds ------------------------------------------------------------------------------------------------------------------- */

static chx_link *linear(chx_scope *s, py_link *self, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"in_size",      "out_size",     "nobias", "initialW",
                             "initial_bias", "n_batch_axes", "dtype",  NULL};
  PyObject *in, *out = NULL;
  weights a = {0};
  chx_link_options o;
  chx_nn_init init[2];
  int64_t n_in, n_out;
  int n_batch = 1;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|OpOO$iO:Linear", keywords, &in, &out, &a.nobias, &a.w, &a.b,
                                   &n_batch, &a.dtype))
    return NULL;
  if (!out || out == Py_None) { /* Linear(out_size) */
    out = in;
    in = Py_None;
  }
  if (!length(in, "in_size", &n_in) || !length(out, "out_size", &n_out) || !options(self, &a, &o, init)) return NULL;
  o.n_batch_axes = n_batch;
  return chx_link_linear(s, n_in, n_out, &o);
}

static chx_link *convolution(chx_scope *s, py_link *self, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"in_channels",  "out_channels", "ksize",  "stride",        "pad",  "nobias", "initialW",
                             "initial_bias", "dilation",     "groups", "channels_last", "ndim", "dtype",  NULL};
  PyObject *in, *k, *stride = NULL, *pad = NULL, *dilation = NULL;
  long long out, groups = 1;
  int last = 0, ndim = 2;
  weights a = {0};
  chx_link_options o;
  chx_nn_init init[2];
  chx_conv_attr p = CHX_ATTR(conv);
  chx_ints ksize = {0};
  int64_t n_in;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OLO|OOpOO$OLpiO:Convolution", keywords, &in, &out, &k, &stride, &pad,
                                   &a.nobias, &a.w, &a.b, &dilation, &groups, &last, &ndim, &a.dtype) ||
      !length(in, "in_channels", &n_in) || !window(k, ndim, &ksize) ||
      !per_axis(stride, "stride", ksize.n, &p.stride) || !per_axis(pad, "pad", ksize.n, &p.pad) ||
      !per_axis(dilation, "dilation", ksize.n, &p.dilation) || !options(self, &a, &o, init))
    return NULL;
  p.groups = groups;
  p.layout = layout(last);
  return chx_link_conv(s, n_in, out, (int)ksize.n, ksize.v, &p, &o);
}

static chx_link *batch_norm(chx_scope *s, py_link *self, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"size", "decay", "eps", "channels_last", "initial_gamma", "initial_beta", "dtype", NULL};
  PyObject *size = Py_None;
  double decay = 0;
  int last = 0;
  weights a = {0};
  chx_link_options o;
  chx_nn_init init[2];
  chx_batch_norm_attr p = CHX_ATTR(batch_norm);
  int64_t n;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|Odd$pOOO:BatchNormalization", keywords, &size, &decay, &p.eps, &last,
                                   &a.w, &a.b, &a.dtype) ||
      !length(size, "size", &n) || !options(self, &a, &o, init))
    return NULL;
  p.layout = layout(last);
  return chx_link_batch_norm(s, n, decay, &p, &o);
}

static chx_link *dropout(chx_scope *s, py_link *self, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"ratio", NULL};
  double ratio = 0.5;
  (void)self;
  return PyArg_ParseTupleAndKeywords(args, kwargs, "|d:Dropout", keywords, &ratio) ? chx_link_dropout(s, ratio) : NULL;
}

static bool pool_attr(PyObject *args, PyObject *kwargs, const char *format, chx_pool_attr *p, int *cover_all,
                      int *exclude_pad)
{
  static char *keywords[] = {"ksize", "stride", "pad", "cover_all", "exclude_pad", "channels_last", "ndim", NULL};
  PyObject *k, *stride = NULL, *pad = NULL;
  int last = 0, ndim = 2;
  *p = CHX_ATTR(pool);
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, format, keywords, &k, &stride, &pad, cover_all, exclude_pad, &last,
                                   &ndim) ||
      !window(k, ndim, &p->ksize) || !per_axis(stride, "stride", p->ksize.n, &p->stride) ||
      !per_axis(pad, "pad", p->ksize.n, &p->pad))
    return false;
  p->cover_all = *cover_all;
  p->exclude_pad = *exclude_pad;
  p->layout = layout(last);
  return true;
}

static chx_link *max_pool(chx_scope *s, py_link *self, PyObject *args, PyObject *kwargs)
{
  chx_pool_attr p;
  int cover = 0, exclude = 0;
  (void)self;
  if (!pool_attr(args, kwargs, "O|OOp$ppi:MaxPool", &p, &cover, &exclude)) return NULL;
  if (!exclude) return chx_link_max_pool(s, &p);
  return PyErr_SetString(PyExc_TypeError, "MaxPool: exclude_pad is for averages"), NULL;
}

static chx_link *avg_pool(chx_scope *s, py_link *self, PyObject *args, PyObject *kwargs)
{
  chx_pool_attr p;
  int cover = 0, exclude = 0;
  (void)self;
  return pool_attr(args, kwargs, "O|OOp$ppi:AveragePool", &p, &cover, &exclude) ? chx_link_avg_pool(s, &p) : NULL;
}

static bool no_arguments(PyObject *args, PyObject *kwargs, const char *name)
{
  if (PyTuple_GET_SIZE(args) == 0 && (!kwargs || PyDict_GET_SIZE(kwargs) == 0)) return true;
  PyErr_Format(PyExc_TypeError, "%s takes no arguments", name);
  return false;
}

static chx_link *flatten(chx_scope *s, py_link *self, PyObject *args, PyObject *kwargs)
{
  (void)self;
  return no_arguments(args, kwargs, "Flatten") ? chx_link_flatten(s) : NULL;
}

static chx_link *input(chx_scope *s, py_link *self, PyObject *args, PyObject *kwargs)
{
  (void)self;
  return no_arguments(args, kwargs, "Input") ? chx_link_input(s) : NULL;
}

static chx_link *reshape(chx_scope *s, py_link *self, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"shape", NULL};
  PyObject *shape;
  chx_ints n;
  (void)self;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:Reshape", keywords, &shape) || !py_ints_from(shape, "shape", &n))
    return NULL;
  return chx_link_reshape(s, (int)n.n, n.v);
}

/* Any callable: a link whose data is the function's object. */
static chx_array *function_forward(chx_scope *s, chx_link *l, const chx_array *x)
{
  return py_call_back(s, *(PyObject **)chx_link_data(l), "the function", &x, 1);
}

static chx_link *function(chx_scope *s, py_link *self, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"function", "name", NULL};
  PyObject *f, *name = NULL;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|U:Function", keywords, &f, &name)) return NULL;
  PyObject *module = PyUnicode_Check(f) ? PyImport_ImportModule("chx") : NULL;
  PyObject *named = module ? PyObject_GetAttr(module, f) : Py_NewRef(f);
  Py_XDECREF(module);
  if (!named) return NULL;
  PyObject *text = name ? Py_NewRef(name) : PyObject_GetAttrString(named, "__name__");
  if (!text || !PyUnicode_Check(text)) {
    PyErr_Clear();
    Py_XDECREF(text);
    text = PyUnicode_FromString(Py_TYPE(named)->tp_name);
  }
  bool good = text && PyCallable_Check(named) && py_link_hold(self, named);
  if (!good && !PyErr_Occurred())
    PyErr_Format(PyExc_TypeError, "Function: %R cannot be called, want a function of one array", f);
  const char *utf8 = good ? PyUnicode_AsUTF8(text) : NULL;
  const chx_link_class *cls = utf8 ? py_link_class(utf8, function_forward, NULL) : NULL;
  chx_link *l = cls ? chx_link_new(s, cls) : NULL;
  if (l) *(PyObject **)chx_link_data(l) = named; /* self->held has them */
  Py_DECREF(named);
  Py_XDECREF(text);
  return l;
}

static chx_link *sequential(chx_scope *s, py_link *self, PyObject *args, PyObject *kwargs)
{
  (void)self, (void)args;
  if (kwargs && PyDict_GET_SIZE(kwargs)) return PyErr_SetString(PyExc_TypeError, "Sequential takes links alone"), NULL;
  return chx_link_sequential(s);
}

/* ---- types ------------------------------------------------------------------------------------------------------------------- */

typedef struct kind {
  const char *name, *c_name; /* of the type; of the chx_link_class */
  chx_link *(*make)(chx_scope *s, py_link *self, PyObject *args, PyObject *kwargs);
  const char *doc;
  PyTypeObject *type;
} kind;

#define WEIGHTS "initialW and the bias' are initializers: numbers, arrays, chx.nn's, functions of (shape, dtype). "
static kind kinds[] = {
    {"chx.nn.Sequential", "Sequential", sequential,
     "Sequential(*links)\n--\n\nIts children in order; functions become Function.", NULL},
    {"chx.nn.Linear", "Linear", linear,
     "Linear(in_size, out_size=None, nobias=False, initialW=None, initial_bias=None, *, n_batch_axes=1, "
     "dtype='float32')\n--\n\n"
     "y = x W^T + b. in_size None, or Linear(out_size): from the first input. " WEIGHTS,
     NULL},
    {"chx.nn.Convolution", "Convolution", convolution,
     "Convolution(in_channels, out_channels, ksize, stride=1, pad=0, nobias=False, initialW=None, initial_bias=None, "
     "*, dilation=1, "
     "groups=1, channels_last=False, ndim=2, dtype='float32')\n--\n\nConvolution over 1 to 3 spatial axes, ndim of "
     "them where "
     "ksize is an int. in_channels None: from the first input. " WEIGHTS,
     NULL},
    {"chx.nn.BatchNormalization", "BatchNormalization", batch_norm,
     "BatchNormalization(size=None, decay=0.9, eps=2e-5, *, channels_last=False, initial_gamma=None, "
     "initial_beta=None, "
     "dtype='float32')\n--\n\nBy the batch's statistics in train mode, by averages of them in test mode.",
     NULL},
    {"chx.nn.Dropout", "Dropout", dropout, "Dropout(ratio=0.5)\n--\n\nx itself in test mode.", NULL},
    {"chx.nn.MaxPool", "MaxPool", max_pool,
     "MaxPool(ksize, stride=None, pad=0, cover_all=False, *, channels_last=False, ndim=2)\n--\n\nstride None: ksize.",
     NULL},
    {"chx.nn.AveragePool", "AvgPool", avg_pool,
     "AveragePool(ksize, stride=None, pad=0, cover_all=False, *, exclude_pad=False, channels_last=False, "
     "ndim=2)\n--\n\n"
     "stride None: ksize.",
     NULL},
    {"chx.nn.Flatten", "Flatten", flatten, "Flatten()\n--\n\n[N, ...] -> [N, M]", NULL},
    {"chx.nn.Reshape", "Reshape", reshape, "Reshape(shape)\n--\n\nEach item to a shape: [N, M] -> [N, *shape]", NULL},
    {"chx.nn.Input", "Input", input,
     "Input()\n--\n\nScaling of the data, (x - mean) scale, set by fit_input and saved with the model.", NULL},
    {"chx.nn.Function", NULL, function,
     "Function(function, name=None)\n--\n\nA function of one array as a link, or the name of one of chx's: 'relu'.",
     NULL},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

bool py_link_is_made_by_c(const PyTypeObject *type)
{
  for (int i = 0; i < N_KINDS; i++)
    if (kinds[i].type && PyType_IsSubtype((PyTypeObject *)(uintptr_t)type, kinds[i].type)) return true;
  return false;
}

PyTypeObject *py_link_type_of(const chx_link *l)
{
  const char *name = chx_link_class_of(l)->name;
  for (int i = 0; i < N_KINDS - 1; i++)
    if (strcmp(kinds[i].c_name, name) == 0) return kinds[i].type;
  return kinds[N_KINDS - 1].type;
}

static int append_all(PyObject *self, PyObject *links)
{
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(links); i++) {
    PyObject *r = PyObject_CallMethod(self, "append", "O", PyTuple_GET_ITEM(links, i));
    if (!r) return -1;
    Py_DECREF(r);
  }
  return 0;
}

/* C would not call it. */
static bool has_own_forward(PyObject *o, const kind *k)
{
  PyObject *own = PyObject_GetAttrString((PyObject *)Py_TYPE(o), "forward");
  PyObject *base = PyObject_GetAttrString((PyObject *)k->type, "forward");
  bool has = own != base || !own;
  if (has && !PyErr_Occurred())
    PyErr_Format(PyExc_TypeError,
                 "class %s derives from %s and has a forward, want chx.nn.Link as its base and a child in it",
                 Py_TYPE(o)->tp_name, k->name);
  Py_XDECREF(own);
  Py_XDECREF(base);
  return has;
}

static int init(PyObject *o, PyObject *args, PyObject *kwargs)
{
  py_link *self = (py_link *)o;
  py_nn c;
  const kind *k = kinds;
  while (!PyType_IsSubtype(Py_TYPE(o), k->type)) k++;
  if (has_own_forward(o, k)) return -1;
  if (self->l) return PyErr_Format(PyExc_RuntimeError, "%s: __init__ was called before", k->name), -1;
  if (!py_nn_enter(&c)) return -1;
  chx_link *l = k->make(c.s, self, args, kwargs);
  if (!py_nn_leave(&c) || !l) {
    chx_link_free(l);
    return -1;
  }
  if (!py_link_adopt(self, l)) return -1;
  return k->make == sequential ? append_all(o, args) : 0;
}

bool py_layers_init(PyObject *module)
{
  for (kind *k = kinds; k < kinds + N_KINDS; k++) {
    PyType_Slot slots[] = {
        {Py_tp_base, &py_link_type}, {Py_tp_init, init}, {Py_tp_doc, (void *)(uintptr_t)k->doc}, {0, NULL}};
    PyType_Spec spec = {.name = k->name,
                        .basicsize = sizeof(py_link),
                        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                        .slots = slots};
    k->type = (PyTypeObject *)PyType_FromSpec(&spec);
    if (!k->type || PyModule_AddObject(module, strrchr(k->name, '.') + 1, Py_NewRef((PyObject *)k->type)) < 0)
      return false;
  }
  return true;
}
