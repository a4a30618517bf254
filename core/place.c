/* SPDX-License-Identifier: MIT
 * place.c: where in a program arrays and nodes were made, for the messages of errors (chx_set_place_hook). Where nobody asks,
 * a node costs one branch more.
 */
#include "runtime.h"
#include <stdio.h>

_Atomic(chx_place_hook) chxi_place_hook;
static _Atomic(void *) hook_ctx;

void chx_set_place_hook(chx_place_hook fn, void *ctx)
{
  atomic_store(&hook_ctx, ctx);
  atomic_store(&chxi_place_hook, fn);
}

const char *chxi_place_asked(chx_place_hook fn) { return fn(atomic_load(&hook_ctx)); }

void chx_set_place(chx_array *a, const char *place)
{
  if (a) a->place = place;
}

const char *chx_place(const chx_array *a)
{
  if (!a) return NULL;
  return a->place || !a->node ? a->place : a->node->place;
}

/* ---- in messages ------------------------------------------------------------------------------------------------------------- */

static void add(chx_scope *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(chx_scope *s, const char *format, ...)
{
  const size_t n = strlen(s->message);
  va_list args;
  va_start(args, format);
  vsnprintf(s->message + n, sizeof s->message - n, format, args);
  va_end(args);
}

void chxi_add_place(chx_scope *s, const char *place)
{
  if (place) add(s, "; it was recorded at %s", place);
}

void chxi_add_arrays(chx_scope *s, const char *const *names, int n_names, const chx_array *const *a, int n)
{
  char shape[128];
  for (int i = 0; a && i < n; i++) {
    if (!a[i] || a[i]->weak) continue; /* weak: a number of the call itself */
    const char *place = chx_place(a[i]);
    add(s, "; %s is %s%s on %s", names[i < n_names ? i : n_names - 1], chx_dtype_name(a[i]->dtype),
        chxi_shape_text(shape, a[i]->t.ndim, a[i]->shape), a[i]->buf ? a[i]->buf->dev->spec : "no device");
    if (place) add(s, ", made at %s", place);
  }
}
