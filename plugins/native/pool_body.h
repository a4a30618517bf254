/* SPDX-License-Identifier: MIT
 * pool_body.h: max_pool once per type for k_pool.c. T, TAG: the type; V: what is compared; LOAD(x): T to V; NAN_OF(v).
 */
#define NAME(x) NAT_PASTE(x, TAG)

/* Channels first; tasks are planes. The largest so far is beaten by a larger one or by a NaN, unless it is a NaN. */
static void NAME(max_first)(int64_t begin, int64_t end, void *ctx)
{
  const pool *v = ctx;
  for (int64_t t = begin; t < end; t++) {
    const T *x = (const T *)v->x + t * v->h;
    T *y = (T *)v->y + t * v->p;
    int64_t *at = v->at + t * v->p;
    window w;
    EACH_WINDOW(v, w, p) {
      int64_t best = w.from[2] + v->in[2] * (w.from[1] + v->in[1] * w.from[0]);
      V top = LOAD(x[best]);
      for (int64_t h0 = w.from[0]; h0 < w.to[0]; h0++)
        for (int64_t h1 = w.from[1]; h1 < w.to[1]; h1++) {
          const int64_t row = (h0 * v->in[1] + h1) * v->in[2];
          for (int64_t h2 = row + w.from[2]; h2 < row + w.to[2]; h2++) {
            const V e = LOAD(x[h2]);
            const int win = ((e > top) | (NAN_OF(e))) & !(NAN_OF(top));
            best += (h2 - best) & -(int64_t)win; /* no branch: which wins cannot be foreseen */
            top = LOAD(x[best]);
          }
        }
      y[p] = x[best];
      at[p] = best;
    }
  }
}

/* Channels last; tasks are places of all images, loops run over channels. */
static void NAME(max_last)(int64_t begin, int64_t end, void *ctx)
{
  const pool *v = ctx;
  for (int64_t t = begin; t < end; t++) {
    const window w = window_at(v, t % v->p);
    const T *x = (const T *)v->x + t / v->p * v->h * v->c;
    T *restrict y = (T *)v->y + t * v->c;
    int64_t *restrict at = v->at + t * v->c;
    int first = 1;
    for (int64_t h0 = w.from[0]; h0 < w.to[0]; h0++)
      for (int64_t h1 = w.from[1]; h1 < w.to[1]; h1++)
        for (int64_t h2 = w.from[2]; h2 < w.to[2]; h2++, first = 0) {
          const int64_t flat = (h0 * v->in[1] + h1) * v->in[2] + h2, n = v->c;
          const T *restrict e = x + flat * n;
          if (first)
            for (int64_t c = 0; c < n; c++) y[c] = e[c], at[c] = flat;
          else
            for (int64_t c = 0; c < n; c++) {
              const V a = LOAD(e[c]), b = LOAD(y[c]);
              const int win = ((a > b) | (NAN_OF(a))) & !(NAN_OF(b));
              y[c] = win ? e[c] : y[c];
              at[c] = win ? flat : at[c];
            }
        }
  }
}

#undef NAME
#undef T
#undef TAG
#undef V
#undef LOAD
#undef NAN_OF
