/* SPDX-License-Identifier: MIT
 * test_gpu_index.c: take, scatter_add, sort and pooling of a GPU backend against native's, at sizes that reach every
 * algorithm that plugins/gpu chooses between; and indices that are out of range, which are late errors there.
 *
 * On opencl:0, or on the devices of $CHX_TEST_DEVICES ("cuda:0,opencl:1"); one that is not there is skipped.
 */
#include <pthread.h>
#include "check.h"

#define S(...) \
  (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) { __VA_ARGS__ }

static const char *device;
static chx_scope *s, *r; /* on the device; on native, the judge */

static chx_array *there(const chx_array *a) { return chx_to(s, a, device); }

static void clear(void)
{
  chx_scope_clear(s);
  chx_scope_clear(r);
}

static bool same_bits(const chx_array *a, const chx_array *b)
{
  if (!a || !b || chx_dtype(a) != chx_dtype(b) || chx_size(a) != chx_size(b)) return false;
  char *p = check_read(a), *q = check_read(b);
  const bool same = p && q && !memcmp(p, q, (size_t)chx_nbytes(a));
  free(p);
  free(q);
  return same;
}

/* The largest difference, INFINITY if there is none to be had. */
static double apart(const chx_array *a, const chx_array *b)
{
  double *p = check_doubles(a), *q = check_doubles(b), worst = p && q && chx_size(a) == chx_size(b) ? 0 : INFINITY;
  for (int64_t i = 0; worst < INFINITY && i < chx_size(a); i++)
    if (!(fabs(p[i] - q[i]) <= worst)) worst = isnan(p[i] - q[i]) ? INFINITY : fabs(p[i] - q[i]);
  free(p);
  free(q);
  return worst;
}

/* ---- scatter_add --------------------------------------------------------------------------------------------- */

typedef struct scatter {
  const char *what;
  bool along, flip, whole; /* whole: sums of integers that every order gives exactly */
  int axis, length;        /* of the result's axis */
  int64_t many;            /* indices */
  int nd;
  int64_t shape[4]; /* of the other axes; 0 at axis */
} scatter;

static const scatter scatters[] = {
    {"few, walked", false, false, true, 0, 50, 7, 3, {0, 30, 5}},
    {"shared by columns, sorted", false, false, false, 0, 40, 5000, 2, {0, 33}},
    {"shared in the middle, sorted, reversed", false, true, false, 1, 300, 700, 3, {3, 0, 17}},
    {"one line, by groups", false, false, false, 0, 100, 3000, 1, {0}},
    {"one line, sorted, few targets", false, false, true, 0, 5, 40000, 1, {0}},
    {"one line, sorted, reversed", false, true, true, 0, 100000, 40000, 1, {0}},
    {"along, by groups", true, false, false, 1, 90, 600, 2, {20, 0}},
    {"along, walked", true, false, false, 1, 90, 60, 3, {4, 0, 600}},
    {"along, sorted, reversed", true, true, true, 0, 90, 20000, 2, {0, 3}},
    {"along, sorted, many targets", true, false, true, 1, 70000, 20000, 2, {3, 0}},
};

/* Numbers of dtype: small integers, or normal numbers. */
static chx_array *numbers(int dtype, int nd, const int64_t *shape, bool whole)
{
  return chx_cast(r, whole ? chx_integers(r, CHX_I64, nd, shape, -8, 9) : chx_normal(r, CHX_F32, nd, shape, 0, 1),
                  dtype);
}

static chx_array *scatter_on(chx_scope *on, const scatter *t, const chx_array *x, const chx_array *i,
                             const chx_array *y)
{
  return t->along ? chx_scatter_add_along_axis(on, x, i, y, t->axis) : chx_scatter_add(on, x, i, y, t->axis);
}

