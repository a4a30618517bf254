/* SPDX-License-Identifier: MIT
 * test_dtype.c: the dtype table, one element stored and loaded, promotion against the table that NumPy made.
 */
#include "../core/internal.h"
#include "check.h"

enum { INTS = 8 };
static const int ints[INTS] = {CHX_I8, CHX_I16, CHX_I32, CHX_I64, CHX_U8, CHX_U16, CHX_U32, CHX_U64};

/* Saturating casts, by hand. The last column is u64's bits; i64's are in the fourth. */
#define I32_MAX INT32_MAX
static const struct {
  double v;
  int64_t want[INTS];
} casts[] = {
  {0, {0, 0, 0, 0, 0, 0, 0, 0}},
  {-0.0, {0, 0, 0, 0, 0, 0, 0, 0}},
  {1.99, {1, 1, 1, 1, 1, 1, 1, 1}},
  {-0.99, {0, 0, 0, 0, 0, 0, 0, 0}},
  {-1.99, {-1, -1, -1, -1, 0, 0, 0, 0}},
  {127.9, {127, 127, 127, 127, 127, 127, 127, 127}},
  {128, {127, 128, 128, 128, 128, 128, 128, 128}},
  {-128.9, {-128, -128, -128, -128, 0, 0, 0, 0}},
  {-129, {-128, -129, -129, -129, 0, 0, 0, 0}},
  {255.9, {127, 255, 255, 255, 255, 255, 255, 255}},
  {256, {127, 256, 256, 256, 255, 256, 256, 256}},
  {32768, {127, 32767, 32768, 32768, 255, 32768, 32768, 32768}},
  {-32769, {-128, -32768, -32769, -32769, 0, 0, 0, 0}},
  {65536, {127, 32767, 65536, 65536, 255, 65535, 65536, 65536}},
  {2147483647.5, {127, 32767, I32_MAX, 2147483647, 255, 65535, 2147483647, 2147483647}},
  {2147483648, {127, 32767, I32_MAX, 2147483648, 255, 65535, 2147483648, 2147483648}},
  {-2147483649.0, {-128, -32768, INT32_MIN, -2147483649, 0, 0, 0, 0}},
  {4294967296, {127, 32767, I32_MAX, 4294967296, 255, 65535, 4294967295, 4294967296}},
  {0x1.fffffffffffffp62, {127, 32767, I32_MAX, 0x7ffffffffffffc00, 255, 65535, 4294967295, 0x7ffffffffffffc00}},
  {0x1p63, {127, 32767, I32_MAX, INT64_MAX, 255, 65535, 4294967295, INT64_MIN}},
  {-0x1p63, {-128, -32768, INT32_MIN, INT64_MIN, 0, 0, 0, 0}},
  {-0x1.8p63, {-128, -32768, INT32_MIN, INT64_MIN, 0, 0, 0, 0}},
  {0x1p64, {127, 32767, I32_MAX, INT64_MAX, 255, 65535, 4294967295, -1}},
  {1e300, {127, 32767, I32_MAX, INT64_MAX, 255, 65535, 4294967295, -1}},
  {INFINITY, {127, 32767, I32_MAX, INT64_MAX, 255, 65535, 4294967295, -1}},
  {-INFINITY, {-128, -32768, INT32_MIN, INT64_MIN, 0, 0, 0, 0}},
  {NAN, {0, 0, 0, 0, 0, 0, 0, 0}},
};

