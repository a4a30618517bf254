/* SPDX-License-Identifier: MIT
 * zip.c: zip archives, as far as .npz files need them: entries that are stored or deflated, with zip64's sizes. Names
 * of fields follow APPNOTE.TXT 6.3.
 *
 * Reading trusts the central directory alone, whose sizes are also right where a local header's are zero because a
 * data descriptor follows the data; of the local header, only the lengths that say where the data begins are used.
 * Writing puts the sizes into the local header once they are known, so that no data descriptor is needed.
 */
#include "file.h"
#include <stdio.h>
#include <zlib.h>

enum { STORED = 0, DEFLATED = 8, ROOM = 1 << 16, LOCAL = 30, CENTRAL = 46, END = 22, LOCATOR = 20, END64 = 56 };
enum { ENCRYPTED = 1, UTF8 = 0x800 }; /* bits of the flags */
#define MAX32 0xffffffffu
#define MOST_RATIO 1040 /* deflate packs at most 1032 bytes into one */

uint64_t chxi_zip64_from = MAX32;

/* ---- little-endian fields -------------------------------------------------------------------------------------------- */

static uint64_t get(const char *p, int bytes)
{
  uint64_t v = 0;
  for (int i = bytes - 1; i >= 0; i--) v = v << 8 | (unsigned char)p[i];
  return v;
}

static char *put(char *p, uint64_t v, int bytes)
{
  for (int i = 0; i < bytes; i++, v >>= 8) p[i] = (char)(v & 0xff);
  return p + bytes;
}

static bool bad(chx_scope *s, const chxi_zip *z, const char *is)
{
  chx_scope_fail(s, CHX_EIO, "%s: %s: %s, want a .npz file", z->file.op, z->file.path, is);
  return false;
}

/* ---- the central directory ------------------------------------------------------------------------------------------- */

/* Where the last record with END's signature is that ends with the file: it may be followed by a comment. */
static bool find_end(chx_scope *s, const chxi_zip *z, uint64_t *at, char record[END])
{
  const uint64_t n = z->file.size < END + 65535 ? z->file.size : END + 65535;
  if (n < END) return bad(s, z, "it is too short for a zip archive");
  char *tail = chxi_alloc(n);
  if (!tail) return chx_scope_fail(s, CHX_ENOMEM, "%s: out of memory for the end of a file", z->file.op), false;
  bool good = chxi_file_read(s, &z->file, z->file.size - n, tail, n), found = false;
  for (uint64_t i = n - END + 1; good && !found && i-- > 0;)
    if (get(tail + i, 4) == 0x06054b50 && get(tail + i + 20, 2) == n - END - i) {
      memcpy(record, tail + i, END);
      *at = z->file.size - n + i;
      found = true;
    }
  chxi_free(tail, n);
  return good && (found || bad(s, z, "it has no end of a zip archive"));
}

/* Fields that do not fit the old record are in zip64's, to which a locator before the old record points. */
static bool find_end64(chx_scope *s, const chxi_zip *z, uint64_t end, uint64_t *at, char record[END64])
{
  char locator[LOCATOR];
  *at = 0;
  if (end < LOCATOR) return true;
  if (!chxi_file_read(s, &z->file, end - LOCATOR, locator, LOCATOR)) return false;
  if (get(locator, 4) != 0x07064b50) return true;
  *at = get(locator + 8, 8);
  if (*at > end - LOCATOR || end - LOCATOR - *at < END64) return bad(s, z, "its zip64 end lies outside the file");
  if (!chxi_file_read(s, &z->file, *at, record, END64)) return false;
  return get(record, 4) == 0x06064b50 || bad(s, z, "its zip64 end is damaged");
}

static bool read_directory(chx_scope *s, chxi_zip *z)
{
  char end[END], end64[END64];
  uint64_t at = 0, at64 = 0;
  if (!find_end(s, z, &at, end) || !find_end64(s, z, at, &at64, end64)) return false;
  uint64_t disks = get(end + 4, 2) | get(end + 6, 2), n_here = get(end + 8, 2);
  z->n = get(end + 10, 2);
  z->dir_bytes = get(end + 12, 4);
  z->dir_at = get(end + 16, 4);
  if (at64) {
    disks = get(end64 + 16, 4) | get(end64 + 20, 4);
    n_here = get(end64 + 24, 8);
    z->n = get(end64 + 32, 8);
    z->dir_bytes = get(end64 + 40, 8);
    z->dir_at = get(end64 + 48, 8);
    at = at64;
  }
  if (disks || n_here != z->n) return bad(s, z, "it is one of several parts");
  if (z->dir_at > at || z->dir_bytes > at - z->dir_at) return bad(s, z, "its directory lies outside the file");
  if (z->n > z->dir_bytes / CENTRAL) return bad(s, z, "its directory is too short for its entries");
  if (!z->n) return true;
  z->dir = chxi_alloc(z->dir_bytes);
  z->entry = chxi_alloc(z->n * sizeof *z->entry);
  if (!z->dir || !z->entry)
    return chx_scope_fail(s, CHX_ENOMEM, "%s: %s: out of memory for a directory of %llu entries", z->file.op,
                          z->file.path, (unsigned long long)z->n),
           false;
  return chxi_file_read(s, &z->file, z->dir_at, z->dir, z->dir_bytes);
}

