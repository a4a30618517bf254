/* SPDX-License-Identifier: MIT
 * extension.c: the mutant's extensions: copies between its two devices; regions of one add, run by the kernel of map; and of
 * source the one program of the kit, which it knows by its function's name.
 */
#include "mutant.h"

/* ---- "chx.peer/1" -------------------------------------------------------------------------------------------------------- */

static chx_status peer_can(chx_dev *to, chx_dev *from)
{
  static atomic_uint asked;
  (void)to, (void)from;
  return IS(PEERS_CHANGE) && atomic_fetch_add(&asked, 1) & 1 ? fail(CHX_EUNSUPPORTED, "mutant: not now") : CHX_OK;
}

static chx_status peer_copy(chx_dev *to, chx_queue *q, void *dst, uint64_t dst_off, chx_dev *from, const void *src,
                            uint64_t src_off, uint64_t bytes)
{
  if (IS(NO_PEER_OF_ITSELF) && to == from) return fail(CHX_EUNSUPPORTED, "mutant: one device is no pair");
  if (IS(PEER_IGNORES_OFFSETS)) src_off = 0;
  return copy(to, IS(PEER_AT_ONCE) ? NULL : q, dst, dst_off, src, src_off, bytes, DEVICE_TO_DEVICE);
}

static const chx_peer_ops peers = {.size = sizeof peers, .can = peer_can, .copy = peer_copy};

/* ---- "chx.region/1" ------------------------------------------------------------------------------------------------------ */

static chx_status region_claim(chx_dev *dev, const chx_region_node *n, uint32_t count, const chx_tensor *v, uint32_t *group)
{
  (void)dev, (void)v;
  for (uint32_t i = 0; i < count; i++) group[i] = i == 0 && !strcmp(n[i].op, "add");
  if (IS(CLAIM_OVERRUN)) group[count] = 0;
  if (IS(CLAIMS_ALL)) memset(group, 1, count * sizeof *group);
  return CHX_OK;
}

static chx_status region_build(chx_dev *dev, const chx_region_node *n, uint32_t count, const chx_tensor *v, void **exe)
{
  (void)dev, (void)n, (void)v;
  if (count != 1) return fail(CHX_EUNSUPPORTED, "mutant: regions are of one node");
  *exe = malloc(1);
  return CHX_OK;
}

static chx_status region_run(chx_dev *dev, void *exe, const chx_call *call)
{
  static chx_map_attr attr = {.size = sizeof attr, .program = {.n = 1, .step = {{.op = "add", .x = 0, .y = 1}}}};
  chx_call one = *call;
  (void)dev, (void)exe;
  if (IS(REGION_SUBTRACTS)) memcpy(attr.program.step[0].op, "sub", 4);
  one.attr = &attr;
  return map_run(NULL, &one);
}

static void drop(chx_dev *dev, void *made)
{
  (void)dev;
  free(made);
}

static const chx_region_ops regions = {sizeof regions, 0, region_claim, region_build, region_run, drop};

/* ---- "chx.rtc/1" --------------------------------------------------------------------------------------------------------- */

static const char *languages(chx_dev *dev)
{
  (void)dev;
  return IS(NO_LANGUAGE) ? "" : "opencl-c";
}

static chx_status compile(chx_dev *dev, const char *lang, const void *src, uint64_t n, const char *opts, void **mod,
                          void (*diag)(void *, const char *), void *ctx)
{
  (void)dev, (void)opts;
  if (strcmp(lang, "opencl-c")) return fail(CHX_EUNSUPPORTED, "mutant: opencl-c alone");
  if (IS(ANY_PROGRAM_MUTELY) && !memmem(src, n, "conform_inc", 11)) return CHX_EFAILED;
  if (!memmem(src, n, "conform_inc", 11)) return diag(ctx, "1:1: that program is not known"), CHX_EFAILED;
  return *mod = malloc(1), CHX_OK;
}

typedef struct launch_job {
  struct job job;
  float *x;
  uint64_t n;
} launch_job;

static chx_status run_launch(struct job *job)
{
  launch_job *l = (launch_job *)job;
  for (uint64_t i = 0; i < l->n; i++) l->x[i] += 1;
  return CHX_OK;
}

static chx_status launch(chx_dev *dev, chx_queue *q, void *mod, const char *fn, const uint64_t grid[3], const uint64_t group[3],
                         uint64_t local, const chx_arg *a, uint32_t n)
{
  (void)dev, (void)mod, (void)local;
  if (strcmp(fn, "conform_inc") && IS(LAUNCHES_NOTHING)) return CHX_OK;
  if (strcmp(fn, "conform_inc") || n != 1) return fail(CHX_EARG, "mutant: there is no such function");
  launch_job *l = (launch_job *)job_new(sizeof *l, run_launch);
  if (!l) return CHX_ENOMEM;
  l->x = (float *)(void *)bytes_of(a->tensor->data, a->tensor->byte_offset);
  l->n = grid[0] * group[0];
  return enqueue(q, &l->job);
}

static chx_status binary(chx_dev *dev, void *mod, void *out, uint64_t *n)
{
  (void)dev, (void)mod;
  *n = 7;
  if (out) memcpy(out, "program", IS(BINARY_OVERRUN) ? 8 : 7);
  return CHX_OK;
}

static const chx_rtc_ops rtc = {sizeof rtc, 0, languages, NULL, compile, launch, binary, drop};

/* -------------------------------------------------------------------------------------------------------------------------- */

static const void *extension(chx_dev *dev, const char *name)
{
  (void)dev;
  if (IS_BARE) return NULL;
  if (!strcmp(name, "chx.peer/1")) return &peers;
  if (!strcmp(name, "chx.region/1")) return &regions;
  if (!strcmp(name, "chx.rtc/1")) return &rtc;
  if (!strcmp(name, "chx.capture/1")) return IS_HOST ? NULL : &capture_ops;
  return IS(HAS_EVERY_EXTENSION) ? kernels : NULL;
}
