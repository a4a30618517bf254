/* SPDX-License-Identifier: MIT
 * graph.c: the names of graphs (backprop ids), and in which of them a scope records.
 *
 * A slot is free again when its graph has ended and its last node is gone.
 */
#include "runtime.h"

static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
CHXI_FORK_GUARD(CHXI_FORK_PLAIN, &slots_lock, 1)
static uint64_t slots_live = 1;
static atomic_llong slot_nodes[64];

void chxi_graph_count(uint64_t mask, int by)
{
  for (mask &= ~(uint64_t)1; mask; mask &= mask - 1) atomic_fetch_add(&slot_nodes[__builtin_ctzll(mask)], by);
}

chx_backprop_id chx_backprop_begin(chx_scope *s, const char *name)
{
  if (!chxi_ok(s)) return -1;
  int id = -1;
  (void)name;
  pthread_mutex_lock(&slots_lock);
  for (int i = 1; i < 64 && id < 0; i++)
    if (!(slots_live >> i & 1) && !atomic_load(&slot_nodes[i])) id = i;
  if (id >= 0) slots_live |= (uint64_t)1 << id;
  pthread_mutex_unlock(&slots_lock);
  if (id < 0) {
    chx_scope_fail(s, CHX_EARG, "backprop_begin: 64 graphs are alive, want fewer (end them and release their arrays)");
    return -1;
  }
  s->active |= (uint64_t)1 << id;
  return id;
}

void chx_backprop_end(chx_scope *s, chx_backprop_id id)
{
  (void)s;
  if (id < 1 || id > 63) return;
  pthread_mutex_lock(&slots_lock);
  slots_live &= ~((uint64_t)1 << id);
  pthread_mutex_unlock(&slots_lock);
}

bool chxi_good_id(chx_scope *s, const char *what, chx_backprop_id id)
{
  if (!chxi_ok(s)) return false;
  pthread_mutex_lock(&slots_lock);
  bool live = id >= 0 && id < 64 && slots_live >> id & 1;
  pthread_mutex_unlock(&slots_lock);
  if (!live)
    chx_scope_fail(s, CHX_EARG,
                   "%s: backprop id is %d, want 0 or one that chx_backprop_begin returned and that was not ended", what,
                   id);
  return live;
}

chx_status chx_no_backprop(chx_scope *s, chx_backprop_id id)
{
  if (chxi_good_id(s, "no_backprop", id)) s->active &= ~((uint64_t)1 << id);
  return chx_scope_error(s);
}

chx_status chx_force_backprop(chx_scope *s, chx_backprop_id id)
{
  if (chxi_good_id(s, "force_backprop", id)) s->active |= (uint64_t)1 << id;
  return chx_scope_error(s);
}

uint64_t chx_scope_set_graphs(chx_scope *s, uint64_t graphs)
{
  if (!s) return 0;
  const uint64_t before = s->active;
  s->active = graphs;
  return before;
}
