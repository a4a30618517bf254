/* SPDX-License-Identifier: MIT
 * data.c: reads and checks files of examples.
 */
#include "data.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MANY_CLASSES = 65536 };

int data_readable(const cli_command *c, const char *path, const char *next)
{
  struct stat st;

  if (stat(path, &st) || access(path, R_OK))
    return cli_fail(c, next, "%s cannot be read: %s", path, strerror(errno));
  if (S_ISDIR(st.st_mode))
    return cli_fail(c, next, "%s is a folder, want a file", path);
  return CLI_OK;
}

int data_load(const cli_command *c, chx_scope *s, const char *option, const char *path, chx_nn_dataset **out)
{
  char next[160];
  int64_t n, classes;
  int code;

  snprintf(next, sizeof next, "'--%s F' wants CSV, also gzipped, with the label in the last column, or NPZ with x and t",
           option);
  code = data_readable(c, path, next);
  if (code)
    return code;
  *out = chx_nn_load_data(s, path);
  if (!*out)
    return cli_fail(c, next, "%s", chx_scope_message(s));
  n = chx_nn_dataset_size(*out);
  classes = chx_nn_dataset_classes(*out);
  if (n == 0)
    return cli_fail(c, next, "%s has no examples", path);
  if (classes == 0)
    return cli_fail(c, next, "%s has no labels, want whole numbers 0, 1, ... for t", path);
  if (classes > MANY_CLASSES && classes > n) /* one output for each would fill the memory */
    return cli_fail(c, next, "%s: the largest label is %lld, of %lld examples: the label is wanted in the last column",
                    path, (long long)classes - 1, (long long)n);
  return CLI_OK;
}

int64_t data_item_size(const chx_nn_dataset *d)
{
  const chx_array *x = chx_nn_dataset_x(d);
  int64_t n = 1;

  for (int i = 1; i < chx_ndim(x); i++)
    n *= chx_shape(x)[i];
  return n;
}

static const char *shape_text(const chx_ints *shape, char out[128])
{
  size_t n = 0;

  for (int i = 0; i < shape->n && n < 128; i++)
    n += (size_t)snprintf(out + n, 128 - n, "%s%lld", i ? "x" : "", (long long)shape->v[i]);
  return out;
}

int data_shape(const cli_command *c, chx_scope *s, const chx_nn_dataset *d, const chx_ints *given, int image,
               int64_t chw[3])
{
  static const char next[] = "'--shape CxHxW' tells an example's channels, rows and columns, such as 1x8x8";
  int64_t n = data_item_size(d), product = 1;
  char text[128];

  chw[0] = chw[1] = 1;
  chw[2] = n;
  for (int i = 0; i < given->n && product <= n; i++) /* lengths may be too large to multiply */
    product = given->v[i] > n ? n + 1 : product * given->v[i];
  if (given->n && product != n)
    return cli_fail(c, next, "--shape %s does not match %lld columns", shape_text(given, text), (long long)n);
  if (given->n > 3)
    return cli_fail(c, next, "--shape %s has %d lengths, want 1 to 3", shape_text(given, text), (int)given->n);
  for (int i = 0; i < given->n; i++)
    chw[3 - given->n + i] = given->v[i];
  if (given->n == 1)
    chw[2] = n;
  if (given->n == 0 && image && chx_nn_dataset_image_shape(s, d, chw))
    return cli_fail(c, next, "%s", chx_scope_message(s));
  return CLI_OK;
}

int data_flatten(const cli_command *c, chx_scope *s, chx_nn_dataset *d)
{
  int64_t n = data_item_size(d);

  return chx_nn_dataset_reshape(s, d, 1, &n) ? cli_scope_fail(c, s) : CLI_OK;
}
