/* SPDX-License-Identifier: MIT
 * examples.c: an example of each function and method of C, for its documentation; the tests run them. Those of operators are in
 * chx/_examples.py.
 */
#include "chxpy.h"
#include <string.h>

static const struct {
  const char *name, *text; /* "zeros", "ndarray.item" */
} examples[] = {
    {"arange", ">>> chx.arange(3)\n" "array([0, 1, 2])\n" ">>> chx.arange(1, 2, 0.5)\n" "array([1. , 1.5])"},
    {"array",
     ">>> chx.array([[1, 2], [3, 4]])\n"
     "array([[1, 2],\n"
     "       [3, 4]])\n"
     ">>> chx.array([1, 2], dtype=\"float32\")\n"
     "array([1., 2.], dtype=float32)"},
    {"asarray", ">>> x = chx.array([1, 2])\n" ">>> chx.asarray(x) is x\n" "True"},
    {"backends", ">>> [b[\"name\"] for b in chx.backends() if b[\"name\"] == \"native\"]\n" "['native']"},
    {"backward",
     ">>> x = chx.array([1., 2.]).require_grad()\n"
     ">>> chx.backward([x.sum(), (x * x).sum()])\n"
     ">>> x.grad\n"
     "array([3., 5.])"},
    {"debug", ">>> chx.debug()\n" ">>> chx.is_debug()\n" "True\n" ">>> chx.debug(False)"},
    {"debug_mode",
     ">>> with chx.debug_mode(nan=True):\n"
     "...     y = chx.ones(2) / 2\n"
     ">>> y\n"
     "array([0.5, 0.5])"},
    {"devices", ">>> [d[\"device\"] for d in chx.devices() if d[\"device\"] == \"native:0\"]\n" "['native:0']"},
    {"empty", ">>> chx.empty((2, 3)).shape\n" "(2, 3)"},
    {"empty_like",
     ">>> x = chx.array([[1., 2.], [3., 4.]])\n"
     ">>> chx.empty_like(x, dtype=\"int8\").dtype\n"
     "chx.int8"},
    {"fallback", ">>> with chx.fallback(\"deny\"):\n" "...     y = chx.ones(2) + 1\n" ">>> y\n" "array([2., 2.])"},
    {"force_backprop",
     ">>> x = chx.array([1., 2.]).require_grad()\n"
     ">>> with chx.no_backprop(), chx.force_backprop():\n"
     "...     y = x * 2\n"
     ">>> y.is_backprop_required()\n"
     "True"},
    {"force_backprop_mode",
     ">>> with chx.no_backprop_mode(), chx.force_backprop_mode():\n"
     "...     chx.is_backprop_required()\n"
     "True"},
    {"from_dlpack",
     ">>> x = chx.array([1, 2])\n"
     ">>> y = chx.from_dlpack(x)\n"
     ">>> y[0] = 5\n"
     ">>> x\n"
     "array([5, 2])"},
    {"full", ">>> chx.full((2, 2), 7)\n" "array([[7, 7],\n" "       [7, 7]])"},
    {"full_like", ">>> chx.full_like(chx.ones(2), 7)\n" "array([7., 7.])"},
    {"get_default_device",
     ">>> with chx.using_device(\"native:0\"):\n"
     "...     chx.get_default_device()\n"
     "'native:0'"},
    {"get_num_threads", ">>> chx.get_num_threads() >= 0\n" "True"},
    {"grad",
     ">>> x = chx.array([1., 2.]).require_grad()\n"
     ">>> chx.grad([(x * x).sum()], [x])\n"
     "[array([2., 4.])]"},
    {"is_backprop_required", ">>> with chx.no_backprop():\n" "...     chx.is_backprop_required()\n" "False"},
    {"is_debug", ">>> chx.is_debug()\n" "False"},
    {"ledger",
     ">>> chx.ledger_reset()\n"
     ">>> y = chx.ones(2) + 1  # by a kernel of native\n"
     ">>> chx.ledger()\n"
     "[]"},
    {"ledger_reset", ">>> chx.ledger_reset()\n" ">>> chx.ledger()\n" "[]"},
    {"load",
     ">>> import os, tempfile\n"
     ">>> path = os.path.join(tempfile.mkdtemp(), \"x.npy\")\n"
     ">>> chx.save(path, chx.array([1, 2]))\n"
     ">>> chx.load(path)\n"
     "array([1, 2])"},
    {"load_plugin",
     ">>> try:\n"
     "...     chx.load_plugin(\"/no/such/chx_mine.so\")\n"
     "... except OSError:\n"
     "...     print(\"it is not there\")\n"
     "it is not there"},
    {"memory_stats", ">>> x = chx.ones(1000)\n" ">>> chx.memory_stats(\"native:0\")[\"used\"] >= x.nbytes\n" "True"},
    {"memory_trim", ">>> chx.memory_trim(\"native:0\")"},
    {"ndarray.add_hook",
     ">>> x = chx.array([1., 2.]).require_grad()\n"
     ">>> handle = x.add_hook(lambda gradient: 2 * gradient)\n"
     ">>> x.sum().backward()\n"
     ">>> x.grad\n"
     "array([2., 2.])"},
    {"ndarray.astype", ">>> chx.array([1.5, -1.5]).astype(\"int32\")\n" "array([ 1, -1], dtype=int32)"},
    {"ndarray.backward",
     ">>> x = chx.array([1., 2.]).require_grad()\n"
     ">>> (x * x).sum().backward()\n"
     ">>> x.grad\n"
     "array([2., 4.])"},
    {"ndarray.cleargrad",
     ">>> x = chx.array([1., 2.]).require_grad()\n"
     ">>> x.sum().backward()\n"
     ">>> x.cleargrad()\n"
     ">>> x.grad is None\n"
     "True"},
    {"ndarray.contiguous",
     ">>> x = chx.array([[1., 2.], [3., 4.]])\n"
     ">>> x.T.contiguous().is_contiguous\n"
     "True\n"
     ">>> x.contiguous() is x\n"
     "True"},
    {"ndarray.copy", ">>> x = chx.array([[1., 2.], [3., 4.]])\n" ">>> x.copy() is x\n" "False"},
    {"ndarray.detach", ">>> x = chx.array([1., 2.]).require_grad()\n" ">>> x.detach().is_grad_required()\n" "False"},
    {"ndarray.diagonal", ">>> x = chx.array([[1, 2], [3, 4]])\n" ">>> x.diagonal()\n" "array([1, 4])"},
    {"ndarray.fill", ">>> x = chx.zeros(3)\n" ">>> x.fill(7)\n" ">>> x\n" "array([7., 7., 7.])"},
    {"ndarray.flatten", ">>> x = chx.array([[1, 2], [3, 4]])\n" ">>> x.flatten()\n" "array([1, 2, 3, 4])"},
    {"ndarray.get_grad",
     ">>> x = chx.array([1., 2.]).require_grad()\n"
     ">>> x.sum().backward()\n"
     ">>> x.get_grad()\n"
     "array([1., 1.])"},
    {"ndarray.is_backprop_required",
     ">>> x = chx.array([1., 2.]).require_grad()\n"
     ">>> x.is_backprop_required()\n"
     "True\n"
     ">>> with chx.no_backprop():\n"
     "...     x.is_backprop_required()\n"
     "False"},
    {"ndarray.is_grad_required",
     ">>> x = chx.array([1., 2.]).require_grad()\n"
     ">>> x.is_grad_required(), (x * 2).is_grad_required(), chx.ones(2).is_grad_required()\n"
     "(True, True, False)"},
    {"ndarray.item", ">>> x = chx.array([[1, 2], [3, 4]])\n" ">>> x.sum().item()\n" "10\n" ">>> x.item(1, 0)\n" "3"},
    {"ndarray.ravel", ">>> x = chx.array([[1, 2], [3, 4]])\n" ">>> x.ravel()\n" "array([1, 2, 3, 4])"},
    {"ndarray.remove_hook",
     ">>> x = chx.array([1., 2.]).require_grad()\n"
     ">>> handle = x.add_hook(lambda gradient: 2 * gradient)\n"
     ">>> x.remove_hook(handle)\n"
     ">>> x.sum().backward()\n"
     ">>> x.grad\n"
     "array([1., 1.])"},
    {"ndarray.require_grad",
     ">>> x = chx.array([1., 2.]).require_grad()\n"
     ">>> x.sum().backward()\n"
     ">>> x.grad\n"
     "array([1., 1.])"},
    {"ndarray.reshape", ">>> chx.arange(4).reshape(2, -1)\n" "array([[0, 1],\n" "       [2, 3]])"},
    {"ndarray.set_grad",
     ">>> x = chx.array([1., 2.]).require_grad()\n"
     ">>> x.set_grad(chx.array([3., 4.]))\n"
     ">>> x.grad\n"
     "array([3., 4.])"},
    {"ndarray.swapaxes", ">>> chx.zeros((2, 3, 4)).swapaxes(0, 2).shape\n" "(4, 3, 2)"},
    {"ndarray.to", ">>> chx.ones(2).to(\"native:0\").device\n" "'native:0'"},
    {"ndarray.to_device", ">>> chx.ones(2).to_device(\"native:0\").device\n" "'native:0'"},
    {"ndarray.tolist", ">>> x = chx.array([[1, 2], [3, 4]])\n" ">>> x.tolist()\n" "[[1, 2], [3, 4]]"},
    {"ndarray.transpose",
     ">>> x = chx.array([[1, 2], [3, 4]])\n"
     ">>> x.transpose()\n"
     "array([[1, 3],\n"
     "       [2, 4]])"},
    {"ndarray.unchain",
     ">>> x = chx.array([1., 2.]).require_grad()\n"
     ">>> y = x * 2\n"
     ">>> y.unchain()\n"
     ">>> y.is_grad_required()\n"
     "True"},
    {"ndarray.view",
     ">>> chx.array([1., 2.], dtype=\"float32\").view(\"int32\")\n"
     "array([1065353216, 1073741824], dtype=int32)"},
    {"no_backprop",
     ">>> x = chx.array([1., 2.]).require_grad()\n"
     ">>> with chx.no_backprop():\n"
     "...     y = x * 2\n"
     ">>> y.is_grad_required()\n"
     "False"},
    {"no_backprop_mode",
     ">>> x = chx.array([1., 2.]).require_grad()\n"
     ">>> with chx.no_backprop_mode():\n"
     "...     y = x * 2\n"
     ">>> y.is_grad_required()\n"
     "False"},
    {"ones", ">>> chx.ones((2, 3), dtype=\"int32\")\n" "array([[1, 1, 1],\n" "       [1, 1, 1]], dtype=int32)"},
    {"ones_like", ">>> chx.ones_like(chx.zeros(2))\n" "array([1., 1.])"},
    {"promote_types", ">>> chx.promote_types(\"int32\", \"float32\")\n" "chx.float64"},
    {"save",
     ">>> import os, tempfile\n"
     ">>> path = os.path.join(tempfile.mkdtemp(), \"x.npy\")\n"
     ">>> chx.save(path, chx.array([1, 2]))\n"
     ">>> chx.load(path)\n"
     "array([1, 2])"},
    {"savez",
     ">>> import os, tempfile\n"
     ">>> path = os.path.join(tempfile.mkdtemp(), \"x.npz\")\n"
     ">>> chx.savez(path, w=chx.array([1, 2]))\n"
     ">>> chx.load(path)[\"w\"]\n"
     "array([1, 2])"},
    {"savez_compressed",
     ">>> import os, tempfile\n"
     ">>> path = os.path.join(tempfile.mkdtemp(), \"x.npz\")\n"
     ">>> chx.savez_compressed(path, w=chx.zeros(3))\n"
     ">>> chx.load(path)[\"w\"]\n"
     "array([0., 0., 0.])"},
    {"seed",
     ">>> chx.seed(1)\n"
     ">>> x = chx.random.uniform(size=3)\n"
     ">>> chx.seed(1)\n"
     ">>> chx.array_equal(x, chx.random.uniform(size=3))\n"
     "True"},
    {"set_num_threads",
     ">>> n = chx.get_num_threads()\n"
     ">>> chx.set_num_threads(1)\n"
     ">>> chx.get_num_threads()\n"
     "1\n"
     ">>> chx.set_num_threads(n)"},
    {"shares_memory",
     ">>> x = chx.array([[1., 2.], [3., 4.]])\n"
     ">>> chx.shares_memory(x, x.T)\n"
     "True\n"
     ">>> chx.shares_memory(x, x.copy())\n"
     "False"},
    {"synchronize", ">>> chx.synchronize(\"native:0\")"},
    {"to_numpy", ">>> chx.to_numpy(chx.array([1, 2]))\n" "array([1, 2])"},
    {"using_device",
     ">>> with chx.using_device(\"native:0\"):\n"
     "...     x = chx.zeros(2)\n"
     ">>> x.device\n"
     "'native:0'"},
    {"zeros", ">>> chx.zeros((2, 2))\n" "array([[0., 0.],\n" "       [0., 0.]])"},
    {"zeros_like", ">>> chx.zeros_like(chx.ones(2, dtype=\"int8\"))\n" "array([0, 0], dtype=int8)"}
};

