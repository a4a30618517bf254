/* SPDX-License-Identifier: MIT
 * ledger.c: what fallback cost: calls, bytes and time per device, operator and route other than kernel and view.
 * Copies that the staged route left until a kernel needed them are counted as staged calls of to_device.
 */
#include "runtime.h"
#include <stdio.h>
#include <time.h>

enum { ROUTES = 8 };

uint64_t chxi_now_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void chxi_ledger_add(chxi_device *dev, const chx_op *op, int route, uint64_t bytes, uint64_t ns, const char *reason)
{
  int id = op ? op->id : CHXI_OP_to_device;
  chxi_ledger_cell *cell = &dev->ledger[id * ROUTES + route];
  atomic_fetch_add_explicit(&cell->calls, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&cell->bytes, bytes, memory_order_relaxed);
  atomic_fetch_add_explicit(&cell->ns, ns, memory_order_relaxed);
  if (reason) atomic_store_explicit(&dev->reasons[id], reason, memory_order_relaxed);
}

void chxi_ledger_kernel(chxi_device *dev, const chx_op *op, int route, uint64_t ns)
{
  atomic_fetch_add_explicit(&dev->ledger[op->id * ROUTES + route].kernel_ns, ns, memory_order_relaxed);
}

bool chxi_ledger_is_first(const chxi_device *dev, const chx_op *op, int route)
{
  return !atomic_load_explicit(&dev->ledger[op->id * ROUTES + route].calls, memory_order_relaxed);
}

int chx_ledger(chx_ledger_row *rows, int max_rows)
{
  int n = 0, n_dev = atomic_load(&chxi_n_devices);
  for (int d = 0; d < n_dev; d++)
    for (int i = 0; i < chx_op_count() * ROUTES; i++) {
      chxi_device *dev = chxi_devices[d];
      uint64_t calls = atomic_load(&dev->ledger[i].calls);
      if (!calls) continue;
      if (rows && n < max_rows) {
        const char *reason = atomic_load(&dev->reasons[i / ROUTES]);
        snprintf(rows[n].device, sizeof rows[n].device, "%s", dev->spec);
        rows[n].op = chx_op_at(i / ROUTES)->name;
        rows[n].route = i % ROUTES;
        rows[n].calls = calls;
        rows[n].bytes = atomic_load(&dev->ledger[i].bytes);
        rows[n].ns = atomic_load(&dev->ledger[i].ns);
        rows[n].reason = reason ? reason : "";
        rows[n].kernel_ns = atomic_load(&dev->ledger[i].kernel_ns);
      }
      n++;
    }
  return n;
}

void chx_ledger_reset(void)
{
  int n_dev = atomic_load(&chxi_n_devices);
  for (int d = 0; d < n_dev; d++)
    for (int i = 0; i < chx_op_count() * ROUTES; i++) {
      chxi_ledger_cell *cell = &chxi_devices[d]->ledger[i];
      atomic_store(&cell->calls, 0);
      atomic_store(&cell->bytes, 0);
      atomic_store(&cell->ns, 0);
      atomic_store(&cell->kernel_ns, 0);
    }
}

const char *chx_route_name(int route)
{
  static const char *const names[] = {"none", "view", "kernel", "adapted", "composed", "mapped", "staged"};
  return route >= 0 && route < (int)(sizeof names / sizeof names[0]) ? names[route] : "?";
}
