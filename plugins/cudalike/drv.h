/* SPDX-License-Identifier: MIT
 * drv.h: the host code that cuda and hip have in common, compiled once for each: a driver with streams, events and
 * modules, and a compiler at run time.
 *
 *   api.c      the driver's library and the compiler's, opened at run time      queue.c    queues and points
 *   plugin.c   the descriptor and the devices                                   driver.c   programs and launches
 *   memory.c   blocks, copies, peers                                            import.c   memory of others
 *   capture.c  graphs                                                           conv.c     convolutions as cuDNN and MIOpen see them
 *   rtc.c      kernels that others give as source
 *
 * All that differs is in vendor.h, which each of the two folders has: names of functions, types and codes, some inline
 * functions, and in the folder's own kernels, which use the vendor's libraries. No library of a vendor is linked to.
 *
 * A buffer's handle is the device's pointer.
 */
#ifndef CHX_DRV_H
#define CHX_DRV_H
#include "../gpu/gpu.h"
#include "vendor.h"

#if defined __GNUC__
#pragma GCC visibility push(hidden)
#endif

/* vendor.h's lists are F(member, function); a function may be a macro for the name of a later version. */
#define DRV_NAME_(function) #function
#define DRV_NAME(function) DRV_NAME_(function)
#define DRV_MEMBER(member, function) __typeof__(function) *member;

extern struct drv_api {
  DRV_FUNCTIONS(DRV_MEMBER) DRV_POOL_FUNCTIONS(DRV_MEMBER) DRV_CAPTURE_FUNCTIONS(DRV_MEMBER)
  bool has_pools, has_captures;
} drv;
extern struct rtc_api { RTC_FUNCTIONS(DRV_MEMBER) } rtc;

struct chx_dev {
  gpu_device gpu; /* first: plugins/gpu sees this */
  int ordinal;
  drv_device device;
  drv_context context; /* the primary one, which the vendor's run-time library shares */
  bool opened, pools;
  drv_stream pool_stream; /* where memory is taken from the pool */
  uint64_t memory;
  pthread_mutex_t recording; /* of the next two */
  int n_recording;        /* queues */
  struct drv_later *later; /* released meanwhile */
  pthread_mutex_t lock;   /* of what is made at first use */
  void *blas;             /* the vendor's, made at first use; drv_blas_close */
  atomic_bool no_blas, no_dnn; /* the library is there, but does not work with this device */
  char name[128], bus_id[32], arch[64];
};

extern const chx_host *drv_host;

/* ---- api.c ------------------------------------------------------------------------------------------------------- */

/* A library, opened when first asked for; one that is not there is not looked for again, and the log is told, as
 * information. `names` ends with NULL; option's value, if it has one, is the only name tried. why_not: why not. */
typedef struct drv_library {
  const char *option;
  const char *const *names;
  atomic_int state; /* 0: not tried, 1: open, 2: missing */
  pthread_mutex_t lock;
  void *handle;
  char why_not[240];
} drv_library;
#define DRV_LIBRARY(option_, list) {.option = option_, .names = list, .lock = PTHREAD_MUTEX_INITIALIZER}
typedef bool drv_bind(void *handle, char *why, size_t size);
bool drv_library_open(drv_library *l, drv_bind *bind);
/* Finds name in an open library for *slot; false: `why` says which is missing. */
bool drv_symbol(void *handle, void *slot, const char *name, char *why, size_t size);

bool drv_api_open(char *why, size_t size);
chx_status rtc_open(const struct chx_dev *dev); /* CHX_OK, or EUNSUPPORTED with the reason */
/* A code of the driver as a status, with "call: NAME (code): text" left with the host. */
chx_status drv_fail(const struct chx_dev *dev, drv_result code, const char *call);
chx_status drv_status_of(drv_result code);
/* A vendor's library does not work here: says so to the log, once a device, and declines. */
chx_status drv_without(struct chx_dev *dev, atomic_bool *flag, const char *library, const char *why);
/* Makes dev the calling thread's. */
chx_status drv_enter(const struct chx_dev *dev);

