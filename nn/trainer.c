/* SPDX-License-Identifier: MIT
 * trainer.c: the training loop. A step makes no memory of its own; losses are read back from the device in groups, in order, so
 * that a step need not wait for it and sums do not depend on when they were read.
 */
#include "internal.h"
#include <math.h>
#include <time.h>
#include <zlib.h>

double chxi_nn_now(void)
{
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

chx_trainer_options chx_trainer_defaults(void)
{
  chx_trainer_options p = {.size = sizeof p, .epochs = 20, .batch = 32, .evaluate_every = 1, .checkpoint_every = 1};

  return p;
}

void chx_trainer_free(chx_trainer *r)
{
  if (!r) return;
  for (int i = 0; i < r->n_ring; i++) {
    chx_release(r->ring[i].loss);
    chx_release(r->ring[i].correct);
  }
  chx_nn_iterator_free(r->it);
  free(r->history);
  free(r->checkpoint);
  free(r->log);
  free(r->curve);
  free(r);
}

chx_trainer *chx_trainer_new(chx_scope *s, chx_link *model, chx_optimizer *o, const chx_nn_dataset *train,
                             const chx_nn_dataset *test, const chx_trainer_options *p)
{
  chx_trainer *r;
  static const char f[] = "chx_trainer_new";

  if (!nn_need(s, model, f, "model") || !nn_need(s, o, f, "o") || !nn_need(s, train, f, "train")) return NULL;
  if (o->target != model) {
    chx_scope_fail(s, CHX_EARG, "%s: the optimizer is not set up for this model, want chx_optimizer_setup first", f);
    return NULL;
  }
  r = calloc(1, sizeof *r);
  if (!r) {
    nn_nomem(s, f);
    return NULL;
  }
  r->model = model;
  r->o = o;
  r->train = train;
  r->test = test;
  r->p = chx_trainer_defaults();
  if (p) memcpy(&r->p, p, p->size && p->size < sizeof *p ? p->size : sizeof *p);
  r->checkpoint = chxi_nn_strdup(r->p.checkpoint);
  r->log = chxi_nn_strdup(r->p.log);
  r->curve = chxi_nn_strdup(r->p.curve);
  if (r->p.spec) r->spec = *r->p.spec;
  r->it = chx_nn_iterator_new(s, train, r->p.batch, 1, r->p.seed);
  if ((r->p.checkpoint && !r->checkpoint) || (r->p.log && !r->log) || (r->p.curve && !r->curve)) nn_nomem(s, f);
  if (!chx_scope_error(s) && (r->p.epochs < 0 || r->p.evaluate_every < 1 || r->p.checkpoint_every < 1))
    chx_scope_fail(s, CHX_EARG, "%s: epochs %lld, evaluate_every %lld, checkpoint_every %lld, want 0, 1, 1 or more", f,
                   (long long)r->p.epochs, (long long)r->p.evaluate_every, (long long)r->p.checkpoint_every);
  if (!chx_scope_error(s)) return r;
  chx_trainer_free(r);
  return NULL;
}

int chx_trainer_is_stopped(const chx_trainer *r) { return r && r->stopped; }

const chx_trainer_report *chx_trainer_history(const chx_trainer *r, int64_t *n)
{
  if (n) *n = r ? r->n_history : 0;
  return r ? r->history : NULL;
}

/* ---- a step --------------------------------------------------------------------------------------------------------------- */

typedef struct step {
  chx_trainer *r;
  chx_array *x, *t, *correct; /* correct: one reference */
  int64_t labels;
} step;

static chx_array *step_loss(void *ctx, chx_scope *s)
{
  step *q = ctx;
  chx_trainer *r = q->r;
  chx_array *y = chx_link_call(s, r->model, q->x), *loss;

  if (!y) return NULL;
  if (!chxi_nn_has_labels(r->train))
    return r->p.loss ? r->p.loss(r->p.loss_ctx, s, y, q->t) : chx_mean_squared_error(s, y, q->t);
  loss = r->p.loss ? r->p.loss(r->p.loss_ctx, s, y, q->t) : chx_softmax_cross_entropy(s, y, q->t);
  q->correct = chx_nn_count_correct(s, y, q->t);
  if (q->correct) chx_keep(q->correct);
  q->labels = chx_size(q->t);
  return loss;
}

/* Reads back what the ring holds, in order. */
static void read_back(chx_scope *s, chx_trainer *r)
{
  for (int i = 0; i < r->n_ring; i++) {
    double loss = chx_item(s, r->ring[i].loss);
    if (!chx_scope_error(s) && !isfinite(loss))
      chx_scope_fail(
          s, CHX_EFAILED,
          "training: the loss is %g in epoch %lld, want a finite one; a smaller learning rate than %g may help", loss,
          (long long)r->n_history + 1, chx_optimizer_lr(r->o));
    r->sum_loss += loss * (double)r->ring[i].n;
    r->summed += r->ring[i].n;
    if (r->ring[i].correct) r->correct += (double)chx_item_int(s, r->ring[i].correct);
    r->labels += r->ring[i].labels;
    chx_release(r->ring[i].loss);
    chx_release(r->ring[i].correct);
  }
  r->n_ring = 0;
}

static chx_status train_step(chx_scope *s, chx_trainer *r)
{
  size_t mark = chx_scope_mark(s);
  step q = {.r = r};
  chx_array *loss = NULL;
  int64_t n = chx_nn_iterator_next(s, r->it, &q.x, &q.t);

  if (n) chx_optimizer_update_with(s, r->o, step_loss, &q, &loss);
  if (!chx_scope_error(s) && chx_size(loss) != 1)
    chx_scope_fail(s, CHX_ESHAPE, "training: the loss has %lld elements, want 1", (long long)chx_size(loss));
  if (chx_scope_error(s)) {
    chx_release(q.correct);
  } else {
    r->ring[r->n_ring].loss = chx_keep(loss);
    r->ring[r->n_ring].correct = q.correct;
    r->ring[r->n_ring].n = n;
    r->ring[r->n_ring++].labels = q.labels;
    r->run_items += n;
    if (r->n_ring == NN_RING) read_back(s, r);
  }
  chx_scope_rewind(s, mark, NULL);
  return chx_scope_error(s);
}

/* ---- an epoch ------------------------------------------------------------------------------------------------------------- */

static chx_trainer_report report(const chx_trainer *r, double epoch_seconds)
{
  int64_t done = r->it->position ? r->it->position : r->it->new_epoch ? r->train->n : 0;
  chx_trainer_report e = {.epoch = r->n_history + 1,
                          .step = chx_optimizer_t(r->o),
                          .items = done,
                          .items_total = r->train->n,
                          .loss = r->summed ? r->sum_loss / (double)r->summed : NAN,
                          .accuracy = r->labels ? r->correct / (double)r->labels : NAN,
                          .test_loss = NAN,
                          .test_accuracy = NAN,
                          .lr = chx_optimizer_lr(r->o),
                          .items_per_second = epoch_seconds > 0 ? (double)done / epoch_seconds : 0,
                          .seconds = r->seconds + chxi_nn_now() - r->run_start};

  return e;
}

static int must_stop(const chx_trainer *r) { return r->p.stop && *r->p.stop; }

/* Steps to the end of the epoch. 0: stopped before, or an error. */
static int run_steps(chx_scope *s, chx_trainer *r)
{
  double before = r->epoch_seconds, start = chxi_nn_now();

  do {
    double now;
    if (must_stop(r)) return r->stopped = 1, 0;
    if (train_step(s, r)) return 0;
    now = chxi_nn_now();
    r->epoch_seconds = before + now - start;
    if (chxi_nn_progress_due(r, now)) {
      chx_trainer_report e;
      read_back(s, r);
      e = report(r, r->epoch_seconds);
      if (!chx_scope_error(s)) chxi_nn_progress_step(r, &e);
    }
    if (r->p.callback && !chx_scope_error(s)) {
      chx_trainer_report e = report(r, r->epoch_seconds);
      if (r->p.callback(r->p.ctx, s, CHX_TRAINER_STEP, &e)) r->stopped = 1;
    }
    if (r->stopped && !r->it->new_epoch) return 0;
  } while (!r->it->new_epoch && !chx_scope_error(s));
  read_back(s, r);
  r->epoch_seconds = before + chxi_nn_now() - start;
  return !chx_scope_error(s);
}

static chx_status end_epoch(chx_scope *s, chx_trainer *r)
{
  chx_trainer_report e = report(r, r->epoch_seconds);

  if (r->n_history == r->cap_history) {
    int64_t cap = r->cap_history ? 2 * r->cap_history : 32;
    chx_trainer_report *h = realloc(r->history, (size_t)cap * sizeof *h);
    if (!h) return nn_nomem(s, "training");
    r->history = h;
    r->cap_history = cap;
  }
  if (r->test && r->test->n && (e.epoch % r->p.evaluate_every == 0 || e.epoch >= r->p.epochs))
    chx_nn_evaluate(s, r->model, r->test, 0, r->p.loss, r->p.loss_ctx, &e.test_loss, &e.test_accuracy);
  if (chx_scope_error(s)) return chx_scope_error(s);
  e.seconds = r->seconds + chxi_nn_now() - r->run_start;
  r->history[r->n_history++] = e;
  r->sum_loss = r->correct = r->epoch_seconds = 0;
  r->summed = r->labels = 0;
  chx_optimizer_new_epoch(r->o);
  chxi_nn_progress_epoch(r, &e);
  if (r->log) chx_trainer_write_log(s, r, r->log);
  if (r->curve) chx_trainer_write_curve(s, r, r->curve);
  if (r->checkpoint && (e.epoch % r->p.checkpoint_every == 0 || e.epoch >= r->p.epochs))
    chx_trainer_save(s, r, r->checkpoint);
  if (r->p.callback && !chx_scope_error(s) && r->p.callback(r->p.ctx, s, CHX_TRAINER_EPOCH, &e)) r->stopped = 1;
  return chx_scope_error(s);
}

chx_status chx_trainer_run(chx_scope *s, chx_trainer *r)
{
  NN_TRY(chx_trainer_run, r);
  r->stopped = 0;
  r->run_start = r->shown = chxi_nn_now();
  r->run_items = 0;
  chx_link_set_train(r->model, 1);
  while (!r->stopped && r->n_history < r->p.epochs && !chx_scope_error(s))
    if (run_steps(s, r)) end_epoch(s, r);
  r->seconds += chxi_nn_now() - r->run_start;
  if (r->bar_open && r->p.progress) fputc('\n', r->p.progress);
  r->bar_open = 0;
  r->stopped &= r->n_history < r->p.epochs;
  if (r->stopped && r->checkpoint && !chx_scope_error(s)) {
    r->run_start = chxi_nn_now(); /* the time is in r->seconds by now */
    chx_trainer_save(s, r, r->checkpoint);
  }
  return chx_scope_error(s);
}

/* ---- checkpoints ------------------------------------------------------------------------------------------------------------ */

enum { FIELDS = 11 }; /* of a report, as numbers of the file */

static void pack(double v[FIELDS], const chx_trainer_report *e)
{
  double f[FIELDS] = {(double)e->epoch, (double)e->step, (double)e->items, (double)e->items_total, e->loss, e->accuracy,
                      e->test_loss, e->test_accuracy, e->seconds, e->items_per_second, e->lr};

  memcpy(v, f, sizeof f);
}

static void set_history(void *ctx, int64_t n, const void *bytes, chx_array *a)
{
  chx_trainer *r = ctx;
  const double *v = bytes;

  (void)a;
  r->n_history = n / (int64_t)(FIELDS * sizeof *v); /* room was made before */
  for (int64_t i = 0; i < r->n_history; i++, v += FIELDS)
    r->history[i] = (chx_trainer_report){(int64_t)v[0], (int64_t)v[1], (int64_t)v[2], (int64_t)v[3], v[4], v[5],
                                         v[6],          v[7],          v[8],          v[9],          v[10]};
}

static void load_history(chx_scope *s, chx_trainer *r, chx_nn_archive *z)
{
  int64_t shape[2] = {-1, FIELDS}, n;
  chx_array *a = chxi_nn_archive_get_as(s, z, "trainer/history", CHX_F64, 2, shape);
  chx_trainer_report *h;
  double *v;

  if (!a) return;
  n = chx_shape(a)[0];
  v = malloc((size_t)(n + 1) * FIELDS * sizeof *v);
  h = n > r->cap_history ? realloc(r->history, (size_t)n * sizeof *h) : r->history;
  if (h && n > r->cap_history) {
    r->history = h;
    r->cap_history = n;
  }
  if (!v || (n && !h)) nn_nomem(s, "training");
  else if (!chx_read(s, a, v, (size_t)n * FIELDS * sizeof *v))
    chxi_nn_archive_later(s, z, set_history, r, n * (int64_t)(FIELDS * sizeof *v), v, NULL);
  free(v);
}

static void save_history(chx_scope *s, chx_trainer *r, chx_nn_archive *z)
{
  int64_t shape[2] = {r->n_history, FIELDS};
  double *v = malloc((size_t)(r->n_history + 1) * FIELDS * sizeof *v);

  if (!v) {
    nn_nomem(s, "training");
    return;
  }
  for (int64_t i = 0; i < r->n_history; i++) pack(v + i * FIELDS, &r->history[i]);
  chxi_nn_archive_put(s, z, "trainer/history", chx_from_host(s, CHX_F64, 2, shape, v));
  free(v);
}

/* What a run is of: a checksum of its training data, its batch size and its seed. Resumed with others it would be another
 * run, whose held-out items this one may have been trained on. */
enum { RUN_DATA, RUN_BATCH, RUN_SEED, RUN_FIELDS };

static int64_t checksum(chx_scope *s, const chx_array *a, uint32_t crc)
{
  size_t bytes = (size_t)chx_nbytes(a);
  void *v = malloc(bytes ? bytes : 1);

  if (!v) nn_nomem(s, "training");
  else if (!chx_read(s, a, v, bytes)) crc = (uint32_t)crc32_z(crc, v, bytes);
  free(v);
  return crc;
}

static void archive_run(chx_scope *s, chx_trainer *r, chx_nn_archive *z)
{
  static const char *const names[] = {"the training data's checksum", "batch", "seed"};
  static const char *const wants[] = {"the same data and the same held-out part", "that of the run", "that of the run"};
  int64_t shape = RUN_FIELDS, then[RUN_FIELDS];
  int64_t now[] = {checksum(s, r->train->t, (uint32_t)checksum(s, r->train->x, 0)), r->p.batch, (int64_t)r->p.seed};
  chx_array *a;

  if (chx_scope_error(s)) return;
  if (chxi_nn_archive_saving(z)) {
    chxi_nn_archive_put(s, z, "trainer/run", chx_from_host(s, CHX_I64, 1, &shape, now));
    return;
  }
  a = chxi_nn_archive_get_as(s, z, "trainer/run", CHX_I64, 1, &shape);
  if (!a || chx_read(s, a, then, sizeof then)) return;
  for (int i = 0; i < RUN_FIELDS; i++)
    if (now[i] != then[i])
      chx_scope_fail(s, CHX_EARG, "resume: %s is %lld, the run's was %lld, want %s", names[i], (long long)now[i],
                     (long long)then[i], wants[i]);
}

static chx_status archive_trainer(chx_scope *s, chx_trainer *r, chx_nn_archive *z, double partial[6])
{
  size_t mark = chx_scope_mark(s);

  archive_run(s, r, z);
  chx_nn_archive_link(s, z, "", r->model);
  chx_nn_archive_optimizer(s, z, "optimizer", r->o);
  chx_nn_archive_iterator(s, z, "iterator", r->it);
  chx_nn_archive_random(s, z, "random");
  chx_nn_archive_reals(s, z, "trainer/partial", partial, 6);
  if (!chx_scope_error(s)) {
    if (chxi_nn_archive_saving(z)) save_history(s, r, z);
    else load_history(s, r, z);
  }
  chx_scope_rewind(s, mark, NULL);
  return chx_scope_error(s);
}

chx_status chx_trainer_save(chx_scope *s, chx_trainer *r, const char *path)
{
  chx_nn_archive *z;
  double partial[6], running;

  NN_TRY(chx_trainer_save, r);
  read_back(s, r);
  running = r->run_start > 0 ? chxi_nn_now() - r->run_start : 0;
  memcpy(partial,
         (double[6]){r->sum_loss, r->correct, (double)r->summed, (double)r->labels, r->seconds + running,
                     r->epoch_seconds},
         sizeof partial);
  z = chx_nn_archive_begin(s, path, CHX_NN_SAVE);
  archive_trainer(s, r, z, partial);
  if (r->spec.kind[0] && !chx_scope_error(s)) chxi_nn_archive_spec(s, z, &r->spec);
  return chx_nn_archive_end(s, z);
}

chx_status chx_trainer_resume(chx_scope *s, chx_trainer *r, const char *path)
{
  chx_nn_archive *z;
  double partial[6];

  NN_TRY(chx_trainer_resume, r);
  z = chx_nn_archive_begin(s, path, CHX_NN_LOAD);
  archive_trainer(s, r, z, partial);
  chxi_nn_archive_complete(s, z, "");
  if (chx_nn_archive_end(s, z)) return chx_scope_error(s);
  r->sum_loss = partial[0];
  r->correct = partial[1];
  r->summed = (int64_t)partial[2];
  r->labels = (int64_t)partial[3];
  r->seconds = partial[4];
  r->epoch_seconds = partial[5];
  for (int i = 0; i < r->n_ring; i++) {
    chx_release(r->ring[i].loss);
    chx_release(r->ring[i].correct);
  }
  r->n_ring = 0;
  return CHX_OK;
}