/* Doubles rounded once to f16 and bf16, by hand. */
static const struct {
  double v;
  unsigned f16, bf16;
} halves[] = {
  {0, 0, 0}, {-0.0, 0x8000, 0x8000}, {1, 0x3c00, 0x3f80}, {-2, 0xc000, 0xc000},
  {1 + 0x1p-11, 0x3c00, 0x3f80},                 /* f16: a tie, to even */
  {1 + 0x1p-11 + 0x1p-40, 0x3c01, 0x3f80},       /* through f32 it would be the tie */
  {1 + 0x3p-11, 0x3c02, 0x3f80},
  {1 + 0x1p-8, 0x3c04, 0x3f80},                  /* bf16: a tie, to even */
  {1 + 0x1p-8 + 0x1p-40, 0x3c04, 0x3f81},
  {1 + 0x3p-8, 0x3c0c, 0x3f82},
  {65504, 0x7bff, 0x4780}, {65519.99, 0x7bff, 0x4780}, {65520, 0x7c00, 0x4780}, {-65520, 0xfc00, 0xc780},
  {0x1p-14, 0x0400, 0x3880}, {0x1p-24, 1, 0x3380}, {0x1p-25, 0, 0x3300}, {0x1.0001p-25, 1, 0x3300},
  {0x3p-25, 2, 0x33c0}, {0x1p-26, 0, 0x3280},
  {0x1p-14 - 0x1p-25, 0x0400, 0x3880},           /* a subnormal that rounds up to the smallest normal number */
  {0x1p-126, 0, 0x0080}, {0x1p-133, 0, 1}, {0x1p-134, 0, 0}, {0x1.01p-134, 0, 1}, {-0x3p-134, 0x8000, 0x8002},
  {0x1p-126 - 0x1p-134, 0, 0x0080},
  {0x1.fep127, 0x7c00, 0x7f7f}, {0x1.fefp127, 0x7c00, 0x7f7f}, {0x1.ffp127, 0x7c00, 0x7f80},
  {0x1.fffffep127, 0x7c00, 0x7f80}, {-1e300, 0xfc00, 0xff80}, {0x1p-1074, 0, 0}, {-1e-310, 0x8000, 0x8000},
  {INFINITY, 0x7c00, 0x7f80}, {-INFINITY, 0xfc00, 0xff80},
};

static uint16_t half_bits(int dtype, bool is_int, chxi_scalar v)
{
  uint16_t h;
  chxi_store(&h, dtype, is_int, v);
  return h;
}

static int64_t stored_int(int dtype, bool is_int, chxi_scalar v)
{
  char b[16];
  chxi_store(b, dtype, is_int, v);
  return chxi_load_i64(b, dtype);
}

static void test_table(void)
{
  static const struct { int id; const char *name; int size; } rows[] = {
    {CHX_BOOL, "bool", 1}, {CHX_I8, "i8", 1}, {CHX_I16, "i16", 2}, {CHX_I32, "i32", 4}, {CHX_I64, "i64", 8},
    {CHX_U8, "u8", 1}, {CHX_U16, "u16", 2}, {CHX_U32, "u32", 4}, {CHX_U64, "u64", 8}, {CHX_F16, "f16", 2},
    {CHX_BF16, "bf16", 2}, {CHX_F32, "f32", 4}, {CHX_F64, "f64", 8}, {CHX_C64, "c64", 8}, {CHX_C128, "c128", 16},
  };
  is_int(sizeof rows / sizeof *rows, CHX_DTYPE_END - 1, "every dtype is tested");
  bool good = true;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    good &= !strcmp(chx_dtype_name(rows[i].id), rows[i].name) && chx_dtype_size(rows[i].id) == rows[i].size &&
            chx_dtype_find(rows[i].name) == rows[i].id && chxi_dtypes[rows[i].id].bits == 8 * rows[i].size;
  ok(good, "names and sizes");
  is_str(chx_dtype_name(0), "?", "the name of no dtype");
  is_str(chx_dtype_name(-1), "?", "the name of dtype -1");
  is_str(chx_dtype_name(99), "?", "the name of dtype 99");
  is_int(chx_dtype_size(99), 0, "the size of dtype 99");
  is_int(chx_dtype_find("float"), CHX_DTYPE_NONE, "an unknown name");
  is_int(chx_dtype_find(NULL), CHX_DTYPE_NONE, "no name");
  is_str(chx_version(), "0.1.0", "version");
  is_str(chx_status_text(CHX_ENOMEM), "out of memory", "a status");
  is_str(chx_status_text(12345), "failed", "an unknown status");
}

