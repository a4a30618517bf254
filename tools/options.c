/* SPDX-License-Identifier: MIT
 * options.c: reads a command line by the table of its options; prints help and answers completion from the same table.
 */
#include "cli.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- words that are near ---------------------------------------------------------------------------------------- */

/* Insertions, deletions, changes and swapped neighbours between a and b; words beyond 39 letters are far. */
static int distance(const char *a, const char *b)
{
  int n = (int)strlen(a), m = (int)strlen(b), d[41][41];

  if (n > 39 || m > 39)
    return 99;
  for (int i = 0; i <= n; i++)
    for (int j = 0; j <= m; j++) {
      int best;
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      if (d[i - 1][j] + 1 < best)
        best = d[i - 1][j] + 1;
      if (d[i][j - 1] + 1 < best)
        best = d[i][j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
        best = d[i - 2][j - 2] + 1;
      d[i][j] = best;
    }
  return d[n][m];
}

cli_guess cli_guess_of(const char *word)
{
  int n = (int)strlen(word);

  return (cli_guess){word, NULL, n < 3 ? 1 : n < 6 ? 2 : 3}; /* what counts as near; one nearer is taken */
}

void cli_guess_try(cli_guess *g, const char *candidate)
{
  size_t n = strlen(g->word), m = strlen(candidate), least = n < m ? n : m;
  /* one that begins with the other is near, however long the rest is */
  int d = least > 1 && strncmp(candidate, g->word, least) == 0 ? 0 : distance(g->word, candidate);

  if (d < g->distance + !g->best) {
    g->distance = d;
    g->best = candidate;
  }
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

static const cli_option help_option = {.name = "help", .type = CLI_FLAG, .doc = "show this"};

static int bad_value(const cli_command *c, const cli_option *o, const char *v, const char *want)
{
  return cli_usage(c, "--%s: is '%s', want %s", o->name, v, want);
}

/* "1x8x8" into out; 0 unless it is that. */
static int parse_shape(const char *v, chx_ints *out)
{
  chx_ints r = {0};

  while (r.n < CHX_MAX_RANK && isdigit((unsigned char)*v)) {
    char *end;
    errno = 0;
    r.v[r.n] = strtoll(v, &end, 10);
    if (errno || r.v[r.n++] < 1)
      return 0;
    if (*end == 0) {
      *out = r;
      return 1;
    }
    if (*end != 'x')
      return 0;
    v = end + 1;
  }
  return 0;
}

static int set_choice(const cli_command *c, const cli_option *o, const char *v, int *out)
{
  cli_guess g = cli_guess_of(v);
  char want[256];
  size_t n = 0;

  for (int i = 0; o->choices[i]; i++) {
    if (strcmp(o->choices[i], v) == 0) {
      *out = i;
      return 0;
    }
    cli_guess_try(&g, o->choices[i]);
    if (n < sizeof want)
      n += (size_t)snprintf(want + n, sizeof want - n, "%s%s", i == 0 ? "" : o->choices[i + 1] ? ", " : " or ",
                            o->choices[i]);
  }
  if (g.best && n < sizeof want)
    snprintf(want + n, sizeof want - n, "; did you mean %s?", g.best);
  return bad_value(c, o, v, want);
}

static int set_number(const cli_command *c, const cli_option *o, const char *v, void *field)
{
  int whole = o->type == CLI_WHOLE, bad;
  char *end, want[96];
  double r;

  errno = 0;
  if (whole) {
    int64_t k = strtoll(v, &end, 10);
    *(int64_t *)field = k;
    bad = (double)k < o->min || (double)k > o->max;
  } else {
    *(double *)field = r = strtod(v, &end);
    bad = !(r >= o->min && r <= o->max); /* NaN too */
  }
  if (!bad && end != v && *end == 0 && errno == 0 && !isspace((unsigned char)*v))
    return 0;
  snprintf(want, sizeof want, "a %snumber from %.15g to %.15g", whole ? "whole " : "", o->min, o->max);
  return bad_value(c, o, v, want);
}

static int set_value(const cli_command *c, const cli_option *o, const char *v, void *into)
{
  void *field = (char *)into + o->offset;
  char names[128], want[160];

  switch (o->type) {
  case CLI_FLAG:
    *(int *)field = 1;
    return 0;
  case CLI_WHOLE:
  case CLI_REAL:
    return set_number(c, o, v, field);
  case CLI_CHOICE:
    return set_choice(c, o, v, field);
  case CLI_SHAPE:
    return parse_shape(v, field) ? 0 : bad_value(c, o, v, "lengths of at least 1 with x between them, such as 1x8x8");
  case CLI_DTYPE:
    if ((*(int *)field = chx_dtype_find(v)) != CHX_DTYPE_NONE)
      return 0;
    snprintf(want, sizeof want, "one of %s", cli_dtypes(CHX_ANY_REAL, 0, names));
    return bad_value(c, o, v, want);
  default:
    if (*v == 0)
      return bad_value(c, o, v, o->type == CLI_DEVICE ? "a device, such as native:0" : "a name");
    *(const char **)field = v;
    return 0;
  }
}

/* ---- the command line ------------------------------------------------------------------------------------------- */

static const cli_option *find_option(const cli_command *c, const char *name, size_t n)
{
  for (const cli_option *o = c->options; o->name; o++)
    if (strlen(o->name) == n && strncmp(o->name, name, n) == 0)
      return o;
  return n == 4 && strncmp(name, "help", 4) == 0 ? &help_option : NULL;
}

static int unknown_option(const cli_command *c, const char *arg, size_t n)
{
  char name[64];
  cli_guess g;

  snprintf(name, sizeof name, "%.*s", (int)n, arg + 2 * (strncmp(arg, "--", 2) == 0));
  g = cli_guess_of(name);
  for (const cli_option *o = c->options; o->name; o++)
    cli_guess_try(&g, o->name);
  cli_guess_try(&g, "help");
  if (g.best)
    return cli_usage(c, "there is no option %s; did you mean --%s?", arg, g.best);
  g.distance = 99; /* none is near: the nearest is named all the same */
  for (const cli_option *o = c->options; o->name; o++)
    cli_guess_try(&g, o->name);
  return cli_usage(c, "there is no option %s; the nearest is --%s", arg, g.best ? g.best : "help");
}

/* A positional argument: one too many, or not one of the command's choices, is an error. */
static int take_word(const cli_command *c, const char *word, const char **words, int n)
{
  if (n >= c->max_words)
    return c->max_words ? cli_usage(c, "'%s' is one argument too many, want %s", word, c->words)
                        : cli_usage(c, "'%s': there are only options, which begin with --", word);
  if (n == 0 && c->choices) {
    cli_guess g = cli_guess_of(word);
    for (int i = 0; c->choices[i]; i++) {
      cli_guess_try(&g, c->choices[i]);
      if (strcmp(c->choices[i], word) == 0) {
        words[0] = c->choices[i];
        return 0;
      }
    }
    return g.best ? cli_usage(c, "there is no '%s', want %s; did you mean %s?", word, c->words, g.best)
                  : cli_usage(c, "there is no '%s', want %s", word, c->words);
  }
  words[n] = word;
  return 0;
}

int cli_parse(const cli_command *c, int argc, char **argv, void *into, const char **words, int *code)
{
  int n = 0, only_words = 0;

  *code = 0;
  for (int i = 0; i < argc && *code == 0; i++) {
    const char *a = argv[i];
    if (strcmp(a, "-h") == 0 && !only_words) {
      cli_help(c, stdout);
      return -1;
    } else if (strcmp(a, "--") == 0 && !only_words) {
      only_words = 1;
    } else if (a[0] == '-' && a[1] && !only_words) {
      const char *v = strchr(a, '=');
      size_t len = v ? (size_t)(v++ - a) : strlen(a);
      const cli_option *o = a[1] == '-' ? find_option(c, a + 2, len - 2) : NULL;
      if (!o) {
        *code = unknown_option(c, a, a[1] == '-' ? len - 2 : len);
      } else if (o == &help_option) {
        cli_help(c, stdout);
        return -1;
      } else if (o->type == CLI_FLAG && v) {
        *code = cli_usage(c, "--%s takes no value", o->name);
      } else if (o->type != CLI_FLAG && !v && (i + 1 == argc || strncmp(argv[i + 1], "--", 2) == 0)) {
        *code = cli_usage(c, "--%s wants a value%s%s", o->name, o->arg ? ", " : "", o->arg ? o->arg : "");
      } else {
        *code = set_value(c, o, o->type == CLI_FLAG || v ? v : argv[++i], into);
      }
    } else if ((*code = take_word(c, a, words, n)) == 0) {
      n++;
    }
  }
  if (*code == 0 && n < c->min_words)
    *code = cli_usage(c, "the argument %s is missing", c->words);
  return *code ? -1 : n;
}

/* ---- help ------------------------------------------------------------------------------------------------------- */

/* Prints text in lines of at most 80 columns; all but the first begin with `indent` blanks. */
static void print_wrapped(FILE *f, const char *text, int indent)
{
  int column = indent;

  while (*text) {
    int n = (int)strcspn(text, " ");
    if (column > indent && column + 1 + n > 80) {
      fprintf(f, "\n%*s", indent, "");
      column = indent;
    } else if (column > indent) {
      fputc(' ', f);
      column++;
    }
    fprintf(f, "%.*s", n, text);
    column += n;
    text += n;
    text += strspn(text, " ");
  }
  fputc('\n', f);
}

static void option_left(const cli_option *o, char *out, size_t size)
{
  size_t n = (size_t)snprintf(out, size, "--%s", o->name);

  if (o->arg)
    snprintf(out + n, size - n, " %s", o->arg);
  for (int i = 0; o->choices && o->choices[i] && n < size; i++)
    n += (size_t)snprintf(out + n, size - n, "%c%s", i ? '|' : ' ', o->choices[i]);
}

static void print_option(FILE *f, const cli_option *o)
{
  char left[96];

  option_left(o, left, sizeof left);
  if (strlen(left) > 20)
    fprintf(f, "  %s\n%23s", left, "");
  else
    fprintf(f, "  %-20s ", left);
  print_wrapped(f, o->doc, 23);
}

void cli_help(const cli_command *c, FILE *f)
{
  fprintf(f, "Usage: chx %s%s%s [options]\n\n", c->name, *c->words ? " " : "", c->words);
  print_wrapped(f, c->about, 0);
  fputs("\nOptions:\n", f);
  for (const cli_option *o = c->options; o->name; o++)
    print_option(f, o);
  print_option(f, &help_option);
  fprintf(f, "\nExamples:\n%s\n'man chx-%s' tells more.\n", c->examples, c->name);
}

/* ---- completion ------------------------------------------------------------------------------------------------- */

static void complete_value(const cli_option *o)
{
  chx_device_state d;

  if (o->type == CLI_FILE || o->type == CLI_DIR)
    puts(o->type == CLI_FILE ? ":file" : ":dir");
  for (int i = 0; o->choices && o->choices[i]; i++)
    puts(o->choices[i]);
  for (int t = 1; o->type == CLI_DTYPE && t < CHX_DTYPE_END; t++)
    if (CHX_BIT(t) & CHX_ANY_REAL)
      puts(chx_dtype_name(t));
  if (o->type == CLI_DEVICE)
    for (int i = 0, n = chx_backend_scan(); i < n; i++)
      for (int j = 0; chx_device_at(i, j, &d) == CHX_OK; j++)
        puts(d.specifier);
}

int cli_complete(int argc, char **argv)
{
  const cli_command *c = NULL;

  if (argc < 2) {
    for (int i = 0; cli_commands[i]; i++)
      puts(cli_commands[i]->name);
    puts("help");
    return CLI_OK;
  }
  for (int i = 0; cli_commands[i]; i++) {
    if (strcmp(argv[0], "help") == 0 && argc == 2)
      puts(cli_commands[i]->name);
    if (strcmp(argv[0], cli_commands[i]->name) == 0)
      c = cli_commands[i];
  }
  if (!c)
    return CLI_OK;
  if (argc > 2 && strncmp(argv[argc - 2], "--", 2) == 0) {
    const cli_option *o = find_option(c, argv[argc - 2] + 2, strlen(argv[argc - 2]) - 2);
    if (o && o->type != CLI_FLAG) {
      complete_value(o);
      return CLI_OK;
    }
  }
  for (int i = 0; argc == 2 && c->choices && c->choices[i]; i++)
    puts(c->choices[i]);
  if (c == &cmd_ops && argv[argc - 1][0] != '-')
    for (int i = 0; i < chx_op_count(); i++)
      puts(chx_op_name(chx_op_at(i)));
  for (const cli_option *o = c->options; o->name; o++)
    printf("--%s\n", o->name);
  puts("--help");
  return CLI_OK;
}
