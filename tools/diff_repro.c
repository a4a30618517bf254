/* SPDX-License-Identifier: MIT
 * diff_repro.c: a recorded call as files: its operands in an archive, and a C program of its own that makes the call on two
 * devices. The program uses nothing but <chx/chx.h>.
 */
#include "diff.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char head[] =
  "#include <chx/chx.h>\n"
  "#include <math.h>\n"
  "#include <stdio.h>\n"
  "#include <stdlib.h>\n"
  "#include <string.h>\n\n";

static const char set_function[] =
  "static union { uint32_t head[2]; int64_t room[512]; } attr; /* head: size, kind */\n\n"
  "static void set(const chx_op *op, const char *name, const void *value, size_t bytes)\n"
  "{\n"
  "  for (int i = 0; i < chx_op_n_attrs(op); i++)\n"
  "    if (strcmp(chx_op_attr_at(op, i)->name, name) == 0)\n"
  "      memcpy((char *)&attr + chx_op_attr_at(op, i)->offset, value, bytes);\n"
  "}\n\n";

static const char tail[] =
  "/* The outputs on one device, read into values as doubles. */\n"
  "static chx_scope *apply(const chx_op *op, const char *device, const char *path, chx_array **out)\n"
  "{\n"
  "  chx_scope *s = chx_scope_begin(device);\n"
  "  const chx_array *in[CHX_MAX_OPERANDS] = {NULL};\n\n"
  "  operands(s, path, in);\n"
  "  chx_apply(s, op, in, N_IN, ATTR, out, chx_op_n_outputs(op));\n"
  "  for (int o = 0; o < chx_op_n_outputs(op); o++)\n"
  "    if (out[o])\n"
  "      out[o] = chx_cast(s, chx_to(s, out[o], \"native:0\"), CHX_F64);\n"
  "  if (chx_scope_error(s))\n"
  "    fprintf(stderr, \"%s: %s\\n\", device, chx_scope_message(s));\n"
  "  return s;\n"
  "}\n\n"
  "static double *values(chx_scope *s, const chx_array *a)\n"
  "{\n"
  "  double *v = malloc((size_t)chx_nbytes(a) + 1);\n\n"
  "  if (v)\n"
  "    chx_read(s, a, v, (size_t)chx_nbytes(a));\n"
  "  return v;\n"
  "}\n\n"
  "/* How many elements differ, and the two that are farthest apart. */\n"
  "static int64_t compare(const char *name, const double *a, const double *b, int64_t n)\n"
  "{\n"
  "  int64_t count = 0, worst = -1;\n"
  "  double most = -1;\n\n"
  "  for (int64_t i = 0; i < n; i++) {\n"
  "    double d = fabs(a[i] - b[i]);\n"
  "    if (a[i] == b[i] || (isnan(a[i]) && isnan(b[i])))\n"
  "      continue;\n"
  "    count++;\n"
  "    if (!(d <= most)) {\n"
  "      most = d;\n"
  "      worst = i;\n"
  "    }\n"
  "  }\n"
  "  printf(\"%s: %lld of %lld elements differ\", name, (long long)count, (long long)n);\n"
  "  if (worst >= 0)\n"
  "    printf(\"; element %lld is %.17g on %s and %.17g on %s, %.3g apart\", (long long)worst, a[worst], A, b[worst], B, most);\n"
  "  putchar('\\n');\n"
  "  return count;\n"
  "}\n\n"
  "int main(int argc, char **argv)\n"
  "{\n"
  "  const char *path = argc > 1 ? argv[1] : INPUTS;\n"
  "  const chx_op *op = chx_op_find(OP);\n"
  "  chx_array *a[16] = {NULL}, *b[16] = {NULL};\n"
  "  int64_t differ = 0;\n\n"
  "  if (!op) {\n"
  "    fprintf(stderr, \"this libchx has no operator %s\\n\", OP);\n"
  "    return 2;\n"
  "  }\n"
  "  chx_scope *sa = chx_scope_begin(A); /* a plugin that brings the operator is loaded with its device */\n"
  "  chx_scope_end(sa);\n"
  "SET  sa = apply(op, A, path, a);\n"
  "  chx_scope *sb = apply(op, B, path, b);\n"
  "  if (chx_scope_error(sa) || chx_scope_error(sb))\n"
  "    return 2;\n"
  "  for (int o = 0; o < chx_op_n_outputs(op); o++) {\n"
  "    if (!a[o] || !b[o])\n"
  "      continue;\n"
  "    double *va = values(sa, a[o]), *vb = values(sb, b[o]);\n"
  "    if (va && vb)\n"
  "      differ += compare(chx_op_output_name(op, o), va, vb, chx_size(a[o]));\n"
  "    free(va);\n"
  "    free(vb);\n"
  "  }\n"
  "  chx_scope_end(sa);\n"
  "  chx_scope_end(sb);\n"
  "  return differ != 0; /* 0: the same values; 1: they differ; 2: it could not run */\n"
  "}\n";

