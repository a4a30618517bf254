/* SPDX-License-Identifier: MIT
 * file.c: files read at known places, and files that appear whole or not at all: written under another name in the
 * same directory, brought to the disk, then renamed.
 */
#include "file.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool failed(chx_scope *s, const chxi_file *f, const char *path, const char *did)
{
  const int e = errno;
  char text[128];
  chx_scope_fail(s, e == ENOMEM ? CHX_ENOMEM : CHX_EIO, "%s: %s: %s: %s", f->op, path, did,
                 strerror_r(e, text, sizeof text));
  return false;
}

static char *copy_text(chx_scope *s, const char *op, const char *text, size_t *bytes)
{
  *bytes = strlen(text) + 1;
  char *p = chxi_alloc(*bytes);
  if (!p) {
    chx_scope_fail(s, CHX_ENOMEM, "%s: out of memory for a file's name", op);
    return NULL;
  }
  return memcpy(p, text, *bytes);
}

static bool begin(chx_scope *s, chxi_file *f, const char *op, const char *path)
{
  *f = (chxi_file){.op = op, .fd = -1};
  if (!path || !*path) {
    chx_scope_fail(s, CHX_EARG, "%s: the path is %s, want a file's name", op, path ? "empty" : "NULL");
    return false;
  }
  return (f->path = copy_text(s, op, path, &f->path_bytes)) != NULL;
}

/* ---- reading ------------------------------------------------------------------------------------------------------- */

bool chxi_file_open(chx_scope *s, chxi_file *f, const char *op, const char *path)
{
  struct stat st;
  if (!begin(s, f, op, path)) return false;
  f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* or a named pipe would wait for a writer */
  if (f->fd < 0 || fstat(f->fd, &st)) {
    failed(s, f, path, "open");
  } else if (!S_ISREG(st.st_mode)) {
    chx_scope_fail(s, CHX_EIO, "%s: %s: is %s, want a regular file", op, path,
                   S_ISDIR(st.st_mode) ? "a directory" : "a device or pipe");
  } else {
    f->size = (uint64_t)st.st_size;
    return true;
  }
  chxi_file_close(f);
  return false;
}

bool chxi_file_read(chx_scope *s, const chxi_file *f, uint64_t at, void *dst, uint64_t n)
{
  for (char *p = dst; n;) {
    const ssize_t got = pread(f->fd, p, n < 1 << 30 ? n : 1 << 30, (off_t)at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(s, f, f->path, "read");
    if (!got) {
      chx_scope_fail(s, CHX_EIO, "%s: %s: ends at byte %llu, want %llu more", f->op, f->path, (unsigned long long)at,
                     (unsigned long long)n);
      return false;
    }
    p += got;
    at += (uint64_t)got;
    n -= (uint64_t)got;
  }
  return true;
}

/* ---- writing ---------------------------------------------------------------------------------------------------------- */

/* The file that `path` names in the end, if it is a symbolic link: it is to be replaced, not the link. */
static bool follow(chx_scope *s, chxi_file *f)
{
  struct stat st;
  if (lstat(f->path, &st) || !S_ISLNK(st.st_mode)) return true;
  char *real = realpath(f->path, NULL);
  if (!real) return errno == ENOENT || failed(s, f, f->path, "follow the link"); /* a dangling link is replaced */
  size_t bytes;
  char *copy = copy_text(s, f->op, real, &bytes);
  free(real);
  if (!copy) return false;
  chxi_free(f->path, f->path_bytes);
  f->path = copy;
  f->path_bytes = bytes;
  return true;
}

bool chxi_file_create(chx_scope *s, chxi_file *f, const char *op, const char *path)
{
  static atomic_uint count;
  struct stat st;
  if (!begin(s, f, op, path)) return false;
  if (!follow(s, f)) goto fail;
  const bool exists = !stat(f->path, &st);
  if (exists && !S_ISREG(st.st_mode)) {
    chx_scope_fail(s, CHX_EIO, "%s: %s: is %s, want a regular file or none", op, path,
                   S_ISDIR(st.st_mode) ? "a directory" : "a device or pipe");
    goto fail;
  }
  f->temp_bytes = f->path_bytes + 40;
  if (!(f->temp = chxi_alloc(f->temp_bytes))) {
    chx_scope_fail(s, CHX_ENOMEM, "%s: out of memory for a file's name", op);
    goto fail;
  }
  do
    snprintf(f->temp, f->temp_bytes, "%s.%ld-%u.tmp", f->path, (long)getpid(), atomic_fetch_add(&count, 1));
  while ((f->fd = open(f->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666)) < 0 && errno == EEXIST);
  if (f->fd < 0) {
    failed(s, f, f->temp, "create");
    goto fail;
  }
  if (exists && fchmod(f->fd, st.st_mode & 07777)) {
    failed(s, f, f->temp, "chmod");
    goto fail;
  }
  return true;
fail:
  chxi_file_close(f);
  return false;
}

bool chxi_file_patch(chx_scope *s, chxi_file *f, uint64_t at, const void *src, uint64_t n)
{
  for (const char *p = src; n;) {
    const ssize_t put = pwrite(f->fd, p, n < 1 << 30 ? n : 1 << 30, (off_t)at);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return failed(s, f, f->path, "write");
    p += put;
    at += (uint64_t)put;
    n -= (uint64_t)put;
  }
  return true;
}

bool chxi_file_write(chx_scope *s, chxi_file *f, const void *src, uint64_t n)
{
  if (!chxi_file_patch(s, f, f->size, src, n)) return false;
  f->size += n;
  return true;
}

bool chxi_file_commit(chx_scope *s, chxi_file *f)
{
  if (fsync(f->fd)) return failed(s, f, f->path, "fsync");
  if (rename(f->temp, f->path)) return failed(s, f, f->path, "rename");
  chxi_free(f->temp, f->temp_bytes);
  f->temp = NULL;
  /* The name, too, should survive a crash; where directories cannot be synced, there is nothing to be done. */
  char *slash = strrchr(f->path, '/');
  if (slash && slash > f->path) *slash = 0;
  const int dir = open(slash ? (slash > f->path ? f->path : "/") : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (slash) *slash = '/';
  if (dir >= 0) {
    (void)!fsync(dir);
    close(dir);
  }
  return true;
}

void chxi_file_close(chxi_file *f)
{
  if (f->fd >= 0) {
    close(f->fd);
    if (f->temp) unlink(f->temp);
  }
  chxi_free(f->temp, f->temp_bytes);
  chxi_free(f->path, f->path_bytes);
  *f = (chxi_file){.fd = -1};
}
