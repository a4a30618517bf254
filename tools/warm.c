/* SPDX-License-Identifier: MIT
 * warm.c: `chx devices --warm D`: has a device compile what common programs need, so that they find it on disk:
 * operators by the lists below, and a few steps of the networks that `chx train` has. Whatever the backend compiles at
 * run time, it keeps as it always does.
 */
#include "warm.h"
#include <chx/nn.h>
#include <string.h>
#include <time.h>

static const char *const operators[] = {"add", "sub", "mul",  "div",    "maximum", "minimum", "neg",  "abs",
                                        "exp", "log", "sqrt", "square", "tanh",    "sigmoid", "relu", NULL};
static const int dtypes[] = {CHX_F32, CHX_F16, CHX_BF16, 0};
static const chx_nn_model_spec networks[] = {
    {.kind = "mlp", .chw = {1, 8, 8}, .classes = 10},
    {.kind = "mlp", .chw = {1, 28, 28}, .classes = 10},
    {.kind = "cnn", .chw = {1, 8, 8}, .classes = 10},
    {.kind = "cnn", .chw = {3, 32, 32}, .classes = 10},
};
static const char *const optimizers[] = {"sgd", "momentum", "adam", "adamw", NULL};
enum { NETWORKS = sizeof networks / sizeof *networks, BATCH = 32, EXAMPLES = 72 /* two full batches and a part */ };

static int warm_operators(chx_scope *s)
{
  int n = 0;
  for (const int *d = dtypes; *d; d++) {
    const size_t mark = chx_scope_mark(s);
    const chx_array *x[2] = {chx_ones(s, *d, 2, (int64_t[]){4, 8}), chx_ones(s, *d, 2, (int64_t[]){4, 8})};
    for (const char *const *name = operators; *name && !chx_scope_error(s); name++, n++) {
      const chx_op *op = chx_op_find(*name);
      chx_array *y = NULL;
      chx_apply(s, op, x, chx_op_n_inputs(op), NULL, &y, 1);
    }
    chx_scope_rewind(s, mark, NULL);
  }
  return n;
}

static void warm_network(chx_scope *s, const chx_nn_model_spec *spec, const char *optimizer)
{
  const int64_t *chw = spec->chw, columns = chw[0] * chw[1] * chw[2];
  chx_scope *host = chx_scope_begin("native:0");
  chx_nn_dataset *data = chx_nn_dataset_new(host, chx_uniform(host, CHX_F32, 2, (int64_t[]){EXAMPLES, columns}, 0, 1),
                                            chx_integers(host, CHX_I64, 1, (int64_t[]){EXAMPLES}, 0, spec->classes));
  chx_trainer_options p = chx_trainer_defaults();
  p.epochs = 1;
  p.batch = BATCH;
  chx_link *model = chx_nn_model_new(s, spec);
  chx_optimizer *o = chx_optimizer_by_name(s, optimizer, 0.01);
  chx_trainer *r = NULL;
  if (chx_scope_error(host)) chx_scope_fail(s, chx_scope_error(host), "%s", chx_scope_message(host));
  if (!chx_scope_error(s)) chx_link_fit_input(s, model, chx_nn_dataset_x(data));
  chx_optimizer_setup(s, o, model);
  if (!chx_scope_error(s)) r = chx_trainer_new(s, model, o, data, data, &p);
  if (r) chx_trainer_run(s, r);
  chx_trainer_free(r);
  chx_optimizer_free(o);
  chx_link_free(model);
  chx_nn_dataset_free(data);
  chx_scope_end(host);
}

int warm(const cli_command *c, const char *device)
{
  struct timespec t0, t1;
  int steps = 0;
  clock_gettime(CLOCK_MONOTONIC, &t0);
  chx_scope *s = chx_scope_begin(device);
  const int n = chx_scope_error(s) ? 0 : warm_operators(s);
  for (int k = 0; k < NETWORKS; k++)
    for (const char *const *o = optimizers; *o && !chx_scope_error(s); o++, steps++) warm_network(s, &networks[k], *o);
  if (!chx_scope_error(s)) chx_sync(s);
  clock_gettime(CLOCK_MONOTONIC, &t1);
  const double seconds = (double)(t1.tv_sec - t0.tv_sec) + 1e-9 * (double)(t1.tv_nsec - t0.tv_nsec);
  const int code = chx_scope_error(s)
                       ? cli_fail(c, "'chx devices' shows the devices that there are", "%s", chx_scope_message(s))
                       : 0;
  if (!code)
    printf("%s: %d operators and %d networks with their optimizers, %.1f s\n", chx_scope_device(s), n, steps, seconds);
  chx_scope_end(s);
  return code ? CLI_FAILED : CLI_OK;
}
