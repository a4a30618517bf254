/* SPDX-License-Identifier: MIT
 * overhead.h: what a call costs where there is next to nothing to compute: the cases, and one timed sample of one of
 * them. `chx bench overhead` and bench/overhead interleave the samples as they need and reduce them.
 *
 * An operator's case calls it in a loop; the result is dropped in each turn (chx_scope_rewind), as a C++ tensor is at
 * the end of a loop's body. Recorded: an operand requires a gradient, so that each call makes a graph node, which is
 * dropped with the result. The operands are f32, [4] and for matmul [4, 4].
 *
 * The case "mlp_step" is one training step of an MLP 64-32-10 with relu on a batch of 32: forward, softmax cross
 * entropy, backward and SGD through libchx-nn.
 */
#ifndef CHX_OVERHEAD_H
#define CHX_OVERHEAD_H
#include <chx/chx.h>

typedef struct overhead overhead;

/* Prepares and warms all cases on the scope's device; NULL with the error in s. The scope must stay, and its results
 * from before must not be rewound. */
overhead *overhead_new(chx_scope *s);
void overhead_free(overhead *o);

int overhead_count(void);
const char *overhead_op(int i);     /* "add", ..., "mlp_step" */
int overhead_recorded(int i);

/* Nanoseconds per call of case i, over one loop of about a millisecond; NaN after an error, which is in the scope. */
double overhead_sample(overhead *o, int i);

/* The q-th quantile (0 the least, 0.5 the median, 1 the largest) of n values, which it sorts. */
double overhead_quantile(double *v, int n, double q);

#endif