static PyMethodDef *definition(PyObject *o)
{
  if (o && PyCFunction_Check(o)) return ((PyCFunctionObject *)o)->m_ml;
  return o && Py_TYPE(o) == &PyMethodDescr_Type ? ((PyMethodDescrObject *)o)->d_method : NULL;
}

/* The definition's text with the example after it, which stays as long as the process. */
static bool extend(PyMethodDef *d, const char *example)
{
  static const char between[] = "\n\nExample\n";
  if (!d->ml_doc || strstr(d->ml_doc, ">>>")) return true;
  char *text = PyMem_RawMalloc(strlen(d->ml_doc) + sizeof between + 3 * strlen(example) + 2);
  if (!text) return PyErr_NoMemory(), false;
  char *at = text + sprintf(text, "%s%s  ", d->ml_doc, between);
  for (const char *p = example; *p; p++) {
    *at++ = *p;
    if (*p == '\n') *at++ = ' ', *at++ = ' ';
  }
  *at = 0;
  d->ml_doc = text;
  return true;
}

bool py_examples_init(PyObject *module)
{
  static const char owner[] = "ndarray.";
  for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
    const bool method = !strncmp(examples[i].name, owner, sizeof owner - 1);
    PyObject *dict = method ? py_array_type.tp_dict : PyModule_GetDict(module);
    PyMethodDef *d = definition(PyDict_GetItemString(dict, examples[i].name + (method ? sizeof owner - 1 : 0)));
    if (d && !extend(d, examples[i].text)) return false;
  }
  return true;
}
