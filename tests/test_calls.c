/* SPDX-License-Identifier: MIT
 * test_calls.c: generated from the operator table: each argument of each operator in turn is NULL, of a wrong rank, of a wrong
 * dtype, on another device. Each such call ends in a result or in an error with a sentence that begins with the operator's
 * name; the required NULLs and the foreign devices always in an error. None crashes. On native, with ref as the other device, or on the
 * devices of CHX_TEST_DEVICES, with native.
 */
#include "check.h"

enum { MOST = 5 };

/* A plausible operand i of op. */
static chx_array *plausible(chx_scope *s, const chx_op *op, int i)
{
  const char *name = chx_op_input_name(op, i), *o = chx_op_name(op);
  double v[256];
  for (int k = 0; k < 256; k++) v[k] = 0.25 + k % 3 * 0.25;
  if (!strcmp(name, "indices")) return chx_from_shape(s, CHX_I64, 2, (int64_t[]){2, 2}, (double[]){0, 1, 1, 0});
  if (!strcmp(name, "t")) return chx_from(s, CHX_I64, 2, (double[]){0, 1});
  if (!strncmp(o, "conv", 4) || strstr(o, "pool")) {
    if (!strcmp(name, "b")) return chx_from(s, CHX_F32, 2, v);
    return chx_from_shape(s, CHX_F32, 4, (int64_t[]){2, 2, 4, 4}, v);
  }
  if (strstr(o, "norm") && i) return chx_from(s, CHX_F32, 2, v);
  if (!strcmp(o, "linear") && i == 2) return chx_from(s, CHX_F32, 2, v);
  int dtype = chx_op_dtypes(op) & CHX_BIT(CHX_F32) ? CHX_F32 : chx_op_dtypes(op) & CHX_BIT(CHX_I32) ? CHX_I32 : CHX_BOOL;
  return chx_from_shape(s, dtype, 2, (int64_t[]){2, 2}, v);
}

/* Calls op with operands in; checks that it gives a result or an error that names it. */
static bool call(chx_scope *s, const chx_op *op, const chx_array **in, int n, const char *how, int i, bool must_fail)
{
  chx_array *out[3] = {NULL, NULL, NULL};
  chx_status st = chx_apply(s, op, in, n, NULL, out, chx_op_n_outputs(op));
  const char *m = chx_scope_message(s), *name = chx_op_name(op);
  bool named = !strncmp(m, name, strlen(name)) || strstr(m, name);
  bool fine = st ? named && strstr(m, "want") && !out[0] && chx_scope_error(s) == st : out[0] && !must_fail;
  if (!fine) note("%s, operand %d %s: %d '%s'", name, i, how, st, m);
  chx_scope_clear(s);
  return fine;
}

