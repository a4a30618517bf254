/* SPDX-License-Identifier: MIT
 * chxpy.h: what the files of the extension module chx._core share.
 *
 * The module is a thin layer over chx.h: a Python array is a reference to a chx_array, each thread has an owning scope (so that
 * a result is the wrapper's at once), and the operators of the table are callables made at import. A function that returns
 * PyObject * or a pointer returns NULL, one that returns bool false, with a Python exception set.
 */
#ifndef CHXPY_H
#define CHXPY_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <chx/chx.h>
#include <stdbool.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* ---- what older Pythons spell otherwise --------------------------------------------------------------------------- */

#if PY_VERSION_HEX < 0x03090000
#define Py_TPFLAGS_HAVE_VECTORCALL _Py_TPFLAGS_HAVE_VECTORCALL
#define PyObject_CallNoArgs(f) PyObject_CallObject((f), NULL)
#define PyObject_CallOneArg(f, a) PyObject_CallFunctionObjArgs((f), (a), NULL)
#define PyObject_Vectorcall _PyObject_Vectorcall
#endif
#if PY_VERSION_HEX < 0x030a0000
static inline PyObject *Py_NewRef(PyObject *o) { Py_INCREF(o); return o; }
#endif

/* ---- arrays (array.c) --------------------------------------------------------------------------------------------- */

typedef struct py_array {
  PyObject_HEAD
  chx_array *a;       /* one reference */
  PyObject *weakrefs;
  PyObject *hooks;    /* dict of gradient hooks, or NULL; the collector visits it */
} py_array;

extern PyTypeObject py_array_type;
static inline bool py_is_array(PyObject *o) { return Py_TYPE(o) == &py_array_type; }
static inline chx_array *py_a(PyObject *o) { return ((py_array *)o)->a; }

PyObject *py_wrap(chx_array *a); /* takes the reference; NULL: the scope's error is raised */
/* The array that a function gave for `self`: self where it is the same one. Takes the reference. */
PyObject *py_same_or_wrap(PyObject *self, chx_array *a);
PyObject *py_tuple(int n, const int64_t *v, int64_t unit); /* of n numbers, each times unit */
PyObject *py_shape(const chx_array *a);
PyObject *py_wrap_all(int n, const chx_array *const *a); /* a tuple of ndarrays; None for NULL */

/* ---- scopes and errors (scope.c, error.c) --------------------------------------------------------------------------- */

extern _Thread_local chx_scope *py_scope_self;
chx_scope *py_scope_begin(void);
void py_nn_thread_end(void); /* ends this thread's scope for nn (nn_scope.c) */
/* This thread's scope; NULL with an exception where it cannot begin. */
static inline chx_scope *py_scope(void) { return likely(py_scope_self != NULL) ? py_scope_self : py_scope_begin(); }
/* An owning scope on a device (NULL: the default), whose long work is done without the GIL. May be in error. */
chx_scope *py_scope_new(const char *device);
/* Around what may run any Python code in the middle of a call of the core: that code gets a scope of its own if it wants one. */
chx_scope *py_scope_hide(void);
void py_scope_show(chx_scope *hidden);

PyObject *py_fail(chx_scope *s);                 /* raises the scope's error and clears it; returns NULL */
PyObject *py_fail_as(chx_scope *s, PyObject *kind); /* as this exception, if it is one of arguments (CHX_EARG) */
static inline bool py_check(chx_scope *s) { return likely(!chx_scope_error(s)) || (py_fail(s), false); }
extern PyObject *py_device_error;

/* A device for the time of one call: `device` is None (the thread's), or its name. */
typedef struct py_device_use { char before[32]; bool changed; } py_device_use;
bool py_device_enter(chx_scope *s, PyObject *device, py_device_use *u);
void py_device_leave(chx_scope *s, const py_device_use *u);

/* What the core calls back, in scope s: Python runs in it as in the thread's own, and each result is its wrapper's. */
typedef struct py_call { PyGILState_STATE gil; chx_scope *outer; unsigned before; } py_call;
void py_call_enter(chx_scope *s, py_call *c);
void py_call_leave(chx_scope *s, const py_call *c);

/* ---- debug mode (debug.c): which lines of Python made the arrays ---------------------------------------------------------- */

enum { PY_DEBUG_PLACES = 1, PY_DEBUG_NANS = 2 };
extern int py_debugging;           /* a set of these; for the process */
int py_debug_set(int what);        /* returns what was set before */
void py_debug_made(chx_array *a);  /* notes the line that runs now, unless the array has one */
bool py_debug_init(void);          /* as CHX_DEBUG says */
extern PyMethodDef py_debug_functions[];

/* ---- dtypes (dtype.c) ------------------------------------------------------------------------------------------------ */