/* ---- memory.c ---------------------------------------------------------------------------------------------------- */

chx_status drv_alloc(chx_dev *, chx_queue *, uint64_t bytes, uint32_t kind, chx_buffer *out);
void drv_release(chx_dev *, chx_queue *, chx_buffer *);
chx_status drv_copy(chx_dev *, chx_queue *, void *dst, uint64_t dst_off, const void *src, uint64_t src_off,
                    uint64_t bytes,
                    uint32_t dir);
const void *drv_extension(chx_dev *, const char *name);
/* import.c */
chx_status drv_import_host(chx_dev *, void *ptr, uint64_t bytes, uint32_t access, chx_buffer *out);
chx_status drv_import_native(chx_dev *, void *data, uint64_t bytes, chx_buffer *out);
void drv_end_import(chx_dev *, chx_queue *, chx_buffer *); /* drv_release, of what they gave */
/* Makes q->pinned. */
chx_status drv_pin(chx_dev *, chx_queue *);

static inline drv_ptr drv_at(const void *base, uint64_t offset) { return (drv_ptr)((uintptr_t)base + offset); }
static inline void *drv_data(const chx_tensor *t) { return (char *)t->data + t->byte_offset; }

/* ---- queue.c ----------------------------------------------------------------------------------------------------- */

enum { DRV_EVENTS = 8, DRV_SLOTS = 4, DRV_SLOT_BYTES = 1 << 20 };

typedef struct drv_mark { /* a recorded event */
  drv_event event;
  uint64_t at; /* it covers so many commands; 0: it is recorded nowhere */
} drv_mark;

struct chx_queue {
  drv_stream stream;
  bool adopted;
  uint64_t queued, done;      /* commands put in; those known to have finished */
  drv_mark ring[DRV_EVENTS];
  uint32_t next;
  chx_status failed;          /* sticks */
  drv_result failed_code;     /* none: it is `report` that says what failed */
  chx_buffer words;           /* the queue's gpu_report; without a handle: no kernel has asked for it */
  bool armed, fetched;        /* a kernel may fill words; a copy of them is queued, */
  uint64_t fetch_at;          /* which this point covers */
  gpu_report report;
  char *pinned;               /* DRV_SLOTS pieces, through which bytes of the host go, and one for words */
  drv_mark slot[DRV_SLOTS];
  uint32_t next_slot;
  struct drv_capture *capture; /* what is put in is recorded, and not done; NULL: it is done */
  void *handle[2];            /* of vendors' libraries that want one a stream; drv_queue_handles_close */
};
chx_status drv_queue_new(chx_dev *, void *adopt, chx_queue **out);
void drv_queue_free(chx_dev *, chx_queue *);
uint64_t drv_queue_mark(chx_dev *, chx_queue *);
chx_status drv_queue_wait(chx_dev *, chx_queue *waiter, chx_queue *on, uint64_t point);
chx_status drv_queue_sync(chx_dev *, chx_queue *, uint64_t point, int64_t timeout_ns);
void *drv_queue_native(chx_dev *, chx_queue *);
chx_status drv_queue_report(gpu_device *, chx_queue *, void **handle); /* gpu_driver.report */
/* A command was put in, or `code` says why not. */
chx_status drv_queued(chx_dev *, chx_queue *, drv_result code, const char *call);
/* Puts m's event behind all that is queued. */
chx_status drv_record(chx_dev *, chx_queue *, drv_mark *m);

/* What is put in from here on may be recorded: an event is behind all that was put in before. */
chx_status drv_queue_settle(chx_dev *, chx_queue *);

/* ---- capture.c --------------------------------------------------------------------------------------------------- */

