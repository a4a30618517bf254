/* SPDX-License-Identifier: MIT
 * npy.c: arrays in NumPy's .npy format, versions 1 to 3: a magic number, a header, which is a Python dictionary such as
 *
 *   {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 *
 * and the elements. bf16, which NumPy does not know, is written as the package ml_dtypes writes it, '<V2', and only
 * that is read as bf16; NumPy's own opaque two bytes are '|V2', which is refused. So np.load(f).view(ml_dtypes.bfloat16)
 * reads what is written here.
 */
#include "file.h"
#include <stdio.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "npy.c takes the host to be little-endian"
#endif

enum { MAX_HEADER = 65536 }; /* far more than 16 lengths need; structured dtypes, which need more, are not read */

static const struct { char text[4]; uint8_t dtype;
} descrs[] = {
    {"b1", CHX_BOOL}, {"i1", CHX_I8},  {"i2", CHX_I16}, {"i4", CHX_I32},   {"i8", CHX_I64},
    {"u1", CHX_U8},   {"u2", CHX_U16}, {"u4", CHX_U32}, {"u8", CHX_U64},   {"f2", CHX_F16},
    {"f4", CHX_F32},  {"f8", CHX_F64}, {"c8", CHX_C64}, {"c16", CHX_C128}, {"V2", CHX_BF16},
};

typedef struct header {
  const char *what; /* with which messages begin */
  const char *p, *end;
  int dtype, ndim;
  bool swap, fortran;
  int64_t shape[CHX_MAX_RANK];
} header;

/* ---- the header's text ----------------------------------------------------------------------------------------------- */

static bool bad(chx_scope *s, const header *h, const char *is, const char *wanted)
{
  chx_scope_fail(s, CHX_EIO, "%s: %s, want %s", h->what, is, wanted);
  return false;
}

/* The next character, after white space; 0 at the end. */
static char next(header *h)
{
  while (h->p < h->end && (*h->p == ' ' || *h->p == '\t' || *h->p == '\n' || *h->p == '\r')) h->p++;
  return h->p < h->end ? *h->p : 0;
}

/* Takes the next character, if it is c. */
static bool take(header *h, char c)
{
  if (next(h) != c) return false;
  h->p++;
  return true;
}

static bool take_word(header *h, const char *word)
{
  const size_t n = strlen(word);
  next(h);
  if ((size_t)(h->end - h->p) < n || memcmp(h->p, word, n)) return false;
  h->p += n;
  return true;
}

/* A string of printable characters without escapes. */
static bool take_string(header *h, char text[64])
{
  const char quote = take(h, '\'') ? '\'' : take(h, '"') ? '"' : 0;
  size_t n = 0;
  if (!quote) return false;
  for (; h->p < h->end && *h->p != quote; h->p++) {
    if (n == 63 || *h->p < ' ' || *h->p > '~' || *h->p == '\\') return false;
    text[n++] = *h->p;
  }
  text[n] = 0;
  return take(h, quote);
}

static bool parse_descr(chx_scope *s, header *h)
{
  char text[64], is[128];
  if (next(h) == '[') return bad(s, h, "descr is a structured dtype", "one number per element");
  if (!take_string(h, text)) return bad(s, h, "descr is not a short string", "a dtype such as '<f4'");
  const char order = strchr("<>|=", text[0]) && text[0] ? text[0] : 0, *name = text + (order != 0);
  snprintf(is, sizeof is, "descr is '%s'", text);
  if (name[0] == 'O') return bad(s, h, is, "numbers: objects are pickles, which are not read");
  for (size_t i = 0; i < sizeof descrs / sizeof *descrs; i++)
    if (!strcmp(name, descrs[i].text)) h->dtype = descrs[i].dtype;
  if (h->dtype == CHX_BF16 && order != '<')
    return bad(s, h, is, "'<V2' for bf16, or a dtype that NumPy knows as a number");
  h->swap = order == '>';
  return h->dtype || bad(s, h, is, "b1, i1 to i8, u1 to u8, f2, f4, f8, c8, c16 or <V2 (bf16)");
}

