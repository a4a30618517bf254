/* SPDX-License-Identifier: MIT
 * internal.h: what the files of nn/ share. nn uses the public headers of chx only.
 *
 * A chx_param is the identity of a parameter or persistent value; its array, once made, stays the same object, so that users,
 * graphs and optimizers may hold it. All changes of several arrays at once go through a plan: every new value is made first,
 * then written.
 */
#ifndef CHX_NN_INTERNAL_H
#define CHX_NN_INTERNAL_H
#include <chx/nn.h>
#include <stdlib.h>
#include <string.h>

#define NN_PATH_MAX 512 /* bytes of a path or key */

struct chx_param {
  chx_link *link;
  chx_array *a;          /* NULL: no shape yet; else one reference */
  int index, dtype;      /* index: in link->params */
  uint64_t id;           /* its own in the process; memory may come again, an id does not */
  int ndim;
  int64_t shape[CHX_MAX_RANK]; /* as declared: -1 where unknown */
  chx_nn_init init;
  uint8_t persistent, update;
  char name[];
};

struct chx_link {
  const chx_link_class *cls;
  chx_link *parent, **children;
  chx_param **params;    /* parameters and persistent values */
  int n_children, n_params, index; /* index: in the parent's children */
  int n_unset;           /* own parameters without an array */
  uint8_t train, finetune;
  char *name;
  char device[64];       /* where its parameters are made */
  _Alignas(16) unsigned char data[];
};

#define NN_HAS(cls, slot) ((cls)->size >= offsetof(chx_link_class, slot) + sizeof (cls)->slot && (cls)->slot)