/* ---- the attribute ------------------------------------------------------------------------------------------------ */

static void write_field(FILE *f, const chx_op_attr *a, const char *attr)
{
  const char *at = attr + a->offset;
  const chx_ints *list = (const chx_ints *)at;
  const chx_program *program = (const chx_program *)at;

  if ((a->type == CHX_ATTR_INTS || a->type == CHX_ATTR_PROGRAM) && !*(const int64_t *)at)
    return; /* not given, as all of attr is to begin with */
  fprintf(f, "  set(op, \"%s\", ", a->name);
  if (a->type == CHX_ATTR_INTS) {
    fputs("&CHX_INTS(", f);
    for (int64_t i = 0; i < list->n; i++)
      if (list->v[i] == INT64_MIN)
        fprintf(f, "%sINT64_MIN", i ? ", " : "");
      else
        fprintf(f, "%s%" PRId64, i ? ", " : "", list->v[i]);
    fputs("), sizeof(chx_ints));\n", f);
  } else if (a->type == CHX_ATTR_PROGRAM) {
    fprintf(f, "&(chx_program){%" PRId64 ", {", program->n);
    for (int64_t i = 0; i < program->n; i++) {
      const chx_map_step *s = &program->step[i];
      fprintf(f, "%s{\"%.*s\", %d, %d, %d, %d}", i ? ", " : "", (int)sizeof s->op, s->op, s->x, s->y, s->z, s->reserved);
    }
    fputs("}}, sizeof(chx_program));\n", f);
  } else if (a->type == CHX_ATTR_F64) {
    fprintf(f, "&(double){%a}, sizeof(double));\n", *(const double *)at);
  } else {
    fprintf(f, "&(int64_t){%" PRId64 "}, sizeof(int64_t));\n", *(const int64_t *)at);
  }
}

static void write_attr(FILE *f, const diff_call *c)
{
  fprintf(f, "  attr.head[0] = %uu;\n  attr.head[1] = %uu;\n", ((const uint32_t *)c->attr)[0], ((const uint32_t *)c->attr)[1]);
  for (int i = 0; i < chx_op_n_attrs(c->op); i++)
    write_field(f, chx_op_attr_at(c->op, i), c->attr);
}

/* ---- the operands ------------------------------------------------------------------------------------------------- */

static void write_scalar(FILE *f, int i, const diff_operand *x, chx_scope *host)
{
  chx_array *a = chx_from_host(host, x->dtype, 0, NULL, x->data);

  if (CHX_BIT(x->dtype) & CHX_FLOATS) {
    double v = chx_item(host, a);
    if (v != v || v - v != 0) /* NaN and Inf have no literals */
      fprintf(f, "  in[%d] = chx_real(s, %s);\n", i, v != v ? "NAN" : v > 0 ? "INFINITY" : "-INFINITY");
    else
      fprintf(f, "  in[%d] = chx_real(s, %a);\n", i, v);
  } else
    fprintf(f, "  in[%d] = chx_%s(s, %" PRId64 ");\n", i, x->dtype == CHX_BOOL ? "bool" : "int", chx_item_int(host, a));
}

static void write_operand(FILE *f, int i, const diff_operand *x, chx_scope *host)
{
  bool moved = false, repeated = false;
  int back[CHX_MAX_RANK];

  if (x->ndim < 0)
    return;
  if (x->is_scalar) {
    write_scalar(f, i, x, host);
    return;
  }
  for (int k = 0; k < x->ndim; k++) {
    back[x->axis[k]] = k;
    moved |= x->axis[k] != k;
    repeated |= x->stored[k] != x->shape[x->axis[k]];
  }
  fprintf(f, "  in[%d] = chx_npz_get(s, z, \"in%d\");\n", i, i);
  if (moved) {
    fprintf(f, "  in[%d] = chx_transpose(s, in[%d], %d, (const int[]){", i, i, x->ndim);
    for (int k = 0; k < x->ndim; k++)
      fprintf(f, "%s%d", k ? ", " : "", back[k]);
    fputs("});\n", f);
  }
  if (repeated) {
    fprintf(f, "  in[%d] = chx_broadcast_to(s, in[%d], %d, (const int64_t[]){", i, i, x->ndim);
    for (int k = 0; k < x->ndim; k++)
      fprintf(f, "%s%" PRId64, k ? ", " : "", x->shape[k]);
    fputs("});\n", f);
  }
}

