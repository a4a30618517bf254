/* SPDX-License-Identifier: MIT
 * curve.c: loss and accuracy over the epochs as an SVG picture: two panels, round ticks, one colour for training and one for test.
 */
#include "internal.h"
#include <math.h>

enum { WIDTH = 900, HEIGHT = 360, LEFT = 64, TOP = 56, PANEL_W = 360, PANEL_H = 240, GAP = 80, MAX_POINTS = 720 };

static const char *const colour[2] = {"#2563a8", "#d9622b"}, *const series_name[2] = {"training", "held out"};

typedef struct panel {
  const chx_trainer *r;
  double x, x0, x1, y0, y1, y_step; /* x: its left edge in the picture; x0 .. y1: the values at its edges */
  const char *title;
  double (*value)(const chx_trainer_report *e, int series);
} panel;

static double loss_of(const chx_trainer_report *e, int series) { return series ? e->test_loss : e->loss; }
static double accuracy_of(const chx_trainer_report *e, int series) { return series ? e->test_accuracy : e->accuracy; }

/* 1, 2 or 5 times a power of ten, so that about n steps cover the span. */
static double round_step(double span, int n)
{
  double raw = span / n, unit = pow(10, floor(log10(raw))), k = raw / unit;

  return unit * (k <= 1 ? 1 : k <= 2 ? 2 : k <= 5 ? 5 : 10);
}

static double px(const panel *q, double x) { return q->x + (x - q->x0) / (q->x1 - q->x0) * PANEL_W; }
static double py(const panel *q, double y) { return TOP + PANEL_H - (y - q->y0) / (q->y1 - q->y0) * PANEL_H; }

static int decimals(double step) { return step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9); }

/* Axes: loss from 0; accuracy from a round value below the least to 1. */
static void fit(panel *q, int is_accuracy)
{
  double lo = INFINITY, hi = -INFINITY;
  int64_t n = q->r->n_history;

  for (int64_t i = 0; i < n; i++)
    for (int k = 0; k < 2; k++) {
      double v = q->value(&q->r->history[i], k);
      if (isfinite(v)) lo = fmin(lo, v), hi = fmax(hi, v);
    }
  if (!(hi >= lo)) lo = 0, hi = 1;
  if (is_accuracy) hi = fmax(hi, 1), lo = fmin(lo, hi - 0.01);
  else lo = fmin(lo, 0), hi = hi > lo ? hi : lo + 1;
  q->y_step = round_step(hi - lo, 5);
  q->y0 = floor(lo / q->y_step + 1e-9) * q->y_step;
  q->y1 = ceil(hi / q->y_step - 1e-9) * q->y_step;
  q->x0 = n ? (double)q->r->history[0].epoch : 1;
  q->x1 = n > 1 ? (double)q->r->history[n - 1].epoch : q->x0 + 1;
}

static void draw_axes(FILE *f, const panel *q)
{
  double x_step = fmax(1, round_step(q->x1 - q->x0, 6));

  fprintf(f, "<text class=\"t\" x=\"%g\" y=\"%d\">%s</text>\n", q->x, TOP - 14, q->title);
  for (int i = 0; i <= (int)lround((q->y1 - q->y0) / q->y_step); i++) {
    double v = q->y0 + i * q->y_step, y = py(q, v);
    fprintf(f, "<path class=\"%s\" d=\"M%.1f %.1fh%d\"/><text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%.*f</text>\n",
            i ? "g" : "a", q->x, y, PANEL_W, q->x - 8, y + 4, decimals(q->y_step), v);
  }
  for (double v = ceil(q->x0 / x_step) * x_step; v <= q->x1 + 1e-9; v += x_step)
    fprintf(f, "<path class=\"a\" d=\"M%.1f %dv5\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f</text>\n",
            px(q, v), TOP + PANEL_H, px(q, v), TOP + PANEL_H + 20, v);
  fprintf(f, "<text x=\"%g\" y=\"%d\" text-anchor=\"middle\">epoch</text>\n", q->x + PANEL_W / 2., TOP + PANEL_H + 40);
}

/* One line, thinned where there are more epochs than points to see. Returns its last value. */
static double draw_series(FILE *f, const panel *q, int k)
{
  int64_t n = q->r->n_history, stride = 1 + (n - 1) / MAX_POINTS, points = 0;
  double last = NAN, last_x = 0;

  for (int64_t i = 0; i < n; i++) {
    double v = q->value(&q->r->history[i], k);
    if (!isfinite(v) || (i % stride && i != n - 1)) continue;
    last = v;
    last_x = (double)q->r->history[i].epoch;
    fprintf(f, "%s%.1f,%.1f", points++ ? " " : "<polyline class=\"l\" points=\"", px(q, last_x), py(q, v));
    if (points == 1) fprintf(f, " %.1f,%.1f", px(q, last_x), py(q, v));
  }
  if (!points) return NAN;
  fprintf(f, "\" stroke=\"%s\"/>\n<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", colour[k], px(q, last_x),
          py(q, last), colour[k]);
  return last;
}

static void draw_panel(FILE *f, panel *q, int is_accuracy)
{
  double right = q->x + PANEL_W, last;

  fit(q, is_accuracy);
  draw_axes(f, q);
  for (int k = 1; k >= 0; k--) {
    last = draw_series(f, q, k);
    if (isnan(last)) continue;
    fprintf(f, "<path d=\"M%.1f %dh18\" stroke=\"%s\" class=\"l\"/><text x=\"%.1f\" y=\"%d\">%s %.4f</text>\n",
            right - 250 + 132 * k, TOP - 18, colour[k], right - 228 + 132 * k, TOP - 14, series_name[k], last);
  }
}

static void svg_text(FILE *f, const void *ctx)
{
  const chx_trainer *r = ctx;
  panel loss = {.r = r, .x = LEFT, .title = "loss", .value = loss_of};
  panel accuracy = {.r = r, .x = LEFT + PANEL_W + GAP, .title = "accuracy", .value = accuracy_of};
  int any = 0, width;

  for (int64_t i = 0; i < r->n_history; i++) any |= !isnan(r->history[i].accuracy);
  width = any ? WIDTH : LEFT + PANEL_W + 36;
  fprintf(f,
          "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n",
          width, HEIGHT, width, HEIGHT);
  fputs("<title>Loss and accuracy by epoch</title>\n<style>text{font:12px "
        "sans-serif;fill:#333}.t{font-size:15px;font-weight:bold}"
        ".g{stroke:#e3e3e3}.a{stroke:#777}.l{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}</"
        "style>\n"
        "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        f);
  draw_panel(f, &loss, 0);
  if (any) draw_panel(f, &accuracy, 1);
  fputs("</svg>\n", f);
}

chx_status chx_trainer_write_curve(chx_scope *s, const chx_trainer *r, const char *path)
{
  NN_TRY(chx_trainer_write_curve, r);
  return chxi_nn_write_file(s, path, "curve", svg_text, r);
}
