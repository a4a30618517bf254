/* SPDX-License-Identifier: MIT
 * internal.h: what the files of core/ share. Nothing outside core/ includes it, but for tests of the core's inside.
 *
 * Three objects. A buffer (chxi_buffer) is bytes on a device. A value is a buffer, an offset, a shape, strides and a
 * dtype. An array (chx_array) is a value and the node that made it. Value and array are one struct with two counts:
 * `refs` counts who holds the array, `vrefs` who holds the value (all of refs together count once). A graph node
 * saves values, never arrays, so references run array -> node -> {parents' nodes, values} and there are no cycles.
 */
#ifndef CHX_INTERNAL_H
#define CHX_INTERNAL_H
#include <chx/chx.h>
#include <chx/plugin.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#define CHXI_MAX_OUT 3      /* outputs of one operator */
#define CHXI_KERNEL_IN 16   /* operands of one kernel */
#define CHXI_MAX_DEVICES 64 /* in one process */
#define CHXI_ATTR_MAX 1024  /* bytes of the largest attribute struct */
#define chxi_likely(x) __builtin_expect(!!(x), 1)
#define chxi_unlikely(x) __builtin_expect(!!(x), 0)

typedef struct chxi_device chxi_device;
typedef struct chxi_buffer chxi_buffer;
typedef struct chxi_node chxi_node;
typedef struct chxi_thread chxi_thread;
typedef struct chxi_call chxi_call;
typedef struct chx_node chx_node;

/* ---- dtypes (dtype.c) ----------------------------------------------------------------------------------------- */

typedef struct chxi_dtype_row {
  const char *name;
  uint8_t size, code, bits;
  char kind; /* 'B', 'I', 'U', 'F', 'C' */
} chxi_dtype_row;
extern const chxi_dtype_row chxi_dtypes[CHX_DTYPE_END]; /* entry 0 is all zero */

static inline bool chxi_is_float(int dtype) { return chxi_dtypes[dtype].kind == 'F'; }
static inline bool chxi_is_int(int dtype) { return chxi_dtypes[dtype].kind == 'I' || chxi_dtypes[dtype].kind == 'U'; }

typedef union chxi_scalar { /* the value of a weak scalar */
  double f;
  int64_t i;
} chxi_scalar;

/* A double, or an int64_t where `is_int`, stored as dtype at dst (at most 16 bytes), as a cast does. */
void chxi_store(void *dst, int dtype, bool is_int, chxi_scalar v);
double chxi_load_f64(const void *src, int dtype);
int64_t chxi_load_i64(const void *src, int dtype);
/* The dtype that a weak scalar of kind 'B', 'I' or 'F' gives with arrays of dtype (CHX_DTYPE_NONE: no array). */
int chxi_promote_weak(int dtype, char weak);

/* ---- small objects (mem.c): headers, nodes, lists; free lists per thread, no lock once warm ---------------------- */

void *chxi_alloc(size_t bytes);           /* NULL when out of memory, or refused by the memory hook */
void chxi_free(void *p, size_t bytes);    /* bytes as asked */
bool chxi_hook_refuses(const char *device, uint64_t bytes); /* asks the memory hook about an allocation */
void chxi_hook_released(const char *device, uint64_t bytes);

/* ---- buffers (buffer.c, alloc.c) --------------------------------------------------------------------------------- */

enum { CHXI_ON_DEVICE = 1, CHXI_ON_HOST = 2 }; /* where a buffer's bytes are valid: the device, its shadow */
#define CHXI_USES 4

