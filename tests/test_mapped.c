/* SPDX-License-Identifier: MIT
 * test_mapped.c: the mapped route: native's kernels on the memory of a device that can open it. On sim in its mappable mode,
 * where the host's pages are closed but between map and unmap, and a kernel that meets mapped memory is an error; and on
 * opencl where there is one that shares the host's memory.
 */
#include <pthread.h>
#include <unistd.h>
#include "sim_faults.h"

enum { N = 1000, ROUNDS = 200 };

static double item(chx_scope *s, const chx_array *a, int64_t row, int64_t column)
{
  return chx_item(s, chx_at(s, chx_at(s, a, 1, column), 0, row));
}

typedef struct figures { uint64_t calls, bytes; } figures;

static figures ledger(const char *device, const char *op, int route)
{
  chx_ledger_row rows[512];
  figures f = {0, 0};
  int n = chx_ledger(rows, 512);
  for (int i = 0; i < n; i++)
    if (!strcmp(rows[i].device, device) && !strcmp(rows[i].op, op) && rows[i].route == route)
      f.calls += rows[i].calls, f.bytes += rows[i].bytes;
  return f;
}

static chx_array *ramp(chx_scope *s, int64_t n)
{
  return chx_arange(s, CHX_F32, 0, 1, n);
}

/* A chain of mapped operators, then a kernel, then mapped again. */
static void chain(const char *device)
{
  chx_scope *s = chx_scope_begin(device), *host = chx_scope_begin("native:0");
  chx_ledger_reset();
  chx_set_route(s, "tanh", "mapped");
  chx_set_route(s, "exp", "mapped");
  chx_array *x = chx_mul(s, ramp(s, N), chx_real(s, 0.001)), *h = chx_mul(host, ramp(host, N), chx_real(host, 0.001));
  chx_array *y = chx_exp(s, chx_mul(s, chx_tanh(s, chx_exp(s, x)), x)), *want = chx_exp(host, chx_mul(host, chx_tanh(host, chx_exp(host, h)), h));
  float got[N], expect[N];
  double worst = 0;
  chx_read(s, y, got, sizeof got);
  chx_read(host, want, expect, sizeof expect);
  for (int i = 0; i < N; i++) worst = fmax(worst, fabs((double)got[i] - (double)expect[i]));
  ok(!chx_scope_error(s) && worst <= 1e-5, "%s: a chain of mapped operators and kernels: %g <= 1e-5 %s", device, worst, chx_scope_message(s));
  figures f = ledger(device, "exp", CHX_ROUTE_MAPPED), g = ledger(device, "tanh", CHX_ROUTE_MAPPED);
  ok(f.calls == 2 && g.calls == 1 && f.bytes + g.bytes == 0, "%s: mapped %d and %d times, %d bytes moved", device, (int)f.calls,
     (int)g.calls, (int)(f.bytes + g.bytes));
  chx_scope_set_fallback(s, CHX_FALLBACK_DENY);
  chx_array *denied = chx_exp(s, x);
  ok(!denied && chx_scope_error(s) == CHX_EUNSUPPORTED, "%s: deny: %s", device, chx_scope_message(s));
  chx_set_route(host, "tanh", NULL);
  chx_set_route(host, "exp", NULL);
  chx_scope_end(host);
  chx_scope_end(s);
}

/* Views, outputs given by the caller, empty arrays, forced copies of what is mapped. */
static void shapes(const char *device)
{
  chx_scope *s = chx_scope_begin(device);
  chx_set_route(s, "tanh", "mapped");
  chx_array *x = chx_reshape(s, chx_mul(s, ramp(s, 24), chx_real(s, 0.1)), 2, (int64_t[]){4, 6});
  chx_array *t = chx_tanh(s, chx_transpose(s, x, 0, NULL));
  ok(t && fabs(item(s, t, 5, 3) - tanh(2.3)) < 1e-6, "%s: a transposed operand %s", device, chx_scope_message(s));
  chx_array *empty = chx_tanh(s, chx_zeros(s, CHX_F32, 2, (int64_t[]){0, 3}));
  ok(empty && chx_size(empty) == 0, "%s: an empty operand %s", device, chx_scope_message(s));
  chx_set_route(s, "tanh", "staged");
  chx_array *u = chx_tanh(s, x);
  chx_set_route(s, "tanh", "mapped");
  chx_array *v = chx_tanh(s, u), *w = chx_add(s, v, u);
  ok(w && fabs(item(s, w, 3, 5) - (tanh(tanh(2.3)) + tanh(2.3))) < 1e-6, "%s: staged, mapped, then a kernel %s", device,
     chx_scope_message(s));
  chx_set_route(s, "tanh", NULL);
  chx_scope_end(s);
}

