/* SPDX-License-Identifier: MIT
 * watch.h: the judged device seen by libchx through a wrapper that stands between the two and watches each kernel call.
 *
 * watch_open opens the judged plugin and gives libchx (chx_add_plugin) a backend "judged" with that one device. Every
 * call goes on to the judged plugin. What it breaks on the way is kept until watch_broken asks.
 */
#ifndef CHX_CONFORM_WATCH_H
#define CHX_CONFORM_WATCH_H
#include "conform.h"
#include <stdatomic.h>
#include <stddef.h>

#define WATCH_DEVICE "judged:0"

/* LIGHT: a call's metadata is a copy that is closed when the call returns. FULL: in addition each operand lies in memory
 * of its own between red zones (between closed pages on a host device), outputs and workspace start as junk, inputs and
 * all that surrounds an operand must be unchanged after the call, and it runs twice, with other junk. One thread. */
enum { WATCH_LIGHT, WATCH_FULL };

bool watch_open(conform *c, char *why, size_t size);
void watch_level(int level);
int watch_n_kernels(void);
const chx_kernel *watch_kernel_at(int i); /* of the judged plugin's table, fields that it does not have 0 */
uint64_t watch_runs(const char *op);      /* kernel calls that the plugin has served since this was asked last: of
                                             that name's kernels, NULL: of all */
int64_t watch_live_bytes(void);        /* what the device was asked for and has not got back */
/* The first thing that was broken since the last call of this function; NULL: nothing was. */
const char *watch_broken(void);
bool watch_explained(const chx_scope *s); /* the plugin has given its error a sentence */

/* ---- between watch.c, which stands in the calls, and its parts ------------------------------------------------------ */

/* Notes that a promise was broken: "add: wrote ...". Any thread. */
void watch_report(const char *format, ...) __attribute__((format(printf, 1, 2)));

typedef struct watched_kernel {
  chx_kernel k;             /* what libchx sees; self is this struct */
  const chx_kernel *judged;
  atomic_ullong runs;       /* that it has served */
} watched_kernel;

extern const chx_device_ops *watch_ops; /* the judged device's, zero beyond their size */
extern bool watch_host;                 /* its memory is plain host memory */

/* metadata.c: calls fn(the kernel's self, a copy of call); the copy is closed before this returns. */
typedef chx_status (*watch_call_fn)(const chx_kernel *k, const chx_call *copy, void *ctx);
chx_status watch_with_copy(const chx_kernel *k, const chx_call *call, watch_call_fn fn, void *ctx);

/* The operator whose metadata was read after its call had returned, once. */
const char *watch_kept(void);

/* guard.c: one call of k in guarded memory, twice. */
chx_status watch_guarded(const chx_kernel *k, const chx_call *call, watch_call_fn run);

#endif
