/* SPDX-License-Identifier: MIT
 * beside.c: the part of group C1 that is about other plugins in the process: native, and a second copy of the judged one, with
 * symbols of the same names. Each is used in turn.
 */
#include "raw.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a copy ---------------------------------------------------------------------------------------------------------------- */

static bool copy_file(const char *from, const char *to)
{
  struct stat st;
  int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
  bool good = in >= 0 && out >= 0 && !fstat(in, &st);
  for (off_t left = good ? st.st_size : 0; good && left > 0;) {
    ssize_t n = sendfile(out, in, NULL, (size_t)left);
    good = n > 0;
    left -= n;
  }
  if (in >= 0) close(in);
  if (out >= 0) close(out);
  return good;
}

/* A folder with a copy of the file, and links to what lies beside it, which it may look for there. */
static bool copied(const char *file, char folder[64], char copy[4400])
{
  char path[4400], to[4400];
  const char *slash = strrchr(file, '/');
  snprintf(folder, 64, P_tmpdir "/chx-conform-XXXXXX");
  if (!slash || !mkdtemp(folder)) return false;
  snprintf(copy, 4400, "%s%s", folder, slash);
  snprintf(path, sizeof path, "%.*s", (int)(slash - file), file);
  DIR *d = opendir(path[0] ? path : "/");
  for (struct dirent *e; d && (e = readdir(d));) {
    if (e->d_name[0] == '.' || !strcmp(e->d_name, slash + 1)) continue;
    snprintf(to, sizeof to, "%s/%s", folder, e->d_name);
    snprintf(path, sizeof path, "%.*s/%s", (int)(slash - file), file, e->d_name);
    if (symlink(path, to)) break;
  }
  if (d) closedir(d);
  return copy_file(file, copy);
}

static void remove_folder(const char *folder)
{
  char path[4400];
  DIR *d = opendir(folder);
  for (struct dirent *e; d && (e = readdir(d));) {
    snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) unlink(path);
  }
  if (d) closedir(d);
  rmdir(folder);
}

/* ---- both ------------------------------------------------------------------------------------------------------------------- */

static void use(conform *c, raw *r, uint64_t seed)
{
  enum { N = 4099 };
  static unsigned char up[N], down[N];
  chx_queue *q;
  chx_buffer b;
  raw_fill(up, N, seed);
  if (!raw_queue(c, r, &q) || !raw_alloc(c, r, q, N, &b)) return;
  if (raw_up(c, r, q, &b, 0, up, N) && raw_down(c, r, q, &b, 0, down, N)) raw_same(c, "up and down again", down, up, N);
  raw_release(r, q, &b);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

static void together(conform *c, const char *file, uint32_t index)
{
  raw r, second;
  conform other = *c; /* what fails there is said after its name */
  other.file = file;
  other.index = index;
  other.failures = 0;
  if (!raw_load(c, &r) || !raw_open(c, &r, &raw_host)) return;
  if (raw_load(&other, &second) && raw_open(&other, &second, &raw_host)) {
    conform_check(c, second.p != r.p, "two files have the same descriptor, %p", (const void *)r.p);
    for (uint64_t i = 0; i < 4 && !c->failures && !other.failures; i++) {
      use(c, &r, c->seed + i);
      use(&other, &second, c->seed - i);
    }
    raw_close(&second);
    use(c, &r, c->seed + 9); /* the one is closed, the other goes on */
  }
  conform_check(c, !other.failures, "%s, beside the judged plugin: %s", file, other.said);
  raw_close(&r);
}

static void beside(conform *c, void *arg)
{
  char folder[64] = "", copy[4400];
  const char *native = raw_native_file();
  (void)arg;
  if (c->no_device) {
    conform_skip(c, "%s", c->no_device);
    return;
  }
  if (*native && strcmp(c->backend, "native")) together(c, native, 0);
  if (conform_check(c, copied(c->file, folder, copy), "the plugin's file cannot be copied to " P_tmpdir)) together(c, copy, c->index);
  if (folder[0]) remove_folder(folder);
}

void conform_beside_cases(conform *c, conform_list *l)
{
  (void)c;
  conform_add(l, "C1", "beside native and a copy of itself", beside, NULL);
}
