/* SPDX-License-Identifier: MIT
 * test_nn_links.c: links: parameters, trees, paths, modes, memory; each kind against the operator it stands for.
 */
#include "check.h"
#include <chx/nn.h>

#define SHAPE(...) (const int64_t[]){__VA_ARGS__}

static chx_array *ramp(chx_scope *s, int ndim, const int64_t *shape)
{
  int64_t n = 1;
  for (int i = 0; i < ndim; i++) n *= shape[i];
  return chx_reshape(s, chx_cast(s, chx_mul(s, chx_arange(s, CHX_F64, -3, 1, n), chx_real(s, 0.1)), CHX_F32), ndim, shape);
}

static bool same_bits(const chx_array *a, const chx_array *b)
{
  void *x = check_read(a), *y = check_read(b);
  bool same = x && y && chx_nbytes(a) == chx_nbytes(b) && !memcmp(x, y, (size_t)chx_nbytes(a));
  free(x);
  free(y);
  return same;
}

/* ---- a link of one's own, as the header shows ---------------------------------------------------------------------- */

typedef struct { double factor; int *freed; } scale;

static chx_array *scale_forward(chx_scope *s, chx_link *l, const chx_array *x)
{
  scale *d = chx_link_data(l);
  return chx_mul(s, chx_mul(s, x, chx_link_array(s, l, "w")), chx_real(s, d->factor));
}
static chx_status scale_init(chx_scope *s, chx_link *l, const chx_array *x)
{
  return chx_link_init_param(s, l, "w", 1, chx_shape(x) + 1);
}
static void scale_free(chx_link *l) { ++*((scale *)chx_link_data(l))->freed; }
static const chx_link_class scale_class = {.size = sizeof scale_class, .name = "Scale", .data_size = sizeof(scale),
                                           .forward = scale_forward, .init = scale_init, .free = scale_free};

