/* SPDX-License-Identifier: MIT
 * route.c: which way an operator goes on a device, decided once per signature and cached.
 *
 * In order: the device's own kernel, by the operator's name or through a primitive (reduce, scan, map, copy), if need
 * be with operands adapted; the decomposition, where the device has kernels for its parts; the native kernel on the
 * device's memory (mapped) or on copies (staged).
 *
 * The signature is operator, device, and per operand dtype, rank and whether it is a host scalar; shapes have no part in it,
 * so that new ones cost nothing. A kernel that asks for more (`accepts`) is asked at each call. The cache has two levels of
 * fixed size: a thread's, without a lock, and one that all share. Both hold routes by value, so nothing is ever freed.
 */
#include "runtime.h"
#include <stdio.h>
#include <stdlib.h>

enum { WORDS = 6, THREAD_SLOTS = 512, SHARED_SLOTS = 4096 };

typedef struct route_key { uint64_t w[WORDS]; } route_key;
struct chxi_route_slot {
  route_key key;
  chxi_route route;
};

atomic_uint chxi_route_epoch;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
CHXI_FORK_GUARD(CHXI_FORK_PLAIN, &lock, 1)
static struct chxi_route_slot *shared;

/* ---- forced routes: CHX_ROUTE, chx_set_route ----------------------------------------------------------------------- */

enum { FREE, FORCE_KERNEL, FORCE_COMPOSED, FORCE_MAPPED, FORCE_STAGED, NO_COMPOSED };
static _Atomic uint8_t forced[CHXI_MAX_OPS];
static pthread_once_t forced_once = PTHREAD_ONCE_INIT;
static char bad_route[128]; /* the piece of CHX_ROUTE that was not understood */
static struct { char op[64]; int route; } later[16]; /* CHX_ROUTE's of operators that no plugin has declared yet */
static int n_later;

/* FREE, ... by name; -1: there is none of the name. */
static int route_of(const char *route)
{
  static const char *const names[] = {NULL, "kernel", "composed", "mapped", "staged", "no-composed"};
  int f = route ? -1 : FREE;
  for (int i = FORCE_KERNEL; route && i <= NO_COMPOSED; i++)
    if (!strcmp(route, names[i])) f = i;
  return f;
}

static bool force(const char *op, const char *route)
{
  const chx_op *one = chx_op_find(op);
  int f = route_of(route);
  if (f < 0 || (!one && strcmp(op, "*"))) return false;
  for (int i = 0; i < CHXI_MAX_OPS; i++)
    if (!one || one->id == i) atomic_store(&forced[i], (uint8_t)f);
  atomic_fetch_add(&chxi_route_epoch, 1);
  return true;
}

static bool force_later(const char *op, const char *route)
{
  int f = route_of(route);
  if (f < 0 || !strchr(op, '.') || n_later == (int)(sizeof later / sizeof *later)) return false;
  snprintf(later[n_later].op, sizeof later[0].op, "%s", op);
  later[n_later++].route = f;
  return true;
}

/* CHX_ROUTE="sort=staged,add=kernel" */
static void read_environment(void)
{
  const char *env = chxi_getenv("CHX_ROUTE");
  const char *sync = chxi_getenv("CHX_SYNC");
  chxi_sync_always = sync && *sync && strcmp(sync, "0");
  while (env && *env) {
    char op[64], route[32];
    size_t n = strcspn(env, ",");
    char piece[128];
    snprintf(piece, sizeof piece, "%.*s", (int)(n < 120 ? n : 120), env);
    if (sscanf(piece, "%63[^=]=%31s", op, route) != 2 || (!force(op, route) && !force_later(op, route)))
      snprintf(bad_route, sizeof bad_route, "%s", piece);
    env += n + (env[n] == ',');
  }
}

void chxi_route_learn(const chx_op *op)
{
  pthread_once(&forced_once, read_environment);
  for (int i = 0; i < n_later; i++)
    if (!strcmp(later[i].op, op->name)) atomic_store(&forced[op->id], (uint8_t)later[i].route);
}

bool chxi_routes_ready(chx_scope *s)
{
  pthread_once(&forced_once, read_environment);
  if (!bad_route[0]) return true;
  chx_scope_fail(s, CHX_EARG, "CHX_ROUTE: '%s' is not understood, want operator=kernel|composed|mapped|staged|no-composed", bad_route);
  return false;
}

chx_status chx_set_route(chx_scope *s, const char *op, const char *route)
{
  if (!chxi_ok(s)) return chx_scope_error(s);
  pthread_once(&forced_once, read_environment);
  if (!op || !force(op, route))
    return chx_scope_fail(
        s, CHX_EARG,
        "set_route: '%s', '%s': want an operator's name or \"*\", and kernel, composed, mapped, staged, no-composed or NULL",
        op ? op : "NULL", route ? route : "NULL");
  return CHX_OK;
}

