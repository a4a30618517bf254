/* SPDX-License-Identifier: MIT
 * nn_module.c: fills the modules chx.nn and chx.optim when they are first imported, so that `import chx` does not pay for them.
 */
#include "nnpy.h"

static bool add_types(PyObject *m)
{
  static const struct {
    const char *name;
    PyTypeObject *type;
  } rows[] = {{"Parameter", &py_param_type},
              {"Dataset", &py_dataset_type},
              {"Batches", &py_iterator_type},
              {"Trainer", &py_trainer_type}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (PyType_Ready(rows[i].type) < 0 || PyModule_AddObject(m, rows[i].name, Py_NewRef((PyObject *)rows[i].type)) < 0)
      return false;
  return true;
}

static PyObject *fill_nn(PyObject *u, PyObject *m)
{
  (void)u;
  if (!PyModule_Check(m)) return PyErr_SetString(PyExc_TypeError, "want the module chx.nn"), NULL;
  bool done =
      PyType_Ready(&py_optimizer_type) == 0 && py_links_init(m) && py_layers_init(m) && add_types(m) &&
      PyModule_AddFunctions(m, py_nn_init_functions) == 0 && PyModule_AddFunctions(m, py_nn_model_functions) == 0 &&
      PyModule_AddFunctions(m, py_nn_archive_functions) == 0 && PyModule_AddFunctions(m, py_nn_data_functions) == 0;
  return done ? Py_NewRef(Py_None) : NULL;
}

static PyObject *fill_optim(PyObject *u, PyObject *m)
{
  (void)u;
  if (!PyModule_Check(m)) return PyErr_SetString(PyExc_TypeError, "want the module chx.optim"), NULL;
  return py_optimizers_init(m) ? Py_NewRef(Py_None) : NULL;
}

PyMethodDef py_nn_functions[] = {{"_fill_nn", fill_nn, METH_O, NULL}, {"_fill_optim", fill_optim, METH_O, NULL}, {0}};
