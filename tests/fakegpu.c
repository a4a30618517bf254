/* SPDX-License-Identifier: MIT
 * fakegpu.c: the stand-in's driver and compiler; see fakegpu.h. The forms that cuda and hip share are written once,
 * under the names that NAMES gives; the headers' own prototypes check them.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fakegpu.h"
#include "vendor.h"

#ifdef FAKE_HIP
#define CODE(name) hip##name
#define E_OUT_OF_MEMORY hipErrorOutOfMemory
#define E_BAD_IMAGE hipErrorInvalidImage
#define E_NOT_FOUND hipErrorNotFound
#define E_NOT_READY hipErrorNotReady
#define E_INVALID hipErrorInvalidValue
#define E_RTC_COMPILE HIPRTC_ERROR_COMPILATION
typedef int context;
typedef const char **strings;
#define PTR(p) (p)
#define f_Synchronize hipDeviceSynchronize
#define f_MemGetInfo hipMemGetInfo
#define f_MemAlloc hipMalloc
#define f_MemFree hipFree
#define f_HostAlloc hipHostMalloc
#define f_HostFree hipHostFree
#define f_HostRegister hipHostRegister
#define f_HostUnregister hipHostUnregister
#define f_HostDevicePointer hipHostGetDevicePointer
#define f_CopyOut hipMemcpyDtoHAsync
#define f_CopyOver hipMemcpyDtoDAsync
#define f_CanAccessPeer hipDeviceCanAccessPeer
#define f_EnablePeer hipDeviceEnablePeerAccess
#define f_StreamCreate hipStreamCreateWithFlags
#define f_StreamDestroy hipStreamDestroy
#define f_StreamSynchronize hipStreamSynchronize
#define f_StreamWaitEvent hipStreamWaitEvent
#define f_EventCreate hipEventCreateWithFlags
#define f_EventRecord hipEventRecord
#define f_EventQuery hipEventQuery
#define f_EventSynchronize hipEventSynchronize
#define f_EventDestroy hipEventDestroy
#define f_ModuleLoad hipModuleLoadDataEx
#define f_ModuleUnload hipModuleUnload
#define f_ModuleGetFunction hipModuleGetFunction
#define f_Launch hipModuleLaunchKernel
#define f_PoolAlloc hipMallocAsync
#define f_PoolFree hipFreeAsync
#define f_DefaultPool hipDeviceGetDefaultMemPool
#define f_PoolSetAccess hipMemPoolSetAccess
#define f_DeviceGet hipDeviceGet
#define f_DeviceGetCount hipGetDeviceCount
#define f_DeviceGetName hipDeviceGetName
#define f_DeviceTotalMem hipDeviceTotalMem
#define f_DeviceGetAttribute hipDeviceGetAttribute
#define f_DeviceGetPCIBusId hipDeviceGetPCIBusId
#define f_DriverGetVersion hipDriverGetVersion
#define f_Init hipInit
#define f_SetCurrent hipSetDevice
#define f_CaptureBegin hipStreamBeginCapture
#define f_CaptureEnd hipStreamEndCapture
#define f_GraphInstantiate hipGraphInstantiateWithFlags
#define f_GraphLaunch hipGraphLaunch
#define f_GraphExecDestroy hipGraphExecDestroy
#define f_GraphDestroy hipGraphDestroy
typedef hipStreamCaptureMode capture_mode;
#define r_(name) hiprtc##name
#else
#define E_OUT_OF_MEMORY CUDA_ERROR_OUT_OF_MEMORY
#define E_BAD_IMAGE CUDA_ERROR_INVALID_IMAGE
#define E_NOT_FOUND CUDA_ERROR_NOT_FOUND
#define E_NOT_READY CUDA_ERROR_NOT_READY
#define E_INVALID CUDA_ERROR_INVALID_VALUE
#define E_RTC_COMPILE NVRTC_ERROR_COMPILATION
typedef CUcontext context;
typedef const char *const *strings;
#define PTR(p) ((void *)(uintptr_t)(p))
#define f_Synchronize cuCtxSynchronize
#define f_MemGetInfo cuMemGetInfo
#define f_MemAlloc cuMemAlloc
#define f_MemFree cuMemFree
#define f_HostAlloc cuMemHostAlloc
#define f_HostFree cuMemFreeHost
#define f_HostRegister cuMemHostRegister
#define f_HostUnregister cuMemHostUnregister
#define f_HostDevicePointer cuMemHostGetDevicePointer
#define f_CopyOut cuMemcpyDtoHAsync
#define f_CopyOver cuMemcpyDtoDAsync
#define f_CanAccessPeer cuDeviceCanAccessPeer
#define f_EnablePeer cuCtxEnablePeerAccess
#define f_StreamCreate cuStreamCreate
#define f_StreamDestroy cuStreamDestroy
#define f_StreamSynchronize cuStreamSynchronize
#define f_StreamWaitEvent cuStreamWaitEvent
#define f_EventCreate cuEventCreate
#define f_EventRecord cuEventRecord
#define f_EventQuery cuEventQuery
#define f_EventSynchronize cuEventSynchronize
#define f_EventDestroy cuEventDestroy
#define f_ModuleLoad cuModuleLoadDataEx
#define f_ModuleUnload cuModuleUnload
#define f_ModuleGetFunction cuModuleGetFunction
#define f_Launch cuLaunchKernel
#define f_PoolAlloc cuMemAllocAsync
#define f_PoolFree cuMemFreeAsync
#define f_DefaultPool cuDeviceGetDefaultMemPool
#define f_PoolSetAccess cuMemPoolSetAccess
#define f_DeviceGet cuDeviceGet
#define f_DeviceGetCount cuDeviceGetCount
#define f_DeviceGetName cuDeviceGetName
#define f_DeviceTotalMem cuDeviceTotalMem
#define f_DeviceGetAttribute cuDeviceGetAttribute
#define f_DeviceGetPCIBusId cuDeviceGetPCIBusId
#define f_DriverGetVersion cuDriverGetVersion
#define f_Init cuInit
#define f_SetCurrent cuCtxSetCurrent
#define f_CaptureBegin cuStreamBeginCapture
#define f_CaptureEnd cuStreamEndCapture
#define f_GraphInstantiate cuGraphInstantiateWithFlags
#define f_GraphLaunch cuGraphLaunch
#define f_GraphExecDestroy cuGraphExecDestroy
#define f_GraphDestroy cuGraphDestroy
typedef CUstreamCaptureMode capture_mode;
#define r_(name) nvrtc##name
#endif

/* ---- the record -------------------------------------------------------------------------------------------------- */

