/* SPDX-License-Identifier: MIT
 * module.c: the table of compiled programs, one a device.
 *
 * An entry is found without a lock: chains only grow at their head, and an entry never changes once it is in. Compiling is
 * done under the table's lock, so that two threads do not compile the same program.
 */
#include <stdlib.h>
#include <string.h>
#include "gpu.h"

enum { CHAINS = 1024, FUNCTIONS = 8 };

typedef struct entry {
  struct entry *next;
  const gpu_family *family;
  uint64_t hash;
  gpu_module *module;
  gpu_function *fn[FUNCTIONS];
  unsigned char spec[];
} entry;

struct gpu_table {
  pthread_mutex_t lock;
  _Atomic(entry *) chain[CHAINS];
};

bool gpu_table_open(gpu_device *g)
{
  g->table = calloc(1, sizeof *g->table);
  return g->table && pthread_mutex_init(&g->table->lock, NULL) == 0;
}

void gpu_table_close(gpu_device *g)
{
  if (!g->table) return;
  for (int i = 0; i < CHAINS; i++)
    for (entry *e = atomic_load(&g->table->chain[i]), *next; e; e = next) {
      next = e->next;
      g->driver->unload(g, e->module);
      free(e);
    }
  pthread_mutex_destroy(&g->table->lock);
  free(g->table);
  g->table = NULL;
}

static uint64_t hash_of(const gpu_family *f, const void *spec)
{
  const unsigned char *p = spec;
  uint64_t h = (uint64_t)(uintptr_t)f * 0x9e3779b97f4a7c15u;
  uint32_t i = 0;
  for (; i + 8 <= f->spec_size; i += 8) {
    uint64_t w;
    memcpy(&w, p + i, 8);
    h = (h ^ w) * 0xff51afd7ed558ccdu;
    h ^= h >> 32;
  }
  for (; i < f->spec_size; i++) h = (h ^ p[i]) * 0x100000001b3u;
  return h ^ h >> 29;
}

static entry *look(entry *e, const gpu_family *f, uint64_t hash, const void *spec)
{
  for (; e; e = e->next)
    if (e->hash == hash && e->family == f && !memcmp(e->spec, spec, f->spec_size)) return e;
  return NULL;
}

char *gpu_program_text(const char *defines, const gpu_family *f, const void *spec)
{
  gpu_text t = {NULL, 0, 0, false};
  gpu_raw(&t, defines ? defines : "");
  gpu_raw(&t, gpu_text_prelude);
  f->write(&t, spec);
  if (!t.failed) return t.at;
  free(t.at);
  return NULL;
}

static chx_status module_of(gpu_device *g, const gpu_family *f, const void *spec, gpu_module **out)
{
  void *bytes;
  size_t n;
  char *text = gpu_program_text(g->defines, f, spec);
  if (!text) return gpu_fail(g, CHX_ENOMEM, "%s: out of memory for the text of a kernel of %s", g->spec, f->name);
  chx_status st = CHX_EFAILED;
  if (g->driver->load && gpu_disk_read(g, text, &bytes, &n)) {
    st = g->driver->load(g, bytes, n, out);
    free(bytes);
  }
  if (st) {
    st = g->driver->build(g, f->name, text, out);
    if (!st && g->driver->binary && !g->driver->binary(g, *out, &bytes, &n)) {
      gpu_disk_write(g, text, bytes, n);
      free(bytes);
    }
  }
  free(text);
  return st;
}

static chx_status add(gpu_device *g, const gpu_family *f, const void *spec, uint64_t hash, entry **out)
{
  entry *e = calloc(1, sizeof *e + f->spec_size);
  if (!e) return gpu_fail(g, CHX_ENOMEM, "%s: out of memory for a kernel of %s", g->spec, f->name);
  e->family = f;
  e->hash = hash;
  memcpy(e->spec, spec, f->spec_size);
  chx_status st = module_of(g, f, spec, &e->module);
  if (st) {
    free(e);
    return st;
  }
  for (int i = 0; i < FUNCTIONS && f->functions[i] && !st; i++)
    st = g->driver->function(g, e->module, f->functions[i], &e->fn[i]);
  if (st) {
    g->driver->unload(g, e->module);
    free(e);
    return st;
  }
  *out = e;
  return CHX_OK;
}

chx_status gpu_find(gpu_device *g, const gpu_family *f, const void *spec, uint32_t which, gpu_function **out)
{
  const uint64_t hash = hash_of(f, spec);
  _Atomic(entry *) *chain = &g->table->chain[hash % CHAINS];
  entry *e = look(atomic_load_explicit(chain, memory_order_acquire), f, hash, spec);
  chx_status st = CHX_OK;
  if (!e) {
    pthread_mutex_lock(&g->table->lock);
    entry *head = atomic_load(chain);
    e = look(head, f, hash, spec);
    if (!e && !(st = add(g, f, spec, hash, &e))) {
      e->next = head;
      atomic_store_explicit(chain, e, memory_order_release);
    }
    pthread_mutex_unlock(&g->table->lock);
  }
  if (!st) *out = e->fn[which];
  return st;
}
