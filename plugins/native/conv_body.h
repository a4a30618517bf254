/* SPDX-License-Identifier: MIT
 * conv_body.h: the convolution through columns, once per type T (tag TAG), for k_conv.c. See conv.h.
 */
#define NAME(x) NAT_PASTE(x, TAG)
#define TILE NAT(NAME(nat_tile))

/* Channels first: one tap of one channel's plane, places q0 .. q1 - 1, to a row of columns or, `back`, added from it. */
static void NAME(row)(const nat_conv *v, T *plane, int64_t tap, int64_t q0, int64_t q1, T *col, int back)
{
  const int64_t r2 = tap % v->ker[2], r1 = tap / v->ker[2] % v->ker[1], r0 = tap / v->ker[2] / v->ker[1];
  const int64_t s = v->stride[2];
  int64_t o2 = q0 % v->out[2], o1 = q0 / v->out[2] % v->out[1], o0 = q0 / v->out[2] / v->out[1];

  for (int64_t q = q0; q < q1;) {
    const int64_t n = v->out[2] - o2 < q1 - q ? v->out[2] - o2 : q1 - q;
    const int64_t row = nat_conv_row(v, o0, o1, r0, r1);
    int64_t lo = o2, hi = row < 0 ? o2 : o2 + n;
    const int64_t at = nat_conv_span(v, r2, &lo, &hi);
    T *to = col - o2, *from = plane + row * v->in[2] + at;
    if (row < 0) from = plane, hi = lo = o2 + n;
    if (back) {
      if (s == 1)
        for (int64_t o = lo; o < hi; o++) from[o] += to[o];
      else
        for (int64_t o = lo; o < hi; o++) from[o * s] += to[o];
    } else {
      for (int64_t o = o2; o < lo; o++) to[o] = 0;
      if (s == 1)
        for (int64_t o = lo; o < hi; o++) to[o] = from[o];
      else
        for (int64_t o = lo; o < hi; o++) to[o] = from[o * s];
      for (int64_t o = hi; o < o2 + n; o++) to[o] = 0;
    }
    col += n;
    q += n;
    o2 = 0;
    if (++o1 == v->out[1]) o1 = 0, o0++;
  }
}

/* Columns of channels c0 .. c1 - 1 (counted over all groups) of the image, places q0 .. q1 - 1; `back`: added to it. */
static void NAME(columns)(const nat_conv *v, T *image, int64_t c0, int64_t c1, int64_t q0, int64_t q1, T *col, int back)
{
  if (!v->last) {
    for (int64_t c = c0; c < c1; c++)
      for (int64_t tap = 0; tap < v->r; tap++, col += q1 - q0) NAME(row)(v, image + c * v->h, tap, q0, q1, col, back);
    return;
  }
  const int64_t n = c1 - c0;
  int64_t o2 = q0 % v->out[2], o1 = q0 / v->out[2] % v->out[1], o0 = q0 / v->out[2] / v->out[1];
  for (int64_t q = q0; q < q1; q++) {
    for (int64_t r0 = 0; r0 < v->ker[0]; r0++)
      for (int64_t r1 = 0; r1 < v->ker[1]; r1++) {
        const int64_t row = nat_conv_row(v, o0, o1, r0, r1);
        for (int64_t r2 = 0; r2 < v->ker[2]; r2++, col += n) {
          const int64_t w = o2 * v->stride[2] - v->pad[2] + r2 * v->dil[2];
          if (row < 0 || w < 0 || w >= v->in[2]) {
            for (int64_t c = 0; !back && c < n; c++) col[c] = 0;
            continue;
          }
          T *x = image + (row * v->in[2] + w) * v->c + c0;
          if (back)
            for (int64_t c = 0; c < n; c++) x[c] += col[c];
          else
            for (int64_t c = 0; c < n; c++) col[c] = x[c];
        }
      }
    if (++o2 == v->out[2]) {
      o2 = 0;
      if (++o1 == v->out[1]) o1 = 0, o0++;
    }
  }
}

