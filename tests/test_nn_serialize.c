/* SPDX-License-Identifier: MIT
 * test_nn_serialize.c: files of links, optimizers and whole runs; what is checked before anything is set; resuming bit for bit.
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

static bool same_bits(const chx_array *a, const chx_array *b)
{
  if (!a || !b) return a == b;
  void *x = check_read(a), *y = check_read(b);
  bool same = x && y && chx_nbytes(a) == chx_nbytes(b) && !memcmp(x, y, (size_t)chx_nbytes(a));
  free(x);
  free(y);
  return same;
}

/* Parameters and persistent values of two links. */
static bool same_links(const chx_link *a, const chx_link *b)
{
  chx_param *p = NULL, *q = NULL;
  bool same = true;
  while ((p = chx_link_next_param(a, p)) && (q = chx_link_next_param(b, q))) same &= same_bits(chx_param_array(p), chx_param_array(q));
  p = q = NULL;
  while ((p = chx_link_next_persistent(a, p)) && (q = chx_link_next_persistent(b, q)))
    same &= same_bits(chx_param_array(p), chx_param_array(q));
  return same;
}

static bool same_states(chx_optimizer *a, chx_optimizer *b, const char *const *names, int n)
{
  chx_param *p = NULL, *q = NULL;
  bool same = chx_optimizer_t(a) == chx_optimizer_t(b) && chx_optimizer_epoch(a) == chx_optimizer_epoch(b);
  while ((p = chx_link_next_param(chx_optimizer_target(a), p)) && (q = chx_link_next_param(chx_optimizer_target(b), q)))
    for (int i = 0; i < n; i++) same &= same_bits(chx_optimizer_state(a, p, names[i]), chx_optimizer_state(b, q, names[i]));
  return same;
}

static chx_nn_dataset *blobs(chx_scope *s, int64_t n)
{
  chx_array *t = chx_integers(s, CHX_I64, 1, &n, 0, 3);
  chx_array *x = chx_add(s, chx_normal(s, CHX_F32, 2, (int64_t[]){n, 16}, 0, 1), chx_cast(s, chx_expand_dims(s, t, 1), CHX_F32));
  return chx_nn_dataset_new(s, x, t);
}

/* ---- keys -------------------------------------------------------------------------------------------------------------- */

