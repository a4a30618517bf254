/* SPDX-License-Identifier: MIT
 * module.c: the module chx._core, from which the package takes all of its names.
 */
#include "chxpy.h"

static bool add_methods(PyTypeObject *type, PyMethodDef *list)
{
  for (; list->ml_name; list++) {
    PyObject *m = PyDescr_NewMethod(type, list);
    if (!m || PyDict_SetItemString(type->tp_dict, list->ml_name, m) < 0) return false;
    Py_DECREF(m);
  }
  return true;
}

static bool add_type(PyObject *m)
{
  PyMethodDef *const lists[] = {py_array_dlpack_methods, py_array_autograd_methods, py_array_shape_methods,
                                py_array_protocol_methods};
  if (PyType_Ready(&py_array_type) < 0) return false;
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
    if (!add_methods(&py_array_type, lists[i])) return false;
  if (!py_ops_methods(m, py_array_type.tp_dict) || !py_late_methods(py_array_type.tp_dict)) return false;
  PyType_Modified(&py_array_type);
  return PyModule_AddObject(m, "ndarray", Py_NewRef((PyObject *)&py_array_type)) == 0;
}

static bool add_functions(PyObject *m)
{
  PyMethodDef *const lists[] = {py_create_functions, py_dlpack_functions, py_autograd_functions, py_device_functions,
                                py_dtype_functions,  py_file_functions, py_nn_functions,       py_debug_functions};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
    if (PyModule_AddFunctions(m, lists[i]) < 0) return false;
  return true;
}

static bool init(PyObject *m)
{
  py_device_error = PyErr_NewExceptionWithDoc("chx.DeviceError", "A device is not there, is another than is wanted, or was lost.",
                                              PyExc_RuntimeError, NULL);
  if (!py_device_error || PyModule_AddObject(m, "DeviceError", Py_NewRef(py_device_error)) < 0) return false;
  return py_dtypes_init(m) && py_numbers_init() && py_index_init() && py_ops_init(m) && add_type(m) && add_functions(m) &&
         py_modes_init(m) && py_graphs_init(m) && py_functions_init(m) && py_random_init(m) && py_debug_init() && py_examples_init(m) &&
         PyModule_AddStringConstant(m, "__version__", chx_version()) == 0;
}

#if PY_VERSION_HEX < 0x03090000
__attribute__((visibility("default"))) /* later Pythons say so themselves */
#endif
PyMODINIT_FUNC PyInit__core(void)
{
  /* Of size 0, so that each interpreter asks here; types and the threads' scopes are the process's, and one interpreter's. */
  static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, .m_name = "chx._core", .m_doc = "What the package chx is made of.", .m_size = 0};
  static PyObject *made;
  if (PyThreadState_Get()->interp != PyInterpreterState_Main())
    return PyErr_SetString(PyExc_ImportError, "chx works in the main interpreter alone, not in a subinterpreter"), NULL;
  if (made) return Py_NewRef(made);
  PyObject *m = PyModule_Create(&def);
  if (m && !init(m)) Py_CLEAR(m);
  made = m ? Py_NewRef(m) : NULL;
  return m;
}
