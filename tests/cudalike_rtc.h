/* SPDX-License-Identifier: MIT
 * cudalike_rtc.h: "chx.rtc/1" of cuda and hip, for test_cuda.c and test_hip.c: launches by the stand-in's driver;
 * programs by its compiler, and by the vendor's own where that is there. Who includes it has defined LANGUAGE, and
 * included cudalike.h.
 */
static const char scale_source[] = "extern \"C\" __global__ void scale(float *x, float by, int n)\n"
                                   "{\n  int i = blockIdx.x * blockDim.x + threadIdx.x;\n  if (i < n) x[i] *= by;\n}\n";

static struct diagnosis {
  int n;
  char text[2048];
} diagnosis;

static void diagnose(void *of, const char *text)
{
  struct diagnosis *d = of;
  d->n++;
  snprintf(d->text, sizeof d->text, "%s", text);
}

typedef struct opened {
  const chx_device_ops *ops;
  chx_dev *d;
  const chx_rtc_ops *rtc;
} opened;

static bool open_rtc(opened *o)
{
  open_plugin();
  o->d = device(0);
  o->ops = plugin->device_ops(NULL);
  o->rtc = o->d ? o->ops->extension(o->d, "chx.rtc/1") : NULL;
  memset(&diagnosis, 0, sizeof diagnosis);
  return ok(o->rtc && o->rtc->size == sizeof *o->rtc, "the device offers chx.rtc/1");
}

static chx_status build_text(const opened *o, const char *text, const char *options, void **mod)
{
  return o->rtc->build(o->d, LANGUAGE, text, strlen(text), options, mod, diagnose, &diagnosis);
}

static void *built(const opened *o)
{
  void *mod = NULL;
  is_int(build_text(o, scale_source, "", &mod), CHX_OK, "a program of others: %s %s", said, diagnosis.text);
  return mod;
}

/* ---- launches ---------------------------------------------------------------------------------------------------- */

typedef struct scaling {
  float *x, by;
  int n;
} scaling;

static void scale(void *of)
{
  const scaling *j = of;
  for (int i = 0; i < j->n; i++) j->x[i] *= j->by;
}

static void watch_scale(const char *kernel, unsigned groups, unsigned threads, void **p)
{
  scaling j;
  if (strcmp(kernel, "scale") || groups * threads < 64) return;
  memcpy(&j.x, p[0], sizeof j.x);
  memcpy(&j.by, p[1], sizeof j.by);
  memcpy(&j.n, p[2], sizeof j.n);
  gpu.later(gpu.state->stream, scale, &j, sizeof j);
}

static void refused_launches(const opened *o, chx_queue *q, void *mod, const chx_arg *args)
{
  static const uint64_t one_each[3] = {1, 1, 1}, far[3] = {1, (uint64_t)1 << 32, 1};
  const chx_arg none = {0}, *many = calloc(GPU_RTC_ARGS + 1, sizeof none);
  is_int(o->rtc->launch(o->d, NULL, mod, "scale", one_each, one_each, 0, args, 3), CHX_EARG, "without a queue: %s",
         said);
  is_int(o->rtc->launch(o->d, q, NULL, "scale", one_each, one_each, 0, args, 3), CHX_EARG, "without a program: %s",
         said);
  is_int(o->rtc->launch(o->d, q, mod, NULL, one_each, one_each, 0, args, 3), CHX_EARG, "without a name: %s", said);
  is_int(o->rtc->launch(o->d, q, mod, "scale", one_each, one_each, 0, &none, 1), CHX_EARG, "an empty argument: %s",
         said);
  is_int(o->rtc->launch(o->d, q, mod, "scale", one_each, one_each, 0, many, GPU_RTC_ARGS + 1), CHX_EARG, "too many: %s",
         said);
  is_int(o->rtc->launch(o->d, q, mod, "scale", far, one_each, 0, args, 3), CHX_EARG, "a grid too large: %s", said);
  is_int(o->rtc->launch(o->d, q, mod, "scale", one_each, far, 0, args, 3), CHX_EARG, "a group too large: %s", said);
  is_int(o->rtc->launch(o->d, q, mod, "scale", one_each, one_each, far[1], args, 3), CHX_EARG, "memory too large: %s",
         said);
  is_int(count("Launch"), 0, "nothing of that is launched");
  gpu.state->fail = 500;
  gpu.state->fail_at = "ModuleGetFunction";
  is_int(o->rtc->launch(o->d, q, mod, "no_such", one_each, one_each, 0, args, 3), CHX_EFAILED, "an unknown kernel: %s",
         said);
  ok(strstr(said, "no_such") && strstr(said, "(500)"), "its name and the driver's code");
  gpu.state->fail = 701;
  gpu.state->fail_at = "Launch";
  ok(o->rtc->launch(o->d, q, mod, "scale", one_each, one_each, 0, args, 3) && strstr(said, "(701)"),
     "the driver's refusal: %s", said);
  free((void *)(uintptr_t)many);
}

