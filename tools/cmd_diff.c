/* SPDX-License-Identifier: MIT
 * cmd_diff.c: `chx diff`: the operators of a run, recorded on one device, replayed on two, and the first that differs.
 */
#include "cli.h"
#include "diff.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct diff_args {
  const char *out;
  int64_t ops, skip, memory;
  double slack;
} diff_args;

enum { MOST_WORDS = 64, PARTS = 4 /* levels of composition looked into */ };

#define AT(field) .offset = offsetof(diff_args, field)
static const cli_option options[] = {
  {.name = "ops", .type = CLI_WHOLE, AT(ops), .arg = "N", .min = 1, .max = 1e8,
   .doc = "record that many calls, then end the run; default 1000"},
  {.name = "skip", .type = CLI_WHOLE, AT(skip), .arg = "N", .max = 1e9, .doc = "pass by that many calls before; default 0"},
  {.name = "memory", .type = CLI_WHOLE, AT(memory), .arg = "MIB", .min = 1, .max = 1e6,
   .doc = "record no more than that of operands; default 1024"},
  {.name = "slack", .type = CLI_REAL, AT(slack), .arg = "X", .min = 1, .max = 1e6,
   .doc = "how many times an operator's bound two devices may be apart; default 2, as each may use it up"},
  {.name = "out", .type = CLI_DIR, AT(out), .arg = "DIR",
   .doc = "where OP.npz, OP.c and the run's own files go; made if it is not there; default chx-diff"},
  {0},
};

/* ---- the run ------------------------------------------------------------------------------------------------------- */

/* Its results are not ours: they go nowhere, its errors where ours do. */
static int without_output(const cli_command *run, int argc, char **argv)
{
  int code, kept = dup(STDOUT_FILENO), null = open("/dev/null", O_WRONLY | O_CLOEXEC);

  fflush(stdout);
  if (null >= 0)
    dup2(null, STDOUT_FILENO);
  code = run->run(run, argc, argv);
  fflush(stdout);
  if (kept >= 0)
    dup2(kept, STDOUT_FILENO);
  close(kept);
  close(null);
  signal(SIGINT, SIG_DFL); /* train had its own use for it */
  signal(SIGTERM, SIG_DFL);
  return code;
}

/* argv is the subcommand and its arguments; what must be as we want it is put behind them, where it counts. */
static int record(const cli_command *c, const diff_args *a, int argc, char **argv, diff_log *log)
{
  const cli_command *run = strcmp(argv[0], "train") == 0 ? &cmd_train : &cmd_predict;
  char out[4096], *words[MOST_WORDS + 8];
  int n = 0, code;

  if (argc > MOST_WORDS)
    return cli_usage(c, "the run has %d arguments, want at most %d", argc, MOST_WORDS);
  for (int i = 1; i < argc; i++)
    words[n++] = argv[i];
  words[n++] = "--device";
  words[n++] = (char *)log->device;
  if (run == &cmd_train) {
    snprintf(out, sizeof out, "%s/run", a->out);
    words[n++] = "--quiet";
    words[n++] = "--out";
    words[n++] = out;
  }
  words[n] = NULL;
  diff_record_begin(log);
  code = without_output(run, n, words);
  diff_record_end();
  if (!code && log->error[0])
    return cli_fail(c, NULL, "%s", log->error);
  if (!code && !log->n)
    return cli_fail(c, NULL, "nothing was recorded: the run called %d operators on %s", log->seen, log->device);
  return code;
}

/* ---- what differs -------------------------------------------------------------------------------------------------- */

typedef struct finding {
  diff_call call; /* of one of the logs */
  char text[1200], of[200]; /* of: what it is a part of, "" */
} finding;

/* The operators that device b composes the call of: the first that differs by itself is closer to the fault. */
static bool look_inside(const finding *whole, const char *a, const char *b, double slack, diff_log *parts, finding *part)
{
  chx_scope *s = chx_scope_begin(b);
  const chx_array *in[CHX_MAX_OPERANDS];
  chx_array *out[DIFF_OUT] = {NULL};
  bool found = false;

  *parts = (diff_log){.most = 1000, .most_bytes = (size_t)1 << 30, .depth = 1, .device = chx_scope_device(s)};
  if (diff_operands(s, &whole->call, in)) {
    diff_record_begin(parts);
    chx_apply(s, whole->call.op, in, whole->call.n_in, whole->call.attr, out, chx_op_n_outputs(whole->call.op));
    diff_record_end();
  }
  for (int i = 0; i < parts->n && !found; i++)
    if (!diff_agrees(&parts->v[i], a, b, slack, part->text, sizeof part->text)) {
      part->call = parts->v[i];
      snprintf(part->of, sizeof part->of, "%s, which %s composes", chx_op_name(whole->call.op), b);
      found = true;
    }
  chx_scope_end(s);
  return found;
}

