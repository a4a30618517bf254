/* SPDX-License-Identifier: MIT
 * dtype.c: dtypes as Python objects: chx.float32 and its like, equal to their names and to NumPy's dtypes. NumPy is not needed.
 */
#include "chxpy.h"
#include <string.h>

typedef struct py_dtype_object {
  PyObject_HEAD
  int code;
} py_dtype_object;

static const struct { char kind; const char *format; } rows[CHX_DTYPE_END] = { /* struct's letters; "?" in the tables is none */
#define FORMAT_BOOL "?"
#define FORMAT_I8 "b"
#define FORMAT_I16 "h"
#define FORMAT_I32 "i"
#define FORMAT_I64 "l"
#define FORMAT_U8 "B"
#define FORMAT_U16 "H"
#define FORMAT_U32 "I"
#define FORMAT_U64 "L"
#define FORMAT_F16 "e"
#define FORMAT_BF16 NULL
#define FORMAT_F32 "f"
#define FORMAT_F64 "d"
#define FORMAT_C64 "Zf"
#define FORMAT_C128 "Zd"
#define CHX_DT(ID, number, name, ctype, code, bits, kind) [number] = {#kind[0], FORMAT_##ID},
#include <chx/dtype.def>
};

static char names[CHX_DTYPE_END][16];
static PyObject *objects[CHX_DTYPE_END];

char py_dtype_kind(int dtype) { return rows[dtype].kind; }
const char *py_dtype_name(int dtype) { return names[dtype]; }
const char *py_dtype_format(int dtype) { return rows[dtype].format; }
PyObject *py_dtype(int dtype) { return Py_NewRef(objects[dtype]); }

static int code_of(PyObject *o) { return ((py_dtype_object *)o)->code; }

/* ---- by name ------------------------------------------------------------------------------------------------------------ */

static int of_kind(char kind, Py_ssize_t size)
{
  for (int d = 1; d < CHX_DTYPE_END; d++)
    if (d != CHX_BF16 && rows[d].kind == kind && chx_dtype_size(d) == size) return d;
  return CHX_DTYPE_NONE;
}

/* NumPy's letters of kinds, and struct's of types, as kinds of dtype.def. */
static char kind_of_letter(char c, bool type)
{
  static const char *const kinds[] = {"bB", "iI", "uU", "fF", "cC"}, *const types[] = {"?B", "bI", "hI", "iI", "lI", "qI", "nI",
    "BU", "HU", "IU", "LU", "QU", "NU", "eF", "fF", "dF", "FC", "DC"};
  const char *const *table = type ? types : kinds;
  for (size_t i = 0; i < (type ? sizeof types : sizeof kinds) / sizeof *kinds; i++)
    if (table[i][0] == c) return table[i][1];
  return 0;
}

int py_dtype_of_format(const char *format, Py_ssize_t itemsize)
{
  if (!format) return itemsize == 1 ? CHX_U8 : CHX_DTYPE_NONE;
  if (*format == '@' || *format == '=' || *format == '<') format++;
  if (format[0] == 'Z' && (format[1] == 'f' || format[1] == 'd') && !format[2]) return of_kind('C', itemsize);
  char kind = *format && !format[1] ? kind_of_letter(*format, true) : 0;
  return kind && kind != 'C' ? of_kind(kind, itemsize) : CHX_DTYPE_NONE;
}

static int by_letter(char c)
{
  static const struct { char c; int dtype; } list[] = {
    {'?', CHX_BOOL}, {'b', CHX_I8}, {'h', CHX_I16}, {'i', CHX_I32}, {'l', CHX_I64}, {'q', CHX_I64}, {'B', CHX_U8}, {'H', CHX_U16},
    {'I', CHX_U32}, {'L', CHX_U64}, {'Q', CHX_U64}, {'e', CHX_F16}, {'f', CHX_F32}, {'d', CHX_F64}, {'F', CHX_C64}, {'D', CHX_C128}};
  for (size_t i = 0; i < sizeof list / sizeof *list; i++)
    if (list[i].c == c) return list[i].dtype;
  return CHX_DTYPE_NONE;
}

