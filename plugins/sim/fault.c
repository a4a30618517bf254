/* SPDX-License-Identifier: MIT
 * fault.c: faults on demand, and the times that actions are made to take. Actions are counted where they are asked for,
 * on the caller's thread, so that the same program meets the same fault in every run, however its queues are scheduled.
 */
#include "internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const actions[CHX_SIM_ACTIONS] = {"alloc", "copy", "kernel", "lost"};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct chx_dev *device_at(uint32_t i) { return i < sim.n_devices ? &sim.dev[i] : NULL; }

/* ---- the extension --------------------------------------------------------------------------------------------------- */

/* One fault from the n characters at text. */
static bool parse(const char *text, size_t n, struct sim_fault *f)
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
  struct sim_fault list[SIM_FAULTS];
  struct chx_dev *dev = device_at(device);
  int n = 0;
  if (!dev) return CHX_EARG;
  for (const char *p = spec ? spec : ""; *p;) {
    size_t length = strcspn(p, ",");
    if (n == SIM_FAULTS || !parse(p, length, &list[n++])) return CHX_EARG;
    p += length;
    if (*p && !*++p) return CHX_EARG;
  }
  if (atomic_load(&dev->lost)) sim_memory_wipe(dev);
  pthread_mutex_lock(&lock);
  memset(&dev->faults, 0, sizeof dev->faults);
  memcpy(dev->faults.fault, list, (size_t)n * sizeof *list);
  dev->faults.n = n;
  atomic_store(&dev->lost, false);
  pthread_mutex_unlock(&lock);
  return CHX_OK;
}

static uint64_t fired(uint32_t device)
{
  struct chx_dev *dev = device_at(device);
  pthread_mutex_lock(&lock);
  uint64_t n = dev ? dev->faults.fired : 0;
  pthread_mutex_unlock(&lock);
  return n;
}

static uint64_t count(uint32_t device, uint32_t action)
{
  struct chx_dev *dev = device_at(device);
  pthread_mutex_lock(&lock);
  uint64_t n = dev && action < CHX_SIM_ACTIONS ? dev->faults.count[action] : 0;
  pthread_mutex_unlock(&lock);
  return n;
}

static void delay(uint32_t device, uint32_t microseconds)
{
  struct chx_dev *dev = device_at(device);
  pthread_mutex_lock(&lock);
  if (dev) dev->opt.delay_us = microseconds;
  pthread_mutex_unlock(&lock);
}

static void pace(uint32_t device, uint32_t copy_mbps, uint32_t copy_us, uint32_t kernel_us)
{
  struct chx_dev *dev = device_at(device);
  pthread_mutex_lock(&lock);
  if (dev) {
    dev->opt.copy_mbps = copy_mbps;
    dev->opt.copy_us = copy_us;
    dev->opt.kernel_us = kernel_us;
  }
  pthread_mutex_unlock(&lock);
}

static uint64_t used(uint32_t device)
{
  struct chx_dev *dev = device_at(device);
  return dev ? sim_memory_used(dev) : 0;
}

const chx_sim_fault_ops sim_fault_ops = {
  .size = sizeof sim_fault_ops, .arm = arm, .fired = fired, .count = count, .delay = delay, .used = used, .pace = pace,
};

/* ---- what happens ------------------------------------------------------------------------------------------------------ */

/* The lock is held. Whether f hits action number n of its kind. */
static bool hits(const struct sim_fault *f, uint32_t action, uint64_t n)
{
  if (f->action == CHX_SIM_LOST && f->late) return f->n && n >= f->n && action != CHX_SIM_ALLOC;
  return f->n == n;
}

/* The lock is held. */
static void lose(struct chx_dev *dev, const char *text)
{
  snprintf(dev->faults.lost_text, SIM_TEXT, "%s", text);
  atomic_store(&dev->lost, true);
}

chx_status sim_action(struct chx_dev *dev, uint32_t action, const char *what, struct sim_late *late)
{
  char text[SIM_TEXT];
  chx_status st = sim_alive(dev);
  late->code = CHX_OK;
  if (st) return st;
  pthread_mutex_lock(&lock);
  uint64_t n = ++dev->faults.count[action], any = ++dev->faults.count[CHX_SIM_LOST];
  for (int i = 0; i < dev->faults.n && !st && !late->code; i++) {
    struct sim_fault *f = &dev->faults.fault[i];
    bool loss = f->action == CHX_SIM_LOST;
    if ((!loss && f->action != action) || !hits(f, action, loss ? any : n)) continue;
    f->n = 0;
    dev->faults.fired++;
    snprintf(text, sizeof text, "%s at %s %llu (%s)", loss ? "injected loss of the device" : "injected fault",
             actions[action], (unsigned long long)n, what);
    st = loss ? CHX_ELOST : action == CHX_SIM_ALLOC ? CHX_ENOMEM : CHX_EDEVICE;
    if (f->late) {
      late->code = st;
      memcpy(late->text, text, sizeof text);
      st = CHX_OK;
    } else if (loss)
      lose(dev, text);
  }
  pthread_mutex_unlock(&lock);
  return st ? sim_fail(st, "%s", text) : CHX_OK;
}

chx_status sim_strike(struct chx_dev *dev, const struct sim_late *late)
{
  if (late->code == CHX_ELOST) {
    pthread_mutex_lock(&lock);
    lose(dev, late->text);
    pthread_mutex_unlock(&lock);
  }
  return sim_fail(late->code, "%s", late->text);
}

chx_status sim_alive(struct chx_dev *dev)
{
  char text[SIM_TEXT];
  chx_status st = sim_here();
  if (st || !atomic_load(&dev->lost)) return st;
  pthread_mutex_lock(&lock);
  memcpy(text, dev->faults.lost_text, sizeof text);
  pthread_mutex_unlock(&lock);
  return sim_fail(CHX_ELOST, "the device was lost: %s", text);
}

/* ---- times ----------------------------------------------------------------------------------------------------------- */

static struct sim_options options_of(struct chx_dev *dev)
{
  pthread_mutex_lock(&lock);
  struct sim_options o = dev->opt;
  pthread_mutex_unlock(&lock);
  return o;
}

static void pause_us(uint64_t us)
{
  struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
  if (us) nanosleep(&t, NULL);
}

void sim_delay(struct chx_dev *dev) { pause_us(options_of(dev).delay_us); }

void sim_delay_copy(struct chx_dev *dev, uint64_t bytes)
{
  struct sim_options o = options_of(dev);
  pause_us(o.copy_us + (o.copy_mbps ? bytes / o.copy_mbps : 0));
}

void sim_delay_kernel(struct chx_dev *dev) { pause_us(options_of(dev).kernel_us); }
