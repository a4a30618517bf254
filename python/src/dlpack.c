/* SPDX-License-Identifier: MIT
 * dlpack.c: memory shared with others: __dlpack__ and from_dlpack, and the buffer protocol, which asks DLPack's tensor for the
 * address. The structs are declared here as DLPack's ABI has them: https://dmlc.github.io/dlpack/latest/c_api.html
 *
 * What is exported was waited for, so a consumer's stream needs nothing more. Before version 1 the tensor had neither version nor
 * flags ("dltensor"); it is wrapped on the way out and in.
 */
#include "chxpy.h"
#include <string.h>

enum { READ_ONLY = 1, IS_COPIED = 2, CPU = 1 };

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

/* The tensor of a, raising BufferError where its device has none. */
static dl_versioned *export(chx_scope *s, const chx_array *a)
{
  dl_versioned *m = chx_to_dlpack(s, a);
  if (m) return m;
  if (chx_scope_error(s) == CHX_EUNSUPPORTED) PyErr_SetString(PyExc_BufferError, chx_scope_message(s));
  return py_fail(s), NULL;
}

static PyObject *dlpack(PyObject *self, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"stream", "max_version", "dl_device", "copy", NULL};
  PyObject *stream = Py_None, *most = Py_None, *device = Py_None, *copy = Py_None;
  int major = 0, minor = 0, type = -1, id = 0;
  chx_scope *s = py_scope();
  if (!s || !PyArg_ParseTupleAndKeywords(args, kwargs, "|$OOOO:__dlpack__", keywords, &stream, &most, &device, &copy))
    return NULL;
  if (most != Py_None && !PyArg_ParseTuple(most, "ii", &major, &minor)) return NULL;
  if (device != Py_None && !PyArg_ParseTuple(device, "ii", &type, &id)) return NULL;
  dl_versioned *m = export(s, py_a(self));
  if (!m) return NULL;
  const bool elsewhere = type >= 0 && (m->tensor.device.type != type || m->tensor.device.id != id);
  if (elsewhere || copy == Py_True) {
    m->deleter(m);
    if (elsewhere && (type != CPU || copy == Py_False))
      return PyErr_Format(PyExc_BufferError,
                          "the array is on %s, and is copied to the host alone, where that is allowed",
                          chx_device(py_a(self))),
             NULL;
    chx_array *fresh = elsewhere ? chx_to(s, py_a(self), "native:0") : chx_copy(s, py_a(self));
    m = fresh ? export(s, fresh) : (py_fail(s), NULL);
    chx_release(fresh);
    if (!m) return NULL;
    m->flags |= IS_COPIED;
  }
  return to_capsule(m, major >= 1);
}

static PyObject *dlpack_device(PyObject *self, PyObject *unused)
{
  chx_scope *s = py_scope();
  dl_versioned *m = s ? export(s, py_a(self)) : NULL;
  (void)unused;
  if (!m) return NULL;
  PyObject *r = Py_BuildValue("(ii)", (int)m->tensor.device.type, (int)m->tensor.device.id);
  m->deleter(m);
  return r;
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

/* The object's capsule: of version 1 where it knows that. */
static PyObject *ask(PyObject *o)
{
  PyObject *f = PyObject_GetAttrString(o, "__dlpack__"), *none = PyTuple_New(0), *capsule = NULL;
  PyObject *named = Py_BuildValue("{s:(ii)}", "max_version", 1, 0);
  if (f && none && named) capsule = PyObject_Call(f, none, named);
  if (!capsule && f && PyErr_ExceptionMatches(PyExc_TypeError)) { /* it knows no max_version */
    PyErr_Clear();
    capsule = PyObject_CallNoArgs(f);
  }
  Py_XDECREF(named);
  Py_XDECREF(none);
  Py_XDECREF(f);
  return capsule;
}

chx_array *py_import_dlpack(chx_scope *s, PyObject *o)
{
  PyObject *capsule = PyCapsule_CheckExact(o) ? Py_NewRef(o) : ask(o);
  if (!capsule) return NULL;
  const bool versioned = PyCapsule_IsValid(capsule, "dltensor_versioned");
  chx_array *a = NULL;
  if (!versioned && !PyCapsule_IsValid(capsule, "dltensor"))
    PyErr_SetString(PyExc_BufferError, "from_dlpack: the capsule is used or none of DLPack's, want an unused one");
  else {
    void *content = PyCapsule_GetPointer(capsule, versioned ? "dltensor_versioned" : "dltensor");
    dl_versioned *m = versioned ? content : of_old(content);
    a = m ? chx_from_dlpack(s, m) : NULL;
    if (a) PyCapsule_SetName(capsule, versioned ? "used_dltensor_versioned" : "used_dltensor");
    else if (m && !versioned) PyMem_RawFree(m);
    if (!a && !PyErr_Occurred()) py_fail(s);
  }
  Py_DECREF(capsule);
  return a;
}

static PyObject *from_dlpack(PyObject *module, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"x", "device", "copy", NULL};
  PyObject *o, *device = Py_None, *copy = Py_None;
  chx_scope *s = py_scope();
  (void)module;
  if (!s || !PyArg_ParseTupleAndKeywords(args, kwargs, "O|$OO:from_dlpack", keywords, &o, &device, &copy)) return NULL;
  chx_array *a = py_import_dlpack(s, o);
  if (a && (copy == Py_True || device != Py_None)) {
    const char *name = device == Py_None ? NULL : PyUnicode_AsUTF8(device);
    chx_array *b = PyErr_Occurred() ? NULL : copy == Py_True ? chx_copy(s, a) : chx_keep(a);
    chx_release(a);
    a = b && name ? chx_to(s, b, name) : chx_keep(b);
    if (copy == Py_False && a && a != b) {
      chx_release(a), a = NULL;
      PyErr_Format(PyExc_ValueError, "from_dlpack: an array on %s cannot be had without a copy", name);
    }
    chx_release(b);
  }
  return py_wrap(a);
}

