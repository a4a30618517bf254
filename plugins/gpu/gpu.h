/* SPDX-License-Identifier: MIT
 * gpu.h: the host side of the kernels that cuda, hip and opencl share.
 *
 * A kernel is text in one dialect (prelude.gpu). A *family* writes the text of a program from a *spec*, a small plain struct
 * that says for which dtypes, ranks and instructions; programs are compiled when first needed, kept for the process in
 * a table keyed by the spec (module.c) and on disk by the hash of their text, device and compiler (disk.c). What differs
 * between vendors is a gpu_driver, some functions that compile, load and launch.
 *
 *   module.c       the table of programs       text.c     text that grows, dtypes, geometry
 *   disk.c         compiled programs on disk    k_*.c      families: a table of chx_kernel each
 *   report.c       indices that are out of range          product.c  matmul as a BLAS sees it
 *   rtc.c          what is checked of others' kernels
 *
 * Conventions of the dialect. A buffer argument is a base pointer (a cl_mem has no arithmetic); where an operand begins is
 * an element offset in the geometry. Every kernel has groups of GPU_WG threads in one dimension. Results depend on the
 * problem's size alone, never on the number of groups that a device can run.
 */
#ifndef CHX_GPU_H
#define CHX_GPU_H
#include <chx/attr.h>
#include <chx/plugin.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined __GNUC__
#pragma GCC visibility push(hidden)
#endif

enum { GPU_WG = 256, GPU_OPERANDS = 12, GPU_ARGS = 32 };

/* ---- what a vendor supplies --------------------------------------------------------------------------------------- */

typedef struct gpu_device gpu_device;
typedef struct gpu_module gpu_module;     /* the vendor's: cl_program, CUmodule */
typedef struct gpu_function gpu_function; /* the vendor's: cl_kernel, CUfunction */

/* One argument of a launch: the handle of a buffer, or bytes by value. */
typedef struct gpu_arg {
  const void *p;
  uint32_t bytes; /* 0: p is a buffer's handle */
} gpu_arg;
#define GPU_BUFFER(handle) ((gpu_arg){(handle), 0})
#define GPU_VALUE(object) ((gpu_arg){&(object), sizeof(object)})

typedef struct gpu_driver { /* every function leaves its sentence with the host on failure, and may be called by any thread */
  /* Compiles text (complete, with the prelude). */
  chx_status (*build)(gpu_device *, const char *name, const char *text, gpu_module **out);
  /* Loads what `binary` gave; a failure means: build it anew. */
  chx_status (*load)(gpu_device *, const void *bytes, size_t n, gpu_module **out);
  /* The compiled form, malloc'ed; may be NULL, or fail: then nothing is kept on disk. */
  chx_status (*binary)(gpu_device *, gpu_module *, void **bytes, size_t *n);
  void (*unload)(gpu_device *, gpu_module *);
  chx_status (*function)(gpu_device *, gpu_module *, const char *name, gpu_function **out); /* goes with the module */
  /* Queues groups * GPU_WG threads. groups >= 1 and <= gpu_device.max_groups. */
  chx_status (*launch)(gpu_device *, chx_queue *, gpu_function *, uint32_t groups, const gpu_arg *, uint32_t n);
  /* The queue's gpu_report as a buffer's handle, for a kernel that is launched next; NULL: see gpu_report. */
  chx_status (*report)(gpu_device *, chx_queue *, void **handle);
} gpu_driver;

struct gpu_device { /* the first member of the vendor's struct chx_dev; filled before any kernel is asked for */
  const gpu_driver *driver;
  const chx_host *host;
  char spec[24];       /* "opencl:0" */
  char id[240];        /* device, driver and compiler, with their versions: what compiled programs depend on */
  const char *defines; /* put before the prelude, "" */
  uint64_t dtypes;     /* as in chx_device_info */
  uint32_t units;      /* multiprocessors: how many groups make sense at once is some multiple */
  uint32_t max_groups;
  struct gpu_table *table; /* module.c */
  /* random_bits by a generator of the vendor's library that is not Philox; CHX_DECLINED: it has not; may be NULL. */
  chx_status (*generate)(const chx_call *);
  bool reference;      /* CHX_REFERENCE=1: the same bits as every other backend; `defines` has GPU_REFERENCE then */
};
static inline gpu_device *gpu_of(chx_dev *dev) { return (gpu_device *)(void *)dev; }

/* ---- errors that kernels find (report.c) -------------------------------------------------------------------------------- */

/* A queue's words on the device, all zero until a kernel finds an index out of range; the first that does fills them, by a
 * compare and swap of `state`, and no other ever. (The layout is index.gpu's `report` as well.)
 *
 * The vendor's part is some lines in its queue:
 *   - driver->report makes the words when first asked for (zeroed, before any launch of this queue can see them), keeps them
 *     with the queue, sets `armed`, and gives their handle;
 *   - before each wait for the queue (queue_sync, a poll among them, and map), if armed: a copy of the words to the host is
 *     queued behind all there is, and armed is unset. So a queue that launched no such kernel since its last wait pays nothing;
 *   - after the wait, if a copy was queued: gpu_report_check(its bytes). What that returns sticks to the queue as a code of
 *     the driver would: each later wait calls it again with the same bytes, which are not copied again.
 * A copy to the host needs no more than that: the core waits for it. cuda and hip: StreamSynchronize and EventRecord are where
 * to queue the copy (MemcpyDtoHAsync to pinned bytes) first. A driver without `report` has such indices read as NaN (0 where
 * there is none) and add nothing, which is what happens on the device in any case. */
