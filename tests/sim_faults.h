/* SPDX-License-Identifier: MIT
 * sim_faults.h: the sim plugin's own functions (plugins/sim/sim.h) for a test in the same process, and children to test
 * what is read from the environment when it is loaded.
 */
#ifndef CHX_SIM_FAULTS_H
#define CHX_SIM_FAULTS_H
#include "../plugins/sim/sim.h"
#include "check.h"
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

/* sim's own file once more, which is the library that the core has loaded. NULL: it has not. */
CHECK_FN const chx_device_ops *sim_device_ops(void)
{
  chx_backend_state b;
  for (int i = 0; !chx_backend_at(i, &b); i++) {
    if (strcmp(b.name, "sim")) continue;
    void *lib = dlopen(b.path, RTLD_NOW | RTLD_LOCAL);
    chx_entry_fn entry = lib ? (chx_entry_fn)dlsym(lib, CHX_ENTRY) : NULL;
    return entry ? entry()->device_ops(NULL) : NULL;
  }
  return NULL;
}

CHECK_FN const chx_sim_fault_ops *sim_faults(void)
{
  const chx_device_ops *o = sim_device_ops();
  return o ? o->extension(NULL, CHX_SIM_FAULT) : NULL;
}

/* Whether "sim:0" can be used; skips n tests if chx was built without it. */
CHECK_FN bool sim_is_there(int n)
{
  chx_scope *s = chx_scope_begin("sim:0");
  bool there = !chx_scope_error(s);
  if (!there && strstr(chx_scope_message(s), "not there")) skip(n, "sim: chx was built without it");
  else ok(there, "sim:0 is there %s", chx_scope_message(s));
  chx_scope_end(s);
  return there;
}

/* Runs fn in a forked child; its exit status as waitpid gives it, -1 if there is none. fn's true is 0. */
CHECK_FN int child_status(bool (*fn)(void))
{
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    alarm(60); /* a deadlock ends the child, not the test */
    _exit(fn() ? 0 : 1);
  }
  int status = -1;
  return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

/* True if fn returned true there. */
CHECK_FN bool in_child(bool (*fn)(void))
{
  int status = child_status(fn);
  return status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* A child that makes tests of its own: its lines are the parent's, which goes on counting after them. */
CHECK_FN void in_child_of_tests(bool (*fn)(void))
{
  int pipe_fd[2], counts[2] = {check_count, check_failed + 1};
  fflush(stdout);
  if (pipe(pipe_fd)) return (void)ok(false, "a pipe from the child");
  pid_t pid = fork();
  if (pid == 0) {
    alarm(60);
    fn();
    counts[0] = check_count;
    counts[1] = check_failed;
    _exit(write(pipe_fd[1], counts, sizeof counts) != sizeof counts);
  }
  close(pipe_fd[1]);
  ssize_t got = read(pipe_fd[0], counts, sizeof counts);
  close(pipe_fd[0]);
  int status = -1;
  if (pid > 0) waitpid(pid, &status, 0);
  check_count = counts[0];
  check_failed = counts[1];
  if (got != sizeof counts || status) ok(false, "the child came to its end: status %d", status);
}

#endif
