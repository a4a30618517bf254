/* SPDX-License-Identifier: MIT
 * test_startup.c: a program that mentions native alone pays for native alone: no other plugin is loaded, no vendor's library, and
 * no thread is started before there is work for one.
 */
#include "check.h"
#include <chx/chx.h>
#include <string.h>

/* How many different files of that kind are mapped: names that contain `part`, without those that contain `but`. */
static int mapped(const char *part, const char *but)
{
  char line[4096], last[4096] = "";
  int n = 0;
  FILE *f = fopen("/proc/self/maps", "r");
  while (f && fgets(line, sizeof line, f)) {
    const char *path = strchr(line, '/'), *name = path ? strrchr(path, '/') : NULL;
    if (!name || !strstr(name, part) || (but && strstr(name, but)) || !strcmp(path, last)) continue;
    n++;
    note("mapped: %s", name + 1);
    snprintf(last, sizeof last, "%s", path);
  }
  if (f) fclose(f);
  return n;
}

static int threads(void)
{
  char line[256];
  int n = -1;
  FILE *f = fopen("/proc/self/status", "r");
  while (f && fgets(line, sizeof line, f)) sscanf(line, "Threads: %d", &n);
  if (f) fclose(f);
  return n;
}

static void nothing_else(const char *when)
{
  static const char *const vendors[] = {"openblas", "libOpenCL", "libcuda", "libamdhip", "libdnnl", "libpocl"};
  int n = 0;
  ok(mapped("chx_", "chx_native") == 0, "%s: no other plugin", when);
  for (int i = 0; i < 6; i++) n += mapped(vendors[i], NULL);
  ok(n == 0, "%s: no vendor's library", when);
}

int main(void)
{
  FILE *f = fopen("/proc/self/maps", "r");
  if (!f) return skip(1, "no /proc/self/maps"), done_testing();
  fclose(f);
  const int before = threads();
  ok(mapped("chx_", NULL) == 0, "before anything is mentioned no plugin is loaded");
  chx_scope *s = chx_scope_begin("native");
  ok(!chx_scope_error(s) && chx_backend_count() == 1, "one backend: %s", chx_scope_message(s));
  ok(mapped("chx_native", NULL) == 1, "it is native");
  nothing_else("loaded");
  chx_array *x = chx_ones(s, CHX_F32, 2, (int64_t[]){2, 2});
  is_close(chx_item(s, chx_sum(s, chx_add(s, x, x), 0, NULL, 0)), 8, 0, "it computes");
  nothing_else("after small operators");
  ok(threads() == before, "threads: %d, want the %d that there were", threads(), before);
  ok(chx_backend_scan() >= 1, "a scan finds the others: %d", chx_backend_count());
  chx_scope_end(s);
  return done_testing();
}
