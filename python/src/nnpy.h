/* SPDX-License-Identifier: MIT
 * nnpy.h: what the files of chx.nn and chx.optim share, nn_*.c.
 *
 * They are a layer over chx/nn.h. Its functions want an ordinary scope, so each thread has one beside its owning scope, entered
 * for the time of a call. A callback that nn makes into Python goes back to the owning scope, with nn's modes.
 *
 * Ownership. Each wrapper of a link owns its chx_link, and holds the wrappers of its children, which are all there. A wrapper that
 * ends takes the children that others still hold out of its tree first. So a tree has no circles of its own, ends with its last
 * reference, and may be taken apart in any order.
 */
#ifndef NNPY_H
#define NNPY_H
#include "chxpy.h"
#include <chx/nn.h>

/* ---- scopes (nn_scope.c) ------------------------------------------------------------------------------------------------ */

typedef struct py_nn {
  chx_scope *s;
  size_t mark;
  int grad, fallback;
  char device[32]; /* as it was, "" where it did not change */
} py_nn;
bool py_nn_enter(py_nn *c); /* device and modes are those of the thread's owning scope */
bool py_nn_leave(py_nn *c); /* drops results; false: the error is raised. Once for each enter that succeeded */
PyObject *py_nn_result(py_nn *c, chx_array *y); /* leaves; y as an ndarray */
/* In the middle of nn, where no link is at work: other threads may run, and signals are seen to. false: an exception. */
bool py_nn_pause(void);

typedef struct py_back {
  chx_scope *own;
  int grad, fallback;
  char device[32];
} py_back;
bool py_back_enter(chx_scope *s, py_back *b); /* false: s is in error, too */
void py_back_leave(py_back *b);
/* What a callback gave, as an array of s; `r` is taken. NULL: an exception is set, and s in error. */
chx_array *py_give(chx_scope *s, PyObject *r, const char *what);
/* Calls f(*args) in the middle of nn and gives its array to s. n arrays, borrowed. */
chx_array *py_call_back(chx_scope *s, PyObject *f, const char *what, const chx_array *const *args, int n);

/* An argument as an array of the scope: an ndarray, or NumPy's. */
const chx_array *py_nn_array(py_nn *c, PyObject *o, const char *what);
PyObject *py_nn_path(PyObject *o); /* bytes, for a file's name */

/* ---- links (nn_link.c, nn_methods.c, nn_layers.c) -------------------------------------------------------------------------- */

typedef struct py_link {
  PyObject_HEAD
  chx_link *l;         /* NULL: __init__ was not called, or failed */
  PyObject *dict, *weakrefs;
  PyObject *members;   /* dict by name: the wrapper of a child; a parameter's ndarray, or None while it has none */
  PyObject *held;      /* list: what the link borrows: initializers, a function. May be NULL */
  bool in_python;      /* forward is a method of this object */
  bool unset;          /* in_python: some parameter may have no shape yet */
  chx_nn_model_spec spec; /* of a model by name */
} py_link;

extern PyTypeObject py_link_type;
static inline bool py_is_link(PyObject *o) { return PyObject_TypeCheck(o, &py_link_type); }
bool py_link_ready(PyObject *o);  /* o is a link that was made; else an exception */
py_link *py_link_of(PyObject *o, const char *what); /* o as a link that is ready; borrowed */
py_link *py_link_blank(PyTypeObject *type);         /* a wrapper without a link as yet */
bool py_link_put_values(py_link *self);             /* members for the link's own values */
/* The class of that name, whose data is one PyObject *; it stays as long as the process. NULL: an exception. */
const chx_link_class *py_link_class(const char *name, chx_array *(*forward)(chx_scope *s, chx_link *l, const chx_array *x),
                                    chx_status (*init)(chx_scope *s, chx_link *l, const chx_array *x));
bool py_link_adopt(py_link *self, chx_link *l);     /* makes l self's, which has none, with wrappers for all below */
PyObject *py_link_wrap(chx_link *l);                /* a new wrapper of a root that C made; l is taken */
py_link *py_link_wrapper(py_link *root, const chx_link *l); /* the wrapper of l, below root; borrowed */
PyObject *py_link_value(py_link *self, PyObject *name); /* the ndarray of an own value, or None */
bool py_link_add(py_link *self, PyObject *name, py_link *child); /* name NULL: its number */
bool py_link_hold(py_link *self, PyObject *o);
int py_link_set_value(py_link *self, chx_param *p, PyObject *value);
PyTypeObject *py_link_type_of(const chx_link *l);   /* for what C made */
bool py_link_is_made_by_c(const PyTypeObject *type); /* a type of nn_layers.c */
extern PyMethodDef py_link_methods[];
extern PyMappingMethods py_link_mapping;
extern PyNumberMethods py_link_numbers;
PyObject *py_link_iterate(PyObject *o);
PyObject *py_link_deepcopy(PyObject *o, PyObject *memo); /* nn_copy.c */

/* ---- parameters and initializers (nn_param.c, nn_init.c) --------------------------------------------------------------------- */

typedef struct py_param { /* of a link, or as yet of none: what a link is to declare */
  PyObject_HEAD
  py_link *owner;
  chx_param *p;
  int dtype, ndim;
  int64_t shape[CHX_MAX_RANK];
  PyObject *init;
} py_param;
extern PyTypeObject py_param_type;
PyObject *py_param_wrap(py_link *root, chx_param *p); /* p is below root */
bool py_param_declare(py_link *self, PyObject *name, py_param *parameter);

bool py_init_from(PyObject *o, py_link *holder, chx_nn_init *out); /* out->fn NULL: o is None, the default */

/* ---- the rest ------------------------------------------------------------------------------------------------------------------- */

typedef struct py_optimizer {
  PyObject_HEAD
  chx_optimizer *o;
  PyObject *target, *hooks; /* hooks: dict of the Python functions by name */
} py_optimizer;
extern PyTypeObject py_optimizer_type;
static inline bool py_is_optimizer(PyObject *o) { return PyObject_TypeCheck(o, &py_optimizer_type); }

typedef struct py_dataset {
  PyObject_HEAD
  chx_nn_dataset *d;
} py_dataset;
extern PyTypeObject py_dataset_type, py_iterator_type, py_trainer_type;

chx_array *py_loss_back(void *function, chx_scope *s, const chx_array *y, const chx_array *t); /* a chx_nn_loss */

bool py_links_init(PyObject *module);
bool py_layers_init(PyObject *module);
extern PyMethodDef py_nn_init_functions[], py_nn_archive_functions[], py_nn_data_functions[], py_nn_model_functions[];
bool py_optimizers_init(PyObject *module);

#endif
