/* SPDX-License-Identifier: MIT
 * plugins.h: the list of backends, between plugin.c (files) and device.c (specifiers).
 */
#ifndef CHX_PLUGINS_H
#define CHX_PLUGINS_H
#include "runtime.h"

#define CHXI_MAX_BACKENDS 32

extern chxi_backend *chxi_backends[CHXI_MAX_BACKENDS];
extern int chxi_n_backends;
extern pthread_mutex_t chxi_load_lock; /* held by who calls the three below */

chxi_backend *chxi_backend_get(const char *name); /* loads it at its first mention; NULL: no name, or no memory */
/* NULL: it is one of chxi_devices now; else why not. */
const char *chxi_device_add(chxi_backend *b, chx_dev *dev, int index);
void *chxi_host_scratch(void *ctx, const chx_call *call, uint64_t bytes); /* run.c */

#endif