static void scatter_case(const scatter *t, int dtype)
{
  int64_t shape[4], listed[4];
  memcpy(shape, t->shape, sizeof shape);
  memcpy(listed, t->shape, sizeof listed);
  shape[t->axis] = t->length;
  listed[t->axis] = t->many;
  const bool whole = t->whole || !(CHX_FLOATS >> dtype & 1);
  const chx_array *x = numbers(dtype, t->nd, shape, true), *y = numbers(dtype, t->nd, listed, whole),
                  *i = t->along ? chx_integers(r, CHX_I64, t->nd, listed, -t->length, t->length)
                                : chx_integers(r, CHX_I64, 1, &t->many, -t->length, t->length);
  if (t->flip) y = chx_flip(r, y, 0, NULL), i = chx_flip(r, i, 0, NULL);
  const chx_array *dx = there(x), *di = there(i), *dy = there(y), *want = scatter_on(r, t, x, i, y),
                  *got = scatter_on(s, t, dx, di, dy), *again = scatter_on(s, t, dx, di, dy);
  const char *name = chx_dtype_name(dtype);
  ok(same_bits(got, again), "%s: scatter_add %s: %s: twice the same bits %s", device, name, t->what,
     chx_scope_message(s));
  if (whole && dtype != CHX_BF16 && dtype != CHX_F16) {
    ok(same_bits(got, want), "%s: scatter_add %s: %s: native's bits", device, name, t->what);
  } else { /* the order differs, and native rounds a half each time */
    chx_array *wide = scatter_on(r, t, chx_cast(r, x, CHX_F64), i, chx_cast(r, y, CHX_F64));
    const double most = chx_item(r, chx_amax(r, chx_abs(r, wide), 0, NULL, 0)), eps = check_type_of(dtype)->eps,
                 all = (double)t->many / t->length + 16,
                 allowed = eps * (most + 16) * (dtype == CHX_F32 || dtype == CHX_F64 ? 4 : 2 + sqrt(all));
    const double d = apart(got, chx_cast(r, wide, CHX_F64));
    ok(d <= allowed, "%s: scatter_add %s: %s: within %g <= %g of the sum in f64", device, name, t->what, d, allowed);
  }
  clear();
}

/* ---- take, sort, pooling ------------------------------------------------------------------------------------- */

static void take_case(int dtype, int axis, int64_t n, int nd, const int64_t *shape)
{
  chx_array *x = chx_cast(r, chx_integers(r, CHX_I64, nd, shape, -100, 101), dtype), *d = there(x),
            *i = chx_integers(r, CHX_I64, S(3, n), -shape[axis], shape[axis]), *di = there(i);
  const char *name = chx_dtype_name(dtype);
  ok(same_bits(chx_take(s, d, di, axis), chx_take(r, x, i, axis)), "%s: take %s along axis %d of %d %s", device, name,
     axis, nd, chx_scope_message(s));
  ok(same_bits(chx_take(s, chx_transpose(s, d, 0, NULL), di, nd - 1 - axis),
               chx_take(r, chx_transpose(r, x, 0, NULL), i, nd - 1 - axis)),
     "%s: take %s along axis %d of %d, transposed %s", device, name, nd - 1 - axis, nd, chx_scope_message(s));
  clear();
}

static void sort_case(int dtype, int axis, int nd, const int64_t *shape)
{
  chx_array *x = chx_integers(r, CHX_I64, nd, shape, -90, 91);
  x = CHX_FLOATS >> dtype & 1 /* with infinities and NaNs */
          ? chx_div(r, chx_cast(r, x, dtype), chx_cast(r, chx_integers(r, CHX_I64, nd, shape, -2, 3), dtype))
          : chx_cast(r, x, dtype);
  chx_array *d = there(x);
  for (int down = 0; down < 2; down++) {
    ok(same_bits(chx_sort(s, d, axis, down), chx_sort(r, x, axis, down)), "%s: sort %s of %d by axis %d%s %s", device,
       chx_dtype_name(dtype), (int)chx_size(x), axis, down ? ", descending" : "", chx_scope_message(s));
    ok(same_bits(chx_argsort(s, d, axis, down), chx_argsort(r, x, axis, down)), "%s: argsort %s of %d by axis %d%s",
       device, chx_dtype_name(dtype), (int)chx_size(x), axis, down ? ", descending" : "");
  }
  clear();
}