enum { LINES = 8192, WIDTH = 320 };
static pthread_mutex_t lock; /* of everything; recursive */
static char lines[LINES][WIDTH];
static int n_lines;
static fake_state state = {.devices = 2, .pools = 1, .arch = 90, .free_bytes = (uint64_t)1 << 30};
static fake_watcher *watcher;
static _Thread_local int current = -1; /* device */

__attribute__((constructor)) static void start(void)
{
  pthread_mutexattr_t a;
  pthread_mutexattr_init(&a);
  pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_init(&lock, &a);
}

int fake_lines(void) { return n_lines; }
const char *fake_line(int i) { return i >= 0 && i < n_lines ? lines[i] : ""; }
void fake_clear(void) { n_lines = 0; }
fake_state *fake(void) { return &state; }
void fake_watch(fake_watcher *w) { watcher = w; }

void fake_say(const char *format, ...)
{
  va_list ap;
  pthread_mutex_lock(&lock);
  va_start(ap, format);
  if (n_lines < LINES) vsnprintf(lines[n_lines++], WIDTH, format, ap);
  va_end(ap);
  pthread_mutex_unlock(&lock);
}

int fake_code(const char *call)
{
  int code = 0;
  pthread_mutex_lock(&lock);
  if (state.fail_at && !strcmp(state.fail_at, call)) {
    code = state.fail;
    state.fail_at = NULL;
  }
  pthread_mutex_unlock(&lock);
  return code;
}
#define MAY_FAIL(call) \
  do { \
    const int code_ = fake_code(call); \
    if (code_) return (drv_result)code_; \
  } while (0)

/* ---- streams and events ------------------------------------------------------------------------------------------ */

enum { E_CAPTURES = 900, E_SPOILT = 901, E_NO_CAPTURE = 903, E_ISOLATION = 905, E_CAPTURED_EVENT = 907 };

typedef struct work {
  struct work *next;
  void (*fn)(void *);
  uint64_t bytes;
  unsigned char arg[];
} work;
typedef struct stream {
  struct stream *next;
  work *first, **last;
  uint64_t queued, done;
  struct graph *captures; /* what is put in goes there */
  bool spoilt;
} stream;
typedef struct graph { work *first, **last; } graph;
typedef struct event { stream *on; uint64_t at; bool captured; } event;
static stream *streams;

