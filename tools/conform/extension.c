/* SPDX-License-Identifier: MIT
 * extension.c: group C7: chx.region/1 (fused regions) and chx.rtc/1 (kernels from source), where a device offers them.
 *
 * plugin.h leaves open how a region of several nodes is handed its results, so what is run here is of one node, and two
 * are claimed, built and dropped alone. A launch has groups of one item, where both ways to count a grid agree. An
 * argument's kind is 0 for a tensor.
 */
#include "raw.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 64 };

/* The extension's table, with at least `least` bytes; NULL, with the case skipped or failed. */
static const void *offered(conform *c, raw *r, const char *name, size_t least)
{
  const uint32_t *p = r && CHX_HAS(r->o, chx_device_ops, extension) ? r->o->extension(r->dev, name) : NULL;
  if (r && !p) conform_skip(c, "the device does not offer %s", name);
  if (!p || !conform_check(c, *p >= least, "%s: its size is %u, want at least %zu", name, *p, least)) return NULL;
  return p;
}

/* N floats on the device and the tensor that stands for them. */
typedef struct value {
  chx_buffer b;
  int64_t shape, stride;
  chx_tensor t;
} value;

static bool make_value(conform *c, raw *r, chx_queue *q, value *v, float from)
{
  float x[N];
  for (int i = 0; i < N; i++) x[i] = from + (float)i;
  v->shape = N;
  v->stride = 1;
  if (!raw_alloc(c, r, q, sizeof x, &v->b) || !raw_up(c, r, q, &v->b, 0, x, sizeof x)) return false;
  v->t = (chx_tensor){.data = v->b.handle, .dl_type = r->info.dl_type, .dl_id = r->info.dl_id, .ndim = 1, .code = 2,
                      .bits = 32, .lanes = 1, .shape = &v->shape, .strides = &v->stride, .buf = v->b.handle,
                      .flags = CHX_T_CONTIGUOUS | (uint64_t)CHX_F32 << 8, .extent = sizeof x};
  return true;
}

/* Each of the value's numbers is first + i * step. */
static void is_line(conform *c, raw *r, chx_queue *q, const value *v, float first, float step)
{
  float x[N];
  int i = 0;
  if (!raw_down(c, r, q, &v->b, 0, x, sizeof x)) return;
  while (i < N && x[i] == first + (float)i * step) i++;
  conform_check(c, i == N, "element %d is %g, want %g", i, i < N ? (double)x[i] : 0, (double)(first + (float)i * step));
}

/* ---- regions ----------------------------------------------------------------------------------------------------- */

#define REGION "chx.region/1"