PyMethodDef py_dlpack_functions[] = {{"from_dlpack", py_function(from_dlpack), METH_VARARGS | METH_KEYWORDS,
                                      "from_dlpack(x, *, device=None, copy=None)\n--\n\nAn array that shares the "
                                      "memory of x, an object with __dlpack__ on the host, or a capsule."},
                                     {0}};

/* ---- the buffer protocol ------------------------------------------------------------------------------------------------------ */

typedef struct py_view {
  dl_versioned *m;
  Py_ssize_t shape[CHX_MAX_RANK], strides[CHX_MAX_RANK];
} py_view;

static const char *refusal(const chx_array *a, const py_view *v, int flags)
{
  const bool dense = chx_is_contiguous(a);
  if (v->m->tensor.device.type != CPU) return "the array is not in the host's memory: x.to('native:0') is";
  if (!py_dtype_format(chx_dtype(a))) return "the buffer protocol has no format for bfloat16";
  if (flags & PyBUF_WRITABLE && v->m->flags & READ_ONLY) return "the array is read-only";
  const Py_buffer b = {.len = (Py_ssize_t)chx_nbytes(a),
                       .itemsize = chx_dtype_size(chx_dtype(a)),
                       .ndim = chx_ndim(a),
                       .shape = (Py_ssize_t *)v->shape,
                       .strides = (Py_ssize_t *)v->strides};
  if ((!dense && ((flags & PyBUF_STRIDES) != PyBUF_STRIDES || (flags & PyBUF_C_CONTIGUOUS) == PyBUF_C_CONTIGUOUS)) ||
      ((flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS && !PyBuffer_IsContiguous(&b, 'F')) ||
      ((flags & PyBUF_ANY_CONTIGUOUS) == PyBUF_ANY_CONTIGUOUS && !PyBuffer_IsContiguous(&b, 'A')))
    return "the array is not contiguous, and the consumer wants one that is";
  return NULL;
}

static int get_buffer(PyObject *self, Py_buffer *b, int flags)
{
  chx_scope *s = py_scope();
  const chx_array *a = py_a(self);
  py_view *v = s ? PyMem_Malloc(sizeof *v) : NULL;
  b->obj = NULL;
  if (!v) return PyErr_Occurred() ? -1 : (PyErr_NoMemory(), -1);
  if (!(v->m = export(s, a))) {
    PyMem_Free(v);
    return -1;
  }
  for (int i = 0; i < chx_ndim(a); i++) {
    v->shape[i] = (Py_ssize_t)chx_shape(a)[i];
    v->strides[i] = (Py_ssize_t)chx_strides(a)[i] * chx_dtype_size(chx_dtype(a));
  }
  const char *why = refusal(a, v, flags);
  if (why) {
    v->m->deleter(v->m);
    PyMem_Free(v);
    PyErr_SetString(PyExc_BufferError, why);
    return -1;
  }
  static char nowhere[16]; /* of an array without elements, whose address may be NULL */
  *b = (Py_buffer){.buf = v->m->tensor.data ? (char *)v->m->tensor.data + v->m->tensor.byte_offset : nowhere,
                   .obj = Py_NewRef(self),
                   .len = (Py_ssize_t)chx_nbytes(a),
                   .itemsize = chx_dtype_size(chx_dtype(a)),
                   .readonly = (v->m->flags & READ_ONLY) != 0,
                   .ndim = chx_ndim(a),
                   .format = flags & PyBUF_FORMAT ? (char *)py_dtype_format(chx_dtype(a)) : NULL,
                   .shape = flags & PyBUF_ND ? v->shape : NULL,
                   .strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? v->strides : NULL,
                   .internal = v};
  return 0;
}

static void release_buffer(PyObject *self, Py_buffer *b)
{
  py_view *v = b->internal;
  (void)self;
  v->m->deleter(v->m);
  PyMem_Free(v);
}

PyBufferProcs py_buffer_procs = {get_buffer, release_buffer};
