/* SPDX-License-Identifier: MIT
 * stats.h: what dnnl tells of itself beyond chx/plugin.h, for tests and measurements.
 *
 * It is the device's extension "x.dnnl.stats/1": device_ops(state)->extension(NULL, CHX_DNNL_STATS) of the plugin's own
 * entry function, whose library is the one that the core has loaded.
 */
#ifndef CHX_DNNL_STATS_H
#define CHX_DNNL_STATS_H
#include <stdint.h>

#define CHX_DNNL_STATS "x.dnnl.stats/1"

typedef struct chx_dnnl_stats {
  uint32_t size, flags;
  uint64_t (*executed)(const char *op); /* calls that ran on oneDNN in this process; op NULL: of all operators */
  const char *(*version)(void);         /* of libdnnl, "2.6.3"; "" where it was not loaded */
} chx_dnnl_stats;

#endif
