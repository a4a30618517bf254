/* SPDX-License-Identifier: MIT
 * test_npy.c: .npy and .npz files: what NumPy wrote (tests/data/make_npy.py), round trips, files cut off at every byte,
 * damaged headers and archives, and files that appear whole or not at all.
 */
#include "../core/file.h"
#include "check.h"
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define LENGTH(a) (sizeof(a) / sizeof *(a))

static char dir[64];

static const char *temp(const char *name)
{
  static char path[16][128];
  static int turn;
  char *p = path[turn++ & 15];
  snprintf(p, sizeof *path, "%s/%s", dir, name);
  return p;
}

static void put(const char *path, const void *data, size_t n)
{
  FILE *f = fopen(path, "wb");
  fwrite(data, 1, n, f);
  fclose(f);
}

static char *slurp(const char *path, size_t *n)
{
  FILE *f = fopen(path, "rb");
  if (!f) return NULL;
  fseek(f, 0, SEEK_END);
  *n = (size_t)ftell(f);
  rewind(f);
  char *data = malloc(*n + 1);
  *n = fread(data, 1, *n, f);
  fclose(f);
  return data;
}

/* ---- what NumPy wrote ---------------------------------------------------------------------------------------------- */

/* Whether a is what its name, DTYPE-ORDER-SHAPE, says, and its elements are make_npy.py's. */
static bool as_named(const char *name, const chx_array *a)
{
  char dtype[16];
  int64_t shape[16], n = 1;
  int ndim = 0;
  const char *p = strchr(name, '-');
  if (!a) return false;
  snprintf(dtype, sizeof dtype, "%.*s", (int)(p - name), name);
  for (p = strrchr(name, '-') + 1; *p; p += *p == 'x') {
    shape[ndim] = strtoll(p, (char **)&p, 10);
    n *= shape[ndim++];
  }
  bool good = chx_dtype(a) == chx_dtype_find(dtype) && chx_ndim(a) == ndim && chx_size(a) == n;
  for (int i = 0; good && i < ndim; i++) good &= chx_shape(a)[i] == shape[i];
  char *data = good ? check_read(a) : NULL;
  good &= data != NULL;
  for (int64_t k = 0; good && k < n; k++) {
    const char *e = data + k * chx_dtype_size(chx_dtype(a));
    double want = *dtype == 'u' ? (double)k : !strcmp(dtype, "bool") ? (double)(k % 2) : (double)(k - 3);
    good &= check_load(e, chx_dtype(a)) == want;
    if (*dtype == 'c') good &= check_load(e + chx_dtype_size(chx_dtype(a)) / 2, chx_dtype(a)) == (double)k;
  }
  free(data);
  return good;
}

static void test_archive(chx_scope *s, const char *file, int n)
{
  chx_npz *z = chx_npz_open(s, check_data(file));
  is_int(chx_npz_count(z), n, "%s: number of arrays %s", file, chx_scope_message(s));
  bool good = true;
  for (int i = 0; i < chx_npz_count(z); i++) {
    const char *name = chx_npz_name(z, i);
    chx_array *a = chx_npz_get(s, z, name);
    if (!as_named(name, a)) {
      note("%s: %s %s", file, name, chx_scope_message(s));
      good = false;
      chx_scope_clear(s);
    }
  }
  ok(good, "%s: every array is as NumPy wrote it", file);
  chx_npz_close(z);
}

static void is_error(chx_scope *s, const void *result, int code, const char *part, const char *what)
{
  ok(!result && chx_scope_error(s) == code && strstr(chx_scope_message(s), part), "%s: %s", what, chx_scope_message(s));
  chx_scope_clear(s);
}

static void test_numpy(chx_scope *s)
{
  test_archive(s, "npz_stored.npz", 60);
  test_archive(s, "npz_deflated.npz", 60);
  test_archive(s, "npz_stream.npz", 2);
  test_archive(s, "npz_zip64.npz", 2);
  ok(as_named("f32-C-3x1x4", chx_load_npy(s, check_data("npy_v1.npy"))), "version 1.0");
  ok(as_named("f32-C-3x1x4", chx_load_npy(s, check_data("npy_v2.npy"))), "version 2.0");
  ok(as_named("f32-C-3x1x4", chx_load_npy(s, check_data("npy_v3.npy"))), "version 3.0");
  ok(as_named("f64-F-2x3", chx_load_npy(s, check_data("npy_fortran_be.npy"))), "Fortran order, big-endian");
  ok(as_named("bf16-C-5", chx_load_npy(s, check_data("npy_bf16.npy"))), "ml_dtypes' bfloat16");
  is_error(s, chx_load_npy(s, check_data("npy_structured.npy")), CHX_EIO, "structured", "a structured dtype");
  is_error(s, chx_load_npy(s, check_data("npy_objects.npy")), CHX_EIO, "pickle", "objects");
  is_error(s, chx_load_npy(s, check_data("npy_text.npy")), CHX_EIO, "<U3", "text");
  is_error(s, chx_load_npy(s, check_data("npy_dates.npy")), CHX_EIO, "M8", "dates");
  is_error(s, chx_load_npy(s, check_data("npy_opaque.npy")), CHX_EIO, "|V2", "two opaque bytes, which are not bf16");
}

