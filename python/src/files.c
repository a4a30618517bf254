/* SPDX-License-Identifier: MIT
 * files.c: .npy and .npz: save, savez, load, by libchx's own reader and writer.
 */
#include "chxpy.h"
#include <errno.h>
#include <string.h>

/* A file's name as bytes, with `ending` appended where it has none of that kind, as NumPy does. */
static PyObject *path_of(PyObject *o, const char *ending)
{
  PyObject *bytes = NULL;
  if (!PyUnicode_FSConverter(o, &bytes) || !ending) return bytes;
  size_t n = strlen(ending), size = (size_t)PyBytes_GET_SIZE(bytes);
  if (size < n || memcmp(PyBytes_AS_STRING(bytes) + size - n, ending, n))
    PyBytes_ConcatAndDel(&bytes, PyBytes_FromString(ending));
  return bytes;
}

/* ---- .npz as a mapping -------------------------------------------------------------------------------------------------- */

typedef struct py_npz {
  PyObject_HEAD chx_npz *z; /* NULL: closed */
  PyObject *path;
} py_npz;

static bool is_open(py_npz *self)
{
  if (self->z) return true;
  PyErr_Format(PyExc_ValueError, "%S is closed", self->path);
  return false;
}

static PyObject *names(PyObject *o, PyObject *u)
{
  py_npz *self = (py_npz *)o;
  (void)u;
  int n = is_open(self) ? chx_npz_count(self->z) : -1;
  PyObject *list = n < 0 ? NULL : PyList_New(n);
  for (int i = 0; list && i < n; i++) {
    PyObject *name = PyUnicode_FromString(chx_npz_name(self->z, i));
    if (name) PyList_SET_ITEM(list, i, name);
    else Py_CLEAR(list);
  }
  return list;
}
static PyObject *files(PyObject *o, void *u)
{
  (void)u;
  return names(o, NULL);
}

static int contains(PyObject *o, PyObject *key)
{
  py_npz *self = (py_npz *)o;
  const char *name = PyUnicode_Check(key) ? PyUnicode_AsUTF8(key) : NULL;
  if (!is_open(self)) return -1;
  for (int i = 0; name && i < chx_npz_count(self->z); i++)
    if (strcmp(chx_npz_name(self->z, i), name) == 0) return 1;
  return PyErr_Occurred() ? -1 : 0;
}

static PyObject *subscript(PyObject *o, PyObject *key)
{
  chx_scope *s = py_scope();
  int found = s ? contains(o, key) : -1;
  if (found < 0) return NULL;
  if (!found) return PyErr_Format(PyExc_KeyError, "%R is not in %S", key, ((py_npz *)o)->path), NULL;
  return py_wrap(chx_npz_get(s, ((py_npz *)o)->z, PyUnicode_AsUTF8(key)));
}

static PyObject *pairs(PyObject *o, bool with_names)
{
  PyObject *list = names(o, NULL);
  for (Py_ssize_t i = 0; list && i < PyList_GET_SIZE(list); i++) {
    PyObject *name = PyList_GET_ITEM(list, i), *a = subscript(o, name),
             *item = a && with_names ? Py_BuildValue("(ON)", name, a) : a;
    if (item) PyList_SetItem(list, i, item);
    else Py_CLEAR(list);
  }
  return list;
}
static PyObject *items(PyObject *o, PyObject *u)
{
  (void)u;
  return pairs(o, true);
}
static PyObject *values(PyObject *o, PyObject *u)
{
  (void)u;
  return pairs(o, false);
}

static Py_ssize_t length(PyObject *o) { return is_open((py_npz *)o) ? chx_npz_count(((py_npz *)o)->z) : -1; }

static PyObject *iterate(PyObject *o)
{
  PyObject *list = names(o, NULL), *r = list ? PyObject_GetIter(list) : NULL;
  Py_XDECREF(list);
  return r;
}

static PyObject *close_file(PyObject *o, PyObject *u)
{
  (void)u;
  chx_npz_close(((py_npz *)o)->z);
  ((py_npz *)o)->z = NULL;
  Py_RETURN_NONE;
}
static PyObject *enter(PyObject *o, PyObject *u)
{
  (void)u;
  return is_open((py_npz *)o) ? Py_NewRef(o) : NULL;
}

