/* SPDX-License-Identifier: MIT
 * cmd_bench.c: `chx bench overhead`: interleaved samples of overhead.h's cases, and their medians.
 */
#include "cli.h"
#include "json.h"
#include "overhead.h"
#include <stdlib.h>
#include <string.h>

typedef struct bench_args {
  const char *device;
  int64_t repeat, threads;
  int json;
} bench_args;

typedef struct bench_row { double median, min, p90; } bench_row;

#define AT(field) .offset = offsetof(bench_args, field)
static const cli_option options[] = {
  {.name = "device", .type = CLI_DEVICE, AT(device), .arg = "D", .doc = "default $CHX_DEVICE, else native:0"},
  {.name = "repeat", .type = CLI_WHOLE, AT(repeat), .arg = "N", .min = 1, .max = 100000,
   .doc = "samples of each case, taken in turn with those of the others; default 51"},
  {.name = "threads", .type = CLI_WHOLE, AT(threads), .arg = "N", .max = 4096,
   .doc = "threads of the CPU that an operator may use, 0: all; default 1"},
  {.name = "json", .type = CLI_FLAG, AT(json), .doc = "print one JSON object"},
  {0},
};

/* Each round takes one sample of every case, so that a slow second of the machine touches all alike. */
static int measure(chx_scope *s, int repeat, bench_row *rows)
{
  int n = overhead_count();
  double *samples = calloc((size_t)n * (size_t)repeat, sizeof *samples);
  overhead *o = samples ? overhead_new(s) : NULL;

  if (!samples)
    chx_scope_fail(s, CHX_ENOMEM, "bench: out of memory for %d samples", repeat);
  for (int r = 0; o && r < repeat; r++)
    for (int i = 0; i < n; i++)
      samples[i * repeat + r] = overhead_sample(o, i);
  for (int i = 0; o && i < n; i++) {
    double *v = samples + (size_t)i * (size_t)repeat;
    rows[i] = (bench_row){overhead_quantile(v, repeat, 0.5), overhead_quantile(v, repeat, 0),
                          overhead_quantile(v, repeat, 0.9)};
  }
  overhead_free(o);
  free(samples);
  return !chx_scope_error(s);
}

static int is_step(int i)
{
  return strcmp(overhead_op(i), "mlp_step") == 0;
}

static void print_text(const chx_scope *s, const bench_args *a, const bench_row *rows)
{
  printf("ns per call on 4 elements (matmul: 4x4), f32, %s, %d thread%s, %lld samples each\n\n", chx_scope_device(s),
         chx_threads(), chx_threads() == 1 ? "" : "s", (long long)a->repeat);
  printf("%-10s %-9s %9s %9s %9s\n", "operator", "recorded", "median", "least", "90%");
  for (int i = 0; i < overhead_count(); i++)
    if (!is_step(i))
      printf("%-10s %-9s %9.1f %9.1f %9.1f\n", overhead_op(i), overhead_recorded(i) ? "yes" : "no", rows[i].median,
             rows[i].min, rows[i].p90);
  for (int i = 0; i < overhead_count(); i++)
    if (is_step(i))
      printf("\ntraining step of an MLP 64-32-10, batch 32, SGD: %.1f us (least %.1f, 90%% %.1f)\n",
             rows[i].median / 1e3, rows[i].min / 1e3, rows[i].p90 / 1e3);
  puts("\nRecorded: an operand requires a gradient. Results and their graph nodes are dropped after each call.");
}

static void print_json(const bench_row *rows)
{
  json j = json_begin(stdout);

  json_object(&j, NULL);
  json_array(&j, "rows");
  for (int i = 0; i < overhead_count(); i++) {
    if (is_step(i))
      continue;
    json_object(&j, NULL);
    json_string(&j, "op", overhead_op(i));
    json_bool(&j, "recorded", overhead_recorded(i));
    json_real(&j, "ns", rows[i].median);
    json_real(&j, "ns_min", rows[i].min);
    json_object_end(&j);
  }
  json_array_end(&j);
  for (int i = 0; i < overhead_count(); i++)
    if (is_step(i))
      json_real(&j, "mlp_step_us", rows[i].median / 1e3);
  json_object_end(&j);
  json_end(&j);
}

static int run(const cli_command *c, int argc, char **argv)
{
  bench_args a = {.repeat = 51, .threads = 1};
  const char *words[1];
  bench_row rows[64];
  chx_scope *s;
  int code;

  if (cli_parse(c, argc, argv, &a, words, &code) < 0)
    return code;
  cli_log(0);
  chx_set_threads((int)a.threads);
  s = chx_scope_begin(a.device);
  if (chx_scope_error(s) || !measure(s, (int)a.repeat, rows))
    code = cli_scope_fail(c, s);
  else if (a.json)
    print_json(rows);
  else
    print_text(s, &a, rows);
  chx_scope_end(s);
  return code;
}

static const char *const kinds[] = {"overhead", NULL};

const cli_command cmd_bench = {
  .name = "bench",
  .words = "overhead",
  .min_words = 1,
  .max_words = 1,
  .choices = kinds,
  .brief = "what a call costs",
  .about = "Measure what calls of operators on 4 elements cost, with and without recording, and a training step of a "
           "small network: medians of interleaved samples.",
  .options = options,
  .examples = "  chx bench overhead\n"
              "  chx bench overhead --repeat 201 --json\n"
              "  chx bench overhead --device sample:0\n",
  .run = run,
};
