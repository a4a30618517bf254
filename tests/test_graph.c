/* SPDX-License-Identifier: MIT
 * test_graph.c: the memory that graphs take: deep ones on a small stack, the peak of forwards and backwards, flatness.
 */
#include "check.h"
#include <pthread.h>

enum { ROWS = 64, COLUMNS = 1024 }; /* an activation is 256 KiB */
static const uint64_t ACTIVATION = (uint64_t)ROWS * COLUMNS * 4;

static void *deep(void *arg)
{
  chx_scope *s = chx_scope_begin("native");
  chx_array *x = chx_ones(s, CHX_F32, 0, NULL);
  chx_require_grad(s, x);
  chx_array *y = x;
  for (int i = 0; i < 1000000 && y; i++) {
    size_t mark = chx_scope_mark(s);
    chx_array *next = i & 1 ? chx_neg(s, y) : chx_mul(s, y, x);
    if (y != x) chx_release(y);
    y = chx_keep(next);
    chx_scope_rewind(s, mark, NULL);
  }
  chx_backward(s, y);
  *(double *)arg = chx_item(s, chx_grad_of(s, x));
  chx_release(y);
  if (chx_scope_error(s)) note("%s", chx_scope_message(s));
  chx_scope_end(s);
  return NULL;
}

static void small_stack(void)
{
  pthread_attr_t attr;
  pthread_t thread;
  double g = 0;
  pthread_attr_init(&attr);
  ok(pthread_attr_setstacksize(&attr, 64 << 10) == 0, "a stack of 64 KiB");
  ok(pthread_create(&thread, &attr, deep, &g) == 0 && pthread_join(thread, NULL) == 0, "a thread on it");
  is_close(g, 500001, 0, "a graph of 1e6 operators was made, differentiated and freed there");
  pthread_attr_destroy(&attr);
}

static uint64_t used_peak(chx_scope *s, bool reset)
{
  chx_memory_stats m;
  if (reset) chx_memory_reset_peak(s, NULL);
  chx_memory_stats_of(s, NULL, &m);
  return reset ? m.used : m.used_peak;
}

/* 100 layers of tanh(x w); w is small, so activations dominate. */
static chx_array *layers(chx_scope *s, chx_array *x, chx_array *w, int n, bool drop)
{
  for (int i = 0; i < n; i++) {
    size_t mark = chx_scope_mark(s);
    x = chx_tanh(s, chx_mul(s, x, w));
    if (drop) x = chx_scope_rewind(s, mark, x);
  }
  return x;
}

static void peak(void)
{
  chx_scope *s = chx_scope_begin("native");
  int64_t shape[] = {ROWS, COLUMNS}, row[] = {COLUMNS};
  chx_array *x = chx_full(s, CHX_F32, 2, shape, 0.5), *w = chx_full(s, CHX_F32, 1, row, 1.5);
  chx_array *y = chx_keep(x);
  uint64_t before = used_peak(s, true);
  for (int i = 0; i < 100; i++) {
    size_t mark = chx_scope_mark(s);
    chx_array *next = chx_keep(layers(s, y, w, 1, true));
    chx_scope_rewind(s, mark, NULL);
    chx_release(y);
    y = next;
  }
  chx_release(y);
  double n = (double)(used_peak(s, false) - before) / (double)ACTIVATION;
  ok(n <= 4, "100 layers without recording: %.2f activations at once <= 4", n);

  chx_require_grad(s, w);
  before = used_peak(s, true);
  size_t mark = chx_scope_mark(s);
  chx_array *loss = chx_scope_rewind(s, mark, chx_sum(s, layers(s, x, w, 20, false), 0, NULL, 0));
  uint64_t saved = used_peak(s, true) - before;
  note("saved by the forward of 20 layers: %.2f activations", (double)saved / (double)ACTIVATION);
  chx_backward(s, loss);
  n = ((double)(used_peak(s, false) - before) - (double)saved) / (double)ACTIVATION;
  ok(n <= 3, "backward's peak over what the forward saved: %.2f activations <= 3", n);
  chx_scope_rewind(s, mark, NULL);
  ok(!chx_scope_error(s), "no error: %s", chx_scope_message(s));
  chx_scope_end(s);
}

static long resident_kb(void)
{
  long kb = 0;
  char line[256];
  FILE *f = fopen("/proc/self/status", "r");
  while (f && fgets(line, sizeof line, f)) sscanf(line, "VmRSS: %ld", &kb);
  if (f) fclose(f);
  return kb;
}

static void shapes(void)
{
  chx_scope *s = chx_scope_begin("native");
  long warm = 0;
  for (int i = 0; i < 10000; i++) {
    size_t mark = chx_scope_mark(s);
    int64_t shape[] = {1 + i % 100, 1 + i / 100};
    chx_array *a = chx_full(s, CHX_F32, 2, shape, 1);
    chx_array *b = chx_exp(s, chx_add(s, a, a));
    chx_sum(s, b, 1, (int[]){0}, 0);
    chx_take(s, b, chx_from(s, CHX_I64, 1, (double[]){0}), 0);
    chx_copy(s, chx_transpose(s, b, 0, NULL));
    chx_matmul(s, a, chx_transpose(s, b, 0, NULL));
    chx_scope_rewind(s, mark, NULL);
    if (i == 200) warm = resident_kb();
  }
  long grown = resident_kb() - warm;
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
  (void)grown;
  skip(1, "10,000 shapes: a sanitizer keeps freed memory");
#else
  ok(grown < 4096, "10,000 shapes through six operators: the process grew by %ld KB < 4096", grown);
#endif
  ok(!chx_scope_error(s), "no error: %s", chx_scope_message(s));
  chx_scope_end(s);
}

int main(void)
{
  small_stack();
  peak();
  shapes();
  return done_testing();
}
