/* SPDX-License-Identifier: MIT
 * dlpack.c: memory shared with others: __dlpack__ and from_dlpack. The structs are declared here as DLPack's ABI has
 * them: https://dmlc.github.io/dlpack/latest/c_api.html
 *
 * Work is ordered by queues where both sides have them: a producer is told the handle of our queue, and what a consumer
 * names as its stream waits in place of the host. Before version 1 the tensor had neither version nor flags ("dltensor");
 * it is wrapped on the way out and in.
 */
#include "chxpy.h"
#include <string.h>

enum { READ_ONLY = 1, IS_COPIED = 2 };                                                  /* flags */
enum { CPU = 1, CUDA = 2, CUDA_HOST = 3, OPENCL = 4, ROCM = 10, ROCM_HOST = 11, EXTENSION = 12 }; /* device types */

typedef struct dl_tensor {
  void *data;
  struct {
    int32_t type, id;
  } device;
  int32_t ndim;
  struct {
    uint8_t code, bits;
    uint16_t lanes;
  } dtype;
  int64_t *shape, *strides;
  uint64_t byte_offset;
} dl_tensor;

typedef struct dl_versioned {
  struct {
    uint32_t major, minor;
  } version;
  void *manager_ctx;
  void (*deleter)(struct dl_versioned *);
  uint64_t flags;
  dl_tensor tensor;
} dl_versioned;

typedef struct dl_old {
  dl_tensor tensor;
  void *manager_ctx;
  void (*deleter)(struct dl_old *);
} dl_old;

/* A tuple of two ints, of which one may be an enum's. */
static bool read_pair(PyObject *o, const char *what, int *a, int *b)
{
  if (PyTuple_Check(o) && PyTuple_GET_SIZE(o) == 2) return PyArg_ParseTuple(o, "ii", a, b);
  PyErr_Format(PyExc_TypeError, "%s is %R, want a pair of ints", what, o);
  return false;
}

/* ---- export ---------------------------------------------------------------------------------------------------------------- */

static void end_old(dl_old *m)
{
  dl_versioned *v = m->manager_ctx;
  v->deleter(v);
  PyMem_RawFree(m);
}

static void end_capsule(PyObject *capsule)
{
  const char *name = PyCapsule_GetName(capsule);
  if (name && !strcmp(name, "dltensor_versioned")) {
    dl_versioned *m = PyCapsule_GetPointer(capsule, name);
    m->deleter(m);
  } else if (name && !strcmp(name, "dltensor")) {
    dl_old *m = PyCapsule_GetPointer(capsule, name);
    m->deleter(m);
  }
}

static PyObject *to_capsule(dl_versioned *m, bool versioned)
{
  void *content = m;
  if (!versioned) {
    dl_old *old = m->flags & READ_ONLY ? NULL : PyMem_RawMalloc(sizeof *old);
    if (!old) {
      if (m->flags & READ_ONLY)
        PyErr_SetString(PyExc_BufferError, "a read-only array needs a consumer of DLPack 1.0 or later");
      else PyErr_NoMemory();
      m->deleter(m);
      return NULL;
    }
    *old = (dl_old){m->tensor, m, end_old};
    content = old;
  }
  PyObject *capsule = PyCapsule_New(content, versioned ? "dltensor_versioned" : "dltensor", end_capsule);
  if (!capsule && versioned) m->deleter(m);
  else if (!capsule) end_old(content);
  return capsule;
}

/* The scope's error, as BufferError where the device has no tensors. */
static void *refused(chx_scope *s)
{
  if (chx_scope_error(s) == CHX_EUNSUPPORTED) PyErr_SetString(PyExc_BufferError, chx_scope_message(s));
  return py_fail(s), NULL;
}

static bool has_no_graph(chx_scope *s, const chx_array *a)
{
  if (!chx_is_grad_required(a, 0) && !chx_is_backprop_required(s, a)) return true;
  PyErr_SetString(PyExc_BufferError,
                  "the array requires a gradient, of which DLPack knows nothing: x.detach() shares its memory");
  return false;
}

/* The queue that a stream means on a device of this type, as the array API standard has it; NULL: the host waits, which
 * does for the default streams, too. */
