/* SPDX-License-Identifier: MIT
 * report.h: what became of each case: the lines of TAP, the counts, the levels, and the same as JSON and JUnit.
 *
 * There is one report in a process, the parent's.
 */
#ifndef CHX_CONFORM_REPORT_H
#define CHX_CONFORM_REPORT_H
#include <stdbool.h>
#include <stdio.h>

typedef enum report_status {
  REPORT_PASS, REPORT_FAIL, REPORT_CRASH, REPORT_HANG, REPORT_SKIP, REPORT_XFAIL, REPORT_XPASS, REPORT_STATUSES
} report_status;

/* Reads NAME.conform beside the plugin's file, if there is one. NULL, or what is wrong with it (static). */
const char *report_exceptions(const char *plugin_file);
/* One case is done. detail: the failure, or why it was skipped; notes: lines below it. Prints its line. */
void report_add(const char *group, const char *name, report_status status, const char *detail, const char *notes,
                double seconds);
/* A whole group that cannot be run here; it counts as not run. */
void report_absent(const char *group, const char *reason);
/* An exception that no case matched is stale, and fails. */
void report_stale(void);
/* The plan, the counts, and with levels what a vendor may claim. 0: something ran and nothing failed. */
int report_end(bool levels);

/* The level's groups, "C0,C1,C2"; NULL: there is no such level. */
extern const char *const report_level_names[];
const char *report_level_groups(int level);
bool report_reached(int level);

void report_json(FILE *f, const char *file, const char *device);
void report_junit(FILE *f, const char *device);
#endif
