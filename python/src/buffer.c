/* SPDX-License-Identifier: MIT
 * buffer.c: the buffer protocol: memoryview(x), and by it NumPy's asarray and the like, of arrays in the host's memory.
 */
#include "chxpy.h"
#include <string.h>

typedef struct py_view {
  chx_array *a; /* the shape of the wrapper's may change while the view lives */
  Py_ssize_t shape[CHX_MAX_RANK], strides[CHX_MAX_RANK];
} py_view;

static const char *refusal(const py_view *v, int flags)
{
  const chx_array *a = v->a;
  const bool dense = chx_is_contiguous(a);
  if (!py_dtype_format(chx_dtype(a))) return "the buffer protocol has no format for bfloat16";
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

/* The address of the array's elements, not NULL; NULL with BufferError where the host cannot reach them. */
static void *address(chx_scope *s, const chx_array *a)
{
  static char nowhere[16]; /* of an array without elements */
  void *p = chx_host_address(s, a);
  if (p || !chx_scope_error(s)) return p ? p : nowhere;
  if (chx_scope_error(s) == CHX_EUNSUPPORTED)
    PyErr_Format(PyExc_BufferError, "the array is on %s, not in the host's memory: x.to('native:0') is", chx_device(a));
  return py_fail(s), NULL;
}

static int get_buffer(PyObject *self, Py_buffer *b, int flags)
{
  chx_scope *s = py_scope();
  const chx_array *a = py_a(self);
  const int size = chx_dtype_size(chx_dtype(a));
  b->obj = NULL;
  void *data = s ? address(s, a) : NULL;
  py_view *v = data ? PyMem_Malloc(sizeof *v) : NULL;
  if (!v) return PyErr_Occurred() ? -1 : (PyErr_NoMemory(), -1);
  v->a = chx_keep(a);
  for (int i = 0; i < chx_ndim(a); i++) {
    v->shape[i] = (Py_ssize_t)chx_shape(a)[i];
    v->strides[i] = (Py_ssize_t)chx_strides(a)[i] * size;
  }
  const char *why = refusal(v, flags);
  if (why) {
    chx_release(v->a);
    PyMem_Free(v);
    PyErr_SetString(PyExc_BufferError, why);
    return -1;
  }
  *b = (Py_buffer){.buf = data,
                   .obj = Py_NewRef(self),
                   .len = (Py_ssize_t)chx_nbytes(a),
                   .itemsize = size,
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
  chx_release(v->a);
  PyMem_Free(v);
}

PyBufferProcs py_buffer_procs = {get_buffer, release_buffer};