/* The 64-bit fields, there for those that are all ones in the old place, in this order. */
static bool read_extra(const char *p, uint64_t n, chxi_zip_entry *e)
{
  while (n >= 4) {
    uint64_t size = get(p + 2, 2);
    const uint64_t id = get(p, 2);
    p += 4;
    n -= 4;
    if (size > n) return false;
    if (id == 1) {
      uint64_t *field[] = {&e->size, &e->packed, &e->at};
      for (int i = 0; i < 3; i++) {
        if (*field[i] != MAX32) continue;
        if (size < 8) return false;
        *field[i] = get(p, 8);
        p += 8;
        n -= 8;
        size -= 8;
      }
      return true;
    }
    p += size;
    n -= size;
  }
  return true;
}

static bool read_entries(chx_scope *s, chxi_zip *z)
{
  const char *p = z->dir;
  uint64_t left = z->dir_bytes;
  for (uint64_t i = 0; i < z->n; i++) {
    chxi_zip_entry *e = &z->entry[i];
    if (left < CENTRAL || get(p, 4) != 0x02014b50) return bad(s, z, "its directory is damaged");
    const uint64_t name_len = get(p + 28, 2), extra = get(p + 30, 2), comment = get(p + 32, 2);
    *e = (chxi_zip_entry){.name = p + CENTRAL,
                          .name_len = (uint32_t)name_len,
                          .crc = (uint32_t)get(p + 16, 4),
                          .flags = (uint16_t)get(p + 8, 2),
                          .method = (uint16_t)get(p + 10, 2),
                          .packed = get(p + 20, 4),
                          .size = get(p + 24, 4),
                          .at = get(p + 42, 4)};
    if (left - CENTRAL < name_len + extra + comment || !read_extra(p + CENTRAL + name_len, extra, e))
      return bad(s, z, "its directory is damaged");
    if (memchr(e->name, 0, name_len)) return bad(s, z, "the name of an entry has a zero in it");
    if (e->at > z->dir_at || z->dir_at - e->at < LOCAL || e->packed > z->dir_at - e->at - LOCAL)
      return bad(s, z, "an entry lies outside the file");
    if (e->method == STORED ? e->size != e->packed : e->size / MOST_RATIO > e->packed)
      return bad(s, z, "the size of an entry is more than its bytes can hold");
    p += CENTRAL + name_len + extra + comment;
    left -= CENTRAL + name_len + extra + comment;
  }
  return true;
}

bool chxi_zip_open(chx_scope *s, chxi_zip *z, const char *op, const char *path)
{
  *z = (chxi_zip){.file.fd = -1};
  if (!chxi_file_open(s, &z->file, op, path)) return false;
  if (read_directory(s, z) && read_entries(s, z)) return true;
  chxi_zip_close(z);
  return false;
}

void chxi_zip_close(chxi_zip *z)
{
  chxi_free(z->entry, z->n * sizeof *z->entry);
  chxi_free(z->dir, z->dir_bytes);
  chxi_file_close(&z->file);
}

/* ---- an entry's bytes --------------------------------------------------------------------------------------------------- */

typedef struct zip_input {
  chxi_input in;
  char what[CHXI_WHAT];
  const chxi_file *file;
  uint64_t at, packed; /* the next byte of the file, and how many are left */
  uint32_t crc, want;
  bool deflated;
  z_stream z;
  unsigned char room[ROOM];
} zip_input;

static bool bad_data(chx_scope *s, const zip_input *in, const char *is)
{
  chx_scope_fail(s, CHX_EIO, "%s: %s, want what was packed", in->what, is);
  return false;
}

