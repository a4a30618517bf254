/* SPDX-License-Identifier: MIT
 * test_ops.c: every operator on every device against NumPy: the cases of tests/data/ops_*.npz, made by make_ops.py, where
 * their form is described.
 *
 *   test_ops [OPERATOR [DEVICE]]      all; a failing case is shown element by element
 *   CHX_TEST_DEVICES=cuda:0 test_ops  on these devices alone
 *
 * Each case runs with its operands dense, in Fortran order, reversed along every axis (negative strides) and as every
 * other element of a larger array. An operator of the table that has no case fails by its name.
 */
#include "check.h"

enum { MOST_IN = 8, MOST_OUT = 3, LAYOUTS = 4, MOST_OPS = 256 };
static const char *const layout_names[LAYOUTS] = {"dense", "Fortran order", "negative steps", "steps of 2"};
static const char *const files[] = {"ops_elementwise.npz", "ops_basic.npz", "ops_heavy.npz"};
static const char *const usual[] = {"native:0", "ref:0", "sim:0", "sample:0", "dnnl:0", "opencl:0"};
enum { FILES = sizeof files / sizeof *files, DEVICES = 16, USUAL = sizeof usual / sizeof *usual };

typedef struct values { /* an operand or an expected result */
  int dtype, stored, ndim; /* stored: the dtype of data; 0: a weak scalar, 'B', 'I' or 'F' in weak; -1: absent */
  char weak;
  int64_t shape[CHX_MAX_RANK], n;
  const char *data; /* NULL: not compared */
  double scalar;
} values;

typedef struct test_case {
  const chx_op *op;
  char label[80], attributes[400];
  double tolerance, unit;
  int n_in, n_out;
  values in[MOST_IN], out[MOST_OUT];
} test_case;

typedef struct tally { /* of one operator on one device */
  int cases, bad;
  double worst; /* error over what is allowed */
  char first[600];
} tally;

static char *texts[FILES], *blobs[FILES];
static tally tallies[DEVICES][MOST_OPS];
static const char *only_op;

/* ---- the cases ----------------------------------------------------------------------------------------------------- */

static char *load(const char *file, const char *name)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_npz *z = chx_npz_open(s, check_data(file));
  chx_array *a = chx_npz_get(s, z, name);
  char *text = NULL;
  if (a) {
    text = calloc(1, (size_t)chx_size(a) + 1);
    chx_read(s, a, text, (size_t)chx_size(a));
  }
  ok(text && !chx_scope_error(s), "%s: %s is read %s", file, name, chx_scope_message(s));
  chx_npz_close(z);
  chx_scope_end(s);
  return text;
}

/* Up to the next c, which is replaced by a zero and passed. */
static char *cut(char **p, char c)
{
  static char none[1];
  char *start = *p, *end = start ? strchr(start, c) : NULL;
  if (end) *end++ = 0;
  *p = end;
  return start ? start : none;
}

/* "f32[2,3]@16", "f16:f64[2]@80", "f16:~[2]@0", "I3", "-" */
static void parse_values(char *text, const char *blob, values *v)
{
  *v = (values){.n = 1};
  if (*text == '-') {
    v->stored = -1;
    return;
  }
  if (strchr("BIF", *text)) {
    v->weak = *text;
    v->scalar = strtod(text + 1, NULL);
    return;
  }
  char *dtype = cut(&text, strchr(text, ':') ? ':' : '[');
  v->dtype = v->stored = chx_dtype_find(dtype);
  if (strchr(text, '[')) v->stored = chx_dtype_find(cut(&text, '[')); /* a second dtype, before the shape */
  while (*text != ']') {
    v->shape[v->ndim] = strtoll(text, &text, 10);
    v->n *= v->shape[v->ndim++];
    if (*text == ',') text++;
  }
  if (v->stored) v->data = blob + strtoll(text + 2, NULL, 10);
}

static int parse_list(char *text, const char *blob, values *v, int most)
{
  int n = 0;
  while (text && *text && n < most) parse_values(cut(&text, ';'), blob, &v[n++]);
  return n;
}

