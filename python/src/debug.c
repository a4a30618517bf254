/* SPDX-License-Identifier: MIT
 * debug.c: debug mode: errors name the lines of Python that made the arrays concerned, and a NaN is an error if asked for.
 *
 * A place is the line of the innermost frame that is not this package's own: "train.py:12 in step". Its text lasts as long as the
 * process, since arrays and nodes point to it; there are as many as there are lines that call chx.
 */
#include "chxpy.h"
#include <stdlib.h>
#include <string.h>

int py_debugging;
static PyObject *texts; /* dict: a text by itself */

/* Whether a frame is of the package. */
static bool own(PyObject *frame)
{
  PyObject *globals = PyObject_GetAttrString(frame, "f_globals");
  PyObject *name = globals && PyDict_Check(globals) ? PyDict_GetItemString(globals, "__name__") : NULL;
  const char *s = name && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
  bool is = s && !strncmp(s, "chx", 3) && (!s[3] || s[3] == '.');
  Py_XDECREF(globals);
  return is;
}

static PyObject *text_of(PyObject *frame)
{
  PyObject *code = PyObject_GetAttrString(frame, "f_code"), *line = PyObject_GetAttrString(frame, "f_lineno");
  PyObject *file = code ? PyObject_GetAttrString(code, "co_filename") : NULL;
  PyObject *name = code ? PyObject_GetAttrString(code, "co_name") : NULL;
  PyObject *text = file && name && line ? PyUnicode_FromFormat("%U:%S in %U", file, line, name) : NULL;
  Py_XDECREF(code), Py_XDECREF(line), Py_XDECREF(file), Py_XDECREF(name);
  return text;
}

static const char *find(void)
{
  PyObject *frame = (PyObject *)PyEval_GetFrame(); /* borrowed */
  Py_XINCREF(frame);
  while (frame && own(frame)) {
    PyObject *back = PyObject_GetAttrString(frame, "f_back");
    Py_DECREF(frame);
    frame = back;
    if (frame == Py_None) Py_CLEAR(frame);
  }
  PyObject *text = frame ? text_of(frame) : NULL, *kept = text ? PyDict_SetDefault(texts, text, text) : NULL;
  Py_XDECREF(frame);
  Py_XDECREF(text);
  return kept ? PyUnicode_AsUTF8(kept) : NULL;
}

static const char *place(void *unused)
{
  (void)unused;
  if (!Py_IsInitialized() || !PyGILState_Check()) return NULL; /* a thread of C's */
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  const char *s = find();
  PyErr_Restore(type, value, trace); /* and what finding raised is nobody's concern */
  return s;
}

void py_debug_made(chx_array *a)
{
  if (py_debugging & PY_DEBUG_PLACES && !chx_place(a)) chx_set_place(a, place(NULL));
}

int py_debug_set(int what)
{
  int before = py_debugging;
  py_debugging = what;
  chx_set_place_hook(what & PY_DEBUG_PLACES ? place : NULL, NULL);
  chx_set_nan_check(what & PY_DEBUG_NANS);
  return before;
}

bool py_debug_init(void)
{
  const char *said = getenv("CHX_DEBUG");
  if (!texts && !(texts = PyDict_New())) return false;
  if (!said || !*said || !strcmp(said, "0")) return true;
  if (strcmp(said, "1") && strcmp(said, "nan"))
    return PyErr_Format(PyExc_ValueError, "CHX_DEBUG is '%s', want 0, 1 or nan", said), false;
  py_debug_set(PY_DEBUG_PLACES | (*said == 'n' ? PY_DEBUG_NANS : 0));
  return true;
}

static PyObject *debug(PyObject *m, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"on", "nan", NULL};
  int on = 1, nan = 0;
  (void)m;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|pp:debug", keywords, &on, &nan)) return NULL;
  py_debug_set(on ? PY_DEBUG_PLACES | (nan ? PY_DEBUG_NANS : 0) : 0);
  Py_RETURN_NONE;
}

static PyObject *is_debug(PyObject *m, PyObject *unused)
{
  (void)m, (void)unused;
  return PyBool_FromLong(py_debugging != 0);
}

PyMethodDef py_debug_functions[] = {
    {"debug", py_function(debug), METH_VARARGS | METH_KEYWORDS,
     "debug(on=True, nan=False)\n--\n\nDebug mode, in every thread: errors of operators and of backward name the lines that made "
     "the arrays. nan: a NaN in a result or a gradient is a RuntimeError, too. CHX_DEBUG=1 or CHX_DEBUG=nan in the environment say "
     "so from the start."},
    {"is_debug", is_debug, METH_NOARGS, "is_debug()\n--\n\nWhether debug mode is on."},
    {0}};