/* Task: image, group, block of places. extra: channels last, each group's w as [R CG][KG]. */
static void NAME(forward)(int64_t begin, int64_t end, void *ctx)
{
  const nat_conv *v = ctx;
  const int64_t blocks = nat_ceil_div(v->p, v->block), depth = v->cg * v->r;
  T *col = (T *)v->scratch + begin / v->grain * v->piece, *y = v->result;
  const T *w = v->w, *bias = v->b;

  for (int64_t t = begin; t < end; t++) {
    const int64_t q0 = t % blocks * v->block, g = t / blocks % v->g, i = t / blocks / v->g;
    const int64_t n = v->p - q0 < v->block ? v->p - q0 : v->block, k0 = g * v->kg, c0 = g * v->cg;
    T *image = (T *)(uintptr_t)v->x + i * v->c * v->h;
    if (!v->plain) NAME(columns)(v, image, c0, c0 + v->cg, q0, q0 + n, col, 0);
    if (v->last) {
      T *to = y + (i * v->p + q0) * v->k + k0;
      for (int64_t q = 0; bias && q < n; q++)
        for (int64_t k = 0; k < v->kg; k++) to[q * v->k + k] = bias[k0 + k];
      const T *a = v->plain ? image + q0 * v->c + c0 : col;
      TILE(n, v->kg, depth, a, v->plain ? v->c : depth, 1, (T *)v->extra + k0 * depth, v->kg, 1, to, v->k, bias != NULL);
    } else {
      T *to = y + (i * v->k + k0) * v->p + q0;
      for (int64_t k = 0; bias && k < v->kg; k++)
        for (int64_t q = 0; q < n; q++) to[k * v->p + q] = bias[k0 + k];
      const T *b = v->plain ? image + c0 * v->h + q0 : col;
      TILE(v->kg, n, depth, w + k0 * depth, depth, 1, b, v->plain ? v->h : n, 1, to, v->p, bias != NULL);
    }
  }
}

/* Task: image, group, block of channels: gx of those, as columns (w^T gy) that are added back. */
static void NAME(grad_input)(int64_t begin, int64_t end, void *ctx)
{
  const nat_conv *v = ctx;
  const int64_t depth = v->cg * v->r;
  T *col = (T *)v->scratch + begin / v->grain * v->piece;

  for (int64_t t = begin; t < end; t++) {
    const int64_t cb = t % v->c_blocks * v->cb, g = t / v->c_blocks % v->g, i = t / v->c_blocks / v->g;
    const int64_t m = v->cg - cb < v->cb ? v->cg - cb : v->cb, k0 = g * v->kg, c0 = g * v->cg + cb;
    T *image = (T *)v->result + i * v->c * v->h;
    if (v->last && !v->plain)
      for (int64_t h = 0; h < v->h; h++) memset(image + h * v->c + c0, 0, (size_t)m * sizeof(T));
    else if (!v->plain)
      memset(image + c0 * v->h, 0, (size_t)(m * v->h) * sizeof(T));
    for (int64_t q0 = 0, n; q0 < v->p; q0 += n) {
      n = v->p - q0 < v->block ? v->p - q0 : v->block;
      if (v->last) {
        const T *gy = (const T *)v->y + (i * v->p + q0) * v->k + k0, *w = (const T *)v->w + k0 * depth + cb;
        T *to = v->plain ? image + q0 * v->c + c0 : col;
        if (m == v->cg)
          TILE(n, depth, v->kg, gy, v->k, 1, w, depth, 1, to, v->plain ? v->c : depth, 0);
        else
          for (int64_t r = 0; r < v->r; r++)
            TILE(n, m, v->kg, gy, v->k, 1, w + r * v->cg, depth, 1, to + r * m, v->plain ? v->c : m * v->r, 0);
      } else {
        const T *gy = (const T *)v->y + (i * v->k + k0) * v->p + q0, *w = (const T *)v->w + k0 * depth + cb * v->r;
        T *to = v->plain ? image + c0 * v->h + q0 : col;
        TILE(m * v->r, n, v->kg, w, 1, depth, gy, v->p, 1, to, v->plain ? v->h : n, 0);
      }
      if (!v->plain) NAME(columns)(v, image, c0, c0 + m, q0, q0 + n, col, 1);
    }
  }
}