static bool parse_case(char *line, const char *blob, test_case *t)
{
  char *p = line, *op = cut(&p, '|');
  memset(t, 0, sizeof *t);
  snprintf(t->label, sizeof t->label, "%s", cut(&p, '|'));
  t->tolerance = strtod(cut(&p, '|'), NULL);
  t->unit = strtod(cut(&p, '|'), NULL);
  snprintf(t->attributes, sizeof t->attributes, "%s", cut(&p, '|'));
  t->op = chx_op_find(op);
  t->n_in = parse_list(cut(&p, '|'), blob, t->in, MOST_IN);
  t->n_out = parse_list(p, blob, t->out, MOST_OUT);
  return t->op && t->n_out;
}

/* ---- attributes, by the operator's own schema ------------------------------------------------------------------------- */

static void set_program(chx_program *p, char *text)
{
  while (text) {
    char *step = cut(&text, ','), *name = cut(&step, ' ');
    chx_map_step *to = &p->step[p->n++];
    snprintf(to->op, sizeof to->op, "%s", name);
    to->x = (uint8_t)atoi(cut(&step, ' '));
    to->y = (uint8_t)atoi(cut(&step, ' '));
    to->z = (uint8_t)atoi(cut(&step, ' '));
  }
}

/* One attribute; false if the operator has none of the name. */
static bool set_attribute(const chx_op *op, char *attr, const char *name, char *text)
{
  if (!strcmp(name, "kind")) {
    const uint32_t kind = (uint32_t)atoi(text);
    memcpy(attr + 4, &kind, sizeof kind);
    return true;
  }
  for (int i = 0; i < chx_op_n_attrs(op); i++) {
    const chx_op_attr *a = chx_op_attr_at(op, i);
    void *field = attr + a->offset;
    if (strcmp(a->name, name)) continue;
    if (a->type == CHX_ATTR_PROGRAM) {
      set_program(field, text);
    } else if (a->type == CHX_ATTR_INTS) {
      chx_ints *list = field;
      while (text && *text) {
        const char *v = cut(&text, ',');
        list->v[list->n++] = strcmp(v, "none") ? strtoll(v, NULL, 10) : CHX_SLICE_NONE;
      }
    } else if (a->type == CHX_ATTR_F64) {
      *(double *)field = strtod(text, NULL);
    } else {
      *(int64_t *)field = a->type == CHX_ATTR_DTYPE ? chx_dtype_find(text) : strtoll(text, NULL, 10);
    }
    return true;
  }
  return false;
}

static bool set_attributes(const test_case *t, char *attr)
{
  char text[sizeof t->attributes], *p = text;
  const uint32_t size = chx_op_attr_size(t->op);
  memset(attr, 0, size);
  memcpy(attr, &size, sizeof size);
  for (int i = 0; i < chx_op_n_attrs(t->op); i++) {
    const chx_op_attr *a = chx_op_attr_at(t->op, i);
    if (a->type == CHX_ATTR_F64) memcpy(attr + a->offset, &a->def, sizeof a->def);
    if (a->type == CHX_ATTR_I64 || a->type == CHX_ATTR_BOOL || a->type == CHX_ATTR_DTYPE) *(int64_t *)(attr + a->offset) = (int64_t)a->def;
  }
  memcpy(text, t->attributes, sizeof text);
  while (p && *p) {
    char *value = cut(&p, ';'), *name = cut(&value, '=');
    if (!set_attribute(t->op, attr, name, value)) return false;
  }
  return true;
}

/* ---- operands ------------------------------------------------------------------------------------------------------------ */

