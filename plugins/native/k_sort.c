/* SPDX-License-Identifier: MIT
 * k_sort.c: sort and argsort along one axis, for any strides.
 *
 * A line's elements become unsigned keys in whose order they are to stand: of floats -0 is 0, and all NaNs are one key
 * above infinity; descending, all bits are inverted. A list of keys, or of keys with their indices behind them, is
 * sorted from the lowest digit up (by insertion if it is short). With indices no two are equal, so the order is stable.
 * Without, keys become elements again, and equal ones that differ in bits, zeros and NaNs, are put back in their order
 * from x.
 */
#include "iter.h"

enum {
  FEW = 96 /* elements sorted by insertion */,
  DIGIT = 8,
  MAX_DIGITS = 64 / DIGIT,
  MAX_PIECES = 16,
  SCRATCH = 1 << 26
};

/* ---- keys ------------------------------------------------------------------------------------------------------- */

typedef struct pair { uint64_t key, index; } pair;

typedef void keys_fn(int64_t n, const char *x, int64_t step, uint64_t flip, int with_index, void *keys);
typedef void elements_fn(int64_t n, const void *keys, uint64_t flip, char *y, int64_t step);

/* T: the elements as unsigned integers; K: the keys; S: T's highest bit; KEY(v), and its inverse ELEMENT(k). */
#define FAMILY(tag, T, K, S, KEY, ELEMENT)                                                                           \
  static void keys_##tag(int64_t n, const char *x, int64_t step, uint64_t flip, int with_index, void *keys)          \
  {                                                                                                                  \
    const T all = (T)flip;                                                                                           \
    for (int64_t i = 0; i < n; i++) {                                                                                \
      const T v = *(const T *)(const void *)(x + i * step);                                                          \
      const K k = (K)(T)((KEY(T, v, S)) ^ all);                                                                      \
      if (!with_index) ((K *)keys)[i] = k;                                                                           \
      else if (sizeof(K) == 4 && (uint64_t)n <= UINT32_MAX) ((uint64_t *)keys)[i] = (uint64_t)k << 32 | (uint64_t)i; \
      else ((pair *)keys)[i] = (pair){k, (uint64_t)i};                                                               \
    }                                                                                                                \
  }                                                                                                                  \
  static void elements_##tag(int64_t n, const void *keys, uint64_t flip, char *y, int64_t step)                      \
  {                                                                                                                  \
    const T all = (T)flip;                                                                                           \
    for (int64_t i = 0; i < n; i++) {                                                                                \
      const T k = (T)((T)((const K *)keys)[i] ^ all);                                                                \
      *(T *)(void *)(y + i * step) = (T)(ELEMENT(T, k, S));                                                          \
    }                                                                                                                \
  }
#define KEY_B(T, v, S) (v) != 0
#define KEY_U(T, v, S) (v)
#define KEY_I(T, v, S) (v) ^ (T)(S)
#define KEY_F(T, v, S, INF)                                                                                       \
  ((T)((v) & (T)~(S)) > (T)(INF) ? (T)~(T)0 : (T)((v) & (T)~(S)) == 0 ? (T)(S) : (v) & (S) ? (T)~(v) : (T)((v) | (S)))
#define KEY_F16(T, v, S) KEY_F(T, v, S, 0x7c00)
#define KEY_BF16(T, v, S) KEY_F(T, v, S, 0x7f80)
#define KEY_F32(T, v, S) KEY_F(T, v, S, 0x7f800000)
#define KEY_F64(T, v, S) KEY_F(T, v, S, 0x7ff0000000000000)
#define ELEMENT_F(T, k, S) (k) & (S) ? (T)((k) ^ (S)) : (T)~(k)
FAMILY(bool, uint8_t, uint32_t, 0, KEY_B, KEY_U)
FAMILY(u8, uint8_t, uint32_t, 0, KEY_U, KEY_U)
FAMILY(u16, uint16_t, uint32_t, 0, KEY_U, KEY_U)
FAMILY(u32, uint32_t, uint32_t, 0, KEY_U, KEY_U)
FAMILY(u64, uint64_t, uint64_t, 0, KEY_U, KEY_U)
FAMILY(i8, uint8_t, uint32_t, 0x80, KEY_I, KEY_I)
FAMILY(i16, uint16_t, uint32_t, 0x8000, KEY_I, KEY_I)
FAMILY(i32, uint32_t, uint32_t, 0x80000000, KEY_I, KEY_I)
FAMILY(i64, uint64_t, uint64_t, 0x8000000000000000, KEY_I, KEY_I)
FAMILY(f16, uint16_t, uint32_t, 0x8000, KEY_F16, ELEMENT_F)
FAMILY(bf16, uint16_t, uint32_t, 0x8000, KEY_BF16, ELEMENT_F)
FAMILY(f32, uint32_t, uint32_t, 0x80000000, KEY_F32, ELEMENT_F)
FAMILY(f64, uint64_t, uint64_t, 0x8000000000000000, KEY_F64, ELEMENT_F)

