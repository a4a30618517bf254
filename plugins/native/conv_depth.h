/* SPDX-License-Identifier: MIT
 * conv_depth.h: depthwise convolution, CG = 1, where columns would be mere copies: direct loops, once per type T (tag TAG),
 * for k_conv.c. See conv.h. Channels last needs KG = 1 too, and finds w in extra as [R][K].
 */
#define NAME(x) NAT_PASTE(x, TAG)

/* Channels first, one plane: what is 0: y += f x; 1: x += f y; 2: returns the sum of x y. f: the weight of the tap. */
static inline __attribute__((always_inline)) T NAME(depth_tap)(const nat_conv *v, int what, T *x, T *y, int64_t tap, T f)
{
  const int64_t r2 = tap % v->ker[2], r1 = tap / v->ker[2] % v->ker[1], r0 = tap / v->ker[2] / v->ker[1];
  const int64_t s = v->stride[2];
  int64_t lo = 0, hi = v->out[2];
  const int64_t at = nat_conv_span(v, r2, &lo, &hi);
  T sum[8] = {0};

  for (int64_t o0 = 0; o0 < v->out[0]; o0++)
    for (int64_t o1 = 0; o1 < v->out[1]; o1++) {
      const int64_t row = nat_conv_row(v, o0, o1, r0, r1);
      if (row < 0 || lo == hi) continue;
      T *restrict a = x + row * v->in[2] + at + lo * s, *restrict b = y + (o0 * v->out[1] + o1) * v->out[2] + lo;
      const int64_t n = hi - lo;
      int64_t j = 0;
      if (what == 0 && s == 1)
        for (; j < n; j++) b[j] += f * a[j];
      if (what == 0)
        for (; j < n; j++) b[j] += f * a[j * s];
      if (what == 1 && s == 1)
        for (; j < n; j++) a[j] += f * b[j];
      if (what == 1)
        for (; j < n; j++) a[j * s] += f * b[j];
      if (what == 2 && s == 1)
        for (; j + 8 <= n; j += 8)
          for (int l = 0; l < 8; l++) sum[l] += a[j + l] * b[j + l];
      if (what == 2)
        for (; j < n; j++) sum[0] += a[j * s] * b[j];
    }
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

/* Tasks: y's planes (n, k); gx's planes (n, c); rows k of gw. */
static void NAME(depth_first)(int64_t begin, int64_t end, void *ctx)
{
  const nat_conv *v = ctx;
  T *x = (T *)(uintptr_t)v->x, *y = (T *)(uintptr_t)v->y, *to = v->result;
  const T *w = v->w, *bias = v->b;

  for (int64_t t = begin; t < end; t++)
    if (to == y) {
      const int64_t k = t % v->k, i = t / v->k;
      for (int64_t q = 0; q < v->p; q++) y[t * v->p + q] = bias ? bias[k] : 0;
      for (int64_t r = 0; r < v->r; r++)
        NAME(depth_tap)(v, 0, x + (i * v->c + k / v->kg) * v->h, y + t * v->p, r, w[k * v->r + r]);
    } else if (to == x) {
      const int64_t c = t % v->c, i = t / v->c;
      memset(x + t * v->h, 0, (size_t)v->h * sizeof(T));
      for (int64_t k = c * v->kg; k < (c + 1) * v->kg; k++)
        for (int64_t r = 0; r < v->r; r++)
          NAME(depth_tap)(v, 1, x + t * v->h, y + (i * v->k + k) * v->p, r, w[k * v->r + r]);
    } else {
      for (int64_t r = 0; r < v->r; r++) {
        T sum = 0;
        for (int64_t i = 0; i < v->n; i++)
          sum += NAME(depth_tap)(v, 2, x + (i * v->c + t / v->kg) * v->h, y + (i * v->k + t) * v->p, r, 0);
        to[t * v->r + r] = sum;
      }
    }
}

/* Channels last: vectors along the channels c0 .. c0 + n - 1, for rows o0 of all images from b to e. */
static inline __attribute__((always_inline)) void NAME(depth_places)(const nat_conv *v, int what, T *x, T *y, T *w, int64_t b,
                                                                     int64_t e, int64_t r_begin, int64_t r_end, int64_t c0,
                                                                     int64_t n)
{
  for (int64_t i = b; i < e; i++)
    for (int64_t p = 0; p < v->p; p++) {
      const int64_t o2 = p % v->out[2], o1 = p / v->out[2] % v->out[1], o0 = p / v->out[2] / v->out[1];
      for (int64_t r = r_begin; r < r_end; r++) {
        const int64_t at = o2 * v->stride[2] - v->pad[2] + r % v->ker[2] * v->dil[2];
        const int64_t row = nat_conv_row(v, o0, o1, r / v->ker[2] / v->ker[1], r / v->ker[2] % v->ker[1]);
        if (row < 0 || at < 0 || at >= v->in[2]) continue;
        T *restrict xs = x + (i * v->h + row * v->in[2] + at) * v->c + c0, *restrict ys = y + (i * v->p + p) * v->c + c0;
        T *restrict ws = w + r * v->c + c0;
        if (what == 0)
          for (int64_t j = 0; j < n; j++) ys[j] += xs[j] * ws[j];
        if (what == 1)
          for (int64_t j = 0; j < n; j++) xs[j] += ys[j] * ws[j];
        if (what == 2)
          for (int64_t j = 0; j < n; j++) ws[j] += xs[j] * ys[j];
      }
    }
}

/* Tasks: image and block of channels; of gw, which comes out in extra as [R][K]: tap and block of channels. */
static void NAME(depth_last)(int64_t begin, int64_t end, void *ctx)
{
  const nat_conv *v = ctx;
  T *x = (T *)(uintptr_t)v->x, *y = (T *)(uintptr_t)v->y, *w = v->extra;
  const T *bias = v->b;

  for (int64_t t = begin; t < end; t++) {
    const int64_t c0 = t % v->c_blocks * v->cb, i = t / v->c_blocks, n = v->c - c0 < v->cb ? v->c - c0 : v->cb;
    if (v->result == y) {
      for (int64_t p = 0; p < v->p; p++)
        for (int64_t j = 0; j < n; j++) y[(i * v->p + p) * v->c + c0 + j] = bias ? bias[c0 + j] : 0;
      NAME(depth_places)(v, 0, x, y, w, i, i + 1, 0, v->r, c0, n);
    } else if (v->result == x) {
      for (int64_t h = 0; h < v->h; h++) memset(x + (i * v->h + h) * v->c + c0, 0, (size_t)n * sizeof(T));
      NAME(depth_places)(v, 1, x, y, w, i, i + 1, 0, v->r, c0, n);
    } else {
      memset(w + i * v->c + c0, 0, (size_t)n * sizeof(T));
      NAME(depth_places)(v, 2, x, y, w, 0, v->n, i, i + 1, c0, n);
      for (int64_t j = 0; j < n; j++) ((T *)v->result)[(c0 + j) * v->r + i] = w[i * v->c + c0 + j];
    }
  }
}

/* extra = w as [R][K] */
static void NAME(depth_weight)(const nat_conv *v)
{
  for (int64_t k = 0; k < v->k; k++)
    for (int64_t r = 0; r < v->r; r++) ((T *)v->extra)[r * v->k + k] = ((const T *)v->w)[k * v->r + r];
}

#undef NAME
