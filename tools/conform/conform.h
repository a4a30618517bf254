/* SPDX-License-Identifier: MIT
 * conform.h: what the files of `chx conform` share: a case, and how it says what it found.
 *
 * The kit judges a plugin in two ways. Groups C0 to C4 and C7 load its file as the core would, with a host table of
 * the kit's own, and call its functions (raw.h; elf.c, load.c, beside.c, skew.c, lends.c, memory.c, map.c, import.c, peer.c,
 * time.c, held.c, adopt.c, ends.c, extension.c). Groups C5, C6 and C8 run the operators of libchx's table on the device, through a wrapper plugin that stands between the core
 * and the judged one and watches each call (watch.c): red zones, poisoned metadata, junk in fresh memory, broken promises.
 *
 * A case is a function that calls conform_check for each thing it sees; one failure fails the case, and the case is one
 * line of TAP. With --isolate, and for each case that crashed a batch, it runs in a child of its own with a time limit.
 */
#ifndef CHX_CONFORM_H
#define CHX_CONFORM_H
#include <chx/chx.h>
#include <chx/plugin.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct conform {
  const char *file;       /* the plugin's shared library */
  const char *backend;    /* its name, "sample" */
  uint32_t index;         /* of the judged device */
  char spec[64];          /* "sample:0" */
  const char *op_glob;    /* --op; NULL: all */
  uint64_t seed;          /* --seed; every random choice comes from it */
  bool isolate;
  int time_limit_s;       /* for one case */
  const struct conform_case *running;
  int checks, failures;   /* of the running case */
  char said[2048];        /* its first failure, or why it was skipped */
  bool skipped;
  const char *case_glob;  /* --case; NULL: all */
  int to_parent;          /* a child's socket, -1 in the parent */
  const char *no_device;  /* why there is none to judge on this machine; NULL: there is one */
} conform;

typedef struct conform_case {
  const char *group;                /* "C3" */
  const char *name;                 /* "copy of odd sizes and offsets": stable, for exceptions and mutants */
  void (*run)(conform *c, void *arg);
  void *arg;
} conform_case;

/* One thing that must hold: format says what was seen and what was expected. Returns condition. */
bool conform_check(conform *c, bool condition, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The running case does not apply: it is "ok # SKIP reason". */
void conform_skip(conform *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A comment line below the case. */
void conform_note(conform *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A list of cases that grows; add keeps name and group as given (they must outlive the list). */
typedef struct conform_list {
  conform_case *v;
  int n, room;
} conform_list;
void conform_add(conform_list *l, const char *group, const char *name, void (*run)(conform *, void *), void *arg);

/* Each file adds its cases. */
void conform_static_cases(conform *c, conform_list *l);  /* C0: elf.c */
void conform_load_cases(conform *c, conform_list *l);    /* C1: load.c */
void conform_beside_cases(conform *c, conform_list *l);  /* C1 too, added by load.c: beside.c */
void conform_skew_cases(conform *c, conform_list *l);    /* C2: skew.c */
void conform_lent_cases(conform *c, conform_list *l);    /* C2 too, added by skew.c: lends.c */
void conform_memory_cases(conform *c, conform_list *l);  /* C3: memory.c */
void conform_map_cases(conform *c, conform_list *l);     /* C3 too, added by memory.c: map.c */
void conform_import_cases(conform *c, conform_list *l);  /* C3 too: import.c */
void conform_peer_cases(conform *c, conform_list *l);    /* C3 too: peer.c */
void conform_time_cases(conform *c, conform_list *l);    /* C4: time.c */
void conform_held_cases(conform *c, conform_list *l);    /* C4 too, added by time.c: held.c */
void conform_adopt_cases(conform *c, conform_list *l);   /* C4 too: adopt.c */
void conform_end_cases(conform *c, conform_list *l);     /* C4 too: ends.c */
void conform_kernel_cases(conform *c, conform_list *l);  /* C5: kernels.c */
void conform_thread_cases(conform *c, conform_list *l);  /* C5 too, added by kernels.c: threads.c */
void conform_catalogue_cases(conform *c, conform_list *l); /* C6: catalogue.c */
void conform_extension_cases(conform *c, conform_list *l); /* C7: extension.c */
void conform_capture_cases(conform *c, conform_list *l); /* C7 too, added by extension.c: capture.c */
void conform_use_cases(conform *c, conform_list *l);     /* C8: use.c */

/* Runs what list adds as one group, in children, with a line of TAP for each case; conform_end prints the plan and the
 * counts and returns the exit code: 0 if something ran and nothing failed. For the modes that are lists of cases too. */
typedef void conform_lister(conform *c, conform_list *l);
void conform_run_group(conform *c, const char *group, conform_lister *list);
int conform_end(conform *c);

/* --mode grad, perf and support in place of the groups; they return an exit code. They are called in the parent, where
 * libchx has not been used yet. CHX_PLUGIN_PATH begins with c->file, so that the core finds c->spec there. */
int conform_grad(conform *c);
int conform_perf(conform *c);
int conform_support(conform *c, const char *markdown, const char *json);

#endif
