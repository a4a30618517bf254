/* SPDX-License-Identifier: MIT
 * gpu_compile.c: the shared kernels' texts through NVRTC and hipRTC, which need no GPU.
 *
 *   gpu_compile.t [--all] [--each N] [--seed N] [--family NAME] [ARCHITECTURE ...]
 *
 * By default a few texts of each family are compiled, for sm_90 and gfx90a; the seed (CHX_TEST_SEED) says which. --all,
 * or CHX_GPU_COMPILE=all, takes every text that the families' examples give, for sm_80, sm_90, sm_120, gfx90a and
 * gfx1030 (many minutes); CHX_GPU_COMPILE=none takes none. A compiler that is not there is skipped.
 */
#include "check.h"
#include <dlfcn.h>
#include <time.h>
#include "../plugins/gpu/gpu.h"

/* ---- compilers --------------------------------------------------------------------------------------------------- */

/* What NVRTC and hipRTC have in common, results as int. */
typedef struct compiler {
  const char *name, *prefix, *binary, *arch_option;
  const char *const *libraries;
  const char *options[4];
  int each; /* texts of a family by default: hipRTC takes some times as long */
  int (*create)(void **, const char *, const char *, int, const char **, const char **);
  int (*compile)(void *, int, const char **);
  int (*destroy)(void **);
  int (*log_size)(void *, size_t *);
  int (*log)(void *, char *);
  int (*size)(void *, size_t *);
  int (*get)(void *, char *);
} compiler;

static const char *const nvrtc_names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so",
                                          "/usr/local/cuda/lib64/libnvrtc.so", NULL};
static const char *const hiprtc_names[] = {"libhiprtc.so", "libamdhip64.so", "libamdhip64.so.5", "libamdhip64.so.6",
                                           NULL};
static compiler compilers[] = {
  {.name = "NVRTC", .prefix = "nvrtc", .binary = "GetCUBIN", .arch_option = "--gpu-architecture=",
   .libraries = nvrtc_names,
   .options = {"--std=c++17", "-fmad=false", "-diag-suppress=177"}, .each = 4},
  {.name = "hipRTC", .prefix = "hiprtc", .binary = "GetCode", .arch_option = "--offload-arch=",
   .libraries = hiprtc_names,
   .options = {"-std=c++17", "-ffp-contract=off"}, .each = 1},
};

static bool bind(void *lib, const compiler *c, const char *name, const char *tail, void *slot)
{
  char symbol[64];
  snprintf(symbol, sizeof symbol, "%s%s%s", c->prefix, name, tail);
  void *at = dlsym(lib, symbol);
  memcpy(slot, &at, sizeof at);
  return at != NULL;
}

static bool open_compiler(compiler *c)
{
  void *lib = NULL;
  for (const char *const *n = c->libraries; *n && !lib; n++)
    if ((lib = dlopen(*n, RTLD_NOW | RTLD_LOCAL)) && !bind(lib, c, "CreateProgram", "", &c->create)) lib = NULL;
  return lib && bind(lib, c, "CompileProgram", "", &c->compile) && bind(lib, c, "DestroyProgram", "", &c->destroy) &&
         bind(lib, c, "GetProgramLogSize", "", &c->log_size) && bind(lib, c, "GetProgramLog", "", &c->log) &&
         bind(lib, c, c->binary, "Size", &c->size) && bind(lib, c, c->binary, "", &c->get);
}

static void say_log(const compiler *c, void *program)
{
  size_t n = 0;
  char *log = NULL;
  if (!c->log_size(program, &n) && n && (log = calloc(1, n + 1)) && !c->log(program, log)) {
    if (n > 1500) log[1500] = 0;
    note("%s", log);
  }
  free(log);
}