/* The stream of a handle: 1 and 2 are the vendors' names of the default streams. */
static stream *stream_of(void *handle)
{
  static stream defaults[2];
  if ((uintptr_t)handle != 1 && (uintptr_t)handle != 2) return handle;
  stream *s = &defaults[(uintptr_t)handle - 1];
  if (!s->last) s->last = &s->first;
  return s;
}

static void step(stream *s)
{
  work *w = s->first;
  if (!w) return;
  if (!(s->first = w->next)) s->last = &s->first;
  w->fn(w->arg);
  s->done++;
  free(w);
}

static void run_to(stream *s, uint64_t at)
{
  while (s && s->done < at && s->first) step(s);
}

void fake_later(void *of, void (*fn)(void *), const void *arg, uint64_t bytes)
{
  stream *s = stream_of(of);
  work *w = malloc(sizeof *w + bytes);
  w->next = NULL;
  w->fn = fn;
  w->bytes = bytes;
  memcpy(w->arg, arg, bytes);
  pthread_mutex_lock(&lock);
  work ***last = s->captures ? &s->captures->last : &s->last;
  **last = w;
  *last = &w->next;
  if (!s->captures) s->queued++;
  pthread_mutex_unlock(&lock);
}

/* A call that a stream which captures does not allow. */
static drv_result spoil(stream *s, int code)
{
  s->spoilt = true;
  return (drv_result)code;
}
#define NOT_CAPTURING(of) \
  do { \
    stream *s_ = (stream *)(void *)(of); \
    if (s_->captures) return spoil(s_, E_CAPTURES); \
  } while (0)

static graph *graph_new(const graph *of)
{
  graph *g = calloc(1, sizeof *g);
  g->last = &g->first;
  for (const work *w = of ? of->first : NULL; w; w = w->next) {
    *g->last = memcpy(malloc(sizeof *w + w->bytes), w, sizeof *w + w->bytes);
    g->last = &(*g->last)->next;
  }
  state.graphs++;
  return g;
}

static drv_result graph_free(graph *g)
{
  for (work *w = g->first, *next; w; w = next) {
    next = w->next;
    free(w);
  }
  free(g);
  state.graphs--;
  return DRV_SUCCESS;
}

drv_result f_CaptureBegin(drv_stream of, capture_mode mode)
{
  MAY_FAIL("CaptureBegin");
  NOT_CAPTURING(of);
  stream *s = (stream *)(void *)of;
  s->captures = graph_new(NULL);
  s->spoilt = mode != DRV_CAPTURE_MODE;
  fake_say("CaptureBegin");
  return DRV_SUCCESS;
}

drv_result f_CaptureEnd(drv_stream of, drv_graph *out)
{
  stream *s = (stream *)(void *)of;
  graph *g = s->captures;
  *out = NULL;
  if (!g) return (drv_result)E_NO_CAPTURE;
  s->captures = NULL;
  const int code = s->spoilt ? E_SPOILT : fake_code("CaptureEnd");
  fake_say("CaptureEnd %d", code);
  if (code) return graph_free(g), (drv_result)code;
  *out = (drv_graph)(void *)g;
  return DRV_SUCCESS;
}

drv_result f_GraphInstantiate(drv_graph_exec *out, drv_graph g, unsigned long long flags)
{
  (void)flags;
  MAY_FAIL("GraphInstantiate");
  *out = (drv_graph_exec)(void *)graph_new((graph *)(void *)g);
  return DRV_SUCCESS;
}

drv_result f_GraphLaunch(drv_graph_exec g, drv_stream s)
{
  MAY_FAIL("GraphLaunch");
  NOT_CAPTURING(s);
  fake_say("GraphLaunch");
  for (const work *w = ((graph *)(void *)g)->first; w; w = w->next) fake_later((void *)s, w->fn, w->arg, w->bytes);
  return DRV_SUCCESS;
}

drv_result f_GraphExecDestroy(drv_graph_exec g) { return graph_free((graph *)(void *)g); }
drv_result f_GraphDestroy(drv_graph g) { return graph_free((graph *)(void *)g); }

drv_result f_StreamCreate(drv_stream *out, unsigned flags)
{
  MAY_FAIL("StreamCreate");
  stream *s = calloc(1, sizeof *s);
  s->last = &s->first;
  pthread_mutex_lock(&lock);
  s->next = streams;
  streams = s;
  state.streams++;
  pthread_mutex_unlock(&lock);
  fake_say("StreamCreate device %d flags %u", current, flags);
  *out = (drv_stream)(void *)s;
  return DRV_SUCCESS;
}

