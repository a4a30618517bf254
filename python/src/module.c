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

static bool init(PyObject *m)
{
  py_device_error = PyErr_NewExceptionWithDoc("chx.DeviceError", "A device is not there, is another than is wanted, or was lost.",
                                              PyExc_RuntimeError, NULL);
  if (!py_device_error || PyModule_AddObject(m, "DeviceError", Py_NewRef(py_device_error)) < 0) return false;
  if (!py_dtypes_init(m) || !py_numbers_init() || !py_index_init() || !py_ops_init(m)) return false;
  if (PyType_Ready(&py_array_type) < 0 || !add_methods(&py_array_type, py_array_dlpack_methods) ||
      !add_methods(&py_array_type, py_array_autograd_methods) || !add_methods(&py_array_type, py_array_shape_methods) || !py_ops_methods(m, py_array_type.tp_dict) ||
      !py_late_methods(py_array_type.tp_dict))
    return false;
  /* NumPy's functions do not take such arrays; its operators leave the expression to them. */
  if (PyDict_SetItemString(py_array_type.tp_dict, "__array_ufunc__", Py_None) < 0) return false;
  PyType_Modified(&py_array_type);
  if (PyModule_AddObject(m, "ndarray", Py_NewRef((PyObject *)&py_array_type)) < 0) return false;
  return PyModule_AddFunctions(m, py_create_functions) == 0 && PyModule_AddFunctions(m, py_dlpack_functions) == 0 &&
         PyModule_AddFunctions(m, py_autograd_functions) == 0 && PyModule_AddFunctions(m, py_device_functions) == 0 &&
         py_modes_init(m) && py_graphs_init(m) && py_functions_init(m) && py_random_init(m) &&
         PyModule_AddStringConstant(m, "__version__", chx_version()) == 0;
}

#if PY_VERSION_HEX < 0x03090000
__attribute__((visibility("default"))) /* later Pythons say so themselves */
#endif
PyMODINIT_FUNC PyInit__core(void)
{
  static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, .m_name = "chx._core", .m_doc = "What the package chx is made of.", .m_size = -1};
  PyObject *m = PyModule_Create(&def);
  if (m && !init(m)) Py_CLEAR(m);
  return m;
}