extern const chx_capture_ops drv_capture_ops;
/* CHX_OK, or while q records the error of what cannot be. */
chx_status drv_not_recording(const chx_dev *, const chx_queue *, const char *what);
/* n bytes of the host, kept as long as what q records. */
chx_status drv_capture_bytes(chx_dev *, chx_queue *, const void *src, size_t n, char **at);
chx_status drv_capture_words(chx_dev *, chx_queue *, void **handle); /* drv_queue_report's while q records */
void drv_capture_forget(chx_dev *, chx_queue *);                  /* q records no more */
/* A block goes back, behind what is queued; q NULL: on any queue. */
void drv_give_back(chx_dev *, chx_queue *, drv_ptr);

/* ---- driver.c, rtc.c --------------------------------------------------------------------------------------------- */

extern const gpu_driver drv_driver;

struct gpu_module {
  drv_module module;
  void *image; /* what was compiled, until gpu_driver.binary takes it */
  size_t bytes;
};

enum { DRV_RTC_OPTIONS = 32 };
typedef struct drv_source {
  const char *name, *text;
  const char *const *options; /* besides the device's architecture; at most DRV_RTC_OPTIONS */
  size_t n_options;
  void (*diag)(void *, const char *); /* is given what the compiler says of a text that it refuses; may be NULL */
  void *diag_ctx;
} drv_source;
chx_status drv_build(struct chx_dev *, const drv_source *, gpu_module **out); /* drv_driver.unload ends it */

extern const chx_rtc_ops drv_rtc; /* "chx.rtc/1" */

/* ---- conv.c ------------------------------------------------------------------------------------------------------ */

enum { DRV_CONV, DRV_CONV_GRAD_INPUT, DRV_CONV_GRAD_WEIGHT };
enum { DRV_SPATIAL = 3, DRV_IMAGE_AXES = 2 + DRV_SPATIAL };

/* A tensor of [N, C, ...] or [N, ..., C] with its axes in the first order, and two spatial axes at least: one axis gets
 * one of length 1 in front. */
typedef struct drv_images {
  int n, dim[DRV_IMAGE_AXES], step[DRV_IMAGE_AXES];
  bool dense;
} drv_images;
/* False: it has another rank, no elements, more than an int counts, or steps that are 0 or go back. */
bool drv_images_of(const chx_tensor *t, bool last, drv_images *p);
/* An attribute per spatial axis likewise; `missing` is that of the axis in front. */
void drv_windows(const chx_ints *list, int spatial, int missing, int v[DRV_SPATIAL]);

typedef struct drv_conv_sides { const chx_tensor *x, *w, *y, *bias; } drv_conv_sides; /* bias NULL: there is none */
drv_conv_sides drv_conv_sides_of(int mode, const chx_call *c);

/* A call of one of the three as a problem of convolution: y = x * w, of which the mode says what is computed. */
typedef struct drv_conv {
  drv_images x, w, y; /* w is dense, and [K, C / groups, ...] */
  int spatial, groups, pad[DRV_SPATIAL], stride[DRV_SPATIAL], dilation[DRV_SPATIAL];
  int bias, bias_step; /* its length; 0: there is none */
  bool last;           /* channels are the last axis of all three */
} drv_conv;
/* False: not what the libraries take. */
bool drv_conv_of(int mode, const chx_call *c, drv_conv *p);

/* ---- the vendor's folder ----------------------------------------------------------------------------------------- */

/* The vendor's kernels, NULL-ended; the shared ones come after them. */
extern const chx_kernel *const drv_vendor_kernels[];
/* gpu_device.generate; NULL: the vendor's library has no generators. */
extern chx_status (*const drv_generate)(const chx_call *);
/* What those have made for a device (blas) and for a queue (handle) goes; the device is the calling thread's. */
void drv_blas_close(chx_dev *);
void drv_queue_handles_close(chx_queue *);

#if defined __GNUC__
#pragma GCC visibility pop
#endif
#endif