static void region_claim(conform *c, void *arg)
{
  static const uint32_t in[2][2] = {{0, 1}, {3, 2}}, out[2] = {3, 4};
  static const chx_region_node node[2] = {{"add", 1, NULL, in[0], &out[0], 2, 1},
                                          {"mul", 1, NULL, in[1], &out[1], 2, 1}};
  raw *r = raw_device(c);
  const chx_region_ops *e = offered(c, r, REGION, sizeof *e);
  chx_queue *q;
  value v[5];
  chx_tensor t[5];
  (void)arg;
  if (!e || !raw_queue(c, r, &q)) return;
  for (int i = 0; i < 5; i++) {
    if (!make_value(c, r, q, &v[i], 1)) return;
    t[i] = v[i].t;
  }
  for (uint32_t n = 1; n <= 2; n++) {
    uint32_t group[3] = {0, 0, 0xa5a5a5a5}; /* 0: not claimed */
    raw_said();
    chx_status st = e->claim(r->dev, node, n, t, group);
    conform_check(c, st == CHX_OK || st == CHX_DECLINED || st == CHX_EUNSUPPORTED, "claim of %u nodes: %s: %s", n,
                  raw_code(st),
                  raw_said());
    conform_check(c, group[2] == 0xa5a5a5a5 && (n == 2 || !group[1]), "claim of %u nodes wrote more groups than that",
                  n);
    if (st || !group[0] || (n == 2 && group[1] != group[0])) continue;
    void *exe = NULL;
    for (int times = 0; times < 3; times++) {
      st = e->build(r->dev, node, n, t, &exe);
      if (!conform_check(c, st == CHX_OK, "build of the %u nodes that were claimed: %s: %s", n, raw_code(st),
                         raw_said())) break;
      e->drop(r->dev, exe);
    }
  }
  for (int i = 0; i < 5; i++) raw_release(r, q, &v[i].b);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

static void region_run(conform *c, void *arg)
{
  static const uint32_t in[2] = {0, 1}, out = 2;
  static const chx_region_node node = {"add", 1, NULL, in, &out, 2, 1};
  raw *r = raw_device(c);
  const chx_region_ops *e = offered(c, r, REGION, sizeof *e);
  chx_queue *q;
  value v[3];
  chx_tensor t[3];
  uint32_t group = 0;
  void *exe = NULL;
  (void)arg;
  if (!e || !raw_queue(c, r, &q)) return;
  for (int i = 0; i < 3; i++) {
    if (!make_value(c, r, q, &v[i], (float)(1 + i))) return;
    t[i] = v[i].t;
  }
  chx_status st = e->claim(r->dev, &node, 1, t, &group);
  if (st || !group) {
    conform_skip(c, "it claims no region of one node");
    return;
  }
  st = e->build(r->dev, &node, 1, t, &exe);
  if (!conform_check(c, st == CHX_OK, "build: %s: %s", raw_code(st), raw_said())) return;
  for (int times = 0; times < 3; times++) {
    const chx_call call = {.size = sizeof call, .op_version = 1, .dev = r->dev, .queue = q, .in = t, .out = &t[2],
                           .n_in = 2,
                           .n_out = 1};
    st = e->run(r->dev, exe, &call);
    conform_check(c, st == CHX_OK || st == CHX_DECLINED, "run: %s: %s", raw_code(st), raw_said());
    if (!st) is_line(c, r, q, &v[2], 3, 2);
  }
  e->drop(r->dev, exe);
  for (int i = 0; i < 3; i++) raw_release(r, q, &v[i].b);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

/* ---- source ------------------------------------------------------------------------------------------------------ */

#define RTC "chx.rtc/1"

static const chx_rtc_ops *rtc_of(conform *c, raw *r)
{
  const chx_rtc_ops *e = offered(c, r, RTC, offsetof(chx_rtc_ops, launch) + sizeof e->launch);
  if (!e || !conform_check(c, CHX_HAS(e, chx_rtc_ops, languages) && CHX_HAS(e, chx_rtc_ops, build) &&
                              CHX_HAS(e, chx_rtc_ops, launch) && CHX_HAS(e, chx_rtc_ops, drop),
                           RTC " lacks languages, build, launch or drop"))
    return NULL;
  return e;
}

static const char *languages_of(conform *c, raw *r, const chx_rtc_ops *e)
{
  const char *l = e->languages(r->dev);
  return conform_check(c, l && *l, "languages gives none") ? l : NULL;
}

static bool speaks(const char *languages, const char *one)
{
  size_t n = strlen(one);
  for (const char *p = languages; p; p = strchr(p, ';') ? strchr(p, ';') + 1 : NULL)
    if (strcspn(p, ";") == n && !strncmp(p, one, n)) return true;
  return false;
}

static void rtc_languages(conform *c, void *arg)
{
  raw *r = raw_device(c);
  const chx_rtc_ops *e = rtc_of(c, r);
  const char *l = e ? languages_of(c, r, e) : NULL;
  (void)arg;
  if (!l) return;
  conform_note(c, "languages: %.200s", l);
  if (speaks(l, "chx-c"))
    conform_check(c, CHX_HAS(e, chx_rtc_ops, prelude) && e->prelude(r->dev),
                  "it speaks chx-c and has no prelude for it");
}

struct diagnosis {
  int n;
  char text[400];
};

static void diagnose(void *ctx, const char *text)
{
  struct diagnosis *d = ctx;
  if (d->n++ == 0) snprintf(d->text, sizeof d->text, "%s", text ? text : "");
}

static void rtc_bad(conform *c, void *arg)
{
  static const char *const sources[] = {"this is no program )]}", "", "#error \"refused\"\n"};
  raw *r = raw_device(c);
  const chx_rtc_ops *e = rtc_of(c, r);
  const char *l = e ? languages_of(c, r, e) : NULL;
  char first[64];
  (void)arg;
  if (!l) return;
  snprintf(first, sizeof first, "%.*s", (int)strcspn(l, ";"), l);
  for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
    struct diagnosis d = {0};
    void *module = NULL;
    raw_said();
    chx_status st = e->build(r->dev, first, sources[i], strlen(sources[i]), "", &module, diagnose, &d);
    bool empty = !*sources[i]; /* nothing is a program in some languages */
    if (empty && !st) e->drop(r->dev, module);
    conform_check(c, st || empty, "a %s program that is wrong was built", first);
    conform_check(c, !st || d.n || raw_said()[0], "a wrong program: %s, and neither a diagnostic nor a sentence",
                  raw_code(st));
  }
  void *module = NULL;
  chx_status st = e->build(r->dev, "no-such-language", "", 0, "", &module, diagnose, &(struct diagnosis){0});
  conform_check(c, st == CHX_EUNSUPPORTED || st == CHX_EARG, "a language that it does not speak: %s, want %s or %s",
                raw_code(st),
                raw_code(CHX_EUNSUPPORTED), raw_code(CHX_EARG));
}

/* x[i] += 1, in each language that this kit speaks. */
static const struct program { const char *language, *source; } programs[] = {
  {"opencl-c", "kernel void conform_inc(global float *x) { x[get_global_id(0)] += 1; }\n"},
  {"cuda-c", "extern \"C\" __global__ void conform_inc(float *x) { x[blockIdx.x * blockDim.x + threadIdx.x] += 1; }\n"},
  {"hip-c", "#include <hip/hip_runtime.h>\n"
            "extern \"C\" __global__ void conform_inc(float *x) { x[blockIdx.x * blockDim.x + threadIdx.x] += 1; }\n"},
};

/* Builds the program above; NULL, with the case skipped or failed. */
static void *build_inc(conform *c, raw *r, const chx_rtc_ops *e)
{
  const char *l = languages_of(c, r, e);
  struct diagnosis d = {0};
  void *module = NULL;
  for (size_t i = 0; l && i < sizeof programs / sizeof *programs; i++)
    if (speaks(l, programs[i].language)) {
      const char *s = programs[i].source;
      chx_status st = e->build(r->dev, programs[i].language, s, strlen(s), "", &module, diagnose, &d);
      return conform_check(c, st == CHX_OK, "build of a right program in %s: %s: %s %s", programs[i].language,
                           raw_code(st),
                           raw_said(), d.text) ? module : NULL;
    }
  if (l) conform_skip(c, "it speaks %.100s, and this kit opencl-c, cuda-c and hip-c", l);
  return NULL;
}

static void rtc_launch(conform *c, void *arg)
{
  static const uint64_t grid[3] = {N, 1, 1}, group[3] = {1, 1, 1};
  raw *r = raw_device(c);
  const chx_rtc_ops *e = rtc_of(c, r);
  void *module = e ? build_inc(c, r, e) : NULL;
  chx_queue *q;
  value v;
  (void)arg;
  if (!module || !raw_queue(c, r, &q) || !make_value(c, r, q, &v, 5)) return;
  const chx_arg x = {0, &v.t, NULL, 0};
  for (int i = 0; i < 3; i++) {
    chx_status st = e->launch(r->dev, q, module, "conform_inc", grid, group, 0, &x, 1);
    conform_check(c, st == CHX_OK, "launch: %s: %s", raw_code(st), raw_said());
  }
  is_line(c, r, q, &v, 8, 1);
  raw_said();
  chx_status st = e->launch(r->dev, q, module, "no_such_kernel", grid, group, 0, &x, 1);
  conform_check(c, st != CHX_OK && raw_said()[0],
                "launch of a function that is not there: %s, want an error and a sentence",
                raw_code(st));
  raw_sync(c, r, q);
  e->drop(r->dev, module);
  for (int i = 0; i < 8; i++) { /* drop, and build again */
    if (!(module = build_inc(c, r, e))) return;
    e->drop(r->dev, module);
  }
  raw_release(r, q, &v.b);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

static void rtc_binary(conform *c, void *arg)
{
  raw *r = raw_device(c);
  const chx_rtc_ops *e = rtc_of(c, r);
  void *module;
  uint64_t n = 0, again;
  (void)arg;
  if (!e) return;
  if (!CHX_HAS(e, chx_rtc_ops, binary)) {
    conform_skip(c, "it gives no binaries");
    return;
  }
  if (!(module = build_inc(c, r, e))) return;
  chx_status st = e->binary(r->dev, module, NULL, &n); /* without a place it says how many bytes */
  if (conform_check(c, st == CHX_OK && n, "the binary's length: %s, %llu bytes", raw_code(st), (unsigned long long)n)) {
    unsigned char *bytes = calloc(1, n + 16);
    again = n;
    if (bytes) memset(bytes + n, 0xa5, 16);
    st = bytes ? e->binary(r->dev, module, bytes, &again) : CHX_ENOMEM;
    conform_check(c, st == CHX_OK && again == n, "the binary itself: %s, %llu bytes, there were to be %llu",
                  raw_code(st),
                  (unsigned long long)again, (unsigned long long)n);
    conform_check(c, !bytes || !memcmp(bytes + n, "\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5",
                                       16),
                  "binary wrote past the %llu bytes that there were", (unsigned long long)n);
    free(bytes);
  }
  e->drop(r->dev, module);
}

void conform_extension_cases(conform *c, conform_list *l)
{
  conform_add(l, "C7", "region: claims may be partial, build and drop", region_claim, NULL);
  conform_add(l, "C7", "region: equals the operator", region_run, NULL);
  conform_add(l, "C7", "rtc: languages and prelude", rtc_languages, NULL);
  conform_add(l, "C7", "rtc: bad source gives a diagnostic", rtc_bad, NULL);
  conform_add(l, "C7", "rtc: build, launch and drop", rtc_launch, NULL);
  conform_add(l, "C7", "rtc: binary", rtc_binary, NULL);
  conform_capture_cases(c, l);
}