/* Task: split of the images, group, block of channels: the split's part of gw, as [channel and tap][KG] in extra. */
static void NAME(grad_weight)(int64_t begin, int64_t end, void *ctx)
{
  const nat_conv *v = ctx;
  const int64_t depth = v->cg * v->r;
  T *col = (T *)v->scratch + begin / v->grain * v->piece;

  for (int64_t t = begin; t < end; t++) {
    const int64_t cb = t % v->c_blocks * v->cb, g = t / v->c_blocks % v->g, s = t / v->c_blocks / v->g;
    const int64_t m = v->cg - cb < v->cb ? v->cg - cb : v->cb, k0 = g * v->kg, c0 = g * v->cg + cb;
    T *sum = (T *)v->extra + (s * v->g + g) * depth * v->kg + cb * v->r * v->kg;
    memset(sum, 0, (size_t)(m * v->r * v->kg) * sizeof(T));
    for (int64_t i = s * v->n / v->splits; i < (s + 1) * v->n / v->splits; i++)
      for (int64_t q0 = 0, n; q0 < v->p; q0 += n) {
        n = v->p - q0 < v->block ? v->p - q0 : v->block;
        T *image = (T *)(uintptr_t)v->x + i * v->c * v->h;
        if (!v->plain) NAME(columns)(v, image, c0, c0 + m, q0, q0 + n, col, 0);
        if (v->last) {
          const T *gy = (const T *)v->y + (i * v->p + q0) * v->k + k0;
          const T *a = v->plain ? image + q0 * v->c + c0 : col;
          TILE(m * v->r, v->kg, n, a, 1, v->plain ? v->c : m * v->r, gy, v->k, 1, sum, v->kg, 1);
        } else {
          const T *gy = (const T *)v->y + (i * v->k + k0) * v->p + q0;
          const T *a = v->plain ? image + c0 * v->h + q0 : col;
          TILE(m * v->r, v->kg, n, a, v->plain ? v->h : n, 1, gy, 1, v->p, sum, v->kg, 1);
        }
      }
  }
}

/* gw[k] for k = begin .. end - 1: the splits' parts, added in order. */
static void NAME(gather_weight)(int64_t begin, int64_t end, void *ctx)
{
  const nat_conv *v = ctx;
  const int64_t depth = v->cg * v->r, all = v->g * depth * v->kg;

  for (int64_t k = begin; k < end; k++)
    for (int64_t c = 0; c < v->cg; c++) {
      const int64_t cb = c / v->cb * v->cb, m = v->cg - cb < v->cb ? v->cg - cb : v->cb;
      for (int64_t r = 0; r < v->r; r++) {
        const int64_t row = v->last ? cb * v->r + r * m + (c - cb) : c * v->r + r;
        const T *from = (const T *)v->extra + (k / v->kg * depth + row) * v->kg + k % v->kg;
        T sum = 0;
        for (int64_t s = 0; s < v->splits; s++) sum += from[s * all];
        ((T *)v->result)[k * depth + (v->last ? r * v->cg + c : c * v->r + r)] = sum;
      }
    }
}

/* extra = each group's w as [R CG][KG], for groups begin .. end - 1 of all K rows. */
static void NAME(turn_weight)(int64_t begin, int64_t end, void *ctx)
{
  const nat_conv *v = ctx;
  const int64_t depth = v->cg * v->r;
  for (int64_t k = begin; k < end; k++) {
    const T *from = (const T *)v->w + k * depth;
    T *to = (T *)v->extra + k / v->kg * v->kg * depth + k % v->kg;
    for (int64_t j = 0; j < depth; j++) to[j * v->kg] = from[j];
  }
}

#undef TILE
#undef NAME