static void others_launch(void)
{
  static const uint64_t grid[3] = {2, 3, 1}, group[3] = {32, 2, 1};
  static const int64_t shape[1] = {60}, stride[1] = {1};
  float x[64], by = 3;
  int n = 60;
  opened o;
  chx_queue *q;
  if (!open_rtc(&o)) return;
  void *mod = built(&o);
  o.ops->queue_new(o.d, NULL, &q);
  chx_buffer b = block(o.ops, o.d, q, sizeof x);
  for (int i = 0; i < 64; i++) x[i] = (float)i;
  o.ops->copy(o.d, q, b.handle, 0, x, 0, sizeof x, 0);
  const chx_tensor t = row(&b, shape, stride, 16);
  const chx_arg args[3] = {{.tensor = &t}, {.bytes = &by, .n = sizeof by}, {.bytes = &n, .n = sizeof n}};
  gpu.clear();
  refused_launches(&o, q, mod, args);
  gpu.clear();
  gpu.watch(watch_scale);
  for (int i = 0; i < 2; i++)
    is_int(o.rtc->launch(o.d, q, mod, "scale", grid, group, 48, args, 3), CHX_OK, "its kernel is launched: %s", said);
  ok(strstr(last("Launch"), "Launch scale grid 2 3 1 block 32 2 1 local 48 device 0") != NULL, "%s", last("Launch"));
  o.ops->copy(o.d, q, x, 0, b.handle, 0, sizeof x, 1);
  is_int(o.ops->queue_sync(o.d, q, o.ops->queue_mark(o.d, q), INT64_MAX), CHX_OK, "all is done: %s", said);
  ok(x[3] == 3 && x[4] == 36 && x[63] == 567, "in the queue's order, from where the tensor begins: %g %g %g", x[3],
     x[4], x[63]);
  const chx_capture_ops *capture = o.ops->extension(o.d, "chx.capture/1");
  void *graph = NULL;
  ok(!capture->begin(o.d, q) && !o.rtc->launch(o.d, q, mod, "scale", grid, group, 0, args, 3) &&
         !capture->end(o.d, q, &graph),
     "a launch is captured: %s", said);
  capture->drop(o.d, graph);
  gpu.watch(NULL);
  o.ops->release(o.d, q, &b);
  o.ops->queue_free(o.d, q);
  o.rtc->drop(o.d, mod);
  plugin->close(NULL);
  nothing_left("after others' kernels");
}

/* ---- programs ---------------------------------------------------------------------------------------------------- */

