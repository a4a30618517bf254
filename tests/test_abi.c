/* SPDX-License-Identifier: MIT
 * test_abi.c: the layout of everything that crosses the line between core and plugin: each field's offset and size, and the
 * numbers of codes and dtypes, against the dump in tests/abi/layout.txt. A line of the dump that is no longer true is a
 * broken ABI; what is new must be added to it (run with the argument "dump"), at the end of its struct. Each frozen
 * version keeps its own dump, tests/abi/vN/layout.txt, from which today's may differ by what was appended alone.
 */
#include "check.h"
#include <chx/plugin.h>
#include <glob.h>

static char lines[1024][96];
static int n_lines;

static void line(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void line(const char *format, ...)
{
  va_list args;
  va_start(args, format);
  if (n_lines < 1024) vsnprintf(lines[n_lines++], sizeof lines[0], format, args);
  va_end(args);
}

#define F(type, field) line(#type " " #field " %zu %zu", offsetof(type, field), sizeof(((type *)0)->field));

static void structs(void)
{
  F(chx_host, size)
  F(chx_host, abi_minor)
  F(chx_host, ctx)
  F(chx_host, fail)
  F(chx_host, log)
  F(chx_host, scratch)
  F(chx_host, parallel_for)
  F(chx_host, option)
  F(chx_host, extension)
  line("chx_host - size %zu", sizeof(chx_host));
  F(chx_tensor, data)
  F(chx_tensor, dl_type)
  F(chx_tensor, dl_id)
  F(chx_tensor, ndim)
  F(chx_tensor, code)
  F(chx_tensor, bits)
  F(chx_tensor, lanes)
  F(chx_tensor, shape)
  F(chx_tensor, strides)
  F(chx_tensor, byte_offset)
  F(chx_tensor, buf)
  F(chx_tensor, flags)
  F(chx_tensor, extent)
  F(chx_tensor, imm)
  line("chx_tensor - size %zu", sizeof(chx_tensor));
  F(chx_buffer, size)
  F(chx_buffer, flags)
  F(chx_buffer, handle)
  F(chx_buffer, host_ptr)
  F(chx_buffer, bytes)
  line("chx_buffer - size %zu", sizeof(chx_buffer));
  F(chx_call, size)
  F(chx_call, op_version)
  F(chx_call, dev)
  F(chx_call, queue)
  F(chx_call, in)
  F(chx_call, out)
  F(chx_call, n_in)
  F(chx_call, n_out)
  F(chx_call, attr)
  F(chx_call, plan)
  F(chx_call, workspace)
  F(chx_call, workspace_bytes)
  F(chx_call, flags)
  F(chx_call, host_state)
  line("chx_call - size %zu", sizeof(chx_call));
  F(chx_kernel, size)
  F(chx_kernel, attr_size)
  F(chx_kernel, op)
  F(chx_kernel, min_version)
  F(chx_kernel, max_version)
  F(chx_kernel, dtypes_in)
  F(chx_kernel, dtypes_out)
  F(chx_kernel, max_rank)
  F(chx_kernel, flags)
  F(chx_kernel, alias_ok)
  F(chx_kernel, accepts)
  F(chx_kernel, prepare)
  F(chx_kernel, drop)
  F(chx_kernel, run)
  F(chx_kernel, self)
  line("chx_kernel - size %zu", sizeof(chx_kernel));
  F(chx_device_info, size)
  F(chx_device_info, flags)
  F(chx_device_info, name)
  F(chx_device_info, vendor)
  F(chx_device_info, bus_id)
  F(chx_device_info, dl_type)
  F(chx_device_info, dl_id)
  F(chx_device_info, dtypes)
  F(chx_device_info, mem_total)
  F(chx_device_info, mem_free)
  F(chx_device_info, max_alloc)
  F(chx_device_info, alignment)
  line("chx_device_info - size %zu", sizeof(chx_device_info));
  F(chx_device_ops, size)
  F(chx_device_ops, flags)
  F(chx_device_ops, info)
  F(chx_device_ops, kernel)
  F(chx_device_ops, alloc)
  F(chx_device_ops, release)
  F(chx_device_ops, copy)
  F(chx_device_ops, map)
  F(chx_device_ops, unmap)
  F(chx_device_ops, import_host)
  F(chx_device_ops, import_native)
  F(chx_device_ops, queue_new)
  F(chx_device_ops, queue_free)
  F(chx_device_ops, queue_mark)
  F(chx_device_ops, queue_wait)
  F(chx_device_ops, queue_sync)
  F(chx_device_ops, queue_call)
  F(chx_device_ops, queue_native)
  F(chx_device_ops, extension)
  line("chx_device_ops - size %zu", sizeof(chx_device_ops));
  F(chx_plugin, size)
  F(chx_plugin, abi_minor)
  F(chx_plugin, name)
  F(chx_plugin, version)
  F(chx_plugin, vendor)
  F(chx_plugin, build)
  F(chx_plugin, open)
  F(chx_plugin, device_count)
  F(chx_plugin, device_open)
  F(chx_plugin, device_ops)
  F(chx_plugin, device_close)
  F(chx_plugin, close)
  F(chx_plugin, score)
  line("chx_plugin - size %zu", sizeof(chx_plugin));
  F(chx_region_node, op)
  F(chx_region_node, op_version)
  F(chx_region_node, attr)
  F(chx_region_node, in)
  F(chx_region_node, out)
  F(chx_region_node, n_in)
  F(chx_region_node, n_out)
  line("chx_region_node - size %zu", sizeof(chx_region_node));
  F(chx_region_ops, size)
  F(chx_region_ops, flags)
  F(chx_region_ops, claim)
  F(chx_region_ops, build)
  F(chx_region_ops, run)
  F(chx_region_ops, drop)
  line("chx_region_ops - size %zu", sizeof(chx_region_ops));
  F(chx_arg, kind)
  F(chx_arg, tensor)
  F(chx_arg, bytes)
  F(chx_arg, n)
  line("chx_arg - size %zu", sizeof(chx_arg));
  F(chx_rtc_ops, size)
  F(chx_rtc_ops, flags)
  F(chx_rtc_ops, languages)
  F(chx_rtc_ops, prelude)
  F(chx_rtc_ops, build)
  F(chx_rtc_ops, launch)
  F(chx_rtc_ops, binary)
  F(chx_rtc_ops, drop)
  line("chx_rtc_ops - size %zu", sizeof(chx_rtc_ops));
  F(chx_peer_ops, size)
  F(chx_peer_ops, flags)
  F(chx_peer_ops, can)
  F(chx_peer_ops, copy)
  line("chx_peer_ops - size %zu", sizeof(chx_peer_ops));
  F(chx_capture_ops, size)
  F(chx_capture_ops, flags)
  F(chx_capture_ops, begin)
  F(chx_capture_ops, end)
  F(chx_capture_ops, launch)
  F(chx_capture_ops, drop)
  line("chx_capture_ops - size %zu", sizeof(chx_capture_ops));
  F(chx_host_kernels, size)
  F(chx_host_kernels, flags)
  F(chx_host_kernels, kernel)
  line("chx_host_kernels - size %zu", sizeof(chx_host_kernels));
  F(chx_op_operand, name)
  F(chx_op_operand, dtypes)
  F(chx_op_operand, flags)
  line("chx_op_operand - size %zu", sizeof(chx_op_operand));
  F(chx_op_field, name)
  F(chx_op_field, doc)
  F(chx_op_field, type)
  F(chx_op_field, offset)
  F(chx_op_field, def)
  line("chx_op_field - size %zu", sizeof(chx_op_field));
  F(chx_op_result, dtype)
  F(chx_op_result, ndim)
  F(chx_op_result, shape)
  line("chx_op_result - size %zu", sizeof(chx_op_result));
  F(chx_op_bind, from)
  F(chx_op_bind, to)
  F(chx_op_bind, bytes)
  F(chx_op_bind, reserved)
  line("chx_op_bind - size %zu", sizeof(chx_op_bind));
  F(chx_op_step, op)
  F(chx_op_step, attr)
  F(chx_op_step, in)
  F(chx_op_step, bind)
  F(chx_op_step, n_in)
  F(chx_op_step, n_bind)
  line("chx_op_step - size %zu", sizeof(chx_op_step));
  F(chx_op_body, size)
  F(chx_op_body, flags)
  F(chx_op_body, step)
  F(chx_op_body, constants)
  F(chx_op_body, result)
  F(chx_op_body, n_steps)
  F(chx_op_body, n_constants)
  line("chx_op_body - size %zu", sizeof(chx_op_body));
  F(chx_op_decl, size)
  F(chx_op_decl, version)
  F(chx_op_decl, name)
  F(chx_op_decl, doc)
  F(chx_op_decl, in)
  F(chx_op_decl, out)
  F(chx_op_decl, n_in)
  F(chx_op_decl, n_out)
  F(chx_op_decl, n_fields)
  F(chx_op_decl, attr_size)
  F(chx_op_decl, field)
  F(chx_op_decl, dtypes)
  F(chx_op_decl, shape)
  F(chx_op_decl, flags)
  F(chx_op_decl, infer)
  F(chx_op_decl, self)
  F(chx_op_decl, body)
  F(chx_op_decl, grad)
  line("chx_op_decl - size %zu", sizeof(chx_op_decl));
  F(chx_op_host, size)
  F(chx_op_host, flags)
  F(chx_op_host, declare)
  line("chx_op_host - size %zu", sizeof(chx_op_host));
}

/* Attributes by their own schema: a kernel reads them by these offsets. */
static void attributes(void)
{
  for (int i = 0; i < chx_op_count(); i++) {
    const chx_op *op = chx_op_at(i);
    for (int k = 0; k < chx_op_n_attrs(op); k++) {
      const chx_op_attr *a = chx_op_attr_at(op, k);
      line("attr %s %s %u type %d", chx_op_name(op), a->name, a->offset, a->type);
    }
  }
}

static void numbers(void)
{
#define CHX_ERR(ID, number, sentence) line("code " #ID " %d", CHX_##ID);
#include <chx/errors.def>
#define CHX_DT(ID, number, name, ctype, code, bits, kind) line("dtype " #ID " %d code %d bits %d", CHX_##ID, code, bits);
#include <chx/dtype.def>
}

static bool is_there(const char *l)
{
  for (int i = 0; i < n_lines; i++)
    if (!strcmp(lines[i], l)) return true;
  return false;
}

/* ---- a dump, taken apart ---------------------------------------------------------------------------------------------- */

enum { FIELD = 1, SIZE, ATTRIBUTE, NUMBER };
typedef struct entry {
  int kind;
  char of[64], name[64]; /* struct or operator and its field; "code" or "dtype" and its ID */
  size_t at, size;       /* NUMBER: at is the number */
} entry;

static entry parse(const char *l)
{
  static const size_t sizes[] = {[CHX_ATTR_INTS] = sizeof(chx_ints), [CHX_ATTR_PROGRAM] = sizeof(chx_program)};
  entry e = {0};
  int attr_type;
  if (sscanf(l, "attr %63s %63s %zu type %d", e.of, e.name, &e.at, &attr_type) == 4) {
    e.kind = ATTRIBUTE;
    e.size = attr_type >= CHX_ATTR_INTS && attr_type <= CHX_ATTR_PROGRAM ? sizes[attr_type] : 8;
  } else if (sscanf(l, "%63s - size %zu", e.of, &e.size) == 2)
    e.kind = SIZE;
  else if (sscanf(l, "code %63s %zu", e.name, &e.at) == 2 || sscanf(l, "dtype %63s %zu", e.name, &e.at) == 2) {
    e.kind = NUMBER;
    sscanf(l, "%63s", e.of);
  } else if (sscanf(l, "%63s %63s %zu %zu", e.of, e.name, &e.at, &e.size) == 4)
    e.kind = FIELD;
  return e;
}

/* Structs whose arrays cross the line: they never grow. */
static bool is_frozen(const char *name)
{
  static const char *const frozen[] = {"chx_tensor", "chx_region_node", "chx_arg", "chx_op_operand", "chx_op_field", "chx_op_result", "chx_op_bind",
                                       "chx_op_step"};
  for (int i = 0; i < (int)(sizeof frozen / sizeof *frozen); i++)
    if (!strcmp(name, frozen[i])) return true;
  return false;
}

static int read_dump(const char *path, char (*text)[96], int most)
{
  FILE *f = fopen(path, "r");
  int n = 0;
  if (!ok(f != NULL, "%s is there", path)) return 0;
  while (n < most && fgets(text[n], sizeof *text, f)) text[n][strcspn(text[n], "\n")] = 0, n++;
  fclose(f);
  return n;
}

/* The listed fields of a struct fill it: none is missing in this file, and there is no padding that a field could take. */
static void no_holes(void)
{
  size_t end = 0;
  for (int i = 0; i < n_lines; i++) {
    entry e = parse(lines[i]);
    if (e.kind == SIZE) {
      ok(e.size == end, "%s: its listed fields end at its end, %zu", e.of, e.size);
      end = 0;
    } else if (e.kind == FIELD) {
      if (e.at != end) ok(false, "%s %s is at %zu, want it right after the field before it, at %zu", e.of, e.name, e.at, end);
      end = e.at + e.size;
    }
  }
}

/* ---- against a frozen version ------------------------------------------------------------------------------------------- */

/* Why line l of today is not allowed after `old`, n lines; NULL: it is, or was there. */
static const char *trespass(const char *l, const char (*old)[96], int n)
{
  entry now = parse(l);
  for (int i = 0; i < n; i++) {
    if (!strcmp(old[i], l)) return NULL;
    entry was = parse(old[i]);
    if (was.kind != now.kind && !(was.kind == SIZE && now.kind == FIELD)) continue;
    if (strcmp(was.of, now.of)) continue;
    if (now.kind == SIZE && now.size < was.size) return "the struct has shrunk";
    if (now.kind == SIZE && now.size > was.size && is_frozen(now.of)) return "the struct is frozen and has grown";
    if (now.kind == FIELD && was.kind == SIZE && now.at < was.size) return "the field is not at the struct's end";
    if (now.kind == ATTRIBUTE && now.at < was.at + was.size) return "the attribute is not at the struct's end";
    if (now.kind == NUMBER && now.at == was.at) return "the number was another's";
  }
  return NULL;
}

static void since(const char *path)
{
  static char old[1024][96];
  int n = read_dump(path, old, 1024), bad = 0, minor = -1;
  const char *version = strstr(path, "/abi/v1.");
  if (version) sscanf(version, "/abi/v1.%d", &minor);
  ok(minor >= 0 && (n == n_lines ? CHX_ABI_MINOR >= minor : CHX_ABI_MINOR > minor),
     "CHX_ABI_MINOR is %d; %s has %d lines, today %d: greater than %d if something was appended", CHX_ABI_MINOR, path, n, n_lines, minor);
  for (int i = 0; i < n; i++)
    if (parse(old[i]).kind != SIZE && !is_there(old[i])) {
      note("no longer true: %s", old[i]);
      bad++;
    }
  for (int i = 0; i < n_lines; i++) {
    const char *why = trespass(lines[i], (const char (*)[96])old, n);
    if (!why) continue;
    note("%s: %s", lines[i], why);
    bad++;
  }
  ok(n > 300 && !bad, "%d lines of %s: %d no longer hold, or were changed in another way than by appending", n, path, bad);
}

/* The judge itself: each of these lines is refused after the one before it. */
static void judge(void)
{
  static const char old[][96] = {"chx_call size 0 4", "chx_call - size 96", "chx_tensor - size 88", "attr conv pad 144 type 5", "code EARG 2"};
  static const char *const bad[] = {"chx_call more 92 4", "chx_call - size 88", "chx_tensor - size 96", "attr conv more 272 type 1", "code EMORE 2"};
  static const char *const good[] = {"chx_call more 96 8", "chx_call - size 104", "chx_tensor - size 88", "attr conv more 280 type 1", "code EMORE 99"};
  for (int i = 0; i < 5; i++) {
    const char *why = trespass(bad[i], old, 5);
    ok(why != NULL, "refused: %s: %s", bad[i], why ? why : "");
    ok(!trespass(good[i], old, 5), "allowed: %s", good[i]);
  }
}

int main(int argc, char **argv)
{
  structs();
  attributes();
  numbers();
  if (argc > 1 && !strcmp(argv[1], "dump")) {
    for (int i = 0; i < n_lines; i++) puts(lines[i]);
    return 0;
  }
  static char text[1024][96];
  char path[4096];
  const char *dir = getenv("CHX_SRCDIR") ? getenv("CHX_SRCDIR") : ".";
  snprintf(path, sizeof path, "%s/tests/abi/layout.txt", dir);
  const int n = read_dump(path, text, 1024);
  int gone = 0, missing = 0;
  for (int i = 0; i < n; i++)
    if (!is_there(text[i])) {
      note("no longer true: %s", text[i]);
      gone++;
    }
  for (int i = 0; i < n_lines; i++) {
    int k = 0;
    while (k < n && strcmp(lines[i], text[k])) k++;
    if (k < n) continue;
    note("to be added: %s", lines[i]);
    missing++;
  }
  is_int(gone, 0, "of %d listed offsets and numbers all are true", n);
  is_int(missing, 0, "of %d offsets and numbers all are listed", n_lines);
  ok(n_lines < 1024, "%d lines, there is room for 1024", n_lines);
  no_holes();
  judge();
  glob_t versions;
  snprintf(path, sizeof path, "%s/tests/abi/v*/layout.txt", dir);
  if (ok(!glob(path, 0, NULL, &versions), "there are frozen versions"))
    for (size_t i = 0; i < versions.gl_pathc; i++) since(versions.gl_pathv[i]);
  globfree(&versions);
  return done_testing();
}
