/* SPDX-License-Identifier: MIT
 * test_gpu.c: the host side of the shared GPU kernels without a GPU: compiled programs on disk, the table of programs,
 * texts. A driver of our own stands in for a vendor's: a "compiled" program is its text.
 */
#include "check.h"
#include <dirent.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../plugins/gpu/gpu.h"

/* ---- a device ------------------------------------------------------------------------------------------------ */

struct gpu_module {
  char *text;
};

static atomic_int built, loaded, live, fail_builds, fail_loads, fail_functions;
static char cache_option[512]; /* "-": the option is not set */
static _Thread_local char said[1024];

static chx_status fail(void *ctx, chx_status code, const char *text)
{
  (void)ctx;
  snprintf(said, sizeof said, "%s", text);
  return code;
}

static const char *option(void *ctx, const char *key)
{
  (void)ctx;
  return !strcmp(key, "CHX_CACHE_DIR") && strcmp(cache_option, "-") ? cache_option : NULL;
}

static chx_status module_new(const char *text, size_t n, gpu_module **out)
{
  *out = malloc(sizeof **out);
  (*out)->text = strndup(text, n);
  live++;
  return CHX_OK;
}

static chx_status build(gpu_device *g, const char *name, const char *text, gpu_module **out)
{
  if (fail_builds) return gpu_fail(g, CHX_EFAILED, "%s: %s does not compile", g->spec, name);
  built++;
  usleep(200);
  return module_new(text, strlen(text), out);
}

static chx_status load(gpu_device *g, const void *bytes, size_t n, gpu_module **out)
{
  if (fail_loads) return gpu_fail(g, CHX_EFAILED, "%s: not loaded", g->spec);
  loaded++;
  return module_new(bytes, n, out);
}

static chx_status binary(gpu_device *g, gpu_module *m, void **bytes, size_t *n)
{
  (void)g;
  *bytes = strdup(m->text);
  *n = strlen(m->text);
  return CHX_OK;
}

static void unload(gpu_device *g, gpu_module *m)
{
  (void)g;
  free(m->text);
  free(m);
  live--;
}

static chx_status function(gpu_device *g, gpu_module *m, const char *name, gpu_function **out)
{
  if (fail_functions && !strcmp(name, "second"))
    return gpu_fail(g, CHX_EFAILED, "%s: there is no kernel %s", g->spec, name);
  *out = (gpu_function *)(void *)(m->text + (strcmp(name, "second") == 0)); /* two addresses that go with the module */
  return CHX_OK;
}

static const gpu_driver driver = {
    .build = build, .load = load, .binary = binary, .unload = unload, .function = function};
static const chx_host host = {.size = sizeof host, .fail = fail, .option = option};

static void device(gpu_device *g, const char *id)
{
  memset(g, 0, sizeof *g);
  g->driver = &driver;
  g->host = &host;
  g->defines = "";
  snprintf(g->spec, sizeof g->spec, "stub:0");
  snprintf(g->id, sizeof g->id, "%s", id);
}

static void counts_reset(void) { built = loaded = fail_builds = fail_loads = fail_functions = 0; }

/* ---- folders ------------------------------------------------------------------------------------------------- */

static char base[256];

static void folder(const char *name) { snprintf(cache_option, sizeof cache_option, "%s/%s", base, name); }

/* How many files the folder has; the last one's path in `path` if it is given. */
static int files(const char *dir, char *path, size_t size)
{
  DIR *d = opendir(dir);
  int n = 0;
  for (struct dirent *e; d && (e = readdir(d));)
    if (e->d_name[0] != '.') {
      n++;
      if (path) snprintf(path, size, "%s/%s", dir, e->d_name);
    }
  if (d) closedir(d);
  return n;
}

static bool hit(gpu_device *g, const char *text, const char *want)
{
  void *bytes = NULL;
  size_t n = 0;
  const bool found = gpu_disk_read(g, text, &bytes, &n);
  const bool good = found && n == strlen(want) && !memcmp(bytes, want, n);
  if (found && !good) note("the disk gave %d other bytes", (int)n);
  free(bytes);
  return good;
}

static bool miss(gpu_device *g, const char *text)
{
  void *bytes = NULL;
  size_t n = 0;
  const bool found = gpu_disk_read(g, text, &bytes, &n);
  free(bytes);
  return !found && (found || !bytes);
}

