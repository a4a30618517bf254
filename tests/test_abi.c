/* SPDX-License-Identifier: MIT
 * test_abi.c: the layout of everything that crosses the line between core and plugin: each field's offset and size, and the
 * numbers of codes and dtypes, against the dump in tests/abi/layout.txt. A line of the dump that is no longer true is a
 * broken ABI; what is new must be added to it (run with the argument "dump"), at the end of its struct.
 */
#include "check.h"
#include <chx/plugin.h>

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

int main(int argc, char **argv)
{
  structs();
  attributes();
  numbers();
  if (argc > 1 && !strcmp(argv[1], "dump")) {
    for (int i = 0; i < n_lines; i++) puts(lines[i]);
    return 0;
  }
  char path[4096], text[128];
  snprintf(path, sizeof path, "%s/tests/abi/layout.txt", getenv("CHX_SRCDIR") ? getenv("CHX_SRCDIR") : ".");
  FILE *f = fopen(path, "r");
  int frozen = 0, broken = 0, named = 0;
  ok(f != NULL, "%s is there", path);
  while (f && fgets(text, sizeof text, f)) {
    text[strcspn(text, "\n")] = 0;
    frozen++;
    if (is_there(text)) continue;
    if (strstr(text, " size ")) { /* a struct may have grown */
      named++;
      continue;
    }
    note("no longer true: %s", text);
    broken++;
  }
  if (f) fclose(f);
  is_int(broken, 0, "of %d frozen offsets and numbers (%d structs have grown)", frozen, named);
  ok(frozen > 300 && n_lines >= frozen, "%d lines are frozen, %d are there", frozen, n_lines);
  return done_testing();
}
