/* SPDX-License-Identifier: MIT
 * support.c: `chx conform --mode support`: for each operator and dtype the route that it takes on the device, as a
 * Markdown table and as JSON. What the documentation shows of a backend is this output.
 */
#include "cases.h"
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

static const struct route { int number; char letter; const char *meaning; } routes[] = {
  {CHX_ROUTE_KERNEL, 'K', "the plugin's own kernel"},
  {CHX_ROUTE_ADAPTED, 'A', "the plugin's own kernel, through f32"},
  {CHX_ROUTE_COMPOSED, 'C', "composed of operators that are on the device"},
  {CHX_ROUTE_VIEW, 'V', "a view, no work"},
  {CHX_ROUTE_MAPPED, 'm', "native's kernel on the device's memory"},
  {CHX_ROUTE_STAGED, 's', "native's kernel on copies"},
};
enum { ROUTES = sizeof routes / sizeof *routes };

static const struct route *route_of(chx_scope *s, const chx_op *op, int dtype)
{
  if (chx_op_n_inputs(op) && !(chx_op_dtypes(op) & CHX_BIT(dtype))) return NULL;
  int r = chx_explain(s, op, NULL, dtype, NULL, 0);
  for (int i = 0; i < ROUTES; i++)
    if (routes[i].number == r) return &routes[i];
  return NULL;
}

static bool real_dtype(int dtype) { return CHX_ANY_REAL & CHX_BIT(dtype); }

static void write_markdown(conform *c, chx_scope *s, FILE *f)
{
  int count[ROUTES] = {0};
  fprintf(f, "Operators on `%s`\n\n| operator |", c->spec);
  for (int d = 1; d < CHX_DTYPE_END; d++)
    if (real_dtype(d)) fprintf(f, " %s |", chx_dtype_name(d));
  fprintf(f, "\n|---|");
  for (int d = 1; d < CHX_DTYPE_END; d++)
    if (real_dtype(d)) fprintf(f, "---|");
  for (int i = 0; i < chx_op_count(); i++) {
    const chx_op *op = chx_op_at(i);
    if (c->op_glob && fnmatch(c->op_glob, chx_op_name(op), 0)) continue;
    fprintf(f, "\n| %s |", chx_op_name(op));
    for (int d = 1; d < CHX_DTYPE_END; d++) {
      if (!real_dtype(d)) continue;
      const struct route *r = route_of(s, op, d);
      fprintf(f, " %c |", r ? r->letter : ' ');
      if (r) count[r - routes]++;
    }
  }
  fprintf(f, "\n\n");
  for (int i = 0; i < ROUTES; i++)
    if (count[i]) fprintf(f, "%c: %s (%d)  \n", routes[i].letter, routes[i].meaning, count[i]);
  fprintf(f, "Blank: the operator does not take the dtype; operands of it are promoted first.\n");
}

static void write_json(conform *c, chx_scope *s, FILE *f)
{
  const char *comma = "";
  fprintf(f, "{\"device\": \"%s\", \"chx\": \"%s\", \"operators\": [", c->spec, chx_version());
  for (int i = 0; i < chx_op_count(); i++) {
    const chx_op *op = chx_op_at(i);
    const char *inner = "";
    if (c->op_glob && fnmatch(c->op_glob, chx_op_name(op), 0)) continue;
    fprintf(f, "%s\n  {\"name\": \"%s\", \"version\": %d, \"differentiable\": %s, \"routes\": {", comma, chx_op_name(op),
            chx_op_version(op), chx_op_is_differentiable(op) ? "true" : "false");
    for (int d = 1; d < CHX_DTYPE_END; d++) {
      const struct route *r = real_dtype(d) ? route_of(s, op, d) : NULL;
      if (!r) continue;
      fprintf(f, "%s\"%s\": \"%s\"", inner, chx_dtype_name(d), chx_route_name(r->number));
      inner = ", ";
    }
    fprintf(f, "}}");
    comma = ",";
  }
  fprintf(f, "\n]}\n");
}

static bool write_to(conform *c, chx_scope *s, const char *path, void (*fn)(conform *, chx_scope *, FILE *))
{
  bool out = !path || !strcmp(path, "-");
  FILE *f = out ? stdout : fopen(path, "w");
  if (f) fn(c, s, f);
  bool good = f && !ferror(f) && !fflush(f);
  if (f && !out && fclose(f)) good = false;
  if (!good) fprintf(stderr, "chx conform: %s: %s\n", out ? "standard output" : path, strerror(errno));
  return good;
}

/* NULL and "-" are standard output; without any path it gets the Markdown. */
int conform_support(conform *c, const char *markdown, const char *json)
{
  chx_scope *s = chx_scope_begin("native:0");
  if (chx_load_plugin(s, c->file) || chx_scope_set_device(s, c->spec)) {
    fprintf(stderr, "chx conform: %s\n", chx_scope_message(s));
    chx_scope_end(s);
    return 2;
  }
  bool good = (json && !markdown) || write_to(c, s, markdown, write_markdown);
  if (json) good = write_to(c, s, json, write_json) && good;
  chx_scope_end(s);
  return good ? 0 : 1;
}
