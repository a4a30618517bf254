/* SPDX-License-Identifier: MIT
 * harness.c: runs cases in children, and hears from them how they went.
 *
 * A group is one batch: a child lists its cases and runs them in turn, with the driver set up once. A child that dies
 * or is late costs the case it was at; what is left of the batch then runs one case in a child. Parent and child talk
 * by a socket of packets, so that a child's death in the middle of a sentence leaves no half of one.
 */
#include "conform.h"
#include "report.h"
#include <errno.h>
#include <fnmatch.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- what cases call -------------------------------------------------------------------------------------------- */

bool conform_check(conform *c, bool condition, const char *format, ...)
{
  c->checks++;
  if (condition) return true;
  if (c->failures++ == 0) {
    va_list ap;
    va_start(ap, format);
    vsnprintf(c->said, sizeof c->said, format, ap);
    va_end(ap);
  }
  return false;
}

void conform_skip(conform *c, const char *format, ...)
{
  if (c->failures) return; /* what was seen before stands */
  c->skipped = true;
  va_list ap;
  va_start(ap, format);
  vsnprintf(c->said, sizeof c->said, format, ap);
  va_end(ap);
}

/* ---- the line between child and parent --------------------------------------------------------------------------- */

enum { TEXT = 2048 };
typedef enum message_kind { LISTED, BEGUN, NOTED, DONE, ENDED } message_kind;
typedef struct message {
  message_kind kind;
  int n;                  /* LISTED: cases; BEGUN: which */
  int checks, failures;   /* DONE */
  bool skipped;
  char group[16], name[240], text[TEXT];
} message;

static void tell(const conform *c, const message *m)
{
  while (send(c->to_parent, m, sizeof *m, MSG_NOSIGNAL) < 0 && errno == EINTR) {}
}

void conform_note(conform *c, const char *format, ...)
{
  message m = {.kind = NOTED};
  va_list ap;
  va_start(ap, format);
  vsnprintf(m.text, sizeof m.text, format, ap);
  va_end(ap);
  if (c->to_parent >= 0) tell(c, &m);
  else printf("# %s\n", m.text);
}

/* ---- the child --------------------------------------------------------------------------------------------------- */

void conform_add(conform_list *l, const char *group, const char *name, void (*run)(conform *, void *), void *arg)
{
  if (l->n == l->room) {
    int room = l->room ? 2 * l->room : 64;
    conform_case *v = realloc(l->v, (size_t)room * sizeof *v);
    if (!v) {
      fputs("chx conform: out of memory for the list of cases\n", stderr);
      _exit(1);
    }
    l->v = v;
    l->room = room;
  }
  l->v[l->n++] = (conform_case){group, name, run, arg};
}

/* --case: a glob of "C3 copy of odd sizes" or of the name alone. */
static bool wanted(const conform *c, const conform_case *k)
{
  char full[272];
  if (!c->case_glob) return true;
  snprintf(full, sizeof full, "%s %s", k->group, k->name);
  return !fnmatch(c->case_glob, full, 0) || !fnmatch(c->case_glob, k->name, 0);
}

static void run_case(conform *c, const conform_case *k, int i)
{
  message m = {.kind = BEGUN, .n = i};
  snprintf(m.group, sizeof m.group, "%s", k->group);
  snprintf(m.name, sizeof m.name, "%s", k->name);
  tell(c, &m);
  c->running = k;
  c->checks = c->failures = 0;
  c->said[0] = 0;
  c->skipped = false;
  k->run(c, k->arg);
  if (!c->checks && !c->skipped) conform_check(c, false, "the case looked at nothing");
  m = (message){.kind = DONE, .n = i, .checks = c->checks, .failures = c->failures, .skipped = c->skipped};
  memcpy(m.text, c->said, sizeof m.text);
  tell(c, &m);
}

/* Runs cases first, first + 1, ... of the group, `most` of them. */
_Noreturn static void child(conform *c, conform_lister *list, int first, int most)
{
  const struct rlimit no_core = {0, 0};
  conform_list l = {0};
  int i = 0;
  setpgid(0, 0); /* what it forks dies with it */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setrlimit(RLIMIT_CORE, &no_core);
  dup2(STDERR_FILENO, STDOUT_FILENO); /* a plugin that prints must not write into the TAP */
  list(c, &l);
  for (int k = 0; k < l.n; k++)
    if (wanted(c, &l.v[k])) l.v[i++] = l.v[k];
  l.n = i;
  tell(c, &(message){.kind = LISTED, .n = l.n});
  for (i = first; i < l.n && i - first < most; i++) run_case(c, &l.v[i], i);
  tell(c, &(message){.kind = ENDED});
  free(l.v);
  exit(0); /* and not _exit: what the plugin does at the end of a process is judged too */
}

/* ---- the parent -------------------------------------------------------------------------------------------------- */

typedef struct batch {
  conform *c;
  pid_t pid;
  int from_child, status;
  bool dead, late;
  int listed, at, done;   /* cases of the group; the one that runs, -1; how many are done */
  bool ended;
  char name[240], case_group[16], *notes;
  struct timespec since;
} batch;

static double seconds_since(const struct timespec *t)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)(now.tv_sec - t->tv_sec) + 1e-9 * (double)(now.tv_nsec - t->tv_nsec);
}