static void pool_case(int dtype, int nd, const int64_t *shape, chx_pool_attr p)
{
  chx_array *x = chx_cast(r, chx_integers(r, CHX_I64, nd, shape, -50, 51), dtype), *d = there(x), *at = NULL,
            *want_at = NULL;
  chx_array *y = chx_max_pool(s, d, &p, &at), *want = chx_max_pool(r, x, &p, &want_at);
  ok(same_bits(y, want) && same_bits(at, want_at), "%s: max_pool %s of %d axes and its places %s", device,
     chx_dtype_name(dtype), nd, chx_scope_message(s));
  if (dtype == CHX_F32) {
    const double e = apart(chx_avg_pool(s, d, &p), chx_avg_pool(r, x, &p));
    ok(e <= 50 * 8 * 0x1p-23, "%s: avg_pool of %d axes: %g %s", device, nd, e, chx_scope_message(s));
  }
  clear();
}

static chx_pool_attr window(chx_ints ksize, chx_ints stride, chx_ints pad)
{
  chx_pool_attr p = CHX_ATTR(pool);
  p.ksize = ksize;
  p.stride = stride;
  p.pad = pad;
  return p;
}

static void pools(void)
{
  const int dtypes[] = {CHX_F32, CHX_F16, CHX_I8};
  for (int k = 0; k < 3; k++) {
    chx_pool_attr p = window((chx_ints){2, {3, 2}}, (chx_ints){2, {2, 1}}, (chx_ints){2, {1, 0}});
    pool_case(dtypes[k], S(3, 5, 17, 33), p);
    p.layout = CHX_CHANNELS_LAST;
    pool_case(dtypes[k], S(2, 40, 41, 6), p);
    p = window((chx_ints){1, {4}}, (chx_ints){1, {3}}, (chx_ints){0});
    p.cover_all = 1;
    pool_case(dtypes[k], S(4, 3, 100), p);
    pool_case(dtypes[k], S(2, 2, 6, 9, 8),
              window((chx_ints){3, {2, 3, 2}}, (chx_ints){3, {1, 2, 2}}, (chx_ints){3, {0, 1, 1}}));
  }
}

/* ---- indices out of range ------------------------------------------------------------------------------------ */

/* After a wait the device's scope has native's sentence, which is native's scope's now, too. */
static void late(const char *what, const chx_array *y, const char *sentence)
{
  chx_status read = CHX_OK;
  if (y) { /* the error may have come at once, where a device waits */
    char *room = malloc((size_t)chx_nbytes(y) + 1);
    read = chx_read(s, y, room, (size_t)chx_nbytes(y));
    free(room);
  } else read = chx_scope_error(s);
  is_int(read, CHX_EARG, "%s: %s: reading it is CHX_EARG", device, what);
  ok(strstr(chx_scope_message(s), sentence) != NULL, "%s: %s: '%s' has '%s'", device, what, chx_scope_message(s),
     sentence);
  ok(chx_scope_error(r) == CHX_EARG && strstr(chx_scope_message(r), sentence), "native: %s: %s", what,
     chx_scope_message(r));
  clear();
}

static chx_array *list(int n, const int64_t *of) { return chx_from_host(r, CHX_I64, 1, (int64_t[]){n}, of); }

static void bad_takes(void)
{
  const int64_t bad[] = {0, 7, -3}, low[] = {-2, INT64_MIN, 1}, none[] = {0};
  chx_array *x = chx_ones(r, CHX_F32, S(3, 2)), *d, *i = list(3, bad), *j = list(3, low);
  d = there(x);
  chx_array *y = chx_take(s, d, there(i), 0);
  chx_take(r, x, i, 0);
  late("take", y, "take: index 7 is out of range for axis 0 of length 3, want -3 to 2");

  x = chx_ones(r, CHX_I16, S(3, 2)), j = list(3, low), d = there(x);
  y = chx_take(s, d, there(j), 1);
  chx_take(r, x, j, 1);
  late("take, the lowest integer", y,
       "take: index -9223372036854775808 is out of range for axis 1 of length 2, want -2 to 1");

  x = chx_ones(r, CHX_F64, S(0, 2)), j = list(1, none), d = there(x);
  y = chx_take(s, d, there(j), 0);
  chx_take(r, x, j, 0);
  late("take of an empty axis", y, "take: index 0 is out of range for axis 0 of length 0, want 0 to -1");

  x = chx_ones(r, CHX_F32, S(3, 2)), j = chx_reshape(r, list(3, bad), S(3, 1)), d = there(x);
  y = chx_take_along_axis(s, d, there(j), 1);
  chx_take_along_axis(r, x, j, 1);
  late("take_along_axis", y, "take_along_axis: index 7 is out of range for axis 1 of length 2, want -2 to 1");
}