struct chxi_buffer {
  atomic_int refs;
  atomic_uint version;         /* counts in-place writes */
  chxi_device *dev;
  void *handle;                /* the plugin's; `offset` bytes into it is byte 0 */
  char *host;                  /* byte 0 where the device's memory is host memory, else NULL */
  uint64_t offset, bytes;      /* bytes: the capacity, >= what was asked */
  uint64_t asked;
  _Atomic uint8_t valid;       /* CHXI_ON_DEVICE | CHXI_ON_HOST; the latter only with a shadow; 0: it is being opened */
  uint8_t n_uses;
  bool mapped;                 /* the shadow is the device's own memory, open to the host */
  const chx_scope *opening;    /* who has begun to map it, and not yet waited for that; NULL: nobody */
  uint16_t lent, pinned;       /* how many calls work on the shadow now; on the device, counted where it may be mapped */
  uint16_t forks;              /* chxi_forks when those were counted: after another they are calls of threads that are gone */
  _Atomic uint16_t shared;     /* with how many others: exports that go on, the owner of what was imported. Then the device's
                                * bytes may change at any time, and the host copies them instead of mapping or keeping them */
  chxi_buffer *shadow;         /* on native:0, same bytes; made by the mapped and staged routes */
  struct chxi_use {
    struct chxi_stream *q;
    uint64_t point;
  } wrote, uses[CHXI_USES];    /* of devices with queues: the last write, the reads since */
  void (*deleter)(void *);     /* of wrapped memory */
  void *deleter_ctx;
  struct chxi_segment *segment; /* the allocator's: the backend allocation that it is part of, */
  chxi_buffer *prev, *next;     /* its neighbours there, */
  chxi_buffer *link;            /* and the free list it is in */
  _Atomic uint8_t free_state; /* whether the allocator has it, and at which level */
};

chxi_buffer *chxi_buffer_new(chx_scope *s, chxi_device *dev,
                             uint64_t bytes); /* one reference; NULL: the error is in s */
void chxi_buffer_unref(chxi_buffer *b);
static inline void chxi_buffer_ref(chxi_buffer *b) { atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed); }

/* ---- arrays (array.c) --------------------------------------------------------------------------------------------- */

struct chx_array {
  atomic_int refs, vrefs;
  chxi_buffer *buf;    /* NULL: a host scalar, in t.imm */
  chxi_node *node;     /* how it was made; NULL: it takes part in no graph */
  const char *place;   /* where; NULL: nobody said */
  uint64_t mask;       /* the graphs it takes part in */
  int32_t node_out;    /* which output of node */
  uint8_t dtype, weak; /* weak: 'B', 'I', 'F' or 0; the value is then in w, not in t.imm */
  uint16_t layout;     /* what the route's key holds of it: dtype, rank, dense, scalar */
  int64_t size;        /* elements */
  chxi_scalar w;
  chx_tensor t;        /* as kernels see it; shape and strides point below */
  int64_t shape[CHX_MAX_RANK], strides[CHX_MAX_RANK];
};

/* All of these return an array in scope s, NULL with the error in s. */
chx_array *chxi_array_new(chx_scope *s, chxi_device *dev, int dtype, int ndim,
                          const int64_t *shape); /* dense, not filled */
/* A view of a's buffer: t.byte_offset is a's plus `offset` bytes. */
chx_array *chxi_array_view(chx_scope *s, const chx_array *a, int dtype, int ndim, const int64_t *shape,
                           const int64_t *strides, int64_t offset);
/* On buffer b, whose reference it takes over whether or not it succeeds; byte_offset as in t. */
chx_array *chxi_array_on(chx_scope *s, chxi_buffer *b, int dtype, int ndim, const int64_t *shape, const int64_t *strides,
                         uint64_t byte_offset);
chx_array *chxi_push(chx_scope *s, chx_array *a); /* gives the caller's reference to the scope */
/* A host scalar of a definite dtype. */
chx_array *chxi_scalar_array(chx_scope *s, int dtype, bool is_int, chxi_scalar v);
void chxi_value_ref(chx_array *v);
void chxi_value_unref(chx_array *v);
/* Makes t.flags, layout and extent agree with dtype, shape and strides. */
void chxi_array_seal(chx_array *a);
static inline chxi_device *chxi_device_of(const chx_array *a) { return a->buf ? a->buf->dev : NULL; }
bool chxi_count(int ndim, const int64_t *shape,
                int64_t *n); /* checked product; false on overflow or a negative length */