/* 1 if the scope is without error and the object is there; else 0, and the error is set. */
static inline int nn_need(chx_scope *s, const void *object, const char *function, const char *what)
{
  if (chx_scope_error(s)) return 0;
  if (!object) chx_scope_fail(s, CHX_EARG, "%s: %s is NULL", function, what);
  return object != NULL;
}
static inline chx_status nn_nomem(chx_scope *s, const char *what)
{
  return chx_scope_fail(s, CHX_ENOMEM, "%s: out of memory", what);
}
#define NN_TRY(function, object) \
  do { if (!nn_need(s, object, #function, #object)) return chx_scope_error(s); } while (0)

char *chxi_nn_strdup(const char *t); /* NULL of NULL */
const char *chxi_nn_shape_text(char buf[160], int ndim, const int64_t *shape);

/* ---- plan (param.c): new arrays for parameters, made first, written together. ------------------------------------- */

typedef struct chxi_nn_plan {
  struct chxi_nn_change { chx_param *p; chx_array *v; } *item; /* v: one reference, on the parameter's device, of its dtype */
  int n, cap;
} chxi_nn_plan;
/* Checks v against p ("what: key: ..."), makes what can fail (the move to p's device; p's own array if it has none yet). */
chx_status chxi_nn_plan_add(chx_scope *s, chxi_nn_plan *plan, chx_param *p, const chx_array *v, const char *what, const char *key);
chx_status chxi_nn_plan_commit(chx_scope *s, chxi_nn_plan *plan);
void chxi_nn_plan_free(chxi_nn_plan *plan);
/* Copies v into a, of the same dtype, shape and device; tries again where memory was short for the moment. */
chx_status chxi_nn_write(chx_scope *s, chx_array *a, const chx_array *v);
uint64_t chxi_nn_param_id(void); /* a new one */

/* ---- options (layers.c) --------------------------------------------------------------------------------------------- */
chx_link_options chxi_nn_options(const chx_link_options *o); /* with the defaults filled in; init_w, init_b never NULL */

/* ---- optimizer (optimizer.c), for archives --------------------------------------------------------------------------- */

typedef struct chxi_nn_slot { /* one parameter of the target */
  chx_param *p;               /* may be gone if its link was taken out of the tree: is_in_sync */
  uint64_t id;                /* p's */
  chx_array *state[4];        /* one reference each, or all NULL */
  chx_array *g, *x, *next[4]; /* of the update under way, in its scope */
} chxi_nn_slot;
typedef struct chxi_nn_hook {
  char *name;
  chx_optimizer_hook fn;
  void *ctx;
  void (*ctx_free)(void *);
} chxi_nn_hook;
struct chx_optimizer {
  const chx_optimizer_class *cls;
  double hyper[8];
  chx_link *target;
  int64_t t, epoch;
  chxi_nn_slot *slot;
  int *live;            /* slots with a gradient, of the update under way */
  int n, cap, n_live;
  chxi_nn_hook *hook;
  int n_hooks;
};
chx_status chxi_nn_optimizer_sync(chx_scope *s, chx_optimizer *o); /* a slot for each parameter of the target, as it is now */

/* ---- data -------------------------------------------------------------------------------------------------------------- */

struct chx_nn_dataset {
  chx_array *x, *t;
  int64_t n, classes;
};
struct chx_nn_iterator {
  const chx_nn_dataset *d;
  chx_scope *own;          /* native:0; its generator draws the orders */
  chx_array *order;        /* i64 [n], of this epoch; NULL without shuffle */
  int64_t batch, epoch, position;
  uint64_t seed;
  int shuffle, new_epoch;
};
int chxi_nn_has_labels(const chx_nn_dataset *d);

/* ---- archives (archive.c): the parts that objects describe themselves by ------------------------------------------------ */

int chxi_nn_archive_saving(const chx_nn_archive *z);
/* Saving: put a under key. Loading: NULL, or the file's array of that key in s; missing is an error. */
chx_status chxi_nn_archive_put(chx_scope *s, chx_nn_archive *z, const char *key, const chx_array *a);
chx_array *chxi_nn_archive_get(chx_scope *s, chx_nn_archive *z, const char *key);
/* Array under key, checked: dtype, rank and shape (-1: any length). */
chx_array *chxi_nn_archive_get_as(chx_scope *s, chx_nn_archive *z, const char *key, int dtype, int ndim, const int64_t *shape);
/* At the end of loading: fn(ctx, i, bytes, a), which cannot fail. Until then i bytes are copied (bytes not NULL), a (may be NULL) is kept. */
typedef void (*chxi_nn_later_fn)(void *ctx, int64_t i, const void *bytes, chx_array *a);
chx_status chxi_nn_archive_later(chx_scope *s, chx_nn_archive *z, chxi_nn_later_fn fn, void *ctx, int64_t i, const void *bytes,
                                 const chx_array *a);
/* Loading: an error if the file has a key below prefix (all of it, if empty) that nothing asked for. */
chx_status chxi_nn_archive_complete(chx_scope *s, chx_nn_archive *z, const char *prefix);
/* "prefix/name", or name for an empty prefix, into key; CHX_EARG if too long. A leading '/' of name is dropped. */
chx_status chxi_nn_key(chx_scope *s, char key[NN_PATH_MAX], const char *prefix, const char *name);

chx_status chxi_nn_archive_spec(chx_scope *s, chx_nn_archive *z, chx_nn_model_spec *spec); /* model.c */

/* ---- trainer (trainer.c, progress.c, curve.c) ----------------------------------------------------------------------------- */

enum { NN_RING = 32 };
struct chx_trainer {
  chx_link *model;
  chx_optimizer *o;
  const chx_nn_dataset *train, *test;
  chx_nn_iterator *it;
  chx_trainer_options p;
  char *checkpoint, *log, *curve;
  chx_nn_model_spec spec;
  chx_trainer_report *history;
  int64_t n_history, cap_history;
  int stopped;
  /* the epoch under way */
  struct { chx_array *loss, *correct; int64_t n, labels; } ring[NN_RING]; /* not read back yet: the device need not wait each step */
  int n_ring;
  double sum_loss, correct; /* over `summed` items; `labels` counts what correct is out of */
  int64_t summed, labels;
  double seconds;           /* before this run, and of this epoch's training */
  double epoch_seconds;
  /* the run under way */
  double run_start, shown;
  int64_t run_items;
  int bar_open;
};
double chxi_nn_now(void); /* seconds, monotonic */
void chxi_nn_progress_step(chx_trainer *r, const chx_trainer_report *e);
void chxi_nn_progress_epoch(chx_trainer *r, const chx_trainer_report *e);
int chxi_nn_progress_due(const chx_trainer *r, double now);
chx_status chxi_nn_write_file(chx_scope *s, const char *path, const char *what, void (*fn)(FILE *f, const void *ctx),
                              const void *ctx); /* whole or not at all */
#endif
