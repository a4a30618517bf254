/* SPDX-License-Identifier: MIT
 * nn_archive.c: links and optimizers in .npz files, with Chainer's keys.
 */
#include "nnpy.h"

/* A link, with its optimizer below "optimizer/"; or an optimizer alone. */
static PyObject *archive(PyObject *args, PyObject *kwargs, int mode)
{
  static char *keywords[] = {"file", "obj", "optimizer", NULL};
  PyObject *path, *obj, *optimizer = Py_None;
  py_nn c;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|O:npz", keywords, &path, &obj, &optimizer)) return NULL;
  const bool alone = py_is_optimizer(obj);
  if (alone ? optimizer != Py_None : optimizer != Py_None && !py_is_optimizer(optimizer))
    return PyErr_SetString(PyExc_TypeError, "optimizer is not an optimizer beside a link, want one of chx.optim"), NULL;
  py_link *link = alone ? NULL : py_link_of(obj, "obj");
  PyObject *file = alone || link ? py_nn_path(path) : NULL;
  if (!file || !py_nn_enter(&c)) return Py_XDECREF(file), NULL;
  const char *name = PyBytes_AS_STRING(file);
  py_optimizer *o = alone ? (py_optimizer *)obj : optimizer != Py_None ? (py_optimizer *)optimizer : NULL;
  if (!o) {
    if (mode == CHX_NN_SAVE) chx_link_save(c.s, link->l, name);
    else chx_link_load(c.s, link->l, name);
  } else {
    chx_nn_archive *z = chx_nn_archive_begin(c.s, name, mode);
    if (link) chx_nn_archive_link(c.s, z, "", link->l);
    chx_nn_archive_optimizer(c.s, z, alone ? "" : "optimizer", o->o);
    chx_nn_archive_end(c.s, z);
  }
  Py_DECREF(file);
  return py_nn_leave(&c) ? Py_NewRef(Py_None) : NULL;
}

static PyObject *save_npz(PyObject *m, PyObject *args, PyObject *kwargs)
{
  (void)m;
  return archive(args, kwargs, CHX_NN_SAVE);
}
static PyObject *load_npz(PyObject *m, PyObject *args, PyObject *kwargs)
{
  (void)m;
  return archive(args, kwargs, CHX_NN_LOAD);
}

PyMethodDef py_nn_archive_functions[] = {{"save_npz", py_function(save_npz), METH_VARARGS | METH_KEYWORDS,
                                          "save_npz(file, obj, optimizer=None)\n--\n\nWrites a link's parameters and "
                                          "persistent values (keys 'l1/W'), or an optimizer; a "
                                          "link's optimizer below 'optimizer/'. The file appears whole or not at all."},
                                         {"load_npz", py_function(load_npz), METH_VARARGS | METH_KEYWORDS,
                                          "load_npz(file, obj, optimizer=None)\n--\n\nReads what save_npz wrote, into "
                                          "the same arrays. On error nothing was changed."},
                                         {0}};
