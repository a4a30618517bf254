/* SPDX-License-Identifier: MIT
 * test_plugin.c: the rarer parts of the ABI, through the plugin of probe.c: plans, workspace, accepts, scratch, map's operands.
 */
#include "check.h"
#include <chx/plugin.h>
#include <dlfcn.h>
#include <unistd.h>
#include "probe.h"

int main(void)
{
  char path[4096];
  const char *build = getenv("CHX_BUILDDIR");
  snprintf(path, sizeof path, "%s/tests/.libs/chx_probe.so", build ? build : ".");
  chx_scope *s = chx_scope_begin("native");
  alarm(120); /* a deadlock is a failure, not a hang */
  if (!ok(chx_load_plugin(s, path) == CHX_OK, "loaded from its file: %s", chx_scope_message(s))) return done_testing();
  ok(chx_load_plugin(s, path) == CHX_OK, "twice is once: %s", chx_scope_message(s));
  void *lib = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
  chx_entry_fn entry = lib ? (chx_entry_fn)dlsym(lib, CHX_ENTRY) : NULL;
  if (!ok(entry != NULL, "the same library")) return done_testing();
  const probe_counts *n = entry()->device_ops(NULL)->extension(NULL, "x.probe/1");
  chx_scope_set_device(s, "probe:0");
  chx_array *x = chx_from_shape(s, CHX_F32, 2, (int64_t[]){2, 2}, (double[]){0, 1, 2, 3});

  ok(rel_err(chx_neg(s, x), (double[]){-0.0, -1, -2, -3}) == 0, "a kernel that asks for scratch while its queue is in use");
  is_int(n->no_scratch, 0, "it got some");

  double e[] = {1, exp(1), exp(2), exp(3)};
  for (int i = 0; i < 5; i++) rel_err(chx_exp(s, x), e);
  ok(rel_err(chx_exp(s, x), e) < 1e-6, "a kernel with plans");
  is_int(n->prepared, 1, "one signature is prepared once");
  is_int(n->ran, 6, "and run each time");
  is_int(n->without_workspace, 0, "with the workspace that its plan asked for");
  for (int i = 0; i < 300; i++) {
    size_t mark = chx_scope_mark(s);
    chx_exp(s, chx_zeros(s, CHX_F32, 1, (int64_t[]){1 + i}));
    chx_scope_rewind(s, mark, NULL);
  }
  is_int(n->prepared, 301, "another shape is another signature");
  is_int(n->dropped, 301 - 256, "256 plans are kept");
  int refused = n->refused, ran = n->ran;
  ok(rel_err(chx_exp(s, chx_reshape(s, x, 4, (int64_t[]){1, 2, 1, 2})), e) < 1e-6, "what accepts refuses goes another way");
  ok(n->refused == refused + 1 && n->ran == ran, "and never reaches run");

  ok(rel_err(chx_add(s, x, chx_real(s, 2)), (double[]){2, 3, 4, 5}) == 0, "a kernel that declines in run");
  chx_add(s, x, chx_from(s, CHX_F32, 2, (double[]){1, 2}));
  is_int(n->wrong_rank, 0, "map's operands have the output's shape, scalars and broadcasts included");
  ok(!chx_scope_error(s), "no error: %s", chx_scope_message(s));
  chx_scope_end(s);
  return done_testing();
}