/* n indices 0 .. 3, one of which is 4, at the end; the list is of a length that leads to each algorithm. */
static void bad_scatters(void)
{
  static const struct {
    const char *what;
    int dtype;
    int64_t n, columns;
  } cases[] = {{"walked", CHX_F32, 5, 1},
               {"atomics", CHX_I32, 5, 3},
               {"by groups", CHX_F16, 3000, 1},
               {"sorted", CHX_F32, 50000, 1},
               {"sorted, shared", CHX_F32, 3000, 7}};
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    const int64_t n = cases[k].n, columns = cases[k].columns;
    int64_t *v = malloc((size_t)n * sizeof *v);
    for (int64_t i = 0; i < n; i++) v[i] = i == n - 1 ? 4 : i % 4;
    chx_array *x = chx_zeros(r, cases[k].dtype, S(4, columns)), *y = chx_ones(r, cases[k].dtype, S(n, columns)),
              *i = list((int)n, v);
    const chx_array *z = chx_scatter_add(s, there(x), there(i), there(y), 0);
    chx_scatter_add(r, x, i, y, 0);
    late(cases[k].what, z, "scatter_add: index 4 is out of range for axis 0 of length 4, want -4 to 3");
    free(v);
  }
  const int64_t bad[] = {0, 1, 1, -5};
  chx_array *x = chx_zeros(r, CHX_F32, S(4, 1)), *y = chx_ones(r, CHX_F32, S(4, 1)),
            *i = chx_reshape(r, list(4, bad), S(4, 1));
  const chx_array *z = chx_scatter_add_along_axis(s, there(x), there(i), there(y), 0);
  chx_scatter_add_along_axis(r, x, i, y, 0);
  late("along", z, "scatter_add_along_axis: index -5 is out of range for axis 0 of length 4, want -4 to 3");
}

static const int64_t three[] = {0, 1, 3};

/* What the error touches, and what it does not. */
static void aftermath(void)
{
  const int64_t good[] = {2, 1, 0};
  chx_array *x = there(chx_arange(r, CHX_F32, 0, 1, 3)), *before = chx_neg(s, x), *i = there(list(3, good));
  is_int(chx_sync(s), CHX_OK, "%s: before", device);
  chx_array *fine = chx_take(s, x, i, 0), *wrong = chx_take(s, x, there(list(3, three)), 0),
            *next = chx_add(s, wrong, x);
  is_int(chx_sync(s), CHX_EARG, "%s: sync reports it: %s", device, chx_scope_message(s));
  chx_scope_clear(s);
  float v[3] = {9, 9, 9};
  ok(!chx_read(s, before, v, sizeof v) && v[1] == -1 && v[2] == -2, "%s: what was waited for stays: %s", device,
     chx_scope_message(s));
  ok(chx_read(s, next, v, sizeof v) && strstr(chx_scope_message(s), "index 3 is out of range for axis 0"),
     "%s: what was computed since does not: %s", device, chx_scope_message(s));
  chx_scope_clear(s);
  ok(chx_read(s, fine, v, sizeof v) != CHX_OK, "%s: nor does what shared its queue: %s", device, chx_scope_message(s));
  chx_scope_clear(s);
  chx_array *y = chx_take(s, x, i, 0);
  ok(!chx_read(s, y, v, sizeof v) && v[0] == 2 && v[2] == 0, "%s: the next one works: %s", device,
     chx_scope_message(s));
  clear();
}

static void many_good(void)
{
  const int64_t good[] = {2, 1, 0};
  chx_array *x = there(chx_arange(r, CHX_F32, 0, 1, 3)), *i = there(list(3, good));
  float v[3];
  bool all = true;
  for (int k = 0; k < 100 && all; k++) {
    x = chx_take(s, x, i, 0);
    if (k % 3 == 0) all = !chx_read(s, x, v, sizeof v) && v[1] == 1 && v[0] == (k % 2 ? 0 : 2);
  }
  ok(all && !chx_sync(s), "%s: 100 good ones, read at times: %s", device, chx_scope_message(s));
  clear();
}

