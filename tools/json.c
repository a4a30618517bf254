/* SPDX-License-Identifier: MIT
 * json.c: the writer. An array of plain numbers or strings stays on its line; objects are one member a line.
 */
#include "json.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

json json_begin(FILE *f)
{
  return (json){.f = f};
}

void json_end(json *j)
{
  fputc('\n', j->f);
}

/* Bytes of the UTF-8 character at p, 0 if it is none (overlong forms and surrogates included). */
static int utf8_length(const unsigned char *p)
{
  static const struct { unsigned char mask, lead, low, high; int n; } form[] = {
    {0xff, 0xe0, 0xa0, 0xbf, 3}, {0xff, 0xed, 0x80, 0x9f, 3}, {0xf0, 0xe0, 0x80, 0xbf, 3},
    {0xff, 0xf0, 0x90, 0xbf, 4}, {0xff, 0xf4, 0x80, 0x8f, 4}, {0xfc, 0xf0, 0x80, 0xbf, 4},
  };

  if (p[0] < 0x80)
    return 1;
  if (p[0] >= 0xc2 && p[0] <= 0xdf)
    return (p[1] & 0xc0) == 0x80 ? 2 : 0;
  for (size_t i = 0; i < sizeof form / sizeof form[0]; i++) {
    if ((p[0] & form[i].mask) != form[i].lead)
      continue;
    if (p[1] < form[i].low || p[1] > form[i].high)
      return 0;
    for (int k = 2; k < form[i].n; k++)
      if ((p[k] & 0xc0) != 0x80)
        return 0;
    return form[i].n;
  }
  return 0;
}

static void write_string(FILE *f, const char *v)
{
  const unsigned char *p = (const unsigned char *)v;

  fputc('"', f);
  while (*p) {
    int n = utf8_length(p);
    if (n == 0) {
      fputs("\\ufffd", f);
      n = 1;
    } else if (*p == '"' || *p == '\\') {
      fprintf(f, "\\%c", *p);
    } else if (*p == '\n') {
      fputs("\\n", f);
    } else if (*p == '\t') {
      fputs("\\t", f);
    } else if (*p < 0x20 || *p == 0x7f) {
      fprintf(f, "\\u%04x", *p);
    } else {
      fwrite(p, 1, (size_t)n, f);
    }
    p += n;
  }
  fputc('"', f);
}

/* The comma, the line and the key before a value. */
static void lead(json *j, const char *key, int new_line)
{
  if (j->n++)
    fputs(new_line || key ? "," : ", ", j->f);
  if (j->depth && (new_line || key))
    fprintf(j->f, "\n%*s", 2 * j->depth, "");
  if (key) {
    write_string(j->f, key);
    fputs(": ", j->f);
  }
}

static void begin(json *j, const char *key, char bracket)
{
  lead(j, key, 1);
  fputc(bracket, j->f);
  j->depth++;
  j->n = 0;
}

static void end(json *j, const char *tail)
{
  j->depth--;
  fprintf(j->f, "%s", tail);
  j->n = 1; /* the parent has at least this one */
}

void json_object(json *j, const char *key)
{
  begin(j, key, '{');
}

void json_object_end(json *j)
{
  if (j->n)
    fprintf(j->f, "\n%*s", 2 * (j->depth - 1), "");
  end(j, "}");
}

void json_array(json *j, const char *key)
{
  begin(j, key, '[');
}

void json_array_end(json *j)
{
  end(j, "]");
}

void json_string(json *j, const char *key, const char *v)
{
  lead(j, key, 0);
  if (v)
    write_string(j->f, v);
  else
    fputs("null", j->f);
}

void json_real(json *j, const char *key, double v)
{
  char text[32];

  lead(j, key, 0);
  if (!isfinite(v)) {
    fputs("null", j->f);
    return;
  }
  for (int digits = 6; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, v);
    if (strtod(text, NULL) == v)
      break;
  }
  fprintf(j->f, "%s%s", text, strpbrk(text, ".e") ? "" : ".0"); /* readers keep it a real */
}

void json_whole(json *j, const char *key, int64_t v)
{
  lead(j, key, 0);
  fprintf(j->f, "%lld", (long long)v);
}

void json_bool(json *j, const char *key, int v)
{
  lead(j, key, 0);
  fputs(v ? "true" : "false", j->f);
}
