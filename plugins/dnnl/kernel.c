/* SPDX-License-Identifier: MIT
 * kernel.c: the table of kernels: ours, one for each operator and dtype, and then native's, for all that ours decline.
 *
 * Native's kernels read and write host memory, which is what this device has, so they are as good here as there. A core
 * that does not lend them still has its fallback.
 */
#include "dn.h"
#include <stdlib.h>
#include <string.h>

/* What there is, whether a threshold takes it or not. bf16 comes before f32, in which the core tries it next. */
static const struct {
  const char *op;
  int dtype;
  uint32_t rank, attr_size;
  const dn_family *family;
  uint32_t flags;
} table[] = {
#define BOTH(op, rank, attr) {#op, CHX_BF16, rank, attr, &dn_##op, 0}, {#op, CHX_F32, rank, attr, &dn_##op, 0}
  BOTH(matmul, DN_RANK, 0),
  BOTH(linear, 2, 0),
  BOTH(conv, 5, sizeof(chx_conv_attr)),
  BOTH(conv_grad_input, 5, sizeof(chx_conv_attr)),
  BOTH(conv_grad_weight, 5, sizeof(chx_conv_attr)),
  BOTH(avg_pool, 5, sizeof(chx_pool_attr)),
  BOTH(avg_pool_grad, 5, sizeof(chx_pool_attr)),
  BOTH(softmax, CHX_MAX_RANK, sizeof(chx_softmax_attr)),
  {"batch_norm", CHX_F32, CHX_MAX_RANK, sizeof(chx_batch_norm_attr), &dn_batch_norm, 0},
  {"fixed_batch_norm", CHX_F32, CHX_MAX_RANK, sizeof(chx_batch_norm_attr), &dn_fixed_batch_norm, 0},
  {"layer_norm", CHX_F32, CHX_MAX_RANK, sizeof(chx_layer_norm_attr), &dn_layer_norm, CHX_K_CONTIGUOUS},
  BOTH(copy, DN_RANK, 0),
  {"copy", CHX_F16, DN_RANK, 0, &dn_copy, 0},
};
enum { N = sizeof table / sizeof *table };

static const struct threshold {
  const char *op;
  int dtype;
  int form;
  double work;
  int64_t narrow;
} thresholds[] = {
#define DN_TAKE(op, dtype, form, work, narrow) {#op, CHX_##dtype, DN_##form, work, narrow},
#include "threshold.h"
};

typedef struct subject {
  const dn_family *family;
  const struct threshold *threshold[DN_FORMS]; /* NULL: never */
  atomic_uint_fast64_t executed;
} subject;

static bool take_every_size;
static subject subjects[N];
static chx_kernel own[N];
static uint32_t n_own;
static const chx_host_kernels *lent;

/* ---- the functions of every kernel ------------------------------------------------------------------------------- */

static chx_status accepts(void *self, const chx_call *c)
{
  const subject *s = self;
  dn_size size;
  if (!s->family->measure(c, &size)) return CHX_DECLINED;
  const struct threshold *t = s->threshold[size.form];
  return take_every_size || (t && size.work >= t->work && size.narrow >= t->narrow) ? CHX_OK : CHX_DECLINED;
}

static chx_status prepare(void *self, const chx_call *c, void **plan, uint64_t *workspace_bytes)
{
  const subject *s = self;
  dn_draft d = {.n = 0};
  dn_size size;
  if (!s->family->measure(c, &size)) return CHX_DECLINED;
  s->family->describe(c, &size, &d);
  return dn_plan_make(&d, plan, workspace_bytes);
}

static chx_status run(void *self, const chx_call *c)
{
  subject *s = self;
  const chx_status st = dn_plan_run(c);
  if (!st) atomic_fetch_add_explicit(&s->executed, 1, memory_order_relaxed);
  return st;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static bool has_bf16(void)
{
#if defined __x86_64__
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

/* Whether s has a threshold for some form. */
static bool find_thresholds(subject *s, const char *op, int dtype)
{
  bool any = false;
  memset(s->threshold, 0, sizeof s->threshold);
  for (size_t i = 0; i < sizeof thresholds / sizeof *thresholds; i++) {
    const struct threshold *t = &thresholds[i];
    if (t->dtype != dtype || strcmp(t->op, op)) continue;
    s->threshold[t->form] = t;
    any = true;
  }
  return any;
}

void dn_kernels_open(bool take_all, bool none)
{
  lent = dn_host->extension ? dn_host->extension(dn_host->ctx, CHX_HOST_KERNELS) : NULL;
  if (lent && !CHX_HAS(lent, chx_host_kernels, kernel)) lent = NULL;
  const bool bf16 = has_bf16();
  take_every_size = take_all;
  n_own = 0;
  for (int i = 0; !none && i < N; i++) {
    subject *s = &subjects[n_own];
    const bool has = find_thresholds(s, table[i].op, table[i].dtype);
    if ((!has && !take_all) || (table[i].dtype == CHX_BF16 && !bf16)) continue;
    s->family = table[i].family;
    atomic_store(&s->executed, 0);
    const uint64_t dtypes = CHX_BIT(table[i].dtype);
    own[n_own++] = (chx_kernel){.size = sizeof(chx_kernel), .attr_size = table[i].attr_size, .op = table[i].op,
                                .min_version = 1, .max_version = 1, .dtypes_in = dtypes, .dtypes_out = dtypes,
                                .max_rank = table[i].rank, .flags = table[i].flags, .accepts = accepts, .prepare = prepare,
                                .drop = dn_plan_drop, .run = run, .self = s};
  }
}

const chx_kernel *dn_kernel_at(uint32_t index)
{
  return index < n_own ? &own[index] : lent ? lent->kernel(index - n_own) : NULL;
}

uint64_t dn_executed(const char *op)
{
  uint64_t n = 0;
  for (uint32_t i = 0; i < n_own; i++)
    if (!op || !strcmp(own[i].op, op)) n += atomic_load(&subjects[i].executed);
  return n;
}
