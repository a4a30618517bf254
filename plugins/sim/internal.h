/* SPDX-License-Identifier: MIT
 * internal.h: what the files of the sim plugin share.
 *
 *   plugin.c   the descriptor, the devices, and the private copy of native
 *   memory.c   the private address space: handles, allocations, copies
 *   queue.c    a thread for each queue; jobs in order; late errors
 *   kernel.c   native's kernels as jobs
 *   fault.c    faults on demand
 *
 * Locks: a device's (its allocations) and a queue's (its jobs). Neither is held while the other is taken, nor while a
 * kernel runs.
 */
#ifndef CHX_SIM_INTERNAL_H
#define CHX_SIM_INTERNAL_H
#include <chx/attr.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "sim.h"

#if defined __GNUC__
#pragma GCC visibility push(hidden)
#endif

#define SIM_DEVICES 2
#define SIM_TEXT 512

/* ---- the plugin (plugin.c) --------------------------------------------------------------------------------------- */

struct chx_dev {
  uint32_t index;
  char name[32];            /* "sim:0", for messages */
  uint64_t capacity;        /* bytes */
  char *arena;              /* addresses that no one can read or write: handles point here */
  pthread_mutex_t lock;     /* of all below */
  struct sim_block **block; /* live allocations by address */
  size_t n_blocks, room;
  uint64_t used, next;      /* bytes; where in the arena to look for a place */
};

extern struct sim_plugin {
  const chx_host *host; /* NULL: not open */
  pid_t pid;            /* of the process that opened it */
  struct chx_dev dev[SIM_DEVICES];
  const chx_device_ops *native_ops;
  chx_dev *native;
  struct sim_kernel *kernel;
  uint32_t n_kernels;
} sim;

/* Leaves a sentence with the host and returns code. On a queue's thread the sentence is kept for the job instead. */
chx_status sim_fail(chx_status code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* CHX_OK, or the error that a forked child gets: queues' threads do not survive a fork. */
chx_status sim_here(void);

/* ---- memory (memory.c) --------------------------------------------------------------------------------------------- */

struct sim_block {
  uint64_t at, bytes; /* the handle is arena + at */
  char *data;
  unsigned pins;      /* jobs that use it now */
  bool released;
};

bool sim_memory_open(struct chx_dev *dev);
void sim_memory_close(struct chx_dev *dev);
/* The allocation that contains the device's address p (its end included), pinned; NULL: there is none. */
struct sim_block *sim_pin(struct chx_dev *dev, const void *p);
void sim_unpin(struct chx_dev *dev, struct sim_block *b);

chx_status sim_alloc(chx_dev *dev, chx_queue *q, uint64_t bytes, uint32_t kind, chx_buffer *out);
void sim_release(chx_dev *dev, chx_queue *q, chx_buffer *b);
chx_status sim_copy(chx_dev *dev, chx_queue *q, void *dst, uint64_t dst_off, const void *src, uint64_t src_off,
                    uint64_t bytes, uint32_t dir);

/* ---- queues (queue.c) ---------------------------------------------------------------------------------------------- */

struct sim_job {
  struct sim_job *next;
  uint64_t point;
  chx_status (*run)(struct sim_job *job); /* on the queue's thread; the job is freed after it */
  bool always;                            /* run even after an earlier job has failed */
};

/* A zeroed job of `bytes`, to be filled and queued; NULL with the error left with the host. */
void *sim_job_new(uint64_t bytes, chx_status (*run)(struct sim_job *));
/* Takes the job; with q NULL it is run here and now. */
chx_status sim_enqueue(struct chx_dev *dev, chx_queue *q, struct sim_job *job);

chx_status sim_queue_new(chx_dev *dev, void *adopt, chx_queue **out);
void sim_queue_free(chx_dev *dev, chx_queue *q);
uint64_t sim_queue_mark(chx_dev *dev, chx_queue *q);
chx_status sim_queue_wait(chx_dev *dev, chx_queue *waiter, chx_queue *on, uint64_t point);
chx_status sim_queue_sync(chx_dev *dev, chx_queue *q, uint64_t point, int64_t timeout_ns);
chx_status sim_queue_call(chx_dev *dev, chx_queue *q, void (*fn)(void *), void *arg);
void sim_queues_stop(void); /* ends all threads; what is still queued is dropped */

/* ---- kernels (kernel.c) -------------------------------------------------------------------------------------------- */

struct sim_kernel {
  chx_kernel k;             /* what the core sees */
  const chx_kernel *native; /* what runs */
};

bool sim_kernels_open(void);
void sim_kernels_close(void);
const chx_kernel *sim_kernel_at(chx_dev *dev, uint32_t index);
/* chx_host.scratch as native's kernels get it: memory until the job ends. */
void *sim_scratch(void *ctx, const chx_call *call, uint64_t bytes);

/* ---- faults (fault.c) ---------------------------------------------------------------------------------------------- */

extern const chx_sim_fault_ops sim_fault_ops;
/* Counts an action. True: it is to fail; *late says when, text (of SIM_TEXT bytes) why. */
bool sim_fault(struct chx_dev *dev, uint32_t action, const char *what, bool *late, char *text);
void sim_delay(uint32_t device);

#if defined __GNUC__
#pragma GCC visibility pop
#endif
#endif
