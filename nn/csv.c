/* SPDX-License-Identifier: MIT
 * csv.c: tables of numbers as data sets. zlib's gz functions read plain and gzipped files alike.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* strtod_l */
#endif
#include "internal.h"
#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <zlib.h>

typedef struct reader {
  const char *path;
  gzFile f;
  char *line;           /* without its end */
  size_t cap;
  char *buf;            /* of the file, as read: place `at` of `n` */
  int at, n;
  int64_t number;       /* of the line, from 1 */
  locale_t c;           /* numbers have a point whatever the program's locale */
  char sep;             /* 0: not known yet */
  int64_t columns;      /* 0: not known yet */
  float *x;
  int64_t *t;
  size_t n_x, cap_x, items, cap_t;
} reader;

enum { CHUNK = 1 << 16 };

/* The next line into r->line. 0: none, or an error in s. */
static int next_line(chx_scope *s, reader *r)
{
  size_t n = 0;
  int any = 0, code;

  for (;;) {
    if (r->at == r->n) {
      r->at = 0;
      r->n = gzread(r->f, r->buf, CHUNK);
      if (r->n < 0) {
        const char *why = gzerror(r->f, &code);
        chx_scope_fail(s, CHX_EIO, "%s: line %lld: %s", r->path, (long long)r->number + 1,
                       code == Z_ERRNO ? strerror(errno) : why);
        r->n = 0;
        return 0;
      }
      if (!r->n) {
        gzerror(r->f, &code);
        if (code == Z_BUF_ERROR) {
          chx_scope_fail(s, CHX_EIO, "%s: line %lld: the compressed file ends too early", r->path,
                         (long long)r->number + 1);
          return 0;
        }
        break;
      }
    }
    char c = r->buf[r->at++];
    any = 1;
    if (c == '\n') break;
    if (n + 2 > r->cap) {
      size_t cap = r->cap ? 2 * r->cap : 4096;
      char *line = realloc(r->line, cap);
      if (!line) {
        nn_nomem(s, r->path);
        return 0;
      }
      r->line = line;
      r->cap = cap;
    }
    r->line[n++] = c;
  }
  if (!any) return 0;
  if (!r->line) return r->number++, 1; /* an empty first line; r->line is still NULL */
  while (n && (r->line[n - 1] == '\r' || r->line[n - 1] == ' ')) n--;
  r->line[n] = 0;
  if (!r->number && !strncmp(r->line, "\xef\xbb\xbf", 3)) memmove(r->line, r->line + 3, n - 2); /* byte order mark */
  r->number++;
  return 1;
}

/* Takes one cell off *p, in place: without blanks and quotes. NULL: the line has no more. */
static char *next_cell(char **p, char sep)
{
  char *a = *p, *e, *end;

  if (!a) return NULL;
  while (*a == ' ') a++;
  if (*a == '"') {
    e = strchr(++a, '"');
    if (!e) e = a + strlen(a);
    end = strchr(e, sep);
  } else {
    end = strchr(a, sep);
    e = end ? end : a + strlen(a);
    while (e > a && e[-1] == ' ') e--;
  }
  *p = end ? end + 1 : NULL;
  *e = 0;
  return a;
}

static int parse(const reader *r, const char *cell, double *v)
{
  char *end;

  *v = strtod_l(cell, &end, r->c);
  return *cell && !*end && isfinite(*v);
}

static int is_header(const reader *r)
{
  char *copy = chxi_nn_strdup(r->line), *p = copy, *cell;
  int any = 0, header = 1;
  double v;

  while (copy && (cell = next_cell(&p, r->sep))) {
    any = 1;
    header &= !parse(r, cell, &v);
  }
  free(copy);
  return any && header;
}

static int grow(chx_scope *s, reader *r)
{
  if (r->n_x + 1 > r->cap_x) {
    size_t cap = r->cap_x ? 2 * r->cap_x : 1 << 14;
    float *x = realloc(r->x, cap * sizeof *x);
    if (!x) return nn_nomem(s, r->path), 0;
    r->x = x;
    r->cap_x = cap;
  }
  if (r->items + 1 > r->cap_t) {
    size_t cap = r->cap_t ? 2 * r->cap_t : 1 << 10;
    int64_t *t = realloc(r->t, cap * sizeof *t);
    if (!t) return nn_nomem(s, r->path), 0;
    r->t = t;
    r->cap_t = cap;
  }
  return 1;
}