static void dealloc(PyObject *o)
{
  chx_npz_close(((py_npz *)o)->z);
  Py_XDECREF(((py_npz *)o)->path);
  Py_TYPE(o)->tp_free(o);
}

static PyObject *repr(PyObject *o)
{
  return PyUnicode_FromFormat("<chx.NpzFile %R%s>", ((py_npz *)o)->path, ((py_npz *)o)->z ? "" : ", closed");
}

static PyMethodDef methods[] = {{"keys", names, METH_NOARGS, "keys($self)\n--\n\nThe arrays' names."},
                                {"items", items, METH_NOARGS, "items($self)\n--\n\nAll (name, array), read now."},
                                {"values", values, METH_NOARGS, "values($self)\n--\n\nAll arrays, read now."},
                                {"close", close_file, METH_NOARGS, "close($self)\n--\n\nCloses the file; arrays stay."},
                                {"__enter__", enter, METH_NOARGS, NULL},
                                {"__exit__", close_file, METH_VARARGS, NULL},
                                {0}};
static PyGetSetDef getset[] = {{"files", files, NULL, "the arrays' names", NULL}, {0}};
static PyMappingMethods mapping = {.mp_length = length, .mp_subscript = subscript};
static PySequenceMethods sequence = {.sq_contains = contains};

static PyTypeObject npz_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "chx.NpzFile",
    .tp_basicsize = sizeof(py_npz),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "The arrays of an .npz file by name, each read when it is asked for.",
    .tp_dealloc = dealloc,
    .tp_repr = repr,
    .tp_iter = iterate,
    .tp_as_mapping = &mapping,
    .tp_as_sequence = &sequence,
    .tp_methods = methods,
    .tp_getset = getset,
};

/* ---- functions -------------------------------------------------------------------------------------------------------------------- */

static bool is_zip(const char *path, bool *zip)
{
  char magic[4] = {0};
  FILE *f = fopen(path, "rb");
  if (!f || (fread(magic, 1, sizeof magic, f) < sizeof magic && ferror(f))) {
    PyErr_SetFromErrnoWithFilename(PyExc_OSError, path);
    if (f) fclose(f);
    return false;
  }
  fclose(f);
  *zip = memcmp(magic, "PK", 2) == 0;
  return true;
}

static PyObject *load(PyObject *m, PyObject *path)
{
  chx_scope *s = py_scope();
  PyObject *file = s ? path_of(path, NULL) : NULL, *r = NULL;
  bool zip;
  (void)m;
  if (!file || PyType_Ready(&npz_type) < 0 || !is_zip(PyBytes_AS_STRING(file), &zip)) {
    Py_XDECREF(file);
    return NULL;
  }
  if (!zip) {
    r = py_wrap(chx_load_npy(s, PyBytes_AS_STRING(file)));
  } else {
    chx_npz *z = chx_npz_open(s, PyBytes_AS_STRING(file));
    py_npz *self = py_check(s) && z ? PyObject_New(py_npz, &npz_type) : NULL;
    if (self) {
      self->z = z;
      self->path = PyUnicode_DecodeFSDefault(PyBytes_AS_STRING(file));
    } else {
      chx_npz_close(z);
    }
    r = (PyObject *)self;
  }
  Py_DECREF(file);
  return r;
}

static PyObject *save(PyObject *m, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {"file", "arr", NULL};
  PyObject *path, *o;
  chx_scope *s = py_scope();
  (void)m;
  if (!s || !PyArg_ParseTupleAndKeywords(args, kwargs, "OO:save", keywords, &path, &o)) return NULL;
  PyObject *file = path_of(path, ".npy");
  chx_array *a = file ? py_array_from(s, o, 0, -1) : NULL;
  if (a) chx_save_npy(s, PyBytes_AS_STRING(file), a);
  Py_XDECREF(file);
  if (!a) return NULL;
  chx_release(a);
  return py_check(s) ? Py_NewRef(Py_None) : NULL;
}