static void others_build(void)
{
  static const char cut[] = "extern\0C";
  char many[40 * 3 + 1] = "", bytes[512];
  opened o;
  uint64_t n = 0, small = 3;
  void *mod = NULL;
  if (!open_rtc(&o)) return;
  is_str(o.rtc->languages(o.d), LANGUAGE, "its language");
  gpu.clear();
  is_int(build_text(&o, scale_source, " -DBY=3   -DN=4 ", &mod), CHX_OK, "a program with options: %s", said);
  ok(strstr(last("Compile"), "90") && strstr(last("Compile"), " -DBY=3 -DN=4") && !strstr(last("Compile"), "std"),
     "are for the compiler, after the architecture, alone: %s", last("Compile"));
  ok(!o.rtc->binary(o.d, mod, NULL, &n) && n == 200, "what it is compiled to has %d bytes", (int)n);
  is_int(o.rtc->binary(o.d, mod, bytes, &small), CHX_EARG, "a place too small: %s", said);
  ok(!o.rtc->binary(o.d, mod, bytes, &n) && !o.rtc->binary(o.d, mod, bytes, &n) && strstr(bytes, "program"),
     "given, and again");
  o.rtc->drop(o.d, mod);
  is_int(gpu.state->modules, 0, "it goes");
  mod = NULL;
  ok(build_text(&o, "int x = ;\n", "", &mod) == CHX_EFAILED && !mod && diagnosis.n == 1 &&
         !strcmp(diagnosis.text, "line 1: the stand-in objects"),
     "what the compiler says of a wrong one: %s", diagnosis.text);
  is_int(o.rtc->build(o.d, LANGUAGE, "int x = ;\n", 10, NULL, &mod, NULL, NULL), CHX_EFAILED, "nobody need listen: %s",
         said);
  is_int(o.rtc->build(o.d, "chx-c", "", 0, "", &mod, NULL, NULL), CHX_EUNSUPPORTED, "another language: %s", said);
  is_int(o.rtc->build(o.d, NULL, "", 0, "", &mod, NULL, NULL), CHX_EUNSUPPORTED, "none: %s", said);
  is_int(o.rtc->build(o.d, LANGUAGE, cut, sizeof cut, "", &mod, NULL, NULL), CHX_EARG, "what is no text: %s", said);
  is_int(o.rtc->build(o.d, LANGUAGE, NULL, 9, "", &mod, NULL, NULL), CHX_EARG, "nor this: %s", said);
  for (int i = 0; i < 40; i++) strcat(many, "-g ");
  is_int(build_text(&o, scale_source, many, &mod), CHX_EARG, "too many options: %s", said);
  gpu.state->fail = 200;
  gpu.state->fail_at = "ModuleLoad";
  ok(build_text(&o, scale_source, "", &mod) == CHX_EFAILED && strstr(said, "(200)"), "the driver refuses it: %s", said);
  plugin->close(NULL);
  nothing_left("after others' programs");
}

static void others_without_compiler(void)
{
  void *mod;
  opened o;
  setenv(COMPILER_OPTION, "/nowhere/libcompiler.so", 1);
  if (!open_rtc(&o)) return;
  is_int(build_text(&o, scale_source, "", &mod), CHX_EUNSUPPORTED, "not built: %s", said);
}

/* The stand-in's driver loads what a vendor's compiler makes, and does not run it. */
static void others_by_vendor(void)
{
  void *mod = NULL;
  uint64_t n = 0;
  opened o;
  unsetenv(COMPILER_OPTION);
  if (!open_rtc(&o)) return;
  const chx_status st = build_text(&o, scale_source, "", &mod);
  if (st == CHX_EUNSUPPORTED) return skip(1, "the vendor's compiler is not there");
  if (!ok(!st, "the vendor's compiler makes a program: %s %s", said, diagnosis.text)) return;
  char *bytes = !o.rtc->binary(o.d, mod, NULL, &n) && n ? malloc(n) : NULL;
  ok(bytes && !o.rtc->binary(o.d, mod, bytes, &n) && memmem(bytes, n, "scale", 5), "that has the kernel, in %d bytes",
     (int)n);
  free(bytes);
  ok(build_text(&o, "extern \"C\" __global__ void f(float *x) { x[0] = nonsense; }\n", "", &mod) == CHX_EFAILED &&
         strstr(diagnosis.text, "nonsense"),
     "and says what is wrong in another: %.60s", diagnosis.text);
  ok(build_text(&o, "extern \"C\" __global__ void f(int *x) { x[0] = BY; }\n", "-DBY=7", &mod) == CHX_OK,
     "and takes options: %s %s", said, diagnosis.text);
}

static void others_kernels(void)
{
  in_child(others_launch, "kernels that others give as " LANGUAGE " are launched");
  in_child(others_build, "and compiled");
  in_child(others_without_compiler, "without a compiler they are not");
  in_child(others_by_vendor, "the vendor's own compiler");
}
