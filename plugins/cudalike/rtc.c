/* SPDX-License-Identifier: MIT
 * rtc.c: "chx.rtc/1": kernels that others give as CUDA C++ or HIP.
 *
 * A program is compiled for the device, with the options that came with it and no others: what is made of `a * b + c`
 * is the compiler's choice. A grid counts groups. A tensor's argument is the pointer to its first element, and bytes are
 * the parameter itself: the driver reads as many of them as the kernel declares. A launch may be captured.
 */
#include <stdlib.h>
#include <string.h>
#include "drv.h"

static const char *languages(chx_dev *dev)
{
  (void)dev;
  return RTC_LANGUAGE;
}

/* Cuts what stands between blanks out of text; no way is known to quote one. */
static chx_status split(chx_dev *dev, char *text, const char **options, size_t *n)
{
  char *rest = NULL;
  *n = 0;
  for (char *o = strtok_r(text, " \t\n", &rest); o; o = strtok_r(NULL, " \t\n", &rest)) {
    if (*n == DRV_RTC_OPTIONS)
      return gpu_fail(&dev->gpu, CHX_EARG, "%s: more than %d options for the compiler", dev->gpu.spec, DRV_RTC_OPTIONS);
    options[(*n)++] = o;
  }
  return CHX_OK;
}

static chx_status build(chx_dev *dev, const char *lang, const void *src, uint64_t n, const char *opts, void **mod,
                        void (*diag)(void *, const char *), void *ctx)
{
  const char *options[DRV_RTC_OPTIONS];
  drv_source s = {.name = "program", .options = options, .diag = diag, .diag_ctx = ctx};
  gpu_module *m = NULL;
  char *text, *words = strdup(opts ? opts : "");
  if (!words) return gpu_fail(&dev->gpu, CHX_ENOMEM, "%s: out of memory for the options", dev->gpu.spec);
  chx_status st = split(dev, words, options, &s.n_options);
  if (!st && !(st = gpu_rtc_text(&dev->gpu, RTC_LANGUAGE, lang, src, n, &text))) {
    s.text = text;
    if (!(st = drv_build(dev, &s, &m))) *mod = m;
    free(text);
  }
  free(words);
  return st;
}

static bool fits(const uint64_t v[3]) { return v[0] <= UINT32_MAX && v[1] <= UINT32_MAX && v[2] <= UINT32_MAX; }

static chx_status launch(chx_dev *dev, chx_queue *q, void *mod, const char *fn, const uint64_t grid[3],
                         const uint64_t group[3], uint64_t local_bytes, const chx_arg *args, uint32_t n)
{
  const gpu_module *m = mod;
  void *data[GPU_RTC_ARGS], *at[GPU_RTC_ARGS];
  drv_function f;
  chx_status st = gpu_rtc_launchable(&dev->gpu, q, mod, fn, args, n);
  if (st) return st;
  if (!fits(grid) || !fits(group) || local_bytes > UINT32_MAX)
    return gpu_fail(&dev->gpu, CHX_EARG, "%s: launch of %s: a grid, a group or its memory is beyond 2^32 - 1",
                    dev->gpu.spec, fn);
  if ((st = drv_enter(dev))) return st;
  const drv_result code = drv.ModuleGetFunction(&f, m->module, fn);
  if (code) return drv_fail(dev, code, fn);
  for (uint32_t i = 0; i < n; i++) {
    if (args[i].tensor) data[i] = drv_data(args[i].tensor);
    at[i] = args[i].tensor ? &data[i] : (void *)(uintptr_t)args[i].bytes;
  }
  return drv_queued(dev, q,
                    drv.Launch(f, (uint32_t)grid[0], (uint32_t)grid[1], (uint32_t)grid[2], (uint32_t)group[0],
                               (uint32_t)group[1], (uint32_t)group[2], (uint32_t)local_bytes, q->stream, at, NULL),
                    "launching a kernel");
}

static chx_status binary(chx_dev *dev, void *mod, void *out, uint64_t *n)
{
  const gpu_module *m = mod;
  const chx_status st = gpu_rtc_room(&dev->gpu, out, *n, m->bytes);
  if (st) return st;
  if (out) memcpy(out, m->image, m->bytes);
  *n = m->bytes;
  return CHX_OK;
}

static void drop(chx_dev *dev, void *mod) { drv_driver.unload(&dev->gpu, mod); }

const chx_rtc_ops drv_rtc = {
    .size = sizeof drv_rtc, .languages = languages, .build = build, .launch = launch, .binary = binary, .drop = drop};