drv_result f_StreamSynchronize(drv_stream of)
{
  MAY_FAIL("StreamSynchronize");
  stream *s = stream_of((void *)of);
  NOT_CAPTURING(s);
  pthread_mutex_lock(&lock);
  run_to(s, UINT64_MAX);
  pthread_mutex_unlock(&lock);
  return DRV_SUCCESS;
}

drv_result f_StreamDestroy(drv_stream of)
{
  f_StreamSynchronize(of);
  pthread_mutex_lock(&lock);
  for (stream **p = &streams; *p; p = &(*p)->next)
    if (*p == (stream *)(void *)of) {
      *p = (*p)->next;
      free((void *)of);
      state.streams--;
      break;
    }
  pthread_mutex_unlock(&lock);
  return DRV_SUCCESS;
}

drv_result f_Synchronize(void)
{
  drv_result code = DRV_SUCCESS;
  pthread_mutex_lock(&lock);
  for (stream *s = streams; s; s = s->next)
    if (s->captures) code = spoil(s, E_CAPTURES);
  for (stream *s = streams; s && !code; s = s->next) run_to(s, UINT64_MAX);
  pthread_mutex_unlock(&lock);
  fake_say("Synchronize");
  return code;
}

drv_result f_EventCreate(drv_event *out, unsigned flags)
{
  (void)flags;
  *out = (drv_event)calloc(1, sizeof(event));
  state.events++;
  return DRV_SUCCESS;
}

drv_result f_EventDestroy(drv_event e)
{
  free((void *)e);
  state.events--;
  return DRV_SUCCESS;
}

drv_result f_EventRecord(drv_event of, drv_stream on)
{
  MAY_FAIL("EventRecord");
  event *e = (event *)(void *)of;
  e->on = (stream *)(void *)on;
  e->at = e->on->queued;
  e->captured = e->on->captures != NULL;
  fake_say("EventRecord");
  return DRV_SUCCESS;
}

drv_result f_EventQuery(drv_event of)
{
  const event *e = (event *)(void *)of;
  MAY_FAIL("EventQuery");
  if (e->captured) return spoil(e->on, E_CAPTURED_EVENT);
  pthread_mutex_lock(&lock);
  const bool ready = !e->on || e->on->done >= e->at;
  if (!ready) step(e->on); /* time passes */
  pthread_mutex_unlock(&lock);
  return ready ? DRV_SUCCESS : E_NOT_READY;
}

drv_result f_EventSynchronize(drv_event of)
{
  const event *e = (event *)(void *)of;
  MAY_FAIL("EventSynchronize");
  if (e->captured) return spoil(e->on, E_CAPTURED_EVENT);
  pthread_mutex_lock(&lock);
  run_to(e->on, e->at);
  pthread_mutex_unlock(&lock);
  return DRV_SUCCESS;
}

static void wait_for(void *of) { run_to(((event *)of)->on, ((event *)of)->at); }