static void bad_cell(chx_scope *s, const reader *r, int64_t column, const char *cell, const char *want)
{
  chx_scope_fail(s, CHX_EARG, "%s:%lld: column %lld: '%.60s' is not %s", r->path, (long long)r->number,
                 (long long)column, cell, want);
}

static void read_item(chx_scope *s, reader *r)
{
  char *p = r->line, *cell;
  double v;
  int64_t columns = 1;

  for (char *c = r->line; *c; c++) columns += *c == r->sep;
  if (!r->columns) r->columns = columns;
  if (columns != r->columns) {
    chx_scope_fail(s, CHX_EARG, "%s:%lld: the line has %lld cells, want %lld as in the lines before", r->path,
                   (long long)r->number, (long long)columns, (long long)r->columns);
    return;
  }
  for (int64_t k = 1; (cell = next_cell(&p, r->sep)) && !chx_scope_error(s); k++) {
    if (!parse(r, cell, &v)) {
      bad_cell(s, r, k, cell, "a number");
    } else if (!grow(s, r)) {
      return;
    } else if (k < columns) {
      r->x[r->n_x++] = (float)v;
    } else {
      if (v < 0 || v != floor(v) || v > 1e9) bad_cell(s, r, k, cell, "a label, an integer >= 0");
      r->t[r->items++] = (int64_t)(v >= 0 && v <= 1e9 ? v : 0);
    }
  }
}

static void read_lines(chx_scope *s, reader *r)
{
  int first = 1;

  while (!chx_scope_error(s) && next_line(s, r)) {
    const char *a = r->line ? r->line + strspn(r->line, " \t") : "";
    if (!*a || *a == '#') continue;
    if (!r->sep) r->sep = strchr(a, ',') ? ',' : strchr(a, ';') ? ';' : '\t';
    if (!(first && is_header(r))) read_item(s, r);
    first = 0;
  }
  if (!chx_scope_error(s) && !r->items)
    chx_scope_fail(s, CHX_EARG, "%s: there are no items, want lines of numbers, the last the label", r->path);
  if (!chx_scope_error(s) && r->columns < 2)
    chx_scope_fail(s, CHX_EARG, "%s:%lld: a line has 1 cell, want numbers divided by commas and a label", r->path,
                   (long long)r->number);
}

chx_nn_dataset *chx_nn_load_csv(chx_scope *s, const char *path)
{
  reader r = {.path = path};
  chx_nn_dataset *d = NULL;
  size_t mark = chx_scope_mark(s);

  if (!nn_need(s, path, "chx_nn_load_csv", "path")) return NULL;
  errno = 0;
  r.f = gzopen(path, "rbe");
  if (!r.f) {
    chx_scope_fail(s, CHX_EIO, "%s: %s", path, errno ? strerror(errno) : "out of memory");
    return NULL;
  }
  r.c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  r.buf = malloc(CHUNK);
  if (!r.c || !r.buf) nn_nomem(s, path);
  else read_lines(s, &r);
  if (!chx_scope_error(s)) {
    int64_t n = (int64_t)r.items, shape[2] = {n, r.columns - 1};
    chx_array *x = chx_wrap(s, CHX_F32, 2, shape, NULL, r.x, NULL, NULL),
              *t = chx_wrap(s, CHX_I64, 1, &n, NULL, r.t, NULL, NULL);
    d = chx_nn_dataset_new(s, chx_copy(s, x), chx_copy(s, t)); /* on native:0, where wrapped memory is */
  }
  gzclose(r.f);
  if (r.c) freelocale(r.c);
  chx_scope_rewind(s, mark, NULL);
  free(r.buf);
  free(r.line);
  free(r.x);
  free(r.t);
  return d;
}
