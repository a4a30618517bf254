/* SPDX-License-Identifier: MIT
 * scope.c: each thread's owning scope, the GIL in long work, a device for the time of one call, and the scope that a callback runs in.
 */
#include "chxpy.h"
#include <pthread.h>
#include <string.h>

_Thread_local chx_scope *py_scope_self;
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void thread_end(void *s)
{
  py_nn_thread_end();
  py_scope_self = NULL;
  chx_scope_end(s);
}

/* Made before libchx makes its own, so that a thread's scope ends before what it stands on. */
static void make_key(void) { pthread_key_create(&key, thread_end); }

/* ---- long work is done without the GIL --------------------------------------------------------------------------------------- */

chx_scope *py_scope_hide(void)
{
  chx_scope *s = py_scope_self;
  py_scope_self = NULL;
  return s;
}

void py_scope_show(chx_scope *hidden)
{
  if (!hidden) return;
  chx_scope_end(py_scope_self);
  py_scope_self = hidden;
  pthread_setspecific(key, hidden);
}

/* Signals are seen to as soon as the GIL is back: an exception of their handlers, as KeyboardInterrupt, ends the call. */
static int long_work(void *unused, int begins)
{
  static _Thread_local PyThreadState *saved;
  (void)unused;
  if (begins) {
    saved = PyEval_SaveThread();
    return 0;
  }
  PyEval_RestoreThread(saved);
  chx_scope *s = py_scope_hide();
  int raised = PyErr_CheckSignals();
  py_scope_show(s);
  return raised;
}

chx_scope *py_scope_new(const char *device)
{
  chx_scope *s = chx_scope_begin_with(device, CHX_SCOPE_OWNED);
  chx_scope_set_long_work(s, long_work, NULL);
  return s;
}

chx_scope *py_scope_begin(void)
{
  pthread_once(&once, make_key);
  chx_scope *s = py_scope_new(NULL);
  if (chx_scope_error(s)) {
    py_fail(s);
    chx_scope_end(s);
    return NULL;
  }
  py_scope_self = s;
  pthread_setspecific(key, s);
  return s;
}

bool py_device_enter(chx_scope *s, PyObject *device, py_device_use *u)
{
  u->changed = false;
  if (!device || device == Py_None) return true;
  const char *name = PyUnicode_Check(device) ? PyUnicode_AsUTF8(device) : NULL;
  if (!name) {
    if (!PyErr_Occurred())
      PyErr_Format(PyExc_TypeError, "device is of type %s, want a name such as 'native:0'", Py_TYPE(device)->tp_name);
    return false;
  }
  snprintf(u->before, sizeof u->before, "%s", chx_scope_device(s));
  chx_scope_set_device(s, name);
  u->changed = true;
  return py_check(s);
}

void py_device_leave(chx_scope *s, const py_device_use *u)
{
  if (u->changed) chx_scope_set_device(s, u->before);
}

void py_call_enter(chx_scope *s, py_call *c)
{
  c->gil = PyGILState_Ensure();
  c->outer = py_scope_self;
  py_scope_self = s;
  c->before = chx_scope_enter(s);
}

void py_call_leave(chx_scope *s, const py_call *c)
{
  chx_scope_leave(s, c->before);
  py_scope_self = c->outer;
  PyGILState_Release(c->gil);
}