/* v's elements so placed in a larger or otherwise ordered array that `layout`'s view of it shows v. */
static chx_array *operand(chx_scope *s, const values *v, int layout)
{
  if (v->stored < 0) return NULL;
  if (v->weak) return v->weak == 'F' ? chx_real(s, v->scalar) : v->weak == 'I' ? chx_int(s, (int64_t)v->scalar) : chx_bool(s, v->scalar != 0);
  if (!layout || !v->ndim) return chx_from_host(s, v->dtype, v->ndim, v->shape, v->data);
  const size_t size = (size_t)chx_dtype_size(v->dtype);
  const int last = v->ndim - 1;
  int64_t shape[CHX_MAX_RANK];
  for (int i = 0; i < v->ndim; i++) shape[i] = layout == 1 ? v->shape[last - i] : v->shape[i];
  if (layout == 3) shape[last] *= 2;
  const size_t bytes = (size_t)v->n * size * 2 + 1;
  char *data = malloc(bytes);
  memset(data, 0x5a, bytes);
  for (int64_t k = 0; k < v->n; k++) {
    int64_t index[CHX_MAX_RANK], rest = k, at = 0;
    for (int i = last; i >= 0; i--) {
      index[i] = rest % v->shape[i];
      rest /= v->shape[i];
    }
    if (layout == 1)
      for (int i = last; i >= 0; i--) at = at * v->shape[i] + index[i];
    else
      at = layout == 2 ? v->n - 1 - k : 2 * k + 1;
    memcpy(data + (size_t)at * size, v->data + (size_t)k * size, size);
  }
  chx_array *a = chx_from_host(s, v->dtype, v->ndim, shape, data);
  free(data);
  if (layout == 1) return chx_transpose(s, a, 0, NULL);
  if (layout == 2) return chx_flip(s, a, 0, NULL);
  return chx_slice_axis(s, a, last, 1, CHX_SLICE_NONE, 2);
}

/* ---- results -------------------------------------------------------------------------------------------------------------- */

/* The error over what is allowed, at most 1 if right; `at` is the worst element. */
static double compare(const test_case *t, const values *want, const char *got, int64_t *at)
{
  const struct check_type *f = check_type_of(want->dtype);
  const int size = chx_dtype_size(want->dtype), stored = chx_dtype_size(want->stored);
  double worst = 0;
  for (int64_t i = 0; i < want->n; i++) {
    double e;
    if (!f) {
      e = memcmp(got + i * size, want->data + i * stored, (size_t)size) ? INFINITY : 0;
    } else {
      const double x = check_load(got + i * size, want->dtype), y = check_load(want->data + i * stored, want->stored);
      e = check_error(x, y, want->dtype);
      if (isfinite(x) && isfinite(y) && t->unit > fabs(y)) e = fabs(x - y) / fmax(fabs(y), t->unit);
      e = e == 0 ? 0 : t->tolerance > 0 ? e / (t->tolerance * f->eps) : INFINITY;
    }
    if (!(e <= worst)) {
      worst = e;
      *at = i;
    }
  }
  return worst;
}

static void fail(tally *to, const test_case *t, const char *device, int layout, const char *format, ...)
{
  char text[300];
  va_list ap;
  va_start(ap, format);
  vsnprintf(text, sizeof text, format, ap);
  va_end(ap);
  if (!to->bad++ || only_op)
    snprintf(to->first, sizeof to->first, "%s on %s, %s %s{%.100s}: %s", chx_op_name(t->op), device, layout_names[layout], t->label,
             t->attributes, text);
  if (only_op) note("%s", to->first);
}

static void check_output(tally *to, const test_case *t, const char *device, int layout, int o, const chx_array *y)
{
  const values *want = &t->out[o];
  bool same = chx_dtype(y) == want->dtype && chx_ndim(y) == want->ndim;
  for (int i = 0; same && i < want->ndim; i++) same = chx_shape(y)[i] == want->shape[i];
  if (!same) {
    char got[200] = "", wanted[200] = "";
    for (int i = 0; i < chx_ndim(y); i++) snprintf(got + strlen(got), 20, "%s%lld", i ? "," : "", (long long)chx_shape(y)[i]);
    for (int i = 0; i < want->ndim; i++) snprintf(wanted + strlen(wanted), 20, "%s%lld", i ? "," : "", (long long)want->shape[i]);
    fail(to, t, device, layout, "output %d is %s[%s], want %s[%s]", o, chx_dtype_name(chx_dtype(y)), got, chx_dtype_name(want->dtype), wanted);
    return;
  }
  char *data = want->data ? check_read(y) : NULL;
  int64_t at = 0;
  if (want->data && !data) {
    fail(to, t, device, layout, "output %d cannot be read", o);
  } else if (data) {
    const double e = compare(t, want, data, &at);
    const int size = chx_dtype_size(want->dtype), stored = chx_dtype_size(want->stored);
    if (e > to->worst) to->worst = e;
    if (!(e <= 1))
      fail(to, t, device, layout, "output %d, element %lld: got %.17g, want %.17g, error %.3g of what is allowed", o, (long long)at,
           check_load(data + at * size, want->dtype), check_load(want->data + at * stored, want->stored), e);
  }
  free(data);
}