/* ---- choosing -------------------------------------------------------------------------------------------------------- */

static const char *const NO_KERNEL = "the plugin has no kernel for it";
static const char *const DTYPES = "its kernel does not take the dtype";
static const char *const RANKS = "its kernel does not take the rank";
static const char *const TAIL = "its kernel does not know an attribute that is set";
const char chxi_reason_forced[] = "the route is forced";

/* Why kernel k cannot serve a call with these operands; NULL: it can. */
static const char *unfit(const chx_kernel *k, const chx_op *op, int n_in, const uint8_t *dtypes, const int *ranks,
                         const void *attr, int out_dtype)
{
  uint64_t out = CHX_HAS(k, chx_kernel, dtypes_out) ? k->dtypes_out : k->dtypes_in;
  uint32_t max_rank = CHX_HAS(k, chx_kernel, max_rank) ? k->max_rank : CHX_MAX_RANK;
  for (int i = 0; i < n_in; i++) {
    if (!dtypes[i]) continue;
    if (!(k->dtypes_in & CHX_BIT(dtypes[i]))) return DTYPES;
    if (ranks[i] > (int)max_rank) return RANKS;
  }
  if (out_dtype && !(out & CHX_BIT(out_dtype))) return DTYPES;
  if ((k->min_version && op->version < (int)k->min_version) || (k->max_version && op->version > (int)k->max_version))
    return "its kernel is for another version of the operator";
  for (uint32_t i = k->attr_size; attr && op->attr_size && k->attr_size && i < op->attr_size; i++)
    if (((const unsigned char *)attr)[i]) return TAIL;
  return NULL;
}

static const chx_op *primitive_of(const chx_op *op)
{
  return op->kind == CHXI_ELEMENTWISE ? &chxi_op_map : op->primitive ? chx_op_find(op->primitive) : NULL;
}

/* The first fit kernel after `after` (NULL: from the start) in a NULL-ended list. */
static const chx_kernel *pick(const chx_kernel *const *list, const chx_kernel *after, const chx_op *op, int n_in,
                              const uint8_t *dtypes, const int *ranks, const void *attr, int out_dtype,
                              const char **why)
{
  if (!list) return NULL;
  if (after)
    while (*list && *list++ != after) {}
  for (; *list; list++) {
    const char *bad = unfit(*list, op, n_in, dtypes, ranks, attr, out_dtype);
    if (!bad) return *list;
    *why = bad;
  }
  return NULL;
}

/* Whether every part of op's decomposition has a kernel on dev, or is composed of such, or is a view. */
static bool has_parts(chxi_device *dev, const chx_op *op, int dtype, const char **missing)
{
  for (const char *p = op->parts; p && *p;) {
    char name[64]; /* NAME_MAX_BYTES of a declared operator's, and more */
    size_t n = strcspn(p, " ");
    snprintf(name, sizeof name, "%.*s", (int)n, p);
    p += n + (p[n] == ' ');
    const chx_op *part = chx_op_find(name);
    if (!part || part->kind == CHXI_VIEW) continue;
    const chx_op *prim = primitive_of(part);
    const chx_kernel *const *lists[2] = {dev->kernels[part->id], prim ? dev->kernels[prim->id] : NULL};
    uint64_t fit = CHX_BIT(dtype) | (dtype == CHX_F16 || dtype == CHX_BF16 ? CHX_BIT(CHX_F32) : 0);
    bool found = false;
    for (int l = 0; l < 2; l++)
      for (int i = 0; lists[l] && lists[l][i]; i++)
        found |= (lists[l][i]->dtypes_in & fit) || !(part->dtypes & CHX_BIT(dtype));
    if (!found && !(part->decompose && has_parts(dev, part, dtype, missing))) return *missing = part->name, false;
  }
  return true;
}

