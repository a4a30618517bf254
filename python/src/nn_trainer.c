/* SPDX-License-Identifier: MIT
 * nn_trainer.c: chx.nn.Trainer: nn's training loop.
 *
 * After each step it looks for signals and lets other threads run. An exception there, a callback's say, stops the run as
 * chx_trainer's callback may: the checkpoint is written, then the exception is raised. Ctrl-C is taken down where it comes, so that
 * the step under way is finished, and raised there, too; a second one is raised at once.
 */
#include "nnpy.h"
#include <math.h>
#include <signal.h>
#include <string.h>

typedef struct py_trainer {
  PyObject_HEAD chx_trainer *r;
  PyObject *model, *optimizer, *train, *test, *callback, *loss;
  PyObject *error[3]; /* what stopped the run under way */
  bool interrupted;   /* by Ctrl-C */
} py_trainer;

#define OBJECTS(F, self) \
  F((self)->model) F((self)->optimizer) F((self)->train) F((self)->test) F((self)->callback) F((self)->loss)

/* ---- reports -------------------------------------------------------------------------------------------------------------- */

static PyObject *number(double v) { return isnan(v) ? Py_NewRef(Py_None) : PyFloat_FromDouble(v); }

static PyObject *report(const chx_trainer_report *e)
{
  return Py_BuildValue("{sLsLsLsLsNsNsNsNsdsdsd}", "epoch", (long long)e->epoch, "step", (long long)e->step, "items",
                       (long long)e->items, "items_total", (long long)e->items_total, "loss", number(e->loss),
                       "accuracy", number(e->accuracy), "test_loss", number(e->test_loss), "test_accuracy",
                       number(e->test_accuracy), "seconds", e->seconds, "items_per_second", e->items_per_second, "lr",
                       e->lr);
}

static bool ask(py_trainer *self, chx_scope *s, int event, const chx_trainer_report *e, bool *stop)
{
  py_back b;
  if (!py_back_enter(s, &b)) return false;
  PyObject *r = PyObject_CallFunction(self->callback, "sN", event == CHX_TRAINER_STEP ? "step" : "epoch", report(e));
  py_back_leave(&b);
  *stop = r && PyObject_IsTrue(r) == 1;
  Py_XDECREF(r);
  return r && !PyErr_Occurred();
}

static int after(void *ctx, chx_scope *s, int event, const chx_trainer_report *e)
{
  py_trainer *self = ctx;
  bool stop = false;
  bool done = py_nn_pause() && (!self->callback || ask(self, s, event, e, &stop));
  if (done && self->interrupted) PyErr_SetNone(PyExc_KeyboardInterrupt);
  if (done && !self->interrupted) return stop;
  if (!self->error[0]) PyErr_Fetch(&self->error[0], &self->error[1], &self->error[2]);
  else PyErr_Clear();
  return 1;
}

/* ---- making and ending -------------------------------------------------------------------------------------------------------- */

static int traverse(PyObject *o, visitproc visit, void *arg)
{
#define VISIT(x) Py_VISIT(x);
  OBJECTS(VISIT, (py_trainer *)o)
  return 0;
}

static int clear(PyObject *o)
{
  py_trainer *self = (py_trainer *)o;
  chx_trainer_free(self->r);
  self->r = NULL;
#define CLEAR(x) Py_CLEAR(x);
  OBJECTS(CLEAR, self)
  return 0;
}

static void dealloc(PyObject *o)
{
  PyObject_GC_UnTrack(o);
  clear(o);
  Py_TYPE(o)->tp_free(o);
}

/* False, None: none; True: a bar on a terminal, else lines; "bar", "lines". On standard error. */
static bool read_progress(PyObject *o, chx_trainer_options *p)
{
  static const char *const styles[] = {"auto", "bar", "lines"};
  if (!o || o == Py_None || o == Py_False) return true;
  p->progress = stderr;
  if (o == Py_True) return true;
  for (int i = 0; i < 3 && PyUnicode_Check(o); i++)
    if (PyUnicode_CompareWithASCIIString(o, styles[i]) == 0) return p->progress_style = i, true;
  PyErr_Format(PyExc_ValueError, "progress is %R, want True, False, 'bar' or 'lines'", o);
  return false;
}

static bool is_function(PyObject *o, const char *what, PyObject **out)
{
  *out = NULL;
  if (!o || o == Py_None) return true;
  if (PyCallable_Check(o)) *out = Py_NewRef(o);
  else PyErr_Format(PyExc_TypeError, "%s is of type %s, want a function", what, Py_TYPE(o)->tp_name);
  return *out != NULL;
}

enum { CHECKPOINT, LOG, CURVE, N_FILES };

static bool read_files(PyObject *const *given, PyObject **bytes, chx_trainer_options *p)
{
  const char **to[N_FILES] = {&p->checkpoint, &p->log, &p->curve};
  for (int i = 0; i < N_FILES; i++) {
    if (!given[i] || given[i] == Py_None) continue;
    if (!(bytes[i] = py_nn_path(given[i]))) return false;
    *to[i] = PyBytes_AS_STRING(bytes[i]);
  }
  return true;
}

