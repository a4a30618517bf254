/* SPDX-License-Identifier: MIT
 * fakeconv.h: a convolution of f32 by plain loops, from what the stand-ins' descriptors say; see fakegpu.h.
 */
#ifndef CHX_FAKECONV_H
#define CHX_FAKECONV_H
#include <stdbool.h>
#include <stdint.h>

enum { FAKE_AXES = 5 };
typedef struct fake_tensor { int type, n, dim[FAKE_AXES], step[FAKE_AXES]; } fake_tensor;
typedef struct fake_window { int n, pad[3], stride[3], dil[3], mode, type, groups, math, deterministic; } fake_window;

enum { FAKE_FORWARD, FAKE_TO_X, FAKE_TO_W };
/* Two of x, w and y in this order, without that which is computed, from `from`. */
typedef struct fake_conv { fake_tensor x, w, y; fake_window c; const void *from[2]; float *to; int mode; } fake_conv;
void fake_conv_run(void *of);

/* The next place of a walk over n axes; false: it was the last. */
bool fake_next(int at[3], const int *dim, int n);
int64_t fake_place(const fake_tensor *t, int image, int channel, const int at[3]);
#endif
