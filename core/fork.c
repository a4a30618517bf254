/* SPDX-License-Identifier: MIT
 * fork.c: fork in a process whose other threads use chx. Before the fork the core's locks are taken, in one order; after it both
 * sides give them back, so that the child finds none held by a thread that it does not have. The pool and the log have
 * handlers of their own, since more than a lock is theirs.
 *
 * What other threads' calls have for as long as they run is free when the child meets it, and chxi_forks tells that it is
 * of before: memory that is lent to the host or pinned to the device (transfer.c), a queue (stream.c), a leaf's gradient
 * (node.c). What such a call was writing at the fork, a gradient say, may be half written in the child.
 */
#include "runtime.h"

enum { MOST = 16 };
static struct guard { int rank, n; pthread_mutex_t *locks; } guards[MOST];
static int n_guards;
static struct { int n; pthread_cond_t *conditions; } waits[MOST];
static int n_waits;
uint16_t chxi_forks;

static void devices(int (*fn)(pthread_mutex_t *))
{
  for (int i = atomic_load(&chxi_n_devices); i-- > 0;) fn(&chxi_devices[i]->lock);
}

static void each(int rank, int (*fn)(pthread_mutex_t *))
{
  for (int i = 0; i < n_guards; i++)
    for (int k = 0; guards[i].rank == rank && k < guards[i].n; k++) fn(&guards[i].locks[k]);
}

static void take(void)
{
  for (int rank = CHXI_FORK_LOAD; rank <= CHXI_FORK_PLAIN; rank++) each(rank, pthread_mutex_lock);
  devices(pthread_mutex_lock);
  each(CHXI_FORK_USES, pthread_mutex_lock);
}

static void give(void)
{
  each(CHXI_FORK_USES, pthread_mutex_unlock);
  devices(pthread_mutex_unlock);
  for (int rank = CHXI_FORK_PLAIN; rank >= CHXI_FORK_LOAD; rank--) each(rank, pthread_mutex_unlock);
}

/* A condition variable counts its waiters, and those are gone. */
static void give_in_child(void)
{
  chxi_forks++;
  for (int i = 0; i < n_waits; i++)
    for (int k = 0; k < waits[i].n; k++) pthread_cond_init(&waits[i].conditions[k], NULL);
  give();
}

void chxi_fork_guard(int rank, pthread_mutex_t *locks, int n)
{
  if (!n_guards) pthread_atfork(take, give, give_in_child);
  if (n_guards < MOST) guards[n_guards++] = (struct guard){rank, n, locks};
}

void chxi_fork_conditions(pthread_cond_t *conditions, int n)
{
  if (n_waits == MOST) return;
  waits[n_waits].n = n;
  waits[n_waits++].conditions = conditions;
}