drv_result f_StreamWaitEvent(drv_stream s, drv_event of, unsigned flags)
{
  const event *e = (event *)(void *)of;
  (void)flags;
  if (stream_of((void *)s)->captures || e->captured) return spoil(e->captured ? e->on : stream_of((void *)s), E_ISOLATION);
  fake_later((void *)s, wait_for, (void *)of, sizeof(event)); /* as it was recorded when this was called */
  fake_say("StreamWaitEvent");
  return DRV_SUCCESS;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

typedef struct taken { /* before a block's bytes */
  struct taken *next;
  size_t n;
  int device;
} taken;
enum { HEADER = 256 };
static taken *blocks;

static char *bytes_of(taken *b) { return (char *)b + HEADER; }

static drv_result take(void *out, size_t n)
{
  void *room = NULL;
  if (n > state.free_bytes || posix_memalign(&room, 256, HEADER + n + 1)) return E_OUT_OF_MEMORY;
  taken *b = room;
  char *p = bytes_of(b);
  memset(p, 0xa5, n);
  memcpy(out, &p, sizeof p);
  pthread_mutex_lock(&lock);
  *b = (taken){blocks, n, current};
  blocks = b;
  state.blocks++;
  pthread_mutex_unlock(&lock);
  return DRV_SUCCESS;
}

/* Whose memory p is in; -1: no device's. */
static int owner_of(const char *p)
{
  int device = -1;
  pthread_mutex_lock(&lock);
  for (taken *b = blocks; b && device < 0; b = b->next)
    if (p >= bytes_of(b) && p < bytes_of(b) + b->n) device = b->device;
  pthread_mutex_unlock(&lock);
  return device;
}

drv_result f_MemGetInfo(size_t *left, size_t *all)
{
  *left = *all = state.free_bytes;
  return DRV_SUCCESS;
}

#ifdef FAKE_HIP
drv_result f_MemAlloc(void **p, size_t n)
#else
drv_result f_MemAlloc(drv_ptr *p, size_t n)
#endif
{
  fake_say("MemAlloc device %d bytes %zu", current, n);
  MAY_FAIL("MemAlloc");
  return take(p, n);
}

#ifdef FAKE_HIP
drv_result f_PoolAlloc(void **p, size_t n, drv_stream s)
#else
drv_result f_PoolAlloc(drv_ptr *p, size_t n, drv_stream s)
#endif
{
  NOT_CAPTURING(s);
  fake_say("PoolAlloc device %d bytes %zu", current, n);
  MAY_FAIL("PoolAlloc");
  return take(p, n);
}

static void give(void *of)
{
  char *p;
  memcpy(&p, of, sizeof p);
  pthread_mutex_lock(&lock);
  taken **at = &blocks;
  while (*at && bytes_of(*at) != p) at = &(*at)->next;
  taken *b = *at;
  if (b) {
    *at = b->next;
    state.blocks--;
  } else
    fake_say("freed what is no block"); /* and the count of blocks tells */
  pthread_mutex_unlock(&lock);
  free(b);
}

drv_result f_MemFree(drv_ptr p)
{
  void *block = PTR(p);
  fake_say("MemFree");
  give(&block);
  return DRV_SUCCESS;
}

drv_result f_PoolFree(drv_ptr p, drv_stream s)
{
  void *block = PTR(p);
  NOT_CAPTURING(s);
  fake_say("PoolFree");
  fake_later((void *)s, give, &block, sizeof block);
  return DRV_SUCCESS;
}

drv_result f_DefaultPool(drv_pool *out, drv_device device)
{
  *out = (drv_pool)(uintptr_t)(device + 1);
  return DRV_SUCCESS;
}

#ifdef FAKE_HIP
drv_result f_PoolSetAccess(drv_pool pool, const hipMemAccessDesc *access, size_t n)
#else
drv_result f_PoolSetAccess(drv_pool pool, const CUmemAccessDesc *access, size_t n)
#endif
{
  fake_say("PoolSetAccess pool %d device %d count %zu", (int)(uintptr_t)pool - 1, access->location.id, n);
  return DRV_SUCCESS;
}

enum { PINNED = 64 };
static struct { char *at; size_t n; } pinned[PINNED];

drv_result f_HostAlloc(void **p, size_t n, unsigned flags)
{
  int i = 0;
  (void)flags;
  MAY_FAIL("HostAlloc");
  while (i < PINNED && pinned[i].at) i++;
  if (i == PINNED || !(pinned[i].at = malloc(n))) return E_OUT_OF_MEMORY;
  pinned[i].n = n;
  *p = pinned[i].at;
  state.pinned++;
  return DRV_SUCCESS;
}

static bool is_pinned(const void *p)
{
  for (int i = 0; i < PINNED; i++)
    if (pinned[i].at && (const char *)p >= pinned[i].at && (const char *)p < pinned[i].at + pinned[i].n) return true;
  return false;
}

drv_result f_HostFree(void *p)
{
  for (int i = 0; i < PINNED; i++)
    if (pinned[i].at == p) pinned[i].at = NULL;
  free(p);
  state.pinned--;
  return DRV_SUCCESS;
}

/* Memory of the host that is pinned for a while. */
drv_result f_HostRegister(void *p, size_t n, unsigned flags)
{
  int i = 0;
  fake_say("HostRegister %zu flags %u", n, flags);
  MAY_FAIL("HostRegister");
  if (is_pinned(p)) return E_INVALID;
  while (i < PINNED && pinned[i].at) i++;
  if (i == PINNED) return E_OUT_OF_MEMORY;
  pinned[i].at = p;
  pinned[i].n = n;
  state.pinned++;
  return DRV_SUCCESS;
}

drv_result f_HostUnregister(void *p)
{
  fake_say("HostUnregister");
  for (int i = 0; i < PINNED; i++)
    if (pinned[i].at == p) {
      pinned[i].at = NULL;
      state.pinned--;
      return DRV_SUCCESS;
    }
  return E_INVALID;
}

#ifdef FAKE_HIP
drv_result f_HostDevicePointer(void **out, void *p, unsigned flags)
#else
drv_result f_HostDevicePointer(drv_ptr *out, void *p, unsigned flags)
#endif
{
  (void)flags;
  MAY_FAIL("HostDevicePointer");
  memcpy(out, &p, sizeof p);
  return is_pinned(p) ? DRV_SUCCESS : E_INVALID;
}

#ifdef FAKE_HIP
drv_result hipPointerGetAttribute(void *out, hipPointer_attribute what, drv_ptr p)
#else
drv_result cuPointerGetAttribute(void *out, CUpointer_attribute what, drv_ptr p)
#endif
{
  const int device = owner_of(PTR(p)), host = device < 0;
  const unsigned type = host ? DRV_TYPE_HOST : DRV_TYPE_HOST + 1, no = 0;
  if (host && !is_pinned(PTR(p))) return E_INVALID;
  if (what == DRV_POINTER_DEVICE) memcpy(out, &device, sizeof device);
  else memcpy(out, what == DRV_POINTER_TYPE ? &type : &no, sizeof type);
  return DRV_SUCCESS;
}

typedef struct move { void *to; const void *from; size_t n; } move;
static void do_move(void *of)
{
  const move *m = of;
  memmove(m->to, m->from, m->n);
}

#ifdef FAKE_HIP
drv_result hipMemcpyHtoDAsync(drv_ptr to, void *from, size_t n, drv_stream s)
#else
drv_result cuMemcpyHtoDAsync(drv_ptr to, const void *from, size_t n, drv_stream s)
#endif
{
  MAY_FAIL("CopyIn");
  if (!is_pinned(from)) NOT_CAPTURING(s);
  fake_say("CopyIn %zu", n);
  fake_later((void *)s, do_move, &(move){PTR(to), from, n}, sizeof(move));
  return DRV_SUCCESS;
}

drv_result f_CopyOut(void *to, drv_ptr from, size_t n, drv_stream s)
{
  MAY_FAIL("CopyOut");
  NOT_CAPTURING(s);
  fake_say("CopyOut %zu", n);
  fake_later((void *)s, do_move, &(move){to, PTR(from), n}, sizeof(move));
  return is_pinned(to) ? DRV_SUCCESS : f_StreamSynchronize(s); /* pageable memory is written when the call returns */
}

drv_result f_CopyOver(drv_ptr to, drv_ptr from, size_t n, drv_stream s)
{
  fake_say("CopyOver %zu", n);
  fake_later((void *)s, do_move, &(move){PTR(to), PTR(from), n}, sizeof(move));
  return DRV_SUCCESS;
}

static drv_result copy_peer(void *to, int to_device, const void *from, int from_device, size_t n, drv_stream s)
{
  fake_say("CopyPeer %zu to %d from %d", n, to_device, from_device);
  fake_later((void *)s, do_move, &(move){to, from, n}, sizeof(move));
  return DRV_SUCCESS;
}
#ifdef FAKE_HIP
drv_result hipMemcpyPeerAsync(void *to, int to_device, const void *from, int from_device, size_t n, drv_stream s)
{
  return copy_peer(to, to_device, from, from_device, n, s);
}
#else
static int number_of(CUcontext c) { return (int)(uintptr_t)c - 1; }
drv_result cuMemcpyPeerAsync(CUdeviceptr to, CUcontext to_device, CUdeviceptr from, CUcontext from_device, size_t n,
                             CUstream s)
{
  return copy_peer(PTR(to), number_of(to_device), PTR(from), number_of(from_device), n, s);
}
#endif

/* ---- devices ----------------------------------------------------------------------------------------------------- */

drv_result f_Init(unsigned flags)
{
  (void)flags;
  fake_say("Init");
  return (drv_result)state.init;
}

drv_result f_DriverGetVersion(int *v) { return *v = 13000, DRV_SUCCESS; }
drv_result f_DeviceGetCount(int *n) { return *n = state.devices, DRV_SUCCESS; }
drv_result f_DeviceGet(drv_device *d, int i) { return *d = i, DRV_SUCCESS; }
drv_result f_DeviceTotalMem(size_t *n, drv_device d) { return (void)d, *n = (size_t)1 << 30, DRV_SUCCESS; }

drv_result f_DeviceGetName(char *name, int n, drv_device d)
{
  snprintf(name, (size_t)n, "stand-in %d", (int)d);
  return DRV_SUCCESS;
}

drv_result f_DeviceGetPCIBusId(char *name, int n, drv_device d)
{
  snprintf(name, (size_t)n, "0000:0%d:00.0", (int)d);
  return DRV_SUCCESS;
}

drv_result f_CanAccessPeer(int *can, drv_device d, drv_device other) { return *can = d != other, DRV_SUCCESS; }

#ifdef FAKE_HIP
drv_result f_DeviceGetAttribute(int *v, hipDeviceAttribute_t what, int d)
{
  (void)d;
  *v = what == DRV_UNITS ? 4 : what == DRV_POOLS ? state.pools : 0;
  return DRV_SUCCESS;
}

drv_result hipGetDeviceProperties(hipDeviceProp_t *p, int d)
{
  (void)d;
  memset(p, 0, sizeof *p);
  snprintf(p->gcnArchName, sizeof p->gcnArchName, "gfx%da:sramecc+:xnack-", state.arch);
  return DRV_SUCCESS;
}

drv_result f_SetCurrent(int d) { return current = d, DRV_SUCCESS; }
drv_result f_EnablePeer(int d, unsigned flags) { return (void)flags, fake_say("EnablePeer %d at %d", d, current),
                                                DRV_SUCCESS; }
const char *hipGetErrorName(hipError_t code) { return code == hipErrorIllegalAddress ? "hipErrorIllegalAddress" : "hipErrorStandIn"; }
const char *hipGetErrorString(hipError_t code) { return (void)code, "the stand-in's text"; }
#else
drv_result f_DeviceGetAttribute(int *v, CUdevice_attribute what, CUdevice d)
{
  (void)d;
  *v = what == DRV_UNITS                                          ? 4
       : what == DRV_POOLS                                        ? state.pools
       : what == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR     ? state.arch / 10
       : what == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR     ? state.arch % 10
                                                                  : 0;
  return DRV_SUCCESS;
}

drv_result cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d)
{
  *c = (CUcontext)(uintptr_t)(d + 1);
  state.contexts++;
  return DRV_SUCCESS;
}

