/* SPDX-License-Identifier: MIT
 * subject.h: what `chx conform DEVICE|FILE.so` is to judge: the file, its backend's name, and whether it has a device.
 */
#ifndef CHX_CONFORM_SUBJECT_H
#define CHX_CONFORM_SUBJECT_H
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct subject {
  char file[PATH_MAX], backend[32];
  uint32_t index;
  char no_device[512]; /* why there is none to run on; "": there is one */
  char error[1024];    /* why there is nothing to judge */
} subject;

/* Asks in a child, which may crash. False: s->error says what is wrong with the word. */
bool subject_find(subject *s, const char *word, int time_limit_s);

#endif
