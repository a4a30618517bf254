/* SPDX-License-Identifier: MIT
 * ledger.c: how the command shows the ledger of a run: what fallback cost, and which kernels would save most.
 */
#include "cli.h"
#include "json.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_SAVINGS = 5 };

static int by_time(const void *a, const void *b)
{
  const chx_ledger_row *x = a, *y = b;

  return (x->ns < y->ns) - (x->ns > y->ns);
}

/* All rows of the ledger, the most expensive first, malloced; *n of them. */
static chx_ledger_row *ledger_rows(int *n)
{
  chx_ledger_row *rows;
  int max = chx_ledger(NULL, 0);

  *n = 0;
  rows = max > 0 ? calloc((size_t)max, sizeof *rows) : NULL;
  if (!rows)
    return NULL;
  *n = chx_ledger(rows, max);
  if (*n > max)
    *n = max;
  qsort(rows, (size_t)*n, sizeof *rows, by_time);
  return rows;
}

static int on_host(const chx_ledger_row *r)
{
  return r->route == CHX_ROUTE_MAPPED || r->route == CHX_ROUTE_STAGED;
}

static void print_rows(FILE *f, const chx_ledger_row *rows, int n)
{
  char bytes[16], time[16];

  fprintf(f, "\nNot run by one kernel of the device:\n  %-10s %-22s %-9s %9s %10s %10s  %s\n", "device", "operator",
          "route", "calls", "moved", "time", "why");
  for (int i = 0; i < n; i++)
    fprintf(f, "  %-10s %-22s %-9s %9llu %10s %10s  %s\n", rows[i].device, rows[i].op, chx_route_name(rows[i].route),
            (unsigned long long)rows[i].calls, cli_bytes(rows[i].bytes, bytes),
            cli_duration((double)rows[i].ns * 1e-9, time), rows[i].reason ? rows[i].reason : "");
}

/* What ran on the host, of each device: the first of its rows stands for all. */
static void print_totals(FILE *f, const chx_ledger_row *rows, int n)
{
  char moved[16], time[16];

  for (int i = 0; i < n; i++) {
    uint64_t calls = 0, bytes = 0, ns = 0;
    int first = 1;
    for (int k = 0; k < n; k++) {
      if (!on_host(&rows[k]) || strcmp(rows[k].device, rows[i].device))
        continue;
      first &= k >= i;
      calls += rows[k].calls;
      bytes += rows[k].bytes;
      ns += rows[k].ns;
    }
    if (on_host(&rows[i]) && first)
      fprintf(f, "  %-10s %-22s %-9s %9llu %10s %10s\n", rows[i].device, "in all, on the host", "",
              (unsigned long long)calls, cli_bytes(bytes, moved), cli_duration((double)ns * 1e-9, time));
  }
}

/* An operator on a device, over all routes: what a kernel of its own might save. */
typedef struct saving {
  const chx_ledger_row *row;
  uint64_t ns, saved;
  int known; /* the time of the kernel that did the work was taken off */
} saving;

static int by_saving(const void *a, const void *b)
{
  const saving *x = a, *y = b;

  return (x->saved < y->saved) - (x->saved > y->saved);
}

/* Copies that were put off (to_device) go with the operators that caused them: no kernel is missing there. */
static int savings(const chx_ledger_row *rows, int n, saving *out)
{
  int count = 0;

  for (int i = 0; i < n; i++) {
    int k = 0;
    if (strcmp(rows[i].op, "to_device") == 0)
      continue;
    while (k < count && (out[k].row->op != rows[i].op || strcmp(out[k].row->device, rows[i].device)))
      k++;
    if (k == count)
      out[count++] = (saving){.row = &rows[i], .known = 1};
    out[k].ns += rows[i].ns;
    out[k].saved += rows[i].ns - (rows[i].kernel_ns < rows[i].ns ? rows[i].kernel_ns : rows[i].ns);
    out[k].known &= rows[i].route != CHX_ROUTE_COMPOSED;
  }
  qsort(out, (size_t)count, sizeof *out, by_saving);
  return count;
}

static void print_savings(FILE *f, const chx_ledger_row *rows, int n)
{
  saving *list = calloc(n > 0 ? (size_t)n : 1, sizeof *list);
  int count = list ? savings(rows, n, list) : 0;
  char saved[16], time[16];

  if (count)
    fprintf(f, "\nKernels that would save most, if they are as fast as those that did the work:\n");
  for (int i = 0; i < count && i < MOST_SAVINGS; i++)
    fprintf(f, "  %-10s %-22s %-9s%10s of %s\n", list[i].row->device, list[i].row->op, list[i].known ? "" : "at most",
            cli_duration((double)list[i].saved * 1e-9, saved), cli_duration((double)list[i].ns * 1e-9, time));
  free(list);
}

static int policy_of(chx_scope *s)
{
  int policy = chx_scope_set_fallback(s, CHX_FALLBACK_ALLOW);

  chx_scope_set_fallback(s, policy);
  return policy;
}

/* Composition alone moves nothing: a run that only composed is worth a table to who wants to be warned. */
void cli_ledger_print(FILE *f, chx_scope *s)
{
  int n, worth = policy_of(s) == CHX_FALLBACK_WARN;
  chx_ledger_row *rows = ledger_rows(&n);

  for (int i = 0; i < n; i++)
    worth |= rows[i].route != CHX_ROUTE_COMPOSED;
  if (n && worth) {
    print_rows(f, rows, n);
    print_totals(f, rows, n);
    print_savings(f, rows, n);
  }
  free(rows);
}

void cli_ledger_json(json *j, const char *key)
{
  int n;
  chx_ledger_row *rows = ledger_rows(&n);

  json_array(j, key);
  for (int i = 0; i < n; i++) {
    json_object(j, NULL);
    json_string(j, "device", rows[i].device);
    json_string(j, "op", rows[i].op);
    json_string(j, "route", chx_route_name(rows[i].route));
    json_whole(j, "calls", (int64_t)rows[i].calls);
    json_whole(j, "bytes", (int64_t)rows[i].bytes);
    json_whole(j, "ns", (int64_t)rows[i].ns);
    json_whole(j, "kernel_ns", (int64_t)rows[i].kernel_ns);
    json_string(j, "reason", rows[i].reason ? rows[i].reason : "");
    json_object_end(j);
  }
  json_array_end(j);
  free(rows);
}
