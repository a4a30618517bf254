/* SPDX-License-Identifier: MIT
 * cmd_train.c: `chx train`: a network on a file of examples. The data stay in host memory, in a scope of their own, so
 * that the device's scope, its fallback policy and its ledger see the training alone.
 */
#include "cli.h"
#include "json.h"
#include "data.h"
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct train_args {
  const char *data, *test, *device, *out, *resume;
  chx_ints shape;
  int64_t epochs, batch, seed, threads;
  double lr, holdout;
  int optimizer, fallback, trace, quiet, json;
} train_args;

static const char *const kinds[] = {"mlp", "cnn", NULL};
static const char *const optimizers[] = {"sgd", "momentum", "adam", "adamw", NULL};
static const char *const policies[] = {"allow", "warn", "deny", NULL}; /* in the order of CHX_FALLBACK_* */

#define AT(field) .offset = offsetof(train_args, field)
static const cli_option options[] = {
  {.name = "data", .type = CLI_FILE, AT(data), .arg = "F",
   .doc = "the examples: CSV, also gzipped, whose last column is the label (0, 1, ...); or NPZ with the arrays x and t. "
          "Required"},
  {.name = "device", .type = CLI_DEVICE, AT(device), .arg = "D",
   .doc = "where to train, such as native:0; default $CHX_DEVICE, else native:0"},
  {.name = "shape", .type = CLI_SHAPE, AT(shape), .arg = "CxHxW",
   .doc = "an example as an image, such as 1x8x8 or 8x8; default: as the data say, or the square"},
  {.name = "epochs", .type = CLI_WHOLE, AT(epochs), .arg = "N", .min = 1, .max = 1e9,
   .doc = "passes over the data; default 20"},
  {.name = "batch", .type = CLI_WHOLE, AT(batch), .arg = "N", .min = 1, .max = 1e9,
   .doc = "examples of a step; default 32"},
  {.name = "lr", .type = CLI_REAL, AT(lr), .arg = "X", .min = 1e-12, .max = 1e6,
   .doc = "learning rate; default 0.01 for sgd and momentum, 0.001 for adam and adamw"},
  {.name = "optimizer", .type = CLI_CHOICE, AT(optimizer), .choices = optimizers, .doc = "default adam"},
  {.name = "seed", .type = CLI_WHOLE, AT(seed), .arg = "N", .max = 9007199254740992.0,
   .doc = "of the weights, the order and the held-out part; default 0"},
  {.name = "holdout", .type = CLI_REAL, AT(holdout), .arg = "X", .max = 0.9,
   .doc = "the part of the data that is kept for testing; default 0.2, with --test 0"},
  {.name = "test", .type = CLI_FILE, AT(test), .arg = "F", .doc = "test on this file, in place of a held-out part"},
  {.name = "out", .type = CLI_DIR, AT(out), .arg = "DIR",
   .doc = "where model.npz, checkpoint.npz, log.csv and curve.svg go; made if it is not there; default chx-out"},
  {.name = "resume", .type = CLI_FILE, AT(resume), .arg = "F",
   .doc = "go on from a checkpoint, to the same bits; the other arguments must be as before"},
  {.name = "fallback", .type = CLI_CHOICE, AT(fallback), .choices = policies,
   .doc = "what happens where the device lacks an operator: run it on the host, say so too, or fail; default "
          "$CHX_FALLBACK, else allow"},
  {.name = "threads", .type = CLI_WHOLE, AT(threads), .arg = "N", .max = 4096,
   .doc = "threads of the CPU, 0: all; results do not depend on it; default $CHX_NUM_THREADS, else 0"},
  {.name = "trace", .type = CLI_FLAG, AT(trace), .doc = "print a line for each operator that runs"},
  {.name = "quiet", .type = CLI_FLAG, AT(quiet), .doc = "no progress"},
  {.name = "json", .type = CLI_FLAG, AT(json), .doc = "print one JSON object in place of the summary"},
  {0},
};

/* What a run holds; train_end ends all of it. */
typedef struct train_run {
  const cli_command *c;
  const train_args *a;
  chx_scope *s, *host; /* host: of the data */
  chx_nn_dataset *train, *test;
  chx_nn_model_spec spec;
  chx_link *model;
  chx_optimizer *optimizer;
  chx_trainer *trainer;
  char *model_path, *checkpoint_path, *log_path, *curve_path;
} train_run;

