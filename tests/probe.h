/* SPDX-License-Identifier: MIT
 * probe.h: what the plugin of probe.c counts; its device's extension "x.probe/1".
 */
#ifndef CHX_PROBE_H
#define CHX_PROBE_H

typedef struct probe_counts {
  int prepared, dropped, ran, without_workspace; /* exp, which has plans */
  int asked, refused;                            /* exp's accepts */
  int no_scratch;                                /* neg, which wants scratch memory */
  int wrong_rank;                                /* map: operands whose shape is not the output's */
  int lent, misnamed;                            /* kernels for host memory; extensions given by a wrong name */
} probe_counts;

#endif