/* Inflates until n bytes are there or, for n == 0, until the end, behind which there must be nothing. */
static bool inflate_some(chx_scope *s, zip_input *in, unsigned char *dst, uint64_t n)
{
  const bool to_end = !n;
  unsigned char more;
  while (n || to_end) {
    if (!in->z.avail_in && in->packed) {
      const uint64_t k = in->packed < ROOM ? in->packed : ROOM;
      if (!chxi_file_read(s, in->file, in->at, in->room, k)) return false;
      in->z.next_in = in->room;
      in->z.avail_in = (uInt)k;
      in->at += k;
      in->packed -= k;
    }
    const uInt want = to_end ? 1 : n < 1 << 30 ? (uInt)n : 1 << 30;
    in->z.next_out = to_end ? &more : dst;
    in->z.avail_out = want;
    const int status = inflate(&in->z, Z_NO_FLUSH);
    const uInt got = want - in->z.avail_out;
    if (to_end && got) return bad_data(s, in, "it unpacks to more bytes than its size says");
    if (status == Z_MEM_ERROR) return chx_scope_fail(s, CHX_ENOMEM, "%s: out of memory in inflate", in->what), false;
    if (status != Z_OK && status != Z_STREAM_END && (status != Z_BUF_ERROR || (!in->z.avail_in && !in->packed)))
      return bad_data(s, in, "its deflated bytes are damaged");
    dst += got;
    n -= to_end ? 0 : got;
    if (status == Z_STREAM_END) {
      if (n) return bad_data(s, in, "it unpacks to fewer bytes than its size says");
      if (to_end && (in->z.avail_in || in->packed))
        return bad_data(s, in, "its deflated bytes end before its packed size");
      break; /* a call for the end will find it again */
    }
  }
  return true;
}

static bool zip_read(chx_scope *s, chxi_input *base, void *dst, uint64_t n)
{
  zip_input *in = (zip_input *)base;
  if (n && in->deflated) {
    if (!inflate_some(s, in, dst, n)) return false;
  } else if (n) {
    if (!chxi_file_read(s, in->file, in->at, dst, n)) return false;
    in->at += n;
  }
  if (n) in->crc = (uint32_t)crc32_z(in->crc, dst, n); /* which begins anew for NULL */
  in->in.left -= n;
  if (in->in.left) return true;
  if (in->deflated && !inflate_some(s, in, NULL, 0)) return false;
  return in->crc == in->want || bad_data(s, in, "its CRC is wrong");
}

chxi_input *chxi_zip_input(chx_scope *s, const char *what, const chxi_zip *z, const chxi_zip_entry *e)
{
  char local[LOCAL];
  if (e->flags & ENCRYPTED || (e->method != STORED && e->method != DEFLATED)) {
    chx_scope_fail(s, CHX_EUNSUPPORTED, "%s: it is %s (method %d), want stored or deflated", what,
                   e->flags & ENCRYPTED ? "encrypted" : "packed otherwise", e->method);
    return NULL;
  }
  if (!chxi_file_read(s, &z->file, e->at, local, LOCAL)) return NULL;
  const uint64_t data = e->at + LOCAL + get(local + 26, 2) + get(local + 28, 2);
  if (get(local, 4) != 0x04034b50 || data > z->dir_at || e->packed > z->dir_at - data) {
    chx_scope_fail(s, CHX_EIO, "%s: its local header is damaged, want one with the data inside the file", what);
    return NULL;
  }
  zip_input *in = chxi_alloc(sizeof *in);
  if (!in) {
    chx_scope_fail(s, CHX_ENOMEM, "%s: out of memory to read an entry", what);
    return NULL;
  }
  memset(in, 0, offsetof(zip_input, room));
  in->in = (chxi_input){.left = e->size, .read = zip_read};
  snprintf(in->what, sizeof in->what, "%s", what);
  in->file = &z->file;
  in->at = data;
  in->packed = e->packed;
  in->want = e->crc;
  if (e->method == DEFLATED) {
    if (inflateInit2(&in->z, -MAX_WBITS) != Z_OK) {
      chx_scope_fail(s, CHX_ENOMEM, "%s: out of memory in inflate", what);
      chxi_free(in, sizeof *in);
      return NULL;
    }
    in->deflated = true;
  }
  return &in->in;
}

void chxi_zip_input_free(chxi_input *base)
{
  zip_input *in = (zip_input *)base;
  if (!in) return;
  if (in->deflated) inflateEnd(&in->z);
  chxi_free(in, sizeof *in);
}

/* ---- writing ---------------------------------------------------------------------------------------------------------------- */

typedef struct written {
  char *name;
  size_t name_bytes; /* with the zero at its end */
  uint32_t crc;
  bool deflated, wide; /* wide: the local header has zip64's sizes */
  uint64_t packed, size, at;
} written;