drv_result cuDevicePrimaryCtxRelease(CUdevice d) { return (void)d, state.contexts--, DRV_SUCCESS; }
drv_result f_SetCurrent(CUcontext c) { return current = number_of(c), DRV_SUCCESS; }
drv_result f_EnablePeer(CUcontext c, unsigned flags) { return (void)flags, fake_say("EnablePeer %d at %d",
                                                                                    number_of(c), current),
                                                                                    DRV_SUCCESS; }
drv_result cuGetErrorName(CUresult code, const char **text)
{
  return *text = code == CUDA_ERROR_ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_STAND_IN", DRV_SUCCESS;
}
drv_result cuGetErrorString(CUresult code, const char **text) { return (void)code, *text = "the stand-in's text",
                                                               DRV_SUCCESS; }
#endif

/* ---- modules and launches ---------------------------------------------------------------------------------------- */

static const char magic[] = "stand-in's program";

drv_result f_ModuleLoad(drv_module *out, const void *image, unsigned n, drv_jit_option *keys, void **values)
{
  (void)keys;
  MAY_FAIL("ModuleLoad");
  if (strncmp(image, magic, sizeof magic - 1) && memcmp(image, "\177ELF", 4) && strncmp(image, "__CLANG_OFFLOAD_BUNDLE__", 24)) {
    if (n) snprintf(values[0], 100, "the stand-in did not make this");
    return E_BAD_IMAGE;
  }
  fake_say("ModuleLoad %s", (const char *)image + sizeof magic);
  *out = (drv_module)calloc(1, 8);
  state.modules++;
  return DRV_SUCCESS;
}