/* ---- stopping ---------------------------------------------------------------------------------------------------- */

enum { STOP_QUIETLY = -1 };
static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
  stop_signal = number;
}

void cli_train_stop(void)
{
  stop_signal = STOP_QUIETLY;
}

/* The first Ctrl-C ends the step under way and writes a checkpoint; a second one, while that lasts, ends the process. */
static void catch_signals(void)
{
  struct sigaction a = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

  sigemptyset(&a.sa_mask);
  sigaction(SIGINT, &a, NULL);
  sigaction(SIGTERM, &a, NULL);
}

/* A word as the shell reads it back. */
static void print_quoted(FILE *f, const char *word)
{
  static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%";

  if (*word && strspn(word, safe) == strlen(word)) {
    fputs(word, f);
    return;
  }
  fputc('\'', f);
  for (; *word; word++)
    if (*word == '\'')
      fputs("'\\''", f);
    else
      fputc(*word, f);
  fputc('\'', f);
}

/* The command that goes on: the one given, with the checkpoint in place of what it resumed from. */
static int say_interrupted(const train_run *r, int argc, char **argv)
{
  fprintf(stderr, "chx train: interrupted; the checkpoint is %s. To go on:\n  chx train", r->checkpoint_path);
  for (int i = 0; i < argc; i++) {
    if (strcmp(argv[i], "--resume") == 0) {
      i++;
    } else if (strncmp(argv[i], "--resume=", 9) != 0) {
      fputc(' ', stderr);
      print_quoted(stderr, argv[i]);
    }
  }
  fputs(" --resume ", stderr);
  print_quoted(stderr, r->checkpoint_path);
  fputc('\n', stderr);
  return 128 + stop_signal;
}

/* ---- the run, step by step; each returns an exit code ------------------------------------------------------------ */

static char *path_in(const char *dir, const char *name)
{
  size_t n = strlen(dir) + strlen(name) + 2;
  char *p = malloc(n);

  if (p)
    snprintf(p, n, "%s%s%s", dir, dir[strlen(dir) - 1] == '/' ? "" : "/", name);
  return p;
}

/* Makes the folder, parents too, and sees that it can be written: an hour's training must not end in an error here. */
static int make_out(train_run *r)
{
  const char *out = r->a->out, *next = "'--out DIR' names another folder for the results";
  char *path = strdup(out);

  for (char *p = path ? path + 1 : NULL; p && *p; p++)
    if (*p == '/') {
      *p = 0;
      mkdir(path, 0777);
      *p = '/';
    }
  free(path);
  if (mkdir(out, 0777) && errno != EEXIST)
    return cli_fail(r->c, next, "the folder %s cannot be made: %s", out, strerror(errno));
  if (access(out, W_OK | X_OK))
    return cli_fail(r->c, next, "the folder %s cannot be written: %s", out, strerror(errno));
  r->model_path = path_in(out, "model.npz");
  r->checkpoint_path = path_in(out, "checkpoint.npz");
  r->log_path = path_in(out, "log.csv");
  r->curve_path = path_in(out, "curve.svg");
  if (!r->model_path || !r->checkpoint_path || !r->log_path || !r->curve_path)
    return cli_fail(r->c, NULL, "out of memory");
  return CLI_OK;
}

/* The data, split; their shape and classes. */
static int load(train_run *r, int image)
{
  const train_args *a = r->a;
  chx_nn_dataset *all = NULL;
  double part = a->holdout >= 0 ? a->holdout : a->test ? 0 : 0.2;
  int code = data_load(r->c, r->host, "data", a->data, &all);

  if (!code)
    code = data_shape(r->c, r->host, all, &a->shape, image, r->spec.chw);
  if (!code)
    code = data_flatten(r->c, r->host, all);
  if (!code) {
    r->spec.classes = chx_nn_dataset_classes(all);
    if (chx_nn_dataset_split(r->host, all, part, (uint64_t)a->seed, &r->train, &r->test))
      code = cli_scope_fail(r->c, r->host);
  }
  chx_nn_dataset_free(all);
  if (!code && r->test && chx_nn_dataset_size(r->test) == 0) { /* too few examples for that part */
    chx_nn_dataset_free(r->test);
    r->test = NULL;
  }
  return code;
}