static chxi_route resolve(chxi_device *dev, const chx_op *op, int n_in, const uint8_t *dtypes, const int *ranks,
                          const void *attr, int out_dtype, const chx_kernel *after, char *reason, size_t size)
{
  chxi_route r = {.kind = CHX_ROUTE_NONE};
  const char *why = NO_KERNEL, *missing = NULL;
  const chx_op *prim = primitive_of(op);
  int f = atomic_load(&forced[op->id]);
  const chxi_device *native_0 = atomic_load(&chxi_native_device);
  bool native = native_0 && dev->backend == native_0->backend; /* on native:1, too, nothing falls back */
  if ((native && (f == FORCE_STAGED || f == FORCE_MAPPED)) || (f == FORCE_COMPOSED && !op->decompose)) f = FREE; /* there is no such way */
  if (reason && size) *reason = 0;
  if (f == FREE || f == FORCE_KERNEL || f == NO_COMPOSED) {
    uint8_t wide[CHX_MAX_OPERANDS];
    for (int w = 0; w < 2 && !r.k; w++) { /* as they are, then f16 and bf16 through f32 */
      const uint8_t *d = dtypes;
      int out = out_dtype;
      if (w) {
        bool any = false;
        for (int i = 0; i < n_in; i++) {
          bool half = dtypes[i] == CHX_F16 || dtypes[i] == CHX_BF16;
          wide[i] = half ? CHX_F32 : dtypes[i];
          any |= half;
        }
        if (!any || op->id == CHXI_OP_copy || op->id == CHXI_OP_cast) break;
        d = wide;
        if (out == CHX_F16 || out == CHX_BF16) out = CHX_F32;
        r.widen = true;
      }
      bool by_prim = false;
      const chx_kernel *from = after;
      if (!from || strcmp(from->op, op->name) == 0)
        r.k = pick(dev->kernels[op->id], from, op, n_in, d, ranks, attr, out, &why);
      if (!r.k && prim) {
        if (from && !strcmp(from->op, op->name)) from = NULL;
        r.k = pick(dev->kernels[prim->id], from, prim, n_in, d, ranks, op->kind == CHXI_ELEMENTWISE ? NULL : attr, out,
                   &why);
        by_prim = r.k != NULL;
      }
      if (r.k) {
        r.kind = CHX_ROUTE_KERNEL;
        r.flags = r.k->flags;
        r.by_map = by_prim && op->kind == CHXI_ELEMENTWISE;
        r.attr_size = r.k->attr_size;
        r.reason = r.widen ? "its kernel takes f32" : NULL;
      }
    }
    if (!r.k) r.widen = false;
  } else
    why = chxi_reason_forced;
  if (!r.k && op->decompose && f != FORCE_STAGED && f != FORCE_MAPPED && f != NO_COMPOSED && f != FORCE_KERNEL) {
    int dtype = CHX_F32;
    for (int i = n_in - 1; i >= 0; i--)
      if (dtypes[i]) dtype = dtypes[i];
    if (native || f == FORCE_COMPOSED || has_parts(dev, op, dtype, &missing)) r.kind = CHX_ROUTE_COMPOSED;
  }
  if (!r.k && r.kind == CHX_ROUTE_NONE && !native && f != FORCE_KERNEL)
    r.kind = dev->host || (dev->mappable && f != FORCE_STAGED) ? CHX_ROUTE_MAPPED : CHX_ROUTE_STAGED;
  if (!r.k && r.kind == CHX_ROUTE_NONE && op->decompose && native) r.kind = CHX_ROUTE_COMPOSED;
  if (!r.k) r.reason = why;
  if (reason && size) {
    if (r.k)
      snprintf(reason, size, "kernel '%s'%s", r.k->op,
               r.widen                         ? ", operands through f32"
               : r.k->flags & CHX_K_CONTIGUOUS ? ", operands made dense"
                                               : "");
    else if (missing) snprintf(reason, size, "%s; its decomposition needs %s", why, missing);
    else snprintf(reason, size, "%s", why);
  }
  return r;
}

static void signature(const chxi_call *c, uint8_t *dtypes, int *ranks)
{
  for (int i = 0; i < c->n_in; i++) {
    dtypes[i] = c->in[i] ? c->in[i]->dtype : 0;
    ranks[i] = c->in[i] ? c->in[i]->t.ndim : 0;
  }
}

chxi_route chxi_route_next(chxi_call *c, const chx_kernel *after)
{
  uint8_t dtypes[CHX_MAX_OPERANDS];
  int ranks[CHX_MAX_OPERANDS];
  signature(c, dtypes, ranks);
  return resolve(c->dev, c->op, c->n_in, dtypes, ranks, c->attr, c->out[0].dtype, after, NULL, 0);
}

/* ---- the cache ----------------------------------------------------------------------------------------------------------- */

static inline uint64_t hash(const route_key *k, int n)
{
  uint64_t h = 0x9e3779b97f4a7c15u;
  for (int i = 0; i < n; i++) h = (h ^ k->w[i]) * 0xff51afd7ed558ccdu, h ^= h >> 32;
  return h;
}

