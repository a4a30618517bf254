/* SPDX-License-Identifier: MIT
 * warm.h: what `chx devices --warm` does.
 */
#ifndef CHX_WARM_H
#define CHX_WARM_H
#include "cli.h"

/* Has the device compile what common programs need, and prints a line on it; an exit code. */
int warm(const cli_command *c, const char *device);

#endif