/* The arrays of a savez: of positions as arr_0, arr_1, ..., then by keyword. */
typedef struct archive {
  Py_ssize_t n;
  PyObject **name;
  const char **text;
  chx_array **a;
} archive;

static bool add(chx_scope *s, archive *z, PyObject *name, PyObject *value)
{
  for (Py_ssize_t i = 0; name && i < z->n; i++)
    if (PyUnicode_Compare(z->name[i], name) == 0) {
      PyErr_Format(PyExc_ValueError, "savez: '%U' is the name of an array without one, too", name);
      Py_CLEAR(name);
    }
  chx_array *a = name ? py_array_from(s, value, 0, -1) : NULL;
  const char *text = a ? PyUnicode_AsUTF8(name) : NULL;
  if (!text) {
    Py_XDECREF(name);
    chx_release(a);
    return false;
  }
  z->name[z->n] = name;
  z->text[z->n] = text;
  z->a[z->n++] = a;
  return true;
}

static PyObject *write_npz(PyObject *args, PyObject *kwargs, int compress)
{
  chx_scope *s = py_scope();
  Py_ssize_t n = PyTuple_GET_SIZE(args) - 1, all = n + (kwargs ? PyDict_GET_SIZE(kwargs) : 0), at = 0;
  if (!s || n < 0) return s ? PyErr_SetString(PyExc_TypeError, "savez: there is no file") : (void)0, NULL;
  PyObject *file = path_of(PyTuple_GET_ITEM(args, 0), ".npz"), *key, *value;
  if (!file) return NULL;
  archive z = {0, PyMem_Calloc((size_t)all + 1, sizeof *z.name), PyMem_Calloc((size_t)all + 1, sizeof *z.text),
               PyMem_Calloc((size_t)all + 1, sizeof *z.a)};
  bool done = z.name && z.text && z.a;
  if (!done) PyErr_NoMemory();
  for (Py_ssize_t i = 0; done && i < n; i++)
    done = add(s, &z, PyUnicode_FromFormat("arr_%zd", i), PyTuple_GET_ITEM(args, i + 1));
  while (done && kwargs && PyDict_Next(kwargs, &at, &key, &value)) done = add(s, &z, Py_NewRef(key), value);
  if (done) {
    chx_save_npz(s, PyBytes_AS_STRING(file), (int)z.n, z.text, (const chx_array *const *)z.a, compress);
    done = py_check(s);
  }
  for (Py_ssize_t i = 0; i < z.n; i++) {
    Py_DECREF(z.name[i]);
    chx_release(z.a[i]);
  }
  PyMem_Free(z.name);
  PyMem_Free(z.text);
  PyMem_Free(z.a);
  Py_DECREF(file);
  return done ? Py_NewRef(Py_None) : NULL;
}

static PyObject *savez(PyObject *m, PyObject *args, PyObject *kwargs)
{
  (void)m;
  return write_npz(args, kwargs, 0);
}
static PyObject *savez_compressed(PyObject *m, PyObject *args, PyObject *kwargs)
{
  (void)m;
  return write_npz(args, kwargs, 1);
}

PyMethodDef py_file_functions[] = {
    {"load", load, METH_O,
     "load(file, /)\n--\n\nThe array of an .npy file, on this thread's device; of an .npz file a mapping of names to "
     "arrays, which reads "
     "each when it is asked for, to be closed or used in a `with`."},
    {"save", py_function(save), METH_VARARGS | METH_KEYWORDS,
     "save(file, arr)\n--\n\nWrites an array as .npy, which is appended to the name where it is missing."},
    {"savez", py_function(savez), METH_VARARGS | METH_KEYWORDS,
     "savez(file, *args, **kwargs)\n--\n\nWrites arrays as .npz: arr_0, arr_1, ... and by keyword."},
    {"savez_compressed", py_function(savez_compressed), METH_VARARGS | METH_KEYWORDS,
     "savez_compressed(file, *args, **kwargs)\n--\n\nAs savez, compressed."},
    {0}};
