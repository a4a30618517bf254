/* SPDX-License-Identifier: MIT
 * cmd_conform.c: `chx conform`: judges a plugin, ours or a stranger's, group by group (conform/conform.h).
 *
 * Nothing of libchx or of a driver is used in this process: what the device's file and name are is asked in a child.
 */
#include "cli.h"
#include "conform/conform.h"
#include "conform/report.h"
#include "conform/subject.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MODE_TEST, MODE_GRAD, MODE_PERF, MODE_SUPPORT };
static const char *const modes[] = {"test", "grad", "perf", "support", NULL};

typedef struct conform_args {
  const char *op, *groups, *case_glob, *json, *junit, *markdown;
  int mode, level, isolate;
  int64_t seed, time_limit;
} conform_args;

#define AT(field) .offset = offsetof(conform_args, field)
static const cli_option options[] = {
  {.name = "mode", .type = CLI_CHOICE, AT(mode), .choices = modes,
   .doc = "test (the groups of cases; the default), grad (gradients against finite differences), perf (how fast, no "
          "pass mark) or support (the table of operators, dtypes and routes)"},
  {.name = "op", .type = CLI_STRING, AT(op), .arg = "GLOB", .doc = "only operators of that name, such as 'conv*'"},
  {.name = "group", .type = CLI_STRING, AT(groups), .arg = "C3,C4", .doc = "only these groups, of C0 to C8"},
  {.name = "case", .type = CLI_STRING, AT(case_glob), .arg = "GLOB", .doc = "only cases of that name, such as '*map*'"},
  {.name = "level", .type = CLI_CHOICE, AT(level), .choices = report_level_names,
   .doc = "only the groups of that level, and fail unless it is reached"},
  {.name = "seed", .type = CLI_WHOLE, AT(seed), .arg = "N", .min = 0, .max = 9007199254740992,
   .doc = "of all random choices; default 0"},
  {.name = "isolate", .type = CLI_FLAG, AT(isolate), .doc = "run each case in a process of its own"},
  {.name = "time-limit", .type = CLI_WHOLE, AT(time_limit), .arg = "S", .min = 1, .max = 86400,
   .doc = "seconds that one case may take; default 60"},
  {.name = "json", .type = CLI_FILE, AT(json), .arg = "FILE", .doc = "write the results (test, support) as JSON too"},
  {.name = "junit", .type = CLI_FILE, AT(junit), .arg = "FILE", .doc = "write the results (test) as JUnit's XML too"},
  {.name = "markdown", .type = CLI_FILE, AT(markdown), .arg = "FILE", .doc = "write the table (support) as Markdown"},
  {0},
};

static const struct group {
  const char *name;
  conform_lister *list;
  bool needs_device;
} groups[] = {
  {"C0", conform_static_cases, false}, {"C1", conform_load_cases, false}, {"C2", conform_skew_cases, false},
  {"C3", conform_memory_cases, true}, {"C4", conform_time_cases, true}, {"C5", conform_kernel_cases, true},
  {"C6", conform_catalogue_cases, true}, {"C7", conform_extension_cases, true}, {"C8", conform_use_cases, true},
};
enum { GROUPS = sizeof groups / sizeof groups[0] };

/* The word `name` in a list with commas. */
static bool named(const char *list, const char *name)
{
  size_t n = strlen(name);
  for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
    if (strcspn(p, ",") == n && !strncmp(p, name, n)) return true;
  return false;
}

static int check_groups(const cli_command *c, const char *list)
{
  for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
    int n = (int)strcspn(p, ","), known = 0;
    for (int i = 0; i < GROUPS; i++) known |= n == 2 && !strncmp(p, groups[i].name, 2);
    if (!known) return cli_usage(c, "--group: there is no '%.*s', want some of C0 to C8, such as C3,C4", n, p);
  }
  return CLI_OK;
}

/* What does not go together on the command line. */
static int check_args(const cli_command *c, const conform_args *a)
{
  bool test = a->mode == MODE_TEST;
  if (a->groups && a->level >= 0) return cli_usage(c, "--group and --level are two ways to choose, want one");
  if ((a->groups || a->level >= 0) && !test) return cli_usage(c, "--group and --level are for --mode test alone");
  if (a->level >= 0 && (a->op || a->case_glob)) return cli_usage(c,
                                                                 "--level wants all cases, so no --op and no --case");
  if (a->junit && !test) return cli_usage(c, "--junit is for --mode test alone");
  if (a->json && !test && a->mode != MODE_SUPPORT) return cli_usage(c, "--json is for --mode test and support alone");
  if (a->markdown && a->mode != MODE_SUPPORT) return cli_usage(c, "--markdown is for --mode support alone");
  return a->groups ? check_groups(c, a->groups) : CLI_OK;
}

