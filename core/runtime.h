/* SPDX-License-Identifier: MIT
 * runtime.h: what the call path is made of: threads, backends, devices, queues, the allocator, routes, nodes.
 * internal.h is enough for an operator's entry; this is for the files that carry out the call.
 */
#ifndef CHX_RUNTIME_H
#define CHX_RUNTIME_H
#include "internal.h"

/* ---- threads (mem.c) ------------------------------------------------------------------------------------------ */

/* Locks held over fork (fork.c), by the order in which they are taken: of loading; of shadows; those with nothing inside; then
 * the devices'; of buffers' uses. CHXI_FORK_GUARD(rank, locks, n), once in the file that has them. */
enum { CHXI_FORK_LOAD, CHXI_FORK_SHADOWS, CHXI_FORK_PLAIN, CHXI_FORK_USES };
void chxi_fork_guard(int rank, pthread_mutex_t *locks, int n);
#define CHXI_FORK_GUARD(rank, locks, n) \
  __attribute__((constructor)) static void fork_guard(void) { chxi_fork_guard(rank, locks, n); }
extern uint16_t chxi_forks; /* how many forks lie between this process and the one that loaded chx */
/* Condition variables whose waiters a child does not have. */
void chxi_fork_conditions(pthread_cond_t *conditions, int n);
#define CHXI_FORK_CONDITIONS(conditions, n) \
  __attribute__((constructor)) static void fork_conditions(void) { chxi_fork_conditions(conditions, n); }

#define CHXI_OBJECT_CLASSES 34 /* the largest: 1 MiB */
#define CHXI_BINS 160

typedef struct chxi_stream chxi_stream;
typedef struct chxi_route chxi_route;
struct chxi_plan;

typedef struct chxi_bins { /* a thread's free buffers of one device; no lock */
  chxi_buffer *head[CHXI_BINS];
  int64_t bytes, used_delta; /* cached here; not yet added to the device's `used` */
  uint64_t allocations;      /* not yet added to the device's */
} chxi_bins;

struct chxi_thread {
  void *objects[CHXI_OBJECT_CLASSES];
  int64_t object_bytes;
  chxi_bins *bins[CHXI_MAX_DEVICES];
  chxi_stream *streams[CHXI_MAX_DEVICES];
  struct chxi_route_slot *routes; /* first-level cache */
  char fail_text[512];            /* what a plugin said through host->fail */
  chx_status fail_code;
};

extern _Thread_local chxi_thread *chxi_self __attribute__((tls_model("initial-exec")));
chxi_thread *chxi_thread_make(void);
static inline chxi_thread *chxi_thread_self(void)
{
  return chxi_likely(chxi_self != NULL) ? chxi_self : chxi_thread_make();
}
void chxi_thread_release_devices(chxi_thread *th); /* drains its queues, gives its cached buffers to the devices */
void *chxi_grow(void *p, size_t old_bytes, size_t new_bytes); /* p stays valid when NULL is returned */

/* ---- backends and devices (plugin.c, device.c) ------------------------------------------------------------------ */

typedef struct chxi_backend {
  char name[24];
  char *path, *error;        /* malloc'ed; kept for the life of the process */
  const chx_plugin *plugin;  /* NULL: it did not load */
  void *state;
  const chx_device_ops *ops;
  chx_host host;
  int first_device, n_devices; /* in chxi_devices */
} chxi_backend;

typedef struct chxi_ledger_cell { atomic_ullong calls, bytes, ns, kernel_ns; } chxi_ledger_cell;

struct chxi_device {
  char spec[32];
  int id; /* index in chxi_devices */
  chxi_backend *backend;
  chx_dev *dev;
  const chx_device_ops *ops;
  chx_device_info info;
  bool host;      /* CHX_D_HOST_IS_DEVICE: kernels and the host share pointers */
  bool queued;    /* has queues: work is asynchronous */
  bool whole;     /* the allocator never splits */
  bool mappable;  /* its memory can be opened to the host without a copy */
  bool exact;     /* nor rounds or keeps: what is free goes back to the backend, whose own pool it is */
  pthread_mutex_t lock;        /* of the allocator's shared level and of idle streams */
  chxi_buffer *shared[CHXI_BINS];
  struct chxi_segment *segments;
  atomic_llong used, used_peak;
  atomic_ullong reserved, limit, allocations, backend_allocations;
  chxi_stream *idle, *dead;    /* to be used again; failed, whose buffers still name them */
  chxi_ledger_cell *ledger;    /* [CHXI_MAX_OPS][8]: by route */
  _Atomic(const char *) reasons[CHXI_MAX_OPS];
  const chx_kernel ***kernels; /* [CHXI_MAX_OPS]: its kernels for each operator, ended by NULL; NULL: none */
};

