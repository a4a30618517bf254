/* SPDX-License-Identifier: MIT
 * skew.c: group C2: structs that are shorter or longer than those the plugin was built with.
 *
 * Host tables lie at the end of a page, the next of which is closed, and may not be written to. The first version's
 * sizes are written down here and not taken from today's structs, which grow.
 */
#include "raw.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
  HOST_1_0 = 64,    /* sizeof(chx_host) of ABI 1.0 */
  KERNEL_1_0 = 96,  /* sizeof(chx_kernel) */
  PAGE = 4096,      /* or a part of one */
  ROOM = 65536      /* the largest page there is */
};

/* n writable bytes that end where a closed page begins; never freed, a child is short-lived. */
static void *guarded(size_t n)
{
  char *p = mmap(NULL, 2 * ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED || mprotect(p + ROOM, ROOM, PROT_NONE)) return NULL;
  return p + ROOM - n;
}

/* ---- the host table ---------------------------------------------------------------------------------------------- */

/* Why there is no device: a sentence, of which there is one. */
static void no_device(conform *c)
{
  const char *why = raw_said();
  if (conform_check(c, why[0], "open fails or finds no device, and no sentence by host->fail says why"))
    conform_skip(c, "no device: %s", why);
}

void raw_use_with(conform *c, const chx_host *host)
{
  raw r;
  chx_queue *q;
  chx_buffer b;
  unsigned char up[777], down[777];
  uint32_t n = 0;
  if (!raw_load(c, &r)) return;
  raw_said();
  if (r.p->open(host, &r.state)) {
    no_device(c);
    return;
  }
  if (r.p->device_count(r.state, &n) || n <= c->index) {
    no_device(c);
    if (CHX_HAS(r.p, chx_plugin, close)) r.p->close(r.state);
    return;
  }
  chx_dev *none = NULL;
  chx_status st = r.p->device_open(r.state, n, &none); /* makes it call fail */
  conform_check(c, st != CHX_OK && raw_said()[0], "device_open of device %u of %u: %s, want an error and a sentence",
                n, n,
                raw_code(st));
  if (CHX_HAS(r.p, chx_plugin, close)) r.p->close(r.state);
  if (!raw_open(c, &r, host)) return;
  for (uint32_t i = 0; i < 4096 && r.o->kernel(r.dev, i); i++) {}
  raw_fill(up, sizeof up, c->seed);
  if (raw_queue(c, &r, &q) && raw_alloc(c, &r, q, sizeof up, &b)) {
    if (raw_up(c, &r, q, &b, 0, up, sizeof up) && raw_down(c, &r, q, &b, 0, down, sizeof up))
      conform_check(c, !memcmp(up, down, sizeof up), "bytes up and down again are not the same");
    raw_release(&r, q, &b);
    raw_sync(c, &r, q);
    raw_queue_free(&r, q);
  }
  raw_close(&r);
}

/* What a field of the table holds that the plugin must not follow. */
static void trap(void) { abort(); }

struct table {
  size_t claims, bytes; /* its size field, and what lies there */
  bool junk;            /* past the first version's fields: pointers to trap, else zeros */
};

static void host_table(conform *c, void *arg)
{
  const struct table *t = arg;
  char *p = guarded(t->bytes);
  if (!conform_check(c, p != NULL, "no memory with a guard page")) return;
  memcpy(p, &raw_host, HOST_1_0);
  ((chx_host *)p)->size = (uint32_t)t->claims;
  for (size_t at = HOST_1_0; t->junk && at < t->bytes; at += sizeof(void *))
    memcpy(p + at, &(void (*)(void)){trap}, sizeof(void *));
  mprotect(p + t->bytes - ROOM, ROOM, PROT_READ);
  raw_use_with(c, (const chx_host *)p);
}

/* ---- info -------------------------------------------------------------------------------------------------------- */

/* Fields that do not change from one call to the next, within the first n bytes. */
static bool info_same(const chx_device_info *a, const chx_device_info *b, size_t n)
{
#define SAME(f) \
  if (offsetof(chx_device_info, f) + sizeof a->f <= n && memcmp(&a->f, &b->f, sizeof a->f)) return false;
  SAME(flags) SAME(dl_type) SAME(dl_id) SAME(dtypes) SAME(mem_total) SAME(max_alloc) SAME(alignment)
#undef SAME
  return true;
}

