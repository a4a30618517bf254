/* SPDX-License-Identifier: MIT
 * fuzz_npy.c: .npy and .npz files damaged at random, for as long as it is told:
 *
 *   fuzz_npy [SECONDS [SEED]]      5 seconds; CHX_TEST_SEED
 *
 * Each file is one of tests/data with a few mutations: bits, bytes, numbers, cuts, copies, splices. A mutated .npy is also
 * packed into a sound archive, so that its header is reached behind a right CRC. It must be read or refused: sanitizers
 * see to memory, a memory hook to what is asked for, and a file that is refused leaves no array behind.
 */
#include "check.h"
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define LENGTH(a) (sizeof(a) / sizeof *(a))

static const char *const seeds[] = {
  "npy_v1.npy", "npy_v2.npy", "npy_v3.npy", "npy_fortran_be.npy", "npy_bf16.npy", "npy_structured.npy", "npy_objects.npy",
  "npz_stream.npz", "npz_zip64.npz", "npz_stored.npz", "npz_deflated.npz",
};
enum { SEEDS = LENGTH(seeds), ROOM = 1 << 16, MOST_BYTES = 256 << 20 /* deflate's ratio times ROOM, and a segment */ };

static unsigned char *seed_data[SEEDS];
static size_t seed_size[SEEDS];
static uint64_t largest;

static size_t below(size_t n) { return n ? (size_t)(check_bits() % n) : 0; }

static int see(void *ctx, const char *device, int alloc, uint64_t bytes)
{
  (void)ctx, (void)device;
  if (alloc && bytes > largest) largest = bytes;
  return alloc && bytes > MOST_BYTES;
}

static void load_seeds(void)
{
  for (size_t i = 0; i < SEEDS; i++) {
    FILE *f = fopen(check_data(seeds[i]), "rb");
    if (!f) continue;
    seed_data[i] = malloc(ROOM);
    seed_size[i] = fread(seed_data[i], 1, ROOM, f);
    fclose(f);
  }
}

/* ---- mutations ------------------------------------------------------------------------------------------------------ */

static void put_number(unsigned char *p, size_t left)
{
  static const uint64_t numbers[] = {0, 1, 0x7f, 0xff, 0x100, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
                                     0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff};
  const uint64_t v = numbers[below(LENGTH(numbers))] + below(3) - 1;
  const size_t width = (size_t)1 << below(4);
  for (size_t i = 0; i < width && i < left; i++) p[i] = (unsigned char)(v >> 8 * i);
}

static size_t mutate(unsigned char *data, size_t n)
{
  static const char *const words[] = {"'shape': ", "'descr': ", "(", ")", ",", "}", "{", "99999999999999999999", "'<f8'", "'>c16'",
                                      "True", "False", "(0,)", "-1", "L", "'|O'", "PK\1\2", "PK\3\4", "PK\5\6", "PK\6\6", "PK\6\7"};
  if (!n) return n;
  const size_t at = below(8) ? below(n) : below(n < 128 ? n : 128);
  switch (below(9)) {
  case 0: data[at] ^= (unsigned char)(1 << below(8)); break;
  case 1: data[at] = (unsigned char)check_bits(); break;
  case 2: put_number(data + at, n - at); break;
  case 3: return at;
  case 4: { /* a part moved over another */
    const size_t from = below(n), most = n - (from > at ? from : at), k = below(most < 64 ? most : 64);
    memmove(data + at, data + from, k);
    break;
  }
  case 5: { /* bytes taken out */
    const size_t k = below(n - at < 32 ? n - at : 32);
    memmove(data + at, data + at + k, n - at - k);
    return n - k;
  }
  case 6: { /* bytes put in */
    const size_t k = below(32);
    if (n + k > ROOM) break;
    memmove(data + at + k, data + at, n - at);
    return n + k;
  }
  case 7: {
    const char *word = words[below(LENGTH(words))];
    const size_t k = strlen(word);
    if (at + k <= n) memcpy(data + at, word, k);
    break;
  }
  default: { /* the end of another file */
    const size_t other = below(SEEDS), from = below(seed_size[other]), k = seed_size[other] - from;
    if (!seed_data[other] || at + k > ROOM) break;
    memcpy(data + at, seed_data[other] + from, k);
    return at + k;
  }
  }
  return n;
}

/* ---- files ------------------------------------------------------------------------------------------------------------ */

static void put_le(FILE *f, uint64_t v, int bytes)
{
  for (; bytes; bytes--, v >>= 8) fputc((int)(v & 0xff), f);
}