static const struct { keys_fn *keys; elements_fn *elements; } types[CHX_DTYPE_END] = {
  [CHX_BOOL] = {keys_bool, elements_bool}, [CHX_I8] = {keys_i8, elements_i8}, [CHX_I16] = {keys_i16, elements_i16},
  [CHX_I32] = {keys_i32, elements_i32}, [CHX_I64] = {keys_i64, elements_i64}, [CHX_U8] = {keys_u8, elements_u8},
  [CHX_U16] = {keys_u16, elements_u16}, [CHX_U32] = {keys_u32, elements_u32}, [CHX_U64] = {keys_u64, elements_u64},
  [CHX_F16] = {keys_f16, elements_f16}, [CHX_BF16] = {keys_bf16, elements_bf16}, [CHX_F32] = {keys_f32, elements_f32},
  [CHX_F64] = {keys_f64, elements_f64}};

/* ---- sorting lists ------------------------------------------------------------------------------------------------ */

/* sort_tag: a list of n in order, by `bits` bits from bit `low` on; the list that it ends up in. Digits in which all
 * agree are left out. */
#define SORT(tag, T, WORD, BEFORE)                                                                              \
  static T *sort_##tag(int64_t n, T *a, T *b, int low, int bits, int64_t (*count)[1 << DIGIT])                  \
  {                                                                                                             \
    const int digits = (bits + DIGIT - 1) / DIGIT, last = (1 << DIGIT) - 1;                                     \
    if (n <= FEW) {                                                                                             \
      for (int64_t i = 1; i < n; i++) {                                                                         \
        const T v = a[i];                                                                                       \
        int64_t k = i;                                                                                          \
        for (; k > 0 && BEFORE(v, a[k - 1]); k--) a[k] = a[k - 1];                                              \
        a[k] = v;                                                                                               \
      }                                                                                                         \
      return a;                                                                                                 \
    }                                                                                                           \
    memset(count, 0, (size_t)digits * sizeof *count);                                                           \
    for (int64_t i = 0; i < n; i++)                                                                             \
      for (int d = 0; d < digits; d++) count[d][WORD(a[i]) >> (low + d * DIGIT) & last]++;                      \
    for (int d = 0; d < digits; d++) {                                                                          \
      int64_t *at = count[d], sum = 0;                                                                          \
      const int shift = low + d * DIGIT;                                                                        \
      if (at[WORD(a[0]) >> shift & last] == n) continue;                                                        \
      for (int k = 0; k <= last; k++) {                                                                         \
        const int64_t c = at[k];                                                                                \
        at[k] = sum;                                                                                            \
        sum += c;                                                                                               \
      }                                                                                                         \
      for (int64_t i = 0; i < n; i++) b[at[WORD(a[i]) >> shift & last]++] = a[i];                               \
      T *swap = a;                                                                                              \
      a = b;                                                                                                    \
      b = swap;                                                                                                 \
    }                                                                                                           \
    return a;                                                                                                   \
  }
#define ITSELF(v) (v)
#define ITS_KEY(v) (v).key
#define LESS(v, w) (v) < (w)
#define KEY_LESS(v, w) (v).key < (w).key
SORT(u32, uint32_t, ITSELF, LESS)
SORT(u64, uint64_t, ITSELF, LESS)
SORT(pair, pair, ITS_KEY, KEY_LESS)

/* ---- lines -------------------------------------------------------------------------------------------------------- */

typedef struct job {
  nat_walk w;            /* over lines: operand 0 is y, 1 is x */
  int64_t n, xs, ys;     /* elements of a line, and bytes from one to the next */
  int dtype, bits, with_index;
  uint64_t flip;         /* all bits set if descending */
  int64_t entry, piece, grain; /* bytes of an entry of a list; of the scratch of `grain` lines */
  char *scratch;
} job;

/* Equal elements whose bits differ, zeros and NaNs, are put back in x's order; sorted keys are at k. */
static void restore(const job *j, const void *keys, const char *x, char *y)
{
  const uint64_t sign = (uint64_t)1 << (j->bits - 1), ones = sign | (sign - 1);
  const uint64_t zero = sign ^ (j->flip & ones), nan = ones ^ (j->flip & ones);
  int64_t at[2] = {-1, -1}; /* where the next zero and the next NaN go */

#define KEY_AT(i) (j->bits == 64 ? ((const uint64_t *)keys)[i] : ((const uint32_t *)keys)[i])
  for (int w = 0; w < 2; w++) {
    const uint64_t want = w ? nan : zero;
    int64_t lo = 0, hi = j->n;
    while (lo < hi) {
      const int64_t mid = lo + (hi - lo) / 2;
      if (KEY_AT(mid) < want) lo = mid + 1;
      else hi = mid;
    }
    if (lo < j->n && KEY_AT(lo) == want) at[w] = lo;
  }
#undef KEY_AT
  if (at[0] < 0 && at[1] < 0) return;
  for (int64_t i = 0; i < j->n; i++) {
    const char *p = x + i * j->xs;
    const uint64_t v = j->bits == 16   ? *(const uint16_t *)(const void *)p
                       : j->bits == 32 ? *(const uint32_t *)(const void *)p
                                       : *(const uint64_t *)(const void *)p;
    const uint64_t mag = v & ~sign;
    const uint64_t inf = j->dtype == CHX_F16    ? 0x7c00
                         : j->dtype == CHX_BF16 ? 0x7f80
                         : j->bits == 32        ? 0x7f800000
                                                : 0x7ff0000000000000;
    if (mag == 0) nat_move(1, j->bits / 8, y + at[0]++ * j->ys, 0, p, 0);
    else if (mag > inf) nat_move(1, j->bits / 8, y + at[1]++ * j->ys, 0, p, 0);
  }
}