/* ---- round trips --------------------------------------------------------------------------------------------------------- */

static bool same_bytes(const chx_array *a, const chx_array *b)
{
  if (!a || !b || chx_dtype(a) != chx_dtype(b) || chx_ndim(a) != chx_ndim(b)) return false;
  for (int i = 0; i < chx_ndim(a); i++)
    if (chx_shape(a)[i] != chx_shape(b)[i]) return false;
  void *x = check_read(a), *y = check_read(b);
  bool good = x && y && !memcmp(x, y, (size_t)chx_nbytes(a));
  free(x);
  free(y);
  return good;
}

static void test_round_trips(chx_scope *s)
{
  static const int64_t shape[] = {2, 3, 4, 1}, none[] = {3, 0};
  enum { N = CHX_DTYPE_END + 2 };
  double x[24];
  char names[N][32];
  const char *list[N];
  const chx_array *arrays[N];
  int n = 0;
  check_seed(3);
  for (int i = 0; i < 24; i++) x[i] = check_uniform(-100, 100);
  for (int d = 1; d < CHX_DTYPE_END; d++) {
    arrays[n] = chx_from_shape(s, d, d % 5, shape, x);
    chx_save_npy(s, temp("a.npy"), arrays[n]);
    ok(same_bytes(arrays[n], chx_load_npy(s, temp("a.npy"))), "%s: one array %s", chx_dtype_name(d), chx_scope_message(s));
    snprintf(names[n], sizeof *names, "/link/%s", chx_dtype_name(d));
    list[n] = names[n];
    n++;
  }
  list[n] = "leer \xc3\xa4";
  arrays[n++] = chx_from_shape(s, CHX_F64, 2, none, x);
  list[n] = "";
  arrays[n++] = chx_from(s, CHX_F64, 24, x);
  for (int compress = 0; compress < 2; compress++) {
    is_int(chx_save_npz(s, temp("a.npz"), n, list, arrays, compress), CHX_OK, "save %d arrays, compress %d %s", n, compress,
           chx_scope_message(s));
    chx_npz *z = chx_npz_open(s, temp("a.npz"));
    bool good = chx_npz_count(z) == n;
    for (int i = 0; i < n; i++) good &= !strcmp(chx_npz_name(z, i), list[i]) && same_bytes(arrays[i], chx_npz_get(s, z, list[i]));
    ok(good, "all %d are there again %s", n, chx_scope_message(s));
    ok(!chx_npz_name(z, -1) && !chx_npz_name(z, n), "no name out of range");
    is_error(s, chx_npz_get(s, z, "weights"), CHX_EARG, "\"weights\"", "an array that is not there");
    is_error(s, chx_npz_get(s, z, NULL), CHX_EARG, "NULL", "no name");
    chx_npz_close(z);
  }
  is_int(chx_save_npz(s, temp("e.npz"), 0, NULL, NULL, 0), CHX_OK, "no arrays");
  chx_npz *z = chx_npz_open(s, temp("e.npz"));
  ok(z && chx_npz_count(z) == 0, "an empty archive");
  chx_npz_close(z);
  chx_npz_close(NULL);

  /* zip64's fields, which only files above 4 GB need. */
  chxi_zip64_from = 100;
  is_int(chx_save_npz(s, temp("z.npz"), CHX_DTYPE_END - 1, list, arrays, 0), CHX_OK, "save as zip64 %s", chx_scope_message(s));
  chxi_zip64_from = UINT32_MAX;
  z = chx_npz_open(s, temp("z.npz"));
  bool good = z != NULL;
  for (int i = 0; good && i < CHX_DTYPE_END - 1; i++) good &= same_bytes(arrays[i], chx_npz_get(s, z, list[i]));
  ok(good, "all are there again %s", chx_scope_message(s));
  chx_npz_close(z);

  const char *two[] = {"a", "a"};
  chx_save_npz(s, temp("t.npz"), 2, two, arrays, 0);
  is_error(s, NULL, CHX_EARG, "two arrays", "one name twice");
  const chx_array *null[] = {arrays[0], NULL};
  chx_save_npz(s, temp("t.npz"), 2, list, null, 0);
  is_error(s, NULL, CHX_EARG, "NULL", "an array that is NULL");
  chx_save_npy(s, temp("t.npy"), NULL);
  is_error(s, NULL, CHX_EARG, "NULL", "save no array");
  ok(access(temp("t.npz"), F_OK) && access(temp("t.npy"), F_OK), "nothing was written");
}