static bool queue_of_stream(PyObject *stream, int type, const char *device, void **queue)
{
  *queue = NULL;
  if (stream == Py_None) return true;
  const long long v = PyLong_Check(stream) ? PyLong_AsLongLong(stream) : -2;
  if (!PyLong_Check(stream))
    PyErr_Format(PyExc_TypeError, "__dlpack__: stream is of type %s, want None or an int", Py_TYPE(stream)->tp_name);
  else if (v == -1 && PyErr_Occurred()) return false;
  else if (v == -1) return *queue = CHX_DLPACK_NO_WAIT, true;
  else if (type == CPU)
    PyErr_Format(PyExc_ValueError, "__dlpack__: stream is %lld, but %s has no streams, want None", v, device);
  else if (v < 0 || (type == CUDA && v == 0) || (type == ROCM && (v == 1 || v == 2)) || (type != ROCM && !v))
    PyErr_Format(PyExc_ValueError, "__dlpack__: stream is %lld, want %s", v,
                 type == CUDA   ? "None, -1, 1 (the default stream), 2 (the thread's) or a stream's handle"
                 : type == ROCM ? "None, -1, 0 (the default stream) or a stream's handle"
                                : "None, -1 or a queue's handle");
  else return *queue = (void *)(intptr_t)v, true;
  return false;
}

/* What is to be exported: a itself, or a copy for who wants one or wants it on the host. A new reference. */
static chx_array *wanted(chx_scope *s, const chx_array *a, bool elsewhere, int type, PyObject *copy, bool *copied)
{
  *copied = elsewhere || copy == Py_True;
  if (elsewhere && (type != CPU || copy == Py_False)) {
    PyErr_Format(PyExc_BufferError, "the array is on %s, and is copied to the host alone, where that is allowed",
                 chx_device(a));
    return NULL;
  }
  chx_array *b = elsewhere ? chx_to(s, a, "native:0") : *copied ? chx_copy(s, a) : chx_keep(a);
  return b ? b : (py_fail(s), NULL);
}

static PyObject *dlpack(PyObject *self, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"stream", "max_version", "dl_device", "copy", NULL};
  PyObject *stream = Py_None, *most = Py_None, *device = Py_None, *copy = Py_None;
  const chx_array *a = py_a(self);
  int major = 0, minor = 0, type = -1, id = 0, own = 0, own_id = 0;
  bool copied;
  void *queue;
  chx_scope *s = py_scope();
  if (!s || !PyArg_ParseTupleAndKeywords(args, kwargs, "|$OOOO:__dlpack__", keywords, &stream, &most, &device, &copy))
    return NULL;
  if (most != Py_None && !read_pair(most, "max_version", &major, &minor)) return NULL;
  if (device != Py_None && !read_pair(device, "dl_device", &type, &id)) return NULL;
  if (!has_no_graph(s, a)) return NULL;
  if (chx_dlpack_type(s, a, &own, &own_id)) {
    if (type != CPU) return refused(s);
    chx_scope_clear(s); /* it has no number, but a copy on the host has */
  }
  if (!queue_of_stream(stream, own, chx_device(a), &queue)) return NULL;
  chx_array *b = wanted(s, a, type >= 0 && (own != type || own_id != id), type, copy, &copied);
  if (!b) return NULL;
  dl_versioned *m = chx_to_dlpack_on(s, b, b == a ? queue : NULL);
  chx_release(b);
  if (!m) return refused(s);
  if (copied) m->flags |= IS_COPIED;
  return to_capsule(m, major >= 1);
}

static PyObject *dlpack_device(PyObject *self, PyObject *unused)
{
  int type, id;
  chx_scope *s = py_scope();
  (void)unused;
  if (!s) return NULL;
  if (chx_dlpack_type(s, py_a(self), &type, &id)) return refused(s);
  /* Libraries that ask know neither; PyTorch, told of OpenCL, fails after it has ended the tensor, which the capsule
   * then ends again. */
  if (type != EXTENSION && type != OPENCL) return Py_BuildValue("(ii)", type, id);
  PyErr_Format(PyExc_BufferError, "%s has no number in DLPack that other array libraries know: want x.to('native:0')",
               chx_device(py_a(self)));
  return NULL;
}