static bool make(py_trainer *self, const chx_trainer_options *p)
{
  py_nn c;
  if (!py_nn_enter(&c)) return false;
  self->r = chx_trainer_new(c.s, ((py_link *)self->model)->l, ((py_optimizer *)self->optimizer)->o,
                            ((py_dataset *)self->train)->d, self->test ? ((py_dataset *)self->test)->d : NULL, p);
  return py_nn_leave(&c);
}

static PyObject *create(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
  static char *keywords[] = {
      "model",      "optimizer", "train", "test",     "epochs",   "batch", "seed", "evaluate_every", "checkpoint_every",
      "checkpoint", "log",       "curve", "progress", "callback", "loss",  NULL};
  chx_trainer_options p = chx_trainer_defaults();
  long long epochs = p.epochs, batch = p.batch, evaluate = p.evaluate_every, keep = p.checkpoint_every;
  unsigned long long seed = p.seed;
  PyObject *model, *optimizer, *train, *test = NULL, *files[N_FILES] = {0}, *bytes[N_FILES] = {0}, *progress = NULL,
                                       *callback = NULL, *loss = NULL;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO!O!|O$LLKLLOOOOOO:Trainer", keywords, &model, &py_optimizer_type,
                                   &optimizer, &py_dataset_type, &train, &test, &epochs, &batch, &seed, &evaluate,
                                   &keep, &files[CHECKPOINT], &files[LOG], &files[CURVE], &progress, &callback,
                                   &loss) ||
      !py_link_of(model, "the model") || !read_progress(progress, &p))
    return NULL;
  if (test == Py_None) test = NULL;
  if (test && Py_TYPE(test) != &py_dataset_type)
    return PyErr_Format(PyExc_TypeError, "test is of type %s, want a Dataset or None", Py_TYPE(test)->tp_name), NULL;
  py_trainer *self = (py_trainer *)type->tp_alloc(type, 0);
  if (!self) return NULL;
  self->model = Py_NewRef(model);
  self->optimizer = Py_NewRef(optimizer);
  self->train = Py_NewRef(train);
  self->test = test ? Py_NewRef(test) : NULL;
  p.epochs = epochs;
  p.batch = batch;
  p.seed = seed;
  p.evaluate_every = evaluate;
  p.checkpoint_every = keep;
  p.callback = after;
  p.ctx = self;
  bool done = is_function(callback, "callback", &self->callback) && is_function(loss, "loss", &self->loss) &&
              read_files(files, bytes, &p);
  p.loss = self->loss ? py_loss_back : NULL;
  p.loss_ctx = self->loss;
  p.spec = ((py_link *)model)->spec.kind[0] ? &((py_link *)model)->spec : NULL;
  done = done && make(self, &p);
  for (int i = 0; i < N_FILES; i++) Py_XDECREF(bytes[i]);
  if (!done) Py_CLEAR(self);
  return (PyObject *)self;
}

/* ---- methods ---------------------------------------------------------------------------------------------------------------------- */

static PyObject *history(PyObject *o, void *u)
{
  int64_t n = 0;
  const chx_trainer_report *e = chx_trainer_history(((py_trainer *)o)->r, &n);
  PyObject *list = PyList_New((Py_ssize_t)n);
  (void)u;
  for (int64_t i = 0; list && i < n; i++) {
    PyObject *d = report(&e[i]);
    if (d) PyList_SET_ITEM(list, (Py_ssize_t)i, d);
    else Py_CLEAR(list);
  }
  return list;
}

/* The handler of SIGINT while a run is under way. */
static PyObject *interrupt(PyObject *o, PyObject *args)
{
  py_trainer *self = (py_trainer *)o;
  (void)args;
  if (self->interrupted) return PyErr_SetNone(PyExc_KeyboardInterrupt), NULL;
  self->interrupted = true;
  Py_RETURN_NONE;
}

/* Puts `handler` in the place of `before`; false: another one is there, or this is not the main thread, which alone may. */
static bool replace_handler(PyObject *signal, PyObject *before, PyObject *handler)
{
  PyObject *is = PyObject_CallMethod(signal, "getsignal", "i", SIGINT), *r = NULL;
  bool same = is && PyObject_RichCompareBool(is, before, Py_EQ) == 1;
  if (same) r = PyObject_CallMethod(signal, "signal", "iO", SIGINT, handler);
  Py_XDECREF(is);
  Py_XDECREF(r);
  if (!r) PyErr_Clear();
  return r != NULL;
}

static bool run_steps(py_trainer *self)
{
  py_nn c;
  if (!py_nn_enter(&c)) return false;
  chx_trainer_run(c.s, self->r);
  return py_nn_leave(&c);
}

static bool run_with_handler(py_trainer *self)
{
  PyObject *signal = PyImport_ImportModule("signal"), *error[3];
  PyObject *raises = signal ? PyObject_GetAttrString(signal, "default_int_handler") : NULL;
  PyObject *mine = raises ? PyObject_GetAttrString((PyObject *)self, "_interrupt") : NULL;
  bool done = false;
  if (mine) {
    self->interrupted = false;
    const bool replaced = replace_handler(signal, raises, mine);
    done = run_steps(self);
    PyErr_Fetch(&error[0], &error[1], &error[2]);
    if (replaced) replace_handler(signal, mine, raises);
    PyErr_Restore(error[0], error[1], error[2]);
  }
  Py_XDECREF(signal);
  Py_XDECREF(raises);
  Py_XDECREF(mine);
  return done;
}

