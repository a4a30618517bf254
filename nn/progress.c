/* SPDX-License-Identifier: MIT
 * progress.c: what a run shows and writes as text: a bar on a terminal, lines in a pipe, the log.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "internal.h"
#include <errno.h>
#include <math.h>
#include <unistd.h>

static int is_bar(const chx_trainer *r)
{
  if (r->p.progress_style) return r->p.progress_style == CHX_PROGRESS_BAR;
  return isatty(fileno(r->p.progress));
}

/* Ten times a second is enough for eyes, and costs nothing. */
int chxi_nn_progress_due(const chx_trainer *r, double now)
{
  return r->p.progress && now - r->shown >= 0.1 && is_bar(r);
}

static const char *duration(char buf[32], double seconds)
{
  int64_t t = seconds > 0 && seconds < 1e9 ? llround(seconds) : 0;

  if (t >= 3600)
    snprintf(buf, 32, "%lld:%02lld:%02lld", (long long)t / 3600, (long long)t / 60 % 60, (long long)t % 60);
  else snprintf(buf, 32, "%lld:%02lld", (long long)t / 60, (long long)t % 60);
  return buf;
}

static void print_measures(FILE *f, const chx_trainer_report *e)
{
  fprintf(f, "  loss %.4f", e->loss);
  if (!isnan(e->accuracy)) fprintf(f, "  accuracy %.4f", e->accuracy);
  if (!isnan(e->test_loss)) fprintf(f, "  test loss %.4f", e->test_loss);
  if (!isnan(e->test_accuracy)) fprintf(f, "  test accuracy %.4f", e->test_accuracy);
  fprintf(f, "  %.0f items/s", e->items_per_second);
}

void chxi_nn_progress_step(chx_trainer *r, const chx_trainer_report *e)
{
  enum { WIDTH = 20 };
  FILE *f = r->p.progress;
  double now = chxi_nn_now(), left, done = (double)e->items / (double)e->items_total;
  char bar[WIDTH + 1], time[32];
  int full = (int)(done * WIDTH);

  for (int i = 0; i < WIDTH; i++) bar[i] = i < full ? '#' : '.';
  bar[WIDTH] = 0;
  /* What is left of all epochs, at the pace of this run, evaluation included. */
  left = (double)(r->p.epochs - e->epoch) * (double)e->items_total + (double)(e->items_total - e->items);
  left *= r->run_items ? (now - r->run_start) / (double)r->run_items : 0;
  fprintf(f, "\r\033[Kepoch %lld/%lld [%s] %3.0f%%", (long long)e->epoch, (long long)r->p.epochs, bar, 100 * done);
  print_measures(f, e);
  fprintf(f, "  %s left", duration(time, left));
  fflush(f);
  r->shown = now;
  r->bar_open = 1;
}

void chxi_nn_progress_epoch(chx_trainer *r, const chx_trainer_report *e)
{
  FILE *f = r->p.progress;
  char time[32];

  if (!f) return;
  fprintf(f, "%sepoch %lld/%lld", is_bar(r) ? "\r\033[K" : "", (long long)e->epoch, (long long)r->p.epochs);
  print_measures(f, e);
  fprintf(f, "  %s\n", duration(time, e->seconds));
  fflush(f);
  r->bar_open = 0;
}

/* ---- files ------------------------------------------------------------------------------------------------------------------ */

chx_status chxi_nn_write_file(chx_scope *s, const char *path, const char *what, void (*fn)(FILE *f, const void *ctx),
                              const void *ctx)
{
  size_t n;
  char *part;
  FILE *f;
  int bad;

  if (!nn_need(s, path, what, "path")) return chx_scope_error(s);
  n = strlen(path) + 32;
  part = malloc(n);
  if (!part) return nn_nomem(s, path);
  snprintf(part, n, "%s.%ld.part", path, (long)getpid());
  f = fopen(part, "we");
  if (!f) {
    chx_scope_fail(s, CHX_EIO, "%s: the %s cannot be written: %s", path, what, strerror(errno));
    free(part);
    return chx_scope_error(s);
  }
  fn(f, ctx);
  bad = ferror(f) | fflush(f);
  bad |= fclose(f);
  if (bad || rename(part, path)) {
    chx_scope_fail(s, CHX_EIO, "%s: the %s cannot be written: %s", path, what, strerror(errno));
    unlink(part);
  }
  free(part);
  return chx_scope_error(s);
}

static void cell(FILE *f, double v, const char *end)
{
  if (!isnan(v)) fprintf(f, "%.9g", v);
  fputs(end, f);
}

static void log_text(FILE *f, const void *ctx)
{
  const chx_trainer *r = ctx;

  fputs("epoch,step,loss,accuracy,test_loss,test_accuracy,items_per_second,seconds,lr\n", f);
  for (int64_t i = 0; i < r->n_history; i++) {
    const chx_trainer_report *e = &r->history[i];
    fprintf(f, "%lld,%lld,", (long long)e->epoch, (long long)e->step);
    cell(f, e->loss, ",");
    cell(f, e->accuracy, ",");
    cell(f, e->test_loss, ",");
    cell(f, e->test_accuracy, ",");
    cell(f, e->items_per_second, ",");
    cell(f, e->seconds, ",");
    cell(f, e->lr, "\n");
  }
}

chx_status chx_trainer_write_log(chx_scope *s, const chx_trainer *r, const char *path)
{
  NN_TRY(chx_trainer_write_log, r);
  return chxi_nn_write_file(s, path, "log", log_text, r);
}
