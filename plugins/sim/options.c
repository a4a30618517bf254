/* SPDX-License-Identifier: MIT
 * options.c: what the environment says of the devices. The number of them is read when the plugin is opened, the rest for
 * each device when that is.
 */
#include "internal.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const struct number {
  const char *key, *want;
  uint64_t least, most;
  size_t at; /* in struct sim_options */
} numbers[] = {
  {"CHX_SIM_MEMORY", "bytes, at most 17179869184", 1, (uint64_t)1 << 34, offsetof(struct sim_options, capacity)},
  {"CHX_SIM_DELAY_US", "microseconds, at most 60000000", 0, 60000000, offsetof(struct sim_options, delay_us)},
  {"CHX_SIM_COPY_MBPS", "megabytes a second, at most 1000000", 0, 1000000, offsetof(struct sim_options, copy_mbps)},
  {"CHX_SIM_COPY_US", "microseconds, at most 60000000", 0, 60000000, offsetof(struct sim_options, copy_us)},
  {"CHX_SIM_KERNEL_US", "microseconds, at most 60000000", 0, 60000000, offsetof(struct sim_options, kernel_us)},
  {"CHX_SIM_GUARD", "0 or 1", 0, 1, offsetof(struct sim_options, guard)},
  {"CHX_SIM_MAP_MOST", "bytes, at most 17179869184", 0, (uint64_t)1 << 34, offsetof(struct sim_options, map_most)},
};

static const char *const modes[] = {
  [SIM_PRIVATE] = "private", [SIM_MAPPABLE] = "mappable", [SIM_COHERENT] = "coherent"};

const char *sim_option(void *ctx, const char *key)
{
  (void)ctx;
  return CHX_HAS(sim.host, chx_host, option) ? sim.host->option(sim.host->ctx, key) : NULL;
}

/* An option as a number, left alone if it is not set. */
static chx_status number(const char *key, uint64_t least, uint64_t most, const char *want, uint64_t *value)
{
  const char *text = sim_option(NULL, key);
  char *end;
  if (!text || !*text) return CHX_OK;
  errno = 0;
  unsigned long long v = strtoull(text, &end, 10);
  if (errno || *end || *text < '0' || *text > '9' || v < least || v > most)
    return sim_fail(CHX_EARG, "sim: %s is \"%s\", want %s", key, text, want);
  *value = v;
  return CHX_OK;
}

chx_status sim_count_devices(uint32_t *n)
{
  uint64_t value = 2;
  chx_status st = number("CHX_SIM_DEVICES", 1, SIM_MAX_DEVICES, "a number of devices, 1 to 64", &value);
  *n = (uint32_t)value;
  return st;
}

chx_status sim_read_options(struct sim_options *out)
{
  const char *mode = sim_option(NULL, "CHX_SIM_MEMORY_MODE");
  *out = (struct sim_options){.capacity = (uint64_t)4 << 30};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    const struct number *k = &numbers[i];
    chx_status st = number(k->key, k->least, k->most, k->want, (uint64_t *)((char *)out + k->at));
    if (st) return st;
  }
  if (!mode || !*mode) return CHX_OK;
  for (size_t m = 0; m < sizeof modes / sizeof *modes; m++)
    if (!strcmp(mode, modes[m])) return out->mode = (enum sim_mode)m, CHX_OK;
  return sim_fail(CHX_EARG, "sim: CHX_SIM_MEMORY_MODE is \"%s\", want private, mappable or coherent", mode);
}
