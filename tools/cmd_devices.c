/* SPDX-License-Identifier: MIT
 * cmd_devices.c: `chx devices`: the backends and devices there are; for a backend without one, what was tried.
 */
#include "cli.h"
#include "json.h"
#include "warm.h"
#include <string.h>

typedef struct devices_args { int json; const char *warm; } devices_args;

static const cli_option options[] = {
  {.name = "json", .type = CLI_FLAG, .offset = offsetof(devices_args, json), .doc = "print one JSON object"},
  {.name = "warm", .type = CLI_DEVICE, .offset = offsetof(devices_args, warm), .arg = "D",
   .doc = "instead, have D compile what common networks need, so that later programs find it on disk"},
  {0},
};

/* Prints a reason of several lines, or with parts set apart by "; ", one part a line. */
static void print_reason(const char *text)
{
  while (*text) {
    size_t n = strcspn(text, "\n;");
    printf("    %.*s\n", (int)n, text);
    text += n;
    text += strspn(text, "\n; ");
  }
}

static void print_device(const chx_device_state *d)
{
  char total[16], left[16], dtypes[128];

  printf("  %-12s %s%s%s\n", d->specifier, d->name ? d->name : "", d->vendor && *d->vendor ? ", " : "",
         d->vendor ? d->vendor : "");
  if (d->mem_total)
    printf("  %-12s memory %s%s%s%s\n", "", cli_bytes(d->mem_total, total), d->mem_free ? ", " : "",
           d->mem_free ? cli_bytes(d->mem_free, left) : "", d->mem_free ? " free" : "");
  printf("  %-12s %s%s%s%s\n", "", cli_dtypes(d->dtypes, 1, dtypes), d->is_host ? "; host memory" : "; memory of its own",
         d->bus_id && *d->bus_id ? "; bus " : "", d->bus_id ? d->bus_id : "");
}

/* Entry i, if it is of the backend that was named, or none was. */
static int entry(int i, const char *only, chx_backend_state *b)
{
  return chx_backend_at(i, b) == CHX_OK && (!only || strcmp(b->name, only) == 0);
}

static void print_all(int n, const char *only)
{
  chx_backend_state b;
  chx_device_state d;

  for (int i = 0; i < n; i++) {
    if (!entry(i, only, &b))
      continue;
    printf("%s%s%s%s", b.name, *b.version ? " " : "", b.version, *b.vendor ? ", " : "");
    printf("%s%s%s\n", b.vendor, *b.path ? ": " : "", b.path);
    if (b.n_devices == 0)
      puts("  no device:");
    if (*b.error)
      print_reason(b.error);
    for (int j = 0; j < b.n_devices; j++)
      if (chx_device_at(i, j, &d) == CHX_OK)
        print_device(&d);
  }
}

static void json_device(json *j, const chx_device_state *d)
{
  json_object(j, NULL);
  json_string(j, "device", d->specifier);
  json_string(j, "name", d->name ? d->name : "");
  json_string(j, "vendor", d->vendor ? d->vendor : "");
  json_string(j, "bus_id", d->bus_id ? d->bus_id : "");
  json_whole(j, "memory_bytes", (int64_t)d->mem_total);
  json_whole(j, "memory_free_bytes", (int64_t)d->mem_free);
  json_array(j, "dtypes");
  for (int t = 1; t < CHX_DTYPE_END; t++)
    if (d->dtypes & CHX_BIT(t))
      json_string(j, NULL, chx_dtype_name(t));
  json_array_end(j);
  json_bool(j, "host_memory", d->is_host);
  json_object_end(j);
}

static void json_all(int n, const char *only)
{
  json j = json_begin(stdout);
  chx_backend_state b;
  chx_device_state d;

  json_object(&j, NULL);
  json_array(&j, "backends");
  for (int i = 0; i < n; i++) {
    if (!entry(i, only, &b))
      continue;
    json_object(&j, NULL);
    json_string(&j, "name", b.name);
    json_string(&j, "version", b.version);
    json_string(&j, "vendor", b.vendor);
    json_string(&j, "file", b.path);
    json_string(&j, "error", b.error);
    json_array(&j, "devices");
    for (int k = 0; k < b.n_devices; k++)
      if (chx_device_at(i, k, &d) == CHX_OK)
        json_device(&j, &d);
    json_array_end(&j);
    json_object_end(&j);
  }
  json_array_end(&j);
  json_object_end(&j);
  json_end(&j);
}

/* Loads that backend and no other. What it says if it has no device is in its entry; without one there is no such backend. */
static int load_one(const cli_command *c, const char *name)
{
  chx_scope *s = chx_scope_begin(name);
  chx_backend_state b;
  int code = CLI_FAILED, n = chx_backend_count();

  if (strchr(name, ':')) {
    code = cli_usage(c, "'%s' is a device, want a backend, such as native", name);
  } else {
    for (int i = 0; i < n; i++)
      if (entry(i, name, &b))
        code = CLI_OK;
    if (code)
      code = cli_scope_fail(c, s);
  }
  chx_scope_end(s);
  return code;
}

static int run(const cli_command *c, int argc, char **argv)
{
  devices_args a = {0};
  const char *words[1] = {NULL};
  int code, n;

  if (cli_parse(c, argc, argv, &a, words, &code) < 0)
    return code;
  cli_log(0);
  if (a.warm)
    return warm(c, a.warm);
  if (words[0] && (code = load_one(c, words[0])))
    return code;
  n = words[0] ? chx_backend_count() : chx_backend_scan();
  if (n <= 0)
    return cli_fail(c, "CHX_PLUGIN_PATH may name folders with chx_NAME.so files, with ':' between them",
                    "no backend was found, not even native");
  if (a.json)
    json_all(n, words[0]);
  else
    print_all(n, words[0]);
  return CLI_OK;
}

const cli_command cmd_devices = {
  .name = "devices",
  .words = "[BACKEND]",
  .max_words = 1,
  .brief = "the backends and devices there are",
  .about = "List every backend that can be found, with its file and version, and its devices with their memory; "
           "for a backend that did not load or has no device, every path tried and the reason. With BACKEND: that one alone, "
           "and no other is loaded.",
  .options = options,
  .examples = "  chx devices\n"
              "  chx devices native\n"
              "  CHX_PLUGIN_PATH=$HOME/plugins chx devices\n"
              "  chx devices --json\n"
              "  chx devices --warm opencl:0\n",
  .run = run,
};