static bool parse_shape(chx_scope *s, header *h)
{
  if (!take(h, '(')) return bad(s, h, "shape is not a tuple", "a tuple of lengths");
  h->ndim = 0;
  while (!take(h, ')')) {
    int64_t n = 0;
    const char *start = h->p;
    for (; h->p < h->end && *h->p >= '0' && *h->p <= '9'; h->p++)
      if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *h->p - '0', &n))
        return bad(s, h, "a length in shape is too large", "lengths below 2^63");
    if (h->p == start) return bad(s, h, "a length in shape is not a number", "lengths >= 0");
    if (h->p < h->end && *h->p == 'L') h->p++; /* Python 2's long */
    if (h->ndim == CHX_MAX_RANK) return bad(s, h, "the rank is more than 16", "at most 16 axes");
    h->shape[h->ndim++] = n;
    if (!take(h, ',') && next(h) != ')') return bad(s, h, "shape is not a tuple", "a tuple of lengths");
  }
  return true;
}

static bool parse(chx_scope *s, header *h)
{
  static const char *const keys[] = {"descr", "fortran_order", "shape"};
  unsigned seen = 0;
  if (!take(h, '{')) return bad(s, h, "the header does not begin with {", "a dictionary");
  while (!take(h, '}')) {
    char key[64];
    int k = 0;
    if (!take_string(h, key) || !take(h, ':'))
      return bad(s, h, "the header is not a dictionary", "'descr', 'fortran_order' and 'shape'");
    while (k < 3 && strcmp(key, keys[k])) k++;
    if (k == 3 || seen & 1u << k)
      return bad(s, h, "the header has an unknown key, or one twice", "'descr', 'fortran_order' and 'shape'");
    seen |= 1u << k;
    if (k == 0 && !parse_descr(s, h)) return false;
    if (k == 1 && !(h->fortran = take_word(h, "True")) && !take_word(h, "False"))
      return bad(s, h, "fortran_order is neither True nor False", "one of them");
    if (k == 2 && !parse_shape(s, h)) return false;
    if (!take(h, ',') && next(h) != '}') return bad(s, h, "the header is not a dictionary", "a comma between entries");
  }
  next(h);
  if (h->p != h->end) return bad(s, h, "the header goes on after its dictionary", "white space");
  return seen == 7 || bad(s, h, "the header lacks a key", "'descr', 'fortran_order' and 'shape'");
}

/* Magic number, version, length and text; in h what they say. */
static bool read_header(chx_scope *s, header *h, chxi_input *in)
{
  unsigned char head[12];
  if (in->left < 10) return bad(s, h, "it has fewer than 10 bytes", "a .npy file");
  if (!in->read(s, in, head, 10)) return false;
  if (memcmp(head, "\x93NUMPY", 6)) return bad(s, h, "it does not begin with \\x93NUMPY", "a .npy file");
  if (head[6] < 1 || head[6] > 3 || head[7]) return bad(s, h, "its version is unknown", "1.0, 2.0 or 3.0");
  uint32_t n = head[8] | (uint32_t)head[9] << 8;
  if (head[6] > 1) {
    if (in->left < 2) return bad(s, h, "it ends in the header's length", "a .npy file");
    if (!in->read(s, in, head + 10, 2)) return false;
    n |= (uint32_t)head[10] << 16 | (uint32_t)head[11] << 24;
  }
  if (n > in->left) return bad(s, h, "it ends in the header", "as many bytes as the header's length says");
  if (n > MAX_HEADER) return bad(s, h, "the header has more than 65536 bytes", "fewer");
  char *text = chxi_alloc(n ? n : 1);
  if (!text) return chx_scope_fail(s, CHX_ENOMEM, "%s: out of memory for a header of %u bytes", h->what, n), false;
  h->p = text;
  h->end = text + n;
  const bool good = in->read(s, in, text, n) && parse(s, h);
  chxi_free(text, n ? n : 1);
  return good;
}

