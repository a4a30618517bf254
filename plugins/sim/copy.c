/* SPDX-License-Identifier: MIT
 * copy.c: copies between the host and a device, within a device, and between two devices ("chx.peer/1").
 *
 * The host's bytes are lent for the call only, so they travel in the job. Both ends are looked up among the live
 * allocations when the job is run.
 */
#include "internal.h"
#include <string.h>

enum { HOST_TO_DEVICE = 0, DEVICE_TO_HOST, DEVICE_TO_DEVICE, PEER };
static const char *const directions[] = {"host to device", "device to host", "device to device", "from a peer"};

struct copy_job {
  struct sim_job job;
  struct chx_dev *dev, *from; /* from: where a peer's source is, else dev */
  char *dst;
  const char *src;
  uint64_t bytes;
  uint32_t dir;
  struct sim_late *late;
};

static chx_status run_copy(struct sim_job *job)
{
  struct copy_job *c = (struct copy_job *)job;
  struct sim_block *to = NULL, *from = NULL;
  if (c->late) return sim_strike(c->dev, c->late);
  chx_status st = c->from == c->dev ? CHX_OK : sim_alive(c->from);
  if (st) return st;
  const char *way = directions[c->dir];
  char *dst = c->dir == DEVICE_TO_HOST ? c->dst : sim_open_range(c->dev, c->dst, c->bytes, &to);
  const char *src = c->dir == HOST_TO_DEVICE ? c->src : sim_open_range(c->from, c->src, c->bytes, &from);
  if (!dst || !src)
    st = sim_fail(CHX_EARG, "copy, %s: the %s %llu bytes are not in a live allocation of %s", way,
                  dst ? "source's" : "target's", (unsigned long long)c->bytes, dst ? c->from->name : c->dev->name);
  if (!st && to) st = sim_not_mapped(c->dev, to, true, way);
  if (!st && from) st = sim_not_mapped(c->from, from, false, way);
  if (!st) {
    sim_delay_copy(c->dev, c->bytes);
    memmove(dst, src, c->bytes);
  }
  sim_unpin(c->dev, to);
  sim_unpin(c->from, from);
  return st;
}

static chx_status repeat(const struct sim_job *job, const struct sim_late *late)
{
  struct copy_job c = *(const struct copy_job *)job;
  struct sim_late fault = *late;
  c.late = fault.code ? &fault : NULL;
  return run_copy(&c.job);
}

static chx_status copy(chx_dev *dev, chx_queue *q, void *dst, chx_dev *from, const void *src, uint64_t bytes, uint32_t dir)
{
  struct sim_late late;
  chx_status st = dir == DEVICE_TO_HOST || dir == PEER ? sim_not_recording(q, directions[dir]) : CHX_OK;
  if (!st) st = sim_queue_action(dev, q, CHX_SIM_COPY, directions[dir], &late);
  if (st) return st;
  if (!bytes && !late.code) return CHX_OK;
  uint64_t payload = dir == HOST_TO_DEVICE ? bytes : 0, fault = late.code ? sizeof late : 0;
  struct copy_job *c = sim_job_new(sizeof *c + fault + payload, run_copy);
  if (!c) return CHX_ENOMEM;
  char *room = (char *)(c + 1);
  c->job.repeat = repeat;
  c->job.action = CHX_SIM_COPY;
  c->job.what = directions[dir];
  c->dev = dev;
  c->from = from;
  c->bytes = bytes;
  c->dir = dir;
  c->dst = dst;
  c->src = src;
  if (fault) c->late = memcpy(room, &late, sizeof late);
  if (payload) c->src = memcpy(room + fault, src, bytes);
  return sim_enqueue(dev, q, &c->job);
}

chx_status sim_copy(chx_dev *dev, chx_queue *q, void *dst, uint64_t dst_off, const void *src, uint64_t src_off,
                    uint64_t bytes, uint32_t dir)
{
  if (dir > DEVICE_TO_DEVICE) return sim_fail(CHX_EARG, "copy: direction %u, want 0, 1 or 2", dir);
  return copy(dev, q, (char *)((uintptr_t)dst + dst_off), dev, (const char *)((uintptr_t)src + src_off), bytes, dir);
}

/* ---- between devices ------------------------------------------------------------------------------------------------ */

static chx_status peer_can(chx_dev *to, chx_dev *from)
{
  chx_status st = sim_alive(to);
  return st ? st : sim_alive(from);
}

static chx_status peer_copy(chx_dev *to, chx_queue *q, void *dst, uint64_t dst_off, chx_dev *from, const void *src,
                            uint64_t src_off, uint64_t bytes)
{
  chx_status st = sim_alive(from);
  if (st) return st;
  return copy(to, q, (char *)((uintptr_t)dst + dst_off), from, (const char *)((uintptr_t)src + src_off), bytes, PEER);
}

const chx_peer_ops sim_peer_ops = {.size = sizeof sim_peer_ops, .can = peer_can, .copy = peer_copy};
