/* SPDX-License-Identifier: MIT
 * test_misuse.c: misuses of the API. Each gives an error that names what was wrong and what was expected, with the right code.
 */
#include "check.h"
#include <sys/stat.h>
#include <unistd.h>

static chx_scope *s;

/* The call before it failed with this code, and its message has both words. */
#define fails(code, a, b)                                                                              \
  do {                                                                                                 \
    const char *m = chx_scope_message(s);                                                              \
    ok(chx_scope_error(s) == (code) && strstr(m, a) && strstr(m, b), "%s: %s", a, m);                  \
    chx_scope_clear(s);                                                                                \
  } while (0)

static char dir[] = "/tmp/chx-misuse-XXXXXX";

static const char *file(const char *name, const void *bytes, size_t n)
{
  static char path[256];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "wb");
  if (f) {
    fwrite(bytes, 1, n, f);
    fclose(f);
  }
  return path;
}

static void devices(void)
{
  chx_scope *t = s;
  s = chx_scope_begin("nosuch:0");
  ok(s != NULL, "a scope on an unknown device is a scope in error");
  ok(chx_scope_error(s) == CHX_EDEVICE && strstr(chx_scope_message(s), "nosuch") && strstr(chx_scope_message(s), "native:0"), "%s", chx_scope_message(s));
  ok(!chx_ones(s, CHX_F32, 0, NULL) && strstr(chx_scope_message(s), "nosuch"), "calls on it do nothing and keep the first message");
  chx_scope_set_device(s, "native:0");
  ok(!chx_scope_error(s), "chx_scope_set_device repairs it");
  chx_scope_end(s);
  s = chx_scope_begin("native:7");
  ok(chx_scope_error(s) == CHX_EDEVICE && strstr(chx_scope_message(s), "native:7"), "%s", chx_scope_message(s));
  chx_scope_end(s);
  s = chx_scope_begin("native:x");
  ok(chx_scope_error(s) == CHX_EDEVICE && strstr(chx_scope_message(s), "backend:index"), "%s", chx_scope_message(s));
  chx_scope_end(s);
  s = t;
  chx_to(s, chx_ones(s, CHX_F32, 0, NULL), "nosuch:1");
  fails(CHX_EDEVICE, "nosuch", "want");
}

static void plugins(void)
{
  chx_load_plugin(s, "/nonexistent/chx_x.so");
  fails(CHX_EIO, "/nonexistent/chx_x.so", "want");
  chx_load_plugin(s, file("chx_text.so", "this is no library", 18));
  fails(CHX_EDEVICE, "chx_text.so", "cannot be loaded");
  chx_load_plugin(s, NULL);
  fails(CHX_EARG, "load_plugin", "want");
  const char *cc = getenv("CC");
  char command[1024], lib[256];
  snprintf(lib, sizeof lib, "%s/chx_old.so", dir);
  const char *src = file("old.c", "const void *chx_plugin_v0(void); const void *chx_plugin_v0(void) { return 0; }\n", 79);
  snprintf(command, sizeof command, "%s -shared -fPIC -o %s %s", cc && *cc ? cc : "cc", lib, src);
  if (system(command)) skip(1, "plugin of a wrong ABI: no compiler");
  else {
    chx_load_plugin(s, lib);
    fails(CHX_EDEVICE, "chx_old.so", "chx_plugin_v1");
  }
}

static void operands(void)
{
  chx_array *a = chx_ones(s, CHX_F32, 2, (int64_t[]){2, 3}), *b = chx_ones(s, CHX_F32, 1, (int64_t[]){4});
  chx_add(s, a, b);
  fails(CHX_ESHAPE, "add", "[2,3] and [4]");
  chx_matmul(s, a, a);
  fails(CHX_ESHAPE, "matmul", "want");
  chx_add(s, a, NULL);
  fails(CHX_EARG, "add", "NULL");
  ok(!chx_relu(s, chx_add(s, a, b)) && strstr(chx_scope_message(s), "add"), "a nested call keeps the first error");
  chx_scope_clear(s);
  chx_left_shift(s, a, a);
  fails(CHX_EDTYPE, "left_shift", "f32");
  chx_reshape(s, a, 1, (int64_t[]){5});
  fails(CHX_ESHAPE, "reshape", "want");
  chx_reshape(s, a, 2, (int64_t[]){-1, -1});
  fails(chx_scope_error(s), "reshape", "-1");
  chx_sum(s, a, 1, (int[]){2}, 0);
  fails(CHX_EARG, "axis 2", "rank 2");
  chx_sum(s, a, 2, (int[]){1, -1}, 0);
  fails(CHX_EARG, "sum", "want");
  chx_amax(s, chx_ones(s, CHX_F32, 1, (int64_t[]){0}), 0, NULL, 0);
  fails(CHX_ESHAPE, "amax", "want");
  chx_take(s, a, chx_from(s, CHX_I64, 1, (double[]){5}), 0);
  fails(CHX_EARG, "index 5", "length 2");
  chx_concatenate(s, (const chx_array *[]){a, b}, 2, 0);
  fails(CHX_ESHAPE, "concatenate", "want");
  chx_softmax_cross_entropy(s, a, chx_from(s, CHX_I64, 2, (double[]){0, 9}));
  fails(CHX_EARG, "index 9", "softmax_cross_entropy");
  chx_add_into(s, b, a, a);
  fails(CHX_ESHAPE, "add", "[4]");
  chx_add_into(s, chx_slice_axis(s, chx_ones(s, CHX_F32, 1, (int64_t[]){5}), 0, 0, 4, 1), b, chx_broadcast_to(s, b, 1, (int64_t[]){4}));
  ok(!chx_scope_error(s), "(a view may be written: %s)", chx_scope_message(s));
  chx_array *line = chx_ones(s, CHX_F32, 1, (int64_t[]){5});
  chx_array *lo = chx_slice_axis(s, line, 0, 0, 4, 1), *hi = chx_slice_axis(s, line, 0, 1, 5, 1);
  chx_add_into(s, lo, hi, hi);
  fails(CHX_EARG, "add", "overlaps");
  chx_add(s, chx_ones(s, CHX_U8, 1, (int64_t[]){2}), chx_int(s, 300));
  fails(CHX_EARG, "300", "u8");
  chx_dropout(s, a, 1.5);
  fails(CHX_EARG, "ratio", "1.5");
  chx_conv_attr p = CHX_ATTR(conv);
  p.stride = CHX_INTS(0, 1);
  chx_array *x = chx_ones(s, CHX_F32, 4, (int64_t[]){1, 2, 4, 4}), *w = chx_ones(s, CHX_F32, 4, (int64_t[]){3, 2, 3, 3});
  chx_conv(s, x, w, NULL, &p);
  fails(CHX_EARG, "stride", "conv");
  chx_conv(s, x, chx_ones(s, CHX_F32, 4, (int64_t[]){3, 5, 3, 3}), NULL, NULL);
  fails(CHX_ESHAPE, "conv", "want");
}