/* Whether the text compiles to a binary that has all of the family's kernels. */
static bool compiles(const compiler *c, const char *arch, const gpu_family *f, const char *text)
{
  char target[96];
  const char *options[5] = {target};
  int n = 1;
  size_t size = 0;
  char *binary = NULL;
  void *program = NULL;
  snprintf(target, sizeof target, "%s%s", c->arch_option, arch);
  for (int i = 0; i < 4 && c->options[i]; i++) options[n++] = c->options[i];
  int code = c->create(&program, text, f->name, 0, NULL, NULL);
  if (!code && (code = c->compile(program, n, options))) say_log(c, program);
  if (!code) code = c->size(program, &size);
  if (!code && (binary = calloc(1, size + 1))) code = c->get(program, binary);
  bool good = !code && binary && size;
  for (const char *const *k = f->functions; good && *k; k++)
    if (!(good = memmem(binary, size, *k, strlen(*k)) != NULL)) note("the binary has no kernel %s", *k);
  if (program) c->destroy(&program);
  free(binary);
  return good;
}

/* ---- families ---------------------------------------------------------------------------------------------------- */

static int count_of(const gpu_family *f)
{
  unsigned char spec[4096] = {0};
  int n = 0;
  while (f->example((uint32_t)n, spec)) n++;
  return n;
}

/* The k-th of a walk over n places that visits each once, by the seed. */
static int place(int k, int n, uint64_t seed)
{
  static const int steps[] = {7919, 104729, 1299709};
  return (int)(((uint64_t)k * (uint64_t)steps[seed % 3] + seed * 2654435761u) % (uint64_t)n);
}

static void family(const compiler *c, const char *arch, const gpu_family *f, int each, uint64_t seed)
{
  const int n = count_of(f), todo = each && each < n ? each : n;
  struct timespec t0, t1;
  int bad = 0;
  clock_gettime(CLOCK_MONOTONIC, &t0);
  for (int k = 0; k < todo && bad < 3; k++) {
    unsigned char spec[4096] = {0};
    const int i = todo == n ? k : place(k, n, seed);
    f->example((uint32_t)i, spec);
    for (int mode = 0; mode < 2; mode++) { /* as it is; and in the reference mode, where that makes a difference */
      char *text = gpu_program_text(mode ? "#define GPU_REFERENCE 1\n" : "", f, spec);
      const bool same = text && mode && !strstr(text, "def GPU_REFERENCE");
      if (!text || (!same && !compiles(c, arch, f, text))) {
        bad++;
        note("text %d of %s does not compile for %s%s", i, f->name, arch, mode ? " in the reference mode" : "");
      }
      free(text);
    }
  }
  clock_gettime(CLOCK_MONOTONIC, &t1);
  const double s = (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) * 1e-9;
  ok(n > 0 && !bad, "%s for %s: %d of %d texts of %s compile (%.1f s)", c->name, arch, todo, n, f->name, s);
}

int main(int argc, char **argv)
{
  const char *env = getenv("CHX_GPU_COMPILE"), *start = getenv("CHX_TEST_SEED"), *only = NULL, *archs[16];
  bool all = env && !strcmp(env, "all");
  int n = 0, each = 0;
  uint64_t seed = start ? strtoull(start, NULL, 10) : 1;
  for (int i = 1; i < argc; i++)
    if (!strcmp(argv[i], "--all")) all = true;
    else if (!strcmp(argv[i], "--seed") && i + 1 < argc) seed = strtoull(argv[++i], NULL, 10);
    else if (!strcmp(argv[i], "--each") && i + 1 < argc) each = atoi(argv[++i]);
    else if (!strcmp(argv[i], "--family") && i + 1 < argc) only = argv[++i];
    else if (n < 16) archs[n++] = argv[i];
  static const char *const usual[] = {"sm_90", "gfx90a", "sm_80", "sm_120", "gfx1030"};
  if (!n)
    for (; n < (all ? 5 : 2); n++) archs[n] = usual[n];
  if (env && !strcmp(env, "none")) {
    skip(1, "CHX_GPU_COMPILE=none");
    return done_testing();
  }
  for (int i = 0; i < n; i++) {
    compiler *c = &compilers[archs[i][0] == 'g'];
    if (!c->create && !open_compiler(c)) {
      skip(1, c->prefix[0] == 'n' ? "NVRTC is not there" : "hipRTC is not there");
      continue;
    }
    for (const gpu_family *const *f = gpu_families; *f; f++)
      if (!only || !strcmp(only, (*f)->name)) family(c, archs[i], *f, all ? 0 : each ? each : c->each, seed);
  }
  return done_testing();
}
