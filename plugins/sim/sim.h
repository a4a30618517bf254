/* SPDX-License-Identifier: MIT
 * sim.h: the extension "x.sim.fault/1" of the sim plugin, by which a test in the same process makes a device fail or slow.
 *
 * device_ops->extension(dev, CHX_SIM_FAULT) gives it; dev may be NULL. A program that reaches sim through libchx has
 * no chx_dev: it opens the plugin's file once more (dlopen returns the same library), calls chx_plugin_v1, and asks
 * device_ops(NULL) for the extension. Devices are named by their index; each has its own faults and its own counts.
 * All functions may be called from any thread.
 *
 * A fault is "alloc:N", "copy:N", "copy:N:late", "kernel:N" or "kernel:N:late": the N-th such action from now fails,
 * N >= 1, once. Several are separated by commas. An alloc fails with CHX_ENOMEM, the others with CHX_EDEVICE. A plain
 * fault fails in the call itself, with nothing queued; a late one is queued, fails on the queue's thread, and comes
 * out of queue_sync.
 *
 * "lost:N" loses the device in the N-th action of any of these kinds: that call and from then on every function gives
 * CHX_ELOST, and what is queued is not done; only what gives something back (release, unmap, queue_free) is still
 * carried out. "lost:N:late" loses it when the queue comes to that action, or, if it was an alloc, to the next that is
 * queued. The next arm brings the device back, as if it were another one: what was in its memory is lost.
 *
 * CHX_SIM_FAIL in the environment is such a list, for each device, read when it is opened.
 */
#ifndef CHX_SIM_H
#define CHX_SIM_H
#include <chx/plugin.h>

#define CHX_SIM_FAULT "x.sim.fault/1"

enum { CHX_SIM_ALLOC = 0, CHX_SIM_COPY, CHX_SIM_KERNEL, CHX_SIM_LOST /* any of the others */, CHX_SIM_ACTIONS };

typedef struct chx_sim_fault_ops {
  uint32_t size, flags;
  /* Replaces the device's faults by those of spec (NULL or "": none) and counts from here. CHX_EARG, with nothing
   * changed, for a device or spec that there is not. */
  chx_status (*arm)(uint32_t device, const char *spec);
  uint64_t (*fired)(uint32_t device);                  /* how many faults have happened since */
  uint64_t (*count)(uint32_t device, uint32_t action); /* how many CHX_SIM_ALLOC, ... were asked for since */
  void (*delay)(uint32_t device, uint32_t microseconds); /* before each queued action, so that a queue is seen to lag */
  uint64_t (*used)(uint32_t device);                   /* bytes of live allocations */
  /* What a copy takes: bytes per microsecond (0: no end of them), and microseconds besides; and a kernel besides its work. */
  void (*pace)(uint32_t device, uint32_t copy_mbps, uint32_t copy_us, uint32_t kernel_us);
} chx_sim_fault_ops;

#endif