static void test_link_file(void)
{
  static const char *const want[] = {"input/mean", "input/scale", "l1/W", "l1/b", "l2/W", "l2/b"};
  chx_scope *s = chx_scope_begin(NULL);
  chx_link *a = chx_nn_mlp(s, 2, (int64_t[]){5, 3}), *b = chx_nn_mlp(s, 2, (int64_t[]){5, 3}), *c;
  chx_array *x = chx_normal(s, CHX_F32, 2, (int64_t[]){4, 6}, 0, 1), *w;
  const char *path = in_dir("link.npz");
  chx_npz *z;

  is_int(chx_link_save(s, a, path), CHX_ESHAPE, "saving before a first input: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(access(path, F_OK), "and there is no file");
  chx_link_call(s, a, x);
  chx_link_save(s, a, path);
  z = chx_npz_open(s, path);
  is_int(chx_npz_count(z), 6, "six arrays");
  for (int i = 0; i < 6; i++) {
    int found = 0;
    for (int k = 0; k < chx_npz_count(z); k++) found |= !strcmp(chx_npz_name(z, k), want[i]);
    ok(found, "key %s", want[i]);
  }
  chx_npz_close(z);
  chx_link_load(s, b, path);
  ok(same_links(a, b), "a lazy link takes on shapes and values: %s", chx_scope_message(s));
  ok(chx_is_grad_required(chx_param_array(chx_link_find_param(b, "l1/W")), 0), "its parameters are leaves");
  chx_link_call(s, b, chx_ones(s, CHX_F32, 2, (int64_t[]){1, 6}));
  chx_scope_set_grad(s, CHX_GRAD_OFF);
  w = chx_link_array(s, chx_link_find(b, "l1"), "W");
  chx_copy_into(s, w, chx_zeros_like(s, w));
  chx_scope_set_grad(s, CHX_GRAD_ON);
  chx_link_load(s, b, path);
  ok(same_links(a, b) && w == chx_link_array(s, chx_link_find(b, "l1"), "W"), "loading again writes into the same arrays");
  is_int(chx_scope_error(s), CHX_OK, "no error: %s", chx_scope_message(s));

  /* What does not fit: l2 is looked at after l1, but nothing of l1 may have changed. */
  c = chx_nn_mlp(s, 2, (int64_t[]){5, 4});
  chx_link_call(s, c, x);
  w = chx_copy(s, chx_link_array(s, chx_link_find(c, "l1"), "W"));
  is_int(chx_link_load(s, c, path), CHX_ESHAPE, "%s", chx_scope_message(s));
  ok(strstr(chx_scope_message(s), "l2/W") && strstr(chx_scope_message(s), "[3,5]") && strstr(chx_scope_message(s), "[4,5]"),
     "the message names key and shapes");
  chx_scope_clear(s);
  ok(same_bits(w, chx_link_array(s, chx_link_find(c, "l1"), "W")), "nothing was written");
  chx_link_free(c);
  c = chx_nn_mlp(s, 3, (int64_t[]){5, 3, 2});
  is_int(chx_link_load(s, c, path), CHX_EARG, "a missing key: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_link_free(c);
  c = chx_nn_mlp(s, 1, (int64_t[]){5});
  is_int(chx_link_load(s, c, path), CHX_EARG, "a key too many: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_link_free(c);
  c = chx_link_sequential(s);
  chx_link_add(s, c, "input", chx_link_input(s));
  chx_link_add(s, c, "l1", chx_link_linear(s, 0, 5, &(chx_link_options){.size = sizeof(chx_link_options), .dtype = CHX_F64}));
  chx_link_add(s, c, "l2", chx_link_linear(s, 0, 3, NULL));
  is_int(chx_link_load(s, c, path), CHX_EDTYPE, "%s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_link_free(c);
  is_int(chx_link_load(s, a, in_dir("none.npz")), CHX_EIO, "%s", chx_scope_message(s));
  chx_scope_clear(s);
  is_int(truncate(path, 300), 0, "truncated");
  ok(chx_link_load(s, a, path), "%s", chx_scope_message(s));
  chx_scope_clear(s);
  is_int(chx_link_save(s, a, in_dir("no/such/dir.npz")), CHX_EIO, "%s", chx_scope_message(s));
  chx_link_free(a);
  chx_link_free(b);
  chx_scope_end(s);
}

/* ---- optimizer ----------------------------------------------------------------------------------------------------------- */

static chx_status both(chx_scope *s, const char *path, int mode, chx_link *l, chx_optimizer *o)
{
  chx_nn_archive *z = chx_nn_archive_begin(s, path, mode);
  chx_nn_archive_link(s, z, "", l);
  chx_nn_archive_optimizer(s, z, "optimizer", o);
  return chx_nn_archive_end(s, z);
}

typedef struct pair { chx_link *l; const chx_array *x; } pair;
static chx_array *sum_loss(void *ctx, chx_scope *s)
{
  pair *p = ctx;
  return chx_sum(s, chx_square(s, chx_link_call(s, p->l, p->x)), 0, NULL, 0);
}

static void test_optimizer_file(void)
{
  static const char *const names[] = {"m", "v"};
  chx_scope *s = chx_scope_begin(NULL);
  chx_link *a = chx_nn_mlp(s, 2, (int64_t[]){5, 3}), *b = chx_nn_mlp(s, 2, (int64_t[]){5, 3});
  chx_optimizer *o = chx_optimizer_by_name(s, "adam", 0), *p = chx_optimizer_by_name(s, "adam", 0);
  chx_optimizer *q = chx_optimizer_by_name(s, "momentum", 0);
  pair d = {a, chx_normal(s, CHX_F32, 2, (int64_t[]){4, 6}, 0, 1)};
  const char *path = in_dir("optimizer.npz");
  chx_npz *z;

  chx_optimizer_setup(s, o, a);
  chx_optimizer_setup(s, p, b);
  chx_optimizer_setup(s, q, b);
  for (int i = 0; i < 3; i++) chx_optimizer_update_with(s, o, sum_loss, &d, NULL);
  chx_optimizer_new_epoch(o);
  both(s, path, CHX_NN_SAVE, a, o);
  z = chx_npz_open(s, path);
  is_int(chx_item_int(s, chx_npz_get(s, z, "optimizer/t")), 3, "key optimizer/t");
  is_int(chx_item_int(s, chx_npz_get(s, z, "optimizer/epoch")), 1, "key optimizer/epoch");
  is_int(chx_size(chx_npz_get(s, z, "optimizer/l1/W/m")), 30, "key optimizer/l1/W/m");
  is_int(chx_size(chx_npz_get(s, z, "optimizer/l2/b/v")), 3, "key optimizer/l2/b/v");
  chx_npz_close(z);
  both(s, path, CHX_NN_LOAD, b, p);
  ok(same_links(a, b) && same_states(o, p, names, 2), "link and optimizer, loaded into fresh ones: %s", chx_scope_message(s));
  for (int i = 0; i < 2; i++) {
    chx_optimizer_update_with(s, o, sum_loss, &d, NULL);
    d.l = b;
    chx_optimizer_update_with(s, p, sum_loss, &d, NULL);
    d.l = a;
  }
  ok(same_links(a, b) && same_states(o, p, names, 2), "and two further steps give the same bits");
  is_int(chx_scope_error(s), CHX_OK, "no error: %s", chx_scope_message(s));
  is_int(both(s, path, CHX_NN_LOAD, b, q), CHX_EARG, "another rule: %s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(same_links(a, b), "and the link was not touched either");
  chx_link_load(s, b, path);
  is_int(chx_scope_error(s), CHX_OK, "a checkpoint is a file of its link: %s", chx_scope_message(s));
  chx_optimizer_free(o);
  chx_optimizer_free(p);
  chx_optimizer_free(q);
  chx_link_free(a);
  chx_link_free(b);
  chx_scope_end(s);
}

/* ---- own values ------------------------------------------------------------------------------------------------------------ */

static void test_values(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  const char *path = in_dir("values.npz");
  int64_t i = -5, j = 0;
  double r[3] = {1, NAN, -INFINITY}, q[3] = {0};
  char text[16] = "cnn", read[16] = "", small[3] = "";
  chx_nn_archive *z = chx_nn_archive_begin(s, path, CHX_NN_SAVE);

  chx_scope_seed(s, 9);
  chx_normal(s, CHX_F32, 1, (int64_t[]){100}, 0, 1);
  chx_nn_archive_int(s, z, "i", &i);
  chx_nn_archive_reals(s, z, "r", r, 3);
  chx_nn_archive_text(s, z, "t", text, sizeof text);
  chx_nn_archive_random(s, z, "random");
  chx_nn_archive_end(s, z);
  chx_random_state was = chx_random_get(s), now;
  chx_array *next = chx_uniform(s, CHX_F64, 1, (int64_t[]){4}, 0, 1);

  z = chx_nn_archive_begin(s, path, CHX_NN_LOAD);
  ok(chx_nn_archive_has(z, "i") && !chx_nn_archive_has(z, "k"), "has");
  chx_nn_archive_int(s, z, "i", &j);
  chx_nn_archive_reals(s, z, "r", q, 3);
  chx_nn_archive_text(s, z, "t", read, sizeof read);
  chx_nn_archive_random(s, z, "random");
  ok(j == 0 && !*read, "nothing is set before the end");
  chx_nn_archive_end(s, z);
  ok(j == -5 && !memcmp(q, r, sizeof r), "int and reals: %s", chx_scope_message(s));
  is_str(read, "cnn", "text");
  now = chx_random_get(s);
  ok(now.seed == was.seed && now.counter == was.counter, "generator");
  ok(same_bits(next, chx_uniform(s, CHX_F64, 1, (int64_t[]){4}, 0, 1)), "which draws the same numbers again");
  j = 0;
  z = chx_nn_archive_begin(s, path, CHX_NN_LOAD);
  chx_nn_archive_int(s, z, "i", &j);
  chx_nn_archive_text(s, z, "t", small, sizeof small);
  is_int(chx_nn_archive_end(s, z), CHX_ESHAPE, "%s", chx_scope_message(s));
  is_int(j, 0, "after an error nothing is set");
  chx_scope_clear(s);
  z = chx_nn_archive_begin(s, path, CHX_NN_SAVE);
  chx_nn_archive_int(s, z, "i", &i);
  chx_nn_archive_int(s, z, "i", &i);
  is_int(chx_nn_archive_end(s, z), CHX_EARG, "%s", chx_scope_message(s));
  chx_scope_end(s);
}

/* ---- a run that goes on ------------------------------------------------------------------------------------------------------ */

typedef struct run {
  chx_link *model;
  chx_optimizer *o;
  chx_nn_dataset *train, *test;
  chx_trainer *r;
  int stop_at;
} run;

static int stop_at_step(void *ctx, chx_scope *s, int event, const chx_trainer_report *e)
{
  (void)s;
  return event == CHX_TRAINER_STEP && e->step == ((run *)ctx)->stop_at;
}

static run *begin(chx_scope *s, run *q, uint64_t seed, int stop_at, const char *checkpoint)
{
  chx_trainer_options p = chx_trainer_defaults();
  const int64_t chw[3] = {1, 4, 4};

  chx_scope_seed(s, 3);
  q->train = blobs(s, 50);
  q->test = blobs(s, 20);
  chx_scope_seed(s, seed);
  q->model = chx_nn_cnn(s, chw, 3); /* batch normalization and dropout: statistics and draws must go on too */
  q->o = chx_optimizer_by_name(s, "adam", 0);
  chx_optimizer_setup(s, q->o, q->model);
  q->stop_at = stop_at;
  p.epochs = 4;
  p.batch = 8;
  p.seed = 11;
  p.callback = stop_at_step;
  p.ctx = q;
  p.checkpoint = checkpoint;
  p.spec = &(chx_nn_model_spec){"cnn", {1, 4, 4}, 3};
  q->r = chx_trainer_new(s, q->model, q->o, q->train, q->test, &p);
  return q;
}

static void end(run *q)
{
  chx_trainer_free(q->r);
  chx_optimizer_free(q->o);
  chx_link_free(q->model);
  chx_nn_dataset_free(q->train);
  chx_nn_dataset_free(q->test);
}

static void test_resume(int stop_at)
{
  static const char *const names[] = {"m", "v"};
  chx_scope *s = chx_scope_begin(NULL), *t = chx_scope_begin(NULL);
  const char *path = in_dir("run.npz");
  run a, b, c;
  int64_t n, m;

  chx_trainer_run(s, begin(s, &a, 5, -1, NULL)->r); /* in one go */
  chx_trainer_run(t, begin(t, &b, 5, stop_at, path)->r);
  ok(chx_trainer_is_stopped(b.r) == (stop_at < 28) && chx_optimizer_t(b.o) == stop_at, "stopped at step %d: %s", stop_at, chx_scope_message(t));
  chx_scope_end(t);
  t = chx_scope_begin(NULL);
  begin(t, &c, 99, -1, NULL); /* another process, another seed */
  chx_trainer_resume(t, c.r, path);
  chx_trainer_run(t, c.r);
  is_int(chx_scope_error(t), CHX_OK, "resumed: %s", chx_scope_message(t));
  ok(same_links(a.model, c.model), "stopped at step %d: the same parameters and statistics", stop_at);
  ok(same_states(a.o, c.o, names, 2), "the same states");
  const chx_trainer_report *h = chx_trainer_history(a.r, &n), *k = chx_trainer_history(c.r, &m);
  bool same = n == 4 && m == 4;
  for (int64_t i = 0; same && i < n; i++)
    same = h[i].epoch == k[i].epoch && h[i].step == k[i].step && h[i].loss == k[i].loss && h[i].accuracy == k[i].accuracy &&
           h[i].test_loss == k[i].test_loss && h[i].test_accuracy == k[i].test_accuracy;
  ok(same, "the same history of 4 epochs");
  chx_random_state x = chx_random_get(s), y = chx_random_get(t);
  ok(x.seed == y.seed && x.counter == y.counter, "the same generator");

  chx_nn_model_spec spec;
  chx_link *l = chx_nn_model_load(t, path, &spec);
  ok(l && !strcmp(spec.kind, "cnn") && spec.chw[2] == 4 && spec.classes == 3, "a checkpoint makes its model: %s", chx_scope_message(t));
  ok(l && same_links(l, b.model), "with its values");
  chx_link_free(l);
  end(&a);
  end(&b);
  end(&c);
  chx_scope_end(s);
  chx_scope_end(t);
}

static void test_model_file(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_nn_model_spec spec = {"mlp", {1, 2, 3}, 4};
  chx_link *l = chx_nn_model_new(s, &spec), *m;
  const char *path = in_dir("model.npz");

  chx_nn_model_save(s, l, &spec, path);
  m = chx_nn_model_load(s, path, NULL);
  ok(m && same_links(l, m) && !chx_link_is_train(m), "mlp: saved before a first input, loaded in test mode: %s", chx_scope_message(s));
  chx_link_save(s, l, path);
  ok(!chx_nn_model_load(s, path, NULL), "%s", chx_scope_message(s));
  chx_link_free(l);
  chx_link_free(m);
  chx_scope_end(s);
}

int main(void)
{
  char command[128];

  if (!mkdtemp(dir)) return 1;
  test_link_file();
  test_optimizer_file();
  test_values();
  test_resume(10); /* within an epoch of 7 steps */
  test_resume(14); /* at the end of one */
  test_resume(1);
  test_resume(28); /* at the end of the run */
  test_model_file();
  snprintf(command, sizeof command, "rm -r %s", dir);
  return system(command) ? 1 : done_testing();
}
