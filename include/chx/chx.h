/* SPDX-License-Identifier: MIT
 * chx.h: n-dimensional arrays with automatic differentiation, on devices that are plugins.
 *
 *   chx_scope *s = chx_scope_begin("cuda:0");            // a device specifier; NULL: the default
 *   chx_array *y = chx_relu(s, chx_linear(s, x, w, b));  // results belong to s
 *   chx_array *loss = chx_softmax_cross_entropy(s, y, t);
 *   chx_backward(s, loss);
 *   if (chx_scope_error(s)) fprintf(stderr, "%s\n", chx_scope_message(s));
 *   chx_scope_end(s);                                    // frees all that was not kept
 *
 * Errors. A scope keeps its first error; after it every call in that scope does nothing and returns NULL, and NULL
 * operands pass through, so expressions nest and one check at the end is enough. A NULL array where one is required,
 * without an earlier error, is itself the error. The library never exits, aborts or prints.
 *
 * Ownership. An array belongs to the scope it was made in and goes with it. chx_keep takes a reference that outlives
 * the scope, chx_release drops it. What _begin or _new made, the matching _end or _free ends; all of these take NULL.
 * Arguments are borrowed for the call, unless a function says that it keeps them.
 *
 * Threads. A scope is used by one thread. Different scopes on different threads share arrays and devices freely;
 * writing into an array that another thread reads is the caller's race.
 *
 * Fork. After a fork the child may go on using chx on devices whose memory is the host's ("native", "ref"): the
 * thread pool is made anew, and locks that other threads held are free. What another thread was in the middle of is
 * not finished: do not fork while it adds to the gradient of a leaf that the child goes on to use. Devices with a
 * queue of their own report CHX_EDEVICE in the child.
 *
 * dtypes: those of dtype.def. c64 and c128 are made, moved and read in this release, and no operator computes with them.
 * Shapes are given as int64_t, sizes in elements unless a name says bytes. Device specifiers: "backend" or
 * "backend:index", such as "native", "cuda:1".
 */