/* ---- damaged files -------------------------------------------------------------------------------------------------------------- */

/* Opens and reads all of a file; the number of arrays read, -1 after an error, which is taken away. */
static int read_all(chx_scope *s, const char *path, bool archive)
{
  const size_t mark = chx_scope_mark(s);
  int n = 0;
  if (archive) {
    chx_npz *z = chx_npz_open(s, path);
    for (; n < chx_npz_count(z) && !chx_scope_error(s); n++) chx_npz_get(s, z, chx_npz_name(z, n));
    chx_npz_close(z);
  } else
    n = chx_load_npy(s, path) != NULL;
  if (chx_scope_error(s)) n = -1;
  chx_scope_clear(s);
  chx_scope_rewind(s, mark, NULL);
  return n;
}

static void test_cut(chx_scope *s, const char *file, bool archive)
{
  size_t n;
  char *data = slurp(check_data(file), &n);
  char path[128];
  snprintf(path, sizeof path, "%s", temp("cut"));
  int wrong = 0;
  for (size_t i = 0; data && i < n; i++) {
    put(path, data, i);
    wrong += read_all(s, path, archive) >= 0;
  }
  is_int(wrong, 0, "%s: cut off at each of %zu bytes: an error each time", file, n);
  data = realloc(data, n + 1);
  data[n] = 0;
  put(path, data, n + 1);
  is_int(read_all(s, path, archive), -1, "%s: with a byte too many", file);
  put(path, data, n);
  ok(read_all(s, path, archive) > 0, "%s: as it was", file);
  free(data);
}

static void test_headers(chx_scope *s)
{
  static const struct { const char *text, *part; } bad[] = {
    {"", "{"}, {"{", "dictionary"}, {"{}", "lacks"}, {"[1]", "{"}, {"{'descr': '<f4'}", "lacks"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)", "dictionary"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x", "goes on"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}", "unknown key"},
    {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "twice"},
    {"{'descr': '<f4' 'fortran_order': False, 'shape': (2,)}", "dictionary"},
    {"{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}", "True nor False"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': 2}", "tuple"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': [2]}", "tuple"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", "not a number"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2 2)}", "tuple"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (,)}", "not a number"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2.0,)}", "tuple"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,}", "not a number"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", "has 8 bytes"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", "has 8 bytes"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808,)}", "too large"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999999,)}", "too large"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4)}", "has 8 bytes"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387906,)}", "has 8 bytes"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 2)}", "has 8 bytes"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2)}", "more than 16"},
    {"{'descr': '<f3', 'fortran_order': False, 'shape': (2,)}", "<f3"},
    {"{'descr': '<f16', 'fortran_order': False, 'shape': (2,)}", "<f16"},
    {"{'descr': 'f', 'fortran_order': False, 'shape': (2,)}", "'f'"},
    {"{'descr': '', 'fortran_order': False, 'shape': (2,)}", "''"},
    {"{'descr': '<', 'fortran_order': False, 'shape': (2,)}", "'<'"},
    {"{'descr': '|O', 'fortran_order': False, 'shape': (2,)}", "pickle"},
    {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", "structured"},
    {"{'descr': ('<f4', (2,)), 'fortran_order': False, 'shape': (2,)}", "short string"},
    {"{'descr': '<f4\\x00', 'fortran_order': False, 'shape': (2,)}", "short string"},
    {"{'descr': <f4, 'fortran_order': False, 'shape': (2,)}", "short string"},
    {"{'descr: '<f4', 'fortran_order': False, 'shape': (2,)}", "dictionary"},
    {"{descr: '<f4', 'fortran_order': False, 'shape': (2,)}", "dictionary"},
  };
  static const struct { const char *text; int64_t size; } fine[] = {
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 2},
    {"{\"shape\":(2L,),\"fortran_order\":True,\"descr\":\"=f4\"}\n", 2},
    {"  { 'shape' : ( 1 , 2 , ) , 'fortran_order' : True , 'descr' : 'f4' , }  \n\n", 2},
    {"{'descr': '>i8', 'fortran_order': False, 'shape': ()}", 1},
    {"{'descr': '|b1', 'fortran_order': False, 'shape': (2, 4)}", 8},
  };
  char data[512] = "\x93NUMPY\1";
  for (size_t i = 0; i < LENGTH(bad) + LENGTH(fine); i++) {
    const char *text = i < LENGTH(bad) ? bad[i].text : fine[i - LENGTH(bad)].text;
    const size_t n = strlen(text);
    data[8] = (char)n;
    data[9] = 0;
    memcpy(data + 10, text, n);
    memset(data + 10 + n, 0x41, 8);
    put(temp("h.npy"), data, 18 + n);
    chx_array *a = chx_load_npy(s, temp("h.npy"));
    if (i < LENGTH(bad))
      is_error(s, a, CHX_EIO, bad[i].part, text);
    else
      is_int(chx_size(a), fine[i - LENGTH(bad)].size, "%.70s %s", text, chx_scope_message(s));
  }
  static const struct { int at, value; const char *part; } bytes[] = {
    {0, 'P', "does not begin"}, {5, 'y', "does not begin"}, {6, 0, "version"}, {6, 4, "version"}, {7, 1, "version"},
    {9, 0x7f, "ends in the header"},
  };
  for (size_t i = 0; i < LENGTH(bytes); i++) {
    const char saved = data[bytes[i].at];
    data[bytes[i].at] = (char)bytes[i].value;
    put(temp("h.npy"), data, 100);
    is_error(s, chx_load_npy(s, temp("h.npy")), CHX_EIO, bytes[i].part, "a damaged byte of the magic");
    data[bytes[i].at] = saved;
  }
  static const unsigned char v2[] = "\x93NUMPY\2\0\xff\xff\xff\xff{}";
  put(temp("h.npy"), v2, sizeof v2 - 1);
  is_error(s, chx_load_npy(s, temp("h.npy")), CHX_EIO, "ends in the header", "a header of 4 GB");
}