static int count_stored(const diff_call *c)
{
  int n = 0;

  for (int i = 0; i < c->n_in; i++)
    n += c->in[i].ndim >= 0 && !c->in[i].is_scalar;
  return n;
}

static void write_operands(FILE *f, const diff_call *c, chx_scope *host)
{
  bool stored = count_stored(c) > 0;

  fputs("static void operands(chx_scope *s, const char *path, const chx_array **in)\n{\n", f);
  fputs(stored ? "  chx_npz *z = chx_npz_open(s, path);\n\n" : "  (void)s, (void)path, (void)in;\n", f);
  for (int i = 0; i < c->n_in; i++)
    write_operand(f, i, &c->in[i], host);
  fputs(stored ? "  chx_npz_close(z);\n}\n\n" : "}\n\n", f);
}

static chx_status save_operands(chx_scope *host, const diff_call *c, const char *path)
{
  const chx_array *arrays[CHX_MAX_OPERANDS];
  const char *names[CHX_MAX_OPERANDS];
  char name[CHX_MAX_OPERANDS][16];
  int n = 0;

  for (int i = 0; i < c->n_in; i++) {
    const diff_operand *x = &c->in[i];
    if (x->ndim < 0 || x->is_scalar)
      continue;
    snprintf(name[n], sizeof name[n], "in%d", i);
    names[n] = name[n];
    arrays[n++] = chx_from_host(host, x->dtype, x->ndim, x->stored, x->data);
  }
  return chx_save_npz(host, path, n, names, arrays, 0);
}

/* ---- the program -------------------------------------------------------------------------------------------------- */

/* found, as lines of a comment: no end of one is in it. */
static void write_comment(FILE *f, const char *found)
{
  for (; *found; found++)
    if (found[0] == '*' && found[1] == '/')
      fputs("* ", f);
    else if (*found == '\n')
      fputs("\n * ", f);
    else
      fputc(*found, f);
}

static void write_program(FILE *f, const diff_call *c, const char *a, const char *b, const char *found, chx_scope *host)
{
  const char *op = chx_op_name(c->op), *set = strstr(tail, "SET");

  fprintf(f, "/* %s on %s and on %s, from the operands in %s.npz. Written by chx diff, which found:\n * ", op, a, b, op);
  write_comment(f, found);
  fprintf(f, "\n *\n *   cc %s.c -o %s $(pkg-config --cflags --libs chx) -lm && ./%s %s.npz\n */\n", op, op, op, op);
  fputs(head, f);
  fprintf(f, "#define OP \"%s\"\n#define A \"%s\"\n#define B \"%s\"\n#define INPUTS \"%s.npz\"\n", op, a, b, op);
  fprintf(f, "#define N_IN %d\n#define ATTR %s\n\n", c->n_in, c->attr ? "&attr" : "NULL");
  if (c->attr)
    fputs(set_function, f);
  write_operands(f, c, host);
  fwrite(tail, 1, (size_t)(set - tail), f);
  if (c->attr)
    write_attr(f, c);
  fputs(set + 3, f);
}

chx_status diff_write(chx_scope *s, const diff_call *c, const char *a, const char *b, const char *dir, const char *found)
{
  char path[4096];
  FILE *f;
  bool failed;

  snprintf(path, sizeof path, "%s/%s.npz", dir, chx_op_name(c->op));
  if (count_stored(c) && save_operands(s, c, path))
    return chx_scope_error(s);
  snprintf(path, sizeof path, "%s/%s.c", dir, chx_op_name(c->op));
  f = fopen(path, "we");
  if (!f)
    return chx_scope_fail(s, CHX_EFAILED, "%s cannot be written: %s", path, strerror(errno));
  write_program(f, c, a, b, found, s);
  failed = ferror(f);
  if (fclose(f) || failed)
    return chx_scope_fail(s, CHX_EFAILED, "%s cannot be written: %s", path, strerror(errno));
  return chx_scope_error(s);
}