static void one(chx_scope *s, chx_scope *far, const chx_op *op)
{
  const chx_array *in[MOST] = {NULL};
  int n = chx_op_n_inputs(op), bad = 0, cases = 0;
  char what[64];
  for (int i = 0; i < n; i++) in[i] = plausible(s, op, i);
  bad += !call(s, op, in, n, "as it should be", -1, false);
  for (int i = 0; i < n; i++) {
    const chx_array *keep = in[i];
    bool needed = !(chx_op_input_flags(op, i) & CHX_OPERAND_OPTIONAL);
    in[i] = NULL;
    bad += !call(s, op, in, n, "NULL", i, needed);
    static const int ranks[] = {0, 1, 3, 16};
    for (int r = 0; r < 4; r++, cases++) {
      int64_t shape[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
      if (ranks[r] == 1) shape[0] = 7;
      in[i] = chx_ones(s, chx_dtype(keep), ranks[r], shape);
      bad += !call(s, op, in, n, "of another rank", i, false);
    }
    for (int d = 1; d < CHX_DTYPE_END; d++, cases++) {
      double v[256] = {0};
      in[i] = chx_from_shape(s, d, chx_ndim(keep), chx_shape(keep), v);
      bool complex = d == CHX_C64 || d == CHX_C128;
      bad += !call(s, op, in, n, chx_dtype_name(d), i, complex && !chx_op_is_view(op) && strcmp(chx_op_name(op), "copy") && strcmp(chx_op_name(op), "to_device"));
    }
    if (n > 1 && far) {
      double v[256] = {0};
      in[i] = chx_from_shape(far, chx_dtype(keep), chx_ndim(keep), chx_shape(keep), v);
      bad += !call(s, op, in, n, "on another device", i, true);
    }
    in[i] = chx_real(s, 2);
    bad += !call(s, op, in, n, "a weak scalar", i, false);
    in[i] = chx_zeros(s, chx_dtype(keep), 2, (int64_t[]){0, 3});
    bad += !call(s, op, in, n, "empty", i, false);
    cases += 4;
    in[i] = keep;
  }
  if (n) {
    bad += !call(s, op, in, -1, "count -1", 0, true);
    bad += !call(s, op, NULL, n, "list NULL", 0, true);
    bad += !call(s, op, in, CHX_MAX_OPERANDS + 1, "count too large", 0, true);
    cases += 3;
  }
  snprintf(what, sizeof what, "%s", chx_op_name(op));
  ok(bad == 0, "%s: %d of %d misuses went wrong", what, bad, cases);
}

/* Attribute structs that lie about their size or their lists. */
static void attributes(chx_scope *s)
{
  int n = chx_op_count(), bad = 0;
  for (int i = 0; i < n; i++) {
    const chx_op *op = chx_op_at(i);
    const chx_array *in[MOST] = {NULL};
    chx_array *out[3] = {NULL, NULL, NULL};
    _Alignas(16) unsigned char room[2048] = {0};
    uint32_t size = chx_op_attr_size(op);
    if (!size) continue;
    for (int k = 0; k < chx_op_n_inputs(op); k++) in[k] = plausible(s, op, k);
    for (int wrong = 0; wrong < 4; wrong++) {
      memset(room, 0, sizeof room);
      uint32_t says = wrong == 0 ? 4 : wrong == 1 ? size + 8 : size;
      memcpy(room, &says, sizeof says);
      if (wrong == 1) room[size + 3] = 1;
      for (int f = 0; wrong >= 2 && f < chx_op_n_attrs(op); f++) {
        const chx_op_attr *a = chx_op_attr_at(op, f);
        int64_t v = wrong == 2 ? 1000 : -1;
        if (a->type == CHX_ATTR_INTS || a->type == CHX_ATTR_PROGRAM) memcpy(room + a->offset, &v, sizeof v);
        else if (wrong == 3) memset(room + a->offset, 0xff, 8); /* -1, or NaN */
        else memcpy(room + a->offset, &(int64_t){INT64_MAX}, 8);
      }
      chx_status st = chx_apply(s, op, in, chx_op_n_inputs(op), room, out, 1);
      if (st ? !strstr(chx_scope_message(s), chx_op_name(op)) : wrong < 2) {
        note("%s with a wrong attribute (%d): %d '%s'", chx_op_name(op), wrong, st, chx_scope_message(s));
        bad++;
      }
      chx_scope_clear(s);
      out[0] = NULL;
    }
  }
  is_int(bad, 0, "attribute structs of a wrong size, or with lists too long or negative");
}

/* What bindings are told: an operator that requires an attribute fails without it, and no other does; those that draw have a state. */
static void marks(chx_scope *s)
{
  int bad = 0, required = 0, drawn = 0, inner = 0;
  for (int i = 0; i < chx_op_count(); i++) {
    const chx_op *op = chx_op_at(i);
    const chx_array *in[MOST] = {NULL};
    chx_array *out[3] = {NULL, NULL, NULL};
    int flags = 0;
    for (int f = 0; f < chx_op_n_attrs(op); f++) {
      const char *name = chx_op_attr_at(op, f)->name;
      flags |= chx_op_attr_flags(op, f);
      bad += !(chx_op_attr_flags(op, f) & CHX_ATTR_DRAWN) != (strcmp(name, "seed") && strcmp(name, "counter"));
    }
    bad += !(flags & CHX_ATTR_DRAWN) != !chx_op_is_random(op);
    required += !!(flags & CHX_ATTR_REQUIRED);
    drawn += chx_op_is_random(op);
    inner += chx_op_is_inner(op);
    for (int k = 0; k < chx_op_n_inputs(op); k++) in[k] = plausible(s, op, k);
    chx_status st = chx_apply(s, op, in, chx_op_n_inputs(op), NULL, out, chx_op_n_outputs(op));
    if (!chx_op_is_inner(op) && !st != !(flags & CHX_ATTR_REQUIRED)) {
      note("%s by its defaults: %d '%s'", chx_op_name(op), st, chx_scope_message(s));
      bad++;
    }
    chx_scope_clear(s);
  }
  is_int(bad, 0, "attributes that are required or drawn are marked");
  ok(required >= 8 && drawn == 6 && inner == 4, "%d operators require, %d draw, %d are inner", required, drawn, inner);
  const chx_op *conv = chx_op_find("conv"), *pool = chx_op_find("max_pool");
  ok(chx_op_attr_flags(pool, 0) == CHX_ATTR_REQUIRED && !chx_op_attr_flags(pool, 1), "max_pool requires ksize alone");
  ok(!chx_op_attr_flags(conv, 0) && !chx_op_attr_flags(conv, -1) && !chx_op_attr_flags(conv, 99) && !chx_op_attr_flags(NULL, 0) &&
         !chx_op_is_random(NULL) && !chx_op_is_inner(NULL),
     "nothing is marked where there is nothing");
}

static void run(const char *device, const char *other, bool must)
{
  chx_scope *s = chx_scope_begin(device), *far = chx_scope_begin(other);
  if (chx_scope_error(far) && !must) {
    skip(1, "another device: ref is not built");
    chx_scope_end(far);
    far = NULL;
  } else
    ok(!chx_scope_error(s) && !chx_scope_error(far), "two devices: %s%s", chx_scope_message(s), chx_scope_message(far));
  int n = chx_scope_error(s) ? 0 : chx_op_count();
  for (int i = 0; i < n; i++) {
    size_t mark = chx_scope_mark(s);
    one(s, far, chx_op_at(i));
    chx_scope_rewind(s, mark, NULL);
  }
  if (n) attributes(s);
  chx_scope_end(far);
  chx_scope_end(s);
}

int main(void)
{
  static const char *const usual[] = {"native:0"};
  const char *devices[16];
  bool named;
  const int n = check_devices(usual, 1, devices, &named);
  for (int d = 0; d < n; d++) run(devices[d], named && strcmp(devices[d], "native:0") ? "native:0" : "ref:0", named);
  chx_scope *s = chx_scope_begin("native:0");
  chx_array *out = NULL;
  ok(chx_apply(s, NULL, NULL, 0, NULL, &out, 1) == CHX_EARG, "no operator: %s", chx_scope_message(s));
  chx_scope_clear(s);
  marks(s);
  ok(chx_apply(s, chx_op_at(0), NULL, 0, NULL, NULL, 1) == CHX_EARG, "no place for the output: %s", chx_scope_message(s));
  chx_scope_end(s);
  return done_testing();
}