extern chxi_device *chxi_devices[CHXI_MAX_DEVICES];
extern atomic_int chxi_n_devices;
extern _Atomic(chxi_device *) chxi_native_device; /* native:0, once it was asked for */

/* A plugin's failure: code and host->fail's sentence into the scope, after "what: ". */
chx_status chxi_plugin_failed(chx_scope *s, chx_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
const char *chxi_getenv(const char *name); /* NULL in a setuid process */

/* ---- queues (stream.c) --------------------------------------------------------------------------------------------- */

struct chxi_stream { /* a (thread, device) pair's queue; never freed, so that a buffer may go on naming it */
  chxi_device *dev;
  chx_queue *q;
  pthread_mutex_t lock;        /* the plugin is given a queue by one thread at a time */
  _Atomic uint16_t forks;      /* chxi_forks when the lock was made: after another a thread that is gone may have it */
  _Atomic uint64_t good;       /* the last point waited for without an error */
  _Atomic chx_status failed;   /* of a later point: everything after `good` is invalid */
  char text[512];
  const char *first_op, *last_op; /* queued since `good` */
  unsigned n_ops;
  chx_capture *capture;        /* its thread records what it puts in, which then is not done; NULL: it does not */
  chxi_stream *link;
};

/* The calling thread's; NULL without an error for a device without queues. */
bool chxi_stream_of(chx_scope *s, chxi_device *dev, chxi_stream **out);
void chxi_stream_drain(chxi_stream *q);                          /* any thread's: waits, says nothing */
void chxi_stream_retire(chxi_stream *q);                         /* of a thread that is done with it */
bool chxi_stream_wait(chx_scope *s, chxi_stream *q);             /* until it has done all; reports late errors */
bool chxi_before_read(chx_scope *s, chxi_stream *q, chxi_buffer *b);   /* orders q after b's last write */
bool chxi_before_write(chx_scope *s, chxi_stream *q, chxi_buffer *b);  /* and after the reads since */
void chxi_after(chxi_stream *q, chxi_buffer *b, bool wrote);
bool chxi_buffer_ready(chx_scope *s, chxi_buffer *b);            /* waits for its last write; false: that was given up (work.c) */
bool chxi_buffer_settled(chx_scope *s, chxi_buffer *b);          /* waits for all uses; false: its content was lost */
/* Likewise in a queue that is not ours, by its native handle, which waits in place of the host; NULL: the host does. */
bool chxi_buffer_followed(chx_scope *s, chxi_buffer *b, void *native);
bool chxi_buffer_good(chx_scope *s, const chxi_buffer *b); /* false, with the late error, if its content was lost */
void chxi_buffer_forget_uses(chxi_buffer *b, chxi_stream *by);   /* orders `by` after every use of a free block */
uint64_t chxi_stream_mark(chxi_stream *q);
bool chxi_stream_order(chx_scope *s, chxi_stream *q, struct chxi_use u); /* q (NULL: the host) after point u */
void chxi_stream_renew(chxi_stream *q); /* its lock, in a child */
static inline void chxi_stream_enter(chxi_stream *q)
{
  if (chxi_unlikely(atomic_load_explicit(&q->forks, memory_order_acquire) != chxi_forks)) chxi_stream_renew(q);
  pthread_mutex_lock(&q->lock);
}
static inline chx_queue *chxi_stream_lock(chxi_stream *q) { return q ? chxi_stream_enter(q), q->q : NULL; }
static inline void chxi_stream_unlock(chxi_stream *q) { if (q) pthread_mutex_unlock(&q->lock); }
extern int chxi_sync_always;                                     /* CHX_SYNC=1 */

/* ---- captured work (capture.c) --------------------------------------------------------------------------------------- */

/* The calling thread's queue of dev if it records a capture there, else NULL. */
static inline chxi_stream *chxi_recording(const chxi_device *dev)
{
  chxi_stream *q = dev->queued && chxi_self ? chxi_self->streams[dev->id] : NULL;
  return q && q->capture ? q : NULL;
}
enum { CHXI_READS = 1, CHXI_WRITES = 2 };
/* A command that q records reads or writes b. This and what follows give the capture up where they return false, with the
 * error in s. */
bool chxi_capture_touch(chx_scope *s, chxi_stream *q, chxi_buffer *b, int how);
bool chxi_capture_plan(chx_scope *s, chxi_stream *q, struct chxi_plan *p); /* takes over the caller's use of p */
bool chxi_capture_refuse(chx_scope *s, chxi_stream *q, chx_status code, const char *what); /* false, always */
/* True, with "what cannot be captured" in s, if the calling thread records on dev. */
bool chxi_capture_excludes(chx_scope *s, const chxi_device *dev, const char *what);
void chxi_capture_lost(chxi_stream *q, const char *why); /* gives up what q records; the calling thread does */
/* Memory that recorded commands use and nobody else does any more, for a new buffer; NULL: none, or nothing is recorded. */
chxi_buffer *chxi_capture_reuse(chxi_device *dev, uint64_t asked, uint64_t bytes);
bool chxi_capture_made(chx_scope *s, chxi_buffer *b); /* b is new: keeps it if the thread records; false: it is gone */

/* ---- what takes long (work.c) -------------------------------------------------------------------------------------------------- */

bool chxi_many_is_long(const chxi_call *c, const chxi_route *r);
/* Whether a call does, that was inferred and routed so. Of few elements on a host device none does, whatever is done with them. */
static inline bool chxi_is_long(const chxi_call *c, const chxi_route *r)
{
  enum { FEW = 64 };
  int64_t n = c->dev->queued ? FEW + 1 : 0, made = 1;
  for (int i = 0; i < c->n_in; i++) n += c->in[i] ? c->in[i]->size : 0;
  for (int i = 0; i < c->out[0].ndim; i++) made *= c->out[0].shape[i];
  return chxi_unlikely(n > FEW || made > FEW) && chxi_many_is_long(c, r);
}
bool chxi_copy_is_long(const chxi_device *dev, uint64_t bytes); /* between dev and the host */
/* Around what takes long; the scope's function is told, if it has one. No lock is held. */
chx_long_work chxi_long_begin(chx_scope *s);
bool chxi_long_end(chx_scope *s, chx_long_work begun); /* false: it is given up, and the error is in s */
/* In a scope with such a function: waits for q's point as long as that wants it. False as above. */
bool chxi_long_wait(chx_scope *s, chxi_stream *q, uint64_t point);

/* ---- memory between devices (transfer.c) --------------------------------------------------------------------------- */

bool chxi_on_device(chx_scope *s, chxi_buffer *b); /* makes the device's bytes valid */
bool chxi_upload(chx_scope *s, chxi_buffer *b, uint64_t offset, const void *src, uint64_t bytes);
bool chxi_download(chx_scope *s, chxi_buffer *b, uint64_t offset, void *dst, uint64_t bytes);
/* Buffers of one device that a call on the host works on, in their shadows: the device's memory itself where that can be mapped
 * and `copied` is false. No other thread gives what is lent back to the device before chxi_loan_end. */
typedef struct chxi_loan {
  chxi_buffer *b[CHX_MAX_OPERANDS + CHXI_MAX_OUT];
  int n, n_read;  /* the first n_read are read; the others are written as a whole: what is in them is of no use */
  bool copied;
  bool refused;   /* a buffer could not be mapped, and was copied */
  uint64_t bytes; /* that were copied from the device */
  chxi_stream *q; /* where maps are queued while they are begun */
} chxi_loan;
bool chxi_lend(chx_scope *s, chxi_loan *l); /* all of them, after one wait; false: none, and the error is in s */
void chxi_loan_end(chxi_loan *l);
chx_array *chxi_shadow_view(chx_scope *s, const chx_array *a); /* a, whose buffer is lent, on native:0 */
/* Buffers of a mappable device that a call is about to use there: made valid, and not mapped by any thread until unpinned. */
bool chxi_pin(chx_scope *s, chxi_buffer *const *b, int n);
void chxi_unpin(chxi_buffer *const *b, int n);
/* Others are given the device's bytes, which are made valid: until chxi_unshare they are not mapped. */
bool chxi_share(chx_scope *s, chxi_buffer *b);
void chxi_unshare(chxi_buffer *b);
void chxi_unmap(chxi_buffer *b); /* of a buffer that nobody uses any more */
chx_buffer *chxi_segment_raw(const chxi_buffer *b); /* alloc.c: what the backend gave for b's segment */
chx_array *chxi_dense(chx_scope *s, const chx_array *a);       /* a itself if dense, else a copy; not recorded */

/* ---- routes (route.c), the ledger (ledger.c) ------------------------------------------------------------------------------ */

struct chxi_route {
  int kind;              /* CHX_ROUTE_KERNEL (adapted too, decided operand by operand), COMPOSED, STAGED, NONE */
  const chx_kernel *k;
  uint32_t flags, attr_size;
  bool by_map;           /* through the one-instruction program of "map" */
  bool widen;            /* f16 or bf16 operands go through f32 */
  bool fresh;            /* found just now: its kernel may have to be compiled */
  const char *reason;
};

const chxi_route *chxi_route_find(chxi_call *c);                         /* valid until the thread's next call */
chxi_route chxi_route_next(chxi_call *c,
                           const chx_kernel *after); /* without the cache; after: a kernel that declined */
bool chxi_routes_ready(chx_scope *s); /* reads the environment once; false: CHX_ROUTE is wrong, the error is in s */
extern atomic_uint chxi_route_epoch;
void chxi_ledger_add(chxi_device *dev, const chx_op *op, int route, uint64_t bytes, uint64_t ns, const char *reason);
/* Of the time that chxi_ledger_add is told, what the kernel took that did the work. */
void chxi_ledger_kernel(chxi_device *dev, const chx_op *op, int route, uint64_t ns);
/* Whether it has no call yet: the one that is warned of. */
bool chxi_ledger_is_first(const chxi_device *dev, const chx_op *op, int route);
uint64_t chxi_now_ns(void);

/* The dtype that messages about c name. */
static inline int chxi_call_dtype(const chxi_call *c)
{
  return c->n_in && c->in[0] ? c->in[0]->dtype : c->out[0].dtype;
}
bool chxi_run_kernel(chxi_call *c, const chxi_route *r); /* run.c */
/* What fails in memory, copies and queues does not know for whom: adds an operator's or function's name to the error. false. */
bool chxi_failed_in(chx_scope *s, const char *what);
bool chxi_run_staged(chxi_call *c, int route, const char *reason); /* fallback.c: CHX_ROUTE_MAPPED or CHX_ROUTE_STAGED */
extern const char chxi_reason_forced[]; /* the reason, by its address, of a route that CHX_ROUTE or chx_set_route chose */
bool chxi_fill_staged(chx_scope *s, chx_array *y, const chx_array *a); /* likewise: y = a in place, through the host */
bool chxi_run_composed(chxi_call *c, bool count, const char *reason);

/* ---- operators that plugins declare (op_custom.c, op_declare.c); the lock of loading is held --------------------------------- */

chx_status chxi_op_declare(void *ctx, const chx_op_decl *d); /* chx_op_host's; ctx: the backend that is being opened */
void chxi_ops_enter(chxi_backend *b);  /* b was opened: what it declared joins the table */
void chxi_ops_forget(chxi_backend *b); /* it was not */
void chxi_op_publish(const chx_op *op); /* op.c: the next id is op's; from now on it is found by its name */
void chxi_device_learn(const chx_op *op); /* device.c: kernels of the devices that are there already */
void chxi_route_learn(const chx_op *op); /* route.c: what CHX_ROUTE said of it */

/* ---- places (place.c) ---------------------------------------------------------------------------------------------------------- */

extern _Atomic(chx_place_hook) chxi_place_hook;
const char *chxi_place_asked(chx_place_hook fn);
static inline const char *chxi_place_now(void) /* NULL: nobody knows */
{
  chx_place_hook fn = atomic_load_explicit(&chxi_place_hook, memory_order_relaxed);
  return chxi_unlikely(fn != NULL) ? chxi_place_asked(fn) : NULL;
}
static inline bool chxi_places(void) { return atomic_load_explicit(&chxi_place_hook, memory_order_relaxed) != NULL; }
/* Adds to the scope's error: where a node was recorded; what arrays are and where they were made. */
void chxi_add_place(chx_scope *s, const char *place);
void chxi_add_arrays(chx_scope *s, const char *const *names, int n_names, const chx_array *const *a, int n);

/* ---- the search for NaN (nan.c); false: there is one, and the error is in the scope ------------------------------------------- */

bool chxi_results_nan_free(const chxi_call *c, int n_out);
bool chxi_gradient_nan_free(chx_scope *s, const chx_op *op, int i, const chx_array *gx);
static inline bool chxi_nans_matter(void)
{
  return chxi_unlikely(atomic_load_explicit(&chxi_watched, memory_order_relaxed) & CHXI_WATCH_NANS);
}

/* ---- plans (plan.c) --------------------------------------------------------------------------------------------------------- */

/* Finds or prepares; sets call->plan and workspace_bytes. The plan stays until chxi_plan_done. */
chx_status chxi_plan_get(chxi_call *c, const chx_kernel *k, chx_call *call, struct chxi_plan **out);
void chxi_plan_done(struct chxi_plan *p, chxi_stream *q);

/* ---- nodes (node.c) -------------------------------------------------------------------------------------------------------- */

typedef struct chxi_edge { chxi_node *node; uint32_t out; } chxi_edge;
typedef struct chxi_saved { chx_array *v; unsigned version; } chxi_saved;
typedef struct chxi_hook {
  struct chxi_hook *next;
  int out;
  chx_grad_hook fn;
  void *ctx;
  void (*ctx_free)(void *);
} chxi_hook;
typedef struct chxi_leaf_grad { struct chxi_leaf_grad *next; int id; chx_array *g; } chxi_leaf_grad;

struct chxi_node {
  atomic_int refs;
  _Atomic uint16_t lock;   /* 0: free; else chxi_forks + 1 of the process in which a thread has it */
  bool user;               /* op is that of a chxi_function, which the node owns */
  uint16_t n_in, n_out;
  uint32_t bytes;          /* of this object */
  _Atomic uint64_t mask;   /* graphs it is part of */
  _Atomic uint64_t spent;  /* graphs whose backward consumed it */
  uint64_t leaf;           /* graphs in which it is a leaf, though an operator made it */
  const chx_op *op;        /* NULL: a leaf, or cut off by unchain */
  uint64_t rank;           /* greater than any parent's */
  chxi_edge *in;
  chxi_saved *saved;       /* n_in + n_out; v NULL: not saved */
  chxi_meta *meta;         /* n_in + n_out */
  void *attr;
  chxi_hook *hooks;
  chxi_leaf_grad *grads;   /* of a leaf */
  const char *place;       /* where it was recorded; NULL: nobody was asked */
  chxi_node *link;         /* of the list that releases without recursion */
};

bool chxi_record(chxi_call *c, uint64_t mask);  /* makes the node of c and hangs c->y on it */

/* A user's function (function.c); `op` serves as its entry for backward and messages. */
typedef struct chxi_function {
  chx_op op;
  chx_function f;
  size_t bytes; /* of this object, the name's copy behind it included */
  char name[];
} chxi_function;
/* The node of f, which it takes over unless it fails, with y hung on it. */
bool chxi_record_function(chx_scope *s, chxi_function *f, const chx_array *const *in, int n_in, chx_array *const *y,
                          int n_out, uint64_t mask);
void chxi_node_unref(chxi_node *n);
void chxi_node_spend(chxi_node *n, uint64_t mask); /* drops its saved values once no graph needs them */
static inline bool chxi_is_leaf(const chxi_node *n, int id) { return !n->op || n->leaf >> id & 1; }
bool chxi_good_id(chx_scope *s, const char *what, chx_backprop_id id); /* graph.c; else the error is in s */
void chxi_graph_count(uint64_t mask, int by); /* a node in these graphs, 1, or one less, -1 */
/* Adds to a leaf's gradient; in place where `in_place` allows it and nobody else sees the old one. */
bool chxi_leaf_add(chx_scope *s, chxi_node *n, int id, chx_array *gx, bool in_place);
static inline void chxi_node_ref(chxi_node *n) { atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed); }

#endif
