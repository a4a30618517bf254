/* SPDX-License-Identifier: MIT
 * test_pool.c: the thread pool: every piece once, the same pieces at any thread count, calls from inside and from
 * several threads, and a forked child.
 */
#include "../core/internal.h"
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined __SANITIZE_THREAD__
#define TSAN 1
#elif defined __has_feature
#if __has_feature(thread_sanitizer)
#define TSAN 1
#endif
#endif

enum { N = 100003 };

struct job {
  int64_t n, grain;
  atomic_uchar *seen;
  atomic_int wrong, calls;
};

static void visit(int64_t begin, int64_t end, void *ctx)
{
  struct job *j = ctx;
  atomic_fetch_add(&j->calls, 1);
  if (begin % j->grain || begin >= end || (end - begin != j->grain && end != j->n)) atomic_fetch_add(&j->wrong, 1);
  for (int64_t i = begin; i < end; i++) atomic_fetch_add_explicit(&j->seen[i], 1, memory_order_relaxed);
}

/* Whether [0, n) was visited once, in pieces that begin at multiples of grain and have its length but for the last. */
static bool covers(int64_t n, int64_t grain)
{
  struct job j = {n, grain, calloc((size_t)n + 1, 1), 0, 0};
  bool good = chxi_parallel_for(n, grain, visit, &j) == CHX_OK;
  for (int64_t i = 0; i < n; i++) good &= j.seen[i] == 1;
  good &= j.wrong == 0 && j.calls == (n + grain - 1) / grain && j.seen[n] == 0;
  free(j.seen);
  return good;
}

/* A sum whose result depends on where it is cut, and on nothing else. */
struct sum {
  const float *x;
  float part[N / 1000 + 1];
};

static void add_piece(int64_t begin, int64_t end, void *ctx)
{
  struct sum *s = ctx;
  float v = 0;
  for (int64_t i = begin; i < end; i++) v += s->x[i];
  s->part[begin / 1000] = v;
}

static float sum_of(const float *x)
{
  struct sum s = {.x = x};
  float v = 0;
  chxi_parallel_for(N, 1000, add_piece, &s);
  for (int i = 0; i < N / 1000 + 1; i++) v += s.part[i];
  return v;
}

static void nested(int64_t begin, int64_t end, void *ctx)
{
  for (int64_t i = begin; i < end; i++)
    if (!covers(1000, 7)) atomic_fetch_add((atomic_int *)ctx, 1);
}

static void *one_of_many(void *ctx)
{
  for (int i = 0; i < 200; i++)
    if (!covers(1 + i * 13, 5)) atomic_fetch_add((atomic_int *)ctx, 1);
  return NULL;
}

static bool child_works(void)
{
  fflush(stdout);
  pid_t pid = fork();
  if (!pid) _exit(covers(N, 100) && covers(50, 1) ? 0 : 1);
  int status;
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void fork_inside(int64_t begin, int64_t end, void *ctx)
{
  (void)end;
  if (begin || getpid() != *(pid_t *)ctx) return;
  *(pid_t *)ctx = fork();
}

static void nothing(int64_t begin, int64_t end, void *ctx)
{
  (void)begin, (void)end, (void)ctx;
}

static double seconds(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void pause_a_little(int64_t begin, int64_t end, void *ctx)
{
  (void)end, (void)ctx;
  const struct timespec t = {0, 100000 * (begin % 3)};
  nanosleep(&t, NULL);
}

static void test_fork(void)
{
#ifdef TSAN
  skip(3, "fork of a process with threads is not supported by the thread sanitizer");
#else
  chx_set_threads(4);
  covers(N, 100);
  ok(child_works(), "a child forked after use has a pool of its own");

  pthread_t t[3];
  atomic_int bad = 0;
  for (int i = 0; i < 3; i++) pthread_create(&t[i], NULL, one_of_many, &bad);
  bool good = true;
  for (int i = 0; i < 10; i++) good &= child_works();
  for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
  ok(good && !bad, "children forked while other threads run jobs");

  /* The piece that forks is the first, which a thread of the pool may take: only the caller's child can come back. */
  chx_set_threads(1);
  pid_t pid = getpid(), self = pid;
  chx_status status = chxi_parallel_for(4, 1, fork_inside, &pid);
  if (getpid() != self) _exit(status == CHX_OK && covers(100, 3) ? 0 : 1);
  int how = -1;
  waitpid(pid, &how, 0);
  is_int(how, 0, "a fork inside a serial job");
#endif
}

int main(void)
{
  static const int64_t grains[] = {1, 2, 7, 64, 1000, N, N + 1};
  static const int threads[] = {1, 2, 3, 8, 33};
  note("%d threads by default", chx_threads());
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  chx_set_threads(0);
  is_int(chx_threads(), CPU_COUNT(&set), "0 threads: as many as the process may run on");
  chx_set_threads(5);
  is_int(chx_threads(), 5, "5 threads");

  float *x = malloc(N * sizeof *x);
  check_seed(11);
  for (int i = 0; i < N; i++) x[i] = (float)check_uniform(-1, 1);
  chx_set_threads(1);
  const float want = sum_of(x);
  for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
    chx_set_threads(threads[t]);
    bool good = true;
    for (size_t g = 0; g < sizeof grains / sizeof *grains; g++) good &= covers(N, grains[g]);
    for (int64_t n = 0; n < 20; n++) good &= covers(n, 3);
    ok(good, "%d threads: every piece once", threads[t]);
    bool same = true;
    for (int i = 0; i < 50; i++) same &= sum_of(x) == want;
    ok(same, "%d threads: the same bits as one", threads[t]);
  }
  free(x);

  is_int(chxi_parallel_for(0, 1, nothing, NULL), CHX_OK, "nothing to do");
  is_int(chxi_parallel_for(-1, 1, nothing, NULL), CHX_EARG, "a negative length");
  is_int(chxi_parallel_for(INT64_MAX, INT64_MAX / 2, nothing, NULL), CHX_OK, "the largest length");

  chx_set_threads(4);
  atomic_int bad = 0;
  chxi_parallel_for(40, 1, nested, &bad);
  is_int(bad, 0, "calls from inside a job");

  pthread_t t[6];
  for (int i = 0; i < 6; i++) pthread_create(&t[i], NULL, one_of_many, &bad);
  for (int i = 0; i < 200; i++) chx_set_threads(1 + i % 7);
  for (int i = 0; i < 6; i++) pthread_join(t[i], NULL);
  is_int(bad, 0, "6 threads at once, and chx_set_threads while they run");

  /* Gaps long enough for the workers to fall asleep, and pieces long enough for the caller to. */
  chx_set_threads(4);
  for (int i = 0; i < 100; i++) {
    struct timespec gap = {0, i % 2 ? 300000 : 0};
    nanosleep(&gap, NULL);
    chxi_parallel_for(8, 1, pause_a_little, NULL);
  }
  ok(true, "100 jobs with workers and caller asleep in between");

  double t0 = seconds();
  for (int i = 0; i < 20000; i++) chxi_parallel_for(4, 1, nothing, NULL);
  note("%.0f ns for an empty job on 4 threads", (seconds() - t0) / 20000 * 1e9);

  test_fork();
  return done_testing();
}