/* The long names, and NumPy's short ones: "i8" has 8 bytes here, unlike in the core's messages. */
static int by_name(const char *s)
{
  for (int d = 1; d < CHX_DTYPE_END; d++)
    if (!strcmp(s, names[d])) return d;
  if (!strcmp(s, "bool_")) return CHX_BOOL;
  if (!strcmp(s, "int")) return CHX_I64;
  if (!strcmp(s, "float")) return CHX_F64;
  if (!strcmp(s, "complex")) return CHX_C128;
  if (*s == '<' || *s == '=' || *s == '|') s++;
  if (*s && !s[1]) return by_letter(*s);
  return *s && s[1] >= '1' && s[1] <= '9' ? of_kind(kind_of_letter(*s, false), strtol(s + 1, NULL, 10)) : CHX_DTYPE_NONE;
}

bool py_dtype_from(PyObject *o, int *out)
{
  *out = CHX_DTYPE_NONE;
  if (!o || o == Py_None) return true;
  if (Py_TYPE(o) == &py_dtype_type) return *out = code_of(o), true;
  if (o == (PyObject *)&PyBool_Type) return *out = CHX_BOOL, true;
  if (o == (PyObject *)&PyLong_Type) return *out = CHX_I64, true;
  if (o == (PyObject *)&PyFloat_Type) return *out = CHX_F64, true;
  if (o == (PyObject *)&PyComplex_Type) return *out = CHX_C128, true;
  PyObject *name = PyUnicode_Check(o) ? Py_NewRef(o) : PyObject_GetAttrString(o, PyType_Check(o) ? "__name__" : "name");
  PyErr_Clear();
  const char *s = name && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
  PyObject *native = s && !PyUnicode_Check(o) && !PyType_Check(o) ? PyObject_GetAttrString(o, "isnative") : NULL;
  PyErr_Clear();
  if (s && native != Py_False) *out = by_name(s);
  Py_XDECREF(native);
  Py_XDECREF(name);
  if (*out) return true;
  PyErr_Format(PyExc_TypeError, "dtype is %R, want one such as 'float32' or chx.float32", o);
  return false;
}

/* ---- the type ---------------------------------------------------------------------------------------------------------------- */

static PyObject *dtype_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
  PyObject *o;
  int d;
  (void)type;
  static char *keywords[] = {"dtype", NULL};
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:dtype", keywords, &o) || !py_dtype_from(o, &d)) return NULL;
  return d ? py_dtype(d) : (PyErr_SetString(PyExc_TypeError, "dtype is None, want one such as 'float32'"), NULL);
}

static PyObject *dtype_repr(PyObject *o) { return PyUnicode_FromFormat("chx.%s", names[code_of(o)]); }
static PyObject *dtype_str(PyObject *o) { return PyUnicode_FromString(names[code_of(o)]); }
static PyObject *get_name(PyObject *o, void *unused) { (void)unused; return dtype_str(o); }
static PyObject *get_itemsize(PyObject *o, void *unused) { (void)unused; return PyLong_FromLong(chx_dtype_size(code_of(o))); }

static PyObject *get_kind(PyObject *o, void *unused)
{
  char kind = rows[code_of(o)].kind;
  (void)unused;
  return PyUnicode_FromFormat("%c", kind == 'B' ? 'b' : kind + ('a' - 'A'));
}

/* What NumPy asks of an object that is given as a dtype. */
static PyObject *get_numpy(PyObject *o, void *unused)
{
  (void)unused;
  PyObject *numpy = PyImport_ImportModule("numpy");
  PyObject *d = numpy ? PyObject_CallMethod(numpy, "dtype", "s", names[code_of(o)]) : NULL;
  Py_XDECREF(numpy);
  if (!d && PyErr_ExceptionMatches(PyExc_TypeError))
    PyErr_Format(PyExc_AttributeError, "NumPy has no dtype %s", names[code_of(o)]);
  return d;
}