static int report(const cli_command *c, const diff_args *a, const finding *f, const char *from, const char *to, int n)
{
  chx_scope *s = chx_scope_begin("native:0");
  char what[400];
  const char *op = chx_op_name(f->call.op);
  int code = CLI_FAILED;
  struct stat st;

  diff_describe(&f->call, what, sizeof what);
  if (diff_write(s, &f->call, from, to, a->out, f->text)) {
    code = cli_scope_fail(c, s);
  } else {
    printf("%s differs between %s and %s\n", op, from, to);
    if (f->of[0])
      printf("part of       %s\n", f->of);
    printf("call          %d of the run (%d were recorded): %s\n%s\n", f->call.number, n, what, f->text);
    snprintf(what, sizeof what, "%s/%s.npz", a->out, op);
    if (stat(what, &st) == 0)
      printf("operands      %s\n", what);
    printf("reproducer    %s/%s.c\n", a->out, op);
  }
  chx_scope_end(s);
  return code;
}

static int replay(const cli_command *c, const diff_args *a, const diff_log *log, const char *from, const char *to)
{
  diff_log parts[PARTS] = {0};
  finding f[PARTS + 1];
  int code = CLI_OK, level = 0;
  memset(f, 0, sizeof f);

  for (int i = 0; i < log->n; i++) {
    if (diff_agrees(&log->v[i], from, to, a->slack, f[0].text, sizeof f[0].text))
      continue;
    f[0].call = log->v[i];
    while (level < PARTS && look_inside(&f[level], from, to, a->slack, &parts[level], &f[level + 1]))
      level++;
    f[level].call.number = log->v[i].number;
    code = report(c, a, &f[level], from, to, log->n);
    break;
  }
  for (int i = 0; i < PARTS; i++)
    diff_log_free(&parts[i]);
  if (code == CLI_OK)
    printf("%d calls, no difference between %s and %s\n", log->n, from, to);
  return code;
}

/* ---- the command --------------------------------------------------------------------------------------------------- */

static int check_run(const cli_command *c, int argc, char **argv, int dashes)
{
  if (dashes >= argc - 1)
    return cli_usage(c, "the run is missing, such as '-- train mlp --data F'");
  if (strcmp(argv[dashes + 1], "train") && strcmp(argv[dashes + 1], "predict"))
    return cli_usage(c, "the run is '%s', want train or predict", argv[dashes + 1]);
  return CLI_OK;
}

/* The devices' full names, "native:0", and ref:0, which compares. */
static int check_devices(const cli_command *c, const char *const words[2], char name[2][40])
{
  const char *all[] = {words[0], words[1], "ref:0"};
  int code = CLI_OK;

  for (int i = 0; i < 3 && !code; i++) {
    chx_scope *s = chx_scope_begin(all[i]);
    if (chx_scope_error(s))
      code = cli_scope_fail(c, s);
    else if (i < 2)
      snprintf(name[i], 40, "%s", chx_scope_device(s));
    chx_scope_end(s);
  }
  return code;
}

static int run(const cli_command *c, int argc, char **argv)
{
  diff_args a = {.ops = 1000, .memory = 1024, .slack = 2, .out = "chx-diff"};
  const char *words[2];
  char device[2][40];
  diff_log log = {.full = cli_train_stop};
  int code, dashes = 0;

  while (dashes < argc && strcmp(argv[dashes], "--"))
    dashes++;
  if (cli_parse(c, dashes, argv, &a, words, &code) < 0)
    return code;
  if ((code = check_run(c, argc, argv, dashes)) || (code = check_devices(c, words, device)))
    return code;
  if (mkdir(a.out, 0777) && errno != EEXIST)
    return cli_fail(c, "'--out DIR' names another folder", "the folder %s cannot be made: %s", a.out, strerror(errno));
  log.device = device[0];
  log.most = (int)a.ops;
  log.skip = (int)a.skip;
  log.most_bytes = (size_t)a.memory << 20;
  code = record(c, &a, argc - dashes - 1, argv + dashes + 1, &log);
  if (!code)
    code = replay(c, &a, &log, device[0], device[1]);
  diff_log_free(&log);
  return code;
}

const cli_command cmd_diff = {
  .name = "diff",
  .words = "A B -- RUN",
  .min_words = 2,
  .max_words = 2,
  .brief = "the first operator of a run whose results differ on two devices",
  .about = "Record the operators of a run (a chx train or predict) on device A, replay each on A and on B from the same "
           "operands, and name the first whose results are farther apart than its bound allows. Where B composes it of "
           "others, these are compared in turn. Writes its operands as NPZ and a C program that makes the call on both. "
           "Exit code 0: nothing differs; 1: something does, or the work failed.",
  .options = options,
  .examples = "  chx diff native:0 opencl:0 -- train cnn --data data/digits.csv.gz\n"
              "  chx diff native:0 mine:0 --ops 200 --out bug -- train mlp --data iris.csv\n"
              "  chx diff native:0 cuda:0 -- predict --model chx-out/model.npz --data iris.csv\n",
  .run = run,
};
