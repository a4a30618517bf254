/* SPDX-License-Identifier: MIT
 * disk.c: compiled programs kept on disk, one file each, named by a hash of the text, the device and the compiler.
 *
 * A file is a head (magic, key, length, check) and the bytes. It is written under another name and renamed, so that a
 * reader sees all of it or nothing; whatever does not fit its head is as if it were not there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "gpu.h"

enum { PATH = 1024, MOST = 1 << 28 };
typedef struct head { char magic[8]; uint64_t key[2], n, check; } head;
static const char magic[8] = "chxgpu1";

/* FNV-1a, from two starts: 128 bits that name a file, no secret. */
static uint64_t fnv(uint64_t h, const void *p, size_t n)
{
  const unsigned char *b = p;
  for (size_t i = 0; i < n; i++) h = (h ^ b[i]) * 0x100000001b3u;
  return h;
}

static void key_of(const gpu_device *g, const char *text, uint64_t key[2])
{
  for (int i = 0; i < 2; i++) {
    key[i] = fnv(0xcbf29ce484222325u + (uint64_t)i * 0x9e3779b97f4a7c15u, g->id, strlen(g->id) + 1);
    key[i] = fnv(key[i], text, strlen(text));
  }
}

/* The folder, made if need be; false: none is wanted or to be had. */
static bool folder(const gpu_device *g, char *path)
{
  const char *own = CHX_HAS(g->host, chx_host, option) ? g->host->option(g->host->ctx, "CHX_CACHE_DIR") : NULL;
  const char *xdg = secure_getenv("XDG_CACHE_HOME"), *home = secure_getenv("HOME");
  int n;
  if (own) n = snprintf(path, PATH, "%s", own);
  else if (xdg && *xdg) n = snprintf(path, PATH, "%s/chx", xdg);
  else if (home && *home) n = snprintf(path, PATH, "%s/.cache/chx", home);
  else return false;
  if (n <= 0 || n >= PATH - 64) return false;
  for (char *p = path + 1;; p++) /* mkdir -p */
    if (*p == '/' || !*p) {
      const char c = *p;
      *p = 0;
      if (mkdir(path, 0700) && errno != EEXIST) return false;
      *p = c;
      if (!c) return true;
    }
}

static bool path_of(const gpu_device *g, const uint64_t key[2], char *path)
{
  if (!folder(g, path)) return false;
  sprintf(path + strlen(path), "/%016llx%016llx.bin", (unsigned long long)key[0], (unsigned long long)key[1]);
  return true;
}

bool gpu_disk_read(gpu_device *g, const char *text, void **bytes, size_t *n)
{
  char path[PATH];
  head h;
  uint64_t key[2];
  key_of(g, text, key);
  FILE *f = path_of(g, key, path) ? fopen(path, "re") : NULL;
  *bytes = NULL;
  if (!f) return false;
  bool good = fread(&h, sizeof h, 1, f) == 1 && !memcmp(h.magic, magic, sizeof magic) && !memcmp(h.key, key, sizeof key) &&
              h.n > 0 && h.n <= MOST && (*bytes = malloc((size_t)h.n)) && fread(*bytes, 1, (size_t)h.n, f) == h.n &&
              fgetc(f) == EOF && fnv(h.key[0], *bytes, (size_t)h.n) == h.check;
  fclose(f);
  if (!good) {
    free(*bytes);
    *bytes = NULL;
  } else
    *n = (size_t)h.n;
  return good;
}

void gpu_disk_write(gpu_device *g, const char *text, const void *bytes, size_t n)
{
  char path[PATH], temporary[PATH + 32];
  head h = {.n = n};
  memcpy(h.magic, magic, sizeof magic);
  key_of(g, text, h.key);
  h.check = fnv(h.key[0], bytes, n);
  if (!n || n > MOST || !path_of(g, h.key, path)) return;
  snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
  int fd = mkostemp(temporary, O_CLOEXEC);
  FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
  if (!f) {
    if (fd >= 0) close(fd), unlink(temporary);
    return;
  }
  bool good = fwrite(&h, sizeof h, 1, f) == 1 && fwrite(bytes, 1, n, f) == n;
  good = fclose(f) == 0 && good;
  if (!good || rename(temporary, path)) unlink(temporary);
}