struct chxi_zip_writer {
  chxi_output out;
  chxi_file file;
  written *entry; /* the last is being written, between begin and end */
  size_t n, cap;
  z_stream z;
  bool in_deflate;
  unsigned char room[ROOM];
};

static bool no_memory(chx_scope *s, const chxi_zip_writer *w)
{
  chx_scope_fail(s, CHX_ENOMEM, "%s: %s: out of memory to write an archive", w->file.op, w->file.path);
  return false;
}

/* Deflates src, or with src NULL what is left, into the file. */
static bool deflate_some(chx_scope *s, chxi_zip_writer *w, const unsigned char *src, uint64_t n)
{
  int status;
  do {
    const uInt k = n < 1 << 30 ? (uInt)n : 1 << 30;
    w->z.next_in = (unsigned char *)src;
    w->z.avail_in = k;
    do {
      w->z.next_out = w->room;
      w->z.avail_out = ROOM;
      status = deflate(&w->z, src ? Z_NO_FLUSH : Z_FINISH);
      const uint64_t got = ROOM - w->z.avail_out;
      w->entry[w->n - 1].packed += got;
      if (!chxi_file_write(s, &w->file, w->room, got)) return false;
    } while (!w->z.avail_out);
    if (src) src += k;
    n -= k;
  } while (n);
  if (src || status == Z_STREAM_END) return true;
  chx_scope_fail(s, CHX_EFAILED, "%s: %s: deflate failed with %d", w->file.op, w->file.path, status);
  return false;
}

static bool zip_write(chx_scope *s, chxi_output *out, const void *src, uint64_t n)
{
  chxi_zip_writer *w = (chxi_zip_writer *)out;
  written *e = &w->entry[w->n - 1];
  if (!n) return true;
  e->crc = (uint32_t)crc32_z(e->crc, src, n);
  e->size += n;
  if (e->deflated) return deflate_some(s, w, src, n);
  e->packed += n;
  return chxi_file_write(s, &w->file, src, n);
}

chxi_zip_writer *chxi_zip_create(chx_scope *s, const char *op, const char *path)
{
  chxi_zip_writer *w = chxi_alloc(sizeof *w);
  if (!w) {
    chx_scope_fail(s, CHX_ENOMEM, "%s: out of memory to write an archive", op);
    return NULL;
  }
  memset(w, 0, offsetof(chxi_zip_writer, room));
  w->out.write = zip_write;
  if (chxi_file_create(s, &w->file, op, path)) return w;
  chxi_free(w, sizeof *w);
  return NULL;
}

static bool is_ascii(const char *name)
{
  while (*name)
    if (*name++ & 0x80) return false;
  return true;
}

/* The 20 bytes that local and central headers share from "version needed" on, without the lengths behind them. */
static char *put_common(char *p, const written *e, bool wide)
{
  p = put(p, wide ? 45 : 20, 2);
  p = put(p, is_ascii(e->name) ? 0 : UTF8, 2);
  p = put(p, e->deflated ? DEFLATED : STORED, 2);
  p = put(p, 0, 2);
  p = put(p, 0x21, 2); /* 1980-01-01: the same arrays give the same file */
  p = put(p, e->crc, 4);
  return p;
}

static size_t local_header(char *head, const written *e)
{
  char *p = put(head, 0x04034b50, 4);
  p = put_common(p, e, e->wide);
  p = put(p, e->wide ? MAX32 : e->packed, 4);
  p = put(p, e->wide ? MAX32 : e->size, 4);
  p = put(p, e->name_bytes - 1, 2);
  p = put(p, e->wide ? 20 : 0, 2);
  return (size_t)(p - head);
}

/* Where sizes may not fit 32 bits, zip64's are in the local header's extra field. */
static size_t local_extra(char *head, const written *e)
{
  if (!e->wide) return 0;
  char *p = put(head, 1, 2);
  p = put(p, 16, 2);
  p = put(p, e->size, 8);
  p = put(p, e->packed, 8);
  return (size_t)(p - head);
}

