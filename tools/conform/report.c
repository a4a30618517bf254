/* SPDX-License-Identifier: MIT
 * report.c: results as TAP, as they come; exceptions; counts and levels; JSON and JUnit at the end.
 */
#include "report.h"
#include "../json.h"
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

typedef struct result {
  char *group, *name, *detail;
  report_status status;
  double seconds;
} result;

typedef struct exception {
  char kind[16], glob[128], reason[256];
  bool used;
} exception;

static const char *const status_names[REPORT_STATUSES] = {"pass", "fail", "crash", "hang", "skip", "xfail", "xpass"};

static struct {
  result *v;
  int n, room;
  int count[REPORT_STATUSES];
  exception *except;
  int n_except;
  char except_file[4096];
} all;

/* ---- exceptions -------------------------------------------------------------------------------------------------- */

/* "never|not-yet GLOB reason"; a glob with blanks stands in double quotes. */
static bool parse_exception(const char *line, exception *e)
{
  int at = 0;
  *e = (exception){0};
  if (sscanf(line, "%15s %n", e->kind, &at) != 1 || !at) return false;
  line += at;
  at = 0;
  if (sscanf(line, *line == '"' ? "\"%127[^\"\n]\" %n" : "%127s %n", e->glob, &at) != 1 || !at) return false;
  snprintf(e->reason, sizeof e->reason, "%.*s", (int)strcspn(line + at, "\r\n"), line + at);
  return e->reason[0] && (!strcmp(e->kind, "never") || !strcmp(e->kind, "not-yet"));
}

const char *report_exceptions(const char *plugin_file)
{
  static char bad[512];
  char line[1024];
  size_t n = strlen(plugin_file);
  bad[0] = 0;
  if (n > 3 && !strcmp(plugin_file + n - 3, ".so")) n -= 3;
  snprintf(all.except_file, sizeof all.except_file, "%.*s.conform", (int)n, plugin_file);
  FILE *f = fopen(all.except_file, "re");
  if (!f) return errno == ENOENT ? NULL : strerror(errno);
  for (int number = 1; !bad[0] && fgets(line, sizeof line, f); number++) {
    exception e, *more;
    if (line[strspn(line, " \t\r\n")] == 0 || line[0] == '#') continue;
    if (!parse_exception(line, &e))
      snprintf(bad, sizeof bad, "%.300s:%d: want 'never' or 'not-yet', a glob of cases, and a reason",
               all.except_file, number);
    else if (!(more = realloc(all.except, (size_t)(all.n_except + 1) * sizeof *more)))
      snprintf(bad, sizeof bad, "out of memory");
    else {
      all.except = more;
      more[all.n_except++] = e;
    }
  }
  fclose(f);
  return bad[0] ? bad : NULL;
}

static exception *exception_of(const char *group, const char *name)
{
  char full[288];
  snprintf(full, sizeof full, "%s %s", group, name);
  for (int i = 0; i < all.n_except; i++)
    if (!fnmatch(all.except[i].glob, full, 0) || !fnmatch(all.except[i].glob, name, 0)) {
      all.except[i].used = true;
      return &all.except[i];
    }
  return NULL;
}

/* ---- one result -------------------------------------------------------------------------------------------------- */

static void keep(const char *group, const char *name, report_status status, const char *detail, double seconds)
{
  all.count[status]++;
  if (all.n == all.room) {
    int room = all.room ? 2 * all.room : 256;
    result *v = realloc(all.v, (size_t)room * sizeof *v);
    if (!v) return; /* the counts and the TAP are whole all the same */
    all.v = v;
    all.room = room;
  }
  all.v[all.n++] = (result){strdup(group), strdup(name), strdup(detail ? detail : ""), status, seconds};
}

static void print_comment(const char *text)
{
  while (text && *text) {
    int n = (int)strcspn(text, "\n");
    printf("#   %.*s\n", n, text);
    text += n + (text[n] == '\n');
  }
}

void report_add(const char *group, const char *name, report_status status, const char *detail, const char *notes,
                double seconds)
{
  exception *e = exception_of(group, name);
  bool good = status == REPORT_PASS || status == REPORT_SKIP;
  char text[512];
  if (e && !good) {
    snprintf(text, sizeof text, "%s: %s", e->kind, e->reason);
    print_comment(detail);
    detail = text;
    status = REPORT_XFAIL;
  } else if (e && status == REPORT_PASS) {
    snprintf(text, sizeof text, "it passes, and %.300s says that it does not: remove its line", all.except_file);
    detail = text;
    status = REPORT_XPASS;
  }
  keep(group, name, status, detail, seconds);
  int number = 0;
  for (int i = 0; i < REPORT_STATUSES; i++) number += all.count[i];
  printf("%sok %d - %s %s", status == REPORT_PASS || status == REPORT_SKIP ? "" : "not ", number, group, name);
  if (status == REPORT_SKIP) printf(" # SKIP %.*s\n", (int)strcspn(detail, "\n"), detail);
  else if (status == REPORT_XFAIL) printf(" # TODO %s\n", detail);
  else {
    putchar('\n');
    if (status != REPORT_PASS) print_comment(detail);
  }
  print_comment(notes);
  fflush(stdout);
}

void report_absent(const char *group, const char *reason)
{
  report_add(group, "all cases", REPORT_SKIP, reason, NULL, 0);
}

void report_stale(void)
{
  for (int i = 0; i < all.n_except; i++)
    if (!all.except[i].used) {
      char text[512];
      snprintf(text, sizeof text, "%.300s lists '%s', and no case has that name", all.except_file, all.except[i].glob);
      report_add("exceptions", all.except[i].glob, REPORT_FAIL, text, NULL, 0);
    }
}

