/* SPDX-License-Identifier: MIT
 * api.c: the vendor's libraries, opened when first needed, and the driver's error codes.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include "drv.h"

struct drv_api drv;
struct rtc_api rtc;

enum { WARNING = 1, INFORMATION = 2 };

/* ---- libraries --------------------------------------------------------------------------------------------------- */

bool drv_symbol(void *handle, void *slot, const char *name, char *why, size_t size)
{
  void *at = dlsym(handle, name);
  if (!at) return snprintf(why, size, "the library has no %s", name), false;
  memcpy(slot, &at, sizeof at);
  return true;
}

static const char *option(const char *name)
{
  const char *v = CHX_HAS(drv_host, chx_host, option) ? drv_host->option(drv_host->ctx, name) : NULL;
  return v && *v ? v : NULL;
}

static void *open_first(const drv_library *l, char *why, size_t size)
{
  const char *const own[] = {option(l->option), NULL};
  void *handle = NULL;
  size_t n = 0;
  for (const char *const *name = own[0] ? own : l->names; *name && !handle; name++)
    if (!(handle = dlopen(*name, RTLD_NOW | RTLD_LOCAL)) && n < size)
      n += (size_t)snprintf(why + n, size - n, "%s%s", n ? "; " : "", dlerror());
  return handle;
}

static void say(int level, const char *text)
{
  if (CHX_HAS(drv_host, chx_host, log)) drv_host->log(drv_host->ctx, level, text);
}

bool drv_library_open(drv_library *l, drv_bind *bind)
{
  bool first = false;
  char text[320];
  int state = atomic_load_explicit(&l->state, memory_order_acquire);
  if (state) return state == 1;
  pthread_mutex_lock(&l->lock);
  if (!(state = atomic_load(&l->state))) {
    l->handle = open_first(l, l->why_not, sizeof l->why_not);
    state = l->handle && bind(l->handle, l->why_not, sizeof l->why_not) ? 1 : 2;
    first = state == 2;
    atomic_store_explicit(&l->state, state, memory_order_release); /* it stays open: its threads may run on */
  }
  pthread_mutex_unlock(&l->lock);
  snprintf(text, sizeof text, "without a library: %s", l->why_not);
  if (first) say(INFORMATION, text);
  return state == 1;
}

#define BIND(table, member, function) \
  if (!drv_symbol(handle, &table.member, DRV_NAME(function), why, size)) return false;

static bool bind_driver(void *handle, char *why, size_t size)
{
#define BIND_DRV(member, function) BIND(drv, member, function)
  DRV_FUNCTIONS(BIND_DRV)
  return true;
}

static bool bind_pools(void *handle, char *why, size_t size)
{
  DRV_POOL_FUNCTIONS(BIND_DRV)
  return true;
}

static bool bind_captures(void *handle, char *why, size_t size)
{
  DRV_CAPTURE_FUNCTIONS(BIND_DRV)
  return true;
}

static bool bind_rtc(void *handle, char *why, size_t size)
{
#define BIND_RTC(member, function) BIND(rtc, member, function)
  RTC_FUNCTIONS(BIND_RTC)
  return true;
}

bool drv_api_open(char *why, size_t size)
{
  static const char *const names[] = {DRV_LIBRARIES, NULL};
  static drv_library library = DRV_LIBRARY(DRV_LIBRARY_OPTION, names);
  char none[128];
  if (!drv_library_open(&library, bind_driver)) return snprintf(why, size, "%s", library.why_not), false;
  drv.has_pools = bind_pools(library.handle, none, sizeof none);
  drv.has_captures = bind_captures(library.handle, none, sizeof none);
  return true;
}

chx_status rtc_open(const struct chx_dev *dev)
{
  static const char *const names[] = {RTC_LIBRARIES, NULL};
  static drv_library library = DRV_LIBRARY(RTC_LIBRARY_OPTION, names);
  char text[320];
  if (drv_library_open(&library, bind_rtc)) return CHX_OK;
  snprintf(text, sizeof text, "%s: kernels cannot be compiled: %s", dev->gpu.spec, library.why_not);
  return drv_host->fail(drv_host->ctx, CHX_EUNSUPPORTED, text);
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

chx_status drv_status_of(drv_result code)
{
  return DRV_OUT_OF_MEMORY(code) ? CHX_ENOMEM : DRV_LOST(code) ? CHX_ELOST : CHX_EFAILED;
}

chx_status drv_fail(const struct chx_dev *dev, drv_result code, const char *call)
{
  const char *name = NULL, *said = NULL;
  char text[320];
  DRV_ERROR_NAME(drv, code, &name);
  DRV_ERROR_STRING(drv, code, &said);
  snprintf(text, sizeof text, "%s: %s: %s (%d): %s", dev ? dev->gpu.spec : DRV_PLUGIN, call,
           name ? name : "an unknown code",
           (int)code, said ? said : "no text");
  return drv_host->fail(drv_host->ctx, drv_status_of(code), text);
}

chx_status drv_without(struct chx_dev *dev, atomic_bool *flag, const char *library, const char *why)
{
  char text[320];
  snprintf(text, sizeof text, "%s: %s is not used: %s", dev->gpu.spec, library, why);
  if (!atomic_exchange(flag, true)) say(WARNING, text);
  return CHX_DECLINED;
}

chx_status drv_enter(const struct chx_dev *dev)
{
  const drv_result code = drv.SetCurrent(dev->context);
  return code ? drv_fail(dev, code, "making the device current") : CHX_OK;
}
