/* SPDX-License-Identifier: MIT
 * test_index.c: scatter_add of many elements into one: a sum of 16-bit elements is rounded once, whatever the device.
 */
#include "check.h"

enum { N = 4096 }; /* a sum that is rounded at each element stays at 2048 in f16, at 256 in bf16 */

static void many(chx_scope *s, const char *device, int dtype, bool along)
{
  chx_array *x = chx_zeros(s, dtype, 1, (int64_t[]){2}), *i = chx_zeros(s, CHX_I64, 1, (int64_t[]){N});
  chx_array *y = chx_ones(s, dtype, 1, (int64_t[]){N});
  chx_array *z = along ? chx_scatter_add_along_axis(s, x, i, y, 0) : chx_scatter_add(s, x, i, y, 0);
  ok(z && chx_dtype(z) == dtype && rel_err(z, (double[]){N, 0}) == 0, "%s: scatter_add%s of %d ones, %s: %s", device,
     along ? "_along_axis" : "", N, chx_dtype_name(dtype), chx_scope_message(s));
}

static void on(const char *device, bool must)
{
  chx_scope *s = chx_scope_begin(device);
  if (!s || chx_scope_error(s)) {
    if (must) ok(false, "%s is there: %s", device, s ? chx_scope_message(s) : "no scope");
    else skip(4, s ? chx_scope_message(s) : device);
  } else
    for (int along = 0; along < 2; along++) {
      many(s, device, CHX_F16, along);
      many(s, device, CHX_BF16, along);
    }
  chx_scope_end(s);
}

int main(void)
{
  const char *usual[] = {"native:0", "ref:0", "sample:0", "sim:0", "opencl:0"}, *devices[16];
  bool named;
  const int n = check_devices(usual, 5, devices, &named);
  for (int d = 0; d < n; d++) on(devices[d], named);
  return done_testing();
}