void chxi_dense_strides(int ndim, const int64_t *shape, int64_t *strides);
bool chxi_same_elements(const chx_array *a, const chx_array *b); /* views of one buffer that are the same (apply.c) */
bool chxi_is_dense(int ndim, const int64_t *shape, const int64_t *strides);
bool chxi_same_shape(int ndim, const int64_t *a, int ndim_b, const int64_t *b);
const char *chxi_shape_text(char buf[128], int ndim, const int64_t *shape); /* "[2,3]" */

/* ---- scopes (scope.c) ------------------------------------------------------------------------------------------------ */

#define CHXI_SCOPE_LIVE 0x43485853u

struct chx_scope {
  uint32_t magic, flags;
  chx_status error;
  chxi_device *dev;
  uint64_t active;   /* backprop ids in which this scope records */
  int grad_mode, policy;
  int depth;         /* of operators inside operators; results of depth 0 are the caller's */
  chx_array **items; /* the results */
  size_t n, cap;
  chxi_thread *th;
  int (*promote)(int, int);
  bool own_random;
  chx_random_state random;
  chx_long_work long_work; /* NULL: none, or it has been told and not yet told of the end */
  void *long_ctx;
  chx_scope *link;
  char message[1024];
};

/* Whether calls on s may go on: it is live and without error. */
static inline bool chxi_ok(const chx_scope *s) { return s && s->magic == CHXI_SCOPE_LIVE && !s->error; }
/* Reserve and take random counter blocks, for numbers on dev; not while those would be captured: then the error is in s. */
chx_random_state chxi_random_take(chx_scope *s, const chxi_device *dev, uint64_t blocks);

/* ---- operators (op.c, ops.def) -------------------------------------------------------------------------------------- */

enum {
#define EW1(ID, ...) CHXI_OP_##ID,
#define EW2(ID, ...) CHXI_OP_##ID,
#define EW3(ID, ...) CHXI_OP_##ID,
#include <chx/elementwise.def>
  CHXI_N_ELEMENTWISE,
  CHXI_OP_first = CHXI_N_ELEMENTWISE - 1,
#define OP(name) CHXI_OP_##name,
#include "ops.def"
  CHXI_N_OPS
};
#define CHXI_MAX_OPS (CHXI_N_OPS + 64) /* with those that plugins declare: what tables by operator are sized by */

enum {
  CHXI_KERNEL /* has kernels; may have a decomposition */,
  CHXI_ELEMENTWISE,
  CHXI_VIEW,
  CHXI_COMPOSITE /* decomposition alone, unless
       a backend has a kernel of its name */
};

struct chx_op {
  const char *name, *doc;
  int id, version, kind;
  const char *inputs[5], *outputs[CHXI_MAX_OUT]; /* names */
  int n_in, n_required, n_out;
  bool variadic;              /* the last input takes any number >= 1 */
  char klass, result;         /* elementwise: the columns of elementwise.def; klass 'W', ... */
  uint32_t keep_x, keep_y;    /* bit sets: the inputs and outputs whose values the gradient reads */
  uint64_t dtypes;            /* taken without promotion */
  uint32_t attr_size;
  int n_attrs;
  const chx_op_attr *attrs;
  const char *primitive;      /* the kernel that serves it where it has none by name: "reduce", "scan", "map", "copy" */
  uint32_t primitive_kind;    /* attr.kind for it */
  const char
      *parts; /* decomposition: the operators it is made of, "sub exp sum"; composed where the device has them all */
  bool inner;                /* a part of other operators, see chx_op_is_inner */
  const char *required;      /* the attributes without a default, "ksize shape"; NULL: none */
  const char *drawn;         /* those that a generator's state goes into, "seed counter"; NULL: it draws nothing */