drv_result f_ModuleUnload(drv_module m)
{
  free((void *)m);
  state.modules--;
  return DRV_SUCCESS;
}

drv_result f_ModuleGetFunction(drv_function *f, drv_module m, const char *name)
{
  static char names[64][40];
  static int n;
  int i = 0;
  (void)m;
  MAY_FAIL("ModuleGetFunction");
  pthread_mutex_lock(&lock);
  while (i < n && strcmp(names[i], name)) i++;
  if (i == n && n < 64) snprintf(names[n++], sizeof names[0], "%s", name);
  pthread_mutex_unlock(&lock);
  if (i == 64) return E_NOT_FOUND;
  *f = (drv_function)(void *)names[i];
  return DRV_SUCCESS;
}

static void replayed(void *f) { fake_say("Replayed %s", (const char *)*(void **)f); }

drv_result f_Launch(drv_function f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                    unsigned local,
                    drv_stream s, void **parameters, void **extra)
{
  (void)extra;
  MAY_FAIL("Launch");
  fake_say("Launch %s grid %u %u %u block %u %u %u local %u device %d", (const char *)(void *)f, gx, gy, gz, bx, by,
           bz, local, current);
  state.stream = (void *)s;
  if (((stream *)(void *)s)->captures) fake_later((void *)s, replayed, &f, sizeof f);
  if (watcher) watcher((const char *)(void *)f, gx, bx, parameters);
  return DRV_SUCCESS;
}