static void put_common(FILE *f, uint32_t crc, size_t packed, size_t n, int method)
{
  put_le(f, 20, 2);
  put_le(f, 0, 2);
  put_le(f, (uint64_t)method, 2);
  put_le(f, 0, 4);
  put_le(f, crc, 4);
  put_le(f, packed, 4);
  put_le(f, n, 4);
  put_le(f, 5, 2);
  put_le(f, 0, 2);
}

/* A sound archive whose one entry, "a.npy", is data. */
static void write_archive(FILE *f, const unsigned char *data, size_t n, int method)
{
  static unsigned char room[2 * ROOM];
  const uint32_t crc = (uint32_t)crc32(0, data, (uInt)n);
  size_t packed = n;
  if (method) {
    z_stream z = {0};
    deflateInit2(&z, 1, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    z.next_in = (unsigned char *)data;
    z.avail_in = (uInt)n;
    z.next_out = room;
    z.avail_out = sizeof room;
    deflate(&z, Z_FINISH);
    packed = z.total_out;
    deflateEnd(&z);
    data = room;
  }
  fputs("PK\3\4", f);
  put_common(f, crc, packed, n, method);
  fputs("a.npy", f);
  fwrite(data, 1, packed, f);
  fputs("PK\1\2", f);
  put_le(f, 20, 2);
  put_common(f, crc, packed, n, method);
  put_le(f, 0, 14);
  fputs("a.npy", f);
  fputs("PK\5\6", f);
  put_le(f, 0, 4);
  put_le(f, 1, 2);
  put_le(f, 1, 2);
  put_le(f, 46 + 5, 4);
  put_le(f, 30 + 5 + packed, 4);
  put_le(f, 0, 2);
}

/* Reads all there is; the number of arrays. */
static int read_all(chx_scope *s, const char *path, bool archive)
{
  int n = 0;
  if (!archive) {
    chx_array *a = chx_load_npy(s, path);
    if (a) free(check_read(a)), n++;
    return n;
  }
  chx_npz *z = chx_npz_open(s, path);
  for (int i = 0; i < chx_npz_count(z); i++) {
    chx_array *a = chx_npz_get(s, z, chx_npz_name(z, i));
    if (a) free(check_read(a)), n++;
    chx_scope_clear(s);
  }
  chx_npz_close(z);
  return n;
}

int main(int argc, char **argv)
{
  const double limit = argc > 1 ? atof(argv[1]) : 5;
  check_seed(argc > 2 ? strtoull(argv[2], NULL, 0) : 1);
  char path[] = "/tmp/chx-fuzz-npy-XXXXXX";
  int fd = mkstemp(path);
  if (fd < 0) return 99;
  close(fd);
  load_seeds();
  chx_scope *s = chx_scope_begin(NULL);
  if (!ok(!chx_scope_error(s), "a scope %s", chx_scope_message(s))) return done_testing();
  chx_set_memory_hook(see, NULL);

  static unsigned char data[ROOM];
  struct timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  long files = 0, read = 0, refused = 0, silent = 0;
  do {
    for (int batch = 0; batch < 100; batch++, files++) {
      const size_t which = below(SEEDS);
      bool archive = strstr(seeds[which], ".npz") != NULL;
      size_t n = seed_size[which];
      memcpy(data, seed_data[which], n);
      for (size_t k = 1 + below(4); k; k--) n = mutate(data, n);
      FILE *f = fopen(path, "wb");
      if (!archive && below(2)) {
        write_archive(f, data, n, below(2) ? 8 : 0);
        archive = true;
      } else
        fwrite(data, 1, n, f);
      fclose(f);
      const int got = read_all(s, path, archive);
      read += got > 0;
      refused += chx_scope_error(s) != CHX_OK;
      silent += chx_scope_error(s) && !*chx_scope_message(s);
      chx_scope_clear(s);
      chx_scope_rewind(s, 0, NULL);
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
  } while ((double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) * 1e-9 < limit);

  chx_set_memory_hook(NULL, NULL);
  chx_scope_end(s);
  unlink(path);
  for (size_t i = 0; i < SEEDS; i++) free(seed_data[i]);
  ok(files > 0 && !silent, "%ld files: %ld gave arrays, %ld an error", files, read, refused);
  ok(largest <= MOST_BYTES, "the largest allocation was %llu bytes <= %d", (unsigned long long)largest, MOST_BYTES);
  return done_testing();
}