static void test_casts(void)
{
  for (size_t i = 0; i < sizeof casts / sizeof *casts; i++) {
    bool good = true;
    const chxi_scalar v = {.f = casts[i].v};
    for (int k = 0; k < INTS; k++) {
      int64_t got = stored_int(ints[k], false, v);
      if (got == casts[i].want[k]) continue;
      note("%s: got %lld, want %lld", chx_dtype_name(ints[k]), (long long)got, (long long)casts[i].want[k]);
      good = false;
    }
    ok(good, "%g to integers", casts[i].v);
  }
  ok(stored_int(CHX_BOOL, false, (chxi_scalar){.f = NAN}) == 1 && stored_int(CHX_BOOL, false, (chxi_scalar){.f = 0.1}) == 1 &&
       stored_int(CHX_BOOL, false, (chxi_scalar){.f = -0.0}) == 0 && stored_int(CHX_BOOL, true, (chxi_scalar){.i = 256}) == 1,
     "anything that is not 0 is true");
  is_int(stored_int(CHX_U8, true, (chxi_scalar){.i = 300}), 44, "integers wrap: 300 to u8");
  is_int(stored_int(CHX_I8, true, (chxi_scalar){.i = 200}), -56, "200 to i8");
  is_int(stored_int(CHX_I32, true, (chxi_scalar){.i = INT64_MIN}), 0, "the least i64 to i32");
  is_int(stored_int(CHX_U64, true, (chxi_scalar){.i = -1}), -1, "-1 to u64 and back");
  char b[16];
  chxi_store(b, CHX_U64, true, (chxi_scalar){.i = -1});
  is_close(chxi_load_f64(b, CHX_U64), 0x1p64, 0, "the largest u64 as a double");

  static const int floats[] = {CHX_F16, CHX_BF16, CHX_F32, CHX_F64, CHX_C64, CHX_C128};
  for (size_t k = 0; k < sizeof floats / sizeof *floats; k++) {
    static const double v[] = {0, -1.5, 0.375, INFINITY, -INFINITY, NAN, 1e300};
    bool good = true;
    for (size_t i = 0; i < 6; i++) {
      memset(b, 0x55, sizeof b);
      chxi_store(b, floats[k], false, (chxi_scalar){.f = v[i]});
      double r = chxi_load_f64(b, floats[k]);
      good &= memcmp(&r, &v[i], sizeof r) == 0 || (isnan(r) && isnan(v[i]));
    }
    ok(good, "%s keeps what it holds", chx_dtype_name(floats[k]));
  }
  chxi_store(b, CHX_C64, false, (chxi_scalar){.f = 3});
  float c[2];
  memcpy(c, b, sizeof c);
  ok(c[0] == 3 && c[1] == 0, "a real number to c64 has no imaginary part");
  chxi_store(b, CHX_F32, false, (chxi_scalar){.f = 1e300});
  is_int(chxi_load_i64(b, CHX_F32), INT64_MAX, "an infinite f32 as an integer");
  chxi_store(b, CHX_F16, false, (chxi_scalar){.f = NAN});
  is_int(chxi_load_i64(b, CHX_F16), 0, "NaN as an integer");
}