static PyObject *run(PyObject *o, PyObject *u)
{
  py_trainer *self = (py_trainer *)o;
  (void)u;
  bool done = run_with_handler(self);
  if (done && !self->error[0] && self->interrupted)
    return PyErr_SetNone(PyExc_KeyboardInterrupt), NULL; /* after the last step */
  if (!self->error[0]) return done ? history(o, NULL) : NULL;
  if (done) PyErr_Restore(self->error[0], self->error[1], self->error[2]);
  for (int i = 0; i < 3 && !done; i++) Py_XDECREF(self->error[i]); /* the checkpoint failed, which matters more */
  memset(self->error, 0, sizeof self->error);
  return NULL;
}

static PyObject *with_file(PyObject *o, PyObject *path,
                           chx_status (*fn)(chx_scope *s, chx_trainer *r, const char *path))
{
  py_nn c;
  PyObject *file = py_nn_path(path);
  if (!file || !py_nn_enter(&c)) return Py_XDECREF(file), NULL;
  fn(c.s, ((py_trainer *)o)->r, PyBytes_AS_STRING(file));
  Py_DECREF(file);
  return py_nn_leave(&c) ? Py_NewRef(o) : NULL;
}

static chx_status log_to(chx_scope *s, chx_trainer *r, const char *path) { return chx_trainer_write_log(s, r, path); }
static chx_status curve_to(chx_scope *s, chx_trainer *r, const char *path)
{
  return chx_trainer_write_curve(s, r, path);
}

static PyObject *save(PyObject *o, PyObject *path) { return with_file(o, path, chx_trainer_save); }

/* In a scope of its own: the checkpoint's generator becomes that of the scope it is read in, and is to be the process's. */
static PyObject *resume(PyObject *o, PyObject *path)
{
  py_nn c;
  PyObject *file = py_nn_path(path);
  if (!file || !py_nn_enter(&c)) return Py_XDECREF(file), NULL;
  chx_scope *s = chx_scope_begin(chx_scope_device(c.s));
  if (chx_trainer_resume(s, ((py_trainer *)o)->r, PyBytes_AS_STRING(file)) == CHX_OK)
    chx_random_set(NULL, chx_random_get(s));
  bool done = py_check(s);
  chx_scope_end(s);
  Py_DECREF(file);
  return py_nn_leave(&c) && done ? Py_NewRef(o) : NULL;
}

static PyObject *write_log(PyObject *o, PyObject *path) { return with_file(o, path, log_to); }
static PyObject *write_curve(PyObject *o, PyObject *path) { return with_file(o, path, curve_to); }

static PyObject *is_stopped(PyObject *o, void *u)
{
  (void)u;
  return PyBool_FromLong(chx_trainer_is_stopped(((py_trainer *)o)->r));
}

static PyMethodDef methods[] = {
    {"run", run, METH_NOARGS,
     "run($self)\n--\n\nTrains up to its epochs and returns the history. Ctrl-C ends it after the step; "
     "KeyboardInterrupt comes when the "
     "checkpoint is written."},
    {"_interrupt", interrupt, METH_VARARGS, NULL},
    {"save", save, METH_O, "save($self, file)\n--\n\nWrites a checkpoint, which is a model file, too."},
    {"resume", resume, METH_O,
     "resume($self, file)\n--\n\nGoes on from a checkpoint: the same bits as a run that never stopped. Returns "
     "itself."},
    {"write_log", write_log, METH_O, "write_log($self, file)\n--\n\nThe history as CSV."},
    {"write_curve", write_curve, METH_O, "write_curve($self, file)\n--\n\nThe history as a drawing, SVG."},
    {0}};
static PyGetSetDef getset[] = {
    {"history", history, NULL, "the completed epochs, a list of dicts; None where something was not measured", NULL},
    {"is_stopped", is_stopped, NULL, "whether the last run ended before its time", NULL},
    {0}};

PyTypeObject py_trainer_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "chx.nn.Trainer",
    .tp_basicsize = sizeof(py_trainer),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_doc = "Trainer(model, optimizer, train, test=None, *, epochs=20, batch=32, seed=0, evaluate_every=1, "
              "checkpoint_every=1, "
              "checkpoint=None, log=None, curve=None, progress=False, callback=None, loss=None)\n--\n\nTrains a model "
              "on a Dataset. "
              "progress: True shows a bar on a terminal's standard error, else a line an epoch. callback(event, "
              "report): 'step' "
              "or 'epoch'; it returns True to stop. loss: a function (y, t) -> 0-d mean.",
    .tp_new = create,
    .tp_dealloc = dealloc,
    .tp_traverse = traverse,
    .tp_clear = clear,
    .tp_methods = methods,
    .tp_getset = getset,
};