static void info_sizes(conform *c, void *arg)
{
  enum { MOST = 512 };
  raw *r = raw_device(c);
  (void)arg;
  if (!r) return;
  for (uint32_t n = 8; n <= MOST; n += 8) {
    unsigned char *p = guarded(n), *canary = malloc(2 * MOST);
    if (!conform_check(c, p && canary, "out of memory")) return;
    memset(p, 0, n);
    ((chx_device_info *)p)->size = n;
    raw_said();
    chx_status st = r->o->info(r->dev, (chx_device_info *)p); /* reading or writing past n crashes */
    conform_check(c, st == CHX_OK, "info with size %u: %s: %s", n, raw_code(st), raw_said());
    memset(canary, 0xa5, 2 * MOST);
    ((chx_device_info *)canary)->size = n;
    r->o->info(r->dev, (chx_device_info *)canary);
    unsigned past = 0;
    while (past < MOST && canary[n + past] == 0xa5) past++;
    conform_check(c, past == MOST, "info with size %u wrote byte %u", n, n + past);
    /* a plugin may say how much it filled, but not more than there was */
    conform_check(c, ((chx_device_info *)p)->size <= n, "info with size %u left size %u", n,
                  ((chx_device_info *)p)->size);
    chx_device_info got = r->info;
    memcpy(&got, p, n < sizeof got ? n : sizeof got);
    conform_check(c, info_same(&got, &r->info, n), "info with size %u gives other values than with %zu", n, sizeof got);
    for (uint32_t i = sizeof(chx_device_info); i < n; i++)
      if (!conform_check(c, p[i] == 0, "info with size %u wrote %u at byte %u, which no field of this chx has", n,
                         p[i], i)) break;
    free(canary);
    munmap(p + n - ROOM, 2 * ROOM);
  }
}

static void info_values(conform *c, void *arg)
{
  raw *r = raw_device(c);
  (void)arg;
  if (!r) return;
  const chx_device_info *i = &r->info;
  conform_check(c, i->name && *i->name, "info gives no name");
  conform_check(c, i->dl_type > 0, "info.dl_type is %d, want DLPack's number, 12 if there is none", i->dl_type);
  conform_check(c, i->dtypes, "info.dtypes is 0, so nothing could be kept on the device");
  conform_check(c, !(i->dtypes & 1), "info.dtypes has bit 0, which is no dtype");
  if (r->p->abi_minor <= CHX_ABI_MINOR) {
    conform_check(c, !(i->dtypes >> CHX_DTYPE_END), "info.dtypes has bits past the last dtype, %d", CHX_DTYPE_END - 1);
    conform_check(c, i->flags < 2 * CHX_D_OPAQUE, "info.flags is 0x%x, of which some are no CHX_D_*", i->flags);
  }
  if (i->mem_total) {
    conform_check(c, i->mem_free <= i->mem_total, "info.mem_free is %llu, more than mem_total, %llu",
                  (unsigned long long)i->mem_free, (unsigned long long)i->mem_total);
    conform_check(c, i->max_alloc <= i->mem_total, "info.max_alloc is %llu, more than mem_total, %llu",
                  (unsigned long long)i->max_alloc, (unsigned long long)i->mem_total);
  }
  conform_check(c, !(i->flags & CHX_D_HOST_IS_DEVICE) || !(i->flags & CHX_D_ASYNC) || raw_has_queues(r),
                "info claims CHX_D_ASYNC, and there are no queues");
}

/* ---- names, buffers ---------------------------------------------------------------------------------------------- */

static void extensions(conform *c, void *arg)
{
  static const char *const names[] = {"", "chx", "com.nobody.nothing/1", "chx.region/999", "chx.rtc/0", "CHX.RTC/1",
                                      "chx.rtc/1 ",
                                      "%s%s%n"};
  raw *r = raw_device(c);
  char *large = malloc(PAGE);
  (void)arg;
  if (r && !CHX_HAS(r->o, chx_device_ops, extension)) conform_skip(c, "the device has no extension function");
  else if (r && conform_check(c, large != NULL, "out of memory")) {
    memset(large, 'x', PAGE - 1);
    large[PAGE - 1] = 0;
    for (size_t i = 0; i <= sizeof names / sizeof *names; i++) {
      const char *name = i < sizeof names / sizeof *names ? names[i] : large;
      const void *p = r->o->extension(r->dev, name);
      conform_check(c, !p, "extension(\"%.40s\") is %p, want NULL", name, p);
    }
  }
  free(large);
}