/* ---- the compiler ------------------------------------------------------------------------------------------------ */

typedef struct program { char name[64], target[64]; bool bad; } program;

rtc_result r_(CreateProgram)(rtc_program *out, const char *text, const char *name, int n, strings headers,
                             strings names)
{
  program *p = calloc(1, sizeof *p);
  (void)n, (void)headers, (void)names;
  snprintf(p->name, sizeof p->name, "%s", name);
  p->bad = !strstr(text, "#define WG 256") && !strstr(text, " __global__ "); /* neither the prelude nor a kernel of others */
  *out = (rtc_program)(void *)p;
  return RTC_SUCCESS;
}

rtc_result r_(CompileProgram)(rtc_program of, int n, strings options)
{
  program *p = (program *)(void *)of;
  char all[200] = "";
  for (int i = 0; i < n; i++) snprintf(all + strlen(all), sizeof all - strlen(all), " %s", options[i]);
  fake_say("Compile %s%s", p->name, all);
  snprintf(p->target, sizeof p->target, "%s", options[0]);
  return p->bad || fake_code("Compile") ? E_RTC_COMPILE : RTC_SUCCESS;
}

rtc_result r_(DestroyProgram)(rtc_program *p) { return free((void *)*p), *p = NULL, RTC_SUCCESS; }
rtc_result r_(GetProgramLogSize)(rtc_program p, size_t *n) { return (void)p, *n = 32, RTC_SUCCESS; }
rtc_result r_(GetProgramLog)(rtc_program p, char *log) { return (void)p, strcpy(log, "line 1: the stand-in objects"),
                                                        RTC_SUCCESS; }
const char *r_(GetErrorString)(rtc_result code) { return code == E_RTC_COMPILE ? "ERROR_COMPILATION" : "ERROR"; }

static rtc_result size_of(rtc_program p, size_t *n) { return (void)p, *n = 200, RTC_SUCCESS; }
static rtc_result image_of(rtc_program of, const char *kind, char *to)
{
  const program *p = (program *)(void *)of;
  snprintf(to, 200, "%s %s %s %s", magic, kind, p->name, p->target);
  return RTC_SUCCESS;
}
#ifdef FAKE_HIP
rtc_result hiprtcGetCodeSize(rtc_program p, size_t *n) { return size_of(p, n); }
rtc_result hiprtcGetCode(rtc_program p, char *to) { return image_of(p, "code", to); }
#else
rtc_result nvrtcGetCUBINSize(rtc_program p, size_t *n) { return size_of(p, n); }
rtc_result nvrtcGetCUBIN(rtc_program p, char *to) { return image_of(p, "cubin", to); }
rtc_result nvrtcGetPTXSize(rtc_program p, size_t *n) { return size_of(p, n); }
rtc_result nvrtcGetPTX(rtc_program p, char *to) { return image_of(p, "ptx", to); }
rtc_result nvrtcGetNumSupportedArchs(int *n) { return *n = 3, RTC_SUCCESS; }
rtc_result nvrtcGetSupportedArchs(int *a) { return a[0] = 80, a[1] = 90, a[2] = 120, RTC_SUCCESS; }
#endif

/* ---- products ---------------------------------------------------------------------------------------------------- */

static double get(const void *p, int64_t i,
                  bool f64) { return f64 ? ((const double *)p)[i] : (double)((const float *)p)[i]; }

void fake_gemm_run(void *of)
{
  const fake_gemm *g = of;
  for (int64_t z = 0; z < g->batch; z++)
    for (int64_t j = 0; j < g->n; j++)
      for (int64_t i = 0; i < g->m; i++) {
        const int64_t at = z * g->step_d + j * g->ldd + i;
        double sum = g->beta != 0 ? g->beta * get(g->d, at, g->f64) : 0;
        for (int64_t k = 0; k < g->k; k++)
          sum += get(g->a, z * g->step_a + (g->turn_a ? i * g->lda + k : k * g->lda + i), g->f64) *
                 get(g->b, z * g->step_b + (g->turn_b ? k * g->ldb + j : j * g->ldb + k), g->f64);
        if (g->bias) sum += get(g->bias, i, g->f64);
        if (g->f64) ((double *)g->d)[at] = sum;
        else ((float *)g->d)[at] = (float)sum;
      }
}