static void test_custom(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_link *l = chx_link_new(s, &scale_class), *root = chx_link_sequential(s);
  chx_nn_init two = chx_nn_init_constant(2);
  char path[32];
  int freed = 0;

  *(scale *)chx_link_data(l) = (scale){10, &freed};
  chx_link_add_param(s, l, "w", CHX_F32, 1, SHAPE(-1), &two);
  chx_link_add(s, root, "mine", l);
  ok(!chx_link_is_initialized(root) && !chx_param_array(chx_link_find_param(root, "/mine/w")), "lazy parameter has no array yet");
  chx_array *y = chx_link_call(s, root, chx_ones(s, CHX_F32, 2, SHAPE(2, 3)));
  is_close(chx_item(s, chx_sum(s, y, 0, NULL, 0)), 120, 0, "own link: 6 ones times 2 times 10");
  ok(chx_link_is_initialized(root), "initialised by the first call");
  chx_array *w = chx_param_array(chx_link_find_param(root, "mine/w"));
  ok(chx_is_grad_required(w, 0) && chx_shape(w)[0] == 3, "its parameter is a leaf of 3");
  chx_backward(s, chx_sum(s, y, 0, NULL, 0));
  is_close(chx_item(s, chx_sum(s, chx_grad_of(s, w), 0, NULL, 0)), 60, 0, "and got its gradient");
  is_int(chx_param_path(chx_link_find_param(root, "mine/w"), root, path, sizeof path), 7, "path has 7 characters");
  is_str(path, "/mine/w", "path");
  is_int(chx_param_path(chx_link_find_param(root, "mine/w"), root, path, 5), 7, "a short buffer: same length");
  is_str(path, "/min", "a short buffer: cut");
  chx_link_call(s, root, chx_ones(s, CHX_F32, 2, SHAPE(2, 4)));
  ok(chx_scope_error(s) == CHX_ESHAPE && !strncmp(chx_scope_message(s), "link /mine (Scale): ", 20), "%s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_link_free(root);
  is_int(freed, 1, "free of the class was called once");
  chx_scope_end(s);
}

/* ---- trees -------------------------------------------------------------------------------------------------------------- */

static void test_tree(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_link *root = chx_link_sequential(s), *block = chx_link_sequential(s);
  const char *want[] = {"/block/l1/W", "/block/l1/b", "/l2/W"};
  char path[64];
  int n = 0;

  chx_link_add(s, root, "block", block);
  chx_link_add(s, block, "l1", chx_link_linear(s, 4, 3, NULL));
  chx_link_add(s, root, "l2", chx_link_linear(s, 0, 2, &(chx_link_options){.size = sizeof(chx_link_options), .nobias = 1}));
  for (chx_param *p = NULL; (p = chx_link_next_param(root, p)); n++) {
    chx_param_path(p, root, path, sizeof path);
    is_str(path, n < 3 ? want[n] : "", "parameter %d", n);
  }
  is_int(n, 3, "three parameters");
  is_int(chx_link_count_params(root), 15, "15 elements while l2 is lazy");
  n = 0;
  for (chx_link *l = NULL; (l = chx_link_next_link(root, l));) n++;
  is_int(n, 4, "four links, the root first");
  n = 0;
  for (chx_param *p = NULL; (p = chx_link_next_param(block, p));) n++;
  is_int(n, 2, "the walk stays below its root");
  ok(chx_link_find(root, "block/l1") == chx_link_child(block, 0) && chx_link_find(root, "") == root, "find");
  ok(!chx_link_find(root, "block/l3") && !chx_link_find_param(root, "l1/W"), "find: NULL where there is none");
  chx_link_path(chx_link_child(block, 0), root, path, sizeof path);
  is_str(path, "/block/l1", "path of a link");
  chx_link_path(root, root, path, sizeof path);
  is_str(path, "/", "path of the root");
  chx_link_set_train(root, 0);
  ok(!chx_link_is_train(chx_link_child(block, 0)), "the mode reaches the leaves");

  is_int(chx_link_add(s, root, "block", chx_link_flatten(s)), CHX_EARG, "a name twice: %s", chx_scope_message(s));
  chx_scope_clear(s);
  is_int(chx_link_add(s, root, "x", block), CHX_EARG, "a child twice: %s", chx_scope_message(s));
  chx_scope_clear(s);
  is_int(chx_link_add(s, block, "x", root), CHX_EARG, "a link inside itself: %s", chx_scope_message(s));
  chx_scope_clear(s);
  is_int(chx_link_add(s, root, "a/b", chx_link_flatten(s)), CHX_EARG, "a name with '/': %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_link_add(s, root, NULL, chx_link_flatten(s));
  ok(chx_link_find(root, "2") != NULL, "without a name: its number");
  chx_link_free(block);
  is_int(chx_link_n_children(root), 2, "a freed child is taken out");
  is_str(chx_link_name(chx_link_child(root, 0)), "l2", "the next one moves up");
  chx_link_free(root);

  root = chx_link_sequential(s); /* deep: no recursion in free and walk */
  chx_link *l = root;
  for (int i = 0; i < 20000; i++) {
    chx_link *c = chx_link_sequential(s);
    chx_link_add(s, l, "c", c);
    l = c;
  }
  chx_link_set_train(root, 0);
  ok(!chx_link_is_train(l), "20000 links deep");
  chx_link_free(root);
  is_int(chx_scope_error(s), CHX_OK, "no error: %s", chx_scope_message(s));
  chx_scope_end(s);
}

/* ---- initializers ------------------------------------------------------------------------------------------------------ */

static void moments(chx_scope *s, const chx_nn_init *init, double *std, double *max)
{
  chx_array *a = init->fn(s, init, CHX_F64, 4, SHAPE(200, 10, 4, 5)); /* fan_in 200, fan_out 4000 */
  *std = chx_item(s, chx_sqrt(s, chx_mean(s, chx_square(s, a), 0, NULL, 0)));
  *max = chx_item(s, chx_amax(s, chx_abs(s, a), 0, NULL, 0));
}

static void test_init(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_nn_init i;
  double std, max;

  chx_scope_seed(s, 1);
  i = chx_nn_init_lecun_normal(1), moments(s, &i, &std, &max);
  is_close(std, sqrt(1 / 200.), 0.02 * sqrt(1 / 200.), "LeCunNormal: std sqrt(1 / fan_in)");
  i = chx_nn_init_he_normal(2), moments(s, &i, &std, &max);
  is_close(std, 2 * sqrt(2 / 200.), 0.04 * sqrt(2 / 200.), "HeNormal(2): std 2 sqrt(2 / fan_in)");
  i = chx_nn_init_glorot_uniform(1), moments(s, &i, &std, &max);
  ok(max <= sqrt(6 / 4200.) && max > 0.99 * sqrt(6 / 4200.), "GlorotUniform: at most sqrt(6 / (fan_in + fan_out))");
  i = chx_nn_init_normal(0.5), moments(s, &i, &std, &max);
  is_close(std, 0.5, 0.01, "Normal(0.5)");
  i = chx_nn_init_uniform(0.5), moments(s, &i, &std, &max);
  ok(max <= 0.5 && max > 0.49, "Uniform(0.5)");
  i = chx_nn_init_constant(3), moments(s, &i, &std, &max);
  ok(std == 3 && max == 3, "Constant(3)");
  is_int(chx_scope_error(s), CHX_OK, "no error: %s", chx_scope_message(s));
  chx_scope_end(s);
}

/* ---- kinds --------------------------------------------------------------------------------------------------------------- */

static void test_linear(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_nn_init w = chx_nn_init_constant(0.5), b = chx_nn_init_constant(2);
  chx_link_options o = {.size = sizeof o, .init_w = &w, .init_b = &b};
  chx_link *l = chx_link_linear(s, 0, 3, &o);
  chx_array *y = chx_link_call(s, l, chx_ones(s, CHX_F32, 3, SHAPE(2, 2, 2)));

  ok(y && chx_ndim(y) == 2 && chx_shape(y)[0] == 2 && chx_shape(y)[1] == 3, "trailing axes are flattened: [2,2,2] -> [2,3]");
  ok(rel_err(y, (double[]){4, 4, 4, 4, 4, 4}) == 0, "4 ones times 0.5, plus 2");
  chx_link_call(s, l, chx_ones(s, CHX_F32, 2, SHAPE(2, 5)));
  ok(chx_scope_error(s) == CHX_ESHAPE, "another width: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_link_call(s, l, chx_ones(s, CHX_F32, 1, SHAPE(4)));
  ok(chx_scope_error(s) == CHX_ESHAPE, "rank 1: %s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_link_free(l);
  o.n_batch_axes = 2;
  l = chx_link_linear(s, 2, 3, &o);
  y = chx_link_call(s, l, chx_ones(s, CHX_F32, 3, SHAPE(2, 4, 2)));
  ok(y && chx_ndim(y) == 3 && chx_shape(y)[1] == 4, "two batch axes: [2,4,2] -> [2,4,3]");
  chx_link_free(l);
  ok(!chx_link_linear(s, 2, 0, NULL) && chx_scope_error(s) == CHX_EARG, "%s", chx_scope_message(s));
  chx_scope_clear(s);
  o = (chx_link_options){.size = sizeof o, .dtype = CHX_I32};
  ok(!chx_link_linear(s, 2, 2, &o) && chx_scope_error(s) == CHX_EDTYPE, "%s", chx_scope_message(s));
  chx_scope_end(s);
}

static void test_conv(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_conv_attr p = CHX_ATTR(conv);
  chx_array *x = ramp(s, 4, SHAPE(2, 4, 5, 6)), *y, *z;
  chx_link *l, *m;

  p.pad = CHX_INTS(1, 1);
  p.stride = CHX_INTS(2, 1);
  p.groups = 2;
  chx_scope_seed(s, 5);
  l = chx_link_conv(s, 0, 6, 2, SHAPE(3, 3), &p, NULL);
  y = chx_link_call(s, l, x);
  z = chx_conv(s, x, chx_link_array(s, l, "W"), chx_link_array(s, l, "b"), &p);
  ok(y && same_bits(y, z), "convolution is chx_conv of W and b");
  ok(chx_shape(chx_link_array(s, l, "W"))[1] == 2, "W has in / groups channels");
  p.layout = CHX_CHANNELS_LAST;
  chx_scope_seed(s, 5);
  m = chx_link_conv(s, 4, 6, 2, SHAPE(3, 3), &p, NULL);
  z = chx_link_call(s, m, chx_contiguous(s, chx_transpose(s, x, 4, (int[]){0, 2, 3, 1})));
  z = chx_transpose(s, z, 4, (int[]){0, 3, 1, 2});
  is_close(chx_item(s, chx_amax(s, chx_abs(s, chx_sub(s, y, z)), 0, NULL, 0)), 0, 1e-5, "channels last: same seed, same result");
  is_int(chx_scope_error(s), CHX_OK, "no error: %s", chx_scope_message(s));
  chx_link_call(s, l, chx_ones(s, CHX_F32, 3, SHAPE(2, 4, 5)));
  ok(chx_scope_error(s) == CHX_ESHAPE, "%s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_link_free(l);
  chx_link_free(m);
  for (int n = 1; n <= 3; n++) {
    l = chx_link_conv(s, 0, 2, n, SHAPE(2, 2, 2), NULL, NULL);
    y = chx_link_call(s, l, ramp(s, n + 2, SHAPE(1, 3, 4, 4, 4)));
    ok(y && chx_ndim(y) == n + 2 && chx_shape(y)[1] == 2 && chx_shape(y)[2] == 3, "%d spatial axes", n);
    chx_link_free(l);
  }
  ok(!chx_link_conv(s, 3, 4, 2, SHAPE(3, 0), NULL, NULL) && chx_scope_error(s) == CHX_EARG, "%s", chx_scope_message(s));
  chx_scope_end(s);
}

/* Two batches; expected values by hand: batch means 2 and 6 with unbiased variances 2 and 8. */
static void test_batch_norm(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_link *l = chx_link_batch_norm(s, 0, 0, NULL, NULL);
  const double one[] = {1, 3}, two[] = {4, 8};
  chx_array *mean, *var, *y;

  y = chx_link_call(s, l, chx_from_shape(s, CHX_F32, 2, SHAPE(2, 1), one));
  ok(y && rel_err(y, (double[]){-1 / sqrt(1 + 2e-5), 1 / sqrt(1 + 2e-5)}) < 1e-6, "train: normalised by the batch");
  mean = chx_link_array(s, l, "avg_mean");
  var = chx_link_array(s, l, "avg_var");
  is_close(chx_item(s, mean), 0.1 * 2, 1e-7, "avg_mean: 0.9 * 0 + 0.1 * 2");
  is_close(chx_item(s, var), 0.9 + 0.1 * 2, 1e-6, "avg_var: 0.9 * 1 + 0.1 * unbiased 2");
  chx_link_call(s, l, chx_from_shape(s, CHX_F32, 2, SHAPE(2, 1), two));
  is_close(chx_item(s, mean), 0.9 * 0.2 + 0.1 * 6, 1e-6, "avg_mean after the second");
  is_close(chx_item(s, var), 0.9 * 1.1 + 0.1 * 8, 1e-6, "avg_var after the second");
  chx_link_set_train(l, 0);
  y = chx_link_call(s, l, chx_from_shape(s, CHX_F32, 2, SHAPE(2, 1), one));
  ok(y && rel_err(y, (double[]){(1 - 0.78) / sqrt(1.79 + 2e-5), (3 - 0.78) / sqrt(1.79 + 2e-5)}) < 1e-5, "test: by the averages");
  is_close(chx_item(s, mean), 0.78, 1e-6, "test mode leaves them");
  chx_link_set_train(l, 1);
  chx_link_start_finetuning(s, l);
  chx_link_call(s, l, chx_from_shape(s, CHX_F32, 2, SHAPE(2, 1), one));
  chx_link_call(s, l, chx_from_shape(s, CHX_F32, 2, SHAPE(2, 1), two));
  is_close(chx_item(s, mean), 4, 1e-6, "finetuning: the mean of the means");
  is_int(chx_item_int(s, chx_link_array(s, l, "N")), 2, "finetuning counts batches in N");
  int n = 0;
  for (chx_param *p = NULL; (p = chx_link_next_persistent(l, p));) n++;
  is_int(n, 3, "three persistent values");
  is_int(chx_scope_error(s), CHX_OK, "no error: %s", chx_scope_message(s));
  chx_link_free(l);
  l = chx_link_batch_norm(s, 3, 0.5, NULL, NULL);
  y = chx_link_call(s, l, ramp(s, 4, SHAPE(2, 3, 4, 4)));
  ok(y && chx_size(chx_link_array(s, l, "gamma")) == 3, "[2,3,4,4] with size 3");
  chx_link_free(l);
  chx_scope_end(s);
}

static void test_functions(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_pool_attr p = CHX_ATTR(pool);
  chx_link *l = chx_link_sequential(s);
  chx_array *x = ramp(s, 4, SHAPE(2, 1, 4, 4)), *y;

  p.ksize = CHX_INTS(2, 2);
  chx_link_add(s, l, NULL, chx_link_max_pool(s, &p));
  chx_link_add(s, l, NULL, chx_link_function(s, "relu", chx_relu));
  chx_link_add(s, l, NULL, chx_link_avg_pool(s, &p));
  chx_link_add(s, l, NULL, chx_link_flatten(s));
  chx_link_add(s, l, NULL, chx_link_reshape(s, 2, SHAPE(1, 1)));
  y = chx_link_call(s, l, x);
  ok(y && chx_ndim(y) == 3 && rel_err(y, (double[]){0.7, 2.3}) < 1e-6, "pool, relu, pool, flatten, reshape");
  is_str(chx_link_class_of(chx_link_child(l, 1))->name, "relu", "a function link has its own name");
  chx_link_free(l);
  l = chx_link_dropout(s, 0.5);
  chx_scope_seed(s, 3);
  y = chx_link_call(s, l, chx_ones(s, CHX_F32, 1, SHAPE(1000)));
  double sum = chx_item(s, chx_sum(s, y, 0, NULL, 0));
  ok(sum > 800 && sum < 1200 && fmod(sum, 2) == 0, "dropout, train: %g of 1000 kept elements of 2", sum);
  chx_link_set_train(l, 0);
  ok(chx_link_call(s, l, x) == x, "dropout, test: x itself");
  chx_link_free(l);
  ok(!chx_link_dropout(s, 1) && chx_scope_error(s) == CHX_EARG, "%s", chx_scope_message(s));
  chx_scope_clear(s);
  l = chx_link_input(s);
  chx_link_fit_input(s, l, x);
  y = chx_link_call(s, l, x);
  is_close(chx_item(s, chx_mean(s, y, 0, NULL, 0)), 0, 1e-6, "input: mean 0");
  is_close(chx_item(s, chx_mean(s, chx_square(s, y), 0, NULL, 0)), 1, 1e-5, "input: variance 1");
  y = chx_link_call(s, l, chx_zeros(s, CHX_U8, 2, SHAPE(2, 2)));
  is_int(chx_dtype(y), CHX_F32, "input: u8 becomes f32");
  chx_link_free(l);
  l = chx_link_sequential(s);
  ok(chx_link_call(s, l, x) == x, "an empty sequence gives x itself");
  chx_link_free(l);
  is_int(chx_scope_error(s), CHX_OK, "no error: %s", chx_scope_message(s));
  chx_scope_end(s);
}

/* ---- gradients, copies, moves ------------------------------------------------------------------------------------------------ */

/* ---- copies ------------------------------------------------------------------------------------------------------------------- */

static chx_link *all_kinds(chx_scope *s)
{
  chx_link *l = chx_link_sequential(s), *inner = chx_link_sequential(s);
  chx_conv_attr last = CHX_ATTR(conv);
  chx_batch_norm_attr bn = CHX_ATTR(batch_norm);
  chx_pool_attr p = CHX_ATTR(pool);

  last.layout = bn.layout = p.layout = CHX_CHANNELS_LAST;
  p.ksize = CHX_INTS(2, 2);
  chx_link_add(s, l, NULL, chx_link_input(s));
  chx_link_add(s, l, "conv", chx_link_conv(s, 0, 3, 2, SHAPE(3, 3), &last, NULL));
  chx_link_add(s, l, NULL, inner);
  chx_link_add(s, inner, NULL, chx_link_batch_norm(s, 0, 0, &bn, NULL));
  chx_link_add(s, inner, "tanh", chx_link_function(s, "tanh", chx_tanh));
  chx_link_add(s, l, NULL, chx_link_max_pool(s, &p));
  chx_link_add(s, l, NULL, chx_link_flatten(s));
  chx_link_add(s, l, NULL, chx_link_linear(s, 0, 2, NULL));
  return l;
}

static int n_params(const chx_link *l)
{
  int n = 0;
  for (chx_param *p = NULL; (p = chx_link_next_param(l, p));) n++;
  for (chx_param *p = NULL; (p = chx_link_next_persistent(l, p));) n++;
  return n;
}

static void test_copy(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_array *x = chx_uniform(s, CHX_F32, 4, SHAPE(2, 6, 6, 2), -1, 1), *y;
  chx_link *l = all_kinds(s), *early = chx_link_copy(s, l, 1), *c, *alone;
  chx_param *w;
  char path[32];

  chx_seed(3);
  y = chx_link_call(s, l, x);
  chx_link_free(l); /* what the copy's initializers refer to is the copy's own */
  chx_seed(3);
  ok(same_bits(chx_link_call(s, early, x), y), "a copy from before the first call draws the same weights then");
  l = early;
  w = chx_link_find_param(l, "conv/W");
  chx_param_set_update(w, 0);
  chx_backward(s, chx_sum(s, chx_link_call(s, l, x), 0, NULL, 0));
  chx_link_set_train(l, 0);
  y = chx_link_call(s, l, x);
  chx_random_state before = chx_random_get(s);
  c = chx_link_copy(s, l, 1);
  ok(chx_random_get(s).counter == before.counter, "copying draws no numbers");
  chx_param *v = chx_link_find_param(c, "/conv/W");
  ok(same_bits(chx_link_call(s, c, x), y) && n_params(c) == n_params(l), "a copy gives the same result");
  ok(chx_param_array(v) != chx_param_array(w) && !chx_shares_memory(chx_param_array(v), chx_param_array(w)), "by values of its own");
  ok(!chx_param_update(v) && !chx_link_is_train(c) && !chx_grad_of(s, chx_param_array(v)) && chx_grad_of(s, chx_param_array(w)),
     "frozen and in test mode as the original, without gradients");
  ok(chx_is_grad_required(chx_param_array(v), 0) && chx_is_grad_required(chx_param_array(chx_link_find_param(c, "5/b")), 0), "they are leaves");
  alone = chx_link_copy(s, chx_link_find(l, "conv"), 0);
  chx_link_path(alone, NULL, path, sizeof path);
  ok(!strcmp(path, "/") && !*chx_link_name(alone) && chx_link_count_params(alone) == 2 * 3 * 9 + 3, "a part's copy is a root");
  chx_link *bare = chx_link_copy(s, l, 0);
  ok(chx_link_n_children(bare) == 0 && chx_link_n_children(l) == 6, "without children");
  chx_link_free(l);
  ok(same_bits(chx_link_call(s, c, x), y), "the copy stays when the original ends");
  is_int(chx_scope_error(s), CHX_OK, "no error: %s", chx_scope_message(s));
  int freed = 0;
  chx_link *mine = chx_link_new(s, &scale_class);
  *(scale *)chx_link_data(mine) = (scale){1, &freed};
  chx_link_add(s, bare, "mine", mine);
  ok(!chx_link_copy(s, bare, 1) && chx_scope_error(s) == CHX_EUNSUPPORTED && !freed, "%s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(!chx_link_copy(s, NULL, 1) && chx_scope_error(s) == CHX_EARG, "%s", chx_scope_message(s));
  chx_link_free(c);
  chx_link_free(alone);
  chx_link_free(bare);
  chx_scope_end(s);
}

static void test_params(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_link *a, *b;
  chx_array *x = ramp(s, 2, SHAPE(4, 6)), *w;

  chx_scope_seed(s, 1);
  a = chx_nn_mlp(s, 2, SHAPE(5, 3));
  b = chx_nn_mlp(s, 2, SHAPE(5, 3));
  chx_backward(s, chx_sum(s, chx_link_call(s, a, x), 0, NULL, 0));
  w = chx_param_array(chx_link_find_param(a, "l2/b"));
  is_close(chx_item(s, chx_at(s, chx_grad_of(s, w), 0, 0)), 4, 0, "gradient of a bias");
  chx_link_copy_params(s, b, a, 1);
  ok(same_bits(chx_link_call(s, a, x), chx_link_call(s, b, x)), "copy_params: same results, also for lazy parameters");
  chx_link_zero_grads(s, b);
  w = chx_param_array(chx_link_find_param(b, "l2/b"));
  is_close(chx_item(s, chx_sum(s, chx_grad_of(s, w), 0, NULL, 0)), 0, 0, "zero_grads");
  chx_link_add_grads(s, b, a);
  chx_link_add_grads(s, b, a);
  is_close(chx_item(s, chx_at(s, chx_grad_of(s, w), 0, 0)), 8, 0, "add_grads twice");
  chx_link_clear_grads(s, b);
  ok(!chx_grad_of(s, w), "clear_grads");
  is_int(chx_scope_error(s), CHX_OK, "no error: %s", chx_scope_message(s));
  chx_link *c = chx_nn_mlp(s, 2, SHAPE(4, 3));
  is_int(chx_link_copy_params(s, c, a, 0), CHX_ESHAPE, "another shape: %s", chx_scope_message(s));
  chx_scope_clear(s);
  is_int(chx_link_to_device(s, a, "nosuch:0") == CHX_OK, 0, "%s", chx_scope_message(s));
  chx_scope_clear(s);
  chx_array *before = chx_keep(chx_link_call(s, a, x));
  chx_link_to_device(s, a, "ref:0");
  if (chx_scope_error(s)) {
    skip(3, "ref: no device");
    chx_scope_clear(s);
  } else {
    w = chx_param_array(chx_link_find_param(a, "l2/b"));
    is_str(chx_device(w), "ref:0", "to_device");
    is_close(chx_item(s, chx_at(s, chx_grad_of(s, w), 0, 0)), 4, 0, "gradients move too");
    chx_array *y = chx_to(s, chx_link_call(s, a, chx_to(s, x, "ref:0")), "native:0");
    is_close(chx_item(s, chx_amax(s, chx_abs(s, chx_sub(s, y, before)), 0, NULL, 0)), 0, 1e-5, "same results there");
  }
  chx_release(before);
  chx_link_free(a);
  chx_link_free(b);
  chx_link_free(c);
  chx_scope_end(s);
}

/* 100 layers without recording hold at most 4 activations. */
static void test_memory(void)
{
  enum { N = 64, M = 1024 };
  chx_scope *s = chx_scope_begin("native:0");
  chx_link *l = chx_link_sequential(s);
  chx_memory_stats before, after;
  chx_array *x = chx_zeros(s, CHX_F32, 2, SHAPE(N, M)), *y;

  for (int i = 0; i < 100; i++) chx_link_add(s, l, NULL, chx_link_function(s, "tanh", chx_tanh));
  chx_scope_set_grad(s, CHX_GRAD_OFF);
  chx_memory_reset_peak(s, "native:0");
  chx_memory_stats_of(s, "native:0", &before);
  size_t mark = chx_scope_mark(s);
  y = chx_link_call(s, l, x);
  is_int((long long)(chx_scope_mark(s) - mark), 1, "one result is left in the scope");
  chx_memory_stats_of(s, "native:0", &after);
  double acts = (double)(after.used_peak - before.used) / (N * M * 4.);
  ok(y && acts <= 4, "100 layers without recording: %.2f activations at the peak <= 4", acts);
  chx_link_free(l);
  is_int(chx_scope_error(s), CHX_OK, "no error: %s", chx_scope_message(s));
  chx_scope_end(s);
}

/* ---- an initializer that declares ---------------------------------------------------------------------------------------------- */

static chx_array *declaring(chx_scope *s, const chx_nn_init *self, int dtype, int ndim, const int64_t *shape)
{
  chx_nn_init one = chx_nn_init_constant(1);
  chx_link_add_param(s, (chx_link *)(uintptr_t)self->ctx, "inner", dtype, ndim, shape, &one);
  return chx_ones(s, dtype, ndim, shape);
}

static void test_declaring_initializer(void)
{
  chx_scope *s = chx_scope_begin(NULL);
  chx_link *l = chx_link_sequential(s);
  chx_nn_init init = {.fn = declaring, .ctx = l};
  is_int(chx_link_add_param(s, l, "outer", CHX_F32, 1, SHAPE(3), &init), CHX_EARG, "%s", chx_scope_message(s));
  chx_scope_clear(s);
  ok(n_params(l) == 1 && chx_link_find_param(l, "inner"), "only the inner one is there");
  chx_link_free(l);
  chx_scope_end(s);
}

/* ---- misuse ------------------------------------------------------------------------------------------------------------------- */

static void test_misuse(void)
{
  chx_scope *s = chx_scope_begin(NULL);

#define BAD(call, code) \
  do { \
    (void)(call); \
    ok(chx_scope_error(s) == (code), #call ": %s", chx_scope_message(s)); \
    chx_scope_clear(s); \
  } while (0)
  BAD(chx_link_call(s, NULL, NULL), CHX_EARG);
  BAD(chx_link_new(s, NULL), CHX_EARG);
  BAD(chx_link_add(s, NULL, "a", NULL), CHX_EARG);
  BAD(chx_nn_mlp(s, 0, NULL), CHX_EARG);
  BAD(chx_nn_cnn(s, SHAPE(1, 3, 8), 10), CHX_EARG);
  BAD(chx_nn_model_new(s, &(chx_nn_model_spec){"rnn", {1, 8, 8}, 10}), CHX_EARG);
  BAD(chx_link_max_pool(s, NULL), CHX_EARG);
  BAD(chx_link_function(s, "f", NULL), CHX_EARG);
  BAD(chx_link_batch_norm(s, -1, 0, NULL, NULL), CHX_EARG);
  BAD(chx_link_conv(s, 3, 4, 4, SHAPE(1, 1, 1, 1), NULL, NULL), CHX_EARG);
  BAD(chx_link_count_params(NULL) ? 0 : chx_link_clear_grads(s, NULL), CHX_EARG);
#undef BAD
  chx_link_free(NULL);
  chx_scope_fail(s, CHX_EARG, "first");
  ok(!chx_nn_cnn(s, SHAPE(1, 8, 8), 10) && !strcmp(chx_scope_message(s), "first"), "in a scope in error: NULL, and the message stays");
  chx_scope_end(s);
}

int main(void)
{
  test_custom();
  test_tree();
  test_init();
  test_linear();
  test_conv();
  test_batch_norm();
  test_functions();
  test_copy();
  test_params();
  test_memory();
  test_declaring_initializer();
  test_misuse();
  return done_testing();
}
