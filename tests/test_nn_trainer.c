/* SPDX-License-Identifier: MIT
 * test_nn_trainer.c: training reaches what it should, shows and writes what it says, stops when asked; evaluation and prediction.
 */
#include "check.h"
#include <chx/nn.h>
#include <unistd.h>

static char dir[64] = "/tmp/chx-nn-XXXXXX";
static const char *in_dir(const char *name)
{
  static char path[4][128];
  static int turn;
  char *p = path[turn++ & 3];
  snprintf(p, sizeof *path, "%s/%s", dir, name);
  return p;
}

static char *contents(const char *path)
{
  FILE *f = fopen(path, "r");
  char *text = calloc(1, 1 << 16);
  if (f) {
    if (fread(text, 1, (1 << 16) - 1, f) == 0) *text = 0;
    fclose(f);
  }
  return text;
}

static int count(const char *text, const char *word)
{
  int n = 0;
  for (; (text = strstr(text, word)); text += strlen(word)) n++;
  return n;
}

/* Three well separated classes. */
static chx_nn_dataset *blobs(chx_scope *s, int64_t n)
{
  chx_array *t = chx_integers(s, CHX_I64, 1, &n, 0, 3);
  chx_array *x = chx_add(s, chx_normal(s, CHX_F32, 2, (int64_t[]){n, 16}, 0, 1),
                         chx_mul(s, chx_cast(s, chx_expand_dims(s, t, 1), CHX_F32), chx_real(s, 3)));
  return chx_nn_dataset_new(s, x, t);
}

typedef struct seen { int steps, epochs, stop_after; volatile sig_atomic_t *flag; chx_trainer_report last; } seen;
static int watch(void *ctx, chx_scope *s, int event, const chx_trainer_report *e)
{
  seen *q = ctx;
  (void)s;
  q->steps += event == CHX_TRAINER_STEP;
  q->epochs += event == CHX_TRAINER_EPOCH;
  q->last = *e;
  if (q->flag && q->steps == q->stop_after) *q->flag = 1;
  return !q->flag && q->steps == q->stop_after;
}