static int countdown;
static const char *refused;

static int refuse(void *ctx, const char *device, int alloc, uint64_t bytes)
{
  (void)ctx, (void)bytes;
  return alloc && device && refused && !strcmp(device, refused) && --countdown == 0;
}

/* After a call that failed, in native's kernel or for want of memory, its operands can be used on the device again. */
static void errors(const char *device)
{
  chx_scope *s = chx_scope_begin(device);
  chx_set_route(s, "take", "mapped");
  chx_array *x = chx_add(s, ramp(s, 6), chx_real(s, 1)), *bad = chx_from(s, CHX_I64, 2, (double[]){1, 9}), *good = chx_from(s, CHX_I64, 2, (double[]){1, 5});
  chx_take(s, x, bad, 0);
  ok(chx_scope_error(s) == CHX_EARG, "%s: a kernel of native's that fails: %s", device, chx_scope_message(s));
  chx_scope_clear(s);
  refused = device;
  countdown = 1;
  chx_set_memory_hook(refuse, NULL);
  chx_take(s, x, good, 0);
  chx_set_memory_hook(NULL, NULL);
  ok(chx_scope_error(s) == CHX_ENOMEM, "%s: no memory for the result: %s", device, chx_scope_message(s));
  chx_scope_clear(s);
  ok(rel_err(chx_mul(s, x, x), (double[]){1, 4, 9, 16, 25, 36}) < 1e-6, "%s: the operand is given back to the device %s", device, chx_scope_message(s));
  ok(rel_err(chx_take(s, x, good, 0), (double[]){2, 6}) == 0, "%s: and to the host again %s", device, chx_scope_message(s));
  chx_set_route(s, "take", NULL);
  chx_scope_end(s);
}

/* A late error comes out of the wait for the maps, which leaves nothing open: the operand is used on both sides again. */
static void late(void)
{
  const chx_sim_fault_ops *faults = sim_faults();
  chx_scope *s = chx_scope_begin("sim:0");
  chx_set_route(s, "tanh", "mapped");
  chx_array *x = chx_mul(s, ramp(s, N), chx_real(s, 0.001));
  chx_sync(s);
  faults->arm(0, "kernel:1:late");
  chx_square(s, x);
  ok(!chx_tanh(s, x) && chx_scope_error(s) == CHX_EDEVICE && strstr(chx_scope_message(s), "square"), "a late error before a map: %s",
     chx_scope_message(s));
  chx_scope_clear(s);
  float got[N];
  chx_read(s, chx_square(s, x), got, sizeof got);
  ok(!chx_scope_error(s) && fabs((double)got[500] - 0.25) < 1e-6, "the operand is the device's again %s", chx_scope_message(s));
  chx_read(s, chx_tanh(s, x), got, sizeof got);
  ok(!chx_scope_error(s) && fabs((double)got[500] - tanh(0.5)) < 1e-6, "and can be mapped %s", chx_scope_message(s));
  chx_set_route(s, "tanh", NULL);
  chx_scope_end(s);
}

static void count_warnings(void *ctx, int level, const char *message)
{
  *(int *)ctx += level == 1 && strstr(message, "tanh falls back") != NULL;
}