static int load_test(train_run *r)
{
  const char *path = r->a->test;
  int64_t n = r->spec.chw[0] * r->spec.chw[1] * r->spec.chw[2];
  int code = data_load(r->c, r->host, "test", path, &r->test);

  if (code)
    return code;
  if (data_item_size(r->test) != n)
    return cli_fail(r->c, NULL, "examples of %s have %lld columns, want %lld as those of %s", path,
                    (long long)data_item_size(r->test), (long long)n, r->a->data);
  if (chx_nn_dataset_classes(r->test) > r->spec.classes)
    return cli_fail(r->c, NULL, "%s has the label %lld, want labels of %s, 0 to %lld", path,
                    (long long)chx_nn_dataset_classes(r->test) - 1, r->a->data, (long long)r->spec.classes - 1);
  return data_flatten(r->c, r->host, r->test);
}

/* A new model, or with --resume that of the checkpoint, which must be of the same kind. */
static int make_model(train_run *r)
{
  static const char next[] = "resume with the arguments of the run that wrote the checkpoint";
  const char *path = r->a->resume;
  chx_nn_model_spec was;
  int64_t n = data_item_size(r->train);

  chx_scope_seed(r->s, (uint64_t)r->a->seed);
  if (!path) {
    r->model = chx_nn_model_new(r->s, &r->spec);
    chx_link_fit_input(r->s, r->model, chx_nn_dataset_x(r->train));
    return chx_scope_error(r->s) ? cli_scope_fail(r->c, r->s) : CLI_OK;
  }
  if (data_readable(r->c, path, "'--resume F' wants a checkpoint.npz that chx train wrote"))
    return CLI_FAILED;
  r->model = chx_nn_model_load(r->s, path, &was);
  if (!r->model)
    return cli_fail(r->c, "'--resume F' wants a checkpoint.npz that chx train wrote", "%s", chx_scope_message(r->s));
  if (strcmp(was.kind, r->spec.kind))
    return cli_fail(r->c, next, "%s is of %s %s, want %s", path, strcmp(was.kind, "mlp") ? "a" : "an", was.kind,
                    r->spec.kind);
  if (was.chw[0] * was.chw[1] * was.chw[2] != n || was.classes != r->spec.classes)
    return cli_fail(r->c, next, "%s is of %lld columns and %lld classes, the data have %lld and %lld", path,
                    (long long)(was.chw[0] * was.chw[1] * was.chw[2]), (long long)was.classes, (long long)n,
                    (long long)r->spec.classes);
  r->spec = was;
  return CLI_OK;
}

