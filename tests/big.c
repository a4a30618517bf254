/* SPDX-License-Identifier: MIT
 * big.c: arrays of more than 2^31 elements, where 32 bits of an index or a count would not do. Not among the default tests: it needs some
 * 12 GiB and minutes; .ci/long runs it.
 *
 *   big [DEVICE ...]      native:0
 */
#include "check.h"
#include <unistd.h>

static const int64_t ROWS = 65537, COLUMNS = 32771; /* 2,147,713,027 */

static unsigned element(int64_t i, int64_t j)
{
  const unsigned v = (unsigned)(i * 7 % 251) ^ (unsigned)(j % 251);
  return v ? v : 1;
}

static double sum_by_hand(void)
{
  double sum = 0;
  for (int i = 0; i < 251; i++)
    for (int j = 0; j < 251; j++) sum += (double)element(i, j) * (double)((ROWS - i + 250) / 251) * (double)((COLUMNS - j + 250) / 251);
  return sum;
}

/* A sum of bytes is made of 64-bit integers: of all at once it would need eight times the array's memory. */
static double sum_by_blocks(chx_scope *s, const chx_array *x)
{
  enum { BLOCK = 4096 };
  const size_t mark = chx_scope_mark(s);
  double sum = 0;
  for (int64_t i = 0; i < ROWS; i += BLOCK) {
    sum += chx_item(s, chx_sum(s, chx_slice_axis(s, x, 0, i, i + BLOCK < ROWS ? i + BLOCK : ROWS, 1), 0, NULL, 0));
    chx_scope_rewind(s, mark, NULL);
  }
  return sum;
}

/* x[i, j] = (i 7 + j) mod 251 as bytes, made of operators; checked at places on both sides of 2^31. */
static void run(const char *device)
{
  chx_scope *s = chx_scope_begin(device);
  const int64_t n = ROWS * COLUMNS;
  const int64_t places[][2] = {{0, 0}, {1, 5}, {65535, 32770}, {65536, 0}, {65536, 32770}, {65530, 12345}, {40000, 1}};
  chx_array *i = chx_reshape(s, chx_cast(s, chx_remainder(s, chx_mul(s, chx_arange(s, CHX_I32, 0, 1, ROWS), chx_int(s, 7)), chx_int(s, 251)), CHX_U8),
                             2, (int64_t[]){ROWS, 1});
  chx_array *j = chx_cast(s, chx_remainder(s, chx_arange(s, CHX_I32, 0, 1, COLUMNS), chx_int(s, 251)), CHX_U8);
  chx_array *x = chx_maximum(s, chx_bitwise_xor(s, i, j), chx_cast(s, chx_int(s, 1), CHX_U8));
  ok(x && chx_size(x) == n, "%s: %lld elements %s", device, (long long)n, chx_scope_message(s));
  int bad = 0;
  for (size_t k = 0; k < sizeof places / sizeof *places && x; k++) {
    const int64_t r = places[k][0], c = places[k][1];
    bad += chx_item(s, chx_at(s, chx_at(s, x, 1, c), 0, r)) != (double)element(r, c);
  }
  is_int(bad, 0, "%s: elements at both ends", device);
  chx_array *flat = chx_reshape(s, x, 1, &n);
  ok(chx_item(s, chx_amax(s, flat, 0, NULL, 0)) == 255 && chx_item(s, chx_amin(s, flat, 0, NULL, 0)) == 1, "%s: the largest and the least %s", device,
     chx_scope_message(s));
  const double sum = sum_by_blocks(s, x), want = sum_by_hand();
  ok(sum == want, "%s: the sum of all: %.0f, want %.0f %s", device, sum, want, chx_scope_message(s));
  chx_array *turned = chx_copy(s, chx_transpose(s, x, 0, NULL));
  ok(turned && chx_item(s, chx_at(s, chx_at(s, turned, 0, 32770), 0, 65536)) == chx_item(s, chx_at(s, chx_at(s, x, 0, 65536), 0, 32770)),
     "%s: transposed %s", device, chx_scope_message(s));
  const double far = (double)(n - 3);
  chx_array *at = chx_from(s, CHX_I64, 1, &far);
  ok(chx_item(s, chx_at(s, chx_take(s, flat, at, 0), 0, 0)) == chx_item(s, chx_at(s, flat, 0, n - 3)), "%s: taken from beyond 2^31 %s", device,
     chx_scope_message(s));
  chx_scope_end(s);
}

int main(int argc, char **argv)
{
  const long pages = sysconf(_SC_AVPHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  if ((double)pages * (double)size < 12e9) {
    skip(1, "12 GB of free memory are not there");
    return done_testing();
  }
  if (argc < 2) run("native:0");
  for (int i = 1; i < argc; i++) run(argv[i]);
  return done_testing();
}