/* Every bit of an archive flipped: an error, or arrays as they were, since the CRC covers them. */
static void test_flips(chx_scope *s, const char *file)
{
  enum { MOST = 4 };
  size_t n;
  char *data = slurp(check_data(file), &n);
  const chx_array *was[MOST] = {0};
  int read = 0, refused = 0, wrong = 0, count;
  chx_npz *z = chx_npz_open(s, check_data(file));
  for (count = 0; count < chx_npz_count(z) && count < MOST; count++) was[count] = chx_npz_get(s, z, chx_npz_name(z, count));
  chx_npz_close(z);
  for (size_t i = 0; i < 8 * n; i++) {
    const size_t mark = chx_scope_mark(s);
    data[i / 8] ^= (char)(1 << i % 8);
    put(temp("flip"), data, n);
    data[i / 8] ^= (char)(1 << i % 8);
    z = chx_npz_open(s, temp("flip"));
    for (int k = 0; k < chx_npz_count(z) && !chx_scope_error(s); k++) {
      const chx_array *a = chx_npz_get(s, z, chx_npz_name(z, k));
      bool same = !a;
      for (int w = 0; w < count && !same; w++) same = same_bytes(a, was[w]);
      wrong += !same;
    }
    chx_npz_close(z);
    *(chx_scope_error(s) ? &refused : &read) += 1;
    chx_scope_clear(s);
    chx_scope_rewind(s, mark, NULL);
  }
  ok(!wrong && refused > (int)n, "%s: each bit flipped: %d refused, %d read as before, %d wrong", file, refused, read, wrong);
  free(data);
}

/* ---- whole or not at all ------------------------------------------------------------------------------------------------------- */

static int entries_of_dir(void)
{
  char command[128];
  snprintf(command, sizeof command, "ls -A %s | wc -l", dir);
  FILE *f = popen(command, "r");
  int n = -1;
  if (fscanf(f, "%d", &n) != 1) n = -1;
  pclose(f);
  return n;
}

