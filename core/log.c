/* SPDX-License-Identifier: MIT
 * log.c: messages to the function that chx_set_log was given. Where there is none, a message costs one load.
 */
#include "internal.h"
#include <errno.h>
#include <stdio.h>

atomic_int chxi_log_level = -1;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the pair; not held while it is called */
static chx_log_fn log_fn;
static void *log_ctx;

/* A fork while another thread holds the lock would leave it locked in the child. */
static void take(void) { pthread_mutex_lock(&lock); }
static void give(void) { pthread_mutex_unlock(&lock); }
static void at_fork(void) { pthread_atfork(take, give, give); }

void chx_set_log(chx_log_fn fn, void *ctx, int max_level)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, at_fork);
  take();
  log_fn = fn;
  log_ctx = ctx;
  atomic_store(&chxi_log_level, fn ? max_level : -1);
  chxi_watch(CHXI_WATCH_TRACE, fn && max_level >= 3);
  give();
}

void chxi_log(int level, const char *format, ...)
{
  if (level > atomic_load_explicit(&chxi_log_level, memory_order_relaxed)) return;
  const int saved = errno;
  take();
  chx_log_fn fn = log_fn;
  void *ctx = log_ctx;
  give();
  if (fn) {
    char message[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(message, sizeof message, format, ap);
    va_end(ap);
    fn(ctx, level, message);
  }
  errno = saved;
}