typedef struct gpu_report {
  uint32_t state, op; /* 1: filled; GPU_TAKE .. */
  int32_t axis, pad;
  int64_t index, length;
} gpu_report;
enum { GPU_TAKE, GPU_TAKE_ALONG, GPU_SCATTER, GPU_SCATTER_ALONG };

/* The handle of the queue's words for a kernel of c, NULL where the driver keeps none: the kernel then reports nothing. */
chx_status gpu_report_buffer(const chx_call *c, void **out);
/* CHX_OK for words that are not filled, else CHX_EARG with native's sentence. */
chx_status gpu_report_check(gpu_device *g, const gpu_report *r);

/* ---- programs (module.c) ------------------------------------------------------------------------------------------- */

typedef struct gpu_text {
  char *at;
  size_t n, room;
  bool failed; /* out of memory */
} gpu_text;

typedef struct gpu_family {
  const char *name;
  uint32_t spec_size; /* a spec is compared by its bytes: zero it before filling */
  void (*write)(gpu_text *t, const void *spec);
  /* The i-th of the specs that tests compile for every vendor, covering each text the family can write; false: no i-th. */
  bool (*example)(uint32_t i, void *spec);
  const char *const *functions; /* names of the kernels in the program, NULL-ended */
} gpu_family;

/* Function number `which` of the family's program for spec; compiled, loaded or found. */
chx_status gpu_find(gpu_device *g, const gpu_family *f, const void *spec, uint32_t which, gpu_function **out);
bool gpu_table_open(gpu_device *g); /* false: out of memory */
void gpu_table_close(gpu_device *g);
/* Every family, NULL-ended, for tests and warming up. */
extern const gpu_family *const gpu_families[];
/* The whole text of a program: defines, prelude, family's text; malloc'ed, NULL: out of memory. */
char *gpu_program_text(const char *defines, const gpu_family *f, const void *spec);

/* ---- disk (disk.c) --------------------------------------------------------------------------------------------------- */

/* Compiled programs are files in $CHX_CACHE_DIR, else $XDG_CACHE_HOME/chx, else $HOME/.cache/chx; CHX_CACHE_DIR= (empty)
 * keeps none. A damaged file is as none. */
bool gpu_disk_read(gpu_device *g, const char *text, void **bytes, size_t *n); /* malloc'ed */
void gpu_disk_write(gpu_device *g, const char *text, const void *bytes, size_t n);

/* ---- text, dtypes, geometry (text.c) ---------------------------------------------------------------------------------- */