/* A longer chx_buffer is filled as far as the plugin knows it; an unknown kind of memory is a hint, or refused. */
static void grown_buffer(conform *c, void *arg)
{
  struct { chx_buffer b; unsigned char tail[64]; } grown;
  raw *r = raw_device(c);
  chx_queue *q;
  (void)arg;
  if (!r || !raw_queue(c, r, &q)) return;
  memset(&grown, 0xa5, sizeof grown);
  grown.b = (chx_buffer){.size = sizeof grown};
  chx_status st = r->o->alloc(r->dev, q, 1000, CHX_B_DEVICE, &grown.b);
  if (conform_check(c, st == CHX_OK && grown.b.handle, "alloc with a longer chx_buffer: %s: %s", raw_code(st),
                    raw_said())) {
    size_t i = 0;
    while (i < sizeof grown.tail && grown.tail[i] == 0xa5) i++;
    conform_check(c, i == sizeof grown.tail, "alloc wrote byte %zu of a chx_buffer, of which it knows %zu",
                  sizeof grown.b + i, sizeof grown.b);
    raw_release(r, q, &grown.b);
  }
  chx_buffer b = {.size = sizeof b};
  raw_said();
  st = r->o->alloc(r->dev, q, 1000, CHX_B_DEVICE | 1u << 20, &b);
  conform_check(c, st == CHX_OK || (st == CHX_EUNSUPPORTED && raw_said()[0]),
                "alloc of a kind with an unknown bit: %s, want memory, or %s and a sentence", raw_code(st),
                raw_code(CHX_EUNSUPPORTED));
  if (!st) raw_release(r, q, &b);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
}

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

static void check_kernel(conform *c, const chx_plugin *p, const chx_kernel *k, uint32_t i)
{
  bool known_abi = p->abi_minor <= CHX_ABI_MINOR;
  if (!conform_check(c, k->size >= KERNEL_1_0 && k->size % sizeof(void *) == 0 && k->size <= PAGE,
                     "kernel %u: its size is %u, want the struct's, such as %zu", i, k->size, sizeof *k) ||
      !conform_check(c, k->op && *k->op, "kernel %u names no operator", i))
    return;
  const chx_op *op = chx_op_find(k->op);
  conform_check(c, op || strchr(k->op, '.') || !known_abi,
                "kernel %u is of '%s', which is no operator of this chx; one of your own has a dot, as 'vendor.%s'", i,
                    k->op,
                k->op);
  conform_check(c, CHX_HAS(k, chx_kernel, run), "kernel %u (%s) has no run", i, k->op);
  conform_check(c, !k->max_version || k->min_version <= k->max_version, "kernel %u (%s) is for versions %u to %u", i,
                k->op,
                k->min_version, k->max_version);
  uint64_t dtypes = k->dtypes_in | k->dtypes_out;
  conform_check(c, !(dtypes & 1) && (!known_abi || !(dtypes >> CHX_DTYPE_END)),
                "kernel %u (%s): dtypes 0x%llx to 0x%llx have bits that are no dtype", i, k->op,
                (unsigned long long)k->dtypes_in, (unsigned long long)k->dtypes_out);
  conform_check(c, k->dtypes_out || (op && !chx_op_n_outputs(op)), "kernel %u (%s) takes no dtype for its output", i,
                k->op);
  conform_check(c, !op || !chx_op_n_inputs(op) || k->dtypes_in, "kernel %u (%s) takes no dtype for its input", i,
                k->op);
  conform_check(c, k->max_rank <= CHX_MAX_RANK || !known_abi,
                "kernel %u (%s): its largest rank is %u, want at most %d", i, k->op,
                k->max_rank, CHX_MAX_RANK);
  conform_check(c, k->flags < 2 * CHX_K_CAPTURABLE || !known_abi,
                "kernel %u (%s): its flags, 0x%x, are not all CHX_K_*", i, k->op,
                k->flags);
  conform_check(c, !CHX_HAS(k, chx_kernel, drop) || CHX_HAS(k, chx_kernel, prepare),
                "kernel %u (%s) has drop and no prepare", i,
                k->op);
  if (op && known_abi)
    conform_check(c, k->attr_size <= chx_op_attr_size(op), "kernel %u (%s) knows %u bytes of attributes, there are %u",
                  i, k->op,
                  k->attr_size, chx_op_attr_size(op));
  if (op && k->attr_size) conform_check(c, k->attr_size >= 8, "kernel %u (%s): attr_size is %u, want the struct's", i,
                                        k->op, k->attr_size);
}