static void test_run(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_nn_dataset *train, *test;
  chx_trainer_options p = chx_trainer_defaults();
  seen q = {.stop_after = -1};
  const char *log = in_dir("log.csv"), *curve = in_dir("curve.svg"), *shown = in_dir("shown.txt"), *check = in_dir("c.npz");
  volatile sig_atomic_t stop = 0;
  int64_t n;
  char *text;
  double loss, accuracy;

  chx_scope_seed(s, 1);
  train = blobs(s, 100);
  test = blobs(s, 40);
  chx_link *l = chx_nn_mlp(s, 2, (int64_t[]){16, 3});
  chx_link_fit_input(s, l, chx_nn_dataset_x(train));
  chx_optimizer *o = chx_optimizer_by_name(s, "adam", 0.01);
  chx_optimizer_setup(s, o, l);
  p.epochs = 6;
  p.batch = 32;
  p.log = log;
  p.curve = curve;
  p.checkpoint = check;
  p.progress = fopen(shown, "w");
  p.callback = watch;
  p.ctx = &q;
  p.stop = &stop;
  chx_trainer *r = chx_trainer_new(s, l, o, train, test, &p);
  is_int(chx_trainer_run(s, r), CHX_OK, "runs: %s", chx_scope_message(s));
  const chx_trainer_report *h = chx_trainer_history(r, &n);
  is_int(n, 6, "six epochs");
  ok(n == 6 && h[5].loss < h[0].loss && h[5].accuracy > 0.9, "it learns: loss %.3f to %.3f, accuracy %.3f", h[0].loss, h[5].loss, h[5].accuracy);
  ok(q.steps == 24 && q.epochs == 6 && q.last.items == 100 && q.last.step == 24, "callbacks: 24 steps of 4 an epoch, 6 epochs");
  is_int(chx_optimizer_epoch(o), 6, "the optimizer counts epochs");
  chx_nn_evaluate(s, l, test, 7, NULL, NULL, &loss, &accuracy);
  is_close(loss, h[5].test_loss, 1e-6, "evaluate: the last test loss, whatever the batch");
  is_close(accuracy, h[5].test_accuracy, 0, "evaluate: the last test accuracy");
  ok(chx_link_is_train(l), "evaluate leaves the mode");

  chx_array *scores, *y = chx_nn_predict(s, l, chx_nn_dataset_x(test), 7, &scores);
  double right = chx_item(s, chx_mean(s, chx_cast(s, chx_equal(s, y, chx_nn_dataset_t(test)), CHX_F32), 0, NULL, 0));
  is_close(right, accuracy, 1e-6, "predict agrees with evaluate");
  ok(scores && chx_shape(scores)[0] == 40 && chx_shape(scores)[1] == 3, "predict: scores [40,3]");

  fclose(p.progress);
  text = contents(shown);
  ok(count(text, "\n") == 6 && !strchr(text, '\r') && !strchr(text, '\033'), "in a file: a plain line an epoch");
  ok(!strncmp(text, "epoch 1/6  loss ", 16) && strstr(text, "accuracy") && strstr(text, "items/s"), "%.70s", text);
  free(text);
  text = contents(log);
  ok(count(text, "\n") == 7 && !strncmp(text, "epoch,step,loss,accuracy,test_loss,test_accuracy,items_per_second,seconds,lr\n1,4,", 80), "log: a header and a line an epoch");
  free(text);
  text = contents(curve);
  ok(!strncmp(text, "<svg ", 5) && strstr(text, "</svg>\n") && count(text, "<polyline") == 4 && !strstr(text, "nan"), "curve: an SVG of four lines");
  free(text);

  stop = 1; /* as by Ctrl-C before anything */
  chx_trainer_free(r);
  p.progress = NULL;
  chx_optimizer_setup(s, o, l);
  r = chx_trainer_new(s, l, o, train, NULL, &p);
  chx_trainer_run(s, r);
  ok(chx_trainer_is_stopped(r) && chx_optimizer_t(o) == 0 && !access(check, R_OK), "stop: a checkpoint and no step");
  stop = 0;
  q = (seen){.stop_after = 6, .flag = &stop};
  chx_trainer_run(s, r);
  ok(chx_trainer_is_stopped(r) && chx_optimizer_t(o) == 6, "stop in the second epoch, after 6 steps");
  stop = 0;
  q = (seen){.stop_after = -1};
  chx_trainer_run(s, r);
  h = chx_trainer_history(r, &n);
  ok(!chx_trainer_is_stopped(r) && n == 6 && chx_optimizer_t(o) == 24 && isnan(h[5].test_loss), "run again: it goes on to the end");
  chx_trainer_run(s, r);
  is_int(chx_optimizer_t(o), 24, "run a third time: nothing is left to do");
  is_int(chx_scope_error(s), CHX_OK, "no error: %s", chx_scope_message(s));
  chx_trainer_free(r);

  p.progress = tmpfile();
  p.progress_style = CHX_PROGRESS_BAR;
  chx_optimizer_setup(s, o, l);
  r = chx_trainer_new(s, l, o, train, NULL, &p);
  chx_trainer_run(s, r);
  rewind(p.progress);
  char line[256] = "";
  ok(fgets(line, sizeof line, p.progress) && strchr(line, '\r'), "a bar is drawn over itself");
  fclose(p.progress);
  chx_trainer_free(r);

  chx_optimizer_free(o);
  chx_link_free(l);
  chx_nn_dataset_free(train);
  chx_nn_dataset_free(test);
  chx_scope_end(s);
}