/* ---- the disk ------------------------------------------------------------------------------------------------ */

static void disk(void)
{
  gpu_device g, other;
  char path[1024];
  device(&g, "device 1, compiler 2");
  device(&other, "device 1, compiler 3");
  folder("a/b/c");
  ok(miss(&g, "text"), "a folder that is not there has nothing");
  gpu_disk_write(&g, "text", "binary", 6);
  ok(hit(&g, "text", "binary"), "what was written is read");
  ok(miss(&g, "text "), "another text is another program");
  ok(miss(&other, "text"), "another compiler makes another program");
  gpu_disk_write(&other, "text", "other", 5);
  ok(hit(&g, "text", "binary") && hit(&other, "text", "other"), "both are kept");
  gpu_disk_write(&g, "text", "newer", 5);
  ok(hit(&g, "text", "newer"), "a later one takes its place");
  gpu_disk_write(&g, "nothing", "", 0);
  ok(miss(&g, "nothing"), "no bytes are not kept");
  is_int(files(cache_option, path, sizeof path), 2, "two files, none of them temporary");
}

/* Every byte of a file changed in turn, every length, and one more byte: none is taken for good. */
static void damaged(void)
{
  gpu_device g;
  char path[1024], file[256];
  device(&g, "device");
  folder("damaged");
  gpu_disk_write(&g, "text", "compiled", 8);
  is_int(files(cache_option, path, sizeof path), 1, "one file");
  FILE *f = fopen(path, "r");
  const size_t n = f ? fread(file, 1, sizeof file, f) : 0;
  if (f) fclose(f);
  int taken = 0;
  for (size_t k = 0; k <= 2 * n; k++) {
    char bad[257];
    size_t length = n;
    memcpy(bad, file, n);
    if (k < n) bad[k] ^= 0x10;
    else if (k < 2 * n) length = k - n;
    else bad[length++] = 0;
    f = fopen(path, "w");
    if (f) fwrite(bad, 1, length, f), fclose(f);
    taken += !miss(&g, "text");
  }
  ok(n > 8 && !taken, "a file of %d bytes, damaged in %d ways, is never taken", (int)n, (int)(2 * n + 1));
  gpu_disk_write(&g, "text", "compiled", 8);
  ok(hit(&g, "text", "compiled"), "it is written anew");
}

static void places(void)
{
  gpu_device g;
  char path[1024];
  device(&g, "device");
  snprintf(path, sizeof path, "%s/file", base);
  FILE *f = fopen(path, "w");
  if (f) fclose(f);
  folder("file/below"); /* also root cannot write there */
  gpu_disk_write(&g, "text", "binary", 6);
  ok(miss(&g, "text"), "a folder that cannot be made keeps nothing");
  memset(cache_option, 'x', sizeof cache_option - 1);
  memcpy(cache_option, base, strlen(base));
  cache_option[strlen(base)] = '/';
  gpu_disk_write(&g, "text", "binary", 6);
  ok(miss(&g, "text"), "nor does one whose name is too long");

  snprintf(path, sizeof path, "%s/xdg", base);
  setenv("XDG_CACHE_HOME", path, 1);
  cache_option[0] = 0;
  gpu_disk_write(&g, "text", "binary", 6);
  ok(miss(&g, "text") && access(path, F_OK), "CHX_CACHE_DIR= keeps nothing, and makes no folder");
  strcpy(cache_option, "-");
  gpu_disk_write(&g, "text", "in xdg", 6);
  snprintf(path, sizeof path, "%s/xdg/chx", base);
  ok(hit(&g, "text", "in xdg") && files(path, NULL, 0) == 1, "without it, XDG_CACHE_HOME/chx");
  unsetenv("XDG_CACHE_HOME");
  snprintf(path, sizeof path, "%s/home", base);
  setenv("HOME", path, 1);
  ok(miss(&g, "text"), "HOME is another place");
  gpu_disk_write(&g, "text", "at home", 7);
  snprintf(path, sizeof path, "%s/home/.cache/chx", base);
  ok(hit(&g, "text", "at home") && files(path, NULL, 0) == 1, "then HOME/.cache/chx");
  unsetenv("HOME");
  ok(miss(&g, "text"), "and without any, nothing");
}