void gpu_add(gpu_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void gpu_raw(gpu_text *t, const char *piece);

typedef struct gpu_type { /* of a dtype, in the dialect: s_NAME is what is stored, t_NAME what is computed in */
  const char *name;     /* "f16": also in ld_f16, st_f16 */
  const char *wrap;     /* formula.h's U */
  char kind;            /* formula.h's CHX_KIND: F, I, U, B; C for complex, which is only moved */
  uint8_t bits, bytes;
} gpu_type;
extern const gpu_type gpu_types[CHX_DTYPE_END];

/* What formula.h wants for dtype: the macros CHX_KIND and CHX_BITS; and with them the types T and U, once in a program. (T and U are no
 * macros: U would be expanded in CHX_KIND.) */
void gpu_add_kind(gpu_text *t, int dtype);
void gpu_add_types(gpu_text *t, int dtype);
/* And S, LD and ST: what of dtype lies in memory, and how it is loaded and stored. */
void gpu_add_stored(gpu_text *t, int dtype);

/* Where the elements of n_ops operands of one shape lie: axes of length 1 dropped, neighbours joined where all allow it. */
typedef struct gpu_geometry {
  int64_t n;                 /* elements */
  int32_t nd, ops;
  uint32_t scalars;          /* a bit for each operand that a kernel is given by value, where it wants to know */
  int64_t dim[CHX_MAX_RANK]; /* outermost first */
  int64_t stride[GPU_OPERANDS][CHX_MAX_RANK], offset[GPU_OPERANDS]; /* in elements; of host scalars 0 */
} gpu_geometry;
/* op[k] has `shape`'s rank and lengths, with stride 0 where it is broadcast; host scalars are skipped over (strides 0). */
void gpu_geometry_of(gpu_geometry *g, int ndim, const int64_t *shape, const chx_tensor *const *op, int ops);
/* The dialect's `struct geom` for `ops` operands of up to `maxd` axes, as text, and its bytes for an argument. Fields: i64 n;
 * i64 off[OPS]; i64 dim[MAXD]; i64 st[OPS][MAXD]; i32 nd; u32 scalars. Axes are innermost first there. */
void gpu_add_geom(gpu_text *t, int ops, int maxd);
size_t gpu_pack_geom(const gpu_geometry *g, int maxd, void *bytes);
enum { GPU_GEOM_BYTES = 8 * (1 + GPU_OPERANDS + CHX_MAX_RANK * (GPU_OPERANDS + 1) + 1) };
/* The bucket of ranks that nd falls into: 4 or 16; few, since each is a program of its own. */
int gpu_rank_bucket(int nd);

/* Reads the options that all GPU backends share, into g->reference; host is set. */
void gpu_read_options(gpu_device *g);

/* ---- for the families ---------------------------------------------------------------------------------------------------- */

/* Leaves a sentence with the host and returns code. */
chx_status gpu_fail(gpu_device *g, chx_status code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Launches fn with as many groups as cover n threads, at most 32 for each of the device's units. */
chx_status gpu_launch(const chx_call *c, gpu_function *fn, uint64_t threads, const gpu_arg *args, uint32_t n);
/* Launches exactly `groups` groups. */
chx_status gpu_launch_groups(const chx_call *c, gpu_function *fn, uint64_t groups, const gpu_arg *args, uint32_t n);
/* A host scalar as an argument by value: t_NAME's bytes are put in `room`. */
gpu_arg gpu_scalar(const chx_tensor *t, unsigned char room[16]);
/* The same of 0, for an operand that is a buffer. */
gpu_arg gpu_no_scalar(int dtype, unsigned char room[16]);

static inline int gpu_dtype(const chx_tensor *t) { return CHX_T_DTYPE(t); }
static inline int64_t gpu_count(const chx_tensor *t)
{
  int64_t n = 1;
  for (int k = 0; k < t->ndim; k++) n *= t->shape[k];
  return n;
}
/* The element at which a dense operand begins. */
static inline int64_t gpu_offset(const chx_tensor *t) { return (int64_t)(t->byte_offset / (t->bits / 8 * t->lanes)); }

/* All of them can be captured: what a launch is given is by value, or memory that the core keeps; `more` are further CHX_K_*. */
#define GPU_KERNEL_THAT(more) \
  .size = sizeof(chx_kernel), .min_version = 1, .max_version = 1, .max_rank = CHX_MAX_RANK, .flags = CHX_K_CAPTURABLE | (more)
#define GPU_KERNEL GPU_KERNEL_THAT(0)
/* A family of kernels is one table ended by an entry without op, a word here, and a family or more in gpu_families. */
#define GPU_KERNEL_TABLES(F) F(reference) F(map) F(copy) F(gemm) F(reduce) F(argreduce) F(index) F(random) F(pool) F(sort) F(softmax) F(scan) F(layer_norm) F(batch_norm)
/* Kernel number `index` of those that serve g; NULL ends them. In the reference mode these are the ones whose bits the mode fixes. */
const chx_kernel *gpu_kernel_at(const gpu_device *g, uint32_t index);

/* ---- for vendors' BLAS libraries (product.c) -------------------------------------------------------------------------------- */

typedef struct gpu_matrix { /* by columns; `turned`: what is stored is its transpose */
  int64_t ld, step;         /* step: to the next of the batch, in elements */
  bool turned;
} gpu_matrix;

/* A call of matmul or linear as a BLAS by columns sees it: D[m, n] = A[m, k] B[k, n], `batch` times. */
typedef struct gpu_product {
  int64_t m, n, k, batch;
  gpu_matrix a, b, d;
  int a_in;  /* which input of the call A is; B is the other of 0 and 1 */
  bool bias; /* the third input is added to each column of D */
} gpu_product;

/* False: strides or lengths are not a BLAS's. */
bool gpu_product_of_matmul(const chx_call *c, gpu_product *p);
bool gpu_product_of_linear(const chx_call *c, gpu_product *p);
/* y = the third input in each row, by the shared copy kernel: for a BLAS that has no bias, and adds the product to it. */
chx_status gpu_fill_rows(const chx_call *c);

/* ---- for "chx.rtc/1", kernels of others (rtc.c) ------------------------------------------------------------------------------ */

enum { GPU_RTC_ARGS = 128 };
/* The source as a text that ends, malloc'ed; EUNSUPPORTED if lang is not `own`, EARG if it is no text. */
chx_status gpu_rtc_text(gpu_device *g, const char *own, const char *lang, const void *src, uint64_t n, char **text);
/* EARG: no queue, no program, no name, too many arguments, or one that is neither tensor nor bytes. */
chx_status gpu_rtc_launchable(gpu_device *g, const chx_queue *q, const void *module, const char *fn, const chx_arg *args, uint32_t n);
/* EARG: there is a place for the n bytes of a binary, and it is too small. */
chx_status gpu_rtc_room(gpu_device *g, const void *out, uint64_t room, size_t n);

/* Texts of the dialect, from the files of the same name. */
extern const char gpu_text_prelude[], gpu_text_formula[], gpu_text_refmath[], gpu_text_refnames[];

#if defined __GNUC__
#pragma GCC visibility pop
#endif
#endif
