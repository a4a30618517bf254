/* SPDX-License-Identifier: MIT
 * plugin.h: the whole contract between the core and a backend plugin. C99; beside it a plugin needs the tables
 * types.h, attr.h, elementwise.def, formula.h, dtype.def and errors.def, and nothing of the core.
 *
 * A plugin is a shared library chx_NAME.so that exports one function, chx_plugin_v1, which returns a static
 * chx_plugin. It is found on CHX_PLUGIN_PATH or in $(libdir)/chx/plugins, loaded at the first mention of "NAME", and
 * never unmapped. It does not link to libchx: what it may call is in chx_host.
 *
 * Mandatory are open, device_count, device_open, device_ops, and in the latter info, kernel, alloc, release, copy.
 * Everything else may be NULL; its comment says what happens then.
 *
 * What a kernel is given. Operators are those of chx/op.h, by name; attributes are those of chx/attr.h, complete:
 * defaults are filled in, axes are >= 0 and sorted, and per-axis lists have one value per axis.
 *   - A value has the layout of DLPack's DLTensor, strides in elements (0 and negative ones occur).
 *   - Elementwise operators and map: every operand that is not a host scalar has the output's rank and shape; a
 *     broadcast axis has stride 0. All have the dtypes that the operator's class asks for.
 *   - matmul: operands have equal rank >= 2 and the output's batch axes, with stride 0 where broadcast.
 *   - Reductions: the output has the operand's rank, reduced axes with length 1, whatever keepdims says.
 *   - Outputs are allocated, and dense unless the user gave one. No output overlaps an input, except exactly, element
 *     upon element, where alias_ok says so.
 *   - An operator of chx/elementwise.def is looked for by its own name, then as the one-instruction program of "map";
 *     sum, prod, mean, amax, amin, all and any by name, then as "reduce", whose attribute's kind says which;
 *     cumsum, cumprod, cummax and cummin likewise as "scan", which is always given one axis.
 *
 * Rules. (R1) Every growable struct starts with `size`, the writer's sizeof; fields are only ever appended; a
 * reader touches a field only if CHX_HAS says so and never rejects a struct for its size. (R2) Zero/NULL in an
 * appended field means "as before". (R3) Fixed-width integers only, no enum/bool/bit-field members, no tail
 * padding. (R4) Arrays hold pointers or CHX_FROZEN structs. (R5) Nothing throws or longjmps across this line;
 * memory is freed by the side that allocated it. (R6) Breaking change = new entry symbol. */