PyMethodDef py_array_dlpack_methods[] = {{"__dlpack__", py_function(dlpack), METH_VARARGS | METH_KEYWORDS, NULL},
                                         {"__dlpack_device__", dlpack_device, METH_NOARGS, NULL},
                                         {0}};

/* ---- import ---------------------------------------------------------------------------------------------------------------- */

typedef struct taken_old {
  dl_versioned m;
  dl_old *old;
} taken_old;

static void end_taken_old(dl_versioned *m)
{
  taken_old *t = (taken_old *)m;
  if (t->old->deleter) t->old->deleter(t->old);
  PyMem_RawFree(t);
}

static dl_versioned *of_old(dl_old *old)
{
  taken_old *t = PyMem_RawMalloc(sizeof *t);
  if (!t) return PyErr_NoMemory(), NULL;
  *t = (taken_old){.m = {.version = {1, 0}, .deleter = end_taken_old, .tensor = old->tensor}, .old = old};
  return &t->m;
}

/* The handle of this thread's queue of a device, which the producer's work is to come before; NULL: it has none. */
static void *queue_of_device(chx_scope *s, const char *device)
{
  char before[32];
  snprintf(before, sizeof before, "%s", chx_scope_device(s));
  chx_scope_set_device(s, device);
  void *queue = chx_dlpack_queue(s);
  chx_scope_set_device(s, before);
  return queue;
}

/* The queue to tell the producer of; false with an exception: no device here has such memory. */
static bool consumer_queue(chx_scope *s, PyObject *o, void **queue)
{
  int type, id;
  *queue = NULL;
  PyObject *numbers = PyObject_CallMethod(o, "__dlpack_device__", NULL);
  if (!numbers) {
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return false;
    PyErr_Clear(); /* then the tensor alone tells */
    return true;
  }
  const bool read = read_pair(numbers, "__dlpack_device__()", &type, &id);
  Py_DECREF(numbers);
  if (!read) return false;
  if (type == CPU || type == CUDA_HOST || type == ROCM_HOST) return true;
  const char *device = chx_dlpack_device(s, type, id);
  if (device) *queue = queue_of_device(s, device);
  return py_check(s);
}

/* The object's capsule: of version 1 where it knows that. */
static PyObject *ask(PyObject *o, void *queue)
{
  PyObject *f = PyObject_GetAttrString(o, "__dlpack__"), *none = PyTuple_New(0), *capsule = NULL;
  PyObject *named = Py_BuildValue("{s:(ii)}", "max_version", 1, 0), *stream = queue ? PyLong_FromVoidPtr(queue) : NULL;
  const bool ready = f && none && named && (!queue || (stream && PyDict_SetItemString(named, "stream", stream) == 0));
  if (ready) capsule = PyObject_Call(f, none, named);
  if (ready && !capsule && PyErr_ExceptionMatches(PyExc_TypeError)) { /* it knows no max_version */
    PyErr_Clear();
    if (PyDict_DelItemString(named, "max_version") == 0) capsule = PyObject_Call(f, none, named);
  }
  Py_XDECREF(stream);
  Py_XDECREF(named);
  Py_XDECREF(none);
  Py_XDECREF(f);
  return capsule;
}

/* copy as py_array_from's, before the array is made: whether what cannot be shared may be copied. */
static bool may_take(const dl_versioned *m, int copy)
{
  if (copy || !(m->flags & (READ_ONLY | IS_COPIED))) return true;
  PyErr_Format(PyExc_BufferError, "from_dlpack: the tensor is %s: it cannot be had without a copy",
               m->flags & READ_ONLY ? "read-only" : "a copy");
  return false;
}