static PyObject *dtype_compare(PyObject *a, PyObject *b, int how)
{
  int d;
  if (how != Py_EQ && how != Py_NE) Py_RETURN_NOTIMPLEMENTED;
  if (b == Py_None || !py_dtype_from(b, &d)) {
    PyErr_Clear();
    Py_RETURN_NOTIMPLEMENTED;
  }
  return PyBool_FromLong((d == code_of(a)) == (how == Py_EQ));
}

/* Equal to its name, so hashed as its name. */
static Py_hash_t dtype_hash(PyObject *o)
{
  PyObject *name = dtype_str(o);
  Py_hash_t h = name ? PyObject_Hash(name) : -1;
  Py_XDECREF(name);
  return h;
}

static PyObject *dtype_reduce(PyObject *o, PyObject *unused)
{
  (void)unused;
  return Py_BuildValue("(O(s))", &py_dtype_type, names[code_of(o)]);
}

static PyMethodDef methods[] = {{"__reduce__", dtype_reduce, METH_NOARGS, NULL}, {0}};
static PyGetSetDef getset[] = {{"name", get_name, NULL, "\"float32\"", NULL},
                               {"itemsize", get_itemsize, NULL, "bytes of one element", NULL},
                               {"kind", get_kind, NULL, "b bool, i signed, u unsigned, f floating, c complex", NULL},
                               {"dtype", get_numpy, NULL, "NumPy's dtype of this name", NULL},
                               {0}};
PyTypeObject py_dtype_type = {
  PyVarObject_HEAD_INIT(NULL, 0).tp_name = "chx.dtype",
  .tp_basicsize = sizeof(py_dtype_object),
  .tp_flags = Py_TPFLAGS_DEFAULT,
  .tp_doc = "dtype(dtype)\n--\n\nThe type of an array's elements, by its name ('float32'), a Python type or NumPy's dtype.",
  .tp_new = dtype_new,
  .tp_repr = dtype_repr,
  .tp_str = dtype_str,
  .tp_richcompare = dtype_compare,
  .tp_hash = dtype_hash,
  .tp_methods = methods,
  .tp_getset = getset,
};

static PyObject *promote_types(PyObject *module, PyObject *args)
{
  PyObject *a, *b;
  int x, y;
  (void)module;
  if (!PyArg_ParseTuple(args, "OO:promote_types", &a, &b) || !py_dtype_from(a, &x) || !py_dtype_from(b, &y)) return NULL;
  if (x && y) return py_dtype(chx_promote(x, y));
  return PyErr_SetString(PyExc_TypeError, "promote_types: a dtype is None, want one such as 'float32'"), NULL;
}

PyMethodDef py_dtype_functions[] = {
  {"promote_types", promote_types, METH_VARARGS,
   "promote_types(type1, type2, /)\n--\n\nThe dtype that arrays of these two have together, as in NumPy 2."},
  {0}};

bool py_dtypes_init(PyObject *module)
{
  static const char *const words[] = {['B'] = "bool", ['I'] = "int", ['U'] = "uint", ['F'] = "float", ['C'] = "complex"};
  if (PyType_Ready(&py_dtype_type) < 0) return false;
  for (int d = 1; d < CHX_DTYPE_END; d++) {
    const char *word = d == CHX_BF16 ? "bfloat" : words[(int)rows[d].kind];
    if (d == CHX_BOOL) strcpy(names[d], word);
    else snprintf(names[d], sizeof names[d], "%s%d", word, 8 * chx_dtype_size(d));
    py_dtype_object *o = PyObject_New(py_dtype_object, &py_dtype_type);
    if (!o) return false;
    o->code = d;
    objects[d] = (PyObject *)o;
    if (PyModule_AddObject(module, d == CHX_BOOL ? "bool_" : names[d], Py_NewRef(objects[d])) < 0) return false;
  }
  return PyModule_AddObject(module, "dtype", Py_NewRef((PyObject *)&py_dtype_type)) == 0;
}
