/* SPDX-License-Identifier: MIT
 * cli.h: what the files of the command `chx` share: a subcommand and its options as tables, and how it speaks.
 *
 * A subcommand is one cli_command. Its options are rows of a table, from which cli_parse fills the subcommand's own
 * struct, `--help` is printed, and the shell's completion is answered; an option is written down nowhere else but in
 * its man page, which tests/test_cli.t compares.
 *
 * Exit codes: 0 done; 1 the work failed; 2 the command line was wrong; 130 interrupted. Results go to stdout, all else
 * to stderr. An error is one sentence (what is, what was wanted) and a line that says what to do next.
 */
#ifndef CHX_CLI_H
#define CHX_CLI_H
#include <chx/chx.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_INTERRUPTED = 130 };

/* What an option's value is, and the type of the field it fills. */
typedef enum cli_type {
  CLI_FLAG,   /* int, 1 once given */
  CLI_STRING, /* const char * */
  CLI_FILE,   /* const char *, completed as a file name */
  CLI_DIR,    /* const char *, completed as a folder */
  CLI_DEVICE, /* const char *, completed as a device */
  CLI_WHOLE,  /* int64_t from min to max */
  CLI_REAL,   /* double from min to max */
  CLI_SHAPE,  /* chx_ints, "1x8x8": lengths >= 1 */
  CLI_CHOICE, /* int, the index in `choices` */
  CLI_DTYPE   /* int, CHX_F32, ... */
} cli_type;

typedef struct cli_option {
  const char *name; /* without the dashes; NULL ends a table */
  cli_type type;
  size_t offset;    /* of the field that it fills */
  const char *arg;  /* how help calls the value; NULL for flags and choices */
  const char *doc;
  double min, max;
  const char *const *choices; /* NULL ends them */
} cli_option;

typedef struct cli_command cli_command;
struct cli_command {
  const char *name;
  const char *words;    /* positional arguments as usage shows them, "" if there are none */
  int min_words, max_words;
  const char *const *choices; /* of the first positional argument, NULL: free */
  const char *brief;    /* one line */
  const char *about;    /* a paragraph */
  const cli_option *options;
  const char *examples; /* lines */
  int (*run)(const cli_command *c, int argc, char **argv); /* argv[0] is the first argument after the name */
};

extern const cli_command cmd_devices, cmd_ops, cmd_train, cmd_predict, cmd_bench, cmd_conform, cmd_diff;
extern const cli_command *const cli_commands[]; /* NULL ends them */

/* Ends a `chx train` under way after its step, as Ctrl-C does, but it says nothing and its exit code is CLI_OK. */
void cli_train_stop(void);

/* ---- options.c ---- */

/* cli_parse: options of c from argv into the struct `into`, positional arguments into words (room for max_words).
 * Returns how many of these there are; -1 to stop and exit with *code: after --help, or a mistake that it has told. */
int cli_parse(const cli_command *c, int argc, char **argv, void *into, const char **words, int *code);
void cli_help(const cli_command *c, FILE *f);
/* Prints what may stand at the last of argv's words, for the shell; see chx.bash. */
int cli_complete(int argc, char **argv);

/* The nearest of several words, for "did you mean": best is NULL if none is near. */
typedef struct cli_guess {
  const char *word, *best;
  int distance;
} cli_guess;
cli_guess cli_guess_of(const char *word);
void cli_guess_try(cli_guess *g, const char *candidate);

/* ---- cli.c ---- */

/* "chx NAME: ..." and where help is; returns CLI_USAGE. c may be NULL: chx itself. */
int cli_usage(const cli_command *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "chx NAME: ..." and the line `next` (may be NULL); returns CLI_FAILED. */
int cli_fail(const cli_command *c, const char *next, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The error of a scope, with advice that fits its code; returns CLI_FAILED. */
int cli_scope_fail(const cli_command *c, const chx_scope *s);
/* Messages of the library to stderr: warnings, or with `trace` a line per operator. */
void cli_log(int trace);
/* 1536 -> "1.5 KiB"; the text is in `out`, which it returns. */
const char *cli_bytes(uint64_t bytes, char out[16]);
const char *cli_duration(double seconds, char out[16]);
/* The names of a set of dtypes: all of them, or a short form ("ints floats") of at most 40 columns. */
const char *cli_dtypes(uint64_t set, int brief, char out[128]);

/* ---- ledger.c ---- */

/* What fallback cost (chx_ledger), the most expensive first, and which kernels would save most. Nothing if all operators ran
 * in kernels or, unless the policy of s is to warn, were composed of such. */
void cli_ledger_print(FILE *f, chx_scope *s);
struct json;
void cli_ledger_json(struct json *j, const char *key);

#endif