static void test_regression_and_errors(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_trainer_options p = chx_trainer_defaults();
  chx_trainer *r;
  chx_array *x, *w;
  int64_t n;

  chx_scope_seed(s, 2);
  x = chx_normal(s, CHX_F32, 2, (int64_t[]){64, 3}, 0, 1);
  w = chx_from(s, CHX_F32, 3, (double[]){1, -2, 3});
  chx_nn_dataset *d = chx_nn_dataset_new(s, x, chx_linear(s, x, chx_reshape(s, w, 2, (int64_t[]){1, 3}), NULL));
  chx_link *l = chx_link_linear(s, 3, 1, NULL);
  chx_optimizer *o = chx_optimizer_sgd(s, 0.1);
  chx_optimizer_setup(s, o, l);
  p.epochs = 20;
  p.batch = 16;
  r = chx_trainer_new(s, l, o, d, d, &p);
  chx_trainer_run(s, r);
  const chx_trainer_report *h = chx_trainer_history(r, &n);
  ok(n == 20 && h[19].test_loss < 1e-4 && isnan(h[19].accuracy), "values: mean squared error falls to %.1e", n ? h[n - 1].test_loss : NAN);
  chx_trainer_write_curve(s, r, in_dir("r.svg"));
  is_int(chx_scope_error(s), CHX_OK, "no error: %s", chx_scope_message(s));
  chx_trainer_free(r);

  chx_optimizer_set_lr(o, 1e30);
  chx_optimizer_setup(s, o, l);
  r = chx_trainer_new(s, l, o, d, NULL, &p);
  is_int(chx_trainer_run(s, r), CHX_EFAILED, "%s", chx_scope_message(s));
  chx_scope_clear(s);
  is_int(chx_trainer_write_log(s, r, in_dir("no/such.csv")), CHX_EIO, "%s", chx_scope_message(s));
  chx_scope_clear(s);
  is_int(chx_trainer_resume(s, r, in_dir("none.npz")), CHX_EIO, "%s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_trainer_free(r);
  p.evaluate_every = 0;
  ok(!chx_trainer_new(s, l, o, d, NULL, &p) && chx_scope_error(s) == CHX_EARG, "%s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_link *other = chx_link_linear(s, 3, 1, NULL);
  ok(!chx_trainer_new(s, other, o, d, NULL, NULL) && chx_scope_error(s) == CHX_EARG, "%s", chx_scope_message(s));
  chx_link_free(other);
  chx_optimizer_free(o);
  chx_link_free(l);
  chx_nn_dataset_free(d);
  chx_trainer_free(NULL);
  chx_scope_end(s);
}

/* Any image of at least 4x4. */
static void test_cnn_shapes(void)
{
  static const int64_t chw[][3] = {{1, 4, 4}, {3, 5, 7}, {2, 9, 4}, {1, 8, 8}};
  chx_scope *s = chx_scope_begin(NULL);

  for (size_t i = 0; i < sizeof chw / sizeof *chw; i++) {
    chx_link *l = chx_nn_cnn(s, chw[i], 5);
    chx_array *x = chx_ones(s, CHX_F32, 2, (int64_t[]){3, chw[i][0] * chw[i][1] * chw[i][2]});
    chx_array *y = chx_link_call(s, l, x), *z = chx_link_call(s, l, chx_reshape(s, x, 4, (int64_t[]){3, chw[i][0], chw[i][1], chw[i][2]}));
    ok(y && z && chx_shape(y)[0] == 3 && chx_shape(y)[1] == 5, "cnn for %dx%dx%d, flat or not: %s", (int)chw[i][0], (int)chw[i][1],
       (int)chw[i][2], chx_scope_message(s));
    chx_link_free(l);
  }
  chx_scope_end(s);
}

/* A link that makes its children over when it is called first. */
static chx_array *remaking_forward(chx_scope *s, chx_link *l, const chx_array *x)
{
  if (chx_link_n_children(l) == 3) {
    chx_link_free(chx_link_child(l, 0));
    for (int i = 0; i < 20; i++) chx_link_add(s, l, (char[]){(char)('d' + i), 0}, chx_link_flatten(s));
  }
  return chx_link_call(s, chx_link_find(l, "c"), x);
}
static const chx_link_class remaking_class = {.size = sizeof remaking_class, .name = "Remaking", .forward = remaking_forward};

static void test_tree_changed(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_nn_dataset *d = blobs(s, 10);
  chx_link *l = chx_link_new(s, &remaking_class);
  double loss;
  int right = 1;

  for (int i = 0; i < 3; i++) chx_link_add(s, l, (char[]){(char)('a' + i), 0}, chx_link_linear(s, 0, 3, NULL));
  chx_link_set_train(chx_link_child(l, 1), 0);
  is_int(chx_nn_evaluate(s, l, d, 4, NULL, NULL, &loss, NULL), CHX_OK, "a forward may change the tree: %s", chx_scope_message(s));
  is_int(chx_link_n_children(l), 22, "one child less, 20 more");
  for (int i = 1; i < 22; i++) right &= chx_link_is_train(chx_link_child(l, i));
  ok(chx_link_is_train(l) && right && !chx_link_is_train(chx_link_child(l, 0)), "each link is in its own mode again, new ones in the model's");
  chx_link_free(l);
  chx_nn_dataset_free(d);
  chx_scope_end(s);
}

int main(void)
{
  char command[128];

  if (!mkdtemp(dir)) return 1;
  test_run();
  test_regression_and_errors();
  test_cnn_shapes();
  test_tree_changed();
  snprintf(command, sizeof command, "rm -r %s", dir);
  return system(command) ? 1 : done_testing();
}
