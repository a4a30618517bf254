/* SPDX-License-Identifier: MIT
 * file.h: what npy.c, npz.c and zip.c share: whole files, and streams of bytes of known length inside them.
 *
 * A function that returns false or NULL has left the error in the scope. No length that a file claims is believed
 * before it was compared with what the file can hold.
 */
#ifndef CHX_FILE_H
#define CHX_FILE_H
#include "runtime.h"

#define CHXI_WHAT 512 /* bytes of "npz_get: FILE: MEMBER", with which messages begin */

/* ---- files (file.c) ---------------------------------------------------------------------------------------------- */

typedef struct chxi_file {
  const char *op;     /* with which its messages begin: "load_npy" */
  char *path, *temp;  /* temp: what is written until it is complete; NULL when reading */
  size_t path_bytes, temp_bytes;
  int fd;
  uint64_t size;      /* reading: of the file; writing: bytes written so far */
} chxi_file;

bool chxi_file_open(chx_scope *s, chxi_file *f, const char *op, const char *path); /* regular files only */
bool chxi_file_read(chx_scope *s, const chxi_file *f, uint64_t at, void *dst, uint64_t n);
/* A new file beside `path`, which chxi_file_commit gives that name once all is on the disk. */
bool chxi_file_create(chx_scope *s, chxi_file *f, const char *op, const char *path);
bool chxi_file_write(chx_scope *s, chxi_file *f, const void *src, uint64_t n);
bool chxi_file_patch(chx_scope *s, chxi_file *f, uint64_t at, const void *src, uint64_t n);
bool chxi_file_commit(chx_scope *s, chxi_file *f);
void chxi_file_close(chxi_file *f); /* removes what was not committed */

/* ---- streams --------------------------------------------------------------------------------------------------------- */

typedef struct chxi_input {
  uint64_t left; /* bytes that are still to come; a reader asks for no more */
  bool (*read)(chx_scope *s, struct chxi_input *in, void *dst, uint64_t n);
} chxi_input;

typedef struct chxi_output {
  bool (*write)(chx_scope *s, struct chxi_output *out, const void *src, uint64_t n);
} chxi_output;

/* ---- one array (npy.c) -------------------------------------------------------------------------------------------------- */

#define CHXI_NPY_HEADER 1024 /* bytes at most of a header that is written */

/* All of `in` as one array on the scope's device; in the scope, at its depth. */
chx_array *chxi_npy_read(chx_scope *s, const char *what, chxi_input *in);
/* The header of a's file; returns its bytes. */
size_t chxi_npy_header(char text[CHXI_NPY_HEADER], const chx_array *a);
bool chxi_npy_write(chx_scope *s, const char *what, chxi_output *out, const chx_array *a);

/* ---- archives (zip.c) ----------------------------------------------------------------------------------------------------- */

typedef struct chxi_zip_entry {
  const char *name; /* not terminated; in the directory */
  uint32_t name_len, crc;
  uint16_t flags, method;
  uint64_t packed, size, at; /* bytes in the file, bytes unpacked, where its local header is */
} chxi_zip_entry;

typedef struct chxi_zip {
  chxi_file file;
  char *dir; /* the central directory */
  uint64_t dir_at, dir_bytes;
  chxi_zip_entry *entry;
  uint64_t n;
} chxi_zip;

bool chxi_zip_open(chx_scope *s, chxi_zip *z, const char *op, const char *path);
void chxi_zip_close(chxi_zip *z);
/* A stream of an entry's bytes, which checks the CRC when the last one is read. */
chxi_input *chxi_zip_input(chx_scope *s, const char *what, const chxi_zip *z, const chxi_zip_entry *e);
void chxi_zip_input_free(chxi_input *in);

typedef struct chxi_zip_writer chxi_zip_writer;
chxi_zip_writer *chxi_zip_create(chx_scope *s, const char *op, const char *path);
/* The next entry, of `size` bytes; what is written to the stream is its content. */
chxi_output *chxi_zip_begin(chx_scope *s, chxi_zip_writer *w, const char *name, uint64_t size, bool compress);
bool chxi_zip_end(chx_scope *s, chxi_zip_writer *w);
bool chxi_zip_commit(chx_scope *s, chxi_zip_writer *w);
void chxi_zip_free(chxi_zip_writer *w); /* removes what was not committed */
extern uint64_t chxi_zip64_from; /* sizes and offsets from which zip64's fields are used; tests lower it */

#endif
