/* SPDX-License-Identifier: MIT
 * captures.h: what the tests of captures share: small arrays on sim:0, what memory it has, a net that learns.
 */
#ifndef CHX_CAPTURES_H
#define CHX_CAPTURES_H
#include "sim_faults.h"

static const chx_sim_fault_ops *faults;

CHECK_FN chx_array *numbers(chx_scope *s, int n, double first)
{
  double v[64];
  for (int i = 0; i < n; i++) v[i] = first + i;
  return chx_from(s, CHX_F32, n, v);
}

CHECK_FN bool write3(chx_scope *s, chx_array *a, float x, float y, float z)
{
  return !chx_write(s, a, (float[]){x, y, z}, 3 * sizeof(float));
}

CHECK_FN bool is3(chx_scope *s, const chx_array *a, double x, double y, double z)
{
  float got[3] = {0};
  return !chx_read(s, a, got, sizeof got) && got[0] == (float)x && got[1] == (float)y && got[2] == (float)z;
}

/* Whether the thread's queue of sim:0 does what it is given, and at once. */
CHECK_FN bool is_usable(chx_scope *s)
{
  chx_scope_clear(s);
  chx_array *x = numbers(s, 3, 1);
  bool right = is3(s, chx_add(s, x, x), 2, 4, 6);
  if (!right) note("%s", chx_scope_message(s));
  return right;
}

CHECK_FN bool find_faults(void)
{
  chx_scope *s = chx_scope_begin("sim:0");
  chx_scope_end(s);
  return (faults = sim_faults()) != NULL;
}

CHECK_FN chx_memory_stats stats(chx_scope *s)
{
  chx_memory_stats m;
  chx_sync(s);
  chx_memory_stats_of(s, NULL, &m);
  return m;
}

/* ---- a net and a step of its training -------------------------------------------------------------------------------- */

enum { BATCH = 8, IN = 5, HIDDEN = 7, OUT = 3 };

typedef struct net { chx_array *x, *t, *p[4]; } net;

static const int64_t shapes[4][2] = {{HIDDEN, IN}, {HIDDEN}, {OUT, HIDDEN}, {OUT}};

CHECK_FN net net_new(chx_scope *s)
{
  net m;
  double v[BATCH * HIDDEN];
  for (int i = 0; i < BATCH * HIDDEN; i++) v[i] = (i * 5 % 13 - 6) * 0.0625;
  m.x = chx_from_shape(s, CHX_F32, 2, (int64_t[]){BATCH, IN}, v);
  m.t = chx_from_shape(s, CHX_I64, 1, (int64_t[]){BATCH}, (double[BATCH]){0, 1, 2, 0, 1, 2, 0, 1});
  for (int i = 0; i < 4; i++) {
    m.p[i] = chx_from_shape(s, CHX_F32, i % 2 ? 1 : 2, shapes[i], v + i);
    chx_require_grad(s, m.p[i]);
  }
  return m;
}

/* Forward, backward and a step down the gradient. */
CHECK_FN chx_array *train(chx_scope *s, net *m)
{
  size_t mark = chx_scope_mark(s);
  chx_array *h = chx_relu(s, chx_linear(s, m->x, m->p[0], m->p[1]));
  chx_array *loss = chx_softmax_cross_entropy(s, chx_linear(s, h, m->p[2], m->p[3]), m->t);
  chx_backward(s, loss);
  int mode = chx_scope_set_grad(s, CHX_GRAD_OFF);
  for (int i = 0; i < 4; i++) {
    chx_copy_into(s, m->p[i], chx_sub(s, m->p[i], chx_mul(s, chx_grad_of(s, m->p[i]), chx_real(s, 0.3))));
    chx_set_grad(s, m->p[i], NULL);
  }
  loss = chx_copy(s, loss);
  chx_scope_set_grad(s, mode);
  return chx_scope_rewind(s, mark, loss);
}

#endif
