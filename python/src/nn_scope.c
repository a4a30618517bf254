/* SPDX-License-Identifier: MIT
 * nn_scope.c: each thread's ordinary scope for nn, and the way back from nn into Python.
 */
#include "nnpy.h"
#include <string.h>

static _Thread_local chx_scope *self;

void py_nn_thread_end(void)
{
  chx_scope_end(self);
  self = NULL;
}

static int get_grad(chx_scope *s)
{
  int mode = chx_scope_set_grad(s, CHX_GRAD_OFF);
  chx_scope_set_grad(s, mode);
  return mode;
}

static int get_fallback(chx_scope *s)
{
  int policy = chx_scope_set_fallback(s, CHX_FALLBACK_ALLOW);
  chx_scope_set_fallback(s, policy);
  return policy;
}

/* `to` takes on the modes of `from`; those before go to the rest. */
static void take_on(chx_scope *to, chx_scope *from, int *grad, int *fallback, char device[32])
{
  *grad = chx_scope_set_grad(to, get_grad(from));
  *fallback = chx_scope_set_fallback(to, get_fallback(from));
  device[0] = 0;
  if (strcmp(chx_scope_device(to), chx_scope_device(from)) == 0) return;
  snprintf(device, 32, "%s", chx_scope_device(to));
  chx_scope_set_device(to, chx_scope_device(from));
}

static void restore(chx_scope *s, int grad, int fallback, const char *device)
{
  chx_scope_set_grad(s, grad);
  chx_scope_set_fallback(s, fallback);
  if (device[0]) chx_scope_set_device(s, device);
}

bool py_nn_enter(py_nn *c)
{
  chx_scope *own = py_scope();
  if (!own) return false;
  if (!self) self = chx_scope_begin(chx_scope_device(own));
  c->s = self;
  c->mark = chx_scope_mark(c->s);
  take_on(c->s, own, &c->grad, &c->fallback, c->device);
  if (likely(!chx_scope_error(c->s))) return true;
  py_nn_leave(c);
  return false;
}

bool py_nn_leave(py_nn *c)
{
  bool done = !PyErr_Occurred() && py_check(c->s);
  if (!done) chx_scope_clear(c->s);
  chx_scope_rewind(c->s, c->mark, NULL);
  restore(c->s, c->grad, c->fallback, c->device);
  return done;
}

PyObject *py_nn_result(py_nn *c, chx_array *y)
{
  chx_array *kept = y && !chx_scope_error(c->s) ? chx_keep(y) : NULL;
  if (py_nn_leave(c) && kept) return py_wrap(kept);
  chx_release(kept);
  if (!PyErr_Occurred()) PyErr_SetString(PyExc_RuntimeError, "there is no result and no error");
  return NULL;
}

bool py_nn_pause(void)
{
  PyEval_RestoreThread(PyEval_SaveThread());
  return PyErr_CheckSignals() == 0;
}

/* ---- back into Python --------------------------------------------------------------------------------------------------- */

bool py_back_enter(chx_scope *s, py_back *b)
{
  b->own = py_scope();
  if (!b->own) {
    chx_scope_fail(s, CHX_EFAILED, "this thread's scope cannot begin");
    return false;
  }
  take_on(b->own, s, &b->grad, &b->fallback, b->device);
  return true;
}

void py_back_leave(py_back *b) { restore(b->own, b->grad, b->fallback, b->device); }

chx_array *py_give(chx_scope *s, PyObject *r, const char *what)
{
  if (r && !py_is_array(r))
    PyErr_Format(PyExc_TypeError, "%s gave an object of type %s, want an array", what, Py_TYPE(r)->tp_name);
  if (!r || !py_is_array(r)) {
    Py_XDECREF(r);
    chx_scope_fail(s, CHX_EFAILED, "%s raised an exception", what);
    return NULL;
  }
  chx_array *a = chx_scope_give(s, chx_keep(py_a(r)));
  Py_DECREF(r);
  return a;
}

chx_array *py_call_back(chx_scope *s, PyObject *f, const char *what, const chx_array *const *args, int n)
{
  py_back b;
  if (!py_back_enter(s, &b)) return NULL;
  PyObject *t = py_wrap_all(n, args), *r = NULL;
  if (t) r = PyObject_CallObject(f, t);
  Py_XDECREF(t);
  py_back_leave(&b);
  return py_give(s, r, what);
}

chx_array *py_loss_back(void *function, chx_scope *s, const chx_array *y, const chx_array *t)
{
  return py_call_back(s, function, "the loss function", (const chx_array *[]){y, t}, 2);
}

/* ---- arguments --------------------------------------------------------------------------------------------------------------- */

const chx_array *py_nn_array(py_nn *c, PyObject *o, const char *what)
{
  py_operand x;
  chx_scope *own = py_scope();
  int r = own ? py_operand_from(own, o, PY_LISTS, &x) : -1;
  if (r == 0) PyErr_Format(PyExc_TypeError, "%s is of type %s, want an array", what, Py_TYPE(o)->tp_name);
  if (r <= 0) return NULL;
  return x.own ? chx_scope_give(c->s, x.own) : x.a;
}

PyObject *py_nn_path(PyObject *o)
{
  PyObject *bytes = NULL;
  return PyUnicode_FSConverter(o, &bytes) ? bytes : NULL;
}
