/* SPDX-License-Identifier: MIT
 * data.h: files of examples as train and predict read them. Functions return an exit code, and have told a failure.
 */
#ifndef CHX_TOOL_DATA_H
#define CHX_TOOL_DATA_H
#include "cli.h"
#include <chx/nn.h>

/* CSV, also gzipped, or NPZ; labels are required, and their count checked for sense. option: "data", for advice. */
int data_load(const cli_command *c, chx_scope *s, const char *option, const char *path, chx_nn_dataset **out);
int64_t data_item_size(const chx_nn_dataset *d); /* numbers of one example */
/* The shape of an example as an image: `given` (n 0: none), or with `image` what d says, or the square; else 1x1xN. */
int data_shape(const cli_command *c, chx_scope *s, const chx_nn_dataset *d, const chx_ints *given, int image,
               int64_t chw[3]);
int data_flatten(const cli_command *c, chx_scope *s, chx_nn_dataset *d); /* examples to [N] */
/* One existing file that can be read? want: what it should be. */
int data_readable(const cli_command *c, const char *path, const char *next);

#endif
