/* SPDX-License-Identifier: MIT
 * nn.h: neural networks on chx: links, initializers, optimizers, files, data sets and a training loop. Library chx-nn.
 *
 *   chx_scope *s = chx_scope_begin(NULL);
 *   chx_nn_dataset *d = chx_nn_load_csv(s, "digits.csv.gz"), *train, *test;
 *   chx_nn_dataset_split(s, d, 0.2, 0, &train, &test);          // a shuffled fifth is held out
 *   chx_link *model = chx_nn_mlp(s, 3, (int64_t[]){100, 100, 10});
 *   chx_optimizer *o = chx_optimizer_adam(s, 1e-3, 0.9, 0.999, 1e-8);
 *   chx_optimizer_setup(s, o, model);
 *   chx_trainer_options p = chx_trainer_defaults();
 *   p.epochs = 20, p.progress = stderr;
 *   chx_trainer *r = chx_trainer_new(s, model, o, train, test, &p);
 *   chx_trainer_run(s, r);
 *   chx_link_save(s, model, "model.npz");
 *   if (chx_scope_error(s)) fprintf(stderr, "%s\n", chx_scope_message(s));
 *
 * Errors are the scope's, as in chx.h: the first one stays, later calls do nothing, NULL objects pass through, one check at the
 * end is enough. A NULL object where one is required, without an earlier error, is CHX_EARG. Nothing prints but to a FILE that
 * was passed in.
 *
 * Ownership. What _new or a constructor made, the matching _free ends; all of these take NULL. A link owns its children:
 * freeing the root frees the tree. A chx_param belongs to its link. Arrays that are returned without a scope argument are
 * borrowed from the object; those returned through a scope belong to it. Strings passed in are copied.
 *
 * Scopes are ordinary ones (not CHX_SCOPE_OWNED): these functions drop their own temporaries by mark and rewind.
 *
 * Threads. An object is changed by one thread at a time. A link in test mode whose parameters all have a shape may be called
 * from several threads at once, each with its scope.
 *
 * Letters: N items of a batch, C channels, H.. spatial axes.
 */