/* A map of the device's memory waits as well, where it can be had; a copy does where not. */
static void mapped(void)
{
  chx_array *x = there(chx_arange(r, CHX_F32, 0, 1, 3)), *wrong = chx_take(s, x, there(list(3, three)), 0);
  chx_set_route(r, "neg", "mapped");
  chx_array *y = chx_neg(s, wrong);
  float v[3];
  ok((!y || chx_read(s, y, v, sizeof v)) && strstr(chx_scope_message(s), "index 3 is out of range for axis 0"),
     "%s: native's kernel on what a bad index made: %s", device, chx_scope_message(s));
  chx_set_route(r, "neg", NULL);
  clear();
}

static void *other(void *arg)
{
  chx_scope *mine = chx_scope_begin(device);
  chx_array *x = chx_arange(mine, CHX_F32, 0, 1, 3),
            *i = chx_from_host(mine, CHX_I64, 1, (int64_t[]){3}, (int64_t[]){2, 1, 0});
  bool *good = arg;
  float v[3];
  *good = true;
  for (int k = 0; k < 20; k++)
    if (chx_read(mine, chx_take(mine, x, i, 0), v, sizeof v) || v[0] != 2 || v[2] != 0) *good = false;
  chx_scope_end(mine);
  return NULL;
}

static void threads(void)
{
  pthread_t t;
  bool good = false;
  pthread_create(&t, NULL, other, &good);
  int bad = 0;
  chx_array *x = there(chx_arange(r, CHX_F32, 0, 1, 3)), *i = there(list(3, three));
  for (int k = 0; k < 20; k++) {
    float v[3];
    bad += chx_read(s, chx_take(s, x, i, 0), v, sizeof v) == CHX_EARG;
    chx_scope_clear(s);
  }
  pthread_join(t, NULL);
  is_int(bad, 20, "%s: twenty bad indices are twenty errors", device);
  ok(good, "%s: another thread's good ones know nothing of them", device);
  clear();
}

static void run(void)
{
  static const int all[] = {CHX_F32, CHX_F64, CHX_F16, CHX_BF16, CHX_I8, CHX_U16, CHX_I32, CHX_U64},
                   takes[] = {CHX_F32, CHX_F16, CHX_BOOL, CHX_I64},
                   sorts[] = {CHX_F32, CHX_F64, CHX_F16, CHX_BOOL, CHX_I8, CHX_U64};
  for (size_t d = 0; d < sizeof all / sizeof *all; d++)
    for (size_t k = 0; k < sizeof scatters / sizeof *scatters; k++)
      if (d < 2 || k == d || k == 0 || k == 9 - d) scatter_case(&scatters[k], all[d]);
  for (int k = 0; k < 4; k++) {
    take_case(takes[k], 0, 100, S(50, 64));
    take_case(takes[k], 0, 100, S(50, 63));
    take_case(takes[k], 1, 70, S(5, 30, 6));
    take_case(takes[k], 2, 70, S(3, 4, 50));
  }
  for (size_t k = 0; k < sizeof sorts / sizeof *sorts; k++) {
    sort_case(sorts[k], 0, S(1));
    sort_case(sorts[k], 1, S(700, 5));
    sort_case(sorts[k], 1, S(3, 2049));
    sort_case(sorts[k], 0, S(5000, 3));
    if (k % 2 == 0) sort_case(sorts[k], 1, S(9, 2048)), sort_case(sorts[k], 0, S(300001));
  }
  pools();
  bad_takes();
  bad_scatters();
  aftermath();
  many_good();
  mapped();
  threads();
}

int main(void)
{
  const char *list_of = getenv("CHX_TEST_DEVICES");
  char *devices = strdup(list_of && *list_of ? list_of : "opencl:0"), *rest = devices;
  check_seed(11);
  r = chx_scope_begin("native:0");
  for (char *d; (d = strtok_r(rest, ", ", &rest));) {
    device = d;
    s = chx_scope_begin(d);
    if (chx_scope_error(s)) {
      char why[400];
      snprintf(why, sizeof why, "%s: %s", d, chx_scope_message(s));
      skip(1, why);
    } else run();
    chx_scope_end(s);
  }
  chx_scope_end(r);
  free(devices);
  return done_testing();
}
