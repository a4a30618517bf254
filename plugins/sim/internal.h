/* SPDX-License-Identifier: MIT
 * internal.h: what the files of the sim plugin share.
 *
 *   plugin.c   the descriptor, the devices, and the private copy of native
 *   options.c  what the environment says of the devices
 *   memory.c   the address space of a device: handles, allocations, guard pages
 *   import.c   memory of others
 *   copy.c     copies, also between two devices
 *   map.c      the host's view of allocations
 *   queue.c    a thread for each queue; jobs in order; late errors
 *   capture.c  jobs that are recorded, and launched again
 *   kernel.c   native's kernels as jobs
 *   fault.c    faults on demand, the loss of a device
 *
 * Locks: a device's (its allocations), a queue's (its jobs) and that of the faults. None is held while another is
 * taken, nor while a kernel runs.
 */
#ifndef CHX_SIM_INTERNAL_H
#define CHX_SIM_INTERNAL_H
#include <chx/attr.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "sim.h"

#if defined __GNUC__
#pragma GCC visibility push(hidden)
#endif

#define SIM_MAX_DEVICES 64
#define SIM_TEXT 512

/* ---- the plugin (plugin.c) --------------------------------------------------------------------------------------- */

enum sim_mode {
  SIM_PRIVATE, /* the host reaches no byte of it */
  SIM_MAPPABLE, /* between map and unmap */
  SIM_COHERENT /* at any time */
};

struct sim_options { /* of a device (options.c) */
  uint64_t capacity;             /* bytes */
  uint64_t delay_us;             /* before each queued action */
  uint64_t copy_mbps, copy_us;   /* a copy's bytes per microsecond, 0: no end of them; and what it takes besides */
  uint64_t kernel_us;            /* what a kernel takes besides its work */
  uint64_t guard;                /* 1: an allocation ends at a page that nobody may touch */
  uint64_t map_most;             /* bytes that map opens at once; 0: any number */
  enum sim_mode mode;
};

enum { SIM_FAULTS = 16 }; /* in one list */

struct sim_faults { /* fault.c; under its lock */
  struct sim_fault {
    uint32_t action;
    bool late;
    uint64_t n; /* which one; 0: it has happened */
  } fault[SIM_FAULTS];
  int n;
  uint64_t count[CHX_SIM_ACTIONS], fired;
  char lost_text[SIM_TEXT];
};

struct chx_dev {
  uint32_t index;
  char name[16], title[40]; /* "sim:0", for messages; "simulated accelerator 0" */
  struct sim_options opt;   /* the times: under the lock of the faults */
  struct sim_faults faults;
  atomic_bool lost;         /* every function fails from now on */
  uint64_t arena_bytes;
  char *arena;              /* addresses that no one can read or write: handles point here */
  pthread_mutex_t lock;     /* of all below */
  struct sim_block **block; /* live allocations by address */
  size_t n_blocks, room;
  uint64_t used, next;      /* bytes; where in the arena to look for a place */
  struct sim_mapping *mappings; /* that the host has not waited for (map.c) */
};

extern struct sim_plugin {
  const chx_host *host; /* NULL: not open */
  pid_t pid;            /* of the process that opened it */
  struct chx_dev *dev;
  uint32_t n_devices;
  const chx_device_ops *native_ops;
  chx_dev *native;
  struct sim_kernel *kernel;
  uint32_t n_kernels;
} sim;