#ifndef CHX_H
#define CHX_H
#include <stddef.h>
#include <stdint.h>
#include "types.h"
#include "attr.h"
#include "op.h"
#ifdef __cplusplus
extern "C" {
#endif
#if defined __GNUC__
#pragma GCC visibility push(default)
#endif

#define CHX_VERSION_MAJOR 0
#define CHX_VERSION_MINOR 1
#define CHX_VERSION_PATCH 0

/* ---- library ------------------------------------------------------------------------------------------------- */

const char *chx_version(void);            /* "0.1.0" */
const char *chx_status_text(chx_status);  /* the sentence of errors.def; never NULL */
const char *chx_dtype_name(int dtype);    /* "f32"; "?" for a number that is no dtype */
int chx_dtype_size(int dtype);            /* bytes; 0 for a number that is no dtype */
int chx_dtype_find(const char *name);     /* by name; CHX_DTYPE_NONE where there is none */
int chx_promote(int a, int b);            /* the dtype that two arrays' dtypes promote to, as NumPy 2 */

/* chx_set_log: where messages go (warnings of fallback, traces); NULL: nowhere, which is the default. fn may be called from
 * any thread. level: 0 error, 1 warning, 2 information, 3 trace (one line per operator). Levels above `max_level`
 * are not made. */
typedef void (*chx_log_fn)(void *ctx, int level, const char *message);
void chx_set_log(chx_log_fn fn, void *ctx, int max_level);

/* chx_set_threads: how many threads of the CPU an operator may use, the calling one included; 0: as many as the process may
 * run on. Takes effect with the next operator; results do not depend on it. Default: $CHX_NUM_THREADS, else 0. */
void chx_set_threads(int n);
int chx_threads(void);

/* ---- scopes -------------------------------------------------------------------------------------------------- */

enum { CHX_SCOPE_OWNED = 1 /* each result is the caller's alone, to be released by it; for language bindings */ };

/* chx_scope_begin: a scope on a device; NULL: $CHX_DEVICE, else "native:0". Never NULL: on failure the scope is already
 * in error (an unknown device names those there are). */
chx_scope *chx_scope_begin(const char *device);
chx_scope *chx_scope_begin_with(const char *device, unsigned flags);
void chx_scope_end(chx_scope *s);

chx_status chx_scope_error(const chx_scope *s);        /* CHX_OK, or the first error's code. A NULL scope is in error */
const char *chx_scope_message(const chx_scope *s);     /* its sentence, "" without one; valid until the next call on s */
void chx_scope_clear(chx_scope *s);                    /* takes the error away */
/* Sets the error of s, unless there is one, from a printf format; returns the code. For libraries built on chx. */
chx_status chx_scope_fail(chx_scope *s, chx_status code, const char *format, ...)
#if defined __GNUC__
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* A scope is a stack: rewind drops all results made since the mark but `keep` (NULL: all), which it returns. */
size_t chx_scope_mark(const chx_scope *s);
chx_array *chx_scope_rewind(chx_scope *s, size_t mark, chx_array *keep);
void chx_scope_rewind_all(chx_scope *s, size_t mark, chx_array *const *keep, int n_keep);
/* chx_scope_give: the reverse of chx_keep: the caller's reference to a, of whatever scope, becomes a result of s, and goes with
 * it, in an owning scope too. For callbacks whose arrays come from elsewhere. Returns a; NULL on error, and the reference is
 * dropped. */
chx_array *chx_scope_give(chx_scope *s, chx_array *a);

/* For language bindings. In what the library calls back (a hook, a function's backward, one that is checked) results belong to
 * the scope that it was given, in an owning scope too. Between enter and leave, which takes what enter returned, each result
 * is the caller's alone, as in an owning scope; chx_scope_give makes it the scope's. */
unsigned chx_scope_enter(chx_scope *s);
void chx_scope_leave(chx_scope *s, unsigned before);

const char *chx_scope_device(const chx_scope *s);                 /* "native:0" */
chx_status chx_scope_set_device(chx_scope *s, const char *device);

/* Whether operators are recorded. OFF: never. ON, the default: where an operand takes part in a graph. Returns the mode
 * before. A graph that was disabled by chx_no_backprop can be forced back with chx_force_backprop. */
enum { CHX_GRAD_OFF = 0, CHX_GRAD_ON = 1 };
int chx_scope_set_grad(chx_scope *s, int mode);

/* Fallback policy of the scope, see docs/architecture.md; the default is $CHX_FALLBACK (allow, warn or deny), else allow.
 * WARN logs the first call of an operator that takes a mapped or staged route on a device, since the start or the ledger's
 * last reset. DENY makes such a route an error that names operator, dtype and device. Returns the policy before. */
enum { CHX_FALLBACK_ALLOW = 0, CHX_FALLBACK_WARN = 1, CHX_FALLBACK_DENY = 2 };
int chx_scope_set_fallback(chx_scope *s, int policy);

/* chx_scope_set_long_work: have fn told, by the scope's thread, of what takes long in its calls: fn(ctx, 1) before, fn(ctx, 0) after. So
 * a binding gives its interpreter's lock away meanwhile. Told of are, from about 10 us of estimated work on, an operator's kernel with
 * what its route needs, also inside of backward; reading, writing and files; and waiting for a device. In between, chx uses no graph
 * of the program and calls none of its hooks, so that other threads may go back through the same graph or cut it; a deleter (chx_wrap)
 * may be called. fn must not use the scope.
 * fn(ctx, 0) returns 0 to go on. Otherwise the call fails with CHX_EFAILED, "interrupted"; chx_sync and chx_read, which ask every
 * 20 ms while they wait for a device, do so at once, and what is queued goes on. NULL: nobody is told, which is the default. */
typedef int (*chx_long_work)(void *ctx, int begins);
void chx_scope_set_long_work(chx_scope *s, chx_long_work fn, void *ctx);

/* ---- devices and plugins ------------------------------------------------------------------------------------- */

/* chx_load_plugin: load a plugin from a file; its backend's name is the plugin's own. */
chx_status chx_load_plugin(chx_scope *s, const char *path);
/* chx_add_plugin: register a plugin that is linked into the program, as chx_load_plugin does with a file's. p (see
 * chx/plugin.h) and all it points to must last as long as the process. Adding the same one again does nothing.
 * Errors   CHX_EARG p is NULL, CHX_EDEVICE it lacks something, its name is taken, it does not open or has no device. */
struct chx_plugin;
chx_status chx_add_plugin(chx_scope *s, const struct chx_plugin *p);

typedef struct chx_backend_state { /* what is known of one backend; strings live as long as the process */
  const char *name;                /* "native" */
  const char *path;                /* the file; "" where none was found */
  const char *version, *vendor;    /* "" where it did not load */
  const char *error;               /* why it did not load, has no device (with every path tried), or lacks some; "" where all is there */
  int n_devices;
} chx_backend_state;
typedef struct chx_device_state {
  char specifier[32]; /* "cuda:1" */
  const char *name, *vendor, *bus_id;
  uint64_t mem_total, mem_free; /* bytes; 0: unknown */
  uint64_t dtypes;              /* CHX_BIT(CHX_F32) | ... */
  int is_host;                  /* its memory is plain host memory */
} chx_device_state;

/* Load every plugin that can be found, then say how many backends were found; entry i of them; device j of entry i. */
int chx_backend_scan(void);
int chx_backend_count(void);
chx_status chx_backend_at(int i, chx_backend_state *out);
chx_status chx_device_at(int i, int j, chx_device_state *out);

/* Wait for all that this thread queued on the scope's device, and report what it says late. */
chx_status chx_sync(chx_scope *s);

/* Force an operator's route on every device, as $CHX_ROUTE does: op's name and "kernel", "composed", "mapped",
 * "staged" or NULL for the free choice; "no-composed" excludes composition. op "*": all operators. */
chx_status chx_set_route(chx_scope *s, const char *op, const char *route);

/* The ledger of routes other than kernel and view, per device and operator, since the start or the last reset. The time of a
 * composed operator includes that of its parts, which have rows of their own where they did not run as kernels, either. */
typedef struct chx_ledger_row {
  char device[32];
  const char *op;
  int route;          /* CHX_ROUTE_* */
  uint64_t calls, bytes /* moved between device and host */, ns;
  const char *reason; /* why not the kernel */
  uint64_t kernel_ns; /* of ns: in the kernel that did the work, native's or the device's own; of composition 0 */
} chx_ledger_row;
int chx_ledger(chx_ledger_row *rows, int max_rows); /* returns how many there are */
void chx_ledger_reset(void);

/* ---- memory -------------------------------------------------------------------------------------------------- */

typedef struct chx_memory_stats { /* bytes; of one device's caching allocator */
  uint64_t used, used_peak;       /* by live buffers */
  uint64_t cached;                /* held from the backend and free */
  uint64_t reserved;              /* held from the backend: used, cached and rounding */
  uint64_t limit;                 /* 0: none */
  uint64_t allocations, backend_allocations; /* counts since the start */
} chx_memory_stats;
chx_status chx_memory_stats_of(chx_scope *s, const char *device, chx_memory_stats *out);
chx_status chx_memory_reset_peak(chx_scope *s, const char *device);
chx_status chx_memory_set_limit(chx_scope *s, const char *device, uint64_t bytes); /* 0: none */
chx_status chx_memory_trim(chx_scope *s, const char *device); /* give cached memory back to the backend */

/* Hooks see each allocation and release. `device` is NULL for the core's own objects (headers, graph nodes), else the
 * specifier. An allocation (alloc is 1) for which fn returns other than 0 fails as if memory were out. fn must not call chx. */
typedef int (*chx_memory_hook)(void *ctx, const char *device, int alloc, uint64_t bytes);
void chx_set_memory_hook(chx_memory_hook fn, void *ctx);

/* ---- arrays -------------------------------------------------------------------------------------------------- */

chx_array *chx_keep(const chx_array *a);   /* takes a reference; returns a */
void chx_release(chx_array *a);            /* drops one taken by chx_keep, or an owning scope's result */

int chx_dtype(const chx_array *a);             /* CHX_F32, ...; CHX_DTYPE_NONE for NULL */
int chx_ndim(const chx_array *a);              /* -1 for NULL */
const int64_t *chx_shape(const chx_array *a);  /* ndim lengths */
const int64_t *chx_strides(const chx_array *a);/* ndim strides, in elements */
int64_t chx_size(const chx_array *a);          /* elements; -1 for NULL */
int64_t chx_nbytes(const chx_array *a);        /* size times the dtype's bytes */
const char *chx_device(const chx_array *a);    /* specifier, "" for a weak scalar or NULL */
int chx_is_contiguous(const chx_array *a);     /* dense in C order */
int chx_shares_memory(const chx_array *a, const chx_array *b); /* views of one buffer */

/* From host memory, C order, which is copied; to the scope's device. */
chx_array *chx_from_host(chx_scope *s, int dtype, int ndim, const int64_t *shape, const void *data);
/* Around host memory, not copied, on native:0. strides in elements, NULL: C order. deleter (NULL: none) is called with ctx
 * once the last array is gone, or at once on failure. */
chx_array *chx_wrap(chx_scope *s, int dtype, int ndim, const int64_t *shape, const int64_t *strides, void *data,
                    void (*deleter)(void *ctx), void *ctx);
/* Weak scalars: take on the dtype of what they meet, as Python's numbers do in NumPy 2. */
chx_array *chx_real(chx_scope *s, double v);
chx_array *chx_int(chx_scope *s, int64_t v);
chx_array *chx_bool(chx_scope *s, int v);

chx_status chx_read(chx_scope *s, const chx_array *a, void *dst, size_t dst_bytes); /* to host, C order; waits */
/* Where the first element lies in the host's memory, the others after it by chx_strides; it waits until a is computed. For
 * reading and writing while a reference to a is held; backward does not see what is written. An array without elements may
 * have NULL, without an error. NULL with CHX_EUNSUPPORTED: a's memory is not the host's (chx_device_state.is_host), with
 * CHX_EARG: it is a weak scalar or NULL. */
void *chx_host_address(chx_scope *s, const chx_array *a);
double chx_item(chx_scope *s, const chx_array *a);      /* the value of a one-element array; NaN on error; waits */
int64_t chx_item_int(chx_scope *s, const chx_array *a); /* likewise of an integer or bool one; 0 on error */
/* Copy from host memory, C order, into an existing array, in place; a must be contiguous. */
chx_status chx_write(chx_scope *s, chx_array *a, const void *src, size_t src_bytes);

chx_array *chx_to(chx_scope *s, const chx_array *a, const char *device); /* on that device, a itself if it is there; differentiable */
chx_array *chx_copy(chx_scope *s, const chx_array *a);                   /* a dense copy */
chx_array *chx_contiguous(chx_scope *s, const chx_array *a);             /* a itself if dense, else a copy */
chx_array *chx_cast(chx_scope *s, const chx_array *a, int dtype);        /* a itself if it has the dtype */
chx_status chx_copy_into(chx_scope *s, chx_array *out, const chx_array *a); /* broadcast, cast, across devices */

chx_array *chx_empty(chx_scope *s, int dtype, int ndim, const int64_t *shape);
chx_array *chx_zeros(chx_scope *s, int dtype, int ndim, const int64_t *shape);
chx_array *chx_ones(chx_scope *s, int dtype, int ndim, const int64_t *shape);
chx_array *chx_full(chx_scope *s, int dtype, int ndim, const int64_t *shape, double value);
chx_array *chx_zeros_like(chx_scope *s, const chx_array *a);
chx_array *chx_ones_like(chx_scope *s, const chx_array *a);
chx_array *chx_arange(chx_scope *s, int dtype, double start, double step, int64_t n);

/* DLPack 1.x (DLManagedTensorVersioned).
 * chx_to_dlpack: a capsule content that shares a's memory, to be ended by its own deleter. Arrays on devices without a DLPack
 * type are refused, unless the device imports its own memory (import_native of plugin.h). It waits until a is computed; with
 * chx_to_dlpack_on a queue of the consumer's (cudaStream_t, hipStream_t, cl_command_queue, of a's device) does that instead,
 * NULL is to wait, and with CHX_DLPACK_NO_WAIT nobody does: the consumer orders it by means of his own. Until the deleter is called the device's memory is not opened to the host: operators that it lacks copy.
 * chx_from_dlpack keeps `managed` and calls its deleter once the last array is gone and its work done (not on failure). The
 * array is on native:0 for memory of the host, else on the device that DLPack's type and id name, which is opened if need be
 * (CHX_EDEVICE: there is none; CHX_EUNSUPPORTED: it takes no memory of others). The tensor must be ready for the queue of
 * chx_dlpack_queue: that of the calling thread's work on the scope's device, to be given to the producer; NULL: it has none.
 * chx_dlpack_type: what DLPack calls a's device; CHX_EUNSUPPORTED as chx_to_dlpack, CHX_EARG for a scalar.
 * chx_dlpack_device: the device that DLPack calls so, opened if need be, native:0 for memory of the host; of several that share
 * a number (extension devices) the first. A static string; NULL with CHX_EDEVICE: there is none. */
#define CHX_DLPACK_NO_WAIT ((void *)-1)
void *chx_to_dlpack(chx_scope *s, const chx_array *a);
void *chx_to_dlpack_on(chx_scope *s, const chx_array *a, void *queue);
void *chx_dlpack_queue(chx_scope *s);
chx_status chx_dlpack_type(chx_scope *s, const chx_array *a, int *type, int *id);
const char *chx_dlpack_device(chx_scope *s, int type, int id);
chx_array *chx_from_dlpack(chx_scope *s, void *managed);

/* ---- elementwise: one function per row of elementwise.def, and its in-place form -------------------------------
 * Operands broadcast; mixed dtypes promote as NumPy 2. _into writes into `out`, an array with the result's shape and
 * dtype that takes part in no active graph, and returns it. */
#define EW1(ID, name, class, result, formula, keep, doc) \
  chx_array *chx_##name(chx_scope *s, const chx_array *x); \
  chx_array *chx_##name##_into(chx_scope *s, chx_array *out, const chx_array *x);
#define EW2(ID, name, class, result, formula, keep, doc) \
  chx_array *chx_##name(chx_scope *s, const chx_array *x, const chx_array *y); \
  chx_array *chx_##name##_into(chx_scope *s, chx_array *out, const chx_array *x, const chx_array *y);
#define EW3(ID, name, class, result, formula, keep, doc) \
  chx_array *chx_##name(chx_scope *s, const chx_array *x, const chx_array *y, const chx_array *z); \
  chx_array *chx_##name##_into(chx_scope *s, chx_array *out, const chx_array *x, const chx_array *y, const chx_array *z);
#include "elementwise.def"

/* A program of elementwise operators in one pass over its operands; see chx_program. */
chx_array *chx_map(chx_scope *s, const chx_array *const *in, int n_in, const chx_program *program);

/* ---- reductions ------------------------------------------------------------------------------------------------
 * n_axes 0: all axes. Sums and means are blocked; integer sums and products are in i64 or u64, means in f64.
 * An empty max or min is CHX_ESHAPE. Gradient of max and min: shared equally among ties. */
chx_array *chx_sum(chx_scope *s, const chx_array *x, int n_axes, const int *axes, int keepdims);
chx_array *chx_prod(chx_scope *s, const chx_array *x, int n_axes, const int *axes, int keepdims);
chx_array *chx_mean(chx_scope *s, const chx_array *x, int n_axes, const int *axes, int keepdims);
chx_array *chx_amax(chx_scope *s, const chx_array *x, int n_axes, const int *axes, int keepdims);
chx_array *chx_amin(chx_scope *s, const chx_array *x, int n_axes, const int *axes, int keepdims);
chx_array *chx_all(chx_scope *s, const chx_array *x, int n_axes, const int *axes, int keepdims);
chx_array *chx_any(chx_scope *s, const chx_array *x, int n_axes, const int *axes, int keepdims);
chx_array *chx_logsumexp(chx_scope *s, const chx_array *x, int n_axes, const int *axes, int keepdims);
/* i64 index of the first largest or smallest (a NaN wins) along an axis; n_axes 0: of the flattened array. */
chx_array *chx_argmax(chx_scope *s, const chx_array *x, int n_axes, const int *axes, int keepdims);
chx_array *chx_argmin(chx_scope *s, const chx_array *x, int n_axes, const int *axes, int keepdims);

/* ---- scans and order ------------------------------------------------------------------------------------------
 * chx_cumsum, ...: along one axis, each element's result is over those up to it. The result has x's shape; its dtype is x's,
 * of integer sums and products i64 or u64. f16 and bf16 are accumulated in f32, each result rounded. NaN stays. The
 * gradient of a running extreme goes to the element it is, the first of equal ones. */
chx_array *chx_cumsum(chx_scope *s, const chx_array *x, int axis);
chx_array *chx_cumprod(chx_scope *s, const chx_array *x, int axis);
chx_array *chx_cummax(chx_scope *s, const chx_array *x, int axis);
chx_array *chx_cummin(chx_scope *s, const chx_array *x, int axis);
/* With all options: p->kind is CHX_SCAN_SUM, ...; no axis: x flattened; from the end; without the element itself; a dtype. */
chx_array *chx_scan(chx_scope *s, const chx_array *x, const chx_scan_attr *p);
/* chx_sort, chx_argsort: along one axis, the elements in order, or their i64 indices. NaN counts as the greatest: last, and
 * first if descending. Stable both ways: equal elements keep their order. CHX_EARG: no such axis. */
chx_array *chx_sort(chx_scope *s, const chx_array *x, int axis, int descending);
chx_array *chx_argsort(chx_scope *s, const chx_array *x, int axis, int descending);
/* The first k of x sorted so along an axis, the largest or the smallest; *indices (may be NULL) gets their indices, i64.
 * CHX_EARG: not 0 <= k <= the axis' length. */
chx_array *chx_topk(chx_scope *s, const chx_array *x, int64_t k, int axis, int largest, chx_array **indices);

/* ---- movement. Those marked v give views where strides can say it -------------------------------------------- */
chx_array *chx_reshape(chx_scope *s, const chx_array *x, int ndim, const int64_t *shape);      /* v; one -1 allowed */
chx_array *chx_transpose(chx_scope *s, const chx_array *x, int n_axes, const int *axes);       /* v; 0 axes: reversed */
chx_array *chx_swapaxes(chx_scope *s, const chx_array *x, int axis1, int axis2);               /* v */
chx_array *chx_expand_dims(chx_scope *s, const chx_array *x, int axis);                        /* v */
chx_array *chx_squeeze(chx_scope *s, const chx_array *x, int n_axes, const int *axes);         /* v; 0 axes: all of length 1 */
chx_array *chx_broadcast_to(chx_scope *s, const chx_array *x, int ndim, const int64_t *shape); /* v */
chx_array *chx_slice(chx_scope *s, const chx_array *x, const chx_slice_attr *p);               /* v; steps may be negative */
chx_array *chx_slice_axis(chx_scope *s, const chx_array *x, int axis, int64_t start, int64_t stop, int64_t step); /* v */
chx_array *chx_at(chx_scope *s, const chx_array *x, int axis, int64_t index);                  /* v; drops the axis */
chx_array *chx_flip(chx_scope *s, const chx_array *x, int n_axes, const int *axes);            /* v; 0 axes: all */
chx_array *chx_diagonal(chx_scope *s, const chx_array *x, int64_t offset, int axis1, int axis2); /* v; detached from the graph */
/* The same memory read as another dtype; detached from the graph. Elements of another size: the last axis, which must be dense
 * and whole elements (else CHX_ESHAPE), gets longer or shorter. */
chx_array *chx_view(chx_scope *s, const chx_array *x, int dtype);
chx_array *chx_concatenate(chx_scope *s, const chx_array *const *xs, int n, int axis);
chx_array *chx_stack(chx_scope *s, const chx_array *const *xs, int n, int axis);
chx_array *chx_pad(chx_scope *s, const chx_array *x, const chx_pad_attr *p);

/* ---- indexing. Indices are integers; negative ones count from the end; one out of range is CHX_EARG ------------- */
/* x [..., D, ...], i [I...] -> x.shape[:axis] + I + x.shape[axis+1:] */
chx_array *chx_take(chx_scope *s, const chx_array *x, const chx_array *indices, int axis);
/* i has x's rank and, but along axis, x's shape; v[.., j, ..] = x[.., i[.., j, ..], ..] */
chx_array *chx_take_along_axis(chx_scope *s, const chx_array *x, const chx_array *indices, int axis);
/* x with y added at the indices that take(x, indices, axis) would read; repeated indices add up */
chx_array *chx_scatter_add(chx_scope *s, const chx_array *x, const chx_array *indices, const chx_array *y, int axis);
/* likewise for take_along_axis */
chx_array *chx_scatter_add_along_axis(chx_scope *s, const chx_array *x, const chx_array *indices, const chx_array *y, int axis);

/* ---- linear algebra and networks ---------------------------------------------------------------------------- */

/* a [..., M, K] @ b [..., K, N] -> [..., M, N]; leading axes broadcast; a 1-D operand is a row or a column, dropped again.
 * Integers and bool wrap in their own dtype. */
chx_array *chx_matmul(chx_scope *s, const chx_array *a, const chx_array *b);
/* x [..., I], w [O, I], b [O] or NULL -> x w^T + b [..., O] */
chx_array *chx_linear(chx_scope *s, const chx_array *x, const chx_array *w, const chx_array *b);

/* chx_conv: cross-correlation over 1 to 3 spatial axes.
 *   x [N, C, H...]  w [K, C/G, R...]  b [K] or NULL; channels last: x [N, H..., C], w [K, R..., C/G]
 *   return [N, K, P...], P = (H + 2 pad - dilation (R - 1) - 1) / stride + 1, rounded down
 * Errors   CHX_ESHAPE ranks or channels disagree, or P < 1.     Source   ONNX Conv-11, without auto_pad.
 * conv_grad_input and conv_grad_weight take p->shape, the shape of what they compute. */
chx_array *chx_conv(chx_scope *s, const chx_array *x, const chx_array *w, const chx_array *b, const chx_conv_attr *p);
chx_array *chx_conv_grad_input(chx_scope *s, const chx_array *gy, const chx_array *w, const chx_conv_attr *p);
chx_array *chx_conv_grad_weight(chx_scope *s, const chx_array *x, const chx_array *gy, const chx_conv_attr *p);

/* x [N, C, H...] -> [N, C, P...], P = (H + 2 pad - ksize) / stride + 1 rounded down, or up with cover_all. *indices (may be
 * NULL) gets each maximum's position, i64, in the flattened spatial axes of x. Padding never wins a maximum. */
chx_array *chx_max_pool(chx_scope *s, const chx_array *x, const chx_pool_attr *p, chx_array **indices);
chx_array *chx_avg_pool(chx_scope *s, const chx_array *x, const chx_pool_attr *p);
chx_array *chx_avg_pool_grad(chx_scope *s, const chx_array *gy, const chx_pool_attr *p);

chx_array *chx_softmax(chx_scope *s, const chx_array *x, int axis);
chx_array *chx_log_softmax(chx_scope *s, const chx_array *x, int axis);
chx_array *chx_leaky_relu(chx_scope *s, const chx_array *x, double slope);
chx_array *chx_gelu(chx_scope *s, const chx_array *x, int approximate);   /* x/2 (1 + erf(x / sqrt 2)), or its tanh form */
chx_array *chx_dropout(chx_scope *s, const chx_array *x, double ratio);   /* kept elements are scaled by 1 / (1 - ratio) */
/* x [N, C, ...], gamma and beta [C]: normalised by the batch's own mean and biased variance, which *mean and *var (may be
 * NULL) get, [C]. */
chx_array *chx_batch_norm(chx_scope *s, const chx_array *x, const chx_array *gamma, const chx_array *beta,
                          const chx_batch_norm_attr *p, chx_array **mean, chx_array **var);
chx_array *chx_fixed_batch_norm(chx_scope *s, const chx_array *x, const chx_array *gamma, const chx_array *beta,
                                const chx_array *mean, const chx_array *var, const chx_batch_norm_attr *p);
/* normalised over the trailing axes that gamma has; beta has gamma's shape */
chx_array *chx_layer_norm(chx_scope *s, const chx_array *x, const chx_array *gamma, const chx_array *beta, double eps);
/* x [N, C, ...] scores, t [N, ...] integer labels 0 .. C-1 -> 0-d mean of -log softmax(x)[t] */
chx_array *chx_softmax_cross_entropy(chx_scope *s, const chx_array *x, const chx_array *t);
chx_array *chx_softmax_cross_entropy_with(chx_scope *s, const chx_array *x, const chx_array *t,
                                          const chx_softmax_cross_entropy_attr *p);
chx_array *chx_mean_squared_error(chx_scope *s, const chx_array *x, const chx_array *y); /* 0-d mean of (x - y)^2 */

/* ---- random: Philox 4x32-10, keyed by a seed and a counter that each draw advances ------------------------------
 * The generator is the process's; a scope may have its own. The same state gives the same bits on every device.
 * Other generators, where a device has them: `generator` of chx_random_attr, through chx_apply. */
typedef struct chx_random_state { uint64_t seed, counter; } chx_random_state;
void chx_seed(uint64_t seed);                               /* the process's generator, counter 0 */
chx_random_state chx_random_get(const chx_scope *s);        /* the scope's, or the process's if it has none or s is NULL */
void chx_random_set(chx_scope *s, chx_random_state state);  /* NULL: the process's */
void chx_scope_seed(chx_scope *s, uint64_t seed);           /* gives the scope its own generator */
chx_array *chx_random_bits(chx_scope *s, int dtype, int ndim, const int64_t *shape); /* u32 or u64 */
chx_array *chx_uniform(chx_scope *s, int dtype, int ndim, const int64_t *shape, double low, double high); /* [low, high) */
chx_array *chx_normal(chx_scope *s, int dtype, int ndim, const int64_t *shape, double mean, double std);
chx_array *chx_bernoulli(chx_scope *s, int dtype, int ndim, const int64_t *shape, double p);
chx_array *chx_integers(chx_scope *s, int dtype, int ndim, const int64_t *shape, int64_t low, int64_t high); /* [low, high) */
chx_array *chx_permutation(chx_scope *s, int64_t n); /* i64, the numbers 0 .. n-1 */

/* ---- autograd ---------------------------------------------------------------------------------------------------
 * Define by run. A graph is named by a backprop id; 0 is the default graph, always there. An array made by
 * chx_require_grad is a leaf; what is computed from it in an active graph records how. */
typedef int chx_backprop_id;

chx_backprop_id chx_backprop_begin(chx_scope *s, const char *name); /* a further graph (at most 63), active in s; -1 on error */
void chx_backprop_end(chx_scope *s, chx_backprop_id id);            /* forgets it */
chx_status chx_no_backprop(chx_scope *s, chx_backprop_id id);       /* stop recording in that graph, in this scope */
chx_status chx_force_backprop(chx_scope *s, chx_backprop_id id);    /* record in it again */
/* The graphs in which s records where its mode is ON, bit i for id i, ids that do not exist yet included: sets them, and returns
 * those before. */
uint64_t chx_scope_set_graphs(chx_scope *s, uint64_t graphs);

chx_status chx_require_grad(chx_scope *s, chx_array *a);            /* a becomes a leaf of graph 0; floating dtypes only */
chx_status chx_require_grad_in(chx_scope *s, chx_array *a, chx_backprop_id id);
int chx_is_grad_required(const chx_array *a, chx_backprop_id id);   /* a leaf, or computed from one */
int chx_is_backprop_required(const chx_scope *s, const chx_array *a); /* in a graph that is active in s */

enum { CHX_RETAIN_GRAPH = 1 /* keep saved values for another backward */,
       CHX_CREATE_GRAPH = 2 /* record the gradients too, to differentiate them again; implies RETAIN_GRAPH */,
       CHX_ALLOW_UNUSED = 4 /* chx_grad: NULL for an input that the outputs do not depend on, else zeros */ };

/* With CHX_CREATE_GRAPH a leaf's gradient refers to the graph, and the graph to the leaf: chx_set_grad(s, leaf, NULL) when
 * done, or all of it stays; chx_grad has no such circle. */
/* chx_backward: add d sum(y) / d leaf to the gradient of every leaf that y depends on. For y of more than one element set
 * its initial gradient by chx_backward_with; NULL: ones. */
chx_status chx_backward(chx_scope *s, const chx_array *y);
chx_status chx_backward_with(chx_scope *s, const chx_array *const *ys, const chx_array *const *gys, int n,
                             chx_backprop_id id, unsigned flags);
/* chx_grad: d (sum of ys * gys) / d xs into gxs; touches no leaf's gradient. gys NULL, or an entry of it: ones. */
chx_status chx_grad(chx_scope *s, const chx_array *const *ys, int n_y, const chx_array *const *xs, int n_x,
                    const chx_array *const *gys, chx_backprop_id id, unsigned flags, chx_array **gxs);

chx_array *chx_grad_of(chx_scope *s, const chx_array *leaf);        /* its gradient in graph 0; NULL, without an error, if none */
chx_array *chx_grad_of_in(chx_scope *s, const chx_array *leaf, chx_backprop_id id);
chx_status chx_set_grad(chx_scope *s, chx_array *leaf, const chx_array *g); /* keeps g; NULL clears */
chx_status chx_set_grad_in(chx_scope *s, chx_array *leaf, const chx_array *g, chx_backprop_id id);

chx_array *chx_detach(chx_scope *s, const chx_array *a);            /* a view that takes part in no graph */
chx_status chx_unchain_backward(chx_scope *s, const chx_array *a);  /* forgets how a was made: truncated backprop */

/* A hook on an array that takes part in a graph: fn gets each gradient of it that a backward has completed, borrowed, in
 * scope s, and returns the gradient to go on with, or NULL for the same one. What it makes belongs to s, also in an owning scope. ctx_free (may be NULL) ends ctx. */
typedef chx_array *(*chx_grad_hook)(void *ctx, chx_scope *s, chx_array *g);
chx_status chx_add_grad_hook(chx_scope *s, chx_array *a, chx_grad_hook fn, void *ctx, void (*ctx_free)(void *));

/* A function that a program brings into the graph, with a gradient of its own. The program computes ys from xs itself, on any
 * devices, with recording off (chx_scope_set_grad), and chx_connect says how gradients go back:
 *
 *   static void backward(void *ctx, chx_scope *s, const chx_function_call *c, chx_array **gx)
 *   {
 *     gx[0] = chx_mul(s, c->gy[0], chx_real(s, *(double *)ctx));
 *   }
 *   chx_connect(s, &(chx_function){sizeof(chx_function), "scale", ctx, backward, free}, &x, 1, &computed, 1, &y);
 */
typedef struct chx_function_call {  /* what backward is given, borrowed for the call */
  int n_x, n_y;
  const chx_array *const *x, *const *y; /* by index: the values asked for by keep_x and keep_y, else NULL. With CHX_CREATE_GRAPH they
                                    * take part in the graph as what they were, so that backward is differentiated with them */
  const chx_array *const *gy;      /* the outputs' gradients; NULL: none came, which stands for zeros */
  const unsigned char *need;       /* by input: 1 if its gradient is wanted */
} chx_function_call;
typedef struct chx_function {
  uint32_t size;        /* sizeof(chx_function) */
  const char *name;     /* in messages; copied */
  void *ctx;
  /* Sets gx[i], NULL before, to the gradient of input i: sum over outputs of gy times d y / d x, with the input's dtype, shape and
   * device. NULL: none; backward goes no further there. It runs in the scope and on the thread that goes backward, with recording
   * as that wants it: made of operators, it can be differentiated again. An error that it leaves in s is backward's. */
  void (*backward)(void *ctx, chx_scope *s, const chx_function_call *c, chx_array **gx);
  void (*free)(void *ctx);   /* may be NULL; on any thread */
  uint64_t keep_x, keep_y;   /* bit sets: the inputs and outputs whose values backward reads. They are freed by a backward that does not
                              * retain the graph, and overwriting one before is an error of it, as with operators */
} chx_function;

/* chx_connect: out[k] is ys[k] as a result of f: a view that takes part in the graphs, active in s, that an input takes part in.
 *
 *   xs      n_x inputs, 0 to 64, of any dtypes and devices; an entry may be NULL. A further value that backward reads is an input
 *           that takes part in no graph
 *   ys      n_y outputs, 1 to 64, arrays on devices; how they were made is of no account. Those of other than a floating
 *           dtype take part in no graph
 *   f       copied; f->ctx is taken over: f->free(ctx) is called once when the last graph that holds it is gone, on failure, or
 *           at once where nothing is recorded. ctx may hold arrays, also of the same graph, but not of out: that is a circle
 *   out     n_y places, NULL on error
 * Errors    CHX_EARG an output is NULL or a scalar of no device, backward or the name is NULL, counts; CHX_ENOMEM
 *           and, of backward: CHX_ESHAPE, CHX_EDTYPE, CHX_EDEVICE its gradient is not as its input is */
chx_status chx_connect(chx_scope *s, const chx_function *f, const chx_array *const *xs, int n_x, const chx_array *const *ys,
                       int n_y, chx_array **out);
/* For collectors of garbage that can see circles through ctx: 1 if the function that made ys is held by these n arrays, each of
 * which is held by one reference, and by nothing else: with them it would go. */
int chx_function_is_held_by(const chx_array *const *ys, int n);

/* Where in a program an array was made: a string that lasts as long as the process, such as "train.py:12". With a hook, errors name it: a
 * wrong call of an operator each operand's dtype, shape, device and place; backward the place of the call whose gradient failed.
 * chx_set_place_hook: fn is asked for the place by the thread that records a node or makes a leaf; it must not use chx. NULL, the
 * default: nobody is. For the process. chx_set_place says it of an array, which must be the caller's alone; chx_place is what was said,
 * else where the array's node was recorded, or NULL. */
typedef const char *(*chx_place_hook)(void *ctx);
void chx_set_place_hook(chx_place_hook fn, void *ctx);
void chx_set_place(chx_array *a, const char *place);
const char *chx_place(const chx_array *a);
/* chx_set_nan_check: a NaN in the result of an operator that the program calls, or in a gradient that backward computes, is an error,
 * CHX_EFAILED, that names the operator. It waits for every result. For the process; 0, the default: none is looked for. */
void chx_set_nan_check(int on);

/* Gradient checkers. f computes n_y outputs from n_x inputs, in scope s. chx_check_grad compares backward with central
 * differences, weighted by random output gradients; chx_check_grad_twice does so for the gradient's own gradient.
 * CHX_OK, or CHX_EFAILED with the worst element in the message. Use f64. */
typedef void (*chx_grad_fn)(void *ctx, chx_scope *s, chx_array *const *xs, chx_array **ys);
chx_status chx_check_grad(chx_scope *s, chx_grad_fn f, void *ctx, const chx_array *const *xs, int n_x, int n_y,
                          double eps, double atol, double rtol);
chx_status chx_check_grad_twice(chx_scope *s, chx_grad_fn f, void *ctx, const chx_array *const *xs, int n_x, int n_y,
                                double eps, double atol, double rtol);

/* ---- captures -----------------------------------------------------------------------------------------------------
 * What a piece of program queues on a device, recorded once and then launched again by one call, at a small part of what its
 * operators cost the host:
 *
 *   chx_capture *c = chx_capture_begin(s);
 *   chx_array *y = model(s, x);                          // recorded; nothing runs, and y's content is undefined
 *   chx_capture_end(s, c);
 *   while (next(batch)) {
 *     chx_write(s, x, batch, bytes);                     // in place: a launch reads x where it was
 *     chx_capture_launch(s, c);
 *     chx_read(s, y, out, out_bytes);
 *   }
 *   chx_capture_free(c);
 *
 * Captured is what the beginning thread does on the scope's device until the end, in any scope: kernels, copies on the device,
 * and bytes of the host on their way to it, as they are now. What runs on the host alone is not: numbers that it computes (a
 * learning rate, the count of an optimizer's steps) stay as they were. Backward and updates of parameters in place can be
 * captured; a graph that was recorded inside serves inside alone. Run the piece once before: what is made at first use is
 * then there.
 *
 * Memory. Every buffer that is read or written stays as long as the capture, so that each launch finds it; memory of arrays
 * that are gone before the end (chx_scope_rewind) is used again within the capture. A launch counts as a write in place to
 * all that it writes: two launches, and other work on the same arrays, are in order on any queues.
 *
 * What cannot be captured is an error that says so, and gives the capture up: what waits for the device (chx_read, chx_item,
 * chx_sync, chx_memory_trim, chx_to_dlpack), a random operator, one without a kernel of the backend that can be captured,
 * chx_capture_launch. The arrays made since the beginning are then undefined. */
typedef struct chx_capture chx_capture;

/* Records from here on. One at a time for a thread and device. NULL on error: CHX_EUNSUPPORTED the backend does not capture
 * (native, ref, dnnl and opencl do not), CHX_EARG this thread is recording on the device already. */
chx_capture *chx_capture_begin(chx_scope *s);
/* 1 if the calling thread records a capture on s's device, else 0. */
int chx_capture_active(const chx_scope *s);
/* Ends recording, by the same thread. If s is in error by then, the capture is given up. */
chx_status chx_capture_end(chx_scope *s, chx_capture *c);
/* Queues what was recorded, once; does not wait. From any thread, one at a time. What fails on the device comes out of a later
 * wait; what the launch wrote is lost then, and the next one makes it again. */
chx_status chx_capture_launch(chx_scope *s, chx_capture *c);
/* From any thread, with launches in flight, too. One that is being recorded is given up: by its thread now, freed by another
 * when its thread begins the next or ends. */
void chx_capture_free(chx_capture *c);

/* ---- files: .npy and .npz ----------------------------------------------------------------------------------------
 * What NumPy wrote is read (versions 1 to 3 of the format, C and Fortran order, either byte order, stored or deflated);
 * what is written, NumPy reads. Arrays are made on the scope's device. A file appears whole or not at all. */
chx_array *chx_load_npy(chx_scope *s, const char *path);
chx_status chx_save_npy(chx_scope *s, const char *path, const chx_array *a);

typedef struct chx_npz chx_npz;
chx_npz *chx_npz_open(chx_scope *s, const char *path);   /* NULL on error */
int chx_npz_count(const chx_npz *z);
const char *chx_npz_name(const chx_npz *z, int i);       /* without ".npy"; NULL out of range */
chx_array *chx_npz_get(chx_scope *s, chx_npz *z, const char *name); /* an error if there is none */
void chx_npz_close(chx_npz *z);
chx_status chx_save_npz(chx_scope *s, const char *path, int n, const char *const *names, const chx_array *const *arrays,
                        int compress);

#if defined __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
