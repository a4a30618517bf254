/* SPDX-License-Identifier: MIT
 * subject.c: finds what is to be judged, in children: one asks libchx for a device's file, or a file for its name; one
 * opens the device.
 */
#include "subject.h"
#include "raw.h"
#include <chx/chx.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- children ---------------------------------------------------------------------------------------------------- */

/* Runs fn on s, which is shared memory, in a child. False: it did not end well, or not in time. */
static bool in_child(void (*fn)(subject *), subject *s, int time_limit_s)
{
  int status = 1;
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    alarm((unsigned)time_limit_s);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    fn(s);
    _exit(0);
  }
  if (pid < 0) return false;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Asks the plugin itself for its backend's name. */
static void ask_name(subject *s)
{
  void *lib = dlopen(s->file, RTLD_NOW | RTLD_LOCAL);
  chx_entry_fn entry = lib ? (chx_entry_fn)dlsym(lib, CHX_ENTRY) : NULL;
  const chx_plugin *p = entry ? entry() : NULL;
  if (p && CHX_HAS(p, chx_plugin, name)) snprintf(s->backend, sizeof s->backend, "%s", p->name);
}

/* Asks libchx where the backend's file is. It loads the backend for that, whether or not it then works. */
static void ask_file(subject *s)
{
  chx_backend_state b;
  char spec[64];
  snprintf(spec, sizeof spec, "%s:%u", s->backend, s->index);
  chx_scope *scope = chx_scope_begin(spec);
  for (int i = 0; chx_backend_at(i, &b) == CHX_OK; i++)
    if (!strcmp(b.name, s->backend)) snprintf(s->file, sizeof s->file, "%s", b.path);
  if (!s->file[0]) snprintf(s->error, sizeof s->error, "%s", chx_scope_message(scope));
}

static void open_device(subject *s)
{
  uint32_t n = 0;
  char why[sizeof s->no_device];
  snprintf(s->no_device, sizeof s->no_device, "loading it or opening its device crashes or hangs");
  if (raw_probe(s->file, s->index, &n, why, sizeof why)) s->no_device[0] = 0;
  else memcpy(s->no_device, why, sizeof why);
  if (n && s->index >= n) {
    s->no_device[0] = 0;
    snprintf(s->error, sizeof s->error, "there is no %s:%u, %s has %u device%s, from %s:0", s->backend, s->index,
             s->backend, n, n > 1 ? "s" : "", s->backend);
  }
}

/* ---- the word ---------------------------------------------------------------------------------------------------- */

static bool refuse(subject *s, const char *format, const char *word, const char *why)
{
  snprintf(s->error, sizeof s->error, format, word, why);
  return false;
}

/* A file: it must be there and be ELF; all else is for the cases to judge. */
static bool take_file(subject *s, const char *word, int time_limit_s)
{
  struct stat st;
  char head[SELFMAG] = {0};
  if (!realpath(word, s->file) || stat(s->file, &st)) return refuse(s, "%s: %s", word, strerror(errno));
  if (!S_ISREG(st.st_mode)) return refuse(s, "%s is %s, want a plugin's shared library", word, "no plain file");
  FILE *f = fopen(s->file, "re");
  if (!f) return refuse(s, "%s: %s", word, strerror(errno));
  size_t n = fread(head, 1, sizeof head, f);
  fclose(f);
  if (n != SELFMAG || memcmp(head, ELFMAG, SELFMAG))
    return refuse(s, "%s is %s, want a plugin's shared library", word, "no ELF file");
  in_child(ask_name, s, time_limit_s);
  if (!s->backend[0]) { /* it does not say: by the file's name */
    const char *base = strrchr(s->file, '/') + 1;
    if (!strncmp(base, "chx_", 4)) base += 4;
    snprintf(s->backend, sizeof s->backend, "%.*s", (int)strcspn(base, "."), base);
  }
  return true;
}

static bool take_device(subject *s, const char *word, int time_limit_s)
{
  size_t n = strcspn(word, ":");
  char *end;
  unsigned long index = word[n] ? strtoul(word + n + 1, &end, 10) : 0;
  if (!n || n >= sizeof s->backend || (word[n] && (word[n + 1] < '0' || word[n + 1] > '9' || *end || index > 9999)))
    return refuse(s, "'%s' %s", word, "is no device and no file, want one such as native:0 or ./chx_native.so");
  snprintf(s->backend, sizeof s->backend, "%.*s", (int)n, word);
  s->index = (uint32_t)index;
  if (!in_child(ask_file, s, time_limit_s) && !s->file[0])
    return refuse(s, "%s: %s", word, "the library crashed while it looked for the backend; name its file");
  return s->file[0] != 0;
}

bool subject_find(subject *out, const char *word, int time_limit_s)
{
  size_t n = strlen(word);
  bool is_file = strchr(word, '/') || (n > 3 && !strcmp(word + n - 3, ".so"));
  subject *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  *out = (subject){0};
  if (s == MAP_FAILED) return refuse(out, "%s: %s", word, strerror(errno));
  bool found = is_file ? take_file(s, word, time_limit_s) : take_device(s, word, time_limit_s);
  if (found) in_child(open_device, s, time_limit_s);
  *out = *s;
  munmap(s, sizeof *s);
  return found && !out->error[0];
}
