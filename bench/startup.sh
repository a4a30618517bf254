#!/bin/sh
# SPDX-License-Identifier: MIT
# startup.sh: what it costs to begin: `chx devices native`, and libchx in a program that never leaves native.
#
#   bench/startup.sh [BUILD [RUNS]]      of build/, 101 runs
#
# A plugin path with all plugins of the build; nothing but native is mentioned. Runs of all programs alternate; printed are median
# and least in milliseconds of wall time from fork to end, and the resident memory. Exits 1 where `chx devices native`
# takes 10 ms (median) or more.
set -e
build=${1:-build} runs=${2:-101}
src=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$build" && pwd)
dir=$(mktemp -d "${TMPDIR:-/tmp}/chx-startup.XXXXXX")
trap 'rm -rf "$dir"' EXIT

cat >"$dir/nothing.c" <<'END'
int main(void) { return 0; }
END
cat >"$dir/linked.c" <<'END'
#include <chx/chx.h>
int main(void) { return chx_version() == 0; }
END
cat >"$dir/scope.c" <<'END'
#include <chx/chx.h>
int main(void)
{
  chx_scope *s = chx_scope_begin("native");
  int error = chx_scope_error(s);
  chx_scope_end(s);
  return error;
}
END
cat >"$dir/add.c" <<'END'
#include <chx/chx.h>
int main(void)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = chx_ones(s, CHX_F32, 1, (int64_t[]){4});
  double sum = chx_item(s, chx_sum(s, chx_add(s, x, x), 0, 0, 0));
  int error = chx_scope_error(s) || sum != 8;
  chx_scope_end(s);
  return error;
}
END
sed 's/ones(s, CHX_F32, 1, (int64_t\[\]){4})/ones(s, CHX_F32, 2, (int64_t[]){256, 256})/; s/chx_add(s, x, x)/chx_matmul(s, x, x)/; s/!= 8/!= 16777216/' \
  "$dir/add.c" >"$dir/matmul.c"
${CC:-cc} -O2 "$dir/nothing.c" -o "$dir/nothing"
for p in linked scope add matmul; do
  ${CC:-cc} -O2 -I"$src/include" "$dir/$p.c" -o "$dir/$p" -L"$build/.libs" -lchx
done
unset CHX_DEVICE CHX_FALLBACK CHX_ROUTE
LD_LIBRARY_PATH=$build/.libs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} CHX_PLUGIN_PATH=$build/.libs
export LD_LIBRARY_PATH CHX_PLUGIN_PATH
echo "plugins installed: $(cd "$build/.libs" && ls chx_*.so | tr '\n' ' ')"
cat >"$dir/launch.c" <<'END'
/* Starts each command in turn, RUNS times. It is small itself: a child's peak counts its parent's memory until exec. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#define MOST 16
static double *ms[MOST], *mib[MOST];
static int by_value(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
int main(int argc, char **argv) /* RUNS NAME COMMAND NAME COMMAND ... */
{
  int runs = atoi(argv[1]), n = (argc - 2) / 2;
  extern char **environ;
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
  for (int i = 0; i < n; i++) ms[i] = malloc(sizeof(double) * runs), mib[i] = malloc(sizeof(double) * runs);
  for (int r = 0; r < runs; r++)
    for (int i = 0; i < n; i++) {
      char *words[8], *text = argv[3 + 2 * i], line[4096];
      int k = 0, status;
      struct rusage use;
      struct timespec t0, t1;
      pid_t pid;
      snprintf(line, sizeof line, "%s", text);
      for (char *p = line; *p && k < 7; k++) {
        words[k] = p;
        while (*p && *p != ' ') p++;
        if (*p) *p++ = 0;
      }
      words[k] = NULL;
      clock_gettime(CLOCK_MONOTONIC, &t0);
      if (posix_spawn(&pid, words[0], &quiet, NULL, words, environ) || wait4(pid, &status, 0, &use) < 0 || status)
        return fprintf(stderr, "startup: %s failed\n", text), 1;
      clock_gettime(CLOCK_MONOTONIC, &t1);
      ms[i][r] = (t1.tv_sec - t0.tv_sec) * 1e3 + (t1.tv_nsec - t0.tv_nsec) * 1e-6;
      mib[i][r] = use.ru_maxrss / 1024.0;
    }
  puts("| | median ms | least ms | peak resident, MiB |\n|---|---|---|---|");
  for (int i = 0; i < n; i++) {
    qsort(ms[i], runs, sizeof(double), by_value);
    qsort(mib[i], runs, sizeof(double), by_value);
    printf("| %s | %.2f | %.2f | %.1f |\n", argv[2 + 2 * i], ms[i][runs / 2], ms[i][0], mib[i][runs / 2]);
  }
}
END
${CC:-cc} -O2 "$dir/launch.c" -o "$dir/launch"
chx=$build/.libs/chx
"$dir/launch" "$runs" "a program that does nothing" "$dir/nothing" "linked to libchx" "$dir/linked" "a scope on native" "$dir/scope" \
  "add of 4 elements, sum, read" "$dir/add" "matmul of 256x256, sum, read" "$dir/matmul" "chx --version" "$chx --version" \
  "chx devices native" "$chx devices native" "chx devices, which loads all" "$chx devices" | tee "$dir/table"
awk -F'|' '/chx devices native/ { good = $3 < 10; printf "\nGoal: chx devices native in less than 10 ms: %s\n", good ? "holds" : "MISSED" }
           END { exit !good }' "$dir/table"