static void kernels(conform *c, void *arg)
{
  enum { MOST = 65536 };
  raw *r = raw_device(c);
  const chx_kernel *k;
  uint32_t n = 0;
  (void)arg;
  if (!r) return;
  for (; n < MOST && (k = r->o->kernel(r->dev, n)); n++) {
    check_kernel(c, r->p, k, n);
    conform_check(c, r->o->kernel(r->dev, n) == k, "kernel(%u) returns another pointer at its second call", n);
  }
  conform_check(c, n < MOST, "the list of kernels does not end");
  if (!n) conform_note(c, "it has no kernels: every operator falls back");
}

/* ---- calls from a later core ------------------------------------------------------------------------------------- */

enum { ROWS = 3, COLS = 5, ELEMENTS = ROWS * COLS };
typedef struct later {
  size_t attr_more, call_more; /* bytes past today's structs: zeros behind the attributes, junk behind the call */
  uint64_t flags;
} later;

/* Operators whose attributes matter, of one operand and one result of f32 and of the same shape. */
static const struct shape_op { const char *op; size_t attr; size_t field; int64_t i64; double f64; } shape_ops[] = {
  {"leaky_relu", sizeof(chx_leaky_relu_attr), offsetof(chx_leaky_relu_attr, slope), 0, 0.25},
  {"gelu", sizeof(chx_gelu_attr), 0, 0, 0},
  {"softmax", sizeof(chx_softmax_attr), offsetof(chx_softmax_attr, axis), 1, 0},
  {"log_softmax", sizeof(chx_softmax_attr), offsetof(chx_softmax_attr, axis), 1, 0},
  {"copy", 0, 0, 0, 0}, {"tanh", 0, 0, 0, 0}, {"neg", 0, 0, 0, 0},
};

static chx_tensor tensor_of(const raw *r, const chx_buffer *b, const int64_t *shape, const int64_t *strides)
{
  return (chx_tensor){.data = b->handle, .dl_type = r->info.dl_type, .dl_id = r->info.dl_id, .ndim = 2, .code = 2,
                      .bits = 32,
                      .lanes = 1, .shape = shape, .strides = strides, .buf = b->handle,
                      .flags = CHX_T_CONTIGUOUS | (uint64_t)CHX_F32 << 8, .extent = ELEMENTS * sizeof(float)};
}

/* Runs the kernel once; the attributes and the call lie at the end of a page each. CHX_DECLINED: it
 * does not want to. */
static chx_status run_later(conform *c, raw *r, const chx_kernel *k, const struct shape_op *o, const later *l,
                            float *result)
{
  static const int64_t shape[2] = {ROWS, COLS}, strides[2] = {COLS, 1};
  float x[ELEMENTS];
  chx_queue *q;
  chx_buffer b[2];
  char *attr = o->attr ? guarded(o->attr + l->attr_more) : NULL, *at = guarded(sizeof(chx_call) + l->call_more);
  if (!conform_check(c, at && (attr || !o->attr), "no memory with a guard page") || !raw_queue(c, r, &q))
    return CHX_ENOMEM;
  for (int i = 0; i < ELEMENTS; i++) x[i] = (float)(i - 6) / 4;
  if (attr) {
    memset(attr, 0, o->attr + l->attr_more);
    *(uint32_t *)attr = (uint32_t)(o->attr + l->attr_more);
    if (o->i64) memcpy(attr + o->field, &o->i64, sizeof o->i64);
    if (o->f64 != 0) memcpy(attr + o->field, &o->f64, sizeof o->f64);
  }
  for (int i = 0; i < 2; i++)
    if (!raw_alloc(c, r, q, sizeof x, &b[i]) || !raw_up(c, r, q, &b[i], 0, x, sizeof x)) return CHX_EFAILED;
  const chx_tensor in = tensor_of(r, &b[0], shape, strides);
  chx_tensor out = tensor_of(r, &b[1], shape, strides);
  memset(at, 0xa5, sizeof(chx_call) + l->call_more);
  chx_call *call = (chx_call *)at;
  *call = (chx_call){.size = (uint32_t)(sizeof *call + l->call_more), .op_version = 1, .dev = r->dev, .queue = q,
                     .in = &in,
                     .out = &out, .n_in = 1, .n_out = 1, .attr = attr, .flags = l->flags};
  uint64_t workspace = 0;
  raw_said();
  chx_status st = CHX_HAS(k, chx_kernel, accepts) ? k->accepts(k->self, call) : CHX_OK;
  bool accepted = CHX_HAS(k, chx_kernel, accepts) && !st, planned = false;
  if (!st && CHX_HAS(k, chx_kernel, prepare)) planned = !(st = k->prepare(k->self, call, &call->plan, &workspace));
  chx_buffer w = {0};
  if (!st && workspace && raw_alloc(c, r, q, workspace, &w)) {
    call->workspace = w.handle;
    call->workspace_bytes = workspace;
  }
  if (!st) st = k->run(k->self, call);
  conform_check(c, !accepted || st == CHX_OK || st == CHX_ENOMEM, "%s accepted a call and then: %s: %s", k->op,
                raw_code(st),
                raw_said());
  if (!st) raw_down(c, r, q, &b[1], 0, result, sizeof x);
  raw_sync(c, r, q);
  if (planned && CHX_HAS(k, chx_kernel, drop)) k->drop(k->self, call->plan);
  raw_release(r, q, &w);
  for (int i = 0; i < 2; i++) raw_release(r, q, &b[i]);
  raw_sync(c, r, q);
  raw_queue_free(r, q);
  return st;
}