static void test_halves(void)
{
  for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) {
    const chxi_scalar v = {.f = halves[i].v};
    unsigned f = half_bits(CHX_F16, false, v), b = half_bits(CHX_BF16, false, v);
    ok(f == halves[i].f16 && b == halves[i].bf16, "%a: f16 %04x is %04x, bf16 %04x is %04x", halves[i].v, f,
       halves[i].f16, b, halves[i].bf16);
  }
  is_int(half_bits(CHX_F16, false, (chxi_scalar){.f = NAN}) & 0x7e00, 0x7e00, "NaN in f16");
  is_int(half_bits(CHX_BF16, false, (chxi_scalar){.f = NAN}) & 0x7fc0, 0x7fc0, "NaN in bf16");

  is_int(half_bits(CHX_F16, true, (chxi_scalar){.i = 2049}), 0x6800, "2049 to f16: a tie, to even");
  is_int(half_bits(CHX_F16, true, (chxi_scalar){.i = 65520}), 0x7c00, "65520 to f16");
  is_int(half_bits(CHX_BF16, true, (chxi_scalar){.i = 257}), 0x4380, "257 to bf16: a tie, to even");
  is_int(half_bits(CHX_BF16, true, (chxi_scalar){.i = ((int64_t)1 << 62) + ((int64_t)1 << 54)}), 0x5e80,
         "2^62 + 2^54 to bf16: a tie, to even");
  is_int(half_bits(CHX_BF16, true, (chxi_scalar){.i = ((int64_t)1 << 62) + ((int64_t)1 << 54) + 1}), 0x5e81,
         "one more is past the tie, though a double does not hold it");
  is_int(half_bits(CHX_BF16, true, (chxi_scalar){.i = INT64_MIN}), 0xdf00, "the least i64 to bf16");

  bool loads = true, round_trips = true;
  for (unsigned i = 0; i < 65536; i++) {
    const uint16_t h = (uint16_t)i;
    for (int k = 0; k < 2; k++) {
      const int dtype = k ? CHX_BF16 : CHX_F16;
      const double want = check_load(&h, dtype), got = chxi_load_f64(&h, dtype);
      loads &= memcmp(&want, &got, sizeof got) == 0 || (isnan(want) && isnan(got));
      round_trips &= isnan(got) || half_bits(dtype, false, (chxi_scalar){.f = got}) == h;
    }
  }
  ok(loads, "every f16 and bf16 as a double");
  ok(round_trips, "every f16 and bf16 to a double and back");

  check_seed(7);
  bool same = true;
  for (int i = 0; i < 200000; i++) {
    uint64_t bits = check_bits();
    double v;
    bits = (bits & 0x800fffffffffffff) | (1023 - 150 + (bits >> 52) % 300) << 52;
    if (i % 3 == 0) bits &= ~(uint64_t)0 << (i % 52); /* ties and exact values */
    memcpy(&v, &bits, sizeof v);
    for (int k = 0; k < 2; k++) {
      uint16_t want;
      check_store(&want, k ? CHX_BF16 : CHX_F16, v);
      if (half_bits(k ? CHX_BF16 : CHX_F16, false, (chxi_scalar){.f = v}) != want) {
        note("%a to %s", v, k ? "bf16" : "f16");
        same = false;
      }
    }
  }
  ok(same, "200000 random doubles to f16 and bf16");
}

static void test_promote(void)
{
  FILE *f = fopen(check_data("promote.txt"), "r");
  if (!ok(f != NULL, "tests/data/promote.txt can be read")) return;
  char line[128], a[16], b[16], r[16];
  int pairs = 0, weak = 0, wrong = 0;
  while (fgets(line, sizeof line, f)) {
    if (*line == '#' || sscanf(line, "%15s %15s %15s", a, b, r) != 3) continue;
    int got;
    if (!strncmp(b, "weak-", 5)) {
      got = chxi_promote_weak(chx_dtype_find(a), b[5] == 'b' ? 'B' : b[5] == 'i' ? 'I' : 'F');
      weak++;
    } else {
      got = chx_promote(chx_dtype_find(a), chx_dtype_find(b));
      pairs++;
    }
    if (got == chx_dtype_find(r)) continue;
    note("%s with %s: got %s, NumPy says %s", a, b, chx_dtype_name(got), r);
    wrong++;
  }
  fclose(f);
  is_int(pairs, (CHX_DTYPE_END - 1) * (CHX_DTYPE_END - 1), "every pair of dtypes is in the table");
  is_int(weak, (CHX_DTYPE_END - 1) * 3, "every dtype with every weak scalar is in the table");
  is_int(wrong, 0, "promotion as NumPy");
  is_int(chx_promote(0, CHX_F32), CHX_DTYPE_NONE, "no dtype promotes to none");
  is_int(chx_promote(CHX_F32, 77), CHX_DTYPE_NONE, "dtype 77 promotes to none");
  is_int(chxi_promote_weak(0, 'B'), CHX_BOOL, "a weak bool alone");
  is_int(chxi_promote_weak(0, 'I'), CHX_I64, "a weak integer alone");
  is_int(chxi_promote_weak(0, 'F'), CHX_F64, "a weak float alone");
}

int main(void)
{
  test_table();
  test_casts();
  test_halves();
  test_promote();
  return done_testing();
}
