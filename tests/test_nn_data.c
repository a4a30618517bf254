/* SPDX-License-Identifier: MIT
 * test_nn_data.c: CSV and NPZ data sets, what is wrong with them, splits, batches.
 */
#include "check.h"
#include <chx/nn.h>
#include <locale.h>
#include <unistd.h>

static char dir[64] = "/tmp/chx-nn-XXXXXX";
static const char *in_dir(const char *name)
{
  static char path[4][128];
  static int turn;
  char *p = path[turn++ & 3];
  snprintf(p, sizeof *path, "%s/%s", dir, name);
  return p;
}

static const char *file(const char *name, const char *text)
{
  const char *path = in_dir(name);
  FILE *f = fopen(path, "w");
  if (f) {
    fputs(text, f);
    fclose(f);
  }
  return path;
}

static bool read_as(chx_scope *s, const char *text, int64_t n, int64_t m, const double *x, const double *t, int64_t classes)
{
  chx_nn_dataset *d = chx_nn_load_csv(s, file("a.csv", text));
  bool good = d && chx_nn_dataset_size(d) == n && chx_ndim(chx_nn_dataset_x(d)) == 2 && chx_shape(chx_nn_dataset_x(d))[1] == m &&
              rel_err(chx_nn_dataset_x(d), x) < 1e-6 && rel_err(chx_nn_dataset_t(d), t) == 0 && chx_nn_dataset_classes(d) == classes;
  if (!good) note("%s", chx_scope_message(s));
  chx_nn_dataset_free(d);
  chx_scope_clear(s);
  return good;
}