/* ---- levels ------------------------------------------------------------------------------------------------------ */

enum { LEVELS = 6 };
const char *const report_level_names[] = {"loads", "runs", "computes", "trains", "fuses", "compiles", NULL};
static const struct {
  const char *groups;
  const char *needs; /* a case that must have passed and not been skipped; NULL: none */
} levels[LEVELS] = {
  {"C0,C1,C2", NULL},
  {"C0,C1,C2,C3,C4,C6", NULL},
  {"C0,C1,C2,C3,C4,C5,C6", NULL},
  {"C0,C1,C2,C3,C4,C5,C6,C8", NULL},
  {"C0,C1,C2,C3,C4,C5,C6,C7,C8", "region: equals*"},
  {"C0,C1,C2,C3,C4,C5,C6,C7,C8", "rtc: build*"},
};

const char *report_level_groups(int level) { return levels[level].groups; }

/* A group is reached if it was run whole, and each case passed or said why it does not apply. */
static bool group_reached(const char *group)
{
  int n = 0;
  for (int i = 0; i < all.n; i++)
    if (!strcmp(all.v[i].group, group)) {
      if (all.v[i].status != REPORT_PASS && all.v[i].status != REPORT_SKIP) return false;
      if (all.v[i].status == REPORT_SKIP && !strcmp(all.v[i].name, "all cases")) return false;
      n++;
    }
  return n > 0;
}

bool report_reached(int level)
{
  char group[3] = {0};
  bool met = !levels[level].needs;
  for (const char *g = levels[level].groups; g; g = strchr(g, ',') ? strchr(g, ',') + 1 : NULL) {
    memcpy(group, g, 2);
    if (!group_reached(group)) return false;
  }
  for (int i = 0; i < all.n && !met; i++)
    met = all.v[i].status == REPORT_PASS && !strcmp(all.v[i].group, "C7") &&
          !fnmatch(levels[level].needs, all.v[i].name, 0);
  return met;
}

int report_end(bool with_levels)
{
  int number = 0, ran;
  for (int i = 0; i < REPORT_STATUSES; i++) number += all.count[i];
  ran = number - all.count[REPORT_SKIP];
  printf("1..%d%s\n# ", number, number ? "" : " # SKIP no case was chosen");
  for (int i = 0, some = 0; i < REPORT_STATUSES; i++)
    if (all.count[i]) printf("%s%d %s", some++ ? ", " : "", all.count[i], status_names[i]);
  printf(number ? "\n" : "nothing was run\n");
  if (with_levels) {
    int some = 0;
    printf("# levels:");
    for (int i = 0; i < LEVELS; i++)
      if (report_reached(i)) printf("%s %s", some++ ? "," : "", report_level_names[i]);
    printf(some ? "\n" : " none\n");
  }
  return ran && ran == all.count[REPORT_PASS] + all.count[REPORT_XFAIL] ? 0 : 1;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

void report_json(FILE *f, const char *file, const char *device)
{
  json j = json_begin(f);
  json_object(&j, NULL);
  json_string(&j, "file", file);
  json_string(&j, "device", device);
  json_array(&j, "levels");
  for (int i = 0; i < LEVELS; i++)
    if (report_reached(i)) json_string(&j, NULL, report_level_names[i]);
  json_array_end(&j);
  json_object(&j, "counts");
  for (int i = 0; i < REPORT_STATUSES; i++) json_whole(&j, status_names[i], all.count[i]);
  json_object_end(&j);
  json_array(&j, "cases");
  for (int i = 0; i < all.n; i++) {
    json_object(&j, NULL);
    json_string(&j, "group", all.v[i].group);
    json_string(&j, "name", all.v[i].name);
    json_string(&j, "status", status_names[all.v[i].status]);
    json_string(&j, "detail", all.v[i].detail);
    json_real(&j, "seconds", all.v[i].seconds);
    json_object_end(&j);
  }
  json_array_end(&j);
  json_object_end(&j);
  json_end(&j);
}

static void print_xml(FILE *f, const char *text)
{
  for (; text && *text; text++) switch (*text) {
    case '<': fputs("&lt;", f); break;
    case '>': fputs("&gt;", f); break;
    case '&': fputs("&amp;", f); break;
    case '"': fputs("&quot;", f); break;
    default: fputc((unsigned char)*text < 32 && *text != '\n' ? '?' : *text, f);
    }
}

void report_junit(FILE *f, const char *device)
{
  int bad = all.n - all.count[REPORT_PASS] - all.count[REPORT_SKIP] - all.count[REPORT_XFAIL];
  fprintf(f, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"chx conform ");
  print_xml(f, device);
  fprintf(f, "\" tests=\"%d\" failures=\"%d\" skipped=\"%d\">\n", all.n, bad,
          all.count[REPORT_SKIP] + all.count[REPORT_XFAIL]);
  for (int i = 0; i < all.n; i++) {
    const result *r = &all.v[i];
    fprintf(f, "  <testcase classname=\"%s\" time=\"%.3f\" name=\"", r->group, r->seconds);
    print_xml(f, r->name);
    if (r->status == REPORT_PASS) {
      fputs("\"/>\n", f);
      continue;
    }
    fprintf(f, "\">\n    <%s message=\"%s: ",
            r->status == REPORT_SKIP || r->status == REPORT_XFAIL ? "skipped" : "failure",
            status_names[r->status]);
    print_xml(f, r->detail);
    fputs("\"/>\n  </testcase>\n", f);
  }
  fputs("</testsuite>\n", f);
}