static const chx_kernel *find_kernel(raw *r, const char *op)
{
  const chx_kernel *k;
  for (uint32_t i = 0; (k = r->o->kernel(r->dev, i)); i++)
    if (!strcmp(k->op, op) && (k->dtypes_in & CHX_BIT(CHX_F32)) && (k->dtypes_out & CHX_BIT(CHX_F32)) &&
        (!k->max_rank || k->max_rank >= 2) && k->min_version <= 1)
      return k;
  return NULL;
}

static void later_calls(conform *c, void *arg)
{
  static const later variants[] = {{16, 0, 0}, {256, 0, 0}, {0, 64, 0}, {0, 0, (uint64_t)1 << 40 | (uint64_t)1 << 63},
                                   {16, 64, 0}};
  float want[ELEMENTS], got[ELEMENTS];
  raw *r = raw_device(c);
  int tried = 0;
  (void)arg;
  for (size_t i = 0; r && i < sizeof shape_ops / sizeof *shape_ops; i++) {
    const chx_kernel *k = find_kernel(r, shape_ops[i].op);
    if (!k || run_later(c, r, k, &shape_ops[i], &(later){0}, want)) continue; /* it does not take today's call either */
    tried++;
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
      chx_status st = run_later(c, r, k, &shape_ops[i], &variants[v], got);
      conform_check(c, st == CHX_OK || st == CHX_DECLINED || st == CHX_EUNSUPPORTED,
                    "%s with %zu bytes of zeros behind its attributes, %zu bytes behind the call, flags 0x%llx: %s: %s",
                    shape_ops[i].op, variants[v].attr_more, variants[v].call_more,
                    (unsigned long long)variants[v].flags,
                    raw_code(st), raw_said());
      conform_check(c, st || !memcmp(want, got, sizeof got),
                    "%s with %zu bytes of zeros behind its attributes, %zu bytes behind the call, flags 0x%llx: "
                    "other results",
                    shape_ops[i].op, variants[v].attr_more, variants[v].call_more,
                    (unsigned long long)variants[v].flags);
    }
  }
  if (r && !tried) conform_skip(c, "it has no kernel of leaky_relu, gelu, softmax, log_softmax, copy, tanh or neg "
                                   "for f32");
}

void conform_skew_cases(conform *c, conform_list *l)
{
  static const struct table first = {HOST_1_0, HOST_1_0, false}, zeros = {HOST_1_0 + 128, HOST_1_0 + 128, false},
                            unknown = {HOST_1_0 + 128, HOST_1_0 + 128, true}, junk = {HOST_1_0, HOST_1_0 + 128, true};
  (void)c;
  _Static_assert(sizeof(chx_host) >= HOST_1_0 && sizeof(chx_kernel) >= KERNEL_1_0, "structs only grow");
  conform_add(l, "C2", "the host table of version 1.0, and a guard page", host_table, (void *)&first);
  conform_add(l, "C2", "a host table that grew by zeros", host_table, (void *)&zeros);
  conform_add(l, "C2", "a host table that grew by unknown functions", host_table, (void *)&unknown);
  conform_add(l, "C2", "junk behind the host table", host_table, (void *)&junk);
  conform_lent_cases(c, l);
  conform_add(l, "C2", "info of any size", info_sizes, NULL);
  conform_add(l, "C2", "info is plausible", info_values, NULL);
  conform_add(l, "C2", "unknown extensions", extensions, NULL);
  conform_add(l, "C2", "a chx_buffer that grew, unknown kinds", grown_buffer, NULL);
  conform_add(l, "C2", "the list of kernels", kernels, NULL);
  conform_add(l, "C2", "attributes and calls that grew", later_calls, NULL);
}
