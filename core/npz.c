/* SPDX-License-Identifier: MIT
 * npz.c: named arrays in one file: a zip archive with an entry NAME.npy for each. Other entries are passed over. Of two
 * with one name the later counts, as in Python.
 */
#include "file.h"
#include <stdio.h>

struct chx_npz {
  chxi_zip zip;
  int n;
  uint64_t bytes, n_room;     /* of names; of index */
  char *names;                /* one after another, each with its zero */
  struct npz_entry { const char *name; const chxi_zip_entry *entry; } *index;
};

static const char suffix[] = ".npy";
enum { SUFFIX = sizeof suffix - 1 };

static bool is_array(const chxi_zip_entry *e)
{
  return e->name_len >= SUFFIX && !memcmp(e->name + e->name_len - SUFFIX, suffix, SUFFIX);
}

static bool make_index(chx_scope *s, chx_npz *z)
{
  for (uint64_t i = 0; i < z->zip.n; i++) {
    if (!is_array(&z->zip.entry[i])) continue;
    z->n_room++;
    z->bytes += z->zip.entry[i].name_len - SUFFIX + 1;
  }
  if (!z->n_room) return true;
  if (z->n_room > INT32_MAX)
    return chx_scope_fail(s, CHX_EIO, "npz_open: %s: has more than 2^31 arrays, want fewer", z->zip.file.path), false;
  z->names = chxi_alloc(z->bytes);
  z->index = chxi_alloc(z->n_room * sizeof *z->index);
  if (!z->names || !z->index)
    return chx_scope_fail(s, CHX_ENOMEM, "npz_open: out of memory for %llu names", (unsigned long long)z->n_room),
           false;
  char *p = z->names;
  for (uint64_t i = 0; i < z->zip.n; i++) {
    const chxi_zip_entry *e = &z->zip.entry[i];
    if (!is_array(e)) continue;
    memcpy(p, e->name, e->name_len - SUFFIX);
    p[e->name_len - SUFFIX] = 0;
    z->index[z->n++] = (struct npz_entry){p, e};
    p += e->name_len - SUFFIX + 1;
  }
  return true;
}

chx_npz *chx_npz_open(chx_scope *s, const char *path)
{
  if (!chxi_ok(s)) return NULL;
  chx_npz *z = chxi_alloc(sizeof *z);
  if (!z) {
    chx_scope_fail(s, CHX_ENOMEM, "npz_open: out of memory for an archive");
    return NULL;
  }
  *z = (chx_npz){0};
  if (!chxi_zip_open(s, &z->zip, "npz_open", path)) {
    chxi_free(z, sizeof *z);
    return NULL;
  }
  if (make_index(s, z)) return z;
  chx_npz_close(z);
  return NULL;
}

int chx_npz_count(const chx_npz *z) { return z ? z->n : 0; }

const char *chx_npz_name(const chx_npz *z, int i) { return z && i >= 0 && i < z->n ? z->index[i].name : NULL; }

static void fail_unknown(chx_scope *s, const chx_npz *z, const char *name)
{
  char list[400] = "";
  size_t used = 0;
  int i = 0;
  for (; i < z->n && used < 300; i++) {
    const int n = snprintf(list + used, sizeof list - used, "%s%.60s", i ? ", " : "", z->index[i].name);
    used += n > 0 ? (size_t)n : 0;
  }
  chx_scope_fail(s, CHX_EARG, "npz_get: %s: has no array \"%s\", want one of the %d it has: %s%s", z->zip.file.path,
                 name, z->n, list, i < z->n ? ", ..." : "");
}

chx_array *chx_npz_get(chx_scope *s, chx_npz *z, const char *name)
{
  char what[CHXI_WHAT];
  if (!chxi_ok(s)) return NULL;
  if (!z || !name) {
    chx_scope_fail(s, CHX_EARG, "npz_get: the %s is NULL, want one", z ? "name" : "archive");
    return NULL;
  }
  int i = z->n - 1;
  while (i >= 0 && strcmp(z->index[i].name, name)) i--;
  if (i < 0) {
    fail_unknown(s, z, name);
    return NULL;
  }
  snprintf(what, sizeof what, "npz_get: %s: %s", z->zip.file.path, name);
  const size_t mark = s->n;
  chx_long_work begun = chxi_long_begin(s);
  chxi_input *in = chxi_zip_input(s, what, &z->zip, z->index[i].entry);
  chx_array *a = chx_scope_rewind(s, mark, in ? chxi_npy_read(s, what, in) : NULL);
  chxi_zip_input_free(in);
  if (!chxi_long_end(s, begun)) chx_scope_rewind(s, mark, a = NULL);
  if (a && s->flags & CHX_SCOPE_OWNED && !s->depth) s->n--; /* an owning scope's result is the caller's */
  return a;
}

void chx_npz_close(chx_npz *z)
{
  if (!z) return;
  chxi_free(z->index, z->n_room * sizeof *z->index);
  chxi_free(z->names, z->bytes);
  chxi_zip_close(&z->zip);
  chxi_free(z, sizeof *z);
}

static bool write_one(chx_scope *s, chxi_zip_writer *w, const char *path, const char *name, const chx_array *a,
                      bool compress)
{
  char what[CHXI_WHAT], head[CHXI_NPY_HEADER];
  const size_t bytes = strlen(name) + sizeof suffix;
  char *file = chxi_alloc(bytes);
  if (!file) return chx_scope_fail(s, CHX_ENOMEM, "save_npz: out of memory for a name"), false;
  snprintf(file, bytes, "%s%s", name, suffix);
  snprintf(what, sizeof what, "save_npz: %s: %s", path, name);
  chxi_output *out = chxi_zip_begin(s, w, file, chxi_npy_header(head, a) + (uint64_t)chx_nbytes(a), compress);
  chxi_free(file, bytes);
  return out && chxi_npy_write(s, what, out, a) && chxi_zip_end(s, w);
}

chx_status chx_save_npz(chx_scope *s, const char *path, int n, const char *const *names, const chx_array *const *arrays,
                        int compress)
{
  if (!chxi_ok(s)) return s ? chx_scope_error(s) : CHX_EARG;
  if (n < 0 || (n && (!names || !arrays)))
    return chx_scope_fail(s, CHX_EARG, "save_npz: %d arrays without a list, want names and arrays", n);
  for (int i = 0; i < n; i++) {
    if (!names[i] || !arrays[i])
      return chx_scope_fail(s, CHX_EARG, "save_npz: %s %d%s%s is NULL, want names and arrays",
                            names[i] ? "array" : "name", i, names[i] ? ", " : "", names[i] ? names[i] : "");
    if (strlen(names[i]) > 65535 - SUFFIX)
      return chx_scope_fail(s, CHX_EARG, "save_npz: name %d has more than 65531 bytes, want fewer", i);
    for (int j = 0; j < i; j++)
      if (!strcmp(names[j], names[i]))
        return chx_scope_fail(s, CHX_EARG, "save_npz: two arrays are named \"%.200s\", want one", names[i]);
  }
  chx_long_work begun = chxi_long_begin(s);
  chxi_zip_writer *w = chxi_zip_create(s, "save_npz", path);
  bool good = w != NULL;
  for (int i = 0; i < n && good; i++) good = write_one(s, w, path, names[i], arrays[i], compress != 0);
  if (good) chxi_zip_commit(s, w);
  chxi_zip_free(w);
  chxi_long_end(s, begun);
  return s->error;
}