  /* Check operands and attributes, complete c->attr (writable: axes made >= 0 and sorted, lists filled), cast operands, set
   * c->out[].dtype/ndim/shape. False: the error is in the scope. */
  bool (*infer)(chxi_call *c);
  /* Change the kernel's views c->t_in, c->t_out where they are not the arrays as they are. May be NULL. */
  void (*arrange)(chxi_call *c);
  /* VIEW: the result as a view of c->in[0]; NULL without an error: strides cannot say it, a dense copy is made first. */
  chx_array *(*view)(chxi_call *c);
  /* Gradients of the inputs into gx (NULL: none), from n, by public operators. May leave gx[i] broadcast or in another
   * float dtype: the caller sums and casts it to the input's. NULL: not differentiable, unless decomposed. */
  void (*grad)(chx_scope *s, const chx_node *n, chx_array **gx);
  /* The operator by other public operators: sets out[0 .. n_out-1]. c->in may be used; recording is as the caller set it. */
  void (*decompose)(chx_scope *s, chxi_call *c, chx_array **out);
};

extern const chx_op chxi_elementwise[CHXI_N_ELEMENTWISE];
#define OP(name) extern const chx_op chxi_op_##name;
#include "ops.def"

/* The schema of attribute A for an entry: `CHXI_ATTRS(conv)` gives .attr_size, .attrs and .n_attrs; the table of fields itself is
 * chxi_attrs_conv (op.c). */
#define CHXI_ATTRS(A) .attr_size = sizeof(chx_##A##_attr), .attrs = chxi_attrs_##A, .n_attrs = CHXI_N_ATTRS(A)
#define CHXI_COUNT_FIELD(type, name, def, doc) +1
#define CHXI_N_ATTRS(A) (0 CHX_ATTRS_##A(CHXI_COUNT_FIELD))
#define CHXI_DECLARE_ATTRS(A) extern const chx_op_attr chxi_attrs_##A[];
CHX_ATTR_LIST(CHXI_DECLARE_ATTRS)
#undef CHXI_DECLARE_ATTRS

/* One operator call on its way (apply.c). Not cleared as a whole: each stage sets what it owns. */
struct chxi_call {
  chx_scope *s;
  const chx_op *op;
  chxi_device *dev;
  int n_in, n_out;                              /* operands given; all of the operator's outputs: a gradient may read them */
  const chx_array *in[CHX_MAX_OPERANDS];        /* NULL: an optional one that is absent */
  void *attr;                                   /* complete, writable; NULL if the operator has none */
  struct chxi_out { int dtype, ndim; int64_t shape[CHX_MAX_RANK]; } out[CHXI_MAX_OUT];
  chx_array *given[CHXI_MAX_OUT];               /* outputs given by the caller, else NULL */
  chx_array *y[CHXI_MAX_OUT];
  int route;                                    /* the one it took, for the trace */
  chx_tensor t_in[CHXI_KERNEL_IN], t_out[CHXI_MAX_OUT];
  int64_t dims[CHXI_KERNEL_IN + CHXI_MAX_OUT][2][CHX_MAX_RANK]; /* room for shapes and strides that arrange changes:
                                                   [i][0] shape, [i][1] strides of operand i; outputs after KERNEL_IN */
  _Alignas(16) unsigned char attr_room[CHXI_ATTR_MAX];
};