static int make_trainer(train_run *r)
{
  const train_args *a = r->a;
  chx_trainer_options p = chx_trainer_defaults();

  p.epochs = a->epochs;
  p.batch = a->batch;
  p.seed = (uint64_t)a->seed;
  p.checkpoint = r->checkpoint_path;
  p.log = r->log_path;
  p.curve = r->curve_path;
  p.progress = a->quiet ? NULL : stderr;
  p.progress_style = a->trace ? CHX_PROGRESS_LINES : CHX_PROGRESS_AUTO;
  p.stop = &stop_signal;
  p.spec = &r->spec;
  r->optimizer = chx_optimizer_by_name(r->s, optimizers[a->optimizer], a->lr);
  chx_optimizer_setup(r->s, r->optimizer, r->model);
  r->trainer = chx_trainer_new(r->s, r->model, r->optimizer, r->train, r->test, &p);
  if (a->resume && !chx_scope_error(r->s) && chx_trainer_resume(r->s, r->trainer, a->resume))
    return cli_fail(r->c, "resume with the arguments of the run that wrote the checkpoint", "%s",
                    chx_scope_message(r->s));
  return chx_scope_error(r->s) ? cli_scope_fail(r->c, r->s) : CLI_OK;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void print_json(const train_run *r, const chx_trainer_report *h, int64_t n)
{
  json j = json_begin(stdout);

  json_object(&j, NULL);
  json_real(&j, "test_accuracy", n ? h[n - 1].test_accuracy : NAN);
  json_real(&j, "train_seconds", n ? h[n - 1].seconds : 0);
  json_array(&j, "loss");
  for (int64_t i = 0; i < n; i++)
    json_real(&j, NULL, h[i].loss);
  json_array_end(&j);
  json_string(&j, "device", chx_scope_device(r->s));
  cli_ledger_json(&j, "ledger");
  json_object_end(&j);
  json_end(&j);
}

static void print_summary(const train_run *r, const chx_trainer_report *h, int64_t n)
{
  const chx_trainer_report *last = n ? &h[n - 1] : NULL;

  if (last && r->test)
    printf("test accuracy %.4f on %lld examples\n", last->test_accuracy, (long long)chx_nn_dataset_size(r->test));
  else if (last)
    printf("training accuracy %.4f; no examples were held out for a test\n", last->accuracy);
  printf("trained in    %.1f s: %lld epoch%s of %lld examples on %s\n", last ? last->seconds : 0.0, (long long)n,
         n == 1 ? "" : "s", (long long)chx_nn_dataset_size(r->train), chx_scope_device(r->s));
  printf("model         %s\ncurve         %s\nlog           %s\n", r->model_path, r->curve_path, r->log_path);
  cli_ledger_print(stdout, r->s);
}

static int train(train_run *r, int argc, char **argv)
{
  const chx_trainer_report *history;
  int64_t n;

  catch_signals();
  if (chx_trainer_run(r->s, r->trainer))
    return cli_scope_fail(r->c, r->s);
  if (chx_trainer_is_stopped(r->trainer))
    return stop_signal == STOP_QUIETLY ? CLI_OK : say_interrupted(r, argc, argv);
  if (chx_nn_model_save(r->s, r->model, &r->spec, r->model_path))
    return cli_scope_fail(r->c, r->s);
  history = chx_trainer_history(r->trainer, &n);
  if (r->a->json)
    print_json(r, history, n);
  else
    print_summary(r, history, n);
  return CLI_OK;
}

static void train_end(train_run *r)
{
  chx_trainer_free(r->trainer);
  chx_optimizer_free(r->optimizer);
  chx_link_free(r->model);
  chx_nn_dataset_free(r->train);
  chx_nn_dataset_free(r->test);
  chx_scope_end(r->s);
  chx_scope_end(r->host);
  free(r->model_path);
  free(r->checkpoint_path);
  free(r->log_path);
  free(r->curve_path);
}

static int run(const cli_command *c, int argc, char **argv)
{
  train_args a = {.out = "chx-out", .epochs = 20, .batch = 32, .threads = -1, .holdout = -1, .optimizer = 2, .fallback = -1};
  train_run r = {.c = c, .a = &a};
  const char *words[1];
  int code;

  if (cli_parse(c, argc, argv, &a, words, &code) < 0)
    return code;
  if (!a.data)
    return cli_usage(c, "--data F is missing, the file of examples");
  if (a.test && a.holdout > 0)
    return cli_usage(c, "--test and --holdout are two ways to test, want one");
  snprintf(r.spec.kind, sizeof r.spec.kind, "%s", words[0]);
  cli_log(a.trace);
  if (a.threads >= 0)
    chx_set_threads((int)a.threads);

  r.host = chx_scope_begin("native:0");
  r.s = chx_scope_begin(a.device);
  if (a.fallback >= 0)
    chx_scope_set_fallback(r.s, a.fallback);
  if (chx_scope_error(r.host) || chx_scope_error(r.s))
    code = cli_scope_fail(c, chx_scope_error(r.s) ? r.s : r.host);
  if (!code)
    code = load(&r, strcmp(words[0], "cnn") == 0);
  if (!code && a.test)
    code = load_test(&r);
  if (!code)
    code = make_out(&r);
  if (!code)
    code = make_model(&r);
  if (!code)
    code = make_trainer(&r);
  if (!code)
    code = train(&r, argc, argv);
  train_end(&r);
  return code;
}

const cli_command cmd_train = {
  .name = "train",
  .words = "mlp|cnn",
  .min_words = 1,
  .max_words = 1,
  .choices = kinds,
  .brief = "train a network on a file of examples",
  .about = "Train a network on a file of examples: mlp, two hidden layers of 100 units, or cnn, two convolutions, for "
           "images of at least 4x4. Shows progress, tests on examples held out, and writes the model, a checkpoint "
           "after each epoch, a log and a curve. Ctrl-C ends the step under way, writes a checkpoint and exits with 130.",
  .options = options,
  .examples = "  chx train cnn --data data/digits.csv.gz\n"
              "  chx train mlp --data iris.csv --optimizer adamw --lr 0.005 --epochs 100 --out iris\n"
              "  chx train cnn --data images.npz --device cuda:0 --fallback deny\n"
              "  chx train cnn --data data/digits.csv.gz --resume chx-out/checkpoint.npz\n",
  .run = run,
};
