/* SPDX-License-Identifier: MIT
 * cli.c: how the command speaks: errors, the library's messages, units.
 */
#include "cli.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void say(const cli_command *c, const char *format, va_list ap)
{
  fprintf(stderr, c ? "chx %s: " : "chx: ", c ? c->name : "");
  vfprintf(stderr, format, ap);
  fputc('\n', stderr);
}

int cli_usage(const cli_command *c, const char *format, ...)
{
  va_list ap;

  va_start(ap, format);
  say(c, format, ap);
  va_end(ap);
  if (c)
    fprintf(stderr, "  'chx %s --help' shows its options, with examples\n", c->name);
  else
    fputs("  'chx --help' lists the commands\n", stderr);
  return CLI_USAGE;
}

int cli_fail(const cli_command *c, const char *next, const char *format, ...)
{
  va_list ap;

  va_start(ap, format);
  say(c, format, ap);
  va_end(ap);
  if (next)
    fprintf(stderr, "  %s\n", next);
  return CLI_FAILED;
}

/* Advice that names the devices there are: all of them, where the library's own message knows those loaded so far. */
static const char *device_advice(char out[512])
{
  size_t n = (size_t)snprintf(out, 512, "there are ");
  chx_device_state d;

  for (int i = 0, backends = chx_backend_scan(); i < backends; i++)
    for (int j = 0; chx_device_at(i, j, &d) == CHX_OK && n < 400; j++)
      n += (size_t)snprintf(out + n, 512 - n, "%s%s", n > 10 ? ", " : "", d.specifier);
  snprintf(out + n, 512 - n, "%s; 'chx devices' shows more, and why a backend did not load", n > 10 ? "" : "none");
  return out;
}

int cli_scope_fail(const cli_command *c, const chx_scope *s)
{
  chx_status code = chx_scope_error(s);
  const char *text = chx_scope_message(s);
  const char *next = NULL;
  char devices[512];

  if (strstr(text, "fallback"))
    next = "'--fallback allow' runs it elsewhere; 'chx ops --device D' shows which operators a device has";
  else if (code == CHX_EDEVICE)
    next = device_advice(devices);
  else if (code == CHX_ENOMEM)
    next = "use less memory ('--batch' in train), or another device: 'chx devices' shows how much each has";
  return cli_fail(c, next, "%s", *text ? text : chx_status_text(code));
}

static void log_line(void *ctx, int level, const char *message)
{
  static const char *const tag[] = {"error: ", "warning: ", "", "trace: "};

  (void)ctx;
  fprintf(stderr, "chx: %s%s\n", level >= 0 && level <= 3 ? tag[level] : "", message);
}

void cli_log(int trace)
{
  chx_set_log(log_line, NULL, trace ? 3 : 1);
}

const char *cli_bytes(uint64_t bytes, char out[16])
{
  static const char *const unit[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double v = (double)bytes / 1024;
  int u = 0;

  if (bytes < 1024) {
    snprintf(out, 16, "%d B", (int)bytes);
    return out;
  }
  for (; v >= 1000 && u < 5; u++)
    v /= 1024;
  snprintf(out, 16, v < 99.95 ? "%.1f %s" : "%.0f %s", v, unit[u]);
  return out;
}

const char *cli_duration(double seconds, char out[16])
{
  if (seconds < 1e-3)
    snprintf(out, 16, "%.1f us", seconds * 1e6);
  else if (seconds < 1)
    snprintf(out, 16, "%.1f ms", seconds * 1e3);
  else if (seconds < 1e6)
    snprintf(out, 16, "%.1f s", seconds);
  else
    snprintf(out, 16, "%.3g s", seconds);
  return out;
}

const char *cli_dtypes(uint64_t set, int brief, char out[128])
{
  static const struct { uint64_t set; const char *name; } group[] = {
    {CHX_ANY_REAL, "all"}, {CHX_NUMBERS, "numbers"}, {CHX_INTEGERS, "ints"}, {CHX_FLOATS, "floats"},
  };
  size_t n = 0;

  out[0] = 0;
  for (size_t i = 0; brief && i < sizeof group / sizeof group[0]; i++)
    if ((set & group[i].set) == group[i].set) {
      n += (size_t)snprintf(out + n, 128 - n, "%s%s", n ? " " : "", group[i].name);
      set &= ~group[i].set;
    }
  for (int d = 1; d < CHX_DTYPE_END; d++)
    if ((set & CHX_BIT(d)) && n < 120)
      n += (size_t)snprintf(out + n, 128 - n, "%s%s", n ? " " : "", chx_dtype_name(d));
  return out;
}