static void add_note(batch *b, const char *text)
{
  size_t n = b->notes ? strlen(b->notes) : 0;
  char *p = realloc(b->notes, n + strlen(text) + 2);
  if (!p) return;
  b->notes = p;
  sprintf(p + n, "%s\n", text);
}

static void finish_case(batch *b, report_status status, const char *detail)
{
  report_add(b->case_group, b->name, status, detail, b->notes, seconds_since(&b->since));
  free(b->notes);
  b->notes = NULL;
  b->at = -1;
  b->done++;
}

static void hear(batch *b, const message *m)
{
  char detail[TEXT + 64];
  switch (m->kind) {
  case LISTED:
    b->listed = m->n;
    break;
  case BEGUN:
    b->at = m->n;
    snprintf(b->name, sizeof b->name, "%s", m->name);
    snprintf(b->case_group, sizeof b->case_group, "%s", m->group);
    break;
  case NOTED:
    add_note(b, m->text);
    return;
  case DONE:
    snprintf(detail, sizeof detail, "%s", m->text);
    if (m->failures > 1)
      snprintf(detail, sizeof detail, "%s\n%d of %d checks failed", m->text, m->failures, m->checks);
    finish_case(b, m->failures ? REPORT_FAIL : m->skipped ? REPORT_SKIP : REPORT_PASS, detail);
    break;
  case ENDED:
    b->ended = true;
    break;
  }
  clock_gettime(CLOCK_MONOTONIC, &b->since);
}

/* Hears all that was said so far. False: the other end is closed. */
static bool listen_now(batch *b)
{
  for (;;) {
    message m;
    ssize_t n = recv(b->from_child, &m, sizeof m, MSG_DONTWAIT);
    if (n == (ssize_t)sizeof m) {
      m.name[sizeof m.name - 1] = m.group[sizeof m.group - 1] = m.text[sizeof m.text - 1] = 0;
      hear(b, &m);
    } else if (n == 0)
      return false;
    else if (n < 0 && errno != EINTR)
      return true;
  }
}

static bool start(batch *b, conform_lister *list, int first, int most)
{
  int ends[2];
  conform *c = b->c;
  fflush(NULL);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) return false;
  b->pid = fork();
  if (b->pid == 0) {
    close(ends[0]);
    c->to_parent = ends[1];
    child(c, list, first, most);
  }
  close(ends[1]);
  b->from_child = ends[0];
  b->at = -1;
  b->ended = b->dead = b->late = false;
  clock_gettime(CLOCK_MONOTONIC, &b->since);
  if (b->pid > 0) return true;
  close(ends[0]);
  return false;
}

/* Until the child is gone: by itself, or as it was late with one case, the list or its end. */
static void attend(batch *b)
{
  bool open = true;
  while (!b->dead) {
    struct pollfd p = {.fd = open ? b->from_child : -1, .events = POLLIN};
    poll(&p, 1, open ? 100 : 5); /* a grandchild may keep the socket open, so waitpid is asked now and then */
    if (open) open = listen_now(b);
    b->dead = waitpid(b->pid, &b->status, WNOHANG) == b->pid;
    if (!b->dead && !b->late && seconds_since(&b->since) > b->c->time_limit_s) {
      b->late = true;
      kill(-b->pid, SIGKILL);
      kill(b->pid, SIGKILL);
    }
  }
  if (open) listen_now(b);
  kill(-b->pid, SIGKILL); /* what it may have left behind */
  close(b->from_child);
}

/* How a child ended, as a failure; NULL: well. */
static const char *obituary(const batch *b, char out[160])
{
  if (b->late) snprintf(out, 160, "it did not end within %d s", b->c->time_limit_s);
  else if (WIFSIGNALED(b->status))
    snprintf(out, 160, "killed by SIG%s (%s)", sigabbrev_np(WTERMSIG(b->status)), strsignal(WTERMSIG(b->status)));
  else if (!b->ended)
    snprintf(out, 160, "the process ended by itself, with exit code %d", WEXITSTATUS(b->status));
  else return NULL;
  return out;
}

void conform_run_group(conform *c, const char *group, conform_lister *list)
{
  batch b = {.c = c, .listed = -1};
  bool alone = c->isolate;
  char how[160];
  for (int next = 0; b.listed < 0 || next < b.listed; next = b.done) {
    if (!start(&b, list, next, alone ? 1 : INT32_MAX)) {
      report_add(group, "a child to run in", REPORT_FAIL, strerror(errno), NULL, 0);
      return;
    }
    attend(&b);
    bool bad = obituary(&b, how) != NULL;
    report_status status = b.late ? REPORT_HANG : REPORT_CRASH;
    if (bad && b.at >= 0) finish_case(&b, status, how);
    else if (bad && !b.ended) { /* while it made the list, or between two cases */
      report_add(group, "the list of its cases", status, how, b.notes, seconds_since(&b.since));
      break;
    } else if (bad)
      report_add(group, "the end of the process", status, how, b.notes, seconds_since(&b.since));
    else if (b.done == next && next < b.listed) {
      report_add(group, "the list of its cases", REPORT_FAIL, "it became shorter when it was made again", NULL, 0);
      break;
    }
    alone |= bad;
  }
  free(b.notes);
}

int conform_end(conform *c)
{
  (void)c;
  return report_end(false);
}
