/* SPDX-License-Identifier: MIT
 * nan.c: the search for the first NaN (chx_set_nan_check): in what the program's calls give, and in the gradients that backward
 * computes; not in what operators and gradients make on the way, which may hide a NaN rightly.
 */
#include "runtime.h"
#include <stdio.h>

void chx_set_nan_check(int on) { chxi_watch(CHXI_WATCH_NANS, on != 0); }

static bool has_nan(chx_scope *s, const chx_array *a)
{
  const size_t mark = s->n;
  const int mode = s->grad_mode, policy = s->policy;
  s->grad_mode = CHX_GRAD_OFF;
  s->policy = CHX_FALLBACK_ALLOW;
  s->depth++;
  const chx_array *any = chx_any(s, chx_isnan(s, a), 0, NULL, 0);
  const bool found = any && chx_item_int(s, any);
  s->depth--;
  s->policy = policy;
  s->grad_mode = mode;
  chx_scope_rewind(s, mark, NULL);
  return found;
}

static bool nan_free(chx_scope *s, const char *name, const char *what, int at, const chx_array *a)
{
  char shape[128];
  if (!a || !chxi_is_float(a->dtype) || !a->size || (a->buf && chxi_recording(a->buf->dev))) return !s->error;
  if (has_nan(s, a))
    chx_scope_fail(s, CHX_EFAILED, "%s: %s %d, %s%s, has a NaN, want none while chx_set_nan_check is on", name, what, at,
                   chx_dtype_name(a->dtype), chxi_shape_text(shape, a->t.ndim, a->shape));
  return !s->error;
}

bool chxi_results_nan_free(const chxi_call *c, int n_out)
{
  for (int o = 0; o < n_out; o++)
    if (!nan_free(c->s, c->op->name, "result", o, c->y[o])) return false;
  return true;
}

bool chxi_gradient_nan_free(chx_scope *s, const chx_op *op, int i, const chx_array *gx)
{
  char name[128];
  snprintf(name, sizeof name, "backward of %s", op->name);
  return nan_free(s, name, "the gradient of operand", i, gx);
}
