/* SPDX-License-Identifier: MIT
 * driver.c: programs and launches, for the shared kernels of plugins/gpu, and programs for rtc.c.
 *
 * A program is compiled for the device's architecture. A device that is newer than the compiler gets the newest form
 * that the compiler has, as text that the driver compiles.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "drv.h"

static struct chx_dev *device_of(gpu_device *g) { return (struct chx_dev *)(void *)g; }

/* ---- modules ----------------------------------------------------------------------------------------------------- */

/* Takes the image over. */
static chx_status module_of(struct chx_dev *dev, void *image, size_t n, const char *name, gpu_module **out)
{
  char log[512] = "", what[640];
  drv_jit_option keys[] = {DRV_JIT_LOG, DRV_JIT_LOG_BYTES};
  void *values[] = {log, (void *)(uintptr_t)(sizeof log - 1)};
  gpu_module *m = calloc(1, sizeof *m);
  chx_status st = m ? drv_enter(dev) : gpu_fail(&dev->gpu, CHX_ENOMEM, "%s: out of memory for a program",
                                                dev->gpu.spec);
  if (!st) {
    const drv_result code = drv.ModuleLoad(&m->module, image, 2, keys, values);
    snprintf(what, sizeof what, "loading %s%s%.500s", name, log[0] ? ": " : "", log);
    if (code) st = drv_fail(dev, code, what);
  }
  if (st) {
    free(image);
    free(m);
    return st;
  }
  m->image = image;
  m->bytes = n;
  *out = m;
  return CHX_OK;
}

static chx_status load(gpu_device *g, const void *bytes, size_t n, gpu_module **out)
{
  char *image = malloc(n + 1);
  if (!image) return gpu_fail(g, CHX_ENOMEM, "%s: out of memory for a program", g->spec);
  memcpy(image, bytes, n);
  image[n] = 0; /* text ends */
  return module_of(device_of(g), image, n, "a kept program", out);
}

static chx_status binary(gpu_device *g, gpu_module *m, void **bytes, size_t *n)
{
  if (!m->image) return gpu_fail(g, CHX_EFAILED, "%s: the compiled program was taken already", g->spec);
  *bytes = m->image;
  *n = m->bytes;
  m->image = NULL;
  return CHX_OK;
}

static void unload(gpu_device *g, gpu_module *m)
{
  if (!drv_enter(device_of(g))) drv.ModuleUnload(m->module);
  free(m->image);
  free(m);
}

static chx_status function(gpu_device *g, gpu_module *m, const char *name, gpu_function **out)
{
  drv_function f;
  const drv_result code = drv.ModuleGetFunction(&f, m->module, name);
  if (code) return drv_fail(device_of(g), code, name);
  *out = (gpu_function *)(void *)f;
  return CHX_OK;
}

/* ---- compiling --------------------------------------------------------------------------------------------------- */

typedef struct target {
  char option[96];
  bool text; /* the result is for the driver to compile */
} target;

#ifdef RTC_CAN_LIST_ARCHS
/* Of the compiler's architectures the newest that the device has. */
static void target_of(const struct chx_dev *dev, target *t)
{
  int n = 0, best = 0;
  const int own = atoi(dev->arch);
  int *list = !rtc.ArchCount(&n) && n > 0 ? calloc((size_t)n, sizeof *list) : NULL;
  if (list && !rtc.Archs(list))
    for (int i = 0; i < n; i++)
      if (list[i] <= own && list[i] > best) best = list[i];
  free(list);
  t->text = best && best != own;
  if (t->text) snprintf(t->option, sizeof t->option, "--gpu-architecture=compute_%d", best);
  else snprintf(t->option, sizeof t->option, "--gpu-architecture=sm_%s", dev->arch);
}

static rtc_result image_size(rtc_program p, const target *t, size_t *n)
{
  return t->text ? rtc.PtxSize(p, n) : rtc.BinarySize(p, n);
}

static rtc_result image_get(rtc_program p, const target *t, char *to)
{
  return t->text ? rtc.Ptx(p, to) : rtc.Binary(p, to);
}
#else
static void target_of(const struct chx_dev *dev, target *t)
{
  t->text = false;
  snprintf(t->option, sizeof t->option, "--offload-arch=%s", dev->arch);
}

static rtc_result image_size(rtc_program p, const target *t, size_t *n) { return (void)t, rtc.BinarySize(p, n); }
static rtc_result image_get(rtc_program p, const target *t, char *to) { return (void)t, rtc.Binary(p, to); }
#endif

static chx_status compile_failed(struct chx_dev *dev, rtc_program p, rtc_result code, const drv_source *s)
{
  const char *name = s->name;
  size_t n = 0;
  char *log = NULL;
  if (p && !rtc.LogSize(p, &n) && n && (log = calloc(1, n + 1))) rtc.Log(p, log);
  if (s->diag && log) s->diag(s->diag_ctx, log);
  const chx_status st = gpu_fail(&dev->gpu, CHX_EFAILED, "%s: compiling %s: %s (%d): %.600s", dev->gpu.spec, name,
                                 rtc.ErrorString(code), (int)code, log ? log : "");
  free(log);
  return st;
}

chx_status drv_build(struct chx_dev *dev, const drv_source *s, gpu_module **out)
{
  rtc_program p = NULL;
  target t;
  size_t n = 0;
  char *image = NULL;
  const char *options[1 + DRV_RTC_OPTIONS] = {t.option};
  chx_status st = rtc_open(dev);
  if (st) return st;
  target_of(dev, &t);
  memcpy(options + 1, s->options, s->n_options * sizeof *options);
  rtc_result code = rtc.Create(&p, s->text, s->name, 0, NULL, NULL);
  if (!code) code = rtc.Compile(p, (int)(1 + s->n_options), options);
  if (!code) code = image_size(p, &t, &n);
  if (!code && (image = calloc(1, n + 1))) code = image_get(p, &t, image);
  if (code) st = compile_failed(dev, p, code, s);
  else if (!image) st = gpu_fail(&dev->gpu, CHX_ENOMEM, "%s: out of memory for a compiled program", dev->gpu.spec);
  if (p) rtc.Destroy(&p);
  if (!st) return module_of(dev, image, n, s->name, out);
  free(image);
  return st;
}

static chx_status build(gpu_device *g, const char *name, const char *text, gpu_module **out)
{
  static const char *const options[] = {RTC_OPTIONS};
  const drv_source s = {.name = name, .text = text, .options = options, .n_options = sizeof options / sizeof *options};
  return drv_build(device_of(g), &s, out);
}

/* ---- launches ---------------------------------------------------------------------------------------------------- */

static chx_status launch(gpu_device *g, chx_queue *q, gpu_function *f, uint32_t groups, const gpu_arg *args, uint32_t n)
{
  struct chx_dev *dev = device_of(g);
  void *at[GPU_ARGS];
  const chx_status st = drv_enter(dev);
  if (st) return st;
  if (n > GPU_ARGS) return gpu_fail(g, CHX_EARG, "%s: %u arguments of a kernel, want at most %d", g->spec, n, GPU_ARGS);
  for (uint32_t i = 0; i < n; i++) /* a buffer's handle is the pointer that the kernel gets */
    at[i] = args[i].bytes ? (void *)(uintptr_t)args[i].p : (void *)(uintptr_t)&args[i].p;
  return drv_queued(dev, q, drv.Launch((drv_function)(void *)f, groups, 1, 1, GPU_WG, 1, 1, 0, q->stream, at, NULL),
                    "launching a kernel");
}

const gpu_driver drv_driver = {build, load, binary, unload, function, launch, drv_queue_report};
