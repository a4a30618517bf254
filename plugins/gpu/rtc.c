/* SPDX-License-Identifier: MIT
 * rtc.c: what the backends check alike of "chx.rtc/1", kernels that others give as source.
 */
#include <stdlib.h>
#include <string.h>
#include "gpu.h"

chx_status gpu_rtc_text(gpu_device *g, const char *own, const char *lang, const void *src, uint64_t n, char **text)
{
  if (!lang || strcmp(lang, own))
    return gpu_fail(g, CHX_EUNSUPPORTED, "%s: the language is '%.40s', want %s, the only one here", g->spec,
                    lang ? lang : "", own);
  if (n && (!src || memchr(src, 0, (size_t)n)))
    return gpu_fail(g, CHX_EARG, "%s: a source of %llu bytes %s, want text", g->spec, (unsigned long long)n,
                    src ? "with a NUL among them" : "is NULL");
  char *copy = malloc((size_t)n + 2);
  if (!copy) return gpu_fail(g, CHX_ENOMEM, "%s: out of memory for a source", g->spec);
  if (n) memcpy(copy, src, (size_t)n);
  memcpy(copy + n, "\n", 2); /* compilers take an empty line for a program, and not always an empty text */
  *text = copy;
  return CHX_OK;
}

chx_status gpu_rtc_launchable(gpu_device *g, const chx_queue *q, const void *module, const char *fn,
                              const chx_arg *args, uint32_t n)
{
  if (!q) return gpu_fail(g, CHX_EARG, "%s: launch without a queue, want one of queue_new", g->spec);
  if (!module || !fn)
    return gpu_fail(g, CHX_EARG, "%s: launch without a %s", g->spec,
                    module ? "kernel's name" : "program, want what build gave");
  if (n > GPU_RTC_ARGS)
    return gpu_fail(g, CHX_EARG, "%s: %u arguments of a kernel, want at most %d", g->spec, n, GPU_RTC_ARGS);
  for (uint32_t i = 0; i < n; i++)
    if (!args[i].tensor && !args[i].bytes)
      return gpu_fail(g, CHX_EARG, "%s: argument %u of %s is neither tensor nor bytes", g->spec, i, fn);
  return CHX_OK;
}

chx_status gpu_rtc_room(gpu_device *g, const void *out, uint64_t room, size_t n)
{
  if (!out || room >= n) return CHX_OK;
  return gpu_fail(g, CHX_EARG, "%s: a place of %llu bytes for a binary of %zu, want what it says without one", g->spec,
                  (unsigned long long)room, n);
}
