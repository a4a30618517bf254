/* SPDX-License-Identifier: MIT
 * pool.c: the threads that share one operator's work, which the core lends to plugins as parallel_for.
 *
 * One pool a process, started at first use. The range is cut into pieces of `grain` whatever the number of threads is,
 * so no result depends on it; threads take pieces from a counter. There is one job at a time: a call from inside a job,
 * or from another thread while a job runs, does its own pieces itself, so that nothing ever waits for a free pool.
 *
 * A job is announced by `tickets`: the job's number in the high half, and how many workers may still join in the low
 * half. A worker joins by taking one ticket, and only then may it read the job. The caller ends a job by taking back
 * the tickets that are left, and waits until as many workers have left as joined. So a worker that wakes late finds
 * no ticket, or the next job's, and never a job that is being replaced.
 */
#include "runtime.h"
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

enum { MAX_THREADS = 1024, SPIN = 1000 /* pauses, tens of microseconds, before a thread sleeps */ };

static struct {
  atomic_bool busy;      /* a job runs; whoever set it owns what is not atomic */
  atomic_uint forks;     /* how many forks made this process */
  unsigned n_workers;
  bool started, no_more; /* atfork and the like are done; the system gave no more threads */
  pthread_t thread[MAX_THREADS];

  atomic_ullong tickets;
  atomic_uint left;      /* workers that joined this job and left it */
  void (*fn)(int64_t, int64_t, void *);
  void *ctx;
  int64_t n, grain, pieces;
  _Atomic int64_t next;

  pthread_mutex_t lock;  /* guards nothing but the two waits */
  pthread_cond_t wake, done;
  atomic_uint sleepers;
  atomic_bool caller_sleeps, stop;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

static atomic_int wanted = -1; /* threads; -1: not known yet */
static _Thread_local bool inside;

/* ---- how many threads -------------------------------------------------------------------------------------------- */

static int processors(void)
{
  cpu_set_t set[8]; /* 8192 processors */
  int n = sched_getaffinity(0, sizeof set, set) == 0 ? CPU_COUNT_S(sizeof set, set) : 1;
  return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n;
}

void chx_set_threads(int n)
{
  atomic_store(&wanted, n < 1 ? processors() : n > MAX_THREADS ? MAX_THREADS : n);
}

static int threads_from_environment(void)
{
  const char *e = chxi_getenv("CHX_NUM_THREADS");
  char *end = NULL;
  long n = e && *e ? strtol(e, &end, 10) : 0;
  if (end && (*end || n < 0)) {
    chxi_log(1, "CHX_NUM_THREADS is \"%s\", want a number of threads, or 0 for all processors", e);
    n = 0;
  }
  n = n < 1 ? processors() : n > MAX_THREADS ? MAX_THREADS : n;
  int unknown = -1;
  atomic_compare_exchange_strong(&wanted, &unknown, (int)n); /* chx_set_threads wins */
  return atomic_load(&wanted);
}

int chx_threads(void)
{
  int n = atomic_load_explicit(&wanted, memory_order_relaxed);
  return chxi_likely(n > 0) ? n : threads_from_environment();
}

/* ---- workers ------------------------------------------------------------------------------------------------------- */

static inline void pause_briefly(void)
{
#if defined __x86_64__ || defined __i386__
  __builtin_ia32_pause();
#elif defined __aarch64__
  __asm__ volatile("yield");
#endif
}

static inline unsigned open_tickets(void) { return (unsigned)(atomic_load(&pool.tickets) & 0xffffffff); }

static void run_pieces(void)
{
  int64_t i;
  while ((i = atomic_fetch_add_explicit(&pool.next, 1, memory_order_relaxed)) < pool.pieces) {
    const int64_t begin = i * pool.grain;
    pool.fn(begin, pool.n - begin > pool.grain ? begin + pool.grain : pool.n, pool.ctx);
  }
}

static bool join_job(void)
{
  unsigned long long t = atomic_load(&pool.tickets);
  while (t & 0xffffffff)
    if (atomic_compare_exchange_weak(&pool.tickets, &t, t - 1)) return true;
  return false;
}

static void wait_for_job(void)
{
  for (int i = 0; i < SPIN; i++) {
    if (open_tickets() || atomic_load(&pool.stop)) return;
    pause_briefly();
  }
  pthread_mutex_lock(&pool.lock);
  atomic_fetch_add(&pool.sleepers, 1); /* before the last look at the tickets; announce() does it the other way round */
  while (!open_tickets() && !atomic_load(&pool.stop)) pthread_cond_wait(&pool.wake, &pool.lock);
  atomic_fetch_sub(&pool.sleepers, 1);
  pthread_mutex_unlock(&pool.lock);
}

static void *worker(void *unused)
{
  (void)unused;
  inside = true;
  for (;;) {
    wait_for_job();
    if (atomic_load(&pool.stop)) return NULL;
    if (!join_job()) continue;
    run_pieces();
    atomic_fetch_add(&pool.left, 1);
    if (atomic_load(&pool.caller_sleeps)) {
      pthread_mutex_lock(&pool.lock);
      pthread_cond_signal(&pool.done);
      pthread_mutex_unlock(&pool.lock);
    }
  }
}

/* In a forked child the workers are gone, and the locks are as another thread may have left them. A child of fork that
 * was called inside a job finishes no job: see chxi_parallel_for. */
static void in_child(void)
{
  pool.n_workers = 0;
  pool.no_more = false;
  atomic_store(&pool.tickets, 0);
  atomic_store(&pool.left, 0);
  atomic_store(&pool.sleepers, 0);
  atomic_store(&pool.caller_sleeps, false);
  pool.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
  pool.wake = pool.done = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
  atomic_fetch_add(&pool.forks, 1);
  atomic_store(&pool.busy, false);
}

/* Sees to it that there are n workers, or as many as the system gives. Returns how many. */
static unsigned have_workers(unsigned n)
{
  if (!pool.started) {
    if (pthread_atfork(NULL, NULL, in_child)) return 0;
    pool.started = true;
  }
  if (pool.n_workers < n && !pool.no_more) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the host program's signals are not for our threads */
    while (pool.n_workers < n && !pthread_create(&pool.thread[pool.n_workers], NULL, worker, NULL)) pool.n_workers++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pool.n_workers < n) {
      pool.no_more = true;
      chxi_log(1, "threads: the system gave %u, wanted %u", pool.n_workers, n);
    }
  }
  return pool.n_workers < n ? pool.n_workers : n;
}