/* The core is to find the file under its backend's name, whatever the user's path says. */
static void put_in_path(const char *file)
{
  const char *old = getenv("CHX_PLUGIN_PATH");
  char *path = NULL;
  if (asprintf(&path, "%s%s%s", file, old ? ":" : "", old ? old : "") >= 0) setenv("CHX_PLUGIN_PATH", path, 1);
  free(path);
}

static int write_files(const cli_command *c, const conform_args *a, const conform *k)
{
  FILE *f;
  if (a->json && (!(f = fopen(a->json, "we")) || (report_json(f, k->file, k->spec), fclose(f))))
    return cli_fail(c, NULL, "%s cannot be written: %s", a->json, strerror(errno));
  if (a->junit && (!(f = fopen(a->junit, "we")) || (report_junit(f, k->spec), fclose(f))))
    return cli_fail(c, NULL, "%s cannot be written: %s", a->junit, strerror(errno));
  return CLI_OK;
}

static int run_groups(const cli_command *c, const conform_args *a, conform *k, const subject *s)
{
  const char *only = a->level >= 0 ? report_level_groups(a->level) : a->groups;
  const char *bad = report_exceptions(k->file);
  if (bad) return cli_fail(c, NULL, "the file of exceptions: %s", bad);
  printf("TAP version 13\n# %s, %s\n", k->spec, k->file);
  for (int i = 0; i < GROUPS; i++) {
    if (only && !named(only, groups[i].name)) continue;
    if (groups[i].needs_device && s->no_device[0]) report_absent(groups[i].name, s->no_device);
    else conform_run_group(k, groups[i].name, groups[i].list);
  }
  bool whole = !a->op && !a->case_glob;
  if (whole && !only) report_stale();
  int code = report_end(whole);
  if (a->level >= 0 && !report_reached(a->level)) {
    printf("# level %s: not reached\n", report_level_names[a->level]);
    code = CLI_FAILED;
  }
  return write_files(c, a, k) ? CLI_FAILED : code;
}

static int run(const cli_command *c, int argc, char **argv)
{
  conform_args a = {.level = -1, .time_limit = 60};
  const char *words[1];
  int code;
  subject s;

  if (cli_parse(c, argc, argv, &a, words, &code) < 0) return code;
  if ((code = check_args(c, &a))) return code;
  if (!subject_find(&s, words[0], (int)a.time_limit))
    return cli_fail(c, "'chx devices' shows which there are; a plugin's file ends in .so", "%s", s.error);
  conform k = {.file = s.file, .backend = s.backend, .index = s.index, .op_glob = a.op, .seed = (uint64_t)a.seed,
               .isolate = a.isolate, .time_limit_s = (int)a.time_limit, .case_glob = a.case_glob, .to_parent = -1,
               .no_device = s.no_device[0] ? s.no_device : NULL};
  snprintf(k.spec, sizeof k.spec, "%s:%u", s.backend, s.index);
  put_in_path(s.file);
  if (a.mode == MODE_TEST) return run_groups(c, &a, &k, &s);
  if (s.no_device[0]) return cli_fail(c, NULL, "--mode %s wants a device: %s", modes[a.mode], s.no_device);
  if (a.mode == MODE_GRAD) return conform_grad(&k);
  if (a.mode == MODE_PERF) return conform_perf(&k);
  return conform_support(&k, a.markdown, a.json);
}

const cli_command cmd_conform = {
  .name = "conform",
  .words = "DEVICE|FILE.so",
  .min_words = 1,
  .max_words = 1,
  .brief = "tests whether a plugin keeps the contract",
  .about = "Test a plugin, named by a device of it or by its file, against the contract of chx/plugin.h and against "
           "the reference backend. Prints TAP, a line for each case, and which level was reached. A case that crashes "
           "or hangs is one line. Exit code 0: something was run and nothing failed.",
  .options = options,
  .examples = "  chx conform native:0\n"
              "  chx conform ./chx_mine.so --level loads\n"
              "  chx conform mine:0 --group C5 --op 'conv*' --isolate\n"
              "  chx conform mine:0 --mode support --markdown support.md\n",
  .run = run,
};