extern PyTypeObject py_dtype_type;
PyObject *py_dtype(int dtype);            /* its object; a new reference */
bool py_dtypes_init(PyObject *module);
bool py_dtype_from(PyObject *o, int *out); /* a dtype object, a name, a Python or NumPy type; None: CHX_DTYPE_NONE */
char py_dtype_kind(int dtype);            /* as in dtype.def: 'B', 'I', 'U', 'F', 'C' */
const char *py_dtype_name(int dtype);     /* "float32" */
const char *py_dtype_format(int dtype);   /* of the buffer protocol; NULL where it has none */
int py_dtype_of_format(const char *format, Py_ssize_t itemsize); /* CHX_DTYPE_NONE where there is none */

/* ---- values (value.c, convert.c) --------------------------------------------------------------------------------------- */

PyObject *py_from_element(int dtype, const void *p);       /* one element as a Python number */
bool py_to_element(int dtype, PyObject *value, void *p);   /* not f16 and bf16 */
PyObject *py_item(chx_scope *s, const chx_array *a);       /* of a one-element array */
PyObject *py_tolist(chx_scope *s, const chx_array *a);

/* One operand of a call: an ndarray's array, or one that was made for the call. */
typedef struct py_operand { const chx_array *a; chx_array *own; } py_operand;
/* What py_operand_from makes operands of, beside ndarrays, numbers and NumPy's arrays. */
enum { PY_LISTS = 1 /* lists and tuples */ };
/* 1: done. 0: o is nothing of the kind, without an exception. -1: an exception. */
int py_operand_from_other(chx_scope *s, PyObject *o, int flags, py_operand *x);
static inline int py_operand_from(chx_scope *s, PyObject *o, int flags, py_operand *x)
{
  if (likely(py_is_array(o))) {
    x->a = py_a(o);
    x->own = NULL;
    return 1;
  }
  return py_operand_from_other(s, o, flags, x);
}
static inline void py_operand_end(py_operand *x) { if (unlikely(x->own != NULL)) chx_release(x->own); }

/* An array of anything; dtype 0: its own. copy 1: always, 0: never (an error where it cannot be), -1: if needed. */
chx_array *py_array_from(chx_scope *s, PyObject *o, int dtype, int copy);
bool py_ints_from(PyObject *o, const char *what, chx_ints *out); /* an int or a sequence of ints */

/* ---- calls (call.c, number.c, index.c) -------------------------------------------------------------------------------------- */

static inline chx_status py_apply(chx_scope *s, const chx_op *op, const chx_array *const *in, int n_in, const void *attr,
                                  chx_array **out, int n_out)
{
  return chx_apply(s, op, in, n_in, attr, out, n_out);
}
bool py_ops_init(PyObject *module);       /* a callable for each operator */
bool py_ops_methods(PyObject *module, PyObject *type_dict); /* those that are methods of ndarray, too */
bool py_numbers_init(void);
extern PyNumberMethods py_numbers;
PyObject *py_compare(PyObject *a, PyObject *b, int how);
bool py_index_init(void);
PyObject *py_subscript(PyObject *self, PyObject *key);
int py_ass_subscript(PyObject *self, PyObject *key, PyObject *value);
PyObject *py_element_at(PyObject *self, Py_ssize_t i);

/* NumPy's form of an operator (forms.c), called after an exception that the operator's own parameters raised: that exception stays
 * where there is no such form. */
PyObject *py_call_form(PyObject *op_name, PyObject *const *args, size_t nargsf, PyObject *keywords);
bool py_late_methods(PyObject *type_dict);

/* ---- the rest ------------------------------------------------------------------------------------------------------------------ */

extern PyBufferProcs py_buffer_procs;                     /* buffer.c */
extern PyMethodDef py_array_methods[], py_create_functions[], py_dlpack_functions[], py_autograd_functions[],
    py_device_functions[], py_dtype_functions[], py_file_functions[], py_nn_functions[];
extern PyMethodDef py_array_dlpack_methods[], py_array_autograd_methods[], py_array_shape_methods[], py_array_protocol_methods[];
extern PyGetSetDef py_array_getset[];
int py_set_shape(PyObject *self, PyObject *value, void *unused); /* shape.c */
PyObject *py_grad_get(PyObject *self, void *unused);      /* autograd.c */
int py_grad_set(PyObject *self, PyObject *value, void *unused);
void py_hooks_clear(py_array *self);
bool py_hooks_put(py_array *x, PyObject *key, PyObject *value);
void py_link_forget(PyObject *link, py_array *output);    /* function.c: an output of its function is gone */
bool py_functions_init(PyObject *module);
bool py_graphs_init(PyObject *module);                    /* graph.c */
bool py_graph_from(PyObject *o, const char *what, chx_backprop_id *id); /* a BackpropId, or None: the default graph */
bool py_graph_recorded(chx_scope *s, chx_backprop_id id);
bool py_random_init(PyObject *module);                    /* random.c */
chx_array *py_import_dlpack(chx_scope *s, PyObject *o, int copy); /* dlpack.c; copy as py_array_from's */
bool py_examples_init(PyObject *module);               /* examples.c: adds them to the documentation of what is there */
bool py_modes_init(PyObject *module);                     /* mode.c */
#define py_function(f) ((PyCFunction)(void (*)(void))(f))

#endif