/* Processes that write and read the same program: a reader has all of one, or nothing. */
static void processes(void)
{
  enum { WRITERS = 3, ROUNDS = 150, BYTES = 20000 };
  gpu_device g;
  char path[1024];
  pid_t pid[WRITERS];
  int bad = 0, seen = 0;
  device(&g, "device");
  folder("processes");
  for (int w = 0; w < WRITERS; w++)
    if (!(pid[w] = fork())) {
      char *bytes = malloc(BYTES);
      memset(bytes, 'a' + w, BYTES);
      for (int k = 0; k < ROUNDS; k++) gpu_disk_write(&g, "text", bytes, BYTES - (size_t)w);
      _exit(0);
    }
  for (int running = WRITERS; running;) {
    char *p = NULL;
    size_t n = 0;
    if (gpu_disk_read(&g, "text", (void **)&p, &n)) {
      seen++;
      if (n > BYTES || n <= BYTES - WRITERS || p[0] != (char)('a' + (int)(BYTES - n))) bad++;
      for (size_t i = 1; i < n; i++) bad += p[i] != p[0];
      free(p);
    }
    if (waitpid(-1, NULL, WNOHANG) > 0) running--;
  }
  ok(seen > 0 && !bad, "of %d reads while %d processes write, none has bytes of two", seen, WRITERS);
  is_int(files(cache_option, path, sizeof path), 1, "one file is left");
}

/* ---- the table ----------------------------------------------------------------------------------------------- */

typedef struct spec {
  uint8_t which, fails;
} spec;

static void write_text(gpu_text *t, const void *of)
{
  const spec *p = of;
  gpu_add(t, "program %d", p->which);
  if (p->fails) t->failed = true;
}

static bool no_example(uint32_t i, void *of)
{
  (void)i, (void)of;
  return false;
}
static const char *const kernels[] = {"first", "second", NULL};
static const gpu_family family = {"stub", sizeof(spec), write_text, no_example, kernels},
                        twin = {"twin", sizeof(spec), write_text, no_example, kernels};

enum { THREADS = 8, SPECS = 100 };
static gpu_device shared;
static gpu_function *found[THREADS][SPECS][2];

static void *find_all(void *arg)
{
  gpu_function *(*mine)[2] = arg;
  const int start = (int)((mine - found[0]) / SPECS) * 13; /* each thread begins elsewhere */
  for (int i = 0; i < SPECS; i++) {
    const spec p = {(uint8_t)((i * 37 + start) % SPECS), 0};
    for (uint32_t k = 0; k < 2; k++)
      if (gpu_find(&shared, &family, &p, k, &mine[p.which][k])) mine[p.which][k] = NULL;
  }
  return NULL;
}

static void table(void)
{
  pthread_t t[THREADS];
  int differ = 0;
  counts_reset();
  device(&shared, "table");
  cache_option[0] = 0;
  ok(gpu_table_open(&shared), "a table");
  for (int k = 0; k < THREADS; k++) pthread_create(&t[k], NULL, find_all, found[k]);
  for (int k = 0; k < THREADS; k++) pthread_join(t[k], NULL);
  for (int k = 0; k < THREADS; k++)
    for (int i = 0; i < SPECS; i++)
      for (int w = 0; w < 2; w++) differ += !found[0][i][w] || found[k][i][w] != found[0][i][w];
  ok(!differ && built == SPECS, "%d threads find %d programs, each built once: %d built, %d differ", THREADS, SPECS,
     (int)built, differ);
  int wrong = 0;
  for (int i = 0; i < SPECS; i++) {
    char end[24];
    const char *text = (const char *)(void *)found[0][i][0];
    const int n = snprintf(end, sizeof end, "program %d", i);
    wrong += strcmp(text + strlen(text) - n, end) || found[0][i][1] != (gpu_function *)(void *)(text + 1);
  }
  is_int(wrong, 0, "each is the one that was asked for, and each of its kernels");

  gpu_function *fn = NULL, *same = NULL;
  const spec p = {3, 0}, bad = {3, 1}, next = {200, 0};
  ok(!gpu_find(&shared, &twin, &p, 0, &fn) && fn != found[0][3][0] && built == SPECS + 1,
     "another family has programs of its own");
  is_int(gpu_find(&shared, &family, &bad, 0, &fn), CHX_ENOMEM, "a text that fails: %s", said);
  fail_builds = 1;
  ok(gpu_find(&shared, &family, &next, 0, &fn) == CHX_EFAILED && strstr(said, "stub:0: stub does not compile"),
     "a program that does not compile: %s", said);
  fail_builds = 0;
  fail_functions = 1;
  ok(gpu_find(&shared, &family, &next, 0, &fn) == CHX_EFAILED && strstr(said, "no kernel second"),
     "a kernel that is not there: %s", said);
  fail_functions = 0;
  ok(!gpu_find(&shared, &family, &next, 0, &fn) && !gpu_find(&shared, &family, &next, 0, &same) && fn == same,
     "after both it is built, and kept");
  gpu_table_close(&shared);
  is_int(live, 0, "closing the table unloads every program");
}

