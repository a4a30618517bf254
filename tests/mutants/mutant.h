/* SPDX-License-Identifier: MIT
 * mutant.h: what the parts of the plugin "mutant" share. MUTANT is the fault that it is built with, of mutants.def;
 * BASE is none. How it is built:
 *   (nothing)   memory of its own, behind addresses that only the device understands
 *   -DMAPPED    the same, and the host can map it
 *   -DHOST      memory is the host's, and there are no queues
 *   -DBARE      no kernel and no extension: everything falls back
 *   -DREFUSES   map's accepts says no to rank 2, and its run, if it is called all the same, is wrong
 */
#ifndef MUTANT_H
#define MUTANT_H
#include <chx/plugin.h>
#include <chx/attr.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum fault {
  BASE,
#define FAULT(name, build, in, detail, what) name,
#include "mutants.def"
};
#ifndef MUTANT
#define MUTANT BASE
#endif
#define IS(fault) (MUTANT == fault)

#ifdef HOST
enum { IS_HOST = 1 };
static const uintptr_t device_space = 0;
#else
enum { IS_HOST = 0 };
static const uintptr_t device_space = (uintptr_t)1 << 54; /* no host has memory there */
#endif
#ifdef MAPPED
enum { IS_MAPPED = 1 };
#else
enum { IS_MAPPED = 0 };
#endif

#ifdef BARE
enum { IS_BARE = 1 };
#else
enum { IS_BARE = 0 };
#endif
#ifdef REFUSES
enum { IS_REFUSING = 1 };
#else
enum { IS_REFUSING = 0 };
#endif

struct chx_dev {
  int index;
  atomic_ullong used; /* bytes */
};

static const chx_host *host;

/* A host's pointer to what the device calls `address`. */
static inline char *bytes_of(const void *address, uint64_t offset)
{
  return (char *)((uintptr_t)address - device_space) + offset;
}

/* ---- queue.c: jobs, done in order by a thread for each queue. All .c files are parts of mutant.c. ---- */

struct job {
  struct job *next;
  chx_status (*run)(struct job *);
  uint64_t point;
  bool always; /* even if a job before it has failed */
  bool again;  /* it can be captured: to run it twice does it twice */
};

static chx_status fail(chx_status code, const char *sentence); /* inside a job: late */
static struct job *job_new(size_t bytes, chx_status (*run)(struct job *)); /* all else 0; NULL, with the failure recorded */
static chx_status enqueue(chx_queue *q, struct job *job);       /* takes it; at once if q is NULL */
static chx_status wait_all(chx_queue *q);
static struct graph **records(chx_queue *q); /* what jobs are added to; NULL: they are done */
static chx_status record(struct graph *g, struct job *job); /* capture.c; takes the job */

#endif