/* For infer. chxi_bad: set the error "op: ...", return false. */
bool chxi_bad(chxi_call *c, chx_status code, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool chxi_cast_operand(chxi_call *c, int i,
                       int dtype); /* weak scalars become host scalars, others are cast (recorded) */
bool chxi_promote_operands(chxi_call *c, int first, int last); /* operands first..last to their common dtype */
bool chxi_need_float(chxi_call *c, int i);               /* integers to f64, as class D; error on complex */
bool chxi_need_rank(chxi_call *c, int i, int lo, int hi);
bool chxi_axis(chxi_call *c, int64_t *axis,
               int ndim); /* makes it >= 0; error "op: axis 3 is out of range for rank 2" */
bool chxi_axes(chxi_call *c, chx_ints *axes, int ndim);  /* each as above, sorted, no duplicates; none: all */
bool chxi_broadcast(chxi_call *c, int *ndim, int64_t *shape,
                    const chx_array *a); /* shape = broadcast(shape, a.shape) */
void chxi_out_like(chxi_call *c, int o, const chx_array *a, int dtype);
void chxi_out_shape(chxi_call *c, int o, int dtype, int ndim, const int64_t *shape);
bool chxi_attr_list(chxi_call *c, const char *name, chx_ints *list, int n, int64_t fill,
                    int64_t least); /* none: n times fill; else
                                                   exactly n (or one value, for all), each >= least */
/* For arrange: operand i (>= CHXI_KERNEL_IN: output i - CHXI_KERNEL_IN) seen with another shape and strides. */
chx_tensor *chxi_arrange(chxi_call *c, int i, int ndim, const int64_t *shape, const int64_t *strides);
void chxi_arrange_broadcast(chxi_call *c, int i, int ndim, const int64_t *shape); /* stride 0 on broadcast axes */

/* `a` itself as a function's result. */
chx_array *chxi_same(chx_scope *s, const chx_array *a);
/* A dense copy of a's values on another device, not recorded: what the operator to_device does. */
chx_array *chxi_move(chx_scope *s, const chx_array *a, chxi_device *dev);
/* Raw in-place copy y = a (same shape, any dtype and strides), not recorded, for decompositions that fill a new array. */
bool chxi_fill_from(chx_scope *s, chx_array *y, const chx_array *a);

/* chx_apply for one output; attr may be NULL. */
chx_array *chxi_apply1(chx_scope *s, const chx_op *op, const void *attr, int n_in, const chx_array *const *in);
#define chxi_op1(s, name, attr, ...) \
  chxi_apply1(s, &chxi_op_##name, attr, (int)(sizeof((const chx_array *[]){__VA_ARGS__}) / sizeof(chx_array *)), \
              (const chx_array *[]){__VA_ARGS__})

/* ---- graph (node.c, backward.c) ---------------------------------------------------------------------------------------- */

typedef struct chxi_meta { /* of an input or output whose value need not be saved */
  chxi_device *dev;
  int16_t dtype, ndim;
  const int64_t *shape;
} chxi_meta;

/* What a gradient function is given. */
struct chx_node {
  const chx_op *op;
  const void *attr;
  int n_in, n_out;
  chx_array *const *gy;   /* per output; NULL: no gradient came */
  chx_array *const *x;    /* per input: its value if keep_x has its bit, else NULL */
  chx_array *const *y;    /* per output, likewise by keep_y */
  const chxi_meta *in, *out; /* shapes, dtypes, devices */
  const bool *need;       /* per input: whether its gradient is wanted */
};

/* ---- devices (device.c, plugin.c), queues (stream.c), routes (route.c), fallback (fallback.c) ----------------------------- */

chxi_device *chxi_device_find(chx_scope *s, const char *specifier); /* NULL: the error names those there are */
chxi_device *chxi_native(chx_scope *s);                             /* native:0 */

/* ---- pool (pool.c) ------------------------------------------------------------------------------------------------------- */

/* fn(begin, end, ctx) over [0, n) in pieces of `grain`, in parallel; serial when called from inside itself. */
chx_status chxi_parallel_for(int64_t n, int64_t grain, void (*fn)(int64_t begin, int64_t end, void *ctx), void *ctx);

/* ---- who watches calls (observe.c) ------------------------------------------------------------------------------------------ */

enum { CHXI_WATCH_TRACE = 1, CHXI_WATCH_OBSERVER = 2, CHXI_WATCH_NANS = 4 };
extern atomic_int chxi_watched; /* a set of these; 0: nobody */
void chxi_watch(int by, bool on);
bool chxi_observe(chxi_call *c, int done); /* 0: before it runs; then 1, or -1: it failed. False: there is an error in the scope */

/* ---- log (log.c) ----------------------------------------------------------------------------------------------------------- */

extern atomic_int chxi_log_level; /* -1: nothing is logged */
void chxi_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
