/* SPDX-License-Identifier: MIT
 * device.c: devices, plugins, what fallback and memory cost, the random seed.
 */
#include "chxpy.h"
#include <stdlib.h>

/* list gets the dict, whose reference is taken; false with an exception. */
static bool add(PyObject *list, PyObject *dict)
{
  bool done = dict && PyList_Append(list, dict) == 0;
  Py_XDECREF(dict);
  return done;
}

static PyObject *dtype_names(uint64_t set)
{
  PyObject *list = PyList_New(0);
  for (int d = 1; list && d < CHX_DTYPE_END; d++)
    if (set & CHX_BIT(d) && !add(list, PyUnicode_FromString(py_dtype_name(d)))) Py_CLEAR(list);
  return list;
}

static PyObject *devices(PyObject *m, PyObject *unused)
{
  PyObject *list = PyList_New(0);
  chx_backend_state b;
  chx_device_state d;
  (void)m, (void)unused;
  chx_backend_scan();
  for (int i = 0; list && chx_backend_at(i, &b) == CHX_OK; i++)
    for (int j = 0; list && chx_device_at(i, j, &d) == CHX_OK; j++)
      if (!add(list,
               Py_BuildValue("{sssssssKsKsOsN}", "device", d.specifier, "name", d.name, "vendor", d.vendor, "mem_total",
                             (unsigned long long)d.mem_total, "mem_free", (unsigned long long)d.mem_free, "is_host",
                             d.is_host ? Py_True : Py_False, "dtypes", dtype_names(d.dtypes))))
        Py_CLEAR(list);
  return list;
}

static PyObject *backends(PyObject *m, PyObject *unused)
{
  PyObject *list = PyList_New(0);
  chx_backend_state b;
  (void)m, (void)unused;
  chx_backend_scan();
  for (int i = 0; list && chx_backend_at(i, &b) == CHX_OK; i++)
    if (!add(list, Py_BuildValue("{sssssssssssi}", "name", b.name, "path", b.path, "version", b.version, "vendor",
                                 b.vendor, "error", b.error, "devices", b.n_devices)))
      Py_CLEAR(list);
  return list;
}

static PyObject *load_plugin(PyObject *m, PyObject *path)
{
  chx_scope *s = py_scope();
  PyObject *bytes = NULL;
  (void)m;
  if (!s || !PyUnicode_FSConverter(path, &bytes)) return NULL;
  chx_load_plugin(s, PyBytes_AS_STRING(bytes));
  Py_DECREF(bytes);
  return py_check(s) ? Py_NewRef(Py_None) : NULL;
}

/* The optional device argument of a function: the thread's device where there is none. */
static const char *device_of(chx_scope *s, PyObject *args, const char *format)
{
  const char *name = NULL;
  if (!s || !PyArg_ParseTuple(args, format, &name)) return NULL;
  return name ? name : chx_scope_device(s);
}

static PyObject *synchronize(PyObject *m, PyObject *args)
{
  chx_scope *s = py_scope();
  PyObject *device = NULL;
  py_device_use use;
  (void)m;
  if (!s || !PyArg_ParseTuple(args, "|O:synchronize", &device) || !py_device_enter(s, device, &use)) return NULL;
  chx_sync(s);
  bool done = py_check(s);
  py_device_leave(s, &use);
  return done ? Py_NewRef(Py_None) : NULL;
}

static PyObject *memory_stats(PyObject *m, PyObject *args)
{
  chx_scope *s = py_scope();
  chx_memory_stats t;
  const char *device = device_of(s, args, "|z:memory_stats");
  (void)m;
  if (!device) return NULL;
  chx_memory_stats_of(s, device, &t);
  if (!py_check(s)) return NULL;
  return Py_BuildValue("{sKsKsKsKsKsKsK}", "used", (unsigned long long)t.used, "used_peak",
                       (unsigned long long)t.used_peak, "cached", (unsigned long long)t.cached, "reserved",
                       (unsigned long long)t.reserved, "limit", (unsigned long long)t.limit, "allocations",
                       (unsigned long long)t.allocations, "backend_allocations",
                       (unsigned long long)t.backend_allocations);
}

static PyObject *memory_trim(PyObject *m, PyObject *args)
{
  chx_scope *s = py_scope();
  const char *device = device_of(s, args, "|z:memory_trim");
  (void)m;
  if (!device) return NULL;
  chx_memory_trim(s, device);
  return py_check(s) ? Py_NewRef(Py_None) : NULL;
}

