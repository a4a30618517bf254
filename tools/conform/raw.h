/* SPDX-License-Identifier: MIT
 * raw.h: the judged plugin as the core would hold it, with a host table of the kit's own that writes down what is
 * called.
 *
 * For groups C0 to C4 and C7. A child has at most one plugin open; raw_device opens it at its first call, and the
 * cases of a batch share it.
 */
#ifndef CHX_CONFORM_RAW_H
#define CHX_CONFORM_RAW_H
#include "conform.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

typedef struct raw {
  void *lib;
  const chx_plugin *p;
  void *state;
  const chx_device_ops *o;
  chx_dev *dev;
  chx_device_info info;
} raw;

/* ---- the host table ---- */

extern const chx_host raw_host;
/* The sentence that the calling thread's last failure left, "" if none; asking clears it. */
const char *raw_said(void);
/* "code 7 (out of memory)", for messages; the text is the calling thread's, until its next-but-three call. */
const char *raw_code(chx_status st);

/* ---- the plugin ---- */

/* dlopens the file and gets its descriptor. NULL, with a failed check: it cannot. */
const chx_plugin *raw_load(conform *c, raw *r);
/* open, device_ops and device_open of c's device with that host table. False: a failed check says why. */
bool raw_open(conform *c, raw *r, const chx_host *host);
void raw_close(raw *r);
/* Loads, opens, uses a bit of all, and closes it, with that host table, which the plugin may keep. Where open fails or finds
 * no device there is a sentence, and the case is skipped. skew.c. */
void raw_use_with(conform *c, const chx_host *host);
/* The device that the cases of this child share; NULL: a failed check says why, or the
 * case is skipped as there is none. */
raw *raw_device(conform *c);
void raw_end_device(void); /* closes it and the plugin; the next raw_device opens them anew */
const char *raw_native_file(void); /* "" if libchx finds none */
/* Without checks: opens the device and closes it again. False: why says what there is instead. */
bool raw_probe(const char *file, uint32_t index, uint32_t *n_devices, char *why, size_t size);

/* ---- memory of it, with failed checks where it does not go well ---- */

bool raw_alloc(conform *c, raw *r, chx_queue *q, uint64_t bytes, chx_buffer *out);
void raw_release(raw *r, chx_queue *q, chx_buffer *b);
/* Copies and waits for it: up is host to device, down the other way. */
bool raw_up(conform *c, raw *r, chx_queue *q, const chx_buffer *b, uint64_t off, const void *from, uint64_t bytes);
bool raw_down(conform *c, raw *r, chx_queue *q, const chx_buffer *b, uint64_t off, void *to, uint64_t bytes);
bool raw_sync(conform *c, raw *r, chx_queue *q);
/* A queue, or NULL on a synchronous device. */
bool raw_queue(conform *c, raw *r, chx_queue **q);
void raw_queue_free(raw *r, chx_queue *q);
bool raw_has_queues(const raw *r);

/* The shared device and a new queue of it; NULL as raw_device. */
raw *raw_begin(conform *c, chx_queue **q);
/* The same of a device with queues; the case is skipped where it has none. */
raw *raw_begin_queued(conform *c, chx_queue **q);
/* Where two runs of bytes first differ; n: nowhere. */
size_t raw_difference(const void *a, const void *b, size_t n);
/* A check that they do not. */
bool raw_same(conform *c, const char *what, const void *got, const void *want, size_t n);

/* ---- a queue that is held (gate.c) ---- */

/* It is static storage or outlives the queue's work. */
typedef struct raw_gate {
  sem_t open;
  _Atomic int begun, done, forced; /* forced: nobody opened it in time, so somebody waited for it who must not */
} raw_gate;
bool raw_has_steps(const raw *r); /* the device has queue_call */
bool raw_hold(conform *c, raw *r, chx_queue *q, raw_gate *g); /* with failed checks if it cannot be held */
bool raw_begun(conform *c, raw_gate *g); /* waits until the queue has come to the step; a failed check if that never is */
void raw_let_go(raw_gate *g);

/* ---- numbers, threads, time ---- */

/* Numbers that depend on the seed and the case alone. */
uint64_t raw_random(uint64_t *state);
void raw_fill(void *bytes, uint64_t n, uint64_t seed);

/* Runs fn in n threads with their numbers, and joins them. False: no thread could be made. */
bool raw_threads(int n, void *(*fn)(void *ctx, int i), void *ctx, void *results[]);
double raw_now(void); /* seconds */
/* How many threads the process has. The system lists one for a moment after it was joined: while there are more than `most`, it
 * looks again, for 100 ms. */
int raw_threads_here(int most);

#endif