/* Joins the workers when the library is unloaded or the process ends in good order: code must not go while they run
 * it, and leak checkers find nothing. If a job is running, its threads are left alone. */
__attribute__((destructor)) static void stop_workers(void)
{
  if (atomic_exchange(&pool.busy, true)) return; /* and from here on all work is serial */
  pthread_mutex_lock(&pool.lock);
  atomic_store(&pool.stop, true);
  pthread_cond_broadcast(&pool.wake);
  pthread_mutex_unlock(&pool.lock);
  for (unsigned i = 0; i < pool.n_workers; i++) pthread_join(pool.thread[i], NULL);
  pool.n_workers = 0;
}

/* ---- jobs ------------------------------------------------------------------------------------------------------------- */

static void announce(unsigned helpers)
{
  const unsigned long long number = (atomic_load(&pool.tickets) >> 32) + 1;
  atomic_store(&pool.tickets, number << 32 | helpers);
  unsigned asleep = atomic_load(&pool.sleepers);
  if (!asleep) return;
  pthread_mutex_lock(&pool.lock);
  if (asleep <= helpers)
    pthread_cond_broadcast(&pool.wake);
  else
    while (helpers-- > 0) pthread_cond_signal(&pool.wake);
  pthread_mutex_unlock(&pool.lock);
}

static void wait_for_workers(unsigned joined)
{
  for (int i = 0; i < SPIN; i++) {
    if (atomic_load(&pool.left) == joined) return;
    pause_briefly();
  }
  pthread_mutex_lock(&pool.lock);
  atomic_store(&pool.caller_sleeps, true);
  while (atomic_load(&pool.left) != joined) pthread_cond_wait(&pool.done, &pool.lock);
  atomic_store(&pool.caller_sleeps, false);
  pthread_mutex_unlock(&pool.lock);
}

static chx_status run_serially(int64_t n, int64_t grain, void (*fn)(int64_t, int64_t, void *), void *ctx)
{
  int64_t begin = 0;
  for (; n - begin > grain; begin += grain) fn(begin, begin + grain, ctx);
  fn(begin, n, ctx);
  return CHX_OK;
}

chx_status chxi_parallel_for(int64_t n, int64_t grain, void (*fn)(int64_t begin, int64_t end, void *ctx), void *ctx)
{
  if (n <= 0) return n ? CHX_EARG : CHX_OK;
  if (grain < 1) grain = 1;
  const int64_t pieces = n / grain + (n % grain != 0);
  if (pieces == 1 || inside) return run_serially(n, grain, fn, ctx);
  const int threads = chx_threads();
  if (threads == 1 || atomic_exchange(&pool.busy, true)) return run_serially(n, grain, fn, ctx);

  const unsigned helpers = have_workers((unsigned)(threads < pieces ? threads : pieces) - 1);
  const unsigned forks = atomic_load(&pool.forks);
  inside = true;
  pool.fn = fn;
  pool.ctx = ctx;
  pool.n = n;
  pool.grain = grain;
  pool.pieces = pieces;
  atomic_store(&pool.next, 0);
  atomic_store(&pool.left, 0);
  announce(helpers);
  run_pieces();
  inside = false;
  if (atomic_load(&pool.forks) != forks)
    return CHX_EFAILED; /* a child that fn made: its workers stayed with the parent */
  const unsigned unused = (unsigned)(atomic_fetch_and(&pool.tickets, ~0xffffffffull) & 0xffffffff);
  wait_for_workers(helpers - unused);
  atomic_store(&pool.busy, false);
  return CHX_OK;
}