static void run_case(chx_scope *s, tally *to, const test_case *t, const char *device, int layout)
{
  char attr[4096];
  const size_t mark = chx_scope_mark(s);
  const chx_array *in[MOST_IN];
  chx_array *out[MOST_OUT] = {0};
  bool laid_out = !layout;
  for (int i = 0; i < t->n_in; i++) {
    in[i] = operand(s, &t->in[i], layout);
    laid_out |= t->in[i].ndim > 0 && !t->in[i].weak;
  }
  if (!laid_out) return; /* scalars alone have one layout */
  to->cases++;
  if (!set_attributes(t, attr)) {
    fail(to, t, device, layout, "an attribute is not in the operator's schema");
  } else if (chx_apply(s, t->op, in, t->n_in, chx_op_attr_size(t->op) ? attr : NULL, out, t->n_out)) {
    fail(to, t, device, layout, "%s", chx_scope_message(s));
  } else {
    for (int o = 0; o < t->n_out; o++) check_output(to, t, device, layout, o, out[o]);
  }
  chx_scope_clear(s);
  chx_scope_rewind(s, mark, NULL);
}

static void run_device(int d, const char *device)
{
  test_case t;
  chx_scope *s = chx_scope_begin(device);
  for (int f = 0; f < FILES; f++) {
    char *text = texts[f] ? strdup(texts[f]) : NULL, *p = text;
    while (p && *p) {
      char *line = cut(&p, '\n'), *bar = strchr(line, '|');
      if (only_op && ((size_t)(bar - line) != strlen(only_op) || strncmp(line, only_op, (size_t)(bar - line)))) continue;
      if (!parse_case(line, blobs[f], &t)) {
        ok(false, "a case of an operator that is not in the table: %s", line);
        continue;
      }
      int id = 0;
      while (chx_op_at(id) != t.op) id++;
      for (int layout = 0; layout < LAYOUTS; layout++) run_case(s, &tallies[d][id], &t, device, layout);
    }
    free(text);
  }
  chx_scope_end(s);
}

int main(int argc, char **argv)
{
  only_op = argc > 1 ? argv[1] : NULL;
  for (int f = 0; f < FILES; f++) {
    texts[f] = load(files[f], "cases");
    blobs[f] = load(files[f], "data");
  }
  if (!ok(chx_op_count() <= MOST_OPS, "%d operators", chx_op_count())) return done_testing();
  const char *devices[DEVICES];
  bool named;
  const int n_devices = check_devices(usual, USUAL, devices, &named);
  for (int d = 0; d < n_devices; d++) {
    if (argc > 2 && strcmp(argv[2], devices[d])) continue;
    chx_scope *s = chx_scope_begin(devices[d]);
    const bool there = !chx_scope_error(s);
    if (!there && (named || d == 0)) ok(false, "%s: %s", devices[d], chx_scope_message(s));
    chx_scope_end(s);
    if (!there && (named || d == 0)) continue;
    if (!there) {
      char reason[64];
      snprintf(reason, sizeof reason, "%s: no device", devices[d]);
      skip(1, reason);
      continue;
    }
    run_device(d, devices[d]);
    for (int i = 0; i < chx_op_count(); i++) {
      const tally *t = &tallies[d][i];
      const char *name = chx_op_name(chx_op_at(i));
      if (only_op && strcmp(name, only_op)) continue;
      if (!t->cases)
        ok(false, "%s has no case in tests/data/make_ops.py", name);
      else if (!ok(!t->bad, "%s %s: %d runs, error %.2f <= 1 of what is allowed", devices[d], name, t->cases, t->worst))
        note("%d wrong, the first: %s", t->bad, t->first);
    }
  }
  for (int f = 0; f < FILES; f++) {
    free(texts[f]);
    free(blobs[f]);
  }
  return done_testing();
}
