/* SPDX-License-Identifier: MIT
 * fakeconv.c: see fakeconv.h.
 */
#include <string.h>
#include "fakeconv.h"

int64_t fake_place(const fake_tensor *t, int image, int channel, const int at[3])
{
  int64_t p = (int64_t)image * t->step[0] + (int64_t)channel * t->step[1];
  for (int d = 2; d < t->n; d++) p += (int64_t)at[d - 2] * t->step[d];
  return p;
}

bool fake_next(int at[3], const int *dim, int n)
{
  for (int d = n; d-- > 0; at[d] = 0)
    if (++at[d] < dim[d]) return true;
  return false;
}

/* The sum that is element (image, channel of y, place of y), spread over x or w, or taken from them. */
static void visit(const fake_conv *j, int image, int k, const int out[3], int c, const int tap[3])
{
  const int n = j->x.n - 2, per = j->y.dim[1] / j->c.groups;
  int in[3];
  for (int d = 0; d < n; d++) {
    in[d] = out[d] * j->c.stride[d] - j->c.pad[d] + tap[d] * j->c.dil[d];
    if (in[d] < 0 || in[d] >= j->x.dim[d + 2]) return;
  }
  const int64_t x = fake_place(&j->x, image, k / per * j->w.dim[1] + c, in), w = fake_place(&j->w, k, c, tap),
                y = fake_place(&j->y, image, k, out);
  const float *a = j->from[0], *b = j->from[1];
  if (j->mode == FAKE_FORWARD) j->to[y] += a[x] * b[w];
  else if (j->mode == FAKE_TO_X) j->to[x] += a[w] * b[y];
  else j->to[w] += a[x] * b[y];
}

void fake_conv_run(void *of)
{
  const fake_conv *j = of;
  const int n = j->x.n - 2;
  const fake_tensor *t = j->mode == FAKE_FORWARD ? &j->y : j->mode == FAKE_TO_X ? &j->x : &j->w;
  for (int i = 0; i < t->dim[0]; i++) /* strides may leave gaps, which are not ours */
    for (int c = 0; c < t->dim[1]; c++) {
      int at[3] = {0};
      do j->to[fake_place(t, i, c, at)] = 0;
      while (fake_next(at, t->dim + 2, n));
    }
  for (int i = 0; i < j->y.dim[0]; i++)
    for (int k = 0; k < j->y.dim[1]; k++) {
      int out[3] = {0};
      do
        for (int c = 0; c < j->w.dim[1]; c++) {
          int tap[3] = {0};
          do visit(j, i, k, out, c, tap);
          while (fake_next(tap, j->w.dim + 2, n));
        }
      while (fake_next(out, j->y.dim + 2, n));
    }
}