/* ---- elements ------------------------------------------------------------------------------------------------------------ */

static void swap_bytes(unsigned char *p, uint64_t bytes, size_t size)
{
  for (unsigned char *end = p + bytes; p < end; p += size)
    for (size_t i = 0; i < size / 2; i++) {
      const unsigned char c = p[i];
      p[i] = p[size - 1 - i];
      p[size - 1 - i] = c;
    }
}

static void to_host_order(const header *h, unsigned char *p, uint64_t bytes)
{
  const size_t size = chxi_dtypes[h->dtype].size;
  if (h->swap && size > 1) swap_bytes(p, bytes, chxi_dtypes[h->dtype].kind == 'C' ? size / 2 : size);
  if (h->dtype == CHX_BOOL)
    for (uint64_t i = 0; i < bytes; i++) p[i] = p[i] != 0;
}

static bool read_elements(chx_scope *s, const header *h, chxi_input *in, chx_array *a)
{
  const uint64_t bytes = in->left;
  if (!bytes) return in->read(s, in, NULL, 0);
  unsigned char *host = (unsigned char *)a->buf->host, *temp = NULL;
  if (!host && !(host = temp = chxi_alloc(bytes)))
    return chx_scope_fail(s, CHX_ENOMEM, "%s: out of memory for %llu bytes on the host", h->what,
                          (unsigned long long)bytes),
           false;
  bool good = in->read(s, in, host, bytes);
  if (good) to_host_order(h, host, bytes);
  if (good && temp) good = chxi_upload(s, a->buf, 0, temp, bytes);
  chxi_free(temp, bytes);
  return good;
}

chx_array *chxi_npy_read(chx_scope *s, const char *what, chxi_input *in)
{
  header h = {.what = what};
  int64_t count, bytes, shape[CHX_MAX_RANK], strides[CHX_MAX_RANK];
  char text[128];
  if (!read_header(s, &h, in)) return NULL;
  if (!chxi_count(h.ndim, h.shape, &count) ||
      __builtin_mul_overflow(count, (int64_t)chxi_dtypes[h.dtype].size, &bytes) || (uint64_t)bytes != in->left) {
    chx_scope_fail(s, CHX_EIO, "%s: it has %llu bytes of elements, want %s %s as the header says", what,
                   (unsigned long long)in->left, chx_dtype_name(h.dtype), chxi_shape_text(text, h.ndim, h.shape));
    return NULL;
  }
  for (int i = 0; i < h.ndim; i++) shape[i] = h.shape[h.fortran ? h.ndim - 1 - i : i];
  chx_array *a = chxi_array_new(s, s->dev, h.dtype, h.ndim, shape);
  if (!a || !read_elements(s, &h, in, a)) return NULL;
  if (!h.fortran || h.ndim < 2) return a;
  for (int i = 0; i < h.ndim; i++) strides[i] = a->strides[h.ndim - 1 - i];
  return chxi_array_view(s, a, h.dtype, h.ndim, h.shape, strides, 0); /* as NumPy: the same bytes, seen transposed */
}