static void line(const job *j, const char *x, char *y, char *room)
{
  int64_t(*count)[1 << DIGIT] = (void *)room;
  void *a = room + MAX_DIGITS * sizeof *count, *b = (char *)a + j->n * j->entry;

  types[j->dtype].keys(j->n, x, j->xs, j->flip, j->with_index, a);
  if (!j->with_index) {
    const void *k =
        j->entry == 4 ? (void *)sort_u32(j->n, a, b, 0, j->bits, count) : sort_u64(j->n, a, b, 0, j->bits, count);
    types[j->dtype].elements(j->n, k, j->flip, y, j->ys);
    if (CHX_FLOATS >> j->dtype & 1) restore(j, k, x, y);
  } else if (j->entry == 8) {
    const uint64_t *k = sort_u64(j->n, a, b, 32, j->bits, count);
    for (int64_t i = 0; i < j->n; i++) *(int64_t *)(void *)(y + i * j->ys) = (int64_t)(k[i] & UINT32_MAX);
  } else {
    const pair *k = sort_pair(j->n, a, b, 0, j->bits, count);
    for (int64_t i = 0; i < j->n; i++) *(int64_t *)(void *)(y + i * j->ys) = (int64_t)k[i].index;
  }
}

static void lines(int64_t begin, int64_t end, void *ctx)
{
  const job *j = ctx;
  char *room = j->scratch + begin / j->grain * j->piece;
  nat_walk w = j->w;

  nat_walk_seek(&w, begin, end);
  for (int64_t n; (n = nat_walk_next(&w)) != 0;)
    for (int64_t i = 0; i < n; i++) line(j, w.p[1] + i * w.step[1], w.p[0] + i * w.step[0], room);
}

/* ---- the kernel -------------------------------------------------------------------------------------------------- */

/* self: NULL for the elements, else their indices */
static chx_status sort(void *self, const chx_call *c)
{
  const chx_sort_attr *a = c->attr;
  const chx_tensor *x = &c->in[0], *y = &c->out[0];
  const int axis = (int)a->axis;
  nat_part px, py;
  job j = {.dtype = nat_dtype(x), .bits = x->bits, .with_index = self != NULL, .flip = a->descending ? UINT64_MAX : 0};

  if (nat_count(y) == 0) return CHX_OK;
  if (j.dtype == CHX_BOOL) {
    j.bits = 8;
    j.flip &= 1;
  }
  j.n = x->shape[axis];
  j.xs = x->strides[axis] * nat_size(x);
  j.ys = y->strides[axis] * nat_size(y);
  nat_walk_init(&j.w, y->ndim - 1, py.shape, 2,
                (const chx_tensor *[]){nat_without(&py, y, axis, 1), nat_without(&px, x, axis, 1)});
  j.entry = !j.with_index ? (j.bits > 32 ? 8 : 4) : j.bits > 32 || (uint64_t)j.n > UINT32_MAX ? 16 : 8;
  j.piece = (2 * j.n * j.entry + 63) / 64 * 64 + (int64_t)sizeof(int64_t[MAX_DIGITS][1 << DIGIT]);
  int64_t pieces = SCRATCH / j.piece < 2 ? 2 : SCRATCH / j.piece < MAX_PIECES ? SCRATCH / j.piece : MAX_PIECES;
  const int64_t least = NAT_GRAIN / 16 / j.n + 1; /* an element costs as much as some additions */
  j.grain = (j.w.n + pieces - 1) / pieces > least ? (j.w.n + pieces - 1) / pieces : least;
  pieces = (j.w.n + j.grain - 1) / j.grain;
  j.scratch = nat_host->scratch(nat_host->ctx, c, (uint64_t)(pieces * j.piece));
  if (!j.scratch) return nat_fail(CHX_ENOMEM, "sort: no memory for lists of %lld keys", (long long)j.n);
  nat_parallel(j.w.n, j.grain, lines, &j);
  return CHX_OK;
}

static char indices; /* its address says so */
#define KERNEL(name, what, out) \
  { \
    NAT_KERNEL, .op = name, .attr_size = sizeof(chx_sort_attr), .dtypes_in = CHX_ANY_REAL, .dtypes_out = out, \
                .run = sort, .self = what \
  }
extern const chx_kernel NAT(nat_sort_kernels)[];
const chx_kernel NAT(nat_sort_kernels)[] = {
  KERNEL("sort", NULL, CHX_ANY_REAL), KERNEL("argsort", &indices, CHX_BIT(CHX_I64)), {.op = NULL}};