static void test_csv(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  const double x[] = {1, 2.5, -3e-2, 4}, t[] = {0, 2};

  ok(read_as(s, "1,2.5,0\n-3e-2,4,2\n", 2, 2, x, t, 3), "plain");
  ok(read_as(s, "1,2.5,0\n-3e-2,4,2", 2, 2, x, t, 3), "without a last line end");
  ok(read_as(s, "a,b,label\n1,2.5,0\n-3e-2,4,2\n", 2, 2, x, t, 3), "header");
  ok(read_as(s, "\"a\",\"b\",c\n1,2.5,0\n-3e-2,4,2\n", 2, 2, x, t, 3), "quoted header");
  ok(read_as(s, "\n# origin\r\n1, \"2.5\" ,0\r\n\r\n-3e-2 , 4,2.0\r\n", 2, 2, x, t, 3), "comment, empty lines, CRLF, blanks, quotes, 2.0");
  ok(read_as(s, "\xef\xbb\xbf" "1;2.5;0\n-3e-2;4;2\n", 2, 2, x, t, 3), "byte order mark, semicolons");
  ok(read_as(s, "1\t2.5\t0\n-3e-2\t4\t2\n", 2, 2, x, t, 3), "tabs");
  if (setlocale(LC_NUMERIC, "de_DE.UTF-8")) ok(read_as(s, "1,2.5,0\n-3e-2,4,2\n", 2, 2, x, t, 3), "in a locale with decimal commas");
  else skip(1, "no locale de_DE.UTF-8");
  setlocale(LC_NUMERIC, "C");

  static const unsigned char gz[] = { /* of the plain text above, by Python's gzip */
    31, 139, 8, 0, 0, 0, 0, 0, 2, 255, 51, 212, 49, 210, 51, 213, 49, 224, 210, 53, 78, 213, 53, 210, 49, 209,
    49, 226, 2, 0, 89, 188, 104, 54, 18, 0, 0, 0};
  FILE *f = fopen(in_dir("a.csv.gz"), "wb");
  ok(f && fwrite(gz, 1, sizeof gz, f) == sizeof gz && !fclose(f), "a gzipped file");
  chx_nn_dataset *d = chx_nn_load_data(s, in_dir("a.csv.gz"));
  ok(d && rel_err(chx_nn_dataset_x(d), x) < 1e-6, "gzip: %s", chx_scope_message(s));
  chx_nn_dataset_free(d);

  static const struct { const char *text, *says, *what; } bad[] = {
    {"1,2,0\n1,abc,0\n", "b.csv:2: column 2: 'abc' is not a number", "a word"},
    {"a,b,c\n1,2,0\n\n1,,0\n", "b.csv:4: column 2: '' is not a number", "an empty cell"},
    {"1,2,0\n1,nan,0\n", "b.csv:2: column 2: 'nan' is not a number", "NaN"},
    {"1,2,0\n1,2x,0\n", "b.csv:2: column 2: '2x' is not a number", "a number and more"},
    {"1,2,0\n1,0\n", "b.csv:2: the line has 2 cells, want 3", "a short line"},
    {"1,2,0\n1,2,3,0\n", "b.csv:2: the line has 4 cells, want 3", "a long line"},
    {"1,2,0.5\n", "b.csv:1: column 3: '0.5' is not a label", "a label that is no integer"},
    {"1,2,-1\n", "b.csv:1: column 3: '-1' is not a label", "a negative label"},
    {"", "b.csv: there are no items", "an empty file"},
    {"a,b,c\n", "b.csv: there are no items", "a header alone"},
    {"1\n2\n", "a line has 1 cell", "one column"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    d = chx_nn_load_csv(s, file("b.csv", bad[i].text));
    ok(!d && chx_scope_error(s) == CHX_EARG && strstr(chx_scope_message(s), bad[i].says), "%s: %s", bad[i].what, chx_scope_message(s));
    chx_scope_clear(s);
  }
  ok(!chx_nn_load_csv(s, in_dir("none.csv")) && chx_scope_error(s) == CHX_EIO && strstr(chx_scope_message(s), "none.csv"), "%s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(!chx_nn_load_csv(s, dir) && chx_scope_error(s) == CHX_EIO, "a folder: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(!truncate(in_dir("a.csv.gz"), 25) && !chx_nn_load_csv(s, in_dir("a.csv.gz")), "truncated gzip: %s", chx_scope_message(s));
  chx_scope_end(s);
}

static void test_npz(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  const char *path = in_dir("d.npz"), *xt[] = {"t", "x"}, *ab[] = {"a", "b"};
  chx_array *x = chx_arange(s, CHX_U8, 0, 1, 24), *t = chx_from_host(s, CHX_I32, 1, (int64_t[]){2}, (int32_t[]){1, 4});
  chx_nn_dataset *d;
  int64_t chw[3];

  x = chx_reshape(s, x, 4, (int64_t[]){2, 3, 2, 2});
  chx_save_npz(s, path, 2, xt, (const chx_array *[]){t, x}, 1);
  d = chx_nn_load_data(s, path);
  ok(d && chx_dtype(chx_nn_dataset_x(d)) == CHX_F32 && chx_ndim(chx_nn_dataset_x(d)) == 4, "x and t by name, u8 to f32: %s", chx_scope_message(s));
  ok(chx_dtype(chx_nn_dataset_t(d)) == CHX_I64 && chx_nn_dataset_classes(d) == 5, "labels: i32 to i64");
  chx_nn_dataset_image_shape(s, d, chw);
  ok(chw[0] == 3 && chw[1] == 2 && chw[2] == 2, "image shape");
  chx_nn_dataset_reshape(s, d, 1, (int64_t[]){12});
  is_int(chx_nn_dataset_image_shape(s, d, chw), CHX_ESHAPE, "12 is no square: %s", chx_scope_message(s));
  chx_scope_clear(s);
  is_int(chx_nn_dataset_reshape(s, d, 2, (int64_t[]){3, 5}), CHX_ESHAPE, "%s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_nn_dataset_free(d);
  chx_save_npz(s, path, 2, ab, (const chx_array *[]){x, t}, 0);
  d = chx_nn_load_npz(s, path);
  ok(d && chx_nn_dataset_size(d) == 2, "the first two arrays otherwise");
  chx_nn_dataset_free(d);
  chx_save_npz(s, path, 2, ab, (const chx_array *[]){x, chx_uniform(s, CHX_F64, 2, (int64_t[]){2, 3}, 0, 1)}, 0);
  d = chx_nn_load_npz(s, path);
  ok(d && !chx_nn_dataset_classes(d) && chx_dtype(chx_nn_dataset_t(d)) == CHX_F32, "values instead of labels");
  chx_nn_dataset_free(d);
  chx_save_npz(s, path, 1, ab, (const chx_array *[]){x}, 0);
  ok(!chx_nn_load_npz(s, path) && strstr(chx_scope_message(s), path), "%s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_save_npz(s, path, 2, ab, (const chx_array *[]){x, chx_arange(s, CHX_I64, 0, 1, 3)}, 0);
  ok(!chx_nn_load_npz(s, path) && chx_scope_error(s) == CHX_ESHAPE && strstr(chx_scope_message(s), path), "%s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_save_npz(s, path, 2, ab, (const chx_array *[]){x, chx_arange(s, CHX_I64, -1, 1, 2)}, 0);
  ok(!chx_nn_load_npz(s, path) && chx_scope_error(s) == CHX_EARG, "%s", chx_scope_message(s));
  chx_scope_end(s);
}

/* A data set whose item i is i, of n. */
static chx_nn_dataset *numbers(chx_scope *s, int64_t n)
{
  chx_array *i = chx_arange(s, CHX_I64, 0, 1, n);
  return chx_nn_dataset_new(s, chx_expand_dims(s, i, 1), i);
}

static void test_split(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_nn_dataset *d = numbers(s, 13), *a, *b, *c, *e;
  int seen[13] = {0};
  bool once = true;

  chx_nn_dataset_split(s, d, 0.2, 1, &a, &b);
  is_int(chx_nn_dataset_size(b), 3, "round(0.2 * 13) are held out");
  is_int(chx_nn_dataset_size(a), 10, "the others are for training");
  double *x = check_doubles(chx_nn_dataset_t(a)), *y = check_doubles(chx_nn_dataset_t(b));
  for (int i = 0; i < 10; i++) seen[(int)x[i]]++;
  for (int i = 0; i < 3; i++) seen[(int)y[i]]++;
  for (int i = 0; i < 13; i++) once &= seen[i] == 1;
  ok(once, "each item is in one of them");
  ok(chx_nn_dataset_classes(b) == 13, "a part has the classes of the whole");
  chx_nn_dataset_split(s, d, 0.2, 1, &c, &e);
  ok(rel_err(chx_nn_dataset_t(c), x) == 0, "the same seed, the same split");
  chx_nn_dataset_free(c);
  chx_nn_dataset_free(e);
  chx_nn_dataset_split(s, d, 0.2, 2, &c, &e);
  ok(rel_err(chx_nn_dataset_t(c), x) != 0, "another seed, another");
  chx_nn_dataset_free(c);
  chx_nn_dataset_free(e);
  chx_nn_dataset_split(s, d, 0, 2, &c, &e);
  ok(!e && chx_nn_dataset_size(c) == 13, "fraction 0: nothing is held out");
  chx_nn_dataset_free(c);
  is_int(chx_nn_dataset_split(s, d, 1, 2, &c, &e), CHX_EARG, "%s", chx_scope_message(s));
  free(x);
  free(y);
  chx_nn_dataset_free(a);
  chx_nn_dataset_free(b);
  chx_nn_dataset_free(d);
  chx_scope_end(s);
}

static void test_iterator(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_nn_dataset *d = numbers(s, 10);
  chx_nn_iterator *it = chx_nn_iterator_new(s, d, 4, 1, 3), *in_order = chx_nn_iterator_new(s, d, 4, 0, 0);
  chx_array *x, *t;
  double first[10], order[2][10];

  for (int epoch = 0; epoch < 2; epoch++) {
    int seen[10] = {0}, n = 0;
    bool good = true;
    for (int b = 0; b < 3; b++) {
      int64_t m = chx_nn_iterator_next(s, it, &x, &t);
      good &= m == (b < 2 ? 4 : 2) && chx_shape(x)[0] == m && chx_nn_iterator_is_new_epoch(it) == (b == 2);
      double *v = check_doubles(t), *w = check_doubles(x);
      for (int i = 0; i < m; i++) good &= v[i] == w[i], order[epoch][n++] = v[i], seen[(int)v[i]]++;
      free(v);
      free(w);
    }
    for (int i = 0; i < 10; i++) good &= seen[i] == 1;
    ok(good, "epoch %d: batches of 4, 4 and 2 with each item once", epoch);
    is_int(chx_nn_iterator_epoch(it), epoch + 1, "epochs completed");
  }
  ok(memcmp(order[0], order[1], sizeof order[0]), "the second epoch has another order");
  memcpy(first, order[0], sizeof first);
  chx_nn_iterator_reset(it);
  chx_nn_iterator_next(s, it, &x, &t);
  ok(rel_err(t, first) == 0 && chx_nn_iterator_position(it) == 4, "reset: as made");
  chx_nn_iterator_next(s, in_order, &x, &t);
  ok(rel_err(t, (double[]){0, 1, 2, 3}) == 0, "without shuffling: in order");
  size_t mark = chx_scope_mark(s);
  chx_nn_iterator_next(s, it, &x, &t);
  is_int((long long)(chx_scope_mark(s) - mark), 2, "a batch leaves two arrays in the scope");
  chx_random_state before = chx_random_get(s);
  for (int i = 0; i < 9; i++) chx_nn_iterator_next(s, it, &x, &t);
  is_int((long long)(chx_random_get(s).counter - before.counter), 0, "the scope's generator is not used");
  is_int(chx_scope_error(s), CHX_OK, "no error: %s", chx_scope_message(s));
  ok(!chx_nn_iterator_new(s, d, 0, 1, 0) && chx_scope_error(s) == CHX_EARG, "%s", chx_scope_message(s));
  chx_nn_iterator_free(it);
  chx_nn_iterator_free(in_order);
  chx_nn_iterator_free(NULL);
  chx_nn_dataset_free(d);
  chx_nn_dataset_free(NULL);
  chx_scope_end(s);
}

int main(void)
{
  char command[128];

  if (!mkdtemp(dir)) return 1;
  test_csv();
  test_npz();
  test_split();
  test_iterator();
  snprintf(command, sizeof command, "rm -r %s", dir);
  return system(command) ? 1 : done_testing();
}