size_t chxi_npy_header(char text[CHXI_NPY_HEADER], const chx_array *a)
{
  const char *descr = "";
  for (size_t i = 0; i < sizeof descrs / sizeof *descrs; i++)
    if (descrs[i].dtype == a->dtype) descr = descrs[i].text;
  char *dict = text + 10;
  const int room = CHXI_NPY_HEADER - 10;
  int n = snprintf(dict, (size_t)room, "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
                   chxi_dtypes[a->dtype].size > 1 ? '<' : '|', descr);
  for (int i = 0; i < a->t.ndim; i++)
    n += snprintf(dict + n, (size_t)(room - n), "%s%lld%s", i ? ", " : "", (long long)a->shape[i],
                  a->t.ndim == 1 ? "," : "");
  n += snprintf(dict + n, (size_t)(room - n), "), }");
  const int total = (10 + n + 1 + 63) / 64 * 64; /* elements begin at a multiple of 64 */
  memset(dict + n, ' ', (size_t)(total - 10 - n));
  text[total - 1] = '\n';
  memcpy(text, "\x93NUMPY\1", 8); /* and the version's second byte, 0 */
  text[8] = (char)((total - 10) & 0xff);
  text[9] = (char)((total - 10) >> 8);
  return (size_t)total;
}

bool chxi_npy_write(chx_scope *s, const char *what, chxi_output *out, const chx_array *a)
{
  char head[CHXI_NPY_HEADER];
  const uint64_t bytes = (uint64_t)chx_nbytes(a);
  if (!out->write(s, out, head, chxi_npy_header(head, a))) return false;
  if (!bytes) return true;
  if (a->buf && a->buf->host && chx_is_contiguous(a))
    return out->write(s, out, a->buf->host + (a->t.byte_offset - a->buf->offset), bytes);
  void *temp = chxi_alloc(bytes);
  if (!temp)
    return chx_scope_fail(s, CHX_ENOMEM, "%s: out of memory for %llu bytes on the host", what,
                          (unsigned long long)bytes),
           false;
  const bool good = chx_read(s, a, temp, bytes) == CHX_OK && out->write(s, out, temp, bytes);
  chxi_free(temp, bytes);
  return good;
}

/* ---- files ------------------------------------------------------------------------------------------------------------------ */

typedef struct whole_file {
  chxi_input in;
  chxi_output out;
  chxi_file file;
} whole_file;

static bool file_read(chx_scope *s, chxi_input *in, void *dst, uint64_t n)
{
  const chxi_file *f = &((whole_file *)in)->file;
  if (!chxi_file_read(s, f, f->size - in->left, dst, n)) return false;
  in->left -= n;
  return true;
}

static bool file_write(chx_scope *s, chxi_output *out, const void *src, uint64_t n)
{
  return chxi_file_write(s, &((whole_file *)((char *)out - offsetof(whole_file, out)))->file, src, n);
}

chx_array *chx_load_npy(chx_scope *s, const char *path)
{
  whole_file w = {.in = {.read = file_read}};
  char what[CHXI_WHAT];
  if (!chxi_ok(s) || !chxi_file_open(s, &w.file, "load_npy", path)) return NULL;
  w.in.left = w.file.size;
  snprintf(what, sizeof what, "load_npy: %s", path);
  const size_t mark = s->n;
  chx_long_work begun = chxi_long_begin(s);
  chx_array *a = chx_scope_rewind(s, mark, chxi_npy_read(s, what, &w.in));
  chxi_file_close(&w.file);
  if (!chxi_long_end(s, begun)) chx_scope_rewind(s, mark, a = NULL);
  if (a && s->flags & CHX_SCOPE_OWNED && !s->depth) s->n--; /* an owning scope's result is the caller's */
  return a;
}

chx_status chx_save_npy(chx_scope *s, const char *path, const chx_array *a)
{
  whole_file w = {.out = {file_write}};
  char what[CHXI_WHAT];
  if (!chxi_ok(s)) return s ? chx_scope_error(s) : CHX_EARG;
  if (!a) return chx_scope_fail(s, CHX_EARG, "save_npy: the array is NULL, want an array");
  if (!chxi_file_create(s, &w.file, "save_npy", path)) return s->error;
  snprintf(what, sizeof what, "save_npy: %s", path);
  chx_long_work begun = chxi_long_begin(s);
  if (chxi_npy_write(s, what, &w.out, a)) chxi_file_commit(s, &w.file);
  chxi_file_close(&w.file);
  chxi_long_end(s, begun);
  return s->error;
}