chxi_output *chxi_zip_begin(chx_scope *s, chxi_zip_writer *w, const char *name, uint64_t size, bool compress)
{
  char head[64];
  if (w->n == w->cap) {
    const size_t cap = w->cap ? 2 * w->cap : 16;
    written *entry = chxi_grow(w->entry, w->cap * sizeof *entry, cap * sizeof *entry);
    if (!entry) return no_memory(s, w), NULL;
    w->entry = entry;
    w->cap = cap;
  }
  written *e = &w->entry[w->n];
  const size_t bytes = strlen(name) + 1;
  /* deflate may make data a little larger than it was */
  *e = (written){.name = chxi_alloc(bytes), .name_bytes = bytes, .deflated = compress, .at = w->file.size,
                 .wide = size + size / 1000 + 1024 >= chxi_zip64_from};
  if (!e->name) return no_memory(s, w), NULL;
  memcpy(e->name, name, bytes);
  w->n++;
  if (compress && deflateInit2(&w->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    return no_memory(s, w), NULL;
  w->in_deflate = compress;
  if (!chxi_file_write(s, &w->file, head, local_header(head, e)) || !chxi_file_write(s, &w->file, name, bytes - 1) ||
      !chxi_file_write(s, &w->file, head, local_extra(head, e)))
    return NULL;
  return &w->out;
}

bool chxi_zip_end(chx_scope *s, chxi_zip_writer *w)
{
  char head[64];
  const written *e = &w->entry[w->n - 1];
  if (e->deflated && !deflate_some(s, w, NULL, 0)) return false;
  if (w->in_deflate) deflateEnd(&w->z);
  w->in_deflate = false;
  return chxi_file_patch(s, &w->file, e->at, head, local_header(head, e)) &&
         chxi_file_patch(s, &w->file, e->at + LOCAL + e->name_bytes - 1, head, local_extra(head, e));
}

static bool put_central(chx_scope *s, chxi_zip_writer *w, const written *e)
{
  char head[CENTRAL], extra[28], *x = extra + 4, *p = put(head, 0x02014b50, 4);
  const bool size = e->size >= chxi_zip64_from, packed = e->packed >= chxi_zip64_from, at = e->at >= chxi_zip64_from;
  if (size) x = put(x, e->size, 8);
  if (packed) x = put(x, e->packed, 8);
  if (at) x = put(x, e->at, 8);
  const uint64_t n = (uint64_t)(x - extra);
  put(put(extra, 1, 2), n - 4, 2);
  p = put(p, 3 << 8 | 45, 2); /* made on Unix */
  p = put_common(p, e, e->wide || n > 4);
  p = put(p, packed ? MAX32 : e->packed, 4);
  p = put(p, size ? MAX32 : e->size, 4);
  p = put(p, e->name_bytes - 1, 2);
  p = put(p, n > 4 ? n : 0, 2);
  p = put(p, 0, 6); /* no comment, disk 0, no internal attributes */
  p = put(p, (uint64_t)0100644 << 16, 4);
  put(p, at ? MAX32 : e->at, 4);
  return chxi_file_write(s, &w->file, head, CENTRAL) && chxi_file_write(s, &w->file, e->name, e->name_bytes - 1) &&
         (n == 4 || chxi_file_write(s, &w->file, extra, n));
}

bool chxi_zip_commit(chx_scope *s, chxi_zip_writer *w)
{
  const uint64_t dir = w->file.size, n = w->n;
  for (size_t i = 0; i < w->n; i++)
    if (!put_central(s, w, &w->entry[i])) return false;
  const uint64_t end = w->file.size;
  char tail[END64 + LOCATOR + END], *p = tail;
  const bool wide = end >= chxi_zip64_from || n >= 0xffff;
  if (wide) {
    p = put(p, 0x06064b50, 4);
    p = put(p, END64 - 12, 8);
    p = put(p, 3 << 8 | 45, 2);
    p = put(p, 45, 2);
    p = put(p, 0, 8);
    p = put(p, n, 8);
    p = put(p, n, 8);
    p = put(p, end - dir, 8);
    p = put(p, dir, 8);
    p = put(p, 0x07064b50, 4);
    p = put(p, 0, 4);
    p = put(p, end, 8);
    p = put(p, 1, 4);
  }
  p = put(p, 0x06054b50, 4);
  p = put(p, 0, 4);
  p = put(p, n < 0xffff ? n : 0xffff, 2);
  p = put(p, n < 0xffff ? n : 0xffff, 2);
  p = put(p, wide ? MAX32 : end - dir, 4);
  p = put(p, wide ? MAX32 : dir, 4);
  p = put(p, 0, 2);
  return chxi_file_write(s, &w->file, tail, (uint64_t)(p - tail)) && chxi_file_commit(s, &w->file);
}

void chxi_zip_free(chxi_zip_writer *w)
{
  if (!w) return;
  if (w->in_deflate) deflateEnd(&w->z);
  for (size_t i = 0; i < w->n; i++) chxi_free(w->entry[i].name, w->entry[i].name_bytes);
  chxi_free(w->entry, w->cap * sizeof *w->entry);
  chxi_file_close(&w->file);
  chxi_free(w, sizeof *w);
}