static inline bool make_key(const chxi_call *c, route_key *k, int *n)
{
  int words = 1 + (c->n_in + 3) / 4;
  if (chxi_unlikely(words > WORDS)) return false;
  k->w[0] = (uint64_t)c->op->id | (uint64_t)c->dev->id << 16 | (uint64_t)c->n_in << 24 |
            (uint64_t)c->out[0].dtype << 32 |
            (uint64_t)atomic_load_explicit(&chxi_route_epoch, memory_order_relaxed) << 40 | (uint64_t)1 << 63;
  uint64_t w = 0;
  for (int i = 0; i < c->n_in; i++) {
    uint64_t l = c->in[i] ? c->in[i]->layout & ~(1u << 10) : 0xffff;
    w |= l << (i & 3) * 16;
    if ((i & 3) == 3 || i == c->n_in - 1) {
      k->w[1 + i / 4] = w;
      w = 0;
    }
  }
  *n = words;
  return true;
}

static inline bool same_key(const route_key *a, const route_key *b, int n)
{
  for (int i = 0; i < n; i++)
    if (a->w[i] != b->w[i]) return false;
  return true;
}

static const chxi_route *slow(chxi_call *c, const route_key *k, int n, struct chxi_route_slot *slot)
{
  static _Thread_local chxi_route passing;
  pthread_once(&forced_once, read_environment);
  pthread_mutex_lock(&lock);
  if (!shared) shared = calloc(SHARED_SLOTS, sizeof *shared);
  struct chxi_route_slot *s = k && shared ? &shared[hash(k, n) >> 20 & (SHARED_SLOTS - 1)] : NULL;
  bool hit = s && same_key(&s->key, k, n);
  if (hit) passing = s->route;
  pthread_mutex_unlock(&lock);
  if (!hit) {
    passing = chxi_route_next(c, NULL);
    bool tail = c->op->attr_size && passing.reason == TAIL; /* depends on the attribute's values */
    if (s && !tail && !(passing.k && passing.attr_size && passing.attr_size < c->op->attr_size)) {
      pthread_mutex_lock(&lock);
      s->key = *k;
      s->route = passing;
      pthread_mutex_unlock(&lock);
    } else
      slot = NULL;
  }
  passing.fresh = !hit;
  if (!slot) return &passing;
  slot->key = *k;
  slot->route = passing;
  return &slot->route;
}

const chxi_route *chxi_route_find(chxi_call *c)
{
  route_key k = {0};
  int n;
  chxi_thread *th = chxi_thread_self();
  if (chxi_unlikely(!make_key(c, &k, &n))) return slow(c, NULL, 0, NULL);
  if (chxi_unlikely(!th->routes)) th->routes = calloc(THREAD_SLOTS, sizeof *th->routes);
  if (chxi_unlikely(!th->routes)) return slow(c, &k, n, NULL);
  struct chxi_route_slot *slot = &th->routes[hash(&k, n) >> 32 & (THREAD_SLOTS - 1)];
  return chxi_likely(same_key(&slot->key, &k, n)) ? &slot->route : slow(c, &k, n, slot);
}

/* ---- explain -------------------------------------------------------------------------------------------------------------- */

int chx_explain(chx_scope *s, const chx_op *op, const char *device, int dtype, char *reason, size_t size)
{
  if (reason && size) *reason = 0;
  if (!chxi_ok(s)) return CHX_ROUTE_NONE;
  if (!op) return chx_scope_fail(s, CHX_EARG, "explain: the operator is NULL, want one of the table"), CHX_ROUTE_NONE;
  if (dtype <= 0 || dtype >= CHX_DTYPE_END)
    return chx_scope_fail(s, CHX_EDTYPE, "explain: dtype is %d, want one of dtype.def", dtype), CHX_ROUTE_NONE;
  chxi_device *dev = device ? chxi_device_find(s, device) : s->dev;
  if (!dev) return CHX_ROUTE_NONE;
  pthread_once(&forced_once, read_environment);
  chxi_native(s);
  if (op->kind == CHXI_VIEW) return CHX_ROUTE_VIEW;
  if (op->n_in && !(op->dtypes & CHX_BIT(dtype))) {
    if (reason && size) snprintf(reason, size, "the operator does not take %s", chx_dtype_name(dtype));
    return CHX_ROUTE_NONE;
  }
  uint8_t dtypes[CHXI_KERNEL_IN];
  int ranks[CHXI_KERNEL_IN];
  for (int i = 0; i < op->n_in; i++) {
    bool index = !strcmp(op->inputs[i], "indices") || !strcmp(op->inputs[i], "t");
    dtypes[i] = (uint8_t)(index ? CHX_I64 : op->klass == 'W' && !i ? CHX_BOOL : dtype);
    ranks[i] = 2;
  }
  chxi_route r = resolve(dev, op, op->n_in, dtypes, ranks, NULL, 0, NULL, reason, size);
  if (r.kind == CHX_ROUTE_KERNEL && r.widen) return CHX_ROUTE_ADAPTED;
  return r.kind;
}
