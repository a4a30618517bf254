/* SPDX-License-Identifier: MIT
 * cmd_ops.c: `chx ops`: the operator table, and the route that each operator takes on a device.
 */
#include "cli.h"
#include "json.h"
#include <string.h>

enum { WIDTH = 100, MAX_NAMES = 64 };

typedef struct ops_args {
  const char *device;
  int dtype, why, json;
} ops_args;

#define AT(field) .offset = offsetof(ops_args, field)
static const cli_option options[] = {
  {.name = "device", .type = CLI_DEVICE, AT(device), .arg = "D",
   .doc = "the device whose routes are shown; default $CHX_DEVICE, else native:0"},
  {.name = "dtype", .type = CLI_DTYPE, AT(dtype), .arg = "T",
   .doc = "the operands' dtype; default f32 or, where an operator does not take it, i64, bool or u32"},
  {.name = "why", .type = CLI_FLAG, AT(why), .doc = "say why a route was taken, in place of what the operator does"},
  {.name = "json", .type = CLI_FLAG, AT(json), .doc = "print one JSON object"},
  {0},
};

typedef struct op_route {
  const chx_op *op;
  int route, dtype;
  char reason[512];
} op_route;

/* The route of op for the dtype that the user named, else for the first usual one that the operator takes. */
static op_route explain(chx_scope *s, const chx_op *op, int dtype)
{
  static const int usual[] = {CHX_F32, CHX_I64, CHX_BOOL, CHX_U32};
  op_route r = {.op = op, .dtype = dtype};

  for (int i = 0; i < 4 && !r.dtype; i++)
    if (chx_op_dtypes(op) & CHX_BIT(usual[i]))
      r.dtype = usual[i];
  if (!r.dtype)
    r.dtype = CHX_F32;
  r.route = chx_explain(s, op, chx_scope_device(s), r.dtype, r.reason, sizeof r.reason);
  return r;
}

/* Prints text, cut to what is left of the line. */
static void print_cut(const char *text, int room)
{
  int n = (int)strcspn(text, "\n");

  if (n > room)
    printf("%.*s...\n", room - 3, text);
  else
    printf("%.*s\n", n, text);
}

static void print_row(const op_route *r, int dtype, int why)
{
  char dtypes[128], route[32];

  /* a dtype that the user did not name and would not expect is told */
  snprintf(route, sizeof route, "%s%s%s", r->route == CHX_ROUTE_NONE ? "-" : chx_route_name(r->route),
           dtype || r->dtype == CHX_F32 ? "" : " ", dtype || r->dtype == CHX_F32 ? "" : chx_dtype_name(r->dtype));
  printf("%-22s  %-12.12s  %-13s ", chx_op_name(r->op), cli_dtypes(chx_op_dtypes(r->op), 1, dtypes), route);
  print_cut(why ? r->reason : chx_op_doc(r->op), WIDTH - 52);
}

static void json_row(json *j, const op_route *r)
{
  uint64_t set = chx_op_dtypes(r->op);

  json_object(j, NULL);
  json_string(j, "name", chx_op_name(r->op));
  json_array(j, "dtypes");
  for (int t = 1; t < CHX_DTYPE_END; t++)
    if (set & CHX_BIT(t))
      json_string(j, NULL, chx_dtype_name(t));
  json_array_end(j);
  json_string(j, "route", chx_route_name(r->route));
  json_object_end(j);
}

/* One operator in full: operands, attributes, what it does, the route and why. */
static void print_whole(const op_route *r)
{
  static const char *const type[] = {"?", "i64", "f64", "bool", "dtype", "ints", "program"};
  const chx_op *op = r->op;
  char dtypes[128];

  printf("%s: %s\n", chx_op_name(op), chx_op_doc(op));
  for (int i = 0; i < chx_op_n_inputs(op); i++) {
    int f = chx_op_input_flags(op, i);
    printf("  in   %-10s%s%s\n", chx_op_input_name(op, i), f & CHX_OPERAND_OPTIONAL ? " optional" : "",
           f & CHX_OPERAND_VARIADIC ? " any number" : "");
  }
  for (int i = 0; i < chx_op_n_outputs(op); i++)
    printf("  out  %s\n", chx_op_output_name(op, i));
  for (int i = 0; i < chx_op_n_attrs(op); i++) {
    const chx_op_attr *a = chx_op_attr_at(op, i);
    char def[32] = "none";
    if (a->type == CHX_ATTR_DTYPE && a->def == 0)
      snprintf(def, sizeof def, "-");
    else if (a->type != CHX_ATTR_INTS && a->type != CHX_ATTR_PROGRAM)
      snprintf(def, sizeof def, "%g", a->def);
    printf("  attr %-10s %-7s default %-5s  %s\n", a->name, a->type >= 1 && a->type <= 6 ? type[a->type] : type[0], def,
           a->doc);
  }
  printf("  takes %s%s%s%s%s\n", cli_dtypes(chx_op_dtypes(op), 0, dtypes),
         chx_op_is_differentiable(op) ? "; differentiable" : "", chx_op_is_composite(op) ? "; can be composed" : "",
         chx_op_is_view(op) ? "; gives a view" : "", chx_op_is_elementwise(op) ? "; elementwise" : "");
  printf("  route %s%s%s\n", r->route == CHX_ROUTE_NONE ? "-" : chx_route_name(r->route), *r->reason ? ": " : "",
         r->reason);
}