static void creation(void)
{
  chx_empty(s, 99, 0, NULL);
  fails(CHX_EDTYPE, "99", "want");
  chx_empty(s, CHX_F32, 17, (int64_t[17]){0});
  fails(CHX_ESHAPE, "17", "want");
  chx_empty(s, CHX_F32, 2, (int64_t[]){-1, 2});
  fails(CHX_ESHAPE, "[-1,2]", "want");
  chx_empty(s, CHX_F32, 2, (int64_t[]){INT64_MAX / 2, 5});
  fails(CHX_ESHAPE, "empty", "want");
  chx_empty(s, CHX_F64, 1, (int64_t[]){(int64_t)1 << 50});
  fails(CHX_ENOMEM, "native:0", "asked");
  chx_from_host(s, CHX_F32, 1, (int64_t[]){2}, NULL);
  fails(CHX_EARG, "from_host", "8 bytes");
  chx_array *a = chx_ones(s, CHX_F32, 1, (int64_t[]){3});
  float v[3];
  chx_read(s, a, v, 8);
  fails(CHX_EARG, "read", "12");
  chx_item(s, a);
  fails(CHX_ESHAPE, "item", "[3]");
  chx_item_int(s, chx_ones(s, CHX_F32, 0, NULL));
  fails(CHX_EDTYPE, "item_int", "f32");
  chx_write(s, chx_transpose(s, chx_ones(s, CHX_F32, 2, (int64_t[]){2, 3}), 0, NULL), v, 24);
  fails(CHX_EARG, "write", "contiguous");
  chx_require_grad(s, chx_ones(s, CHX_I32, 0, NULL));
  fails(CHX_EDTYPE, "require_grad", "i32");
  chx_set_route(s, "nosuch", "kernel");
  fails(CHX_EARG, "nosuch", "want");
  chx_scope_set_fallback(s, 9);
  fails(CHX_EARG, "9", "want");
}

static void files(void)
{
  chx_load_npy(s, "/nonexistent/a.npy");
  fails(CHX_EIO, "/nonexistent/a.npy", "");
  chx_load_npy(s, file("short.npy", "\x93NUMPY\x01", 7));
  fails(chx_scope_error(s), "short.npy", "want");
  chx_npz_open(s, file("cut.npz", "PK\x03\x04 and no more", 16));
  fails(chx_scope_error(s), "cut.npz", "want");
  chx_save_npy(s, "/nonexistent/b.npy", chx_ones(s, CHX_F32, 0, NULL));
  fails(CHX_EIO, "/nonexistent/b.npy", "");
}

static void scopes(void)
{
  chx_scope *t = chx_scope_begin("native");
  chx_scope_end(t);
  ok(!chx_ones(t, CHX_F32, 0, NULL), "a call on an ended scope returns NULL");
  ok(chx_scope_error(t) == CHX_EARG && strstr(chx_scope_message(t), "ended"), "which says: %s", chx_scope_message(t));
  chx_scope_end(t);
  ok(!chx_ones(NULL, CHX_F32, 0, NULL) && chx_scope_error(NULL) == CHX_EARG, "a NULL scope: %s", chx_scope_message(NULL));
  chx_scope_end(NULL);
  chx_release(NULL);
  chx_npz_close(NULL);
  ok(!chx_keep(NULL) && chx_ndim(NULL) == -1 && chx_size(NULL) == -1 && !chx_shape(NULL), "NULL arrays are taken calmly");
}

int main(void)
{
  if (!mkdtemp(dir)) return 1;
  s = chx_scope_begin("native");
  devices();
  plugins();
  operands();
  creation();
  files();
  scopes();
  chx_scope_end(s);
  char command[300];
  snprintf(command, sizeof command, "rm -rf %s", dir);
  if (system(command)) note("%s is left", dir);
  return done_testing();
}