/* The table and the disk together, as two runs of a program are. */
static void runs(void)
{
  gpu_device g;
  gpu_function *fn;
  const spec p = {1, 0};
  char path[1024];
  folder("runs");
  for (int run = 0; run < 4; run++) {
    counts_reset();
    device(&g, "runs");
    fail_loads = run == 2;
    if (run == 3 && files(cache_option, path, sizeof path) == 1 && truncate(path, 60)) note("%s cannot be cut", path);
    gpu_table_open(&g);
    ok(!gpu_find(&g, &family, &p, 0, &fn) && built == (run != 1) && loaded == (run == 1), "%s",
       run == 0   ? "the first run builds"
       : run == 1 ? "the second loads"
       : run == 2 ? "what does not load is built"
                  : "so is what is damaged");
    gpu_table_close(&g);
  }
  is_int(live, 0, "nothing is left");
}

/* ---- text ---------------------------------------------------------------------------------------------------- */

static void text(void)
{
  enum { PIECES = 60000 };
  gpu_text t = {NULL, 0, 0, false};
  for (int i = 0; i < PIECES; i++) i % 2 ? gpu_add(&t, "%07d;", i) : gpu_raw(&t, "abcdefg;");
  int wrong = t.n != 8 * PIECES || strlen(t.at) != t.n;
  for (int i = 0; i < PIECES && !wrong; i++) {
    char want[16] = "abcdefg;";
    if (i % 2) snprintf(want, sizeof want, "%07d;", i);
    wrong = memcmp(t.at + 8 * i, want, 8) != 0;
  }
  ok(!t.failed && !wrong && t.room > t.n, "a text of %d bytes in %d pieces", (int)t.n, PIECES);
  char *longest = malloc(1025);
  memset(longest, 'x', 1024);
  longest[1024] = 0;
  gpu_add(&t, "%s", longest + 1);
  ok(!t.failed && t.n == 8 * PIECES + 1023, "a formatted piece may have 1023 bytes");
  gpu_add(&t, "%s", longest);
  ok(t.failed && t.n == 8 * PIECES + 1023, "not one more: the text has failed, nothing was cut");
  gpu_raw(&t, "more");
  ok(t.failed && t.n == 8 * PIECES + 1023, "and stays so");
  free(t.at);
  free(longest);
  const spec p = {7, 0}, bad = {7, 1};
  char *all = gpu_program_text("#define HERE 1\n", &family, &p);
  ok(all && !strncmp(all, "#define HERE 1\n", 15) && strstr(all, gpu_text_prelude) == all + 15 &&
         !strcmp(all + strlen(all) - 9, "program 7"),
     "a program is the defines, the prelude and the family's text");
  free(all);
  ok(!gpu_program_text("", &family, &bad), "one that fails is none");
}

int main(void)
{
  const char *root = getenv("CHX_BUILDDIR");
  snprintf(base, sizeof base, "%s/test_gpu.XXXXXX", root && *root ? root : "/tmp");
  if (!ok(mkdtemp(base), "a folder for the test: %s", base)) return done_testing();
  disk();
  damaged();
  places();
  processes();
  table();
  runs();
  text();
  char command[400];
  snprintf(command, sizeof command, "rm -rf '%s'", base);
  ok(!system(command), "the folder goes");
  return done_testing();
}