static void test_whole(chx_scope *s)
{
  double x[1000] = {1, 2, 3};
  chx_array *small = chx_from(s, CHX_F64, 3, x), *large = chx_from(s, CHX_F64, 1000, x);
  char path[128];
  const char *names[] = {"x"};
  const chx_array *one[] = {small}, *other[] = {large};
  snprintf(path, sizeof path, "%s", temp("w.npz"));
  is_int(chx_save_npz(s, path, 1, names, one, 1), CHX_OK, "a file");
  const int files = entries_of_dir();

  struct rlimit old, limit;
  getrlimit(RLIMIT_FSIZE, &old);
  limit = (struct rlimit){1000, old.rlim_max};
  signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &limit);
  chx_save_npz(s, path, 1, names, other, 0);
  setrlimit(RLIMIT_FSIZE, &old);
  is_error(s, NULL, CHX_EIO, "write", "a disk that is full");
  chx_npz *z = chx_npz_open(s, path);
  is_int(chx_size(chx_npz_get(s, z, "x")), 3, "the file is as it was");
  chx_npz_close(z);
  is_int(entries_of_dir(), files, "nothing else was left behind");

  chmod(path, 0640);
  chx_save_npz(s, path, 1, names, other, 0);
  struct stat st;
  stat(path, &st);
  is_int(st.st_mode & 07777, 0640, "a replaced file keeps its permissions");

  if (symlink("w.npz", temp("link.npz"))) note("no symbolic links here");
  chx_save_npz(s, temp("link.npz"), 1, names, one, 0);
  lstat(temp("link.npz"), &st);
  z = chx_npz_open(s, path);
  ok(S_ISLNK(st.st_mode) && chx_size(chx_npz_get(s, z, "x")) == 3, "a link stays, and what it names is replaced");
  chx_npz_close(z);

  chx_save_npy(s, dir, small);
  is_error(s, NULL, CHX_EIO, "directory", "save over a directory");
  chx_save_npy(s, temp("none/a.npy"), small);
  is_error(s, NULL, CHX_EIO, "No such file", "save into a directory that is not there");
  chx_save_npy(s, "/dev/null", small);
  is_error(s, NULL, CHX_EIO, "device", "save over a device");
  chx_save_npy(s, "", small);
  is_error(s, NULL, CHX_EARG, "empty", "no name");
  chx_save_npy(s, NULL, small);
  is_error(s, NULL, CHX_EARG, "NULL", "NULL for a name");
  is_error(s, chx_load_npy(s, temp("none.npy")), CHX_EIO, "No such file", "load what is not there");
  is_error(s, chx_load_npy(s, dir), CHX_EIO, "directory", "load a directory");
  is_error(s, chx_npz_open(s, check_data("npy_v1.npy")), CHX_EIO, "want a .npz", "open a .npy as an archive");
  is_error(s, chx_load_npy(s, path), CHX_EIO, "does not begin", "load an archive as a .npy");
}

/* ---- failing allocations ---------------------------------------------------------------------------------------------------------- */

static int countdown;

static int fail_at_zero(void *ctx, const char *device, int alloc, uint64_t bytes)
{
  (void)ctx, (void)device, (void)bytes;
  return alloc && countdown-- == 0;
}

static void test_memory(chx_scope *s)
{
  int n = 0, wrong = 0;
  double x[6] = {1, 2, 3, 4, 5, 6};
  const chx_array *a = chx_from(s, CHX_F32, 6, x);
  const char *name = "x";
  for (bool failed = true; failed && n < 1000; n++) {
    const size_t mark = chx_scope_mark(s);
    countdown = n;
    chx_set_memory_hook(fail_at_zero, NULL);
    chx_npz *z = chx_npz_open(s, check_data("npz_stream.npz"));
    for (int i = 0; i < chx_npz_count(z); i++) chx_npz_get(s, z, chx_npz_name(z, i));
    chx_npz_close(z);
    chx_save_npz(s, temp("f.npz"), 1, &name, &a, 1);
    chx_set_memory_hook(NULL, NULL);
    failed = countdown < 0;
    if (chx_scope_error(s) && chx_scope_error(s) != CHX_ENOMEM) { /* none: a device's allocator tries again */
      note("allocation %d: %s", n, chx_scope_message(s));
      wrong++;
    }
    chx_scope_clear(s);
    chx_scope_rewind(s, mark, NULL);
  }
  ok(n > 10 && n < 1000 && !wrong, "each of %d allocations fails in turn: out of memory, or it was tried again", n - 1);
}

int main(void)
{
  snprintf(dir, sizeof dir, "/tmp/chx-test-npy-XXXXXX");
  if (!mkdtemp(dir)) return 99;
  chx_scope *s = chx_scope_begin(NULL);
  test_numpy(s);
  test_round_trips(s);
  test_cut(s, "npy_v1.npy", false);
  test_cut(s, "npy_v2.npy", false);
  test_cut(s, "npz_stream.npz", true);
  test_cut(s, "npz_zip64.npz", true);
  test_headers(s);
  test_flips(s, "npz_zip64.npz");
  test_flips(s, "npz_stream.npz");
  test_whole(s);
  test_memory(s);
  chx_scope_end(s);
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", dir);
  if (system(command)) note("%s is left", dir);
  return done_testing();
}