/* The capsule's tensor as an array; *copied: whether its memory is nobody else's. */
static chx_array *of_capsule(chx_scope *s, PyObject *capsule, int copy, bool *copied)
{
  const bool versioned = PyCapsule_IsValid(capsule, "dltensor_versioned");
  if (!versioned && !PyCapsule_IsValid(capsule, "dltensor")) {
    PyErr_SetString(PyExc_BufferError, "from_dlpack: the capsule is used or none of DLPack's, want an unused one");
    return NULL;
  }
  void *content = PyCapsule_GetPointer(capsule, versioned ? "dltensor_versioned" : "dltensor");
  dl_versioned *m = versioned ? content : of_old(content);
  chx_array *a = NULL;
  if (m && may_take(m, copy)) {
    *copied = (m->flags & (READ_ONLY | IS_COPIED)) != 0;
    a = chx_from_dlpack(s, m);
  }
  if (a) PyCapsule_SetName(capsule, versioned ? "used_dltensor_versioned" : "used_dltensor");
  else if (m && !versioned) PyMem_RawFree(m);
  if (!a && !PyErr_Occurred()) py_fail(s);
  return a;
}

/* An array of ours, on whatever device. */
static chx_array *of_array(chx_scope *s, const chx_array *a)
{
  if (!has_no_graph(s, a)) return NULL;
  dl_versioned *m = chx_to_dlpack_on(s, a, queue_of_device(s, chx_device(a)));
  chx_array *b = m ? chx_from_dlpack(s, m) : NULL;
  if (m && !b) m->deleter(m);
  return b ? b : refused(s);
}

static chx_array *import(chx_scope *s, PyObject *o, int copy, bool *copied)
{
  void *queue = NULL;
  *copied = false;
  if (py_is_array(o)) return of_array(s, py_a(o));
  PyObject *capsule = PyCapsule_CheckExact(o) ? Py_NewRef(o) : consumer_queue(s, o, &queue) ? ask(o, queue) : NULL;
  chx_array *a = capsule ? of_capsule(s, capsule, copy, copied) : NULL;
  Py_XDECREF(capsule);
  return a;
}

chx_array *py_import_dlpack(chx_scope *s, PyObject *o, int copy)
{
  bool copied;
  return import(s, o, copy, &copied);
}

/* a (whose reference is taken) on a device, as another array if `fresh`. */
static chx_array *place(chx_scope *s, chx_array *a, const char *device, bool fresh)
{
  chx_array *b = device ? chx_to(s, a, device) : chx_keep(a);
  if (b == a && fresh) {
    chx_release(b);
    b = chx_copy(s, a);
  }
  chx_release(a);
  return b;
}

static PyObject *from_dlpack(PyObject *module, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"x", "device", "copy", NULL};
  PyObject *o, *copy = Py_None;
  const char *device = NULL;
  bool copied;
  chx_scope *s = py_scope();
  (void)module;
  if (!s || !PyArg_ParseTupleAndKeywords(args, kwargs, "O|$zO:from_dlpack", keywords, &o, &device, &copy)) return NULL;
  const int may = copy == Py_None ? -1 : PyObject_IsTrue(copy);
  chx_array *a = PyErr_Occurred() ? NULL : import(s, o, may, &copied);
  chx_array *b = a ? place(s, a, device, may == 1 && !copied) : NULL;
  if (may == 0 && b && a != b) {
    chx_release(b);
    return PyErr_Format(PyExc_BufferError, "from_dlpack: an array on %s cannot be had without a copy", device), NULL;
  }
  return py_wrap(b);
}

static PyObject *shares_memory(PyObject *module, PyObject *args)
{
  PyObject *a, *b;
  (void)module;
  if (!PyArg_ParseTuple(args, "O!O!:shares_memory", &py_array_type, &a, &py_array_type, &b)) return NULL;
  return PyBool_FromLong(chx_shares_memory(py_a(a), py_a(b)));
}

PyMethodDef py_dlpack_functions[] = {
    {"shares_memory", shares_memory, METH_VARARGS,
     "shares_memory(a, b, /)\n--\n\nWhether two arrays are views of one buffer."},
    {"from_dlpack", py_function(from_dlpack), METH_VARARGS | METH_KEYWORDS,
     "from_dlpack(x, *, device=None, copy=None)\n--\n\nAn array that shares the memory of x, an object with __dlpack__ "
     "or a capsule, on the device that DLPack names. What is read-only is copied, unless copy is False, which is an "
     "error then. device: moves it to another. Raises BufferError where memory cannot be shared, chx.DeviceError where "
     "it is of no device here."},
    {0}};
