/* SPDX-License-Identifier: MIT
 * fault.c: faults on demand. Actions are counted where they are asked for, on the caller's thread, so that the same
 * program meets the same fault in every run, however its queues are scheduled.
 */
#include "internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST = 16 }; /* faults in one list */

static const char *const actions[CHX_SIM_ACTIONS] = {"alloc", "copy", "kernel"};

struct fault {
  uint32_t action;
  bool late;
  uint64_t n; /* which one; 0: it has happened */
};

static struct {
  struct fault fault[MOST];
  int n_faults;
  uint64_t count[CHX_SIM_ACTIONS], fired;
  uint32_t delay_us;
} state[SIM_DEVICES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* One fault from the n characters at text. */
static bool parse(const char *text, size_t n, struct fault *f)
{
  char item[64], *end;
  if (n >= sizeof item) return false;
  memcpy(item, text, n);
  item[n] = 0;
  char *number = strchr(item, ':');
  if (!number) return false;
  *number++ = 0;
  for (f->action = 0; f->action < CHX_SIM_ACTIONS && strcmp(item, actions[f->action]); f->action++) {}
  if (f->action == CHX_SIM_ACTIONS || *number < '0' || *number > '9') return false;
  f->n = strtoull(number, &end, 10);
  f->late = !strcmp(end, ":late");
  return f->n && (f->late ? f->action != CHX_SIM_ALLOC : !*end); /* an allocation is not queued */
}

static chx_status arm(uint32_t device, const char *spec)
{
  struct fault list[MOST];
  int n = 0;
  if (device >= SIM_DEVICES) return CHX_EARG;
  for (const char *p = spec ? spec : ""; *p;) {
    size_t length = strcspn(p, ",");
    if (n == MOST || !parse(p, length, &list[n++])) return CHX_EARG;
    p += length;
    if (*p && !*++p) return CHX_EARG;
  }
  pthread_mutex_lock(&lock);
  memcpy(state[device].fault, list, (size_t)n * sizeof *list);
  state[device].n_faults = n;
  memset(state[device].count, 0, sizeof state[device].count);
  state[device].fired = 0;
  pthread_mutex_unlock(&lock);
  return CHX_OK;
}

static uint64_t fired(uint32_t device)
{
  pthread_mutex_lock(&lock);
  uint64_t n = device < SIM_DEVICES ? state[device].fired : 0;
  pthread_mutex_unlock(&lock);
  return n;
}

static uint64_t count(uint32_t device, uint32_t action)
{
  pthread_mutex_lock(&lock);
  uint64_t n = device < SIM_DEVICES && action < CHX_SIM_ACTIONS ? state[device].count[action] : 0;
  pthread_mutex_unlock(&lock);
  return n;
}

static void delay(uint32_t device, uint32_t microseconds)
{
  pthread_mutex_lock(&lock);
  if (device < SIM_DEVICES) state[device].delay_us = microseconds;
  pthread_mutex_unlock(&lock);
}

const chx_sim_fault_ops sim_fault_ops = {
  .size = sizeof sim_fault_ops, .arm = arm, .fired = fired, .count = count, .delay = delay,
};

bool sim_fault(struct chx_dev *dev, uint32_t action, const char *what, bool *late, char *text)
{
  bool hit = false;
  pthread_mutex_lock(&lock);
  uint64_t n = ++state[dev->index].count[action];
  for (int i = 0; i < state[dev->index].n_faults && !hit; i++) {
    struct fault *f = &state[dev->index].fault[i];
    if (f->action != action || f->n != n) continue;
    f->n = 0;
    *late = f->late;
    hit = true;
    state[dev->index].fired++;
  }
  pthread_mutex_unlock(&lock);
  if (hit)
    snprintf(text, SIM_TEXT, "injected fault at %s %llu (%s)", actions[action], (unsigned long long)n, what);
  return hit;
}

void sim_delay(uint32_t device)
{
  pthread_mutex_lock(&lock);
  uint32_t us = state[device].delay_us;
  pthread_mutex_unlock(&lock);
  struct timespec t = {us / 1000000, (long)(us % 1000000) * 1000};
  if (us) nanosleep(&t, NULL);
}