static int unknown_op(const cli_command *c, const char *name)
{
  cli_guess g = cli_guess_of(name);

  for (int i = 0; i < chx_op_count(); i++)
    cli_guess_try(&g, chx_op_name(chx_op_at(i)));
  if (g.best)
    return cli_usage(c, "there is no operator '%s'; did you mean %s?", name, g.best);
  return cli_usage(c, "there is no operator '%s'; 'chx ops' lists all", name);
}

static int list(const cli_command *c, chx_scope *s, const ops_args *a, const chx_op *const *ops, int n)
{
  int total = n ? n : chx_op_count(), counts[CHX_ROUTE_STAGED + 1] = {0};
  json j = json_begin(stdout);

  if (a->json) {
    json_object(&j, NULL);
    json_string(&j, "device", chx_scope_device(s));
    json_array(&j, "ops");
  } else if (!n) {
    printf("%-22s  %-12s  %-13s %s\n", "operator", "dtypes", "route", a->why ? "why" : "what it does");
  }
  for (int i = 0; i < total; i++) {
    op_route r = explain(s, n ? ops[i] : chx_op_at(i), a->dtype);
    if (chx_scope_error(s)) /* the device went, say; the JSON is left open, and the exit code tells */
      return cli_scope_fail(c, s);
    if (r.route >= 0 && r.route <= CHX_ROUTE_STAGED)
      counts[r.route]++;
    if (a->json)
      json_row(&j, &r);
    else if (n)
      print_whole(&r);
    else
      print_row(&r, a->dtype, a->why);
  }
  if (a->json) {
    json_array_end(&j);
    json_object_end(&j);
    json_end(&j);
  } else if (!n) {
    printf("\n%d operators on %s:", total, chx_scope_device(s));
    for (int k = 1, first = 1; k <= CHX_ROUTE_STAGED; k++)
      if (counts[k]) {
        printf("%s %d %s", first ? "" : ",", counts[k], chx_route_name(k));
        first = 0;
      }
    if (counts[CHX_ROUTE_NONE])
      printf("; %d do not take the dtype", counts[CHX_ROUTE_NONE]);
    putchar('\n');
  }
  return CLI_OK;
}

static int run(const cli_command *c, int argc, char **argv)
{
  ops_args a = {0};
  const char *words[MAX_NAMES];
  const chx_op *ops[MAX_NAMES];
  int code, n = cli_parse(c, argc, argv, &a, words, &code);
  chx_scope *s;

  if (n < 0)
    return code;
  cli_log(0);
  s = chx_scope_begin(a.device); /* first, since the device's plugin may bring operators */
  code = chx_scope_error(s) ? cli_scope_fail(c, s) : CLI_OK;
  for (int i = 0; i < n && code == CLI_OK; i++)
    if (!(ops[i] = chx_op_find(words[i])))
      code = unknown_op(c, words[i]);
  if (code == CLI_OK)
    code = list(c, s, &a, ops, n);
  chx_scope_end(s);
  return code;
}

const cli_command cmd_ops = {
  .name = "ops",
  .words = "[NAME...]",
  .max_words = MAX_NAMES,
  .brief = "every operator, and the route it takes on a device",
  .about = "List every operator, the dtypes it takes, and the route it takes on a device: view, kernel, adapted, "
           "composed, mapped or staged. With names, show these operators in full: operands, attributes, route and why.",
  .options = options,
  .examples = "  chx ops\n"
              "  chx ops --device sample:0 --why\n"
              "  chx ops conv softmax\n"
              "  chx ops --device cuda:0 --dtype f16 --json\n",
  .run = run,
};