#ifndef CHX_PLUGIN_H
#define CHX_PLUGIN_H
#include <stddef.h>
#include <stdint.h>
#include "types.h"
#ifdef __cplusplus
extern "C" {
#endif
#define CHX_HAS(p, T, f) ((p)->size >= offsetof(T, f) + sizeof(((T *)0)->f) && (p)->f)
#ifndef CHX_MAX_RANK
#define CHX_MAX_RANK 16
#endif
#define CHX_ABI_MINOR 1 /* counts the versions in which something was appended */
/* A status is a code of errors.def. CHX_DECLINED: refused, nothing written or queued, the next candidate is tried;
 * CHX_NOT_READY: a poll found the point not reached yet. */
typedef struct chx_dev chx_dev; /* opaque, plugin-owned */
typedef struct chx_queue chx_queue;   /* opaque; an in-order timeline. NULL = synchronous device */
typedef struct chx_call chx_call;

/* ---- services the core lends to the plugin ------------------------------------------------------------- */
typedef struct chx_host {
  uint32_t size, abi_minor;
  void *ctx;
  chx_status (*fail)(void *ctx, chx_status, const char *msg); /* records msg for this thread, returns the code */
  void (*log)(void *ctx, int32_t level, const char *msg);
  void *(*scratch)(void *ctx, const chx_call *, uint64_t bytes); /* queue-ordered, from the core's pool */
  chx_status (*parallel_for)(void *ctx, int64_t n, int64_t grain, void (*)(int64_t, int64_t, void *), void *);
  const char *(*option)(void *ctx, const char *key);              /* per-device user settings */
  const void *(*extension)(void *ctx, const char *name);          /* e.g. "chx.trace/1" */
} chx_host;

/* ---- values ------------------------------------------------------------------------------------------- */
typedef struct chx_tensor { /* CHX_FROZEN. The first 48 bytes have DLPack's DLTensor layout. Strides in elements. */
  void *data; int32_t dl_type, dl_id, ndim; uint8_t code, bits; uint16_t lanes;
  const int64_t *shape, *strides; uint64_t byte_offset;
  void *buf;                      /* chx_buffer.handle it lives in; NULL for host scalars */
  uint64_t flags;                 /* CHX_T_* */
  uint64_t extent;                /* bytes reachable past byte_offset: the bound a kernel must respect */
  unsigned char imm[16];          /* the value itself when CHX_T_HOST_SCALAR */
} chx_tensor;
enum { CHX_T_HOST_SCALAR = 1 /* 0-d, in imm, data is NULL */, CHX_T_READONLY = 2, CHX_T_CONTIGUOUS = 4 /* dense */,
       CHX_T_ABSENT = 8 /* an optional operand that was not given: nothing else is set */ };
#define CHX_T_DTYPE(t) ((int)((t)->flags >> 8 & 0xff)) /* CHX_F32, ...: bits 8 to 15 of flags */
typedef struct chx_buffer { uint32_t size, flags; void *handle; void *host_ptr; uint64_t bytes; } chx_buffer;
enum { CHX_B_DEVICE = 1, CHX_B_PINNED = 2, CHX_B_SHARED = 4 /* host_ptr valid between map/unmap or always */,
       CHX_B_COHERENT = 8 /* host_ptr always valid once the queue point is reached: map is free */,
       CHX_B_IMPORTED = 16 /* set by import_*: to be released in the end, which undoes the import */ };
enum { /* `access` of map and import_host: bits; a bit that the plugin does not know is ignored. Neither READ nor WRITE means both */
  CHX_MAP_READ = 1,
  CHX_MAP_WRITE = 2, /* alone: the caller writes all of the bytes before it unmaps them, and reads none that it has not written */
  CHX_MAP_NOWAIT = 4 /* of map with a queue: the bytes need be there only once the queue has passed the point of a queue_mark
                        taken after the call; the caller waits for that before it touches them, and may unmap them without. What
                        fails after map has returned is an error of the queue. A plugin may wait in map all the same. */ };

/* ---- kernels: identified by name@version, never by an ordinal -------------------------------------------- */
struct chx_call { /* one op application; metadata is valid during the call, buffers until `point` passes */
  uint32_t size, op_version;
  chx_dev *dev;
  chx_queue *queue;               /* enqueue here, do not wait */
  const chx_tensor *in;
  chx_tensor *out;                /* preallocated, shapes final; out may alias in only as `alias_ok` says */
  uint32_t n_in, n_out;
  const void *attr;               /* POD of the op, starts with uint32_t size (R1) */
  void *plan;                     /* what prepare made for this signature */
  void *workspace;
  uint64_t workspace_bytes;
  uint64_t flags;                 /* CHX_C_DETERMINISTIC ... */
  void *host_state;               /* opaque to the plugin, hands `scratch` its owner */
};
typedef struct chx_kernel { /* immutable, static storage in the plugin */
  uint32_t size, attr_size;       /* attr_size: how much of the op's attr struct this kernel was compiled to know */
  const char *op;                 /* "matmul", "map", "com.vendor.moe" */
  uint32_t min_version, max_version;
  uint64_t dtypes_in, dtypes_out; /* bit per chx dtype index; coarse filter, checked by the core */
  uint32_t max_rank, flags;       /* CHX_K_* */
  uint64_t alias_ok;              /* bit i*8+o: output o may overwrite input i */
  chx_status (*accepts)(void *self, const chx_call *); /* optional exact test; metadata only; asked at each call */
  chx_status (*prepare)(void *self, const chx_call *, void **plan, uint64_t *workspace_bytes); /* optional; the core caches plans */
  void (*drop)(void *self, void *plan);
  chx_status (*run)(void *self, const chx_call *);
  void *self;
} chx_kernel;
enum { CHX_K_CONTIGUOUS = 1 /* the core makes inputs and outputs dense, broadcasts included, first */,
       CHX_K_SCALAR_OK = 2 /* takes host scalars; else the core puts them on the device */, CHX_K_BLOCKS = 4,
       CHX_K_NONDETERMINISTIC = 8, CHX_K_CAPTURABLE = 16 };

/* ---- devices ------------------------------------------------------------------------------------------- */
typedef struct chx_device_info {
  uint32_t size, flags;           /* CHX_D_* */
  const char *name, *vendor, *bus_id;     /* bus_id "0000:c1:00.0" lets the core spot one card in two plugins */
  int32_t dl_type, dl_id;         /* what this device is called in DLPack (12, kDLExtDev, if it has no code) */
  uint64_t dtypes, mem_total, mem_free, max_alloc, alignment;
} chx_device_info;
enum { CHX_D_HOST_IS_DEVICE = 1 /* plain pointers: native kernels may run in place */, CHX_D_MAPPABLE = 2,
       CHX_D_IMPORT_HOST = 4, CHX_D_OWN_POOL = 8 /* the core asks for each buffer as it is needed, and keeps none */, CHX_D_ASYNC = 16,
       CHX_D_OPAQUE = 32 /* a handle is no address: the core never adds to one; so it is where memory can be mapped */ };
typedef struct chx_device_ops { /* all thread-safe except that one queue is used by one thread at a time */
  uint32_t size, flags;
  chx_status (*info)(chx_dev *, chx_device_info *); /* caller sets size; plugin fills what fits */
  const chx_kernel *(*kernel)(chx_dev *, uint32_t index);  /* NULL ends the list */
  /* memory: alloc, release and copy are all a plugin must have */
  chx_status (*alloc)(chx_dev *, chx_queue *, uint64_t bytes, uint32_t kind, chx_buffer *out);
  void (*release)(chx_dev *, chx_queue *, chx_buffer *);   /* queue-ordered */
  chx_status (*copy)(chx_dev *, chx_queue *, void *dst, uint64_t dst_off, const void *src, uint64_t src_off,
                     uint64_t bytes, uint32_t dir);           /* 0 h2d, 1 d2h, 2 d2d */
  chx_status (*map)(chx_dev *, chx_queue *, chx_buffer *, uint64_t off, uint64_t bytes, uint32_t access,
                    void **host_ptr);   /* waits for the queue, unless CHX_MAP_NOWAIT; no copy, or CHX_EUNSUPPORTED */
  chx_status (*unmap)(chx_dev *, chx_queue *, chx_buffer *, void *host_ptr);
  /* Memory that stays its owner's, who keeps it as long as the buffer is used. One with CHX_B_IMPORTED is given to
   * release in the end, which frees nothing of it; without that flag there is nothing to undo, and it is not. */
  chx_status (*import_host)(chx_dev *, void *ptr, uint64_t bytes, uint32_t access, chx_buffer *out);
  chx_status (*import_native)(chx_dev *, void *dlpack_data, uint64_t bytes, chx_buffer *out); /* memory of this
                                                              device, such as a handle; what is none is refused */
  /* time: a queue counts 1,2,3...; a point is (queue, n); waiting on a later point is always legal */
  chx_status (*queue_new)(chx_dev *, void *adopt_native /* or NULL */, chx_queue **out);
  void (*queue_free)(chx_dev *, chx_queue *);              /* what is queued is done; an adopted native queue goes on */
  uint64_t (*queue_mark)(chx_dev *, chx_queue *);          /* point covering all work queued so far */
  chx_status (*queue_wait)(chx_dev *, chx_queue *waiter, chx_queue *on, uint64_t point);  /* device-side */
  chx_status (*queue_sync)(chx_dev *, chx_queue *, uint64_t point, int64_t timeout_ns); /* 0 = poll; reports async errors */
  chx_status (*queue_call)(chx_dev *, chx_queue *, void (*fn)(void *), void *arg);      /* optional host step in order */
  void *(*queue_native)(chx_dev *, chx_queue *);           /* cudaStream_t, cl_command_queue: for others; always the same */
  const void *(*extension)(chx_dev *, const char *name);   /* "chx.region/1", "chx.rtc/1", "com.vendor.x/2" */
} chx_device_ops;

/* ---- plugin -------------------------------------------------------------------------------------------- */
typedef struct chx_plugin { /* static; obtaining it must touch no driver, thread or file */
  uint32_t size, abi_minor;
  const char *name, *version, *vendor, *build;  /* build: compiler, flags, sanitizer, kernel-source hash */
  chx_status (*open)(const chx_host *, void **state);         /* the driver is first touched here */
  chx_status (*device_count)(void *state, uint32_t *n);
  chx_status (*device_open)(void *state, uint32_t i, chx_dev **);
  const chx_device_ops *(*device_ops)(void *state);
  void (*device_close)(chx_dev *);                         /* queues drained, buffers freed before */
  void (*close)(void *state);                                 /* joins all threads; the library stays mapped */
  int32_t (*score)(void);                                     /* optional, pure: 0 = not on this machine; picks among per-ISA twins */
} chx_plugin;
#define CHX_ENTRY "chx_plugin_v1"                             /* const chx_plugin *chx_plugin_v1(void); */
typedef const chx_plugin *(*chx_entry_fn)(void);
#if defined __GNUC__
#define CHX_EXPORT __attribute__((visibility("default")))
#else
#define CHX_EXPORT
#endif

/* ---- optional extension: fused regions ------------------------------------------------------------------ */
typedef struct chx_region_node { /* CHX_FROZEN; values are indices, [0,n_in) region inputs then node outputs in order */
  const char *op; uint64_t op_version; const void *attr; const uint32_t *in, *out; uint32_t n_in, n_out; } chx_region_node;
typedef struct chx_region_ops { /* "chx.region/1" */
  uint32_t size, flags;
  chx_status (*claim)(chx_dev *, const chx_region_node *, uint32_t n, const chx_tensor *values, uint32_t *group);
  chx_status (*build)(chx_dev *, const chx_region_node *, uint32_t n, const chx_tensor *values, void **exe);
  chx_status (*run)(chx_dev *, void *exe, const chx_call *);  /* CHX_DECLINED -> op by op */
  void (*drop)(chx_dev *, void *exe);
} chx_region_ops;
/* ---- optional extension: kernels given as source at run time --------------------------------------------- */
typedef struct chx_arg { uint64_t kind; const chx_tensor *tensor; const void *bytes; uint64_t n; } chx_arg; /* FROZEN */
typedef struct chx_rtc_ops { /* "chx.rtc/1" */
  uint32_t size, flags;
  const char *(*languages)(chx_dev *);                     /* "opencl-c;chx-c;spirv" */
  const char *(*prelude)(chx_dev *);                       /* maps the portable chx-c dialect to this device */
  chx_status (*build)(chx_dev *, const char *lang, const void *src, uint64_t n, const char *opts, void **mod,
                      void (*diag)(void *, const char *), void *diag_ctx);
  chx_status (*launch)(chx_dev *, chx_queue *, void *mod, const char *fn, const uint64_t grid[3],
                       const uint64_t group[3], uint64_t local_bytes, const chx_arg *, uint32_t n);
  chx_status (*binary)(chx_dev *, void *mod, void *out, uint64_t *n); /* optional: disk cache */
  void (*drop)(chx_dev *, void *mod);
} chx_rtc_ops;
/* ---- optional extension: copies between two devices of one plugin ----------------------------------------- */
typedef struct chx_peer_ops { /* "chx.peer/1"; without it the core goes through the host */
  uint32_t size, flags;
  chx_status (*can)(chx_dev *to, chx_dev *from);           /* CHX_OK: copy works for this pair; else CHX_EUNSUPPORTED */
  /* Queued on a queue of `to`. The core has ordered it after the source's writer, and keeps the source as it is
   * until the queue's point is reached. */
  chx_status (*copy)(chx_dev *to, chx_queue *, void *dst, uint64_t dst_off, chx_dev *from, const void *src,
                     uint64_t src_off, uint64_t bytes);
} chx_peer_ops;
/* ---- optional extension: work that is recorded once and launched again ------------------------------------------ */
typedef struct chx_capture_ops { /* "chx.capture/1" */
  uint32_t size, flags;
  /* From here to `end` what is put in the queue is recorded and not done: kernels with CHX_K_CAPTURABLE, copies to and on the device,
   * whose bytes of the host are taken now, for all launches. Meanwhile mark gives the point of before; sync of it and other queues'
   * waits for it go on, as do alloc and release, which is not recorded. All else on the queue is CHX_EUNSUPPORTED. The core keeps
   * what recorded work uses (buffers, plans, workspace) until `drop`. */
  chx_status (*begin)(chx_dev *, chx_queue *);
  /* The queue is as before in any case. graph NULL: what was recorded is forgotten. */
  chx_status (*end)(chx_dev *, chx_queue *, void **graph);
  /* Queues it on any queue of the device that does not record: each command as if called now, on the same memory, its errors late. The
   * core orders the launches of one graph. */
  chx_status (*launch)(chx_dev *, chx_queue *, void *graph);
  void (*drop)(chx_dev *, void *graph);                    /* launches that are queued are still done */
} chx_capture_ops;
/* ---- service of the core: the kernels for host memory ------------------------------------------------------- */
#define CHX_HOST_KERNELS "chx.host-kernels/1" /* host->extension(host->ctx, ...), to be asked for in the plugin's `open` */
/* native's kernels, for a plugin whose device has CHX_D_HOST_IS_DEVICE and no queues: appended to its own list, they
 * serve what its own do not or decline, without a fallback. They live as long as the process, may be called from any
 * thread, and do not look at call->dev or call->queue. NULL from extension: native did not load, or it is native that asks. */
typedef struct chx_host_kernels {
  uint32_t size, flags;
  const chx_kernel *(*kernel)(uint32_t index);               /* NULL ends the list */
} chx_host_kernels;
/* ---- service of the core: operators of the plugin's own ------------------------------------------------------- */
#define CHX_OPS "chx.ops/1" /* host->extension(host->ctx, ...), to be used in the plugin's `open` only */
/* An operator that chx/op.h does not have joins its table once `open` has succeeded: it is found by name, checked, routed and
 * differentiated as any other, and kernels of its name, any plugin's, serve it. What a declaration points to is static. */
typedef struct chx_op_operand { /* CHX_FROZEN */
  const char *name;
  uint64_t dtypes;                /* what it takes as it is; 0: comes to one dtype with the others that say 0 */
  uint64_t flags;                 /* 1: may be absent, as may all after it */
} chx_op_operand;
typedef struct chx_op_field { /* CHX_FROZEN; of the attribute, a struct that begins with uint32_t size, kind */
  const char *name, *doc;
  uint64_t type, offset;          /* CHX_ATTR_* of attr.h */
  double def;
} chx_op_field;
typedef struct chx_op_result { /* CHX_FROZEN */ int64_t dtype, ndim, shape[CHX_MAX_RANK]; } chx_op_result;
typedef struct chx_op_bind { /* CHX_FROZEN; bytes of the operator's attribute that go into a step's */
  uint32_t from, to, bytes, reserved; } chx_op_bind;
/* Values of a body: its operands, which are the operator's inputs (in `grad` then its outputs, then the gradients of these), then
 * each step's outputs in order; and scalars. */
#define CHX_V_CONSTANT(i) (0x80000000u | (i))             /* constants[i] */
#define CHX_V_ATTR(offset) (0xc0000000u | (offset))       /* the I64, F64 or BOOL at that offset of the attribute */
#define CHX_V_NONE 0xffffffffu                            /* an operand that is absent; a gradient that there is not */
typedef struct chx_op_step { /* CHX_FROZEN */
  const char *op;                 /* any operator there is, "map" among them */
  const void *attr;               /* its attribute, size first; NULL: the defaults */
  const uint32_t *in;             /* values */
  const chx_op_bind *bind;
  uint32_t n_in, n_bind;
} chx_op_step;
typedef struct chx_op_body {
  uint32_t size, flags;
  const chx_op_step *step;
  const double *constants;
  const uint32_t *result;         /* the values that it gives; NULL: the last step's outputs */
  uint32_t n_steps, n_constants;
} chx_op_body;
enum { CHX_SHAPE_FIRST = 0 /* outputs have the first input's shape */, CHX_SHAPE_BROADCAST = 1 /* that of all inputs, to which
       kernels see these broadcast */ };
typedef struct chx_op_decl {
  uint32_t size, version;         /* version: 1 or more, for chx_kernel.min_version */
  const char *name, *doc;         /* "com.example.snake": lower case, with a dot */
  const chx_op_operand *in;       /* 1 to 5 */
  const char *const *out;         /* 1 to 3 */
  uint32_t n_in, n_out, n_fields, attr_size;
  const chx_op_field *field;
  uint64_t dtypes;                /* of the operands that come to one; floats alone: integers become f64 */
  uint32_t shape, flags;          /* CHX_SHAPE_* */
  /* Optional: refuses operands or attributes (a code, and its sentence by host->fail), completes the attribute, and changes what
   * `shape` and the common dtype make of `out`. Metadata only; called from any thread, perhaps twice for one call. */
  chx_status (*infer)(void *self, const chx_tensor *in, uint32_t n_in, void *attr, chx_op_result *out);
  void *self;
  const chx_op_body *body;        /* the operator by others, for devices without a kernel, and its gradient; NULL: none */
  const chx_op_body *grad;        /* optional: a gradient for each input. Without it a call that is recorded is its body's steps */
} chx_op_decl;
typedef struct chx_op_host {
  uint32_t size, flags;
  chx_status (*declare)(void *ctx, const chx_op_decl *); /* ctx: host->ctx. An error's sentence is what `open` reports if it returns the code */
} chx_op_host;
#ifdef __cplusplus
}
#endif
#endif