/* A device that says it can be mapped and does not map so much: the call works on copies, and the ledger says so. */
static bool refused_maps(void)
{
  setenv("CHX_SIM_MEMORY_MODE", "mappable", 1);
  setenv("CHX_SIM_MAP_MOST", "2000", 1);
  if (!sim_is_there(0)) return true;
  chx_scope *s = chx_scope_begin("sim:0");
  const chx_sim_fault_ops *faults = sim_faults();
  int warnings = 0;
  chx_set_route(s, "tanh", "mapped");
  chx_scope_set_fallback(s, CHX_FALLBACK_WARN);
  chx_set_log(count_warnings, &warnings, 1);
  chx_array *x = chx_mul(s, ramp(s, N), chx_real(s, 0.001));
  chx_sync(s);
  chx_ledger_reset();
  faults->arm(0, NULL);
  chx_array *y = chx_tanh(s, x);
  figures copies = ledger("sim:0", "tanh", CHX_ROUTE_STAGED), mapped = ledger("sim:0", "tanh", CHX_ROUTE_MAPPED);
  ok(copies.calls == 1 && copies.bytes == 4 * N && !mapped.calls, "a map that is refused: staged %d times, %d bytes, mapped %d times %s",
     (int)copies.calls, (int)copies.bytes, (int)mapped.calls, chx_scope_message(s));
  is_int((long long)faults->count(0, CHX_SIM_COPY), 1, "the operand is copied, the result, which will be written, is not");
  y = chx_tanh(s, y);
  copies = ledger("sim:0", "tanh", CHX_ROUTE_STAGED);
  ok(copies.calls == 2 && copies.bytes == 4 * N, "a run of them copies no more: staged %d times, %d bytes", (int)copies.calls,
     (int)copies.bytes);
  is_int(warnings, 1, "one warning");
  chx_tanh(s, ramp(s, 10));
  copies = ledger("sim:0", "tanh", CHX_ROUTE_STAGED), mapped = ledger("sim:0", "tanh", CHX_ROUTE_MAPPED);
  ok(copies.calls == 2 && mapped.calls == 1 && !mapped.bytes, "less is mapped");
  float got[N];
  chx_read(s, chx_add(s, y, x), got, sizeof got);
  ok(!chx_scope_error(s) && fabs((double)got[500] - tanh(tanh(0.5)) - 0.5) < 1e-6, "then a kernel %s", chx_scope_message(s));
  chx_scope_end(s);
  return true;
}

/* ---- threads: one maps what another computes with ------------------------------------------------------------------- */

typedef struct job {
  const char *device, *op;
  const chx_array *x;
  double want, worst;
  char message[256];
} job;

static void *work(void *ctx)
{
  job *j = ctx;
  chx_scope *s = chx_scope_begin(j->device);
  for (int i = 0; i < ROUNDS && !chx_scope_error(s); i++) {
    const size_t mark = chx_scope_mark(s);
    chx_array *y = !strcmp(j->op, "tanh") ? chx_tanh(s, j->x) : chx_square(s, j->x);
    j->worst = fmax(j->worst, fabs(item(s, y, 1, 1) - j->want));
    chx_scope_rewind(s, mark, NULL);
  }
  snprintf(j->message, sizeof j->message, "%s", chx_scope_message(s));
  chx_scope_end(s);
  return NULL;
}

static void threads(const char *device)
{
  chx_scope *s = chx_scope_begin(device);
  chx_set_route(s, "tanh", "mapped");
  chx_array *x = chx_keep(chx_full(s, CHX_F32, 2, (int64_t[]){2, 50}, 0.5));
  pthread_t th[4];
  job jobs[4];
  for (int i = 0; i < 4; i++) {
    jobs[i] = (job){.device = device, .op = i % 2 ? "tanh" : "square", .x = x, .want = i % 2 ? tanh(0.5) : 0.25};
    pthread_create(&th[i], NULL, work, &jobs[i]);
  }
  for (int i = 0; i < 4; i++) {
    pthread_join(th[i], NULL);
    ok(!jobs[i].message[0] && jobs[i].worst < 1e-6, "%s: %s of a shared array in thread %d, %d times: %g %s", device, jobs[i].op, i, ROUNDS,
       jobs[i].worst, jobs[i].message);
  }
  chx_release(x);
  chx_set_route(s, "tanh", NULL);
  chx_scope_end(s);
}

static void one(const char *device)
{
  chx_scope *s = chx_scope_begin(device);
  const bool there = !chx_scope_error(s);
  note("%s", chx_scope_message(s));
  chx_scope_end(s);
  if (!there) {
    skip(1, device);
    return;
  }
  chain(device);
  shapes(device);
  errors(device);
  threads(device);
}

int main(void)
{
  setenv("CHX_SIM_MEMORY_MODE", "mappable", 1);
  alarm(120); /* a deadlock is a failure, not a hang */
  in_child_of_tests(refused_maps);
  one("sim:0");
  if (sim_faults()) late();
  one("opencl:0");
  return done_testing();
}
