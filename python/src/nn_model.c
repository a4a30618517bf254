/* SPDX-License-Identifier: MIT
 * nn_model.c: whole models, and the files of `chx train`.
 */
#include "nnpy.h"
#include <string.h>

static PyObject *model(py_nn *c, chx_link *l, const chx_nn_model_spec *spec)
{
  if (!py_nn_leave(c) || !l) {
    chx_link_free(l);
    return NULL;
  }
  PyObject *o = py_link_wrap(l);
  if (o && spec) ((py_link *)o)->spec = *spec;
  return o;
}

static PyObject *mlp(PyObject *m, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"units", NULL};
  PyObject *units;
  chx_ints n;
  py_nn c;
  (void)m;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:mlp", keywords, &units) || !py_ints_from(units, "units", &n) ||
      !py_nn_enter(&c))
    return NULL;
  return model(&c, chx_nn_mlp(c.s, (int)n.n, n.v), NULL);
}

static bool read_spec(const char *kind_name, PyObject *shape, long long classes, chx_nn_model_spec *spec)
{
  chx_ints n;
  if (!py_ints_from(shape, "shape", &n)) return false;
  if (n.n != 3) return PyErr_Format(PyExc_ValueError, "shape has %lld lengths, want (C, H, W)", (long long)n.n), false;
  *spec = (chx_nn_model_spec){.classes = classes};
  snprintf(spec->kind, sizeof spec->kind, "%s", kind_name);
  memcpy(spec->chw, n.v, sizeof spec->chw);
  return true;
}

static PyObject *cnn(PyObject *m, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"shape", "classes", NULL};
  PyObject *shape;
  long long classes;
  chx_nn_model_spec spec;
  py_nn c;
  (void)m;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OL:cnn", keywords, &shape, &classes) ||
      !read_spec("cnn", shape, classes, &spec) || !py_nn_enter(&c))
    return NULL;
  return model(&c, chx_nn_cnn(c.s, spec.chw, classes), &spec);
}

static PyObject *model_new(PyObject *m, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"kind", "shape", "classes", NULL};
  PyObject *shape;
  const char *name;
  long long classes;
  chx_nn_model_spec spec;
  py_nn c;
  (void)m;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "sOL:model", keywords, &name, &shape, &classes) ||
      !read_spec(name, shape, classes, &spec) || !py_nn_enter(&c))
    return NULL;
  return model(&c, chx_nn_model_new(c.s, &spec), &spec);
}

static PyObject *load_model(PyObject *m, PyObject *path)
{
  chx_nn_model_spec spec;
  py_nn c;
  PyObject *file = py_nn_path(path);
  (void)m;
  if (!file || !py_nn_enter(&c)) return Py_XDECREF(file), NULL;
  chx_link *l = chx_nn_model_load(c.s, PyBytes_AS_STRING(file), &spec);
  Py_DECREF(file);
  return model(&c, l, &spec);
}

static PyObject *save_model(PyObject *m, PyObject *args)
{
  PyObject *path, *o;
  py_nn c;
  (void)m;
  if (!PyArg_ParseTuple(args, "OO:save_model", &path, &o)) return NULL;
  py_link *self = py_link_of(o, "the model");
  if (!self) return NULL;
  if (!self->spec.kind[0])
    return PyErr_SetString(PyExc_ValueError,
                           "save_model: the model is not of chx.nn.model, cnn or load_model, want chx.nn.save_npz"),
           NULL;
  PyObject *file = py_nn_path(path);
  if (!file || !py_nn_enter(&c)) return Py_XDECREF(file), NULL;
  chx_nn_model_save(c.s, self->l, &self->spec, PyBytes_AS_STRING(file));
  Py_DECREF(file);
  return py_nn_leave(&c) ? Py_NewRef(Py_None) : NULL;
}

PyMethodDef py_nn_model_functions[] = {
    {"mlp", py_function(mlp), METH_VARARGS | METH_KEYWORDS,
     "mlp(units)\n--\n\nAn Input, then a Linear l1, l2, ... for each of units, with relu between them: (100, 100, "
     "10)."},
    {"cnn", py_function(cnn), METH_VARARGS | METH_KEYWORDS,
     "cnn(shape, classes)\n--\n\nA network for images of shape (C, H, W), H and W at least 4; see chx/nn.h."},
    {"model", py_function(model_new), METH_VARARGS | METH_KEYWORDS,
     "model(kind, shape, classes)\n--\n\nThe model that `chx train --model kind` makes: 'mlp' or 'cnn', for items of "
     "(C, H, W)."},
    {"load_model", load_model, METH_O,
     "load_model(file, /)\n--\n\nThe model of `chx train`'s file or checkpoint, or of save_model's; in test mode."},
    {"save_model", save_model, METH_VARARGS,
     "save_model(file, model, /)\n--\n\nA file that load_model and `chx predict` make the model of."},
    {0}};