static PyObject *ledger(PyObject *m, PyObject *unused)
{
  (void)m, (void)unused;
  int n = chx_ledger(NULL, 0), room = n + 16;
  chx_ledger_row *rows = PyMem_Calloc((size_t)room, sizeof *rows);
  PyObject *list = rows ? PyList_New(0) : PyErr_NoMemory();
  n = rows ? chx_ledger(rows, room) : 0;
  for (int i = 0; list && i < n && i < room; i++) {
    const chx_ledger_row *r = &rows[i];
    if (!add(list, Py_BuildValue("{sssssssKsKsdsdss}", "device", r->device, "op", r->op, "route",
                                 chx_route_name(r->route), "calls", (unsigned long long)r->calls, "bytes",
                                 (unsigned long long)r->bytes, "seconds", (double)r->ns * 1e-9, "kernel_seconds",
                                 (double)r->kernel_ns * 1e-9, "reason", r->reason ? r->reason : "")))
      Py_CLEAR(list);
  }
  PyMem_Free(rows);
  return list;
}

static PyObject *ledger_reset(PyObject *m, PyObject *unused)
{
  (void)m, (void)unused;
  chx_ledger_reset();
  Py_RETURN_NONE;
}

static PyObject *seed(PyObject *m, PyObject *value)
{
  (void)m;
  PyObject *n = PyNumber_Index(value);
  unsigned long long v = n ? PyLong_AsUnsignedLongLong(n) : 0;
  Py_XDECREF(n);
  if (PyErr_Occurred()) return NULL;
  chx_seed(v);
  Py_RETURN_NONE;
}

static PyObject *set_num_threads(PyObject *m, PyObject *value)
{
  (void)m;
  long n = PyLong_AsLong(value);
  if (n == -1 && PyErr_Occurred()) return NULL;
  if (n < 0 || n > 1 << 16)
    return PyErr_Format(PyExc_ValueError, "set_num_threads: %ld threads, want 0 (all) or more", n), NULL;
  chx_set_threads((int)n);
  Py_RETURN_NONE;
}

static PyObject *get_num_threads(PyObject *m, PyObject *unused)
{
  (void)m, (void)unused;
  return PyLong_FromLong(chx_threads());
}

static PyObject *get_default_device(PyObject *m, PyObject *unused)
{
  chx_scope *s = py_scope();
  (void)m, (void)unused;
  return s ? PyUnicode_FromString(chx_scope_device(s)) : NULL;
}

PyMethodDef py_device_functions[] = {
    {"devices", devices, METH_NOARGS,
     "devices()\n--\n\nEvery device of every plugin that can be found, which this loads: a list of dicts."},
    {"backends", backends, METH_NOARGS,
     "backends()\n--\n\nEvery plugin that can be found, and for one that does not load why: a list of dicts."},
    {"load_plugin", load_plugin, METH_O, "load_plugin(path, /)\n--\n\nLoads a plugin from a file."},
    {"synchronize", synchronize, METH_VARARGS,
     "synchronize(device=None, /)\n--\n\nWaits for what this thread queued on a device, and raises what it reports late."},
    {"memory_stats", memory_stats, METH_VARARGS,
     "memory_stats(device=None, /)\n--\n\nBytes and counts of a device's caching allocator: a dict."},
    {"memory_trim", memory_trim, METH_VARARGS,
     "memory_trim(device=None, /)\n--\n\nGives cached memory back to the backend."},
    {"ledger", ledger, METH_NOARGS,
     "ledger()\n--\n\nWhat ran by another route than a kernel of the device, per device and operator: a list of "
     "dicts."},
    {"ledger_reset", ledger_reset, METH_NOARGS, "ledger_reset()\n--\n\nForgets the ledger's rows."},
    {"seed", seed, METH_O, "seed(seed, /)\n--\n\nSets the process's random numbers to a start."},
    {"set_num_threads", set_num_threads, METH_O,
     "set_num_threads(n, /)\n--\n\nHow many threads of the CPU an operator may use; 0: all. Results do not depend on it."},
    {"get_num_threads", get_num_threads, METH_NOARGS,
     "get_num_threads()\n--\n\nHow many threads of the CPU an operator may use."},
    {"get_default_device", get_default_device, METH_NOARGS,
     "get_default_device()\n--\n\nThe device that new arrays of this thread are made on."},
    {0}};