/* Leaves a sentence with the host and returns code. On a queue's thread the sentence is kept for the job instead. */
chx_status sim_fail(chx_status code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* CHX_OK, or the error that a forked child gets: queues' threads do not survive a fork. */
chx_status sim_here(void);
/* CHX_OK, or in a forked child or on a lost device the error that every function then gives. */
chx_status sim_alive(struct chx_dev *dev);

/* ---- options (options.c) ------------------------------------------------------------------------------------------- */

const char *sim_option(void *ctx, const char *key); /* chx_host.option, also as native's copy gets it */
chx_status sim_count_devices(uint32_t *n);
chx_status sim_read_options(struct sim_options *out);

/* ---- memory (memory.c) --------------------------------------------------------------------------------------------- */

struct sim_block {
  uint64_t at, bytes;     /* the handle is arena + at */
  char *data;             /* where kernels and copies find the bytes */
  char *window;           /* the same bytes as the host may see them; NULL in private mode */
  char *region[2];        /* what is mapped for data and window, guard pages included; NULL: data is from the heap */
  uint64_t region_bytes;  /* of each */
  unsigned pins;          /* jobs that use it now */
  unsigned reads, writes; /* how often the host has it mapped, for reading only and for writing */
  bool released;
  bool imported;          /* data is the caller's */
};

bool sim_memory_open(struct chx_dev *dev);
void sim_memory_close(struct chx_dev *dev);
void sim_memory_wipe(struct chx_dev *dev); /* the content of all allocations is lost */
uint64_t sim_memory_used(struct chx_dev *dev);
/* The allocation that contains the device's address p (its end included), pinned; NULL: there is none. */
struct sim_block *sim_pin(struct chx_dev *dev, const void *p);
void sim_unpin(struct chx_dev *dev, struct sim_block *b);
/* Likewise for all of [p, p + bytes): where the bytes are; NULL: they are not all in one. *b is to be unpinned. */
char *sim_open_range(struct chx_dev *dev, const void *p, uint64_t bytes, struct sim_block **b);
/* Opens (1: for reading, 2: for writing too) or closes (0) the pages of the host's view. */
bool sim_window(struct chx_dev *dev, struct sim_block *b, int access);
uint64_t sim_page(void);
/* A new allocation, or an address for imported bytes, under the device's lock; NULL: there is no room. */
struct sim_block *sim_add_block(struct chx_dev *dev, uint64_t bytes, void *imported);

chx_status sim_alloc(chx_dev *dev, chx_queue *q, uint64_t bytes, uint32_t kind, chx_buffer *out);
void sim_release(chx_dev *dev, chx_queue *q, chx_buffer *b);
chx_status sim_import_host(chx_dev *dev, void *ptr, uint64_t bytes, uint32_t access, chx_buffer *out); /* import.c */
chx_status sim_import_native(chx_dev *dev, void *data, uint64_t bytes, chx_buffer *out);

/* ---- copies (copy.c), the host's view (map.c) ---------------------------------------------------------------------- */

chx_status sim_copy(chx_dev *dev, chx_queue *q, void *dst, uint64_t dst_off, const void *src, uint64_t src_off,
                    uint64_t bytes, uint32_t dir);
extern const chx_peer_ops sim_peer_ops;
chx_status sim_map(chx_dev *dev, chx_queue *q, chx_buffer *b, uint64_t off, uint64_t bytes, uint32_t access,
                   void **host_ptr);
chx_status sim_unmap(chx_dev *dev, chx_queue *q, chx_buffer *b, void *host_ptr);
/* The host has waited for q's point: what it has mapped before is open to it. */
void sim_maps_reached(struct chx_dev *dev, const chx_queue *q, uint64_t point);
void sim_maps_forget(struct chx_dev *dev);
/* CHX_OK, or the error of a job that uses memory which the host has mapped. */
chx_status sim_not_mapped(struct chx_dev *dev, struct sim_block *b, bool writes, const char *what);

struct sim_late;

/* ---- queues (queue.c) ---------------------------------------------------------------------------------------------- */

struct sim_job {
  struct sim_job *next;
  uint64_t point;
  chx_status (*run)(struct sim_job *job); /* on the queue's thread; the job is freed after it */
  void (*gone)(struct sim_job *job);      /* before it is freed, run or not; NULL: nothing */
  /* Of a job that can be captured: does it, with that fault, and leaves it as it is; what it is counted as, and called. */
  chx_status (*repeat)(const struct sim_job *job, const struct sim_late *late);
  uint32_t action;
  const char *what;
  bool always;                            /* run even after an earlier job has failed, and not captured */
};

/* A zeroed job of `bytes`, to be filled and queued; NULL with the error left with the host. */
void *sim_job_new(uint64_t bytes, chx_status (*run)(struct sim_job *));
/* Takes the job; with q NULL it is run here and now, and if q records it is added to the graph. */
chx_status sim_enqueue(struct chx_dev *dev, chx_queue *q, struct sim_job *job);

chx_status sim_queue_new(chx_dev *dev, void *adopt, chx_queue **out);
void sim_queue_free(chx_dev *dev, chx_queue *q);
uint64_t sim_queue_mark(chx_dev *dev, chx_queue *q);
chx_status sim_queue_wait(chx_dev *dev, chx_queue *waiter, chx_queue *on, uint64_t point);
chx_status sim_queue_sync(chx_dev *dev, chx_queue *q, uint64_t point, int64_t timeout_ns);
chx_status sim_queue_call(chx_dev *dev, chx_queue *q, void (*fn)(void *), void *arg);
void *sim_queue_native(chx_dev *dev, chx_queue *q);
void sim_queues_stop(void); /* ends all threads; what is still queued is dropped */

/* ---- captures (capture.c) ------------------------------------------------------------------------------------------ */

struct sim_graph;
extern const chx_capture_ops sim_capture_ops;
void sim_graph_add(struct sim_graph *g, struct sim_job *job); /* takes the job */
void sim_record(chx_queue *q, struct sim_graph *g); /* queue.c: from now on q adds its jobs to g; NULL: it does them */
struct sim_graph *sim_recording(const chx_queue *q); /* NULL: q does its jobs */
/* CHX_OK, or while q records the error of what is not one of its jobs. */
chx_status sim_not_recording(const chx_queue *q, const char *what);
/* sim_action for what q is given: what is recorded is counted when it is launched. */
chx_status sim_queue_action(struct chx_dev *dev, const chx_queue *q, uint32_t action, const char *what, struct sim_late *late);

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

struct sim_late { /* a fault that a job is to have when it is run; code CHX_OK: none */
  chx_status code;
  char text[SIM_TEXT];
};

extern const chx_sim_fault_ops sim_fault_ops;
/* CHX_OK on a device that is there, after an action was counted; else the error, which is left with the host. */
chx_status sim_action(struct chx_dev *dev, uint32_t action, const char *what, struct sim_late *late);
chx_status sim_strike(struct chx_dev *dev, const struct sim_late *late); /* the late fault happens now */
void sim_delay(struct chx_dev *dev);                                     /* each of the times that the options set */
void sim_delay_copy(struct chx_dev *dev, uint64_t bytes);
void sim_delay_kernel(struct chx_dev *dev);

#if defined __GNUC__
#pragma GCC visibility pop
#endif
#endif