#ifndef CHX_NN_H
#define CHX_NN_H
#include <signal.h>
#include <stdio.h>
#include "chx.h"
#ifdef __cplusplus
extern "C" {
#endif
#if defined __GNUC__
#pragma GCC visibility push(default)
#endif

typedef struct chx_link chx_link;
typedef struct chx_param chx_param;
typedef struct chx_optimizer chx_optimizer;
typedef struct chx_nn_archive chx_nn_archive;
typedef struct chx_nn_dataset chx_nn_dataset;
typedef struct chx_nn_iterator chx_nn_iterator;
typedef struct chx_trainer chx_trainer;

/* ---- initializers ------------------------------------------------------------------------------------------------
 * How a parameter gets its first values: a plain struct, passed by value or by pointer. fn returns an array of that dtype and
 * shape on the scope's device, drawn from the scope's generator; a and b are its numbers. Write one's own by setting fn.
 * fan_in is the product of shape[1..], fan_out is shape[0] times the product of shape[2..]; both 1 for fewer axes. */
typedef struct chx_nn_init chx_nn_init;
struct chx_nn_init {
  chx_array *(*fn)(chx_scope *s, const chx_nn_init *self, int dtype, int ndim, const int64_t *shape);
  double a, b;
  const void *ctx; /* borrowed; for fn alone */
};
chx_nn_init chx_nn_init_constant(double value);
chx_nn_init chx_nn_init_normal(double std);          /* mean 0 */
chx_nn_init chx_nn_init_uniform(double scale);       /* [-scale, scale) */
chx_nn_init chx_nn_init_lecun_normal(double scale);  /* std scale sqrt(1 / fan_in).                 LeCun 1998, 4.6 */
chx_nn_init chx_nn_init_he_normal(double scale);     /* std scale sqrt(2 / fan_in).                 He 2015, (10) */
chx_nn_init chx_nn_init_glorot_uniform(double scale);/* +-scale sqrt(6 / (fan_in + fan_out)).       Glorot 2010, (16) */

/* ---- links -------------------------------------------------------------------------------------------------------
 * A link owns named parameters, persistent values (saved, but not trained), child links, and a mode, train or test. Its kind
 * is a chx_link_class; those of this file are made by constructors, others are written by users in the same way:
 *
 *   typedef struct { double factor; } scale;
 *   static chx_array *scale_forward(chx_scope *s, chx_link *l, const chx_array *x)
 *   {
 *     scale *d = chx_link_data(l);
 *     return chx_mul(s, chx_mul(s, x, chx_link_array(s, l, "w")), chx_real(s, d->factor));
 *   }
 *   static chx_status scale_init(chx_scope *s, chx_link *l, const chx_array *x)
 *   {
 *     return chx_link_init_param(s, l, "w", 1, chx_shape(x) + 1);      // known from the first input
 *   }
 *   static const chx_link_class scale_class = {
 *     .size = sizeof scale_class, .name = "Scale", .data_size = sizeof(scale), .forward = scale_forward, .init = scale_init };
 *   ...
 *   chx_link *l = chx_link_new(s, &scale_class);
 *   chx_nn_init one = chx_nn_init_constant(1);
 *   chx_link_add_param(s, l, "w", CHX_F32, 1, (int64_t[]){-1}, &one);  // -1: not known yet
 */
typedef struct chx_link_class {
  size_t size;        /* sizeof(chx_link_class); slots beyond it are taken as NULL */
  const char *name;   /* "Linear"; for messages */
  size_t data_size;   /* bytes of the kind's own data, zeroed, see chx_link_data */
  /* The result, in s. Called by chx_link_call with the temporaries of s marked: it need not clean up. Required. */
  chx_array *(*forward)(chx_scope *s, chx_link *link, const chx_array *x);
  /* Gives parameters without a shape theirs, by chx_link_init_param; called before forward while there are such. */
  chx_status (*init)(chx_scope *s, chx_link *link, const chx_array *x);
  /* Ends what `data` holds; parameters, persistent values and children are ended by the caller. */
  void (*free)(chx_link *link);
  /* Moves what `data` holds to a device; parameters and persistent values are moved by the caller. */
  chx_status (*to_device)(chx_scope *s, chx_link *link, const char *device);
  /* For chx_link_copy: to's data are the bytes of from's; makes what they own to's own, or fails and leaves nothing to be ended.
   * Wanted where there is a `free`; else NULL: the bytes are the copy. */
  chx_status (*copy)(chx_scope *s, chx_link *to, const chx_link *from);
} chx_link_class;

/* chx_link_new: a link of a kind, with no parameters and no children, in train mode, on the scope's device. cls must stay. */
chx_link *chx_link_new(chx_scope *s, const chx_link_class *cls);
void chx_link_free(chx_link *link); /* and its children; one that has a parent is taken out of it */
void *chx_link_data(chx_link *link);
const chx_link_class *chx_link_class_of(const chx_link *link);

/* chx_link_call: link's result for x. In the order of things: gives parameters their shape if they have none yet, runs forward,
 * drops the temporaries. An error names the link by its path: "link /l1 (Linear): linear: ...". */
chx_array *chx_link_call(chx_scope *s, chx_link *link, const chx_array *x);

/* chx_link_add: child becomes link's child of that name (not empty, no '/'; NULL: its number, "0", "1", ...). link takes
 * ownership of child, also on error, so that constructors nest. Errors: CHX_EARG the name is taken, child has a parent. */
chx_status chx_link_add(chx_scope *s, chx_link *link, const char *name, chx_link *child);
/* chx_link_take_out: link and what is below it become a tree of its own, the caller's; its path begins anew. Optimizers of the
 * former tree leave its parameters alone from then on. Nothing happens to a root. */
void chx_link_take_out(chx_link *link);
const char *chx_link_name(const chx_link *link);         /* in its parent; "" for a root */
chx_link *chx_link_parent(const chx_link *link);
int chx_link_n_children(const chx_link *link);
chx_link *chx_link_child(const chx_link *link, int i);   /* in the order of chx_link_add; NULL out of range */
/* Link below `link` by path, "block/l1" or "/block/l1"; "" or "/" is link itself; NULL if there is none. */
chx_link *chx_link_find(chx_link *link, const char *path);

/* chx_link_add_param: declare a parameter. shape: lengths, -1 for those that the first input decides. It gets its values at once if
 * all lengths are known, else by chx_link_init_param, whose shape must agree with the known lengths (ndim 0 with shape NULL:
 * a 0-d parameter). init NULL: LeCunNormal(1). dtype: floating. Errors: CHX_EARG the name is taken or has a '/'. */
chx_status chx_link_add_param(chx_scope *s, chx_link *link, const char *name, int dtype, int ndim, const int64_t *shape,
                              const chx_nn_init *init);
chx_status chx_link_init_param(chx_scope *s, chx_link *link, const char *name, int ndim, const int64_t *shape);
/* chx_link_add_persistent: declare a persistent value; keeps value, which link changes in place. */
chx_status chx_link_add_persistent(chx_scope *s, chx_link *link, const char *name, const chx_array *value);
/* Array of link's own parameter or persistent value, borrowed; for use in forward. An error if there is none or it has no
 * shape yet. A parameter's array stays the same object through training and loading, not through chx_link_to_device. */
chx_array *chx_link_array(chx_scope *s, chx_link *link, const char *name);

/* Parameters and persistent values, of the whole tree:
 *   for (chx_param *p = NULL; (p = chx_link_next_param(model, p));) ...
 * The order is that of declaration, a link's own before its children's. */
chx_param *chx_link_next_param(const chx_link *root, const chx_param *before);
chx_param *chx_link_next_persistent(const chx_link *root, const chx_param *before);
chx_link *chx_link_next_link(const chx_link *root, const chx_link *before); /* root itself first */
chx_param *chx_link_find_param(chx_link *root, const char *path);           /* "l1/W", also a persistent one's; NULL if none */

chx_array *chx_param_array(const chx_param *p);  /* NULL while it has no shape */
const char *chx_param_name(const chx_param *p);
chx_link *chx_param_link(const chx_param *p);
int chx_param_dtype(const chx_param *p);
int chx_param_is_persistent(const chx_param *p);
void chx_param_set_update(chx_param *p, int on); /* 0: optimizers leave it as it is (frozen). Default 1 */
int chx_param_update(const chx_param *p);
/* Path below root, "/l1/W", into buf as snprintf does: returns the length it has or would have. chx_link_path likewise, "/"
 * for root itself. */
int chx_param_path(const chx_param *p, const chx_link *root, char *buf, size_t size);
int chx_link_path(const chx_link *link, const chx_link *root, char *buf, size_t size);

void chx_link_set_train(chx_link *link, int on);         /* the whole tree; 0: test mode */
int chx_link_is_train(const chx_link *link);
int64_t chx_link_count_params(const chx_link *link);     /* elements of all parameters that have a shape */
int chx_link_is_initialized(const chx_link *link);       /* every parameter has a shape */
chx_status chx_link_clear_grads(chx_scope *s, chx_link *link); /* no gradient */
chx_status chx_link_zero_grads(chx_scope *s, chx_link *link);  /* gradients of zeros */
/* chx_link_copy: a root of the same kind, mode and device, with parameters and persistent values of its own, without gradients; with
 * `children` all that is below link, too. What initializers refer to is shared. Draws no random numbers. Errors: CHX_EUNSUPPORTED
 * a class has a `free` and no `copy`. */
chx_link *chx_link_copy(chx_scope *s, const chx_link *link, int children);
/* Add from's gradients to link's; copy from's parameters, and with `persistent` the persistent values, into link's. Trees of the
 * same paths and shapes, which is checked before anything is written; devices may differ. A parameter without a shape takes on
 * from's. */
chx_status chx_link_add_grads(chx_scope *s, chx_link *link, const chx_link *from);
chx_status chx_link_copy_params(chx_scope *s, chx_link *link, const chx_link *from, int persistent);
/* Move parameters with their gradients and persistent values to a device; all or, on error, none. */
chx_status chx_link_to_device(chx_scope *s, chx_link *link, const char *device);
/* Batch normalizations below link count population statistics from the next call on, as Chainer's finetune=True; until
 * chx_link_set_train. */
chx_status chx_link_start_finetuning(chx_scope *s, chx_link *link);

/* What links with weights share; NULL, or a zero field: the default. */
typedef struct chx_link_options {
  size_t size;                /* sizeof(chx_link_options) */
  int dtype;                  /* of the parameters; CHX_F32 */
  int nobias;                 /* 1: no b */
  const chx_nn_init *init_w;  /* LeCunNormal(1); borrowed, copied by the constructor */
  const chx_nn_init *init_b;  /* 0 */
  int n_batch_axes;           /* Linear: leading axes that stay; the others are flattened. 1 */
} chx_link_options;

/* Linear: y = x W^T + b. W [out, in], b [out]; in_size 0: from the first input. */
chx_link *chx_link_linear(chx_scope *s, int64_t in_size, int64_t out_size, const chx_link_options *o);
/* Convolution over n spatial axes, 1 to 3. W [out, in/groups, ksize...] (channels last: [out, ksize..., in/groups]), b [out];
 * in_channels 0: from the first input; p: stride, pad, dilation, groups, layout, see chx_conv, NULL: defaults. The same seed gives
 * the same weights in both layouts. */
chx_link *chx_link_conv(chx_scope *s, int64_t in_channels, int64_t out_channels, int n, const int64_t *ksize,
                        const chx_conv_attr *p, const chx_link_options *o);
/* Batch normalization. gamma, beta [size]; persistent avg_mean, avg_var [size], N; size 0: from the first input (channels of
 * p->layout). Train: by the batch's statistics, and avg = decay avg + (1 - decay) statistic, with the variance's unbiased
 * estimate, m / max(m - 1, 1). Test: by avg_mean, avg_var. decay 0: 0.9; p NULL: eps 2e-5.
 * Source: Ioffe 2015; Chainer's BatchNormalization. */
chx_link *chx_link_batch_norm(chx_scope *s, int64_t size, double decay, const chx_batch_norm_attr *p,
                              const chx_link_options *o);
chx_link *chx_link_dropout(chx_scope *s, double ratio);   /* test mode: x itself; train mode draws from the scope's generator */
chx_link *chx_link_max_pool(chx_scope *s, const chx_pool_attr *p);
chx_link *chx_link_avg_pool(chx_scope *s, const chx_pool_attr *p);
chx_link *chx_link_flatten(chx_scope *s);                 /* [N, ...] -> [N, M] */
/* Each item to a shape: x [N, M] -> [N, shape...]. */
chx_link *chx_link_reshape(chx_scope *s, int ndim, const int64_t *shape);
/* Any function of chx.h of one array: chx_link_function(s, "relu", chx_relu). */
chx_link *chx_link_function(chx_scope *s, const char *name, chx_array *(*fn)(chx_scope *s, const chx_array *x));
/* Scaling of the data: y = (x - mean) scale, with 0-d persistent mean and scale, at first 0 and 1; chx_link_fit_input sets all of
 * them below link to x's mean and 1 / standard deviation, so that a model file carries its own scaling. */
chx_link *chx_link_input(chx_scope *s);
chx_status chx_link_fit_input(chx_scope *s, chx_link *link, const chx_array *x);
/* Its children, in order. Holds one child's input, output and temporaries at a time where nothing is recorded. Add children one
 * statement after the other: each draws its weights as it is made. */
chx_link *chx_link_sequential(chx_scope *s);

/* ---- models ------------------------------------------------------------------------------------------------------ */

/* input, then n linear links l1, l2, ... of units[i] outputs with relu between them: {100, 100, 10}. */
chx_link *chx_nn_mlp(chx_scope *s, int n, const int64_t *units);
/* For images of any [C, H, W], H and W at least 4: input, conv 3x3 - bn - relu twice, max-pool 2, conv - bn - relu, fc, dropout, fc. x is
 * [N, C, H, W] or [N, C*H*W]. */
chx_link *chx_nn_cnn(chx_scope *s, const int64_t chw[3], int64_t classes);

/* The two by name, with what it takes to make one anew: files of chx_nn_model_save and checkpoints carry it. */
typedef struct chx_nn_model_spec {
  char kind[16];     /* "mlp" (100, 100, classes) or "cnn" */
  int64_t chw[3];    /* one item: C, H, W; mlp reads only the product */
  int64_t classes;
} chx_nn_model_spec;
chx_link *chx_nn_model_new(chx_scope *s, const chx_nn_model_spec *spec);
chx_status chx_nn_model_save(chx_scope *s, const chx_link *model, const chx_nn_model_spec *spec, const char *path);
/* From a file of chx_nn_model_save or a checkpoint with a spec; in test mode. *spec (may be NULL) is set. */
chx_link *chx_nn_model_load(chx_scope *s, const char *path, chx_nn_model_spec *spec);

/* 0-d i64 count of rows whose largest score is the label's. y [N, C, ...] scores, t [N, ...] integers. No gradient. */
chx_array *chx_nn_count_correct(chx_scope *s, const chx_array *y, const chx_array *t);

/* ---- optimizers --------------------------------------------------------------------------------------------------
 * chx_optimizer_update changes all parameters and states, or on error none: every new value is computed into temporaries before the
 * first write, which is a copy in place on the parameter's own device. Parameters without a gradient, without a shape or frozen are
 * skipped and get no state. */
typedef struct chx_optimizer_class {
  size_t size;              /* sizeof(chx_optimizer_class) */
  const char *name;         /* "Adam" */
  int n_hyper, n_states;    /* at most 8 and 4 */
  const char *hyper[8];     /* names of its numbers; the first is the learning rate */
  const char *state[4];     /* names of the per-parameter arrays, which begin as zeros of the parameter's shape: "m", "v" */
  /* Numbers that are the same for every parameter of an update, into v (at most 8): passed on to `step` as weak scalars, made once
   * an update. h: the hyperparameters; t: this update's number, from 1. Returns how many. */
  int (*scalars)(const double *h, int64_t t, double *v);
  /* One parameter: returns its new value, and new states in next. x, g, state: value, gradient, states; k: the scalars. Gradients are
   * not recorded. Each result is a fresh array. */
  chx_array *(*step)(chx_scope *s, const chx_array *x, const chx_array *g, chx_array *const *k, chx_array *const *state,
                     chx_array **next);
} chx_optimizer_class;
chx_optimizer *chx_optimizer_new(chx_scope *s, const chx_optimizer_class *cls, const double *hyper); /* cls must stay */
void chx_optimizer_free(chx_optimizer *o);

chx_optimizer *chx_optimizer_sgd(chx_scope *s, double lr);                                  /* p -= lr g */
chx_optimizer *chx_optimizer_momentum_sgd(chx_scope *s, double lr, double momentum);        /* v = momentum v - lr g; p += v */
/* m += (1 - beta1)(g - m); v += (1 - beta2)(g^2 - v); p -= alpha_t m / (sqrt v + eps), with
 * alpha_t = alpha sqrt(1 - beta2^t) / (1 - beta1^t).   Source: Kingma 2015, end of section 2; as Chainer's Adam. */
chx_optimizer *chx_optimizer_adam(chx_scope *s, double alpha, double beta1, double beta2, double eps);
/* Adam and p -= rate p, of the p before the step.   Source: Loshchilov 2019, algorithm 2 with schedule 1; as Chainer's AdamW. The
 * decay is not multiplied by alpha: what other frameworks call weight_decay is rate / alpha. */
chx_optimizer *chx_optimizer_adamw(chx_scope *s, double alpha, double beta1, double beta2, double eps, double rate);
/* By name: "sgd" (lr 0.01), "momentum" (0.01, 0.9), "adam" (1e-3, 0.9, 0.999, 1e-8), "adamw" (as adam, rate 1e-5); lr 0: that
 * default. Another name is CHX_EARG, naming these. */
chx_optimizer *chx_optimizer_by_name(chx_scope *s, const char *name, double lr);

chx_status chx_optimizer_setup(chx_scope *s, chx_optimizer *o, chx_link *link); /* the target; drops states; t = epoch = 0; link must stay */
chx_link *chx_optimizer_target(const chx_optimizer *o);
const char *chx_optimizer_name(const chx_optimizer *o);
const chx_optimizer_class *chx_optimizer_class_of(const chx_optimizer *o);
/* With the gradients that are there. CHX_EARG if no parameter has one. Inside a capture (chx_capture_begin) the hyperparameters of now
 * serve all launches, and t counts none of them; a rule with states wants one update before (CHX_EARG), one whose numbers change
 * at each step, such as Adam, is refused (CHX_EUNSUPPORTED). */
chx_status chx_optimizer_update(chx_scope *s, chx_optimizer *o);
/* Clear the gradients, loss = fn(ctx, s), backward, hooks, update. *loss (may be NULL) gets the loss, in s, without graph. */
typedef chx_array *(*chx_loss_fn)(void *ctx, chx_scope *s);
chx_status chx_optimizer_update_with(chx_scope *s, chx_optimizer *o, chx_loss_fn fn, void *ctx, chx_array **loss);
int64_t chx_optimizer_t(const chx_optimizer *o);      /* updates since setup */
int64_t chx_optimizer_epoch(const chx_optimizer *o);
void chx_optimizer_new_epoch(chx_optimizer *o);
double chx_optimizer_lr(const chx_optimizer *o);
void chx_optimizer_set_lr(chx_optimizer *o, double lr);
double chx_optimizer_hyper(const chx_optimizer *o, const char *name);                          /* NaN if there is none */
chx_status chx_optimizer_set_hyper(chx_scope *s, chx_optimizer *o, const char *name, double value);
/* State of a parameter, borrowed until the next update; NULL if it has none. */
chx_array *chx_optimizer_state(const chx_optimizer *o, const chx_param *p, const char *name);

/* Hooks run in the order of adding, before the update, on the update's own list of gradients: n of them, of param(i); grad(i) is
 * in the update's scope; set_grad replaces it for this update (the leaf's own gradient stays). ctx_free (may be NULL) ends ctx,
 * also where adding fails. Errors: CHX_EARG the name is taken, or on removing not there. */
typedef chx_status (*chx_optimizer_hook)(void *ctx, chx_scope *s, chx_optimizer *o);
chx_status chx_optimizer_add_hook(chx_scope *s, chx_optimizer *o, const char *name, chx_optimizer_hook fn, void *ctx,
                                  void (*ctx_free)(void *));
chx_status chx_optimizer_remove_hook(chx_scope *s, chx_optimizer *o, const char *name);
int chx_optimizer_n_grads(const chx_optimizer *o);
chx_param *chx_optimizer_param(const chx_optimizer *o, int i);
chx_array *chx_optimizer_grad(const chx_optimizer *o, int i);
void chx_optimizer_set_grad(chx_optimizer *o, int i, chx_array *g); /* g: in the update's scope, of the parameter's shape */
chx_status chx_optimizer_add_weight_decay(chx_scope *s, chx_optimizer *o, double rate);        /* "WeightDecay": g += rate p */
/* "GradientClipping": g *= min(1, threshold / norm), norm the L2 norm of all gradients together. */
chx_status chx_optimizer_add_gradient_clipping(chx_scope *s, chx_optimizer *o, double threshold);

/* ---- files -------------------------------------------------------------------------------------------------------
 * NPZ with Chainer's keys: "l1/W". An archive is one file being written or read; the same calls describe its content in both
 * directions, and nothing happens before chx_nn_archive_end: saving, it writes the whole file, or none; loading, every name, shape and
 * dtype was checked by then, and it sets the values. On error nothing was changed; the message names file and key.
 *
 *   chx_nn_archive *z = chx_nn_archive_begin(s, "run.npz", CHX_NN_LOAD);
 *   chx_nn_archive_link(s, z, "", model);                 // keys "l1/W", ...
 *   chx_nn_archive_optimizer(s, z, "optimizer", o);       // keys "optimizer/t", "optimizer/epoch", "optimizer/rule", "optimizer/l1/W/m", ...
 *   chx_nn_archive_iterator(s, z, "iterator", it);
 *   chx_nn_archive_random(s, z, "random");                // the generator of s
 *   chx_nn_archive_end(s, z);
 */
enum { CHX_NN_LOAD = 0, CHX_NN_SAVE = 1 };
chx_nn_archive *chx_nn_archive_begin(chx_scope *s, const char *path, int mode);
chx_status chx_nn_archive_end(chx_scope *s, chx_nn_archive *z);   /* also frees z; in a scope in error only that */
int chx_nn_archive_has(const chx_nn_archive *z, const char *key); /* loading: whether the file has it */
/* prefix "": none. A parameter without a shape takes on the file's; the dtype must be the parameter's. Saving: every parameter must have
 * a shape. Persistent values as parameters. */
chx_status chx_nn_archive_link(chx_scope *s, chx_nn_archive *z, const char *prefix, const chx_link *link);
chx_status chx_nn_archive_optimizer(chx_scope *s, chx_nn_archive *z, const char *prefix, chx_optimizer *o);
chx_status chx_nn_archive_iterator(chx_scope *s, chx_nn_archive *z, const char *prefix, chx_nn_iterator *it);
chx_status chx_nn_archive_random(chx_scope *s, chx_nn_archive *z, const char *key);
/* One's own values: *v is written to the file, or set by chx_nn_archive_end; it must stay until then. text: UTF-8, buf of size bytes
 * with its final 0. n numbers as a 1-D array. */
chx_status chx_nn_archive_int(chx_scope *s, chx_nn_archive *z, const char *key, int64_t *v);
chx_status chx_nn_archive_reals(chx_scope *s, chx_nn_archive *z, const char *key, double *v, int n);
chx_status chx_nn_archive_text(chx_scope *s, chx_nn_archive *z, const char *key, char *buf, size_t size);

/* A link alone. chx_link_load refuses a file with further keys, but those below optimizer/, iterator/, random, trainer/: a checkpoint
 * is a model file too. */
chx_status chx_link_save(chx_scope *s, const chx_link *link, const char *path);
chx_status chx_link_load(chx_scope *s, chx_link *link, const char *path);

/* ---- data --------------------------------------------------------------------------------------------------------
 * A data set is x, f32 [n, ...], and t: labels, i64 [n], or values, f32 [n, ...]; in the memory of native:0. */
chx_nn_dataset *chx_nn_dataset_new(chx_scope *s, const chx_array *x, const chx_array *t); /* converts dtypes and device as needed */
void chx_nn_dataset_free(chx_nn_dataset *d);
int64_t chx_nn_dataset_size(const chx_nn_dataset *d);      /* n */
chx_array *chx_nn_dataset_x(const chx_nn_dataset *d);
chx_array *chx_nn_dataset_t(const chx_nn_dataset *d);
int64_t chx_nn_dataset_classes(const chx_nn_dataset *d);   /* the largest label + 1; 0 where t is not labels */
/* CSV, plain or gzipped: one item a line, numbers divided by comma, semicolon or tab, the last the label, an integer >= 0. A first line
 * without any number is a header; empty lines and those that begin with # are skipped; cells may be quoted.
 * Errors: CHX_EIO the file cannot be read; CHX_EARG "F:12: column 3: 'abc' is not a number", or a line with another count of cells. */
chx_nn_dataset *chx_nn_load_csv(chx_scope *s, const char *path);
/* NPZ: arrays x and t, or else its first two. */
chx_nn_dataset *chx_nn_load_npz(chx_scope *s, const char *path);
chx_nn_dataset *chx_nn_load_data(chx_scope *s, const char *path); /* by the file's first bytes: a zip archive is NPZ, else CSV */
/* Items by index, i64 [m]; and all items in another shape: [n, shape...], CHX_ESHAPE naming both if the counts differ. */
chx_nn_dataset *chx_nn_dataset_take(chx_scope *s, const chx_nn_dataset *d, const chx_array *indices);
chx_status chx_nn_dataset_reshape(chx_scope *s, chx_nn_dataset *d, int ndim, const int64_t *shape);
/* Shape of an item as an image: its own if it has three axes, [1, H, W] of two, [1, r, r] of r*r numbers; else CHX_ESHAPE. */
chx_status chx_nn_dataset_image_shape(chx_scope *s, const chx_nn_dataset *d, int64_t chw[3]);
/* Shuffled by seed; test gets round(fraction n) items, 0 <= fraction < 1; fraction 0: *test is NULL. */
chx_status chx_nn_dataset_split(chx_scope *s, const chx_nn_dataset *d, double fraction, uint64_t seed,
                                chx_nn_dataset **train, chx_nn_dataset **test);

/* Batches, epoch after epoch; the last one of an epoch may be smaller. With shuffle each epoch has its own order, by seed and an own
 * generator. d must stay. */
chx_nn_iterator *chx_nn_iterator_new(chx_scope *s, const chx_nn_dataset *d, int64_t batch, int shuffle, uint64_t seed);
void chx_nn_iterator_free(chx_nn_iterator *it);
/* The next batch on the scope's device, into *x and *t, in s; returns its count of items, 0 on error. */
int64_t chx_nn_iterator_next(chx_scope *s, chx_nn_iterator *it, chx_array **x, chx_array **t);
int64_t chx_nn_iterator_epoch(const chx_nn_iterator *it);    /* epochs completed */
int64_t chx_nn_iterator_position(const chx_nn_iterator *it); /* items taken in this epoch */
int chx_nn_iterator_is_new_epoch(const chx_nn_iterator *it); /* the batch last taken was its epoch's last */
void chx_nn_iterator_reset(chx_nn_iterator *it);             /* as made */

/* Mean loss and accuracy of model on d, in test mode without recording, batch items at a time (0: 256). *accuracy is NaN where t is not
 * labels. loss, accuracy may be NULL. */
typedef chx_array *(*chx_nn_loss)(void *ctx, chx_scope *s, const chx_array *y, const chx_array *t); /* 0-d mean */
chx_status chx_nn_evaluate(chx_scope *s, chx_link *model, const chx_nn_dataset *d, int64_t batch, chx_nn_loss fn, void *ctx,
                           double *loss, double *accuracy); /* fn NULL: softmax cross entropy; mean squared error without labels */
/* Label with the largest score for each item, i64 [n]; scores (may be NULL) gets the model's results, in s. */
chx_array *chx_nn_predict(chx_scope *s, chx_link *model, const chx_array *x, int64_t batch, chx_array **scores);

/* ---- training ---------------------------------------------------------------------------------------------------- */

typedef struct chx_trainer_report { /* of an epoch, or of its part so far */
  int64_t epoch;                    /* from 1 */
  int64_t step;                     /* updates in all */
  int64_t items, items_total;       /* of this epoch: done, all */
  double loss, accuracy;            /* means over the epoch's batches, while training; accuracy NaN without labels */
  double test_loss, test_accuracy;  /* NaN where not evaluated */
  double seconds;                   /* of training and evaluation so far, all epochs */
  double items_per_second;          /* in this epoch's training */
  double lr;
} chx_trainer_report;

enum { CHX_TRAINER_STEP = 1, CHX_TRAINER_EPOCH = 2 };
enum { CHX_PROGRESS_AUTO = 0 /* a bar on a terminal, else a line an epoch */, CHX_PROGRESS_BAR = 1, CHX_PROGRESS_LINES = 2 };

typedef struct chx_trainer_options {
  size_t size;             /* sizeof(chx_trainer_options) */
  int64_t epochs;          /* 20 */
  int64_t batch;           /* 32 */
  uint64_t seed;           /* of the batches' order; 0 */
  int64_t evaluate_every;  /* epochs; 1; the last epoch always */
  int64_t checkpoint_every;/* epochs; 1; at the end and when stopped always */
  const char *checkpoint;  /* file, NULL: none. Replaced whole, never half written */
  const char *log;         /* CSV, a line an epoch, NULL: none */
  const char *curve;       /* SVG of loss and accuracy, drawn anew each epoch, NULL: none */
  FILE *progress;          /* NULL: none */
  int progress_style;      /* CHX_PROGRESS_* */
  volatile sig_atomic_t *stop; /* borrowed, NULL: none. Not 0: finish the step, write the checkpoint and return */
  /* After each step and epoch; other than 0: as stop. In a step's report loss and accuracy are of the steps read back so far. */
  int (*callback)(void *ctx, chx_scope *s, int event, const chx_trainer_report *r);
  void *ctx;
  chx_nn_loss loss;        /* NULL: softmax cross entropy; mean squared error without labels */
  void *loss_ctx;
  const chx_nn_model_spec *spec; /* put into checkpoints, for chx_nn_model_load; NULL: none. Copied */
} chx_trainer_options;
chx_trainer_options chx_trainer_defaults(void);

/* chx_trainer_new: model and o (set up for model) are trained on train, evaluated on test (may be NULL). All must stay; paths are
 * copied. p NULL: defaults. */
chx_trainer *chx_trainer_new(chx_scope *s, chx_link *model, chx_optimizer *o, const chx_nn_dataset *train,
                             const chx_nn_dataset *test, const chx_trainer_options *p);
void chx_trainer_free(chx_trainer *r);
/* Trains up to p.epochs epochs, on the scope's device, and returns; CHX_OK also where stopped. A loss that is not finite is
 * CHX_EFAILED, and the checkpoint before it stays. */
chx_status chx_trainer_run(chx_scope *s, chx_trainer *r);
int chx_trainer_is_stopped(const chx_trainer *r);         /* the last run ended by stop or callback */
/* Checkpoint: model, optimizer, order of batches, the generator of s and the history. A run that goes on from one gives the
 * same bits as one that never stopped. */
chx_status chx_trainer_save(chx_scope *s, chx_trainer *r, const char *path);
chx_status chx_trainer_resume(chx_scope *s, chx_trainer *r, const char *path);
/* Completed epochs, *n of them, borrowed until the next run. */
const chx_trainer_report *chx_trainer_history(const chx_trainer *r, int64_t *n);
chx_status chx_trainer_write_log(chx_scope *s, const chx_trainer *r, const char *path);
chx_status chx_trainer_write_curve(chx_scope *s, const chx_trainer *r, const char *path);

#if defined __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
