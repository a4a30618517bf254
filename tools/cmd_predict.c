/* SPDX-License-Identifier: MIT
 * cmd_predict.c: `chx predict`: a model's labels for a file of examples, one a line.
 */
#include "data.h"
#include "json.h"
#include <stdlib.h>
#include <string.h>

typedef struct predict_args {
  const char *model, *data, *device;
  int64_t batch, threads;
  int fallback, json;
} predict_args;

static const char *const policies[] = {"allow", "warn", "deny", NULL}; /* in the order of CHX_FALLBACK_* */

#define AT(field) .offset = offsetof(predict_args, field)
static const cli_option options[] = {
  {.name = "model", .type = CLI_FILE, AT(model), .arg = "M",
   .doc = "the model.npz or checkpoint.npz that chx train wrote. Required"},
  {.name = "data", .type = CLI_FILE, AT(data), .arg = "F",
   .doc = "the examples, as for chx train: the last column of a CSV is the label, with which the result is compared. "
          "Required"},
  {.name = "device", .type = CLI_DEVICE, AT(device), .arg = "D", .doc = "default $CHX_DEVICE, else native:0"},
  {.name = "batch", .type = CLI_WHOLE, AT(batch), .arg = "N", .min = 1, .max = 1e9, .doc = "examples at a time; default 256"},
  {.name = "fallback", .type = CLI_CHOICE, AT(fallback), .choices = policies,
   .doc = "what happens where the device lacks an operator; default $CHX_FALLBACK, else allow"},
  {.name = "threads", .type = CLI_WHOLE, AT(threads), .arg = "N", .max = 4096, .doc = "threads of the CPU, 0: all"},
  {.name = "json", .type = CLI_FLAG, AT(json), .doc = "print one JSON object in place of the lines"},
  {0},
};

static void print_json(const chx_scope *s, const int64_t *labels, int64_t n, double accuracy)
{
  json j = json_begin(stdout);

  json_object(&j, NULL);
  json_array(&j, "predictions");
  for (int64_t i = 0; i < n; i++)
    json_whole(&j, NULL, labels[i]);
  json_array_end(&j);
  json_real(&j, "accuracy", accuracy);
  json_string(&j, "device", chx_scope_device(s));
  cli_ledger_json(&j, "ledger");
  json_object_end(&j);
  json_end(&j);
}

/* The labels are compared here and not on the device: they are known to fit only the file. */
static int predict(const cli_command *c, chx_scope *s, chx_scope *host, chx_link *model, const chx_nn_dataset *d,
                   const predict_args *a)
{
  int64_t n = chx_nn_dataset_size(d), right = 0;
  int64_t *labels = calloc((size_t)n, sizeof *labels), *truth = calloc((size_t)n, sizeof *truth);
  chx_array *y = chx_nn_predict(s, model, chx_nn_dataset_x(d), a->batch, NULL);
  int code = CLI_OK;

  if (!labels || !truth)
    code = cli_fail(c, NULL, "out of memory for %lld labels", (long long)n);
  else if (chx_read(s, y, labels, (size_t)n * sizeof *labels))
    code = cli_scope_fail(c, s);
  else if (chx_read(host, chx_nn_dataset_t(d), truth, (size_t)n * sizeof *labels))
    code = cli_scope_fail(c, host);
  for (int64_t i = 0; !code && i < n; i++)
    right += labels[i] == truth[i];
  if (!code && a->json) {
    print_json(s, labels, n, (double)right / (double)n);
  } else if (!code) {
    for (int64_t i = 0; i < n; i++)
      printf("%lld\n", (long long)labels[i]);
    fflush(stdout);
    fprintf(stderr, "accuracy %.4f: %lld of %lld labels as in %s\n", (double)right / (double)n, (long long)right,
            (long long)n, a->data);
    cli_ledger_print(stderr, s);
  }
  free(labels);
  free(truth);
  return code;
}

static int load_model(const cli_command *c, chx_scope *s, const predict_args *a, chx_link **model, int64_t *columns)
{
  static const char next[] = "'--model M' wants a model.npz or checkpoint.npz that chx train wrote";
  chx_nn_model_spec spec;

  if (data_readable(c, a->model, next))
    return CLI_FAILED;
  *model = chx_nn_model_load(s, a->model, &spec);
  if (!*model)
    return cli_fail(c, next, "%s", chx_scope_message(s));
  *columns = spec.chw[0] * spec.chw[1] * spec.chw[2];
  return CLI_OK;
}

static int run(const cli_command *c, int argc, char **argv)
{
  predict_args a = {.batch = 256, .threads = -1, .fallback = -1};
  chx_scope *s, *host;
  chx_link *model = NULL;
  chx_nn_dataset *d = NULL;
  const char *words[1];
  int64_t columns = 0;
  int code;

  if (cli_parse(c, argc, argv, &a, words, &code) < 0)
    return code;
  if (!a.model || !a.data)
    return cli_usage(c, "--%s is missing", a.model ? "data F" : "model M");
  cli_log(0);
  if (a.threads >= 0)
    chx_set_threads((int)a.threads);
  host = chx_scope_begin("native:0");
  s = chx_scope_begin(a.device);
  if (a.fallback >= 0)
    chx_scope_set_fallback(s, a.fallback);
  if (chx_scope_error(host) || chx_scope_error(s))
    code = cli_scope_fail(c, chx_scope_error(s) ? s : host);
  if (!code)
    code = load_model(c, s, &a, &model, &columns);
  if (!code)
    code = data_load(c, host, "data", a.data, &d);
  if (!code && data_item_size(d) != columns)
    code = cli_fail(c, "the last column of a CSV is the label: examples without one need a column of zeros there",
                    "examples of %s have %lld columns and a label, the model wants %lld and a label", a.data,
                    (long long)data_item_size(d), (long long)columns);
  if (!code)
    code = data_flatten(c, host, d);
  if (!code)
    code = predict(c, s, host, model, d, &a);
  chx_nn_dataset_free(d);
  chx_link_free(model);
  chx_scope_end(s);
  chx_scope_end(host);
  return code;
}

const cli_command cmd_predict = {
  .name = "predict",
  .words = "",
  .brief = "a model's labels for a file of examples",
  .about = "Print the label that a model gives each example of a file, one a line, and on stderr how many agree with "
           "the file's own labels. The model file knows its network.",
  .options = options,
  .examples = "  chx predict --model chx-out/model.npz --data data/digits.csv.gz\n"
              "  chx predict --model chx-out/model.npz --data new.csv --json\n",
  .run = run,
};
